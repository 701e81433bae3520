"""The child as the suite's process sees it: started, asked, watched, read and ended.

What it may use is limited, and looked at while an answer is waited for: a child that uses more has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend import isolation, messages

LOAD_SECONDS = 120.0
END_SECONDS = 2.0
LOOK_SECONDS = 0.05
PIPE = 1 << 16

MUCH = 1 << 13
"""Bytes from which on a call of the system's own is faster than reading a file of the process's memory."""

_libc = ctypes.CDLL(None)


class _Span(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("address", ctypes.c_size_t), ("length", ctypes.c_size_t))


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Parameters
    ----------
    memory
        Bytes of its processes together; half of the machine's if not given.
    processes
        How many it may have.
    open_files
        Descriptors of a process.
    file_size
        Bytes of a file.
    """

    memory: int | None = None
    processes: int = 512
    open_files: int = 4096
    file_size: int = 4 << 30

    @property
    def bytes(self) -> int:
        """The limit of memory."""
        return self.memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class Ended(Exception):
    """The child has ended, or must: how, as the end of a sentence."""


class Output:
    """What the child writes: the beginning and the end of it."""

    ENDS = 16 << 10

    def __init__(self) -> None:
        self.first = b""
        self.last = b""

    def take(self, some: bytes) -> None:
        """Keep what belongs to either end."""
        room = self.ENDS - len(self.first)
        self.first += some[:room]
        self.last = (self.last + some[room:])[-self.ENDS :] if room < len(some) else self.last

    def last_words(self) -> str:
        """Return the exception of the last traceback, else the first line, in brackets."""
        lines = (self.first + self.last).decode(errors="replace").strip().splitlines()
        words = [line for line in lines if line.strip() and not line.startswith((" ", "Extension modules"))]
        traced = [place for place, line in enumerate(words, 1) if line.startswith("Traceback")]
        start = traced[-1] if traced else 0
        return "".join(f" ({messages.clean(line, 200)})" for line in words[start : start + 1])


class Child:
    """A process with a backend, and all that it starts.

    Parameters
    ----------
    name
        The backend.
    memory
        Descriptor of the shared memory.
    limits
        What it may use.
    means
        Of :data:`gaugeblock.conformance.backend.isolation.MEANS`, those to isolate it with.

    Attributes
    ----------
    isolation
        Which means hold.
    shared
        Address at which the child has mapped the shared memory.
    readable
        Whether the child's memory can be read.
    peak
        Most bytes of memory seen in use.
    """

    def __init__(self, name: str, memory: int, limits: Limits, means: Collection[str]) -> None:
        self.memory = memory
        self.limits = limits
        self.output = Output()
        self.isolation: list[str] = []
        self.shared = self.peak = self._worker = 0
        self._files: list[int] = []
        self._folder = tempfile.mkdtemp(prefix="gaugeblock-")
        self._connection, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._output, output = os.pipe()
        command = [sys.executable, "-P", "-m", "gaugeblock.conformance.backend", name]
        descriptors = (theirs.fileno(), memory, lifeline)
        _shield(1)
        self._process = subprocess.Popen(
            # -P: no file of the current folder stands in for a module that the child imports.
            [*command, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_environment(self._folder),
            start_new_session=True,
        )
        for descriptor in (theirs.detach(), lifeline, output):
            os.close(descriptor)
        self._connection.setblocking(False)
        os.set_blocking(self._output, False)
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        self._poll.register(self._output, select.POLLIN)
        self._full = False
        self._means = means

    @property
    def readable(self) -> bool:
        """Whether its memory can be read."""
        return bool(self._files)

    def shut_in(self) -> None:
        """Have the child isolate itself; no code of the backend's has run before."""
        setup = {
            "means": sorted(self._means),
            "folder": self._folder,
            "limits": {
                "RLIMIT_CORE": 0,
                "RLIMIT_NOFILE": self.limits.open_files,
                "RLIMIT_FSIZE": self.limits.file_size,
            },
        }
        _, self.isolation, self.shared = self.ask(setup, LOAD_SECONDS, messages.REPLY_LIMIT, files=3)
        self._worker = [0, *isolation.descendants(self._process.pid)][-1]
        if "namespaces" not in self.isolation:
            _hide_command_line()

    def ask(
        self, request: object, seconds: float, limit: int = messages.REPLY_LIMIT, *, files: int = 0
    ) -> tuple[Any, ...]:
        """Send a request and return the reply.

        Parameters
        ----------
        request
            The message.
        seconds
            How long all of it may take.
        limit
            Most bytes of a reply.
        files
            Descriptors to take with the reply.

        Raises
        ------
        Ended
            If there is no reply in time, or none that can be read.
        """
        deadline = time.monotonic() + seconds
        unsent = memoryview(messages.pack(request))
        reader = messages.Reader(limit)
        look = time.monotonic() + LOOK_SECONDS
        try:
            if self._receive(0):
                raise Ended("it sent what nobody had asked for")
            while True:
                if unsent:
                    unsent = unsent[self._send(unsent) :]
                    self._await_room(bool(unsent))
                now = time.monotonic()
                if now >= deadline:
                    raise Ended(f"no answer within {seconds:g} s")
                if now >= look:
                    self._look()
                    look = time.monotonic() + LOOK_SECONDS
                ready = dict(self._poll.poll(1000 * max(min(look, deadline) - now, 0.001)))
                if self._output in ready:
                    self._drain()
                if self._connection.fileno() in ready:
                    some = self._receive(files)
                    content = reader.feed(some) if some else None
                    if content is not None:
                        return messages.read_reply(content)
        except messages.MessageError as error:
            raise Ended(f"it {error}") from None

    def _await_room(self, wanted: bool) -> None:
        """Have the poll tell, or not any more, when more of a request can be sent."""
        if wanted != self._full:
            self._full = wanted
            self._poll.modify(self._connection, select.POLLIN | (select.POLLOUT if wanted else 0))

    def _send(self, some: memoryview) -> int:
        try:
            return self._connection.send(some)
        except BlockingIOError:
            return 0
        except OSError:
            raise Ended(self._how_it_ended()) from None

    def _receive(self, files: int) -> bytes:
        """Return what has arrived, nothing if nothing has."""
        try:
            if files:
                some, self._files, _, _ = socket.recv_fds(self._connection, PIPE, files)
            else:
                some = self._connection.recv(PIPE)
        except BlockingIOError:
            return b""
        except OSError:
            some = b""
        if not some:
            raise Ended(self._how_it_ended())
        return some

    def _drain(self) -> None:
        """Take some of what it has written."""
        try:
            some = os.read(self._output, PIPE)
        except BlockingIOError:
            return
        self.output.take(some)
        if not some:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._output)

    def _look(self) -> None:
        """Hold its processes to their limits."""
        processes = [self._process.pid, *isolation.descendants(self._process.pid)]
        if len(processes) > self.limits.processes:
            raise Ended(f"it has {len(processes)} processes, at most {self.limits.processes} are allowed")
        used = _memory(processes)
        self.peak = max(self.peak, used)
        if used > self.limits.bytes:
            raise Ended(f"it uses {used >> 20} MiB of memory, at most {self.limits.bytes >> 20} are allowed")

    def _how_it_ended(self) -> str:
        """Wait for the end of a process that has closed its connection, and put it into words."""
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "the process closed its connection"
        for _ in range(64):  # what a pipe can hold, and no more
            self._drain()
        return f"the process {how_ended(status)}{self.output.last_words()}"

    def read(self, address: int, length: int) -> NDArray[np.uint8] | None:
        """Return bytes of the child's memory, ``None`` where it has none."""
        memory = np.empty(length, np.uint8)
        if length > MUCH and self._worker:
            here, there = (_Span(memory.ctypes.data, length), _Span(address, length))
            if (
                _libc.process_vm_readv(self._worker, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
                == length
            ):
                return memory
        try:
            return memory if os.preadv(self._files[0], [memory.data], address) == length else None
        except (OSError, OverflowError, ValueError):
            return None

    def shared_intervals(self) -> list[tuple[int, int]]:
        """Return the addresses at which the child has mapped the shared memory now."""
        if not self.readable:
            return [(self.shared, self.shared + os.fstat(self.memory).st_size)]
        content = b""
        os.lseek(self._files[1], 0, os.SEEK_SET)
        with contextlib.suppress(OSError):
            while some := os.read(self._files[1], PIPE):
                content += some
        inode = str(os.fstat(self.memory).st_ino).encode()
        lines = [line.split(None, 5) for line in content.splitlines()]
        bounds = [line[0].split(b"-") for line in lines if line[4] == inode and b"gaugeblock" in line[-1]]
        return [(int(low, 16), int(high, 16)) for low, high in bounds]

    def end(self) -> None:
        """End the process and all that it started."""
        self.peak_now()
        if sys.platform == "linux":
            isolation.end_descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()
        for descriptor in (self._lifeline, self._output, *self._files):
            os.close(descriptor)
        self._files = []
        try:
            shutil.rmtree(self._folder)
        except FileNotFoundError:
            pass  # the watcher was faster
        except (OSError, RecursionError):  # folders nested too deep for Python
            subprocess.run(("rm", "-rf", "--", self._folder), capture_output=True, check=False)
        _shield(-1)

    def peak_now(self) -> int:
        """Return the peak, after a look at the most memory that the worker has had."""
        with contextlib.suppress(OSError, IndexError):
            for line in os.pread(self._files[2], PIPE, 0).splitlines():
                if line.startswith(b"VmHWM:"):
                    self.peak = max(self.peak, int(line.split()[1]) << 10)
        return self.peak


def how_ended(status: int) -> str:
    """Put a process's exit status into words."""
    if status >= 0:
        return f"exited with status {status}"
    first, last = getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1)
    if first <= -status <= last:
        return f"was ended by SIGRTMIN+{-status - first}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


def _memory(processes: Collection[int]) -> int:
    """Return how many bytes of memory processes use together: what each has alone, and the most shared."""
    page = os.sysconf("SC_PAGE_SIZE")
    alone = shared = 0
    for process in processes:
        with contextlib.suppress(OSError):
            with open(f"/proc/{process}/statm", "rb") as file:
                resident, common = map(int, file.read().split()[1:3])
            alone += resident - common
            shared = max(shared, common)
    return (alone + shared) * page


def _environment(folder: str) -> dict[str, str]:
    """Return the child's environment: nothing of the run's in it, and a temporary folder of its own."""
    ours = ("GAUGEBLOCK_", "PYTEST_", "HYPOTHESIS_", "RAY_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours) or k == "GAUGEBLOCK_DEVICE"}
    return {**kept, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder)}


# This process, hidden from its children ----------------------------------------------------------------

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4

_children = 0
_dumpable = 1


def _shield(more: int) -> None:
    """Let no process without rights read this one's memory while there are children."""
    global _children, _dumpable
    if sys.platform != "linux":
        return
    prctl = _libc.prctl
    if _children == 0:
        _dumpable = prctl(PR_GET_DUMPABLE)
    _children += more
    prctl(PR_SET_DUMPABLE, ctypes.c_ulong(0 if _children else _dumpable))


def _hide_command_line() -> None:
    """Overwrite the arguments that the system shows of this process; Python has its own copy."""
    with contextlib.suppress(OSError, IndexError):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, stop = int(fields[45]), int(fields[46])
        name = b"gaugeblock"[: stop - start - 1]
        ctypes.memset(start, 0, stop - start)
        ctypes.memmove(start, name, len(name))
