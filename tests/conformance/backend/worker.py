"""The child process: loads a backend and answers calls, so that nothing it does can end the run.

Run as ``python -m gaugeblock.conformance.backend.worker BACKEND CONNECTION MEMORY``: two descriptors it
inherits. It reads requests and writes replies, tuples whose first item is a word:

=========================  =====================================================================
request                    reply
=========================  =====================================================================
``("describe",)``          ``("backend", {...})`` or ``("refused", message)`` when it cannot load
``("call", Call)``         ``("done", View | None, complaint | None)``, ``("unsupported", message)``,
                           ``("raised", type, message, sticky)`` or ``("wrong", message)``
=========================  =====================================================================
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import ml_dtypes  # noqa: F401  makes np.dtype("bfloat16") known
import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend import arena, arrays, loading
from gaugeblock.conformance.backend.arena import GUARD_BYTES, View
from gaugeblock.conformance.backend.arrays import WrongResult

ALIGNMENT = 512
NOTHING: tuple[NDArray[np.generic], bytes] = (np.empty(0), b"")


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
    """

    operation: str
    arrays: Mapping[str, View]
    parameters: Mapping[str, Any]
    out: View | None
    alias: str | None
    free: int


class Worker:
    """A loaded backend, and the memory it shares with the suite."""

    def __init__(self, backend: loading.Backend, memory: Any) -> None:
        self.backend = backend
        self.memory = memory
        self.arrays = arrays.of_kind(backend.arrays)
        self.kept = NOTHING

    def call(self, call: Call) -> tuple[View | None, str | None]:
        """Run one call; the result is in ``call.out`` or at the returned view, perhaps with a complaint."""
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
        self._expect_kept()
        if out is None:
            fetched = self.arrays.fetch(result)
            complaint = self._complaint(fetched, given)
            self.kept = (fetched, fetched.tobytes())
            return self._store(call, fetched), complaint
        if call.out is not None:
            self.arrays.leave(out, self.memory, call.out)
        return None, None

    def _complaint(self, result: NDArray[np.generic], given: Mapping[str, Any]) -> str | None:
        """Say whether a result that the function allocated is other memory than a new array's."""
        for name, array in given.items():
            if result.size and isinstance(array, np.ndarray) and np.may_share_memory(result, array):
                return f"returned memory of its argument {name}, not a new array"
        if result.size and np.may_share_memory(result, self.kept[0]):
            return "returned the memory of an earlier result, not a new array"
        return None

    def _expect_kept(self) -> None:
        """Fail if a call has changed what the call before returned."""
        array, before = self.kept
        if array.tobytes() != before:
            self.kept = NOTHING
            raise WrongResult("changed the result of an earlier call: it used its memory again")

    def _enter(self, view: View) -> Any:
        return self.arrays.enter(view.on(self.memory, np.dtype(view.dtype)), self.memory, view)

    def _store(self, call: Call, result: NDArray[np.generic]) -> View:
        start = -(-(call.free + GUARD_BYTES) // ALIGNMENT) * ALIGNMENT
        if start + result.nbytes > arena.SIZE:
            raise WrongResult(f"returned an array of shape {result.shape}: too large")
        strides = np.empty(result.shape, result.dtype).strides
        view = View(result.dtype.name, result.shape, strides, start, start, start + result.nbytes)
        view.on(self.memory, result.dtype)[...] = result
        return view


def answer(worker: Worker, call: Call) -> tuple[Any, ...]:
    """Run a call and put what happened into words."""
    try:
        return ("done", *worker.call(call))
    except NotImplementedError as error:
        return ("unsupported", str(error))
    except WrongResult as error:
        return ("wrong", str(error))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
        return ("raised", type(error).__name__, f"{error}{place}", worker.arrays.sticky())


def main() -> None:
    """Serve the suite until it closes the connection."""
    name, connection_descriptor, memory_descriptor = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    faulthandler.enable()
    sys.path.insert(0, os.getcwd())  # for a backend that is a module there
    connection: Connection[Any, Any] = Connection(connection_descriptor)
    memory = arena.map_file(memory_descriptor)
    worker: Worker | None = None
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if request[0] == "describe":
            try:
                worker = Worker(loading.load(name), memory)
                connection.send(("backend", worker.backend.describe()))
            except loading.BackendError as error:
                connection.send(("refused", str(error)))
        elif worker is not None:
            connection.send(answer(worker, request[1]))


if __name__ == "__main__":
    main()
