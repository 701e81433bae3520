"""Memory in rows with gaps between them: ``mem_alloc_pitch``, ``memset_d2d*``, ``Memcpy2D`` and ``Memcpy3D``.

Every row is held to the allocation, or to the host's array, that it lies in.

Examples
--------
>>> import numpy as np
>>> from gaugeblock.gpu.simulator import driver
>>> from gaugeblock.gpu.simulator.pitched import Memcpy2D, mem_alloc_pitch
>>> x = np.arange(6, dtype=np.float32).reshape(2, 3)
>>> memory, pitch = mem_alloc_pitch(12, 2, 4)
>>> copy = Memcpy2D()
>>> copy.set_src_host(x)
>>> copy.set_dst_device(memory)
>>> copy.src_pitch, copy.dst_pitch, copy.width_in_bytes, copy.height = 12, pitch, 12, 2
>>> copy()
>>> driver.from_device(int(memory) + pitch, 3, np.float32).tolist()
[3.0, 4.0, 5.0]
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator import driver
from gaugeblock.gpu.simulator.errors import LogicError

__all__ = [
    "Memcpy2D",
    "Memcpy3D",
    "mem_alloc_pitch",
    "memset_d2d8",
    "memset_d2d16",
    "memset_d2d32",
]

_PITCH: Final = 512
"""Rows begin at multiples of this."""


def mem_alloc_pitch(width: int, height: int, access_size: int) -> tuple[driver.DeviceAllocation, int]:
    """Allocate `height` rows of `width` bytes, and return how many bytes one begins after another."""
    if access_size not in (4, 8, 16):
        raise LogicError(f"cuMemAllocPitch failed: access size {access_size}, expected 4, 8 or 16")
    pitch = -(-int(width) // _PITCH) * _PITCH
    return driver.mem_alloc(pitch * int(height)), pitch


def _set(dest: Any, pitch: int, data: int, width: int, height: int, fill: Callable[..., None]) -> None:
    for row in range(height):
        fill(int(dest) + row * pitch, data, width)


def memset_d2d8(dest: Any, pitch: int, data: int, width: int, height: int, stream: Any = None) -> None:
    """Fill rows with a byte."""
    _set(dest, pitch, data, width, height, driver.memset_d8)


def memset_d2d16(dest: Any, pitch: int, data: int, width: int, height: int, stream: Any = None) -> None:
    """Fill rows with a 16-bit word."""
    _set(dest, pitch, data, width, height, driver.memset_d16)


def memset_d2d32(dest: Any, pitch: int, data: int, width: int, height: int, stream: Any = None) -> None:
    """Fill rows with a 32-bit word."""
    _set(dest, pitch, data, width, height, driver.memset_d32)


class Memcpy3D:
    """A copy of a box: `depth` slices of `height` rows of `width_in_bytes`, each side with its own steps."""

    width_in_bytes = height = depth = 0
    src_x_in_bytes = src_y = src_z = src_lod = src_pitch = src_height = src_device = 0
    dst_x_in_bytes = dst_y = dst_z = dst_lod = dst_pitch = dst_height = dst_device = 0
    src_memory_type = dst_memory_type = 0

    def __init__(self) -> None:
        self._hosts: dict[str, NDArray[np.uint8]] = {}

    def set_src_host(self, buffer: Any) -> None:
        """Copy from a host array, of any strides: from the address of its first element."""
        self._hosts["src"] = _extent(buffer, False)

    def set_dst_host(self, buffer: Any) -> None:
        """Copy to a host array."""
        self._hosts["dst"] = _extent(buffer, True)

    def set_src_device(self, pointer: Any) -> None:
        """Copy from the device."""
        self.src_device = int(pointer)
        self._hosts.pop("src", None)

    def set_dst_device(self, pointer: Any) -> None:
        """Copy to the device."""
        self.dst_device = int(pointer)
        self._hosts.pop("dst", None)

    set_src_unified, set_dst_unified = set_src_host, set_dst_host

    def set_src_array(self, array: Any) -> None:
        """Refused: there are no arrays of textures."""
        raise no_textures(f"{type(self).__name__}.set_src_array")

    def set_dst_array(self, array: Any) -> None:
        """Refused: there are no arrays of textures."""
        raise no_textures(f"{type(self).__name__}.set_dst_array")

    def __call__(self, stream: Any = None, **others: Any) -> None:
        """Copy, at once."""
        for z in range(self._slices()):
            for y in range(self.height):
                self._row("dst", z, y, True)[:] = self._row("src", z, y, False)

    def _slices(self) -> int:
        return self.depth

    def _row(self, side: str, z: int, y: int, write: bool) -> NDArray[np.uint8]:
        """Return the bytes of a row."""

        def given(name: str) -> int:
            return int(getattr(self, f"{side}_{name}"))

        pitch, width = given("pitch"), int(self.width_in_bytes)
        if (y or z) and pitch < width + given("x_in_bytes"):
            raise LogicError(f"{type(self).__name__}: {side}_pitch is {pitch}, rows have {width} bytes")
        if z and given("height") < self.height + given("y"):
            raise LogicError(
                f"{type(self).__name__}: {side}_height is {given('height')}, slices have {self.height} rows"
            )
        row = (given("z") + z) * given("height") + given("y") + y
        begin = row * pitch + given("x_in_bytes")
        host = self._hosts.get(side)
        if host is None:
            return driver.device_bytes(given("device") + begin, width, write)
        if begin + width > host.size:
            past = begin + width - host.size
            raise LogicError(
                f"{type(self).__name__}: row {y} of slice {z} ends {past} bytes past the host array"
            )
        return host[begin : begin + width]


class Memcpy2D(Memcpy3D):
    """A copy of a rectangle: `height` rows of `width_in_bytes`."""

    def _slices(self) -> int:
        return 1


def _extent(buffer: Any, write: bool) -> NDArray[np.uint8]:
    """Return the bytes from an array's first element to the end of its last."""
    array = np.asarray(buffer)
    if write and not array.flags.writeable:
        raise LogicError("the host array is read-only")
    steps = [(length - 1) * max(step, 0) for length, step in zip(array.shape, array.strides, strict=True)]
    size = sum(steps) + array.itemsize if array.size else 0
    pointed = (ctypes.c_uint8 * size).from_address(array.ctypes.data)
    pointed._owner = array  # type: ignore[attr-defined]
    return np.ctypeslib.as_array(pointed)


def no_textures(what: str) -> LogicError:
    """Return the error for what needs textures or surfaces."""
    return LogicError(f"{what}: the simulated device has no textures and no surfaces")
