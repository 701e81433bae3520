r"""Sliding windows: the arithmetic that convolution and pooling share.

A kernel of R cells slides along an axis of H cells, padded by `before` and `after` cells. Output p looks
through it at the cells

.. math:: p s + r d - \text{before}, \qquad r = 0 \dots R - 1

(stride s, dilation d), of which those in 0 … H − 1 exist. The axes are independent of each other. Nothing
here depends on values, so that an implementation elsewhere can follow the same rules and refuse the same
arguments.

References
----------
.. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
   arXiv:1603.07285.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.reference._arguments import Shape

__all__ = ["Windows", "axis_pairs", "axis_values", "same_padding"]

Index: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Windows:
    """Where each output looks; every field has one number per spatial axis.

    Attributes
    ----------
    size, kernel, stride, dilation : tuple of int
        The input's sizes H, the kernel's sizes R, the steps s and d.
    before, after : tuple of int
        The cells of padding on either side.
    output : tuple of int
        How many windows there are.

    Examples
    --------
    >>> Windows.slide(size=(7,), kernel=(3,), stride=(2,), padding=((1, 1),)).output
    (4,)
    """

    size: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    after: Shape
    output: Shape

    @classmethod
    def slide(
        cls,
        *,
        size: Shape,
        kernel: Shape,
        stride: Shape | None = None,
        dilation: Shape | None = None,
        padding: tuple[tuple[int, int], ...] | None = None,
        ceil_mode: bool = False,
    ) -> Windows:
        """Count the windows: ``floor((H + before + after − d (R − 1) − 1) / s) + 1``, never less than 0.

        Where the windows leave a remainder, `ceil_mode` rounds up instead, which adds a window that reaches
        beyond the padding; but a last window that begins behind the input is dropped.

        Parameters
        ----------
        size, kernel, stride, dilation : tuple of int
            As the attributes; the steps are 1 unless given.
        padding : tuple of (before, after)
            No cells unless given.
        ceil_mode : bool
            Whether the division rounds up.

        Returns
        -------
        Windows

        Examples
        --------
        >>> Windows.slide(size=(6,), kernel=(3,), stride=(2,)).output
        (2,)
        >>> Windows.slide(size=(6,), kernel=(3,), stride=(2,), ceil_mode=True).output
        (3,)
        >>> Windows.slide(size=(2,), kernel=(5,)).output  # the kernel is larger than the input
        (0,)
        """
        stride = stride or (1,) * len(size)
        dilation = dilation or (1,) * len(size)
        padding = padding or ((0, 0),) * len(size)
        output = []
        for H, R, s, d, (before, after) in zip(size, kernel, stride, dilation, padding, strict=True):
            room = H + before + after - d * (R - 1) - 1
            count = (-(-room // s) if ceil_mode else room // s) + 1
            if ceil_mode and (count - 1) * s >= H + before:
                count -= 1
            output.append(max(count, 0))
        head, tail = tuple(pair[0] for pair in padding), tuple(pair[1] for pair in padding)
        return cls(tuple(size), tuple(kernel), stride, dilation, head, tail, tuple(output))

    @property
    def beginnings(self) -> Index:
        """The index of the cells of the padded input at which windows begin."""
        return tuple(slice(None, s * P, s) for s, P in zip(self.stride, self.output, strict=True))

    @property
    def extent(self) -> Shape:
        """The cells from the first to the last that a window looks at: ``d (R − 1) + 1``."""
        return tuple(d * (R - 1) + 1 for R, d in zip(self.kernel, self.dilation, strict=True))

    def taps(self) -> Iterator[tuple[Index, Index, Index]]:
        """Yield every cell of the kernel, row by row: the cell, the outputs that see data there, that data.

        A direct convolution, its two gradients and every pooling are loops over these. What lies in the
        padding never appears, so no value has to stand in for it.

        Yields
        ------
        tap : tuple of Ellipsis and int
            Index of the cell r, into the last axes of kernels.
        outputs, inputs : tuple of Ellipsis and slice
            Indices of the windows p, and of the input's cells ``p s + r d − before`` that they see: as many,
            in the same order.

        Examples
        --------
        >>> for tap, outputs, inputs in Windows.slide(size=(4,), kernel=(3,), padding=((1, 1),)).taps():
        ...     print(tap, outputs, inputs)
        (Ellipsis, 0) (Ellipsis, slice(1, 4, 1)) (Ellipsis, slice(0, 3, 1))
        (Ellipsis, 1) (Ellipsis, slice(0, 4, 1)) (Ellipsis, slice(0, 4, 1))
        (Ellipsis, 2) (Ellipsis, slice(0, 3, 1)) (Ellipsis, slice(1, 4, 1))
        """
        axes = range(len(self.size))
        reach = [[self.reach(axis, r) for r in range(self.kernel[axis])] for axis in axes]
        for tap in np.ndindex(*self.kernel):
            seen = [reach[axis][r] for axis, r in enumerate(tap)]
            if all(outputs.start < outputs.stop for outputs, _ in seen):
                yield (
                    (..., *tap),
                    (..., *(outputs for outputs, _ in seen)),
                    (..., *(inputs for _, inputs in seen)),
                )

    def taps_along(self, axis: int) -> Iterator[tuple[Index, Index]]:
        """Yield every cell of the kernel along one axis: the outputs that see data there, and that data.

        What is computed along one axis after the other, as a sum over boxes, is a loop over these.

        Yields
        ------
        outputs, inputs : tuple of Ellipsis and slice
            As `taps` has them, for arrays whose other axes stay as they are.

        Examples
        --------
        >>> for outputs, inputs in Windows.slide(size=(9, 4), kernel=(3, 2), stride=(1, 2)).taps_along(1):
        ...     print(outputs, inputs)
        (Ellipsis, slice(0, 2, 1)) (Ellipsis, slice(0, 3, 2))
        (Ellipsis, slice(0, 2, 1)) (Ellipsis, slice(1, 4, 2))
        """
        rest = (slice(None),) * (len(self.size) - 1 - axis)
        for r in range(self.kernel[axis]):
            outputs, inputs = self.reach(axis, r)
            if outputs.start < outputs.stop:
                yield (..., outputs, *rest), (..., inputs, *rest)

    def reach(self, axis: int, r: int) -> tuple[slice, slice]:
        """Return the outputs along an axis that see data through the kernel's cell r, and that data.

        Returns
        -------
        outputs, inputs : slice
            As many, in the same order; empty where the cell sees padding alone.
        """
        H, s = self.size[axis], self.stride[axis]
        offset = r * self.dilation[axis] - self.before[axis]
        first = max(0, -(offset // s))  # the smallest p with p s + offset ≥ 0
        last = min(self.output[axis], (H - 1 - offset) // s + 1)  # behind the largest with p s + offset < H
        count = max(last - first, 0)
        start = first * s + offset
        return slice(first, first + count, 1), slice(
            start, start + (count - 1) * s + 1 if count else start, s
        )

    def cells(self, *, padded: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Count, for every window, its cells within the input or, if `padded`, within the padded input.

        Parameters
        ----------
        padded : bool
            Whether cells of padding count.

        Returns
        -------
        ndarray of int64, of the shape of the output

        Examples
        --------
        >>> windows = Windows.slide(size=(3,), kernel=(2,), stride=(2,), padding=((1, 0),), ceil_mode=True)
        >>> windows.cells(padded=True), windows.cells(padded=False)
        (array([2, 2]), array([1, 2]))
        """
        counts = np.ones((), dtype=np.int64)
        for axis, H in enumerate(self.size):
            p, r = np.arange(self.output[axis])[:, None], np.arange(self.kernel[axis])
            cell = p * self.stride[axis] + r * self.dilation[axis] - self.before[axis]
            low, high = (-self.before[axis], H + self.after[axis]) if padded else (0, H)
            counts = counts[..., None] * ((low <= cell) & (cell < high)).sum(axis=1)
        return counts


def same_padding(size: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> tuple[tuple[int, int], ...]:
    """Return the padding that makes ``ceil(H / s)`` windows, the smaller half of it before.

    Parameters
    ----------
    size, kernel, stride, dilation : tuple of int
        As in `Windows`.

    Returns
    -------
    tuple of (before, after)

    Examples
    --------
    >>> same_padding((6,), (3,), (2,), (1,))
    ((0, 1),)
    """
    padding = []
    for H, R, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-H // s) - 1) * s + d * (R - 1) + 1 - H, 0)
        padding.append((total // 2, total - total // 2))
    return tuple(padding)


def axis_values(clause: str, name: str, value: Any, axes: int, *, least: int) -> Shape:
    """Return a parameter as one integer per spatial axis; refuse a wrong number of them or too small ones.

    Parameters
    ----------
    clause, name : str
        How a refusal calls the rule and the parameter.
    value : int or sequence of int
        One for all axes, or one for each.
    axes : int
        How many spatial axes there are.
    least : int
        The smallest value allowed.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError, TypeError

    Examples
    --------
    >>> axis_values("CONV-C3", "stride", 2, 3, least=1)
    (2, 2, 2)
    >>> axis_values("CONV-C3", "stride", (2, 0), 2, least=1)
    Traceback (most recent call last):
        ...
    ValueError: CONV-C3: stride must be at least 1, got (2, 0)
    """
    values = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes:
        raise ValueError(f"{clause}: {name} has {len(values)} values, there are {axes} spatial axes")
    result = tuple(_integer(clause, name, value, number) for number in values)
    if min(result) < least:
        raise ValueError(f"{clause}: {name} must be at least {least}, got {value}")
    return result


def axis_pairs(clause: str, name: str, value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return a padding as one (before, after) per spatial axis.

    Parameters
    ----------
    clause, name : str
        How a refusal calls the rule and the parameter.
    value : int, or sequence of int or of (before, after)
        One for all axes and both sides, one for both sides of each axis, or a pair for each axis.
    axes : int
        How many spatial axes there are.

    Returns
    -------
    tuple of (before, after)

    Raises
    ------
    ValueError, TypeError

    Examples
    --------
    >>> axis_pairs("CONV-C3", "padding", (1, 2), 2)
    ((1, 1), (2, 2))
    >>> axis_pairs("CONV-C3", "padding", ((0, 1), (2, 3)), 2)
    ((0, 1), (2, 3))
    """
    values = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes:
        raise ValueError(f"{clause}: {name} has {len(values)} values, there are {axes} spatial axes")
    pairs = []
    for entry in values:
        pair = entry if isinstance(entry, (tuple, list)) else (entry, entry)
        if len(pair) != 2:
            raise ValueError(f"{clause}: {name} of an axis must be (before, after), got {entry}")
        before, after = (_integer(clause, name, value, number) for number in pair)
        if min(before, after) < 0:
            raise ValueError(f"{clause}: {name} must be at least 0, got {value}")
        pairs.append((before, after))
    return tuple(pairs)


def _integer(clause: str, name: str, value: Any, number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(f"{clause}: {name} must consist of integers, got {value!r}") from None
