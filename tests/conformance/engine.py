"""Trying a clause: draws problems, holds the backend to each, and shrinks what fails."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.subject import CallFailed, Lost, Subject, Unsupported
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.checks.check import Check, Reach
from gaugeblock.conformance.checks.layers import LAYERS, listed
from gaugeblock.conformance.evidence import Notebook, own_peak, total
from gaugeblock.conformance.levels import LEVELS
from gaugeblock.conformance.problems.factors import Coverage
from gaugeblock.conformance.problems.fitting import fit
from gaugeblock.conformance.problems.probes import probes, variations
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.conformance.problems.shapes import MOST, Given
from gaugeblock.conformance.suggestion import suggest
from gaugeblock.conformance.trial import Outside, Trial, Violation, at_one_element
from gaugeblock.spec.operations import OPERATIONS

PROFILES: Mapping[str, int] = {"quick": 4, "ci": 12, "deep": 400}
"""Examples of a check of ordinary weight."""

QUICK = 6
"""Of so many rows of a covering array the profile ``quick`` tries one."""

ESSENTIAL = ("semantics", "accuracy")
"""Roles whose clauses must be supported for a verdict on the operation: by answers that have elements."""

NO_EVIDENCE = ("empty", "constraints", "out_fits", "out_overlaps", "answers", "refuses")
"""Roles of clauses that who computes nothing can keep."""

SHRINK_SECONDS = 15.0
"""How long a failing call may be made smaller."""


MOST_FITTED = 1 << 21
"""Elements up to which an array may grow by being fitted: many small matrices become large ones."""

SIZED_SECONDS = 120.0
"""How long ever larger problems are put to a backend that does not say that it is slow, and is."""

LARGE = 1 << 17
"""Work (:attr:`Problem.work`) beyond which a problem takes the simulated device about a second."""

PROBE_SECONDS = 8.0
"""How long a call is searched for that a backend answers which has declined all others."""


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
        ``conforming``; ``violating``; ``partial``: it held where the backend answered, and some calls were
        declined; ``unsupported``: all were; ``outside``: the declared domain leaves nothing to ask.
    examples
        Problems that the backend was held to.
    seconds
        Time it took.
    worst_share_of_bound
        Largest error seen as a share of its bound.
    message, reproduce
        Of a failure: what is wrong, and a script that shows it again.
    problem
        Of a failure: the call, as its ``repr``.
    by_size
        Calls asked, answered and declined, by their size.
    largest
        Shapes of the largest call that was answered.
    left_out
        Layers of networks that were not tried for want of time.
    suggestion
        Where calls were declined: the declaration that would fit.
    level
        The level that a failure belongs to, where that is not the clause's own: a number that is wrong only
        after other calls breaks the first.
    memory
        Most bytes that the suite's process and the backend's have used so far.
    """

    verdict: str
    examples: int = 0
    seconds: float = 0.0
    worst_share_of_bound: float = 0.0
    message: str | None = None
    reproduce: str | None = None
    problem: str | None = None
    by_size: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    largest: str = ""
    left_out: int = 0
    suggestion: str | None = None
    level: str | None = None
    memory: Mapping[str, int] = field(default_factory=dict)

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
    given
        Problems that the user lists, tried beside the layers of networks.
    """

    profile: str = "ci"
    seed: int = 0
    shrink: bool = True
    given: tuple[Given, ...] = ()

    def examples(self, check: Check, formats: int = 1) -> int:
        """Return the number of examples for a check, of each of so many formats that share them."""
        return max(2, round(PROFILES[self.profile] * check.share * 2 / (1 + formats)))

    @property
    def coverage(self) -> Coverage:
        """What a covering array holds: every pair, a part of that if there is little time, every triple."""
        return Coverage(
            3 if self.profile == "deep" else 2, self.seed, QUICK if self.profile == "quick" else 1
        )

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


class _Run:
    """The examples of one case."""

    def __init__(self, case: Case, subject: Subject, notes: Notebook) -> None:
        self.check = case.check
        self.trial = Trial(subject, notes, (case.operation, case.dtype))
        self.trial.remembers = self.check.role == "layouts"
        self.domain = subject.declared.domain_of(case.operation)
        self.departures = subject.declared.departures_of(case.operation)
        self.examples = self.left_out = 0
        self.failure: Violation | None = None
        self.failed_at = 0.0

    def __call__(self, problem: Problem) -> None:
        """Put a problem, and raise what it violates."""
        if self.failure is not None and time.monotonic() - self.failed_at > SHRINK_SECONDS:
            raise _Enough
        violation = self.attempt(problem)
        if violation is not None:
            if self.failure is None:
                self.failed_at = time.monotonic()
            self.failure = violation
            raise violation

    def attempt(self, problem: Problem) -> Violation | None:
        """Put a problem, in the form that the domain has, and return what it violates."""
        inside = self.within_domain(problem)
        if inside is None or inside.elements > MOST:
            return None
        try:
            self.check.holds(self.trial, inside)
        except (Unsupported, Outside):
            return None
        except (ValueError, IndexError, MemoryError):
            if self.domain.whole:
                raise
            return None  # the claim is not one about the form that the domain has
        except Violation as violation:
            return violation
        except Lost as lost:
            self.failure = Violation(inside, str(lost))
            raise
        self.examples += 1
        return None

    @property
    def declined_all(self) -> bool:
        """Whether the backend was asked, and has answered nothing."""
        by_size = self.trial.evidence.as_data()["by_size"]
        return bool(by_size) and not total(by_size, "answered")

    def within_domain(self, problem: Problem) -> Problem | None:
        """Return the problem in the form that the backend's declarations leave, if there is one."""
        problem = replace(problem, departures=self.departures)
        if self.check.within == "anywhere" or problem.inside(self.domain):
            return problem
        if self.check.within != "fitted":
            return None
        fitted = fit(problem, self.domain)
        fits = fitted is not None and fitted.elements <= max(problem.elements, MOST_FITTED)
        return fitted if fits else None

    def verdict(self, by_size: Mapping[str, Mapping[str, int]]) -> str:
        """Return what can be said of the clause."""
        if self.failure is not None:
            return "violating"
        answered = self.examples > 0 and total(by_size, "answered") > 0
        if self.check.role in ESSENTIAL and 2 * self.trial.bounded < self.trial.compared:
            return "partial"  # most of what was seen has no bound: nothing was demanded of it
        if answered and (self.trial.elements > 0 or self.check.role in NO_EVIDENCE):
            return "partial" if total(by_size, "declined") else "conforming"
        return "unsupported" if total(by_size, "declined") else "outside"


class Examiner:
    """Holds a backend to one clause after the other.

    Parameters
    ----------
    subject
        The backend.
    effort
        Profile and seed.
    """

    def __init__(self, subject: Subject, effort: Effort) -> None:
        self.subject = subject
        self.effort = effort
        self.notes: dict[tuple[str, str], Notebook] = {}
        self.lost: dict[tuple[str, str], str] = {}

    def go_on(self, case: Case, problems: Iterable[Problem] | None = None) -> Outcome:
        """Examine, unless the process was lost before: each further try would cost a time limit."""
        key = (case.operation, case.dtype)
        if key in self.lost:
            return Outcome("violating", message=f"not tried: {self.lost[key]}")
        losses = self.subject.losses
        outcome = self.examine(case, problems)
        if self.subject.losses > losses:
            self.lost[key] = (outcome.message or "").partition("\n")[0]
        return outcome

    def examine(self, case: Case, problems: Iterable[Problem] | None = None) -> Outcome:
        """Hold the backend to one clause, on these problems alone if there are any."""
        if case.operation not in self.subject.operations:
            return Outcome("unsupported")
        if case.dtype not in self.subject.declared.domain_of(case.operation).dtypes:
            return Outcome("outside")
        start = time.monotonic()
        notes = self.notes.setdefault((case.operation, case.dtype), Notebook())
        run = _Run(case, self.subject, notes)
        note = ""
        try:
            with np.errstate(all="ignore"):
                if problems is None:
                    _search(case, run, self.effort)
                elif (violation := _first_failure(run, problems)) is not None:
                    raise violation
                self.subject.release()
        except Violation as violation:
            run.failure = violation
        except CallFailed as failure:
            assert run.trial.last is not None  # whose result, or that of a call before, it is
            run.failure = Violation(run.trial.last, f"{case.operation} {failure}")
        except Flaky:
            note = "\nit did not fail again when it was repeated: the backend is not deterministic"
        except (Lost, _Enough):
            pass
        seconds = time.monotonic() - start
        evidence = run.trial.evidence.as_data()
        done = partial(
            Outcome,
            run.verdict(evidence["by_size"]),
            examples=run.examples,
            left_out=run.left_out,
            seconds=seconds,
            worst_share_of_bound=run.trial.worst_share,
            memory={"suite": own_peak(), "backend": self.subject.peak_memory},
            **evidence,
        )
        if run.failure is not None:
            level = None
            if run.check.level != LEVELS[0] and run.failure.wrong and self.is_right_anew(case, run.failure):
                level, note = LEVELS[0], note + "\nit is right in a new process: calls before it are to blame"
            run.failure = _alone(run, run.failure)
            problem = run.failure.problem
            script = reproduce(self.subject.name, case.clause, problem)
            return done(
                message=run.failure.reason + note, reproduce=script, problem=repr(problem), level=level
            )
        if run.check.role == "answers" and notes.declined:
            return done(suggestion=suggest(notes))
        return done()

    def is_right_anew(self, case: Case, violation: Violation) -> bool:
        """Whether a call that broke a clause keeps it in a new process."""
        try:
            self.subject.start()
            with np.errstate(all="ignore"):
                case.check.holds(Trial(self.subject), violation.problem)
        except (Violation, Unsupported, Outside, CallFailed, Lost, BackendError):
            return False
        return True


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
    except (Lost, Unsupported, Outside):
        pass
    return violation


def _search(case: Case, run: _Run, effort: Effort) -> None:
    """Try the check's own problems, then draw others until one fails or the examples are spent."""
    operation = OPERATIONS[case.operation]
    arithmetic = run.trial.declared.arithmetic_of(case.operation, case.dtype)
    about = operation, case.dtype, arithmetic
    slow = run.trial.declared.slow
    formats, large, part = [case.dtype], LARGE, 1  # formats that share the work
    if slow and effort.profile != "deep":
        formats = [dtype for dtype in operation.dtypes if dtype in run.domain.dtypes]
    if slow and effort.profile == "quick":
        large, part = LARGE // 16, QUICK
    always = run.check.always(*about)
    further = run.check.further(*about, Reach(slow, effort.profile, effort.coverage))
    if run.check is LAYERS:
        further = chain(listed(effort.given, *about), _in_time(run, further))
    elif slow and run.check.role not in NO_EVIDENCE:
        always = shared_out(always, formats, large, part)
        further = shared_out(further, formats)
    always = chain(always, further)
    if run.check.role == "answers":  # what another clause was declined
        always = chain(tuple(run.trial.notes.declined), always)  # asking may add to them
    known = _first_failure(run, always)
    if known is None and run.check.role == "semantics" and run.declined_all:
        known = _first_failure(run, _until_answered(run, probes(operation, case.dtype)))
    if known is not None and not effort.shrink:
        raise known
    problems = run.check.problems(*about)
    phases = (Phase.generate, Phase.shrink) if effort.shrink else (Phase.generate,)
    configure = settings(
        max_examples=effort.examples(run.check, len(formats)),
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
    tried = set()
    for problem in problems:
        inside = run.within_domain(problem)
        if inside is not None and repr(inside) not in tried:  # a narrow domain makes many problems the same
            tried.add(repr(inside))
            violation = run.attempt(inside)
            if violation is not None:
                return violation
    return None


def _in_time(run: _Run, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield ever larger problems until one takes the backend long, or all together do; count the others."""
    start = last = time.monotonic()
    rest = iter(problems)
    for problem in rest:
        yield problem
        now = time.monotonic()
        if now - last > run.trial.subject.time_limit / 4 or now - start > SIZED_SECONDS:
            run.left_out = sum(1 for _ in rest)
        last = now


def shared_out(
    problems: Iterable[Problem], dtypes: Sequence[str], beyond: int = 0, part: int = 1
) -> Iterator[Problem]:
    """Yield problems, of those of much work one of so many, that which falls to its format."""
    for problem in problems:
        share = zlib.crc32(repr((problem.shapes, problem.parameters)).encode()) % (len(dtypes) * part)
        if problem.work <= beyond or share == part * dtypes.index(problem.dtype):
            yield problem


def _until_answered(run: _Run, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield problems for as long as all are declined and there is time; then others like the one answered."""
    end = time.monotonic() + PROBE_SECONDS
    for problem in problems:
        if time.monotonic() > end:
            return
        yield problem
        if not run.declined_all:
            yield from variations(problem)
            return


def reproduce(backend: str, clause: str, problem: Problem) -> str:
    """Return a script that puts a problem to a backend again, and fails where it is answered wrongly."""
    return (
        "from gaugeblock.conformance import Array, Layout, Problem, replay\n\n"
        f"raise SystemExit(not replay({backend!r}, {clause!r}, {problem!r}))\n"
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
            check, trial = Case(problem.operation, problem.dtype, clause).check, Trial(subject)
            end = time.monotonic() + 2.0
            for _ in range(16):  # a result that changes afterwards may need some calls more
                check.holds(trial, problem)
                if time.monotonic() > end:
                    break
            subject.release()
    except (Violation, CallFailed, Lost) as failure:
        print(f"{clause} violated by {problem.operation} in {problem.dtype}\n{failure}")
        return False
    except Unsupported as error:
        print(f"{problem.operation} in {problem.dtype} is unsupported: {error}")
        return False
    except Outside:
        print(f"{problem.operation} in {problem.dtype}: the call is outside of the declared domain")
        return False
    finally:
        subject.close()
    print(f"{clause} holds for {problem.operation} in {problem.dtype}")
    return True
