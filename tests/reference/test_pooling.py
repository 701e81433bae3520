"""Pooling of the reference: definition, gradients, odd shapes, special values, refusals."""

import inspect
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock import reference
from gaugeblock.reference import (
    adaptive_avg_pool,
    adaptive_avg_pool_backward,
    adaptive_max_pool,
    adaptive_max_pool_backward,
    avg_pool,
    avg_pool_backward,
    conv,
    global_avg_pool,
    global_avg_pool_backward,
    global_max_pool,
    global_max_pool_backward,
    lp_pool,
    lp_pool_backward,
    max_pool,
    max_pool_backward,
    max_pool_indices,
)
from gaugeblock.reference import pooling as rules

Inf, NaN = np.inf, np.nan


@dataclass(frozen=True)
class Problem:
    """A pooling: the shape of its input, its parameters, and a source of small numbers."""

    x: tuple[int, ...]
    parameters: dict[str, Any]
    seed: int

    @property
    def y(self) -> tuple[int, ...]:
        """The shape of the result."""
        return rules.max_pool_shape(self.x, **self.parameters)

    def fractions(self, *shape: int, distinct: bool = False) -> np.ndarray:
        """Return an array of small fractions, with ties unless they are distinct."""
        draw = np.random.default_rng([self.seed, *shape])
        count = math.prod(shape)
        tops = draw.permutation(count) - count // 2 if distinct else draw.integers(-5, 6, count)
        array = np.empty(count, dtype=object)
        array[:] = [Fraction(int(top), 3) for top in tops]
        return array.reshape(shape)


@st.composite
def problems(
    draw: st.DrawFn, *, overlap: bool = True, dilation: bool = True, padding: bool = True
) -> Problem:
    """Draw a pooling in which nothing need be square, symmetric, divisible or present."""
    axes = draw(st.integers(1, 3))
    longest = {1: 11, 2: 6, 3: 4}[axes]

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    kernel = per_axis(1, 4)
    parameters: dict[str, Any] = {"kernel": kernel, "ceil_mode": draw(st.booleans())}
    if padding:
        parameters["padding"] = tuple(zip(per_axis(0, 3), per_axis(0, 3), strict=True))
    if dilation:
        parameters["dilation"] = per_axis(1, 2)
    parameters["stride"] = per_axis(1, 3) if overlap else tuple(map(max, kernel, per_axis(1, 4)))
    shape = (draw(st.integers(0, 2)), draw(st.integers(0, 2)), *per_axis(0, longest))
    return Problem(shape, parameters, draw(st.integers(0, 2**32)))


def cells(problem: Problem, p: tuple[int, ...], *, padded: bool = False) -> list[tuple[int, ...]]:
    """Return the cells of a window within the input, or within the padded input, row by row."""
    axes = len(p)
    padding = problem.parameters.get("padding", ((0, 0),) * axes)
    dilation = problem.parameters.get("dilation", (1,) * axes)
    found = []
    for r in np.ndindex(problem.parameters["kernel"]):
        at = [
            p[i] * problem.parameters["stride"][i] + r[i] * dilation[i] - padding[i][0] for i in range(axes)
        ]
        before, after = zip(*padding, strict=True) if padded else ((0,) * axes, (0,) * axes)
        if all(-before[i] <= at[i] < problem.x[2 + i] + after[i] for i in range(axes)):
            found.append(tuple(at))
    return found


# The definition, exactly


@given(problems())
@pytest.mark.spec("POOL-S1")
@pytest.mark.spec("POOL-S2")
@pytest.mark.spec("POOL-X4")
def test_the_first_maximum_of_every_window_is_found(problem: Problem) -> None:
    x = problem.fractions(*problem.x)
    values, indices = max_pool(x, **problem.parameters), max_pool_indices(x, **problem.parameters)
    assert values.shape == indices.shape == problem.y
    assert indices.dtype == np.int64
    for n, c, *p in np.ndindex(problem.y):
        window = cells(problem, tuple(p))
        here = (n, c, *p)
        if not window:
            assert (values[here], indices[here]) == (-Inf, -1)
            continue
        first = max(window, key=lambda cell: x[(n, c, *cell)])
        assert values[here] == x[(n, c, *first)]
        assert indices[here] == np.ravel_multi_index(first, problem.x[2:])


@given(problems(), st.sampled_from([None, Fraction(-7, 2), 3.0]), st.booleans())
@pytest.mark.spec("POOL-S4")
@pytest.mark.spec("POOL-D3")
def test_an_average_is_the_sum_of_what_is_there_by_its_divisor(
    problem: Problem, divisor: Any, count_include_pad: bool
) -> None:
    x = problem.fractions(*problem.x)
    y = avg_pool(x, **problem.parameters, divisor=divisor, count_include_pad=count_include_pad)
    assert y.shape == problem.y
    for n, c, *p in np.ndindex(problem.y):
        total = sum((x[(n, c, *cell)] for cell in cells(problem, tuple(p))), start=Fraction(0))
        counted = len(cells(problem, tuple(p), padded=count_include_pad))
        by = Fraction(divisor) if divisor is not None else max(counted, 1)
        assert y[(n, c, *p)] == total / by
        assert type(y[(n, c, *p)]) is Fraction


@given(problems())
@pytest.mark.spec("POOL-D2")
def test_ceil_mode_adds_at_most_the_window_that_the_remainder_has_begun(problem: Problem) -> None:
    floor = rules.pool_windows(problem.x, **problem.parameters | {"ceil_mode": False})
    ceil = rules.pool_windows(problem.x, **problem.parameters | {"ceil_mode": True})
    for i, H in enumerate(floor.size):
        assert ceil.output[i] <= floor.output[i] + 1
        begin = (ceil.output[i] - 1) * ceil.stride[i]
        if ceil.output[i] > floor.output[i]:
            assert begin < floor.before[i] + H
            assert begin + floor.extent[i] > floor.before[i] + H + floor.after[i]


@given(problems())
@pytest.mark.spec("POOL-S3")
@pytest.mark.spec("POOL-I5")
def test_the_gradient_of_a_maximum_is_added_up_where_it_was_chosen(problem: Problem) -> None:
    x, dy = problem.fractions(*problem.x), problem.fractions(*problem.y, distinct=True)
    dx = max_pool_backward(dy, x, **problem.parameters)
    indices = max_pool_indices(x, **problem.parameters)
    want = np.full(problem.x, Fraction(0))
    for n, c, *p in np.ndindex(problem.y):
        place = indices[(n, c, *p)]
        if place >= 0:
            want[(n, c, *np.unravel_index(place, problem.x[2:]))] += dy[(n, c, *p)]
    assert np.array_equal(dx, want)
    assert dx.sum() == dy[indices >= 0].sum()


@given(problems(), st.sampled_from([None, Fraction(-7, 2)]), st.booleans())
@pytest.mark.spec("POOL-S5")
@pytest.mark.spec("POOL-I6")
def test_the_gradient_of_the_average_is_its_adjoint(
    problem: Problem, divisor: Any, count_include_pad: bool
) -> None:
    same = problem.parameters | {"divisor": divisor, "count_include_pad": count_include_pad}
    x, dy = problem.fractions(*problem.x), problem.fractions(*problem.y)
    dx = avg_pool_backward(dy, input_shape=problem.x, **same)
    assert dx.shape == problem.x
    assert (avg_pool(x, **same) * dy).sum() == (x * dx).sum()


@given(problems())
@pytest.mark.spec("POOL-S8")
def test_the_norm_with_p_1_is_the_sum_of_absolute_values_with_an_exact_gradient(problem: Problem) -> None:
    x, dy = problem.fractions(*problem.x), problem.fractions(*problem.y)
    y = lp_pool(x, p=1, **problem.parameters)
    assert np.array_equal(y, avg_pool(np.abs(x), divisor=1, **problem.parameters))
    dx = lp_pool_backward(dy, x, p=1, **problem.parameters)
    spread = avg_pool_backward(dy, input_shape=problem.x, divisor=1, **problem.parameters)
    assert np.array_equal(dx, spread * np.sign(x.astype(float)).astype(int))


@given(problems(), st.sampled_from([1, 1.5, 2, 3, 7]))
@pytest.mark.spec("POOL-S8")
def test_a_norm_is_the_root_of_the_sum_of_powers(problem: Problem, p: float) -> None:
    x = np.random.default_rng(problem.seed).normal(size=problem.x)
    y = lp_pool(x, p=p, **problem.parameters)
    want = avg_pool(np.abs(x) ** p, divisor=1, **problem.parameters) ** (1 / p)
    assert np.allclose(y, want, rtol=1e-14, atol=0)


@pytest.mark.spec("POOL-S8")
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_the_gradient_of_a_norm_is_what_differences_say(p: float) -> None:
    draw = np.random.default_rng(6)
    x, h = draw.normal(size=(1, 2, 5, 4)), 1e-6
    same: dict[str, Any] = {"kernel": (2, 3), "stride": 1, "padding": 1, "p": p}
    dy = draw.normal(size=lp_pool(x, **same).shape)
    dx = lp_pool_backward(dy, x, **same)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        slope = ((lp_pool(x + step, **same) - lp_pool(x - step, **same)) * dy).sum() / (2 * h)
        assert abs(slope - dx[index]) <= 1e-6
    zero = lp_pool_backward(np.ones((1, 1, 1)), np.zeros((1, 1, 2)), kernel=2, p=p)
    assert np.array_equal(zero, np.zeros((1, 1, 2)))


def test_norms_neither_overflow_nor_underflow_before_their_result_does() -> None:
    for scale in (1e300, 1e-300):
        assert lp_pool(np.array([[[3 * scale, -4 * scale]]]), kernel=2)[0, 0, 0] == pytest.approx(5 * scale)
    assert lp_pool(np.array([[[Inf, 1.0, NaN, 1.0]]]), kernel=2).tolist()[0][0][0] == Inf
    assert np.isnan(lp_pool(np.array([[[NaN, 1.0]]]), kernel=2)).all()


# What must hold between poolings


@given(problems(overlap=False, dilation=False), st.randoms(use_true_random=False))
@pytest.mark.spec("POOL-I3")
def test_moving_values_inside_their_window_changes_no_pooling(problem: Problem, random: Any) -> None:
    x = problem.fractions(*problem.x)
    moved = x.copy()
    for p in np.ndindex(problem.y[2:]):
        window = cells(problem, p)
        order = random.sample(window, len(window))
        for old, new in zip(window, order, strict=True):
            moved[(..., *new)] = x[(..., *old)]
    assert np.array_equal(max_pool(moved, **problem.parameters), max_pool(x, **problem.parameters))
    assert np.array_equal(avg_pool(moved, **problem.parameters), avg_pool(x, **problem.parameters))


@given(problems())
@pytest.mark.spec("POOL-I4")
def test_an_average_with_a_divisor_is_a_convolution_with_equal_weights(problem: Problem) -> None:
    same = {name: value for name, value in problem.parameters.items() if name != "ceil_mode"}
    kernel = same.pop("kernel")
    channels = problem.x[1]
    if channels == 0:
        return
    x = problem.fractions(*problem.x)
    w = np.full((channels, 1, *kernel), Fraction(1, 7))
    assert np.array_equal(avg_pool(x, kernel=kernel, divisor=7, **same), conv(x, w, groups=channels, **same))


@given(problems(padding=False), st.integers(0, 2))
@pytest.mark.spec("POOL-I2")
def test_moving_the_input_by_strides_moves_the_output(problem: Problem, steps: int) -> None:
    parameters = problem.parameters | {"ceil_mode": False}
    x = problem.fractions(*problem.x)
    moved = x[(..., *(slice(steps * s, None) for s in parameters["stride"]))]
    later = (..., *(slice(steps, None),) * (x.ndim - 2))
    if 0 in problem.x[2:] or 0 in rules.pool_windows(problem.x, **parameters).output:
        return
    for pool in (max_pool, avg_pool):
        assert np.array_equal(pool(moved, **parameters), pool(x, **parameters)[later])


def test_a_maximum_commutes_with_every_increasing_function() -> None:
    x = np.random.default_rng(7).normal(size=(2, 3, 7, 8))
    same: dict[str, Any] = {"kernel": 3, "stride": 2, "padding": 1}
    assert np.array_equal(max_pool(np.exp(x), **same), np.exp(max_pool(x, **same)))


# Regions


@given(problems(), st.data())
@pytest.mark.spec("POOL-S10")
def test_adaptive_regions_cover_the_map_evenly_and_their_gradients_belong(
    problem: Problem, data: st.DataObject
) -> None:
    size = tuple(data.draw(st.integers(1, 6)) for _ in problem.x[2:])
    x = problem.fractions(*problem.x, distinct=True)
    dy = problem.fractions(*problem.x[:2], *size)
    largest, mean = adaptive_max_pool(x, output_size=size), adaptive_avg_pool(x, output_size=size)
    assert largest.shape == mean.shape == (*problem.x[:2], *size)
    if 0 in problem.x[2:]:
        assert (largest == -Inf).all()
        assert (mean == 0).all()
        assert not adaptive_max_pool_backward(dy, x).any()
        return
    for p in np.ndindex(size):
        where = tuple(
            slice(math.floor(Fraction(i * H, P)), math.ceil(Fraction((i + 1) * H, P)))
            for i, H, P in zip(p, problem.x[2:], size, strict=True)
        )
        for n, c in np.ndindex(problem.x[:2]):
            region = x[(n, c, *where)]
            assert largest[(n, c, *p)] == max(region.flat)
            assert mean[(n, c, *p)] == sum(region.flat) / region.size
    assert (mean * dy).sum() == (x * adaptive_avg_pool_backward(dy, input_shape=x.shape)).sum()
    assert (largest * dy).sum() == (x * adaptive_max_pool_backward(dy, x)).sum()


@pytest.mark.spec("POOL-S9")
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_global_pooling_is_a_window_over_the_whole_map(axes: int) -> None:
    problem = Problem((2, 3, *range(2, 2 + axes)), {}, axes)
    x, dy = problem.fractions(*problem.x), problem.fractions(2, 3, *(1,) * axes)
    kernel = x.shape[2:]
    assert np.array_equal(global_max_pool(x), max_pool(x, kernel=kernel))
    assert np.array_equal(global_avg_pool(x), avg_pool(x, kernel=kernel))
    assert np.array_equal(global_max_pool_backward(dy, x), max_pool_backward(dy, x, kernel=kernel))
    assert np.array_equal(
        global_avg_pool_backward(dy, input_shape=x.shape),
        avg_pool_backward(dy, input_shape=x.shape, kernel=kernel),
    )


def test_adaptive_pooling_of_ten_cells_to_three_overlaps() -> None:
    x = np.arange(10.0)[None, None]
    assert adaptive_avg_pool(x, output_size=3).tolist() == [[[1.5, 4.5, 7.5]]]
    assert adaptive_avg_pool_backward(np.array([[[4.0, 8.0, 16.0]]]), input_shape=(1, 1, 10)).tolist() == [
        [[1.0, 1.0, 1.0, 3.0, 2.0, 2.0, 6.0, 4.0, 4.0, 4.0]]
    ]


# Special values and odd shapes


@pytest.mark.spec("POOL-X2")
@pytest.mark.parametrize("place", range(9))
def test_nan_is_the_maximum_wherever_it_stands_and_the_first_one_is_chosen(place: int) -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    x.flat[place] = NaN
    assert np.isnan(max_pool(x, kernel=3)).all()
    assert max_pool_indices(x, kernel=3).item() == place
    x.flat[8] = NaN
    assert max_pool_indices(x, kernel=3).item() == place
    want = np.zeros(9)
    want[place] = 5.0
    assert np.array_equal(max_pool_backward(np.full((1, 1, 1, 1), 5.0), x, kernel=3).ravel(), want)
    assert np.array_equal(adaptive_max_pool_backward(np.full((1, 1, 1, 1), 5.0), x).ravel(), want)


@pytest.mark.spec("POOL-X2")
def test_minus_infinity_is_a_value_and_padding_is_not() -> None:
    x = np.full((1, 1, 2), -Inf)
    assert max_pool_indices(x, kernel=2, padding=1, stride=1).tolist() == [[[0, 0, 1]]]
    assert max_pool(np.full((1, 1, 3), -5.0), kernel=3, padding=1, stride=1).tolist() == [
        [[-5.0, -5.0, -5.0]]
    ]
    assert max_pool_indices(np.array([[[-0.0, 0.0]]]), kernel=2).item() == 0


@pytest.mark.spec("POOL-X1")
def test_a_window_without_data_has_no_maximum_an_average_of_0_and_hands_nothing_back() -> None:
    x, dy = np.full((1, 1, 2), 6.0), np.full((1, 1, 4), NaN)
    same: dict[str, Any] = {"kernel": 2, "stride": 2, "padding": (3,)}
    assert max_pool(x, **same).tolist() == [[[-Inf, 6.0, 6.0, -Inf]]]
    assert max_pool_indices(x, **same).tolist() == [[[-1, 0, 1, -1]]]
    assert avg_pool(x, **same).tolist() == [[[0.0, 3.0, 3.0, 0.0]]]
    assert avg_pool(x, **same, count_include_pad=False).tolist() == [[[0.0, 6.0, 6.0, 0.0]]]
    dy[0, 0, 1:3] = 1.0
    assert max_pool_backward(dy, x, **same).tolist() == [[[1.0, 1.0]]]
    for count_include_pad, want in ((True, 0.5), (False, 1.0)):
        dx = avg_pool_backward(dy, input_shape=x.shape, **same, count_include_pad=count_include_pad)
        assert dx.tolist() == [[[want, want]]]


@pytest.mark.spec("POOL-X3")
@pytest.mark.parametrize("value", [NaN, Inf, -Inf])
def test_nan_and_infinity_reach_the_averages_they_take_part_in_and_no_others(value: float) -> None:
    x = np.ones((1, 1, 6))
    x[0, 0, 2] = value
    y = avg_pool(x, kernel=2, stride=1)
    assert np.array_equal(y, [[[1.0, value, value, 1.0, 1.0]]], equal_nan=True)
    x[0, 0, 3] = -value
    assert np.isnan(avg_pool(x, kernel=2, stride=1)[0, 0, 2])
    dy = np.array([[[1.0, value, 1.0]]])
    dx = avg_pool_backward(dy, input_shape=(1, 1, 6), kernel=2)
    assert np.array_equal(dx, [[[0.5, 0.5, value, value, 0.5, 0.5]]], equal_nan=True)


@pytest.mark.spec("POOL-D2")
def test_the_remainder_counts_only_in_ceil_mode_and_only_if_it_begins_before_the_end() -> None:
    x = np.arange(1.0, 6.0)[None, None]
    assert max_pool(x, kernel=2).tolist() == [[[2.0, 4.0]]]
    assert max_pool(x, kernel=2, ceil_mode=True).tolist() == [[[2.0, 4.0, 5.0]]]
    assert avg_pool(x, kernel=2, ceil_mode=True).tolist() == [[[1.5, 3.5, 5.0]]]
    assert max_pool(x[..., :2], kernel=1, stride=2, padding=(((0, 1)),), ceil_mode=True).shape == (1, 1, 1)


def test_cells_beyond_the_padding_never_count() -> None:
    """The windows of PyTorch's issue 100987: a window that ceil mode adds, and that hangs over."""
    x = np.ones((1, 1, 4, 4))
    same: dict[str, Any] = {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    assert avg_pool(x, **same)[0, 0, 2, 2] == 1 / 4
    assert avg_pool(x, **same, count_include_pad=False)[0, 0, 2, 2] == 1


def test_a_window_larger_than_the_padded_input_gives_an_empty_result() -> None:
    assert max_pool(np.ones((2, 3, 4, 5)), kernel=(5, 2), stride=1).shape == (2, 3, 0, 4)
    assert avg_pool(np.ones((2, 3, 4, 5)), kernel=(5, 2), stride=1).shape == (2, 3, 0, 4)
    dx = avg_pool_backward(np.ones((2, 3, 0, 4)), input_shape=(2, 3, 4, 5), kernel=(5, 2), stride=1)
    assert np.array_equal(dx, np.zeros((2, 3, 4, 5)))
    assert max_pool(np.ones((0, 3, 4)), kernel=2).shape == (0, 3, 2)
    assert max_pool(np.ones((2, 0, 4)), kernel=2).shape == (2, 0, 2)


def test_overlapping_windows_may_choose_one_element_often() -> None:
    x = np.zeros((1, 1, 5, 5))
    x[0, 0, 2, 2] = 1.0
    dx = max_pool_backward(np.ones((1, 1, 3, 3)), x, kernel=3, stride=1)
    assert dx[0, 0, 2, 2] == dx.sum() == 9.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_narrow_floats_are_summed_in_float64(dtype: Any) -> None:
    x = np.ones((1, 1, 5_000), dtype=dtype)
    y = avg_pool(x, kernel=5_000)
    assert y.dtype == np.float64
    assert y.item() == 1.0
    assert max_pool(x, kernel=5_000).dtype == np.float64


@pytest.mark.spec("POOL-A2")
def test_an_average_is_within_gamma_of_the_exact_one() -> None:
    x = np.random.default_rng(8).normal(size=(1, 1, 12, 10)) * 1e3
    exact = [Fraction(float(value)) for value in x.flat]
    n = len(exact)
    gamma = (n + 1) * 2.0**-53 / (1 - (n + 1) * 2.0**-53)
    got = avg_pool(x, kernel=(12, 10)).item()
    assert abs(Fraction(got) - sum(exact) / n) <= gamma * float(sum(map(abs, exact)) / n)


def test_any_layout_gives_the_same_result_and_no_input_is_changed() -> None:
    x = np.random.default_rng(9).integers(-9, 10, (2, 3, 6, 5)).astype(float)
    same: dict[str, Any] = {"kernel": 3, "stride": 2, "padding": 1}
    dy = np.ones(max_pool(x, **same).shape)
    gaps = np.full((2, 7, 7, 10), NaN)
    gaps[:, 1::2, 1:, ::2] = x
    for view in (np.asfortranarray(x), x[::-1].copy()[::-1], gaps[:, 1::2, 1:, ::2]):
        before = view.copy()
        for pool in (max_pool, max_pool_indices, avg_pool, lp_pool):
            assert np.array_equal(pool(view, **same), pool(x, **same))
        fixed = np.broadcast_to(np.ones(1), dy.shape)
        assert np.array_equal(max_pool_backward(fixed, view, **same), max_pool_backward(dy, x, **same))
        assert np.array_equal(view, before)


# Refusals


@pytest.mark.parametrize(
    ("operation", "shapes", "parameters", "message"),
    [
        ("max_pool", [(3, 4)], {"kernel": 2}, "POOL-C1: x must have 3 to 5 axes, got shape (3, 4)"),
        ("max_pool", [(1, 1, 4)], {"kernel": 0}, "POOL-C2: kernel must be at least 1, got 0"),
        (
            "max_pool",
            [(1, 1, 4)],
            {"kernel": (2, 2)},
            "POOL-C2: kernel has 2 values, there are 1 spatial axes",
        ),
        ("max_pool", [(1, 1, 4)], {"kernel": 2, "stride": 0}, "POOL-C2: stride must be at least 1, got 0"),
        (
            "max_pool",
            [(1, 1, 4)],
            {"kernel": 2, "dilation": 0},
            "POOL-C2: dilation must be at least 1, got 0",
        ),
        (
            "avg_pool",
            [(1, 1, 4)],
            {"kernel": 2, "padding": -1},
            "POOL-C3: padding must be at least 0, got -1",
        ),
        (
            "max_pool_backward",
            [(1, 1, 4), (1, 1, 4)],
            {"kernel": 2},
            "POOL-C4: dy has shape (1, 1, 4), the forward result has shape (1, 1, 2)",
        ),
        (
            "avg_pool_backward",
            [(1, 1, 4)],
            {"kernel": 2, "input_shape": (1, 1, 4)},
            "POOL-C4: dy has shape (1, 1, 4), the forward result has shape (1, 1, 2)",
        ),
        (
            "avg_pool_backward",
            [(1, 1, 4)],
            {"kernel": 2, "input_shape": (1, 4)},
            "POOL-C4: input_shape must have 3 to 5 axes, got shape (1, 4)",
        ),
        (
            "avg_pool_backward",
            [(1, 1, 4)],
            {"kernel": 2, "input_shape": (1, 1, -4)},
            "POOL-C4: input_shape must have sizes of at least 0, got (1, 1, -4)",
        ),
        (
            "avg_pool",
            [(1, 1, 4)],
            {"kernel": 2, "divisor": 0},
            "POOL-C5: divisor must be a finite number other than 0, got 0",
        ),
        (
            "avg_pool",
            [(1, 1, 4)],
            {"kernel": 2, "divisor": NaN},
            "POOL-C5: divisor must be a finite number other than 0, got nan",
        ),
    ],
)
def test_arguments_that_do_not_fit_raise_an_error_with_both_values(
    operation: str, shapes: list[tuple[int, ...]], parameters: dict[str, Any], message: str
) -> None:
    for function, arguments in (
        (getattr(reference, operation), [np.ones(shape) for shape in shapes]),
        (getattr(rules, f"{operation}_shape"), shapes),
    ):
        with pytest.raises(ValueError, match="POOL") as caught:
            function(*arguments, **parameters)
        assert str(caught.value) == message


def test_arguments_of_the_other_poolings_are_checked_too() -> None:
    x = np.ones((1, 1, 4))
    with pytest.raises(ValueError, match=r"POOL-C5: p must be a finite number of at least 1, got 0\.5"):
        lp_pool(x, kernel=2, p=0.5)
    with pytest.raises(ValueError, match="POOL-C2: output_size must be at least 1, got 0"):
        adaptive_max_pool(x, output_size=0)
    with pytest.raises(ValueError, match="POOL-C1: x must have 3 to 5 axes"):
        global_avg_pool(x[0])
    with pytest.raises(ValueError, match=r"POOL-C4: dy has shape \(1, 1, 4\)"):
        global_max_pool_backward(x, x)
    with pytest.raises(ValueError, match=r"POOL-C4: dy has shape \(1, 1, 4\)"):
        global_avg_pool_backward(x, input_shape=x.shape)
    with pytest.raises(TypeError, match="POOL-C4: input_shape must be a tuple of integers, got 4"):
        adaptive_avg_pool_backward(x, input_shape=4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="POOL-C1: a root of a fraction is no fraction"):
        lp_pool(np.array([[[Fraction(1)]]]), kernel=1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[[1.0]]], "POOL-C1: x must be an array of floats, got list"),
        (np.ones((1, 1, 1), dtype=int), "POOL-C1: x must be an array of floats, got an array of int64"),
        (np.array([[[1]]], dtype=object), "POOL-C1: x must hold fractions only, got int"),
    ],
)
def test_arrays_that_hold_no_floats_raise_an_error(x: Any, message: str) -> None:
    for pool in (max_pool, max_pool_indices, avg_pool, lp_pool):
        with pytest.raises(TypeError, match="POOL-C1") as caught:
            pool(x, kernel=1)
        assert str(caught.value) == message


def test_a_gradient_of_another_dtype_is_refused() -> None:
    x = np.ones((1, 1, 1))
    with pytest.raises(TypeError, match="POOL-C4: dy has dtype float32, x has dtype float64"):
        max_pool_backward(x.astype(np.float32), x, kernel=1)


def test_every_forward_pooling_has_its_gradient() -> None:
    forward = {name for name in rules.__all__ if not name.endswith(("_backward", "_indices"))}
    assert {f"{name}_backward" for name in forward} <= set(rules.__all__)
    for name in forward:
        parameters = inspect.signature(getattr(rules, name)).parameters
        gradient = inspect.signature(getattr(rules, f"{name}_backward")).parameters
        assert {n: p.default for n, p in parameters.items() if n not in ("x", "output_size")} == {
            n: p.default for n, p in gradient.items() if n not in ("dy", "x", "input_shape")
        }
