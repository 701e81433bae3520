"""The race detector speaks where threads race, and is silent where they do not."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, notes, settings

REDUCE = """\
extern "C" __global__ void k(const int* x, int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    s[t] = x[t];
    %s
    for (int n = 64; n > 0; n /= 2) {
        if (t < n) s[t] += s[t + n];
        %s
    }
    if (t == 0) y[0] = s[0];
}
"""
SYNC = "__syncthreads();"


def reduce_128(cuda, first, second):
    x, y = np.arange(128, dtype=np.int32), np.zeros(1, np.int32)
    cuda(REDUCE % (first, second), 1, 128, x, y)
    return int(y[0])


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
def test_a_correct_reduction_is_silent_in_every_order(cuda, order):
    with settings(order=order, seed=11):
        assert reduce_128(cuda, SYNC, SYNC) == 128 * 127 // 2


@pytest.mark.parametrize(("first", "second"), [("", SYNC), (SYNC, "")])
def test_a_removed_barrier_is_found_even_where_lockstep_hides_it(cuda, first, second):
    with pytest.raises(Fault, match="race in kernel k") as caught:
        reduce_128(cuda, first, second)
    assert caught.value.kind == "race"
    assert "test.cu:7" in str(caught.value)
    assert "no barrier between them" in str(caught.value)


def test_a_hidden_race_gives_a_wrong_result_in_another_order(cuda):
    with settings(races=False):
        assert reduce_128(cuda, SYNC, "") == 128 * 127 // 2
    with settings(races=False, order="lanes", seed=0):
        assert reduce_128(cuda, SYNC, "") != 128 * 127 // 2


def test_two_writers_of_one_word_race(cuda):
    with pytest.raises(Fault, match="a write of 4 bytes at shared address 0x0 and a write by thread"):
        cuda(
            """
            extern "C" __global__ void k(int* x) {
                __shared__ int s[1];
                s[0] = threadIdx.x;
                __syncthreads();
                x[threadIdx.x] = s[0];
            }
            """,
            1,
            32,
            np.zeros(32, np.int32),
        )


def test_neighbouring_bytes_and_halves_do_not_race(cuda):
    x = np.zeros(64, np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            __shared__ unsigned char b[64];
            __shared__ unsigned short h[64];
            int t = threadIdx.x;
            b[t] = t; h[t] = 3 * t;
            __syncthreads();
            x[t] = b[63 - t] + h[63 - t];
        }
        """,
        1,
        64,
        x,
    )
    assert x.tolist() == [4 * (63 - t) for t in range(64)]


def test_many_threads_may_read_what_one_wrote_before_the_barrier(cuda):
    x = np.zeros(96, np.float32)
    cuda(
        """
        extern "C" __global__ void k(float* x) {
            __shared__ float4 s[2];
            if (threadIdx.x == 7) { s[0] = float4{1, 2, 3, 4}; s[1] = float4{5, 6, 7, 8}; }
            __syncthreads();
            float4 v = s[threadIdx.x & 1];
            x[threadIdx.x] = v.x + v.w + ((float*)s)[3];
        }
        """,
        1,
        96,
        x,
    )
    assert x.tolist() == [9.0 if t % 2 == 0 else 17.0 for t in range(96)]


SHIFT = """\
extern "C" __global__ void k(int* x) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = t;
    __syncwarp();
    x[t] = s[%s];
}
"""


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
def test_syncwarp_orders_the_threads_of_a_warp(cuda, order):
    x = np.zeros(64, np.int32)
    with settings(order=order):
        cuda(SHIFT % "t ^ 1", 1, 64, x)
    assert x.tolist() == [t ^ 1 for t in range(64)]


def test_syncwarp_does_not_order_two_warps(cuda):
    with pytest.raises(Fault, match="race"):
        cuda(SHIFT % "t ^ 32", 1, 64, np.zeros(64, np.int32))


def test_reading_before_the_next_write_needs_a_barrier_too(cuda):
    text = """\
    extern "C" __global__ void k(int* x, int n) {
        __shared__ int s[64];
        int t = threadIdx.x, sum = 0;
        for (int i = 0; i < n; i++) {
            s[t] = i * t;
            __syncthreads();
            sum += s[63 - t];
            %s
        }
        x[t] = sum;
    }
    """
    x = np.zeros(64, np.int32)
    cuda(text % SYNC, 1, 64, x, np.int32(3))
    assert x.tolist() == [3 * (63 - t) for t in range(64)]
    with pytest.raises(Fault, match=r"race.*test\.cu:[57]"):
        cuda(text % "", 1, 64, x, np.int32(3))


def test_atomics_among_themselves_do_not_race_but_with_plain_reads_they_do(cuda):
    text = """\
    extern "C" __global__ void k(int* x) {
        __shared__ int s;
        if (threadIdx.x == 0) s = 0;
        __syncthreads();
        atomicAdd(&s, 1);
        %s
        x[threadIdx.x] = s;
    }
    """
    x = np.zeros(64, np.int32)
    cuda(text % SYNC, 1, 64, x)
    assert x.tolist() == [64] * 64
    with pytest.raises(Fault, match=r"race.*atomic"):
        cuda(text % "", 1, 64, x)


def test_blocks_do_not_share_their_shared_memory(cuda):
    x = np.zeros((40, 32), np.int32)
    cuda(
        """
        extern "C" __global__ void k(int* x) {
            __shared__ int s[33];
            s[threadIdx.x] = blockIdx.x + threadIdx.x;
            __syncthreads();
            x[blockIdx.x * 32 + threadIdx.x] = s[31 - threadIdx.x];
        }
        """,
        40,
        32,
        x,
    )
    assert np.array_equal(x, np.add.outer(np.arange(40), np.arange(32)[::-1]))


SAME = """\
extern "C" __global__ void k(int* x) {
    __shared__ volatile long long s[2];
    #pragma unroll %s
    for (int i = 0; i < %s; i++) s[threadIdx.x %% 2] = %s;
    %s
    x[threadIdx.x] = s[0];
}
"""


@pytest.mark.parametrize("order", ["lockstep", "warps", "lanes"])
@pytest.mark.parametrize("kept", [1 << 22, 100])
def test_the_same_bits_for_one_address_are_a_note_and_on_request_a_fault(cuda, order, kept, monkeypatch):
    monkeypatch.setattr("gaugeblock.gpu.simulator.checks.races._LONG", kept)
    x = np.zeros(64, np.int32)
    with settings(order=order):
        notes()
        cuda(SAME % (1, 4, "threadIdx.x % 2 + 5", SYNC), 1, 64, x)
        assert x.tolist() == [5] * 64
        (said,) = notes()
        assert said.startswith("test.cu:4: kernel k: several threads stored the same bits")
        assert notes() == ()
        with settings(same_bits="fault"), pytest.raises(Fault, match="race"):
            cuda(SAME % (1, 4, "threadIdx.x % 2 + 5", SYNC), 1, 64, x)


@pytest.mark.parametrize(
    ("unroll", "turns", "value", "sync"),
    [
        (1, 1, "threadIdx.x == 63", SYNC),  # other bits from one thread
        (1, 1, "(long long)(threadIdx.x / 63) << 32", SYNC),  # in the upper half of the word
        (1, 2, "i", SYNC),  # one thread may be a turn ahead
        (4, 4, "i", SYNC),  # or an instruction
        (1, 1, "7", ""),  # read before all have written
    ],
)
def test_other_bits_for_one_address_stay_a_race(cuda, unroll, turns, value, sync):
    with pytest.raises(Fault, match="race"):
        cuda(SAME % (unroll, turns, value, sync), 1, 64, np.zeros(64, np.int32))


def test_any_bits_for_one_address_may_be_allowed_and_are_noted(cuda):
    x = np.zeros(64, np.int32)
    with settings(other_bits="note"):
        cuda(SAME % (1, 1, "threadIdx.x", SYNC), 1, 64, x)
        with pytest.raises(Fault, match="race"):
            cuda(SAME % (4, 4, "i", SYNC), 1, 64, x)
    assert "several threads stored different bits" in notes()[0]
    assert x[0] % 2 == 0
    assert np.all(x == x[0])
