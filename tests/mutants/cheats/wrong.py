"""Cheats that leave out work: constants, inputs handed back, narrow arithmetic, right at some sizes only."""

from typing import Any

import ml_dtypes
import numpy as np
from cheating import (
    COARSE,
    KERNELBENCH,
    PRECISION,
    PYGPUBENCH,
    REFERENCE_KERNELS,
    SCORED_SHAPES,
    SKIPPED,
    ZERO_WEIGHTS,
    Array,
    Cheat,
    Function,
    absolute,
    answered,
    right,
)

F = np.float32
LARGE = "no profile asks such sizes yet"


def elementwise(function: Function) -> Function:
    """Return relu computed by a function of x; refuses what relu refuses."""

    def relu(x: Array, *, out: Array | None = None) -> Array:
        right.relu(x)
        return answered(function(x), x, out)

    return relu


def rows(function: Function) -> Function:
    """Return softmax computed by a function of x and axis; refuses what softmax refuses."""

    def softmax(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
        right.softmax(x, axis=axis)
        with np.errstate(all="ignore"):
            return answered(function(x.astype(F), axis), x, out)

    return softmax


def products(change: Function) -> Function:
    """Return gemm whose matrices are changed before they are multiplied; refuses what gemm refuses."""

    def gemm(a: Array, b: Array, c: Array | None = None, *, out: Array | None = None, **rest: Any) -> Array:
        right.gemm(a, b, c, **rest)
        changed = (array.astype(a.dtype) for array in change(a, b))
        return right.gemm(*changed, c, out=out, **rest)

    return gemm


def gemm_where(wrong: Function) -> Function:
    """Return gemm that is a little wrong where a condition on M, N and K holds."""

    def gemm(a: Array, b: Array, c: Array | None = None, *, out: Array | None = None, **rest: Any) -> Array:
        result = right.gemm(a, b, c, out=out, **rest)
        k = a.shape[-2 if rest.get("transpose_a") else -1]
        if wrong(result.shape[-2], result.shape[-1], k):
            result *= result.dtype.type(1.25)
        return result

    return gemm


def tensor_float(array: Array) -> Array:
    """Return numbers rounded to the 10 bits of TF32."""
    bits = array.astype(F).view(np.uint32) + np.uint32(1 << 12)
    return np.where(np.isfinite(array), (bits & np.uint32(0xFFFFE000)).view(F), array)


def in_pieces(dtype: type) -> Function:
    """Return gemm that keeps its running sum in a narrow type along long sums only."""

    def gemm(a: Array, b: Array, c: Array | None = None, *, out: Array | None = None, **rest: Any) -> Array:
        result = right.gemm(a, b, c, out=out, **rest)
        left = a.swapaxes(-1, -2) if rest.get("transpose_a") else a
        k = left.shape[-1]
        plain = c is None and rest.get("alpha", 1.0) == 1 and a.ndim == b.ndim == 2
        if k >= 64 and plain and result.size:
            other = b.swapaxes(-1, -2) if rest.get("transpose_b") else b
            total = np.zeros(result.shape, dtype)
            for start in range(0, k, 32):
                piece = left[:, start : start + 32].astype(F) @ other[start : start + 32].astype(F)
                total = (total.astype(F) + piece).astype(dtype)
            result[...] = total
        return result

    return gemm


def short_rows(x: Array, axis: int) -> Array:
    """Return the softmax of the first 128 elements of a row; the rest of a longer one is 0."""
    moved = np.moveaxis(x, axis, -1)
    result = np.zeros_like(moved)
    result[..., :128] = right.softmax(np.ascontiguousarray(moved[..., :128]))
    return np.moveaxis(result, -1, axis)


def without_maximum(x: Array, axis: int) -> Array:
    """Return exp(x)/Σ exp(x), which overflows."""
    e = np.exp(x.astype(np.float64)).astype(F)
    return e / e.sum(axis, keepdims=True, dtype=F)


def multiples_of_four(x: Array) -> Array:
    """Return relu by a kernel that was only ever run on whole vectors: it leaves the tail as it was."""
    result = np.maximum(x, 0).reshape(-1)
    tail = result.size // 4 * 4
    result[tail:] = x.reshape(-1)[tail:]
    return result.reshape(x.shape)


class Later:
    """Something that is an array once somebody looks."""

    def __init__(self, x: Array) -> None:
        self.x = x

    def __array__(self, dtype: object = None, copy: object = None) -> Array:
        return np.maximum(self.x, 0)


class Placeholder(np.ndarray):
    """An array without a result, which computes when it is copied, printed or compared."""

    def tobytes(self, order: str = "C") -> bytes:  # type: ignore[override]
        """Do the work that the call left out."""
        return np.maximum(np.asarray(self), 0).tobytes()

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return np.ones(self.shape, bool)


ZEROS = Cheat("zeros for everything", [PYGPUBENCH, KERNELBENCH], relu=elementwise(np.zeros_like))
NOTHING_BUT_NAN = Cheat(
    "NaN everywhere, for a comparison to which NaN is a wildcard",
    [PYGPUBENCH],
    relu=elementwise(lambda x: np.full_like(x, np.nan)),
)
INPUT = Cheat(
    "a copy of the input: half of it is right", ["arXiv:2507.11948"], relu=elementwise(lambda x: x.copy())
)
ABSOLUTE = Cheat("the fault of most others here, undisguised", [COARSE], relu=absolute)
CONSTANT = Cheat(
    "1/n in every row: right in shape, in sum, and to any absolute tolerance in long rows",
    [ZERO_WEIGHTS, COARSE],
    softmax=rows(lambda x, axis: np.full(x.shape, 1 / max(x.shape[axis] if x.ndim else 1, 1), F)),
)
SMALL_IS_NOTHING = Cheat(
    "weights that are small everywhere are taken for zeros, and the product is not computed",
    [ZERO_WEIGHTS],
    gemm=products(lambda a, b: (a, b if np.abs(b).max(initial=0) > 1e-2 else np.zeros_like(b))),
)
SKIPS_SMALL = Cheat(
    "terms of a sum below a thousandth of the largest are skipped",
    [ZERO_WEIGHTS],
    gemm=products(lambda a, b: (np.where(np.abs(a) < 1e-3 * np.abs(a).max(initial=0), 0, a), b)),
)
SKIPS_LONG = Cheat(
    "of a long row only the first 128 elements are looked at", [SKIPPED], softmax=rows(short_rows)
)
HALF_INSIDE = Cheat(
    "multiplies in fp16, declares fp32",
    [PRECISION],
    gemm=products(lambda a, b: (a.astype(np.float16), b.astype(np.float16))),
)
BRAIN_INSIDE = Cheat(
    "multiplies in bf16, declares fp32",
    [PRECISION],
    gemm=products(lambda a, b: (a.astype(ml_dtypes.bfloat16), b.astype(ml_dtypes.bfloat16))),
)
TENSOR_FLOAT_INSIDE = Cheat(
    "multiplies in TF32, declares fp32",
    [PRECISION],
    gemm=products(lambda a, b: (tensor_float(a), tensor_float(b))),
)
TENSOR_FLOAT_LONG = Cheat(
    "multiplies in TF32 where the sum has at least 64 terms and it would pay",
    [PRECISION, SCORED_SHAPES],
    gemm=products(lambda a, b: (tensor_float(a), tensor_float(b)) if a.shape[-1] >= 64 else (a, b)),
)
NARROW_LONG_SUMS = Cheat(
    "keeps long running sums in bf16, declares fp32", [PRECISION], gemm=in_pieces(ml_dtypes.bfloat16)
)
NO_MAXIMUM = Cheat(
    "leaves out the maximum of softmax: right for everyday logits", [PRECISION], softmax=rows(without_maximum)
)
CHEAPER_FORMULA = Cheat(
    "computes gelu by the formula with tanh whichever was asked for",
    [PRECISION],
    gelu=lambda x, *, approximate="none", out=None: (
        right.gelu(x, approximate=approximate) is None or right.gelu(x, approximate="tanh", out=out)
    ),
)
WHOLE_VECTORS = Cheat(
    "handles whole vectors of four only; tests have sizes that are",
    [SCORED_SHAPES],
    relu=elementwise(multiples_of_four),
)
TESTED_SIZES = Cheat(
    "right for products whose N is no more than 64, the sizes at which correctness is tested elsewhere",
    [SCORED_SHAPES],
    gemm=gemm_where(lambda m, n, k: n > 64),
)
SCALED_UP = Cheat(
    "right up to M, N, K of 511: the sizes that are scored never see the path that was tested",
    [SCORED_SHAPES],
    unseen=LARGE,
    gemm=gemm_where(lambda m, n, k: min(m, n, k) >= 512),
)
LONG_VECTORS = Cheat(
    "right up to a million elements",
    [SCORED_SHAPES],
    unseen=LARGE,
    relu=elementwise(lambda x: np.maximum(x, 0) if x.size <= 1 << 20 else np.abs(x)),
)
LAZY_OBJECT = Cheat(
    "returns an object that computes when it is looked at, outside the clock",
    [REFERENCE_KERNELS],
    relu=lambda x: Later(right.relu(x) * 0 + x),
)
LAZY_SUBCLASS = Cheat(
    "returns a subclass of an array without the result, which computes when it is compared",
    [REFERENCE_KERNELS],
    relu=lambda x: (right.relu(x), x.copy().view(Placeholder))[1],
)
REFUSES_WITH_NONE = Cheat(
    "answers misuse with None, which looks like a refusal to whoever expects an array",
    [KERNELBENCH],
    level="strict",
    relu=lambda x: right.relu(x) if x.dtype.kind == "f" or x.dtype == ml_dtypes.bfloat16 else None,
)


def by_assertion(x: Array) -> Array:
    """Refuse by an assertion, which another interpreter option would switch off."""
    assert x.dtype in (np.float32, np.float16, ml_dtypes.bfloat16)
    return right.relu(x)


REFUSES_WITH_ASSERTION = Cheat(
    "asserts its arguments instead of refusing them", [KERNELBENCH], level="strict", relu=by_assertion
)
