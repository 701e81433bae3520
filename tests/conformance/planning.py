"""What a run is going to do: the backend, as it describes itself, and the cases."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaugeblock.conformance.backend.declarations import Declarations
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.engine import Case, Effort, cases
from gaugeblock.conformance.problems.shapes import read
from gaugeblock.conformance.reports.report import Report, versions
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Parameters
    ----------
    backend
        The backend's name.
    description
        What the backend says of itself.
    cases
        The tests, in order.
    effort
        Profile and seed.
    time_limit
        Seconds a call may take.
    level
        The level that the verdict is about.
    isolation
        What keeps the backend from the suite.
    shapes
        The file that lists further problems, if there is one.
    budget
        Seconds for a ladder of sizes after the run.
    """

    backend: str
    description: Mapping[str, Any]
    cases: tuple[Case, ...]
    effort: Effort
    time_limit: float
    level: str = "numeric"
    isolation: str = ""
    shapes: Path | None = None
    budget: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before the run."""
        return tuple(self.description.get("notes", ()))

    def sizes(self) -> dict[tuple[str, str], int]:
        """Return the number of cases of each operation and dtype."""
        return dict(Counter((c.operation, c.dtype) for c in self.cases if c.operation in self.operations))

    def report(self) -> Report:
        """Return an empty report."""
        declared = Declarations.read(self.description["declared"])
        return Report(
            self.backend,
            self.description["device"],
            versions(self.description["versions"]),
            self.effort.seed,
            self.effort.profile,
            self.level,
            declared.simulated,
            self.isolation,
            tuple(dict.fromkeys(c.operation for c in self.cases if c.operation not in self.operations)),
            {(c.operation, c.dtype): declared.of(c.operation, c.dtype) for c in self.cases},
            shlex.join(["gaugeblock", *sys.argv[1:]]),
        )

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that the backend has."""
        return tuple(self.description["takes_out"])


def plan(
    backend: str,
    *,
    operations: Iterable[str] | None = None,
    dtypes: Sequence[str] = tuple(FORMATS),
    profile: str = "ci",
    seed: int | None = None,
    shrink: bool = True,
    time_limit: float = 60.0,
    level: str = "numeric",
    shapes: Path | None = None,
    budget: float = 0.0,
) -> Plan:
    """Load a backend once, to learn what it is, and plan the run.

    Parameters
    ----------
    backend
        A file, a module or an adapter.
    operations, dtypes
        What to try; all if not given.
    profile
        How hard: ``quick``, ``ci`` or ``deep``.
    seed
        Of the run; drawn if not given.
    shrink
        Whether to make failing problems small.
    time_limit
        Seconds a call may take.
    level
        The level that the verdict is about.
    shapes
        A file of problems to try besides.
    budget
        Seconds for a ladder of sizes after the run.

    Raises
    ------
    gaugeblock.conformance.problems.shapes.ShapesError
        If that file is not as described.
    gaugeblock.conformance.backend.loading.BackendError
        If it cannot be loaded.
    """
    given = read(shapes) if shapes is not None else ()
    subject = Subject(backend, time_limit)
    subject.close()
    effort = Effort(profile, secrets.randbits(32) if seed is None else seed, shrink, given)
    tried = tuple(cases(operations or OPERATIONS, dtypes))
    return Plan(
        backend, subject.description, tried, effort, time_limit, level, subject.isolation, shapes, budget
    )
