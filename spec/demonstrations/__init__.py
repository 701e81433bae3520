"""The concepts at work: what the glossary states is measured, its figures are drawn from the reference.

>>> from gaugeblock.spec import demonstrations
>>> shown = demonstrations.demonstrate("activation")
>>> shown.title
'Activation function'

One module for each concept, under its name, with a ``TITLE``, a function ``demonstrate(progress)`` and its
``PICTURES``. The pictures are redrawn from numbers that the reference computes here, on real data where the
glossary names data; none is copied.

Source of the concepts: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gaugeblock.spec.demonstrations.frame import Demonstration, DemonstrationModule, Picture, Progress, quiet
from gaugeblock.spec.demonstrations.style import in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CONCEPTS",
    "FORMATS",
    "Demonstration",
    "Picture",
    "Progress",
    "demonstrate",
    "picture",
    "title",
    "write",
]

CONCEPTS: tuple[str, ...] = (
    "machine_learning",
    "feature_engineering",
    "feature_learning",
    "deep_learning",
    "logistic_regression",
    "network",
    "unit",
    "neuron",
    "activation",
    "layer",
    "convolution",
    "pooling",
    "convolutional_network",
    "inception",
)
"""The concepts that have a demonstration, in the order of the glossary."""

FORMATS = ("svg", "png")
"""The formats of picture files."""


def title(concept: str) -> str:
    """Return the concept as a heading.

    Raises
    ------
    ValueError
        There is no demonstration of this concept.

    Examples
    --------
    >>> title("activation")
    'Activation function'
    """
    return _module(concept).TITLE


def demonstrate(concept: str, progress: Progress = quiet) -> Demonstration:
    """Measure what is to be shown about a concept; the same every time.

    Parameters
    ----------
    concept
        One of `CONCEPTS`.
    progress
        Is called with the share that is done and a few words, by demonstrations that take long.

    Raises
    ------
    ValueError
        There is no demonstration of this concept.

    Examples
    --------
    >>> demonstrate("activations")
    Traceback (most recent call last):
        ...
    ValueError: there is no demonstration of 'activations'; did you mean activation?
    """
    with _one_thread():
        return _module(concept).demonstrate(progress)


def picture(concept: str, name: str) -> Picture:
    """Return one picture, having measured what it needs and no more.

    Raises
    ------
    ValueError
        There is no demonstration of this concept, or no picture of this name.

    Examples
    --------
    >>> picture("activation", "curves").name
    'curves'
    """
    pictures = _module(concept).PICTURES
    if name not in pictures:
        raise ValueError(f"there is no picture {name!r} of {concept}; did you mean {_close(name, pictures)}?")
    with _one_thread():
        return pictures[name]()


def write(picture: Picture, path: Path | str) -> None:
    """Draw a picture into a file, with the same bytes every time.

    Parameters
    ----------
    picture
        What to draw.
    path
        Where to; the suffix, ``.svg`` or ``.png``, says how.

    Raises
    ------
    ValueError
        Another suffix.
    """
    from matplotlib.figure import Figure

    format = Path(path).suffix.removeprefix(".")
    if format not in FORMATS:
        raise ValueError(f"path must end in .{' or .'.join(FORMATS)}, got {str(path)!r}")
    # No date, no version of matplotlib: what is not in the picture does not change its bytes.
    unwritten = {"svg": ("Creator", "Date", "Format", "Type"), "png": ("Software",)}
    with in_style(), _one_thread():
        figure = Figure(figsize=picture.size)
        picture.draw(figure)
        _settle(figure)
        figure.savefig(path, format=format, metadata=dict.fromkeys(unwritten[format]))


def _one_thread() -> AbstractContextManager[Any]:
    """Let matrix products run in one thread: others only wait here, and sums depend on how many there are."""
    from threadpoolctl import threadpool_limits  # late, as NumPy's libraries are looked for

    limits: AbstractContextManager[Any] = threadpool_limits(1, "blas")
    return limits


def _settle(figure: Figure) -> None:
    """Lay the axes out and round where they are: the last digits depend on the order of addresses."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(side, 6) for side in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))


def _module(concept: str) -> DemonstrationModule:
    if concept not in CONCEPTS:
        raise ValueError(
            f"there is no demonstration of {concept!r}; did you mean {_close(concept, CONCEPTS)}?"
        )
    return cast(DemonstrationModule, import_module(f"{__name__}.{concept}"))


def _close(name: str, names: Iterable[str]) -> str:
    """Return the names that look like this one, or all of them."""
    known = list(names)
    return ", ".join(difflib.get_close_matches(name, known, 3) or known)
