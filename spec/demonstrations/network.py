"""Neural networks at work: what no single layer tells, two layers do, and the gradients are right.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Artificial Neural Network".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.machine_learning import Examples, Fit, accuracy, cross_entropy, fit, squared_error
from gaugeblock.reference.network import Learner, Network
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, PALE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Artificial neural network"
Floats = npt.NDArray[np.float64]
RELU, LOG_SOFTMAX = Activation("relu"), Activation("log_softmax")
HIDDEN = 8


@cache
def petals() -> tuple[Examples, Examples]:
    """Return irises to train on and held out: standardised petals, and whether the species is versicolor.

    Versicolor lies between the two others, so no line parts it from both.
    """
    irises = data.iris()
    inputs = irises.X[:, 2:]
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    examples = Examples(inputs, (irises.labels == 1).astype(np.int64))
    return examples.shuffled(np.random.default_rng(6)).split(100)


@dataclass(frozen=True)
class Trained:
    """A network without a hidden layer and one with, trained alike.

    Attributes
    ----------
    single, hidden : Fit
        The trained networks and their histories.
    single_accuracy, hidden_accuracy : float
        Shares of right predictions for held-out irises.
    """

    single: Fit[Learner]
    hidden: Fit[Learner]
    single_accuracy: float
    hidden_accuracy: float


@cache
def trained() -> Trained:
    """Train both."""
    training, held_out = petals()
    generator = np.random.default_rng(8)
    output = FullyConnected.initial(2, 2, LOG_SOFTMAX, generator)
    layers = (
        FullyConnected.initial(2, HIDDEN, RELU, generator),
        FullyConnected.initial(HIDDEN, 2, LOG_SOFTMAX, generator),
    )
    single, hidden = (
        fit(
            Learner(Network(each), cross_entropy, 0.1, 0.9),
            training,
            held_out,
            batch=20,
            rounds=60,
            patience=20,
        )
        for each in ((output,), layers)
    )
    return Trained(single, hidden, accuracy(single.model, held_out), accuracy(hidden.model, held_out))


@dataclass(frozen=True)
class Gradients:
    """How right the gradients of a small network are.

    Attributes
    ----------
    compared : int
        Parameters whose gradient was compared with a difference quotient.
    exact : int
        Those that were the same fraction.
    """

    compared: int
    exact: int


@cache
def gradients() -> Gradients:
    """Compare a rectified network's gradients with central difference quotients, in fractions."""
    generator = np.random.default_rng(2)

    def drawn(*shape: int) -> npt.NDArray[np.object_]:
        numbers = np.empty(int(np.prod(shape)), object)
        numbers[:] = [Fraction(int(n), 97) for n in generator.integers(-200, 200, numbers.size)]
        return numbers.reshape(shape)

    network = Network(
        (FullyConnected(drawn(3, 4), drawn(4), RELU), FullyConnected(drawn(4, 2), drawn(2), RELU))
    )
    examples = Examples(drawn(5, 3), drawn(5, 2))
    found = network.gradients(examples, squared_error).parameters
    h, compared, exact = Fraction(1, 10**12), 0, 0
    for index, layer in enumerate(network.parameters):
        for name, array in layer.items():
            for place in np.ndindex(array.shape):
                ends = []
                for sign in (1, -1):
                    parameters = [dict(each) for each in network.parameters]
                    parameters[index][name] = array.copy()
                    parameters[index][name][place] += sign * h
                    y = network.with_parameters(tuple(parameters)).forward(examples.inputs)
                    ends.append(squared_error(y, examples.wanted)[0])
                compared += 1
                exact += found[index][name][place] == (ends[0] - ends[1]) / (2 * h)
    return Gradients(compared, exact)


def regions_picture() -> Picture:
    """Return what both networks take for versicolor."""

    def draw(figure: Figure) -> None:
        panels = list(figure.subplot_mosaic("AB;CC").values())
        found = trained()
        for axes, made, title in (
            (panels[0], found.single, "no hidden layer"),
            (panels[1], found.hidden, f"{HIDDEN} hidden units"),
        ):
            _show_regions(axes, made.model, title)
        for index, (made, label) in enumerate(
            ((found.single, "no hidden layer"), (found.hidden, "hidden layer"))
        ):
            errors = [each.held_out_error for each in made.history]
            rounds = np.arange(1, len(errors) + 1)
            panels[2].plot(rounds, errors, color=LINES[index], linestyle=DASHES[index], label=label)
        panels[2].set(xlabel="round", ylabel="held-out error", ylim=(0, None))
        panels[2].legend()

    caption = (
        "Which irises are versicolor (squares)? A network without a hidden layer has a straight border and "
        "cannot tell; with one, its rectified features fold the plane."
    )
    return Picture("regions", caption, draw, size=(5.8, 5.0))


def _show_regions(axes: Axes, learner: Learner, title: str) -> None:
    training, held_out = petals()
    side = np.linspace(-2.0, 2.2, 141)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    versicolor = learner.predict(grid).reshape(len(side), len(side))
    axes.contourf(side, side, versicolor, levels=(0.5, 1.5), colors=[PALE])
    axes.contour(side, side, versicolor, levels=(0.5,), colors=[INK], linewidths=0.8)
    for kind, (marker, colour) in enumerate((("o", LINES[0]), ("s", ACCENT))):
        for examples, size in ((training, 2.5), (held_out, 4)):
            x, y = examples.inputs[examples.wanted == kind].T
            axes.plot(x, y, marker, color=colour, markersize=size, linestyle="none")
    axes.set(title=title, xlabel="length of petals, standardised", ylabel="width of petals, standardised")


PICTURES: Mapping[str, Callable[[], Picture]] = {"regions": regions_picture}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "gradients in fractions")
    right = gradients()
    progress(0.3, "two networks")
    found = trained()
    numbers: dict[str, float | int] = {
        "gradients compared": right.compared,
        "gradients equal to the difference quotient": right.exact,
        "accuracy without a hidden layer": found.single_accuracy,
        "accuracy with a hidden layer": found.hidden_accuracy,
        "share of the more frequent class": float(np.mean(petals()[1].wanted == 0)),
        "numbers learned without a hidden layer": found.single.model.network.size,
        "numbers learned with a hidden layer": found.hidden.model.network.size,
    }
    return Demonstration.of(
        "network", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    return [
        f"Of {n['gradients compared']} gradients that the error signal brings back through two rectified "
        f"layers, {n['gradients equal to the difference quotient']} equal the difference quotient, as "
        "fractions.",
        "Which irises are versicolor, the species in the middle, is told right for "
        f"{n['accuracy without a hidden layer']:.0%} of held-out flowers without a hidden layer (always "
        f"saying no: {n['share of the more frequent class']:.0%}) and for "
        f"{n['accuracy with a hidden layer']:.0%} with one.",
        f"That takes {n['numbers learned with a hidden layer']} numbers instead of "
        f"{n['numbers learned without a hidden layer']}.",
    ]
