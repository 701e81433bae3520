"""What a store says: the ordinary report of each backend and device, and every violation once.

Several cells ask about one clause: under other seeds, on other shapes, on other ranges. Of an operation in a
format they count as one, violating if one of them is; what each of them said stays in the store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from gaugeblock.conformance.campaign.plan import Plan
from gaugeblock.conformance.campaign.store import Row, Store
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.engine import Case, Effort, Outcome
from gaugeblock.conformance.levels import LEVELS
from gaugeblock.conformance.planning import Plan as Run
from gaugeblock.conformance.reports.data import within, worst
from gaugeblock.conformance.reports.files import ReportError
from gaugeblock.conformance.reports.replaying import read_problem
from gaugeblock.conformance.reports.report import Entry, Report
from gaugeblock.spec.operations import OPERATIONS

FORMAT = 1


@dataclass
class Violation:
    """A clause that an operation breaks on a backend, and in which way.

    Parameters
    ----------
    target, operation, clause, level, cause
        What it is: equal ones are one.
    message, problem, reproduce
        Of the smallest call that showed it.
    size
        Elements of that call.
    dtypes, devices
        Where it was seen.
    cells
        How many cells saw it.
    """

    target: str
    operation: str
    clause: str
    level: str
    cause: str
    message: str = ""
    problem: str | None = None
    reproduce: str | None = None
    size: float = float("inf")
    dtypes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    cells: set[str] = field(default_factory=set)

    def see(self, row: Row) -> None:
        """Take down that a cell saw it too; a smaller call is kept."""
        self.cells.add(row["cell"])
        for seen, name in ((self.dtypes, row["dtype"]), (self.devices, row["device"])):
            if name not in seen:
                seen.append(name)
        size = _size(row["problem"])
        if not self.message or size < self.size:
            self.message, self.problem, self.reproduce, self.size = (
                row["message"], row["problem"], row["reproduce"], size,
            )  # fmt: skip

    def as_data(self) -> dict[str, Any]:
        """Return numbers and strings."""
        names = (
            "target",
            "operation",
            "clause",
            "level",
            "message",
            "problem",
            "reproduce",
            "dtypes",
            "devices",
        )
        return {name: getattr(self, name) for name in names} | {"cells": len(self.cells)}


def cause(message: str) -> str:
    """Return what messages of one cause have in common: the first line without numbers and places.

    >>> cause("result[0, 3] = 1.5, want nan, bound 0")
    'result[#] = #, want nan, bound #'
    """
    first = message.partition("\n")[0]
    number = r"[-+]?(0x[0-9a-f]+|\d+(\.\d*)?(e[-+]?\d+)?)"
    return re.sub(rf"{number}(, {number})*", "#", first)


def _size(problem: str | None) -> float:
    """Return the number of elements of a call that a violation names."""
    try:
        return float(sum(prod(shape) for shape in read_problem(problem or "").shapes.values()))
    except ReportError:
        return float("inf")


@dataclass
class Verdict:
    """What a campaign has found so far.

    Parameters
    ----------
    reports
        By backend and its resources.
    descriptions
        Of backends, as the store has them.
    violations
        Each once, those of the first level first.
    lost
        Cells that gave no result: what they were to try, and why.
    level
        The level that the verdict is about.
    """

    reports: Mapping[str, Report]
    descriptions: Mapping[str, Any]
    violations: list[Violation]
    lost: list[dict[str, Any]]
    level: str

    @property
    def complete(self) -> bool:
        """Whether nothing is left, and nothing was lost."""
        return not self.lost and all(report.complete for report in self.reports.values())

    @property
    def verdict(self) -> str:
        """The verdict on the whole."""
        found = worst(report.verdict for report in self.reports.values())
        return "partial" if found == "conforming" and self.lost else found

    def as_data(self) -> dict[str, Any]:
        """Return it in its public format: a report of format 2 for each backend, and what they share."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "level": self.level,
            "complete": self.complete,
            "violations": [violation.as_data() for violation in self.violations],
            "lost": self.lost,
            "reports": {
                name: report.as_data() | {"environment": self._environment(name)}
                for name, report in self.reports.items()
            },
        }

    def _environment(self, name: str) -> dict[str, Any]:
        return {
            "platform": self.descriptions[name].get("platform", ""),
            "processor": self.descriptions[name]["processor"],
            "cores": None,
        }


def read(plan: Plan, store: Store, level: str, *, complete: bool, seconds: float, command: str) -> Verdict:
    """Sum up what a store has.

    Parameters
    ----------
    plan, store
        Of the campaign.
    level
        The level that the verdict is about.
    complete
        Whether all cells are finished.
    seconds
        How long the run took.
    command
        The command line.
    """
    manifest = store.read("manifest.json") or {"targets": {}}
    descriptions = manifest["targets"]
    reports = {name: _empty(plan, name, description, level) for name, description in descriptions.items()}
    outcomes: dict[tuple[str, Case], Outcome] = {}
    whole: set[tuple[str, str, str]] = set()
    violations: dict[tuple[str, ...], Violation] = {}
    lost: list[dict[str, Any]] = []
    for row in store.query(
        "SELECT * FROM cells ORDER BY target, operation, dtype, kind, cell, first_pattern"
    ):
        report = reports.get(row["target"])
        if report is None:
            continue
        report.isolation = row["isolation"] or report.isolation
        if row["kind"] == "conform":
            whole.add((row["target"], row["operation"], row["dtype"]))
        if row["verdict"] == "lost":
            names = ("target", "kind", "operation", "dtype", "tries", "message")
            lost.append({name: row[name] for name in names})
            continue
        case = Case(row["operation"], row["dtype"], row["clause"])
        outcome = _outcome(row)
        known = outcomes.get((row["target"], case))
        outcomes[row["target"], case] = outcome if known is None else merged(known, outcome)
        if row["verdict"] == "violating" and row["reproduce"]:  # else its process was lost before its turn
            key = (row["target"], row["operation"], row["clause"], row["level"], cause(row["message"] or ""))
            violations.setdefault(key, Violation(*key)).see(row)
    for (target, case), outcome in _in_order(outcomes):
        reports[target].add(case, outcome).partly = (target, case.operation, case.dtype) not in whole
    for report in reports.values():
        report.complete, report.seconds, report.command = complete, seconds, command
    ranked = sorted(violations.values(), key=lambda each: (LEVELS.index(each.level), each.size))
    return Verdict(reports, descriptions, ranked, lost, level)


def _in_order(outcomes: Mapping[tuple[str, Case], Outcome]) -> list[tuple[tuple[str, Case], Outcome]]:
    operations = {name: place for place, name in enumerate(OPERATIONS)}
    clauses = {name: list(checks_of(OPERATIONS[name])) for name in {case.operation for _, case in outcomes}}

    def place(item: tuple[tuple[str, Case], Outcome]) -> tuple[Any, ...]:
        target, case = item[0]
        record = OPERATIONS[case.operation]
        inner = record.dtypes.index(case.dtype), clauses[case.operation].index(case.clause)
        return target, operations[case.operation], *inner

    return sorted(outcomes.items(), key=place)


def _empty(plan: Plan, name: str, description: Mapping[str, Any], level: str) -> Report:
    """Return the report of a backend before anything is in it."""
    target = next(each for each in plan.targets if str(each) == name)
    sections = [section for section in plan.sections if target in section.targets]
    operations = dict.fromkeys(operation for section in sections for operation in section.operations)
    profiles = dict.fromkeys(profile for section in sections for profile in getattr(section, "profiles", ()))
    seeds = [seed for section in sections for seed in getattr(section, "seeds", ())] or [0]
    cases = tuple(
        Case(operation, dtype, clause)
        for operation in operations
        for dtype in OPERATIONS[operation].dtypes
        for clause in checks_of(OPERATIONS[operation])
    )
    run = Run(target.name, description["backend"], cases, Effort("ci", seeds[0]), plan.time_limit, level)
    report = run.report()
    report.profile = ", ".join(profiles) or "campaign"
    report.versions = description["versions"]
    return report


def _outcome(row: Row) -> Outcome:
    """Return an outcome as it came from its cell."""
    memory = {name: size for name, size in json.loads(row["memory"]).items() if size}
    return Outcome(**json.loads(row["outcome"]), seconds=row["seconds"], memory=memory)


_WORST_FIRST = ("violating", "partial", "conforming", "unsupported", "outside")


def merged(one: Outcome, other: Outcome) -> Outcome:
    """Return what two cells say together of one clause."""
    first = min(one, other, key=_badness)
    verdict = first.verdict
    if verdict == "conforming" and "unsupported" in (one.verdict, other.verdict):
        verdict = "partial"  # some of its calls were declined
    return replace(
        first,
        verdict=verdict,
        examples=one.examples + other.examples,
        seconds=one.seconds + other.seconds,
        worst_share_of_bound=max(one.worst_share_of_bound, other.worst_share_of_bound),
        by_size=_added(one.by_size, other.by_size),
        largest=max((one.largest, other.largest), key=len),
        left_out=one.left_out + other.left_out,
        suggestion=one.suggestion or other.suggestion,
        memory={
            name: max(each.memory.get(name, 0) for each in (one, other))
            for name in {**one.memory, **other.memory}
        },
    )


def _badness(outcome: Outcome) -> tuple[Any, ...]:
    """Return a key by which the outcome that tells most comes first: of failures the smallest."""
    level = LEVELS.index(outcome.level) if outcome.level in LEVELS else len(LEVELS)
    return _WORST_FIRST.index(outcome.verdict), level, _size(outcome.problem) if outcome.problem else 0.0


def _added(
    one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    return {
        size: {
            of: one.get(size, {}).get(of, 0) + other.get(size, {}).get(of, 0)
            for of in ("asked", "answered", "declined")
        }
        for size in {**one, **other}
    }


def at_level(violations: Iterable[Violation], level: str) -> list[Violation]:
    """Return the violations that count at a level."""
    return [violation for violation in violations if within(violation.level, level)]


__all__ = ["Entry", "Verdict", "Violation", "at_level", "cause", "merged", "read"]
