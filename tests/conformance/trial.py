"""One clause on trial: asking the backend, judging its answers, and saying precisely what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend.subject import Answer, CallFailed, Subject, Unsupported
from gaugeblock.conformance.comparison import Comparison, place
from gaugeblock.conformance.evidence import SMALL, Evidence, Notebook
from gaugeblock.conformance.problems.problem import Array, Floats, Problem
from gaugeblock.conformance.problems.sparse import exactly
from gaugeblock.spec import accuracy
from gaugeblock.spec.domain import Domain


class Violation(Exception):
    """A backend's answer breaks a clause.

    Parameters
    ----------
    problem
        The call that showed it.
    reason
        What is wrong, in one or a few lines.
    element
        Flat index of the worst element, where the violation is one of elements.
    wrong
        Whether an element is beyond its bound, and not only different from that of another call.
    """

    def __init__(
        self, problem: Problem, reason: str, element: int | None = None, *, wrong: bool = False
    ) -> None:
        super().__init__(reason)
        self.problem = problem
        self.reason = reason
        self.element = element
        self.wrong = wrong


class Outside(Exception):
    """A check would ask something that the declared domain leaves out."""


class Trial:
    """Puts problems to a backend on behalf of a check, and takes down what came of each.

    Parameters
    ----------
    subject
        The backend.
    notes
        Where calls are noted besides.
    judged
        The operation and the format that are judged, if it is one: other calls are no evidence.

    Attributes
    ----------
    evidence
        Which calls were asked and answered.
    worst_share
        The largest error seen, as a share of its bound.
    errs_alone
        Whether a call was seen to be wrong in a new process too: no earlier call is to blame then.
    compared, bounded
        Number of elements that were held to a bound, and of those to a finite one.
    last
        The last call that was asked.
    remembers
        Whether answers are kept for the clause that comes next: see :meth:`recall`.
    elements
        Number of elements in all answers so far.
    """

    def __init__(
        self, subject: Subject, notes: Notebook | None = None, judged: tuple[str, str] | None = None
    ) -> None:
        self.subject = subject
        self.judged = judged
        self.declared = subject.declared
        self.notes = notes or Notebook()
        self.evidence = Evidence()
        self.compared = self.bounded = 0
        self.remembers = False
        self.last: Problem | None = None
        self.worst_share = 0.0
        self.errs_alone = False
        self.elements = 0
        self._plain: tuple[str, Answer] | None = None

    def sums_exactly(self, problem: Problem) -> bool:
        """Whether there are integers that the declared arithmetic adds up without rounding (GEMM-A2)."""
        record, arithmetic = problem.record, self.arithmetic(problem)
        terms = (record.reduction(problem.shapes, problem.parameters) or 1) + 2
        applied = record.applied(problem.shapes, problem.parameters, arithmetic)
        return accuracy.exact_integer_limit(terms, problem.dtype, applied) > 0

    def domain(self, problem: Problem) -> Domain:
        """Return the declared domain of the problem's operation."""
        return self.declared.domain_of(problem.operation)

    def arithmetic(self, problem: Problem) -> accuracy.Arithmetic:
        """Return what the backend declares for the problem's operation and dtype."""
        return self.declared.arithmetic_of(problem.operation, problem.dtype)

    def ask(
        self,
        problem: Problem,
        *,
        watch: bool = False,
        values: Mapping[str, Floats] | None = None,
        anywhere: bool = False,
    ) -> Answer:
        """Return the backend's answer; an exception or a result of another shape is a violation.

        Parameters
        ----------
        problem
            The call.
        watch, values
            As for :meth:`Subject.call`.
        anywhere
            Ask outside of the domain too.

        Raises
        ------
        Outside
            If the domain does not have the call.
        Unsupported
            If the backend declines it.
        """
        domain = self.domain(problem)
        allowed = all(domain.has(name, value, problem.dtype) for name, value in (values or {}).items())
        if not (anywhere or (allowed and problem.inside(domain))):
            raise Outside
        self.last = problem
        try:
            answer = self.subject.call(problem, watch=watch, values=values)
        except Unsupported:
            if self.judged in (None, (problem.operation, problem.dtype)):
                self.evidence.count(problem, answered=False)
                self.notes.declined.append(problem)
            raise
        except CallFailed as failure:
            raise Violation(problem, f"{problem.operation} {failure}") from None
        if self.judged in (None, (problem.operation, problem.dtype)):
            self.evidence.count(problem, answered=True)
            self.notes.answered.append(problem)
            if self.remembers and not values and answer.raw.size <= SMALL:
                self.notes.remember(problem, answer.raw)
        self.elements += answer.raw.size
        return answer

    def recall(self, problem: Problem) -> Answer:
        """Return what the backend answered to the same call before, asking it only if it was not asked."""
        known = self.notes.given.get(repr(problem))
        if known is None:
            return self.ask(problem)
        self.evidence.count(problem, answered=True)
        return Answer(known)

    def widened(self, problem: Problem) -> Problem:
        """Return a sparse sum with its integers as wide as every order of summation leaves exact.

        Raises
        ------
        Outside
            If the declared accumulator has no exact sum so long.
        """
        exact = exactly(problem, self.arithmetic(problem))
        if exact is None:
            raise Outside
        return exact

    def ask_anew(self, problem: Problem) -> Answer:
        """Return the answer of the same backend in another process."""
        try:
            return self.subject.twin.call(problem)
        except CallFailed as failure:
            raise Violation(problem, f"{problem.operation} in a new process {failure}") from None

    def expect_refused(self, problem: Problem) -> None:
        """Hold the backend to raise an error (GEN-D5); outside of a declared domain it may decline."""
        try:
            refused = self.subject.refusal(problem)
        except CallFailed as failure:
            raise Violation(
                problem, f"{problem.operation} {failure}, expected ValueError or TypeError"
            ) from None
        except Unsupported:
            if not self.domain(problem).whole:
                refused = "NotImplementedError"
            else:
                self.evidence.count(problem, answered=False)
                raise
        if refused is None:
            raise Violation(problem, f"{problem.operation} answered a call that it must refuse")
        self.evidence.count(problem, answered=True)

    def ask_plain(self, problem: Problem) -> Answer:
        """Return the answer to the same call on packed arrays; the last one is remembered."""
        plain = problem.plain()
        if any(array.layout.repeats for array in problem.arrays.values()):
            return self.ask(plain, values=problem.arguments())  # whose data are the problem's alone
        if self._plain is None or self._plain[0] != repr(plain):
            self._plain = repr(plain), self.ask(plain)
        return self._plain[1]

    def expect_right(self, problem: Problem, *, signs: bool = False, anywhere: bool = False) -> Answer:
        """Ask, and hold every element of the answer to its bound."""
        answer = self.ask(problem, anywhere=anywhere)
        want = problem.want()
        self.compare(problem, answer.values, want, problem.bound(want, self.arithmetic(problem)))
        if signs:
            self.compare_zero_signs(problem, answer.values, want)
        return answer

    def expect_as_plain(self, problem: Problem, *, watch: bool = False) -> Answer:
        """Ask, and hold the answer to its bound, unless the plain call errs too: another clause says that."""
        answer = self.ask(problem, watch=watch)
        want = problem.want()
        bound = problem.bound(want, self.arithmetic(problem))
        try:
            self.compare(problem, answer.values, want, bound)
        except Violation:
            plain = self.ask_plain(problem)
            if np.all(accuracy.accept(plain.values, want, bound.value, accuracy.FORMATS[problem.dtype])):
                raise
        return answer

    def compare(
        self,
        problem: Problem,
        got: Floats,
        want: Floats,
        bound: accuracy.Bound,
        places: tuple[NDArray[np.intp], ...] | None = None,
    ) -> None:
        """Hold every element of ``got`` to its bound around ``want``; ``places`` are theirs in the result."""
        found = Comparison.of(got, want, bound, accuracy.FORMATS[problem.dtype])
        self.compared += got.size
        self.bounded += int(np.sum(np.broadcast_to(np.isfinite(bound.value), got.shape) | ~np.isfinite(want)))
        if not found.wrong:
            self.worst_share = max(self.worst_share, float(np.max(found.share, initial=0.0)))
            return
        worst = found.worst
        named = None if places is None else tuple(axis[worst] for axis in places)
        reason = f"{found.describe(named)}\n{found.wrong} of {got.size} elements are outside their bounds"
        element = worst if named is None else int(np.ravel_multi_index(named, problem.result_shape))
        raise Violation(problem, reason, element, wrong=True)

    def compare_zero_signs(self, problem: Problem, got: Floats, want: Floats) -> None:
        """Hold zeros to their sign where the operation, with its default parameters, keeps it."""
        defaults = {name: parameter.default for name, parameter in problem.record.parameters.items()}
        if not problem.record.signed_zero or {**defaults, **problem.parameters} != defaults:
            return
        x = problem.arguments()["x"]
        wrong = (x == 0) & (got == 0) & (want == 0) & (np.signbit(got) != np.signbit(want))
        if np.any(wrong):
            worst = int(np.flatnonzero(wrong)[0])
            where = np.unravel_index(worst, got.shape)
            raise Violation(problem, f"{place(where)} = {got[where]}, want {want[where]}", worst)

    def expect_same(self, problem: Problem, got: Answer, want: Answer, relation: str) -> None:
        """Hold two answers to equality of all bits, NaNs aside; to their bounds where the order is free."""
        if self.arithmetic(problem).order == "free":
            for answer in (got, want):
                wanted = problem.want()
                self.compare(problem, answer.values, wanted, problem.bound(wanted, self.arithmetic(problem)))
            return
        different = (got.bits != want.bits) & ~(np.isnan(got.values) & np.isnan(want.values))
        if np.any(different):
            worst = int(np.flatnonzero(different)[0])
            where = np.unravel_index(worst, got.raw.shape)
            raise Violation(
                problem,
                f"{relation}: {place(where)} is {float(got.values[where])!r}"
                f" and {float(want.values[where])!r}"
                f" ({int(different.sum())} of {different.size} elements differ)",
                worst,
                wrong=not (self.accepts(problem, got) and self.accepts(problem, want)),
            )

    def accepts(self, problem: Problem, answer: Answer) -> bool:
        """Whether every element of an answer is within its bound."""
        want = problem.want()
        bound = problem.bound(want, self.arithmetic(problem)).value
        return bool(np.all(accuracy.accept(answer.values, want, bound, accuracy.FORMATS[problem.dtype])))

    def expect_related(
        self, problem: Problem, left: Floats, right: Floats, bound: Floats, relation: str
    ) -> None:
        """Hold two sides of an identity to each other within the sum of their bounds."""
        with np.errstate(all="ignore"):
            good = (np.abs(left - right) <= bound) | (left == right) | (np.isnan(left) & np.isnan(right))
        if not np.all(good):
            worst = int(np.flatnonzero(~good)[0])
            where = np.unravel_index(worst, left.shape)
            raise Violation(
                problem,
                f"{relation} fails at {tuple(map(int, where))}: {float(left[where])!r} against"
                f" {float(right[where])!r}, bound {bound[where]:.3g}",
            )


def at_one_element(problem: Problem, element: int) -> Problem | None:
    """Return an element-wise problem reduced to one element, or ``None`` where it has others' help."""
    if problem.record.kind != "elementwise" or len(set(problem.shapes.values())) != 1:
        return None
    arguments = problem.arguments()
    arrays = {
        name: Array((1,), "zeros", planted=((0, float(arguments[name].reshape(-1)[element])),))
        for name in problem.arrays
    }
    return replace(problem, arrays=arrays, out=None)
