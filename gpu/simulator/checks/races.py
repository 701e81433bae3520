"""The race detector of shared memory.

Two accesses of one block to one byte, at least one of them a write, by different threads, race unless a
barrier lies between them; a ``__syncwarp`` orders the threads of its warp among themselves. Order within
the stretch between two barriers does not matter for that, so accesses are only noted, and looked at
together at the barrier:

1. every write leaves its warp's number on the bytes it wrote; every access must then find its own number, or
   none (across warps, the whole stretch since the block's last barrier);
2. the same with thread numbers, for each stretch between two ``__syncwarp``;
3. where a ``__syncwarp`` left out lanes of its warp, what happened is played back instead (`history`).

Atomics among themselves do not race. Threads that store the same bits to the same place with one instruction
do by the letter of C++ and PTX; hardware keeps the bits, and compilers rely on it (every reduction of Triton
does). That is a note, and a fault on request (`Settings.same_bits`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.checks.history import ANY, SAME, Access, Clash, History
from gaugeblock.gpu.simulator.checks.knowledge import Knowledge, names_all
from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.numbers.lanes import some
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.ptx.pointers import BLOCK, PLAIN, Manner
from gaugeblock.gpu.simulator.state.frame import Blocks, Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

Columns: TypeAlias = tuple[NDArray[Any], ...]

_LONG = 1 << 22
"""Noted (lane, place) pairs after which repetitions are looked for."""
_ATOMIC, _AGREED = 0x4000, 0x2000


@dataclass(slots=True)
class _Note:
    """One instruction's access: bytes, lanes, and how many ``__syncwarp`` these lanes had passed.

    `values` are what a store wrote, a column for each element of a vector; `agreed` are marks where
    others wrote the same, one for each instruction.
    """

    source: Lowered
    lanes: Index
    places: Index
    nbytes: int
    write: bool
    atomic: bool
    stretch: int
    values: Columns = ()
    time: int = 0
    agreed: NDArray[np.uint16] | None = None


class Races:
    """What the threads of a batch have done to shared memory since the last barrier."""

    def __init__(self, batch: Blocks, same_bits: str, other_bits: str, warp_synchronous: bool) -> None:
        self.batch, self.warp_synchronous = batch, warp_synchronous
        self.same_bits, self.other_bits = same_bits, other_bits
        self.notes: list[_Note] = []
        self.meetings: list[tuple[Index, NDArray[np.uint32]]] = []  # lanes and masks, since the last barrier
        self.partial = False
        self.stretch = np.zeros(batch.count, np.int32)
        self.deepest = 0
        self.volume, self.longest = 0, _LONG
        # Who wrote a byte: 1 + the number of the thread (or warp) in its block. 16 bits per byte of memory.
        self.owner = np.zeros(len(batch.shared.bytes.data), np.uint16)
        within = batch.all_lanes % batch.place.threads
        self.thread_code = (within + 1).astype(np.uint16)
        self.warp_code = (within // WARP + 1).astype(np.uint16)

    def note(
        self,
        frame: Frame,
        source: Lowered,
        places: Index,
        nbytes: int,
        write: bool,
        atomic: bool,
        values: Columns,
    ) -> None:
        """Note an access by a frame."""
        columns = tuple(map(frame.expand, values))
        self.note_lanes(frame.lanes, source, frame.expand(places), nbytes, write, atomic, columns)

    def note_lanes(
        self,
        lanes: Index,
        source: Lowered,
        places: Index,
        nbytes: int,
        write: bool,
        atomic: bool = False,
        values: Columns = (),
    ) -> None:
        """Note an access by these lanes."""
        if not self.deepest:
            self.notes.append(_Note(source, lanes, places, nbytes, write, atomic, 0, values))
            self._keep_short(len(lanes))
            return
        passed = self.stretch[lanes]
        for stretch in range(int(passed.min()), int(passed.max()) + 1):
            mine = np.flatnonzero(passed == stretch)
            if len(mine):
                time = len(self.meetings)
                note = _Note(source, lanes, places, nbytes, write, atomic, stretch, values, time)
                self.notes.append(_part(note, mine))
        self._keep_short(len(lanes))

    def _keep_short(self, added: int) -> None:
        """Drop repetitions once the notes of a stretch without barriers have become long."""
        self.volume += added
        if self.volume < self.longest:
            return
        groups: dict[tuple[int, int, int], list[_Note]] = {}
        for note in self.notes:
            groups.setdefault((id(note.source), note.stretch, note.time), []).append(note)
        self.notes = []
        for group in groups.values():
            places = np.concatenate([note.places for note in group])
            keys = places * self.batch.count + np.concatenate([note.lanes for note in group])
            values = _columns(group)
            if values:
                order = np.lexsort((*values, keys))
                keys, *values = (column[order] for column in (keys, *values))
                new = np.logical_or.reduce([np.diff(column) != 0 for column in (keys, *values)])
                keys, *values = (column[np.r_[True, new]] for column in (keys, *values))
            else:
                keys = np.unique(keys)
            places, lanes = np.divmod(keys, self.batch.count)
            self.notes.append(replace(group[0], lanes=lanes, places=places, values=tuple(values)))
        self.volume = sum(len(note.lanes) for note in self.notes)
        self.longest = max(_LONG, 2 * self.volume)

    def synchronise_warp(self, lanes: Index, masks: NDArray[np.uint32]) -> None:
        """Begin a new stretch for these lanes, after a ``__syncwarp`` of those that the masks name."""
        self.meetings.append((lanes, masks))
        self.partial = self.partial or not names_all(lanes, masks, self.batch.place.threads)
        self.stretch[lanes] += 1
        self.deepest = int(self.stretch.max())

    def barrier(self, blocks: NDArray[np.bool_] | None) -> None:
        """Look for races in these blocks (all for None) and forget their accesses."""
        if blocks is None or blocks.all():
            notes, self.notes = self.notes, []
        else:
            notes, kept = [], []
            for note in self.notes:
                mine = blocks[self.batch.place.block_of[note.lanes]]
                if mine.all():
                    notes.append(note)
                elif not mine.any():
                    kept.append(note)
                else:
                    notes.append(_part(note, np.flatnonzero(mine)))
                    kept.append(_part(note, np.flatnonzero(~mine)))
            self.notes = kept
        self.volume = sum(len(note.lanes) for note in self.notes)
        meetings, partial = self.meetings, self.partial
        if not self.notes:  # else some blocks go on with theirs
            self.meetings, self.partial = [], False
        if not any(note.write for note in notes):
            return
        if partial:
            self._play(notes, meetings)
            return
        if self.warp_synchronous:
            self._check(notes, self.warp_code)
            return
        if not self.deepest:
            self._check(notes, self.thread_code)
            return
        self._check(notes, self.warp_code)
        stretches: dict[int, list[_Note]] = {}
        for note in notes:
            stretches.setdefault(note.stretch, []).append(note)
        for together in stretches.values():
            if any(note.write for note in together):
                self._check(together, self.thread_code)

    def _play(self, notes: list[_Note], meetings: list[tuple[Index, NDArray[np.uint32]]]) -> None:
        """Play back accesses and meetings, and look for races on the way."""
        place = self.batch.place
        blocks = self.batch.count // place.threads
        knowledge = Knowledge(place.threads, blocks, self.warp_synchronous)
        history = History(len(self.owner), knowledge, lambda clash: self._tell(clash, notes))
        passed = 0
        for note in sorted(notes, key=lambda note: note.time):
            for lanes, masks in meetings[passed : note.time]:
                knowledge.meet(lanes, masks)
            passed = max(passed, note.time)
            rows = note.places[:, None] + np.arange(note.nbytes)
            manner = Manner(frozenset(), note.write, note.nbytes, BLOCK if note.atomic else PLAIN)
            history.play(Access(note.source, manner, note.lanes, rows, note.values, knowledge.now))

    def _tell(self, clash: Clash, notes: list[_Note]) -> None:
        """Report a race that was found by playing back."""
        level = {SAME: self.same_bits, ANY: self.other_bits}.get(clash.kind, "fault")
        source = clash.access.source
        if level == "note":
            bits = "the same bits" if clash.kind == SAME else "different bits"
            self.batch.remark(source, f"several threads stored {bits} to one shared address")
        if level != "fault":
            return
        lane, other = int(clash.access.threads[clash.at]), None
        for note in notes:
            at = np.flatnonzero(note.lanes == clash.other)
            there = note.write == clash.other_writes and len(at) > 0
            if there and note.places[at[0]] <= clash.granule < note.places[at[0]] + note.nbytes:
                other = note.source
        address = clash.granule - int(
            self.batch.shared.base[lane] if self.batch.shared.base is not None else 0
        )
        verbs = [
            "a write" if writes else "a read" for writes in (clash.access.manner.write, clash.other_writes)
        ]
        detail = (
            f"{verbs[0]} at shared address {address:#x} and {verbs[1]} by thread "
            f"{self.batch.thread_name(clash.other)} at {{other}}, no barrier and no __syncwarp() that names "
            "both between them"
        )
        self.batch.report(
            LaneFault("race", detail, lane, address, source=source, other=other or source, check="races")
        )

    def _check(self, notes: list[_Note], code: NDArray[np.uint16]) -> None:
        """Let every write mark its bytes, then ask every access for its own mark."""
        writes = [note for note in notes if note.write]
        for note in writes:
            note.agreed = None
        clash = self._clash(notes, writes, code)
        if clash is not None and self._agree(writes, code):
            clash = self._clash(notes, writes, code)
        if clash is not None:
            self.batch.report(clash)

    def _clash(self, notes: list[_Note], writes: list[_Note], code: NDArray[np.uint16]) -> LaneFault | None:
        """Return the first race."""
        known: dict[tuple[int, int], NDArray[np.uint64]] = {}

        def marks(note: _Note) -> NDArray[np.uint64]:
            if note.atomic or note.agreed is not None:
                return self._marks(note, code)
            key = id(note.lanes), note.nbytes
            if key not in known:
                known[key] = self._marks(note, code)
            return known[key]

        for note in writes:
            self._view(note.nbytes)[_rows(note)] = marks(note)
        try:
            for note in notes:
                found = self._view(note.nbytes)[_rows(note)]
                wanted = marks(note)
                clash = found != wanted
                if not note.write:
                    clash &= found != 0
                if some(clash) and (fault := self._explain(note, clash, notes, code)) is not None:
                    return fault
            return None
        finally:
            for note in writes:
                self._view(note.nbytes)[_rows(note)] = 0

    def _agree(self, writes: list[_Note], code: NDArray[np.uint16]) -> bool:
        """Find where an instruction stored the same bits for several threads; say whether it did anywhere."""
        found = False
        groups: dict[int, list[_Note]] = {}
        for note in writes:
            if note.values and self.same_bits != "fault":
                groups.setdefault(id(note.source), []).append(note)
        for number, group in enumerate(groups.values()):
            places = np.concatenate([note.places for note in group])
            order = np.argsort(places, kind="stable")
            first = np.flatnonzero(np.diff(places[order], prepend=-1))
            uniform = partial(_uniform, order, first)
            several = ~uniform(code[np.concatenate([note.lanes for note in group])])
            equal = np.logical_and.reduce([*map(uniform, _columns(group))])
            same = several & equal if self.other_bits == "fault" else several
            if not same.any():
                continue
            found = True
            alike = bool(equal[same].all())
            if (self.same_bits if alike else self.other_bits) == "note":
                bits = "the same bits" if alike else "different bits"
                self.batch.remark(group[0].source, f"several threads stored {bits} to one shared address")
            mark = _AGREED + number % _AGREED
            agreed = np.empty(len(places), np.uint16)
            agreed[order] = np.repeat(np.where(same, mark, 0), np.diff(first, append=len(places)))
            ends = np.cumsum([len(note.places) for note in group])[:-1]
            for note, part in zip(group, np.split(agreed, ends), strict=True):
                note.agreed = part
        return found

    def _view(self, nbytes: int) -> NDArray[np.uint64]:
        """Return the marks of aligned groups of `nbytes` bytes, as integers (rows of them for 8 and more)."""
        if nbytes >= 4:
            words = self.owner.view(np.uint64)
            return words if nbytes == 4 else words.reshape(-1, nbytes // 4)
        return self.owner.view(np.uint32 if nbytes == 2 else np.uint16)

    def _marks(self, note: _Note, code: NDArray[np.uint16]) -> NDArray[np.uint64]:
        marks = code[note.lanes].astype(np.uint64)
        if note.atomic:
            marks[:] = _ATOMIC
        if note.agreed is not None:
            marks = np.where(note.agreed, note.agreed, marks).astype(np.uint64)
        marks *= np.uint64(int("0001" * min(note.nbytes, 4), 16))
        narrow = marks.astype({1: np.uint16, 2: np.uint32}.get(note.nbytes, np.uint64), copy=False)
        return narrow[:, None] if note.nbytes > 4 else narrow

    def _explain(
        self, note: _Note, clash: NDArray[np.bool_], notes: list[_Note], code: NDArray[np.uint16]
    ) -> LaneFault | None:
        """Find the other side of the race; bytes that only look touched twice are let go."""
        lanes = np.flatnonzero(clash.any(1) if clash.ndim > 1 else clash)
        batch = self.batch
        for at in lanes[:64]:
            lane, start = int(note.lanes[at]), int(note.places[at])
            for other in notes:
                if not (other.write or note.write) or (other.atomic and note.atomic):
                    continue
                near = (other.places < start + note.nbytes) & (other.places + other.nbytes > start)
                near &= code[other.lanes] != code[lane]
                if near.any():
                    other_lane = int(other.lanes[int(np.argmax(near))])
                    address = start - int(batch.shared.base[lane] if batch.shared.base is not None else 0)
                    verbs = [
                        ("an atomic" if n.atomic else "a write" if n.write else "a read")
                        for n in (note, other)
                    ]
                    detail = (
                        f"{verbs[0]} of {note.nbytes} bytes at shared address {address:#x} and {verbs[1]} "
                        f"by thread {batch.thread_name(other_lane)} at {{other}}, no barrier between them"
                    )
                    return LaneFault(
                        "race", detail, lane, address, source=note.source, other=other.source, check="races"
                    )
        return None


def _part(note: _Note, chosen: Index) -> _Note:
    """Return what some lanes did."""
    values = tuple(column[chosen] for column in note.values)
    return replace(note, lanes=note.lanes[chosen], places=note.places[chosen], values=values)


def _columns(group: list[_Note]) -> list[NDArray[np.uint64]]:
    """Return what the stores of a group wrote, column by column."""
    columns = zip(*(note.values for note in group), strict=True)
    return [np.concatenate(column).astype(np.uint64) for column in columns]


def _uniform(order: Index, first: Index, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each run of `values[order]`, which begin at `first`, whether all of its values are equal."""
    ordered = values[order]
    same: NDArray[np.bool_] = np.minimum.reduceat(ordered, first) == np.maximum.reduceat(ordered, first)
    return same


def _rows(note: _Note) -> Index:
    return note.places >> note.nbytes.bit_length() - 1
