"""``ldmatrix``, ``stmatrix`` and ``mma.sync``: which lane holds which element of a warp's matrices.

The arithmetic is in `tensor_core`; here fragments (registers of 32 lanes) become stacks of matrices and
back. With g = lane // 4 and t = lane % 4, a 32-bit register of an operand holds consecutive elements of row
g: see the fragment figures of PTX ISA 9.1, section 9.7.15.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.action import Collective
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.numbers import floating, tensor_core
from gaugeblock.gpu.simulator.numbers.types import BF16, F16, F32, F64, S32, U8, U16, U32, Array
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import WARP

_G, _T = np.arange(WARP) // 4, np.arange(WARP) % 4

_PATTERNS = {
    "f16": (U16, 0x7FFF, 0x7C00),
    "bf16": (U16, 0x7FFF, 0x7F80),
    "tf32": (U32, 0x7FFFE000, 0x7F800000),
}
"""Of an operand's elements: their words, the bits of the magnitude that are read, and those of infinity."""


def _by_warp(frame: Frame, value: Array) -> Array:
    """Lay a register out as warps × 32; these instructions need every lane of a warp."""
    if frame.count % WARP:
        raise LaneFault("divergent collective", "needs all 32 lanes of every warp", 0)
    return frame.expand(value).reshape(-1, WARP)


def _busy(a: Array, b: Array, kind: tensor_core.Operand) -> Array:
    """Tell which warps multiply anything but zeros with finite numbers; at the edge of a result most do not.

    `a` and `b` are words: registers × warps × 32.
    """
    dtype, magnitude, infinity = _PATTERNS[kind]
    x, y = ((operand.view(dtype) & dtype.type(magnitude)).max(axis=(0, 2)) for operand in (a, b))
    busy: Array = (np.minimum(x, y) > 0) | (np.maximum(x, y) >= infinity)
    return busy


def _matrix_a(registers: Array, per_word: int, k: int) -> Array:
    """Assemble A (16×k) of each warp from its registers: words of registers × warps × 32."""
    warps = registers.shape[1]
    dtype = {4: U8, 2: U16, 1: U32}[per_word]
    a = np.empty((warps, 16, k), dtype)
    for number, words in enumerate(registers):
        row = _G + 8 * (number % 2)
        column = per_word * (_T + 4 * (number // 2))
        parts = np.ascontiguousarray(words).view(dtype).reshape(warps, WARP, per_word)
        for e in range(per_word):
            a[:, row, column + e] = parts[:, :, e]
    return a


def _matrix_b(registers: Array, per_word: int, k: int) -> Array:
    """Assemble B (k×8) of each warp."""
    warps = registers.shape[1]
    dtype = {4: U8, 2: U16, 1: U32}[per_word]
    b = np.empty((warps, k, 8), dtype)
    for number, words in enumerate(registers):
        row = per_word * (_T + 4 * number)
        parts = np.ascontiguousarray(words).view(dtype).reshape(warps, WARP, per_word)
        for e in range(per_word):
            b[:, row + e, _G] = parts[:, :, e]
    return b


def _matrix_c(registers: Array, half: bool, dtype: np.dtype[Any] = F32) -> Array:
    """Assemble C (16×8): four registers of 32 bits, or two of packed float16."""
    warps = registers.shape[1]
    c = np.empty((warps, 16, 8), F16 if half else dtype)
    if half:
        for number, words in enumerate(registers):
            parts = np.ascontiguousarray(words).view(F16).reshape(warps, WARP, 2)
            for e in range(2):
                c[:, _G + 8 * number, 2 * _T + e] = parts[:, :, e]
    else:
        for number, words in enumerate(registers):
            c[:, _G + 8 * (number // 2), 2 * _T + number % 2] = words.view(dtype)
    return c


def _split_c(c: Array, half: bool) -> list[Array]:
    """Undo `_matrix_c`."""
    if not half:
        return [np.ascontiguousarray(c[:, _G + 8 * (n // 2), 2 * _T + n % 2]).view(U32) for n in range(4)]
    found = []
    for number in range(2):
        pair = np.stack([c[:, _G + 8 * number, 2 * _T + e] for e in range(2)], axis=-1)
        found.append(np.ascontiguousarray(pair).view(U32)[:, :, 0])
    return found


def multiply(d: Decoder) -> None:
    """``mma.sync.aligned.m16n8k….row.col``, and ``m8n8k4`` of float64."""
    m = d.modifiers
    m.one_of("sync")
    m.one_of("aligned")
    shape = m.one_of("m16n8k4", "m16n8k8", "m16n8k16", "m16n8k32", "m8n8k4")
    m.one_of("row")
    m.one_of("col")
    if shape == "m8n8k4":
        _multiply_float64(d)
        return
    if m.flag("s32"):
        _multiply_integers(d, int(shape.split("k")[1]))
        return
    types = [word for word in m.rest if word in ("f16", "bf16", "tf32", "f32")]
    m.rest = [word for word in m.rest if word not in types]
    m.done()
    if len(types) != 4 or types[1] != types[2] or types[0] != types[3]:
        raise d.error("this combination of types is not supported")
    if types[1] == "f32":
        raise d.error("this combination of types is not supported")
    kind = cast(tensor_core.Operand, types[1])
    k = int(shape.split("k")[1])
    half = types[0] == "f16"
    per_word = 1 if kind == "tf32" else 2
    if k not in ((4, 8) if kind == "tf32" else (8, 16)) or (half and kind != "f16"):
        raise d.error("this combination of shape and types is not supported")
    count_a, count_b, count_c = 16 * k // (WARP * per_word), 8 * k // (WARP * per_word), 2 if half else 4
    target, a, b, c = d.instruction.operands
    word = "b32"
    slots_a = [d.source(x, word) for x in d.elements(a, count_a)]
    slots_b = [d.source(x, word) for x in d.elements(b, count_b)]
    slots_c = [d.source(x, word) for x in d.elements(c, count_c)]
    into = [d.destination(x, word) for x in d.elements(target, count_c)]
    element = {"f16": F16, "bf16": BF16, "tf32": F32}[kind]

    def run(registers: Registers, frame: Frame) -> None:
        def words(slots: list[int]) -> Array:
            return np.stack([_by_warp(frame, registers[slot].view(U32)) for slot in slots])

        words_a, words_b, words_c = words(slots_a), words(slots_b), words(slots_c)
        busy = _busy(words_a, words_b, kind)
        found = tensor_core.plus_zero(words_c.view(F16 if half else F32)).view(U32)
        if busy.any():
            product = tensor_core.mma(
                _matrix_a(words_a[:, busy], per_word, k).view(element),
                _matrix_b(words_b[:, busy], per_word, k).view(element),
                _matrix_c(words_c[:, busy], half),
                operand=kind,
                bits=25,
                model=frame.batch.tensor_core,
            )
            found[:, busy] = _split_c(product, half)
        for slot, value in zip(into, found, strict=True):
            registers[slot] = value.reshape(-1)

    members = d.number(0xFFFFFFFF, "b32")
    d.emit(Collective(run, members, (*slots_a, *slots_b, *slots_c), tuple(into)), guarded=True)


def _multiply_integers(d: Decoder, k: int) -> None:
    """``mma`` of bytes, with or without signs, added to int32; with ``.satfinite`` the sum is clamped."""
    m = d.modifiers
    clamped = m.flag("satfinite")
    kinds = [np.dtype(word.replace("s", "i")[0] + "1") for word in m.rest if word in ("s8", "u8")]
    if k not in (16, 32) or len(kinds) != 2 or m.rest[-1:] != ["s32"] or len(m.rest) != 3:
        raise d.error("this combination of shape and types is not supported")
    target, *operands = d.instruction.operands
    counts = (k // 8, k // 16, 4)
    slots = [
        [d.source(x, "b32") for x in d.elements(arg, n)] for arg, n in zip(operands, counts, strict=True)
    ]
    into = [d.destination(x, "b32") for x in d.elements(target, 4)]

    def run(registers: Registers, frame: Frame) -> None:
        a, b, c = (np.stack([_by_warp(frame, registers[slot].view(U32)) for slot in each]) for each in slots)
        left = _matrix_a(a, 4, k).view(kinds[0]).astype(F64)  # exact: sums are below 2²¹
        right = _matrix_b(b, 4, k).view(kinds[1]).astype(F64)
        total = (left @ right).astype(np.int64) + _matrix_c(c, False, S32)
        if clamped:
            total = np.clip(total, np.iinfo(np.int32).min, np.iinfo(np.int32).max)
        for slot, value in zip(into, _split_c(total.astype(S32), False), strict=True):
            registers[slot] = value.reshape(-1)

    reads = tuple(slot for each in slots for slot in each)
    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), reads, tuple(into)), guarded=True)


def _multiply_float64(d: Decoder) -> None:
    """``mma.m8n8k4`` of float64: four fused multiply-adds in turn for each element of the result."""
    m = d.modifiers
    m.flag("rn")
    if m.rest != ["f64"] * 4:
        raise d.error("this combination of shape and types is not supported")
    target, *operands = d.instruction.operands
    slot_a, slot_b = (d.source(d.elements(x, 1)[0], "f64") for x in operands[:2])
    slots_c = [d.source(x, "f64") for x in d.elements(operands[2], 2)]
    into = [d.destination(x, "f64") for x in d.elements(target, 2)]

    def run(registers: Registers, frame: Frame) -> None:
        a, b, *c = (_by_warp(frame, registers[slot].view(F64)) for slot in (slot_a, slot_b, *slots_c))
        for number, slot in enumerate(into):
            total = c[number].reshape(-1)
            for k in range(4):  # A: row g, column t; B: row t, column g; C: row g, column 2t + number
                left, right = a[:, 4 * _G + k], b[:, 4 * (2 * _T + number) + k]
                total = floating.fma(left.reshape(-1), right.reshape(-1), total)
            registers[slot] = total

    reads = (slot_a, slot_b, *slots_c)
    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), reads, tuple(into)), guarded=True)


def _tiles(d: Decoder) -> tuple[int, bool]:
    """Read how many 8×8 matrices ``ldmatrix`` or ``stmatrix`` moves, and whether transposed."""
    m = d.modifiers
    m.one_of("sync")
    m.one_of("aligned")
    m.one_of("m8n8")
    count = int(m.one_of("x1", "x2", "x4")[1])
    transposed = m.flag("trans")
    m.one_of("shared", "shared::cta")
    m.type("b16")
    m.done()
    return count, transposed


def _giving(frame: Frame, count: int) -> Frame:
    """Return the lanes that give the addresses of the rows."""
    giving = frame.batch.lane_of[frame.lanes] < 8 * count
    return frame if giving.all() else frame.subset(np.flatnonzero(giving))


def load_matrix(d: Decoder) -> None:
    """``ldmatrix``: up to four 8×8 matrices of 16-bit elements.

    Lane i gives the address of row i % 8 of matrix i // 8.
    """
    count, transposed = _tiles(d)
    target, address = d.instruction.operands
    into = [d.destination(x, "b32") for x in d.elements(target, count)]
    slot, offset, _ = d.address(address)
    source = d.instruction

    def run(registers: Registers, frame: Frame) -> None:
        part = _giving(frame, count)
        shared = frame.batch.shared
        prepared = part.window_addresses(slot, True)
        shared.check_read(prepared, offset, 16)
        places = part.expand(prepared.offset + offset)
        if frame.batch.watching:
            frame.batch.watch(part, source, "shared", places, 16, write=False)
        data = np.stack(shared.bytes.gather(places, 4, 4), axis=-1).view(U16)
        matrices = data.reshape(-1, count, 8, 8)  # warp, matrix, row, column
        if transposed:
            matrices = matrices.swapaxes(2, 3)
        pairs = np.ascontiguousarray(matrices).view(U32)  # lane i holds word i % 4 of row i // 4
        for number, place in enumerate(into):
            registers[place] = np.ascontiguousarray(pairs[:, number]).reshape(-1)

    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), (slot,), tuple(into)), guarded=True)


def store_matrix(d: Decoder) -> None:
    """``stmatrix``: the inverse of `load_matrix`."""
    count, transposed = _tiles(d)
    address, values = d.instruction.operands
    slots = [d.source(x, "b32") for x in d.elements(values, count)]
    slot, offset, _ = d.address(address)
    source = d.instruction

    def run(registers: Registers, frame: Frame) -> None:
        part = _giving(frame, count)
        words = [_by_warp(frame, registers[s].view(U32)) for s in slots]
        matrices = np.stack([np.ascontiguousarray(w).view(U16).reshape(-1, 8, 8) for w in words], axis=1)
        if transposed:
            matrices = matrices.swapaxes(2, 3)
        rows = np.ascontiguousarray(matrices).view(U32).reshape(-1, 4)
        shared = frame.batch.shared
        prepared = part.window_addresses(slot, True)
        shared.check_write(prepared, offset, 16)
        places = part.expand(prepared.offset + offset)
        columns = [np.ascontiguousarray(column) for column in rows.T]
        shared.bytes.scatter(places, 4, columns)
        if frame.batch.watching:
            frame.batch.watch(part, source, "shared", places, 16, write=True, values=columns)

    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), (slot, *slots), ()), guarded=True)


def move_matrix(d: Decoder) -> None:
    """``movmatrix``: transpose an 8×8 matrix held by a warp."""
    m = d.modifiers
    for word in ("sync", "aligned", "m8n8", "trans"):
        m.one_of(word)
    m.type("b16")
    m.done()
    target, value = d.instruction.operands
    into, slot = d.destination(target, "b32"), d.source(value, "b32")

    def run(registers: Registers, frame: Frame) -> None:
        words = _by_warp(frame, registers[slot].view(U32))
        flipped = np.ascontiguousarray(words).view(U16).reshape(-1, 8, 8).swapaxes(1, 2)
        registers[into] = np.ascontiguousarray(flipped).view(U32).reshape(-1)

    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), (slot,), (into,)), guarded=True)


TABLE: dict[str, Decode] = {
    "mma": multiply,
    "ldmatrix": load_matrix,
    "stmatrix": store_matrix,
    "movmatrix": move_matrix,
}
