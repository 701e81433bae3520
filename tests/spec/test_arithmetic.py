"""Declarations of arithmetic are read strictly, with messages that name the clause."""

from typing import Any

import pytest

from gaugeblock.spec.accuracy import Arithmetic


@pytest.mark.spec("GEN-D8")
def test_nothing_declared_is_plain_float32() -> None:
    plain = Arithmetic.declared({})
    assert plain == Arithmetic()
    assert (plain.accumulator, plain.multiplier, plain.sum_roundoff) == ("float32", None, 2.0**-24)


@pytest.mark.spec("GEN-D8")
def test_a_declaration_selects_the_roundoff_of_the_sum() -> None:
    assert Arithmetic.declared({"accumulator": "float16"}).sum_roundoff == 2.0**-11
    hopper = Arithmetic.declared({"accumulator": "tensor_core", "fraction_bits": 25, "block": 16})
    assert hopper.sum_roundoff == 2.0**-23


@pytest.mark.spec("GEN-D8")
def test_a_product_of_several_narrow_ones_errs_by_what_its_parts_leave_out() -> None:
    def units(**declared: Any) -> float:
        return round(Arithmetic.declared(declared).operand_error * 2**24, 1)

    assert units(multiplier="tf32", products=3) == 48.0
    assert units(multiplier="bfloat16", products=6) == 4.0
    assert units(multiplier="bfloat16", products=9) == 2.0
    assert units(multiplier="bfloat16") == 2**17 + 2**8


@pytest.mark.spec("GEN-D8")
def test_equal_approximations_are_equal_declarations() -> None:
    names = ["tanh", "log", "tanh"]
    assert Arithmetic.declared({"approximations": names}) == Arithmetic(approximations=("log", "tanh"))


@pytest.mark.spec("GEN-C4")
@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"accumulator": "float64"}, "accumulator is 'float64', expected one of 'float32'"),
        ({"multiplier": "fp8"}, "multiplier is 'fp8', expected one of 'tf32'"),
        ({"rounding": "down"}, "arithmetic has 'rounding', expected one of accumulator, multiplier"),
        (
            {"accumulator": "tensor_core"},
            "fraction_bits is None, accumulator 'tensor_core' needs a whole number",
        ),
        (
            {"accumulator": "tensor_core", "fraction_bits": 24, "block": 0},
            "block is 0, accumulator 'tensor_core' needs a whole number from 1 to 256",
        ),
        (
            {"accumulator": "tensor_core", "fraction_bits": 1, "block": 1},
            "fraction_bits is 1, accumulator 'tensor_core' needs a whole number from 13 to 256",
        ),
        ({"products": 3}, "products is 3, which needs a multiplier, and there is none"),
        ({"truncates": True}, "truncates is True, which needs a multiplier, and there is none"),
        ({"multiplier": "tf32", "products": 2}, "products is 2, expected one of 1, 3, 4, 6, 9"),
        ({"multiplier": "tf32", "truncates": 1}, "truncates is 1, expected True or False"),
        ({"splits": 0}, "splits is 0, expected a whole number from 1 to 65536"),
        ({"order": "any"}, "order is 'any', expected one of 'fixed', 'free'"),
        ({"approximations": ("exp",)}, "approximations is 'exp', expected one of 'division', 'exp2'"),
        ({"approximations": "log"}, "approximations is 'log', expected a tuple of names"),
        ({"block": 16}, "block is 16, which only the accumulator 'tensor_core' has"),
        ({"fast_exp": 1}, "fast_exp is 1, expected True or False"),
        ("fast", "arithmetic is 'fast', expected a mapping"),
    ],
)
def test_a_bad_declaration_is_refused_with_what_was_expected(declaration: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refusal:
        Arithmetic.declared(declaration)
    assert str(refusal.value).startswith(f"GEN-C4: {message}")
