r"""Layer: the container that takes weighted input, transforms it and hands the result on.

A layer is *uniform*. It holds units of one kind, connected in one way: each with everything
(`FullyConnected`), each with a patch, all with the same weights (`Convolutional`), or each with a sequence
and with what the layer handed on before (`Recurrent`). Or it holds no units and only pools (`MaxPooling`,
`AveragePooling`). That makes layers easy to compare, and to put in a row
(`gaugeblock.reference.network`).

A layer is a value: it is never changed, and training makes new ones. ``forward`` returns what it hands on,
with what the way back will need; ``backward`` takes the gradient of what it handed on, and returns those of
what it was given and of its parameters.

Every layer computes ``on`` a module of operations: the reference, or another one with the same names, such as
`gaugeblock.gpu`. Given fractions, layers whose units are piecewise linear are exact.

Spec: page 10, Layer. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section
"Layer".
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple, Self

import numpy as np

from gaugeblock import reference
from gaugeblock.reference._arguments import Array, Shape
from gaugeblock.reference.unit import LSTM, Feedforward, Operations, Unit

__all__ = [
    "AveragePooling",
    "Convolutional",
    "FullyConnected",
    "Layer",
    "MaxPooling",
    "Passed",
    "Recurrent",
    "Weighted",
    "uniform",
]


class Passed(NamedTuple):
    """What went through a layer.

    Attributes
    ----------
    x : ndarray
        What it was given.
    z : ndarray or None
        The weighted data, if it has weights; of LSTM units their states.
    y : ndarray
        What it hands on.
    inside : tuple of tuple of Passed
        What went through the layers inside, branch by branch, if it is a container of layers.
    """

    x: Array
    z: Array | None
    y: Array
    inside: tuple[tuple[Passed, ...], ...] = ()


class Layer(ABC):
    """What takes an array and hands one on."""

    @property
    def parameters(self) -> dict[str, Array]:
        """The arrays that training adjusts, by name; a layer that only pools has none."""
        return {}

    def with_parameters(self, parameters: dict[str, Array]) -> Self:
        """Return this layer with other parameters."""
        return replace(self, **parameters) if parameters else self  # type: ignore[type-var]

    @abstractmethod
    def forward(self, x: Array, *, on: Operations = reference) -> Passed:
        """Take an array with the examples along the first axis, and hand one on."""

    @abstractmethod
    def backward(
        self, dy: Array, passed: Passed, *, on: Operations = reference
    ) -> tuple[Array, dict[str, Array]]:
        """Return the gradients of what went in and of the parameters, from that of what was handed on."""


def uniform(units: Iterable[Unit]) -> Unit:
    """Return the one unit that all units of a layer are.

    Raises
    ------
    ValueError
        LAYER-C1: there is none, or they differ.

    Examples
    --------
    >>> from gaugeblock.reference.unit import Activation
    >>> uniform([Activation("relu"), Activation("relu")]).name
    'relu'
    >>> uniform([Activation("relu"), Activation("tanh")])
    Traceback (most recent call last):
        ...
    ValueError: LAYER-C1: a layer is uniform, but unit 0 is relu and unit 1 is tanh
    """
    held = list(units)
    if not held:
        raise ValueError("LAYER-C1: a layer holds units of one kind, got no unit")
    first, *others = held
    for index, unit in enumerate(others, 1):
        if unit != first:
            found = f"unit 0 is {_named(first)} and unit {index} is {_named(unit)}"
            raise ValueError(f"LAYER-C1: a layer is uniform, but {found}")
    return first


@dataclass(frozen=True)
class Weighted(Layer):
    """A layer of units: its input is weighted, a bias is added, and the units transform that.

    Attributes
    ----------
    weights, bias : ndarray
        The parameters.
    unit : Feedforward
        What all units of the layer are.

    Raises
    ------
    TypeError
        LAYER-C2: `unit` is no unit, as pooling and convolution are none, or it needs a sequence.
    ValueError
        LAYER-C3: the weights do not fit to the bias, or to units that take in several sums.
    """

    weights: Array
    bias: Array
    unit: Feedforward

    def __post_init__(self) -> None:
        if not isinstance(self.unit, Feedforward):
            raise TypeError(f"LAYER-C2: unit must be a unit without memory, got {_named(self.unit)}")
        sums = self.weights.shape[self._units_of_weights] if self.weights.ndim > 1 else -1
        if self.bias.shape != (sums,) or sums % self.unit.incoming:
            raise ValueError(
                f"LAYER-C3: weights has shape {self.weights.shape}, bias has shape {self.bias.shape}; "
                f"expected one bias for each weighted sum, and {self.unit.incoming} sums for each unit"
            )

    @property
    def parameters(self) -> dict[str, Array]:
        """Weights and bias."""
        return {"weights": self.weights, "bias": self.bias}

    def forward(self, x: Array, *, on: Operations = reference) -> Passed:
        """Weigh the input, and transform what comes out."""
        z = self._weigh(x, on)
        return Passed(x, z, self.unit.forward(z, axis=self._units_of_result, on=on))

    def backward(
        self, dy: Array, passed: Passed, *, on: Operations = reference
    ) -> tuple[Array, dict[str, Array]]:
        """Go back through the units, then through the weights."""
        dz = self.unit.backward(dy, passed.z, axis=self._units_of_result, on=on)  # type: ignore[arg-type]
        dx, weights, bias = self._unweigh(dz, passed.x, on)
        return dx, {"weights": weights, "bias": bias}

    _units_of_weights = 0  # the axis of the weights, and of the result, along which units lie
    _units_of_result = 1

    @abstractmethod
    def _weigh(self, x: Array, on: Operations) -> Array:
        """Return the weighted data."""

    @abstractmethod
    def _unweigh(self, dz: Array, x: Array, on: Operations) -> tuple[Array, Array, Array]:
        """Return the gradients of the input, the weights and the bias from that of the weighted data."""


@dataclass(frozen=True)
class FullyConnected(Weighted):
    r"""A layer each of whose units sees the whole input.

    .. math:: z = x W + b, \qquad y = f(z)

    Whatever the input's shape, the values of one example are read as one row.

    Attributes
    ----------
    weights : ndarray, shape (D, K · incoming)
        For each of the D inputs how much it counts in each weighted sum.
    bias : ndarray, shape (K · incoming,)
        How much each sum is before any input counts.
    unit : Feedforward
        What the K units are.

    Examples
    --------
    >>> from gaugeblock.reference.unit import Activation
    >>> layer = FullyConnected(np.array([[1.0, -1.0], [2.0, 0.5]]), np.array([0.0, 1.0]), Activation("relu"))
    >>> layer.forward(np.array([[3.0, 1.0]])).y
    array([[5., 0.]])
    """

    _units_of_weights = 1

    @classmethod
    def initial(
        cls, inputs: int, units: int, unit: Feedforward, generator: np.random.Generator
    ) -> FullyConnected:
        """Return a layer with drawn weights (see `drawn`) and no bias."""
        shape = (inputs, units * unit.incoming)
        return cls(drawn(shape, inputs, unit, generator), np.zeros(shape[1]), unit)

    def _weigh(self, x: Array, on: Operations) -> Array:
        result: Array = on.gemm(_rows(x), self.weights, self.bias, beta=1.0)
        return result

    def _unweigh(self, dz: Array, x: Array, on: Operations) -> tuple[Array, Array, Array]:
        dx = on.gemm(dz, self.weights, transpose_b=True).reshape(x.shape)
        bias = on.gemm(_constant(1, (1, len(dz)), dz), dz)[0]  # the weight of an input that is always 1
        return dx, on.gemm(_rows(x), dz, transpose_a=True), bias


@dataclass(frozen=True)
class Convolutional(Weighted):
    """A layer each of whose units sees a patch of the input, and all units of a map with the same weights.

    Attributes
    ----------
    weights : ndarray, shape (K · incoming, C / groups, ...)
        The kernels; one to three spatial axes.
    bias : ndarray, shape (K · incoming,)
        One for each kernel.
    unit : Feedforward
        What the units of the K maps are.
    stride, padding, dilation, groups
        As for `conv`.

    Examples
    --------
    An edge, found by a rectified difference:

    >>> from gaugeblock.reference.unit import Activation
    >>> layer = Convolutional(np.array([[[-1.0, 1.0]]]), np.zeros(1), Activation("relu"))
    >>> layer.forward(np.array([[[0.0, 0.0, 2.0, 2.0, 0.0]]])).y
    array([[[0., 2., 0., 0.]]])
    """

    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @classmethod
    def initial(
        cls,
        channels: int,
        maps: int,
        kernel: Shape,
        unit: Feedforward,
        generator: np.random.Generator,
        **steps: Any,
    ) -> Convolutional:
        """Return a layer with drawn kernels (see `drawn`) and no bias."""
        inputs = channels // steps.get("groups", 1)
        shape = (maps * unit.incoming, inputs, *kernel)
        return cls(
            drawn(shape, inputs * math.prod(kernel), unit, generator), np.zeros(shape[0]), unit, **steps
        )

    @property
    def _steps(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def _weigh(self, x: Array, on: Operations) -> Array:
        result: Array = on.conv(x, self.weights, self.bias, **self._steps)
        return result

    def _unweigh(self, dz: Array, x: Array, on: Operations) -> tuple[Array, Array, Array]:
        return (
            on.conv_backward_input(dz, self.weights, input_shape=x.shape, **self._steps),
            on.conv_backward_weight(dz, x, kernel_shape=self.weights.shape, **self._steps),
            on.conv_backward_bias(dz),
        )


@dataclass(frozen=True)
class Recurrent(Layer):
    r"""A layer each of whose units sees a sequence, step by step, and what the layer handed on a step before.

    .. math:: z_t = W x_t + U y_{t-1} + b, \qquad y_t = f(z_t)

    with :math:`y_{-1} = 0`. With `LSTM` units f is `lstm_unit`, which has a memory besides.

    Attributes
    ----------
    weights : ndarray, shape (incoming, K, D)
        For each sum that a unit takes in, each of the K units and each of D inputs.
    recurrent : ndarray, shape (incoming, K, K)
        The same for what the layer handed on before.
    bias : ndarray, shape (incoming, K)
    unit : Feedforward or LSTM
        What the units are; of the feedforward ones those that take in one sum.

    Raises
    ------
    TypeError
        LAYER-C2: `unit` is no unit that takes in one sum, nor LSTM.
    ValueError
        LAYER-C3: the shapes do not fit to each other or to the unit.

    Examples
    --------
    A unit that counts the ones which it has seen:

    >>> from gaugeblock.reference.unit import Activation
    >>> one = np.ones((1, 1, 1))
    >>> layer = Recurrent(one, one, np.zeros((1, 1)), Activation("relu"))
    >>> layer.forward(np.array([[[1.0], [0.0], [1.0], [1.0]]])).y.ravel()
    array([1., 1., 2., 3.])
    """

    weights: Array
    recurrent: Array
    bias: Array
    unit: Feedforward | LSTM

    def __post_init__(self) -> None:
        if not isinstance(self.unit, Feedforward | LSTM) or self.unit.incoming not in (1, 4):
            raise TypeError(f"LAYER-C2: unit must take in one sum, or be LSTM, got {_named(self.unit)}")
        K = self.weights.shape[1] if self.weights.ndim == 3 else -1
        expected = {"weights": (self.unit.incoming, K, *self.weights.shape[2:])}
        expected |= {"recurrent": (self.unit.incoming, K, K), "bias": (self.unit.incoming, K)}
        for name, array in self.parameters.items():
            if array.shape != expected[name]:
                raise ValueError(f"LAYER-C3: {name} has shape {array.shape}, expected {expected[name]}")

    @classmethod
    def initial(
        cls, inputs: int, units: int, unit: Feedforward | LSTM, generator: np.random.Generator
    ) -> Recurrent:
        """Return a layer with drawn weights (see `drawn`), and no bias."""
        sums = unit.incoming
        return cls(
            drawn((sums, units, inputs), inputs + units, unit, generator),
            drawn((sums, units, units), inputs + units, unit, generator),
            np.zeros((sums, units)),
            unit,
        )

    @property
    def parameters(self) -> dict[str, Array]:
        """Weights of the input and of the step before, and bias."""
        return {"weights": self.weights, "recurrent": self.recurrent, "bias": self.bias}

    def forward(self, x: Array, *, on: Operations = reference) -> Passed:
        """Take sequences, shape (N, T, D), and hand on sequences, shape (N, T, K)."""
        steps = np.swapaxes(x, 0, 1)
        nothing = _constant(0, (len(x), self.bias.shape[1]), self.bias)
        if isinstance(self.unit, LSTM):
            states = on.lstm_unit(steps, nothing, nothing, *self.parameters.values())
            return Passed(x, states, np.swapaxes(states[0], 0, 1))
        z, y = [], [nothing]
        for inputs in steps:
            sums = on.gemm(inputs, self.weights[0], self.bias[0], transpose_b=True, beta=1.0)
            z.append(on.gemm(y[-1], self.recurrent[0], sums, transpose_b=True, beta=1.0))
            y.append(self.unit.forward(z[-1], axis=1, on=on))
        return Passed(x, _stacked(z, nothing), np.swapaxes(_stacked(y[1:], nothing), 0, 1))

    def backward(
        self, dy: Array, passed: Passed, *, on: Operations = reference
    ) -> tuple[Array, dict[str, Array]]:
        """Go back through the units from the last step to the first, then through the weights."""
        x, y = np.swapaxes(passed.x, 0, 1), np.swapaxes(passed.y, 0, 1)
        nothing = _constant(0, passed.y.shape[::2], passed.y)
        dz = self._through_units(np.swapaxes(dy, 0, 1), passed, nothing, on)
        before = np.concatenate([nothing[None], y])[: len(x)]
        # All gates of a unit side by side: each gradient is one product.
        sums = np.moveaxis(dz, 0, 2).reshape(-1, self.bias.size)
        dx = on.gemm(sums, self.weights.reshape(len(self.bias) * self.bias.shape[1], -1)).reshape(x.shape)
        gradients = {
            "weights": on.gemm(sums, x.reshape(-1, x.shape[2]), transpose_a=True),
            "recurrent": on.gemm(sums, before.reshape(-1, before.shape[2]), transpose_a=True),
            "bias": on.gemm(_constant(1, (1, len(sums)), sums), sums),
        }
        shaped = {name: gradients[name].reshape(array.shape) for name, array in self.parameters.items()}
        return np.swapaxes(dx, 0, 1), shaped

    def _through_units(self, dy: Array, passed: Passed, nothing: Array, on: Operations) -> Array:
        """Return the gradients of all weighted data, shape (incoming, T, N, K)."""
        if isinstance(self.unit, LSTM):
            outputs_and_cells = np.stack([dy, np.zeros_like(dy)])
            steps = np.swapaxes(passed.x, 0, 1)
            dz: Array = on.lstm_unit_backward(
                outputs_and_cells, steps, nothing, nothing, *self.parameters.values()
            )
            return dz[:4]
        assert passed.z is not None
        found, after = [], nothing
        for t in reversed(range(len(dy))):
            dz = self.unit.backward(dy[t] + after, passed.z[t], axis=1, on=on)
            found.append(dz)
            after = on.gemm(dz, self.recurrent[0])
        return _stacked(found[::-1], nothing)[None]


@dataclass(frozen=True)
class MaxPooling(Layer):
    """A layer that keeps the largest value of each region of each map; it has no weights and no units.

    Attributes
    ----------
    kernel, stride, padding, dilation, ceil_mode
        As for `max_pool`.

    Examples
    --------
    >>> MaxPooling(2).forward(np.array([[[1.0, 3.0, 2.0, 0.0]]])).y
    array([[[3., 2.]]])
    """

    kernel: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False

    def forward(self, x: Array, *, on: Operations = reference) -> Passed:
        """Pool."""
        return Passed(x, None, on.max_pool(x, **vars(self)))

    def backward(
        self, dy: Array, passed: Passed, *, on: Operations = reference
    ) -> tuple[Array, dict[str, Array]]:
        """Hand each gradient back to the value that was kept."""
        return on.max_pool_backward(dy, passed.x, **vars(self)), {}


@dataclass(frozen=True)
class AveragePooling(Layer):
    """A layer that takes the average of each region of each map; it has no weights and no units.

    Attributes
    ----------
    kernel, stride, padding, ceil_mode, count_include_pad, divisor
        As for `avg_pool`.

    Examples
    --------
    >>> AveragePooling(2).forward(np.array([[[1.0, 3.0, 2.0, 0.0]]])).y
    array([[[2., 1.]]])
    """

    kernel: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: float | None = None

    def forward(self, x: Array, *, on: Operations = reference) -> Passed:
        """Pool."""
        return Passed(x, None, on.avg_pool(x, **vars(self)))

    def backward(
        self, dy: Array, passed: Passed, *, on: Operations = reference
    ) -> tuple[Array, dict[str, Array]]:
        """Spread each gradient over its region."""
        return on.avg_pool_backward(dy, input_shape=passed.x.shape, **vars(self)), {}


def drawn(shape: Shape, inputs: int, unit: Unit, generator: np.random.Generator) -> Array:
    """Draw initial weights under which a signal neither dies out nor explodes on its way through layers.

    Their variance is 2/inputs for units that are 0 for half of their inputs, and 1/inputs for others.

    Parameters
    ----------
    shape : tuple of int
        Of the weights.
    inputs : int
        How many values one weighted sum adds up.
    unit : Unit
        What the sums go into.
    generator : numpy.random.Generator
        Where the draws come from.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural
       networks", AISTATS 2010.
    .. [2] K. He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    rectified = getattr(unit, "name", "") in {
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "softplus",
    }
    return generator.standard_normal(shape) * math.sqrt((2 if rectified else 1) / max(inputs, 1))


def _constant(number: int, shape: Shape, like: Array) -> Array:
    """Return an array of one number, of the kind that another array holds."""
    return np.full(shape, Fraction(number) if like.dtype == object else like.dtype.type(number))


def _stacked(steps: list[Array], like: Array) -> Array:
    """Return the values of all steps, of which there may be none."""
    return np.stack(steps) if steps else np.zeros((0, *like.shape), like.dtype)


def _rows(x: Array) -> Array:
    """Return each example as one row."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _named(unit: Any) -> str:
    return str(getattr(unit, "name", type(unit).__name__))
