"""Two sides in turn, a roofline beside them, and a look at the result afterwards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]

CHECKED_ROWS = 64


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


def race(benchmark: Any, own: Side, peer: Side, work: Work, roof: Roof | None, rounds: int) -> None:
    """Time both sides in turn, peer and own, and record what the ratio of the two is.

    The peer runs in the untimed set-up of every round, so that whatever slows the machine down meets both.
    Each round gives one ratio; the report has their median and quartiles.
    """
    own.run()
    peer.run()  # compiled, paged in and warm before the first round
    theirs: list[float] = []

    def take_turn() -> None:
        start = time.perf_counter()
        peer.run()
        theirs.append((time.perf_counter() - start) / peer.repeats)

    benchmark.pedantic(own.run, setup=take_turn, rounds=rounds)
    if benchmark.stats is None:
        return  # --benchmark-disable: one run, no times
    ours = [seconds / own.repeats for seconds in benchmark.stats.stats.data]
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    seconds = statistics.median(ours)
    benchmark.extra_info |= {
        "seconds": seconds,
        "gflops": work.flops / seconds / 1e9,
        "gigabytes_per_second": work.nbytes / seconds / 1e9,
        "peer": peer.name,
        "peer_seconds": statistics.median(theirs),
        "speed_relative_to_peer": float(median),
        "speed_relative_to_peer_quartiles": [float(low), float(high)],
    }
    if roof is not None:
        benchmark.extra_info |= {"roofline": roof.source, "share_of_roofline": roof.seconds(work) / seconds}


def best(action: Callable[[], object], times: int = 10) -> float:
    """Return the shortest time of some runs: what a peak is made of."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def expect_right(
    operation: str,
    arrays: Mapping[str, Array],
    got: Array,
    declared: Mapping[str, Any],
    want: Array | None = None,
    whole: Collection[str] = ("b",),
    **parameters: Any,
) -> None:
    """Hold rows of a timed result to the spec's bound: what is fast and wrong has no speed.

    Parameters
    ----------
    operation
        Its name.
    arrays
        Its arguments.
    got
        The result.
    declared
        The arithmetic that the implementation declares.
    want
        What to compare with if not with the reference, as when the reference itself is timed. Float64 results
        are held to the bound of float32.
    whole
        The arrays of which a row of the result needs more than the same row.
    **parameters
        Its parameters.
    """
    record = OPERATIONS[operation]
    rows = np.sort(np.random.default_rng(0).permutation(got.shape[0])[:CHECKED_ROWS])
    used = {
        name: np.asarray(array if name in whole else array[rows], np.float64)
        for name, array in arrays.items()
    }
    exact = record.reference(**used, **parameters) if want is None else want[rows]
    form = FORMATS.get(got.dtype.name, FORMATS["float32"])
    bound = record.bound({**used, **parameters}, exact, form, Arithmetic.declared(declared))
    wrong = ~accept(got[rows].astype(np.float64), exact, bound, form)
    assert not wrong.any(), (
        f"{operation}: {int(wrong.sum())} of {wrong.size} elements are outside their bounds"
    )
