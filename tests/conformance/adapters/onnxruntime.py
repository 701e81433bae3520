"""ONNX Runtime on the CPU: each operation is a small ONNX model, built when it is first asked for.

A model is one operator where ONNX has it (Gemm, Relu, Clip, Softmax, …), otherwise the few operators that a
careful exporter would write. The latter compute in float32 and round once at the end, as GEN-D2 asks. The
gradients, for which ONNX has no operators, and bfloat16, for which the CPU provider has no kernels, are
reported as unsupported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.reference.convolution import conv_transpose_shape, conv_windows
from gaugeblock.reference.pooling import check_divisor, pool_windows
from gaugeblock.reference.windows import Windows

try:
    import onnx
    import onnxruntime
    from onnx import helper
except ModuleNotFoundError as error:
    raise BackendError(f"{error.name} is not installed: pip install onnxruntime onnx") from error

Array = NDArray[Any]
Nodes = Sequence[Any]
Build = Callable[..., Nodes]

device = "ONNX Runtime's CPUExecutionProvider"
versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}
departures = {
    "gemm": ("alpha_zero_multiplies",),
    "elu": ("exp_minus_one",),
    "sigmoid": ("clamped_sigmoid",),
    "tanh": ("clamped_tanh",),
    "gelu": ("one_plus_erf", "product_form"),
    "silu": ("product_form", "clamped_sigmoid"),
    "conv": ("padding_multiplies",),
    "conv_fused": (
        "one_plus_erf",
        "product_form",
        "clamped_sigmoid",
        "clamped_tanh",
        "padding_multiplies",
    ),
}

_OPSET, _IR = 20, 9  # the first with Gelu, so that old runtimes can answer too
_FLOAT = onnx.TensorProto.FLOAT
_TYPES = {"float32": _FLOAT, "float16": onnx.TensorProto.FLOAT16}
_state = onnxruntime.capi.onnxruntime_pybind11_state
_NoKernel, _Failed = _state.NotImplemented, (_state.Fail, _state.InvalidArgument, _state.InvalidGraph)
_EMPTY = ("Invalid input shape", "Calculated output dimension is negative")


# Models --------------------------------------------------------------------------------------------------


@functools.lru_cache(512)
def _session(
    build: Build,
    dtype: str,
    ranks: tuple[tuple[str, int], ...],
    parameters: tuple[Any, ...],
    result_type: int | None,
) -> Any:
    """Return a session for the model whose nodes ``build`` returns; its result is called ``y``."""
    given = [helper.make_tensor_value_info(name, _TYPES[dtype], [None] * rank) for name, rank in ranks]
    shape = helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [None])
    nodes = build(dtype, dict(ranks), **dict(parameters))
    inputs = [*given, shape] if any("shape" in node.input for node in nodes) else given
    result = helper.make_tensor_value_info("y", result_type or _TYPES[dtype], None)
    model = helper.make_model(
        helper.make_graph(nodes, "operation", inputs, [result]),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    return session_of(model)


def session_of(model: Any) -> Any:
    """Return a session for a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the suite runs several processes
    options.log_severity_level = 4  # an error is an exception; it need not be printed as well
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except _NoKernel as missing:
        raise NotImplementedError(str(missing)) from missing
    except _Failed as error:
        raise ValueError(str(error)) from error


def _run(
    build: Build,
    arrays: dict[str, Array],
    shape: Sequence[int] | None = None,
    result: int | None = None,
    **parameters: Any,
) -> Array:
    """Build the model or find it, and run it; its result has the arrays' type unless one is given."""
    dtypes = {array.dtype.name for array in arrays.values()}
    if dtypes == {"bfloat16"}:
        raise NotImplementedError("ONNX Runtime's CPU provider has no kernels for bfloat16")
    if len(dtypes) != 1 or not dtypes <= set(_TYPES):
        raise TypeError(f"expected arrays of one float type, got {', '.join(sorted(dtypes))}")
    ranks = tuple((name, array.ndim) for name, array in arrays.items())
    session = _session(build, dtypes.pop(), ranks, tuple(parameters.items()), result)
    feed = dict(arrays) if shape is None else {**arrays, "shape": np.array(shape, np.int64)}
    return answer(session, ["y"], feed)


def answer(session: Any, names: list[str] | None, feed: dict[str, Array]) -> Array:
    """Run a model, and return the first of the results of these names."""
    try:
        return np.asarray(session.run(names, feed)[0])
    except _Failed as error:
        if any(words in str(error) for words in _EMPTY):
            raise NotImplementedError(f"windows longer than the padded input: {error}") from error
        raise ValueError(str(error)) from error


def _node(operator: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """Return a node; its inputs are names with spaces between them."""
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def _constant(name: str, value: float, dtype: str = "float32") -> Any:
    """Return a node that holds a number."""
    return _node("Constant", "", name, value=helper.make_tensor(name, _TYPES[dtype], [], [value]))


def _in_float32(dtype: str, names: Sequence[str], nodes: Nodes) -> Nodes:
    """Let nodes that read ``NAME.f`` and write ``y.f`` compute in float32."""
    before = [_node("Cast", name, f"{name}.f", to=_FLOAT) for name in names]
    return [*before, *nodes, _node("Cast", "y.f", to=_TYPES[dtype])]


# GEMM ----------------------------------------------------------------------------------------------------


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
    """Return α·op(a)·op(b) + β·c: ONNX's Gemm for two axes, MatMul and what belongs to it for more."""
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(f"a and b need two axes, got shapes {a.shape} and {b.shape}")
    if beta != 0 and c is None:
        raise ValueError(f"beta is {beta}, but there is no c")
    shape = (
        *np.broadcast_shapes(a.shape[:-2], b.shape[:-2]),
        a.shape[-1 if transpose_a else -2],
        b.shape[-2 if transpose_b else -1],
    )
    if c is not None and np.broadcast_shapes(c.shape, shape) != shape:
        raise ValueError(f"c has shape {c.shape}, the result {shape}")
    arrays = {"a": a, "b": b} if c is None or beta == 0 else {"a": a, "b": b, "c": c}
    factors: dict[str, Any] = {
        "alpha": float(alpha),
        "beta": float(beta),
        "transpose_a": transpose_a,
        "transpose_b": transpose_b,
    }
    if a.ndim == b.ndim == 2:
        return _run(_gemm, arrays, **factors)
    return _run(_batched_gemm, arrays, **factors)


def _gemm(
    dtype: str, ranks: dict[str, int], alpha: float, beta: float, transpose_a: bool, transpose_b: bool
) -> Nodes:
    inputs = " ".join(ranks)
    return [_node("Gemm", inputs, alpha=alpha, beta=beta, transA=int(transpose_a), transB=int(transpose_b))]


def _batched_gemm(
    dtype: str, ranks: dict[str, int], alpha: float, beta: float, transpose_a: bool, transpose_b: bool
) -> Nodes:
    """MatMul has neither factors nor flags."""
    nodes = []
    for name, transpose in (("a", transpose_a), ("b", transpose_b)):
        axes = list(range(ranks[name]))
        swapped = [*axes[:-2], axes[-1], axes[-2]] if transpose else axes
        nodes.append(_node("Transpose", f"{name}.f", f"op.{name}", perm=swapped))
    nodes.append(_node("MatMul", "op.a op.b", "product"))
    nodes += [_constant("alpha", alpha), _node("Mul", "alpha product", "scaled")]
    if "c" in ranks:
        nodes += [_constant("beta", beta), _node("Mul", "beta c.f", "addend")]
        nodes += [_node("Add", "scaled addend", "y.f")]
    else:
        nodes += [_node("Identity", "scaled", "y.f")]
    return _in_float32(dtype, [*ranks], nodes)


# Activations ---------------------------------------------------------------------------------------------


def _operator(name: str, x: Array, **attributes: Any) -> Array:
    """Run a model of one operator."""
    return _run(_single, {"x": x}, operator=name, **attributes)


def _single(dtype: str, ranks: dict[str, int], operator: str, **attributes: Any) -> Nodes:
    return [_node(operator, "x", **attributes)]


def _clip(dtype: str, ranks: dict[str, int], low: float, high: float) -> Nodes:
    return [_constant("low", low, dtype), _constant("high", high, dtype), _node("Clip", "x low high")]


def _log_sigmoid(dtype: str, ranks: dict[str, int]) -> Nodes:
    return [_node("Neg", "x", "-x"), _node("Softplus", "-x", "-y"), _node("Neg", "-y")]


def _silu(dtype: str, ranks: dict[str, int]) -> Nodes:
    return _in_float32(dtype, ["x"], [_node("Sigmoid", "x.f", "gate"), _node("Mul", "x.f gate", "y.f")])


def _maxout(dtype: str, ranks: dict[str, int], axis: int) -> Nodes:
    maximum = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [axis])
    return [
        _node("Reshape", "x shape", "groups", allowzero=1),
        _node("Constant", "", "axes", value=maximum),
        _node("ReduceMax", "groups axes", keepdims=0),
    ]


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")
    return float(value)


def relu(x: Array) -> Array:
    """Return max(0, x): Relu."""
    return _operator("Relu", x)


def relu6(x: Array) -> Array:
    """Return min(max(0, x), 6): Clip."""
    return _run(_clip, {"x": x}, low=0.0, high=6.0)


def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Array:
    """Return x, or negative_slope·x where x ≤ 0: LeakyRelu."""
    return _operator("LeakyRelu", x, alpha=_finite("negative_slope", negative_slope))


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    """Return x, or α(eˣ − 1) where x ≤ 0: Elu."""
    return _operator("Elu", x, alpha=_finite("alpha", alpha))


def sigmoid(x: Array) -> Array:
    """Return 1/(1 + e⁻ˣ): Sigmoid."""
    return _operator("Sigmoid", x)


def log_sigmoid(x: Array) -> Array:
    """Return −softplus(−x): Neg, Softplus, Neg. Log of Sigmoid would have no digits in the left tail."""
    return _run(_log_sigmoid, {"x": x})


def hard_sigmoid(x: Array) -> Array:
    """Return min(max(0, x/6 + 1/2), 1): HardSigmoid."""
    return _operator("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def tanh(x: Array) -> Array:
    """Return tanh x: Tanh."""
    return _operator("Tanh", x)


def hard_tanh(x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Return min(max(min_val, x), max_val): Clip."""
    if not min_val < max_val:
        raise ValueError(f"min_val is {min_val}, expected less than max_val = {max_val}")
    return _run(_clip, {"x": x}, low=min_val, high=max_val)


def softplus(x: Array) -> Array:
    """Return log(1 + eˣ): Softplus."""
    return _operator("Softplus", x)


def gelu(x: Array, *, approximate: str = "none") -> Array:
    """Return x·Φ(x) or its tanh form: Gelu."""
    if approximate not in ("none", "tanh"):  # the runtime would take any other name for "none"
        raise ValueError(f"approximate is {approximate!r}, expected 'none' or 'tanh'")
    return _operator("Gelu", x, approximate=approximate)


def silu(x: Array) -> Array:
    """Return x·σ(x): Sigmoid and Mul."""
    return _run(_silu, {"x": x})


def softmax(x: Array, *, axis: int = -1) -> Array:
    """Return exp(x)/Σ exp(x) along an axis: Softmax."""
    return _operator("Softmax", x, axis=axis)


def log_softmax(x: Array, *, axis: int = -1) -> Array:
    """Return x − log Σ exp(x) along an axis: LogSoftmax."""
    return _operator("LogSoftmax", x, axis=axis)


def maxout(x: Array, *, pieces: int = 2, axis: int = -1) -> Array:
    """Return the maximum of each group of consecutive pieces: Reshape and ReduceMax."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis is {axis}, x has {x.ndim} axes")
    place = axis % x.ndim
    if pieces < 1 or x.shape[place] % pieces:
        raise ValueError(f"pieces is {pieces}, which does not divide {x.shape[place]}")
    groups = (*x.shape[:place], x.shape[place] // pieces, pieces, *x.shape[place + 1 :])
    return _run(_maxout, {"x": x}, groups, axis=place + 1)


# Convolution ---------------------------------------------------------------------------------------------


def _geometry(windows: Windows) -> dict[str, Any]:
    """Return the attributes that convolutions and pools share."""
    return {
        "kernel_shape": windows.kernel,
        "strides": windows.stride,
        "dilations": windows.dilation,
        "pads": (*windows.before, *windows.after),
    }


def _given(**arrays: Array | None) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if array is not None}


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
    """Return the convolution: Conv."""
    windows = conv_windows(x.shape, w.shape, stride=stride, padding=padding, dilation=dilation)
    return _run(_conv, _given(x=x, w=w, bias=bias), group=groups, **_geometry(windows))


def _conv(dtype: str, ranks: dict[str, int], **attributes: Any) -> Nodes:
    return [_node("Conv", " ".join(ranks), **attributes)]


def conv_transpose(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Return the transposed convolution: ConvTranspose."""
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = conv_transpose_shape(x.shape, w.shape, output_padding=output_padding, groups=groups, **steps)
    windows = conv_windows(shape, w.shape, **steps)
    extra = [
        size - (H - 1) * s - extent + before + after
        for size, H, s, extent, before, after in zip(
            windows.size,
            x.shape[2:],
            windows.stride,
            windows.extent,
            windows.before,
            windows.after,
            strict=True,
        )
    ]
    return _run(
        _conv_transpose,
        _given(x=x, w=w, bias=bias),
        group=groups,
        output_padding=tuple(extra),
        **_geometry(windows),
    )


def _conv_transpose(dtype: str, ranks: dict[str, int], **attributes: Any) -> Nodes:
    return [_node("ConvTranspose", " ".join(ranks), **attributes)]


_ACTIVATIONS = {
    "none": "Identity",
    "relu": "Relu",
    "relu6": "Clip",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "silu": "Sigmoid",
    "gelu": "Gelu",
}


def conv_fused(
    x: Array,
    w: Array,
    bias: Array,
    residual: Array | None = None,
    *,
    activation: str = "relu",
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Return activation(conv + bias + residual): Conv, Add and the operator, which the runtime may fuse."""
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, expected one of {', '.join(_ACTIVATIONS)}")
    windows = conv_windows(x.shape, w.shape, stride=stride, padding=padding, dilation=dilation)
    if residual is not None and residual.shape != (x.shape[0], w.shape[0], *windows.output):
        raise ValueError(f"residual has shape {residual.shape}, which Add would broadcast")
    arrays = _given(x=x, w=w, bias=bias, residual=residual)
    return _run(_conv_fused, arrays, activation=activation, group=groups, **_geometry(windows))


def _conv_fused(dtype: str, ranks: dict[str, int], activation: str, **attributes: Any) -> Nodes:
    nodes = [_node("Conv", "x.f w.f bias.f", "sum", **attributes)]
    total = "sum"
    if "residual" in ranks:
        nodes.append(_node("Add", "sum residual.f", "total"))
        total = "total"
    if activation == "relu6":
        nodes += [_constant("low", 0.0), _constant("high", 6.0), _node("Clip", f"{total} low high", "y.f")]
    elif activation == "silu":
        nodes += [_node("Sigmoid", total, "gate"), _node("Mul", f"{total} gate", "y.f")]
    else:
        nodes.append(_node(_ACTIVATIONS[activation], total, "y.f"))
    return _in_float32(dtype, [*ranks], nodes)


# Pooling -------------------------------------------------------------------------------------------------


def _pool_windows(x: Array, parameters: dict[str, Any]) -> Windows:
    windows = pool_windows(x.shape, **parameters)
    pads = (*windows.before, *windows.after)
    if any(pad >= R for pad, R in zip(pads, 2 * windows.kernel, strict=True)):
        raise NotImplementedError("ONNX Runtime takes no padding as long as the window")
    return windows


def _max_pool(dtype: str, ranks: dict[str, int], indices: bool, **attributes: Any) -> Nodes:
    outputs = ["maxima", "y"] if indices else ["y"]
    return [helper.make_node("MaxPool", ["x"], outputs, **attributes)]


def max_pool(x: Array, *, ceil_mode: bool = False, **parameters: Any) -> Array:
    """Return the maxima: MaxPool."""
    windows = _pool_windows(x, {"ceil_mode": ceil_mode, **parameters})
    return _run(_max_pool, {"x": x}, indices=False, ceil_mode=int(ceil_mode), **_geometry(windows))


def max_pool_indices(x: Array, *, ceil_mode: bool = False, **parameters: Any) -> Array:
    """Return MaxPool's indices, which count through the whole array, as places in the plane."""
    windows = _pool_windows(x, {"ceil_mode": ceil_mode, **parameters})
    found = _run(
        _max_pool,
        {"x": x},
        result=onnx.TensorProto.INT64,
        indices=True,
        ceil_mode=int(ceil_mode),
        **_geometry(windows),
    )
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    return np.where(found < 0, -1, found - planes * math.prod(x.shape[2:]))


def avg_pool(
    x: Array,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: float | None = None,
    **parameters: Any,
) -> Array:
    """Return the averages: AveragePool."""
    check_divisor(divisor)
    windows = _pool_windows(x, {"ceil_mode": ceil_mode, **parameters})
    if divisor is not None:
        raise NotImplementedError("AveragePool has no divisor")
    return _run(
        _single,
        {"x": x},
        operator="AveragePool",
        ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad),
        **_geometry(windows),
    )
