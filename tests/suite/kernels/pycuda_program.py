"""A program of PyCUDA, as users write them: it checks its results and ends with the status it is told to."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pycuda.autoinit
import pycuda.driver as cuda
import pycuda.gpuarray as gpuarray
from pycuda.compiler import DynamicModule, SourceModule
from pycuda.elementwise import ElementwiseKernel
from pycuda.reduction import ReductionKernel
from pycuda.scan import InclusiveScanKernel
from pycuda.tools import DeviceMemoryPool, PageLockedMemoryPool, context_dependent_memoize

module = SourceModule(
    """
#include <stdio.h>
#include <pycuda-complex.hpp>

__constant__ float factors[4];
struct Pair { int first; float second; };

__global__ void scale(float *out, const float *x, float factor)
{
  out[threadIdx.x] = factor * x[threadIdx.x];
}

__global__ void weigh(float *out, const float *x)
{
  out[threadIdx.x] = factors[threadIdx.x % 4] * x[threadIdx.x];
}

__global__ void structure(float *out, Pair pair, pycuda::complex<float> z, float3 v, short s)
{
  out[0] = pair.first; out[1] = pair.second; out[2] = z.imag(); out[3] = v.z; out[4] = pow(v.x, s);
}

__global__ void reversed(int *out)
{
  extern __shared__ int values[];
  values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}
"""
)
x = np.arange(8, dtype=np.float32)


def check(name: str, found: object, wanted: object) -> None:
    if not np.array_equal(np.asarray(found), np.asarray(wanted)):
        sys.exit(f"{name}: {found}, expected {wanted}")


def calls() -> None:
    scale, out = module.get_function("scale"), np.zeros_like(x)
    scale(cuda.Out(out), cuda.In(x), np.float32(2), block=(8, 1, 1))
    check("In and Out", out, 2 * x)
    scale(
        cuda.InOut(out), gpuarray.to_gpu(x), np.float32(3), block=(8, 1, 1), grid=(1, 1), stream=cuda.Stream()
    )
    check("InOut, on a stream", out, 3 * x)
    memory = cuda.to_device(x)
    scale.prepare("PPf")
    scale.prepared_call((1, 1), (8, 1, 1), memory, memory, 4.0)
    seconds = scale.prepared_timed_call((1, 1), (8, 1, 1), memory, int(memory), 1.0)()
    check("prepared", cuda.from_device_like(memory, x), 4 * x)
    check("timed", seconds >= 0, True)
    turned = gpuarray.empty(8, np.int32)
    module.get_function("reversed")(turned, block=(8, 1, 1), shared=32)
    check("dynamic shared memory", turned.get(), np.arange(8)[::-1])
    address, size = module.get_global("factors")
    cuda.memcpy_htod(address, np.array([1, 10, 100, 1000], np.float32))
    check("size of a constant", size, 16)
    module.get_function("weigh")(cuda.Out(out), cuda.In(x), block=(8, 1, 1))
    check("constants", out, x * np.array([1, 10, 100, 1000] * 2))
    pair = np.zeros((), [("first", np.int32), ("second", np.float32)])
    pair["first"], pair["second"] = 3, 0.5
    v = gpuarray.vec.make_float3(2, 0, 7)
    module.get_function("structure")(
        cuda.Out(out), pair[()], np.complex64(1 + 6j), v, np.int16(3), block=(1, 1, 1)
    )
    check("structs and complex numbers", out[:5], [3, 0.5, 6, 7, 8])


def memory() -> None:
    free, _ = cuda.mem_get_info()
    locked = cuda.pagelocked_empty((2, 4), np.float32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    locked[:] = x.reshape(2, 4)
    pointer = np.intp(locked.base.get_device_pointer())
    module.get_function("scale")(pointer, pointer, np.float32(2), block=(8, 1, 1))
    check("page-locked", locked.ravel(), 2 * x)
    pinned = cuda.register_host_memory(cuda.aligned_empty(8, np.float32))
    pinned[:] = x
    pointer = np.intp(pinned.base.get_device_pointer())
    module.get_function("scale")(pointer, pointer, np.float32(5), block=(8, 1, 1))
    check("registered", pinned, 5 * x)
    managed = cuda.managed_empty(8, np.float32, mem_flags=cuda.mem_attach_flags.GLOBAL)
    managed[:] = x
    module.get_function("scale")(managed, managed, np.float32(3), block=(8, 1, 1))
    check("managed", managed, 3 * x)
    pool = DeviceMemoryPool()
    block = pool.allocate(1000)
    check("pool", (pool.active_blocks, pool.active_bytes, pool.held_blocks), (1, 1000, 0))
    block.free()
    check("pool", (pool.active_blocks, pool.active_bytes, pool.held_blocks), (0, 0, 1))
    pool.stop_holding()
    check("pool of pages", PageLockedMemoryPool().allocate((3, 5), np.float64).shape, (3, 5))
    rows, pitch = cuda.mem_alloc_pitch(16, 2, 4)
    copy = cuda.Memcpy2D()
    copy.set_src_host(x)
    copy.set_dst_device(rows)
    copy.src_pitch, copy.dst_pitch, copy.width_in_bytes, copy.height = 16, pitch, 16, 2
    copy(aligned=True)
    cuda.memset_d2d32(int(rows) + 4, pitch, 0, 1, 2)
    check("rows", cuda.from_device(int(rows) + pitch, 4, np.float32), [4, 0, 6, 7])
    del block, rows
    check("memory in use", free - cuda.mem_get_info()[0] < 1 << 20, True)


def kernels() -> None:
    a = gpuarray.to_gpu(x)
    combine = ElementwiseKernel("float a, float *x, float *out", "out[i] = a * x[i] + sqrt(i)", "combine")
    out = gpuarray.empty_like(a)
    combine(2, a, out)
    check("elementwise", out.get(), (2 * x + np.sqrt(np.arange(8))).astype(np.float32))
    square = ReductionKernel(np.float32, "0", "a+b", "x[i]*x[i]", "const float *x")
    check("reduction", square(a).get(), np.float32(x @ x))
    check("arrays", ((a + 1)[2:6] * a[:4]).get(), (x + 1)[2:6] * x[:4])
    check("extrema", (gpuarray.max(a).get(), gpuarray.dot(a, a).get()), (7, 140))
    counted = gpuarray.to_gpu(np.arange(1000, dtype=np.int32))
    InclusiveScanKernel(np.int32, "a+b")(counted)
    check("scan", counted.get(), np.cumsum(np.arange(1000)))


def modules() -> None:
    linked = DynamicModule()
    linked.add_source(
        "extern __device__ int two(int); __global__ void k(int *x) { *x = two(*x); }", ["-rdc=true"], "a"
    )
    linked.add_source("__device__ int two(int x) { return 2 * x; }", ["-rdc=true"], "b")
    linked.link()
    value = gpuarray.to_gpu(np.array([21], np.int32))
    linked.get_function("k")(value, block=(1, 1, 1))
    check("linked", value.get(), [42])
    templated = SourceModule(
        "template <class T> __device__ T half_of(T x) { return x / 2; }\n"
        'extern "C" __global__ void k(float *x, int n) { if (n < N) x[n] = half_of(x[n]); }',
        options=["-DN=8", "-O3", "-Xptxas", "-v", "--use_fast_math"],
        no_extern_c=True,
        arch="sm_80",
    )
    half = gpuarray.to_gpu(x)
    templated.get_function("k")(half, np.int32(7), block=(1, 1, 1))
    check("options", half.get()[7], 3.5)


def contexts() -> None:
    asked = []

    @context_dependent_memoize
    def once() -> int:
        asked.append(1)
        return len(asked)

    check("a cache by context", (once(), once()), (1, 1))
    check("the context", cuda.Context.get_current() == pycuda.autoinit.context, True)
    failed = []

    def elsewhere() -> None:
        try:
            cuda.mem_alloc(4)
        except cuda.LogicError:
            failed.append(True)
        own = cuda.Device(0).make_context()
        cuda.mem_alloc(4).free()
        own.pop()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    check("a thread without a context", failed, [True])
    device = cuda.Context.get_device()
    check("attributes", device.warp_size, device.get_attributes()[cuda.device_attribute.WARP_SIZE])
    check("of kernels", module.get_function("scale").max_threads_per_block, 1024)
    start, end = cuda.Event(), cuda.Event()
    start.record()
    end.record().synchronize()
    check("time", end.time_since(start) >= 0, True)


if __name__ == "__main__":
    for section in (calls, memory, kernels, modules, contexts):
        section()
    print("right:", *sys.argv[1:])
    sys.exit(int(sys.argv[1]))
