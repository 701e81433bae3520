"""The document as a PDF for print and archive (PDF/A-2b), set by Typst."""

import datetime
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from string import Template

from gaugeblock.spec import citation
from gaugeblock.spec.document import fonts
from gaugeblock.spec.document.chapters import CLAUSE, Chapter
from gaugeblock.spec.document.extra import imported
from gaugeblock.spec.document.figures import Figure, figure_of
from gaugeblock.spec.document.tree import Node, header, raw, rewrite, text, words, write

__all__ = ["render", "source"]

#: Pandoc writes symbols in a circle by names that Typst has given up: ``dot.circle`` for ⊙.
_RENAMED = re.compile(r"\b(ast|dash|dot|minus|plus|slash|times)\.circle\b")

#: A space before a bracket or a word, which Typst shows: after the name of a function, or a slash.
_GAP = re.compile(r'("[A-Za-z0-9_]+"|\\/) (?=\\\(|upright)')

#: A norm, whose bars pandoc writes as the sign of parallels.
_NORM = re.compile("∥([^∥$]*)∥")

#: A distinction of cases, one on a line; its columns stand apart.
_CASES = re.compile(r"cases\(.*")

_LEFT_BAR = re.compile(r"(?<!\\left)\\l([vV])ert(?![A-Za-z])")
_RIGHT_BAR = re.compile(r"(?<!\\right)\\r([vV])ert(?![A-Za-z])")

Figures = Mapping[tuple[str, str], Figure]


def render(chapters: Sequence[Chapter], figures: Figures) -> bytes:
    """Return the PDF.

    Parameters
    ----------
    chapters : sequence of Chapter
        In their order.
    figures : mapping
        The pictures that they include, by concept and name.
    """
    date = datetime.datetime.fromisoformat(citation.DATE).replace(tzinfo=datetime.UTC)
    typst = imported("typst")
    with tempfile.TemporaryDirectory() as folder:
        main = Path(folder, "document.typ")
        main.write_text(source(chapters, figures), "utf-8")
        for figure in figures.values():
            Path(folder, f"{figure.id}.svg").write_text(figure.svg, "utf-8")
        made: bytes = typst.compile(
            main,
            root=Path(folder),
            font_paths=[fonts.path().parent],
            ignore_system_fonts=True,
            pdf_standards=["a-2b"],
            timestamp=date,
        )
    return made


def source(chapters: Sequence[Chapter], figures: Figures) -> str:
    """Return the Typst source of the document."""
    blocks = [block for chapter in chapters for block in _chapter(chapter, figures)]
    year, month, day = (int(part) for part in citation.DATE.split("-"))
    template = (files("gaugeblock.spec.document") / "document.typ").read_text("utf-8")
    return Template(template).substitute(
        version=citation.VERSION,
        date=citation.DATE,
        date_arguments=f"year: {year}, month: {month}, day: {day}",
        body=_tidied(write(blocks, "typst", "--wrap=none")),
    )


def _tidied(source: str) -> str:
    """Return what pandoc wrote, with formulas as Typst sets them well."""
    source = _NORM.sub(r"lr(‖\1‖)", _GAP.sub(r"\1", _RENAMED.sub(r"\1.o", source)))
    return _CASES.sub(lambda cases: cases[0].replace(" & ", " & quad "), source)


def _fenced(formula: str) -> str:
    """Return a formula in TeX whose bars are pairs, which Typst spaces as brackets and not as relations."""
    left = _LEFT_BAR.sub(r"\\left\\l\1ert", formula)
    return _RIGHT_BAR.sub(r"\\right\\r\1ert", left)


def _chapter(chapter: Chapter, figures: Figures) -> Iterator[Node]:
    """Yield a chapter with its heading."""
    number = [] if chapter.number is None else [*text(str(chapter.number)), {"t": "Space"}]
    yield header(1, [*number, *text(chapter.title)], chapter.name)

    def change(node: Node) -> list[Node] | None:
        place = figure_of(node)
        if place is not None:
            return list(_figure(figures[place]))
        match node:
            case {"t": "Header", "c": [4, [id, classes, _], content]} if CLAUSE in classes:
                shown = [raw("typst", "#clause-id[", inline=True), *text(id), raw("typst", "]", inline=True)]
                return [header(4, [*shown, *[*content][1:]], id)]
            case {"t": "Math", "c": [kind, content]}:
                return [{"t": "Math", "c": [kind, _fenced(content)]}]
            case {"t": "CodeBlock", "c": [(id, _, _), content]}:
                return [{"t": "CodeBlock", "c": [[id, [], []], content]}]
            case {"t": "Table", "c": [[id, classes, pairs], caption, columns, *rest]}:
                # Widths that follow the content, and no figure around it.
                widths = [[align, {"t": "ColWidthDefault"}] for align, _ in columns]
                bare = {"t": "Table", "c": [[id, [*classes, "typst:no-figure"], pairs], caption, widths]}
                bare["c"] += rewrite(rest, change)
                style = "trace" if "trace" in classes else "narrow"
                return [raw("typst", f"#{style}["), bare, raw("typst", "]")]
            case {"t": "Div", "c": [[_, ["places"], _], content]}:
                return [raw("typst", "#places["), *rewrite(content, change), raw("typst", "]")]
        return None

    yield from rewrite(list(_kept_together(chapter.blocks)), change)


def _kept_together(blocks: Sequence[Node]) -> Iterator[Node]:
    """Yield blocks, with a paragraph that leads to code or to a formula kept on its page."""

    def shown(block: Node | None) -> bool:
        match block:
            case {"t": "CodeBlock"} | {"t": "Para", "c": [{"t": "Math", "c": [{"t": "DisplayMath"}, _]}, *_]}:
                return True
        return False

    for block, after in zip_longest(blocks, blocks[1:]):
        if block["t"] == "Para" and shown(after):
            yield from (raw("typst", "#block(sticky: true)["), block, raw("typst", "]"))
        else:
            yield block


def _figure(figure: Figure) -> Iterator[Node]:
    described = json.dumps(words(figure.caption), ensure_ascii=False)
    yield raw("typst", f'#figure(image("{figure.id}.svg", alt: {described}), caption: [')
    yield {"t": "Plain", "c": figure.caption}
    yield raw("typst", "])")
