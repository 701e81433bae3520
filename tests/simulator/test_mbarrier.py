"""Barriers as objects: ``mbarrier`` and what C++ makes of it."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver
from gaugeblock.gpu.simulator.machine.settings import settings

ORDERS = pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
ARCHITECTURES = pytest.mark.parametrize("arch", [80, 90])

REVERSE = """
#include <cuda/barrier>
extern "C" __global__ void k(int* x, int turns) {
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    __shared__ int s[96];
    if (threadIdx.x == 0) init(&bar, blockDim.x);
    __syncthreads();
    x += blockIdx.x * blockDim.x;
    int value = x[threadIdx.x];
    for (int t = 0; t < turns; t++) {
        s[threadIdx.x] = value;
        WAIT
        value = s[blockDim.x - 1 - threadIdx.x] + 1;
        bar.arrive_and_wait();
    }
    x[threadIdx.x] = value;
}
"""


@ORDERS
@ARCHITECTURES
def test_threads_of_a_block_wait_for_a_phase(cuda, arch, order):
    x = np.arange(192, dtype=np.int32)
    got = x.copy()
    with settings(order=order):
        cuda(REVERSE.replace("WAIT", "bar.wait(bar.arrive());"), 2, 96, got, np.int32(3), arch=arch)
    assert np.array_equal(got.reshape(2, 96), x.reshape(2, 96)[:, ::-1] + 3)


@pytest.mark.parametrize("arch", [80, 90])
def test_an_arrival_that_is_not_waited_for_orders_nothing(cuda, arch):
    with pytest.raises(driver.Fault) as caught:
        cuda(
            REVERSE.replace("WAIT", "(void)bar.arrive();"),
            1,
            96,
            np.zeros(96, np.int32),
            np.int32(1),
            arch=arch,
        )
    assert caught.value.kind in ("race", "uninitialised read")


def test_who_drops_is_not_waited_for_again(cuda):
    out = np.zeros(64, np.int32)
    cuda(
        """
        #include <cuda/barrier>
        extern "C" __global__ void k(int* out) {
            __shared__ cuda::barrier<cuda::thread_scope_block> bar;
            if (threadIdx.x == 0) init(&bar, 64);
            __syncthreads();
            if (threadIdx.x < 32) { bar.arrive_and_drop(); return; }
            for (int i = 0; i < 3; i++) bar.arrive_and_wait();
            out[threadIdx.x] = 1;
        }
        """,
        1,
        64,
        out,
    )
    assert out.tolist() == [0] * 32 + [1] * 32


PIPELINE = """
#include <cooperative_groups.h>
#include <cuda/pipeline>
extern "C" __global__ void k(int* out, const int* in, int batches) {
    auto block = cooperative_groups::this_thread_block();
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    __shared__ int stage[2][64];
    auto pipe = ROLES;
    int size = block.size();
    if (PRODUCER) for (int b = 0; b < batches; b++) {
        pipe.producer_acquire();
        COPY
        pipe.producer_commit();
    }
    if (CONSUMER) for (int b = 0; b < batches; b++) {
        pipe.consumer_wait();
        out[b * 32 + threadIdx.x % 32] = 2 * stage[b % 2][threadIdx.x % 32 ^ 1];
        pipe.consumer_release();
    }
}
"""
COPY = (
    "cuda::memcpy_async(&stage[b % 2][threadIdx.x % 32], in + b * 32 + threadIdx.x % 32, sizeof(int), pipe);"
)
ROLES = """cuda::make_pipeline(
        block, &state,
        threadIdx.x < 32 ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer)"""


@ORDERS
@ARCHITECTURES
def test_producers_and_consumers_take_turns_in_a_pipeline(cuda, arch, order):
    text = PIPELINE.replace("ROLES", ROLES).replace("PRODUCER", "threadIdx.x < 32")
    text = text.replace("CONSUMER", "threadIdx.x >= 32").replace("COPY", COPY)
    x = np.random.default_rng(1).integers(0, 99, (5, 32)).astype(np.int32)
    out = np.zeros_like(x)
    with settings(order=order):
        cuda(text, 1, 64, out, x, np.int32(5), arch=arch)
    assert np.array_equal(out, 2 * x[:, np.arange(32) ^ 1])


def test_a_consumer_that_does_not_wait_finds_a_copy_on_its_way(cuda):
    text = PIPELINE.replace("ROLES", ROLES).replace("PRODUCER", "threadIdx.x < 32")
    text = text.replace("CONSUMER", "threadIdx.x >= 32").replace("COPY", COPY)
    text = text.replace("pipe.consumer_wait();", "")
    x = np.ones((5, 32), np.int32)
    with pytest.raises(driver.Fault, match=r"race|uninitialised"):
        cuda(text, 1, 64, np.zeros_like(x), x, np.int32(5))


OBJECT = """
.visible .entry k(.param .u64 out) {
    .shared .align 8 .b64 bar; .reg .b64 %p, %s<4>; .reg .b32 %t, %n; .reg .pred %q, %first;
    ld.param.u64 %p, [out]; mov.u32 %t, %tid.x; setp.eq.u32 %first, %t, 0;
    FORM
}
"""


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("mbarrier.arrive.shared.b64 %s1, [bar];", "uninitialised read|which no thread has written"),
        ("st.shared.b64 [bar], 0; mbarrier.arrive.shared.b64 %s1, [bar];", "was not initialised"),
        ("@%first mbarrier.init.shared.b64 [bar], 0;", "an mbarrier of 0 arrivals"),
        ("mbarrier.init.shared.b64 [bar], 2; mbarrier.arrive.shared.b64 %s1, [bar], 3;", "3 arrivals"),
        (
            "mbarrier.init.shared.b64 [bar], 1; mbarrier.arrive.noComplete.shared.b64 %s1, [bar], 1;",
            "completes the phase",
        ),
        ("mbarrier.init.b64 [%p], 1;", "not in shared memory"),
        ("@%first mbarrier.init.shared.b64 [bar], 2; mbarrier.arrive.shared.b64 %s1, [bar];", "race"),
    ],
)
def test_a_misused_object_is_a_fault(ptx, form, message):
    threads = 2 if "race" in message else 1
    with pytest.raises(driver.Fault, match=message):
        ptx(OBJECT.replace("FORM", form + " bar.sync 0; ret;"), 1, threads, np.zeros(4, np.uint64))


def test_a_state_counts_the_arrivals_that_were_missing(ptx):
    out = np.zeros(1, np.uint32)
    form = """
        mbarrier.init.shared.b64 [bar], 7;
        mbarrier.arrive.shared.b64 %s1, [bar], 2;
        mbarrier.arrive.shared.b64 %s2, [bar];
        mbarrier.pending_count.b64 %n, %s2;
        st.global.u32 [%p], %n; mbarrier.inval.shared.b64 [bar]; ret;
    """
    ptx(OBJECT.replace("FORM", form), 1, 1, out)
    assert out.tolist() == [5]


def test_a_wait_for_a_phase_that_never_ends_is_stopped(ptx):
    form = """
        mbarrier.init.shared.b64 [bar], 2;
        mbarrier.arrive.shared.b64 %s1, [bar];
    again: mbarrier.test_wait.shared.b64 %q, [bar], %s1;
        @!%q bra again;
        ret;
    """
    with settings(budget=20_000), pytest.raises(driver.Fault, match="in a circle that changes nothing"):
        ptx(OBJECT.replace("FORM", form), 1, 1, np.zeros(1, np.uint32))
