"""The launcher of elementwise functions: one element of the result for one of each input."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gaugeblock.gpu.runtime.arrays import Exchange
from gaugeblock.gpu.runtime.device import ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import (
    AXES,
    CLAUSES,
    LAYOUT,
    by_name,
    check_algorithm,
    elements_from,
    float32,
    pack,
    steps,
)
from gaugeblock.gpu.runtime.layout import Layout, collapse, outer_slices
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.activation import check_dy, check_parameters

__all__ = ["elementwise"]

BLOCK: Final = 256
"""Threads of a block."""


class Function(NamedTuple):
    """A struct of ``kernels/shared/functions.cuh``, its LOADS, and the names of what it is given."""

    name: str
    loads: int
    parameters: tuple[str, ...] = ()


FUNCTIONS: Final = {
    "relu": Function("relu", 4),
    "relu6": Function("relu6", 4),
    "leaky_relu": Function("leaky_relu", 4, ("negative_slope",)),
    "elu": Function("elu", 2, ("alpha",)),
    "sigmoid": Function("sigmoid", 2),
    "log_sigmoid": Function("log_sigmoid", 2),
    "hard_sigmoid": Function("hard_sigmoid", 4),
    "tanh": Function("tanh_", 2),
    "hard_tanh": Function("hard_tanh", 4, ("min_val", "max_val")),
    "softplus": Function("softplus", 2),
    "gelu": Function("gelu", 1),
    "gelu_tanh": Function("gelu_tanh", 1),
    "silu": Function("silu", 2),
}


@planned
def elementwise(
    out: Any, function: str, parameters: tuple[float, ...], algorithm: str, *operands: Any
) -> Any:
    """Check, choose, launch: one activation of x, or its gradient of dy and x."""
    check_algorithm(algorithm, "auto", "naive")
    names = FUNCTIONS[function].parameters
    check_parameters(**dict(zip(names, parameters, strict=True)))
    arrays = by_name(operands)
    exchange = Exchange(CLAUSES, arrays)
    shape = exchange.shapes["x"]
    if "dy" in arrays:
        check_dy(exchange.shapes["dy"], shape)
    exchange.set_output(shape, out, may_be=tuple(arrays))
    if 0 in shape:
        return exchange.result()
    x = exchange.input("x")
    dy = exchange.input("dy") if "dy" in arrays else None
    result = exchange.output()
    first, second = (float32(value) for value in (*parameters, 0.0, 0.0)[:2])
    _launch_elementwise(function, exchange.dtype, x, dy, result, (first, second), algorithm)
    return exchange.result()


def _launch_elementwise(
    function: str,
    dtype: str,
    x: DeviceArray,
    dy: DeviceArray | None,
    out: DeviceArray,
    parameters: tuple[float, float],
    algorithm: str,
) -> None:
    defines = (
        ("BACKWARD", int(dy is not None)),
        ("ELEMENT", ELEMENTS[dtype]),
        ("FUNCTION", FUNCTIONS[function].name),
    )
    gradient = x if dy is None else dy
    layout = collapse(x.shape, *steps(x, out, gradient), sort_by=1)
    pointers = (x.pointer, out.pointer, gradient.pointer)
    if algorithm == "auto" and (head := _vector_head(layout, pointers, x.dtype.itemsize)) is not None:
        kernel = device().function("activation/elementwise.cu", "activation_vectors", "PPPqqff", defines)
        loads = FUNCTIONS[function].loads
        if dy is not None and loads > 1:
            loads //= 2
        per_block = BLOCK * loads * (16 // x.dtype.itemsize)
        blocks = max(1, -(-(layout.size - head) // per_block))
        arguments = (x.pointer, gradient.pointer, out.pointer, layout.size, head, *parameters)
        kernel.prepared_async_call((blocks, 1, 1), (BLOCK, 1, 1), None, *arguments)
        return
    source, entry = (
        ("activation/elementwise_naive.cu", "activation_naive")
        if algorithm == "naive"
        else ("activation/elementwise.cu", "activation_strided")
    )
    kernel = device().function(source, entry, f"{LAYOUT}PPPqiff", defines)
    for piece, (at_x, at_out, at_dy) in outer_slices(layout, AXES):
        kernel.prepared_async_call(
            (-(-piece.size // BLOCK), 1, 1),
            (BLOCK, 1, 1),
            None,
            pack(piece),
            elements_from(x, at_x),
            elements_from(gradient, at_dy),
            elements_from(out, at_out),
            piece.size,
            piece.rank,
            *parameters,
        )


def _vector_head(layout: Layout, pointers: tuple[int, ...], itemsize: int) -> int | None:
    """Return how many elements lie before the first 16-byte boundary, or None if vectors are no use.

    They are if the elements of every array are contiguous and all arrays are equally far from a boundary.
    """
    if layout.rank > 1 or any(steps not in ((), (1,)) for steps in layout.strides):
        return None
    if len({pointer % 16 for pointer in pointers}) > 1:
        return None
    return min(layout.size, -pointers[0] % 16 // itemsize)
