"""Convolution by the convolution theorem on the device: in the frequency domain it is a product.

Along each axis the three arrays of a convolution lie on a circle of L positions: element i of x at
i + before, position p of y at p · stride, tap r of w at r · dilation. Three elements that meet in a product
are those of which x's position is the sum of the other two. So y is the correlation of x with w, dw that of
x with dy, and dx the convolution of dy with w, for every stride and dilation: what they leave out lies
between the positions that count. L is a power of two so long that no sum goes around.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.convolution.problem import FORWARD, INPUT, Arrays, Geometry, naive
from gaugeblock.gpu.runtime.device import ELEMENTS, DeviceArray, device, to_device
from gaugeblock.gpu.runtime.launching import steps

__all__ = ["LONGEST", "fourier", "lengths"]

LONGEST: Final = 4096
"""The longest transform, which a block still holds in shared memory."""

_DTYPE: Final = "float32"
_PLANES, _PLACES, _SPECTRA = struct.Struct("10q"), struct.Struct("3q"), struct.Struct("14q")


def lengths(geometry: Geometry) -> tuple[int, ...]:
    """Return the length of the transform along each axis: a power of two from 4 on, or 1 for no transform.

    Examples
    --------
    >>> from gaugeblock.reference.windows import Windows
    >>> windows = Windows.slide(size=(60, 1), kernel=(11, 1), padding=((5, 5), (0, 0)))
    >>> lengths(Geometry(1, 1, 1, 1, windows))
    (128, 1)
    """
    w = geometry.windows
    axes = zip(w.size, w.before, w.output, w.stride, w.extent, strict=True)
    return tuple(_length(H, before, max(P - 1, 0) * s, extent - 1) for H, before, P, s, extent in axes)


def _length(H: int, before: int, last_window: int, last_tap: int) -> int:
    """Return the least power of two at which no two sums of positions fall together that must not."""
    meeting = last_window + last_tap - before + 1
    needed = max(before + H, meeting, last_window + 1, last_tap + 1)
    return 1 if needed == 1 else max(4, 1 << (needed - 1).bit_length())


def fourier(product: int, geometry: Geometry, arrays: Arrays, activation: str = "identity") -> None:
    """Launch a convolution or one of its gradients, in float32.

    Parameters
    ----------
    product : int
        FORWARD, INPUT or WEIGHT.
    geometry, arrays
        The problem.
    activation : str
        The struct of ``kernels/shared/functions.cuh`` that ends it.
    """
    factors, result = _pictures(product, geometry, arrays)
    if any(0 in factor.array.shape for factor in factors):  # an empty sum has no spectrum
        naive(product, geometry, arrays, _DTYPE, activation)
        return
    circles = _Circles.of(geometry)
    left, right = (circles.spectra(factor) for factor in factors)
    products = _multiplied(product, geometry, circles, left, right)
    circles.back(products, result, arrays, activation)


# Arrays on circles ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    """An array, and where it lies on each circle: the step between elements and the first one's position."""

    array: DeviceArray
    step: tuple[int, ...]
    offset: tuple[int, ...]


def _pictures(product: int, geometry: Geometry, arrays: Arrays) -> tuple[tuple[_Picture, _Picture], _Picture]:
    """Return the two factors and the result."""
    assert arrays.x is not None
    assert arrays.w is not None
    assert arrays.y is not None
    w, zeros = geometry.windows, (0,) * geometry.rank
    x = _Picture(arrays.x, (1,) * geometry.rank, w.before)
    y = _Picture(arrays.y, w.stride, zeros)
    filters = _Picture(arrays.w, w.dilation, zeros)
    if product == FORWARD:
        return (x, filters), y
    return ((y, filters), x) if product == INPUT else ((x, y), filters)


@dataclass(frozen=True)
class _Circles:
    """The transforms of a problem, along three axes of which the last is never without.

    Attributes
    ----------
    order : tuple of int
        The spatial axes, those without a transform first.
    points : tuple of int
        The lengths of the three transforms, those of axes that the problem has not included.
    """

    order: tuple[int, ...]
    points: tuple[int, int, int]

    @classmethod
    def of(cls, geometry: Geometry) -> _Circles:
        points = lengths(geometry)
        order = tuple(sorted(range(geometry.rank), key=lambda axis: points[axis] > 1))
        first, second, last = (*(1,) * (3 - geometry.rank), *(points[axis] for axis in order))
        return cls(order, (first, second, max(last, 4)))

    @property
    def frequencies(self) -> int:
        """Numbers of a half spectrum."""
        return math.prod(self.points[:2]) * self.width

    @property
    def width(self) -> int:
        """Numbers of a half spectrum along the last axis."""
        return self.points[2] // 2 + 1

    @property
    def roots(self) -> DeviceArray:
        """The roots of unity of the longest transform; shorter ones take every so many."""
        points = max(self.points)
        constants = device().constants
        if ("roots of unity", points) not in constants:
            constants["roots of unity", points] = to_device(_roots(points))
        return constants["roots of unity", points]

    # From an array to its spectra and back.

    def spectra(self, picture: _Picture) -> DeviceArray:
        """Transform the planes of an array, rows first."""
        planes, (heights, widths, _) = math.prod(picture.array.shape[:2]), self._lengths(picture)
        spectra = DeviceArray((planes, heights, widths, self.width, 2), _DTYPE)
        self._launch(
            "fft_rows",
            f"{_PLANES.size}sPPPq{_PLACES.size}s",
            self.points[2],
            planes * -(-heights * widths // 2),
            self._planes(picture.array),
            picture.array.pointer,
            spectra.pointer,
            *self._roots_for(2),
            self._places(picture, 2),
        )
        spectra = self._columns(spectra, picture, 1, planes * heights, self.width)
        return self._columns(spectra, picture, 0, planes, self.points[1] * self.width)

    def back(self, spectra: DeviceArray, picture: _Picture, arrays: Arrays, activation: str) -> None:
        """Transform spectra to the planes of an array, rows last, and write them."""
        planes, (heights, widths, _) = math.prod(picture.array.shape[:2]), self._lengths(picture)
        spectra = self._columns(spectra, picture, 0, planes, self.points[1] * self.width, back=True)
        spectra = self._columns(spectra, picture, 1, planes * heights, self.width, back=True)
        bias, residual = arrays.bias, arrays.residual
        self._launch(
            "fft_rows_back",
            f"{_PLANES.size}sPPq{_PLACES.size}sPq{_PLANES.size}sPP",
            self.points[2],
            planes * -(-heights * widths // 2),
            self._planes(picture.array),
            spectra.pointer,
            *self._roots_for(2),
            self._places(picture, 2),
            0 if bias is None else bias.pointer,
            0 if bias is None else steps(bias)[0][0],
            self._planes(picture.array if residual is None else residual),
            0 if residual is None else residual.pointer,
            picture.array.pointer,
            activation=activation,
        )

    def _columns(
        self, spectra: DeviceArray, picture: _Picture, axis: int, outer: int, inner: int, back: bool = False
    ) -> DeviceArray:
        """Transform along one of the slower axes: from the elements there are to all points, or back."""
        points = self.points[axis]
        if points == 1:
            return spectra
        places, everywhere = self._places(picture, axis), _PLACES.pack(points, 1, 0)
        length = self._lengths(picture)[axis] if back else points
        result = DeviceArray((outer, length, inner, 2), _DTYPE)
        self._launch(
            "fft_columns",
            f"PPPqqq{_PLACES.size}s{_PLACES.size}si",
            points,
            outer * inner,
            spectra.pointer,
            result.pointer,
            *self._roots_for(axis),
            outer,
            inner,
            *((everywhere, places) if back else (places, everywhere)),
            int(back),
        )
        return result

    def _launch(
        self,
        entry: str,
        signature: str,
        points: int,
        lines: int,
        *arguments: int | bytes,
        activation: str = "identity",
    ) -> None:
        defines = (("ACTIVATION", activation), ("ELEMENT", ELEMENTS[_DTYPE]), ("POINTS", points))
        kernel = device().function("convolution/fft.cu", entry, signature, defines)
        of_block = _lines(points)
        kernel.prepared_async_call(
            (-(-lines // of_block), 1, 1), (of_block * points // 4, 1, 1), None, *arguments
        )

    # What kernels are told.

    def _lengths(self, picture: _Picture) -> tuple[int, int, int]:
        """Return the lengths of an array's three axes, those it has not included."""
        shape = picture.array.shape[2:]
        first, second, last = (*(1,) * (3 - len(shape)), *(shape[axis] for axis in self.order))
        return first, second, last

    def _planes(self, array: DeviceArray) -> bytes:
        """Return the struct ``Planes`` of ``kernels/convolution/fft.cu``."""
        (stride,) = steps(array)
        pad = 3 - len(self.order)
        axes = (2 + axis for axis in self.order)
        lengths_and_strides = [(array.shape[axis], stride[axis]) for axis in axes]
        ahead = [(1, 0)] * pad + lengths_and_strides
        return _PLANES.pack(*array.shape[:2], *stride[:2], *(n for n, _ in ahead), *(s for _, s in ahead))

    def _places(self, picture: _Picture, axis: int) -> bytes:
        """Return the struct ``Places`` of an array along one of the three axes."""
        at = axis - 3 + len(self.order)
        if at < 0:
            return _PLACES.pack(1, 1, 0)
        own = self.order[at]
        return _PLACES.pack(picture.array.shape[2 + own], picture.step[own], picture.offset[own])

    def _roots_for(self, axis: int) -> tuple[int, int]:
        """Return the table of roots, and the step between those that a transform takes."""
        return self.roots.pointer, max(self.points) // self.points[axis]


@functools.cache
def _roots(points: int) -> NDArray[np.float32]:
    """Return exp(−2πi k / points) for all k, each part rounded once."""
    angles = -2 * np.pi * np.arange(points) / points
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


def _lines(points: int) -> int:
    """Return ``LINES`` of ``kernels/convolution/fft.cu``: how many lines share a block."""
    quarter = points // 4
    if quarter < 32:
        return 128 // quarter
    return 4 if quarter < 256 else 1024 // quarter


# The products --------------------------------------------------------------------------------------------


def _multiplied(
    product: int, geometry: Geometry, circles: _Circles, left: DeviceArray, right: DeviceArray
) -> DeviceArray:
    """Launch the products of spectra; the factor of the transform back is in them."""
    N, G, K, C = geometry.batch, geometry.groups, geometry.K, geometry.C
    x, y, w = (G * C, 1, C), (G * K, 1, K), (C, 1, K * C)  # planes from batch to batch, channel, group
    if product == FORWARD:
        sizes, of_left, of_right, of_out = (N, K, C), x, w, y
    elif product == INPUT:
        sizes, of_left, of_right, of_out = (N, C, K), y, (1, C, K * C), x
    else:
        sizes, of_left, of_right, of_out = (C, K, N), (1, G * C, C), (1, G * K, K), (1, C, K * C)
    M, columns, _ = sizes
    packed = _SPECTRA.pack(circles.frequencies, G, *sizes, *of_left, *of_right, *of_out)
    result = DeviceArray((G * M * columns, circles.frequencies, 2), _DTYPE)
    defines = (("CONJUGATE", int(product != INPUT)), ("ELEMENT", ELEMENTS[_DTYPE]))
    kernel = device().function(
        "convolution/fft_products.cu", "fft_products", f"{_SPECTRA.size}sPPPf", defines
    )
    blocks = -(-circles.frequencies // 128) * -(-M // 4) * -(-columns // 4) * G
    scale = 1 / math.prod(circles.points)
    kernel.prepared_async_call(
        (blocks, 1, 1), (128, 1, 1), None, packed, left.pointer, right.pointer, result.pointer, scale
    )
    return result
