"""How every picture looks, in one place.

A line is told from another by its colour, its lightness and its dashes, so that it can be in grey print and
by the colour-blind. Maps of numbers are grey: black is little, or negative; white is much. Text is drawn as
outlines of the font that matplotlib carries: a picture looks the same wherever it is shown, and has the same
bytes whenever it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ACCENT",
    "DARK",
    "DASHES",
    "INK",
    "LINES",
    "PALE",
    "PAPER",
    "QUIET",
    "in_style",
    "show_map",
    "show_photograph",
]

INK = "#24292e"
"""Text, axes and what is given."""
QUIET = "#8b949e"
"""Guides: zero lines, frames, annotations of second rank."""
PALE = "#dfe3e8"
"""Areas behind the data."""
PAPER = "#ffffff"
"""What all is drawn on."""
ACCENT = "#d9702b"
"""The one thing to look at."""
LINES = ("#174a7c", "#d9702b", "#6bb5a8", "#7a5a93")
"""Colours of lines, of lightness 31, 59, 69 and 44: dark, middle, light, dark and dashed twice."""
DARK = {
    INK: "#dfe3e7",
    QUIET: "#828b95",
    PALE: "#343b43",
    PAPER: "#1d2126",
    ACCENT: "#e58a4c",
    LINES[0]: "#7fb2e5",
    LINES[2]: "#6bb5a8",
    LINES[3]: "#b191cf",
}
"""What stands for each colour where the page around a picture is dark."""
DASHES = ("-", "--", (0, (1, 1.2)), "-.")
"""Dashes of lines, in the order of their colours."""


@contextmanager
def in_style() -> Iterator[None]:
    """Let matplotlib draw and write in this style, whatever the settings of the user are."""
    import matplotlib
    from cycler import cycler

    settings: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.edgecolor": QUIET,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=LINES, linestyle=DASHES),
        "text.color": INK,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "legend.handlelength": 3,
        "image.cmap": "gray",
        "image.interpolation": "nearest",
        "figure.dpi": 144,
        "figure.constrained_layout.use": True,
        "figure.facecolor": PAPER,
        "savefig.dpi": "figure",
        "savefig.facecolor": PAPER,
        "svg.fonttype": "path",
        "svg.hashsalt": "gaugeblock",
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def show_map(
    axes: Axes,
    values: npt.NDArray[Any],
    *,
    title: str = "",
    signed: bool = False,
    limits: tuple[float, float] | None = None,
) -> None:
    """Show a matrix of numbers as grey cells without ticks.

    Parameters
    ----------
    axes
        Where.
    values : ndarray, shape (H, W)
        The numbers.
    title
        Above it.
    signed
        Whether zero is middle grey, negative numbers darker, positive ones lighter.
    limits
        What is black and what white; by default the least and the largest number.
    """
    largest = float(np.max(np.abs(values)))
    if largest:  # the last digits depend on where in memory arrays happened to lie, and must not show
        values = np.round(values / largest, 9) * largest
    if limits is None:
        limits = (-largest, largest) if signed else (float(np.min(values)), float(np.max(values)))
    axes.imshow(values, vmin=limits[0], vmax=limits[1])
    _frame(axes, title)


def show_photograph(axes: Axes, pixels: npt.NDArray[Any], *, title: str = "") -> None:
    """Show a photograph, grey from 0 to 1 or with three colours from 0 to 1, pixel for pixel."""
    axes.imshow(pixels, vmin=0.0, vmax=1.0, interpolation="none")
    _frame(axes, title)


def _frame(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[], title=title)
    for spine in axes.spines.values():
        spine.set(visible=True, color=QUIET, linewidth=0.5)
