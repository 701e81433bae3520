"""Fragments of a warp's matrices lie where the PTX manual puts them."""

import ml_dtypes
import numpy as np
import pytest

from gaugeblock.gpu.simulator.numbers.floating import fma
from gaugeblock.gpu.simulator.numbers.tensor_core import mma

BF16 = np.dtype(ml_dtypes.bfloat16)
RANDOM = np.random.default_rng(5)


def integers(shape, dtype):
    return RANDOM.integers(-8, 9, shape).astype(dtype)


def multiply(cuda, kind, a, b, c):
    """Let every warp do one mma, with fragments loaded element by element as the manual's formulas say."""
    k = a.shape[-1]
    registers_a, registers_b = (4, 2) if (k == 16 or (kind == "tf32" and k == 8)) else (2, 1)
    element, per = ("unsigned", 1) if kind == "tf32" else ("unsigned short", 2)
    inputs = ",".join(f"%{4 + i}" for i in range(registers_a))
    others = ",".join(f"%{4 + registers_a + i}" for i in range(registers_b))
    args = (
        ",".join(f'"r"(a[{i}])' for i in range(registers_a))
        + ","
        + ",".join(f'"r"(b[{i}])' for i in range(registers_b))
    )
    cuda(
        f"""
        typedef {element} T;
        extern "C" __global__ void k(const T* A, const T* B, float* C) {{
            int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, w = threadIdx.x / 32;
            A += w * 16 * {k}; B += w * {k} * 8; C += w * 128;
            unsigned a[4] = {{}}, b[2] = {{}};
            for (int r = 0; r < {registers_a}; r++) for (int e = 0; e < {per}; e++)
                a[r] |= (unsigned)A[(g + r % 2 * 8) * {k} + {per} * (t + 4 * (r / 2)) + e] << (16 * e);
            for (int r = 0; r < {registers_b}; r++) for (int e = 0; e < {per}; e++)
                b[r] |= (unsigned)B[({per} * t + e + 4 * {per} * r) * 8 + g] << (16 * e);
            float c[4];
            for (int i = 0; i < 4; i++) c[i] = C[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2];
            asm("mma.sync.aligned.m16n8k{k}.row.col.f32.{kind}.{kind}.f32 "
                "{{%0,%1,%2,%3}},{{{inputs}}},{{{others}}},"
                "{{%0,%1,%2,%3}};" : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : {args});
            for (int i = 0; i < 4; i++) C[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = c[i];
        }}
        """,
        1,
        32 * len(a),
        a if kind == "tf32" else a.view(np.uint16),
        b if kind == "tf32" else b.view(np.uint16),
        (got := c.copy()),
    )
    return got


def multiplies_exactly(cuda, kind, k, dtype):
    a, b, c = integers((2, 16, k), dtype), integers((2, k, 8), dtype), integers((2, 16, 8), np.float32)
    assert np.array_equal(multiply(cuda, kind, a, b, c), a.astype(np.float64) @ b.astype(np.float64) + c)


@pytest.mark.parametrize("k", [8, 16])
def test_half_precision_tiles_multiply_exactly_on_small_integers(cuda, k):
    multiplies_exactly(cuda, "f16", k, np.float16)


@pytest.mark.parametrize("k", [8, 16])
def test_bfloat16_tiles_multiply_exactly_on_small_integers(cuda, k):
    multiplies_exactly(cuda, "bf16", k, BF16)


@pytest.mark.parametrize("k", [4, 8])
def test_tf32_tiles_multiply_exactly_on_small_integers(cuda, k):
    multiplies_exactly(cuda, "tf32", k, np.float32)


INTEGERS = """
extern "C" __global__ void k(const unsigned char* A, const unsigned char* B, int* C) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane %% 4, w = threadIdx.x / 32;
    A += w * 16 * K; B += w * K * 8; C += w * 128;
    unsigned a[K / 8] = {}, b[K / 16] = {};
    for (int r = 0; r < K / 8; r++) for (int e = 0; e < 4; e++)
        a[r] |= (unsigned)A[(g + r %% 2 * 8) * K + 4 * t + e + 16 * (r / 2)] << (8 * e);
    for (int r = 0; r < K / 16; r++) for (int e = 0; e < 4; e++)
        b[r] |= (unsigned)B[(4 * t + e + 16 * r) * 8 + g] << (8 * e);
    int c[4];
    for (int i = 0; i < 4; i++) c[i] = C[(g + 8 * (i / 2)) * 8 + 2 * t + i %% 2];
    asm("mma.sync.aligned.m16n8kNAME {%%0,%%1,%%2,%%3},{IN},{OTHER},{%%0,%%1,%%2,%%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3]) : ARGS);
    for (int i = 0; i < 4; i++) C[(g + 8 * (i / 2)) * 8 + 2 * t + i %% 2] = c[i];
}
""".replace("%%", "%")


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("kinds", ["s8.s8", "u8.s8", "s8.u8", "u8.u8"])
@pytest.mark.parametrize("k", [16, 32])
def test_tiles_of_bytes_multiply_exactly_and_wrap_or_stop_at_the_ends(cuda, k, kinds, clamp):
    first, second = (np.dtype(kind.replace("s", "i")[0] + "1") for kind in kinds.split("."))
    a = RANDOM.integers(0, 256, (2, 16, k)).astype(np.uint8).view(first)
    b = RANDOM.integers(0, 256, (2, k, 8)).astype(np.uint8).view(second)
    c = RANDOM.choice([-(2**31), -5, 0, 7, 2**31 - 1], (2, 16, 8)).astype(np.int32)
    count, others = k // 8, k // 16
    text = INTEGERS.replace("kNAME", f"k{k}.row.col{'.satfinite' * clamp}.s32.{kinds}.s32").replace(
        "K", str(k)
    )
    text = text.replace("IN", ",".join(f"%{4 + i}" for i in range(count)))
    text = text.replace("OTHER", ",".join(f"%{4 + count + i}" for i in range(others)))
    registers = [f"a[{i}]" for i in range(count)] + [f"b[{i}]" for i in range(others)]
    got = c.copy()
    cuda(text.replace("ARGS", ",".join(f'"r"({each})' for each in registers)), 1, 64, a, b, got)
    exact = a.astype(np.int64) @ b.astype(np.int64) + c
    ends = np.iinfo(np.int32)
    assert np.array_equal(got, np.clip(exact, ends.min, ends.max) if clamp else exact.astype(np.int32))


def test_tiles_of_float64_multiply_by_fused_steps_in_order(cuda):
    a, b, c = (RANDOM.standard_normal((3, *shape)) for shape in ((8, 4), (4, 8), (8, 8)))
    got = c.copy()
    cuda(
        """
        extern "C" __global__ void k(const double* A, const double* B, double* C) {
            int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, w = threadIdx.x / 32;
            double* c = C + w * 64 + g * 8 + 2 * t;
            asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1},{%2},{%3},{%0,%1};"
                : "+d"(c[0]), "+d"(c[1]) : "d"(A[w * 32 + g * 4 + t]), "d"(B[w * 32 + t * 8 + g]));
        }
        """,
        1,
        96,
        a,
        b,
        got,
    )
    want = c
    for k in range(4):
        with np.errstate(all="ignore"):
            want = fma(*map(np.ascontiguousarray, np.broadcast_arrays(a[:, :, k, None], b[:, k, None], want)))
    assert np.array_equal(got, want)


@pytest.mark.parametrize(("kind", "dtype"), [("f16", np.float16), ("bf16", BF16), ("tf32", np.float32)])
def test_a_warp_with_nothing_but_zeros_to_multiply_gets_what_the_arithmetic_gives(cuda, kind, dtype):
    cases = [
        (x, y, z)
        for x, y in [
            (0.0, 1.0),
            (-0.0, 1.0),
            (1.0, -0.0),
            (0.0, np.inf),
            (np.nan, 0.0),
            (0.0, -0.0),
            (1.0, 1.0),
        ]
        for z in (1.0, -0.0, 3e-45, np.inf, np.nan)
    ]
    a, b, c = (
        np.stack([np.full(shape, case[i]) for case in cases]).astype(d)
        for i, (shape, d) in enumerate([((16, 8), dtype), ((8, 8), dtype), ((16, 8), np.float32)])
    )
    for part in np.array_split(np.arange(len(cases)), 2):  # a block has at most 32 warps
        got = multiply(cuda, kind, a[part], b[part], c[part])
        with np.errstate(all="ignore"):
            want = mma(a[part], b[part], c[part], operand=kind, bits=25)
        assert np.array_equal(got.view(np.uint32), want.view(np.uint32))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_ldmatrix_hands_row_elements_to_the_lanes(cuda, count, transposed):
    tiles = np.arange(count * 64, dtype=np.uint16).reshape(count, 8, 8)
    out = np.zeros((count, 32), np.uint32)
    trans = ".trans" if transposed else ""
    regs = ",".join(f"%{i}" for i in range(count))
    outs = ",".join(f'"=r"(v[{i}])' for i in range(count))
    cuda(
        f"""
        extern "C" __global__ void k(const unsigned short* x, unsigned* y) {{
            __shared__ __align__(16) unsigned short s[{count * 64}];
            int t = threadIdx.x;
            for (int i = t; i < {count * 64}; i += 32) s[i] = x[i];
            __syncthreads();
            unsigned v[4], at = __cvta_generic_to_shared(&s[(t % {count * 8}) * 8]);
            asm volatile("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{regs}}}, [%{count}];"
                : {outs} : "r"(at));
            for (int i = 0; i < {count}; i++) y[i * 32 + t] = v[i];
        }}
        """,
        1,
        32,
        tiles,
        out,
    )
    source = tiles.swapaxes(1, 2) if transposed else tiles
    for tile in range(count):
        for lane in range(32):
            row, column = lane // 4, 2 * (lane % 4)
            low, high = source[tile, row, column : column + 2].tolist()
            assert out[tile, lane] == low | high << 16


def test_stmatrix_undoes_ldmatrix(cuda):
    x, y = np.arange(256, dtype=np.uint16), np.zeros(256, np.uint16)
    cuda(
        """
        extern "C" __global__ void k(const unsigned short* x, unsigned short* y) {
            __shared__ __align__(16) unsigned short s[512];
            int t = threadIdx.x;
            for (int i = t; i < 256; i += 32) s[i] = x[i];
            __syncthreads();
            unsigned a, b, c, d, from = __cvta_generic_to_shared(&s[t * 8]);
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "r"(from));
            asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};"
                :: "r"(from + 512), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
            __syncthreads();
            for (int i = t; i < 256; i += 32) y[i] = s[256 + i];
        }
        """,
        1,
        32,
        x,
        y,
    )
    assert np.array_equal(x, y)
