"""Threads that wait for each other make progress, as independent threads of a GPU do."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, settings

ORDERS = ["lockstep", "warps", "lanes"]


@pytest.mark.parametrize("order", ORDERS)
def test_a_spin_lock_is_passed_from_lane_to_lane(cuda, order):
    x = np.zeros(2, np.int32)
    with settings(order=order):
        cuda(
            """
            extern "C" __global__ void k(volatile int* x) {
                bool done = false;
                while (!done) {
                    if (atomicCAS((int*)x, 0, 1) == 0) {
                        x[1] = x[1] + threadIdx.x;
                        __threadfence();
                        atomicExch((int*)x, 0);
                        done = true;
                    }
                }
            }
            """,
            1,
            40,
            x,
        )
    assert x.tolist() == [0, 40 * 39 // 2]


@pytest.mark.parametrize("order", ORDERS)
def test_a_warp_that_polls_does_not_starve_the_warp_it_waits_for(cuda, order):
    x = np.zeros(65, np.int32)
    with settings(order=order):
        cuda(
            """
            extern "C" __global__ void k(volatile int* x) {
                if (threadIdx.x < 32) {
                    while (x[64] == 0) { }
                    x[threadIdx.x] = x[63 - threadIdx.x];
                } else {
                    x[threadIdx.x] = threadIdx.x;
                    __syncwarp();
                    __threadfence();
                    if (threadIdx.x == 32) x[64] = 1;
                }
            }
            """,
            1,
            64,
            x,
        )
    assert x.tolist() == [63 - t for t in range(32)] + list(range(32, 64)) + [1]


@pytest.mark.parametrize("order", ORDERS)
def test_barriers_count_and_combine_predicates_block_by_block(cuda, order):
    x = np.zeros((3, 4, 48), np.int32)
    with settings(order=order):
        cuda(
            """
            extern "C" __global__ void k(int* x) {
                int t = threadIdx.x, b = blockIdx.x;
                x += b * 192;
                x[t] = __syncthreads_count(t % (b + 2) == 0);
                x[48 + t] = __syncthreads_and(t < 48 - b);
                x[96 + t] = __syncthreads_or(t == 47 + b);
                x[144 + t] = __syncthreads_count(1);
            }
            """,
            3,
            48,
            x,
        )
    for block in range(3):
        want = [len(range(0, 48, block + 2)), int(block == 0), int(block == 0), 48]
        assert np.array_equal(x[block], np.repeat(want, 48).reshape(4, 48))


def test_a_failed_assertion_is_a_trap_and_a_true_one_nothing(cuda):
    text = """\
    #include <cassert>
    extern "C" __global__ void k(int* x) {
        assert(x[threadIdx.x] < 5);
        x[threadIdx.x] = 1;
    }
    """.replace(
        "#include <cassert>",
        'extern "C" __device__ void __assertfail(const char*, const char*, unsigned, const char*, size_t);',
    )
    text = text.replace(
        "assert(x[threadIdx.x] < 5);", 'if (!(x[threadIdx.x] < 5)) __assertfail("x", "f", 3, "k", 1);'
    )
    x = np.arange(5, dtype=np.int32)
    cuda(text, 1, 5, x)
    assert x.tolist() == [1] * 5
    with pytest.raises(Fault, match=r"test\.cu:3: trap in kernel k by thread \(5, 0, 0\).*assertion"):
        cuda(text, 1, 8, np.arange(8, dtype=np.int32))


LONG = """\
extern "C" __global__ void k(unsigned* x, int n) {
    __shared__ unsigned s[64];
    unsigned t = threadIdx.x, v = t;
    %s
    x[t] = v;
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "work",
    [
        "for (int i = 0; i < n; i++) v = v * 1664525u + 1013904223u;",
        "for (int i = 0; i < n / 10; i++) { s[t] = v; __syncthreads(); v += s[63 - t]; __syncthreads(); }",
        "while (atomicAdd(x + 64, 1) < n) v++;",
    ],
)
def test_the_budget_does_not_stop_work_that_goes_on(cuda, work, order):
    with settings(order=order, budget=100):
        cuda(LONG % work, 1, 64, np.zeros(65, np.uint32), np.int32(60))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "work",
    [
        "while (((volatile unsigned*)x)[64] == 0) { }",
        "while (atomicCAS(x + 64, 1, 0) == 0) { }",
        "if (t < 32) while (((volatile unsigned*)x)[64] == 0) { } else if (t < 40) __syncthreads();",
        "for (int i = 0; ; i++) x[64] = i;",
    ],
)
def test_threads_that_never_end_are_stopped(cuda, work, order):
    with settings(order=order, budget=100), pytest.raises(Fault, match=r"test\.cu:\d: watchdog"):
        cuda(LONG % work, 1, 64, np.zeros(65, np.uint32), np.int32(120))


def test_a_circle_is_told_from_a_long_way(cuda):
    with settings(budget=100), pytest.raises(Fault, match="in a circle that changes nothing"):
        cuda(
            LONG % "while (((volatile unsigned*)x)[64] == 0) { }",
            1,
            64,
            np.zeros(65, np.uint32),
            np.int32(1),
        )


GRID = """\
extern "C" __global__ void k(unsigned* x, unsigned* y, int* arrived) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    x[i] = i + 1;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1);
        while (%s < gridDim.x) { }
        __threadfence();
    }
    __syncthreads();
    y[i] = x[n - 1 - i];
}
"""


@pytest.mark.parametrize("look", ["*(volatile int*)arrived", "atomicAdd(arrived, 0)"])
@pytest.mark.parametrize(
    ("order", "blocks", "threads"),
    [("lockstep", 64, 512), ("lockstep", 300, 64), ("warps", 5, 64), ("lanes", 3, 32)],
)
def test_blocks_that_wait_for_the_whole_grid_run_side_by_side(cuda, look, order, blocks, threads):
    x, y = np.zeros((2, blocks * threads), np.uint32)
    with settings(order=order, seed=5):
        cuda(GRID % look, blocks, threads, x, y, np.zeros(1, np.int32))
    assert np.array_equal(y, x[::-1])
    assert y[0] == blocks * threads


@pytest.mark.parametrize("order", ORDERS)
def test_a_block_waits_for_the_flag_of_the_next_in_every_order(cuda, order):
    x, flag = np.zeros(6, np.int32), np.zeros(7, np.int32)
    flag[6] = 1
    with settings(order=order, seed=2):
        cuda(
            """
            extern "C" __global__ void k(int* x, volatile int* flag) {
                int b = blockIdx.x;
                while (flag[b + 1] == 0) { }
                x[b] = flag[b + 1] + 1;
                __threadfence();
                flag[b] = x[b];
            }
            """,
            6,
            1,
            x,
            flag,
        )
    assert x.tolist() == [7, 6, 5, 4, 3, 2]


def test_who_waits_for_what_is_said_of_threads_that_turn_in_a_circle(cuda):
    text = """\
    extern "C" __global__ void k(volatile int* flags) {
        if (blockIdx.x == 0 && threadIdx.x == 0) {
            while (flags[3] != 5) {}
        }
        __syncthreads();
        if (blockIdx.x == 1) while (flags[1] != 2) {}
    }
    """
    with settings(budget=1000), pytest.raises(Fault) as caught:
        cuda(text, 2, 64, np.zeros(4, np.int32))
    said = str(caught.value)
    assert "thread (0, 0, 0) of block (0, 0, 0) waits at test.cu:3 for another value than 0 at" in said
    assert "of block (1, 0, 0) waits at test.cu:6 for another value than 0" in said
    assert "4 bytes from byte 12 of allocation of 16 bytes" in said
    assert "63 threads wait at test.cu:5 for the others" in said


def test_a_complete_barrier_opens_before_threads_are_said_to_turn_in_a_circle(cuda):
    text = """\
    extern "C" __global__ void k(volatile int* flag) {
        if (blockIdx.x == 0) while (*flag == 0) {}
        __syncthreads();
        if (blockIdx.x == 1) *flag = 1;
    }
    """
    with settings(budget=100):
        cuda(text, 2, 64, np.zeros(1, np.int32))
