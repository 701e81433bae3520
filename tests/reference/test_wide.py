"""The wide numbers under the activations, against exact fractions and mpmath."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from gaugeblock.reference import _wide
from gaugeblock.reference._wide import Wide

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(autouse=True)
def _four_hundred_bits() -> Iterator[None]:
    with mpmath.workprec(400):
        yield


def exact(value: Wide) -> Fraction:
    if value.hi == 0:  # whose exponent is a billion below any other
        return Fraction(0)
    return (Fraction(float(value.hi)) + Fraction(float(value.lo))) * Fraction(2) ** int(value.exponent)


def wide(high: float, low: float) -> Wide:
    return Wide.of(high) + Wide.of(low)


@given(FLOATS)
@settings(max_examples=100, deadline=None)
def test_a_float_is_widened_and_rounded_back_unchanged(x: float) -> None:
    assert Wide.of(x).round() == x


@given(FLOATS, FLOATS, FLOATS, FLOATS)
@settings(max_examples=100, deadline=None)
def test_sum_product_and_quotient_are_right_to_a_hundred_bits(a: float, b: float, c: float, d: float) -> None:
    x, y = wide(a, b * 2.0**-60), wide(c, d * 2.0**-60)
    p, q = exact(x), exact(y)
    accuracy = Fraction(1, 2**100)
    assert abs(exact(x * y) - p * q) <= accuracy * abs(p * q)
    assert abs(exact(x + y) - (p + q)) <= accuracy * abs(p + q)
    assert abs(exact(x - y) - (p - q)) <= accuracy * abs(p - q)
    if q:
        assert abs(exact(x / y) - p / q) <= accuracy * abs(p / q)


@given(st.lists(st.floats(0, 1e300), min_size=0, max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_total_is_right_to_ninety_five_bits_for_any_length(values: list[float]) -> None:
    total = exact(Wide.of(np.array(values)).total()[..., 0])
    want = sum(map(Fraction, values), Fraction(0))
    assert abs(total - want) <= want / 2**95


def everywhere(low: int, high: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    random = draw.uniform(1, 2, 300) * 2.0 ** draw.integers(low, high, 300)
    return np.concatenate([random, draw.uniform(0, 40, 300), [0.3465, 0.3466, 0.6931, 1.0]])


@pytest.mark.parametrize(
    ("function", "definition", "x"),
    [
        (_wide.exp, mp.exp, everywhere(-1074, 14)),
        (_wide.exp, mp.exp, -everywhere(-1074, 14)),
        (_wide.expm1, mp.expm1, everywhere(-1074, 14)),
        (_wide.expm1, mp.expm1, -everywhere(-1074, 14)),
        (_wide.log1p, mp.log1p, everywhere(-1074, 1023)),
        (_wide.erfc, mp.erfc, everywhere(-1074, 7)),
        (_wide.erfc, mp.erfc, -everywhere(-1074, 7)),
    ],
)
def test_the_functions_are_right_to_eighty_bits(
    function: Callable[[Wide], Wide], definition: Callable[[mpf], mpf], x: np.ndarray
) -> None:
    y = function(Wide.of(x))
    for index, value in enumerate(x):
        got, want = exact(y[index]), definition(mpf(float(value)))
        assert abs(mpf(got.numerator) / got.denominator - want) <= abs(want) * mpf(2) ** -80


@pytest.mark.parametrize(
    ("digits", "definition"),
    [
        (_wide.LOG_2, lambda: mp.log(2)),
        (_wide.PI, lambda: mp.pi),
    ],
)
def test_the_constants_have_the_digits_of_their_definition(
    digits: Wide, definition: Callable[[], mpf]
) -> None:
    value = exact(digits)
    assert abs(mpf(value.numerator) / value.denominator / definition() - 1) <= mpf(2) ** -104
