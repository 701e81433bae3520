"""The test vectors of the activation functions and their gradients."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.operations import OPERATIONS, Operation
from gaugeblock.spec.vectors.case import Data, Strided, call, misuse, pattern

__all__ = ["cases"]

_INF, _NAN = np.inf, np.nan

#: Both sides of every kink and threshold, both tails, and where formulas cancel.
_POINTS = (-100.0, -20.5, -8.0, -3.0, -1.25, -0.5, -0.01, 0.01, 0.5, 1.0, 2.5, 3.0, 6.0, 6.5, 20.5, 100.0)


def cases() -> Iterator[tuple[str, Data]]:
    """Yield the vectors, each with its operation."""
    of_kind = {"elementwise": _elementwise, "rowwise": _rowwise, "selection": _selection}
    for operation in OPERATIONS.values():
        if operation.concept == "activation":
            for case in (*of_kind[operation.kind](operation), *_misuses(operation)):
                yield operation.name, case


def _with_gradient(operation: Operation, x: Any, dy: Any = None) -> dict[str, Any]:
    """Return the arrays of a call: x, and a gradient where the operation takes one."""
    if not operation.backward:
        return {"x": x}
    return {"dy": pattern(*np.shape(x), start=3) if dy is None else dy, "x": x}


def _elementwise(operation: Operation) -> Iterator[Data]:
    name, semantics = operation.name, operation.clauses["semantics"]
    points = _with_gradient(operation, np.reshape(_POINTS, (2, 8)))
    for dtype in FORMATS:
        yield call(name, semantics, "both sides of every threshold", points, dtype=dtype)
    for parameters in _other_parameters(operation):
        yield call(name, semantics, f"with {_shown(parameters)}", points, **parameters)
    special = _specials(operation)
    for dtype, format in FORMATS.items():
        ends = [format.largest, -format.largest, format.smallest_normal, -format.smallest_subnormal]
        yield call(
            name,
            operation.clauses["special_values"],
            "ends of the range",
            _with_gradient(operation, ends),
            dtype=dtype,
        )
        yield call(name, operation.clauses["special_values"], "NaN and infinities", special, dtype=dtype)
    if operation.signed_zero:
        zeros = {"x": [0.0, -0.0]}
        yield call(name, "ACT-X2", "zeros keep their signs", zeros, sign_of_zero=True)
    for shape in ((0,), (2, 0), ()):
        one = _with_gradient(operation, np.full(shape, 0.75), np.full(shape, 2.0))
        yield call(name, "ACT-X1", "no elements" if 0 in shape else "one element without axes", one)
    if name == "relu":
        yield call(name, "GEN-X1", "NaN is not hidden", {"x": [_NAN, -1.0, 1.0]})
        yield from _layouts(name)


def _specials(operation: Operation) -> dict[str, Any]:
    """Return NaN and infinities, of a gradient too: each with numbers on both sides of the kinks."""
    if not operation.backward:
        return {"x": [_NAN, -_INF, _INF, -0.0, 0.0]}
    x, dy = np.meshgrid([_NAN, -_INF, -4.0, 0.0, 0.5, 7.0, _INF], [1.0, _NAN, _INF])
    return {"dy": dy, "x": x}


def _other_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    """Yield for every parameter each legal value that is not its default."""
    for name, parameter in operation.parameters.items():
        for value in parameter.legal:
            if (
                value != parameter.default
                and not (name == "max_val" and value <= -1)
                and not (name == "min_val" and value >= 1)
            ):
                yield {name: value}


def _shown(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _layouts(name: str) -> Iterator[Data]:
    memory = pattern(12)
    for layout, array in (
        ("columns in a row", Strided(memory, (3, 4), (1, 3))),
        ("every second element", Strided(memory, (6,), (2,), 1)),
        ("backwards", Strided(memory, (12,), (-1,), 11)),
        ("one row for all", Strided(memory[:4], (3, 4), (0, 1))),
    ):
        yield call(name, "GEN-S2", f"a layout: {layout}", {"x": array})


def _rowwise(operation: Operation) -> Iterator[Data]:
    name, semantics = operation.name, operation.clauses["semantics"]
    x = pattern(2, 3, 4)
    for dtype in FORMATS:
        yield call(name, semantics, "rows", _with_gradient(operation, x), dtype=dtype)
        far = [[0.0, 30.0, -30.0, 29.5], [1000.0, 999.0, -1000.0, 1000.0]]
        yield call(
            name, semantics, "sure winners, large numbers", _with_gradient(operation, far), dtype=dtype
        )
    for axis in (0, 1, -2):
        yield call(name, semantics, f"along axis {axis}", _with_gradient(operation, x), axis=axis)
    for title, shape in (
        ("rows without elements", (2, 0)),
        ("no rows", (0, 3)),
        ("rows of one element", (3, 1)),
    ):
        yield call(name, "ACT-X4", title, _with_gradient(operation, pattern(*shape, start=1)))
    largest = FORMATS["float32"].largest
    rows = np.array(
        [
            [1.0, _NAN, 2.0, 0.0],
            [1.0, _INF, 2.0, 0.0],
            [1.0, -_INF, 2.0, 0.0],
            [-_INF, -_INF, -_INF, -_INF],
            [largest, largest, -largest, 0.0],
            [0.5, 1.5, 2.5, -1.0],
        ]
    )
    yield call(
        name,
        operation.clauses["special_values"],
        "rows with NaN and infinities, and one without",
        _with_gradient(operation, rows),
    )
    if operation.backward:
        dy = [[1.0, _NAN, 2.0], [1.0, _INF, 2.0], [_INF, 1.0, 2.0], [1.0, 2.0, 3.0]]
        finite = [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [-_INF, 1.0, 2.0], [0.0, 1.0, 2.0]]
        yield call(name, "ACT-X6", "NaN and infinities in the gradient", {"dy": dy, "x": finite})


def _selection(operation: Operation) -> Iterator[Data]:
    name, semantics = operation.name, operation.clauses["semantics"]

    def arrays(x: Float64, pieces: int = 2, axis: int = -1) -> dict[str, Any]:
        shape = list(x.shape)
        shape[axis] //= pieces
        return _with_gradient(operation, x, pattern(*shape, start=3))

    x = pattern(2, 6, 3)
    for dtype in FORMATS:
        yield call(name, semantics, "pairs", arrays(pattern(3, 8)), dtype=dtype)
    for pieces, axis in ((3, 1), (1, -1), (2, -2), (6, 1)):
        title = f"groups of {pieces} along axis {axis}"
        yield call(name, semantics, title, arrays(x, pieces, axis), pieces=pieces, axis=axis)
    for shape in ((0, 4), (3, 0)):
        yield call(name, "ACT-X1", "no elements", arrays(np.ones(shape)))
    special = np.array([[_NAN, 1.0, 2.0, _NAN], [_NAN, _NAN, -_INF, -_INF], [_INF, 1.0, -_INF, -5.0]])
    yield call(name, "ACT-X7", "NaN and infinities", arrays(special))
    ties = np.array([[1.0, 1.0, 1.0, -2.0, 3.0, 3.0], [-0.0, 0.0, -1.0, 0.0, -0.0, 0.0]])
    yield call(name, "ACT-X8", "the first of equal maxima", arrays(ties, 3), pieces=3)
    if operation.backward:
        spoilt = {"dy": [[_NAN, _INF]], "x": [[1.0, 2.0, 4.0, 3.0]]}
        yield call(name, "ACT-X7", "NaN and infinities in the gradient", spoilt)


def _misuses(operation: Operation) -> Iterator[Data]:
    name = operation.name
    x = pattern(2, 6)
    dy = pattern(2, 3) if operation.kind == "selection" else x
    fitting = _with_gradient(operation, x, dy)
    if not operation.backward:
        yield misuse(name, "ACT-C1", "whole numbers", {"x": np.ones((2, 6))}, dtype="int32")
    else:
        yield misuse(name, "ACT-C2", "the gradient is broadcast", {"dy": np.ones(1), "x": x})
        yield misuse(name, "ACT-C2", "the gradient is longer", {"dy": pattern(2, 7), "x": x})
        yield misuse(name, "ACT-C2", "the gradient has another format", fitting, dtypes={"dy": "float16"})
    for clause, parameters in operation.bad_parameters():
        yield misuse(name, clause, f"with {_shown(parameters)}", fitting, **parameters)
    if "axis" in operation.parameters:
        for axis in (2, -3):
            yield misuse(name, "ACT-C4", f"along axis {axis}", fitting, axis=axis)
    if operation.kind == "selection":
        yield misuse(name, "ACT-C5", "groups that do not fit", fitting, pieces=4)
