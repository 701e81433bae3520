"""Cooperative groups: tiles of a warp, several warps, the whole grid; clocks."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver
from gaugeblock.gpu.simulator.machine.settings import settings

ROTATE = """
#include <cooperative_groups.h>
extern "C" __global__ void k(int* x, int* y, int turns) {
    cooperative_groups::grid_group grid = cooperative_groups::this_grid();
    int n = grid.size(), i = grid.thread_rank();
    for (int t = 0; t < turns; t++) {
        y[i] = x[(i + 1) % n];
        grid.sync();
        x[i] = y[i] + 1;
        grid.sync();
    }
}
"""


def rotated(compiled, blocks, threads, turns, cooperative=True):
    function = driver.module_from_buffer(compiled(ROTATE)).get_function("k")
    x = np.arange(blocks * threads, dtype=np.int32)
    places = [driver.to_device(x), driver.to_device(np.zeros_like(x))]
    function(*places, np.int32(turns), grid=(blocks,), block=(threads,), cooperative=cooperative)
    return driver.from_device(places[0], x.shape, x.dtype)


@pytest.mark.parametrize("order", ["lockstep", "warps"])
def test_the_blocks_of_a_grid_wait_for_each_other(compiled, order):
    blocks, threads, turns = (5, 32, 2) if order == "warps" else (300, 64, 3)
    with settings(order=order):
        got = rotated(compiled, blocks, threads, turns)
    n = blocks * threads
    assert np.array_equal(got, (np.arange(n) + turns) % n + turns)


def test_grids_of_other_launches_cannot_be_waited_for(compiled):
    with pytest.raises(driver.Fault, match="trap"):
        rotated(compiled, 4, 32, 1, cooperative=False)


def test_a_cooperative_launch_has_no_more_threads_than_are_resident(compiled):
    with pytest.raises(
        driver.LaunchError, match="too many blocks in a cooperative launch: 513 of 512 threads"
    ):
        rotated(compiled, 513, 512, 1)


def test_tiles_reduce_scan_and_share_among_their_threads(cuda):
    x = np.random.default_rng(3).integers(-9, 9, 64).astype(np.int32)
    out = np.zeros((4, 64), np.int32)
    cuda(
        """
        #include <cooperative_groups.h>
        #include <cooperative_groups/reduce.h>
        #include <cooperative_groups/scan.h>
        namespace cg = cooperative_groups;
        extern "C" __global__ void k(const int* x, int* out) {
            auto block = cg::this_thread_block();
            auto tile = cg::tiled_partition<8>(block);
            int i = block.thread_rank();
            out[i] = cg::reduce(tile, x[i], cg::plus<int>());
            out[64 + i] = cg::inclusive_scan(tile, x[i]);
            auto same = cg::binary_partition(tile, x[i] > 0);
            out[128 + i] = same.num_threads();
            if (x[i] > 0) {
                auto here = cg::coalesced_threads();
                out[192 + i] = here.shfl(i, 0);
            }
        }
        """,
        1,
        64,
        x,
        out,
    )
    tiles = x.reshape(8, 8)
    positive = tiles > 0
    assert np.array_equal(out[0].reshape(8, 8), np.repeat(tiles.sum(1), 8).reshape(8, 8))
    assert np.array_equal(out[1].reshape(8, 8), np.cumsum(tiles, axis=1))
    count = positive.sum(1, keepdims=True)
    assert np.array_equal(out[2].reshape(8, 8), np.where(positive, count, 8 - count))
    warps = (x > 0).reshape(2, 32)
    first = warps.argmax(1)[:, None] + 32 * np.arange(2)[:, None]
    assert np.array_equal(out[3].reshape(2, 32), np.where(warps, first, 0))


def test_tiles_of_several_warps_meet_in_shared_memory_of_their_own(cuda):
    x = np.random.default_rng(4).integers(-9, 9, 256).astype(np.int32)
    out = np.zeros(256, np.int32)
    cuda(
        """
        #include <cooperative_groups.h>
        #include <cooperative_groups/reduce.h>
        namespace cg = cooperative_groups;
        extern "C" __global__ void k(const int* x, int* out) {
            auto tile = cg::tiled_partition<64>(cg::this_thread_block());
            int i = threadIdx.x;
            out[i] = cg::reduce(tile, x[i], cg::plus<int>());
        }
        """,
        1,
        256,
        x,
        out,
    )
    assert np.array_equal(out, np.repeat(x.reshape(4, 64).sum(1), 64))


def test_clocks_go_on(cuda):
    out = np.zeros(2, np.int64)
    cuda(
        """
        extern "C" __global__ void k(long long* out) {
            long long start = clock64(), now;
            unsigned long long timer;
            asm volatile("mov.u64 %0, %globaltimer;" : "=l"(timer));
            while ((now = clock64()) - start < 1000);
            out[0] = now - start;
            out[1] = timer;
        }
        """,
        1,
        1,
        out,
    )
    assert out[0] >= 1000
    assert out[1] > 0
