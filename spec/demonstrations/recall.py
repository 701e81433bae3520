"""A bit to be recalled: a task for units with a memory, and a model that learns it.

At the first step of a sequence one of two signs is shown; at all steps there is noise; after the last step
the sign is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock.reference.layer import FullyConnected, Recurrent
from gaugeblock.reference.machine_learning import Examples, cross_entropy
from gaugeblock.reference.unit import LSTM, Activation, Feedforward
from gaugeblock.spec.demonstrations import swift

__all__ = ["LONGEST", "Recaller", "initial", "sequences"]

Parameters: TypeAlias = tuple[dict[str, npt.NDArray[Any]], ...]

UNITS = 8
LONGEST = 400
"""For memories of up to how many steps the gates of the LSTM units are drawn."""


def sequences(steps: int, count: int, generator: np.random.Generator) -> Examples:
    """Return sequences, shape (N, T, 2), half of them with either sign, and the sign as a class.

    The first input is −1 or 1 at the first step and 0 from then on; the second is noise of variance 1.
    """
    inputs = np.zeros((count, steps, 2))
    signs = generator.permutation(count) % 2
    inputs[:, 0, 0] = 2 * signs - 1
    inputs[:, :, 1] = generator.standard_normal((count, steps))
    return Examples(inputs, signs)


def initial(unit: Feedforward | LSTM, generator: np.random.Generator) -> Recurrent:
    """Return a recurrent layer that has not learned anything.

    The forget gates of LSTM units begin open: their biases are the logarithms of numbers of steps drawn up to
    `LONGEST`, and those of the input gates the same with the other sign (C. Tallec and Y. Ollivier, "Can
    recurrent neural networks warp time?", ICLR 2018).
    """
    layer = Recurrent.initial(2, UNITS, unit, generator)
    if not isinstance(unit, LSTM):
        return layer
    bias = layer.bias.copy()
    bias[swift.FORGET] = np.log(generator.uniform(1, LONGEST - 1, UNITS))
    bias[swift.INPUT] = -bias[swift.FORGET]
    return replace(layer, bias=bias)


@dataclass(frozen=True)
class Recaller:
    r"""A recurrent layer, and a classifier of what it hands on at the last step.

    An adjustment goes against the gradient, each number with a step of its own: the mean of its last
    gradients by the root of the mean of their squares (D. P. Kingma and J. Ba, "Adam: a method for stochastic
    optimization", ICLR 2015).

    Attributes
    ----------
    layer : Recurrent
        What remembers.
    last : FullyConnected
        What tells.
    rate : float
        The step.
    means, squares : tuple of dict
        Of the gradients so far.
    count : int
        How many adjustments were made.
    on : module
        Where the operations are taken from.
    """

    layer: Recurrent
    last: FullyConnected
    rate: float = 0.02
    means: Parameters | None = None
    squares: Parameters | None = None
    count: int = 0
    on: Any = swift

    @classmethod
    def of(cls, unit: Feedforward | LSTM, seed: int) -> Recaller:
        """Return one that has not learned anything."""
        generator = np.random.default_rng(seed)
        layer = initial(unit, generator)
        return cls(layer, FullyConnected.initial(UNITS, 2, Activation("log_softmax"), generator))

    def predict(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the sign that each sequence is taken to have begun with."""
        return np.asarray(self._told(inputs).argmax(axis=1))

    def error(self, examples: Examples) -> float:
        """Return the mean of −log p(right sign)."""
        value, _ = cross_entropy(self._told(examples.inputs), examples.wanted)
        return float(value)

    def adjusted(self, examples: Examples) -> Recaller:
        """Return a model one step further."""
        count, means, squares, parameters = self.count + 1, [], [], []
        gradients = self._gradients(examples)
        nothing = tuple({name: np.zeros_like(array) for name, array in layer.items()} for layer in gradients)
        layers = (self.layer.parameters, self.last.parameters)
        for index, (gradient, now) in enumerate(zip(gradients, layers, strict=True)):
            mean, square = (self.means or nothing)[index], (self.squares or nothing)[index]
            mean = {name: 0.9 * mean[name] + 0.1 * gradient[name] for name in now}
            square = {name: 0.99 * square[name] + 0.01 * gradient[name] ** 2 for name in now}
            scale = self.rate * np.sqrt(1 - 0.99**count) / (1 - 0.9**count)
            moved = {name: now[name] - scale * mean[name] / (np.sqrt(square[name]) + 1e-12) for name in now}
            means.append(mean)
            squares.append(square)
            parameters.append(moved)
        return replace(
            self,
            layer=self.layer.with_parameters(parameters[0]),
            last=self.last.with_parameters(parameters[1]),
            means=tuple(means),
            squares=tuple(squares),
            count=count,
        )

    def _told(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the logarithms of the probabilities of both signs."""
        return self.last.forward(self.layer.forward(inputs, on=self.on).y[:, -1], on=self.on).y

    def _gradients(self, examples: Examples) -> Parameters:
        """Return the gradients of the error in the parameters of both layers."""
        remembered = self.layer.forward(examples.inputs, on=self.on)
        told = self.last.forward(remembered.y[:, -1], on=self.on)
        _, signal = cross_entropy(told.y, examples.wanted)
        signal, of_last = self.last.backward(signal, told, on=self.on)
        dy = np.zeros_like(remembered.y)
        dy[:, -1] = signal
        _, of_layer = self.layer.backward(dy, remembered, on=self.on)
        return of_layer, of_last
