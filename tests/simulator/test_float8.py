"""Floats of eight bits against ml_dtypes and exact rationals."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DTYPES = {"e4m3": np.dtype(ml_dtypes.float8_e4m3fn), "e5m2": np.dtype(ml_dtypes.float8_e5m2)}
KINDS = pytest.mark.parametrize("kind", sorted(DTYPES))
BYTES = np.arange(256, dtype=np.uint8)
drawn = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def numbers(kind):
    """Return all finite numbers of a format, and their bytes."""
    values = BYTES.view(DTYPES[kind]).astype(np.float64)
    return values[np.isfinite(values)], BYTES[np.isfinite(values)]


def nearest(x, kind, relu=False):
    """Return the byte of the nearest number, at ties the even one: by looking at all of them."""
    if np.isnan(x):
        return 0x7F
    if relu and np.signbit(x):
        return 0
    values, names = numbers(kind)
    size = abs(float(x))
    positive = [
        (Fraction(v), int(n)) for v, n in zip(values.tolist(), names.tolist(), strict=True) if n < 128
    ]
    if size >= positive[-1][0]:
        found = positive[-1][1]
    else:
        found = min(positive, key=lambda each: (abs(each[0] - Fraction(size)), each[1] & 1))[1]
    return found | (0x80 if np.signbit(x) else 0)


FLOATS = st.floats(width=32) | st.floats(-512, 512, width=32) | st.floats(-(2**-5), 2**-5, width=32)


@KINDS
@drawn
@given(values=st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=32))
def test_floats_become_the_nearest_number_of_eight_bits(evaluate, kind, values):
    a, b = (np.array(column, np.float32) for column in zip(*values, strict=True))
    for relu in (False, True):
        spelling = f"cvt.rn.satfinite{'.relu' * relu}.{kind}x2.f32"
        got = evaluate(spelling, np.uint16, a, b)
        high, low = ([nearest(x, kind, relu) for x in column] for column in (a, b))
        assert got.tolist() == [x << 8 | y for x, y in zip(high, low, strict=True)]


@KINDS
def test_every_half_becomes_the_nearest_number_of_eight_bits(evaluate, kind):
    halves = np.arange(2**16, dtype=np.uint16)
    pairs = halves.view(np.uint32)
    got = evaluate(f"cvt.rn.satfinite.{kind}x2.f16x2", np.uint16, pairs).view(np.uint8)
    values = halves.view(np.float16)
    largest = float(ml_dtypes.finfo(DTYPES[kind]).max)
    with np.errstate(invalid="ignore"):
        want = (
            np.clip(values.astype(np.float32), -largest, largest).astype(DTYPES[kind]).view(np.uint8).copy()
        )
    want[np.isnan(values)] = 0x7F
    assert np.array_equal(got, want)


@KINDS
def test_numbers_of_eight_bits_become_halves_exactly(evaluate, kind):
    pairs = BYTES.view(np.uint16)
    got = evaluate(f"cvt.rn.f16x2.{kind}x2", np.uint32, pairs).view(np.float16)
    assert np.array_equal(got, BYTES.view(DTYPES[kind]).astype(np.float16), equal_nan=True)
    relu = evaluate(f"cvt.rn.relu.f16x2.{kind}x2", np.uint32, pairs).view(np.float16)
    assert not np.signbit(relu).any()
    assert np.array_equal(relu[:128], got[:128], equal_nan=True)


@drawn
@given(rows=st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1) | st.integers(-300, 300)] * 3), min_size=1))
def test_integers_are_clamped_and_packed(evaluate, rows):
    a, b, c = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    for type_, low, high in (("u8", 0, 255), ("s8", -128, 127)):
        got = evaluate(f"cvt.pack.sat.{type_}.s32.b32", np.uint32, a, b, c)
        x, y = (np.clip(v, low, high).astype(int) & 0xFF for v in (a, b))
        assert got.tolist() == (((c.astype(int) << 16) | x << 8 | y) & 0xFFFFFFFF).tolist()
    got = evaluate("cvt.pack.sat.s16.s32", np.uint32, a, b)
    x, y = (np.clip(v, -32768, 32767).astype(int) & 0xFFFF for v in (a, b))
    assert got.tolist() == (x << 16 | y).tolist()
