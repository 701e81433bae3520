"""What a launch computes from its shape and its sizes alone: every time the same, hence once.

A register that one instruction writes, from constants, special registers and integer parameters, holds one
value wherever it is read. Such instructions are found when a kernel is decoded and taken out of the lines of
its segments; a batch computes those of a segment when it first comes there, for all its lanes, and a later
launch of the same shape and sizes finds the values. Copies of pointers and of floats, which change from
launch to launch, are made when a batch begins.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.isa.action import ParameterLoad, Pure, Step
from gaugeblock.gpu.simulator.isa.decoder import Decoder
from gaugeblock.gpu.simulator.isa.kinds import same
from gaugeblock.gpu.simulator.machine.compose import compose
from gaugeblock.gpu.simulator.machine.flow import Flow
from gaugeblock.gpu.simulator.machine.segment import Segment, reads, writes
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.syntax import SIZES
from gaugeblock.gpu.simulator.state.frame import Frame

RUNTIME: Final = ("%parameters", "%envreg1", "%envreg2")
"""Special registers that are another with every launch: addresses of what is allocated for it."""
_SHAPES, _MOST_LANES = 8, 2048
"""Launches of a kernel that are remembered, and how many lanes they have at most: memory is a cost too."""

Parameter: TypeAlias = tuple[int, int, np.dtype[Any]]


@dataclass(slots=True)
class Fixed:
    """Registers of a batch that depend on its shape and its sizes; `filled` are the segments they are of."""

    registers: dict[int, Array]
    filled: set[int] = field(default_factory=set)

    def fill(self, number: int, segment: Segment, whole: Frame) -> None:
        """Compute what a segment has of them, for all lanes of a batch."""
        for operation in segment.invariant:
            operation(whole.registers, whole)
        for slot in segment.settles:
            self.registers[slot] = whole.registers[slot]
        self.filled.add(number)


class Invariants:
    """The invariants of a kernel, and of its last launches.

    Attributes
    ----------
    sizes, others : list of (int, int, dtype)
        Slot, offset and type of the parameters that they may depend on, and of those that they do not.
    copies : list of (int, int)
        Registers that hold what another does from the beginning.
    """

    def __init__(self, segments: list[Segment], flow: Flow, decoder: Decoder) -> None:
        once, written = _written_once(segments, flow)
        loads = _parameter_loads(segments, once, decoder)
        parameters = [
            (slot, offset, np.dtype(f"u{SIZES[type_]}"))
            for (offset, type_), slot in decoder.parameters.items()
        ]
        parameters += [each for found in loads.values() for each in found]
        pointers = _pointers(segments, once)
        pointers |= {slot for (_, type_), slot in decoder.parameters.items() if "f" in type_}
        self.sizes = [each for each in parameters if each[0] not in pointers]
        self.others = [each for each in parameters if each[0] in pointers]
        changing = {slot for name, slot in decoder.specials.items() if name in RUNTIME}
        changing |= {slot for slot, _, _ in self.others}
        known = set(range(len(decoder.types))) - written | {slot for slot, _, _ in parameters}
        known -= changing
        constants = decoder.constant_values
        self.copies: list[tuple[int, int]] = []
        for segment in segments:
            settled: list[Step] = []
            left: list[Step] = []
            for step in segment.line:
                action = step.action
                if id(step) in loads:
                    continue
                if not isinstance(action, Pure) or step.guard is not None or action.destination not in once:
                    left.append(step)
                elif known.issuperset(action.sources) and all(each.kind in "biu" for each in action.dtypes):
                    known.add(action.destination)
                    settled.append(step)
                elif action.function is same and action.sources[0] in changing:
                    changing.add(action.destination)
                    self.copies.append((action.destination, action.sources[0]))
                else:
                    left.append(step)
            segment.operations, segment.steps = compose(left, constants)
            segment.invariant = compose(settled, constants)[0]
            segment.settles = tuple(slot for step in settled for slot in writes(step))
        for segment in segments:
            segment.writes = tuple(
                slot for slot in segment.writes if slot not in known and slot not in changing
            )
        self._sizes = _reader(self.sizes)
        self._found: dict[Hashable, Fixed] = {}

    def key(self, shape: Hashable, parameters: bytes) -> Hashable:
        """Return what they depend on in a launch."""
        return shape, self._sizes.unpack_from(parameters)

    def find(self, key: Hashable) -> Fixed | None:
        """Return those of an earlier launch."""
        return self._found.get(key)

    def keep(self, key: Hashable, registers: dict[int, Array], lanes: int) -> Fixed:
        """Begin with the registers that a batch of so many lanes is given."""
        fixed = Fixed(registers)
        if lanes <= _MOST_LANES:
            if len(self._found) >= _SHAPES:
                del self._found[next(iter(self._found))]
            self._found[key] = fixed
        return fixed


def _written_once(segments: list[Segment], flow: Flow) -> tuple[set[int], set[int]]:
    """Return the slots that one instruction writes, and all readers have passed; and all that are written."""
    times = Counter(slot for segment in segments for step in segment.everything() for slot in writes(step))
    home = {
        slot: number
        for number, segment in enumerate(segments)
        for step in segment.line
        for slot in writes(step)
        if times[slot] == 1
    }
    before, early = flow.dominators(), set[int]()
    for number, segment in enumerate(segments):
        here: set[int] = set()
        for step in segment.everything():
            for slot in reads(step):
                at = home.get(slot)
                if at is not None and slot not in here and (at == number or not before[number] >> at & 1):
                    early.add(slot)
            here.update(writes(step))
    return home.keys() - early, set(times)


def _pointers(segments: list[Segment], once: set[int]) -> set[int]:
    """Return the slots that are, or are copied to, addresses that an instruction says to be of a pointer."""
    origin: dict[int, int] = {}
    found: set[int] = set()
    for segment in segments:
        for step in segment.line:
            action = step.action
            if isinstance(action, Pure) and action.function is same:
                source = origin.get(action.sources[0], action.sources[0])
                if step.source.opcode == "cvta":
                    found.add(source)
                if action.destination in once:
                    origin[action.destination] = source
    return found


def _parameter_loads(segments: list[Segment], once: set[int], decoder: Decoder) -> dict[int, list[Parameter]]:
    """Return which parameters are loaded, by the id of a step, from addresses that are known."""
    places = dict(decoder.parameter_addresses)
    nbytes = max((offset + size for offset, size in decoder.flat.parameters.values()), default=0)
    found: dict[int, list[Parameter]] = {}
    for segment in segments:
        for step in segment.line:
            action = step.action
            if step.guard is not None or not once.issuperset(writes(step)):
                continue
            if isinstance(action, Pure) and action.function is same and action.sources[0] in places:
                places[action.destination] = places[action.sources[0]]
            elif isinstance(action, ParameterLoad) and action.address in places:
                at, dtype = places[action.address] + action.offset, np.dtype(f"u{action.size}")
                width = action.size * len(action.writes)
                if at % width == 0 and 0 <= at <= nbytes - width:
                    found[id(step)] = [
                        (slot, at + number * action.size, dtype) for number, slot in enumerate(action.writes)
                    ]
    return found


def _reader(parameters: list[Parameter]) -> struct.Struct:
    """Return a reader of the bytes of these parameters."""
    form, at = "=", 0
    for begin, end in sorted((offset, offset + dtype.itemsize) for _, offset, dtype in parameters):
        if end > at:
            form += f"{max(begin - at, 0)}x{end - max(begin, at)}s"
            at = end
    return struct.Struct(form)
