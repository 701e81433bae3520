"""A document as pandoc's tree: read from Markdown, changed by functions, written as HTML or Typst.

A node is what pandoc's JSON has, ``{"t": "Str", "c": "word"}``. `rewrite` puts others in its place; most of
the other functions make one.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gaugeblock.spec.document.extra import imported

__all__ = [
    "Node",
    "code",
    "div",
    "header",
    "link",
    "paragraph",
    "raw",
    "read",
    "rewrite",
    "span",
    "table",
    "text",
    "words",
    "write",
]

Node = dict[str, Any]

#: The dialect that the pages are written in.
MARKDOWN = "markdown+tex_math_dollars"

_VERSION = [1, 23]


def read(markdown: str) -> list[Node]:
    """Return the blocks of a Markdown text."""
    pandoc = imported("pypandoc")
    found: list[Node] = json.loads(pandoc.convert_text(markdown, "json", format=MARKDOWN))["blocks"]
    return found


def write(blocks: Sequence[Node], to: str, *options: str) -> str:
    """Return blocks as ``"html5"`` or ``"typst"``."""
    pandoc = imported("pypandoc")
    document = {"pandoc-api-version": _VERSION, "meta": {}, "blocks": list(blocks)}
    written: str = pandoc.convert_text(json.dumps(document), to, format="json", extra_args=list(options))
    return written


def rewrite(tree: Any, change: Callable[[Node], list[Node] | None]) -> Any:
    """Return a tree in which every node is replaced by what ``change`` makes of it.

    ``change`` is asked from the outside in. It returns the nodes to put in the place of one, which are final,
    or None to keep the node and go on inside of it.
    """
    if isinstance(tree, list):
        changed: list[Any] = []
        for part in tree:
            new = change(part) if isinstance(part, dict) and "t" in part else None
            if new is None:
                changed.append(rewrite(part, change))
            else:
                changed.extend(new)
        return changed
    if isinstance(tree, dict):
        return {name: rewrite(part, change) for name, part in tree.items()}
    return tree


def words(tree: Any) -> str:
    """Return the plain text of a tree, formulas as their TeX."""
    if isinstance(tree, list):
        return "".join(words(part) for part in tree)
    if not isinstance(tree, dict):
        return ""
    match tree:
        case {"t": "Str", "c": content}:
            return str(content)
        case {"t": "Space" | "SoftBreak" | "LineBreak"}:
            return " "
        case {"t": "Code" | "Math" | "CodeBlock", "c": [_, content]}:
            return str(content)
        case {"t": "Link" | "Span" | "Image", "c": [_, content, *_]}:
            return words(content)
    return words(tree.get("c", []))


def text(content: str) -> list[Node]:
    """Return a sentence as inline nodes."""
    nodes: list[Node] = []
    for number, word in enumerate(content.split(" ")):
        nodes += [{"t": "Space"}] if number else []
        nodes += [{"t": "Str", "c": word}] if word else []
    return nodes


def code(content: str) -> Node:
    """Return inline code."""
    return {"t": "Code", "c": [_attributes(), content]}


def link(content: Sequence[Node], target: str, *classes: str, title: str = "") -> Node:
    """Return a link."""
    return {"t": "Link", "c": [_attributes("", classes), list(content), [target, title]]}


def span(content: Sequence[Node], *classes: str, id: str = "") -> Node:
    """Return inline nodes with a class or an id."""
    return {"t": "Span", "c": [_attributes(id, classes), list(content)]}


def paragraph(content: Sequence[Node]) -> Node:
    """Return a paragraph."""
    return {"t": "Para", "c": list(content)}


def header(level: int, content: Sequence[Node], id: str = "", *classes: str) -> Node:
    """Return a heading."""
    return {"t": "Header", "c": [level, _attributes(id, classes), list(content)]}


def div(content: Sequence[Node], *classes: str, id: str = "") -> Node:
    """Return blocks with a class or an id."""
    return {"t": "Div", "c": [_attributes(id, classes), list(content)]}


def raw(form: str, content: str, *, inline: bool = False) -> Node:
    """Return a piece of HTML or Typst that pandoc passes on as it is."""
    return {"t": "RawInline" if inline else "RawBlock", "c": [form, content]}


def table(head: Sequence[str], rows: Iterable[Sequence[Sequence[Node]]], *classes: str) -> Node:
    """Return a table of blocks, a list of them in every cell."""
    columns = [[{"t": "AlignDefault"}, {"t": "ColWidthDefault"}] for _ in head]
    titles = [_cell([{"t": "Plain", "c": text(title)}]) for title in head]
    body = [[_attributes(), [_cell(cell) for cell in row]] for row in rows]
    parts = [[_attributes(), [[_attributes(), titles]]], [[_attributes(), 0, [], body]], [_attributes(), []]]
    return {"t": "Table", "c": [_attributes("", classes), [None, []], columns, *parts]}


def _cell(blocks: Sequence[Node]) -> list[Any]:
    return [_attributes(), {"t": "AlignDefault"}, 1, 1, list(blocks)]


def _attributes(id: str = "", classes: Sequence[str] = ()) -> list[Any]:
    return [id, list(classes), []]
