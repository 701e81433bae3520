"""Which kernels of ours a call is given to, found without computing anything; and layers that reach all.

``python tests/gpu/dispatches.py`` chooses anew the reduced layers that stand for all on a slow device, and
writes them to ``tests/conformance/problems/covering.json``. A dispatch is a kernel with its macros (tile,
pass, number of axes, vectors, variant of a row) and the flags that it is launched with.
"""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import ml_dtypes  # noqa: F401  # bfloat16 as a dtype of NumPy
import numpy as np

from gaugeblock import gpu
from gaugeblock.conformance.problems import factors, layers
from gaugeblock.conformance.problems.factors import Call, Coverage
from gaugeblock.conformance.problems.layers import LayerCall, Size
from gaugeblock.conformance.problems.problem import Array, Layout, Problem
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray
from gaugeblock.gpu.runtime.memory import Pool
from gaugeblock.gpu.runtime.recording import thread
from gaugeblock.spec.layers import LAYERS
from gaugeblock.spec.operations import OPERATIONS, Operation

Dispatch = tuple[object, ...]


class Noting:
    """A device that notes what is launched on it, and does nothing else.

    Attributes
    ----------
    launches : list
        Source, kernel and macros, signature, grid, block, arguments as they lie in memory, dynamic shared
        memory.
    """

    def __init__(self) -> None:
        real = devices.device()
        self.simulated, self.plans = True, devices.Plans()
        self.memory = Pool(self._new, keeps=False)
        self.constants: dict[object, DeviceArray] = {}
        self.blocks, self.multiprocessors = real.blocks, real.multiprocessors
        self.compute_capability = real.compute_capability
        self.launches: list[tuple[Any, ...]] = []
        self._kernels: dict[object, devices.Prepared] = {}
        self.restart()

    def restart(self) -> None:
        """Forget what was launched and allocated, but nothing that plans know."""
        self.launches, self._top = [], 1 << 20

    def allocate(self, nbytes: int) -> int:
        """Return an address: the same ones after each start."""
        if thread.recorder is not None:
            return thread.recorder.allocate(nbytes)
        return self._new(nbytes)

    def _new(self, nbytes: int) -> int:
        self._top += -(-nbytes // 256) * 256
        return self._top

    def function(self, source: str, entry: str, signature: str, defines: Any = ()) -> devices.Prepared:
        """Return a kernel that is none."""
        key = source, entry, defines
        if key not in self._kernels:
            packing = struct.Struct(f"@{signature}")

            def launch(grid: Any, block: Any, packed: bytes, shared: int) -> None:
                self.launches.append((key, signature, grid, block, packed, shared))

            def call(grid: Any, block: Any, stream: Any, *arguments: Any, shared_size: int) -> None:
                launch(grid, block, packing.pack(*arguments), shared_size)

            kernel = SimpleNamespace(launch=launch, prepared_async_call=call)
            kernel.prepare = lambda _: kernel
            self._kernels[key] = devices.Prepared(kernel, None, signature)
        return self._kernels[key]


def flags(signature: str, packed: bytes) -> tuple[int, ...]:
    """Return the int32 arguments after the structs."""
    kinds = signature[signature.index("s") + 1 :] if "s" in signature else signature
    values = reversed(struct.unpack(f"@{signature}", packed))
    return tuple(value for kind, value in zip(reversed(kinds), values, strict=False) if kind == "i")[::-1]


@contextmanager
def devices_as(recorder: Any) -> Iterator[None]:
    """Put another device in place of the current one, in every module that has imported how to get it."""
    import sys

    real = devices.device
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("gaugeblock.gpu") and getattr(module, "device", None) is real
    ]
    stand_in = lambda: recorder  # noqa: E731  # the same in all, so that another may take its place
    for module in modules:
        module.device = stand_in  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in modules:
            module.device = real  # type: ignore[attr-defined]


def problems(name: str, every: int) -> Iterator[Problem]:
    """Yield calls of an operation in many layouts, with outputs and without, in all formats in turn."""

    def of(operation: Operation, call: Call, number: int) -> Problem:
        shapes, parameters = call
        dtype = sorted(operation.dtypes)[number % len(operation.dtypes)]
        arrays = {name: Array(shape) for name, shape in shapes.items()}
        return Problem(operation.name, dtype, arrays, parameters)

    return factors.problems(OPERATIONS[name], Coverage(2, 0, every), of, laid_out=True)


def arguments(problem: Problem, at: int) -> dict[str, Any]:
    """Return arrays in the layouts of a problem, from an address on, and the parameters."""

    def placed(shape: tuple[int, ...], layout: Layout, dtype: Any, at: int) -> DeviceArray:
        strides, first, _ = layout.place(shape)
        size = np.dtype(dtype).itemsize
        return DeviceArray(shape, dtype, tuple(step * size for step in strides), at + first * size)

    dtype = DTYPES[problem.dtype]
    found: dict[str, Any] = {
        name: placed(array.shape, array.layout, dtype, at + (place << 40))
        for place, (name, array) in enumerate(problem.arrays.items())
    }
    if problem.out is not None:
        of_result = np.int64 if problem.operation == "max_pool_indices" else dtype
        found["out"] = placed(problem.result_shape, problem.out, of_result, at + (9 << 40))
    return found | problem.parameters


def launched(noting: Noting, operation: str, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return what a call launches."""
    noting.restart()
    with devices_as(noting):
        getattr(gpu, operation)(**given)
    return noting.launches


def array(shape: tuple[int, ...], dtype: str, order: tuple[int, ...] | None, place: int) -> DeviceArray:
    """Return an array on the device that has no memory, only a place of its own."""
    strides, _, _ = Layout(order).place(shape)
    item = DTYPES[dtype].itemsize
    return DeviceArray(shape, DTYPES[dtype], tuple(step * item for step in strides), place << 40)


def dispatches(call: LayerCall, dtype: str) -> frozenset[Dispatch]:
    """Return what a layer's call launches."""
    arrays = {
        name: array(shape, dtype, call.orders.get(name), place)
        for place, (name, shape) in enumerate(call.shapes.items(), 1)
    }
    if "out" in call.orders:
        shape = OPERATIONS[call.operation].shape(call.shapes, call.parameters)
        arrays["out"] = array(shape, dtype, call.orders["out"], 9)
    launches = launched(Noting(), call.operation, {**arrays, **call.parameters})
    return frozenset(
        (*key, block, flags(signature, packed)) for key, signature, _, block, packed, _ in launches
    )


def reachable(operation: str) -> dict[tuple[str, Size], tuple[frozenset[Dispatch], int]]:
    """Return for every layer at every reduced size what it launches in all formats, and its work."""
    found = {}
    for layer in LAYERS:
        for size in layers.SIZES:
            for i, call in enumerate(layers.calls(layers.reduced(layer, size), {operation})):
                assert i < 3
                launched = frozenset(
                    (dtype, each)
                    for dtype in OPERATIONS[operation].dtypes
                    for each in dispatches(call, dtype)
                )
                known, work = found.get((str(layer), size), (frozenset(), 0))
                found[str(layer), size] = (known | launched, work + call.work)
    return found


def covering(operation: str) -> list[tuple[str, Size]]:
    """Return layers that launch everything: that which launches what is costliest to launch, and so on."""
    known = reachable(operation)
    cheapest: dict[object, tuple[str, Size]] = {}
    for key in sorted(known, key=lambda key: known[key][1]):
        for each in known[key][0]:
            cheapest.setdefault(each, key)
    chosen: list[tuple[str, Size]] = []
    missing = set(cheapest)
    while missing:
        chosen.append(max((cheapest[each] for each in missing), key=lambda key: known[key][1]))
        missing -= known[chosen[-1]][0]
    # What others have made superfluous goes, the costly first.
    for each in sorted(chosen, key=lambda key: -known[key][1]):
        others = frozenset().union(*(known[key][0] for key in chosen if key != each))
        if known[each][0] <= others:
            chosen.remove(each)
    return chosen


def main() -> None:
    """Choose and write."""
    lines = []
    for operation in OPERATIONS:
        chosen = [json.dumps([name, *size], ensure_ascii=False) for name, size in covering(operation)]
        inside = ",\n    ".join(chosen)
        lines.append(f'  "{operation}": [\n    {inside}\n  ]')
    layers.COVERING.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
