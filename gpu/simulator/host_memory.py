"""Host memory that the device sees: page-locked, managed, and registered.

What is allocated here lies in the device's memory, whose addresses are those of the process, so that kernels
and NumPy share it. All of it counts as written, for nobody sees what the host writes.

Examples
--------
>>> import numpy as np
>>> from gaugeblock.gpu.simulator.host_memory import pagelocked_empty
>>> x = pagelocked_empty((2, 3), np.float32)
>>> x.base.get_device_pointer() == x.ctypes.data
True
"""

from __future__ import annotations

import itertools
import math
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator import driver
from gaugeblock.gpu.simulator.errors import LogicError

__all__ = [
    "AlignedHostAllocation",
    "HostPointer",
    "ManagedAllocation",
    "PagelockedHostAllocation",
    "RegisteredHostMemory",
    "aligned_empty",
    "managed_empty",
    "nbytes",
    "pagelocked_empty",
    "register_host_memory",
]


class HostPointer:
    """Memory of the host; what an array is based on."""

    _address = 0

    def get_device_pointer(self) -> int:
        """Return the address by which kernels know it."""
        return self._address

    def array(self, shape: Any, dtype: Any, order: str = "C") -> NDArray[Any]:
        """Return an array of it, whose ``base`` this object is."""
        return _array(self, self._address, shape, dtype, order)


class PagelockedHostAllocation(HostPointer):
    """Page-locked memory."""

    def __init__(self, size: int, flags: int = 0) -> None:
        self._memory, self._flags, self.held = ManagedAllocation(size), flags, True
        self._address = int(self._memory)

    def free(self) -> None:
        """Give the memory back."""
        self.held = False
        self._memory.free()

    def get_flags(self) -> int:
        """Return the flags that it was allocated with."""
        return self._flags


class AlignedHostAllocation(HostPointer):
    """Memory of the host alone, at a multiple of `alignment`."""

    def __init__(self, size: int, alignment: int) -> None:
        self._held = np.empty(size + alignment, np.uint8)
        self._address = -(-self._held.ctypes.data // alignment) * alignment

    def get_device_pointer(self) -> int:
        """Refused: it was not registered."""
        raise LogicError("cuMemHostGetDevicePointer failed: register_host_memory comes before that")

    def free(self) -> None:
        """Do nothing: the memory goes with the object."""


class ManagedAllocation(driver.DeviceAllocation):
    """Memory that host and device share."""

    def __init__(self, size: int) -> None:
        memory = driver.device_memory()
        super().__init__(memory.allocate(max(1, size)), memory)
        driver.device_bytes(int(self), self.size, True)

    def as_buffer(self, size: int, offset: int = 0) -> memoryview:
        """Return bytes of it."""
        return driver.device_bytes(int(self) + offset, size, True).data

    def get_device_pointer(self) -> int:
        """Return its address."""
        return int(self)

    def attach(self, mem_flags: int, stream: Any = None) -> None:
        """Take who may use it: everybody."""


class RegisteredHostMemory(HostPointer):
    """An array of the host that kernels may use."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._held, self._address = array, array.ctypes.data
        self._lent = ExitStack()
        writable = array.flags.writeable
        label = f"a registered array of {array.nbytes} bytes"
        self._lent.enter_context(driver.lending([(self._address, array.nbytes, writable, label)]))

    def unregister(self) -> None:
        """Let kernels use it no more."""
        self._lent.close()

    __del__ = unregister


def _array(owner: Any, address: int, shape: Any, dtype: Any, order: str) -> NDArray[Any]:
    if order not in ("C", "F"):
        raise LogicError(f"order is {order!r}, expected 'C' or 'F'")
    kind, sizes = np.dtype(dtype), _sizes(shape)
    axes = sizes[::-1] if order == "C" else sizes
    steps = itertools.accumulate(axes[:-1], lambda step, size: step * max(1, size), initial=kind.itemsize)
    strides = tuple(steps)[: len(sizes)]
    interface = {
        "shape": sizes,
        "strides": strides[::-1] if order == "C" else strides,
        "typestr": kind.str,
        "descr": kind.descr,
        "data": (address, False),
        "version": 3,
    }
    owner.__array_interface__ = interface
    try:
        return np.asarray(owner)
    finally:
        del owner.__array_interface__


def _sizes(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if np.ndim(shape) == 0 else tuple(map(int, shape))


def nbytes(shape: Any, dtype: Any) -> int:
    """Return the bytes of a packed array."""
    return math.prod(_sizes(shape)) * int(np.dtype(dtype).itemsize)


def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> NDArray[Any]:
    """Return a page-locked array."""
    return PagelockedHostAllocation(nbytes(shape, dtype), mem_flags).array(shape, dtype, order)


def aligned_empty(shape: Any, dtype: Any, order: str = "C", alignment: int = 4096) -> NDArray[Any]:
    """Return an array at a multiple of `alignment`."""
    return AlignedHostAllocation(nbytes(shape, dtype), alignment).array(shape, dtype, order)


def managed_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> NDArray[Any]:
    """Return an array that kernels use as the host does."""
    owner = ManagedAllocation(nbytes(shape, dtype))
    return _array(owner, int(owner), shape, dtype, order)


def register_host_memory(ary: NDArray[Any], flags: int = 0) -> NDArray[Any]:
    """Let kernels use a host array, and return it as one whose base is a `RegisteredHostMemory`."""
    if not isinstance(ary, np.ndarray) or not ary.flags.forc:
        raise LogicError("register_host_memory failed: expected a contiguous NumPy array")
    owner = RegisteredHostMemory(ary)
    return owner.array(ary.shape, ary.dtype, "C" if ary.flags.c_contiguous else "F")
