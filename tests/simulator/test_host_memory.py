"""Pitched copies, memory that host and kernels share, contexts, and what old kernels rely on."""

import itertools

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver, host_memory, pitched, settings
from gaugeblock.gpu.simulator.errors import Fault
from gaugeblock.gpu.simulator.state.memory import GlobalMemory

FILL = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 x) {
    .reg .b64 %rd<4>;
    .reg .b32 %r<4>;
    ld.param.u64 %rd1, [x];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r1;
    ret;
}
"""

IN_STEP = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 x) {
    .reg .b64 %rd<4>;
    .reg .b32 %r<8>;
    .shared .align 4 .b8 values[512];
    ld.param.u64 %rd1, [x];
    mov.u32 %r1, %tid.x;
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, values;
    add.s32 %r4, %r3, %r2;
    st.shared.u32 [%r4], %r1;
    ld.shared.u32 %r5, [%r4+64];
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r5;
    ret;
}
"""


def fill(pointer: int, threads: int) -> None:
    driver.module_from_buffer(FILL).get_function("k")(pointer, block=(threads, 1, 1))


@pytest.mark.parametrize("make", [host_memory.pagelocked_empty, host_memory.managed_empty])
@pytest.mark.parametrize("order", ["C", "F"])
def test_kernels_and_the_host_share_memory(make, order):
    x = make((2, 3), np.int32, order)
    x[:] = 7
    fill(x.ctypes.data, 6)
    assert x.ravel(order).tolist() == [0, 1, 2, 3, 4, 5]
    assert x.flags.c_contiguous == (order == "C")
    with pytest.raises(Fault, match="past the end"):
        fill(x.ctypes.data, 7)
    assert make((0, 3), np.int32).size == 0
    assert make((), np.dtype([("a", np.int8), ("b", np.float64)])).dtype.names == ("a", "b")


def test_registered_memory_is_the_kernels_until_it_is_not():
    x = host_memory.aligned_empty(4, np.int32, alignment=64)
    assert x.ctypes.data % 64 == 0
    with pytest.raises(driver.LogicError, match="register_host_memory comes before"):
        x.base.get_device_pointer()
    with pytest.raises(Fault):
        fill(x.ctypes.data, 4)
    y = host_memory.register_host_memory(x)
    fill(y.base.get_device_pointer(), 4)
    assert x.tolist() == [0, 1, 2, 3]
    y.base.unregister()
    with pytest.raises(Fault):
        fill(x.ctypes.data, 4)


@pytest.mark.parametrize("flipped", [False, True])
def test_boxes_are_copied_between_pitched_memory_and_strided_arrays(flipped):
    x = np.arange(2 * 3 * 8, dtype=np.uint8).reshape(2, 3, 8)
    memory, pitch = pitched.mem_alloc_pitch(8, 8, 4)
    assert pitch % 256 == 0
    copy, back = pitched.Memcpy3D(), pitched.Memcpy3D()
    copy.set_src_host(x)
    copy.set_dst_device(memory)
    back.set_src_device(memory)
    y = np.zeros((2, 5, 12), np.uint8)
    back.set_dst_host(y)
    for each in (copy, back):
        each.width_in_bytes, each.height, each.depth = 6, 3, 2
    copy.src_x_in_bytes, copy.src_pitch, copy.src_height = 2, 8, 3
    copy.dst_pitch, copy.dst_height = pitch, 4
    back.src_pitch, back.src_height = pitch, 4
    back.dst_x_in_bytes, back.dst_y, back.dst_pitch, back.dst_height = 1, 1, 12, 5
    copy()
    back()
    assert np.array_equal(y[:, 1:4, 1:7], x[:, :, 2:])
    assert y.sum() == x[:, :, 2:].sum()
    copy.depth = 3
    with pytest.raises(driver.LogicError, match=r"row 0 of slice 2 ends .* bytes past the host array"):
        copy()
    copy.src_pitch = 7
    with pytest.raises(driver.LogicError, match="src_pitch is 7, rows have 6 bytes"):
        copy()


def test_rows_are_filled_and_nothing_between_them():
    memory, pitch = pitched.mem_alloc_pitch(8, 3, 16)
    driver.memset_d8(memory, 0, 3 * pitch)
    pitched.memset_d2d16(memory, pitch, 0x1234, 4, 3)
    pitched.memset_d2d8(int(memory) + 8, pitch, 1, 1, 2)
    found = driver.from_device(memory, (3, pitch), np.uint8)
    assert found[:, :8].view(np.uint16).tolist() == [[0x1234] * 4] * 3
    assert found[:, 8:].sum() == 2
    with pytest.raises(driver.LogicError, match="copy of 8 bytes"):
        pitched.memset_d2d32(memory, pitch, 0, 2, 4)


def test_contexts_are_stacked_and_have_an_identity():
    first, second = driver.Device(0).make_context(), driver.Device(0).make_context()
    assert driver.Context.get_current() is second
    assert first != second
    second.detach()
    assert driver.Context.get_current() is first
    first.detach()
    first.detach()
    assert driver.Device(0).retain_primary_context() is driver.Device(0).retain_primary_context()


def test_freed_memory_is_joined_where_no_other_is_left():
    memory = GlobalMemory(1 << 24)
    for _ in range(20):
        blocks = [memory.allocate(1 << 21) for _ in range(6)]
        for block in blocks:
            memory.free(block)
    whole = memory.allocate(3 << 22)
    with pytest.raises(driver.MemoryError, match="out of memory"):
        memory.allocate(1 << 23)
    small = [memory.allocate(1 << 16) for _ in range(30)]
    assert all(
        one.start + one.room <= other.start for one, other in itertools.pairwise(_by_start(small, whole))
    )


def _by_start(blocks, whole):
    return sorted([*blocks, whole], key=lambda block: block.start)


def test_threads_of_a_warp_may_be_let_run_in_step():
    function, memory = driver.module_from_buffer(IN_STEP).get_function("k"), driver.mem_alloc(128)
    with pytest.raises(Fault, match=r"race|uninitialised"):
        function(memory, block=(32, 1, 1))
    for order in ("lockstep", "lanes"):
        with settings(order=order, warp_synchronous=True, shared_written=True):
            function(memory, block=(32, 1, 1))
        assert driver.from_device(memory, 32, np.int32).tolist() == [*range(16, 32), *[0] * 16]
    with settings(warp_synchronous=True, shared_written=True), pytest.raises(Fault, match="race"):
        function(driver.mem_alloc(256), block=(64, 1, 1))
