"""Undefined registers: what was read from memory that nobody has written is a fault where it is used.

A compiler reads ahead (a vector of four whose tail is thrown away, an element that a condition replaces), and
that harms nobody. So a register remembers of which lanes its value is undefined; arithmetic passes that
on, a selection only from the side that it takes. Faults are branches, addresses, stores, and what other lanes
get.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.action import Effect, Pure, Step
from gaugeblock.gpu.simulator.ptx.operands import Arg, Lowered, Slot, Vec
from gaugeblock.gpu.simulator.state.frame import Frame


class Undefined:
    """The undefined registers of a batch.

    Attributes
    ----------
    slots : dict
        For each register of which lanes of the batch it is undefined, and the fault that their read was.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.slots: dict[int, tuple[NDArray[np.bool_], LaneFault]] = {}

    def read(self, fault: LaneFault, source: Lowered, frame: Frame) -> bool:
        """Let a load leave undefined registers instead of a fault; say whether it is one that can."""
        if fault.gap is None or source.opcode not in ("ld", "ldu"):
            return False
        targets = _targets(source.operands[0])
        for slot, missing in zip(targets, fault.gap.missing(len(targets)), strict=True):
            if slot is not None:
                self._set(slot, frame, missing, fault)
        return True

    def check(self, slots: Iterable[int], source: Lowered | None, frame: Frame) -> LaneFault | None:
        """Return the fault of who uses one of these registers undefined, in this instruction."""
        for slot in self.slots.keys() & set(slots):
            lanes, fault = self.slots[slot]
            mine = lanes[frame.lanes]
            if mine.any():
                fault.lane = int(frame.lanes[int(np.argmax(mine))])
                lanes[frame.lanes] = False
                if source is not None and fault.other is None:
                    fault.other, fault.detail = source, f"{fault.detail}, and that is used at {{other}}"
                return fault
        return None

    def uses(self, step: Step, frame: Frame) -> LaneFault | None:
        """Return the fault of a step that uses an undefined register for more than arithmetic."""
        if step.guard is not None and (fault := self.check([step.guard[0]], step.source, frame)) is not None:
            return fault
        if not isinstance(step.action, Effect) or not self.slots.keys() & set(step.action.reads):
            return None
        return self.check(
            step.action.reads, step.source, frame if step.guard is None else _guarded(step, frame)
        )

    def passes(self, step: Step, frame: Frame) -> None:
        """Let a step that was executed pass on what is undefined, or overwrite it."""
        action = step.action
        if isinstance(action, Pure):
            from_ = [slot for slot in action.sources if slot in self.slots]
            if from_:
                self._set(
                    action.destination, frame, self._result(step, action, frame), self.slots[from_[0]][1]
                )
            elif action.destination in self.slots:
                self._clear([action.destination], step, frame)
        elif isinstance(action, Effect):
            self._clear([slot for slot in action.writes if slot in self.slots], step, frame)

    def _result(self, step: Step, action: Pure, frame: Frame) -> NDArray[np.bool_]:
        """Say of which lanes a result is undefined."""
        parts = [self._of(slot, frame) for slot in action.sources]
        if action.function is np.where:
            chosen = frame.expand(frame.registers[action.sources[0]])
            result: NDArray[np.bool_] = np.where(chosen, parts[1], parts[2]) | parts[0]
        elif step.source.opcode == "and" and len(parts) == 2:
            a, b = (frame.expand(frame.registers[slot]) for slot in action.sources)
            result = (parts[0] & (parts[1] | (b != 0))) | (parts[1] & (parts[0] | (a != 0)))
        else:
            result = np.logical_or.reduce(parts)
        if step.guard is not None:
            slot, negated = step.guard
            taken = frame.expand(frame.registers[slot]) ^ negated
            result = np.where(taken, result, self._of(action.destination, frame))
        return result

    def _of(self, slot: int, frame: Frame) -> NDArray[np.bool_]:
        return self.slots[slot][0][frame.lanes] if slot in self.slots else np.zeros(frame.count, np.bool_)

    def _set(self, slot: int, frame: Frame, missing: NDArray[np.bool_], fault: LaneFault) -> None:
        lanes, _ = self.slots.get(slot, (np.zeros(self.lanes, np.bool_), fault))
        lanes[frame.lanes] = missing
        if lanes.any():
            self.slots[slot] = lanes, fault
        else:
            self.slots.pop(slot, None)

    def _clear(self, slots: Sequence[int], step: Step, frame: Frame) -> None:
        part = frame if step.guard is None or not slots else _guarded(step, frame)
        for slot in slots:
            self._set(slot, part, np.zeros(part.count, np.bool_), self.slots[slot][1])


def _guarded(step: Step, frame: Frame) -> Frame:
    """Return the lanes whose predicate holds."""
    assert step.guard is not None
    slot, negated = step.guard
    return frame.subset(np.flatnonzero(frame.expand(frame.registers[slot]) ^ negated))


def _targets(arg: Arg) -> list[int | None]:
    elements = arg.elements if isinstance(arg, Vec) else (arg,)
    return [each.number if isinstance(each, Slot) else None for each in elements]
