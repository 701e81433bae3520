"""The test vectors of maximum and average pooling and their gradients."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.operations import OPERATIONS, Operation
from gaugeblock.spec.vectors.case import Data, Strided, call, misuse, pattern

__all__ = ["cases"]

_INF, _NAN = np.inf, np.nan

#: Title, shape of the input and parameters; what an operation lacks is left out.
_GEOMETRY: tuple[tuple[str, tuple[int, ...], Mapping[str, Any]], ...] = (
    ("one axis", (2, 2, 6), {"kernel": 2}),
    ("two axes", (1, 2, 4, 6), {"kernel": (2, 3)}),
    ("three axes", (1, 1, 4, 2, 4), {"kernel": 2}),
    ("windows that overlap", (1, 1, 5, 5), {"kernel": 3, "stride": 1}),
    ("windows with gaps between", (1, 1, 8), {"kernel": 2, "stride": 3}),
    ("padding", (1, 1, 4, 4), {"kernel": 3, "stride": 2, "padding": 1}),
    ("more padding on one side", (1, 1, 5), {"kernel": 3, "stride": 2, "padding": ((0, 2),)}),
    ("a remainder", (1, 1, 7), {"kernel": 3, "stride": 3}),
    ("ceil_mode with a remainder", (1, 1, 7), {"kernel": 3, "stride": 3, "ceil_mode": True}),
    ("ceil_mode and padding", (1, 1, 4, 5), {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("dilation", (1, 1, 7, 7), {"kernel": 2, "stride": 1, "dilation": (2, 3)}),
    ("a window larger than the input", (1, 2, 3), {"kernel": 5, "stride": 1, "padding": 1}),
    ("padding counts", (1, 1, 4), {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": True}),
    (
        "padding does not count",
        (1, 1, 4),
        {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    ),
    ("a divisor", (1, 1, 6), {"kernel": 3, "stride": 1, "divisor": 0.7}),
    ("a negative divisor", (1, 1, 6), {"kernel": 2, "divisor": -2.0}),
)


def cases() -> Iterator[tuple[str, Data]]:
    """Yield the vectors, each with its operation."""
    for operation in OPERATIONS.values():
        if operation.concept == "pooling":
            for case in (*_semantics(operation), *_special(operation), *_misuses(operation)):
                yield operation.name, case


def _arguments(
    operation: Operation, x: Float64, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays and parameters of an operation for the input of a pooling."""
    given = dict(parameters)
    forward = OPERATIONS[operation.name.removesuffix("_backward").removesuffix("_indices")]
    if operation.backward:
        dy = pattern(*forward.shape({"x": x.shape}, given), start=2)
        if "x" in operation.arrays:
            return {"dy": dy, "x": x}, given
        return {"dy": dy}, {"input_shape": x.shape, **given}
    return {"x": x}, given


def _semantics(operation: Operation) -> Iterator[Data]:
    name, semantics = operation.name, operation.clauses["semantics"]
    for number, (title, shape, parameters) in enumerate(_GEOMETRY):
        if not parameters.keys() <= operation.parameters.keys():
            continue
        arrays, given = _arguments(operation, pattern(*shape), parameters)
        clause = semantics if number < 3 else "POOL-S6"
        for dtype in FORMATS if number < 3 else ("float32",):
            yield call(name, clause, title, arrays, dtype=dtype, **given)
    arrays, given = _arguments(operation, 0.1 * pattern(1, 2, 3, 5), {"kernel": (2, 3), "stride": 1})
    for dtype in FORMATS:
        yield call(name, semantics, "numbers that have to be rounded", arrays, dtype=dtype, **given)
    arrays, given = _arguments(operation, pattern(2, 3, 4, 4), {"kernel": 3, "stride": 1, "padding": 1})
    last = {key: _channels_last(array) for key, array in arrays.items()}
    yield call(name, "POOL-S7", "channels last", last, **given)


def _channels_last(array: Float64) -> Strided:
    """Return an array whose channels lie next to each other."""
    n, c, h, w = array.shape
    return Strided(np.moveaxis(array, 1, -1).ravel(), (n, c, h, w), (h * w * c, 1, w * c, c))


def _special(operation: Operation) -> Iterator[Data]:
    name, special = operation.name, operation.clauses["special_values"]
    for title, shape, parameters in (
        ("no inputs", (0, 2, 4), {"kernel": 2}),
        ("no channels", (1, 0, 4), {"kernel": 2}),
        ("no positions", (1, 1, 2), {"kernel": 3}),
        ("windows without data", (1, 1, 3), {"kernel": 2, "padding": 2}),
        ("nothing but padding", (1, 1, 0), {"kernel": 2, "padding": 1}),
    ):
        arrays, given = _arguments(operation, pattern(*shape), parameters)
        yield call(name, "POOL-X1", title, arrays, **given)
    if operation.backward:
        arrays, given = _arguments(operation, pattern(1, 1, 3), {"kernel": 2, "padding": 2})
        spoilt = np.where(np.arange(arrays["dy"].size) == 0, _NAN, arrays["dy"])
        yield call(
            name, "POOL-X1", "NaN in the gradient of a window without data", arrays | {"dy": spoilt}, **given
        )
    values = np.array([[[_NAN, 1.0, _NAN, 2.0, -_INF, -_INF, _INF, 1.0, -_INF, _INF, -0.0, 0.0]]])
    for dtype in FORMATS:
        for stride in (2, 1):
            arrays, given = _arguments(operation, values, {"kernel": 2, "stride": stride})
            title = f"NaN and infinities, windows {stride} apart"
            yield call(name, special, title, arrays, dtype=dtype, **given)
    if operation.backward:
        arrays, given = _arguments(operation, pattern(1, 1, 8), {"kernel": 2})
        spoilt = np.array([[[1.0, _NAN, _INF, -_INF]]])
        yield call(name, special, "NaN and infinities in the gradient", arrays | {"dy": spoilt}, **given)
    if "ties" in operation.clauses:
        ties = np.array(
            [[[[1.0, 1.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], [-0.0, 0.0, 3.0, 1.0], [0.0, -0.0, 1.0, 3.0]]]]
        )
        for stride in (2, 1):
            arrays, given = _arguments(operation, ties, {"kernel": 2, "stride": stride})
            yield call(name, "POOL-X4", f"the first of equal maxima, windows {stride} apart", arrays, **given)
    if name == "max_pool":
        arrays, given = _arguments(operation, np.array([[[_NAN, 1.0, 2.0]]]), {"kernel": 2, "stride": 1})
        yield call(name, "GEN-X1", "NaN is not hidden", arrays, **given)


def _misuses(operation: Operation) -> Iterator[Data]:
    name = operation.name
    arrays, given = _arguments(operation, pattern(1, 2, 4, 4), {"kernel": 2})
    if not operation.backward:
        yield misuse(name, "POOL-C1", "two axes", {"x": arrays["x"][:, :, 0, 0]}, **given)
    if len(arrays) == 1:
        whole = {key: np.ones(np.shape(array)) for key, array in arrays.items()}
        yield misuse(name, "POOL-C1", "whole numbers", whole, dtype="int32", **given)
    for clause, parameters in operation.bad_parameters():
        shown = ", ".join(f"{key} {value}" for key, value in parameters.items())
        yield misuse(name, clause, f"with {shown}", arrays, **given | dict(parameters))
    yield misuse(name, "POOL-C2", "one length too many", arrays, **given | {"kernel": (2, 2, 2)})
    yield misuse(name, "POOL-C3", "one pair too many", arrays, **given | {"padding": ((0, 0),) * 3})
    if operation.backward:
        short = arrays | {"dy": arrays["dy"][..., :-1]}
        yield misuse(name, "POOL-C4", "a gradient that is no result", short, **given)
    if len(arrays) > 1:
        yield misuse(
            name, "POOL-C4", "the gradient has another format", arrays, dtypes={"dy": "float16"}, **given
        )
