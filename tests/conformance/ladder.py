"""A ladder of sizes after a run: layers of networks at the batches that they are trained and served with.

The batch grows rung by rung, every operation and format in turn on each, the layers of least work first, for
as long as the budget lasts. What does not fit into the memory that the suite and the backend share is left
out, and counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import prod

from gaugeblock.conformance.backend import arena
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.checks.layers import LAYERS, problem_of
from gaugeblock.conformance.engine import Case, Examiner
from gaugeblock.conformance.planning import Plan
from gaugeblock.conformance.problems.layers import TRUE, LayerCall, calls_of
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.conformance.problems.shapes import MOST
from gaugeblock.conformance.reports.report import Ladder, Report
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

BATCHES = (2, 8, 32, 128)


def climb(plan: Plan, report: Report) -> None:
    """Try layers at growing batches within the plan's budget, and record violations in the report."""
    start = time.monotonic()
    end = start + plan.budget
    ladder = report.ladder = Ladder(plan.budget)
    subject = Subject(plan.backend, plan.time_limit, expected=plan.description)
    examiner = Examiner(subject, plan.effort)
    cases = [c for c in plan.cases if c.operation in plan.operations and c.check.role == LAYERS.role]
    failed = {case for case in cases if case in _violated(report)}
    try:
        if not subject.declared.slow:
            for batch in BATCHES:
                for case in cases:
                    if case in failed:
                        continue
                    outcome = examiner.examine(case, _rung(case, batch, subject, end, ladder))
                    if outcome.verdict == "violating":
                        failed.add(case)
                        report.add(case, outcome)
                if time.monotonic() > end:
                    break
                ladder.batch = batch
            ladder.complete = ladder.batch == BATCHES[-1]
    finally:
        subject.close()
    ladder.seconds = time.monotonic() - start


def _violated(report: Report) -> set[Case]:
    return {
        case
        for entry in report.entries.values()
        for case, outcome in entry.cases.items()
        if outcome.verdict == "violating"
    }


def _rung(case: Case, batch: int, subject: Subject, end: float, ladder: Ladder) -> Iterator[Problem]:
    """Yield the layers at a batch that memory holds, for as long as there is time."""
    arithmetic = subject.declared.arithmetic_of(case.operation, case.dtype)
    known = {repr(call) for call in calls_of(case.operation, TRUE)}
    for call in calls_of(case.operation, TRUE, batch):
        if time.monotonic() > end:
            return
        if repr(call) in known:  # it has no batch
            continue
        if not _fits(call, case.dtype):
            ladder.left_out += 1
            continue
        ladder.problems += 1
        yield problem_of(call, case.dtype, arithmetic)


def _fits(call: LayerCall, dtype: str) -> bool:
    """Whether the arrays fit into the shared memory, with room for what lies between them."""
    result = OPERATIONS[call.operation].shape(call.shapes, call.parameters)
    sizes = [*map(prod, call.shapes.values()), prod(result)]
    return max(sizes) <= MOST and 1.1 * sum(sizes) * FORMATS[dtype].dtype.itemsize <= arena.SIZE
