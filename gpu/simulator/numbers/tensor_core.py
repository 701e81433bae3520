"""``mma``: products and sums of small matrices as tensor cores compute them, for stacks of tiles.

Two models of one instruction D = A·B + C:

- ``truncating`` (the default) follows the hardware as far as it has been measured. The products are exact.
  They and the addend are aligned to the largest exponent among them and cut off after F fractional bits,
  towards zero; the integers are added exactly; the sum is cut off to float32 (or rounded to float16). F = 23
  on Volta, 24 from Turing to Ada, 25 on Hopper and Blackwell; for floats of eight bits 13 on Hopper. The
  exponent of a product is the sum of the exponents of its factors, a subnormal factor having the smallest
  exponent of its type; zeros do not count.
- ``exact`` adds without any error and rounds once, to nearest: what the instruction would do ideally. A
  kernel whose verdict depends on the model depends on undocumented behaviour.

NaN operands, Inf·0 and Inf − Inf give the canonical NaN, other infinities an infinity. Zero results are +0.

Sources: Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS 7:e330
(2021); "MMA-Sim", arXiv 2511.10909. The caller switches NumPy's floating-point warnings off.
"""

from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.numbers.floating import fma
from gaugeblock.gpu.simulator.numbers.rounding import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    UINT32,
    Array,
    canonical,
    narrow,
    to_float64,
)

Model: TypeAlias = Literal["truncating", "exact"]
Operand: TypeAlias = Literal["f16", "bf16", "tf32", "e4m3", "e5m2"]

FLOAT8_BITS = 13
"""F for floats of eight bits, on Hopper."""
_SMALLEST_EXPONENT = {"f16": -14, "bf16": -126, "tf32": -126, "e4m3": -6, "e5m2": -14}
_NOTHING = -20000  # the "exponent" of a zero: below that of any product
_TILES_AT_ONCE = 128  # 128·16·8 outputs in float64 stay in the second-level cache


def fraction_bits(compute_capability: tuple[int, int]) -> int:
    """Return F, the fractional bits kept in an alignment, of the tensor cores of a device.

    Examples
    --------
    >>> fraction_bits((7, 0)), fraction_bits((8, 6)), fraction_bits((9, 0))
    (23, 24, 25)
    """
    if compute_capability < (7, 5):
        return 23
    return 24 if compute_capability < (9, 0) else 25


def mma(
    a: Array,
    b: Array,
    c: Array,
    *,
    operand: Operand,
    other: Operand | None = None,
    bits: int = 24,
    block: int | None = None,
    model: Model = "truncating",
) -> Array:
    """Return a·b + c for stacks of matrices.

    Parameters
    ----------
    a, b : numpy.ndarray
        Matrices of shape (L, M, k) and (L, k, N): float16, ``bfloat16``, floats of eight bits, or float32
        holding tf32. The last 13 bits of a tf32 operand are ignored, as the hardware does.
    c : numpy.ndarray
        Addend of shape (L, M, N), float32 or float16; its type is the type of the result.
    operand, other : {"f16", "bf16", "tf32", "e4m3", "e5m2"}
        Type of `a`, and of `b` if that is another.
    bits : int
        F above; see `fraction_bits`.
    block : int, optional
        How many products are added at once: k unless given. Longer sums go block by block.
    model : {"truncating", "exact"}
        See the module's introduction.

    Returns
    -------
    numpy.ndarray
        Shape (L, M, N), of the type of `c`.

    Examples
    --------
    >>> a = np.full((1, 1, 2), 1, np.float16)
    >>> b = np.full((1, 2, 1), 2.0**-14, np.float16)
    >>> c = np.full((1, 1, 1), 2.0**11, np.float32)  # 2¹¹ + 2·2⁻¹⁴ aligned to 2¹¹, 24 bits: all is cut off
    >>> mma(a, b, c, operand="f16").item(), mma(a, b, c, operand="f16", model="exact").item()
    (2048.0, 2048.0)
    >>> mma(a, b, c, operand="f16", bits=25).item()
    2048.0
    """
    if operand == "tf32":
        a = (a.view(UINT32) & 0xFFFFE000).view(FLOAT32)
        b = (b.view(UINT32) & 0xFFFFE000).view(FLOAT32)
    step = block or a.shape[-1]
    smallest = _SMALLEST_EXPONENT[operand], _SMALLEST_EXPONENT[other or operand]
    result = np.empty(c.shape, c.dtype)
    for first in range(0, len(c), _TILES_AT_ONCE):
        part = slice(first, first + _TILES_AT_ONCE)
        # Tiles come last, where NumPy's inner loop runs: (k, M, 1, L) and (k, 1, N, L); the product of two
        # slices is one term of every output.
        left = np.ascontiguousarray(to_float64(a[part]).transpose(2, 1, 0))[:, :, None]
        right = np.ascontiguousarray(to_float64(b[part]).transpose(1, 2, 0))[:, None]
        total = np.ascontiguousarray(c[part].transpose(1, 2, 0))
        for k in range(0, len(left), step):
            terms = left[k : k + step], right[k : k + step]
            exact = model == "exact"
            total = _exact(*terms, total) if exact else _truncating(*terms, total, smallest, bits)
        result[part] = total.transpose(2, 0, 1)
    return result


def mma_float64(a: Array, b: Array, c: Array) -> Array:
    """Return a·b + c of float64: one fused multiply-add after the other, as k ascends."""
    total = c.reshape(-1)
    for k in range(a.shape[-1]):
        x, y = np.broadcast_arrays(a[:, :, k, None], b[:, k, None])
        total = fma(x.reshape(-1), y.reshape(-1), total)
    return total.reshape(c.shape)


def mma_integers(a: Array, b: Array, c: Array, clamped: bool = False) -> Array:
    """Return a·b + c of bytes added to int32: wrapped, or clamped."""
    total = (a.astype(FLOAT64) @ b.astype(FLOAT64)).astype(
        np.int64
    ) + c  # exact: products' sums are below 2²²
    if clamped:
        total = np.clip(total, np.iinfo(np.int32).min, np.iinfo(np.int32).max)
    return total.astype(np.int32)


def mma_bits(a: Array, b: Array, c: Array, operator: str) -> Array:
    """Return c plus, for each row and column, how many bits of ``a and b``, or of ``a xor b``, are ones."""
    x, y = a.astype(FLOAT64), b.astype(FLOAT64)
    both = x @ y
    ones = both if operator == "and" else x.sum(2, keepdims=True) + y.sum(1, keepdims=True) - 2 * both
    return (ones.astype(np.int64) + c).astype(np.int32)


def plus_zero(c: Array) -> Array:
    """Return what `mma` does for products that are all zero: c, with +0 for −0, and one NaN for all.

    Examples
    --------
    >>> plus_zero(np.float32([-0.0, 1.5, -np.inf]))
    array([ 0. ,  1.5, -inf], dtype=float32)
    """
    return canonical(c + c.dtype.type(0))


def _truncating(left: Array, right: Array, c: Array, smallest: tuple[int, int], bits: int) -> Array:
    """Add aligned and truncated terms, and truncate the sum to the type of `c`."""
    addend = c.astype(FLOAT64)
    largest = _exponents(addend, -126 if c.dtype == FLOAT32 else -14)
    left_exponents, right_exponents = map(_exponents, (left, right), smallest)
    exponent = np.empty_like(largest)
    for x, y in zip(left_exponents, right_exponents, strict=True):
        np.maximum(largest, np.add(x, y, out=exponent), out=largest)
    largest = np.maximum(largest, -400).astype(np.int64)  # nothing but zeros: any exponent will do
    to_unit = ((bits - largest + 1023) << 52).view(FLOAT64)  # 2^(F − e): a term becomes an integer
    total = np.trunc(addend * to_unit)
    term = np.empty_like(total)
    for x, y in zip(left, right, strict=True):
        np.multiply(x, y, out=term)
        term *= to_unit
        total += np.trunc(term, out=term)
    total *= ((largest - bits + 1023) << 52).view(FLOAT64)
    result = narrow(total, FLOAT32, "rz") if c.dtype == FLOAT32 else narrow(total, FLOAT16)
    result += c.dtype.type(0)  # −0 becomes +0
    overflow = np.abs(total) >= 2.0**128  # truncation would stop at the largest finite number
    if overflow.any():
        result[overflow] = np.copysign(np.inf, total[overflow])
    return _with_special_values(result, left, right, addend)


def _exponents(x: Array, smallest: int) -> Array:
    """Return the exponent field of float64 numbers, at least `smallest`; zeros have none."""
    exponents = ((x.view(np.uint64) << 1) >> 53).astype(np.int16) - 1023
    np.maximum(exponents, smallest, out=exponents)
    exponents[x == 0] = _NOTHING // 2
    return exponents


def _exact(left: Array, right: Array, c: Array) -> Array:
    """Add all terms without error, and round once to the type of `c`.

    Every rounding error of a float64 sum is itself a float64 number (TwoSum), so the sum is `total` plus the
    sum of `errors`. Where that leaves any doubt about the rounding, exact rationals decide.
    """
    addend = c.astype(FLOAT64)
    total, errors, size = addend.copy(), np.zeros_like(addend), np.zeros_like(addend)
    for x, y in zip(left, right, strict=True):
        term = x * y
        summed = total + term
        shift = summed - total
        error = (total - (summed - shift)) + (term - shift)
        errors += error
        size += np.abs(error)
        total = summed
    margin = (size * len(left) + np.abs(total)) * 2.0**-51
    estimate = total + errors
    result = narrow(estimate, c.dtype)
    doubtful = (size > 0) & (narrow(estimate - margin, c.dtype) != narrow(estimate + margin, c.dtype))
    shape = c.shape
    for place in zip(*np.nonzero(doubtful), strict=True):
        pairs = [
            (float(np.broadcast_to(x, shape)[place]), float(np.broadcast_to(y, shape)[place]))
            for x, y in zip(left, right, strict=True)
        ]
        exact = sum((Fraction(x) * Fraction(y) for x, y in pairs), Fraction(float(addend[place])))
        result[place] = _nearest(exact, c.dtype)
    result += c.dtype.type(0)  # −0 becomes +0
    return _with_special_values(result, left, right, addend)


def _nearest(exact: Fraction, dtype: np.dtype[Any]) -> Any:
    """Return a rational rounded to nearest, by way of a float64 rounded to odd."""
    near = float(exact)
    if Fraction(near) != exact:
        neighbour = float(np.nextafter(near, np.inf if Fraction(near) < exact else -np.inf))
        odd = np.array([near]).view(np.uint64)[0] & 1
        near = near if odd else neighbour
    return narrow(np.array([near]), dtype)[0]


def _with_special_values(result: Array, left: Array, right: Array, addend: Array) -> Array:
    """Replace the results of sums with infinities or NaN by those of IEEE arithmetic, in place."""
    finite = all(np.isfinite(np.add.reduce(x * 0, axis=None)) for x in (left, right, addend))
    if finite:
        return result
    ieee = addend.copy()
    for x, y in zip(left, right, strict=True):
        ieee += x * y
    special = ~np.isfinite(ieee)
    result[special] = ieee[special]
    return canonical(result)


__all__ = ["FLOAT8_BITS", "fraction_bits", "mma", "mma_bits", "mma_float64", "mma_integers", "plus_zero"]
