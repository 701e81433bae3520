"""Units at work: maxout bends as often as it has pieces, an LSTM unit keeps what it was told to keep.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Unit".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import lstm_unit, lstm_unit_backward
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, MaxPooling
from gaugeblock.reference.unit import LSTM, Activation, Maxout, Threshold, Unit
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, QUIET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Unit"
Floats = npt.NDArray[np.float64]

PIECES = (2, 4, 8)
STEPS, STORED, ASKED = 300, 10, 290
"""How long the sequence is, when its number is to be stored, and when the unit is to show it."""


@dataclass(frozen=True)
class Bends:
    """A maxout unit whose pieces touch a parabola from below.

    Attributes
    ----------
    x, y : ndarray
        The curve of the unit.
    pieces : int
        How many weighted sums it takes in.
    error : float
        Its largest distance from x² on −1 to 1.
    """

    x: Floats
    y: Floats
    pieces: int
    error: float


@cache
def bends() -> tuple[Bends, ...]:
    """Give maxout units tangents of x², spread evenly, as their pieces."""
    x = np.linspace(-1.0, 1.0, 1025)
    found = []
    for pieces in PIECES:
        touch = (2 * np.arange(pieces) + 1) / pieces - 1  # where the tangents touch
        layer = FullyConnected(2 * touch[None], -(touch**2), Maxout(pieces))
        y = layer.forward(x[:, None]).y[:, 0]
        found.append(Bends(x, y, pieces, float(np.abs(y - x**2).max())))
    return tuple(found)


@dataclass(frozen=True)
class Memory:
    """An LSTM unit that is told to store one number of a noisy sequence and to show it later.

    Attributes
    ----------
    x, h, cell : ndarray, shape (T,)
        What the unit sees, what it shows, and what its cell holds.
    stored, held, shown : float
        The number when it is stored, what the cell holds of it when it is asked, and what is shown.
    gradient, half_open : float
        The share of a gradient that arrives at the store from the end: with the forget gate open, as here,
        and with it half open.
    """

    x: Floats
    h: Floats
    cell: Floats
    stored: float
    held: float
    shown: float
    gradient: float
    half_open: float


def _gradient(forget: float) -> float:
    """Return ∂c_last/∂c_first of a unit whose forget gate has a bias."""
    dy = np.zeros((2, ASKED - STORED, 1, 1))
    dy[1, -1] = 1.0
    state, nothing = np.zeros((1, 1)), np.zeros((4, 1, 1))
    bias = np.array([[-50.0], [forget], [0.0], [0.0]])
    dz = lstm_unit_backward(dy, np.zeros((len(dy[0]), 1, 1)), state, state, nothing, nothing, bias)
    return float(dz[4, 0, 0, 0])


@cache
def memory() -> Memory:
    """Wire a unit by hand: inputs are a number, "store" and "show"; both are commands of size 1."""
    generator = np.random.default_rng(7)
    x = np.zeros((STEPS, 1, 3))
    x[:, 0, 0] = generator.uniform(-0.5, 0.5, STEPS)
    x[STORED, 0, 1] = x[ASKED, 0, 2] = 1.0
    #                     number store show
    w = np.array([[[0.0, 80.0, 0.0]], [[0.0, -80.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 80.0]]])
    bias = np.array([[-40.0], [40.0], [0.0], [-40.0]])
    state = np.zeros((1, 1))
    h, cell = lstm_unit(x, state, state, w, np.zeros((4, 1, 1)), bias)[:, :, 0, 0]
    return Memory(
        x=x[:, 0, 0],
        h=h,
        cell=cell,
        stored=float(np.tanh(x[STORED, 0, 0])),
        held=float(cell[ASKED]),
        shown=float(np.arctanh(h[ASKED])),
        gradient=_gradient(50.0),
        half_open=_gradient(0.0),
    )


RISING, FALLING = "softplus", "silu"
"""An activation that rises everywhere, and one that falls first."""


@cache
def transformed(name: str) -> float:
    """Return how far maxout of transformed sums is from the transform of maxout, at the most."""
    z = np.random.default_rng(0).normal(size=(1000, 4)) * 2
    inside = Maxout(4, Activation(name)).forward(z)
    return float(np.abs(inside - Activation(name).forward(Maxout(4).forward(z))).max())


def kinds() -> Mapping[str, bool]:
    """Return for several things whether they are units."""
    things = (Activation, Maxout, LSTM, Threshold, Convolutional, MaxPooling, AveragePooling)
    return {thing.__name__: issubclass(thing, Unit) for thing in things}


def maxout_picture() -> Picture:
    """Return maxout units against the parabola that their pieces touch."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(PIECES), sharey=True)
        for axes, bend in zip(panels, bends(), strict=True):
            axes.plot(bend.x, bend.x**2, color=QUIET, linestyle="-", linewidth=1, label="x²")
            axes.plot(bend.x, bend.y, color=ACCENT, linestyle="-", label="maxout")
            axes.set(title=f"{bend.pieces} pieces", xlabel="x")
        panels[0].legend()

    caption = (
        "A maxout unit is the largest of its weighted sums: a convex function with as many straight pieces."
    )
    return Picture("maxout", caption, draw, size=(8.0, 2.6))


def memory_picture() -> Picture:
    """Return what an LSTM unit sees, holds and shows."""

    def draw(figure: Figure) -> None:
        found, panels = memory(), figure.subplots(3, 1, sharex=True)
        steps = np.arange(STEPS)
        for axes, values, label, style in zip(
            panels, (found.x, found.cell, found.h), ("sees", "holds", "shows"), range(3), strict=True
        ):
            axes.plot(steps, values, color=LINES[style], linestyle="-", linewidth=1)
            axes.set(ylabel=label, ylim=(-0.6, 0.6))
            for when in (STORED, ASKED):
                axes.axvline(when, color=QUIET, linewidth=0.8, linestyle=DASHES[2])
        for when, command in ((STORED, "store"), (ASKED, "show")):
            panels[0].annotate(
                command, (when, 0.6), xytext=(3, -4), textcoords="offset points", color=INK, fontsize=8
            )
        panels[2].set(xlabel="step", xlim=(0, STEPS))

    caption = (
        "An LSTM unit wired by hand. At “store” its input gate opens for one step and its forget gate lets "
        "go of what was there; then the cell keeps the number, and at “show” the output gate opens."
    )
    return Picture("memory", caption, draw, size=(5.8, 3.6))


PICTURES: Mapping[str, Callable[[], Picture]] = {"maxout": maxout_picture, "memory": memory_picture}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "maxout")
    bent = bends()
    progress(0.3, "an LSTM unit")
    kept = memory()
    numbers: dict[str, float | int] = {
        "weighted sums of an activation": Activation("relu").incoming,
        "weighted sums of an LSTM unit": LSTM().incoming,
        **{f"distance from x² with {bend.pieces} pieces": bend.error for bend in bent},
        **{f"transform inside or behind maxout, {name}": transformed(name) for name in (RISING, FALLING)},
        "steps between store and show": ASKED - STORED,
        "number stored": kept.stored,
        "number held at the end": kept.held,
        "gradient that arrives, forget gate open": kept.gradient,
        "gradient that arrives, forget gate half open": kept.half_open,
    }
    return Demonstration.of(
        "unit", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    units = [name for name, is_unit in kinds().items() if is_unit]
    others = [name for name, is_unit in kinds().items() if not is_unit]
    distances = ", ".join(f"{n[f'distance from x² with {pieces} pieces']:.4f}" for pieces in PIECES)
    return [
        f"Units are {', '.join(units)}; no units are {', '.join(others)}.",
        f"An activation takes in {n['weighted sums of an activation']} weighted sum, an LSTM unit "
        f"{n['weighted sums of an LSTM unit']}, a maxout unit as many as it has pieces.",
        f"With {', '.join(map(str, PIECES))} pieces, maxout comes within {distances} of x²: a quarter each "
        "time.",
        "Whether sums are transformed inside a maxout unit or behind it makes no difference for a function "
        f"that never falls ({RISING}: {n[f'transform inside or behind maxout, {RISING}']:.1g}), but does for "
        f"one that falls somewhere ({FALLING}: {n[f'transform inside or behind maxout, {FALLING}']:.2f}).",
        f"An LSTM unit that stores {n['number stored']:.6f} holds {n['number held at the end']:.6f} after "
        f"{n['steps between store and show']} steps of other numbers.",
        f"On the way back {n['gradient that arrives, forget gate open']:.3g} of a gradient arrives where "
        f"the forget gate is open, {n['gradient that arrives, forget gate half open']:.2g} where it is half "
        "open.",
    ]
