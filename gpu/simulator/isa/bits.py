"""Bits: logic, shifts, fields, permutations, counts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.kinds import BITS, INTEGERS, unsigned
from gaugeblock.gpu.simulator.numbers import integer
from gaugeblock.gpu.simulator.numbers.types import DTYPES
from gaugeblock.gpu.simulator.ptx.operands import Slot


def logic(d: Decoder) -> None:
    """``and``, ``or``, ``xor``, ``not``, ``cnot``."""
    type_ = d.modifiers.type("pred", *BITS)
    d.modifiers.done()
    functions: dict[str, tuple[Any, int]] = {
        "and": (np.bitwise_and, 2),
        "or": (np.bitwise_or, 2),
        "xor": (np.bitwise_xor, 2),
        "not": (np.invert, 1),
        "cnot": (integer.cnot, 1),
    }
    function, arity = functions[d.instruction.opcode]
    d.pure(function, d.instruction.operands, (type_,) * arity, type_)


def shift(d: Decoder) -> None:
    """``shl`` and ``shr``."""
    type_ = d.modifiers.type(*BITS, *INTEGERS)
    d.modifiers.done()
    left = d.instruction.opcode == "shl"
    count = d.instruction.operands[2]
    if not isinstance(count, Slot) and 0 <= getattr(count, "value", -1) < 8 * DTYPES[type_].itemsize:
        type_ = unsigned(type_) if left else type_
        amount = np.array(getattr(count, "value", 0)).astype(DTYPES[type_])
        operator = np.left_shift if left else np.right_shift
        d.pure(lambda a: operator(a, amount), d.instruction.operands[:2], (type_,), type_)
        return
    bits = 8 * DTYPES[type_].itemsize
    said = f"a shift of {bits} bits by {bits} or more, which C++ leaves undefined"
    d.remark(d.source(count, "u32"), "u32", lambda by: by >= bits, said)
    d.pure(integer.shift_left if left else integer.shift_right, d.instruction.operands, (type_, "u32"), type_)


def funnel(d: Decoder) -> None:
    """``shf``."""
    m = d.modifiers
    left = m.one_of("l", "r") == "l"
    wrap = m.one_of("wrap", "clamp") == "wrap"
    type_ = m.type("b32")
    m.done()
    function = partial(integer.funnel_left if left else integer.funnel_right, wrap=wrap)
    d.pure(function, d.instruction.operands, (type_, type_, "u32"), type_)


def count_bits(d: Decoder) -> None:
    """``popc``, ``clz``, ``brev``, ``bfind``."""
    m = d.modifiers
    name = d.instruction.opcode
    finds = name == "bfind"
    type_ = m.type(*(("u32", "s32", "u64", "s64") if finds else ("b32", "b64")))
    shift_amount = finds and m.flag("shiftamt")
    m.done()
    functions = {"popc": integer.popc, "clz": integer.clz, "brev": integer.brev, "bfind": integer.bfind}
    function = integer.bfind_shift if shift_amount else functions[name]
    d.pure(function, d.instruction.operands, (type_,), type_ if name == "brev" else "u32")


def fields(d: Decoder) -> None:
    """``bfe`` and ``bfi``."""
    type_ = d.modifiers.type("u32", "s32", "u64", "s64", "b32", "b64")
    d.modifiers.done()
    if d.instruction.opcode == "bfe":
        d.pure(integer.bfe, d.instruction.operands, (type_, "u32", "u32"), type_)
    else:
        d.pure(integer.bfi, d.instruction.operands, (type_, type_, "u32", "u32"), type_)


def permute(d: Decoder) -> None:
    """``prmt``."""
    m = d.modifiers
    m.type("b32")
    mode = m.one_of("f4e", "b4e", "rc8", "ecl", "ecr", "rc16", default="")
    m.done()
    function = partial(integer.prmt_mode, mode=mode) if mode else integer.prmt
    d.pure(function, d.instruction.operands, ("b32", "b32", "b32"), "b32")


def lop3(d: Decoder) -> None:
    """``lop3``."""
    d.modifiers.type("b32")
    d.modifiers.done()
    table = getattr(d.instruction.operands[4], "value", None)
    if table is None:
        raise d.error("needs a constant truth table")
    d.pure(partial(integer.lop3, table=table), d.instruction.operands[:4], ("b32", "b32", "b32"), "b32")


def find_nth(d: Decoder) -> None:
    """``fns``."""
    d.modifiers.type("b32")
    d.modifiers.done()
    d.pure(integer.fns, d.instruction.operands, ("b32", "u32", "s32"), "b32")


def mask(d: Decoder) -> None:
    """``bmsk`` and ``szext``: ones at some bits, and numbers of some bits."""
    m = d.modifiers
    name, wrap = d.instruction.opcode, m.one_of("clamp", "wrap") == "wrap"
    type_ = m.type("b32") if name == "bmsk" else m.type("u32", "s32")
    m.done()
    function = integer.bmsk if name == "bmsk" else integer.szext
    d.pure(partial(function, wrap=wrap), d.instruction.operands, (type_, "u32"), type_)


TABLE: dict[str, Decode] = {
    **dict.fromkeys(("and", "or", "xor", "not", "cnot"), logic),
    **dict.fromkeys(("shl", "shr"), shift),
    **dict.fromkeys(("popc", "clz", "brev", "bfind"), count_bits),
    **dict.fromkeys(("bfe", "bfi"), fields),
    **dict.fromkeys(("bmsk", "szext"), mask),
    "shf": funnel,
    "prmt": permute,
    "lop3": lop3,
    "fns": find_nth,
}
