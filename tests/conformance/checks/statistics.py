"""Level L2: what the errors of many results have in common, though each of them is within its bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.conformance.problems.sparse import SLOW
from gaugeblock.conformance.trial import Outside, Trial, Violation
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation

PLAIN = Arithmetic()


def rounds_without_bias(trial: Trial, problem: Problem) -> None:
    """On random data the errors of sums are as small and as balanced as those of independent roundings."""
    record, declared = problem.record, trial.arithmetic(problem)
    if trial.declared.slow and problem.elements > 2 * SLOW:
        return  # the simulated device takes minutes for it
    answer, want = trial.ask(problem), problem.want()
    if record.applied(problem.shapes, problem.parameters, declared).algorithm != "direct":
        return  # transforms round otherwise
    terms = record.reduction(problem.shapes, problem.parameters) or 1
    arguments = {**problem.arguments(), **problem.parameters}
    output = FORMATS[problem.dtype]
    centred = all(array.values == "normal" and array.shift == 0 for array in problem.arrays.values())
    rounds = declared.accumulator == "float32" and declared.multiplier is None and declared.splits == 1
    plain = problem.parameters.get("alpha", 1.0) == 1.0 and not problem.parameters.get("beta")
    divisor = _divisor(problem)
    constants = 0 if np.frexp(divisor)[0] == 0.5 else 2  # a reciprocal, and the product with it
    if centred and rounds and plain:
        squared = arguments | {name: np.square(arguments[name]) for name in problem.arrays}
        found = accuracy.independent_statistics(
            answer.values,
            want,
            record.absolute(squared) / divisor,
            reduction=terms,
            output=output,
            constants=constants,
        )
    else:
        if constants:
            raise Outside  # they err to one side, as the sums must not
        size = record.absolute(arguments)
        found = accuracy.statistics(
            answer.values, want, size, reduction=terms, output=output, arithmetic=declared
        )
    if not found.accepted:
        raise Violation(problem, str(found))


def _divisor(problem: Problem) -> float:
    """Return what every sum is divided by."""
    if "divisor" not in problem.record.parameters:
        return 1.0
    given = problem.parameters.get("divisor")
    if given is None and np.any(problem.parameters.get("padding", 0)):
        raise Outside  # each sum has another
    kernel = problem.parameters["kernel"]
    cells = prod(kernel) if isinstance(kernel, tuple) else kernel ** (len(problem.result_shape) - 2)
    return abs(float(cells if given is None else given))


# Functions -------------------------------------------------------------------------------------------------

POINTS = 1 << 15
"""Arguments of a function, and rows, that are drawn."""


def _arguments(operation: Operation, dtype: str, seed: int, **chosen: Any) -> Problem:
    """Return a call on arguments of every sign and size, all that there are of a narrow type."""
    x = Array((POINTS,), "wide", scale=5.0, seed=seed)
    dy = Array(x.shape, "uniform", shift=1.0, seed=seed + 1)
    if dtype != "float32":
        x, dy = Array((1 << 16,), "every"), Array((1 << 16,), "ones")
    arrays = {"dy": dy, "x": x} if operation.backward else {"x": x}
    return Problem(operation.name, dtype, arrays, chosen)


def many_arguments(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw arguments of every sign and size, and default parameters."""
    return st.builds(lambda seed: _arguments(operation, dtype, seed), strategies.seeds)


def both_forms(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield such arguments for either form of a function that has two."""
    if "approximate" in operation.parameters:
        yield _arguments(operation, dtype, 1, approximate="tanh")


def errs_to_either_side(trial: Trial, problem: Problem) -> None:
    """Errors of a function cancel over many arguments: those of one sign, small and large."""
    x = problem.arguments()["x"]
    groups = {
        f"{'x' if sign > 0 else '-x'} from {low} to {high}": (sign * x >= low) & (sign * x < high)
        for sign in (1, -1)
        for low, high in ((2.0**-5, 1.0), (1.0, 2.0**5))
    }
    _expect_balanced(trial, problem, groups, conditioned=8.0)


def many_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw many short rows."""

    def build(seed: int) -> Problem:
        shape = (POINTS // 2, 4)
        dy = {"dy": Array(shape, "normal", seed=seed + 1)} if operation.backward else {}
        return Problem(operation.name, dtype, {**dy, "x": Array(shape, "normal", seed=seed)})

    return st.builds(build, strategies.seeds)


def errs_to_either_side_in_rows(trial: Trial, problem: Problem) -> None:
    """Errors of the elements at one place of many rows cancel."""
    shape = problem.result_shape
    axis = problem.parameters.get("axis", -1)
    places = np.moveaxis(
        np.broadcast_to(np.arange(shape[axis]), np.moveaxis(np.empty(shape), axis, -1).shape), -1, axis
    )
    _expect_balanced(
        trial, problem, {f"place {i}": places == i for i in range(shape[axis])}, conditioned=16.0
    )


def _expect_balanced(trial: Trial, problem: Problem, groups: dict[str, Any], conditioned: float) -> None:
    """Hold the mean error of each group of results to its limit."""
    want, declared = problem.want(), trial.arithmetic(problem)
    got = trial.ask(problem).values
    bound = np.broadcast_to(problem.bound(want, declared).value, want.shape)
    # Nobody has promised what errors of an approximation come to, but that they are within its bound.
    cheap = bool(problem.departures) or replace(declared, flush_subnormals=False) != PLAIN
    for group, inside in groups.items():
        found = accuracy.mean_error(
            got[inside],
            want[inside],
            bound[inside],
            output=FORMATS[problem.dtype],
            conditioned=conditioned,
            **({"bias": np.inf} if cheap else {}),
        )
        if not found.accepted:
            raise Violation(problem, f"{group}: {found}")
