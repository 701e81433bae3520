"""The document: one HTML file and one PDF in which every clause can be found, cited and read."""

import base64
import html as escapes
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance.document import claims, places
from gaugeblock.spec import OPERATIONS, VERSION, cite, load
from gaugeblock.spec.citation import DATE, bibtex
from gaugeblock.spec.clauses import pages
from gaugeblock.spec.document import Claim, MissingExtra, Trace, TraceError, build, html, pdf, read_traces
from gaugeblock.spec.document import extra as extra_module
from gaugeblock.spec.document.chapters import Chapter, chapters, concept_of, linked
from gaugeblock.spec.document.figures import figures
from gaugeblock.spec.document.trace import traceability
from gaugeblock.spec.document.tree import read, words
from gaugeblock.spec.published import published

try:
    for module in ("pypandoc", "typst", "fontTools"):
        extra_module.imported(module)
    extra_module.folder_of("ziamath")
    missing = False
except MissingExtra:
    missing = True
needs_extra = pytest.mark.skipif(missing, reason="the extra 'document' is not installed")

VOID = {"meta", "link", "br", "hr", "img", "input", "col", "mspace", "wbr"}
MENTION = re.compile(r"\b[A-Z]+-[DCSXAI][1-9][0-9]*\b")


class Reader(HTMLParser):
    """Reads the page: ids, links, and the text outside of code, formulas, headings and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.resources: list[str] = []
        self.prose: list[str] = []
        self.badly_nested: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take the beginning of an element."""
        found = dict(attributes)
        self.ids += [found["id"] or ""] if "id" in found else []
        if tag == "a":
            self.targets.append(found.get("href") or "")
        self.resources += [value or "" for name, value in attributes if name in ("src", "srcset", "data")]
        classes = {name for _, given in self.open for name in (given.get("class") or "").split()}
        if (tag == "table" and "scroll" not in classes) or (
            tag == "math" and found.get("display") == "block" and "formula" not in classes
        ):
            self.outside.append(tag)
        if tag not in VOID:
            self.open.append((tag, found))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take what closes itself, as in a picture, for what it is."""
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Take the end of an element."""
        if tag in VOID:
            return
        if not self.open or self.open[-1][0] != tag:
            self.badly_nested.append(f"</{tag}> at {self.getpos()}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        """Take text."""
        inside = {tag for tag, _ in self.open}
        classes = {name for _, given in self.open for name in (given.get("class") or "").split()}
        if not inside & {"a", "pre", "code", "math", "h5", "style", "title", "nav"} and "cite" not in classes:
            self.prose.append(data)


DRAWING = (
    '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20">'
    '<defs><clipPath id="c"><rect width="40" height="20"/></clipPath><path id="m" d="M0 0h9v9z"/></defs>'
    '<g clip-path="url(#c)"><use href="#m" x="3"/></g></svg>'
)
REAL = ("layer", "connections")
"""The picture that is really drawn here: others need training. The build with all is one of tox's."""

BUILD_AGAIN = """
import sys
from importlib import import_module
from gaugeblock.conformance.command import main

figures = import_module("gaugeblock.spec.document.figures")
drawing, real = sys.argv[1], tuple(sys.argv[2].split("/"))
figures._draw = lambda places: dict.fromkeys(places, drawing) | figures._draw_here([real])
sys.exit(main(["spec", "--build", "again"]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    folder = tmp_path_factory.mktemp("document")
    figures_module = import_module("gaugeblock.spec.document.figures")
    real = figures_module._draw_here([REAL])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(figures_module, "_draw", lambda places: dict.fromkeys(places, DRAWING) | real)
        page, printed = build(folder, suite=claims(), places=places())
    assert [page.name, printed.name] == [f"gaugeblock-spec-{VERSION}.{suffix}" for suffix in ("html", "pdf")]
    return page.read_text("utf-8"), printed.read_bytes()


@pytest.fixture(scope="module")
def page(built: tuple[str, bytes]) -> str:
    return built[0]


@pytest.fixture(scope="module")
def reader(page: str) -> Reader:
    found = Reader()
    found.feed(page)
    return found


# The page


@needs_extra
def test_the_page_is_well_formed_and_every_id_is_there_once(reader: Reader) -> None:
    assert reader.badly_nested == []
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))


@needs_extra
def test_every_link_within_the_page_has_a_target(reader: Reader) -> None:
    inner = {target.removeprefix("#") for target in reader.targets if target.startswith("#")}
    assert inner - set(reader.ids) == set()
    assert {target for target in reader.targets if not target.startswith("#")} == set()


@needs_extra
def test_the_page_needs_no_other_file_and_runs_its_search_alone(page: str, reader: Reader) -> None:
    assert reader.resources == []
    assert page.count("<script") == page.count("<script>") == 1
    script = page[page.index("<script>") :]
    assert not re.search(r"fetch|XMLHttp|import\b|eval|innerHTML|https?:", script)
    assert "<link" not in page
    assert {begin for begin in re.findall(r"url\((.{5})", page) if begin[0] != "#"} == {"data:"}
    assert "@import" not in page


@needs_extra
def test_every_clause_of_any_version_has_an_anchor_a_permalink_and_a_citation(page: str) -> None:
    for id in [id for ids in published().values() for id in ids]:
        begin = page.index(f'id="{id}"')
        clause = page[begin : page.index("</section>", begin)]
        assert f'href="#{id}"' in clause, id
        assert escapes.escape(cite(id)) in clause, id
        assert f"#trace-{id}" not in page, id  # there are none without a trace
        assert load()[id].title.split()[0] in clause, id


@needs_extra
def test_with_a_trace_every_clause_has_a_row_of_its_tests_and_a_link_to_it() -> None:
    trace = Trace(tests={"GEMM-S1": {"t::a": "passed"}})
    shown = [chapter for chapter in chapters() if chapter.name == "gemm"]
    page = html.render([*shown, traceability(trace, {}, len(OPERATIONS))], {})
    for clause in shown[0].clauses:
        assert f'href="#trace-{clause.id}"' in page, clause.id
        assert f'id="trace-{clause.id}"' in page, clause.id


@needs_extra
def test_a_question_has_an_anchor_and_leads_to_its_clauses(page: str) -> None:
    begin = page.index('id="question-what-happens-to-nan"')
    assert 'href="#GEN-X1"' in page[begin : page.index("</li>", begin)]
    assert 'id="question-which-padding-is-same"' in page


def test_a_question_is_one_and_names_clauses_on_the_pages_that_have_them() -> None:
    questions = (files("gaugeblock.spec") / "questions.md").read_text("utf-8")
    items = re.findall(r"^- (.*?)(?=\n(?:-|\n|$)|\Z)", questions, flags=re.MULTILINE | re.DOTALL)
    assert len(items) > 25
    for item in items:
        named = re.findall(r"\[([A-Z]+-[A-Z][0-9]+)\]\(text/([a-z0-9-]+\.md)#([a-z0-9-]+)\)", item)
        assert "?" in item, item
        assert named, item
        for id, page, anchor in named:
            assert (load()[id].page, id.lower()) == (page, anchor), item


@needs_extra
def test_pictures_take_the_colours_of_a_dark_page_and_are_never_wider_than_it(page: str) -> None:
    style = page[page.index("<style>") : page.index("</style>")]
    dark = style[style.index("prefers-color-scheme: dark") :]
    drawn = set(re.findall(r"var\((--figure-[0-9a-f]{6}), #", page))
    assert len(drawn) >= 3
    assert all(f"{name}: #" in dark for name in drawn)
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert set(re.findall(r"(?:fill|stroke): ([^v][^;\"]*)", pictures)) <= {"none"}
    assert ".picture svg { display: block; max-width: 100%; height: auto;" in style
    assert "min-width" not in re.sub(r"@media \([^)]*\)|[^{}]*table \{[^}]*\}|td \{[^}]*\}", "", style)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_search_finds_what_has_all_words_and_titles_before_text() -> None:
    script = (files("gaugeblock.spec.document") / "document.js").read_text("utf-8")
    entries = [
        {"id": "act-s9", "title": "act-s9 sigmoid", "text": "its largest nan is open"},
        {"id": "gen-x1", "title": "gen-x1 nan", "text": "an element that is nan"},
        {"id": "gen-x2", "title": "gen-x2 sign of zero", "text": "of a zero result"},
        {"id": "same", "title": "which padding is same", "text": ""},
    ]
    asked = ["NaN", "gen-x", "zero sign", "nan zero", " ", "which padding is “same”?", "the padding", "is"]
    calls = f"const E = {json.dumps(entries)}; const Q = {json.dumps(asked)};"
    calls += "console.log(JSON.stringify(Q.map(q => matching(E, q).map(e => e.id))))"
    done = subprocess.run(["node", "-e", script + calls], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        *(["gen-x1", "act-s9"], ["gen-x1", "gen-x2"], ["gen-x2"], [], []),
        *(["same"], ["same"], ["same", "act-s9", "gen-x1"]),
    ]


@needs_extra
def test_the_contents_list_every_chapter_and_every_clause(page: str) -> None:
    contents = page[page.index("<nav") : page.index("</nav>")]
    assert all(f'href="#{id}"' in contents for id in load())
    assert all(f'href="#{concept_of(name)}"' in contents for name in pages())
    assert all(f'href="#{name}"' in contents for name in ("vectors", "traceability", "citation"))


@needs_extra
def test_every_mention_of_a_clause_is_a_link_to_it(reader: Reader) -> None:
    mentioned = {id for text in reader.prose for id in MENTION.findall(text) if id in load()}
    # The two ways to write a citation down are text to copy, and stand in the chapter about that.
    assert mentioned <= {"GEMM-A1"}


@needs_extra
def test_what_may_be_wider_than_a_phone_scrolls_inside_itself(reader: Reader, page: str) -> None:
    assert reader.outside == []
    for needed in ("@media (prefers-color-scheme: dark)", "@media print", "overflow-x: auto"):
        assert needed in page


@needs_extra
def test_the_font_has_every_sign_of_every_formula(page: str) -> None:
    from fontTools.ttLib import TTFont

    data = re.findall(r"url\(data:font/woff;base64,([^)]*)\)", page)
    assert len(data) == 1
    assert len(data[0]) < 120_000
    font = TTFont(io.BytesIO(base64.b64decode(data[0])))
    assert "MATH" in font
    has = set(font.getBestCmap())
    formulas = re.findall(r"<math.*?</math>", page, flags=re.DOTALL)
    assert len(formulas) > 300
    for formula in formulas:
        shown = re.sub(r"<annotation.*?</annotation>", "", formula, flags=re.DOTALL)
        text = escapes.unescape(re.sub(r"<[^>]*>", "", shown))
        signs = {ord(sign) for sign in text if not sign.isspace() and sign != "\u2061"}
        assert signs <= has, (shown, [chr(sign) for sign in signs - has])
    for sign in "𝑥𝑦𝛼𝛾√":  # what browsers put in the place of single letters, and of a root
        assert ord(sign) in has, sign


@needs_extra
def test_code_shows_what_was_asked_and_what_python_answered(page: str) -> None:
    assert '<span class="prompt">&gt;&gt;&gt;</span> import numpy as np' in page
    assert '<span class="answer">(1.0078125, 1.0)</span>' in page


@needs_extra
def test_a_concept_says_where_it_lives(page: str) -> None:
    for concept, found in places().items():
        chapter = page[page.index(f'<section class="chapter" id="{concept}">') :]
        assert all(f"<code>{file}</code>" in chapter[:4000] for file in found), concept


@needs_extra
def test_the_chapter_on_citation_has_the_facts(page: str) -> None:
    chapter = page[page.index('<section class="chapter" id="citation">') :]
    assert escapes.escape(bibtex(), quote=False) in chapter
    assert f"version {VERSION}, {DATE}" in re.sub(r"\s+", " ", chapter)
    assert "CC BY 4.0" in chapter


# The PDF


@needs_extra
def test_the_pdf_is_one_for_archives_with_the_date_of_the_version(built: tuple[str, bytes]) -> None:
    printed = built[1]
    assert printed.startswith(b"%PDF-1.7")
    assert b"<pdfaid:part>2</pdfaid:part>" in printed
    assert b"<pdfaid:conformance>B</pdfaid:conformance>" in printed
    assert f"D:{DATE.replace('-', '')}".encode() in printed
    assert b"/Outlines" in printed


@needs_extra
@pytest.mark.usefixtures("simple_pictures")
def test_the_pdf_has_a_heading_with_a_label_for_every_clause_and_links_to_them() -> None:
    found = chapters()
    drawn = figures([block for chapter in found for block in chapter.blocks])
    source = pdf.source(found, drawn)  # a link without its target would not have compiled
    for id in load():
        assert source.count(f"\n<{id}>\n") == 1, id
    assert source.count("#link(<GEMM-A1>)") > 3


@needs_extra
@pytest.mark.usefixtures("simple_pictures")
def test_in_print_cases_have_columns_and_what_leads_to_code_stays_with_it() -> None:
    found = [chapter for chapter in chapters() if chapter.name == "machine_learning"]
    source = pdf.source(found, figures(found[0].blocks))
    assert re.search(r"cases\([^\n]* & quad ", source)
    assert re.search(r"#block\(sticky: true\)\[\n[^\n]+:\n\n\]\n```", source)


@needs_extra
def test_the_files_are_the_same_bytes_when_built_again(built: tuple[str, bytes], tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD_AGAIN, DRAWING, "/".join(REAL)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page, printed = (tmp_path / line for line in done.stdout.splitlines())
    assert page.read_text("utf-8") == built[0]
    assert printed.read_bytes() == built[1]


# Reading the pages


@needs_extra
def test_a_mention_in_the_middle_of_a_word_is_a_link_and_an_unknown_id_is_none() -> None:
    blocks = linked(read("See (GEMM-S1)/GEMM-S2, `GEMM-S3`, GEMM-S99 and [GEMM-X1](#elsewhere)."))
    targets = re.findall(r'"(#[^"]*)"', json.dumps(blocks))
    assert targets == ["#GEMM-S1", "#GEMM-S2", "#GEMM-S3", "#elsewhere"]
    assert words(blocks) == "See (GEMM-S1)/GEMM-S2, GEMM-S3, GEMM-S99 and GEMM-X1."


@needs_extra
def test_another_page_is_a_chapter_here_and_a_link_to_it(page: str) -> None:
    assert 'the classifier of <a href="#logistic_regression">chapter 5</a>' in page
    assert 'chapters <a href="#network">6</a> and <a href="#machine_learning">1</a>' in page
    assert not re.search(r"\bpages? \d", page)


@needs_extra
def test_punctuation_after_a_formula_stays_on_its_line(page: str) -> None:
    before = re.findall(r'(.{20})<math display="inline"(?:(?!</math>).)*</math>[.,;:)]', page, re.DOTALL)
    assert len(before) > 100
    assert all(end.endswith('<span class="whole">') for end in before)


@needs_extra
def test_the_title_of_a_clause_is_its_heading_and_not_repeated(page: str) -> None:
    begin = page.index('id="GEMM-S3"')
    clause = page[begin : page.index("</section>", begin)]
    assert clause.count("Unread arguments") == 1
    assert "<p>With <math" in clause


def test_the_name_of_a_page_tells_its_concept() -> None:
    assert concept_of("13-convolutional-network.md") == "convolutional_network"
    with pytest.raises(ValueError, match="the name of a page is a number and a concept"):
        concept_of("notes.md")


# Pictures


@pytest.fixture
def simple_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every picture be the same simple drawing."""
    figures_module = import_module("gaugeblock.spec.document.figures")
    monkeypatch.setattr(figures_module, "_draw", lambda places: dict.fromkeys(places, DRAWING))


@needs_extra
def test_pictures_of_several_concepts_are_those_that_one_process_draws() -> None:
    figures_module = import_module("gaugeblock.spec.document.figures")
    places = [("layer", "connections"), ("inception", "module")]
    together = figures_module._draw(places)
    assert list(together) == places
    assert together == figures_module._draw_here(places)


PICTURE = "![The *edges* of $x$, see CONV-S1](figure:convolution/a-test)\n"


@needs_extra
@pytest.mark.usefixtures("simple_pictures")
def test_a_picture_is_drawn_and_stands_in_both_forms() -> None:
    blocks = read(f"Before.\n\n{PICTURE}\n#### CONV-S1\n\nAfter.")
    others = [block for chapter in chapters() for block in chapter.blocks if chapter.name == "convolution"]
    drawn = figures(blocks + others)
    for figure in drawn.values():
        figure.caption[:] = linked(figure.caption)
    chapter = Chapter("convolution", 11, "Convolution", blocks[:-2])
    clause = Chapter("clauses", None, "Clauses", others)
    page = html.render([chapter], drawn)
    assert page.count("<svg") == 1
    assert 'clip-path="url(#figure-convolution-a-test-c)"' in page
    assert 'href="#figure-convolution-a-test-m"' in page
    assert 'aria-label="The edges of x, see CONV-S1"' in page
    assert '<figure id="figure-convolution-a-test">' in page
    assert 'href="#CONV-S1"' in page[page.index("<figcaption>") :]
    assert "<?xml" not in page
    shown = 'image("figure-convolution-a-test.svg", alt: "The edges of x, see CONV-S1")'
    assert shown in pdf.source([chapter, clause], drawn)


@needs_extra
@pytest.mark.parametrize("target", ["edges.png", "https://example.org/edges.svg", "figure:convolution"])
def test_a_picture_that_is_no_demonstration_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=f"includes a picture as figure:CONCEPT/NAME, not as {target}"):
        figures(read(f"![A caption]({target})\n"))


# What is missing is said in a line


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[document\]' in a checkout") as refusal:
        extra_module.imported("pypandoc")
    assert "\n" not in str(refusal.value)


# The trace


def run_of(tests: dict[str, dict[str, dict[str, int]]], date: str | None = "2026-11-23") -> dict[str, Any]:
    return {
        "format": 1,
        "date": date,
        "versions": {"gaugeblock": "0.1.0", "python": "3.11"},
        "clauses": tests,
    }


def report_of(verdicts: dict[str, dict[str, str]]) -> dict[str, Any]:
    operations = {
        operation: {"float32": {"clauses": {clause: {"verdict": verdict} for clause, verdict in by.items()}}}
        for operation, by in verdicts.items()
    }
    head = {"format": 2, "backend": "gpu", "device": "a device", "versions": {}, "seed": 1}
    return {**head, "operations": operations}


def test_a_trace_tells_the_verdict_on_every_test_of_a_clause(tmp_path: Path) -> None:
    counts = {"t::a": {"passed": 3}, "t::b": {"passed": 2, "failed": 1}, "t::c": {"skipped": 1}, "t::d": {}}
    (tmp_path / "run.json").write_text(json.dumps(run_of({"GEMM-S1": counts})))
    trace = read_traces([tmp_path / "run.json"])
    verdicts = {"t::a": "passed", "t::b": "failed", "t::c": "skipped", "t::d": "not run"}
    assert trace.tests == {"GEMM-S1": verdicts}
    assert trace.runs == ["Tests of the project, 2026-11-23, gaugeblock 0.1.0, Python 3.11."]


def test_traces_and_reports_of_a_folder_are_put_together_and_the_later_verdict_counts(tmp_path: Path) -> None:
    files = {
        "a": run_of({"GEMM-S1": {"t::a": {}, "t::b": {}}}, date=None),
        "b": run_of({"GEMM-S1": {"t::a": {"failed": 1}}}),
        "c": run_of({"GEMM-S1": {"t::a": {"passed": 1}}}),
        "d": run_of({"GEMM-S1": {"t::a": {}}}, date=None),
        "e": report_of({"gemm": {"GEMM-S1": "conforming"}, "relu": {"GEN-S2": "violating"}}),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    trace = read_traces([tmp_path])
    assert trace.tests == {"GEMM-S1": {"t::a": "passed", "t::b": "not run"}}
    assert trace.suite == {"GEMM-S1": {"gemm": "conforming"}, "GEN-S2": {"relu": "violating"}}
    assert len(trace.runs) == 3


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": 2, "clauses": {}}', '{"format": 1}'])
def test_what_is_no_trace_is_refused_with_its_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text(content)
    with pytest.raises(TraceError, match=r"no\.json is neither a trace nor a report of a run"):
        read_traces([tmp_path / "no.json"])


def test_a_clause_that_nothing_checks_is_found() -> None:
    suite = {
        id: [Claim("accuracy", "It holds.", ("relu",))] for id in load() if id not in ("GEN-D1", "GEN-D2")
    }
    trace = Trace(tests={"GEN-D1": {"t::a": "passed"}})
    assert trace.untested(suite) == ["GEN-D2"]


@needs_extra
def test_the_chapter_lists_tests_checks_and_verdicts() -> None:
    suite = {
        "GEN-S2": [Claim("strides", "A ``view`` is enough.", tuple(OPERATIONS))],
        "GEMM-S1": [Claim("semantics", "It is right.", ("gemm",))],
    }
    trace = Trace(
        tests={"GEMM-S1": {"tests/t.py::test_a": "passed", "tests/t.py::test_b": "passed"}},
        suite={"GEMM-S1": {"gemm": "violating"}},
        runs=["A run."],
    )
    chapter = traceability(trace, suite, len(OPERATIONS))
    page = html.render([chapter], {})
    row = page[page.index('id="trace-GEMM-S1"') :]
    row = re.sub(r"<[^>]*>", "", row[: row.index("</tr>")])
    assert re.findall(r"tests/t\.py::test_.", row) == ["tests/t.py::test_a", "tests/t.py::test_b"]
    assert "Suite, check semantics: It is right. On gemm." in row
    assert re.findall(r"\d \w+ \w+", row) == ["2 tests passed", "1 operation violating"]
    assert "A <code>view</code> is enough. On all operations." in page
    assert "without a record of a run" not in page


@needs_extra
def test_without_a_trace_the_chapter_lists_each_check_once_and_no_verdict() -> None:
    chapter = traceability(Trace(), claims(), len(OPERATIONS))
    page = html.render([chapter], {})
    assert "not run" not in page
    assert "without a record of a run" in words(chapter.blocks)
    rows = [re.sub(r"<[^>]*>", "", row) for row in re.findall(r"<tr[^>]*>\s*<td.*?</tr>", page, re.DOTALL)]
    assert len(rows) == len(set(rows)) == len({(c.name, c.words) for each in claims().values() for c in each})
