"""A cluster of Ray: who has room, where tasks run and what becomes of them are Ray's business."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.campaign import trying
from gaugeblock.conformance.campaign.cells import Cell
from gaugeblock.conformance.campaign.engines.engine import Done
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.campaign.plan import Target

PATIENCE = 120.0
"""Seconds to wait for a machine that has what a target asks for."""

LISTENING = 10.0
"""Seconds to wait for an answer at the address of a cluster."""

WAITING = 4
"""Cells that are handed to Ray for each of its processors: it has enough to do, and little to forget."""


class Cluster:
    """An engine on Ray.

    Parameters
    ----------
    address
        Of the cluster; none starts Ray on this machine.
    runtime_env
        What Ray brings to its workers.

    Raises
    ------
    CampaignError
        If there is no such cluster, or a machine of it lacks this package in this version.
    """

    def __init__(self, address: str | None, runtime_env: Mapping[str, Any]) -> None:
        self._tasks: dict[Any, str] = {}
        self._joined = not ray.is_initialized()
        try:
            if self._joined:
                _expect_listener(address)
                ray.init(
                    address,
                    runtime_env=dict(runtime_env) or None,
                    log_to_driver=False,
                    logging_level="error",
                    include_dashboard=None if address else False,
                )
            self._expect_package()
        except (RayError, OSError, RuntimeError, ValueError, TimeoutError) as error:
            self.close()
            where = f"at {address}" if address else "on this machine"
            raise CampaignError(f"there is no cluster of Ray {where}: {error}") from None
        except CampaignError:
            self.close()
            raise

    @property
    def room(self) -> int:
        """How many cells it should hold at a time."""
        return max(WAITING * int(ray.cluster_resources().get("CPU", 1)), WAITING)

    def _expect_package(self) -> None:
        """Refuse machines that would run another version of this package, or have none."""
        found = {}
        for node in ray.nodes():
            if node["Alive"]:
                place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                found[name] = ray.remote(_probe()).options(num_cpus=0, scheduling_strategy=place).remote()
        own = _probe()()
        for name, task in found.items():
            try:
                there = ray.get(task, timeout=PATIENCE)
            except RayTaskError as error:
                raise CampaignError(f"{name} of the cluster cannot run Gaugeblock: {error.cause}") from None
            if there is None:
                raise CampaignError(
                    f"{name} of the cluster has no package gaugeblock: install version {own[0]}, or let "
                    "Ray bring it with [ray] runtime_env in the plan"
                )
            if there != own:
                words = [" with source ".join(map(str, each)) for each in (there, own)]
                raise CampaignError(f"{name} of the cluster has gaugeblock {words[0]}, expected {words[1]}")

    def describe(self, target: Target, time_limit: float) -> dict[str, Any]:
        """Return what a backend says of itself where there is what it asks for."""
        task = _describe.options(**target.resources).remote(target, time_limit)
        ready, _ = ray.wait([task], timeout=PATIENCE)
        if not ready:
            ray.cancel(task, force=True)
            there = {name: n for name, n in ray.cluster_resources().items() if not name.startswith("node:")}
            raise CampaignError(
                f"{target}: no machine had room for it in {PATIENCE:g} s; the cluster has {there}"
            )
        try:
            found: dict[str, Any] = ray.get(task)
        except RayTaskError as error:
            raise CampaignError(str(error.cause)) from None
        except RayError as error:
            raise CampaignError(f"{target}: {error}") from None
        return found

    def submit(self, identity: str, cell: Cell, expected: Mapping[str, Any]) -> None:
        """Take a cell."""
        task = _try_cell.options(**cell.target.resources).remote(cell, expected)
        self._tasks[task] = identity

    def wait(self, seconds: float) -> list[Done]:
        """Return the cells that came back within so many seconds."""
        if not self._tasks:
            return []
        ready, _ = ray.wait(list(self._tasks), timeout=seconds)
        more, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return [_outcome(self._tasks.pop(task), task) for task in dict.fromkeys([*ready, *more])]

    def close(self) -> None:
        """Cancel what runs, and leave the cluster."""
        for task in self._tasks:
            with contextlib.suppress(RayError):
                ray.cancel(task, force=True)
        if self._joined:
            ray.shutdown()


def _expect_listener(address: str | None) -> None:
    """Refuse an address where nobody listens: Ray itself takes minutes to say so."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTENING).close()


def _outcome(identity: str, task: Any) -> Done:
    try:
        return Done(identity, ray.get(task))
    except RayTaskError as error:
        if isinstance(error.cause, BackendError):
            return Done(identity, None, str(error.cause))
        return Done(identity, None, f"the suite itself failed, please report this:\n{error}")
    except RayError as error:
        return Done(identity, None, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _probe() -> Any:
    """Return a function that Ray carries by its content, so that it runs where this package is not."""

    def probe() -> tuple[str, str] | None:
        import importlib

        try:
            cells = importlib.import_module("gaugeblock.conformance.campaign.cells")
            reports = importlib.import_module("gaugeblock.conformance.reports.report")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "gaugeblock":
                return None
            raise
        return reports.versions({})["gaugeblock"], cells.source()

    return probe


# A task that is lost is tried again by the campaign, which counts and records that.
_describe = ray.remote(max_retries=0)(trying.describe)
_try_cell = ray.remote(max_retries=0)(trying.try_cell)
