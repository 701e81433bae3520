"""What a backend may do otherwise than the pages say, if it says so: departures (clauses GEN-D10, GEN-C5).

A departure has a name and maps the record of an operation to another record. One that is a *formula* widens
the bound to what the cheaper formula costs; one that is a *choice* changes the exact result. All else that
the suite knows of an operation follows from the record, so honesty needs no checks of its own: a backend that
departs without saying so is held to the plain record, and one that declares a choice to the departed one.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaugeblock import reference
from gaugeblock.reference.activation import row_axis
from gaugeblock.reference.convolution import conv_windows
from gaugeblock.reference.pooling import check_dy, pool_windows
from gaugeblock.spec.accuracy import Bound, formula_bound, unbounded
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.convolution import fused_bound
from gaugeblock.spec.formats import FORMATS, Float64, Format, _nearest, ulp
from gaugeblock.spec.formulas import (
    _CUBIC,
    _SQRT_HALF,
    _TWO_SQRT_2_OVER_PI,
    FORMULAS,
    _exponentials,
    _gelu_argument,
    _shifted,
)
from gaugeblock.spec.gemm import _gemm_parts
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.pooling import routed_bound
from gaugeblock.spec.record import Arguments, Operation
from gaugeblock.spec.running import Running, select, worst
from gaugeblock.spec.transforms import larger

__all__ = ["DEPARTURES", "Departure", "declared", "departed", "departing", "nearest_of"]

_FLOAT32 = FORMATS["float32"]

Change = Callable[[Operation], Operation]
Formula = Callable[[Arguments, Format, Arithmetic], Running]
Given = dict[str, Any]
Where = Callable[[Given], NDArray[np.bool_]]


@dataclass(frozen=True)
class Departure:
    """A named way to do otherwise.

    Attributes
    ----------
    name : str
        What a declaration calls it.
    kind : {"formula", "choice"}
        Whether it changes the bound or the exact result.
    changes : mapping of str to callable
        For every operation that it applies to, the record to the departed record. They commute.
    change : str
        What changes, in a sentence.
    seen : str
        Who does so.
    against : tuple of str
        The departures that contradict it.
    """

    name: str
    kind: Literal["formula", "choice"]
    changes: Mapping[str, Change]
    change: str
    seen: str
    against: tuple[str, ...] = ()


# How a record is changed ------------------------------------------------------------------------------------


def _with_reference(record: Operation, function: Callable[[Callable[..., Any], Given], Any]) -> Operation:
    """Return the record with another exact result, which is given the present one and the arguments."""
    present = record.reference

    def departed(*arrays: Any, **arguments: Any) -> Any:
        given = dict(zip(record.arrays, arrays, strict=False)) | arguments
        with np.errstate(all="ignore"):
            return function(present, given)

    return replace(record, reference=departed)


def _with_bound(
    record: Operation, function: Callable[[Bound, Arguments, ArrayLike, Format, Arithmetic], Bound]
) -> Operation:
    """Return the record with another bound, which is given the present one."""
    present = record.rules.bound

    def bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        found = present(arguments, want, output, arithmetic)
        return found if np.size(want) == 0 else function(found, arguments, want, output, arithmetic)

    return replace(record, rules=replace(record.rules, bound=bound))


def _by_formula(name: str, formula: Formula) -> Change:
    """Return a change to the larger of the present bound and that of a formula."""

    def change(record: Operation) -> Operation:
        def bound(
            found: Bound, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic
        ) -> Bound:
            # The exact values of the plain formulas come first: what the other one is off counts as error.
            exact = FORMULAS[record.name](arguments, arithmetic)
            running = worst(
                [replace(exact, error=np.zeros_like(exact.error)), formula(arguments, output, arithmetic)]
            )
            other = formula_bound(running, want, output, transcendental=True, gradient=record.backward)
            return larger(found, other, name)

        return _with_bound(record, bound)

    return change


def _in_fused(name: str, activation: str, formula: Formula) -> Change:
    """Return a change of ``conv_fused`` to the larger of its bound and that of another formula."""

    def change(record: Operation) -> Operation:
        def bound(
            found: Bound, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic
        ) -> Bound:
            if arguments["activation"] != activation:
                return found
            plain = FORMULAS[activation]

            def both(given: Arguments, arithmetic: Arithmetic) -> Running:
                return worst([plain(given, arithmetic), formula(given, output, arithmetic)])

            other = fused_bound(arguments, want, output, arithmetic, {activation: both})
            return larger(found, other, name)

        return _with_bound(record, bound)

    return change


def _chain(*changes: Change) -> Change:
    """Return one change after the other."""

    def change(record: Operation) -> Operation:
        for each in changes:
            record = each(record)
        return record

    return change


def _open_where(where: Where) -> Change:
    """Return a change that demands nothing at some places: their bound is infinite (GEN-A2)."""

    def change(record: Operation) -> Operation:
        def bound(found: Bound, arguments: Arguments, want: ArrayLike, *rest: Any) -> Bound:
            with np.errstate(all="ignore"):
                places = np.broadcast_to(where(dict(arguments)), np.shape(want))
            return unbounded(found, places)

        return _with_bound(record, bound)

    return change


def _value_where(where: Where, value: Callable[[Given], Any]) -> Change:
    """Return a change of the exact result at some places."""

    def change(record: Operation) -> Operation:
        return _with_reference(
            record, lambda present, given: np.where(where(given), value(given), present(**given))
        )

    return change


def _wide(given: Arguments, name: str = "x") -> Float64:
    return np.asarray(given[name], dtype=np.float64)


# Formulas that lose digits ----------------------------------------------------------------------------------


def _number(arguments: Arguments, name: str, arithmetic: Arithmetic) -> Running:
    given = arguments[name]
    return given if isinstance(given, Running) else Running.exact(given, arithmetic)


def _saturated(function: Running, where: NDArray[np.bool_]) -> Running:
    """Return a sigmoid-like function that is exactly −1 or 1 at some places."""
    ends = Running(np.sign(function.value), np.zeros_like(function.error), function.arithmetic)
    return select(where, ends, function)


def _absolute(function: Running, where: NDArray[np.bool_]) -> Running:
    """Return a function from −1 to 1 that is right to 2⁻²¹, four units in the last place of 1."""
    return _saturated(replace(function, error=function.error + 2.0**-21), where)


def _erf_or_tanh(x: Running, approximate: str) -> Running:
    """erf(x/√2) or tanh u, exactly ±1 from arguments of 6 and 10 on, where float32 holds nothing between."""
    if approximate == "none":
        z = x * _SQRT_HALF
        return _absolute(z.erf(), np.abs(z.value) >= 6)
    u = _gelu_argument(x) * 0.5
    return _absolute(u.tanh(), np.abs(u.value) >= 10)


def _gelu(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """x·(1 + erf)/2, or x·(1 + tanh)/2, everywhere.

    In the left tail the sum cancels: what remains of the function's own error, 2⁻²¹, is halved and multiplied
    by x. Who adds 1 needs no better function: PyTorch's erf errs by 2⁻²¹·³ there, ONNX Runtime's tanh by
    2⁻²¹·⁵.
    """
    x = _number(arguments, "x", arithmetic)
    return x * ((1.0 + _erf_or_tanh(x, arguments["approximate"])) * 0.5)


def _gelu_backward(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """dy·((1 + erf)/2 + x·φ), or dy·((1 + t)/2 + x/2·(1 − t²)·u′) with t = tanh u.

    Where erf is −1 what remains is x·φ, less than 10⁻¹⁵, which PyTorch lets go too.
    """
    x, dy = _number(arguments, "x", arithmetic), _number(arguments, "dy", arithmetic)
    t = _erf_or_tanh(x, arguments["approximate"])
    gate = (1.0 + t) * 0.5
    if arguments["approximate"] == "none":
        slope = gate + x * ((x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi)))
        gone = np.where(gate.value == 0, np.abs(slope.value), 0.0)
        return dy * replace(slope, error=slope.error + np.nan_to_num(gone))
    slope = x * x * (1.5 * _CUBIC * _TWO_SQRT_2_OVER_PI) + 0.5 * _TWO_SQRT_2_OVER_PI
    return dy * (gate + x * 0.5 * worst([1.0 - t * t, (1.0 - t) * (1.0 + t)]) * slope)


def _elu(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """α·(eˣ − 1) where x ≤ 0, whose error is that of eˣ, 2 ulp of a number next to 1, however small x is."""
    x = _number(arguments, "x", arithmetic)
    return select(x.value > 0, x, (x.exp() - 1.0) * float(arguments["alpha"]))


def _elu_backward(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """dy·(y + α) with y = α·(eˣ − 1), where x ≤ 0."""
    x, dy, alpha = (
        _number(arguments, "x", arithmetic),
        _number(arguments, "dy", arithmetic),
        arguments["alpha"],
    )
    return select(x.value > 0, dy, dy * ((x.exp() - 1.0) * float(alpha) + float(alpha)))


def _clamped_sigmoid(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """½ plus an odd approximation, right to 2⁻²²; 0 and 1 from ±18 on.

    A definition, not a derivation: the library's polynomial is not the spec's. 2⁻²² are four units in the
    last place below 1; the quotient of polynomials of ONNX Runtime errs by 2⁻²²·⁵.
    """
    x = _number(arguments, "x", arithmetic)
    exact = FORMULAS["sigmoid"](arguments, arithmetic)
    carried = x.error / 4  # no slope of the function is larger
    ends = np.where(x.value > 0, 1.0, 0.0)
    far, nan = np.abs(x.value) >= 18, np.isnan(x.value)
    error = np.where(far, np.abs(ends - exact.value), 2.0**-22) + carried
    return Running(exact.value, np.where(nan, 0.0, error), arithmetic)


def _clamped_tanh(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """Return x times an approximation, right to a share 2⁻²¹; ±1 from ±9 on.

    A definition likewise; ONNX Runtime errs by 2⁻²¹·⁵. The products inside underflow where x is below 2⁻¹²⁰.
    """
    x = _number(arguments, "x", arithmetic)
    exact = FORMULAS["tanh"](arguments, arithmetic)
    size = np.abs(exact.value)
    error = np.where(np.abs(x.value) >= 9, 1 - size, 2.0**-21 * size + 2.0**-140) + x.error
    return Running(exact.value, np.where(np.isnan(x.value) | (x.value == 0), x.error, error), arithmetic)


def _clamped_silu(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    return _number(arguments, "x", arithmetic) * _clamped_sigmoid(arguments, output, arithmetic)


def _log_of_sum(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """Return x − (m + log Σ): rounding the sum in brackets costs half an ulp of m, whatever the result is."""
    shifted, maxima, axis = _shifted(arguments, arithmetic)
    return _number(arguments, "x", arithmetic) - (maxima + _exponentials(shifted).sum(axis).log())


def _log_of_sum_backward(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """Return dy − exp(y)·Σ dy with such a y."""
    dy = _number(arguments, "dy", arithmetic)
    y = _log_of_sum(arguments, output, arithmetic)
    return dy - y.exp() * dy.sum(int(arguments["axis"]))


# Results that are rounded to the narrow format on their way -------------------------------------------------


def _narrowed(number: Running, output: Format) -> Running:
    """Return a number that is rounded to the format of the result: half a unit of its last place."""
    if output == _FLOAT32:
        return number
    with np.errstate(all="ignore"):
        half_unit = np.nan_to_num(ulp(np.abs(number.value) + number.error, output) / 2)
        exact = (_nearest(number.value, output) == number.value) & (number.error == 0)
    return replace(number, error=number.error + np.where(exact, 0.0, half_unit))


def _open_in_narrow(where: Callable[[Arguments, Format], NDArray[np.bool_]]) -> Change:
    """Return a change that demands nothing at some places, in the narrow formats alone."""

    def change(record: Operation) -> Operation:
        def bound(
            found: Bound, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic
        ) -> Bound:
            places = np.broadcast_to(where(arguments, output), np.shape(want))
            return found if output == _FLOAT32 else unbounded(found, places)

        return _with_bound(record, bound)

    return change


def _factor_is_lost(arguments: Arguments, output: Format) -> NDArray[np.bool_]:
    """Where dy is infinite, times a derivative that may have become zero."""
    return np.asarray(np.isinf(_wide(arguments, "dy")))


def _factor_of_row_is_lost(arguments: Arguments, output: Format) -> NDArray[np.bool_]:
    infinite = _factor_is_lost(arguments, output)
    return np.asarray(np.any(infinite, axis=int(arguments["axis"]), keepdims=True))


def _sum_overflows(arguments: Arguments, output: Format) -> NDArray[np.bool_]:
    """Where Σ, which is at most the length of the row, may be no number of the format."""
    axis = int(arguments["axis"])
    return np.asarray(_wide(arguments).shape[axis] >= output.overflow_threshold)


def _narrow_softmax(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """eᵢ/Σ with each eᵢ rounded to the narrow format, before the sum or after it."""
    shifted, _, axis = _shifted(arguments, arithmetic)
    e = _narrowed(_exponentials(shifted), output)
    total = e.sum(axis)
    return worst([e / total, e * (1.0 / total)])


def _narrow_log_softmax(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """(x − m) − log Σ with Σ and its logarithm rounded to the narrow format."""
    shifted, _, axis = _shifted(arguments, arithmetic)
    total = _narrowed(_exponentials(shifted).sum(axis), output)
    return shifted - _narrowed(total.log(), output)


def _through_softmax(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """s·(dy − Σ s·dy), with s rounded to the narrow format, once or twice."""
    dy, axis = _number(arguments, "dy", arithmetic), int(arguments["axis"])
    plain = FORMULAS["softmax"](arguments, arithmetic)
    s = _narrowed(worst([plain, _narrow_softmax(arguments, output, arithmetic)]), output)
    dot = (s * dy).sum(axis)
    return worst([s * (dy - dot), s * dy - s * dot])


def _through_log_softmax(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """Return dy − exp(y)·Σ dy, with y rounded to the narrow format, once or twice."""
    dy, axis = _number(arguments, "dy", arithmetic), int(arguments["axis"])
    plain = FORMULAS["log_softmax"](arguments, arithmetic)
    y = _narrowed(worst([plain, _narrow_log_softmax(arguments, output, arithmetic)]), output)
    return dy - y.exp() * dy.sum(axis)


def _through_sigmoid(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """dy·s(1 − s), in any order, with s = σ(x) and all that follows rounded to the narrow format."""
    dy, s = (
        _number(arguments, "dy", arithmetic),
        _narrowed(FORMULAS["sigmoid"](arguments, arithmetic), output),
    )
    rest = _narrowed(1.0 - s, output)
    return worst([dy * _narrowed(s * rest, output), _narrowed(dy * rest, output) * s])


def _through_tanh(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """dy·(1 − t²), with t = tanh x and all that follows rounded to the narrow format."""
    t = _narrowed(_number(arguments, "x", arithmetic).tanh(), output)
    slope = worst([1.0 - _narrowed(t * t, output), (1.0 - t) * (1.0 + t)])
    return _number(arguments, "dy", arithmetic) * _narrowed(slope, output)


def _through_log_sigmoid(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Running:
    """dy·e/(1 + e) for x ≥ 0, else dy·(1 − e/(1 + e)), with e = exp(−|x|) rounded to the narrow format."""
    x, dy = _number(arguments, "x", arithmetic), _number(arguments, "dy", arithmetic)
    share = _narrowed((-abs(x)).exp(), output).over_one_plus()
    return dy * select(x.value < 0, 1.0 - share, share)


# Products that are NaN at infinities, or overflow on their way ----------------------------------------------


def _below(given: Given) -> NDArray[np.bool_]:
    return np.isneginf(_wide(given))


def _infinite(given: Given) -> NDArray[np.bool_]:
    return np.isinf(_wide(given))


def _nan(given: Given) -> float:
    return math.nan


def _doubles_overflow(given: Given) -> NDArray[np.bool_]:
    """Where 2x is no float32 number."""
    x = np.abs(_wide(given))
    return np.asarray(np.isfinite(x) & (2 * x > _FLOAT32.largest))


def _cubes_overflow(given: Given) -> NDArray[np.bool_]:
    """Where x³ is none, in the tanh form."""
    x = np.abs(_wide(given))
    large = np.isfinite(x) & (x**3 > _FLOAT32.largest)
    return np.asarray(large & (given.get("approximate", "none") == "tanh"))


def _growth_overflows(given: Given) -> NDArray[np.bool_]:
    """Where dy·eˣ is none, up to the threshold from which on softplus(x) is x."""
    x, dy = _wide(given), np.abs(_wide(given, "dy"))
    return np.isfinite(dy) & (x <= 20.5) & (dy * np.exp(x) * (1 + 2.0**-20) > _FLOAT32.largest)


def _total(given: Given) -> Float64:
    """Return the sum that ``conv_fused`` hands to its function."""
    call = {name: value for name, value in given.items() if name != "approximate"}
    return np.asarray(reference.conv_fused(**{**call, "activation": "none"}), dtype=np.float64)


def _fused_products(record: Operation) -> Operation:
    def value(present: Callable[..., Any], given: Given) -> Any:
        result = present(**given)
        if given.get("activation", "relu") not in ("silu", "gelu"):
            return result
        return np.where(np.isneginf(present(**{**given, "activation": "none"})), math.nan, result)

    def overflow(given: Given) -> NDArray[np.bool_]:
        return np.asarray((given["activation"] == "gelu") & _doubles_overflow({"x": _total(given)}))

    return _open_where(overflow)(_with_reference(record, value))


def _multiplied_by_zero(record: Operation) -> Operation:
    """Let α = 0 multiply a sum that may have overflowed before, where nothing is demanded."""

    def value(present: Callable[..., Any], given: Given) -> Any:
        result = present(**given)
        if given.get("alpha", 1.0) != 0:
            return result
        return 0.0 * present(**{**given, "alpha": 1.0, "beta": 0.0, "c": None}) + result

    def bound(
        found: Bound, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic
    ) -> Bound:
        if arguments["alpha"] != 0:
            return found
        finite = {name: np.where(np.isfinite(arguments[name]), arguments[name], 0.0) for name in ("a", "b")}
        size = reference.gemm(**_gemm_parts({**arguments, **finite, "c": None, "alpha": 1.0, "beta": 0.0}))
        return unbounded(found, size > arithmetic.sum_format.largest)

    return _with_bound(_with_reference(record, value), bound)


# NaN in functions and gradients -----------------------------------------------------------------------------


def _is_nan(given: Given) -> NDArray[np.bool_]:
    return np.isnan(_wide(given))


def _evaluated_at(moved: Callable[[Float64, Arguments], Float64]) -> Change:
    """Return a change to the exact result, and its bound, at other places x."""

    def change(record: Operation) -> Operation:
        def elsewhere(given: Arguments) -> Given:
            return {**given, "x": moved(_wide(given), given).astype(np.result_type(given["x"]))}

        present = record.rules.bound
        changed = _with_reference(record, lambda plain, given: plain(**elsewhere(given)))
        rules = replace(record.rules, bound=lambda arguments, *rest: present(elsewhere(arguments), *rest))
        return replace(changed, rules=rules)

    return change


_nan_is_below = _evaluated_at(lambda x, given: np.where(np.isnan(x), -np.inf, x))


def _fused_nan_is_below(record: Operation) -> Operation:
    def value(present: Callable[..., Any], given: Given) -> Any:
        result = present(**given)
        clips = given.get("activation", "relu") in ("relu", "relu6")
        return np.where(np.isnan(result), 0.0, result) if clips else result

    def bound(found: Bound, *rest: Any) -> Bound:
        """Demand nothing where the sum may be NaN, which is ignored then (CONV-X2)."""
        return unbounded(found, np.isnan(found.value))

    return _with_bound(_with_reference(record, value), bound)


_DY: Final[Change] = _value_where(_is_nan, lambda given: given["dy"])
_SLOPE: Final[Change] = _value_where(
    _is_nan, lambda given: float(given.get("negative_slope", 0.01)) * _wide(given, "dy")
)
_ZERO: Final[Change] = _value_where(_is_nan, lambda given: 0.0)


def _at_kinks(low: float, high: float) -> Change:
    """Return a change of a gradient at its kinks to what it is between them, or beyond the only one."""

    def between(x: Float64, given: Arguments) -> Float64:
        first, second = float(given.get("min_val", low)), float(given.get("max_val", high))
        return np.where((x == first) | (x == second), (first + second) / 2, x)

    return _evaluated_at(between)


# Rows of nothing but −∞ -------------------------------------------------------------------------------------


def _absent(given: Given) -> NDArray[np.bool_]:
    nothing: NDArray[np.bool_] = np.isneginf(_wide(given))
    return np.asarray(np.all(nothing, axis=given.get("axis", -1), keepdims=True))


def _of_no_weight(given: Given) -> Float64:
    """Return s·(dy − Σ s·dy) with every s zero: zero, or NaN where dy is infinite or NaN."""
    dy = _wide(given, "dy")
    return np.asarray(0.0 * (dy - np.sum(0.0 * dy, axis=given.get("axis", -1), keepdims=True)))


# Padding of convolutions ------------------------------------------------------------------------------------


def _padded(record: Operation) -> Operation:
    """Write the zeros of the padding out, so that they take part."""

    def value(present: Callable[..., Any], given: Given) -> Any:
        x = _wide(given)
        steps = {name: given[name] for name in ("stride", "padding", "dilation") if name in given}
        kernel = given["w"].shape if "w" in given else tuple(given["kernel_shape"])
        windows = conv_windows(x.shape, kernel, **steps)
        wide = np.pad(x, [(0, 0), (0, 0), *zip(windows.before, windows.after, strict=True)])
        arrays = {name: _wide(given, name) for name in record.arrays if given.get(name) is not None}
        return present(**{**given, **arrays, "x": wide, "padding": 0})

    return _with_reference(record, value)


# Which element is a maximum ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Maxima:
    """Maximum pooling, its indices or its gradient, with other choices.

    A gradient goes to the element that was chosen, and nowhere where none was or padding was.
    """

    name: str
    arrays: tuple[str, ...]
    nan: Literal["first", "last", "ignored"] = "first"
    last: bool = False
    zeros: bool = False

    def __call__(self, *arrays: Any, **arguments: Any) -> Any:
        given = dict(zip(self.arrays, arrays, strict=False)) | arguments
        x, dy = _wide(given), given.get("dy")
        parameters = {name: value for name, value in given.items() if name not in self.arrays}
        best, place = self._chosen(x, **parameters)
        if dy is None:
            return place if self.name == "max_pool_indices" else best
        check_dy(dy.shape, place.shape)
        planes = math.prod(x.shape[:2])
        flat = planes, math.prod(place.shape[2:])
        chosen, gradient = place.reshape(flat), np.asarray(dy, np.float64).reshape(flat)
        dx = np.zeros((planes, math.prod(x.shape[2:])))
        plane, window = np.nonzero(chosen >= 0)
        with np.errstate(all="ignore"):
            np.add.at(dx, (plane, chosen[plane, window]), gradient[plane, window])
        return dx.reshape(x.shape)

    def _chosen(self, x: Float64, **parameters: Any) -> tuple[Float64, NDArray[np.int64]]:
        """Return the maximum of each window and its place, −1 for padding and for nothing."""
        windows = pool_windows(x.shape, **parameters)
        numbering = np.arange(math.prod(windows.size), dtype=np.int64).reshape(windows.size)
        if self.zeros:
            cells = list(zip(windows.before, windows.after, strict=True))
            nowhere = (0,) * len(windows.size)
            x = np.pad(x, [(0, 0), (0, 0), *cells])
            numbering = np.pad(numbering, cells, constant_values=-1)
            windows = replace(windows, size=x.shape[2:], before=nowhere, after=nowhere)
        shape = (*x.shape[:2], *windows.output)
        best, place = np.full(shape, -np.inf), np.full(shape, -1, dtype=np.int64)
        empty = np.ones(shape, dtype=bool)
        for _, outputs, inputs in windows.taps():
            better = self._better(x[inputs], best[outputs], empty[outputs])
            best[outputs] = np.where(better, x[inputs], best[outputs])
            place[outputs] = np.where(better, numbering[inputs], place[outputs])
            empty[outputs] &= ~better
        return best, place

    def _better(self, seen: Float64, best: Float64, empty: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell where a cell replaces what is chosen so far; a comparison with NaN is false."""
        nan = np.isnan(seen)
        better = empty | (seen >= best if self.last else seen > best)
        match self.nan:
            case "ignored":
                return better & ~nan
            case "last":
                return better | nan
        return better | (nan & ~np.isnan(best))


@dataclass(frozen=True)
class _Maxout:
    """Maxout or its gradient, with other choices."""

    arrays: tuple[str, ...]
    ignores_nan: bool = False
    last: bool = False

    def __call__(self, *arrays: Any, pieces: int = 2, axis: int = -1, **given: Any) -> Any:
        given = dict(zip(self.arrays, arrays, strict=False)) | given
        x, along = _wide(given), row_axis(given["x"].shape, axis) + 1
        size = x.shape[along - 1] // pieces
        groups = np.moveaxis(x.reshape(*x.shape[: along - 1], size, pieces, *x.shape[along:]), along, -1)
        nan = np.isnan(groups)
        numbers = np.where(nan & self.ignores_nan, -np.inf, groups)
        largest = np.max(numbers, axis=-1)
        if "dy" not in given:
            return largest
        chosen = np.where(np.isnan(largest)[..., None], nan, (groups == largest[..., None]) & ~nan)
        order = np.cumsum(chosen, axis=-1)
        one = np.where(np.isnan(largest), 1, order[..., -1] if self.last else 1)
        winner = chosen & (order == one[..., None])
        dy = np.asarray(given["dy"], np.float64)
        return np.moveaxis(np.where(winner, dy[..., None], 0.0), -1, along).reshape(x.shape)


def _chooses(**choice: Any) -> Change:
    """Return a change of what a maximum is, beside those of other departures."""

    def change(record: Operation) -> Operation:
        if record.name.startswith("maxout"):
            present: Any = record.reference
            if not isinstance(present, _Maxout):
                present = _Maxout(record.arrays)
            return replace(record, reference=replace(present, **choice))
        maxima = (
            record.reference if isinstance(record.reference, _Maxima) else _Maxima(record.name, record.arrays)
        )
        changed = replace(record, reference=replace(maxima, **choice))
        if not record.backward:
            return changed
        bound = partial(routed_bound, route=changed.reference)
        return replace(changed, rules=replace(record.rules, bound=bound))

    return change


_OF_MAXIMA = ("max_pool", "max_pool_indices", "max_pool_backward")

# The departures ---------------------------------------------------------------------------------------------


def _every(change: Change, *operations: str) -> dict[str, Change]:
    return dict.fromkeys(operations, change)


_ALL = (
    Departure(
        "one_plus_erf",
        "formula",
        {
            "gelu": _by_formula("one_plus_erf", _gelu),
            "gelu_backward": _by_formula("one_plus_erf", _gelu_backward),
            "conv_fused": _in_fused("one_plus_erf", "gelu", _gelu),
        },
        "Φ is (1 + erf)/2, in the tanh form (1 + tanh)/2, with erf and tanh right to 2⁻²¹, so that relative "
        "accuracy is lost in the left tail",
        "PyTorch, ONNX Runtime, most frameworks",
    ),
    Departure(
        "exp_minus_one",
        "formula",
        {
            "elu": _by_formula("exp_minus_one", _elu),
            "elu_backward": _by_formula("exp_minus_one", _elu_backward),
        },
        "e^x − 1 is computed so, and has an absolute error next to 0",
        "ONNX Runtime",
    ),
    Departure(
        "product_form",
        "choice",
        {
            "gelu": _chain(_value_where(_below, _nan), _open_where(_doubles_overflow)),
            "gelu_backward": _chain(_value_where(_infinite, _nan), _open_where(_cubes_overflow)),
            "silu": _value_where(_below, _nan),
            "silu_backward": _value_where(_infinite, _nan),
            "softplus_backward": _open_where(_growth_overflows),
            "conv_fused": _fused_products,
        },
        "the product is formed at infinities too and is NaN where ∞ meets 0; where a factor overflows "
        "nothing is demanded",
        "PyTorch, ONNX Runtime (ONNX defines Swish so)",
    ),
    Departure(
        "log_of_sum",
        "formula",
        {
            "log_softmax": _by_formula("log_of_sum", _log_of_sum),
            "log_softmax_backward": _by_formula("log_of_sum", _log_of_sum_backward),
        },
        "x − (m + log Σ), which cancels in rows far from 0",
        "kernels that keep log Σ e^x of a row, as those of cross-entropy and attention do",
    ),
    Departure(
        "clamped_sigmoid",
        "formula",
        {
            "sigmoid": _by_formula("clamped_sigmoid", _clamped_sigmoid),
            "silu": _by_formula("clamped_sigmoid", _clamped_silu),
            "conv_fused": _chain(
                _in_fused("clamped_sigmoid", "sigmoid", _clamped_sigmoid),
                _in_fused("clamped_sigmoid", "silu", _clamped_silu),
            ),
        },
        "σ is ½ plus an approximation right to 2⁻²², and 0 or 1 from ±18 on",
        "ONNX Runtime",
    ),
    Departure(
        "clamped_tanh",
        "formula",
        {
            "tanh": _by_formula("clamped_tanh", _clamped_tanh),
            "conv_fused": _in_fused("clamped_tanh", "tanh", _clamped_tanh),
        },
        "tanh x is x times an approximation right to a share 2⁻²¹, and ±1 from ±9 on",
        "ONNX Runtime",
    ),
    Departure(
        "narrow_intermediate",
        "formula",
        {
            "softmax": _by_formula("narrow_intermediate", _narrow_softmax),
            "softmax_backward": _chain(
                _by_formula("narrow_intermediate", _through_softmax), _open_in_narrow(_factor_of_row_is_lost)
            ),
            "log_softmax": _chain(
                _by_formula("narrow_intermediate", _narrow_log_softmax), _open_in_narrow(_sum_overflows)
            ),
            "log_softmax_backward": _by_formula("narrow_intermediate", _through_log_softmax),
            "sigmoid_backward": _chain(
                _by_formula("narrow_intermediate", _through_sigmoid), _open_in_narrow(_factor_is_lost)
            ),
            "tanh_backward": _chain(
                _by_formula("narrow_intermediate", _through_tanh), _open_in_narrow(_factor_is_lost)
            ),
            "log_sigmoid_backward": _chain(
                _by_formula("narrow_intermediate", _through_log_sigmoid), _open_in_narrow(_factor_is_lost)
            ),
        },
        "in a narrow format intermediate results are rounded to it: exponentials, or Σ and log Σ, forward; "
        "backward the forward result and what follows, and where dy is infinite nothing is demanded",
        "PyTorch",
    ),
    Departure(
        "zero_padding",
        "choice",
        _every(_chooses(zeros=True), *_OF_MAXIMA),
        "a cell of the padding counts as 0; where it is chosen the index is −1 and the gradient goes nowhere",
        "kernels that fill the padding with zeros before they pool",
    ),
    Departure(
        "ignore_nan",
        "choice",
        {
            **_every(_nan_is_below, "relu", "relu6", "hard_sigmoid", "hard_tanh"),
            **_every(_chooses(ignores_nan=True), "maxout", "maxout_backward"),
            **_every(_chooses(nan="ignored"), *_OF_MAXIMA),
            "conv_fused": _fused_nan_is_below,
        },
        "a NaN loses against any number; a function has its lower limit there, and a window or group of NaN "
        "only has the maximum −∞, the index −1 and no gradient",
        "fmax in C and CUDA, Triton's `tl.maximum`, cuDNN with `CUDNN_NOT_PROPAGATE_NAN`",
        ("last_nan",),
    ),
    Departure(
        "last_nan",
        "choice",
        _every(_chooses(nan="last"), "max_pool_indices", "max_pool_backward"),
        "of several NaN the last one of the window is chosen",
        "PyTorch",
        ("ignore_nan",),
    ),
    Departure(
        "last_maximum",
        "choice",
        _every(_chooses(last=True), "max_pool_indices", "max_pool_backward", "maxout_backward"),
        "of equal maxima the last one is chosen; NaN are not concerned",
        "kernels that compare with `>=`",
    ),
    Departure(
        "alpha_zero_multiplies",
        "choice",
        {"gemm": _multiplied_by_zero},
        "with alpha = 0 the product is formed, and times 0 it is NaN where it is NaN or infinite; where its "
        "sum overflows nothing is demanded",
        "ONNX Runtime",
    ),
    Departure(
        "nan_gradient_passes",
        "choice",
        {
            **_every(_DY, "relu_backward", "relu6_backward", "elu_backward", "hard_tanh_backward"),
            "leaky_relu_backward": _SLOPE,
        },
        "where x is NaN the gradient is dy, for leaky_relu negative_slope · dy",
        "PyTorch",
        ("nan_gradient_stops",),
    ),
    Departure(
        "nan_gradient_stops",
        "choice",
        _every(_ZERO, "relu_backward", "relu6_backward", "hard_sigmoid_backward", "hard_tanh_backward"),
        "where x is NaN the gradient is 0, whatever dy is",
        "kernels that write dy where x > 0 and else 0; PyTorch in hard_sigmoid",
        ("nan_gradient_passes",),
    ),
    Departure(
        "kink_passes",
        "choice",
        {
            "relu_backward": _at_kinks(0.0, math.inf),
            "relu6_backward": _at_kinks(0.0, 6.0),
            "hard_sigmoid_backward": _at_kinks(-3.0, 3.0),
            "hard_tanh_backward": _at_kinks(-1.0, 1.0),
        },
        "at a kink the derivative is that of the rising piece, not 0",
        "PyTorch's `clamp`, JAX's `hard_tanh`",
    ),
    Departure(
        "padding_multiplies",
        "choice",
        _every(_padded, "conv", "conv_fused", "conv_backward_weight"),
        "the zeros of the padding take part, so that a NaN or an infinity over the edge gives NaN",
        "ONNX Runtime, PyTorch for some processors and formats",
    ),
    Departure(
        "masked_row_zero",
        "choice",
        {
            "softmax": _value_where(_absent, lambda given: 0.0),
            "softmax_backward": _value_where(_absent, _of_no_weight),
        },
        "a row of nothing but −∞ has the softmax 0, and the gradient that follows from it",
        "attention kernels, PyTorch's `scaled_dot_product_attention` among them",
    ),
)

#: Every departure by name, in the order of GEN-D10.
DEPARTURES: Mapping[str, Departure] = MappingProxyType({departure.name: departure for departure in _ALL})


# Declarations -----------------------------------------------------------------------------------------------


def declared(declaration: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Read a backend's ``departures`` and check them.

    Parameters
    ----------
    declaration : mapping of str to tuple of str
        For every operation that departs the names of its departures.

    Returns
    -------
    dict of str to tuple of str
        The same, in the order of GEN-D10.

    Raises
    ------
    TypeError
        If it is no mapping, or if what stands beside an operation is no list or tuple of names.
    ValueError
        If an operation or a name is unknown, a departure does not apply to its operation, or two contradict
        each other. The message starts with ``GEN-C5``.

    Examples
    --------
    >>> declared({"max_pool_indices": ["last_nan", "zero_padding"]})
    {'max_pool_indices': ('zero_padding', 'last_nan')}
    >>> declared({"gelu": ["one_plus_err"]})
    Traceback (most recent call last):
        ...
    ValueError: GEN-C5: departures of gelu has 'one_plus_err', expected 'one_plus_erf'
    """
    if not isinstance(declaration, Mapping):
        raise TypeError(f"GEN-C5: departures is {declaration!r}, expected a mapping from operations to names")
    for operation in declaration:
        if operation not in OPERATIONS:
            raise ValueError(
                f"GEN-C5: departures has {operation!r}, expected {nearest_of(operation, OPERATIONS)}"
            )
    return {operation: _named(operation, names) for operation, names in declaration.items()}


def _named(operation: str, names: Any) -> tuple[str, ...]:
    """Return the names of the departures of an operation in their order, after all checks."""
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"GEN-C5: departures of {operation} is {names!r}, expected a tuple of names")
    for name in names:
        if name not in DEPARTURES:
            raise ValueError(
                f"GEN-C5: departures of {operation} has {name!r}, expected {nearest_of(name, DEPARTURES)}"
            )
        departure = DEPARTURES[name]
        if operation not in departure.changes:
            known = ", ".join(departure.changes)
            raise ValueError(f"GEN-C5: departures of {operation} has {name!r}, which applies to {known} only")
        for other in departure.against:
            if other in names:
                both = f"{name!r} and {other!r}, which contradict each other"
                raise ValueError(f"GEN-C5: departures of {operation} has {both}")
    return tuple(name for name in DEPARTURES if name in names)


def nearest_of(name: object, known: Iterable[str]) -> str:
    """Return the known names that are like a wrong one, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, 3, 0.5)
    if not close and len(names) > 20:
        return f"the name of an operation, such as {names[0]!r}"
    return " or ".join(map(repr, close)) or f"one of {', '.join(names)}"


def departed(record: Operation, names: Iterable[str]) -> Operation:
    """Return the record of an operation that departs from the pages in the ways named (GEN-D10).

    Raises
    ------
    TypeError, ValueError
        As of `declared`.

    Examples
    --------
    >>> record = departed(OPERATIONS["relu"], ("ignore_nan",))
    >>> record.reference(np.array([-1.0, np.nan, 2.0]))
    array([0., 0., 2.])
    """
    for name in _named(record.name, [*record.departures, *names]):
        if name not in record.departures:
            changed = DEPARTURES[name].changes[record.name](record)
            record = replace(changed, departures=(*record.departures, name))
    return record


@cache
def departing(operation: str, names: tuple[str, ...]) -> Operation:
    """Return the record of an operation, by its name, with the departures named; it is remembered.

    >>> departing("relu", ()) is OPERATIONS["relu"]
    True
    """
    return departed(OPERATIONS[operation], names)
