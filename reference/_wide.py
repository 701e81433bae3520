"""Numbers with twice the digits of float64, so that the plain formula of a function is also its accurate one.

``1 / (1 + exp(-x))`` in float64 loses digits wherever a step rounds, cancels, overflows or underflows, and
each function needs its own tricks against it. The reference takes another road: it computes the textbook
formula in a number type that has digits and range to spare, and rounds once, at the end.

A `Wide` is ``(hi + lo) * 2**exponent``. ``hi`` is a float64 of magnitude 1/2 to 1, ``lo`` holds the digits
that did not fit into it, and ``exponent`` is an integer, so nothing overflows or underflows on the way. All
three are arrays; operators work element by element and broadcast. Sums, products and quotients are right to a
relative 2⁻¹⁰⁰, `exp`, `expm1`, `log1p` and `erfc` to 2⁻⁸⁰: the last bit of a float64 (2⁻⁵³) sees neither
error. NaN and Inf are not represented: `Wide.of` reads them as 0, and the caller states the limit that
belongs there.

Sources: T. J. Dekker, "A floating-point technique for extending the available precision", Numerische
Mathematik 18 (1971); D. E. Knuth, *The Art of Computer Programming* 2, 4.2.2; Y. Hida, X. S. Li and D. H.
Bailey, "Algorithms for quad-double precision floating point arithmetic", ARITH 15 (2001).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Float: TypeAlias = npt.NDArray[np.float64]
Exponent: TypeAlias = npt.NDArray[np.intc]
Pair: TypeAlias = tuple[Float, Float]
"""Two floats of which the second is too small to change the first: their sum has about 106 bits."""

ZERO_EXPONENT = -(2**30)  # zero is smaller than anything: it never decides to which exponent a sum is aligned
EXP_LIMIT = 20_000.0  # e^±20000 times any float64 is still far outside of float64: exp may stop there


def _two_sum(a: Float, b: Float) -> Pair:
    """Return a + b without error: the rounded sum, and what the rounding lost (Knuth)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)


def _quick_two_sum(a: Float, b: Float) -> Pair:
    """Return a + b without error, for |a| ≥ |b| (Dekker)."""
    total = a + b
    return total, b - (total - a)


def _halves(a: Float) -> Pair:
    """Split a into two parts of 26 bits, whose products with such parts are exact (Veltkamp)."""
    scaled = 134217729.0 * a  # 2²⁷ + 1
    high = scaled - (scaled - a)
    return high, a - high


def _two_product(a: Float, b: Float) -> Pair:
    """Return a · b without error: the rounded product, and what the rounding lost (Dekker)."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _add(a: Pair, b: Pair) -> Pair:
    high, high_error = _two_sum(a[0], b[0])
    low, low_error = _two_sum(a[1], b[1])
    high, low = _quick_two_sum(high, high_error + low)
    return _quick_two_sum(high, low + low_error)


def _multiply(a: Pair, b: Pair) -> Pair:
    high, low = _two_product(a[0], b[0])
    return _quick_two_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def _divide(a: Pair, b: Pair) -> Pair:
    first = a[0] / b[0]
    product, error = _two_product(first, b[0])
    rest = ((a[0] - product) - error) + (a[1] - first * b[1])  # a − first · b
    return _quick_two_sum(first, rest / b[0])


class Wide:
    """An array of numbers of about 100 significant bits and, in practice, unbounded exponent."""

    __array_ufunc__ = None  # float64 array * Wide: let Wide do it
    __slots__ = ("exponent", "hi", "lo")

    def __init__(self, pair: Pair, exponent: Exponent | int = 0) -> None:
        high, low = _quick_two_sum(*pair)
        high, shift = np.frexp(high)
        self.hi: Float = high
        self.lo: Float = np.ldexp(low, -shift)
        self.exponent: Exponent = np.where(high == 0, ZERO_EXPONENT, exponent + shift).astype(np.intc)

    @classmethod
    def of(cls, value: Float | float | Wide) -> Wide:
        """Widen floats; NaN and ±Inf become 0."""
        if isinstance(value, Wide):
            return value
        high, exponent = np.frexp(np.where(np.isfinite(value), value, 0.0))
        return cls((high, np.zeros_like(high)), exponent)

    @classmethod
    def constant(cls, value: Fraction | str) -> Wide:
        """Widen one exact number, given as a fraction or in decimal digits."""
        exact = Fraction(value)
        high = float(exact)
        return cls.of(high) + cls.of(float(exact - Fraction(high)))

    def round(self) -> Float:
        """Return the nearest float64: the one rounding of a computation."""
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(self.hi, self.exponent))

    def pair(self) -> Pair:
        """Return the number as a sum of two float64, where their range is known to hold it."""
        return np.ldexp(self.hi, self.exponent), np.ldexp(self.lo, self.exponent)

    def where(self, condition: npt.NDArray[np.bool_]) -> Wide:
        """Return the numbers where the condition holds, and 0 elsewhere."""
        return Wide((np.where(condition, self.hi, 0.0), np.where(condition, self.lo, 0.0)), self.exponent)

    def total(self) -> Wide:
        """Return the sums along the last axis, kept with length 1: two halves are added until one is left."""
        length = self.hi.shape[-1]
        size = 1 << max(length - 1, 0).bit_length()
        padding = [(0, 0)] * (self.hi.ndim - 1) + [(0, size - length)]
        rest = Wide((np.pad(self.hi, padding), np.pad(self.lo, padding)), np.pad(self.exponent, padding))
        while size > 1:
            size //= 2
            rest = rest[..., :size] + rest[..., size:]
        return rest

    def __getitem__(self, index: Any) -> Wide:
        return Wide((self.hi[index], self.lo[index]), self.exponent[index])

    def __neg__(self) -> Wide:
        return Wide((-self.hi, -self.lo), self.exponent)

    def __abs__(self) -> Wide:
        sign = np.copysign(1.0, self.hi)
        return Wide((sign * self.hi, sign * self.lo), self.exponent)

    def __add__(self, other: Float | float | Wide) -> Wide:
        a, b = self, Wide.of(other)
        common = np.maximum(a.exponent, b.exponent)
        a_shift, b_shift = a.exponent - common, b.exponent - common
        a_aligned = np.ldexp(a.hi, a_shift), np.ldexp(a.lo, a_shift)
        b_aligned = np.ldexp(b.hi, b_shift), np.ldexp(b.lo, b_shift)
        return Wide(_add(a_aligned, b_aligned), common)

    def __sub__(self, other: Float | float | Wide) -> Wide:
        return self + -Wide.of(other)

    def __mul__(self, other: Float | float | Wide) -> Wide:
        b = Wide.of(other)
        return Wide(_multiply((self.hi, self.lo), (b.hi, b.lo)), self.exponent + b.exponent)

    def __truediv__(self, other: Float | float | Wide) -> Wide:
        b = Wide.of(other)
        return Wide(_divide((self.hi, self.lo), (b.hi, b.lo)), self.exponent - b.exponent)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Float | float) -> Wide:
        return Wide.of(other) - self

    def __rtruediv__(self, other: Float | float) -> Wide:
        return Wide.of(other) / self


def distance(x: Wide, point: str) -> Wide:
    """Return x − point; three floats of the point's digits are used, so that digits remain next to it."""
    rest = Fraction(point)
    for _ in range(3):
        part = float(rest)
        x = x - part
        rest -= Fraction(part)
    return x


LOG_2 = Wide.constant("0.69314718055994530941723212145817656807550013436025525412068")
PI = Wide.constant("3.14159265358979323846264338327950288419716939937510582097494")
RECIPROCALS = {n: Wide.constant(Fraction(1, n)).pair() for n in range(2, 11)}


def _reduced(x: Wide) -> tuple[Wide, Exponent]:
    """Return r and k of x = r + k log 2 with |r| ≤ (log 2)/2; an x beyond ±EXP_LIMIT is taken as that."""
    rounded = x.round()
    near = np.abs(rounded) < EXP_LIMIT
    rounded = np.where(near, rounded, np.copysign(EXP_LIMIT, rounded))
    turns = np.rint(rounded / LOG_2.round())
    return x.where(near) + np.where(near, 0.0, rounded) - turns * LOG_2, turns.astype(np.intc)


def _expm1_ratio(r: Wide) -> Wide:
    """Return (e^r − 1)/r = 1 + r/2 (1 + r/3 (1 + …)), for |r| ≤ (log 2)/2.

    The terms from n = 11 on are so small (together below 2⁻⁴⁰) that their float64 values have digits enough.
    """
    pair = r.pair()
    one = np.ones_like(pair[0]), np.zeros_like(pair[0])
    tail = one[0]
    for n in range(20, 10, -1):
        tail = 1.0 + pair[0] / n * tail
    series: Pair = (tail, one[1])
    for n in range(10, 1, -1):
        series = _add(one, _multiply(_multiply(pair, RECIPROCALS[n]), series))
    return Wide(series)


def exp(x: Wide) -> Wide:
    """Return eˣ = 2ᵏ e^r, where x = r + k log 2. Beyond ±20000 the answer is that of ±20000."""
    r, turns = _reduced(x)
    return (r * _expm1_ratio(r) + 1.0) * _power_of_two(turns)


def expm1(x: Wide) -> Wide:
    """Return eˣ − 1 = 2ᵏ (e^r − 1) + (2ᵏ − 1), which keeps every digit for small x, where k = 0."""
    r, turns = _reduced(x)
    scale = _power_of_two(turns)
    return r * _expm1_ratio(r) * scale + (scale - 1.0)


def _power_of_two(exponent: Exponent) -> Wide:
    return Wide((np.ones(exponent.shape), np.zeros(exponent.shape)), exponent)


def log1p(x: Wide) -> Wide:
    """Return log(1 + x) for x ≥ 0, from a float64 value y: y + log1p(t), t = (1 + x)/e^y − 1."""
    y = Wide.of(np.log1p(x.round()))
    excess = expm1(y)
    t = (x - excess) / (1.0 + excess)
    return y + (t - t * t * 0.5)


STEP = 0.375  # of the midpoint rule: its error is e^{−(π/STEP)²} = 2⁻¹⁰¹ of the result
NODES = [
    ((n + 0.5) * STEP) ** 2 for n in range(20)
]  # exact in float64; e^{−node} < 2⁻⁷⁷ for the one after the last
WEIGHTS = [exp(Wide.of(-node)).pair() for node in NODES]


def erfc(z: Wide) -> Wide:
    r"""Return erfc(z) = 2/√π ∫_z^∞ e^{−t²} dt, with full relative accuracy in the right tail.

    The midpoint rule on ``erfc(z) = (2z/π) e^{−z²} ∫_0^∞ e^{−t²}/(z² + t²) dt`` converges exponentially; for
    z < π/step the pole at t = iz adds 2/(1 + e^{2πz/step}). For negative z: erfc(z) = 2 − erfc(−z).

    Source: D. B. Hunter and T. Regan, "A note on the evaluation of the complementary error function",
    Mathematics of Computation 26 (1972).
    """
    positive = abs(z)
    rounded = positive.round()
    square = positive * positive
    bounded = square.where(rounded < 200.0).pair()  # further out, e^{−z²} alone decides: 0
    integral = np.zeros_like(rounded), np.zeros_like(rounded)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        integral = _add(integral, _divide(weight, _add(bounded, (np.asarray(node), np.zeros_like(rounded)))))
    tail = positive * exp(-square) * Wide(integral) * (2.0 * STEP) / PI
    pole = 2.0 / (1.0 + exp(positive * PI * 2.0 / STEP))
    right = tail + pole.where(rounded < np.pi / STEP)
    return right.where(z.hi >= 0) + (2.0 - right).where(z.hi < 0)
