"""What a call costs the host: from the call of an operation to the return of its last launch.

    python tests/benchmarks/bench_host.py --json tests/benchmarks/results/host-DATE.json [--beside TREE]

The driver is the stub of ``tests/gpu/stub_cuda.c``, which does nothing: what is measured is Python,
``ctypes`` and, where it is installed, PyCUDA. A real driver adds its own time to each
launch. Arrays are on the device, `out` is given, and two sets of arrays take turns, so that addresses are
written anew in every call.

Seconds are those of the thread on the processor, the least of many bursts of calls, and of all rounds: on a
machine that does other work too, whatever disturbs makes them more. With ``--beside``, another checkout's
package (a folder for ``PYTHONPATH``) is measured in turn by processes of its own, and the ratio is the median
over the rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS, CALLS = 60, 40


def cases(kind: str) -> dict[str, Callable[[], Any]]:
    """Return calls by name; arrays have no contents."""
    import itertools

    import numpy as np

    from gaugeblock import gpu
    from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray

    dtype = DTYPES[kind]

    def pair(
        operation: str, *shapes: tuple[int, ...], out: tuple[int, ...], **rest: Any
    ) -> Callable[[], Any]:
        sets = [([DeviceArray(shape, dtype) for shape in shapes], DeviceArray(out, dtype)) for _ in range(2)]
        turns, function = itertools.cycle(sets), getattr(gpu, operation)

        def call() -> Any:
            arrays, to = next(turns)
            return function(*arrays, out=to, **rest)

        return call

    square, image, filters, pooled = (1024, 1024), (8, 64, 56, 56), (64, 64, 3, 3), (8, 64, 28, 28)
    same = {"padding": 1}
    found = {
        "relu": pair("relu", square, out=square),
        "relu_backward": pair("relu_backward", square, square, out=square),
        "leaky_relu, negative_slope": pair("leaky_relu", square, out=square, negative_slope=0.1),
        "softmax": pair("softmax", square, out=square),
        "softmax_backward": pair("softmax_backward", square, square, out=square),
        "maxout": pair("maxout", square, out=(1024, 512)),
        "gemm": pair("gemm", square, square, out=square),
        "gemm, c and beta, transposed": pair(
            "gemm", square, square, square, out=square, beta=0.5, transpose_b=True
        ),
        "gemm, batch of 16": pair("gemm", *[(16, 256, 256)] * 2, out=(16, 256, 256)),
        "conv": pair("conv", image, filters, out=image, **same),
        "conv_fused": pair("conv_fused", image, filters, (64,), out=image, **same),
        "conv_backward_input": pair(
            "conv_backward_input", image, filters, out=image, input_shape=image, **same
        ),
        "conv_backward_weight": pair(
            "conv_backward_weight", image, image, out=filters, kernel_shape=filters, **same
        ),
        "conv_backward_bias": pair("conv_backward_bias", image, out=(64,)),
        "max_pool": pair("max_pool", image, out=pooled, kernel=2),
        "max_pool_backward": pair("max_pool_backward", pooled, image, out=image, kernel=2),
        "avg_pool": pair("avg_pool", image, out=pooled, kernel=2),
        "avg_pool_backward": pair("avg_pool_backward", pooled, out=image, input_shape=image, kernel=2),
        "lstm_unit, 32 steps": pair(
            "lstm_unit",
            (32, 64, 256), (64, 256), (64, 256), (4, 256, 256), (4, 256, 256), (4, 256),
            out=(2, 32, 64, 256),
        ),
    }  # fmt: skip
    x = DeviceArray(square, dtype)
    found["relu, a new result"] = lambda: gpu.relu(x)
    try:
        from pycuda.gpuarray import GPUArray
    except ImportError:
        return found
    one, other = (GPUArray(square, np.dtype(dtype)) for _ in range(2))
    found["relu, GPUArrays"] = lambda: gpu.relu(one, out=other)
    return found


def measure() -> dict[str, Any]:
    """Measure in this process."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "gpu"))
    import stub_cuda

    os.environ["GAUGEBLOCK_DEVICE"] = "cuda"
    with tempfile.TemporaryDirectory() as folder:
        stub = ctypes.CDLL(str(stub_cuda.build(Path(folder))), ctypes.RTLD_GLOBAL)
    launches = ctypes.c_ulonglong.in_dll(stub, "stub_launches")
    found: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        for name, call in cases(dtype).items():
            for _ in range(4):  # compiled, and known
                before = launches.value
                call()
            calls = CALLS // 10 if "lstm" in name else CALLS
            best = float("inf")
            for _ in range(REPEATS):
                start = time.thread_time()
                for _ in range(calls):
                    call()
                best = min(best, (time.thread_time() - start) / calls)
            count = (launches.value - before) // (REPEATS * calls)
            found[f"{name}, {dtype}"] = {"seconds": best, "launches": count}
    from gaugeblock.gpu.runtime.device import device

    return {"calls": found, "versions": device().versions}


def worker(tree: str | None) -> dict[str, Any]:
    """Measure in a process of its own."""
    environment = os.environ | ({} if tree is None else {"PYTHONPATH": tree})
    command = [sys.executable, __file__, "--worker"]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beside", metavar="TREE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.worker:
        print(json.dumps(measure()))
        return
    own, others = [], []
    for _ in range(wish.rounds):
        own.append(worker(None))
        if wish.beside:
            others.append(worker(wish.beside))
    calls = {}
    print(f"{'call':46}{'launches':>9}{'µs':>9}" + ("  beside    ratio" if others else ""))
    for name, first in own[0]["calls"].items():
        times = [1e6 * each["calls"][name]["seconds"] for each in own]
        calls[name] = {"launches": first["launches"], "microseconds": round(min(times), 2)}
        line = f"{name:46}{first['launches']:9}{min(times):9.2f}"
        if others:
            besides = [1e6 * each["calls"][name]["seconds"] for each in others]
            ratio = statistics.median(b / a for a, b in zip(times, besides, strict=True))
            calls[name] |= {"beside": round(min(besides), 2), "ratio": round(ratio, 1)}
            line += f"{min(besides):8.1f}{ratio:9.1f}"
        print(line)
    if wish.json:
        about = {
            "command": f"python tests/benchmarks/bench_host.py --rounds {wish.rounds}"
            f"{' --beside TREE' if wish.beside else ''} --json {wish.json.name}",
            "load": round(os.getloadavg()[0], 1),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "numpy": importlib.metadata.version("numpy"),
            **own[0]["versions"],
        }
        wish.json.write_text(json.dumps({"about": about, "calls": calls}, indent=1) + "\n")


if __name__ == "__main__":
    main()
