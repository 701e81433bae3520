"""From a flat kernel to a program: every instruction decoded, control flow cut into segments.

A segment is a straight line of instructions. It ends where lanes may part or must meet: at a branch, an
exit, a barrier, an instruction of the whole warp, or before a label. Segments are numbered in program
order, so that "run the smallest program counter" is "run the smallest segment number".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gaugeblock.gpu.simulator.errors import UNSUPPORTED, LaneFault
from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Effect, Exit, Pure, Step
from gaugeblock.gpu.simulator.isa.decoder import Decoder, Modifiers
from gaugeblock.gpu.simulator.isa.table import TABLE
from gaugeblock.gpu.simulator.machine.flow import Flow
from gaugeblock.gpu.simulator.machine.invariant import Invariants
from gaugeblock.gpu.simulator.machine.segment import Segment, reads, writes
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.lowering import Flat
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.ptx.pointers import Traffic, traffic
from gaugeblock.gpu.simulator.ptx.syntax import SIZES, PtxError, Refused
from gaugeblock.gpu.simulator.state.frame import POISON, Frame, Registers


@dataclass(slots=True)
class Program:
    """A decoded kernel; `layout` are the offset and the size of each parameter, `text` is its module's."""

    name: str
    segments: list[Segment]
    flow: Flow
    invariants: Invariants
    waits_for_blocks: bool
    traffic: Traffic
    registers: list[Array]
    layout: tuple[tuple[int, int], ...]
    specials: Mapping[str, int]
    shared: int
    dynamic_shared: int | None
    local: int
    directives: Mapping[str, tuple[int, ...]]
    text: str

    @property
    def synchronises(self) -> bool:
        """Whether blocks may wait for each other, or for what others have written."""
        return self.traffic.fences or self.waits_for_blocks

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the packed parameters."""
        return max((offset + size for offset, size in self.layout), default=0)

    def shared_bytes(self, dynamic: int) -> int:
        """Return the bytes of a block's shared memory: the dynamic part may begin behind a gap."""
        return max(
            self.shared, (self.shared if self.dynamic_shared is None else self.dynamic_shared) + dynamic
        )


def decode(flat: Flat, text: str = "") -> Program:
    """Decode a flat kernel of the module with this text.

    An opcode, modifier or operand outside the subset becomes a step that raises when it is reached.

    Raises
    ------
    PtxError
        At the first instruction that no assembler would take, naming the PTX line.
    """
    decoder = Decoder(flat)
    steps = [_decoded(decoder, instruction) for instruction in flat.instructions]
    labels = dict(flat.labels)
    _skip_predicated(steps, labels)
    segments, starts = _cut(steps, set(labels.values()))
    for segment in segments:
        if isinstance(segment.ending, Branch):
            missing = [label for label in segment.ending.labels if label not in labels]
            if missing:
                raise PtxError(f"kernel {flat.name}: unknown label {missing[0]}")
            segment.targets = tuple(starts[labels[label]] for label in segment.ending.labels)
    flow = Flow(segments)
    invariants = Invariants(segments, flow, decoder)
    return Program(
        name=flat.name,
        segments=segments,
        flow=flow,
        invariants=invariants,
        waits_for_blocks=flow.waits_for_blocks(),
        traffic=traffic(flat.instructions),
        registers=_initial_registers(decoder),
        layout=tuple(flat.parameters.values()),
        specials=decoder.specials,
        shared=flat.layout.shared,
        dynamic_shared=flat.layout.dynamic_start,
        local=flat.layout.local,
        directives=flat.directives,
        text=text,
    )


def _decoded(decoder: Decoder, instruction: Lowered) -> list[Step]:
    """Decode an instruction."""
    decoder.instruction, decoder.modifiers = instruction, Modifiers(instruction)
    decoder.steps = []
    try:
        if instruction.refused:
            raise Refused(instruction.refused)
        if instruction.opcode not in TABLE:
            raise decoder.error("this instruction is not supported")
        TABLE[instruction.opcode](decoder)
    except Refused as refused:
        decoder.steps = []
        decoder.emit(_refusal(str(refused)), guarded=True)
    except PtxError:
        raise
    except (ValueError, KeyError, IndexError):  # operands of a form that nobody thought of
        decoder.steps = []
        decoder.emit(_refusal(str(decoder.error("operands like these are not supported"))), guarded=True)
    return decoder.steps


def _refusal(what: str) -> Effect:
    def run(registers: Registers, frame: Frame) -> None:
        raise LaneFault(UNSUPPORTED, what, 0)

    return Effect(run, (), ())


def _initial_registers(decoder: Decoder) -> list[Array]:
    """Constants, and poison for what nobody has written."""
    poison: dict[int, Array] = {
        1: np.zeros(1, np.bool_),
        2: np.array([0x7FBA], np.uint16),
        4: np.array([POISON], np.uint32),
        8: np.array([0x7FFBADBA7FFBADBA], np.uint64),
        16: np.array([0x7FFBADBA7FFBADBA], np.uint64),  # there are no instructions for these
    }
    registers = [poison[SIZES[type_]] for type_ in decoder.types]
    for slot, value in decoder.constant_values.items():
        registers[slot] = value
    return registers


def _skip_predicated(steps: list[list[Step]], labels: dict[str, int]) -> None:
    """Turn ``@p bar.sync`` and the like into a branch around the instruction."""
    for index, group in enumerate(steps):
        last = group[-1] if group else None
        if last is not None and last.guard is not None and isinstance(last.action, Collective | Barrier):
            slot, negated = last.guard
            label = f"$after{index}"
            labels[label] = index + 1
            around = Step(Branch((label,)), (slot, not negated), last.source)
            group[-1:] = [around, Step(last.action, None, last.source)]


def _cut(steps: list[list[Step]], labelled: set[int]) -> tuple[list[Segment], dict[int, int]]:
    """Cut the steps into segments; say which segment begins at each labelled instruction."""
    segments: list[Segment] = []
    starts: dict[int, int] = {}
    line: list[Step] = []
    exposed: set[int] = set()  # slots that some segment reads before it writes them

    def close(step: Step | None) -> None:
        whole = [*line, step] if step is not None else list(line)
        written: set[int] = set()
        for each in whole:
            exposed.update(slot for slot in reads(each) if slot not in written)
            written.update(writes(each))
        if step is not None and isinstance(step.action, Collective | Barrier):
            exposed.update(reads(step))  # lanes that had to wait read their operands again
        acts = any(isinstance(each.action, Effect) for each in line)
        kinds = Counter(each.source.spelling for each in line)
        segment = Segment([*line], writes=tuple(written), cost=len(whole), acts=acts, kinds=kinds)
        line.clear()
        if step is not None:
            assert not isinstance(step.action, Pure | Effect)
            segment.ending, segment.guard, segment.source = step.action, step.guard, step.source
        segments.append(segment)

    for index, group in enumerate(steps):
        if index in labelled:
            if line:
                close(None)
            starts[index] = len(segments)
        for step in group:
            if isinstance(step.action, Pure | Effect):
                line.append(step)
            else:
                close(step)
    if line:
        close(None)
    starts.update({index: len(segments) for index in labelled if index not in starts})
    segments.append(Segment(ending=Exit()))
    for segment in segments:
        segment.writes = tuple(slot for slot in segment.writes if slot in exposed)
    return segments, starts
