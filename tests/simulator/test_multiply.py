"""``mma`` of every type of operand, in fragments that lie as the manual says, against exact sums."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaugeblock.gpu.simulator.numbers import tensor_core

RANDOM = np.random.default_rng(13)
E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)
drawn = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def places(operand, m, per, lane, index):
    """Return row and column of element `index` of a lane's, which lie `per` in a register."""
    group, thread, register, within = lane // 4, lane % 4, index // per, index % per
    if operand == "a":
        halves = m // 8
        return (
            group + 8 * (register % halves),
            per * thread + within + 4 * per * (register // halves),
        )
    if operand == "b":
        return per * thread + within + 4 * per * register, group
    return group + 8 * (index // 2), 2 * thread + index % 2


def fragment(matrix, operand, m, bits):
    """Return the registers of all lanes, 32 × registers, as unsigned words."""
    per = max(1, 32 // bits)
    size = 64 if bits == 64 else 32
    count = matrix.size // (32 * per)
    words = np.zeros((32, count), f"u{size // 8}")
    unsigned = matrix.astype(np.int64) if bits < 8 else matrix.view(f"u{bits // 8}")
    for lane in range(32):
        for index in range(count * per):
            value = int(unsigned[places(operand, m, per, lane, index)]) & (1 << bits) - 1
            words[lane, index // per] |= words.dtype.type(value << bits * (index % per))
    return words


def multiply(ptx, instruction, a, b, c, bits):
    """Let a warp execute one instruction."""
    m = len(a)
    registers = [
        fragment(x, name, m, n) for x, name, n in ((a, "a", bits), (b, "b", bits), (c, "c", 8 * c.itemsize))
    ]
    size = 8 * registers[0].itemsize
    total = sum(x.shape[1] for x in registers)
    names, loads, at = [], [], 0
    for words in registers:
        mine = [f"%r{at + i}" for i in range(words.shape[1])]
        loads += [f"ld.global.b{size} {name}, [%p+{(at + i) * size // 8}];" for i, name in enumerate(mine)]
        names.append("{" + ", ".join(mine) + "}")
        at += len(mine)
    first = total - registers[2].shape[1]
    stores = [f"st.global.b{size} [%p+{i * size // 8}], %r{i};" for i in range(first, total)]
    memory = np.ascontiguousarray(np.concatenate(registers, axis=1))
    ptx(
        f"""
        .visible .entry k(.param .u64 k_0) {{
        .reg .b64 %p; .reg .b32 %i; .reg .b{size} %r<{total}>;
        ld.param.u64 %p, [k_0]; mov.u32 %i, %tid.x; mad.wide.u32 %p, %i, {total * size // 8}, %p;
        {" ".join(loads)}
        mma.sync.aligned.{instruction} {names[2]}, {names[0]}, {names[1]}, {names[2]};
        {" ".join(stores)} ret; }}
        """,
        1,
        32,
        memory,
    )
    result = np.zeros(c.shape, c.dtype)
    for lane in range(32):
        for index in range(registers[2].shape[1]):
            result[places("c", m, 1, lane, index)] = memory[lane, first + index : first + index + 1].view(
                c.dtype
            )[0]
    return result


@pytest.mark.parametrize(("m", "k"), [(8, 4), (16, 4), (16, 8), (16, 16)])
def test_float64_is_multiplied_by_fused_steps(ptx, m, k):
    a, b, c = (RANDOM.standard_normal(shape) for shape in ((m, k), (k, 8), (m, 8)))
    got = multiply(ptx, f"m{m}n8k{k}.row.col.f64.f64.f64.f64", a, b, c, 64)
    for place in np.ndindex(c.shape):
        want = Fraction(float(c[place]))
        for x, y in zip(a[place[0]].tolist(), b[:, place[1]].tolist(), strict=True):
            want = Fraction(float(Fraction(x) * Fraction(y) + want))
        assert got[place] == float(want)


INTEGERS = {
    "s8": (8, [(8, 16), (16, 16), (16, 32)], -128, 127),
    "u8": (8, [(8, 16), (16, 16), (16, 32)], 0, 255),
    "s4": (4, [(8, 32), (16, 32), (16, 64)], -8, 7),
    "u4": (4, [(8, 32), (16, 32), (16, 64)], 0, 15),
}


@pytest.mark.parametrize("other", ["s", "u"])
@pytest.mark.parametrize("kind", sorted(INTEGERS))
def test_bytes_and_nibbles_are_multiplied_exactly_and_wrap(ptx, kind, other):
    bits, shapes, low, high = INTEGERS[kind]
    _, _, least, most = INTEGERS[other + kind[1]]
    for m, k in shapes:
        a = RANDOM.integers(low, high + 1, (m, k)).astype(np.int8 if kind[0] == "s" else np.uint8)
        b = RANDOM.integers(least, most + 1, (k, 8)).astype(np.int8 if other == "s" else np.uint8)
        c = RANDOM.choice([-(2**31), -1, 0, 2**31 - 1], (m, 8)).astype(np.int32)
        got = multiply(ptx, f"m{m}n8k{k}.row.col.s32.{kind}.{other}{kind[1]}.s32", a, b, c, bits)
        assert np.array_equal(got, (a.astype(np.int64) @ b.astype(np.int64) + c).astype(np.int32))


@pytest.mark.parametrize("operator", ["xor", "and"])
@pytest.mark.parametrize(("m", "k"), [(8, 128), (16, 128), (16, 256)])
def test_bits_that_differ_or_agree_are_counted(ptx, m, k, operator):
    a, b = (RANDOM.integers(0, 2, shape).astype(np.uint8) for shape in ((m, k), (k, 8)))
    c = RANDOM.integers(-5, 5, (m, 8)).astype(np.int32)
    got = multiply(ptx, f"m{m}n8k{k}.row.col.s32.b1.b1.s32.{operator}.popc", a, b, c, 1)
    pairs = getattr(np, f"bitwise_{operator}")(a[:, :, None], b[None])
    assert np.array_equal(got, pairs.sum(1, dtype=np.int64) + c)


@pytest.mark.parametrize("kinds", ["e4m3.e4m3", "e5m2.e5m2", "e4m3.e5m2", "e5m2.e4m3"])
@pytest.mark.parametrize("k", [16, 32])
def test_floats_of_eight_bits_multiply_exactly_on_small_integers(ptx, k, kinds):
    first, second = ({"e4m3": E4M3, "e5m2": E5M2}[kind] for kind in kinds.split("."))
    a, b = (
        RANDOM.integers(-3, 4, shape).astype(np.float32).astype(d)
        for shape, d in (((16, k), first), ((k, 8), second))
    )
    c = RANDOM.integers(-9, 9, (16, 8)).astype(np.float32)
    got = multiply(ptx, f"m16n8k{k}.row.col.f32.{kinds}.f32", a, b, c, 8)
    assert np.array_equal(got, a.astype(np.float32) @ b.astype(np.float32) + c)


BYTE = st.integers(0, 255)


def rational(x):
    return Fraction(float(x))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(BYTE, BYTE), min_size=4, max_size=4),
    st.sampled_from([E4M3, E5M2]),
    st.floats(-100, 100, width=32),
)
def test_sums_of_products_of_eight_bits_are_cut_off_13_bits_below_the_largest(pairs, dtype, addend):
    a, b = (np.array(each, np.uint8).view(dtype) for each in zip(*pairs, strict=True))
    if not (np.isfinite(a.astype(np.float32)).all() and np.isfinite(b.astype(np.float32)).all()):
        return
    c = np.full((1, 1, 1), addend, np.float32)
    smallest = {E4M3: -6, E5M2: -14}[dtype]
    kind = "e4m3" if dtype == E4M3 else "e5m2"
    got = tensor_core.mma(
        a.reshape(1, 1, 4), b.reshape(1, 4, 1), c, operand=kind, bits=tensor_core.FLOAT8_BITS
    )
    exponent = lambda x, least: max(least, int(np.frexp(float(x))[1]) - 1)  # noqa: E731
    terms = [
        (rational(x) * rational(y), exponent(x, smallest) + exponent(y, smallest))
        for x, y in zip(a, b, strict=True)
    ]
    terms.append((rational(c.item()), exponent(c.item(), -126)))
    nonzero = [(value, size) for value, size in terms if value]
    if not nonzero:
        assert got.item() == 0
        return
    unit = Fraction(2) ** (max(size for _, size in nonzero) - tensor_core.FLOAT8_BITS)
    total = sum(int(value / unit) * unit for value, _ in nonzero)
    exact = tensor_core.mma(a.reshape(1, 1, 4), b.reshape(1, 4, 1), c, operand=kind, model="exact").item()
    assert exact == float(np.float32(float(sum(value for value, _ in terms))))
    assert abs(rational(got.item()) - total) <= abs(total) * Fraction(1, 2**23)
    assert abs(rational(got.item())) <= abs(total)
