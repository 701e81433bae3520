"""The derived bounds of the activations hold every honest float32 kernel and no formula that loses digits.

A kernel is simulated in NumPy: each operation rounds to float32, and each library function is off by as much
as its limit in clause ACT-A1 allows, upwards, downwards or at random. Inputs are all values of a narrow
format, and for float32 a dense sample of every binade and of the range where the functions are neither 0 nor
linear.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.spec.accuracy import (
    FORMATS,
    FUNCTION_LIMITS,
    Arithmetic,
    Bound,
    accept,
    round_to,
    ulp,
)
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
F = np.float32
FLOAT32 = FORMATS["float32"]


class Library:
    """CUDA's functions, wrong by as much as they may be."""

    def __init__(self, direction: int | None) -> None:
        self._direction = direction
        self._random = np.random.default_rng(7)

    def _push(self, name: str, x: Array, exact: Array, limit: Array | float | None = None) -> Array:
        limit = FUNCTION_LIMITS[name] if limit is None else limit
        way = (
            self._direction if self._direction is not None else self._random.integers(-1, 2, np.shape(exact))
        )
        fixed = (x == (1 if name == "log" else 0)) | (np.abs(exact) < FLOAT32.smallest_subnormal)
        pushed = exact + np.where(fixed | ~np.isfinite(exact), 0, way * (limit - 0.5)) * np.nan_to_num(
            ulp(exact, FLOAT32)
        )
        nearest, off = round_to(exact, FLOAT32), round_to(pushed, FLOAT32)
        # Pushed over a power of two, the last rounding is twice as large: stay within the limit there.
        return np.where(np.abs(off - exact) <= limit * np.nan_to_num(ulp(exact, FLOAT32)), off, nearest)

    def exp(self, x: Array) -> Array:
        """Return e to this power."""
        return self._push("exp", x, np.exp(x.astype(np.float64)))

    def fast_exp(self, x: Array) -> Array:
        """Return what ``__expf`` may."""
        limit = 2 + np.floor(np.abs(1.173 * x.astype(np.float64)))
        return self._push("exp", x, np.exp(x.astype(np.float64)), limit)

    def exp2(self, x: Array) -> Array:
        """Return two to this power."""
        return self._push("exp2", x, np.exp2(x.astype(np.float64)))

    def expm1(self, x: Array) -> Array:
        """Return e to this power minus one."""
        return self._push("expm1", x, np.expm1(x.astype(np.float64)))

    def log(self, x: Array) -> Array:
        """Return the natural logarithm."""
        return self._push("log", x, np.log(x.astype(np.float64)))

    def log1p(self, x: Array) -> Array:
        """Return the logarithm of one plus this number."""
        return self._push("log1p", x, np.log1p(x.astype(np.float64)))

    def tanh(self, x: Array) -> Array:
        """Return the hyperbolic tangent."""
        return self._push("tanh", x, np.tanh(x.astype(np.float64)))

    def erf(self, x: Array) -> Array:
        """Return the error function."""
        return self._push("erf", x, np.vectorize(math.erf, otypes=[float])(x))

    def erfc(self, x: Array) -> Array:
        """Return one minus the error function."""
        return self._push("erfc", x, np.vectorize(math.erfc, otypes=[float])(x))

    def normcdf(self, x: Array) -> Array:
        """Return the normal distribution function."""
        exact = np.vectorize(math.erfc, otypes=[float])(-x.astype(np.float64) * math.sqrt(0.5)) / 2
        return self._push("normcdf", x, exact)


Kernel = Callable[..., Array]


def _sigmoid(m: Library, z: Array) -> Array:
    return 1 / (1 + m.exp(-z))


def _split_sigmoid(m: Library, z: Array) -> Array:
    e = m.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _erfc_cdf(m: Library, x: Array) -> Array:
    return F(0.5) * m.erfc(-x * F(math.sqrt(0.5)))


def _erf_cdf(m: Library, x: Array) -> Array:
    return F(0.5) * (1 + m.erf(x * F(math.sqrt(0.5))))


def _density(m: Library, x: Array) -> Array:
    return m.exp(F(-0.5) * x * x) * F(1 / math.sqrt(2 * math.pi))


def _cubic(x: Array) -> Array:
    return F(math.sqrt(2 / math.pi)) * (x + F(0.044715) * x * x * x)


def _cubic_slope(x: Array) -> Array:
    return F(math.sqrt(2 / math.pi)) * (1 + F(3 * 0.044715) * x * x)


def _tanh_gelu_backward(m: Library, dy: Array, x: Array) -> Array:
    s = _split_sigmoid(m, 2 * _cubic(x))
    inner = np.where(s < 1, x * s * (1 - s) * (2 * _cubic_slope(x)), 0)
    return np.where(s > 0, dy * (s + inner), 0)


def _silu_backward(m: Library, dy: Array, x: Array) -> Array:
    s = _sigmoid(m, x)
    return np.where(s > 0, dy * s * (1 + x * (1 - s)), 0)


def _threshold_derivative(m: Library, dy: Array, x: Array) -> Array:
    z = m.exp(x)
    return np.where(x > 20, dy, dy * z / (z + 1))


def _log_sigmoid_backward(m: Library, dy: Array, x: Array) -> Array:
    z = m.exp(-np.abs(x))
    return np.where(x < 0, 1 - z / (1 + z), z / (1 + z)) * dy


def _smooth_square(m: Library, dy: Array, x: Array) -> Array:
    e = m.exp(-2 * np.abs(x))
    return dy * (4 * e / ((1 + e) * (1 + e)))


def _tanh_by_expm1(m: Library, x: Array) -> Array:
    """−e/(2 + e) with e correctly rounded: 2.498 units from the exact result at worst, over all float32."""
    e = np.expm1(-2 * np.abs(x.astype(np.float64))).astype(F)
    return np.copysign(-e / (2 + e), x)


#: (operation, parameters, name of the formula, kernel); all in float32, all legitimate.
HONEST: list[tuple[str, dict[str, Any], str, Kernel]] = [
    ("leaky_relu", {}, "product", lambda m, x: np.where(x > 0, x, F(0.01) * x)),
    ("leaky_relu_backward", {}, "product", lambda m, dy, x: np.where(x > 0, dy, F(0.01) * dy)),
    ("elu", {}, "expm1", lambda m, x: np.where(x > 0, x, m.expm1(x))),
    ("elu", {"alpha": 1.7}, "expm1", lambda m, x: np.where(x > 0, x, F(1.7) * m.expm1(x))),
    ("elu_backward", {"alpha": 1.7}, "exp", lambda m, dy, x: np.where(x > 0, dy, dy * F(1.7) * m.exp(x))),
    ("elu_backward", {}, "value", lambda m, dy, x: np.where(x > 0, dy, dy * (m.expm1(x) + 1))),
    ("sigmoid", {}, "plain", _sigmoid),
    ("sigmoid", {}, "split", _split_sigmoid),
    ("sigmoid_backward", {}, "value", lambda m, dy, x: dy * _sigmoid(m, x) * (1 - _sigmoid(m, x))),
    (
        "sigmoid_backward",
        {},
        "both tails",
        lambda m, dy, x: dy * (_split_sigmoid(m, x) * _split_sigmoid(m, -x)),
    ),
    ("log_sigmoid", {}, "log1p", lambda m, x: np.minimum(x, 0) - m.log1p(m.exp(-np.abs(x)))),
    ("log_sigmoid_backward", {}, "sigmoid", lambda m, dy, x: dy * _sigmoid(m, -x)),
    ("log_sigmoid_backward", {}, "PyTorch's", _log_sigmoid_backward),
    ("hard_sigmoid", {}, "quotient", lambda m, x: np.clip(x / 6 + F(0.5), 0, 1)),
    ("hard_sigmoid", {}, "product", lambda m, x: np.clip(x * F(1 / 6) + F(0.5), 0, 1)),
    ("hard_sigmoid", {}, "relu6", lambda m, x: np.clip(x + 3, 0, 6) / 6),
    ("hard_sigmoid_backward", {}, "quotient", lambda m, dy, x: np.where(np.abs(x) < 3, dy / 6, 0)),
    ("hard_sigmoid_backward", {}, "product", lambda m, dy, x: np.where(np.abs(x) < 3, dy * F(1 / 6), 0)),
    ("tanh", {}, "tanh", lambda m, x: m.tanh(x)),
    ("tanh", {}, "expm1", _tanh_by_expm1),
    ("tanh_backward", {}, "square", lambda m, dy, x: dy * (1 - m.tanh(x) * m.tanh(x))),
    ("tanh_backward", {}, "exp", _smooth_square),
    ("softplus", {}, "split", lambda m, x: np.maximum(x, 0) + m.log1p(m.exp(-np.abs(x)))),
    ("softplus", {}, "threshold", lambda m, x: np.where(x > 20, x, m.log1p(m.exp(x)))),
    ("softplus_backward", {}, "sigmoid", lambda m, dy, x: dy * _sigmoid(m, x)),
    ("softplus_backward", {}, "threshold", _threshold_derivative),
    ("gelu", {}, "erfc", lambda m, x: x * _erfc_cdf(m, x)),
    ("gelu", {}, "normcdf", lambda m, x: x * m.normcdf(x)),
    ("gelu", {}, "erf or erfc", lambda m, x: x * np.where(x > -1, _erf_cdf(m, x), _erfc_cdf(m, x))),
    ("gelu_backward", {}, "erfc", lambda m, dy, x: dy * (_erfc_cdf(m, x) + x * _density(m, x))),
    ("gelu", {"approximate": "tanh"}, "sigmoid", lambda m, x: x * _sigmoid(m, 2 * _cubic(x))),
    ("gelu", {"approximate": "tanh"}, "quotient", lambda m, x: x / (1 + m.exp(-2 * _cubic(x)))),
    ("gelu_backward", {"approximate": "tanh"}, "sigmoid", _tanh_gelu_backward),
    ("silu", {}, "product", lambda m, x: x * _split_sigmoid(m, x)),
    ("silu", {}, "quotient", lambda m, x: x / (1 + m.exp(-x))),
    ("silu_backward", {}, "common", _silu_backward),
]

#: The same for formulas that lose the digits of the result, or run into ∞/∞, somewhere.
BROKEN: list[tuple[str, dict[str, Any], str, Kernel]] = [
    ("softplus", {}, "log(1 + exp)", lambda m, x: m.log(1 + m.exp(x))),
    ("log_sigmoid", {}, "log of sigmoid", lambda m, x: m.log(_sigmoid(m, x))),
    ("log_sigmoid", {}, "-log(1 + exp)", lambda m, x: -m.log(1 + m.exp(-x))),
    ("elu", {}, "exp - 1", lambda m, x: np.where(x > 0, x, m.exp(x) - 1)),
    ("sigmoid", {}, "by tanh", lambda m, x: F(0.5) * (1 + m.tanh(x / 2))),
    (
        "sigmoid_backward",
        {},
        "e/(1+e)²",
        lambda m, dy, x: dy * (m.exp(-x) / ((1 + m.exp(-x)) * (1 + m.exp(-x)))),
    ),
    ("tanh", {}, "exp quotient", lambda m, x: (m.exp(2 * x) - 1) / (m.exp(2 * x) + 1)),
    ("gelu", {}, "1 + erf", lambda m, x: x * _erf_cdf(m, x)),
    ("gelu", {}, "tanh form", lambda m, x: x * _split_sigmoid(m, 2 * _cubic(x))),
    ("gelu", {"approximate": "tanh"}, "1 + tanh", lambda m, x: F(0.5) * x * (1 + m.tanh(_cubic(x)))),
    ("gelu", {"approximate": "tanh"}, "erf form", lambda m, x: x * _erfc_cdf(m, x)),
    ("silu", {}, "exp quotient", lambda m, x: x * (m.exp(x) / (1 + m.exp(x)))),
    ("sigmoid", {}, "fast exp", lambda m, x: 1 / (1 + m.fast_exp(-x))),
    ("leaky_relu", {}, "slope in bfloat16", lambda m, x: np.where(x > 0, x, F(0.010009765625) * x)),
]


@cache
def inputs(dtype: str) -> Array:
    """All finite values of a narrow format; of float32 every binade and the interesting range."""
    if dtype != "float32":
        values = np.arange(2**16, dtype=np.uint16).view(FORMATS[dtype].dtype).astype(np.float32)
        return values[np.isfinite(values)]
    random = np.random.default_rng(11)
    patterns = random.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    spread = random.uniform(-110, 110, 20_000).astype(np.float32)
    near = random.normal(0, 2, 20_000).astype(np.float32)
    return np.concatenate([patterns[np.isfinite(patterns)], spread, near, np.float32([0, 3, -3, 20, -87.4])])


@cache
def expectation(
    name: str, parameters: tuple[tuple[str, Any], ...], dtype: str
) -> tuple[dict[str, Array], Array, Bound]:
    """Return the arguments, the exact result and its bound."""
    operation = OPERATIONS[name]
    x = inputs(dtype)
    dy = round_to(np.random.default_rng(3).normal(0, 1, x.shape), FORMATS[dtype]).astype(np.float32)
    arrays = {argument: {"x": x, "dy": dy}[argument] for argument in operation.arrays}
    wide = {argument: array.astype(np.float64) for argument, array in arrays.items()}
    want = operation.reference(**wide, **dict(parameters))
    bound = operation.bound(wide | dict(parameters), want, FORMATS[dtype], Arithmetic())
    return arrays, want, bound


def verdict(
    name: str, parameters: dict[str, Any], dtype: str, kernel: Kernel, direction: int | None
) -> Array:
    """Which elements of a kernel's result are accepted."""
    arrays, want, bound = expectation(name, tuple(parameters.items()), dtype)
    with np.errstate(all="ignore"):
        got = kernel(Library(direction), *arrays.values())
        assert got.dtype == np.float32
        rounded = round_to(got.astype(np.float64), FORMATS[dtype])
    return accept(rounded, want, bound, FORMATS[dtype])


@pytest.mark.spec("ACT-A1")
@pytest.mark.spec("ACT-A2")
@pytest.mark.spec("ACT-A4")
@pytest.mark.parametrize("direction", [-1, 1, None])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("name", "parameters", "formula", "kernel"), HONEST)
def test_an_honest_kernel_stays_within_the_bound(
    name: str, parameters: dict[str, Any], formula: str, kernel: Kernel, dtype: str, direction: int | None
) -> None:
    accepted = verdict(name, parameters, dtype, kernel, direction)
    wrong = expectation(name, tuple(parameters.items()), dtype)[0]["x"][~accepted]
    assert wrong.size == 0, f"{formula} is refused at x = {wrong[:10]}"


@pytest.mark.spec("ACT-A1")
@pytest.mark.spec("ACT-A4")
@pytest.mark.parametrize(("name", "parameters", "formula", "kernel"), BROKEN)
def test_a_formula_that_loses_digits_exceeds_the_bound(
    name: str, parameters: dict[str, Any], formula: str, kernel: Kernel
) -> None:
    assert not verdict(name, parameters, "float32", kernel, None).all(), f"{formula} is accepted everywhere"


@pytest.mark.spec("ACT-A1")
@pytest.mark.parametrize(
    "name", [name for name, record in OPERATIONS.items() if record.kind == "elementwise"]
)
def test_the_bound_of_a_function_is_a_few_units_in_the_last_place_of_its_largest_term(name: str) -> None:
    arrays, want, bound = expectation(name, (), "float32")
    moderate = np.abs(arrays["x"]) <= 8
    scale = np.maximum(np.abs(want), np.abs(arrays.get("dy", 0)))
    assert (bound.value[moderate] <= 100 * 2.0**-24 * (scale[moderate] + 1)).all()


@pytest.mark.spec("ACT-A1")
@pytest.mark.parametrize("name", ["sigmoid", "log_sigmoid", "softplus", "elu", "tanh", "silu"])
def test_functions_with_a_stable_formula_are_held_to_relative_accuracy(name: str) -> None:
    arrays, want, bound = expectation(name, (), "float32")
    normal = np.abs(want) >= 2.0**-125
    overflowing = np.abs(arrays["x"]) > 88
    assert (bound.value[normal & ~overflowing] <= 24 * 2.0**-24 * np.abs(want[normal & ~overflowing])).all()


@pytest.mark.spec("ACT-A1")
@pytest.mark.spec("ACT-X2")
@pytest.mark.spec("ACT-X3")
@pytest.mark.parametrize(
    ("name", "parameters", "at", "limit", "formula"),
    [
        ("silu", {}, -np.inf, 0.0, lambda m, x: x * _sigmoid(m, x)),
        ("gelu", {}, -np.inf, 0.0, lambda m, x: x * _erfc_cdf(m, x)),
        ("gelu", {"approximate": "tanh"}, -np.inf, 0.0, lambda m, x: x * _sigmoid(m, 2 * _cubic(x))),
        ("silu_backward", {}, np.inf, 1.0, lambda m, x: _sigmoid(m, x) * (1 + x * (1 - _sigmoid(m, x)))),
        ("gelu_backward", {}, -np.inf, 0.0, lambda m, x: _erfc_cdf(m, x) + x * _density(m, x)),
        ("gelu_backward", {"approximate": "tanh"}, 2e19, 1.0, lambda m, x: _tanh_slope(m, x)),
        ("gelu_backward", {"approximate": "tanh"}, -2e19, 0.0, lambda m, x: _tanh_slope(m, x)),
    ],
)
def test_where_a_formula_is_nan_in_float32_a_guarded_kernel_gives_the_limit(
    name: str, parameters: dict[str, Any], at: float, limit: float, formula: Kernel
) -> None:
    x, record = F([at]), OPERATIONS[name]
    with np.errstate(all="ignore"):
        assert np.isnan(formula(Library(0), x)).all()
    arguments: dict[str, Any] = {"x": x.astype(np.float64)} | ({"dy": np.ones(1)} if record.backward else {})
    want = record.reference(**arguments, **parameters)
    bound = record.bound(arguments | parameters, want, FLOAT32, Arithmetic())
    assert accept([limit], want, bound, FLOAT32).all()
    assert not accept([np.nan], want, bound, FLOAT32).any()


def _tanh_slope(m: Library, x: Array) -> Array:
    """Return the derivative of gelu's tanh form without a guard."""
    s = _sigmoid(m, 2 * _cubic(x))
    return s + x * s * (1 - s) * F(2 * math.sqrt(2 / math.pi)) * (1 + F(3 * 0.044715) * (x * x))


@pytest.mark.spec("GEN-D9")
@pytest.mark.parametrize("slope", [0.3, 1e-42, 1e-46])
def test_a_slope_may_be_rounded_to_float32_wherever_it_lies(slope: float) -> None:
    record, x = OPERATIONS["leaky_relu"], F([-1e38, -3.0, -np.inf])
    arguments = {"x": x.astype(np.float64), "negative_slope": slope}
    want = record.reference(**arguments)
    with np.errstate(all="ignore"):
        got = F(slope) * x
    bound = record.bound(arguments, want, FLOAT32, Arithmetic())
    assert accept(got, want, bound, FLOAT32).all()
    assert not accept(2 * got[:2] - 1, want[:2], bound.value[:2], FLOAT32).any()


@pytest.mark.spec("ACT-A1")
def test_the_derivative_of_elu_through_its_value_has_absolute_accuracy_in_the_tail() -> None:
    record, x = OPERATIONS["elu_backward"], np.array([-20.0])
    arguments = {"dy": np.ones(1), "x": x}
    want = record.reference(**arguments)
    bound = record.bound(arguments, want, FLOAT32, Arithmetic())
    assert accept([0.0], want, bound, FLOAT32).all()
    assert (bound.value <= 2.0**-21).all()


@pytest.mark.spec("ACT-A1")
def test_the_limit_of_a_function_counts_from_the_correctly_rounded_result() -> None:
    x = np.random.default_rng(5).uniform(0.5, 1.5, 1000).astype(F).astype(np.float64)
    record = OPERATIONS["tanh"]
    want = record.reference(x)
    nearest = round_to(want, FLOAT32)
    two_off = nearest + 2 * np.spacing(nearest) * np.sign(nearest - want).astype(F)
    bound = record.bound({"x": x}, want, FLOAT32, Arithmetic())
    assert accept(two_off, want, bound, FLOAT32).all()
    assert not accept(two_off + np.sign(nearest - want) * np.spacing(nearest), want, bound, FLOAT32).all()


@pytest.mark.spec("GEN-D8")
@pytest.mark.parametrize("dtype", FORMATS)
def test_a_declared_fast_exponential_widens_the_bound_and_is_held_to_it(dtype: str) -> None:
    x = inputs(dtype)
    operation, wide = OPERATIONS["sigmoid"], x.astype(np.float64)
    want = operation.reference(wide)
    bound = operation.bound({"x": wide}, want, FORMATS[dtype], Arithmetic(fast_exp=True))
    library = Library(1)
    with np.errstate(all="ignore"):
        got = round_to((1 / (1 + library.fast_exp(-x))).astype(np.float64), FORMATS[dtype])
    assert accept(got, want, bound, FORMATS[dtype]).all()


@pytest.mark.spec("GEN-A3")
def test_flushing_subnormals_needs_a_declaration() -> None:
    x = np.float32([2.0**-130, -(2.0**-127), 2.0**-149])
    flushed = np.zeros(3, dtype=np.float32)
    operation, wide = OPERATIONS["leaky_relu"], x.astype(np.float64)
    want = operation.reference(wide)
    plain, declared = (
        operation.bound({"x": wide}, want, FLOAT32, arithmetic)
        for arithmetic in (Arithmetic(), Arithmetic(flush_subnormals=True))
    )
    assert not accept(flushed, want, plain, FLOAT32).any()
    assert accept(flushed, want, declared, FLOAT32).all()


@pytest.mark.spec("ACT-A3")
@pytest.mark.parametrize("dtype", FORMATS)
def test_a_limit_that_the_format_lacks_is_rounded_and_all_else_is_exact(dtype: str) -> None:
    x = np.array([-3.0, -0.25, 0.5, 3.0])
    arguments = {"x": x, "min_val": -0.3, "max_val": 0.7}
    want = OPERATIONS["hard_tanh"].reference(**arguments)
    bound = OPERATIONS["hard_tanh"].bound(arguments, want, FORMATS[dtype], Arithmetic())
    assert accept(round_to(want, FORMATS[dtype]), want, bound, FORMATS[dtype]).all()
    assert (bound.value[1:3] == 0).all()
    assert (bound.value[[0, 3]] <= ulp(want[[0, 3]], FORMATS[dtype])).all()
