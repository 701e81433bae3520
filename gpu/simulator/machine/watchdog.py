"""The watchdog: tells a kernel that works for long from one that will never end.

Threads that come back to an instruction with all registers as they were, among them what they have read in
between, turn in a circle until memory changes. Once all threads that run do so, nothing will.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.machine.batch import Batch
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.state.frame import Frame
from gaugeblock.gpu.simulator.state.geometry import Index

_PATIENCE = 64


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
        self, segment: int, frame: Frame, issued: int, alive: NDArray[np.bool_] | None, idle: list[Index]
    ) -> str:
        """Look at lanes that begin a segment; say why they should be stopped, if so."""
        said = f"{issued} instructions issued for {self.batch.blocks} blocks and still running"
        if issued > _PATIENCE * self.budget:
            return said
        if not self.seen:
            self.turning = np.zeros(self.batch.count, np.bool_)
        if not self.turning[frame.lanes].all() and not self._turns(segment, frame, issued):
            return ""
        still = ~self.turning if alive is None else alive & ~self.turning
        for lanes in idle:
            still[lanes] = False
        return "" if still.any() else f"{said}, in a circle that changes nothing"

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
