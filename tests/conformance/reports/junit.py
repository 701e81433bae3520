"""A report as JUnit XML, for continuous integration: a suite per operation and dtype, a case per clause."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from gaugeblock.conformance.reports.data import entries, reason, visible, within

PROPERTIES = (
    *("seed", "level", "profile", "device", "simulated", "isolation", "command", "verdict", "complete"),
    *("worst_share_of_bound", "domain", "suggestion", "departures", "arithmetic"),
)


def build(data: dict[str, Any]) -> str:
    """Return a report as JUnit XML.

    A violation beyond the level that was asked for is skipped, not failed: the exit code of the run agrees
    with what is shown.

    Parameters
    ----------
    data
        The report (JSON format 2).
    """
    root = Element("testsuites", name=visible(f"gaugeblock conform {data['backend']}"))
    for operation, dtype, entry in entries(data):
        suite = SubElement(root, "testsuite", name=visible(f"{operation} {dtype}"))
        suite.set("timestamp", visible(data["started"])[:19])
        properties = SubElement(suite, "properties")
        for name in PROPERTIES:
            value = entry[name] if name in entry else data[name]
            if value not in (None, {}, []):
                SubElement(properties, "property", name=name, value=visible(str(value)))
        for id, clause in entry["clauses"].items():
            _add_case(suite, f"{operation}.{dtype}", id, clause, data["level"])
        _count(suite, suite.findall("testcase"))
        suite.set("time", f"{entry['seconds']:.3f}")
    _count(root, list(root.iter("testcase")))
    del root.attrib["skipped"]  # which the outermost element does not have
    root.set("time", f"{data['seconds']:.3f}")
    ElementTree.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add_case(suite: Element, place: str, id: str, clause: dict[str, Any], limit: str) -> None:
    """Add a clause and what came of it."""
    name = visible(f"{id} {clause['claim']}")
    seconds = f"{clause['seconds']:.3f}"
    case = SubElement(suite, "testcase", classname=visible(place), name=name, time=seconds)
    if clause["verdict"] == "violating":
        failure = clause["failure"] or {"message": "", "reproduce": None}
        first = visible(failure["message"].partition("\n")[0])
        words = visible(f"{failure['message']}\n\n{failure['reproduce'] or ''}".rstrip())
        if within(clause["level"], limit):
            SubElement(case, "failure", type="violation", message=first).text = words
        else:
            beyond = f"violated, but beyond the level {limit}: {clause['level']}"
            SubElement(case, "skipped", message=beyond)
            SubElement(case, "system-out").text = words
    elif clause["verdict"] != "conforming":
        SubElement(case, "skipped", message=f"{clause['verdict']}: {reason(clause)}")


def _count(whole: Element, cases: list[Element]) -> None:
    """Write how many cases there are, and how they ended."""
    whole.set("tests", str(len(cases)))
    for attribute, ending in (("failures", "failure"), ("skipped", "skipped")):
        whole.set(attribute, str(sum(case.find(ending) is not None for case in cases)))
    whole.set("errors", "0")
