r"""Feature engineering: numbers thought out by somebody who knows the data, which tell the classes apart.

A *feature* takes an example and gives a number, or several. Nothing about it is learned: whoever makes it
decides what to look at. The ones here look at colour (how much of a photograph is *greenish*, how much is
*bluish*) and at where the ink of a drawing is (in which rows, columns, zones). `table` puts them side by
side, for a classifier such as `gaugeblock.reference.logistic_regression`.

A good feature leaves fewer classes to consider, and `classes_left` says how many. It does so for the data it
was made for. Blue tells water from land; where all is land, the same numbers tell nothing.

Spec: page 2, Feature engineering. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015,
section "Feature Engineering".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock.reference._arguments import Array, widened

__all__ = [
    "BLUISH",
    "GREENISH",
    "Feature",
    "bluish",
    "classes_left",
    "column_sums",
    "greenish",
    "hue",
    "row_sums",
    "table",
    "zone_sums",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Feature: TypeAlias = Callable[[Array], Array]
"""What takes N examples, and gives one number for each, or a row of numbers."""

GREENISH = (60.0, 150.0)
"""Where on the colour wheel green is taken to begin and to end, in degrees: from yellow to blue-green."""
BLUISH = (150.0, 270.0)
"""Where blue is: from blue-green, the colour of a lake under a hazy sky, to violet."""


def hue(pixels: Array) -> Floats:
    r"""Return the place of each colour on the colour wheel.

    Red is at 0 degrees, yellow at 60, green at 120, cyan at 180, blue at 240, magenta at 300. With the
    largest of R, G and B called M, and its distance C from the smallest,

    .. math::

        60° \cdot \begin{cases} (G - B) / C \bmod 6 & M = R \\ (B - R) / C + 2 & M = G \\
        (R - G) / C + 4 & M = B \end{cases}

    where the first case that applies counts. Brightness and paleness make no difference.

    Spec: FE-D2; special values FE-X1.

    Parameters
    ----------
    pixels : ndarray, shape (..., 3)
        Red, green and blue, in any unit.

    Returns
    -------
    ndarray, shape (...)
        Degrees, at least 0 and less than 360; NaN for grey, which has no hue, and for what is not finite.

    Raises
    ------
    ValueError, TypeError
        FE-C1, FE-C2: the pixels have no three colours, or are no floats.

    References
    ----------
    .. [1] A. R. Smith, "Color gamut transform pairs", SIGGRAPH 1978.

    Examples
    --------
    >>> hue(np.array([[1.0, 0.0, 0.0], [0.1, 0.4, 0.1], [0.8, 0.8, 1.0], [0.5, 0.5, 0.5]]))
    array([  0., 120., 240.,  nan])
    """
    R, G, B = np.moveaxis(_colours(pixels), -1, 0)
    M = np.maximum(np.maximum(R, G), B)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        C = M - np.minimum(np.minimum(R, G), B)
        sixths = [np.mod((G - B) / C, 6.0), (B - R) / C + 2.0, (R - G) / C + 4.0]
        degrees = 60.0 * np.select([M == R, M == G, M == B], sixths, np.nan)
    degrees = np.where(degrees >= 360.0, 0.0, degrees)  # just below 0, and rounded up in the sum with 6
    return np.asarray(np.where((C > 0) & np.isfinite(C), degrees, np.nan), np.float64)


def greenish(images: Array) -> Floats:
    """Return how many pixels of each image are greenish: of a hue in `GREENISH`.

    Spec: FE-D3.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3)
        Photographs.

    Returns
    -------
    ndarray, shape (N,)

    Examples
    --------
    >>> leaf, lake, stone = [0.3, 0.5, 0.1], [0.5, 0.6, 0.7], [0.5, 0.5, 0.5]
    >>> images = np.array([[[leaf, leaf], [leaf, stone]], [[lake, lake], [lake, leaf]]])
    >>> greenish(images), bluish(images)
    (array([3., 1.]), array([0., 3.]))
    """
    return _count(images, GREENISH)


def bluish(images: Array) -> Floats:
    """Return how many pixels of each image are bluish: of a hue in `BLUISH`.

    Spec: FE-D3.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3)
        Photographs.

    Returns
    -------
    ndarray, shape (N,)
    """
    return _count(images, BLUISH)


def row_sums(drawings: Array) -> Array:
    """Return how much ink there is in each row.

    Spec: FE-D4.

    Parameters
    ----------
    drawings : ndarray, shape (N, H, W)
        From 0, paper, upwards. Floats or fractions.

    Returns
    -------
    ndarray, shape (N, H)

    Examples
    --------
    >>> seven = np.array([[[1.0, 1.0], [0.0, 1.0]]])
    >>> row_sums(seven), column_sums(seven)
    (array([[2., 1.]]), array([[1., 2.]]))
    """
    return np.asarray(_drawings(drawings).sum(axis=2))


def column_sums(drawings: Array) -> Array:
    """Return how much ink there is in each column, as `row_sums` does for rows; shape (N, W)."""
    return np.asarray(_drawings(drawings).sum(axis=1))


def zone_sums(drawings: Array, size: int) -> Array:
    """Return how much ink there is in each square zone, zones taken row by row.

    Spec: FE-D4.

    Parameters
    ----------
    drawings : ndarray, shape (N, H, W)
        From 0, paper, upwards. Floats or fractions.
    size : int
        The side of a zone; it divides H and W.

    Returns
    -------
    ndarray, shape (N, H / size · W / size)

    Raises
    ------
    ValueError
        FE-C3: the zones do not tile the drawings.

    Examples
    --------
    >>> zone_sums(np.arange(16.0).reshape(1, 4, 4), 2)
    array([[10., 18., 42., 50.]])
    """
    drawings = _drawings(drawings)
    N, H, W = drawings.shape
    if size < 1 or H % size or W % size:
        raise ValueError(f"FE-C3: size is {size}, expected one that divides {H} rows and {W} columns")
    zones = drawings.reshape(N, H // size, size, W // size, size)
    return np.asarray(zones.sum(axis=(2, 4)).reshape(N, (H // size) * (W // size)))


def table(examples: Array, features: Sequence[Feature]) -> Array:
    """Return the features of every example, side by side.

    Spec: FE-S1.

    Parameters
    ----------
    examples : ndarray, shape (N, ...)
        What the features look at.
    features : sequence of callable
        At least one.

    Returns
    -------
    ndarray, shape (N, D)
        A row for each example, in the order of the features.

    Raises
    ------
    ValueError
        FE-C4: there is no feature, or one of them does not give each example a number or a row of numbers.

    Examples
    --------
    >>> table(np.array([[[1.0, 1.0], [0.0, 1.0]]]), [row_sums, lambda drawings: drawings[:, 0, 0]])
    array([[2., 1., 1.]])
    """
    if not features:
        raise ValueError("FE-C4: features must hold at least one feature, got none")
    columns = []
    for index, feature in enumerate(features):
        found = np.asarray(feature(examples))
        if found.ndim not in (1, 2) or len(found) != len(examples):
            raise ValueError(
                f"FE-C4: feature {index} gives an array of shape {found.shape} for {len(examples)} examples"
            )
        columns.append(found[:, np.newaxis] if found.ndim == 1 else found)
    return np.concatenate(columns, axis=1)


def classes_left(answers: Array, classes: Array) -> float:
    r"""Return how many classes are left to consider for one who has heard the answer to a question.

    It is 2 to the power of what is not known yet in bits, the conditional entropy

    .. math:: H = -\sum_{a, k} p(a, k) \log_2 \frac{p(a, k)}{p(a)}.

    If the answer leaves n classes, all equally likely, it is n; if it settles the class, it is 1.

    Spec: FE-D5.

    Parameters
    ----------
    answers : ndarray, shape (N,)
        The answer for each example, such as a classifier's prediction from some features.
    classes : ndarray, shape (N,)
        The class of each.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        FE-C5: there are no examples, or not as many answers as classes.

    References
    ----------
    .. [1] C. E. Shannon, "A mathematical theory of communication", 1948, section 12.

    Examples
    --------
    Six animals. "Is it in the water?" leaves three of them:

    >>> animals = np.arange(6)
    >>> round(classes_left(animals < 3, animals), 9), round(classes_left(animals < 9, animals), 9)
    (3.0, 6.0)
    """
    if np.ndim(answers) != 1 or np.shape(answers) != np.shape(classes) or not len(answers):
        raise ValueError(
            f"FE-C5: answers has shape {np.shape(answers)}, classes has shape {np.shape(classes)}; expected "
            "one of each for every example, and at least one example"
        )
    _, answer = np.unique(answers, return_inverse=True)
    _, kind = np.unique(classes, return_inverse=True)
    counts = np.zeros((answer.max() + 1, kind.max() + 1))
    np.add.at(counts, (answer, kind), 1.0)
    given = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    seen = counts > 0
    bits = float(np.sum(counts[seen] * np.log2(given[seen] / counts[seen]))) / len(answer)
    return float(2.0**bits)


def _count(images: Array, sector: tuple[float, float]) -> Floats:
    if np.ndim(images) != 4:
        raise ValueError(f"FE-C1: images has shape {np.shape(images)}, expected (N, H, W, 3)")
    degrees = hue(images)
    counts: Floats = np.sum((degrees >= sector[0]) & (degrees < sector[1]), axis=(1, 2)).astype(np.float64)
    return counts


def _colours(pixels: Array) -> Floats:
    (pixels,) = widened("FE-C2", pixels=pixels)
    if pixels.dtype == object:
        raise TypeError("FE-C2: pixels must be an array of floats, got fractions")
    if pixels.shape[-1:] != (3,):
        raise ValueError(f"FE-C1: pixels has shape {pixels.shape}, expected (..., 3)")
    return pixels


def _drawings(drawings: Array) -> Array:
    (drawings,) = widened("FE-C2", drawings=drawings)
    if drawings.ndim != 3:
        raise ValueError(f"FE-C1: drawings has shape {drawings.shape}, expected (N, H, W)")
    return drawings
