"""The report of a campaign as JSON, JUnit XML and one page: those of its backends, side by side."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from gaugeblock.conformance.reports import junit, page
from gaugeblock.conformance.reports.data import entries, visible, within
from gaugeblock.conformance.reports.page import as_list, safe, word

__all__ = ["as_junit", "as_page", "lost_in_words"]

Data = dict[str, Any]


def as_junit(data: Data) -> str:
    """Return the report of a campaign as JUnit XML: the suites of each backend, and what was lost."""
    root = Element("testsuites", name="gaugeblock campaign")
    for name, report in data["reports"].items():
        for suite in ElementTree.fromstring(junit.build(report)):
            suite.set("name", visible(f"{name} on {report['device']}: {suite.get('name')}"))
            for case in suite.iter("testcase"):
                case.set("classname", visible(f"{name}.{case.get('classname')}"))
            root.append(suite)
    if data["lost"]:
        suite = SubElement(root, "testsuite", name="lost cells", errors=str(len(data["lost"])))
        suite.set("tests", str(len(data["lost"])))
        for each in data["lost"]:
            place = f"{each['target']}.{each['operation']}.{each['dtype']}"
            case = SubElement(suite, "testcase", classname=visible(place), name=visible(each["kind"]))
            SubElement(case, "error", message=visible(each["message"].partition("\n")[0])).text = visible(
                each["message"]
            )
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, 0)) for suite in root)))
    ElementTree.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def as_page(data: Data) -> str:
    """Return the report of a campaign as one page: a column for each backend and device."""
    reports = data["reports"]
    warning = (
        "" if data["complete"] else "Cells are missing, or were lost: this is what had been found by then."
    )
    return page.fill(
        ", ".join(reports) or "nothing",
        data["verdict"],
        data["level"],
        warning=warning,
        facts=_facts(data),
        filters="\n".join(page.filters(*reports.values())),
        table=_table(data),
        failures=_violations(data) + _lost(data),
        evidence="\n".join(_evidence(data)) or "<p>Nothing was tried.</p>",
        footer="Written by gaugeblock campaign, report format 1.",
    )


def _facts(data: Data) -> str:
    pairs = []
    for name, report in data["reports"].items():
        simulated = " (simulated)" if report["simulated"] else ""
        versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
        pairs.append(
            (safe(name), safe(f"on {report['device']}{simulated}; {versions}; {report['isolation']}"))
        )
    command = next((report["command"] for report in data["reports"].values()), "")
    return as_list([*pairs, ("command", f"<code>{safe(command)}</code>")])


def _table(data: Data) -> str:
    """Return the table of operations and dtypes against backends and devices."""
    verdicts: dict[tuple[str, str], dict[str, str]] = {}
    for i, (name, report) in enumerate(data["reports"].items()):
        for operation, dtype, entry in entries(report):
            place = f"{_of(i)}{safe(operation)}-{safe(dtype)}"
            link = f'<a href="#{place}">{word(entry["verdict"])}</a>'
            verdicts.setdefault((operation, dtype), {})[name] = link
    if not verdicts:
        return "<p>Nothing was tried.</p>"
    headings = [
        "operation",
        "dtype",
        *(f"{name} on {report['device']}" for name, report in data["reports"].items()),
    ]
    head = "".join(f'<th scope="col">{safe(heading)}</th>' for heading in headings)
    rows = []
    for (operation, dtype), by_name in verdicts.items():
        cells = "".join(f"<td>{by_name.get(name, '')}</td>" for name in data["reports"])
        start = f'<th scope="row">{safe(operation)}</th><td>{safe(dtype)}</td>'
        rows.append(f'<tr data-entry="{safe(operation)} {safe(dtype)}">{start}{cells}</tr>')
    body = "\n".join(rows)
    table = f'<table class="levels"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _violations(data: Data) -> str:
    """Return every violation once, at its smallest."""
    written = []
    for i, each in enumerate(data["violations"]):
        beyond = "" if within(each["level"], data["level"]) else f", beyond level {data['level']}"
        where = (
            f"{each['target']}; {', '.join(each['dtypes'])}; {', '.join(each['devices'])}; "
            f"{each['cells']} cells; level {each['level']}{beyond}"
        )
        again = each["reproduce"] or "not tried: the process was lost before its turn"
        written.append(
            f"<article>\n<h3>{safe(each['clause'])} violated by {safe(each['operation'])}</h3>\n"
            f'<p class="note">{safe(where)}</p>\n<pre>{safe(each["message"] or "")}</pre>\n'
            f'<p class="script">to see it again <button type="button" data-copies="v{i}" hidden>copy</button>'
            "</p>\n"
            f'<pre id="v{i}">{safe(again)}</pre>\n</article>'
        )
    return "\n".join(written) or "<p>None.</p>"


def _lost(data: Data) -> str:
    lines = "\n".join(lost_in_words(each) for each in data["lost"])
    return f"\n<h3>Lost cells</h3>\n<pre>{safe(lines)}</pre>" if lines else ""


def lost_in_words(each: Data) -> str:
    """Say what a lost cell was to try, and why it was lost."""
    what = f"{each['kind']} of {each['operation']} {each['dtype']}"
    return f"{each['target']}: {what}, {each['tries']} tries: {each['message']}"


def _evidence(data: Data) -> list[str]:
    found = []
    for i, (name, report) in enumerate(data["reports"].items()):
        found.append(f"<h3>{safe(name)} on {safe(report['device'])}</h3>")
        found += [page.evidence(*each, _of(i)) for each in entries(report)]
    return found


def _of(place: int) -> str:
    """Return how the names of what belongs to a backend begin."""
    return f"b{place}-"
