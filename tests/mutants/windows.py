"""Where windows lie: what the convolution and the pooling kernels share.

An axis has H cells, padding before and after them, and P windows of R taps. A table holds, for every tap and
every window, the flat position of a cell in the plane of all spatial axes; positions outside of the data
point at one slot behind the plane, where a gather finds what padding is worth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import numpy as np
from workshop import Array

Sides = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """One spatial axis: H cells, R taps, P windows."""

    H: int
    R: int
    P: int
    stride: int
    dilation: int
    before: int
    after: int


def ceil(n: int, multiple: int) -> int:
    """Return n/multiple, rounded up."""
    return -(-n // multiple)


def per_axis(name: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """Return one integer per spatial axis, each at least ``least``."""
    values = tuple(value) if isinstance(value, Iterable) else (value,) * rank
    if len(values) != rank or not all(isinstance(v, int | np.integer) and v >= least for v in values):
        raise ValueError(f"{name} is {value}, expected {rank} integers of at least {least}")
    return tuple(int(v) for v in values)


def sides(padding: Any, rank: int) -> list[Sides]:
    """Return the padding before and after each axis."""
    entries = tuple(padding) if isinstance(padding, Iterable) else (padding,) * rank
    if len(entries) != rank:
        raise ValueError(f"padding is {padding}, expected {rank} values")
    pairs = [per_axis("padding", entry, 2, 0) for entry in entries]
    return [(before, after) for before, after in pairs]


def windows(room: int, stride: int) -> int:
    """Return how many windows fit, given the room that is left beside the first of them."""
    return room // stride + 1 if room >= 0 else 0


def spatial_rank(**arrays: Array | Sequence[int]) -> int:
    """Return the number of spatial axes, the same for all arguments."""
    ranks = {name: x.ndim if isinstance(x, np.ndarray) else len(x) for name, x in arrays.items()}
    if len(set(ranks.values())) != 1 or not 3 <= min(ranks.values()) <= 5:
        raise ValueError(f"{ranks} has ranks that differ or are not 3 to 5")
    return min(ranks.values()) - 2


def table(positions: Sequence[Array], inside: Sequence[Array], pitches: Sequence[int], plane: int) -> Array:
    """Return flat positions as (taps, windows), from (R, P) per axis; ``plane`` where outside."""
    rank = len(positions)

    def spread(axis: int, values: Array) -> Array:
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = values.shape
        return values.reshape(shape)

    flat = sum(
        spread(i, values * pitch) for i, (values, pitch) in enumerate(zip(positions, pitches, strict=True))
    )
    there = reduce(np.logical_and, (spread(i, values) for i, values in enumerate(inside)))
    shape = np.broadcast_shapes(np.shape(flat), there.shape)
    cells = np.where(there, flat % plane if plane else 0, plane)
    return cells.reshape(prod(shape[:rank]), prod(shape[rank:]))


def pitches(extents: Sequence[int]) -> list[int]:
    """Return the distances between neighbours along each axis of a packed plane."""
    return [prod(extents[i + 1 :]) for i in range(len(extents))]


def gather(x: Array, cells: Array, padding: float = 0) -> Array:
    """Return (N, C, taps, windows) of an fp32 array (N, C, …)."""
    N, C, *extents = x.shape
    planes = np.full((N, C, prod(extents) + 1), padding, np.float32)
    planes[:, :, :-1] = x.reshape(N, C, prod(extents))
    result: Array = planes.take(cells, axis=2)
    return result


def tap_slices(axis: Axis, r: int) -> tuple[slice, slice]:
    """Return the windows whose tap r meets data, and the cells that it meets."""
    offset = r * axis.dilation - axis.before
    first = max(ceil(-offset, axis.stride), 0)
    count = max(min(windows(axis.H - 1 - offset, axis.stride), axis.P) - first, 0)
    start = first * axis.stride + offset if count else 0
    return slice(first, first + count), slice(start, start + count * axis.stride, axis.stride)


# Memory, as a kernel sees it that has the wrong idea of strides.


def packed(x: Array) -> bool:
    """Return whether x lies in memory without gaps, in the order of its axes."""
    return bool(x.flags.c_contiguous)


def channels_last(x: Array) -> bool:
    """Return whether x is stored as N, H, W, C without gaps, and could not be taken for N, C, H, W."""
    return bool(np.moveaxis(x, 1, -1).flags.c_contiguous) and not packed(x)


def memory_of(x: Array) -> Array:
    """Return the bytes of the buffer that x is a view of."""
    base: Any = x
    while getattr(base, "base", None) is not None:
        base = base.base
    if isinstance(base, np.ndarray):
        return base.ravel(order="K").view(np.uint8)
    return np.frombuffer(base, np.uint8)


def from_first_element(x: Array, behind: Array) -> Array:
    """Read as many elements as x has, packed, from its first one on; then what lies behind the buffer."""
    memory = memory_of(x)
    start = x.ctypes.data - memory.ctypes.data
    count = min(x.size, (memory.size - start) // x.itemsize)
    here = np.frombuffer(memory[start : start + count * x.itemsize].tobytes(), x.dtype)
    return np.resize(np.concatenate([here, behind.ravel()]), x.size)


def write_first(out: Array, result: Array, reached: int) -> None:
    """Write the first ``reached`` elements of ``out``, counted row by row."""
    here = np.arange(out.size).reshape(out.shape) < reached
    np.copyto(out, result.astype(out.dtype), where=here)
