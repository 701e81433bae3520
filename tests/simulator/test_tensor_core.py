"""``mma`` of the simulated device against a scalar model in exact rationals."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaugeblock.gpu.simulator.numbers.tensor_core import Model, fraction_bits, mma

Array = npt.NDArray[Any]
Operand = Literal["f16", "bf16", "tf32"]
OPERANDS: dict[Operand, tuple[np.dtype[Any], int]] = {  # dtype, smallest exponent
    "f16": (np.dtype(np.float16), -14),
    "bf16": (np.dtype(ml_dtypes.bfloat16), -126),
    "tf32": (np.dtype(np.float32), -126),
}


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def make(operand: Operand, values: Array) -> Array:
    """Return values as operands of a tensor core."""
    a = values.astype(np.float32).astype(OPERANDS[operand][0])
    return (a.view(np.uint32) & 0xFFFFE000).view(np.float32) if operand == "tf32" else a


def wide_range(operand: Operand, rng: np.random.Generator, shape: tuple[int, ...], spread: int) -> Array:
    """Return operands of very different magnitude, with some zeros."""
    values = np.ldexp(rng.normal(size=shape), rng.integers(-spread, spread + 1, shape))
    return make(operand, values * (rng.random(shape) > 0.1))


def exponent(x: float, smallest: int) -> int:
    """Return the exponent field of a nonzero number."""
    return max(math.frexp(x)[1] - 1, smallest)


def truncating_sum(a: list[float], b: list[float], c: float, smallest: int, bits: int) -> float:
    """Return c + Σ ab as one tensor-core instruction computes it, from the description of the model."""
    exponents = [exponent(x, smallest) + exponent(y, smallest) for x, y in zip(a, b, strict=True) if x * y]
    exponents += [exponent(c, -126)] if c else []
    unit = Fraction(2) ** (max(exponents, default=0) - bits)
    terms = [Fraction(c), *(Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True))]
    total = sum(math.trunc(term / unit) for term in terms) * unit
    if not total:
        return 0.0
    last = Fraction(2) ** (exponent(float(total), -126) - 23)
    return float(math.trunc(total / last) * last)


@pytest.mark.parametrize("bits", [23, 24, 25])
@pytest.mark.parametrize("operand", list(OPERANDS))
def test_the_truncating_model_equals_its_scalar_description(operand: Operand, bits: int) -> None:
    rng = np.random.default_rng(bits)
    smallest = OPERANDS[operand][1]
    for spread in (0, 4, 14):
        a = wide_range(operand, rng, (2, 4, 8), spread)
        b = wide_range(operand, rng, (2, 8, 3), spread)
        c = np.ldexp(rng.normal(size=(2, 4, 3)), rng.integers(-spread, spread + 1, (2, 4, 3))).astype(
            np.float32
        )
        got = mma(a, b, c, operand=operand, bits=bits)
        rows, columns = a.astype(np.float64), b.astype(np.float64)
        for i, m, n in np.ndindex(c.shape):
            want = truncating_sum(
                rows[i, m].tolist(), columns[i, :, n].tolist(), float(c[i, m, n]), smallest, bits
            )
            assert got[i, m, n] == want


@pytest.mark.parametrize("operand", list(OPERANDS))
def test_both_models_are_exact_on_small_integers(operand: Operand) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-15, 16, shape) for shape in ((300, 16, 16), (300, 16, 8)))
    c = rng.integers(-1000, 1000, (300, 16, 8))
    want = (a @ b + c).astype(np.float32)
    models: tuple[Model, ...] = ("truncating", "exact")
    for model in models:
        got = mma(make(operand, a), make(operand, b), c.astype(np.float32), operand=operand, model=model)
        assert got.dtype == np.float32
        assert np.array_equal(got, want)


@pytest.mark.parametrize("operand", list(OPERANDS))
def test_the_exact_model_rounds_the_exact_sum_once(operand: Operand) -> None:
    rng = np.random.default_rng(1)
    a, b = wide_range(operand, rng, (3, 8, 16), 12), wide_range(operand, rng, (3, 16, 4), 12)
    a[:, :, 8:], b[:, 8:] = -a[:, :, :8], b[:, :8] * (1 + rng.integers(0, 2, (3, 8, 4))).astype(b.dtype)
    c = rng.normal(size=(3, 8, 4)).astype(np.float32) * (rng.random((3, 8, 4)) > 0.5).astype(np.float32)
    got = mma(a, b, c, operand=operand, model="exact")
    rows, columns = a.astype(np.float64), b.astype(np.float64)
    for i, m, n in np.ndindex(c.shape):
        pairs = zip(rows[i, m].tolist(), columns[i, :, n].tolist(), strict=True)
        exact = sum((Fraction(x) * Fraction(y) for x, y in pairs), Fraction(float(c[i, m, n])))
        got_here = got[i, m, n]
        for neighbour in (
            np.nextafter(got_here, np.float32(-np.inf)),
            np.nextafter(got_here, np.float32(np.inf)),
        ):
            assert abs(Fraction(float(got_here)) - exact) <= abs(Fraction(float(neighbour)) - exact)


@settings(max_examples=100, deadline=None)
@given(st.integers(-20, 20), st.integers(-46, -24), st.sampled_from([1, -1]), st.booleans())
def test_the_exact_model_settles_ties_by_what_float64_cannot_see(
    scale: int, tiny: int, sign: int, odd: bool
) -> None:
    # c + half a unit of c + something beyond float64's reach
    c = np.full((1, 1, 1), math.ldexp(2**23 + odd, scale), np.float32)
    a = make("bf16", np.array([[[math.ldexp(1, scale - 1), math.ldexp(sign, tiny + scale - 40), 0.0]]]))
    b = make("bf16", np.ones((1, 3, 1)))
    got = mma(a, b, c, operand="bf16", model="exact").item()
    assert got == math.ldexp(2**23 + odd + (sign > 0), scale)


def test_alignment_cuts_off_what_lies_below_the_fraction_bits() -> None:
    a, b = np.ones((1, 1, 4), np.float16), np.full((1, 4, 1), 2.0**-12, np.float16)
    for bits in (23, 24, 25):
        kept = mma(a, b, np.full((1, 1, 1), 2.0 ** (bits - 12), np.float32), operand="f16", bits=bits).item()
        lost = mma(a, b, np.full((1, 1, 1), 2.0 ** (bits - 11), np.float32), operand="f16", bits=bits).item()
        assert lost == 2.0 ** (bits - 11)
        assert kept == math.trunc((2.0 ** (bits - 12) + 4 * 2.0**-12) * 2.0 ** (35 - bits)) * 2.0 ** (
            bits - 35
        )


def test_long_sums_go_block_by_block() -> None:
    rng = np.random.default_rng(3)
    a, b = wide_range("f16", rng, (5, 16, 32), 3), wide_range("f16", rng, (5, 32, 8), 3)
    c = rng.normal(size=(5, 16, 8)).astype(np.float32)
    by_hand = c
    for k in range(0, 32, 8):
        by_hand = mma(a[:, :, k : k + 8], b[:, k : k + 8], by_hand, operand="f16")
    assert np.array_equal(mma(a, b, c, operand="f16", block=8), by_hand)
    assert not np.array_equal(mma(a, b, c, operand="f16"), by_hand)


@pytest.mark.parametrize("model", ["truncating", "exact"])
def test_the_error_stays_within_the_declared_bound(model: Any) -> None:
    rng = np.random.default_rng(4)
    k, bits = 16, 24
    a, b = (
        rng.uniform(0, 1, (200, 16, k)).astype(np.float16),
        rng.uniform(0, 1, (200, k, 8)).astype(np.float16),
    )
    c = rng.uniform(0, 1, (200, 16, 8)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64) + c
    error = np.abs(mma(a, b, c, operand="f16", bits=bits, model=model) - exact)
    assert (error <= ((k + 1) * 2.0**-bits + 2.0**-23) * exact).all()


@pytest.mark.parametrize("model", ["truncating", "exact"])
@pytest.mark.parametrize("operand", list(OPERANDS))
def test_nan_and_infinities_follow_ieee_arithmetic(operand: Operand, model: Any) -> None:
    a, b, c = (
        make(operand, np.ones((7, 16, 8))),
        make(operand, np.ones((7, 8, 8))),
        np.ones((7, 16, 8), np.float32),
    )
    a[0, 2, 3] = np.nan
    a[1, 2, 3] = np.inf
    a[2, 2, 3], b[2, 3, 4] = np.inf, 0
    a[3, 2, 3], c[3, 2, 4] = np.inf, -np.inf
    c[4, 5, 6] = np.nan
    c[5, 5, 6] = -np.inf
    got = mma(a, b, c, operand=operand, model=model)
    want = np.full((7, 16, 8), 9, np.float32)
    want[0, 2] = np.nan
    want[1, 2] = np.inf
    want[2] = a[2].astype(np.float32) @ b[2].astype(np.float32) + 1
    want[3, 2], want[3, 2, 4] = np.inf, np.nan
    want[4, 5, 6], want[5, 5, 6] = np.nan, -np.inf
    assert np.array_equal(got, want, equal_nan=True)
    assert (got.view(np.uint32)[np.isnan(got)] == 0x7FFFFFFF).all()


@pytest.mark.parametrize("model", ["truncating", "exact"])
def test_overflow_gives_infinity_and_zero_sums_are_positive(model: Any) -> None:
    a = make("bf16", np.array([[[2.0**100, 2.0**100]], [[-0.0, 0.0]], [[1.0, -1.0]]]))
    b = make("bf16", np.array([[[2.0**27], [2.0**27]], [[1.0], [-1.0]], [[3.0], [3.0]]]))
    got = mma(a, b, np.zeros((3, 1, 1), np.float32), operand="bf16", model=model).ravel()
    assert got.tolist() == [np.inf, 0.0, 0.0]
    assert not np.signbit(got).any()


@pytest.mark.parametrize("model", ["truncating", "exact"])
def test_a_float16_accumulator_rounds_the_sum_to_float16(model: Any) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(50, 16, 8)).astype(np.float16), rng.normal(size=(50, 8, 8)).astype(np.float16)
    c = rng.normal(size=(50, 16, 8)).astype(np.float16)
    got = mma(a, b, c, operand="f16", model=model)
    exact = a.astype(np.float64) @ b.astype(np.float64) + c
    assert got.dtype == np.float16
    assert (np.abs(got - exact) <= np.spacing(np.abs(exact).astype(np.float16)) * 0.5 + 2.0**-18).all()
    assert mma(a * 0 + 200, b * 0 + 200, c, operand="f16", model=model)[0, 0, 0] == np.inf


def test_tf32_operands_lose_their_last_thirteen_bits() -> None:
    a, b = np.full((1, 1, 1), 1 + 2.0**-11, np.float32), np.ones((1, 1, 1), np.float32)
    assert mma(a, b, np.zeros((1, 1, 1), np.float32), operand="tf32").item() == 1.0


def test_operands_stay_unchanged_and_any_number_of_tiles_works() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(300, 16, 8)).astype(np.float16), rng.normal(size=(300, 8, 8)).astype(np.float16)
    c = rng.normal(size=(300, 16, 8)).astype(np.float32)
    before: list[Array] = [a.copy(), b.copy(), c.copy()]
    together = mma(a, b, c, operand="f16")
    alone = np.concatenate([mma(a[i : i + 1], b[i : i + 1], c[i : i + 1], operand="f16") for i in range(300)])
    assert np.array_equal(together, alone)
    operands: list[Array] = [a, b, c]
    for array, copy in zip(operands, before, strict=True):
        assert np.array_equal(array, copy)
    assert mma(a[:0], b[:0], c[:0], operand="f16").shape == (0, 16, 8)


def test_fraction_bits_grow_with_the_generations() -> None:
    generations = [(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
    assert [fraction_bits(capability) for capability in generations] == [23, 24, 24, 24, 24, 25, 25, 25]
