"""Windows that slide, for the kernels here: the spelling of parameters, and the elements of every window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pairs = tuple[tuple[int, int], ...]


def numbers(value: Any, axes: int) -> tuple[int, ...]:
    """Return one number per axis."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * axes


def pairs(
    padding: Any,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Pairs:
    """Return the padding before and after every axis."""
    if padding == "same":
        found = []
        for n, r, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + d * (r - 1) + 1 - n, 0)
            found.append((total // 2, total - total // 2))
        return tuple(found)
    return tuple(p if isinstance(p, tuple | list) else (p, p) for p in numbers(padding, len(size)))


def counts(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: Pairs,
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """Return the number of windows along every axis."""
    found = []
    for n, r, s, d, (before, after) in zip(size, kernel, stride, dilation, padding, strict=True):
        room = n + before + after - d * (r - 1) - 1
        count = max((-(-room // s) if ceil_mode else room // s) + 1, 0)
        if ceil_mode and count and (count - 1) * s >= n + before:
            count -= 1
        found.append(count)
    return tuple(found)


def gather(
    x: Array,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: Pairs,
    output: tuple[int, ...],
    fill: float,
) -> Array:
    """Return the elements of every window, ``fill`` for those in the padding: (N, C, P, R, Q, S, …)."""
    for axis, (r, s, d, (before, _), p) in enumerate(
        zip(kernel, stride, dilation, padding, output, strict=True)
    ):
        place = 2 + 2 * axis
        index = np.arange(p)[:, None] * s + np.arange(r) * d - before
        inside = (index >= 0) & (index < x.shape[place])
        if x.shape[place] == 0:
            x = np.zeros((*x.shape[:place], 1, *x.shape[place + 1 :]), x.dtype)
        taken = np.take(x, np.where(inside, index, 0), axis=place)
        keep = inside.reshape(inside.shape + (1,) * (taken.ndim - place - 2))
        x = np.where(keep, taken, x.dtype.type(fill))
    return x


def einsum(axes: int) -> str:
    """Return the sum of products of windows and weights, over the channels of a group and the taps."""
    taps, places = "rstu"[:axes], "pqvw"[:axes]
    window = "".join(place + tap for place, tap in zip(places, taps, strict=True))
    return f"ngc{window},gkc{taps}->ngk{places}"
