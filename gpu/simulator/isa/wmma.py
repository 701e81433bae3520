"""``wmma``: matrices of 16×16, 32×8 and 8×32, loaded, multiplied and stored by a warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.access import find_address, in_space, read_space
from gaugeblock.gpu.simulator.isa.action import Collective
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.fragments import Fragment, tile
from gaugeblock.gpu.simulator.isa.multiply import KINDS, SUMS, Shape, emit_product, read_shape, read_types
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.syntax import Integer
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import WARP, Index
from gaugeblock.gpu.simulator.state.memory import GlobalMemory, Prepared, Window

SHAPES = {
    **dict.fromkeys(("f16", "bf16", "s8", "u8"), ((16, 16, 16), (32, 8, 16), (8, 32, 16))),
    "tf32": ((16, 16, 8),),
    "f64": ((8, 8, 4),),
    **dict.fromkeys(("s4", "u4"), ((8, 8, 32),)),
    "b1": ((8, 8, 128),),
}


def wmma_tile(d: Decoder, operand: str, shape: Shape, type_: str, *, once: bool = False) -> Fragment:
    """Return the layout of an operand: but `once`, f16 factors are repeated to fill 8 registers."""
    if operand in "cd":
        if type_ not in SUMS or not any(shape in shapes for shapes in SHAPES.values()):
            raise d.error("this combination of shape and type is not supported")
        return tile(operand, shape, SUMS[type_][0])
    if shape not in SHAPES.get(type_, ()):
        raise d.error("this combination of shape and type is not supported")
    return tile(operand, shape, KINDS[type_].bits, 8 if type_ == "f16" and not once else None)


def multiply(d: Decoder) -> None:
    """``wmma.mma.sync.aligned``; how the operands lay in memory makes no difference here."""
    m = d.modifiers
    m.one_of("sync")
    m.one_of("aligned")
    m.one_of("row", "col")
    m.one_of("row", "col")
    shape = read_shape(d)
    if len([word for word in m.rest if word in KINDS or word in SUMS]) == 2:  # of D and C: A and B are f16
        at = next(i for i, word in enumerate(m.rest) if word in SUMS)
        m.rest[at + 1 : at + 1] = ["f16", "f16"]
    types = read_types(d)
    layouts = [wmma_tile(d, each, shape, types[1 + "ab".index(each)]) for each in "ab"]
    layouts += [wmma_tile(d, "c", shape, type_) for type_ in (types[3], types[0])]
    emit_product(d, types, layouts)


@dataclass(frozen=True)
class Transfer:
    """How a fragment lies in memory: pieces, each of a whole register or of one of its elements.

    `slow` and `fast` are the coordinates of each piece, pieces × 32 lanes: elements that differ by one in
    `fast` are neighbours in memory, by one in `slow` a stride apart.
    """

    slow: Index
    fast: Index
    bits: int
    size: int
    registers: int

    @staticmethod
    def of(layout: Fragment, by_rows: bool) -> Transfer | None:
        """Return that of a layout; None if elements that share a byte are no neighbours."""
        slow, fast = (layout.row, layout.column) if by_rows else (layout.column, layout.row)
        if (np.diff(fast, axis=-1) == 1).all() and (np.diff(slow, axis=-1) == 0).all():
            return Transfer(slow[:, :, 0], fast[:, :, 0], layout.bits, layout.word.itemsize, layout.registers)
        if layout.bits < 8:
            return None
        pieces = layout.registers * layout.per_register
        slow, fast = (each.swapaxes(1, 2).reshape(pieces, WARP) for each in (slow, fast))
        return Transfer(slow, fast, layout.bits, layout.bits // 8, layout.registers)

    def places(
        self, frame: Frame, where: str, address: Array, stride: Array
    ) -> tuple[GlobalMemory | Window, Prepared]:
        """Return the memory and the analysed addresses of all pieces, piece after piece."""
        batch, lane = frame.batch, frame.batch.lane_of[frame.lanes]
        base = frame.expand(address.view(f"u{address.itemsize}")).astype(np.int64)
        elements = self.slow[:, lane] * frame.expand(stride.view(np.uint32)) + self.fast[:, lane]
        addresses = (base + elements * self.bits // 8).reshape(-1)
        if where == "global":
            return batch.memory, batch.memory.prepare(addresses.view(np.uint64))
        window = batch.shared if where == "shared" else batch.local
        return window, window.prepare(addresses, np.tile(frame.lanes, len(self.slow)))

    def joined(self, pieces: Array) -> list[Array]:
        """Return registers, from pieces × lanes."""
        words = pieces.reshape(self.registers, -1, pieces.shape[-1]).swapaxes(1, 2)
        word = np.dtype(f"u{self.size * words.shape[-1]}")
        return list(np.ascontiguousarray(words).view(word)[..., 0])

    def parted(self, registers: list[Array]) -> list[Array]:
        """Undo `joined`."""
        words = np.stack(registers)[..., None]
        pieces = np.ascontiguousarray(words).view(f"u{self.size}").swapaxes(1, 2)
        return list(np.ascontiguousarray(pieces.reshape(len(self.slow), -1)))


def _transfer(d: Decoder, move: Literal["load", "store"]) -> None:
    """``wmma.load`` and ``wmma.store``."""
    m = d.modifiers
    operand = m.one_of(*"abc") if move == "load" else m.one_of("d")
    m.one_of("sync")
    m.one_of("aligned")
    by_rows = m.one_of("row", "col") == "row"
    shape = read_shape(d)
    space = read_space(m)
    type_ = m.one_of(*KINDS, *SUMS)
    m.done()
    layout = wmma_tile(d, operand, shape, type_)
    once = wmma_tile(d, operand, shape, type_, once=True)
    way = Transfer.of(once, by_rows)
    if way is None:
        raise d.error("elements of less than a byte lie in rows of A and in columns of B")
    operands = list(d.instruction.operands)
    if len(operands) == 2:
        operands.append(Integer(once.shape[1] if by_rows else once.shape[0]))
    stride = d.source(operands.pop(), "u32")
    address, fragment = operands if move == "store" else reversed(operands)
    word = "b64" if layout.bits == 64 else "b32"
    elements = d.elements(fragment, layout.registers)
    slots = [(d.source if move == "store" else d.destination)(each, word) for each in elements]
    slot, offset, space = find_address(d, address, space)
    extent, source = d.extent(address), d.instruction

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        here = registers[slot]
        memory, prepared = way.places(frame, where, here + here.dtype.type(offset), registers[stride])
        check = memory.check_read if move == "load" else memory.check_write
        if extent is not None and where == extent.space:
            left = batch_window(memory).leaving(prepared, 0, way.size, extent)
            if left is not None:
                frame.report(_of_lane(left, frame), source)
        try:
            holder = check(prepared, 0, way.size)
        except LaneFault as fault:
            raise _of_lane(fault, frame) from None
        if where == "global":
            frame.batch.confine(frame, source, prepared, 0, way.size, holder)
        values: list[Array] = []
        if move == "load":
            pieces = memory.bytes.gather(prepared.offset, way.size, 1)[0].reshape(len(way.slow), -1)
            loaded = way.joined(pieces)
            for place, value in zip(slots, loaded * (len(slots) // len(loaded)), strict=True):
                registers[place] = value
        else:
            values = way.parted([frame.expand(registers[each].view(layout.word)) for each in slots])
            memory.bytes.scatter(prepared.offset, way.size, [np.concatenate(values)])
        if frame.batch.watching:
            for piece, places in enumerate(prepared.offset.reshape(len(way.slow), -1)):
                stored = values[piece : piece + 1]
                frame.batch.watch(
                    frame, source, where, places, way.size, write=move == "store", values=stored
                )

    reads = (slot, stride, *(slots if move == "store" else ()))
    writes = tuple(slots) if move == "load" else ()
    run = in_space(access, slot, offset, space, writes)
    d.emit(Collective(run, d.number(0xFFFFFFFF, "b32"), reads, writes), guarded=True)


def _of_lane(fault: LaneFault, frame: Frame) -> LaneFault:
    """Name the lane of a fault that was found among pieces, of which each lane has several."""
    fault.lane = (fault.lane or 0) % frame.count
    fault.bad = None
    return fault


def batch_window(memory: GlobalMemory | Window) -> Window:
    """Return what is known to be a window."""
    assert isinstance(memory, Window)
    return memory


def wmma(d: Decoder) -> None:
    """``wmma.load``, ``wmma.store`` and ``wmma.mma``."""
    kind = d.modifiers.one_of("load", "store", "mma")
    if kind == "mma":
        multiply(d)
    else:
        _transfer(d, "load" if kind == "load" else "store")


TABLE: dict[str, Decode] = {"wmma": wmma}
