"""The number formats: float32, float16 and bfloat16, their limits, and correct rounding to them.

Clauses GEN-D1 (formats) and GEN-D2 (rounding). Rounding starts from float64 and happens once. That is why
`round_to` exists beside ``astype``: ml_dtypes converts float64 to bfloat16 by way of float32, and two
roundings in a row can end one unit away from the nearest number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FORMATS", "SHORT", "Format", "format_of", "round_to", "ulp"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with subnormal numbers, infinities and NaN.

    Attributes
    ----------
    name : str
        The name of the NumPy dtype.
    precision : int
        Bits of the significand, the hidden one included.
    minimum_exponent, maximum_exponent : int
        Exponents of the smallest and the largest normal number, for significands in [1, 2).

    Examples
    --------
    >>> half = FORMATS["float16"]
    >>> half.largest, half.smallest_normal == 2.0**-14, half.unit_roundoff == 2.0**-11
    (65504.0, True, True)
    """

    name: str
    precision: int
    minimum_exponent: int
    maximum_exponent: int

    @property
    def unit_roundoff(self) -> float:
        """The largest relative error of one rounding in the normal range, u."""
        return float(2.0**-self.precision)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive number with a full significand."""
        return float(2.0**self.minimum_exponent)

    @property
    def smallest_subnormal(self) -> float:
        """The smallest positive number, which is also the spacing around zero."""
        return float(2.0 ** (self.minimum_exponent - self.precision + 1))

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float((2.0 - 2.0 ** (1 - self.precision)) * 2.0**self.maximum_exponent)

    @property
    def overflow_threshold(self) -> float:
        """The smallest real number that rounds to infinity: half a unit above the largest number."""
        return float((2.0 - 2.0**-self.precision) * 2.0**self.maximum_exponent)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype (of ml_dtypes for bfloat16)."""
        return np.dtype(getattr(ml_dtypes, self.name) if self.name == "bfloat16" else self.name)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "float32": Format("float32", 24, -126, 127),
        "float16": Format("float16", 11, -14, 15),
        "bfloat16": Format("bfloat16", 8, -126, 127),
    }
)

SHORT: Mapping[str, str] = MappingProxyType({"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"})
"""Other names that the formats go by."""


def format_of(dtype: Any) -> Format:
    """Return the format of a dtype or of its name.

    Raises
    ------
    TypeError
        If the dtype is not one of the three of clause GEN-C1.
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in FORMATS:
        raise TypeError(f"GEN-C1: dtype is {name}, expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def ulp(x: ArrayLike, format: Format) -> Float64:
    """Return the distance between neighbouring numbers of a format around ``x``.

    At a power of two it is the distance on the far side from zero; below the normal range it is the smallest
    subnormal number; for NaN and infinities it is NaN. Above the largest number the exponent range is taken
    to go on.

    Examples
    --------
    >>> ulp([1.0, 1.5, 2.0, 0.0], FORMATS["float16"]) == [2**-10, 2**-10, 2**-9, 2**-24]
    array([ True,  True,  True,  True])
    """
    value = np.asarray(x, dtype=np.float64)
    exponent = np.frexp(value)[1] - 1  # frexp has its significand in [1/2, 1)
    exponent = np.where(value == 0, format.minimum_exponent, exponent)
    spacing = np.ldexp(1.0, np.maximum(exponent, format.minimum_exponent) - format.precision + 1)
    return np.asarray(np.where(np.isfinite(value), spacing, np.nan))


def round_to(x: ArrayLike, format: Format) -> NDArray[Any]:
    """Round float64 numbers to a format: to nearest, ties to even, once.

    Gradual underflow is kept, what is too large becomes infinite, signs of zero and NaN pass through.

    Returns
    -------
    ndarray
        An array of ``format.dtype``.

    Examples
    --------
    >>> round_to([1 + 2**-11, 1 + 3 * 2**-11, 65520.0], FORMATS["float16"]).tolist()
    [1.0, 1.001953125, inf]
    """
    value = np.asarray(x, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if format.name != "bfloat16":
            return value.astype(format.dtype)  # rounds once; ml_dtypes goes by way of float32
        return _nearest(value, format).astype(format.dtype)


def _nearest(value: Float64, format: Format) -> Float64:
    """Round as `round_to` does and stay in float64."""
    with np.errstate(invalid="ignore", over="ignore"):
        spacing = np.where(np.isfinite(value), ulp(value, format), 1.0)
        rounded = np.rint(value / spacing) * spacing  # exact: spacing is a power of two
        overflow = np.abs(rounded) > format.largest
    return np.asarray(np.where(overflow, np.copysign(np.inf, value), rounded))
