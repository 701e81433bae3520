"""Floating-point instructions of the simulated device against exact rationals and the C library."""

import ctypes
import ctypes.util
import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaugeblock.gpu.simulator.numbers import floating
from gaugeblock.gpu.simulator.numbers.rounding import Direction

Array = npt.NDArray[Any]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FORMATS = {  # precision, smallest and largest exponent, unsigned type of the bits
    np.dtype(np.float16): (11, -14, 15, np.uint16),
    BFLOAT16: (8, -126, 127, np.uint16),
    np.dtype(np.float32): (24, -126, 127, np.uint32),
    np.dtype(np.float64): (53, -1022, 1023, np.uint64),
}
DIRECTIONS: tuple[Direction, ...] = ("rn", "rz", "rm", "rp")


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def rounded(exact: Fraction, dtype: np.dtype[Any], rounding: str) -> float:
    """Round a nonzero rational to a format, from the definition."""
    precision, smallest, largest, _ = FORMATS[dtype]
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    if abs(exact) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, smallest) - precision + 1)
    pick: dict[str, Callable[[Fraction], int]] = {
        "rn": round,
        "rz": math.trunc,
        "rm": math.floor,
        "rp": math.ceil,
    }
    integral = pick[rounding](exact / unit)
    sign = 1 if exact > 0 else -1
    limit = (2 - Fraction(2) ** (1 - precision)) * Fraction(2) ** largest
    if abs(integral * unit) <= limit:
        return math.copysign(float(integral * unit), sign)
    inwards = rounding == "rz" or rounding == ("rm" if exact > 0 else "rp")
    return math.copysign(float(limit) if inwards else math.inf, sign)


def bits_of(a: Array) -> Array:
    """Return the bits, for comparisons that distinguish −0 from +0."""
    return a.view(FORMATS[a.dtype][3])


def assert_same(got: Array, want: Array) -> None:
    """Hold two arrays equal bit by bit, NaN equal to NaN."""
    both_nan = np.isnan(got) & np.isnan(want)
    assert np.array_equal(bits_of(got)[~both_nan], bits_of(want)[~both_nan])


def numbers(dtype: np.dtype[Any]) -> st.SearchStrategy[float]:
    """Finite numbers of a format: any bits, few bits, edges."""
    precision, smallest, largest, unsigned = FORMATS[dtype]
    size = 8 * np.dtype(unsigned).itemsize

    def from_bits(bits: int) -> float:
        value = float(np.array([bits], unsigned).view(dtype).astype(np.float64)[0])
        return value if math.isfinite(value) else 1.0

    near_powers = st.builds(
        lambda m, e, s: s * math.ldexp(m, e),
        st.sampled_from(
            [2 ** (precision - 1) + d for d in (0, 1, 2, 3)] + [2**precision - d for d in (1, 2)]
        ),
        st.integers(smallest - precision + 1, largest - precision + 1) | st.integers(-precision - 4, 4),
        st.sampled_from([1, -1]),
    )
    return st.integers(0, 2**size - 1).map(from_bits) | near_powers | st.sampled_from([0.0, -0.0, 1.0, -1.0])


def lanes(dtype: np.dtype[Any], operands: int) -> st.SearchStrategy[list[Array]]:
    """Return operands of one instruction, 1 to 12 lanes each."""
    rows = st.lists(st.tuples(*[numbers(dtype)] * operands), min_size=1, max_size=12)
    return rows.map(lambda chosen: [np.array(column).astype(dtype) for column in zip(*chosen, strict=True)])


def expected(
    operation: Callable[..., Fraction], arrays: list[Array], dtype: np.dtype[Any], rounding: str, zero: Array
) -> Array:
    """Apply exact arithmetic lane by lane; exact zeros are taken from `zero`."""
    exact = [
        operation(*map(Fraction, row))
        for row in zip(*(a.astype(float).tolist() for a in arrays), strict=True)
    ]
    values = [
        rounded(x, dtype, rounding) if x else float(z)
        for x, z in zip(exact, zero.astype(np.float64), strict=True)
    ]
    return np.array(values).astype(dtype)


def zero_sum(x: Array, y: Array, rounding: str) -> Array:
    """Return the zero that IEEE 754 prescribes for a sum that is exactly zero."""
    plain = x + y
    mixed = np.signbit(x) != np.signbit(y)
    return np.where((plain == 0) & mixed & (rounding == "rm"), -0.0, np.where(plain == 0, plain, 0.0))


@pytest.mark.parametrize("rounding", DIRECTIONS)
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fma_add_and_mul_round_once_in_every_direction(
    dtype: np.dtype[Any], rounding: Any, data: st.DataObject
) -> None:
    a, b, c = data.draw(lanes(dtype, 3))
    a64, b64, c64 = (x.astype(np.float64) for x in (a, b, c))
    product_sign = np.copysign(1.0, a64) * np.copysign(1.0, b64)
    product_zero = np.copysign(0.0, product_sign)
    product = np.where((a64 == 0) | (b64 == 0), product_zero, product_sign)
    fma_zero = np.where(product == 0, zero_sum(product, c64, rounding), -0.0 if rounding == "rm" else 0.0)
    assert_same(
        floating.fma(a, b, c, rounding),
        expected(lambda x, y, z: x * y + z, [a, b, c], dtype, rounding, fma_zero),
    )
    assert_same(
        floating.add(a, b, rounding),
        expected(lambda x, y: x + y, [a, b], dtype, rounding, zero_sum(a64, b64, rounding)),
    )
    assert_same(
        floating.mul(a, b, rounding), expected(lambda x, y: x * y, [a, b], dtype, rounding, product_zero)
    )


@pytest.mark.parametrize("rounding", DIRECTIONS)
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_div_and_rcp_round_once_in_every_direction(
    dtype: np.dtype[Any], rounding: Any, data: st.DataObject
) -> None:
    a, b = data.draw(lanes(dtype, 2))
    b[b == 0] = 3
    zero = np.copysign(0.0, a.astype(np.float64)) * np.copysign(1.0, b.astype(np.float64))
    assert_same(floating.div(a, b, rounding), expected(lambda x, y: x / y, [a, b], dtype, rounding, zero))
    assert_same(floating.rcp(b, rounding), expected(lambda x: 1 / x, [b], dtype, rounding, zero))


@pytest.mark.parametrize("rounding", DIRECTIONS)
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sqrt_rounds_once_in_every_direction(
    dtype: np.dtype[Any], rounding: Any, data: st.DataObject
) -> None:
    (a,) = data.draw(lanes(dtype, 1))
    a = np.abs(a)
    root = floating.sqrt(a, rounding).astype(np.float64)
    for x, y in zip(a.astype(np.float64).tolist(), root.tolist(), strict=True):
        below = float(np.nextafter(dtype.type(y), dtype.type(-np.inf))) if y else 0.0
        above = float(np.nextafter(dtype.type(y), dtype.type(np.inf)))
        square = Fraction(x)
        if rounding in ("rz", "rm"):
            assert Fraction(y) ** 2 <= square < Fraction(above) ** 2
        elif rounding == "rp":
            assert Fraction(y) ** 2 >= square
            assert square == 0 or square > Fraction(below) ** 2
        else:
            assert (
                (Fraction(below) + Fraction(y)) ** 2 / 4 <= square <= (Fraction(above) + Fraction(y)) ** 2 / 4
            )


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_half_precision_arithmetic_rounds_once(dtype: np.dtype[Any], data: st.DataObject) -> None:
    a, b, c = data.draw(lanes(dtype, 3))
    a64, b64, c64 = (x.astype(np.float64) for x in (a, b, c))
    product_zero = np.copysign(0.0, a64) * np.copysign(1.0, b64)
    fma_zero = np.where((a64 == 0) | (b64 == 0), zero_sum(product_zero, c64, "rn"), 0.0)

    def exactly(operation: Callable[..., Fraction], arrays: list[Array], zero: Array) -> Array:
        return expected(operation, arrays, dtype, "rn", zero)

    assert_same(floating.add(a, b), exactly(lambda x, y: x + y, [a, b], zero_sum(a64, b64, "rn")))
    assert_same(floating.sub(a, b), exactly(lambda x, y: x - y, [a, b], zero_sum(a64, -b64, "rn")))
    assert_same(floating.mul(a, b), exactly(lambda x, y: x * y, [a, b], product_zero))
    assert_same(floating.fma(a, b, c), exactly(lambda x, y, z: x * y + z, [a, b, c], fma_zero))


def libm() -> Any:
    """Return the C library's mathematics, whose fma is exact."""
    name = ctypes.util.find_library("m")
    if name is None:
        pytest.skip("there is no C library for mathematics here")
    library = ctypes.CDLL(name)
    library.fmaf.restype, library.fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    library.fma.restype, library.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
    return library


def adversarial32(seed: int, count: int) -> list[Array]:
    """Operands whose fma sits on or beside ties of float32, in normal and subnormal range, or is any bits."""
    rng = np.random.default_rng(seed)

    def significand(bits: int) -> Array:
        return rng.integers(-(2**bits), 2**bits, count).astype(np.float64)

    def scaled(bits: int, low: int, high: int) -> Array:
        return np.ldexp(significand(bits), rng.integers(low, high, count)).astype(np.float32)

    # a·b is half a unit of c, give or take 2⁻⁴⁶ of it: float64 sees a tie
    offset, exponent = rng.integers(-2, 3, count) * 2.0**-23, rng.integers(-30, 30, count)
    beside = [np.ldexp(1 + offset, exponent), np.ldexp(1 - offset, -1 - exponent), significand(24)]
    beside_subnormal = [np.ldexp(1 + offset, -75), np.ldexp(1 - offset, -75), np.ldexp(significand(22), -149)]
    anything = [rng.integers(0, 2**32, count, dtype=np.uint32).view(np.float32) for _ in range(3)]
    ties = [scaled(24, -2, 3), scaled(12, -14, -10), scaled(24, -12, 14)]
    subnormal = [scaled(12, -80, -70), scaled(13, -90, -62), scaled(4, -149, -140)]
    families = beside, beside_subnormal, anything, ties, subnormal
    return [np.concatenate(columns).astype(np.float32) for columns in zip(*families, strict=True)]


def test_fma_of_float32_equals_the_c_library_on_adversarial_operands() -> None:
    a, b, c = adversarial32(1, 20_000)
    fmaf = libm().fmaf
    want = np.array([fmaf(*row) for row in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)], np.float32)
    assert_same(floating.fma(a, b, c), want)
    # the operands are adversarial indeed: rounding twice goes wrong on some of them
    twice = (a.astype(np.float64) * b + c).astype(np.float32)
    assert np.count_nonzero(twice[np.isfinite(want)] != want[np.isfinite(want)]) > 1000


def test_fma_of_float64_equals_the_c_library_on_adversarial_operands() -> None:
    rng = np.random.default_rng(2)
    count = 5000
    a = np.concatenate(
        [rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64), rng.normal(size=count)]
    )
    b = np.concatenate(
        [rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64), rng.normal(size=count)]
    )
    c = -a * b * (1 + rng.integers(-2, 3, len(a)) * 2.0**-52)  # almost everything cancels
    fma = libm().fma
    want = np.array([fma(*row) for row in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)])
    assert_same(floating.fma(a, b, c), want)


@pytest.mark.parametrize("dtype", list(FORMATS), ids=str)
def test_infinities_and_nan_follow_ieee_arithmetic(dtype: np.dtype[Any]) -> None:
    values = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan])
    a, b, c = (x.ravel() for x in np.meshgrid(values, values, values))
    want = (a * b + c).astype(dtype)
    assert_same(floating.fma(a.astype(dtype), b.astype(dtype), c.astype(dtype)), want)
    assert_same(floating.add(a.astype(dtype), b.astype(dtype)), (a + b).astype(dtype))
    assert_same(floating.mul(a.astype(dtype), b.astype(dtype)), (a * b).astype(dtype))
    if dtype.itemsize >= 4:
        for rounding in DIRECTIONS[1::2]:
            assert_same(floating.fma(a.astype(dtype), b.astype(dtype), c.astype(dtype), rounding), want)
        assert_same(floating.div(a.astype(dtype), b.astype(dtype), "rz"), (a / b).astype(dtype))


@pytest.mark.parametrize("dtype", list(FORMATS)[:3], ids=str)
def test_nan_results_are_canonical(dtype: np.dtype[Any]) -> None:
    one, payload = np.ones(3, dtype), np.full(3, np.nan).astype(dtype)
    bits_of(payload)[1] |= FORMATS[dtype][3](1 << (8 * dtype.itemsize - 1))
    bits_of(payload)[2] |= FORMATS[dtype][3](1)
    canonical = {2: 0x7FFF, 4: 0x7FFFFFFF}[dtype.itemsize]
    for result in (
        floating.add(one, payload),
        floating.sub(payload, payload),
        floating.mul(payload, one),
        floating.fma(one, payload, one),
        floating.fma(one, one, payload, relu=True),
        floating.minimum(payload, payload),
        floating.maximum(one, payload, nan=True),
    ):
        assert (bits_of(result) == canonical).all()


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(np.float32)], ids=str)
def test_ftz_replaces_subnormal_operands_and_results_by_zeros_of_their_sign(dtype: np.dtype[Any]) -> None:
    tiny = np.finfo(dtype).smallest_normal
    below = np.array([np.nextafter(tiny, dtype.type(0)), -np.nextafter(tiny, dtype.type(0))], dtype)
    one = np.ones(1, dtype)
    for result in (
        floating.mul(below, one, ftz=True),
        floating.add(below, -one * 0, ftz=True),
        floating.fma(below, one, below * 0, ftz=True),
        floating.mul(np.array([tiny, -tiny], dtype), one / 2, ftz=True),
        floating.minimum(below, below, ftz=True),
    ):
        assert_same(result, np.array([0.0, -0.0], dtype))
    assert_same(floating.mul(below, one), below)
    assert_same(floating.neg(below, ftz=True), np.array([-0.0, 0.0], dtype))
    assert_same(floating.absolute(below, ftz=True), np.array([0.0, 0.0], dtype))
    normal = np.array([tiny, -tiny, 0.0, -0.0, 1.0, np.inf], dtype)
    assert_same(floating.mul(normal, one, ftz=True), normal)


@pytest.mark.parametrize("dtype", list(FORMATS)[:3], ids=str)
def test_sat_clamps_to_the_unit_interval_and_turns_nan_into_zero(dtype: np.dtype[Any]) -> None:
    a = np.array([-1.0, -0.0, 0.0, 0.5, 1.0, 1.5, np.inf, -np.inf, np.nan]).astype(dtype)
    want = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.0, 0.0]).astype(dtype)
    zero, one = np.zeros(1, dtype), np.ones(1, dtype)
    assert_same(floating.add(a, zero, sat=True), want)
    assert_same(floating.fma(a, one, zero, sat=True), want)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_relu_turns_negative_results_into_zero_and_keeps_nan(dtype: np.dtype[Any]) -> None:
    a = np.array([-1.0, -0.0, 0.5, np.inf, -np.inf, np.nan]).astype(dtype)
    want = np.array([0.0, 0.0, 0.5, np.inf, 0.0, np.nan]).astype(dtype)
    assert_same(floating.fma(a, np.ones(1, dtype), -np.zeros(1, dtype), relu=True), want)


@pytest.mark.parametrize("dtype", list(FORMATS), ids=str)
def test_min_and_max_order_zeros_and_ignore_nan_unless_asked(dtype: np.dtype[Any]) -> None:
    values = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan])
    a, b = (x.ravel() for x in np.meshgrid(values, values))

    def key(x: float) -> tuple[float, float]:
        return x, math.copysign(1, x)

    def choose(pick: Any, nan: bool) -> Array:
        rows = zip(a.tolist(), b.tolist(), strict=True)
        chosen = []
        for row in rows:
            known = [x for x in row if not math.isnan(x)]
            chosen.append(math.nan if not known or (nan and len(known) < 2) else pick(known, key=key))
        return np.array(chosen).astype(dtype)

    x, y = a.astype(dtype), b.astype(dtype)
    for nan in (False, True):
        assert_same(floating.minimum(x, y, nan=nan), choose(min, nan))
        assert_same(floating.maximum(x, y, nan=nan), choose(max, nan))


@pytest.mark.parametrize("dtype", list(FORMATS)[:3], ids=str)
def test_xorsign_min_and_max_compare_magnitudes_and_multiply_signs(dtype: np.dtype[Any]) -> None:
    a = np.array([1.0, -1.0, -3.0, 2.0, -0.0, np.nan]).astype(dtype)
    b = np.array([-2.0, -2.0, 1.0, np.nan, 5.0, np.nan]).astype(dtype)
    smaller = np.array([-1.0, 1.0, -1.0, 2.0, -0.0, np.nan]).astype(dtype)
    larger = np.array([-2.0, 2.0, -3.0, 2.0, -5.0, np.nan]).astype(dtype)
    assert_same(floating.minimum(a, b, xorsign=True, magnitude=True), smaller)
    assert_same(floating.maximum(a, b, xorsign=True, magnitude=True), larger)
    assert_same(floating.minimum(a, b, magnitude=True), np.abs(smaller.astype(np.float64)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_neg_abs_copysign_and_properties_are_right_for_every_16_bit_pattern(dtype: np.dtype[Any]) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    a = bits.view(dtype)
    wide = a.astype(np.float64)
    assert np.array_equal(bits_of(floating.neg(a)), bits ^ 0x8000)
    assert np.array_equal(bits_of(floating.absolute(a)), bits & 0x7FFF)
    assert np.array_equal(
        bits_of(floating.copysign(a, a[::-1].copy())), (bits & 0x8000) | (bits[::-1] & 0x7FFF)
    )
    smallest_normal = 2.0 ** FORMATS[dtype][1]
    assert np.array_equal(floating.testp(a, "finite"), np.isfinite(wide))
    assert np.array_equal(floating.testp(a, "infinite"), np.isinf(wide))
    assert np.array_equal(floating.testp(a, "number"), ~np.isnan(wide))
    assert np.array_equal(floating.testp(a, "notanumber"), np.isnan(wide))
    subnormal = (np.abs(wide) < smallest_normal) & (wide != 0)
    assert np.array_equal(floating.testp(a, "subnormal"), subnormal)
    assert np.array_equal(floating.testp(a, "normal"), np.isfinite(wide) & ~subnormal)


def test_operands_broadcast_and_stay_unchanged() -> None:
    a = np.array([1.5, np.nan, 1e-40, -np.inf, 0.0], np.float32)
    uniform = np.array([-0.0], np.float32)
    before = a.copy(), uniform.copy()
    for operation in (floating.add, floating.sub, floating.mul, floating.minimum, floating.maximum):
        assert operation(a, uniform, ftz=True).shape == operation(uniform, a, ftz=True).shape == (5,)
    for rounding in DIRECTIONS:
        assert floating.fma(uniform, uniform, a, rounding).shape == (5,)
        assert floating.fma(a, uniform, uniform, rounding, sat=True).shape == (5,)
    assert np.array_equal(bits_of(a), bits_of(before[0]))
    assert np.array_equal(bits_of(uniform), bits_of(before[1]))


def test_packed_instructions_are_the_same_functions_on_wider_views() -> None:
    a = np.array([0x3C004000], np.uint32)  # (1.0, 2.0) as f16x2
    total = floating.add(a.view(np.float16), a.view(np.float16)).view(np.uint32)
    assert total.tolist() == [0x40004400]


@pytest.mark.parametrize("rounding", DIRECTIONS)
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_a_value_that_all_lanes_share_may_stand_as_any_operand(
    dtype: np.dtype[Any], rounding: Direction
) -> None:
    lanes = np.array([1.0, -0.0, 0.0, 3.25, np.inf, np.nan, 1e-6, -7.0, 2.0**13]).astype(dtype)
    directions: tuple[Direction, ...] = (rounding,) if dtype in (np.float32, np.float64) else ("rn",)
    for function, count in ((floating.fma, 3), (floating.add, 2), (floating.mul, 2), (floating.div, 2)):
        if function is floating.div and dtype.itemsize < 4:
            continue
        for direction, uniform in itertools.product(directions, itertools.product((0, 1), repeat=count)):
            given = [lanes[3:4] if one else np.roll(lanes, at) for at, one in enumerate(uniform)]
            full = [np.ascontiguousarray(np.broadcast_to(each, lanes.shape)) for each in given]
            wanted = bits_of(function(*full, direction))
            got = bits_of(function(*given, direction))
            assert np.array_equal(np.broadcast_to(got, lanes.shape), wanted)
