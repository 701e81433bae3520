"""NumPy on the CPU: what a backend looks like, and a second opinion on the spec.

Matrix products, and the sums of LSTM units, are NumPy's in float32. Convolutions, poolings and functions are
computed in float64, functions because NumPy's float32 exponential and logarithm err by more than the spec
allows; either way there is one rounding at the end. Which calls fit, and where windows lie, are rules of the
spec.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.reference import convolution, pooling
from gaugeblock.reference.convolution import conv_windows
from gaugeblock.reference.pooling import pool_windows
from gaugeblock.reference.windows import Windows

Array = NDArray[Any]
F = np.float32
D = np.float64

versions = {"numpy": np.__version__}

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """Return α·op(a)·op(b) + β·c."""
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(f"a and b need two axes, got shapes {a.shape} and {b.shape}")
    if a.dtype != b.dtype or (c is not None and c.dtype != a.dtype):
        raise TypeError("a, b and c need one dtype")
    left = a.swapaxes(-1, -2) if transpose_a else a
    right = b.swapaxes(-1, -2) if transpose_b else b
    if alpha == 0:
        product = np.zeros(
            (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1]), F
        )
        if left.shape[-1] != right.shape[-2]:
            raise ValueError(f"a has {left.shape[-1]} columns, b has {right.shape[-2]} rows")
    else:
        # Packed copies: BLAS adds in another order where the elements lie in another one.
        product = F(alpha) * np.matmul(left.astype(F, order="C"), right.astype(F, order="C"))
    addend = None if c is None else np.broadcast_to(c, product.shape)  # fits, though it may not be read
    if beta != 0:
        if addend is None:
            raise ValueError("beta is not 0, but there is no c")
        product = product + F(beta) * addend.astype(F)
    return _deliver(product, a.dtype, out)


def _deliver(result: Array, dtype: np.dtype[Any], out: Array | None) -> Array:
    """Round once to the dtype, into ``out`` if there is one."""
    if out is None:
        return np.asarray(result).astype(dtype)
    if out.shape != result.shape or out.dtype != dtype:
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}, expected {result.shape} and {dtype}"
        )
    out[...] = result.astype(dtype)
    return out


def _check(*arrays: Array) -> None:
    for array in arrays:
        if array.dtype.name not in ("float32", "float16", "bfloat16"):
            raise TypeError(f"expected floats, got {array.dtype}")
        if array.dtype != arrays[0].dtype or array.shape != arrays[0].shape:
            raise ValueError(f"shapes or dtypes differ: {[(each.shape, str(each.dtype)) for each in arrays]}")


def _forward(function: Callable[..., Array]) -> Callable[..., Array]:
    """Make an operation of a function of x."""

    def operation(x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
        _check(x)
        with np.errstate(all="ignore"):
            return _deliver(function(x.astype(D), **parameters), x.dtype, out)

    return operation


def _backward(derivative: Callable[..., tuple[Array, Array]]) -> Callable[..., Array]:
    """Make a backward operation of a derivative: dx = dy·f′(x), and 0 on a dead piece whatever dy is."""

    def operation(dy: Array, x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
        _check(dy, x)
        with np.errstate(all="ignore"):
            slope, dead = derivative(x.astype(D), **parameters)
            product = np.where(dead & ~np.isnan(slope), D(0), dy.astype(D) * slope)
            return _deliver(product, x.dtype, out)

    return operation


def _steps(x: Array, alive: Array, slope: Any) -> tuple[Array, Array]:
    """Return a slope where a unit is alive, 0 where it is dead, NaN where x is."""
    return np.where(np.isnan(x), x, np.where(alive, D(slope), D(0))), ~alive


def _finite(value: float, name: str) -> D:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")
    return D(value)


def _smooth(function: Callable[..., Array]) -> Callable[..., tuple[Array, Array]]:
    """Say of a derivative that no piece of it is dead."""
    return lambda x, **parameters: (function(x, **parameters), np.zeros(x.shape, bool))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(np.signbit(x), e, D(1)) / (D(1) + e)


def _sigmoid_slope(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return e / ((D(1) + e) * (D(1) + e))


def _softplus(x: Array) -> Array:
    return np.maximum(x, D(0)) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, _finite(alpha, "alpha") * np.expm1(np.minimum(x, D(0))))


def _elu_slope(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, D(1), _finite(alpha, "alpha") * np.exp(np.minimum(x, D(0))))


def _leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    return np.where(x > 0, x, _finite(negative_slope, "negative_slope") * x)


def _leaky_relu_slope(x: Array, negative_slope: float = 0.01) -> tuple[Array, Array]:
    slope = np.where(x > 0, D(1), _finite(negative_slope, "negative_slope"))
    return np.where(np.isnan(x), x, slope), np.zeros(x.shape, bool)


def _hard_tanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    _ordered(min_val, max_val)
    return np.clip(x, D(min_val), D(max_val))


def _hard_tanh_slope(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> tuple[Array, Array]:
    _ordered(min_val, max_val)
    return _steps(x, (x > D(min_val)) & (x < D(max_val)), 1)


def _ordered(min_val: float, max_val: float) -> None:
    if not min_val < max_val:
        raise ValueError(f"min_val is {min_val}, expected less than max_val = {max_val}")


def _cdf(x: Array) -> Array:
    """Return Φ(x), the normal distribution's, by way of erfc: no cancellation in the left tail."""
    return np.asarray(0.5 * _erfc(-x / math.sqrt(2)))


def _tanh_argument(x: Array) -> Array:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "none":
        return _times(x, _cdf(x))
    if approximate == "tanh":
        return _times(x, _sigmoid(2 * _tanh_argument(x)))
    raise ValueError(f"approximate is {approximate!r}, expected 'none' or 'tanh'")


def _times(x: Array, gate: Array) -> Array:
    """Return x·gate, and −0 where the gate is closed for x = −Inf."""
    return np.where(x == -np.inf, D(-0.0), x * gate)


def _gelu_slope(x: Array, approximate: str = "none") -> Array:
    wide = np.clip(x, -200, 200)
    if approximate == "none":
        slope = 0.5 * _erfc(-wide / math.sqrt(2)) + wide * np.exp(-wide * wide / 2) / math.sqrt(2 * math.pi)
    elif approximate == "tanh":
        s = _sigmoid(2 * _tanh_argument(wide))
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * wide**2)
        slope = s + 2 * wide * du * _sigmoid_slope(2 * _tanh_argument(wide))
    else:
        raise ValueError(f"approximate is {approximate!r}, expected 'none' or 'tanh'")
    return np.asarray(slope)


def _silu(x: Array) -> Array:
    return _times(x, _sigmoid(x))


def _silu_slope(x: Array) -> Array:
    wide = np.clip(x, -800, 800)
    return np.asarray(_sigmoid(wide) + wide * _sigmoid_slope(wide))


relu = _forward(lambda x: np.maximum(x, D(0)))
relu_backward = _backward(lambda x: _steps(x, x > 0, 1))
relu6 = _forward(lambda x: np.clip(x, D(0), D(6)))
relu6_backward = _backward(lambda x: _steps(x, (x > 0) & (x < 6), 1))
leaky_relu = _forward(_leaky_relu)
leaky_relu_backward = _backward(_leaky_relu_slope)
elu = _forward(_elu)
elu_backward = _backward(_smooth(_elu_slope))
sigmoid = _forward(_sigmoid)
sigmoid_backward = _backward(_smooth(_sigmoid_slope))
log_sigmoid = _forward(lambda x: -_softplus(-x))
log_sigmoid_backward = _backward(_smooth(lambda x: _sigmoid(-x)))
hard_sigmoid = _forward(lambda x: np.clip(x / D(6) + D(0.5), D(0), D(1)))
hard_sigmoid_backward = _backward(lambda x: _steps(x, np.abs(x) < 3, D(1) / D(6)))
tanh = _forward(np.tanh)
tanh_backward = _backward(_smooth(lambda x: D(4) * _sigmoid_slope(D(2) * x)))
hard_tanh = _forward(_hard_tanh)
hard_tanh_backward = _backward(_hard_tanh_slope)
softplus = _forward(_softplus)
softplus_backward = _backward(_smooth(_sigmoid))
gelu = _forward(_gelu)
gelu_backward = _backward(_smooth(_gelu_slope))
silu = _forward(_silu)
silu_backward = _backward(_smooth(_silu_slope))


def _shift(x: Array, axis: int) -> Array:
    """Return x less the maximum of its row; a row with +Inf becomes NaN."""
    return x - np.max(x, axis, keepdims=True, initial=-np.inf) if x.size else x


def softmax(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """Return exp(x − m)/Σ exp(x − m) along an axis."""
    _check(x)
    return _deliver(_softmax(x.astype(D), axis), x.dtype, out)


def _softmax(x: Array, axis: int) -> Array:
    with np.errstate(all="ignore"):
        e = np.exp(_shift(x, axis))
        return np.asarray(e / e.sum(axis, keepdims=True))


def log_softmax(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """Return x − m − log Σ exp(x − m) along an axis."""
    _check(x)
    with np.errstate(all="ignore"):
        shifted = _shift(x.astype(D), axis)
        return _deliver(shifted - np.log(np.exp(shifted).sum(axis, keepdims=True)), x.dtype, out)


def softmax_backward(dy: Array, x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """Return s·(dy − Σ s·dy)."""
    _check(dy, x)
    s, g = _softmax(x.astype(D), axis), dy.astype(D)
    return _deliver(s * (g - (s * g).sum(axis, keepdims=True)), x.dtype, out)


def log_softmax_backward(dy: Array, x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
    """Return dy − softmax(x)·Σ dy."""
    _check(dy, x)
    g = dy.astype(D)
    return _deliver(g - _softmax(x.astype(D), axis) * g.sum(axis, keepdims=True), x.dtype, out)


def _groups(x: Array, pieces: int, axis: int) -> Array:
    """Return x with the axis split into groups and, last, the pieces of each."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis is {axis}, x has {x.ndim} axes")
    moved = np.moveaxis(x, axis, -1)
    if pieces < 1 or moved.shape[-1] % pieces:
        raise ValueError(f"pieces is {pieces}, which does not divide {moved.shape[-1]}")
    return moved.reshape(*moved.shape[:-1], moved.shape[-1] // pieces, pieces)


def maxout(x: Array, *, pieces: int = 2, axis: int = -1, out: Array | None = None) -> Array:
    """Return the maximum of each group of consecutive pieces."""
    _check(x)
    return _deliver(np.moveaxis(np.max(_groups(x.astype(D), pieces, axis), -1), -1, axis), x.dtype, out)


def maxout_backward(
    dy: Array, x: Array, *, pieces: int = 2, axis: int = -1, out: Array | None = None
) -> Array:
    """Return dy at the first maximum of each group, 0 elsewhere."""
    _check(x)
    groups = _groups(x.astype(D), pieces, axis)
    gradient = np.moveaxis(dy, axis, -1) if dy.ndim == x.ndim else dy
    if gradient.shape != groups.shape[:-1] or dy.dtype != x.dtype:
        raise ValueError(f"dy has shape {dy.shape} and dtype {dy.dtype}, which do not fit x")
    first = groups.argmax(-1) if groups.size else np.zeros(groups.shape[:-1], int)
    chosen = np.arange(pieces) == first[..., None]
    routed = np.where(chosen, gradient[..., None].astype(D), D(0))
    flat = routed.reshape(*routed.shape[:-2], routed.shape[-2] * pieces)
    return _deliver(np.moveaxis(flat, -1, axis), x.dtype, out)


def _unit_sizes(arrays: dict[str, Array]) -> tuple[int, int, int]:
    """Return T, N and H, after a look at all shapes and dtypes."""
    axes = {"x": 3, "h": 2, "c": 2, "w": 3, "u": 3, "bias": 2}
    for name, array in arrays.items():
        if array.dtype.name not in ("float32", "float16", "bfloat16") or array.dtype != arrays["x"].dtype:
            raise TypeError(f"{name} has dtype {array.dtype}, x has {arrays['x'].dtype}")
        if array.ndim != axes.get(name, 4):
            raise ValueError(f"{name} has shape {array.shape}")
    (T, N, D), H = arrays["x"].shape, arrays["h"].shape[1]
    state = (N, H)
    expected = {"h": state, "c": state, "w": (4, H, D), "u": (4, H, H), "bias": (4, H), "dy": (2, T, N, H)}
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")
    return T, N, H


def _unit_steps(x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array) -> list[tuple[Array, Array]]:
    """Return for each step the gates and the cells, in float64; sums are those of float32."""
    x, h, w, u, bias = (np.ascontiguousarray(array, F) for array in (x, h, w, u, bias))
    cell, steps = c.astype(D), []
    for inputs in x:
        z = inputs @ w.swapaxes(1, 2) + h @ u.swapaxes(1, 2) + bias[:, None]
        i, f, o = _sigmoid(z[[0, 1, 3]].astype(D))
        g = np.tanh(z[2].astype(D))
        cell = f * cell + i * g
        h = (o * np.tanh(cell)).astype(F)
        steps.append((np.stack([i, f, g, o]), cell))
    return steps


def lstm_unit(
    x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array, *, out: Array | None = None
) -> Array:
    """Return the outputs and the cells of an LSTM unit at every step."""
    T, N, H = _unit_sizes({"x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias})
    result = np.empty((2, T, N, H))
    with np.errstate(all="ignore"):
        for t, (gates, cell) in enumerate(_unit_steps(x, h, c, w, u, bias)):
            result[:, t] = gates[3] * np.tanh(cell), cell
        return _deliver(result, x.dtype, out)


def lstm_unit_backward(
    dy: Array, x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array, *, out: Array | None = None
) -> Array:
    """Return the gradients of the weighted data of the gates, and of the cell that enters each step."""
    T, N, H = _unit_sizes({"x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias, "dy": dy})
    result = np.empty((5, T, N, H))
    dh_after, dc_after = np.zeros((N, H), F), np.zeros((N, H))
    with np.errstate(all="ignore"):
        steps = _unit_steps(x, h, c, w, u, bias)
        before = [c.astype(D), *(cell for _, cell in steps)]
        for t in reversed(range(T)):
            (i, f, g, o), cell = steps[t]
            dh, tanh_c = dy[0, t].astype(D) + dh_after, np.tanh(cell)
            dc = dy[1, t].astype(D) + dc_after + dh * o * (1 - tanh_c * tanh_c)
            result[0, t] = dc * g * (i * (1 - i))
            result[1, t] = dc * before[t] * (f * (1 - f))
            result[2, t] = dc * i * (1 - g * g)
            result[3, t] = dh * tanh_c * (o * (1 - o))
            result[4, t] = dc_after = dc * f
            dh_after = (result[:4, t].astype(F) @ np.ascontiguousarray(u, F)).sum(0)
        return _deliver(result, x.dtype, out)


# Convolution ---------------------------------------------------------------------------------------------
# A product of matrices for each cell of the kernel, over the windows whose cell holds data.


_RULES = {**vars(convolution), **vars(pooling)}


def _shape(name: str, arrays: dict[str, Array | None], **parameters: Any) -> tuple[int, ...]:
    """Return the shape of a result, after a look at all dtypes, shapes and parameters."""
    given = {each: array for each, array in arrays.items() if array is not None}
    first = next(iter(given.values())).dtype
    for each, array in given.items():
        if array.dtype.name not in ("float32", "float16", "bfloat16") or array.dtype != first:
            raise TypeError(f"{each} has dtype {array.dtype}, expected one float type for all")
    rule = _RULES[f"{name.removesuffix('_indices')}_shape"]
    return tuple(rule(*(None if array is None else array.shape for array in arrays.values()), **parameters))


def _grouped(array: Array, groups: int, axis: int) -> Array:
    """Return an array in float64, an axis of it split into groups."""
    shape = (*array.shape[:axis], groups, array.shape[axis] // groups, *array.shape[axis + 1 :])
    return array.astype(D, order="C").reshape(shape)


def _flat(array: Array) -> Array:
    """Return an array whose spatial axes, those behind the third, are one."""
    return array.reshape(*array.shape[:3], math.prod(array.shape[3:]))


def _convolved(x: Array, w: Array, windows: Windows, groups: int) -> Array:
    data, kernels = _grouped(x, groups, 1), _grouped(w, groups, 0)
    y = np.zeros((len(x), groups, kernels.shape[1], *windows.output))
    for cell, outputs, inputs in windows.taps():
        seen = data[inputs]
        total = kernels[cell] @ _flat(seen)
        y[outputs] += total.reshape(*total.shape[:3], *seen.shape[3:])
    return y.reshape(len(x), len(w), *windows.output)


def _handed_back(dy: Array, w: Array, windows: Windows, groups: int) -> Array:
    """Return what each cell of the input gets from the outputs that saw it."""
    gradient, kernels = _grouped(dy, groups, 1), _grouped(w, groups, 0)
    dx = np.zeros((len(dy), groups, kernels.shape[2], *windows.size))
    for cell, outputs, inputs in windows.taps():
        part = gradient[outputs]
        total = kernels[cell].swapaxes(1, 2) @ _flat(part)
        dx[inputs] += total.reshape(*total.shape[:3], *part.shape[3:])
    return dx.reshape(len(dy), groups * w.shape[1], *windows.size)


def _with_bias(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias.astype(D).reshape(len(bias), *(1,) * (y.ndim - 2))


def conv(
    x: Array, w: Array, bias: Array | None = None, *, groups: int = 1, out: Array | None = None, **steps: Any
) -> Array:
    """Return the convolution."""
    _shape("conv", {"x": x, "w": w, "bias": bias}, groups=groups, **steps)
    with np.errstate(all="ignore"):
        y = _convolved(x, w, conv_windows(x.shape, w.shape, **steps), groups)
        return _deliver(_with_bias(y, bias), x.dtype, out)


def conv_backward_input(
    dy: Array,
    w: Array,
    *,
    input_shape: tuple[int, ...],
    groups: int = 1,
    out: Array | None = None,
    **steps: Any,
) -> Array:
    """Return the gradient of the input of a convolution."""
    shape = _shape("conv_backward_input", {"dy": dy, "w": w}, input_shape=input_shape, groups=groups, **steps)
    with np.errstate(all="ignore"):
        return _deliver(_handed_back(dy, w, conv_windows(shape, w.shape, **steps), groups), dy.dtype, out)


def conv_backward_weight(
    dy: Array,
    x: Array,
    *,
    kernel_shape: tuple[int, ...],
    groups: int = 1,
    out: Array | None = None,
    **steps: Any,
) -> Array:
    """Return the gradient of the weights of a convolution."""
    shape = _shape(
        "conv_backward_weight", {"dy": dy, "x": x}, kernel_shape=kernel_shape, groups=groups, **steps
    )
    gradient, data = _grouped(dy, groups, 1), _grouped(x, groups, 1)
    dw = np.zeros((groups, shape[0] // groups, *shape[1:]))
    with np.errstate(all="ignore"):
        for cell, outputs, inputs in conv_windows(x.shape, shape, **steps).taps():
            part, seen = _flat(gradient[outputs]), _flat(data[inputs])
            dw[cell] = (part @ seen.swapaxes(2, 3)).sum(0)
        return _deliver(dw.reshape(shape), dy.dtype, out)


def conv_backward_bias(dy: Array, *, out: Array | None = None) -> Array:
    """Return the sum over all axes but that of the channels."""
    _shape("conv_backward_bias", {"dy": dy})
    with np.errstate(all="ignore"):
        return _deliver(dy.astype(D, order="C").sum((0, *range(2, dy.ndim))), dy.dtype, out)


def conv_transpose(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    output_padding: Any = 0,
    groups: int = 1,
    out: Array | None = None,
    **steps: Any,
) -> Array:
    """Return the transposed convolution: the gradient of the input of the convolution with these weights."""
    arrays = {"x": x, "w": w, "bias": bias}
    shape = _shape("conv_transpose", arrays, output_padding=output_padding, groups=groups, **steps)
    with np.errstate(all="ignore"):
        y = _handed_back(x, w, conv_windows(shape, w.shape, **steps), groups)
        return _deliver(_with_bias(y, bias), x.dtype, out)


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, D(0)),
    "relu6": lambda x: np.clip(x, D(0), D(6)),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": _silu,
    "gelu": _gelu,
}


def conv_fused(
    x: Array,
    w: Array,
    bias: Array | None,
    residual: Array | None = None,
    *,
    activation: str = "relu",
    groups: int = 1,
    out: Array | None = None,
    **steps: Any,
) -> Array:
    """Return activation(conv + bias + residual), rounded once."""
    arrays = {"x": x, "w": w, "bias": bias, "residual": residual}
    _shape("conv_fused", arrays, activation=activation, groups=groups, **steps)
    with np.errstate(all="ignore"):
        y = _with_bias(_convolved(x, w, conv_windows(x.shape, w.shape, **steps), groups), bias)
        total = y if residual is None else y + residual.astype(D)
        return _deliver(_ACTIVATIONS[activation](total), x.dtype, out)


# Pooling -------------------------------------------------------------------------------------------------


def _maxima(x: Array, parameters: dict[str, Any]) -> tuple[Array, Array]:
    """Return the maxima, the first NaN before all, and where they are in the plane; −1 where no data is."""
    windows = pool_windows(x.shape, **parameters)
    best = np.full((*x.shape[:2], *windows.output), -np.inf)
    place = np.full(best.shape, -1, np.int64)
    wide, numbers = x.astype(D), np.arange(math.prod(windows.size)).reshape(windows.size)
    for _, outputs, inputs in windows.taps():
        seen, found = wide[inputs], best[outputs]
        better = (seen > found) | (np.isnan(seen) & ~np.isnan(found)) | (place[outputs] < 0)
        best[outputs] = np.where(better, seen, found)
        place[outputs] = np.where(better, numbers[inputs], place[outputs])
    return best, place


def max_pool(x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
    """Return the maximum of each window."""
    _shape("max_pool", {"x": x}, **parameters)
    return _deliver(_maxima(x, parameters)[0], x.dtype, out)


def max_pool_indices(x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
    """Return where the maximum of each window is."""
    _shape("max_pool_indices", {"x": x}, **parameters)
    return _deliver(_maxima(x, parameters)[1], np.dtype(np.int64), out)


def max_pool_backward(dy: Array, x: Array, *, out: Array | None = None, **parameters: Any) -> Array:
    """Return the sum of dy over the windows whose maximum an element is."""
    _shape("max_pool_backward", {"dy": dy, "x": x}, **parameters)
    place = _maxima(x, parameters)[1]
    dx = np.zeros((*x.shape[:2], math.prod(x.shape[2:])))
    n, c, *window = np.nonzero(place >= 0)
    chosen = (n, c, *window)
    with np.errstate(all="ignore"):
        np.add.at(dx, (n, c, place[chosen]), dy[chosen].astype(D))
        return _deliver(dx.reshape(x.shape), x.dtype, out)


def _divisors(windows: Windows, count_include_pad: bool, divisor: float | None) -> Array:
    """Return what each window is divided by: its cells in the input, or in the padding too, if it has any."""
    if divisor is not None:
        return np.full(windows.output, D(divisor))
    return np.asarray(np.maximum(windows.cells(padded=count_include_pad), D(1)))


def avg_pool(
    x: Array,
    *,
    count_include_pad: bool = True,
    divisor: float | None = None,
    out: Array | None = None,
    **parameters: Any,
) -> Array:
    """Return the average of each window."""
    _shape("avg_pool", {"x": x}, count_include_pad=count_include_pad, divisor=divisor, **parameters)
    windows = pool_windows(x.shape, **parameters)
    wide, total = x.astype(D), np.zeros((*x.shape[:2], *windows.output))
    with np.errstate(all="ignore"):
        for _, outputs, inputs in windows.taps():
            total[outputs] += wide[inputs]
        return _deliver(total / _divisors(windows, count_include_pad, divisor), x.dtype, out)


def avg_pool_backward(
    dy: Array,
    *,
    input_shape: tuple[int, ...],
    count_include_pad: bool = True,
    divisor: float | None = None,
    out: Array | None = None,
    **parameters: Any,
) -> Array:
    """Return the sum of dy over the windows that an element is in, each divided as there."""
    choices = {"count_include_pad": count_include_pad, "divisor": divisor}
    shape = _shape("avg_pool_backward", {"dy": dy}, input_shape=input_shape, **choices, **parameters)
    windows = pool_windows(shape, **parameters)
    dx = np.zeros(shape)
    with np.errstate(all="ignore"):
        share = dy.astype(D) / _divisors(windows, count_include_pad, divisor)
        for _, outputs, inputs in windows.taps():
            dx[inputs] += share[outputs]
        return _deliver(dx, dy.dtype, out)
