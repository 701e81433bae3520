"""Floating-point instructions as PTX spells them reach the right function with the right modifiers.

The functions themselves are held against exact arithmetic in test_floating.py and its neighbours.
"""

import math
import operator

import ml_dtypes
import numpy as np
import pytest

NAN, INF = math.nan, math.inf
X = np.array([0.0, -0.0, 1.0, -1.5, 2.5, NAN, INF, -INF, 1e-40, -1e-45, 3e38, 7.0], np.float32)
A, B = (x.ravel() for x in np.meshgrid(X, X))


def same(got, want):
    """Equal values, NaN where NaN, and the same signs of zero."""
    want = np.asarray(want, got.dtype)
    with np.errstate(invalid="ignore"):
        equal = (got == want) & (np.signbit(got) == np.signbit(want))
    return bool((equal | (np.isnan(got) & np.isnan(want))).all())


@pytest.mark.parametrize(
    ("name", "function"),
    [("add", operator.add), ("sub", operator.sub), ("mul", operator.mul), ("div.rn", operator.truediv)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_is_ieee(evaluate, name, function, dtype):
    a, b = A.astype(dtype), B.astype(dtype)
    with np.errstate(all="ignore"):
        want = function(a, b)
    assert same(evaluate(f"{name}.f{8 * a.itemsize}", dtype, a, b), want)


def test_flushing_and_saturating_are_modifiers(evaluate):
    small = np.array([1e-40, -1e-40, 1e-38], np.float32)
    one = np.ones(3, np.float32)
    assert same(evaluate("mul.ftz.f32", np.float32, small, one), [0.0, -0.0, 0.0])
    assert same(evaluate("mul.f32", np.float32, small, one), small)
    values = np.array([-1, 0.25, 7, NAN], np.float32)
    assert same(evaluate("add.sat.f32", np.float32, values, np.zeros(4, np.float32)), [0, 0.25, 1, 0])


def test_rounding_is_a_modifier(evaluate):
    one, tiny = np.ones(1, np.float32), np.full(1, 2.0**-30, np.float32)
    up = np.nextafter(np.float32(1), np.float32(2))
    down = np.nextafter(np.float32(1), np.float32(0))
    for name, sum_, difference in (("rn", 1, 1), ("rz", 1, down), ("rm", 1, down), ("rp", up, 1)):
        assert evaluate(f"add.{name}.f32", np.float32, one, tiny)[0] == sum_
        assert evaluate(f"sub.{name}.f32", np.float32, one, tiny)[0] == difference
        assert evaluate(f"fma.{name}.f32", np.float32, one, one, tiny)[0] == sum_


ORDERED = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", list(ORDERED))
def test_ordered_comparisons_are_false_for_nan_and_unordered_ones_true(evaluate, name, dtype):
    with np.errstate(over="ignore"):
        a, b = A.astype(dtype), B.astype(dtype)
    type_ = "bf16" if dtype is ml_dtypes.bfloat16 else f"f{8 * a.itemsize}"
    bits = f"u{a.itemsize}"
    wide = list(zip(a.astype(float).tolist(), b.astype(float).tolist(), strict=True))
    unordered = [math.isnan(x) or math.isnan(y) for x, y in wide]
    plain = [getattr(operator, name)(x, y) for x, y in wide]
    ordered = evaluate(f"setp.{name}.{type_}", np.bool_, a.view(bits), b.view(bits))
    loose = evaluate(f"setp.{name}u.{type_}", np.bool_, a.view(bits), b.view(bits))
    assert ordered.tolist() == [p and not u for p, u in zip(plain, unordered, strict=True)]
    assert loose.tolist() == [p or u for p, u in zip(plain, unordered, strict=True)]


def test_tests_for_numbers_and_nan(evaluate):
    number = ~(np.isnan(A) | np.isnan(B))
    assert evaluate("setp.num.f32", np.bool_, A, B).tolist() == number.tolist()
    assert evaluate("setp.nan.f32", np.bool_, A, B).tolist() == (~number).tolist()
    assert evaluate("testp.infinite.f32", np.bool_, X).tolist() == np.isinf(X).tolist()
    assert evaluate("testp.notanumber.f32", np.bool_, X).tolist() == np.isnan(X).tolist()


def test_a_comparison_combines_with_a_predicate(evaluate):
    p = np.resize([True, False], len(A))
    less = A < B
    for name, function in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
        got = evaluate(f"setp.lt.{name}.f32", np.bool_, A, B, p)
        assert got.tolist() == function(less, p).tolist()


def test_minimum_and_maximum_treat_nan_as_asked(evaluate):
    low, high = np.fmin(A, B), np.fmax(A, B)
    assert np.array_equal(evaluate("min.f32", np.float32, A, B), low, equal_nan=True)
    assert np.array_equal(evaluate("max.f32", np.float32, A, B), high, equal_nan=True)
    assert np.array_equal(evaluate("min.NaN.f32", np.float32, A, B), np.minimum(A, B), equal_nan=True)
    assert np.array_equal(evaluate("max.NaN.f32", np.float32, A, B), np.maximum(A, B), equal_nan=True)


def test_selection_takes_bits_as_they_are(evaluate):
    p = np.resize([True, False, False], len(A))
    got = evaluate("selp.f32", np.float32, A, B, p)
    assert same(got, np.where(p, A, B))
    got = evaluate("slct.f32.f32", np.float32, A, B, np.resize(X, len(A)))
    with np.errstate(invalid="ignore"):
        assert same(got, np.where(np.resize(X, len(A)) >= 0, A, B))


def test_set_makes_numbers_of_comparisons(evaluate):
    less = A < B
    assert evaluate("set.lt.f32.f32", np.float32, A, B).tolist() == less.astype(np.float32).tolist()
    assert evaluate("set.lt.u32.f32", np.uint32, A, B).tolist() == np.where(less, 0xFFFFFFFF, 0).tolist()


def test_signs_are_changed_copied_and_removed(evaluate):
    assert same(evaluate("neg.f32", np.float32, X), -X)
    assert same(evaluate("abs.f32", np.float32, X), np.abs(X))
    assert same(evaluate("copysign.f32", np.float32, A, B), np.copysign(B, A))


HALF = np.array([0, -0.0, 1, 1.5, -2, 100, 65504, 6e-8, 0.333, -7.25], np.float16)


@pytest.mark.parametrize("name", ["add", "sub", "mul"])
def test_packed_halves_are_two_independent_lanes(evaluate, name):
    pairs = np.stack(np.meshgrid(HALF, HALF), -1).reshape(-1, 2)
    a, b = np.ascontiguousarray(pairs), np.ascontiguousarray(pairs[::-1])
    got = evaluate(f"{name}.f16x2", np.uint32, a.view(np.uint32)[:, 0], b.view(np.uint32)[:, 0])
    with np.errstate(over="ignore"):
        want = getattr(operator, name)(a, b)
    assert same(got[:, None].view(np.float16), want)


def test_packed_fused_products_use_both_halves(evaluate):
    a = np.array([[2, 3], [0.5, -1]], np.float16).view(np.uint32)[:, 0]
    b = np.array([[5, 7], [4, 4]], np.float16).view(np.uint32)[:, 0]
    c = np.array([[1, -1], [0.25, 9]], np.float16).view(np.uint32)[:, 0]
    got = evaluate("fma.rn.f16x2", np.uint32, a, b, c)[:, None].view(np.float16)
    assert got.tolist() == [[11, 20], [2.25, 5]]
    got = evaluate("fma.rn.relu.f16x2", np.uint32, a, b, c ^ 0x80008000)[:, None].view(np.float16)
    assert got.tolist() == [[9, 22], [1.75, 0]]


@pytest.mark.parametrize(
    ("to", "from_", "given", "want"),
    [
        ("rn.f32.s32", np.int32, [16777217, -5], np.array([16777216, -5], np.float32)),
        ("rzi.s32.f32", np.float32, [2.9, -2.9], np.array([2, -2], np.int32)),
        ("rni.s32.f32", np.float32, [2.5, -3.5], np.array([2, -4], np.int32)),
        ("sat.f32.f32", np.float32, [-1, 0.5], np.array([0, 0.5], np.float32)),
        ("rn.f16.f32", np.float32, [1 / 3, 1e6], np.array([1 / 3, INF], np.float16)),
        ("f32.f16", np.float16, [1 / 3, -0.0], np.array([1 / 3, -0.0], np.float16).astype(np.float32)),
        ("f64.f32", np.float32, [0.1, INF], np.array([0.1, INF], np.float32).astype(np.float64)),
        ("rn.f32.f64", np.float64, [0.1, 1e300], np.array([0.1, INF], np.float32)),
        ("rmi.f32.f32", np.float32, [-1.5, 1.5], np.array([-2, 1], np.float32)),
        ("s64.s32", np.int32, [-7, 7], np.array([-7, 7], np.int64)),
        ("u64.u32", np.uint32, [2**32 - 1, 7], np.array([2**32 - 1, 7], np.uint64)),
        ("u32.u64", np.uint64, [2**40 + 3, 7], np.array([3, 7], np.uint32)),
        ("u32.u16", np.uint16, [65535, 7], np.array([65535, 7], np.uint32)),
        ("s32.s16", np.int16, [-2, 7], np.array([-2, 7], np.int32)),
        ("s32.s8", np.int32, [0x1FF, 0x17F], np.array([-1, 127], np.int32)),
        ("u32.u8", np.int32, [0x1FF, 0x17F], np.array([255, 127], np.uint32)),
        ("sat.u8.s32", np.int32, [-5, 300], np.array([0, 255], np.uint16)),
    ],
)
def test_conversions_are_spelled_with_types_and_modifiers(evaluate, to, from_, given, want):
    with np.errstate(over="ignore"):
        got = evaluate(f"cvt.{to}", want.dtype, np.array(given, from_))
    assert np.array_equal(got, want)


def test_two_floats_are_packed_upper_half_first(evaluate):
    a, b = np.array([1, 2], np.float32), np.array([-3, 0.5], np.float32)
    got = evaluate("cvt.rn.f16x2.f32", np.uint32, a, b)[:, None].view(np.float16)
    assert got.tolist() == [[-3, 1], [0.5, 2]]
    got = evaluate("cvt.rn.bf16x2.f32", np.uint32, a, b)[:, None].view(np.uint16)
    assert got.astype(np.uint32).tolist() == [[0xC040, 0x3F80], [0x3F00, 0x4000]]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("ex2.approx", np.exp2),
        ("lg2.approx", np.log2),
        ("rcp.approx", np.reciprocal),
        ("sqrt.approx", np.sqrt),
        ("rsqrt.approx", lambda x: 1 / np.sqrt(x)),
        ("sin.approx", np.sin),
        ("cos.approx", np.cos),
        ("tanh.approx", np.tanh),
        ("sqrt.rn", np.sqrt),
        ("rcp.rn", np.reciprocal),
    ],
)
def test_functions_of_one_argument_are_near_the_truth(evaluate, name, function):
    x = np.linspace(0.1, 3, 50).astype(np.float32)
    got = evaluate(f"{name}.f32", np.float32, x)
    want = function(x.astype(np.float64))
    assert (np.abs(got - want) <= 2.0**-10 * np.abs(want)).all()


def test_words_are_split_and_joined(evaluate, ptx):
    x = np.array([0x1111222233334444, 0xAAAABBBBCCCCDDDD], np.uint64)
    out = np.zeros(2, np.uint64)
    ptx(
        """
        .visible .entry k(.param .u64 x, .param .u64 y) {
        .reg .b64 %d<4>; .reg .b32 %lo, %hi, %i; .reg .b16 %h<4>;
        mov.u32 %i, %tid.x;
        ld.param.u64 %d1, [x]; ld.param.u64 %d2, [y];
        mad.wide.u32 %d1, %i, 8, %d1; mad.wide.u32 %d2, %i, 8, %d2;
        ld.global.u64 %d3, [%d1];
        mov.b64 {%lo, %hi}, %d3;
        mov.b32 {%h0, %h1}, %lo; mov.b32 {%h2, %h3}, %hi;
        mov.b32 %lo, {%h3, %h2}; mov.b32 %hi, {%h1, %h0};
        mov.b64 %d3, {%lo, %hi};
        st.global.u64 [%d2], %d3; ret; }
        """,
        1,
        2,
        x,
        out,
    )
    assert [f"{v:x}" for v in out.tolist()] == ["4444333322221111", "ddddccccbbbbaaaa"]
