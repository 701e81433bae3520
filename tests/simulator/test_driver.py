"""The façade answers as pycuda.driver does."""

import subprocess
import sys

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver, settings

HEADER = ".version 8.0\n.target sm_90\n.address_size 64\n"
EMPTY = (
    b".version 8.0\n.target sm_90\n.address_size 64\n"
    b".visible .entry k(.param .u64 a, .param .u32 b) { ret; }\n\0"
)


def test_the_device_says_what_it_is():
    driver.init()
    device = driver.Device(0)
    assert device.name() == "Gaugeblock simulated CUDA device"
    assert device.compute_capability() == (9, 0)
    assert device.get_attribute(driver.device_attribute.WARP_SIZE) == 32
    with pytest.raises(driver.LogicError, match="ordinal 1"):
        driver.Device(1)


def test_a_context_is_one_object_by_which_caches_can_be_keyed():
    device = driver.Device(0)
    context = device.make_context()
    try:
        assert driver.Context.get_current() is driver.Context.get_current() is context
    finally:
        context.pop()
    assert device.retain_primary_context() is device.retain_primary_context()


def test_copies_go_round_and_sets_fill():
    host = np.arange(10, dtype=np.float64)
    memory, other = driver.to_device(host), driver.mem_alloc(80)
    driver.memcpy_dtod(other, memory, 80)
    assert np.array_equal(driver.from_device(other, 10, np.float64), host)
    driver.memset_d8(other, 0xAB, 80)
    driver.memset_d32(int(other) + 8, 7, 2)
    assert driver.from_device(other, 20, np.uint32).tolist() == [0xABABABAB] * 2 + [7, 7] + [0xABABABAB] * 16


def test_copies_keep_within_their_allocation():
    memory = driver.mem_alloc(16)
    with pytest.raises(driver.LogicError, match="copy of 20 bytes"):
        driver.memcpy_htod(memory, np.zeros(5, np.float32))
    with pytest.raises(driver.LogicError, match="copy of 4 bytes"):
        driver.memcpy_dtoh(np.zeros(1, np.float32), int(memory) + 16)


def test_allocations_are_apart_aligned_and_counted():
    free, total = driver.mem_get_info()
    blocks = [driver.mem_alloc(n) for n in (1, 255, 256, 257, 5000)]
    assert all(int(b) % 256 == 0 for b in blocks)
    assert driver.mem_get_info() == (free - sum(b.size for b in blocks), total)
    for block in blocks:
        block.free()
    assert driver.mem_get_info() == (free, total)
    with pytest.raises(driver.LogicError, match="freed twice"):
        blocks[0].free()
    with pytest.raises(driver.LogicError, match="0 bytes"):
        driver.mem_alloc(0)
    with pytest.raises(driver.MemoryError, match="out of memory"):
        driver.mem_alloc(total)


def test_freed_memory_is_used_again_in_the_end():
    addresses = set()
    for _ in range(1000):
        addresses.add(int(driver.mem_alloc(1000)))
    assert len(addresses) < 400


def test_functions_are_found_prepared_and_called_with_the_right_arguments():
    module = driver.module_from_buffer(EMPTY)
    function = module.get_function("k").prepare("Pi")
    memory = driver.mem_alloc(4)
    function.prepared_call((1, 1), (1, 1, 1), memory, 3)
    function.prepared_async_call((1, 1), (1, 1, 1), None, int(memory), 3, shared_size=16)
    with pytest.raises(driver.LogicError, match="arguments do not match"):
        function.prepared_call((1, 1), (1, 1, 1), memory)
    with pytest.raises(driver.LogicError, match=r"16 bytes.*12"):
        module.get_function("k").prepare("PP")
    with pytest.raises(driver.LogicError, match=r"no kernel 'j'.*kernels: k"):
        module.get_function("j")


@pytest.mark.parametrize(
    "arguments",
    [(), (0,), (np.int32(1), 0), (0, np.int64(1)), (0, 1), (0, np.int16(1)), (0, np.int32(1), np.int32(1))],
)
def test_arguments_that_do_not_fit_the_parameters_are_refused(arguments):
    function = driver.module_from_buffer(EMPTY).get_function("k")
    function(0, np.int32(1), block=(1, 1, 1))
    with pytest.raises(driver.LogicError, match=r"k: arguments of \[.*\] bytes, .*: \[8, 4\]"):
        function(*arguments, block=(1, 1, 1))


def test_a_signature_of_the_right_size_that_lies_across_parameters_is_refused():
    text = HEADER + ".visible .entry k(.param .u64 a, .param .u32 b, .param .u32 c) { ret; }"
    function = driver.module_from_buffer(text).get_function("k").prepare("Pii").prepare("P2i").prepare("Pff")
    for signature in ("PP", "iiP"):
        with pytest.raises(driver.LogicError, match=r"k: .*parameters"):
            function.prepare(signature)


def test_the_alignment_of_what_a_parameter_points_to_is_not_its_own(ptx):
    x = np.zeros(2, np.float32)
    ptx(
        """
        .visible .entry k(.param .u32 n, .param .u64 .ptr .global .align 1 x, .param .u32 m,
                          .param .u64 .ptr .global .align 16 y) {
            .reg .b64 %x, %y; .reg .b32 %n, %m;
            ld.param.u32 %n, [n]; ld.param.u64 %x, [x]; ld.param.u32 %m, [m]; ld.param.u64 %y, [y];
            st.global.u32 [%x], %n; st.global.u32 [%y+4], %m; ret;
        }
        """,
        1,
        1,
        np.float32(3),
        x,
        np.float32(4),
        x,
    )
    assert x.tolist() == [0, 4]  # the arrays are copied back in order


def test_cubins_and_nonsense_are_refused():
    with pytest.raises(driver.LogicError, match="cubin"):
        driver.module_from_buffer(b"\x7fELF....")
    with pytest.raises(driver.LogicError, match="PTX line 1"):
        driver.module_from_buffer(b"hello")


def test_variables_of_a_module_are_initialised_and_addressable(cuda):
    out = np.zeros(8, np.int32)
    cuda(
        """
        struct Link { const int* to; int step; };
        __device__ int numbers[5] = {3, 1, 4, 1, 5};
        __constant__ short small[3] = {-7, 8, -9};
        __device__ Link link = {numbers + 2, 40};
        extern "C" __global__ void k(int* out) {
            int t = threadIdx.x;
            out[t] = t < 5 ? numbers[t] : t < 7 ? small[t - 4] : link.to[0] + link.step;
        }
        """,
        1,
        8,
        out,
    )
    assert out.tolist() == [3, 1, 4, 1, 5, 8, -9, 44]


def test_time_passes_between_events():
    first, second = driver.Event().record(), driver.Event().record()
    assert second.synchronize().time_since(first) >= 0
    with pytest.raises(driver.LogicError, match="not recorded"):
        driver.Event().time_since(first)


MOVE = """
.visible .entry k(.param .u64 x, .param .u64 y, .param .u64 z) {
    .reg .b64 %x, %y, %z, %i, %a; .reg .b32 %t, %v; .reg .pred %p;
    ld.param.u64 %x, [x]; ld.param.u64 %y, [y]; ld.param.u64 %z, [z];
    mov.u32 %t, %tid.x; cvt.u64.u32 %i, %t; shl.b64 %i, %i, 2;
    add.u64 %a, %x, %i; ld.global.b32 %v, [%a];
    and.b32 %t, %t, 1; setp.ne.u32 %p, %t, 0; selp.b64 %a, %y, %z, %p;
    add.u64 %a, %a, %i; st.global.b32 [%a], %v; ret;
}
"""


def _lent(array, label, writable=True):
    return array.__array_interface__["data"][0], array.nbytes, writable, label


@pytest.mark.parametrize("order", ["lockstep", "lanes"])
def test_host_memory_can_be_lent_to_a_kernel_beside_memory_of_the_device(order):
    function = driver.module_from_buffer(HEADER + MOVE).get_function("k")
    block = np.arange(100, 140, dtype=np.float32)
    x, y, z = block[4:36], np.zeros(32, np.float32), driver.to_device(np.zeros(32, np.float32))
    pointers = [x.__array_interface__["data"][0], y.__array_interface__["data"][0], z]
    lent = [_lent(x, "x"), _lent(x[2:], "x again"), _lent(y, "y"), _lent(x[:0], "nothing")]
    with driver.lending(lent), settings(order=order):
        function(*pointers, block=(32, 1, 1))
    odd = np.arange(32) % 2 == 1
    assert np.array_equal(y, np.where(odd, x, 0))
    assert np.array_equal(driver.from_device(z, 32, np.float32), np.where(odd, 0, x))
    with pytest.raises(driver.Fault, match="out of bounds"):
        function(*pointers, block=(32, 1, 1))


def test_host_memory_that_is_lent_has_bounds_and_may_be_for_reading_only():
    function = driver.module_from_buffer(HEADER + MOVE).get_function("k")
    block = np.arange(64, dtype=np.float32)
    x, y = block[:32], np.zeros(64, np.float32)
    pointers = [x.__array_interface__["data"][0], *[y.__array_interface__["data"][0]] * 2]
    with driver.lending([_lent(x, "the memory of x"), _lent(y, "y")]):
        function(*pointers, block=(32, 1, 1))
        with pytest.raises(
            driver.Fault, match=r"out of bounds.* 0 bytes past the end of the memory of x"
        ) as caught:
            function(*pointers, block=(33, 1, 1))
    assert caught.value.thread == (32, 0, 0)
    assert np.array_equal(y[:32], x)
    assert not y[32:].any()
    with (
        driver.lending([_lent(x, "x"), _lent(y, "y", writable=False)]),
        pytest.raises(driver.Fault, match=r"write to read-only memory.* of y"),
    ):
        function(*pointers, block=(32, 1, 1))


def test_an_allocation_may_outlive_the_interpreter():
    program = "from gaugeblock.gpu.simulator import driver; kept = driver.mem_alloc(4)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
