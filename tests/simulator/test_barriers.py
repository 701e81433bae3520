"""Barriers hold a block together, and say so when it falls apart."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, settings

REVERSE = """
extern "C" __global__ void k(int* x) {
    __shared__ int s[96];
    int t = threadIdx.x;
    s[t] = x[blockIdx.x * 96 + t];
    __syncthreads();
    x[blockIdx.x * 96 + t] = s[95 - t];
}
"""


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
def test_a_barrier_makes_writes_visible_in_every_order(cuda, order):
    x = np.arange(96 * 5, dtype=np.int32)
    with settings(order=order, seed=1):
        cuda(REVERSE, 5, 96, x)
    assert np.array_equal(x, np.arange(96 * 5).reshape(5, 96)[:, ::-1].ravel())


def test_a_barrier_in_a_branch_of_some_threads_is_a_fault(cuda):
    with pytest.raises(
        Fault, match=r"test\.cu:4: divergent barrier.*32 of 64 threads wait here.*has exited"
    ) as caught:
        cuda(
            """\
            extern "C" __global__ void k(int* x) {
                __shared__ int s[64];
                s[threadIdx.x] = 1;
                if (threadIdx.x < 32) __syncthreads();
                x[threadIdx.x] = s[threadIdx.x];
            }
            """,
            1,
            64,
            np.zeros(64, np.int32),
        )
    assert caught.value.kind == "divergent barrier"
    assert caught.value.block == (0, 0, 0)


def test_two_different_barriers_do_not_meet(cuda):
    with pytest.raises(Fault, match=r"divergent barrier.*waits at test\.cu:[46]"):
        cuda(
            """\
            extern "C" __global__ void k(int* x) {
                if (threadIdx.x % 2) {
                    x[threadIdx.x] = 1;
                    asm volatile("bar.sync 0;");
                } else {
                    asm volatile("barrier.sync 0;");
                }
                x[threadIdx.x] = 2;
            }
            """,
            1,
            64,
            np.zeros(64, np.int32),
        )


def test_blocks_pass_barriers_at_different_times(cuda):
    x = np.zeros((8, 32), np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            __shared__ int s[32];
            int t = threadIdx.x;
            s[t] = t;
            __syncthreads();
            for (int i = 0; i < blockIdx.x; i++) {
                int v = s[(t + 1) % 32];
                __syncthreads();
                s[t] = v;
                __syncthreads();
            }
            x[blockIdx.x * 32 + t] = s[t];
        }
        """,
        8,
        32,
        x,
    )
    assert np.array_equal(x, np.add.outer(np.arange(8), np.arange(32)) % 32)


def test_a_named_barrier_counts_the_threads_it_was_given(cuda):
    x = np.zeros(128, np.int32)
    cuda(
        """
        __device__ void meet(int half) {
            if (half) asm volatile("bar.sync 2, 64;" ::: "memory");
            else asm volatile("bar.sync 1, 64;" ::: "memory");
        }
        extern "C" __global__ void k(int* x) {
            __shared__ int s[128];
            int t = threadIdx.x, half = t / 64;
            for (int i = 0; i < (half ? 3 : 1); i++) {
                s[t] = t + i;
                meet(half);
                x[t] = s[half * 64 + (63 - t % 64)];
                meet(half);
            }
        }
        """,
        1,
        128,
        x,
    )
    assert x.tolist() == [63 - t if t < 64 else 64 + 63 - t % 64 + 2 for t in range(128)]


def test_an_endless_loop_is_stopped_by_the_watchdog(cuda):
    with settings(budget=5000), pytest.raises(Fault, match=r"test\.cu:\d: watchdog") as caught:
        cuda(
            """\
            extern "C" __global__ void k(volatile int* x) {
                while (x[0] == 0) { }
            }
            """,
            1,
            32,
            np.zeros(1, np.int32),
        )
    assert caught.value.kind == "watchdog"
