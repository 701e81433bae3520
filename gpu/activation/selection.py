"""The launcher of maxout and its gradient, which select values and compute none."""

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
from gaugeblock.gpu.runtime.layout import collapse, outer_slices
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.activation import check_dy, maxout_shape, row_axis

__all__ = ["selection"]

BLOCK: Final = 256
"""Threads of a block."""


@planned
def selection(out: Any, pieces: int, axis: int, algorithm: str, *operands: Any) -> Any:
    """Check, choose, launch: maxout of x, or its gradient of dy and x."""
    check_algorithm(algorithm, "auto", "naive")
    arrays = by_name(operands)
    exchange = Exchange(CLAUSES, arrays)
    shape = exchange.shapes["x"]
    groups = maxout_shape(shape, pieces=pieces, axis=axis)
    along = row_axis(shape, axis)
    if "dy" in arrays:
        check_dy(exchange.shapes["dy"], groups)
        exchange.set_output(shape, out, may_be=("x",))
    else:
        exchange.set_output(groups, out, may_be=())
    if 0 in shape:
        return exchange.result()
    x = exchange.input("x")
    dy = exchange.input("dy") if "dy" in arrays else None
    result = exchange.output()
    _launch_maxout(exchange.dtype, x, dy, result, pieces, along, algorithm)
    return exchange.result()


def _launch_maxout(
    dtype: str,
    x: DeviceArray,
    dy: DeviceArray | None,
    out: DeviceArray,
    pieces: int,
    along: int,
    algorithm: str,
) -> None:
    grouped = out if dy is None else dy
    defines = (("BACKWARD", int(dy is not None)), ("ELEMENT", ELEMENTS[dtype]))
    x_step, out_step = (step[along] for step in steps(x, out))

    def of_groups(array: DeviceArray) -> tuple[int, ...]:
        """Strides from group to group."""
        (step,) = steps(array)
        whole = array.shape[along] == x.shape[along]
        return (*step[:along], step[along] * pieces, *step[along + 1 :]) if whole and pieces > 1 else step

    layout = collapse(grouped.shape, of_groups(x), of_groups(out), of_groups(grouped), sort_by=1)
    naive = algorithm == "naive"
    kernel = device().function(
        "activation/maxout.cu", "maxout_naive" if naive else "maxout_groups", f"{LAYOUT}PPPqiqqq", defines
    )
    for piece, (at_x, at_out, at_dy) in outer_slices(layout, AXES):
        owned = piece.size * (pieces if naive and dy is not None else 1)
        kernel.prepared_async_call(
            (-(-owned // BLOCK), 1, 1),
            (BLOCK, 1, 1),
            None,
            pack(piece),
            elements_from(x, at_x),
            elements_from(grouped, at_dy),
            elements_from(out, at_out),
            piece.size,
            piece.rank,
            pieces,
            x_step,
            out_step,
        )
