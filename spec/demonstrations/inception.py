"""An inception module at work: what its 1×1 convolutions save, and what they do not.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Inception"; the sizes are
those of C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, table 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gaugeblock.reference.counting import Cost, costs, total
from gaugeblock.reference.inception import GOOGLENET_3A, GOOGLENET_3B, Sizes, inception, reducing
from gaugeblock.reference.layer import Convolutional, MaxPooling
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, INK, LINES, PALE, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Inception"

CHANNELS, SIZE = 192, 28
"""What comes in: 192 maps of 28×28."""


@dataclass(frozen=True)
class Compared:
    """What a network costs with reductions and without.

    Attributes
    ----------
    reduced, naive : Cost
        The totals.
    """

    reduced: Cost
    naive: Cost

    def times(self, count: str) -> float:
        """Return how many times larger a count is without the reductions."""
        return float(getattr(self.naive, count) / getattr(self.reduced, count))


def _module(channels: int, sizes: Sizes) -> Network:
    return Network((inception(channels, sizes, np.random.default_rng(0)),))


def _counted(channels: int, *modules: Sizes) -> Cost:
    """Return what modules in a row cost, each fed by the one before."""
    found: list[Cost] = []
    for sizes in modules:
        found += costs(_module(channels, sizes), (channels, SIZE, SIZE))
        channels = sizes.output(channels)
    return total(found)


@cache
def module() -> Compared:
    """Count GoogLeNet's module 3a with its reductions and without."""
    return Compared(_counted(CHANNELS, GOOGLENET_3A), _counted(CHANNELS, GOOGLENET_3A.naive))


@cache
def two_modules() -> Compared:
    """Count module 3a together with 3b, which it feeds."""
    return Compared(
        _counted(CHANNELS, GOOGLENET_3A, GOOGLENET_3B),
        _counted(CHANNELS, GOOGLENET_3A.naive, GOOGLENET_3B.naive),
    )


@cache
def reduction() -> Compared:
    """Count 32 kernels of 5×5 on 192 maps, and on the 64 maps that 64 kernels of 1×1 make of them."""

    def maps(inputs: int, outputs: int, kernel: int) -> Convolutional:
        weights = np.zeros((outputs, inputs, kernel, kernel))
        return Convolutional(weights, np.zeros(outputs), Activation("relu"), padding="same")

    shape = (CHANNELS, SIZE, SIZE)
    reduced = Network((maps(CHANNELS, 64, 1), maps(64, 32, 5)))
    return Compared(total(costs(reduced, shape)), total(costs(Network((maps(CHANNELS, 32, 5),)), shape)))


@dataclass(frozen=True)
class Way:
    """A way from 256 maps of 28×28 to 512 of 14×14.

    Attributes
    ----------
    multiplications : int
        What it costs.
    narrowest : int
        The fewest numbers that everything goes through.
    """

    multiplications: int
    narrowest: int


POOL_FIRST, CONVOLVE_FIRST, SIDE_BY_SIDE = "pooling first", "convolution first", "side by side"


@cache
def ways() -> Mapping[str, Way]:
    """Count three ways to make maps smaller."""
    maps, shape = 256, (256, SIZE, SIZE)

    def convolved(outputs: int) -> Convolutional:
        weights = np.zeros((outputs, maps, 3, 3))
        return Convolutional(weights, np.zeros(outputs), Activation("relu"), padding=1)

    pooling = MaxPooling(3, stride=2, padding=1)
    networks = {
        POOL_FIRST: Network((pooling, convolved(2 * maps))),
        CONVOLVE_FIRST: Network((convolved(2 * maps), pooling)),
        SIDE_BY_SIDE: Network((reducing(maps, maps, np.random.default_rng(0)),)),
    }
    # What each layer hands on: the counts of the network up to there.
    found = {
        name: [total(costs(Network(network.layers[: k + 1]), shape)) for k in range(len(network.layers))]
        for name, network in networks.items()
    }
    return {
        name: Way(steps[-1].multiplications, min(math.prod(step.shape) for step in steps))
        for name, steps in found.items()
    }


# ------------------------------------------------------------------------------------------------------------
# Pictures.


def module_picture() -> Picture:
    """Return the module with the number of maps at each place."""
    s = GOOGLENET_3A
    # Each branch: what stands below (first), and above it; with the numbers of maps that they make.
    branches: tuple[tuple[tuple[str, int], ...], ...] = (
        (("1×1", s.maps_1),),
        (("1×1", s.reduced_3), ("3×3", s.maps_3)),
        (("1×1", s.reduced_5), ("5×5", s.maps_5)),
        (("maximum of 3×3", CHANNELS), ("1×1", s.pooled)),
    )

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set(xlim=(-0.6, 3.6), ylim=(-0.45, 4.3))
        axes.axis("off")
        _box(axes, 1.5, 0, f"{CHANNELS} maps of {SIZE}×{SIZE}", PALE, width=2.2)
        joined = (
            f"joined: {' + '.join(str(branch[-1][1]) for branch in branches)} = {s.output(CHANNELS)} maps"
        )
        _box(axes, 1.5, 3.9, joined, PALE, width=2.2)
        for column, branch in enumerate(branches):
            heights = (1.95,) if len(branch) == 1 else (1.3, 2.6)
            ends = [0.25, *heights, 3.65]
            for below, above in pairwise(ends):
                first, last = below == ends[0], above == ends[-1]
                start = (1.5 + 0.55 * (column - 1.5), below) if first else (column, below + 0.25)
                stop = (1.5 + 0.55 * (column - 1.5), above) if last else (column, above - 0.25)
                arrow = {"arrowstyle": "->", "color": QUIET, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
                axes.annotate("", stop, start, arrowprops=arrow)
            for (name, maps), height in zip(branch, heights, strict=True):
                reducing = name == "1×1" and column > 0
                _box(
                    axes, column, height, f"{name}\n{maps} maps", ACCENT if reducing else LINES[0], width=0.8
                )

    caption = (
        "GoogLeNet's inception module 3a. The 1×1 convolutions in orange make maps fewer: before the large "
        "kernels, and after the pooling."
    )
    return Picture("module", caption, draw, size=(5.8, 4.2))


def _box(axes: Axes, x: float, y: float, text: str, colour: str, *, width: float) -> None:
    """Draw a box with a text in it."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x - width / 2, y - 0.25), width, 0.5, facecolor=colour, edgecolor="none"))
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color=INK if colour == PALE else "white")


def savings_picture() -> Picture:
    """Return what the module costs with reductions and without, and the two modules in a row."""
    rows: tuple[tuple[str, str], ...] = (
        ("multiplications", "multiplications"),
        ("parameters", "parameters"),
        ("maps handed on", "maps"),
        ("patches of the largest convolution", "patches"),
        ("numbers held for the way back", "forward"),
    )

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 1)
        for axes, compared, title in (
            (panels[0], module(), "module 3a"),
            (panels[1], two_modules(), "3a and 3b"),
        ):
            for place, (_, count) in enumerate(rows):
                values = [_count(cost, count) for cost in (compared.naive, compared.reduced)]
                for side, (value, colour) in enumerate(zip(values, (LINES[2], LINES[0]), strict=True)):
                    share, at = value / max(values), place + 0.36 * side
                    label = ("without reduction", "with reduction")[side]
                    axes.barh(at, share, color=colour, height=0.32, label=label if place == 0 else None)
                    axes.text(share + 0.02, at, f"{value:,}", va="center", fontsize=8, color=INK)
            axes.set(title=title, xlim=(0, 1.42), xticks=())
        for axes in panels:
            axes.set(yticks=np.arange(len(rows)) + 0.18, yticklabels=[name for name, _ in rows])
            axes.invert_yaxis()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=2)

    caption = (
        "What an inception module costs with its 1×1 reductions and without, for one example. The larger of "
        "each pair has the full length. Reductions save work, parameters and the room for patches; but the "
        "maps in between must be held for the way back."
    )
    return Picture("savings", caption, draw, size=(6.0, 6.0))


def _count(cost: Cost, name: str) -> int:
    return cost.shape[0] if name == "maps" else int(getattr(cost, name))


PICTURES: Mapping[str, Callable[[], Picture]] = {"module": module_picture, "savings": savings_picture}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "one reduction")
    one = reduction()
    progress(0.1, "a module")
    found = module()
    progress(0.4, "two modules")
    both = two_modules()
    progress(0.9, "pooling beside a convolution")
    smaller = ways()
    numbers: dict[str, Any] = {
        "multiplications of 5×5 on 192 maps": one.naive.multiplications,
        "multiplications of 1×1 to 64 maps, and 5×5": one.reduced.multiplications,
        "multiplications of the module": found.reduced.multiplications,
        "multiplications without reduction": found.naive.multiplications,
        "parameters of the module": found.reduced.parameters,
        "parameters without reduction": found.naive.parameters,
        "maps handed on": found.reduced.shape[0],
        "maps handed on without reduction": found.naive.shape[0],
        "patches of the largest convolution": found.reduced.patches,
        "patches without reduction": found.naive.patches,
        "numbers held for the way back": found.reduced.forward,
        "numbers held without reduction": found.naive.forward,
        "multiplications of two modules": both.reduced.multiplications,
        "multiplications of two modules without reduction": both.naive.multiplications,
    }
    for name, way in smaller.items():
        numbers |= {
            f"multiplications to a quarter of the pixels, {name}": way.multiplications,
            f"narrowest place on the way, {name}": way.narrowest,
        }
    return Demonstration.of(
        "inception", TITLE, statements=_statements(one, found, both), numbers=numbers, pictures=PICTURES
    )


def _statements(one: Compared, found: Compared, both: Compared) -> list[str]:
    reduced, naive = found.reduced, found.naive
    return [
        f"Reducing {CHANNELS} maps of {SIZE}×{SIZE} to 64 before 32 kernels of 5×5 saves a factor of "
        f"{one.times('multiplications'):.1f} in multiplications.",
        f"GoogLeNet's module 3a multiplies {reduced.multiplications:,} times, and "
        f"{naive.multiplications:,} times without reductions: a factor of "
        f"{found.times('multiplications'):.1f}.",
        f"It has {found.times('parameters'):.1f} times fewer parameters, hands on {reduced.shape[0]} maps "
        f"instead of {naive.shape[0]}, and needs {found.times('patches'):.1f} times less room for patches.",
        "Together with module 3b, which it feeds, it saves a factor of "
        f"{both.times('multiplications'):.1f} in multiplications.",
        f"It does not hold fewer numbers for the way back, but {reduced.forward:,} instead of "
        f"{naive.forward:,}: the maps in between are held too.",
        "Pooling reduces too: beside a convolution with step 2 it makes 512 maps of 14×14 from 256 of 28×28 "
        f"in {ways()[SIDE_BY_SIDE].multiplications:,} multiplications; pooling first takes "
        f"{ways()[POOL_FIRST].multiplications:,}, and all that is known goes through half as many numbers as "
        f"come out; pooling last takes {ways()[CONVOLVE_FIRST].multiplications:,}.",
    ]
