"""Activations broken on purpose, and right ones by other formulas.

The kernel: 16 bytes at a time where the addresses allow it, the last values one by one; a formula in fp32;
one rounding to the output type. The formulas below are right from one end of fp32 to the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from workshop import (
    Array,
    Backend,
    Kernel,
    checked,
    destination,
    exp,
    expm1,
    in_float64,
    log,
    log1p,
    tanh,
    write,
)

BYTES = 16  # of a vector load


def special(name: str) -> Callable[[Array], Array]:
    """Return a function of SciPy, which takes longer to import than most kernels here take to fail."""

    def function(x: Array) -> Array:
        result: Array = getattr(import_module("scipy.special"), name)(x)
        return result

    return function


erf = in_float64(special("erf"), 2)
erfc = in_float64(special("erfc"), 4)
Formula = Callable[..., Array]


def rows_aligned(x: Array) -> bool:
    """Return whether vectors can read every row of x: it is packed and starts at a multiple of 16 bytes."""
    if x.ndim == 0 or x.size == 0:
        return False
    packed = x.strides[-1] == x.itemsize or x.shape[-1] == 1
    pitches = [step for step, n in zip(x.strides[:-1], x.shape[:-1], strict=True) if n > 1]
    return packed and all(start % BYTES == 0 for start in [x.ctypes.data, *pitches])


def load(x: Array, in_vectors: bool) -> Array:
    """Read x in fp32. A vector load drops the last bits of its address: what it reads begins before x."""
    x32 = x.astype(np.float32)
    early = x.ctypes.data % BYTES // x.itemsize if in_vectors else 0
    return np.roll(x32, early, axis=-1) if early else x32


@dataclass(frozen=True)
class Elementwise(Kernel):
    """A formula in fp32 for every element."""

    formula: Formula
    require: Callable[..., None] = lambda **parameters: None
    reached: Callable[[int], int] = lambda n: n  # how many of n elements are written
    in_vectors: Callable[..., bool] = lambda *arrays: all(rows_aligned(array) for array in arrays)

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return a function of x, or of dy and x."""

        def forward(x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
            return self.launch([x], checked(x=x), out, parameters)

        def backward(dy: Array, x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
            dtype = checked(dy=dy, x=x)
            if dy.shape != x.shape:
                raise ValueError(f"dy has shape {dy.shape}, x has {x.shape}")
            return self.launch([dy, x], dtype, out, parameters)

        return backward if operation.endswith("_backward") else forward

    def launch(
        self, arrays: list[Array], dtype: np.dtype[Any], out: Array | None, parameters: dict[str, Any]
    ) -> Array:
        """Compute and write the elements that the kernel reaches."""
        self.require(**parameters)
        out = destination(out, arrays[-1].shape, dtype)
        numbers = {name: v if isinstance(v, str) else float(v) for name, v in parameters.items()}
        in_vectors = self.in_vectors(*arrays)
        with np.errstate(all="ignore"):
            result = self.formula(*(load(array, in_vectors) for array in arrays), **numbers)
            n = self.reached(out.size)
            if n == out.size:
                write(out, result)
            else:
                out.flat[:n] = result.astype(dtype).flat[:n]
        return out


def finite(**parameters: float) -> None:
    """Raise ValueError unless all parameters are finite."""
    for name, value in parameters.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}, expected a finite number")


def ordered(*, min_val: float = -1.0, max_val: float = 1.0) -> None:
    """Raise ValueError unless min_val < max_val."""
    if not min_val < max_val:
        raise ValueError(f"min_val is {min_val}, max_val is {max_val}, expected min_val < max_val")


def known(*, approximate: str = "none") -> None:
    """Raise ValueError unless GELU's formula is one of two."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate is {approximate!r}, expected 'none' or 'tanh'")


# Right formulas. NaN comes through because a comparison with NaN is false and the false branch holds x.


def except_at_minus_infinity(x: Array, y: Array) -> Array:
    """Return y, with 0 where x = −Inf made it −Inf·0."""
    return np.where(np.isneginf(x), np.float32(0), y)


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return np.where(x <= 0, np.float32(0), x)


def relu_backward(dy: Array, x: Array) -> Array:
    """Return dy where x > 0."""
    return np.where(x <= 0, np.float32(0), np.where(np.isnan(x), x, dy))


def relu6(x: Array) -> Array:
    """Return x clipped to [0, 6]."""
    return np.clip(x, np.float32(0), np.float32(6))


def relu6_backward(dy: Array, x: Array) -> Array:
    """Return dy where 0 < x < 6."""
    return np.where((x <= 0) | (x >= 6), np.float32(0), np.where(np.isnan(x), x, dy))


def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Array:
    """Return x, below 0 times the slope."""
    return np.where(x > 0, x, x * np.float32(negative_slope))


def leaky_relu_backward(dy: Array, x: Array, *, negative_slope: float = 0.01) -> Array:
    """Return dy, times the slope where x ≤ 0."""
    return np.where(np.isnan(x), x, np.where(x > 0, dy, dy * np.float32(negative_slope)))


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    """Return x, below 0 alpha·(e^x − 1)."""
    return np.where(x > 0, x, np.float32(alpha) * expm1(np.minimum(x, 0)))


def elu_backward(dy: Array, x: Array, *, alpha: float = 1.0) -> Array:
    """Return dy, times alpha·e^x where x ≤ 0."""
    return np.where(x > 0, dy, dy * (np.float32(alpha) * exp(np.minimum(x, 0))))


def sigmoid(x: Array) -> Array:
    """Return 1/(1 + e^−x) without an overflow on either side."""
    e = exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(dy: Array, x: Array) -> Array:
    """Return dy·σ(x)·σ(−x)."""
    e = exp(-np.abs(x))
    result: Array = dy * (e / (1 + e) / (1 + e))
    return result


def log_sigmoid(x: Array) -> Array:
    """Return log σ(x)."""
    result: Array = np.minimum(x, 0) - log1p(exp(-np.abs(x)))
    return result


def log_sigmoid_backward(dy: Array, x: Array) -> Array:
    """Return dy·σ(−x)."""
    result: Array = dy * sigmoid(-x)
    return result


def hard_sigmoid(x: Array) -> Array:
    """Return x/6 + 1/2 clipped to [0, 1]."""
    return np.clip(x / np.float32(6) + np.float32(0.5), np.float32(0), np.float32(1))


def hard_sigmoid_backward(dy: Array, x: Array) -> Array:
    """Return dy/6 where |x| < 3."""
    return np.where(np.abs(x) >= 3, np.float32(0), np.where(np.isnan(x), x, dy / np.float32(6)))


def tanh_backward(dy: Array, x: Array) -> Array:
    """Return dy·4e/(1 + e)², e = exp(−2|x|), which keeps the tails that 1 − tanh² loses."""
    e = exp(-2 * np.abs(x))
    result: Array = dy * (4 * e / (1 + e) / (1 + e))
    return result


def hard_tanh(x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return x clipped to [min_val, max_val]."""
    return np.clip(x, np.float32(min_val), np.float32(max_val))


def hard_tanh_backward(dy: Array, x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return dy where min_val < x < max_val."""
    outside = (x <= np.float32(min_val)) | (x >= np.float32(max_val))
    return np.where(outside, np.float32(0), np.where(np.isnan(x), x, dy))


def softplus(x: Array) -> Array:
    """Return log(1 + e^x)."""
    result: Array = np.maximum(x, 0) + log1p(exp(-np.abs(x)))
    return result


def softplus_backward(dy: Array, x: Array) -> Array:
    """Return dy·σ(x)."""
    result: Array = dy * sigmoid(x)
    return result


def cubic(x: Array) -> Array:
    """Return the argument of GELU's tanh, √(2/π)·(x + 0.044715·x³)."""
    result: Array = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
    return result


def gelu(x: Array, *, approximate: str = "none") -> Array:
    """Return x·Φ(x); the form by erfc, and that by the sigmoid of 2u, do not cancel in the left tail."""
    if approximate == "tanh":
        return except_at_minus_infinity(x, x * sigmoid(2 * cubic(x)))
    half = np.float32(0.5)
    return except_at_minus_infinity(x, half * x * erfc(-x * np.float32(np.sqrt(0.5))))


def gelu_backward(dy: Array, x: Array, *, approximate: str = "none") -> Array:
    """Return dy·(Φ(x) + x·φ(x)), or with σ(w) in place of Φ, w = 2u, dy·(σ(w) + x·σ(w)·σ(−w)·w′)."""
    inside = np.where(np.isinf(x), np.float32(0), x)  # Inf·0 else
    if approximate == "tanh":
        w = 2 * cubic(x)
        slope = np.float32(np.sqrt(8 / np.pi)) * (1 + np.float32(3 * 0.044715) * x * x)
        density = np.where(np.abs(x) > 100, np.float32(0), sigmoid(w) * sigmoid(-w) * slope)
        cumulated = sigmoid(w)
    else:
        cumulated = np.float32(0.5) * erfc(-x * np.float32(np.sqrt(0.5)))
        density = exp(np.float32(-0.5) * x * x) * np.float32(1 / np.sqrt(2 * np.pi))
    result: Array = dy * (cumulated + inside * density)
    return result


def silu(x: Array) -> Array:
    """Return x·σ(x)."""
    return except_at_minus_infinity(x, x * sigmoid(x))


def silu_backward(dy: Array, x: Array) -> Array:
    """Return dy·(σ(x) + x·σ(x)·σ(−x))."""
    inside = np.where(np.isinf(x), np.float32(0), x)  # Inf·0 else
    result: Array = dy * (sigmoid(x) + inside * (sigmoid(x) * sigmoid(-x)))
    return result


CORRECT = {
    "relu": Elementwise(relu),
    "relu_backward": Elementwise(relu_backward),
    "relu6": Elementwise(relu6),
    "relu6_backward": Elementwise(relu6_backward),
    "leaky_relu": Elementwise(leaky_relu, finite),
    "leaky_relu_backward": Elementwise(leaky_relu_backward, finite),
    "elu": Elementwise(elu, finite),
    "elu_backward": Elementwise(elu_backward, finite),
    "sigmoid": Elementwise(sigmoid),
    "sigmoid_backward": Elementwise(sigmoid_backward),
    "log_sigmoid": Elementwise(log_sigmoid),
    "log_sigmoid_backward": Elementwise(log_sigmoid_backward),
    "hard_sigmoid": Elementwise(hard_sigmoid),
    "hard_sigmoid_backward": Elementwise(hard_sigmoid_backward),
    "tanh": Elementwise(tanh),
    "tanh_backward": Elementwise(tanh_backward),
    "hard_tanh": Elementwise(hard_tanh, ordered),
    "hard_tanh_backward": Elementwise(hard_tanh_backward, ordered),
    "softplus": Elementwise(softplus),
    "softplus_backward": Elementwise(softplus_backward),
    "gelu": Elementwise(gelu, known),
    "gelu_backward": Elementwise(gelu_backward, known),
    "silu": Elementwise(silu),
    "silu_backward": Elementwise(silu_backward),
}

# Wrong formulas.


def gelu_by_quotient(x: Array, *, approximate: str = "none") -> Array:
    """Compute tanh(u) as (e^2u − 1)/(e^2u + 1), Inf/Inf from x = 10 on."""
    e = exp(2 * cubic(x))
    return np.float32(0.5) * x * (1 + (e - 1) / (e + 1)) if approximate == "tanh" else gelu(x)


def gelu_by_sum(x: Array, *, approximate: str = "none") -> Array:
    """Compute 1 + tanh(u), which cancels in the left tail."""
    if approximate == "none":
        return gelu(x)
    return except_at_minus_infinity(x, np.float32(0.5) * x * (1 + tanh(cubic(x))))


def sigmoid_backward_overflowing(dy: Array, x: Array) -> Array:
    """Compute e/(1 + e)² with e = exp(−x), Inf/Inf where that overflows."""
    e = exp(-x)
    result: Array = dy * (e / ((1 + e) * (1 + e)))
    return result


def log_sigmoid_by_log(x: Array) -> Array:
    """Compute −(m + log(e^−m + e^(−x−m))) with m = max(0, −x): no log1p, and Inf − Inf at −Inf."""
    m = np.maximum(-x, 0)
    result: Array = -(m + log(exp(-m) + exp(-x - m)))
    return result


# The mutants. Each replaces one step.

X1 = Backend(
    "fmax returns the number where x is NaN: NaN becomes 0",
    ["pytorch/pytorch#183571", "apache/mxnet#11115"],
    relu=CORRECT["relu"].broken(formula=lambda x: np.fmax(x, np.float32(0))),
)
X3 = Backend(
    "both comparisons are false for NaN, and the gradient passes",
    ["tenstorrent/tt-metal#57374"],
    hard_tanh_backward=CORRECT["hard_tanh_backward"].broken(
        formula=lambda dy, x, *, min_val=-1.0, max_val=1.0: np.where(
            x <= np.float32(min_val), np.float32(0), np.where(x >= np.float32(max_val), np.float32(0), dy)
        )
    ),
)
X5 = Backend(
    "tanh as a quotient of exponentials is Inf/Inf for x > 10",
    ["pytorch/pytorch#186278", "huggingface/candle#1408"],
    gelu=CORRECT["gelu"].broken(formula=gelu_by_quotient),
)
X7 = Backend(
    "1 + tanh(u) cancels in the left tail and is exactly 0 below −6",
    ["tenstorrent/tt-metal#56517"],
    gelu=CORRECT["gelu"].broken(formula=gelu_by_sum),
)
X9 = Backend(
    "e/(1 + e)² is Inf/Inf for large negative x",
    ["jeshraghian/snntorch#433"],
    sigmoid_backward=CORRECT["sigmoid_backward"].broken(formula=sigmoid_backward_overflowing),
)
X11 = Backend(
    "log(1 + e) loses the tail that log1p keeps, and −Inf gives NaN",
    ["pytorch/pytorch#66441", "pytorch/pytorch#2211"],
    log_sigmoid=CORRECT["log_sigmoid"].broken(formula=log_sigmoid_by_log),
)
X13 = Backend(
    "exp(x) − 1 in place of expm1 is 0 for small negative x",
    ["jax-ml/jax#1207", "tensorflow/tensorflow#116943"],
    elu=CORRECT["elu"].broken(
        formula=lambda x, *, alpha=1.0: np.where(x > 0, x, np.float32(alpha) * (exp(x) - 1))
    ),
)
X15 = Backend(
    "the values after the last whole vector of four are skipped",
    ["xlite-dev/LeetCUDA#421", "ROCm/MIOpen#79"],
    relu=CORRECT["relu"].broken(reached=lambda n: n // 4 * 4),
)
X17 = Backend(
    "the guard for vector loads looks at the first operand; the second starts at a half row, misaligned",
    ["flashinfer-ai/flashinfer#5013"],
    silu_backward=CORRECT["silu_backward"].broken(in_vectors=lambda dy, x: rows_aligned(dy)),
)

# Right ways to compute, which must never be called wrong.

STABLE = Backend("the stable formula of every activation", (), **CORRECT)  # type: ignore[arg-type]
SIGMOID_SIMPLE = Backend(
    "1/(1 + exp(−x)), though exp overflows",
    sigmoid=Elementwise(lambda x: 1 / (1 + exp(-x))),
)
SIGMOID_BY_TANH = Backend(
    "(1 + tanh(x/2))/2 for x ≥ 0, its mirror image below by exp",
    sigmoid=Elementwise(lambda x: np.where(x >= 0, (1 + tanh(x / 2)) / 2, exp(x) / (1 + exp(x)))),
)
RELU_BY_MAXIMUM = Backend("a maximum that hands NaN on", relu=Elementwise(lambda x: np.maximum(x, 0)))
SOFTPLUS_BY_THRESHOLD = Backend(
    "log1p(exp(x)) up to 20, then x itself",
    softplus=Elementwise(lambda x: np.where(x > 20, x, log1p(exp(np.minimum(x, 20))))),
)
SOFTPLUS_BY_LOG_SIGMOID = Backend("−log σ(−x)", softplus=Elementwise(lambda x: -log_sigmoid(-x)))
LOG_SIGMOID_BY_CASES = Backend(
    "x − log1p(e^x) below 0, −log1p(e^−x) above",
    log_sigmoid=Elementwise(lambda x: np.where(x < 0, x - log1p(exp(x)), -log1p(exp(-x)))),
)
GELU_BY_CASES = Backend(
    "erfc below 0, 1 + erf above; the tanh form by 1 + tanh above 0 and by exp below",
    gelu=Elementwise(
        lambda x, *, approximate="none": (
            np.where(x > 0, np.float32(0.5) * x * (1 + tanh(cubic(x))), gelu(x, approximate="tanh"))
            if approximate == "tanh"
            else np.where(x > 0, np.float32(0.5) * x * (1 + erf(x * np.float32(np.sqrt(0.5)))), gelu(x))
        ),
        known,
    ),
)
SILU_BY_QUOTIENT = Backend(
    "x/(1 + e^−x) above 0, x·e^x/(1 + e^x) below",
    silu=Elementwise(
        lambda x: except_at_minus_infinity(x, np.where(x >= 0, x / (1 + exp(-x)), x * exp(x) / (1 + exp(x))))
    ),
)
HARD_SIGMOID_BY_SIXTHS = Backend(
    "clip(x + 3, 0, 6)/6",
    hard_sigmoid=Elementwise(lambda x: np.clip(x + 3, np.float32(0), np.float32(6)) / 6),
)
BACKWARD_BY_VALUE = Backend(
    "derivatives through the function's own value: s·(1 − s), 1 − t², y + alpha, s·(1 + x·(1 − s))",
    sigmoid_backward=Elementwise(lambda dy, x: dy * (sigmoid(x) * (1 - sigmoid(x)))),
    tanh_backward=Elementwise(lambda dy, x: dy * (1 - tanh(x) * tanh(x))),
    elu_backward=Elementwise(
        lambda dy, x, *, alpha=1.0: np.where(
            x > 0, dy, dy * (np.float32(alpha) * expm1(np.minimum(x, 0)) + np.float32(alpha))
        ),
        finite,
    ),
    silu_backward=Elementwise(
        lambda dy, x: dy * (sigmoid(x) * (1 + np.where(np.isinf(x), 0, x) * (1 - sigmoid(x))))
    ),
)
ELU_BY_TWO_CLIPS = Backend(
    "max(x, 0) + alpha·expm1(min(x, 0))",
    elu=Elementwise(
        lambda x, *, alpha=1.0: np.maximum(x, 0) + np.float32(alpha) * expm1(np.minimum(x, 0)), finite
    ),
)
