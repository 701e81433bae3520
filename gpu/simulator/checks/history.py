"""The history of memory: who wrote each granule last, who read it, and whether the next one knows of that.

Accesses are played back in the order in which they happened. Two of different threads to one granule, at
least one of them a write, race unless the later one knows of the earlier (`Knowledge`), or both are strong
enough to be seen as they happen. Of readers the last ones of two blocks are remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.checks.knowledge import Knowledge
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.ptx.pointers import BLOCK, DEVICE, PLAIN, Manner
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

Columns: TypeAlias = tuple[NDArray[Any], ...]

READ, WRITE, SAME, ANY, STALE = "read", "write", "same bits", "other bits", "stale"
"""What a clash is with: a read, a write, a write of the same or other bits by one instruction."""


@dataclass
class Access:
    """What threads did with one instruction: `granules` are a row for each thread."""

    source: Lowered
    manner: Manner
    threads: Index
    granules: NDArray[np.intp]
    values: Columns = ()
    time: int = 0

    @cached_property
    def marks(self) -> tuple[Index, NDArray[np.uint32]]:
        """All granules in a row, and the mark of the thread of each."""
        width = self.granules.shape[1]
        marks = (self.threads + 1).astype(np.uint32)
        return self.granules.reshape(-1), marks if width == 1 else np.repeat(marks, width)


@dataclass(frozen=True, slots=True)
class Clash:
    """Two accesses that race: of a thread in `access`, and of another before (or in the same instruction)."""

    access: Access
    at: int
    granule: int
    other: int
    other_writes: bool
    time: int
    kind: str


Report: TypeAlias = Callable[[Clash], None]


class History:
    """The history of a range of memory, in granules.

    Attributes
    ----------
    writer, reader : array of uint32
        1 + the number of the thread that wrote, or read, a granule last; 0 for none.
    """

    def __init__(self, granules: int, knowledge: Knowledge, report: Report) -> None:
        self.knowledge, self.report = knowledge, report
        self.size = granules
        self.writer = np.zeros(granules, np.uint32)
        self.reader = np.zeros(granules, np.uint32)
        self.value = np.zeros(granules, np.uint64)
        self.detailed = False

    def _detail(self) -> None:
        """Make room for what only memory needs that is shared."""
        self.detailed = True
        self.wrote_at, self.read_at, self.other_at, self.other = (
            np.zeros(self.size, np.uint32) for _ in range(4)
        )
        self.strength, self.reads, self.several, self.constant = (
            np.zeros(self.size, np.uint8) for _ in range(4)
        )

    def mark(self, access: Access) -> None:
        """Let an access happen to granules that nobody else has to do with, but for what it stores."""
        rows, marks = access.marks
        (self.writer if access.manner.write else self.reader)[rows] = marks

    def store(self, access: Access) -> None:
        """Remember what an access stored."""
        values = _values(access, access.granules.shape[1])
        if values is not None:
            self.value[access.marks[0]] = values

    def play(self, access: Access) -> None:
        """Let an access happen."""
        if not self.detailed:
            self._detail()
        rows, width = access.granules.reshape(-1), access.granules.shape[1]
        threads = access.threads if width == 1 else np.repeat(access.threads, width)
        strength = access.manner.strength
        self._keep_constant(access, rows)
        if not access.manner.write:
            self._after_write(access, rows, threads, None)
            self._remember_read(access, rows, threads)
            return
        values = _values(access, width)
        self._after_write(access, rows, threads, values)
        self._after_reads(access, rows, threads)
        marks = (threads + 1).astype(np.uint32)
        self.writer[rows] = marks
        if values is not None:
            self.value[rows] = values
        if strength < DEVICE or access.manner.modifies:
            lost = self.writer[rows] != marks
            if strength == BLOCK and not access.manner.modifies:
                last = self.writer[rows].astype(np.intp) - 1
                lost &= last // self.knowledge.threads != threads // self.knowledge.threads
            if lost.any():
                self._within(access, rows, lost, values)
        self.wrote_at[rows], self.strength[rows] = access.time, strength

    def _keep_constant(self, access: Access, rows: Index) -> None:
        """Find what is read as constant and written, whoever does so, and when."""
        if not access.manner.coherent:
            self.constant[rows] = 1
        bad = self.writer[rows] if not access.manner.coherent else self.constant[rows]
        if (access.manner.write or not access.manner.coherent) and bad.any():
            which, writes = int(np.argmax(bad > 0)), not access.manner.coherent
            other = int((self.writer if writes else self.reader)[rows[which]]) - 1
            self._tell(access, rows, which, other, writes, 0, STALE)

    def _after_write(
        self, access: Access, rows: Index, threads: Index, values: NDArray[np.uint64] | None
    ) -> None:
        """Find writes before that the threads do not know of."""
        before = self.writer[rows]
        suspect = np.flatnonzero((before != 0) & (before != access.marks[1]))
        if not len(suspect):
            return
        mine, at = threads[suspect], rows[suspect]
        other = before[suspect].astype(np.intp) - 1
        open_ = ~self._strong(access.manner.strength, self.strength[at], mine, other)
        open_ |= access.manner.modifies
        open_ |= self._hurried(access, mine, other, self.wrote_at[at])
        open_ &= ~self.knowledge.knows(mine, other, self.wrote_at[at], np.zeros(len(at), np.uint8))
        if not open_.any():
            return
        same = np.zeros(len(at), np.bool_)
        if values is not None and not access.manner.modifies:
            same = open_ & (self.value[at] == values[suspect])
        for bad, kind in ((open_ & ~same, WRITE), (open_ & same, SAME)):
            if bad.any():
                which = int(np.argmax(bad))
                time = int(self.wrote_at[at[which]])
                self._tell(access, rows, int(suspect[which]), int(other[which]), True, time, kind)

    def _hurried(
        self, access: Access, mine: Index, other: Index, times: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Say who reads, strongly, what another wrote before something that the reader has seen of it."""
        found = np.zeros(len(mine), np.bool_)
        if access.manner.write or access.manner.strength == PLAIN or not self.knowledge.spoken:
            return found
        for at in np.flatnonzero(self.knowledge.known[mine]):
            found[at] = self.knowledge.saw_later(int(mine[at]), int(other[at]), int(times[at]))
        return found

    def _after_reads(self, access: Access, rows: Index, threads: Index) -> None:
        """Find reads before that the writing threads do not know of."""
        for readers, times in ((self.reader, self.read_at), (self.other, self.other_at)):
            before = readers[rows]
            several = self.several[rows] if readers is self.reader else np.zeros(len(rows), np.uint8)
            own = (before == (threads + 1).astype(np.uint32)) & (several == 0)
            suspect = np.flatnonzero((before != 0) & ~own)
            if not len(suspect):
                continue
            mine, at = threads[suspect], rows[suspect]
            other = before[suspect].astype(np.intp) - 1
            open_ = ~self._strong(access.manner.strength, self.reads[at], mine, other)
            open_ &= ~self.knowledge.knows(mine, other, times[at], several[suspect])
            if open_.any():
                which = int(np.argmax(open_))
                self._tell(
                    access, rows, int(suspect[which]), int(other[which]), False, int(times[at[which]]), READ
                )

    def _remember_read(self, access: Access, rows: Index, threads: Index) -> None:
        """Remember who read last: one thread, or of those who did so at one time how far they are apart."""
        marks = (threads + 1).astype(np.uint32)
        before = self.reader[rows]
        old = before.astype(np.intp) - 1
        away = (before != 0) & (threads // self.knowledge.threads != old // self.knowledge.threads)
        moved = rows[away]
        self.other[moved], self.other_at[moved] = self.reader[moved], self.read_at[moved]
        together = (before != 0) & ~away & (self.read_at[rows] == access.time)
        several = np.where(together, np.maximum(self.several[rows], self._apart(threads, old)), 0)
        self.reader[rows] = marks
        self.read_at[rows], self.reads[rows] = access.time, access.manner.strength
        self.several[rows] = 0
        several = np.maximum(several, self._apart(threads, self.reader[rows].astype(np.intp) - 1))
        np.maximum.at(self.several, rows[several > 0], several[several > 0].astype(np.uint8))

    def _apart(self, mine: Index, other: Index) -> NDArray[np.uint8]:
        """Return 0 for the same thread, 1 for the same warp, else 2."""
        threads = self.knowledge.threads
        warps = mine // threads == other // threads
        warps &= mine % threads // WARP == other % threads // WARP
        return np.where(mine == other, 0, np.where(warps, 1, 2)).astype(np.uint8)

    def _strong(self, mine: int, theirs: NDArray[np.uint8], me: Index, other: Index) -> NDArray[np.bool_]:
        """Say whether two accesses are both seen as they happen."""
        if mine == PLAIN:
            return np.zeros(len(me), np.bool_)
        same = me // self.knowledge.threads == other // self.knowledge.threads
        both: NDArray[np.bool_] = np.where(same, theirs > PLAIN, (theirs == DEVICE) & (mine == DEVICE))
        return both

    def _within(
        self, access: Access, rows: Index, lost: NDArray[np.bool_], values: NDArray[np.uint64] | None
    ) -> None:
        """Tell of several threads that stored to one granule with one instruction."""
        same = np.zeros(len(rows), np.bool_)
        if values is not None and not access.manner.modifies:
            same = lost & (self.value[rows] == values)
        for bad, kind in ((lost & ~same, ANY), (lost & same, SAME)):
            if bad.any():
                which = int(np.argmax(bad))
                other = int(self.writer[rows[which]]) - 1
                self._tell(access, rows, which, other, True, access.time, kind)

    def _tell(
        self, access: Access, rows: Index, which: int, other: int, writes: bool, time: int, kind: str
    ) -> None:
        at = which // access.granules.shape[1]
        self.report(Clash(access, at, int(rows[which]), other, writes, time, kind))


def _values(access: Access, width: int) -> NDArray[np.uint64] | None:
    """Return what was stored, for each granule; elements of several granules count as a whole."""
    if not access.values:
        return None
    count = len(access.threads)
    if width == 1:
        return np.broadcast_to(access.values[0], count).astype(np.uint64)
    block = np.empty((count, len(access.values)), np.uint64)
    for column, value in enumerate(access.values):
        block[:, column] = value
    return np.repeat(block, width // len(access.values), axis=1).reshape(-1) if width else None
