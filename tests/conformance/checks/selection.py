"""Checks of operations that choose among their inputs: the result is one of them, to the bit."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import also, everyday
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.conformance.trial import Trial
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, exact_bound
from gaugeblock.spec.operations import Operation


def is_one_of_its_inputs(trial: Trial, problem: Problem) -> None:
    """Every result is the chosen input itself, without any rounding."""
    if trial.declared.slow and problem.elements > 1 << 18:
        return  # the simulated device takes seconds for it
    want = problem.want()
    trial.compare(problem, trial.ask(problem).values, want, exact_bound(want))


@st.composite
def tied(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw groups of few different values, so that most maxima are tied."""
    shapes, decided = draw(strategies.maxout_shapes(operation))
    arrays = {
        name: Array(
            shape,
            "normal" if name == "dy" else draw(st.sampled_from(("signs", "ones"))),
            seed=draw(strategies.seeds),
        )
        for name, shape in shapes.items()
    }
    return Problem(operation.name, dtype, arrays, decided)


def resolves_ties_as_stated(trial: Trial, problem: Problem) -> None:
    """Of equal maxima the first is the chosen one, and it alone."""
    is_one_of_its_inputs(trial, problem)


def many_groups(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield long groups, and more of them than a first wave of blocks takes."""
    for shape, axis, pieces in (
        ((131080,), 0, 2),
        ((131080, 2), 0, 2),
        ((3, 2 * 257), 1, 257),
        ((1030,), 0, 1030),
    ):
        result = tuple(size // pieces if i == axis else size for i, size in enumerate(shape))
        dy = {"dy": Array(result, seed=1)} if "dy" in operation.arrays else {}
        yield Problem(
            operation.name, dtype, {**dy, "x": Array(shape, seed=2)}, {"axis": axis, "pieces": pieces}
        )
    yield from _late_winners(operation, dtype)


def _late_winners(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield groups with a single winner: at every place of a group, and late in long ones, far apart."""
    lowest, limit = -FORMATS[dtype].largest, 2 ** FORMATS[dtype].precision - 1
    for groups, pieces, seed in ((131, 130, 0), (3, 5003, 4990), (5, 70_001, 69_990)):
        dy = {"dy": Array((groups,), seed=1)} if "dy" in operation.arrays else {}
        x = Array((groups * pieces,), "odd", limit=limit, every=pieces + 1, rest=lowest, seed=seed)
        yield Problem(operation.name, dtype, {**dy, "x": x}, {"axis": 0, "pieces": pieces})


def long_special_groups(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield long groups with a NaN inside, with nothing but −Inf, and with both."""
    nothing = float("-inf")
    for pieces in (65, 130, 1030):
        planted = (
            (pieces - 3, float("nan")),
            (2 * pieces + 40, float("nan")),
            (4 * pieces - 1, float("inf")),
        )
        absent = tuple((i, nothing) for i in range(pieces, 3 * pieces) if i != 2 * pieces + 40)
        x = Array((4 * pieces,), seed=3, planted=(*planted, *absent))
        dy = {"dy": Array((4,), seed=4)} if "dy" in operation.arrays else {}
        yield Problem(operation.name, dtype, {**dy, "x": x}, {"axis": 0, "pieces": pieces})


def confusing_groups(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a square, whose axes and pieces a cache may confuse."""
    dy = {"dy": Array((6, 3), seed=1)} if "dy" in operation.arrays else {}
    yield Problem(operation.name, dtype, {**dy, "x": Array((6, 6), seed=2)}, {"axis": 1, "pieces": 2})


SELECTION = by_role(
    also("special_values", long_special_groups),
    also("history", confusing_groups),
    Check("selection", everyday, is_one_of_its_inputs, 1.0, many_groups),
    Check("ties", tied, resolves_ties_as_stated),
)
