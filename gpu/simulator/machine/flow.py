"""What the control flow of a program says about barriers: where no barrier follows, and who passed one by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Exit
from gaugeblock.gpu.simulator.machine.segment import Segment
from gaugeblock.gpu.simulator.ptx.operands import Lowered

NO_BARRIER, NO_COLLECTIVE = 1, 2
"""What cannot follow in a part of a program; without any of the kind, that is not said."""


class Flow:
    """Reachability among the segments of a program.

    Attributes
    ----------
    leaves : list of int
        For each segment whether no barrier, or no collective, can follow: a thread there is on its way out.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.leaves = [0] * len(segments)
        self.passed_by = cache(self._passed_by)
        self.before: list[list[int]] = [[] for _ in segments]
        for number in range(len(segments)):
            for follower in self._followers(number):
                self.before[follower].append(number)
        for kind, what in ((Barrier, NO_BARRIER), (Collective, NO_COLLECTIVE)):
            meetings = [n for n, segment in enumerate(segments) if isinstance(segment.ending, kind)]
            leading = _reached(meetings, self.before.__getitem__)
            for number in range(len(segments)) if meetings else ():
                self.leaves[number] |= 0 if number in leading else what

    def dominators(self) -> list[int]:
        """Return for each segment those that every thread has passed when it comes there, as bits."""
        everywhere = (1 << len(self.segments)) - 1
        found = [1, *[everywhere] * (len(self.segments) - 1)]
        changed = True
        while changed:
            changed = False
            for number in range(1, len(found)):
                passed = everywhere
                for each in self.before[number]:
                    passed &= found[each]
                passed |= 1 << number
                changed |= passed != found[number]
                found[number] = passed
        return found

    def waits_for_blocks(self) -> bool:
        """Whether a loop looks again and again at global memory, as for what another block writes there."""
        return any(n in self._after(n) for n in range(len(self.segments)) if self._looking(n))

    def polled(self, segment: int) -> Lowered | None:
        """Return the instruction by which a loop around a segment looks at memory, if there is one."""
        loop = [segment, *(n for n in sorted(self._after(segment)) if segment in self._after(n))]
        return next((each for n in loop if (each := self._looking(n)) is not None), None)

    def _looking(self, number: int) -> Lowered | None:
        return next(filter(_looks, (step.source for step in self.segments[number].line)), None)

    def _after(self, number: int) -> set[int]:
        return _reached(self._followers(number), self._followers)

    def _followers(self, number: int) -> list[int]:
        segment = self.segments[number]
        always = segment.guard is None and isinstance(segment.ending, Branch | Exit)
        return [*segment.targets] if always else [*segment.targets, number + 1]

    def _passed_by(self, barrier: int, entered: int) -> bool:
        """Whether a thread that left by way of segment `entered` has passed this barrier by.

        It has if it did something that those who wait at the barrier still have to do; a thread that
        returned early, as it may, did nothing, or something of its own.
        """
        own = _reached([entered], self._followers)
        common = own & _reached(self._followers(barrier), self._followers)
        return any(self.segments[n].acts or isinstance(self.segments[n].ending, Collective) for n in common)


def _looks(instruction: Lowered) -> bool:
    """Whether an instruction reads what others may have changed since it did so before."""
    modifiers = set(instruction.modifiers)
    strong = instruction.opcode == "atom" or modifiers & {"volatile", "relaxed", "acquire", "mmio"}
    return instruction.opcode in ("atom", "ld") and bool(strong) and not modifiers & {"shared", "shared::cta"}


def _reached(start: Iterable[int], follow: Callable[[int], Iterable[int]]) -> set[int]:
    """Return where one gets from here, and here."""
    found = set(start)
    pending = list(found)
    while pending:
        new = set(follow(pending.pop())) - found
        found |= new
        pending += new
    return found
