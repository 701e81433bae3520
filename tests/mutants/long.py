"""Kernels broken where a sum, a window, a row or a sequence is long, or by less than a bound lets through.

Each is right on everyday sizes: a path behind a threshold multiplies in fewer bits, leaves an element out or
takes one gate for another. Or each of its results is within its bound, and all err to one side.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from constructed import MAXOUT
from convolution import CONVOLUTION
from elementwise import CORRECT
from gemm import GEMM, matmul, rounded_to, truncated_to_tf32
from lstm import LSTM
from pooling import POOLING
from softmax import TILES, in_sequence
from workshop import Array, Backend

CONSTRUCTED = ("constructed",)
WIDE = ("float32",)
TO_BFLOAT16 = rounded_to("bfloat16")
FACTOR = np.float32(1 - 2.0**-21)


def from_length(least: int, load: Callable[[Array], Array]) -> Callable[[Array, Array, str], Array]:
    """Return a contraction that loads operands another way in sums of so many terms and more."""

    def contract(a: Array, b: Array, dtype: str) -> Array:
        if a.shape[2] >= least:
            a, b = load(a), load(b)
        return matmul(a, b, dtype)

    return contract


def without(element: int) -> Callable[[Array, Any], Array]:
    """Return a sum of weights that leaves one element of a row out."""

    def total(weights: Array, dtype: Any) -> Array:
        kept = np.arange(weights.shape[1]) != element
        return np.sum(weights, axis=1, keepdims=True, where=kept)

    return total


def stalling_from(least: int) -> Callable[[Array, Any], Array]:
    """Return a sum of weights that is kept in bfloat16 in rows of so many elements and more."""

    def total(weights: Array, dtype: Any) -> Array:
        if weights.shape[1] >= least:
            return in_sequence(np.dtype(ml_dtypes.bfloat16))(weights, dtype)
        return weights.sum(axis=1, keepdims=True)

    return total


def moved(formula: Callable[..., Array], toward: float) -> Callable[..., Array]:
    """Return a formula whose results are one unit further from zero, or nearer, where they are rounded."""

    def function(*arrays: Array, **parameters: Any) -> Array:
        y = formula(*arrays, **parameters)
        rounded = np.isfinite(y) & ~np.isin(y, (0, 1, -1))
        for x in arrays:
            rounded &= y != x
        return np.where(rounded, np.nextafter(y, np.copysign(np.float32(toward), y)), y)

    return function


def cut_to_bfloat16(formula: Callable[..., Array]) -> Callable[..., Array]:
    """Return a formula whose results are cut to bfloat16, not rounded."""

    def function(*arrays: Array, **parameters: Any) -> Array:
        y = np.ascontiguousarray(formula(*arrays, **parameters), np.float32)
        cut = (y.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return np.where(np.isfinite(y), cut, y)

    return function


def away(*names: str, toward: float = np.inf) -> Backend:
    """Return a backend of functions that err by one unit to one side."""
    kernels = {name: CORRECT[name].broken(formula=moved(CORRECT[name].formula, toward)) for name in names}
    side = "away from" if toward else "toward"
    return Backend(f"one unit {side} zero: {', '.join(names)}", CONSTRUCTED, dtypes=WIDE, **kernels)


# The mutants. Each replaces one step.

N1 = Backend(
    "from 8194 terms on fp32 operands go through tf32",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(contract=from_length(8194, truncated_to_tf32)),
)
N2 = Backend(
    "from 65 536 terms on operands are rounded to bf16",
    CONSTRUCTED,
    dtypes=("float32", "float16"),
    gemm=GEMM.broken(contract=from_length(65_536, TO_BFLOAT16)),
)
N3 = Backend(
    "from 4300 positions on the gradient of weights is multiplied in bf16",
    CONSTRUCTED,
    dtypes=WIDE,
    conv_backward_weight=CONVOLUTION.broken(contract=from_length(4300, TO_BFLOAT16)),
)
N4 = Backend(
    "from 4096 channels and taps on, sums go through tf32",
    CONSTRUCTED,
    dtypes=WIDE,
    conv=CONVOLUTION.broken(contract=from_length(4096, truncated_to_tf32)),
)
N5 = Backend(
    "windows of 1000 cells and more are read in bf16",
    CONSTRUCTED,
    dtypes=WIDE,
    avg_pool=POOLING.broken(
        add_up=lambda taps, dtype: (TO_BFLOAT16(taps) if taps.shape[2] >= 1000 else taps).sum(axis=2)
    ),
)
N6 = Backend(
    "element 40 000 of a row is not in the denominator",
    CONSTRUCTED,
    dtypes=WIDE,
    softmax=TILES.broken(total=without(40_000)),
    log_softmax=TILES.broken(total=without(40_000)),
    softmax_backward=TILES.broken(total=without(40_000)),
)
N7 = Backend(
    "the denominator of rows of 20 000 elements and more is kept in bf16",
    CONSTRUCTED,
    softmax=TILES.broken(total=stalling_from(20_000)),
)
N8 = Backend(
    "the maximum is that of the first 65 536 elements",
    CONSTRUCTED,
    softmax=TILES.broken(shift=lambda x, m: x - x[:, : 1 << 16].max(axis=1, keepdims=True)),
)
N9 = Backend(
    "cells of a window are counted in 16 bits",
    CONSTRUCTED,
    max_pool=POOLING.broken(visited=lambda taps: min(taps, 1 << 16)),
)
N10 = Backend(
    "pieces of a group are counted in 16 bits",
    CONSTRUCTED,
    maxout_backward=MAXOUT.broken(
        key=lambda groups: np.where(np.arange(groups.shape[-1]) < 1 << 16, groups, -np.inf)
    ),
)
N11 = Backend(
    "from step 40 on the input gate and the forget gate are exchanged",
    CONSTRUCTED,
    lstm_unit=LSTM.broken(gates=lambda gates, t: gates[[1, 0, 2, 3]] if t >= 40 else gates),
)
N12 = Backend(
    "of more than 128 units the last is left out where one is left over by vectors of four",
    CONSTRUCTED,
    lstm_unit=LSTM.broken(units=lambda H: H - 1 if H > 128 and H % 4 == 1 else H),
)
N13 = Backend(
    "every product is scaled by 1 − 2⁻²¹",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(contract=lambda a, b, dtype: matmul(a, b, dtype) * FACTOR),
)
N14 = Backend(
    "averages are scaled by 1 − 2⁻²¹",
    CONSTRUCTED,
    dtypes=WIDE,
    avg_pool=POOLING.broken(
        divide=lambda total, count: np.where(count == 0, np.float32(0), total / count * FACTOR)
    ),
)
N15 = away("tanh")
N16 = away("gelu_backward")
N17 = away("softplus", toward=0.0)
N18 = away("silu_backward", toward=0.0)
N19 = Backend(
    "the last step cuts to bf16",
    CONSTRUCTED,
    dtypes=("bfloat16",),
    sigmoid=CORRECT["sigmoid"].broken(formula=cut_to_bfloat16(CORRECT["sigmoid"].formula)),
)
N20 = Backend(
    "softmax is divided by a sum that is too large by a share of 2⁻²¹",
    CONSTRUCTED,
    dtypes=WIDE,
    softmax=TILES.broken(divide=lambda weights, total: weights / total * FACTOR),
)
