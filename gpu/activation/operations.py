"""Activation functions and their gradients on the device.

Every function takes and returns NumPy arrays, PyCUDA's ``GPUArray`` or any object with
``__cuda_array_interface__`` (the result is then a :class:`~gaugeblock.gpu.DeviceArray`), of float32, float16
or bfloat16. Arithmetic is float32; the result is rounded once to the type of the inputs. The functions and
their special values are those of :mod:`gaugeblock.reference`, whose names and arguments these share.

Two keywords are common to all:

``out``
    An array for the result: of its shape and type, writable, sharing no memory with an input. It may be an
    input itself where the result has that input's shape.
``algorithm``
    ``"auto"``, or ``"naive"`` for the simple kernel that the fast ones are checked against.
"""

from __future__ import annotations

from typing import Any

from gaugeblock.gpu.activation.elementwise import elementwise
from gaugeblock.gpu.activation.rowwise import rowwise
from gaugeblock.gpu.activation.selection import selection
from gaugeblock.reference.activation import check_parameters

__all__ = [
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "hard_sigmoid",
    "hard_sigmoid_backward",
    "hard_tanh",
    "hard_tanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "log_softmax",
    "log_softmax_backward",
    "maxout",
    "maxout_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]


def relu(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return max(x, 0).

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "relu", (), algorithm, x)


def relu_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `relu`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `relu` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "relu", (), algorithm, dy, x)


def relu6(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return x clipped to [0, 6].

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "relu6", (), algorithm, x)


def relu6_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `relu6`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `relu6` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "relu6", (), algorithm, dy, x)


def leaky_relu(x: Any, *, negative_slope: float = 0.01, out: Any = None, algorithm: str = "auto") -> Any:
    """Return x where x > 0, else negative_slope · x.

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    negative_slope : float
        The slope on the left; finite.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "leaky_relu", (negative_slope,), algorithm, x)


def leaky_relu_backward(
    dy: Any, x: Any, *, negative_slope: float = 0.01, out: Any = None, algorithm: str = "auto"
) -> Any:
    """Return the gradient of `leaky_relu`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `leaky_relu` was given.
    negative_slope : float
        The slope on the left; finite.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "leaky_relu", (negative_slope,), algorithm, dy, x)


def elu(x: Any, *, alpha: float = 1.0, out: Any = None, algorithm: str = "auto") -> Any:
    """Return x where x > 0, else alpha · (exp(x) − 1).

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    alpha : float
        Minus the limit on the left; finite.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "elu", (alpha,), algorithm, x)


def elu_backward(dy: Any, x: Any, *, alpha: float = 1.0, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `elu`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `elu` was given.
    alpha : float
        Minus the limit on the left; finite.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "elu", (alpha,), algorithm, dy, x)


def sigmoid(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return 1 / (1 + exp(−x)).

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "sigmoid", (), algorithm, x)


def sigmoid_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `sigmoid`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `sigmoid` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "sigmoid", (), algorithm, dy, x)


def log_sigmoid(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return log(sigmoid(x)).

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "log_sigmoid", (), algorithm, x)


def log_sigmoid_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `log_sigmoid`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `log_sigmoid` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "log_sigmoid", (), algorithm, dy, x)


def hard_sigmoid(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return x / 6 + 1/2 clipped to [0, 1].

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "hard_sigmoid", (), algorithm, x)


def hard_sigmoid_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `hard_sigmoid`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `hard_sigmoid` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "hard_sigmoid", (), algorithm, dy, x)


def tanh(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "tanh", (), algorithm, x)


def tanh_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `tanh`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `tanh` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "tanh", (), algorithm, dy, x)


def hard_tanh(
    x: Any, *, min_val: float = -1.0, max_val: float = 1.0, out: Any = None, algorithm: str = "auto"
) -> Any:
    """Return x clipped to [min_val, max_val].

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    min_val : float
        The lower end, below `max_val`.
    max_val : float
        The upper end.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "hard_tanh", (min_val, max_val), algorithm, x)


def hard_tanh_backward(
    dy: Any, x: Any, *, min_val: float = -1.0, max_val: float = 1.0, out: Any = None, algorithm: str = "auto"
) -> Any:
    """Return the gradient of `hard_tanh`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `hard_tanh` was given.
    min_val : float
        The lower end, below `max_val`.
    max_val : float
        The upper end.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "hard_tanh", (min_val, max_val), algorithm, dy, x)


def softplus(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return log(1 + exp(x)).

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "softplus", (), algorithm, x)


def softplus_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `softplus`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `softplus` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "softplus", (), algorithm, dy, x)


def gelu(x: Any, *, approximate: str = "none", out: Any = None, algorithm: str = "auto") -> Any:
    """Return x · Φ(x), Φ being the normal distribution function.

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    approximate : str
        ``"none"``, or ``"tanh"`` for ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    check_parameters(approximate=approximate)
    function = "gelu" if approximate == "none" else "gelu_tanh"
    return elementwise(out, function, (), algorithm, x)


def gelu_backward(
    dy: Any, x: Any, *, approximate: str = "none", out: Any = None, algorithm: str = "auto"
) -> Any:
    """Return the gradient of `gelu`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `gelu` was given.
    approximate : str
        ``"none"``, or ``"tanh"`` for ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    check_parameters(approximate=approximate)
    function = "gelu" if approximate == "none" else "gelu_tanh"
    return elementwise(out, function, (), algorithm, dy, x)


def silu(x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return x · sigmoid(x).

    Parameters
    ----------
    x : array, of any shape
        float32, float16 or bfloat16.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "silu", (), algorithm, x)


def silu_backward(dy: Any, x: Any, *, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `silu`: dy times its derivative at x.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `silu` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return elementwise(out, "silu", (), algorithm, dy, x)


def softmax(x: Any, *, axis: int = -1, out: Any = None, algorithm: str = "auto") -> Any:
    """Return exp(x) divided by its sum along an axis.

    Parameters
    ----------
    x : array
        float32, float16 or bfloat16.
    axis : int
        The axis whose elements form a row.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return rowwise(out, False, axis, algorithm, x)


def softmax_backward(dy: Any, x: Any, *, axis: int = -1, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `softmax`.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `softmax` was given.
    axis : int
        The axis whose elements form a row.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return rowwise(out, False, axis, algorithm, dy, x)


def log_softmax(x: Any, *, axis: int = -1, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the logarithm of `softmax`.

    Parameters
    ----------
    x : array
        float32, float16 or bfloat16.
    axis : int
        The axis whose elements form a row.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return rowwise(out, True, axis, algorithm, x)


def log_softmax_backward(dy: Any, x: Any, *, axis: int = -1, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the gradient of `log_softmax`.

    Parameters
    ----------
    dy, x : array, of one shape
        The gradient of the result, and what `log_softmax` was given.
    axis : int
        The axis whose elements form a row.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return rowwise(out, True, axis, algorithm, dy, x)


def maxout(x: Any, *, pieces: int = 2, axis: int = -1, out: Any = None, algorithm: str = "auto") -> Any:
    """Return the maximum of each group of `pieces` consecutive values along an axis.

    Parameters
    ----------
    x : array
        float32, float16 or bfloat16; the axis has length pieces · G.
    pieces : int
        The size of a group.
    axis : int
        The axis.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind and type of `x`; the axis has length G.
    """
    return selection(out, pieces, axis, algorithm, x)


def maxout_backward(
    dy: Any, x: Any, *, pieces: int = 2, axis: int = -1, out: Any = None, algorithm: str = "auto"
) -> Any:
    """Return the gradient of `maxout`: dy at the first maximum of each group, 0 elsewhere.

    Parameters
    ----------
    dy : array
        The gradient of the result.
    x : array
        What `maxout` was given.
    pieces : int
        The size of a group.
    axis : int
        The axis.
    out, algorithm
        See the module.

    Returns
    -------
    array
        Of the kind, shape and type of `x`.
    """
    return selection(out, pieces, axis, algorithm, dy, x)
