"""A backend sees nothing of the run, changes nothing but its own files, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from gaugeblock.conformance import Array, Problem
from gaugeblock.conformance.backend import isolation
from gaugeblock.conformance.backend.subject import CallFailed, Subject

RELU = Problem("relu", "float32", {"x": Array((5,))})

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the means are Linux's")

Said = Callable[[str], str]


def isolated(source: str, folder: Path, means: Collection[str] = isolation.MEANS) -> Subject:
    """Start a backend whose ``relu`` runs some lines and raises an exception with what they call ``said``."""
    lines = "".join(f"    {line}\n" for line in source.splitlines())
    file = folder / "my_kernels.py"
    file.write_text(f"import os, signal, tempfile, time\ndef relu(x):\n{lines}    raise RuntimeError(said)\n")
    return Subject(str(file), 20.0, means=means)


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Said]:
    """Run lines in a backend that all means isolate, and return what they say."""
    subjects = []

    def run(source: str, *means: str) -> str:
        subjects.append(isolated(source, tmp_path, means or isolation.MEANS))
        with pytest.raises(CallFailed, match="RuntimeError") as failure:
            subjects[-1].call(RELU)
        return str(failure.value).removeprefix("raised RuntimeError: ").rpartition(" (")[0]

    yield run
    for subject in subjects:
        subject.close()


def held_here(*means: str) -> bool:
    """Whether this system has some means."""
    subject = Subject("numpy", means=means or isolation.MEANS)
    subject.close()
    return all(word in subject.isolation for word in ("namespaces", "Landlock"))


@pytest.mark.parametrize(
    ("held", "line"),
    [
        (
            ["namespaces", "privileges", "landlock"],
            "user, process, mount and IPC namespaces of its own; files written in temporary and cache folders"
            " only (Landlock); no new privileges; not isolated: network, GPU, reading files",
        ),
        (
            ["user"],
            "a user without rights; not isolated: network, GPU, reading files, other processes",
        ),
        ([], "none; not isolated: network, GPU, reading files, other processes, writing files"),
    ],
)
def test_one_line_says_what_is_isolated_and_what_is_not(held: list[str], line: str) -> None:
    assert isolation.in_words(held) == line


def test_neither_arguments_nor_environment_tell_of_the_run(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GAUGEBLOCK_SEED", "PYTEST_ADDOPTS", "HYPOTHESIS_PROFILE"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    words = said("said = [v for k, v in os.environ.items() if k[:4] in ('GAUG', 'PYTE', 'HYPO')]")
    assert words == "['simulator']"
    words = said("import sys\nsaid = sys.orig_argv[4:]")
    assert "my_kernels.py', '" in words
    assert words.count(",") == 3  # and three descriptors


def test_its_temporary_folder_is_its_own_and_goes_with_it(said: Said, tmp_path: Path) -> None:
    subject = isolated("said = tempfile.mkdtemp()", tmp_path)
    with pytest.raises(CallFailed) as failure:
        subject.call(RELU)
    folder = Path(str(failure.value).removeprefix("raised RuntimeError: ").partition(" (")[0])
    assert folder.is_dir()
    assert folder.parent.name.startswith("gaugeblock-")
    subject.close()
    assert not folder.parent.exists()


def test_a_folder_nested_too_deep_for_python_goes_too(tmp_path: Path) -> None:
    subject = isolated(
        "os.chdir(tempfile.gettempdir())\nsaid = os.getcwd()\n"
        "for _ in range(1200): os.mkdir('d'); os.chdir('d')",
        tmp_path,
    )
    with pytest.raises(CallFailed) as failure:
        subject.call(RELU)
    subject.close()
    assert not Path(str(failure.value).removeprefix("raised RuntimeError: ").partition(" (")[0]).exists()


NO_WRITING = """
try:
    open({path!r}, "a").close()
    said = "written"
except OSError as error:
    said = type(error).__name__
"""


@pytest.mark.skipif(not held_here(), reason="this system has no Landlock or no namespaces")
@pytest.mark.parametrize(
    "path", [isolation.__file__, sys.prefix + "/new", "/tmp/new", "/proc/sys/vm/overcommit_memory"]
)
def test_files_of_others_cannot_be_written(said: Said, path: str) -> None:
    assert said(NO_WRITING.format(path=path)) == "PermissionError"
    assert not path.endswith("new") or not os.path.exists(path)


@pytest.mark.parametrize("place", ["/dev/null", "{cache}/gaugeblock-test"])
def test_devices_and_cache_folders_can_be_written(
    said: Said, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert said(NO_WRITING.format(path=place.format(cache=tmp_path / "cache"))) == "written"


@pytest.mark.skipif(not held_here(), reason="this system has no Landlock or no namespaces")
def test_no_process_of_the_suite_can_be_seen(said: Said) -> None:
    words = said(
        "said = [open(f'/proc/{p}/cmdline').read()[-40:] for p in os.listdir('/proc') if p.isdigit()]"
    )
    assert words.count("my_kernels.py") == 2  # the keeper's and the worker's
    assert "pytest" not in words


@pytest.mark.parametrize(
    "means", [("namespaces",), ("landlock",), ("user",), ()], ids=lambda m: "".join(m) or "none"
)
def test_fewer_means_isolate_less_and_all_else_is_the_same(means: tuple[str, ...]) -> None:
    # In a process of its own, whose command line goes.
    script = (
        "import os\nfrom gaugeblock.conformance import Array, Problem\n"
        "from gaugeblock.conformance.backend.subject import Subject\n"
        f"subject = Subject('numpy', means={means!r})\n"
        "print(subject.isolation)\nprint(open('/proc/self/cmdline').read())\n"
        "print(subject.call(Problem('relu', 'float32', {'x': Array((5,))})).raw.shape)\nsubject.close()\n"
    )
    command = [sys.executable, "-c", script, "the secret seed"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line, *arguments, shape = done.stdout.splitlines()
    assert shape == "(5,)"
    assert ("namespaces" in line) or ("secret" not in "".join(arguments))
    assert ("other processes" in line) == ("namespaces" not in line)


def processes() -> set[int]:
    """Return the processes that descend from this one."""
    return set(isolation.descendants(os.getpid()))


DAEMON = """
between = os.fork()
if between == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
os.waitpid(between, 0)
said = "gone"
"""


@pytest.mark.parametrize("means", [isolation.MEANS, ("landlock",)], ids=["namespaces", "none"])
def test_a_daemon_ends_with_the_backend(tmp_path: Path, means: tuple[str, ...]) -> None:
    before = processes()
    subject = isolated(DAEMON, tmp_path, means)
    with pytest.raises(CallFailed, match="gone"):
        subject.call(RELU)
    assert len(processes() - before) == 4  # watcher, keeper, worker, daemon
    subject.close()
    assert processes() <= before


@pytest.mark.parametrize("means", [isolation.MEANS, ("landlock",)], ids=["namespaces", "none"])
def test_no_backend_outlives_a_suite_that_was_ended(tmp_path: Path, means: tuple[str, ...]) -> None:
    file = tmp_path / "my_kernels.py"
    file.write_text(
        "import os, time\nif os.fork() == 0: time.sleep(1000)\ndef relu(x):\n  time.sleep(1000)\n"
    )
    script = (
        "import os, sys\nfrom gaugeblock.conformance.backend import isolation\n"
        "from gaugeblock.conformance.backend.subject import Subject\n"
        f"subject = Subject({str(file)!r}, means={means!r})\n"
        "print(subject._child._folder)\n"
        "print(*isolation.descendants(os.getpid()), flush=True)\nsys.stdin.read()\n"
    )
    suite = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert suite.stdout is not None
    assert suite.stdin is not None
    folder = suite.stdout.readline().strip()
    started = [int(word) for word in suite.stdout.readline().split()]
    suite.kill()
    suite.wait()
    assert len(started) == 4
    deadline = time.monotonic() + 20
    while alive := [p for p in started if os.path.exists(f"/proc/{p}")]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert not os.path.exists(folder)
    suite.stdin.close()
    suite.stdout.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_landlock_root_becomes_a_user_without_rights_who_can_read_what_is_needed() -> None:
    script = (
        "import os, sys, tempfile\nfrom gaugeblock.conformance.backend import isolation\n"
        "sys.executable = '/bin/sh'\nfolder = tempfile.mkdtemp()\n"
        "unreadable = tempfile.mkdtemp()\n"
        "print(isolation._become_nobody(folder, [unreadable]), os.getresuid(), os.getresgid())\n"
        "print(isolation._become_nobody(folder, []), os.getresuid(), os.getresgid())\n"
        "os.rmdir(folder) if os.access(folder, os.W_OK) else None\n"
        "print(os.access(isolation.__file__, os.W_OK), open('/proc/self/status').read(5))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    nobody = f"({isolation.NOBODY}, {isolation.NOBODY}, {isolation.NOBODY})"
    if done.stdout.splitlines()[1].startswith("False"):
        pytest.skip("what Python needs is not for every user to read here")
    assert done.stdout.splitlines() == ["False (0, 0, 0) (0, 0, 0)", f"True {nobody} {nobody}", "False Name:"]
