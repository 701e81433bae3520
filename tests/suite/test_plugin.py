"""The suite as pytest runs it for anyone: found by its name, in any project, unnoticed where not asked."""

import importlib.metadata
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gaugeblock.conformance import entry

GOOD = """
import numpy as np

def relu(x):
    if x.dtype.name not in ("float32", "float16", "bfloat16"):
        raise TypeError(x.dtype)
    return np.maximum(x, np.zeros((), x.dtype))
"""
BAD = "import numpy as np\n\ndef relu(x):\n    return np.where(x > 0, x, np.zeros((), x.dtype))\n"
DECLINES = "def relu(x):\n    raise NotImplementedError\n"
CHANGES = "import time\n\ndevice = f'device {time.time_ns()}'\n\ndef relu(x):\n    return x\n"

SUITE = ("--pyargs", "gaugeblock.conformance")
RELU = ("--operation", "relu", "--dtype", "float32", "--profile", "quick")

NAME = "gaugeblock"
METADATA = "import importlib.metadata as m; print(m.entry_points(group='pytest11').names)"
INSTALLED = NAME in subprocess.check_output([sys.executable, "-P", "-c", METADATA], text=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with kernels, and one for temporary files."""
    for name, text in (("good", GOOD), ("bad", BAD), ("declines", DECLINES), ("changes", CHANGES)):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "temporary").mkdir()
    return tmp_path


def run(
    *arguments: str, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user does; where Gaugeblock is not installed, its entry point is named."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *(() if INSTALLED else ("-p", entry.__name__)),
        *arguments,
    ]
    settings = {**os.environ, "TMPDIR": str(cwd / "temporary"), **(environment or {})}
    settings.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, check=False)


def test_a_right_kernel_passes_and_the_verdict_is_said(project: Path) -> None:
    done = run(*SUITE, "--backend", "good.py", *RELU, "--junitxml=x.xml", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 conforming: relu float32\n" in done.stdout
    assert re.search(r"^good\.py conforms at level numeric on .*, seed \d+$", done.stdout, re.MULTILINE)
    cases = ET.parse(project / "x.xml").getroot().findall(".//testcase")
    assert {"test_keeps[relu-float32-ACT-S1]"} <= {case.get("name") for case in cases}


def test_a_wrong_kernel_fails_alike_in_two_processes(project: Path) -> None:
    arguments = (*SUITE, "--backend", "bad.py", *RELU, "--conformance-seed", "1")
    one, two = (run(*arguments, *more, cwd=project) for more in ((), ("-n", "2")))
    assert (one.returncode, two.returncode) == (1, 1)
    assert "bad.py does not conform at level numeric on" in one.stdout
    failed = [set(re.findall(r"^FAILED .*\[(.*?)\]", done.stdout, re.MULTILINE)) for done in (one, two)]
    assert failed[0] == failed[1]
    assert "relu-float32-ACT-A2" in failed[0]


def test_two_processes_share_the_seed_that_was_drawn_and_leave_nothing_behind(project: Path) -> None:
    probe = "def pytest_sessionfinish(session):\n    import os\n" + (
        "    open(f'seed{os.getpid()}', 'w').write(str(session.config.option.gaugeblock_conformance_seed))\n"
    )
    (project / "conftest.py").write_text(probe)
    assert run(*SUITE, "--backend", "good.py", *RELU, "-n", "2", cwd=project).returncode == 0
    seeds = [file.read_text() for file in project.glob("seed*")]
    assert len(seeds) == 3
    assert len(set(seeds)) == 1
    assert list((project / "temporary").glob("gaugeblock*")) == []
    assert not (project / ".hypothesis").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--backend is missing"),
        (("-n", "2"), "--backend is missing"),
        (("--backend", "nothing.py"), "there is no file nothing.py"),
        (("--backend", "nothing.py", "-n", "2"), "there is no file nothing.py"),
    ],
)
def test_a_backend_that_cannot_be_used_is_one_line(
    project: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = run(*SUITE, *arguments, cwd=project)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.startswith(f"ERROR: {message}")
    assert len(done.stderr.split("\n\n")) == 2
    assert "Traceback" not in done.stdout


def test_a_backend_of_which_nothing_conforms_fails_the_run(project: Path) -> None:
    done = run(*SUITE, "--backend", "declines.py", *RELU, cwd=project)
    assert done.returncode == 1
    assert "declines.py does not conform" in done.stdout


def test_a_part_of_the_cases_is_no_verdict(project: Path) -> None:
    done = run(*SUITE, "--backend", "good.py", *RELU, "-k", "ACT-S1", cwd=project)
    assert done.returncode == 0
    assert re.search(r"^good\.py has no verdict after 1 of \d+ cases", done.stdout, re.MULTILINE)


def test_a_backend_that_describes_itself_otherwise_in_another_process_stops_the_run(project: Path) -> None:
    done = run(*SUITE, "--backend", "changes.py", *RELU, "-n", "2", cwd=project)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stdout.count("changes.py describes itself otherwise in another process") == 1
    assert "INTERNALERROR" not in done.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_command_stops_for_that_too(project: Path, jobs: str) -> None:
    command = [sys.executable, "-m", "gaugeblock.conformance.command", "conform", "changes.py"]
    command += ["--operation", "relu", "--jobs", jobs]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"gaugeblock: changes.py describes itself otherwise .*\n", done.stderr)


HOSTILE_SETTINGS = """
[pytest]
filterwarnings = error
python_files = check_*.py
python_functions = check_*
addopts = --strict-markers --strict-config --doctest-modules --import-mode=importlib
empty_parameter_set_mark = fail_at_collect
"""
HOSTILE_PLUGIN = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--profile", action="store_true")
    parser.addoption("--backend", default="theirs")
    parser.addoption("--dtype")

@pytest.fixture
def subject():
    raise AssertionError

@pytest.fixture
def case():
    raise AssertionError
"""


@pytest.fixture
def hostile(project: Path) -> Path:
    """Return a project that names its tests otherwise, and has options and fixtures of the suite's names."""
    (project / "pytest.ini").write_text(HOSTILE_SETTINGS)
    (project / "conftest.py").write_text(HOSTILE_PLUGIN)
    (project / "own").mkdir()
    check = "def check_option(request):\n    assert request.config.getoption('--backend') == 'theirs'\n"
    (project / "own" / "check_own.py").write_text(check)
    return project


@pytest.mark.parametrize("several", [(), ("-n", "2")])
def test_the_suite_runs_beside_options_and_settings_that_clash(
    hostile: Path, several: tuple[str, ...]
) -> None:
    suite = ("--pyargs", "own", "gaugeblock.conformance", "--operation", "relu", "--conformance-seed", "1")
    options = ("--gaugeblock-backend", "good.py", "--gaugeblock-dtype", "float32", "-W", "error")
    done = run(*suite, *options, *several, cwd=hostile)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 conforming: relu float32\n" in done.stdout
    assert "\n19 passed" in done.stdout


def test_a_run_that_does_not_ask_for_the_suite_imports_nothing_of_it(hostile: Path) -> None:
    check = (
        "import sys\n\ndef check_modules(request):\n"
        "    assert not {'gaugeblock.spec', 'gaugeblock.conformance.plugin'} & set(sys.modules)\n"
        "    assert not hasattr(request.config.option, 'gaugeblock_backend')\n"
    )
    (hostile / "own" / "check_modules.py").write_text(check)
    done = run("own", "-W", "error", cwd=hostile)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 passed" in done.stdout
    assert "warning" not in done.stdout


def test_the_entry_imports_nothing_but_pytest() -> None:
    probe = "import sys, pytest; before = set(sys.modules); import gaugeblock.conformance.entry; " + (
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.check_output([sys.executable, "-P", "-c", probe], text=True)
    assert done == "['gaugeblock', 'gaugeblock.conformance', 'gaugeblock.conformance.entry']\n"


@pytest.mark.skipif(not INSTALLED, reason="needs the installed package")
def test_pytest_takes_no_module_of_ours_for_one_of_a_project() -> None:
    """It rewrites the assertions of a plugin's packages, and warns of those that were imported before."""
    from _pytest.config import _iter_rewritable_modules

    files = list(map(str, importlib.metadata.files("gaugeblock") or []))
    if any("__editable__" in file or file.startswith("tests") for file in files):
        pytest.skip("needs the package installed as its users install it")
    assert list(_iter_rewritable_modules(files)) == ["gaugeblock_pytest"]


@pytest.mark.skipif(not INSTALLED, reason="needs the installed package")
def test_the_package_is_the_command_and_still_a_namespace(project: Path) -> None:
    command = [sys.executable, "-m", "gaugeblock"]
    done = subprocess.run(
        [*command, "spec", "GEMM-S1"], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("GEMM-S1")
    assert subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 2
    code = "import gaugeblock; print(gaugeblock.__file__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "None\n"
