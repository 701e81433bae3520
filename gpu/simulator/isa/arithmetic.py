"""Arithmetic, of integers and of floating-point numbers: which function an opcode and its modifiers name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Pure
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.kinds import FLOATS, HALF, HALVES, INTEGERS, PAIRS, packed, same, unsigned
from gaugeblock.gpu.simulator.numbers import approximate, floating, integer
from gaugeblock.gpu.simulator.numbers.types import DTYPES, Array

Direction = Literal["rn", "rz", "rm", "rp"]


def _float(d: Decoder, function: Callable[..., Array], type_: str, arity: int, **options: Any) -> None:
    """Decode a floating instruction whose operands and result have one type."""
    if options.get("rounding") == "rn":  # what the functions do unless told otherwise
        del options["rounding"]
    if options:
        function = partial(function, **options)
    if type_.endswith("x2"):
        function = packed(function, HALF[type_])
    d.pure(function, d.instruction.operands, (type_,) * arity, type_)


def _integer(d: Decoder, function: Callable[..., Array], type_: str, arity: int) -> None:
    """Decode an instruction on integers, or on pairs of them, whose operands and result have one type."""
    if type_ in PAIRS:
        d.pure(packed(function, DTYPES[type_[:3]]), d.instruction.operands, ("b32",) * arity, "b32")
    else:
        d.pure(function, d.instruction.operands, (type_,) * arity, type_)


def _rounding(d: Decoder, type_: str, default: str = "rn") -> Direction:
    allowed = ("rn", "rz", "rm", "rp") if type_ in FLOATS else ("rn",)
    return cast(Direction, d.modifiers.one_of(*allowed, default=default))


def add_sub(d: Decoder) -> None:
    """``add`` and ``sub``, integer (with carry) and floating."""
    m = d.modifiers
    if m.flag("cc"):
        _carry(d, carry_in=False, carry_out=True)
        return
    type_ = m.type(*INTEGERS, *FLOATS, *HALVES, *PAIRS)
    name = d.instruction.opcode
    if type_ in INTEGERS or type_ in PAIRS:
        clamped = type_ == "s32" and m.flag("sat")
        m.done()
        sum_, difference = (
            (integer.add_saturated, integer.sub_saturated) if clamped else (np.add, np.subtract)
        )
        _integer(d, sum_ if name == "add" else difference, type_ if clamped else unsigned(type_), 2)
        return
    function = floating.add if name == "add" else floating.sub
    rounding = _rounding(d, type_)
    options = d.modifiers.flags("ftz", "sat")
    m.done()
    _float(d, function, type_, 2, rounding=rounding, **options)


def _carry(d: Decoder, *, carry_in: bool, carry_out: bool) -> None:
    """``add.cc``, ``addc``, ``mad.cc`` and the like: the carry lives in a slot of its own."""
    product = d.modifiers.one_of("lo", "hi") if d.instruction.opcode.startswith("mad") else None
    type_ = d.modifiers.type("u32", "s32", "u64", "s64", "b32", "b64")
    d.modifiers.done()
    bits = "u32" if type_.endswith("32") else "u64"
    operands = d.instruction.operands
    a, b, *addend = (d.source(arg, bits) for arg in operands[1:])
    carry = d.carry
    if product is not None:
        multiply = np.multiply if product == "lo" else integer.mul_hi
        factors, (b,) = (a, b), addend
        a = d.temporary(bits)
        d.emit(Pure(multiply, factors, (DTYPES[type_],) * 2, a))
    dtype = DTYPES[bits]
    subtract = d.instruction.opcode.startswith("sub")

    def total(x: Array, y: Array, c: Array) -> Array:
        extra = c.astype(dtype) if carry_in else np.zeros(1, dtype)
        result: Array = x - y - extra if subtract else x + y + extra
        return result

    def overflow(x: Array, y: Array, c: Array) -> Array:
        extra = c if carry_in else np.zeros(1, np.bool_)
        if subtract:
            borrow: Array = (x < y) | ((x == y) & extra)
            return borrow
        result = x + y
        carried: Array = (result < x) | ((result == ~np.zeros(1, dtype)) & extra)
        return carried

    source_types = (dtype, dtype, DTYPES["pred"])
    new_carry = d.temporary("pred")
    d.emit(Pure(overflow, (a, b, carry), source_types, new_carry))
    d.emit(Pure(total, (a, b, carry), source_types, d.destination(operands[0], bits)), guarded=True)
    if carry_out:
        d.emit(Pure(same, (new_carry,), (DTYPES["pred"],), carry), guarded=True)


def add_carry(d: Decoder) -> None:
    """``addc``, ``subc`` and ``madc``."""
    _carry(d, carry_in=True, carry_out=d.modifiers.flag("cc"))


def mul(d: Decoder) -> None:
    """``mul``: lo, hi and wide for integers; rounded for floats."""
    m = d.modifiers
    type_ = m.type(*INTEGERS, *FLOATS, *HALVES)
    operands = d.instruction.operands
    if type_ in INTEGERS:
        part = m.one_of("lo", "hi", "wide")
        m.done()
        function = {"lo": np.multiply, "hi": integer.mul_hi, "wide": integer.mul_wide}[part]
        result = _widened(type_) if part == "wide" else type_
        taken = unsigned(type_) if part == "lo" else type_
        d.pure(cast(Callable[..., Array], function), operands, (taken, taken), result)
        return
    rounding, options = _rounding(d, type_), d.modifiers.flags("ftz", "sat")
    m.done()
    _float(d, floating.mul, type_, 2, rounding=rounding, **options)


def _widened(type_: str) -> str:
    return f"{type_[0]}{2 * int(type_[1:])}"


def mad(d: Decoder) -> None:
    """``mad``: integer; of floats it is ``fma``."""
    m = d.modifiers
    if m.flag("cc"):
        _carry(d, carry_in=False, carry_out=True)
        return
    type_ = m.type(*INTEGERS, *FLOATS)
    if type_ in FLOATS:
        m.rest.append(type_)
        fma(d)
        return
    part = m.one_of("lo", "hi", "wide")
    clamped = part == "hi" and type_ == "s32" and m.flag("sat")
    m.done()
    function = {"lo": integer.mad_lo, "hi": integer.mad_hi, "wide": integer.mad_wide}[part]
    function = integer.mad_hi_saturated if clamped else function
    type_ = unsigned(type_) if part == "lo" else type_
    result = _widened(type_) if part == "wide" else type_
    d.pure(function, d.instruction.operands, (type_, type_, result), result)


def mul24(d: Decoder) -> None:
    """``mul24.lo`` and ``mad24.lo``."""
    type_ = d.modifiers.type("u32", "s32")
    d.modifiers.one_of("lo")
    d.modifiers.done()
    if d.instruction.opcode == "mul24":
        d.pure(integer.mul24, d.instruction.operands, (type_, type_), type_)
    else:
        d.pure(integer.mad24, d.instruction.operands, (type_, type_, type_), type_)


def fma(d: Decoder) -> None:
    """``fma``."""
    type_ = d.modifiers.type(*FLOATS, *HALVES)
    rounding = _rounding(d, type_, "rn")
    options = d.modifiers.flags("ftz", "sat", "relu")
    d.modifiers.done()
    _float(d, floating.fma, type_, 3, rounding=rounding, **options)


def div_rem(d: Decoder) -> None:
    """``div`` and ``rem``."""
    m = d.modifiers
    type_ = m.type(*INTEGERS, *(FLOATS if d.instruction.opcode == "div" else ()))
    if type_ in INTEGERS:
        m.done()
        function = integer.div if d.instruction.opcode == "div" else integer.rem
        divisor = d.source(d.instruction.operands[2], type_)
        d.remark(divisor, type_, lambda by: by == 0, "an integer division by zero")
        d.pure(function, d.instruction.operands, (type_, type_), type_)
        return
    if type_ == "f32" and m.flag("approx"):
        inexact = approximate.div
    elif type_ == "f32" and m.flag("full"):
        inexact = approximate.div_full
    else:
        rounding, options = _rounding(d, type_), d.modifiers.flags("ftz")
        m.done()
        _float(d, floating.div, type_, 2, rounding=rounding, **options)
        return
    options = d.modifiers.flags("ftz")
    m.done()
    _float(d, inexact, type_, 2, **options)


def root_reciprocal(d: Decoder) -> None:
    """``rcp``, ``sqrt`` and ``rsqrt``, rounded or approximate."""
    m = d.modifiers
    name = d.instruction.opcode
    type_ = m.type("f32", "f64")
    if m.flag("approx"):
        options = d.modifiers.flags("ftz")
        m.done()
        if type_ == "f64" and name == "sqrt":
            raise m.error("there is no such instruction")
        functions = {
            "rcp": approximate.rcp,
            "sqrt": approximate.sqrt,
            "rsqrt": approximate.rsqrt,
        }
        _float(d, functions[name], type_, 1, **options)
        return
    if name == "rsqrt":
        raise m.error("needs .approx")
    rounding, options = _rounding(d, type_), d.modifiers.flags("ftz")
    m.done()
    _float(d, floating.rcp if name == "rcp" else floating.sqrt, type_, 1, rounding=rounding, **options)


def transcendental(d: Decoder) -> None:
    """``ex2``, ``lg2``, ``sin``, ``cos``, ``tanh``: approximate by definition."""
    m = d.modifiers
    name = d.instruction.opcode
    type_ = m.type("f32", *(HALVES if name in ("ex2", "tanh") else ()))
    m.one_of("approx")
    options = {} if name == "tanh" else d.modifiers.flags("ftz")
    m.done()
    functions = {
        "ex2": approximate.ex2,
        "lg2": approximate.lg2,
        "sin": approximate.sin,
        "cos": approximate.cos,
        "tanh": approximate.tanh,
    }
    _float(d, functions[name], type_, 1, **options)


def minimum_maximum(d: Decoder) -> None:
    """``min`` and ``max``."""
    m = d.modifiers
    least = d.instruction.opcode == "min"
    type_ = m.type(*INTEGERS, *FLOATS, *HALVES, *PAIRS)
    if type_ in INTEGERS or type_ in PAIRS:
        relu = m.flag("relu")
        m.done()
        plain = np.minimum if least else np.maximum
        function = (lambda a, b: np.maximum(plain(a, b), np.zeros(1, a.dtype))) if relu else plain
        _integer(d, function, type_, 2)
        return
    options: dict[str, bool] = {}
    for word, name in (("ftz", "ftz"), ("NaN", "nan"), ("xorsign", "xorsign"), ("abs", "magnitude")):
        if m.flag(word):
            options[name] = True
    m.done()
    chosen: Callable[..., Array] = floating.minimum if least else floating.maximum
    if len(d.instruction.operands) == 4:
        _float(d, lambda a, b, c: chosen(chosen(a, b, **options), c, **options), type_, 3)
    else:
        _float(d, chosen, type_, 2, **options)


def negate_absolute(d: Decoder) -> None:
    """``neg`` and ``abs``."""
    m = d.modifiers
    type_ = m.type("s16", "s32", "s64", *FLOATS, *HALVES)
    negate = d.instruction.opcode == "neg"
    if type_.startswith("s"):
        m.done()
        d.pure(np.negative if negate else integer.absolute, d.instruction.operands, (type_,), type_)
        return
    options = d.modifiers.flags("ftz")
    m.done()
    _float(d, floating.neg if negate else floating.absolute, type_, 1, **options)


def copysign(d: Decoder) -> None:
    """``copysign``."""
    type_ = d.modifiers.type(*FLOATS)
    d.modifiers.done()
    d.pure(floating.copysign, d.instruction.operands, (type_, type_), type_)


def testp(d: Decoder) -> None:
    """``testp``."""
    prop = d.modifiers.one_of("finite", "infinite", "number", "notanumber", "normal", "subnormal")
    type_ = d.modifiers.type(*FLOATS)
    d.modifiers.done()
    d.pure(
        partial(floating.testp, prop=cast(floating.Property, prop)), d.instruction.operands, (type_,), "pred"
    )


def sum_of_differences(d: Decoder) -> None:
    """``sad``."""
    type_ = d.modifiers.type(*INTEGERS)
    d.modifiers.done()
    d.pure(integer.sad, d.instruction.operands, (type_, type_, type_), type_)


def dot_product(d: Decoder) -> None:
    """``dp4a`` and ``dp2a``."""
    m = d.modifiers
    half = m.one_of("lo", "hi") if d.instruction.opcode == "dp2a" else ""
    kinds = [word for word in m.rest if word in ("u32", "s32")]
    if len(kinds) != 2 or len(m.rest) != 2:
        raise m.error("needs two types")
    function = partial(integer.dp2a, upper=half == "hi") if half else integer.dp4a
    signed = (kinds[0] == "s32", kinds[1] == "s32")
    d.pure(partial(function, signed=signed), d.instruction.operands, ("u32", "u32", "u32"), "u32")


def lanes(d: Decoder) -> None:
    """``vadd2``, ``vabsdiff4`` and the like: instructions on the halves, or the bytes, of words."""
    m = d.modifiers
    saturate, add = m.flag("sat"), m.flag("add")
    kinds = [m.type("u32", "s32") for _ in range(3)]
    m.done()
    name = d.instruction.opcode
    function = partial(
        integer.lanes,
        operation=name[:-1],
        count=int(name[-1]),
        signed=(kinds[0] == "s32", kinds[1] == "s32", kinds[2] == "s32"),
        saturate=saturate,
        add=add,
    )
    d.pure(function, d.instruction.operands, ("b32",) * 3, "b32")


TABLE: dict[str, Decode] = {
    **dict.fromkeys(("add", "sub"), add_sub),
    **dict.fromkeys(("addc", "subc", "madc"), add_carry),
    **dict.fromkeys(("mul24", "mad24"), mul24),
    **dict.fromkeys(("div", "rem"), div_rem),
    **dict.fromkeys(("rcp", "sqrt", "rsqrt"), root_reciprocal),
    **dict.fromkeys(("ex2", "lg2", "sin", "cos", "tanh"), transcendental),
    **dict.fromkeys(("min", "max"), minimum_maximum),
    **dict.fromkeys(("neg", "abs"), negate_absolute),
    "mul": mul,
    "mad": mad,
    "fma": fma,
    "copysign": copysign,
    "testp": testp,
    "sad": sum_of_differences,
    **dict.fromkeys(("dp4a", "dp2a"), dot_product),
    **{f"{name}{count}": lanes for name in integer.LANE_OPERATIONS for count in (2, 4)},
}
