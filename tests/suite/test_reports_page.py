"""A report as a page."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaugeblock.conformance.reports import page
from gaugeblock.conformance.reports.data import LEVELS, entries

VOID = {"meta", "link", "br", "input"}


class Reader(HTMLParser):
    """Notes elements, and holds that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and that it is open."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Hold that it closes what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note what a reader sees."""
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """Return the attributes of all elements that have these."""
        wanted = {name.replace("_", "-"): value for name, value in wanted.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]


def test_the_page_shows_every_result(report: dict[str, Any]) -> None:
    found = Reader(page.build(report))
    words = " ".join(found.words)
    for operation, dtype, entry in entries(report):
        assert found.all("tr", data_entry=f"{operation} {dtype}")
        for id, clause in entry["clauses"].items():
            where = {"data_operation": operation, "data_dtype": dtype, "data_clause": id}
            assert found.all("tr", **where, data_level=clause["level"], data_verdict=clause["verdict"])
            assert bool(found.all("article", **where)) == (clause["failure"] is not None)
    for fact in ("NVIDIA H200 <0>", "20261130", "--report r.json", "declared for softmax", "same network"):
        assert fact in words
    assert "before = after" in words
    assert "violates the spec at level numeric" in words


def test_the_page_asks_for_nothing_and_runs_nothing_but_its_own_script(report: dict[str, Any]) -> None:
    text = page.build(report)
    found = Reader(text)
    policy = found.all("meta", http_equiv="Content-Security-Policy")[0]["content"]
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in policy
    assert not re.search(r"(src|href)=\"(?!#|data:,\")|url\(|@import|http://|https://", text)
    assert not any(name.startswith("on") or name == "style" for _, attrs in found.elements for name in attrs)


def test_what_only_a_script_can_do_is_hidden_without_one(report: dict[str, Any]) -> None:
    found = Reader(page.build(report))
    hidden = [tag for tag, attributes in found.elements if "hidden" in attributes]
    assert hidden.count("form") == 1
    assert set(hidden) == {"form", "button"}


def test_what_is_linked_or_copied_is_there_once(report: dict[str, Any]) -> None:
    found = Reader(page.build(report))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found.elements:
        for name in ("copies", "href"):
            value = attributes.get(f"data-{name}") or attributes.get(name, "data:")
            assert value.startswith("data:") or value.removeprefix("#") in ids


def test_every_column_has_a_heading_and_every_row(report: dict[str, Any]) -> None:
    found = Reader(page.build(report))
    assert {heading["scope"] for heading in found.all("th")} == {"col", "row"}
    assert len(found.all("label")) == len(found.all("select")) == 5


@settings(suppress_health_check=list(HealthCheck), max_examples=100)
@given(
    text=st.text(st.characters(codec=None, categories=None), min_size=1)
    | st.sampled_from(['"><b>', "</pre>"])
)
def test_nothing_in_a_report_is_markup(text: str, report: dict[str, Any]) -> None:
    operations = {"gemm": {"bfloat16": report["operations"]["gemm"]["bfloat16"]}}
    elements = [
        Reader(page.build(changed)).elements
        for changed in (_with(report, operations, "x"), _with(report, operations, text))
    ]
    assert [tag for tag, _ in elements[0]] == [tag for tag, _ in elements[1]]
    assert [set(attributes) for _, attributes in elements[0]] == [
        set(attributes) for _, attributes in elements[1]
    ]


def _with(report: dict[str, Any], operations: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a report in which all that comes from elsewhere is one text."""
    entry = dict(operations["gemm"]["bfloat16"])
    clause = dict(entry["clauses"]["GEMM-A2"], claim="a claim", largest=text, by_size={})
    clause["failure"] = {"message": text, "reproduce": text}
    entry |= {"clauses": {text: clause}, "suggestion": text, "departures": [text], "domain": {text: text}}
    changed = dict(report, operations={text: {text: entry}}, lacking=[text], versions={text: text})
    return {**changed, **dict.fromkeys(("backend", "device", "isolation", "command", "started"), text)}


@pytest.mark.parametrize("level", LEVELS)
def test_the_verdict_is_that_of_the_level(level: str, conforming_report: dict[str, Any]) -> None:
    assert f"conforms at level {level}" in page.build({**conforming_report, "level": level})


def test_a_page_of_a_run_that_was_ended_early_says_so(report: dict[str, Any]) -> None:
    words = "The run was ended early"
    assert words not in page.build(report)
    assert words in page.build({**report, "complete": False, "operations": {}})


def test_colours_have_the_contrast_that_small_text_needs() -> None:
    style = page.Path(page.__file__).with_suffix(".css").read_text("utf-8")
    for scheme in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name in ("ink", "quiet", "link", "conforming", "violating", "partial"):
            for ground in ("paper", "panel"):
                assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def _contrast(one: str, other: str) -> float:
    """Return the ratio of WCAG 2."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
