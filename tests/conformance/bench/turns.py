"""Several sides in turn, and the fastest that their machine could be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

SETTLED = 0.05
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Side:
    """One side of a race.

    Parameters
    ----------
    name
        What the report calls it.
    run
        Calls the operation ``repeats`` times and waits for the end.
    result
        Returns the array that the last call computed.
    repeats
        Calls per run: 1 unless a single call is too short for the clock.
    """

    name: str
    run: Callable[[], None]
    result: Callable[[], Array]
    repeats: int = 1


@dataclass(frozen=True)
class Work:
    """The least that an operation must do: its arithmetic, and each operand moved once."""

    flops: float
    nbytes: float


@dataclass(frozen=True)
class Roof:
    """The fastest that a machine could be; a peak that is not known is infinite and limits nothing."""

    flops: float
    bandwidth: float
    source: str

    def seconds(self, work: Work) -> float:
        """Return the time that the slower of arithmetic and memory takes at its peak."""
        return max(work.flops / self.flops, work.nbytes / self.bandwidth)


def in_turns(benchmark: Any, sides: Sequence[Side], rounds: int) -> list[list[float]]:
    """Time sides in turn and return the seconds of a call, of each side in each round.

    The first is what pytest-benchmark times. The others run in the untimed set-up of every round, so that
    whatever slows the machine down meets all. Without times, ``--benchmark-disable``, the lists are empty.
    """
    for side in sides:
        settle(side)
    others: list[list[float]] = [[] for _ in sides[1:]]

    def take_turns() -> None:
        for side, seconds in zip(sides[1:], others, strict=True):
            seconds.append(timed(side.run) / side.repeats)

    benchmark.pedantic(sides[0].run, setup=take_turns, rounds=rounds)
    if benchmark.stats is None:
        return [[] for _ in sides]
    return [[seconds / sides[0].repeats for seconds in benchmark.stats.stats.data], *others]


def settle(side: Side) -> None:
    """Run a side until two runs take the same time, or for a while: compiled, paged in and warm."""
    end = time.perf_counter() + WARM_UP_SECONDS
    before = timed(side.run)
    while time.perf_counter() < end:
        now = timed(side.run)
        if abs(now - before) <= SETTLED * before:
            return
        before = now


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def best(action: Callable[[], object], times: int = 10) -> float:
    """Return the shortest time of some runs: what a peak is made of."""
    return min(timed(action) for _ in range(times))
