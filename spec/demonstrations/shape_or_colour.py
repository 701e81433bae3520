"""Two tasks over the same pictures: what is drawn, and in which colour. One network learns either.

The shapes are real, handwritten digits. Each is drawn in one of four hues, at one of many lightnesses, on
grey paper; neither says anything about the other.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gaugeblock.reference.convolutional_network import (
    colourfulness,
    convolutional_network,
    kernels,
)
from gaugeblock.reference.machine_learning import Examples, accuracy, cross_entropy, fit
from gaugeblock.reference.network import Learner, Network
from gaugeblock.spec.demonstrations import data, swift

__all__ = ["COLOUR", "HUES", "SHAPE", "TASKS", "Fitted", "drawn", "fitted", "greyed", "pictures", "scrambled"]

Floats = npt.NDArray[np.float64]

SHAPE, COLOUR = "shape", "colour"
TASKS = (SHAPE, COLOUR)
HUES = (0.0, 0.25, 0.5, 0.75)
"""Red, green, cyan and violet, as turns of the wheel."""
TRAINING, HELD_OUT = 1197, 300
MAPS, KERNEL = 8, 5


@cache
def pictures() -> tuple[Floats, Mapping[str, npt.NDArray[np.int64]]]:
    """Return pictures of three channels, (N, 3, 8, 8), and what each is for either task."""
    digits, draw = data.digits(), np.random.default_rng(0)
    order = draw.permutation(len(digits))
    ink, shapes = digits.X[order].reshape(-1, 1, 8, 8), digits.labels[order]
    colours = draw.integers(0, len(HUES), len(order))
    lightness = draw.uniform(0.3, 0.7, len(order))
    ink_colours = np.array([_colour(HUES[c], light) for c, light in zip(colours, lightness, strict=True)])
    paper = draw.uniform(0.85, 1.0, (len(order), 1, 1, 1))
    return paper + ink * (ink_colours[:, :, None, None] - paper), {SHAPE: shapes, COLOUR: colours}


def _colour(hue: float, lightness: float) -> Floats:
    """Return a colour with the lightness for its mean: in grey, nothing is left of the hue."""
    saturated = np.array(colorsys.hsv_to_rgb(hue, 1.0, 1.0))
    return np.asarray(lightness + 0.3 * (saturated - saturated.mean()))


def greyed(images: Floats) -> Floats:
    """Return pictures without their colours: every channel is the mean."""
    return np.repeat(images.mean(axis=1, keepdims=True), 3, axis=1)


def scrambled(images: Floats) -> Floats:
    """Return pictures without their shapes: the pixels of each in an order of its own."""
    draw = np.random.default_rng(1)
    flat = images.reshape(*images.shape[:2], -1)
    order = np.argsort(draw.random((len(images), 1, flat.shape[2])), axis=2)
    return np.take_along_axis(flat, np.repeat(order, 3, axis=1), axis=2).reshape(images.shape)


@dataclass(frozen=True)
class Fitted:
    """What the network has learned for a task.

    Attributes
    ----------
    filters : ndarray, shape (MAPS, 3, KERNEL, KERNEL)
        The kernels of its first layer.
    colourfulness : float
        That of all filters together.
    accuracy, greyed, scrambled : float
        The shares that it tells right of new pictures, of these without colours, and without shapes.
    """

    filters: Floats
    colourfulness: float
    accuracy: float
    greyed: float
    scrambled: float


def drawn(task: str) -> Network:
    """Return the network before it has learned: the same kernels for both tasks."""
    classes = 10 if task == SHAPE else len(HUES)
    return convolutional_network(
        (3, 8, 8), classes, np.random.default_rng(0), maps=(MAPS,), kernel=KERNEL, padding="same"
    )


@cache
def fitted(task: str) -> Fitted:
    """Train the network for a task."""
    images, answers = pictures()
    known, rest = Examples(images - 0.5, answers[task]).split(TRAINING)
    held_out, test = rest.split(HELD_OUT)
    learner = Learner(drawn(task), cross_entropy, rate=0.05, momentum=0.9, decay=3e-3, on=swift)
    model = fit(learner, known, held_out, batch=32, rounds=15, patience=15).model
    shown = images[TRAINING + HELD_OUT :]
    changed = [Examples(change(shown) - 0.5, test.wanted) for change in (greyed, scrambled)]
    filters = kernels(model.network)
    return Fitted(
        filters,
        _together(filters),
        accuracy(model, test),
        *(accuracy(model, examples) for examples in changed),
    )


def _together(filters: Floats) -> float:
    """Return the colourfulness of filters, each by how much weight it has."""
    weight = np.sum(filters**2, axis=(1, 2, 3))
    return float(np.sum(colourfulness(filters) * weight) / np.sum(weight))
