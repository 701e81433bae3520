"""What a demonstration is: sentences and numbers that were measured, and pictures drawn from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:  # matplotlib takes half a second to import; a list of the concepts does not need it
    from matplotlib.figure import Figure

__all__ = ["Demonstration", "DemonstrationModule", "Picture", "Progress", "quiet"]

Progress: TypeAlias = Callable[[float, str], None]
"""Is told the share of the work that is done, from 0 to 1, and in a few words what comes next."""


def quiet(share: float, text: str) -> None:
    """Tell nobody about the progress.

    Examples
    --------
    >>> quiet(0.5, "half of it")
    """


@dataclass(frozen=True)
class Picture:
    """A picture that is drawn when it is asked for.

    Attributes
    ----------
    name : str
        Lower-case words with hyphens between them, for the file: ``sliding-patch``.
    caption : str
        What there is to see, in a sentence or two.
    draw : callable
        Draws onto an empty figure of that size, in the style of `gaugeblock.spec.demonstrations.style`.
    size : tuple of float
        Width and height in inches.

    Examples
    --------
    >>> Picture("Two words", "A caption.", lambda figure: None)
    Traceback (most recent call last):
        ...
    ValueError: a picture's name must be lower-case words with hyphens, got 'Two words'
    """

    name: str
    caption: str
    draw: Callable[[Figure], None] = field(repr=False)
    size: tuple[float, float] = (6.4, 4.0)

    def __post_init__(self) -> None:
        if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name) is None:
            raise ValueError(f"a picture's name must be lower-case words with hyphens, got {self.name!r}")


@dataclass(frozen=True)
class Demonstration:
    """What was measured about one concept.

    Attributes
    ----------
    concept : str
        The name of the module, ``convolution``.
    title : str
        The concept as a heading.
    statements : tuple of str
        Short sentences with the measured numbers in them.
    numbers : mapping of str to number
        The key figures, by what they are, in a few words with the unit.
    pictures : tuple of Picture
        Not drawn yet.
    """

    concept: str
    title: str
    statements: tuple[str, ...]
    numbers: Mapping[str, float | int]
    pictures: tuple[Picture, ...]

    @staticmethod
    def of(
        concept: str,
        title: str,
        *,
        statements: Iterable[str],
        numbers: Mapping[str, float | int],
        pictures: Mapping[str, Callable[[], Picture]],
    ) -> Demonstration:
        """Return a demonstration whose numbers are plain ones, and whose pictures are those of a module.

        Examples
        --------
        >>> Demonstration.of("unit", "Unit", statements=["It is one."], numbers={"ones": 1}, pictures={})
        ... # doctest: +ELLIPSIS
        Demonstration(concept='unit', title='Unit', statements=('It is one.',), numbers=mappingproxy(...
        """
        plain = {
            name: int(number) if isinstance(number, int | np.integer) else float(number)
            for name, number in numbers.items()
        }
        return Demonstration(
            concept,
            title,
            tuple(statements),
            MappingProxyType(plain),
            tuple(picture() for picture in pictures.values()),
        )


class DemonstrationModule(Protocol):
    """What a module of this package has, one for each concept.

    Attributes
    ----------
    TITLE : str
        The concept as a heading.
    PICTURES : mapping of str to callable
        The pictures by name. Each measures what it needs, and no more, so that it can be made alone.
    """

    TITLE: str
    PICTURES: Mapping[str, Callable[[], Picture]]

    def demonstrate(self, progress: Progress) -> Demonstration:
        """Measure, and say what came out."""
        ...
