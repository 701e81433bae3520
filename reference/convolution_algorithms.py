r"""Four ways to the same convolution: direct, im2col + GEMM, FFT and Winograd.

All take the layer's arrays with the groups on an axis of their own, and the `Windows` that say where outputs
look:

- `x`: inputs, shape (N, G, C/G, \*size)
- `w`: weights, shape (G, K/G, C/G, \*kernel)
- y: outputs, shape (N, G, K/G, \*output)

The first three work in 1, 2 and 3 dimensions with any stride, padding and dilation; Winograd's saves
multiplications for kernels of 3 cells at stride 1. In fractions `direct`, `im2col` and `winograd` agree
exactly. In float64, `direct` and `im2col` are within γ_n · (the same operator on absolute values), n the
number of products; FFT and Winograd trade accuracy for speed, and spread errors: a NaN or Inf anywhere can
reach outputs that do not look at it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gaugeblock.reference._arguments import Array, Shape, like
from gaugeblock.reference.windows import Index, Windows

__all__ = [
    "WinogradMatrices",
    "direct",
    "fft",
    "im2col",
    "im2col_input",
    "im2col_weight",
    "mix",
    "winograd",
    "winograd_matrices",
]

_MOST = 2**20  # numbers in the columns of one step of im2col: what a cache near the core holds


def mix(w: Array, x: Array) -> Array:
    """Multiply the channels of every pixel by a matrix: what a 1×1 convolution is.

    Parameters
    ----------
    w : ndarray, shape (G, K, C)
        One matrix for each group of channels.
    x : ndarray, shape (N, G, C, *pixels)
        The pixels.

    Returns
    -------
    ndarray, shape (N, G, K, *pixels)

    Examples
    --------
    >>> mix(np.array([[[1.0, 10.0]]]), np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    array([[[[31., 42.]]]])
    """
    N, G, C, *pixels = x.shape
    result: Array = np.matmul(w, x.reshape(N, G, C, math.prod(pixels)))
    return result.reshape(N, G, w.shape[1], *pixels)


def direct(x: Array, w: Array, windows: Windows) -> Array:
    r"""Convolve by the definition: every cell of the kernel adds what it sees to the outputs that see it.

    .. math:: y_{nkp} = \sum_r \sum_c w_{kcr} x_{nc, ps + rd - before}

    Nothing is multiplied with the padding, so an infinite weight there makes no NaN.

    Parameters
    ----------
    x, w : ndarray
        The arrays, with groups.
    windows : Windows
        Where outputs look.

    Returns
    -------
    ndarray
        The outputs, with groups.

    Examples
    --------
    >>> windows = Windows.slide(size=(4,), kernel=(2,))
    >>> direct(np.array([[[[1.0, 2.0, 4.0, 8.0]]]]), np.array([[[[-1.0, 1.0]]]]), windows)
    array([[[[1., 2., 4.]]]])
    """
    y = _zeros(x, w, windows)
    for tap, outputs, inputs in windows.taps():
        y[outputs] += mix(w[tap], x[inputs])
    return y


def im2col(x: Array, w: Array, windows: Windows) -> Array:
    """Convolve by one matrix product: the patch under each window becomes a column.

    The kernels are the rows (K/G × C/G·R·S), the patches the columns (C/G·R·S × P·Q). The padding holds
    zeros, which are multiplied too: `w` must be finite.

    Parameters
    ----------
    x, w : ndarray
        The arrays, with groups.
    windows : Windows
        Where outputs look.

    Returns
    -------
    ndarray
        The outputs, with groups.

    References
    ----------
    .. [1] K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document
       processing", IWFHR 2006.

    Examples
    --------
    >>> windows = Windows.slide(size=(4,), kernel=(2,))
    >>> im2col(np.array([[[[1.0, 2.0, 4.0, 8.0]]]]), np.array([[[[-1.0, 1.0]]]]), windows)
    array([[[[1., 2., 4.]]]])
    """
    y = _zeros(x, w, windows)
    if y.size == 0:
        return y
    G, K, C = w.shape[:3]
    rows = w.reshape(G, K, C * math.prod(windows.kernel))
    for images in _chunks(x, windows):
        columns = _columns(x[images], windows)
        y[images] += np.matmul(rows, columns).reshape(y[images].shape)
    return y


def im2col_input(dy: Array, w: Array, windows: Windows) -> Array:
    """Return the gradient of the input by one matrix product: patches, added up where they overlap.

    It is the transpose of `im2col`: the transposed kernels (C/G·R·S × K/G) times the gradients (K/G × P·Q)
    are what each output hands back to each cell of its patch. What the padding would get is dropped.

    Parameters
    ----------
    dy, w : ndarray
        Gradients of the outputs, and the weights, with groups.
    windows : Windows
        Where outputs look.

    Returns
    -------
    ndarray
        Of the shape of the inputs, with groups.

    Examples
    --------
    >>> windows = Windows.slide(size=(4,), kernel=(2,))
    >>> im2col_input(np.array([[[[1.0, 10.0, 100.0]]]]), np.array([[[[-1.0, 1.0]]]]), windows)
    array([[[[ -1.,  -9., -90., 100.]]]])
    """
    N, G, K, C = *dy.shape[:3], w.shape[2]
    dx = np.full((N, G, C, *windows.size), like(dy, 0))
    columns = np.swapaxes(w.reshape(G, K, C * math.prod(windows.kernel)), 1, 2)
    for images in _chunks(dx, windows):
        handed = np.matmul(columns, _pixels(dy[images], windows))
        handed = handed.reshape(len(handed), G, C, *windows.kernel, *windows.output)
        by_tap = np.moveaxis(handed, range(3, 3 + len(windows.kernel)), range(len(windows.kernel)))
        for (_, *tap), outputs, inputs in windows.taps():
            dx[images][inputs] += by_tap[tuple(tap)][outputs]
    return dx


def im2col_weight(dy: Array, x: Array, windows: Windows) -> Array:
    """Return the gradient of the weights by matrix products: the gradients of an image times its patches.

    Parameters
    ----------
    dy, x : ndarray
        Gradients of the outputs, and the inputs, with groups. The padding holds zeros, which are multiplied
        too: `dy` must be finite.
    windows : Windows
        Where outputs look.

    Returns
    -------
    ndarray
        Of the shape of the weights, with groups.

    Examples
    --------
    >>> windows = Windows.slide(size=(4,), kernel=(2,))
    >>> im2col_weight(np.array([[[[1.0, 10.0, 100.0]]]]), np.array([[[[1.0, 2.0, 4.0, 8.0]]]]), windows)
    array([[[[421., 842.]]]])
    """
    G, K, C = *dy.shape[1:3], x.shape[2]
    dw = np.full((G, K, C * math.prod(windows.kernel)), like(dy, 0))
    for images in _chunks(x, windows) if dy.size else ():
        pixels, columns = _pixels(dy[images], windows), _columns(x[images], windows)
        dw += np.matmul(pixels, np.swapaxes(columns, 2, 3)).sum(axis=0)
    return dw.reshape(G, K, C, *windows.kernel)


def _chunks(x: Array, windows: Windows) -> Iterator[slice]:
    """Yield so many images at a time that their patches, R·S times larger than they are, stay small."""
    size = math.prod((*x.shape[1:3], *windows.kernel, *windows.output))
    count = max(_MOST // max(size, 1), 1)
    for start in range(0, len(x), count):
        yield slice(start, min(start + count, len(x)))


def fft(x: Array, w: Array, windows: Windows) -> Array:
    """Convolve by the convolution theorem: in the frequency domain a convolution is a product.

    Where the layer's kernel is not reversed (cross-correlation), its spectrum is conjugated. The transforms
    are as long as the padded input, so what would wrap around lies outside of the windows.

    Parameters
    ----------
    x, w : ndarray of float64
        The arrays, with groups.
    windows : Windows
        Where outputs look.

    Returns
    -------
    ndarray
        The outputs, with groups.

    References
    ----------
    .. [1] M. Mathieu, M. Henaff and Y. LeCun, "Fast training of convolutional networks through FFTs", 2013,
       arXiv:1312.5851.
    .. [2] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".

    Examples
    --------
    >>> windows = Windows.slide(size=(4,), kernel=(2,))
    >>> fft(np.array([[[[1.0, 2.0, 4.0, 8.0]]]]), np.array([[[[-1.0, 1.0]]]]), windows).round(12)
    array([[[[1., 2., 4.]]]])
    """
    if _zeros(x, w, windows).size == 0:
        return _zeros(x, w, windows)
    axes = _last(len(windows.size))
    padded = _padded(x, windows)
    size = padded.shape[axes[0] :]
    spread = np.zeros((*w.shape[:3], *windows.extent))
    spread[_every(windows.dilation)] = w
    spectrum = np.einsum(
        "gkc...,ngc...->ngk...",
        np.conj(np.fft.rfftn(spread, s=size, axes=axes)),
        np.fft.rfftn(padded, s=size, axes=axes),
    )
    everywhere: Array = np.fft.irfftn(spectrum, s=size, axes=axes)
    return everywhere[(..., *windows.beginnings)]


class WinogradMatrices(NamedTuple):
    """The three matrices of F(m, r): ``y = Aᵀ [(G w) ⊙ (Bᵀ x)]``, all of fractions.

    Attributes
    ----------
    A : ndarray, shape (m + r − 1, m)
        Of the outputs.
    B : ndarray, shape (m + r − 1, m + r − 1)
        Of the inputs.
    G : ndarray, shape (m + r − 1, r)
        Of the kernel.
    """

    A: Array
    B: Array
    G: Array


def winograd_matrices(m: int, r: int = 3) -> WinogradMatrices:
    r"""Derive Winograd's F(m, r): m outputs of a kernel of r cells from t = m + r − 1 multiplications.

    A polynomial product g·d of r and m coefficients has t of them. It can be computed by evaluating both
    factors at t points, multiplying the values, and interpolating (Cook and Toom): s = V⁻¹ [(V_r g) ⊙
    (V_m d)], where V_n has the rows 1, a, a², …, aⁿ⁻¹. The transpose of that linear map of d correlates
    instead of convolving:

    .. math:: y = V_m^T \left[ (V_r\, w) \odot (V^{-T} x) \right]

    Hence A = V_m, G = V_r and B = V⁻¹. The points are 0, 1, −1, 2, −2, 1/2, −1/2, … and infinity, where a
    polynomial's value is its leading coefficient. Row i of Bᵀ holds the coefficients of Lagrange's polynomial
    ∏ (z − a_j) / (a_i − a_j) over j ≠ i, that of infinity those of ∏ (z − a_j) over all. As usual, the
    denominators are moved from B to G, where they are paid for once per kernel.

    Parameters
    ----------
    m : int
        Outputs per tile.
    r : int
        Cells of the kernel.

    Returns
    -------
    WinogradMatrices

    References
    ----------
    .. [1] A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016,
       arXiv:1509.09308 (2015). The matrices for F(2, 3) and F(4, 3) there equal these but for pairs of signs
       that cancel.
    .. [2] S. Winograd, "Arithmetic complexity of computations", SIAM, 1980.

    Examples
    --------
    >>> A, B, G = winograd_matrices(2)
    >>> print(B.T)
    [[Fraction(1, 1) Fraction(0, 1) Fraction(-1, 1) Fraction(0, 1)]
     [Fraction(0, 1) Fraction(1, 1) Fraction(1, 1) Fraction(0, 1)]
     [Fraction(0, 1) Fraction(-1, 1) Fraction(1, 1) Fraction(0, 1)]
     [Fraction(0, 1) Fraction(-1, 1) Fraction(0, 1) Fraction(1, 1)]]
    >>> print(G.astype(float))
    [[ 1.   0.   0. ]
     [ 0.5  0.5  0.5]
     [ 0.5 -0.5  0.5]
     [ 0.   0.   1. ]]
    >>> print(A.T.astype(float))
    [[ 1.  1.  1.  0.]
     [ 0.  1. -1.  1.]]
    """
    t = m + r - 1
    points = _points(t - 1)
    B = np.full((t, t), Fraction(0))
    G = _powers(points, r)
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        denominator = math.prod((point - other for other in others), start=Fraction(1))
        sign = 1 if denominator > 0 else -1
        B[: t - 1, i] = sign * _product_of_roots(others)
        G[i] /= abs(denominator)
    B[:, t - 1] = _product_of_roots(points)
    return WinogradMatrices(_powers(points, m), B, G)


def winograd(x: Array, w: Array, windows: Windows, *, m: int) -> Array:
    """Convolve tile by tile with fewer multiplications: Winograd's F(m, r), nested along every axis.

    A tile of t = m + r − 1 inputs per axis gives m outputs. F(2×2, 3×3) multiplies 16 times per tile where
    the definition does 36 times, F(4×4, 3×3) 36 instead of 144, F(6×6, 3×3) 64 instead of 324. The channels
    are summed between the transforms, where that is a product of matrices.

    Parameters
    ----------
    x, w : ndarray
        The arrays, with groups.
    windows : Windows
        Where outputs look; stride and dilation must be 1, and all axes of the kernel of one length.
    m : int
        Outputs per tile and axis.

    Returns
    -------
    ndarray
        The outputs, with groups.

    References
    ----------
    .. [1] A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016,
       arXiv:1509.09308 (2015), algorithm 1.

    Examples
    --------
    >>> windows = Windows.slide(size=(5,), kernel=(3,))
    >>> winograd(np.array([[[[1.0, 2.0, 4.0, 8.0, 16.0]]]]), np.array([[[[-1.0, 0.0, 1.0]]]]), windows, m=2)
    array([[[[ 3.,  6., 12.]]]])
    """
    y = _zeros(x, w, windows)
    if y.size == 0:
        return y
    r = windows.kernel[0]
    A, B, G = (
        matrix if x.dtype == object else matrix.astype(np.float64) for matrix in winograd_matrices(m, r)
    )
    dimensions = len(windows.size)
    tiles = _tiles(windows, m)

    u, v = _along_last_axes(G, w, dimensions), _along_last_axes(B.T, _patches(x, tiles), dimensions)
    products = _mixed_by_frequency(u, v, dimensions)
    outputs = _along_last_axes(A.T, products, dimensions)  # (N, G, K/G, *tiles, m, …, m)

    N, groups, K = y.shape[:3]
    interleaved = [axis for i in range(dimensions) for axis in (3 + i, 3 + dimensions + i)]
    size = tuple(count * m for count in tiles.output)
    whole: Array = outputs.transpose(0, 1, 2, *interleaved).reshape(N, groups, K, *size)
    kept: Index = (..., *(slice(count) for count in windows.output))
    return whole[kept]


def _zeros(x: Array, w: Array, windows: Windows) -> Array:
    """Return outputs that nothing has been added to."""
    return np.full((*x.shape[:2], w.shape[1], *windows.output), like(x, 0))


def _padded(x: Array, windows: Windows) -> Array:
    """Return x with zeros around its last axes."""
    axes = list(zip(windows.before, windows.size, windows.after, strict=True))
    result = np.full((*x.shape[: -len(axes)], *(sum(axis) for axis in axes)), like(x, 0))
    inside: Index = (..., *(slice(before, before + H) for before, H, _ in axes))
    result[inside] = x
    return result


def _columns(x: Array, windows: Windows) -> Array:
    """Return the patch under each window as a column: (N, G, C/G·R·S, P·Q)."""
    dimensions = len(windows.size)
    cells_first = np.moveaxis(_patches(x, windows), _last(dimensions), range(3, 3 + dimensions))
    N, G, C = x.shape[:3]
    return cells_first.reshape(N, G, C * math.prod(windows.kernel), math.prod(windows.output))


def _pixels(y: Array, windows: Windows) -> Array:
    """Return outputs as matrices: (N, G, K/G, P·Q)."""
    return y.reshape(*y.shape[:3], math.prod(windows.output))


def _patches(x: Array, windows: Windows) -> Array:
    """Return what lies under each window, (…, *output, *kernel), as a view of the padded x."""
    view = sliding_window_view(_padded(x, windows), windows.extent, axis=_last(len(windows.size)))
    return view[(..., *windows.beginnings, *_every(windows.dilation)[1:])]


def _tiles(windows: Windows, m: int) -> Windows:
    """Return the tiles of m outputs per axis. They overlap; the last ones may reach behind the padding."""
    counts = [-(-P // m) for P in windows.output]
    t = [m + R - 1 for R in windows.kernel]
    missing = [
        count * m + R - 1 - H - before
        for count, R, H, before in zip(counts, windows.kernel, windows.size, windows.before, strict=True)
    ]
    padding = tuple(zip(windows.before, missing, strict=True))
    return Windows.slide(size=windows.size, kernel=tuple(t), stride=(m,) * len(t), padding=padding)


def _every(steps: Shape) -> Index:
    """Return the index of every s-th cell of the last axes."""
    return (..., *(slice(None, None, s) for s in steps))


def _last(dimensions: int) -> Shape:
    return tuple(range(-dimensions, 0))


def _points(count: int) -> list[Fraction]:
    """Return 0, 1, −1, 2, −2, 1/2, −1/2, 3, −3, 1/3, …: few digits, far apart."""
    points = [Fraction(0), Fraction(1), Fraction(-1)]
    n = 2
    while len(points) < count:
        points += [Fraction(n), Fraction(-n), Fraction(1, n), Fraction(-1, n)]
        n += 1
    return points[:count]


def _powers(points: list[Fraction], n: int) -> Array:
    """Return the rows 1, a, …, aⁿ⁻¹, and a last one for infinity, which picks the leading coefficient."""
    rows = [[point**power for power in range(n)] for point in points]
    rows.append([Fraction(int(power == n - 1)) for power in range(n)])
    return np.array(rows, dtype=object)


def _product_of_roots(roots: list[Fraction]) -> Array:
    """Return the coefficients of ∏ (z − root), the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*(root * c for c in coefficients), Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return np.array(coefficients, dtype=object)


def _along_last_axes(matrix: Array, array: Array, dimensions: int) -> Array:
    """Multiply every one of the last axes by a matrix."""
    for axis in _last(dimensions):
        array = np.moveaxis(np.tensordot(array, matrix, axes=(axis, 1)), -1, axis)
    return array


def _mixed_by_frequency(u: Array, v: Array, dimensions: int) -> Array:
    """Multiply the channels of each cell of the tiles: (G, K, C, *t) by (N, G, C, *tiles, *t)."""
    N, G, C, *rest = v.shape
    tiles, t = rest[:dimensions], rest[dimensions:]
    matrices = np.moveaxis(u.reshape(G, u.shape[1], C, math.prod(t)), -1, 1)  # (G, t², K, C)
    vectors = np.moveaxis(v.reshape(N, G, C, math.prod(tiles), math.prod(t)), -1, 2)  # (N, G, t², C, tiles)
    products: Array = np.moveaxis(np.matmul(matrices, vectors), 2, -1)
    return products.reshape(N, G, u.shape[1], *tiles, *t)
