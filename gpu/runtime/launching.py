"""What the doors share when they launch a kernel: how it is told where arrays lie."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from gaugeblock.gpu.runtime.device import DeviceArray
from gaugeblock.gpu.runtime.layout import Layout

__all__ = [
    "AXES",
    "CLAUSES",
    "LAYOUT",
    "MOST_BLOCKS",
    "by_name",
    "check_algorithm",
    "elements_from",
    "float32",
    "pack",
    "steps",
]

CLAUSES: Final = {"x": "ACT-C1", "dy": "ACT-C2"}
"""What the arrays of an activation must be."""

MOST_BLOCKS: Final = (1 << 31) - 1
"""CUDA's limit on the first dimension of a grid."""

AXES: Final = 8
"""The axes that a kernel's layout has room for (``kernels/shared/layout.cuh``)."""

LAYOUT: Final = f"{8 * 4 * AXES}s"
"""The struct ``Layout`` of ``kernels/shared/layout.cuh`` in a kernel's signature."""


def pack(layout: Layout) -> bytes:
    """Return that struct: room for x, out and dy."""
    return struct.pack(f"{4 * AXES}q", *layout.packed(AXES))


def steps(*arrays: DeviceArray) -> tuple[tuple[int, ...], ...]:
    """Return strides in elements."""
    return tuple(tuple(stride // array.dtype.itemsize for stride in array.strides) for array in arrays)


def elements_from(array: DeviceArray, offset: int) -> int:
    """Return the address of the element at an offset from the first."""
    return array.pointer + offset * int(array.dtype.itemsize)


def by_name(operands: Sequence[Any]) -> dict[str, Any]:
    """Return the arrays of an activation, x alone, or those of its gradient, dy and x."""
    return dict(zip(("dy", "x")[-len(operands) :], operands, strict=True))


def check_algorithm(algorithm: str, *known: str) -> None:
    """Refuse an algorithm that an operation has not."""
    if algorithm not in known:
        raise ValueError(f"algorithm is {algorithm!r}, expected one of {', '.join(map(repr, known))}")


def float32(value: float) -> float:
    """Return the nearest float32 number, an infinity beyond the largest."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))
