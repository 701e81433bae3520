"""Sums, extremes, scans and histograms: by shuffles, trees, votes, atomics and across blocks."""

import numpy as np

F32 = np.float32


def test_a_warp_sums_by_shuffles(cuda, rng):
    x = rng.integers(-9, 9, (5, 32)).astype(F32)
    y = np.zeros(5, F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y) {
            float v = x[blockIdx.x * 32 + threadIdx.x];
            for (int d = 16; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
            if (threadIdx.x == 0) y[blockIdx.x] = v;
        }
        """,
        5, 32, x, y,
    )  # fmt: skip
    assert np.array_equal(y, x.sum(1))


def test_a_block_sums_by_a_tree_and_blocks_by_an_atomic(cuda, rng):
    x = rng.integers(-9, 9, 1000).astype(np.int32)
    y = np.zeros(1, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y, int n) {
            __shared__ int s[128];
            int i = blockIdx.x * 128 + threadIdx.x;
            s[threadIdx.x] = i < n ? x[i] : 0;
            for (int d = 64; d; d >>= 1) {
                __syncthreads();
                if (threadIdx.x < d) s[threadIdx.x] += s[threadIdx.x + d];
            }
            if (threadIdx.x == 0) atomicAdd(y, s[0]);
        }
        """,
        8, 128, x, y, 1000,
    )  # fmt: skip
    assert y[0] == x.sum()


def test_the_largest_and_its_first_place(cuda, rng):
    x = rng.integers(0, 50, (4, 64)).astype(F32)
    y = np.zeros(4, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, int* y) {
            const float* row = x + blockIdx.x * 64;
            int at = threadIdx.x;
            float best = row[at];
            if (row[at + 32] > best) best = row[at += 32];
            for (int d = 16; d; d /= 2) {
                float other = __shfl_down_sync(~0u, best, d);
                int where = __shfl_down_sync(~0u, at, d);
                if (other > best || (other == best && where < at)) { best = other; at = where; }
            }
            if (threadIdx.x == 0) y[blockIdx.x] = at;
        }
        """,
        4, 32, x, y,
    )  # fmt: skip
    assert np.array_equal(y, x.argmax(1))


def test_a_histogram_in_shared_memory_is_added_to_the_whole(cuda, rng):
    x = rng.integers(0, 256, 4000).astype(np.uint8)
    y = np.zeros(256, np.uint32)
    cuda(
        """
        extern "C" __global__ void k(const unsigned char* x, unsigned* y, int n) {
            __shared__ unsigned count[256];
            count[threadIdx.x] = 0;
            __syncthreads();
            for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256)
                atomicAdd(count + x[i], 1);
            __syncthreads();
            atomicAdd(y + threadIdx.x, count[threadIdx.x]);
        }
        """,
        4, 256, x, y, 4000,
    )  # fmt: skip
    assert np.array_equal(y, np.bincount(x, minlength=256))


def test_equal_keys_of_a_warp_share_one_atomic(cuda, rng):
    x = rng.integers(0, 5, 256).astype(np.int32)
    y = np.zeros(5, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            int key = x[blockIdx.x * blockDim.x + threadIdx.x];
            unsigned same = __match_any_sync(~0u, key);
            if (threadIdx.x % 32 == __ffs(same) - 1) atomicAdd(y + key, __popc(same));
        }
        """,
        2, 128, x, y,
    )  # fmt: skip
    assert np.array_equal(y, np.bincount(x, minlength=5))


def test_an_inclusive_scan_doubles_its_step(cuda, rng):
    x = rng.integers(-9, 9, 128).astype(np.int32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            __shared__ int s[2][128];
            int t = threadIdx.x, in = 0;
            s[0][t] = x[t];
            __syncthreads();
            for (int d = 1; d < 128; d *= 2, in ^= 1) {
                s[in ^ 1][t] = s[in][t] + (t >= d ? s[in][t - d] : 0);
                __syncthreads();
            }
            y[t] = s[in][t];
        }
        """,
        1, 128, x, y,
    )  # fmt: skip
    assert np.array_equal(y, np.cumsum(x))


def test_an_exclusive_scan_goes_up_and_down_a_tree(cuda, rng):
    x = rng.integers(-9, 9, 128).astype(np.int32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            __shared__ int s[128];
            int t = threadIdx.x;
            s[t] = x[t]; s[t + 64] = x[t + 64];
            int d = 1;
            for (int n = 64; n; n /= 2, d *= 2) {
                __syncthreads();
                if (t < n) s[d * (2 * t + 2) - 1] += s[d * (2 * t + 1) - 1];
            }
            if (t == 0) s[127] = 0;
            for (int n = 1; n < 128; n *= 2) {
                d /= 2;
                __syncthreads();
                if (t < n) {
                    int a = d * (2 * t + 1) - 1, b = d * (2 * t + 2) - 1, kept = s[a];
                    s[a] = s[b];
                    s[b] += kept;
                }
            }
            __syncthreads();
            y[t] = s[t]; y[t + 64] = s[t + 64];
        }
        """,
        1, 64, x, y,
    )  # fmt: skip
    assert np.array_equal(y, np.cumsum(x) - x)


def test_votes_compact_what_is_kept(cuda, rng):
    x = rng.integers(-9, 9, 96).astype(np.int32)
    y, count = np.zeros(96, np.int32), np.zeros(3, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y, int* count) {
            int i = blockIdx.x * 32 + threadIdx.x, v = x[i];
            unsigned kept = __ballot_sync(~0u, v > 0);
            if (v > 0) y[blockIdx.x * 32 + __popc(kept & ((1u << threadIdx.x) - 1))] = v;
            if (threadIdx.x == 0) count[blockIdx.x] = __popc(kept);
        }
        """,
        3, 32, x, y, count,
    )  # fmt: skip
    for row, got, n in zip(x.reshape(3, 32), y.reshape(3, 32), count, strict=True):
        assert got[:n].tolist() == row[row > 0].tolist()


def test_sums_of_segments_that_flags_begin(cuda, rng):
    x, heads = rng.integers(-9, 9, 32).astype(np.int32), rng.random(32) < 0.3
    heads[0] = True
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const int* x, const unsigned char* head, int* y) {
            int lane = threadIdx.x, v = x[lane];
            unsigned heads = __ballot_sync(~0u, head[lane]);
            int first = 31 - __clz(heads & (2u << lane) - 1);
            for (int d = 1; d < 32; d *= 2) {
                int other = __shfl_up_sync(~0u, v, d);
                if (lane - d >= first) v += other;
            }
            y[lane] = v;
        }
        """,
        1, 32, x, heads.astype(np.uint8), y,
    )  # fmt: skip
    starts = np.flatnonzero(heads)
    assert np.array_equal(y, np.concatenate([np.cumsum(part) for part in np.split(x, starts[1:])]))


def test_the_extremes_of_floats_by_atomics_on_their_bits(cuda, rng):
    x = rng.standard_normal(300).astype(F32)
    y = np.array([-np.inf, np.inf], F32)
    cuda(
        """
        __device__ void largest(float* to, float v) {
            int old = __float_as_int(*to), seen;
            do {
                seen = old;
                if (__int_as_float(seen) >= v) return;
                old = atomicCAS((int*)to, seen, __float_as_int(v));
            } while (old != seen);
        }
        extern "C" __global__ void k(const float* x, float* y) {
            float v = x[blockIdx.x * blockDim.x + threadIdx.x];
            largest(y, v);
            if (v >= 0) atomicMin((int*)y + 1, __float_as_int(v));
            else atomicMax((unsigned*)y + 1, __float_as_uint(v));
        }
        """,
        3, 100, x, y,
    )  # fmt: skip
    assert y.tolist() == [x.max(), x.min()]


def test_mean_and_variance_in_one_pass(cuda, rng):
    x = rng.standard_normal((6, 500)).astype(F32)
    y = np.zeros((6, 2), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int n) {
            float count = 0, mean = 0, m2 = 0;
            for (int i = threadIdx.x; i < n; i += 32) {
                float v = x[blockIdx.x * n + i], delta = v - mean;
                mean += delta / ++count;
                m2 += delta * (v - mean);
            }
            for (int d = 16; d; d /= 2) {
                float c = __shfl_xor_sync(~0u, count, d), m = __shfl_xor_sync(~0u, mean, d);
                float q = __shfl_xor_sync(~0u, m2, d), delta = m - mean, all = count + c;
                m2 += q + delta * delta * count * c / all;
                mean += delta * c / all;
                count = all;
            }
            if (threadIdx.x == 0) { y[blockIdx.x * 2] = mean; y[blockIdx.x * 2 + 1] = m2 / count; }
        }
        """,
        6, 32, x, y, 500,
    )  # fmt: skip
    np.testing.assert_allclose(y, np.stack([x.mean(1), x.var(1)], 1), rtol=1e-5, atol=1e-6)


def test_a_dot_product_in_double_precision(cuda, rng):
    x, y = rng.standard_normal((2, 777))
    out = np.zeros(1)
    cuda(
        """
        extern "C" __global__ void k(const double* x, const double* y, double* out, int n) {
            double sum = 0;
            for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
                sum = fma(x[i], y[i], sum);
            for (int d = 16; d; d /= 2) sum += __shfl_down_sync(~0u, sum, d);
            if (threadIdx.x % 32 == 0) atomicAdd(out, sum);
        }
        """,
        3, 64, x, y, out, 777,
    )  # fmt: skip
    np.testing.assert_allclose(out[0], x @ y, rtol=1e-12, atol=1e-12)


def test_a_scan_looks_back_at_the_blocks_before(cuda, rng):
    x = rng.integers(0, 9, (6, 64)).astype(np.int32)
    y, status = np.zeros_like(x), np.zeros(6, np.uint64)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y, unsigned long long* status) {
            __shared__ int s[64], before;
            int t = threadIdx.x, b = blockIdx.x;
            s[t] = x[b * 64 + t];
            for (int d = 1; d < 64; d *= 2) {
                __syncthreads();
                int other = t >= d ? s[t - d] : 0;
                __syncthreads();
                s[t] += other;
            }
            __syncthreads();
            if (t == 0) {
                unsigned long long previous = 0;
                if (b) while (!((previous = atomicAdd(status + b - 1, 0ull)) >> 32));
                before = (int)previous;
                atomicExch(status + b, 1ull << 32 | (unsigned)(before + s[63]));
            }
            __syncthreads();
            y[b * 64 + t] = before + s[t];
        }
        """,
        6, 64, x, y, status,
    )  # fmt: skip
    assert np.array_equal(y.ravel(), np.cumsum(x))


def test_the_last_block_adds_what_all_have_left(cuda, rng):
    x = rng.integers(-9, 9, (5, 64)).astype(np.int32)
    parts, count, out = np.zeros(5, np.int32), np.zeros(1, np.uint32), np.zeros(1, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, volatile int* parts, unsigned* count, int* out) {
            __shared__ bool last;
            int total = __syncthreads_count(x[blockIdx.x * 64 + threadIdx.x] > 0);
            if (threadIdx.x == 0) {
                parts[blockIdx.x] = total;
                __threadfence();
                last = atomicInc(count, gridDim.x - 1) == gridDim.x - 1;
            }
            __syncthreads();
            if (last && threadIdx.x == 0)
                for (int i = 0; i < gridDim.x; i++) *out += parts[i];
        }
        """,
        5, 64, x, parts, count, out,
    )  # fmt: skip
    assert out[0] == (x > 0).sum()
    assert count[0] == 0


def test_reductions_of_a_warp_in_one_instruction(cuda, rng):
    x = rng.integers(-1000, 1000, 32).astype(np.int32)
    y = np.zeros(6, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            int v = x[threadIdx.x];
            int found[6] = {
                (int)__reduce_add_sync(~0u, v), __reduce_min_sync(~0u, v), __reduce_max_sync(~0u, v),
                (int)__reduce_and_sync(~0u, v), (int)__reduce_or_sync(~0u, v),
                (int)__reduce_xor_sync(~0u, v)};
            if (threadIdx.x < 6) y[threadIdx.x] = found[threadIdx.x];
        }
        """,
        1, 32, x, y,
    )  # fmt: skip
    logic = [np.bitwise_and, np.bitwise_or, np.bitwise_xor]
    assert y.tolist() == [x.sum(), x.min(), x.max(), *(function.reduce(x) for function in logic)]


def test_the_longest_run_so_far(cuda, rng):
    x = rng.integers(0, 99, 32).astype(np.int32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            int v = x[threadIdx.x];
            #pragma unroll
            for (int d = 1; d < 32; d <<= 1) {
                int other = __shfl_up_sync(0xffffffff, v, d);
                v = threadIdx.x >= d ? max(v, other) : v;
            }
            y[threadIdx.x] = v;
        }
        """,
        1, 32, x, y,
    )  # fmt: skip
    assert np.array_equal(y, np.maximum.accumulate(x))
