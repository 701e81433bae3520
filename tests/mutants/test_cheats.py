"""No cheat gets a verdict that it has not earned, and no honest kernel that looks like one loses its own.

Cheats that act on the suite itself are judged in a process of their own, which must survive them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gaugeblock.conformance
from gaugeblock.conformance.adapters import numpy as right
from gaugeblock.spec.operations import OPERATIONS

HERE = Path(__file__).parent / "cheats"
sys.path.insert(0, str(HERE))
import declining  # noqa: E402
import harness  # noqa: E402
import honest  # noqa: E402
import memory  # noqa: E402
import messages  # noqa: E402
import processes  # noqa: E402
import remembering  # noqa: E402
import wrong  # noqa: E402
from verdicts import found  # noqa: E402

SEED = int(os.environ.get("GAUGEBLOCK_SEED", "1"))
PATIENCE = 120.0
"""Seconds in which the suite has to be done with a cheat, whatever it does."""

PEACEFUL = (wrong, remembering, memory, declining)
HOSTILE = (messages, processes, harness)


@dataclass(frozen=True)
class Row:
    """A cheat and where it is."""

    name: str
    file: Path
    cheat: Any
    hostile: bool

    @property
    def backend(self) -> str:
        """Return the name by which ``gaugeblock conform`` knows it."""
        return f"{self.file}:{self.name}"


def rows() -> Iterator[Row]:
    """Yield all cheats, in the order of their files."""
    for module in (*PEACEFUL, *HOSTILE):
        for name, value in vars(module).items():
            if name.isupper() and hasattr(value, "expected"):
                yield Row(name, HERE / f"{module.__name__}.py", value, module in HOSTILE)


CHEATS = tuple(rows())
TWINS = tuple((name, value) for name, value in vars(honest).items() if isinstance(value, honest.Honest))


def row(name: str) -> Row:
    """Return a cheat by its name."""
    (one,) = (each for each in CHEATS if each.name == name)
    return one


def each() -> list[Any]:
    """Return one test parameter per cheat."""
    unseen = {one.name: [pytest.mark.skip(reason=one.cheat.unseen)] for one in CHEATS if one.cheat.unseen}
    return [
        pytest.param(one, id=f"{one.file.stem}-{one.name}", marks=unseen.get(one.name, [])) for one in CHEATS
    ]


def apart(one: Row, folder: Path) -> tuple[str, str]:
    """Judge a cheat in a process of its own, in a session of its own."""
    file, (operation, *_) = folder / "verdict.json", one.cheat.operations
    command = [sys.executable, str(HERE / "apart.py"), str(file), one.backend]
    process = subprocess.Popen(
        [*command, operation, one.cheat.dtype, one.cheat.level, "--seed", str(SEED)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "GAUGEBLOCK_SEED"},
        start_new_session=True,
    )
    try:
        _, words = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "the suite hung", ""
    if process.returncode or not file.exists():
        return f"the suite ended with {process.returncode}", words.decode(errors="replace")[-1000:]
    verdict, message = json.loads(file.read_text(encoding="utf-8"))
    return verdict, message


def left_behind() -> list[int]:
    """Return the processes that cheats have left behind."""
    pids = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if processes.LEFT_BEHIND.encode() in line.read_bytes().split(b"\0"):
                pids.append(int(line.parent.name))
        except OSError:
            continue
    return pids


@pytest.mark.one_of(8)
@pytest.mark.parametrize("one", each())
def test_no_cheat_gets_a_verdict_that_it_has_not_earned(one: Row, tmp_path: Path) -> None:
    cheat = one.cheat
    if one.hostile:
        verdict, message = apart(one, tmp_path)
        expected = {cheat.expected, "refused"}  # what cannot be loaded gets no verdict either
    else:
        operation, *_ = cheat.operations
        asked = one.backend, operation, cheat.dtype, cheat.level, SEED
        expected = {"partial", "unsupported"} if cheat.expected == "partial" else {cheat.expected}
        for profile in ("quick", "ci"):  # most are found in a few examples
            verdict, message = found(*asked, profile=profile)
            if verdict in expected:
                break
    assert verdict in expected, f"{cheat.story}: {message}"


@pytest.mark.parametrize(
    "name", ["ESCAPE_CODES", "LARGE_NAME", "SURROGATE", "LARGE_WORDS", "HOSTILE_DEVICE", "CHATTER"]
)
def test_words_of_a_cheat_are_cut_and_escaped(name: str, tmp_path: Path) -> None:
    _, message = apart(row(name), tmp_path)
    assert message
    assert len(message) < 20_000
    assert all(character.isprintable() or character == "\n" for character in message)


def test_a_process_left_behind_does_not_outlive_the_run(tmp_path: Path) -> None:
    before = set(left_behind())
    apart(row("DAEMON"), tmp_path)
    assert set(left_behind()) <= before


def test_nothing_is_left_in_the_package(tmp_path: Path) -> None:
    planted = Path(gaugeblock.conformance.__file__ or "").parent / processes.PLANTED
    try:
        apart(row("PLANTS"), tmp_path)
        assert not planted.exists()
    finally:
        planted.unlink(missing_ok=True)


def conform(one: Row, *more: str) -> "subprocess.CompletedProcess[str]":
    """Run the command on a cheat."""
    operation, *_ = one.cheat.operations
    command = [sys.executable, "-m", "gaugeblock.conformance.command", "conform", one.backend]
    chosen = ["--operation", operation, "--dtype", one.cheat.dtype, "--profile", "quick", "--seed", str(SEED)]
    return subprocess.run(
        [*command, *chosen, *more], capture_output=True, text=True, timeout=PATIENCE, start_new_session=True
    )


def test_a_report_says_the_same_after_the_run(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert conform(row("REWRITES_REPORT"), "--no-shrink", "--report", str(file)).returncode == 1
    before = file.read_bytes()
    assert b'"violating"' in before
    time.sleep(1.0)
    assert file.read_bytes() == before


def test_a_declaration_that_changes_between_loads_is_no_declaration() -> None:
    assert conform(row("CHANGING"), "--no-shrink").returncode != 0


def test_there_are_cheats_of_every_kind_with_their_story_and_source() -> None:
    assert len(CHEATS) >= 36
    assert len(TWINS) >= 14
    for one in CHEATS:
        assert one.cheat.story
        assert one.cheat.source
        assert set(one.cheat.operations) <= OPERATIONS.keys()


# The honest


@pytest.mark.one_of(8)
@pytest.mark.parametrize("name", [name for name, _ in TWINS])
def test_no_honest_twin_is_flagged(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where one of them keeps a log
    twin = getattr(honest, name)
    (operation,) = twin.operations
    backend = f"{HERE / 'honest.py'}:{name}"
    whole = {"profile": "quick", "first": False, "time_limit": 60.0}
    verdict, message = found(backend, operation, "float32", "strict", SEED, **whole)
    assert verdict == "conforming", f"{twin.story}: {message}"


@pytest.mark.filterwarnings("ignore:slow path")
@pytest.mark.parametrize("name", [name for name, _ in TWINS])
def test_an_honest_twin_is_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    twin = getattr(honest, name)
    (operation,) = twin.operations
    rng = np.random.default_rng(SEED)
    for shape in ((5, 5), (33, 33), (64, 64)):
        arrays = [
            rng.standard_normal(shape).astype(np.float32) for _ in range(2 if operation == "gemm" else 1)
        ]
        got = getattr(twin, operation)(*arrays)
        np.testing.assert_array_equal(got, getattr(right, operation)(*arrays))
    while honest.STARTED:
        honest.STARTED.pop().communicate()


def test_the_pool_hands_memory_out_again_when_its_array_is_gone() -> None:
    pool = honest.Pool()
    x = np.float32([-1, 2])
    first = pool.relu(x)
    second = pool.relu(x + 1)
    np.testing.assert_array_equal(first, [0, 2])
    np.testing.assert_array_equal(second, [0, 3])
    assert pool.reused == 0
    del first
    pool.relu(x)
    assert pool.reused == 1
