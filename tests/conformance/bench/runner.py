"""A run: the races, pytest-benchmark to run them, and what came of each."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.bench.contestants import Contestant
from gaugeblock.conformance.bench.race import Race
from gaugeblock.conformance.bench.workloads import given, problems
from gaugeblock.conformance.doors import importing
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.gpu.runtime.roofline import GPU

__all__ = ["BenchError", "races", "run"]


class BenchError(Exception):
    """There is nothing to time, or nothing to time it with; one line says why."""


def races(
    names: Sequence[str],
    operations: Sequence[str],
    dtypes: Sequence[str],
    layers: int,
    call: LayerCall | None,
    gpu: GPU,
) -> list[Race]:
    """Return the races between some backends.

    Parameters
    ----------
    names
        The backends; the others are compared with the first.
    operations
        Which operations; none are all that the first backend has.
    dtypes
        In which formats.
    layers
        How many layers of networks are tried of each operation.
    call
        Shapes and parameters of the one operation, in place of layers.
    gpu
        The GPU for which times of simulated kernels are predicted.

    Raises
    ------
    BenchError
        pytest-benchmark is missing, or there is no race.
    BackendError
        A backend cannot be used.
    """
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise BenchError("pytest-benchmark is not installed: pip install 'gaugeblock[benchmark]'")
    importing.keep_doors()
    sys.path.insert(0, os.getcwd())  # for a backend that is a module there
    contestants = [Contestant(name) for name in dict.fromkeys(names)]
    first = contestants[0].backend
    if missing := set(operations) - set(first.functions):
        raise BackendError(
            f"{first.name} has no {', '.join(sorted(missing))}, but {', '.join(first.functions)}"
        )
    found = []
    for operation in operations or first.functions:
        for dtype in dtypes:
            having = [
                each
                for each in contestants
                if operation in each.backend.functions
                and dtype in each.backend.declared.domain_of(operation).dtypes
            ]
            backends = [each.backend for each in having]
            if contestants[0] not in having:
                continue
            if call is None:
                scale = min((each.scale for each in having), key=lambda scale: scale.work)
                asked = list(problems(operation, dtype, scale, layers, backends))
            else:
                asked = [problem for problem in (given(call, dtype, backends),) if problem is not None]
            found += [Race(problem, having, gpu) for problem in asked]
    if not found:
        raise BenchError(f"{first.name} declares nothing that could be timed here: give --shape")
    return found


class _Plugin:
    """Gives pytest the races, and tells when one has ended."""

    def __init__(self, asked: Sequence[Race], rounds: int, progress: Callable[[Race], None]) -> None:
        self.asked = asked
        self.rounds = rounds
        self.progress = progress
        self.broken: list[str] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each race."""
        metafunc.parametrize("race", self.asked, ids=str)
        metafunc.parametrize("rounds", [self.rounds], ids=[""])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        """Say that a race is over."""
        try:
            return (yield)
        finally:
            self.progress(item.callspec.params["race"])  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what broke."""
        if report.failed:
            self.broken.append(f"{report.nodeid}: {report.longreprtext}")

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Write down what ran."""
        backends = [each.backend for race in self.asked for each in race.contestants]
        machine_info["backends"] = {
            each.name: {"device": each.device, "versions": dict(each.versions)} for each in backends
        }


def run(
    asked: Sequence[Race], rounds: int, json: Path | None, progress: Callable[[Race], None]
) -> list[dict[str, Any]]:
    """Run races with pytest-benchmark and return what came of each.

    Parameters
    ----------
    asked
        The races.
    rounds
        How often all sides take their turns.
    json
        Where pytest-benchmark writes its file.
    progress
        Called after every race.

    Raises
    ------
    BenchError
        A race broke.
    """
    here = Path(__file__).parent
    plugin = _Plugin(asked, rounds, progress)
    arguments = [
        str(here / "races.py"),
        "-c",
        str(here.parent / "pytest.ini"),
        "--rootdir",
        str(here),
        *("--import-mode=importlib", "--assert=plain"),
        *("-o", "python_files=races.py"),
        *(
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-p",
            "no:hypothesispytest",
            "-q",
            "--no-header",
            "--no-summary",
        ),
        "--benchmark-min-rounds=1",
        *([] if json is None else [f"--benchmark-json={json}"]),
    ]
    with contextlib.redirect_stdout(io.StringIO()) as words:
        code = pytest.main(arguments, plugins=[plugin])
    if plugin.broken or code != pytest.ExitCode.OK:
        raise BenchError("\n".join(plugin.broken) or words.getvalue())
    return [race.found for race in asked]
