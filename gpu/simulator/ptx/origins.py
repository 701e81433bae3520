"""Which registers hold addresses inside one variable: what is computed from its address, and only from it."""

from __future__ import annotations

from collections.abc import Iterable

from gaugeblock.gpu.simulator.ptx.operands import Arg, Extent, Lowered, Slot, SymbolAddress

_KEEPING = ("mov", "add", "sub", "mad", "cvta", "cvt")
"""Opcodes whose result is an address of the variable that one operand is an address of."""


def origins(instructions: Iterable[Lowered]) -> dict[int, Extent]:
    """Return the variable of every register whose value comes from the address of one and no other.

    What is computed with two addresses, or written from elsewhere too, has none.
    """
    written: dict[int, list[Lowered]] = {}
    lost: set[int] = set()
    for instruction in instructions:
        slots = [arg.number for arg in _flat(instruction.operands[:1]) if isinstance(arg, Slot)]
        lost.update(slots if instruction.opcode not in _KEEPING else slots[1:])
        for slot in slots:
            written.setdefault(slot, []).append(instruction)
    found: dict[int, Extent] = {}
    changed = True
    while changed:
        changed = False
        for slot, sources in written.items():
            if slot in lost:
                continue
            extents = {_extent(instruction, slot, found) for instruction in sources} - {_SAME}
            if len(extents - {None}) > 1 or (None in extents and slot in found):
                lost.add(slot)
                changed |= found.pop(slot, None) is not None
            elif len(extents) == 1 and None not in extents and slot not in found:
                found[slot] = extents.pop()  # type: ignore[assignment]
                changed = True
    return found


_SAME = "same"


def _extent(instruction: Lowered, own: int, found: dict[int, Extent]) -> Extent | str | None:
    """Return the variable that a result points into; `_SAME` for a pointer that is moved on."""
    seen: set[Extent] = set()
    same = False
    for arg in _flat(instruction.operands[1:]):
        if isinstance(arg, SymbolAddress) and arg.extent is not None:
            seen.add(arg.extent)
        elif isinstance(arg, Slot) and arg.number == own:
            same = True
        elif isinstance(arg, Slot) and arg.number in found:
            seen.add(found[arg.number])
    if not seen and same:
        return _SAME
    return seen.pop() if len(seen) == 1 else None


def _flat(args: Iterable[Arg]) -> list[Arg]:
    return [each for arg in args for each in (arg.elements if hasattr(arg, "elements") else (arg,))]
