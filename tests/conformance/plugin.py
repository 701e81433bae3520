"""The pytest plugin: makes a test of every case, runs it against ``--backend``, collects the outcomes.

``gaugeblock conform`` runs pytest with it; so can anyone:
``pytest --pyargs gaugeblock.conformance --backend my_kernels.py`` (:mod:`gaugeblock.conformance.entry`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.engine import PROFILES, Case, Effort, Examiner, Outcome, cases
from gaugeblock.conformance.levels import LEVELS
from gaugeblock.conformance.planning import Plan
from gaugeblock.conformance.problems.shapes import ShapesError, read
from gaugeblock.conformance.stopping import stop_by
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

PROPERTY = "gaugeblock"
"""Name of the user property that carries an outcome in a test report."""

SUBJECT = pytest.StashKey[Subject]()
"""Where a process keeps the backend it has loaded."""

EXAMINER = pytest.StashKey[Examiner]()
"""Where it keeps what has come of the backend's calls so far."""

STOPPED = pytest.StashKey[str]()
"""Why a run could not go on, in one line."""

NOTHING_SELECTED = object()
"""The only case of a concept that was not asked for."""

FOLDER = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the suite's options, each by a long name, and by a short one that nobody else has."""
    group = parser.getgroup("gaugeblock", "conformance of GPU kernels")

    def add(short: str, help: str, **attributes: Any) -> None:
        names = [f"--gaugeblock-{short}", *([f"--{short}"] if _free(parser, f"--{short}") else [])]
        destination = f"gaugeblock_{short.replace('-', '_')}"
        group.addoption(*names, dest=destination, help=help, **attributes)

    add("backend", "file, module or adapter to hold against the spec")
    add("operation", "only this operation", action="append", default=[], choices=list(OPERATIONS))
    add("dtype", "only this dtype", action="append", default=[], choices=list(FORMATS))
    add("level", "level of conformance that the verdict is about", default="numeric", choices=LEVELS)
    add("profile", "how many examples to try", default="ci", choices=list(PROFILES))
    add("conformance-seed", "seed of the run", type=int)
    add("time-limit", "seconds a call may take", type=float, default=60.0)
    add("shapes", "file of problems to try besides: JSON lines or CSV", type=Path)
    add("no-shrink", "do not make failing problems smaller", action="store_true")
    group.addoption(
        "--gaugeblock-fingerprint", help="of the backend's description, where it was loaded before"
    )


def _free(parser: pytest.Parser, name: str) -> bool:
    """Whether no plugin has declared an option of this name."""
    try:
        return name in parser.parse_known_and_unknown_args([name])[1]
    except pytest.UsageError:  # it is known, and wants a value
        return False


def pytest_configure(config: pytest.Config) -> None:
    """Settle what all processes share, and find the suite's tests whatever a project's own are called."""
    config.addinivalue_line("markers", "spec(clause): the spec clause that a test checks")
    config.addinivalue_line("python_files", str(FOLDER / "test_*.py"))
    config.addinivalue_line("python_functions", "test_keeps")
    config.add_cleanup(functools.partial(_close, config))
    options = config.option
    if hasattr(config, "workerinput"):
        vars(options).update(config.workerinput[PROPERTY])
    elif options.gaugeblock_conformance_seed is None:
        options.gaugeblock_conformance_seed = secrets.randbits(32)
    if options.gaugeblock_backend is not None:
        # Hypothesis keeps notes beside the code under test; that folder is the user's.
        folder = Path(tempfile.mkdtemp(prefix="gaugeblock-"))
        config.add_cleanup(functools.partial(shutil.rmtree, folder, ignore_errors=True))
        set_hypothesis_home_dir(folder)
        config.add_cleanup(functools.partial(set_hypothesis_home_dir, None))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process that shares the work what this one has settled: it reads the command line again."""
    options = node.config.option
    names = ("gaugeblock_conformance_seed", "gaugeblock_fingerprint")
    node.workerinput[PROPERTY] = {name: getattr(options, name) for name in names}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Load the backend, so that one that cannot be used ends the run before it begins."""
    config = session.config
    options = config.option
    several = config.pluginmanager.has_plugin("dsession")
    if options.collectonly or hasattr(config, "workerinput"):
        return
    if options.gaugeblock_backend is None:
        if several:
            _refuse_to_run_without_backend()
        return
    if options.gaugeblock_fingerprint is not None:  # the command has loaded it, and will tell the verdict
        return
    try:
        if options.gaugeblock_shapes is not None:
            read(options.gaugeblock_shapes)
        subject = _load(config)
    except (BackendError, ShapesError) as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(Verdict(subject.description, options))
    if several:
        _close(config)


def _refuse_to_run_without_backend() -> NoReturn:
    raise pytest.UsageError(
        "--backend is missing: expected a file, a module or an adapter "
        "(--gaugeblock-backend where another plugin has the short name)"
    )


def _load(config: pytest.Config) -> Subject:
    """Load the backend once in a process, and hold it to how it described itself in another."""
    if SUBJECT in config.stash:
        return config.stash[SUBJECT]
    options = config.option
    subject = config.stash[SUBJECT] = Subject(options.gaugeblock_backend, options.gaugeblock_time_limit)
    found = fingerprint(subject.description)
    if options.gaugeblock_fingerprint not in (None, found):
        raise BackendError(
            f"{options.gaugeblock_backend} describes itself otherwise in another process: "
            f"fingerprint {found[:8]}, expected {options.gaugeblock_fingerprint[:8]}"
        )
    options.gaugeblock_fingerprint = found
    if hasattr(config, "workerinput"):  # a process of xdist: pytest would take its time
        stop_by(subject.close)
    return subject


def _close(config: pytest.Config) -> None:
    if SUBJECT in config.stash:
        config.stash[SUBJECT].close()
        del config.stash[SUBJECT]


def fingerprint(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a backend's description."""
    return hashlib.sha256(json.dumps(dict(description), sort_keys=True).encode()).hexdigest()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect nothing of the suite's folder but its tests, whatever a project wants of its own."""
    if config.option.gaugeblock_backend is None or FOLDER not in collection_path.parents:
        return None
    return True if collection_path not in FOLDER.glob("test_*.py") else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``case`` every case of the test's concept that was selected."""
    if not {"case", "conforms"} <= set(metafunc.fixturenames):
        return
    options = metafunc.config.option
    concept = metafunc.module.CONCEPT
    names = [name for name, operation in OPERATIONS.items() if operation.concept == concept]
    chosen = [
        name for name in names if not options.gaugeblock_operation or name in options.gaugeblock_operation
    ]
    marked = [
        pytest.param(case, id=str(case), marks=pytest.mark.spec(case.clause))
        for case in cases(chosen, options.gaugeblock_dtype or list(FORMATS))
    ]
    # What pytest makes of no parameters at all is up to the project.
    metafunc.parametrize("case", marked or [NOTHING_SELECTED])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the concepts of which nothing was selected, and refuse to run cases without a backend."""
    empty = [item for item in items if _case_of(item) is NOTHING_SELECTED]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    missing = config.option.gaugeblock_backend is None and not config.option.collectonly
    if missing and any(isinstance(_case_of(item), Case) for item in items):
        _refuse_to_run_without_backend()


def _case_of(item: pytest.Item) -> object:
    return item.callspec.params.get("case") if hasattr(item, "callspec") else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the cases between processes such that an operation in a dtype stays in one, in its order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByOperation(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return "-".join(nodeid.rpartition("[")[2].split("-")[:2])

    return ByOperation(config, log)


@pytest.fixture
def conforms(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Return a function that tries a case and turns its outcome into the test's."""
    try:
        subject = _load(request.config)
    except BackendError as error:
        _stop(request.session, str(error))
    examiner = request.config.stash.setdefault(EXAMINER, _examiner(subject, request.config.option))

    def run(case: Case) -> None:
        outcome = examiner.go_on(case)
        request.node.user_properties.append((PROPERTY, {**vars(case), **outcome.as_data()}))
        if outcome.verdict == "violating":
            pytest.fail(f"{case.clause}: {outcome.message}\n\n{outcome.reproduce or ''}", pytrace=False)
        if outcome.verdict != "conforming":
            pytest.skip(outcome.verdict)

    return run


def _examiner(subject: Subject, options: Any) -> Examiner:
    """Return who holds the backend to the clauses."""
    seed = options.gaugeblock_conformance_seed
    given = read(options.gaugeblock_shapes) if options.gaugeblock_shapes is not None else ()
    return Examiner(
        subject, Effort(options.gaugeblock_profile, seed, not options.gaugeblock_no_shrink, given)
    )


def _stop(session: pytest.Session, reason: str) -> NoReturn:
    """End a run whose backend cannot be used in this process."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[PROPERTY] = reason
    session.config.stash[STOPPED] = session.shouldstop = reason
    pytest.skip(reason)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a process that ended why it could not go on."""
    reason = getattr(node, "workeroutput", {}).get(PROPERTY)
    if reason is not None:
        node.config.stash[STOPPED] = reason


class Verdict:
    """A plugin of the main process: says at the end of a run what came of it.

    Parameters
    ----------
    description
        The backend's.
    options
        Of the run.
    """

    def __init__(self, description: Mapping[str, Any], options: Any) -> None:
        operations, dtypes = options.gaugeblock_operation, options.gaugeblock_dtype
        self.plan = Plan(
            options.gaugeblock_backend,
            description,
            tuple(cases(operations or OPERATIONS, dtypes or list(FORMATS))),
            Effort(options.gaugeblock_profile, options.gaugeblock_conformance_seed),
            options.gaugeblock_time_limit,
            options.gaugeblock_level,
        )
        self.report = self.plan.report()
        self.tried = self.violated = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record a finished test."""
        found = outcome_of(report)
        if found is not None:
            if found[0].operation in self.plan.operations:
                self.report.add(*found)
            self.tried += 1
            self.violated += found[1].verdict == "violating"

    @property
    def complete(self) -> bool:
        """Whether all that was selected was tried: without ``-k``, ``-x`` and the like, to the end."""
        return self.tried == len(self.plan.cases)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run in which nothing was violated, but nothing conforms either."""
        if STOPPED in session.config.stash:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        elif session.exitstatus == pytest.ExitCode.OK and self.complete and not self.report.conforming:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """Print the operations by verdict, and the verdict of the whole."""
        if STOPPED in config.stash:
            return
        terminalreporter.section("gaugeblock")
        by_verdict: dict[str, list[str]] = {}
        for (operation, dtype), entry in self.report.entries.items():
            by_verdict.setdefault(entry.verdict(self.report.level), []).append(f"{operation} {dtype}")
        for verdict, names in sorted(by_verdict.items()) if self.complete else ():
            few = ", ".join(sorted(names)[:6]) + (", …" if len(names) > 6 else "")
            terminalreporter.write_line(f"{len(names)} {verdict}: {few}")
        if self.complete:
            whole = "conforms" if self.report.conforming else "does not conform"
        else:
            found = "does not conform" if self.violated else "has no verdict"
            whole = f"{found} after {self.tried} of {len(self.plan.cases)} cases"
        report = self.report
        where = f"at level {report.level} on {report.device}, seed {report.seed}"
        terminalreporter.write_line(f"{report.backend} {whole} {where}")


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
