"""A convolution as the kernels see it: sizes, strides, and which kernels compute it.

`gaugeblock.gpu.convolution.operations` checks arguments and chooses; here a problem is packed and launched.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from gaugeblock.gpu.gemm import gemm
from gaugeblock.gpu.runtime.device import ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import steps
from gaugeblock.gpu.runtime.layout import collapse
from gaugeblock.reference.windows import Windows

__all__ = [
    "FORWARD",
    "INPUT",
    "TILES",
    "WEIGHT",
    "Arrays",
    "Geometry",
    "depthwise",
    "naive",
    "pack",
    "pointwise",
    "sum_bias",
    "tiled",
]

FORWARD, INPUT, WEIGHT = range(3)
"""The three products: ``Pass`` of ``kernels/convolution/implicit_gemm.cuh``."""

TILES: Final = {
    "tensor128": (128, 256),
    "tensor64": (64, 128),
    "tensor32": (32, 64),
    "tile128": (128, 256),
    "tile64": (64, 256),
    "tile32": (32, 64),
}
"""Side of the tile and threads of the block of each implicit GEMM, those on tensor cores first."""

PIECE: Final = 512
"""The fewest terms that a block adds up where a long sum is cut in pieces."""

BIAS_PIECE: Final = 8192
"""The positions that a block adds up in the gradient of a bias."""

_PROBLEM: Final = struct.Struct("46q")
STRUCT: Final = f"{_PROBLEM.size}s"
"""The struct ``Convolution`` of ``kernels/convolution/convolution.cuh`` in a kernel's signature."""


@dataclass(frozen=True)
class Geometry:
    """The sizes of a convolution.

    Attributes
    ----------
    batch, groups : int
        N and the number of groups.
    K, C : int
        Output and input channels of one group.
    windows : Windows
        The spatial axes.
    """

    batch: int
    groups: int
    K: int
    C: int
    windows: Windows

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.windows.size)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The input's shape."""
        return (self.batch, self.groups * self.C, *self.windows.size)

    @property
    def w_shape(self) -> tuple[int, ...]:
        """The filters' shape."""
        return (self.groups * self.K, self.C, *self.windows.kernel)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The result's shape."""
        return (self.batch, self.groups * self.K, *self.windows.output)

    def sizes(self, product: int) -> tuple[int, int, int]:
        """Return M, N and K of the GEMM that one of the three products is, for one group."""
        inputs, kernel, outputs = (
            math.prod(axis) for axis in (self.windows.size, self.windows.kernel, self.windows.output)
        )
        if product == FORWARD:
            return self.K, self.batch * outputs, self.C * kernel
        if product == INPUT:
            return self.C, self.batch * inputs, self.K * kernel
        return self.K, self.C * kernel, self.batch * outputs

    @property
    def is_pointwise(self) -> bool:
        """Whether every output sees the one pixel of the same place."""
        w = self.windows
        return set(w.kernel) == {1} and set(w.stride) == {1} and not any((*w.before, *w.after))

    @property
    def has_winograd(self) -> bool:
        """Whether Winograd's algorithm fits: two axes, kernels of 3 × 3, stride and dilation 1."""
        w = self.windows
        return w.kernel == (3, 3) and w.stride == w.dilation == (1, 1)

    @property
    def is_short(self) -> bool:
        """Whether every index but those of whole arrays fits 32 bits with room to spare."""
        w = self.windows
        padded = (H + before + after for H, before, after in zip(w.size, w.before, w.after, strict=True))
        reach = (p * s for p, s in zip(w.output, w.stride, strict=True))
        lengths = (self.batch, self.groups * self.K, self.groups * self.C, *padded, *w.extent, *reach)
        return max(*lengths, *w.stride, *w.dilation) < 1 << 29


@dataclass(frozen=True)
class Arrays:
    """The arrays of one problem; x and y are dx and dy in a gradient, w is dw."""

    x: DeviceArray | None = None
    w: DeviceArray | None = None
    y: DeviceArray | None = None
    residual: DeviceArray | None = None
    bias: DeviceArray | None = None


def _image(array: DeviceArray | None) -> tuple[int, ...]:
    """Return the strides of N, C and three spatial axes."""
    if array is None:
        return (0,) * 5
    (stride,) = steps(array)
    return (*stride[:2], *(0,) * (5 - len(stride)), *stride[2:])


def pack(geometry: Geometry, arrays: Arrays) -> bytes:
    """Return the struct ``Convolution``."""
    w = geometry.windows
    ones, zeros = (1,) * (3 - geometry.rank), (0,) * (3 - geometry.rank)
    lattice = tuple(s // math.gcd(s, d) for s, d in zip(w.stride, w.dilation, strict=True))
    ahead = ((ones, w.size), (ones, w.kernel), (ones, w.output), (ones, w.stride), (ones, w.dilation))
    return _PROBLEM.pack(
        geometry.batch,
        geometry.groups,
        geometry.K,
        geometry.C,
        *(number for pair in ahead for part in pair for number in part),
        *(*zeros, *w.before),
        *(*ones, *lattice),
        *_image(arrays.x),
        *_image(arrays.y),
        *_image(arrays.residual),
        *_image(arrays.w),
        steps(arrays.bias)[0][0] if arrays.bias is not None else 0,
    )


def _pointer(array: DeviceArray | None) -> int:
    return 0 if array is None else array.pointer


# The kernels ---------------------------------------------------------------------------------------------


def naive(product: int, geometry: Geometry, arrays: Arrays, dtype: str, activation: str = "identity") -> None:
    """Launch the second oracle."""
    names = ("forward", "input", "weight")
    defines = (("ACTIVATION", activation), ("ELEMENT", ELEMENTS[dtype]))
    count = math.prod((geometry.y_shape, geometry.x_shape, geometry.w_shape)[product])
    pointers = [
        (arrays.x, arrays.w, arrays.bias, arrays.residual, arrays.y),
        (arrays.y, arrays.w, arrays.bias, arrays.x),
        (arrays.y, arrays.x, arrays.w),
    ][product]
    signature = STRUCT + "P" * len(pointers)
    entry = f"convolution_{names[product]}_naive"
    kernel = device().function("convolution/naive.cu", entry, signature, defines)
    blocks = device().blocks(-(-count // 256))
    kernel.prepared_async_call(
        (blocks, 1, 1), (256, 1, 1), None, pack(geometry, arrays), *map(_pointer, pointers)
    )


def tiled(
    product: int,
    geometry: Geometry,
    arrays: Arrays,
    dtype: str,
    tile: str,
    activation: str = "identity",
    pieces: int = 1,
) -> None:
    """Launch the implicit GEMM with tiles of one size; cut a gradient's sum in `pieces`."""
    side, threads = TILES[tile]
    M, N, K = geometry.sizes(product)
    if product == INPUT:  # the largest phase
        w = geometry.windows
        N = geometry.batch * math.prod(-(-H // s) for H, s in zip(w.size, w.stride, strict=True))
    phases = _phases(geometry) if product == INPUT else 1
    tiles_n = -(-N // side)
    problem = pack(geometry, arrays)
    piece, pieces = _cut(K, pieces)
    partial: DeviceArray | None = None
    if pieces > 1:
        partial = DeviceArray((pieces, *geometry.w_shape), "float32")
    filters, images, result = [
        (arrays.w, arrays.x, arrays.y),
        (arrays.w, arrays.y, arrays.x),
        (arrays.y, arrays.x, arrays.w),
    ][product]
    copies = _filter_copy(product, geometry, filters), _image_copy(product, geometry, images)
    defines = (
        ("ACTIVATION", activation),
        ("ELEMENT", ELEMENTS[dtype]),
        ("PASS", product),
        ("SPATIAL", max(2, geometry.rank)),
        ("TILE", side),
    )
    names = ("convolution/tiled.cu", "convolution_tiled")
    if tile.startswith("tensor"):
        names = ("convolution/tensor_core.cu", "convolution_tensor_core")
    kernel = device().function(*names, f"{STRUCT}PPPPPPqqqii", defines)
    blocks = device().blocks(-(-M // side) * tiles_n * pieces * phases * geometry.groups)
    kernel.prepared_async_call(
        (blocks, 1, 1),
        (threads, 1, 1),
        None,
        problem,
        *map(_pointer, (filters, images, arrays.bias, arrays.residual, result, partial)),
        tiles_n,
        pieces,
        piece,
        *copies,
    )
    if partial is not None:
        _add_pieces(geometry, problem, arrays, dtype, partial)


def _add_pieces(geometry: Geometry, problem: bytes, arrays: Arrays, dtype: str, partial: DeviceArray) -> None:
    count = math.prod(geometry.w_shape)
    defines = (("ELEMENT", ELEMENTS[dtype]),)
    add = device().function("convolution/sum.cu", "convolution_pieces", f"{STRUCT}PPq", defines)
    add.prepared_async_call(
        (device().blocks(-(-count // 256)), 1, 1),
        (256, 1, 1),
        None,
        problem,
        partial.pointer,
        _pointer(arrays.w),
        partial.shape[0],
    )


def _phases(geometry: Geometry) -> int:
    w = geometry.windows
    return math.prod(min(s, H) for s, H in zip(w.stride, w.size, strict=True))


VECTORS_ALONG_K, SCALARS_ALONG_K, SCALARS_ALONG_OUTER = range(3)
"""How the threads of a block share the copy of a step: ``Copy`` of ``convolution/implicit_gemm.cuh``."""


def _copy(array: DeviceArray, fastest: int, along_k: int, along_outer: int, others: tuple[int, ...]) -> int:
    """Choose: `fastest` is the length of k's last digit, the others are strides."""
    lanes = 16 // array.dtype.itemsize
    if (
        along_k == 1
        and fastest % lanes == 0
        and array.pointer % 16 == 0
        and all(stride % lanes == 0 for stride in (along_outer, *others))
    ):
        return VECTORS_ALONG_K
    return SCALARS_ALONG_K if abs(along_k) <= abs(along_outer) else SCALARS_ALONG_OUTER


def _filter_copy(product: int, geometry: Geometry, array: DeviceArray | None) -> int:
    assert array is not None
    (stride,) = steps(array)
    if product == WEIGHT:  # dy: k is (batch, positions), m the channel
        return _copy(array, geometry.windows.output[-1], stride[-1], stride[1], (stride[0], *stride[2:-1]))
    outer, inner = stride[:2]
    if product == FORWARD:
        return _copy(array, geometry.C, inner, outer, stride[2:])
    return _copy(array, geometry.K, outer, inner, stride[2:])


def _image_copy(product: int, geometry: Geometry, array: DeviceArray | None) -> int:
    assert array is not None
    (stride,) = steps(array)
    if product == WEIGHT:  # k is (batch, positions), n is (taps, C): pixels step by the stride
        step = stride[-1] * geometry.windows.stride[-1]
        return SCALARS_ALONG_K if abs(step) <= abs(stride[1]) else SCALARS_ALONG_OUTER
    channels = geometry.C if product == FORWARD else geometry.K
    return _copy(array, channels, stride[1], stride[-1], (stride[0], *stride[2:-1]))


def depthwise(
    product: int, geometry: Geometry, arrays: Arrays, dtype: str, activation: str = "identity"
) -> None:
    """Launch the kernel for groups of one input channel."""
    problem = pack(geometry, arrays)
    defines = (("ACTIVATION", activation), ("ELEMENT", ELEMENTS[dtype]))
    source, block = "convolution/depthwise.cu", (256, 1, 1)
    if product == WEIGHT:
        last = _is_channels_last(arrays.x)
        positions = geometry.batch * math.prod(geometry.windows.output)
        elements = math.prod(geometry.w_shape)
        piece, pieces = _cut(positions, -(-32 * max(device().multiprocessors, 4) // elements))
        partial = DeviceArray((pieces, elements), "float32") if pieces > 1 else None
        kernel = device().function(source, "depthwise_weight", f"{STRUCT}PPPPqi", defines)
        kernel.prepared_async_call(
            (-(-elements // (32 if last else 8)) * pieces, 1, 1),
            block,
            None,
            problem,
            *map(_pointer, (arrays.y, arrays.x, arrays.w, partial)),
            piece,
            int(last),
        )
        if partial is not None:
            _add_pieces(geometry, problem, arrays, dtype, partial)
        return
    pointers: tuple[DeviceArray | None, ...]
    if product == FORWARD:
        entry, result = "depthwise_forward", arrays.y
        pointers = (arrays.x, arrays.w, arrays.bias, arrays.residual, arrays.y)
    else:
        entry, result = "depthwise_input", arrays.x
        pointers = (arrays.y, arrays.w, arrays.bias, arrays.x)
    assert result is not None
    kernel = device().function(source, entry, STRUCT + "P" * len(pointers) + "i", defines)
    kernel.prepared_async_call(
        (-(-math.prod(result.shape) // 256), 1, 1),
        block,
        None,
        problem,
        *map(_pointer, pointers),
        int(_is_channels_last(result)),
    )


def pointwise(product: int, geometry: Geometry, arrays: Arrays) -> None:
    """Multiply matrices instead: w (K, C), or its transpose, by the pixels of every image and group."""
    images, result = (arrays.x, arrays.y) if product == FORWARD else (arrays.y, arrays.x)
    assert arrays.w is not None
    assert images is not None
    assert result is not None
    groups = geometry.groups
    filters = _split(arrays.w, 0, groups)[(slice(None),) * 3 + (0,) * geometry.rank]
    bias = arrays.bias
    pixels, result = _pixels(groups, images, result)
    gemm(
        filters,
        pixels,
        None if bias is None else _split(bias, 0, groups)[..., None],
        beta=0.0 if bias is None else 1.0,
        transpose_a=product == INPUT,
        out=result,
    )


def _split(array: DeviceArray, axis: int, groups: int) -> DeviceArray:
    """Return a view with an axis of channels split in groups and channels of a group."""
    length, stride = array.shape[axis] // groups, array.strides[axis]
    shape = (*array.shape[:axis], groups, length, *array.shape[axis + 1 :])
    strides = (*array.strides[:axis], length * stride, stride, *array.strides[axis + 1 :])
    return DeviceArray(shape, array.dtype, strides, array.pointer, owner=array, writable=array.writable)


def _pixels(groups: int, *arrays: DeviceArray) -> list[DeviceArray]:
    """Return views (N, ..., groups, channels, pixels): axes that are one in every array become pixels."""
    views = [_split(array, 1, groups) for array in arrays]
    spatial = collapse(views[0].shape[3:], *(view.strides[3:] for view in views))
    lengths = spatial.lengths or (1,)
    found = []
    for view, steps_of in zip(views, spatial.strides, strict=True):
        step = steps_of or (view.dtype.itemsize,)
        shape = (view.shape[0], *lengths[:-1], *view.shape[1:3], lengths[-1])
        strides = (view.strides[0], *step[:-1], *view.strides[1:3], step[-1])
        found.append(
            DeviceArray(shape, view.dtype, strides, view.pointer, owner=view, writable=view.writable)
        )
    return found


def _is_channels_last(array: DeviceArray | None) -> bool:
    """Return whether neighbouring threads shall own neighbouring channels."""
    assert array is not None
    (stride,) = steps(array)
    return array.shape[1] > 1 and abs(stride[1]) < abs(stride[-1])


def _cut(terms: int, wanted: int) -> tuple[int, int]:
    """Cut a sum in at most `wanted` pieces of whole steps; return the length of a piece and their number."""
    pieces = max(1, min(wanted, terms // PIECE))
    piece = -(-max(terms, 1) // (64 * pieces)) * 64
    return piece, max(1, -(-terms // piece))


def sum_bias(geometry: Geometry, arrays: Arrays, dtype: str) -> None:
    """Launch the gradient of the bias: `arrays.y` summed into `arrays.bias`."""
    along_channels = _is_channels_last(arrays.y)
    channels, positions = geometry.K, geometry.batch * math.prod(geometry.windows.output)
    piece, pieces = _cut(positions, min(positions // BIAS_PIECE, 4096))
    partial = DeviceArray((pieces, channels), "float32") if pieces > 1 else None
    problem, defines = pack(geometry, arrays), (("ELEMENT", ELEMENTS[dtype]),)
    kernel = device().function("convolution/sum.cu", "convolution_bias", f"{STRUCT}PPPqi", defines)
    kernel.prepared_async_call(
        (-(-channels // (32 if along_channels else 8)) * pieces, 1, 1),
        (256, 1, 1),
        None,
        problem,
        *map(_pointer, (arrays.y, arrays.bias, partial)),
        piece,
        int(along_channels),
    )
    if partial is not None:
        add = device().function("convolution/sum.cu", "convolution_bias_pieces", f"{STRUCT}PPq", defines)
        add.prepared_async_call(
            (-(-channels // 256), 1, 1),
            (256, 1, 1),
            None,
            problem,
            partial.pointer,
            _pointer(arrays.bias),
            pieces,
        )
