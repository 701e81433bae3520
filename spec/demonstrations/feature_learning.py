"""Feature learning at work: features found in pixels beat features thought out by hand, for one classifier.

The network is that of `gaugeblock.spec.demonstrations.convolutional_network`, taken apart into its features
and its classifier.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Feature Learning".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from gaugeblock.reference import logistic_regression
from gaugeblock.reference.feature_engineering import column_sums, row_sums, table, zone_sums
from gaugeblock.reference.feature_learning import (
    Exciting,
    Patterns,
    classifier_of,
    common_patterns,
    exciting,
    features_of,
    likeness,
)
from gaugeblock.reference.machine_learning import accuracy, cross_entropy
from gaugeblock.spec.demonstrations import data, faces
from gaugeblock.spec.demonstrations.convolutional_network import CLASSES, parts, trained, training
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, LINES, PALE, show_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

TITLE = "Feature learning"
NO_FACES = "For edges, parts and faces found without labels, pip install scikit-image, which carries faces."

Floats: TypeAlias = npt.NDArray[np.float64]
FeaturesOf: TypeAlias = Callable[[Floats], Floats]
"""From images, shape (N, 1, 8, 8), to a row of features for each."""

# ------------------------------------------------------------------------------------------------------------
# Four kinds of features for the same images.

PATTERNS, SIDE = 10, 5
"""How many common patterns are sought, and how large: as many and as large as the kernels of the network."""


def by_hand(images: Floats) -> Floats:
    """Return how much ink is in every row, column and zone of 2×2."""
    features = (row_sums, column_sums, lambda drawings: zone_sums(drawings, 2))
    return np.asarray(table(images[:, 0], features))


def pixels(images: Floats) -> Floats:
    """Return the pixels."""
    return images.reshape(len(images), -1)


def _patches(images: Floats) -> Floats:
    """Return all patches of the images and of one pixel of paper around them, shape (N, 6, 6, SIDE²)."""
    framed = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(framed, (SIDE, SIDE), axis=(1, 2))
    return windows.reshape(*windows.shape[:3], SIDE * SIDE)


@cache
def patterns() -> Patterns:
    """Find common patterns in every fourth image for training, where there is ink; no class is told."""
    patches = _patches(parts().training.inputs[::4]).reshape(-1, SIDE * SIDE)
    return common_patterns(patches[patches.std(axis=1) > 0.1], PATTERNS)


def without_classes(images: Floats) -> Floats:
    """Return how much the patches of each quarter of the image look like each common pattern, on average."""
    alike = likeness(_patches(images), patterns().patterns)
    N, H, W, K = alike.shape
    quarters = alike.reshape(N, 2, H // 2, 2, W // 2, K).mean(axis=(2, 4))
    return np.asarray(quarters.reshape(N, 4 * K))


def learned(images: Floats) -> Floats:
    """Return what the trained network hands to its last layer."""
    return features_of(trained(), images)


KINDS: Mapping[str, FeaturesOf] = {
    "made by hand": by_hand,
    "the pixels": pixels,
    "learned without classes": without_classes,
    "learned with the classes": learned,
}


@dataclass(frozen=True)
class Classified:
    """What a classifier makes of some features.

    Attributes
    ----------
    features : int
        How many numbers it sees of each image.
    wrong : int
        How many digits of the test it takes for another.
    """

    features: int
    wrong: int


@cache
def classified(kind: str) -> Classified:
    """Train logistic regression on features of one kind, and try it; the same split and settings for all.

    Features are standardised: their mean is 0 and their variance 1 over the images for training.
    """
    known, test = parts().training, parts().test
    X, T = (KINDS[kind](examples.inputs) for examples in (known, test))
    centre, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale == 0] = 1.0
    model = logistic_regression.fit((X - centre) / scale, known.wanted, steps=60, penalty=1 / len(X))
    return Classified(X.shape[1], int(np.sum(model.predict((T - centre) / scale) != test.wanted)))


# ------------------------------------------------------------------------------------------------------------
# The last layer is logistic regression.


@dataclass(frozen=True)
class LastLayer:
    """The last layer of the network, and logistic regression trained anew on the same features.

    Attributes
    ----------
    same : bool
        Whether the classifier taken out of the network gives the network's scores, bit for bit.
    error, anew_error : float
        The mean of −log p(right class) over the images for training, of the network and trained anew.
    accuracy, anew_accuracy : float
        The shares of right predictions for them.
    anew_wrong : int
        How many digits of the test logistic regression, trained anew, takes for another.
    """

    same: bool
    error: float
    anew_error: float
    accuracy: float
    anew_accuracy: float
    anew_wrong: int


@cache
def last_layer() -> LastLayer:
    """Take the last layer out of the network, and train another one in its place."""
    known, test = parts().training, parts().test
    X, T = learned(known.inputs), learned(test.inputs)
    of_network = trained().features(test.inputs)[-1].z
    assert of_network is not None
    anew = logistic_regression.fit(X, known.wanted, steps=300)
    probability = anew.predict_probability(X)
    error, _ = cross_entropy(np.log(probability), known.wanted)
    return LastLayer(
        same=np.array_equal(classifier_of(trained()).scores(T), of_network),
        error=training().model.error(known),
        anew_error=error,
        accuracy=accuracy(training().model, known),
        anew_accuracy=float(np.mean(anew.predict(X) == known.wanted)),
        anew_wrong=int(np.sum(anew.predict(T) != test.wanted)),
    )


# ------------------------------------------------------------------------------------------------------------
# What units have learned to see.

COUNT = 9
"""Patches of which a mean is shown."""


@cache
def seen(depth: int) -> Exciting:
    """Return the patches that the units of the first (1) or second (2) convolutional layer answer to most."""
    return exciting(trained().layers[: 2 * depth - 1], parts().training.inputs, COUNT)


@cache
def surest() -> Floats:
    """Return for each class the mean of the images that the last layer is surest of, shape (10, 8, 8)."""
    images = parts().training.inputs[:, 0]
    log_p = trained().forward(parts().training.inputs)
    return np.stack(
        [images[np.argsort(-log_p[:, k], kind="stable")[:COUNT]].mean(axis=0) for k in range(CLASSES)]
    )


@cache
def sharpness() -> float:
    """Return how much less the patches that excite a unit of the second layer vary than those that do not.

    It is the variance of pixels between the most exciting patches, as a share of that between the patches
    which excite the unit most in images drawn at random: 1 would mean that units see nothing in particular.
    """
    found = seen(2)
    draw = np.random.default_rng(3)
    images = parts().training.inputs[draw.permutation(len(parts().training))[: COUNT * len(found.patches)]]
    others = exciting(trained().layers[:3], images, len(images)).patches
    return float(found.patches.var(axis=1).mean() / others.var(axis=1).mean())


def hierarchy_picture() -> Picture:
    """Return what the three layers of units see, from strokes to digits."""
    kernels: Any = trained().layers[0].parameters["weights"]
    rows = (
        ("first layer: its kernels", kernels[:, 0], True),
        (
            f"first layer: what excites its units, mean of {COUNT} patches",
            seen(1).patches.mean(axis=1)[:, 0],
            False,
        ),
        (
            f"second layer: what excites its units, mean of {COUNT} patches",
            seen(2).patches.mean(axis=1)[:, 0],
            False,
        ),
        (f"last layer: what it is surest of, mean of {COUNT} images", surest(), False),
    )

    def draw(figure: Figure) -> None:
        parts_of_figure: Any = figure.subfigures(len(rows), 1)
        for part, (title, maps, signed) in zip(parts_of_figure, rows, strict=True):
            _row(part, title, maps, signed)

    caption = (
        "Features of a trained network, from the first layer to the last: strokes, parts, digits. White is "
        "ink; of the kernels, white is for ink and black against it. A unit of the second layer sees 14×14 "
        "pixels, more than an image has: its patches show where in its field the image was."
    )
    return Picture("hierarchy", caption, draw, size=(5.8, 3.9))


def _row(figure: SubFigure, title: str, maps: Floats, signed: bool) -> None:
    """Show maps side by side, with as many places in every row."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    panels: Any = figure.subplots(1, CLASSES)
    for axes, values in zip(panels, maps, strict=False):
        show_map(axes, values, signed=signed)
    for axes in panels[len(maps) :]:
        axes.set_axis_off()


def patterns_picture() -> Picture:
    """Return the patterns that were found without classes."""

    def draw(figure: Figure) -> None:
        for axes, pattern in zip(figure.subplots(1, PATTERNS), patterns().patterns, strict=True):
            show_map(axes, pattern.reshape(SIDE, SIDE), limits=(0.0, 1.0))

    caption = f"What patches of {SIDE}×{SIDE} pixels with ink look like most often: found without a class."
    return Picture("patterns", caption, draw, size=(7.2, 0.9))


def errors_picture() -> Picture:
    """Return the errors on the test, for each kind of features."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        found = {kind: classified(kind) for kind in KINDS}
        labels = [f"{kind}\n({result.features} numbers)" for kind, result in found.items()]
        wrong = [result.wrong for result in found.values()]
        colours = [PALE, PALE, LINES[0], ACCENT]
        bars = axes.barh(labels, wrong, color=colours)
        axes.bar_label(bars, padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel=f"digits read wrong, of {len(parts().test)}")

    caption = "The same classifier on four kinds of features of the same images."
    return Picture("errors", caption, draw, size=(6.0, 2.6))


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "hierarchy": hierarchy_picture,
    "patterns": patterns_picture,
    "errors": errors_picture,
    **({"faces": faces.picture} if data.has_faces() else {}),
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "training the network")
    training()
    progress(0.6, "the same classifier on four kinds of features")
    found = {kind: classified(kind) for kind in KINDS}
    progress(0.8, "the last layer trained anew")
    last = last_layer()
    progress(0.85, "faces")
    of_faces, said_of_faces = faces.measure() if data.has_faces() else ({}, [NO_FACES])
    numbers: dict[str, float | int] = {"digits in the test": len(parts().test)}
    for kind, result in found.items():
        numbers[f"read wrong, features {kind}"] = result.wrong
        numbers[f"features {kind}"] = result.features
    numbers |= {
        "error of the last layer for training": last.error,
        "error of logistic regression on its features": last.anew_error,
        "accuracy of the last layer for training": last.accuracy,
        "accuracy of logistic regression on its features": last.anew_accuracy,
        "read wrong by logistic regression on its features": last.anew_wrong,
        "variance between exciting patches, as a share": sharpness(),
        **of_faces,
    }
    return Demonstration.of(
        "feature_learning",
        TITLE,
        statements=[*_statements(numbers, last.same), *said_of_faces],
        numbers=numbers,
        pictures=PICTURES,
    )


def _statements(n: Mapping[str, float | int], same: bool) -> list[str]:
    return [
        f"With {n['features made by hand']} features made by hand, sums of rows, columns and zones, logistic "
        f"regression reads {n['read wrong, features made by hand']} of {n['digits in the test']} digits "
        f"wrong; with the {n['features the pixels']} pixels, {n['read wrong, features the pixels']}.",
        f"With {n['features learned without classes']} features learned from patches without being told the "
        f"classes it reads {n['read wrong, features learned without classes']} wrong; with "
        f"{n['features learned with the classes']} that a network learned from pixels and classes, "
        f"{n['read wrong, features learned with the classes']}.",
        f"The last layer is logistic regression: taken out of the network it gives "
        f"{'the same scores, bit for bit' if same else 'other scores'}.",
        "Trained anew on the features, logistic regression brings the error from "
        f"{n['error of the last layer for training']:.4f} to "
        f"{n['error of logistic regression on its features']:.4f}, and is right for "
        f"{n['accuracy of logistic regression on its features']:.1%} of the images for training.",
        "What excites a unit of the second layer is alike: pixels vary "
        f"{n['variance between exciting patches, as a share']:.0%} as much as in images at random.",
    ]
