"""Every kind of fault is found, and its message leads to the line and the thread."""

import numpy as np
import pytest

from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.simulator import Fault, Unsupported, driver, settings


def test_a_read_past_the_end_names_line_thread_address_and_allocation(cuda):
    x, y = np.zeros(100, np.float32), np.zeros(128, np.float32)
    with pytest.raises(Fault) as caught:
        cuda(
            """\
            extern "C" __global__ void k(const float* x, float* y) {
                int i = blockIdx.x * blockDim.x + threadIdx.x;
                y[i] = x[i];
            }
            """,
            2,
            64,
            x,
            y,
        )
    fault = caught.value
    assert (fault.kind, fault.kernel, fault.source) == ("out of bounds", "k", "test.cu:3")
    assert (fault.block, fault.thread) == ((1, 0, 0), (36, 0, 0))
    assert "0 bytes past the end of allocation of 400 bytes" in str(fault)
    assert isinstance(fault, driver.LaunchError)


def test_a_write_before_the_beginning_is_out_of_bounds(cuda):
    with pytest.raises(Fault, match=r"4-byte write at address .* 4 bytes before allocation of 16 bytes"):
        cuda('extern "C" __global__ void k(float* x) { x[-1] = 1; }', 1, 1, np.zeros(4, np.float32))


def test_a_predicated_access_of_lanes_that_stay_away_is_no_fault(cuda):
    x, y = np.arange(5, dtype=np.float32), np.zeros(64, np.float32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y) {
            int t = threadIdx.x;
            y[t] = t < 5 ? x[t] : 9;
        }
        """,
        1,
        64,
        x,
        y,
    )
    assert y.tolist() == [0, 1, 2, 3, 4] + [9] * 59


def test_reading_memory_that_nobody_wrote_is_a_fault():
    module = driver.module_from_buffer(
        compiler.compile_source('extern "C" __global__ void k(float* x) {\n x[1] = x[0]; }', "test.cu")
    )
    memory = driver.mem_alloc(8)
    with pytest.raises(
        Fault, match=r"test\.cu:2: uninitialised read .* 4 bytes from byte 0 of allocation of 8 bytes"
    ):
        module.get_function("k").prepare("P").prepared_call((1, 1), (1, 1, 1), memory)


def test_use_after_free_says_that_it_was_freed():
    module = driver.module_from_buffer(
        compiler.compile_source('extern "C" __global__ void k(float* x) { x[2] = 1; }', "test.cu")
    )
    memory = driver.to_device(np.zeros(4, np.float32))
    address = int(memory)
    memory.free()
    with pytest.raises(Fault, match=r"use after free.*8 bytes into freed allocation of 16 bytes"):
        module.get_function("k").prepare("P").prepared_call((1, 1), (1, 1, 1), address)


def test_a_misaligned_vector_access_is_a_fault(cuda):
    with pytest.raises(Fault, match=r"misaligned address.*16-byte access.*4 bytes past a multiple of 16"):
        cuda(
            'extern "C" __global__ void k(float* x) { *(float4*)(x + 1) = float4{1, 2, 3, 4}; }',
            1,
            1,
            np.zeros(8, np.float32),
        )


def test_shared_memory_has_bounds(cuda):
    with pytest.raises(
        Fault, match=r"out of bounds.*shared address 0x100; the shared memory has 256 bytes"
    ) as caught:
        cuda(
            """
            extern "C" __global__ void k(int* x, int n) {
                __shared__ int s[64];
                s[threadIdx.x * n] = 1;
                __syncthreads();
                x[threadIdx.x] = s[threadIdx.x];
            }
            """,
            1,
            33,
            np.zeros(33, np.int32),
            np.int32(2),
        )
    assert caught.value.thread == (32, 0, 0)


def test_dynamic_shared_memory_ends_where_the_launch_said(cuda):
    text = """
    extern "C" __global__ void k(int* x) {
        extern __shared__ int s[];
        s[threadIdx.x] = threadIdx.x;
        x[threadIdx.x] = s[threadIdx.x];
    }
    """
    x = np.zeros(32, np.int32)
    cuda(text, 1, 32, x, shared=128)
    assert np.array_equal(x, np.arange(32))
    with pytest.raises(Fault, match="out of bounds"):
        cuda(text, 1, 32, x, shared=124)


@pytest.mark.parametrize("static", [1, 4, 20, 32])
def test_dynamic_shared_memory_has_all_its_bytes_behind_a_static_array_of_any_size(cuda, static):
    text = """
        extern "C" __global__ void k(char* y) {
            __shared__ volatile char s[SIZE]; extern __shared__ char d[];
            if (threadIdx.x == 0) s[SIZE - 1] = 1;
            __syncthreads();
            d[threadIdx.x] = threadIdx.x + s[SIZE - 1];
            y[threadIdx.x] = d[threadIdx.x];
        }
        """.replace("SIZE", str(static))
    y = np.zeros(32, np.int8)
    cuda(text, 2, 32, y, shared=32)
    assert y.tolist() == list(range(1, 33))
    with pytest.raises(Fault, match="out of bounds"):
        cuda(text, 2, 32, y, shared=31)


def test_shared_memory_must_be_written_before_it_is_read(cuda):
    with pytest.raises(Fault, match=r"uninitialised read.*which no thread has written"):
        cuda(
            """
            extern "C" __global__ void k(int* x) {
                __shared__ int s[64];
                if (threadIdx.x != 5) s[threadIdx.x] = 1;
                __syncthreads();
                x[threadIdx.x] = s[threadIdx.x];
            }
            """,
            1,
            64,
            np.zeros(64, np.int32),
        )


def test_a_trap_and_a_failed_assertion_of_the_kernel_are_faults(cuda):
    with pytest.raises(Fault, match="trap") as caught:
        cuda(
            'extern "C" __global__ void k(int* x) {\n if (threadIdx.x == 3) __trap();\n x[0] = 1; }',
            1,
            8,
            np.zeros(1, np.int32),
        )
    assert caught.value.thread == (3, 0, 0)


def test_code_inlined_from_cuda_headers_is_blamed_on_its_caller(cuda):
    with pytest.raises(Fault, match=r"^test\.cu:3: out of bounds"):
        cuda(
            """\
            extern "C" __global__ void k(int* x) {
                int t = threadIdx.x;
                atomicAdd(&x[t], 1);
            }
            """,
            1,
            8,
            np.zeros(4, np.int32),
        )


def test_unknown_instructions_and_modifiers_are_refused_with_their_line(ptx):
    with pytest.raises(Unsupported, match=r"PTX line \d+: frob.u32: this instruction is not supported"):
        ptx(".visible .entry k() {\n.reg .b32 %r<3>;\nfrob.u32 %r1, %r2;\nret; }", 1, 1)
    with pytest.raises(Unsupported, match=r"add\.weird\.u32: modifier \.weird is not supported"):
        ptx(".visible .entry k() {\n.reg .b32 %r<3>;\nadd.weird.u32 %r1, %r2, %r1;\nret; }", 1, 1)
    with pytest.raises(driver.LogicError, match=r"a \.b32 register where \.u64 is needed"):
        ptx(".visible .entry k() {\n.reg .b32 %r<3>;.reg .b64 %d<2>;\nadd.u64 %d1, %d0, %r1;\nret; }", 1, 1)


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        ((1, 1), (1025, 1, 1), 0, r"block\.x is 1025"),
        ((1, 1), (32, 33, 1), 0, "1056 threads per block"),
        ((1, 65536), (32, 1, 1), 0, r"grid\.y is 65536"),
        ((0, 1), (32, 1, 1), 0, r"grid\.x is 0"),
        ((1, 1), (1, 1, 65), 0, r"block\.z is 65"),
        ((1, 1), (32, 1, 1), 49153, "bytes of shared memory"),
    ],
)
def test_launches_beyond_the_limits_are_refused(ptx, grid, block, shared, message):
    function = driver.module_from_buffer(
        ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k() { ret; }"
    )
    with pytest.raises(driver.LaunchError, match=message):
        function.get_function("k")(grid=grid, block=block, shared=shared)


def test_more_shared_memory_must_be_asked_for_and_has_a_limit(cuda):
    text = """
    extern "C" __global__ void k(int* x) {
        extern __shared__ int s[];
        s[threadIdx.x * 1000] = threadIdx.x;
        x[threadIdx.x] = s[threadIdx.x * 1000];
    }
    """
    x = np.zeros(32, np.int32)
    cuda(text, 1, 32, x, shared=227 * 1024)
    assert np.array_equal(x, np.arange(32))
    with pytest.raises(driver.LogicError, match="exceed"):
        cuda(text, 1, 32, x, shared=227 * 1024 + 1)


def test_settings_return_to_what_they_were():
    with settings(races=False) as inside, settings(order="lanes") as deeper:
        assert (inside.races, deeper.races, deeper.order) == ("off", "off", "lanes")
    with settings() as outside:
        assert (outside.races, outside.order) == ("fault", "lockstep")
