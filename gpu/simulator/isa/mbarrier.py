"""``mbarrier``: barriers as objects in shared memory, at which threads arrive now and wait later.

Every operation is atomic. A wait looks and says whether the phase is over; a thread that looks in vain lets
others go on. Copies that a barrier tracks (``cp.async.mbarrier.arrive``) are complete when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.access import emit, find_address, locate, read_space
from gaugeblock.gpu.simulator.isa.action import Pure
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.numbers.types import U64, Array
from gaugeblock.gpu.simulator.ptx.operands import Arg
from gaugeblock.gpu.simulator.ptx.syntax import Integer
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import Index
from gaugeblock.gpu.simulator.state.mbarrier import MOST, Phases

Operation = Callable[[int, int, int], tuple[int, int]]
"""Of a word, an operand and a lane of the batch: the new word, and a result."""


def _emit(
    d: Decoder,
    operation: Operation,
    address: Arg,
    operand: int,
    result: int | None,
    *,
    initialises: bool = False,
    prepare: Callable[[Frame, Index], None] | None = None,
) -> None:
    """Emit an operation that lanes execute one after the other, on the objects at their addresses."""
    space = read_space(d.modifiers)
    d.modifiers.done()
    source = d.instruction
    slot, offset, space = find_address(d, address, space)
    is_predicate = result is not None and d.types[result] == "pred"

    def access(registers: Registers, frame: Frame, where: str, slot: int) -> None:
        if where != "shared":
            raise LaneFault("invalid barrier", "an mbarrier that is not in shared memory", 0)
        memory, prepared = locate(frame, where, slot)
        if initialises:
            memory.check_write(prepared, offset, 8)
        else:
            memory.check_read(prepared, offset, 8)
        places = frame.expand(prepared.offset + offset)
        if prepare is not None:
            prepare(frame, places)
        words = memory.bytes.view(False, 8, 1)
        given = frame.expand(registers[operand]).tolist()
        found = np.empty(frame.count, U64)
        lane = 0
        try:
            for lane, (row, number) in enumerate(zip((places >> 3).tolist(), given, strict=True)):
                words[row], found[lane] = operation(int(words[row]), number, int(frame.lanes[lane]))
        except LaneFault as fault:
            fault.lane = lane
            raise
        if result is not None:
            registers[result] = found != 0 if is_predicate else found
        if frame.batch.watching:
            frame.batch.watch(frame, source, where, places, 8, write=True, atomic=not initialises)
        if is_predicate:
            if found.any():
                frame.batch.meet(frame.lanes[found != 0])
            if not found.all():
                frame.batch.rest()

    writes = () if result is None else (result,)
    emit(d, access, slot, offset, space, (operand,), writes)


def _initialise(d: Decoder, address: Arg, count: Arg) -> None:
    def first(word: int, count: int, lane: int) -> tuple[int, int]:
        if not 1 <= count <= MOST:
            raise LaneFault("invalid barrier", f"an mbarrier of {count} arrivals, allowed are 1 to {MOST}", 0)
        return Phases(count, count).word, 0

    _emit(d, first, address, d.source(count, "u32"), None, initialises=True)


def _invalidate(d: Decoder, address: Arg) -> None:
    def last(word: int, unused: int, lane: int) -> tuple[int, int]:
        Phases.of(word)
        return 0, 0

    _emit(d, last, address, d.number(0, "u32"), None)


def _arrive(d: Decoder, operands: list[Arg], *, drop: bool) -> None:
    """``arrive`` and ``arrive_drop``; with ``.noComplete`` the phase must not end by it."""
    incomplete = d.modifiers.flag("noComplete")
    state, address, *count = operands

    def arrive(word: int, count: int, lane: int) -> tuple[int, int]:
        barrier = Phases.of(word)
        if barrier.arrive(count, drop=drop) and incomplete:
            raise LaneFault("invalid barrier", "an arrival with .noComplete that completes the phase", 0)
        return barrier.word, word

    operand = d.source(count[0] if count else Integer(1), "u32")
    d.modifiers.type("b64")
    _emit(d, arrive, address, operand, d.destination(state, "b64"))


def _wait(d: Decoder, operands: list[Arg]) -> None:
    """``test_wait`` and ``try_wait``, for the phase of a state or of a parity; time limits are not needed."""
    parity = d.modifiers.flag("parity")
    d.modifiers.type("b64")
    target, address, state = operands[:3]

    def look(word: int, given: int, lane: int) -> tuple[int, int]:
        barrier = Phases.of(word)
        return word, barrier.passed_parity(given) if parity else barrier.passed(given)

    operand = d.source(state, "u32" if parity else "b64")
    _emit(d, look, address, operand, d.destination(target, "pred"), prepare=_land)


def _land(frame: Frame, places: Index) -> None:
    """Complete the copies that barriers at these places track, and let them arrive."""
    words = frame.batch.shared.bytes.view(False, 8, 1)
    landed = frame.batch.copies.land(np.unique(places))
    for place in landed.tolist():
        barrier = Phases.of(int(words[place >> 3]))
        barrier.arrive(1)
        words[place >> 3] = barrier.word


def mbarrier(d: Decoder) -> None:
    """``mbarrier`` in the forms of compute capability 8.0, and ``try_wait``."""
    m = d.modifiers
    operands = list(d.instruction.operands)
    action = m.one_of("init", "inval", "arrive", "arrive_drop", "test_wait", "try_wait", "pending_count")
    if action == "pending_count":
        m.type("b64")
        m.done()
        source = d.source(operands[1], "b64")
        target = d.destination(operands[0], "b32")
        d.emit(Pure(_pending, (source,), (U64,), target), guarded=True)
    elif action == "init":
        m.type("b64")
        _initialise(d, operands[0], operands[1])
    elif action == "inval":
        m.type("b64")
        _invalidate(d, operands[0])
    elif action in ("arrive", "arrive_drop"):
        _arrive(d, operands, drop=action == "arrive_drop")
    else:
        _wait(d, operands)


def _pending(state: Array) -> Array:
    return (state & np.uint64(MOST)).astype(np.uint32)


def track_copies(d: Decoder) -> None:
    """``cp.async.mbarrier.arrive``: when all copies of this thread so far have come, the barrier is told.

    That is an arrival more than the barrier waits for, unless ``.noinc`` says that it is one of them.
    """
    included = d.modifiers.flag("noinc")
    d.modifiers.type("b64")

    def ask(word: int, unused: int, lane: int) -> tuple[int, int]:
        barrier = Phases.of(word)
        if not included:
            barrier.missing += 1
        return barrier.word, 0

    def note(frame: Frame, places: Index) -> None:
        frame.batch.copies.track(frame.lanes, places)

    _emit(d, ask, d.instruction.operands[0], d.number(0, "u32"), None, prepare=note)


TABLE: dict[str, Decode] = {"mbarrier": mbarrier}
