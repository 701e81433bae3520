"""Feature engineering at work: two counts of coloured pixels tell water animals from land animals, no more.

The surroundings are real: patches of scikit-learn's photograph of a pagoda above a lake. No photographs of
animals come with our dependencies, so the animals are synthetic: grey silhouettes, drawn onto the patches.
What a patch shows follows from where it was cut out, never from its colours; patches for training and those
to be predicted come from different stripes.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Feature Engineering".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from gaugeblock.reference import logistic_regression
from gaugeblock.reference.feature_engineering import (
    Feature,
    bluish,
    classes_left,
    column_sums,
    greenish,
    hue,
    row_sums,
    table,
)
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, INK, LINES, PALE, QUIET, show_photograph

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Feature engineering"

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Part: TypeAlias = Literal["training", "held-out"]

PARTS: tuple[Part, Part] = ("training", "held-out")
SIZE = 16
"""Rows and columns of a patch."""
STEP = 4
"""Rows and columns from one patch of a stripe to the next: they overlap."""
STRIPE = 32
"""Columns of a stripe; patches of different stripes share no pixel."""

# ------------------------------------------------------------------------------------------------------------
# The surroundings.


@dataclass(frozen=True)
class Place:
    """A rectangle of a photograph that shows one kind of thing, in stripes from top to bottom.

    The first stripe, the third and so on are for training, the others to be predicted.

    Attributes
    ----------
    photograph : str
        Which one.
    rows, columns : tuple of int
        The first, and the one after the last.
    """

    photograph: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    def stripes(self, part: Part) -> list[tuple[int, int]]:
        """Return the first column of each stripe of a part, and the one after its last."""
        first, end = self.columns
        starts = range(first, end - SIZE + 1, STRIPE)[PARTS.index(part) :: 2]
        return [(start, min(start + STRIPE, end)) for start in starts]

    def patches(self, part: Part) -> Floats:
        """Return the patches of a part, with whole numbers from 0 to 255, shape (N, SIZE, SIZE, 3)."""
        pixels = np.rint(255 * data.photograph(self.photograph)[slice(*self.rows)])
        found = []
        for stripe in self.stripes(part):
            windows = sliding_window_view(pixels[:, slice(*stripe)], (SIZE, SIZE), axis=(0, 1))
            found.append(np.moveaxis(windows[::STEP, ::STEP], 2, 4).reshape(-1, SIZE, SIZE, 3))
        patches: Floats = np.concatenate(found)
        return patches


PLACES: Mapping[str, tuple[Place, ...]] = {
    "lake": (Place("china", (242, 284), (356, 510)), Place("china", (280, 314), (0, 60))),
    "pale trees": (Place("china", (352, 427), (20, 188)),),
    "dark trees": (Place("china", (330, 427), (380, 540)),),
    "tall tree": (Place("china", (160, 400), (580, 640)),),
    "pagoda": (Place("china", (190, 350), (90, 330)),),
    "leaves": (Place("flower", (0, 427), (0, 160)), Place("flower", (0, 427), (460, 640))),
}
"""What is where in the photographs."""
WATER = ("lake",)
LAND = ("pale trees", "dark trees", "tall tree", "pagoda")


@cache
def surroundings(kind: str, part: Part) -> Floats:
    """Return all patches of a kind."""
    return np.concatenate([place.patches(part) for place in PLACES[kind]])


# ------------------------------------------------------------------------------------------------------------
# The animals.

DRAWINGS: Mapping[str, tuple[str, ...]] = {
    "fish": (
        "..##.....#",
        ".####...##",
        "##.#######",
        ".#########",
        "..###...##",
        "...#.....#",
        "..........",
        "..........",
    ),
    "seal": (
        ".###......",
        "#####.....",
        "...##.....",
        "....##....",
        "....####..",
        "...#####..",
        "..########",
        ".##....###",
    ),
    "horse": (
        ".......##.",
        "......####",
        ".######...",
        "########..",
        "#.#####...",
        "..#...#...",
        "..#...#...",
        ".##..##...",
    ),
    "hen": (
        "...##.....",
        "...###....",
        "#..###....",
        "#######...",
        "#######...",
        ".######...",
        "...#......",
        ".####.....",
    ),
}
"""Silhouettes, all of as many pixels: how much an animal hides of its surroundings tells nothing."""
ANIMALS = tuple(DRAWINGS)
HOMES = {"fish": WATER, "seal": WATER, "horse": LAND, "hen": LAND}
EACH = 120
"""Pictures of each animal, in each part."""


def silhouette(animal: str) -> npt.NDArray[np.bool_]:
    """Return where the animal is."""
    return np.array([[mark == "#" for mark in row] for row in DRAWINGS[animal]])


def pictures(animal: str, part: Part) -> Floats:
    """Return pictures of an animal in its surroundings, each kind of surroundings equally often.

    It stands anywhere in the patch, looks to either side, and is evenly grey, darker or lighter.
    """
    draw = np.random.default_rng([ANIMALS.index(animal), PARTS.index(part)])
    found = np.empty((EACH, SIZE, SIZE, 3))
    for index, picture in enumerate(found):
        kind = HOMES[animal][index % len(HOMES[animal])]
        patches = surroundings(kind, part)
        picture[:] = patches[draw.integers(len(patches))]
        shape = silhouette(animal)[:, :: draw.choice((-1, 1))]
        top, left = (draw.integers(SIZE - length + 1) for length in shape.shape)
        picture[top : top + shape.shape[0], left : left + shape.shape[1]][shape] = draw.integers(30, 120)
    return found


# ------------------------------------------------------------------------------------------------------------
# The features.

COUNTS: tuple[Feature, ...] = (greenish, bluish)


def colourless(images: Floats) -> Floats:
    """Return where pixels have no hue: shape (N, H, W), 1 there and 0 elsewhere."""
    return np.isnan(hue(images)).astype(np.float64)


OUTLINES: tuple[Feature, ...] = (
    lambda images: np.sort(row_sums(colourless(images)), axis=1),
    lambda images: np.sort(column_sums(colourless(images)), axis=1),
)
"""How long the rows and columns of what is grey are, sorted, as the animal may stand anywhere."""


@dataclass(frozen=True)
class Told:
    """How well two classes are told apart from some features.

    Attributes
    ----------
    model : logistic_regression.Model
        The classifier.
    training_accuracy, accuracy : float
        Its shares of right answers, for the pictures it was trained on and for the held-out ones. Guessing
        gives one half.
    """

    model: logistic_regression.Model
    training_accuracy: float
    accuracy: float


def _tell(features: Sequence[Feature], zero: Sequence[str], one: Sequence[str]) -> Told:
    """Train on pictures of the animals of class 0 and class 1, and predict for others."""
    tables, labels = [], []
    for part in PARTS:
        images = [pictures(animal, part) for animal in (*zero, *one)]
        tables.append(table(np.concatenate(images), features))
        labels.append(np.repeat([0, 1], [EACH * len(zero), EACH * len(one)]))
    model = logistic_regression.fit(tables[0], labels[0], steps=100, penalty=1e-6)
    right = [float(np.mean(model.predict(X) == y)) for X, y in zip(tables, labels, strict=True)]
    return Told(model, *right)


@cache
def land_and_water() -> Told:
    """Tell water animals (class 1) from land animals (class 0) by the two counts."""
    return _tell(COUNTS, zero=("horse", "hen"), one=("fish", "seal"))


@cache
def land_only() -> tuple[Told, Told]:
    """Tell hens (class 1) from horses (class 0): by the two counts, and by outlines."""
    return tuple(_tell(features, ("horse",), ("hen",)) for features in (COUNTS, OUTLINES))  # type: ignore[return-value]


@cache
def taken_for_water() -> float:
    """Return the share of patches of leaves, in another photograph, that are taken for water."""
    return float(np.mean(land_and_water().model.predict(table(surroundings("leaves", "held-out"), COUNTS))))


@dataclass(frozen=True)
class Considered:
    """How many of the animals are left to consider.

    Attributes
    ----------
    before : float
        Without an answer.
    after : float
        With the classifier's answer, land or water, for held-out pictures.
    perfect : float
        With an answer that is always right.
    """

    before: float
    after: float
    perfect: float


@cache
def considered() -> Considered:
    """Count the animals left, for as many pictures of each."""
    classes = np.repeat(np.arange(len(ANIMALS)), EACH)
    images = np.concatenate([pictures(animal, "held-out") for animal in ANIMALS])
    return Considered(
        before=classes_left(np.zeros_like(classes), classes),
        after=classes_left(land_and_water().model.predict(table(images, COUNTS)), classes),
        perfect=classes_left(classes >= 2, classes),
    )


# ------------------------------------------------------------------------------------------------------------
# The drawings.

COLOURS = {
    "lake": LINES[0],
    "pale trees": LINES[2],
    "dark trees": LINES[3],
    "tall tree": INK,
    "pagoda": ACCENT,
    "leaves": PALE,
}
LOOKS = {"fish": (LINES[0], "o"), "seal": (LINES[2], "s"), "horse": (ACCENT, "x"), "hen": (LINES[3], "+")}
LIMITS = (-0.02 * SIZE**2, 1.02 * SIZE**2)


def places_picture() -> Picture:
    """Return the photographs, with the places where patches were cut out."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        for axes, name in zip(panels, ("china", "flower"), strict=True):
            show_photograph(axes, data.photograph(name), title=f"{name}.jpg")
        for kind, places in PLACES.items():
            for place in places:
                _outline(panels[int(place.photograph == "flower")], place, COLOURS[kind])
        for kind in (*WATER, *LAND):
            panels[0].plot([], [], color=COLOURS[kind], linestyle="-", label=kind)
        figure.legend(loc="outside lower center", ncols=5)

    caption = (
        "Where surroundings were cut out: from the filled stripes for training, from those between them to "
        "be predicted. The places say what a patch shows; its colours have no part in that."
    )
    return Picture("places", caption, draw, size=(8.0, 3.3))


def _outline(axes: Axes, place: Place, colour: str) -> None:
    """Draw the edge of a place, and fill the stripes for training."""
    from matplotlib.patches import Rectangle

    top, height = place.rows[0] - 0.5, place.rows[1] - place.rows[0]
    for left, right in place.stripes("training"):
        axes.add_patch(
            Rectangle((left - 0.5, top), right - left, height, color=colour, alpha=0.45, linewidth=0)
        )
    left, right = place.columns
    for edge, width in (("white", 2.6), (colour, 1.4)):
        axes.add_patch(
            Rectangle((left - 0.5, top), right - left, height, fill=False, edgecolor=edge, linewidth=width)
        )


def animals_picture() -> Picture:
    """Return some of the pictures."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(ANIMALS), 8)
        for row, animal in zip(panels, ANIMALS, strict=True):
            for axes, image in zip(row, pictures(animal, "held-out"), strict=False):
                show_photograph(axes, image / 255)
            row[0].set_ylabel(animal)

    caption = "Real surroundings, synthetic animals: the first held-out pictures of each."
    return Picture("animals", caption, draw, size=(5.8, 3.1))


def counts_picture() -> Picture:
    """Return the two counts of held-out pictures: animals of water and land, land only, and leaves."""
    weights, bias = land_and_water().model.weights, land_and_water().model.bias
    (a, b), c = weights[:, 1] - weights[:, 0], bias[1] - bias[0]
    groups = (("water and land animals", ANIMALS), ("land animals only", ANIMALS[2:]))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (title, animals) in zip(panels, groups, strict=False):
            for animal in animals:
                _scatter(axes, pictures(animal, "held-out"), animal, *LOOKS[animal])
            axes.set_title(title)
        _scatter(panels[2], surroundings("leaves", "held-out")[::20], "leaves", INK, ".")
        panels[2].set_title("leaves, taken for water")
        x = np.linspace(0.0, SIZE * SIZE, 200)
        y = -(a * x + c) / b
        inside = (y >= 0) & (y <= SIZE * SIZE)
        for axes in panels:
            axes.plot(x[inside], y[inside], color=QUIET, linestyle="--", linewidth=1)
            axes.set(xlabel="greenish pixels", xlim=LIMITS, ylim=LIMITS, aspect="equal")
            axes.legend()
        panels[0].set_ylabel("bluish pixels")

    caption = (
        f"Greenish and bluish pixels of held-out pictures of {SIZE}×{SIZE}. The dashed line is where the "
        "classifier of water and land animals is undecided."
    )
    return Picture("counts", caption, draw, size=(6.2, 2.4))


def _scatter(axes: Axes, images: Floats, label: str, colour: str, marker: str) -> None:
    x, y = table(images, COUNTS).T
    axes.plot(x, y, marker, color=colour, linestyle="", markersize=3, alpha=0.7, label=label)


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "places": places_picture,
    "animals": animals_picture,
    "counts": counts_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "water and land animals")
    told, left, leaves = land_and_water(), considered(), taken_for_water()
    progress(0.5, "land animals only")
    by_counts, by_outlines = land_only()
    numbers: dict[str, float | int] = {
        "held-out pictures of each animal": EACH,
        "held-out accuracy, land or water": told.accuracy,
        "training accuracy, land or water": told.training_accuracy,
        "animals to consider before": left.before,
        "animals to consider after": left.after,
        "animals to consider after a perfect answer": left.perfect,
        "held-out accuracy, horse or hen, same features": by_counts.accuracy,
        "training accuracy, horse or hen, same features": by_counts.training_accuracy,
        "held-out accuracy, horse or hen, outlines": by_outlines.accuracy,
        "share of leaves taken for water": leaves,
    }
    return Demonstration.of(
        "feature_engineering", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    return [
        "Greenish and bluish pixels, counted, tell water animals from land animals: "
        f"{n['held-out accuracy, land or water']:.1%} of the held-out pictures right. The surroundings are "
        "real, the animals are drawn.",
        f"Of {n['animals to consider before']:.2g} animals the answer leaves "
        f"{n['animals to consider after']:.2f} to consider; a perfect one would leave "
        f"{n['animals to consider after a perfect answer']:.2g}.",
        "Among land animals only, the same features are worthless: horse or hen, they are right for "
        f"{n['held-out accuracy, horse or hen, same features']:.1%}, and guessing is for 50%.",
        "These data need other features: how long the rows and columns of what is grey are gives "
        f"{n['held-out accuracy, horse or hen, outlines']:.1%}.",
        f"In another photograph {n['share of leaves taken for water']:.0%} of the patches of leaves are "
        "taken for water: their shadows are blue.",
    ]
