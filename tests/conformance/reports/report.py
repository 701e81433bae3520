"""What a run found: verdicts by operation, dtype, level and clause, as the report has them (format 2)."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from gaugeblock.conformance.engine import ESSENTIAL, NO_EVIDENCE, Case, Outcome
from gaugeblock.conformance.evidence import total
from gaugeblock.conformance.levels import LEVELS, up_to
from gaugeblock.conformance.reports.data import worst

FORMAT = 2


@dataclass
class Ladder:
    """How far a ladder of sizes got.

    Attributes
    ----------
    budget, seconds
        What it was given, and what it took.
    problems, left_out
        Calls that were tried, and those that memory does not hold.
    batch
        The largest batch of which all calls were tried or left out; 1 before the first rung is done.
    complete
        Whether it came to its end.
    """

    budget: float
    seconds: float = 0.0
    problems: int = 0
    left_out: int = 0
    batch: int = 1
    complete: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return it as the report writes it."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def in_words(self) -> str:
        """Say how far it got."""
        if not self.problems and not self.left_out:
            return "ladder of layers: none, for want of time, or as the device is slow"
        reached = "to its end" if self.complete else f"batch {self.batch} complete"
        return (
            f"ladder of layers: {self.problems} calls in {self.seconds:.0f} of {self.budget:g} s, {reached}; "
            f"{self.left_out} too large for the shared memory"
        )


@dataclass
class Entry:
    """All clauses of one operation in one dtype.

    Parameters
    ----------
    cases
        The clauses that were tried, and what came of them.
    declared
        The domain, departures and arithmetic that the backend declares for it.
    partly
        Whether only some clauses were to be tried: the verdict is on those.
    """

    cases: dict[Case, Outcome] = field(default_factory=dict)
    declared: Mapping[str, Any] = field(default_factory=dict)
    partly: bool = False

    @property
    def clauses(self) -> dict[str, Outcome]:
        """What came of each clause."""
        return {case.clause: outcome for case, outcome in self.cases.items()}

    def verdict(self, level: str) -> str:
        """Return the verdict at a level: of the clauses of that level and of those before it.

        Violating if a clause is. Whoever supports nothing refuses every misuse, and may answer what has no
        elements: without an answer to the clauses on semantics and accuracy, that is unsupported. What was
        declined without being declared makes a verdict partial.
        """
        included = up_to(level)
        found = {case: o for case, o in self.cases.items() if (o.level or case.check.level) in included}
        verdicts = {outcome.verdict for outcome in found.values()}
        if "violating" in verdicts:
            return "violating"
        if self.partly:
            worst_one = worst(verdicts)
            return "partial" if worst_one == "conforming" and "unsupported" in verdicts else worst_one
        essential = [o.verdict for case, o in found.items() if case.check.role in ESSENTIAL]
        held = [verdict in ("conforming", "partial") for verdict in essential]
        if not any(held) and not any(
            outcome.verdict in ("conforming", "partial")
            for case, outcome in found.items()
            if case.check.role not in NO_EVIDENCE
        ):
            return "unsupported"
        reached = all(held) and len(held) == len(ESSENTIAL)
        return "conforming" if reached and not verdicts & {"partial", "unsupported"} else "partial"

    @property
    def unreached(self) -> list[str]:
        """The clauses on semantics and accuracy of which a declared domain has no call."""
        return [
            case.clause
            for case, outcome in self.cases.items()
            if case.check.role in ESSENTIAL and outcome.verdict == "outside"
        ]

    @property
    def levels(self) -> dict[str, str]:
        """The verdict at every level."""
        return {level: self.verdict(level) for level in LEVELS}

    @property
    def examples(self) -> int:
        """Problems that the backend was held to."""
        return sum(outcome.examples for outcome in self.cases.values())

    @property
    def seconds(self) -> float:
        """Time spent."""
        return sum(outcome.seconds for outcome in self.cases.values())

    @property
    def worst_share_of_bound(self) -> float:
        """The largest error that was within its bound, as a share of it."""
        return max((outcome.worst_share_of_bound for outcome in self.cases.values()), default=0.0)

    @property
    def suggestion(self) -> str | None:
        """The declaration that would fit, where calls were declined without one."""
        return next((o.suggestion for o in self.cases.values() if o.suggestion), None)

    def calls(self, of: str) -> int:
        """Count the calls that were asked, answered or declined."""
        return sum(total(outcome.by_size, of) for outcome in self.cases.values())

    def with_verdict(self, *verdicts: str) -> list[str]:
        """Return the clauses with one of these verdicts."""
        return [clause for clause, outcome in self.clauses.items() if outcome.verdict in verdicts]

    @property
    def failures(self) -> dict[str, Outcome]:
        """The clauses that are violated."""
        return {clause: outcome for clause, outcome in self.clauses.items() if outcome.verdict == "violating"}

    @property
    def untried(self) -> list[str]:
        """The clauses that count as violated since the process was lost before their turn."""
        return [clause for clause, outcome in self.failures.items() if outcome.reproduce is None]

    def as_data(self, level: str) -> dict[str, Any]:
        """Return the entry as the report writes it."""
        return {
            "verdict": self.verdict(level),
            "levels": self.levels,
            **({"domain": None, "departures": [], "arithmetic": {}} | dict(self.declared)),
            "suggestion": self.suggestion,
            "examples": self.examples,
            **{of: self.calls(of) for of in ("asked", "answered", "declined")},
            "seconds": round(self.seconds, 3),
            "worst_share_of_bound": _finite(self.worst_share_of_bound),
            "clauses": {case.clause: _clause(case, outcome) for case, outcome in self.cases.items()},
        }


def _clause(case: Case, outcome: Outcome) -> dict[str, Any]:
    failure = None
    if outcome.verdict == "violating":
        failure = {
            "message": outcome.message,
            "reproduce": outcome.reproduce,
            "problem": outcome.problem,
        }
    return {
        "level": outcome.level or case.check.level,
        "role": case.check.role,
        "claim": case.check.claim,
        "verdict": outcome.verdict,
        "examples": outcome.examples,
        **{of: total(outcome.by_size, of) for of in ("asked", "answered", "declined")},
        "seconds": round(outcome.seconds, 3),
        "by_size": outcome.by_size,
        "largest": outcome.largest,
        "left_out": outcome.left_out,
        "failure": failure,
    }


def _finite(number: float) -> float | None:
    """Return a number that JSON can write."""
    return number if math.isfinite(number) else None


@dataclass
class Report:
    """A run.

    Parameters
    ----------
    backend, device
        What was tested, and on what.
    versions
        Of everything that took part.
    seed
        Of the run: the same seed draws the same problems.
    profile
        How hard it tried.
    level
        The level that the verdict is about.
    simulated
        Whether the device is a simulated one.
    isolation
        What kept the backend from the suite, and what did not.
    lacking
        Operations of the spec that were asked for and that the backend does not have.
    declared
        What the backend declares for each operation and dtype that it has.
    command
        The command line.
    complete
        Whether the run came to its end.
    ladder
        How far a ladder of sizes got, where one was asked for.
    memory
        Peak memory in bytes, of the suite's processes and of the backend's, where it is known.
    """

    backend: str
    device: str
    versions: Mapping[str, str]
    seed: int
    profile: str = "ci"
    level: str = "numeric"
    simulated: bool = False
    isolation: str = ""
    lacking: tuple[str, ...] = ()
    declared: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    command: str = ""
    complete: bool = False
    seconds: float = 0.0
    memory: dict[str, int | None] = field(default_factory=lambda: {"suite": None, "backend": None})
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    folder: str = field(default_factory=os.getcwd)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    ladder: Ladder | None = None

    def add(self, case: Case, outcome: Outcome) -> Entry:
        """Record an outcome and return the entry it belongs to."""
        key = (case.operation, case.dtype)
        entry = self.entries.setdefault(key, Entry(declared=self.declared.get(key, {})))
        entry.cases[case] = outcome
        for who, size in outcome.memory.items():
            self.memory[who] = max(self.memory[who] or 0, size) or None
        return entry

    @property
    def verdict(self) -> str:
        """The verdict of the whole: the worst one, that of what is unsupported aside."""
        return worst(entry.verdict(self.level) for entry in self.entries.values())

    @property
    def conforming(self) -> bool:
        """Whether something conforms and nothing violates or is declined."""
        return self.verdict == "conforming"

    def as_data(self) -> dict[str, Any]:
        """Return the report in its public format."""
        operations: dict[str, dict[str, Any]] = {}
        for (operation, dtype), entry in self.entries.items():
            operations.setdefault(operation, {})[dtype] = entry.as_data(self.level)
        return {
            "format": FORMAT,
            "backend": self.backend,
            "folder": self.folder,
            "device": self.device,
            "simulated": self.simulated,
            "versions": dict(self.versions),
            "environment": {
                "platform": platform.platform(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
            },
            "isolation": self.isolation,
            "seed": self.seed,
            "profile": self.profile,
            "level": self.level,
            "command": self.command,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
            "memory": dict(self.memory),
            **({} if self.ladder is None else {"ladder": self.ladder.as_data()}),
            "verdict": self.verdict,
            "lacking": list(self.lacking),
            "operations": operations,
        }


def versions(of_backend: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the suite, of what it stands on, and of the backend."""
    packages = ("gaugeblock", "numpy", "hypothesis", "pytest")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return {**found, **of_backend}
