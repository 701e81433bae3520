"""Reads the numbered clauses out of the pages in ``text/``.

A clause starts at a fourth-level heading that holds its id and nothing else, and ends at the next heading.
Its first bold words are its title.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

__all__ = ["KINDS", "Clause", "UnknownClause", "clause", "load", "pages"]

#: The letter of a clause id and the kind of clause it stands for.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "D": "definition",
        "C": "constraint",
        "S": "semantics",
        "X": "special values",
        "A": "accuracy",
        "I": "invariant",
    }
)

_HEADING = re.compile(r"^(#{1,6}) +(.*?) *$")
_ID = re.compile(r"^[A-Z]+-([DCSXAI])[1-9][0-9]*$")
_TITLE = re.compile(r"^\*\*(.+?)\.?\*\*")


class UnknownClause(KeyError):
    """No clause has this id; the message names the ones that look like it."""

    def __init__(self, id: str, close: list[str]) -> None:
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        super().__init__(f"no clause {id}{hint}")
        self.id = id
        self.close = close

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Clause:
    """One numbered requirement.

    Attributes
    ----------
    id : str
        For example ``GEMM-S1``. Never given to another clause, even after a withdrawal.
    kind : str
        A definition, constraint, semantics, special values, accuracy or invariant.
    page : str
        The file that holds it, ``15-gemm.md``.
    title : str
        Its first words, for lists.
    text : str
        Its Markdown, without the heading.
    """

    id: str
    kind: str
    page: str
    title: str
    text: str


@cache
def pages() -> Mapping[str, str]:
    """Return the Markdown of every page by file name, in reading order."""
    folder = files("gaugeblock.spec") / "text"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".md"))
    return MappingProxyType({name: (folder / name).read_text(encoding="utf-8") for name in names})


@cache
def load() -> Mapping[str, Clause]:
    """Return all clauses by id, in the order of the pages.

    Raises
    ------
    ValueError
        If a heading is not a clause id, or an id is used twice.
    """
    clauses: dict[str, Clause] = {}
    for page, markdown in pages().items():
        for found in _read(page, markdown):
            if found.id in clauses:
                raise ValueError(f"{page}: clause {found.id} is already on {clauses[found.id].page}")
            clauses[found.id] = found
    return MappingProxyType(clauses)


def clause(id: str) -> Clause:
    """Return one clause.

    Raises
    ------
    UnknownClause
        If there is none of this id.

    Examples
    --------
    >>> clause("GEMM-C2").kind
    'constraint'
    >>> clause("GEMM-C22")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    UnknownClause: no clause GEMM-C22; did you mean GEMM-C2?
    """
    clauses = load()
    if id not in clauses:
        raise UnknownClause(id, difflib.get_close_matches(id.upper(), clauses, n=3, cutoff=0.85))
    return clauses[id]


def _read(page: str, markdown: str) -> Iterator[Clause]:
    """Yield the clauses of one page."""
    for heading, text in _sections(markdown):
        match = _ID.match(heading)
        if match is None:
            raise ValueError(f"{page}: the heading {heading!r} is not a clause id")
        title = _TITLE.match(text)
        if title is None:
            raise ValueError(f"{page}: clause {heading} does not begin with a title in bold")
        yield Clause(heading, KINDS[match[1]], page, title[1], text)


def _sections(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield the fourth-level headings with the text below each; fenced code holds no headings."""
    heading: str | None = None
    lines: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        match = None if fenced else _HEADING.match(line)
        if match is None:
            lines.append(line)
            continue
        if heading is not None:
            yield heading, "\n".join(lines).strip()
        heading = match[2] if len(match[1]) == 4 else None
        lines = []
    if heading is not None:
        yield heading, "\n".join(lines).strip()
