"""How far a right result may lie from the exact one: computed bounds instead of tolerances.

Three levels hold a contraction (`contraction_bound`, `exact_integer_limit`, `statistics`), running error
analysis holds everything else (`formula_bound`), with a limit on its mean error (`mean_error`), and `accept`
compares. What they compute with stands in
`gaugeblock.spec.formats`, `gaugeblock.spec.arithmetic` and `gaugeblock.spec.running`; the names are repeated
here, so that one import serves.

The derivations are the accuracy clauses of the pages: GEMM-A1 to GEMM-A4, ACT-A1 to ACT-A10, CONV-A1
to CONV-A8, POOL-A1 to POOL-A7, UNIT-A1 and UNIT-A2 (in `gaugeblock.spec.lstm`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaugeblock.spec.arithmetic import TF32, Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, Format, _nearest, format_of, round_to, ulp
from gaugeblock.spec.running import FUNCTION_LIMITS, Running, gamma, select, worst

__all__ = [
    "FORMATS",
    "FUNCTION_LIMITS",
    "TF32",
    "Arithmetic",
    "Bound",
    "Format",
    "MeanError",
    "Running",
    "Statistics",
    "accept",
    "bias_limit",
    "contraction_bound",
    "exact_bound",
    "exact_integer_limit",
    "factor_error",
    "format_of",
    "formula_bound",
    "gamma",
    "independent_statistics",
    "may_vanish",
    "mean_error",
    "mean_square_limit",
    "meets_infinity",
    "round_to",
    "rounded",
    "select",
    "statistics",
    "ulp",
    "unbounded",
    "worst",
]

_FLOAT32 = FORMATS["float32"]

#: float64 evaluates the reference and the formulas; its own error, at most, as a share of the result.
_ORACLE_ERROR = 2.0**-44

#: Half the smallest float32 number times 2¹⁰, more than the other factors of any gradient come to where one
#: of its factors is so small that its product with dy underflows.
_PARTIAL_UNDERFLOW = 2.0**-140


@dataclass(frozen=True)
class Bound:
    """A bound on the absolute error of every element of a result, and what it is made of.

    Attributes
    ----------
    terms : mapping of str to float64 array
        The named contributions; a failure prints those of its worst element.
    value : float64 array
        Their sum. Infinite where the accumulator may overflow, so that nothing is demanded there. NaN where
        an infinity may meet a factor that counts as zero: there NaN is right too, and no other number.

    Examples
    --------
    >>> Bound({"sum": np.array([1.0, 2.0]), "rounding": np.array([0.5, 0.5])}).value
    array([1.5, 2.5])
    """

    terms: Mapping[str, Float64]
    value: Float64 = field(init=False)

    def __post_init__(self) -> None:
        total = sum(self.terms.values(), start=np.zeros(()))
        object.__setattr__(self, "value", np.asarray(total, dtype=np.float64))


def accept(got: ArrayLike, want: ArrayLike, bound: Bound | ArrayLike, format: Format) -> NDArray[np.bool_]:
    """Tell for every element whether a result is right (clause GEN-A1).

    A finite number is wanted: the result must lie within the bound, so NaN fails. Where the number plus its
    bound reaches the format's overflow threshold, infinity of its sign is right too. NaN is wanted: NaN. An
    infinity is wanted: that infinity. Where the bound itself is infinite nothing is demanded; where it is NaN
    the wanted value or NaN.

    The sign of zero is not looked at.

    Examples
    --------
    >>> accept([1.0, np.nan, np.nan, np.inf], [1.1, 1.0, np.nan, 65519.0], 0.2, FORMATS["float16"])
    array([ True, False,  True, False])
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        actual = np.asarray(got).astype(np.float64)
    wanted = np.asarray(want, dtype=np.float64)
    limit = bound.value if isinstance(bound, Bound) else np.asarray(bound, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(actual - wanted) <= limit
        overflow = (np.abs(wanted) + limit >= format.overflow_threshold) & (
            actual == np.copysign(np.inf, wanted)
        )
    finite = near | overflow
    special = np.where(np.isnan(wanted), np.isnan(actual), actual == wanted)
    lost = np.isnan(limit) & (np.isnan(actual) | (actual == wanted))
    return np.asarray(np.where(np.isfinite(wanted), finite, special) | (limit == np.inf) | lost)


def unbounded(bound: Bound, where: ArrayLike) -> Bound:
    """Return a bound that demands nothing at some places.

    Examples
    --------
    >>> unbounded(Bound({"sum": np.array([1.0, np.nan])}), [False, True]).value
    array([ 1., inf])
    """
    if not np.any(where):
        return bound
    return Bound({name: np.where(where, np.inf, term) for name, term in bound.terms.items()})


# Functions and rows: running error analysis


def exact_bound(want: ArrayLike) -> Bound:
    """Return the bound of an operation that rounds nothing: zero everywhere."""
    return Bound({"exact": np.zeros(np.shape(want))})


def formula_bound(
    formula: Running,
    want: ArrayLike,
    output: Format,
    *,
    transcendental: bool = False,
    gradient: bool = False,
) -> Bound:
    """Return the bound of a result computed in float32 by a formula and rounded once to the output format.

    Parameters
    ----------
    formula : Running
        The result of the formula with its running error.
    want : array_like
        The reference's result in float64.
    output : Format
        The format of the result.
    transcendental : bool
        Whether results below the normal float32 range may be off by its smallest number (GEN-A3).
    gradient : bool
        Whether it is a product with dy, whose partial products may underflow where the result does not.
    """
    wanted = np.asarray(want, dtype=np.float64)
    usable = np.isfinite(wanted)
    size = np.abs(np.where(usable, wanted, 0.0))
    error = np.where(usable | np.isposinf(formula.error), formula.error, 0.0)
    error = error + np.where(formula.error > 0, _ORACLE_ERROR * size, 0.0)
    terms = dict(rounded(Bound({"formula in float32": error}), wanted, output).terms)
    if transcendental:
        below = usable & (size < _FLOAT32.smallest_normal)
        elsewhere = _PARTIAL_UNDERFLOW if gradient else 0.0
        terms["underflow"] = np.where(below, _FLOAT32.smallest_normal, elsewhere)
    return Bound(terms)


def rounded(bound: Bound, want: ArrayLike, output: Format) -> Bound:
    """Return the bound of a result that is rounded from float32 to the output format after all its errors."""
    if output == _FLOAT32:
        return bound
    wanted = np.asarray(want, dtype=np.float64)
    size = np.abs(np.where(np.isfinite(wanted), wanted, 0.0))
    last = {f"rounding to {output.name}": _output_rounding(size, bound.value, output)}
    return Bound({**bound.terms, **last})


def _output_rounding(size: Float64, error: Float64, output: Format) -> Float64:
    """Half a unit in the last place, or no more than the error itself where the result is representable."""
    with np.errstate(invalid="ignore", over="ignore"):
        half_unit = np.nan_to_num(ulp(size + error, output) / 2, nan=np.inf)
        return np.where(_nearest(size, output) == size, np.minimum(half_unit, error), half_unit)


# Contractions: L1, the worst case


def contraction_bound(
    want: ArrayLike,
    *,
    product: ArrayLike,
    addend: ArrayLike,
    operands: ArrayLike,
    reduction: ArrayLike,
    output: Format,
    arithmetic: Arithmetic,
    alpha: float = 1.0,
    beta: float = 0.0,
    roundings: int = 0,
    inputs: Format | None = None,
    lost: ArrayLike = False,
) -> Bound:
    r"""Return the bound L1 of alpha·(a sum of products) + beta·c, in any order of summation (GEMM-A1).

    Parameters
    ----------
    want : array_like
        The reference's result in float64.
    product : array_like
        |alpha|·Σₖ|a||b|, zero where alpha is.
    addend : array_like
        |beta|·|c|, zero where beta is. Both together are S, the operator on absolute inputs.
    operands : array_like
        |alpha|·Σₖ(|a| + |b|): the operands that a result's products use.
    reduction : array_like of int
        K, the number of roundings that an addend goes through in its sum: one number, or one per result.
    output : Format
        The format of the result.
    arithmetic : Arithmetic
        What the backend declares.
    alpha, beta : float
        The factors.
    roundings : int
        How many roundings there are besides those of the sum and of the factors.
    inputs : Format, optional
        The format of the inputs, if it is not that of the result.
    lost : array_like of bool
        Where an infinity meets an operand that may count as zero (`may_vanish`), so that NaN is right too.
    """
    wanted = np.asarray(want, dtype=np.float64)

    def spread(part: ArrayLike) -> Float64:
        return np.broadcast_to(np.asarray(part, dtype=np.float64), wanted.shape)

    bound = _Contraction(
        product=spread(product),
        addend=spread(addend),
        operands=spread(operands),
        reduction=spread(reduction if alpha else 0),
        alpha=alpha,
        beta=beta,
        roundings=roundings,
        output=output,
        inputs=inputs or output,
        arithmetic=arithmetic,
    ).bound(wanted)
    if not np.any(lost):
        return bound
    open_ = np.asarray(lost) & ~np.isposinf(bound.value)
    return Bound({**bound.terms, "∞ times 0": np.where(open_, np.nan, 0.0)})


def may_vanish(array: ArrayLike, inputs: Format, arithmetic: Arithmetic) -> NDArray[np.bool_]:
    """Tell which operands may count as zero in the declared arithmetic, and are not (GEMM-X2).

    Those are numbers below the multiplier's smallest one, and subnormal ones where they may be flushed.

    Examples
    --------
    >>> may_vanish([0.0, 2.0**-149, 1.0], FORMATS["float32"], Arithmetic(multiplier="tf32"))
    array([False,  True, False])
    """
    size = np.abs(np.asarray(array, dtype=np.float64))
    least = _FLOAT32.smallest_normal if arithmetic.flush_subnormals else 0.0
    narrow = arithmetic.operand_format
    if narrow is not None and not _contains(narrow, inputs):
        least = max(least, narrow.smallest_subnormal)
    return np.asarray((size > 0) & (size < least))


def meets_infinity(
    left: ArrayLike,
    right: ArrayLike,
    multiply: Callable[[Float64, Float64], Float64],
    inputs: Format,
    arithmetic: Arithmetic,
) -> NDArray[np.bool_] | bool:
    """Tell in which sums of products an infinity meets an operand that may count as zero."""
    infinite = [np.isinf(np.asarray(array, dtype=np.float64)) for array in (left, right)]
    if not any(array.any() for array in infinite):
        return False
    if arithmetic.products > 1:  # the second part of an infinity is ∞ − ∞
        tiny = [np.ones_like(array) for array in infinite]
    else:
        tiny = [may_vanish(array, inputs, arithmetic) for array in (left, right)]
    first, second = ([array.astype(np.float64) for array in arrays] for arrays in (infinite, tiny))
    return np.asarray(multiply(first[0], second[1]) + multiply(second[0], first[1]) > 0)


@dataclass(frozen=True)
class _Contraction:
    """The parts that the terms of L1 share; every array has the shape of the result."""

    product: Float64
    addend: Float64
    operands: Float64
    reduction: Float64
    alpha: float
    beta: float
    roundings: int
    output: Format
    inputs: Format
    arithmetic: Arithmetic

    def bound(self, want: Float64) -> Bound:
        with np.errstate(invalid="ignore", over="ignore"):
            terms = {
                "sum": self._sum(),
                "alpha, beta": self._factors(),
                "operands": self._operands(),
                "parts of the sum": self._parts_of_the_sum(),
                "subnormals": self._subnormals(),
            }
            terms = {name: term for name, term in terms.items() if np.any(term != 0)} or {"sum": terms["sum"]}
            # An infinite operand is no overflow: what it gives is demanded exactly (GEMM-X2).
            terms = {name: np.where(np.isfinite(self._size), term, 0.0) for name, term in terms.items()}
            error = sum(terms.values(), start=np.zeros(want.shape))
            over = self._overflows() & np.isfinite(self._size)
            terms = {name: np.where(over, np.inf, term) for name, term in terms.items()}
            if self.output != _FLOAT32 or self.arithmetic.accumulator == "float16":
                size = np.abs(np.where(np.isfinite(want), want, 0.0))
                terms[f"rounding to {self.output.name}"] = _output_rounding(size, error, self.output)
        return Bound(terms)

    @property
    def _size(self) -> Float64:
        """S, the same operator on absolute inputs, as the rounded operands may enlarge it."""
        return np.asarray(self._products + self.addend)

    @property
    def _products(self) -> Float64:
        """|alpha|·Σₖ|a||b|, as the rounded operands, or their parts, may enlarge it."""
        return self.product * (self.arithmetic.operand_growth if self._narrows else 1.0)

    @property
    def _narrows(self) -> bool:
        """Whether the multiplier does not hold the operands."""
        narrow = self.arithmetic.operand_format
        return narrow is not None and not _contains(narrow, self.inputs)

    @property
    def _additions(self) -> Float64:
        """The products that are added up: several for each pair of operands, where those are split."""
        return self.reduction * (self.arithmetic.products if self._narrows else 1)

    @property
    def _growth(self) -> float | Float64:
        """Return γ_K, or what the truncations of a tensor core come to."""
        if self.arithmetic.accumulator != "tensor_core":
            return gamma(self._additions, self.arithmetic.sum_roundoff)
        assert self.arithmetic.fraction_bits is not None
        assert self.arithmetic.block is not None
        blocks = np.ceil(self._additions / self.arithmetic.block)
        share = self._additions * 2.0**-self.arithmetic.fraction_bits + blocks * 2.0**-23
        return np.asarray(np.where(share < 0.5, share / (1 - share), 2 * share))

    def _sum(self) -> Float64:
        """γ_K·S."""
        return np.asarray(self._growth * self._size)

    def _parts_of_the_sum(self) -> Float64:
        """Return what rounding sums of parts to the format of the arrays costs, and adding them up in it."""
        if self.arithmetic.splits == 1 or self.inputs == _FLOAT32:
            return np.zeros_like(self.product)
        share = gamma(self.arithmetic.splits, self.inputs.unit_roundoff) * (1 + self._growth)
        tiny = self.arithmetic.splits * self.inputs.smallest_subnormal * max(abs(self.alpha), 1.0)
        return np.asarray(np.where(self._size > 0, share * self._size + tiny, 0.0))

    def _factors(self) -> Float64:
        """One rounding each of the products with alpha and beta and of their sum; and both factors' own.

        That is no share u below the normal range: it is the distance from the factor to its float32 number.
        """
        roundings = self.roundings + sum(factor not in (0.0, 1.0, -1.0) for factor in (self.alpha, self.beta))
        roundings += bool(self.beta != 0 and self.alpha != 0)
        u = self.arithmetic.sum_format.unit_roundoff
        growth = 1 + self._growth
        moved = factor_error(self.alpha, self.arithmetic) * self._products
        moved = moved + factor_error(self.beta, self.arithmetic) * self.addend
        return np.asarray(growth * (gamma(roundings, u) * (self._size + moved) + moved))

    def _operands(self) -> Float64:
        """Return what rounding the operands to the declared type of the multiplier costs."""
        narrow = self.arithmetic.operand_format
        if narrow is None or not self._narrows:
            return np.zeros_like(self.product)
        underflow = self.arithmetic.parts * narrow.smallest_subnormal
        lost = underflow * (self.operands + self.reduction * abs(self.alpha) * underflow)
        return np.asarray(self.arithmetic.operand_error * self.product + lost)

    def _subnormals(self) -> Float64:
        """Half the smallest number per rounding; or whole operands and results, where they may be flushed."""
        roundings = self._additions * abs(self.alpha) + 2
        if not self.arithmetic.flush_subnormals:
            used = (self.product != 0) | (self.addend != 0)
            return np.where(used, roundings * self.arithmetic.sum_format.smallest_subnormal, 0.0)
        tiny = _FLOAT32.smallest_normal
        c = tiny * abs(self.beta)
        return np.asarray(tiny * (self.operands + roundings + self.reduction * abs(self.alpha) * tiny) + c)

    def _overflows(self) -> NDArray[np.bool_]:
        """Tell where partial sums may leave the accumulator's range, or operands the multiplier's."""
        scale = abs(self.alpha) or 1.0
        largest = np.maximum(self._size, self._products / scale)
        over = largest > self.arithmetic.sum_format.largest
        over = over | any(math.isinf(factor_error(x, self.arithmetic)) for x in (self.alpha, self.beta))
        if self.arithmetic.splits > 1:
            over = over | (largest > self.inputs.largest)
        narrow = self.arithmetic.operand_format
        if narrow is not None and self._narrows:  # rounding up may leave its range
            over = over | (self.operands / scale > narrow.largest)
        return np.asarray(over)


def factor_error(factor: float, arithmetic: Arithmetic) -> float:
    """Return how far rounding to float32 moves a factor, as a share of it: 1 where it may become zero.

    Examples
    --------
    >>> factor_error(1e-42, Arithmetic()) > 2**-11, factor_error(1e-50, Arithmetic())
    (True, 1.0)
    """
    if factor == 0:
        return 0.0
    if arithmetic.flush_subnormals and abs(factor) < _FLOAT32.smallest_normal:
        return 1.0
    return float(abs(_nearest(np.asarray(factor), _FLOAT32) - factor) / abs(factor))


def _contains(wide: Format, narrow: Format) -> bool:
    """Whether every number of one format is a number of the other."""
    return (
        wide.precision >= narrow.precision
        and wide.maximum_exponent >= narrow.maximum_exponent
        and wide.smallest_subnormal <= narrow.smallest_subnormal
    )


# Contractions: L0, bitwise


def exact_integer_limit(reduction: int, dtype: Any, arithmetic: Arithmetic) -> int:
    """Return the largest odd L for which integer data make every order of summation exact (GEMM-A2).

    With one operand made of odd integers up to L and the other of −1, 0 and 1, every partial sum is an
    integer of at most K·L, which the accumulator holds exactly.

    Returns
    -------
    int
        An odd number, or 0 where the reduction is too long for any, or where the algorithm is not direct.

    Examples
    --------
    >>> exact_integer_limit(512, "float32", Arithmetic())
    32767
    >>> exact_integer_limit(512, "bfloat16", Arithmetic())
    255
    """
    if arithmetic.algorithm != "direct":
        return 0
    held: list[int] = [2 ** format_of(dtype).precision]
    if (operand := arithmetic.operand_format) is not None:
        held.append(2 ** (arithmetic.parts * operand.precision))
    exact: int = 2**arithmetic.sum_format.precision
    if arithmetic.accumulator == "tensor_core":
        assert arithmetic.fraction_bits is not None
        exact = min(exact, 2**arithmetic.fraction_bits)
    if arithmetic.splits > 1:
        exact = min(exact, held[0])
    if arithmetic.products > 1:  # the first parts may add up to more than the operands
        exact //= 2
    limit = min(*held, exact // max(reduction, 1))
    return limit if limit % 2 else max(limit - 1, 0)


# Contractions: L2, statistics


def mean_square_limit(reduction: int) -> float:
    """Return the limit of mean(e²) for e = (got − want)/(u·S): 1.6·K (GEMM-A3)."""
    return 1.6 * reduction


def bias_limit(reduction: int, count: int) -> float:
    """Return the limit of |Σe| over ``count`` results: √(16·K·count) (GEMM-A3)."""
    return math.sqrt(16 * reduction * count)


@dataclass(frozen=True)
class Statistics:
    """Mean square, bias and slope of the scaled errors, with their limits (clause GEMM-A3)."""

    mean_square: float
    mean_square_limit: float
    bias: float
    bias_limit: float
    count: int
    slope: float = 0.0
    slope_limit: float = math.inf

    @property
    def accepted(self) -> bool:
        """Whether all lie within their limits; NaN does not."""
        return self.share <= 1

    @property
    def share(self) -> float:
        """The worst of them as a share of its limit; NaN if one is."""
        found = (self.mean_square, self.bias, self.slope)
        limits = (self.mean_square_limit, self.bias_limit, self.slope_limit)
        return float(np.max(np.divide(found, limits)))

    def __str__(self) -> str:
        return (
            f"scaled errors of {self.count} results: mean square {self.mean_square:.4g}, "
            f"limit {self.mean_square_limit:.4g}; sum {self.bias:.4g}, limit {self.bias_limit:.4g}; "
            f"along the results {self.slope:.4g}, limit {self.slope_limit:.4g}"
        )


def statistics(
    got: ArrayLike,
    want: ArrayLike,
    absolute: ArrayLike,
    *,
    reduction: int,
    output: Format,
    arithmetic: Arithmetic,
) -> Statistics:
    """Measure the errors of a contraction on zero-mean data, level L2 (GEMM-A3).

    The error is scaled by u·S, with u of the accumulator and S the operator on absolute inputs. Where the
    output is narrower than the accumulator, the rounding to it adds its own variance to both limits: a
    rounding error is spread evenly over half a unit h to either side, so its mean square is h²/3. Declared
    narrow operands add the square of their worst case.

    Elements with S = 0 are left out. At least 1000 should remain.
    """
    u = arithmetic.sum_roundoff
    scale = u * np.asarray(absolute, dtype=np.float64)
    used = scale > 0
    wanted = np.asarray(want, dtype=np.float64)[used]
    e = (np.asarray(got).astype(np.float64)[used] - wanted) / scale[used]
    extra = np.zeros_like(e)
    if output.unit_roundoff > _FLOAT32.unit_roundoff:
        extra = np.square(ulp(wanted, output) / 2 / scale[used]) / 3
    narrow = arithmetic.operand_format
    if narrow is not None and not _contains(narrow, output):
        extra = extra + (arithmetic.operand_error / u) ** 2
        reduction *= arithmetic.products
    if arithmetic.splits > 1:
        extra = extra + (gamma(arithmetic.splits, output.unit_roundoff) / u) ** 2
    count = int(e.size)
    return Statistics(
        mean_square=float(np.mean(np.square(e))) if count else 0.0,
        mean_square_limit=mean_square_limit(max(reduction, 1))
        + 1.6 * (float(np.mean(extra)) if count else 0.0),
        bias=float(abs(np.sum(e))),
        bias_limit=math.sqrt(bias_limit(max(reduction, 1), max(count, 1)) ** 2 + 16 * float(np.sum(extra))),
        count=count,
    )


def independent_statistics(
    got: ArrayLike, want: ArrayLike, squares: ArrayLike, *, reduction: int, output: Format, constants: int = 0
) -> Statistics:
    """Measure the errors of sums of K zero-mean products by what independent roundings give (GEMM-A3).

    Rounding a partial sum p to nearest errs by at most u·|p|, to either side, with a mean square of at most
    u²p²/3. Of independent products of zero mean, any part that is chosen without looking at them has a
    mean square of at most Q, that of the squares' sum; so K roundings come to no more than u²·K·Q/3. In the
    scaled error e = (got − want)/(u·√(K·Q)) a mean square of 1.6 is beyond any honest order of summation, and
    so are sums of T errors beyond √(16·T), which are at least 6.9 standard deviations: of the errors as they
    are, and of the errors along the results, each weighted by its result as a share of their root mean
    square. The latter is where a factor shows that lies beside 1 by more than about 4·u·√(K/T).

    Parameters
    ----------
    got, want : array_like
        The results, and the exact ones.
    squares : array_like
        Q, the sum of the squares of the products, for each result.
    reduction : int
        K.
    output : Format
        The format of the results, whose own rounding is added.
    constants : int
        How many factors a kernel may have rounded for all results alike, each by a share u.
    """
    scale = np.sqrt(max(reduction, 1) * np.asarray(squares, dtype=np.float64))
    plain = statistics(got, want, scale, reduction=1, output=output, arithmetic=Arithmetic())
    unit = _FLOAT32.unit_roundoff * scale
    used = unit > 0
    wanted, unit = np.asarray(want, dtype=np.float64)[used], unit[used]
    e = (np.asarray(got).astype(np.float64)[used] - wanted) / unit
    extra = np.zeros_like(e)
    if output.unit_roundoff > _FLOAT32.unit_roundoff:
        extra = np.square(ulp(wanted, output) / 2 / unit) / 3
    weights = wanted / (math.sqrt(np.mean(np.square(wanted))) or 1.0) if e.size else wanted
    alike = constants * _FLOAT32.unit_roundoff * np.sum(np.abs(weights * wanted) / unit)
    return replace(
        plain,
        slope=float(abs(np.sum(e * weights))),
        slope_limit=math.sqrt(16 * (max(e.size, 1) + np.sum(extra * np.square(weights)))) + float(alike),
        bias_limit=plain.bias_limit + float(alike),
    )


# Functions: L2, the mean error

#: The largest mean error, in units in the last place, of a function whose bound is wider.
_MEAN_ERROR = 0.5
#: The natural logarithm of two in a probability of 10⁻¹²: how sure a limit on a mean is.
_SURE = math.log(2e12)


@dataclass(frozen=True)
class MeanError:
    """The mean of errors in units in the last place, away from zero, and its limit (clause ACT-A10)."""

    mean: float
    limit: float
    count: int

    @property
    def accepted(self) -> bool:
        """Whether it lies within its limit; NaN does not."""
        return abs(self.mean) <= self.limit

    def __str__(self) -> str:
        return (
            f"mean error of {self.count} results: {self.mean:+.4g} units in the last place away from zero, "
            f"limit {self.limit:.4g}"
        )


def mean_error(
    got: ArrayLike,
    want: ArrayLike,
    bound: ArrayLike,
    *,
    output: Format,
    bias: float = _MEAN_ERROR,
    conditioned: float = 8.0,
) -> MeanError:
    """Measure the mean error of results of independent arguments (ACT-A10).

    Results are used that are rounded and well-conditioned: those with a bound of a quarter to ``conditioned``
    units in the last place, the rounding to a narrow format aside. A kernel's own mean error is at most
    ``bias``, or what the bound leaves where that is less. The measured mean differs from that, with a
    probability below 10⁻¹², by no more than the empirical Bernstein inequality allows (Maurer and Pontil
    2009): errors of independent arguments are independent, and none exceeds the bound.

    In a narrow format errors count from the correctly rounded result. A kernel that is off by δ before it
    rounds differs from that by one unit where a halfway point lies within δ: in a share 2δ of all results.
    """
    wanted, limit = np.asarray(want, dtype=np.float64), np.asarray(bound, dtype=np.float64)
    unit = ulp(wanted, output)
    narrow = output != _FLOAT32
    before = limit / unit - (0.5 if narrow else 0.0)
    used = (
        np.isfinite(wanted)
        & (limit / unit >= 0.25)
        & (before <= conditioned)
        & (np.abs(wanted) > output.smallest_normal)
    )
    nearest = _nearest(wanted, output)
    used &= nearest != wanted
    count = int(np.sum(used))
    if count < 200:
        return MeanError(0.0, math.inf, count)
    origin = nearest if narrow else wanted
    e = ((np.asarray(got).astype(np.float64) - origin) / unit * np.sign(wanted))[used]
    allowed = min(bias, float(np.mean(np.maximum(before[used], 0.0))) * (2 if narrow else 1))
    reach = 2 * float(np.max(limit[used] / unit[used]))
    chance = math.sqrt(2 * float(np.var(e)) * _SURE / count) + 7 * reach * _SURE / (3 * (count - 1))
    return MeanError(float(np.mean(e)), allowed + chance, count)
