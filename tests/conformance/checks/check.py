"""What a check is: a claim, the problems it is tried on, and a function that holds an answer to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hypothesis.strategies import SearchStrategy

from gaugeblock.conformance.levels import Level
from gaugeblock.conformance.problems.factors import Coverage
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.conformance.trial import Trial
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import Operation

Problems = Callable[[Operation, str, Arithmetic], SearchStrategy[Problem]]
Holds = Callable[[Trial, Problem], None]
Always = Callable[[Operation, str, Arithmetic], Iterable[Problem]]
PAIRS = Coverage()


@dataclass(frozen=True)
class Reach:
    """How far a run goes.

    Parameters
    ----------
    slow
        Whether large problems take the device long.
    profile
        How hard to try.
    coverage
        How much a covering array holds.
    """

    slow: bool = False
    profile: str = "ci"
    coverage: Coverage = PAIRS


Further = Callable[[Operation, str, Arithmetic, Reach], Iterable[Problem]]


def _none(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterable[Problem]:
    """Return no problems."""
    return ()


def _no_further(operation: Operation, dtype: str, arithmetic: Arithmetic, reach: Reach) -> Iterable[Problem]:
    """Return no problems."""
    return ()


@dataclass(frozen=True)
class Check:
    """A check, for every operation that has its role.

    Parameters
    ----------
    role
        The role a clause has for an operation (``Operation.clauses``).
    problems
        Returns the strategy that draws its problems.
    holds
        Asks the backend; raises :class:`~gaugeblock.conformance.trial.Violation`.
    share
        Its examples, as a share of the profile's number.
    always
        Returns problems to try in every run, before those that are drawn: sizes and data that real
        kernels were seen to break on, and that chance would meet too rarely.
    further
        Returns problems to try after those, as many and as large as the device and the profile allow: those
        of a covering array, layers of networks.
    level
        The first level of conformance that needs the claim.
    within
        What a declared domain does to its problems: they are ``"fitted"`` into it, or, being what they are,
        as a photograph under a certain kernel is, left out if it does not have them (``"rigid"``), or put
        all the same (``"anywhere"``).
    """

    role: str
    problems: Problems
    holds: Holds
    share: float = 1.0
    always: Always = _none
    level: Level = "numeric"
    within: Literal["fitted", "rigid", "anywhere"] = "fitted"
    further: Further = _no_further

    @property
    def claim(self) -> str:
        """The claim in a sentence: the first line of the function's docstring."""
        return (self.holds.__doc__ or self.role).strip().splitlines()[0]


def by_role(*checks: Check) -> Mapping[str, Check]:
    """Collect checks by their roles."""
    return {check.role: check for check in checks}
