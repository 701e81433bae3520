"""Sorting, searching and selecting."""

import numpy as np


def test_a_bitonic_network_sorts_a_block(cuda, rng):
    x = rng.integers(-999, 999, 128).astype(np.int32)
    got = x.copy()
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            __shared__ int s[128];
            int t = threadIdx.x;
            s[t] = x[t];
            for (int size = 2; size <= 128; size *= 2)
                for (int d = size / 2; d; d /= 2) {
                    __syncthreads();
                    int other = t ^ d;
                    if (other > t && (s[t] > s[other]) == !(t & size)) {
                        int kept = s[t]; s[t] = s[other]; s[other] = kept;
                    }
                }
            __syncthreads();
            x[t] = s[t];
        }
        """,
        1, 128, got,
    )  # fmt: skip
    assert np.array_equal(got, np.sort(x))


def test_neighbours_change_places_in_turns(cuda, rng):
    x = rng.standard_normal(33).astype(np.float32)
    got = x.copy()
    cuda(
        """
        extern "C" __global__ void k(float* x, int n) {
            for (int turn = 0; turn < n; turn++) {
                int i = 2 * threadIdx.x + turn % 2;
                if (i + 1 < n && x[i] > x[i + 1]) { float kept = x[i]; x[i] = x[i + 1]; x[i + 1] = kept; }
                __syncthreads();
            }
        }
        """,
        1, 32, got, 33,
    )  # fmt: skip
    assert np.array_equal(got, np.sort(x))


def test_keys_are_split_bit_by_bit(cuda, rng):
    x = rng.integers(0, 256, 64).astype(np.uint32)
    got = x.copy()
    cuda(
        """
        extern "C" __global__ void k(unsigned* x) {
            __shared__ unsigned s[64], ones[64];
            int t = threadIdx.x;
            unsigned key = x[t];
            for (int bit = 0; bit < 8; bit++) {
                unsigned one = key >> bit & 1;
                ones[t] = one;
                __syncthreads();
                unsigned before = 0, all = 0;
                for (int i = 0; i < 64; i++) { before += i < t ? ones[i] : 0; all += ones[i]; }
                s[one ? 64 - all + before : t - before] = key;
                __syncthreads();
                key = s[t];
                __syncthreads();
            }
            x[t] = key;
        }
        """,
        1, 64, got,
    )  # fmt: skip
    assert np.array_equal(got, np.sort(x))


def test_a_rank_is_how_many_are_smaller(cuda, rng):
    x = rng.permutation(100).astype(np.int32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y, int n) {
            int mine = x[blockIdx.x], smaller = 0;
            for (int i = threadIdx.x; i - (int)threadIdx.x < n; i += 32)
                smaller += __popc(__ballot_sync(~0u, i < n && x[i] < mine));
            if (threadIdx.x == 0) y[smaller] = mine;
        }
        """,
        100, 32, x, y, 100,
    )  # fmt: skip
    assert np.array_equal(y, np.arange(100))


def test_two_sorted_rows_are_merged_by_search(cuda, rng):
    x, y = np.sort(rng.integers(0, 99, (2, 50))).astype(np.int32)
    out = np.zeros(100, np.int32)
    cuda(
        """
        __device__ int below(const int* x, int n, int v, bool equal) {
            int low = 0;
            while (low < n) {
                int middle = (low + n) / 2;
                if (x[middle] < v || (equal && x[middle] == v)) low = middle + 1; else n = middle;
            }
            return low;
        }
        extern "C" __global__ void k(const int* x, const int* y, int* out, int n) {
            int i = threadIdx.x;
            if (i >= n) return;
            out[i + below(y, n, x[i], false)] = x[i];
            out[i + below(x, n, y[i], true)] = y[i];
        }
        """,
        1, 64, x, y, out, 50,
    )  # fmt: skip
    assert np.array_equal(out, np.sort(np.r_[x, y]))


def test_the_four_largest_of_each_row(cuda, rng):
    x = rng.permuted(np.tile(np.arange(64), (5, 1)), axis=1).astype(np.float32)
    y = np.zeros((5, 4), np.float32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y) {
            float a = x[blockIdx.x * 64 + threadIdx.x], b = x[blockIdx.x * 64 + 32 + threadIdx.x];
            for (int i = 0; i < 4; i++) {
                float best = fmaxf(a, b);
                for (int d = 16; d; d /= 2) best = fmaxf(best, __shfl_xor_sync(~0u, best, d));
                if (a == best) a = -1;
                if (b == best) b = -1;
                if (threadIdx.x == 0) y[blockIdx.x * 4 + i] = best;
            }
        }
        """,
        5, 32, x, y,
    )  # fmt: skip
    assert np.array_equal(y, np.sort(x, axis=1)[:, :-5:-1])


def test_keys_find_a_place_in_a_hash_table(cuda, rng):
    keys = rng.permutation(1000)[:100].astype(np.uint32) + 1
    table, found = np.zeros(256, np.uint32), np.zeros(100, np.int32)
    cuda(
        """
        extern "C" __global__ void k(const unsigned* keys, unsigned* table, int* found, int n) {
            int i = threadIdx.x;
            unsigned key = i < n ? keys[i] : 0, at = key * 2654435761u >> 24;
            while (key) {
                unsigned old = atomicCAS(table + at, 0u, key);
                if (old == 0 || old == key) break;
                at = (at + 1) % 256;
            }
            __syncthreads();
            if (i < n) found[i] = __ldcg(table + at) == key;
        }
        """,
        1, 128, keys, table, found, 100,
    )  # fmt: skip
    assert found.all()
    assert np.array_equal(np.sort(table[table > 0]), np.sort(keys))
