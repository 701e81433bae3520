"""Edges, parts, faces: three layers of features that nobody labelled, and units that are harder to read.

Half of the images are of faces. The layers are not told which: each finds the patterns that are common in
what the one before hands on, and hands on the largest likeness to each of them near every place. Only the
measures know the faces, and only images that no layer has seen count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from gaugeblock.reference import max_pool
from gaugeblock.reference.deep_learning import blob_share, edge_share
from gaugeblock.reference.feature_learning import common_patterns, likeness, specificity
from gaugeblock.reference.layer import FullyConnected, Recurrent
from gaugeblock.reference.machine_learning import Examples, accuracy, fit
from gaugeblock.reference.unit import LSTM, Activation
from gaugeblock.spec.demonstrations import data, recall
from gaugeblock.spec.demonstrations.frame import Picture
from gaugeblock.spec.demonstrations.style import show_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "GATED",
    "LAYERS",
    "PLAIN",
    "Hierarchy",
    "Trained",
    "hierarchy",
    "measure",
    "picture",
    "trained",
]

Floats = npt.NDArray[np.float64]

LAYERS = ("edges", "parts", "whole images")
COUNTS, FIELDS = (16, 24, 12), (5, 13, 25)
"""Patterns of each layer, and pixels on a side of what each of them sees."""
PLAIN, GATED = "plain recurrence", "LSTM units"
CONTROLS = AT_ONCE, RECTIFIED, HASTY = (
    "fully connected",
    "fully connected, rectified",
    "fully connected, steps ten times as large",
)
"""The same units fully connected, which are given an image at once; and what else changes the likeness."""
RATE, ROUNDS = 0.002, 25
"""How the labels are learned. With ten times the rate fewer new images are told right."""
SPECIFIC = 0.9
"""From which specificity on a unit counts as one for faces, or against them."""
SEEDS = 5
SHOWN = 9
"""Images that excite a unit most, of which the mean is shown."""


@cache
def parts() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which images the layers learn from, and which they have not seen."""
    order = np.random.default_rng(0).permutation(len(data.faces()[0]))
    known, new = np.split(order, 2)
    return known, new


@dataclass(frozen=True)
class Hierarchy:
    """Three layers of patterns.

    Attributes
    ----------
    first : ndarray, shape (16, 25)
        The patterns of the first layer.
    answers : tuple of ndarray, shape (200, K, P, P)
        What each layer finds at each place of all images.
    specific : tuple of float
        The shares of the units of each layer that are specific for faces in new images, or against them.
    """

    first: Floats
    answers: tuple[Floats, ...]
    specific: tuple[float, ...]


@cache
def hierarchy(seed: int = 0) -> Hierarchy:
    """Let three layers find patterns, one on the other."""
    images, is_face = data.faces()
    _, new = parts()
    first, edges = _layer(images[:, None], 5, 0, seed)
    _, pieces = _layer(max_pool(edges, kernel=3, stride=2), 4, 1, seed)
    _, wholes = _layer(max_pool(pieces, kernel=2, stride=1), 6, 2, seed)
    answers = (edges, pieces, wholes)
    found = [specificity(_largest(answer)[new], is_face[new]) for answer in answers]
    return Hierarchy(first, answers, tuple(float(np.mean(each >= SPECIFIC)) for each in found))


def _layer(maps: Floats, side: int, number: int, seed: int) -> tuple[Floats, Floats]:
    """Return common patterns of maps, and how much every patch is like each: (N, K, P, P)."""
    windows = sliding_window_view(maps, (side, side), axis=(2, 3))
    patches = np.moveaxis(windows, 1, 3).reshape(len(maps), *windows.shape[2:4], -1)
    if number == 0:  # of pixels, contrast counts, not brightness
        patches = patches - patches.mean(axis=-1, keepdims=True)
        patches = patches / (patches.std(axis=-1, keepdims=True) + 0.05)
    known = patches[parts()[0]].reshape(-1, patches.shape[-1])
    known = known[known.std(axis=1) > (0.5 if number == 0 else 0.0)]
    some = np.random.default_rng(seed).permutation(len(known))[:6000]
    found = common_patterns(known[some], COUNTS[number], rounds=15, seed=seed).patterns
    return found, np.moveaxis(likeness(patches, found), 3, 1)


def _largest(answers: Floats) -> Floats:
    """Return the largest answer of every map in each image."""
    return np.asarray(answers.reshape(*answers.shape[:2], -1).max(axis=2))


@dataclass(frozen=True)
class Trained:
    """Units that were trained with the labels, on the average over the seeds.

    Attributes
    ----------
    accuracy : float
        The share of new images that the network tells right.
    alike : float
        How alike the images are that excite a unit most: the mean correlation of their pixels.
    """

    accuracy: float
    alike: float


@cache
def trained(kind: str) -> Trained:
    """Train units to tell faces from other images, read row by row or at once, and see what excites them.

    Recurrent units that are given all in one step are fully connected: there is nothing that recurs.
    """
    images, is_face = data.faces()
    known, new = parts()
    if kind in CONTROLS:
        images = images.reshape(len(images), 1, -1)
    unit = LSTM() if kind == GATED else Activation("relu" if kind == RECTIFIED else "tanh")
    examples = Examples(images, is_face.astype(np.int64))
    found = []
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        layers = (
            Recurrent.initial(images.shape[2], COUNTS[2], unit, draw),
            FullyConnected.initial(COUNTS[2], 2, Activation("log_softmax"), draw),
        )
        untrained = recall.Recaller(*layers, rate=10 * RATE if kind == HASTY else RATE)
        model = fit(
            untrained, examples[known], examples[known], batch=20, rounds=ROUNDS, patience=ROUNDS
        ).model
        states = model.layer.forward(images, on=model.on).y[:, -1]
        found.append((accuracy(model, examples[new]), alike(states[new])))
    return Trained(*np.mean(found, axis=0).tolist())


def alike(answers: Floats) -> float:
    """Return the mean correlation of the new images that excite a unit most, over all units."""
    images = data.faces()[0][parts()[1]]
    pairs = np.triu_indices(SHOWN, 1)
    flat = images.reshape(len(images), -1)
    best = [np.argsort(-of_unit, kind="stable")[:SHOWN] for of_unit in answers.T]
    found = [np.asarray(np.corrcoef(flat[most]))[pairs] for most in best]
    return float(np.mean(found))


def measure() -> tuple[dict[str, float | int], list[str]]:
    """Return the numbers, and sentences with them."""
    found, (_, new) = hierarchy(), parts()
    shape = (FIELDS[0], FIELDS[0])
    described = np.maximum(edge_share(found.first, shape), blob_share(found.first, shape))
    runs = np.mean([hierarchy(seed).specific for seed in range(SEEDS)], axis=0)
    whole = float(np.mean([alike(_largest(hierarchy(seed).answers[2])[new]) for seed in range(SEEDS)]))
    random = alike(np.random.default_rng(1).normal(size=(len(new), 50)))
    kinds = {kind: trained(kind) for kind in (PLAIN, GATED, *CONTROLS)}
    plain, gated, at_once, rectified, hasty = kinds.values()
    numbers: dict[str, float | int] = {
        "share of first patterns that are edges or blobs": float(np.mean(described >= 0.7)),
        **{
            f"units specific for faces, {name}": float(share)
            for name, share in zip(LAYERS, runs, strict=True)
        },
        "likeness of images that excite a unit, whole images": whole,
        "likeness of images at random": random,
        **{f"likeness of images that excite a unit, {kind}": each.alike for kind, each in kinds.items()},
        **{f"faces told right, {kind}": each.accuracy for kind, each in kinds.items()},
    }
    sentences = [
        f"Without labels, layers of patterns on real faces go from edges and blobs "
        f"({np.mean(described >= 0.7):.0%} of the first) to faces: {runs[0]:.0%} of the first layer's units "
        f"are specific for faces, {runs[1]:.0%} of the second's, {runs[2]:.0%} of the third's.",
        "What excites a unit of the third layer is alike, with a mean correlation of "
        f"{whole:.2f}, where images at random have {random:.2f}. Trained on the same images with labels, "
        f"units that are given an image at once have {at_once.alike:.2f}, and tell {at_once.accuracy:.0%} "
        f"right. Recurrent ones, which read it row by row, are harder to read: {plain.alike:.2f} with plain "
        f"recurrence, which tells {plain.accuracy:.0%} right, and {gated.alike:.2f} with LSTM units, with "
        f"{gated.accuracy:.0%}.",
        "Recurrence is not the only way there: given at once to rectified units an image has "
        f"{rectified.alike:.2f}, and trained in steps ten times as large {hasty.alike:.2f}.",
    ]
    return numbers, sentences


def picture() -> Picture:
    """Return what each layer responds to, layer by layer."""
    images, found = data.faces()[0], hierarchy()

    def draw(figure: Figure) -> None:
        rows: Any = figure.subfigures(len(LAYERS), 1)
        for number, (row, name) in enumerate(zip(rows, LAYERS, strict=True)):
            row.suptitle(f"layer {number + 1}: {name}", x=0.01, ha="left", fontsize=9)
            for unit, axes in enumerate(row.subplots(1, COUNTS[2])):
                show_map(axes, _exciting(images, found.answers[number][:, unit], FIELDS[number]))

    caption = (
        "What three layers respond to that were never told what a face is: the mean of the "
        f"{SHOWN} patches, of 5, 13 and 25 pixels on a side, that excite each of twelve units most."
    )
    return Picture("faces", caption, draw, size=(7.2, 2.4))


def _exciting(images: Floats, answers: Floats, field: int) -> Floats:
    """Return the mean of the patches with the largest answers, one from an image, at equal contrast."""
    step = 1 if field == FIELDS[0] else 2
    flat = answers.reshape(len(answers), -1)
    patches = []
    for image in np.argsort(-flat.max(axis=1), kind="stable")[:SHOWN]:
        row, column = step * np.array(np.unravel_index(np.argmax(flat[image]), answers.shape[1:]))
        patch = images[image, row : row + field, column : column + field]
        patches.append((patch - patch.mean()) / patch.std())
    return np.asarray(np.mean(patches, axis=0))
