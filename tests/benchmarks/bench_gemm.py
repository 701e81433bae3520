"""How fast matrices are multiplied: see README.md for what the numbers mean."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from contenders import Contender, contenders, counts, host_side
from cublas import cublas_side
from measuring import expect_right, race

from gaugeblock import gpu
from gaugeblock.conformance.bench.turns import Side, Work

SIZES = {"reference": (128, 512), "numpy": (128, 1024), "simulator": (64, 128), "gpu": (1024, 4096, 8192)}
"""The simulator's sizes fill one block of its smallest and of its largest tile."""

CASES = [
    pytest.param(contender, size, id=f"{contender.name}-{contender.dtype}-{size}")
    for contender in contenders()
    for size in SIZES[contender.name]
]


@pytest.mark.benchmark(group="gemm")
@pytest.mark.parametrize(("contender", "size"), CASES)
def test_gemm_is_right_after_it_was_timed(
    benchmark: Any, rounds: int, contender: Contender, size: int
) -> None:
    a, b = contender.random(size, size, seed=1), contender.random(size, size, seed=2)
    own = contender.side("gemm", (a, b))
    peer = _peer(contender, a, b)
    work = Work(2.0 * size**3, 3.0 * size**2 * a.itemsize)
    race(benchmark, own, peer, work, contender.roof(), rounds)
    if contender.simulated:
        benchmark.extra_info |= counts(own, work)
    arrays = {"a": a, "b": b}
    want = peer.result() if contender.name == "reference" else None
    expect_right("gemm", arrays, own.result(), contender.declared("gemm"), want)


def _peer(contender: Contender, a: Any, b: Any) -> Side:
    """NumPy's matmul, in OpenBLAS as its wheels come; on a GPU cuBLAS, or without it our naive kernel."""
    if contender.on_device and not contender.simulated:
        naive = functools.partial(contender.side, "gemm", (a, b), algorithm="naive")
        return cublas_side(a, b) or naive()
    if contender.dtype == "float64":
        return host_side("numpy.matmul in float64", np.matmul, (a, b))
    return host_side("numpy.matmul in float32", np.matmul, (a.astype(np.float32), b.astype(np.float32)))


def test_cublas_and_the_naive_kernel_are_right() -> None:
    if Contender("gpu", "float32").simulated:
        pytest.skip("the device is simulated")
    for dtype in ("float32", "float16", "bfloat16"):
        contender = Contender("gpu", dtype)
        a, b = contender.random(256, 128, seed=1), contender.random(128, 192, seed=2)
        for side in (cublas_side(a, b), contender.side("gemm", (a, b), algorithm="naive")):
            if side is not None:
                side.run()
                expect_right("gemm", {"a": a, "b": b}, side.result(), gpu.arithmetic["gemm"].get(dtype, {}))
