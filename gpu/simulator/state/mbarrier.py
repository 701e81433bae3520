"""Barriers that lie in shared memory as 64-bit objects: what is in the word, and what an arrival does to it.

Of hardware's words nothing is said; here, from the lowest bit on: arrivals that are still missing (20 bits),
arrivals of every phase (20 bits), the phase (23 bits), and a one that tells an object from any other word.
The bytes that a Hopper barrier waits for (``expect_tx``) have no place yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from gaugeblock.gpu.simulator.errors import LaneFault

MOST = (1 << 20) - 1
"""Arrivals that a barrier can wait for."""
_PHASES = 1 << 23


@dataclass(slots=True)
class Phases:
    """A barrier: arrivals that are missing in this phase, those of every phase, and the phase's number."""

    missing: int
    wanted: int
    phase: int = 0

    @staticmethod
    def of(word: int) -> Phases:
        """Read a word.

        Raises
        ------
        LaneFault
            It is no barrier.
        """
        if not word >> 63:
            raise LaneFault("invalid barrier", "an mbarrier that was not initialised, or is no more", 0)
        return Phases(word & MOST, word >> 20 & MOST, word >> 40 & _PHASES - 1)

    @property
    def word(self) -> int:
        """The barrier as a word."""
        return 1 << 63 | self.phase << 40 | self.wanted << 20 | self.missing

    def arrive(self, count: int, *, drop: bool = False) -> bool:
        """Take `count` arrivals, with `drop` for all phases to come; say whether the phase is complete.

        Raises
        ------
        LaneFault
            More arrive than are missing.
        """
        if count > self.missing:
            what = f"{count} arrivals at an mbarrier that waits for {self.missing}"
            raise LaneFault("invalid barrier", what, 0)
        self.missing -= count
        self.wanted -= count if drop else 0
        if self.missing:
            return False
        self.missing, self.phase = self.wanted, (self.phase + 1) % _PHASES
        return True

    def passed(self, state: int) -> bool:
        """Whether the phase has ended in which an arrival returned `state`."""
        return Phases.of(state).phase != self.phase

    def passed_parity(self, parity: int) -> bool:
        """Whether the phase of a parity has ended: the one before this."""
        return self.phase & 1 != parity & 1
