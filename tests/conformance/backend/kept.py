"""Results of earlier calls, held to be unchanged: all until the end of a case, one of each case longer.

The child says at which address a result lies; what lies there is read from its memory, not asked for, where
the system allows that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

BYTES, RESULTS = 64 << 20, 4096
"""Most that is kept; the oldest is let go first."""

ELDERS, ELDEST = 64, 1 << 14
"""So many cases' first results are held on, if they have no more than so many bytes."""

ASKED = 4
"""Of those so many of the oldest are looked at after a case, where the child has to be asked for them."""

SPREAD = 1 << 30
"""Most bytes between the ends of a result: what is read, gaps included."""

NEWEST = 1 << 20
"""Most bytes of the newest result for it to be looked at after every call, and not in the end only."""

SMALL = 1 << 18
"""Bytes up to which copying them is the fastest way to compare."""

Read = Callable[[int, int], "NDArray[np.uint8] | None"]
Ask = Callable[["Result"], "NDArray[np.generic] | None"]


@dataclass(eq=False)
class Result:
    """Where a result lies that a call allocated.

    Parameters
    ----------
    number
        Of the call.
    dtype, shape
        As NumPy has them.
    address
        Of the first element in the child's memory; ``None`` if it has no memory of its own: a scalar.
    strides
        Its strides there.
    """

    number: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    address: int | None
    strides: tuple[int, ...]

    @property
    def in_memory(self) -> bool:
        """Whether there is a byte of it that could be changed."""
        return self.address is not None and 0 not in self.shape

    @cached_property
    def interval(self) -> tuple[int, int]:
        """The addresses between its ends."""
        assert self.address is not None
        low = high = self.address
        for stride, size in zip(self.strides, self.shape, strict=True):
            step = stride * (size - 1)
            low, high = (low + step, high) if step < 0 else (low, high + step)
        return low, high + self.dtype.itemsize

    @property
    def spread(self) -> int:
        """Bytes between its ends."""
        low, high = self.interval
        return high - low


class Kept:
    """The results of a case.

    Parameters
    ----------
    read
        Reads so many bytes at an address of the child's memory.
    ask
        Has the child hand over a result again: used where ``read`` is ``None``.
    """

    def __init__(self, read: Read | None, ask: Ask) -> None:
        self.read = read
        self.ask = ask
        self.results: deque[tuple[Result, NDArray[np.generic]]] = deque()
        self.elders: deque[tuple[Result, NDArray[np.generic]]] = deque()
        self.intervals: list[tuple[int, int]] = []
        self.bytes = 0

    def look(self, result: Result) -> NDArray[np.generic] | None:
        """Return a result's elements as they are now, ``None`` if they cannot be had."""
        if self.read is None:
            return self.ask(result)
        if result.spread > SPREAD:
            return None
        low, _ = result.interval
        memory = self.read(low, result.spread)
        if memory is None:
            return None
        first = (result.address or 0) - low
        return np.ndarray(result.shape, result.dtype, memory.data, first, result.strides)

    def add(self, result: Result, values: NDArray[np.generic]) -> str | None:
        """Keep a result; return what is wrong with the memory that it lies in, if anything."""
        low, high = result.interval
        place = bisect_right(self.intervals, (low, high))
        neighbours = self.intervals[max(place - 1, 0) : place + 1]
        neighbours += [elder.interval for elder, _ in self.elders]
        if any(low < other_high and other_low < high for other_low, other_high in neighbours):
            return "returned the memory of an earlier result, not a new array"
        self.results.append((result, values))
        self.intervals.insert(place, (low, high))
        self.bytes += values.nbytes
        while len(self.results) > 1 and (self.bytes > BYTES or len(self.results) > RESULTS):
            self._drop()
        return None

    @property
    def oldest(self) -> int | None:
        """Number of the oldest call of this case whose result is kept."""
        return self.results[0][0].number if self.results else None

    @property
    def numbers_of_elders(self) -> list[int]:
        """Numbers of the calls of earlier cases whose results are kept."""
        return [elder.number for elder, _ in self.elders]

    def newest_changed(self) -> bool:
        """Look at the newest result, if that is cheap; forget all if it has changed."""
        if self.read is None or not self.results or self.results[-1][0].spread > NEWEST:
            return False
        return self._changed(*self.results[-1])

    def any_changed(self) -> bool:
        """Look at all results; forget all if one has changed."""
        elders = islice(self.elders, None if self.read is not None else ASKED)
        return any(self._changed(*kept) for kept in (*elders, *self.results))

    def retire(self) -> None:
        """Let the results of a case go, all but its first small one, which stays for the cases to come."""
        small = next((kept for kept in self.results if kept[0].spread <= ELDEST), None)
        if small is not None:
            self.elders.append(small)
            if len(self.elders) > ELDERS:
                self.elders.popleft()
        self._release()

    def clear(self) -> None:
        """Let all results go."""
        self.elders.clear()
        self._release()

    def _release(self) -> None:
        self.results.clear()
        self.intervals.clear()
        self.bytes = 0

    def _changed(self, result: Result, values: NDArray[np.generic]) -> bool:
        found = self.look(result)
        changed = found is None or not _same_bits(found, values)
        if changed:
            self.clear()
        return changed

    def _drop(self) -> None:
        """Let the oldest go."""
        result, values = self.results.popleft()
        del self.intervals[bisect_right(self.intervals, result.interval) - 1]
        self.bytes -= values.nbytes


def _same_bits(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    if other.nbytes <= SMALL:
        return one.tobytes() == other.tobytes()
    bits = f"u{other.itemsize}"
    return np.array_equal(one.view(bits), other.view(bits))
