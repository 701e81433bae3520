"""Segments: the straight lines of instructions that a program consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Exit, Step
from gaugeblock.gpu.simulator.machine.compose import Operation
from gaugeblock.gpu.simulator.ptx.operands import Lowered


@dataclass(slots=True)
class Segment:
    """A straight line of operations and what happens at its end.

    `ending` is a `Branch`, `Exit`, `Barrier` or `Collective`, or None where control falls into the next
    segment. By the id of an operation `origins` has its instruction, `steps` what it executes. `targets` are
    the segment numbers of a branch's labels; `writes` the slots that later segments may read; `acts` says if
    it has effects.
    """

    operations: list[Operation] = field(default_factory=list)
    origins: dict[int, Lowered] = field(default_factory=dict)
    steps: dict[int, list[Step]] = field(default_factory=dict)
    ending: Branch | Exit | Barrier | Collective | None = None
    guard: tuple[int, bool] | None = None
    source: Lowered | None = None
    targets: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    cost: int = 1
    acts: bool = False
    kinds: dict[str, int] = field(default_factory=dict)


def ending_reads(segment: Segment) -> list[int]:
    """Return the slots that decide what happens at the end of a segment, or that others get to see."""
    ending, found = segment.ending, [] if segment.guard is None else [segment.guard[0]]
    if isinstance(ending, Collective):
        found += ending.reads
    elif isinstance(ending, Barrier):
        found += [ending.number, *([] if ending.count is None else [ending.count])]
        found += [] if ending.reduction is None else [ending.reduction[1]]
    elif isinstance(ending, Branch) and ending.index is not None:
        found.append(ending.index)
    return found
