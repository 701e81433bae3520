"""The counters count exactly what a kernel does."""

import numpy as np

from gaugeblock.gpu.simulator import Launches, counting, settings

SAXPY = """
extern "C" __global__ void k(int n, float a, const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
"""


def test_saxpy_reads_two_words_and_writes_one_per_element(cuda):
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
    with counting() as counters:
        cuda(SAXPY, 4, 256, np.int32(1000), np.float32(2), x, y)
    assert (counters.launches, counters.blocks, counters.threads) == (1, 4, 1024)
    loads, stores = counters.loads["global"], counters.stores["global"]
    assert (loads.asked, stores.asked) == (8000, 4000)
    assert (loads.requests, stores.requests) == (64, 32)
    assert (loads.moved, stores.moved) == (8000, 4000)  # 1000 floats fill 125 sectors
    assert counters.instructions["fma.rn.f32"] == 1000
    assert counters.barriers == 0
    assert np.array_equal(y, 2 * x + 1)


def strided(cuda, step):
    with counting() as counters:
        cuda(
            """
            extern "C" __global__ void k(int step, const float* x, float* y) {
                __shared__ float s[1024];
                int t = threadIdx.x;
                for (int i = t; i < 1024; i += 32) s[i] = 1;
                __syncthreads();
                y[t] = x[t * step] + s[t * step];
            }
            """,
            1,
            32,
            np.int32(step),
            np.zeros(1024, np.float32),
            np.zeros(32, np.float32),
        )
    return counters


def test_a_stride_moves_more_sectors_and_meets_more_banks(cuda):
    assert [strided(cuda, s).loads["global"].moved for s in (1, 2, 8, 32)] == [128, 256, 1024, 1024]
    assert [strided(cuda, s).loads["shared"].wavefronts for s in (1, 2, 8, 32, 31)] == [1, 2, 8, 32, 1]
    assert [strided(cuda, s).loads["shared"].conflicts for s in (1, 2, 8, 32, 0)] == [0, 1, 7, 31, 0]
    assert strided(cuda, 1).barriers == 1


def test_constants_and_parameters_are_no_global_traffic(cuda):
    x = np.zeros(32, np.int32)
    with counting() as counters:
        cuda(
            """
            __constant__ int table[4] = {1, 2, 3, 4};
            extern "C" __global__ void k(int* x) {
                int t = threadIdx.x;
                x[t] = table[t % 4];
            }
            """,
            1,
            32,
            x,
        )
    assert x.tolist() == [1, 2, 3, 4] * 8
    assert "global" not in counters.loads
    assert counters.loads["const"].asked == 128
    assert counters.stores["global"].asked == 128


def test_parameters_read_through_a_pointer_count_apart(ptx):
    x = np.zeros(4, np.uint32)
    with counting() as counters:
        ptx(
            """
            .visible .entry k(.param .u64 x, .param .align 4 .b8 four[16]) {
            .reg .b64 %d<4>; .reg .b32 %i, %v;
            mov.u32 %i, %tid.x; ld.param.u64 %d1, [x]; mad.wide.u32 %d1, %i, 4, %d1;
            mov.b64 %d2, four; mad.wide.u32 %d2, %i, 4, %d2;
            ld.param.u32 %v, [%d2]; st.global.u32 [%d1], %v; ret; }
            """,
            1,
            4,
            x,
            np.uint64(7 + (8 << 32)),
            np.uint64(9 + (10 << 32)),
        )
    assert x.tolist() == [7, 8, 9, 10]
    assert (counters.loads["param"].asked, "global" in counters.loads) == (16, False)


def test_vector_accesses_without_conflicts_take_as_many_passes_as_their_bytes_need(cuda):
    with counting() as counters:
        cuda(
            """
            extern "C" __global__ void k(float4* y) {
                __shared__ float4 s[32];
                int t = threadIdx.x;
                s[t] = float4{1, 2, 3, 4};
                __syncthreads();
                y[t] = s[31 - t];
            }
            """,
            1,
            32,
            np.zeros(128, np.float32),
        )
    assert (counters.loads["shared"].wavefronts, counters.loads["shared"].conflicts) == (4, 0)
    assert (counters.stores["global"].asked, counters.stores["global"].moved) == (512, 512)


def test_launches_are_counted_apart_each_with_its_different_sectors(cuda):
    with settings(counters=Launches()) as changed:
        for n in (1000, 8):
            cuda(SAXPY, 4, 256, np.int32(n), np.float32(2), *np.ones((2, 1000), np.float32))
        cuda(
            """
            extern "C" __global__ void k(const float* x, float* y) {
                for (int i = 0; i < 100; i++) y[threadIdx.x % 8 + 8 * (i % 2)] += x[blockIdx.x];
            }
            """,
            *(1, 8),
            *np.ones((2, 16), np.float32),
        )
    whole, few, again = changed.counters.ended
    assert (whole.read, whole.written, few.read, few.written) == (8000, 4000, 64, 32)
    assert [each.counters.instructions["fma.rn.f32"] for each in (whole, few)] == [1000, 8]
    assert (again.read, again.written) == (32 + 64, 64)
    assert again.counters.loads["global"].moved > again.read
    assert (whole.kernel, whole.blocks, whole.block_threads, whole.shared) == ("k", 4, 256, 0)
    assert ".entry k(" in whole.ptx
