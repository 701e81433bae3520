"""What all our own tests share: Hypothesis profiles, the trace from clauses to tests, and notes.

``pytest --spec-trace FILE.json`` writes which tests name which clause (``@pytest.mark.spec("GEMM-A1")``) and
how they ended; with ``--collect-only``, which there are. ``gaugeblock spec --build DIR --trace FILE.json``
shows it.

``@pytest.mark.one_of(3)`` leaves a third of a test's cases to a run, the same ones each time; with the
Hypothesis profile ``deep``, before a release, or where one is named, all are run.

``record_property(NOTE, "a sentence")`` has a test that passes tell a number: it stands at the end of the run.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

CLAUSES = "spec clauses"
"""Name of the user property by which a test's report carries its clauses, also from another process."""

NOTE = "note"
"""Name of the user property that carries what a test has to tell."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option."""
    group = parser.getgroup("gaugeblock")
    group.addoption("--spec-trace", type=Path, metavar="FILE.json", help="write clause -> tests -> verdict")


def pytest_configure(config: pytest.Config) -> None:
    """Collect the trace in the process that sees all reports."""
    if config.option.spec_trace is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tracer(config.option.spec_trace.resolve()), "spec-trace")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out cases of tests that have many, and let every report say which clauses its test names."""
    left_out = set() if PROFILE == "deep" else beyond_the_samples(items)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=[*left_out])
    for item in items:
        clauses = sorted({clause for mark in item.iter_markers("spec") for clause in mark.args})
        item.user_properties.append((CLAUSES, clauses))


def beyond_the_samples(items: list[pytest.Item]) -> set[pytest.Item]:
    """Return the cases that a run is spared: of each test that is marked all but a sample, in no order."""
    tests: dict[tuple[str, int], list[pytest.Item]] = {}
    for item in items:
        if mark := item.get_closest_marker("one_of"):
            tests.setdefault((item.nodeid.partition("[")[0], mark.args[0]), []).append(item)
    left_out = set()
    for (_, of), cases in tests.items():
        cases.sort(key=lambda item: zlib.crc32(item.name.encode()))
        left_out.update(cases[-(-len(cases) // of) :])
    return left_out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests that passed have to tell."""
    for report in terminalreporter.getreports("passed"):
        for name, words in report.user_properties:
            if name == NOTE:
                terminalreporter.write_line(str(words))


class Tracer:
    """Counts, for every clause and test function, how its cases ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ran = False
        self.clauses: dict[str, dict[str, Counter[str]]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the tests that there are; the controller of several processes collects none."""
        for item in session.items:
            self._count(item.nodeid, dict(item.user_properties)[CLAUSES])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count an ending: that of the call, or that of a step around it which did not pass."""
        self.ran = True
        if report.when == "call" or not report.passed:
            self._count(report.nodeid, dict(report.user_properties).get(CLAUSES, []), report.outcome)

    def pytest_sessionfinish(self) -> None:
        """Write the trace."""
        data = {
            "format": 1,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat() if self.ran else None,
            "versions": {
                "gaugeblock": importlib.metadata.version("gaugeblock"),
                "python": platform.python_version(),
            },
            "clauses": self.clauses,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def _count(self, nodeid: str, clauses: object, *endings: str) -> None:
        """Add a case of a test to its clauses."""
        assert isinstance(clauses, list)
        for clause in clauses:
            self.clauses.setdefault(clause, {}).setdefault(nodeid.partition("[")[0], Counter()).update(
                endings
            )
