"""The record of GEMM: its shape, its bound and its clauses."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock import reference
from gaugeblock.spec.accuracy import Bound, contraction_bound, factor_error, meets_infinity, unbounded
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import Float64, Format
from gaugeblock.spec.record import GENERAL, Arguments, Operation, Parameter, Rules, Shape, Shapes

__all__ = ["GEMM"]


def _gemm_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    a, b = shapes["a"], shapes["b"]
    rows = a[-1 if arguments["transpose_a"] else -2]
    columns = b[-2 if arguments["transpose_b"] else -1]
    return (*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns)


def _gemm_reduction(shapes: Shapes, arguments: Arguments) -> int:
    return shapes["a"][-2 if arguments["transpose_a"] else -1]


def _magnitude(array: Any) -> Float64 | None:
    return None if array is None else np.abs(np.asarray(array, dtype=np.float64))


def _finite(array: Any) -> Float64 | None:
    return None if array is None else np.where(np.isfinite(array), array, 0.0)


def _gemm_parts(arguments: Arguments) -> dict[str, Any]:
    """Return the arguments of the operator on absolute inputs."""
    parts: dict[str, Any] = {name: _magnitude(arguments[name]) for name in ("a", "b", "c")}
    parts |= {name: abs(float(arguments[name])) for name in ("alpha", "beta")}
    return parts | {name: arguments[name] for name in ("transpose_a", "transpose_b")}


def _gemm_absolute(arguments: Arguments) -> Float64:
    with np.errstate(all="ignore"):
        return np.asarray(reference.gemm(**_gemm_parts(arguments)))


def _gemm_bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
    # Where an infinity or a NaN takes part, the result is none of the finite numbers that a bound is about;
    # what else is added there is finite, and must not overflow.
    finite = {name: _finite(arguments[name]) for name in ("a", "b", "c")}
    parts = _gemm_parts({**arguments, **finite})
    a, b, c, alpha, beta = (parts[name] for name in ("a", "b", "c", "alpha", "beta"))
    product = reference.gemm(**(parts | {"c": None, "beta": 0.0}))
    of_a = np.sum(a, axis=-2 if arguments["transpose_a"] else -1)[..., :, None]
    of_b = np.sum(b, axis=-1 if arguments["transpose_b"] else -2)[..., None, :]
    bound = contraction_bound(
        want,
        product=product,
        addend=beta * c if beta else 0.0,
        operands=alpha * (of_a + of_b) if alpha else 0.0,
        reduction=a.shape[-2 if arguments["transpose_a"] else -1],
        output=output,
        arithmetic=arithmetic,
        alpha=float(arguments["alpha"]),
        beta=float(arguments["beta"]),
        lost=_lost(arguments, output, arithmetic),
    )
    return _where_factors_vanish(bound, arguments, arithmetic)


def _lost(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> ArrayLike:
    """Tell where an infinity meets an element of the other matrix that may count as zero."""
    if not arguments["alpha"]:
        return False

    def multiply(a: Float64, b: Float64) -> Float64:
        flags = {name: arguments[name] for name in ("transpose_a", "transpose_b")}
        return np.asarray(reference.gemm(a, b, **flags))

    return meets_infinity(arguments["a"], arguments["b"], multiply, output, arithmetic)


def _where_factors_vanish(bound: Bound, arguments: Arguments, arithmetic: Arithmetic) -> Bound:
    """Demand nothing where a factor that may become zero meets what is not finite.

    A kernel that multiplies has NaN there; one that asks whether its factor is zero does not read the rest.
    """
    alone: dict[str, dict[str, Any]] = {"alpha": {"c": None, "beta": 0.0}, "beta": {"alpha": 0.0}}
    for name, others in alone.items():
        if factor_error(float(arguments[name]), arithmetic) >= 1:
            part = reference.gemm(**{**arguments, **others, name: 1.0})
            bound = unbounded(bound, ~np.isfinite(part))
    return bound


_FACTORS = (1.0, 0.0, -1.0, 0.5, 2.0, 0.1, -0.7)

GEMM = Operation(
    name="gemm",
    concept="gemm",
    kind="contraction",
    arrays=("a", "b", "c"),
    optional=frozenset({"c"}),
    parameters={
        "alpha": Parameter(1.0, "real", _FACTORS),
        "beta": Parameter(0.0, "real", _FACTORS),
        "transpose_a": Parameter(False, "flag", (False, True)),
        "transpose_b": Parameter(False, "flag", (False, True)),
    },
    reference=reference.gemm,
    rules=Rules(_gemm_shape, _gemm_bound, _gemm_reduction, _gemm_absolute),
    constraints=("GEMM-C1", "GEMM-C2", "GEMM-C3", "GEMM-C4", "GEMM-C5"),
    clauses=GENERAL
    | {
        "semantics": "GEMM-S1",
        "scale": "GEMM-S2",
        "unread": "GEMM-S3",
        "batch": "GEMM-S4",
        "aliasing": "GEN-S6",
        "empty": "GEMM-X1",
        "special_values": "GEMM-X2",
        "accuracy": "GEMM-A1",
        "exact": "GEMM-A2",
        "statistics": "GEMM-A3",
        "long_sum": "GEMM-A4",
        "real_data": "GEMM-A5",
        "transpose": "GEMM-I1",
        "linearity": "GEMM-I2",
        "partition": "GEMM-I3",
        "adjointness": "GEMM-I4",
    },
)
