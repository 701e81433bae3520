"""Bring the axes of several arrays of one shape into the fewest a kernel needs.

A layout is a shape and, for each array, its strides; nothing here knows what the arrays hold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Layout", "collapse", "outer_slices", "overlaps_itself"]


@dataclass(frozen=True)
class Layout:
    """The axes that are left: their lengths, slowest first, and each array's strides along them."""

    lengths: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.lengths)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.lengths)

    def packed(self, axes: int) -> list[int]:
        """Return lengths, then each array's strides, padded in front to a fixed number of axes."""
        pad = axes - self.rank
        rows = [[1] * pad + list(self.lengths)]
        rows += [[0] * pad + list(strides) for strides in self.strides]
        return list(itertools.chain.from_iterable(rows))


def collapse(shape: Sequence[int], *strides: Sequence[int], sort_by: int | None = None) -> Layout:
    """Drop axes of length 1, sort the others if asked, merge neighbours that are one axis for every array.

    Parameters
    ----------
    shape : sequence of int
        The lengths.
    *strides : sequence of int
        One for each array, in any unit.
    sort_by : int, optional
        The array whose strides shall fall from the first axis to the last. Without it the order stays.

    Returns
    -------
    Layout
        The same elements in row-major order of fewer axes (in another order where sorted).

    Examples
    --------
    >>> collapse((2, 3, 4), (12, 4, 1), (24, 8, 2))
    Layout(lengths=(24,), strides=((1,), (2,)))
    >>> collapse((2, 3), (1, 2), (1, 2), sort_by=1)
    Layout(lengths=(6,), strides=((1,), (1,)))
    """
    axes = [axis for axis, length in enumerate(shape) if length != 1]
    if sort_by is not None:
        axes.sort(key=lambda axis: -abs(strides[sort_by][axis]))
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis in axes:
        length = shape[axis]
        if lengths and all(step[-1] == length * own[axis] for step, own in zip(steps, strides, strict=True)):
            lengths[-1] *= length
            for step, own in zip(steps, strides, strict=True):
                step[-1] = own[axis]
        else:
            lengths.append(length)
            for step, own in zip(steps, strides, strict=True):
                step.append(own[axis])
    return Layout(tuple(lengths), tuple(tuple(step) for step in steps))


def outer_slices(layout: Layout, axes: int) -> Iterator[tuple[Layout, tuple[int, ...]]]:
    """Cut a layout into pieces of at most `axes` axes; yield each with every array's offset to it."""
    outer = max(0, layout.rank - axes)
    rest = Layout(layout.lengths[outer:], tuple(strides[outer:] for strides in layout.strides))
    for place in itertools.product(*(range(length) for length in layout.lengths[:outer])):
        yield rest, tuple(_dot(place, strides) for strides in layout.strides)


def _dot(place: Sequence[int], strides: Sequence[int]) -> int:
    return sum(index * stride for index, stride in zip(place, strides, strict=False))


def overlaps_itself(shape: Sequence[int], strides: Sequence[int], itemsize: int = 1) -> bool:
    """Return whether two elements of an array may share an address.

    Axes sorted by stride are disjoint if each steps over the whole extent of the smaller ones. That is how
    arrays are made; for the others the addresses of up to a million elements are counted, and larger arrays
    are called overlapping.

    Examples
    --------
    >>> overlaps_itself((2, 3), (3, 1)), overlaps_itself((2, 3), (1, 1)), overlaps_itself((2, 3), (0, 1))
    (False, True, True)
    """
    if 0 in shape:
        return False
    axes = sorted((abs(stride), length) for length, stride in zip(shape, strides, strict=True) if length > 1)
    reach = itemsize - 1
    for stride, length in axes:
        if stride <= reach:
            break
        reach += stride * (length - 1)
    else:
        return False
    size = math.prod(shape)
    if size > 1 << 20 or any(stride == 0 or stride % itemsize for stride, _ in axes):
        return True
    addresses = {0}
    for stride, length in axes:
        addresses = {address + stride * place for address in addresses for place in range(length)}
    return len(addresses) < size
