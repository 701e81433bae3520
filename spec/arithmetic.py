"""What a backend declares about the way it computes (clauses GEN-D8 and GEN-C4).

A declaration selects the bound. It is a claim that the suite tests, not an excuse: a backend that multiplies
in TF32 and does not say so is held to the bound of float32 multiplication, and fails it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from gaugeblock.spec.formats import FORMATS, Format

__all__ = ["TF32", "Accumulator", "Algorithm", "Arithmetic", "Multiplier"]

Accumulator = Literal["float32", "float16", "tensor_core"]
Multiplier = Literal["tf32", "float16", "bfloat16"]
Algorithm = Literal["direct", "winograd_2", "winograd_4", "fft"]

#: The operand type of TF32 tensor-core instructions: float32's range with eleven bits of significand.
TF32 = Format("tf32", 11, -126, 127)


#: Fewer bits than Hopper keeps of products of fp8 are no tensor core, but a wide bound.
_LEAST = {"fraction_bits": 13, "block": 1}


@dataclass(frozen=True)
class Arithmetic:
    """How sums and functions are computed inside; the default is plain IEEE float32.

    Attributes
    ----------
    accumulator : {"float32", "float16", "tensor_core"}
        Where products are added up. A tensor core adds a block of products at once, in fixed point.
    multiplier : {"tf32", "float16", "bfloat16"}, optional
        The type that operands are rounded (or truncated) to before they are multiplied.
    fraction_bits : int, optional
        Tensor core only: fractional bits kept when products are aligned to the largest of a block
        (23 on Volta, 24 from Turing to Ada, 25 on Hopper and Blackwell).
    block : int, optional
        Tensor core only: products that one instruction adds at once, its k.
    flush_subnormals : bool
        Subnormal float32 numbers may be read and written as zero.
    fast_exp : bool
        The exponential is CUDA's ``__expf``, whose error grows with its argument.
    algorithm : {"direct", "winograd_2", "winograd_4", "fft"}
        Convolutions only: what may be used where it can do the call. Products are added up directly, or
        through transforms that cancel out, but whose errors do not.

    Examples
    --------
    >>> Arithmetic.declared({"multiplier": "tf32"}).multiplier
    'tf32'
    >>> Arithmetic.declared({"accumulator": "float64"})
    Traceback (most recent call last):
        ...
    ValueError: GEN-C4: accumulator is 'float64', expected one of 'float32', 'float16', 'tensor_core'
    """

    accumulator: Accumulator = "float32"
    multiplier: Multiplier | None = None
    fraction_bits: int | None = None
    block: int | None = None
    flush_subnormals: bool = False
    fast_exp: bool = False
    algorithm: Algorithm = "direct"

    def __post_init__(self) -> None:
        _one_of("accumulator", self.accumulator, get_args(Accumulator))
        if self.multiplier is not None:
            _one_of("multiplier", self.multiplier, get_args(Multiplier))
        _one_of("algorithm", self.algorithm, get_args(Algorithm))
        for name in ("fraction_bits", "block"):
            self._check_tensor_core_field(name, getattr(self, name))
        for name in ("flush_subnormals", "fast_exp"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"GEN-C4: {name} is {getattr(self, name)!r}, expected True or False")

    def _check_tensor_core_field(self, name: str, value: object) -> None:
        """Check that a tensor core names both its numbers, and any other accumulator neither."""
        if self.accumulator != "tensor_core":
            if value is not None:
                raise ValueError(
                    f"GEN-C4: {name} is {value!r}, which only the accumulator 'tensor_core' has, "
                    f"and accumulator is {self.accumulator!r}"
                )
        elif not isinstance(value, int) or isinstance(value, bool) or not _LEAST[name] <= value <= 256:
            raise ValueError(
                f"GEN-C4: {name} is {value!r}, accumulator 'tensor_core' needs a whole number "
                f"from {_LEAST[name]} to 256"
            )

    @classmethod
    def declared(cls, declaration: Mapping[str, Any]) -> "Arithmetic":
        """Read one declaration of a backend's ``arithmetic`` and check it.

        Raises
        ------
        TypeError
            If the declaration is not a mapping, or a flag is not a bool.
        ValueError
            If a field is unknown or its value is; the message starts with ``GEN-C4``.
        """
        if not isinstance(declaration, Mapping):
            raise TypeError(f"GEN-C4: arithmetic is {declaration!r}, expected a mapping")
        known = [field.name for field in fields(cls)]
        for name in declaration:
            if name not in known:
                raise ValueError(f"GEN-C4: arithmetic has {name!r}, expected one of {', '.join(known)}")
        return cls(**declaration)

    @property
    def sum_roundoff(self) -> float:
        """The relative error of one rounding of the accumulator."""
        if self.accumulator == "tensor_core":
            return 2.0**-23  # it truncates, which costs a whole unit, not half
        return FORMATS[self.accumulator].unit_roundoff

    @property
    def sum_format(self) -> Format:
        """The format whose range the accumulator has."""
        return FORMATS["float16" if self.accumulator == "float16" else "float32"]

    @property
    def operand_format(self) -> Format | None:
        """The format that operands are rounded to, None where they are taken as they come."""
        if self.multiplier is None:
            return None
        return TF32 if self.multiplier == "tf32" else FORMATS[self.multiplier]


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"GEN-C4: {name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
