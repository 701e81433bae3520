"""The records of maximum and average pooling and their gradients.

Which elements meet in a result, and how many, is asked of the reference: pooling ones with a divisor of 1
counts, and pooling absolute values is the operator on absolute inputs.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock import reference
from gaugeblock.reference import pooling as shapes_of
from gaugeblock.spec.accuracy import Bound, contraction_bound, exact_bound, round_to, rounded
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, Format
from gaugeblock.spec.record import GENERAL, REQUIRED, Arguments, Operation, Parameter, Rules, Shape, Shapes
from gaugeblock.spec.running import gamma

__all__ = ["POOLING", "routed_bound"]

_FLOAT32 = FORMATS["float32"]
_RECIPROCAL = 2  # roundings: of the reciprocal of the divisor, and of the product with it
_WINDOW = ("kernel", "stride", "padding", "ceil_mode")


def _finite_magnitude(array: ArrayLike) -> Float64:
    """Return absolute values, and zeros for NaN and infinities: no finite result depends on those."""
    return np.abs(np.where(np.isfinite(array), array, 0.0))


# Maxima

_MAXIMUM = (*_WINDOW, "dilation")


def _max_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    return shapes_of.max_pool_shape(shapes["x"], **{name: arguments[name] for name in _MAXIMUM})


def _exact(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
    return exact_bound(want)


def routed_bound(
    arguments: Arguments,
    want: ArrayLike,
    output: Format,
    arithmetic: Arithmetic,
    route: Callable[..., Any] = reference.max_pool_backward,
) -> Bound:
    """Return the bound of a sum of what was routed to an element, zero for a single addend (POOL-A3)."""

    def routed(dy: Float64) -> Float64:
        parameters = {name: arguments[name] for name in _MAXIMUM}
        return np.asarray(route(dy, arguments["x"], **parameters), dtype=np.float64)

    dy = _finite_magnitude(arguments["dy"])
    size, count = routed(dy), routed(np.ones_like(dy))
    terms = {"sum": gamma(np.maximum(count - 1, 0), arithmetic.sum_roundoff) * size}
    if arithmetic.flush_subnormals:
        terms["subnormals"] = count * _FLOAT32.smallest_normal
    overflows = size > arithmetic.sum_format.largest
    terms = {name: np.where(overflows, np.inf, term) for name, term in terms.items()}
    return rounded(Bound(terms), want, output)


def _cells(arguments: Arguments, axes: int) -> int:
    """Return the number of cells of a window."""
    kernel = arguments["kernel"]
    return math.prod(kernel) if isinstance(kernel, tuple | list) else int(kernel**axes)


def _most_windows(shapes: Shapes, arguments: Arguments) -> int:
    """Return the largest number of windows that an element can be a cell of, or cells of a window."""
    shape = shapes["x"] if "x" in shapes else shapes["dy"]
    return _cells(arguments, len(shape) - 2)


# Averages

Average = Callable[[Float64, Arguments], Float64]
_AVERAGE = (*_WINDOW, "count_include_pad", "divisor")


def _average(x: Float64, arguments: Arguments) -> Float64:
    parameters = {name: arguments[name] for name in _AVERAGE}
    return np.asarray(reference.avg_pool(x, **parameters), dtype=np.float64)


def _average_backward(dy: Float64, arguments: Arguments) -> Float64:
    parameters = {name: arguments[name] for name in (*_AVERAGE, "input_shape")}
    return np.asarray(reference.avg_pool_backward(dy, **parameters), dtype=np.float64)


def _average_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    return shapes_of.avg_pool_shape(shapes["x"], **{name: arguments[name] for name in _AVERAGE})


def _average_rules(array: str, average: Average, shape: Callable[[Shapes, Arguments], Shape]) -> Rules:
    """Return the rules of an average of one array: over a window, or over the windows of an element."""

    def absolute(arguments: Arguments) -> Float64:
        divisor = arguments["divisor"]
        positive = {**arguments, "divisor": None if divisor is None else abs(divisor)}
        return average(np.abs(np.asarray(arguments[array], dtype=np.float64)), positive)

    def bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        values, divisor = _finite_magnitude(arguments[array]), arguments["divisor"]
        whole = {**arguments, "divisor": 1.0}
        count = average(np.ones_like(values), whole)
        inexact = divisor is not None and float(round_to(float(divisor), _FLOAT32)) != divisor
        found = contraction_bound(
            want,
            product=absolute({**arguments, array: values}),
            addend=0.0,
            operands=absolute({**arguments, array: np.ones_like(values)}),
            reduction=np.maximum(count - 1, 0),
            output=output,
            arithmetic=arithmetic,
            roundings=_RECIPROCAL + inexact + 4 * ("division" in arithmetic.approximations),
        )
        reciprocal = divisor is None or _FLOAT32.smallest_normal <= abs(divisor) <= 2.0**126
        overflows = average(values, whole) > arithmetic.sum_format.largest
        unknown = overflows | (not reciprocal)
        return Bound({name: np.where(unknown, np.inf, term) for name, term in found.terms.items()})

    return Rules(shape, bound, _most_windows, absolute)


# The records

_KERNEL = Parameter(REQUIRED, "spatial", (2, 1, 3, 5), (0, -1, 1.5), "POOL-C2")
_PLACE = {
    "kernel": _KERNEL,
    "stride": Parameter(None, "spatial", (None, 1, 2, 3), (0, -1, 1.5), "POOL-C2"),
    "padding": Parameter(0, "padding", (0, 1, 2), (-1, 0.5, "same"), "POOL-C3"),
}
_DILATION = Parameter(1, "spatial", (1, 2, 3), (0, -2, 1.5), "POOL-C2")
_CEIL_MODE = Parameter(False, "flag", (False, True))
_DIVIDED = {
    **_PLACE,
    "ceil_mode": _CEIL_MODE,
    "count_include_pad": Parameter(True, "flag", (True, False)),
    "divisor": Parameter(
        None, "real", (None, 1.0, 4.0, 3.0, 0.7, -2.0), (0.0, math.nan, math.inf), "POOL-C5"
    ),
}
_CHOSEN = {**_PLACE, "dilation": _DILATION, "ceil_mode": _CEIL_MODE}
_SHAPE = Parameter(REQUIRED, "shape", (), ((3,), (1, -1, 4), None), "POOL-C4")

_ANYWHERE = {role: clause for role, clause in GENERAL.items() if role != "strides"} | {
    "shapes": "POOL-S6",
    "channels_last": "POOL-S7",
    "empty": "POOL-X1",
    "permutation": "POOL-I1",
}
_OF_MAXIMA = _ANYWHERE | {"special_values": "POOL-X2"}
_OF_AVERAGES = _ANYWHERE | {
    "special_values": "POOL-X3",
    "accuracy": "POOL-A2",
    "exact": "POOL-A4",
    "statistics": "POOL-A7",
}


def _record(name: str, semantics: str, clauses: Mapping[str, str], **details: Any) -> Operation:
    """Return a record of this page."""
    return Operation(
        name=name,
        concept="pooling",
        kind="pooling",
        reference=getattr(reference, name),
        clauses={**clauses, "semantics": semantics},
        **details,
    )


#: In the order of the page.
POOLING = (
    _record(
        "max_pool",
        "POOL-S1",
        _OF_MAXIMA
        | {
            "accuracy": "POOL-A1",
            "real_data": "POOL-A6",
            "translation": "POOL-I2",
            "window": "POOL-I3",
        },
        arrays=("x",),
        parameters=_CHOSEN,
        rules=Rules(_max_shape, _exact),
        constraints=("POOL-C1", "POOL-C2", "POOL-C3"),
    ),
    _record(
        "max_pool_indices",
        "POOL-S2",
        _OF_MAXIMA | {"accuracy": "POOL-A1", "ties": "POOL-X4"},
        arrays=("x",),
        parameters=_CHOSEN,
        rules=Rules(_max_shape, _exact),
        constraints=("POOL-C1", "POOL-C2", "POOL-C3"),
        result_dtype="int64",
    ),
    _record(
        "max_pool_backward",
        "POOL-S3",
        _OF_MAXIMA
        | {
            "accuracy": "POOL-A3",
            "exact": "POOL-A4",
            "ties": "POOL-X4",
            "routing": "POOL-I5",
        },
        arrays=("dy", "x"),
        parameters=_CHOSEN,
        rules=Rules(lambda shapes, arguments: shapes["x"], routed_bound, _most_windows),
        constraints=("POOL-C1", "POOL-C2", "POOL-C3", "POOL-C4"),
    ),
    _record(
        "avg_pool",
        "POOL-S4",
        _OF_AVERAGES
        | {
            "long_sum": "POOL-A5",
            "real_data": "POOL-A6",
            "translation": "POOL-I2",
            "window": "POOL-I4",
        },
        arrays=("x",),
        parameters=_DIVIDED,
        rules=_average_rules("x", _average, _average_shape),
        constraints=("POOL-C1", "POOL-C2", "POOL-C3", "POOL-C5"),
    ),
    _record(
        "avg_pool_backward",
        "POOL-S5",
        _OF_AVERAGES | {"adjointness": "POOL-I6", "long_sum": "POOL-A5"},
        arrays=("dy",),
        parameters={"input_shape": _SHAPE, **_DIVIDED},
        rules=_average_rules(
            "dy", _average_backward, lambda shapes, arguments: tuple(arguments["input_shape"])
        ),
        constraints=("POOL-C1", "POOL-C2", "POOL-C3", "POOL-C4", "POOL-C5"),
    ),
)
