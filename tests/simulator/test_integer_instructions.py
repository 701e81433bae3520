"""Integer instructions against Python's integers, one lane at a time."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EDGES32 = np.array(
    [0, 1, 2, 3, 5, 31, 32, 33, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000,
     0x80000001, 0xFFFFFFFE, 0xFFFFFFFF, 0x12345678, 0xDEADBEEF],
    np.uint32,
)  # fmt: skip
RANDOM = np.random.default_rng(7)


def samples(bits):
    wide = np.concatenate([EDGES32.astype(np.uint64), (EDGES32.astype(np.uint64) << 32) | EDGES32[::-1]])
    wide = np.concatenate([wide, RANDOM.integers(0, 2**64, 50, np.uint64)])
    values = wide.astype(f"u{bits // 8}")
    a, b = np.meshgrid(values, values[:40])
    return a.ravel(), b.ravel()


def signed(x, bits):
    x = int(x) & ((1 << bits) - 1)
    return x - (1 << bits) if x >> (bits - 1) else x


def check(evaluate, name, bits, function, result_bits=None, count=2, is_signed=None):
    result_bits = result_bits or bits
    a, b = samples(bits)
    is_signed = f"s{bits}" in name if is_signed is None else is_signed
    read = (lambda x: signed(x, bits)) if is_signed else int
    operands = [a, b, np.roll(a, 5)][:count]
    got = evaluate(name, f"u{result_bits // 8}", *operands)
    want = [function(*map(read, row)) & ((1 << result_bits) - 1) for row in zip(*operands, strict=True)]
    assert got.tolist() == want


def truncated(a, b):
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


@pytest.mark.parametrize("type_", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_sums_products_and_extremes_wrap_at_the_width(evaluate, type_):
    bits = int(type_[1:])
    check(evaluate, f"add.{type_}", bits, lambda a, b: a + b)
    check(evaluate, f"sub.{type_}", bits, lambda a, b: a - b)
    check(evaluate, f"mul.lo.{type_}", bits, lambda a, b: a * b)
    check(evaluate, f"mul.hi.{type_}", bits, lambda a, b: (a * b) >> bits)
    check(evaluate, f"min.{type_}", bits, min)
    check(evaluate, f"max.{type_}", bits, max)
    check(evaluate, f"mad.lo.{type_}", bits, lambda a, b, c: a * b + c, count=3)


@pytest.mark.parametrize("type_", ["u16", "s16", "u32", "s32"])
def test_wide_products_keep_all_bits(evaluate, type_):
    bits = int(type_[1:])
    check(evaluate, f"mul.wide.{type_}", bits, lambda a, b: a * b, 2 * bits)


@pytest.mark.parametrize("type_", ["u16", "s16", "u32", "s32", "u64", "s64"])
def test_division_truncates_and_the_remainder_has_the_sign_of_the_dividend(evaluate, type_):
    bits = int(type_[1:])
    a, b = samples(bits)
    a, b = a[b != 0], b[b != 0]
    read = (lambda x: signed(x, bits)) if type_[0] == "s" else int
    quotient, remainder = (evaluate(f"{name}.{type_}", f"u{bits // 8}", a, b) for name in ("div", "rem"))
    pairs = [(read(x), read(y)) for x, y in zip(a, b, strict=True)]
    mask = (1 << bits) - 1
    assert quotient.tolist() == [truncated(x, y) & mask for x, y in pairs]
    assert remainder.tolist() == [(x - truncated(x, y) * y) & mask for x, y in pairs]


@pytest.mark.parametrize("bits", [32, 64])
def test_shifts_clamp_their_count(evaluate, bits):
    a, _ = samples(bits)
    count = np.resize(np.array([0, 1, 5, 31, 32, 33, 63, 64, 65, 255, 2**31], np.uint32), len(a))
    left = evaluate(f"shl.b{bits}", a.dtype, a, count)
    right = evaluate(f"shr.u{bits}", a.dtype, a, count)
    arithmetic = evaluate(f"shr.s{bits}", a.dtype, a, count)
    mask = (1 << bits) - 1
    rows = list(zip(a.tolist(), np.minimum(count, bits).tolist(), strict=True))
    assert left.tolist() == [(x << n) & mask for x, n in rows]
    assert right.tolist() == [x >> n for x, n in rows]
    assert arithmetic.tolist() == [(signed(x, bits) >> n) & mask for x, n in rows]


def test_funnel_shifts_move_bits_between_words(evaluate):
    a, b = samples(32)
    count = np.resize(np.arange(40, dtype=np.uint32), len(a))
    rows = list(zip(a.tolist(), b.tolist(), count.tolist(), strict=True))
    both = [(y << 32) | x for x, y, _ in rows]
    for mode, amount in (("wrap", lambda n: n % 32), ("clamp", lambda n: min(n, 32))):
        left = evaluate(f"shf.l.{mode}.b32", np.uint32, a, b, count)
        right = evaluate(f"shf.r.{mode}.b32", np.uint32, a, b, count)
        counts = [amount(n) for _, _, n in rows]
        assert left.tolist() == [(w << n) >> 32 & 0xFFFFFFFF for w, n in zip(both, counts, strict=True)]
        assert right.tolist() == [w >> n & 0xFFFFFFFF for w, n in zip(both, counts, strict=True)]


@pytest.mark.parametrize("bits", [32, 64])
def test_bits_are_counted_found_and_reversed(evaluate, bits):
    a, _ = samples(bits)
    values = a.tolist()
    assert evaluate(f"popc.b{bits}", np.uint32, a).tolist() == [x.bit_count() for x in values]
    assert evaluate(f"clz.b{bits}", np.uint32, a).tolist() == [bits - x.bit_length() for x in values]
    assert evaluate(f"brev.b{bits}", a.dtype, a).tolist() == [int(f"{x:0{bits}b}"[::-1], 2) for x in values]
    assert evaluate(f"bfind.u{bits}", np.uint32, a).tolist() == [
        (x.bit_length() - 1) & 0xFFFFFFFF for x in values
    ]
    smaller = [x if not x >> (bits - 1) else x ^ ((1 << bits) - 1) for x in values]
    found = evaluate(f"bfind.s{bits}", np.uint32, a).tolist()
    assert found == [(x.bit_length() - 1) & 0xFFFFFFFF for x in smaller]


def scalar_bfe(a, start, count, bits, is_signed):
    """The loop of the PTX manual."""
    start, count = start & 255, count & 255
    sign = 0
    if is_signed and count:
        sign = a >> min(start + count - 1, bits - 1) & 1
    result = 0
    for i in range(bits):
        bit = a >> (start + i) & 1 if i < count and start + i < bits else sign
        result |= bit << i
    return result


@pytest.mark.parametrize("type_", ["u32", "s32", "u64", "s64"])
def test_bit_fields_are_extracted_as_the_manual_says(evaluate, type_):
    bits = int(type_[1:])
    a = np.resize(samples(bits)[0], 600)
    start = RANDOM.integers(0, 80, len(a), np.uint32)
    count = RANDOM.integers(0, 80, len(a), np.uint32)
    got = evaluate(f"bfe.{type_}", a.dtype, a, start, count)
    rows = zip(a.tolist(), start.tolist(), count.tolist(), strict=True)
    assert got.tolist() == [scalar_bfe(x, s, n, bits, type_[0] == "s") for x, s, n in rows]


@pytest.mark.parametrize("bits", [32, 64])
def test_bit_fields_are_inserted(evaluate, bits):
    a, b = (x[:600] for x in samples(bits))
    start = RANDOM.integers(0, 80, len(a), np.uint32)
    count = RANDOM.integers(0, 80, len(a), np.uint32)
    got = evaluate(f"bfi.b{bits}", a.dtype, a, b, start, count)
    want = []
    for x, y, s, n in zip(a.tolist(), b.tolist(), start.tolist(), count.tolist(), strict=True):
        for i in range(n):
            if s + i < bits:
                y = y & ~(1 << (s + i)) | (x >> i & 1) << (s + i)
        want.append(y)
    assert got.tolist() == want


def test_bytes_are_permuted_with_and_without_sign(evaluate):
    a, b = samples(32)
    selector = RANDOM.integers(0, 2**16, len(a), np.uint32)
    got = evaluate("prmt.b32", np.uint32, a, b, selector)
    want = []
    for x, y, s in zip(a.tolist(), b.tolist(), selector.tolist(), strict=True):
        source = (y << 32 | x).to_bytes(8, "little")
        picked = [(source[s >> 4 * i & 7], s >> 4 * i & 8) for i in range(4)]
        want.append(
            int.from_bytes(bytes((255 if v & 128 else 0) if sign else v for v, sign in picked), "little")
        )
    assert got.tolist() == want


@pytest.mark.parametrize("table", [0x00, 0x80, 0x96, 0xE8, 0x1A, 0xFF])
def test_three_words_combine_by_a_truth_table(evaluate, table):
    a, b = samples(32)
    c = np.roll(a, 3)
    got = evaluate("lop3.b32", np.uint32, a, b, c, suffix=f", {table}")
    want = []
    for row in zip(a.tolist(), b.tolist(), c.tolist(), strict=True):
        word = 0
        for i in range(32):
            x, y, z = (v >> i & 1 for v in row)
            word |= (table >> (4 * x + 2 * y + z) & 1) << i
        want.append(word)
    assert got.tolist() == want


@pytest.mark.parametrize("type_", ["b16", "b32", "b64"])
def test_logic_is_bitwise(evaluate, type_):
    bits = int(type_[1:])
    check(evaluate, f"and.{type_}", bits, lambda a, b: a & b)
    check(evaluate, f"or.{type_}", bits, lambda a, b: a | b)
    check(evaluate, f"xor.{type_}", bits, lambda a, b: a ^ b)
    check(evaluate, f"not.{type_}", bits, lambda a: ~a, count=1)
    check(evaluate, f"cnot.{type_}", bits, lambda a: int(a == 0), count=1)


@pytest.mark.parametrize("type_", ["u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_comparisons_obey_the_sign_of_their_type(evaluate, type_, name):
    bits = int(type_[1:])
    a, b = samples(bits)
    read = (lambda x: signed(x, bits)) if type_[0] == "s" else int
    got = evaluate(f"setp.{name}.{type_}", np.bool_, a, b)
    method = f"__{name}__"
    assert got.tolist() == [getattr(read(x), method)(read(y)) for x, y in zip(a, b, strict=True)]


def test_signs_negate_and_absolute_values_wrap(evaluate):
    check(evaluate, "neg.s32", 32, lambda a: -a, count=1)
    check(evaluate, "abs.s32", 32, abs, count=1)
    check(evaluate, "sad.s32", 32, lambda a, b, c: c + abs(a - b), count=3)
    check(evaluate, "sad.u32", 32, lambda a, b, c: c + abs(a - b), count=3)


def test_24_bit_products_ignore_the_upper_byte(evaluate):
    check(evaluate, "mul24.lo.u32", 32, lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF))
    check(evaluate, "mul24.lo.s32", 32, lambda a, b: signed(a, 24) * signed(b, 24))


@pytest.mark.parametrize("kinds", ["u32.u32", "s32.s32", "s32.u32"])
def test_dot_products_of_bytes_take_each_operand_by_its_own_sign(evaluate, kinds):
    a, b = samples(32)
    c = np.roll(a, 9)
    got = evaluate(f"dp4a.{kinds}", np.uint32, a, b, c)
    want = []
    for x, y, z in zip(a.tolist(), b.tolist(), c.tolist(), strict=True):
        parts = [(x >> 8 * i & 255, y >> 8 * i & 255) for i in range(4)]
        first, second = (kind == "s32" for kind in kinds.split("."))
        total = sum((signed(p, 8) if first else p) * (signed(q, 8) if second else q) for p, q in parts)
        want.append((z + total) & 0xFFFFFFFF)
    assert got.tolist() == want


def test_carries_travel_through_a_chain_of_sums(ptx):
    a = np.array([0xFFFFFFFFFFFFFFFF, 0x00000000FFFFFFFF, 5, 0xFFFFFFFF00000000], np.uint64)
    b = np.array([1, 1, 7, 0xFFFFFFFFFFFFFFFF], np.uint64)
    total, difference = np.zeros(4, np.uint64), np.zeros(4, np.uint64)
    ptx(
        """
        .visible .entry k(.param .u64 a, .param .u64 b, .param .u64 s, .param .u64 d) {
        .reg .b64 %p<5>; .reg .b32 %r<10>; .reg .b32 %i;
        ld.param.u64 %p1, [a]; ld.param.u64 %p2, [b]; ld.param.u64 %p3, [s]; ld.param.u64 %p4, [d];
        mov.u32 %i, %tid.x;
        mad.wide.u32 %p1, %i, 8, %p1; mad.wide.u32 %p2, %i, 8, %p2;
        mad.wide.u32 %p3, %i, 8, %p3; mad.wide.u32 %p4, %i, 8, %p4;
        ld.global.v2.u32 {%r1, %r2}, [%p1]; ld.global.v2.u32 {%r3, %r4}, [%p2];
        add.cc.u32 %r5, %r1, %r3; addc.u32 %r6, %r2, %r4;
        sub.cc.u32 %r7, %r1, %r3; subc.u32 %r8, %r2, %r4;
        st.global.v2.u32 [%p3], {%r5, %r6}; st.global.v2.u32 [%p4], {%r7, %r8};
        ret; }
        """,
        1,
        4,
        a,
        b,
        total,
        difference,
    )
    assert np.array_equal(total, a + b)
    assert np.array_equal(difference, a - b)


@pytest.mark.parametrize("bits", [32, 64])
def test_carries_travel_through_products_that_are_added_up(ptx, bits):
    top = (1 << bits) - 1
    words = [(top, top, top, top), (top, 1, 2, 3), (1, top, top, top), (7, 9, 0, 0), (top, top, 0, 1)]
    x = np.array(words, f"u{bits // 8}")
    y = np.zeros((len(words), 2), x.dtype)
    ptx(
        f"""
        .visible .entry k(.param .u64 x, .param .u64 y) {{
        .reg .b64 %x, %y; .reg .b32 %i; .reg .b{bits} %a, %b, %c, %d;
        ld.param.u64 %x, [x]; ld.param.u64 %y, [y]; mov.u32 %i, %tid.x;
        mad.wide.u32 %x, %i, {bits // 2}, %x; mad.wide.u32 %y, %i, {bits // 4}, %y;
        ld.global.v2.u{bits} {{%a, %b}}, [%x]; ld.global.v2.u{bits} {{%c, %d}}, [%x+{bits // 4}];
        mad.lo.cc.u{bits} %c, %a, %b, %c; madc.hi.u{bits} %d, %a, %b, %d;
        st.global.v2.u{bits} [%y], {{%c, %d}}; ret; }}
        """,
        1,
        len(words),
        x,
        y,
    )
    for (a, b, c, d), (low, high) in zip(words, y.tolist(), strict=True):
        assert (high << bits | low) == (a * b + (d << bits | c)) % (1 << 2 * bits)


def test_the_nth_set_bit_is_found_upwards_and_downwards(evaluate):
    mask = np.array([0b10110, 0b10110, 0b10110, 0b10110, 0], np.uint32)
    base = np.array([0, 2, 4, 1, 0], np.uint32)
    offset = np.array([1, 2, -2, 0, 1], np.int32)
    assert evaluate("fns.b32", np.uint32, mask, base, offset).tolist() == [1, 4, 2, 1, 0xFFFFFFFF]


# Drawn by Hypothesis: many lanes an example, so that a run launches few kernels.

WORD = st.integers(0, 2**32 - 1) | st.sampled_from(EDGES32.tolist())
drawn = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
ROWS = st.lists(st.tuples(WORD, WORD, WORD), min_size=1, max_size=64)


def columns(rows, count=3):
    return [np.array(column, np.uint32) for column in list(zip(*rows, strict=True))[:count]]


def clamp(x, bits=32, is_signed=True):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)
    return min(max(x, low), high)


@drawn
@given(ROWS)
def test_saturating_sums_stop_at_the_ends_of_int32(evaluate, rows):
    functions = {
        "add.sat.s32": lambda a, b: a + b,
        "sub.sat.s32": lambda a, b: a - b,
        "mad.hi.sat.s32": lambda a, b, c: (a * b >> 32) + c,
    }
    for name, function in functions.items():
        count = function.__code__.co_argcount
        got = evaluate(name, np.uint32, *columns(rows, count))
        signs = [[signed(x, 32) for x in row[:count]] for row in rows]
        assert got.tolist() == [clamp(function(*row)) & 0xFFFFFFFF for row in signs]


@drawn
@given(st.lists(st.tuples(WORD, st.integers(0, 70), st.integers(0, 70)), min_size=1, max_size=64))
def test_masks_of_bits_and_numbers_of_few_bits(evaluate, rows):
    for mode, limit in (("clamp", lambda n: min(n, 32)), ("wrap", lambda n: n % 32)):
        _, start, width = columns(rows)
        ones = [((1 << limit(n)) - 1 << limit(at)) & 0xFFFFFFFF for _, at, n in rows]
        assert evaluate(f"bmsk.{mode}.b32", np.uint32, start, width).tolist() == ones
        a, _, width = columns(rows)
        low = [(x & (1 << limit(n)) - 1, limit(n)) for x, _, n in rows]
        assert evaluate(f"szext.{mode}.u32", np.uint32, a, width).tolist() == [x for x, _ in low]
        want = [signed(x, n) & 0xFFFFFFFF if n else 0 for x, n in low]
        assert evaluate(f"szext.{mode}.s32", np.uint32, a, width).tolist() == want


def parts(word, count, is_signed):
    size = 32 // count
    fields = [word >> size * i & (1 << size) - 1 for i in range(count)]
    return [signed(x, size) for x in fields] if is_signed else fields


def joined(values, bits):
    return sum((value & (1 << bits) - 1) << bits * i for i, value in enumerate(values))


LANES = {
    "vadd": lambda x, y: x + y,
    "vsub": lambda x, y: x - y,
    "vmin": min,
    "vmax": max,
    "vabsdiff": lambda x, y: abs(x - y),
    "vavrg": lambda x, y: (x + y + (x + y >= 0)) // 2,
}


@drawn
@given(ROWS, st.sampled_from(sorted(LANES)), st.sampled_from([2, 4]), *[st.sampled_from("us")] * 3)
def test_parts_of_words_are_combined_clamped_or_added(evaluate, rows, name, count, kind, left, right):
    spelling = f"{name}{count}.{kind}32.{left}32.{right}32"
    results = [
        list(map(LANES[name], parts(a, count, left == "s"), parts(b, count, right == "s")))
        for a, b, _ in rows
    ]
    bits = 32 // count
    plain, clamped, added = (
        evaluate(f"{spelling}{rest}", np.uint32, *columns(rows)).tolist() for rest in ("", ".sat", ".add")
    )
    assert plain == [joined(values, bits) for values in results]
    assert clamped == [joined([clamp(v, bits, kind == "s") for v in values], bits) for values in results]
    assert added == [sum(values) + c & 0xFFFFFFFF for values, (_, _, c) in zip(results, rows, strict=True)]


@drawn
@given(ROWS, st.sampled_from("us"), st.sampled_from("us"))
def test_dot_products_of_halves_and_bytes(evaluate, rows, left, right):
    for part in ("lo", "hi"):
        got = evaluate(f"dp2a.{part}.{left}32.{right}32", np.uint32, *columns(rows))
        want = []
        for a, b, c in rows:
            x, y = parts(a, 2, left == "s"), parts(b, 4, right == "s")
            chosen = y[2:] if part == "hi" else y[:2]
            want.append(sum(p * q for p, q in zip(x, chosen, strict=True)) + c & 0xFFFFFFFF)
        assert got.tolist() == want


@drawn
@given(ROWS, st.sampled_from("us"))
def test_pairs_of_16_bit_integers_are_two_numbers(evaluate, rows, kind):
    both = [[parts(word, 2, kind == "s") for word in row[:2]] for row in rows]
    for name, function in {"add": lambda x, y: x + y, "min": min, "max": max}.items():
        got = evaluate(f"{name}.{kind}16x2", np.uint32, *columns(rows, 2))
        assert got.tolist() == [joined(map(function, x, y), 16) for x, y in both]


CHAIN = """
    .visible .entry k(.param .u64 rows, .param .u64 out) {
    .reg .b64 %p, %q; .reg .b32 %a, %b, %c, %d, %i; .reg .pred %odd;
    ld.param.u64 %p, [rows]; ld.param.u64 %q, [out]; mov.u32 %i, %ctaid.x;
    mad.wide.u32 %p, %i, 12, %p; mad.wide.u32 %q, %i, 8, %q;
    ld.global.u32 %a, [%p]; ld.global.u32 %b, [%p+4]; ld.global.u32 %c, [%p+8];
    and.b32 %d, %c, 1; setp.eq.u32 %odd, %d, 1;
    mov.b32 %d, 0;
    add.cc.u32 %c, %c, 0;          // carries nothing
    @%odd mad.lo.cc.u32 %c, %a, %b, %c;
    @%odd madc.hi.u32 %d, %a, %b, 0;
    @!%odd sub.cc.u32 %c, %a, %b;
    @!%odd subc.u32 %d, 0, 0;
    st.global.u32 [%q], %c; st.global.u32 [%q+4], %d; ret; }
"""


@drawn
@given(ROWS)
def test_carries_stay_with_the_lanes_whose_predicate_holds(ptx, rows):
    out = np.zeros(len(rows), np.uint64)
    ptx(CHAIN, len(rows), 1, np.array(rows, np.uint32), out)
    want = [(a * b + c if c & 1 else a - b) & 2**64 - 1 for a, b, c in rows]
    assert out.tolist() == want
