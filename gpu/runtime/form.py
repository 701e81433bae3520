"""What an array looks like, wherever it lies: one object for all arrays that look the same."""

from __future__ import annotations

from operator import index
from typing import Any, Final

import numpy as np

__all__ = ["Form", "form_of", "packed_strides", "span"]


class Form:
    """Shape, element type, strides in bytes, and whether the array may be written.

    Attributes
    ----------
    low, high : int
        The first byte and the end of what it spans, relative to its first element.
    """

    __slots__ = ("dtype", "high", "low", "shape", "strides", "writable")

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...], writable: bool
    ) -> None:
        self.shape, self.dtype, self.strides, self.writable = shape, dtype, strides, writable
        self.low, self.high = span(self)


_FORMS: Final[dict[tuple[object, ...], Form]] = {}
_MOST: Final = 1 << 14


def form_of(shape: Any, dtype: Any, strides: Any = None, writable: bool = True) -> Form:
    """Return the form of an array, the same object for the same arguments; C order without strides.

    Two objects may stand for one form where many are in use, never one for two.
    """
    key = (shape, dtype, strides, writable)
    found = _FORMS.get(key)
    if found is None:
        if len(_FORMS) >= _MOST:
            _FORMS.clear()
        lengths, dtype = tuple(map(index, shape)), np.dtype(dtype)
        steps = packed_strides(lengths, dtype.itemsize) if strides is None else tuple(map(index, strides))
        own = (lengths, dtype, steps, writable)
        found = _FORMS[key] = _FORMS.setdefault(own, Form(*own))
    return found


def packed_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the strides in bytes of an array in C order."""
    strides, step = [], itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= max(1, length)
    return tuple(reversed(strides))


def span(array: Any) -> tuple[int, int]:
    """Return the first byte and the end of what the array touches, relative to its first element."""
    if 0 in array.shape:
        return 0, 0
    reach = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
    return sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + int(array.dtype.itemsize)
