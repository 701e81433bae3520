"""One rounding, correctly: from float64 to a narrower format, in every direction.

A simulated instruction computes in float64 and must then round *once*. Two tools make that possible:

- **Round to odd** (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
  rounding to odd", IEEE TC 57(4), 2008). If an inexact float64 result has its last bit set, no later rounding
  to a format at least two bits shorter can mistake it for a tie or for an exact value.
- **Triggers.** Rounding twice only goes wrong where the first result sits exactly on a tie of the second
  format. Ties are rare, so a reduction over the lanes asks whether there are any, and only those lanes pay.

Formats are NumPy dtypes: float16, float32, float64 and ``ml_dtypes.bfloat16``. The last one serves as a
label for 16-bit patterns only: its own arithmetic and its cast from float64 round twice and are not used.

The functions expect arrays with at least one dimension and one lane, and NumPy's floating-point warnings
switched off by the caller (``np.errstate(all="ignore")``, once per launch and not once per instruction).
"""

from typing import Any, Literal, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from gaugeblock.gpu.simulator.numbers.lanes import FEW

Array: TypeAlias = npt.NDArray[Any]
Direction: TypeAlias = Literal["rn", "rz", "rm", "rp"]

FLOAT16 = np.dtype(np.float16)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
UINT16 = np.dtype(np.uint16)
UINT32 = np.dtype(np.uint32)
UINT64 = np.dtype(np.uint64)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)

#: The integer with the bits of each format, the bits of its +Inf, and the NaN that PTX instructions produce.
BITS: dict[np.dtype[Any], np.dtype[Any]] = {
    FLOAT16: UINT16,
    BFLOAT16: UINT16,
    FLOAT32: UINT32,
    FLOAT64: UINT64,
}
INFINITY = {FLOAT16: 0x7C00, BFLOAT16: 0x7F80, FLOAT32: 0x7F800000, FLOAT64: 0x7FF0000000000000}
CANONICAL_NAN = {FLOAT16: 0x7FFF, BFLOAT16: 0x7FFF, FLOAT32: 0x7FFFFFFF, FLOAT64: 0x7FFFFFFFFFFFFFFF}
#: The smallest positive normal number of each format, as bits.
SMALLEST_NORMAL = {FLOAT16: 0x0400, BFLOAT16: 0x0080, FLOAT32: 0x00800000, FLOAT64: 0x0010000000000000}

_LOWEST32 = np.iinfo(np.int32).min

# An instruction on 16384 lanes makes arrays of 128 KiB, exactly where glibc begins to ask the system for each
# array and to give it back at once: 20 times slower. Freeing one larger array moves that limit, for the whole
# process (mallopt(3), "dynamic mmap threshold"). The memory is never touched, so nothing is really used.
_untouched = np.empty(1 << 24, np.uint8)
del _untouched


def widen(a: Array) -> Array:
    """Return bfloat16 as float32, any other format as it is: exact."""
    if a.dtype != BFLOAT16:
        return a
    wide: Array = (a.view(UINT16).astype(UINT32) << 16).view(FLOAT32)
    return wide


def to_float64(a: Array) -> Array:
    """Return any floating-point array as float64: exact."""
    return widen(a).astype(FLOAT64)


def canonical(a: Array) -> Array:
    """Replace every NaN by the one that the hardware produces, in place; float64 keeps its payloads.

    PTX ISA 9.7.3: single-precision instructions give NaN 0x7fffffff; half precision 0x7fff (9.7.4).
    """
    if a.dtype == FLOAT32:
        # Each propagates NaN, and only that can make a sum of squares one; cheaper than isnan and any.
        square = np.vdot(a, a) if a.size <= FEW else np.maximum.reduce(a, axis=None)
        if square != square:
            a.view(UINT32)[np.isnan(a)] = 0x7FFFFFFF
    elif a.dtype != FLOAT64:
        magnitude = a.view(UINT16) << 1
        limit = 2 * INFINITY[a.dtype]
        if magnitude.max() > limit:
            a.view(UINT16)[magnitude > limit] = 0x7FFF
    return a


def flush(a: Array) -> Array:
    """Return `a` with subnormal numbers replaced by zeros of the same sign (``.ftz``)."""
    magnitude = a.view(BITS[a.dtype]) << 1
    limit = 2 * SMALLEST_NORMAL[a.dtype] - 1
    if (magnitude - 1).min() >= limit:  # zero wraps around to the largest integer: no subnormal here
        return a
    bits = a.view(BITS[a.dtype]).copy()
    bits[magnitude <= limit] &= 1 << (8 * a.itemsize - 1)
    flushed: Array = bits.view(a.dtype)
    return flushed


def saturate(a: Array) -> Array:
    """Clamp to [0, 1], in the format of `a`; NaN and −0 become +0 (``.sat``)."""
    if a.dtype == BFLOAT16:
        return narrow32(saturate(widen(a)), BFLOAT16)
    clamped: Array = np.fmin(np.fmax(a, a.dtype.type(0)), a.dtype.type(1))
    clamped += a.dtype.type(0)  # −0 + 0 is +0
    return clamped


def rectify(a: Array) -> Array:
    """Replace negative numbers and −0 by +0, and NaN by the canonical NaN (``.relu``)."""
    bits = a.view(BITS[a.dtype]).copy()
    sign = 1 << (8 * a.itemsize - 1)
    bits[(bits >= sign) & (bits <= sign + INFINITY[a.dtype])] = 0
    return canonical(bits.view(a.dtype))


def odd_sum(x: Array, y: Array) -> Array:
    """Return x + y in float64, rounded to odd (NaN and infinities as in IEEE 754)."""
    total: Array = x + y
    error = sum_error(x, y, total)
    bits = total.view(INT64)
    inexact_even = (np.abs(error) > 0) & ((bits & 1) == 0)
    outwards = (error > 0) == (total > 0)
    bits += inexact_even * np.where(outwards, 1, -1)
    return total


def sum_error(x: Array, y: Array, total: Array) -> Array:
    """Return (x + y) − total exactly, given total = x + y rounded to nearest (Knuth's TwoSum)."""
    shift = total - x
    error: Array = (x - (total - shift)) + (y - shift)
    return error


def directed_sum64(x: Array, y: Array, total: Array, rounding: Direction) -> Array:
    """Return x + y rounded in a direction to float64, given it rounded to nearest."""
    error = sum_error(x, y, total)
    overflow = np.isinf(total) & np.isfinite(x) & np.isfinite(y)
    inwards = (error > 0) != (total > 0)
    wrong = {"rz": inwards, "rm": error < 0, "rp": error > 0}[rounding] & (np.abs(error) > 0)
    result: Array = total.copy()
    bits = result.view(INT64)
    bits += wrong * np.where(inwards, -1, 1)
    kept = {"rz": overflow & False, "rm": overflow & (total < 0), "rp": overflow & (total > 0)}[rounding]
    bits[overflow & ~kept] -= 1  # the largest finite number
    return result


def odd32(x: Array) -> Array:
    """Return float64 `x` as float32, rounded to odd."""
    result = x.astype(FLOAT32)
    back = result.astype(FLOAT64)
    bits = result.view(UINT32)
    bits -= np.abs(back) > np.abs(x)  # first towards zero …
    bits |= (back != x) & (x == x)  # … then the last bit remembers what was cut off
    return result


def narrow(x: Array, dtype: np.dtype[Any], rounding: Direction = "rn") -> Array:
    """Return float64 `x` rounded once to `dtype`, in the given direction.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1 + 2**-11 + 2**-40])
    >>> narrow(x, np.dtype(np.float16))[0] == 1 + 2**-10  # through float32 it would be 1.0
    np.True_
    """
    if dtype == BFLOAT16:
        if rounding != "rn":
            return narrow32(narrow(x, FLOAT32, rounding), BFLOAT16, rounding)
        return narrow32(_float32_for_bfloat16(x), BFLOAT16)
    result = x.astype(dtype)
    if rounding != "rn" and dtype != FLOAT64:
        redirect(result, result.astype(FLOAT64), x, rounding)
    return result


def narrow32(x: Array, dtype: np.dtype[Any], rounding: Direction = "rn") -> Array:
    """Return float32 `x` rounded once to float16 or bfloat16, in the given direction."""
    if dtype != BFLOAT16:
        result = x.astype(dtype)
        if rounding != "rn":
            redirect(result, result.astype(FLOAT32), x, rounding)
        return canonical(result)
    bits = x.view(UINT32)
    if rounding == "rn":
        rounded = bits >> 16
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits
        rounded >>= 16
    else:
        rounded = bits >> 16
        if rounding != "rz":
            away = bits >> 31 if rounding == "rm" else (bits >> 31) ^ 1
            rounded += away & ((bits & 0xFFFF) != 0)
    narrowed = rounded.astype(UINT16)
    largest = np.maximum.reduce(x, axis=None)
    if largest != largest:
        narrowed[np.isnan(x)] = 0x7FFF
    return narrowed.view(BFLOAT16)


def _float32_for_bfloat16(x: Array) -> Array:
    """Round float64 to float32 such that rounding it on to bfloat16 is right: to odd where that matters."""
    result = x.astype(FLOAT32)
    if (result.view(INT32) << 16).min() == _LOWEST32:
        ties = (result.view(INT32) << 16) == _LOWEST32
        result[ties] = odd32(x[ties])
    return result


def redirect(nearest: Array, back: Array, x: Array, rounding: Direction) -> None:
    """Turn `nearest`, x rounded to nearest, into x rounded in a direction, in place.

    `back` is `nearest` in the format of `x`. Neighbouring floating-point numbers have neighbouring bit
    patterns, also across Inf and zero. Since rounding to nearest keeps the sign of zero, a step never crosses
    from +0 to −0.
    """
    bits = nearest.view(BITS[nearest.dtype])
    if rounding == "rz":
        bits -= np.abs(back) > np.abs(x)
        return
    negative = bits >> (8 * nearest.itemsize - 1)
    if rounding == "rm":
        bits += (back > x) * ((negative << 1) - 1)
    else:
        bits += (back < x) * (1 - (negative << 1))
