"""What a backend declares about the way it computes (clauses GEN-D8 and GEN-C4).

A declaration selects the bound. It is a claim that the suite tests, not an excuse: a backend that multiplies
in TF32 and does not say so is held to the bound of float32 multiplication, and fails it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeGuard, get_args

from gaugeblock.spec.formats import FORMATS, Format

__all__ = ["TF32", "Accumulator", "Algorithm", "Approximation", "Arithmetic", "Multiplier", "Order"]

Accumulator = Literal["float32", "float16", "tensor_core"]
Multiplier = Literal["tf32", "float16", "bfloat16"]
Algorithm = Literal["direct", "winograd_2", "winograd_4", "winograd_6", "fft"]
Approximation = Literal["division", "exp2", "log", "tanh"]
Order = Literal["fixed", "free"]

#: The operand type of TF32 tensor-core instructions: float32's range with eleven bits of significand.
TF32 = Format("tf32", 11, -126, 127)


#: How many numbers an operand is split into, by how many products of those make one product.
_PARTS: Final[Mapping[int, int]] = {1: 1, 3: 2, 4: 2, 6: 3, 9: 3}

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
        The type that operands are rounded to before they are multiplied; to TF32 they may be cut.
    truncates : bool
        Operands are cut to the multiplier's type instead.
    products : {1, 3, 4, 6, 9}
        Products of the multiplier that make one product: of two parts of each operand, with the product of
        the second parts (4) or without (3), or of three parts, all (9) or those that matter (6).
    fraction_bits : int, optional
        Tensor core only: fractional bits kept when products are aligned to the largest of a block
        (23 on Volta, 24 from Turing to Ada, 25 on Hopper and Blackwell).
    block : int, optional
        Tensor core only: products that one instruction adds at once, its k.
    splits : int
        Into how many parts a sum may be cut whose sums are rounded to the format of the arrays, and added up
        in it; 1 where there are none.
    order : {"fixed", "free"}
        Whether the order of a sum is a function of the call; if not, so are its last bits (GEN-S2, GEN-S5).
    flush_subnormals : bool
        Subnormal float32 numbers may be read and written as zero.
    fast_exp : bool
        The exponential is CUDA's ``__expf``, whose error grows with its argument.
    approximations : tuple of {"division", "exp2", "log", "tanh"}
        Quotients are those of ``div.full`` or ``div.approx``; the exponential is that of the product with
        log₂e to the base two; the logarithm is CUDA's ``__logf``, log1p(x) that of 1 + x; the hyperbolic
        tangent is ``tanh.approx``.
    algorithm : {"direct", "winograd_2", "winograd_4", "winograd_6", "fft"}
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
    truncates: bool = False
    products: int = 1
    splits: int = 1
    order: Order = "fixed"
    fraction_bits: int | None = None
    block: int | None = None
    flush_subnormals: bool = False
    fast_exp: bool = False
    approximations: tuple[Approximation, ...] = ()
    algorithm: Algorithm = "direct"

    def __post_init__(self) -> None:
        _one_of("accumulator", self.accumulator, get_args(Accumulator))
        if self.multiplier is not None:
            _one_of("multiplier", self.multiplier, get_args(Multiplier))
        _one_of("algorithm", self.algorithm, get_args(Algorithm))
        _one_of("order", self.order, get_args(Order))
        self._check_approximations()
        self._check_products()
        if not _whole(self.splits) or not 1 <= self.splits <= 2**16:
            raise ValueError(f"GEN-C4: splits is {self.splits!r}, expected a whole number from 1 to 65536")
        for name in ("fraction_bits", "block"):
            self._check_tensor_core_field(name, getattr(self, name))
        for name in ("truncates", "flush_subnormals", "fast_exp"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"GEN-C4: {name} is {getattr(self, name)!r}, expected True or False")

    def _check_approximations(self) -> None:
        """Check the names and put them in their order, so that equal declarations are equal."""
        names, known = self.approximations, get_args(Approximation)
        if not isinstance(names, tuple | list):
            raise TypeError(f"GEN-C4: approximations is {names!r}, expected a tuple of names")
        for name in names:
            _one_of("approximations", name, known)
        object.__setattr__(self, "approximations", tuple(name for name in known if name in names))

    def _check_products(self) -> None:
        """Check how products are made of narrow ones, which only those with a multiplier are."""
        if not _whole(self.products) or self.products not in _PARTS:
            _one_of("products", self.products, tuple(_PARTS))
        for name, plain in (("products", 1), ("truncates", False)):
            value = getattr(self, name)
            if value != plain and self.multiplier is None:
                raise ValueError(f"GEN-C4: {name} is {value!r}, which needs a multiplier, and there is none")

    def _check_tensor_core_field(self, name: str, value: object) -> None:
        """Check that a tensor core names both its numbers, and any other accumulator neither."""
        if self.accumulator != "tensor_core":
            if value is not None:
                raise ValueError(
                    f"GEN-C4: {name} is {value!r}, which only the accumulator 'tensor_core' has, "
                    f"and accumulator is {self.accumulator!r}"
                )
        elif not _whole(value) or not _LEAST[name] <= value <= 256:
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

    @property
    def parts(self) -> int:
        """How many numbers of the multiplier's type stand for an operand."""
        return _PARTS[self.products]

    @property
    def operand_roundoff(self) -> float:
        """The relative error of rounding an operand to the multiplier's type once, r; 0 without one."""
        if (narrow := self.operand_format) is None:
            return 0.0
        return narrow.unit_roundoff * (2 if self.truncates or self.multiplier == "tf32" else 1)

    @property
    def operand_growth(self) -> float:
        """By how much the products of the parts may exceed the product of the operands, in all."""
        r = self.operand_roundoff
        return ((1 + r) * sum(r**part for part in range(self.parts))) ** 2

    @property
    def operand_error(self) -> float:
        """The relative error of a product, without its rounding: what no part holds, and what is left out.

        Of an operand x the parts after the first are at most r(1 + r)|x| and r²(1 + r)|x|, and what is left
        after all p of them at most rᵖ|x|.
        """
        r = self.operand_roundoff
        rest = r**self.parts
        left_out = {3: r**2, 6: 2 * r**3 + r**4}.get(self.products, 0.0)
        return 2 * rest + rest**2 + left_out * (1 + r) ** 2

    @property
    def division_roundoff(self) -> float:
        """The relative error of a quotient: that of rounding, or 2½ units in the last place."""
        return (5 if "division" in self.approximations else 1) * FORMATS["float32"].unit_roundoff


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"GEN-C4: {name} is {value!r}, expected one of {', '.join(map(repr, choices))}")
