"""Pictures: the demonstrations draw them while the document is built."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaugeblock.spec.document.extra import imported
from gaugeblock.spec.document.tree import Node, rewrite, words

__all__ = ["Figure", "figure_of", "figures"]

_TARGET = re.compile(r"^figure:([a-z_]+)/([a-z0-9_-]+)$")


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
        """The picture as an element of an HTML page: its ids are those of no other picture."""
        drawing = self.svg[self.svg.index("<svg") :]
        drawing = re.sub(r'(<image [^>]*?) ?id="[^"]*"', r"\1", drawing)  # equal images have equal ids
        drawing = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.id}-", drawing)
        return drawing.replace("<svg", f'<svg role="img" aria-label="{_quoted(words(self.caption))}"', 1)


def figure_of(node: Node) -> tuple[str, str] | None:
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


def figures(blocks: list[Node]) -> dict[tuple[str, str], Figure]:
    """Draw all pictures that blocks include.

    Raises
    ------
    KeyError
        If there is no demonstration of the concept, or it has no such picture.
    """
    drawn: dict[tuple[str, str], Figure] = {}

    def collect(node: Node) -> list[Node] | None:
        place = figure_of(node)
        if place is None:
            return None
        (_, caption, _) = node["c"]
        content = [inline for block in caption[1] for inline in block["c"]]
        drawn[place] = Figure(*place, content, _draw(*place))
        return [node]

    rewrite(blocks, collect)
    return drawn


def _draw(concept: str, name: str) -> str:
    """Return a picture as SVG."""
    demonstrations: Any = imported("gaugeblock.spec.demonstrations")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "picture.svg")
        demonstrations.write(demonstrations.picture(concept, name), file)
        return file.read_text("utf-8")


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
