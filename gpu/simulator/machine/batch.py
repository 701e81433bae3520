"""A batch: thread blocks whose threads run together, their memories, and what is constant for a launch."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np

from gaugeblock.gpu.simulator.checks.global_races import GlobalRaces
from gaugeblock.gpu.simulator.checks.races import Races
from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.machine.invariant import RUNTIME
from gaugeblock.gpu.simulator.machine.program import Program
from gaugeblock.gpu.simulator.machine.settings import Settings
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.ptx.syntax import Location
from gaugeblock.gpu.simulator.state.copies import Copies
from gaugeblock.gpu.simulator.state.frame import Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Dim, Index, geometry
from gaugeblock.gpu.simulator.state.memory import Allocation, GlobalMemory, Prepared, Window, misplaced

RESERVED_SHARED = 1024
"""Bytes of a block's shared memory that CUDA's own functions use; here they lie behind the kernel's."""
_CYCLES = 64


def _beyond(size: int) -> int:
    """Return where something begins behind so many bytes."""
    return -(-size // 128) * 128


class Batch:
    """Some thread blocks of a launch, about to run."""

    def __init__(
        self,
        program: Program,
        memory: GlobalMemory,
        settings: Settings,
        grid: Dim,
        block: Dim,
        first: int,
        blocks: int,
        dynamic_shared: int,
        parameters: bytes,
        addresses: Mapping[str, int],
        holders: tuple[dict[int, tuple[int, ...]], list[Allocation]] = ({}, []),
        global_races: GlobalRaces | None = None,
    ) -> None:
        self.program, self.memory, self.settings = program, memory, settings
        self.grid, self.block, self.first, self.blocks = grid, block, first, blocks
        self.parameters, self.addresses, self.ticks, self.resting = parameters, addresses, 0, False
        self.place = place = geometry(block, blocks)
        self.count = len(place.lanes)
        self.all_lanes, self.lane_of = place.lanes, place.lane_of
        self.warps, self.warp_place, self.whole_warps = place.warps, place.warp_place, place.whole_warps
        self.shared_bytes = program.shared_bytes(dynamic_shared)
        reserved = any(name.startswith("%reserved_smem") for name in program.specials)
        if reserved:
            self.shared_bytes = _beyond(self.shared_bytes) + RESERVED_SHARED
        self.shared = Window("shared", self.shared_bytes, blocks, None)
        if reserved:
            self.shared.give(self.shared_bytes - RESERVED_SHARED)
        self.shared.all_written = settings.shared_written
        if blocks > 1 and self.shared_bytes:
            self.shared.base = place.block_of * self.shared.stride
        self.local = Window("local", program.local, self.count if program.local else 0, None)
        if program.local:
            self.local.base = place.lanes * self.local.stride
        self.copies = Copies(self.count, memory, self.shared, self.watch_lanes)
        may_race = settings.races != "off" and self.shared_bytes and place.threads > 1
        self.races: Races | None = None
        if may_race:
            self.races = Races(self, settings.same_bits, settings.other_bits, settings.warp_synchronous)
        self.global_races = global_races
        self.holders, self.allocations = holders if settings.variables != "off" else ({}, [])
        if global_races is not None:
            global_races.begin(self, first * place.threads)
        self.watchers = [each for each in (self.races, global_races) if each is not None]
        self.found: list[LaneFault] = []
        self.wanted = settings.faults
        self.counters, self.tensor_core = settings.counters, settings.tensor_core
        self.remarks: dict[tuple[Location, str], tuple[Lowered, Lowered | None]] = {}
        self.watching = bool(self.watchers) or self.counters is not None
        self.heard: Container[int] | None = () if global_races is None else global_races.watched
        if self.counters is not None:
            self.heard = None
        self.frame = Frame(self, None, self._registers(dynamic_shared, parameters), self.count)

    def _registers(self, dynamic_shared: int, parameters: bytes) -> dict[int, Array]:
        program = self.program
        key = program.invariants.key(
            (self.grid, self.block, self.first, self.blocks, dynamic_shared), parameters
        )
        fixed = program.invariants.find(key)
        if fixed is None:
            registers = dict(enumerate(program.registers))
            for slot, offset, dtype in program.invariants.sizes:
                registers[slot] = np.frombuffer(parameters, dtype, 1, offset)
            for name, slot in program.specials.items():
                registers[slot] = self._special(name, dynamic_shared)
            fixed = program.invariants.keep(key, registers, self.count)
        self.fixed, registers = fixed, dict(fixed.registers)
        for slot, offset, dtype in program.invariants.others:
            registers[slot] = np.frombuffer(parameters, dtype, 1, offset)
        for name in RUNTIME:
            if name in program.specials:
                registers[program.specials[name]] = self._special(name, dynamic_shared)
        for target, source in program.invariants.copies:
            registers[target] = registers[source]
        return registers

    def _special(self, name: str, dynamic_shared: int) -> Array:
        base, _, axis = name[1:].partition(".")
        lane = self.lane_of.view(np.uint32)
        if axis:
            at = "xyz".index(axis)
            if base == "tid":
                return self.place.thread[at] if self.block[at] > 1 else np.zeros(1, np.uint32)
            if base == "ctaid" or base == "clusterid":
                return self._block_index(at)
            one = {"ntid": self.block[at], "nctaid": self.grid[at], "nclusterid": self.grid[at],
                   "cluster_ctaid": 0, "cluster_nctaid": 1}[base]  # fmt: skip
            return np.array([one], np.uint32)
        if base == "laneid":
            return lane
        if base == "warpid":
            return (self.warp_place // WARP % -(-self.place.threads // WARP)).astype(np.uint32)
        if base.startswith("lanemask"):
            bit = np.uint32(1) << lane
            return {
                "eq": bit,
                "lt": bit - np.uint32(1),
                "le": (bit - np.uint32(1)) | bit,
                "gt": ~((bit - np.uint32(1)) | bit),
                "ge": ~(bit - np.uint32(1)),
            }[base[-2:]]
        workspace, end = self.addresses.get("%workspace", 0), self.program.shared_bytes(dynamic_shared)
        fixed = {
            "nwarpid": 64,
            "nsmid": 1,
            "dynamic_smem_size": dynamic_shared,
            "total_smem_size": end,
            "aggr_smem_size": self.shared_bytes,
            "cluster_nctarank": 1,
            "parameters": self.addresses.get("%parameters", 0),
            "envreg1": workspace >> 32,
            "envreg2": workspace & 0xFFFFFFFF,
            **dict.fromkeys(("reserved_smem_offset_begin", "reserved_smem_offset_0"), _beyond(end)),
            **dict.fromkeys(("reserved_smem_offset_end", "reserved_smem_offset_cap"), self.shared_bytes),
            "reserved_smem_offset_1": _beyond(end) + RESERVED_SHARED // 2,
        }
        wide = base in ("parameters", "gridid")
        return np.array([fixed.get(base, 0)], np.uint64 if wide else np.uint32)

    def tick(self) -> int:
        """Return the time in cycles, or what stands for them: it goes on with every look."""
        self.ticks += _CYCLES
        return self.ticks

    def _block_index(self, axis: int) -> Array:
        gx, gy, gz = self.grid
        step = (1, gx, gx * gy)[axis]
        if self.blocks == 1:
            return np.array([self.first // step % self.grid[axis]], np.uint32)
        if self.grid[axis] == 1:
            return np.zeros(1, np.uint32)
        number = self.first + self.place.block_of
        number = number // step if step > 1 else number
        last = step * self.grid[axis] == gx * gy * gz
        return (number if last else number % self.grid[axis]).astype(np.uint32)

    # Naming lanes.

    def thread_name(self, lane: int) -> tuple[int, int, int]:
        """Return ``threadIdx`` of a lane."""
        x, y, z = self.place.thread
        return int(x[lane]), int(y[lane]), int(z[lane])

    def block_name(self, lane: int) -> tuple[int, int, int]:
        """Return ``blockIdx`` of a lane."""
        number = self.first + int(self.place.block_of[lane])
        gx, gy, _ = self.grid
        return number % gx, number // gx % gy, number // (gx * gy)

    # Watching.

    def meet(self, lanes: Index) -> None:
        """Let the race detector look at what the blocks of these lanes have done, and forget it.

        What one thread did before it released something, and another after it acquired that, is in order.
        """
        if self.races is not None:
            blocks = np.zeros(self.blocks, np.bool_)
            blocks[self.place.block_of[lanes]] = True
            self.races.barrier(blocks)

    def rest(self) -> None:
        """Tell the scheduler that the threads that run wait for others."""
        self.resting = True

    def remark(self, source: Lowered, what: str, other: Lowered | None = None) -> None:
        """Keep a note about an instruction for the user, once; ``{other}`` in it is another's line."""
        self.remarks.setdefault((source.location, what), (source, other))

    def parameter(self, address: int, nbytes: int) -> bytes | None:
        """Return what lies at an address in the kernel's parameters; None if it has to be looked at."""
        at = address - self.addresses.get("%parameters", 0)
        if at % nbytes or not 0 <= at <= len(self.parameters) - nbytes or self.counters is not None:
            return None
        return self.parameters[at : at + nbytes]

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
        """Tell the race detector and the counters of an access by a frame; of a store, what it stored."""
        if space == "shared":
            if self.races is not None:
                self.races.note(frame, source, places, nbytes, write, atomic, tuple(values))
        elif space == "global" and self.global_races is not None and id(source) in self.global_races.watched:
            self.global_races.note(frame.lanes, source, places, nbytes, tuple(values))
        if self.counters is not None:
            self.counters.access(self, frame, space, places, nbytes, write)

    def confine(
        self, frame: Frame, source: Lowered, prepared: Prepared, offset: int, nbytes: int,
        holder: Allocation | None,
    ) -> None:  # fmt: skip
        """Hold an access to the allocations that its address was computed from; `holder` is where it went."""
        numbers = self.holders.get(id(source), ())
        for number in numbers:
            if self.allocations[number] is holder:
                return
        if not numbers:
            return
        fault = misplaced(prepared, offset, nbytes, [self.allocations[number] for number in numbers])
        if fault is not None:
            frame.report(fault, source)

    def fence(self, lanes: Index, scope: int) -> None:
        """Tell the race detector of a fence."""
        if self.global_races is not None:
            self.global_races.fence(lanes, scope)

    def report(self, fault: LaneFault) -> None:
        """Raise a fault, note it, or go on: as the settings say."""
        level = getattr(self.settings, fault.check) if fault.check else "fault"
        if level == "note" and fault.source is not None:
            self.remark(fault.source, fault.detail, fault.other)
        elif level == "fault":
            self.found.append(fault)
            if len(self.found) >= self.wanted:
                raise fault

    def name(self, thread: int) -> str:
        """Return what a thread of the launch is called."""
        block, within = divmod(thread, self.place.threads)
        gx, gy, _ = self.grid
        bx, by, _ = self.block
        who = within % bx, within // bx % by, within // (bx * by)
        return f"thread {who} of block {(block % gx, block // gx % gy, block // (gx * gy))}"

    def watch_lanes(
        self, lanes: Index, source: Lowered, space: str, places: Index, nbytes: int, *, write: bool
    ) -> None:
        """Tell the race detector of an access by these lanes."""
        if self.races is not None and space == "shared":
            self.races.note_lanes(lanes, source, places, nbytes, write)
