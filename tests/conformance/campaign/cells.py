"""The cut of a plan into cells: one operation in one format on one backend, deterministic by itself.

A cell starts the backend anew, so that nothing of another cell has a bearing on it. Its identity is a hash of
what it tries and of all that the answer depends on: what the backend says of itself, the content of its
files, the versions and the source of this package.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from gaugeblock import conformance, gpu, reference, spec
from gaugeblock.conformance.campaign.plan import Conform, Plan, Shapes, Sweep, Target
from gaugeblock.conformance.engine import Effort
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.shapes import line
from gaugeblock.spec.formats import FORMATS
from gaugeblock.spec.operations import OPERATIONS

Kind = Literal["conform", "shapes", "sweep"]


@dataclass(frozen=True)
class Cell:
    """A piece of work.

    Parameters
    ----------
    target
        The backend.
    kind
        ``conform`` for all clauses, ``shapes`` for listed problems, ``sweep`` for a range of bit patterns.
    operation, dtype
        What is tried.
    time_limit, cell_limit
        Seconds that a call, and the cell, may take.
    effort
        Of clauses: how hard to try.
    budget
        Of clauses: seconds for a ladder of sizes after them.
    calls
        Of listed problems.
    first, count
        Of bit patterns.
    """

    target: Target
    kind: Kind
    operation: str
    dtype: str
    time_limit: float
    cell_limit: float
    effort: Effort = field(default_factory=Effort)
    budget: float = 0.0
    calls: tuple[LayerCall, ...] = ()
    first: int = 0
    count: int = 0

    def content(self) -> dict[str, Any]:
        """Return what is tried, as numbers and strings."""
        whole: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "operation", "dtype")}
        whole |= {"target": str(self.target), "time_limit": self.time_limit, "cell_limit": self.cell_limit}
        match self.kind:
            case "conform":
                effort = self.effort
                whole |= {"profile": effort.profile, "seed": effort.seed, "budget": self.budget}
            case "shapes":
                whole |= {"problems": [line(call, self.dtype) for call in self.calls]}
            case "sweep":
                whole |= {"first": self.first, "count": self.count}
        return whole | {"shrink": self.effort.shrink}

    def __str__(self) -> str:
        what = {
            "conform": f"{self.effort.profile}, seed {self.effort.seed}",
            "shapes": f"{len(self.calls)} shapes",
            "sweep": f"patterns {self.first:#x} to {self.first + self.count - 1:#x}",
        }[self.kind]
        return f"{self.target}: {self.operation} {self.dtype}, {what}"


def identity(cell: Cell, description: Mapping[str, Any]) -> str:
    """Return a cell's identity, where its backend describes itself so."""
    return digest({"cell": cell.content(), "of": description})[:32]


def digest(data: Any) -> str:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


@functools.cache
def source() -> str:
    """Return a short hash of the package's source: a version says nothing of a checkout."""
    found = hashlib.sha256()
    for package in (reference, spec, gpu, conformance):
        folder = Path(package.__path__[0])
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".py", ".cu", ".cuh"):
                found.update(f"{file.relative_to(folder)}\0".encode())
                found.update(file.read_bytes())
    return found.hexdigest()[:12]


def cut(plan: Plan) -> list[Cell]:
    """Cut a plan into cells, those of one backend together; what is listed twice is one."""
    found: dict[str, Cell] = {}
    for section in plan.sections:
        for target in section.targets:
            for cell in _of(section, target, plan):
                found.setdefault(digest(cell.content()), cell)
    return list(found.values())


def _of(section: Conform | Shapes | Sweep, target: Target, plan: Plan) -> Iterator[Cell]:
    effort = Effort(shrink=plan.shrink)
    for operation in section.operations:
        listed = [each for each in getattr(section, "problems", ()) if each.call.operation == operation]
        for dtype in OPERATIONS[operation].dtypes:
            if dtype not in section.dtypes:
                continue
            about = functools.partial(
                Cell, target, operation=operation, dtype=dtype, time_limit=plan.time_limit,
                cell_limit=plan.cell_limit,
            )  # fmt: skip
            match section:
                case Conform():
                    for profile in section.profiles:
                        for seed in section.seeds:
                            hard = Effort(profile, seed, plan.shrink)
                            yield about(kind="conform", effort=hard, budget=section.budget)
                case Shapes():
                    calls = {line(each.call, dtype): each.call for each in listed if dtype in each.dtypes}
                    for some in _some_each(calls.values(), section.per_cell):
                        yield about(kind="shapes", calls=some, effort=effort)
                case Sweep():
                    last = min(section.last, (1 << 8 * FORMATS[dtype].dtype.itemsize) - 1)
                    for first in range(section.first, last + 1, section.per_cell):
                        count = min(section.per_cell, last + 1 - first)
                        yield about(kind="sweep", first=first, count=count, effort=effort)


def _some_each(calls: Iterable[LayerCall], most: int) -> Iterator[tuple[LayerCall, ...]]:
    rest = iter(calls)
    while some := tuple(islice(rest, most)):
        yield some
