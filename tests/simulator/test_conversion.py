"""``cvt`` of the simulated device: every 16-bit value, every tie, every integer type."""

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaugeblock.gpu.simulator.numbers.conversion import TYPES, cvt, cvt_packed

Array = npt.NDArray[Any]
EVERY_PATTERN = np.arange(65536, dtype=np.uint16)
INTEGERS = [name for name in TYPES if name[0] in "us"]
INTEGRAL: dict[str, Callable[[Fraction], int]] = {
    "rni": round,
    "rzi": math.trunc,
    "rmi": math.floor,
    "rpi": math.ceil,
}
DIRECTIONS = ("rn", "rz", "rm", "rp")
BITS = {"f16": np.uint16, "bf16": np.uint16, "f32": np.uint32, "f64": np.uint64, "tf32": np.uint32}


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def finite_values(kind: str) -> Array:
    """Return the finite numbers ≥ 0 of a 16-bit format, ascending, and the power of two beyond them."""
    infinity = {"f16": 0x7C00, "bf16": 0x7F80}[kind]
    values = np.arange(infinity, dtype=np.uint16).view(TYPES[kind]).astype(np.float64)
    return np.append(values, 2.0 ** {"f16": 16, "bf16": 128}[kind])


def assert_bits(got: Array, want: Array) -> None:
    """Hold two arrays equal bit by bit."""
    unsigned = f"u{got.itemsize}"
    assert got.dtype == want.dtype
    assert np.array_equal(got.view(unsigned), want.view(unsigned))


@pytest.mark.parametrize("source", ["f32", "f64"])
@pytest.mark.parametrize("to", ["f16", "bf16"])
def test_narrowing_rounds_once_around_every_tie_of_a_16_bit_type(to: str, source: str) -> None:
    values = finite_values(to)
    low, high = np.arange(len(values) - 1, dtype=np.uint16), np.arange(1, len(values), dtype=np.uint16)
    tie = (values[:-1] + values[1:]) / 2
    even = np.where(low & 1, high, low)
    wide = TYPES[source].type
    below, above = np.nextafter(tie.astype(wide), wide(0)), np.nextafter(tie.astype(wide), wide(np.inf))
    negative = np.uint16(0x8000)
    for x, nearest in ((below, low), (tie.astype(wide), even), (above, high)):
        assert_bits(cvt(to, source, rounding="rn")(x).view(np.uint16), nearest)
        assert_bits(cvt(to, source, rounding="rn")(-x).view(np.uint16), nearest | negative)
        assert_bits(cvt(to, source, rounding="rz")(-x).view(np.uint16), low | negative)
        assert_bits(cvt(to, source, rounding="rm")(x).view(np.uint16), low)
        assert_bits(cvt(to, source, rounding="rm")(-x).view(np.uint16), high | negative)
        assert_bits(cvt(to, source, rounding="rp")(x).view(np.uint16), high)
        assert_bits(cvt(to, source, rounding="rp")(-x).view(np.uint16), low | negative)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_widening_every_16_bit_value_is_exact_and_comes_back(kind: str) -> None:
    a = EVERY_PATTERN.view(TYPES[kind])
    nan = np.isnan(a.astype(np.float64))
    for wide in ("f32", "f64"):
        widened = cvt(wide, kind)(a)
        assert widened.dtype == TYPES[wide]
        assert np.array_equal(widened, a.astype(np.float64), equal_nan=True)
        for rounding in DIRECTIONS:
            back = cvt(kind, wide, rounding=rounding)(widened).view(np.uint16)
            assert np.array_equal(back[~nan], EVERY_PATTERN[~nan])
            assert (back[nan] == 0x7FFF).all()


@pytest.mark.parametrize("rounding", list(INTEGRAL))
@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_every_16_bit_value_becomes_an_integer_with_clamping_and_the_prescribed_nan(
    kind: str, rounding: str
) -> None:
    a = EVERY_PATTERN.view(TYPES[kind])
    wide = a.astype(np.float64)
    for name in INTEGERS:
        limits = np.iinfo(TYPES[name])
        got = cvt(name, kind, rounding=rounding)(a)
        integral = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[rounding](wide)
        inside = (integral >= float(limits.min)) & (integral < float(limits.max) + 1)
        # 64-bit integers that a 16-bit type can hold have few bits: float64 compares them exactly
        assert np.array_equal(got[inside].astype(np.float64), integral[inside] + 0.0)
        assert (got[integral > 2.0**64] == limits.max).all()
        assert (got[(integral > float(limits.max)) & ~inside] == limits.max).all()
        assert (got[integral < float(limits.min)] == limits.min).all()
        nan = 1 << 63 if limits.bits == 64 else 0
        assert (got.view(f"u{got.itemsize}")[np.isnan(wide)] == nan).all()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.floats(width=32) | st.integers(-(2**66), 2**66).map(lambda n: float(np.float32(n / 4))), min_size=1
    )
)
def test_float32_becomes_every_integer_type_as_exact_arithmetic_says(values: list[float]) -> None:
    for name, (rounding, integral) in itertools.product(INTEGERS, INTEGRAL.items()):
        limits = np.iinfo(TYPES[name])
        nan = 0 if limits.bits < 64 else int(np.uint64(1 << 63).astype(TYPES[name]))
        for source in ("f32", "f64"):
            if source == "f64" and limits.bits < 64:
                nan = int(np.array([1 << (limits.bits - 1)], np.uint64).astype(TYPES[name])[0])
            got = cvt(name, source, rounding=rounding)(np.array(values, TYPES[source]))
            for x, n in zip(values, got.tolist(), strict=True):
                if math.isnan(x):
                    assert n == nan
                elif math.isinf(x):
                    assert n == (limits.max if x > 0 else limits.min)
                else:
                    assert n == min(max(integral(Fraction(x)), limits.min), limits.max)


@pytest.mark.parametrize("to", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("source", INTEGERS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_integers_become_floating_point_numbers_with_one_rounding(
    source: str, to: str, data: st.DataObject
) -> None:
    limits = np.iinfo(TYPES[source])
    few_bits = st.builds(
        lambda m, e, d: (m << e) + d, st.integers(0, 2**12), st.integers(0, 52), st.integers(-1, 1)
    )
    within = st.integers(limits.min, limits.max) | few_bits.map(lambda n: min(n, limits.max))
    if limits.min == 0:
        within = within.map(abs)
    within = within.map(lambda n: max(min(n, limits.max), limits.min))
    integers = data.draw(st.lists(within, min_size=1, max_size=8))
    a = np.array(integers, TYPES[source])
    precision, largest = {"f16": (11, 15), "bf16": (8, 127), "f32": (24, 127), "f64": (53, 1023)}[to]
    for rounding in DIRECTIONS:
        got = cvt(to, source, rounding=rounding)(a).astype(np.float64).tolist()
        for n, y in zip(integers, got, strict=True):
            unit = 1 << max(abs(n).bit_length() - precision, 0)
            pick: dict[str, Callable[[Fraction], int]] = {
                "rn": round,
                "rz": math.trunc,
                "rm": math.floor,
                "rp": math.ceil,
            }
            want = float(pick[rounding](Fraction(n, unit)) * unit)
            limit = (2 - 2.0 ** (1 - precision)) * 2.0**largest
            if abs(want) > limit:
                inwards = rounding == "rz" or rounding == ("rm" if n > 0 else "rp")
                want = math.copysign(limit if inwards else math.inf, n)
            assert y == want


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("to", INTEGERS)
def test_integers_wrap_or_with_sat_clamp(to: str, source: str) -> None:
    limits = np.iinfo(TYPES[source])
    edges = (-(2**63), -129, -128, -1, 0, 1, 127, 128, 255, 65535, 2**31, 2**63, 2**64 - 1)
    integers = [n for n in edges if limits.min <= n <= limits.max]
    a = np.array(integers, TYPES[source])
    bounds = np.iinfo(TYPES[to])
    wrapped = [(n - bounds.min) % (1 << bounds.bits) + bounds.min for n in integers]
    assert cvt(to, source)(a).tolist() == wrapped
    assert cvt(to, source, sat=True)(a).tolist() == [min(max(n, bounds.min), bounds.max) for n in integers]


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_tf32_keeps_ten_fraction_bits_and_breaks_ties_away_from_zero(x: float) -> None:
    a = np.array([x], np.float32)
    exact = Fraction(x)
    exponent = max(math.frexp(x)[1] - 1, -126)
    unit = Fraction(2) ** (exponent - 10)
    scaled = abs(exact) / unit
    want = {"rna": math.floor(scaled + Fraction(1, 2)), "rn": round(scaled), "rz": math.floor(scaled)}
    for rounding, integral in want.items():
        got = cvt("tf32", "f32", rounding=rounding)(a)
        assert got.view(np.uint32)[0] & 0x1FFF == 0
        magnitude = integral * unit
        assert abs(got[0]) == (float(magnitude) if magnitude < Fraction(2) ** 128 else math.inf)
        assert np.signbit(got[0]) == np.signbit(a[0])


def test_tf32_keeps_infinities_and_makes_nan_canonical() -> None:
    a = np.array([np.inf, -np.inf, np.nan], np.float32)
    for rounding in ("rna", "rn", "rz"):
        got = cvt("tf32", "f32", rounding=rounding)(a).view(np.uint32)
        assert got.tolist() == [0x7F800000, 0xFF800000, 0x7FFFFFFF]


@pytest.mark.parametrize("rounding", list(INTEGRAL))
@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_integer_rounding_within_a_type_gives_integral_values(kind: str, rounding: str) -> None:
    x = np.array([-2.5, -1.5, -0.5, -0.25, -0.0, 0.0, 0.5, 1.5, 2.5, 100.0, np.inf, -np.inf, np.nan])
    want = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[rounding](x)
    got = cvt(kind, kind, rounding=rounding)(x.astype(TYPES[kind])).astype(np.float64)
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(np.signbit(got[:-1]), np.signbit(want[:-1]))


def test_modifiers_flush_saturate_rectify_and_stay_finite() -> None:
    x = np.array([1e-40, -1e-40, -3.0, 0.25, 7.0, np.inf, -np.inf, np.nan], np.float32)
    saturated = cvt("f32", "f32", sat=True, ftz=True)(x)
    assert_bits(saturated, np.array([0, 0, 0, 0.25, 1, 1, 0, 0], np.float32))
    assert_bits(cvt("f32", "f32", ftz=True)(x)[:2], np.array([0.0, -0.0], np.float32))
    assert cvt("u32", "f32", rounding="rpi", ftz=True)(x)[:2].tolist() == [0, 0]
    assert cvt("u32", "f32", rounding="rpi")(x)[:2].tolist() == [1, 0]
    subnormal = np.array([0x0001, 0x8001], np.uint16).view(TYPES["bf16"])
    assert_bits(cvt("f32", "bf16", ftz=True)(subnormal), np.array([0.0, -0.0], np.float32))
    rectified = cvt("f16", "f32", rounding="rn", relu=True)(x).view(np.uint16)
    assert rectified.tolist() == [0, 0, 0, 0x3400, 0x4700, 0x7C00, 0, 0x7FFF]
    for to, largest in (("f16", 0x7BFF), ("bf16", 0x7F7F)):
        finite = cvt(to, "f32", rounding="rn", satfinite=True)(x).view(np.uint16)
        assert finite[5:].tolist() == [largest, largest | 0x8000, 0x7FFF]
        assert cvt(to, "f32", rounding="rn", sat=True)(x)[2:].astype(float).tolist() == [0, 0.25, 1, 1, 0, 0]


@pytest.mark.parametrize("to", ["f16", "bf16"])
def test_packed_conversion_puts_the_first_operand_into_the_upper_half(to: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=100).astype(np.float32) for _ in range(2))
    for rounding in ("rn", "rz"):
        single = cvt(to, "f32", rounding=rounding)
        packed = cvt_packed(f"{to}x2", rounding=rounding)(a, b)
        assert packed.dtype == np.uint32
        assert_bits((packed >> 16).astype(np.uint16), single(a).view(np.uint16))
        assert_bits((packed & 0xFFFF).astype(np.uint16), single(b).view(np.uint16))
    assert (cvt_packed(f"{to}x2", relu=True)(-np.abs(a), -np.abs(b)) == 0).all()


@pytest.mark.parametrize(
    ("to", "source", "modifiers"),
    [
        ("s32", "f32", {}),
        ("s32", "f32", {"rounding": "rn"}),
        ("f32", "s32", {}),
        ("f32", "s32", {"rounding": "rni"}),
        ("f16", "f32", {}),
        ("f32", "f16", {"rounding": "rn"}),
        ("f32", "f32", {"rounding": "rz"}),
        ("tf32", "f32", {}),
        ("tf32", "f64", {"rounding": "rna"}),
        ("f32", "tf32", {}),
        ("u8", "u16", {"rounding": "rni"}),
        ("f16", "f64", {"rounding": "rn", "ftz": True}),
        ("f32", "f64", {"rounding": "rn", "relu": True}),
        ("f32", "b32", {}),
    ],
)
def test_combinations_that_ptx_does_not_have_are_refused(
    to: str, source: str, modifiers: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"^cvt\."):
        cvt(to, source, **modifiers)
