"""Segments: the straight lines of instructions that a program consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Exit
from gaugeblock.gpu.simulator.machine.compose import Operation
from gaugeblock.gpu.simulator.ptx.operands import Lowered


@dataclass(slots=True)
class Segment:
    """A straight line of operations and what happens at its end.

    `ending` is a `Branch`, `Exit`, `Barrier` or `Collective`, or None where control falls into the next
    segment. `targets` are the segment numbers of a branch's labels; `writes` the slots that later segments
    may read; `acts` says whether it has effects.
    """

    operations: list[Operation] = field(default_factory=list)
    origins: dict[int, Lowered] = field(default_factory=dict)
    ending: Branch | Exit | Barrier | Collective | None = None
    guard: tuple[int, bool] | None = None
    source: Lowered | None = None
    targets: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    cost: int = 1
    acts: bool = False
    kinds: dict[str, int] = field(default_factory=dict)
