"""The launcher of functions of whole rows: softmax, log-softmax and their gradients."""

from __future__ import annotations

from typing import Any, Final

from gaugeblock.gpu.runtime.arrays import Exchange
from gaugeblock.gpu.runtime.device import ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import (
    AXES,
    CLAUSES,
    LAYOUT,
    by_name,
    check_algorithm,
    elements_from,
    pack,
    steps,
)
from gaugeblock.gpu.runtime.layout import Layout, collapse, outer_slices
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.activation import check_dy, row_axis

__all__ = ["rowwise"]

ROW_VARIANTS: Final = ((4, 8), (32, 8), (128, 8), (256, 16), (512, 16), (1024, 16))
"""Threads of a row and items of a thread, for rows that stay in registers."""

LONG_VARIANT: Final = (1024, 8)
"""For rows that do not."""


@planned
def rowwise(out: Any, logarithm: bool, axis: int, algorithm: str, *operands: Any) -> Any:
    """Check, choose, launch: softmax or log-softmax of x, or a gradient of dy and x."""
    check_algorithm(algorithm, "auto", "naive")
    arrays = by_name(operands)
    exchange = Exchange(CLAUSES, arrays)
    shape = exchange.shapes["x"]
    along = row_axis(shape, axis)
    if "dy" in arrays:
        check_dy(exchange.shapes["dy"], shape)
    exchange.set_output(shape, out, may_be=tuple(arrays))
    if 0 in shape:
        return exchange.result()
    x = exchange.input("x")
    dy = exchange.input("dy") if "dy" in arrays else None
    result = exchange.output()
    _launch_rows(logarithm, exchange.dtype, x, dy, result, along, algorithm)
    return exchange.result()


def _launch_rows(
    logarithm: bool,
    dtype: str,
    x: DeviceArray,
    dy: DeviceArray | None,
    out: DeviceArray,
    along: int,
    algorithm: str,
) -> None:
    gradient = x if dy is None else dy
    arrays = (x, out, gradient)
    n, strides = x.shape[along], steps(*arrays)
    row_steps = tuple(stride[along] for stride in strides)
    layout = collapse(_without(x.shape, along), *(_without(stride, along) for stride in strides), sort_by=1)
    defines: tuple[tuple[str, object], ...] = (
        ("BACKWARD", int(dy is not None)),
        ("ELEMENT", ELEMENTS[dtype]),
        ("LOGARITHM", int(logarithm)),
    )
    if algorithm == "naive":
        source, entry, rows_per_block, threads = "activation/softmax_naive.cu", "softmax_naive", 128, 128
    else:
        lanes = 16 // x.dtype.itemsize
        vectors = _rows_are_vectors(layout, n, row_steps, arrays, lanes)
        owners, items = next((v for v in ROW_VARIANTS if v[0] * v[1] >= n), LONG_VARIANT)
        long = owners * items < n
        source, entry = "activation/softmax.cu", "softmax_long" if long else "softmax_rows"
        threads = max(128, owners)
        rows_per_block = threads // owners
        defines += (("ITEMS", items), ("LONG", int(long)), ("THREADS", owners), ("VECTORS", int(vectors)))
    kernel = device().function(source, entry, f"{LAYOUT}PPPqiqqqq", defines)
    for piece, (at_x, at_out, at_dy) in outer_slices(layout, AXES):
        kernel.prepared_async_call(
            (device().blocks(-(-piece.size // rows_per_block)), 1, 1),
            (threads, 1, 1),
            None,
            pack(piece),
            elements_from(x, at_x),
            elements_from(gradient, at_dy),
            elements_from(out, at_out),
            piece.size,
            piece.rank,
            n,
            *row_steps,
        )


def _rows_are_vectors(
    layout: Layout, n: int, row_steps: tuple[int, ...], arrays: tuple[DeviceArray, ...], lanes: int
) -> bool:
    """Return whether every row of every array is contiguous, 16-byte aligned and made of whole vectors."""
    contiguous = n % lanes == 0 and set(row_steps) == {1}
    aligned = all(array.pointer % 16 == 0 for array in arrays)
    return contiguous and aligned and all(step % lanes == 0 for strides in layout.strides for step in strides)


def _without(values: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*values[:axis], *values[axis + 1 :])
