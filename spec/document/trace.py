"""Which tests check a clause, and what the last run of them said.

Two kinds of files say it: the trace that our own tests write (``pytest --spec-trace FILE.json``), and the
report of the suite (``gaugeblock conform BACKEND --report FILE.json``).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gaugeblock.spec.clauses import load, pages
from gaugeblock.spec.document.chapters import Chapter, concept_of, linked
from gaugeblock.spec.document.tree import Node, code, header, link, paragraph, span, table, text

__all__ = ["Claim", "Trace", "TraceError", "Verdict", "read_traces", "traceability"]

#: Of a test, or of a check of the suite on one operation.
Verdict = Literal[
    "failed",
    "violating",
    "partial",
    "passed",
    "conforming",
    "skipped",
    "unsupported",
    "outside",
    "not run",
]

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class TraceError(ValueError):
    """A file is no trace; the message is one line."""


@dataclass(frozen=True)
class Claim:
    """A check of the suite.

    Attributes
    ----------
    name : str
        Its role, ``"special_values"``.
    words : str
        What it claims, in a sentence.
    operations : tuple of str
        The operations that it is tried on for one clause.
    """

    name: str
    words: str
    operations: tuple[str, ...]


@dataclass
class Trace:
    """What runs said.

    Attributes
    ----------
    tests : dict
        For every clause the tests that name it, with their verdicts.
    suite : dict
        For every clause the operations that the suite tried it on, with its verdicts.
    runs : list of str
        Which runs these were, a sentence each.
    """

    tests: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    suite: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tests or self.suite)

    def untested(self, suite: Mapping[str, Sequence[Claim]]) -> list[str]:
        """Return the clauses that neither a test nor a check of the suite names."""
        return [clause for clause in load() if not self.tests.get(clause) and not suite.get(clause)]


def read_traces(paths: Iterable[Path]) -> Trace:
    """Read traces and reports; of a folder all files that end in ``.json``, in the order of their names.

    Where two files speak of one test, a verdict counts more than none, and the later one more.

    Raises
    ------
    TraceError
        If a file cannot be read, or is neither a trace nor a report.
    """
    trace = Trace()
    for path in paths:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            try:
                _add(trace, json.loads(file.read_text("utf-8")))
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise TraceError(f"{file} is neither a trace nor a report of a run: {error}") from error
    return trace


def _add(trace: Trace, data: Any) -> None:
    """Add the content of a file."""
    known_format = 1 if "clauses" in data else 2
    if data["format"] != known_format:
        raise ValueError(f"its format is {data['format']}, not {known_format}")
    if "clauses" in data:
        if data["date"]:
            trace.runs.append(f"Tests of the project, {data['date']}, {_versions(data)}.")
        for clause, tests in data["clauses"].items():
            for test, counts in tests.items():
                _set(trace.tests.setdefault(clause, {}), test, _verdict(counts))
        return
    trace.runs.append(
        f"Suite on {data['backend']}, {data['device']}, seed {data['seed']}, {_versions(data)}."
    )
    for operation, formats in data["operations"].items():
        for entry in formats.values():
            for clause, found in entry["clauses"].items():
                known = trace.suite.setdefault(clause, {})
                known[operation] = _worst([known.get(operation, "not run"), found["verdict"]])


def _versions(data: Mapping[str, Any]) -> str:
    versions = data["versions"]
    return (
        f"gaugeblock {versions.get('gaugeblock', 'of unknown version')}, Python {versions.get('python', '?')}"
    )


def _set(tests: dict[str, Verdict], test: str, verdict: Verdict) -> None:
    if verdict != "not run" or test not in tests:
        tests[test] = verdict


def _verdict(counts: Mapping[str, int]) -> Verdict:
    """Return the verdict on a test from the number of its cases with each verdict: the worst of them."""
    return _worst(verdict for verdict in _VERDICTS if counts.get(verdict))


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return min(verdicts, key=_VERDICTS.index, default="not run")


def traceability(trace: Trace, suite: Mapping[str, Sequence[Claim]], operations: int) -> Chapter:
    """Return the chapter that lists, for every clause, its tests and checks and their last verdict.

    Without a trace it lists the checks, each once: a verdict of "not run" on every clause says nothing.

    Parameters
    ----------
    trace : Trace
        What runs said; empty where there was none.
    suite : mapping of str to sequence of Claim
        For every clause the checks of the suite.
    operations : int
        How many operations there are, to say "all".
    """
    if not trace:
        checks = table(("Check of the suite", "Clauses"), _checks(suite), "trace")
        return _chapter([paragraph(text(_NO_TRACE)), checks])
    blocks = [paragraph(text(_LEAD))]
    if trace.runs:
        blocks.append({"t": "BulletList", "c": [[{"t": "Plain", "c": text(run)}] for run in trace.runs]})
    else:
        blocks.append(paragraph(text(_COLLECTED)))
    by_page: dict[str, list[str]] = {}
    for clause in load().values():
        by_page.setdefault(clause.page, []).append(clause.id)
    for page, clauses in by_page.items():
        concept = concept_of(page)
        title = pages()[page].partition("\n")[0].removeprefix("# ")
        blocks.append(header(2, text(title), f"traceability-{concept}"))
        rows = [_row(clause, trace, suite.get(clause, ()), operations) for clause in clauses]
        blocks.append(table(("Clause", "Checked by", "Last verdict"), rows, "trace"))
    return _chapter(blocks)


def _chapter(blocks: list[Node]) -> Chapter:
    return Chapter("traceability", None, "Traceability", blocks)


def _checks(suite: Mapping[str, Sequence[Claim]]) -> Iterator[list[list[Node]]]:
    """Yield the cells of each check, with all clauses that it tries."""
    clauses: dict[tuple[str, str], list[str]] = {}
    for clause in load():
        for claim in suite.get(clause, ()):
            clauses.setdefault((claim.name, claim.words), []).append(clause)
    for (name, words), tried in clauses.items():
        named = linked(text(", ".join(dict.fromkeys(tried))))
        yield [[{"t": "Plain", "c": _claim(name, words)}], [{"t": "Plain", "c": named}]]


_LEAD = (
    "Which tests check a clause, and what the last run of them said. A test of the project is named by its "
    "file and its function. Of the suite, which anyone can run on kernels of their own, a check is given "
    "with its claim and the operations that it is tried on."
)
_NO_TRACE = (
    "What the suite tries, which anyone can run on kernels of their own. This copy was built without a "
    "record of a run. With one, by gaugeblock spec --build DIR --trace FILE.json, this chapter lists the "
    "tests of every clause, and what the last run said of each."
)
_COLLECTED = (
    "The tests were collected, but no run was given when this document was built: there are no verdicts."
)


def _row(clause: str, trace: Trace, claims: Sequence[Claim], operations: int) -> list[list[Node]]:
    """Return the cells of a clause."""
    title = load()[clause].title
    anchor = span([link(text(clause), f"#{clause}", "clause-link", title=title)], id=f"trace-{clause}")
    tests = trace.tests.get(clause, {})
    items = [[{"t": "Plain", "c": [code(test)]}] for test in sorted(tests)]
    items += [[{"t": "Plain", "c": _claim_on_operations(claim, operations)}] for claim in claims]
    checks: list[Node] = (
        [{"t": "BulletList", "c": items}] if items else [{"t": "Plain", "c": text("nothing")}]
    )
    verdicts = [
        *_counted(tests.values(), "test"),
        *_counted(trace.suite.get(clause, {}).values(), "operation"),
    ]
    return [[{"t": "Plain", "c": [anchor]}], checks, verdicts or [{"t": "Plain", "c": text("not run")}]]


def _counted(verdicts: Iterable[Verdict], thing: str) -> Iterator[Node]:
    """Yield a line for every verdict that occurs, with its number."""
    for verdict, number in sorted(Counter(verdicts).items(), key=lambda item: _VERDICTS.index(item[0])):
        words = f"{number} {thing}{'s' if number > 1 else ''} {verdict}"
        yield paragraph([span(text(words), f"verdict-{verdict.replace(' ', '-')}")])


def _claim(name: str, sentence: str) -> list[Node]:
    """Return a check of the suite in words."""
    shown = [code(name), *text(": ")]
    for number, part in enumerate(sentence.split("``")):
        shown += [code(part)] if number % 2 else text(part)
    return shown


def _claim_on_operations(claim: Claim, operations: int) -> list[Node]:
    """Return a check of the suite in words, with what it is tried on."""
    shown = [*text("Suite, check "), *_claim(claim.name, claim.words), *text(" On ")]
    if len(claim.operations) == operations:
        return [*shown, *text("all operations.")]
    for number, name in enumerate(claim.operations):
        shown += [*(text(", ") if number else ()), code(name)]
    return [*shown, {"t": "Str", "c": "."}]
