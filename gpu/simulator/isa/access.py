"""Loads and stores: decoding, and what they do to memory.

An access goes to the state space that the instruction names or, for generic addresses, to the one that the
addresses lie in. Addresses are checked (alignment, bounds, lifetime, initialisation) before
anything moves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Effect, ParameterLoad, Pure, Run
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder, Modifiers
from gaugeblock.gpu.simulator.isa.kinds import same
from gaugeblock.gpu.simulator.numbers.lanes import every
from gaugeblock.gpu.simulator.numbers.types import DTYPES, U16, U32, U64, Array
from gaugeblock.gpu.simulator.ptx.operands import Arg, Extent, Lowered, ParameterOperand, Sink, Slot
from gaugeblock.gpu.simulator.ptx.pointers import PLAIN, scope_of_fence
from gaugeblock.gpu.simulator.ptx.syntax import SIZES
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.memory import LOCAL_WINDOW, SHARED_WINDOW, WINDOW, Prepared

_UNSIGNED = {1: np.dtype("u1"), 2: U16, 4: U32, 8: U64}
_SPACES = ("global", "shared", "shared::cta", "local", "const", "param", "param::entry", "param::func")
_CACHE = ("ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc")
_ORDER = ("weak", "relaxed", "acquire", "release", "acq_rel", "volatile", "mmio")
_SCOPE = ("cta", "cluster", "gpu", "sys")
_HINTS = (
    "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate",
    "L2::64B", "L2::128B", "L2::256B", "L2::evict_last", "L2::evict_normal", "L2::evict_first",
    "L2::cache_hint",
)  # fmt: skip


def read_space(m: Modifiers) -> str | None:
    """Read the state space and drop hints, which change speed and nothing else."""
    m.flag(*_ORDER)
    m.flag(*_SCOPE)
    m.flag(*_CACHE)
    while m.flag(*_HINTS):
        pass
    name = m.one_of(*_SPACES, default="").split("::")[0]
    return name or None


def locate(frame: Frame, space: str, slot: int) -> tuple[Any, Prepared]:
    """Return the memory of a space, and the analysed addresses in a slot."""
    batch = frame.batch
    if space in ("global", "const", "param"):  # one arena; the names tell the counters apart
        return batch.memory, frame.global_addresses(slot)
    return (batch.shared if space == "shared" else batch.local), frame.window_addresses(
        slot, space == "shared"
    )


def generic_space(address: int) -> tuple[str, int]:
    """Return the space that a generic address lies in, and the base to subtract."""
    if SHARED_WINDOW <= address < SHARED_WINDOW + WINDOW:
        return "shared", SHARED_WINDOW
    if LOCAL_WINDOW <= address < LOCAL_WINDOW + WINDOW:
        return "local", LOCAL_WINDOW
    return "global", 0


Access = Callable[[Registers, "Frame", str, int], None]


def _generic(
    access: Access, slot: int, offset: int, writes: tuple[int, ...]
) -> Callable[[Registers, Frame], None]:
    """Send an access to the space of its addresses; lanes of different spaces go one after the other."""

    def run(registers: Registers, frame: Frame) -> None:
        value = registers[slot].view(U64)
        windows = (value + np.uint64(offset & (2**64 - 1))) >> np.uint64(32)
        if every(windows == windows[0]) or every(windows > 2):
            space, base = generic_space(int(windows[0]) << 32)
            if not base:
                access(registers, frame, "global", slot)
                return
            own = registers[slot]
            registers[slot] = value - np.uint64(base)
            try:
                access(registers, frame, space, slot)
            finally:
                if slot not in writes:
                    registers[slot] = own
            return
        kinds = np.where(windows > 2, 0, windows)
        for kind in np.unique(kinds):
            part = frame.subset(np.flatnonzero(kinds == kind))
            run(part.registers, part)
            frame.merge(part, writes)

    return run


def emit(
    d: Decoder,
    access: Access,
    slot: int,
    offset: int,
    space: str | None,
    reads: tuple[int, ...],
    writes: tuple[int, ...],
) -> None:
    """Emit an effect for an access to a known space, or to a generic address."""
    d.emit(Effect(in_space(access, slot, offset, space, writes), (slot, *reads), writes), guarded=True)


def in_space(access: Access, slot: int, offset: int, space: str | None, writes: tuple[int, ...]) -> Run:
    """Return an access to a known space, or to the one that generic addresses lie in."""
    if space is None:
        return _generic(access, slot, offset, writes)
    chosen = space

    def run(registers: Registers, frame: Frame) -> None:
        access(registers, frame, chosen, slot)

    return run


def within(access: Access, source: Lowered, extent: Extent | None, offset: int, nbytes: int) -> Access:
    """Keep an access inside the variable that its address was computed from."""
    if extent is None:
        return access
    variable = extent

    def run(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        if where == variable.space:
            memory, prepared = locate(frame, where, slot)
            fault = memory.leaving(prepared, offset, nbytes, variable)
            if fault is not None:
                frame.report(fault, source)
        access(registers, frame, where, slot)

    return run


def find_address(d: Decoder, arg: Arg, space: str | None) -> tuple[int, int, str | None]:
    """Return slot and offset of an address, and its space: named by the instruction or by the variable."""
    slot, offset, named = d.address(arg)
    return slot, offset, space or named


def _vector(m: Modifiers) -> int:
    return int(m.one_of("v2", "v4", "v8", default="v1")[1])


def load(d: Decoder) -> None:
    """``ld`` and ``ldu``."""
    m = d.modifiers
    acquires = "acquire" in m.rest
    space = read_space(m)
    count, type_ = _vector(m), m.type()
    m.done()
    target, address = d.without_policy()
    targets = d.elements(target, count)
    if isinstance(address, ParameterOperand):
        _load_parameter(d, type_, targets, address)
        return
    size = SIZES[type_]
    nbytes = size * count
    slots, extensions = _load_targets(d, targets, type_)
    plain = not any(extensions)
    source, key = d.instruction, id(d.instruction)
    slot, offset, space = find_address(d, address, space)

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        batch = frame.batch
        memory, prepared = locate(frame, where, slot)
        holder = memory.check_read(prepared, offset, nbytes)
        if where == "global" and key in batch.holders:
            batch.confine(frame, source, prepared, offset, nbytes, holder)
        places = prepared.offset + offset if offset else prepared.offset
        values = memory.bytes.gather(places, size, count)
        if batch.watching and (where != "global" or batch.heard is None or key in batch.heard):
            if acquires and where == "shared":
                batch.meet(frame.lanes)
            batch.watch(frame, source, where, places, nbytes, write=False, atomic=acquires)
        if plain:
            for place, value in zip(slots, values, strict=True):
                registers[place] = value
        else:
            for place, value, extend in zip(slots, values, extensions, strict=True):
                registers[place] = extend(value) if extend else value

    if space == "param" and plain:
        anywhere = in_space(access, slot, offset, space, tuple(slots))

        def run(registers: Registers, frame: Frame) -> None:
            address = registers[slot]
            data = frame.batch.parameter(int(address[0]) + offset, nbytes) if len(address) == 1 else None
            if data is None:
                anywhere(registers, frame)
                return
            for number, place in enumerate(slots):
                registers[place] = np.frombuffer(data, _UNSIGNED[size], 1, number * size)

        d.emit(ParameterLoad(run, (slot,), tuple(slots), slot, offset, size), guarded=True)
        return
    emit(d, within(access, source, d.extent(address), offset, nbytes), slot, offset, space, (), tuple(slots))


def _load_targets(d: Decoder, targets: tuple[Arg, ...], type_: str) -> tuple[list[int], list[Any]]:
    """Slots to load into, and how each value is widened to its register."""
    slots: list[int] = []
    extensions: list[Callable[[Array], Array] | None] = []
    for arg in targets:
        have = arg.type if isinstance(arg, Slot) else type_
        if SIZES[have] <= SIZES[type_] or isinstance(arg, Sink):
            slots.append(d.destination(arg, type_))
            extensions.append(None)
            continue
        assert isinstance(arg, Slot)
        narrow = np.dtype(f"{'i' if type_[0] == 's' else 'u'}{SIZES[type_]}")
        wide = np.dtype(f"{narrow.kind}{SIZES[have]}")
        slots.append(arg.number)
        extensions.append(partial(_extend, narrow, wide))
    return slots, extensions


def _extend(narrow: np.dtype[Any], wide: np.dtype[Any], x: Array) -> Array:
    return x.view(narrow).astype(wide)


def _load_parameter(d: Decoder, type_: str, targets: tuple[Arg, ...], address: ParameterOperand) -> None:
    """``ld.param``: kernel parameters are filled in before the launch, arguments of calls are registers."""
    slots, extensions = _load_targets(d, targets, type_)
    for number, (slot, extend) in enumerate(zip(slots, extensions, strict=True)):
        place = ParameterOperand(address.name, address.offset + number * SIZES[type_], address.kernel)
        source = d.parameter(place, type_)
        d.emit(Pure(extend or same, (source,), (DTYPES[type_],), slot), guarded=True)


def store(d: Decoder) -> None:
    """``st``."""
    m = d.modifiers
    space = read_space(m)
    count, type_ = _vector(m), m.type()
    m.done()
    address, value = d.without_policy()
    values = d.elements(value, count)
    if space == "param" or isinstance(address, ParameterOperand):
        _store_parameter(d, type_, values, address)
        return
    size = SIZES[type_]
    nbytes = size * count
    slots = [d.source(arg, type_) for arg in values]
    unsigned = _UNSIGNED[size]
    source, key = d.instruction, id(d.instruction)
    slot, offset, space = find_address(d, address, space)

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        batch = frame.batch
        memory, prepared = locate(frame, where, slot)
        holder = memory.check_write(prepared, offset, nbytes)
        if where == "global" and key in batch.holders:
            batch.confine(frame, source, prepared, offset, nbytes, holder)
        places = prepared.offset + offset if offset else prepared.offset
        values = [registers[s].view(unsigned) for s in slots]
        memory.bytes.scatter(places, size, values)
        if batch.watching and (where != "global" or batch.heard is None or key in batch.heard):
            batch.watch(frame, source, where, places, nbytes, write=True, values=values)

    emit(d, within(access, source, d.extent(address), offset, nbytes), slot, offset, space, tuple(slots), ())


def _store_parameter(d: Decoder, type_: str, values: tuple[Arg, ...], address: Arg) -> None:
    if not isinstance(address, ParameterOperand) or address.kernel:
        raise d.error("only .param variables of calls can be written")
    for number, arg in enumerate(values):
        place = ParameterOperand(address.name, address.offset + number * SIZES[type_], False)
        slot = d.parameter(place, type_)
        d.emit(Pure(same, (d.source(arg, type_),), (DTYPES[type_],), slot), guarded=True)


# What moves nothing.


def hint(d: Decoder) -> None:
    """``prefetch``, ``nanosleep``: no effect on values."""


def fence(d: Decoder) -> None:
    """``fence`` and ``membar``: no effect on values, but on who may rely on them."""
    scope = scope_of_fence(d.instruction)

    def run(registers: Registers, frame: Frame) -> None:
        frame.batch.fence(frame.lanes, scope)

    if scope != PLAIN:
        d.emit(Effect(run, (), ()), guarded=True)


def create_policy(d: Decoder) -> None:
    """``createpolicy``: no loads or stores ask what is in it."""
    m = d.modifiers
    m.one_of("fractional", "range", "cvt")
    while m.flag("global", "L2", *(f"L2::evict_{each}" for each in ("first", "last", "normal", "unchanged"))):
        pass
    m.type("b64")
    m.done()
    target = d.destination(d.instruction.operands[0], "b64")
    d.emit(Pure(lambda x: x, (d.number(0, "b64"),), (U64,), target), guarded=True)


def is_space(d: Decoder) -> None:
    """``isspacep``."""
    space = d.modifiers.one_of("global", "shared", "shared::cta", "local", "const")
    d.modifiers.done()
    window = {"shared": 1, "shared::cta": 1, "local": 2}.get(space)

    def test(x: Array) -> Array:
        windows = x >> np.uint64(32)
        result: Array = windows == window if window else windows > 2
        return result

    d.pure(test, d.instruction.operands, ("u64",), "pred")


TABLE: dict[str, Decode] = {
    **dict.fromkeys(("ld", "ldu"), load),
    "st": store,
    **dict.fromkeys(("membar", "fence"), fence),
    **dict.fromkeys(("prefetch", "prefetchu", "nanosleep", "pmevent", "setmaxnreg"), hint),
    "isspacep": is_space,
    "createpolicy": create_policy,
}
