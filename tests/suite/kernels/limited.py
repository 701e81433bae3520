"""Right kernels with ordinary limits, the domain that says so, and the same kernels with one bug inside it.

What is outside a kernel's limits raises NotImplementedError. As backends they are called NAME, without a
domain, NAME_DECLARED, with it, and NAME_BROKEN, with it and with the bug.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import bare
import numpy as np
from slide import Array, counts, numbers, pairs

from gaugeblock.conformance.adapters import numpy as strict
from gaugeblock.reference import convolution, pooling

Function = Callable[..., Array]
F = np.float32
FLOATS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Limited:
    """A kernel, its limits, and a bug.

    Parameters
    ----------
    story
        What it is for, as its author would put it.
    operation
        What it implements.
    domain
        The limits, as a backend declares them.
    kernel
        The function; outside its limits it raises NotImplementedError.
    bug
        What is wrong with the broken one.
    broken
        The same kernel with that bug.
    """

    story: str
    operation: str
    domain: Mapping[str, Any]
    kernel: Function
    bug: str
    broken: Function


class Backend:
    """A backend of one function, with a domain or without.

    Parameters
    ----------
    operation : str
        Its name.
    function : callable
        The kernel.
    domain : mapping, optional
        What it declares.
    """

    def __init__(self, operation: str, function: Function, domain: Mapping[str, Any] | None = None) -> None:
        setattr(self, operation, function)
        if domain is not None:
            self.domain = {operation: dict(domain)}


def only(condition: bool, words: str) -> None:
    """Decline a call outside the limits."""
    if not condition:
        raise NotImplementedError(words)


def floats(**arrays: Array | None) -> None:
    """Refuse what is no array of one float format."""
    given = {name: array for name, array in arrays.items() if array is not None}
    first = next(iter(given.values())).dtype
    for name, array in given.items():
        if array.dtype.name not in FLOATS or array.dtype != first:
            raise TypeError(
                f"{name} has dtype {array.dtype}, expected one of {', '.join(FLOATS)}, one for all"
            )


# Convolution


def checked_conv(x: Array, w: Array, bias: Array | None, **parameters: Any) -> None:
    """Refuse what no convolution takes."""
    floats(x=x, w=w, bias=bias)
    convolution.conv_shape(x.shape, w.shape, None if bias is None else bias.shape, **parameters)


def around(x: Array, w: Array, **parameters: Any) -> tuple[tuple[int, int], ...]:
    """Return the padding before and after every axis."""
    windows = convolution.conv_windows(
        x.shape, w.shape, **{name: value for name, value in parameters.items() if name != "groups"}
    )
    return tuple(zip(windows.before, windows.after, strict=True))


def careful(x: Array, w: Array, bias: Array | None, padding: Any, **parameters: Any) -> Array:
    """Return the convolution tap by tap: what a tap beyond the input would have added is not there."""
    axes = x.ndim - 2
    stride, dilation = (numbers(parameters.get(name, 1), axes) for name in ("stride", "dilation"))
    groups = parameters.get("groups", 1)
    output = counts(x.shape[2:], w.shape[2:], stride, dilation, padding)
    (n, c), k = x.shape[:2], w.shape[0]
    y = np.zeros((n, groups, k // groups, *output), F)
    wide_x = x.astype(F).reshape(n, groups, c // groups, *x.shape[2:])
    wide_w = w.astype(F).reshape(groups, k // groups, *w.shape[1:])
    with np.errstate(all="ignore"):
        for tap in np.ndindex(w.shape[2:]):
            source, target = [], []
            for size, r, s, d, (before, _), p in zip(
                x.shape[2:], tap, stride, dilation, padding, output, strict=True
            ):
                places = np.arange(p) * s + r * d - before
                inside = np.flatnonzero((places >= 0) & (places < size))
                target.append(inside)
                source.append(places[inside])
            part = wide_x[np.ix_(*map(np.arange, wide_x.shape[:3]), *source)]
            y[np.ix_(*map(np.arange, y.shape[:3]), *target)] += np.einsum(
                "ngc...,gkc->ngk...", part, wide_w[(..., *tap)]
            )
        y = y.reshape(n, k, *output)
        if bias is not None:
            y += bias.astype(F).reshape(-1, *(1,) * axes)
        return y.astype(x.dtype)


def symmetric_conv(swap: bool) -> Function:
    """Return convolution with the same padding on both sides of an axis, as PyTorch and cuDNN take it."""

    def conv(x: Array, w: Array, bias: Array | None = None, *, padding: Any = 0, **parameters: Any) -> Array:
        checked_conv(x, w, bias, padding=padding, **parameters)
        sides = around(x, w, padding=padding, **parameters)
        only(all(before == after for before, after in sides), "padding differs between the sides")
        if swap and len(sides) == 2:
            kernel, stride, dilation = (
                w.shape[2:],
                numbers(parameters.get("stride", 1), 2),
                numbers(parameters.get("dilation", 1), 2),
            )
            shape = counts(x.shape[2:], kernel, stride, dilation, sides)
            if counts(x.shape[2:], kernel, stride, dilation, sides[::-1]) == shape:
                sides = sides[::-1]
            else:  # the output's size comes from elsewhere: the windows alone are misplaced
                sides = tuple(
                    (other[0], 2 * own[0] - other[0]) for own, other in zip(sides, sides[::-1], strict=True)
                )
        return careful(x, w, bias, sides, **parameters)

    return conv


def three_by_three(ignore: bool) -> Function:
    """Return convolution of images with kernels of 3 × 3."""

    def conv(x: Array, w: Array, bias: Array | None = None, *, padding: Any = 0, **parameters: Any) -> Array:
        checked_conv(x, w, bias, padding=padding, **parameters)
        only(w.shape[2:] == (3, 3), "the kernel is not 3 × 3")
        result = careful(x, w, bias, around(x, w, padding=padding, **parameters), **parameters)
        if ignore and bias is not None and x.shape[1] % 4 == 3:
            result = careful(x, w, None, around(x, w, padding=padding, **parameters), **parameters)
        return result

    return conv


def one_layer(drop: bool) -> Function:
    """Return the convolution of one layer of one network."""

    def conv(x: Array, w: Array, bias: Array | None = None, *, padding: Any = 0, **parameters: Any) -> Array:
        checked_conv(x, w, bias, padding=padding, **parameters)
        only((x.shape, w.shape) == ((2, 8, 10, 10), (8, 8, 3, 3)), "another layer")
        if drop:
            w = w.copy()
            w[:, -1, -1, -1] = 0
        return careful(x, w, bias, around(x, w, padding=padding, **parameters), **parameters)

    return conv


# GEMM


def sizes(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> tuple[int, int, int]:
    """Return M, N and K."""
    m, k = a.shape[-2:][::-1] if transpose_a else a.shape[-2:]
    return m, b.shape[-2 if transpose_b else -1], k


def limited_gemm(
    inside: Callable[..., bool], words: str, change: Callable[..., Array] = lambda result, *_, **__: result
) -> Function:
    """Return gemm inside limits; ``change`` is what the bug does to a result."""

    def gemm(a: Array, b: Array, c: Array | None = None, **parameters: Any) -> Array:
        result = strict.gemm(a, b, c, **parameters)
        flags = {name: bool(parameters.get(name, False)) for name in ("transpose_a", "transpose_b")}
        only(inside(a, b, *sizes(a, b, **flags), **flags), words)
        return change(result, a, b, c, **{"alpha": 1.0, "beta": 0.0, **parameters})

    return gemm


def beta_as_flag(result: Array, a: Array, b: Array, c: Array | None, **parameters: Any) -> Array:
    """Return α·a·b + c wherever β is not 0."""
    return strict.gemm(a, b, c, **{**parameters, "beta": float(parameters["beta"] != 0)})


def first_tiles(result: Array, a: Array, b: Array, c: Array | None, **parameters: Any) -> Array:
    """Return the result without α behind the first 16 columns."""
    plain = strict.gemm(a, b, c, **{**parameters, "alpha": 1.0})
    result[..., 16:] = plain[..., 16:] if parameters["alpha"] != 0 else result[..., 16:]
    return result


def without_last_term(result: Array, a: Array, b: Array, c: Array | None, **parameters: Any) -> Array:
    """Return the sum without its last term."""
    return strict.gemm(a[..., :-1], b[..., :-1, :], c, **parameters)


def bias_by_row(result: Array, a: Array, b: Array, c: Array | None, **parameters: Any) -> Array:
    """Return the result with a vector added along the wrong axis."""
    column = c[:, None] if c is not None and c.ndim == 1 and c.shape[0] == result.shape[-2] else c
    return strict.gemm(a, b, column, **parameters)


def nt(a: Array, b: Array, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool) -> bool:
    """Whether b alone is transposed."""
    return transpose_b and not transpose_a


def in_sixteens(a: Array, b: Array, m: int, n: int, k: int, **_: bool) -> bool:
    """Whether all sizes are multiples of 16."""
    return m % 16 == n % 16 == k % 16 == 0


def one_product(a: Array, b: Array, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool) -> bool:
    """Whether it is the one product."""
    return (a.shape, b.shape) == ((64, 32), (32, 48)) and not transpose_a and not transpose_b


def square(a: Array, b: Array, m: int, n: int, k: int, **_: bool) -> bool:
    """Whether the result is square."""
    return m == n


# Rows, pooling, elements


def matrix_softmax(miss: bool) -> Function:
    """Return softmax of the rows of a matrix."""

    def softmax(x: Array, *, axis: int = -1) -> Array:
        result = strict.softmax(x, axis=axis)
        only(x.ndim == 2 and axis in (-1, 1), "rows of a matrix only")
        if miss and x.shape[1] % 4 == 1 and x.shape[1] > 1:
            result[:, -1] = 0
        return result

    return softmax


def pooled(
    operation: Function, shape: Callable[..., Any], bug: Callable[[Array], Array] | None = None
) -> Function:
    """Return pooling as PyTorch has it: the same padding on both sides, at most half of the kernel."""

    def pool(x: Array, *, kernel: Any, **parameters: Any) -> Array:
        floats(x=x)
        result_shape = shape(x.shape, kernel=kernel, **parameters)
        axes = x.ndim - 2
        window, dilation = numbers(kernel, axes), numbers(parameters.get("dilation", 1), axes)
        stride = window if parameters.get("stride") is None else numbers(parameters["stride"], axes)
        sides = pairs(parameters.get("padding", 0), x.shape[2:], window, stride, dilation)
        only(all(before == after for before, after in sides), "padding differs between the sides")
        only(
            all(2 * p <= r for (p, _), r in zip(sides, window, strict=True)),
            "more padding than half the kernel",
        )
        only(0 not in (*x.shape, *result_shape), "nothing to pool")
        return operation(x if bug is None else bug(x), kernel=kernel, **parameters)

    return pool


def without_nan(x: Array) -> Array:
    """Return x with the smallest number for NaN, as a comparison with > has it."""
    return np.where(np.isnan(x), x.dtype.type(-np.inf), x)


def padded_as_data(x: Array, *, count_include_pad: bool = True, **parameters: Any) -> Array:
    """Return averages that always divide by the cells of the padding too."""
    return bare.avg_pool(x, count_include_pad=True, **parameters)


def in_fours(zero: bool) -> Function:
    """Return relu for packed arrays of whole vectors."""

    def relu(x: Array) -> Array:
        result = strict.relu(x)
        only(x.size % 4 == 0 and x.flags.c_contiguous, "packed arrays of whole vectors only")
        return np.where(np.isnan(x), x.dtype.type(0), result) if zero else result

    return relu


def single(coarse: bool) -> Function:
    """Return tanh in fp32."""

    def tanh(x: Array) -> Array:
        result = strict.tanh(x)
        only(x.dtype == F, "float32 only")
        if coarse:
            with np.errstate(all="ignore"):
                e = np.exp(2 * x)
                return np.where(e < np.inf, (e - 1) / (e + 1), result).astype(F)
        return result

    return tanh


def finite(cut: bool) -> Function:
    """Return silu of finite numbers."""

    def silu(x: Array) -> Array:
        result = strict.silu(x)
        only(bool(np.all(np.isfinite(x))), "finite numbers only")
        return np.where(x < -8, x.dtype.type(0), result) if cut else result

    return silu


LIMITED: Mapping[str, Limited] = {
    "SYMMETRIC_CONV": Limited(
        "convolution with the same padding on both sides",
        "conv",
        {"padding": "symmetric"},
        symmetric_conv(False),
        "the paddings of height and width are exchanged",
        symmetric_conv(True),
    ),
    "THREE_BY_THREE": Limited(
        "convolution with kernels of 3 × 3",
        "conv",
        {"rank": 4, "R": 3, "S": 3},
        three_by_three(False),
        "the bias is forgotten where a remainder of three channels is left",
        three_by_three(True),
    ),
    "ONE_LAYER": Limited(
        "the convolution of one layer",
        "conv",
        {"x": (2, 8, 10, 10), "w": (8, 8, 3, 3)},
        one_layer(False),
        "the last tap of the last channel is left out",
        one_layer(True),
    ),
    "NT": Limited(
        "products a·bᵀ",
        "gemm",
        {"transpose_a": False, "transpose_b": True},
        limited_gemm(nt, "a·bᵀ only"),
        "β is taken for a flag",
        limited_gemm(nt, "a·bᵀ only", beta_as_flag),
    ),
    "SIXTEENS": Limited(
        "products whose sizes are multiples of 16",
        "gemm",
        {"M": {"multiple_of": 16}, "N": {"multiple_of": 16}, "K": {"multiple_of": 16}},
        limited_gemm(in_sixteens, "multiples of 16 only"),
        "α reaches the first 16 columns alone",
        limited_gemm(in_sixteens, "multiples of 16 only", first_tiles),
    ),
    "ONE_PRODUCT": Limited(
        "one product, 64 × 48 × 32",
        "gemm",
        {"a": (64, 32), "b": (32, 48), "transpose_a": False, "transpose_b": False},
        limited_gemm(one_product, "64 × 48 × 32 only"),
        "the last term of a sum is left out",
        limited_gemm(one_product, "64 × 48 × 32 only", without_last_term),
    ),
    "SQUARE": Limited(
        "square products",
        "gemm",
        {"N": "M"},
        limited_gemm(square, "square products only"),
        "a vector is added along the wrong axis",
        limited_gemm(square, "square products only", bias_by_row),
    ),
    "MATRIX_SOFTMAX": Limited(
        "softmax along the rows of a matrix",
        "softmax",
        {"rank": 2, "axis": (-1, 1)},
        matrix_softmax(False),
        "the last element of a row of 4·i + 1 is left out",
        matrix_softmax(True),
    ),
    "TORCH_MAX_POOL": Limited(
        "max pooling with PyTorch's limits",
        "max_pool",
        {"padding": ("symmetric", "at_most_half"), "empty": False},
        pooled(bare.max_pool, pooling.max_pool_shape),
        "NaN never wins",
        pooled(bare.max_pool, pooling.max_pool_shape, without_nan),
    ),
    "TORCH_AVG_POOL": Limited(
        "average pooling with PyTorch's limits",
        "avg_pool",
        {"padding": ("symmetric", "at_most_half"), "empty": False},
        pooled(bare.avg_pool, pooling.avg_pool_shape),
        "the padding is counted always",
        pooled(padded_as_data, pooling.avg_pool_shape),
    ),
    "FOURS": Limited(
        "relu of packed arrays of whole vectors",
        "relu",
        {"size": {"multiple_of": 4}, "layout": "packed"},
        in_fours(False),
        "NaN becomes 0",
        in_fours(True),
    ),
    "SINGLE": Limited(
        "tanh in fp32",
        "tanh",
        {"dtypes": ("float32",)},
        single(False),
        "a formula that cancels near 0",
        single(True),
    ),
    "FINITE": Limited(
        "silu of finite numbers",
        "silu",
        {"values": "finite"},
        finite(False),
        "the left tail is cut off",
        finite(True),
    ),
}

for _name, _it in LIMITED.items():
    globals()[_name] = Backend(_it.operation, _it.kernel)
    globals()[f"{_name}_DECLARED"] = Backend(_it.operation, _it.kernel, _it.domain)
    globals()[f"{_name}_BROKEN"] = Backend(_it.operation, _it.broken, _it.domain)
