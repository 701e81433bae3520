"""Reports as JUnit XML and as a badge."""

import copy
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaugeblock.conformance.reports import badge, junit
from gaugeblock.conformance.reports.data import LEVELS, entries, visible

# The shape that Jenkins reads (junit-10.xsd of its xUnit plugin): attributes and children of each element.
SHAPE: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, {"testsuite"}),
    "testsuite": (
        {
            *("name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp"),
            *("hostname", "id", "package"),
        },
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "assertions", "time", "classname", "status"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}


def expect_shape(element: Element) -> None:
    attributes, children = SHAPE[element.tag]
    assert set(element.attrib) <= attributes
    assert {child.tag for child in element} <= children
    for child in element:
        expect_shape(child)


def case(root: Element, place: str, clause: str) -> Element:
    return next(
        case
        for case in root.iter("testcase")
        if case.get("classname") == place and case.attrib["name"].startswith(clause + " ")
    )


def test_junit_has_the_shape_that_others_read(report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.build(report).encode())
    expect_shape(root)
    assert len(root) == sum(1 for _ in entries(report))
    assert len(list(root.iter("testcase"))) == sum(len(entry["clauses"]) for *_, entry in entries(report))


def test_junit_counts_what_it_lists(report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.build(report).encode())
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        for attribute, tag in (("failures", "failure"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == len(suite.findall(f"testcase/{tag}"))
    assert int(root.attrib["failures"]) == len(list(root.iter("failure"))) == 2


def test_a_failure_has_its_message_and_its_script(report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.build(report).encode())
    failure = case(root, "gemm.bfloat16", "GEMM-A2").find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "result[3, 17] = 1024.0, want 1025.0, bound 0"
    assert "2 of 4160 elements are outside their bounds" in (failure.text or "")
    assert "replay(" in (failure.text or "")


def test_what_a_hostile_backend_says_is_spelled_out(report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.build(report).encode())
    failure = case(root, "tanh.float16", "ACT-S15").find("failure")
    assert failure is not None
    words = "tanh raised RuntimeError: \\x1b[31m<b>&bad]]>\\x1b[0m \\x07\\ud800 \\u202eevil"
    assert failure.attrib["message"] == words


@pytest.mark.parametrize(
    ("place", "clause", "words"),
    [
        ("lstm_unit.float16", "GEN-S5", "unsupported: all of"),
        ("softmax.float32", "GEN-S2", "outside: the declared domain leaves nothing of it to ask"),
        ("conv.float16", "GEN-S5", "violated, but beyond the level numeric: reproducible"),
        ("relu.float32", "ACT-X2", "violated, but beyond the level numeric: robust"),
    ],
)
def test_what_was_not_held_is_skipped_with_the_reason(
    place: str, clause: str, words: str, report: dict[str, Any]
) -> None:
    skipped = case(ElementTree.fromstring(junit.build(report).encode()), place, clause).find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"].startswith(words)


def test_what_was_answered_in_part_is_skipped_with_the_share(report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.build(report).encode())
    messages = [skipped.attrib["message"] for skipped in root.iter("skipped")]
    assert any(
        message.startswith("partial: it held where it was answered, but ")
        and message.endswith("calls were declined")
        for message in messages
    )


def test_at_a_higher_level_more_fails(report: dict[str, Any]) -> None:
    report["level"] = "strict"
    root = ElementTree.fromstring(junit.build(report).encode())
    assert int(root.attrib["failures"]) == 5


def test_every_suite_tells_the_seed_and_its_domain(report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.build(report).encode())
    suite = next(suite for suite in root if suite.get("name") == "softmax float16")
    told = {found.attrib["name"]: found.attrib["value"] for found in suite.iter("property")}
    assert told["seed"] == "20261130"
    assert (told["level"], told["device"]) == ("numeric", "NVIDIA H200 <0>")
    assert "'axis': [-1]" in told["domain"]


@settings(suppress_health_check=list(HealthCheck))
@given(text=st.text(st.characters(codec=None, categories=None), min_size=1))
def test_junit_is_xml_whatever_is_inside(text: str, report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    for key in ("backend", "device", "isolation", "command", "started"):
        changed[key] = text
    clause = changed["operations"]["gemm"]["bfloat16"]["clauses"]["GEMM-A2"]
    clause["failure"] = {"message": text, "reproduce": text}
    clause["claim"] = text
    changed["operations"] = {text: {text: changed["operations"]["gemm"]["bfloat16"]}}
    root = ElementTree.fromstring(junit.build(changed).encode())
    expect_shape(root)
    assert next(root.iter("failure")).attrib["message"] == visible(text.partition("\n")[0])


def test_text_without_control_characters_is_kept() -> None:
    assert visible("× − ≤ α 漢字 😀\n\tx\xa0y") == "× − ≤ α 漢字 😀\n\tx\xa0y"
    assert (
        visible("a\r\x00\x7f\x9b\u200b\u2066\ufeff\ufffe")
        == "a\\r\\x00\\x7f\\x9b\\u200b\\u2066\\ufeff\\ufffe"
    )


def test_a_report_of_an_empty_run_has_its_forms(report: dict[str, Any]) -> None:
    report["operations"] = {}
    assert len(ElementTree.fromstring(junit.build(report).encode())) == 0
    assert badge.words(report) == "unsupported"


@pytest.mark.parametrize("level", LEVELS)
def test_a_badge_names_the_highest_level_that_holds(level: str, conforming_report: dict[str, Any]) -> None:
    for beyond in LEVELS[LEVELS.index(level) + 1 :]:
        conforming_report["operations"]["conv"]["float16"]["levels"][beyond] = "partial"
    assert badge.words(conforming_report) == f"conforms · {level}"


def test_a_badge_says_what_does_not_conform(
    report: dict[str, Any], conforming_report: dict[str, Any]
) -> None:
    assert badge.words(report) == "violating"
    conforming_report["operations"]["conv"]["float16"]["levels"] = dict.fromkeys(LEVELS, "partial")
    assert badge.words(conforming_report) == "partial"
    assert badge.words({**conforming_report, "complete": False}) == "incomplete"


def test_a_badge_is_xml_with_its_words_for_those_who_cannot_see_it(conforming_report: dict[str, Any]) -> None:
    root = ElementTree.fromstring(badge.build(conforming_report).encode())
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert root.findtext(f"{space}title") == root.get("aria-label") == "gaugeblock: conforms · strict"
    assert [text.text for text in root.iter(f"{space}text")] == ["gaugeblock", "conforms · strict"]
