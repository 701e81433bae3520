"""The part of ``pycuda._driver`` that asks cuRAND for tables: its library needs no GPU for that.

Its headers, which the kernels of random numbers include, come from the same wheel.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np

from gaugeblock.gpu.simulator.errors import Error

__all__ = [
    "_get_direction_vectors",
    "_get_scramble_constants32",
    "_get_scramble_constants64",
    "get_curand_version",
]

_ROWS: Final = 20000
"""Dimensions that the tables have."""


def get_curand_version() -> tuple[int, int, int]:
    """Return the version of the library, or where there is none the oldest that goes with CUDA 13."""
    try:
        library = _library()
    except Error:
        return (10, 4, 0)
    version = ctypes.c_int()
    library.curandGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10, version.value % 10


def _get_direction_vectors(set: int, dst: Any, count: int) -> None:
    """Fill an array with the direction vectors of Sobol sequences; the set says of how many bits."""
    bits = 64 if "64" in getattr(set, "name", "") else 32
    _fill(f"curandGetDirectionVectors{bits}", dst, count, bits, ctypes.c_int(set))


def _get_scramble_constants32(dst: Any, count: int) -> None:
    """Fill an array with the constants of scrambled sequences."""
    _fill("curandGetScrambleConstants32", dst, count)


def _get_scramble_constants64(dst: Any, count: int) -> None:
    """Fill an array with the constants of scrambled sequences."""
    _fill("curandGetScrambleConstants64", dst, count)


def _fill(function: str, dst: Any, count: int, columns: int = 1, *arguments: Any) -> None:
    """Copy `count` rows of a table, from its begin again where it ends."""
    table, word = ctypes.c_void_p(), np.uint64 if function.endswith("64") else np.uint32
    status = getattr(_library(), function)(ctypes.byref(table), *arguments)
    if status or not table.value:
        raise Error(f"{function} failed with code {status}")
    size = _ROWS * columns * np.dtype(word).itemsize
    found: Any = (ctypes.c_char * size).from_address(table.value)
    target: Any = memoryview(dst).cast("B")
    rows = np.resize(np.frombuffer(found, word).reshape(_ROWS, columns), (count, columns))
    np.frombuffer(target, word)[: rows.size] = rows.reshape(-1)


@functools.cache
def _library() -> Any:
    package = importlib.util.find_spec("nvidia")
    folders = [] if package is None else [Path(place) for place in package.submodule_search_locations or ()]
    found = [file for folder in folders for file in sorted(folder.glob("*/lib/libcurand.so.*"))]
    for name in (*found, "libcurand.so.10", "libcurand.so"):
        try:
            return ctypes.CDLL(str(name))
        except OSError:
            continue
    raise Error("cuRAND is not installed: pip install nvidia-curand")
