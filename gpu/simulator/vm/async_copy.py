"""``cp.async``: copies from global to shared memory that happen when somebody waits for them.

Executed at once, a kernel that forgot to wait would pass. So a copy is checked where it is issued, and
moved by the ``cp.async.wait_group`` or ``wait_all`` of the same thread; a kernel that reads earlier finds
the old contents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.ptx.syntax import Integer
from gaugeblock.gpu.simulator.vm.decoder import Decoder
from gaugeblock.gpu.simulator.vm.frame import Index
from gaugeblock.gpu.simulator.vm.operands import Arg, Lowered, Slot
from gaugeblock.gpu.simulator.vm.operation import U32, Effect, Registers

if TYPE_CHECKING:
    from gaugeblock.gpu.simulator.vm.frame import Frame


@dataclass(slots=True)
class Pending:
    """A copy that has been asked for: per lane source, destination, bytes to read, and the lane's group."""

    lanes: Index
    group: NDArray[np.int64]
    source: NDArray[np.intp]
    target: NDArray[np.intp]
    length: NDArray[np.intp]
    size: int
    instruction: Lowered


class Copies:
    """The copies in flight of the threads of a batch; groups are counted per thread."""

    def __init__(self, lanes: int) -> None:
        self.committed = np.zeros(lanes, np.int64)
        self.pending: list[Pending] = []

    def commit(self, lanes: Index) -> None:
        """Close the group that these threads have been filling."""
        self.committed[lanes] += 1

    def wait(self, frame: Frame, newest: int | None) -> None:
        """Complete all groups of these threads but the `newest`; for None all copies, committed or not."""
        waiting = np.zeros(len(self.committed), np.bool_)
        waiting[frame.lanes] = True
        left: list[Pending] = []
        for copy in self.pending:
            due = waiting[copy.lanes]
            if newest is not None:
                due &= copy.group < self.committed[copy.lanes] - newest
            if due.all():
                _move(frame, copy, slice(None))
                continue
            if due.any():
                _move(frame, copy, np.flatnonzero(due))
                copy = _rest(copy, np.flatnonzero(~due))
            left.append(copy)
        self.pending = left


def _rest(copy: Pending, chosen: Index) -> Pending:
    return Pending(
        copy.lanes[chosen], copy.group[chosen], copy.source[chosen], copy.target[chosen],
        copy.length[chosen], copy.size, copy.instruction,
    )  # fmt: skip


def _move(frame: Frame, copy: Pending, chosen: Index | slice) -> None:
    """Copy, and fill with zeros what the source does not give."""
    batch = frame.batch
    source, target, length = copy.source[chosen], copy.target[chosen], copy.length[chosen]
    columns = np.arange(copy.size)
    data = np.zeros((len(source), copy.size), np.uint8)
    reads = columns < length[:, None]
    data[reads] = batch.memory.bytes.data[(source[:, None] + columns)[reads]]
    places = target[:, None] + columns
    batch.shared.bytes.data[places] = data
    batch.shared.bytes.shadow[places] = 3
    if batch.watching:
        batch.watch_lanes(copy.lanes[chosen], copy.instruction, "shared", target, copy.size, write=True)


def async_copy(d: Decoder) -> None:
    """``cp.async`` with its ``commit_group``, ``wait_group`` and ``wait_all``."""
    m = d.modifiers
    if not m.flag("async"):
        raise d.error("this instruction is not supported")
    if m.flag("commit_group"):
        m.done()
        d.emit(Effect(lambda registers, frame: frame.batch.copies.commit(frame.lanes), (), ()), guarded=True)
        return
    if m.flag("wait_all"):
        m.done()
        d.emit(Effect(lambda registers, frame: frame.batch.copies.wait(frame, None), (), ()), guarded=True)
        return
    if m.flag("wait_group"):
        m.done()
        (count,) = d.instruction.operands
        if not isinstance(count, Integer):
            raise d.error("needs a constant")
        newest = count.value
        d.emit(Effect(lambda registers, frame: frame.batch.copies.wait(frame, newest), (), ()), guarded=True)
        return
    _copy(d)


def _copy(d: Decoder) -> None:
    m = d.modifiers
    m.one_of("ca", "cg")
    m.one_of("shared", "shared::cta")
    m.one_of("global")
    while m.flag("L2::64B", "L2::128B", "L2::256B", "L2::cache_hint"):
        pass
    m.done()
    target, source, size_arg, *rest = d.without_policy()
    if not isinstance(size_arg, Integer) or size_arg.value not in (4, 8, 16):
        raise d.error("copies 4, 8 or 16 bytes")
    size = size_arg.value
    target_slot, target_offset, _ = d.address(target)
    source_slot, source_offset, _ = d.address(source)
    if len(rest) > 1:
        raise d.error("takes a destination, a source, a size and a size or a predicate of the source")
    given: Arg = rest[0] if rest else Integer(size)
    ignoring = isinstance(given, Slot) and given.type == "pred"
    length_slot = d.source(given, "pred" if ignoring else "u32")
    instruction = d.instruction

    def run(registers: Registers, frame: Frame) -> None:
        batch = frame.batch
        to = frame.window_addresses(target_slot, True)
        batch.shared.check_bounds(to, target_offset, size)
        said = registers[length_slot]
        length = np.where(said, 0, size) if ignoring else np.minimum(said.view(U32), np.uint32(size))
        length = frame.expand(length.astype(np.intp))
        where = frame.global_addresses(source_slot)
        wanted = length > 0
        if wanted.all() and (length == size).all():
            batch.memory.check_read(where, source_offset, size)
        elif wanted.any():
            _check_partial(frame, registers, source_slot, source_offset, length)
        lanes = frame.lanes
        places = frame.expand(to.offset + target_offset)
        batch.copies.pending.append(
            Pending(
                lanes,
                batch.copies.committed[lanes],
                frame.expand(where.offset + source_offset),
                places,
                length,
                size,
                instruction,
            )
        )
        if batch.watching:
            batch.watch(
                frame, instruction, "global", frame.expand(where.offset + source_offset), size, write=False
            )
            batch.watch(frame, instruction, "shared", places, size, write=True)

    d.emit(Effect(run, (target_slot, source_slot, length_slot), ()), guarded=True)


def _check_partial(frame: Frame, registers: Registers, slot: int, offset: int, length: Index) -> None:
    """Check sources of which only some bytes are read: byte by byte, for the lanes that read."""
    memory = frame.batch.memory
    addresses = frame.expand(registers[slot].view(np.uint64))
    for byte in range(int(length.max())):
        reading = length > byte
        prepared = memory.prepare(addresses[reading])
        memory.check_read(prepared, offset + byte, 1)


TABLE: dict[str, Callable[[Decoder], None]] = {"cp": async_copy}
