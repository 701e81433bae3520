"""The watchdog: tells a kernel that works for long from one that will never end.

Threads that come back to an instruction with all registers as they were, among them what they have read in
between, turn in a circle until memory changes. Once all threads that run do so, nothing will.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.machine.batch import Batch
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Lowered, MemoryOperand
from gaugeblock.gpu.simulator.state.frame import Frame
from gaugeblock.gpu.simulator.state.geometry import Index
from gaugeblock.gpu.simulator.state.memory import BASE

_PATIENCE = 64
_MOST_SAID = 6


class Watchdog:
    """Watches a batch.

    Attributes
    ----------
    deadline : int
        Instructions issued, after which to `look`.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch, self.budget = batch, batch.settings.budget
        self.deadline = self.budget
        self.seen: dict[tuple[int, int, int], Mapping[int, Array]] = {}
        self.turning = np.zeros(0, np.bool_)

    def rest(self, issued: int) -> None:
        """Look away for a while: something has changed."""
        self.deadline = issued + self.budget
        self.seen.clear()

    def look(
        self,
        segment: int,
        frame: Frame,
        issued: int,
        alive: NDArray[np.bool_] | None,
        idle: list[tuple[int, Index]],
    ) -> LaneFault | None:
        """Look at lanes that begin a segment; return why they should be stopped, if so."""
        said = f"{issued} instructions issued for {self.batch.blocks} blocks and still running"
        if issued > _PATIENCE * self.budget:
            return LaneFault("watchdog", said)
        if not self.seen:
            self.turning = np.zeros(self.batch.count, np.bool_)
        if not self.turning[frame.lanes].all() and not self._turns(segment, frame, issued):
            return None
        still = ~self.turning if alive is None else alive & ~self.turning
        for _, lanes in idle:
            still[lanes] = False
        if still.any():
            return None
        who, places = self._waiting(idle)
        return LaneFault(
            "watchdog", "; ".join([f"{said}, in a circle that changes nothing", *who]), places=places
        )

    def _waiting(self, idle: list[tuple[int, Index]]) -> tuple[list[str], tuple[Lowered, ...]]:
        """Say who waits for what: those who poll memory, and those at barriers and collectives."""
        segments, names = self.batch.program.segments, self.batch
        said: list[str] = []
        places: list[Lowered] = []
        for (segment, lane, _), registers in self.seen.items():
            polled = self.batch.program.flow.polled(segment)
            address = (
                next((a for a in polled.operands if isinstance(a, MemoryOperand)), None) if polled else None
            )
            if polled is None or address is None or polled in places or not self.turning[lane]:
                continue
            at = address.offset
            if address.slot is not None and address.slot.number in registers:
                at += int(registers[address.slot.number].view(np.uint64)[0])
            what = self.batch.memory.describe(at - BASE, 4)
            value = self.batch.memory.bytes.data[at - BASE : at - BASE + 4].view(np.int32)[0]
            said.append(
                f"thread {names.thread_name(lane)} of block {names.block_name(lane)} waits at "
                f"{{{len(places)}}} for another value than {value} at address {at:#x}, {what}"
            )
            places.append(polled)
        for segment, lanes in idle:
            source = segments[segment].source
            if source is not None and source not in places:
                said.append(f"{len(lanes)} threads wait at {{{len(places)}}} for the others")
                places.append(source)
        return said[:_MOST_SAID], tuple(places)

    def _turns(self, segment: int, frame: Frame, issued: int) -> bool:
        """Say whether lanes have come back to where they were with all registers as they were."""
        key = segment, int(frame.lanes[0]), frame.count
        before, now = self.seen.get(key), dict(frame.registers)
        if before is not None and not _agree(before, now):
            self.rest(issued)
            return False
        if before is None or len(now) > len(before):  # what a frame has not read yet it has not gathered
            self.seen[key] = now
        turns = before is not None and before.keys() == now.keys()
        self.turning[frame.lanes] |= turns
        return turns


def _agree(before: Mapping[int, Array], now: Mapping[int, Array]) -> bool:
    """Whether the registers that are in both hold the same bits."""
    return all(
        slot not in now or old is now[slot] or old.tobytes() == now[slot].tobytes()
        for slot, old in before.items()
    )
