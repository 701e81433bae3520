"""Kernels that are right but for a path of their own, which two or three common things together lead into.

Each of these things is met in every run; what leads into the path is that they meet each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from constructed import CONSTRUCTED
from convolution import CONVOLUTION
from gemm import GEMM
from numpy.lib.stride_tricks import as_strided
from softmax import BLOCK
from workshop import Array, Backend, Kernel, destination, write

Compute = Callable[..., Array]


@dataclass(frozen=True)
class Dispatching(Kernel):
    """A kernel with a path for some calls: what the path returns it returns, unless that is None."""

    kernel: Kernel
    path: Callable[..., Array | None] = lambda compute, *arrays, **parameters: None
    sees_out: bool = False

    def entry(self, operation: str) -> Compute:
        """Return the kernel's operation, with the path."""
        compute = self.kernel.entry(operation)

        def dispatch(*arrays: Array, out: Array | None = None, **parameters: Any) -> Array:
            compute(*arrays, **parameters)  # it checks the arguments
            special = self.path(compute, *arrays, **parameters, **({"out": out} if self.sees_out else {}))
            if special is None:
                return compute(*arrays, out=out, **parameters)
            out = destination(out, special.shape, arrays[0].dtype)
            write(out, special)
            return out

        return dispatch


def along(value: Any, axes: int) -> tuple[Any, ...]:
    """Return a spatial parameter for every axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def sides(value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return the padding of every axis on both sides; of a word none."""
    if isinstance(value, str):
        return ((0, 0),) * axes
    return tuple((side, side) if isinstance(side, int) else tuple(side) for side in along(value, axes))


def twice(result: Array) -> Array:
    """Double a result: whatever may go wrong on a path."""
    doubled: Array = 2 * result.astype(np.float32)
    return doubled


# Paths.


def depthwise_without_dilation(
    compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any
) -> Array | None:
    """Step from pixel to pixel in a depthwise kernel of 3×3 with stride 1, whatever the dilation."""
    whole = compute(x, w, *bias, **slides)
    if w.shape[1:] != (1, 3, 3) or slides.get("groups", 1) < 2 or along(slides.get("stride", 1), 2) != (1, 1):
        return None
    near: Array = compute(x, w, *bias, **{**slides, "dilation": 1})
    return near[(..., *map(slice, whole.shape[2:]))]


def doubling_transposed(compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any) -> Array | None:
    """Go wrong where an image becomes twice as large."""
    usual = w.shape[2:] == (4, 4) and along(slides.get("stride", 1), 2) == (2, 2)
    if not usual or sides(slides.get("padding", 0), 2) != ((1, 1), (1, 1)):
        return None
    return twice(compute(x, w, *bias, **slides))


def whole_warps_of_channels(
    compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any
) -> Array | None:
    """Go wrong where the channels fill warps."""
    full = x.shape[1] % 32 == 0 == w.shape[0] % 32 and x.shape[1] and w.shape[0]
    return twice(compute(x, w, *bias, **slides)) if full else None


def packed_weights_of_one_channel(
    compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any
) -> Array | None:
    """Take weights of one channel, whose kernels or channels are innermost, to lie packed."""
    if x.shape[1] != 1 or not w.size or min(w.strides) < 0 or min(w.strides[:2]) > w.strides[-1]:
        return None
    steps = np.cumprod([1, *w.shape[:1:-1], 1])[::-1] * w.itemsize
    return compute(x, as_strided(w, w.shape, tuple(steps)), *bias, **slides)


def half_indices(compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any) -> Array | None:
    """Count positions in float16."""
    whole = compute(x, w, *bias, **slides)
    places = np.arange(whole.shape[-1]).astype(x.dtype).astype(np.int64)
    return whole[..., np.minimum(places, whole.shape[-1] - 1)]


def flat_and_padded(compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any) -> Array | None:
    """Go wrong where one axis has length 1 and another is padded."""
    padded = [sum(pair) > 0 for pair in sides(slides.get("padding", 0), x.ndim - 2)]
    flat = any(x.shape[2 + i] == 1 and any(padded[:i] + padded[i + 1 :]) for i in range(x.ndim - 2))
    return twice(compute(x, w, *bias, **slides)) if flat else None


def multiplied_depthwise(compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any) -> Array | None:
    """Count the kernels of a depthwise layer along the channels first."""
    groups = slides.get("groups", 1)
    if groups < 2 or x.shape[1] != groups or w.shape[0] == groups:
        return None
    order = np.arange(w.shape[0]).reshape(-1, groups).T.reshape(-1)
    return compute(x, w[order], *bias, **slides)


def permuted_and_padded(compute: Compute, x: Array, w: Array, *bias: Array, **slides: Any) -> Array | None:
    """Go wrong where the input is permuted and its padding holds a kernel but one."""
    steps = [step for step, size in zip(x.strides, x.shape, strict=True) if size > 1]
    wide = [
        min(pair) >= size - 1
        for pair, size in zip(sides(slides.get("padding", 0), w.ndim - 2), w.shape[2:], strict=True)
    ]
    permuted = steps != sorted(steps, reverse=True) and min(steps) > 0
    return twice(compute(x, w, *bias, **slides)) if permuted and all(wide) and max(w.shape[2:]) > 1 else None


def one_stride_for_the_batch(compute: Compute, a: Array, b: Array, *c: Array, **chosen: Any) -> Array | None:
    """Step from matrix to matrix by the stride of the innermost batch axis."""
    if a.ndim < 4 or 0 in a.shape or min(a.strides) < 0:
        return None
    inner = a.strides[-3] // a.itemsize
    last = sum(step // a.itemsize * (size - 1) for step, size in zip(a.strides, a.shape, strict=True))
    memory = as_strided(a, (last + 1,), (a.itemsize,))
    rows, columns = (
        np.arange(size) * (step // a.itemsize)
        for size, step in zip(a.shape[-2:], a.strides[-2:], strict=True)
    )
    first = np.arange(np.prod(a.shape[:-2])).reshape(a.shape[:-2]) * inner
    places = first[..., None, None] + rows[:, None] + columns
    return compute(memory[np.minimum(places, last)], b, *c, **chosen)


def addend_by_row(
    compute: Compute, a: Array, b: Array, c: Array | None = None, *, out: Array | None, **chosen: Any
) -> Array | None:
    """Index a vector by row where the output is written in columns."""
    whole = compute(a, b, c, **chosen)
    if c is None or c.ndim != 1 or out is None or not 0 < out.strides[-2] < out.strides[-1] or c.size < 2:
        return None
    rows = np.resize(c, whole.shape[-2])[:, None]
    return compute(a, b, rows, **chosen)


def odd_vectors(compute: Compute, a: Array, b: Array, *c: Array, **chosen: Any) -> Array | None:
    """Leave out what is behind the last whole vector of a matrix-vector product."""
    swap_a, swap_b = chosen.get("transpose_a", False), chosen.get("transpose_b", False)
    K = a.shape[-2 if swap_a else -1]
    if b.shape[-2 if swap_b else -1] != 1 or K < 4 or K % 4 == 0:
        return None
    whole = slice(K // 4 * 4)
    a = a[..., whole, :] if swap_a else a[..., whole]
    return compute(a, b[..., whole] if swap_b else b[..., whole, :], *c, **chosen)


def odd_long_rows(compute: Compute, x: Array, *, axis: int = -1, **rest: Any) -> Array | None:
    """Begin the second of several long rows of odd length beside its first element."""
    if x.shape[axis] < 1024 or x.shape[axis] % 2 == 0 or x.size == x.shape[axis]:
        return None
    return np.roll(compute(x, axis=axis, **rest), 1, axis)


CONV = Dispatching(CONVOLUTION)
PRODUCT = Dispatching(GEMM)

V1 = Backend(
    "depthwise 3×3 with stride 1 has no dilation",
    CONSTRUCTED,
    conv=CONV.broken(path=depthwise_without_dilation),
)
V2 = Backend(
    "an image that is doubled is twice as bright",
    CONSTRUCTED,
    conv_transpose=CONV.broken(path=doubling_transposed),
)
V3 = Backend(
    "channels in whole warps count twice", CONSTRUCTED, conv=CONV.broken(path=whole_warps_of_channels)
)
V4 = Backend(
    "weights of one channel are taken to be packed",
    CONSTRUCTED,
    conv=CONV.broken(path=packed_weights_of_one_channel),
)
V5 = Backend(
    "positions are counted in half precision",
    CONSTRUCTED,
    dtypes=("float16",),
    conv_transpose=CONV.broken(path=half_indices),
)
V6 = Backend(
    "an axis of length 1 beside one that is padded", CONSTRUCTED, conv=CONV.broken(path=flat_and_padded)
)
V7 = Backend(
    "kernels of a depthwise layer are counted along its channels",
    CONSTRUCTED,
    conv=CONV.broken(path=multiplied_depthwise),
)
V8 = Backend(
    "a permuted input with the padding of a full convolution",
    CONSTRUCTED,
    conv=CONV.broken(path=permuted_and_padded),
)
V9 = Backend(
    "all batch axes have one stride", CONSTRUCTED, gemm=PRODUCT.broken(path=one_stride_for_the_batch)
)
V10 = Backend(
    "a vector is added by row to an output in columns",
    CONSTRUCTED,
    gemm=Dispatching(GEMM, sees_out=True).broken(path=addend_by_row),
)
V11 = Backend(
    "a matrix times a vector loses what no vector divides", CONSTRUCTED, gemm=PRODUCT.broken(path=odd_vectors)
)
V12 = Backend(
    "rows of odd length begin beside their first element",
    CONSTRUCTED,
    softmax=Dispatching(BLOCK).broken(path=odd_long_rows),
)
