"""Matrices between shared memory and the registers of a warp: ``ldmatrix`` and the like."""

from __future__ import annotations

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Collective
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.fragments import by_whole_warps
from gaugeblock.gpu.simulator.numbers.types import U16, U32
from gaugeblock.gpu.simulator.state.frame import Frame, Registers


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
        words = [by_whole_warps(frame, registers[s].view(U32)) for s in slots]
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
        words = by_whole_warps(frame, registers[slot].view(U32))
        flipped = np.ascontiguousarray(words).view(U16).reshape(-1, 8, 8).swapaxes(1, 2)
        registers[into] = np.ascontiguousarray(flipped).view(U32).reshape(-1)

    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), (slot,), (into,)), guarded=True)


TABLE: dict[str, Decode] = {
    "ldmatrix": load_matrix,
    "stmatrix": store_matrix,
    "movmatrix": move_matrix,
}
