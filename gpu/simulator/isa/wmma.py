"""``wmma``: matrices of 16×16, 32×8 and 8×32, loaded, multiplied and stored by a warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.access import Access, find_address, in_space, read_space
from gaugeblock.gpu.simulator.isa.action import Collective
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.fragments import Fragment, tile
from gaugeblock.gpu.simulator.isa.multiply import KINDS, SUMS, Shape, emit_product, read_shape, read_types
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Arg, Extent, Lowered
from gaugeblock.gpu.simulator.ptx.syntax import Integer
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import WARP, Index
from gaugeblock.gpu.simulator.state.memory import Bytes

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
        self, frame: Frame, source: Lowered, where: str, at: Way, slot: int, *, write: bool
    ) -> tuple[Bytes, Index]:
        """Return the bytes of a memory, and where in them all pieces lie, checked: pieces × lanes."""
        batch, lane, registers = frame.batch, frame.batch.lane_of[frame.lanes], frame.registers
        address, stride = registers[slot], registers[at.stride].view(np.uint32)
        base = frame.expand(address.view(f"u{address.itemsize}")).astype(np.int64) + at.offset
        elements = self.slow[:, lane] * frame.expand(stride) + self.fast[:, lane]
        addresses = (base + elements * self.bits // 8).reshape(-1)
        memory: Any = batch.memory
        if where == "global":
            prepared = memory.prepare(addresses.view(np.uint64))
        else:
            memory = batch.shared if where == "shared" else batch.local
            prepared = memory.prepare(addresses, np.tile(frame.lanes, len(self.slow)))
            if at.extent is not None and where == at.extent.space:
                left = memory.leaving(prepared, 0, self.size, at.extent)
                if left is not None:
                    frame.report(_of_lane(left, frame), source)
        try:
            holder = (memory.check_write if write else memory.check_read)(prepared, 0, self.size)
        except LaneFault as fault:
            raise _of_lane(fault, frame) from None
        if where == "global":
            batch.confine(frame, source, prepared, 0, self.size, holder)
        return memory.bytes, prepared.offset.reshape(len(self.slow), -1)

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


def _of_lane(fault: LaneFault, frame: Frame) -> LaneFault:
    """Name the lane of a fault that was found among pieces, of which each lane has several."""
    fault.lane = (fault.lane or 0) % frame.count
    fault.bad = None
    return fault


@dataclass(frozen=True, slots=True)
class Way:
    """Operands of a load or a store: the slots of address and stride, and what is known of the address."""

    address: int
    offset: int
    space: str | None
    extent: Extent | None
    stride: int


def _read(
    d: Decoder, operand: str, *, address_first: bool
) -> tuple[Transfer, Fragment, Way, tuple[Arg, ...]]:
    """Read modifiers and operands; return the transfer, the registers' layout, the way, the registers."""
    m = d.modifiers
    m.one_of("sync")
    m.one_of("aligned")
    by_rows = m.one_of("row", "col") == "row"
    shape = read_shape(d)
    space = read_space(m)
    type_ = m.one_of(*KINDS, *SUMS)
    m.done()
    layout, once = wmma_tile(d, operand, shape, type_), wmma_tile(d, operand, shape, type_, once=True)
    transfer = Transfer.of(once, by_rows)
    if transfer is None:
        raise d.error("elements of less than a byte lie in rows of A and in columns of B")
    first, second, *given = d.instruction.operands
    address, registers = (first, second) if address_first else (second, first)
    stride = d.source(given[0] if given else Integer(once.shape[1 if by_rows else 0]), "u32")
    way = Way(*find_address(d, address, space), d.extent(address), stride)
    return transfer, layout, way, d.elements(registers, layout.registers)


def load(d: Decoder) -> None:
    """``wmma.load``: every lane reads the elements that it holds."""
    transfer, layout, way, registers_ = _read(d, d.modifiers.one_of(*"abc"), address_first=False)
    targets = tuple(d.destination(each, layout.type) for each in registers_)
    source = d.instruction

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        memory, places = transfer.places(frame, source, where, way, slot, write=False)
        pieces = memory.gather(places.reshape(-1), transfer.size, 1)[0]
        loaded = transfer.joined(pieces.reshape(places.shape))
        for place, value in zip(targets, loaded * (len(targets) // len(loaded)), strict=True):
            registers[place] = value
        if frame.batch.watching:
            for piece in places:
                frame.batch.watch(frame, source, where, piece, transfer.size, write=False)

    _emit(d, access, way, (), targets)


def store(d: Decoder) -> None:
    """``wmma.store``: every lane writes the elements that it holds."""
    transfer, layout, way, registers_ = _read(d, d.modifiers.one_of("d"), address_first=True)
    slots = tuple(d.source(each, layout.type) for each in registers_)
    source = d.instruction

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        memory, places = transfer.places(frame, source, where, way, slot, write=True)
        values = transfer.parted([frame.expand(registers[each].view(layout.word)) for each in slots])
        memory.scatter(places.reshape(-1), transfer.size, [np.concatenate(values)])
        if frame.batch.watching:
            for piece, value in zip(places, values, strict=True):
                frame.batch.watch(frame, source, where, piece, transfer.size, write=True, values=(value,))

    _emit(d, access, way, slots, ())


def _emit(d: Decoder, access: Access, way: Way, reads: tuple[int, ...], writes: tuple[int, ...]) -> None:
    run = in_space(access, way.address, way.offset, way.space, writes)
    members = d.number(0xFFFFFFFF, "b32")
    d.emit(Collective(run, members, (way.address, way.stride, *reads), writes), guarded=True)


def wmma(d: Decoder) -> None:
    """``wmma.load``, ``wmma.store`` and ``wmma.mma``."""
    kind = d.modifiers.one_of("load", "store", "mma")
    {"load": load, "store": store, "mma": multiply}[kind](d)


TABLE: dict[str, Decode] = {"wmma": wmma}
