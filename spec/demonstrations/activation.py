"""Activation functions at work: curves, four points no linear map rearranges, a thousand layers in one.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Activation Function".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import activation, gemm, relu
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Activation function"

Floats: TypeAlias = npt.NDArray[np.float64]
Fractions: TypeAlias = npt.NDArray[Any]
"""An array of `fractions.Fraction`: what is computed with it is exact."""

# ------------------------------------------------------------------------------------------------------------
# The curves.


@dataclass(frozen=True)
class Curve:
    """One function on a grid.

    Attributes
    ----------
    label : str
        What it is called.
    x, y, slope : ndarray
        The grid, the function and its derivative there.
    """

    label: str
    x: Floats
    y: Floats
    slope: Floats

    @property
    def gap(self) -> float:
        """How far the area under the derivative is from the rise of the function."""
        return abs(float(np.trapezoid(self.slope, self.x)) - float(self.y[-1] - self.y[0]))


def _elementwise(
    name: str, **parameters: Any
) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Return a function of the reference and its derivative."""
    function, backward = getattr(activation, name), getattr(activation, f"{name}_backward")
    return (
        lambda x: function(x, **parameters),
        lambda x: backward(np.ones_like(x), x, **parameters),
    )


def _in_row(name: str, partner: Callable[[Floats], Floats]) -> tuple[Callable[[Floats], Floats], ...]:
    """Return the first result of a function of rows of two, (x, partner(x)), and its derivative in x."""
    function, backward = getattr(activation, name), getattr(activation, f"{name}_backward")

    def row(x: Floats) -> Floats:
        return np.stack([x, partner(x)], axis=-1)

    def first(x: Floats) -> Floats:
        y: Floats = function(row(x))[..., 0]
        return y

    def slope(x: Floats) -> Floats:
        dy = np.zeros_like(function(row(x)))
        dy[..., 0] = 1.0
        dx = backward(dy, row(x))
        step = 2.0**-10
        # The partner moves too: its share by the chain rule. It is a straight line, so this is its slope.
        moved: Floats = (partner(x + step) - partner(x)) / step
        total: Floats = dx[..., 0] + dx[..., 1] * moved
        return total

    return first, slope


@cache
def curves() -> tuple[Curve, ...]:
    """Return every activation of the reference, with its derivative, from −6 to 6 (relu6: to 8)."""
    functions = {
        "ReLU": _elementwise("relu"),
        "ReLU6": _elementwise("relu6"),
        "leaky ReLU, slope 0.1": _elementwise("leaky_relu", negative_slope=0.1),
        "ELU": _elementwise("elu"),
        "sigmoid": _elementwise("sigmoid"),
        "hard sigmoid": _elementwise("hard_sigmoid"),
        "tanh": _elementwise("tanh"),
        "hard tanh": _elementwise("hard_tanh"),
        "softplus": _elementwise("softplus"),
        "log-sigmoid": _elementwise("log_sigmoid"),
        "GELU": _elementwise("gelu"),
        "GELU, tanh form": _elementwise("gelu", approximate="tanh"),
        "SiLU": _elementwise("silu"),
        "softmax of (x, 0)": _in_row("softmax", np.zeros_like),
        "log-softmax of (x, 0)": _in_row("log_softmax", np.zeros_like),
        "maxout of (x, −x)": _in_row("maxout", np.negative),
    }
    x = np.linspace(-8.0, 8.0, 2049)  # steps of 1/128: every kink lies on the grid
    return tuple(Curve(label, x, f(x), slope(x)) for label, (f, slope) in functions.items())


# ------------------------------------------------------------------------------------------------------------
# Four points.


def _exact(rows: Any) -> Fractions:
    """Return a matrix of fractions."""
    return np.array([[Fraction(value) for value in row] for row in rows], dtype=object)


POINTS = _exact([(-2, "-1/4"), (-2, "1/4"), (2, "-1/4"), (2, "1/4")])
"""A1, A2, B1, B2: two close pairs, far from each other, with A1 − A2 = B1 − B2."""
TEARING = _exact([(-2, 1), (10, 0)])
"""Weights of two units. After ReLU, the first is 0 at both B and far from 0 at one A."""
MATCHING = _exact([(2, 0), (10, 1)])
"""Weights of two units. With a bias of (−2, −1), ReLU leaves 0 at A1, A2 and B1, and not at B2."""
MATCHING_BIAS = np.array([Fraction(-2), Fraction(-1)], dtype=object)
LINEAR_MAPS = 1000


@dataclass(frozen=True)
class FourPoints:
    r"""What linear maps and one ReLU layer do to the distances between A1, A2, B1 and B2.

    Attributes
    ----------
    linear_maps : int
        How many maps were tried.
    linear_difference : Fraction
        The largest difference between \\|A1 − A2\\|² and \\|B1 − B2\\|² after any of them.
    least_distance, largest_distance : float
        Of \|A1 − A2\| after the maps.
    before, torn, matched : ndarray of Fraction, shape (4, 2)
        The points, after the layer that tears A apart and joins B, and after the one that joins B1 to A.
    """

    linear_maps: int
    linear_difference: Fraction
    least_distance: float
    largest_distance: float
    before: Fractions
    torn: Fractions
    matched: Fractions


def _square_distance(a: Fractions, b: Fractions) -> Fraction:
    difference = a - b
    square: Fraction = sum(difference * difference, Fraction(0))
    return square


@cache
def four_points() -> FourPoints:
    """Try many linear maps, drawn at random but computed exactly, and two layers with a ReLU."""
    draw = np.random.default_rng(9)
    differences, distances = [], []
    for _ in range(LINEAR_MAPS):
        # Entries k/16 from −4 to 4: stretching, squeezing, turning, projecting.
        linear = _exact(draw.integers(-64, 65, (2, 2)).tolist()) / Fraction(16)
        A1, A2, B1, B2 = gemm(POINTS, linear)
        distances.append(_square_distance(A1, A2))
        differences.append(abs(distances[-1] - _square_distance(B1, B2)))
    return FourPoints(
        linear_maps=LINEAR_MAPS,
        linear_difference=max(differences),
        least_distance=float(min(distances)) ** 0.5,
        largest_distance=float(max(distances)) ** 0.5,
        before=POINTS,
        torn=relu(gemm(POINTS, TEARING)),
        matched=relu(gemm(POINTS, MATCHING, MATCHING_BIAS, beta=1.0)),
    )


# ------------------------------------------------------------------------------------------------------------
# A thousand layers.

LAYERS = 1000


@dataclass(frozen=True)
class ThousandLayers:
    r"""A stack of layers without an activation, against one layer.

    Attributes
    ----------
    layers, examples : int
        How many.
    difference : Fraction
        The largest difference between the stack's results and the single layer's.
    digits : int
        Decimal digits of the largest numerator in the single layer's weights.
    oddness : float
        The least of \\|f(x) + f(−x)\\| / \\|f(x)\\| over the examples with a ReLU after each layer: 0 for any
        linear f, whatever its weights.
    """

    layers: int
    examples: int
    difference: Fraction
    digits: int
    oddness: float


def _shears(count: int) -> list[Fractions]:
    """Return matrices that add half of one feature to another, or take it off: of determinant 1."""
    draw = np.random.default_rng(1000)
    matrices = []
    for _ in range(count):
        source, target = draw.permutation(4)[:2]
        matrix = _exact(np.eye(4, dtype=int).tolist())
        matrix[source, target] = Fraction(int(draw.choice((-1, 1))), 2)
        matrices.append(matrix)
    return matrices


@cache
def thousand_layers() -> ThousandLayers:
    """Send ten irises through a thousand linear layers, and through the product of their matrices."""
    X = _exact(data.iris().X[::15].tolist())
    weights = _shears(LAYERS)
    stacked, single = X, _exact(np.eye(4, dtype=int).tolist())
    for W in weights:
        stacked, single = gemm(stacked, W), gemm(single, W)
    rectified, mirrored = X, -X
    for W in weights:
        rectified, mirrored = relu(gemm(rectified, W)), relu(gemm(mirrored, W))
    sums, sizes = (np.abs(array).sum(axis=1) for array in (rectified + mirrored, rectified))
    return ThousandLayers(
        layers=len(weights),
        examples=len(X),
        difference=max(np.abs(stacked - gemm(X, single)).flat),
        digits=max(len(str(abs(entry.numerator))) for entry in single.flat),
        oddness=float(min(a / b for a, b in zip(sums, sizes, strict=True) if b)),
    )


# ------------------------------------------------------------------------------------------------------------
# Layer by layer more complex.

FOLDS = 10
TENT = (_exact([(2, 4)]), np.array([Fraction(0), Fraction(-2)], dtype=object), _exact([(1,), (-1,)]))
"""Weights and biases of two units, and what is taken of them: rectified they fold the numbers from 0 to 1."""


@cache
def folds(rectified: bool) -> tuple[int, ...]:
    """Count the straight pieces that are made of one straight line by 1 to `FOLDS` layers of two units."""
    weights, bias, taken = TENT
    line = _exact([(Fraction(step, 2**FOLDS),) for step in range(2**FOLDS + 1)])
    counts = []
    for _ in range(FOLDS):
        units = gemm(line, weights, bias, beta=1.0)
        line = gemm(relu(units) if rectified else units, taken)
        slopes = np.diff(line[:, 0])
        counts.append(1 + int(np.sum(slopes[1:] != slopes[:-1])))
    return tuple(counts)


# ------------------------------------------------------------------------------------------------------------
# Pictures.


def curves_picture() -> Picture:
    """Return the curves, a panel for each function."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(4, 4, sharex=True)
        for axes, curve in zip(panels.flat, curves(), strict=True):
            axes.axhline(0.0, color=QUIET, linewidth=0.5, linestyle="-")
            axes.plot(curve.x, curve.y, color=LINES[0], linestyle="-", label="f(x)")
            axes.plot(curve.x, curve.slope, color=ACCENT, linestyle=DASHES[1], linewidth=1.2, label="f′(x)")
            axes.set(xlim=(-8, 8), xticks=(-8, 0, 8))
            axes.set_title(curve.label, fontsize=8)
        for axes in panels[-1]:
            axes.set_xlabel("x")
        panels[0, 0].legend()

    caption = "Every activation function of the reference (solid) and its derivative (dashed)."
    return Picture("curves", caption, draw, size=(6.2, 6.6))


def four_points_picture() -> Picture:
    """Return the four points before, after a linear map, and after two layers with ReLU."""
    found = four_points()
    linear = gemm(POINTS, _exact([("1/2", "-1/4"), (1, 5)]))  # one of them, that tears both pairs

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
        for axes in panels[::2]:
            axes.set_ylabel("second feature")
        _show_points(panels[0], found.before, "given")
        _show_points(panels[1], linear, "a linear map")
        _show_points(panels[2], found.torn, "ReLU: A apart, B together")
        _show_points(panels[3], found.matched, "ReLU: B1 with A, B2 away")

    caption = (
        "Four points. A linear map moves A1 and A2 as far apart as B1 and B2, whatever it is; one layer with "
        "a ReLU parts one pair and joins the other."
    )
    return Picture("four-points", caption, draw, size=(5.8, 3.8))


def _show_points(axes: Axes, points: Fractions, title: str) -> None:
    """Draw the pairs as lines with marks at their ends; points that coincide share a label."""
    x, y = np.array(points, np.float64).T
    for pair, colour, marker in ((slice(0, 2), LINES[0], "o"), (slice(2, 4), ACCENT, "s")):
        axes.plot(x[pair], y[pair], color=colour, marker=marker, linestyle="-", linewidth=1, clip_on=False)
    names: dict[tuple[float, float], list[str]] = {}
    for name, place in zip(("A1", "A2", "B1", "B2"), zip(x, y, strict=True), strict=True):
        names.setdefault(place, []).append(name)
    for place, here in names.items():
        aside = (5, -9) if here in (["A1"], ["B1"]) else (5, 3)  # the two of a pair may be close
        axes.annotate(", ".join(here), place, xytext=aside, textcoords="offset points", color=INK, fontsize=8)
    axes.set(title=title, xlabel="first feature", xlim=(-3, 8), ylim=(-2.6, 2.9), aspect="equal")


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "curves": curves_picture,
    "four-points": four_points_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "curves")
    by_label = {curve.label: curve for curve in curves()}
    erf_form, tanh_form = by_label["GELU"], by_label["GELU, tanh form"]
    numbers: dict[str, float | int] = {
        "activation functions": len(by_label),
        "largest gap between f(8) − f(−8) and the area under f′": max(c.gap for c in by_label.values()),
        "largest difference of ReLU and max(0, x)": float(
            np.abs(by_label["ReLU"].y - np.maximum(0.0, by_label["ReLU"].x)).max()
        ),
        "steepest slope of the sigmoid": float(by_label["sigmoid"].slope.max()),
        "steepest slope of tanh": float(by_label["tanh"].slope.max()),
        "largest difference of the two forms of GELU": float(np.abs(erf_form.y - tanh_form.y).max()),
    }
    progress(0.3, "four points")
    points = four_points()
    progress(0.5, "a thousand layers")
    layers = thousand_layers()
    progress(0.9, "layer by layer")
    bent, straight = folds(rectified=True), folds(rectified=False)
    numbers |= {
        "linear maps tried": points.linear_maps,
        "largest difference of |A1−A2|² and |B1−B2|² after a linear map": float(points.linear_difference),
        "least |A1−A2| after a linear map": points.least_distance,
        "largest |A1−A2| after a linear map": points.largest_distance,
        "|A1−A2| before": float(_square_distance(*points.before[:2])) ** 0.5,
        "|B1−B2| before": float(_square_distance(*points.before[2:])) ** 0.5,
        "|A1−A2| after ReLU": float(_square_distance(*points.torn[:2])) ** 0.5,
        "|B1−B2| after ReLU": float(_square_distance(*points.torn[2:])) ** 0.5,
        "|A1−B1| after the other ReLU": float(_square_distance(*points.matched[[0, 2]])) ** 0.5,
        "|A1−B2| after the other ReLU": float(_square_distance(*points.matched[[0, 3]])) ** 0.5,
        "linear layers": layers.layers,
        "largest difference of the linear layers and one": float(layers.difference),
        "digits of the largest number in that one": layers.digits,
        "least |f(x) + f(−x)| / |f(x)| with ReLU": layers.oddness,
        "straight pieces after 1 layer with ReLU": bent[0],
        f"straight pieces after {FOLDS} layers with ReLU": bent[-1],
        f"straight pieces after {FOLDS} linear layers": straight[-1],
    }
    return Demonstration.of(
        "activation", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    return [
        f"All {n['activation functions']} derivatives belong to their functions: the area under each is what "
        f"the function rises by, but for {n['largest gap between f(8) − f(−8) and the area under f′']:.1e}.",
        f"The sigmoid is nowhere steeper than {n['steepest slope of the sigmoid']:g}, tanh than "
        f"{n['steepest slope of tanh']:g}, ReLU than 1.",
        f"After each of {n['linear maps tried']} linear maps A1 and A2 are exactly as far apart as B1 and "
        f"B2, from {n['least |A1−A2| after a linear map']:.2f} to "
        f"{n['largest |A1−A2| after a linear map']:.2f}: A1 − A2 = B1 − B2, so L(A1 − A2) = L(B1 − B2).",
        f"One layer with a ReLU moves A1 and A2 from {n['|A1−A2| before']:g} to {n['|A1−A2| after ReLU']:g} "
        f"apart, and B1 and B2 from {n['|B1−B2| before']:g} to {n['|B1−B2| after ReLU']:g}.",
        f"Another joins B1 to A1 and leaves B2 at a distance of {n['|A1−B2| after the other ReLU']:g}.",
        f"{n['linear layers']} linear layers are one, exactly: their product, with numbers of up to "
        f"{n['digits of the largest number in that one']} digits, gives the same fractions for every iris.",
        "With a ReLU after each they are not: any linear f has f(x) + f(−x) = 0, here that sum is at least "
        f"{n['least |f(x) + f(−x)| / |f(x)| with ReLU']:g} times f(x).",
        "Each layer can make features more complex: of a straight line two units with a ReLU make "
        f"{n['straight pieces after 1 layer with ReLU']} straight pieces, {FOLDS} layers of two "
        f"{n[f'straight pieces after {FOLDS} layers with ReLU']}, and without ReLU "
        f"{n[f'straight pieces after {FOLDS} linear layers']}.",
    ]
