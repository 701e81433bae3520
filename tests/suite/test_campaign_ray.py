"""A cluster of Ray gives what one process gives, though a node of it leaves, and says what it lacks."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
pytest.importorskip("duckdb")

import ray
from ray.cluster_utils import Cluster as Machines

from gaugeblock.conformance.campaign import plan, running
from gaugeblock.conformance.campaign.engines import ray as engines
from gaugeblock.conformance.campaign.engines.engine import Done
from gaugeblock.conformance.campaign.engines.local import Local
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.campaign.store import Store

KERNEL = """
import time
import numpy as np

def relu(x):
    time.sleep({seconds})
    return np.where(x > {above}, x, np.zeros((), x.dtype)) + 0 * x
"""

PLAN = """
backends = ["good.py", {name = "wrong.py", num_cpus = 1}]
[[sweep]]
operations = ["relu"]
dtypes = ["fp16"]
per_cell = 16384
[[shapes]]
file = "shapes.jsonl"
per_cell = 1
"""

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its children's pipes to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, above in (("good.py", 0), ("wrong.py", 1)):
        (tmp_path / name).write_text(KERNEL.format(seconds=0.5, above=above))
    shapes = ({"operation": "relu", "dtype": "float32", "shapes": {"x": [n]}} for n in (3, 4, 5))
    (tmp_path / "shapes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in shapes))
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of two nodes, of which a test may take one away."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Machines(initialize_head=True, head_node_args={"num_cpus": 1})
        yield cluster
        cluster.shutdown()


def campaign(folder: Path, store: str, engine: Any) -> tuple[running.State, Store]:
    kept = Store(f"{folder}/{store}")
    planned = plan.read(folder / "plan.toml")
    return running.run(planned, kept, lambda: engine, running.Limits(), lambda state: None), kept


def test_a_cluster_that_loses_a_node_gives_what_one_process_gives(machines: Any, folder: Path) -> None:
    leaving = machines.add_node(num_cpus=1, resources={"second": 1})

    class Shrinking(engines.Cluster):
        """A cluster of which a node is killed while it tries a cell."""

        cells, killed = 0, False

        def wait(self, seconds: float) -> list[Done]:
            """Kill the node once some cells are done and all processors are busy, and wait."""
            if not self.killed and self.cells >= 4 and not ray.available_resources().get("CPU"):
                machines.remove_node(leaving, allow_graceful=False)
                self.killed = True
            done = super().wait(seconds)
            self.cells += len(done)
            return done

    engine = Shrinking(machines.address, {})
    state, there = campaign(folder, "cluster", engine)
    assert engine.killed
    assert (state.finished, state.total, state.lost) == (14, 14, 0)
    _, here = campaign(folder, "here", Local(1))
    assert there.content() == here.content()
    assert [row["n"] for row in there.query("SELECT max(tries) AS n FROM cells")] == [2]


def test_a_cluster_with_another_version_is_refused(machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = engines._probe()
    probes = iter((own, lambda: ("0.0.1", "another")))
    monkeypatch.setattr(engines, "_probe", lambda: next(probes))
    with pytest.raises(CampaignError, match=r"has gaugeblock .*, expected 0\.0\.1 with source another"):
        engines.Cluster(machines.address, {})


def test_a_cluster_without_the_package_is_refused(machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = engines._probe()
    probes = iter((lambda: None, own))
    monkeypatch.setattr(engines, "_probe", lambda: next(probes))
    with pytest.raises(CampaignError, match=r"has no package gaugeblock: install version .*runtime_env"):
        engines.Cluster(machines.address, {})


def test_what_no_machine_has_is_said(machines: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "PATIENCE", 30.0)
    engine = engines.Cluster(machines.address, {})
    monkeypatch.setattr(engines, "PATIENCE", 2.0)
    (folder / "plan.toml").write_text(PLAN.replace("num_cpus = 1", "num_gpus = 1").replace('"good.py", ', ""))
    with pytest.raises(CampaignError, match=r"wrong.py \(num_gpus = 1\): no machine had room for it in 2 s"):
        campaign(folder, "store", engine)


def test_an_address_that_nobody_has_is_said() -> None:
    with pytest.raises(CampaignError, match=r"there is no cluster of Ray at 127\.0\.0\.1:1"):
        engines.Cluster("127.0.0.1:1", {})
