"""Results of earlier calls, held to be unchanged until the end of a case, in the suite.

The child says at which address a result lies; what lies there is read from its memory, not asked for, where
the system allows that.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BYTES, RESULTS = 64 << 20, 4096
"""Most that is kept; the oldest is let go first."""

SPREAD = 1 << 30
"""Most bytes between the ends of a result: what is read, gaps included."""

NEWEST = 8 << 20
"""Most bytes of the newest result for it to be looked at after every call."""

Read = Callable[[int, int], "NDArray[np.uint8] | None"]
Ask = Callable[[int], "NDArray[np.generic] | None"]


@dataclass(frozen=True)
class Result:
    """A result that a call allocated.

    Parameters
    ----------
    number
        Of the call.
    values
        Its elements, as they were delivered.
    address
        Of the first element in the child's memory; ``None`` if it has no memory to speak of.
    strides
        Its strides there.
    """

    number: int
    values: NDArray[np.generic]
    address: int | None
    strides: tuple[int, ...]

    @property
    def interval(self) -> tuple[int, int]:
        """The addresses between its ends."""
        assert self.address is not None
        steps = [stride * (size - 1) for stride, size in zip(self.strides, self.values.shape, strict=True)]
        low = self.address + sum(step for step in steps if step < 0)
        return low, self.address + sum(step for step in steps if step > 0) + self.values.itemsize

    def holds(self, found: NDArray[np.generic] | None) -> bool:
        """Tell whether elements have the bits that were delivered."""
        same = found is not None and (found.dtype, found.shape) == (self.values.dtype, self.values.shape)
        return same and found is not None and found.tobytes() == self.values.tobytes()


class Kept:
    """The results of a case.

    Parameters
    ----------
    read
        Reads so many bytes at an address of the child's memory.
    ask
        Has the child hand over the result of a call again: used where ``read`` is ``None``.
    """

    def __init__(self, read: Read | None, ask: Ask) -> None:
        self.read = read
        self.ask = ask
        self.results: deque[Result] = deque()
        self.intervals: list[tuple[int, int]] = []
        self.bytes = 0

    def add(self, result: Result) -> str | None:
        """Keep a result; return what is wrong with the memory that it lies in, if anything."""
        if result.address is None or result.values.size == 0:
            return None
        low, high = result.interval
        if high - low > SPREAD:
            return f"returned an array that spreads over {high - low} bytes"
        if self.read is not None and not result.holds(self._found(result)):
            return "gave an address at which its result does not lie"
        place = bisect_right(self.intervals, (low, high))
        neighbours = self.intervals[max(place - 1, 0) : place + 1]
        if any(low < other_high and other_low < high for other_low, other_high in neighbours):
            return "returned the memory of an earlier result, not a new array"
        self.results.append(result)
        insort(self.intervals, (low, high))
        self.bytes += result.values.nbytes
        while len(self.results) > 1 and (self.bytes > BYTES or len(self.results) > RESULTS):
            self._drop()
        return None

    @property
    def oldest(self) -> int | None:
        """Number of the oldest call whose result is kept."""
        return self.results[0].number if self.results else None

    def newest_changed(self) -> bool:
        """Look at the newest result, if that is cheap; forget all if it has changed."""
        if self.read is None or not self.results or self.results[-1].values.nbytes > NEWEST:
            return False
        return self._changed(self.results[-1])

    def any_changed(self) -> bool:
        """Look at all results; forget all if one has changed."""
        return any(self._changed(result) for result in list(self.results))

    def clear(self) -> None:
        """Let all results go."""
        self.results.clear()
        self.intervals.clear()
        self.bytes = 0

    def _changed(self, result: Result) -> bool:
        changed = not result.holds(self._found(result))
        if changed:
            self.clear()
        return changed

    def _found(self, result: Result) -> NDArray[np.generic] | None:
        """Return a result's elements as they are now."""
        if self.read is None:
            return self.ask(result.number)
        low, high = result.interval
        memory = self.read(low, high - low)
        if memory is None:
            return None
        values, first = result.values, (result.address or 0) - low
        return np.ndarray(values.shape, values.dtype, memory.data, first, result.strides)

    def _drop(self) -> None:
        """Let the oldest go."""
        result = self.results.popleft()
        self.intervals.remove(result.interval)
        self.bytes -= result.values.nbytes
