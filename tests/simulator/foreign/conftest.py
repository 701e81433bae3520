"""Kernels of other languages: compiled to PTX by their own compilers, which need no GPU, and run here."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver

Launch = Callable[..., None]


@pytest.fixture
def launch() -> Launch:
    """Run ``launch(ptx, grid, block, *args)``: arrays go as pointers, and what is written comes back."""

    def run(ptx: str, grid: Any, block: Any, *args: Any, shared: int = 0, entry: str = "") -> None:
        name = next(each for each in re.findall(r"\.entry\s+(\S+?)\(", ptx) if re.search(entry, each))
        function = driver.module_from_buffer(ptx).get_function(name)
        if shared > 48 * 1024:
            function.set_attribute(driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        places = [driver.to_device(arg) if isinstance(arg, np.ndarray) else None for arg in args]
        values = [
            arg if place is None else np.uint64(int(place)) for arg, place in zip(args, places, strict=True)
        ]
        packed = struct.pack("@" + "".join(v.dtype.char for v in values), *(v.item() for v in values))
        sizes = [tuple(np.atleast_1d(size).tolist()) for size in (grid, block)]
        function.launch(*sizes, packed, shared)
        for arg, place in zip(args, places, strict=True):
            if place is not None:
                driver.memcpy_dtoh(arg, place)

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    """Return random numbers that are the same in every run."""
    return np.random.default_rng(2027)
