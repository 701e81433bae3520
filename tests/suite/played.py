"""A backend that is played in this process: right, but for the calls of one clause.

The checks speak to it as to any backend. It answers with the reference's result, rounded once, refuses every
misuse, and takes down under which clause each call came. In a second run it is wrong where, and only where, a
call is one that no other clause makes: a mutant that breaks one clause alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from gaugeblock.conformance.backend.declarations import Declarations
from gaugeblock.conformance.backend.subject import Answer, Unsupported
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.engine import Case, Effort, Examiner, Outcome
from gaugeblock.conformance.problems.problem import Floats, Problem
from gaugeblock.spec.accuracy import FORMATS, round_to
from gaugeblock.spec.operations import OPERATIONS

EFFORT = Effort("quick", 1, shrink=False)
DTYPE = "float32"
DOMAIN = {"rank": 2}
"""What is declared where a clause is about a domain."""


@dataclass
class Played:
    """What stands in for :class:`~gaugeblock.conformance.backend.subject.Subject`.

    Parameters
    ----------
    operation
        The one that it has.
    domain
        What it declares.
    faulty
        The calls to answer wrongly.

    Attributes
    ----------
    clause
        The clause that is being tried.
    seen
        The clauses under which each call came.
    """

    operation: str
    domain: Mapping[str, Any] = field(default_factory=dict)
    faulty: frozenset[str] = frozenset()
    clause: str = ""
    seen: dict[str, set[str]] = field(default_factory=dict)
    name: str = "played"
    peak_memory: int = 0
    time_limit: float = 60.0
    wrong: int = 0

    @property
    def declared(self) -> Declarations:
        """What it declares."""
        return Declarations.read({"domain": {self.operation: self.domain}} if self.domain else {})

    @property
    def operations(self) -> tuple[str, ...]:
        """The operation that it has."""
        return (self.operation,)

    @property
    def twin(self) -> Played:
        """Itself: it has no state but the number of its faults."""
        return self

    def takes_out(self, operation: str) -> bool:
        """Say that it does."""
        return True

    def start(self) -> None:
        """Do nothing."""

    release = close = start

    def _is_wrong(self, problem: Problem, values: Mapping[str, Floats] | None) -> bool:
        data = b"".join(array.tobytes() for array in (values or {}).values())
        key = f"{problem!r}{sorted(values or {})}{hashlib.sha1(data).hexdigest()}"
        self.seen.setdefault(key, set()).add(self.clause)
        self.wrong += key in self.faulty
        return key in self.faulty

    def call(
        self, problem: Problem, *, watch: bool = False, values: Mapping[str, Floats] | None = None
    ) -> Answer:
        """Answer as the reference does, or wrongly, never twice in the same way."""
        wrong = self._is_wrong(problem, values)
        if wrong and self.clause == "GEN-S9":
            raise Unsupported("this one not")
        with np.errstate(all="ignore"):
            arguments = {**problem.arguments(), **(values or {})}
            exact = np.asarray(problem.record.reference(**arguments, **problem.parameters))
            if problem.record.result_dtype != "same":
                return Answer(exact + wrong)
            raw = round_to(exact, FORMATS[problem.dtype]).astype(FORMATS[problem.dtype].dtype)
            if wrong and self.clause not in ("GEN-S3", "GEN-S4"):
                noise = np.resize((self.wrong, -self.wrong), raw.shape)
                raw = np.asarray(np.where(np.isfinite(raw), 2 * raw + noise, 1), raw.dtype)
        return Answer(raw, ("wrote outside out", "changed its input x") if wrong else ())

    def refusal(self, problem: Problem) -> str | None:
        """Refuse, or not."""
        if self._is_wrong(problem, None):
            return None
        if self.clause == "GEN-S10":
            raise Unsupported("outside")
        return "refused"


def outcomes(played: Played, clauses: tuple[str, ...]) -> dict[str, Outcome]:
    """Hold a played backend to clauses of its operation."""
    examiner = Examiner(played, EFFORT)  # type: ignore[arg-type]  # what it uses of a subject is here
    found = {}
    for clause in clauses:
        played.clause = clause
        found[clause] = examiner.examine(Case(played.operation, DTYPE, clause))
    return found


def domain_of(clause: str) -> Mapping[str, Any]:
    """Return what has to be declared for a clause to ask anything."""
    return DOMAIN if clause in ("GEN-S9", "GEN-S10") else {}


@cache
def calls(operation: str, about_a_domain: bool) -> Mapping[str, set[str]]:
    """Return the calls that the clauses of an operation make, each with the clauses that make it."""
    played = Played(operation, DOMAIN if about_a_domain else {})
    for clause, outcome in outcomes(played, tuple(checks_of(OPERATIONS[operation]))).items():
        assert outcome.verdict in ("conforming", "outside"), (operation, clause, outcome.message)
    return played.seen


def alone(operation: str, clause: str) -> Outcome:
    """Return what becomes of a clause where the calls that it alone makes are answered wrongly.

    No other clause makes them, so that no other can be violated by this backend.
    """
    domain = domain_of(clause)
    seen = calls(operation, bool(domain))
    faulty = frozenset(call for call, clauses in seen.items() if clauses == {clause})
    (outcome,) = outcomes(Played(operation, domain, faulty), (clause,)).values()
    return outcome
