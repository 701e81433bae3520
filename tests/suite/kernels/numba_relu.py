"""A kernel of numba's: the decorator and the launch are all that a backend needs."""

import numpy as np
from numba import cuda


@cuda.jit
def kernel(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i] if not x[i] < 0 else 0


domain = {"relu": {"dtypes": ("float32", "float16"), "empty": False}}


def relu(x):
    kernel[x.size // 256 + 1, 256](x.ravel(), out := np.empty(x.size, x.dtype))
    return out.reshape(x.shape)
