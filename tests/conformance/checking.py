"""One call for a test of one's own, which tells whether an array is the result of an operation.

>>> import numpy as np
>>> from gaugeblock import conformance
>>> x = np.float32([-1.0, 0.0, 2.0])
>>> print(conformance.check("relu", np.maximum(x, 0), x))
relu in float32: all 3 elements are within their bounds
>>> conformance.check("relu", np.abs(x), x)
Traceback (most recent call last):
    ...
gaugeblock.conformance.checking.Mismatch: ACT-A3 violated by relu in float32
result[0] = 1.0, want 0.0, bound 0
1 of 3 elements are outside their bounds
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance import narrowing
from gaugeblock.conformance.comparison import Comparison
from gaugeblock.conformance.foreign import on_host
from gaugeblock.conformance.pieces import Call, Floats, Piece, cost, pieces
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, Bound
from gaugeblock.spec.departures import declared, departing, nearest_of
from gaugeblock.spec.formats import SHORT
from gaugeblock.spec.operations import OPERATIONS, REQUIRED, Operation

__all__ = ["Checked", "Limits", "Mismatch", "bound", "check"]

LIMIT = 1 << 39
"""Cost up to which every sum of products is looked at, in products of a matrix product (half a minute)."""


class Mismatch(AssertionError):
    """A result is not that of the operation.

    Attributes
    ----------
    element : tuple of int or None
        Index of the element farthest outside of its bound.
    got, want, bound : float
        What it is, what it is exactly, and how far the two may lie apart.
    terms : mapping of str to float
        What the bound is the sum of.
    """

    def __init__(
        self,
        message: str,
        element: tuple[int, ...] | None = None,
        got: float = np.nan,
        want: float = np.nan,
        bound: float = np.nan,
        terms: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.element, self.got, self.want, self.bound, self.terms = element, got, want, bound, terms or {}


@dataclass(frozen=True)
class Checked:
    """What was done to find a result right; as a text, in a sentence.

    Attributes
    ----------
    operation, dtype : str
        What it is the result of, and its format.
    elements : int
        How many elements it has.
    compared : int
        How many of them were held to their bounds: all, unless it is very large.
    exact : bool
        Whether every bit had to agree, because no order of summation rounds these integers.
    samples : int
        How many elements were asked whether operands were narrower than declared, where that applies.
    """

    operation: str
    dtype: str
    elements: int
    compared: int
    exact: bool = False
    samples: int = 0

    def __str__(self) -> str:
        of = "all" if self.compared == self.elements else f"{self.compared} of"
        how = "exact" if self.exact else "within their bounds"
        text = f"{self.operation} in {self.dtype}: {of} {self.elements} elements are {how}"
        return text + (f"; {self.samples} show no narrower operands" if self.samples else "")


@dataclass(frozen=True)
class Limits:
    """How far a right result may lie from the exact one; as an array, the bound.

    Attributes
    ----------
    want : float64 array
        The exact result, in float64.
    bound : float64 array
        How far each element may lie from it. Infinite where nothing is demanded; NaN where NaN is right too.
    terms : mapping of str to float64 array
        What the bound is the sum of.
    """

    want: Floats
    bound: Floats
    terms: Mapping[str, Floats]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.bound, dtype=dtype) if copy else np.asarray(self.bound, dtype=dtype)


def check(
    operation: str,
    result: Any,
    /,
    *arrays: Any,
    arithmetic: Mapping[str, Any] | Arithmetic | None = None,
    departures: Iterable[str] = (),
    **named: Any,
) -> Checked:
    """Hold a result to the spec, element by element.

    Arrays may be of any library, on a GPU too. The format is that of the result, and of all arrays.

    Every element must lie within the bound of its page, around the exact result (GEN-A1). Sums of products of
    integers that no order of summation rounds must be exact (GEMM-A2, CONV-A2). Matrix products beyond 8192³,
    and convolutions beyond a sixteenth of that, are looked at in parts, the first and the last among them,
    and the value returned says how much that was; a wrong element elsewhere is then not seen. For sums in
    ``float32`` some elements are asked besides whether their errors are those of operands in TF32, bfloat16
    or float16, which no bound shows in long sums (:func:`gaugeblock.conformance.narrowing.narrowed`).

    A wrong element inside of its bound is not seen, and in long sums of arbitrary numbers that is wide: give
    small integers, and every bit counts. A result that is found right says nothing of other calls: for that,
    there is the suite.

    Parameters
    ----------
    operation : str
        Name of the operation in the spec.
    result : array
        What the kernel gave.
    *arrays : array
        Its arguments, in the order of the operation; those that may be left out also by name.
    arithmetic : mapping, optional
        How the kernel computes, if not in plain float32 (GEN-D8): ``{"multiplier": "tf32"}``.
    departures : iterable of str
        What it does otherwise on purpose (GEN-D10): ``("one_plus_erf",)``.
    **named
        The operation's parameters.

    Returns
    -------
    Checked
        What was done.

    Raises
    ------
    Mismatch
        The result is not that of the operation; an `AssertionError`.
    ValueError, TypeError
        The question makes no sense: an unknown operation or parameter, arguments that the spec refuses,
        arrays that do not fit together.
    """
    __tracebackhide__ = True
    try:
        with np.errstate(all="ignore"):
            host = on_host("result", result)
            return _check(_read(operation, arrays, named, arithmetic, departures, result=host), host)
    except (Mismatch, ValueError, TypeError) as error:
        raise error.with_traceback(None) from None


def bound(
    operation: str,
    /,
    *arrays: Any,
    dtype: Any = None,
    arithmetic: Mapping[str, Any] | Arithmetic | None = None,
    departures: Iterable[str] = (),
    **named: Any,
) -> Limits:
    """Return the exact result of a call, and how far a right one may lie from it.

    Parameters
    ----------
    operation, *arrays, arithmetic, departures, **named
        As of `check`.
    dtype : str or dtype, optional
        The format of the result, if it is not that of the arrays, whose numbers are then taken as they are.

    Returns
    -------
    Limits
        The numbers.

    Raises
    ------
    ValueError, TypeError
        As of `check`.

    Examples
    --------
    >>> limit = bound("softmax", np.float16([[0.0, 1.0]]), axis=-1)
    >>> np.abs(np.float16([[0.269, 0.7314]]) - limit.want) <= limit.bound
    array([[ True, False]])
    """
    __tracebackhide__ = True
    try:
        with np.errstate(all="ignore"):
            call = _read(operation, arrays, named, arithmetic, departures, dtype=dtype)
            call.want()  # refuses illegal arguments
            want, found = _answer(call, _sums_exactly(call))
    except (ValueError, TypeError) as error:
        raise error.with_traceback(None) from None
    shape = want.shape
    terms = {name: np.broadcast_to(np.asarray(term), shape) for name, term in found.terms.items()}
    return Limits(want, np.broadcast_to(found.value, shape), terms)


# What is asked ----------------------------------------------------------------------------------------------


def _read(
    operation: Any,
    arrays: tuple[Any, ...],
    named: Mapping[str, Any],
    arithmetic: Any,
    departures: Any,
    **of_result: Any,
) -> Call:
    """Return the call that is meant, or say in a line why there is none."""
    if not isinstance(operation, str):
        found = operation if len(repr(operation)) < 40 else type(operation).__name__
        raise TypeError(f"operation is {found!r}, expected the name of one, such as 'gemm'")
    if operation not in OPERATIONS:
        raise ValueError(f"operation is {operation!r}, expected {nearest_of(operation, OPERATIONS)}")
    record = OPERATIONS[operation]
    given, parameters = _arguments(record, arrays, named)
    on = {name: on_host(name, array) for name, array in given.items()}
    form = _format(record, on, **of_result)
    plain = arithmetic is None or isinstance(arithmetic, Arithmetic)
    how = (arithmetic or Arithmetic()) if plain else Arithmetic.declared(arithmetic)
    if how.algorithm != "direct" and record.kind != "convolution":
        raise ValueError(f"GEN-C4: arithmetic of {operation} has 'algorithm', which convolutions have alone")
    if of_result.get("dtype") is not None:  # of which the arrays need not be
        on = {name: array.astype(np.float64) for name, array in on.items()}
    names = (departures,) if isinstance(departures, str) else departures
    otherwise = declared({operation: names})[operation]
    return Call(departing(operation, otherwise), form, on, parameters, how)


def _arguments(
    record: Operation, arrays: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell arrays from parameters by the operation's names; every one that must be there is."""
    listed = f"{record.name}({', '.join((*record.arrays, *record.parameters))})"
    if len(arrays) > len(record.arrays):
        raise TypeError(f"{listed} has {len(record.arrays)} arrays, got {len(arrays)}")
    given = dict(zip(record.arrays, arrays, strict=False))
    for name in named:
        if name in given:
            raise TypeError(f"{listed} got {name} by place and by name")
        if name not in (*record.arrays, *record.parameters):
            raise TypeError(f"{listed} has no {name!r}")
    given = {**given, **{name: value for name, value in named.items() if name in record.arrays}}
    given = {name: a for name, a in given.items() if a is not None or name not in record.optional}
    parameters = {name: value for name, value in named.items() if name in record.parameters}
    required = [name for name, parameter in record.parameters.items() if parameter.default is REQUIRED]
    for name in (*(name for name in record.arrays if name not in record.optional), *required):
        if name not in given and name not in parameters:
            raise TypeError(f"{listed} needs {name}")
    return {name: given[name] for name in record.arrays if name in given}, parameters


def _format(
    record: Operation, arrays: Mapping[str, NDArray[Any]], result: Any = None, dtype: Any = None
) -> str:
    """Return the one format of all arrays, or that of the result where it is asked for."""
    names = {name: array.dtype.name for name, array in arrays.items()}
    if dtype is not None:
        for name, found in names.items():
            if found not in (*FORMATS, "float64"):
                raise TypeError(f"GEN-C1: {name} is {found}, expected floats")
        name = _name_of(dtype)
        return _known("dtype", SHORT.get(name, name))
    if result is not None and record.result_dtype == "same":
        names = {"result": result.dtype.name, **names}
    elif result is not None and result.dtype != np.int64:
        raise TypeError(f"result is {result.dtype.name}, expected {record.result_dtype}")
    (first, form), *others = names.items()
    _known(first, form)
    for name, found in others:
        if found != form:
            raise TypeError(f"GEN-C1: {name} is {found}, {first} is {form}, expected one format")
    return form


def _name_of(dtype: Any) -> str:
    """Return the name of a dtype of NumPy, or of a library that has its own."""
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def _known(name: str, form: str) -> str:
    if form not in FORMATS:
        raise TypeError(f"GEN-C1: {name} is {form}, expected one of {', '.join(FORMATS)}")
    return form


# The answer -------------------------------------------------------------------------------------------------


def _check(call: Call, result: NDArray[Any]) -> Checked:
    """Look at what only several elements show, and then at the pieces of a result."""
    shape = _shape(call, result)
    exact = _sums_exactly(call)
    finite = all(np.isfinite(np.sum(array, dtype=np.float64)) for array in call.arrays.values())
    samples = 0
    if not exact and narrowing.applies(call, finite):
        samples = _expect_operands(call, result)
    parts = list(_chosen(call, prod(shape)))
    wrong, worst = 0, None
    for piece in parts:
        found, rows = _compared(piece.call, result[piece.where].astype(np.float64), exact, finite)
        wrong += found.wrong
        if found.wrong and (worst is None or found.largest > worst[0].largest):
            worst = found, _place(piece, found, rows)
    compared = sum(prod(part.stop - part.start for part in piece.where) for piece in parts)
    if worst is not None:
        found, element = worst
        role = "exact" if exact else "accuracy" if found.finite else "special_values"
        clause = call.record.clauses.get(role) or call.record.clauses["accuracy"]
        says = f"{wrong} of {compared} elements are outside their bounds"
        raise _mismatch(call, clause, found, element, says)
    return Checked(call.operation, call.dtype, result.size, compared, exact, samples)


def _expect_operands(call: Call, result: NDArray[Any]) -> int:
    """Hold some elements to operands as wide as they are declared, and return how many."""
    some, places = narrowing.sample(call)
    if prod(some.result_shape) < narrowing.FEWEST:
        return 0
    got = result[np.ix_(*places)].astype(np.float64)
    if narrow := narrowing.narrowed(some, got):
        found = Comparison.of(got, *_answer(some, exact=False), FORMATS[call.dtype])
        local = np.unravel_index(found.worst, got.shape)
        element = [own[i] for own, i in zip(places, local, strict=True)]
        says = f"the errors of {got.size} elements are those of operands in {narrow}, which is not declared"
        raise _mismatch(call, "GEN-D8", found, element, says)
    return got.size


def _shape(call: Call, result: NDArray[Any]) -> tuple[int, ...]:
    """Return the shape of the result, which is that of the operation's; refuse illegal arguments."""
    try:
        shape = call.result_shape
        least = call
        for axis in call.axes():
            least = least.cut(axis, slice(0, 1))
        if call.axes():
            least.want()
    except Exception:  # of an operation on few elements, or of rules that are made for legal arguments
        call.want()
        raise
    if result.shape != shape:
        raise ValueError(f"result has shape {result.shape}, {call.operation} gives {shape}")
    return shape


def _sums_exactly(call: Call) -> bool:
    """Whether all elements are sums of integers that no order of summation rounds (GEMM-A2, CONV-A2)."""
    given = call.record.complete(call.parameters)
    if call.record.kind not in ("contraction", "convolution"):
        return False
    if given.get("activation", "none") not in ("none", "relu"):
        return False
    if any(abs(given.get(name, 1.0)) not in (0.0, 1.0) for name in ("alpha", "beta")):
        return False
    terms = call.record.reduction(call.shapes, call.parameters) or 0
    applied = call.record.applied(call.shapes, call.parameters, call.arithmetic)
    limit = accuracy.exact_integer_limit(terms + 2, call.dtype, applied)
    if not all(_whole(array) for array in call.arrays.values()):
        return False
    largest = {name: float(np.max(np.abs(array), initial=0.0)) for name, array in call.arrays.items()}
    factors = [size for name, size in largest.items() if name not in narrowing.ADDENDS]
    return max(prod(factors), *largest.values()) <= limit


def _whole(array: Floats) -> bool:
    """Whether all elements are integers; most arrays show soon that they are not."""
    return all(bool(np.all(part == np.rint(part))) for part in (array.reshape(-1)[:999], array))


def _chosen(call: Call, size: int) -> Iterator[Piece]:
    """Yield all pieces of a result, or of very large sums the first, the last and some between."""
    parts = list(pieces(call, whole=_tabled(call)))
    able = max(len(parts) * LIMIT // max(cost(call) * size, 1), 2)
    if call.record.kind in ("contraction", "convolution") and able < len(parts):
        between = np.random.default_rng(size).permutation(np.arange(1, len(parts) - 1))[: able - 2]
        parts = [parts[i] for i in sorted((0, *between, len(parts) - 1))]
    yield from parts


def _compared(
    call: Call, got: Floats, exact: bool, finite: bool
) -> tuple[Comparison, NDArray[np.intp] | None]:
    """Hold a piece to its bounds; those of a matrix product only where rows come near them.

    Then the second value are these rows.
    """
    form, rows = FORMATS[call.dtype], None
    if finite and not exact and _may_be_near(call):
        want = call.want()
        found = Comparison.of(got, want, _least(call, want), form)
        if not found.wrong:
            return found, None
        rows = np.flatnonzero(~found.accepted.all(axis=(*range(got.ndim - 2), got.ndim - 1)))
        call, got = call.cut(got.ndim - 2, rows), got.take(rows, got.ndim - 2)
    found = Comparison.of(got, *_answer(call, exact), form)
    if call.record.signed_zero and _plainly(call):
        x, want = call.arrays["x"], found.want
        wrong = (x == 0) & (got == 0) & (want == 0) & (np.signbit(got) != np.signbit(want))
        share = np.where(wrong, np.inf, found.share)
        found = replace(found, accepted=found.accepted & ~wrong, share=share)
    return found, rows


def _plainly(call: Call) -> bool:
    """Whether all parameters are the defaults."""
    return {**call.record.complete({}), **call.parameters} == call.record.complete({})


def _may_be_near(call: Call) -> bool:
    """Whether a matrix product is so large that a bound below its bound saves time."""
    return (
        call.operation == "gemm"
        and call.arithmetic.accumulator == "float32"
        and cost(call) * prod(call.result_shape) >= 1 << 22
        and cost(call) >= 256
    )


def _least(call: Call, want: Floats) -> Bound:
    """Return less than the bound of a matrix product: that of every 16th product, as if there were all."""
    parameters = {name: value for name, value in call.parameters.items() if name != "beta"}
    a, b = call.arrays["a"], call.arrays["b"]
    a = a[..., ::16, :] if parameters.get("transpose_a") else a[..., ::16]
    b = b[..., ::16] if parameters.get("transpose_b") else b[..., ::16, :]
    size = call.record.absolute({"a": a, "b": b, **parameters})
    share = cost(call) * FORMATS["float32"].unit_roundoff
    if call.dtype == "float32":
        share += call.arithmetic.operand_error
    least = Bound({"sum": share * (1 - 1e-6) * size})
    return accuracy.rounded(least, want, FORMATS[call.dtype])


def _answer(call: Call, exact: bool) -> tuple[Floats, Bound]:
    """Return the exact result and its bound, zero for sums of integers."""
    form = FORMATS[call.dtype]
    if exact:
        want = accuracy.round_to(call.want(), form).astype(np.float64)
        return want, accuracy.exact_bound(want)
    if not _tabled(call):
        want = call.want()
        return want, call.bound(want)
    bits = call.arrays["x"].astype(form.dtype).view(np.uint16)
    every = np.arange(1 << 16, dtype=np.uint16).view(form.dtype)
    want, found = _answer(replace(call, arrays={"x": every}), exact)
    return want[bits], Bound({name: np.broadcast_to(t, want.shape)[bits] for name, t in found.terms.items()})


def _tabled(call: Call) -> bool:
    """Whether a function has more elements than its 16-bit format has numbers."""
    return (
        call.record.kind == "elementwise"
        and len(call.arrays) == 1
        and FORMATS[call.dtype].precision < 16
        and call.arrays["x"].size > 1 << 16
    )


def _place(piece: Piece, found: Comparison, rows: NDArray[np.intp] | None) -> list[int]:
    """Return where in the result the worst element of a piece lies, of which some rows may be compared."""
    places = [int(i) for i in np.unravel_index(found.worst, found.got.shape)]
    if rows is not None:
        places[-2] = int(rows[places[-2]])
    return [part.start + own for part, own in zip(piece.where, places, strict=True)]


def _mismatch(call: Call, clause: str, found: Comparison, element: list[Any], says: str) -> Mismatch:
    """Say what is wrong with an element, and what it shows."""
    worst, where = found.worst, tuple(int(i) for i in element)
    message = f"{clause} violated by {call.operation} in {call.dtype}\n{found.describe(where)}\n{says}"
    got, want = float(found.got.flat[worst]), float(found.want.flat[worst])
    return Mismatch(message, where, got, want, found.limit(worst), found.terms(worst))
