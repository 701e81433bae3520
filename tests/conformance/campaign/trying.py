"""What a worker does: describe a backend, and try a cell, with the suite's own examiner.

All that comes back is plain data, and small: an engine carries it from another process, or another machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gaugeblock.conformance import ladder
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.campaign.cells import Cell, source
from gaugeblock.conformance.campaign.plan import Target
from gaugeblock.conformance.campaign.shrinking import shrunk
from gaugeblock.conformance.checks.layers import listed
from gaugeblock.conformance.engine import SHRINK_SECONDS, Case, Examiner, Outcome, cases
from gaugeblock.conformance.planning import Plan
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.conformance.problems.shapes import Given
from gaugeblock.conformance.reports.report import versions
from gaugeblock.spec.operations import OPERATIONS

DRIVER = Path("/proc/driver/nvidia/version")

Trials = Iterable[tuple[Case, Iterable[Problem] | None, LayerCall | None]]
"""Cases, problems where these are not the clause's own, and the listed call that these are of."""


class _Late(BaseException):
    """A cell takes longer than it may."""


def describe(target: Target, time_limit: float) -> dict[str, Any]:
    """Return what a backend says of itself on this machine, with every version that an answer depends on.

    Raises
    ------
    BackendError
        If it cannot be loaded.
    """
    subject = Subject(_here(target), time_limit)
    subject.close()
    return _described(target, subject)


def _described(target: Target, subject: Subject) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "backend": {**subject.description, "name": target.name},  # wherever its file lies
        "versions": {**versions(subject.description["versions"]), "source": source(), **_driver()},
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in target.files},
        "processor": platform.machine(),
    }
    found: dict[str, Any] = json.loads(json.dumps(whole))  # as a store gives it back
    return found


def _driver() -> dict[str, str]:
    """Return the version of NVIDIA's driver, where there is one."""
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", DRIVER.read_text())
    except OSError:
        return {}
    return {"nvidia driver": found[0]} if found else {}


def _here(target: Target) -> str:
    """Return the backend by its path, or, where that is none on this machine, by its name."""
    return target.path if target.files else target.name


def try_cell(cell: Cell, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Try a cell.

    Parameters
    ----------
    cell
        What to try.
    expected
        How its backend described itself when the campaign began.

    Returns
    -------
    dict
        ``outcomes``, a list of clause and outcome, and what was ``measured`` besides.

    Raises
    ------
    BackendError
        If the backend cannot be loaded here, or is not the one expected.
    """
    start, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    subject = Subject(_here(cell.target), cell.time_limit)
    found: list[tuple[str, dict[str, Any]]] = []
    unfinished = None
    reached: dict[str, Any] = {}
    try:
        _expect(cell.target, expected, _described(cell.target, subject))
        trials = list(_trials(cell, subject))
        try:
            with _limited(cell.cell_limit):
                for clause, outcome in _outcomes(cell, subject, trials, reached):
                    found.append((clause, outcome.as_data()))
        except _Late:
            unfinished = (
                f"took longer than cell_limit = {cell.cell_limit:g} s, after {len(found)} of {len(trials)}"
            )
    finally:
        subject.close()
    return {
        "outcomes": found,
        "unfinished": unfinished,
        "measured": {
            "seconds": time.monotonic() - start,
            "started": started,
            "host": platform.node(),
            "platform": platform.platform(),
            "isolation": subject.isolation,
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "ladder": reached,
        },
    }


def _expect(target: Target, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a backend that is another one here."""
    for part in ("versions", "files", "backend", "processor"):
        if expected[part] == found[part]:
            continue
        was, now = expected[part], found[part]
        if isinstance(was, dict):
            key = next(key for key in {**was, **now} if was.get(key) != now.get(key))
            part, was, now = f"{part}: {key}", was.get(key), now.get(key)
        where = f"{target} is another on {platform.node()} than when the campaign began"
        raise BackendError(f"{where}: {part} is {now}, was {was}")


def _trials(cell: Cell, subject: Subject) -> Trials:
    """Yield what is tried in a cell."""
    tried = cases([cell.operation], [cell.dtype])
    match cell.kind:
        case "conform":
            yield from ((case, None, None) for case in tried)
        case "shapes":
            (case,) = (case for case in tried if case.check.role == "layers")
            yield from ((case, _of_call(cell, call, subject), call) for call in cell.calls)
        case "sweep":
            (case,) = (case for case in tried if case.check.role == "sweep")
            arrays = {"x": Array((cell.count,), "every", seed=cell.first)}
            if "dy" in OPERATIONS[cell.operation].arrays:
                arrays = {"dy": Array((cell.count,), "ones"), **arrays}
            yield case, [Problem(cell.operation, cell.dtype, arrays)], None


def _of_call(cell: Cell, call: LayerCall, subject: Subject) -> Iterator[Problem]:
    arithmetic = subject.declared.arithmetic_of(cell.operation, cell.dtype)
    return listed([Given(call, (cell.dtype,))], OPERATIONS[cell.operation], cell.dtype, arithmetic)


def _outcomes(
    cell: Cell, subject: Subject, trials: Trials, reached: dict[str, Any]
) -> Iterator[tuple[str, Outcome]]:
    """Examine case by case; behind clauses, climb the ladder of sizes that a budget is for."""
    examiner, seen = Examiner(subject, cell.effort), []
    for case, problems, call in trials:
        outcome = examiner.go_on(case, problems)
        if call is not None and outcome.verdict == "violating" and cell.effort.shrink:
            outcome = _smallest(cell, examiner, case, call, outcome)
        seen.append(case)
        yield case.clause, outcome
    if cell.budget and cell.operation in subject.operations:
        plan = Plan(_here(cell.target), subject.description, tuple(seen), cell.effort, cell.time_limit)
        report = replace(plan, budget=cell.budget).report()
        ladder.climb(replace(plan, budget=cell.budget), report)
        for entry in report.entries.values():
            yield from ((case.clause, outcome) for case, outcome in entry.cases.items())
        reached |= report.ladder.as_data() if report.ladder else {}


def _smallest(cell: Cell, examiner: Examiner, case: Case, call: LayerCall, outcome: Outcome) -> Outcome:
    """Return the failure of a listed call as the smallest call shows it that was found in a time."""
    end, found = time.monotonic() + SHRINK_SECONDS, outcome

    def fails(smaller: LayerCall) -> bool:
        nonlocal found
        if examiner.lost or time.monotonic() > end:
            return False
        now = examiner.go_on(case, _of_call(cell, smaller, examiner.subject))
        found = now if now.verdict == "violating" and now.reproduce else found
        return found is now

    shrunk(call, cell.dtype, fails)
    return replace(outcome, message=found.message, problem=found.problem, reproduce=found.reproduce)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise after so many seconds; in a thread that no signal reaches there is no limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def late(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
