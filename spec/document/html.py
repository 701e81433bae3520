"""The document as one HTML file that needs no other: formulas in MathML, font, style and pictures inside."""

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from importlib.resources import files
from string import Template

from gaugeblock.spec import citation
from gaugeblock.spec.clauses import load
from gaugeblock.spec.document import fonts
from gaugeblock.spec.document.chapters import CLAUSE, Chapter
from gaugeblock.spec.document.figures import Figure, dark_colours, figure_of
from gaugeblock.spec.document.tree import Node, div, link, raw, rewrite, span, text, write

__all__ = ["render"]

#: Signs from which a formula in a line may be wider than a phone.
_LONG = 25

_NAME = r'<mrow><mi mathvariant="normal">[a-z0-9_]+</mi><mo>&#8289;</mo></mrow>'
_BEFORE_NAME = re.compile(rf"(</mi>|</mn>|</mfrac>|</ms(?:ub|up|qrt)>)(?=(?:<msu[bp]>)?{_NAME})")
_THEN_PUNCTUATION = re.compile(r'(<math display="inline"(?:(?!</math>).)*</math>)([.,:;)]+)', re.DOTALL)
_AFTER_NAME = re.compile(rf"({_NAME}|<msu[bp]>{_NAME}<m[in]>[^<]*</m[in]></msu[bp]>)(?=<m[in]|<ms)")

Figures = Mapping[tuple[str, str], Figure]


def render(chapters: Sequence[Chapter], figures: Figures) -> str:
    """Return the page.

    Parameters
    ----------
    chapters : sequence of Chapter
        In their order.
    figures : mapping
        The pictures that they include, by concept and name.

    Raises
    ------
    ValueError
        If an anchor would be there twice.
    """
    traced = frozenset(
        re.findall(r"trace-([A-Z]+-[A-Z][0-9]+)", str([chapter.blocks for chapter in chapters]))
    )
    blocks = [block for chapter in chapters for block in _chapter(chapter, figures, traced)]
    body = _spaced(write(blocks, "html5", "--mathml", "--wrap=none"))
    twice = [id for id, count in Counter(re.findall(r'\bid="([^"]*)"', body)).items() if count > 1]
    if twice:
        raise ValueError(f"the page would have an anchor twice: {', '.join(twice)}")
    folder = files("gaugeblock.spec.document")
    return Template((folder / "document.html").read_text("utf-8")).substitute(
        version=citation.VERSION,
        date=citation.DATE,
        style=Template((folder / "document.css").read_text("utf-8")).substitute(dark_figures=dark_colours()),
        script=(folder / "document.js").read_text("utf-8"),
        font=fonts.data_url(body),
        contents="\n".join(_contents(chapters)),
        body=body,
    )


def _spaced(page: str) -> str:
    """Return a page in whose formulas names of functions stand apart, and after which a comma stays."""
    thin = '<mspace width="0.17em"></mspace>'
    page = _BEFORE_NAME.sub(rf"\1{thin}", _AFTER_NAME.sub(rf"\1{thin}", page))
    return _THEN_PUNCTUATION.sub(r'<span class="whole">\1\2</span>', page)


def _contents(chapters: Sequence[Chapter]) -> Iterator[str]:
    """Yield the lines of the table of contents: chapters, and inside of each its clauses."""
    for chapter in chapters:
        number = "" if chapter.number is None else f"<span class=number>{chapter.number}</span> "
        title = f'<a href="#{chapter.name}">{number}{html.escape(chapter.title)}</a>'
        if not chapter.clauses:
            yield f"<li>{title}</li>"
            continue
        yield f"<li><details><summary>{title}</summary><ol>"
        for clause in chapter.clauses:
            shown = f"<code>{clause.id}</code> {html.escape(clause.title)}"
            yield f'<li><a href="#{clause.id}">{shown}</a></li>'
        yield "</ol></details></li>"


def _chapter(chapter: Chapter, figures: Figures, traced: Set[str]) -> Iterator[Node]:
    """Yield a chapter as a section, each of its clauses as one inside."""
    number = "" if chapter.number is None else f"<span class=number>{chapter.number}</span> "
    yield raw("html", f'<section class="chapter" id="{chapter.name}">')
    yield raw("html", f"<h2>{number}{html.escape(chapter.title)}{_permalink(chapter.name)}</h2>")
    inside = False
    for block in _dressed(chapter.blocks, figures):
        if block["t"] == "Header":
            if inside:
                yield raw("html", "</section>")
            level, (id, classes, _), content = block["c"]
            inside = CLAUSE in classes
            if inside:
                yield from _clause(id, content, id in traced)
            else:
                yield from _heading(level, id, content)
        else:
            yield block
    if inside:
        yield raw("html", "</section>")
    yield raw("html", "</section>")


def _heading(level: int, id: str, content: Sequence[Node]) -> Iterator[Node]:
    tag = f"h{level + 1}"
    permalink = raw("html", _permalink(id), inline=True)
    yield raw("html", f'<{tag} id="{id}">')
    yield {"t": "Plain", "c": [*content, permalink]}
    yield raw("html", f"</{tag}>")


def _clause(id: str, heading: Sequence[Node], traced: bool) -> Iterator[Node]:
    """Yield the beginning of a clause: its section, its heading, the line that cites it."""
    clause = load()[id]
    title = [*heading][2:]
    yield raw("html", f'<section class="clause {clause.kind.split()[0]}" id="{id}"><h5>')
    named = link(text(id), f"#{id}", "id", title=f"Link to this clause: {citation.cite(id)}")
    yield {"t": "Plain", "c": [named, {"t": "Space"}, *title]}
    yield raw("html", "</h5>")
    line = [*text(f"{clause.kind} · "), span(text(citation.cite(id)), "citation")]
    line += [*text(" · "), link(text("tests"), f"#trace-{id}")] if traced else []
    yield div([{"t": "Plain", "c": line}], "cite")


def _permalink(id: str) -> str:
    return f'<a class="permalink" href="#{id}" aria-label="Link to this section">#</a>'


def _dressed(blocks: list[Node], figures: Figures) -> list[Node]:
    """Return blocks in which what may be too wide can scroll, and pictures are in their places."""

    def change(node: Node) -> list[Node] | None:
        place = figure_of(node)
        if place is not None:
            return list(_figure(figures[place]))
        match node:
            case {"t": "Table", "c": [[_, classes, _], *_]}:
                plain = {
                    **node,
                    "c": [*node["c"][:2], [[a, {"t": "ColWidthDefault"}] for a, _ in node["c"][2]]],
                }
                plain["c"] += rewrite(node["c"][3:], breakable if "trace" in classes else change)
                return [div([plain], "scroll", *classes)]
            case {"t": "Math", "c": [{"t": "DisplayMath"}, _]}:
                return [span([node], "formula")]
            case {"t": "Math", "c": [_, content]} if _signs(content) > _LONG:
                return [span([node], "long")]
            case {"t": "CodeBlock", "c": [_, content]}:
                return [raw("html", f'<pre tabindex="0"><code>{_code(content)}</code></pre>')]
        return None

    def breakable(node: Node) -> list[Node] | None:
        """Let the long names of tests break where they have joints."""
        if node["t"] != "Code":
            return None
        joints = re.sub("([/_:]+)", r"\1<wbr>", html.escape(node["c"][1], quote=False))
        return [raw("html", f"<code>{joints}</code>", inline=True)]

    changed: list[Node] = rewrite(blocks, change)
    return changed


def _signs(formula: str) -> int:
    """Return how many signs a formula in TeX has, roughly."""
    visible = re.sub(r"\\(operatorname|text|mathrm)\b", "", formula)
    return len(re.sub(r"[{}_^\s]", "", re.sub(r"\\([a-zA-Z]+|.)", "x", visible)))


def _figure(figure: Figure) -> Iterator[Node]:
    yield raw("html", f'<figure id="{figure.id}"><div class="picture">{figure.inline}</div><figcaption>')
    yield {"t": "Plain", "c": figure.caption}
    yield raw("html", "</figcaption></figure>")


def _code(content: str) -> str:
    """Return code with what Python answered set apart from what was asked."""
    lines = html.escape(content, quote=False).splitlines()
    if not any(line.startswith("&gt;&gt;&gt;") for line in lines):
        return "\n".join(lines)
    shown = []
    for line in lines:
        if line.startswith(("&gt;&gt;&gt;", "...")):
            prompt, _, rest = line.partition(" ")
            shown.append(f'<span class="prompt">{prompt}</span> {rest}')
        else:
            shown.append(f'<span class="answer">{line}</span>' if line else "")
    return "\n".join(shown)
