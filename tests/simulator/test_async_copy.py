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


COPY = """
.visible .entry k(.param .u64 x, .param .u64 y, .param .u32 n) {{
    .reg .b64 %x, %y, %policy; .reg .b32 %s, %n, %v; .reg .pred %p; .shared .align 16 .b8 s[16];
    ld.param.u64 %x, [x]; ld.param.u64 %y, [y]; ld.param.u32 %n, [n]; mov.u32 %s, s; setp.ne.u32 %p, %n, 0;
    createpolicy.fractional.L2::evict_last.b64 %policy, 1.0;
    cp.async.{copy}; cp.async.wait_all;
    ld.shared.b32 %v, [%s+8]; st.global.L2::cache_hint.b32 [%y], %v, %policy;
    ld.global.L1::evict_last.L2::cache_hint.b32 %v, [%x+4], %policy; st.global.b32 [%y+4], %v;
    red.global.add.L2::cache_hint.u32 [%y+4], 1, %policy;
    ret;
}}
"""


@pytest.mark.parametrize(
    ("copy", "n", "third"),
    [
        ("cg.shared.global.L2::cache_hint [%s], [%x], 16, %policy", 0, 12),
        ("cg.shared.global.L2::cache_hint.L2::128B [%s], [%x], 16, %n, %policy", 12, 12),
        ("cg.shared.global.L2::cache_hint [%s], [%x], 16, %n, %policy", 8, 0),
        ("ca.shared.global [%s+8], [%x], 4, %p", 0, 10),
        ("ca.shared.global.L2::cache_hint [%s+8], [%x], 4, %p, %policy", 1, 0),
    ],
)
def test_a_cache_policy_is_no_size_and_a_predicate_lets_the_source_be_ignored(ptx, copy, n, third):
    x, y = np.arange(10, 14, dtype=np.int32), np.zeros(2, np.int32)
    ptx(COPY.format(copy=copy), 1, 1, x, y, np.int32(n))
    assert y.tolist() == [third, 12]


FLIGHT = """\
#include <cuda_pipeline_primitives.h>
extern "C" __global__ void k(int4* x, int4* y) {
    __shared__ int4 s[32];
    int t = threadIdx.x;
    s[t] = int4{0, 0, 0, 0};
    for (int i = 0; i < 3; i++) {
        __syncthreads();
        __pipeline_memcpy_async(&s[t], &x[t], 16); __pipeline_commit();
        %s
        y[t] = s[t];
    }
    __pipeline_wait_prior(0);
}
"""


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
@pytest.mark.parametrize(
    ("between", "kind"),
    [
        ("", "uninitialised read.*a copy was on its way"),
        ("x[t].y = 7; __pipeline_wait_prior(0);", "race.*the source of the copy at"),
    ],
)
def test_a_copy_in_flight_is_guarded_at_both_ends(cuda, between, kind, order):
    x, y = np.arange(128, dtype=np.int32), np.zeros(128, np.int32)
    with settings(order=order):
        cuda(FLIGHT % "__pipeline_wait_prior(0); x[t].y = i;", 1, 32, x, y)
        assert np.array_equal(y.reshape(32, 4)[:, [0, 2, 3]], np.arange(128).reshape(32, 4)[:, [0, 2, 3]])
        with pytest.raises(Fault, match=kind):
            cuda(FLIGHT % between, 1, 32, x, y)
