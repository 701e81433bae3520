"""Checks of pooling and its gradients: windows that break libraries, ties, routing, invariance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock import reference
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.sliding import (
    CHANNELS_LAST,
    SLIDING,
    expect_adjoint,
    in_channels_last,
    wide,
)
from gaugeblock.conformance.checks.statistics import rounds_without_bias
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.geometry import Windows, pool_call, pool_calls
from gaugeblock.conformance.problems.problem import Array, Distribution, Problem
from gaugeblock.conformance.problems.sparse import SLOW, is_sparse, sparse
from gaugeblock.conformance.trial import Outside, Trial, Violation
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation


def _problem(
    operation: Operation,
    dtype: str,
    call: tuple[strategies.Shapes, dict[str, Any]],
    seed: int,
    values: str = "normal",
) -> Problem:
    """Return a call with data of one distribution, gradients normal."""
    shapes, parameters = call
    arrays = {
        name: Array(shape, "normal" if name == "dy" else values, limit=3, seed=seed + i)  # type: ignore[arg-type]
        for i, (name, shape) in enumerate(shapes.items())
    }
    return Problem(operation.name, dtype, arrays, parameters)


BREAKING = (
    ((2, 3, 9, 5), Windows((2, 3), (2, 1), ((0, 0), (1, 1)), (1, 1))),  # nothing square
    ((1, 2, 10, 7), Windows((3, 3), (2, 2), ((0, 0), (0, 0)), (1, 1), True)),  # a window overhangs
    ((1, 2, 5, 6), Windows((2, 2), (3, 3), ((2, 2), (1, 2)), (1, 1))),  # windows without data
    (
        (1, 2, 1, 4),
        Windows((2, 1), (1, 1), ((1, 1), (0, 0)), (2, 1)),
    ),  # the cells lie on both sides of the data
    ((1, 2, 6, 6), Windows((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))),  # overlap and padding
    ((1, 3, 9, 11), Windows((3, 2), (1, 2), ((1, 0), (0, 1)), (2, 3))),  # dilation
    ((1, 2, 20, 17), Windows((13, 9), (1, 2), ((6, 6), (4, 4)), (1, 1))),  # large windows
    ((2, 5, 4, 4), Windows((4, 4), (4, 4), ((0, 0), (0, 0)), (1, 1))),  # a window each
    ((1, 2, 7), Windows((3,), (2,), ((1, 2),), (1,), True)),  # one axis
    ((1, 2, 4, 5, 6), Windows((2, 3, 2), (2, 1, 3), ((0, 1), (1, 1), (1, 0)), (1, 1, 1), True)),  # three axes
    ((1, 260, 3, 4), Windows((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1))),  # many channels
    ((1, 1, 190, 183), Windows((2, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))),  # more than 2¹⁵ results
    ((1, 1, 600, 2), Windows((3, 2), (1, 1), ((1, 1), (0, 0)), (1, 1))),  # positions past 2⁸ and 2⁹
)
"""Windows that broke real libraries."""

CORNERS = (
    ((1, 2, 11, 12), Windows((2, 3), (5, 6), ((0, 0), (1, 1)), (1, 1))),  # a stride beyond 4
    ((1, 1, 9, 8), Windows((7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1))),  # 49 cells
    ((1, 1, 3, 4), Windows((2, 3), (1, 1), ((8, 8), (4, 9)), (1, 1))),  # padding beyond the window
    ((1, 2, 13, 9), Windows((3, 2), (1, 2), ((6, 5), (0, 3)), (6, 6))),  # wide dilation
    ((1, 2, 20), Windows((17,), (1,), ((8, 8),), (1,))),  # many windows hold a cell; padding on one axis
    ((1, 1, 40, 41), Windows((40, 41), (1, 1), ((0, 0), (0, 0)), (1, 1))),  # one window of all cells
    ((1, 1, 300, 220), Windows((2, 2), (298, 218), ((0, 0), (0, 0)), (1, 1))),  # a plane beyond 2¹⁶ cells
    ((257, 257, 1), Windows((1,), (1,), ((0, 0),), (1,))),  # more than 2¹⁶ planes
    ((1, 1, 262200), Windows((1,), (1,), ((0, 0),), (1,))),  # more than 2¹⁸ results
)
"""Windows larger, wider, further apart and more than usual."""

DIVISORS = (-2.0, 2.5)
"""Divisors that are no positive whole number."""


def breaking_windows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield windows that broke real libraries; data below 0, so that a zero from the padding would win."""
    for shape, slides in BREAKING:
        dilation = (1,) * len(slides.kernel) if operation.name.startswith("avg") else slides.dilation
        for include_pad, divisor in ((True, None), (False, None), (True, 3))[
            : 3 if "avg" in operation.name else 1
        ]:
            call = pool_call(operation.name, shape, replace(slides, dilation=dilation), include_pad, divisor)
            problem = _problem(operation, dtype, call, 1)
            yield problem.with_arrays(
                **{n: replace(a, shift=-9.0) for n, a in problem.arrays.items() if n == "x"}
            )

    for shape, slides in CORNERS:
        dilation = (1,) * len(slides.kernel) if operation.name.startswith("avg") else slides.dilation
        call = pool_call(operation.name, shape, replace(slides, dilation=dilation))
        problem = _problem(operation, dtype, call, 1)
        # The last cell is the largest: a window that is not read to its end shows.
        yield problem.with_arrays(
            **{
                n: replace(a, shift=-9.0, planted=((a.size - 1, -0.5),))
                for n, a in problem.arrays.items()
                if n == "x"
            }
        )
    if "divisor" in operation.parameters:
        shape, slides = BREAKING[0]
        for number in DIVISORS:
            yield _problem(operation, dtype, pool_call(operation.name, shape, slides, True, number), 1)


def everyday_windows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw any windows."""
    return st.builds(
        lambda call, seed: _problem(operation, dtype, call, seed), pool_calls(operation), strategies.seeds
    )


def is_right_for_these_windows(trial: Trial, problem: Problem) -> None:
    """Windows that are not square, overhang, overlap or hold no data give what the clause states."""
    trial.expect_right(problem)


@st.composite
def channels_last(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw arrays with the channels innermost, whole or a slice of more channels."""
    problem = _problem(operation, dtype, draw(pool_calls(operation, ndim=2)), draw(strategies.seeds))
    layout = draw(st.sampled_from(CHANNELS_LAST))
    chosen = draw(st.sampled_from([*problem.arrays, None]))
    return problem.with_arrays(
        **{n: replace(a, layout=layout) for n, a in problem.arrays.items() if chosen in (n, None)}
    )


def channel_slices(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield many channels innermost, slices of them, and one and three axes with the channels innermost."""
    for shape, one in (
        ((2, 3, 5, 6), Windows((2, 3), (1, 2), ((1, 0), (1, 1)), (1, 1))),
        ((2, 3, 7), Windows((3,), (2,), ((1, 0),), (1,))),
        ((2, 3, 3, 4, 3), Windows((2, 3, 1), (1, 2, 2), ((0, 1), (1, 1), (0, 0)), (1, 1, 1))),
    ):
        yield from in_channels_last(_problem(operation, dtype, pool_call(operation.name, shape, one), 1))
    slides = Windows((2, 3), (1, 2), ((1, 0), (1, 1)), (1, 1))
    for channels in (5, 320):
        problem = _problem(operation, dtype, pool_call(operation.name, (1, channels, 3, 4), slides), 1)
        for name, array in problem.arrays.items():
            for layout in CHANNELS_LAST:
                yield problem.with_arrays(**{name: replace(array, layout=layout)})


def reads_channels_last(trial: Trial, problem: Problem) -> None:
    """Where the channels lie in memory changes nothing."""
    trial.expect_right(problem)


def commutes_with_permutation(trial: Trial, problem: Problem) -> None:
    """Permuting batch and channels permutes the result."""
    arguments = problem.arguments()
    random = np.random.default_rng(1)
    n, c = (random.permutation(size) for size in next(iter(arguments.values())).shape[:2])
    permuted = {name: value[n][:, c] for name, value in arguments.items()}
    got = trial.ask(problem, values=permuted).values
    plain = trial.ask(problem).values[n][:, c]
    trial.expect_related(problem, got, plain, np.zeros_like(plain), "permuted batch and channels")


@st.composite
def tiled_windows(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw windows that lie side by side."""
    size = draw(st.sampled_from((2, 3, 4)))
    count = draw(st.sampled_from((1, 2, 5)))
    slides = Windows((size, size), (size, size), ((0, 0), (0, 0)), (1, 1))
    call = pool_call(operation.name, (2, 3, size * count, size * 2), slides)
    return _problem(operation, dtype, call, draw(strategies.seeds))


def ignores_order_inside_a_window(trial: Trial, problem: Problem) -> None:
    """Permuting the elements inside every window changes nothing but roundings."""
    size = problem.parameters["kernel"][0]
    x = problem.arguments()["x"]
    n, c, h, w = x.shape
    order = np.random.default_rng(2).permutation(size * size)
    cells = x.reshape(n, c, h // size, size, w // size, size).transpose(0, 1, 2, 4, 3, 5)
    mixed = cells.reshape(n, c, h // size, w // size, size * size)[..., order]
    mixed = mixed.reshape(n, c, h // size, w // size, size, size).transpose(0, 1, 2, 4, 3, 5).reshape(x.shape)
    got, plain = trial.ask(problem, values={"x": mixed}).values, trial.ask(problem).values
    bound = np.broadcast_to(problem.bound(problem.want(), trial.arithmetic(problem)).value, plain.shape)
    trial.expect_related(problem, got, plain, 2 * bound, "f(permuted window) = f(window)")


@st.composite
def tied(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw data of few different values, so that most maxima are tied."""
    call = draw(pool_calls(operation))
    return _problem(operation, dtype, call, draw(strategies.seeds), draw(st.sampled_from(("signs", "ones"))))


def resolves_ties_as_stated(trial: Trial, problem: Problem) -> None:
    """Of equal maxima the first of the window is the chosen one, and it alone."""
    trial.expect_right(problem)


def routes_the_gradient(trial: Trial, problem: Problem) -> None:
    """A gradient reaches the chosen elements only, and all of it arrives."""
    got = trial.ask(problem).values
    want = problem.want()
    stray = (got != 0) & (want == 0)
    bound = np.broadcast_to(problem.bound(want, trial.arithmetic(problem)).value, want.shape)
    if np.any(stray & (np.abs(got) > bound)):
        worst = int(np.flatnonzero(stray)[0])
        raise Violation(
            problem, f"element {np.unravel_index(worst, got.shape)} was not chosen and got a gradient", worst
        )
    sums = np.atleast_1d(got.sum())
    slack = np.atleast_1d(bound.sum() + 2.0**-45 * np.abs(got).sum())
    trial.expect_related(problem, sums, np.atleast_1d(want.sum()), slack, "Σ dx = Σ of the routed dy")


def translates_with_its_input(trial: Trial, problem: Problem) -> None:
    """Moving the input by a stride moves the output by one, where the window stays inside."""
    ndim = len(problem.arrays["x"].shape) - 2
    inside = problem.with_parameters(padding=((0, 0),) * ndim, ceil_mode=False)
    if 0 in inside.result_shape or inside.result_shape[2] < 2:
        return
    stride = inside.parameters["stride"][0]
    x = inside.arguments()["x"]
    moved = np.roll(x, stride, axis=2)
    here, there = trial.ask(inside).values, trial.ask(inside, values={"x": moved}).values
    bound = np.broadcast_to(inside.bound(inside.want(), trial.arithmetic(inside)).value, here.shape)[
        :, :, :-1
    ]
    trial.expect_related(
        inside, there[:, :, 1:], here[:, :, :-1], 2 * bound, "y(x moved by a stride) = y moved by one"
    )


POWERS_OF_TWO = (1.0, 4.0, 0.5)
"""Divisors that keep integers exact."""


@st.composite
def integers(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw integers that no order of summation rounds, divided by a power of two if at all."""
    shapes, parameters = draw(pool_calls(operation))
    if "divisor" in parameters:
        parameters = {**parameters, "divisor": draw(st.sampled_from(POWERS_OF_TWO))}
    terms = operation.reduction(shapes, parameters) or 1
    limit = max(accuracy.exact_integer_limit(terms, dtype, arithmetic), 1)
    values = next(name for name in ("dy", "x") if name in shapes)
    arrays = {name: Array(shape, "signs", seed=draw(strategies.seeds)) for name, shape in shapes.items()}
    arrays[values] = replace(arrays[values], values="odd", limit=limit)
    return Problem(operation.name, dtype, arrays, parameters)


def _keeps_integers(problem: Problem) -> bool:
    """Whether nothing is divided by what is no power of two."""
    if "divisor" not in problem.record.parameters:
        return True
    if problem.parameters.get("divisor") is not None:
        return problem.parameters["divisor"] in POWERS_OF_TWO
    cells = problem.record.reduction(problem.shapes, problem.parameters) or 1
    whole = problem.parameters.get("count_include_pad", True) and not problem.parameters.get("ceil_mode")
    return bool(whole) and cells & (cells - 1) == 0


def is_exact_on_integers(trial: Trial, problem: Problem) -> None:
    """On integers that no order of summation rounds, the result is exact, and rounded once."""
    if not _keeps_integers(problem):
        raise Outside  # the domain has divisors that round
    divides = "divisor" in problem.record.parameters
    if not trial.sums_exactly(problem) or (
        divides and "division" in trial.arithmetic(problem).approximations
    ):
        trial.expect_right(problem)
        return
    want = accuracy.round_to(problem.want(), FORMATS[problem.dtype]).astype(np.float64)
    trial.compare(problem, trial.ask(problem).values, want, accuracy.exact_bound(want))


LONG = (
    ((1, 1, 2047), (1024,), (1,)),  # every cell in turn
    ((1, 2, 37, 65), (32, 64), (1, 1)),
    ((1, 1, 71, 72), (64, 64), (7, 2)),
    ((1, 1, 264, 257), (263, 257), (1, 1)),
)
"""Inputs, windows of a thousand cells and more, and how they move."""


def _long_window(
    operation: Operation, dtype: str, shape: tuple[int, ...], *steps: tuple[int, ...]
) -> Problem:
    kernel, stride = steps
    slides = Windows(kernel, stride, ((0, 0),) * len(kernel), (1,) * len(kernel))
    shapes, parameters = pool_call(operation.name, shape, slides)
    if "divisor" in operation.parameters and prod(kernel) % 2:
        parameters = {**parameters, "divisor": 1.0}  # others are divided by their cells, a power of two
    return Problem(operation.name, dtype, {name: Array(s) for name, s in shapes.items()}, parameters)


def sparse_windows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield large windows that no order rounds: of a single cell, of some, and of ones and others."""
    for i, (shape, kernel, stride) in enumerate(LONG):
        problem = _long_window(operation, dtype, shape, kernel, stride)
        name = next(iter(problem.arrays))
        cells = prod(kernel)
        for every in (cells, 61):
            yield sparse(problem, arithmetic, name, every, seed=i)
        ones = Array(problem.shapes[name], "odd", limit=min(cells, 255) | 1, every=61, rest=1.0, seed=i)
        yield problem.with_arrays(**{name: ones})


def late_winners(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield large windows with a single maximum each, at another cell in each; and where many share one."""
    if not operation.name.startswith("max"):
        return
    lowest, limit = -FORMATS[dtype].largest, 2 ** FORMATS[dtype].precision - 1
    # Of the longest the reference takes seconds for a gradient.
    for i, (shape, kernel, stride) in enumerate(LONG[:-1] if "dy" in operation.arrays else LONG):
        problem = _long_window(operation, dtype, shape, kernel, stride)
        winners = Array(shape, "odd", limit=limit, every=prod(kernel), rest=lowest, seed=prod(kernel) - 1 - i)
        problem = problem.with_arrays(x=winners)
        if "dy" in problem.arrays:  # integers, of which many add up
            dy = Array(problem.shapes["dy"], "odd", limit=min(2**14, limit), seed=i)
            problem = problem.with_arrays(dy=dy)
        yield problem


def is_accurate_in_large_windows(trial: Trial, problem: Problem) -> None:
    """Every element lies within the derived bound, whatever the data and however large the window."""
    if trial.declared.slow and problem.elements > SLOW:
        return  # the simulated device takes seconds for it
    trial.expect_right(problem)


def sums_all_cells(trial: Trial, problem: Problem) -> None:
    """A window of thousands of cells has them all, each once, with all their bits."""
    if trial.declared.slow and problem.elements > SLOW:
        return  # the simulated device takes seconds for it
    if not is_sparse(problem):
        trial.expect_right(problem)
        return
    is_exact_on_integers(trial, trial.widened(problem))


def averages(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw zero-mean data, or data of one sign, under windows that overlap, with thousands of results."""
    slides = Windows((8, 8), (1, 1), ((0, 0), (0, 0)), (1, 1))
    shapes, parameters = pool_call(operation.name, (2, 8, 24, 23), slides)
    signs = arithmetic.accumulator == "float32" and arithmetic.multiplier is None
    kinds: tuple[Distribution, ...] = ("normal", "uniform") if signs else ("normal",)
    return st.builds(
        lambda values, seed: Problem(
            operation.name, dtype, {n: Array(s, values, seed=seed) for n, s in shapes.items()}, parameters
        ),
        st.sampled_from(kinds),
        strategies.seeds,
    )


def is_the_adjoint(trial: Trial, problem: Problem) -> None:
    """⟨avg_pool(x), dy⟩ = ⟨x, gradient of dy⟩, the forward side computed exactly."""
    shape = problem.parameters["input_shape"]
    partner = np.random.default_rng(5).integers(-2, 3, shape).astype(np.float64)
    shared = {key: value for key, value in problem.parameters.items() if key != "input_shape"}
    expect_adjoint(trial, problem, partner, reference.avg_pool(partner, **shared), problem.arguments()["dy"])


REAL_MAPS: dict[Distribution, tuple[int, ...]] = {
    "digits": (1, 8, 8),
    "digit maps": (8, 8, 8),
    "deep maps": (16, 4, 4),
}
"""Images of digits, and what the small network's pooling gets: the shape of one."""


def _of_digits(operation: Operation, dtype: str, values: Distribution, count: int, stride: int) -> Problem:
    """Return a pooling of some images or their feature maps."""
    x = Array((count, *REAL_MAPS[values]), values)
    return Problem(operation.name, dtype, {"x": x}, {"kernel": 2, "stride": stride})


def digit_maps(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw what is pooled, how many of it, and whether windows overlap."""
    counts, strides = st.sampled_from((1, 5, 20)), st.sampled_from((2, 1))
    return st.builds(partial(_of_digits, operation, dtype), st.sampled_from(list(REAL_MAPS)), counts, strides)


def many_digits(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield many images, and the feature maps of some, pooled as the network does."""
    for values, count in (("digits", 200), ("digit maps", 20), ("deep maps", 20)):
        yield _of_digits(operation, dtype, values, count, 2)  # type: ignore[arg-type]


def pools_real_digits(trial: Trial, problem: Problem) -> None:
    """On images of digits and their feature maps, full of zeros and so of ties, results are within bounds."""
    trial.expect_right(problem)


POOLING = by_role(
    *SLIDING,
    Check("accuracy", wide, is_accurate_in_large_windows, 1.0, late_winners),
    Check("exact", integers, is_exact_on_integers, 0.7),
    Check("long_sum", everyday_windows, sums_all_cells, 0.2, sparse_windows),
    Check("statistics", averages, rounds_without_bias, 0.3),
    Check("adjointness", everyday_windows, is_the_adjoint, 0.5),
    Check("real_data", digit_maps, pools_real_digits, 0.2, many_digits, within="rigid"),
    Check("shapes", everyday_windows, is_right_for_these_windows, 0.7, breaking_windows),
    Check("channels_last", channels_last, reads_channels_last, 0.7, channel_slices, "robust"),
    Check("permutation", everyday_windows, commutes_with_permutation, 0.4),
    Check("window", tiled_windows, ignores_order_inside_a_window, 0.4, within="rigid"),
    Check("ties", tied, resolves_ties_as_stated, 0.7),
    Check("routing", everyday_windows, routes_the_gradient, 0.5),
    Check("translation", everyday_windows, translates_with_its_input, 0.4),
)
