"""All pages as chapters of one document: every clause has an anchor, every mention of one is a link."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files

from gaugeblock.spec import citation
from gaugeblock.spec.clauses import Clause, load, pages
from gaugeblock.spec.document.tree import Node, header, link, read, rewrite, span, text, words

__all__ = ["CLAUSE", "Chapter", "chapters", "concept_of", "linked"]

#: The class of a heading that begins a clause; its id is the clause's.
CLAUSE = "clause"

_MENTION = re.compile(r"\b[A-Z]+-[DCSXAI][1-9][0-9]*\b")
_PAGE = re.compile(r"^(\d+)-([a-z-]+)\.md$")
_REFERENCE = re.compile(r"\bpage(s?) (\d+)(?: and (\d+))?")

#: Name, package and file of the chapter before the pages, and of the appendices.
_BEFORE = (("questions", "gaugeblock.spec", "questions.md"),)
_APPENDICES = (
    ("vectors", "gaugeblock.spec.vectors", "README.md"),
    ("citation", "gaugeblock.spec.document", "citation.md"),
)


@dataclass(frozen=True)
class Chapter:
    """A chapter: a page of the spec, or an appendix.

    Attributes
    ----------
    name : str
        The concept, which is also the anchor: ``convolution``.
    number : int or None
        The number of the concept; an appendix has none.
    title : str
        The heading.
    blocks : list of nodes
        What stands below it. Headings of level 2 and 3 have ids that begin with the name; a clause begins
        with a heading of level 4, of class `CLAUSE`, that holds id and title.
    """

    name: str
    number: int | None
    title: str
    blocks: list[Node]

    @property
    def clauses(self) -> list[Clause]:
        """The clauses of the chapter in order."""
        return [found for found in load().values() if concept_of(found.page) == self.name]


def concept_of(page: str) -> str:
    """Return the concept of a page.

    Examples
    --------
    >>> concept_of("15-gemm.md")
    'gemm'
    """
    match = _PAGE.match(page)
    if match is None:
        raise ValueError(f"{page}: the name of a page is a number and a concept, as in 15-gemm.md")
    return match[2].replace("-", "_")


def chapters() -> list[Chapter]:
    """Return the pages and the appendices, all read at once.

    Raises
    ------
    ValueError
        If a page does not have exactly one heading of the first level, at its beginning.
    """
    before, after = (
        {name: _filled((files(package) / file).read_text("utf-8")) for name, package, file in chosen}
        for chosen in (_BEFORE, _APPENDICES)
    )
    sources = before | {name: _referring(source) for name, source in pages().items()} | after
    for name, source in sources.items():
        if not source.startswith("# "):
            raise ValueError(f"{name}: a page begins with its title")
    parts = list(_split(read("\n\n".join(sources.values()))))
    if len(parts) != len(sources):
        raise ValueError(f"{len(sources)} pages have {len(parts)} headings of the first level")
    return [_chapter(name, title, blocks) for name, (title, blocks) in zip(sources, parts, strict=True)]


def linked(blocks: list[Node]) -> list[Node]:
    """Return blocks in which every mention of a clause is a link to it, except in headings and links."""

    def change(node: Node) -> list[Node] | None:
        match node:
            case {"t": "Header" | "Link" | "CodeBlock" | "RawBlock" | "Math"}:
                return [node]
            case {"t": "Str", "c": content}:
                return list(_linked_word(str(content)))
            case {"t": "Code", "c": [_, content]}:
                return [link([node], f"#{content}", "clause-link") if content in load() else node]
        return None

    changed: list[Node] = rewrite(blocks, change)
    return changed


def _linked_word(word: str) -> Iterator[Node]:
    """Yield a word in pieces, those that are ids of clauses as links."""
    end = 0
    for match in _MENTION.finditer(word):
        if match[0] not in load():
            continue
        if match.start() > end:
            yield {"t": "Str", "c": word[end : match.start()]}
        yield link(text(match[0]), f"#{match[0]}", "clause-link", title=load()[match[0]].title)
        end = match.end()
    if end < len(word):
        yield {"t": "Str", "c": word[end:]}


def _referring(markdown: str) -> str:
    """Return a page that refers to others as to chapters, which is what they are here, by links."""
    files = {int(name.partition("-")[0]): name for name in pages()}

    def refer(match: re.Match[str]) -> str:
        plural, *numbers = match.groups()
        if plural:
            return "chapters " + " and ".join(f"[{n}]({files[int(n)]})" for n in numbers if n)
        return f"[chapter {numbers[0]}]({files[int(numbers[0])]})" + (
            f" and {numbers[1]}" if numbers[1] else ""
        )

    return _REFERENCE.sub(refer, markdown)


def _filled(markdown: str) -> str:
    """Return an appendix with what it says about this version."""
    facts = {"VERSION": citation.VERSION, "DATE": citation.DATE, "YEAR": citation.DATE[:4]}
    facts["BIBTEX"] = citation.bibtex()
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: facts[match[1]], markdown)


def _split(blocks: list[Node]) -> Iterator[tuple[str, list[Node]]]:
    """Yield title and blocks of every part that begins with a heading of the first level."""
    title, body = "", list[Node]()
    for block in blocks:
        if block["t"] == "Header" and block["c"][0] == 1:
            if title:
                yield title, body
            title, body = words(block["c"][2]), []
        else:
            body.append(block)
    yield title, body


def _chapter(file: str, title: str, blocks: list[Node]) -> Chapter:
    match = _PAGE.match(file)
    name = concept_of(file) if match else file
    found = list(_with_headings(name, blocks))
    if name == "questions":
        found = _asked(found)
    return Chapter(name, int(match[1]) if match else None, title, linked(_local(found)))


def _asked(blocks: list[Node]) -> list[Node]:
    """Return blocks in which every item of a list has an anchor, made of the question that it begins with."""

    def change(node: Node) -> list[Node] | None:
        if node["t"] != "BulletList":
            return None
        anchored = []
        for first, *rest in node["c"]:
            id = _section("question", words(first).partition("?")[0])
            anchored.append([{"t": "Plain", "c": [span(first["c"], "question", id=id)]}, *rest])
        return [{"t": "BulletList", "c": anchored}]

    changed: list[Node] = rewrite(blocks, change)
    return changed


def _with_headings(chapter: str, blocks: list[Node]) -> Iterator[Node]:
    """Yield blocks, with ids in their headings and the titles of clauses moved into those."""
    clause: Clause | None = None
    for block in blocks:
        if block["t"] == "Header":
            level, _, content = block["c"]
            clause = load().get(words(content))
            if clause is None:
                yield header(level, content, _section(chapter, words(content)))
        elif clause is not None:
            title, rest = _titled(block)
            yield header(4, [*text(clause.id), {"t": "Space"}, *title], clause.id, CLAUSE)
            clause = None
            if rest is not None:
                yield rest
        else:
            yield block


def _titled(block: Node) -> tuple[list[Node], Node | None]:
    """Return the title of a clause, its first bold words, and the rest of its first paragraph."""
    strong, *rest = block["c"]
    title = [*strong["c"]]
    if title[-1]["t"] == "Str":
        title[-1] = {"t": "Str", "c": title[-1]["c"].removesuffix(".")}
    while rest and rest[0]["t"] in ("Space", "SoftBreak"):
        del rest[0]
    return title, {**block, "c": rest} if rest else None


def _section(chapter: str, title: str) -> str:
    return f"{chapter}-{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}"


def _local(blocks: list[Node]) -> list[Node]:
    """Return blocks in which links to pages lead into the document, and those to other files nowhere."""

    def change(node: Node) -> list[Node] | None:
        if node["t"] != "Link":
            return None
        _, content, (target, _) = node["c"]
        path, _, fragment = target.partition("#")
        if ":" in path or not path:
            return None
        if fragment.upper() in load():
            return [
                link(content, f"#{fragment.upper()}", "clause-link", title=load()[fragment.upper()].title)
            ]
        page = path.rpartition("/")[2]
        return [link(content, f"#{concept_of(page)}")] if page in _known() else list(content)

    changed: list[Node] = rewrite(blocks, change)
    return changed


def _known() -> Mapping[str, str]:
    return pages()
