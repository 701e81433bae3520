"""The memory that suite and backend share: arrays between guard zones, outputs poisoned.

Parent and child map the same file. The parent lays a call's arrays into it, each in a block of
its own with a guard zone on either side; the child sees the very bytes as NumPy views. After the
call the parent compares: a guard zone, a gap between strided elements or an input that changed
was written by the backend.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.problems.problem import Layout

SIZE = 1 << 30
"""Bytes of the shared file; it is sparse, only what is touched takes memory."""

GUARD_BYTES = 512
GUARD = 0xFF
"""Fills guard zones and gaps of inputs: it reads as NaN in every float format, so a stray read shows."""

POISONS = range(0x21, 0x7C)
"""Fill outputs and their guard zones, in another order at every call: positive finite numbers of all formats,
such as 6.3e-19 or 1.3e36. A backend that knew the one that is used could tell a test by it."""


def poison(itemsize: int) -> NDArray[np.uint8]:
    """Return bytes to fill an output with: one poison for each element, and others for its neighbours."""
    order = random.SystemRandom().sample(POISONS, len(POISONS))
    return np.repeat(np.array(order, np.uint8), itemsize)


@dataclass(frozen=True)
class View:
    """Where an array lies in the arena: all that the child needs to see it.

    Parameters
    ----------
    dtype, shape, strides
        As NumPy has them; strides in bytes.
    position
        Byte position of element 0.
    start, stop
        The block the array lies in, guard zones excluded, in bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    position: int
    start: int
    stop: int

    def as_data(self) -> tuple[Any, ...]:
        """Return it as data for a message."""
        return tuple(vars(self).values())

    @classmethod
    def from_data(cls, data: list[Any]) -> View:
        """Return the view that ``as_data`` wrote."""
        dtype, shape, strides, *rest = data
        return cls(dtype, tuple(shape), tuple(strides), *rest)

    def on(self, buffer: mmap.mmap | bytearray, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        """Return the array as a view of ``buffer``."""
        return np.ndarray(self.shape, dtype, buffer, self.position, self.strides)


def place_of_result(free: int, dtype: str, shape: tuple[int, ...]) -> View:
    """Return where the worker copies a result that the function allocated: packed, behind ``free``."""
    start = -(-(free + GUARD_BYTES) // GUARD_BYTES) * GUARD_BYTES
    strides = [np.dtype(dtype).itemsize]
    for size in reversed(shape):
        strides.insert(0, strides[0] * size)
    length, *strides = strides
    return View(dtype, shape, tuple(strides), start, start, start + length)


def create_file() -> int:
    """Return the descriptor of a new, unnamed file of ``SIZE`` bytes, in memory where that is possible.

    The child cannot make it smaller: that would end the suite, which has it mapped.
    """
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), SIZE)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("gaugeblock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, SIZE)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def map_file(descriptor: int) -> mmap.mmap:
    """Map the shared file."""
    return mmap.mmap(descriptor, SIZE)


class Arena:
    """The parent's side: places arrays one after the other and remembers what lay around them.

    Attributes
    ----------
    alignment
        Bytes of which every array's address is a multiple, the offset of its layout aside.
    """

    def __init__(self, buffer: mmap.mmap) -> None:
        self.alignment = 16
        self.placed = 0
        self.buffer = buffer
        self.bytes = np.frombuffer(buffer, np.uint8)
        self.clear()

    def close(self) -> None:
        """Unmap the memory."""
        del self.bytes
        self.buffer.close()

    def clear(self) -> None:
        """Forget all arrays; the next is placed at the start."""
        self.top = 0

    def place(
        self,
        name: str,
        dtype: np.dtype[np.generic],
        shape: tuple[int, ...],
        layout: Layout,
        fill: int | NDArray[np.uint8],
    ) -> View:
        """Reserve a block for an array, ``fill`` it and its guard zones, and return where it lies."""
        strides, first, length = layout.place(shape)
        self.placed += 1
        # Somewhere else at every call: who takes more for granted than the alignment shows it.
        shift = (self.placed * 5 * 16) % GUARD_BYTES // self.alignment * self.alignment
        start = self.top + GUARD_BYTES + shift
        stop = start + length * dtype.itemsize
        end = (stop + 2 * GUARD_BYTES - 1) // GUARD_BYTES * GUARD_BYTES
        if end > SIZE:
            raise MemoryError(f"{name} of shape {shape} does not fit into the shared memory of {SIZE} bytes")
        self.bytes[self.top : end] = fill if isinstance(fill, int) else np.resize(fill, end - self.top)
        self.top = end
        return View(
            dtype.name,
            shape,
            tuple(s * dtype.itemsize for s in strides),
            start + first * dtype.itemsize,
            start,
            stop,
        )

    def snapshot(self, view: View) -> NDArray[np.uint8]:
        """Return a copy of a block's bytes, guard zones included."""
        return self.bytes[view.start - GUARD_BYTES : view.stop + GUARD_BYTES].copy()

    def outside_changed(
        self, view: View, before: NDArray[np.uint8], dtype: np.dtype[np.generic]
    ) -> int | None:
        """Return the offset (in elements from element 0) of a changed byte that belongs to no element."""
        mask = np.zeros(before.size, np.uint8)
        inner = view.position - (view.start - GUARD_BYTES)
        if all(view.shape):
            cells = np.ndarray((*view.shape, dtype.itemsize), np.uint8, mask.data, inner, (*view.strides, 1))
            cells[...] = 1
        changed = np.flatnonzero((self.snapshot(view) != before) & (mask == 0))
        return None if changed.size == 0 else int(changed[0] - inner) // dtype.itemsize
