"""Threads meet at a barrier, or lanes at a collective, of one kind, number and mask, wherever it stands."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, settings

ORDERS = ["lockstep", "warps", "lanes"]

EARLY = """\
extern "C" __global__ void k(int* x, int n) {
    __shared__ int s[96];
    int t = threadIdx.x;
    %s
    s[t] = t;
    for (int i = 0; i < 3; i++) {
        if (i == 1 && t >= n - 5) return;
        __syncthreads();
        int v = s[(t + 1) %% (n - 5)];
        __syncthreads();
        s[t] = v;
    }
    x[t] = s[t];
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("leave", ["if (t >= n) return;", "if (t >= n) { x[t] = 7; return; }"])
@pytest.mark.parametrize("n", [96, 70, 64, 31])
def test_a_thread_that_has_returned_is_not_waited_for(cuda, n, leave, order):
    x = np.full((2, 96), 7, np.int32)
    with settings(order=order, races=False):
        cuda(EARLY % leave, 1, 96, x[0], np.int32(n))
        cuda(EARLY.replace("96", "128") % leave, 1, 96, x[1], np.int32(n))
    for row in x:
        assert row.tolist() == [(t + 3) % (n - 5) for t in range(n - 5)] + [7] * (101 - n)


def test_a_thread_that_went_past_a_barrier_and_worked_on_is_missing_there(cuda):
    text = """\
    extern "C" __global__ void k(int* x, int n) {
        __shared__ int s[64];
        int t = threadIdx.x, sum = 0;
        s[t] = t;
        for (int i = 0; i < n; i++) {
            if (i == t / 32 + 1) break;
            __syncthreads();
            sum += s[63 - t];
            __syncthreads();
        }
        x[t] = sum;
    }
    """
    cuda(text, 1, 64, np.zeros(64, np.int32), np.int32(1))
    with pytest.raises(Fault, match=r"test\.cu:[79]: divergent barrier.*32 of 64 threads.*has exited"):
        cuda(text, 1, 64, np.zeros(64, np.int32), np.int32(3))


ARMS = """
.visible .entry k(.param .u64 x) {{
    .reg .b64 %x, %i; .reg .b32 %t, %s, %v, %u; .reg .pred %p; .shared .align 4 .b8 s[256];
    ld.param.u64 %x, [x]; mov.u32 %t, %tid.x; cvt.u64.u32 %i, %t; shl.b64 %i, %i, 2; add.u64 %x, %x, %i;
    mov.u32 %s, s; mad.lo.u32 %s, %t, 4, %s; st.shared.u32 [%s], %t; setp.{where} %p, %t, {limit};
    @%p bra $A;
    {first}
    bra $B;
$A: {second}
$B: xor.b32 %t, %t, {other}; mov.u32 %s, s; mad.lo.u32 %s, %t, 4, %s; ld.shared.u32 %u, [%s];
    mad.lo.u32 %v, %v, 100, %u; st.global.u32 [%x], %v; ret;
}}
"""


@pytest.mark.parametrize("order", ORDERS)
def test_barriers_in_both_arms_of_a_branch_that_parts_whole_warps_are_one(ptx, order):
    x = np.zeros(64, np.int32)
    arms = {"first": "mov.u32 %v, 1; bar.sync 0;", "second": "mov.u32 %v, 2; bar.sync 0;"}
    with settings(order=order):
        ptx(ARMS.format(**arms, where="lt.u32", limit=32, other=32), 1, 64, x)
    assert x.tolist() == [(2 if t < 32 else 1) * 100 + (t ^ 32) for t in range(64)]


@pytest.mark.parametrize("order", ORDERS)
def test_predicates_are_combined_over_both_arms(ptx, order):
    x = np.zeros(64, np.int32)
    arm = "setp.lt.u32 %p, %t, {}; bar.red.popc.u32 %v, 0, {}%p;"
    with settings(order=order):
        arms = {"first": arm.format(40, ""), "second": arm.format(30, "!")}
        ptx(ARMS.format(**arms, where="lt.u32", limit=32, other=32), 1, 64, x)
    assert x.tolist() == [1000 + (t ^ 32) for t in range(64)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("bar.sync 0;", "bar.sync 1;"),
        ("bar.sync 0;", "bar.red.popc.u32 %v, 0, %p;"),
        ("bar.red.popc.u32 %v, 0, %p;", "bar.red.popc.u32 %v, 1, %p;"),
        ("bar.sync 1, 64;", "bar.sync 1, 32;"),
        ("bar.sync 1, 96;", "bar.sync 1, 96;"),
    ],
)
def test_barriers_of_another_kind_number_or_count_do_not_meet(ptx, first, second):
    text = ARMS.format(first=first, second=second, where="lt.u32", limit=32, other=32)
    with pytest.raises(Fault, match="divergent barrier"):
        ptx(text.replace("setp", "mov.u32 %v, 0; setp"), 1, 64, np.zeros(64, np.int32))


@pytest.mark.parametrize("order", ORDERS)
def test_lanes_of_a_warp_may_wait_at_two_barriers_unless_these_are_aligned(ptx, order):
    x = np.zeros(64, np.int32)
    arms = {"first": "mov.u32 %v, 1; barrier.sync 0;", "second": "mov.u32 %v, 2; barrier.sync 0;"}
    text = ARMS.format(**arms, where="lt.u32", limit=16, other=32)
    with settings(order=order):
        ptx(text, 1, 64, x)
        assert x.tolist() == [(2 if t < 16 else 1) * 100 + (t ^ 32) for t in range(64)]
        with pytest.raises(Fault, match=r"divergent barrier.*waits at PTX line"):
            ptx(text.replace("barrier.sync", "bar.sync"), 1, 64, x)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("shfl.sync.idx.b32 %v, %t, 31, 31, -1;", "shfl.sync.idx.b32 %v, %t, 2, 31, -1;", [31, 2]),
        ("shfl.sync.idx.b32 %v, %t, 2, 31, -1;", "shfl.sync.idx.b32 %v, %t, 31, 31, -1;", [2, 31]),
        ("vote.sync.ballot.b32 %v, %p, -1;", "vote.sync.ballot.b32 %v, !%p, -1;", [0, 0]),
        ("vote.sync.ballot.b32 %v, !%p, -1;", "vote.sync.ballot.b32 %v, !%p, -1;", [0xFFFF0000, 0xFFFF0000]),
        ("redux.sync.add.u32 %v, %t, -1;", "redux.sync.add.u32 %v, 1, -1;", [392, 392]),
        ("match.any.sync.b32 %v, 5, -1;", "match.any.sync.b32 %v, 7, -1;", [0xFFFF0000, 0xFFFF]),
        ("mov.u32 %v, 4; bar.warp.sync -1;", "mov.u32 %v, 5; bar.warp.sync -1;", [4, 5]),
    ],
)
def test_lanes_meet_at_one_collective_in_both_arms(ptx, first, second, wanted, order):
    x = np.zeros(32, np.int32)
    text = ARMS.format(first=first, second=second, where="lt.u32", limit=16, other=0)
    with settings(order=order):
        ptx(text, 1, 32, x)
    assert x.view(np.uint32).tolist() == [(wanted[t < 16] * 100 + t) % 2**32 for t in range(32)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("shfl.sync.idx.b32 %v, %t, 1, 31, -1;", "shfl.sync.bfly.b32 %v, %t, 1, 31, -1;"),
        ("shfl.sync.idx.b32 %v, %t, 1, 31, -1;", "shfl.sync.idx.b32 %v, %t, 1, 31, 0x1ffff;"),
        ("mov.u32 %v, 0; bar.warp.sync -1;", "mov.u32 %v, 0; bar.warp.sync 0x1ffff;"),
    ],
)
def test_lanes_do_not_meet_at_collectives_of_another_kind_or_mask(ptx, first, second):
    text = ARMS.format(first=first, second=second, where="lt.u32", limit=16, other=0)
    with pytest.raises(Fault, match="divergent collective"):
        ptx(text, 1, 32, np.zeros(32, np.int32))


def test_lanes_that_name_each_other_in_different_masks_do_not_meet(cuda):
    with pytest.raises(Fault, match="divergent collective"):
        cuda(
            """
            extern "C" __global__ void k(int* x) {
                int t = threadIdx.x;
                x[t] = __shfl_xor_sync(t < 16 ? 0x0001ffffu : 0xffff8000u, t, 1);
            }
            """,
            1,
            32,
            np.zeros(32, np.int32),
        )


@pytest.mark.parametrize(
    ("barrier", "says"),
    [
        ("bar.sync 1, 48;", "count 48, which is no multiple of 32"),
        ("bar.sync 1, %t;", "count 0, which is no multiple"),
        ("barrier.sync.aligned 0, 31;", "count 31"),
        ("bar.arrive 1, 33;", "count 33"),
        ("bar.sync 16;", "number 16, there are 0 to 15"),
        ("bar.sync %t;", "number 16, there are 0 to 15"),
    ],
)
def test_a_barrier_has_a_number_below_16_and_counts_whole_warps(ptx, barrier, says):
    text = f".visible .entry k() {{ .reg .b32 %t; mov.u32 %t, %tid.x; {barrier} ret; }}"
    with pytest.raises(Fault, match=f"invalid barrier.*{says}"):
        ptx(text, 1, 64)


PRODUCER = """
__device__ void wait(int b) { asm volatile("bar.sync %0, 64;" :: "r"(b) : "memory"); }
__device__ void arrive(int b) { asm volatile("bar.arrive %0, 64;" :: "r"(b) : "memory"); }
extern "C" __global__ void k(const int* x, int* y, int n) {
    __shared__ int s[2][32];
    int t = threadIdx.x % 32;
    if (threadIdx.x < 32) {
        for (int i = 0; i < n; i++) {
            if (i >= 2) wait(3 + i % 2);
            s[i % 2][t] = x[i * 32 + t];
            arrive(1 + i % 2);
        }
    } else {
        for (int i = 0; i < n; i++) {
            wait(1 + i % 2);
            y[i * 32 + t] = s[i % 2][31 - t];
            if (i + 2 < n) arrive(3 + i % 2);
        }
    }
}
"""


@pytest.mark.parametrize("order", ORDERS)
def test_a_producer_arrives_and_goes_on_while_a_consumer_waits(cuda, order):
    x, y = np.arange(7 * 32, dtype=np.int32), np.zeros(7 * 32, np.int32)
    with settings(order=order, seed=3):
        cuda(PRODUCER, 3, 64, x, y, np.int32(7))
    assert np.array_equal(y.reshape(7, 32), x.reshape(7, 32)[:, ::-1])


def test_a_consumer_that_nobody_arrives_for_is_stuck(cuda):
    text = PRODUCER.replace("arrive(1 + i % 2);", "if (i < 2) arrive(1 + i % 2);")
    with pytest.raises(Fault, match="divergent barrier"):
        cuda(text, 1, 64, np.zeros(224, np.int32), np.zeros(224, np.int32), np.int32(7))


@pytest.mark.parametrize("order", ORDERS)
def test_a_count_is_in_whole_warps_though_the_last_warp_is_not(cuda, order):
    x = np.zeros(40, np.int32)
    with settings(order=order):
        cuda(
            """
            extern "C" __global__ void k(int* x) {
                __shared__ int s[40];
                int t = threadIdx.x;
                s[t] = t;
                asm volatile("bar.sync 2, 64;" ::: "memory");
                x[t] = s[39 - t];
            }
            """,
            1,
            40,
            x,
        )
    assert x.tolist() == list(range(40))[::-1]
