"""Small fixed problems that every run tries: each form of call, many axes, each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from gaugeblock.conformance.problems.problem import Array, Layout, Problem
from gaugeblock.conformance.problems.strategies import Shapes
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import Operation

INFINITY = float("inf")

PRODUCTS = (
    ((5, 7, 6), (), (False, False)),
    ((5, 7, 6), (), (True, False)),
    ((8, 8, 8), (), (False, False)),
    ((8, 8, 8), (), (True, True)),
    ((5, 1, 7), (), (False, False)),
    ((5, 1, 7), (), (True, False)),
    ((1, 6, 7), (), (False, False)),
    ((1, 6, 7), (), (False, True)),
    ((3, 4, 5), (2,), (False, False)),
    ((3, 4, 5), (2,), (True, True)),
    ((70, 33, 9), (), (False, False)),
    ((130, 129, 8), (), (False, False)),
)
"""Sizes M, N, K, batch axes and flags: ragged and square, a column, a row, a batch, small and large tiles."""

MAPS = ((9,), (8, 8), (3, 5, 6))
"""Shapes of element-wise operations."""

ROWS = (((9,), 0), ((8, 8), 0), ((8, 8), 1), ((3, 5, 6), 1), ((3, 5, 6), -1))
"""Shapes of row-wise operations and the axis along which a row runs."""

GROUPS = (((6,), 0, 3), ((8, 8), 0, 2), ((8, 8), 1, 4), ((2, 9, 3), 1, 3))
"""Shapes of maxout, its axis and its pieces."""

DEEP_MAPS = ((2, 1, 3, 2, 2), (1, 2, 1, 3, 1, 2))
DEEP_ROWS = tuple(((2, 3, 4, 5), axis) for axis in range(-4, 4))
DEEP_GROUPS = (*(((4, 6, 2, 8), axis, 2) for axis in range(-4, 4)), ((2, 1, 4, 3, 2), 2, 2))
"""More axes than most kernels are written for."""

PARAMETERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "leaky_relu": ({"negative_slope": 1e-4}, {"negative_slope": 40.0}, {"negative_slope": -3.0}),
    "elu": ({"alpha": 1e-3}, {"alpha": 40.0}, {"alpha": 1 + 2.0**-17}),
    "hard_tanh": (
        {"min_val": 0.25, "max_val": 0.75},
        {"min_val": -3.0, "max_val": -1.5},
        {"min_val": -INFINITY, "max_val": 0.7},
        {"min_val": -0.7, "max_val": INFINITY},
        {"min_val": -0.1, "max_val": 0.1},
    ),
}
"""Parameters beyond the everyday ones: tiny, huge, limits on one side of zero."""


def _product(
    dtype: str, sizes: tuple[int, int, int], batch: tuple[int, ...], flags: tuple[bool, bool]
) -> Problem:
    m, n, k = sizes
    shapes: Shapes = {
        "a": (*batch, k, m) if flags[0] else (*batch, m, k),
        "b": (*batch, n, k) if flags[1] else (*batch, k, n),
        "c": (*batch, m, n),
    }
    arrays = {name: Array(shape, "normal", seed=i) for i, (name, shape) in enumerate(shapes.items())}
    chosen = {"alpha": 2.0, "beta": 0.5, "transpose_a": flags[0], "transpose_b": flags[1]}
    return Problem("gemm", dtype, arrays, chosen)


def _of_one_shape(operation: Operation, dtype: str, shape: tuple[int, ...], **chosen: Any) -> Problem:
    arrays = {name: Array(shape, "normal", seed=i) for i, name in enumerate(operation.arrays)}
    return Problem(operation.name, dtype, arrays, chosen)


def _grouped(operation: Operation, dtype: str, shape: tuple[int, ...], axis: int, pieces: int) -> Problem:
    result = list(shape)
    result[axis] //= pieces
    shapes: Shapes = {"dy": tuple(result), "x": shape}
    arrays = {name: Array(shapes[name], "normal", seed=i) for i, name in enumerate(operation.arrays)}
    return Problem(operation.name, dtype, arrays, {"pieces": pieces, "axis": axis})


def forms(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield a small problem of every form that an operation has."""
    if operation.name == "gemm":
        yield from (_product(dtype, *form) for form in PRODUCTS)
    elif operation.kind == "elementwise":
        yield from (_of_one_shape(operation, dtype, shape) for shape in MAPS)
    elif operation.kind == "rowwise":
        yield from (_of_one_shape(operation, dtype, shape, axis=axis) for shape, axis in ROWS)
    elif operation.name.startswith("maxout"):
        yield from (_grouped(operation, dtype, *form) for form in GROUPS)


def deep_forms(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield problems of many axes, the row along each of them."""
    if operation.kind == "elementwise":
        yield from (_of_one_shape(operation, dtype, shape) for shape in DEEP_MAPS)
    elif operation.kind == "rowwise":
        yield from (_of_one_shape(operation, dtype, shape, axis=axis) for shape, axis in DEEP_ROWS)
    elif operation.name.startswith("maxout"):
        yield from (_grouped(operation, dtype, *form) for form in DEEP_GROUPS)


def each_parameter(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield element-wise problems with every legal value of every parameter, and some beyond the everyday."""
    if operation.kind != "elementwise":
        return
    chosen = [{name: value} for name, parameter in operation.parameters.items() for value in parameter.legal]
    for parameters in (*chosen, *PARAMETERS.get(operation.name.removesuffix("_backward"), ())):
        problem = _of_one_shape(operation, dtype, (200,), **parameters)
        beside = [
            v * near for v in parameters.values() if isinstance(v, float) for near in (1 - 2**-13, 1 + 2**-13)
        ]
        ends = (-INFINITY, -FORMATS[dtype].largest, FORMATS[dtype].largest, INFINITY)
        planted = tuple(enumerate((*ends, *beside)))
        yield problem.with_arrays(x=replace(problem.arrays["x"], scale=4.0, planted=planted))


def layouts(ndim: int) -> Iterator[Layout]:
    """Yield each way to lie other than packed: one axis with gaps, one reversed, all swapped, misaligned."""
    for axis, step in product(range(ndim), (2, -1)):
        yield Layout(steps=tuple(step if i == axis else 1 for i in range(ndim)))
    if ndim > 1:
        yield Layout(order=tuple(reversed(range(ndim))))
    yield Layout(offset=1)
