"""Kernels broken in ways that nobody reported to us but that any kernel may be, and right ones to match.

Most re-enact a class of bugs that the suite once missed: a path of its own for a column, a factor beyond the
narrow type, a padding that meets an infinity, a cache that forgets part of its key. The kernels are those of
the other files; two more are here, maxout's and one that remembers results.
"""

import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from convolution import CONVOLUTION
from elementwise import (
    CORRECT,
    elu,
    erf,
    except_at_minus_infinity,
    exp,
    gelu,
    hard_tanh_backward,
    sigmoid,
)
from gemm import GEMM, Gemm, matmul, multiply_then_add, one_k_at_a_time, truncated_to_tf32
from softmax import BLOCK, TILES, Rowwise
from workshop import NARROW, Array, Backend, Kernel, checked, destination, log, write

CONSTRUCTED = ("constructed",)
WIDE = ("float32",)
SMALLEST = np.float32(2.0**-126)


@dataclass(frozen=True)
class Maxout(Kernel):
    """Maxout and its gradient: groups as the last axis, the choice of one, its value or its gradient."""

    seed: float = -np.inf  # with which the running maximum starts
    key: Callable[[Array], Array] = lambda groups: groups  # what is compared
    chosen_nan: Callable[[Array], Array] = lambda nan: nan.argmax(axis=-1)
    route: Callable[[Array, Array], Array] = lambda dy, chosen: np.where(chosen, dy, np.float32(0))
    reached: Callable[[int], int] = lambda n: n

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return maxout or maxout_backward."""
        return self.backward if operation.endswith("_backward") else self.forward

    def groups(self, x: Array, pieces: int, axis: int) -> Array:
        """Return x in fp32 with its groups as the last axis."""
        rows = np.moveaxis(x, axis, -1).astype(np.float32)
        if pieces < 1 or rows.shape[-1] % pieces:
            raise ValueError(f"pieces is {pieces}, the axis has length {rows.shape[-1]}")
        return rows.reshape(*rows.shape[:-1], rows.shape[-1] // pieces, pieces)

    def forward(self, x: Array, *, pieces: int = 2, axis: int = -1, out: Array | None = None) -> Array:
        """Return the maximum of each group."""
        dtype = checked(x=x)
        groups = self.groups(x, pieces, axis)
        result = np.moveaxis(groups.max(axis=-1, initial=self.seed), -1, range(x.ndim)[axis])
        out = destination(out, result.shape, dtype)
        n = self.reached(out.size)
        out.flat[:n] = result.astype(dtype).flat[:n]
        return out

    def backward(
        self, dy: Array, x: Array, *, pieces: int = 2, axis: int = -1, out: Array | None = None
    ) -> Array:
        """Return dy at the first maximum of each group, the first NaN if there is one."""
        dtype = checked(dy=dy, x=x)
        groups = self.groups(x, pieces, axis)
        gradient = np.moveaxis(dy, axis, -1).astype(np.float32)[..., None]
        if gradient.shape[:-1] != groups.shape[:-1]:
            raise ValueError(f"dy has shape {dy.shape}, x has {x.shape}, pieces is {pieces}")
        out = destination(out, x.shape, dtype)
        if out.size:
            nan = np.isnan(groups)
            largest = np.where(nan, -np.inf, self.key(groups)).argmax(axis=-1)
            first = np.where(nan.any(axis=-1), self.chosen_nan(nan), largest)
            with np.errstate(invalid="ignore"):
                result = self.route(gradient, np.arange(pieces) == first[..., None])
            write(out, np.moveaxis(result.reshape(*result.shape[:-2], -1), -1, axis))
        return out


MAXOUT = Maxout()


def everything(arrays: tuple[Array, ...], parameters: dict[str, Any]) -> Hashable:
    """Return a key that two calls share only if they must give the same."""
    contents = tuple((a.shape, a.dtype.name, np.ascontiguousarray(a).tobytes()) for a in arrays)
    return contents, tuple(sorted(parameters.items()))


@dataclass(frozen=True)
class Remembering(Kernel):
    """A kernel that keeps results, and hands them out again for arguments with the same key."""

    kernel: Kernel
    key: Callable[[tuple[Array, ...], dict[str, Any]], Hashable] = everything
    hand_out: Callable[[Array], Array] = lambda kept: kept.copy()
    results: dict[Hashable, Array] = field(default_factory=dict, init=False, compare=False)

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return the kernel's operation, with a memory."""
        compute = self.kernel.entry(operation)

        def remember(*arrays: Array, out: Array | None = None, **parameters: Any) -> Array:
            fresh = compute(*arrays, **parameters)  # it checks the arguments
            kept = self.results.setdefault(self.key(arrays, parameters), fresh)
            if out is None:
                return self.hand_out(kept)
            write(destination(out, fresh.shape, fresh.dtype), kept)
            return out

        return remember


def some(count: int, *, both_ends: bool = False) -> Callable[[Array], Hashable]:
    """Return a sample of an array: its first elements, and perhaps its last."""

    def sample(x: Array) -> Hashable:
        flat = x.reshape(-1)
        return x.shape, x.dtype.name, flat[:count].tobytes(), flat[-count:].tobytes() if both_ends else b""

    return sample


def by(sample: Callable[[Array], Hashable]) -> Callable[[tuple[Array, ...], dict[str, Any]], Hashable]:
    """Return a key made of samples of all arrays, and the parameters."""
    return lambda arrays, parameters: (tuple(map(sample, arrays)), tuple(sorted(parameters.items())))


# Wrong steps.

ORDER = secrets.randbits(32)
"""Drawn when the process begins."""


def in_the_order_of_the_process(a: Array, b: Array, dtype: str) -> Array:
    """Add the products in an order that was drawn when the process began."""
    order = np.random.default_rng(ORDER).permutation(a.shape[2])
    return one_k_at_a_time(multiply_then_add)(a[:, :, order], b[:, order], dtype)  # type: ignore[no-any-return]


def between_narrow_limits(dy: Array, x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Compare with limits that were rounded to fp16."""
    low, high = (float(np.float16(limit)) for limit in (min_val, max_val))
    return hard_tanh_backward(dy, x, min_val=low, max_val=high)


def skipping_zeros(a: Array, b: Array, dtype: str) -> Array:
    """Leave out products with a zero of a, though 0·Inf and 0·NaN are NaN."""
    if np.isfinite(b).all():
        return matmul(a, b, dtype)
    acc = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
    for k in range(a.shape[2]):
        acc += np.where(a[:, :, k, None] == 0, np.float32(0), a[:, :, k, None] * b[:, k, None, :])
    return acc


def padding_with_the_last_row(a: Array, b: Array, dtype: str) -> Array:
    """Fill K up to a multiple of 16: a with zeros, b by reading its last row again."""
    missing = -a.shape[2] % 16
    a = np.concatenate([a, np.zeros((*a.shape[:2], missing), np.float32)], axis=2)
    return matmul(a, np.concatenate([b, np.repeat(b[:, -1:], missing, axis=1)], axis=1), dtype)


def tf32_if_large(a: Array, b: Array, dtype: str) -> Array:
    """Use tensor cores from 256 rows, columns and products on."""
    if min(a.shape[1], a.shape[2], b.shape[2]) >= 256:
        return matmul(truncated_to_tf32(a), truncated_to_tf32(b), dtype)
    return matmul(a, b, dtype)


def tf32_if_long(a: Array, b: Array, dtype: str) -> Array:
    """Use tensor cores from 128 rows and columns and 512 products on."""
    if min(a.shape[1], b.shape[2]) >= 128 and a.shape[2] >= 512:
        return matmul(truncated_to_tf32(a), truncated_to_tf32(b), dtype)
    return matmul(a, b, dtype)


def towards_zero(x: Array) -> Array:
    """Cut float64 to fp32."""
    nearest = x.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(x), np.nextafter(nearest, np.float32(0)), nearest)


def chopping(a: Array, b: Array, dtype: str) -> Array:
    """Cut every partial sum to fp32 instead of rounding it."""
    acc = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
    for k in range(a.shape[2]):
        acc = towards_zero(acc.astype(np.float64) + a[:, :, k, None].astype(np.float64) * b[:, k, None, :])
    return acc


def half_partials(a: Array, b: Array, dtype: str) -> Array:
    """Keep the partial sum of split-K's first part in a workspace of fp16."""
    h = a.shape[2] // 2
    if dtype != "float16" or h < 64:
        return matmul(a, b, dtype)
    waiting: Array = matmul(a[:, :, :h], b[:, :h], dtype).astype(np.float16).astype(np.float32)
    return waiting + matmul(a[:, :, h:], b[:, h:], dtype)


def flushed(x: Array) -> Array:
    """Load with subnormal fp32 numbers taken for zero."""
    x = x.astype(np.float32)
    return np.where(np.abs(x) < SMALLEST, np.float32(0), x)


def saturating(out: Array, result: Array) -> None:
    """Store sums that are too large for the type as its largest number; infinities stay."""
    rounded = result.astype(out.dtype)
    largest = np.finfo(np.float16).max if out.dtype == np.float16 else np.float32(2.0**128 - 2.0**120)
    lost = np.isinf(rounded.astype(np.float32)) & np.isfinite(result)
    np.copyto(
        out,
        np.where(lost, np.copysign(np.float32(largest), result), rounded.astype(np.float32)).astype(
            out.dtype
        ),
    )


def packed_column(out: Array, result: Array) -> None:
    """Store a column as if its elements were neighbours."""
    if result.ndim == 2 and result.shape[1] == 1 and result.shape[0] > 1 and out.strides[0] > out.itemsize:
        out = np.lib.stride_tricks.as_strided(out, out.shape, (out.itemsize, out.itemsize))
    write(out, result)


def erf_of_five_terms(x: Array, *, approximate: str = "none") -> Array:
    """Use Abramowitz and Stegun's 7.1.26, which is off by up to 1.5e-7, whatever the size of the result."""
    if approximate == "tanh":
        return gelu(x, approximate="tanh")
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = np.zeros_like(x)
    for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = (poly + np.float32(c)) * t
    erf = np.copysign(1 - poly * exp(-z * z), x)
    return except_at_minus_infinity(x, np.float32(0.5) * x * (1 + erf))


def gelu_by_a_short_constant(x: Array, *, approximate: str = "none") -> Array:
    """Write 0.0447 for 0.044715."""
    if approximate == "none":
        return gelu(x)
    w = np.float32(np.sqrt(8 / np.pi)) * (x + np.float32(0.0447) * x * x * x)
    return except_at_minus_infinity(x, x * sigmoid(w))


def fused_gelu_by_erf(acc: Array, bias: Array, residual: Array, function: Callable[[Array], Array]) -> Array:
    """End a convolution with x·(1 + erf(x/√2))/2, which cancels in the left tail."""
    y = acc + bias + residual
    if function is not gelu:
        return function(y)
    return except_at_minus_infinity(y, np.float32(0.5) * y * (1 + erf(y * np.float32(np.sqrt(0.5)))))


def around_zero(x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Compare positive numbers with the upper limit and negative ones with the lower."""
    return np.where(x > 0, np.minimum(x, np.float32(max_val)), np.maximum(x, np.float32(min_val)))


# The mutants. Each replaces one step.

U2 = Backend(
    "a beta smaller than 1e-6 counts as 0",
    CONSTRUCTED,
    gemm=GEMM.broken(reads_c=lambda beta: abs(beta) > 1e-6),
)
U3 = Backend(
    "products with a zero are skipped, and 0·Inf is no NaN",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(contract=skipping_zeros),
)
U4 = Backend(
    "the padding of K multiplies zeros by the last row, NaN if that is infinite",
    CONSTRUCTED,
    gemm=GEMM.broken(contract=padding_with_the_last_row),
)
U5 = Backend(
    "subnormal operands count as zero",
    CONSTRUCTED,
    dtypes=("float32", "bfloat16"),
    gemm=GEMM.broken(load=flushed),
)
U6 = Backend(
    "large matrices go through tf32",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(contract=tf32_if_large),
)
U7 = Backend(
    "partial sums are cut, not rounded", CONSTRUCTED, dtypes=WIDE, gemm=GEMM.broken(contract=chopping)
)
U8 = Backend(
    "the first half of split-K waits in fp16",
    CONSTRUCTED,
    dtypes=("float16",),
    gemm=GEMM.broken(contract=half_partials),
)
U9 = Backend(
    "a sum too large for the type becomes its largest number",
    CONSTRUCTED,
    dtypes=NARROW,
    gemm=GEMM.broken(store=saturating),
)
U10 = Backend(
    "a column is stored without its stride",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(store=packed_column),
)
U11 = Backend(
    "of a batch of addends only the first is used",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(place_matrix=lambda c: c[(0,) * (c.ndim - 2)] if 0 not in c.shape else c),
)
U12 = Backend(
    "a remembered product is found by its operands alone, not by alpha, beta and c",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=Remembering(GEMM).broken(
        key=lambda arrays, parameters: everything(
            arrays[:2], {flag: parameters.get(flag) for flag in ("transpose_a", "transpose_b")}
        )
    ),
)
U13 = Backend(
    "a remembered product is found by the ends of its operands",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=Remembering(GEMM).broken(key=by(some(2, both_ends=True))),
)
U14 = Backend(
    "a row of nothing but −Inf is spread evenly, not NaN",
    CONSTRUCTED,
    dtypes=WIDE,
    softmax=TILES.broken(shift=lambda x, m: np.where(np.isneginf(m), np.float32(0), x - m)),
    log_softmax=TILES.broken(shift=lambda x, m: np.where(np.isneginf(m), np.float32(0), x - m)),
)
U15 = Backend(
    "lanes beyond the row contribute −10 000 to the maximum",
    CONSTRUCTED,
    softmax=BLOCK.broken(idle=-1e4),
)
U16 = Backend(
    "the running maximum starts at the smallest number of fp16",
    CONSTRUCTED,
    dtypes=("float32", "bfloat16"),
    log_softmax=BLOCK.broken(
        combine=lambda warps: np.maximum(warps.max(axis=1, keepdims=True), np.float32(-65504))
    ),
)
U17 = Backend(
    "columns are counted in 16 bits", CONSTRUCTED, softmax=BLOCK.broken(covered=lambda n: min(n, 1 << 16))
)
U18 = Backend(
    "elements are counted in 16 bits",
    CONSTRUCTED,
    dtypes=WIDE,
    relu=CORRECT["relu"].broken(reached=lambda n: min(n, 1 << 16)),
)
U19 = Backend(
    "the gradient of a dead unit is multiplied by 0, and NaN comes through",
    CONSTRUCTED,
    relu_backward=CORRECT["relu_backward"].broken(
        formula=lambda dy, x: np.where(np.isnan(x), x, dy * (x > 0))
    ),
)
U20 = Backend(
    "the limits are taken to lie on either side of zero",
    CONSTRUCTED,
    dtypes=WIDE,
    hard_tanh=CORRECT["hard_tanh"].broken(formula=around_zero),
)
U21 = Backend(
    "a slope is limited to 10",
    CONSTRUCTED,
    dtypes=WIDE,
    leaky_relu=CORRECT["leaky_relu"].broken(
        formula=lambda x, *, negative_slope=0.01: np.where(
            x > 0, x, x * np.float32(min(negative_slope, 10.0))
        )
    ),
)
U22 = Backend(
    "GELU by an erf of five terms loses its left tail",
    CONSTRUCTED,
    gelu=CORRECT["gelu"].broken(formula=erf_of_five_terms),
)
U23 = Backend(
    "a constant of GELU is short of its last digits",
    CONSTRUCTED,
    gelu=CORRECT["gelu"].broken(formula=gelu_by_a_short_constant),
)
U24 = Backend(
    "the upper kink of relu6 belongs to the wrong piece",
    CONSTRUCTED,
    dtypes=WIDE,
    relu6_backward=CORRECT["relu6_backward"].broken(
        formula=lambda dy, x: np.where((x <= 0) | (x > 6), np.float32(0), np.where(np.isnan(x), x, dy))
    ),
)
U25 = Backend(
    "a remembered activation is found by its first eight elements",
    CONSTRUCTED,
    dtypes=WIDE,
    silu=Remembering(CORRECT["silu"]).broken(key=by(some(8))),
)
U26 = Backend(
    "a remembered softmax is found without its axis",
    CONSTRUCTED,
    dtypes=WIDE,
    softmax=Remembering(BLOCK).broken(key=lambda arrays, parameters: everything(arrays, {})),
)
U27 = Backend(
    "a result is handed out again without a copy",
    CONSTRUCTED,
    dtypes=WIDE,
    tanh=Remembering(CORRECT["tanh"], key=lambda arrays, parameters: everything(arrays, {})).broken(
        hand_out=lambda kept: kept
    ),
)
U28 = Backend(
    "the maximum starts at the smallest finite number",
    CONSTRUCTED,
    dtypes=WIDE,
    maxout=MAXOUT.broken(seed=float(np.finfo(np.float32).min)),
)
U29 = Backend(
    "−0 counts as less than +0",
    CONSTRUCTED,
    dtypes=WIDE,
    maxout_backward=MAXOUT.broken(
        key=lambda groups: np.where(groups == 0, np.copysign(np.float32(1e-45), groups), groups)
    ),
)
U30 = Backend(
    "the last NaN of a group receives the gradient",
    CONSTRUCTED,
    dtypes=WIDE,
    maxout_backward=MAXOUT.broken(chosen_nan=lambda nan: nan.shape[-1] - 1 - nan[..., ::-1].argmax(axis=-1)),
)
U31 = Backend(
    "the gradient is multiplied by a mask, and 0·NaN is NaN",
    CONSTRUCTED,
    dtypes=WIDE,
    maxout_backward=MAXOUT.broken(route=lambda dy, chosen: dy * chosen),
)
U32 = Backend(
    "groups are counted in 16 bits",
    CONSTRUCTED,
    dtypes=WIDE,
    maxout=MAXOUT.broken(reached=lambda n: min(n, 1 << 16)),
)
U33 = Backend(
    "GELU behind a convolution is computed by 1 + erf and loses its left tail",
    CONSTRUCTED,
    dtypes=WIDE,
    conv_fused=CONVOLUTION.broken(finish=fused_gelu_by_erf),
)

U34 = Backend(
    "a factor of the addend close to zero counts as none",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(reads_c=lambda beta: not np.isclose(beta, 0)),
)
U35 = Backend(
    "large matrices with a long sum go through tf32",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(contract=tf32_if_long),
)
U36 = Backend(
    "each process adds in an order of its own, as after tuning",
    CONSTRUCTED,
    dtypes=WIDE,
    gemm=GEMM.broken(contract=in_the_order_of_the_process),
)
U37 = Backend(
    "numbers that round to the largest one are stored as infinity",
    CONSTRUCTED,
    dtypes=["float16"],
    gemm=GEMM.broken(
        store=lambda out, y: (
            write(out, np.where(np.abs(y) > 65504, np.copysign(np.inf, y), y))
            if out.dtype == np.float16
            else write(out, y)
        )
    ),
)
U38 = Backend(
    "a maximum of integers loses a NaN whose sign bit is set",
    CONSTRUCTED,
    dtypes=WIDE,
    relu=CORRECT["relu"].broken(formula=lambda x: np.maximum(x.view(np.int32), 0).view(np.float32)),
)
U39 = Backend(
    "a grid of 1024 blocks of 256 threads has no loop",
    CONSTRUCTED,
    dtypes=WIDE,
    relu=CORRECT["relu"].broken(reached=lambda n: min(n, 1 << 18)),
)
U40 = Backend(
    "a parameter close to 1 counts as 1",
    CONSTRUCTED,
    dtypes=WIDE,
    elu=CORRECT["elu"].broken(
        formula=lambda x, *, alpha=1.0: elu(x, alpha=1.0 if np.isclose(alpha, 1.0) else alpha)
    ),
)
U41 = Backend(
    "limits are rounded to the narrow type",
    CONSTRUCTED,
    dtypes=["float16"],
    hard_tanh_backward=CORRECT["hard_tanh_backward"].broken(formula=between_narrow_limits),
)

# Right ways to compute, which must never be called wrong.

GROUPS = Backend("the maximum of each group", maxout=MAXOUT, maxout_backward=MAXOUT)
REMEMBERED = Backend(
    "results that are handed out again for equal arguments",
    gemm=Remembering(GEMM),
    softmax=Remembering(BLOCK),
    silu=Remembering(CORRECT["silu"]),
)
REVERSED_TREE = Backend(
    "four interleaved sums",
    gemm=Gemm(contract=lambda a, b, dtype: sum(matmul(a[:, :, i::4], b[:, i::4], dtype) for i in range(4))),
)


@dataclass(frozen=True)
class MaximumPlusLogarithm(Rowwise):
    """x − (m + log Σ), which rounds with the size of m."""

    def log_softmax(self, x: Array, dtype: Any) -> Array:
        """Return x − (m + log Σ exp(x − m))."""
        m = x.max(axis=1, keepdims=True)
        return x - (m + log(exp(x - m).sum(axis=1, keepdims=True)))


MAXIMUM_FIRST = Backend(
    "x − (m + log Σ), declared",
    departures={"log_softmax": ("log_of_sum",)},
    log_softmax=MaximumPlusLogarithm(),
)
