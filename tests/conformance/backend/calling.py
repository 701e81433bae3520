"""Calls of a backend in this very process: for what counts or times them. What judges keeps its distance."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend import arena
from gaugeblock.conformance.backend.arena import View
from gaugeblock.conformance.backend.arrays import Arrays, of_kind
from gaugeblock.conformance.backend.loading import Backend
from gaugeblock.conformance.problems.problem import PACKED, Problem

__all__ = ["Caller", "Prepared"]


@dataclass(frozen=True)
class Prepared:
    """A call that waits: a function, arrays of its backend's kind, and the output if it takes one.

    Attributes
    ----------
    host : dict of str to array
        The array arguments on the host.
    run : callable
        Makes the call once, without waiting for a device, and returns what the function returned.
    """

    host: dict[str, NDArray[Any]]
    run: Callable[[], Any]


class Caller:
    """Prepares calls of a backend.

    Parameters
    ----------
    backend
        The backend, as it was loaded.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.kind: Arrays = of_kind(backend.arrays)
        descriptor = arena.create_file()
        self._memory = arena.map_file(descriptor)
        os.close(descriptor)
        self._arena = arena.Arena(self._memory)

    def prepare(self, problem: Problem, with_out: bool = False) -> Prepared:
        """Return a problem as a call.

        Parameters
        ----------
        problem
            What to call, and with what.
        with_out
            Whether the result goes to an array that is there before, if the function takes one.

        Raises
        ------
        MemoryError
            It does not fit into the memory for all calls of the backend.
        """
        host, given = {}, []
        for name, array in problem.arrays.items():
            view = self._place(name, np.dtype(problem.dtype), array.shape, array.layout)
            host[name] = view.on(self._memory, np.dtype(problem.dtype))
            host[name][...] = array.build(problem.dtype).astype(problem.dtype)
            given.append(self.kind.enter(host[name], self._memory, view))
        parameters = dict(problem.parameters)
        if with_out and self.backend.describe()["takes_out"][problem.operation]:
            dtype = np.dtype(problem.dtype if problem.record.result_dtype == "same" else np.int64)
            view = self._place("out", dtype, problem.result_shape, problem.out or PACKED)
            parameters["out"] = self.kind.enter(view.on(self._memory, dtype), self._memory, view)
        function = self.backend.functions[problem.operation]
        return Prepared(host, lambda: function(*given, **parameters))

    def _place(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], layout: Any) -> View:
        return self._arena.place(name, dtype, shape, layout, arena.GUARD)
