"""Bring arrays on the device from one layout into another."""

from __future__ import annotations

from gaugeblock.gpu.runtime.device import DTYPES, ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.form import packed_strides
from gaugeblock.gpu.runtime.launching import AXES, LAYOUT, elements_from, pack, steps
from gaugeblock.gpu.runtime.layout import collapse, outer_slices

__all__ = ["copy", "is_packed", "packed"]

BLOCK = 256
"""Threads of a block."""


def is_packed(array: DeviceArray) -> bool:
    """Return whether the elements lie in C order without gaps; the stride of a single element is free."""
    wanted = packed_strides(array.shape, array.dtype.itemsize)
    return array.size == 0 or all(
        length == 1 or own == stride
        for length, own, stride in zip(array.shape, array.strides, wanted, strict=True)
    )


def packed(array: DeviceArray) -> DeviceArray:
    """Return the array itself if it is packed, else a packed copy."""
    if is_packed(array):
        return DeviceArray(array.shape, array.dtype, pointer=array.pointer, owner=array)
    result = DeviceArray(array.shape, array.dtype)
    copy(array, result)
    return result


def copy(source: DeviceArray, to: DeviceArray) -> None:
    """Copy all elements to an array of the same shape and type, of any layout."""
    if source.size == 0:
        return
    element = next(ELEMENTS[name] for name, dtype in DTYPES.items() if source.dtype == dtype)
    kernel = device().function("shared/copy.cu", "copy_elements", f"{LAYOUT}PPqi", (("ELEMENT", element),))
    strides = steps(source, to)
    layout = collapse(source.shape, *strides, strides[0], sort_by=1)
    for piece, (at_source, at_result, _) in outer_slices(layout, AXES):
        kernel.prepared_async_call(
            (-(-piece.size // BLOCK), 1, 1),
            (BLOCK, 1, 1),
            None,
            pack(piece),
            elements_from(source, at_source),
            elements_from(to, at_result),
            piece.size,
            piece.rank,
        )
