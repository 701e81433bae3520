"""``gaugeblock bench``: backends take turns, what was timed is held to its bounds, and files are compared."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pytest_benchmark")

from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import CONFORMING, USAGE, VIOLATING
from gaugeblock.conformance.reports import bench

MINE = """
import numpy as np

def gemm(a, b, c=None, *, alpha=1.0, beta=0.0, transpose_a=False, transpose_b=False):
    a = a.mT if transpose_a else a
    b = b.mT if transpose_b else b
    return alpha * (a @ b) {fault}

def relu(x, out=None):
    return np.maximum(x, 0, out=out)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide that this very test may share the machine with others: pytest-benchmark would time nothing."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(fault=""))
    return file


def timed(file: Path, *arguments: str) -> list[Mapping[str, Any]]:
    """Run ``bench`` with few rounds, and return the races that it wrote."""
    assert main(["bench", *arguments, "--rounds", "3", "--layers", "1", "--json", str(file)]) == CONFORMING
    return list(bench.read(file))


def test_backends_take_turns_on_the_same_call_and_ratios_have_quartiles(mine: Path, tmp_path: Path) -> None:
    (race,) = timed(tmp_path / "b.json", str(mine), "numpy", "--operation", "gemm")
    own, other = race["sides"].values()
    assert own["verdict"] == other["verdict"] == "right"
    assert own["times_the_first"] == 1.0
    low, high = other["times_the_first_quartiles"]
    assert 0 < low <= other["times_the_first"] <= high
    assert other["share_of_roofline"] > 0
    stats = json.loads((tmp_path / "b.json").read_text())["benchmarks"][0]["stats"]
    assert stats["rounds"] == 3


def test_simulated_kernels_are_counted_and_not_timed(tmp_path: Path) -> None:
    (race,) = timed(tmp_path / "b.json", "gpu", "numpy", "--operation", "relu", "--shape", "x=8x64")
    simulated, numpy = race["sides"].values()
    assert "seconds" not in simulated
    assert simulated["global_bytes"] == race["nbytes"] == 2 * 4 * 8 * 64
    assert simulated["predicted_on"] == "H100"
    assert numpy["seconds"] > 0


def test_what_was_timed_and_is_wrong_has_no_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(fault="+ 1e-3"))
    call = ["--operation", "gemm", "--shape", "a=8x8", "--shape", "b=8x8", "--rounds", "1"]
    assert main(["bench", str(tmp_path / "mine.py"), *call]) == VIOLATING
    assert "wrong: GEMM-A1 violated" in " ".join(capsys.readouterr().out.split())


def test_the_table_has_a_row_for_each_call_and_the_picture_is_drawn(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "bench.svg"
    timed(tmp_path / "b.json", str(mine), "numpy", "--operation", "relu", "--picture", str(picture))
    assert "relu float32" in capsys.readouterr().out
    assert "relu float32" in picture.read_text()


def race(**side: Any) -> list[dict[str, Any]]:
    """Return a race with one side."""
    side = {"verdict": "right"} | side
    return [{"operation": "relu", "dtype": "float32", "problem": "x=8", "sides": {"mine": side}}]


@pytest.mark.parametrize(
    ("old", "new", "worse"),
    [
        ({"instructions": 100}, {"instructions": 104}, None),
        ({"instructions": 100}, {"instructions": 120}, True),
        ({"instructions": 100}, {"instructions": 80}, False),
        ({}, {"verdict": "wrong: ACT-A3"}, True),
    ],
)
def test_what_was_counted_is_worse_beyond_the_threshold(
    old: dict[str, Any], new: dict[str, Any], worse: bool | None
) -> None:
    changes = bench.compare(race(**old), race(**new))
    assert [change.worse for change in changes] == ([] if worse is None else [worse])


def test_a_ratio_is_worse_only_where_the_quartiles_are_apart() -> None:
    def ratio(low: float, median: float, high: float) -> list[dict[str, Any]]:
        return race(times_the_first=median, times_the_first_quartiles=[low, high])

    assert not bench.compare(ratio(0.9, 1.0, 1.2), ratio(1.1, 1.3, 1.5))
    assert bench.compare(ratio(0.9, 1.0, 1.1), ratio(1.2, 1.3, 1.5))[0].worse
    assert not bench.compare(ratio(1.2, 1.3, 1.5), ratio(0.9, 1.0, 1.1))[0].worse


def test_diff_compares_two_files_of_benchmarks(mine: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    timed(file, "gpu", "--operation", "relu", "--shape", "x=8x64")
    assert main(["diff", str(file), str(file)]) == CONFORMING
    data = json.loads(file.read_text())
    data["benchmarks"][0]["extra_info"]["sides"]["gpu"]["global_bytes"] *= 2
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps(data))
    assert main(["diff", str(file), str(worse)]) == VIOLATING
    assert main(["diff", str(file), str(worse), "--threshold", "1.5"]) == CONFORMING


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.py"], "there is no file absent.py"),
        (["numpy", "--operation", "gem"], "gem"),
        (["numpy", "--rounds", "0"], "expected at least 1"),
        (["numpy", "--gpu", "Z80"], "there is no 'Z80'"),
        (["numpy", "--threshold", "-1"], "expected a share"),
        (["numpy", "--shape", "x=8"], "--operation NAME"),
        (["numpy", "--json", "/nowhere/b.json"], "there is no folder /nowhere"),
        (["numpy", "--against", "absent.json"], "absent.json"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(["bench", *arguments]))
    assert ended.value.code == USAGE
    assert words in capsys.readouterr().err
