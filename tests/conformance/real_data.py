"""Real data: photographs of handwritten digits, and a classifier that the reference trained on them.

The images are the test part of the NIST handwriting set that scikit-learn carries (1797 images of
8×8 pixels); the classifier is multinomial logistic regression
(:mod:`gaugeblock.reference.logistic_regression`). Its matrix product and its softmax are what a
kernel does for a living.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gaugeblock.reference.logistic_regression import Model, fit

Floats = NDArray[np.float64]

TRAINED_ON = 1200
"""Number of images the classifier has seen; the others are new to it."""


@cache
def _images_and_labels() -> tuple[Floats, NDArray[np.int64]]:
    from sklearn.datasets import load_digits  # late: it takes a second to import

    images, labels = load_digits(return_X_y=True)
    return np.asarray(images, np.float64) / 16, np.asarray(labels, np.int64)


@cache
def classifier() -> Model:
    """Return the classifier trained on the first images."""
    images, labels = _images_and_labels()
    return fit(images[:TRAINED_ON], labels[:TRAINED_ON], steps=20)


def digits() -> Floats:
    """Return the images the classifier has not seen, a row of 64 pixels each, from 0 to 1."""
    return _images_and_labels()[0][TRAINED_ON:]


def digit_labels() -> NDArray[np.int64]:
    """Return the digits those images show."""
    return _images_and_labels()[1][TRAINED_ON:]


def digit_scores() -> Floats:
    """Return the classifier's ten scores for each of those images."""
    return np.asarray(classifier().scores(digits()))


@cache
def photograph() -> Floats:
    """Return a part of a photograph of a palace: 64 rows of 64 pixels in shades of grey from 0 to 1."""
    from sklearn.datasets import load_sample_image

    part = load_sample_image("china.jpg")[100:164, 280:344]
    return np.asarray(np.asarray(part, np.float64).mean(axis=2) / 255)


NAMED: Mapping[str, Callable[[], Floats]] = {
    "digits": digits,
    "digit weights": lambda: np.asarray(classifier().weights),
    "digit bias": lambda: np.asarray(classifier().bias),
    "digit scores": digit_scores,
    "photograph": photograph,
}
