"""A convolutional network at work: it learns to read digits, and shows what it looks at.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolutional Neural
Network".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import logistic_regression
from gaugeblock.reference.convolutional_network import convolutional_network, evidence, kernels
from gaugeblock.reference.counting import Cost, costs, total
from gaugeblock.reference.machine_learning import Examples, Fit, accuracy, cross_entropy, fit
from gaugeblock.reference.network import Learner, Network
from gaugeblock.spec.composition import prediction
from gaugeblock.spec.demonstrations import data, shape_or_colour
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, QUIET, show_map, show_photograph

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Convolutional network"

Floats: TypeAlias = npt.NDArray[np.float64]

SHAPE = (1, 8, 8)
CLASSES = 10
TRAINING, HELD_OUT = 1197, 300
"""The sizes of two parts of the 1797 digits; the other 300 are for the test, and no decision sees them."""


@dataclass(frozen=True)
class Parts:
    """The digits in three parts, drawn by a seed."""

    training: Examples
    held_out: Examples
    test: Examples


@cache
def parts() -> Parts:
    """Return the digits as images of one channel, from 0 (paper) to 1 (ink)."""
    digits = data.digits()
    order = np.random.default_rng(0).permutation(len(digits))
    images = Examples(digits.X.reshape(-1, *SHAPE), digits.labels)[order]
    training, rest = images.split(TRAINING)
    return Parts(training, *rest.split(HELD_OUT))


# ------------------------------------------------------------------------------------------------------------
# Learning to read.


def drawn() -> Network:
    """Return the network before it has learned anything."""
    return convolutional_network(SHAPE, CLASSES, np.random.default_rng(0), padding="same")


@cache
def training() -> Fit[Learner]:
    """Train the network on one part, stopped by another."""
    learner = Learner(drawn(), cross_entropy, rate=0.05, momentum=0.9, decay=0.001)
    return fit(learner, parts().training, parts().held_out, batch=32, patience=5, rounds=30)


def trained() -> Network:
    """Return the network after it has learned."""
    return training().model.network


def _logistic(X: Floats, labels: npt.NDArray[np.int64]) -> logistic_regression.Model:
    """Return logistic regression on pixels, with the penalty 1/N, scikit-learn's default."""
    return logistic_regression.fit(X, labels, steps=100, penalty=1 / len(X))


@cache
def on_pixels() -> int:
    """Return how many digits of the test logistic regression on the pixels reads wrong."""
    known, test = parts().training, parts().test
    model = _logistic(known.inputs.reshape(len(known), -1), known.wanted)
    return int(np.sum(model.predict(test.inputs.reshape(len(test), -1)) != test.wanted))


@cache
def published() -> float:
    """Return the accuracy of logistic regression on the parts that scikit-learn's documentation uses.

    Its "Digits Classification Exercise" trains on the first nine tenths and tries on the last. It publishes
    0.933333, which is 168 of 180.
    """
    digits = data.digits()
    count = int(0.9 * len(digits))
    model = _logistic(digits.X[:count], digits.labels[:count])
    return float(np.mean(model.predict(digits.X[count:]) == digits.labels[count:]))


@cache
def wrong() -> int:
    """Return how many digits of the test the network reads wrong."""
    test = parts().test
    return int(np.sum(training().model.predict(test.inputs) != test.wanted))


@cache
def counted() -> tuple[Cost, ...]:
    """Return what the network costs, layer by layer."""
    return costs(drawn(), SHAPE)


@cache
def counted_unpooled() -> Cost:
    """Return what the same network costs without its pooling layers."""
    unpooled = convolutional_network(SHAPE, CLASSES, np.random.default_rng(0), padding="same", pool=1)
    return total(costs(unpooled, SHAPE))


def of_classes(values: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the share of the variance of features that is between the means of the classes."""
    flat = values.reshape(len(values), -1)
    means = np.array([flat[labels == k].mean(axis=0) for k in range(CLASSES)])
    return float(((means[labels] - flat.mean(axis=0)) ** 2).sum() / ((flat - flat.mean(axis=0)) ** 2).sum())


@cache
def abstraction(network: Callable[[], Network]) -> tuple[float, ...]:
    """Return how much classes explain of the pixels of the test, and of what the pooling layers hand on."""
    test = parts().test
    passed = network().features(test.inputs)
    return tuple(of_classes(values, test.wanted) for values in (test.inputs, passed[1].y, passed[3].y))


@dataclass(frozen=True)
class Rounded:
    """What computing in float32 may do to the predictions for the test.

    Attributes
    ----------
    bound : float
        The largest bound of a logarithm of a probability (CNN-A1).
    decided : int
        How many predictions no implementation within the bounds can turn into another class.
    """

    bound: float
    decided: int


@cache
def rounded() -> Rounded:
    """Bound the errors of the network in float32 on the digits of the test."""
    estimate = prediction(trained().as_type(np.float32), parts().test.inputs)
    least, most = estimate.value - estimate.error, estimate.value + estimate.error
    rows, best = np.arange(len(least)), np.argmax(estimate.value, axis=1)
    most[rows, best] = -np.inf
    return Rounded(float(estimate.error.max()), int(np.sum(least[rows, best] > most.max(axis=1))))


# ------------------------------------------------------------------------------------------------------------
# Pictures.


@cache
def _shown() -> tuple[Floats, int]:
    """Return an image of a three of the test, and its place there."""
    test = parts().test
    place = int(np.flatnonzero(test.wanted == 3)[0])
    return test.inputs[place : place + 1], place


def layers_picture() -> Picture:
    """Return what each layer hands on for one digit."""
    image, _ = _shown()
    features = trained().features(image)

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(5, 10, height_ratios=(1, 1, 1, 1, 1.2))
        rows = ("4 maps by 5×5", "maximum of 2×2", "10 maps by 5×5", "maximum of 2×2")
        show_map(figure.add_subplot(grid[0:2, 0:2]), -image[0, 0], title="image")
        for row, (name, passed) in enumerate(zip(rows, features, strict=False)):
            limits = (0.0, float(features[row - row % 2].y.max()))
            for column, values in enumerate(passed.y[0]):
                place = grid[row, column + (4 if row < 2 else 0)]
                axes = figure.add_subplot(place)
                show_map(axes, values, title=name if column == 0 else "", limits=limits)
        _show_probabilities(figure.add_subplot(grid[4, :]), np.exp(features[-1].y)[0])

    caption = (
        "A digit on its way through the network: what each layer hands on (white is much), and last the "
        "probability of every class."
    )
    return Picture("layers", caption, draw, size=(6.2, 5.0))


def _show_probabilities(axes: Axes, probabilities: Floats) -> None:
    classes = np.arange(CLASSES)
    largest = int(np.argmax(probabilities))
    axes.bar(classes, probabilities, color=[ACCENT if k == largest else LINES[0] for k in classes], width=0.6)
    axes.set(title="probability of each class", xticks=classes, ylim=(0, 1), yticks=(0, 1))


def filters_picture() -> Picture:
    """Return the kernels of the first layer, as drawn and as learned."""
    before, after = kernels(drawn()), kernels(trained())

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, len(after))
        limit = float(max(np.abs(before).max(), np.abs(after).max()))
        for row, (name, found) in enumerate((("drawn", before), ("learned", after))):
            for k, axes in enumerate(panels[row]):
                show_map(axes, found[k, 0], title=f"kernel {k + 1}, {name}", limits=(-limit, limit))

    caption = (
        "The kernels of the first layer before training and after it: grey is 0, white positive, black "
        "negative."
    )
    return Picture("filters", caption, draw, size=(5.8, 3.3))


def history_picture() -> Picture:
    """Return the errors during training."""
    learned = training()
    rounds = np.arange(1, len(learned.history) + 1)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        series = (
            (left, [made.error for made in learned.history], "training", 0),
            (left, [made.held_out_error for made in learned.history], "held out", 1),
            (right, [100 * (1 - made.accuracy) for made in learned.history], "training", 0),
            (right, [100 * (1 - made.held_out_accuracy) for made in learned.history], "held out", 1),
        )
        for axes, values, label, style in series:
            axes.plot(rounds, values, color=LINES[style], linestyle=DASHES[style], label=label)
        for axes, title in ((left, "cross-entropy"), (right, "wrong predictions in %")):
            axes.axvline(learned.best, color=QUIET, linewidth=0.8, linestyle="-")
            axes.set(title=title, xlabel="round", xlim=(1, len(rounds)), xticks=(1, *rounds[4::5]))
        left.set(ylim=(0, 0.8), yticks=(0, 0.2, 0.4, 0.6, 0.8))
        right.set(ylim=(0, 20), yticks=(0, 5, 10, 15, 20))
        left.annotate("best", (learned.best, 0.72), xytext=(-24, 0), textcoords="offset points", color=INK)
        left.legend()

    caption = (
        "Errors after each round. Training stops when the held-out error no longer falls; the network is the "
        "one with the least, at the grey line."
    )
    return Picture("history", caption, draw, size=(7.2, 2.8))


def evidence_picture() -> Picture:
    """Return what each pixel says for the right class and for the one that comes second."""
    test, network = parts().test, trained()
    places = [int(np.flatnonzero(test.wanted == k)[0]) for k in (0, 3, 5, 8)]
    images, labels = test.inputs[places], test.wanted[places]
    scores = network.forward(images)
    scores[np.arange(len(labels)), labels] = -np.inf
    second = np.argmax(scores, axis=1)
    said = [evidence(network, images, classes)[:, 0] for classes in (labels, second)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(3, len(places))
        limit = float(np.max(np.abs(said)))
        for column in range(len(places)):
            show_map(panels[0, column], -images[column, 0])
            for row, classes in ((1, labels), (2, second)):
                title = f"for {classes[column]}"
                show_map(panels[row, column], said[row - 1][column], title=title, limits=(-limit, limit))

    caption = (
        "Four digits, what their pixels say for the right class, and for the one that comes second: white "
        "speaks for it, black against it."
    )
    return Picture("evidence", caption, draw, size=(6.0, 4.8))


def costs_picture() -> Picture:
    """Return what each layer costs."""
    found = counted()

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 4, sharey=True)
        places = np.arange(len(found))
        kinds: tuple[tuple[str, Callable[[Cost], int]], ...] = (
            ("parameters", lambda cost: cost.parameters),
            ("multiplications", lambda cost: cost.multiplications),
            ("held forward", lambda cost: cost.forward),
            ("held backward", lambda cost: cost.backward),
        )
        for axes, (title, count) in zip(panels, kinds, strict=True):
            values = [count(cost) for cost in found]
            axes.barh(places, values, color=LINES[0], height=0.6)
            axes.set(title=title, xlim=(0, 1.45 * max(values)), xticks=())
            for place, value in zip(places, values, strict=True):
                axes.text(value, place, f" {value:,}", va="center", fontsize=7, color=INK)
        panels[0].set(yticks=places, yticklabels=[cost.layer for cost in found])
        panels[0].invert_yaxis()

    caption = "What each layer costs for one digit: the second convolution has most of the parameters."
    return Picture("costs", caption, draw, size=(8.4, 2.4))


def tasks_picture() -> Picture:
    """Return some of the coloured digits, and the filters that either task has made."""
    images, _ = shape_or_colour.pictures()
    rows = {"some of the pictures": np.moveaxis(images[: shape_or_colour.MAPS], 1, -1)}
    for task in shape_or_colour.TASKS:
        filters = shape_or_colour.fitted(task).filters
        size = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
        rows[f"filters for {task}"] = np.moveaxis(0.5 + filters / (2 * size), 1, -1)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(rows), shape_or_colour.MAPS)
        for line, (name, shown) in zip(panels, rows.items(), strict=True):
            for place, axes in enumerate(line):
                show_photograph(axes, np.round(shown[place], 6), title="" if place else name)

    caption = (
        "Digits in four hues, and the filters that one network learns to tell their shapes or their colours: "
        "grey where all channels count alike, coloured where they do not."
    )
    return Picture("tasks", caption, draw, size=(5.8, 2.9))


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "layers": layers_picture,
    "filters": filters_picture,
    "history": history_picture,
    "evidence": evidence_picture,
    "costs": costs_picture,
    "tasks": tasks_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "training the network")
    learned = training()
    progress(0.6, "logistic regression on pixels")
    pixels = on_pixels()
    progress(0.75, "logistic regression on the published parts")
    exercise = published()
    progress(0.8, "shape or colour")
    tasks = {task: shape_or_colour.fitted(task) for task in shape_or_colour.TASKS}
    progress(0.95, "bounds in float32")
    together, bounds, test = total(counted()), rounded(), parts().test
    learned_of, drawn_of = abstraction(trained), abstraction(drawn)
    numbers: dict[str, Any] = {
        "parameters": together.parameters,
        "multiplications for a digit": together.multiplications,
        "numbers held forward": together.forward,
        "numbers held backward": together.backward,
        "numbers held forward without pooling": counted_unpooled().forward,
        "parameters without pooling": counted_unpooled().parameters,
        "rounds": len(learned.history),
        "best round": learned.best,
        "digits in the test": len(test),
        "wrong": wrong(),
        "accuracy on the test": accuracy(learned.model, test),
        "accuracy held out": accuracy(learned.model, parts().held_out),
        "wrong by logistic regression on pixels": pixels,
        "accuracy of logistic regression on pixels": 1 - pixels / len(test),
        "accuracy of logistic regression on the published parts": exercise,
        "largest bound in float32": bounds.bound,
        "predictions that float32 cannot change": bounds.decided,
        "share of the class in the variance, pixels": learned_of[0],
        "share of the class in the variance, first layer": learned_of[1],
        "share of the class in the variance, second layer": learned_of[2],
        "share of the class in the variance, second layer before training": drawn_of[2],
    }
    for task, learned_for in tasks.items():
        numbers |= {
            f"colourfulness of the filters for {task}": learned_for.colourfulness,
            f"accuracy, {task}": learned_for.accuracy,
            f"accuracy, {task}, without colours": learned_for.greyed,
            f"accuracy, {task}, without shapes": learned_for.scrambled,
        }
    return Demonstration.of(
        "convolutional_network", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, Any]) -> list[str]:
    test = n["digits in the test"]
    return [
        f"The network has {n['parameters']:,} parameters. For a digit it multiplies "
        f"{n['multiplications for a digit']:,} times, holds {n['numbers held forward']:,} numbers forward "
        f"and {n['numbers held backward']:,} backward. Without pooling it would hold "
        f"{n['numbers held forward without pooling']:,} forward and have "
        f"{n['parameters without pooling']:,} parameters.",
        "Later layers see more of what a digit is: the class explains "
        f"{n['share of the class in the variance, pixels']:.0%} of the variance of pixels, "
        f"{n['share of the class in the variance, first layer']:.0%} of that of the first layer's features "
        f"and {n['share of the class in the variance, second layer']:.0%} of that of the second's; before "
        f"training, {n['share of the class in the variance, second layer before training']:.0%}.",
        f"It is best after round {n['best round']} of {n['rounds']}, by its error on {HELD_OUT} held-out "
        "digits.",
        f"Of {test} digits that no decision saw it reads {n['wrong']} wrong: an accuracy of "
        f"{n['accuracy on the test']:.3f}; every hand wrote in all parts, which are drawn at random.",
        f"Logistic regression on the pixels reads {n['wrong by logistic regression on pixels']} of them "
        f"wrong: {n['accuracy of logistic regression on pixels']:.3f}; on so few digits the difference may "
        "be chance.",
        "On the parts of scikit-learn's exercise, whose page says 0.933333, ours gives "
        f"{n['accuracy of logistic regression on the published parts']:.6f}.",
        "Computed in float32, no logarithm of a probability is off by more than "
        f"{n['largest bound in float32']:.1e}, and {n['predictions that float32 cannot change']} of {test} "
        "predictions cannot change, whatever the order of the sums.",
        "Filters fit the task. Of the same pictures one network learns shapes with filters of a "
        f"colourfulness of {n['colourfulness of the filters for shape']:.2f} and colours with filters of "
        f"{n['colourfulness of the filters for colour']:.2f}; without colours it still tells "
        f"{n['accuracy, shape, without colours']:.0%} of the shapes and "
        f"{n['accuracy, colour, without colours']:.0%} of the colours, without shapes "
        f"{n['accuracy, shape, without shapes']:.0%} and {n['accuracy, colour, without shapes']:.0%}.",
    ]
