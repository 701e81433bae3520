"""The reports that ``gaugeblock conform`` writes, also of a run that is ended early."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import FORMS
from gaugeblock.conformance.reports import files
from gaugeblock.conformance.reports.report import Report
from gaugeblock.spec import citation

GOOD = "import numpy as np\n\ndef relu(x):\n    return np.maximum(x, np.zeros((), x.dtype))\n"
SLOW = """
import os, time
import numpy as np

def relu(x):
    return np.maximum(x, np.zeros((), x.dtype))

def tanh(x):
    open({mark!r}, "w").close()
    time.sleep(60)
"""
QUICK = ("--operation", "relu", "--dtype", "fp32", "--profile", "quick", "--jobs", "1", "--seed", "1")
NAMES = {"report": "r.json", "junit": "r.xml", "html": "r.html", "badge": "r.svg"}


def start(folder: Path, jobs: int) -> subprocess.Popen[str]:
    """Start a run, and wait until a kernel is in its long sleep."""
    mark = Path("/dev/shm", folder.name + str(os.getpid()))  # where a backend may write
    (folder / "slow.py").write_text(SLOW.replace("{mark!r}", repr(str(mark))))
    command = [
        sys.executable,
        "-m",
        "gaugeblock.conformance.command",
        "conform",
        "slow.py",
        "--report",
        "r.json",
    ]
    chosen = ("--operation", "relu", "--operation", "tanh", "--profile", "quick", "--jobs", str(jobs))
    # A shell that runs tests in the background ignores SIGINT for all of them; a user's does not.
    process = subprocess.Popen(
        [*command, *chosen],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    mark.unlink(missing_ok=True)
    return process


def living(folder: Path) -> list[int]:
    """Return the processes of kernels that still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder and b"slow.py" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def gone(folder: Path, seconds: float = 10.0) -> bool:
    """Whether the processes of kernels end soon: who watches over them may outlive the run by a moment."""
    deadline = time.monotonic() + seconds
    while living(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [False, True])
def test_a_signal_ends_a_run_soon_with_a_report_of_what_was_done(
    jobs: int, number: signal.Signals, whole_group: bool, tmp_path: Path
) -> None:
    with start(tmp_path, jobs) as process:
        sent = time.monotonic()
        (os.killpg if whole_group else os.kill)(process.pid, number)
        error = process.communicate(timeout=30)[1]
        seconds = time.monotonic() - sent
    assert process.returncode == 128 + number
    assert error.startswith(f"gaugeblock: ended by {number.name} after ")
    assert error.count("\n") == 1
    assert seconds < 6  # 2 on a machine of one's own
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["complete"] is False
    assert found["backend"] == "slow.py"
    assert gone(tmp_path)


def test_a_second_signal_ends_a_run_at_once(tmp_path: Path) -> None:
    with start(tmp_path, 1) as process:
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode in (-signal.SIGINT, 130)
    for pid in living(tmp_path):  # its parent had no time to end it
        os.kill(pid, signal.SIGKILL)


def test_every_form_that_is_asked_for_is_written(
    tmp_path: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Report, "as_data", lambda self: report)
    (tmp_path / "good.py").write_text(GOOD)
    asked = [word for form in FORMS for word in (f"--{form}", str(tmp_path / NAMES[form]))]
    main(["conform", str(tmp_path / "good.py"), *QUICK, *asked])
    assert files.read(tmp_path / "r.json") == report
    assert ElementTree.parse(tmp_path / "r.xml").getroot().tag == "testsuites"
    assert ElementTree.parse(tmp_path / "r.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")


def test_a_full_disk_costs_one_form_and_leaves_the_others(
    tmp_path: Path,
    report: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Report, "as_data", lambda self: report)
    (tmp_path / "good.py").write_text(GOOD)
    files_asked = ("--report", "/dev/full", "--junit", str(tmp_path / "r.xml"))
    assert main(["conform", str(tmp_path / "good.py"), *QUICK, *files_asked]) == 2
    assert capsys.readouterr().err == "gaugeblock: --report: [Errno 28] No space left on device\n"
    assert ElementTree.parse(tmp_path / "r.xml").getroot().tag == "testsuites"


@pytest.mark.parametrize("form", list(FORMS))
def test_a_form_that_cannot_be_written_is_refused_before_the_work(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conform", "numpy", f"--{form}", "no/such/folder/r"]) == 2
    assert capsys.readouterr().err.startswith(f"gaugeblock: --{form}: there is no folder ")


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["conform", "--help"])
    words = capsys.readouterr().out
    assert all(f"\n  {code} " in words for code in (0, 1, 2, 3, 130))
    assert " 143 " in words


def test_the_version_is_that_of_the_package_and_of_the_spec(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    words = capsys.readouterr().out
    assert words.startswith("gaugeblock ")
    assert words.endswith(f", spec {citation.VERSION}\n")
