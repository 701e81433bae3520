"""The records of the LSTM unit and its gradient. Other units are activations, and recorded as such."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock import reference
from gaugeblock.reference import unit as shapes_of
from gaugeblock.spec.accuracy import Bound, rounded
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import Float64, Format
from gaugeblock.spec.lstm import backward_errors, forward_errors
from gaugeblock.spec.record import GENERAL, Arguments, Operation, Rules, Shape, Shapes

__all__ = ["UNITS"]

_ORACLE_ERROR = 2.0**-44  # of the reference, as a share of its result

Errors = Callable[[Arguments, Format, Arithmetic], Float64]


def _bound(errors: Errors) -> Callable[[Arguments, ArrayLike, Format, Arithmetic], Bound]:
    """Return the bound of a result: the running error, and one rounding to a narrow format."""

    def bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        wanted = np.asarray(want, dtype=np.float64)
        size = np.abs(np.where(np.isfinite(wanted), wanted, 0.0))
        error = errors(arguments, output, arithmetic)
        running = error + np.where(error > 0, _ORACLE_ERROR * size, 0.0)
        return rounded(Bound({"steps in float32": running}), wanted, output)

    return bound


def _reduction(shapes: Shapes, arguments: Arguments) -> int:
    """Return the number of products in one weighted sum of the forward pass."""
    return shapes["x"][-1] + shapes["h"][-1]


def _lstm(
    name: str,
    semantics: str,
    arrays: tuple[str, ...],
    shape: Callable[[Shapes, Arguments], Shape],
    errors: Errors,
    clauses: Mapping[str, str],
    constraints: tuple[str, ...],
) -> Operation:
    return Operation(
        name=name,
        concept="unit",
        kind="recurrence",
        arrays=arrays,
        reference=getattr(reference, name),
        clauses=GENERAL
        | {
            "semantics": semantics,
            "gates": "UNIT-S3",
            "sizes": "UNIT-S4",
            "state": "UNIT-S5",
            "empty": "UNIT-X1",
            "long_sequence": "UNIT-A3",
            "exact": "UNIT-A4",
            "split": "UNIT-I1",
            "permutation": "UNIT-I2",
        }
        | dict(clauses),
        rules=Rules(shape, _bound(errors), _reduction),
        constraints=constraints,
    )


_FORWARD = ("x", "h", "c", "w", "u", "bias")
_BACKWARD = ("dy", *_FORWARD)

#: In the order of the page.
UNITS = (
    _lstm(
        "lstm_unit",
        "UNIT-S1",
        _FORWARD,
        lambda shapes, arguments: shapes_of.lstm_unit_shape(*(shapes[name] for name in _FORWARD)),
        forward_errors,
        {"accuracy": "UNIT-A1", "special_values": "UNIT-X2"},
        ("UNIT-C1", "UNIT-C2", "UNIT-C3"),
    ),
    _lstm(
        "lstm_unit_backward",
        "UNIT-S2",
        _BACKWARD,
        lambda shapes, arguments: shapes_of.lstm_unit_backward_shape(*(shapes[name] for name in _BACKWARD)),
        backward_errors,
        {"accuracy": "UNIT-A2", "special_values": "UNIT-X3", "adjointness": "UNIT-I3"},
        ("UNIT-C1", "UNIT-C2", "UNIT-C3", "UNIT-C4"),
    ),
)
