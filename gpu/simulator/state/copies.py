"""Copies from global to shared memory that are in flight: issued, and moved when somebody waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.state.geometry import Index
from gaugeblock.gpu.simulator.state.memory import GlobalMemory, Window


@dataclass(slots=True)
class Pending:
    """A copy that has been asked for: per lane source, destination, bytes to read, and the lane's group.

    `asked` is what lay at the source then, `number` counts the copies.
    """

    lanes: Index
    group: NDArray[np.int64]
    source: NDArray[np.intp]
    target: NDArray[np.intp]
    length: NDArray[np.intp]
    size: int
    instruction: Lowered
    asked: NDArray[np.uint8] | None = None
    number: int = 0


class Copies:
    """The copies in flight of the threads of a batch; groups are counted per thread."""

    def __init__(self, lanes: int, memory: GlobalMemory, shared: Window, watch: Callable[..., None]) -> None:
        self.memory, self.shared, self.watch = memory, shared, watch
        self.committed = np.zeros(lanes, np.int64)
        self.pending: list[Pending] = []
        self.issued = 0
        self.tracked: list[tuple[Index, Index, int]] = []

    def issue(self, copy: Pending) -> None:
        """Begin a copy: until it is waited for, nothing of worth lies at its destination."""
        copy.asked = self._data(copy.source, copy.length, copy.size)
        self.shared.bytes.shadow[copy.target[:, None] + np.arange(copy.size)] = 1
        self.shared.all_written, self.shared.copied_to = False, True
        self.issued += 1
        copy.number = self.issued
        self.pending.append(copy)

    def commit(self, lanes: Index) -> None:
        """Close the group that these threads have been filling."""
        self.committed[lanes] += 1

    def track(self, lanes: Index, places: Index) -> None:
        """Let the mbarriers at these places in shared memory know of what these threads have issued."""
        self.tracked.append((lanes, places, self.issued))

    def land(self, places: Index) -> Index:
        """Complete the copies that mbarriers at these places know of; return the place of each arrival."""
        arriving: list[Index] = []
        left: list[tuple[Index, Index, int]] = []
        for lanes, at, issued in self.tracked:
            mine = np.isin(at, places)
            if mine.any():
                self.wait(lanes[mine], None, issued)
                arriving.append(at[mine])
            if not mine.all():
                left.append((lanes[~mine], at[~mine], issued))
        self.tracked = left
        return np.concatenate([np.zeros(0, np.intp), *arriving])

    def wait(self, lanes: Index, newest: int | None, issued: int | None = None) -> None:
        """Complete all groups of these threads but the `newest`; for None all copies, committed or not.

        With `issued` only the first so many copies.
        """
        waiting = np.zeros(len(self.committed), np.bool_)
        waiting[lanes] = True
        left: list[Pending] = []
        for copy in self.pending:
            due = waiting[copy.lanes]
            if issued is not None:
                due &= copy.number <= issued
            if newest is not None:
                due &= copy.group < self.committed[copy.lanes] - newest
            if due.all():
                self._move(copy, slice(None), lanes)
                continue
            if due.any():
                self._move(copy, np.flatnonzero(due), lanes)
                copy = _rest(copy, np.flatnonzero(~due))
            left.append(copy)
        self.pending = left

    def _data(self, source: NDArray[np.intp], length: NDArray[np.intp], size: int) -> NDArray[np.uint8]:
        """Return what lies at the source, and zeros for what is not to be read."""
        columns = np.arange(size)
        data = np.zeros((len(source), size), np.uint8)
        reads = columns < length[:, None]
        data[reads] = self.memory.bytes.data[(source[:, None] + columns)[reads]]
        return data

    def _move(self, copy: Pending, chosen: Index | slice, lanes: Index) -> None:
        """Copy, and fill with zeros what the source does not give."""
        source, target, length = copy.source[chosen], copy.target[chosen], copy.length[chosen]
        data = self._data(source, length, copy.size)
        if copy.asked is not None and not np.array_equal(data, copy.asked[chosen]):
            changed = copy.lanes[chosen][(data != copy.asked[chosen]).any(axis=1)]
            what = "the source of the copy at {other} was written before the copy was waited for"
            raise LaneFault("race", what, int(np.searchsorted(lanes, changed[0])), other=copy.instruction)
        places = target[:, None] + np.arange(copy.size)
        self.shared.bytes.data[places] = data
        self.shared.bytes.shadow[places] = 3
        self.watch(copy.lanes[chosen], copy.instruction, "shared", target, copy.size, write=True)


def _rest(copy: Pending, chosen: Index) -> Pending:
    return Pending(
        copy.lanes[chosen], copy.group[chosen], copy.source[chosen], copy.target[chosen],
        copy.length[chosen], copy.size, copy.instruction,
        None if copy.asked is None else copy.asked[chosen], copy.number,
    )  # fmt: skip
