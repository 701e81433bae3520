"""Kernels that compute as GEN-D8 lets them declare, one for each value: right as declared, and not as plain.

Operands and sums are modelled bit by bit. An approximate function is the exact one, off by what its
documentation allows, up or down by the bits of its argument; whatever a GPU does lies between.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from convolution import Convolution
from elementwise import Elementwise, except_at_minus_infinity, finite
from gemm import Gemm, matmul, truncated_to_tf32
from lstm import LSTM_OPERATIONS, Lstm
from pooling import Pooling
from softmax import Tiles
from workshop import DTYPES, NARROW, Array, Backend, Kernel, exp, exp2

SMALLEST = np.float32(2.0**-126)
CONTRACTIONS = ("gemm", "conv", "conv_backward_weight")
FLOAT32 = ("float32",)


def declaring(
    story: str,
    profile: Mapping[str, Any],
    kernels: Mapping[str, Kernel],
    dtypes: Sequence[str] = FLOAT32,
    departures: Mapping[str, Sequence[str]] | None = None,
) -> Backend:
    """Return a backend that declares one profile for all its operations."""
    arithmetic = {operation: dict.fromkeys(dtypes, profile) for operation in kernels}
    return Backend(story, dtypes=dtypes, arithmetic=arithmetic, departures=departures, **kernels)


def products(dtypes: Sequence[str] = FLOAT32, **steps: Any) -> dict[str, Kernel]:
    """Return all contractions, by kernels whose loads and sums are given."""
    convolution = Convolution(**{k: v for k, v in steps.items() if k != "store"})
    return {"gemm": Gemm(**steps), **dict.fromkeys(CONTRACTIONS[1:], convolution)}


# Narrow operands --------------------------------------------------------------------------------------------


def cut_to_bfloat16(x: Array) -> Array:
    """Drop the last 16 bits of fp32 (NaN stays NaN)."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, bits.view(np.float32)).astype(np.float32)


def to_bfloat16(x: Array) -> Array:
    """Round to bf16."""
    return x.astype(DTYPES["bfloat16"]).astype(np.float32)


def split(x: Array, narrow: Callable[[Array], Array], parts: int) -> list[Array]:
    """Return narrow numbers whose sum is almost x; after an infinity they are NaN."""
    found = []
    for _ in range(parts):
        found.append(narrow(x))
        x = x - found[-1]
    return found


def emulated(narrow: Callable[[Array], Array], pairs: Sequence[tuple[int, int]]) -> Any:
    """Return a contraction that adds up the products of some pairs of parts, the small ones first."""

    def contract(a: Array, b: Array, dtype: str) -> Array:
        parts = 1 + max(i for i, _ in pairs)
        left, right = split(a, narrow, parts), split(b, narrow, parts)
        total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
        for i, j in sorted(pairs, key=sum, reverse=True):
            total += left[i] @ right[j]
        return total

    return contract


TWO = [(0, 0), (0, 1), (1, 0), (1, 1)]
THREE = [(i, j) for i in range(3) for j in range(3)]

TF32_IN_3 = declaring(
    "3xTF32, as declared",
    {"multiplier": "tf32", "products": 3},
    products(contract=emulated(truncated_to_tf32, TWO[:3])),
)
BFLOAT16_IN_4 = declaring(
    "four products of bf16, as declared",
    {"multiplier": "bfloat16", "products": 4},
    products(contract=emulated(to_bfloat16, TWO)),
)
BFLOAT16_IN_6 = declaring(
    "BF16x6, as declared",
    {"multiplier": "bfloat16", "products": 6},
    products(contract=emulated(to_bfloat16, [pair for pair in THREE if sum(pair) <= 2])),
)
BFLOAT16_IN_9 = declaring(
    "BF16x9, as declared",
    {"multiplier": "bfloat16", "products": 9},
    products(contract=emulated(to_bfloat16, THREE)),
)
CUT = declaring(
    "fp32 operands cut to bf16, as declared",
    {"multiplier": "bfloat16", "truncates": True},
    products(load=lambda x: cut_to_bfloat16(x.astype(np.float32))),
)
NARROW_MULTIPLIER = declaring(
    "fp16 operands rounded to bf16, as declared",
    {"multiplier": "bfloat16"},
    products(load=lambda x: to_bfloat16(x.astype(np.float32))),
    dtypes=("float16",),
)


# Sums -------------------------------------------------------------------------------------------------------


def narrow_parts(count: int) -> Any:
    """Return a contraction in parts along K, whose sums are rounded to the output type and added in it."""

    def contract(a: Array, b: Array, dtype: str) -> Array:
        total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), DTYPES[dtype])
        for k in np.array_split(np.arange(a.shape[2]), count):
            total = total + (a[:, :, k] @ b[:, k]).astype(DTYPES[dtype])
        return total.astype(np.float32)

    return contract


def by_chance(a: Array, b: Array, dtype: str) -> Array:
    """Add parts of the sum in the order in which they happen to come."""
    order = np.random.default_rng().permutation(a.shape[2])
    return matmul(a[:, :, order[::2]], b[:, order[::2]], dtype) + matmul(
        a[:, :, order[1::2]], b[:, order[1::2]], dtype
    )


SPLITS = declaring(
    "split-K in 8, partial sums in the output type, as declared",
    {"splits": 8},
    products(contract=narrow_parts(8)),
    dtypes=NARROW,
)
ATOMIC = declaring("a sum in chance order, as declared", {"order": "free"}, products(contract=by_chance))


# Subnormal numbers ------------------------------------------------------------------------------------------


def flushed(x: Array) -> Array:
    """Return fp32 with zeros in place of subnormal numbers."""
    x = x.astype(np.float32)
    return np.where(np.abs(x) < SMALLEST, np.float32(0), x)


def flushing(formula: Callable[..., Array], *require: Callable[..., None]) -> Elementwise:
    """Return a kernel that flushes what it reads and writes."""
    return Elementwise(lambda *arrays, **given: flushed(formula(*map(flushed, arrays), **given)), *require)


FLUSHED_PRODUCTS = declaring(
    "subnormal operands and sums are zero, as declared",
    {"flush_subnormals": True},
    products(load=flushed, contract=lambda a, b, dtype: flushed(matmul(a, b, dtype))),
)
FLUSHED = declaring(
    "subnormal arguments and results are zero, as declared",
    {"flush_subnormals": True},
    {
        "relu": flushing(lambda x: np.maximum(x, 0)),
        "relu_backward": flushing(lambda dy, x: np.where(np.isnan(x), x, np.where(x > 0, dy, np.float32(0)))),
        "leaky_relu_backward": flushing(
            lambda dy, x, *, negative_slope=0.01: np.where(
                np.isnan(x), x, np.where(x > 0, dy, np.float32(negative_slope) * dy)
            ),
            finite,
        ),
    },
)


# Approximate functions --------------------------------------------------------------------------------------


def _jitter(x: Array) -> Array:
    """Return numbers from −1 to 1 that depend on the bits of x."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return (bits * 2654435761 % 2**32).astype(np.float64) / 2**31 - 1


def _off(exact: Array, error: Array) -> Array:
    """Return fp32 numbers next to exact values with an error, which infinities, NaN and zero do not have."""
    far = np.isfinite(exact) & (np.abs(exact) > 2.0**-160)
    return np.where(far, exact + np.nan_to_num(error), exact).astype(np.float32)


def _unit(exact: Array) -> Array:
    return np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)


def over(x: Array, y: Array) -> Array:
    """Return x/y as ``div.full`` may give it: up to two units off."""
    exact = np.asarray(x, np.float64) / y
    return _off(exact, 2 * _jitter(exact) * _unit(exact))


def mean(total: Array, count: Array) -> Array:
    """Return such a quotient where there is something to divide by."""
    return np.where(count == 0, np.float32(0), over(total, count))


def fast_exp(x: Array) -> Array:
    """Return what ``__expf`` may."""
    exact = np.exp(x.astype(np.float64))
    limit = np.where(x == 0, 0, 2 + np.floor(1.173 * np.abs(x)))
    return _off(exact, limit * _jitter(x) * _unit(exact))


def exp_by_exp2(x: Array) -> Array:
    """Return e to the x as 2 to the rounded product of x and log2 e."""
    result: Array = exp2(x * np.float32(np.log2(np.e)))
    return result


def fast_log(x: Array) -> Array:
    """Return what ``__logf`` may."""
    exact = np.log(x.astype(np.float64))
    near = (x >= 0.5) & (x <= 2)
    return _off(exact, _jitter(x) * np.where(near, 2.0**-21.5, 3 * _unit(exact)))


def fast_tanh(x: Array) -> Array:
    """Return what ``tanh.approx`` may."""
    exact = np.tanh(x.astype(np.float64))
    return _off(exact, np.where(np.isinf(x), 0, 0.99 * 2.0**-11 * _jitter(x) * exact))


def with_exp(power: Callable[[Array], Array]) -> dict[str, Kernel]:
    """Return functions of an exponential."""
    rows = Tiles(power=power)
    return {
        "softmax": rows,
        "log_softmax": rows,
        "softmax_backward": rows,
        "sigmoid": Elementwise(lambda x: 1 / (1 + power(-x))),
        "silu": Elementwise(lambda x: except_at_minus_infinity(x, x / (1 + power(-x)))),
        "elu_backward": Elementwise(
            lambda dy, x, *, alpha=1.0: np.where(
                x > 0, dy, dy * (np.float32(alpha) * power(np.minimum(x, 0)))
            ),
            finite,
        ),
    }


class _FastLogRows(Tiles):
    def log_softmax(self, x: Array, dtype: Any) -> Array:
        """Return (x − m) − log Σ."""
        shifted, total = self.parts(x, dtype)
        result: Array = shifted - fast_log(total)
        return result


FAST_EXP = declaring("exponentials by __expf, as declared", {"fast_exp": True}, with_exp(fast_exp))
EXP2 = declaring("exponentials by exp2, as declared", {"approximations": ("exp2",)}, with_exp(exp_by_exp2))
DIVISION = declaring(
    "quotients by div.full, as declared",
    {"approximations": ("division",)},
    {
        "softmax": Tiles(divide=over),
        "sigmoid": Elementwise(lambda x: over(np.float32(1), 1 + exp(-x))),
        "hard_sigmoid": Elementwise(lambda x: np.clip(over(x, np.float32(6)) + np.float32(0.5), 0, 1)),
        "avg_pool": Pooling(divide=mean),
        "avg_pool_backward": Pooling(divide=mean),
    },
)
LOG = declaring(
    "logarithms by __logf, as declared",
    {"approximations": ("log",)},
    {
        "log_softmax": _FastLogRows(),
        "softplus": Elementwise(lambda x: np.maximum(x, 0) + fast_log(1 + exp(-np.abs(x)))),
        "log_sigmoid": Elementwise(lambda x: np.minimum(x, 0) - fast_log(1 + exp(-np.abs(x)))),
    },
)
TANH = declaring(
    "hyperbolic tangents by tanh.approx, as declared",
    {"approximations": ("tanh",)},
    {
        "tanh": Elementwise(fast_tanh),
        "tanh_backward": Elementwise(lambda dy, x: dy * (1 - fast_tanh(x) * fast_tanh(x))),
    },
)

UNIT = declaring(
    "gates by __expf, div.full and tanh.approx, as declared",
    {"fast_exp": True, "approximations": ("division", "tanh")},
    dict.fromkeys(
        LSTM_OPERATIONS,
        Lstm(sigmoid=lambda z: over(np.float32(1), 1 + fast_exp(-z)), tanh=fast_tanh),
    ),
)
UNIT_TF32 = declaring(
    "inputs of a unit cut to tf32, as declared",
    {"multiplier": "tf32"},
    dict.fromkeys(LSTM_OPERATIONS, Lstm(read=truncated_to_tf32)),
)
