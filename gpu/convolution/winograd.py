"""Winograd's algorithm on the device: transforms, and a batch of matrix products between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gaugeblock.gpu.convolution.problem import INPUT, STRUCT, Arrays, Geometry, pack
from gaugeblock.gpu.gemm import gemm
from gaugeblock.gpu.runtime.device import ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import steps

__all__ = ["SIDES", "winograd"]

SIDES: Final = {"winograd_2": 2, "winograd_4": 4}
"""The side of a tile of results in each variant."""

BLOCK: Final = 128
"""Threads of a block."""


def winograd(
    product: int, geometry: Geometry, arrays: Arrays, dtype: str, algorithm: str, activation: str = "identity"
) -> None:
    """Launch a convolution, or its gradient in x: two axes, kernels of 3 × 3, stride and dilation 1.

    Parameters
    ----------
    product : int
        FORWARD or INPUT.
    geometry, arrays
        The problem.
    dtype : str
        The element type.
    algorithm : str
        One of `SIDES`.
    activation : str
        The struct of ``kernels/shared/functions.cuh`` that ends it.
    """
    assert arrays.w is not None
    group = steps(arrays.w)[0][0] * geometry.K
    if product == INPUT:
        geometry, arrays = _mirrored(geometry, arrays)
    side = SIDES[algorithm]
    points = (side + 2) ** 2
    rows, columns = (-(-P // side) for P in geometry.windows.output)
    groups, K, C, tiles = geometry.groups, geometry.K, geometry.C, geometry.batch * rows * columns
    assert arrays.x is not None
    assert arrays.w is not None
    assert arrays.y is not None
    problem = pack(geometry, arrays)
    plain = (("ELEMENT", ELEMENTS[dtype]), ("SIDE", side))

    filters = DeviceArray((points, groups, K, C), "float32")
    patches = DeviceArray((points, groups, C, tiles), "float32")
    if C:
        kernel = device().function("convolution/winograd.cu", "winograd_filter", f"{STRUCT}PqP", plain)
        kernel.prepared_async_call(
            _blocks(groups * K * C), (BLOCK, 1, 1), None, problem, arrays.w.pointer, group, filters.pointer
        )
        kernel = device().function("convolution/winograd.cu", "winograd_input", f"{STRUCT}PPqq", plain)
        kernel.prepared_async_call(
            _blocks(groups * C * tiles),
            (BLOCK, 1, 1),
            None,
            problem,
            arrays.x.pointer,
            patches.pointer,
            rows,
            columns,
        )
    products = gemm(filters, patches)
    ends = (("ACTIVATION", activation), *plain)
    kernel = device().function("convolution/winograd.cu", "winograd_output", f"{STRUCT}PPPPqq", ends)
    kernel.prepared_async_call(
        _blocks(groups * K * tiles),
        (BLOCK, 1, 1),
        None,
        problem,
        products.pointer,
        0 if arrays.bias is None else arrays.bias.pointer,
        0 if arrays.residual is None else arrays.residual.pointer,
        arrays.y.pointer,
        rows,
        columns,
    )


def _mirrored(geometry: Geometry, arrays: Arrays) -> tuple[Geometry, Arrays]:
    """Return the convolution that the gradient in x is: of dy, kernels reversed, their channels exchanged.

    Padding changes to what is left of the kernel beside it, which may be negative.
    """
    assert arrays.w is not None
    w = geometry.windows
    before, after = (
        tuple(R - 1 - cells for R, cells in zip(w.kernel, side, strict=True)) for side in (w.before, w.after)
    )
    windows = replace(w, size=w.output, before=before, after=after, output=w.size)
    reverse = arrays.w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    return (
        Geometry(geometry.batch, geometry.groups, geometry.C, geometry.K, windows),
        replace(arrays, x=arrays.y, w=reverse, y=arrays.x),
    )


def _blocks(threads: int) -> tuple[int, int, int]:
    return -(-threads // BLOCK), 1, 1
