r"""Artificial neural network: layer after layer, and an error that goes back through all of them.

Forward, each layer weighs what the one before it hands on and transforms it; the values in between are the
*features* that the network finds, and the last layer combines them to a prediction. Backward, the gradient of
the error, the *error signal*, passes through the layers in reverse, by the chain rule, and tells each weight
which way to go.

Spec: page 6, Artificial neural network. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts",
2015, section "Artificial Neural Network".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from gaugeblock import reference
from gaugeblock.reference._arguments import Array
from gaugeblock.reference.layer import Layer, Passed
from gaugeblock.reference.machine_learning import Examples, Measure
from gaugeblock.reference.unit import Operations

__all__ = ["Gradients", "Learner", "Network", "Regressor"]

Parameters = tuple[dict[str, Array], ...]


class Gradients(NamedTuple):
    """How the error changes with every number that a network computes from.

    Attributes
    ----------
    error : number
        The error itself.
    x : ndarray
        Its gradient in the input.
    parameters : tuple of dict
        Its gradients in each layer's parameters, by name.
    """

    error: Any
    x: Array
    parameters: Parameters


@dataclass(frozen=True)
class Network:
    """Layers in a row.

    Attributes
    ----------
    layers : tuple of Layer
        From the first to the last.

    Raises
    ------
    TypeError, ValueError
        NET-C1: there is no layer, or something that is none.

    Examples
    --------
    A network of rectified units that computes "one of two, but not both", which no single layer can:

    >>> from gaugeblock.reference.layer import FullyConnected
    >>> from gaugeblock.reference.unit import Activation
    >>> hidden = FullyConnected(np.array([[1.0, 1], [1, 1]]), np.array([0.0, -1]), Activation("relu"))
    >>> output = FullyConnected(np.array([[1.0], [-2]]), np.array([0.0]), Activation("relu"))
    >>> network = Network((hidden, output))
    >>> network.forward(np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])).ravel()
    array([0., 1., 1., 0.])
    >>> network.roles
    ('input', 'output')
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("NET-C1: a network has at least one layer, got none")
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"NET-C1: layer {index} must be a layer, got {type(layer).__name__}")

    @property
    def roles(self) -> tuple[str, ...]:
        """What each layer is called for its place: input, hidden or output layer (LAYER-D3)."""
        if len(self.layers) == 1:
            return ("input and output",)
        return ("input", *["hidden"] * (len(self.layers) - 2), "output")

    @property
    def parameters(self) -> Parameters:
        """The parameters of each layer, by name."""
        return tuple(layer.parameters for layer in self.layers)

    @property
    def size(self) -> int:
        """How many numbers training adjusts."""
        return sum(array.size for layer in self.parameters for array in layer.values())

    def with_parameters(self, parameters: Parameters) -> Network:
        """Return the network with other parameters, for example in another type of number."""
        layers = zip(self.layers, parameters, strict=True)
        return replace(self, layers=tuple(layer.with_parameters(new) for layer, new in layers))

    def as_type(self, dtype: npt.DTypeLike) -> Network:
        """Return the network with its parameters rounded to another type of float."""
        parameters = (
            {name: array.astype(dtype) for name, array in layer.items()} for layer in self.parameters
        )
        return self.with_parameters(tuple(parameters))

    def features(self, x: Array, *, on: Operations = reference) -> tuple[Passed, ...]:
        """Return all that went through the layers: what each was given, and what it handed on.

        Parameters
        ----------
        x : ndarray, shape (N, ...)
            The input of the first layer.
        on : module
            Where the operations are taken from.
        """
        passed: list[Passed] = []
        for layer in self.layers:
            passed.append(layer.forward(x, on=on))
            x = passed[-1].y
        return tuple(passed)

    def forward(self, x: Array, *, on: Operations = reference) -> Array:
        """Return what the last layer hands on: the prediction."""
        return self.features(x, on=on)[-1].y

    def backward(
        self, dy: Array, features: tuple[Passed, ...], *, on: Operations = reference
    ) -> tuple[Array, Parameters]:
        """Carry an error signal from the last layer to the first.

        Parameters
        ----------
        dy : ndarray
            The gradient of the error in what the last layer handed on.
        features : tuple of Passed
            What went through the layers.
        on : module
            Where the operations are taken from.

        Returns
        -------
        dx : ndarray
            The gradient in the input.
        parameters : tuple of dict
            The gradients in the parameters of each layer, by name.
        """
        gradients: list[dict[str, Array]] = []
        for layer, passed in zip(reversed(self.layers), reversed(features), strict=True):
            dy, gradient = layer.backward(dy, passed, on=on)
            gradients.append(gradient)
        return dy, tuple(reversed(gradients))

    def gradients(self, examples: Examples, measure: Measure, *, on: Operations = reference) -> Gradients:
        """Return the error on some examples, and its gradients.

        Examples
        --------
        Exact, where the numbers are:

        >>> from fractions import Fraction
        >>> from gaugeblock.reference.layer import FullyConnected
        >>> from gaugeblock.reference.machine_learning import squared_error
        >>> from gaugeblock.reference.unit import Activation
        >>> third = np.array([[Fraction(1, 3)]])
        >>> network = Network((FullyConnected(third, third[0], Activation("relu")),))
        >>> found = network.gradients(Examples(third, 2 * third), squared_error)
        >>> str(found.error), str(found.parameters[0]["weights"][0, 0])
        ('2/81', '-2/27')
        """
        features = self.features(examples.inputs, on=on)
        error, dy = measure(features[-1].y, examples.wanted)
        return Gradients(error, *self.backward(dy, features, on=on))


@dataclass(frozen=True)
class Learner:
    r"""A network that learns: a model for `gaugeblock.reference.machine_learning.fit`.

    An adjustment goes against the gradient, with momentum:

    .. math:: v \leftarrow \mu v - \eta \nabla E, \qquad w \leftarrow w + v

    Attributes
    ----------
    network : Network
        What is adjusted.
    measure : callable
        The error and its gradient.
    rate, momentum : float
        The step η, and the share μ of the last step that is repeated.
    decay : float
        Adds ``decay/2 · Σ w²`` over weights, not biases, to what is lowered: small weights are preferred.
    velocity : tuple of dict, optional
        The last step v.
    on : module
        Where the operations are taken from.
    """

    network: Network
    measure: Measure
    rate: float = 0.1
    momentum: float = 0.0
    decay: float = 0.0
    velocity: Parameters | None = None
    on: Operations = reference

    def predict(self, inputs: Array) -> npt.NDArray[Any]:
        """Return the class with the largest prediction for each input; ties go to the first."""
        scores = self.network.forward(inputs, on=self.on)
        return np.asarray(np.argmax(scores.reshape(len(inputs), -1), axis=1))

    def error(self, examples: Examples) -> float:
        """Return the error on these examples."""
        value, _ = self.measure(self.network.forward(examples.inputs, on=self.on), examples.wanted)
        return float(value)

    def adjusted(self, examples: Examples) -> Self:
        """Return a learner one step further."""
        return self.along(self.network.gradients(examples, self.measure, on=self.on).parameters)

    def along(self, gradients: Parameters) -> Self:
        """Return a learner one step further, by gradients that were computed already (NET-D3)."""
        parameters, velocity = [], []
        for index, layer in enumerate(self.network.parameters):
            step = {}
            for name, array in layer.items():
                decays = self.decay if name.rsplit(".")[-1] != "bias" else 0
                slope = gradients[index][name] + decays * array
                before = self.velocity[index][name] if self.velocity else 0
                step[name] = self.momentum * before - self.rate * slope
            velocity.append(step)
            parameters.append({name: array + step[name] for name, array in layer.items()})
        network = self.network.with_parameters(tuple(parameters))
        return replace(self, network=network, velocity=tuple(velocity))


@dataclass(frozen=True)
class Regressor(Learner):
    """A network that learns to predict numbers instead of classes (NET-S5).

    Examples
    --------
    >>> from gaugeblock.reference.layer import FullyConnected
    >>> from gaugeblock.reference.machine_learning import squared_error
    >>> from gaugeblock.reference.unit import Activation
    >>> network = Network((FullyConnected(np.array([[2.0]]), np.array([1.0]), Activation("relu")),))
    >>> Regressor(network, squared_error).predict(np.array([[3.0], [-3.0]])).tolist()
    [[7.0], [0.0]]
    """

    def predict(self, inputs: Array) -> npt.NDArray[Any]:
        """Return what the network predicts for each input."""
        return self.network.forward(inputs, on=self.on)
