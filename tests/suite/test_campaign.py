"""A campaign gives the verdicts that its plan is for, whatever ends it on the way, and whoever runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("duckdb")
pytest.importorskip("fsspec")

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.campaign import forms, plan, report, running, trying
from gaugeblock.conformance.campaign.cells import Cell, cut, identity
from gaugeblock.conformance.campaign.engines.engine import Done
from gaugeblock.conformance.campaign.engines.local import Local
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.campaign.lease import Lease
from gaugeblock.conformance.campaign.store import Store
from gaugeblock.conformance.command import main

KERNELS = """
import os, sys
import numpy as np

print("a backend may print what it likes")

def relu(x):
    return np.where(x > {above}, x, np.zeros((), x.dtype)) + 0 * x

def tanh(x):
    {tanh}
"""

GOOD = {"above": 0, "tanh": "return np.tanh(x.astype(np.float64)).astype(x.dtype)"}

PLAN = """
backends = ["good kernels.py", "wrong.py"]
time_limit = 30

[[sweep]]
backends = ["wrong.py"]
operations = ["relu"]
dtypes = ["fp16"]
per_cell = 32768

[[shapes]]
file = "shapes.jsonl"
"""

CELLS = 4

README = Path(__file__).parents[1] / "conformance" / "campaign" / "README.md"

SHAPES = [{"operation": "relu", "dtype": "float16", "shapes": {"x": [n]}} for n in (3, 4, 3, 5000)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaign")


@pytest.fixture
def folder(place: Path) -> Path:
    """The folder of a plan and of what it names, without a store."""
    for each in place.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    (place / "good kernels.py").write_text(KERNELS.format(**GOOD))
    (place / "wrong.py").write_text(KERNELS.format(**GOOD | {"above": 1}))
    (place / "shapes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in SHAPES))
    (place / "plan.toml").write_text(PLAN)
    return place


KNOWN: dict[str, dict[str, Any]] = {}
"""What was described and tried before: to do so takes a second each time."""


class Here:
    """An engine in this process, which loses what it is told to."""

    room = 2

    def __init__(self, loses: Callable[[Cell, int], bool] = lambda cell, tries: False) -> None:
        self.loses = loses
        self.tasks: list[tuple[str, Cell, Mapping[str, Any]]] = []
        self.tried: list[Cell] = []

    def describe(self, target: plan.Target, time_limit: float) -> dict[str, Any]:
        """Describe a backend, unless that was done."""
        key = "".join([str(target), *(file.read_text() for file in target.files)])
        if key not in KNOWN:
            KNOWN[key] = trying.describe(target, time_limit)
        return KNOWN[key]

    def submit(self, identity: str, cell: Cell, expected: Mapping[str, Any]) -> None:
        """Take a cell."""
        self.tasks.append((identity, cell, expected))

    def wait(self, seconds: float) -> list[Done]:
        """Try a cell, unless that was done."""
        name, cell, expected = self.tasks.pop(0)
        self.tried.append(cell)
        if self.loses(cell, self.tried.count(cell)):
            return [Done(name, None, "its node left")]
        try:
            if name not in KNOWN or expected["versions"]["numpy"] == "1.0":
                KNOWN[name] = trying.try_cell(cell, expected)
        except BackendError as error:
            return [Done(name, None, str(error))]
        return [Done(name, KNOWN[name])]

    def close(self) -> None:
        """End what runs."""
        self.tasks.clear()


def campaign(
    folder: Path, store: str, engine: Any = None, limits: running.Limits | None = None
) -> tuple[running.State, Store, Any]:
    """Run the campaign of a folder."""
    kept, engine = Store(f"{folder}/{store}"), engine or Here()
    state = running.run(
        plan.read(folder / "plan.toml"), kept, lambda: engine, limits or running.Limits(), lambda state: None
    )
    return state, kept, engine


def verdict(folder: Path, store: Store, level: str = "numeric") -> report.Verdict:
    return report.read(plan.read(folder / "plan.toml"), store, level, complete=True, seconds=1.0, command="")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaugeblock.conformance.campaign.lease.SETTLED", 0.0)


# Plans -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("backends = 3", "plan.toml: backends: got 3, expected a list of names or tables"),
        ("backends = ['numpy']", "expected [[conform]], [[shapes]] or [[sweep]]"),
        ("backends = ['numpy', 'numpy']\n[[sweep]]", "backends: got 'numpy', expected each of them once"),
        ("backends = ['numpy']\nbackend = 1\n[[sweep]]", "backend: got 1, expected no such key; known are"),
        (
            "backends = ['numpy']\ntime_limit = -1\n[[sweep]]",
            "time_limit: got -1, expected a number of seconds",
        ),
        ("backends = ['numpy']\n[[conform]]\noperations = ['rellu']", "conform[0].operations: got 'rellu'"),
        ("backends = ['numpy']\n[[conform]]\noperations = ['rellu']", "did you mean relu?"),
        ("backends = ['numpy']\n[[conform]]\noperations = []", "operations: got [], expected at least one"),
        (
            "backends = ['numpy']\n[[conform]]\nseeds = [-1]",
            "conform[0].seeds: got -1, expected whole numbers",
        ),
        (
            "backends = ['numpy']\n[[conform]]\nprofiles = ['fast']",
            "profiles: got 'fast', expected one of quick",
        ),
        ("backends = ['numpy']\n[[conform]]\nbackends = ['gpu']", "conform[0].backends: got 'gpu'"),
        ("backends = ['numpy']\n[[sweep]]\noperations = ['gemm']", "sweep[0].operations: got 'gemm'"),
        (
            "backends = ['numpy']\n[[sweep]]\nfirst = 9\nlast = 8",
            "sweep[0].last: got 8, expected a whole number",
        ),
        ("backends = ['numpy']\n[[shapes]]\nfile = 'none.csv'", "shapes[0].file: "),
        ("backends = [{name = 'gpu', gpus = 1}]\n[[sweep]]", "backends[0].gpus: got 1, expected no such key"),
        ("backends = [{name = 'gpu', num_gpus = true}]\n[[sweep]]", "backends[0].num_gpus: got True"),
        ("backends = ['numpy'", "plan.toml: "),
    ],
)
def test_a_wrong_plan_is_refused_by_key_with_what_was_expected(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.toml").write_text(content)
    assert main(["campaign", str(tmp_path / "plan.toml"), "--store", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_plan_is_cut_into_cells_and_what_is_listed_twice_is_one(folder: Path) -> None:
    cells = cut(plan.read(folder / "plan.toml"))
    assert [(cell.target.name, cell.kind, cell.first, cell.count, len(cell.calls)) for cell in cells] == [
        ("good kernels.py", "shapes", 0, 0, 3),
        ("wrong.py", "shapes", 0, 0, 3),
        ("wrong.py", "sweep", 0, 32768, 0),
        ("wrong.py", "sweep", 32768, 32768, 0),
    ]


def test_the_identity_of_a_cell_is_that_of_what_it_tries_and_of_its_backend(folder: Path) -> None:
    one, other = cut(plan.read(folder / "plan.toml"))[2:]
    described = Here().describe(one.target, 30.0)
    (folder / "wrong.py").write_text(KERNELS.format(**GOOD) + "\n# changed")
    again = Here().describe(one.target, 30.0)
    assert len({identity(one, described), identity(other, described), identity(one, again)}) == 3


def test_a_plan_may_be_mended_before_its_first_cell(folder: Path) -> None:
    (folder / "plan.toml").write_text("backends = ['gone.py']\n[[sweep]]\noperations = ['relu']")
    with pytest.raises(BackendError, match="there is no file"):
        campaign(folder, "store")
    (folder / "plan.toml").write_text(PLAN)
    assert campaign(folder, "store")[0].complete


def test_a_plan_without_cells_is_refused(folder: Path) -> None:
    (folder / "plan.toml").write_text("backends = ['good kernels.py']\n[[sweep]]\noperations = ['gelu']")
    with pytest.raises(CampaignError, match="no cells: its backends have none of its operations"):
        campaign(folder, "store")


def test_the_example_of_a_plan_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "plan.toml").write_text(example)
    (tmp_path / "shapes.jsonl").write_text(json.dumps(SHAPES[0]))
    found = plan.read(tmp_path / "plan.toml")
    assert [str(target) for target in found.targets] == [
        "my_kernels.py", "gpu (num_gpus = 1, accelerator_type = H100)",
    ]  # fmt: skip
    kinds = [cell.kind for cell in cut(found)]
    assert [kinds.count(kind) for kind in ("conform", "shapes", "sweep")] == [36, 1, 12]


def test_the_example_of_a_question_is_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign(folder, "plan.campaign")
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    printed: list[Any] = []
    exec(example, {"print": printed.append})
    assert {row[0] for row in printed[0].fetchall()} == {"good kernels.py", "wrong.py"}


# Verdicts --------------------------------------------------------------------------------------------------


def test_a_campaign_finds_what_is_wrong_once_and_at_its_smallest(folder: Path) -> None:
    state, store, _ = campaign(folder, "a store")
    assert (state.finished, state.total, state.lost) == (CELLS, CELLS, 0)
    found = verdict(folder, store)
    assert found.verdict == "violating"
    assert [report.verdict for report in found.reports.values()] == ["conforming", "violating"]
    (violation,) = [each for each in found.violations if each.clause == "ACT-A2"]
    assert violation.size == 1  # of 32768 patterns in a cell
    assert len(violation.cells) == 1
    assert "replay" in (violation.reproduce or "")
    (other,) = [each for each in found.violations if each.clause == "GEN-S12"]
    assert other.size == 1  # of 3, 4 and 5000 elements
    sql = "SELECT count(*) AS n FROM cells WHERE kind = 'shapes' AND target = 'good kernels.py'"
    assert list(store.query(sql)) == [{"n": 3}]  # one for each different problem


def test_the_reports_have_a_column_and_suites_for_each_backend(folder: Path) -> None:
    _, store, _ = campaign(folder, "store")
    data = verdict(folder, store).as_data()
    page, junit = forms.as_page(data), ElementTree.fromstring(forms.as_junit(data))
    assert (
        page.count('<th scope="col">good kernels.py on ') == page.count('<th scope="col">wrong.py on ') == 1
    )
    names = [suite.get("name", "") for suite in junit]
    assert [name.partition(" on ")[0] for name in names] == ["good kernels.py", "wrong.py"]
    assert int(junit.get("failures", 0)) == 2
    assert data["reports"]["wrong.py"]["format"] == 2


def test_whole_clauses_are_tried_as_by_conform_with_the_levels_and_the_domain_of_the_backend(
    folder: Path,
) -> None:
    (folder / "good kernels.py").write_text(
        KERNELS.format(**GOOD) + "domain = {'relu': {'dtypes': ('float16',), 'rank': 1}}"
    )
    (folder / "plan.toml").write_text(
        "backends = ['good kernels.py']\n[[conform]]\noperations = ['relu']\ndtypes = ['fp16']\n"
        "profiles = ['quick']\nseeds = [7]"
    )
    _, store, _ = campaign(folder, "store")
    (found,) = verdict(folder, store).as_data()["reports"].values()
    entry = found["operations"]["relu"]["float16"]
    assert entry["levels"]["numeric"] == "conforming"
    assert entry["domain"] == {"dtypes": ["float16"], "rank": 1}
    assert {row["seed"] for row in store.query("SELECT DISTINCT seed FROM cells")} == {7}


def test_a_backend_that_crashes_or_hangs_is_violating_and_costs_no_other_cell(folder: Path) -> None:
    hangs = "\n\ndef sigmoid(x):\n    import time; time.sleep(60)"
    crashes = KERNELS.format(above=0, tanh="import ctypes; ctypes.string_at(0)")
    (folder / "wrong.py").write_text(crashes + hangs)
    (folder / "plan.toml").write_text(
        "backends = ['wrong.py']\ntime_limit = 1\n[[sweep]]\ndtypes = ['fp16']\n"
        "operations = ['tanh', 'sigmoid', 'relu']"
    )
    state, store, _ = campaign(folder, "store")
    assert (state.finished, state.lost) == (3, 0)
    rows = {row["operation"]: row for row in store.content()}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "relu": "conforming", "sigmoid": "violating", "tanh": "violating",
    }  # fmt: skip
    assert "SIGSEGV" in rows["tanh"]["message"]
    assert "no answer within 1 s" in rows["sigmoid"]["message"]


def test_a_cell_that_takes_too_long_is_recorded_with_what_it_had_found(folder: Path) -> None:
    slow = KERNELS.format(**GOOD).replace("return np.where", "import time; time.sleep(1.5); return np.where")
    (folder / "good kernels.py").write_text(slow)
    (folder / "plan.toml").write_text(
        "backends = ['good kernels.py']\ncell_limit = 2.5\n[[shapes]]\nfile = 'shapes.jsonl'"
    )
    _, store, _ = campaign(folder, "store")
    rows = list(store.query("SELECT verdict, message FROM cells"))
    assert {row["verdict"] for row in rows} >= {"conforming", "lost"}
    (late,) = [row for row in rows if row["verdict"] == "lost"]
    assert late["message"].startswith("took longer than cell_limit = 2.5 s, after ")
    found = verdict(folder, store)
    assert not found.complete
    assert found.verdict == "partial"


# What goes wrong on the way --------------------------------------------------------------------------------


def test_a_lost_cell_is_tried_three_times_and_then_recorded_and_again_if_one_asks(folder: Path) -> None:
    engine = Here(lambda cell, tries: cell.kind == "sweep" and (tries < 3 or not cell.first))
    state, store, _ = campaign(folder, "store", engine)
    assert (state.finished, state.lost) == (CELLS, 1)
    rows = list(store.query("SELECT first_pattern, verdict, tries, message FROM cells WHERE kind = 'sweep'"))
    assert {(row["first_pattern"], row["verdict"] == "lost", row["tries"]) for row in rows} == {
        (0, True, 3),
        (32768, False, 3),
    }
    assert {row["message"] for row in rows if row["verdict"] == "lost"} == {"its node left"}
    assert 'errors="1"' in forms.as_junit(verdict(folder, store).as_data())
    state, _, engine = campaign(folder, "store")
    assert engine.tried == []
    state, _, engine = campaign(folder, "store", limits=running.Limits(again=True))
    assert len(engine.tried) == 1
    assert verdict(folder, store).complete


def test_it_ends_at_the_first_violation_or_when_its_time_is_over_and_goes_on_from_there(folder: Path) -> None:
    state, _, first = campaign(folder, "store", limits=running.Limits(at_first=True))
    assert (state.ended, state.complete) == ("at the first violation", False)
    state, _, second = campaign(folder, "store", limits=running.Limits(seconds=1e-9))
    assert state.ended == "after its 1e-09 s"
    state, store, third = campaign(folder, "store")
    assert state.complete
    tried = first.tried + second.tried + third.tried
    assert len(tried) == len(set(map(str, tried))) == state.total
    _, other, _ = campaign(folder, "other")
    assert store.content() == other.content()


def test_a_file_that_is_cut_off_is_no_finished_cell(folder: Path) -> None:
    _, store, _ = campaign(folder, "store")
    before = store.content()
    one, other, *_ = sorted(Path(store.cells).iterdir())
    one.write_bytes(one.read_bytes()[:-9])
    other.write_bytes(b"")
    (Path(store.folder) / ".0123").write_bytes(b"half")
    _, store, engine = campaign(folder, "store")
    assert len(engine.tried) == 2
    assert store.content() == before


def _changed(folder: Path) -> None:
    (folder / "wrong.py").write_text(KERNELS.format(**GOOD | {"above": 2}))


def _other_version(folder: Path) -> None:
    manifest = folder / "store" / "manifest.json"
    manifest.write_text(re.sub('"gaugeblock": ".*"', '"gaugeblock": "0.0.9"', manifest.read_text()))


def _other_plan(folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN.replace("32768", "16384"))


def _other_format(folder: Path) -> None:
    manifest = folder / "store" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 7'))


def _no_manifest(folder: Path) -> None:
    (folder / "store" / "manifest.json").write_text('{"format"')


def _owned(folder: Path) -> None:
    here = Lease(Store(f"{folder}/store")).owner
    (folder / "store" / "owner.json").write_text(json.dumps({**here, "token": "another"}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_changed, "has results of another wrong.py: files, wrong.py was .* do not mix"),
        (_other_version, "has results of another good kernels.py: versions, gaugeblock was 0.0.9, is"),
        (_other_plan, "is the store of another plan: cells was"),
        (_other_format, "is a store of format 7, expected 1"),
        (_no_manifest, "and no manifest that can be read"),
        (_owned, "a campaign runs on it: process"),
    ],
)
def test_a_store_of_something_else_is_refused_and_nothing_of_it_is_lost(
    change: Callable[[Path], None], words: str, folder: Path
) -> None:
    _, store, _ = campaign(folder, "store", limits=running.Limits(at_first=True))
    before = store.content()
    change(folder)
    with pytest.raises(CampaignError, match=words):
        campaign(folder, "store")
    assert store.content() == before


def test_an_owner_that_is_gone_is_none_and_one_elsewhere_is_watched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaugeblock.conformance.campaign.lease.SILENT", 0.2)
    monkeypatch.setattr("gaugeblock.conformance.campaign.lease.RENEWED", 0.2)
    store = Store(f"{folder}/store")
    here = Lease(store).owner
    for gone in ({"process": 2**22 + 1}, {"since": "1"}, {"host": "another", "boot": "another"}):
        store.write("owner.json", json.dumps({**here, "token": "t", **gone}).encode())
        with Lease(store).kept():
            assert store.read("owner.json")["process"] == os.getpid()
        assert store.read("owner.json") is None
    with Lease(store).kept() as elsewhere:
        elsewhere.owner["host"] = "another"
        elsewhere.renewals = 1
        time.sleep(0.3)
        with pytest.raises(CampaignError, match="a campaign runs on it"):
            Lease(store).take()


def test_who_lost_the_lease_writes_no_more(folder: Path) -> None:
    class Taken(Here):
        def wait(self, seconds: float) -> list[Done]:
            store.write("owner.json", b'{"token": "another", "host": "there", "process": 1}')
            time.sleep(0.1)
            return super().wait(seconds)

    store = Store(f"{folder}/store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gaugeblock.conformance.campaign.lease.RENEWED", 0.01)
        with pytest.raises(CampaignError, match="was taken over: process 1 on there"):
            campaign(folder, "store", Taken())
    assert store.finished() == set()
    assert store.read("owner.json")["token"] == "another"


def test_a_store_that_cannot_be_written_is_refused_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("")
    for place in (f"{folder}/file/store", "nosuch://store"):
        assert main(["campaign", str(folder / "plan.toml"), "--store", place]) == 2
        assert place in capsys.readouterr().err


def test_a_worker_with_another_version_is_refused_and_the_cell_retried(folder: Path) -> None:
    class Other(Here):
        def submit(self, identity: str, cell: Cell, expected: Mapping[str, Any]) -> None:
            changed = {**expected, "versions": {**expected["versions"], "numpy": "1.0"}}
            super().submit(identity, cell, changed if cell.first else expected)

    state, store, _ = campaign(folder, "store", Other())
    assert state.lost == 1
    (row,) = store.query("SELECT * FROM cells WHERE verdict = 'lost'")
    assert "is another on" in row["message"]
    assert "versions: numpy is" in row["message"]


def test_a_store_may_lie_anywhere_that_fsspec_knows(folder: Path) -> None:
    _, local, _ = campaign(folder, "store")
    kept = Store("memory://some/store")
    running.run(plan.read(folder / "plan.toml"), kept, Here, running.Limits(), lambda state: None)
    assert kept.content() == local.content()


# Processes -------------------------------------------------------------------------------------------------


def test_processes_give_what_this_one_gives_and_a_killed_one_costs_nothing(folder: Path) -> None:
    _, here, _ = campaign(folder, "here")

    class Killing(Local):
        def wait(self, seconds: float) -> list[Done]:
            if not self.killed and self._busy:
                _, worker = next(iter(self._busy.values()))
                worker.process.kill()
                self.killed = True
            return super().wait(seconds)

    engine = Killing(2)
    engine.killed = False  # type: ignore[attr-defined]
    state, there, _ = campaign(folder, "there", engine)
    assert (state.finished, state.lost) == (CELLS, 0)
    assert here.content() == there.content()
    assert [row["n"] for row in there.query("SELECT max(tries) AS n FROM cells")] == [2]


@pytest.mark.one_of(2)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_campaign_that_is_killed_goes_on_where_it_was(number: signal.Signals, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gaugeblock.conformance.command",
        "campaign",
        "plan.toml",
        "--workers",
        "1",
    ]
    started = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    cells = folder / "plan.campaign" / "cells"
    end = time.monotonic() + 60
    while not (cells.exists() and list(cells.glob("*.parquet"))) and time.monotonic() < end:
        time.sleep(0.05)
    started.send_signal(number)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == (-9 if number == signal.SIGKILL else 130), said
    kept = {file.name: file.stat().st_mtime_ns for file in cells.glob("*.parquet")}
    assert 0 < len(kept) < CELLS
    state, store, _ = campaign(folder, "plan.campaign")
    assert (state.found, state.finished) == (len(kept), CELLS)
    assert kept.items() <= {file.name: file.stat().st_mtime_ns for file in cells.glob("*.parquet")}.items()
    _, other, _ = campaign(folder, "other")
    assert store.content() == other.content()
