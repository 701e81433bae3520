"""How fast launches on the simulated device are beside another checkout: see README.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from launches import CASES
from measuring import Side, Work, race

HERE = Path(__file__).parent
OWN = HERE.parents[1]
BASE = Path(os.environ.get("GAUGEBLOCK_BASE", OWN)).resolve()
"""The other checkout; by default this one, and then the ratios say how noisy the machine is."""
TIMES = {"1e6": 1, "256x256": 1, "512 rows": 1, "conv": 4, "gemm": 6}


class Process:
    """A checkout at work in a process of its own."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        for name in ("reference", "spec", "gpu"):
            (folder / "gaugeblock").mkdir(parents=True, exist_ok=True)
            (folder / "gaugeblock" / name).symlink_to(checkout / name)
        names = {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1", "GAUGEBLOCK_DEVICE": "simulator"}
        self._process = subprocess.Popen(
            [sys.executable, HERE / "launches.py"], env=os.environ | names, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, case: str, times: int) -> str:
        """Launch; for 0 times return what tells results apart."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(case, times, file=self._process.stdin, flush=True)
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    """Return this checkout and the other one."""
    started = [Process(each, tmp_path_factory.mktemp("tree")) for each in (OWN, BASE)]
    yield started
    for each in started:
        each.close()


@pytest.mark.benchmark(group="launch")
@pytest.mark.parametrize("case", CASES)
def test_a_launch_computes_the_same_in_both_checkouts(
    benchmark: Any, rounds: int, processes: list[Process], case: str
) -> None:
    times = next((times for word, times in TIMES.items() if word in case), 20)
    names = ("this checkout", str(BASE))
    own, peer = (
        Side(name, partial(process.run, case, times), lambda: None, times)  # type: ignore[arg-type, return-value]
        for name, process in zip(names, processes, strict=True)
    )
    race(benchmark, own, peer, Work(0, 0), None, rounds)
    results = {process.run(case, 0) for process in processes}
    assert len(results) == 1
