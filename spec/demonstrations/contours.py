"""A real picture across the bridge to frequencies; and what diffuses, and what is found, at its contours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import convolve
from gaugeblock.reference.frequency import Waves, waves
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Picture
from gaugeblock.spec.demonstrations.style import show_map, show_photograph

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Bridge", "Contours", "bridge", "contours", "measure", "picture"]

Floats = npt.NDArray[np.float64]

SIDE = 96
PLACE = (0, 30)
"""The pixel that is looked at."""
EDGES: Floats = np.array([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
BINOMIAL: Floats = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
"""A step of diffusion: along either axis half of a pixel stays, and a quarter goes to each side."""
TENTH = 0.1
"""The share of the pixels that count as contours."""


@cache
def roof() -> Floats:
    """Return a square of the palace's roof, in grey from 0 to 1, at half size."""
    grey = data.photograph("china").mean(axis=2)[:426]
    return np.asarray(grey.reshape(213, 2, 320, 2).mean(axis=(1, 3))[40 : 40 + SIDE, 20 : 20 + SIDE])


@dataclass(frozen=True)
class Bridge:
    """The picture as waves.

    Attributes
    ----------
    found : Waves
        All of them, the lowest frequencies first.
    strongest : int
        Which has the largest amplitude, but for the mean.
    difference : float
        How far the waves add up from the pixel, at 100 places, at the most.
    few : float
        The share of the waves that make nine tenths of the variance.
    gain : float
        What the edge detector multiplies the amplitude of the strongest wave by.
    """

    found: Waves
    strongest: int
    difference: float
    few: float
    gain: float


@cache
def bridge() -> Bridge:
    """Take the picture apart into waves, and put pixels together again."""
    picture = roof()
    found = waves(picture)
    places = np.random.default_rng(0).integers(0, SIDE, (100, 2)).tolist()
    strongest = 1 + int(np.argmax(found.amplitude[1:]))
    variance = np.sort(found.amplitude[1:] ** 2)[::-1].cumsum()
    return Bridge(
        found,
        strongest,
        max(abs(found.at(*place) - picture[tuple(place)]) for place in [*places, list(PLACE)]),
        float(np.searchsorted(variance, 0.9 * variance[-1]) + 1) / len(variance),
        float(found.filtered(EDGES).amplitude[strongest] / found.amplitude[strongest]),
    )


@dataclass(frozen=True)
class Contours:
    """What happens at contours, the tenth of the pixels where the picture is steepest.

    Attributes
    ----------
    where : ndarray of bool, shape (SIDE − 2, SIDE − 2)
        The contours, without the border.
    moved : ndarray
        How much every pixel changes in one step of diffusion.
    probability : ndarray
        Of a particle whose wave function is the edge response, seen by an instrument of limited resolution.
    exchanged, found : float
        The shares of all change, and of the probability, that are at contours.
    """

    where: npt.NDArray[np.bool_]
    moved: Floats
    probability: Floats
    exchanged: float
    found: float


@cache
def contours() -> Contours:
    """Let the picture diffuse, and look for the particle."""
    picture = roof()
    down, right = np.gradient(picture)
    steep = np.hypot(down, right)[1:-1, 1:-1]
    where = steep >= np.quantile(steep, 1 - TENTH)
    moved = np.abs(convolve(picture, BINOMIAL, mode="valid") - picture[1:-1, 1:-1])
    wave = convolve(picture, EDGES, mode="valid")
    density = wave**2 / np.sum(wave**2)
    probability = convolve(density, BINOMIAL)[1:-1, 1:-1]
    return Contours(
        where,
        moved,
        probability,
        float(moved[where].sum() / moved.sum()),
        float(probability[where].sum() / probability.sum()),
    )


def measure() -> tuple[dict[str, float | int], list[str]]:
    """Return the numbers, and sentences with them."""
    apart, at = bridge(), contours()
    found, k = apart.found, apart.strongest
    numbers: dict[str, float | int] = {
        f"value of the pixel at {PLACE}": float(roof()[PLACE]),
        "waves of the picture": len(found.amplitude),
        "amplitude of the strongest wave": float(found.amplitude[k]),
        "its frequency down, in cycles per 100 pixels": 100 * float(found.frequency[k, 0]),
        "its frequency to the right": 100 * float(found.frequency[k, 1]),
        "its phase in degrees": float(np.degrees(found.phase[k])),
        "largest distance of summed waves from a pixel": apart.difference,
        "share of waves with nine tenths of the variance": apart.few,
        "gain of the edge detector at the strongest wave": apart.gain,
        "share of diffusion at contours": at.exchanged,
        "probability of the particle at contours": at.found,
    }
    sentences = [
        f"The pixel at {PLACE} of a photograph has the value {roof()[PLACE]:.3f}, and so have the "
        f"{len(found.amplitude)} waves of the picture together there. The strongest has an amplitude of "
        f"{found.amplitude[k]:.3f}, {100 * abs(found.frequency[k, 0]):.1f} cycles in 100 pixels down and "
        f"{100 * found.frequency[k, 1]:.1f} in 100 to the right, and a phase of "
        f"{np.degrees(found.phase[k]):.0f} degrees. A convolution changes amplitudes and phases "
        "alone: the edge detector leaves "
        f"{apart.gain:.0%} of this one.",
        f"Contours are a tenth of the pixels. In a step of diffusion they have {at.exchanged:.0%} of the "
        f"change; a particle whose wave function is the edge response is found there with a probability of "
        f"{at.found:.0%}.",
    ]
    return numbers, sentences


def picture() -> Picture:
    """Return the picture, from few and more waves, and what is at its contours."""

    def draw(figure: Figure) -> None:
        at = contours()
        panels = figure.subplots(2, 3)
        for axes, share in zip(panels[0], (0.003, 0.03, 1.0), strict=True):
            count = max(2, int(share * len(bridge().found.amplitude)))
            title = f"the {count} strongest waves" if share < 1 else "all waves"
            show_photograph(axes, np.clip(_from_waves(count), 0, 1).round(6), title=title)
        show_map(panels[1, 0], at.where.astype(float), title="contours")
        show_map(panels[1, 1], at.moved**0.5, title="change in a step of diffusion\n(square root)")
        show_map(panels[1, 2], at.probability**0.5, title="a particle's probability\n(square root)")

    caption = (
        "A photograph as waves, the strongest first; and its contours, where diffusion moves most and a "
        "particle whose wave function is the edge response is most likely found."
    )
    return Picture("contours", caption, draw, size=(5.8, 4.5))


def _from_waves(count: int) -> Floats:
    """Return what the strongest waves add up to."""
    found = bridge().found
    kept = np.argsort(-found.amplitude, kind="stable")[:count]
    places = np.arange(SIDE)
    down, right = (np.exp(2j * np.pi * np.outer(found.frequency[kept, axis], places)) for axis in (0, 1))
    of_wave = found.amplitude[kept] * np.exp(1j * found.phase[kept])
    return np.asarray(np.einsum("k,kr,kc->rc", of_wave, down, right, optimize=True).real)
