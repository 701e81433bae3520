"""A pool of device memory: what was freed is given out again, and the driver is not asked.

The driver waits for the device whenever it frees memory. What is freed here may be in use yet: by launches on
the default stream, which are over before the next ones on it begin. So all that the pool gives out is used on
that stream, or on one that waits for it (:func:`gaugeblock.gpu.runtime.plan.planned`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Block", "Memory", "Pool", "Shelf"]

Memory = tuple[int, Any]


class Shelf:
    """Memory of one size that nobody uses: any thread may take from it and put back what it took."""

    def __init__(self, size: int, allocate: Callable[[int], Any], keeps: bool) -> None:
        self._size, self._allocate, self._keeps = size, allocate, keeps
        self.free: list[Memory] = []

    def take(self) -> Memory:
        """Return memory: its address, and what keeps it."""
        try:
            return self.free.pop()
        except IndexError:
            memory = self._allocate(self._size)
            return int(memory), memory

    def put(self, memory: Memory) -> None:
        """Take memory back."""
        if self._keeps:
            self.free.append(memory)


class Block:
    """Memory of a shelf; with the object it goes back there."""

    __slots__ = ("_memory", "_shelf")

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._memory = shelf, shelf.take()

    def __int__(self) -> int:
        return self._memory[0]

    def __index__(self) -> int:
        return self._memory[0]

    def __del__(self) -> None:
        self._shelf.put(self._memory)


class Pool:
    """Memory of a device by sizes.

    Parameters
    ----------
    allocate : callable
        Asks the driver for so many bytes; the result has an address as an integer, and frees with itself.
    keeps : bool
        Whether it is one. On the simulated device, which tells what nobody wrote from what was left behind
        and where an array ends, all memory is new and of the size that was asked for.
    """

    def __init__(self, allocate: Callable[[int], Any], keeps: bool) -> None:
        self._ask, self._keeps = allocate, keeps
        self._shelves: dict[int, Shelf] = {}

    def shelf(self, nbytes: int) -> Shelf:
        """Return where memory of at least so many bytes is."""
        if not self._keeps:
            return Shelf(nbytes, self._ask, False)
        size = rounded(nbytes)
        return self._shelves.setdefault(size, Shelf(size, self._allocate, True))

    def _allocate(self, size: int) -> Any:
        try:
            return self._ask(size)
        except Exception as error:
            if type(error).__name__ != "MemoryError":  # PyCUDA's, or that of our driver
                raise
            self.trim()
            return self._ask(size)

    def trim(self) -> None:
        """Give the driver what nobody uses."""
        for shelf in list(self._shelves.values()):
            shelf.free.clear()


def rounded(nbytes: int) -> int:
    """Return the size of a block: at most an eighth more than what is asked for.

    Examples
    --------
    >>> rounded(1), rounded(512), rounded(1025), rounded(1_000_000)
    (512, 512, 1152, 1048576)
    """
    step = max(512, 1 << max(0, (nbytes - 1).bit_length() - 4)) if nbytes > 1 << 13 else 128
    return max(512, -(-nbytes // step) * step)
