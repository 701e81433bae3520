"""What goes wrong in programs of PyCUDA: each is caught and printed in a line, but the last."""

import numpy as np
import pycuda.autoinit  # noqa: F401
import pycuda.driver as cuda
from pycuda.compiler import SourceModule

module = SourceModule("""
__global__ void scale(float *out, const float *x, float factor, int n)
{
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n)
    out[i] = factor * x[i];
}
""")
scale = module.get_function("scale")
x = np.arange(100, dtype=np.float32)
out = np.empty_like(x)
TEXTURE = 'extern "C" __global__ void k(float *x, cudaTextureObject_t t) { *x = tex1Dfetch<float>(t, 3); }'
NESTED = "__global__ void inner() {} __global__ void k() { inner<<<1, 1>>>(); }"


def call(*scalars, block=(128, 1, 1), **others):
    scale(cuda.Out(out), cuda.In(x), *scalars, block=block, **others)


def freed():
    memory = cuda.mem_alloc(4)
    memory.free()
    cuda.memcpy_htod(memory, x[:1])


factor, n = np.float32(2), np.int32(99)
WRONG = {
    "kernel": lambda: module.get_function("scales"),
    "mangled": lambda: SourceModule("__global__ void k() {}", no_extern_c=True).get_function("k"),
    "number": lambda: call(factor),
    "size": lambda: call(np.float64(2), n),
    "kind": lambda: call(np.int32(2), n),
    "block": lambda: call(factor, n, block=(2048, 1, 1)),
    "grid": lambda: call(factor, n, grid=(1, 70000)),
    "fraction": lambda: call(factor, n, grid=(100 / 128, 1)),
    "shared": lambda: call(factor, n, shared=50000),
    "source": lambda: SourceModule("\n__global__ void k(float *x) { *x = y; }"),
    "global": lambda: module.get_global("factors"),
    "texture": lambda: module.get_texref("image"),
    "array": lambda: cuda.matrix_to_array(np.zeros((4, 4), np.float32), "C"),
    "fetch": lambda: SourceModule(TEXTURE, no_extern_c=True).get_function("k")(
        cuda.Out(out), np.uint64(1), block=(1, 1, 1)
    ),
    "nested": lambda: SourceModule(NESTED, options=["-rdc=true"]).get_function("k")(block=(1, 1, 1)),
    "cubin": lambda: cuda.module_from_buffer(b"\x7fELF"),
    "freed": freed,
    "copy": lambda: cuda.memcpy_htod(cuda.mem_alloc(4), x),
    "file": lambda: cuda.module_from_file("absent.cubin"),
}

if __name__ == "__main__":
    for name, wrong in WRONG.items():
        try:
            wrong()
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}")
        else:
            print(f"{name}: nothing was said")
    call(factor, np.int32(100))
