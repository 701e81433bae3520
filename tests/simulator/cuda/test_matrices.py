"""Products of matrices, from the naive loop to tensor cores in every format; solvers, sparse rows."""

import ml_dtypes
import numpy as np
import pytest

F32, F16, BF16 = np.float32, np.float16, np.dtype(ml_dtypes.bfloat16)


def integers(rng, shape, dtype, most=4):
    return rng.integers(-most, most + 1, shape).astype(dtype)


def test_a_naive_product(cuda, rng):
    a, b = integers(rng, (13, 17), F32), integers(rng, (17, 19), F32)
    c = np.zeros((13, 19), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* A, const float* B, float* C, int M, int N, int K) {
            int n = blockIdx.x * 8 + threadIdx.x, m = blockIdx.y * 8 + threadIdx.y;
            if (m >= M || n >= N) return;
            float sum = 0;
            for (int i = 0; i < K; i++) sum += A[m * K + i] * B[i * N + n];
            C[m * N + n] = sum;
        }
        """,
        (3, 2), (8, 8), a, b, c, 13, 19, 17,
    )  # fmt: skip
    assert np.array_equal(c, a @ b)


def test_a_product_by_tiles_in_shared_memory(cuda, rng):
    a, b = integers(rng, (33, 40), F32), integers(rng, (40, 20), F32)
    c = np.ones((33, 20), F32)
    cuda(
        """
        template <int T> __device__ void product(
            const float* A, const float* B, float* C, int M, int N, int K, float alpha, float beta) {
            __shared__ float a[T][T], b[T][T + 1];
            int x = threadIdx.x, y = threadIdx.y, m = blockIdx.y * T + y, n = blockIdx.x * T + x;
            float sum = 0;
            for (int first = 0; first < K; first += T) {
                a[y][x] = m < M && first + x < K ? A[m * K + first + x] : 0;
                b[y][x] = n < N && first + y < K ? B[(first + y) * N + n] : 0;
                __syncthreads();
                for (int i = 0; i < T; i++) sum = fmaf(a[y][i], b[i][x], sum);
                __syncthreads();
            }
            if (m < M && n < N) C[m * N + n] = alpha * sum + beta * C[m * N + n];
        }
        extern "C" __global__ void k(const float* A, const float* B, float* C, int M, int N, int K) {
            product<16>(A, B, C, M, N, K, 2, 3);
        }
        """,
        (2, 3), (16, 16), a, b, c, 33, 20, 40,
    )  # fmt: skip
    assert np.array_equal(c, 2 * (a @ b) + 3)


def test_a_product_with_tiles_in_registers(cuda, rng):
    a, b = integers(rng, (32, 16), F32), integers(rng, (16, 64), F32)
    c = np.zeros((32, 64), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* A, const float4* B, float4* C) {
            __shared__ float a[16][32];
            __shared__ float4 b[16][16];
            int t = threadIdx.x, m = t / 16 * 4, n = t % 16;
            for (int i = t; i < 512; i += 128) a[i % 16][i / 16] = A[i];
            for (int i = t; i < 256; i += 128) b[i / 16][i % 16] = B[i];
            __syncthreads();
            float4 c[4] = {};
            for (int i = 0; i < 16; i++) {
                float4 v = b[i][n];
                #pragma unroll
                for (int r = 0; r < 4; r++) {
                    float u = a[i][m + r];
                    c[r].x += u * v.x; c[r].y += u * v.y; c[r].z += u * v.z; c[r].w += u * v.w;
                }
            }
            for (int r = 0; r < 4; r++) C[(m + r) * 16 + n] = c[r];
        }
        """,
        1, 128, a, b, c,
    )  # fmt: skip
    assert np.array_equal(c, a @ b)


WMMA = """
#include <mma.h>
using namespace nvcuda::wmma;
extern "C" __global__ void k(const STORED* A, const STORED* B, float* C, int M, int N, int K) {
    int m = blockIdx.y * 16, n = blockIdx.x * 16;
    fragment<matrix_a, 16, 16, DEPTH, TYPE, row_major> a;
    fragment<matrix_b, 16, 16, DEPTH, TYPE, row_major> b;
    fragment<accumulator, 16, 16, DEPTH, float> c;
    fill_fragment(c, 0.f);
    for (int i = 0; i < K; i += DEPTH) {
        load_matrix_sync(a, A + m * K + i, K);
        load_matrix_sync(b, B + i * N + n, N);
        mma_sync(c, a, b, c);
    }
    store_matrix_sync(C + m * N + n, c, N, mem_row_major);
}
"""


@pytest.mark.parametrize(
    ("stored", "type_", "depth", "dtype"),
    [
        ("half", "half", 16, F16),
        ("__nv_bfloat16", "__nv_bfloat16", 16, BF16),
        ("float", "precision::tf32", 8, F32),
    ],
)
def test_a_product_by_wmma(cuda, rng, stored, type_, depth, dtype):
    a, b = integers(rng, (32, 48), dtype), integers(rng, (48, 64), dtype)
    c = np.zeros((32, 64), F32)
    text = WMMA.replace("STORED", stored).replace("TYPE", type_).replace("DEPTH", str(depth))
    cuda(text, (4, 2), 32, a, b, c, 32, 64, 48)
    assert np.array_equal(c, a.astype(F32) @ b.astype(F32))


def test_a_product_by_mma_of_tiles_that_are_copied_ahead(cuda, rng):
    a, b = integers(rng, (16, 64), F16), integers(rng, (8, 64), F16)  # b by columns
    c = np.zeros((16, 8), F32)
    cuda(
        """
        #include <cuda_fp16.h>
        __device__ unsigned shared(const void* p) { return __cvta_generic_to_shared(p); }
        __device__ void copy(void* to, const void* from) {
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(shared(to)), "l"(from));
        }
        extern "C" __global__ void k(const half* A, const half* B, float* C, int K) {
            __shared__ __align__(16) half a[2][16][16], b[2][8][16];
            int t = threadIdx.x, tiles = K / 16;
            auto fetch = [&](int i) {
                copy(&a[i % 2][t / 2][t % 2 * 8], A + t / 2 * K + i * 16 + t % 2 * 8);
                if (t < 16) copy(&b[i % 2][t / 2][t % 2 * 8], B + t / 2 * K + i * 16 + t % 2 * 8);
                asm volatile("cp.async.commit_group;");
            };
            float c[4] = {};
            fetch(0);
            for (int i = 0; i < tiles; i++) {
                if (i + 1 < tiles) fetch(i + 1); else asm volatile("cp.async.commit_group;");
                asm volatile("cp.async.wait_group 1;");
                __syncwarp();
                unsigned x[4], y[2];
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                    : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                    : "r"(shared(&a[i % 2][t % 16][t / 16 * 8])));
                asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                    : "=r"(y[0]), "=r"(y[1]) : "r"(shared(&b[i % 2][t % 8][t / 8 % 2 * 8])));
                asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                    : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
                __syncwarp();
            }
            for (int i = 0; i < 4; i++) C[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = c[i];
        }
        """,
        1, 32, a, b, c, 64,
    )  # fmt: skip
    assert np.array_equal(c, a.astype(F32) @ b.astype(F32).T)


def test_a_product_of_bytes_is_scaled_back(cuda, rng):
    x, y = rng.standard_normal((16, 32)).astype(F32), rng.standard_normal((32, 8)).astype(F32)
    sx, sy = (np.abs(m).max() / 127 for m in (x, y))
    a, b = np.rint(x / sx).astype(np.int8), np.rint(y / sy).astype(np.int8)
    c = np.zeros((16, 8), F32)
    cuda(
        """
        extern "C" __global__ void k(const int* A, const int* B, float* C, float scale) {
            int g = threadIdx.x / 4, t = threadIdx.x % 4, c[4] = {};
            asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                : "r"(A[g * 8 + t]), "r"(A[(g + 8) * 8 + t]),
                  "r"(A[g * 8 + t + 4]), "r"(A[(g + 8) * 8 + t + 4]),
                  "r"(B[g * 8 + t]), "r"(B[g * 8 + t + 4]));
            for (int i = 0; i < 4; i++) C[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i] * scale;
        }
        """,
        1, 32, a, np.ascontiguousarray(b.T), c, F32(sx * sy),
    )  # fmt: skip
    np.testing.assert_allclose(c, a.astype(int) @ b.astype(int) * sx * sy, rtol=1e-5)
    rounding = sx / 2 * np.abs(y).sum(0) + sy / 2 * np.abs(a * sx).sum(1, keepdims=True)
    assert (np.abs(c - x @ y) <= rounding + 1e-4).all()


def test_a_product_of_bytes_by_dot_products_of_four(cuda, rng):
    a, b = integers(rng, (12, 64), np.int8, 127), integers(rng, (10, 64), np.int8, 127)
    c = np.zeros((12, 10), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* A, const int* B, int* C, int words) {
            int sum = 0;
            for (int i = 0; i < words; i++)
                sum = __dp4a(A[blockIdx.x * words + i], B[threadIdx.x * words + i], sum);
            C[blockIdx.x * blockDim.x + threadIdx.x] = sum;
        }
        """,
        12, 10, a, b, c, 16,
    )  # fmt: skip
    assert np.array_equal(c, a.astype(int) @ b.astype(int).T)


def test_a_product_of_floats_of_eight_bits(cuda, rng):
    x, y = rng.standard_normal((8, 64)).astype(F32), rng.standard_normal((6, 64)).astype(F32)
    c = np.zeros((8, 6), F32)
    cuda(
        """
        #include <cuda_fp8.h>
        extern "C" __global__ void k(const float* x, const float* y, float* C, int n) {
            float sum = 0;
            for (int i = 0; i < n; i++) {
                __nv_fp8_e4m3 a(x[blockIdx.x * n + i]);
                __nv_fp8_e5m2 b(y[threadIdx.x * n + i]);
                sum += float(a) * float(b);
            }
            C[blockIdx.x * blockDim.x + threadIdx.x] = sum;
        }
        """,
        8, 6, x, y, c, 64,
    )  # fmt: skip
    narrow = [m.astype(d).astype(F32) for m, d in ((x, ml_dtypes.float8_e4m3fn), (y, ml_dtypes.float8_e5m2))]
    np.testing.assert_allclose(c, narrow[0] @ narrow[1].T, rtol=1e-4, atol=1e-4)


def test_a_product_of_float64_by_tensor_cores(cuda, rng):
    a, b = integers(rng, (8, 12), np.float64), integers(rng, (12, 8), np.float64)
    c = np.zeros((8, 8))
    cuda(
        """
        #include <mma.h>
        using namespace nvcuda::wmma;
        extern "C" __global__ void k(const double* A, const double* B, double* C, int K) {
            fragment<matrix_a, 8, 8, 4, double, row_major> a;
            fragment<matrix_b, 8, 8, 4, double, row_major> b;
            fragment<accumulator, 8, 8, 4, double> c;
            fill_fragment(c, 0.0);
            for (int i = 0; i < K; i += 4) {
                load_matrix_sync(a, A + i, K);
                load_matrix_sync(b, B + i * 8, 8);
                mma_sync(c, a, b, c);
            }
            store_matrix_sync(C, c, 8, mem_row_major);
        }
        """,
        1, 32, a, b, c, 12,
    )  # fmt: skip
    assert np.array_equal(c, a @ b)


def test_a_matrix_times_a_vector_a_warp_for_each_row(cuda, rng):
    a, x = integers(rng, (9, 80), F32), integers(rng, 80, F32)
    y = np.zeros(9, F32)
    cuda(
        """
        extern "C" __global__ void k(const float4* A, const float4* x, float* y, int n) {
            float sum = 0;
            for (int i = threadIdx.x; i < n; i += 32) {
                float4 u = A[blockIdx.x * n + i], v = x[i];
                sum += u.x * v.x + u.y * v.y + u.z * v.z + u.w * v.w;
            }
            for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
            if (threadIdx.x == 0) y[blockIdx.x] = sum;
        }
        """,
        9, 32, a, x, y, 20,
    )  # fmt: skip
    assert np.array_equal(y, a @ x)


def test_the_inverse_of_many_small_matrices(cuda, rng):
    a = rng.standard_normal((40, 3, 3)) + 3 * np.eye(3)
    got = np.zeros_like(a)
    cuda(
        """
        extern "C" __global__ void k(const double* A, double* X) {
            const double* a = A + threadIdx.x * 9;
            double x[9];
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) {
                    int p = (j + 1) % 3, q = (j + 2) % 3, r = (i + 1) % 3, s = (i + 2) % 3;
                    x[i * 3 + j] = a[p * 3 + r] * a[q * 3 + s] - a[p * 3 + s] * a[q * 3 + r];
                }
            double det = a[0] * x[0] + a[1] * x[3] + a[2] * x[6];
            for (int i = 0; i < 9; i++) X[threadIdx.x * 9 + i] = x[i] / det;
        }
        """,
        1, 40, a, got,
    )  # fmt: skip
    np.testing.assert_allclose(got, np.linalg.inv(a), rtol=1e-9, atol=1e-12)


def test_the_root_of_a_positive_matrix(cuda, rng):
    x = rng.standard_normal((8, 8))
    a = x @ x.T + 8 * np.eye(8)
    got = a.copy()
    cuda(
        """
        extern "C" __global__ void k(double* A, int n) {
            __shared__ double s[8][8];
            int r = threadIdx.y, c = threadIdx.x;
            s[r][c] = A[r * n + c];
            for (int j = 0; j < n; j++) {
                __syncthreads();
                if (r == j && c == j) s[j][j] = sqrt(s[j][j]);
                __syncthreads();
                if (c == j && r > j) s[r][j] /= s[j][j];
                __syncthreads();
                if (c > j && r >= c) s[r][c] -= s[r][j] * s[c][j];
            }
            __syncthreads();
            A[r * n + c] = c <= r ? s[r][c] : 0;
        }
        """,
        1, (8, 8), got, 8,
    )  # fmt: skip
    np.testing.assert_allclose(got, np.linalg.cholesky(a), rtol=1e-12, atol=1e-12)


def test_sparse_rows_times_a_vector(cuda, rng):
    dense = integers(rng, (20, 30), F32) * (rng.random((20, 30)) < 0.2)
    rows, columns = np.nonzero(dense)
    starts = np.searchsorted(rows, np.arange(21)).astype(np.int32)
    x, y = integers(rng, 30, F32), np.zeros(20, F32)
    cuda(
        """
        extern "C" __global__ void k(
            const int* start, const int* column, const float* value, const float* x, float* y) {
            int row = threadIdx.x;
            float sum = 0;
            for (int i = start[row]; i < start[row + 1]; i++) sum += value[i] * x[column[i]];
            y[row] = sum;
        }
        """,
        1, 20, starts, columns.astype(np.int32), dense[rows, columns].astype(F32), x, y,
    )  # fmt: skip
    assert np.array_equal(y, dense @ x)


def test_the_longest_of_common_subsequences(cuda, rng):
    x, y = (rng.integers(0, 4, 32).astype(np.int8) for _ in range(2))
    out = np.zeros(1, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const char* x, const char* y, int* out) {
            __shared__ int s[3][33];
            int i = threadIdx.x + 1;
            for (int d = 0; d < 3; d++) { s[d][i] = 0; s[d][0] = 0; }
            for (int d = 2; d <= 64; d++) {  // a diagonal: rows i, columns d - i
                __syncwarp();
                int j = d - i;
                if (j >= 1 && j <= 32)
                    s[d % 3][i] = x[i - 1] == y[j - 1] ? s[(d + 1) % 3][i - 1] + 1
                                                       : max(s[(d + 2) % 3][i], s[(d + 2) % 3][i - 1]);
                else if (j < 1) s[d % 3][i] = 0;
                __syncwarp();
            }
            if (i == 32) *out = s[64 % 3][32];
        }
        """,
        1, 32, x, y, out,
    )  # fmt: skip
    table = np.zeros((33, 33), int)
    for i, j in np.ndindex(32, 32):
        table[i + 1, j + 1] = table[i, j] + 1 if x[i] == y[j] else max(table[i, j + 1], table[i + 1, j])
    assert out[0] == table[-1, -1]
