"""The backend under test as the suite sees it: a process that answers calls, or fails to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend import arena
from gaugeblock.conformance.backend.arena import GUARD, POISON, Arena, View
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.worker import Call
from gaugeblock.conformance.problems.problem import Floats, Problem
from gaugeblock.spec import accuracy

LOAD_SECONDS = 120.0


class CallFailed(Exception):
    """A call gave no result that could be compared; the message says what came instead."""


class Unsupported(Exception):
    """The backend raised ``NotImplementedError``."""


class Lost(BaseException):
    """The process crashed or did not answer in time. No ``Exception``: a retry would cost as much again."""


@dataclass(frozen=True)
class Answer:
    """What a call gave.

    Parameters
    ----------
    raw
        The result in the backend's dtype.
    intrusions
        What the call changed though it must not: a sentence each (only when watched).
    """

    raw: NDArray[np.generic]
    intrusions: tuple[str, ...] = ()

    @property
    def values(self) -> Floats:
        """The result as float64."""
        return self.raw.astype(np.float64)

    @property
    def bits(self) -> NDArray[np.generic]:
        """The result's bit patterns."""
        return np.ascontiguousarray(self.raw).view(f"u{self.raw.dtype.itemsize}")


class Subject:
    """A backend in a process of its own.

    Parameters
    ----------
    name
        The backend (:func:`gaugeblock.conformance.backend.loading.load`).
    time_limit
        Seconds a call may take.

    Attributes
    ----------
    losses
        How often the process crashed or did not answer.

    Raises
    ------
    BackendError
        If it cannot be loaded.
    """

    def __init__(self, name: str, time_limit: float = 60.0) -> None:
        self.name = name
        self.time_limit = time_limit
        self.losses = 0
        self._memory = arena.create_file()
        self._arena = Arena(arena.map_file(self._memory))
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the subject
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the process, again after it was lost, and load the backend in it."""
        self._end()
        ours: Connection[Any, Any]
        ours, theirs = Pipe()
        descriptors = (theirs.fileno(), self._memory)
        worker = "gaugeblock.conformance.backend.worker"
        # -P: no file of the current folder stands in for a module that the worker imports.
        command = [sys.executable, "-P", "-m", worker, self.name, *map(str, descriptors)]
        self._log.seek(0)
        self._log.truncate()
        self._process = subprocess.Popen(
            command,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        theirs.close()
        self._connection = ours
        try:
            word, content = self._ask(("describe",), LOAD_SECONDS, "loading")
        except Lost as error:
            raise BackendError(f"{self.name}: {error}") from None
        if word == "refused":
            raise BackendError(content)
        self.description: Mapping[str, Any] = content

    def close(self) -> None:
        """End the process and give the shared memory back."""
        self._end()
        self._arena.close()
        os.close(self._memory)
        self._log.close()

    def _end(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._connection.close()
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations the backend has."""
        return tuple(self.description["takes_out"])

    @property
    def simulated(self) -> bool:
        """Whether its device is a simulated one, on which large problems take long."""
        return "simulated" in self.description["device"]

    def takes_out(self, operation: str) -> bool:
        """Whether the backend's function has a parameter ``out``."""
        return bool(self.description["takes_out"].get(operation))

    def arithmetic(self, operation: str, dtype: str) -> accuracy.Arithmetic:
        """Return the arithmetic the backend declares for an operation."""
        declared = self.description["arithmetic"].get(operation, {}).get(dtype, {})
        return accuracy.Arithmetic.declared(declared)

    def call(
        self, problem: Problem, *, watch: bool = False, values: Mapping[str, Floats] | None = None
    ) -> Answer:
        """Put a problem to the backend.

        Parameters
        ----------
        problem
            The call; its ``out`` is ignored where the function has no such parameter.
        watch
            Compare all memory around the arrays, and the inputs, before and after.
        values
            Elements to use in place of what the problem's recipes give.

        Raises
        ------
        Unsupported
            If the backend raises ``NotImplementedError``.
        CallFailed
            If it raises anything else, or returns what is no result.
        Lost
            If the process crashes or does not answer in time.
        """
        dtype = accuracy.FORMATS[problem.dtype].dtype
        own = problem.record.result_dtype
        result = dtype if own == "same" else np.dtype(own)
        shape = problem.result_shape
        views = self._lay(problem, dtype, values or {})
        out = None
        if problem.alias is None and problem.out is not None and self.takes_out(problem.operation):
            out = self._arena.place("out", result, shape, problem.out, POISON)
        blocks = {**views, **({"out": out} if out else {})}
        before = {name: self._arena.snapshot(view) for name, view in blocks.items()} if watch else {}
        call = Call(problem.operation, views, problem.parameters, out, problem.alias, self._arena.top)
        where, complaint = self._run(call)
        if problem.alias is not None:
            where = views[problem.alias]
        where = where or out
        assert where is not None
        if (where.dtype, where.shape) != (result.name, shape):
            raise CallFailed(
                f"returned {where.dtype} of shape {where.shape}, expected {result.name} of shape {shape}"
            )
        if complaint is not None:
            raise CallFailed(complaint)
        raw = where.on(self._arena.buffer, np.dtype(where.dtype)).copy()
        return Answer(raw, tuple(self._intrusions(blocks, before, problem)))

    def refusal(self, problem: Problem) -> str | None:
        """Put a misuse to the backend and return the exception it raises, or ``None``."""
        views = self._lay(problem, accuracy.FORMATS[problem.dtype].dtype, {})
        try:
            self._run(Call(problem.operation, views, problem.parameters, None, None, self._arena.top))
        except CallFailed as failure:
            return str(failure)
        return None

    def _lay(
        self, problem: Problem, dtype: np.dtype[np.generic], values: Mapping[str, Floats]
    ) -> dict[str, View]:
        """Place the inputs in the arena."""
        self._arena.clear()
        views = {}
        for name, array in problem.arrays.items():
            own = np.dtype(problem.dtypes.get(name, dtype))
            views[name] = self._arena.place(name, own, array.shape, array.layout, GUARD)
            elements = values[name] if name in values else array.build(problem.dtype)
            views[name].on(self._arena.buffer, own)[...] = elements.astype(own)
        return views

    def _intrusions(
        self,
        blocks: Mapping[str, View],
        before: Mapping[str, NDArray[np.uint8]],
        problem: Problem,
    ) -> list[str]:
        found = []
        for name, old in before.items():
            outside = self._arena.outside_changed(blocks[name], old, np.dtype(blocks[name].dtype))
            if outside is not None:
                found.append(f"wrote outside {name}, {outside} elements from its first")
            elif name not in ("out", problem.alias) and not np.array_equal(
                old, self._arena.snapshot(blocks[name])
            ):
                found.append(f"changed its input {name}")
        return found

    def _run(self, call: Call) -> tuple[View | None, str | None]:
        """Send a call and translate the reply: where the result is, and what is wrong with it."""
        if self._process is None:
            self.start()
        match self._ask(("call", call), self.time_limit, call.operation):
            case ("done", View() | None as where, str() | None as complaint):
                return where, complaint
            case ("unsupported", message):
                raise Unsupported(message)
            case ("raised", kind, message, sticky):
                if sticky:
                    self._end()
                raise CallFailed(f"raised {kind}: {message}")
            case ("wrong", message):
                raise CallFailed(message)
            case reply:
                raise AssertionError(f"unknown reply {reply}")

    def _ask(self, request: tuple[Any, ...], seconds: float, doing: str) -> tuple[Any, ...]:
        """Send a request and wait for the reply, but not for ever."""
        assert self._process is not None
        try:
            self._connection.send(request)
            if self._connection.poll(seconds):
                reply: tuple[Any, ...] = self._connection.recv()
                return reply
        except (EOFError, BrokenPipeError, ConnectionResetError):
            status = self._process.wait()
            self.losses += 1
            self._end()
            raise Lost(f"{doing}: the process {_ended(status)}{self._last_words()}") from None
        self.losses += 1
        self._end()
        raise Lost(f"{doing}: no answer within {seconds:g} s")

    def _last_words(self) -> str:
        """Return the exception of the last traceback that the process wrote, else the first line it wrote."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        words = [line for line in lines if line.strip() and not line.startswith((" ", "Extension modules"))]
        traced = [place for place, line in enumerate(words, 1) if line.startswith("Traceback")]
        start = traced[-1] if traced else 0
        return "".join(f" ({line[:200]})" for line in words[start : start + 1])


def _ended(status: int) -> str:
    """Put a process's exit status into words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"
