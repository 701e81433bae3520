"""A run of the suite: the cases, pytest to run them, and a report of what came of it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance import ladder, plugin
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.engine import Case, Effort, Examiner, Outcome, cases
from gaugeblock.conformance.levels import LEVELS
from gaugeblock.conformance.planning import Plan
from gaugeblock.conformance.reports.report import Entry, Report
from gaugeblock.conformance.stopping import Stop, stoppable
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

Progress = Callable[[Case, Outcome, Entry], None]


class _Collector:
    """A pytest plugin of the main process: takes the outcomes out of the test reports."""

    def __init__(self, report: Report, progress: Progress | None, stop: Stop) -> None:
        self.report = report
        self.progress = progress
        self.stop = stop
        self.broken: list[str] = []
        self.stopped: str | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Note a process that takes a share of the work: a signal has to reach it too."""
        self.stop.workers.append(gateway._rinfo().pid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep pytest from writing out a deep traceback that nobody sees: it takes seconds."""
        excinfo.traceback = excinfo.traceback[-1:]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a finished test."""
        found = plugin.outcome_of(report)
        if found is not None and found[0].operation not in self.report.lacking:
            entry = self.report.add(*found)
            if self.progress is not None:
                self.progress(*found, entry)
        elif report.failed:
            self.broken.append(f"{report.nodeid}: {report.longreprtext}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record what could not be collected."""
        if report.failed:
            self.broken.append(str(report.longrepr))

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Record why the run could not go on."""
        self.stopped = config.stash.get(plugin.STOPPED, None)


class SuiteError(RuntimeError):
    """The suite itself failed."""


class Interrupted(KeyboardInterrupt):
    """A run was ended by a signal.

    Parameters
    ----------
    report
        What it had found by then.
    signal
        The signal's number.
    """

    def __init__(self, report: Report, signal: int) -> None:
        super().__init__()
        self.report = report
        self.signal = signal


def run(plan: Plan, *, jobs: int = 1, progress: Progress | None = None) -> Report:
    """Run a plan with pytest.

    Parameters
    ----------
    plan
        What to do.
    jobs
        Processes to share it between.
    progress
        Called after every case.

    Raises
    ------
    Interrupted
        At the first SIGINT or SIGTERM; the second one ends the process.
    SuiteError
        If pytest could not run the cases.
    """
    report = plan.report()
    # A namespace package has no folder of its own: name ours, not the one pytest would guess.
    here = Path(__file__).parent
    operations = dict.fromkeys(case.operation for case in plan.cases if case.operation in plan.operations)
    if not operations:
        report.complete = True
        return report
    dtypes = dict.fromkeys(case.dtype for case in plan.cases)
    arguments = [
        *(str(file) for file in sorted(here.glob("test_*.py"))),
        *(
            "-c",
            str(here / "pytest.ini"),
            "--rootdir",
            str(here),
            "--import-mode=importlib",
            "--assert=plain",
        ),
        *(
            "-p",
            "gaugeblock.conformance.entry",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:unraisableexception",  # it collects garbage five times over before pytest ends
            "-q",
            "--no-header",
            "--no-summary",
        ),
        f"--gaugeblock-backend={plan.backend}",
        f"--gaugeblock-fingerprint={plugin.fingerprint(plan.description)}",
        f"--gaugeblock-profile={plan.effort.profile}",
        f"--gaugeblock-conformance-seed={plan.effort.seed}",
        f"--gaugeblock-time-limit={plan.time_limit}",
        *(f"--gaugeblock-operation={name}" for name in operations),
        *(f"--gaugeblock-dtype={name}" for name in dtypes),
        *([] if plan.effort.shrink else ["--gaugeblock-no-shrink"]),
        *([] if plan.shapes is None else [f"--gaugeblock-shapes={plan.shapes}"]),
        *(["-n", str(jobs)] if jobs > 1 else ["-p", "no:xdist"]),
    ]
    # In the processes of pytest too, no file of the current folder stands in for a module that they import.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    with stoppable() as stop, contextlib.redirect_stdout(io.StringIO()) as words:
        collector = _Collector(report, progress, stop)
        try:
            code = pytest.main(arguments, plugins=[collector])
        except KeyboardInterrupt:  # before pytest was far enough to catch it
            code = pytest.ExitCode.INTERRUPTED
    if collector.stopped is not None:
        raise BackendError(collector.stopped)
    if stop.signal is not None:
        _sort(report, plan)
        raise Interrupted(report, stop.signal)
    if collector.broken or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SuiteError("\n".join(collector.broken) or words.getvalue())
    if plan.budget:
        ladder.climb(plan, report)
    report.complete = True
    _sort(report, plan)
    return report


def _sort(report: Report, plan: Plan) -> None:
    """Bring the entries into the order of the plan: several processes finish in any order."""
    order = {key: position for position, key in enumerate(plan.sizes())}
    report.entries = dict(sorted(report.entries.items(), key=lambda item: order[item[0]]))


def judge(
    backend: str,
    *,
    operations: Iterable[str] | None = None,
    dtypes: Sequence[str] = tuple(FORMATS),
    effort: Effort | None = None,
    time_limit: float = 60.0,
    stop_at_first: bool = False,
) -> Report:
    """Hold a backend against the spec in this process, without pytest: for tests of the suite and for tools.

    Parameters
    ----------
    backend
        A file, a module or an adapter.
    operations, dtypes
        What to try; all if not given.
    effort
        Profile and seed.
    time_limit
        Seconds a call may take.
    stop_at_first
        Whether to end at the first violation. Clauses are tried level by level then, so that verdicts at the
        levels before it are those of a whole run.
    """
    subject = Subject(backend, time_limit)
    effort = effort or Effort()
    tried = tuple(cases(operations or OPERATIONS, dtypes))
    report = Plan(backend, subject.description, tried, effort, time_limit).report()
    if stop_at_first:
        tried = tuple(sorted(tried, key=lambda case: LEVELS.index(case.check.level)))
    examiner = Examiner(subject, effort)
    try:
        for case in tried:
            if case.operation not in subject.operations:
                continue
            outcome = examiner.examine(case)
            report.add(case, outcome)
            if stop_at_first and outcome.verdict == "violating":
                break
    finally:
        subject.close()
    return report
