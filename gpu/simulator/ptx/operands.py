"""What a lowered instruction refers to: register slots and addresses instead of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gaugeblock.gpu.simulator.ptx.syntax import Float, Integer, Location


@dataclass(frozen=True, slots=True)
class Slot:
    """A register, by its number in the register file; `type` is the declared PTX type."""

    number: int
    type: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a shared or local variable lies in its space."""

    space: str
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SymbolAddress:
    """The address of a variable, as a number in the variable's own state space."""

    space: str
    address: int
    extent: Extent | None = None


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """``[slot + offset]``; without a slot an absolute address. `space` is known when a variable is named."""

    slot: Slot | None
    offset: int
    space: str | None = None
    extent: Extent | None = None


@dataclass(frozen=True, slots=True)
class ParameterOperand:
    """A place in the kernel's parameters, or in a `.param` variable of a call (then `name` is unique)."""

    name: str
    offset: int
    kernel: bool


@dataclass(frozen=True, slots=True)
class Special:
    """A special register such as ``%tid.x``."""

    name: str


@dataclass(frozen=True, slots=True)
class Sink:
    """``_``: a result that is thrown away."""


@dataclass(frozen=True, slots=True)
class Target:
    """A label."""

    label: str


@dataclass(frozen=True, slots=True)
class Vec:
    """``{a, b, …}``."""

    elements: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Two:
    """``a|b``."""

    first: Arg
    second: Arg


Arg: TypeAlias = (
    Slot
    | SymbolAddress
    | MemoryOperand
    | ParameterOperand
    | Special
    | Sink
    | Target
    | Vec
    | Two
    | Integer
    | Float
)


@dataclass(frozen=True, slots=True)
class Lowered:
    """An instruction whose operands are resolved; `refused` says why it cannot be executed, if so."""

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Arg, ...]
    guard: Slot | None
    location: Location
    labels: tuple[str, ...] = ()
    refused: str = ""

    @property
    def spelling(self) -> str:
        """The opcode with its modifiers, as written."""
        return ".".join((self.opcode, *self.modifiers))


__all__ = [
    "Arg",
    "Extent",
    "Lowered",
    "MemoryOperand",
    "ParameterOperand",
    "Sink",
    "Slot",
    "Special",
    "SymbolAddress",
    "Target",
    "Two",
    "Vec",
]
