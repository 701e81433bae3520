"""Pictures: the demonstrations draw them while the document is built."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import cpu_count, get_context
from pathlib import Path
from typing import Any, TypeAlias

from gaugeblock.spec.demonstrations.style import DARK
from gaugeblock.spec.document.extra import imported
from gaugeblock.spec.document.tree import Node, rewrite, words

__all__ = ["Figure", "dark_colours", "figure_of", "figures"]

Place: TypeAlias = tuple[str, str]
"""A concept and the name of one of its pictures."""

_TARGET = re.compile(r"^figure:([a-z_]+)/([a-z0-9_-]+)$")

#: A colour of the palette, as matplotlib writes it into the style of what it draws.
_COLOUR = re.compile(f'#({"|".join(colour.removeprefix("#") for colour in DARK)})(?=[;"])')


def dark_colours() -> str:
    """Return the declarations by which pictures take the dark form of their colours."""
    return " ".join(f"--figure-{colour.removeprefix('#')}: {dark};" for colour, dark in DARK.items())


@dataclass(frozen=True)
class Figure:
    """A picture that a page includes by a line ``![caption](figure:convolution/edges)``.

    Attributes
    ----------
    concept, name : str
        Which picture.
    caption : list of nodes
        What the page says below it.
    svg : str
        The picture.
    """

    concept: str
    name: str
    caption: list[Node]
    svg: str

    @property
    def id(self) -> str:
        """Its anchor and the name of its file."""
        return f"figure-{self.concept}-{self.name}"

    @property
    def inline(self) -> str:
        """The picture as an element of an HTML page: its ids are no other's, its colours the page's."""
        drawing = self.svg[self.svg.index("<svg") :]
        drawing = re.sub(r'(<image [^>]*?) ?id="[^"]*"', r"\1", drawing)  # equal images have equal ids
        drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.id}-", drawing)
        drawing = _COLOUR.sub(lambda found: f"var(--figure-{found[1]}, {found[0]})", drawing)
        return drawing.replace("<svg", f'<svg role="img" aria-label="{_quoted(words(self.caption))}"', 1)


def figure_of(node: Node) -> Place | None:
    """Return concept and name of the picture that a block includes, or None if it includes none.

    Raises
    ------
    ValueError
        If the block is a figure of another kind: the document is one file and has no other pictures.
    """
    if node["t"] != "Figure":
        return None
    targets = [image["c"][2][0] for image in _images(node)]
    match = _TARGET.match(targets[0]) if len(targets) == 1 else None
    if match is None:
        raise ValueError(f"a page includes a picture as figure:CONCEPT/NAME, not as {', '.join(targets)}")
    return match[1], match[2]


def figures(blocks: list[Node]) -> dict[Place, Figure]:
    """Draw all pictures that blocks include.

    Raises
    ------
    KeyError
        If there is no demonstration of the concept, or it has no such picture.
    """
    captions: dict[Place, list[Node]] = {}

    def collect(node: Node) -> list[Node] | None:
        place = figure_of(node)
        if place is None:
            return None
        (_, caption, _) = node["c"]
        captions[place] = [inline for block in caption[1] for inline in block["c"]]
        return [node]

    rewrite(blocks, collect)
    return {place: Figure(*place, captions[place], svg) for place, svg in _draw(list(captions)).items()}


def _draw(places: Sequence[Place]) -> dict[Place, str]:
    """Return pictures as SVG: concepts are drawn side by side, as some train networks first."""
    concepts = {concept: [place for place in places if place[0] == concept] for concept, _ in places}
    if len(concepts) < 2:
        return _draw_here(places)
    with ProcessPoolExecutor(min(len(concepts), cpu_count()), get_context("spawn")) as processes:
        drawn: dict[Place, str] = {}
        for pictures in processes.map(_draw_here, concepts.values()):
            drawn |= pictures
    return {place: drawn[place] for place in places}


def _draw_here(places: Sequence[Place]) -> dict[Place, str]:
    """Return pictures as SVG, drawn in this process."""
    demonstrations: Any = imported("gaugeblock.spec.demonstrations")
    drawn = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "picture.svg")
        for concept, name in places:
            demonstrations.write(demonstrations.picture(concept, name), file)
            drawn[concept, name] = file.read_text("utf-8")
    return drawn


def _images(tree: Any) -> Iterator[Node]:
    """Yield the images in a tree."""
    if isinstance(tree, list):
        for part in tree:
            yield from _images(part)
    elif isinstance(tree, dict):
        if tree.get("t") == "Image":
            yield tree
        else:
            yield from _images(list(tree.values()))


def _quoted(content: str) -> str:
    return content.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
