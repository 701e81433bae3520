"""What convolutions through transforms may be off by: Winograd's and Fourier's (clauses CONV-A6, CONV-A7).

Both replace sums of products by fewer multiplications between transforms, whose terms cancel in exact
arithmetic. Their rounding errors do not, so neither is held by the operator on absolute inputs. Winograd's
algorithm is held by the magnitudes of the transformed data, Fourier's by the norms of whole planes.

A product here is any of the three that a convolution and its gradients are: of input and kernel, of gradient
and kernel, of gradient and input.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from itertools import permutations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gaugeblock.reference.convolution_algorithms import winograd_matrices
from gaugeblock.reference.windows import Index, Windows
from gaugeblock.spec.accuracy import Bound
from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.running import gamma

__all__ = ["FOURIER_ROUNDINGS", "Planes", "Tiles", "larger", "winograd_roundings"]

_FLOAT32 = FORMATS["float32"]
_TAPS = 3  # kernel elements per axis that Winograd's algorithm is allowed for

#: Roundings of one butterfly in units of u: √5 of a complex product, 1 of a sum, and 3 of a root of unity.
FOURIER_ROUNDINGS = 6.25

_MOST = 1 << 22  # numbers in the spectra of a call, up to which they are looked at


def larger(direct: Bound, other: Bound, name: str) -> Bound:
    """Return, element by element, the larger of two bounds, with the terms of the one that it is."""
    exceeds = (other.value > direct.value) | np.isposinf(other.value)
    terms = {term: np.where(exceeds, 0.0, value) for term, value in direct.terms.items()}
    terms |= {f"{name}: {term}": np.where(exceeds, value, 0.0) for term, value in other.terms.items()}
    return Bound(terms)


# Winograd


def winograd_roundings(m: int, axes: int) -> int:
    """Return the roundings of an element of F(m, 3) on its way back from the sum over the channels.

    Along each axis it is multiplied by a rounded coefficient and added to those that a result is made of.

    Examples
    --------
    >>> winograd_roundings(2, axes=2), winograd_roundings(4, axes=2)
    (8, 12)
    """
    A, _, _ = _matrices(m)
    return axes * (int(np.max(np.count_nonzero(A, axis=0))) + 1)


@dataclass(frozen=True)
class Tiles:
    """The input of F(m, 3) cut into overlapping tiles, one for every m results of each axis.

    Attributes
    ----------
    x : float64 array, shape (N, C, *tiles, *t)
        The tiles, t = m + 2 long, zero where they lie in the padding.
    w : float64 array, shape (K, C / groups, *kernel)
        The kernels.
    groups : int
        Blocks of channels.
    output : tuple of int
        Lengths of the result.
    m : int
        Results per tile and axis.
    """

    x: Float64
    w: Float64
    groups: int
    output: tuple[int, ...]
    m: int

    @classmethod
    def cut(
        cls, x: Float64, w: Float64, *, before: tuple[int, ...], output: tuple[int, ...], groups: int, m: int
    ) -> "Tiles":
        """Cut tiles that begin at the first result, ``before`` cells in front of the input (or behind it)."""
        axes = len(output)
        count = tuple(-(-length // m) for length in output)
        padded = np.zeros((*x.shape[:2], *(tiles * m + _TAPS - 1 for tiles in count)))
        overlap = [_overlap(*sizes) for sizes in zip(x.shape[2:], padded.shape[2:], before, strict=True)]
        target: Index = (..., *(into for into, _ in overlap))
        source: Index = (..., *(out_of for _, out_of in overlap))
        padded[target] = x[source]
        t = m + _TAPS - 1
        patches = sliding_window_view(padded, (t,) * axes, axis=tuple(range(-axes, 0)))
        every: Index = (..., *(slice(None, None, m),) * axes, *(slice(None),) * axes)
        return cls(patches[every], w, groups, output, m)

    def sizes(self, u: float) -> tuple[Float64, Float64, Float64]:
        """Return what the sum over the channels has of every tile, transformed back by magnitudes.

        Returns
        -------
        product : float64 array
            Σ |transformed kernel| · |transformed input|, as large as their errors may make it.
        operands : float64 array
            Σ |transformed kernel| + |transformed input|, likewise.
        carried : float64 array
            What the errors of the transforms are in the sum.
        """
        A, B, G = _matrices(self.m)
        (kernels, of_kernels), (inputs, of_inputs) = (
            _transformed(matrix, array, self._axes, u) for matrix, array in ((G, self.w), (B.T, self.x))
        )
        carried = self._mixed(kernels, of_inputs) + self._mixed(of_kernels, inputs + of_inputs)
        kernels, inputs = kernels + of_kernels, inputs + of_inputs
        operands = self._mixed(kernels, np.ones_like(inputs)) + self._mixed(np.ones_like(kernels), inputs)
        sums = self._mixed(kernels, inputs), operands, carried
        product, operands, carried = (self._back(np.abs(A), part) for part in sums)
        return product, operands, carried

    def beyond(self, limit: float) -> NDArray[np.bool_]:
        """Tell which results have a sum in a transform of their tile, or of their kernel, beyond a limit."""
        _, B, G = (np.abs(matrix) for matrix in _matrices(self.m))
        kernels, inputs = _along(G, np.abs(self.w), self._axes), _along(B.T, np.abs(self.x), self._axes)
        return self._touched_by(kernels > limit, inputs > limit)

    def touched(self) -> NDArray[np.bool_]:
        """Tell which results have an element other than zero in their tile, or in their kernel."""
        _, B, G = (np.ones_like(matrix) for matrix in _matrices(self.m))
        kernels, inputs = _along(G, np.abs(self.w), self._axes), _along(B.T, np.abs(self.x), self._axes)
        return self._touched_by(kernels > 0, inputs > 0)

    def _touched_by(self, kernels: NDArray[np.bool_], inputs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which results have one of these elements in their transformed tile, or kernel."""
        left, right = kernels.astype(np.float64), inputs.astype(np.float64)
        mixed = self._mixed(left, np.ones_like(right)) + self._mixed(np.ones_like(left), right)
        return self._back(np.ones_like(_matrices(self.m)[0]), mixed) > 0

    @property
    def _axes(self) -> int:
        return len(self.output)

    def _mixed(self, kernels: Float64, inputs: Float64) -> Float64:
        """Sum products over the channels of a group, for every tile and every cell of it."""
        (K, per_group, *t), N, groups = kernels.shape, inputs.shape[0], self.groups
        tiles, cells = inputs.shape[2 : 2 + self._axes], math.prod(t)
        mixed = np.einsum(
            "ngcTt,gkct->ngkTt",
            inputs.reshape(N, groups, per_group, math.prod(tiles), cells),
            kernels.reshape(groups, K // groups, per_group, cells),
        )
        return np.asarray(mixed.reshape(N, K, *tiles, *t))

    def _back(self, A: Float64, mixed: Float64) -> Float64:
        """Transform tiles back and lay their results side by side."""
        axes = self._axes
        results = _along(A.T, mixed, axes)
        tiles = results.shape[2 : 2 + axes]
        order = [axis for i in range(axes) for axis in (2 + i, 2 + axes + i)]
        whole = results.transpose(0, 1, *order).reshape(*results.shape[:2], *(self.m * n for n in tiles))
        inside: Index = (..., *(slice(length) for length in self.output))
        return np.asarray(whole[inside])


def _overlap(length: int, room: int, before: int) -> tuple[slice, slice]:
    """Return where an input lies in its padded copy, and which part of it does; padding may cut off."""
    start = max(-before, 0)
    count = max(min(length - start, room - max(before, 0)), 0)
    return slice(max(before, 0), max(before, 0) + count), slice(start, start + count)


@cache
def _matrices(m: int) -> tuple[Float64, Float64, Float64]:
    """Return A, B and G of F(m, 3)."""
    A, B, G = (matrix.astype(np.float64) for matrix in winograd_matrices(m, _TAPS))
    return A, B, G


def _at(axis: int, matrix: Float64, array: Float64) -> Float64:
    """Multiply one of the last axes by a matrix."""
    return np.moveaxis(np.tensordot(array, matrix, axes=(axis, 1)), -1, axis)


def _along(matrix: Float64, array: Float64, axes: int) -> Float64:
    """Multiply each of the last axes by a matrix."""
    return reduce(lambda product, axis: _at(axis, matrix, product), range(-axes, 0), array)


def _transformed(matrix: Float64, array: Float64, axes: int, u: float) -> tuple[Float64, Float64]:
    """Return the magnitudes of a transform along the last axes, and their largest error in any order of them.

    A row of ν coefficients other than zero, however it is scaled, costs ν + 1 roundings: of a coefficient, of
    a product, and of ν − 1 sums. Later axes see the transforms of earlier ones, and their errors.
    """
    terms = np.count_nonzero(matrix, axis=1).astype(np.float64)
    values, worst = array, np.zeros(())
    for order in permutations(range(-axes, 0)):
        values, error = array, np.zeros_like(array)
        for axis in order:
            each = (terms + 1).reshape(-1, *(1,) * (-axis - 1))
            size = _at(axis, np.abs(matrix), np.abs(values) + error)
            error = _at(axis, np.abs(matrix), error) + gamma(each, u) * size
            error = error + each * _FLOAT32.smallest_normal
            values = _at(axis, matrix, values)
        worst = np.maximum(worst, error)
    return np.abs(values), np.asarray(worst)


# Fourier


@dataclass(frozen=True)
class Planes:
    """The two arrays that are multiplied, as planes with norms.

    Attributes
    ----------
    left, right : float64 array
        Without NaN and infinities. The first two axes tell the planes apart.
    product : callable
        The same product for planes of one element, which adds up the channels (or the batch) that meet.
    meeting : tuple of int
        The axis of each array along which they do.
    apart : tuple of tuple of int
        How far apart the elements of each array lie on the circles of the transforms.
    windows : Windows
        Of the convolution, which say how long its transforms are.
    """

    left: Float64
    right: Float64
    product: Callable[[Float64, Float64], Float64]
    meeting: tuple[int, int]
    apart: tuple[tuple[int, ...], tuple[int, ...]]
    windows: Windows

    def terms(self, u: float, addends: int) -> Mapping[str, Float64]:
        """Return the terms of the bound, one number for each plane of the result, a sum of planes."""
        f, length = self._transform(u), self._length
        roundings = gamma(addends + 2 ** len(self.windows.size) + 4, u)
        left, right = (_norm(plane, 2) for plane in (self.left, self.right))
        norms = self.product(left, right)
        spread_left, spread_right = (
            _norm(plane, 1) + f * math.sqrt(length) * norm
            for plane, norm in ((self.left, left), (self.right, right))
        )
        young = (1 + f) * np.minimum(self.product(left, spread_right), self.product(spread_left, right))
        size = np.minimum(young, self._of_products(addends) + 2 * f * (1 + f) * math.sqrt(length) * norms)
        tiny = 4 * _FLOAT32.smallest_subnormal * length * max(math.log2(length), 1)
        return {
            "products": ((1 + f) ** 2 * (1 + roundings) - 1) * norms,
            "transform back": f * (1 + roundings) * size,
            "subnormals": tiny * (1 + self._met(left, right)),
        }

    def _of_products(self, addends: int) -> Float64:
        """Return the sum of the 2-norms of the exact products of planes, on circles of any length.

        By Parseval's theorem a norm is that of the product of the spectra. On a shorter circle two places of
        an axis may fall on one, which makes the square of the norm no more than twice as large. The sum of
        the norms is that of their squares at most, times the root of their number.
        """
        if self.left.size == 0 or self.right.size == 0:
            return np.zeros(())
        axes = tuple(range(2, self.left.ndim))
        sizes = [
            tuple((n - 1) * step + 1 for n, step in zip(array.shape[2:], steps, strict=True))
            for array, steps in zip((self.left, self.right), self.apart, strict=True)
        ]
        circle = tuple(1 << (sum(pair) - 2).bit_length() for pair in zip(*sizes, strict=True))
        length = math.prod(circle)
        if sum(math.prod(array.shape[:2]) for array in (self.left, self.right)) * length > _MOST:
            return np.asarray(np.inf)
        powers = []
        for array, size, steps, axis in zip(
            (self.left, self.right), sizes, self.apart, self.meeting, strict=True
        ):
            spread = np.zeros((*array.shape[:2], *size))
            every: Index = (..., *(slice(None, None, step) for step in steps))
            spread[every] = array
            power = np.square(np.abs(np.fft.fftn(spread, circle, axes))).reshape(*array.shape[:2], length)
            powers.append(_folded(power, axis, len(axes)))
        return np.asarray(np.sqrt(2.0 ** len(axes) * addends * self.product(*powers) / length))

    def product_of_norms(self) -> Float64:
        """Return the sum of products of 2-norms, which no element of the result exceeds."""
        return self.product(_norm(self.left, 2), _norm(self.right, 2))

    def spectrum(self) -> Float64:
        """Return the sum of products of 1-norms, which no element of the result's spectrum exceeds."""
        return self.product(_norm(self.left, 1), _norm(self.right, 1))

    def beyond(self, limit: float) -> NDArray[np.bool_]:
        """Tell which planes of the result are made of a plane whose own spectrum may exceed a limit."""
        left, right = ((_norm(plane, 1) > limit).astype(np.float64) for plane in (self.left, self.right))
        return self._met(left, right) > 0

    def touched(self) -> NDArray[np.bool_]:
        """Tell which planes of the result are made of a plane with an element other than zero."""
        return self._met(_norm(self.left, 1), _norm(self.right, 1)) > 0

    def _met(self, left: Float64, right: Float64) -> Float64:
        """Return the sum of two numbers of each pair of planes that is multiplied."""
        return self.product(left, np.ones_like(right)) + self.product(np.ones_like(left), right)

    @property
    def _length(self) -> int:
        """Elements of a transform: per axis the padded input and the dilated kernel, to a power of two."""
        axes = zip(
            self.windows.size, self.windows.before, self.windows.after, self.windows.extent, strict=True
        )
        return math.prod(1 << (sum(axis) - 1).bit_length() for axis in axes)

    def _transform(self, u: float) -> float:
        """Return the relative error of a transform in the 2-norm."""
        t = FOURIER_ROUNDINGS * u * max(math.log2(self._length), 1)
        return t / (1 - t)


def _folded(planes: Float64, axis: int, axes: int) -> Float64:
    """Return planes of one element: those on the last axis count as more planes, along another axis."""
    moved = np.moveaxis(planes, -1, axis + 1)
    shape = list(moved.shape)
    shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    return moved.reshape(*shape, *(1,) * axes)


def _norm(planes: Float64, order: int) -> Float64:
    """Return the norm of every plane, with axes of length 1 in its place."""
    axes = tuple(range(2, planes.ndim))
    total = np.sum(np.abs(planes) ** order, axis=axes, keepdims=True)
    return np.asarray(np.sqrt(total) if order == 2 else total)
