"""From syntax tree to a flat list: scopes opened, names resolved, device functions inlined.

Registers become slots of one register file. A call becomes a copy of the callee's body with its own slots;
`.param` variables of calls become registers, one per (variable, offset).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

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
    Target,
    Two,
    Vec,
)
from gaugeblock.gpu.simulator.ptx.syntax import (
    Address,
    BranchTargets,
    Float,
    Function,
    Group,
    Instruction,
    Integer,
    Label,
    Location,
    Module,
    Name,
    Operand,
    Pair,
    Prototype,
    PtxError,
    Refused,
    Registers,
    Scope,
    Statement,
    Variable,
    Vector,
)

_DEEPEST_CALL = 32
_LONGEST = 1 << 19
"""Instructions of a kernel beyond which no more calls are inlined."""

SPECIAL = {
    *(f"%{base}.{axis}" for base in ("tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid",
                                     "cluster_ctaid", "cluster_nctaid") for axis in "xyz"),
    "%laneid", "%warpid", "%nwarpid", "%smid", "%nsmid", "%gridid", "%clock", "%clock64", "%globaltimer",
    "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge",
    "%dynamic_smem_size", "%total_smem_size", "%cluster_ctarank", "%cluster_nctarank", "%is_explicit_cluster",
    "%clock_hi", "%globaltimer_lo", "%globaltimer_hi", "%aggr_smem_size",
    *(f"%reserved_smem_offset_{part}" for part in ("begin", "end", "cap", "0", "1")),
    *(f"%envreg{number}" for number in range(32)),
}  # fmt: skip
_OTHER_SPECIAL = re.compile(
    r"%(pm\d+(_64)?|current_graph_exec|(n?tid|n?ctaid|n?clusterid|cluster_n?ctaid)\.w)"
)
_DIRECTIVES = {"maxntid", "reqntid", "minnctapersm", "maxnreg", "noreturn", "explicitcluster",
               "reqnctapercluster", "maxclusterrank"}  # fmt: skip


@dataclass(slots=True)
class Layout:
    """Sizes of the windows, and the place of each shared and local variable in them."""

    shared: int = 0
    local: int = 0
    dynamic_start: int | None = None

    def place(self, variable: Variable) -> int:
        """Give a variable its offset."""
        used = self.shared if variable.space == "shared" else self.local
        start = -(-used // variable.alignment) * variable.alignment
        end = start + (variable.size or 0)
        if variable.space == "shared":
            self.shared = end
        else:
            self.local = end
        return start


@dataclass(slots=True)
class Flat:
    """A kernel, flat: instructions, where each label points, and how much memory it wants."""

    name: str
    instructions: list[Lowered] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    slots: list[str] = field(default_factory=list)
    parameters: dict[str, tuple[int, int]] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)
    directives: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


_Known: TypeAlias = Slot | SymbolAddress | ParameterOperand | Target | tuple[str, ...] | Prototype


class _Names:
    """Names visible in a scope; an inner scope asks the outer one."""

    def __init__(self, outer: _Names | None = None, prefix: str = "") -> None:
        self.outer = outer
        self.prefix: str = prefix or (outer.prefix if outer else "")
        self.own: dict[str, _Known] = {}

    def find(self, name: str) -> _Known | None:
        scope: _Names | None = self
        while scope is not None:
            if name in scope.own:
                return scope.own[name]
            scope = scope.outer
        return None


def parameter_layout(parameters: tuple[Variable, ...]) -> dict[str, tuple[int, int]]:
    """Offset and size of each kernel parameter, as the driver packs them."""
    places: dict[str, tuple[int, int]] = {}
    at = 0
    for variable in parameters:
        size = variable.size or 0
        at = -(-at // variable.alignment) * variable.alignment
        places[variable.name] = (at, size)
        at += size
    return places


def _shape(function: Function | Prototype) -> list[list[int | None]]:
    """Return the sizes of results and parameters, by which an indirect call knows its functions."""
    return [[variable.size for variable in group] for group in (function.results, function.parameters)]


def _address_of(variable: Variable, start: int) -> SymbolAddress:
    """Return the address of a shared or local variable of known size."""
    extent = Extent(variable.space, variable.name, start, start + (variable.size or 0))
    return SymbolAddress(variable.space, start, extent)


def _named(operands: Iterable[Operand]) -> Iterator[str]:
    """Give the names in operands."""
    for operand in operands:
        if isinstance(operand, Name):
            yield operand.text
        elif isinstance(operand, Address) and operand.base is not None:
            yield operand.base
        elif isinstance(operand, Vector | Group):
            yield from _named(operand.elements)
        elif isinstance(operand, Pair):
            yield from _named((operand.first, operand.second))


def lower(module: Module, kernel: Function, addresses: Mapping[str, int]) -> Flat:
    """Flatten a kernel.

    Parameters
    ----------
    module : Module
        The module, for the functions it calls and its variables.
    kernel : Function
        An ``.entry`` of it.
    addresses : mapping
        Device address of each ``.global`` and ``.const`` variable.
    """
    return _Lowering(module, addresses).kernel(kernel)


class _Lowering:
    def __init__(self, module: Module, addresses: Mapping[str, int]) -> None:
        self.module = module
        self.addresses = addresses
        self.flat = Flat("")
        self.callers: list[str] = []
        self.copies = 0
        self.shared: dict[int, int] = {}

    def kernel(self, function: Function) -> Flat:
        self.flat = Flat(function.name, directives=function.directives)
        self.flat.parameters = parameter_layout(function.parameters)
        used: set[str] = set()
        self._place_shared(function, used)
        shared = [v for v in self.module.variables if v.space == "shared" and v.name in used]
        outer = _Names()
        for variable in self.module.variables:
            if variable.space == "local":
                if variable.name in used:
                    place = self.flat.layout.place(variable)
                    outer.own[variable.name] = _address_of(variable, place)
            elif variable.space != "shared":
                outer.own[variable.name] = SymbolAddress(variable.space, self.addresses[variable.name])
        for variable in shared:
            if variable.size is not None:
                outer.own[variable.name] = _address_of(variable, self.flat.layout.place(variable))
        external = [v for v in shared if v.size is None]
        if external:  # dynamic shared memory begins behind all static variables
            alignment = max(16, *(v.alignment for v in external))
            start = -(-self.flat.layout.shared // alignment) * alignment
            self.flat.layout.dynamic_start = start
            for variable in external:
                outer.own[variable.name] = SymbolAddress("shared", start)
        for name, (offset, _) in self.flat.parameters.items():
            outer.own[name] = ParameterOperand(name, offset, True)
        for directive in sorted(function.directives.keys() - _DIRECTIVES):
            line = Location(0, 0, function.line)
            self._refuse(Instruction(f".{directive}", (), (), None, line), "this directive is not supported")
        self._body(function.body or (), _Names(outer), "$exit")
        return self.flat

    def _refuse(self, instruction: Instruction, what: str, guard: Slot | None = None) -> None:
        """Add an instruction that cannot be executed."""
        said = str(self._error(instruction, what))
        self.flat.instructions.append(
            Lowered(instruction.opcode, instruction.modifiers, (), guard, instruction.location, refused=said)
        )

    def _place_shared(self, function: Function, used: set[str]) -> None:
        """Give the static shared variables of a function, and of those it names, their place, once.

        Collects in `used` the names that these functions use: of the module's shared variables, only those
        are the kernel's.
        """
        if function.name in used:
            return
        used.add(function.name)
        pending = list(function.body or ())
        while pending:
            statement = pending.pop(0)
            if isinstance(statement, Scope):
                pending = [*statement.body, *pending]
            elif isinstance(statement, Variable) and statement.space == "shared":
                self.shared[id(statement)] = self.flat.layout.place(statement)
            elif isinstance(statement, Instruction):
                for name in _named(statement.operands):
                    for each in (name, *self._tables.get(name, ())):
                        if each in self.module.functions:
                            self._place_shared(self.module.functions[each], used)
                    used.add(name)

    # Bodies.

    def _slot(self, type_: str) -> Slot:
        self.flat.slots.append(type_)
        return Slot(len(self.flat.slots) - 1, type_)

    def _body(self, body: tuple[Statement, ...], names: _Names, exit_label: str) -> None:
        self._declare(body, names)
        for statement in body:
            if isinstance(statement, Scope):
                self.copies += 1  # labels of an inner scope are its own, as inline assembly expects
                self._body(statement.body, _Names(names, f"{names.prefix}{self.copies}:"), exit_label)
            elif isinstance(statement, Label):
                self.flat.labels[names.prefix + statement.name] = len(self.flat.instructions)
            elif isinstance(statement, Instruction):
                self._instruction(statement, names, exit_label)

    def _declare(self, body: tuple[Statement, ...], names: _Names) -> None:
        label = ""
        for statement in body:
            if isinstance(statement, Registers):
                for name in statement.names:
                    names.own[name] = self._slot(statement.type)
            elif isinstance(statement, Label):
                label = statement.name
                names.own[label] = Target(names.prefix + label)
            elif isinstance(statement, Prototype):
                names.own[label] = statement
            elif isinstance(statement, BranchTargets):
                names.own[label] = tuple(names.prefix + name for name in statement.labels)
            elif isinstance(statement, Variable):
                if statement.space == "shared":
                    names.own[statement.name] = _address_of(statement, self.shared[id(statement)])
                elif statement.space == "param":
                    self._parameter(statement.name, names)
                else:
                    names.own[statement.name] = _address_of(statement, self.flat.layout.place(statement))

    def _parameter(self, name: str, names: _Names) -> ParameterOperand:
        self.copies += 1
        place = ParameterOperand(f"{name}#{self.copies}", 0, False)
        names.own[name] = place
        return place

    # Instructions.

    def _instruction(self, instruction: Instruction, names: _Names, exit_label: str) -> None:
        if instruction.opcode == "call":
            self._call(instruction, names)
            return
        guard = self._guard(instruction, names)
        if instruction.opcode == "ret" and exit_label != "$exit":
            branch = Lowered("bra", (), (Target(exit_label),), guard, instruction.location)
            self.flat.instructions.append(branch)
            return
        labels: tuple[str, ...] = ()
        operands = instruction.operands
        if instruction.opcode == "brx":
            table = names.find(operands[1].text) if isinstance(operands[1], Name) else None
            if not isinstance(table, tuple):
                raise self._error(instruction, "brx.idx without a table of labels")
            labels, operands = table, operands[:1]
        try:
            resolved = tuple(self._operand(operand, instruction, names) for operand in operands)
        except Refused as refused:
            self._refuse(instruction, str(refused), guard)
            return
        self.flat.instructions.append(
            Lowered(instruction.opcode, instruction.modifiers, resolved, guard, instruction.location, labels)
        )

    def _guard(self, instruction: Instruction, names: _Names) -> Slot | None:
        if instruction.guard is None:
            return None
        found = names.find(instruction.guard.register)
        if not isinstance(found, Slot):
            raise self._error(instruction, f"unknown predicate {instruction.guard.register}")
        return replace(found, negated=instruction.guard.negated)

    def _error(self, instruction: Instruction, what: str) -> PtxError:
        return PtxError(f"PTX line {instruction.location.ptx_line}: {instruction.spelling}: {what}")

    def _operand(self, operand: Operand, instruction: Instruction, names: _Names) -> Arg:
        if isinstance(operand, Integer | Float):
            return operand
        if isinstance(operand, Vector):
            return Vec(tuple(self._operand(element, instruction, names) for element in operand.elements))
        if isinstance(operand, Pair):
            return Two(
                self._operand(operand.first, instruction, names),
                self._operand(operand.second, instruction, names),
            )
        if isinstance(operand, Address):
            return self._address(operand, instruction, names)
        if isinstance(operand, Group):
            raise self._error(instruction, "unexpected parentheses")
        return self._name(operand, instruction, names)

    def _name(self, operand: Name, instruction: Instruction, names: _Names) -> Arg:
        if operand.text == "_":
            return Sink()
        found = names.find(operand.text)
        if isinstance(found, Slot):
            return replace(found, negated=operand.negated)
        if isinstance(found, SymbolAddress):
            return replace(found, address=found.address + operand.offset)
        if isinstance(found, Target | ParameterOperand):
            return found
        if operand.text in SPECIAL:
            return Special(operand.text)
        if operand.text == "WARP_SZ":
            return Integer(32)
        if operand.text in self.module.functions:
            return SymbolAddress("global", self.addresses[operand.text] + operand.offset)
        if _OTHER_SPECIAL.fullmatch(operand.text):
            raise Refused(f"the special register {operand.text} is not supported")
        raise self._error(instruction, f"unknown name {operand.text}")

    def _address(self, operand: Address, instruction: Instruction, names: _Names) -> Arg:
        if operand.rest:
            raise Refused("addresses of textures, surfaces and tensors are not supported")
        if operand.base is None:
            return MemoryOperand(None, operand.offset)
        found = names.find(operand.base)
        if isinstance(found, Slot):
            return MemoryOperand(found, operand.offset)
        if isinstance(found, SymbolAddress):
            return MemoryOperand(None, found.address + operand.offset, found.space, found.extent)
        if isinstance(found, ParameterOperand):
            return replace(found, offset=found.offset + operand.offset)
        raise self._error(instruction, f"unknown name {operand.base} in an address")

    # Calls.

    @cached_property
    def _tables(self) -> Mapping[str, tuple[str, ...]]:
        """The functions whose addresses each variable of the module holds at first."""
        return {
            variable.name: tuple(name for name in _named(variable.initial) if name in self.module.functions)
            for variable in self.module.variables
        }

    @cached_property
    def _pointed_to(self) -> list[Function]:
        """The functions that pointers may point to: whose addresses are in a variable, or are taken."""
        found = [name for names in self._tables.values() for name in names]
        for function in self.module.functions.values():
            pending = list(function.body or ())
            while pending:
                statement = pending.pop()
                if isinstance(statement, Scope):
                    pending.extend(statement.body)
                elif isinstance(statement, Instruction) and statement.opcode != "call":
                    found += [name for name in _named(statement.operands) if name in self.module.functions]
        return [self.module.functions[name] for name in dict.fromkeys(found)]

    def _call(self, call: Instruction, names: _Names) -> None:
        named = [operand.text for operand in call.operands if isinstance(operand, Name)]
        callee = next((self.module.functions[name] for name in named if name in self.module.functions), None)
        pointer = names.find(named[0]) if named else None
        if callee is None and not isinstance(pointer, Slot):
            missing = named[0] if named else "nothing"
            raise self._error(call, f"call of {missing}, which this module does not define")
        guard = self._guard(call, names)
        self.copies += 1
        skip = f"call#{self.copies}$skip"
        if guard is not None:
            around = replace(guard, negated=not guard.negated)
            self.flat.instructions.append(Lowered("bra", (), (Target(skip),), around, call.location))
        if callee is not None:
            self._inlined(callee, call, names)
        else:
            assert isinstance(pointer, Slot)
            self._called_by_pointer(pointer, names.find(named[-1]), call, names)
        self.flat.labels[skip] = len(self.flat.instructions)

    def _called_by_pointer(
        self, pointer: Slot, prototype: _Known | None, call: Instruction, names: _Names
    ) -> None:
        """Compare a pointer with every function that it may point to, and inline that."""
        if not isinstance(prototype, Prototype):
            self._refuse(call, "an indirect call without a prototype is not supported")
            return
        add, place = self.flat.instructions.append, call.location
        self.copies += 1
        prefix = f"call#{self.copies}$"
        for number, callee in enumerate(self._pointed_to):
            if _shape(callee) == _shape(prototype):
                other, following = self._slot("pred"), f"{prefix}{number}"
                address = Integer(self.addresses[callee.name])
                add(Lowered("setp", ("ne", "u64"), (other, pointer, address), None, place))
                add(Lowered("bra", (), (Target(following),), other, place))
                self._inlined(callee, call, names)
                add(Lowered("bra", (), (Target(f"{prefix}done"),), None, place))
                self.flat.labels[following] = len(self.flat.instructions)
        add(Lowered("trap", ("pointer",), (), None, place))
        self.flat.labels[f"{prefix}done"] = len(self.flat.instructions)

    def _inlined(self, callee: Function, call: Instruction, names: _Names) -> None:
        """Inline a function, or what says that it cannot be."""
        try:
            self._inline(callee, call, names)
        except Refused as refused:
            self._refuse(call, str(refused))

    def _inline(self, callee: Function, call: Instruction, names: _Names) -> None:
        if callee.name == "__assertfail":
            failed = replace(call, opcode="trap", modifiers=("assert",), operands=(), guard=None)
            self._instruction(failed, names, "")
            return
        if callee.name == "vprintf" and callee.body is None:
            operands = tuple(
                each for group in call.operands if isinstance(group, Group) for each in group.elements
            )
            printing = replace(call, opcode="vprintf", modifiers=(), operands=operands, guard=None)
            self._instruction(printing, names, "")
            return
        if callee.body is None:
            if callee.name.startswith("__cudaCDP"):
                raise Refused("a kernel launches another: the simulator has no dynamic parallelism")
            raise Refused(f"{callee.name} has no body here: the simulator provides no such function")
        if callee.name in self.callers:
            raise Refused(f"{callee.name} calls itself: recursion is not supported")
        if len(self.callers) == _DEEPEST_CALL or len(self.flat.instructions) > _LONGEST:
            raise Refused(f"calls nest deeper than {_DEEPEST_CALL}, or branch out too far")
        groups = [operand for operand in call.operands if isinstance(operand, Group)]
        wanted = [group for group in (callee.results, callee.parameters) if group]
        if len(groups) != len(wanted):
            raise self._error(call, f"{callee.name} takes other arguments")
        self.copies += 1
        inner = _Names(prefix=f"{callee.name}#{self.copies}:")
        for variable in self.module.variables:
            place = self._outermost(names).own.get(variable.name)
            if place is not None:
                inner.own[variable.name] = place
        for given, declared in zip(groups, wanted, strict=True):
            for argument, parameter in zip(given.elements, declared, strict=True):
                place = names.find(argument.text) if isinstance(argument, Name) else None
                if not isinstance(place, ParameterOperand):
                    raise self._error(call, "arguments of a call must be .param variables")
                inner.own[parameter.name] = place
        done = f"{inner.prefix}$done"
        self.callers.append(callee.name)
        self._body(callee.body, _Names(inner, inner.prefix), done)
        self.callers.pop()
        self.flat.labels[done] = len(self.flat.instructions)

    def _outermost(self, names: _Names) -> _Names:
        while names.outer is not None:
            names = names.outer
        return names
