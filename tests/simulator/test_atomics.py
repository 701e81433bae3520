"""Atomics happen one after the other."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import settings


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
def test_every_increment_counts_and_gets_a_ticket_of_its_own(cuda, order):
    counter, ticket = np.zeros(3, np.uint32), np.zeros(192, np.uint32)
    with settings(order=order, seed=5):
        cuda(
            """
            extern "C" __global__ void k(unsigned* counter, unsigned* ticket) {
                int i = blockIdx.x * blockDim.x + threadIdx.x;
                ticket[i] = atomicAdd(&counter[i % 3], 1u);
            }
            """,
            3,
            64,
            counter,
            ticket,
        )
    assert counter.tolist() == [64, 64, 64]
    for remainder in range(3):
        assert sorted(ticket[remainder::3].tolist()) == list(range(64))


def test_each_operation_has_its_meaning(cuda):
    x = np.array([10, -3, 100, 0b1100, 0b1100, 0b1100, 5, 7, 2, 0], np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            int t = threadIdx.x;
            atomicSub(&x[0], t);
            atomicMax(&x[1], t - 8);
            atomicMin(&x[2], 50 - t);
            atomicAnd(&x[3], ~(1 << (t % 2 + 2)));
            atomicOr(&x[4], 1 << (t % 8));
            atomicXor(&x[5], 1 << (t % 8));
            if (t == 3) atomicExch(&x[6], 77);
            atomicCAS(&x[7], 7, 1000 + t);
            atomicInc((unsigned*)&x[8], 4);
            atomicDec((unsigned*)&x[9], 6);
        }
        """,
        1,
        8,
        x,
    )
    assert x[:7].tolist() == [10 - 28, -1, 43, 0, 0b11111111, 0b1100 ^ 0b11111111, 77]
    assert 1000 <= x[7] < 1008
    assert x[8] == (2 + 8) % 5
    assert x[9] == (0 - 8) % 7


def test_floating_sums_are_exact_where_every_order_is(cuda):
    total = np.zeros(1, np.float32)
    wide = np.zeros(1, np.float64)
    cuda(
        """
        extern "C" __global__ void k(float* total, double* wide) {
            atomicAdd(total, float(threadIdx.x));
            atomicAdd(wide, threadIdx.x * 0.5);
        }
        """,
        4,
        100,
        total,
        wide,
    )
    assert total[0] == 4 * 4950
    assert wide[0] == 2 * 4950


def test_a_spin_on_compare_and_swap_adds_halves(cuda):
    x = np.zeros(2, np.float16)
    cuda(
        """
        #include <cuda_fp16.h>
        extern "C" __global__ void k(__half* x) {
            unsigned* word = (unsigned*)x;
            unsigned old = *word, seen;
            do {
                seen = old;
                __half2 one_two = __halves2half2(__float2half(1.0f), __float2half(2.0f));
                __half2 sum = __hadd2(*(__half2*)&seen, one_two);
                old = atomicCAS(word, seen, *(unsigned*)&sum);
            } while (old != seen);
        }
        """,
        1,
        48,
        x,
    )
    assert x.tolist() == [48, 96]


def test_shared_counters_belong_to_their_block(cuda):
    x = np.zeros(5, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            __shared__ int s;
            if (threadIdx.x == 0) s = blockIdx.x;
            __syncthreads();
            if (threadIdx.x % 2) atomicAdd(&s, 1);
            __syncthreads();
            if (threadIdx.x == 0) x[blockIdx.x] = s;
        }
        """,
        5,
        50,
        x,
    )
    assert x.tolist() == [25 + b for b in range(5)]


def test_a_global_sum_of_floats_flushes_subnormals_and_a_shared_one_does_not(cuda):
    tiny = np.float32(1e-40)
    x = np.array([0, 0], np.float32)
    cuda(
        """
        extern "C" __global__ void k(float* x, float tiny) {
            __shared__ float s;
            s = 0;
            atomicAdd(&s, tiny);
            atomicAdd(&x[0], tiny);
            x[1] = s;
        }
        """,
        1,
        1,
        x,
        tiny,
    )
    assert x.tolist() == [0, tiny]
