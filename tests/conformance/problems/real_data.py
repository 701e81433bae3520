"""Real data: photographs of handwritten digits, and what the reference learned from some of them.

The images are the test part of the NIST handwriting set that scikit-learn carries (1797 images of
8×8 pixels); the classifier is multinomial logistic regression
(:mod:`gaugeblock.reference.logistic_regression`). Its matrix product and its softmax are what a
kernel does for a living. A small network of two convolutions, each with a rectifier and a maximum of
2×2 pixels after it, has kernels learned without labels: the principal components of the windows that
they will see, each as it is and negated, since the rectifier keeps one side. That is the first half
of PCANet (T.-H. Chan et al., "PCANet: a simple deep learning baseline for image classification?",
IEEE Transactions on Image Processing 24, 2015), and needs no training by gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference.logistic_regression import Model, fit

Floats = NDArray[np.float64]

TRAINED_ON = 1200
"""Number of images the classifier has seen; the others are new to it."""

KERNELS = (8, 16)
"""Number of kernels of the small network's two layers."""

SHOWN = 50
"""Number of unseen images whose feature maps are kept."""


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


@dataclass(frozen=True)
class Layer:
    """A convolution of 3×3 pixels with padding 1, a rectifier, and maxima of 2×2 pixels.

    Parameters
    ----------
    kernels, bias
        What it learned.
    maps
        Its input, for the unseen images: shape (SHOWN, C, 8, 8) or (SHOWN, C, 4, 4).
    rectified
        The input of its pooling.
    pooled
        Its result.
    """

    kernels: Floats
    bias: Floats
    maps: Floats
    rectified: Floats
    pooled: Floats


@cache
def small_network() -> tuple[Layer, ...]:
    """Return the layers of the small network, learned from the classifier's images one after the other."""
    images = _images_and_labels()[0].reshape(-1, 1, 8, 8)
    seen, maps = images[: TRAINED_ON // 4], images[TRAINED_ON : TRAINED_ON + SHOWN]
    layers = []
    for count in KERNELS:
        kernels, bias = _learned(seen, count)
        _, seen = _applied(seen, kernels, bias)
        rectified, pooled = _applied(maps, kernels, bias)
        layers.append(Layer(kernels, bias, maps, rectified, pooled))
        maps = pooled
    return tuple(layers)


def _learned(maps: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the principal components of all windows of 3×3 pixels, and biases that centre them."""
    around = np.pad(maps, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(2, 3))
    rows = np.moveaxis(windows, 1, 3).reshape(-1, maps.shape[1] * 9)
    mean = rows.mean(axis=0)
    _, components = np.linalg.eigh((rows - mean).T @ (rows - mean))
    found = components.T[: -1 - count // 2 : -1]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1, keepdims=True), axis=1)
    kernels = np.concatenate([found * np.sign(largest), -found * np.sign(largest)])
    return kernels.reshape(count, maps.shape[1], 3, 3), -kernels @ mean


def _applied(maps: Floats, kernels: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return the rectified convolution of maps, and its maxima."""
    rectified = reference.relu(reference.conv(maps, kernels, bias, padding=1))
    return rectified, reference.max_pool(rectified, kernel=2)


NAMED: Mapping[str, Callable[[], Floats]] = {
    "digits": digits,
    "digit weights": lambda: np.asarray(classifier().weights),
    "digit bias": lambda: np.asarray(classifier().bias),
    "digit scores": digit_scores,
    "photograph": photograph,
    "digit kernels": lambda: small_network()[0].kernels,
    "digit kernel bias": lambda: small_network()[0].bias,
    "digit maps": lambda: small_network()[0].rectified,
    "pooled digit maps": lambda: small_network()[0].pooled,
    "deep kernels": lambda: small_network()[1].kernels,
    "deep kernel bias": lambda: small_network()[1].bias,
    "deep maps": lambda: small_network()[1].rectified,
}
"""By the names of the distributions; what is named deep belongs to the second layer."""
