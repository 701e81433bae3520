"""A race: a problem, who computes it, and what came of it, as plain data for a file."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaugeblock.conformance.bench.contestants import Contestant, Entrant
from gaugeblock.conformance.bench.turns import in_turns
from gaugeblock.conformance.bench.workloads import work_of
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.conformance.reports.profile import Profile, profile
from gaugeblock.gpu.runtime.roofline import GPU

__all__ = ["Race"]


@dataclass
class Race:
    """A race.

    Parameters
    ----------
    problem
        What is computed.
    contestants
        By whom; the first that is timed is whom the others are compared with.
    gpu
        The GPU for which a model predicts times of simulated kernels.

    Attributes
    ----------
    found : dict
        What came of it (``README.md`` names the fields).
    """

    problem: Problem
    contestants: Sequence[Contestant]
    gpu: GPU
    found: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.problem.operation}-{self.problem.dtype}-{describe(self.problem).replace(' ', '-')}"

    def run(self, benchmark: Any, rounds: int) -> None:
        """Run it, and hold every result to its bound when the clock has stopped."""
        work = work_of(self.problem)
        self.found = {
            "operation": self.problem.operation,
            "dtype": self.problem.dtype,
            "problem": describe(self.problem),
            "flops": work.flops,
            "nbytes": work.nbytes,
            "sides": {each.name: {"device": each.backend.device} for each in self.contestants},
        }
        entrants = [entrant for each in self.contestants if (entrant := self._enter(each)) is not None]
        timed = [each for each in entrants if not each.contestant.simulated]
        for entrant in entrants:
            if entrant.contestant.simulated:
                self._count(entrant)
        if timed:
            self._time(timed, benchmark, rounds)
        else:
            benchmark.pedantic(lambda: None, rounds=1)  # pytest-benchmark wants something to time
        for entrant in entrants:
            self._of(entrant)["verdict"] = entrant.verdict()
        benchmark.extra_info |= self.found

    def _of(self, entrant: Entrant) -> dict[str, Any]:
        found: dict[str, Any] = self.found["sides"][entrant.contestant.name]
        return found

    def _enter(self, contestant: Contestant) -> Entrant | None:
        try:
            return contestant.enter(self.problem)
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            self.found["sides"][contestant.name]["verdict"] = f"failed: {words}"
            return None

    def _time(self, entrants: Sequence[Entrant], benchmark: Any, rounds: int) -> None:
        work = work_of(self.problem)
        seconds = in_turns(benchmark, [each.side for each in entrants], rounds)
        for entrant, own in zip(entrants, seconds, strict=True):
            if not own:
                continue  # --benchmark-disable: one run, no times
            ratios = [theirs / first for theirs, first in zip(own, seconds[0], strict=True)]
            median = statistics.median(own)
            roof = entrant.contestant.roof(self.problem.dtype)
            self._of(entrant).update(
                seconds=median,
                seconds_quartiles=_quartiles(own),
                times_the_first=statistics.median(ratios),
                times_the_first_quartiles=_quartiles(ratios),
                roofline=roof and roof.source,
                share_of_roofline=roof and roof.seconds(work) / median,
            )

    def _count(self, entrant: Entrant) -> None:
        work = work_of(self.problem)
        counted = profile(entrant.launches(), self.gpu)
        kernels = counted.kernels
        moved = sum(row.read + row.written for row in kernels)
        predictions = [row.prediction for row in kernels]
        self._of(entrant).update(
            counted=True,
            launches=sum(row.launches for row in kernels),
            instructions=sum(row.instructions for row in kernels),
            global_bytes=moved,
            global_bytes_over_least=moved / work.nbytes,
            bank_conflicts=sum(row.conflicts for row in kernels),
            registers=_most(counted, "registers"),
            spilled_bytes=_most(counted, "spills"),
            predicted_on=self.gpu.name,
            predicted_seconds=sum(each.seconds for each in predictions if each is not None)
            if all(predictions)
            else None,
        )


def _quartiles(values: Sequence[float]) -> list[float]:
    return [float(each) for each in np.quantile(values, [0.25, 0.75])]


def _most(counted: Profile, name: str) -> int | None:
    """Return the most of what the assembler says of a kernel, where it is there."""
    known = [getattr(row.resources, name) for row in counted.kernels if row.resources is not None]
    return max(known, default=None)


def describe(problem: Problem) -> str:
    """Return shapes and parameters of a problem in one line."""
    arrays = [f"{name}={'x'.join(map(str, shape))}" for name, shape in problem.shapes.items()]
    return " ".join([*arrays, *(f"{name}={_short(value)}" for name, value in problem.parameters.items())])


def _short(value: Any) -> str:
    return repr(value).replace(" ", "")
