"""The scheduler: which lanes run next.

Every lane has a program counter, the number of its segment. Lanes with the same one form a group; the group
with the smallest runs, compacted into a `Frame`, until it parts, meets another group, or must wait. In
lockstep order all lanes of the batch take part; otherwise units of one warp or one lane run one at a time,
each until it can go no further.

Lanes wait in two ways: at a barrier for the rest of their block, at a collective instruction for the lanes
of their warp that its mask names. When nobody can run, whoever is complete is released; if nobody is, the
kernel is stuck, and the fault says who waits for whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.checks.undefined import Undefined
from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Exit
from gaugeblock.gpu.simulator.machine.barriers import Barriers
from gaugeblock.gpu.simulator.machine.batch import Batch
from gaugeblock.gpu.simulator.machine.compose import Operation
from gaugeblock.gpu.simulator.machine.segment import Segment, ending_reads
from gaugeblock.gpu.simulator.machine.watchdog import Watchdog
from gaugeblock.gpu.simulator.numbers.lanes import every
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.state.frame import Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

Groups = dict[int, Index | None]
_EVERYONE = 0xFFFFFFFF
_BARRIERS = 16
_MEETING = ("shfl", "vote", "match", "redux", "elect", "bar", "barrier")
"""Collectives at which lanes meet that execute different instructions of one spelling."""
_SLICE = 1_000
"""Instructions that a group, or a unit, may issue before others get a chance."""
_ROTATION = 64
_Place = tuple[int, Index]
"""A segment, and lanes that stopped before its ending."""


class Stopped(Exception):
    """A fault, with the instruction at which it happened and the lane in the batch."""

    def __init__(self, fault: LaneFault, source: Lowered | None, lane: int | None) -> None:
        super().__init__(str(fault))
        self.fault, self.source, self.lane = fault, source, lane


class Scheduler:
    """Runs a batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.segments = batch.program.segments
        self.issued = 0
        self.alive: NDArray[np.bool_] | None = None  # None: nobody has left
        self.barriers = Barriers(batch)
        self.watchdog = Watchdog(batch)
        self.leaves = batch.program.flow.leaves
        self.undefined = Undefined(batch.count)
        self.undefined_may_wait = batch.settings.uninitialised == "fault"
        self.at_collective: list[_Place] = []
        self.tired: dict[int, int] = {}  # units of which a counter spun when their slice ended, and which
        order = batch.settings.order
        if order == "lockstep":
            self.unit_of: Index | None = None
            self.units: list[Groups] = [{0: None}]
        else:
            by_warps = order == "warps" or batch.settings.warp_synchronous
            self.unit_of = batch.warp_place // WARP if by_warps else batch.all_lanes
            lanes = np.split(batch.all_lanes, np.flatnonzero(np.diff(self.unit_of)) + 1)
            self.units = [{0: part if len(part) < batch.count else None} for part in lanes]

    @cached_property
    def random(self) -> np.random.Generator:
        """Who chooses among units."""
        return np.random.default_rng(self.batch.settings.seed + self.batch.first)

    def run(self) -> None:
        """Run until every lane has left."""
        asleep: set[int] = set()  # units that wait for others: they look again when these can do no more
        while True:
            ready = [number for number, unit in enumerate(self.units) if unit]
            if ready:
                awake = [number for number in ready if number not in asleep] if asleep else ready
                if not awake:
                    asleep, awake = set(), ready
                number = awake[0] if len(awake) == 1 else awake[int(self.random.integers(len(awake)))]
                if self._slice(self.units[number]):
                    asleep.add(number)
            elif not self._release():
                if self.at_collective or self.barriers.waiting:
                    self._stuck()
                break
        self._guarded_races(None)
        if self.batch.global_races is not None:
            self._guarded(self.batch.global_races.end)

    # Running.

    def _frame(self, lanes: Index | None) -> Frame:
        return self.batch.frame if lanes is None else self.batch.frame.subset(lanes)

    def _slice(self, unit: Groups) -> bool:
        """Run a unit until it can go no further or has had its share; say whether all of it looks in vain."""
        end = self.issued + self._share()
        alone = len(self.units) == 1
        number = self.tired.pop(id(unit), -1)
        tired, turn, resting = number >= 0, 0, 0
        while unit and (alone or (self.issued <= end and resting < len(unit))):
            turn += 1
            # Where one counter spins, the next ones may hold what it waits for.
            beyond = [other for other in unit if other > number] if tired else []
            number = min(beyond or unit) if tired or turn % _ROTATION else max(unit)
            tired = self._advance(unit, number)
            if tired:
                self._release()
            resting = resting + 1 if tired and self.batch.resting else 0
        if tired:
            self.tired[id(unit)] = number
        return bool(unit) and resting >= len(unit)

    def _advance(self, groups: Groups, number: int) -> bool:
        """Run the group at a program counter until it changes, or has had its share: then return True."""
        lanes = groups.pop(number)
        frame = self._frame(lanes)
        limit = min((other for other in groups if other > number), default=len(self.segments))
        written: set[int] = set()
        alone = not (groups or self.barriers.waiting or self.at_collective) and len(self.units) == 1
        end = self.issued + self._share()
        left = self.leaves[number]
        self.batch.resting = False
        while True:
            segment = self.segments[number]
            self._straight(segment, number, frame)
            if lanes is not None:
                written.update(segment.writes)
            outcome = self._ending(segment, number, frame)
            goes_on = isinstance(outcome, int) and outcome < limit and outcome not in groups
            if goes_on and not self.batch.resting and (alone or self.issued < end):
                number = cast(int, outcome)
                if lanes is not None and self.leaves[number] != left:
                    left = self.leaves[number]
                    self.barriers.leaving(number, left, lanes)
                continue
            if lanes is not None:
                self.batch.frame.merge(frame, written)
            if isinstance(outcome, int):
                self._join(groups, outcome, lanes)
            elif outcome is not None:
                for target, places in outcome:
                    self._join(groups, target, places if lanes is None else lanes[places])
            return goes_on

    def _share(self) -> int:
        """Return how many instructions come before others get a chance: fewer under the watchdog's eyes."""
        return _SLICE if self.issued <= self.watchdog.deadline else _SLICE // 16

    def _straight(self, segment: Segment, number: int, frame: Frame) -> None:
        """Run the operations of a segment."""
        self.issued += segment.cost
        if self.issued > self.watchdog.deadline:
            waiting = [(waiting.segment, waiting.lanes) for waiting in self.barriers.waiting]
            idle = [*waiting, *self.at_collective]
            why = self.watchdog.look(number, frame, self.issued, self.alive, idle)
            if why is not None and self._release():
                self.watchdog.rest(self.issued)
            elif why is not None:
                source = segment.source or next((step.source for step in segment.line), None)
                raise Stopped(why, source, int(frame.lanes[0]))
        if self.batch.counters is not None:
            self.batch.counters.segment(segment, frame)
        if segment.settles and number not in self.batch.fixed.filled:
            self.batch.fixed.fill(number, segment, self.batch.frame)
        registers = frame.registers
        if not segment.operations:
            return
        operations = iter(segment.operations)
        while not self.undefined.slots:
            try:
                for operation in operations:
                    operation(registers, frame)
                return
            except LaneFault as fault:
                self._go_on(fault, operation, segment.steps[id(operation)][0].source, frame)
        self._carefully(operations, segment, frame)

    def _carefully(self, operations: Iterator[Operation], segment: Segment, frame: Frame) -> None:
        """Run operations, and look after registers that are undefined."""
        for operation in operations:
            steps = segment.steps[id(operation)]
            for step in steps:
                self._used(self.undefined.uses(step, frame))
            before = dict(self.undefined.slots)
            try:
                operation(frame.registers, frame)
            except LaneFault as fault:
                self._go_on(fault, operation, steps[0].source, frame)
                if self.undefined.slots != before:
                    continue
            for step in steps:
                self.undefined.passes(step, frame)

    def _used(self, fault: LaneFault | None) -> None:
        """Report the use of an undefined register."""
        if fault is not None:
            try:
                self.batch.report(fault)
            except LaneFault:
                raise Stopped(fault, fault.source, fault.lane) from None

    def _go_on(self, fault: LaneFault, operation: Operation, source: Lowered, frame: Frame) -> None:
        """Stop for a fault unless the settings say otherwise; then do without those who did it."""
        if self.undefined_may_wait and self.undefined.read(fault, source, frame):
            assert fault.gap is not None
            fault.source = source
            fault.gap.close()
            operation(frame.registers, frame)
            fault.gap.open()
            return
        stopped = self._stopped(fault, source, frame)
        if fault.source is not None:
            raise stopped from None
        bad = fault.bad if fault.bad is not None else np.arange(frame.count) == (fault.lane or 0)
        fault.source, fault.lane = source, stopped.lane
        try:
            self.batch.report(fault)
        except LaneFault:
            raise stopped from None
        if fault.gap is not None:
            fault.gap.close()
        part = frame if fault.gap is not None else frame.subset(np.flatnonzero(~bad))
        if part.count == 0 or len(bad) != frame.count:
            return
        try:
            operation(part.registers, part)
        except LaneFault as another:
            self._go_on(another, operation, source, part)
        if part is not frame:
            frame.merge(part, [*part.registers])

    def _stopped(self, fault: LaneFault, source: Lowered | None, frame: Frame) -> Stopped:
        if fault.source is not None:  # it was reported, and names the lane of the batch
            return Stopped(fault, fault.source, fault.lane)
        lane = int(frame.lanes[min(fault.lane or 0, frame.count - 1)])
        return Stopped(fault, source, lane)

    def _join(self, groups: Groups, number: int, lanes: Index | None) -> None:
        """Add lanes to the group at a segment."""
        if lanes is not None and self.leaves[number]:
            self.barriers.leaving(number, self.leaves[number], lanes)
        if number in groups:
            there = groups[number]
            assert there is not None
            assert lanes is not None
            lanes = np.sort(np.concatenate((there, lanes)))
        if lanes is not None and len(lanes) == self.batch.count:
            lanes = None
        groups[number] = lanes

    # Endings. Each returns the next segment, or a list of (segment, places in the frame), or None.

    def _ending(self, segment: Segment, number: int, frame: Frame) -> int | list[tuple[int, Index]] | None:
        ending = segment.ending
        if ending is None:
            return number + 1
        if self.undefined.slots:
            self._used(self.undefined.check(ending_reads(segment), segment.source, frame))
        if isinstance(ending, Branch):
            return self._branch(segment, number, frame)
        if isinstance(ending, Exit):
            return self._exit(segment, number, frame)
        if isinstance(ending, Barrier):
            return self._barrier(ending, number, frame)
        return self._collective(ending, number, frame)

    def _chosen(self, segment: Segment, frame: Frame) -> NDArray[np.bool_] | bool:
        """Who takes the ending: everyone, no one, or some."""
        if segment.guard is None:
            return True
        slot, negated = segment.guard
        predicate = frame.registers[slot]
        if len(predicate) == 1:
            return bool(predicate[0]) != negated
        taken = int(np.count_nonzero(predicate))
        if taken == len(predicate):
            return not negated
        if taken == 0:
            return negated
        return ~predicate if negated else predicate

    def _branch(self, segment: Segment, number: int, frame: Frame) -> int | list[tuple[int, Index]]:
        chosen = self._chosen(segment, frame)
        assert isinstance(segment.ending, Branch)
        if segment.ending.index is not None:
            return self._table(segment, number, frame, chosen)
        if isinstance(chosen, bool):
            return segment.targets[0] if chosen else number + 1
        if segment.targets[0] == number + 1:
            return number + 1
        return [(segment.targets[0], chosen.nonzero()[0]), (number + 1, (~chosen).nonzero()[0])]

    def _table(
        self, segment: Segment, number: int, frame: Frame, chosen: NDArray[np.bool_] | bool
    ) -> list[tuple[int, Index]]:
        assert isinstance(segment.ending, Branch)
        assert segment.ending.index is not None
        index = frame.expand(frame.registers[segment.ending.index].view(np.uint32))
        if index.max() >= len(segment.targets):
            fault = LaneFault(
                "out of bounds", f"brx.idx with index {int(index.max())} of {len(segment.targets)}"
            )
            raise self._stopped(fault, segment.source, frame)
        targets = np.array(segment.targets)[index]
        targets = np.where(chosen, targets, number + 1)
        return [(int(target), np.flatnonzero(targets == target)) for target in np.unique(targets)]

    def _exit(self, segment: Segment, number: int, frame: Frame) -> int | list[tuple[int, Index]] | None:
        chosen = self._chosen(segment, frame)
        if chosen is False:
            return number + 1
        if chosen is True and frame.index is None:
            self.alive = np.zeros(self.batch.count, np.bool_)
            self.watchdog.rest(self.issued)
            return None
        if self.alive is None:
            self.alive = np.ones(self.batch.count, np.bool_)
        if chosen is True:
            self.alive[frame.lanes] = False
            self.watchdog.rest(self.issued)
            return None
        self.alive[frame.lanes[chosen]] = False
        self.watchdog.rest(self.issued)
        return [(number + 1, (~chosen).nonzero()[0])]

    # Barriers.

    def _barrier(self, ending: Barrier, number: int, frame: Frame) -> int | None:
        name = frame.registers[ending.number]
        if frame.index is None and ending.count is None and len(name) == 1 and name[0] < _BARRIERS:
            self._pass_barrier(None)
            self._reduce([(ending, frame, self.batch.place.block_of)])
            return number + 1
        try:
            self.barriers.come(number, ending, frame)
        except LaneFault as fault:
            raise self._stopped(fault, self.segments[number].source, frame) from None
        return number + 1 if ending.arrives else None

    def _reduce(self, meeting: list[tuple[Barrier, Frame, Index]]) -> None:
        """Give every thread the count (or and, or or) of the predicates at its barrier: ``bar.red``."""
        meeting = [each for each in meeting if each[0].reduction is not None]
        if not meeting:
            return
        names = np.concatenate([name for _, _, name in meeting])
        predicates = [frame.expand(frame.registers[cast(Any, e.reduction)[1]]) for e, frame, _ in meeting]
        yes, all_ = np.bincount(names, np.concatenate(predicates)), np.bincount(names)
        for ending, frame, name in meeting:
            operator, _, result = cast(Any, ending.reduction)
            if operator == "popc":
                frame.registers[result] = yes[name].astype(np.uint32)
            else:
                frame.registers[result] = (yes == all_)[name] if operator == "and" else yes[name] > 0

    def _pass_barrier(self, blocks: NDArray[np.bool_] | None) -> None:
        self.watchdog.rest(self.issued)
        self.batch.shared.settle()
        self._guarded_races(blocks)
        if self.batch.counters is not None:
            self.batch.counters.barriers += self.batch.blocks if blocks is None else int(blocks.sum())

    def _guarded_races(self, blocks: NDArray[np.bool_] | None) -> None:
        for watcher in self.batch.watchers:
            self._guarded(partial(watcher.barrier, blocks))

    def _guarded(self, look: Callable[[], None]) -> None:
        """Let a detector look; say where it found something."""
        try:
            look()
        except LaneFault as fault:
            raise Stopped(fault, fault.source, fault.lane) from None

    # Collectives.

    def _collective(
        self, ending: Collective, number: int, frame: Frame
    ) -> int | list[tuple[int, Index]] | None:
        if not self._complete(ending, number, frame):
            self.at_collective.append((number, frame.lanes))
            return None
        self._perform(ending, number, frame)
        return number + 1

    def _complete(self, ending: Collective, number: int, frame: Frame) -> bool:
        """Whether everyone whom the members' masks name is in the frame."""
        if ending.members is None:
            return True
        masks = frame.registers[ending.members]
        if frame.index is None and (len(masks) == 1 or every(masks == masks[0])):
            return True
        return every(self._ready(ending, number, frame))

    def _ready(self, ending: Collective, number: int, frame: Frame) -> NDArray[np.bool_]:
        """Say per lane whether everyone is here, with the same mask, whom it names and who has not left.

        Who left after passing the instruction by is missing all the same.
        """
        assert ending.members is not None
        batch = self.batch
        masks = frame.expand(frame.registers[ending.members].view(np.uint32))
        alive = self._words(
            batch.all_lanes
            if self.alive is None
            else np.flatnonzero(self.alive | self.barriers.collective_passed_by(number, self.alive))
        )
        warp = batch.warp_place[frame.lanes] // WARP
        ready = np.empty(frame.count, np.bool_)
        for mask in np.unique(masks):
            same = masks == mask
            here = self._words(frame.lanes[same])
            ready[same] = (mask & alive & ~here)[warp[same]] == 0
        return ready

    def _words(self, lanes: Index) -> NDArray[np.uint32]:
        table = np.zeros(self.batch.warps * WARP, np.bool_)
        table[self.batch.warp_place[lanes]] = True
        return np.packbits(table, bitorder="little").view(np.uint32)

    def _perform(self, ending: Collective, number: int, frame: Frame) -> None:
        try:
            if ending.members is not None:
                self._check_members(ending, frame)
            ending.run(frame.registers, frame)
        except LaneFault as fault:
            raise self._stopped(fault, self.segments[number].source, frame) from None
        if ending.synchronises and self.batch.watchers:
            assert ending.members is not None
            masks = frame.expand(frame.registers[ending.members].view(np.uint32))
            for watcher in self.batch.watchers:
                watcher.synchronise_warp(frame.lanes, masks)

    def _check_members(self, ending: Collective, frame: Frame) -> None:
        """Refuse a lane that does not name itself."""
        assert ending.members is not None
        masks = frame.registers[ending.members].view(np.uint32)
        if len(masks) == 1 and int(masks[0]) == _EVERYONE:
            return
        own = frame.expand(masks) >> self.batch.lane_of[frame.lanes].view(np.uint32) & 1 == 1
        if not every(own):
            lane = int(np.argmin(own))
            mask = int(frame.expand(masks)[lane])
            raise LaneFault(
                "divergent collective",
                f"executed by a lane that its member mask {mask:#x} does not name",
                lane,
            )

    # Releasing those who wait.

    def _release(self) -> bool:
        """Let everyone go on who waits for nobody any more; say whether there was anyone."""
        if self.at_collective and self._release_collectives():
            return True
        return bool(self.barriers.waiting) and self._release_barriers()

    def _send(self, number: int, lanes: Index) -> None:
        """Put lanes into the groups of their units."""
        if self.unit_of is None:
            self._join(self.units[0], number, lanes)
            return
        for unit in np.unique(self.unit_of[lanes]):
            self._join(self.units[unit], number, lanes[self.unit_of[lanes] == unit])

    def _release_collectives(self) -> bool:
        released = False
        meetings: dict[str | int, list[_Place]] = {}
        for number, lanes in _by_segment(self.at_collective):
            source = self.segments[number].source
            assert source is not None
            alone = "aligned" in source.modifiers or source.opcode not in _MEETING
            meetings.setdefault(number if alone else source.spelling, []).append((number, lanes))
        self.at_collective = []
        for places in meetings.values():
            number, ending, frame = self._meeting(places)
            ready = self._ready(ending, number, frame)
            if ready.any():
                part = frame if ready.all() else frame.subset(np.flatnonzero(ready))
                self._perform(ending, number, part)
                self._part_again(ending, part, places)
                released = True
            for number, lanes in places:
                left = lanes[~ready[np.searchsorted(frame.lanes, lanes)]]
                if len(left):
                    self.at_collective.append((number, left))
        return released

    def _meeting(self, places: list[_Place]) -> tuple[int, Collective, Frame]:
        """Return a frame of lanes at several instructions, their operands where the first reads its own."""
        lanes = np.sort(np.concatenate([lanes for _, lanes in places]))
        frame = self._frame(lanes)
        number = places[0][0]
        first = self._collective_at(number)
        if len(places) > 1:
            columns: list[list[Array]] = [[] for _ in first.reads]
            for other, some in places:
                part = self._frame(some)
                for column, slot in zip(columns, self._collective_at(other).reads, strict=True):
                    column.append(part.expand(part.registers[slot]))
            order = np.argsort(np.concatenate([some for _, some in places]))
            for column, slot in zip(columns, first.reads, strict=True):
                frame.registers[slot] = np.concatenate([each.view(column[0].dtype) for each in column])[order]
        return number, first, frame

    def _part_again(self, first: Collective, frame: Frame, places: list[_Place]) -> None:
        """Give the lanes of every instruction its results, and send them on."""
        for number, lanes in places:
            mine = np.isin(frame.lanes, lanes)
            part = self._frame(frame.lanes[mine])
            writes = self._collective_at(number).writes
            for slot, result in zip(writes, first.writes, strict=True):
                part.registers[slot] = frame.expand(frame.registers[result])[mine]
            if part.count:
                self.batch.frame.merge(part, writes)
                self._send(number + 1, part.lanes)

    def _collective_at(self, number: int) -> Collective:
        ending = self.segments[number].ending
        assert isinstance(ending, Collective)
        return ending

    def _release_barriers(self) -> bool:
        """Release every barrier at which everyone has come."""
        batch = self.batch
        released = self.barriers.complete(self.alive)
        if not released:
            return False
        passed = np.zeros(batch.blocks, np.bool_)
        for waiting in released:
            passed[batch.place.block_of[waiting.lanes]] = True
        self._pass_barrier(passed)
        meeting = []
        for waiting in released:
            ending = self.segments[waiting.segment].ending
            assert isinstance(ending, Barrier)
            if ending.reduction is not None:
                meeting.append((ending, self._frame(waiting.lanes), waiting.name))
        self._reduce(meeting)
        for ending, frame, _ in meeting:
            batch.frame.merge(frame, cast(Any, ending.reduction)[2:])
        for number, lanes in _by_segment([(waiting.segment, waiting.lanes) for waiting in released]):
            self._send(number + 1, lanes)
        return True

    def _stuck(self) -> None:
        """Say who waits where, and who will never come."""
        batch = self.batch
        at_barrier = [(waiting.segment, waiting.lanes) for waiting in self.barriers.waiting]
        number, lanes = (self.at_collective or at_barrier)[0]
        lane = int(lanes[0])
        block = batch.place.block_of[lane]
        everyone = np.flatnonzero(batch.place.block_of == block)
        if self.at_collective:
            everyone = everyone[batch.warp_place[everyone] // WARP == batch.warp_place[lane] // WARP]
        here = np.intersect1d(lanes, everyone)
        missing = np.setdiff1d(everyone, here)
        gone = np.zeros(len(missing), np.bool_) if self.alive is None else ~self.alive[missing]
        elsewhere = None
        if not len(missing):
            why = "they are fewer than it waits for"
        elif gone.all():
            why = f"but thread {batch.thread_name(int(missing[0]))} has exited"
        else:
            other = int(missing[int(np.argmin(gone))])
            at = [n for n, some in (*at_barrier, *self.at_collective) if other in some]
            elsewhere = self.segments[at[0]].source if at else None
            why = f"but thread {batch.thread_name(other)} " + ("waits at {other}" if at else "does not come")
        kind = "divergent collective" if self.at_collective else "divergent barrier"
        detail = f"{len(here)} of {len(everyone)} threads wait here, {why}"
        raise Stopped(LaneFault(kind, detail, other=elsewhere), self.segments[number].source, lane)


def _by_segment(places: list[_Place]) -> list[_Place]:
    """Gather those who wait at the same place."""
    found: dict[int, list[Index]] = {}
    for number, lanes in places:
        found.setdefault(number, []).append(lanes)
    return [(number, np.sort(np.concatenate(parts))) for number, parts in sorted(found.items())]
