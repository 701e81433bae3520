"""A kernel of numba's: the decorator and the launch are all that a backend needs."""

import numpy as np
from numba import cuda


@cuda.jit
def kernel(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i] if not x[i] < 0 else 0


domain = {"relu": {"dtypes": ("float32", "float16")}}


def relu(x):
    out = np.empty(x.shape, x.dtype)
    if x.size:
        kernel[(x.size + 255) // 256, 256](x.ravel(), out.reshape(-1))
    return out
