"""The layer's convolution and its gradients: formula, identities, odd shapes, special values, refusals."""

import inspect
import math
from collections.abc import Callable
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
    conv,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_fused,
    conv_transpose,
    gemm,
)
from gaugeblock.reference import convolution as rules
from gaugeblock.reference.windows import Windows

Inf, NaN = np.inf, np.nan


@dataclass(frozen=True)
class Problem:
    """A convolution: its shapes, its parameters, and a source of small numbers."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    parameters: dict[str, Any]
    seed: int

    @property
    def y(self) -> tuple[int, ...]:
        """The shape of the result."""
        return rules.conv_shape(self.x, self.w, **self.parameters)

    def fractions(self, *shape: int, salt: int = 0) -> np.ndarray:
        """Return an array of small fractions."""
        draw = np.random.default_rng([self.seed, salt, *shape])
        array = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            array[index] = Fraction(int(draw.integers(-9, 10)), int(draw.integers(1, 7)))
        return array


@st.composite
def problems(draw: st.DrawFn, *, smallest: int = 0, padding: bool = True) -> Problem:
    """Draw a convolution in which nothing need be square, symmetric, divisible or present."""
    axes = draw(st.integers(1, 3))
    longest = {1: 9, 2: 6, 3: 4}[axes]

    def per_axis(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    groups = draw(st.integers(1, 3))
    channels, kernels = draw(st.integers(smallest, 2)), draw(st.integers(smallest, 2))
    pairs = tuple(zip(per_axis(0, 2), per_axis(0, 2), strict=True))
    choices: list[Any] = [pairs, "same", draw(st.integers(0, 2))]
    return Problem(
        x=(draw(st.integers(smallest, 2)), groups * channels, *per_axis(smallest, longest)),
        w=(groups * kernels, channels, *per_axis(1, 3)),
        parameters={
            "stride": per_axis(1, 3),
            "padding": draw(st.sampled_from(choices)) if padding else 0,
            "dilation": per_axis(1, 2),
            "groups": groups,
        },
        seed=draw(st.integers(0, 2**32)),
    )


def by_formula(x: np.ndarray, w: np.ndarray, **parameters: Any) -> np.ndarray:
    """Add up every product that exists, one by one."""
    groups = parameters.pop("groups")
    windows = rules.conv_windows(x.shape, w.shape, **parameters)
    y = np.full((x.shape[0], w.shape[0], *windows.output), Fraction(0))
    per_group, kernels = w.shape[1], w.shape[0] // groups
    for n, k, *p in np.ndindex(y.shape):
        for c, *r in np.ndindex(w.shape[1:]):
            at = [
                windows.stride[i] * p[i] + windows.dilation[i] * r[i] - windows.before[i]
                for i in range(len(p))
            ]
            if all(0 <= cell < size for cell, size in zip(at, windows.size, strict=True)):
                y[(n, k, *p)] += w[(k, c, *r)] * x[(n, k // kernels * per_group + c, *at)]
    return y


def exactly(array: np.ndarray) -> np.ndarray:
    """Return the same numbers as fractions."""
    result = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        result[index] = Fraction(float(array[index]))
    return result


def all_fractions(*arrays: np.ndarray) -> bool:
    return all(type(value) is Fraction for array in arrays for value in array.flat)


# The formula, exactly


@given(problems())
@pytest.mark.spec("CONV-S1")
def test_an_output_is_the_sum_of_the_products_that_exist(problem: Problem) -> None:
    x, w, bias = (problem.fractions(*shape) for shape in (problem.x, problem.w, problem.w[:1]))
    y = conv(x, w, bias, **problem.parameters)
    want = by_formula(x, w, **problem.parameters) + bias.reshape(-1, *(1,) * (x.ndim - 2))
    assert y.shape == want.shape == problem.y
    assert np.array_equal(y, want)
    assert all_fractions(y)


@given(problems())
@pytest.mark.spec("CONV-D2")
def test_the_windows_are_all_that_fit_and_same_makes_one_for_every_stride(problem: Problem) -> None:
    windows = rules.conv_windows(
        problem.x, problem.w, **{k: v for k, v in problem.parameters.items() if k != "groups"}
    )
    for i, P in enumerate(windows.output):
        padded = windows.before[i] + windows.size[i] + windows.after[i]
        starts = range(0, padded - windows.extent[i] + 1, windows.stride[i])
        assert len(starts) == P
        if problem.parameters["padding"] == "same":
            assert math.ceil(windows.size[i] / windows.stride[i]) == P
            assert 0 <= windows.after[i] - windows.before[i] <= 1


@given(problems())
def test_taps_pair_every_output_with_the_cells_it_sees(problem: Problem) -> None:
    windows = rules.conv_windows(
        problem.x, problem.w, **{k: v for k, v in problem.parameters.items() if k != "groups"}
    )
    cells = np.arange(math.prod(windows.size)).reshape(windows.size)
    outputs = np.arange(math.prod(windows.output)).reshape(windows.output)
    got = {
        (tap[1:], int(output), int(cell))
        for tap, p, h in windows.taps()
        for output, cell in zip(outputs[p].flat, cells[h].flat, strict=True)
    }
    want = set()
    for r in np.ndindex(windows.kernel):
        for p in np.ndindex(windows.output):
            at = tuple(
                np.array(p) * windows.stride + np.array(r) * windows.dilation - np.array(windows.before)
            )
            if all(0 <= cell < size for cell, size in zip(at, windows.size, strict=True)):
                want.add((r, int(outputs[p]), int(cells[at])))
    assert got == want


@given(problems())
@pytest.mark.spec("CONV-S2")
@pytest.mark.spec("CONV-S3")
@pytest.mark.spec("CONV-S4")
def test_the_gradients_are_the_adjoints_of_the_convolution(problem: Problem) -> None:
    x, w, bias = (problem.fractions(*shape) for shape in (problem.x, problem.w, problem.w[:1]))
    dy = problem.fractions(*problem.y, salt=1)
    dx = conv_backward_input(dy, w, input_shape=x.shape, **problem.parameters)
    dw = conv_backward_weight(dy, x, kernel_shape=w.shape, **problem.parameters)
    db = conv_backward_bias(dy)
    assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, bias.shape)
    assert all_fractions(dx, dw, db)
    y = conv(x, w, **problem.parameters)
    assert (y * dy).sum() == (x * dx).sum() == (w * dw).sum()
    assert ((conv(x, w, bias, **problem.parameters) - y) * dy).sum() == (bias * db).sum()


@given(problems(), st.data())
@pytest.mark.spec("CONV-S5")
def test_the_transposed_convolution_is_the_adjoint_of_the_convolution(
    problem: Problem, data: st.DataObject
) -> None:
    parameters = dict(problem.parameters)
    if parameters["padding"] == "same":
        extra = (0,) * (len(problem.x) - 2)
    else:
        extra = tuple(data.draw(st.integers(0, s - 1)) for s in parameters["stride"])
    w = problem.fractions(*problem.w)
    x = problem.fractions(problem.x[0], problem.w[0], *problem.x[2:])
    try:
        y = conv_transpose(x, w, output_padding=extra, **parameters)
    except ValueError as error:
        assert "CONV-C3: padding is" in str(error)  # noqa: PT017
        return
    if 0 in x.shape[2:]:
        assert not y.any()
        return
    other = problem.fractions(*y.shape, salt=1)
    assert (y * other).sum() == (x * conv(other, w, **parameters)).sum()
    bias = problem.fractions(y.shape[1])
    shifted = conv_transpose(x, w, bias, output_padding=extra, **parameters)
    assert np.array_equal(shifted - y, np.broadcast_to(bias.reshape(-1, *(1,) * (x.ndim - 2)), y.shape))


# What must hold between convolutions


@given(problems(smallest=1))
def test_a_convolution_is_linear_in_its_input_and_in_its_weights(problem: Problem) -> None:
    x, w = problem.fractions(*problem.x), problem.fractions(*problem.w)
    x2, w2, c = problem.fractions(*problem.x, salt=1), problem.fractions(*problem.w, salt=1), Fraction(-7, 3)
    y = conv(x, w, **problem.parameters)
    assert np.array_equal(
        conv(x + c * x2, w, **problem.parameters), y + c * conv(x2, w, **problem.parameters)
    )
    assert np.array_equal(
        conv(x, w + c * w2, **problem.parameters), y + c * conv(x, w2, **problem.parameters)
    )


@given(problems(smallest=1, padding=False), st.integers(0, 2))
def test_moving_the_input_by_strides_moves_the_output(problem: Problem, steps: int) -> None:
    x, w = problem.fractions(*problem.x), problem.fractions(*problem.w)
    windows = rules.conv_windows(
        problem.x, problem.w, **{k: v for k, v in problem.parameters.items() if k != "groups"}
    )
    if 0 in windows.output:
        return
    moved = x[(..., *(slice(steps * s, None) for s in windows.stride))]
    want = conv(x, w, **problem.parameters)[(..., *(slice(steps, None),) * (x.ndim - 2))]
    assert np.array_equal(conv(moved, w, **problem.parameters), want)


@given(problems(smallest=1))
@pytest.mark.spec("CONV-D4")
def test_groups_are_one_convolution_with_block_diagonal_weights(problem: Problem) -> None:
    parameters = dict(problem.parameters)
    groups = parameters.pop("groups")
    x, w = problem.fractions(*problem.x), problem.fractions(*problem.w)
    whole = np.full((w.shape[0], x.shape[1], *w.shape[2:]), Fraction(0))
    for k in range(w.shape[0]):
        first = k // (w.shape[0] // groups) * w.shape[1]
        whole[k, first : first + w.shape[1]] = w[k]
    dy = problem.fractions(*problem.y)
    assert np.array_equal(conv(x, w, **parameters, groups=groups), conv(x, whole, **parameters))
    assert np.array_equal(
        conv_backward_input(dy, w, input_shape=x.shape, **parameters, groups=groups),
        conv_backward_input(dy, whole, input_shape=x.shape, **parameters),
    )


@given(problems(smallest=1), st.randoms(use_true_random=False))
def test_the_order_of_images_and_channels_is_of_no_consequence(problem: Problem, random: Any) -> None:
    parameters = problem.parameters | {"groups": 1}
    x = problem.fractions(*problem.x)
    w = problem.fractions(problem.w[0], problem.x[1], *problem.w[2:])
    n, c, k = ([*range(size)] for size in (*x.shape[:2], w.shape[0]))
    for order in (n, c, k):
        random.shuffle(order)
    assert np.array_equal(conv(x[n][:, c], w[k][:, c], **parameters), conv(x, w, **parameters)[n][:, k])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_convolution_with_kernels_of_one_cell_is_a_matrix_product_of_the_channels(axes: int) -> None:
    draw = np.random.default_rng(axes)
    x = draw.integers(-9, 10, (2, 3, *range(4, 4 + axes))).astype(float)
    w = draw.integers(-9, 10, (5, 3, *(1,) * axes)).astype(float)
    want = gemm(w.reshape(5, 3), x.reshape(2, 3, -1)).reshape(2, 5, *x.shape[2:])
    assert np.array_equal(conv(x, w), want)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_kernel_with_a_single_one_in_its_middle_changes_nothing(axes: int) -> None:
    x = np.random.default_rng(axes).normal(size=(2, 3, *range(4, 4 + axes)))
    w = np.zeros((3, 1, *(3,) * axes))
    w[(slice(None), 0, *(1,) * axes)] = 1.0
    assert np.array_equal(conv(x, w, padding=1, groups=3), x)


@given(problems(smallest=1))
def test_swapping_the_spatial_axes_swaps_those_of_the_result(problem: Problem) -> None:
    parameters = {
        key: value[::-1] if isinstance(value, tuple) else value for key, value in problem.parameters.items()
    }
    x, w = problem.fractions(*problem.x), problem.fractions(*problem.w)
    order = (0, 1, *range(x.ndim - 1, 1, -1))
    want = conv(x, w, **problem.parameters).transpose(order)
    assert np.array_equal(conv(x.transpose(order), w.transpose(order), **parameters), want)


@given(problems(smallest=1))
@pytest.mark.spec("CONV-S6")
def test_the_fused_form_is_the_activation_of_the_convolution_and_the_residual(problem: Problem) -> None:
    x, w, bias = (problem.fractions(*shape) for shape in (problem.x, problem.w, problem.w[:1]))
    residual = problem.fractions(*problem.y, salt=2)
    total = conv(x, w, bias, **problem.parameters) + residual
    for name in ("none", "relu", "relu6"):
        want = total if name == "none" else getattr(reference, name)(total)
        assert np.array_equal(conv_fused(x, w, bias, residual, activation=name, **problem.parameters), want)
    floats = [array.astype(float) for array in (x, w, bias)]
    for name in ("relu", "sigmoid", "tanh", "silu", "gelu"):
        want = getattr(reference, name)(conv(*floats, **problem.parameters))
        assert np.array_equal(conv_fused(*floats, activation=name, **problem.parameters), want)
        without = conv_fused(floats[0], floats[1], None, activation=name, **problem.parameters)
        assert np.array_equal(without, getattr(reference, name)(conv(*floats[:2], **problem.parameters)))


# Floats


@given(problems())
def test_float64_equals_fractions_wherever_every_step_is_exact(problem: Problem) -> None:
    draw = np.random.default_rng(problem.seed)
    x, w = (draw.integers(-99, 100, shape).astype(float) for shape in (problem.x, problem.w))
    dy = draw.integers(-99, 100, problem.y).astype(float)
    for operation, arrays, shape in (
        (conv, (x, w), {}),
        (conv_backward_input, (dy, w), {"input_shape": problem.x}),
        (conv_backward_weight, (dy, x), {"kernel_shape": problem.w}),
    ):
        function: Callable[..., np.ndarray] = operation
        got = function(*arrays, **shape, **problem.parameters)
        want = function(*map(exactly, arrays), **shape, **problem.parameters)
        assert got.dtype == np.float64
        assert np.array_equal(exactly(got), want)


@pytest.mark.spec("CONV-A1")
def test_a_float64_result_is_within_gamma_of_the_exact_one() -> None:
    draw = np.random.default_rng(2)
    x, w, bias = draw.normal(size=(1, 6, 5, 4)), draw.normal(size=(2, 3, 3, 2)), draw.normal(size=2)
    same: dict[str, Any] = {"padding": 1, "groups": 2, "stride": (2, 1)}
    n = 3 * 3 * 2 + 1
    gamma = n * 2.0**-53 / (1 - n * 2.0**-53)
    exact = conv(exactly(x), exactly(w), exactly(bias), **same).astype(float)
    bound = gamma * conv(np.abs(x), np.abs(w), np.abs(bias), **same)
    assert (np.abs(conv(x, w, bias, **same) - exact) <= bound).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_narrow_floats_are_widened_before_the_first_product(dtype: Any) -> None:
    x = np.full((1, 2, 2500), 2049.0).astype(dtype)
    y = conv(x, x)
    assert y.dtype == np.float64
    assert y[0, 0, 0] == 5000 * float(x[0, 0, 0]) ** 2


def test_any_layout_gives_the_same_result_and_no_input_is_changed() -> None:
    draw = np.random.default_rng(3)
    x, w = (
        draw.integers(-9, 10, (2, 4, 6, 5)).astype(float),
        draw.integers(-9, 10, (6, 2, 3, 2)).astype(float),
    )
    same: dict[str, Any] = {"padding": ((0, 1), (2, 0)), "stride": 2, "groups": 2}
    want = conv(x, w, **same)
    gaps = np.full((2, 9, 7, 10), NaN)
    gaps[:, 1::2, 1:, ::2] = x
    for view in (np.asfortranarray(x), x[::-1].copy()[::-1], gaps[:, 1::2, 1:, ::2]):
        before = view.copy()
        assert np.array_equal(conv(view, np.asfortranarray(w), **same), want)
        assert np.array_equal(view, before)
        assert not np.shares_memory(conv(view, w, **same), view)


# Shapes that break real libraries


@pytest.mark.spec("CONV-X1")
def test_sums_over_nothing_are_zero_and_empty_results_have_their_shape() -> None:
    bias = np.array([1.0, 2.0])
    no_channels = conv(np.ones((3, 0, 4)), np.ones((2, 0, 3)), bias)
    assert np.array_equal(no_channels, np.broadcast_to(bias[:, None], (3, 2, 2)))
    assert conv(np.ones((0, 1, 4)), np.ones((2, 1, 3)), bias).shape == (0, 2, 2)
    assert conv(np.ones((3, 1, 4)), np.ones((0, 1, 3)), np.ones(0)).shape == (3, 0, 2)
    assert conv(np.ones((3, 1, 0, 5)), np.ones((2, 1, 1, 1)), bias).shape == (3, 2, 0, 5)
    dw = conv_backward_weight(np.ones((0, 2, 2)), np.ones((0, 1, 4)), kernel_shape=(2, 1, 3))
    assert np.array_equal(dw, np.zeros((2, 1, 3)))
    assert np.array_equal(conv_backward_bias(np.ones((0, 2, 2))), np.zeros(2))
    dx = conv_backward_input(np.ones((3, 0, 2)), np.ones((0, 1, 3)), input_shape=(3, 1, 4))
    assert np.array_equal(dx, np.zeros((3, 1, 4)))


@pytest.mark.spec("CONV-D2")
def test_a_kernel_larger_than_the_padded_input_gives_an_empty_result_and_zero_gradients() -> None:
    x, w = np.ones((2, 3, 5, 2)), np.ones((4, 3, 3, 3))
    assert conv(x, w, dilation=(1, 2)).shape == (2, 4, 3, 0)
    dy = np.ones((2, 4, 3, 0))
    assert not conv_backward_input(dy, w, input_shape=x.shape, dilation=(1, 2)).any()
    assert not conv_backward_weight(dy, x, kernel_shape=w.shape, dilation=(1, 2)).any()
    assert conv(np.ones((1, 1, 181, 1)), np.ones((1, 1, 182, 1)), padding=(1, 0)).tolist() == [
        [[[181.0], [181.0]]]
    ]


@pytest.mark.spec("CONV-S2")
def test_inputs_between_windows_have_the_gradient_zero() -> None:
    dy, w = np.full((1, 1, 3, 3), 2.0), np.full((1, 1, 1, 1), 5.0)
    dx = conv_backward_input(dy, w, input_shape=(1, 1, 6, 5), stride=2)
    want = np.zeros((6, 5))
    want[::2, ::2] = 10.0
    assert np.array_equal(dx[0, 0], want)


def test_same_padding_depends_on_the_stride_and_is_larger_behind() -> None:
    windows = rules.conv_windows((1, 1, 6, 5, 7), (1, 1, 3, 4, 3), stride=(2, 1, 3), padding="same")
    assert windows.before == (0, 1, 1)
    assert windows.after == (1, 2, 1)
    assert windows.output == (3, 5, 3)


@pytest.mark.parametrize("C", [1, 3, 4, 5, 7, 8, 9, 31, 32, 33])
def test_channel_counts_around_the_usual_tiles_are_nothing_special(C: int) -> None:
    draw = np.random.default_rng(C)
    x, w = (
        draw.integers(-9, 10, (1, C, 4, 3)).astype(float),
        draw.integers(-9, 10, (C, C, 2, 3)).astype(float),
    )
    y = conv(x, w, padding=1)
    parts = [conv(x[:, c : c + 1], w[:, c : c + 1], padding=1) for c in range(C)]
    assert np.array_equal(y, sum(parts))
    depthwise = conv(x, w[:, :1], padding=1, groups=C)
    each = [conv(x[:, c : c + 1], w[c : c + 1, :1], padding=1) for c in range(C)]
    assert np.array_equal(depthwise, np.concatenate(each, axis=1))


def test_a_transposed_convolution_can_reach_every_size_that_is_convolved_to_one() -> None:
    w = np.ones((1, 1, 3))
    for H in range(3, 20):
        y = conv(np.ones((1, 1, H)), w, stride=4, padding=1)
        extra = H - conv_transpose(y, w, stride=4, padding=1).shape[2]
        assert 0 <= extra < 4
        assert conv_transpose(y, w, stride=4, padding=1, output_padding=extra).shape == (1, 1, H)


# Special values


@pytest.mark.spec("CONV-X2")
@pytest.mark.parametrize("value", [NaN, Inf, -Inf])
def test_nan_and_infinity_reach_the_outputs_that_look_at_them_and_no_others(value: float) -> None:
    same: dict[str, Any] = {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}
    x, w = np.ones((1, 2, 6, 5)), np.ones((3, 2, 3, 2))
    counts = conv(x, w, **same)
    x[0, 1, 2, 3] = value
    seen = np.zeros_like(x)
    seen[0, 1, 2, 3] = 1.0
    looking = conv(seen, w, **same) > 0
    y = conv(x, w, **same)
    assert np.array_equal(y[looking], np.full(looking.sum(), value), equal_nan=True)
    assert np.array_equal(y[~looking], counts[~looking])


@pytest.mark.spec("CONV-X2")
@pytest.mark.parametrize("value", [NaN, Inf, -Inf])
def test_an_infinite_weight_over_the_padding_changes_nothing(value: float) -> None:
    x, w = np.ones((1, 1, 3)), np.array([[[value, 1.0, 1.0]]])
    assert np.array_equal(conv(x, w, padding=1), [[[2.0, value, value]]], equal_nan=True)
    dy = np.ones((1, 1, 3))
    dx = conv_backward_input(dy, w, input_shape=(1, 1, 3), padding=1)
    assert np.array_equal(dx, [[[value, value, 2.0]]], equal_nan=True)


def test_infinity_times_zero_and_opposite_infinities_are_nan() -> None:
    x = np.array([[[Inf, 0.0, -Inf]]])
    assert np.isnan(conv(x, np.array([[[0.0]]]))[0, 0]).tolist() == [True, False, True]
    assert np.isnan(conv(x, np.ones((1, 1, 3)))).all()


# Refusals

X, W = np.ones((2, 4, 5, 6)), np.ones((6, 2, 3, 3))


@pytest.mark.parametrize(
    ("operation", "shapes", "parameters", "message"),
    [
        ("conv", [(3, 4), (2, 4)], {}, "CONV-C1: x must have 3 to 5 axes, got shape (3, 4)"),
        ("conv", [(1, 1, 5), (1, 1, 3, 3)], {}, "CONV-C1: x has 3 axes, w has 4; as many are required"),
        (
            "conv",
            [(1, 1, 5), (1, 1, 0)],
            {},
            "CONV-C1: a kernel must have at least 1 cell per axis, w has shape (1, 1, 0)",
        ),
        ("conv", [(1, 1, 5), (2, 1, 3), (3,)], {}, "CONV-C1: bias must have shape (2,), got (3,)"),
        ("conv", [(1, 1, 5), (2, 1, 3), (2, 1)], {}, "CONV-C1: bias must have shape (2,), got (2, 1)"),
        ("conv", [(1, 3, 5), (2, 4, 3)], {}, "CONV-C2: x has 3 channels, w expects 4"),
        (
            "conv",
            [(1, 3, 5), (2, 2, 3)],
            {"groups": 2},
            "CONV-C2: x has 3 channels, w expects 4 (2 in each of 2 groups)",
        ),
        (
            "conv",
            [(1, 4, 5), (3, 2, 3)],
            {"groups": 2},
            "CONV-C2: w has 3 kernels, groups is 2, which does not divide them",
        ),
        ("conv", [(1, 4, 5), (3, 4, 3)], {"groups": 0}, "CONV-C2: groups must be at least 1, got 0"),
        ("conv", [(1, 1, 5), (1, 1, 3)], {"stride": 0}, "CONV-C3: stride must be at least 1, got 0"),
        ("conv", [(1, 1, 5), (1, 1, 3)], {"dilation": -1}, "CONV-C3: dilation must be at least 1, got -1"),
        (
            "conv",
            [(1, 1, 5), (1, 1, 3)],
            {"stride": (1, 1)},
            "CONV-C3: stride has 2 values, there are 1 spatial axes",
        ),
        ("conv", [(1, 1, 5), (1, 1, 3)], {"padding": -1}, "CONV-C3: padding must be at least 0, got -1"),
        (
            "conv",
            [(1, 1, 5), (1, 1, 3)],
            {"padding": ((1, 2, 3),)},
            "CONV-C3: padding of an axis must be (before, after), got (1, 2, 3)",
        ),
        (
            "conv",
            [(1, 1, 5), (1, 1, 3)],
            {"padding": "valid"},
            "CONV-C3: padding must be numbers or \"same\", got 'valid'",
        ),
        (
            "conv_backward_input",
            [(1, 1, 5), (1, 1, 3)],
            {"input_shape": (1, 1, 5)},
            "CONV-C4: dy has shape (1, 1, 5), the result of conv has shape (1, 1, 3)",
        ),
        (
            "conv_backward_input",
            [(1, 1, 5), (1, 1, 3)],
            {"input_shape": (1, 1, -7)},
            "CONV-C4: input_shape must be 3 to 5 sizes of at least 0, got (1, 1, -7)",
        ),
        (
            "conv_backward_weight",
            [(1, 1, 5), (1, 1, 5)],
            {"kernel_shape": (1, 1, 3)},
            "CONV-C4: dy has shape (1, 1, 5), the result of conv has shape (1, 1, 3)",
        ),
        ("conv_backward_bias", [(5,)], {}, "CONV-C1: dy must have 3 to 5 axes, got shape (5,)"),
        ("conv_transpose", [(1, 3, 5), (2, 1, 3)], {}, "CONV-C2: x has 3 channels, w expects 2, in 1 groups"),
        (
            "conv_transpose",
            [(1, 2, 5), (2, 1, 3)],
            {"stride": 2, "output_padding": 2},
            "CONV-C3: output_padding is (2,), stride is (2,); output_padding < stride is required",
        ),
        (
            "conv_transpose",
            [(1, 2, 1), (2, 1, 1)],
            {"padding": 1},
            "CONV-C3: padding is 1, which leaves a result of size (-1,)",
        ),
        (
            "conv_transpose",
            [(1, 2, 1), (2, 1, 1)],
            {"padding": "same", "stride": 2, "output_padding": 1},
            'CONV-C3: padding is "same", which leaves no output_padding, got (1,)',
        ),
        (
            "conv_fused",
            [(1, 1, 5), (1, 1, 3), (1,), (1, 1, 5)],
            {},
            "CONV-C4: residual has shape (1, 1, 5), the result of conv has shape (1, 1, 3)",
        ),
        (
            "conv_fused",
            [(1, 1, 5), (1, 1, 3), (1,)],
            {"activation": "swish"},
            "CONV-C6: activation must be one of none, relu, relu6, sigmoid, tanh, silu, gelu, got 'swish'",
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
        with pytest.raises(ValueError, match="CONV") as caught:
            function(*arguments, **parameters)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stride": 1.0}, "CONV-C3: stride must consist of integers, got 1.0"),
        ({"padding": (1, None)}, "CONV-C3: padding must consist of integers, got (1, None)"),
        ({"groups": 2.0}, "CONV-C2: groups must be an integer, got 2.0"),
    ],
)
def test_parameters_that_are_no_integers_raise_a_type_error(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match="CONV") as caught:
        conv(X, W, **({"groups": 2} | parameters))
    assert str(caught.value) == message


@pytest.mark.spec("CONV-C5")
@pytest.mark.parametrize(
    ("w", "message"),
    [
        ([[[1.0]]], "w must be an array of floats, got list"),
        (np.ones((1, 1, 1), dtype=int), "w must be an array of floats, got an array of int64"),
        (np.ones((1, 1, 1), dtype=np.float32), "x has dtype float64, w has dtype float32"),
        (np.array([[[Fraction(1)]]]), "x has dtype float64, w has dtype object"),
        (np.array([[[1]]], dtype=object), "w must hold fractions only, got int"),
    ],
)
def test_arrays_that_are_not_of_one_float_type_raise_an_error(w: Any, message: str) -> None:
    for function, name in ((conv, "x"), (conv_transpose, "x"), (conv_backward_input, "dy")):
        shape = {"input_shape": (1, 1, 1)} if name == "dy" else {}
        with pytest.raises(TypeError, match="CONV-C5") as caught:
            function(np.ones((1, 1, 1)), w, **shape)
        assert str(caught.value) == f"CONV-C5: {message}".replace("x has", f"{name} has")


def test_every_operation_has_a_rule_for_its_shape_with_the_same_arguments() -> None:
    for name in ("conv", "conv_transpose", "conv_fused", *(n for n in rules.__all__ if "backward" in n)):
        operation = inspect.signature(getattr(rules, name)).parameters
        rule = inspect.signature(getattr(rules, f"{name}_shape")).parameters
        assert [n for n in operation if n != "algorithm"] == list(rule)
        assert all(rule[n].default == operation[n].default for n in rule)


def test_windows_count_their_cells() -> None:
    windows = Windows.slide(
        size=(4, 2), kernel=(2, 3), stride=(2, 1), padding=((1, 0), (0, 2)), ceil_mode=True
    )
    assert windows.output == (3, 2)
    assert windows.cells(padded=False).tolist() == [[2, 1], [4, 2], [2, 1]]
    assert windows.cells(padded=True).tolist() == [[6, 6], [6, 6], [3, 3]]


@pytest.mark.spec("CONV-C3", "CONV-C5", "CONV-C6")
def test_what_is_no_text_no_number_and_no_array_is_refused_in_words() -> None:
    x, w, grid = np.ones((1, 2, 5, 5)), np.ones((2, 2, 3, 3)), np.array([1, 1])
    with pytest.raises(ValueError, match=r"^CONV-C6: activation must be one of"):
        conv_fused(x, w, None, activation=[])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^CONV-C5: x must be an array of floats, got NoneType"):
        conv_fused(None, w, None)  # type: ignore[arg-type]
    with pytest.raises((TypeError, ValueError), match=r"^CONV-C3: padding"):
        conv_transpose(x, w, padding=grid)  # type: ignore[arg-type]
    assert np.array_equal(conv(x, w, groups=True), conv(x, w))
