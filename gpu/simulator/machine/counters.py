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

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from gaugeblock.gpu.simulator.machine.segment import Segment
from gaugeblock.gpu.simulator.state.frame import Blocks, Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

_SECTOR = 32
_BANKS = 32


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

    def begin(self, kernel: str, blocks: int, threads: int) -> None:
        """Count a launch."""
        self.launches += 1
        self.blocks += blocks
        self.threads += blocks * threads

    def segment(self, segment: Segment, frame: Frame) -> None:
        """Count the instructions of a straight line, and what ends it."""
        for kind, times in segment.kinds.items():
            self.instructions[kind] += times * frame.count
        if segment.source is not None:
            self.instructions[segment.source.spelling] += frame.count

    def access(
        self, batch: Blocks, frame: Frame, space: str, places: Index, nbytes: int, write: bool
    ) -> None:
        """Count an access."""
        table = self.stores if write else self.loads
        traffic = table.setdefault(space, Traffic())
        lanes = frame.lanes
        where = np.broadcast_to(places, len(lanes))
        warp = batch.warp_place[lanes] // WARP
        asked = nbytes * len(lanes)
        traffic.requests += len(np.unique(warp))
        traffic.asked += asked
        if space == "global":
            traffic.moved += _SECTOR * _distinct(warp, where // _SECTOR)
        elif space == "shared":
            wavefronts, least = _wavefronts(warp, where, nbytes)
            traffic.moved += asked
            traffic.wavefronts += wavefronts
            traffic.conflicts += wavefronts - least
        else:
            traffic.moved += asked


def _distinct(group: Index, value: Index) -> int:
    """Count distinct (group, value) pairs."""
    return len(np.unique(np.stack((group, value)), axis=1).T)


def _wavefronts(warp: Index, places: Index, nbytes: int) -> tuple[int, int]:
    """Return passes through shared memory and how few would do.

    A warp's 4-byte words go through 32 banks, in one pass if no two different words share a bank. Accesses
    of 8 and 16 bytes go by halves and quarters of the warp.
    """
    words = max(nbytes // 4, 1)
    lane = np.concatenate([np.arange(n) for n in np.bincount(np.unique(warp, return_inverse=True)[1])])
    part = lane * words // WARP  # which half or quarter of the warp
    group = np.unique(np.stack((warp, part)), axis=1, return_inverse=True)[1].reshape(-1)
    all_groups = np.repeat(group, words)
    all_words = (places[:, None] // 4 + np.arange(words)).reshape(-1)
    pairs = np.unique(np.stack((all_groups, all_words)), axis=1)
    load = np.bincount(pairs[0] * _BANKS + pairs[1] % _BANKS)
    load = np.append(load, np.zeros(-len(load) % _BANKS, load.dtype)).reshape(-1, _BANKS)
    return int(load.max(1).sum()), len(load)
