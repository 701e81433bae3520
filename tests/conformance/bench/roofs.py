"""Rooflines: what a processor was measured to do in this run, what a GPU's data sheet says."""

from __future__ import annotations

import functools
import itertools
from typing import Any, Final

import numpy as np

from gaugeblock.conformance.bench.turns import Roof, Side, best
from gaugeblock.gpu.runtime.device import device
from gaugeblock.gpu.runtime.roofline import GPUS

MEBI: Final = 2**20
CALLS: Final = 20
"""Launches between two readings of the clock on a GPU."""


@functools.cache
def host_roof(dtype: str) -> Roof:
    """Measure what this processor can do: copy arrays that no cache holds, and multiply matrices in BLAS."""
    wide = np.dtype(np.float64 if dtype == "float64" else np.float32)
    source, target = np.ones(64 * MEBI, np.uint8), np.empty(64 * MEBI, np.uint8)
    speeds = [_matmul_speed(size, wide) for size in (128, 256, 512, 1024)]
    return Roof(
        max(speeds),
        2 * source.nbytes / best(lambda: np.copyto(target, source)),
        f"measured in this run: NumPy's fastest {wide.name} matmul of 128³ to 1024³, copy of 64 MiB",
    )


def _matmul_speed(size: int, dtype: np.dtype[Any]) -> float:
    square = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    return 2 * size**3 / best(lambda: square @ square)


@functools.cache
def gpu_roof(dtype: str) -> Roof:
    """Take arithmetic from the vendor's data sheet and measure the bandwidth of a copy."""
    copy = device_copy(512 * MEBI)
    copy.run()
    bandwidth = 512 * MEBI * copy.repeats / best(copy.run)
    name = device().name
    known = [gpu for gpu in GPUS.values() if gpu.name in name.replace(" ", "")]
    if not known:
        return Roof(float("inf"), bandwidth, f"copy on the device, measured in this run; no peak for {name}")
    peak = known[0].peaks[{"float32": "fp32", "float16": "tensor fp16", "bfloat16": "tensor bf16"}[dtype]]
    return Roof(peak, bandwidth, f"{known[0].name}'s data sheet; copy on the device, measured in this run")


def device_copy(nbytes: int) -> Side:
    """Prepare a copy from device memory to device memory: the peer of what only moves data."""
    # Half of the traffic is read, half written, as by a function of one array.
    length = max(1, nbytes // 2)
    blocks = [device().driver.mem_alloc(length) for _ in range(2 * rotation(nbytes))]
    turns = itertools.cycle(list(zip(blocks[::2], blocks[1::2], strict=True)))

    def run() -> None:
        for _ in range(CALLS):
            target, source = next(turns)
            device().driver.memcpy_dtod(target, source, length)
        device().driver.Context.synchronize()

    return Side("device copy of as many bytes", run, lambda: np.empty(0), CALLS)


def rotation(nbytes: int) -> int:
    """Return how many sets of operands fill twice the second-level cache."""
    if device().simulated:
        return 1
    driver = device().driver
    cache = driver.Context.get_device().get_attribute(driver.device_attribute.L2_CACHE_SIZE)
    return max(1, -(-2 * int(cache) // nbytes))
