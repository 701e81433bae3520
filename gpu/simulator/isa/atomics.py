"""Atomics: decoding, and how lanes that meet at one address take turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.isa.access import emit, find_address, locate, read_space, within
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.kinds import BITS, FLOATS, HALVES, packed
from gaugeblock.gpu.simulator.numbers import floating
from gaugeblock.gpu.simulator.numbers.types import BF16, DTYPES, F16, U32, Array
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.memory import Bytes

_NUMBERS = ("u32", "s32", "u64", "s64")
_TYPES = {
    "add": (*_NUMBERS, *FLOATS, *HALVES),
    **dict.fromkeys(("min", "max"), (*_NUMBERS, *HALVES)),
    **dict.fromkeys(("and", "or", "xor"), ("b32", "b64")),
    **dict.fromkeys(("exch", "cas"), BITS),
    **dict.fromkeys(("inc", "dec"), ("u32",)),
}
"""The types of each operation."""


def _atomic_function(d: Decoder, operation: str, type_: str) -> Callable[..., Array]:
    def exchange(old: Array, new: Array) -> Array:
        return new

    def compare_and_swap(old: Array, expected: Array, new: Array) -> Array:
        return np.where(old == expected, new, old)

    def increment(old: Array, limit: Array) -> Array:
        return np.where(old >= limit, 0, old + 1).astype(old.dtype)

    def decrement(old: Array, limit: Array) -> Array:
        return np.where((old == 0) | (old > limit), limit, old - 1).astype(old.dtype)

    is_float = type_ in ("f16", "bf16", "f32", "f64", "f16x2", "bf16x2")
    functions: dict[str, Callable[..., Array]] = {
        "add": floating.add if is_float else np.add,
        "min": floating.minimum if is_float else np.minimum,
        "max": floating.maximum if is_float else np.maximum,
        "and": np.bitwise_and,
        "or": np.bitwise_or,
        "xor": np.bitwise_xor,
        "exch": exchange,
        "cas": compare_and_swap,
        "inc": increment,
        "dec": decrement,
    }
    if operation not in functions:
        raise d.error(f".{operation} is not supported")
    return functions[operation]


def _apply_in_order(bytes_: Bytes, places: Array, dtype: np.dtype[Any], size: int,
                    function: Callable[..., Array], operands: list[Array]) -> Array:  # fmt: skip
    """Apply an atomic lane after lane: in rounds, each of which touches every address at most once."""
    view = bytes_.view(False, size, 1)
    rows = places >> (size.bit_length() - 1)
    old = np.empty(len(rows), dtype)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[first, len(ordered)])
    rank = np.empty(len(rows), np.intp)
    rank[order] = np.arange(len(rows)) - np.repeat(first, lengths)
    for turn in range(int(lengths.max())):
        now = np.flatnonzero(rank == turn)
        before = view[rows[now]].view(dtype)
        old[now] = before
        after = function(before, *(operand[now] for operand in operands))
        view[rows[now]] = after.view(view.dtype)
    return old


def atomic(d: Decoder) -> None:
    """``atom`` and ``red``."""
    m = d.modifiers
    returns = d.instruction.opcode == "atom"
    acquires = not {"acquire", "acq_rel"}.isdisjoint(m.rest)
    space = read_space(m)
    operation = m.one_of(*_TYPES)
    m.flag("noftz")
    type_ = m.type(*_TYPES[operation])
    m.done()
    function = _atomic_function(d, operation, type_)
    operands = d.without_policy()
    address, *arguments = operands[1:] if returns else operands
    slots = tuple(d.source(arg, type_) for arg in arguments)
    targets = (d.destination(operands[0], type_),) if returns else ()
    element = {"f16x2": F16, "bf16x2": BF16}.get(type_)
    dtype = DTYPES[type_] if element is None else U32
    size = dtype.itemsize
    source = d.instruction
    slot, offset, space = find_address(d, address, space)
    if element is not None:
        function = packed(function, element)
    flushing = partial(floating.add, ftz=True)  # what atom.add.f32 does in global memory, and only there

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        memory, prepared = locate(frame, where, slot)
        memory.check_read(prepared, offset, size)
        holder = memory.check_write(prepared, offset, size)
        if where == "global":
            frame.batch.confine(frame, source, prepared, offset, size, holder)
        places = frame.expand(prepared.offset + offset)
        values = [frame.expand(registers[s].view(dtype)) for s in slots]
        apply = flushing if where == "global" and type_ == "f32" and operation == "add" else function
        old = _apply_in_order(memory.bytes, places, dtype, size, apply, values)
        if frame.batch.watching:
            if acquires and where == "shared":
                frame.batch.meet(frame.lanes)
            frame.batch.watch(frame, source, where, places, size, write=True, atomic=True)
        for target in targets:
            registers[target] = old

    emit(d, within(access, source, d.extent(address), offset, size), slot, offset, space, slots, targets)


TABLE: dict[str, Decode] = dict.fromkeys(("atom", "red"), atomic)
