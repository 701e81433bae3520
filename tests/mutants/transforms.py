"""Convolution in other worlds: products of fp32 spectra, and Winograd's minimal filtering."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from windows import Axis
from workshop import Array

from gaugeblock.reference.convolution_algorithms import winograd_matrices

# Aᵀ, G and Bᵀ of F(m, 3), at the points 0, ±1 and, for m = 4, ±2 (Lavin and Gray, 2015).
WINOGRAD = {
    2: (
        [[1, 1, 1, 0], [0, 1, -1, -1]],
        [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    ),
    4: (
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
    ),
}


_A, _B, _G = (np.array(matrix, np.float64) for matrix in winograd_matrices(6))
WINOGRAD[6] = (_A.T.tolist(), _G.tolist(), _B.T.tolist())


def correlate_by_fft(axes: Sequence[Axis], x: Array, w: Array) -> Array:
    """Correlate x (N, G, C, …) with w (G, K, C, …): products of spectra, one over all of the image."""
    rank = len(axes)
    spatial = tuple(range(3, 3 + rank))
    size = [axis.H + axis.before + axis.after + axis.dilation * (axis.R - 1) for axis in axes]
    dilated = np.zeros((*w.shape[:3], *(axis.dilation * (axis.R - 1) + 1 for axis in axes)), np.float32)
    spread: Any = (..., *(slice(None, None, axis.dilation) for axis in axes))
    dilated[spread] = w
    spectra = np.fft.rfftn(
        np.pad(x, [(0, 0)] * 3 + [(axis.before, axis.after) for axis in axes]), size, spatial
    )
    filters = np.fft.rfftn(dilated, size, spatial).conj()
    y = np.fft.irfftn(np.einsum("ngc...,gkc...->ngk...", spectra, filters), size, spatial)
    wanted: Any = (..., *(slice(0, axis.P * axis.stride, axis.stride) for axis in axes))
    result: Array = y[wanted]
    return result


def correlate_by_winograd(
    m: int, axes: Sequence[Axis], x: Array, w: Array, order: Callable[[int], Array]
) -> Array:
    """Correlate x (N, G, C, H, W) with w (G, K, C, 3, 3), in output tiles of m×m."""
    A, G, B = (np.array(matrix, np.float32) for matrix in WINOGRAD[m])
    t = m + 2
    rows, columns = (-(-axis.P // m) for axis in axes)
    pads = [
        (axis.before, n * m + 2 - axis.H - axis.before) for axis, n in zip(axes, (rows, columns), strict=True)
    ]
    plane = np.pad(x, [(0, 0)] * 3 + [(before, max(after, 0)) for before, after in pads])
    tiles = np.lib.stride_tricks.sliding_window_view(plane, (t, t), (3, 4))[:, :, :, ::m, ::m]
    tiles = tiles[:, :, :, :rows, :columns].reshape(*x.shape[:3], rows * columns, t, t)
    V = B @ tiles[:, :, :, order(rows * columns)] @ B.T  # (N, G, C, tiles, t, t)
    U = G @ w @ G.T  # (G, K, C, t, t)
    product = np.matmul(np.moveaxis(U, (3, 4), (0, 1))[:, :, None], np.moveaxis(V, (4, 5), (0, 1)))
    y = A @ np.moveaxis(product, (0, 1), (4, 5)) @ A.T  # (N, G, K, tiles, m, m)
    y = y.reshape(*y.shape[:3], rows, columns, m, m).swapaxes(4, 5)
    result: Array = y.reshape(*y.shape[:3], rows * m, columns * m)[..., : axes[0].P, : axes[1].P]
    return result
