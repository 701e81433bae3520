"""Activations of the reference: special values, kinks, shapes, fractions, gradients and refused arguments.

How accurate the smooth ones are is the subject of test_activation_accuracy.py.
"""

import inspect
import itertools
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from gaugeblock import reference
from gaugeblock.reference import activation

Inf, NaN = np.inf, np.nan

PIECEWISE_LINEAR = ["relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh"]
SMOOTH = ["elu", "sigmoid", "log_sigmoid", "tanh", "softplus", "gelu", "silu"]
ELEMENTWISE = PIECEWISE_LINEAR + SMOOTH
ROWWISE = ["softmax", "log_softmax"]
EVERY = [*ELEMENTWISE, *ROWWISE, "maxout"]


def forward(name: str, x: Any, **parameters: Any) -> Any:
    return getattr(reference, name)(x, **parameters)


def backward(name: str, dy: Any, x: Any, **parameters: Any) -> Any:
    return getattr(reference, name + "_backward")(dy, x, **parameters)


def at(*values: Any) -> np.ndarray:
    """Return an array of floats, or of fractions where the first value is one."""
    return np.array(values, dtype=object if isinstance(values[0], Fraction) else np.float64)


def same(got: np.ndarray, want: Any) -> bool:
    return np.array_equal(got, np.asarray(want, dtype=got.dtype), equal_nan=got.dtype != object)


# Special values


@pytest.mark.spec("ACT-X2")
@pytest.mark.spec("ACT-X3")
@pytest.mark.parametrize(
    ("name", "low", "high", "slope_low", "slope_high"),
    [
        ("relu", 0, Inf, 0, 1),
        ("relu6", 0, 6, 0, 0),
        ("leaky_relu", -Inf, Inf, 0.01, 1),
        ("elu", -1, Inf, 0, 1),
        ("sigmoid", 0, 1, 0, 0),
        ("log_sigmoid", -Inf, 0, 1, 0),
        ("hard_sigmoid", 0, 1, 0, 0),
        ("tanh", -1, 1, 0, 0),
        ("hard_tanh", -1, 1, 0, 0),
        ("softplus", 0, Inf, 0, 1),
        ("gelu", 0, Inf, 0, 1),
        ("silu", 0, Inf, 0, 1),
    ],
)
def test_infinity_gives_the_limit_of_the_function_and_of_its_derivative(
    name: str, low: float, high: float, slope_low: float, slope_high: float
) -> None:
    x = at(-Inf, Inf)
    assert same(forward(name, x), [low, high])
    assert same(backward(name, at(5.0, 5.0), x), [5 * slope_low, 5 * slope_high])


def test_infinity_gives_the_limits_of_the_tanh_form_of_gelu_too() -> None:
    assert same(reference.gelu(at(-Inf, Inf), approximate="tanh"), [0, Inf])
    assert same(reference.gelu_backward(at(5.0, 5.0), at(-Inf, Inf), approximate="tanh"), [0, 5])


@pytest.mark.spec("ACT-X2")
@pytest.mark.spec("ACT-X3")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_stays_where_it_is_and_gives_nan_forward_and_backward(name: str) -> None:
    x = at(-1.0, NaN, 1.0)
    assert np.isnan(forward(name, x)).tolist() == [False, True, False]
    assert np.isnan(backward(name, np.ones(3), x)).tolist() == [False, True, False]
    assert np.isnan(backward(name, np.zeros(3), x)).tolist() == [False, True, False]


@pytest.mark.spec("ACT-X2")
@pytest.mark.parametrize("name", ["leaky_relu", "elu", "tanh", "hard_tanh", "gelu", "silu"])
def test_a_function_through_the_origin_keeps_the_sign_of_zero(name: str) -> None:
    y = forward(name, at(-0.0, 0.0))
    assert same(y, [0, 0])
    assert np.signbit(y).tolist() == [True, False]


@pytest.mark.spec("ACT-X3")
@pytest.mark.parametrize(
    ("name", "dead"),
    [
        ("relu", [-Inf, -1.0, -0.0, 0.0]),
        ("relu6", [-1.0, 0.0, 6.0, 7.0, Inf]),
        ("hard_sigmoid", [-Inf, -4.0, -3.0, 3.0, 4.0]),
        ("hard_tanh", [-Inf, -2.0, -1.0, 1.0, 2.0, Inf]),
    ],
)
def test_a_dead_unit_passes_no_gradient_not_even_nan_or_infinity(name: str, dead: list[float]) -> None:
    for dy in (1.0, NaN, Inf, -Inf):
        assert same(backward(name, np.full(len(dead), dy), at(*dead)), np.zeros(len(dead)))


@pytest.mark.spec("ACT-X3")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_living_unit_multiplies_nan_and_infinity_as_ieee_does(name: str) -> None:
    x = np.full(3, 0.5)
    assert same(backward(name, at(NaN, Inf, -Inf), x), [NaN, Inf, -Inf])


def test_kinks_have_the_stated_gradients() -> None:
    dy, zero = at(8.0), at(0.0)
    assert reference.relu_backward(dy, zero) == 0
    assert same(reference.relu6_backward(at(8.0, 8.0), at(0.0, 6.0)), [0, 0])
    assert reference.leaky_relu_backward(dy, zero, negative_slope=0.25) == 2
    assert reference.elu_backward(dy, zero, alpha=0.5) == 4
    assert same(reference.hard_sigmoid_backward(at(8.0, 8.0), at(-3.0, 3.0)), [0, 0])
    assert same(reference.hard_tanh_backward(at(8.0, 8.0), at(-1.0, 1.0)), [0, 0])


@pytest.mark.spec("ACT-D1")
def test_known_values_of_the_activations_come_out_exactly() -> None:
    assert reference.sigmoid(at(0.0)) == 0.5
    assert reference.softplus(at(0.0)) == np.log(2)
    assert reference.log_sigmoid(at(0.0)) == -np.log(2)
    assert same(reference.hard_sigmoid(at(-3.0, -1.5, 0.0, 3.0)), [0, 0.25, 0.5, 1])
    assert same(reference.hard_tanh(at(-9.0, 0.25, 9.0), min_val=-0.5, max_val=2.0), [-0.5, 0.25, 2.0])
    assert same(reference.silu_backward(at(1.0), at(0.0)), [0.5])
    assert same(reference.gelu_backward(at(1.0), at(0.0)), [0.5])


# Rows


@pytest.mark.spec("ACT-X5")
@pytest.mark.spec("ACT-X6")
@pytest.mark.parametrize("name", ROWWISE)
def test_a_row_with_nan_or_positive_infinity_or_of_negative_infinity_alone_is_nan(name: str) -> None:
    bad = [[1.0, NaN, 2.0], [1.0, Inf, 2.0], [-Inf, -Inf, -Inf], [NaN, Inf, -Inf]]
    x = np.array([*bad, [1.0, 2.0, 3.0]])
    want = [[True] * 3] * 4 + [[False] * 3]
    assert np.isnan(forward(name, x)).tolist() == want
    assert np.isnan(backward(name, np.ones_like(x), x)).tolist() == want


@pytest.mark.spec("ACT-X5")
def test_an_entry_of_negative_infinity_is_as_if_absent() -> None:
    x, present = at(1.0, -Inf, 2.0, -Inf), [0, 2]
    assert same(reference.softmax(x)[present], reference.softmax(x[present]))
    assert same(reference.log_softmax(x)[present], reference.log_softmax(x[present]))
    assert same(reference.softmax(x)[[1, 3]], [0, 0])
    assert same(reference.log_softmax(x)[[1, 3]], [-Inf, -Inf])
    dy = at(3.0, 5.0, -1.0, 7.0)
    assert same(reference.softmax_backward(dy, x)[[1, 3]], [0, 0])
    assert same(reference.log_softmax_backward(dy, x)[[1, 3]], [5, 7])


@pytest.mark.spec("ACT-X6")
def test_nan_or_infinity_in_dy_gives_what_ieee_arithmetic_gives_in_its_row_alone() -> None:
    x = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, -Inf], [1.0, 2.0]])
    dy = np.array([[NaN, 1.0], [Inf, 1.0], [1.0, Inf], [1.0, 1.0]])
    assert same(reference.softmax_backward(dy, x), [[NaN, NaN], [NaN, -Inf], [NaN, NaN], [0, 0]])
    want = reference.log_softmax_backward(np.ones(2), at(1.0, 2.0))
    assert same(reference.log_softmax_backward(dy, x), [[NaN, NaN], [NaN, -Inf], [-Inf, NaN], want])


@pytest.mark.spec("ACT-X4")
@pytest.mark.parametrize("name", ROWWISE)
def test_rows_of_length_zero_and_one_and_no_rows_are_fine(name: str) -> None:
    for shape in ((0,), (3, 0), (0, 4), (2, 0, 3)):
        assert forward(name, np.ones(shape)).shape == shape
        assert backward(name, np.ones(shape), np.ones(shape)).shape == shape
    one = {"softmax": 1.0, "log_softmax": 0.0}[name]
    assert same(forward(name, np.array([[-800.0], [1e308]])), [[one], [one]])
    assert same(backward(name, np.array([[7.0], [1e308]]), np.array([[-800.0], [1e308]])), [[0.0], [0.0]])


@pytest.mark.parametrize("name", [*ROWWISE, "maxout"])
def test_the_axis_says_along_which_direction_the_rows_lie(name: str) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(2, 4, 6))
    for axis in (0, 1, 2, -1, -2, -3):
        y = forward(name, x, axis=axis)
        want = np.moveaxis(forward(name, np.moveaxis(x, axis, -1)), -1, axis)
        assert same(y, want)
        dy = draw.normal(size=y.shape)
        want = np.moveaxis(backward(name, np.moveaxis(dy, axis, -1), np.moveaxis(x, axis, -1)), -1, axis)
        assert same(backward(name, dy, x, axis=axis), want)


ROWS = nps.arrays(
    np.float64, nps.array_shapes(min_dims=1, max_dims=2, max_side=9), elements=st.floats(-800, 800)
)


@pytest.mark.spec("ACT-I5")
@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_softmax_rows_sum_to_one_within_the_roundings_of_their_entries(x: np.ndarray) -> None:
    n = x.shape[-1]
    assert (abs(reference.softmax(x).sum(axis=-1) - 1) <= 2 * n * 2.0**-53).all()


@pytest.mark.spec("ACT-I4")
@given(ROWS, st.integers(-1000, 1000))
@settings(max_examples=60, deadline=None)
def test_softmax_does_not_notice_a_shift(x: np.ndarray, shift: int) -> None:
    x = np.round(x * 2.0**20) / 2.0**20  # so that x + shift is exact
    assert same(reference.softmax(x + shift), reference.softmax(x))
    assert same(reference.log_softmax(x + shift), reference.log_softmax(x))


@pytest.mark.spec("ACT-I5")
@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_softmax_gradients_sum_to_zero_over_a_row(x: np.ndarray) -> None:
    dy = np.cos(np.arange(x.size)).reshape(x.shape)
    dx = reference.softmax_backward(dy, x)
    n = x.shape[-1]
    assert (abs(dx.sum(axis=-1)) <= 4 * n * 2.0**-53).all()


# Maxout


@pytest.mark.spec("ACT-S29")
def test_maxout_takes_the_maximum_of_consecutive_values() -> None:
    x = at(1.0, 5.0, 2.0, -7.0, -8.0, -9.0)
    assert same(reference.maxout(x, pieces=3), [5, -7])
    assert same(reference.maxout(x, pieces=1), x)
    assert same(reference.maxout(x, pieces=6), [5])


@pytest.mark.spec("ACT-S30")
@pytest.mark.spec("ACT-X7")
@pytest.mark.spec("ACT-X8")
def test_a_tie_in_maxout_sends_the_gradient_to_the_first_and_nan_counts_as_the_maximum() -> None:
    x = np.array([[1.0, 3.0, 3.0], [0.0, -0.0, -1.0], [5.0, NaN, NaN], [-Inf, -Inf, -Inf]])
    dx = reference.maxout_backward(np.full((4, 1), 7.0), x, pieces=3)
    assert same(dx, [[0, 7, 0], [7, 0, 0], [0, 7, 0], [7, 0, 0]])
    assert not np.signbit(dx).any()
    assert same(reference.maxout(x, pieces=3), [[3], [0], [NaN], [-Inf]])


def test_maxout_of_nothing_is_nothing() -> None:
    assert reference.maxout(np.ones((3, 0))).shape == (3, 0)
    assert reference.maxout(np.ones((0, 4))).shape == (0, 2)
    assert reference.maxout_backward(np.ones((0, 2)), np.ones((0, 4))).shape == (0, 4)


# Exact fractions

FRACTIONS = st.lists(st.fractions(-9, 9, max_denominator=40), min_size=1, max_size=8)
KINKS = {
    "relu": [0],
    "relu6": [0, 6],
    "leaky_relu": [0],
    "hard_sigmoid": [-3, 3],
    "hard_tanh": [-1, 1],
}


@given(FRACTIONS)
@settings(max_examples=60, deadline=None)
def test_a_piecewise_linear_function_of_fractions_is_its_definition_exactly(values: list[Fraction]) -> None:
    x = at(*values)
    slope = Fraction(1, 7)
    assert reference.relu(x).tolist() == [max(Fraction(0), v) for v in values]
    assert reference.relu6(x).tolist() == [min(max(Fraction(0), v), Fraction(6)) for v in values]
    assert reference.leaky_relu(x, negative_slope=slope).tolist() == [
        max(v, 0) + slope * min(v, 0) for v in values
    ]
    assert reference.hard_sigmoid(x).tolist() == [min(max(v / 6 + Fraction(1, 2), 0), 1) for v in values]
    assert reference.hard_tanh(x, min_val=-slope, max_val=2).tolist() == [
        min(max(v, -slope), 2) for v in values
    ]
    assert reference.maxout(x, pieces=len(values)).tolist() == [max(values)]


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
@given(values=FRACTIONS)
@settings(max_examples=40, deadline=None)
def test_the_gradient_of_a_piecewise_linear_function_is_its_exact_difference_quotient(
    name: str, values: list[Fraction]
) -> None:
    # h is smaller than the distance of any drawn value to any kink it is not on
    h = Fraction(1, 1000)
    values = [value for value in values if value not in KINKS[name]]
    if values:
        x = at(*values)
        dy = at(*[Fraction(i + 1, 3) for i in range(len(values))])
        slope = (forward(name, x + h) - forward(name, x - h)) / (2 * h)
        assert same(backward(name, dy, x), dy * slope)


def test_the_gradient_of_maxout_in_fractions_is_its_exact_difference_quotient() -> None:
    x = at(*[Fraction(n, 7) for n in (3, -5, 9, 2, 8, 1)])
    dy, h = at(Fraction(2, 3), Fraction(5)), Fraction(1, 1000)
    gradient = reference.maxout_backward(dy, x, pieces=3)
    for i in range(x.size):
        step = at(*[h if j == i else Fraction(0) for j in range(x.size)])
        quotient = (reference.maxout(x + step, pieces=3) - reference.maxout(x - step, pieces=3)) / (2 * h)
        assert gradient[i] == (dy * quotient).sum()


@pytest.mark.parametrize("name", SMOOTH + ROWWISE)
def test_a_smooth_function_refuses_fractions(name: str) -> None:
    x = at(Fraction(1, 3), Fraction(2, 3))
    message = f"ACT-C1: {name} of a fraction is no fraction; x must be an array of floats"
    for call in (lambda: forward(name, x), lambda: backward(name, x, x)):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == message


# Gradients of the smooth ones, against central differences


@pytest.mark.parametrize("name", [*SMOOTH, "gelu tanh"])
def test_a_smooth_gradient_agrees_with_central_differences(name: str) -> None:
    name, *approximate = name.split()
    parameters = {"approximate": approximate[0]} if approximate else {}
    x = np.linspace(-6, 6, 240)  # without 0, where elu has a second derivative on neither side
    h = 1e-5
    quotient = (forward(name, x + h, **parameters) - forward(name, x - h, **parameters)) / (2 * h)
    # h²/6 · max |f‴| ≤ h², and two roundings of values below 8 divided by 2h
    assert (abs(backward(name, np.ones_like(x), x, **parameters) - quotient) <= h**2 + 8 * 2.0**-53 / h).all()


@pytest.mark.parametrize("name", ROWWISE)
def test_a_row_gradient_agrees_with_central_differences_of_its_inner_product_with_dy(name: str) -> None:
    draw = np.random.default_rng(2)
    x, dy, h = draw.normal(size=5), draw.normal(size=5), 1e-5
    for i, step in enumerate(np.eye(5) * h):
        quotient = dy @ (forward(name, x + step) - forward(name, x - step)) / (2 * h)
        assert abs(backward(name, dy, x)[i] - quotient) <= 1e-9


# Arguments


def parameters_of(name: str) -> dict[str, Any]:
    signature = inspect.signature(getattr(reference, name)).parameters.values()
    return {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("name", EVERY)
def test_a_backward_function_takes_the_parameters_of_its_forward_function(name: str) -> None:
    assert parameters_of(name) == parameters_of(name + "_backward")
    for function, arrays in ((name, ["x"]), (name + "_backward", ["dy", "x"])):
        names = list(inspect.signature(getattr(reference, function)).parameters)
        assert names == [*arrays, *parameters_of(name)]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_inputs_of_every_float_type_are_widened_and_left_unchanged(name: str, dtype: Any) -> None:
    wide = np.array([[-2.5, 0.0, 0.75, 4.0], [NaN, -Inf, Inf, 7.0]])
    x = wide.astype(dtype)
    y = forward(name, x)
    dy = np.ones(y.shape, dtype)
    before = x.tobytes(), dy.tobytes()
    dx = backward(name, dy, x)
    assert y.dtype == dx.dtype == np.float64
    assert dx.shape == x.shape
    assert same(y, forward(name, wide))
    assert (x.tobytes(), dy.tobytes()) == before
    x.flags.writeable = dy.flags.writeable = False
    y, dx = forward(name, x), backward(name, dy, x)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, dy)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_any_shape_will_do_for_an_elementwise_function(name: str) -> None:
    for shape in ((), (0,), (3,), (2, 0, 3), (1, 2, 3, 1)):
        x = np.full(shape, 0.5)
        for result in (forward(name, x), backward(name, x, x)):
            assert isinstance(result, np.ndarray)
            assert result.shape == shape


def test_any_layout_gives_the_same_values() -> None:
    x = np.random.default_rng(3).normal(size=(6, 8))
    views = [x.T, x[::-1], x[::2, ::-3], np.broadcast_to(x[0], (4, 8)), np.asfortranarray(x)]
    for name, view in itertools.product(EVERY, views):
        packed = np.ascontiguousarray(view)
        parameters = {"pieces": 1} if name == "maxout" else {}
        assert same(forward(name, view, **parameters), forward(name, packed, **parameters))
        assert same(backward(name, view, view, **parameters), backward(name, packed, packed, **parameters))


@pytest.mark.spec("ACT-C1")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0, 2.0], "x must be an array of floats, got list"),
        (1.0, "x must be an array of floats, got float"),
        (np.array([1, 2]), "x must be an array of floats, got an array of int64"),
        (np.array([1j, 2]), "x must be an array of floats, got an array of complex128"),
        (np.array([True, False]), "x must be an array of floats, got an array of bool"),
        (np.array([1, 2], dtype=object), "x must hold fractions only, got int"),
    ],
)
def test_what_is_no_array_of_floats_is_refused(name: str, x: Any, message: str) -> None:
    for call in (lambda: forward(name, x), lambda: backward(name, np.ones(2), x)):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"ACT-C1: {message}"


@pytest.mark.spec("ACT-C2")
@pytest.mark.parametrize("name", EVERY)
def test_a_dy_of_another_shape_or_type_is_refused(name: str) -> None:
    x = np.ones((2, 4))
    shape = (2, 2) if name == "maxout" else (2, 4)
    cases: list[tuple[type[Exception], Any, str]] = [
        (ValueError, np.ones(4), f"dy has shape (4,), the forward result has shape {shape}"),
        (ValueError, np.ones((2, 3)), f"dy has shape (2, 3), the forward result has shape {shape}"),
        (TypeError, np.ones(shape, np.float32), "dy has dtype float32, x has dtype float64"),
        (TypeError, None, "dy must be an array of floats, got NoneType"),
    ]
    for error, dy, message in cases:
        with pytest.raises(error) as caught:
            backward(name, dy, x)
        assert str(caught.value) == f"ACT-C2: {message}"


@pytest.mark.spec("ACT-C3")
@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("leaky_relu", {"negative_slope": NaN}, "negative_slope must be a finite number, got nan"),
        ("leaky_relu", {"negative_slope": "1"}, "negative_slope must be a finite number, got '1'"),
        ("elu", {"alpha": Inf}, "alpha must be a finite number, got inf"),
        ("elu", {"alpha": None}, "alpha must be a finite number, got None"),
        (
            "hard_tanh",
            {"min_val": 1.0},
            "min_val is 1.0, max_val is 1.0; min_val < max_val is required",
        ),
        (
            "hard_tanh",
            {"max_val": NaN},
            "min_val is -1.0, max_val is nan; min_val < max_val is required",
        ),
        ("hard_tanh", {"max_val": "2"}, "max_val must be a number, got '2'"),
        ("gelu", {"approximate": "erf"}, 'approximate must be "none" or "tanh", got \'erf\''),
        ("gelu", {"approximate": None}, 'approximate must be "none" or "tanh", got None'),
    ],
)
def test_a_parameter_outside_of_its_domain_is_refused(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    for call in (
        lambda: forward(name, np.ones(2), **parameters),
        lambda: backward(name, np.ones(2), np.ones(2), **parameters),
        lambda: activation.check_parameters(**parameters),
    ):
        with pytest.raises(ValueError, match="ACT-C3") as caught:
            call()
        assert str(caught.value) == f"ACT-C3: {message}"


@pytest.mark.spec("ACT-C4")
@pytest.mark.parametrize("name", [*ROWWISE, "maxout"])
def test_an_axis_that_does_not_exist_is_refused(name: str) -> None:
    cases: list[tuple[type[Exception], tuple[int, ...], Any, str]] = [
        (ValueError, (2, 4), 2, "axis is 2, x has 2 axes"),
        (ValueError, (2, 4), -3, "axis is -3, x has 2 axes"),
        (ValueError, (), -1, "axis is -1, x has 0 axes"),
        (TypeError, (2, 4), 1.0, "axis must be an integer, got 1.0"),
    ]
    for error, shape, axis, message in cases:
        x = np.ones(shape)
        for call in (lambda: forward(name, x, axis=axis), lambda: backward(name, x, x, axis=axis)):  # noqa: B023
            with pytest.raises(error, match="ACT-C4") as caught:
                call()
            assert str(caught.value) == f"ACT-C4: {message}"


@pytest.mark.spec("ACT-C5")
@pytest.mark.parametrize(
    ("error", "pieces", "message"),
    [
        (ValueError, 3, "pieces is 3, axis 1 of x has length 4"),
        (ValueError, 0, "pieces is 0, axis 1 of x has length 4"),
        (ValueError, -2, "pieces is -2, axis 1 of x has length 4"),
        (TypeError, 2.0, "pieces must be an integer, got 2.0"),
    ],
)
def test_pieces_that_do_not_divide_the_axis_are_refused(
    error: type[Exception], pieces: Any, message: str
) -> None:
    x = np.ones((2, 4))
    for call in (
        lambda: reference.maxout(x, pieces=pieces),
        lambda: reference.maxout_backward(x, x, pieces=pieces),
        lambda: activation.maxout_shape((2, 4), pieces=pieces),
    ):
        with pytest.raises(error, match="ACT-C5") as caught:
            call()
        assert str(caught.value) == f"ACT-C5: {message}"
