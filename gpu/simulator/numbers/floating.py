"""Floating-point arithmetic as PTX defines it, on arrays of lanes.

One function per instruction; the type of an instruction is the dtype of its operands: float32, float64,
float16 or ``ml_dtypes.bfloat16``. A register file of bits is given as a view, and packed instructions are the
same functions on wider views: ``add(r.view(float16), s.view(float16)).view(uint32)`` is ``add.f16x2``.

Modifiers are keyword arguments: `rounding` ("rn", "rz", "rm", "rp"), `ftz` (subnormal operands and results
become zeros of the same sign), `sat` (the result is clamped to [0, 1], NaN becomes +0), `relu` (negative
results become +0). Every result is rounded exactly once. NaN results of float32 and the 16-bit types are
canonical, as on the hardware: payloads do not survive arithmetic.

Operands broadcast, have at least one dimension and one lane, and are never changed. The caller switches
NumPy's floating-point warnings off, once: ``with np.errstate(all="ignore")``.

The ``.approx`` instructions are in `approximate`, ``cvt`` in `conversion`, ``mma`` in `tensor_core`.
Semantics: PTX ISA 9.1, sections 9.7.3 (floating point) and 9.7.4 (half precision).
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from gaugeblock.gpu.simulator.numbers.lanes import FEW, every, some
from gaugeblock.gpu.simulator.numbers.rounding import (
    BFLOAT16,
    BITS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INFINITY,
    INT32,
    INT64,
    SMALLEST_NORMAL,
    UINT32,
    Array,
    Direction,
    canonical,
    directed_sum64,
    flush,
    narrow,
    narrow32,
    odd32,
    odd_sum,
    rectify,
    redirect,
    saturate,
    sum_error,
    to_float64,
    widen,
)

Property = Literal["finite", "infinite", "number", "notanumber", "normal", "subnormal"]

_LOWEST32 = np.iinfo(np.int32).min
_LOWEST64 = np.iinfo(np.int64).min


def add(a: Array, b: Array, rounding: Direction = "rn", *, ftz: bool = False, sat: bool = False) -> Array:
    """Return a + b (PTX ``add``, 9.7.3.3 and 9.7.4.1)."""
    if ftz:
        a, b = flush(a), flush(b)
    if rounding != "rn":
        total = _directed_sum(to_float64(a), to_float64(b), a.dtype, rounding)
    elif a.dtype == BFLOAT16:
        # 24 bits ≥ 2·8 + 2: rounding the sum of two bfloat16 to float32 first is harmless.
        total = narrow32(widen(a) + widen(b), BFLOAT16)
    else:
        total = a + b
    return _finish(total, ftz, sat)


def sub(a: Array, b: Array, rounding: Direction = "rn", *, ftz: bool = False, sat: bool = False) -> Array:
    """Return a − b (PTX ``sub``, 9.7.3.4 and 9.7.4.2)."""
    if rounding == "rn" and not ftz and a.dtype != BFLOAT16:
        return _finish(a - b, ftz, sat)
    return add(a, neg(b), rounding, ftz=ftz, sat=sat)


def mul(a: Array, b: Array, rounding: Direction = "rn", *, ftz: bool = False, sat: bool = False) -> Array:
    """Return a · b (PTX ``mul``, 9.7.3.5 and 9.7.4.3)."""
    if ftz:
        a, b = flush(a), flush(b)
    if rounding == "rn" and a.dtype != BFLOAT16:
        product = a * b
    elif a.dtype == FLOAT64:
        product = _exactly(lambda x, y: _multiply(x, y, rounding), a, b)
    else:
        product = narrow(to_float64(a) * to_float64(b), a.dtype, rounding)
    return _finish(product, ftz, sat)


def fma(
    a: Array,
    b: Array,
    c: Array,
    rounding: Direction = "rn",
    *,
    ftz: bool = False,
    sat: bool = False,
    relu: bool = False,
) -> Array:
    """Return a · b + c, rounded once (PTX ``fma``, 9.7.3.6 and 9.7.4.4)."""
    if ftz:
        a, b, c = flush(a), flush(b), flush(c)
    if a.dtype == FLOAT32:
        result = _fma32(a, b, c, rounding)
    elif a.dtype == FLOAT64:
        if rounding == "rn":
            result = _fma64(a, b, c)
        else:
            result = _exactly(lambda x, y, z: _multiply_add(x, y, z, rounding), a, b, c)
    else:
        result = _fma16(a, b, c)
    result = _finish(result, ftz, sat)
    return rectify(result) if relu else result


def div(a: Array, b: Array, rounding: Direction = "rn", *, ftz: bool = False) -> Array:
    """Return a / b, float32 or float64 (PTX ``div.rnd``, 9.7.3.8)."""
    if ftz:
        a, b = flush(a), flush(b)
    if rounding == "rn":
        quotient = a / b
    elif a.dtype == FLOAT32:
        # A quotient of 24-bit numbers is a 24-bit number or at least 2⁻⁴⁸ away from every one (relatively):
        # float64 never rounds it onto a float32 number, hence never changes its direction.
        quotient = narrow(a.astype(FLOAT64) / b, FLOAT32, rounding)
    else:
        quotient = _exactly(lambda x, y: _divide(x, y, rounding), a, b)
    return _finish(quotient, ftz, False)


def rcp(a: Array, rounding: Direction = "rn", *, ftz: bool = False) -> Array:
    """Return 1 / a, float32 or float64 (PTX ``rcp.rnd``, 9.7.3.13)."""
    return div(np.ones(1, a.dtype), a, rounding, ftz=ftz)


def sqrt(a: Array, rounding: Direction = "rn", *, ftz: bool = False) -> Array:
    """Return √a, float32 or float64 (PTX ``sqrt.rnd``, 9.7.3.15)."""
    if ftz:
        a = flush(a)
    if rounding == "rn":
        root = np.sqrt(a)
    elif a.dtype == FLOAT32:  # as for division: no root comes within 2⁻⁵⁰ of a float32 number that it misses
        root = narrow(np.sqrt(a.astype(FLOAT64)), FLOAT32, rounding)
    else:
        root = _exactly(lambda x: _root(x, rounding), a)
    return _finish(root, ftz, False)


def minimum(
    a: Array,
    b: Array,
    *,
    ftz: bool = False,
    nan: bool = False,
    xorsign: bool = False,
    magnitude: bool = False,
) -> Array:
    """Return the smaller operand (PTX ``min``, 9.7.3.11 and 9.7.4.7); −0 is smaller than +0.

    A NaN operand is ignored unless `nan` (``.NaN``) is set. `magnitude` (``.abs``) compares absolute values;
    with `xorsign` (``.xorsign.abs``) the result then gets the product of the operands' signs. The instruction
    with three operands is two calls, `ftz` and `xorsign` aside.
    """
    if magnitude or xorsign:
        return _with_xorsign(minimum, a, b, ftz, nan, xorsign)
    if ftz:
        a, b = flush(a), flush(b)
    smaller = _select(np.minimum if nan else np.fmin, a, b)
    bits = smaller.view(BITS[smaller.dtype])
    if some(bits == 0):  # a +0 that may have won against −0: where equal, the signs are or-ed
        equal = a == b
        bits |= equal * (a.view(bits.dtype) | b.view(bits.dtype))
    return canonical(smaller)


def maximum(
    a: Array,
    b: Array,
    *,
    ftz: bool = False,
    nan: bool = False,
    xorsign: bool = False,
    magnitude: bool = False,
) -> Array:
    """Return the larger operand (PTX ``max``, 9.7.3.12 and 9.7.4.8); the modifiers are those of `minimum`."""
    if magnitude or xorsign:
        return _with_xorsign(maximum, a, b, ftz, nan, xorsign)
    if ftz:
        a, b = flush(a), flush(b)
    larger = _select(np.maximum if nan else np.fmax, a, b)
    bits = larger.view(BITS[larger.dtype])
    sign = 1 << (8 * larger.itemsize - 1)
    if some(bits == sign):  # a −0 that may have won against +0
        zeros = (bits == sign) & ~(np.signbit(widen(a)) & np.signbit(widen(b)))
        bits[zeros & (a == b)] = 0
    return canonical(larger)


def neg(a: Array, *, ftz: bool = False) -> Array:
    """Return −a (PTX ``neg``, 9.7.3.10 and 9.7.4.5): only the sign bit changes, of NaN too."""
    bits = (flush(a) if ftz else a).view(BITS[a.dtype])
    negated: Array = (bits ^ (1 << (8 * a.itemsize - 1))).view(a.dtype)
    return negated


def absolute(a: Array, *, ftz: bool = False) -> Array:
    """Return |a| (PTX ``abs``, 9.7.3.9 and 9.7.4.6): only the sign bit changes, of NaN too."""
    bits = (flush(a) if ftz else a).view(BITS[a.dtype])
    cleared: Array = (bits & ((1 << (8 * a.itemsize - 1)) - 1)).view(a.dtype)
    return cleared


def copysign(a: Array, b: Array) -> Array:
    """Return b with the sign of a (PTX ``copysign``, 9.7.3.2: the sign comes first)."""
    sign = 1 << (8 * a.itemsize - 1)
    bits: Array = (a.view(BITS[a.dtype]) & sign) | (b.view(BITS[b.dtype]) & (sign - 1))
    return bits.view(b.dtype)


def testp(a: Array, prop: Property) -> Array:
    """Return a boolean per lane (PTX ``testp``, 9.7.3.1); zero counts as normal."""
    magnitude = absolute(a).view(BITS[a.dtype])
    infinity, normal = INFINITY[a.dtype], SMALLEST_NORMAL[a.dtype]
    tests: dict[str, Callable[[], Array]] = {
        "finite": lambda: magnitude < infinity,
        "infinite": lambda: magnitude == infinity,
        "number": lambda: magnitude <= infinity,
        "notanumber": lambda: magnitude > infinity,
        "normal": lambda: ((magnitude >= normal) & (magnitude < infinity)) | (magnitude == 0),
        "subnormal": lambda: (magnitude > 0) & (magnitude < normal),
    }
    return tests[prop]()


def _finish(result: Array, ftz: bool, sat: bool) -> Array:
    """Apply what follows the rounding: clamping or flushing, and the one NaN."""
    if sat:
        result = saturate(result)
    if ftz:
        result = flush(result)
    return canonical(result)


def _fma32(a: Array, b: Array, c: Array, rounding: Direction) -> Array:
    """Fused multiply-add of float32.

    The product is exact in float64; the sum is rounded to 53 bits and then to 24. That goes wrong only if the
    53-bit sum is inexact and sits on a tie of float32: its last 29 bits are 1 followed by zeros. Subnormal
    results have their ties elsewhere, so all of them (and the smallest normal number, which they round up to)
    are looked at. A result that underflows to zero comes from an exact sum: addends down to 2⁻¹⁴⁹ and
    products of 48 bits cannot cancel below it and still need more than 53.
    """
    product = np.multiply(a, b, dtype=FLOAT64)
    if rounding != "rn":
        return _directed_sum(product, c.astype(FLOAT64), FLOAT32, rounding)
    total = product + c
    result: Array = total.astype(FLOAT32)
    ties = total.view(INT64) << 35
    magnitude = (result.view(UINT32) << 1) - 1
    if total.size <= FEW:
        sure = not (some(ties == _LOWEST64) or some(magnitude < 0x01000000))
    else:
        sure = ties.min() != _LOWEST64 and magnitude.min() >= 0x01000000
    if not sure:
        doubtful = (ties == _LOWEST64) | (magnitude < 0x01000000)
        exact = odd_sum(
            np.broadcast_to(product, total.shape)[doubtful],
            np.broadcast_to(c, total.shape)[doubtful].astype(FLOAT64),
        )
        result[doubtful] = exact.astype(FLOAT32)
    return result


def _directed_sum(x: Array, y: Array, dtype: np.dtype[Any], rounding: Direction) -> Array:
    """Return x + y, both float64, rounded once to float32 or float64 in a direction.

    The float64 sum tells the direction unless it lies on a float32 number without being exact; rounding it to
    odd moves it off that number, to the right side.
    """
    total = x + y
    if dtype == FLOAT64:
        result = directed_sum64(x, y, total, rounding)
    else:
        result = total.astype(FLOAT32)
        back = result.astype(FLOAT64)
        suspects = back == total
        if some(suspects):
            total[suspects] = odd_sum(
                np.broadcast_to(x, total.shape)[suspects], np.broadcast_to(y, total.shape)[suspects]
            )
        redirect(result, back, total, rounding)
    if rounding == "rm":  # an exact zero sum of numbers of different sign is −0 when rounding down
        zeros = total == 0
        if some(zeros):
            result[zeros & (np.signbit(x) | np.signbit(y))] = -0.0
    return result


def _fma16(a: Array, b: Array, c: Array) -> Array:
    """Fused multiply-add of float16 or bfloat16, to nearest.

    float16: a float64 sum is inexact only if |c| ≥ 2⁴ and |ab| < 2⁻¹⁴, and then it is nowhere near a tie of
    float16. bfloat16 has the exponents of float32, so ties are settled as in `_fma32`.
    """
    product = to_float64(a) * to_float64(b)
    addend = to_float64(c)
    total = product + addend
    if a.dtype == FLOAT16:
        return total.astype(FLOAT16)
    result = total.astype(FLOAT32)
    if (result.view(INT32) << 16).min() == _LOWEST32:
        ties = (result.view(INT32) << 16) == _LOWEST32
        shape = total.shape
        exact = odd_sum(np.broadcast_to(product, shape)[ties], np.broadcast_to(addend, shape)[ties])
        result[ties] = odd32(exact)
    return narrow32(result, BFLOAT16)


def _fma64(a: Array, b: Array, c: Array) -> Array:
    """Fused multiply-add of float64, to nearest (Boldo and Melquiond's algorithm 5).

    Error-free transformations need room: products below 2⁻⁹⁰⁰ or above 2⁹⁰⁰ and addends above 2¹⁰⁰⁰ go
    through exact integers instead.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    product = a * b
    error = _product_error(a, b, product)
    high = c + error
    low = sum_error(c, error, high)
    total = product + high
    result: Array = total + odd_sum(low, sum_error(product, high, total))
    exact_zero = (a == 0) | (b == 0)
    room = (np.abs(product) >= 2.0**-900) | exact_zero
    room &= np.maximum(np.abs(a), np.abs(b)) < 2.0**900
    room &= (np.abs(product) < 2.0**900) & (np.abs(c) < 2.0**1000)
    if some(exact_zero):
        result = np.where(exact_zero, product + c, result)  # keeps the sign of zero
    if not every(room):
        exact = _exactly(lambda x, y, z: _multiply_add(x, y, z, "rn"), a, b, c, where=~room)
        result = np.where(room, result, exact)
    return result


def _product_error(a: Array, b: Array, product: Array) -> Array:
    """Return a·b − product exactly, given product = a·b rounded to nearest (Dekker, Veltkamp)."""
    scaled = a * 134217729.0  # 2²⁷ + 1
    a_high = scaled - (scaled - a)
    a_low = a - a_high
    scaled = b * 134217729.0
    b_high = scaled - (scaled - b)
    b_low = b - b_high
    error: Array = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return error


def _select(choose: np.ufunc, a: Array, b: Array) -> Array:
    """Apply NumPy's minimum or maximum, which bfloat16 needs to be widened for."""
    if a.dtype == BFLOAT16:
        return narrow32(choose(widen(a), widen(b)), BFLOAT16)
    chosen: Array = choose(a, b)
    return chosen


def _with_xorsign(
    choose: Callable[..., Array], a: Array, b: Array, ftz: bool, nan: bool, xorsign: bool
) -> Array:
    """Choose by magnitude; then, where not NaN, set the sign to the exclusive or of the operands' signs."""
    chosen = choose(absolute(a), absolute(b), ftz=ftz, nan=nan)
    if xorsign:
        bits = chosen.view(BITS[chosen.dtype])
        sign = (a.view(bits.dtype) ^ b.view(bits.dtype)) & (1 << (8 * a.itemsize - 1))
        bits |= sign * (bits <= INFINITY[chosen.dtype])
    return chosen


# ---- float64 in a direction, one lane at a time: rare in kernels, so exact integers are fast enough ----


def _exactly(scalar: Callable[..., float], *operands: Array, where: Array | None = None) -> Array:
    """Apply a scalar function lane by lane (only in the lanes of `where`, if given)."""
    lanes = np.broadcast_arrays(*operands)
    result = np.zeros(lanes[0].shape, FLOAT64)
    chosen = np.ndindex(result.shape) if where is None else zip(*np.nonzero(where), strict=True)
    for index in chosen:
        result[index] = scalar(*(float(lane[index]) for lane in lanes))
    return result


def _scaled(x: float) -> tuple[int, int]:
    """Return integers (m, e) with x = m·2ᵉ."""
    fraction, exponent = math.frexp(x)
    return int(math.ldexp(fraction, 53)), exponent - 53


def _round64(m: int, e: int, rounding: Direction) -> float:
    """Return m·2ᵉ, m ≠ 0, rounded to float64."""
    size, negative = abs(m), m < 0
    shift = max(size.bit_length() - 53, -1074 - e)
    if shift > 0:
        size, rest = size >> shift, size & ((1 << shift) - 1)
        half = 1 << (shift - 1)
        up = {
            "rn": rest > half or (rest == half and size & 1 == 1),
            "rz": False,
            "rm": negative and rest > 0,
            "rp": not negative and rest > 0,
        }[rounding]
        size, e = size + up, e + shift
    try:
        magnitude = math.ldexp(size, e)
    except OverflowError:
        stays_finite = rounding == "rz" or rounding == ("rp" if negative else "rm")
        magnitude = float(np.finfo(np.float64).max) if stays_finite else math.inf
    return -magnitude if negative else magnitude


def _multiply_add(a: float, b: float, c: float, rounding: Direction) -> float:
    """Return a·b + c rounded once."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        infinite_product = math.isinf(a) or math.isinf(b)
        nan_product = infinite_product and (a == 0 or b == 0)
        if nan_product or any(map(math.isnan, (a, b, c))):
            return math.nan
        if not infinite_product:
            return c
        product = math.copysign(math.inf, math.copysign(1, a) * math.copysign(1, b))
        return product + c
    (am, ae), (bm, be), (cm, ce) = _scaled(a), _scaled(b), _scaled(c)
    pm, pe = am * bm, ae + be
    e = min(pe, ce)
    m = (pm << (pe - e)) + (cm << (ce - e))
    if m:
        return _round64(m, e, rounding)
    signs = math.copysign(1, a) * math.copysign(1, b), math.copysign(1, c)
    if pm == 0 and cm == 0 and signs[0] == signs[1]:
        return math.copysign(0.0, signs[1])
    return -0.0 if rounding == "rm" else 0.0


def _multiply(a: float, b: float, rounding: Direction) -> float:
    """Return a·b rounded once: a zero of the product's sign as addend changes nothing."""
    return _multiply_add(a, b, math.copysign(0.0, math.copysign(1, a) * math.copysign(1, b)), rounding)


def _divide(a: float, b: float, rounding: Direction) -> float:
    """Return a / b rounded once."""
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return float(np.float64(a) / np.float64(b))
    (am, ae), (bm, be) = _scaled(a), _scaled(b)
    quotient, rest = divmod(abs(am) << 1200, abs(bm))
    m = (quotient << 1) | (rest > 0)  # the last bit is sticky: far below every rounding position
    return _round64(m if (am < 0) == (bm < 0) else -m, ae - be - 1201, rounding)


def _root(a: float, rounding: Direction) -> float:
    """Return √a rounded once."""
    if not math.isfinite(a) or a <= 0:
        return float(np.sqrt(np.float64(a)))
    m, e = _scaled(a)
    m, e = (m << 201, e - 201) if e % 2 else (m << 200, e - 200)
    root = math.isqrt(m)
    return _round64((root << 1) | (root * root < m), e // 2 - 1, rounding)


__all__ = [
    "absolute",
    "add",
    "copysign",
    "div",
    "fma",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "rcp",
    "sqrt",
    "sub",
    "testp",
]
