"""The race detector of global memory.

Two accesses to one byte by different threads of a launch, at least one of them a write, race unless something
orders them (`knowledge`). What a kernel only reads is not looked at: from which parameters its addresses come
is known before it runs (`pointers`). The other accesses are noted, and looked at when a batch of blocks has
ended:

1. most kernels give every byte to one thread. Where places rise evenly from thread to thread, of all blocks
   or of each, that is seen from the first and the last one;
2. else every write leaves its thread's number on what it wrote, and every access must find its own, or none;
3. only if that fails, and for kernels with fences, all that happened is played back (`history`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.checks.grounds import Grounds, Plan
from gaugeblock.gpu.simulator.checks.history import ANY, SAME, STALE, Access, Clash, Columns, History
from gaugeblock.gpu.simulator.checks.knowledge import Knowledge
from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.numbers.lanes import every, some
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.ptx.pointers import PLAIN, Manner
from gaugeblock.gpu.simulator.state.geometry import Index
from gaugeblock.gpu.simulator.state.memory import Allocation

_LONG = 1 << 22
"""Noted (thread, place) pairs after which a batch is looked at before it ends."""
_RUNS = 1 << 8
"""Runs of an access, such as those of its blocks, up to which they are looked at one by one."""
_FEW = 64
"""Notes of a batch up to which it is tried whether their places rise evenly."""


@dataclass(slots=True)
class _Note:
    source: Lowered
    manner: Manner
    lanes: Index
    places: Index
    nbytes: int
    values: Columns


@dataclass(slots=True)
class _Even:
    """Places that rise evenly: of `count` threads from `thread` on, `step` bytes apart, `nbytes` each.

    They are a part of what was noted, from `at` on.
    """

    low: int
    high: int
    step: int
    count: int
    thread: int
    nbytes: int
    note: _Note
    at: int = 0

    def part(self) -> _Note:
        """Return what these threads did of what was noted."""
        mine, note = slice(self.at, self.at + self.count), self.note
        values = tuple(each if len(each) == 1 else each[mine] for each in note.values)
        return replace(note, lanes=note.lanes[mine], places=note.places[mine], values=values)


class GlobalRaces:
    """What the threads of a launch have done to the memory that it writes.

    Parameters
    ----------
    plan : Plan
        Which instructions to watch.
    stored : list of Allocation
        The memory that the kernel writes.
    threads, blocks : int
        Threads of a block, blocks of the launch.
    synchronises : bool
        Whether blocks may wait for each other: then everything is played back.
    warp_synchronous : bool
        Whether the threads of a warp run in step.
    same_bits, other_bits, copies : {"off", "note", "fault"}
        As in `Settings`.
    """

    def __init__(
        self,
        plan: Plan,
        stored: list[Allocation],
        threads: int,
        blocks: int,
        *,
        synchronises: bool,
        warp_synchronous: bool,
        same_bits: str,
        other_bits: str,
        copies: str,
    ) -> None:
        self.threads, self.blocks, self.precise, self.copies = threads, blocks, synchronises, copies
        self.warp_synchronous, self.levels = warp_synchronous, {SAME: same_bits, ANY: other_bits}
        self.watched, self.vague, self.stored = plan.instructions, plan.vague, stored
        self.log: list[_Note | Callable[[], None]] = []
        self.recent: dict[tuple[int, int, int, int], _Note] = {}
        self.even: list[_Even] = []
        self.played: list[_Note] = []
        self.sources: dict[int, _Note] = {}
        self.knowledge: Knowledge | None = None
        self.history: History | None = None
        self.told: set[tuple[int, int]] = set()
        self.volume, self.time, self.first = 0, 1, 0

    @cached_property
    def grounds(self) -> Grounds:
        """The memory that is watched."""
        return Grounds(self.stored, min(each.size for each in self.watched.values()))

    # What happens.

    def begin(self, batch: Reporting, first: int) -> None:
        """Begin a batch of blocks; `first` is the number of its first thread."""
        self.batch, self.first = batch, first

    def note(self, lanes: Index, source: Lowered, places: Index, nbytes: int, values: Columns) -> None:
        """Note an access by an instruction that is watched."""
        manner = self.watched[id(source)]
        if id(source) in self.vague:
            places = np.broadcast_to(places, len(lanes))
            inside = self.grounds.holds(places)
            if not every(inside):
                values = tuple(np.broadcast_to(each, len(lanes))[inside] for each in values)
                lanes, places = lanes[inside], places[inside]
            if not len(lanes):
                return
        if self.precise and manner.strength != PLAIN:
            self.time += 1
        key = id(source), id(places), id(lanes), self.time
        before = self.recent.get(key)
        if before is not None:
            before.values = values
            return
        note = _Note(source, manner, lanes, places, nbytes, values)
        self.recent[key] = note
        self.log.append(note)
        self.volume += len(lanes)
        if self.volume > _LONG:
            self._play()
            self.precise = True

    def barrier(self, blocks: NDArray[np.bool_] | None) -> None:
        """Take notice of a barrier of these blocks of the batch (all for None)."""
        if not self.log and not self.precise:
            return
        self.time += 1
        first = self.first // self.threads
        count = self.batch.blocks
        which = slice(first, first + count) if blocks is None else first + np.flatnonzero(blocks)
        self.log.append(lambda: self._known().barriers(which))

    def synchronise_warp(self, lanes: Index, masks: NDArray[np.uint32]) -> None:
        """Take notice of a ``__syncwarp`` of these lanes."""
        if not self.log and not self.precise:
            return
        self.time += 1
        threads = self.first + lanes
        self.log.append(lambda: self._known().meet(threads, masks))

    def fence(self, lanes: Index, scope: int) -> None:
        """Take notice of a fence."""
        if self.precise:
            self.time += 1
            threads = self.first + lanes
            self.log.append(lambda: self._known().fence(threads, scope))

    def end(self) -> None:
        """Look at what a batch has done."""
        if not self.log:
            return
        if self.precise:
            self._play()
        else:
            notes = [*self.recent.values()]  # all of them: nothing has been played yet
            if not (self._rises_evenly(notes) or self._has_owners(notes)):
                self._play()
            elif self.history is not None:
                self._remember(notes)
        self.log.clear()
        self.recent.clear()
        self.played.clear()
        self.volume = 0
        if self.knowledge is not None:
            self.knowledge.forget(self.first, self.first + self.batch.count)

    # 1. Places that rise evenly.

    def _rises_evenly(self, notes: list[_Note]) -> bool:
        """Say whether every byte is one thread's, as far as first and last places tell."""
        if self.history is not None or len(notes) > _FEW or not all(note.manner.coherent for note in notes):
            return False
        one = notes[0]
        if self.batch.blocks == self.blocks and all(
            note.places is one.places and note.lanes is one.lanes for note in notes
        ):
            notes = [max(notes, key=_bytes)]
        new: dict[tuple[int, int, int], list[_Even]] = {}
        for note in sorted(notes, key=_reads) if len(notes) > 1 else notes:
            key = id(note.places), id(note.lanes), note.nbytes
            if key in new:
                continue
            new[key] = self._even(note)
            if not new[key]:
                return False
        groups: list[list[_Even]] = []
        high = 0
        for even in sorted((even for runs in new.values() for even in runs), key=_low):
            if groups and even.low < high:
                first = groups[-1][0]
                beside = (even.step, even.count, even.thread) == (first.step, first.count, first.thread)
                if not beside or even.low - first.low + even.nbytes > even.step:
                    return False
                groups[-1].append(even)
            else:
                groups.append([even])
            high = max(high, even.high)
        for group in groups:
            high = max([even.high for even in group])
            at = bisect_left(self.even, group[0].low, key=_low) if self.even else 0
            if (at and self.even[at - 1].high > group[0].low) or (
                at < len(self.even) and self.even[at].low < high
            ):
                return False
            for even in group:
                even.high = high
            self.even[at:at] = group
        return True

    def _even(self, note: _Note) -> list[_Even]:
        """Return runs of threads whose places rise evenly; nothing if they are none, or too many."""
        lanes, places, nbytes = note.lanes, note.places, note.nbytes
        count = len(lanes)
        low, first = int(places[0]), int(lanes[0])
        if count == 1:
            return [_Even(low, low + nbytes, nbytes, 1, self.first + first, nbytes, note)]
        if len(places) != count:
            return []
        step = int(places[1]) - low
        if step < nbytes:
            return []
        high = low + step * (count - 1)
        steps = places[1:] - places[:-1] == step
        if int(lanes[-1]) - first == count - 1 and int(places[-1]) == high and every(steps):
            return [_Even(low, high + nbytes, step, count, self.first + first, nbytes, note)]
        starts = [0, *(np.flatnonzero(~steps | (lanes[1:] - lanes[:-1] != 1)) + 1).tolist()]
        if len(starts) > _RUNS:
            return []
        ends = [*starts[1:], count]
        lows, threads = places[starts].tolist(), (self.first + lanes[starts]).tolist()
        return [
            _Even(low, low + step * (end - at - 1) + nbytes, step, end - at, thread, nbytes, note, at)
            for at, end, low, thread in zip(starts, ends, lows, threads, strict=True)
        ]

    # 2. Owners.

    def _has_owners(self, notes: list[_Note]) -> bool:
        """Mark what was written by who wrote it; say whether everybody finds its own marks only."""
        history = self._remembered()
        if history.detailed or any(not note.manner.coherent for note in notes):
            return False
        undo: list[tuple[NDArray[np.uint32], Index, NDArray[np.uint32]]] = []
        writes = [self._access(note, self.first) for note in notes if note.manner.write]
        written = {(id(note.places), id(note.lanes), note.nbytes) for note in notes if note.manner.write}
        good = True
        for access in writes:
            rows, marks = access.marks
            for known in (history.writer, history.reader):
                before = known[rows]
                good &= not some((before != 0) & (before != marks))
            undo.append((history.writer, rows, history.writer[rows]))
            history.mark(access)
        for access in writes if good else ():
            rows, marks = access.marks
            good &= every(history.writer[rows] == marks)
        for note in notes if good else ():
            if note.manner.write or (id(note.places), id(note.lanes), note.nbytes) in written:
                continue
            access = self._access(note, self.first)
            rows, marks = access.marks
            wrote = history.writer[rows]
            good &= not some((wrote != 0) & (wrote != marks))
            undo.append((history.reader, rows, history.reader[rows]))
            history.mark(access)  # one reader is enough: those who will find it are of other blocks
        for access in writes if good else ():
            history.store(access)
        for known, rows, before in () if good else reversed(undo):
            known[rows] = before
        return good

    # 3. Playing back.

    def _play(self) -> None:
        """Play back what has happened."""
        history, knowledge = self._remembered(), self._known()
        log, self.log, self.volume = self.log, [], 0
        self.recent.clear()
        for event in log:
            if not isinstance(event, _Note):
                event()
                continue
            manner = event.manner
            threads = self.first + event.lanes
            strong = self.precise and manner.strength != PLAIN
            if strong and manner.releases:
                knowledge.fence(threads, manner.strength)
            access = self._access(event, self.first)
            self.played.append(event)
            if strong and manner.write:
                knowledge.write(threads, access.granules[:, 0])
            if strong and manner.acquires:
                knowledge.read(threads, access.granules[:, 0])
            access.time = knowledge.now
            history.play(access)
        self._remember(self.played)

    def _remember(self, notes: list[_Note]) -> None:
        for note in notes:
            self.sources.setdefault(id(note.source), note)

    def _known(self) -> Knowledge:
        if self.knowledge is None:
            self.knowledge = Knowledge(self.threads, self.blocks, self.warp_synchronous)
        return self.knowledge

    def _remembered(self) -> History:
        if self.history is None:
            self.history = History(self.grounds.size >> self.grounds.shift, self._known(), self._tell)
            for even in self.even:
                note = even.part()
                self.sources.setdefault(id(note.source), note)
                access = self._access(note, even.thread - int(note.lanes[0]))
                self.history.mark(access)
                self.history.store(access)
            self.even.clear()
        return self.history

    def _access(self, note: _Note, first: int) -> Access:
        return Access(note.source, note.manner, first + note.lanes, self._granules(note), note.values)

    def _granules(self, note: _Note) -> NDArray[np.intp]:
        places = note.places
        if len(places) != len(note.lanes):
            places = np.broadcast_to(places, len(note.lanes))
        return self.grounds.rows(places, note.nbytes)

    # Telling.

    def _tell(self, clash: Clash) -> None:
        """Say what races."""
        access, kind = clash.access, clash.kind
        thread = int(access.threads[clash.at])
        other, pair = self._source(clash), (id(access.source), clash.granule)
        level = self.levels.get(kind, "fault")
        if level == "note":
            bits = "the same bits" if kind == SAME else "different bits"
            self.batch.remark(access.source, f"several threads stored {bits} to one address")
        if level != "fault":
            return
        if pair in self.told:
            return
        self.told.add(pair)
        if self.copies != "fault" and self._is_of_copies(thread, clash, other):
            if self.copies == "note":
                self.batch.remark(access.source, "a thread overwrites what others have read along with it")
            return
        address, what = self.grounds.place(clash.granule)
        verb = _verb(access.manner)
        by = self.batch.name(clash.other)
        name, check = "race", "global_races"
        if kind == STALE:
            name, check = "stale read", "stale_reads"
            why = "ld.global.nc is for what nobody writes while the kernel runs"
        else:
            why = self._why(thread, clash)
        before = "a write" if clash.other_writes else "a read"
        if other is not None and other.opcode in ("atom", "red"):
            before = "an atomic"
        where = " at {other}" if other is not None else ""
        detail = f"{verb} at address {address:#x}, {what}, and {before} by {by}{where}: {why}"
        self.batch.report(
            LaneFault(
                name, detail, thread - self.first, address, source=access.source, other=other, check=check
            )
        )

    def _why(self, thread: int, clash: Clash) -> str:
        """Say what would have ordered two accesses."""
        if clash.access.manner.modifies and clash.other_writes:
            return "one of the two updates may be lost, only an atomic makes one step of it"
        if thread // self.threads == clash.other // self.threads:
            return "no barrier between them"
        knowledge = self._known()
        if knowledge.saw_later(thread, clash.other, clash.time):
            return "no __threadfence() between what was written and the flag that was seen"
        return "blocks run in any order, and nothing makes one wait for the other"

    def _is_of_copies(self, thread: int, clash: Clash, other: Lowered | None) -> bool:
        """Whether a thread overwrites what it has read itself, in the instruction in which another has."""
        if clash.other_writes or thread // self.threads != clash.other // self.threads:
            return False
        for note in self.played:
            if note.source is other:
                at = np.flatnonzero(self.first + note.lanes == thread)
                if len(at) and (self._granules(note)[at[0]] == clash.granule).any():
                    return True
        return False

    def _source(self, clash: Clash) -> Lowered | None:
        """Find the instruction of the other access: the last that was played, or the only one there is."""
        for note in reversed(self.played):
            at = np.flatnonzero(self.first + note.lanes == clash.other)
            there = note.manner.write == clash.other_writes and len(at) > 0
            if there and (self._granules(note)[at[0]] == clash.granule).any():
                return note.source
        kinds = [each for each in self.sources.values() if each.manner.write == clash.other_writes]
        return kinds[0].source if len(kinds) == 1 else None


class Reporting(Protocol):
    """What the detector asks of a batch."""

    blocks: int
    count: int

    def remark(self, source: Lowered, what: str) -> None:
        """Keep a note about an instruction for the user."""

    def report(self, fault: LaneFault) -> None:
        """Raise a fault, or keep it."""

    def name(self, thread: int) -> str:
        """Return what a thread of the launch is called."""


def _verb(manner: Manner) -> str:
    return "an atomic" if manner.updates else "a write" if manner.write else "a read"


def _low(even: _Even) -> int:
    return even.low


def _bytes(note: _Note) -> int:
    return note.nbytes


def _reads(note: _Note) -> bool:
    return not note.manner.write
