"""Launching a kernel: checks of the configuration, batches of thread blocks, faults with names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

import numpy as np

from gaugeblock.gpu.simulator.checks.global_races import GlobalRaces
from gaugeblock.gpu.simulator.checks.grounds import Plan, planned
from gaugeblock.gpu.simulator.errors import UNSUPPORTED, Fault, LaunchError, Unsupported
from gaugeblock.gpu.simulator.machine.batch import Batch
from gaugeblock.gpu.simulator.machine.program import Program
from gaugeblock.gpu.simulator.machine.scheduler import Scheduler, Stopped
from gaugeblock.gpu.simulator.machine.settings import current, note
from gaugeblock.gpu.simulator.machine.settings import settings as changing
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.state.geometry import Dim
from gaugeblock.gpu.simulator.state.memory import BASE, Allocation, GlobalMemory, Snapshot

MAX_THREADS = 1024
MAX_BLOCK: Dim = (1024, 1024, 64)
MAX_GRID: Dim = (2**31 - 1, 65535, 65535)
MAX_STATIC_SHARED = 48 * 1024
RESIDENT = 1 << 18
"""Threads whose blocks run side by side where blocks wait for each other: about as many as on a GPU."""
MAX_SHARED = 227 * 1024
_WORKSPACE = 64
"""Bytes, all zero, by which the blocks of a cooperative launch synchronise: ``%envreg1`` and 2 say where."""
INTERLEAVED = 1 << 8
"""Threads whose blocks run side by side, and at least two blocks, where warps or lanes run one at a time."""


def launch(
    program: Program,
    files: Mapping[int, str],
    memory: GlobalMemory,
    grid: Dim,
    block: Dim,
    parameters: bytes,
    dynamic_shared: int = 0,
    allowed_dynamic: int = MAX_STATIC_SHARED,
    cooperative: bool = False,
) -> None:
    """Run a kernel to its end: in one order, or in several from the same memory (`Settings.orders`).

    The blocks of a `cooperative` launch may wait for each other.

    Raises
    ------
    LaunchError
        The configuration exceeds the device's limits.
    Fault
        The kernel did something wrong.
    Unsupported
        The kernel reached something that the simulator does not know.
    """
    _check(program, grid, block, dynamic_shared, allowed_dynamic)
    run = partial(_launch, program, files, memory, grid, block, parameters, dynamic_shared, cooperative)
    orders = current().orders
    if not orders:
        run()
        return
    before = memory.snapshot()
    for order in orders:
        memory.restore(before)
        with changing(order=order):
            run()
        after = memory.snapshot()
        if order == orders[0]:
            first = after
        elif (difference := _difference(first, after)) and current().order_dependence != "off":
            what = f"{difference} in order {orders[0]}, another in order {order}"
            if current().order_dependence == "fault":
                raise Fault("order dependence", what, kernel=program.name, source="end of kernel")
            note(f"kernel {program.name}: {what}")


def _difference(first: list[Snapshot], other: list[Snapshot]) -> str:
    """Say where two snapshots of written memory first differ, and what is there."""
    later = {each: (now, shadow) for each, now, shadow, _ in other}
    for each, data, shadow, _ in first:
        now, shadow_now = later.get(each, (data, shadow))
        differ = data != now
        if shadow is not None and shadow_now is not None and not each.written:
            differ &= (shadow | shadow_now) == 3
        if differ.any():
            at = int(np.argmax(differ)) & ~3
            return f"byte {at} of {each.label} and the next hold {data[at : at + 4].tobytes().hex()}"
    return ""


def _launch(
    program: Program,
    files: Mapping[int, str],
    memory: GlobalMemory,
    grid: Dim,
    block: Dim,
    parameters: bytes,
    dynamic_shared: int,
    cooperative: bool,
) -> None:
    """Run a kernel to its end, in the order of the settings."""
    settings = current()
    threads = block[0] * block[1] * block[2]
    total = grid[0] * grid[1] * grid[2]
    together = settings.lanes // threads if settings.order == "lockstep" else INTERLEAVED // threads
    together = max(together, 1 if settings.order == "lockstep" else 2)
    if cooperative and total * threads > RESIDENT:
        raise LaunchError(
            f"too many blocks in a cooperative launch: {total} of {threads} threads, "
            f"of which {RESIDENT} are resident at most"
        )
    if program.waits_for_blocks or cooperative:
        together = max(together, RESIDENT // threads)
    starts = list(range(0, total, together))
    if settings.order != "lockstep":
        np.random.default_rng(settings.seed).shuffle(starts)
    contents = {"%parameters": parameters} if "%parameters" in program.specials else {}
    if cooperative:
        contents["%workspace"] = bytes(_WORKSPACE)
    own = {
        name: memory.allocate(len(data), f"{name[1:]} of {program.name}") for name, data in contents.items()
    }
    addresses = {name: BASE + place.start for name, place in own.items()}
    for name, data in contents.items():
        memory.host_range(addresses[name], len(data), True)[:] = np.frombuffer(data, np.uint8)
    plan, places = planned(memory, program.traffic, parameters, program.synchronises)
    stored = [*memory.live()] if plan.stored is None else [places[number] for number in plan.stored]
    global_races = _global_races(program, plan, stored, threads, total)
    holders = plan.holders, places
    found: list[Fault | Unsupported] = []
    if settings.counters is not None:
        settings.counters.begin(program, total, threads, program.shared_bytes(dynamic_shared))
    try:
        with np.errstate(all="ignore"):
            for first in starts:
                count = min(together, total - first)
                batch = Batch(
                    program, memory, settings, grid, block, first, count, dynamic_shared, parameters,
                    addresses, holders, global_races,
                )  # fmt: skip
                batch.wanted = settings.faults - len(found)
                last = _run(batch, files)
                found += [_fault(Stopped(each, each.source, each.lane), batch, files) for each in batch.found]
                if last is not None or len(found) >= settings.faults:
                    found += [] if last is None else [last]
                    break
        if found:
            raise _together(found)
    finally:
        if settings.counters is not None:
            settings.counters.end(program.segments)
        for place in own.values():
            memory.free(place)


def _global_races(
    program: Program, plan: Plan, stored: list[Allocation], threads: int, blocks: int
) -> GlobalRaces | None:
    """Return a detector of races in global memory, if it is wanted and there is something to detect."""
    settings = current()
    if settings.global_races == "off" or threads * blocks == 1 or not plan.instructions:
        return None
    return GlobalRaces(
        plan, stored, threads, blocks, synchronises=program.synchronises,
        warp_synchronous=settings.warp_synchronous,
        same_bits=settings.same_bits, other_bits=settings.other_bits, copies=settings.copies,
    )  # fmt: skip


def _run(batch: Batch, files: Mapping[int, str]) -> Fault | Unsupported | None:
    """Run a batch, and note what it remarked; return the fault that ended it, if it is not a finding."""
    try:
        Scheduler(batch).run()
    except Stopped as stopped:
        return None if stopped.fault in batch.found else _fault(stopped, batch, files)
    for (_, what), (source, other) in batch.remarks.items():
        what = what.replace("{other}", source_line(other, files))
        note(f"{source_line(source, files)}: kernel {batch.program.name}: {what} [{source.spelling}]")
    return None


def _together(found: list[Fault | Unsupported]) -> Fault | Unsupported:
    """Return the first fault, with the others."""
    first, *others = found
    if isinstance(first, Fault):
        first.others = tuple(each for each in others if isinstance(each, Fault))
    return first


def _check(program: Program, grid: Dim, block: Dim, dynamic_shared: int, allowed_dynamic: int) -> None:
    for name, given, most in (("block", block, MAX_BLOCK), ("grid", grid, MAX_GRID)):
        for axis, size, limit in zip("xyz", given, most, strict=True):
            if not 1 <= size <= limit:
                raise LaunchError(f"invalid configuration: {name}.{axis} is {size}, allowed are 1 to {limit}")
    threads = block[0] * block[1] * block[2]
    limit = MAX_THREADS
    for directive in ("maxntid", "reqntid"):
        given_limit = program.directives.get(directive)
        if given_limit:
            limit = min(limit, int(np.prod(given_limit)))
    if threads > limit:
        raise LaunchError(
            f"too many resources requested: {threads} threads per block, {program.name} allows {limit}"
        )
    if program.shared > MAX_STATIC_SHARED:
        raise LaunchError(
            f"{program.name}: {program.shared} bytes of static shared memory, {MAX_STATIC_SHARED} allowed"
        )
    if dynamic_shared > allowed_dynamic or program.shared_bytes(dynamic_shared) > MAX_SHARED:
        raise LaunchError(
            f"invalid value: {program.shared} + {dynamic_shared} bytes of shared memory, allowed are "
            f"{allowed_dynamic} dynamic (set_attribute raises that) and {MAX_SHARED} in all"
        )


def source_line(source: Lowered | None, files: Mapping[int, str]) -> str:
    """Return ``file.cu:line`` of an instruction; for code inlined from CUDA's headers, of the call."""
    if source is None:
        return "end of kernel"
    where = source.location
    places = [(where.file, where.line), *where.callers]
    own = [place for place in places if place[0] in files and not _toolkit(files[place[0]])]
    for file, line in (*own, *places):
        if file in files:
            return f"{os.path.basename(files[file])}:{line}"
    return f"PTX line {where.ptx_line}"


def _toolkit(path: str) -> bool:
    """Whether a file is one of CUDA's headers, or of the library of a language for kernels."""
    return "/triton/language/" in path or (
        os.path.basename(os.path.dirname(path)) in ("include", "detail", "crt") and not path.endswith(".cu")
    )


def _fault(stopped: Stopped, batch: Batch, files: Mapping[int, str]) -> Fault | Unsupported:
    fault, lane = stopped.fault, stopped.lane
    detail = fault.detail
    if fault.other is not None:
        detail = detail.replace("{other}", source_line(fault.other, files))
    for number, place in enumerate(fault.places):
        detail = detail.replace(f"{{{number}}}", source_line(place, files))
    kind = Unsupported if fault.kind == UNSUPPORTED else Fault
    return kind(
        fault.kind,
        detail,
        kernel=batch.program.name,
        block=None if lane is None else batch.block_name(lane),
        thread=None if lane is None else batch.thread_name(lane),
        source=source_line(stopped.source, files),
        instruction=stopped.source.spelling if stopped.source is not None else "",
        address=fault.address,
    )
