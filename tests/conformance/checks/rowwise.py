"""Checks of softmax and its relatives: shift, sums of rows, permutation, long rows, exact sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.elementwise import in_place, works_in_place
from gaugeblock.conformance.checks.generic import also, everyday
from gaugeblock.conformance.checks.statistics import errs_to_either_side_in_rows, many_rows
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.problem import PACKED, Array, Layout, Problem
from gaugeblock.conformance.problems.sparse import SLOW
from gaugeblock.conformance.trial import Trial
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation

LONG = tuple(
    n + d for n in (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536) for d in (0, 1, -1)
)


@st.composite
def shifted(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw rows of small integers, which any integer shift keeps exact."""
    shapes, decided = draw(strategies.row_shapes(operation))
    limit = 8
    arrays = {
        name: Array(shape, "normal" if name == "dy" else "integers", limit=limit, seed=draw(strategies.seeds))
        for name, shape in shapes.items()
    }
    return Problem(operation.name, dtype, arrays, decided)


def ignores_a_shift(trial: Trial, problem: Problem) -> None:
    """Adding one number to a whole row changes nothing but roundings."""
    plain = trial.ask(problem).values
    x = problem.arguments()["x"]
    want, arithmetic, form = problem.want(), trial.arithmetic(problem), FORMATS[problem.dtype]
    bound = problem.bound(want, arithmetic).value
    for shift in (100.0, -90.0, 16.0):
        moved = trial.ask(problem, values={"x": x + shift}).values
        arguments = {**problem.arguments(), **problem.parameters, "x": x + shift}
        both = bound + problem.record.bound(arguments, want, form, arithmetic).value
        trial.expect_related(problem, moved, plain, np.broadcast_to(both, x.shape), f"f(x + {shift}) = f(x)")


def has_its_row_sum(trial: Trial, problem: Problem) -> None:
    """A row of softmax sums to 1, of exp(log_softmax) too; a row of a gradient to 0."""
    axis = problem.parameters.get("axis", -1)
    want = problem.want()
    bound = np.broadcast_to(problem.bound(want, trial.arithmetic(problem)).value, want.shape)
    got = trial.ask(problem).values
    if "dy" in problem.arrays:
        left, slack, total = got, bound, 0.0
    elif problem.operation == "log_softmax":
        left, slack, total = np.exp(got), np.exp(want) * np.expm1(bound), 1.0
    else:
        left, slack, total = got, bound, 1.0
    if want.shape[axis] == 0:
        return
    sums = left.sum(axis)
    ours = 2.0**-50 * np.abs(left).sum(axis)
    trial.expect_related(
        problem, sums, np.full_like(sums, total), slack.sum(axis) + ours, f"the sum of a row = {total:g}"
    )


def commutes_with_permutation(trial: Trial, problem: Problem) -> None:
    """Permuting a row permutes its result."""
    axis = problem.parameters.get("axis", -1)
    size = problem.result_shape[axis]
    order = np.random.default_rng(problem.arrays["x"].seed).permutation(size)
    permuted = {name: value.take(order, axis) for name, value in problem.arguments().items()}
    got = trial.ask(problem, values=permuted).values
    plain = trial.ask(problem).values.take(order, axis)
    bound = np.broadcast_to(problem.bound(problem.want(), trial.arithmetic(problem)).value, got.shape).take(
        order, axis
    )
    trial.expect_related(problem, got, plain, 2 * bound, "f(permuted x) = permuted f(x)")


@st.composite
def long_rows(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw long rows: 2ⁿ and its neighbours, constant or not, with a peak or a desert of −Inf anywhere."""
    n = draw(st.sampled_from(LONG))
    kind = draw(st.sampled_from(("normal", "peak", "constant", "deep", "desert")))
    seed = draw(strategies.seeds)
    where = draw(st.integers(0, n - 1))
    if kind == "constant":
        x = Array((n,), draw(st.sampled_from(("zeros", "ones"))))
    elif kind == "peak":
        x = Array((n,), "normal", seed=seed, planted=((where, draw(st.sampled_from((100.0, 20.0, 300.0)))),))
    elif kind == "deep":
        x = Array((n,), "normal", shift=draw(st.sampled_from((-100.0, 100.0, -1000.0))), seed=seed)
    elif kind == "desert":
        length = min(n - 1, draw(st.sampled_from((40, 300, 1100))))
        empty = tuple(((where + i) % n, float("-inf")) for i in range(length))
        x = Array((n,), "normal", seed=seed, planted=empty)
    else:
        x = Array((n,), "normal", scale=draw(st.sampled_from((1.0, 10.0))), seed=seed)
    arrays = {"dy": Array((n,), "normal", seed=seed + 1), "x": x} if "dy" in operation.arrays else {"x": x}
    return Problem(operation.name, dtype, arrays)


def hard_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield long rows: a late maximum, −Inf first, all alike, all far below 0; columns; thousands of rows."""
    largest = FORMATS[dtype].largest
    for n in (1025, 4096, 5000):
        late = n - 1 - n // 8
        for x in (
            Array((n,), "normal", seed=1, planted=((late, 300.0),)),
            Array((n,), "normal", seed=2, planted=tuple((i, float("-inf")) for i in range(n // 2 + 3))),
            Array((n,), "ones"),
            Array((n,), "normal", shift=-120.0, seed=3),
        ):
            yield _row(operation, dtype, x)
    for n in (5, 1025):
        for depth, spread in ((60000.0, 64.0), (largest * 0.9, largest / 64), (largest, 0.0)):
            yield _row(operation, dtype, Array((n,), "normal", scale=spread, shift=-depth, seed=5))
    yield _row(operation, dtype, Array((64, 5), "normal", shift=-1000.0, seed=7))  # short: nothing hides
    for shape, axis in (((66000,), 0), ((1300, 5), 0), ((3, 1300, 2), 1), ((65550, 2), 1), ((2, 65550), 0)):
        yield _row(operation, dtype, Array(shape, "normal", seed=6), axis=axis)
    for shape in ((5, 768), (3, 1000), (3, 1025), (2, 4099)):  # the next row begins anew, and anywhere
        yield _row(operation, dtype, Array(shape, "normal", seed=8))
    empty = tuple((i, float("-inf")) for i in range(4096))  # a tile of nothing, however long a tile is
    yield _row(operation, dtype, Array((4200,), "normal", seed=9, planted=empty))
    yield _row(operation, dtype, Array((65_550, 1, 2), "normal", seed=10), axis=1)


def _row(operation: Operation, dtype: str, x: Array, **chosen: int) -> Problem:
    """Return the call on ``x``, with an everyday gradient where one is needed."""
    dy = {"dy": Array(x.shape, "normal", seed=4)} if "dy" in operation.arrays else {}
    return Problem(operation.name, dtype, {**dy, "x": x}, chosen)


def cut_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a row that a kernel may cut among blocks."""
    yield _row(operation, dtype, Array((5000,), "normal", seed=1))


def confusing_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a square, whose axes a cache may confuse."""
    yield _row(operation, dtype, Array((24, 24), "normal", seed=2), axis=1)


EXACT: tuple[tuple[tuple[int, ...], int, int, int], ...] = (
    ((130, 129), -1, 130, 0),  # a single winner, at every place
    ((1, 16_384), -1, 2, 0),  # half of a row, and the other half: their number is a power of two
    ((1, 16_384), -1, 2, 1),
    ((1, 16_384), -1, 256, 3),
    ((42, 4099), -1, 41, 0),  # so few that narrow formats tell one more from one less
    ((1, 131_072), -1, 2, 0),
    ((1, 131_072), -1, 2, 1),
    ((1, 131_072), -1, 2048, 2001),
    ((2, 100_003), -1, 100_004, 99_990),  # a late winner
    ((1, 200_001), -1, 2, 1),
    ((65_539, 2), 0, 3, 1),
)
"""Rows, their axis, of how many elements one counts, and where the first of them is."""


def _exact_row(operation: Operation, dtype: str, row: tuple[tuple[int, ...], int, int, int]) -> Problem:
    """Return a call on rows of 0 and −300, whose exponentials are 1 and nothing, with whole gradients."""
    shape, axis, every, seed = row
    terms = shape[axis] if operation.name.startswith("log") else shape[axis] // every + 1
    limit = max(min(2**24 // terms, 2 ** FORMATS[dtype].precision) - 1, 1)
    arrays = {"dy": Array(shape, "odd", limit=limit, seed=seed + 1)} if "dy" in operation.arrays else {}
    arrays["x"] = Array(shape, "zeros", every=every, rest=-300.0, seed=seed)
    return Problem(operation.name, dtype, arrays, {"axis": axis})


def exact_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield rows whose sums no order rounds, of any length, in which each element counts in turn."""
    yield from (_exact_row(operation, dtype, row) for row in EXACT)


@st.composite
def drawn_exact_rows(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw such rows, single ones and several."""
    n = draw(st.one_of(st.sampled_from(LONG), st.integers(2, 1 << 17)))
    every = draw(st.sampled_from((2, 3, 17, n + 1)))
    return _exact_row(
        operation, dtype, ((draw(st.sampled_from((1, 2))), n), -1, every, draw(strategies.seeds))
    )


def has_exact_sums(trial: Trial, problem: Problem) -> None:
    """Where exponentials are 1 or nothing a row is summed without an error, each element once."""
    if trial.declared.slow and problem.elements > SLOW:
        return  # the simulated device takes seconds for it
    trial.expect_right(problem)


def handles_long_rows(trial: Trial, problem: Problem) -> None:
    """A row of any length is handled to its last element, wherever its maximum lies."""
    trial.expect_right(problem)


def distant_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield numbers far apart, whose exponentials show every rounding of their exponents."""
    x = Array((3,), "zeros", planted=((1, -80.3), (2, -60.7)))
    yield _row(operation, dtype, x)


def long_special_rows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield long rows of nothing but −Inf, and some with a NaN or +Inf late."""
    yield _row(operation, dtype, Array((1025,), "zeros", shift=float("-inf")))
    planted = ((1020, float("nan")), (2 * 1025 + 1024, float("inf")))
    yield _row(operation, dtype, Array((4, 1025), "normal", seed=1, planted=planted))


def long_layouts(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a long row that begins between two vectors, and one with gaps."""
    for layout in (Layout(offset=1), Layout(steps=(2,))):
        problem = _row(operation, dtype, Array((1025,), "normal", seed=2))
        yield problem.with_arrays(
            **{name: replace(array, layout=layout) for name, array in problem.arrays.items()}
        )


def long_outputs(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a long row whose ``out`` has gaps, or begins between two vectors."""
    for layout in (Layout(steps=(2,)), Layout(offset=1)):
        yield replace(_row(operation, dtype, Array((1025,), "normal", seed=3)), out=layout)


def long_inputs(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a long row, whose exponentials a kernel might like to keep in place."""
    yield replace(_row(operation, dtype, Array((1025,), "normal", seed=4)), out=PACKED)


def everywhere_in_place(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a long row, a column and a middle axis, of which each input in turn is also the output."""
    for shape, axis in (((1025,), 0), ((9, 4), 0), ((3, 5, 6), 1)):
        problem = _row(operation, dtype, Array(shape, "normal", seed=5), axis=axis)
        for name in problem.arrays:
            yield replace(problem, alias=name)


@st.composite
def deep(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw rows far below or far above zero, where exp alone would give 0 or Inf."""
    problem = draw(everyday(operation, dtype, arithmetic))
    scale, shift = draw(st.sampled_from(((1.0, 0.0), (1.0, -100.0), (20.0, 0.0), (1.0, 120.0))))
    return problem.with_arrays(x=replace(problem.arrays["x"], scale=scale, shift=shift))


ROWWISE = by_role(
    also("accuracy", distant_rows),
    also("special_values", long_special_rows),
    also("layouts", long_layouts),
    also("strides", long_layouts),
    also("output", long_outputs),
    also("inputs_unchanged", long_inputs),
    also("history", confusing_rows),
    also("determinism", cut_rows),
    Check("shift", shifted, ignores_a_shift),
    Check("row_sum", deep, has_its_row_sum, 0.7),
    Check("permutation", deep, commutes_with_permutation, 0.7),
    Check("exact", drawn_exact_rows, has_exact_sums, 0.5, exact_rows),
    Check("statistics", many_rows, errs_to_either_side_in_rows, 0.17),
    Check("long_row", long_rows, handles_long_rows, 1.5, hard_rows),
    Check("aliasing", in_place, works_in_place, 0.5, everywhere_in_place, "strict"),
)
