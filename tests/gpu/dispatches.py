"""Which kernels of ours a call is given to, found without computing anything; and layers that reach all.

``python tests/gpu/dispatches.py`` chooses anew the reduced layers that stand for all on a slow device, and
writes them to ``tests/conformance/problems/covering.json``. A dispatch is a kernel with its macros (tile,
pass, number of axes, vectors, variant of a row) and the flags that it is launched with.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import ml_dtypes  # noqa: F401  # bfloat16 as a dtype of NumPy

from gaugeblock import gpu
from gaugeblock.conformance.problems import layers
from gaugeblock.conformance.problems.layers import LayerCall, Size
from gaugeblock.conformance.problems.problem import Layout
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray
from gaugeblock.spec.layers import LAYERS
from gaugeblock.spec.operations import OPERATIONS

Dispatch = tuple[object, ...]


@contextmanager
def recording() -> Iterator[list[Dispatch]]:
    """Let the device note what is launched on it, and do nothing else."""
    current, found, top = devices.device(), [], [1 << 20]

    def mem_alloc(size: int) -> int:
        top[0] += -(-size // 256) * 256
        return top[0]

    def function(source: str, entry: str, signature: str, defines: Any = ()) -> Any:
        flags = signature[signature.index("s") + 1 :] if "s" in signature else signature

        def launch(grid: Any, block: Any, stream: Any, *arguments: Any) -> None:
            rest = arguments[len(arguments) - len(flags) :]
            chosen = tuple(value for kind, value in zip(flags, rest, strict=True) if kind == "i")
            found.append((source, entry, defines, block, chosen))

        return SimpleNamespace(prepared_async_call=launch)

    recorder = SimpleNamespace(
        driver=SimpleNamespace(mem_alloc=mem_alloc, Context=current.driver.Context),
        function=function,
        blocks=current.blocks,
        multiprocessors=current.multiprocessors,
        compute_capability=current.compute_capability,
    )
    with devices_as(recorder):
        yield found


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
    with recording() as found:
        getattr(gpu, call.operation)(**arrays, **call.parameters)
    return frozenset(found)


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
