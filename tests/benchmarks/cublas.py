"""cuBLAS as the peer of our GEMM on a GPU: one function of it, through ctypes."""

from __future__ import annotations

import ctypes
import functools
import itertools
from typing import Any, Final

from gaugeblock import gpu
from gaugeblock.conformance.bench.roofs import CALLS, rotation
from gaugeblock.conformance.bench.turns import Array, Side
from gaugeblock.gpu.runtime.device import DeviceArray, device

TYPES: Final = {"float32": 0, "float16": 2, "bfloat16": 14}
"""``cudaDataType_t``."""

COMPUTE_32F: Final = 68
"""``cublasComputeType_t``: sums in float32, without TF32 for float32 operands."""

LIBRARIES: Final = ("libcublas.so.13", "libcublas.so.12", "libcublas.so")


@functools.cache
def _library() -> ctypes.CDLL | None:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@functools.cache
def _handle() -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    _call("cublasCreate_v2", ctypes.byref(handle))
    return handle


def _call(function: str, *arguments: Any) -> None:
    status = getattr(_library(), function)(*arguments)
    if status:
        raise RuntimeError(f"{function} returned {status}")


def cublas_side(a: Array, b: Array) -> Side | None:
    """Prepare a·b in cuBLAS, or return ``None`` where there is no cuBLAS."""
    if _library() is None:
        return None
    (M, K), N, kind = a.shape, b.shape[1], TYPES[a.dtype.name]
    nbytes = a.nbytes + b.nbytes + M * N * a.itemsize
    sets = [
        (gpu.to_device(a), gpu.to_device(b), DeviceArray((M, N), a.dtype)) for _ in range(rotation(nbytes))
    ]
    turns = itertools.cycle(sets)
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    last = [sets[0][2]]

    def run() -> None:
        for _ in range(CALLS):
            left, right, last[0] = next(turns)
            # cuBLAS stores by columns, so it is asked for the transpose: bᵀ·aᵀ.
            _call(
                "cublasGemmEx",
                _handle(),
                *(0, 0, N, M, K),
                ctypes.byref(one),
                *(ctypes.c_void_p(right.pointer), kind, N),
                *(ctypes.c_void_p(left.pointer), kind, K),
                ctypes.byref(zero),
                *(ctypes.c_void_p(last[0].pointer), kind, N),
                *(COMPUTE_32F, -1),
            )
        device().driver.Context.synchronize()

    return Side("cuBLAS", run, lambda: last[0].get(), CALLS)
