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
    ``"auto"``, or one of `ALGORITHMS` that fits the problem; see `choose`.
"""

from __future__ import annotations

from typing import Any, Final

from gaugeblock.gpu import convolution_problem as problem
from gaugeblock.gpu.arrays import Exchange
from gaugeblock.gpu.convolution_problem import FORWARD, INPUT, WEIGHT, Arrays, Geometry
from gaugeblock.gpu.device import device
from gaugeblock.gpu.launching import check_algorithm
from gaugeblock.gpu.winograd import SIDES, winograd
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
    "choose",
    "conv",
    "conv_backward_bias",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_fused",
    "conv_transpose",
]

ALGORITHMS: Final = (
    "auto",
    "naive",
    "tile32",
    "tile64",
    "tile128",
    "depthwise",
    "pointwise",
    "winograd_2",
    "winograd_4",
)
"""What a convolution may be told to use."""

ACTIVATIONS: Final = {
    "none": "identity",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "tanh": "tanh_",
    "silu": "silu",
    "gelu": "gelu",
}
"""What `conv_fused` applies, and the struct of ``kernels/functions.cuh`` that does it."""


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
    return _forward(x, w, bias, None, "none", False, stride, padding, dilation, groups, out, algorithm)


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
    return _forward(x, w, bias, residual, activation, True, stride, padding, dilation, groups, out, algorithm)


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
    exchange.before_launch()
    chosen = _chosen(algorithm, WEIGHT, geometry)
    if chosen == "naive":
        problem.naive(WEIGHT, geometry, arrays, exchange.dtype)
    elif chosen == "depthwise":
        problem.depthwise(WEIGHT, geometry, arrays, exchange.dtype)
    else:
        pieces = _pieces(geometry, chosen)
        problem.tiled(WEIGHT, geometry, arrays, exchange.dtype, chosen, pieces=pieces)
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
    check_algorithm(algorithm, "auto")
    exchange = _exchange({"dy": dy})
    shape = exchange.shapes["dy"]
    result = conv_backward_bias_shape(shape)
    exchange.set_output(result, out, may_be=())
    if 0 in result:
        return exchange.result()
    geometry = Geometry(shape[0], 1, shape[1], 0, Windows.slide(size=shape[2:], kernel=(1,) * len(shape[2:])))
    arrays = Arrays(y=exchange.input("dy"), bias=exchange.output())
    exchange.before_launch()
    problem.sum_bias(geometry, arrays, exchange.dtype)
    return exchange.result()


def _exchange(arrays: dict[str, Any], optional: tuple[str, ...] = ()) -> Exchange:
    """Take the arrays of a call; those that are optional may be None."""
    given = {name: array for name, array in arrays.items() if array is not None or name not in optional}
    return Exchange(dict.fromkeys(given, "CONV-C5"), given)


# Choose and launch ---------------------------------------------------------------------------------------


def choose(product: int, geometry: Geometry, *, plain: bool = True, multiprocessors: int) -> str:
    """Return the algorithm that ``algorithm="auto"`` takes.

    ``"pointwise"``, a GEMM, for a kernel of one pixel at every position; ``"depthwise"`` for groups of one
    input channel; else an implicit GEMM, with the largest tile that is not mostly empty and still gives every
    multiprocessor a block. Strides have no say: a layout must not change the bits of a result (GEN-S2).
    Winograd's algorithm, whose errors are larger, is only taken where the caller says so.

    Parameters
    ----------
    product : int
        FORWARD, INPUT or WEIGHT.
    geometry : Geometry
        The problem.
    plain : bool
        Whether nothing but a bias is added, and no activation follows.
    multiprocessors : int
        Of the device.

    Returns
    -------
    str
        One of `ALGORITHMS`.
    """
    if not geometry.is_short:
        return "naive"
    if plain and product != WEIGHT and geometry.is_pointwise:
        return "pointwise"
    if geometry.C == 1 and geometry.groups > 1:
        return "depthwise"
    M, N, _ = geometry.sizes(product)
    for name, (side, _) in problem.TILES.items():
        tiles = -(-M // side) * -(-N // side) * geometry.groups
        if tiles >= multiprocessors and 2 * min(M, N) > side:
            return name
    return "tile32"


def _geometry(x: tuple[int, ...], w: tuple[int, ...], steps: dict[str, Any], groups: int) -> Geometry:
    return Geometry(x[0], groups, w[0] // groups, w[1], conv_windows(x, w, **steps))


def _chosen(algorithm: str, product: int, geometry: Geometry, plain: bool = True) -> str:
    """Choose, or check that what the caller chose can do it."""
    if algorithm == "auto":
        return choose(product, geometry, plain=plain, multiprocessors=device().multiprocessors)
    if algorithm != "naive" and not geometry.is_short:
        raise ValueError(f"algorithm is {algorithm!r}, which takes no axes this long; 'naive' does")
    if algorithm == "depthwise" and geometry.C != 1:
        raise ValueError(f"algorithm is 'depthwise', a group has {geometry.C} input channels, expected 1")
    if algorithm == "pointwise" and not (plain and product != WEIGHT and geometry.is_pointwise):
        expected = (
            "a kernel of one pixel, stride 1, no padding, no activation, no residual and no gradient of w"
        )
        raise ValueError(f"algorithm is 'pointwise', which takes {expected}")
    if algorithm in SIDES and not (product == FORWARD and geometry.has_winograd):
        expected = "two axes, a kernel of 3 by 3, stride and dilation 1, and no gradients"
        raise ValueError(f"algorithm is {algorithm!r}, which takes {expected}")
    return algorithm


def _pieces(geometry: Geometry, tile: str) -> int:
    """Return in how many pieces a gradient's sum is cut, so that few tiles still keep the device busy."""
    side, _ = problem.TILES[tile]
    M, N, K = geometry.sizes(WEIGHT)
    tiles = -(-M // side) * -(-N // side) * geometry.groups
    wanted = -(-4 * max(device().multiprocessors, 4) // tiles)
    return max(1, min(wanted, K // problem.PIECE))


def _forward(
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
    out: Any,
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
    if algorithm in SIDES and exchange.dtype != "float32":
        raise ValueError(f"algorithm is {algorithm!r}, which takes float32, not {exchange.dtype}")
    arrays = Arrays(
        x=exchange.input("x"),
        w=exchange.input("w"),
        bias=None if bias is None else exchange.input("bias"),
        residual=None if residual is None else exchange.input("residual"),
        y=exchange.output(),
    )
    exchange.before_launch()
    chosen = _chosen(algorithm, FORWARD, geometry, activation == "none" and residual is None)
    function = ACTIVATIONS[activation]
    if chosen == "naive":
        problem.naive(FORWARD, geometry, arrays, exchange.dtype, function)
    elif chosen == "depthwise":
        problem.depthwise(FORWARD, geometry, arrays, exchange.dtype, function)
    elif chosen == "pointwise":
        problem.pointwise(FORWARD, geometry, arrays)
    elif chosen in SIDES:
        winograd(geometry, arrays, exchange.dtype, chosen, function)
    else:
        problem.tiled(FORWARD, geometry, arrays, exchange.dtype, chosen, function)
    return exchange.result()


def _input_gradient(exchange: Exchange, gradient: str, geometry: Geometry, algorithm: str) -> Any:
    """Launch what `conv_backward_input` and `conv_transpose` share."""
    arrays = Arrays(
        y=exchange.input(gradient),
        w=exchange.input("w"),
        bias=exchange.input("bias") if "bias" in exchange.shapes else None,
        x=exchange.output(),
    )
    exchange.before_launch()
    chosen = _chosen(algorithm, INPUT, geometry)
    if chosen == "naive":
        problem.naive(INPUT, geometry, arrays, exchange.dtype)
    elif chosen == "depthwise":
        problem.depthwise(INPUT, geometry, arrays, exchange.dtype)
    elif chosen == "pointwise":
        problem.pointwise(INPUT, geometry, arrays)
    else:
        problem.tiled(INPUT, geometry, arrays, exchange.dtype, chosen)
    return exchange.result()
