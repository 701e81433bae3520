"""Two sides in turn, a roofline beside them, and a look at the result afterwards."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gaugeblock.conformance.bench.turns import Array, Roof, Side, Work, in_turns
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.operations import OPERATIONS

CHECKED_ROWS = 64


def race(benchmark: Any, own: Side, peer: Side, work: Work, roof: Roof | None, rounds: int) -> None:
    """Time both sides in turn and record what the ratio of the two is: its median and quartiles."""
    ours, theirs = in_turns(benchmark, (own, peer), rounds)
    if not ours:
        return  # --benchmark-disable: one run, no times
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
