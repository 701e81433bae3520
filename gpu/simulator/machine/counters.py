"""What kernels do, counted exactly: no clock, no noise, the same on every machine.

Examples
--------
>>> from gaugeblock.gpu.simulator import counting
>>> with counting() as counters:
...     pass  # launch kernels here
>>> counters.launches
0
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.machine.program import Program
from gaugeblock.gpu.simulator.machine.segment import Segment
from gaugeblock.gpu.simulator.state.frame import Blocks, Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

Result = TypeVar("Result")

_SECTOR = 32
_BANKS = 32
_WINDOW = 1 << 20
"""Sectors that are looked at together."""
_FAR = 1 << 45
"""More sectors, and words, than there are addresses for."""


@dataclass
class Traffic:
    """Traffic with one memory, in one direction.

    Attributes
    ----------
    requests : int
        Instructions, counted per warp.
    asked : int
        Bytes that threads asked for.
    moved : int
        Bytes that move: 32-byte sectors for global memory, each counted once per request; as asked for the
        others.
    wavefronts : int
        Shared memory only: passes that a request takes; beyond the first (and one more for each further 128
        bytes) they are bank conflicts.
    conflicts : int
        Those extra passes.
    """

    requests: int = 0
    asked: int = 0
    moved: int = 0
    wavefronts: int = 0
    conflicts: int = 0


@dataclass
class Counters:
    """Counts over all launches since they began.

    Attributes
    ----------
    launches, blocks, threads : int
        How much was launched.
    instructions : Counter
        Executed instructions by spelling (``fma.rn.f32``), counted per thread.
    loads, stores : dict
        `Traffic` by memory: ``global``, ``shared``, ``local``, ``const``, ``param`` (parameters read through
        a pointer).
    barriers : int
        Barriers passed, counted per block.
    """

    launches: int = 0
    blocks: int = 0
    threads: int = 0
    instructions: Counter[str] = field(default_factory=Counter)
    loads: dict[str, Traffic] = field(default_factory=dict)
    stores: dict[str, Traffic] = field(default_factory=dict)
    barriers: int = 0
    _passed: Counter[int] = field(default_factory=Counter, repr=False)
    _warps: _Warps | None = field(default=None, repr=False)

    def begin(self, program: Program, blocks: int, threads: int, shared: int) -> None:
        """Count a launch of blocks of so many threads, and bytes of shared memory."""
        self.launches += 1
        self.blocks += blocks
        self.threads += blocks * threads

    def segment(self, segment: Segment, frame: Frame) -> None:
        """Count the instructions of a straight line, and what ends it."""
        self._passed[id(segment)] += frame.count

    def end(self, segments: Iterable[Segment]) -> None:
        """Sum up the instructions of a launch."""
        for segment in segments:
            passed = self._passed[id(segment)]
            for kind, times in segment.kinds.items() if passed else ():
                self.instructions[kind] += times * passed
            if segment.source is not None and passed:
                self.instructions[segment.source.spelling] += passed
        self._passed.clear()

    def access(
        self, batch: Blocks, frame: Frame, space: str, places: Index, nbytes: int, write: bool
    ) -> None:
        """Count an access."""
        table = self.stores if write else self.loads
        traffic = table.setdefault(space, Traffic())
        lanes = frame.lanes
        if self._warps is None or self._warps.lanes is not lanes:
            self._warps = _Warps(batch, lanes)
        warps = self._warps
        asked = nbytes * len(lanes)
        traffic.requests += len(warps.first)
        traffic.asked += asked
        where = np.broadcast_to(places, len(lanes))
        if space == "global":
            traffic.moved += _SECTOR * warps.once(_sectors, where, 1)
        elif space == "shared":
            wavefronts, least = warps.once(_wavefronts, where, nbytes)
            traffic.moved += asked
            traffic.wavefronts += wavefronts
            traffic.conflicts += wavefronts - least
        else:
            traffic.moved += asked


@dataclass(frozen=True)
class Launch:
    """A launch that ended, and what was counted of it.

    Attributes
    ----------
    kernel, ptx : str
        The kernel's name in PTX, and the text of its module.
    blocks, block_threads, shared : int
        Blocks; threads and bytes of shared memory of each.
    counters : Counters
        Of this launch alone.
    read, written : int
        Bytes of the different sectors of global memory that it read, and wrote: what moves at least,
        however good the caches are.
    call : str
        What `Launches.call` was.
    """

    kernel: str
    ptx: str
    blocks: int
    block_threads: int
    shared: int
    counters: Counters
    read: int
    written: int
    call: str


class Launches(Counters):
    """Counts each launch apart, and the different sectors that it touches.

    Attributes
    ----------
    ended : list of Launch
        Those that ended, in their order.
    call : str
        What launches are for from now on, in words of the caller.

    Examples
    --------
    >>> from gaugeblock.gpu.simulator import Launches, settings
    >>> with settings(counters=Launches()) as changed:
    ...     pass  # launch kernels here
    >>> changed.counters.ended
    []
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Launch] = []
        self.call = ""

    def begin(self, program: Program, blocks: int, threads: int, shared: int) -> None:
        """Begin a launch at nothing."""
        vars(self).update(vars(Counters()))
        super().begin(program, blocks, threads, shared)
        self._given = program.name, program.text, blocks, threads, shared
        self._touched = _Sectors(), _Sectors()

    def access(
        self, batch: Blocks, frame: Frame, space: str, places: Index, nbytes: int, write: bool
    ) -> None:
        """Count an access, and keep which sectors it touched."""
        super().access(batch, frame, space, places, nbytes, write)
        if space == "global":
            self._touched[write].add(np.atleast_1d(places) // _SECTOR)

    def end(self, segments: Iterable[Segment]) -> None:
        """Keep what was counted."""
        super().end(segments)
        of = Counters(**{each.name: getattr(self, each.name) for each in fields(Counters)})
        read, written = (_SECTOR * sectors.count() for sectors in self._touched)
        self.ended.append(Launch(*self._given, of, read, written, self.call))


class _Sectors:
    """A set of sectors: windows of memory in which each has a place."""

    def __init__(self) -> None:
        self._windows: defaultdict[int, NDArray[np.bool_]] = defaultdict(lambda: np.zeros(_WINDOW, np.bool_))

    def add(self, sectors: Index) -> None:
        first, last = int(sectors.min()) // _WINDOW, int(sectors.max()) // _WINDOW
        for number in (first,) if first == last else np.unique(sectors // _WINDOW).tolist():
            inside = sectors if first == last else sectors[sectors // _WINDOW == number]
            self._windows[number][inside - number * _WINDOW] = True

    def count(self) -> int:
        return sum(int(np.count_nonzero(window)) for window in self._windows.values())


class _Warps:
    """The warps of some lanes, and each lane's place among those of its warp that are there."""

    def __init__(self, batch: Blocks, lanes: Index) -> None:
        self.lanes = lanes
        warp = batch.warp_place[lanes] // WARP
        new = np.diff(warp, prepend=-1) != 0
        self.first = np.flatnonzero(new)
        self.number = np.cumsum(new) - 1
        self.whole = len(lanes) == len(self.first) * WARP
        self.place = np.arange(len(lanes)) - self.first[self.number]
        self._known: dict[tuple[Any, ...], Any] = {}

    def once(self, count: Callable[[_Warps, Index, int], Result], places: Index, nbytes: int) -> Result:
        """Count what an access takes, or remember: a loop's accesses differ by a distance only."""
        start = int(places[0])
        key = count, nbytes, start % _SECTOR, hash((places - start).tobytes())
        if key not in self._known:
            self._known[key] = count(self, places, nbytes)
        found: Result = self._known[key]
        return found


def _sectors(warps: _Warps, places: Index, nbytes: int) -> int:
    """Count the sectors that each warp touches."""
    return len(_different(warps.number, warps.whole, places // _SECTOR))


def _different(group: Index, whole: bool, values: Index) -> Index:
    """Return the different values of each group, each with ``_FAR`` times the number of its group.

    If the groups are `whole`, they have 32 values each, and sorting them one by one is faster.
    """
    keys = group * _FAR + values
    if (np.diff(keys) < 0).any():  # not so where neighbours touch neighbours
        keys = np.sort(keys.reshape(-1, WARP), axis=1).reshape(-1) if whole else np.sort(keys)
    found: Index = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
    return found


def _wavefronts(warps: _Warps, places: Index, nbytes: int) -> tuple[int, int]:
    """Return passes through shared memory and how few would do.

    A warp's 4-byte words go through 32 banks, in one pass if no two different words share a bank. Accesses
    of 8 and 16 bytes go by halves and quarters of the warp.
    """
    words = max(nbytes // 4, 1)
    group = warps.number * words + warps.place * words // WARP  # which half or quarter of the warp
    number = places // 4
    if words > 1:
        group = np.repeat(group, words)
        number = (number[:, None] + np.arange(words)).reshape(-1)
    keys = _different(group, warps.whole, number)
    load = np.bincount(keys // _FAR * _BANKS + keys % _BANKS)
    load = np.append(load, np.zeros(-len(load) % _BANKS, load.dtype)).reshape(-1, _BANKS)
    most = load.max(1)
    return int(most.sum()), int(np.count_nonzero(most))
