"""PyTorch on the CPU: ``torch.nn.functional``, and what its autograd makes of it.

Arrays are handed over without a copy where their strides allow it, so that PyTorch sees the layout. Arguments
that PyTorch has no words for, such as more padding on one side, become what a user would write around the
call: `F.pad` before it, as PyTorch itself does for ``padding="same"``, or a slice after it. Where that would
not mean the same the call is reported as unsupported.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.reference.convolution import conv_transpose_shape, conv_windows
from gaugeblock.reference.pooling import check_divisor, pool_windows
from gaugeblock.reference.windows import Windows
from gaugeblock.spec.operations import OPERATIONS

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from torch.nn import functional as F
except ModuleNotFoundError as error:
    raise BackendError(f"{error.name} is not installed: pip install torch") from error

Array = NDArray[Any]
Tensor = Any
Pads = list[tuple[int, int]]

device = "PyTorch's CPU kernels"
versions = {"torch": torch.__version__}
departures = {
    "relu_backward": ("nan_gradient_passes",),
    "leaky_relu_backward": ("nan_gradient_passes",),
    "sigmoid_backward": ("narrow_intermediate",),
    "log_sigmoid_backward": ("narrow_intermediate",),
    "hard_sigmoid_backward": ("nan_gradient_stops",),
    "tanh_backward": ("narrow_intermediate",),
    "softplus_backward": ("product_form",),
    "gelu": ("one_plus_erf", "product_form"),
    "gelu_backward": ("one_plus_erf", "product_form"),
    "silu": ("product_form",),
    "silu_backward": ("product_form",),
    "softmax": ("narrow_intermediate",),
    "softmax_backward": ("narrow_intermediate",),
    "log_softmax": ("narrow_intermediate",),
    "log_softmax_backward": ("narrow_intermediate",),
    "conv_fused": ("one_plus_erf", "product_form", "padding_multiplies"),
    "max_pool_indices": ("last_nan",),
    "max_pool_backward": ("last_nan",),
}

torch.set_num_threads(1)  # the suite runs several processes


# Arrays --------------------------------------------------------------------------------------------------


def _tensor(array: Array) -> Tensor:
    """Return the array as a tensor; it shares memory unless its strides are negative or not of elements."""
    if array.dtype.name not in ("float32", "float16", "bfloat16"):
        raise TypeError(f"expected floats, got {array.dtype}")
    if any(stride < 0 or stride % array.itemsize for stride in array.strides) or not array.flags.aligned:
        array = array.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the array may not be writable
        if array.dtype == ml_dtypes.bfloat16:
            return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
        return torch.from_numpy(array)


def _array(tensor: Tensor) -> Array:
    """Return the tensor as an array."""
    plain = tensor.detach().resolve_neg()
    if plain.dtype == torch.bfloat16:
        return np.asarray(plain.view(torch.uint16).numpy()).view(ml_dtypes.bfloat16)
    return np.asarray(plain.numpy())


def _call(function: Callable[..., Tensor], *arrays: Array | None) -> Array:
    """Return a function of tensors, of arrays."""
    tensors = [None if array is None else _tensor(array) for array in arrays]
    try:
        with torch.no_grad():
            return _array(function(*tensors))
    except RuntimeError as error:
        raise _understood(error) from error


def _gradient(function: Callable[[Tensor], Tensor], dy: Array, x: Array | Tensor) -> Array:
    """Return what autograd hands back to x when the gradient of ``function(x)`` is dy."""
    leaf = (x if isinstance(x, torch.Tensor) else _tensor(x)).detach().requires_grad_()
    gradient = _tensor(dy)
    if gradient.dtype != leaf.dtype:  # autograd would cast it
        raise TypeError(f"dy is {gradient.dtype}, the other array {leaf.dtype}")
    try:
        return _array(torch.autograd.grad(function(leaf), leaf, gradient)[0])
    except RuntimeError as error:
        raise _understood(error) from error


_REFUSED = (
    "not implemented for",  # a dtype
    "Output size is too small",
    "Kernel size can't be greater than actual input size",
    "expected weight to be at least 1",  # no channels of the result
    "smaller than kernel size",
    "optional 0 dim batch size",  # an axis without elements
    "non-zero",
)


def _understood(error: RuntimeError) -> Exception:
    """Tell what PyTorch does not do, results without elements among it, from what it does not allow."""
    message = str(error)
    missing = isinstance(error, NotImplementedError) or any(words in message for words in _REFUSED)
    return NotImplementedError(message) if missing else ValueError(message)


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
    """Return α·op(a)·op(b) + β·c: addmm for two axes, baddbmm for more."""
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(f"a and b need two axes, got shapes {a.shape} and {b.shape}")
    if beta != 0 and c is None:
        raise ValueError(f"beta is {beta}, but there is no c")

    def product(a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
        left = a.transpose(-1, -2) if transpose_a else a
        right = b.transpose(-1, -2) if transpose_b else b
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        shape = (*batch, left.shape[-2], right.shape[-1])
        addend = (left.new_zeros(()) if c is None else c).expand(shape)
        if not batch:
            return torch.addmm(addend, left, right, beta=beta, alpha=alpha)
        count = math.prod(batch)
        flat = [
            each.expand(*batch, *each.shape[-2:]).reshape(count, *each.shape[-2:])
            for each in (addend, left, right)
        ]
        return torch.baddbmm(*flat, beta=beta, alpha=alpha).reshape(shape)

    return _call(product, a, b, c)


# Activations ---------------------------------------------------------------------------------------------


def _forward(function: Callable[..., Tensor]) -> Callable[..., Array]:
    def operation(x: Array, **parameters: Any) -> Array:
        return _call(lambda x: function(x, **parameters), x)

    return operation


def _backward(function: Callable[..., Tensor]) -> Callable[..., Array]:
    def operation(dy: Array, x: Array, **parameters: Any) -> Array:
        return _gradient(lambda x: function(x, **parameters), dy, x)

    return operation


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")
    return float(value)


def _leaky_relu(x: Tensor, *, negative_slope: float = 0.01) -> Tensor:
    return F.leaky_relu(x, _finite("negative_slope", negative_slope))


def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, _finite("alpha", alpha))


def _hard_tanh(x: Tensor, *, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    if not min_val < max_val:  # hardtanh takes them to be equal as well
        raise ValueError(f"min_val is {min_val}, expected less than max_val = {max_val}")
    return F.hardtanh(x, min_val, max_val)


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return F.softmax(x, axis)


def _log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return F.log_softmax(x, axis)


def _maxout(x: Tensor, *, pieces: int = 2, axis: int = -1) -> Tensor:
    place = axis % x.ndim if -x.ndim <= axis < x.ndim else axis
    if pieces < 1:
        raise ValueError(f"pieces is {pieces}, expected at least 1")
    return x.unflatten(place, (x.shape[place] // pieces, pieces)).max(place + 1).values


relu, relu_backward = _forward(F.relu), _backward(F.relu)
relu6, relu6_backward = _forward(F.relu6), _backward(F.relu6)
leaky_relu, leaky_relu_backward = _forward(_leaky_relu), _backward(_leaky_relu)
elu, elu_backward = _forward(_elu), _backward(_elu)
sigmoid, sigmoid_backward = _forward(torch.sigmoid), _backward(torch.sigmoid)
log_sigmoid, log_sigmoid_backward = _forward(F.logsigmoid), _backward(F.logsigmoid)
hard_sigmoid, hard_sigmoid_backward = _forward(F.hardsigmoid), _backward(F.hardsigmoid)
tanh, tanh_backward = _forward(torch.tanh), _backward(torch.tanh)
hard_tanh, hard_tanh_backward = _forward(_hard_tanh), _backward(_hard_tanh)
softplus, softplus_backward = _forward(F.softplus), _backward(F.softplus)
gelu, gelu_backward = _forward(F.gelu), _backward(F.gelu)
silu, silu_backward = _forward(F.silu), _backward(F.silu)
softmax, softmax_backward = _forward(_softmax), _backward(_softmax)
log_softmax, log_softmax_backward = _forward(_log_softmax), _backward(_log_softmax)
maxout, maxout_backward = _forward(_maxout), _backward(_maxout)


# Convolution ---------------------------------------------------------------------------------------------


def _functional(name: str, axes: int) -> Callable[..., Tensor]:
    return getattr(F, f"{name}{axes}d")  # type: ignore[no-any-return]


def _split(windows: Windows, limit: tuple[int, ...] | None = None) -> tuple[list[int], Pads]:
    """Return the padding that PyTorch takes, the same on both sides, and the rest of it."""
    pairs = list(zip(windows.before, windows.after, strict=True))
    most = limit or tuple(max(pair) for pair in pairs)
    even = [min(before, after, top) for (before, after), top in zip(pairs, most, strict=True)]
    return even, [(before - e, after - e) for (before, after), e in zip(pairs, even, strict=True)]


def _padded(x: Tensor, rest: Pads, value: float = 0.0) -> Tensor:
    """Return x with the rest of the padding around it."""
    if not any(map(any, rest)):
        return x
    return F.pad(x, [cells for pair in reversed(rest) for cells in pair], value=value)


def _conv(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    windows = conv_windows(tuple(x.shape), tuple(w.shape), stride=stride, padding=padding, dilation=dilation)
    even, rest = _split(windows)
    if any(map(any, rest)) and padding != "same":  # there PyTorch pads in the same way
        _refuse_products_with_zeros(w)
    run = _functional("conv", len(even))
    return run(_padded(x, rest), w, bias, windows.stride, even, windows.dilation, groups)


def _refuse_products_with_zeros(factor: Tensor) -> None:
    """Refuse a factor that is not finite: times the zeros of a padding by hand it is NaN."""
    if not bool(torch.isfinite(factor).all()):
        raise NotImplementedError("padding by hand takes part in products")


def conv(x: Array, w: Array, bias: Array | None = None, **parameters: Any) -> Array:
    """Return the convolution: conv1d to conv3d."""
    return _call(lambda x, w, bias: _conv(x, w, bias, **parameters), x, w, bias)


def conv_backward_input(dy: Array, w: Array, *, input_shape: tuple[int, ...], **parameters: Any) -> Array:
    """Return the gradient of the input, as autograd finds it."""
    kernels = _tensor(w)
    x = kernels.new_zeros(tuple(input_shape))
    return _gradient(lambda x: _conv(x, kernels, **parameters), dy, x)


def conv_backward_weight(dy: Array, x: Array, *, kernel_shape: tuple[int, ...], **parameters: Any) -> Array:
    """Return the gradient of the kernels, as autograd finds it."""
    data = _tensor(x)
    w = data.new_zeros(tuple(kernel_shape))
    steps = {name: value for name, value in parameters.items() if name != "groups"}
    _, rest = _split(conv_windows(x.shape, tuple(kernel_shape), **steps))
    if any(map(any, rest)) and parameters.get("padding") != "same":
        _refuse_products_with_zeros(_tensor(dy))
    return _gradient(lambda w: _conv(data, w, **parameters), dy, w)


def conv_backward_bias(dy: Array) -> Array:
    """Return the sum over all axes but that of the channels, which is what autograd computes."""
    if not 3 <= dy.ndim <= 5:
        raise ValueError(f"dy has shape {dy.shape}, expected 3 to 5 axes")
    return _call(lambda dy: dy.sum([0, *range(2, dy.ndim)]), dy)


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
    """Return the transposed convolution: conv_transpose1d to 3d, less a margin if padding is uneven."""
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = conv_transpose_shape(x.shape, w.shape, output_padding=output_padding, groups=groups, **steps)
    windows = conv_windows(shape, w.shape, **steps)
    even, rest = _split(windows)
    extra = [output_padding] * len(even) if isinstance(output_padding, int) else list(output_padding)
    if padding == "same":  # (H - 1) s + d (R - 1) + 1 - padding may be less than H s
        extra = _same_rest(x.shape[2:], windows)
    run = _functional("conv_transpose", len(even))

    def transposed(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        y = run(x, w, bias, windows.stride, even, extra, groups, windows.dilation)
        kept = (slice(b, size - a) for (b, a), size in zip(rest, y.shape[2:], strict=True))
        return y[(..., *kept)]

    return _call(transposed, x, w, bias)


def _same_rest(size: tuple[int, ...], windows: Windows) -> list[int]:
    reached = [
        (H - 1) * s + extent - before - after
        for H, s, extent, before, after in zip(
            size, windows.stride, windows.extent, windows.before, windows.after, strict=True
        )
    ]
    return [H - length for H, length in zip(windows.size, reached, strict=True)]


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
}


def conv_fused(
    x: Array,
    w: Array,
    bias: Array,
    residual: Array | None = None,
    *,
    activation: str = "relu",
    **parameters: Any,
) -> Array:
    """Return activation(conv + bias + residual): three calls, in float32, and one rounding at the end."""
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, expected one of {', '.join(_ACTIVATIONS)}")
    if len({array.dtype for array in (x, w, bias, residual) if array is not None}) != 1:
        raise TypeError("x, w, bias and residual need one dtype")

    def fused(x: Tensor, w: Tensor, bias: Tensor, residual: Tensor | None) -> Tensor:
        total = _conv(x.float(), w.float(), bias.float(), **parameters)
        if residual is not None:
            if residual.shape != total.shape:  # + would broadcast it
                raise ValueError(
                    f"residual has shape {tuple(residual.shape)}, the result {tuple(total.shape)}"
                )
            total = total + residual.float()
        return _ACTIVATIONS[activation](total).to(x.dtype)

    return _call(fused, x, w, bias, residual)


# Pooling -------------------------------------------------------------------------------------------------


def _cropped(y: Tensor, windows: Windows) -> Tensor:
    """Leave out the windows that begin behind the input: padding by hand looks like input to ceil_mode."""
    return y[(..., *(slice(P) for P in windows.output))]


def _halves(windows: Windows) -> tuple[int, ...]:
    """Return the padding that PyTorch accepts at most."""
    return tuple(size // 2 for size in windows.kernel)


def _max_pool(
    x: Tensor,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the maxima and their indices."""
    windows = pool_windows(
        tuple(x.shape),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    even, rest = _split(windows, _halves(windows))
    padded = _padded(x, rest, -math.inf)
    run = _functional("max_pool", len(even))
    y, index = run(
        padded,
        windows.kernel,
        windows.stride,
        even,
        windows.dilation,
        ceil_mode=ceil_mode,
        return_indices=True,
    )
    if padded is not x:
        if bool(torch.isneginf(x).any()):
            raise NotImplementedError("padding by hand is −Inf, which is then no different from the data")
        index = _in_the_input(index, tuple(padded.shape[2:]), rest, windows.size)
    return _cropped(y, windows), _cropped(index, windows)


def _in_the_input(index: Tensor, padded: tuple[int, ...], rest: Pads, size: tuple[int, ...]) -> Tensor:
    """Turn indices into the padded plane into such into the plane, and −1 where they are in the padding."""
    flat, found, left = torch.zeros_like(index), torch.ones_like(index, dtype=torch.bool), index
    step = 1
    for length, (before, _), H in zip(reversed(padded), reversed(rest), reversed(size), strict=True):
        place = left % length - before
        left = left // length
        found &= (place >= 0) & (place < H)
        flat += place * step
        step *= H
    return torch.where(found, flat, -1)


def max_pool(x: Array, **parameters: Any) -> Array:
    """Return the maxima: max_pool1d to 3d."""
    return _call(lambda x: _max_pool(x, **parameters)[0], x)


def max_pool_indices(x: Array, **parameters: Any) -> Array:
    """Return the indices that max_pool1d to 3d return."""
    return _call(lambda x: _max_pool(x, **parameters)[1], x)


def max_pool_backward(dy: Array, x: Array, **parameters: Any) -> Array:
    """Return the gradient of max_pool, as autograd finds it.

    The gradient of a window without data is added outside of the plane, and may be outside of the array: that
    has ended the process, and other calls could not be trusted after it.
    """
    if max(pool_windows(x.shape, **parameters).dilation) > 1:
        plane = np.zeros((1, 1, *x.shape[2:]))
        if np.any(reference.max_pool_indices(plane, **parameters) < 0):
            raise NotImplementedError("PyTorch writes outside of the array where a window has no data")
    return _gradient(lambda x: _max_pool(x, **parameters)[0], dy, x)


def _avg_pool(
    x: Tensor,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: float | None = None,
) -> Tensor:
    check_divisor(divisor)
    windows = pool_windows(tuple(x.shape), kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    if divisor is not None and divisor != int(divisor):
        raise NotImplementedError("PyTorch's divisors are whole numbers")
    even, rest = _split(windows, _halves(windows))
    if not count_include_pad and divisor is None and any(map(any, rest)):
        raise NotImplementedError("PyTorch counts padding by hand as data")
    padded = _padded(x, rest)
    if len(even) > 1:
        override = {} if divisor is None else {"divisor_override": int(divisor)}
        run = _functional("avg_pool", len(even))
        y = run(padded, windows.kernel, windows.stride, even, ceil_mode, count_include_pad, **override)
    elif divisor is None:
        y = F.avg_pool1d(padded, windows.kernel, windows.stride, even, ceil_mode, count_include_pad)
    else:
        raise NotImplementedError("avg_pool1d has no divisor")
    return _cropped(y, windows)


def avg_pool(x: Array, **parameters: Any) -> Array:
    """Return the averages: avg_pool1d to 3d."""
    return _call(lambda x: _avg_pool(x, **parameters), x)


def avg_pool_backward(dy: Array, *, input_shape: tuple[int, ...], **parameters: Any) -> Array:
    """Return the gradient of avg_pool, as autograd finds it."""
    x = _tensor(dy).new_zeros(tuple(input_shape))
    return _gradient(lambda x: _avg_pool(x, **parameters), dy, x)


# Refusals ------------------------------------------------------------------------------------------------


def _refusing(function: Callable[..., Array]) -> Callable[..., Array]:
    """Let a call that PyTorch refuses in its own words raise what the spec calls an error."""

    @functools.wraps(function)
    def call(*arrays: Any, **parameters: Any) -> Array:
        try:
            return function(*arrays, **parameters)
        except NotImplementedError:
            raise
        except (RuntimeError, IndexError) as error:
            raise ValueError(str(error)) from error

    return call


globals().update({name: _refusing(globals()[name]) for name in OPERATIONS if name in globals()})
