"""What is done about a finding is a setting: nothing, a note, a fault, and one or several of them."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, driver, notes, settings

MANY = """\
extern "C" __global__ void k(int* x, int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    if (t < 32) s[t] = t;
    __syncthreads();
    y[t] = s[t];
    if (t == 63) y[200] = 1;
    x[t / 2] = t;
}
"""


def run(cuda):
    x, y = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    cuda(MANY, 1, 64, x, y)
    return x, y


def test_the_first_fault_is_raised_with_the_others_that_were_asked_for(cuda):
    with settings(faults=10), pytest.raises(Fault) as caught:
        run(cuda)
    kinds = [(fault.kind, fault.source) for fault in (caught.value, *caught.value.others)]
    assert kinds[:2] == [("uninitialised read", "test.cu:6"), ("out of bounds", "test.cu:7")]
    assert ("race", "test.cu:8") in kinds
    with settings(faults=2), pytest.raises(Fault) as caught:
        run(cuda)
    assert [fault.kind for fault in caught.value.others] == ["out of bounds"]
    with pytest.raises(Fault) as caught:
        run(cuda)
    assert caught.value.others == ()


def test_a_check_that_is_off_lets_a_kernel_go_on_and_a_note_says_what_it_did(cuda):
    text = MANY.replace("if (t == 63) y[200] = 1;", "")
    x, y = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    notes()
    with settings(uninitialised="note", global_races="note"):
        cuda(text, 1, 64, x, y)
    assert y.tolist() == [*range(32), *[0] * 32]
    said = notes()
    assert any("which no thread has written" in note for note in said)
    assert any("test.cu:8" in note and "no barrier between them" in note for note in said)
    with settings(uninitialised="off", global_races=False):
        cuda(text, 1, 64, x, y)
    assert notes() == ()


@pytest.mark.parametrize("check", ["races", "same_bits", "variables", "order_dependence"])
def test_a_level_is_one_of_three(check):
    with (
        pytest.raises(ValueError, match=f"{check} is 'loud', expected 'off', 'note' or 'fault'"),
        settings(**{check: "loud"}),
    ):
        pass


def test_what_leaves_a_variable_may_be_a_note(cuda):
    text = """\
    extern "C" __global__ void k(int* y) {
        __shared__ int a[32], b[32];
        int t = threadIdx.x;
        a[t] = t; b[t] = -t;
        __syncthreads();
        y[t] = a[t + 1] + b[t];
    }
    """
    y = np.zeros(32, np.int32)
    notes()
    with settings(variables="note"):
        cuda(text, 1, 32, y)
    assert any("past the end of" in note for note in notes())
    with pytest.raises(Fault, match="out of bounds"):
        cuda(text, 1, 32, y)


ORDERS = ("lockstep", "warps", "lanes")


def test_a_result_that_depends_on_the_order_is_a_finding_of_its_own(cuda):
    text = """\
    extern "C" __global__ void k(int* last, int* y) {
        y[blockIdx.x * 32 + threadIdx.x] = atomicAdd(last, 1);
    }
    """
    last, y = np.zeros(1, np.int32), np.zeros(128, np.int32)
    with settings(orders=ORDERS), pytest.raises(Fault, match=r"order dependence.*in order lockstep, another"):
        cuda(text, 4, 32, last, y)
    notes()
    with settings(orders=ORDERS, order_dependence="note"):
        cuda(text, 4, 32, last, y)
    assert "order" in notes()[0]
    with settings(orders=ORDERS):
        cuda(text.replace("y[blockIdx.x * 32 + threadIdx.x] = ", ""), 4, 32, last, y)
    assert last[0] == 128 + 128


def test_blocks_take_turns_where_warps_or_lanes_run_one_at_a_time(cuda):
    text = """\
    extern "C" __global__ void k(int* turn, int* seen) {
        for (int i = 0; i < 3; i++) {
            seen[blockIdx.x * 3 + i] = atomicAdd(turn, 1);
            __syncthreads();
        }
    }
    """
    seen = np.zeros((2, 3), np.int32)
    with settings(order="lanes", seed=1, global_races="off"):
        cuda(text, 2, 1, np.zeros(1, np.int32), seen)
    assert sorted(seen.ravel()) == list(range(6))
    assert seen[0].max() > seen[1].min()
    assert seen[1].max() > seen[0].min()


def test_what_was_allocated_and_not_freed_is_listed_on_request():
    with driver.leaks() as left:
        kept = driver.mem_alloc(1000)
        driver.mem_alloc(2000).free()
        driver.to_device(np.zeros(3)).free()
    assert len(left) == 1
    assert left[0].startswith("allocation of 1000 bytes")
    kept.free()
    with driver.leaks() as left:
        pass
    assert left == []
