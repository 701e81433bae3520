"""The syntax tree of a PTX module: frozen, and free of meaning.

A tree says what was written and where. What it means (registers, addresses, instructions) is decided by
`gaugeblock.gpu.simulator.ptx.lowering` and `gaugeblock.gpu.simulator.isa`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


class PtxError(ValueError):
    """The text is not PTX, or not right."""


class Refused(PtxError):
    """PTX outside the subset that the simulator executes: no mistake, and refused when it is reached."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an instruction comes from: a line of the ``.cu`` source (``.loc``) and a line of the PTX text.

    `callers` are the (file, line) into which the function that holds the line was inlined, innermost first.
    """

    file: int
    line: int
    ptx_line: int
    callers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Name:
    """A register, a variable, a label or a function, with an optional constant byte offset."""

    text: str
    offset: int = 0
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer literal."""

    value: int


@dataclass(frozen=True, slots=True)
class Float:
    """A floating literal: its bits, and how many there are (``0f…`` 32, ``0d…`` and decimals 64)."""

    bits: int
    width: int


@dataclass(frozen=True, slots=True)
class Address:
    """``[base+offset]``; ``base`` is None for an absolute address.

    `rest` is what follows in the address of a texture, a surface or a tensor: ``[base, {x, y}]``.
    """

    base: str | None
    offset: int
    rest: tuple[Operand, ...] = ()


@dataclass(frozen=True, slots=True)
class Vector:
    """``{a, b, …}``: the registers of one vector operand."""

    elements: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """``a|b``: two destinations."""

    first: Operand
    second: Operand


@dataclass(frozen=True, slots=True)
class Group:
    """``(a, b, …)``: the arguments or results of a call."""

    elements: tuple[Operand, ...]


Operand: TypeAlias = Name | Integer | Float | Address | Vector | Pair | Group


@dataclass(frozen=True, slots=True)
class Guard:
    """``@p`` or ``@!p`` before an instruction."""

    register: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: ``@guard opcode.modifier… operands;``."""

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Guard | None
    location: Location

    @property
    def spelling(self) -> str:
        """The opcode with its modifiers, as written."""
        return ".".join((self.opcode, *self.modifiers))


@dataclass(frozen=True, slots=True)
class Label:
    """``name:``."""

    name: str


@dataclass(frozen=True, slots=True)
class BranchTargets:
    """``.branchtargets a, b, …;``, the table of a ``brx.idx``; its name is the label before it."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prototype:
    """``.callprototype (results) _ (parameters);``, of an indirect call; its name is the label before it."""

    results: tuple[Variable, ...]
    parameters: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class Registers:
    """``.reg .type a, b<4>;``: names already expanded."""

    type: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable or parameter in a state space; ``size`` in bytes, None for ``extern name[]``."""

    space: str
    name: str
    type: str
    size: int | None
    alignment: int
    initial: tuple[Operand, ...] = ()
    external: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """``{ … }``: names declared inside hide those outside."""

    body: tuple[Statement, ...]


Statement: TypeAlias = Instruction | Label | BranchTargets | Prototype | Registers | Variable | Scope


@dataclass(frozen=True, slots=True)
class Function:
    """An ``.entry`` (kernel) or a ``.func``."""

    name: str
    entry: bool
    results: tuple[Variable, ...]
    parameters: tuple[Variable, ...]
    body: tuple[Statement, ...] | None
    directives: Mapping[str, tuple[int, ...]]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Module:
    """One PTX text."""

    version: str
    target: str
    files: Mapping[int, str]
    variables: tuple[Variable, ...]
    functions: Mapping[str, Function] = field(default_factory=dict)


SIZES: Mapping[str, int] = {
    **{f"{kind}{bits}": bits // 8 for kind in "bus" for bits in (8, 16, 32, 64)},
    "b128": 16,
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
    "f16x2": 4,
    "bf16x2": 4,
    "u16x2": 4,
    "s16x2": 4,
    "e4m3x2": 2,
    "e5m2x2": 2,
    "pred": 1,
}
"""Bytes of a value of each type."""
