"""The worker, in the child: loads a backend and answers calls, so that nothing it does can end the run.

Requests and replies are messages (``messages``), arrays whose first item is a word. Elements of arrays
travel through the shared memory (``arena``):

==================================  =========================================================================
request                             reply
==================================  =========================================================================
``{means, folder, limits}``         ``"ready", means, address``: what isolates the worker (``isolation``) and
                                    where it has mapped the shared memory; with it come descriptors of its
                                    ``/proc/self/mem``, ``maps`` and ``status``, where there are such
``"describe"``                      ``"backend", {...}``, or ``"refused", message`` when it cannot load
``"call", {...}`` (``Call``)        ``"done"`` when the result is in the array given as ``out``;
                                    ``"result", dtype, shape, address, strides`` when the function allocated
                                    it, which the suite reads there; where that cannot be, a copy lies in the
                                    shared memory behind all arrays of the call (``arena.place_of_result``);
                                    ``"raised", category, type, message, sticky`` where the category is
                                    ``argument`` for ``ValueError`` and ``TypeError``, ``declined`` for
                                    ``NotImplementedError`` and else ``other``;
                                    ``"wrong", message`` when what was returned is no result
``"fetch", number, free``           ``"result", …``: the result of an earlier call as it is now
==================================  =========================================================================

The worker holds every result until a call tells it to forget: the suite looks whether it stays unchanged.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes  # noqa: F401  makes np.dtype("bfloat16") known
import numpy as np

from gaugeblock.conformance.backend import arena, arrays, loading, messages
from gaugeblock.conformance.backend.arena import View
from gaugeblock.conformance.backend.arrays import WrongResult
from gaugeblock.conformance.doors import importing

LONGEST = 2000
"""Characters of an exception's message that travel."""


@dataclass(frozen=True)
class Call:
    """A call as it travels: the views of its arrays, its parameters, and where the result goes.

    Parameters
    ----------
    operation
        Name of the backend's function.
    arrays
        The array arguments by name, in the operation's order.
    parameters
        Keyword arguments.
    out
        View given as ``out=``, or ``None``: the function allocates.
    alias
        Name of the array that is also ``out``.
    free
        First byte of the arena the child may use for a result that the function allocated.
    copy
        Whether such a result is to be copied there.
    number
        Of the call.
    forget
        Results of calls before this one are let go,
    elders
        but for those of these calls.
    """

    operation: str
    arrays: dict[str, View]
    parameters: dict[str, Any]
    out: View | None
    alias: str | None
    free: int
    copy: bool
    number: int
    forget: int
    elders: list[int]

    def as_data(self) -> dict[str, Any]:
        """Return it as data for a message."""
        return {
            **vars(self),
            "arrays": {name: view.as_data() for name, view in self.arrays.items()},
            "parameters": {name: messages.as_plain(value) for name, value in self.parameters.items()},
            "out": self.out and self.out.as_data(),
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Call:
        """Return the call that ``as_data`` wrote."""
        views = {name: View.from_data(view) for name, view in data["arrays"].items()}
        parameters = {name: messages.from_plain(value) for name, value in data["parameters"].items()}
        out = data["out"] and View.from_data(data["out"])
        return cls(**{**data, "arrays": views, "parameters": parameters, "out": out})


Reply = tuple[Any, ...]


class Worker:
    """A loaded backend, and the memory it shares with the suite."""

    def __init__(self, backend: loading.Backend, memory: Any) -> None:
        self.backend = backend
        self.memory = memory
        self.arrays = arrays.of_kind(backend.arrays)
        self.kept: dict[int, Any] = {}

    def answer(self, call: Call) -> Reply:
        """Run a call and put what happened into a reply."""
        for number in [number for number in self.kept if number < call.forget]:
            if number not in call.elders:
                del self.kept[number]
        try:
            return self._call(call)
        except NotImplementedError as error:
            return ("raised", "declined", type(error).__name__, _words(error), False)
        except WrongResult as error:
            return ("wrong", _words(error))
        except Exception as error:
            category = "argument" if isinstance(error, ValueError | TypeError) else "other"
            frames = traceback.extract_tb(error.__traceback__)
            own = getattr(error, "source", None)  # a fault of the simulated device names its line itself
            place = ""
            if frames and not own:
                last = next((frame for frame in reversed(frames) if not _is_ours(frame.filename)), frames[-1])
                place = f" ({os.path.basename(last.filename)}:{last.lineno})"
            words = f"{_words(error)}{place}"
            return ("raised", category, type(error).__name__, words, self.arrays.sticky())

    def _call(self, call: Call) -> Reply:
        function = self.backend.functions[call.operation]
        given = {name: self._enter(view) for name, view in call.arrays.items()}
        keywords = dict(call.parameters)
        out = None
        if call.alias is not None:
            out = keywords["out"] = given[call.alias]
        elif call.out is not None:
            out = keywords["out"] = self._enter(call.out)
        result = function(*given.values(), **keywords)
        self.arrays.synchronize()
        returned = result is not None and result is not out
        if out is not None and returned and not self.arrays.same(result, out):
            raise WrongResult("was given out= and returned another array")
        for name, view in call.arrays.items():
            self.arrays.leave(given[name], self.memory, view)
        if out is None:
            reply = self._result(result, call.free, copy=call.copy)
            self.kept[call.number] = result
            return reply
        if call.out is not None:
            self.arrays.leave(out, self.memory, call.out)
        return ("done",)

    def fetch(self, number: int, free: int) -> Reply:
        """Hand a kept result over again."""
        return self._result(self.kept[number], free, copy=True)

    def _result(self, result: Any, free: int, *, copy: bool) -> Reply:
        """Say where a result lies that the function allocated; copy it to the shared memory if need be."""
        host = self.arrays.fetch(result)
        if host.dtype.name not in messages.DTYPES:
            raise WrongResult(f"returned an array of {host.dtype}")
        view = arena.place_of_result(free, host.dtype.name, host.shape)
        if host.ndim > messages.AXES or view.stop > arena.SIZE:
            raise WrongResult(f"returned an array of shape {host.shape}: too large")
        address, strides = self.arrays.place(result)
        if copy or address is None:
            view.on(self.memory, host.dtype)[...] = host
        return ("result", host.dtype.name, host.shape, address, strides)

    def _enter(self, view: View) -> Any:
        array = view.on(self.memory, np.dtype(view.dtype))
        if any(stride == 0 and size > 1 for stride, size in zip(view.strides, view.shape, strict=True)):
            array.flags.writeable = False  # as NumPy's own broadcasts are
        return self.arrays.enter(array, self.memory, view)


def _is_ours(file: str) -> bool:
    """Whether a file is one of this package, through which a backend is called, and may call its kernels."""
    return file.startswith(_PACKAGE)


_PACKAGE = os.path.join(__file__.rpartition("conformance")[0], "")


def _words(error: BaseException) -> str:
    """Return an exception's message, if it has one that can be had."""
    try:
        return str(error)[:LONGEST]
    except Exception:
        return "(an exception without words)"


def serve(name: str, connection: socket.socket, descriptor: int, held: Sequence[str]) -> None:
    """Answer the suite until it closes the connection."""
    faulthandler.enable()
    sys.path.insert(0, os.getcwd())  # for a backend that is a module there
    memory = arena.map_file(descriptor)
    os.close(descriptor)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    files = [os.open(f"/proc/self/{file}", os.O_RDONLY) for file in _PROC if os.path.exists("/proc/self/mem")]
    socket.send_fds(connection, [messages.pack(("ready", held, address))], files)
    for file in files:
        os.close(file)
    worker: Worker | None = None
    while (request := messages.receive(connection)) is not None:
        match request:
            case ["describe"]:
                worker, reply = load(name, memory)
            case ["call", data] if worker is not None:
                reply = messages.pack(worker.answer(Call.from_data(data)))
            case ["fetch", number, free] if worker is not None:
                reply = messages.pack(worker.fetch(number, free))
        connection.sendall(reply)


_PROC = ("mem", "maps", "status")


def load(name: str, memory: Any) -> tuple[Worker | None, bytes]:
    """Load the backend; return it, and the reply that describes it."""
    importing.keep_doors()
    try:
        worker = Worker(loading.load(name), memory)
        return worker, messages.pack(("backend", worker.backend.describe()))
    except loading.BackendError as error:
        refusal = _words(error)
    except ModuleNotFoundError as error:  # of the arrays that it wants
        refusal = f"{name}: {error.name} is not installed: pip install {error.name}"
    except (TypeError, ValueError) as error:
        refusal = f"{name}: a declaration is no plain data: {_words(error)}"
    return None, messages.pack(("refused", refusal))
