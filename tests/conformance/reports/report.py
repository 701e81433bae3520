"""What a run found: verdicts by operation, dtype and clause, and the JSON report (format 1)."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaugeblock.conformance.engine import ESSENTIAL, Case, Outcome
from gaugeblock.spec.operations import OPERATIONS

FORMAT = 1


@dataclass
class Entry:
    """All clauses of one operation in one dtype.

    Parameters
    ----------
    essential
        The clauses on the operation's semantics and accuracy.
    """

    essential: frozenset[str]
    clauses: dict[str, Outcome] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Violating if a clause is; conforming if the essential ones are; unsupported otherwise.

        Whoever supports nothing refuses every misuse, and may answer what has no elements: that keeps other
        clauses, and means nothing.
        """
        if self.failures:
            return "violating"
        kept = {clause for clause, outcome in self.clauses.items() if outcome.verdict == "conforming"}
        return "conforming" if self.essential <= kept else "unsupported"

    @property
    def examples(self) -> int:
        """Problems put to the backend."""
        return sum(outcome.examples for outcome in self.clauses.values())

    @property
    def seconds(self) -> float:
        """Time spent."""
        return sum(outcome.seconds for outcome in self.clauses.values())

    @property
    def worst_share_of_bound(self) -> float:
        """The largest error that was within its bound, as a share of it."""
        return max((outcome.worst_share_of_bound for outcome in self.clauses.values()), default=0.0)

    @property
    def unsupported(self) -> list[str]:
        """The clauses the backend does not support."""
        return [clause for clause, outcome in self.clauses.items() if outcome.verdict == "unsupported"]

    @property
    def failures(self) -> dict[str, Outcome]:
        """The clauses that are violated."""
        return {clause: outcome for clause, outcome in self.clauses.items() if outcome.verdict == "violating"}

    @property
    def untried(self) -> list[str]:
        """The clauses that count as violated since the process was lost before their turn."""
        return [clause for clause, outcome in self.failures.items() if outcome.reproduce is None]

    def as_data(self) -> dict[str, Any]:
        """Return the entry as the report writes it."""
        return {
            "verdict": self.verdict,
            "examples": self.examples,
            "seconds": round(self.seconds, 3),
            "worst_share_of_bound": _finite(self.worst_share_of_bound),
            "clauses": {clause: _clause(outcome) for clause, outcome in self.clauses.items()},
        }


def _clause(outcome: Outcome) -> dict[str, Any]:
    failure = None
    if outcome.verdict == "violating":
        failure = {"message": outcome.message, "reproduce": outcome.reproduce}
    return {"verdict": outcome.verdict, "examples": outcome.examples, "failure": failure}


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
    """

    backend: str
    device: str
    versions: Mapping[str, str]
    seed: int
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def add(self, case: Case, outcome: Outcome) -> Entry:
        """Record an outcome and return the entry it belongs to."""
        roles = OPERATIONS[case.operation].clauses
        new = Entry(frozenset(roles[role] for role in ESSENTIAL))
        entry = self.entries.setdefault((case.operation, case.dtype), new)
        entry.clauses[case.clause] = outcome
        return entry

    @property
    def conforming(self) -> bool:
        """Whether something conforms and nothing violates."""
        verdicts = {entry.verdict for entry in self.entries.values()}
        return "conforming" in verdicts and "violating" not in verdicts

    def as_data(self) -> dict[str, Any]:
        """Return the report in its public format."""
        operations: dict[str, dict[str, Any]] = {}
        for (operation, dtype), entry in self.entries.items():
            operations.setdefault(operation, {})[dtype] = entry.as_data()
        return {
            "format": FORMAT,
            "backend": self.backend,
            "device": self.device,
            "versions": dict(self.versions),
            "seed": self.seed,
            "operations": operations,
        }

    def write(self, file: Path) -> None:
        """Write the report as JSON."""
        file.write_text(
            json.dumps(self.as_data(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


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
