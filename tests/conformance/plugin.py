"""The pytest plugin: makes a test of every case, runs it against ``--backend``, collects the outcomes.

``gaugeblock conform`` runs pytest with it; so can anyone:
``pytest -p gaugeblock.conformance.plugin --pyargs gaugeblock.conformance --backend my_kernels.py``.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.engine import PROFILES, Case, Effort, Outcome, cases, try_case
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

PROPERTY = "gaugeblock"
"""Name of the user property that carries an outcome in a test report."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the suite's options."""
    group = parser.getgroup("gaugeblock", "conformance of GPU kernels")
    group.addoption("--backend", help="file, module or adapter to hold against the spec")
    group.addoption(
        "--operation", action="append", default=[], choices=list(OPERATIONS), help="only this operation"
    )
    group.addoption("--dtype", action="append", default=[], choices=list(FORMATS), help="only this dtype")
    group.addoption("--profile", default="ci", choices=list(PROFILES), help="how many examples to try")
    group.addoption("--conformance-seed", type=int, default=None, help="seed of the run")
    group.addoption("--time-limit", type=float, default=60.0, help="seconds a call may take")
    group.addoption("--no-shrink", action="store_true", help="do not make failing problems smaller")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the suite, and fix the seed before workers inherit the options."""
    config.addinivalue_line("markers", "spec(clause): the spec clause that a test checks")
    # Hypothesis keeps notes beside the code under test; that folder is the user's.
    set_hypothesis_home_dir(Path(tempfile.gettempdir(), "gaugeblock-hypothesis"))
    if config.option.conformance_seed is None:
        config.option.conformance_seed = secrets.randbits(32)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``case`` every case of the test's concept that was selected."""
    if "case" not in metafunc.fixturenames:
        return
    options = metafunc.config.option
    concept = metafunc.module.CONCEPT
    names = [name for name, operation in OPERATIONS.items() if operation.concept == concept]
    chosen = [name for name in names if not options.operation or name in options.operation]
    marked = [
        pytest.param(case, id=str(case), marks=pytest.mark.spec(case.clause))
        for case in cases(chosen, options.dtype or list(FORMATS))
    ]
    metafunc.parametrize("case", marked)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the cases between processes such that an operation in a dtype stays in one, in its order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByOperation(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return "-".join(nodeid.rpartition("[")[2].split("-")[:2])

    return ByOperation(config, log)


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Start the backend once for a session."""
    name = request.config.option.backend
    if name is None:
        pytest.exit("--backend is missing", returncode=2)
    found = Subject(name, request.config.option.time_limit)
    yield found
    found.close()


@pytest.fixture(scope="session")
def lost() -> dict[tuple[str, str], str]:
    """Remember the operations whose process was lost: each further try would cost a time limit."""
    return {}


@pytest.fixture
def conforms(
    request: pytest.FixtureRequest, subject: Subject, lost: dict[tuple[str, str], str]
) -> Callable[[Case], None]:
    """Return a function that tries a case and turns its outcome into the test's."""
    options = request.config.option
    effort = Effort(options.profile, options.conformance_seed, not options.no_shrink)

    def run(case: Case) -> None:
        key = (case.operation, case.dtype)
        if case.operation not in subject.operations:
            outcome = Outcome("unsupported", 0, 0.0, 0.0)
        elif key in lost:
            outcome = Outcome("violating", 0, 0.0, 0.0, f"not tried: {lost[key]}")
        else:
            losses = subject.losses
            outcome = try_case(case, subject, effort)
            if subject.losses > losses:
                lost[key] = (outcome.message or "").splitlines()[0]
        request.node.user_properties.append((PROPERTY, {**vars(case), **outcome.as_data()}))
        if outcome.verdict == "violating":
            pytest.fail(f"{case.clause}: {outcome.message}\n\n{outcome.reproduce or ''}", pytrace=False)
        if outcome.verdict == "unsupported":
            pytest.skip("unsupported by the backend")

    return run


def outcome_of(report: Any) -> tuple[Case, Outcome] | None:
    """Return the case and outcome that a test report carries, if any."""
    if report.when != "call":
        return None
    for name, data in report.user_properties:
        if name == PROPERTY:
            data = dict(data)
            case = Case(*(data.pop(key) for key in ("operation", "dtype", "clause")))
            return case, Outcome(**data)
    return None
