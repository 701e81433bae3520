"""What a record of an operation holds: all that a suite must know to hold a kernel against the spec.

An operation is data. Its record names the arguments, the exact function, the shape of the result, the bound
of its error and, for every check that applies, the clause that the check is about.
"""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock.spec.accuracy import Bound
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, Format

__all__ = [
    "GENERAL",
    "REQUIRED",
    "Arguments",
    "Operation",
    "Parameter",
    "Rules",
    "Shape",
    "Shapes",
    "Symmetry",
]

Kind = Literal["contraction", "elementwise", "rowwise", "selection", "convolution", "pooling", "recurrence"]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Arguments = Mapping[str, Any]

_FLOAT32 = FORMATS["float32"]

#: The default of a parameter that a call must give.
REQUIRED: Final = inspect.Parameter.empty

#: The clauses that hold of every operation alike.
GENERAL: Final = {
    "history": "GEN-S8",
    "combinations": "GEN-S11",
    "layouts": "GEN-S7",
    "strides": "GEN-S2",
    "output": "GEN-S3",
    "inputs_unchanged": "GEN-S4",
    "determinism": "GEN-S5",
    "out_fits": "GEN-C2",
    "out_overlaps": "GEN-C3",
    "answers": "GEN-S9",
    "refuses": "GEN-S10",
    "layers": "GEN-S12",
}


@dataclass(frozen=True)
class Parameter:
    """An argument that is not an array.

    Attributes
    ----------
    default : object
        Its value where the call leaves it out; `REQUIRED` where it must not.
    kind : {"real", "flag", "choice", "axis", "count", "spatial", "padding", "shape"}
        What it is. A spatial parameter is a whole number or one per spatial axis; padding may also be a pair
        per axis; a shape is that of a gradient, and only the other arguments tell which is legal.
    legal : tuple
        Values worth trying; any combination of the legal values of an operation's parameters is legal. Those
        of a spatial parameter are single numbers, which fit any number of axes.
    illegal : tuple
        Values that must raise an error naming `clause`.
    clause : str
        The constraint that the illegal values violate.
    """

    default: Any
    kind: Literal["real", "flag", "choice", "axis", "count", "spatial", "padding", "shape"]
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
class Rules:
    """What can be computed about an operation; every function is given complete arguments.

    Attributes
    ----------
    shape : callable
        Shapes of the arrays and the parameters to the shape of the result.
    bound : callable
        Arguments, the exact result, the format of the result and the arithmetic to the bound.
    reduction : callable, optional
        Shapes and parameters to the length of one reduction.
    absolute : callable, optional
        Arguments to S, the same operator on absolute inputs; for sums of products.
    algorithms : callable, optional
        Shapes and parameters to the algorithms, besides the direct one, that can do the call.
    """

    shape: Callable[[Shapes, Arguments], Shape]
    bound: Callable[[Arguments, ArrayLike, Format, Arithmetic], Bound]
    reduction: Callable[[Shapes, Arguments], int] | None = None
    absolute: Callable[[Arguments], Float64] | None = None
    algorithms: Callable[[Shapes, Arguments], Collection[str]] | None = None


@dataclass(frozen=True)
class Operation:
    """What can be held against the spec.

    Attributes
    ----------
    name : str
        The function's name in the reference, in `gaugeblock.gpu` and in every backend.
    concept : {"gemm", "activation", "convolution", "pooling", "unit"}
        The page and the module that it belongs to.
    kind : {"contraction", "elementwise", "rowwise", "selection", "convolution", "pooling", "recurrence"}
        What its result is made of: sums of products, single elements, whole rows, copies of inputs, what
        lies under a window that slides, with weights or without, or steps that hand a state on.
    arrays : tuple of str
        The names of the array arguments, in order.
    reference : callable
        The exact function, float64 in and float64 out.
    clauses : mapping of str to str
        For every check that applies the clause it checks. No two checks share one.
    rules : Rules
        How its shapes and its bound are computed.
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
    result_dtype : {"same", "int64"}
        The type of the result: that of the arrays, or whole numbers.
    departures : tuple of str
        The names of the departures that the record describes (GEN-D10).
    """

    name: str
    concept: Literal["gemm", "activation", "convolution", "pooling", "unit"]
    kind: Kind
    arrays: tuple[str, ...]
    reference: Callable[..., Any]
    clauses: Mapping[str, str]
    constraints: tuple[str, ...]
    rules: Rules
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    monotone: Literal["increasing"] | None = None
    symmetry: Symmetry | None = None
    signed_zero: bool = False
    illegal_combinations: tuple[Mapping[str, Any], ...] = ()
    dtypes: tuple[str, ...] = tuple(FORMATS)
    result_dtype: Literal["same", "int64"] = "same"
    departures: tuple[str, ...] = ()

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
        return self.rules.shape(shapes, self.complete(parameters))

    def reduction(self, shapes: Shapes, parameters: Arguments) -> int | None:
        """Return the length of one reduction: of a sum of products, or of a row; otherwise None."""
        if self.rules.reduction is None:
            return None
        return self.rules.reduction(shapes, self.complete(parameters))

    def absolute(self, arguments: Arguments) -> Float64:
        """Return S, the same operator on absolute inputs; for sums of products only."""
        if self.rules.absolute is None:
            raise ValueError(f"{self.name} is no contraction: only those have an operator on absolute inputs")
        return self.rules.absolute(self.complete(arguments))

    def applied(self, shapes: Shapes, parameters: Arguments, arithmetic: Arithmetic) -> Arithmetic:
        """Return what a declaration means for one call: the algorithm where it can do the call, else direct.

        Levels L0 and L2 are asked where the algorithm that is returned is ``"direct"``.
        """
        able: Collection[str] = ()
        if arithmetic.algorithm != "direct" and self.rules.algorithms is not None:
            able = self.rules.algorithms(shapes, self.complete(parameters))
        return arithmetic if arithmetic.algorithm in able else replace(arithmetic, algorithm="direct")

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
        given = {name: complete[name] for name in self.arrays if complete[name] is not None}
        complete |= {name: np.asarray(array, dtype=np.float64) for name, array in given.items()}
        shapes = {name: np.shape(array) for name, array in given.items()}
        with np.errstate(all="ignore"):
            found = self.rules.bound(complete, want, output, self.applied(shapes, complete, arithmetic))
            selects = self.kind in ("elementwise", "selection") or self.name.startswith("max_pool")
            if not (arithmetic.flush_subnormals and selects):
                return found
            return self._flushed(found, complete, want, output, arithmetic)

    def _flushed(
        self, bound: Bound, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic
    ) -> Bound:
        """Allow the result for an x whose subnormal numbers are zero, and a subnormal result to be another.

        The first is far from the result at a kink, and where two of them were told apart. The second is a
        copy of any element that compared equal to the largest, or zero.
        """
        wanted, x = np.asarray(want, dtype=np.float64), arguments["x"]
        zeros = np.where(np.abs(x) < _FLOAT32.smallest_normal, 0.0, x)
        elsewhere = {**arguments, "x": zeros}
        other = np.asarray(self.reference(**elsewhere), dtype=np.float64)
        same = (other == wanted) | (np.isnan(other) & np.isnan(wanted))
        apart = np.abs(other - wanted) + self.rules.bound(elsewhere, other, output, arithmetic).value
        moved = np.nan_to_num(np.where(same, 0.0, apart), nan=np.inf, posinf=np.inf)
        small = np.where(np.abs(wanted) < _FLOAT32.smallest_normal, 2 * _FLOAT32.smallest_normal, 0.0)
        return Bound({**bound.terms, "flushed": np.maximum(moved, small)})
