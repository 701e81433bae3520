"""``cp.async``: copies from global to shared memory that happen when somebody waits for them.

Executed at once, a kernel that forgot to wait would pass. So a copy is checked where it is issued, and
moved by the ``cp.async.wait_group`` or ``wait_all`` of the same thread; a kernel that reads earlier finds
the old contents.
"""

from __future__ import annotations

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Effect, Run
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.mbarrier import track_copies
from gaugeblock.gpu.simulator.numbers.types import U32
from gaugeblock.gpu.simulator.ptx.operands import Arg, Slot
from gaugeblock.gpu.simulator.ptx.syntax import Integer
from gaugeblock.gpu.simulator.state.copies import Pending
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import Index


def async_copy(d: Decoder) -> None:
    """``cp.async`` with its ``commit_group``, ``wait_group`` and ``wait_all``."""
    m = d.modifiers
    if not m.flag("async"):
        raise d.error("this instruction is not supported")
    if m.flag("mbarrier"):
        m.one_of("arrive")
        track_copies(d)
        return
    if m.flag("commit_group"):
        m.done()
        d.emit(Effect(_commit, (), ()), guarded=True)
        return
    if m.flag("wait_all"):
        m.done()
        d.emit(Effect(_wait(None), (), ()), guarded=True)
        return
    if m.flag("wait_group"):
        m.done()
        (count,) = d.instruction.operands
        if not isinstance(count, Integer):
            raise d.error("needs a constant")
        d.emit(Effect(_wait(count.value), (), ()), guarded=True)
        return
    _copy(d)


def _commit(registers: Registers, frame: Frame) -> None:
    frame.batch.copies.commit(frame.lanes)


def _wait(newest: int | None) -> Run:
    return lambda registers, frame: frame.batch.copies.wait(frame.lanes, newest)


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
            holder = batch.memory.check_read(where, source_offset, size)
            batch.confine(frame, instruction, where, source_offset, size, holder)
        elif wanted.any():
            _check_partial(frame, registers, source_slot, source_offset, length)
        lanes = frame.lanes
        places = frame.expand(to.offset + target_offset)
        batch.copies.issue(
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


TABLE: dict[str, Decode] = {"cp": async_copy}
