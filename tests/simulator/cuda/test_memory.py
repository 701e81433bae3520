"""How kernels move data: strides, vectors, tiles, halos, constants, structs, templates."""

import numpy as np

F32 = np.float32


def test_saxpy_in_a_loop_over_the_grid(cuda, rng):
    x, y = rng.standard_normal((2, 1000)).astype(F32)
    got = y.copy()
    cuda(
        """
        extern "C" __global__ void k(float a, const float* x, float* y, int n) {
            for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
                y[i] = __fmul_rn(a, x[i]) + y[i];
        }
        """,
        3, 64, F32(2), x, got, 1000,
    )  # fmt: skip
    assert np.array_equal(got, 2 * x + y)


def test_copies_of_four_floats_at_once(cuda, rng):
    x = rng.standard_normal(512).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const float4* __restrict__ x, float4* y) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            float4 v = __ldg(x + i);
            __stcs(y + i, make_float4(v.w, v.z, v.y, v.x));
        }
        """,
        2, 64, x, y,
    )  # fmt: skip
    assert np.array_equal(y.reshape(-1, 4), x.reshape(-1, 4)[:, ::-1])


def test_transpose_through_a_padded_tile(cuda, rng):
    x = rng.standard_normal((70, 50)).astype(F32)
    y = np.zeros((50, 70), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int rows, int columns) {
            __shared__ float tile[16][17];
            int c = blockIdx.x * 16 + threadIdx.x, r = blockIdx.y * 16 + threadIdx.y;
            if (r < rows && c < columns) tile[threadIdx.y][threadIdx.x] = x[r * columns + c];
            __syncthreads();
            c = blockIdx.y * 16 + threadIdx.x, r = blockIdx.x * 16 + threadIdx.y;
            if (r < columns && c < rows) y[r * rows + c] = tile[threadIdx.x][threadIdx.y];
        }
        """,
        (4, 5), (16, 16), x, y, 70, 50,
    )  # fmt: skip
    assert np.array_equal(y, x.T)


def test_a_polynomial_with_constant_coefficients(cuda, rng):
    x = rng.integers(-9, 9, 100).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        __constant__ float c[4] = {1, -2, 3, 4};
        template <int N> __device__ float horner(float x) { return horner<N - 1>(x) * x + c[N]; }
        template <> __device__ float horner<0>(float x) { return c[0]; }
        extern "C" __global__ void k(const float* x, float* y) { y[threadIdx.x] = horner<3>(x[threadIdx.x]); }
        """,
        1, 100, x, y,
    )  # fmt: skip
    assert np.array_equal(y, np.polyval([1, -2, 3, 4], x))


def test_a_struct_comes_by_value(cuda):
    kind = np.dtype([("scale", "f4"), ("shift", "i2"), ("on", "u1"), ("weights", "f8", 3)], align=True)
    given = np.array([(2.5, -3, 1, (1, 10, 100))], kind)
    out = np.zeros(3)
    cuda(
        """
        struct Given { float scale; short shift; unsigned char on; double weights[3]; };
        extern "C" __global__ void k(const Given* memory, double* out) {
            Given g = *memory;
            if (g.on) out[threadIdx.x] = g.scale * g.weights[threadIdx.x] + g.shift;
        }
        """,
        1, 3, given, out,
    )  # fmt: skip
    assert np.array_equal(out, 2.5 * np.array([1, 10, 100.0]) - 3)


def test_a_struct_is_a_parameter_that_is_indexed(cuda):
    out = np.zeros(4, np.int32)
    cuda(
        """
        struct Four { int v[4]; };
        extern "C" __global__ void k(Four f, int* out) { out[threadIdx.x] = f.v[3 - threadIdx.x] * 2; }
        """,
        1, 4, *map(np.int32, (1, 2, 3, 4)), out,
    )  # fmt: skip
    assert out.tolist() == [8, 6, 4, 2]


def test_dynamic_shared_memory_holds_two_arrays(cuda, rng):
    x = rng.integers(0, 99, 64).astype(np.int32)
    y = np.zeros(64)
    cuda(
        """
        extern __shared__ unsigned char raw[];
        extern "C" __global__ void k(const int* x, double* y) {
            double* d = (double*)raw;
            int* s = (int*)(d + blockDim.x);
            int t = threadIdx.x;
            s[t] = x[t];
            d[t] = 0.5 * t;
            __syncthreads();
            y[t] = s[blockDim.x - 1 - t] + d[(t + 1) % blockDim.x];
        }
        """,
        1, 64, x, y, shared=64 * 12,
    )  # fmt: skip
    assert np.array_equal(y, x[::-1] + 0.5 * ((np.arange(64) + 1) % 64))


def test_a_stencil_in_one_dimension_with_a_halo(cuda, rng):
    x = rng.integers(-9, 9, 300).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        #define R 3
        extern "C" __global__ void k(const float* x, float* y, int n) {
            __shared__ float s[64 + 2 * R];
            int i = blockIdx.x * 64 + threadIdx.x, t = threadIdx.x + R;
            auto at = [&](int j) { return j < 0 || j >= n ? 0.f : x[j]; };
            s[t] = at(i);
            if (threadIdx.x < R) { s[t - R] = at(i - R); s[t + 64] = at(i + 64); }
            __syncthreads();
            float sum = 0;
            #pragma unroll
            for (int d = -R; d <= R; d++) sum += s[t + d];
            if (i < n) y[i] = sum;
        }
        """,
        5, 64, x, y, 300,
    )  # fmt: skip
    assert np.array_equal(y, np.convolve(x, np.ones(7, F32), "same"))


def test_a_step_of_diffusion_in_two_dimensions(cuda, rng):
    x = rng.integers(-9, 9, (40, 33)).astype(F32)
    y = x.copy()
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int H, int W) {
            int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;
            if (c < 1 || r < 1 || c >= W - 1 || r >= H - 1) return;
            const float* p = x + r * W + c;
            y[r * W + c] = p[0] + 0.25f * (p[1] + p[-1] + p[W] + p[-W] - 4 * p[0]);
        }
        """,
        (5, 10), (8, 4), x, y, 40, 33,
    )  # fmt: skip
    want = x.copy()
    inner = x[1:-1, 1:-1]
    around = x[1:-1, 2:] + x[1:-1, :-2] + x[2:, 1:-1] + x[:-2, 1:-1]
    want[1:-1, 1:-1] = inner + F32(0.25) * (around - 4 * inner)
    assert np.array_equal(y, want)


def test_sums_over_a_cube_with_a_grid_of_three_dimensions(cuda, rng):
    x = rng.integers(0, 9, (6, 7, 8)).astype(np.int32)
    y = np.zeros((4, 5, 6), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            int i = blockIdx.z, j = blockIdx.y, l = blockIdx.x, sum = 0;
            for (int t = threadIdx.x; t < 27; t += 32)
                sum += x[((i + t / 9) * 7 + j + t / 3 % 3) * 8 + l + t % 3];
            sum = __reduce_add_sync(~0u, sum);
            if (threadIdx.x == 0) y[(i * gridDim.y + j) * gridDim.x + l] = sum;
        }
        """,
        (6, 5, 4), 32, x, y,
    )  # fmt: skip
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3, 3))
    assert np.array_equal(y, windows.sum((3, 4, 5)))


def test_gather_and_scatter_by_index(cuda, rng):
    x, order = rng.standard_normal(200).astype(F32), rng.permutation(200).astype(np.int32)
    y, z = np.zeros((2, 200), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const int* order, float* gathered, float* scattered) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            gathered[i] = x[order[i]];
            scattered[order[i]] = x[i];
        }
        """,
        2, 100, x, order, y, z,
    )  # fmt: skip
    assert np.array_equal(y, x[order])
    assert np.array_equal(z[order], x)


def test_local_arrays_are_indexed_at_run_time(cuda, rng):
    x = rng.integers(0, 16, (32, 16)).astype(np.int32)
    y = np.zeros((32, 16), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            int count[16] = {};
            for (int i = 0; i < 16; i++) count[x[threadIdx.x * 16 + i]]++;
            for (int i = 0; i < 16; i++) y[threadIdx.x * 16 + i] = count[i];
        }
        """,
        1, 32, x, y,
    )  # fmt: skip
    assert np.array_equal(y, [np.bincount(row, minlength=16) for row in x])


def test_structs_become_arrays(cuda, rng):
    x = rng.standard_normal((100, 3)).astype(F32)
    y = np.zeros((3, 100), F32)
    cuda(
        """
        struct Point { float x, y, z; };
        extern "C" __global__ void k(const Point* p, float* out, int n) {
            int i = threadIdx.x;
            Point q = p[i];
            out[i] = q.x; out[n + i] = q.y; out[2 * n + i] = q.z;
        }
        """,
        1, 100, x, y, 100,
    )  # fmt: skip
    assert np.array_equal(y, x.T)


def test_variables_of_the_module_keep_what_blocks_add(cuda):
    out = np.zeros(2, np.int32)
    cuda(
        """
        __device__ int total = 100, table[3] = {1, 2, 3};
        __device__ int* chosen = table + 1;
        extern "C" __global__ void k(int* out) {
            if (threadIdx.x == 0) out[0] = atomicAdd(&total, 0) >= 100;
            atomicAdd(&total, chosen[0]);
            __threadfence();
            if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) out[1] = *chosen + chosen[1];
        }
        """,
        4, 32, out,
    )  # fmt: skip
    assert out.tolist() == [1, 5]


def test_bits_are_seen_as_other_types(cuda, rng):
    x = rng.standard_normal(64).astype(F32)
    y = np.zeros((3, 64), np.uint32)
    cuda(
        """
        union Bits { float f; unsigned u; unsigned char b[4]; };
        extern "C" __global__ void k(const float* x, unsigned* y) {
            int t = threadIdx.x;
            Bits bits{x[t]};
            y[t] = bits.u ^ 0x80000000u;
            y[64 + t] = bits.b[3] << 8 | bits.b[0];
            y[128 + t] = __float_as_uint(__uint_as_float(bits.u & 0x7fffffff));
        }
        """,
        1, 64, x, y,
    )  # fmt: skip
    bits = x.view(np.uint32)
    assert np.array_equal(y, [bits ^ 0x80000000, bits >> 24 << 8 | bits & 255, bits & 0x7FFFFFFF])


def test_a_convolution_whose_kernel_is_constant(cuda, rng):
    x, w = rng.integers(-5, 6, 256).astype(F32), np.array([1, 4, 6, 4, 1], F32)
    y = np.zeros(252, F32)
    cuda(
        """
        __constant__ float w[5] = {1, 4, 6, 4, 1};
        extern "C" __global__ void k(const float* x, float* y, int n) {
            __shared__ float s[128 + 4];
            int first = blockIdx.x * 128;
            for (int i = threadIdx.x; i < 132 && first + i < n + 4; i += blockDim.x) s[i] = x[first + i];
            __syncthreads();
            if (first + threadIdx.x >= n) return;
            float sum = 0;
            for (int d = 0; d < 5; d++) sum += w[d] * s[threadIdx.x + d];
            y[first + threadIdx.x] = sum;
        }
        """,
        2, 128, x, y, 252,
    )  # fmt: skip
    assert np.array_equal(y, np.convolve(x, w, "valid"))


def test_the_next_tile_is_loaded_while_this_one_is_used(cuda, rng):
    x = rng.integers(0, 9, (8, 64)).astype(np.int32)
    y = np.zeros(64, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y, int tiles) {
            __shared__ int s[2][64];
            int t = threadIdx.x, sum = 0;
            s[0][t] = x[t];
            __syncthreads();
            for (int i = 0; i < tiles; i++) {
                int next = i + 1 < tiles ? x[(i + 1) * 64 + t] : 0;
                sum += s[i & 1][63 - t] * (i + 1);
                if (i + 1 < tiles) s[(i + 1) & 1][t] = next;
                __syncthreads();
            }
            y[t] = sum;
        }
        """,
        1, 64, x, y, 8,
    )  # fmt: skip
    assert np.array_equal(y, (x[:, ::-1] * np.arange(1, 9)[:, None]).sum(0))
