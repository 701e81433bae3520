"""Deep learning at work: edges first, then features of features; signals that vanish, and some that do not.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Deep Learning".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from gaugeblock.reference.deep_learning import (
    blob_share,
    edge_share,
    error_signals,
    factor_per_layer,
    information,
    memory,
    most_informative,
    span,
    whitening,
)
from gaugeblock.reference.layer import Convolutional, FullyConnected, MaxPooling
from gaugeblock.reference.machine_learning import Examples, accuracy, cross_entropy, fit
from gaugeblock.reference.network import Learner, Network
from gaugeblock.reference.unit import LSTM, Activation
from gaugeblock.spec.demonstrations import data, recall, swift
from gaugeblock.spec.demonstrations.convolutional_network import parts
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import DASHES, LINES, QUIET, show_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Deep learning"

Floats: TypeAlias = npt.NDArray[np.float64]
RELU, LOG_SOFTMAX = Activation("relu"), Activation("log_softmax")

# ------------------------------------------------------------------------------------------------------------
# One layer: edges and blobs.

SIDE, FEATURES, PATCHES = 12, 60, 20000
"""Pixels on a side of a patch, features of the layer, and patches that it sees."""
DESCRIBED = 0.7
"""The share of a feature that an edge or a blob must explain for the feature to count as one."""


@cache
def image_patches() -> Floats:
    """Return patches of the two photographs, in grey and at half size, a row each, the mean taken off.

    Half size, since the details of the photographs are those of their compression. Patches of nothing but sky
    or shadow, which hardly vary, are left out.
    """
    draw = np.random.default_rng(0)
    found = []
    for name in ("china", "flower"):
        grey = data.photograph(name).mean(axis=2)[:426]
        halved = grey.reshape(213, 2, 320, 2).mean(axis=(1, 3))
        windows = sliding_window_view(halved, (SIDE, SIDE))
        places = draw.permutation(windows.shape[0] * windows.shape[1])[: 2 * PATCHES]
        patches = windows[places // windows.shape[1], places % windows.shape[1]].reshape(-1, SIDE * SIDE)
        patches = patches - patches.mean(axis=1, keepdims=True)
        found.append(patches[patches.std(axis=1) >= 0.02][: PATCHES // 2])
    together = np.concatenate(found)
    return np.asarray(together - together.mean(axis=0))


@dataclass(frozen=True)
class OneLayer:
    """The features of one layer.

    Attributes
    ----------
    features : ndarray, shape (FEATURES, SIDE²)
        What each unit weighs the pixels with.
    information : float
        What the outputs of sigmoid units with these features say about the patches, in nats.
    edge, blob : ndarray, shape (FEATURES,)
        The shares of each feature that an edge explains, and a blob.
    """

    features: Floats
    information: float
    edge: Floats
    blob: Floats

    @property
    def described(self) -> float:
        """The share of the features that are edges or blobs."""
        return float(np.mean(np.maximum(self.edge, self.blob) >= DESCRIBED))


@cache
def one_layer(kind: str) -> OneLayer:
    """Return the "most informative" features, the "principal components", or features "at random".

    All three are the same whitened patches, seen from other directions; the latter two are scaled such that
    they say the most.
    """
    patches = image_patches()
    white = whitening(patches, FEATURES)
    inputs = patches @ white
    if kind == "most informative":
        weights = most_informative(inputs, rounds=100, rate=0.05)
    else:
        noise = np.random.default_rng(1).standard_normal((FEATURES, FEATURES))
        turn = np.linalg.qr(noise)[0] if kind == "at random" else np.eye(FEATURES)
        weights = max((turn * s for s in (1.4, 1.8, 2.2, 2.6)), key=lambda w: information(w, inputs))
    features = (white @ weights).T
    shape = (SIDE, SIDE)
    return OneLayer(
        features, information(weights, inputs), edge_share(features, shape), blob_share(features, shape)
    )


KINDS = ("most informative", "principal components", "at random")

# ------------------------------------------------------------------------------------------------------------
# More layers see more.


@dataclass(frozen=True)
class More:
    """What a second layer on the features of the first adds.

    Attributes
    ----------
    numbers : int
        How many features either network hands to its classifier.
    one, two : float
        The accuracies on the test with one layer of features and with two.
    """

    numbers: int
    one: float
    two: float


@cache
def more() -> More:
    """Train one layer of features on digits, freeze it, and train a second one on what it has found.

    In both cases the largest answer of each of 16 units, wherever in the image, goes to the classifier.
    """
    draw = np.random.default_rng(0)
    first = Convolutional.initial(1, 16, (3, 3), RELU, draw, padding=1)
    one = Network((first, MaxPooling(8), FullyConnected.initial(16, 10, LOG_SOFTMAX, draw)))
    learner = _trained(one, parts().training, parts().held_out, rate=0.05, batch=25, rounds=10)
    found = Network((learner.network.layers[0], MaxPooling(2)))
    known, held_out, test = (
        Examples(found.forward(part.inputs, on=swift), part.wanted)
        for part in (parts().training, parts().held_out, parts().test)
    )
    second = Convolutional.initial(16, 16, (3, 3), RELU, draw, padding=1)
    two = Network((second, MaxPooling(4), FullyConnected.initial(16, 10, LOG_SOFTMAX, draw)))
    return More(
        numbers=16,
        one=accuracy(learner, parts().test),
        two=accuracy(_trained(two, known, held_out, rate=0.05, batch=25, rounds=10), test),
    )


def _trained(
    network: Network, known: Examples, held_out: Examples, *, rate: float, batch: int, rounds: int
) -> Learner:
    """Return the learner after so many rounds, that with the least error on what was held out."""
    learner = Learner(network, cross_entropy, rate=rate, momentum=0.9, on=swift)
    return fit(learner, known, held_out, batch=batch, rounds=rounds, patience=rounds).model


# ------------------------------------------------------------------------------------------------------------
# Signals through many layers.

DEPTH, WIDTH = 30, 64
ACTIVATIONS = ("sigmoid", "tanh", "relu")
DEPTHS = (1, 2, 4, 8, 16)
TRAINED = ("sigmoid", "relu")


def deep_network(depth: int, activation: str, seed: int = 0) -> Network:
    """Return a network for digits with so many hidden layers; the same weights, whatever the activation.

    They are drawn with the variance 2/inputs, under which rectified units neither lose nor gain (He 2015).
    """
    draw = np.random.default_rng(seed)
    sizes = (64, *[WIDTH] * depth, 10)
    units = (*[Activation(activation)] * depth, LOG_SOFTMAX)
    return Network(
        tuple(
            FullyConnected(draw.standard_normal((n, m)) * (2 / n) ** 0.5, np.zeros(m), unit)
            for n, m, unit in zip(sizes[:-1], sizes[1:], units, strict=True)
        )
    )


@cache
def signals(activation: str) -> Floats:
    """Return the error signal at each of 30 hidden layers, from the last to the first, by that at the last.

    The geometric mean over five networks, before training, on 50 digits.
    """
    examples = parts().training[:50]
    found = [
        error_signals(deep_network(DEPTH, activation, seed), examples, cross_entropy, on=swift)
        for seed in range(5)
    ]
    at_hidden = [lengths[1 : DEPTH + 1][::-1] for lengths in found]
    return np.asarray(np.exp(np.mean([np.log(lengths / lengths[0]) for lengths in at_hidden], axis=0)))


@cache
def trained_accuracy(depth: int, activation: str) -> float:
    """Return the accuracy on the test after twelve rounds."""
    network = deep_network(depth, activation)
    learner = _trained(network, parts().training, parts().held_out, rate=0.01, batch=32, rounds=12)
    return accuracy(learner, parts().test)


# ------------------------------------------------------------------------------------------------------------
# Shallow learners.

CANVAS = 14
"""Pixels on a side of the canvas on which digits of 8×8 are scattered."""
MACHINE, LOGISTIC = "support vector machine", "logistic regression"


@cache
def scattered() -> tuple[Examples, Examples, Examples]:
    """Return the digits to train on, held out and for the test, each anywhere on a larger canvas."""
    draw = np.random.default_rng(0)
    found = []
    for part in (parts().training, parts().held_out, parts().test):
        canvas = np.zeros((len(part), 1, CANVAS, CANVAS))
        for image, digit, (row, column) in zip(
            canvas, part.inputs, draw.integers(0, CANVAS - 8 + 1, (len(part), 2)), strict=True
        ):
            image[:, row : row + 8, column : column + 8] = digit
        found.append(Examples(canvas, part.wanted))
    training, held_out, test = found
    return training, held_out, test


@cache
def shallow_accuracy(learner: str, still: bool) -> float:
    """Return the accuracy on the test of a learner of scikit-learn, of digits in place or scattered ones."""
    from sklearn.linear_model import LogisticRegression  # late: they take a second to import
    from sklearn.svm import SVC

    model = SVC(C=10.0) if learner == MACHINE else LogisticRegression(max_iter=2000, tol=1e-3)
    training, test = (parts().training, parts().test) if still else scattered()[::2]
    model.fit(training.inputs.reshape(len(training), -1), training.wanted)
    return float(model.score(test.inputs.reshape(len(test), -1), test.wanted))


@cache
def scattered_accuracy(activation: str) -> float:
    """Return the accuracy on scattered digits of two convolutional layers after ten rounds."""
    training, held_out, test = scattered()
    network = scattered_network(activation)
    return accuracy(_trained(network, training, held_out, rate=0.05, batch=25, rounds=10), test)


def scattered_network(activation: str) -> Network:
    """Return a network of two convolutional layers before it has learned to read scattered digits."""
    draw, unit = np.random.default_rng(0), Activation(activation)
    return Network(
        (
            Convolutional.initial(1, 8, (3, 3), unit, draw, padding=1),
            MaxPooling(2),
            Convolutional.initial(8, 16, (3, 3), unit, draw, padding=1),
            MaxPooling(CANVAS // 2),
            FullyConnected.initial(16, 10, LOG_SOFTMAX, draw),
        )
    )


@cache
def unshared_accuracy() -> tuple[int, float]:
    """Return the parameters of a fully connected network, and its accuracy on scattered digits likewise."""
    draw = np.random.default_rng(0)
    training, held_out, test = scattered()
    network = Network(
        (
            FullyConnected.initial(CANVAS**2, 64, RELU, draw),
            FullyConnected.initial(64, 10, LOG_SOFTMAX, draw),
        )
    )
    learned = _trained(network, training, held_out, rate=0.05, batch=25, rounds=10)
    return network.size, accuracy(learned, test)


# ------------------------------------------------------------------------------------------------------------
# Signals through many steps.

STEPS = 400
LAGS = (10, 20, 50, 100, 200)
PLAIN, GATED, HALF_OPEN = "plain recurrence", "LSTM, forget gates open", "LSTM, forget gates half open"


@cache
def memories(kind: str) -> Floats:
    """Return how the last output depends on what came k steps before, by the most it does: (5, STEPS).

    Five layers of eight units, before training, each on noise of 400 steps.
    """
    found = []
    for seed in range(5):
        draw = np.random.default_rng(seed)
        layer = recall.initial(Activation("tanh") if kind == PLAIN else LSTM(), draw)
        if kind == HALF_OPEN:
            layer = replace(layer, bias=np.zeros_like(layer.bias))
        lengths = memory(layer, draw.standard_normal((STEPS, 2)), on=swift)
        found.append(lengths / lengths[0])
    return np.array(found)


def memory_span(kind: str) -> int:
    """Return over how many steps a hundredth of the signal is left: the median of five layers."""
    return int(np.median([span(lengths) for lengths in memories(kind)]))


@cache
def recalled(lag: int, kind: str) -> float:
    """Return the share of signs told right so many steps after they were shown, after fifteen rounds.

    Sequences for the test are new. Plain recurrence may try from three beginnings, and the best counts.
    """
    known, held_out, test = (
        recall.sequences(lag, count, np.random.default_rng(100 + index))
        for index, count in enumerate((256, 128, 256))
    )
    right = []
    for seed in range(3 if kind == PLAIN else 1):
        model = recall.Recaller.of(Activation("tanh") if kind == PLAIN else LSTM(), seed)
        found = fit(model, known, held_out, batch=32, rounds=15, patience=15)
        right.append(accuracy(found.model, test))
        if right[-1] == 1:
            break
    return max(right)


# ------------------------------------------------------------------------------------------------------------
# Pictures.


def features_picture() -> Picture:
    """Return the most informative features and the principal components, edges and blobs first."""

    def draw(figure: Figure) -> None:
        for axes, kind in zip(figure.subplots(2, 1), KINDS, strict=False):
            found = one_layer(kind)
            show_map(
                axes, _tiled(found), title=f"{kind}: {found.described:.0%} edges or blobs", limits=(-1, 1)
            )

    caption = (
        f"Features of one layer on {SIDE}×{SIDE} patches of two photographs: those that say most about the "
        "patch, and its principal components; best described by an edge or a blob first."
    )
    return Picture("features", caption, draw, size=(5.4, 6.2))


def _tiled(layer: OneLayer) -> Floats:
    """Return one map of all features in ten columns, each from −1 to 1, with white lines in between."""
    columns = 10
    tiles = np.ones((FEATURES // columns, SIDE + 1, columns, SIDE + 1))
    order = np.argsort(-np.maximum(layer.edge, layer.blob), kind="stable")
    for place, index in enumerate(order):
        feature = layer.features[index]
        tile = (feature / np.abs(feature).max()).reshape(SIDE, SIDE)
        tiles[place // columns, :SIDE, place % columns, :SIDE] = tile
    return tiles.reshape(-1, columns * (SIDE + 1))[:-1, :-1]


def _style(index: int, label: str) -> dict[str, Any]:
    """Return how one of several lines looks."""
    return {"color": LINES[index], "linestyle": DASHES[index], "label": label}


def _guessing(axes: Axes, chance: float) -> None:
    """Draw the line that guessing reaches."""
    axes.axhline(chance, color=QUIET, linestyle=":", linewidth=1)
    axes.annotate(
        "guessing",
        (1, chance),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )


def signals_picture() -> Picture:
    """Return the error signal against the layers that it has passed."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, name in enumerate(ACTIVATIONS):
            axes.semilogy(np.arange(DEPTH), signals(name), **_style(index, name))
        axes.set(xlabel="layers passed on the way back", ylabel="error signal, by that at the last layer")
        axes.legend()

    caption = (
        "How large the error signal still is on its way back through networks with the same weights, before "
        "training."
    )
    return Picture("signals", caption, draw, size=(5.0, 3.0))


def depths_picture() -> Picture:
    """Return what can be learned at which depth."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, learner in enumerate((MACHINE, LOGISTIC)):
            axes.axhline(
                shallow_accuracy(learner, still=True), color=QUIET, linestyle=DASHES[index], label=learner
            )
        for name in TRAINED:
            accuracies = [trained_accuracy(depth, name) for depth in DEPTHS]
            axes.plot(DEPTHS, accuracies, marker="o", **_style(ACTIVATIONS.index(name), name))
        axes.set_xscale("log", base=2)
        axes.set(xlabel="hidden layers", ylabel="accuracy on the test", ylim=(0, 1.02), xticks=DEPTHS)
        axes.set_xticklabels([str(depth) for depth in DEPTHS])
        _guessing(axes, 0.1)
        axes.legend()

    caption = (
        "What networks of sigmoids and of rectifiers have learned about digits after twelve rounds, and two "
        "shallow learners."
    )
    return Picture("depths", caption, draw, size=(5.0, 3.0))


def memory_picture() -> Picture:
    """Return the memory of units against the time lag."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, kind in enumerate((PLAIN, GATED, HALF_OPEN)):
            middle = np.maximum(np.median(memories(kind), axis=0), 1e-12)
            axes.loglog(np.arange(1, STEPS + 1), middle, **_style(index, kind))
        axes.axhline(0.01, color=QUIET, linestyle=":", linewidth=1)
        axes.set(
            xlabel="steps back from the last, from 1", ylabel="dependence of the last output", ylim=(1e-6, 2)
        )
        axes.legend(loc="lower left")

    caption = (
        "How much the last output of recurrent layers depends on earlier inputs, before training. The line "
        "is a hundredth."
    )
    return Picture("memory", caption, draw, size=(5.0, 3.2))


def recall_picture() -> Picture:
    """Return what units recall, against the time lag."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, kind in enumerate((PLAIN, GATED)):
            axes.plot(LAGS, [recalled(lag, kind) for lag in LAGS], marker="o", **_style(index, kind))
        axes.set_xscale("log")
        axes.set(xlabel="steps in between", ylabel="signs recalled", ylim=(0.4, 1.02), xticks=LAGS)
        axes.set_xticklabels([str(lag) for lag in LAGS])
        axes.minorticks_off()
        _guessing(axes, 0.5)
        axes.legend(loc="center left")

    caption = "How often a sign that was shown at the first step is told at the last, after training."
    return Picture("recall", caption, draw, size=(5.0, 3.0))


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "features": features_picture,
    "signals": signals_picture,
    "depths": depths_picture,
    "memory": memory_picture,
    "recall": recall_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "features of one layer")
    numbers: dict[str, float | int] = {}
    for kind in KINDS:
        numbers[f"edges or blobs, {kind}"] = one_layer(kind).described
        numbers[f"information in nats, {kind}"] = one_layer(kind).information
    numbers["features that a blob describes, most informative"] = int(
        np.sum(one_layer(KINDS[0]).blob >= DESCRIBED)
    )
    progress(0.2, "a second layer")
    added = more()
    numbers |= {
        "accuracy with one layer of features": added.one,
        "accuracy with a second on top": added.two,
        "features for the classifier": added.numbers,
    }
    progress(0.35, "signals through layers")
    for activation in ACTIVATIONS:
        numbers[f"signal after {DEPTH - 1} layers, {activation}"] = float(signals(activation)[-1])
        numbers[f"factor per layer, {activation}"] = factor_per_layer(signals(activation)[::-1])
    for depth in (DEPTHS[0], DEPTHS[-1]):
        for activation in TRAINED:
            numbers[f"accuracy, {depth} hidden, {activation}"] = trained_accuracy(depth, activation)
    progress(0.45, "shallow learners")
    for learner in (MACHINE, LOGISTIC):
        numbers[f"accuracy, {learner}"] = shallow_accuracy(learner, still=True)
        numbers[f"accuracy on scattered digits, {learner}"] = shallow_accuracy(learner, still=False)
    for activation in TRAINED:
        numbers[f"accuracy on scattered digits, {activation}"] = scattered_accuracy(activation)
    unshared, numbers["accuracy on scattered digits, fully connected"] = unshared_accuracy()
    numbers |= {
        "parameters of the fully connected network": unshared,
        "parameters of the convolutional network": scattered_network("relu").size,
    }
    progress(0.55, "signals through time")
    for kind in (PLAIN, GATED, HALF_OPEN):
        numbers[f"memory in steps, {kind}"] = memory_span(kind)
    for done, lag in enumerate(LAGS):
        progress(0.6 + 0.35 * done / len(LAGS), f"recalling after {lag} steps")
        for kind in (PLAIN, GATED):
            numbers[f"recalled after {lag} steps, {kind}"] = recalled(lag, kind)
    return Demonstration.of(
        "deep_learning", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    edges, nats = (
        [n[f"{what}, {kind}"] for kind in KINDS] for what in ("edges or blobs", "information in nats")
    )
    back = {name: n[f"signal after {DEPTH - 1} layers, {name}"] for name in ACTIVATIONS}
    factor = {name: n[f"factor per layer, {name}"] for name in ACTIVATIONS}
    few, many = DEPTHS[0], DEPTHS[-1]
    right = {
        (depth, name): n[f"accuracy, {depth} hidden, {name}"] for depth in (few, many) for name in TRAINED
    }
    short, long = LAGS[0], LAGS[-1]
    told = {(lag, kind): n[f"recalled after {lag} steps, {kind}"] for lag in LAGS for kind in (PLAIN, GATED)}
    scattered_digits = {
        name: n[f"accuracy on scattered digits, {name}"] for name in (MACHINE, LOGISTIC, *TRAINED)
    }
    spans = {kind: n[f"memory in steps, {kind}"] for kind in (PLAIN, GATED, HALF_OPEN)}
    return [
        "The features of one layer that say most about patches of photographs are edges and blobs: "
        f"{edges[0]:.0%} of them are, of principal components {edges[1]:.0%}, of random features "
        f"{edges[2]:.0%}.",
        f"They say {nats[0] - nats[1]:.1f} nats more about a patch than principal components, and "
        f"{nats[0] - nats[2]:.1f} more than random features.",
        "A second layer, on the features of the first, sees more: with as many features for the classifier, "
        f"{n['features for the classifier']}, the accuracy on digits rises from "
        f"{n['accuracy with one layer of features']:.1%} to {n['accuracy with a second on top']:.1%}.",
        f"Back through {DEPTH - 1} layers of sigmoids {back['sigmoid']:.0e} of the error signal is left, "
        f"through rectifiers with the same weights {back['relu']:.2g}: a factor of {factor['sigmoid']:.2f} "
        f"per layer against {factor['relu']:.2f}.",
        f"With {few} hidden layer sigmoids and rectifiers learn to read digits ({right[few, 'sigmoid']:.0%} "
        f"and {right[few, 'relu']:.0%} right); with {many}, sigmoids do not "
        f"({right[many, 'sigmoid']:.0%}) and rectifiers do ({right[many, 'relu']:.0%}).",
        f"So deep networks of sigmoids lose to shallow learners: a {MACHINE} reads "
        f"{n[f'accuracy, {MACHINE}']:.1%} of the digits, {LOGISTIC} {n[f'accuracy, {LOGISTIC}']:.1%}.",
        f"Rectifiers turn it round where depth is needed. Of digits anywhere on {CANVAS}×{CANVAS} pixels the "
        f"{MACHINE} reads {scattered_digits[MACHINE]:.0%}, {LOGISTIC} {scattered_digits[LOGISTIC]:.0%}; two "
        f"convolutional layers of rectifiers {scattered_digits['relu']:.0%}, of sigmoids "
        f"{scattered_digits['sigmoid']:.0%}.",
        f"The convolutions have {n['parameters of the convolutional network']:,} parameters. A fully "
        "connected network of rectifiers, trained alike, has "
        f"{n['parameters of the fully connected network']:,} and reads "
        f"{n['accuracy on scattered digits, fully connected']:.0%}.",
        f"Plain recurrence has a hundredth of the signal left after {spans[PLAIN]} steps, LSTM units with "
        f"open forget gates after {spans[GATED]}; with gates half open, after {spans[HALF_OPEN]}.",
        f"Trained to recall a sign, plain recurrence tells {told[short, PLAIN]:.0%} right after {short} "
        f"steps and {told[long, PLAIN]:.0%} after {long}, where guessing gives 50%; LSTM units tell "
        f"{told[long, GATED]:.0%} after {long}.",
    ]
