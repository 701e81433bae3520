"""What a verdict stands on: which calls were put, which were answered, and of what size."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.problems.problem import Problem

SIZE_CLASSES = (("empty", 0), ("tiny", 64), ("small", 1 << 12), ("medium", 1 << 16), ("large", 1 << 20))
"""Names of sizes, and the most elements that the largest array of such a call has; beyond is ``huge``."""


def size_class(problem: Problem) -> str:
    """Return the name of a call's size.

    >>> from gaugeblock.conformance import Array
    >>> size_class(Problem("relu", "float32", {"x": Array((65,))}))
    'small'
    """
    elements = problem.elements
    return next((name for name, most in SIZE_CLASSES if elements <= most), "huge")


SMALL, MANY = 1 << 12, 400
"""Elements of an answer that is remembered, and how many are."""


class Evidence:
    """The calls of one case: how many were asked, answered and declined, by size.

    Attributes
    ----------
    by_size
        For every size class that was met the counts of calls asked, answered and declined.
    largest
        The answered call with the most elements.
    """

    def __init__(self) -> None:
        self.by_size: dict[str, list[int]] = {}
        self.largest: Problem | None = None

    def count(self, problem: Problem, answered: bool) -> None:
        """Take down a call."""
        counts = self.by_size.setdefault(size_class(problem), [0, 0, 0])
        counts[0] += 1
        counts[1 if answered else 2] += 1
        if answered and (self.largest is None or problem.elements > self.largest.elements):
            self.largest = problem

    def as_data(self) -> dict[str, Any]:
        """Return numbers and strings."""
        largest = self.largest.shapes if self.largest else {}
        return {
            "by_size": {
                name: dict(zip(("asked", "answered", "declined"), self.by_size[name], strict=True))
                for name in (*(known for known, _ in SIZE_CLASSES), "huge")
                if name in self.by_size
            },
            "largest": ", ".join(f"{name} {shape}" for name, shape in largest.items()),
        }


def total(by_size: Mapping[str, Mapping[str, int]], of: str) -> int:
    """Add up asked, answered or declined calls over all sizes."""
    return sum(counts[of] for counts in by_size.values())


def own_peak() -> int:
    """Return the most bytes of memory that this process has used; 0 where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Notebook:
    """The last calls of an operation in a dtype.

    Attributes
    ----------
    answered, declined
        Calls, by what came of them: from these a declaration is derived.
    given
        The small answers among the last, by the text of their calls.
    """

    def __init__(self) -> None:
        self.answered: deque[Problem] = deque(maxlen=400)
        self.declined: deque[Problem] = deque(maxlen=200)
        self.given: OrderedDict[str, NDArray[np.generic]] = OrderedDict()

    def remember(self, problem: Problem, answer: NDArray[np.generic]) -> None:
        """Keep an answer, and let the oldest go."""
        self.given[repr(problem)] = answer
        if len(self.given) > MANY:
            self.given.popitem(last=False)
