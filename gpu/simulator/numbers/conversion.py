"""``cvt``: conversion between all scalar types, with one rounding.

`cvt` and `cvt_packed` are called once, when an instruction is decoded; they check the combination of types
and modifiers and return the function that runs on lanes. Types carry their PTX names; `TYPES` gives the dtype
of the lanes. A tf32 number is a float32 whose last 13 bits are zero.

Semantics: PTX ISA 9.1, section 9.7.9.21. As everywhere in the simulated device, the caller switches NumPy's
floating-point warnings off, and arrays have at least one dimension and one lane.

Examples
--------
>>> import numpy as np
>>> to_s32 = cvt("s32", "f32", rounding="rzi")
>>> to_s32(np.array([-1.9, 2.5e9, np.nan], np.float32)).tolist()
[-1, 2147483647, 0]
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.numbers.rounding import (
    BFLOAT16,
    BITS,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INFINITY,
    UINT16,
    UINT32,
    Array,
    Direction,
    canonical,
    directed_sum64,
    flush,
    narrow,
    narrow32,
    odd_sum,
    rectify,
    saturate,
    widen,
)

Conversion: TypeAlias = Callable[[Array], Array]

#: PTX type → dtype of the lanes.
TYPES: dict[str, np.dtype[Any]] = {
    **{f"u{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"s{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    "f16": FLOAT16,
    "bf16": BFLOAT16,
    "f32": FLOAT32,
    "f64": FLOAT64,
    "tf32": FLOAT32,
}

_TO_INTEGER: dict[str, Callable[[Array], Array]] = {
    "rni": np.rint,
    "rzi": np.trunc,
    "rmi": np.floor,
    "rpi": np.ceil,
}
_FLOATS = {"f16", "bf16", "f32", "f64"}
_DIRECTIONS: dict[str, Direction] = {"rn": "rn", "rz": "rz", "rm": "rm", "rp": "rp"}


def cvt(
    to: str,
    source: str,
    *,
    rounding: str | None = None,
    ftz: bool = False,
    sat: bool = False,
    relu: bool = False,
    satfinite: bool = False,
) -> Conversion:
    """Return the function that performs ``cvt{.rounding}{.ftz}{.sat}{.relu}{.satfinite}.to.source``.

    Parameters
    ----------
    to, source : str
        PTX types: u8 … u64, s8 … s64, f16, bf16, f32, f64; as destination also tf32.
    rounding : str, optional
        To a floating-point type: rn, rz, rm, rp (to tf32: rna, rn, rz); to an integer, or to an integral
        value of the same floating-point type: rni, rzi, rmi, rpi.
    ftz : bool
        Flush float32 subnormals, source or result, to zeros of the same sign.
    sat : bool
        Clamp to the range of an integer destination, or to [0, 1].
    relu, satfinite : bool
        Clamp negative results to +0; clamp overflow and infinities to the largest finite number.

    Returns
    -------
    callable
        From an array of ``TYPES[source]`` to an array of ``TYPES[to]``.

    Raises
    ------
    ValueError
        If PTX has no such instruction.
    """
    name = ".".join(part for part in ("cvt", rounding, to, source) if part)
    for kind in (to, source):
        if kind not in TYPES:
            raise ValueError(f"{name}: unknown type {kind}")
    if ftz and "f32" not in (to, source):
        raise ValueError(f"{name}: .ftz needs f32 as source or destination")
    if (relu or satfinite) and (to not in ("f16", "bf16", "tf32") or source != "f32"):
        raise ValueError(
            f"{name}: .relu and .satfinite need f32 as source and f16, bf16 or tf32 as destination"
        )
    convert = _choose(name, to, source, rounding, sat)
    if not (ftz or relu or satfinite or (sat and (to in _FLOATS))):
        return convert
    return _with_modifiers(convert, to, source, ftz=ftz, sat=sat, relu=relu, satfinite=satfinite)


def cvt_packed(
    to: str, *, rounding: str = "rn", relu: bool = False, satfinite: bool = False
) -> Callable[[Array, Array], Array]:
    """Return the function that performs ``cvt.rounding{.relu}{.satfinite}.to.f32 d, a, b``.

    Parameters
    ----------
    to : {"f16x2", "bf16x2"}
        Packed type of the result.
    rounding : {"rn", "rz"}
        Rounding of both halves.
    relu, satfinite : bool
        As for `cvt`.

    Returns
    -------
    callable
        From two float32 arrays to uint32: `a` in the upper half, `b` in the lower half.

    Examples
    --------
    >>> import numpy as np
    >>> pack = cvt_packed("f16x2")
    >>> hex(pack(np.array([1.0], np.float32), np.array([2.0], np.float32))[0])
    '0x3c004000'
    """
    if to not in ("f16x2", "bf16x2") or rounding not in ("rn", "rz"):
        raise ValueError(f"cvt.{rounding}.{to}.f32: only f16x2 and bf16x2, rounded by rn or rz")
    convert = cvt(to.removesuffix("x2"), "f32", rounding=rounding, relu=relu, satfinite=satfinite)

    def pack(a: Array, b: Array) -> Array:
        high = convert(a).view(UINT16).astype(UINT32)
        packed: Array = (high << 16) | convert(b).view(UINT16)
        return packed

    return pack


def _choose(name: str, to: str, source: str, rounding: str | None, sat: bool) -> Conversion:
    """Return the bare conversion: one rounding, no modifiers but the clamping of integers."""
    dtype = TYPES[to]
    direction = _DIRECTIONS.get(rounding or "")
    if source not in _FLOATS and source[0] in "us":
        if to in _FLOATS:
            if direction is None:
                raise ValueError(f"{name}: an integer becomes {to} with .rn, .rz, .rm or .rp")
            return lambda a: _from_integer(a, dtype, direction)
        if rounding or to == "tf32":
            raise ValueError(f"{name}: no such conversion of an integer")
        return _clamp(TYPES[source], dtype) if sat else lambda a: a.astype(dtype)
    if to == "tf32":
        if source != "f32" or rounding not in ("rna", "rn", "rz"):
            raise ValueError(f"{name}: tf32 is made from f32, with .rna, .rn or .rz")
        return lambda a: _to_tf32(a, rounding)
    if source == "tf32":
        raise ValueError(f"{name}: tf32 is no source type")
    if to not in _FLOATS:
        if rounding not in _TO_INTEGER:
            raise ValueError(f"{name}: a number becomes an integer with .rni, .rzi, .rmi or .rpi")
        # What NaN becomes: PTX ISA 9.7.9.21, integer notes. 0, but only where no 64-bit type is involved.
        nan = 1 << (8 * dtype.itemsize - 1) if source == "f64" or dtype.itemsize == 8 else 0
        integral = _TO_INTEGER[rounding]
        return lambda a: _to_integer(integral(widen(a)), dtype, nan)
    return _between_floats(name, to, source, rounding)


def _between_floats(name: str, to: str, source: str, rounding: str | None) -> Conversion:
    """Return the conversion from one floating-point type to another."""
    dtype = TYPES[to]
    if to == source:
        if rounding is None:
            return lambda a: canonical(a.copy())
        if rounding not in _TO_INTEGER:
            raise ValueError(f"{name}: between equal types only .rni, .rzi, .rmi and .rpi round")
        integral = _TO_INTEGER[rounding]
        if to == "bf16":
            return lambda a: narrow32(integral(widen(a)), BFLOAT16)
        return lambda a: canonical(integral(a))
    widening = dtype.itemsize > TYPES[source].itemsize
    if widening:
        if rounding is not None:
            raise ValueError(f"{name}: a widening conversion is exact and takes no rounding")
        return lambda a: canonical(widen(a).astype(dtype))
    direction = _DIRECTIONS.get(rounding or "")
    if direction is None:
        raise ValueError(f"{name}: needs .rn, .rz, .rm or .rp")
    if source == "f64":
        return lambda a: canonical(narrow(a, dtype, direction))
    return lambda a: narrow32(widen(a).astype(FLOAT32, copy=False), dtype, direction)


def _with_modifiers(
    convert: Conversion, to: str, source: str, *, ftz: bool, sat: bool, relu: bool, satfinite: bool
) -> Conversion:
    """Return `convert` with what happens before and after the rounding."""

    def modified(a: Array) -> Array:
        result = convert(flush(a) if ftz and source == "f32" else a)
        if satfinite:
            bits = result.view(BITS[result.dtype])
            bits -= _magnitude(bits) == INFINITY[result.dtype]
            if to == "tf32":
                bits &= 0xFFFFE000
        if sat and to in _FLOATS:
            result = saturate(result)
        if relu:
            result = rectify(result)
        return flush(result) if ftz and to == "f32" else result

    return modified


def _magnitude(bits: Array) -> Array:
    """Return floating-point bits without their sign."""
    magnitude: Array = bits & ((1 << (8 * bits.itemsize - 1)) - 1)
    return magnitude


def _from_integer(a: Array, dtype: np.dtype[Any], rounding: Direction) -> Array:
    """Round integers to a floating-point type, once."""
    if a.itemsize < 8:
        exact = a.astype(FLOAT64)
        return (
            exact.astype(FLOAT32) if dtype == FLOAT32 and rounding == "rn" else narrow(exact, dtype, rounding)
        )
    if rounding == "rn" and dtype.itemsize >= 4:
        return a.astype(dtype)
    high, low = (a >> 32).astype(FLOAT64) * 2.0**32, (a & 0xFFFFFFFF).astype(FLOAT64)
    if dtype == FLOAT64:
        return directed_sum64(high, low, high + low, rounding)
    return narrow(odd_sum(high, low), dtype, rounding)


def _clamp(source: np.dtype[Any], dtype: np.dtype[Any]) -> Conversion:
    """Return the conversion between integer types that clamps to the range of `dtype`."""
    low = max(np.iinfo(source).min, np.iinfo(dtype).min)
    high = min(np.iinfo(source).max, np.iinfo(dtype).max)
    return lambda a: np.clip(a, low, high).astype(dtype)


def _to_integer(a: Array, dtype: np.dtype[Any], nan: int) -> Array:
    """Convert integral floating-point numbers to integers, clamped to their range; `nan` is for NaN."""
    a = a.astype(FLOAT32) if a.dtype == FLOAT16 else a  # the bounds below are no float16 numbers
    limits = np.iinfo(dtype)
    low, beyond = float(limits.min), float(limits.max + 1)
    if a.min() >= low and a.max() < beyond:  # false if there is a NaN
        return a.astype(dtype)
    result: Array = np.where((a >= low) & (a < beyond), a, a.dtype.type(0)).astype(dtype)
    result[a >= beyond] = limits.max
    result[a < low] = limits.min
    result.view(f"u{dtype.itemsize}")[np.isnan(a)] = nan
    return result


def _to_tf32(a: Array, rounding: str) -> Array:
    """Round float32 to tf32: 10 stored fraction bits; .rna breaks ties away from zero."""
    bits = a.view(UINT32)
    if rounding == "rna":
        bits = bits + 0x1000
    elif rounding == "rn":
        bits = bits + (((bits >> 13) & 1) + 0xFFF)
    result: Array = (bits & 0xFFFFE000).view(FLOAT32)
    nan = np.isnan(a)
    if nan.any():
        result.view(UINT32)[nan] = 0x7FFFFFFF
    return result


__all__ = ["TYPES", "Conversion", "cvt", "cvt_packed"]
