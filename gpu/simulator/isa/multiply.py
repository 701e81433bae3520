"""``mma``: products of small matrices that lie in the registers of a warp.

Where the elements are is in `fragments`, the arithmetic in `tensor_core`; `KINDS` are the types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Collective
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.fragments import Fragment, by_whole_warps, tile
from gaugeblock.gpu.simulator.numbers import tensor_core
from gaugeblock.gpu.simulator.numbers.float8 import FORMATS
from gaugeblock.gpu.simulator.numbers.types import BF16, F16, F32, F64, S8, S32, U8, Array
from gaugeblock.gpu.simulator.state.frame import Frame, Registers


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of operand: the bits and the dtype of an element, its sums, and the depths k that ``mma`` has.

    `read` are the bits of the magnitude that count, `infinity` those from which numbers are not finite.
    """

    bits: int
    dtype: np.dtype[Any]
    sums: tuple[str, ...]
    depths: tuple[int, ...]
    read: int = 0
    infinity: int = 0


KINDS = {
    "f16": Kind(16, F16, ("f32", "f16"), (8, 16), 0x7FFF, 0x7C00),
    "bf16": Kind(16, BF16, ("f32",), (8, 16), 0x7FFF, 0x7F80),
    "tf32": Kind(32, F32, ("f32",), (4, 8), 0x7FFFE000, 0x7F800000),
    "e4m3": Kind(8, FORMATS["e4m3"].dtype, ("f32", "f16"), (16, 32), 0x7F, 0x7F),
    "e5m2": Kind(8, FORMATS["e5m2"].dtype, ("f32", "f16"), (16, 32), 0x7F, 0x7C),
    "f64": Kind(64, F64, ("f64",), (4, 8, 16)),
    "s8": Kind(8, S8, ("s32",), (16, 32)),
    "u8": Kind(8, U8, ("s32",), (16, 32)),
    "s4": Kind(4, S8, ("s32",), (32, 64)),
    "u4": Kind(4, U8, ("s32",), (32, 64)),
    "b1": Kind(1, U8, ("s32",), (128, 256)),
}
SUMS = {"f32": (32, F32), "f16": (16, F16), "f64": (64, F64), "s32": (32, S32)}
Shape = tuple[int, int, int]


def read_shape(d: Decoder) -> Shape:
    """Read a modifier such as ``m16n8k16``: m, n and k."""
    for word in d.modifiers.rest:
        parts = word[1:].replace("n", " ").replace("k", " ").split()
        if word.startswith("m") and len(parts) == 3:
            d.modifiers.rest.remove(word)
            m, n, k = map(int, parts)
            return m, n, k
    raise d.error("needs a shape")


def multiply(d: Decoder) -> None:
    """``mma.sync.aligned.m16n8k….row.col`` of dense matrices."""
    m = d.modifiers
    m.one_of("sync")
    m.one_of("aligned")
    shape = read_shape(d)
    m.one_of("row")
    m.one_of("col")
    types = read_types(d)
    height, width, depth = shape
    kind = KINDS[types[1]]
    low = depth == kind.depths[0] and types[0] in ("s32", "f64")
    if width != 8 or depth not in kind.depths or not (height == 16 or (height == 8 and low)):
        raise d.error("this combination of shape and types is not supported")
    layouts = [tile(each, shape, kind.bits) for each in "ab"] + [
        tile("c", shape, SUMS[type_][0]) for type_ in (types[3], types[0])
    ]
    emit_product(d, types, layouts)


def read_types(d: Decoder) -> list[str]:
    """Read the types of D, A, B and C, and refuse those that do not go together."""
    types = [word for word in d.modifiers.rest if word in KINDS or word in SUMS]
    d.modifiers.rest = [word for word in d.modifiers.rest if word not in types]
    if len(types) != 4 or not (types[1] in KINDS and types[2] in KINDS):
        raise d.error("this combination of types is not supported")
    first, second = KINDS[types[1]], KINDS[types[2]]
    together = types[1] == types[2] or (first.bits == second.bits <= 8 and first.sums == second.sums)
    if not together or types[0] != types[3] or types[0] not in first.sums:
        raise d.error("this combination of types is not supported")
    return types


Product = Callable[[Array, Array, Array, Frame], Array]


def emit_product(d: Decoder, types: list[str], layouts: list[Fragment]) -> None:
    """Emit a product, given the types of D, A, B and C and the layouts of A, B, C and D."""
    product = _product(d, types)
    d.modifiers.done()
    target, *operands = d.instruction.operands
    *factors, addend, result = layouts
    slots = [
        [d.source(x, layout.type) for x in d.elements(arg, layout.registers)]
        for arg, layout in zip(operands, (*factors, addend), strict=True)
    ]
    into = [d.destination(x, result.type) for x in d.elements(target, result.registers)]
    of_sums = SUMS[types[0]][1]
    kinds = [KINDS[type_] for type_ in types[1:3]]

    def run(registers: Registers, frame: Frame) -> None:
        a, b, c = (
            np.stack([by_whole_warps(frame, registers[slot].view(layout.word)) for slot in each])
            for each, layout in zip(slots, layouts, strict=False)
        )
        busy = _busy(a, b, kinds)
        found = c if busy.all() else tensor_core.plus_zero(c.view(of_sums)).view(c.dtype)
        if busy.any():
            x, y, z = (
                layout.assemble(words[:, busy]) for words, layout in zip((a, b, c), layouts, strict=False)
            )
            found[:, busy] = result.split(product(x, y, z.view(of_sums), frame))
        for slot, value in zip(into, found, strict=True):
            registers[slot] = value.reshape(-1)

    reads = tuple(slot for each in slots for slot in each)
    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), reads, tuple(into)), guarded=True)


def _busy(a: Array, b: Array, kinds: list[Kind]) -> Array:
    """Tell which warps multiply anything but zeros with finite numbers; at the edge of a result most do not.

    `a` and `b` are words: registers × warps × 32. Of integers and float64 all count as busy.
    """
    if not kinds[0].read:
        return np.ones(a.shape[1], np.bool_)
    x, y = (
        (words.view(f"u{kind.bits // 8}") & kind.read).max(axis=(0, 2))
        for words, kind in zip((a, b), kinds, strict=True)
    )
    infinite = (x >= kinds[0].infinity) | (y >= kinds[1].infinity)
    busy: Array = ((x > 0) & (y > 0)) | infinite
    return busy


def _product(d: Decoder, types: list[str]) -> Product:
    """Return the arithmetic of a product."""
    m = d.modifiers
    first, second = types[1:3]
    if types[0] == "f64":
        m.flag("rn")
        return lambda a, b, c, frame: tensor_core.mma_float64(a.view(F64), b.view(F64), c)
    if first == "b1":
        operator = m.one_of("xor", "and")
        m.one_of("popc")
        return lambda a, b, c, frame: tensor_core.mma_bits(a, b, c, operator)
    if types[0] == "s32":
        clamped = m.flag("satfinite")
        signs = [4 if kind == "s4" else 0 for kind in (first, second)]

        def integers(a: Array, b: Array, c: Array, frame: Frame) -> Array:
            x, y = (
                (((v << 4).view(S8) >> 4) if sign else v).view(KINDS[kind].dtype)
                for v, sign, kind in zip((a, b), signs, (first, second), strict=True)
            )
            return tensor_core.mma_integers(x, y, c, clamped)

        return integers
    operands = cast(tuple[tensor_core.Operand, tensor_core.Operand], (first, second))
    bits = tensor_core.FLOAT8_BITS if first in FORMATS else 25

    def floats(a: Array, b: Array, c: Array, frame: Frame) -> Array:
        return tensor_core.mma(
            a.view(KINDS[first].dtype),
            b.view(KINDS[second].dtype),
            c,
            operand=operands[0],
            other=operands[1],
            bits=bits,
            model=frame.batch.tensor_core,
        )

    return floats


TABLE: dict[str, Decode] = {"mma": multiply}
