"""The ``.approx`` instructions: exact results, correctly rounded, or as wrong as their documentation allows.

The bits that hardware returns are not documented, only limits on the error. By default an instruction returns
the mathematical result rounded to nearest (computed in float64, so about one result in 10⁸ may be its
neighbour). Under `perturbed` it errs, reproducibly: a hash of the operand's bits chooses an error within the
documented limit. A kernel that is right only thanks to lucky bits then fails.

========================  ==============================================  ====================
instruction               documented limit                                PTX ISA 9.1 section
========================  ==============================================  ====================
rcp.approx.f32            1 ulp                                           9.7.3.13
sqrt.approx.f32           relative 2⁻²³                                   9.7.3.15
rsqrt.approx.f32          relative 2⁻²²·⁹                                 9.7.3.16
sin, cos.approx.f32       absolute 2⁻²⁰·⁵ in [−2π, 2π],                   9.7.3.18, 9.7.3.19
                          2⁻¹⁴·⁷ in [−100π, 100π], beyond it none
                          (here: in proportion to abs(a))
lg2.approx.f32            absolute 2⁻²² in (½, 2), else relative 2⁻²²     9.7.3.20
ex2.approx.f32            2 ulp from the correctly rounded result         9.7.3.21
tanh.approx.f32           relative 2⁻¹¹                                   9.7.3.22
div.approx.f32            2 ulp for 2⁻¹²⁶ ≤ abs(b) ≤ 2¹²⁶                 9.7.3.8
div.full.f32              2 ulp                                           9.7.3.8
tanh.approx.f16, bf16     absolute 2⁻¹⁰·⁹⁸⁷, 2⁻⁸                          9.7.4.9
ex2.approx.f16, bf16      relative 2⁻⁹·⁹, 2⁻⁷                             9.7.4.10
========================  ==============================================  ====================

The inputs that the tables of those sections list (zeros, infinities, NaN) always give the listed results.
As in `floating`, the dtype of the operand is the type of the instruction.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.numbers.rounding import (
    BFLOAT16,
    BITS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    UINT32,
    UINT64,
    Array,
    canonical,
    flush,
    narrow,
    to_float64,
)

Limit: TypeAlias = Callable[[Array, Array], Array]

_HALF_ULP = {FLOAT16: 2.0**-11, BFLOAT16: 2.0**-8, FLOAT32: 2.0**-24}
_SMALLEST_ULP = {FLOAT16: 2.0**-24, BFLOAT16: 2.0**-133, FLOAT32: 2.0**-149}


class _Perturbation:
    """How far the approximations err: a share of the documented limit (0: not at all), and a seed."""

    share: float = 0.0
    seed: int = 0


_perturbation = _Perturbation()


@contextmanager
def perturbed(share: float = 1.0, seed: int = 0) -> Iterator[None]:
    """Let every ``.approx`` instruction err by up to `share` of its documented limit.

    Parameters
    ----------
    share : float
        Between 0 (correctly rounded) and 1 (anything the documentation allows).
    seed : int
        Chooses among the many sets of wrong bits; equal seeds give equal bits.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.3], np.float32)
    >>> with perturbed():
    ...     rough = ex2(x)
    >>> abs(int(rough.view(np.int32)[0]) - int(ex2(x).view(np.int32)[0])) <= 2
    True
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share is {share}, expected a number between 0 and 1")
    before = _perturbation.share, _perturbation.seed
    _perturbation.share, _perturbation.seed = share, seed
    try:
        yield
    finally:
        _perturbation.share, _perturbation.seed = before


def ex2(a: Array, *, ftz: bool = False) -> Array:
    """Return 2ᵃ (``ex2.approx``); the bfloat16 instruction always flushes."""
    ftz = ftz or a.dtype == BFLOAT16
    if a.dtype == FLOAT32:
        return _approximate(np.exp2, a, _ulps(2), ftz, steps=2)
    return _approximate(np.exp2, a, _relative(2.0**-9.9 if a.dtype == FLOAT16 else 2.0**-7), ftz)


def lg2(a: Array, *, ftz: bool = False) -> Array:
    """Return log₂ a (``lg2.approx``)."""

    def limit(x: Array, y: Array) -> Array:
        return 2.0**-22 * np.where((x > 0.5) & (x < 2), 1.0, np.abs(y))

    return _approximate(np.log2, a, limit, ftz)


def rcp(a: Array, *, ftz: bool = False) -> Array:
    """Return 1 / a (``rcp.approx``)."""
    return _approximate(np.reciprocal, a, _ulps(1), ftz)


def sqrt(a: Array, *, ftz: bool = False) -> Array:
    """Return √a (``sqrt.approx``)."""
    return _approximate(np.sqrt, a, _relative(2.0**-23), ftz)


def rsqrt(a: Array, *, ftz: bool = False) -> Array:
    """Return 1 / √a (``rsqrt.approx``), for float32 and float64."""
    if a.dtype == FLOAT64:  # a software routine without a documented limit
        return 1 / np.sqrt(a)
    return _approximate(lambda x: 1 / np.sqrt(x), a, _relative(2.0**-22.9), ftz)


def sin(a: Array, *, ftz: bool = False) -> Array:
    """Return sin a (``sin.approx``)."""
    return _approximate(np.sin, a, _angle, ftz)


def cos(a: Array, *, ftz: bool = False) -> Array:
    """Return cos a (``cos.approx``)."""
    return _approximate(np.cos, a, _angle, ftz)


def tanh(a: Array) -> Array:
    """Return tanh a (``tanh.approx``); subnormal numbers pass through."""
    if a.dtype == FLOAT32:
        return _approximate(np.tanh, a, _relative(2.0**-11), False)
    absolute = 2.0**-10.987 if a.dtype == FLOAT16 else 2.0**-8
    return _approximate(np.tanh, a, lambda x, y: np.full(y.shape, absolute), False)


def div(a: Array, b: Array, *, ftz: bool = False) -> Array:
    """Return a / b (``div.approx``): a times the reciprocal of b, which underflows for |b| > 2¹²⁶."""
    quotient = div_full(a, b, ftz=ftz)
    size = np.abs(b)
    if np.fmax.reduce(size, axis=None) > 2.0**126:
        huge = np.broadcast_to((size > 2.0**126) & (size < np.inf), quotient.shape)
        nothing = np.copysign(np.float32(0), a) * np.copysign(np.float32(1), b)
        product = np.where(np.isfinite(a), nothing, np.float32(np.nan))
        quotient = canonical(np.where(huge, product, quotient))
    return quotient


def div_full(a: Array, b: Array, *, ftz: bool = False) -> Array:
    """Return a / b (``div.full``)."""
    if ftz:
        a, b = flush(a), flush(b)
    if _perturbation.share:
        exact = a.astype(FLOAT64) / b
        quotient = _err(exact, exact, _ulps(2), _hash(a) ^ (_hash(b) >> 1), FLOAT32)
        quotient = np.where((exact == 0) | ~np.isfinite(exact) | np.isinf(b), (a / b), quotient)
    else:
        quotient = a / b
    return canonical(flush(quotient) if ftz else quotient)


def _approximate(
    function: Callable[[Array], Array], a: Array, limit: Limit, ftz: bool, steps: int = 0
) -> Array:
    """Apply `function` in float64, and round to nearest or err within `limit` (or by a few `steps`)."""
    if ftz:
        a = flush(a)
    if a.dtype == FLOAT32 and function in (np.sqrt, np.reciprocal) and not _perturbation.share:
        result = function(a)
    else:
        x = to_float64(a)
        exact = function(x)
        if not _perturbation.share:
            result = narrow(exact, a.dtype)
        else:
            if steps:
                result = _step(narrow(exact, a.dtype), _hash(a), steps)
            else:
                result = _err(x, exact, limit, _hash(a), a.dtype)
            # zeros and infinities give what their tables say
            result = np.where((x == 0) | ~np.isfinite(x) | (exact == 0), narrow(exact, a.dtype), result)
    return canonical(flush(result) if ftz else result)


def _err(x: Array, exact: Array, limit: Limit, chance: Array, dtype: np.dtype[Any]) -> Array:
    """Round `exact` after moving it by up to the limit, less what the rounding itself may add."""
    allowed = limit(x, exact)
    rounding = np.maximum(_HALF_ULP[dtype] * _binade(np.abs(exact) + allowed), _SMALLEST_ULP[dtype] / 2)
    budget = np.maximum(allowed - rounding, 0) * _perturbation.share
    moved = exact + budget * (chance * 2.0**-31 - 1)
    return narrow(np.where(np.isfinite(exact), moved, exact), dtype)


def _step(nearest: Array, chance: Array, steps: int) -> Array:
    """Move to one of the 2·steps + 1 nearest numbers; finite stays finite, and the sign stays."""
    reach = int(steps * _perturbation.share)
    offset = ((chance.astype(UINT64) * (2 * reach + 1)) >> 32).astype(np.int64) - reach
    bits = nearest.view(UINT32).astype(np.int64)
    moved = np.clip(bits + offset, 1, 0x7F7FFFFF).astype(UINT32).view(FLOAT32)
    result: Array = np.where((nearest == 0) | np.isinf(nearest), nearest, moved)
    return result


def _hash(a: Array) -> Array:
    """Return 32 well-mixed bits per lane, from the bits of the operand and the seed."""
    mixed = a.view(BITS[a.dtype]).astype(UINT32) ^ ((_perturbation.seed * 0x9E3779B1) & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed ^= mixed >> shift
        mixed *= np.uint32(factor)
    mixed ^= mixed >> 16
    return mixed


def _binade(size: Array) -> Array:
    """Return the power of two at or below each number."""
    power: Array = (size.view(UINT64) & 0x7FF0000000000000).view(FLOAT64)
    return power


def _relative(bound: float) -> Limit:
    return lambda x, y: bound * np.abs(y)


def _ulps(count: int) -> Limit:
    return lambda x, y: count * np.maximum(2.0**-23 * _binade(np.abs(y)), 2.0**-149)


def _angle(x: Array, y: Array) -> Array:
    size = np.abs(x)
    far = 2.0**-14.7 * np.maximum(size / (100 * np.pi), 1)
    limit: Array = np.where(size <= 2 * np.pi, 2.0**-20.5, far)
    return limit


__all__ = ["cos", "div", "div_full", "ex2", "lg2", "perturbed", "rcp", "rsqrt", "sin", "sqrt", "tanh"]
