"""Trying a clause: draws problems, holds the backend to each, and shrinks what fails."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis.errors import Flaky, Unsatisfiable

from gaugeblock.conformance.backend.subject import Lost, Subject, Unsupported
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.checks.check import Check
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.conformance.trial import Trial, Violation, at_one_element
from gaugeblock.spec.operations import OPERATIONS

PROFILES: Mapping[str, int] = {"quick": 4, "ci": 12, "deep": 400}
"""Examples of a check of ordinary weight."""

ESSENTIAL = ("semantics", "accuracy")
"""Roles whose clauses must be supported for a verdict on the operation: by answers that have elements."""

SHRINK_SECONDS = 15.0
"""How long a failing call may be made smaller."""


@dataclass(frozen=True)
class Case:
    """One test of the suite: a clause, for one operation in one dtype."""

    operation: str
    dtype: str
    clause: str

    def __str__(self) -> str:
        return f"{self.operation}-{self.dtype}-{self.clause}"

    @property
    def check(self) -> Check:
        """The check that tries the clause."""
        return checks_of(OPERATIONS[self.operation])[self.clause]


@dataclass(frozen=True)
class Outcome:
    """What came of a case; plain data, so that it can travel between processes.

    Parameters
    ----------
    verdict
        ``conforming``, ``violating`` or ``unsupported``.
    examples
        Problems put to the backend.
    seconds
        Time it took.
    worst_share_of_bound
        Largest error seen as a share of its bound.
    message, reproduce
        Of a failure: what is wrong, and a script that shows it again.
    """

    verdict: str
    examples: int
    seconds: float
    worst_share_of_bound: float
    message: str | None = None
    reproduce: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Return a dictionary of numbers and strings."""
        return asdict(self)


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    Parameters
    ----------
    profile
        ``quick``, ``ci`` or ``deep``.
    seed
        From which every case's own seed is derived.
    shrink
        Whether to make failing problems small.
    """

    profile: str = "ci"
    seed: int = 0
    shrink: bool = True

    def examples(self, check: Check) -> int:
        """Return the number of examples for a check."""
        return max(2, round(PROFILES[self.profile] * check.share))

    def seed_of(self, case: Case) -> int:
        """Return the case's own seed: selecting other cases does not change it."""
        return zlib.crc32(f"{self.seed}/{case}".encode())


def cases(operations: Iterable[str], dtypes: Sequence[str]) -> list[Case]:
    """Return the cases of operations, those of one operation and dtype together."""
    return [
        Case(name, dtype, clause)
        for name in operations
        for dtype in OPERATIONS[name].dtypes
        if dtype in dtypes
        for clause in checks_of(OPERATIONS[name])
    ]


class _Enough(BaseException):
    """Shrinking has had its time."""


PATIENCE = 5
"""Calls that a backend may answer with ``NotImplementedError`` before it is taken at its word."""


class _Run:
    """The examples of one case."""

    def __init__(self, case: Case, subject: Subject) -> None:
        self.check = case.check
        self.trial = Trial(subject)
        self.examples = 0
        self.unsupported = 0
        self.failure: Violation | None = None
        self.failed_at = 0.0

    def __call__(self, problem: Problem) -> None:
        if self.failure is not None and time.monotonic() - self.failed_at > SHRINK_SECONDS:
            raise _Enough
        try:
            self.check.holds(self.trial, problem)
        except Unsupported:
            self.unsupported += 1
            if self.examples == 0 and self.unsupported == PATIENCE:
                raise _Enough from None
            reject()
        except Violation as violation:
            if self.failure is None:
                self.failed_at = time.monotonic()
            self.failure = violation
            raise
        except Lost as lost:
            self.failure = Violation(problem, str(lost))
            raise
        self.examples += 1

    @property
    def supported(self) -> bool:
        """Whether the backend gave answers that say something about the clause."""
        return self.examples > 0 and (self.trial.elements > 0 or self.check.role not in ESSENTIAL)


def try_case(case: Case, subject: Subject, effort: Effort) -> Outcome:
    """Hold a backend to one clause.

    Parameters
    ----------
    case
        Operation, dtype and clause.
    subject
        The backend.
    effort
        Profile and seed.
    """
    start = time.monotonic()
    run = _Run(case, subject)
    note = ""
    try:
        with np.errstate(all="ignore"):
            _search(case, run, subject, effort)
    except Violation as violation:
        run.failure = violation
    except Unsatisfiable:
        pass  # every example was unsupported
    except Flaky:
        note = "\nit did not fail again when it was repeated: the backend is not deterministic"
    except (Lost, _Enough):
        pass
    done = partial(Outcome, examples=run.examples, worst_share_of_bound=run.trial.worst_share)
    seconds = time.monotonic() - start
    if run.failure is not None:
        run.failure = _alone(run, run.failure)
        script = reproduce(subject.name, case.clause, run.failure.problem)
        return done("violating", seconds=seconds, message=run.failure.reason + note, reproduce=script)
    return done("conforming" if run.supported else "unsupported", seconds=seconds)


def _alone(run: _Run, violation: Violation) -> Violation:
    """Return the violation on the worst element alone, where that shows it too."""
    if violation.element is None:
        return violation
    problem = at_one_element(violation.problem, violation.element)
    if problem is None:
        return violation
    try:
        run.check.holds(Trial(run.trial.subject), problem)
    except Violation as smaller:
        return smaller
    except (Lost, Unsupported):
        pass
    return violation


def _search(case: Case, run: _Run, subject: Subject, effort: Effort) -> None:
    """Try the check's own problems, then draw others until one fails or the examples are spent."""
    operation = OPERATIONS[case.operation]
    arithmetic = subject.arithmetic(case.operation, case.dtype)
    known = _first_failure(run, run.check.always(operation, case.dtype, arithmetic))
    if known is not None and not effort.shrink:
        raise known
    problems = run.check.problems(operation, case.dtype, arithmetic)
    phases = (Phase.generate, Phase.shrink) if effort.shrink else (Phase.generate,)
    configure = settings(
        max_examples=effort.examples(run.check),
        phases=phases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )

    def holds(problem: Problem) -> None:
        run(problem)

    search: Callable[[], None] = seed(effort.seed_of(case))(configure(given(problems)(holds)))
    search()
    if known is not None:
        raise known


def _first_failure(run: _Run, problems: Iterable[Problem]) -> Violation | None:
    """Try problems and return the first violation: drawn ones may yet show it on smaller arrays."""
    for problem in problems:
        try:
            run.check.holds(run.trial, problem)
        except Unsupported:
            continue
        except Violation as violation:
            run.examples += 1
            return violation
        except Lost as lost:
            run.failure = Violation(problem, str(lost))
            raise
        run.examples += 1
    return None


def reproduce(backend: str, clause: str, problem: Problem) -> str:
    """Return a script that puts a problem to a backend again and shows what is wrong."""
    return (
        "from gaugeblock.conformance import Array, Layout, Problem, replay\n\n"
        f"replay({backend!r}, {clause!r}, {problem!r})\n"
    )


def replay(backend: str, clause: str, problem: Problem) -> bool:
    """Hold a backend to a clause on one problem, and print what comes of it.

    Parameters
    ----------
    backend
        As on the command line.
    clause
        Id of a clause that the problem's operation has.
    problem
        The call.

    Returns
    -------
    bool
        Whether the clause held.
    """
    subject = Subject(backend)
    try:
        with np.errstate(all="ignore"):
            Case(problem.operation, problem.dtype, clause).check.holds(Trial(subject), problem)
    except (Violation, Lost) as failure:
        print(f"{clause} violated by {problem.operation} in {problem.dtype}\n{failure}")
        return False
    except Unsupported as error:
        print(f"{problem.operation} in {problem.dtype} is unsupported: {error}")
        return False
    finally:
        subject.close()
    print(f"{clause} holds for {problem.operation} in {problem.dtype}")
    return True
