"""Checks of operations that choose among their inputs: the result is one of them, to the bit."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from gaugeblock.conformance import strategies
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import everyday
from gaugeblock.conformance.problem import Array, Problem
from gaugeblock.conformance.trial import Trial
from gaugeblock.spec.accuracy import Arithmetic, exact_bound
from gaugeblock.spec.operations import Operation


def is_one_of_its_inputs(trial: Trial, problem: Problem) -> None:
    """Every result is the chosen input itself, without any rounding."""
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


SELECTION = by_role(
    Check("selection", everyday, is_one_of_its_inputs),
    Check("ties", tied, resolves_ties_as_stated),
)
