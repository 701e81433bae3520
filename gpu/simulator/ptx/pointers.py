"""Which memory the instructions of a kernel may touch: from which parameters and variables addresses come.

What is computed from a pointer may point where it points, whatever else went into it. An address that comes
from nothing known (a pointer that was loaded) may point anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from gaugeblock.gpu.simulator.ptx.operands import (
    Arg,
    Lowered,
    MemoryOperand,
    ParameterOperand,
    Slot,
    SymbolAddress,
    Two,
    Vec,
)
from gaugeblock.gpu.simulator.ptx.syntax import SIZES

Origin: TypeAlias = tuple[str, int]
"""``("parameter", offset)`` of a kernel's parameter, ``("variable", address)`` of one in device memory,
`LOADED` of what was read from memory and may be a pointer."""
LOADED: Origin = ("loaded", 0)
Origins: TypeAlias = frozenset[Origin]

PLAIN, BLOCK, DEVICE = 0, 1, 2
"""How strong an access is: plain, or one that others may see as it happens, of the block or the device."""

_ACCESSES = ("ld", "ldu", "st", "atom", "red", "cp", "wmma")
_ELSEWHERE = {"shared", "shared::cta", "local", "param", "const", "param::entry", "param::func"}
_STRONG = {"volatile", "relaxed", "acquire", "release", "acq_rel", "mmio"}


@dataclass(frozen=True, slots=True)
class Manner:
    """How an instruction accesses global memory.

    `updates` says whether it reads, changes and writes as one; `acquires` whether it sees what was released
    at its address; `releases` whether it is a fence before it writes. `coherent` is not said of ``ld.nc``;
    `modifies` is said of strong stores of what was computed from a load of the same place: two such may lose
    one. `size` are the bytes of an element.
    """

    origins: Origins
    write: bool
    size: int
    strength: int = PLAIN
    updates: bool = False
    acquires: bool = False
    releases: bool = False
    coherent: bool = True
    modifies: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Accesses that may go to the same places: ids of instructions, whether any writes, or may race."""

    origins: Origins
    members: tuple[int, ...]
    write: bool
    plain: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a kernel does to global memory: the manner of each access, by the id of its instruction."""

    manners: dict[int, Manner]
    fences: bool
    groups: tuple[Group, ...]
    origins: tuple[Origin, ...]
    plans: dict[Any, Any] = field(default_factory=dict, compare=False)
    """What was found out for launches, by where their parameters point."""


def traffic(instructions: Iterable[Lowered]) -> Traffic:
    """Say how each instruction of a kernel accesses global memory."""
    listed = list(instructions)
    pointers = _pointers(listed)
    manners = {id(each): _manner(each, pointers) for each in listed if _accesses(each)}
    _let_guess(listed, manners)
    _find_modifying(listed, manners)
    grouped: dict[Origins, list[int]] = {}
    for number, manner in manners.items():
        grouped.setdefault(manner.origins, []).append(number)
    groups = tuple(
        Group(
            origins,
            tuple(members),
            any(manners[each].write for each in members),
            any(manners[each].strength != DEVICE or manners[each].modifies for each in members),
        )
        for origins, members in grouped.items()
    )
    fences = any(scope_of_fence(each) == DEVICE for each in listed) or any(
        manner.releases for manner in manners.values()
    )
    origins = tuple(sorted({origin for group in groups for origin in group.origins}))
    return Traffic(manners, fences, groups, origins)


def _let_guess(instructions: list[Lowered], manners: dict[int, Manner]) -> None:
    """Let plain loads be of any age where a compare-and-swap at the same place tells whether they were right.

    So begins every loop that makes an atomic of what has none.
    """
    swaps = {
        (manners[id(each)].origins, manners[id(each)].size): manners[id(each)].strength
        for each in instructions
        if each.opcode == "atom" and "cas" in each.modifiers and id(each) in manners
    }
    for each in instructions if swaps else ():
        manner = manners.get(id(each))
        if manner is not None and not manner.write and manner.strength == PLAIN:
            strength = swaps.get((manner.origins, manner.size), PLAIN)
            if manner.origins and manner.coherent:
                manners[id(each)] = replace(manner, strength=strength)


def _find_modifying(instructions: list[Lowered], manners: dict[int, Manner]) -> None:
    """Find strong stores of what was computed from a strong load of the same place."""
    strong = [each for each in instructions if id(each) in manners and manners[id(each)].strength > PLAIN]
    for store in strong:
        manner = manners[id(store)]
        if store.opcode != "st":
            continue
        place = store.operands[0]
        computed = {
            _key(target)
            for each in strong
            if each.opcode == "ld" and each.operands[1] == place
            for target in _flat(each.operands[:1])
        }
        while computed:
            more = {
                _key(_flat(each.operands[:1])[0])
                for each in instructions
                if each.opcode not in ("ld", "st", "atom")
                and any(_key(arg) in computed for arg in _flat(each.operands[1:]))
                and each.operands
                and _flat(each.operands[:1])
            }
            if more <= computed | {None}:
                break
            computed |= more
        computed.discard(None)
        if any(_key(arg) in computed for arg in _flat(store.operands[1:])):
            manners[id(store)] = replace(manner, modifies=True)


def scope_of_fence(instruction: Lowered) -> int:
    """Return how far a fence reaches; `PLAIN` for other instructions."""
    if instruction.opcode not in ("membar", "fence") or "proxy" in ".".join(instruction.modifiers):
        return PLAIN
    return BLOCK if "cta" in instruction.modifiers else DEVICE


def _accesses(instruction: Lowered) -> bool:
    if instruction.opcode not in _ACCESSES or instruction.refused:
        return False
    modifiers = set(instruction.modifiers)
    if instruction.opcode == "cp":
        return "async" in modifiers and "global" in modifiers
    if instruction.opcode == "wmma":
        return not modifiers & {"mma"} and not modifiers & _ELSEWHERE
    return not modifiers & _ELSEWHERE and any(
        isinstance(arg, MemoryOperand) and arg.space in (None, "global") for arg in instruction.operands
    )


def _manner(instruction: Lowered, pointers: dict[object, Origins]) -> Manner:
    opcode, modifiers = instruction.opcode, set(instruction.modifiers)
    updates = opcode in ("atom", "red")
    write = updates or opcode == "st" or "store" in modifiers
    strong = updates or bool(modifiers & _STRONG)
    strength = PLAIN if not strong else BLOCK if "cta" in modifiers else DEVICE
    addresses = [arg for arg in instruction.operands if isinstance(arg, MemoryOperand)]
    origins = _address_origins(addresses[-1 if opcode == "cp" else 0], pointers) if addresses else frozenset()
    releases = bool(modifiers & {"release", "acq_rel"})
    acquires = strong and opcode != "red" and opcode != "st"
    size = min([8, *(SIZES[each] for each in modifiers if each in SIZES and opcode != "cp")])
    size = min(size, 4) if opcode == "cp" else size
    return Manner(origins, write, size, strength, updates, acquires, releases, "nc" not in modifiers)


def _address_origins(arg: MemoryOperand, pointers: dict[object, Origins]) -> Origins:
    if arg.slot is not None:
        return pointers.get(arg.slot.number, frozenset())
    return frozenset({("variable", arg.offset)}) if arg.space in (None, "global") else frozenset()


def _pointers(instructions: list[Lowered]) -> dict[object, Origins]:
    """Return the origins of every register, and of every ``.param`` variable of a call."""
    found: dict[object, Origins] = {}
    changed = True
    while changed:
        changed = False
        for instruction in instructions:
            if instruction.opcode in ("st",) and not isinstance(instruction.operands[0], ParameterOperand):
                continue
            first, *rest = instruction.operands or (None,)
            origins: Origins = frozenset().union(*(_origins(arg, found) for arg in _flat(rest)))
            if instruction.opcode in ("ld", "ldu", "atom", "wmma") and not any(
                isinstance(arg, ParameterOperand) for arg in rest
            ):
                wide = {"u64", "b64", "s64"} & set(instruction.modifiers)
                origins = frozenset({LOADED}) if wide else frozenset()
            if not origins:
                continue
            for target in _flat([first]):
                key = _key(target)
                if key is not None and not origins <= found.get(key, frozenset()):
                    found[key] = found.get(key, frozenset()) | origins
                    changed = True
    return found


def _key(arg: Arg | None) -> object:
    if isinstance(arg, Slot):
        return arg.number if arg.type != "pred" else None
    return arg.name if isinstance(arg, ParameterOperand) and not arg.kernel else None


def _origins(arg: Arg, found: dict[object, Origins]) -> Origins:
    if isinstance(arg, ParameterOperand) and arg.kernel:
        return frozenset({("parameter", arg.offset)})
    if isinstance(arg, SymbolAddress):
        return frozenset({("variable", arg.address)} if arg.space in ("global", "const") else ())
    key = _key(arg)
    return found.get(key, frozenset()) if key is not None else frozenset()


def _flat(args: Iterable[Arg | None]) -> list[Arg]:
    flat: list[Arg] = []
    for arg in args:
        if isinstance(arg, Vec):
            flat += _flat(arg.elements)
        elif isinstance(arg, Two):
            flat += _flat((arg.first, arg.second))
        elif arg is not None:
            flat.append(arg)
    return flat
