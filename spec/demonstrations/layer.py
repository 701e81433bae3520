"""Layers at work: what is connected with what, how many weights that takes, and what a layer refuses.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Layer".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gaugeblock.reference.layer import Convolutional, FullyConnected, MaxPooling, uniform
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import show_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Layer"
Floats = npt.NDArray[np.float64]
RELU = Activation("relu")


@dataclass(frozen=True)
class Sharing:
    """A convolutional layer on digits, and the fully connected layer that computes the same.

    Attributes
    ----------
    matrix : ndarray, shape (64, 36)
        The weights of the fully connected one.
    weights, connections : int
        Different weights of the convolutional layer, and entries of the matrix that are not zero.
    difference : float
        The largest difference of their results for all digits.
    """

    matrix: Floats
    weights: int
    connections: int
    difference: float


@cache
def sharing() -> Sharing:
    """Write a convolution with a kernel of 3 by 3 as a matrix, and compare."""
    kernel = np.arange(1.0, 10.0).reshape(1, 1, 3, 3) / 10 - 0.5 + 0.01
    layer = Convolutional(kernel, np.zeros(1), RELU)
    passed = layer.forward(np.eye(64).reshape(64, 1, 8, 8))
    assert passed.z is not None
    matrix = passed.z.reshape(64, 36)
    full = FullyConnected(matrix, np.zeros(36), RELU)
    images = data.digits().X.reshape(-1, 1, 8, 8)
    difference = np.abs(layer.forward(images).y.reshape(len(images), 36) - full.forward(images).y).max()
    return Sharing(matrix, kernel.size, int(np.count_nonzero(matrix)), float(difference))


@dataclass(frozen=True)
class Stack:
    """A network for digits, layer by layer: what each is, is called, and has to learn."""

    kinds: tuple[str, ...]
    roles: tuple[str, ...]
    parameters: tuple[int, ...]
    values: tuple[int, ...]


@cache
def stack() -> Stack:
    """Build a small convolutional network, and look at its layers."""
    generator = np.random.default_rng(0)
    network = Network(
        (
            Convolutional.initial(1, 8, (3, 3), RELU, generator),
            MaxPooling(2),
            FullyConnected.initial(72, 32, RELU, generator),
            FullyConnected.initial(32, 10, Activation("log_softmax"), generator),
        )
    )
    features = network.features(data.digits().X[:1].reshape(1, 1, 8, 8))
    return Stack(
        tuple(type(layer).__name__ for layer in network.layers),
        network.roles,
        tuple(sum(array.size for array in layer.values()) for layer in network.parameters),
        tuple(passed.y.size for passed in features),
    )


@cache
def refusals() -> tuple[str, ...]:
    """Return what is said to a layer of two kinds of units, and to pooling in the place of a unit."""
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: uniform([RELU, RELU, Activation("tanh")]),
        lambda: FullyConnected(np.zeros((2, 2)), np.zeros(2), MaxPooling(2)),  # type: ignore[arg-type]
    )
    said = []
    for attempt in attempts:
        try:
            attempt()
        except (TypeError, ValueError) as refusal:
            said.append(str(refusal))
    return tuple(said)


def connections_picture() -> Picture:
    """Return the matrices of a fully connected, a convolutional and a pooling layer."""
    generator = np.random.default_rng(4)
    full = FullyConnected.initial(64, 36, RELU, generator).weights
    pooled = np.zeros((64, 16))
    for place in range(64):
        row, column = divmod(place, 8)
        pooled[place, row // 2 * 4 + column // 2] = 1.0

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 3, width_ratios=(36, 36, 16))
        show_map(panels[0], full, title="fully connected: 2304 weights", signed=True)
        show_map(panels[1], sharing().matrix, title="convolutional: 9 weights", signed=True)
        show_map(panels[2], pooled, title="pooling: none", limits=(-1, 1))
        panels[0].set(ylabel="64 inputs", xlabel="36 units")
        panels[1].set(xlabel="36 units")
        panels[2].set(xlabel="16 regions")

    caption = (
        "What is connected with what in three layers on images of 8 by 8 pixels: a row for each pixel, a "
        "column for each value handed on. Middle grey is no connection; in the convolution, equal shades are "
        "one weight."
    )
    return Picture("connections", caption, draw, size=(5.8, 3.7))


PICTURES: Mapping[str, Callable[[], Picture]] = {"connections": connections_picture}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "a convolution as a matrix")
    shared, layers = sharing(), stack()
    numbers: dict[str, float | int] = {
        "weights of the convolutional layer": shared.weights,
        "connections of the convolutional layer": shared.connections,
        "weights of a fully connected layer": shared.matrix.size,
        "largest difference of the two": shared.difference,
        "layers of the network": len(layers.kinds),
        "numbers it learns": sum(layers.parameters),
        "numbers its fully connected layers learn": sum(layers.parameters[2:]),
        "things refused": len(refusals()),
    }
    return Demonstration.of(
        "layer", TITLE, statements=_statements(numbers, layers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int], layers: Stack) -> list[str]:
    row = "; ".join(
        f"{role}: {kind}, {count} parameters, {values} values"
        for role, kind, count, values in zip(
            layers.roles, layers.kinds, layers.parameters, layers.values, strict=True
        )
    )
    return [
        f"A convolutional layer of {n['weights of the convolutional layer']} weights has "
        f"{n['connections of the convolutional layer']} connections. As a fully connected layer it would "
        f"have {n['weights of a fully connected layer']} weights, and on all digits it gives the same within "
        f"{n['largest difference of the two']:.0e}.",
        f"A network for digits, from its first layer to its last: {row}.",
        *[f"Refused: {said[0]}{said[1:]}." for said in refusals()],
    ]
