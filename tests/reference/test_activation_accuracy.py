"""Every activation of the reference against mpmath: within 2 units in the last place over all of float64.

The unit is that of the exact value; below 2⁻¹⁰²² it is the smallest subnormal. mpmath works with 300 bits,
enough to lose 53 in a cancellation and still round correctly.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from gaugeblock import reference

CLAIM = 2.0  # ulp
LARGEST = mpf(np.finfo(np.float64).max)


@pytest.fixture(autouse=True)
def _three_hundred_bits() -> Iterator[None]:
    with mpmath.workprec(300):
        yield


# The exact functions. Each is written as its definition, not as the reference computes it.


def _sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mp.exp(-x))


def _normal_distribution(x: mpf) -> mpf:
    far = mpf(10) ** 6  # where it is 0 or 1 to a hundred billion digits; mpmath refuses to go on forever
    return mp.erfc(-max(min(x, far), -far) / mp.sqrt(2)) / 2


def _tanh_gelu_argument(x: mpf) -> mpf:
    return 2 * mp.sqrt(2 / mp.pi) * (x + mpf(44715) / 10**6 * x**3)


def _tanh_gelu_slope(x: mpf) -> mpf:
    s = _sigmoid(_tanh_gelu_argument(x))
    opposite = _sigmoid(-_tanh_gelu_argument(x))
    return s + x * s * opposite * 2 * mp.sqrt(2 / mp.pi) * (1 + 3 * mpf(44715) / 10**6 * x**2)


FORWARD: dict[str, tuple[str, dict[str, Any], Callable[[mpf], mpf]]] = {
    "elu": ("elu", {}, lambda x: x if x > 0 else mp.expm1(x)),
    "elu(0.3)": ("elu", {"alpha": 0.3}, lambda x: x if x > 0 else mpf(0.3) * mp.expm1(x)),
    "sigmoid": ("sigmoid", {}, _sigmoid),
    "log_sigmoid": ("log_sigmoid", {}, lambda x: min(x, mpf(0)) - mp.log1p(mp.exp(-abs(x)))),
    "tanh": ("tanh", {}, mp.tanh),
    "softplus": ("softplus", {}, lambda x: max(x, mpf(0)) + mp.log1p(mp.exp(-abs(x)))),
    "gelu": ("gelu", {}, lambda x: x * _normal_distribution(x)),
    "gelu(tanh)": ("gelu", {"approximate": "tanh"}, lambda x: x * _sigmoid(_tanh_gelu_argument(x))),
    "silu": ("silu", {}, lambda x: x * _sigmoid(x)),
}
DERIVATIVE: dict[str, Callable[[mpf], mpf]] = {
    "elu": lambda x: mpf(1) if x > 0 else mp.exp(x),
    "elu(0.3)": lambda x: mpf(1) if x > 0 else mpf(0.3) * mp.exp(x),
    "sigmoid": lambda x: _sigmoid(x) * _sigmoid(-x),
    "log_sigmoid": lambda x: _sigmoid(-x),
    "tanh": lambda x: mp.sech(x) ** 2,
    "softplus": _sigmoid,
    "gelu": lambda x: _normal_distribution(x) + x * mp.npdf(x),
    "gelu(tanh)": _tanh_gelu_slope,
    "silu": lambda x: _sigmoid(x) + x * _sigmoid(x) * _sigmoid(-x),
}

# Where formulas break: zeros of derivatives, kinks, the ends of exp's range, the points where a result
# saturates.
EDGES = (
    [-1.2784645427610738, -0.7517915246935645, -0.7524614220710162, -1.0, 1.0, 0.6931471805599453, 0.5]
    + [
        sign * edge
        for sign in (1, -1)
        for edge in (18.7, 36.7, 37.4, 38.5, 372.5, 708.39, 709.78, 744.4, 745.13)
    ]
    + [sign * edge for sign in (1, -1) for edge in (3.0, 6.0, 8.3, 13.3, 26.5, 2000.0, 4000.0, 20000.0, 1e5)]
)


def everywhere(seed: int) -> np.ndarray:
    """Return floats of every exponent, the ordinary range more densely, and the neighbours of edges."""
    draw = np.random.default_rng(seed)
    exponents = np.concatenate([np.arange(-1074, 1024), np.arange(-30, 11).repeat(24)])
    signs = draw.choice([-1, 1], exponents.size)
    random = signs * draw.uniform(1, 2, exponents.size) * 2.0**exponents
    steps = np.array([0, 1, 2, 3, 17, 2**10, 2**24, 2**33, 2**40])
    near = [edge + sign * np.spacing(abs(edge)) * steps for edge in EDGES for sign in (-1, 1)]
    ends = np.array([0.0, 5e-324, 2.0**-1022, 2.0**1023, 1.7976931348623157e308])
    return np.concatenate([random, *near, ends, -ends])


def unit(exact: mpf) -> mpf:
    """Return one unit in the last place of a float64 next to the exact value."""
    if exact == 0:
        return mpf(2) ** -1074
    return mpf(2) ** max(mpmath.frexp(exact)[1] - 53, -1074)


def distance(got: float, exact: mpf, allowance: mpf | int = 0) -> float:
    """Return how many units got is away from the exact value, an allowance apart; NaN is infinitely far."""
    if math.isinf(got):  # the exact value must be out of range, too, and on the same side
        beyond = abs(exact) > LARGEST * (1 - mpf(2) ** -53) and (got > 0) == (exact > 0)
        return 0.0 if beyond else math.inf
    if math.isnan(got):
        return math.inf
    return float(max(abs(mpf(got) - exact) - allowance, 0) / unit(exact))


def worst(got: np.ndarray, x: np.ndarray, exact: Callable[[mpf], mpf]) -> tuple[float, float]:
    """Return the largest distance, and where it is."""
    return max((distance(float(y), exact(mpf(float(at)))), float(at)) for y, at in zip(got, x, strict=True))


@pytest.mark.parametrize("case", FORWARD)
def test_a_smooth_activation_is_within_two_ulp_of_its_exact_value_everywhere(case: str) -> None:
    name, parameters, exact = FORWARD[case]
    x = everywhere(seed=1)
    error, at = worst(getattr(reference, name)(x, **parameters), x, exact)
    assert error <= CLAIM, f"{case}({at!r}) is off by {error} ulp"


@pytest.mark.parametrize("case", FORWARD)
def test_a_smooth_derivative_is_within_two_ulp_of_its_exact_value_everywhere(case: str) -> None:
    name, parameters, _ = FORWARD[case]
    x = everywhere(seed=2)
    got = getattr(reference, name + "_backward")(np.ones_like(x), x, **parameters)
    error, at = worst(got, x, DERIVATIVE[case])
    assert error <= CLAIM, f"{case}'({at!r}) is off by {error} ulp"


@pytest.mark.spec("ACT-D2")
@pytest.mark.parametrize("case", FORWARD)
def test_a_smooth_gradient_is_within_two_ulp_of_dy_times_the_derivative(case: str) -> None:
    name, parameters, _ = FORWARD[case]
    draw = np.random.default_rng(3)
    x = draw.uniform(-800, 800, 400) * draw.choice([1, 1e-2, 1e-4], 400)
    dy = np.ldexp(draw.uniform(-2, 2, 400), draw.integers(-1074, 1023, 400))
    got = getattr(reference, name + "_backward")(dy, x, **parameters)
    exact = [mpf(float(d)) * DERIVATIVE[case](mpf(float(at))) for d, at in zip(dy, x, strict=True)]
    errors = [distance(float(g), e) for g, e in zip(got, exact, strict=True)]
    assert max(errors) <= CLAIM


@pytest.mark.parametrize("case", FORWARD)
def test_the_exact_derivatives_of_these_tests_are_derivatives_of_the_exact_functions(case: str) -> None:
    for x in (-7.25, -1.3, -0.7, -0.01, 0.02, 0.9, 4.5):
        slope = mp.diff(FORWARD[case][2], mpf(x), h=mpf(2) ** -80)
        assert abs(slope - DERIVATIVE[case](mpf(x))) <= mpf(2) ** -70


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("relu", {}),
        ("relu6", {}),
        ("leaky_relu", {}),
        ("leaky_relu", {"negative_slope": -3.7}),
        ("hard_sigmoid", {}),
        ("hard_tanh", {}),
        ("hard_tanh", {"min_val": -1e-300, "max_val": 1e300}),
    ],
)
def test_a_piecewise_linear_activation_is_within_two_ulp_of_itself_in_exact_fractions(
    name: str, parameters: dict[str, float]
) -> None:
    x = everywhere(seed=4)
    x = np.concatenate([x, [np.nextafter(k, k + s) for k in (-3.0, 0.0, 1.0, 3.0, 6.0) for s in (-1, 1)]])
    fractions = np.array([Fraction(float(value)) for value in x], dtype=object)
    forward, backward = getattr(reference, name), getattr(reference, name + "_backward")
    dy = np.random.default_rng(5).normal(size=x.size)
    exact_dy = np.array([Fraction(float(value)) for value in dy], dtype=object)
    for got, exact in (
        (forward(x, **parameters), forward(fractions, **parameters)),
        (backward(dy, x, **parameters), backward(exact_dy, fractions, **parameters)),
    ):
        errors = [
            distance(float(y), mpf(e.numerator) / e.denominator) for y, e in zip(got, exact, strict=True)
        ]
        assert max(errors) <= CLAIM


# Rows: everyday ones, wide ones, ones with a dominating entry, with subnormal weights, with huge values, long
# ones.


def rows() -> Iterator[np.ndarray]:
    draw = np.random.default_rng(6)
    for scale in (1e-320, 1e-17, 1e-3, 1.0, 30.0, 250.0, 1e3, 1e307):
        yield draw.normal(size=7) * scale
    yield np.array([0.1, 0.7 - 2.0**-53, 0.3])
    yield np.array([0.0, -100.0, -300.0])  # log-softmax of the first is −e⁻¹⁰⁰
    yield np.array([0.0, -740.0, -745.2])
    yield np.array([700.0, 700.0 - 1e-13, -45.0])
    yield np.array([-1.7e308, 1.7e308, 1.6e308])
    yield np.array([5.0, -np.inf, 4.0])
    yield draw.uniform(-1, 1, 3) + 2.0**40
    yield draw.normal(size=257) * 10
    yield np.full(1000, 1 / 3)
    yield np.array([3.0])


def exact_parts(x: np.ndarray) -> tuple[list[mpf], list[mpf]]:
    """Return softmax(x) and log_softmax(x)."""
    present = [mpf(float(value)) for value in x if value > -np.inf]
    top = max(present)
    others = list(present)
    others.remove(top)
    log_sum = mp.log1p(mpmath.fsum(mp.exp(value - top) for value in others))
    logs = [mpf("-inf") if value == -np.inf else mpf(float(value)) - top - log_sum for value in x]
    return [mp.exp(value) for value in logs], logs


@pytest.mark.parametrize("x", list(rows()), ids=lambda x: f"{len(x)}:{x[0]:.3g}")
def test_softmax_is_within_two_ulp_of_its_exact_value(x: np.ndarray) -> None:
    exact, _ = exact_parts(x)
    errors = [distance(float(y), e) for y, e in zip(reference.softmax(x), exact, strict=True)]
    assert max(errors) <= CLAIM


@pytest.mark.parametrize("x", list(rows()), ids=lambda x: f"{len(x)}:{x[0]:.3g}")
def test_log_softmax_is_within_two_ulp_of_its_exact_value(x: np.ndarray) -> None:
    _, exact = exact_parts(x)
    errors = [distance(float(y), e) for y, e in zip(reference.log_softmax(x), exact, strict=True)]
    assert max(errors) <= CLAIM


@pytest.mark.parametrize("x", list(rows()), ids=lambda x: f"{len(x)}:{x[0]:.3g}")
def test_softmax_gradient_is_within_two_ulp_and_2_to_the_minus_75_of_its_cancelling_terms(
    x: np.ndarray,
) -> None:
    s, _ = exact_parts(x)
    for dy in _gradients(x.size):
        g = [mpf(float(value)) for value in dy]
        mean = mpmath.fdot(s, g)
        size = mpmath.fdot(s, [abs(value) for value in g])
        got = reference.softmax_backward(dy, x)
        for i in range(x.size):
            allowance = mpf(2) ** -75 * s[i] * (abs(g[i]) + size)
            assert distance(float(got[i]), s[i] * (g[i] - mean), allowance) <= CLAIM


@pytest.mark.parametrize("x", list(rows()), ids=lambda x: f"{len(x)}:{x[0]:.3g}")
def test_log_softmax_gradient_is_within_two_ulp_and_2_to_the_minus_75_of_its_cancelling_terms(
    x: np.ndarray,
) -> None:
    s, _ = exact_parts(x)
    for dy in _gradients(x.size):
        g = [mpf(float(value)) for value in dy]
        total, size = mpmath.fsum(g), mpmath.fsum(abs(value) for value in g)
        got = reference.log_softmax_backward(dy, x)
        for i in range(x.size):
            allowance = mpf(2) ** -75 * (abs(g[i]) + s[i] * size)
            assert distance(float(got[i]), g[i] - s[i] * total, allowance) <= CLAIM


def _gradients(n: int) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(n)
    yield draw.normal(size=n)
    yield np.ones(n)  # softmax: cancels completely
    yield np.concatenate([draw.normal(size=n - 1) * 1e12, [1e-12]])


def test_softmax_of_a_long_row_keeps_two_ulp() -> None:
    x = np.random.default_rng(8).normal(size=65_537) * 4
    weight = [mp.exp(mpf(float(value)) - mpf(float(x.max()))) for value in x[:200]]
    total = mpmath.fsum(mp.exp(mpf(float(value)) - mpf(float(x.max()))) for value in x)
    got = reference.softmax(x)
    assert max(distance(float(y), w / total) for y, w in zip(got[:200], weight, strict=True)) <= CLAIM
