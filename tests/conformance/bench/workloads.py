"""What is timed: layers of known networks, as large as the slowest of those who run can bear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from gaugeblock.conformance.backend.loading import Backend
from gaugeblock.conformance.bench.turns import Work
from gaugeblock.conformance.checks.layers import problem_of
from gaugeblock.conformance.problems.fitting import fit
from gaugeblock.conformance.problems.layers import SMALL, TRUE, LayerCall, Size, calls_of
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import OPERATIONS

__all__ = ["COUNTED", "GPU", "HOST", "Scale", "problems", "work_of"]

MOST_BYTES = 1 << 27
"""Of the arrays of a call: several sets of them have to fit into memory."""


@dataclass(frozen=True)
class Scale:
    """How large calls are: a reduction of the layers, their batch, and the most products and elements."""

    size: Size
    batch: int
    work: int


COUNTED = Scale(SMALL, 1, 1 << 18)
"""For simulated devices, which count."""

HOST = Scale(TRUE, 1, 1 << 27)
GPU = Scale(TRUE, 32, 1 << 40)


def problems(
    operation: str, dtype: str, scale: Scale, layers: int, backends: Sequence[Backend]
) -> Iterator[Problem]:
    """Yield calls of an operation that all backends have in their domains, from small to large.

    Parameters
    ----------
    operation, dtype
        What is called, in which format.
    scale
        How large the calls may be.
    layers
        How many, spread evenly over those that fit.
    backends
        Who is called.
    """
    fitting = [call for call in calls_of(operation, scale.size, scale.batch) if call.work <= scale.work]
    found: dict[str, Problem] = {}
    for call in fitting:
        problem = given(call, dtype, backends)
        if problem is not None and work_of(problem).nbytes <= MOST_BYTES:
            found.setdefault(repr(problem), problem)
    chosen = list(found.values())
    for place in range(min(layers, len(chosen))):
        # The last of each of so many equal parts: the largest is among them.
        yield chosen[(place + 1) * len(chosen) // min(layers, len(chosen)) - 1]


def given(call: LayerCall, dtype: str, backends: Sequence[Backend]) -> Problem | None:
    """Return a call with normal numbers, in the form nearest to it that all backends are for."""
    problem: Problem | None = problem_of(call, dtype, Arithmetic())
    for backend in backends:
        problem = problem and fit(problem, backend.declared.domain_of(call.operation))
    if problem is None:
        return None
    # With zeros, or few different numbers, a GPU draws less power and runs faster.
    normal = {name: replace(array, values="normal", scale=1.0) for name, array in problem.arrays.items()}
    return replace(problem, arrays=normal)


def work_of(problem: Problem) -> Work:
    """Return the least work of a call: two operations for each product, one for an element without any."""
    call = LayerCall(problem.operation, problem.shapes, problem.parameters, {})
    elements = sum(map(prod, problem.shapes.values())) + prod(problem.result_shape)
    whole = OPERATIONS[problem.operation].result_dtype == "int64"
    nbytes = problem.itemsize * elements + whole * (8 - problem.itemsize) * prod(problem.result_shape)
    products = call.work - elements
    return Work(2.0 * products if products else float(prod(problem.result_shape)), float(nbytes))
