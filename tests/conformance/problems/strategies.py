"""Hypothesis strategies that construct valid problems: no filtering, and the simplest first.

Every draw is a small number of choices (sizes off a palette, parameters off the spec's list of
legal values, a seed), so that shrinking ends at the smallest sizes, defaults and packed layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance.problems.problem import PACKED, Array, Layout, Problem
from gaugeblock.spec.operations import OPERATIONS, Operation, Parameter

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 127, 128, 129)
"""Sizes where tiles, warps and vectors end: powers of two, one beside them, primes, N mod 4 = 3."""

LENGTHS = (*SIZES, 200, 255, 256, 257, 512, 513)
"""Lengths of a reduction."""

SHAPES = (
    (),
    (1,),
    (2,),
    (5,),
    (8,),
    (33,),
    (2, 3),
    (3, 1, 5),
    (7, 9),
    (4, 8, 3),
    (1, 257),
    (2, 3, 4, 5),
    (1021,),
    (64, 65),
)
"""Shapes of element-wise operations."""

seeds: SearchStrategy[int] = st.integers(0, 2**32 - 1)
sizes: SearchStrategy[int] = st.one_of(st.sampled_from(SIZES), st.integers(1, 200))

Shapes = dict[str, tuple[int, ...]]


def parameters(operation: Operation, **fixed: Any) -> SearchStrategy[dict[str, Any]]:
    """Draw legal values of all parameters, the defaults first; ``fixed`` ones are as given."""
    return st.fixed_dictionaries(
        {
            name: st.just(fixed[name]) if name in fixed else _legal(parameter)
            for name, parameter in operation.parameters.items()
            if name not in ("axis", "pieces") or name in fixed
        }
    )


def _legal(parameter: Parameter) -> SearchStrategy[Any]:
    """Draw a legal value; of a real number also one beside it, or a whole number as Python writes it."""
    listed = st.sampled_from(parameter.legal)
    if parameter.kind != "real":
        return listed
    beside = st.builds(
        lambda value, part: value * (1 + part / 64) if isinstance(value, float) else value,
        listed,
        st.integers(-7, 7),
    )
    whole = [int(value) for value in parameter.legal if isinstance(value, float) and value.is_integer()]
    return st.one_of(listed, beside, *([st.sampled_from(whole)] if whole else []))


@st.composite
def layouts(draw: DrawFn, ndim: int, *, repeat: bool = True) -> Layout:
    """Draw any layout: permuted axes, gaps, reversed axes, repeated elements, a misaligned start."""
    if ndim == 0:
        return Layout(offset=draw(st.integers(0, 3)))
    order = draw(st.permutations(range(ndim)))
    steps = draw(
        st.lists(
            st.sampled_from((1, 2, -1, -2, 3, 0) if repeat else (1, 2, -1, 3)), min_size=ndim, max_size=ndim
        )
    )
    return Layout(tuple(order), tuple(steps), draw(st.integers(0, 7)))


def any_output(operation: Operation, shape: tuple[int, ...]) -> SearchStrategy[Layout | None]:
    """Draw whether ``out=`` is given, packed."""
    return st.sampled_from((None, PACKED))


def fit(shape: list[int], budget: int) -> list[int]:
    """Reduce the largest sizes until the product is within the budget."""
    while prod(shape) > budget:
        largest = shape.index(max(shape))
        shape[largest] = max(1, shape[largest] // 2 - 1)
    return shape


@st.composite
def gemm_shapes(
    draw: DrawFn,
    *,
    budget: int = 1 << 18,
    lengths: tuple[int, ...] = LENGTHS,
    batched: bool | None = None,
    transposed: bool | None = None,
    with_c: bool | None = None,
) -> tuple[Shapes, dict[str, bool]]:
    """Draw the shapes of a, b, perhaps c, and the two transposition flags."""
    m, n, k = fit([draw(sizes), draw(sizes), draw(st.sampled_from(lengths))], budget)
    batch_a: tuple[int, ...] = ()
    batch_b: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()
    if batched or (batched is None and draw(st.booleans())):
        batch = draw(st.sampled_from(((2,), (3,), (1,), (2, 3), (5, 1))))
        batch_a, batch_b = draw(
            st.sampled_from(((batch, batch), (batch, ()), ((), batch), (batch, (1,) * len(batch))))
        )
        m, n, k = fit([m, n, k], max(budget // prod(batch), 1))
    flag = st.booleans() if transposed is None else st.just(transposed)
    flags = {"transpose_a": draw(flag), "transpose_b": draw(flag)}
    shapes: Shapes = {
        "a": (*batch_a, k, m) if flags["transpose_a"] else (*batch_a, m, k),
        "b": (*batch_b, n, k) if flags["transpose_b"] else (*batch_b, k, n),
    }
    if with_c or (with_c is None and draw(st.booleans())):
        shapes["c"] = draw(
            st.sampled_from(((m, n), (n,), (m, 1), (1, n), (), (1, 1), (*batch, m, n), (*batch, 1, n)))
        )
    return shapes, flags


@st.composite
def problems(
    draw: DrawFn,
    operation: Operation,
    dtype: str,
    *,
    data: Callable[[str, tuple[int, ...]], SearchStrategy[Array]],
    shapes: SearchStrategy[tuple[Shapes, dict[str, Any]]],
    fixed: dict[str, Any] | None = None,
    strided: bool = False,
) -> Problem:
    """Draw a problem: shapes, then parameters, then for every array its data and, if asked for, a layout."""
    drawn, decided = draw(shapes)
    decided = {**decided, **(fixed or {})}
    if operation.name == "gemm" and "beta" not in decided and "c" not in drawn:
        decided["beta"] = 0.0
    chosen = draw(parameters(operation, **decided))
    arrays = {}
    for name, shape in drawn.items():
        array = draw(data(name, shape))
        if strided:
            array = replace(array, layout=draw(layouts(len(shape))))
        arrays[name] = array
    problem = Problem(operation.name, dtype, arrays, chosen)
    return replace(problem, out=draw(any_output(operation, problem.result_shape)))


def fixed_data(values: Any, **settings: Any) -> Callable[[str, tuple[int, ...]], SearchStrategy[Array]]:
    """Make every array of one distribution; only the seed is drawn."""
    return lambda name, shape: seeds.map(lambda seed: Array(shape, values, seed=seed, **settings))


@st.composite
def elementwise_shapes(
    draw: DrawFn, operation: Operation, among: tuple[tuple[int, ...], ...] = SHAPES
) -> tuple[Shapes, dict[str, Any]]:
    """Draw one shape for all arrays of an element-wise operation."""
    shape = draw(st.one_of(st.sampled_from(among), st.tuples(st.integers(1, 600))))
    return dict.fromkeys(operation.arrays, shape), {}


@st.composite
def row_shapes(
    draw: DrawFn, operation: Operation, lengths: tuple[int, ...] = LENGTHS, budget: int = 1 << 14
) -> tuple[Shapes, dict[str, Any]]:
    """Draw a shape with a row along any axis; the other axes are short."""
    length = draw(st.sampled_from(lengths))
    others = draw(st.lists(st.sampled_from((1, 2, 3, 5, 9, 33)), max_size=3))
    others = fit([*others, 1], max(budget // max(length, 1), 1))[:-1]
    position = draw(st.integers(0, len(others)))
    shape = (*others[:position], length, *others[position:])
    axis = draw(st.sampled_from((position - len(shape), position)))
    return dict.fromkeys(operation.arrays, shape), {"axis": axis}


@st.composite
def maxout_shapes(draw: DrawFn, operation: Operation) -> tuple[Shapes, dict[str, Any]]:
    """Draw groups along any axis, and the shape of the result for dy."""
    pieces = draw(st.sampled_from((2, 1, 3, 4, 5, 8, 33)))
    groups = draw(st.sampled_from((1, 2, 3, 5, 16, 33)))
    others = draw(st.lists(st.sampled_from((1, 2, 3, 7)), max_size=2))
    position = draw(st.integers(0, len(others)))
    shapes: Shapes = {"x": (*others[:position], pieces * groups, *others[position:])}
    if "dy" in operation.arrays:
        shapes = {"dy": (*others[:position], groups, *others[position:]), **shapes}
    axis = draw(st.sampled_from((position - len(others) - 1, position)))
    return shapes, {"pieces": pieces, "axis": axis}


def recurrence_shapes(operation: Operation, T: int, N: int, D: int, H: int) -> Shapes:
    """Return the shapes of an LSTM unit's arrays: T steps, N examples, D inputs, H units."""
    shapes: Shapes = {
        "dy": (2, T, N, H),
        "x": (T, N, D),
        "h": (N, H),
        "c": (N, H),
        "w": (4, H, D),
        "u": (4, H, H),
        "bias": (4, H),
    }
    return {name: shapes[name] for name in operation.arrays}


@st.composite
def recurrences(draw: DrawFn, operation: Operation, budget: int = 1 << 13) -> tuple[Shapes, dict[str, Any]]:
    """Draw the sizes of an LSTM unit, each for itself."""
    T = draw(st.sampled_from((1, 2, 3, 4)))
    N = draw(st.sampled_from((1, 2, 3, 5, 9)))
    D = draw(st.sampled_from((1, 2, 3, 4, 5, 8, 9, 17)))
    H = draw(st.sampled_from((1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)))
    while H > 1 and budget < T * N * H * (D + H):
        H //= 2
    return recurrence_shapes(operation, T, N, D, H), {}


def everyday_shapes(operation: Operation) -> SearchStrategy[tuple[Shapes, dict[str, Any]]]:
    """Draw the shapes that a kind of operation meets every day."""
    match operation.kind:
        case "contraction":
            return gemm_shapes()
        case "rowwise":
            return row_shapes(operation)
        case "selection":
            return maxout_shapes(operation)
        case "recurrence":
            return recurrences(operation)
        case _:
            return elementwise_shapes(operation)


def operation_named(name: str) -> Operation:
    """Return an operation's record."""
    return OPERATIONS[name]
