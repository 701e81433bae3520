"""Pooling at work: what hardly changes when an image moves, what becomes smaller, and what is lost.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Pooling / Subsampling".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import conv, max_pool, relu
from gaugeblock.reference.logistic_regression import Model, fit
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import DASHES, LINES, QUIET, show_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Pooling"

Floats = npt.NDArray[np.float64]

MARGIN = 2
"""Pixels of paper around a digit, so that it can move: images have 8 + 2 · 2 = 12 rows of 12 pixels."""
ENLARGED = 4
"""How many times finer the images are where movements are measured: 48 rows of 48 pixels."""

# ------------------------------------------------------------------------------------------------------------
# Images, their edges, and how they move.


def images(part: slice) -> Floats:
    """Return digits with a margin, shape (N, 12, 12)."""
    pixels = data.digits().X[part].reshape(-1, 8, 8)
    return np.pad(pixels, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))


def edges(pixels: Floats) -> Floats:
    """Return four feature maps of each image: edges that face right, left, down and up, rectified."""
    across = np.array([[-1.0, 0.0, 1.0]] * 3) / 3
    kernels = np.stack([across, -across, across.T, -across.T])[:, None]
    return relu(conv(pixels[:, None], kernels, padding="same"))


def features(pixels: Floats, region: int) -> Floats:
    """Return the maxima of the edges in square regions, a row for each image; regions of 1 change nothing."""
    pooled = max_pool(edges(pixels), kernel=region)
    return pooled.reshape(len(pixels), -1)


def shifted(pixels: Floats, down: int, right: int) -> Floats:
    """Return images moved by whole pixels; paper follows."""
    return np.roll(pixels, (down, right), axis=(1, 2))


def rotated(pixels: Floats, degrees: float) -> Floats:
    """Return images turned clockwise about their centres, interpolated linearly between pixels."""
    angle, centre = np.deg2rad(degrees), (pixels.shape[1] - 1) / 2
    down, right = np.indices(pixels.shape[1:]) - centre
    return _between(
        pixels,
        np.cos(angle) * down - np.sin(angle) * right + centre,
        np.sin(angle) * down + np.cos(angle) * right + centre,
    )


def enlarged(pixels: Floats, times: int) -> Floats:
    """Return images with finer pixels, interpolated linearly between the coarse ones."""
    fine = (np.arange(pixels.shape[1] * times) + 0.5) / times - 0.5
    return _between(pixels, *np.meshgrid(fine, fine, indexing="ij"))


def _between(pixels: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the images at places between their pixels; outside is paper."""
    reach = pixels.shape[1]
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach)))
    row, column = np.floor(rows).astype(int), np.floor(columns).astype(int)
    below, beside = rows - row, columns - column

    def at(i: int, j: int) -> Floats:
        corner: Floats = padded[:, row + i + reach, column + j + reach]
        return corner

    upper = at(0, 0) * (1 - beside) + at(0, 1) * beside
    lower = at(1, 0) * (1 - beside) + at(1, 1) * beside
    return np.asarray(upper * (1 - below) + lower * below)


# ------------------------------------------------------------------------------------------------------------
# Invariance.

REGIONS_MOVED = (1, 4, 12)
SHIFTS = (1, 2, 3, 4, 6)
ANGLES = (5, 10, 15, 20, 30)


@dataclass(frozen=True)
class Invariance:
    """How far features move when an image does, in distances between images of different digits.

    Attributes
    ----------
    by_shift : dict of int to tuple of float
        For each region, the mean movement for each of `SHIFTS`, in fine pixels.
    by_angle : dict of int to tuple of float
        For each region, the mean movement for each of `ANGLES`.
    values : dict of int to int
        For each region, how many values the features of an image are.
    """

    by_shift: dict[int, tuple[float, ...]]
    by_angle: dict[int, tuple[float, ...]]
    values: dict[int, int]


def _movement(before: Floats, versions: list[Floats], region: int) -> float:
    """Return the mean distance of the features of some versions of the images from those before."""
    differences = [features(version, region) - before for version in versions]
    return float(np.mean([np.linalg.norm(change, axis=1).mean() for change in differences]))


@cache
def invariance() -> Invariance:
    """Move a hundred digits, and compare their features with those before."""
    pixels, labels = enlarged(images(slice(100)), ENLARGED), data.digits().labels[:100]
    moved = [[shifted(pixels, d, 0), shifted(pixels, 0, d)] for d in SHIFTS]
    turned = [[rotated(pixels, angle), rotated(pixels, -angle)] for angle in ANGLES]
    by_shift, by_angle, values = {}, {}, {}
    for region in REGIONS_MOVED:
        before = features(pixels, region)
        other = np.roll(np.arange(100), 1)
        strangers = before[other] - before
        unit = float(np.linalg.norm(strangers[labels != labels[other]], axis=1).mean())

        by_shift[region] = tuple(_movement(before, versions, region) / unit for versions in moved)
        by_angle[region] = tuple(_movement(before, versions, region) / unit for versions in turned)
        values[region] = before.shape[1]
    return Invariance(by_shift, by_angle, values)


# ------------------------------------------------------------------------------------------------------------
# Too large a region.

REGIONS = (1, 2, 3, 4, 6, 12)
TRAINED_ON = 600
READ = slice(600, 1200)


@dataclass(frozen=True)
class Accuracy:
    """What logistic regression reads from pooled edges of digits that it has not seen.

    Attributes
    ----------
    values : tuple of int
        For each of `REGIONS`, how many values an image has become.
    straight : tuple of float
        The share of digits that are read right.
    moved : tuple of float
        The same for digits that were moved by a pixel after the training, up, down, left or right.
    """

    values: tuple[int, ...]
    straight: tuple[float, ...]
    moved: tuple[float, ...]


def _trained(region: int) -> Model:
    labels = data.digits().labels[:TRAINED_ON]
    return fit(features(images(slice(TRAINED_ON)), region), labels, steps=25, penalty=1e-4)


def _share_right(model: Model, pixels: Floats, region: int) -> float:
    labels = data.digits().labels[READ]
    return float(np.mean(model.predict(features(pixels, region)) == labels))


@cache
def accuracy() -> Accuracy:
    """Train a classifier for each region, and let it read."""
    test = images(READ)
    everywhere = [shifted(test, *step) for step in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    values, straight, moved = [], [], []
    for region in REGIONS:
        model = _trained(region)
        values.append(len(model.weights))
        straight.append(_share_right(model, test, region))
        moved.append(float(np.mean([_share_right(model, pixels, region) for pixels in everywhere])))
    return Accuracy(tuple(values), tuple(straight), tuple(moved))


# ------------------------------------------------------------------------------------------------------------
# Pictures.


def maps_picture() -> Picture:
    """Return a digit and the same digit moved, their edges, and what pooling makes of them."""

    def draw(figure: Figure) -> None:
        pixels = enlarged(images(slice(3, 4)), ENLARGED)
        panels = figure.subplots(2, 5)
        versions = ((pixels, "digit"), (shifted(pixels, 2, 2), "moved by 2"))
        for row, (image, name) in zip(panels, versions, strict=True):
            show_map(row[0], -image[0], title=name)
            for axes, region in zip(row[1:], (1, 2, 4, 12), strict=True):
                pooled = max_pool(edges(image), kernel=region)[0]
                title = f"maxima\nof {region}×{region}" if region > 1 else "edges\nto the right"
                show_map(axes, pooled[0], title=title, limits=(0.0, float(edges(image)[0, 0].max())))

    caption = (
        "A digit and the same digit moved by two pixels; one of four maps of edges; the maxima of ever "
        "larger regions, which change less, and tell less."
    )
    return Picture("maps", caption, draw, size=(5.8, 3.1))


def invariance_picture() -> Picture:
    """Return how far features move when an image is shifted or turned."""

    def draw(figure: Figure) -> None:
        found = invariance()
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_movements(left, SHIFTS, found.by_shift)
        left.set(xlabel="shift in pixels", ylabel="movement / distance of strangers", title="translation")
        _draw_movements(right, ANGLES, found.by_angle)
        right.set(xlabel="angle in degrees", title="rotation")
        left.legend(loc="upper left")

    caption = (
        "How far the edges of a digit (48×48 pixels) move when it is shifted or turned, as a share of the "
        "distance between different digits, without pooling and with the maxima of larger regions."
    )
    return Picture("invariance", caption, draw, size=(7.4, 3.0))


def _draw_movements(axes: Axes, amounts: tuple[int, ...], movements: Mapping[int, tuple[float, ...]]) -> None:
    for (region, shares), colour, dashes in zip(movements.items(), LINES, DASHES, strict=False):
        label = f"maxima of {region}×{region}" if region > 1 else "no pooling"
        axes.plot((0, *amounts), (0, *shares), color=colour, linestyle=dashes, marker="o", label=label)
    axes.axhline(1.0, color=QUIET, linewidth=0.5, linestyle="-")
    axes.set_ylim(0, 1.3)


def accuracy_picture() -> Picture:
    """Return the accuracy for each region."""

    def draw(figure: Figure) -> None:
        found = accuracy()
        axes = figure.subplots()
        places = range(len(REGIONS))
        lines = (("digits as they are", found.straight), ("digits moved by a pixel", found.moved))
        for (label, shares), colour, dashes in zip(lines, LINES, DASHES, strict=False):
            axes.plot(places, shares, color=colour, linestyle=dashes, marker="o", label=label)
        names = [f"{k}×{k}\n{n}" for k, n in zip(REGIONS, found.values, strict=True)]
        axes.set_xticks(places, names)
        axes.set(xlabel="region, and values per image", ylabel="share read right", ylim=(0, 1))
        axes.legend(loc="lower left")

    caption = (
        "Logistic regression on pooled edges of digits that it has not seen. Regions of a few pixels help "
        "with digits that have moved; too large ones forget what they saw."
    )
    return Picture("region-and-accuracy", caption, draw, size=(5.6, 3.4))


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "maps": maps_picture,
    "invariance": invariance_picture,
    "region-and-accuracy": accuracy_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "moving digits")
    moved = invariance()
    progress(0.3, "training on ever larger regions")
    read = accuracy()
    one, ten = SHIFTS.index(1), ANGLES.index(10)
    numbers: dict[str, float | int] = {}
    for region in REGIONS_MOVED:
        where = "without pooling" if region == 1 else f"with regions of {region}×{region}"
        numbers |= {
            f"movement by a shift of 1 pixel {where}": moved.by_shift[region][one],
            f"movement by a shift of 6 pixels {where}": moved.by_shift[region][SHIFTS.index(6)],
            f"movement by a turn of 10° {where}": moved.by_angle[region][ten],
            f"values of an image {where}": moved.values[region],
        }
    for region, straight, shifted_by_1 in zip(REGIONS, read.straight, read.moved, strict=True):
        numbers |= {
            f"share read right, regions of {region}×{region}": straight,
            f"share read right after a shift of 1 pixel, regions of {region}×{region}": shifted_by_1,
        }
    return Demonstration.of(
        "pooling", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    plain, pooled = "without pooling", "with regions of 12×12"
    by_1, by_6, turned = "shift of 1 pixel", "shift of 6 pixels", "turn of 10°"
    right, after = "share read right", "share read right after a shift of 1 pixel"
    best = max(REGIONS, key=lambda k: n[f"{after}, regions of {k}×{k}"])
    return [
        f"A shift by one pixel moves the edges of a digit by {n[f'movement by a {by_1} {plain}']:.2f} of the "
        "way to another digit, and their maxima in regions of 12×12 by "
        f"{n[f'movement by a {by_1} {pooled}']:.2f}.",
        f"A turn of 10° moves them by {n[f'movement by a {turned} {plain}']:.2f} and "
        f"{n[f'movement by a {turned} {pooled}']:.2f}.",
        "The invariance is limited: a shift of 6 pixels, half a region, moves both about as far as another "
        f"digit is, by {n[f'movement by a {by_6} {plain}']:.2f} and "
        f"{n[f'movement by a {by_6} {pooled}']:.2f}.",
        f"Memory shrinks with the region: {n[f'values of an image {plain}']} values become "
        f"{n['values of an image with regions of 4×4']} with regions of 4×4 and "
        f"{n[f'values of an image {pooled}']} with regions of 12×12.",
        f"Moved by a pixel, digits of 12×12 pixels are read right in {n[f'{after}, regions of 1×1']:.0%} of "
        f"cases without pooling, and in {n[f'{after}, regions of {best}×{best}']:.0%} with regions of "
        f"{best}×{best}.",
        f"Too large a region forgets: of unmoved digits {n[f'{right}, regions of 1×1']:.0%} are read right "
        f"without pooling, {n[f'{right}, regions of 4×4']:.0%} with regions of 4×4, and "
        f"{n[f'{right}, regions of 12×12']:.0%} where one region is the whole image.",
    ]
