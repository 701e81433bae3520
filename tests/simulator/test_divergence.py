"""Lanes that part and meet again compute what each would alone."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import settings

COLLATZ = """
extern "C" __global__ void k(int count, int* steps) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    long long n = i + 1;
    int s = 0;
    while (n != 1) { n = (n & 1) ? 3 * n + 1 : n / 2; s++; }
    steps[i] = s;
}
"""

MANDELBROT = """
extern "C" __global__ void k(int width, int height, int* escape) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    float cr = 3.0f * x / width - 2.0f, ci = 3.0f * y / height - 1.5f, r = 0, i = 0;
    int n = 0;
    for (; n < 60; n++) {
        float r2 = __fmul_rn(r, r), i2 = __fmul_rn(i, i);
        if (r2 + i2 > 4.0f) break;
        i = __fadd_rn(__fmul_rn(2.0f * r, i), ci);
        r = __fadd_rn(__fsub_rn(r2, i2), cr);
    }
    escape[y * width + x] = n;
}
"""


def collatz(n):
    steps = 0
    while n != 1:
        n = 3 * n + 1 if n & 1 else n // 2
        steps += 1
    return steps


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
def test_collatz_counts_equal_a_scalar_run_in_every_order(cuda, order):
    steps = np.zeros(70, np.int32)
    with settings(order=order, seed=3):
        cuda(COLLATZ, 3, 32, np.int32(70), steps)
    assert steps.tolist() == [collatz(i + 1) for i in range(70)]


def test_mandelbrot_equals_a_scalar_run_bit_for_bit(cuda):
    width, height = 45, 37
    got = np.zeros((height, width), np.int32)
    cuda(MANDELBROT, (6, 5), (8, 8), np.int32(width), np.int32(height), got)
    f = np.float32
    for y in range(0, height, 3):
        for x in range(0, width, 3):
            cr = f(f(f(3) * f(x)) / f(width)) - f(2)
            ci = f(f(f(3) * f(y)) / f(height)) - f(1.5)
            r = i = f(0)
            n = 0
            while n < 60:
                r2, i2 = r * r, i * i
                if r2 + i2 > f(4):
                    break
                i = f(2) * r * i + ci
                r = r2 - i2 + cr
                n += 1
            assert got[y, x] == n


def test_nested_loops_breaks_and_continues_follow_each_lane(cuda):
    out = np.zeros(64, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* out) {
            int t = threadIdx.x, total = 0;
            for (int i = 0; i <= t % 7; i++) {
                if (i % 3 == t % 3) continue;
                for (int j = t; j > 0; j /= 2) {
                    if (j == 13) break;
                    total += i * j;
                }
                if (total > 500) break;
            }
            out[t] = total;
        }
        """,
        1,
        64,
        out,
    )

    def scalar(t):
        total = 0
        for i in range(t % 7 + 1):
            if i % 3 == t % 3:
                continue
            j = t
            while j > 0:
                if j == 13:
                    break
                total += i * j
                j //= 2
            if total > 500:
                break
        return total

    assert out.tolist() == [scalar(t) for t in range(64)]


def test_a_switch_sends_each_lane_to_its_case(cuda):
    out = np.zeros(40, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* out) {
            int t = threadIdx.x, v = 0;
            switch (t % 9) {
                case 0: v = t * 3; break;
                case 1: v = t - 7; break;
                case 2: v = t ^ 5;
                case 3: v += t << 2; break;
                case 4: v = 11; break;
                case 5: v = t / 3; break;
                case 6: v = -t; break;
                default: v = 99;
            }
            out[t] = v;
        }
        """,
        1,
        40,
        out,
    )
    cases = {
        0: lambda t: t * 3, 1: lambda t: t - 7, 2: lambda t: (t ^ 5) + (t << 2), 3: lambda t: t << 2,
        4: lambda t: 11, 5: lambda t: t // 3, 6: lambda t: -t,
    }  # fmt: skip
    assert out.tolist() == [cases.get(t % 9, lambda t: 99)(t) for t in range(40)]


def test_a_branch_table_sends_each_lane_to_its_entry(ptx):
    out = np.zeros(8, np.int32)
    ptx(
        """
        .visible .entry k(.param .u64 out) {
        .reg .b64 %d; .reg .b32 %i, %j, %v;
        ld.param.u64 %d, [out]; mov.u32 %i, %tid.x; mad.wide.u32 %d, %i, 4, %d;
        rem.u32 %j, %i, 3;
        table: .branchtargets L0, L1, L2;
        brx.idx %j, table;
        L0: mov.u32 %v, 10; bra DONE;
        L1: mov.u32 %v, 20; bra DONE;
        L2: mov.u32 %v, 30;
        DONE: st.global.u32 [%d], %v; ret; }
        """,
        1,
        8,
        out,
    )
    assert out.tolist() == [10, 20, 30, 10, 20, 30, 10, 20]


def test_device_functions_are_called_with_their_own_registers_by_parted_lanes(cuda):
    out = np.zeros(48, np.float32)
    cuda(
        """
        struct Pair { float a; float b; };
        __device__ __noinline__ Pair twist(Pair p, int n) {
            for (int i = 0; i < n; i++) p = Pair{p.b, p.a + 1.0f};
            return p;
        }
        extern "C" __global__ void k(float* out) {
            int t = threadIdx.x;
            Pair p{float(t), 2.0f};
            if (t % 3) p = twist(p, t % 5);
            p = twist(p, 1);
            out[t] = p.a * 100.0f + p.b;
        }
        """,
        1,
        48,
        out,
    )

    def twist(p, n):
        for _ in range(n):
            p = (p[1], p[0] + 1)
        return p

    def scalar(t):
        p = (float(t), 2.0)
        if t % 3:
            p = twist(p, t % 5)
        p = twist(p, 1)
        return p[0] * 100 + p[1]

    assert out.tolist() == [scalar(t) for t in range(48)]


def test_local_arrays_belong_to_their_thread(cuda):
    out = np.zeros(64, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* out) {
            int t = threadIdx.x, keep[16];
            for (int i = 0; i < 16; i++) keep[(i * (2 * t + 1)) % 16] = i + t;
            int sum = 0;
            for (int i = 0; i < 16; i++) sum = sum * 3 + keep[(i + t) % 16];
            out[t] = sum;
        }
        """,
        1,
        64,
        out,
    )

    def scalar(t):
        keep = [0] * 16
        for i in range(16):
            keep[i * (2 * t + 1) % 16] = i + t
        total = 0
        for i in range(16):
            total = total * 3 + keep[(i + t) % 16]
        return (total + 2**31) % 2**32 - 2**31

    assert out.tolist() == [scalar(t) for t in range(64)]


def test_blocks_and_grids_have_three_dimensions(cuda):
    out = np.zeros((3 * 4 * 2, 2 * 3 * 5), np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* out) {
            int b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
            int t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
            out[b * (blockDim.x * blockDim.y * blockDim.z) + t] = b * 1000 + t;
        }
        """,
        (3, 4, 2),
        (2, 3, 5),
        out,
    )
    assert np.array_equal(out, np.add.outer(1000 * np.arange(24), np.arange(30)))


def test_lanes_of_generic_pointers_may_point_into_different_memories(cuda):
    out = np.zeros(32, np.int32)
    cuda(
        """
        __device__ int table[32];
        extern "C" __global__ void k(int* out) {
            __shared__ int s[32];
            int t = threadIdx.x, own[2] = {t, 7 * t};
            s[t] = 1000 + t; table[t] = 2000 + t;
            __syncthreads();
            int* p = t % 3 == 0 ? &s[31 - t] : t % 3 == 1 ? &table[t] : &own[t & 1];
            *p += 1;
            out[t] = *p;
        }
        """,
        1,
        32,
        out,
    )
    want = [
        (1000 + 31 - t if t % 3 == 0 else 2000 + t if t % 3 == 1 else (7 * t if t & 1 else t)) + 1
        for t in range(32)
    ]
    assert out.tolist() == want
