"""Convolution at work: edges in a photograph, a sliding patch, features that are found, algorithms.

What physics, probability and statistics use it for is in `convolution_interpretations`.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import conv, convolve, cross_correlate
from gaugeblock.spec.demonstrations import contours, data
from gaugeblock.spec.demonstrations import convolution_interpretations as interpretations
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, INK, LINES, PALE, show_map, show_photograph

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Convolution"

Floats = npt.NDArray[np.float64]
U = 2.0**-53


@cache
def palace() -> Floats:
    """Return a part of the photograph "china", 160 rows of 240 pixels in shades of grey from 0 to 1."""
    return np.asarray(data.photograph("china")[90:250, 200:440].mean(axis=2))


# ------------------------------------------------------------------------------------------------------------
# The edge detector.

EDGES = np.array([[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]])
"""Eight times a pixel minus its eight neighbours: 0 where all are the same."""


@dataclass(frozen=True)
class EdgeDetection:
    """A photograph and what an edge detector leaves of it.

    Attributes
    ----------
    photograph, response : ndarray
        The photograph, and the convolution with `EDGES` where the kernel lies within.
    flat : float
        The response to a surface of the photograph's mean brightness.
    sky, palace : float
        The mean size of the response in the sky, above and right, and in the palace, left.
    """

    photograph: Floats
    response: Floats
    flat: float
    sky: float
    palace: float


@cache
def edge_detection() -> EdgeDetection:
    """Convolve the photograph with the edge detector."""
    photograph = palace()
    response = convolve(photograph, EDGES, mode="valid")
    flat = convolve(np.full((3, 3), photograph.mean()), EDGES, mode="valid")
    sizes = np.abs(response)
    return EdgeDetection(
        photograph,
        response,
        float(abs(flat[0, 0])),
        float(sizes[:80, 150:].mean()),
        float(sizes[:, :80].mean()),
    )


# ------------------------------------------------------------------------------------------------------------
# The sliding patch.

SLIDING_KERNEL = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
STEPS_SHOWN = (0, 6)


@dataclass(frozen=True)
class SlidingPatch:
    """A convolution pixel by pixel.

    Attributes
    ----------
    image : ndarray, shape (6, 6)
        The middle of a handwritten digit, from 0 to 16.
    products : ndarray, shape (16, 3, 3)
        At each step, the patch times the kernel.
    sums : ndarray, shape (16,)
        At each step, their sum: one pixel of the result.
    result : ndarray, shape (4, 4)
        The convolution, computed at once.
    """

    image: Floats
    products: Floats
    sums: Floats
    result: Floats


@cache
def sliding_patch() -> SlidingPatch:
    """Slide the kernel, which is its own reverse, over the image, and convolve at once to compare."""
    image = 16 * data.digits().X[3].reshape(8, 8)[1:7, 1:7]
    patches = [image[row : row + 3, column : column + 3] for row in range(4) for column in range(4)]
    products = np.stack([patch * SLIDING_KERNEL for patch in patches])
    return SlidingPatch(
        image, products, products.sum(axis=(1, 2)), convolve(image, SLIDING_KERNEL, mode="valid")
    )


# ------------------------------------------------------------------------------------------------------------
# Reversal, and the convolution theorem.


@dataclass(frozen=True)
class Identities:
    """Ways to the same convolution that mathematics promises.

    Attributes
    ----------
    reversal : Fraction
        The largest difference between the sum that defines a convolution and the cross-correlation with the
        reversed kernel, in fractions.
    theorem, theorem_bound : float
        The largest difference between the spectrum of a convolution and the product of the two spectra, and
        what rounding can make of it.
    """

    reversal: Fraction
    theorem: float
    theorem_bound: float


def _by_definition(x: npt.NDArray[Any], w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the convolution by its sum, pixel by pixel: y[p] = Σ_r w[r] x[p − r]."""
    H, W = x.shape
    R, S = w.shape
    y = np.full((H + R - 1, W + S - 1), Fraction(0), dtype=object)
    for i, j, r, s in np.ndindex(H, W, R, S):
        y[i + r, j + s] += w[r, s] * x[i, j]
    return y


@cache
def identities() -> Identities:
    """Compare them on a piece of the photograph, with a kernel that is not its own reverse."""
    exact = np.vectorize(Fraction, otypes=[object])
    x = exact((255 * palace()[100:116, 40:60]).round())
    w = exact(np.array([[1.0, 2.0, 0.0], [-3.0, 0.5, 4.0]]))
    reversal = np.abs(_by_definition(x, w) - cross_correlate(x, w[::-1, ::-1])).max()

    photograph, kernel = palace(), palace()[60:75, 100:121] - 0.5
    y = convolve(photograph, kernel)
    product = np.fft.rfft2(photograph, s=y.shape) * np.fft.rfft2(kernel, s=y.shape)
    theorem = float(np.abs(np.fft.rfft2(y) - product).max())
    # Of a transform of n numbers, each result is off by at most 10 U log₂ n √n times their length; the
    # direct sum of n products by n U Σ|w||x|, which the transform adds up.
    spread = 10 * U * np.log2(y.size)
    sizes = [float(np.abs(array).sum()) for array in (photograph, kernel)]
    lengths = [float(np.linalg.norm(array)) * y.size**0.5 for array in (photograph, kernel, y)]
    bound = spread * (lengths[0] * sizes[1] + sizes[0] * lengths[1] + lengths[2])
    return Identities(Fraction(reversal), theorem, float(bound + kernel.size * U * sizes[0] * sizes[1]))


# ------------------------------------------------------------------------------------------------------------
# A feature detector.

FEATURE = (slice(88, 104), slice(108, 132))
"""Where the feature is cut out: a corner of the palace's roof."""
NOISE = 0.1
"""Standard deviation of the noise that the photograph is searched under; its pixels go from 0 to 1."""


@dataclass(frozen=True)
class FeatureDetection:
    """A patch, and where a noisy photograph resembles it.

    Attributes
    ----------
    photograph, kernel : ndarray
        The photograph under noise, and the patch, without noise, less its mean.
    response : ndarray
        Their cross-correlation, divided by the contrast under the kernel: from −1 to 1.
    found : tuple of int
        Where the response is largest.
    peak, elsewhere : float
        The response there, and the largest one farther than half the patch away.
    by_convolution : float
        The largest difference from the convolution with the reversed kernel.
    """

    photograph: Floats
    kernel: Floats
    response: Floats
    found: tuple[int, int]
    peak: float
    elsewhere: float
    by_convolution: float


@cache
def feature_detection() -> FeatureDetection:
    """Cut a patch out of the photograph, and look for it under noise."""
    noise = np.random.default_rng(11).normal(scale=NOISE, size=palace().shape)
    photograph = palace() + noise
    kernel = palace()[FEATURE] - palace()[FEATURE].mean()
    # The contrast under the kernel: the standard deviation of its pixels, from two moving averages.
    average = np.full(kernel.shape, 1 / kernel.size)
    mean = cross_correlate(photograph, average, mode="valid")
    contrast = np.sqrt(cross_correlate(photograph**2, average, mode="valid") - mean**2)
    correlation = cross_correlate(photograph, kernel, mode="valid")
    response = correlation / (contrast * kernel.std() * kernel.size)
    row, column = (int(index) for index in np.unravel_index(np.argmax(response), response.shape))
    rows, columns = np.indices(response.shape)
    far = (np.abs(rows - row) > kernel.shape[0] // 2) | (np.abs(columns - column) > kernel.shape[1] // 2)
    reversed_kernel = np.ascontiguousarray(kernel[::-1, ::-1])
    return FeatureDetection(
        photograph,
        kernel,
        response,
        (row, column),
        float(response.max()),
        float(response[far].max()),
        float(np.abs(convolve(photograph, reversed_kernel, mode="valid") - correlation).max()),
    )


# ------------------------------------------------------------------------------------------------------------
# Four algorithms.

ALGORITHMS = ("direct", "im2col", "winograd_2", "winograd_4", "winograd_6", "fft")


@dataclass(frozen=True)
class Agreement:
    """Algorithms for the same convolution.

    Attributes
    ----------
    exact : Fraction
        The largest difference between those that need no roots of unity, in fractions.
    errors : dict of str to float
        In float64, the largest error of each, in units of U · Σ|w||x|.
    fft_error, fft_bound : float
        The largest error of the convolution by spectra, and its bound.
    """

    exact: Fraction
    errors: dict[str, float]
    fft_error: float
    fft_bound: float


@cache
def agreement() -> Agreement:
    """Convolve a piece of the photograph, in colour, with four kernels, in fractions and in float64."""
    x = np.moveaxis(data.photograph("china")[150:174, 300:324], 2, 0)[None].copy()
    w = np.random.default_rng(3).normal(size=(4, 3, 3, 3))
    exactly = np.vectorize(Fraction, otypes=[object])
    want, *others = (conv(exactly(x), exactly(w), algorithm=name) for name in ALGORITHMS[:-1])
    exact = max(np.abs(want - other).max() for other in others)

    sizes = conv(x, np.abs(w))
    errors = {
        name: np.asarray(abs(exactly(conv(x, w, algorithm=name)) - want), np.float64) for name in ALGORITHMS
    }
    lengths = [float(np.linalg.norm(x)) * float(np.linalg.norm(kernel)) for kernel in w]
    return Agreement(
        Fraction(exact),
        {name: float((error / (U * sizes)).max()) for name, error in errors.items()},
        float(errors["fft"].max()),
        float(10 * U * np.log2(x[0, 0].size) * max(lengths)),
    )


# ------------------------------------------------------------------------------------------------------------
# Pictures.


def edges_picture() -> Picture:
    """Return the photograph and its edges."""

    def draw(figure: Figure) -> None:
        found = edge_detection()
        left, right = figure.subplots(1, 2)
        show_photograph(left, found.photograph, title="photograph")
        show_photograph(right, np.clip(np.abs(found.response), 0, 1), title="|photograph ∗ edge detector|")

    caption = (
        "A photograph, and the size of its convolution with an edge detector: 8 in the middle of eight −1. "
        "Even surfaces turn black."
    )
    return Picture("edges", caption, draw, size=(5.8, 2.2))


def sliding_patch_picture() -> Picture:
    """Return two of the sixteen steps of a convolution."""

    def draw(figure: Figure) -> None:
        found = sliding_patch()
        panels = figure.subplots(len(STEPS_SHOWN), 2, width_ratios=(6, 4))
        for line, step in enumerate(STEPS_SHOWN):
            row, place = divmod(step, 4)
            _show_step(panels[line, 0], found, step, (row, place))
            done = np.where(np.arange(16) <= step, found.sums, np.nan).reshape(4, 4)
            _show_numbers(panels[line, 1], done, f"after step {step + 1}", marked={(row, place)})

    caption = (
        "The kernel (small numbers) slides over the image; at each step the patch below it is multiplied by "
        "it, and the sum becomes one pixel of the result."
    )
    return Picture("sliding-patch", caption, draw, size=(4.4, 4.3))


def _show_step(axes: Axes, found: SlidingPatch, step: int, corner: tuple[int, int]) -> None:
    """Draw the image with the kernel on it."""
    patch = {(corner[0] + r, corner[1] + s) for r in range(3) for s in range(3)}
    _show_numbers(
        axes, found.image, f"step {step + 1}: the sum is {found.sums[step]:g}".replace("-", "−"), marked=patch
    )
    for row, column in patch:
        weight = SLIDING_KERNEL[row - corner[0], column - corner[1]]
        axes.text(
            column + 0.45,
            row + 0.42,
            f"×{weight:g}".replace("-", "−"),
            ha="right",
            va="bottom",
            fontsize=7,
            color=ACCENT,
            weight="bold",
        )


def _show_numbers(axes: Axes, values: Floats, title: str, *, marked: set[tuple[int, int]]) -> None:
    """Draw a matrix as numbers in cells, the marked ones on another ground; NaN is an empty cell."""
    from matplotlib.patches import Rectangle

    H, W = values.shape
    for row, column in np.ndindex(H, W):
        ground = PALE if (row, column) in marked else "white"
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=ground, edgecolor=INK, linewidth=0.5))
        if not np.isnan(values[row, column]):
            number = f"{values[row, column]:g}".replace("-", "−")
            axes.text(column - 0.05, row - 0.05, number, ha="center", va="center", fontsize=8)
    axes.set(xlim=(-0.55, W - 0.45), ylim=(H - 0.45, -0.55), aspect="equal", title=title)
    axes.set_axis_off()


def feature_picture() -> Picture:
    """Return the patch, the noisy photograph and where it is found."""

    def draw(figure: Figure) -> None:
        found = feature_detection()
        H, W = found.kernel.shape
        panels = list(figure.subplot_mosaic("AB;.C", width_ratios=(W, 180)).values())
        show_map(panels[0], found.kernel, signed=True, title="kernel")
        show_photograph(panels[1], np.clip(found.photograph, 0, 1), title="photograph under noise")
        show_map(panels[2], found.response, limits=(-0.3, 1.0), title="cross-correlation")
        row, column = found.found
        _mark(panels[1], (row, column), (H, W))
        panels[2].plot(column, row, marker="o", markersize=14, markerfacecolor="none", color=ACCENT)

    caption = (
        "A corner of the roof as a kernel: cross-correlated with the photograph under noise, and divided by "
        "the contrast there, it responds strongest (white) where it was cut out."
    )
    return Picture("feature-detection", caption, draw, size=(3.8, 4.0))


def _mark(axes: Axes, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Draw a frame around some pixels."""
    from matplotlib.patches import Rectangle

    place = (corner[1] - 0.5, corner[0] - 0.5)
    axes.add_patch(Rectangle(place, size[1], size[0], fill=False, edgecolor=ACCENT, linewidth=1.6))


def algorithms_picture() -> Picture:
    """Return the error of each algorithm."""

    def draw(figure: Figure) -> None:
        errors = agreement().errors
        axes = figure.subplots()
        axes.barh(list(errors), list(errors.values()), color=LINES[0], height=0.6)
        for place, error in enumerate(errors.values()):
            axes.text(error, place, f" {error:.2g}", va="center", fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="largest error in float64, in units of 2⁻⁵³ Σ|w||x|")
        axes.margins(x=0.1)

    caption = (
        "Algorithms for the same convolution of a colour photograph with four 3×3 kernels. In fractions all "
        "but the Fourier transform give the same numbers; in floats they round more, the more they save."
    )
    return Picture("algorithms", caption, draw, size=(6.4, 2.6))


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "edges": edges_picture,
    "sliding-patch": sliding_patch_picture,
    "feature-detection": feature_picture,
    "interpretations": interpretations.picture,
    "contours": contours.picture,
    "algorithms": algorithms_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "edges and patches")
    edges, patch = edge_detection(), sliding_patch()
    progress(0.1, "spectra")
    same = identities()
    progress(0.3, "a feature detector")
    feature = feature_detection()
    progress(0.5, "other interpretations")
    others = interpretations.measure()
    progress(0.6, "waves and contours")
    of_contours, said_of_contours = contours.measure()
    progress(0.7, "algorithms")
    algorithms = agreement()
    numbers: dict[str, float | int] = {
        "edge response to an even surface": edges.flat,
        "mean edge response in the sky": edges.sky,
        "mean edge response in the palace": edges.palace,
        "steps of the sliding patch": len(patch.sums),
        "largest difference of patch by patch and at once": float(
            np.abs(patch.sums.reshape(4, 4) - patch.result).max()
        ),
        "largest difference of the definition and correlation with the reversed kernel": float(same.reversal),
        "largest difference of the spectrum and the product of spectra": same.theorem,
        "bound of that difference": same.theorem_bound,
        "row where the feature is found": feature.found[0],
        "column where the feature is found": feature.found[1],
        "response to the feature": feature.peak,
        "largest response elsewhere": feature.elsewhere,
        "largest difference of direct, im2col and Winograd in fractions": float(algorithms.exact),
        "largest error of the Fourier transform": algorithms.fft_error,
        "bound of that error": algorithms.fft_bound,
        **others.numbers,
        **of_contours,
    }
    numbers |= {f"error of {name} / (2⁻⁵³ Σ|w||x|)": error for name, error in algorithms.errors.items()}
    statements = [*_statements(numbers), *others.statements, *said_of_contours]
    return Demonstration.of("convolution", TITLE, statements=statements, numbers=numbers, pictures=PICTURES)


def _statements(n: Mapping[str, float | int]) -> list[str]:
    sky, palace = n["mean edge response in the sky"], n["mean edge response in the palace"]
    return [
        f"An edge detector answers to a palace {palace / sky:.0f} times as strongly as to the sky, and to an "
        "even surface not at all.",
        f"{n['steps of the sliding patch']} patches, each multiplied by the kernel and summed, are the "
        "convolution, to the last bit.",
        "Convolution is cross-correlation with the reversed kernel, exactly.",
        "The spectrum of a convolution is the product of the spectra: they differ by "
        f"{n['largest difference of the spectrum and the product of spectra']:.1e}, and rounding could make "
        f"it {n['bound of that difference']:.1e}.",
        "A corner of the roof, as a kernel, finds itself under noise: the response is "
        f"{n['response to the feature']:.2f} where it was cut out and at most "
        f"{n['largest response elsewhere']:.2f} elsewhere.",
        "Direct, im2col and Winograd's algorithms give the same fractions; the Fourier transform is off "
        f"by {n['largest error of the Fourier transform']:.1e}, of {n['bound of that error']:.1e} allowed.",
    ]
