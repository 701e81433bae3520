"""What goes into a call and comes out of it: NumPy arrays, PyCUDA's, ours, and any other on the device.

What came in decides what goes out. NumPy arrays are copied to the device and the result back; arrays on the
device are used where they lie, strides and all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.runtime.device import (
    DTYPES,
    DeviceArray,
    as_device_array,
    device,
    phantom,
)
from gaugeblock.gpu.runtime.form import span
from gaugeblock.gpu.runtime.layout import overlaps_itself
from gaugeblock.gpu.runtime.recording import only_here

__all__ = ["Exchange", "upload"]

SPREAD: Final = 4
"""A NumPy view whose gaps make it longer than this many times its elements is packed before it is copied."""

SUPPORTED: Final = "GEN-C1"
"""The clause on kinds and element types."""

OUT_FITS: Final = "GEN-C2"
OUT_OVERLAPS: Final = "GEN-C3"
"""The clauses on outputs."""


class Exchange:
    """The arrays of one call.

    Parameters
    ----------
    clauses : mapping of str to str
        For each array argument, the clause that says what it must be.
    arrays : mapping of str to object
        The array arguments as the caller gave them; None for one that is absent.

    Attributes
    ----------
    dtype : str
        The element type of all of them.
    shapes : dict of str to tuple of int
        Their shapes.
    """

    def __init__(self, clauses: Mapping[str, str], arrays: Mapping[str, Any]) -> None:
        self._given = {name: value for name, value in arrays.items() if value is not None}
        for name, value in arrays.items():
            if value is None and name in clauses:
                raise TypeError(f"{clauses[name]}: {name} must be an array, got None")
        self._kinds = {
            name: _kind(clauses.get(name, SUPPORTED), name, value) for name, value in self._given.items()
        }
        (first, kind), *others = self._kinds.items()
        self._first, self._kind = first, kind
        self._refuse_mixture(others)
        self._views: dict[str, DeviceArray] = {}
        if kind != "numpy":
            self._views = {name: as_device_array(value) for name, value in self._given.items()}
        self._layouts: dict[str, Any] = dict(self._views or self._given)
        self.shapes = {name: tuple(layout.shape) for name, layout in self._layouts.items()}
        self.dtype = self._common_dtype(clauses)
        self._out: Any = None
        self._result: DeviceArray | None = None

    def _refuse_mixture(self, others: Iterable[tuple[str, str]]) -> None:
        for name, kind in others:
            if (kind == "numpy") != (self._kind == "numpy"):
                places = {True: "in host memory (NumPy)", False: "on the device"}
                one, other = places[self._kind == "numpy"], places[kind == "numpy"]
                raise TypeError(f"{SUPPORTED}: {self._first} is {one}, {name} is {other}")

    def _common_dtype(self, clauses: Mapping[str, str]) -> str:
        found = {}
        for name, layout in self._layouts.items():
            clause = clauses.get(name, SUPPORTED)
            for dtype_name, dtype in DTYPES.items():
                if layout.dtype == dtype:
                    found[name] = dtype_name
                    break
            else:
                expected = ", ".join(DTYPES)
                raise TypeError(f"{clause}: {name} has dtype {layout.dtype}, expected one of {expected}")
            if found[name] != found[self._first]:
                message = f"{self._first} has dtype {found[self._first]}, {name} has dtype {found[name]}"
                # A gradient has to fit what it is a gradient of: the clause is its own.
                broken = clauses.get("dy" if "dy" in found else name, SUPPORTED)
                raise TypeError(f"{broken}: {message}")
        return found[self._first]

    # Output ----------------------------------------------------------------------------------------------

    def set_output(
        self, shape: tuple[int, ...], out: Any, may_be: tuple[str, ...], dtype: Any = None
    ) -> None:
        """Take `out` as the place of the result, or decide to make a new one.

        Parameters
        ----------
        shape : tuple of int
            The result's shape.
        out : object
            What the caller gave, or None.
        may_be : tuple of str
            The inputs that `out` may be; with every input it may share no memory otherwise.
        dtype : dtype, optional
            The result's element type if it is not the inputs'.
        """
        self._shape, self._out = shape, out
        self._result_dtype = DTYPES[self.dtype] if dtype is None else np.dtype(dtype)
        if out is None:
            return
        kind = _kind(OUT_FITS, "out", out)
        if (kind == "numpy") != (self._kind == "numpy"):
            one, other = ("NumPy" if k == "numpy" else "on the device" for k in (self._kind, kind))
            raise TypeError(f"{OUT_FITS}: {self._first} is {one}, out is {other}")
        layout: Any = out if kind == "numpy" else as_device_array(out)
        if tuple(layout.shape) != shape:
            raise ValueError(f"{OUT_FITS}: out has shape {tuple(layout.shape)}, the result has shape {shape}")
        if layout.dtype != self._result_dtype:
            message = f"out has dtype {layout.dtype}, the result has dtype {self._result_dtype}"
            raise ValueError(f"{OUT_FITS}: {message}")
        if not (layout.flags.writeable if kind == "numpy" else layout.writable):
            raise ValueError(f"{OUT_FITS}: out is read-only")
        if overlaps_itself(layout.shape, layout.strides, layout.dtype.itemsize):
            raise ValueError(
                f"{OUT_OVERLAPS}: out shares memory with itself, its strides are {layout.strides}"
            )
        self._refuse_overlap(layout, may_be)
        self._layouts["out"] = layout

    def _refuse_overlap(self, out: Any, may_be: tuple[str, ...]) -> None:
        place = _memory(out)
        for name, layout in self._layouts.items():
            if name in may_be and _same(layout, out):
                continue
            if _shares_memory(place, _memory(layout)):
                exception = f", and is not {' or '.join(may_be)} itself" if may_be else ""
                raise ValueError(f"{OUT_OVERLAPS}: out shares memory with {name}{exception}")

    # To the device and back -------------------------------------------------------------------------------

    def input(self, name: str) -> DeviceArray:
        """Return an input on the device, copied there if it is a NumPy array."""
        if name not in self._views:
            self._views[name] = upload(self._given[name])
        return self._views[name]

    def output(self) -> DeviceArray:
        """Return where on the device the kernel shall write; ask for all inputs first."""
        dtype = self._result_dtype
        if self._out is None:
            if self._kind == "gpuarray":
                self._out = sys.modules["pycuda.gpuarray"].GPUArray(self._shape, dtype)
                self._result = as_device_array(self._out)
            else:
                self._result = DeviceArray(self._shape, dtype)
        elif self._kind != "numpy":
            self._result = self._layouts["out"]
        else:
            twins = [
                name for name, given in self._given.items() if name in self._views and _same(given, self._out)
            ]
            # In place, the kernel reads and writes one array. Otherwise the caller's bytes go along, so that
            # an element which no kernel writes comes back as it was.
            self._result = self._views[twins[0]] if twins else upload(self._out)
        return self._result

    def result(self) -> Any:
        """Return the result as the kind of array that came in."""
        if self._result is None:  # nothing was computed: the result is empty
            self.output()
        assert self._result is not None
        if self._kind == "numpy":
            if self._out is None:
                return self._result.get()
            self._out[...] = self._result.get()
            return self._out
        return self._result if self._out is None else self._out


def upload(array: NDArray[Any]) -> DeviceArray:
    """Copy a NumPy array to the device with its strides and its distance from a 16-byte boundary."""
    only_here("an array is copied to the device")
    itemsize, pointer = array.dtype.itemsize, array.__array_interface__["data"][0]
    low, high = span(array)
    aligned = pointer % itemsize == 0 and all(stride % itemsize == 0 for stride in array.strides)
    if not aligned or high - low > SPREAD * array.nbytes + 4096:
        array = np.array(array, order="C")
        pointer, (low, high) = array.__array_interface__["data"][0], span(array)
    pad = (pointer + low) % 16
    memory = device().allocate(max(1, pad + high - low))
    first = int(memory) + pad
    if high > low:
        device().driver.memcpy_htod(first, _bytes(array, low, high))
    return DeviceArray(array.shape, array.dtype, array.strides, first - low, owner=memory)


class _Bytes:
    """The bytes that an array spans, gaps included, as NumPy sees them; keeps the array alive."""

    def __init__(self, array: NDArray[Any], low: int, high: int) -> None:
        self._array = array
        self.__array_interface__ = {
            "shape": (high - low,),
            "typestr": "|u1",
            "data": (array.__array_interface__["data"][0] + low, True),
            "version": 3,
        }


def _bytes(array: NDArray[Any], low: int, high: int) -> NDArray[np.uint8]:
    return np.asarray(_Bytes(array, low, high))


def _kind(clause: str, name: str, value: Any) -> str:
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray | np.matrix):
        return "numpy"
    gpuarray = sys.modules.get("pycuda.gpuarray")
    if gpuarray is not None and isinstance(value, gpuarray.GPUArray):
        return "gpuarray"
    if hasattr(value, "__cuda_array_interface__"):
        return "interface"
    expected = "a NumPy array, or an array on the device with __cuda_array_interface__"
    raise TypeError(f"{clause}: {name} must be {expected}, got {type(value).__name__}")


def _memory(layout: Any) -> NDArray[Any]:
    return layout if isinstance(layout, np.ndarray) else phantom(layout)


def _shares_memory(one: NDArray[Any], other: NDArray[Any]) -> bool:
    limit: Any = 10_000  # steps of an exact search, which can take exponentially many
    try:
        return bool(np.shares_memory(one, other, max_work=limit))
    except np.exceptions.TooHardError:
        return True


def _same(one: Any, other: Any) -> bool:
    """Return whether two arrays have the same elements at the same addresses."""
    a, b = _memory(one), _memory(other)
    here, there = a.__array_interface__["data"][0], b.__array_interface__["data"][0]
    steps = [
        (s, t) for s, t, length in zip(a.strides, b.strides, a.shape, strict=False) if length > 1
    ]  # of an axis of length 1 the stride means nothing
    return here == there and a.shape == b.shape and all(s == t for s, t in steps)
