r"""Unit: what transforms the weighted data that comes into one place of a layer.

Most units are one activation function. Some are more: a *maxout* unit takes the largest of several weighted
sums, an *LSTM* unit wires four activation functions and a memory. What a unit needs to know of its layer is
only how many weighted sums it takes in, `Unit.incoming`.

Convolution and pooling transform data too, but they are no units: they are ways in which a layer is connected
to the one before (`gaugeblock.reference.layer`). The types say so, and a layer takes nothing but a unit in
the place of one.

Spec: page 7, Unit. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Unit".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from gaugeblock import reference
from gaugeblock.reference import activation
from gaugeblock.reference._arguments import Array, widened

__all__ = ["LSTM", "Activation", "Feedforward", "Maxout", "Operations", "Threshold", "Unit"]

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
        UNIT-C9: there is no such activation function. Pooling and convolution are none.

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
                f"UNIT-C9: {self.name!r} is no activation function, expected one of {', '.join(known)}"
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

    Attributes
    ----------
    pieces : int
        How many.

    Examples
    --------
    >>> Maxout(3).forward(np.array([[1.0, 5.0, 2.0, -1.0, -2.0, -3.0]]))
    array([[ 5., -1.]])
    """

    pieces: int = 2

    @property
    def incoming(self) -> int:
        """As many as there are pieces."""
        return self.pieces

    def forward(self, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return the largest of each unit's sums."""
        result: Array = on.maxout(z, pieces=self.pieces, axis=axis)
        return result

    def backward(self, dy: Array, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return dy at the sum that was the largest, 0 at the others."""
        result: Array = on.maxout_backward(dy, z, pieces=self.pieces, axis=axis)
        return result


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
        (z,) = widened("UNIT-C10", z=z)
        return np.where(z != z, z, (z > 0) * (z**0))  # z⁰ is 1 in the kind of number that z is

    def backward(self, dy: Array, z: Array, *, axis: int = -1, on: Operations = reference) -> Array:
        """Return zeros."""
        dy, z = widened("UNIT-C10", dy=dy, z=z)
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
