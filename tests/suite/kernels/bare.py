"""Right numbers and nothing else: kernels as they are written every day.

No argument is checked; whatever NumPy makes of a misuse is the answer. Sums of products are BLAS's or
einsum's, in an order that depends on layouts; padding of a convolution is zeros that take part in products.
"""

from typing import Any

import numpy as np
from slide import Array, counts, einsum, gather, numbers, pairs

F = np.float32
D = np.float64


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return np.maximum(x, x.dtype.type(0))


def relu_backward(dy: Array, x: Array) -> Array:
    """Return dy where x is positive, NaN where x is."""
    with np.errstate(all="ignore"):
        return np.where(x > 0, dy, np.where(np.isnan(x), x, x.dtype.type(0)))


def tanh(x: Array) -> Array:
    """Return tanh x."""
    return np.tanh(x.astype(D)).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """Return 1/(1 + exp(−x))."""
    with np.errstate(all="ignore"):
        return (1 / (1 + np.exp(-x.astype(D)))).astype(x.dtype)


def softmax(x: Array, *, axis: int = -1) -> Array:
    """Return exp(x − m)/Σ exp(x − m), m the maximum."""
    with np.errstate(all="ignore"):
        shifted = x.astype(D) - np.max(x.astype(D), axis, keepdims=True, initial=-np.inf)
        e = np.exp(shifted)
        return (e / e.sum(axis, keepdims=True)).astype(x.dtype)


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Array:
    """Return α·a·b + β·c, as BLAS has it: what is multiplied by 0 is not read."""
    left = (a.swapaxes(-1, -2) if transpose_a else a).astype(F, copy=False)
    right = (b.swapaxes(-1, -2) if transpose_b else b).astype(F, copy=False)
    with np.errstate(all="ignore"):
        if alpha == 0:
            product = np.zeros_like(left, shape=left.shape[:-1])[..., None] * np.zeros(right.shape[-1], F)
            product = np.broadcast_to(
                product, np.broadcast_shapes(product.shape, (*right.shape[:-2], 1, 1))
            ).copy()
        else:
            product = F(alpha) * (left @ right)
        if beta != 0:
            product = product + F(beta) * np.asarray(c).astype(F)
        return product.astype(a.dtype)


def conv(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Return the convolution by all windows at once and a sum of products."""
    size, kernel = x.shape[2:], w.shape[2:]
    stride, dilation = (numbers(value, len(size)) for value in (stride, dilation))
    around = pairs(padding, size, kernel, stride, dilation)
    output = counts(size, kernel, stride, dilation, around)
    windows = gather(x.astype(F), kernel, stride, dilation, around, output, 0.0)
    windows = windows.reshape(x.shape[0], groups, x.shape[1] // groups, *windows.shape[2:])
    weights = w.astype(F).reshape(groups, w.shape[0] // groups, *w.shape[1:])
    with np.errstate(all="ignore"):
        y = np.einsum(einsum(len(size)), windows, weights, dtype=F).reshape(x.shape[0], w.shape[0], *output)
        if bias is not None:
            y = y + bias.astype(F).reshape(-1, *(1,) * len(size))
        return y.astype(x.dtype)


def max_pool(
    x: Array, *, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Array:
    """Return the maximum of every window."""
    size, axes = x.shape[2:], x.ndim - 2
    kernel, dilation = numbers(kernel, axes), numbers(dilation, axes)
    stride = kernel if stride is None else numbers(stride, axes)
    around = pairs(padding, size, kernel, stride, dilation)
    output = counts(size, kernel, stride, dilation, around, ceil_mode)
    windows = gather(x.astype(F), kernel, stride, dilation, around, output, -np.inf)
    return windows.max(axis=tuple(range(3, 2 + 2 * axes, 2)), initial=-np.inf).astype(x.dtype)


def avg_pool(
    x: Array,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: float | None = None,
) -> Array:
    """Return the average of every window."""
    size, axes = x.shape[2:], x.ndim - 2
    kernel, ones = numbers(kernel, axes), (1,) * axes
    stride = kernel if stride is None else numbers(stride, axes)
    around = pairs(padding, size, kernel, stride, ones)
    output = counts(size, kernel, stride, ones, around, ceil_mode)
    taps = tuple(range(3, 2 + 2 * axes, 2))
    inside = np.ones((1, 1, *size), F)
    counted = np.pad(inside, ((0, 0), (0, 0), *around), constant_values=float(count_include_pad))
    cells = gather(counted, kernel, stride, ones, ((0, 0),) * axes, output, 0.0).sum(taps)
    with np.errstate(all="ignore"):
        total = gather(x.astype(F), kernel, stride, ones, around, output, 0.0).sum(taps, dtype=F)
        data = gather(inside, kernel, stride, ones, around, output, 0.0).sum(taps)
        average = total / (cells if divisor is None else F(divisor))
        return np.where(data == 0, F(0), average).astype(x.dtype)
