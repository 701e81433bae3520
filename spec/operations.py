"""One record per operation: all that a conformance suite must know to hold a kernel against the spec.

An operation is data. Its record names the arguments, the exact function, the shape of the result, the bound
of its error and, for every check that applies, the clause that the check is about. A new operation gets
every generic check by being recorded here.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock import reference
from gaugeblock.spec.accuracy import Arithmetic, Bound, Format, contraction_bound, exact_bound, formula_bound
from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.formulas import FORMULAS

__all__ = ["OPERATIONS", "Operation", "Parameter", "Symmetry"]

Kind = Literal["contraction", "elementwise", "rowwise", "selection"]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """An argument that is not an array.

    Attributes
    ----------
    default : object
        Its value where the call leaves it out.
    kind : {"real", "flag", "choice", "axis", "count"}
        What it is.
    legal : tuple
        Values worth trying; any combination of the legal values of an operation's parameters is legal.
    illegal : tuple
        Values that must raise an error naming `clause`.
    clause : str
        The constraint that the illegal values violate.
    """

    default: Any
    kind: Literal["real", "flag", "choice", "axis", "count"]
    legal: tuple[Any, ...]
    illegal: tuple[Any, ...] = ()
    clause: str = ""


@dataclass(frozen=True)
class Symmetry:
    """A relation of f(x) and f(−x), at the default parameters.

    ``combine`` the two values and the result ``equals`` x, one or zero. For a backward operation the relation
    is that of the derivative: read dx for f and dy for one. It holds where x is not zero and finite.
    """

    combine: Literal["sum", "difference"]
    equals: Literal["x", "one", "zero"]


@dataclass(frozen=True)
class Operation:
    """What can be held against the spec.

    Attributes
    ----------
    name : str
        The function's name in the reference, in `gaugeblock.gpu` and in every backend.
    concept : {"gemm", "activation"}
        The page and the module that it belongs to.
    kind : {"contraction", "elementwise", "rowwise", "selection"}
        What its result is made of: sums of products, single elements, whole rows, or copies of inputs.
    arrays : tuple of str
        The names of the array arguments, in order.
    reference : callable
        The exact function, float64 in and float64 out.
    clauses : mapping of str to str
        For every check that applies the clause it checks. No two checks share one.
    constraints : tuple of str
        The clauses whose violation must raise an error; each is a check of its own.
    parameters : mapping of str to Parameter
        The other arguments.
    optional : frozenset of str
        Array arguments that a call may leave out.
    monotone : {"increasing"} or None
        Whether the function never falls, at its default parameters.
    symmetry : Symmetry or None
        How f(x) and f(−x) are related.
    signed_zero : bool
        Whether f(−0) must be −0 and f(+0) must be +0.
    illegal_combinations : tuple of mappings
        Parameters that are legal one by one and not together (clause ACT-C3).
    dtypes : tuple of str
        The types it exists in.
    """

    name: str
    concept: Literal["gemm", "activation"]
    kind: Kind
    arrays: tuple[str, ...]
    reference: Callable[..., Any]
    clauses: Mapping[str, str]
    constraints: tuple[str, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    monotone: Literal["increasing"] | None = None
    symmetry: Symmetry | None = None
    signed_zero: bool = False
    illegal_combinations: tuple[Mapping[str, Any], ...] = ()
    dtypes: tuple[str, ...] = tuple(FORMATS)

    @property
    def backward(self) -> bool:
        """Whether it is the gradient of another operation."""
        return "dy" in self.arrays

    def complete(self, arguments: Arguments) -> dict[str, Any]:
        """Return the arguments with the defaults of those left out; an absent array is None."""
        defaults = {name: parameter.default for name, parameter in self.parameters.items()}
        return dict.fromkeys(self.arrays) | defaults | dict(arguments)

    def bad_parameters(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield parameters that must raise an error, each with the clause that they violate."""
        for name, parameter in self.parameters.items():
            for value in parameter.illegal:
                yield parameter.clause, {name: value}
        for combination in self.illegal_combinations:
            yield "ACT-C3", combination

    def shape(self, shapes: Shapes, parameters: Arguments) -> Shape:
        """Return the shape of the result for legal shapes of the arrays."""
        arguments = self.complete(parameters)
        if self.kind == "contraction":
            return _gemm_shape(shapes, arguments)
        shape = shapes["x"]
        if self.name != "maxout":
            return shape
        axis = range(len(shape))[arguments["axis"]]
        return (*shape[:axis], shape[axis] // arguments["pieces"], *shape[axis + 1 :])

    def reduction(self, shapes: Shapes, parameters: Arguments) -> int | None:
        """Return the length of one reduction: K of a contraction, the length of a row, otherwise None."""
        arguments = self.complete(parameters)
        if self.kind == "contraction":
            return shapes["a"][-2 if arguments["transpose_a"] else -1]
        return shapes["x"][arguments["axis"]] if self.kind == "rowwise" else None

    def absolute(self, arguments: Arguments) -> Float64:
        """Return S, the same operator on absolute inputs; for contractions only."""
        if self.kind != "contraction":
            raise ValueError(f"{self.name} is no contraction: only those have an operator on absolute inputs")
        return _gemm_absolute(self.complete(arguments))

    def bound(self, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        """Return the bound of the error of a result.

        Parameters
        ----------
        arguments : mapping
            The arguments of the call: arrays in float64, parameters as given.
        want : array_like
            The reference's result for them.
        output : Format
            The format that the kernel computed for.
        arithmetic : Arithmetic
            What the backend declares.
        """
        complete = self.complete(arguments)
        if self.kind == "contraction":
            return _gemm_bound(complete, want, output, arithmetic)
        if self.name not in FORMULAS or np.size(want) == 0:
            return exact_bound(want)
        complete |= {name: np.asarray(complete[name], dtype=np.float64) for name in self.arrays}
        with np.errstate(all="ignore"):
            return formula_bound(
                FORMULAS[self.name](complete, arithmetic),
                want,
                output,
                transcendental=self.name.removesuffix("_backward") not in _PIECEWISE_LINEAR,
                gradient=self.backward,
            )


# GEMM


def _gemm_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    a, b = shapes["a"], shapes["b"]
    rows = a[-1 if arguments["transpose_a"] else -2]
    columns = b[-2 if arguments["transpose_b"] else -1]
    return (*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns)


def _magnitude(array: Any) -> Float64 | None:
    return None if array is None else np.abs(np.asarray(array, dtype=np.float64))


def _gemm_parts(arguments: Arguments) -> dict[str, Any]:
    """Return the arguments of the operator on absolute inputs."""
    parts: dict[str, Any] = {name: _magnitude(arguments[name]) for name in ("a", "b", "c")}
    parts |= {name: abs(float(arguments[name])) for name in ("alpha", "beta")}
    return parts | {name: arguments[name] for name in ("transpose_a", "transpose_b")}


def _gemm_absolute(arguments: Arguments) -> Float64:
    with np.errstate(all="ignore"):
        return np.asarray(reference.gemm(**_gemm_parts(arguments)))


def _gemm_bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
    parts = _gemm_parts(arguments)
    a, b, c, alpha, beta = (parts[name] for name in ("a", "b", "c", "alpha", "beta"))
    with np.errstate(all="ignore"):
        product = reference.gemm(**(parts | {"c": None, "beta": 0.0}))
        of_a = np.sum(a, axis=-2 if arguments["transpose_a"] else -1)[..., :, None]
        of_b = np.sum(b, axis=-1 if arguments["transpose_b"] else -2)[..., None, :]
        return contraction_bound(
            want,
            product=product,
            addend=beta * c if beta else 0.0,
            operands=alpha * (of_a + of_b) if alpha else 0.0,
            reduction=a.shape[-2 if arguments["transpose_a"] else -1],
            output=output,
            arithmetic=arithmetic,
            alpha=float(arguments["alpha"]),
            beta=float(arguments["beta"]),
        )


_FACTORS = (1.0, 0.0, -1.0, 0.5, 2.0, 0.1, -0.7)

_GENERAL = {
    "strides": "GEN-S2",
    "output": "GEN-S3",
    "inputs_unchanged": "GEN-S4",
    "determinism": "GEN-S5",
}

_GEMM = Operation(
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
    constraints=("GEMM-C1", "GEMM-C2", "GEMM-C3", "GEMM-C4", "GEMM-C5"),
    clauses=_GENERAL
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

# Activations

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


def _elementwise(name: str, semantics: str) -> Operation:
    """Return the record of an elementwise function or of its gradient."""
    forward = name.removesuffix("_backward")
    backward = name != forward
    monotone = not backward and forward not in _NOT_MONOTONE
    symmetry = _SYMMETRY.get(name)
    accuracy = "ACT-A3" if forward in _EXACT else "ACT-A4" if forward in _PIECEWISE_LINEAR else "ACT-A1"
    clauses = _GENERAL | {
        "semantics": semantics,
        "accuracy": accuracy,
        "sweep": "ACT-A2",
        "special_values": "ACT-X3" if backward else "ACT-X2",
        "empty": "ACT-X1",
        "aliasing": "GEN-S6",
        "tail": "ACT-I1",
    }
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
    clauses = _GENERAL | {
        "semantics": semantics,
        "accuracy": "ACT-A6" if backward else "ACT-A5",
        "long_row": "ACT-A7",
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
        constraints=("ACT-C1", "ACT-C2", "ACT-C4") if backward else ("ACT-C1", "ACT-C4"),
    )


def _selection(name: str, semantics: str) -> Operation:
    """Return the record of maxout or of its gradient."""
    backward = name == "maxout_backward"
    clauses = _GENERAL | {
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
        constraints=("ACT-C1", "ACT-C2", "ACT-C4", "ACT-C5") if backward else ("ACT-C1", "ACT-C4", "ACT-C5"),
    )


def _activations() -> Iterator[Operation]:
    """Yield every function with its gradient, in the order of the page."""
    for number, forward in enumerate(_NAMES):
        record = _elementwise if forward in _ELEMENTWISE else _rowwise if forward in _ROWWISE else _selection
        yield record(forward, f"ACT-S{2 * number + 1}")
        yield record(f"{forward}_backward", f"ACT-S{2 * number + 2}")


#: Every operation by name: GEMM first, then each activation followed by its gradient.
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {operation.name: operation for operation in (_GEMM, *_activations())}
)
