"""Where the lanes of a batch of thread blocks lie: threads, warps, blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WARP = 32

Index = NDArray[np.intp]
Dim = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the lanes of a batch lie: constant for a block shape and a number of blocks, hence cached."""

    threads: int
    lanes: Index
    lane_of: NDArray[np.int32]
    block_of: Index
    thread: tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]
    warps: int
    warp_place: Index
    whole_warps: bool


@lru_cache(maxsize=64)
def geometry(block: Dim, blocks: int) -> Geometry:
    """Give the lanes of `blocks` thread blocks their numbers: x fastest, block after block."""
    threads = block[0] * block[1] * block[2]
    lanes = np.arange(threads * blocks)
    block_of, within = np.divmod(lanes, threads)
    z, rest = np.divmod(within, block[0] * block[1])
    y, x = np.divmod(rest, block[0])
    per_block = -(-threads // WARP)
    return Geometry(
        threads=threads,
        lanes=lanes,
        lane_of=(within % WARP).astype(np.int32),
        block_of=block_of,
        thread=(x.astype(np.uint32), y.astype(np.uint32), z.astype(np.uint32)),
        warps=per_block * blocks,
        warp_place=block_of * (per_block * WARP) + within,
        whole_warps=threads % WARP == 0,
    )
