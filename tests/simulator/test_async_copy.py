"""Asynchronous copies arrive when they are waited for, and not before."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, settings

PIPELINE = """\
#include <cuda_pipeline_primitives.h>
extern "C" __global__ void k(const float4* x, float4* y) {
    __shared__ float4 s[2][32];
    int t = threadIdx.x;
    __pipeline_memcpy_async(&s[0][t], &x[t], 16); __pipeline_commit();
    for (int i = 0; i < 4; i++) {
        if (i < 3) __pipeline_memcpy_async(&s[(i + 1) % 2][t], &x[(i + 1) * 32 + t], 16);
        __pipeline_commit();
        %s
        __syncthreads();
        y[i * 32 + t] = s[i % 2][31 - t];
        __syncthreads();
    }
}
"""
X = np.arange(4 * 32 * 4, dtype=np.float32)


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
def test_a_double_buffer_works_in_every_order(cuda, order):
    y = np.zeros_like(X)
    with settings(order=order):
        cuda(PIPELINE.replace("%s", "__pipeline_wait_prior(1);"), 1, 32, X.copy(), y)
    assert np.array_equal(y.reshape(4, 32, 4), X.reshape(4, 32, 4)[:, ::-1])


def test_a_missing_wait_is_seen(cuda):
    with pytest.raises(Fault, match="uninitialised read"):
        cuda(PIPELINE.replace("%s", ""), 1, 32, X.copy(), np.zeros_like(X))


def test_waiting_for_one_group_too_few_is_seen(cuda):
    with pytest.raises(Fault, match="uninitialised read"):
        cuda(PIPELINE.replace("%s", "__pipeline_wait_prior(2);"), 1, 32, X.copy(), np.zeros_like(X))


def test_copying_into_a_buffer_that_others_still_read_is_a_race(cuda):
    text = PIPELINE.replace("%s", "__pipeline_wait_prior(1);").replace(
        "31 - t];\n        __syncthreads();", "31 - t];"
    )
    assert text.count("__syncthreads") == 1
    with pytest.raises(Fault, match="race"):
        cuda(text, 1, 32, X.copy(), np.zeros_like(X))


def test_missing_bytes_are_filled_with_zeros_and_not_read(cuda):
    x, y = np.arange(1, 6, dtype=np.float32), np.full(8, np.nan, np.float32)
    cuda(
        """
        #include <cuda_pipeline_primitives.h>
        extern "C" __global__ void k(const float* x, float* y) {
            __shared__ __align__(16) float s[8];
            int t = threadIdx.x;
            __pipeline_memcpy_async(&s[4 * t], &x[4 * t], 16, t == 0 ? 0 : 12);
            __pipeline_commit();
            __pipeline_wait_prior(0);
            __syncthreads();
            for (int i = 0; i < 4; i++) y[4 * t + i] = s[4 * t + i];
        }
        """,
        1,
        2,
        x,
        y,
    )
    assert y.tolist() == [1, 2, 3, 4, 5, 0, 0, 0]


def test_a_source_out_of_bounds_is_blamed_on_the_copy(cuda):
    with pytest.raises(Fault, match=r"test\.cu:5: out of bounds.*16-byte read"):
        cuda(
            """\
            #include <cuda_pipeline_primitives.h>
            extern "C" __global__ void k(const float4* x, float4* y) {
                __shared__ float4 s[4];
                int t = threadIdx.x;
                __pipeline_memcpy_async(&s[t], &x[t], 16);
                __pipeline_commit();
                __pipeline_wait_prior(0);
                y[t] = s[t];
            }
            """,
            1,
            4,
            np.zeros(12, np.float32),
            np.zeros(16, np.float32),
        )
