"""Instructions by which the lanes of a warp exchange values: ``shfl``, ``vote``, ``match``, ``redux``.

Each runs once the lanes that its member mask names have arrived. Values are laid out as warps × 32; lanes
that are not there hold a pattern that no correct kernel lets through.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.action import Collective, Pure
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.kinds import same
from gaugeblock.gpu.simulator.numbers.lanes import every
from gaugeblock.gpu.simulator.numbers.types import DTYPES, S32, U32, Array
from gaugeblock.gpu.simulator.ptx.operands import Arg, Lowered, Sink, Slot, Two
from gaugeblock.gpu.simulator.state.frame import POISON, Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import WARP

_EVERYONE = 0xFFFFFFFF


def by_warp(frame: Frame, value: Array, fill: int = POISON) -> Array:
    """Lay a register out as warps × 32."""
    batch = frame.batch
    if frame.index is None and batch.whole_warps:
        return frame.expand(value).reshape(-1, WARP)
    table = np.full(batch.warps * WARP, fill, value.dtype)
    table[batch.warp_place[frame.lanes]] = value
    return table.reshape(-1, WARP)


def from_warps(frame: Frame, table: Array) -> Array:
    """Undo `by_warp` for the lanes of the frame."""
    batch = frame.batch
    flat = table.reshape(-1)
    return flat if frame.index is None and batch.whole_warps else flat[batch.warp_place[frame.lanes]]


def active(frame: Frame) -> NDArray[np.bool_]:
    """Which lanes are in the frame, as warps × 32."""
    return by_warp(frame, np.ones(frame.count, np.bool_), 0)


def ballots(table: Array) -> Array:
    """Pack warps × 32 booleans to one word per warp."""
    words: Array = np.packbits(table, axis=1, bitorder="little").view(U32)[:, 0]
    return words


def _broadcast(frame: Frame, per_warp: Array) -> Array:
    """Give every lane the value of its warp."""
    return from_warps(frame, np.repeat(per_warp, WARP).reshape(-1, WARP))


def _own(d: Decoder, slots: tuple[int, ...]) -> tuple[int, ...]:
    """Give every operand a slot of its own: lanes may come from several instructions with other operands."""
    own: list[int] = []
    for slot in slots:
        if slot in own:
            copy = d.temporary(d.types[slot])
            if slot in d.constant_values:
                d.constant_values[copy] = d.constant_values[slot]
            else:
                d.emit(Pure(same, (slot,), (DTYPES[d.types[slot]],), copy))
            slot = copy
        own.append(slot)
    return tuple(own)


def shuffle(d: Decoder) -> None:
    """``shfl.sync``: read another lane's register."""
    m = d.modifiers
    m.one_of("sync")
    mode = m.one_of("up", "down", "bfly", "idx")
    m.type("b32")
    m.done()
    target, value, lane, clamp, members = d.instruction.operands
    first: Arg = target.first if isinstance(target, Two) else target
    valid: Arg = target.second if isinstance(target, Two) else Sink()
    into, ok = d.destination(first, "b32"), d.destination(valid, "pred")
    slots = _own(d, tuple(d.source(arg, "b32") for arg in (value, lane, clamp, members)))
    source = d.instruction

    def run(registers: Registers, frame: Frame) -> None:
        values, b, c = (frame.expand(registers[s].view(U32)) for s in slots[:3])
        own = frame.batch.lane_of[frame.lanes]
        b, c = (b & 31).astype(S32), c.astype(S32)
        mask, limit = c >> 8 & 31, c & 31
        top, low = (own & mask) | (limit & ~mask), own & mask
        if mode == "up":
            place = own - b
            inside = place >= top
        elif mode == "down":
            place = own + b
            inside = place <= top
        elif mode == "bfly":
            place = own ^ b
            inside = place <= top
        else:
            place = low | (b & ~mask)
            inside = place <= top
        place = np.where(inside, place, own)
        table = by_warp(frame, values).reshape(-1)
        warp = frame.batch.warp_place[frame.lanes] - own
        _check_sources(frame, source, mode, registers[slots[3]].view(U32), warp, place)
        registers[into] = table[warp + place]
        registers[ok] = inside

    d.emit(Collective(run, slots[3], slots, (into, ok)), guarded=True)


def _check_sources(frame: Frame, source: Lowered, mode: str, masks: Array, warp: Array, place: Array) -> None:
    """Refuse to read a lane that the mask does not name, or that is not there.

    In a reduction by ``down`` and a scan by ``up``, lanes at the end read past it and throw away what they
    get: that is a note. It is a fault for the lane that gets the result.
    """
    if frame.index is None and frame.batch.whole_warps and len(masks) == 1 and int(masks[0]) == _EVERYONE:
        return
    masks = frame.expand(masks)
    good = (masks >> place.astype(U32) & 1 == 1) & active(frame).reshape(-1)[warp + place]
    if every(good):
        return
    own = frame.batch.lane_of[frame.lanes].view(U32)
    bit = np.uint32(1) << own
    last = (masks & (bit - np.uint32(1)) == 0) if mode == "down" else masks & ~(bit - np.uint32(1)) == bit
    bad = ~good if mode in ("idx", "bfly") else ~good & last
    lane = int(np.argmin(good)) if not bad.any() else int(np.argmax(bad))
    named = int(masks[lane]) >> int(place[lane]) & 1
    why = "is not there" if named else f"the mask {int(masks[lane]):#x} does not name"
    what = f"a shuffle reads lane {int(place[lane])}, which {why}"
    if bad.any():
        frame.report(LaneFault("absent lane", what, lane, check="absent_lanes"), source)
    else:
        frame.batch.remark(source, what)


def vote(d: Decoder) -> None:
    """``vote.sync``: all, any, uni, ballot."""
    m = d.modifiers
    m.one_of("sync")
    mode = m.one_of("all", "any", "uni", "ballot")
    type_ = m.type("pred", "b32")
    m.done()
    target, predicate, members = d.instruction.operands
    if (mode == "ballot") != (type_ == "b32"):
        raise d.error("has the wrong type")
    into = d.destination(target, type_)
    slots = _own(d, (d.source(predicate, "pred"), d.source(members, "b32")))

    def run(registers: Registers, frame: Frame) -> None:
        given = frame.expand(registers[slots[0]])
        yes = _broadcast(frame, ballots(by_warp(frame, given, 0)))
        here = _broadcast(frame, ballots(active(frame)))
        mask = registers[slots[1]].view(U32)
        yes, here = yes & mask, here & mask
        if mode == "ballot":
            registers[into] = yes
        elif mode == "all":
            registers[into] = yes == here
        elif mode == "any":
            registers[into] = yes != 0
        else:
            registers[into] = (yes == here) | (yes == 0)

    d.emit(Collective(run, slots[1], slots, (into,)), guarded=True)


def match(d: Decoder) -> None:
    """``match.any.sync`` and ``match.all.sync``."""
    m = d.modifiers
    mode = m.one_of("any", "all")
    m.one_of("sync")
    type_ = m.type("b32", "b64")
    m.done()
    target, value, members = d.instruction.operands
    into = d.destination(target.first if isinstance(target, Two) else target, "b32")
    all_equal = d.destination(target.second, "pred") if isinstance(target, Two) else d.temporary("pred")
    slots = _own(d, (d.source(value, type_), d.source(members, "b32")))

    def run(registers: Registers, frame: Frame) -> None:
        table = by_warp(frame, frame.expand(registers[slots[0]]))
        equal = (table[:, :, None] == table[:, None, :]) & active(frame)[:, None, :]
        words = np.packbits(equal, axis=2, bitorder="little").view(U32)[:, :, 0]
        mask = registers[slots[1]].view(U32)
        found = from_warps(frame, words) & mask
        here = _broadcast(frame, ballots(active(frame))) & mask
        registers[all_equal] = found == here
        registers[into] = found if mode == "any" else np.where(found == here, here, 0).astype(U32)

    d.emit(Collective(run, slots[1], slots, (into, all_equal)), guarded=True)


def redux(d: Decoder) -> None:
    """``redux.sync``: reduce a word over the members."""
    m = d.modifiers
    m.one_of("sync")
    operation = m.one_of("add", "min", "max", "and", "or", "xor")
    type_ = m.type("u32", "s32", "b32")
    m.done()
    target, value, members = d.instruction.operands
    into = d.destination(target, type_)
    slots = _own(d, (d.source(value, type_), d.source(members, "b32")))
    dtype = S32 if type_ == "s32" else U32
    neutral = {
        "add": 0, "or": 0, "xor": 0, "and": -1,
        "min": np.iinfo(dtype).max, "max": np.iinfo(dtype).min,
    }[operation]  # fmt: skip
    reduce = {
        "add": np.add, "or": np.bitwise_or, "xor": np.bitwise_xor,
        "and": np.bitwise_and, "min": np.minimum, "max": np.maximum,
    }[operation]  # fmt: skip

    def run(registers: Registers, frame: Frame) -> None:
        values = by_warp(frame, frame.expand(registers[slots[0]].view(dtype)))
        mask = by_warp(frame, frame.expand(registers[slots[1]].view(U32)), 0)
        word = (
            mask.max(1)
            if (mask.max(1) == np.where(mask == 0, mask.max(1)[:, None], mask).min(1)).all()
            else None
        )
        if word is None:  # several groups within one warp
            result = np.zeros_like(values)
            for at in np.ndindex(values.shape):
                members_of = (mask[at] >> np.arange(WARP, dtype=U32)) & 1 == 1
                result[at] = reduce.reduce(
                    np.where(members_of, values[at[0]], np.array(neutral).astype(dtype))
                )
            registers[into] = from_warps(frame, result)
            return
        member = (word[:, None] >> np.arange(WARP, dtype=U32)) & 1 == 1
        chosen = np.where(member & active(frame), values, np.array(neutral).astype(dtype))
        registers[into] = _broadcast(frame, reduce.reduce(chosen, axis=1, dtype=dtype))

    d.emit(Collective(run, slots[1], slots, (into,)), guarded=True)


def elect(d: Decoder) -> None:
    """``elect.sync``: one leader among the members."""
    d.modifiers.one_of("sync")
    d.modifiers.done()
    target, members = d.instruction.operands
    if not isinstance(target, Two):
        raise d.error("needs d|p")
    into, leader = d.destination(target.first, "b32"), d.destination(target.second, "pred")
    slot = d.source(members, "b32")

    def run(registers: Registers, frame: Frame) -> None:
        mask = frame.expand(registers[slot].view(U32))
        lowest = np.bitwise_count((mask & (~mask + np.uint32(1))) - np.uint32(1)).astype(U32)
        registers[into] = lowest
        registers[leader] = frame.batch.lane_of[frame.lanes] == lowest

    d.emit(Collective(run, slot, (slot,), (into, leader)), guarded=True)


def active_mask(d: Decoder) -> None:
    """``activemask``: who happens to be here."""
    d.modifiers.type("b32")
    d.modifiers.done()
    target = d.instruction.operands[0]
    if not isinstance(target, Slot):
        raise d.error("needs a register")
    into = d.destination(target, "b32")

    def run(registers: Registers, frame: Frame) -> None:
        registers[into] = _broadcast(frame, ballots(active(frame)))

    d.emit(Collective(run, None, (), (into,)), guarded=True)


TABLE: dict[str, Decode] = {
    "shfl": shuffle,
    "vote": vote,
    "match": match,
    "redux": redux,
    "elect": elect,
    "activemask": active_mask,
}
