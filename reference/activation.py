"""Activation functions: the non-linear step between the weighted data of one layer and the next.

Every function takes an array `x` and returns a new one; ``NAME_backward(dy, x)`` takes the gradient `dy` of
the result and returns the gradient of `x`: ``dx = dy · f′(x)``. Spec: page 9, Activation function.

**Numbers.** Floats of up to 64 bits are widened to float64, and the result is float64: within 2 units in the
last place of the exact value over the whole range of float64 (2 smallest subnormals, where the result is
subnormal). Formulas are written as in a textbook; they can be, since `_wide.Wide` carries twice the digits
and any exponent. The piecewise linear functions also take object arrays of `fractions.Fraction` and are exact
on them.

**Special values.** NaN gives NaN. ±Inf gives the limit, which each function states. On a piece where the
derivative is 0 by definition, dx is 0 whatever dy is; elsewhere a NaN or Inf in dy goes through the
multiplication.

**Bad arguments** raise `ValueError` or `TypeError`: ACT-C1 `x` is no array of floats or fractions; ACT-C2
`dy` has another shape or dtype; ACT-C3 a parameter is outside of its domain; ACT-C4 the axis does not exist;
ACT-C5 maxout cannot divide the axis into its pieces.

Source of the concept: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Activation
Function".
"""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any, NamedTuple

import numpy as np

from gaugeblock.reference._arguments import Array, Shape, check_numbers, check_same_dtype, like, widened
from gaugeblock.reference._wide import Float, Wide, distance, erfc, exp, expm1, log1p

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

# ------------------------------------------------------------------------------------------------------------
# Rules for arguments. They need only shapes and parameters, so that an implementation elsewhere can refuse
# the same calls in the same words.


def check_dy(dy: Shape, y: Shape) -> None:
    """Refuse a `dy` that has not the shape of the forward result (ACT-C2).

    Examples
    --------
    >>> check_dy((2, 3), (2, 4))
    Traceback (most recent call last):
        ...
    ValueError: ACT-C2: dy has shape (2, 3), the forward result has shape (2, 4)
    """
    if tuple(dy) != tuple(y):
        raise ValueError(f"ACT-C2: dy has shape {tuple(dy)}, the forward result has shape {tuple(y)}")


def check_parameters(
    *,
    negative_slope: Any = 0.0,
    alpha: Any = 0.0,
    min_val: Any = -1.0,
    max_val: Any = 1.0,
    approximate: Any = "none",
) -> None:
    """Refuse a parameter outside of its domain (ACT-C3).

    Slopes are finite, ``min_val < max_val``, and an approximation is one of those that `gelu` knows.

    Examples
    --------
    >>> check_parameters(min_val=2.0, max_val=1.0)
    Traceback (most recent call last):
        ...
    ValueError: ACT-C3: min_val is 2.0, max_val is 1.0; min_val < max_val is required
    """
    for name, value in (("negative_slope", negative_slope), ("alpha", alpha)):
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(f"ACT-C3: {name} must be a finite number, got {value!r}")
    for name, value in (("min_val", min_val), ("max_val", max_val)):
        if not _is_number(value):
            raise ValueError(f"ACT-C3: {name} must be a number, got {value!r}")
    if not min_val < max_val:
        raise ValueError(f"ACT-C3: min_val is {min_val}, max_val is {max_val}; min_val < max_val is required")
    if approximate not in ("none", "tanh"):
        raise ValueError(f'ACT-C3: approximate must be "none" or "tanh", got {approximate!r}')


def row_axis(x: Shape, axis: int) -> int:
    """Return the axis counted from 0; refuse one that `x` has not (ACT-C4).

    Examples
    --------
    >>> row_axis((2, 3, 4), -1)
    2
    >>> row_axis((2, 3, 4), 3)
    Traceback (most recent call last):
        ...
    ValueError: ACT-C4: axis is 3, x has 3 axes
    """
    try:
        index = operator.index(axis)
    except TypeError:
        raise TypeError(f"ACT-C4: axis must be an integer, got {axis!r}") from None
    if not -len(x) <= index < len(x):
        raise ValueError(f"ACT-C4: axis is {index}, x has {len(x)} axes")
    return index % len(x)


def maxout_shape(x: Shape, *, pieces: int = 2, axis: int = -1) -> Shape:
    """Return the shape of maxout's result; refuse an axis that does not divide into pieces (ACT-C4, ACT-C5).

    Examples
    --------
    >>> maxout_shape((4, 6), pieces=3)
    (4, 2)
    >>> maxout_shape((4, 6), pieces=4)
    Traceback (most recent call last):
        ...
    ValueError: ACT-C5: pieces is 4, axis 1 of x has length 6
    """
    index = row_axis(x, axis)
    try:
        count = operator.index(pieces)
    except TypeError:
        raise TypeError(f"ACT-C5: pieces must be an integer, got {pieces!r}") from None
    if count < 1 or x[index] % count:
        raise ValueError(f"ACT-C5: pieces is {count}, axis {index} of x has length {x[index]}")
    return (*x[:index], x[index] // count, *x[index + 1 :])


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real)


def _numbers(x: Array) -> Array:
    """Return x as float64, or as fractions if it holds those."""
    return widened("ACT-C1", x=x)[0]


def _numbers_with_dy(dy: Array, x: Array, y_shape: Shape | None = None) -> tuple[Array, Array]:
    """Return dy and x likewise, after the check that dy belongs to x."""
    check_numbers("ACT-C1", "x", x)
    check_numbers("ACT-C2", "dy", dy)
    check_same_dtype("ACT-C2", "dy", dy.dtype, "x", x.dtype)
    check_dy(dy.shape, x.shape if y_shape is None else y_shape)
    return _numbers(dy), _numbers(x)


def _floats(function: str, x: Array) -> Float:
    """Return x as float64; e^x of a fraction is no fraction."""
    x = _numbers(x)
    if x.dtype == object:
        raise TypeError(f"ACT-C1: {function} of a fraction is no fraction; x must be an array of floats")
    return x


def _floats_with_dy(function: str, dy: Array, x: Array) -> tuple[Float, Float]:
    dy, x = _numbers_with_dy(dy, x)
    return dy, _floats(function, x)


# ------------------------------------------------------------------------------------------------------------
# How a formula, which knows only finite numbers, becomes a function of every float64.


def _limits(x: Float, y: Float, low: float, high: float) -> Float:
    """Return y, but the limits at ±Inf and NaN at NaN."""
    y = np.where(x == -np.inf, low, y)
    y = np.where(x == np.inf, high, y)
    return np.where(np.isnan(x), np.nan, y)


def _chain(dy: Float, x: Float, derivative: Wide, low: float, high: float) -> Float:
    """Return dy · f′(x), rounded once; low and high are the limits of f′ at ±Inf."""
    product = (dy * derivative).round()
    with np.errstate(invalid="ignore", over="ignore"):
        # for NaN and Inf, and for the sign of a zero:
        special = dy * _limits(x, derivative.round(), low, high)
    return np.where(np.isfinite(dy) & np.isfinite(x) & (product != 0), product, special)


def _routed(dy: Array, x: Array, alive: Any) -> Array:
    """Return dy where the unit is alive, 0 where it is dead, NaN where x is NaN."""
    return np.where(alive, dy, np.where(x == x, like(x, 0), x))


# ------------------------------------------------------------------------------------------------------------
# Piecewise linear functions: exact on fractions. A comparison with NaN is false, so NaN falls through to x.


def relu(x: Array) -> Array:
    """Rectified linear unit: ``max(0, x)``.

    Spec: ACT-S1; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats or fractions, any shape.

    Returns
    -------
    ndarray
        Of the same shape. relu(−Inf) = 0, relu(+Inf) = +Inf.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Activation Function".
    .. [2] V. Nair and G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML
       2010.

    Examples
    --------
    >>> relu(np.array([-2.0, 0.5, np.nan]))
    array([0. , 0.5, nan])
    """
    x = _numbers(x)
    return np.where(x <= 0, like(x, 0), x)


def relu_backward(dy: Array, x: Array) -> Array:
    """Gradient of `relu`: dy where x > 0, else 0; at the kink, x = 0, it is 0.

    Spec: ACT-S2; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `relu` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> relu_backward(np.array([5.0, 5.0, 5.0]), np.array([-2.0, 0.0, 2.0]))
    array([0., 0., 5.])
    """
    dy, x = _numbers_with_dy(dy, x)
    return _routed(dy, x, x > 0)


def relu6(x: Array) -> Array:
    """Rectified linear unit that saturates at 6: ``min(max(0, x), 6)``.

    Spec: ACT-S3; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats or fractions, any shape.

    Returns
    -------
    ndarray
        Of the same shape. relu6(−Inf) = 0, relu6(+Inf) = 6.

    References
    ----------
    .. [1] A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.

    Examples
    --------
    >>> relu6(np.array([-2.0, 0.5, 7.0]))
    array([0. , 0.5, 6. ])
    """
    x = _numbers(x)
    return np.where(x <= 0, like(x, 0), np.where(x >= 6, like(x, 6), x))


def relu6_backward(dy: Array, x: Array) -> Array:
    """Gradient of `relu6`: dy where 0 < x < 6, else 0; it is 0 at both kinks.

    Spec: ACT-S4; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `relu6` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> relu6_backward(np.array([5.0, 5.0, 5.0]), np.array([0.0, 3.0, 6.0]))
    array([0., 5., 0.])
    """
    dy, x = _numbers_with_dy(dy, x)
    return _routed(dy, x, (x > 0) & (x < 6))


def leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Array:
    """Leaky rectified linear unit: x where x > 0, else ``negative_slope · x``.

    Spec: ACT-S5; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats or fractions, any shape.
    negative_slope : float
        Any finite number; next to fractions a float is taken at its exact value.

    Returns
    -------
    ndarray
        Of the same shape. At ±Inf: ``negative_slope · (−Inf)`` by IEEE arithmetic, and +Inf.

    References
    ----------
    .. [1] A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic
       models", ICML 2013.

    Examples
    --------
    >>> leaky_relu(np.array([-2.0, 3.0]), negative_slope=0.25)
    array([-0.5,  3. ])
    """
    check_parameters(negative_slope=negative_slope)
    x = _numbers(x)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(x > 0, x, like(x, negative_slope) * x)


def leaky_relu_backward(dy: Array, x: Array, *, negative_slope: float = 0.01) -> Array:
    """Gradient of `leaky_relu`: dy where x > 0, else ``negative_slope · dy``, also at the kink, x = 0.

    Spec: ACT-S6; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `leaky_relu` was given; one shape, one dtype.
    negative_slope : float
        As there.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> leaky_relu_backward(np.array([8.0, 8.0, 8.0]), np.array([-2.0, 0.0, 3.0]), negative_slope=0.25)
    array([2., 2., 8.])
    """
    check_parameters(negative_slope=negative_slope)
    dy, x = _numbers_with_dy(dy, x)
    with np.errstate(invalid="ignore", over="ignore"):
        return _routed(np.where(x > 0, dy, like(x, negative_slope) * dy), x, x == x)


def hard_sigmoid(x: Array) -> Array:
    """Piecewise linear sigmoid: ``x/6 + 1/2``, clipped to [0, 1].

    Spec: ACT-S13; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats or fractions, any shape.

    Returns
    -------
    ndarray
        Of the same shape. hard_sigmoid(−Inf) = 0, hard_sigmoid(+Inf) = 1.

    References
    ----------
    .. [1] A. Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2 (as ReLU6(x + 3)/6).

    Examples
    --------
    >>> hard_sigmoid(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """
    x = _numbers(x)
    line = (x + 3) / 6  # x/6 + 1/2, in the order that keeps every digit near x = −3
    return np.where(x <= -3, like(x, 0), np.where(x >= 3, like(x, 1), line))


def hard_sigmoid_backward(dy: Array, x: Array) -> Array:
    """Gradient of `hard_sigmoid`: ``dy / 6`` where −3 < x < 3, else 0; it is 0 at both kinks.

    Spec: ACT-S14; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `hard_sigmoid` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> hard_sigmoid_backward(np.array([6.0, 6.0, 6.0]), np.array([-4.0, 0.0, 3.0]))
    array([0., 1., 0.])
    """
    dy, x = _numbers_with_dy(dy, x)
    return _routed(dy / 6, x, (x > -3) & (x < 3))


def hard_tanh(x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Piecewise linear tanh: x clipped to [min_val, max_val].

    Spec: ACT-S17; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats or fractions, any shape.
    min_val, max_val : float
        The bounds, ``min_val < max_val``; next to fractions a float is taken at its exact value.

    Returns
    -------
    ndarray
        Of the same shape. At ±Inf the bounds.

    References
    ----------
    .. [1] R. Collobert, *Large Scale Machine Learning*, thesis, Université Paris VI, 2004.

    Examples
    --------
    >>> hard_tanh(np.array([-2.0, 0.5, 7.0]))
    array([-1. ,  0.5,  1. ])
    """
    check_parameters(min_val=min_val, max_val=max_val)
    x = _numbers(x)
    low, high = like(x, min_val), like(x, max_val)
    return np.where(x <= low, low, np.where(x >= high, high, x))


def hard_tanh_backward(dy: Array, x: Array, *, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """Gradient of `hard_tanh`: dy where min_val < x < max_val, else 0; it is 0 at both kinks.

    Spec: ACT-S18; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `hard_tanh` was given; one shape, one dtype.
    min_val, max_val : float
        As there.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> hard_tanh_backward(np.array([5.0, 5.0, 5.0]), np.array([-1.0, 0.5, 7.0]))
    array([0., 5., 0.])
    """
    check_parameters(min_val=min_val, max_val=max_val)
    dy, x = _numbers_with_dy(dy, x)
    return _routed(dy, x, (x > like(x, min_val)) & (x < like(x, max_val)))


# ------------------------------------------------------------------------------------------------------------
# Functions of the exponential.


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    """Exponential linear unit: x where x > 0, else ``alpha (e^x − 1)``.

    Spec: ACT-S7; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.
    alpha : float
        Any finite number.

    Returns
    -------
    ndarray
        Of the same shape. elu(−Inf) = −alpha, elu(+Inf) = +Inf, elu(−0) = −0.

    References
    ----------
    .. [1] D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by
       exponential linear units (ELUs)", ICLR 2016, arXiv:1511.07289.

    Examples
    --------
    >>> elu(np.array([-1.0, -1e-20, 2.0])).tolist()
    [-0.6321205588285577, -1e-20, 2.0]
    """
    check_parameters(alpha=alpha)
    x = _floats("elu", x)
    left = (float(alpha) * expm1(Wide.of(x))).round()
    return _limits(x, np.where(x >= 0, x, left), -float(alpha), np.inf)


def elu_backward(dy: Array, x: Array, *, alpha: float = 1.0) -> Array:
    """Gradient of `elu`: dy where x > 0, else ``dy · alpha e^x``, also at x = 0.

    Spec: ACT-S8; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `elu` was given; one shape, one dtype.
    alpha : float
        As there.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 0 at −Inf and 1 at +Inf.

    Examples
    --------
    >>> elu_backward(np.array([5.0, 5.0, 5.0]), np.array([-1.0, 0.0, 2.0]), alpha=2.0).tolist()
    [3.6787944117144233, 10.0, 5.0]
    """
    check_parameters(alpha=alpha)
    dy, x = _floats_with_dy("elu", dy, x)
    left = float(alpha) * exp(Wide.of(x))
    derivative = left.where(x <= 0) + np.where(x > 0, 1.0, 0.0)
    return _chain(dy, x, derivative, 0.0, 1.0)


def sigmoid(x: Array) -> Array:
    r"""Logistic function, from 0 to 1: :math:`\sigma(x) = 1 / (1 + e^{-x})`.

    Spec: ACT-S9; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.

    Returns
    -------
    ndarray
        Of the same shape. sigmoid(−Inf) = 0, sigmoid(+Inf) = 1.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Logistic Regression".

    Examples
    --------
    >>> sigmoid(np.array([-745.0, 0.0, 2.0])).tolist()
    [5e-324, 0.5, 0.8807970779778824]
    """
    x = _floats("sigmoid", x)
    y = 1.0 / (1.0 + exp(-Wide.of(x)))
    return _limits(x, y.round(), 0.0, 1.0)


def sigmoid_backward(dy: Array, x: Array) -> Array:
    """Gradient of `sigmoid`: ``dy · σ(x) σ(−x)``.

    Spec: ACT-S10; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `sigmoid` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 0 at ±Inf.

    Examples
    --------
    >>> sigmoid_backward(np.array([8.0, 8.0]), np.array([0.0, 50.0])).tolist()
    [2.0, 1.5429998783711343e-21]
    """
    dy, x = _floats_with_dy("sigmoid", dy, x)
    z = Wide.of(x)
    derivative = 1.0 / ((1.0 + exp(-z)) * (1.0 + exp(z)))
    return _chain(dy, x, derivative, 0.0, 0.0)


def log_sigmoid(x: Array) -> Array:
    r"""Logarithm of the logistic function: :math:`\min(x, 0) - \log(1 + e^{-\lvert x \rvert})`.

    Spec: ACT-S11; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.

    Returns
    -------
    ndarray
        Of the same shape. log_sigmoid(−Inf) = −Inf, log_sigmoid(+Inf) = 0.

    Examples
    --------
    >>> log_sigmoid(np.array([-1000.0, 0.0, 50.0])).tolist()
    [-1000.0, -0.6931471805599453, -1.9287498479639178e-22]
    """
    x = _floats("log_sigmoid", x)
    y = np.minimum(x, 0.0) - log1p(exp(-abs(Wide.of(x))))
    return _limits(x, y.round(), -np.inf, 0.0)


def log_sigmoid_backward(dy: Array, x: Array) -> Array:
    """Gradient of `log_sigmoid`: ``dy · σ(−x)``.

    Spec: ACT-S12; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `log_sigmoid` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 1 at −Inf and 0 at +Inf.

    Examples
    --------
    >>> log_sigmoid_backward(np.array([8.0, 8.0]), np.array([0.0, -50.0])).tolist()
    [4.0, 8.0]
    """
    dy, x = _floats_with_dy("log_sigmoid", dy, x)
    derivative = 1.0 / (1.0 + exp(Wide.of(x)))
    return _chain(dy, x, derivative, 1.0, 0.0)


def tanh(x: Array) -> Array:
    r"""Hyperbolic tangent, from −1 to 1: :math:`(e^{2x} - 1) / (e^{2x} + 1)`.

    Spec: ACT-S15; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.

    Returns
    -------
    ndarray
        Of the same shape. At ±Inf it is ±1; tanh(−0) = −0.

    Examples
    --------
    >>> tanh(np.array([-1e-20, 0.5, 100.0])).tolist()
    [-1e-20, 0.46211715726000974, 1.0]
    """
    x = _floats("tanh", x)
    growth = expm1(2.0 * Wide.of(x))  # e^2x − 1
    y = growth / (growth + 2.0)
    return _limits(x, np.where(x == 0, x, y.round()), -1.0, 1.0)


def tanh_backward(dy: Array, x: Array) -> Array:
    r"""Gradient of `tanh`: :math:`dy / \cosh^2 x = dy \cdot 4 / (e^x + e^{-x})^2`.

    Spec: ACT-S16; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `tanh` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 0 at ±Inf.

    Examples
    --------
    >>> tanh_backward(np.array([8.0, 8.0]), np.array([0.0, 20.0])).tolist()
    [8.0, 1.3594733616933084e-16]
    """
    dy, x = _floats_with_dy("tanh", dy, x)
    twice_cosh = exp(Wide.of(x)) + exp(-Wide.of(x))
    derivative = 4.0 / (twice_cosh * twice_cosh)
    return _chain(dy, x, derivative, 0.0, 0.0)


def softplus(x: Array) -> Array:
    r"""Smooth rectifier: :math:`\log(1 + e^x) = \max(x, 0) + \log(1 + e^{-\lvert x \rvert})`.

    Spec: ACT-S19; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.

    Returns
    -------
    ndarray
        Of the same shape. softplus(−Inf) = 0, softplus(+Inf) = +Inf.

    References
    ----------
    .. [1] C. Dugas et al., "Incorporating second-order functional knowledge for better option pricing", NIPS
       2000.

    Examples
    --------
    >>> softplus(np.array([-50.0, 0.0, 1000.0])).tolist()
    [1.9287498479639178e-22, 0.6931471805599453, 1000.0]
    """
    x = _floats("softplus", x)
    y = np.maximum(x, 0.0) + log1p(exp(-abs(Wide.of(x))))
    return _limits(x, y.round(), 0.0, np.inf)


def softplus_backward(dy: Array, x: Array) -> Array:
    """Gradient of `softplus`: ``dy · σ(x)``.

    Spec: ACT-S20; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `softplus` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 0 at −Inf and 1 at +Inf.

    Examples
    --------
    >>> softplus_backward(np.array([8.0, 8.0]), np.array([0.0, 50.0])).tolist()
    [4.0, 8.0]
    """
    dy, x = _floats_with_dy("softplus", dy, x)
    derivative = 1.0 / (1.0 + exp(-Wide.of(x)))
    return _chain(dy, x, derivative, 0.0, 1.0)


def silu(x: Array) -> Array:
    r"""Sigmoid linear unit, also called swish: :math:`x \sigma(x) = x / (1 + e^{-x})`.

    Spec: ACT-S23; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.

    Returns
    -------
    ndarray
        Of the same shape. silu(−Inf) = 0, silu(+Inf) = +Inf, silu(−0) = −0.

    References
    ----------
    .. [1] S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-weighted linear units for neural network function
       approximation in reinforcement learning", Neural Networks 107 (2018), arXiv:1702.03118.

    Examples
    --------
    >>> silu(np.array([-50.0, -1.0, 2.0])).tolist()
    [-9.643749239819589e-21, -0.2689414213699951, 1.7615941559557649]
    """
    x = _floats("silu", x)
    z = Wide.of(x)
    y = z / (1.0 + exp(-z))
    return _limits(x, np.where(x == 0, x, y.round()), -0.0, np.inf)


SILU_MINIMUM = "-1.2784645427610737951093587390229801554394774886197457654531781055350293754599499"


def silu_backward(dy: Array, x: Array) -> Array:
    r"""Gradient of `silu`: :math:`dy\,(\sigma(x) + x \sigma(x) \sigma(-x))`.

    That is :math:`dy\,(1 + x + e^x) \sigma(x) \sigma(-x)`. The derivative is 0 at the minimum of silu, x₀ ≈
    −1.278. Next to it 1 + x + e^x cancels, so it is computed as its difference from its value at x₀, which is
    0: ``(x − x₀) + e^x₀ (e^(x − x₀) − 1)``, two terms of equal sign.

    Spec: ACT-S24; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `silu` was given; one shape, one dtype.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 0 at −Inf and 1 at +Inf.

    Examples
    --------
    >>> silu_backward(np.array([8.0, 8.0, 8.0]), np.array([-1.2784645427610738, 0.0, 50.0])).tolist()
    [-1.9616063511485664e-16, 4.0, 8.0]
    """
    dy, x = _floats_with_dy("silu", dy, x)
    z = Wide.of(np.clip(x, -4000.0, 4000.0))  # out there the derivative has reached its limit, times any dy
    step = distance(z, SILU_MINIMUM)
    rise = step + exp(Wide.constant(SILU_MINIMUM)) * expm1(step)  # 1 + x + e^x
    derivative = rise / ((1.0 + exp(-z)) * (1.0 + exp(z)))
    return _chain(dy, x, derivative, 0.0, 1.0)


ROOT_2 = Wide.constant("1.41421356237309504880168872420969807856967187537694807317668")
ROOT_2_PI = Wide.constant("2.50662827463100050241576528481104525300698674060993831662992")
GELU_MINIMUM = "-0.75179152469356445745790494677952403966447115342345384838653956562084626579734695"
TANH_GELU_MINIMUM = "-0.75246142207101625848795444328891609060539217803762927064177339268369252236759801"
TANH_GELU_SCALE = Wide.constant("1.5957691216057307117597842397375274739034345246597386306637")  # 2 √(2/π)
TANH_GELU_CUBIC = Wide.constant("0.044715")


def gelu(x: Array, *, approximate: str = "none") -> Array:
    r"""Gaussian error linear unit: :math:`x \Phi(x)`, Φ being the standard normal distribution function.

    ``approximate="none"``: :math:`\Phi(x) = \tfrac12 \operatorname{erfc}(-x/\sqrt2)`.
    ``approximate="tanh"``: instead of Φ, :math:`\tfrac12 (1 + \tanh u) = \sigma(2u)` with
    :math:`u = \sqrt{2/\pi}\,(x + 0.044715 x^3)`.

    Spec: ACT-S21; special values ACT-X2.

    Parameters
    ----------
    x : ndarray
        Floats, any shape.
    approximate : {"none", "tanh"}
        Which of the two functions.

    Returns
    -------
    ndarray
        Of the same shape. gelu(−Inf) = 0, gelu(+Inf) = +Inf, gelu(−0) = −0.

    References
    ----------
    .. [1] D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415, 2016.

    Examples
    --------
    >>> gelu(np.array([-38.0, -1.0, 2.0])).tolist()
    [-1.096462777e-314, -0.15865525393145705, 1.9544997361036416]
    >>> gelu(np.array([-1.0, 2.0]), approximate="tanh").tolist()
    [-0.1588080093917233, 1.954597694087775]
    """
    check_parameters(approximate=approximate)
    x = _floats("gelu", x)
    z = Wide.of(x)
    y = z / (1.0 + exp(-_tanh_gelu_argument(z))) if approximate == "tanh" else z * _normal_distribution(z)
    return _limits(x, np.where(x == 0, x, y.round()), -0.0, np.inf)


def gelu_backward(dy: Array, x: Array, *, approximate: str = "none") -> Array:
    r"""Gradient of `gelu`: :math:`dy\,(\Phi(x) + x \varphi(x))`, φ = Φ′; the tanh form likewise.

    Spec: ACT-S22; special values ACT-X3.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `gelu` was given; one shape, one dtype.
    approximate : {"none", "tanh"}
        As there.

    Returns
    -------
    ndarray
        Of the same shape. The derivative is 0 at −Inf and 1 at +Inf.

    Examples
    --------
    >>> gelu_backward(np.array([8.0, 8.0, 8.0]), np.array([-0.7517915246935645, 0.0, 50.0])).tolist()
    [-5.1630013834942026e-17, 4.0, 8.0]
    """
    check_parameters(approximate=approximate)
    dy, x = _floats_with_dy("gelu", dy, x)
    derivative = _tanh_gelu_derivative(x) if approximate == "tanh" else _gelu_derivative(x)
    return _chain(dy, x, derivative, 0.0, 1.0)


def _normal_distribution(z: Wide) -> Wide:
    """Φ(z) = erfc(−z/√2)/2."""
    return erfc(-z / ROOT_2) * 0.5


def _normal_density(z: Wide) -> Wide:
    """φ(z) = e^(−z²/2) / √(2π)."""
    return exp(z * z * -0.5) / ROOT_2_PI


def _gelu_derivative(x: Float) -> Wide:
    """Φ(x) + x φ(x); within 2⁻²⁰ of its zero x₀, where the two cancel, its Taylor polynomial around x₀.

    With d = x − x₀ and φ′(t) = −t φ(t) the polynomial is
    φ(x₀) · ((2 − x₀²) d + (x₀³ − 4x₀) d²/2 + (7x₀² − 4 − x₀⁴) d³/6).
    """
    z = Wide.of(x)
    derivative = _normal_distribution(z) + z * _normal_density(z)

    zero = Wide.constant(GELU_MINIMUM)
    d = distance(z, GELU_MINIMUM)
    square = zero * zero
    first = 2.0 - square
    second = (square - 4.0) * zero * 0.5
    third = (square * 7.0 - 4.0 - square * square) / 6.0
    near_zero = _normal_density(zero) * d * (first + d * (second + d * third))

    near = np.abs(d.round()) < 2.0**-20
    return near_zero.where(near) + derivative.where(~near)


def _tanh_gelu_argument(z: Wide) -> Wide:
    """2u = 2 √(2/π) (x + 0.044715 x³): the tanh form of GELU is x σ(2u)."""
    return TANH_GELU_SCALE * z * (1.0 + TANH_GELU_CUBIC * z * z)


def _tanh_gelu_derivative(x: Float) -> Wide:
    """σ(v) + x v′ σ(v) σ(−v) = (1 + x v′ + e^v) σ(v) σ(−v), v = 2u.

    As with `silu_backward`, the bracket is computed as its difference from its value at its zero x₀, which is
    0. With d = x − x₀ and q = x² + x x₀ + x₀² > 0, so that x³ − x₀³ = d q, the differences are

    - of v = s (x + k x³):       s d (1 + k q)
    - of x v′ = s (x + 3k x³):   s d (1 + 3k q)
    - of e^v:                    e^v₀ (e^(v − v₀) − 1)

    all with the sign of d: nothing cancels.
    """
    z = Wide.of(np.clip(x, -40.0, 40.0))  # out there the derivative has reached its limit, times any dy
    zero = Wide.constant(TANH_GELU_MINIMUM)
    d = distance(z, TANH_GELU_MINIMUM)
    q = z * z + z * zero + zero * zero
    v_step = TANH_GELU_SCALE * d * (1.0 + TANH_GELU_CUBIC * q)
    slope_step = TANH_GELU_SCALE * d * (1.0 + TANH_GELU_CUBIC * q * 3.0)
    rise = slope_step + exp(_tanh_gelu_argument(zero)) * expm1(v_step)  # 1 + x v′ + e^v
    v = _tanh_gelu_argument(z)
    return rise / ((1.0 + exp(-v)) * (1.0 + exp(v)))


# ------------------------------------------------------------------------------------------------------------
# Functions of a whole row.


class _Rows(NamedTuple):
    """The parts of a softmax along the last axis."""

    valid: Array  # (..., 1): whether the row has a finite maximum; without one, its softmax is undefined
    shifted: Wide  # (..., n): x − max x, which no softmax notices
    weight: Wide  # (..., n): e^(x − max x)
    excess: Wide  # (..., 1): Σ weight − 1, without the 1 of the maximum: however small, it keeps its digits

    def softmax(self) -> Wide:
        return self.weight / (1.0 + self.excess)


def _rows(x: Float) -> _Rows:
    """Prepare the softmax of x along its last axis."""
    maximum = np.max(x, axis=-1, keepdims=True, initial=-np.inf)
    valid = np.isfinite(maximum)  # no NaN, no +Inf, and not −Inf alone
    shifted = Wide.of(x) - Wide.of(maximum)
    present = (x > -np.inf) | ~valid  # an undefined row must not divide by 0 on its way to NaN
    weight = exp(shifted).where(present)
    is_maximum = x == maximum
    is_first_maximum = is_maximum & (np.cumsum(is_maximum, axis=-1) == 1)
    return _Rows(valid, shifted, weight, excess=weight.where(~is_first_maximum).total())


def softmax(x: Array, *, axis: int = -1) -> Array:
    r"""Turn rows of numbers into rows of probabilities: :math:`s_i = e^{x_i} / \sum_j e^{x_j}`.

    Spec: ACT-S25; special values ACT-X5.

    Parameters
    ----------
    x : ndarray
        Floats, of at least one axis.
    axis : int
        The axis along which a row lies.

    Returns
    -------
    ndarray
        Of the same shape. An entry −Inf gets probability 0. A row with a NaN or +Inf, or of −Inf alone, is
        NaN.

    References
    ----------
    .. [1] J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs", in
       *Neurocomputing*, Springer 1990.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1000.0, -np.inf]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    x = _floats("softmax", x)
    axis = row_axis(x.shape, axis)
    rows = _rows(np.moveaxis(x, axis, -1))
    s = np.where(rows.valid, rows.softmax().round(), np.nan)
    return np.moveaxis(s, -1, axis)


def softmax_backward(dy: Array, x: Array, *, axis: int = -1) -> Array:
    r"""Gradient of `softmax`: :math:`dx_i = s_i (dy_i - \sum_j s_j dy_j)`.

    The difference may cancel. It is computed with 80 bits, so that dx is within 2 units in its last place
    plus 2⁻⁷⁵ · s_i (\|dy_i\| + Σ s_j \|dy_j\|).

    Spec: ACT-S26; special values ACT-X6.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `softmax` was given; one shape, one dtype.
    axis : int
        As there.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.0, 0.0]))
    array([ 0.25, -0.25])
    """
    dy, x = _floats_with_dy("softmax", dy, x)
    axis = row_axis(x.shape, axis)
    dy, x = np.moveaxis(dy, axis, -1), np.moveaxis(x, axis, -1)
    rows = _rows(x)
    s, g = rows.softmax(), Wide.of(dy)
    dx = (s * (g - (s * g).total())).round()
    with np.errstate(invalid="ignore", over="ignore"):
        special = s.round() * (dy - np.sum(s.round() * dy, axis=-1, keepdims=True))
    dx = np.where(np.isfinite(dy).all(axis=-1, keepdims=True), dx, special)
    return np.moveaxis(np.where(rows.valid, dx, np.nan), -1, axis)


def log_softmax(x: Array, *, axis: int = -1) -> Array:
    r"""Logarithm of `softmax`: :math:`x_i - m - \log \sum_j e^{x_j - m}`, where m is the maximum of the row.

    The sum is 1 (from the maximum) plus the rest, so its logarithm is log1p(rest): also where one entry
    dominates, and the result is next to 0, every digit is right.

    Spec: ACT-S27; special values ACT-X5.

    Parameters
    ----------
    x : ndarray
        Floats, of at least one axis.
    axis : int
        The axis along which a row lies.

    Returns
    -------
    ndarray
        Of the same shape. An entry −Inf gives −Inf. A row with a NaN or +Inf, or of −Inf alone, is NaN.

    Examples
    --------
    >>> log_softmax(np.array([0.0, 0.0])).tolist()
    [-0.6931471805599453, -0.6931471805599453]
    >>> log_softmax(np.array([100.0, 0.0])).tolist()
    [-3.720075976020836e-44, -100.0]
    """
    x = _floats("log_softmax", x)
    axis = row_axis(x.shape, axis)
    x = np.moveaxis(x, axis, -1)
    rows = _rows(x)
    y = (rows.shifted - log1p(rows.excess)).round()
    y = np.where(x == -np.inf, -np.inf, y)
    return np.moveaxis(np.where(rows.valid, y, np.nan), -1, axis)


def log_softmax_backward(dy: Array, x: Array, *, axis: int = -1) -> Array:
    r"""Gradient of `log_softmax`: :math:`dx_i = dy_i - s_i \sum_j dy_j` with s = softmax(x).

    The difference may cancel. It is computed with 80 bits, so that dx is within 2 units in its last place
    plus 2⁻⁷⁵ · (\|dy_i\| + s_i Σ \|dy_j\|).

    Spec: ACT-S28; special values ACT-X6.

    Parameters
    ----------
    dy, x : ndarray
        The gradient of the result, and what `log_softmax` was given; one shape, one dtype.
    axis : int
        As there.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> log_softmax_backward(np.array([1.0, 0.0]), np.array([0.0, 0.0]))
    array([ 0.5, -0.5])
    """
    dy, x = _floats_with_dy("log_softmax", dy, x)
    axis = row_axis(x.shape, axis)
    dy, x = np.moveaxis(dy, axis, -1), np.moveaxis(x, axis, -1)
    rows = _rows(x)
    s, g = rows.softmax(), Wide.of(dy)
    dx = (g - s * g.total()).round()
    with np.errstate(invalid="ignore", over="ignore"):
        special = dy - s.round() * np.sum(dy, axis=-1, keepdims=True)
    dx = np.where(np.isfinite(dy).all(axis=-1, keepdims=True), dx, special)
    return np.moveaxis(np.where(rows.valid, dx, np.nan), -1, axis)


def maxout(x: Array, *, pieces: int = 2, axis: int = -1) -> Array:
    """Maxout: the maximum of each group of `pieces` consecutive values.

    Fed with several linear functions of the same inputs, it is a convex piecewise linear function of them.

    Spec: ACT-S29; special values ACT-X7.

    Parameters
    ----------
    x : ndarray
        Floats or fractions. The axis has length pieces · G and is read as G groups.
    pieces : int
        Values per group, at least 1.
    axis : int
        The axis along which the groups lie.

    Returns
    -------
    ndarray
        Of the shape of `x`, but with length G along the axis. A NaN in a group makes its maximum NaN.

    References
    ----------
    .. [1] I. J. Goodfellow et al., "Maxout networks", ICML 2013, arXiv:1302.4389.
    .. [2] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Unit".

    Examples
    --------
    >>> maxout(np.array([1.0, 5.0, -2.0, -3.0]))
    array([ 5., -2.])
    """
    x = _numbers(x)
    groups, along = _groups(x, pieces, axis)
    return np.asarray(groups.max(axis=along))


def maxout_backward(dy: Array, x: Array, *, pieces: int = 2, axis: int = -1) -> Array:
    """Gradient of `maxout`: dy goes to the first maximum of its group, 0 to the others.

    A NaN counts as the maximum.

    Spec: ACT-S30; special values ACT-X7, ACT-X8.

    Parameters
    ----------
    dy : ndarray
        The gradient of the result, of its shape, and of the dtype of `x`.
    x : ndarray
        What `maxout` was given.
    pieces, axis : int
        As there.

    Returns
    -------
    ndarray
        Of the shape of `x`.

    Examples
    --------
    >>> maxout_backward(np.array([7.0, 8.0]), np.array([1.0, 5.0, 3.0, 3.0]))
    array([0., 7., 8., 0.])
    """
    check_numbers("ACT-C1", "x", x)
    dy, x = _numbers_with_dy(dy, x, maxout_shape(x.shape, pieces=pieces, axis=axis))
    groups, along = _groups(x, pieces, axis)
    winner = np.expand_dims(groups.argmax(axis=along), along)  # the first maximum; NaN is the largest of all
    dx = np.full(groups.shape, like(x, 0))
    np.put_along_axis(dx, winner, np.expand_dims(dy, along), along)
    return dx.reshape(x.shape)


def _groups(x: Array, pieces: int, axis: int) -> tuple[Array, int]:
    """Return x with its axis split into (groups, pieces), and which axis the pieces are."""
    shape = maxout_shape(x.shape, pieces=pieces, axis=axis)
    along = row_axis(x.shape, axis) + 1
    return x.reshape(*shape[:along], int(pieces), *shape[along:]), along
