"""Running error analysis: a formula carries a bound on its own float32 error.

A `Running` number is the exact value of an intermediate result and a bound on how far a float32 kernel's
intermediate may be from it. Arithmetic on such numbers adds what each operation may add: the errors of its
operands, carried through, and one rounding. Writing a function's stable formula with them *is* the derivation
of its bound, and a reader checks the derivation by reading the formula.

Source: J. H. Wilkinson, "Error analysis revisited", IMA Bulletin 22 (1986); N. J. Higham, *Accuracy and
Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, section 3.3. The limits of the functions are those of
the CUDA C++ Programming Guide, appendix "Mathematical Functions", or one unit wider. It counts them from the
correctly rounded result, in units in the last place of that. The exact result is half a unit from there.

An error is infinite where nothing is known. An infinite or NaN value is demanded as it is, unless it is the
product of an infinity with a factor that may have become zero.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Union, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, _nearest, ulp

__all__ = ["FUNCTION_LIMITS", "LOG2_E", "Running", "gamma", "select", "worst"]

#: Largest error of a function, from the exact result, in units in the last place of the correctly rounded
#: one: half a unit more than what ACT-A1 counts from the latter.
FUNCTION_LIMITS = {
    "exp": 2.5,
    "exp2": 2.5,
    "expm1": 2.5,
    "log": 1.5,
    "log1p": 2.5,
    "tanh": 2.5,
    "erf": 2.5,
    "erfc": 4.5,
    "normcdf": 5.5,
}

#: What PTX gives for ``lg2.approx`` between ½ and 2 as CUDA does for ``__logf``, and for ``tanh.approx``.
_FAST_LOG, _FAST_TANH = 2.0**-21.41, 2.0**-11
LOG2_E = math.log2(math.e)

#: From here down an exponential is zero, not some units in the last place of zero: 2⁻¹⁶⁰ is 2⁻¹¹ of the unit.
_VANISHED = -160 * math.log(2)

#: What is smaller changes no float32 number, however it is magnified by the steps that follow a sum here.
_NOTHING = 2.0**-160

_FLOAT32 = FORMATS["float32"]
_TINY = _FLOAT32.smallest_normal
Operand = Union["Running", float]

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@overload
def gamma(n: int, unit_roundoff: float) -> float: ...
@overload
def gamma(n: Float64, unit_roundoff: float) -> Float64: ...
def gamma(n: int | Float64, unit_roundoff: float) -> float | Float64:
    """Return the constant γ_n of n roundings, n·u / (1 − n·u).

    From n·u = 1/2 on it is 2·n·u: the usual constant has a pole at 1, while the error of a sum or a product
    of two vectors never exceeds n·u, whatever n is (Jeannerod and Rump, SIAM J. Matrix Anal. Appl. 34, 2013).
    """
    total = n * unit_roundoff
    if isinstance(total, float):
        return total / (1 - total) if total < 0.5 else 2 * total
    with np.errstate(divide="ignore"):
        return np.where(total < 0.5, total / (1 - total), 2 * total)


@dataclass(frozen=True)
class Running:
    """An exact intermediate value with a bound on the error of its float32 counterpart.

    Attributes
    ----------
    value : float64 array
        The exact value, as well as float64 gives it.
    error : float64 array
        A bound on the distance of the float32 value from it, infinite where nothing is known. An infinite or
        NaN value that is demanded has none.
    arithmetic : Arithmetic
        Whether subnormal numbers may be flushed and how the exponential is computed.

    Examples
    --------
    The rounding of a product, relative to its value, is at most 2⁻²⁴:

    >>> product = Running.exact(1 / 3, Arithmetic()) * 3.0
    >>> bool(product.error <= 2**-24)
    True
    """

    value: Float64
    error: Float64
    arithmetic: Arithmetic

    @classmethod
    def exact(cls, value: ArrayLike, arithmetic: Arithmetic) -> "Running":
        """Return an input: a number without error, unless the arithmetic may read it as zero."""
        array = np.asarray(value, dtype=np.float64)
        error = np.zeros_like(array)
        if arithmetic.flush_subnormals:
            error = np.where(np.abs(array) < _TINY, np.abs(array), error)
        return cls(array, error, arithmetic)

    def constant(self, value: float) -> "Running":
        """Return a constant of a formula, with the error of rounding it to float32."""
        exact = np.asarray(value, dtype=np.float64)
        return Running(exact, np.abs(_nearest(exact, _FLOAT32) - exact), self.arithmetic)

    def __neg__(self) -> "Running":
        return Running(-self.value, self.error, self.arithmetic)

    def __abs__(self) -> "Running":
        return Running(np.abs(self.value), self.error, self.arithmetic)

    def __add__(self, other: Operand) -> "Running":
        other = self._operand(other)
        with np.errstate(all="ignore"):
            total = self._rounded(self.value + other.value, self.error + other.error)
            return total._unless(np.isposinf(self.error) | np.isposinf(other.error))

    def __sub__(self, other: Operand) -> "Running":
        return self + -self._operand(other)

    def __mul__(self, other: Operand) -> "Running":
        other = self._operand(other)
        with np.errstate(all="ignore"):
            carried = (
                np.abs(self.value) * other.error + np.abs(other.value) * self.error + self.error * other.error
            )
            return self._multiplied(self.value * other.value, carried)._unless(self._vanishes_beside(other))

    def __truediv__(self, other: Operand) -> "Running":
        other = self._operand(other)
        with np.errstate(all="ignore"):
            quotient = self.value / other.value
            divisor = np.abs(other.value)
            carried = (self.error + np.abs(quotient) * other.error) / (divisor - other.error)
            carried = np.where((divisor > other.error) | np.isnan(quotient), carried, np.inf)
            # A divisor that may overflow to infinity makes the quotient zero; ``div.approx`` does so sooner.
            largest = 2.0**126 if "division" in self.arithmetic.approximations else _FLOAT32.largest
            overflow = divisor + other.error > largest
            carried = np.where(overflow, np.maximum(np.abs(quotient), carried), carried)
            return self._multiplied(quotient, carried, self.arithmetic.division_roundoff)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: float) -> "Running":
        return self.constant(other) - self

    def __rtruediv__(self, other: float) -> "Running":
        return self.constant(other) / self

    def over_one_plus(self) -> "Running":
        """Return e/(1 + e) of a non-negative e, which occurs twice, so that its error partly cancels."""
        with np.errstate(all="ignore"):
            quotient = np.where(np.isinf(self.value), 1.0, self.value / (1 + self.value))
            low = np.maximum(self.value - self.error, 0)
            carried = self.error / ((1 + low) * (1 + self.value))
            carried = carried + _FLOAT32.unit_roundoff * (quotient + carried)  # the rounding of 1 + e
            return self._multiplied(quotient, carried, self.arithmetic.division_roundoff)

    def sum(self, axis: int) -> "Running":
        """Return the sum along an axis, kept as length 1, for any order of summation.

        Adding zero rounds nothing, so that n terms other than zero cost n − 1 roundings. None is left where
        the terms are exact multiples of a power of two q and their magnitudes add up to at most 2²⁴·q: every
        partial sum is such a multiple then, and a float32 number. Terms below 2⁻⁶⁰·q may be among them, if
        they come to less than 2⁻³⁰·q: added to a multiple they vanish. What vanishes is an error, however
        small, of all but what no float32 number tells from zero.
        """
        with np.errstate(all="ignore"):
            size = np.abs(self.value) + self.error
            terms = np.sum(size, axis=axis, keepdims=True)
            carried = np.sum(self.error, axis=axis, keepdims=True)
            length = np.maximum(np.sum(size != 0, axis=axis, keepdims=True) - 1.0, 0.0)
            unit = np.exp2(np.ceil(np.log2(terms)) - _FLOAT32.precision)
            tiny = size <= 2.0**-60 * unit
            lost = np.sum(np.where(tiny, size, 0.0), axis=axis, keepdims=True)
            whole = tiny | ((self.error == 0) & (np.rint(self.value / unit) * unit == self.value))
            exact = np.all(whole, axis=axis, keepdims=True) & (lost < 2.0**-30 * unit) & (unit > 2 * _TINY)
            rounding = gamma(length, _FLOAT32.unit_roundoff) * terms
            if self.arithmetic.flush_subnormals:
                rounding = rounding + length * _TINY
            total = np.sum(self.value, axis=axis, keepdims=True)
            kept = np.sum(np.where(tiny, 0.0, self.value), axis=axis, keepdims=True)
            lost = np.where((kept == 0) | (lost > _NOTHING), lost, 0.0)
            error = np.where(exact, lost, carried + rounding)
            result = self._made(np.where(exact & (kept != 0), kept, total), error)
            return result._unless(np.any(np.isposinf(self.error), axis=axis, keepdims=True))

    def exp(self) -> "Running":
        """Return e to this power, by ``__expf`` or by exp2 where the arithmetic says so."""
        with np.errstate(all="ignore"):
            limit = np.full(self.value.shape, FUNCTION_LIMITS["exp"])
            if self.arithmetic.fast_exp:
                reach = np.where(np.isfinite(self.value), np.abs(self.value) + self.error, 0.0)
                limit = 2.5 + np.floor(1.173 * reach)
            found = self._function(np.exp(self.value), self._grown(1.0), limit, exact_at=0.0)
            found = self._vanished(found)
        if "exp2" not in self.arithmetic.approximations:
            return found
        return worst([found, (self * LOG2_E).exp2()])

    def exp2(self) -> "Running":
        """Return two to this power."""
        with np.errstate(all="ignore"):
            found = self._named("exp2", np.exp2(self.value), self._grown(math.log(2)))
            return self._vanished(found, math.log(2))

    def expm1(self) -> "Running":
        """Return e to this power minus one, without cancellation."""
        with np.errstate(all="ignore"):
            return self._named("expm1", np.expm1(self.value), self._grown(1.0))

    def _grown(self, scale: float) -> Float64:
        """Return how far the exponential of this number times the scale moves with its error."""
        value, error = self.value * scale, self.error * scale
        return np.where(error < 1, np.exp(value) * np.expm1(error), np.exp(value + error) - np.exp(value))

    def _vanished(self, power: "Running", scale: float = 1.0) -> "Running":
        """Return an exponential of this number, which is zero where it is far below the smallest number."""
        gone = (self.value + self.error) * scale < _VANISHED
        return Running(power.value, np.where(gone, power.value, power.error), self.arithmetic)

    def log(self) -> "Running":
        """Return the natural logarithm of a positive number."""
        with np.errstate(all="ignore"):
            value, carried = np.log(self.value), -np.log1p(-self.error / self.value)
            if "log" not in self.arithmetic.approximations:
                return self._named("log", value, carried, exact_at=1.0)
            own = 3.5 * _ulp_of_rounded(np.abs(value) + carried)
            middle = (self.value + self.error >= 0.5) & (self.value - self.error <= 2)
            return self._made(value, carried + np.where(middle, _FAST_LOG, own) + self._flushed(value))

    def log1p(self) -> "Running":
        """Return the logarithm of one plus this number, which is not negative."""
        with np.errstate(all="ignore"):
            carried = -np.log1p(-self.error / (1 + self.value))
            found = self._named("log1p", np.log1p(self.value), carried)
        return worst([found, (1.0 + self).log()]) if "log" in self.arithmetic.approximations else found

    def tanh(self) -> "Running":
        """Return the hyperbolic tangent; that of ``tanh.approx`` where the arithmetic says so."""
        nearest = np.maximum(np.abs(self.value) - self.error, 0)
        with np.errstate(all="ignore"):
            value, carried = np.tanh(self.value), self.error / np.cosh(nearest) ** 2
            library = self._named("tanh", value, carried)
            if "tanh" not in self.arithmetic.approximations:
                return library
            own = np.where(np.isinf(self.value), 0.0, _FAST_TANH * np.abs(value))
            return self._made(value, np.maximum(library.error, carried + own))

    def erf(self) -> "Running":
        """Return the error function."""
        return self._named("erf", _erf(self.value), self.error * self._bell())

    def erfc(self) -> "Running":
        """Return one minus the error function, relatively accurate in its right tail."""
        return self._named("erfc", _erfc(self.value), self.error * self._bell())

    def normcdf(self) -> "Running":
        """Return the normal distribution function, CUDA's ``normcdff``."""
        slope = self._bell(1 / math.sqrt(2)) / (2 * math.sqrt(2))
        return self._named("normcdf", _erfc(-self.value / math.sqrt(2)) / 2, self.error * slope)

    def _bell(self, scale: float = 1.0) -> Float64:
        """Return the largest slope of erf at the argument times the scale, within the argument's error."""
        nearest = np.maximum(np.abs(self.value) - self.error, 0) * scale
        return np.asarray(2 / math.sqrt(math.pi) * np.exp(-np.square(np.minimum(nearest, 40.0))))

    def _named(self, name: str, value: Float64, carried: Float64, exact_at: float = 0.0) -> "Running":
        return self._function(value, carried, np.asarray(FUNCTION_LIMITS[name]), exact_at)

    def _function(self, value: Float64, carried: Float64, limit: Float64, exact_at: float) -> "Running":
        """Add a function's own error; at one point (exp 0 = 1, log 1 = 0 …) every function is exact."""
        with np.errstate(all="ignore"):
            own = np.where(np.isinf(self.value), 0.0, limit * _ulp_of_rounded(np.abs(value) + carried))
            error = carried + own + self._flushed(value)
        return self._made(value, np.where((self.value == exact_at) & (self.error == 0), 0.0, error))

    def once(self, factor: float) -> "Running":
        """Return the product with a parameter where it is the only product: half a unit, not a share u."""
        other = self.constant(factor)
        with np.errstate(all="ignore"):
            value, carried = self.value * other.value, np.abs(self.value) * other.error + self.error
            half_unit = ulp(np.abs(value) + carried, _FLOAT32) / 2
            exact = (_nearest(value, _FLOAT32) == value) & (carried == 0)
            product = self._made(value, carried + np.where(exact, 0.0, half_unit) + self._flushed(value))
            return product._unless(self._vanishes_beside(other))

    def _vanishes_beside(self, other: "Running") -> NDArray[np.bool_]:
        """Tell where one factor is infinite and the other, which is not zero, may have become so."""

        def lost(infinite: Running, factor: Running) -> NDArray[np.bool_]:
            vanishes = (factor.value != 0) & (factor.error >= np.abs(factor.value))
            return np.asarray((np.isinf(infinite.value) & vanishes) | np.isposinf(infinite.error))

        return lost(self, other) | lost(other, self)

    def _unless(self, unknown: NDArray[np.bool_]) -> "Running":
        """Return this number, unknown at some places."""
        return Running(self.value, np.where(unknown, np.inf, self.error), self.arithmetic)

    def _multiplied(
        self, value: Float64, carried: Float64, share: float = _FLOAT32.unit_roundoff
    ) -> "Running":
        """Add the rounding of a product or quotient: a share u, which no reordering of factors changes.

        Half a unit in the last place would be sharper for this order, and too sharp for another one. A
        product that is a float32 number itself (times 1, times a power of two) is not rounded.
        """
        rounding = share * (np.abs(value) + carried) + _FLOAT32.smallest_subnormal / 2
        exact = (_nearest(value, _FLOAT32) == value) & (carried == 0) & (share == _FLOAT32.unit_roundoff)
        return self._made(value, carried + np.where(exact, 0.0, rounding) + self._flushed(value))

    def _rounded(self, value: Float64, carried: Float64) -> "Running":
        """Add the rounding of a sum to the error carried through it.

        It is at most half a unit in the last place. It is also at most the distance from the unrounded
        result to *any* float32 number, and so at most ``carried`` plus the distance of the exact value to
        its nearest one: this is what makes 1 + e⁻⁵⁰ exactly 1.
        """
        half_unit = ulp(np.abs(value) + carried, _FLOAT32) / 2
        distance = np.abs(_nearest(value, _FLOAT32) - value)
        error = carried + np.minimum(half_unit, carried + distance) + self._flushed(value)
        return self._made(value, error)

    def _flushed(self, value: Float64) -> Float64:
        """Return what flushing a subnormal result to zero costs, where the arithmetic may do so."""
        if not self.arithmetic.flush_subnormals:
            return np.zeros_like(value)
        return np.where(np.abs(value) < 2 * _TINY, np.minimum(np.abs(value), _TINY), 0.0)

    def _made(self, value: Float64, error: Float64) -> "Running":
        """Return a number with an error, which infinities and NaN do not have; one that is NaN is unknown."""
        error = np.where(np.isnan(error), np.inf, error)
        return Running(np.asarray(value), np.where(np.isfinite(value), error, 0.0), self.arithmetic)

    def _operand(self, other: Operand) -> "Running":
        return other if isinstance(other, Running) else self.constant(other)


def _ulp_of_rounded(size: Float64) -> Float64:
    """Return the unit in the last place of the float32 number next to a size."""
    nearest = _nearest(size, _FLOAT32)
    return ulp(np.where(np.isfinite(nearest), nearest, size), _FLOAT32)


def select(condition: NDArray[np.bool_], left: Running, right: Running) -> Running:
    """Return ``left`` where the condition holds and ``right`` elsewhere, as a branch of a kernel does."""
    return Running(
        np.where(condition, left.value, right.value),
        np.where(condition, left.error, right.error),
        left.arithmetic,
    )


def worst(formulas: Iterable[Running]) -> Running:
    """Return one number with the largest error of several formulas for it: each of them is allowed.

    The value is that of the first. Another one may have lost digits even in float64, as 1 − σ(40) does: the
    difference counts as its error.
    """

    def larger(left: Running, right: Running) -> Running:
        with np.errstate(invalid="ignore"):
            apart = np.nan_to_num(np.abs(left.value - right.value), nan=0.0, posinf=0.0)
        return Running(left.value, np.maximum(left.error, right.error + apart), left.arithmetic)

    combine: Callable[[Running, Running], Running] = larger
    return reduce(combine, formulas)
