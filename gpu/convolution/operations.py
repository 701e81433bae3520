"""Convolution and its gradients on the device.

Every function takes and returns NumPy arrays, PyCUDA's ``GPUArray`` or any object with
``__cuda_array_interface__`` (the result is then a :class:`~gaugeblock.gpu.DeviceArray`), of float32, float16
or bfloat16, with one to three spatial axes, in any layout: channels-last is a matter of strides. Sums are
float32; the result is rounded once to the type of the inputs. Names, arguments and special values are those
of :mod:`gaugeblock.reference`.

Two keywords are common to all:

``out``
    An array for the result: of its shape and type, writable, sharing no memory with an input.
``algorithm``
    ``"auto"``, or one of `ALGORITHMS` that fits the problem; `algorithm_for` says what ``"auto"`` takes, and
    `choose` why. ``"winograd_2"``, ``"winograd_4"`` and ``"fft"`` have larger errors than the others: who
    offers them as a backend declares them (GEN-D8).
"""

from __future__ import annotations

from typing import Any, Final

from gaugeblock.gpu.convolution import problem
from gaugeblock.gpu.convolution.choice import ALGORITHMS, choose, choose_here, refuse
from gaugeblock.gpu.convolution.fourier import fourier
from gaugeblock.gpu.convolution.problem import FORWARD, INPUT, WEIGHT, Arrays, Geometry
from gaugeblock.gpu.convolution.winograd import SIDES, winograd
from gaugeblock.gpu.runtime.arrays import Exchange
from gaugeblock.gpu.runtime.device import DTYPES, device
from gaugeblock.gpu.runtime.launching import check_algorithm
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.convolution import (
    conv_backward_bias_shape,
    conv_backward_input_shape,
    conv_backward_weight_shape,
    conv_fused_shape,
    conv_shape,
    conv_transpose_shape,
    conv_windows,
)
from gaugeblock.reference.windows import Windows

__all__ = [
    "ALGORITHMS",
    "algorithm_for",
    "choose",
    "conv",
    "conv_backward_bias",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_fused",
    "conv_transpose",
]

ACTIVATIONS: Final = {
    "none": "identity",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "tanh": "tanh_",
    "silu": "silu",
    "gelu": "gelu",
}
"""What `conv_fused` applies, and the struct of ``kernels/shared/functions.cuh`` that does it."""


def conv(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Slide filters over an image: cross-correlation, as every framework calls convolution.

    Parameters
    ----------
    x : array, shape (N, C, ...)
        The images, with one to three spatial axes.
    w : array, shape (K, C / groups, ...)
        The filters, with as many.
    bias : array, shape (K,), optional
        Added to every position of a channel.
    stride, dilation : int or tuple of int
        The step between windows, and between the pixels of a window.
    padding : int, tuple of int, tuple of (before, after), or "same"
        Pixels around the image that take part in no product.
    groups : int
        Channels are split into so many groups that do not see each other.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (N, K, ...)
        Of the kind and type of the inputs.

    Raises
    ------
    ValueError, TypeError
        With the clause that the arguments violate: CONV-C1 to CONV-C5, for `out` GEN-C2 or GEN-C3.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock import gpu
    >>> signal = np.array([[[0, 0, 1, 1, 1, 0]]], np.float32)
    >>> edges = np.array([[[-1, 1]]], np.float32)
    >>> gpu.conv(signal, edges)
    array([[[ 0.,  1.,  0.,  0., -1.]]], dtype=float32)
    """
    return _forward(out, x, w, bias, None, "none", False, stride, padding, dilation, groups, algorithm)


def conv_fused(
    x: Any,
    w: Any,
    bias: Any,
    residual: Any = None,
    *,
    activation: str = "relu",
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return activation(conv(x, w) + bias + residual) in one pass, with one rounding at the end.

    Parameters
    ----------
    x, w, bias, stride, padding, dilation, groups
        As for `conv`; `bias` may be None.
    residual : array, of the result's shape, optional
        Added before the activation.
    activation : str
        ``"none"``, ``"relu"``, ``"relu6"``, ``"sigmoid"``, ``"tanh"``, ``"silu"`` or ``"gelu"``.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (N, K, ...)
        Of the kind and type of the inputs.
    """
    return _forward(out, x, w, bias, residual, activation, True, stride, padding, dilation, groups, algorithm)


def conv_backward_input(
    dy: Any,
    w: Any,
    *,
    input_shape: tuple[int, ...],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return the gradient of `conv` with respect to x.

    Parameters
    ----------
    dy : array, of the shape of the convolution's result
        The gradient of the result.
    w : array, shape (K, C / groups, ...)
        The filters.
    input_shape : tuple of int
        The shape of x.
    stride, padding, dilation, groups
        What `conv` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array, of shape `input_shape`
        Of the kind and type of the inputs; 0 for a pixel that no window saw.
    """
    return _conv_backward_input(out, dy, w, input_shape, stride, padding, dilation, groups, algorithm)


@planned
def _conv_backward_input(
    out: Any,
    dy: Any,
    w: Any,
    input_shape: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, *ALGORITHMS)
    exchange = _exchange({"dy": dy, "w": w})
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    dy_shape, w_shape = exchange.shapes["dy"], exchange.shapes["w"]
    shape = conv_backward_input_shape(dy_shape, w_shape, input_shape=input_shape, **steps, groups=groups)
    geometry = _geometry(shape, w_shape, steps, groups)
    exchange.set_output(shape, out, may_be=())
    if 0 in shape:
        return exchange.result()
    return _input_gradient(exchange, "dy", geometry, algorithm)


def conv_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Apply the adjoint of `conv` as a layer of its own: every pixel of x stamps a filter on the result.

    Parameters
    ----------
    x : array, shape (N, C, ...)
        The images, with one to three spatial axes.
    w : array, shape (C, K / groups, ...)
        The filters.
    bias : array, shape (K,), optional
        Added to every position of a channel.
    stride, padding, dilation, groups
        Of the convolution that this is the adjoint of.
    output_padding : int or tuple of int
        How many more pixels the result has at its end than the stamps need: which of the sizes that the
        convolution takes to this one.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (N, K, ...)
        Of the kind and type of the inputs.
    """
    return _conv_transpose(out, x, w, bias, stride, padding, output_padding, dilation, groups, algorithm)


@planned
def _conv_transpose(
    out: Any,
    x: Any,
    w: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, *ALGORITHMS)
    exchange = _exchange({"x": x, "w": w, "bias": bias}, optional=("bias",))
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    shapes = exchange.shapes
    shape = conv_transpose_shape(
        shapes["x"], shapes["w"], shapes.get("bias"), **steps, output_padding=output_padding, groups=groups
    )
    exchange.set_output(shape, out, may_be=())
    if 0 in shape:
        return exchange.result()
    geometry = _geometry(shape, shapes["w"], steps, groups)
    return _input_gradient(exchange, "x", geometry, algorithm)


def conv_backward_weight(
    dy: Any,
    x: Any,
    *,
    kernel_shape: tuple[int, ...],
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return the gradient of `conv` with respect to w.

    Parameters
    ----------
    dy : array, of the shape of the convolution's result
        The gradient of the result.
    x : array, shape (N, C, ...)
        The images.
    kernel_shape : tuple of int
        The shape of w.
    stride, padding, dilation, groups
        What `conv` was given.
    out, algorithm
        See the module. A long sum is cut in pieces that are added in order.

    Returns
    -------
    array, of shape `kernel_shape`
        Of the kind and type of the inputs.
    """
    return _conv_backward_weight(out, dy, x, kernel_shape, stride, padding, dilation, groups, algorithm)


@planned
def _conv_backward_weight(
    out: Any,
    dy: Any,
    x: Any,
    kernel_shape: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, *ALGORITHMS)
    exchange = _exchange({"dy": dy, "x": x})
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    dy_shape, x_shape = exchange.shapes["dy"], exchange.shapes["x"]
    shape = conv_backward_weight_shape(dy_shape, x_shape, kernel_shape=kernel_shape, **steps, groups=groups)
    geometry = _geometry(x_shape, shape, steps, groups)
    exchange.set_output(shape, out, may_be=())
    if 0 in shape:
        return exchange.result()
    arrays = Arrays(y=exchange.input("dy"), x=exchange.input("x"), w=exchange.output())
    _launch(WEIGHT, geometry, arrays, exchange.dtype, algorithm)
    return exchange.result()


def conv_backward_bias(dy: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `conv` with respect to the bias: the sum of dy over all axes but the second.

    Parameters
    ----------
    dy : array, shape (N, K, ...)
        The gradient of the result.
    out, algorithm
        See the module; the algorithm is ``"auto"``.

    Returns
    -------
    array, shape (K,)
        Of the kind and type of `dy`.
    """
    return _conv_backward_bias(out, dy, algorithm)


@planned
def _conv_backward_bias(out: Any, dy: Any, algorithm: str) -> Any:
    check_algorithm(algorithm, "auto")
    exchange = _exchange({"dy": dy})
    shape = exchange.shapes["dy"]
    result = conv_backward_bias_shape(shape)
    exchange.set_output(result, out, may_be=())
    if 0 in result:
        return exchange.result()
    geometry = Geometry(shape[0], 1, shape[1], 0, Windows.slide(size=shape[2:], kernel=(1,) * len(shape[2:])))
    arrays = Arrays(y=exchange.input("dy"), bias=exchange.output())
    problem.sum_bias(geometry, arrays, exchange.dtype)
    return exchange.result()


def _exchange(arrays: dict[str, Any], optional: tuple[str, ...] = ()) -> Exchange:
    """Take the arrays of a call; those that are optional may be None."""
    given = {name: array for name, array in arrays.items() if array is not None or name not in optional}
    return Exchange(dict.fromkeys(given, "CONV-C5"), given)


# Choose and launch ---------------------------------------------------------------------------------------

PRODUCTS: Final = {
    "conv": FORWARD,
    "conv_fused": FORWARD,
    "conv_transpose": INPUT,
    "conv_backward_input": INPUT,
    "conv_backward_weight": WEIGHT,
}
"""Which product each operation is."""


def algorithm_for(
    operation: str,
    input_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    *,
    dtype: str = "float32",
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> str:
    """Return the algorithm that a call with ``algorithm="auto"`` takes on this device.

    It depends on what is given here and on the device, never on values or layouts.

    Parameters
    ----------
    operation : str
        ``"conv"``, ``"conv_fused"``, ``"conv_transpose"``, ``"conv_backward_input"`` or
        ``"conv_backward_weight"``. Without activation and residual ``"conv_fused"`` is ``"conv"``.
    input_shape, kernel_shape : tuple of int
        The shapes of x and w of the convolution; for ``"conv_transpose"``, the adjoint of one, those of its
        result and of w.
    dtype : str
        ``"float32"``, ``"float16"`` or ``"bfloat16"``.
    stride, padding, dilation, groups
        As in the call.

    Returns
    -------
    str
        One of `ALGORITHMS`, never ``"auto"``.

    Examples
    --------
    >>> from gaugeblock.gpu.convolution.operations import algorithm_for
    >>> algorithm_for("conv", (8, 64, 56, 56), (64, 64, 1, 1))
    'pointwise'
    >>> algorithm_for("conv_backward_weight", (8, 64, 56, 56), (64, 1, 3, 3), groups=64)
    'depthwise'
    """
    if operation not in PRODUCTS:
        raise ValueError(f"operation is {operation!r}, expected one of {', '.join(map(repr, PRODUCTS))}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, expected one of {', '.join(map(repr, DTYPES))}")
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    conv_shape(input_shape, kernel_shape, None, **steps, groups=groups)
    geometry = _geometry(input_shape, kernel_shape, steps, groups)
    return choose_here(PRODUCTS[operation], geometry, dtype, plain=operation != "conv_fused")


def _geometry(x: tuple[int, ...], w: tuple[int, ...], steps: dict[str, Any], groups: int) -> Geometry:
    return Geometry(x[0], groups, w[0] // groups, w[1], conv_windows(x, w, **steps))


def _launch(
    product: int,
    geometry: Geometry,
    arrays: Arrays,
    dtype: str,
    algorithm: str,
    activation: str = "none",
) -> None:
    """Choose, or check that what the caller chose can do it; launch."""
    plain = activation == "none" and arrays.residual is None
    if algorithm == "auto":
        algorithm = choose_here(product, geometry, dtype, plain)
    else:
        refuse(algorithm, product, geometry, dtype, plain)
    function = ACTIVATIONS[activation]
    if algorithm == "naive":
        problem.naive(product, geometry, arrays, dtype, function)
    elif algorithm == "depthwise":
        problem.depthwise(product, geometry, arrays, dtype, function)
    elif algorithm == "pointwise":
        problem.pointwise(product, geometry, arrays)
    elif algorithm in SIDES:
        winograd(product, geometry, arrays, dtype, algorithm, function)
    elif algorithm == "fft":
        fourier(product, geometry, arrays, function)
    else:
        pieces = _pieces(geometry, algorithm) if product == WEIGHT else 1
        problem.tiled(product, geometry, arrays, dtype, algorithm, function, pieces)


def _pieces(geometry: Geometry, tile: str) -> int:
    """Return in how many pieces a gradient's sum is cut, so that few tiles still keep the device busy."""
    side, _ = problem.TILES[tile]
    M, N, K = geometry.sizes(WEIGHT)
    tiles = -(-M // side) * -(-N // side) * geometry.groups
    wanted = -(-4 * max(device().multiprocessors, 4) // tiles)
    return max(1, min(wanted, K // problem.PIECE))


@planned
def _forward(
    out: Any,
    x: Any,
    w: Any,
    bias: Any,
    residual: Any,
    activation: str,
    fused: bool,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, *ALGORITHMS)
    given = {"x": x, "w": w, "bias": bias, "residual": residual}
    exchange = _exchange(given, optional=("bias", "residual"))
    shapes = exchange.shapes
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    operands = shapes["x"], shapes["w"], shapes.get("bias")
    if fused:
        shape = conv_fused_shape(
            *operands, shapes.get("residual"), activation=activation, **steps, groups=groups
        )
    else:
        shape = conv_shape(*operands, **steps, groups=groups)
    geometry = _geometry(shapes["x"], shapes["w"], steps, groups)
    exchange.set_output(shape, out, may_be=())
    if 0 in shape:
        return exchange.result()
    arrays = Arrays(
        x=exchange.input("x"),
        w=exchange.input("w"),
        bias=None if bias is None else exchange.input("bias"),
        residual=None if residual is None else exchange.input("residual"),
        y=exchange.output(),
    )
    _launch(FORWARD, geometry, arrays, exchange.dtype, algorithm, activation)
    return exchange.result()


def _input_gradient(exchange: Exchange, gradient: str, geometry: Geometry, algorithm: str) -> Any:
    """Launch what `conv_backward_input` and `conv_transpose` share."""
    arrays = Arrays(
        y=exchange.input(gradient),
        w=exchange.input("w"),
        bias=exchange.input("bias") if "bias" in exchange.shapes else None,
        x=exchange.output(),
    )
    _launch(INPUT, geometry, arrays, exchange.dtype, algorithm)
    return exchange.result()
