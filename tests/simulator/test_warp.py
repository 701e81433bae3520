"""Lanes of a warp exchange what the PTX manual says they do."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, notes, settings

ORDERS = ["lockstep", "warps", "lanes"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("expression", "source"),
    [
        ("__shfl_xor_sync(~0u, v, 5)", lambda lane: lane ^ 5),
        ("__shfl_up_sync(~0u, v, 3)", lambda lane: lane - 3 if lane >= 3 else lane),
        ("__shfl_down_sync(~0u, v, 7)", lambda lane: lane + 7 if lane + 7 < 32 else lane),
        ("__shfl_sync(~0u, v, 9)", lambda lane: 9),
        ("__shfl_sync(~0u, v, t * 7)", lambda lane: lane * 7 % 32),
        ("__shfl_xor_sync(~0u, v, 3, 8)", lambda lane: lane ^ 3),
        ("__shfl_down_sync(~0u, v, 2, 8)", lambda lane: lane + 2 if lane % 8 + 2 < 8 else lane),
        ("__shfl_up_sync(~0u, v, 2, 8)", lambda lane: lane - 2 if lane % 8 >= 2 else lane),
        ("__shfl_sync(~0u, v, 3, 16)", lambda lane: lane // 16 * 16 + 3),
    ],
)
def test_shuffles_read_the_right_lane(cuda, expression, source, order):
    x = np.zeros(96, np.int32)
    with settings(order=order):
        cuda(
            f"""
            extern "C" __global__ void k(int* x) {{
                int t = threadIdx.x, v = 100 + t;
                x[t] = {expression};
            }}
            """,
            1,
            96,
            x,
        )
    assert x.tolist() == [100 + t // 32 * 32 + source(t % 32) for t in range(96)]


def test_half_a_warp_shuffles_by_its_own_mask(cuda):
    x = np.zeros(32, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            int t = threadIdx.x, v = t * t;
            if (t < 16) v = __shfl_xor_sync(0x0000ffffu, v, 1);
            else        v = __shfl_xor_sync(0xffff0000u, v, 2);
            x[t] = v;
        }
        """,
        1,
        32,
        x,
    )
    assert x.tolist() == [(t ^ (1 if t < 16 else 2)) ** 2 for t in range(32)]


def test_a_block_that_is_no_multiple_of_a_warp_shuffles_among_who_is_there(cuda):
    x = np.zeros(40, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            int t = threadIdx.x;
            x[t] = __shfl_xor_sync(~0u, t, 1);
        }
        """,
        1,
        40,
        x,
    )
    assert x.tolist() == [t ^ 1 for t in range(40)]


def test_a_member_that_never_comes_is_a_fault(cuda):
    with pytest.raises(Fault, match=r"divergent collective.*16 of 32 threads wait here") as caught:
        cuda(
            """\
            extern "C" __global__ void k(int* x) {
                __shared__ int s;
                int t = threadIdx.x;
                if (t < 16) x[t] = __shfl_xor_sync(~0u, t, 1);
                else { s = 1; __syncthreads(); }
            }
            """,
            1,
            32,
            np.zeros(32, np.int32),
        )
    assert caught.value.source == "test.cu:4"


def test_a_lane_outside_its_own_mask_is_a_fault(cuda):
    with pytest.raises(Fault, match="mask 0xffff does not name") as caught:
        cuda(
            'extern "C" __global__ void k(int* x) { x[threadIdx.x] = __shfl_xor_sync(0xffffu, 3, 1); }',
            1,
            32,
            np.zeros(32, np.int32),
        )
    assert caught.value.thread == (16, 0, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_votes_and_ballots_count_the_members(cuda, order):
    x = np.zeros((4, 64), np.uint32)
    with settings(order=order):
        cuda(
            """
            extern "C" __global__ void k(unsigned* x) {
                int t = threadIdx.x;
                x[t] = __ballot_sync(~0u, t % 3 == 0);
                x[64 + t] = __any_sync(~0u, t == 5) + 2 * __all_sync(~0u, t < 32);
                if (t % 2) x[128 + t] = __ballot_sync(0xaaaaaaaau, t % 3 == 0);
                x[192 + t] = __activemask();
            }
            """,
            1,
            64,
            x,
        )
    first = sum(1 << t for t in range(32) if t % 3 == 0)
    second = sum(1 << t for t in range(32) if (t + 32) % 3 == 0)
    assert x[0].tolist() == [first] * 32 + [second] * 32
    assert x[1].tolist() == [3] * 32 + [0] * 32
    odd = 0xAAAAAAAA
    assert x[2].tolist() == [(first if t < 32 else second) & odd if t % 2 else 0 for t in range(64)]
    assert all(word >> (t % 32) & 1 for t, word in enumerate(x[3].tolist()))


def test_lanes_with_equal_values_match(cuda):
    x = np.zeros((2, 32), np.uint32)
    cuda(
        """
        extern "C" __global__ void k(unsigned* x) {
            int t = threadIdx.x, all;
            x[t] = __match_any_sync(~0u, t % 5);
            x[32 + t] = __match_all_sync(~0u, 7, &all) + all;
        }
        """,
        1,
        32,
        x,
    )
    assert x[0].tolist() == [sum(1 << u for u in range(32) if u % 5 == t % 5) for t in range(32)]
    assert x[1].tolist() == [0] * 32  # 0xffffffff + 1


def test_words_are_reduced_over_the_warp(cuda):
    x = np.zeros((6, 32), np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            int t = threadIdx.x, v = (t * 37) % 32 - 16;
            x[t] = __reduce_add_sync(~0u, v);
            x[32 + t] = __reduce_min_sync(~0u, v);
            x[64 + t] = __reduce_max_sync(~0u, v);
            x[96 + t] = __reduce_max_sync(~0u, (unsigned)v);
            x[128 + t] = __reduce_xor_sync(~0u, v);
            if (t < 8) x[160 + t] = __reduce_add_sync(0xffu, v);
        }
        """,
        1,
        32,
        x,
    )
    v = [(t * 37) % 32 - 16 for t in range(32)]
    xor = 0
    for value in v:
        xor ^= value
    assert x[:5, 0].tolist() == [sum(v), min(v), max(v), -1, xor]
    assert (x[:5] == x[:5, :1]).all()
    assert x[5].tolist() == [sum(v[:8])] * 8 + [0] * 24


def test_lane_numbers_and_masks_are_special_registers(cuda):
    x = np.zeros((4, 70), np.uint32)
    cuda(
        """
        extern "C" __global__ void k(unsigned* x) {
            unsigned t = threadIdx.x, v;
            asm("mov.u32 %0, %%laneid;" : "=r"(v)); x[t] = v;
            asm("mov.u32 %0, %%lanemask_lt;" : "=r"(v)); x[70 + t] = v;
            asm("mov.u32 %0, %%lanemask_ge;" : "=r"(v)); x[140 + t] = v;
            asm("mov.u32 %0, %%warpid;" : "=r"(v)); x[210 + t] = v;
        }
        """,
        1,
        70,
        x,
    )
    lanes = np.arange(70) % 32
    assert np.array_equal(x[0], lanes)
    assert x[1].tolist() == [(1 << int(n)) - 1 for n in lanes]
    assert x[2].tolist() == [0xFFFFFFFF ^ ((1 << int(n)) - 1) for n in lanes]
    assert np.array_equal(x[3], np.arange(70) // 32)


SHUFFLE = """\
extern "C" __global__ void k(int* x) {
    int t = threadIdx.x;
    if (t < %d) x[t] = %s;
}
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("some", "expression", "says"),
    [
        (16, "__shfl_sync(0xffffu, t, 16)", "reads lane 16, which the mask 0xffff does not name"),
        (16, "__shfl_xor_sync(0xffffu, t, 16)", "reads lane 16, which the mask 0xffff does not name"),
        (16, "__shfl_down_sync(0xffffu, t, 16)", "reads lane 16, which the mask 0xffff does not name"),
        (32, "t < 16 ? 0 : __shfl_up_sync(0xffff0000u, t, 16)", "reads lane 15, which the mask 0xffff0000"),
        (40, "__shfl_sync(~0u, t, 9)", "reads lane 9, which is not there"),
        (40, "__shfl_xor_sync(~0u, t, 8)", "reads lane 8, which is not there"),
    ],
)
def test_a_shuffle_from_a_lane_outside_the_mask_is_a_fault(cuda, some, expression, says, order):
    with settings(order=order), pytest.raises(Fault, match=f"absent lane.*{says}"):
        cuda(SHUFFLE % (some, expression), 1, 40, np.zeros(40, np.int32))


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_lanes_of_a_reduction_may_read_past_its_end(cuda, order):
    x = np.zeros(40, np.int32)
    notes()
    with settings(order=order):
        cuda(SHUFFLE % (8, "__shfl_down_sync(0xffu, t, 4)"), 1, 40, x)
    assert x[:4].tolist() == [4, 5, 6, 7]
    assert "a shuffle reads lane 8, which the mask 0xff does not name" in notes()[0]
