"""Data on which no order of summation rounds, however long the sum.

One factor is zero but for some −1 and 1, whose places move from sum to sum; the other holds odd integers at
every place. A sum with m of the ones adds up m integers and zeros, so that these may have all bits that m
leaves of the accumulator's, whatever its length. What a kernel drops, reads twice or cuts to fewer bits shows
at once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.spec.accuracy import Arithmetic, exact_integer_limit

ADDENDS = ("c", "bias", "residual")
"""Arrays that are added to a sum, and not multiplied."""

SLOW = 20_000
"""Elements of an array, from which on a simulated device takes seconds for a long sum."""


def sparse(problem: Problem, arithmetic: Arithmetic, name: str, every: int, seed: int = 0) -> Problem:
    """Return the call with one ±1 in every so many elements of an array, and odd integers in the others.

    Where there is but one factor, it holds odd integers there itself.
    """
    alone = len([other for other in problem.arrays if other not in ADDENDS]) == 1
    arrays = {}
    for i, (other, array) in enumerate(problem.arrays.items()):
        values = Array(array.shape, "integers" if other in ADDENDS else "odd", limit=2, seed=seed + i)
        if other == name:
            values = replace(values, limit=2 if alone else 1, every=every)
        arrays[other] = values
    return exactly(problem.with_arrays(**arrays), arithmetic) or problem


def is_sparse(problem: Problem) -> bool:
    """Whether an array of the call has one element in many."""
    return any(array.every > 1 for array in problem.arrays.values())


def exactly(problem: Problem, arithmetic: Arithmetic) -> Problem | None:
    """Return the call with its wide integers as wide as every order of summation leaves exact, if any is.

    How many of them a sum has is asked of the operator on absolute inputs, given ones in their place.
    """
    wide = [name for name, array in problem.arrays.items() if array.limit > 1 and array.rest == 0]
    arguments = {**problem.arguments(), **problem.parameters}
    arguments |= {name: (arguments[name] != 0).astype(np.float64) for name in wide}
    arguments |= {name: 1.0 for name in ("alpha", "divisor") if name in problem.record.parameters}
    if problem.record.rules.absolute is not None:
        size = problem.record.absolute(arguments)
    else:
        size = np.asarray(problem.record.reference(**problem.record.complete(arguments)))
    terms = int(np.max(size, initial=1.0)) + sum(name in problem.arrays for name in ADDENDS)
    limit = exact_integer_limit(terms, problem.dtype, replace(arithmetic, algorithm="direct"))
    arrays = {name: replace(problem.arrays[name], limit=limit) for name in wide}
    return problem.with_arrays(**arrays) if limit else None
