"""The records of the activation functions and their gradients."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock import reference
from gaugeblock.spec.accuracy import Bound, exact_bound, formula_bound
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import Format
from gaugeblock.spec.formulas import FORMULAS
from gaugeblock.spec.record import GENERAL, Arguments, Operation, Parameter, Rules, Shape, Shapes, Symmetry

__all__ = ["activations"]

_PIECEWISE_LINEAR = frozenset({"leaky_relu", "hard_sigmoid", "hard_tanh"})

_EXACT = frozenset({"relu", "relu6", "hard_tanh"})

_REAL = (math.nan, math.inf, -math.inf)
_AXIS = Parameter(-1, "axis", (-1, 0, 1, -2), (), "ACT-C4")
_PARAMETERS: Mapping[str, Mapping[str, Parameter]] = {
    "leaky_relu": {
        "negative_slope": Parameter(0.01, "real", (0.01, 0.0, 0.25, 0.3, 1.0, 3.0, -0.5), _REAL, "ACT-C3")
    },
    "elu": {"alpha": Parameter(1.0, "real", (1.0, 0.0, 0.5, 1.7, -0.3), _REAL, "ACT-C3")},
    "hard_tanh": {
        "min_val": Parameter(-1.0, "real", (-1.0, -2.0, -0.5, 0.0), (math.nan,), "ACT-C3"),
        "max_val": Parameter(1.0, "real", (1.0, 0.5, 2.0, 6.0), (math.nan,), "ACT-C3"),
    },
    "gelu": {"approximate": Parameter("none", "choice", ("none", "tanh"), ("erf", "", None), "ACT-C3")},
    "softmax": {"axis": _AXIS},
    "log_softmax": {"axis": _AXIS},
    "maxout": {"pieces": Parameter(2, "count", (2, 1, 3, 4, 5), (0, -1), "ACT-C5"), "axis": _AXIS},
}

#: The functions in the order of the page; ACT-S1 is the first, ACT-S2 its gradient, and so on.
_ELEMENTWISE = (
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "sigmoid",
    "log_sigmoid",
    "hard_sigmoid",
    "tanh",
    "hard_tanh",
    "softplus",
    "gelu",
    "silu",
)
_ROWWISE = ("softmax", "log_softmax")
_NAMES = (*_ELEMENTWISE, *_ROWWISE, "maxout")

_NOT_MONOTONE = frozenset({"gelu", "silu"})
_SIGNED_ZERO = frozenset({"tanh", "hard_tanh", "gelu", "silu"})

_ODD = Symmetry("sum", "zero")
_EVEN = Symmetry("difference", "zero")
_COMPLEMENT = Symmetry("sum", "one")
_DIFFERENCE = Symmetry("difference", "x")
_SYMMETRY: Mapping[str, Symmetry] = {
    "relu": _DIFFERENCE,
    "relu_backward": _COMPLEMENT,
    "sigmoid": _COMPLEMENT,
    "sigmoid_backward": _EVEN,
    "log_sigmoid": _DIFFERENCE,
    "log_sigmoid_backward": _COMPLEMENT,
    "hard_sigmoid": _COMPLEMENT,
    "hard_sigmoid_backward": _EVEN,
    "tanh": _ODD,
    "tanh_backward": _EVEN,
    "hard_tanh": _ODD,
    "hard_tanh_backward": _EVEN,
    "softplus": _DIFFERENCE,
    "softplus_backward": _COMPLEMENT,
    "gelu": _DIFFERENCE,
    "gelu_backward": _COMPLEMENT,
    "silu": _DIFFERENCE,
    "silu_backward": _COMPLEMENT,
}


def _shape_of_x(shapes: Shapes, arguments: Arguments) -> Shape:
    return shapes["x"]


def _maxout_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    shape = shapes["x"]
    axis = range(len(shape))[arguments["axis"]]
    return (*shape[:axis], shape[axis] // arguments["pieces"], *shape[axis + 1 :])


def _length_of_row(shapes: Shapes, arguments: Arguments) -> int:
    return shapes["x"][arguments["axis"]]


def _bound(name: str) -> Callable[[Arguments, ArrayLike, Format, Arithmetic], Bound]:
    """Return the bound of a function or of its gradient: that of its formula, or zero where it has none."""
    formula = FORMULAS.get(name)
    transcendental = name.removesuffix("_backward") not in _PIECEWISE_LINEAR

    def bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        if formula is None or np.size(want) == 0:
            return exact_bound(want)
        running = formula(arguments, arithmetic)
        gradient = name.endswith("_backward")
        return formula_bound(running, want, output, transcendental=transcendental, gradient=gradient)

    return bound


def _elementwise(name: str, semantics: str) -> Operation:
    """Return the record of an elementwise function or of its gradient."""
    forward = name.removesuffix("_backward")
    backward = name != forward
    monotone = not backward and forward not in _NOT_MONOTONE
    symmetry = _SYMMETRY.get(name)
    accuracy = "ACT-A3" if forward in _EXACT else "ACT-A4" if forward in _PIECEWISE_LINEAR else "ACT-A1"
    clauses = GENERAL | {
        "semantics": semantics,
        "accuracy": accuracy,
        "sweep": "ACT-A2",
        "special_values": "ACT-X3" if backward else "ACT-X2",
        "empty": "ACT-X1",
        "aliasing": "GEN-S6",
        "tail": "ACT-I1",
    }
    clauses |= {"statistics": "ACT-A10"} if forward not in _EXACT else {}
    clauses |= {"monotonicity": "ACT-I2"} if monotone else {}
    clauses |= {"symmetry": "ACT-I3"} if symmetry else {}
    parameters = _PARAMETERS.get(forward, {})
    constraints = ["ACT-C1"] + ["ACT-C2"] * backward + ["ACT-C3"] * bool(parameters)
    return Operation(
        name=name,
        concept="activation",
        kind="elementwise",
        arrays=("dy", "x") if backward else ("x",),
        parameters=parameters,
        reference=getattr(reference, name),
        clauses=clauses,
        rules=Rules(_shape_of_x, _bound(name)),
        constraints=tuple(constraints),
        monotone="increasing" if monotone else None,
        symmetry=symmetry,
        signed_zero=not backward and forward in _SIGNED_ZERO,
        illegal_combinations=_UNORDERED if forward == "hard_tanh" else (),
    )


_UNORDERED = ({"min_val": 1.0, "max_val": 1.0}, {"min_val": 2.0, "max_val": -2.0})


def _rowwise(name: str, semantics: str) -> Operation:
    """Return the record of softmax or log-softmax, or of its gradient."""
    forward = name.removesuffix("_backward")
    backward = name != forward
    clauses = GENERAL | {
        "semantics": semantics,
        "accuracy": "ACT-A6" if backward else "ACT-A5",
        "long_row": "ACT-A7",
        "exact": "ACT-A9",
        "statistics": "ACT-A10",
        "special_values": "ACT-X6" if backward else "ACT-X5",
        "empty": "ACT-X4",
        "aliasing": "GEN-S6",
        "shift": "ACT-I4",
        "row_sum": "ACT-I5",
        "permutation": "ACT-I6",
    }
    clauses |= {"real_data": "ACT-A8"} if name == "softmax" else {}
    return Operation(
        name=name,
        concept="activation",
        kind="rowwise",
        arrays=("dy", "x") if backward else ("x",),
        parameters=_PARAMETERS[forward],
        reference=getattr(reference, name),
        clauses=clauses,
        rules=Rules(_shape_of_x, _bound(name), _length_of_row),
        constraints=("ACT-C1", "ACT-C2", "ACT-C4") if backward else ("ACT-C1", "ACT-C4"),
    )


def _selection(name: str, semantics: str) -> Operation:
    """Return the record of maxout or of its gradient."""
    backward = name == "maxout_backward"
    clauses = GENERAL | {
        "semantics": semantics,
        "accuracy": "ACT-A3",
        "selection": "ACT-I7",
        "ties": "ACT-X8",
        "special_values": "ACT-X7",
        "empty": "ACT-X1",
    }
    return Operation(
        name=name,
        concept="activation",
        kind="selection",
        arrays=("dy", "x") if backward else ("x",),
        parameters=_PARAMETERS["maxout"],
        reference=getattr(reference, name),
        clauses=clauses,
        rules=Rules(_shape_of_x if backward else _maxout_shape, _bound(name)),
        constraints=("ACT-C1", "ACT-C2", "ACT-C4", "ACT-C5") if backward else ("ACT-C1", "ACT-C4", "ACT-C5"),
    )


def activations() -> Iterator[Operation]:
    """Yield the record of every function, each followed by its gradient, in the order of the page."""
    for number, forward in enumerate(_NAMES):
        record = _elementwise if forward in _ELEMENTWISE else _rowwise if forward in _ROWWISE else _selection
        yield record(forward, f"ACT-S{2 * number + 1}")
        yield record(f"{forward}_backward", f"ACT-S{2 * number + 2}")
