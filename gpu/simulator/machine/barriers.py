"""Barriers of a block: who waits or has arrived at which, and when one is complete.

A barrier is its number in its block; which instruction executed it does not matter, but all lanes of a warp
execute the same one where it is ``.aligned``. Without a count it is complete when every thread of the block
waits that has not returned; a thread that went on past it is missing all the same. A count is
in whole warps: lanes that a warp does not have, or that have returned, count with the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.action import Barrier
from gaugeblock.gpu.simulator.machine.batch import Batch
from gaugeblock.gpu.simulator.machine.flow import NO_BARRIER, NO_COLLECTIVE
from gaugeblock.gpu.simulator.state.frame import Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

_NUMBERS = 16


@dataclass(slots=True)
class Waiting:
    """Lanes that stopped before a segment's ending, or arrived and went on.

    For barriers `name` is the block's number times 16 plus the barrier's, and `wanted` the count, 0 if none.
    """

    segment: int
    lanes: Index
    name: Index
    wanted: Index

    def part(self, chosen: NDArray[np.bool_]) -> Waiting:
        """Return some of them."""
        return Waiting(self.segment, self.lanes[chosen], self.name[chosen], self.wanted[chosen])


class Barriers:
    """The barriers of a batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.flow = batch, batch.program.flow
        self.waiting: list[Waiting] = []
        self.arrived: list[Waiting] = []
        self.entered: dict[int, Index] = {}

    def leaving(self, segment: int, what: int, lanes: Index) -> None:
        """Note by way of which segment lanes leave the part of the program that has meetings of a kind."""
        for part in (NO_BARRIER, NO_COLLECTIVE):
            if what & part:
                if part not in self.entered:
                    self.entered[part] = np.full(self.batch.count, -1)
                entered = self.entered[part]
                entered[lanes[entered[lanes] < 0]] = segment

    def collective_passed_by(self, segment: int, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Say of every lane whether it has left after passing a collective by."""
        return self._left_past(segment, NO_COLLECTIVE, alive)

    def _left_past(self, segment: int, part: int, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Say of every lane whether it has left the part with meetings of a kind after passing one by."""
        found = np.zeros(len(alive), np.bool_)
        entered = self.entered.get(part)
        if entered is not None:
            for each in np.unique(entered[~alive]).tolist():
                if each >= 0 and self.flow.passed_by(segment, each):
                    found |= ~alive & (entered == each)
        return found

    def come(self, segment: int, ending: Barrier, frame: Frame) -> None:
        """Let a frame wait, or arrive."""
        number = frame.expand(frame.registers[ending.number].view(np.uint32)).astype(np.intp)
        wanted = np.zeros(frame.count, np.intp)
        if ending.count is not None:
            wanted[:] = frame.expand(frame.registers[ending.count].view(np.uint32))
            _check(wanted, (wanted > 0) & (wanted % WARP == 0), "count {}, which is no multiple of 32")
        _check(number, number < _NUMBERS, "number {}, there are 0 to 15")
        lanes = frame.lanes
        name = self.batch.place.block_of[lanes] * _NUMBERS + number
        (self.arrived if ending.arrives else self.waiting).append(Waiting(segment, lanes, name, wanted))

    def complete(self, alive: NDArray[np.bool_] | None) -> list[Waiting]:
        """Take those from the barriers who wait for nobody any more."""
        parts = [*self.waiting, *self.arrived]
        lanes, name, wanted = (
            np.concatenate([getattr(part, each) for part in parts]) for each in ("lanes", "name", "wanted")
        )
        segment = np.concatenate([np.full(len(part.lanes), part.segment) for part in parts])
        waits = np.arange(len(lanes)) < sum(len(part.lanes) for part in self.waiting)
        _, first, key = np.unique(name, return_index=True, return_inverse=True)
        full = self._full(alive, lanes, name[first], wanted[first], key)
        odd = ~self._whole(alive, lanes, segment, waits)
        odd |= (wanted != wanted[first][key]) | (self._kinds(segment) != self._kinds(segment)[first][key])
        full[key[odd]] = False
        for at in np.unique(segment[waits & (wanted == 0)]):
            passed_by = self._passed_by(int(at), alive)
            full[key[(segment == at) & passed_by[self.batch.place.block_of[lanes]]]] = False
        go = full[key]
        if not (go & waits).any():
            return []
        ends = np.cumsum([len(part.lanes) for part in parts])[:-1]
        chosen = list(zip(parts, np.split(go, ends), strict=True))
        left = [part.part(~mine) for part, mine in chosen]
        kept = len(self.waiting)
        released = [part.part(mine) for part, mine in chosen[:kept] if mine.any()]
        self.waiting = [part for part in left[:kept] if len(part.lanes)]
        self.arrived = [part for part in left[kept:] if len(part.lanes)]
        return released

    def _full(
        self, alive: NDArray[np.bool_] | None, lanes: Index, name: Index, wanted: Index, key: Index
    ) -> NDArray[np.bool_]:
        """Say of every barrier whether as many have come as it waits for."""
        place, have = self.batch.place, np.bincount(key)
        counted = wanted > 0
        if counted.any():  # add the lanes that a warp does not have, or that left without coming here
            there = np.bincount(place.warp_place // WARP, alive, minlength=self.batch.warps).astype(np.intp)
            warp = place.warp_place[lanes] // WARP
            pairs, at = np.unique(key * self.batch.warps + warp, return_inverse=True)
            left = 0 if alive is None else np.bincount(at, ~alive[lanes])
            absent = WARP - there[pairs % self.batch.warps] - left
            have[counted] += np.bincount(pairs // self.batch.warps, absent).astype(np.intp)[counted]
        everyone = np.bincount(place.block_of, alive, minlength=self.batch.blocks).astype(np.intp)
        full: NDArray[np.bool_] = have == np.where(counted, wanted, everyone[name // _NUMBERS])
        return full

    def _whole(
        self, alive: NDArray[np.bool_] | None, lanes: Index, segment: Index, waits: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Say of every lane at an aligned barrier whether its warp waits there with it."""
        warp = self.batch.warp_place[lanes] // WARP
        there = np.bincount(self.batch.warp_place // WARP, alive, minlength=self.batch.warps)
        _, at = np.unique(segment * self.batch.warps + warp, return_inverse=True)
        together: NDArray[np.bool_] = np.bincount(at, waits)[at] == there[warp]
        aligned = {s: self._ending(s).aligned for s in np.unique(segment).tolist()}
        together |= ~waits | ~np.array([aligned[s] for s in segment.tolist()])
        return together

    def _kinds(self, segment: Index) -> Index:
        """Say by a number what barriers do: meet, or reduce by an operator."""
        kinds = ["", "popc", "and", "or"]
        numbers, at = np.unique(segment, return_inverse=True)
        found = [kinds.index((self._ending(s).reduction or ("",))[0]) for s in numbers.tolist()]
        return np.array(found)[at]

    def _passed_by(self, barrier: int, alive: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Say of every block whether a thread has left it after passing a barrier by."""
        found = np.zeros(self.batch.blocks, np.bool_)
        if alive is not None:
            found[self.batch.place.block_of[self._left_past(barrier, NO_BARRIER, alive)]] = True
        return found

    def _ending(self, segment: int) -> Barrier:
        ending = self.batch.program.segments[segment].ending
        assert isinstance(ending, Barrier)
        return ending


def _check(values: Index, good: NDArray[np.bool_], what: str) -> None:
    if not good.all():
        lane = int(np.argmin(good))
        raise LaneFault("invalid barrier", "a barrier with " + what.format(int(values[lane])), lane)
