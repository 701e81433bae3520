"""Checks of element-wise operations: sweeps of all inputs, tails, symmetry, monotonicity, aliasing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import everyday, is_spared, rows, strided
from gaugeblock.conformance.checks.statistics import both_forms, errs_to_either_side, many_arguments
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.problem import PERIOD, Array, Distribution, Layout, Problem, edge_values
from gaugeblock.conformance.trial import Outside, Trial, Violation
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import Operation

LENGTHS = (*range(36), 63, 64, 65, 127, 129, 255, 257, 511, 1023, 1025, 2047, 2049, 4095, 4097, 8193)


@st.composite
def sweeps(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw all inputs of a 16-bit type, or every edge of fp32; with dy = 1, then with any dy."""
    n = 1 << 16 if dtype != "float32" else edge_values(dtype).size
    x = Array((n,), "every" if dtype != "float32" else "edges")
    arrays = {"x": x}
    if "dy" in operation.arrays:
        dy = draw(st.sampled_from((Array((n,), "ones"), Array((n,), "normal", seed=1))))
        arrays = {"dy": dy, "x": x}
    return Problem(operation.name, dtype, arrays, draw(strategies.parameters(operation)))


def is_right_for_every_input(trial: Trial, problem: Problem) -> None:
    """All 65 536 inputs of a 16-bit type, and all edges of fp32, give a result within the bound."""
    answer, want = trial.ask(problem), problem.want()
    # What a function is at infinity is a limit, and a clause of its own.
    got = np.where(np.isinf(problem.arguments()["x"]), want, answer.values)
    trial.compare(problem, got, want, problem.bound(want, trial.arithmetic(problem)))
    trial.compare_zero_signs(problem, got, want)


def _beside(operation: Operation, dtype: str, length: int, offsets: tuple[int, ...], seed: int) -> Problem:
    """Return a call on vectors that start at given distances, in elements, from an aligned address."""
    values: Distribution = "periodic" if length > PERIOD else "normal"
    arrays = {
        name: Array((length,), values, seed=seed + i, layout=Layout(offset=offsets[i]))
        for i, name in enumerate(operation.arrays)
    }
    return Problem(operation.name, dtype, arrays, out=Layout(offset=offsets[2]))


def tails(
    operation: Operation, dtype: str, arithmetic: Arithmetic, furthest: int = 0
) -> SearchStrategy[Problem]:
    """Draw every short length and the lengths beside vectors, warps and blocks."""
    offsets = st.tuples(*[st.integers(0, furthest)] * 3)
    drawn = st.builds(
        lambda length, where, seed: _beside(operation, dtype, length, where, seed),
        st.one_of(st.sampled_from(LENGTHS), st.integers(1, 2000)),
        offsets,
        strategies.seeds,
    )
    return st.builds(lambda p, chosen: replace(p, parameters=chosen), drawn, strategies.parameters(operation))


def long_vectors(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield vectors past 16-bit indices, and past 1024 blocks of 256 threads."""
    for length in (65536 + 5, (1 << 18) + 3):
        yield _beside(operation, dtype, length, (0, 0, 0), 1)


def handles_every_length(trial: Trial, problem: Problem) -> None:
    """Every length is handled to its last element."""
    trial.expect_right(problem)


def misaligned(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw any layout, and vectors of any length that start anywhere between two 16-byte addresses."""
    return st.one_of(strided(operation, dtype, arithmetic), tails(operation, dtype, arithmetic, 7))


def misaligned_starts(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield vectors of which only some start where 16-byte accesses may."""
    for offsets in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 4, 0), (3, 3, 3)):
        yield _beside(operation, dtype, 1027, offsets, 1)


def reads_and_writes_in_any_layout(trial: Trial, problem: Problem) -> None:
    """An array gives the same result wherever its elements lie, and no byte beside them changes."""
    if is_spared(trial, problem):
        return
    answer = trial.expect_as_plain(problem, watch=True)
    for intrusion in answer.intrusions:
        raise Violation(problem, intrusion)


def grids(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw evenly spaced arguments, on any scale, around zero."""

    def build(scale: float, size: int) -> Problem:
        arrays = {
            name: Array((size,), "ones" if name == "dy" else "grid", scale=scale) for name in operation.arrays
        }
        return Problem(operation.name, dtype, arrays)  # with the default parameters, as the clauses say

    return st.builds(
        build, st.sampled_from((1.0, 4.0, 10.0, 20.0, 100.0, 1e-3, 1e-5)), st.sampled_from((64, 2048))
    )


def _expect_defaults(problem: Problem) -> None:
    """Leave a claim about the default parameters alone where the domain has others only."""
    defaults = problem.record.complete({})
    if any(defaults[name] != value for name, value in problem.parameters.items()):
        raise Outside


def never_falls(trial: Trial, problem: Problem) -> None:
    """A larger argument never gives a smaller result, but for the bound."""
    _expect_defaults(problem)
    answer = trial.ask(problem).values.reshape(-1)
    want = problem.want()
    bound = np.broadcast_to(problem.bound(want, trial.arithmetic(problem)).value, want.shape).reshape(-1)
    slack = bound[1:] + bound[:-1]
    trial.expect_related(
        problem, np.minimum(np.diff(answer), 0.0), np.zeros(answer.size - 1), slack, "f(x) ≤ f(x′) for x < x′"
    )


def has_its_symmetry(trial: Trial, problem: Problem) -> None:
    """The results for x and −x are related as the clause states."""
    _expect_defaults(problem)
    symmetry = problem.record.symmetry
    assert symmetry is not None
    forward = trial.ask(problem).values
    x = problem.arguments()["x"]
    if not np.array_equal(x.reshape(-1), -x.reshape(-1)[::-1]):  # in a domain of one element
        raise Outside
    backward = forward.reshape(-1)[::-1].reshape(x.shape)  # a grid reversed is the sign change
    bound = np.broadcast_to(problem.bound(problem.want(), trial.arithmetic(problem)).value, x.shape)
    left = forward + backward if symmetry.combine == "sum" else forward - backward
    right = {"x": x, "one": np.ones_like(x), "zero": np.zeros_like(x)}[symmetry.equals]
    left = np.where(x == 0, right, left)  # a kink has its own rule
    ours = 2.0**-52 * (np.abs(forward) + np.abs(backward))  # of this sum itself
    sign = "+" if symmetry.combine == "sum" else "−"
    trial.expect_related(
        problem,
        left,
        right,
        bound + bound.reshape(-1)[::-1].reshape(x.shape) + ours,
        f"f(x) {sign} f(−x) = {symmetry.equals}",
    )


@st.composite
def in_place(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw everyday problems in which an input of the result's shape is also the output."""
    problem = draw(everyday(operation, dtype, arithmetic))
    same = [name for name, array in problem.arrays.items() if array.shape == problem.result_shape]
    return replace(problem, alias=draw(st.sampled_from(same)), out=None)


def works_in_place(trial: Trial, problem: Problem) -> None:
    """An input given as ``out`` too is overwritten with the same result."""
    if not trial.subject.takes_out(problem.operation):
        problem = replace(problem, alias=None)  # nothing can be in place; the result must still be right
    trial.expect_as_plain(problem)


ELEMENTWISE = by_role(
    Check("sweep", sweeps, is_right_for_every_input, 0.3),
    Check("statistics", many_arguments, errs_to_either_side, 0.17, both_forms),
    Check("tail", tails, handles_every_length, 1.0, long_vectors),
    Check(
        "layouts",
        misaligned,
        reads_and_writes_in_any_layout,
        1.5,
        misaligned_starts,
        "robust",
        further=rows(out=False),
    ),
    Check("monotonicity", grids, never_falls, 0.5),
    Check("symmetry", grids, has_its_symmetry, 0.5),
    Check("aliasing", in_place, works_in_place, 0.5, level="strict"),
)
