"""Artificial neurons at work: a layer computed one by one, and what a perceptron can and cannot learn.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Artificial Neuron".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.machine_learning import Examples
from gaugeblock.reference.neuron import Neuron, Perceptron, neuron
from gaugeblock.reference.unit import Activation, Unit
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Artificial neuron"

PASSES = 40
PETALS = (2, 3)
"""The columns of the irises that are shown: length and width of petals in centimetres."""


@dataclass(frozen=True)
class Lesson:
    """A perceptron that sees irises of two species, pass after pass.

    Attributes
    ----------
    examples : Examples
        Petals, of class 0 and 1.
    names : tuple of str
        The species.
    mistakes : tuple of int
        In each pass.
    perceptron : Perceptron
        After the last.
    allowed : float
        How many mistakes the margin of a line allows in all; infinite if no line is known.
    """

    examples: Examples
    names: tuple[str, str]
    mistakes: tuple[int, ...]
    perceptron: Perceptron
    allowed: float


def _petals(first: int, second: int) -> tuple[Examples, tuple[str, str]]:
    irises = data.iris()
    chosen = np.isin(irises.labels, (first, second))
    inputs = irises.X[chosen][:, PETALS]
    wanted = (irises.labels[chosen] == second).astype(np.int64)
    order = np.random.default_rng(3).permutation(len(wanted))
    return Examples(inputs[order], wanted[order]), (irises.classes[first], irises.classes[second])


def _allowed(examples: Examples, perceptron: Perceptron) -> float:
    """Return Novikoff's R²/γ² for the line that the perceptron has found; infinite if it parts nothing."""
    points = np.hstack([examples.inputs, np.ones((len(examples), 1))])
    line = np.append(perceptron.weights, perceptron.bias)
    sides = (points @ line) * np.where(examples.wanted == 1, 1, -1) / np.linalg.norm(line)
    largest = float((points**2).sum(axis=1).max())
    return largest / float(sides.min()) ** 2 if sides.min() > 0 else float("inf")


def _lesson(first: int, second: int) -> Lesson:
    examples, names = _petals(first, second)
    perceptron, counts = Perceptron(np.zeros(2)), [0]
    for _ in range(PASSES):
        perceptron = perceptron.adjusted(examples)
        counts.append(perceptron.mistakes)
    mistakes = tuple(int(step) for step in np.diff(counts))
    return Lesson(examples, names, mistakes, perceptron, _allowed(examples, perceptron))


@cache
def lessons() -> tuple[Lesson, Lesson]:
    """Return what a perceptron makes of species that a line separates, and of species that none does."""
    return _lesson(0, 1), _lesson(1, 2)


@cache
def equal_neurons() -> int:
    """Count the values of a layer, computed as one and neuron by neuron, that are the same fraction."""
    inputs = np.array([[Fraction(float(v)) for v in row] for row in data.iris().X[::10]], object)
    weights = np.array([[Fraction(i - 2 * k, k + 2) for k in range(5)] for i in range(4)], object)
    layer = FullyConnected(weights, np.array([Fraction(k, 3) for k in range(5)], object), Activation("relu"))
    whole = layer.forward(inputs).y
    singly = [[neuron(row, weights[:, k], layer.bias[k], layer.unit) for k in range(5)] for row in inputs]
    return int(np.sum(whole == np.array(singly, object)))


def told_by_one(activation: Activation) -> int:
    """Return how many of the four inputs of "one of two" one neuron tells, with the best of many weights.

    What it says is held against a threshold, the best one, from either side.
    """
    inputs, wanted = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    steps = np.arange(-2.0, 2.5, 0.5)
    best = 0
    for w, v, bias in itertools.product(steps, steps, steps):
        said = np.array([neuron(pair, (w, v), bias, activation) for pair in inputs])
        for threshold in said:
            right = int(np.sum((said > threshold) == wanted))
            best = max(best, right, 4 - right)
    return best


def perceptron_picture() -> Picture:
    """Return the two lessons: petals, the last line, and the mistakes of each pass."""

    def draw(figure: Figure) -> None:
        panels = list(figure.subplot_mosaic("AB;CC").values())
        for axes, lesson in zip(panels, lessons(), strict=False):
            _show_line(axes, lesson)
        for index, lesson in enumerate(lessons()):
            label = " / ".join(lesson.names)
            passes = np.arange(1, PASSES + 1)
            panels[2].plot(passes, lesson.mistakes, color=LINES[index], linestyle=DASHES[index], label=label)
        panels[2].set(xlabel="pass over the irises", ylabel="mistakes", ylim=(-1, None))
        panels[2].legend()

    caption = (
        "A perceptron and two pairs of species. Where a line separates them it finds one and rests; where "
        "none does, its line goes on moving."
    )
    return Picture("perceptron", caption, draw, size=(5.8, 5.0))


def _show_line(axes: Axes, lesson: Lesson) -> None:
    inputs, wanted = lesson.examples.inputs, lesson.examples.wanted
    for kind, (marker, colour) in enumerate((("o", LINES[0]), ("s", ACCENT))):
        x, y = inputs[wanted == kind].T
        axes.plot(x, y, marker, color=colour, markersize=3, label=lesson.names[kind], linestyle="none")
    low, high = inputs[:, 0].min() - 0.3, inputs[:, 0].max() + 0.3
    w, b = lesson.perceptron.weights, lesson.perceptron.bias
    ends: npt.NDArray[np.float64] = np.array([low, high])
    axes.plot(ends, -(w[0] * ends + b) / w[1], color=INK, linestyle="-", linewidth=1)
    axes.set(xlabel="length of petals / cm", ylabel="width of petals / cm")
    axes.set(xlim=(low, high), ylim=(inputs[:, 1].min() - 0.2, inputs[:, 1].max() + 0.2))
    axes.legend()


PICTURES: Mapping[str, Callable[[], Picture]] = {"perceptron": perceptron_picture}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "neuron by neuron")
    equal = equal_neurons()
    progress(0.3, "two perceptrons")
    separable, mixed = lessons()
    numbers: dict[str, float | int] = {
        "values equal, neuron by neuron": equal,
        "mistakes where a line separates": sum(separable.mistakes),
        "mistakes that its margin allows": separable.allowed,
        "mistakes in the last pass there": separable.mistakes[-1],
        "mistakes where no line does": sum(mixed.mistakes),
        "least mistakes in a pass there": min(mixed.mistakes),
        "passes": PASSES,
        "inputs of “one of two” told by one unit that rises": told_by_one(Activation("relu")),
        "told by one that falls and rises": told_by_one(Activation("leaky_relu", {"negative_slope": -1.0})),
    }
    return Demonstration.of(
        "neuron", TITLE, statements=_statements(numbers, separable, mixed), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int], separable: Lesson, mixed: Lesson) -> list[str]:
    same = "one and the same type" if Neuron is Unit else "two types, which is an error"
    return [
        f"Neuron and unit are {same}; computed one by one, neurons give the "
        f"{n['values equal, neuron by neuron']} fractions of the layer that they make up.",
        f"On {' and '.join(separable.names)}, which a line separates, a perceptron makes "
        f"{n['mistakes where a line separates']} mistakes and then no more; the margin of the line that it "
        f"finds allows {n['mistakes that its margin allows']:.0f}.",
        f"On {' and '.join(mixed.names)} it makes {n['least mistakes in a pass there']} mistakes or more in "
        f"each of {n['passes']} passes: it never settles.",
        "Of the four inputs of “one of two, but not both” one neuron tells "
        f"{n['inputs of “one of two” told by one unit that rises']} with an activation that rises, and "
        f"{n['told by one that falls and rises']} with one that falls and rises; some "
        "dendrites do so upside down.",
    ]
