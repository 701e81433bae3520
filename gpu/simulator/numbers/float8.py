"""Floats of eight bits, in pairs: what ``cvt`` makes of them, and ``mma`` multiplies.

E4M3 has no infinities, its largest number is 448; E5M2 has the exponents of float16, and 57344. Conversions
to them are rounded once, to nearest, and clamped (``.satfinite`` is no choice).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import ml_dtypes
import numpy as np

from gaugeblock.gpu.simulator.numbers.rounding import canonical, rectify
from gaugeblock.gpu.simulator.numbers.types import F16, F32, F64, U8, U16, Array


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its dtype, fraction bits, smallest exponent of a normal number, and largest number."""

    dtype: np.dtype[Any]
    fraction: int
    smallest: int
    largest: float


FORMATS: Final[Mapping[str, Format]] = {
    "e4m3": Format(np.dtype(ml_dtypes.float8_e4m3fn), 3, -6, 448.0),
    "e5m2": Format(np.dtype(ml_dtypes.float8_e5m2), 2, -14, 57344.0),
}
_NAN = 0x7F


def narrowed(x: Array, kind: str, *, relu: bool = False) -> Array:
    """Return float16 or float32 numbers as bytes of a format; NaN becomes 0x7f.

    Examples
    --------
    >>> [hex(byte) for byte in narrowed(np.float32([1, 1000, -0.0, np.nan]), "e4m3").tolist()]
    ['0x38', '0x7e', '0x80', '0x7f']
    """
    form = FORMATS[kind]
    wide = rectify(x).astype(F64) if relu else x.astype(F64)
    exponent = np.maximum(np.frexp(wide)[1] - 1, form.smallest)
    unit = np.ldexp(1.0, exponent - form.fraction)
    rounded = np.clip(np.rint(wide / unit) * unit, -form.largest, form.largest)
    found: Array = rounded.astype(form.dtype).view(U8)
    found[np.isnan(x)] = _NAN
    return found


def widened(x: Array, kind: str) -> Array:
    """Return bytes of a format as float16, exactly."""
    return canonical(x.view(FORMATS[kind].dtype).astype(F16))


def to_pair(kind: str, source: str, *, relu: bool = False) -> Callable[..., Array]:
    """Return ``cvt.rn.satfinite.e4m3x2.f32 d, a, b`` (a above b), or that of a pair ``f16x2``."""
    if source == "f32":
        return lambda a, b: np.stack(
            [narrowed(x.view(F32), kind, relu=relu) for x in np.broadcast_arrays(b, a)], axis=-1
        ).view(U16)[..., 0]
    return lambda a: narrowed(np.ascontiguousarray(a).view(F16), kind, relu=relu).view(U16)


def from_pair(kind: str, *, relu: bool = False) -> Callable[[Array], Array]:
    """Return ``cvt.rn.f16x2.e4m3x2 d, a``."""

    def convert(a: Array) -> Array:
        both = widened(np.ascontiguousarray(a).view(U8), kind)
        pair: Array = (rectify(both) if relu else both).view(np.uint32)
        return pair

    return convert


__all__ = ["FORMATS", "Format", "from_pair", "narrowed", "to_pair", "widened"]
