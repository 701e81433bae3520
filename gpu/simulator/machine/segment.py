"""Segments: the straight lines of instructions that a program consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Effect, Exit, Pure, Step
from gaugeblock.gpu.simulator.machine.compose import Operation
from gaugeblock.gpu.simulator.ptx.operands import Lowered


@dataclass(slots=True)
class Segment:
    """A straight line of operations and what happens at its end.

    `ending` is a `Branch`, `Exit`, `Barrier` or `Collective`, or None where control falls into the next
    segment. `line` is what is executed before that: by `invariant` operations once in a launch, which settle
    the slots `settles`, and by `operations` every time; `steps` has by the id of one of these what it
    executes. `targets` are the segment numbers of a branch's labels; `writes` the slots that later segments
    may read; `acts` says if it has effects.
    """

    line: list[Step] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    invariant: list[Operation] = field(default_factory=list)
    settles: tuple[int, ...] = ()
    steps: dict[int, list[Step]] = field(default_factory=dict)
    ending: Branch | Exit | Barrier | Collective | None = None
    guard: tuple[int, bool] | None = None
    source: Lowered | None = None
    targets: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    cost: int = 1
    acts: bool = False
    kinds: dict[str, int] = field(default_factory=dict)

    def everything(self) -> list[Step]:
        """Return the line, and the ending as a step."""
        if self.ending is None or self.source is None:
            return self.line
        return [*self.line, Step(self.ending, self.guard, self.source)]


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


def reads(step: Step) -> tuple[int, ...]:
    """Return the slots that a step reads; where its predicate is false, the destination keeps its value."""
    action = step.action
    found: tuple[int, ...] = ()
    if isinstance(action, Pure):
        found = action.sources
    elif isinstance(action, Effect | Collective):
        found = action.reads
    elif isinstance(action, Barrier):
        found = (action.number,) if action.count is None else (action.number, action.count)
        if action.reduction is not None:
            found = (*found, action.reduction[1])
    elif isinstance(action, Branch) and action.index is not None:
        found = (action.index,)
    if step.guard is not None:
        found = (*found, step.guard[0], *writes(step))
    return found


def writes(step: Step) -> tuple[int, ...]:
    """Return the slots that a step writes."""
    action = step.action
    if isinstance(action, Pure):
        return (action.destination,)
    if isinstance(action, Barrier):
        return () if action.reduction is None else (action.reduction[2],)
    return action.writes if isinstance(action, Effect | Collective) else ()
