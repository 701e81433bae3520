"""What a convolution is elsewhere: diffusion, blurred positions, similarity of sequences, a moving average.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import convolve, cross_correlate
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Picture
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, QUIET, show_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Interpretations",
    "diffusion",
    "measure",
    "moving_average",
    "particle",
    "picture",
    "similarity",
]

Floats = npt.NDArray[np.float64]

STEPS = 64
"""How often the milk spreads."""
SHOWN = (0, 4, 16, 64)


@dataclass(frozen=True)
class Diffusion:
    """A drop of milk in coffee that is not stirred.

    Attributes
    ----------
    masses, variances : tuple of Fraction
        Along one axis, after each step: all the milk, and the mean of the squared distance from the drop.
    cups : tuple of ndarray
        The milk seen from above, after the steps in `SHOWN`.
    """

    masses: tuple[Fraction, ...]
    variances: tuple[Fraction, ...]
    cups: tuple[Floats, ...]


@cache
def diffusion() -> Diffusion:
    """Let half of the milk of each place stay and a quarter go to either side, again and again, exactly."""
    kernel = np.array([Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)], dtype=object)
    milk: npt.NDArray[Any] = np.array([Fraction(1)], dtype=object)
    masses, variances, cups = [], [], []
    for step in range(STEPS + 1):
        places = np.arange(len(milk)) - len(milk) // 2
        masses.append(sum(milk, Fraction(0)))
        variances.append(sum(milk * places**2, Fraction(0)))
        if step in SHOWN:
            line = np.pad(np.asarray(milk, np.float64), 64 - step)[44:85]
            cups.append(np.outer(line, line))  # along both axes
        milk = convolve(milk, kernel)
    return Diffusion(tuple(masses), tuple(variances), tuple(cups))


@dataclass(frozen=True)
class Particle:
    """A quantum particle in a box, seen by an instrument of limited resolution.

    Attributes
    ----------
    place, density, blur, seen : ndarray
        Places from −1 to 2 for a box from 0 to 1; the density |ψ|² of the third state; the instrument's
        distribution around 0, from −1 to 1; the distribution of measured positions.
    probability : float
        That of finding the particle anywhere, after the convolution.
    variances : tuple of float
        Of the density, of the instrument and of what is measured.
    """

    place: Floats
    density: Floats
    blur: Floats
    seen: Floats
    probability: float
    variances: tuple[float, float, float]


@cache
def particle() -> Particle:
    """Convolve the density of the position with the distribution of the instrument's error."""
    cells = 200
    inside, around = np.arange(cells + 1) / cells, np.arange(-cells, cells + 1) / cells
    density = np.sin(3 * np.pi * inside) ** 2
    blur = np.exp(-0.5 * (around / 0.04) ** 2)
    density, blur = density / density.sum(), blur / blur.sum()
    place = np.arange(-cells, 2 * cells + 1) / cells
    seen = convolve(density, blur)

    def variance(where: Floats, probability: Floats) -> float:
        mean = np.sum(where * probability)
        return float(np.sum((where - mean) ** 2 * probability))

    variances = variance(inside, density), variance(around, blur), variance(place, seen)
    return Particle(place, density, blur, seen, float(seen.sum()), variances)


@dataclass(frozen=True)
class Similarity:
    """Two overlapping pieces of one line of a photograph, and how similar they are at each lag.

    Attributes
    ----------
    first, second : ndarray
        The pieces.
    lags, overlap : ndarray
        The lags, and the similarity where the pieces overlap, from −1 to 1; NaN where they
        overlap by less than 40 pixels.
    true_lag, found_lag : int
        Where the second piece begins, and where the similarity is largest.
    """

    first: Floats
    second: Floats
    lags: npt.NDArray[np.int64]
    overlap: Floats
    true_lag: int
    found_lag: int


@cache
def similarity() -> Similarity:
    """Compute the correlation coefficient of the pixels that overlap, at each lag, from sums over them."""
    line = data.photograph("china")[150].mean(axis=1)
    true_lag, length, least = 140, 240, 40
    first, second = line[100 : 100 + length], line[100 + true_lag : 100 + true_lag + length]
    ones = np.ones(length)
    count = cross_correlate(ones, ones)
    mean_first, mean_second = cross_correlate(first, ones) / count, cross_correlate(ones, second) / count
    covariance = cross_correlate(first, second) / count - mean_first * mean_second
    variance_first = cross_correlate(first**2, ones) / count - mean_first**2
    variance_second = cross_correlate(ones, second**2) / count - mean_second**2
    lags = np.arange(-length + 1, length)
    enough = length - np.abs(lags) >= least  # a few pixels resemble any others
    variances = np.where(enough, variance_first * variance_second, 1.0)
    overlap = np.where(enough, covariance / np.sqrt(variances), np.nan)
    return Similarity(first, second, lags, overlap, true_lag, int(lags[np.nanargmax(overlap)]))


@dataclass(frozen=True)
class MovingAverage:
    """The brightness along a line of a photograph, and its weighted moving average.

    Attributes
    ----------
    line, weights, smooth : ndarray
        The brightness, weights that sum to 1, and the average where the weights lie within.
    difference : float
        The largest difference from averages that were computed one by one.
    roughness : float
        The mean squared step from pixel to pixel, after, divided by before.
    """

    line: Floats
    weights: Floats
    smooth: Floats
    difference: float
    roughness: float


@cache
def moving_average() -> MovingAverage:
    """Average with binomial weights, 1 4 6 4 1 and so on, which add up to a power of two."""
    line = data.photograph("china")[230, 200:440].mean(axis=1)
    weights = np.ones(1)
    for _ in range(8):
        weights = convolve(weights, np.array([0.5, 0.5]))
    smooth = convolve(line, weights, mode="valid")
    single = [np.average(line[p : p + len(weights)], weights=weights) for p in range(len(smooth))]
    inner = line[4:-4]
    return MovingAverage(
        line,
        weights,
        smooth,
        float(np.abs(smooth - single).max()),
        float(np.mean(np.diff(smooth) ** 2) / np.mean(np.diff(inner) ** 2)),
    )


@dataclass(frozen=True)
class Interpretations:
    """What was measured about all of them."""

    statements: tuple[str, ...]
    numbers: dict[str, float | int]


def measure() -> Interpretations:
    """Measure, and say what came out."""
    milk, seen, pieces, average = diffusion(), particle(), similarity(), moving_average()
    total = seen.variances[0] + seen.variances[1]
    numbers: dict[str, float | int] = {
        "largest change of the mass of the milk": float(max(abs(mass - 1) for mass in milk.masses)),
        "variance of the milk after 64 steps, in cells²": float(milk.variances[-1]),
        "largest distance of a variance from steps/2": float(
            max(abs(variance - Fraction(step, 2)) for step, variance in enumerate(milk.variances))
        ),
        "probability of the particle anywhere, less 1": seen.probability - 1,
        "variance of its measured position / (its own + the instrument's), less 1": seen.variances[2] / total
        - 1,
        "lag of the overlapping sequences": pieces.true_lag,
        "lag where they are most similar": pieces.found_lag,
        "similarity there": float(np.nanmax(pieces.overlap)),
        "largest difference of moving average and averages": average.difference,
        "roughness after the moving average / before": average.roughness,
    }
    return Interpretations(
        (
            f"Milk in coffee: over {STEPS} steps of diffusion its mass stays exactly 1, and its variance "
            "is exactly half the number of steps.",
            "A quantum particle seen by a blurred instrument is still somewhere, with a probability of 1 but "
            f"for {abs(seen.probability - 1):.1e}; the variances of particle and instrument add up.",
            f"Two pieces of one line of a photograph, {pieces.true_lag} pixels apart, are most similar at a "
            f"lag of {pieces.found_lag}.",
            "A convolution with weights that sum to 1 is a weighted moving average; it leaves "
            f"{average.roughness:.0%} of the mean squared step.",
        ),
        numbers,
    )


def picture() -> Picture:
    """Return the four interpretations, one below the other."""

    def draw(figure: Figure) -> None:
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 2.1)).flat
        cups = top.subplots(1, len(SHOWN) + 1, width_ratios=[1] * len(SHOWN) + [1.5])
        for axes, step, cup in zip(cups, SHOWN, diffusion().cups, strict=False):
            show_map(axes, np.sqrt(cup), title=f"milk, {step} steps")
        _draw_variance(cups[-1])
        panels = bottom.subplots(2, 2)
        _draw_particle(panels[0, 0])
        _draw_average(panels[0, 1])
        _draw_pieces(panels[1, 0])
        _draw_similarity(panels[1, 1])

    caption = (
        "What a convolution is elsewhere. Milk diffuses in coffee (square root of the density) and its "
        "variance grows linearly; a particle's position is blurred by the instrument; a weighted moving "
        "average; two overlapping sequences and their similarity at each lag."
    )
    return Picture("interpretations", caption, draw, size=(8.0, 6.4))


def _draw_variance(axes: Axes) -> None:
    variances = [float(variance) for variance in diffusion().variances]
    axes.plot(range(STEPS + 1), variances, color=LINES[0], linestyle="-")
    axes.set(title="variance", xlabel="steps", ylabel="cells²", xticks=(0, 32, 64), yticks=(0, 16, 32))


def _draw_particle(axes: Axes) -> None:
    found = particle()
    inside = (found.place >= 0) & (found.place <= 1)
    density = np.where(inside, 0.0, np.nan)
    density[inside] = found.density * 200
    axes.plot(found.place, density, color=LINES[0], linestyle="-", label="|ψ|²")
    axes.plot(found.place, found.seen * 200, color=ACCENT, linestyle=DASHES[1], label="measured")
    axes.set(
        xlim=(-0.2, 1.2), title="a particle in a box", xlabel="place / width of the box", ylabel="density"
    )
    axes.legend(loc="upper right", ncols=2, borderaxespad=0)
    axes.set_ylim(0, 2.7)


def _draw_average(axes: Axes) -> None:
    found = moving_average()
    axes.plot(found.line, color=QUIET, linestyle="-", linewidth=0.8, label="a line of pixels")
    reach = len(found.weights) // 2
    places = np.arange(reach, reach + len(found.smooth))
    axes.plot(places, found.smooth, color=ACCENT, linestyle="-", label="weighted moving average")
    axes.set(title="moving average", xlabel="pixel", ylabel="brightness")
    axes.legend(loc="upper right", ncols=2, borderaxespad=0)
    axes.set_ylim(0, 1.25)


def _draw_pieces(axes: Axes) -> None:
    found = similarity()
    places = np.arange(len(found.first))
    axes.plot(places, found.first, color=LINES[0], linestyle="-", linewidth=1)
    axes.plot(places + found.found_lag, found.second - 0.7, color=ACCENT, linestyle="-", linewidth=1)
    axes.axvspan(found.found_lag, len(found.first) - 1, color=QUIET, alpha=0.2, linewidth=0)
    axes.set(title="two sequences at the lag found", xlabel="pixel", ylabel="brightness, shifted")
    axes.set_yticks([])


def _draw_similarity(axes: Axes) -> None:
    found = similarity()
    axes.axhline(0, color=QUIET, linewidth=0.5, linestyle="-")
    axes.plot(found.lags, found.overlap, color=INK, linestyle="-", linewidth=1)
    axes.plot(found.found_lag, np.nanmax(found.overlap), marker="o", color=ACCENT)
    axes.set(title="similarity at each lag", xlabel="lag in pixels", ylabel="correlation", ylim=(-1.05, 1.1))
