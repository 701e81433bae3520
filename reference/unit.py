r"""Unit: what transforms the weighted data that comes into one place of a layer.

A unit turns the weighted inputs of a layer into the values that the next layer sees. Most units are one
activation function and nothing more, such as `relu` or `sigmoid` (`gaugeblock.reference.activation`). A unit
can also be more:

- a *maxout* unit takes in several weighted sums and keeps the largest;
- an *LSTM unit*, `lstm_unit` here, is four activations with a fixed wiring between them and a memory, the
  cell, which it hands from one step of a sequence to the next.

What a unit must know of its layer is only how many weighted sums it takes in, `Unit.incoming`. Pooling and
convolution are not units: they say which inputs meet, not what becomes of a weighted sum. The types say so,
and a layer takes nothing but a unit in the place of one (`gaugeblock.reference.layer`).

**The LSTM unit.** At every step there are four weighted sums of the input :math:`x_t` and of the unit's own
last output :math:`h_{t-1}`. Three of them open and close gates, numbers between 0 and 1: the input gate
:math:`i`, the forget gate :math:`f` and the output gate :math:`o`. The fourth makes the candidate :math:`g`.

.. math::

    c_t = f \cdot c_{t-1} + i \cdot g, \qquad h_t = o \cdot \tanh c_t

While :math:`f` is 1 and :math:`i` is 0, the cell keeps its value through any number of steps, and so does the
gradient on its way back, whose factor from step to step is :math:`f`. That is why such units remember over
hundreds of steps.

Spec: page 7, Unit.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Unit"; S. Hochreiter,
J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); F. A. Gers, J. Schmidhuber, F. Cummins,
"Learning to forget: continual prediction with LSTM", Neural Computation 12 (2000), for the forget gate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gaugeblock import reference
from gaugeblock.reference import activation
from gaugeblock.reference._arguments import Array, Shape, check_numbers, check_same_dtype, widened
from gaugeblock.reference.activation import sigmoid, sigmoid_backward, tanh, tanh_backward

__all__ = [
    "LSTM",
    "Activation",
    "Feedforward",
    "Maxout",
    "Operations",
    "Threshold",
    "Unit",
    "lstm_unit",
    "lstm_unit_backward",
    "lstm_unit_gradients",
]

# ------------------------------------------------------------------------------------------------------------
# The types

Operations: TypeAlias = Any
"""Where operations are taken from: the reference, or a module with functions of the same names."""


class Unit(ABC):
    """A transformation of weighted data."""

    @property
    @abstractmethod
    def incoming(self) -> int:
        """How many weighted sums one unit takes in."""


class Feedforward(Unit):
    """A unit that sees weighted data once: no memory.

    The weighted data of K units lie along one axis, which is ``K · incoming`` long; there, a unit's sums are
    neighbours.
    """

    @abstractmethod
    def forward(self, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Transform weighted data.

        Parameters
        ----------
        z : ndarray
            Weighted data.
        axis : int
            The axis along which the units of the layer lie.
        on : module
            Where the operations are taken from.

        Returns
        -------
        ndarray
            With one value for each unit along the axis.
        """

    @abstractmethod
    def backward(self, dy: Array, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return the gradient of the weighted data `z` from the gradient `dy` of the result."""


@dataclass(frozen=True)
class Activation(Feedforward):
    """A unit that is one activation function: the usual case.

    Attributes
    ----------
    name : str
        That of the function in `gaugeblock.reference`.
    parameters : mapping
        Its other arguments.

    Raises
    ------
    ValueError
        UNIT-C5: there is no such activation function. Pooling and convolution are none.

    Examples
    --------
    >>> Activation("leaky_relu", {"negative_slope": 0.5}).forward(np.array([-2.0, 3.0]))
    array([-1.,  3.])
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [name for name in activation.__all__ if not name.endswith("_backward") and name != "maxout"]
        if self.name not in known:
            raise ValueError(
                f"UNIT-C5: {self.name!r} is no activation function, expected one of {', '.join(known)}"
            )

    @property
    def incoming(self) -> int:
        """One."""
        return 1

    def forward(self, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return f(z)."""
        result: Array = getattr(on, self.name)(z, **self._arguments(axis))
        return result

    def backward(self, dy: Array, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return dy·f′(z)."""
        result: Array = getattr(on, f"{self.name}_backward")(dy, z, **self._arguments(axis))
        return result

    def _arguments(self, axis: int) -> dict[str, Any]:
        """Return the function's arguments; only a function of rows is told the axis."""
        return {**({"axis": axis} if self.name.endswith("softmax") else {}), **self.parameters}


@dataclass(frozen=True)
class Maxout(Feedforward):
    """A unit that takes in several weighted sums and hands on the largest.

    With an activation as its `transform` it hands on the largest of what that makes of the sums (UNIT-S6).
    Where the transform rises everywhere this is the transform of the largest sum, and nothing new (UNIT-I4).

    Attributes
    ----------
    pieces : int
        How many.
    transform : Activation, optional
        A function of single numbers.

    Raises
    ------
    ValueError
        UNIT-C7: the transform is no activation of single numbers.

    Examples
    --------
    >>> Maxout(3).forward(np.array([[1.0, 5.0, 2.0, -1.0, -2.0, -3.0]]))
    array([[ 5., -1.]])
    >>> Maxout(2, Activation("leaky_relu", {"negative_slope": -1.0})).forward(np.array([[-3.0, 2.0]]))
    array([[3.]])
    """

    pieces: int = 2
    transform: Activation | None = None

    def __post_init__(self) -> None:
        known = isinstance(self.transform, Activation) and not self.transform.name.endswith("softmax")
        if self.transform is not None and not known:
            raise ValueError(
                f"UNIT-C7: transform must be an activation of single numbers, got {self.transform!r}"
            )

    @property
    def incoming(self) -> int:
        """As many as there are pieces."""
        return self.pieces

    def forward(self, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return the largest of each unit's sums, or of what the transform makes of them."""
        result: Array = on.maxout(self._transformed(z, on), pieces=self.pieces, axis=axis)
        return result

    def backward(self, dy: Array, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return dy at the sum that was the largest, times the slope of the transform; 0 at the others."""
        result: Array = on.maxout_backward(dy, self._transformed(z, on), pieces=self.pieces, axis=axis)
        return self.transform.backward(result, z, on=on) if self.transform else result

    def _transformed(self, z: Array, on: Operations) -> Array:
        return self.transform.forward(z, on=on) if self.transform else z


@dataclass(frozen=True)
class Threshold(Feedforward):
    """A perceptron's unit: 1 where the weighted data exceed 0, else 0.

    It is here for its history. Its derivative is 0 wherever it has one, so no error signal passes back
    through it, and a network of such units cannot be trained by one.

    Examples
    --------
    >>> unit = Threshold()
    >>> unit.forward(np.array([-1.0, 0.0, 2.0])), unit.backward(np.ones(3), np.array([-1.0, 0.0, 2.0]))
    (array([0., 0., 1.]), array([0., 0., 0.]))
    """

    @property
    def incoming(self) -> int:
        """One."""
        return 1

    def forward(self, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return 1 where z > 0, else 0; NaN for NaN."""
        (z,) = widened("UNIT-C6", z=z)
        return np.where(z != z, z, (z > 0) * (z**0))  # z⁰ is 1 in the kind of number that z is

    def backward(self, dy: Array, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return zeros."""
        dy, z = widened("UNIT-C6", dy=dy, z=z)
        return z * 0 if z.dtype == object else np.zeros_like(z)


@dataclass(frozen=True)
class LSTM(Unit):
    """A unit with a memory: three gates decide what enters the cell, what stays and what is shown.

    Its sums are those of the input gate, the forget gate, the candidate and the output gate, in this order.
    It works on sequences, through `lstm_unit`; `gaugeblock.reference.layer.Recurrent` connects it.
    """

    @property
    def incoming(self) -> int:
        """Four."""
        return 4


# ------------------------------------------------------------------------------------------------------------
# The LSTM unit. Rules for arguments: they need only shapes, so that an implementation elsewhere can refuse
# the same calls in the same words.

INPUT, FORGET, CANDIDATE, OUTPUT = range(4)
"""The gates in the order of the leading axis of the weights and the bias (UNIT-D3)."""


def lstm_unit_shape(x: Shape, h: Shape, c: Shape, w: Shape, u: Shape, bias: Shape) -> Shape:
    """Return the shape of ``lstm_unit(x, h, c, w, u, bias)`` from those of its arrays.

    Parameters
    ----------
    x, h, c, w, u, bias : tuple of int
        The shapes.

    Returns
    -------
    tuple of int
        (2, T, N, H).

    Raises
    ------
    ValueError
        UNIT-C1: an array has another number of axes. UNIT-C2: two sizes differ, or there are not four gates.

    Examples
    --------
    >>> lstm_unit_shape((7, 2, 3), (2, 5), (2, 5), (4, 5, 3), (4, 5, 5), (4, 5))
    (2, 7, 2, 5)
    >>> lstm_unit_shape((7, 2, 3), (2, 5), (2, 5), (4, 5, 5), (4, 5, 5), (4, 5))
    Traceback (most recent call last):
        ...
    ValueError: UNIT-C2: w has shape (4, 5, 5), expected (4, H, D) = (4, 5, 3)
    """
    shapes = {"x": x, "h": h, "c": c, "w": w, "u": u, "bias": bias}
    for name, axes in (("x", 3), ("h", 2), ("c", 2), ("w", 3), ("u", 3), ("bias", 2)):
        if len(shapes[name]) != axes:
            raise ValueError(f"UNIT-C1: {name} must have {axes} axes, got shape {tuple(shapes[name])}")
    T, N, D = x
    H = h[1]
    expected = {
        "h": ("(N, H)", (N, H)),
        "c": ("(N, H)", (N, H)),
        "w": ("(4, H, D)", (4, H, D)),
        "u": ("(4, H, H)", (4, H, H)),
        "bias": ("(4, H)", (4, H)),
    }
    for name, (letters, sizes) in expected.items():
        if tuple(shapes[name]) != sizes:
            raise ValueError(f"UNIT-C2: {name} has shape {tuple(shapes[name])}, expected {letters} = {sizes}")
    return 2, T, N, H


def lstm_unit_backward_shape(
    dy: Shape, x: Shape, h: Shape, c: Shape, w: Shape, u: Shape, bias: Shape
) -> Shape:
    """Return the shape of ``lstm_unit_backward(dy, x, h, c, w, u, bias)``: (5, T, N, H).

    Raises
    ------
    ValueError
        As `lstm_unit_shape`, and UNIT-C4: dy has not the shape of the forward result.

    Examples
    --------
    >>> lstm_unit_backward_shape(
    ...     (2, 7, 2, 5), (7, 2, 3), (2, 5), (2, 5), (4, 5, 3), (4, 5, 5), (4, 5)
    ... )
    (5, 7, 2, 5)
    """
    forward = lstm_unit_shape(x, h, c, w, u, bias)
    if tuple(dy) != forward:
        raise ValueError(f"UNIT-C4: dy has shape {tuple(dy)}, the forward result has shape {forward}")
    return (5, *forward[1:])


def _floats(**arrays: Array) -> list[Array]:
    """Return the arrays as float64; e^x of a fraction is no fraction."""
    values = widened("UNIT-C3", **arrays)
    if values[0].dtype == object:
        raise TypeError("UNIT-C3: the gates of fractions are no fractions; all arrays must hold floats")
    return values


# ------------------------------------------------------------------------------------------------------------
# The operations


class _Run(NamedTuple):
    """All steps of the unit."""

    z: Array  # (4, T, N, H): the weighted data
    gates: Array  # (4, T, N, H): i, f, g and o
    c: Array  # (T, N, H)
    tanh_c: Array
    h: Array


def _run(x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array) -> _Run:
    """Take one step after the other from the state (h, c)."""
    H, steps = h.shape[1], x.shape[:2]
    run = _Run(*(np.empty((*gates, *steps, H)) for gates in ((4,), (4,), (), (), ())))
    for t, inputs in enumerate(x):
        z = run.z[:, t] = inputs @ np.swapaxes(w, 1, 2) + h @ np.swapaxes(u, 1, 2) + bias[:, np.newaxis]
        i, f, o = sigmoid(z[[INPUT, FORGET, OUTPUT]])
        g = tanh(z[CANDIDATE])
        c = f * c + i * g
        tanh_c = tanh(c)
        h = o * tanh_c
        run.gates[:, t], run.c[t], run.tanh_c[t], run.h[t] = (i, f, g, o), c, tanh_c, h
    return run


def _slopes(z: Array) -> Array:
    """Return the derivatives of the gates at their weighted data."""
    slopes = sigmoid_backward(np.ones_like(z), z)
    slopes[CANDIDATE] = tanh_backward(np.ones_like(z[CANDIDATE]), z[CANDIDATE])
    return slopes


def lstm_unit(x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array) -> Array:
    r"""Run LSTM units along a sequence.

    With the weighted data :math:`z = W x_t + U h_{t-1} + b` of the four gates, each step is

    .. math::

        i = \sigma(z_i), \quad f = \sigma(z_f), \quad g = \tanh z_g, \quad o = \sigma(z_o), \qquad
        c_t = f \cdot c_{t-1} + i \cdot g, \quad h_t = o \cdot \tanh c_t

    Spec: UNIT-S1, UNIT-S3 to UNIT-S5; special values UNIT-X1, UNIT-X2.

    Parameters
    ----------
    x : ndarray, shape (T, N, D)
        The inputs of T steps, for N examples. T = 1 is a single step.
    h, c : ndarray, shape (N, H)
        The state before the first step: outputs and cells of H units.
    w : ndarray, shape (4, H, D)
        Weights of the inputs, for the input gate, the forget gate, the candidate and the output gate, in this
        order.
    u : ndarray, shape (4, H, H)
        Weights of the outputs of the step before.
    bias : ndarray, shape (4, H)
        What is added to the weighted data.

    Returns
    -------
    ndarray, shape (2, T, N, H)
        The outputs h_t and the cells c_t of every step. To go on later, hand the last of both over as `h` and
        `c`.

    Raises
    ------
    ValueError
        UNIT-C1, UNIT-C2: the shapes do not fit (see `lstm_unit_shape`).
    TypeError
        UNIT-C3: an argument is no array of floats, or the dtypes differ.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Unit".
    .. [2] S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).
    .. [3] F. A. Gers, J. Schmidhuber, F. Cummins, "Learning to forget: continual prediction with LSTM",
       Neural Computation 12 (2000): the forget gate.

    Examples
    --------
    One unit that keeps what it has: the input gate is closed, the forget gate open.

    >>> import numpy as np
    >>> from gaugeblock.reference import lstm_unit
    >>> x, zero = np.ones((300, 1, 1)), np.zeros((4, 1, 1))
    >>> shut, open_ = -50.0, 50.0
    >>> bias = np.array([[shut], [open_], [0.0], [open_]])
    >>> outputs, cells = lstm_unit(x, np.zeros((1, 1)), np.full((1, 1), 0.75), zero, zero, bias)
    >>> cells[[0, 99, 299], 0, 0]
    array([0.75, 0.75, 0.75])

    The same with the input gate open: the cell counts the steps.

    >>> bias = np.array([[open_], [open_], [open_], [open_]])
    >>> lstm_unit(x, np.zeros((1, 1)), np.zeros((1, 1)), zero, zero, bias)[1, [0, 99, 299], 0, 0]
    array([  1., 100., 300.])
    """
    x, h, c, w, u, bias = _floats(x=x, h=h, c=c, w=w, u=u, bias=bias)
    lstm_unit_shape(x.shape, h.shape, c.shape, w.shape, u.shape, bias.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        run = _run(x, h, c, w, u, bias)
    return np.stack([run.h, run.c])


def lstm_unit_backward(dy: Array, x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array) -> Array:
    r"""Gradient of `lstm_unit` with respect to the weighted data of the gates, and to the cells.

    From the last step to the first, with :math:`dh` and :math:`dc` collected from `dy` and from the step
    after,

    .. math::

        dh_t &= dy^h_t + \sum_k U_k^T \, dz_{k, t+1}, \qquad
        dc_t = dy^c_t + f_{t+1} \cdot dc_{t+1} + dh_t \cdot o \cdot (1 - \tanh^2 c_t) \\
        dz_o &= dh_t \cdot \tanh c_t \cdot \sigma'(z_o), \quad
        dz_i = dc_t \cdot g \cdot \sigma'(z_i), \quad
        dz_f = dc_t \cdot c_{t-1} \cdot \sigma'(z_f), \quad
        dz_g = dc_t \cdot i \cdot \tanh'(z_g)

    All other gradients are sums of products with these: `lstm_unit_gradients`.

    Spec: UNIT-S2; special values UNIT-X1, UNIT-X3.

    Parameters
    ----------
    dy : ndarray, shape (2, T, N, H)
        Gradient of the forward result: of its outputs, and of its cells.
    x, h, c, w, u, bias : ndarray
        What `lstm_unit` was given.

    Returns
    -------
    ndarray, shape (5, T, N, H)
        [0] to [3]: the gradients of the weighted data of the input gate, the forget gate, the candidate and
        the output gate at each step. [4]: the gradient of the cell that enters each step; its first entry is
        the gradient of `c`.

    Raises
    ------
    ValueError
        UNIT-C1, UNIT-C2, UNIT-C4: the shapes do not fit (see `lstm_unit_backward_shape`).
    TypeError
        UNIT-C3, UNIT-C4: an argument is no array of floats, or the dtypes differ.

    Examples
    --------
    A gradient that enters at the last of 300 steps arrives at the first undiminished where the forget gate
    is open, and hardly at all where it is half open:

    >>> import numpy as np
    >>> from gaugeblock.reference import lstm_unit_backward
    >>> x, state, zero = np.ones((300, 1, 1)), np.zeros((1, 1)), np.zeros((4, 1, 1))
    >>> dy = np.zeros((2, 300, 1, 1))
    >>> dy[1, -1] = 1.0
    >>> for forget in (50.0, 0.0):
    ...     bias = np.array([[0.0], [forget], [0.0], [0.0]])
    ...     print(f"{lstm_unit_backward(dy, x, state, state, zero, zero, bias)[4, 0, 0, 0]:.3g}")
    1
    4.91e-91
    """
    check_numbers("UNIT-C4", "dy", dy)
    check_numbers("UNIT-C3", "x", x)
    check_same_dtype("UNIT-C4", "dy", dy.dtype, "x", x.dtype)
    dy, x, h, c, w, u, bias = _floats(dy=dy, x=x, h=h, c=c, w=w, u=u, bias=bias)
    shapes = (array.shape for array in (dy, x, h, c, w, u, bias))
    result = np.zeros(lstm_unit_backward_shape(*shapes))
    with np.errstate(over="ignore", invalid="ignore"):
        run = _run(x, h, c, w, u, bias)
        slopes, slopes_c = _slopes(run.z), tanh_backward(np.ones_like(run.c), run.c)
        before = np.concatenate([c[np.newaxis], run.c])
        dh_after, dc_after = np.zeros_like(h), np.zeros_like(c)
        for t in reversed(range(len(x))):
            i, f, g, o = run.gates[:, t]
            dh = dy[0, t] + dh_after
            dc = dy[1, t] + dc_after + dh * o * slopes_c[t]
            dz = result[:4, t]
            dz[INPUT] = dc * g * slopes[INPUT, t]
            dz[FORGET] = dc * before[t] * slopes[FORGET, t]
            dz[CANDIDATE] = dc * i * slopes[CANDIDATE, t]
            dz[OUTPUT] = dh * run.tanh_c[t] * slopes[OUTPUT, t]
            result[4, t] = dc_after = dc * f
            dh_after = np.sum(dz @ u, axis=0)
    return result


class LstmGradients(NamedTuple):
    """The gradients of all arguments of `lstm_unit`, each of the shape of its argument."""

    x: Array
    h: Array
    c: Array
    w: Array
    u: Array
    bias: Array


def lstm_unit_gradients(
    dz: Array, y: Array, x: Array, h: Array, c: Array, w: Array, u: Array
) -> LstmGradients:
    r"""Return the gradients of all arguments of `lstm_unit` from those of its weighted data.

    Weighted data are sums of products, so each gradient is one too, a GEMM over what it sums:

    .. math::

        dx_t = \sum_k W_k^T dz_{k,t}, \quad dh = \sum_k U_k^T dz_{k,1}, \quad
        dW_k = \sum_{t,n} dz_{k,t} \, x_t^T, \quad dU_k = \sum_{t,n} dz_{k,t} \, h_{t-1}^T, \quad
        db_k = \sum_{t,n} dz_{k,t}

    Parameters
    ----------
    dz : ndarray, shape (5, T, N, H)
        The result of `lstm_unit_backward`.
    y : ndarray, shape (2, T, N, H)
        The result of `lstm_unit`.
    x, h, c, w, u : ndarray
        What both were given.

    Returns
    -------
    LstmGradients
        A named tuple: x, h, c, w, u, bias. Without steps (T = 0) they are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock.reference import lstm_unit, lstm_unit_backward, lstm_unit_gradients
    >>> x, h, c = np.full((2, 1, 1), 0.5), np.full((1, 1), 0.1), np.full((1, 1), 0.2)
    >>> w, u, bias = np.full((4, 1, 1), 0.3), np.full((4, 1, 1), 0.4), np.zeros((4, 1))
    >>> y = lstm_unit(x, h, c, w, u, bias)
    >>> dz = lstm_unit_backward(np.ones_like(y), x, h, c, w, u, bias)
    >>> found = lstm_unit_gradients(dz, y, x, h, c, w, u)

    The gradient says by how much the sum of the result grows with an argument:

    >>> step = 1e-6
    >>> more = lstm_unit(x, h + step, c, w, u, bias)
    >>> f"{found.h.item():.5f} {np.sum(more - y) / step:.5f}"
    '0.67089 0.67089'
    """
    gates, steps = dz[:4], x.shape[0]
    before = np.concatenate([h[np.newaxis], y[0]])[:steps]
    return LstmGradients(
        x=np.einsum("ktnh,khd->tnd", gates, w),
        h=np.einsum("ktnh,khj->nj", gates[:, :1], u),
        c=np.sum(dz[4, :1], axis=0),
        w=np.einsum("ktnh,tnd->khd", gates, x),
        u=np.einsum("ktnh,tnj->khj", gates, before),
        bias=np.sum(gates, axis=(1, 2)),
    )
