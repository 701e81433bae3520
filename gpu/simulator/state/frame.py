"""Frames: the lanes that run together, and their view of the register file.

Instructions never see a mask. Where lanes diverge, those that go on are compacted into a frame of their own
whose registers are gathered on first use and scattered back when the frame ends.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, MutableMapping, Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.state.copies import Copies
from gaugeblock.gpu.simulator.state.geometry import Geometry, Index
from gaugeblock.gpu.simulator.state.memory import Allocation, GlobalMemory, Prepared, Window

Registers: TypeAlias = MutableMapping[int, Array]
"""A register file: slot numbers to arrays with one element per lane, or a single one where all lanes agree.

Arrays in registers are never changed in place: a move is a second reference. The bits of a register are an
array of any dtype of the right width; whoever reads it takes the view it needs.
"""

POISON = 0x7FFBADBA
"""A NaN, and an unlikely integer: what undefined values read as."""


class Blocks(Protocol):
    """The thread blocks that a frame's lanes belong to, as instructions see them."""

    memory: GlobalMemory
    shared: Window
    local: Window
    place: Geometry
    count: int
    all_lanes: Index
    lane_of: NDArray[np.int32]
    warps: int
    warp_place: Index
    whole_warps: bool
    tensor_core: Literal["truncating", "exact"]
    watching: bool
    heard: Container[int] | None
    holders: dict[int, tuple[int, ...]]
    copies: Copies

    def meet(self, lanes: Index) -> None:
        """Tell those who watch that the blocks of these lanes have met otherwise than at a barrier."""

    def rest(self) -> None:
        """Let other threads go on: some wait for what they do."""

    def tick(self) -> int:
        """Return the time, which goes on with every look."""

    def thread_name(self, lane: int) -> tuple[int, int, int]:
        """Return ``threadIdx`` of a lane."""

    def remark(self, source: Lowered, what: str) -> None:
        """Keep a note about an instruction for the user."""

    def parameter(self, address: int, nbytes: int) -> bytes | None:
        """Return what lies at an address in the kernel's parameters; None if it has to be looked at."""

    def watch(
        self,
        frame: Frame,
        source: Lowered,
        space: str,
        places: Index,
        nbytes: int,
        *,
        write: bool,
        atomic: bool = False,
        values: Sequence[Array] = (),
    ) -> None:
        """Tell those who watch of an access by a frame; of a store, what it stored."""

    def confine(
        self, frame: Frame, source: Lowered, prepared: Prepared, offset: int, nbytes: int,
        holder: Allocation | None,
    ) -> None:  # fmt: skip
        """Hold an access to the allocations that its address was computed from."""

    def fence(self, lanes: Index, scope: int) -> None:
        """Tell those who watch of a fence."""

    def report(self, fault: LaneFault) -> None:
        """Raise a fault of a lane of the batch, or go on: as the settings say."""

    def watch_lanes(
        self, lanes: Index, source: Lowered, space: str, places: Index, nbytes: int, *, write: bool
    ) -> None:
        """Tell those who watch of an access by these lanes."""


class SubRegisters(dict[int, Array]):
    """Registers of some lanes of a wider register file, gathered when first read."""

    __slots__ = ("index", "parent")

    def __init__(self, parent: Registers, index: Index) -> None:
        super().__init__()
        self.parent, self.index = parent, index

    def __missing__(self, slot: int) -> Array:
        whole = self.parent[slot]
        value = whole if len(whole) == 1 else whole[self.index]
        self[slot] = value
        return value


class Frame:
    """Lanes that run together.

    Attributes
    ----------
    index : array or None
        The lanes, as numbers in the batch and ascending; None for all of them.
    count : int
        How many there are.
    registers : mapping
        Slot to array; of length `count`, or 1 where all lanes agree.
    """

    __slots__ = ("batch", "count", "index", "prepared", "registers")

    def __init__(self, batch: Blocks, index: Index | None, registers: Registers, count: int) -> None:
        self.batch, self.index, self.registers, self.count = batch, index, registers, count
        self.prepared: dict[int, Prepared] = {}

    @property
    def lanes(self) -> Index:
        """The lanes' numbers in the batch."""
        return self.batch.all_lanes if self.index is None else self.index

    def subset(self, chosen: Index) -> Frame:
        """Return a frame of some of these lanes, given by their places in this frame."""
        index = chosen if self.index is None else self.index[chosen]
        return Frame(self.batch, index, SubRegisters(self.registers, chosen), len(chosen))

    def report(self, fault: LaneFault, source: Lowered) -> None:
        """Report a fault of a lane of this frame, after which an instruction may go on."""
        if fault.lane is not None or self.count:
            fault.lane = int(self.lanes[min(fault.lane or 0, self.count - 1)])
        fault.source = source
        self.batch.report(fault)

    def merge(self, part: Frame, slots: Iterable[int]) -> None:
        """Write registers of a `subset` back into this frame."""
        registers = part.registers
        assert isinstance(registers, SubRegisters)
        for slot in slots:
            if slot in registers:
                new = registers[slot]
                old = self.registers[slot]
                value = np.empty(self.count, new.dtype)
                value[:] = old if old.dtype is new.dtype else old.view(new.dtype)
                value[registers.index] = new
                self.registers[slot] = value

    def expand(self, value: Array) -> Array:
        """Give a register its full length."""
        return value if len(value) == self.count else np.broadcast_to(value, (self.count,))

    def global_addresses(self, slot: int) -> Prepared:
        """Analyse the addresses in a slot, or return the analysis of before."""
        value = self.registers[slot]
        found = self.prepared.get(slot)
        if found is None or found.source is not value:
            found = self.batch.memory.prepare(value.view(np.uint64))
            found.source = value
            self.prepared[slot] = found
        return found

    def window_addresses(self, slot: int, shared: bool) -> Prepared:
        """Analyse the offsets into shared or local memory in a slot."""
        value = self.registers[slot]
        found = self.prepared.get(slot)
        if found is None or found.source is not value:
            window = self.batch.shared if shared else self.batch.local
            found = window.prepare(value, self.index)
            self.prepared[slot] = found
        return found
