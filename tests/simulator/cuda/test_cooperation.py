"""Threads that work together: groups, grids, barriers, pipelines, locks, libraries, calls, printing."""

import numpy as np
import pytest

F32 = np.float32
pytestmark = pytest.mark.one_of(2)  # the headers of these libraries take seconds to compile


def test_groups_of_threads_that_took_one_branch(cuda, rng):
    x = rng.integers(-9, 9, 64).astype(np.int32)
    y, count = np.zeros(64, np.int32), np.zeros(1, np.int32)
    cuda(
        """
        #include <cooperative_groups.h>
        namespace cg = cooperative_groups;
        extern "C" __global__ void k(const int* x, int* y, int* count) {
            int v = x[threadIdx.x];
            if (v > 0) {  // one atomic for all who are here
                auto here = cg::coalesced_threads();
                int first = here.thread_rank() == 0 ? atomicAdd(count, here.size()) : 0;
                y[here.shfl(first, 0) + here.thread_rank()] = v;
            }
        }
        """,
        1, 64, x, y, count,
    )  # fmt: skip
    assert count[0] == (x > 0).sum()
    assert np.array_equal(np.sort(y[: count[0]]), np.sort(x[x > 0]))


@pytest.mark.parametrize("size", [4, 16, 32])
def test_tiles_add_and_scan(cuda, rng, size):
    x = rng.integers(-9, 9, 64).astype(np.int32)
    sums, scans = np.zeros((2, 64), np.int32)
    cuda(
        """
        #include <cooperative_groups.h>
        #include <cooperative_groups/reduce.h>
        #include <cooperative_groups/scan.h>
        namespace cg = cooperative_groups;
        extern "C" __global__ void k(const int* x, int* sums, int* scans) {
            auto tile = cg::tiled_partition<SIZE>(cg::this_thread_block());
            int i = threadIdx.x;
            sums[i] = cg::reduce(tile, x[i], cg::plus<int>());
            scans[i] = cg::exclusive_scan(tile, x[i], cg::plus<int>());
        }
        """.replace("SIZE", str(size)),
        1, 64, x, sums, scans,
    )  # fmt: skip
    tiles = x.reshape(-1, size)
    assert np.array_equal(sums, np.repeat(tiles.sum(1), size))
    assert np.array_equal(scans, (np.cumsum(tiles, 1) - tiles).ravel())


def test_a_grid_relaxes_in_step(cuda, rng):
    x = rng.integers(0, 99, 96).astype(F32)
    got, other = x.copy(), np.zeros_like(x)
    cuda(
        """
        #include <cooperative_groups.h>
        extern "C" __global__ void k(float* x, float* y, int turns) {
            auto grid = cooperative_groups::this_grid();
            int i = grid.thread_rank(), n = grid.size();
            for (int t = 0; t < turns; t++) {
                y[i] = 0.5f * (x[(i + 1) % n] + x[(i + n - 1) % n]);
                grid.sync();
                float* kept = x; x = y; y = kept;
            }
        }
        """,
        3, 32, got, other, 2, cooperative=True,
    )  # fmt: skip
    for _ in range(2):
        x = F32(0.5) * (np.roll(x, -1) + np.roll(x, 1))
    assert np.array_equal(got, x)


def test_a_barrier_splits_arriving_from_waiting(cuda, rng):
    x = rng.integers(0, 99, 64).astype(np.int32)
    y = np.zeros_like(x)
    cuda(
        """
        #include <cuda/barrier>
        extern "C" __global__ void k(const int* x, int* y) {
            __shared__ cuda::barrier<cuda::thread_scope_block> ready;
            __shared__ int s[64];
            int t = threadIdx.x;
            if (t == 0) init(&ready, 64);
            __syncthreads();
            s[t] = x[t];
            auto token = ready.arrive();
            int own = 3 * x[t];  // no other thread is needed for this
            ready.wait(std::move(token));
            y[t] = own + s[63 - t];
        }
        """.replace("std::move", "cuda::std::move"),
        1, 64, x, y,
    )  # fmt: skip
    assert np.array_equal(y, 3 * x + x[::-1])


def test_copies_of_one_thread_in_a_pipeline_of_stages(cuda, rng):
    x = rng.integers(0, 99, (6, 32)).astype(np.int32)
    y = np.zeros(32, np.int32)
    cuda(
        """
        #include <cuda_pipeline.h>
        extern "C" __global__ void k(const int* x, int* y, int n) {
            __shared__ int s[3][32];
            int t = threadIdx.x, sum = 0;
            for (int i = 0; i < n + 2; i++) {
                if (i < n) __pipeline_memcpy_async(&s[i % 3][t], x + i * 32 + t, 4);
                __pipeline_commit();
                if (i < 2) continue;
                __pipeline_wait_prior(2);
                __syncwarp();
                sum += s[(i - 2) % 3][31 - t];
                __syncwarp();
            }
            y[t] = sum;
        }
        """,
        1, 32, x, y, 6,
    )  # fmt: skip
    assert np.array_equal(y, x[:, ::-1].sum(0))


def test_copies_fill_with_zeros_and_leave_out(cuda):
    x, y = np.arange(1, 65, dtype=np.int32), np.zeros((2, 64), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const int* x, int* y) {
            __shared__ __align__(16) int s[2][64];
            int t = threadIdx.x, bytes = t < 8 ? 16 : t == 8 ? 8 : 0;
            unsigned to[2];
            for (int i = 0; i < 2; i++) to[i] = __cvta_generic_to_shared(&s[i][t * 4]);
            asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                :: "r"(to[0]), "l"(x + t * 4), "r"(bytes));
            asm volatile("{ .reg .pred p; setp.ge.s32 p, %2, 8;"
                " cp.async.ca.shared.global [%0], [%1], 16, p; }" :: "r"(to[1]), "l"(x + t * 4), "r"(t));
            asm volatile("cp.async.wait_all;");
            __syncthreads();
            for (int i = t; i < 128; i += 16) y[i] = s[i / 64][i % 64];
        }
        """,
        1, 16, x, y,
    )  # fmt: skip
    assert np.array_equal(y, [np.where(np.arange(64) < 34, x, 0), np.where(np.arange(64) < 32, x, 0)])


def test_one_warp_produces_for_another_by_named_barriers(cuda, rng):
    x = rng.integers(0, 99, (4, 32)).astype(np.int32)
    y = np.zeros_like(x)
    cuda(
        """
        #define SYNC(id) asm volatile("bar.sync %0, 64;" :: "n"(id) : "memory")
        #define ARRIVE(id) asm volatile("bar.arrive %0, 64;" :: "n"(id) : "memory")
        extern "C" __global__ void k(const int* x, int* y, int n) {
            __shared__ int s[32];
            int t = threadIdx.x % 32;
            if (threadIdx.x < 32)
                for (int i = 0; i < n; i++) { SYNC(1); s[t] = 2 * x[i * 32 + t]; ARRIVE(2); }
            else {
                ARRIVE(1);
                for (int i = 0; i < n; i++) { SYNC(2); y[i * 32 + t] = s[31 - t]; if (i + 1 < n) ARRIVE(1); }
            }
        }
        """,
        1, 64, x, y, 4,
    )  # fmt: skip
    assert np.array_equal(y, 2 * x[:, ::-1])


def test_a_lock_is_held_by_one_at_a_time(cuda):
    lock, total = np.zeros(1, np.int32), np.zeros(1, np.int32)
    cuda(
        """
        #include <cuda/atomic>
        extern "C" __global__ void k(int* lock, volatile int* total) {
            cuda::atomic_ref<int, cuda::thread_scope_device> held(*lock);
            if (threadIdx.x % 32) return;
            while (held.exchange(1, cuda::memory_order_acquire)) {}
            *total = *total + 1;
            held.store(0, cuda::memory_order_release);
        }
        """,
        4, 64, lock, total,
    )  # fmt: skip
    assert total[0] == 8
    assert lock[0] == 0


def test_threads_push_onto_a_list_without_a_lock(cuda):
    head, links = np.full(1, -1, np.int32), np.zeros(100, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* head, int* next) {
            int i = blockIdx.x * blockDim.x + threadIdx.x, seen = *(volatile int*)head, old;
            do {
                next[i] = old = seen;
                __threadfence();
                seen = atomicCAS(head, old, i);
            } while (seen != old);
        }
        """,
        2, 50, head, links,
    )  # fmt: skip
    at, met = int(head[0]), []
    while at >= 0:
        met.append(at)
        at = int(links[at])
    assert sorted(met) == list(range(100))


@pytest.mark.parametrize("algorithm", ["BLOCK_SCAN_RAKING", "BLOCK_SCAN_WARP_SCANS"])
def test_scans_of_a_block_by_a_library(cuda, rng, algorithm):
    x = rng.integers(-9, 9, 256).astype(np.int32)
    y, total = np.zeros_like(x), np.zeros(1, np.int32)
    cuda(
        """
        #include <cub/block/block_scan.cuh>
        extern "C" __global__ void k(const int* x, int* y, int* total) {
            typedef cub::BlockScan<int, 128, cub::ALGORITHM> Scan;
            __shared__ typename Scan::TempStorage memory;
            int items[2] = {x[2 * threadIdx.x], x[2 * threadIdx.x + 1]}, sum;
            Scan(memory).ExclusiveSum(items, items, sum);
            y[2 * threadIdx.x] = items[0]; y[2 * threadIdx.x + 1] = items[1];
            if (threadIdx.x == 0) *total = sum;
        }
        """.replace("ALGORITHM", algorithm),
        1, 128, x, y, total,
    )  # fmt: skip
    assert np.array_equal(y, np.cumsum(x) - x)
    assert total[0] == x.sum()


def test_sums_and_extremes_of_a_block_by_a_library(cuda, rng):
    x = rng.integers(-99, 99, 128).astype(F32)
    y = np.zeros(2, F32)
    cuda(
        """
        #include <cub/block/block_reduce.cuh>
        extern "C" __global__ void k(const float* x, float* y) {
            typedef cub::BlockReduce<float, 128> Reduce;
            __shared__ typename Reduce::TempStorage memory[2];
            float sum = Reduce(memory[0]).Sum(x[threadIdx.x]);
            auto larger = [](float a, float b) { return fmaxf(a, b); };
            float most = Reduce(memory[1]).Reduce(x[threadIdx.x], larger);
            if (threadIdx.x == 0) { y[0] = sum; y[1] = most; }
        }
        """,
        1, 128, x, y,
    )  # fmt: skip
    assert y.tolist() == [x.sum(), x.max()]


def test_keys_and_values_sorted_by_a_library(cuda, rng):
    keys, values = rng.integers(-999, 999, 128).astype(np.int32), np.arange(128, dtype=np.int32)
    got = keys.copy(), values.copy()
    cuda(
        """
        #include <cub/block/block_radix_sort.cuh>
        extern "C" __global__ void k(int* keys, int* values) {
            typedef cub::BlockRadixSort<int, 64, 2, int> Sort;
            __shared__ typename Sort::TempStorage memory;
            int2 k = ((int2*)keys)[threadIdx.x], v = ((int2*)values)[threadIdx.x];
            int ks[2] = {k.x, k.y}, vs[2] = {v.x, v.y};
            Sort(memory).Sort(ks, vs);
            ((int2*)keys)[threadIdx.x] = {ks[0], ks[1]};
            ((int2*)values)[threadIdx.x] = {vs[0], vs[1]};
        }
        """,
        1, 64, *got,
    )  # fmt: skip
    order = np.argsort(keys, kind="stable")
    assert np.array_equal(got[0], keys[order])
    assert np.array_equal(got[1], order)


def test_operations_chosen_from_a_table_of_functions(cuda, rng):
    x, which = rng.integers(-9, 9, 64).astype(F32), rng.integers(0, 3, 64).astype(np.int32)
    got = x.copy()
    cuda(
        """
        __device__ float square(float x) { return x * x; }
        __device__ float negative(float x) { return -x; }
        __device__ float same(float x) { return x; }
        typedef float (*Operation)(float);
        __constant__ Operation table[] = {square, negative, same};
        extern "C" __global__ void k(float* x, const int* which) {
            x[threadIdx.x] = table[which[threadIdx.x]](x[threadIdx.x]);
        }
        """,
        1, 64, got, which,
    )  # fmt: skip
    assert np.array_equal(got, np.choose(which, [x * x, -x, x]))


def test_a_kernel_prints(cuda, capsys):
    cuda(
        r"""
        extern "C" __global__ void k(float x) {
            if (threadIdx.x < 2)
                printf("%s %d of %u: %5.2f %c%%\n", "thread", threadIdx.x, blockDim.x, x, 'z');
        }
        """,
        1, 32, F32(1.5),
    )  # fmt: skip
    lines = sorted(capsys.readouterr().out.splitlines())
    assert lines == ["thread 0 of 32:  1.50 z%", "thread 1 of 32:  1.50 z%"]
