"""Who is timed: the reference, NumPy, and the kernels on whatever device answers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
from measuring import Array

from gaugeblock import gpu, reference
from gaugeblock.conformance.adapters import numpy as numpy_adapter
from gaugeblock.conformance.bench.roofs import CALLS, gpu_roof, host_roof, rotation
from gaugeblock.conformance.bench.turns import Roof, Side, Work
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, device
from gaugeblock.gpu.simulator import counting


@dataclass(frozen=True)
class Contender:
    """An implementation in one type."""

    name: str
    dtype: str

    @property
    def on_device(self) -> bool:
        """Whether its kernels run on a device, simulated or not."""
        return self.name not in _ON_HOST

    @property
    def simulated(self) -> bool:
        """Whether that is the simulated device."""
        return self.on_device and device().simulated

    def declared(self, operation: str) -> Mapping[str, Any]:
        """Return what it declares about the arithmetic of an operation."""
        return gpu.arithmetic.get(operation, {}).get(self.dtype, {}) if self.on_device else {}

    def random(self, *shape: int, seed: int) -> Array:
        """Return normal numbers in its type: with zeros a GPU would draw less power and run faster."""
        values = np.random.default_rng(seed).standard_normal(shape, np.float32)
        return values.astype(DTYPES.get(self.dtype, np.float64))

    def side(self, operation: str, arrays: Sequence[Array], **parameters: Any) -> Side:
        """Prepare an operation."""
        if self.on_device:
            return _device_side(f"gaugeblock.gpu.{operation}", getattr(gpu, operation), arrays, parameters)
        function = functools.partial(getattr(_ON_HOST[self.name], operation), **parameters)
        return host_side(f"{self.name} {operation}", function, arrays)

    def roof(self) -> Roof | None:
        """Return its roofline; the time of a simulated device has none."""
        if self.simulated:
            return None
        return gpu_roof(self.dtype) if self.on_device else host_roof(self.dtype)


_ON_HOST: Final[Mapping[str, ModuleType]] = {"reference": reference, "numpy": numpy_adapter}


def contenders() -> list[Contender]:
    """Return all of them; the first question to the device decides which one answers."""
    kernels = "simulator" if device().simulated else "gpu"
    narrow = [Contender(name, dtype) for name in ("numpy", kernels) for dtype in DTYPES]
    return [Contender("reference", "float64"), *narrow]


def counts(own: Side, work: Work) -> dict[str, Any]:
    """Count what one call does on the simulated device: unlike its time, the same on every machine."""
    with counting() as counters:
        own.run()
    instructions = counters.instructions.total()
    fused = sum(times for name, times in counters.instructions.items() if name.startswith("fma"))
    traffic = [*counters.loads.items(), *counters.stores.items()]
    moved = sum(part.moved for memory, part in traffic if memory == "global")
    return {
        "instructions": instructions,
        "share_of_fused_multiply_adds": fused / instructions,
        "global_bytes": moved,
        "global_bytes_over_minimum": moved / work.nbytes,
        "shared_bank_conflicts": sum(part.conflicts for memory, part in traffic if memory == "shared"),
    }


# On the host ---------------------------------------------------------------------------------------------


def host_side(name: str, function: Callable[..., Array], arrays: Sequence[Array]) -> Side:
    """Prepare a function of NumPy arrays."""
    results: list[Array] = []

    def run() -> None:
        results[:] = [function(*arrays)]

    return Side(name, run, lambda: results[-1])


# On the device -------------------------------------------------------------------------------------------


def _device_side(
    name: str, function: Callable[..., Any], arrays: Sequence[Array], parameters: Mapping[str, Any]
) -> Side:
    """Prepare a function of arrays on the device; they rotate, so that its cache does not hold them."""
    results = function(*arrays, **parameters)
    nbytes = results.nbytes + sum(array.nbytes for array in arrays)
    sets = [
        ([gpu.to_device(array) for array in arrays], DeviceArray(results.shape, results.dtype))
        for _ in range(rotation(nbytes))
    ]
    turns = itertools.cycle(sets)
    repeats = 1 if device().simulated else CALLS
    last = [sets[0][1]]

    def run() -> None:
        for _ in range(repeats):
            inputs, last[0] = next(turns)
            function(*inputs, out=last[0], **parameters)
        device().driver.Context.synchronize()

    return Side(name, run, lambda: last[0].get(), repeats)
