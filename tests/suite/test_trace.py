"""``pytest --spec-trace`` writes which tests name which clause and how they ended, in several processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest


@pytest.mark.spec("GEMM-S1")
@pytest.mark.spec("GEMM-A1")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_passes_twice(number):
    assert number < 3


@pytest.mark.spec("GEMM-S1")
def test_passes():
    pass


@pytest.mark.spec("GEMM-X1")
def test_is_skipped():
    pytest.skip("not here")


@pytest.fixture
def broken():
    raise RuntimeError


@pytest.mark.spec("GEMM-X2")
def test_never_begins(broken):
    pass


def test_names_no_clause():
    pass
"""


def traced(folder: Path, *options: str) -> Any:
    """Return the trace of a run of some tests, with our settings."""
    (folder / "conftest.py").write_text(CONFTEST.read_text("utf-8"))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = spec(clause): a clause\n")
    (folder / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "--spec-trace", "new/trace.json", *options]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return json.loads((folder / "new" / "trace.json").read_text("utf-8"))


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_is_written_down(processes: str, tmp_path: Path) -> None:
    trace = traced(tmp_path, "-n", processes)
    assert trace["format"] == 1
    assert trace["date"] is not None
    assert trace["clauses"] == {
        "GEMM-A1": {"test_some.py::test_passes_twice": {"failed": 1, "passed": 2}},
        "GEMM-S1": {
            "test_some.py::test_passes": {"passed": 1},
            "test_some.py::test_passes_twice": {"failed": 1, "passed": 2},
        },
        "GEMM-X1": {"test_some.py::test_is_skipped": {"skipped": 1}},
        "GEMM-X2": {"test_some.py::test_never_begins": {"failed": 1}},
    }


def test_collecting_tells_the_tests_and_no_endings(tmp_path: Path) -> None:
    trace = traced(tmp_path, "--collect-only")
    assert trace["date"] is None
    assert set(trace["clauses"]) == {"GEMM-A1", "GEMM-S1", "GEMM-X1", "GEMM-X2"}
    assert trace["clauses"]["GEMM-S1"] == {
        "test_some.py::test_passes": {},
        "test_some.py::test_passes_twice": {},
    }
