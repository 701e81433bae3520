"""Integer arithmetic as PTX defines it, on arrays of lanes; an instruction's type is its operands' dtype.

Results wrap modulo the width, as NumPy's do. Semantics: PTX ISA 9.1, sections 9.7.1 (integer), 9.7.2
(extended precision) and 9.7.8 (logic and shift).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.numbers.lanes import every
from gaugeblock.gpu.simulator.numbers.types import S32, S64, U8, U32, U64, Array

_WIDE: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(f"{kind}{size}"): np.dtype(f"{kind}{2 * size}") for kind in "iu" for size in (1, 2, 4)
}
_UNSIGNED: dict[np.dtype[Any], np.dtype[Any]] = {
    np.dtype(f"{kind}{size}"): np.dtype(f"u{size}") for kind in "iu" for size in (1, 2, 4, 8)
}


def mul_wide(a: Array, b: Array) -> Array:
    """Return the full product, twice as wide."""
    wide: Array = np.multiply(a, b, dtype=_WIDE[a.dtype])
    return wide


def mad_wide(a: Array, b: Array, c: Array) -> Array:
    """Return the full product plus c."""
    return mul_wide(a, b) + c


def mul_hi(a: Array, b: Array) -> Array:
    """Return the upper half of the product."""
    if a.itemsize < 8:
        return (mul_wide(a, b) >> (8 * a.itemsize)).astype(a.dtype)
    low = np.uint64(0xFFFFFFFF)
    x, y = a.view(U64), b.view(U64)
    x0, x1, y0, y1 = x & low, x >> 32, y & low, y >> 32
    middle = x1 * y0 + (x0 * y0 >> 32)
    high: Array = x1 * y1 + (middle >> 32) + ((x0 * y1 + (middle & low)) >> 32)
    if a.dtype == S64:
        high = high - np.where(a < 0, y, 0).astype(U64) - np.where(b < 0, x, 0).astype(U64)
    return high.view(a.dtype)


def mad_hi(a: Array, b: Array, c: Array) -> Array:
    """Return the upper half of the product, plus c."""
    return mul_hi(a, b) + c


def mad_lo(a: Array, b: Array, c: Array) -> Array:
    """Return the lower half of a·b + c."""
    return a * b + c


def mul24(a: Array, b: Array) -> Array:
    """Return the low 32 bits of the product of the low 24 bits."""
    low: Array = (a << 8 >> 8) * (b << 8 >> 8)
    return low


def mad24(a: Array, b: Array, c: Array) -> Array:
    """Return `mul24` plus c."""
    return mul24(a, b) + c


def div(a: Array, b: Array) -> Array:
    """Return the quotient truncated toward zero; by zero all bits are set, as on the hardware."""
    if every(b > 0) and (a.dtype.kind == "u" or every(a >= 0)):
        return a // b
    ones = np.array(-1).astype(a.dtype)
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    if a.dtype.kind == "u":
        quotient: Array = a // safe
    else:
        unsigned = _UNSIGNED[a.dtype]
        magnitude = np.abs(a).view(unsigned) // np.abs(safe).view(unsigned)
        signed = magnitude.view(a.dtype)
        quotient = np.where((a < 0) != (safe < 0), -signed, signed)
    return np.where(b == 0, ones, quotient)


def rem(a: Array, b: Array) -> Array:
    """Return the remainder, with the sign of a; by zero, a itself."""
    if every(b > 0) and (a.dtype.kind == "u" or every(a >= 0)):
        return a % b
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    return np.where(b == 0, a, a - div(a, safe) * safe)


def absolute(a: Array) -> Array:
    """Return |a|; the smallest number is its own."""
    return np.abs(a)


def sad(a: Array, b: Array, c: Array) -> Array:
    """Return c + |a − b|."""
    return c + np.where(a < b, b - a, a - b)


def shift_left(a: Array, count: Array) -> Array:
    """Shift left; by the width or more gives 0."""
    bits = 8 * a.itemsize
    return np.where(count >= bits, 0, a << np.minimum(count, bits - 1).astype(a.dtype)).astype(a.dtype)


def shift_right(a: Array, count: Array) -> Array:
    """Shift right, filling with the sign of a signed type; counts beyond the width act as the width."""
    bits = 8 * a.itemsize
    shifted: Array = a >> np.minimum(count, bits - 1).astype(a.dtype)
    if a.dtype.kind == "u":
        shifted = np.where(count >= bits, 0, shifted).astype(a.dtype)
    return shifted


def funnel_left(a: Array, b: Array, c: Array, *, wrap: bool) -> Array:
    """Return the upper word of (b:a) shifted left (``shf.l``)."""
    count = (c & 31 if wrap else np.minimum(c, 32)).astype(U64)
    both = (b.astype(U64) << 32) | a
    return ((both << count) >> 32).astype(U32)


def funnel_right(a: Array, b: Array, c: Array, *, wrap: bool) -> Array:
    """Return the lower word of (b:a) shifted right (``shf.r``)."""
    count = (c & 31 if wrap else np.minimum(c, 32)).astype(U64)
    both = (b.astype(U64) << 32) | a
    return (both >> count).astype(U32)


def popc(a: Array) -> Array:
    """Count the ones."""
    return np.bitwise_count(a).astype(U32)


def _smear(a: Array) -> Array:
    """Set every bit below the highest one."""
    step = 1
    while step < 8 * a.itemsize:
        a = a | (a >> step)
        step *= 2
    return a


def clz(a: Array) -> Array:
    """Count the leading zeros."""
    return (8 * a.itemsize - np.bitwise_count(_smear(a))).astype(U32)


def bfind(a: Array) -> Array:
    """Return the position of the highest bit that differs from the sign; all ones if there is none."""
    magnitude = (a ^ (a >> (8 * a.itemsize - 1))).view(_UNSIGNED[a.dtype]) if a.dtype.kind == "i" else a
    return np.bitwise_count(_smear(magnitude)).astype(U32) - np.uint32(1)


def bfind_shift(a: Array) -> Array:
    """Return the shift that brings the highest significant bit to the top (``bfind.shiftamt``)."""
    found = bfind(a)
    top = np.uint32(8 * a.itemsize - 1)
    return np.where(found == 0xFFFFFFFF, found, top - found).astype(U32)


def brev(a: Array) -> Array:
    """Reverse the bits."""
    swapped = np.ascontiguousarray(a).byteswap()
    for step, mask in ((4, 0x0F), (2, 0x33), (1, 0x55)):
        pattern = np.array(int.from_bytes(bytes([mask]) * a.itemsize, "little")).astype(a.dtype)
        swapped = ((swapped >> step) & pattern) | ((swapped & pattern) << step)
    return swapped


def bfe(a: Array, position: Array, length: Array) -> Array:
    """Extract `length` bits from `position`, extended by the field's sign (or the top bit) if signed."""
    bits = 8 * a.itemsize
    start, count = position & 255, length & 255
    shifted = shift_right(a, start)
    kept = np.minimum(count, bits)
    unsigned = _UNSIGNED[a.dtype]
    mask = shift_left(np.full(1, -1).astype(unsigned), kept)
    field = shifted.view(unsigned) & ~mask
    if a.dtype.kind == "u":
        return field
    top = np.minimum(start.astype(np.int64) + count - 1, bits - 1)
    sign = (a.view(unsigned) >> np.maximum(top, 0).astype(unsigned)) & 1
    extended = np.where((sign != 0) & (count > 0), field | mask, field)
    return extended.view(a.dtype)


def bfi(a: Array, b: Array, position: Array, length: Array) -> Array:
    """Insert the low `length` bits of a into b at `position`."""
    start, count = position & 255, length & 255
    ones = ~shift_left(np.full(1, -1).astype(b.dtype), count)
    mask = shift_left(ones, start)
    return (b & ~mask) | (shift_left(a, start) & mask)


def prmt(a: Array, b: Array, selector: Array) -> Array:
    """Pick four bytes of (b:a); bit 3 of a nibble replicates the byte's sign instead."""
    both = (b.astype(U64) << 32) | a
    result: Array = np.zeros(1, U32)
    for byte in range(4):
        nibble = (selector >> (4 * byte)) & 15
        picked = ((both >> ((nibble & 7) * 8).astype(U64)) & 255).astype(U32)
        signed = np.where(picked & 128, 255, 0).astype(U32)
        result = result | (np.where(nibble & 8, signed, picked).astype(U32) << (8 * byte))
    return result


def prmt_mode(a: Array, b: Array, c: Array, mode: str) -> Array:
    """Pick bytes by a named pattern (``prmt.f4e`` and the like)."""
    n = (c & 3).astype(U32)
    order = {
        "f4e": [n, n + 1, n + 2, n + 3],
        "b4e": [n, (n - 1) & 7, (n - 2) & 7, (n - 3) & 7],
        "rc8": [n, n, n, n],
        "ecl": [np.maximum(n, i) for i in range(4)],
        "ecr": [np.minimum(n, i) for i in range(4)],
        "rc16": [(n & 1) * 2 + i % 2 for i in range(4)],
    }[mode]
    selector: Array = np.zeros(1, U32)
    for byte, nibble in enumerate(order):
        selector = selector | (nibble.astype(U32) << (4 * byte))
    return prmt(a, b, selector)


def lop3(a: Array, b: Array, c: Array, table: int) -> Array:
    """Combine three words by a truth table: bit (4a + 2b + c) of `table`."""
    result: Array = np.zeros(1, a.dtype)
    for row in range(8):
        if table >> row & 1:
            term = (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
            result = result | term
    return result


def cnot(a: Array) -> Array:
    """Return 1 where a is zero, else 0."""
    zero: Array = a == 0
    return zero.astype(a.dtype)


def bmsk(start: Array, width: Array, *, wrap: bool) -> Array:
    """Return `width` ones from bit `start` on; both are clamped to 32, or taken modulo 32."""
    at, count = ((x & 31 if wrap else np.minimum(x, 32)).astype(U64) for x in (start, width))
    return (((np.uint64(1) << count) - np.uint64(1)) << at).astype(U32)


def szext(a: Array, width: Array, *, wrap: bool) -> Array:
    """Extend the low `width` bits by zeros, or by their sign if the type has one."""
    count = width.view(U32) & 31 if wrap else np.minimum(width.view(U32), 32)
    spare = np.uint64(64) - count.astype(U64)
    top = shift_left(a.view(U32).astype(U64), spare)
    wide = top.view(S64) if a.dtype.kind == "i" else top
    return shift_right(wide, spare).astype(a.dtype)


def saturated(wide: Array) -> Array:
    """Clamp 64-bit sums to int32 (``.sat``)."""
    limits = np.iinfo(np.int32)
    return np.clip(wide, limits.min, limits.max).astype(S32)


def add_saturated(a: Array, b: Array) -> Array:
    """Return a + b, clamped to int32."""
    return saturated(a.astype(S64) + b)


def sub_saturated(a: Array, b: Array) -> Array:
    """Return a − b, clamped to int32."""
    return saturated(a.astype(S64) - b)


def mad_hi_saturated(a: Array, b: Array, c: Array) -> Array:
    """Return the upper half of the product plus c, clamped to int32."""
    return saturated(mul_hi(a, b).astype(S64) + c)


def fns(mask: Array, base: Array, offset: Array) -> Array:
    """Find the n-th set bit of `mask`, counting from `base` upwards (offset > 0) or downwards."""
    lanes = np.broadcast_arrays(mask, base, offset.view(S32))
    found = np.full(lanes[0].shape, 0xFFFFFFFF, U32)
    for at in np.ndindex(found.shape):
        word, start, wanted = (int(lane[at]) for lane in lanes)
        positions = range(start, 32) if wanted >= 0 else range(start, -1, -1)
        set_bits = [p for p in positions if word >> p & 1]
        if wanted == 0:
            if word >> start & 1:
                found[at] = start
        elif len(set_bits) >= abs(wanted):
            found[at] = set_bits[abs(wanted) - 1]
    return found


def dp4a(a: Array, b: Array, c: Array, signed: tuple[bool, bool]) -> Array:
    """Return c plus the dot product of four bytes (signed or not, each operand its own way)."""
    kinds = [np.dtype(np.int8) if s else U8 for s in signed]
    x = np.ascontiguousarray(a)[..., None].view(kinds[0]).astype(S32)
    y = np.ascontiguousarray(b)[..., None].view(kinds[1]).astype(S32)
    total: Array = c.view(S32) + (x * y).sum(-1, dtype=S32)
    return total.view(U32)


def dp2a(a: Array, b: Array, c: Array, signed: tuple[bool, bool], *, upper: bool) -> Array:
    """Return c plus the dot product of the halves of a with the lower, or upper, two bytes of b."""
    x = np.ascontiguousarray(a)[..., None].view(np.int16 if signed[0] else np.uint16).astype(S32)
    y = np.ascontiguousarray(b)[..., None].view(np.int8 if signed[1] else U8).astype(S32)
    part = y[..., 2:] if upper else y[..., :2]
    total: Array = c.view(S32) + (x * part).sum(-1, dtype=S32)
    return total.view(U32)


_LANES: Mapping[str, Callable[[Array, Array], Array]] = {
    "vadd": np.add,
    "vsub": np.subtract,
    "vmin": np.minimum,
    "vmax": np.maximum,
    "vabsdiff": lambda x, y: np.abs(x - y),
    "vavrg": lambda x, y: (x + y + (x + y >= 0)) >> 1,
}
LANE_OPERATIONS = tuple(_LANES)


def lanes(
    a: Array, b: Array, c: Array, *, operation: str, count: int, signed: tuple[bool, bool, bool],
    saturate: bool, add: bool,
) -> Array:  # fmt: skip
    """Combine two or four parts of words (``vadd4`` and the like); with `add`, their sum is added to c.

    `signed` are the kinds of the result, of a and of b.
    """
    kinds = [np.dtype(f"{'i' if s else 'u'}{4 // count}") for s in signed]
    x, y = (np.ascontiguousarray(w)[..., None].view(k).astype(S64) for w, k in ((a, kinds[1]), (b, kinds[2])))
    result = _LANES[operation](x, y)
    if add:
        total: Array = c + result.sum(-1)
        return total.astype(U32)
    if saturate:
        limits = np.iinfo(kinds[0])
        result = np.clip(result, limits.min, limits.max)
    words: Array = np.ascontiguousarray(result.astype(kinds[0])).view(U32)
    return words[..., 0]


def truncate(dtype: np.dtype[Any], a: Array) -> Array:
    """Keep the low bits."""
    return a.astype(dtype)
