r"""Artificial neuron: another name for a unit, and a discouraged one.

Drawn as a neuron, a unit has many incoming connections, each with a weight, and many outgoing ones, all of
which carry the same value. That is one column of a layer's weights and its activation. Nothing is computed
that a unit does not compute, and little is said about brains: ``Neuron is Unit``.

The name was to set networks apart from the *perceptron*, a single unit with a threshold and a learning rule
of its own, which finds a line between two classes if there is one, and never settles if there is none.

Spec: page 8, Artificial neuron. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015,
section "Artificial Neuron".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gaugeblock.reference._arguments import Array, widened
from gaugeblock.reference.gemm import gemm
from gaugeblock.reference.machine_learning import Examples
from gaugeblock.reference.unit import Feedforward, Unit

__all__ = ["Neuron", "Perceptron", "neuron"]

Neuron = Unit
"""An artificial neuron is a unit."""


def neuron(
    incoming: Sequence[Any] | Array, weights: Sequence[Any] | Array, bias: Any, unit: Feedforward
) -> Any:
    """Compute one neuron, connection by connection.

    It is the long way to one value of ``FullyConnected(...).forward``. Spec: NEURON-S1.

    Parameters
    ----------
    incoming : sequence of D numbers
        What arrives.
    weights : sequence of D numbers
        How much each connection counts.
    bias : number
        What counts without any input.
    unit : Feedforward
        The activation, of one weighted sum.

    Returns
    -------
    number
        What leaves, the same along every outgoing connection.

    Raises
    ------
    ValueError
        NEURON-C1: there is not one weight per connection, or the unit takes in more than one sum.

    Examples
    --------
    >>> from gaugeblock.reference.unit import Activation
    >>> float(neuron([1.0, 2.0], [0.5, -0.25], 3.0, Activation("relu")))
    3.0
    """
    if len(incoming) != len(weights):
        raise ValueError(f"NEURON-C1: weights has length {len(weights)}, incoming has length {len(incoming)}")
    if unit.incoming != 1:
        raise ValueError(f"NEURON-C1: unit takes in {unit.incoming} sums, expected 1")
    total = bias
    for value, weight in zip(incoming, weights, strict=True):
        total = total + value * weight
    return unit.forward(np.array([total]))[0]


@dataclass(frozen=True)
class Perceptron:
    r"""The neuron's abandoned ancestor: a threshold on a weighted sum, for two classes, 0 and 1.

    It learns from its mistakes alone. For an example x of class t that it takes for y,

    .. math:: w \leftarrow w + (t - y)\, x, \qquad b \leftarrow b + (t - y).

    If some line separates the classes, it makes finitely many mistakes (NEURON-A1); if none does, it makes
    mistakes for ever. It is a model that `gaugeblock.reference.machine_learning.fit` can train.

    Attributes
    ----------
    weights : ndarray, shape (D,)
        Floats or fractions.
    bias : number
    mistakes : int
        How many examples it took for the wrong class while it learned.

    References
    ----------
    .. [1] F. Rosenblatt, "The perceptron", Psychological Review 65 (1958).
    .. [2] A. B. J. Novikoff, "On convergence proofs on perceptrons", Symposium on the Mathematical Theory of
       Automata 12 (1962).

    Examples
    --------
    >>> either = Examples(np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 1]))
    >>> perceptron = Perceptron(np.zeros(2))
    >>> for _ in range(4):
    ...     perceptron = perceptron.adjusted(either)
    >>> perceptron.predict(either.inputs).tolist(), perceptron.mistakes
    ([0, 1, 1, 1], 4)
    """

    weights: Array
    bias: Any = 0.0
    mistakes: int = 0

    def predict(self, inputs: Array) -> npt.NDArray[np.int64]:
        """Return 1 where the weighted sum exceeds 0, else 0, shape (N,)."""
        inputs, weights = widened("NEURON-C2", inputs=inputs, weights=self.weights)
        sums = gemm(inputs, weights[:, None])[:, 0] + self.bias
        return np.asarray(sums > 0, dtype=np.int64)

    def error(self, examples: Examples) -> float:
        """Return the share of examples taken for the wrong class."""
        return float(np.mean(self.predict(examples.inputs) != examples.wanted))

    def adjusted(self, examples: Examples) -> Perceptron:
        """Return the perceptron after it saw the examples one by one, in order."""
        weights, bias, mistakes = self.weights, self.bias, self.mistakes
        for x, wanted in zip(examples.inputs, examples.wanted, strict=True):
            seen = replace(self, weights=weights, bias=bias).predict(x[None])[0]
            if seen != wanted:
                step = int(wanted) - int(seen)
                weights, bias, mistakes = weights + step * x, bias + step, mistakes + 1
        return Perceptron(weights, bias, mistakes)
