"""Decoding: the tools that the tables of instructions share.

`Decoder` turns operands into slots of the register file: immediates, special registers and kernel
parameters are slots too, filled before the launch, so that an instruction knows only slots. `Modifiers`
reads an opcode's modifiers and refuses what nobody asked for: nothing is approximated in silence.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Action, Effect, Pure, Step
from gaugeblock.gpu.simulator.numbers.integer import truncate
from gaugeblock.gpu.simulator.numbers.lanes import some
from gaugeblock.gpu.simulator.numbers.types import DTYPES, PREDICATE, Array
from gaugeblock.gpu.simulator.ptx.lowering import Flat
from gaugeblock.gpu.simulator.ptx.operands import (
    Arg,
    Extent,
    Lowered,
    MemoryOperand,
    ParameterOperand,
    Sink,
    Slot,
    Special,
    SymbolAddress,
    Vec,
)
from gaugeblock.gpu.simulator.ptx.origins import origins
from gaugeblock.gpu.simulator.ptx.syntax import SIZES, Float, Integer, PtxError, Refused
from gaugeblock.gpu.simulator.state.frame import Frame, Registers

NUMBERS = tuple(name for name in DTYPES if name != "pred" and not name.endswith("x2"))
"""Types of one number, or of bits."""
_WIDE_SPECIALS = ("%gridid", "%parameters")
_CLOCKS = {
    "%clock": "u32", "%clock_hi": "u32", "%clock64": "u64",
    "%globaltimer": "u64", "%globaltimer_lo": "u32", "%globaltimer_hi": "u32",
}  # fmt: skip


class Modifiers:
    """The modifiers of one instruction, read off one by one."""

    def __init__(self, instruction: Lowered) -> None:
        self.instruction = instruction
        self.rest = list(instruction.modifiers)

    def flag(self, *names: str) -> bool:
        """Read a modifier if it is there."""
        for name in names:
            if name in self.rest:
                self.rest.remove(name)
                return True
        return False

    def flags(self, *names: str) -> dict[str, bool]:
        """Read those of these modifiers that are there."""
        return {name: True for name in names if self.flag(name)}

    def one_of(self, *names: str, default: str | None = None) -> str:
        """Read one modifier of several."""
        for word in self.rest:
            if word in names:
                self.rest.remove(word)
                return word
        if default is None:
            raise self.error(f"needs one of .{', .'.join(names)}")
        return default

    def type(self, *allowed: str) -> str:
        """Read a type; without a list, any of one number."""
        for word in self.rest:
            if word in (allowed or NUMBERS):
                self.rest.remove(word)
                return word
        raise self.error("needs a type" + (f" (one of .{', .'.join(allowed)})" if allowed else ""))

    def done(self) -> None:
        """Refuse what is left."""
        if self.rest:
            raise self.error(f"modifier .{self.rest[0]} is not supported")

    def error(self, what: str) -> Refused:
        """Return an error for what the simulator does not know, that names the instruction and its line."""
        return Refused(f"PTX line {self.instruction.location.ptx_line}: {self.instruction.spelling}: {what}")


class Decoder:
    """Slots of one kernel, and the steps decoded so far."""

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self.types = list(flat.slots)
        self.constants: dict[tuple[Any, bytes], int] = {}
        self.constant_values: dict[int, Array] = {}
        self.specials: dict[str, int] = {}
        self.parameters: dict[tuple[int, str], int] = {}
        self.parameter_addresses: dict[int, int] = {}
        self.arguments: dict[tuple[str, int], int] = {}
        self.steps: list[Step] = []
        self.instruction: Lowered = Lowered("", (), (), None, None)  # type: ignore[arg-type]
        self.modifiers = Modifiers(self.instruction)
        self.carry = self.temporary("pred")
        self.origins = origins(flat.instructions)

    def error(self, what: str) -> Refused:
        """Return an error for what the simulator does not know, that names the current instruction."""
        return self.modifiers.error(what)

    def mistake(self, what: str) -> PtxError:
        """Return an error for what no assembler would take."""
        return PtxError(str(self.error(what)))

    # Slots.

    def temporary(self, type_: str) -> int:
        """Add a slot."""
        self.types.append(type_)
        return len(self.types) - 1

    def constant(self, value: Array, type_: str) -> int:
        """Return a slot that always holds `value` (one element)."""
        key = (value.dtype, value.tobytes())
        found = self.constants.get(key)
        if found is None:
            found = self.constants[key] = self.temporary(type_)
            self.constant_values[found] = value
        return found

    def number(self, value: int, type_: str) -> int:
        """Return a slot that holds an integer."""
        bits = 8 * SIZES[type_]
        if type_ == "pred":
            return self.constant(np.array([value != 0]), type_)
        return self.constant(
            np.array([value & ((1 << bits) - 1)], f"u{bits // 8}").view(DTYPES[type_]), type_
        )

    def special(self, name: str) -> int:
        """Return the slot of a special register."""
        if name not in self.specials:
            self.specials[name] = self.temporary("u64" if name in _WIDE_SPECIALS else "u32")
        return self.specials[name]

    def _clock(self, name: str) -> int:
        """Return a slot with the time at which the current instruction reads it."""
        slot, type_ = self.temporary(_CLOCKS[name]), DTYPES[_CLOCKS[name]]

        def run(registers: Registers, frame: Frame) -> None:
            time = frame.batch.tick() >> (32 if name.endswith("hi") else 0)
            registers[slot] = np.array([time & np.iinfo(type_).max], type_)

        self.emit(Effect(run, (), (slot,)))
        return slot

    # Operands.

    def source(self, arg: Arg, type_: str) -> int:
        """Return the slot to read an operand of this type from."""
        if isinstance(arg, Slot):
            return self._register(arg, type_)
        if isinstance(arg, Integer):
            return self.number(arg.value, type_)
        if isinstance(arg, Float):
            return self._float(arg, type_)
        if isinstance(arg, SymbolAddress):
            return self.number(arg.address, type_)
        if isinstance(arg, Special):
            slot = self._clock(arg.name) if arg.name in _CLOCKS else self.special(arg.name)
            return self._fit(slot, self.types[slot], type_)
        if isinstance(arg, ParameterOperand) and arg.kernel and SIZES[type_] == 8:
            return self._parameter_address(arg.offset)
        raise self.error(f"{type(arg).__name__} is no operand of type .{type_}")

    def _parameter_address(self, offset: int) -> int:
        """Return a slot with a kernel parameter's address: parameters then lie in memory for the launch."""
        base, address, distance = self.special("%parameters"), self.temporary("u64"), np.uint64(offset)
        self.emit(Pure(lambda x: x + distance, (base,), (DTYPES["u64"],), address))
        self.parameter_addresses[address] = offset
        return address

    def _register(self, arg: Slot, type_: str) -> int:
        if (arg.type == "pred") != (type_ == "pred"):
            raise self.mistake(f"a .{arg.type} register where .{type_} is needed")
        if arg.negated:
            slot = self.temporary("pred")
            self.emit(Pure(np.logical_not, (arg.number,), (PREDICATE,), slot))
            return slot
        return self._fit(arg.number, arg.type, type_)

    def _fit(self, slot: int, have: str, want: str) -> int:
        if SIZES[have] == SIZES[want]:
            return slot
        if SIZES[have] < SIZES[want]:
            raise self.mistake(f"a .{have} register where .{want} is needed")
        narrow = self.temporary(want)
        wide, dtype = (np.dtype(f"u{SIZES[t]}") for t in (have, want))
        self.emit(Pure(lambda x: truncate(dtype, x), (slot,), (wide,), narrow))
        return narrow

    def _float(self, arg: Float, type_: str) -> int:
        size = SIZES[type_]
        bits = arg.bits
        if arg.width != 8 * size:
            value = struct.unpack("<d", bits.to_bytes(8, "little"))[0] if arg.width == 64 else None
            if value is None or type_ != "f32":
                raise self.error(f"a {arg.width}-bit float literal where .{type_} is needed")
            return self.constant(np.array([value], np.float32), type_)
        return self.constant(np.array([bits], f"u{size}").view(DTYPES[type_]), type_)

    def destination(self, arg: Arg, type_: str) -> int:
        """Return the slot to write a result of this type to."""
        if isinstance(arg, Sink):
            return self.temporary(type_)
        if not isinstance(arg, Slot):
            raise self.error(f"{type(arg).__name__} is no destination")
        if SIZES[arg.type] != SIZES[type_] or (arg.type == "pred") != (type_ == "pred"):
            wide = (arg.type == "pred") == (type_ == "pred") and SIZES[arg.type] > SIZES[type_]
            complain = self.error if wide else self.mistake
            raise complain(f"a .{arg.type} register cannot take a result of type .{type_}")
        return arg.number

    def parameter(self, arg: ParameterOperand, type_: str) -> int:
        """Return the slot of a kernel parameter (or part of it), or of a call's parameter."""
        if not arg.kernel:
            key = (arg.name, arg.offset)
            if key not in self.arguments:
                self.arguments[key] = self.temporary(type_)
            slot = self.arguments[key]
            if SIZES[self.types[slot]] != SIZES[type_]:
                raise self.error("a .param variable is read in other pieces than it was written in")
            return slot
        place = (arg.offset, type_)
        if place not in self.parameters:
            self.parameters[place] = self.temporary(type_)
        return self.parameters[place]

    def address(self, arg: Arg, width: str = "u64") -> tuple[int, int, str | None]:
        """Return slot, constant offset and, if a variable is named, its space."""
        if not isinstance(arg, MemoryOperand):
            raise self.error("needs an address in brackets")
        if arg.slot is None:
            return self.number(arg.offset, "u64"), 0, arg.space
        if arg.slot.type not in ("b32", "u32", "s32", "b64", "u64", "s64"):
            raise self.error(f"an address in a .{arg.slot.type} register")
        return arg.slot.number, arg.offset, arg.space

    def extent(self, arg: Arg) -> Extent | None:
        """Return the shared or local variable that an address was computed from, if that is known."""
        if not isinstance(arg, MemoryOperand):
            return None
        return arg.extent if arg.slot is None else self.origins.get(arg.slot.number)

    def without_policy(self) -> tuple[Arg, ...]:
        """Return the operands but for a cache policy, which changes speed and nothing else."""
        operands = self.instruction.operands
        if "L2::cache_hint" in self.instruction.modifiers:
            self.source(operands[-1], "b64")
            return operands[:-1]
        return operands

    def elements(self, arg: Arg, count: int) -> tuple[Arg, ...]:
        """Return the elements of a vector operand; a single operand for `count` 1."""
        if isinstance(arg, Vec):
            if len(arg.elements) != count:
                raise self.error(f"{len(arg.elements)} registers where {count} are needed")
            return arg.elements
        if count != 1:
            raise self.error(f"needs a vector of {count} registers")
        return (arg,)

    # Steps.

    def emit(self, action: Action, guarded: bool = False) -> None:
        """Add a step; only the last step of an instruction carries its guard."""
        guard = self.instruction.guard
        self.steps.append(
            Step(action, (guard.number, guard.negated) if guarded and guard else None, self.instruction)
        )

    def remark(self, slot: int, type_: str, odd: Callable[[Array], Array], what: str) -> None:
        """Add a step that notes it if an operand is odd for a lane that the guard lets through."""
        constant, dtype, source = self.constant_values.get(slot), DTYPES[type_], self.instruction
        if constant is not None and not odd(constant.view(dtype)).any():
            return

        def run(registers: Registers, frame: Frame) -> None:
            if some(odd(registers[slot].view(dtype))):
                frame.batch.remark(source, what)

        self.emit(Effect(run, (slot,), ()), guarded=True)

    def pure(
        self, function: Callable[..., Array], args: tuple[Arg, ...], types: tuple[str, ...], result: str
    ) -> None:
        """Decode ``d, a, b, …`` as d = function(a, b, …)."""
        if len(args) != len(types) + 1:
            raise self.error(f"takes {len(types) + 1} operands, not {len(args)}")
        sources = tuple(self.source(arg, type_) for arg, type_ in zip(args[1:], types, strict=True))
        target = self.destination(args[0], result)
        self.emit(Pure(function, sources, tuple(DTYPES[t] for t in types), target), guarded=True)


Decode: TypeAlias = Callable[[Decoder], None]
"""How an instruction is decoded: an entry of a table."""
