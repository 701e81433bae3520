"""The processes of this machine, each with one cell at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.campaign import trying
from gaugeblock.conformance.campaign.cells import Cell
from gaugeblock.conformance.campaign.engines.engine import Done
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.campaign.plan import Target

_CONTEXT = multiprocessing.get_context("spawn")

Task = tuple[str, Cell, Mapping[str, Any]]


class Local:
    """An engine of so many processes.

    Parameters
    ----------
    workers
        How many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._free: list[_Worker] = []
        self._busy: dict[Connection, tuple[str, _Worker]] = {}
        self._next: deque[Task] = deque()

    @property
    def room(self) -> int:
        """How many cells it should hold at a time."""
        return 2 * self.workers

    def describe(self, target: Target, time_limit: float) -> dict[str, Any]:
        """Return what a backend says of itself."""
        try:
            return trying.describe(target, time_limit)
        except BackendError as error:
            raise CampaignError(str(error)) from None

    def submit(self, identity: str, cell: Cell, expected: Mapping[str, Any]) -> None:
        """Take a cell."""
        self._next.append((identity, cell, expected))
        self._start()

    def _start(self) -> None:
        while self._next and len(self._busy) < self.workers:
            worker = self._free.pop() if self._free else _Worker()
            identity, *task = self._next.popleft()
            try:
                worker.connection.send(task)
            except OSError:  # it died while it had nothing to do
                worker.end()
                self._next.appendleft((identity, *task))  # type: ignore[arg-type]
                continue
            self._busy[worker.connection] = (identity, worker)

    def wait(self, seconds: float) -> list[Done]:
        """Return the cells that came back within so many seconds."""
        done = []
        for connection in wait(list(self._busy), seconds):
            assert isinstance(connection, Connection)
            identity, worker = self._busy.pop(connection)
            try:
                result, reason = connection.recv()
            except (EOFError, OSError):
                done.append(Done(identity, None, f"its process ended with exit status {worker.end()}"))
            else:
                done.append(Done(identity, result, reason))
                self._free.append(worker)
        self._start()
        return done

    def close(self) -> None:
        """End all processes."""
        for worker in [*self._free, *(worker for _, worker in self._busy.values())]:
            worker.end()
        self._next.clear()


class _Worker:
    """A process that tries cells."""

    def __init__(self) -> None:
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def end(self) -> int | None:
        """End it, and return its exit status."""
        self.process.join(0.2)
        self.process.kill()
        self.process.join()
        self.connection.close()
        return self.process.exitcode


def _serve(connection: Connection) -> None:
    """Try cells until the connection ends, or the process that started this one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who runs the campaign will end this process
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    while True:
        with contextlib.suppress(EOFError, OSError):
            cell, expected = connection.recv()
            connection.send(_tried(cell, expected))
            continue
        return


def _tried(cell: Cell, expected: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    try:
        return trying.try_cell(cell, expected), ""
    except BackendError as error:
        return None, str(error)
    except Exception:
        return None, f"the suite itself failed, please report this:\n{traceback.format_exc()}"
