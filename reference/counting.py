r"""Counting: what a network costs in parameters, in multiplications and in numbers held.

One example goes through the network, and all that is made on the way is counted. Nothing here depends on
values.

- *Parameters* are the numbers that training adjusts. There is one set of them, however many examples.
- *Multiplications* are those of weights with inputs on the way forward; cells of the padding count too. The
  way back has twice as many: once for the gradient of the input, once for that of the weights.
- *Held forward* are the numbers that a layer makes and that the way back needs: its weighted data, and what
  it hands on. What goes in was counted at the layer before.
- *Held backward* are the gradients that a layer makes: of its weighted data, of what went in, of its
  parameters.
- *Patches* are the numbers in the matrix that `im2col` makes of a convolution's input. It is needed only
  while the layer computes, so that of several layers the largest counts. A kernel of one pixel needs none.

Spec: CNN-D2. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, sections "Pooling",
"Convolutional Neural Network" and "Inception", which say what saves memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gaugeblock.reference._arguments import Shape
from gaugeblock.reference.layer import (
    AveragePooling,
    Convolutional,
    FullyConnected,
    Layer,
    MaxPooling,
    Passed,
    Weighted,
)
from gaugeblock.reference.network import Network
from gaugeblock.reference.windows import axis_values

__all__ = ["Cost", "costs", "table", "total"]


@dataclass(frozen=True)
class Cost:
    """What one layer costs, for one example.

    Attributes
    ----------
    layer : str
        What it is.
    shape : tuple of int
        Of what it hands on.
    parameters, multiplications, forward, backward, patches : int
        The counts.
    """

    layer: str
    shape: Shape
    parameters: int = 0
    multiplications: int = 0
    forward: int = 0
    backward: int = 0
    patches: int = 0


def costs(network: Network, input_shape: Shape) -> tuple[Cost, ...]:
    """Count what each layer costs; those inside of a container one by one, before the container itself.

    Parameters
    ----------
    network : Network
        Its layers.
    input_shape : tuple of int
        Of one example.

    Returns
    -------
    tuple of Cost

    Raises
    ------
    TypeError
        CNN-C3: a layer is of a kind that is not counted, as one with a memory.

    Examples
    --------
    >>> from gaugeblock.reference.unit import Activation
    >>> network = Network((FullyConnected(np.zeros((6, 2)), np.zeros(2), Activation("relu")),))
    >>> (found,) = costs(network, (6,))
    >>> found.layer, found.parameters, found.multiplications, found.forward, found.backward
    ('2 relu units on 6 values', 14, 12, 4, 22)
    """
    passed = network.features(np.zeros((1, *input_shape)))
    return tuple(cost for pair in zip(network.layers, passed, strict=True) for cost in _costs(*pair))


def total(counted: Iterable[Cost], layer: str = "all") -> Cost:
    """Return the sums of the counts, but of the patches the largest; the shape is that of the last layer.

    Examples
    --------
    >>> total([Cost("a", (4,), 1, 2, 3, 4, 5), Cost("b", (2,), 10, 20, 30, 40, 50)])
    ... # doctest: +NORMALIZE_WHITESPACE
    Cost(layer='all', shape=(2,), parameters=11, multiplications=22, forward=33, backward=44, patches=50)
    """
    parts = list(counted)
    return Cost(
        layer,
        parts[-1].shape,
        parameters=sum(part.parameters for part in parts),
        multiplications=sum(part.multiplications for part in parts),
        forward=sum(part.forward for part in parts),
        backward=sum(part.backward for part in parts),
        patches=max(part.patches for part in parts),
    )


def table(counted: Iterable[Cost]) -> str:
    """Return the counts as lines of text, the totals last.

    Examples
    --------
    >>> print(table([Cost("2 relu units on 6 values", (2,), 14, 12, 4, 22)]))
    layer                     hands on  parameters  multiplications  forward  backward  patches
    2 relu units on 6 values  2                 14               12        4        22        0
    all                       2                 14               12        4        22        0
    """
    parts = list(counted)
    numbers = ("parameters", "multiplications", "forward", "backward", "patches")
    rows = [["layer", "hands on", *numbers]]
    for cost in (*parts, total(parts)):
        counts = [f"{getattr(cost, name):,}" for name in numbers]
        rows.append([cost.layer, _times(cost.shape), *counts])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        lines.append("  ".join(f"{cell:{'<' if i < 2 else '>'}{w}}" for i, (cell, w) in enumerate(cells)))
    return "\n".join(lines)


def _costs(layer: Layer, passed: Passed) -> Iterator[Cost]:
    """Yield the costs of the layers inside, then that of the layer itself."""
    branches: tuple[Network, ...] = getattr(layer, "branches", ())
    for branch, inside in zip(branches, passed.inside, strict=True):
        for pair in zip(branch.layers, inside, strict=True):
            yield from _costs(*pair)
    if branches:  # what the branches hand on are parts of what the container hands on, and counted there
        yield Cost(f"{len(branches)} branches, joined", passed.y.shape[1:])
    else:
        yield _cost(layer, passed)


def _cost(layer: Layer, passed: Passed) -> Cost:
    """Return the cost of a layer that is no container."""
    sums = 0 if passed.z is None else passed.z.size
    parameters = sum(array.size for array in layer.parameters.values())
    positions = 1 if passed.z is None else math.prod(passed.z.shape[2:])
    pixels = math.prod(layer.weights.shape[1:]) if isinstance(layer, Convolutional) else 0
    groups = layer.groups if isinstance(layer, Convolutional) else 1
    pointwise = isinstance(layer, Convolutional) and set(layer.weights.shape[2:]) == {1}
    return Cost(
        _described(layer, passed.x.ndim - 2),
        passed.y.shape[1:],
        parameters,
        multiplications=layer.weights.size * positions if isinstance(layer, Weighted) else 0,
        forward=sums + passed.y.size,
        backward=sums + passed.x.size + parameters,
        patches=0 if pointwise else pixels * groups * positions,
    )


def _described(layer: Layer, axes: int) -> str:
    """Return in a few words what a layer is."""
    if isinstance(layer, Weighted):
        unit = getattr(layer.unit, "name", type(layer.unit).__name__.lower())
        count = layer.bias.size // layer.unit.incoming
        if isinstance(layer, FullyConnected):
            return f"{count} {unit} units on {len(layer.weights)} values"
        return f"{count} {unit} maps by {_times(layer.weights.shape[2:])}"
    if isinstance(layer, MaxPooling | AveragePooling):
        kind = "maximum" if isinstance(layer, MaxPooling) else "average"
        return f"{kind} of {_times(axis_values('LAYER-S3', 'kernel', layer.kernel, axes, least=1))}"
    raise TypeError(
        f"CNN-C3: layers with units and no memory, pooling layers and branches are counted, got "
        f"{type(layer).__name__}"
    )


def _times(shape: Shape) -> str:
    return "×".join(map(str, shape))
