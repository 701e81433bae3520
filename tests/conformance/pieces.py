"""A call with its own arrays, and the parts of its result that can be computed apart from each other.

The exact result of a large call, its bound and all that they are made of would take many times the memory of
the arrays. So results are looked at piece by piece, each the result of a smaller call of the same operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.spec.accuracy import FORMATS, Arithmetic, Bound
from gaugeblock.spec.operations import Operation

__all__ = ["Call", "Piece", "cost", "pieces"]

Floats = NDArray[np.float64]
Part = slice | NDArray[np.intp]

ELEMENTS = 1 << 19
"""Elements of a result in one piece, at most: memory for so many is used again, not asked of the system."""

BLOCK = 1 << 34
"""Cost of a piece, about."""

_COSTS = {"elementwise": 1 << 17, "rowwise": 1 << 17, "pooling": 1 << 14, "selection": 1 << 11}
_PIECEWISE_LINEAR = ("ACT-A3", "ACT-A4")


@dataclass(frozen=True)
class Call:
    """A call of an operation with its arrays.

    Parameters
    ----------
    record
        The operation.
    dtype
        The format that it is computed for.
    arrays
        The array arguments.
    parameters
        The others, as given.
    arithmetic
        How it is computed.
    """

    record: Operation
    dtype: str
    arrays: Mapping[str, NDArray[Any]]
    parameters: Mapping[str, Any]
    arithmetic: Arithmetic

    @property
    def operation(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array argument."""
        return {name: array.shape for name, array in self.arrays.items()}

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape that the result must have, if the arguments are legal."""
        return self.record.shape(self.shapes, self.parameters)

    def want(self) -> Floats:
        """Return the exact result; illegal arguments raise what the reference raises."""
        with np.errstate(all="ignore"):
            return np.asarray(self.record.reference(**self.arrays, **self.parameters), np.float64)

    def bound(self, want: Floats) -> Bound:
        """Return how far a right result may lie from it."""
        with np.errstate(all="ignore"):
            return self.record.bound(
                {**self.arrays, **self.parameters}, want, FORMATS[self.dtype], self.arithmetic
            )

    def axes(self) -> dict[int, dict[str, int]]:
        """Return the axes of the result along which it can be cut, with those of the arrays cut with it.

        There are none where the arguments are not legal in a way that cutting would hide.
        """
        shape = self.result_shape
        given = self.record.complete(self.parameters)
        match self.record.kind:
            case "elementwise" | "rowwise" | "selection":
                fixed = range(len(shape))[given["axis"]] if "axis" in given else None
                found = {i: dict.fromkeys(self.arrays, i) for i in range(len(shape)) if i != fixed}
            case "contraction":
                found = {i: self._of_matrices(i - len(shape)) for i in range(len(shape))}
            case "convolution" | "pooling" if not self.operation.endswith(("_weight", "_bias")):
                found = {0: dict.fromkeys(self.arrays.keys() - {"w", "bias"}, 0)}
            case _:
                found = {}
        return {
            axis: cut
            for axis, cut in found.items()
            if all(self.arrays[name].shape[at] == shape[axis] for name, at in cut.items())
        }

    def _of_matrices(self, axis: int) -> dict[str, int]:
        """Return the axes of a, b and c that are one of their product, counted from the end."""
        match axis:
            case -2:
                own = {"a": -1 if self.parameters.get("transpose_a") else -2, "c": -2}
            case -1:
                own = {"b": -2 if self.parameters.get("transpose_b") else -1, "c": -1}
            case _:
                own = dict.fromkeys("abc", axis)
        arrays = {name: self.arrays[name] for name in own if name in self.arrays}
        return {
            name: own[name] % array.ndim
            for name, array in arrays.items()
            if array.ndim >= -own[name] and array.shape[own[name]] > 1  # else it is repeated along the axis
        }

    def cut(self, axis: int, part: Part) -> Call:
        """Return the call whose result is a part of this one's along an axis."""
        arrays = dict(self.arrays)
        for name, at in self.axes()[axis].items():
            arrays[name] = arrays[name][(*(slice(None),) * at, part)]
        parameters = dict(self.parameters)
        if "input_shape" in parameters:  # whose first axis is that of the result
            count = len(np.arange(self.result_shape[axis])[part])
            parameters["input_shape"] = (count, *tuple(parameters["input_shape"])[1:])
        return replace(self, arrays=arrays, parameters=parameters)


@dataclass(frozen=True)
class Piece:
    """A part of a result: where it lies in it, and the call that gives it."""

    where: tuple[slice, ...]
    call: Call


def cost(call: Call) -> int:
    """Return what an element costs to judge, counted in products of a matrix product."""
    record = call.record
    if record.kind in _COSTS:
        cheap = record.clauses["accuracy"] in _PIECEWISE_LINEAR
        return _COSTS["selection" if cheap else record.kind]
    terms = record.reduction(call.shapes, call.parameters) or 1
    return max(terms, 1) * (1 if record.kind == "contraction" else 16)


def pieces(call: Call, *, whole: bool = False) -> Iterator[Piece]:
    """Yield the pieces of a result, all of it once, or one that is all of it."""
    shape = call.result_shape
    everything = Piece(tuple(slice(0, size) for size in shape), call)
    yield from [everything] if whole else _halved(everything, max(min(ELEMENTS, BLOCK // cost(call)), 1))


def _halved(piece: Piece, limit: int) -> Iterator[Piece]:
    sizes = [part.stop - part.start for part in piece.where]
    able = [axis for axis in piece.call.axes() if sizes[axis] > 1] if prod(sizes) > limit else []
    if not able:
        yield piece
        return
    axis = max(able, key=lambda axis: sizes[axis])
    start, half, stop = piece.where[axis].start, sizes[axis] // 2, piece.where[axis].stop
    for own, part in (
        (slice(0, half), slice(start, start + half)),
        (slice(half, None), slice(start + half, stop)),
    ):
        where = (*piece.where[:axis], part, *piece.where[axis + 1 :])
        yield from _halved(Piece(where, piece.call.cut(axis, own)), limit)
