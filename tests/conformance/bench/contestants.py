"""Who is timed: backends as the suite loads them, their calls prepared in the memory of their device."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaugeblock.conformance.backend import loading
from gaugeblock.conformance.backend.calling import Caller, Prepared
from gaugeblock.conformance.bench.roofs import CALLS, gpu_roof, host_roof, rotation
from gaugeblock.conformance.bench.turns import Roof, Side, timed
from gaugeblock.conformance.bench.workloads import COUNTED, GPU, HOST, Scale, work_of
from gaugeblock.conformance.checking import check
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.gpu.simulator import Launch, Launches, settings

__all__ = ["Contestant", "Entrant"]

ROUND_SECONDS = 1e-3
"""What one reading of the clock of a processor should span at least."""


@dataclass
class Entrant:
    """A contestant with a call: a side of a race, and how its last result is checked."""

    contestant: Contestant
    problem: Problem
    side: Side
    last: list[tuple[Prepared, Any]] = field(default_factory=list)

    def verdict(self) -> str:
        """Return ``"right"``, or what is wrong with the result of the last call."""
        call, result = self.last[-1]
        got = self.contestant.caller.kind.fetch(result)
        if got.dtype == np.float64:  # the reference's own: it leaves the last rounding to others
            got = got.astype(self.problem.dtype)
        operation, declared = self.problem.operation, self.contestant.backend.declared
        try:
            check(
                operation,
                got,
                *call.host.values(),
                arithmetic=declared.arithmetic_of(operation, self.problem.dtype),
                departures=declared.departures_of(operation),
                **self.problem.parameters,
            )
        except AssertionError as error:
            return "wrong: " + str(error).replace("\n", "; ")
        return "right"

    def launches(self) -> list[Launch]:
        """Make the call once on the simulated device, and return what it launched."""
        counters = Launches()
        counters.call = f"{self.problem.operation} {self.problem.dtype}"
        with settings(counters=counters):
            self.side.run()
        return counters.ended


class Contestant:
    """A backend that takes part.

    Parameters
    ----------
    name
        The backend's name on the command line.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend = loading.load(name)
        self.caller = Caller(self.backend)

    @property
    def simulated(self) -> bool:
        """Whether it runs on the simulated device, whose launches are counted and not timed."""
        return self.backend.declared.simulated

    @property
    def on_gpu(self) -> bool:
        """Whether its arrays lie on a GPU."""
        kind: Any = self.caller.kind
        device = getattr(kind, "device", None)
        return not self.simulated and (self.backend.arrays == "cuda" or device == "cuda")

    @property
    def scale(self) -> Scale:
        """How large its calls may be."""
        return COUNTED if self.simulated or self.backend.declared.slow else GPU if self.on_gpu else HOST

    def roof(self, dtype: str) -> Roof | None:
        """Return its roofline; the time of a simulated device has none."""
        if self.simulated:
            return None
        return gpu_roof(dtype) if self.on_gpu else host_roof(dtype)

    def enter(self, problem: Problem) -> Entrant:
        """Prepare a problem. On a GPU operands rotate, so that its second-level cache does not hold them."""
        sets = rotation(int(work_of(problem).nbytes)) if self.on_gpu else 1
        turns = itertools.cycle([self.caller.prepare(problem, with_out=True) for _ in range(sets)])
        last: list[tuple[Prepared, Any]] = []

        def once() -> None:
            call = next(turns)
            last[:] = [(call, call.run())]

        def wait() -> None:
            self.caller.kind.synchronize()
            if last and hasattr(last[0][1], "block_until_ready"):  # JAX waits for arrays
                last[0][1].block_until_ready()

        def run() -> None:
            for _ in range(repeats):
                once()
            wait()

        once()
        wait()
        repeats = 1
        if self.on_gpu:
            repeats = CALLS
        elif not self.simulated:
            repeats = max(1, round(ROUND_SECONDS / max(timed(run), 1e-9)))
        side = Side(self.name, run, lambda: self.caller.kind.fetch(last[0][1]), repeats)
        return Entrant(self, problem, side, last)
