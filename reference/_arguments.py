"""What every operation does with an array argument: check it, and widen it."""

from __future__ import annotations

import math
from collections.abc import Collection
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


def widened(clause: str, *, optional: Collection[str] = (), **arrays: Array | None) -> list[Array]:
    """Return the arrays as float64, or, if they hold fractions, as they are; all must have one dtype.

    Those whose names are `optional` may be None, and are then left out.

    float16, bfloat16, float32 and float64 are floats: each of their values is a value of float64. An integer
    array is refused rather than cast, and so is a longer float, which would lose digits.
    """
    given: dict[str, Array] = {}
    for name, array in arrays.items():
        if array is not None or name not in optional:
            given[name] = check_numbers(clause, name, array)
    (first, model), *others = given.items()
    for name, array in others:
        check_same_dtype(clause, first, model.dtype, name, array.dtype)
    return [array if array.dtype == object else array.astype(np.float64) for array in given.values()]


def check_numbers(clause: str, name: str, array: Any) -> Array:
    """Return an array of floats or fractions; refuse all else, masked arrays and matrices included."""
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"{clause}: {name} must be an array of floats, got {type(array).__name__}")
    if array.dtype == object:
        for value in array.flat:
            if not isinstance(value, Fraction):
                raise TypeError(f"{clause}: {name} must hold fractions only, got {type(value).__name__}")
    elif "float" not in array.dtype.name or not np.can_cast(array.dtype, np.float64):
        raise TypeError(f"{clause}: {name} must be an array of floats, got an array of {array.dtype.name}")
    return array


def check_same_dtype(clause: str, a_name: str, a: np.dtype[Any], b_name: str, b: np.dtype[Any]) -> None:
    """Refuse two arrays of different dtypes: nothing is cast silently."""
    if a != b:
        raise TypeError(f"{clause}: {a_name} has dtype {a.name}, {b_name} has dtype {b.name}")


def like(array: Array, value: Any) -> Any:
    """Return a parameter as the kind of number that the array holds: exactly, next to fractions."""
    if array.dtype == object and math.isfinite(value):
        return Fraction(value)
    return float(value)
