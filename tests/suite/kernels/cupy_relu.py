"""A raw kernel of CuPy: its text, and a function that launches it."""

import cupy as cp
import numpy as np

kernel = cp.RawKernel(
    r"""
extern "C" __global__ void relu(const float* x, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = x[i] < 0 ? 0 : x[i];
}
""",
    "relu",
)


arrays = "cuda"
domain = {"relu": {"dtypes": ("float32",), "layout": "packed", "empty": False}}


def relu(x):
    kernel((x.size // 256 + 1,), (256,), (cp.asarray(x), out := cp.empty(x.shape, x.dtype), np.int32(x.size)))
    return out
