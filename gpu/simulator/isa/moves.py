"""Moves and conversions: ``mov``, ``cvt``, ``cvta``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Pure
from gaugeblock.gpu.simulator.isa.decoder import NUMBERS, Decode, Decoder
from gaugeblock.gpu.simulator.isa.kinds import same
from gaugeblock.gpu.simulator.numbers import conversion, float8
from gaugeblock.gpu.simulator.numbers.types import DTYPES, U32, Array
from gaugeblock.gpu.simulator.ptx.operands import Sink, Slot, Vec
from gaugeblock.gpu.simulator.state.memory import LOCAL_WINDOW, SHARED_WINDOW


def move(d: Decoder) -> None:
    """``mov``: a register, a constant, an address; or packing and unpacking of vectors."""
    type_ = d.modifiers.type("pred", *NUMBERS)
    d.modifiers.done()
    target, source = d.instruction.operands
    if isinstance(target, Vec):
        _unpack(d, type_, target, d.source(source, type_))
    elif isinstance(source, Vec):
        _pack(d, type_, source)
    else:
        d.pure(same, d.instruction.operands, (type_,), type_)


def _unpack(d: Decoder, type_: str, target: Vec, slot: int) -> None:
    width = 8 * DTYPES[type_].itemsize // len(target.elements)
    piece, whole = np.dtype(f"u{width // 8}"), DTYPES[f"b{8 * DTYPES[type_].itemsize}"]
    for position, element in enumerate(target.elements):
        if not isinstance(element, Sink):

            def part(x: Array, shift: int = position * width) -> Array:
                return (x >> shift).astype(piece)

            d.emit(Pure(part, (slot,), (whole,), d.destination(element, f"b{width}")), guarded=True)


def _pack(d: Decoder, type_: str, source: Vec) -> None:
    count = len(source.elements)
    width = 8 * DTYPES[type_].itemsize // count
    whole = DTYPES[f"b{8 * DTYPES[type_].itemsize}"]
    slots = tuple(d.source(element, f"b{width}") for element in source.elements)

    def join(*parts: Array) -> Array:
        total: Array = parts[0].astype(whole)
        for position, value in enumerate(parts[1:], 1):
            total = total | (value.astype(whole) << (position * width))
        return total

    target = d.destination(d.instruction.operands[0], type_)
    d.emit(Pure(join, slots, (DTYPES[f"b{width}"],) * count, target), guarded=True)


def convert(d: Decoder) -> None:
    """``cvt``."""
    m = d.modifiers
    if m.flag("pack"):
        _convert_and_pack(d)
        return
    rounding = m.one_of("rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi", default="")
    options = m.flags("ftz", "sat", "relu", "satfinite")
    types = [word for word in m.rest if word in DTYPES or word == "tf32"]
    m.rest = [word for word in m.rest if word not in types]
    m.done()
    if len(types) != 2:
        raise m.error("needs two types")
    to, from_ = types
    operands = d.instruction.operands
    result = {"tf32": "b32", "f16x2": "b32", "bf16x2": "b32"}.get(to, to)
    sources = tuple(d.source(arg, from_) for arg in operands[1:])
    target = operands[0]
    if not isinstance(target, Slot | Sink):
        raise d.error("needs a register as its destination")
    try:
        if "e" in (to[0], from_[0]):
            function: Callable[..., Array] = _convert_float8(d, to, from_, rounding, options)
        elif len(sources) == 2:
            function = conversion.cvt_packed(to, rounding=rounding, **options)
        else:
            function = conversion.cvt(to, from_, rounding=rounding or None, **options)
    except (TypeError, ValueError) as error:
        raise d.error(f"no such conversion: {error}") from None
    have = target.type if isinstance(target, Slot) else result
    wide = DTYPES[have].itemsize > DTYPES[result].itemsize
    place = d.temporary(result) if wide else d.destination(target, result)
    d.emit(Pure(function, sources, (DTYPES[from_],) * len(sources), place), guarded=not wide)
    if wide:  # PTX extends a narrow result to the register, by its own signedness
        larger = np.dtype(f"{'i' if to.startswith('s') else 'u'}{DTYPES[have].itemsize}")
        narrow = DTYPES[to] if to[0] in "su" else np.dtype(f"u{DTYPES[result].itemsize}")
        d.emit(
            Pure(lambda x: x.astype(larger), (place,), (narrow,), d.destination(target, have)), guarded=True
        )


def _convert_float8(
    d: Decoder, to: str, from_: str, rounding: str, options: dict[str, bool]
) -> Callable[..., Array]:
    """Return a conversion to or from a pair of 8-bit floats."""
    relu, clamped = options.pop("relu", False), options.pop("satfinite", False)
    narrow = to[0] == "e"
    if rounding != "rn" or options or clamped != narrow or (not narrow and to != "f16x2"):
        raise d.error("no such conversion")
    if not narrow:
        return float8.from_pair(from_.removesuffix("x2"), relu=relu)
    count = {"f32": 2, "f16x2": 1}.get(from_)
    if count != len(d.instruction.operands) - 1:
        raise d.error("no such conversion")
    return float8.to_pair(to.removesuffix("x2"), from_, relu=relu)


def _convert_and_pack(d: Decoder) -> None:
    """``cvt.pack.sat``: two clamped int32 side by side, below them bits of c if they are bytes."""
    m = d.modifiers
    m.one_of("sat")
    to = m.type("u16", "s16", "u8", "s8")
    m.type("s32")
    below = m.rest == ["b32"]
    m.rest = m.rest[below:]
    m.done()
    limits, bits = np.iinfo(DTYPES[to]), 8 * DTYPES[to].itemsize

    def pack(a: Array, b: Array, *c: Array) -> Array:
        x, y = (np.clip(v, limits.min, limits.max).astype(f"u{bits // 8}").astype(U32) for v in (a, b))
        both: Array = x << bits | y
        return both | c[0] << 2 * bits if c else both

    d.pure(pack, d.instruction.operands, ("s32", "s32", *["b32"] * below), "b32")


def convert_address(d: Decoder) -> None:
    """``cvta``: between generic addresses and those of a state space."""
    m = d.modifiers
    to = m.flag("to")
    space = m.one_of("global", "const", "shared", "local", "param", "shared::cta")
    type_ = m.type("u64", "u32")
    m.done()
    window = {"shared": SHARED_WINDOW, "shared::cta": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(space, 0)
    if not window:
        d.pure(same, d.instruction.operands, (type_,), type_)
        return
    shift_by = np.array([window], np.uint64)
    d.pure(
        (lambda x: x - shift_by) if to else (lambda x: x + shift_by), d.instruction.operands, ("u64",), "u64"
    )


TABLE: dict[str, Decode] = {"mov": move, "cvt": convert, "cvta": convert_address}
