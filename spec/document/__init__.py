"""The spec as a document that one can cite, read and print: one HTML file and one PDF.

``gaugeblock spec --build DIR`` writes them, with what the suite knows about tests and places.

The pages are read once and go through four steps: chapters with anchors and links (`chapters`), pictures
drawn by the demonstrations (`figures`), a chapter that says which test checks what (`trace`), and the two
forms (`html`, `pdf`). The same pages give the same bytes. The packages that this needs come with the extra
``document``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gaugeblock.spec import citation
from gaugeblock.spec.document import html, pdf
from gaugeblock.spec.document.chapters import Chapter, chapters, linked
from gaugeblock.spec.document.extra import MissingExtra
from gaugeblock.spec.document.figures import figures
from gaugeblock.spec.document.trace import Claim, Trace, TraceError, read_traces, traceability
from gaugeblock.spec.document.tree import code, div, paragraph, text
from gaugeblock.spec.operations import OPERATIONS

__all__ = ["Claim", "MissingExtra", "Trace", "TraceError", "build", "read_traces"]

_NOTHING = Trace()


def build(
    folder: Path,
    *,
    trace: Trace = _NOTHING,
    suite: Mapping[str, Sequence[Claim]] | None = None,
    places: Mapping[str, Sequence[str]] | None = None,
) -> list[Path]:
    """Write the document, and return its two files.

    Parameters
    ----------
    folder : Path
        Where to; it is made if it is not there.
    trace : Trace, optional
        What the last runs said, by `read_traces`.
    suite : mapping of str to sequence of Claim, optional
        For every clause the checks of the suite.
    places : mapping of str to sequence of str, optional
        For every concept the files of the repository where it lives.

    Raises
    ------
    MissingExtra
        If a package of the extra ``document`` is not installed.
    """
    found = [_placed(chapter, (places or {}).get(chapter.name, ())) for chapter in chapters()]
    found.insert(-1, traceability(trace, suite or {}, len(OPERATIONS)))
    drawn = figures([block for chapter in found for block in chapter.blocks])
    for figure in drawn.values():
        figure.caption[:] = linked(figure.caption)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"gaugeblock-spec-{citation.VERSION}"
    page, printed = folder / f"{name}.html", folder / f"{name}.pdf"
    page.write_text(html.render(found, drawn), "utf-8", newline="\n")
    printed.write_bytes(pdf.render(found, drawn))
    return [page, printed]


def _placed(chapter: Chapter, files: Sequence[str]) -> Chapter:
    """Return a chapter that begins with where its concept lives."""
    if not files:
        return chapter
    words = text("In the repository: ")
    for number, file in enumerate(files):
        words += [*(text(", ") if number else ()), code(file)]
    line = div([paragraph([*words, *text(".")])], "places")
    return Chapter(chapter.name, chapter.number, chapter.title, [line, *chapter.blocks])
