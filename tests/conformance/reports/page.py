"""A report as one self-contained HTML page, which asks nothing of any network and works without scripts."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from gaugeblock.conformance.reports.data import LEVELS, entries, reason, visible

MARKS = {"conforming": "●", "partial": "◐", "violating": "✕", "unsupported": "○", "outside": "–"}

SENTENCES = {
    "conforming": "conforms at level {level}",
    "violating": "violates the spec at level {level}",
    "partial": "conforms at level {level} in what it answers, and declines the rest",
    "unsupported": "supports nothing that was asked",
}

EARLY = "The run was ended early: this is what had been found by then."


def build(data: dict[str, Any]) -> str:
    """Return a report as an HTML page.

    Parameters
    ----------
    data
        The report (JSON format 2).
    """
    return fill(
        data["backend"],
        data["verdict"],
        data["level"],
        warning="" if data["complete"] else EARLY,
        facts=_facts(data),
        filters="\n".join(filters(data)),
        table=_table(data),
        failures=_failures(data),
        evidence="\n".join(evidence(*found) for found in entries(data)) or "<p>Nothing was tried.</p>",
        footer=f"Written by gaugeblock {safe(data['versions'].get('gaugeblock', ''))}, report format 2.",
    )


def fill(title: str, verdict: str, level: str, *, warning: str, **parts: str) -> str:
    """Return the page with a verdict at its head, a warning if there is one, and its parts as markup."""
    here = Path(__file__)
    style, script = (here.with_suffix(end).read_text("utf-8") for end in (".css", ".js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    sentence = SENTENCES[verdict].format(level=level)
    return Template(here.with_suffix(".html").read_text("utf-8")).substitute(
        policy=policy,
        style=style,
        script=script,
        title=f"{safe(title)}: {safe(verdict)}",
        backend=safe(title),
        verdict=f'{mark(verdict)} <strong class="{verdict}">{sentence}</strong>',
        warning=warning and f'<p class="warning">{safe(warning)}</p>',
        **parts,
    )


def safe(value: Any) -> str:
    """Return a value as text that is no markup, whatever it holds."""
    return html.escape(visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))


def _claim(text: str) -> str:
    """Return a sentence of a docstring, with its names as code."""
    return re.sub("``(.+?)``", r"<code>\1</code>", safe(text))


def _hash(text: str) -> str:
    """Return the source expression by which a browser lets this text, and no other, act."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def mark(verdict: str) -> str:
    return f'<span class="mark {verdict}" aria-hidden="true">{MARKS[verdict]}</span>'


def word(verdict: str) -> str:
    """Return a verdict as a mark and a word."""
    return f'{mark(verdict)}<span class="word {verdict}">{verdict}</span>'


def as_list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs if value)


def _facts(data: dict[str, Any]) -> str:
    """Return what the run was: all that has a bearing on the verdict."""
    environment, memory = data["environment"], data["memory"]
    cores = f", {environment['cores']} cores" if environment["cores"] else ""
    declared = dict.fromkeys(operation for operation, _, entry in entries(data) if entry["domain"])
    peaks = [f"{name} {peak / 2**20:.0f} MiB" for name, peak in memory.items() if peak is not None]
    return as_list(
        [
            ("device", safe(data["device"]) + (" (simulated)" if data["simulated"] else "")),
            ("level", safe(data["level"])),
            ("profile, seed", f"{safe(data['profile'])}, {data['seed']}"),
            ("command", f"<code>{safe(data['command'])}</code>"),
            (
                "domain",
                f"declared for {safe(', '.join(declared))}" if declared else "none declared: all of the spec",
            ),
            ("not in the backend", safe(", ".join(data["lacking"]))),
            ("isolation", safe(data["isolation"])),
            ("platform", safe(f"{environment['platform']}, {environment['processor']}{cores}")),
            ("versions", safe(", ".join(f"{name} {version}" for name, version in data["versions"].items()))),
            ("started", f"{safe(data['started'])}, took {data['seconds']:.0f} s"),
            ("peak memory", safe(", ".join(peaks))),
        ]
    )


def filters(*reports: dict[str, Any]) -> Iterable[str]:
    """Yield a choice for each of the five things that results of reports differ in."""
    found = [
        (operation, dtype, id, clause["level"], clause["verdict"])
        for data in reports
        for operation, dtype, entry in entries(data)
        for id, clause in entry["clauses"].items()
    ]
    for place, name in enumerate(("operation", "dtype", "clause", "level", "verdict")):
        values = dict.fromkeys(row[place] for row in found)
        options = "".join(f'<option value="{safe(value)}">{safe(value)}</option>' for value in values)
        yield f'<label>{name} <select name="{name}"><option value="">all</option>{options}</select></label>'


def _table(data: dict[str, Any]) -> str:
    """Return the table of operations and dtypes against the levels."""
    bodies: dict[str, list[str]] = {}
    for operation, dtype, entry in entries(data):
        share = entry["worst_share_of_bound"]
        cells = [
            f'<th scope="row" class="again">{safe(operation)}</th>',
            f'<td><a href="#{_key(operation, dtype)}">{safe(dtype)}</a></td>',
            *(f"<td>{word(entry['levels'][level])}</td>" for level in LEVELS),
            f'<td class="number">{entry["answered"]}/{entry["asked"]}</td>',
            f'<td class="number rest">{"" if share is None else f"{share:.2f}"}</td>',
            f'<td class="number rest">{entry["seconds"]:.1f}</td>',
        ]
        row = f'<tr data-entry="{safe(f"{operation} {dtype}")}">{"".join(cells)}</tr>'
        bodies.setdefault(operation, []).append(row)
    headings = ["operation", "dtype", *LEVELS]
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    head += (
        '<th scope="col" class="number">answered</th><th scope="col" class="number rest">error / bound</th>'
    )
    head += '<th scope="col" class="number rest">seconds</th>'
    body = "\n".join(f"<tbody>{''.join(rows)}</tbody>" for rows in bodies.values())
    return (
        f'<div class="scroll"><table class="levels"><thead><tr>{head}</tr></thead>\n{body}\n</table></div>'
        if bodies
        else "<p>Nothing was tried.</p>"
    )


def _failures(data: dict[str, Any]) -> str:
    """Return every failure whole: its message, and the script that shows it again."""
    written = []
    for operation, dtype, entry in entries(data):
        for id, clause in entry["clauses"].items():
            if clause["failure"] is None:
                continue
            script = clause["failure"]["reproduce"]
            key = _key(operation, dtype, id)
            again = (
                f'<p class="script">to see it again <button type="button" data-copies="{key}-script" hidden>'
                f'copy</button></p>\n<pre id="{key}-script">{safe(script)}</pre>'
                if script
                else '<p class="note">It was not tried: the process was lost before its turn.</p>'
            )
            written.append(
                f"<article {_data(operation, dtype, id, clause)}>\n"
                f"<h3>{safe(id)} violated by {safe(operation)} in {safe(dtype)}</h3>\n"
                f'<p class="note">{_claim(clause["claim"])} Level {clause["level"]}.</p>\n'
                f"<pre>{safe(clause['failure']['message'])}</pre>\n{again}\n</article>"
            )
    return "\n".join(written) or "<p>None.</p>"


def evidence(operation: str, dtype: str, entry: dict[str, Any], of: str = "") -> str:
    """Return what is known of an operation in a dtype, clause by clause, of one backend among some."""
    declared = [(name, entry[name]) for name in ("domain", "departures", "arithmetic", "suggestion")]
    said = [
        ("would fit" if name == "suggestion" else name, f"<code>{safe(value)}</code>")
        for name, value in declared
        if value
    ]
    share = entry["worst_share_of_bound"]
    measured = [
        ("error / bound", "" if share is None else f"{share:.2f}"),
        ("seconds", f"{entry['seconds']:.1f}"),
    ]
    facts = as_list(said + measured)
    noteworthy = entry["verdict"] in ("violating", "partial") or entry["suggestion"]
    rows = "\n".join(_clause(operation, dtype, id, clause) for id, clause in entry["clauses"].items())
    headings = ("clause", "claim", "level", "verdict", "answered", "by size", "largest")
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    counts = f"{entry['answered']} answered, {entry['declined']} declined"
    return (
        f'<details id="{of}{_key(operation, dtype)}" data-entry="{safe(f"{operation} {dtype}")}"'
        f"{' open' if noteworthy else ''}>\n<summary><strong>{safe(operation)}</strong> {safe(dtype)} · "
        f'{word(entry["verdict"])} <span class="counts">{counts}</span></summary>\n'
        f'<dl class="facts">{facts}</dl>\n<div class="scroll"><table class="clauses">'
        f"<thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>\n</details>"
    )


def _clause(operation: str, dtype: str, id: str, clause: dict[str, Any]) -> str:
    """Return the row of a clause."""
    sizes = " · ".join(
        f"{size}\xa0{counts['answered']}/{counts['asked']}" for size, counts in clause["by_size"].items()
    )
    why = f' title="{safe(reason(clause))}"' if reason(clause) else ""
    cells = (
        ("answered", f"{clause['answered']}/{clause['asked']}"),
        ("by size", safe(sizes)),
        ("largest", safe(clause["largest"] or "")),
    )
    rest = "".join(f'<td data-name="{name}">{value}</td>' if value else "<td></td>" for name, value in cells)
    return (
        f'<tr {_data(operation, dtype, id, clause)}><th scope="row"><code>{safe(id)}</code></th>'
        f'<td class="claim">{_claim(clause["claim"])}</td><td data-name="level">{clause["level"]}</td>'
        f"<td{why}>{word(clause['verdict'])}</td>{rest}</tr>"
    )


def _data(operation: str, dtype: str, id: str, clause: dict[str, Any]) -> str:
    """Return the attributes by which a result is found."""
    values = {
        "operation": operation,
        "dtype": dtype,
        "clause": id,
        "level": clause["level"],
        "verdict": clause["verdict"],
    }
    return " ".join(f'data-{name}="{safe(value)}"' for name, value in values.items())


def _key(*names: str) -> str:
    return safe("-".join(names))
