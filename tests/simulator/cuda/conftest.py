"""A corpus of CUDA C++: each test is a kernel ``k`` and what it means in NumPy.

Each runs in lockstep as compiled for compute capability 9.0, and warp after warp as for 8.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver, settings

Launch = Callable[..., None]


@pytest.fixture(params=[("lockstep", 90), ("warps", 80)], ids=lambda param: param[0])
def cuda(request: pytest.FixtureRequest, compiled: Callable[..., bytes]) -> Iterator[Launch]:
    """Run ``cuda(text, grid, block, *args)``: arrays are copied to the device and back."""
    order, arch = request.param

    def launch(
        text: str, grid: Any, block: Any, *args: Any, shared: int = 0, cooperative: bool = False
    ) -> None:
        function = driver.module_from_buffer(compiled(text, arch)).get_function("k")
        if shared > 48 * 1024:
            function.set_attribute(driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        places = [driver.to_device(arg) if isinstance(arg, np.ndarray) else None for arg in args]
        values = [
            place if place is not None else np.int32(arg) if isinstance(arg, int) else arg
            for arg, place in zip(args, places, strict=True)
        ]
        shape, threads = (tuple(np.atleast_1d(size).tolist()) for size in (grid, block))
        function(*values, grid=shape, block=threads, shared=shared, cooperative=cooperative)
        for arg, place in zip(args, places, strict=True):
            if place is not None:
                driver.memcpy_dtoh(arg, place)

    with settings(order=order):
        yield launch


@pytest.fixture
def rng() -> np.random.Generator:
    """Return random numbers that are the same in every run."""
    return np.random.default_rng(2026)
