"""Arithmetic of every width: halves, integers, bits, words in parts, functions of ``math.h``."""

import math

import ml_dtypes
import numpy as np
import pytest

F32, F16, BF16 = np.float32, np.float16, np.dtype(ml_dtypes.bfloat16)

PAIRS = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
extern "C" __global__ void k(const TWO* x, const TWO* y, TWO* out, int n) {
    int i = threadIdx.x;
    TWO a = x[i], b = y[i];
    TWO results[] = {
        __hadd2(a, b), __hsub2(a, b), __hmul2(a, b), __hfma2(a, b, a), __hmax2(a, b), __hmin2(a, b),
        __hneg2(a), __habs2(a), __hfma2_relu(a, b, b), __hgt2(a, b), __lows2TWO2(a, b), __highs2TWO2(a, b)};
    for (int r = 0; r < 12; r++) out[r * n + i] = results[r];
}
"""


@pytest.mark.parametrize(
    ("name", "short", "dtype"), [("half2", "half", F16), ("__nv_bfloat162", "bfloat16", BF16)]
)
def test_pairs_of_sixteen_bits(cuda, rng, name, short, dtype):
    x, y = rng.standard_normal((2, 64)).astype(F32).astype(dtype)
    out = np.zeros((12, 64), dtype)
    text = PAIRS.replace("s2TWO2", "s2half2" if short == "half" else "s2bfloat162").replace("TWO", name)
    cuda(text, 1, 32, x, y, out, 32)
    a, b = x.astype(np.float64), y.astype(np.float64)
    pairs_a, pairs_b = a.reshape(-1, 2), b.reshape(-1, 2)
    lows, highs = (np.stack([pairs_a[:, i], pairs_b[:, i]], 1).ravel() for i in (0, 1))
    want = [a + b, a - b, a * b, a * b + a, np.maximum(a, b), np.minimum(a, b)]
    want += [-a, np.abs(a), np.maximum(a * b + b, 0), a > b, lows, highs]
    rounded = [
        row.astype(F32).astype(dtype) for row in np.array(want, np.float64)
    ]  # exact in 24 bits and more
    assert np.array_equal(out.astype(F32), np.array(rounded).astype(F32))


FUNCTIONS = {
    "sinf": (math.sin, -20, 20), "cosf": (math.cos, -20, 20), "tanf": (math.tan, -1.5, 1.5),
    "asinf": (math.asin, -1, 1), "acosf": (math.acos, -1, 1), "atanf": (math.atan, -9, 9),
    "sinhf": (math.sinh, -5, 5), "coshf": (math.cosh, -5, 5), "tanhf": (math.tanh, -5, 5),
    "expf": (math.exp, -20, 20), "exp2f": (lambda x: 2.0**x, -20, 20), "expm1f": (math.expm1, -2, 2),
    "logf": (math.log, 0.01, 99), "log2f": (math.log2, 0.01, 99), "log10f": (math.log10, 0.01, 99),
    "log1pf": (math.log1p, -0.9, 9), "sqrtf": (math.sqrt, 0, 99), "rsqrtf": (lambda x: x**-0.5, 0.1, 99),
    "cbrtf": (math.cbrt, -99, 99), "erff": (math.erf, -3, 3), "erfcf": (math.erfc, -3, 3),
    "lgammaf": (math.lgamma, 0.1, 20), "tgammaf": (math.gamma, 0.1, 10),
}  # fmt: skip


def through(cuda, functions, dtype, rng, rtol):
    x = np.array([rng.uniform(low, high, 64) for _, low, high in functions.values()]).astype(dtype)
    y = np.zeros_like(x)
    kind = "float" if dtype == F32 else "double"
    cases = "".join(f"case {i}: y[at] = {name}(x[at]); break;\n" for i, name in enumerate(functions))
    cuda(
        f"""
        extern "C" __global__ void k(const {kind}* x, {kind}* y) {{
            int at = blockIdx.x * 64 + threadIdx.x;
            switch (blockIdx.x) {{ {cases} }}
        }}
        """,
        len(functions), 64, x, y,
    )  # fmt: skip
    want = [[f(v) for v in row.tolist()] for row, (f, _, _) in zip(x, functions.values(), strict=True)]
    np.testing.assert_allclose(y, want, rtol=rtol, atol=rtol)


def test_functions_of_single_precision(cuda, rng):
    through(cuda, FUNCTIONS, F32, rng, 2e-6)


def test_functions_of_double_precision(cuda, rng):
    doubles = {name.removesuffix("f"): value for name, value in FUNCTIONS.items() if name != "erff"}
    through(cuda, {**doubles, "erf": FUNCTIONS["erff"]}, np.float64, rng, 1e-14)


def test_functions_of_two_arguments(cuda, rng):
    x, y = (rng.uniform(0.1, 9, 64).astype(F32) for _ in range(2))
    out = np.zeros((8, 64), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const float* y, float* out) {
            int i = threadIdx.x;
            float a = x[i], b = y[i];
            float results[] = {powf(a, b), atan2f(a, b), hypotf(a, b), fmodf(a, b), fdimf(a, b),
                copysignf(a, -b), remainderf(a, b), nextafterf(a, b)};
            for (int r = 0; r < 8; r++) out[r * 64 + i] = results[r];
        }
        """,
        1, 64, x, y, out,
    )  # fmt: skip
    a, b = x.astype(float), y.astype(float)
    want = [a**b, np.arctan2(a, b), np.hypot(a, b), np.fmod(a, b), np.maximum(a - b, 0), -a]
    np.testing.assert_allclose(out[:6], want, rtol=3e-6, atol=1e-6)
    assert np.array_equal(out[6], [math.remainder(*pair) for pair in zip(a, b, strict=True)])
    assert np.array_equal(out[7], np.nextafter(x, y))


def test_roundings_in_every_direction(cuda, rng):
    x, y = rng.standard_normal((2, 64)).astype(F32)
    out = np.zeros((4, 64), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const float* y, float* out) {
            int i = threadIdx.x;
            out[i] = __fadd_rd(x[i], y[i]); out[64 + i] = __fadd_ru(x[i], y[i]);
            out[128 + i] = __fmul_rz(x[i], y[i]); out[192 + i] = __fdiv_ru(x[i], y[i]);
        }
        """,
        1, 64, x, y, out,
    )  # fmt: skip
    exact = x.astype(float) + y
    assert (out[0] <= exact).all()
    assert (out[1] >= exact).all()
    assert (np.nextafter(out[0], F32(9)) >= out[1]).all()
    assert (np.abs(out[2]) <= np.abs(x.astype(float) * y)).all()
    assert (out[3] >= x.astype(float) / y).all()


def test_products_of_64_and_128_bits(cuda, rng):
    x, y = rng.integers(0, 2**64, (2, 50), np.uint64)
    out = np.zeros((5, 50), np.uint64)
    cuda(
        """
        typedef unsigned long long Word;
        extern "C" __global__ void k(const Word* x, const Word* y, Word* out) {
            int i = threadIdx.x, n = blockDim.x;
            out[i] = x[i] * y[i];
            out[n + i] = __umul64hi(x[i], y[i]);
            out[2 * n + i] = __mul64hi(x[i], y[i]);
            out[3 * n + i] = x[i] / (y[i] >> 40);
            out[4 * n + i] = (long long)x[i] % (long long)(y[i] | 1);
        }
        """,
        1, 50, x, y, out,
    )  # fmt: skip
    for a, b, got in zip(x.tolist(), y.tolist(), out.T.tolist(), strict=True):
        sa, sb = (v - (v >> 63 << 64) for v in (a, b))
        remainder = abs(sa) % abs(sb | 1) * (1 if sa >= 0 else -1)
        want = [a * b, a * b >> 64, sa * sb >> 64, a // (b >> 40), remainder]
        assert got == [v & 2**64 - 1 for v in want]


def test_numbers_of_256_bits_are_added_with_carries(cuda, rng):
    x, y = rng.integers(0, 2**32, (2, 20, 8), np.uint32)
    x[0] = 0xFFFFFFFF
    out = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const unsigned* x, const unsigned* y, unsigned* out) {
            x += threadIdx.x * 8, y += threadIdx.x * 8, out += threadIdx.x * 8;
            unsigned v[8];
            asm volatile("add.cc.u32 %0, %1, %2;" : "=r"(v[0]) : "r"(x[0]), "r"(y[0]));
            #pragma unroll
            for (int i = 1; i < 7; i++)
                asm volatile("addc.cc.u32 %0, %1, %2;" : "=r"(v[i]) : "r"(x[i]), "r"(y[i]));
            asm volatile("addc.u32 %0, %1, %2;" : "=r"(v[7]) : "r"(x[7]), "r"(y[7]));
            for (int i = 0; i < 8; i++) out[i] = v[i];
        }
        """,
        1, 20, x, y, out,
    )  # fmt: skip
    whole = [[int.from_bytes(row.tobytes(), "little") for row in m] for m in (x, y, out)]
    assert whole[2] == [(a + b) % 2**256 for a, b in zip(*whole[:2], strict=True)]


def test_counts_positions_and_permutations_of_bits(cuda, rng):
    x = rng.integers(0, 2**32, 60, np.uint32)
    x[:3] = 0, 1, 2**31
    out = np.zeros((7, 60), np.uint32)
    cuda(
        """
        extern "C" __global__ void k(const unsigned* x, unsigned* out) {
            int i = threadIdx.x, n = blockDim.x;
            unsigned v = x[i];
            unsigned results[] = {(unsigned)__popc(v), (unsigned)__clz(v), (unsigned)__ffs(v), __brev(v),
                __byte_perm(v, 0, 0x0123), __funnelshift_l(v, v, 7), v & -v};
            for (int r = 0; r < 7; r++) out[r * n + i] = results[r];
        }
        """,
        1, 60, x, out,
    )  # fmt: skip
    for v, got in zip(x.tolist(), out.T.tolist(), strict=True):
        swapped = int.from_bytes(v.to_bytes(4, "little"), "big")
        turned = (v << 7 | v >> 25) & 0xFFFFFFFF
        lowest = v & -v
        want = [v.bit_count(), 32 - v.bit_length(), lowest.bit_length(), int(f"{v:032b}"[::-1], 2)]
        assert got == [*want, swapped, turned, lowest]


def test_words_are_four_bytes_at_once(cuda, rng):
    x, y = rng.integers(0, 256, (2, 128)).astype(np.uint8)
    out = np.zeros((6, 128), np.uint8)
    cuda(
        """
        extern "C" __global__ void k(const unsigned* x, const unsigned* y, unsigned* out) {
            int i = threadIdx.x;
            unsigned a = x[i], b = y[i];
            unsigned results[] = {__vadd4(a, b), __vsubus4(a, b), __vabsdiffu4(a, b), __vmaxu4(a, b),
                __vavgu4(a, b), __vcmpgtu4(a, b)};
            for (int r = 0; r < 6; r++) out[r * 32 + i] = results[r];
        }
        """,
        1, 32, x, y, out,
    )  # fmt: skip
    a, b = x.astype(int), y.astype(int)
    want = [
        a + b,
        np.maximum(a - b, 0),
        np.abs(a - b),
        np.maximum(a, b),
        (a + b + 1) // 2,
        np.where(a > b, 255, 0),
    ]
    assert np.array_equal(out, np.array(want) & 255)


def test_steps_of_an_alignment_score(cuda, rng):
    x = rng.integers(-99, 99, (3, 64)).astype(np.int32)
    out = np.zeros((4, 64), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* out) {
            int i = threadIdx.x, a = x[i], b = x[64 + i], c = x[128 + i];
            out[i] = __viaddmax_s32(a, b, c);
            out[64 + i] = __vimax3_s32_relu(a, b, c);
            out[128 + i] = __vimin_s16x2_relu(a, b);
            bool first;
            out[192 + i] = __vibmax_s32(a, b, &first) * 2 + first;
        }
        """,
        1, 64, x, out,
    )  # fmt: skip
    a, b, c = x
    halves = np.maximum(np.minimum(a.view(np.int16), b.view(np.int16)), 0)
    want = [np.maximum(a + b, c), np.maximum(x.max(0), 0), halves.view(np.int32)]
    assert np.array_equal(out, [*want, np.maximum(a, b) * 2 + (a >= b)])


def test_fixed_point_and_saturation(cuda, rng):
    x, y = rng.integers(-(2**31), 2**31, (2, 64)).astype(np.int32)
    out = np.zeros((3, 64), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, const int* y, int* out) {
            int i = threadIdx.x, sum;
            asm("add.sat.s32 %0, %1, %2;" : "=r"(sum) : "r"(x[i]), "r"(y[i]));
            out[i] = sum;
            out[64 + i] = __mulhi(x[i], y[i]) << 1;
            out[128 + i] = __hadd(x[i], y[i]);
        }
        """,
        1, 64, x, y, out,
    )  # fmt: skip
    a, b = x.astype(np.int64), y.astype(np.int64)
    want = [np.clip(a + b, -(2**31), 2**31 - 1), (a * b >> 32) * 2, (a + b) >> 1]
    assert np.array_equal(out, np.array(want).astype(np.int32))


def test_how_long_points_stay_in_the_mandelbrot_set(cuda):
    out = np.zeros((16, 24), np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* out, int width, int most) {
            double cr = -2 + 3.0 * threadIdx.x / width, ci = -1.25 + 2.5 * blockIdx.x / gridDim.x;
            double r = 0, i = 0;
            int n = 0;
            while (n < most && r * r + i * i <= 4) {
                double next = r * r - i * i + cr;
                i = 2 * r * i + ci;
                r = next;
                n++;
            }
            out[blockIdx.x * width + threadIdx.x] = n;
        }
        """,
        16, 24, out, 24, 50,
    )  # fmt: skip
    c = (-2 + 3 * np.arange(24) / 24) + 1j * (-1.25 + 2.5 * np.arange(16) / 16)[:, None]
    z, want = np.zeros_like(c), np.zeros(c.shape, int)
    for _ in range(50):
        inside = np.abs(z) <= 2
        want += inside
        z[inside] = z[inside] ** 2 + c[inside]
    assert (out == want).mean() > 0.99  # NumPy rounds z² in another way than fused steps do


def test_a_cyclic_redundancy_check(cuda, rng):
    import zlib

    x, out = rng.integers(0, 256, (8, 40)).astype(np.uint8), np.zeros(8, np.uint32)
    cuda(
        """
        extern "C" __global__ void k(const unsigned char* x, unsigned* out, int n) {
            unsigned crc = ~0u;
            for (int i = 0; i < n; i++) {
                crc ^= x[threadIdx.x * n + i];
                for (int b = 0; b < 8; b++) crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
            }
            out[threadIdx.x] = ~crc;
        }
        """,
        1, 8, x, out, 40,
    )  # fmt: skip
    assert out.tolist() == [zlib.crc32(row.tobytes()) for row in x]


def test_greatest_common_divisors_and_integer_roots(cuda, rng):
    x, y = rng.integers(1, 100_000, (2, 64)).astype(np.uint32)
    out = np.zeros((2, 64), np.uint32)
    cuda(
        """
        extern "C" __global__ void k(const unsigned* x, const unsigned* y, unsigned* out) {
            unsigned a = x[threadIdx.x], b = y[threadIdx.x];
            while (b) { unsigned r = a % b; a = b; b = r; }
            out[threadIdx.x] = a;
            unsigned root = 0;
            for (int bit = 15; bit >= 0; bit--) {
                unsigned tried = root | 1u << bit;
                if (tried * tried <= x[threadIdx.x]) root = tried;
            }
            out[64 + threadIdx.x] = root;
        }
        """,
        1, 64, x, y, out,
    )  # fmt: skip
    assert out[0].tolist() == [math.gcd(*pair) for pair in zip(x.tolist(), y.tolist(), strict=True)]
    assert out[1].tolist() == [math.isqrt(v) for v in x.tolist()]


def test_points_in_the_order_of_a_curve(cuda, rng):
    x, y = rng.integers(0, 2**16, (2, 64)).astype(np.uint32)
    out = np.zeros(64, np.uint32)
    cuda(
        """
        __device__ unsigned spread(unsigned v) {
            v = (v | v << 8) & 0x00FF00FF; v = (v | v << 4) & 0x0F0F0F0F;
            v = (v | v << 2) & 0x33333333; return (v | v << 1) & 0x55555555;
        }
        extern "C" __global__ void k(const unsigned* x, const unsigned* y, unsigned* out) {
            out[threadIdx.x] = spread(x[threadIdx.x]) | spread(y[threadIdx.x]) << 1;
        }
        """,
        1, 64, x, y, out,
    )  # fmt: skip
    bits = [(x >> i & 1) << 2 * i | (y >> i & 1) << 2 * i + 1 for i in range(16)]
    assert np.array_equal(out, np.bitwise_or.reduce(bits))


@pytest.mark.parametrize(
    ("kind", "dtype"), [("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2)]
)
def test_numbers_become_eight_bits_and_come_back(cuda, rng, kind, dtype):
    x = (rng.standard_normal(64) * 20).astype(F32)
    stored, back = np.zeros(64, np.uint8), np.zeros(64, F16)
    cuda(
        """
        #include <cuda_fp8.h>
        extern "C" __global__ void k(const float2* x, unsigned short* stored, __half2_raw* back) {
            __nv_fp8x2_storage_t v = __nv_cvt_float2_to_fp8x2(x[threadIdx.x], __NV_SATFINITE, __NV_KIND);
            stored[threadIdx.x] = v;
            back[threadIdx.x] = __nv_cvt_fp8x2_to_halfraw2(v, __NV_KIND);
        }
        """.replace("KIND", kind.upper()),
        1, 32, x, stored, back,
    )  # fmt: skip
    assert np.array_equal(stored, x.astype(dtype).view(np.uint8))
    assert np.array_equal(back, x.astype(dtype).astype(F16))
