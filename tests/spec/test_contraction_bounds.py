"""The three levels hold float32 products in any order of summation and none with narrower arithmetic.

The kernels are NumPy simulations whose every operation rounds to float32 (or to what they declare).
"""

from collections.abc import Callable
from itertools import pairwise as pairwise_of
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.spec import OPERATIONS
from gaugeblock.spec.accuracy import (
    FORMATS,
    Arithmetic,
    Statistics,
    accept,
    bias_limit,
    exact_integer_limit,
    gamma,
    mean_square_limit,
    round_to,
    statistics,
)

Array = NDArray[Any]
F = np.float32
GEMM = OPERATIONS["gemm"]
FLOAT32, FLOAT16, BFLOAT16 = (FORMATS[name] for name in ("float32", "float16", "bfloat16"))
PLAIN = Arithmetic()


def forwards(a: Array, b: Array) -> Array:
    """Add one product after the other."""
    total = np.zeros((a.shape[0], b.shape[1]), F)
    for k in range(a.shape[1]):
        total = total + a[:, k : k + 1] * b[k : k + 1, :]
    return total


def backwards(a: Array, b: Array) -> Array:
    """Start with the last product."""
    return forwards(a[:, ::-1], b[::-1])


def pairwise(a: Array, b: Array) -> Array:
    """Halve the sum until one product is left."""
    if a.shape[1] == 1:
        return a * b
    half = a.shape[1] // 2
    return pairwise(a[:, :half], b[:half]) + pairwise(a[:, half:], b[half:])


def split(a: Array, b: Array) -> Array:
    """Add the sums of four parts of K."""
    parts = [forwards(a[:, k::4], b[k::4]) for k in range(4)]
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


def fused(a: Array, b: Array) -> Array:
    """Round once per product and addition, as a fused multiply-add does."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        total = round_to(total + a[:, k : k + 1].astype(np.float64) * b[k : k + 1], FLOAT32).astype(
            np.float64
        )
    return total.astype(F)


def half(a: Array, b: Array) -> Array:
    """Accumulate in float16."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        product = round_to(a[:, k : k + 1].astype(np.float64) * b[k : k + 1], FLOAT16).astype(np.float64)
        total = round_to(total + product, FLOAT16).astype(np.float64)
    return total.astype(F)


def truncated(array: Array, bits: int) -> Array:
    """Clear the last bits of float32 numbers."""
    return (array.view(np.uint32) & np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)).view(F)


def tf32(a: Array, b: Array) -> Array:
    """Truncate the operands to eleven bits, as TF32 tensor cores do."""
    return forwards(truncated(a, 13), truncated(b, 13))


def bfloat16(a: Array, b: Array) -> Array:
    """Round the operands to bfloat16."""
    return forwards(*(round_to(x.astype(np.float64), BFLOAT16).astype(F) for x in (a, b)))


def float16(a: Array, b: Array) -> Array:
    """Round the operands to float16."""
    return forwards(*(round_to(x.astype(np.float64), FLOAT16).astype(F) for x in (a, b)))


def tensor_core(a: Array, b: Array) -> Array:
    """Add blocks of eight exact products, aligned to the largest and truncated to 24 fraction bits."""
    total = np.zeros((a.shape[0], b.shape[1]), F)
    for k in range(0, a.shape[1], 8):
        products = a[:, k : k + 8, None].astype(np.float64) * b[None, k : k + 8]
        terms = np.concatenate([products, total[:, None, :].astype(np.float64)], axis=1)
        exponent = np.frexp(np.max(np.abs(terms), axis=1, keepdims=True))[1] - 1
        unit = np.ldexp(1.0, exponent - 24)
        exact = np.sum(np.trunc(terms / unit) * unit, axis=1)
        unit = np.ldexp(1.0, np.frexp(exact)[1] - 24)
        total = (np.trunc(exact / unit) * unit).astype(F)
    return total


Kernel = Callable[[Array, Array], Array]
ORDERS: list[Kernel] = [forwards, backwards, pairwise, split, fused]
DECLARED: dict[Kernel, dict[str, Any]] = {
    tf32: {"multiplier": "tf32"},
    bfloat16: {"multiplier": "bfloat16"},
    float16: {"multiplier": "float16"},
    tensor_core: {"accumulator": "tensor_core", "fraction_bits": 24, "block": 8},
}


def data(k: int, kind: str = "normal", m: int = 32, n: int = 40) -> tuple[Array, Array]:
    random = np.random.default_rng(k)
    draw = random.normal if kind == "normal" else random.uniform
    return draw(size=(m, k)).astype(F), draw(size=(k, n)).astype(F)


def worst_case(kernel: Kernel, arithmetic: Arithmetic, k: int, kind: str) -> NDArray[np.bool_]:
    """Which elements keep the bound L1."""
    a, b = data(k, kind)
    wide = {"a": a.astype(np.float64), "b": b.astype(np.float64)}
    want = GEMM.reference(**wide)
    return accept(kernel(a, b), want, GEMM.bound(wide, want, FLOAT32, arithmetic), FLOAT32)


def measured(kernel: Kernel, arithmetic: Arithmetic, k: int) -> Statistics:
    """Mean square and bias, L2."""
    a, b = data(k)
    wide = {"a": a.astype(np.float64), "b": b.astype(np.float64)}
    want, size = GEMM.reference(**wide), GEMM.absolute(wide)
    return statistics(kernel(a, b), want, size, reduction=k, output=FLOAT32, arithmetic=arithmetic)


def exact(kernel: Kernel, arithmetic: Arithmetic, k: int, wide_on_the_left: bool) -> bool:
    """Whether the bits are right on integers, L0."""
    limit = exact_integer_limit(k, "float32", arithmetic)
    random = np.random.default_rng(k)
    odd = (2 * random.integers(-(limit // 2) - 1, limit // 2 + 1, (24, k)) + 1).astype(F)
    sign = random.integers(-1, 2, (24, k)).astype(F)
    a, b = (odd, sign.T) if wide_on_the_left else (sign, odd.T)
    with np.errstate(over="ignore", invalid="ignore"):  # the faults may overflow
        got = kernel(a, np.ascontiguousarray(b))
    return bool((got == a.astype(np.float64) @ b.astype(np.float64)).all())


@pytest.mark.spec("GEMM-A1")
@pytest.mark.spec("GEMM-A4")
@pytest.mark.parametrize("kind", ["normal", "positive"])
@pytest.mark.parametrize("k", [1, 7, 64, 500])
@pytest.mark.parametrize("kernel", ORDERS)
def test_every_order_of_summation_keeps_the_worst_case(kernel: Kernel, k: int, kind: str) -> None:
    assert worst_case(kernel, PLAIN, k, kind).all()


@pytest.mark.spec("GEMM-A1")
@pytest.mark.parametrize("kind", ["normal", "positive"])
@pytest.mark.parametrize("k", [1, 7, 64, 500])
@pytest.mark.parametrize("kernel", DECLARED)
def test_declared_arithmetic_keeps_its_own_worst_case(kernel: Kernel, k: int, kind: str) -> None:
    assert worst_case(kernel, Arithmetic.declared(DECLARED[kernel]), k, kind).all()


@pytest.mark.spec("GEMM-A1")
@pytest.mark.parametrize("kernel", [tf32, bfloat16, float16, half])
def test_undeclared_narrow_operands_exceed_the_worst_case(kernel: Kernel) -> None:
    assert not worst_case(kernel, PLAIN, 16, "normal").all()


@pytest.mark.spec("GEMM-A2")
@pytest.mark.parametrize("wide_on_the_left", [True, False])
@pytest.mark.parametrize("k", [1, 32, 512])
@pytest.mark.parametrize("kernel", ORDERS)
def test_every_order_of_summation_is_exact_on_integers(
    kernel: Kernel, k: int, wide_on_the_left: bool
) -> None:
    assert exact(kernel, PLAIN, k, wide_on_the_left)


@pytest.mark.spec("GEMM-A2")
@pytest.mark.parametrize("wide_on_the_left", [True, False])
@pytest.mark.parametrize("k", [32, 512])
@pytest.mark.parametrize("kernel", DECLARED)
def test_declared_arithmetic_is_exact_on_the_integers_that_it_can_hold(
    kernel: Kernel, k: int, wide_on_the_left: bool
) -> None:
    assert exact(kernel, Arithmetic.declared(DECLARED[kernel]), k, wide_on_the_left)


@pytest.mark.spec("GEMM-A2")
@pytest.mark.parametrize("k", [32, 512])
@pytest.mark.parametrize("kernel", [tf32, bfloat16, float16, half])
def test_undeclared_narrow_arithmetic_fails_on_integers(kernel: Kernel, k: int) -> None:
    assert not exact(kernel, PLAIN, k, True)


@pytest.mark.spec("GEMM-A2")
def test_the_integers_fit_the_accumulator_the_format_and_the_multiplier() -> None:
    half_sum = Arithmetic(accumulator="float16")
    assert exact_integer_limit(1, "float32", PLAIN) == 2**24 - 1
    assert exact_integer_limit(4096, "float32", PLAIN) == 4095
    assert exact_integer_limit(32, "float16", PLAIN) == 2047
    assert exact_integer_limit(32, "float16", half_sum) == 63
    assert exact_integer_limit(32, "float32", Arithmetic(multiplier="bfloat16")) == 255
    assert exact_integer_limit(4096, "float16", half_sum) == 0
    assert exact_integer_limit(0, "bfloat16", PLAIN) == 255


@pytest.mark.spec("GEMM-A3")
@pytest.mark.parametrize("k", [1, 7, 64, 500])
@pytest.mark.parametrize("kernel", ORDERS)
def test_every_order_of_summation_keeps_the_statistics(kernel: Kernel, k: int) -> None:
    found = measured(kernel, PLAIN, k)
    assert found.count >= 1000
    assert found.accepted
    assert found.share <= 1


@pytest.mark.spec("GEMM-A3")
@pytest.mark.parametrize("kernel", DECLARED)
def test_declared_arithmetic_keeps_its_statistics(kernel: Kernel) -> None:
    assert measured(kernel, Arithmetic.declared(DECLARED[kernel]), 64).accepted


@pytest.mark.spec("GEMM-A3")
@pytest.mark.parametrize("k", [64, 500])
@pytest.mark.parametrize("kernel", [tf32, bfloat16, float16, half])
def test_undeclared_narrow_arithmetic_exceeds_the_statistics(kernel: Kernel, k: int) -> None:
    found = measured(kernel, PLAIN, k)
    assert not found.accepted
    assert found.share > 1


@pytest.mark.spec("GEMM-A3")
@pytest.mark.parametrize("format", [FLOAT16, BFLOAT16])
def test_one_rounding_to_a_narrow_result_is_within_the_statistics_and_three_are_not(format: Any) -> None:
    a, b = (round_to(x.astype(np.float64), format).astype(F) for x in data(4))
    wide = {"a": a.astype(np.float64), "b": b.astype(np.float64)}
    want, size = GEMM.reference(**wide), GEMM.absolute(wide)
    once = round_to(forwards(a, b).astype(np.float64), format)
    parts = [round_to(a[:, k : k + 1] * b[k : k + 1], format).astype(np.float64) for k in range(4)]
    often = parts[0]
    for part in parts[1:]:
        often = round_to(often + part, format).astype(np.float64)
    assert statistics(once, want, size, reduction=4, output=format, arithmetic=PLAIN).accepted
    assert not statistics(often, want, size, reduction=4, output=format, arithmetic=PLAIN).accepted


@pytest.mark.spec("GEMM-A3")
def test_a_nan_or_a_constant_bias_is_not_accepted() -> None:
    want = np.ones(2000)
    for got in (np.full(2000, np.nan), want * (1 + 9 * 2.0**-24)):
        found = statistics(got, want, want, reduction=1, output=FLOAT32, arithmetic=PLAIN)
        assert not found.accepted
    assert mean_square_limit(10) == 16
    assert bias_limit(4, 100) == 80


@pytest.mark.spec("GEMM-S2")
@pytest.mark.spec("GEMM-A1")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.1, -0.7), (0.0, 0.3), (-2.0, 0.0), (1e-3, 1e3)])
def test_factors_and_one_rounding_of_the_result_keep_the_worst_case(
    alpha: float, beta: float, format: Any
) -> None:
    a, b = (round_to(x.astype(np.float64), format).astype(F) for x in data(65))
    c = round_to(np.random.default_rng(1).normal(size=40), format).astype(F)
    wide = {"a": a.astype(np.float64), "b": b.astype(np.float64), "c": c.astype(np.float64)}
    factors = {"alpha": alpha, "beta": beta}
    want = GEMM.reference(**wide, **factors)
    bound = GEMM.bound(wide | factors, want, format, PLAIN)
    right = F(alpha) * forwards(a, b) + F(beta) * c
    assert accept(round_to(right.astype(np.float64), format), want, bound, format).all()
    if beta:
        wrong = round_to((right - F(beta) * c + c).astype(np.float64), format)
        assert accept(wrong, want, bound, format).all() == (beta == 1)


@pytest.mark.spec("GEMM-S1")
@pytest.mark.spec("GEMM-A1")
def test_a_sum_rounded_before_the_addend_exceeds_the_worst_case() -> None:
    a, b = (round_to(x.astype(np.float64), BFLOAT16).astype(F) for x in data(64))
    total = forwards(a, b)
    c = round_to(-total.astype(np.float64), BFLOAT16).astype(F)
    wide = {"a": a.astype(np.float64), "b": b.astype(np.float64), "c": c.astype(np.float64), "beta": 1.0}
    want = GEMM.reference(**wide)
    bound = GEMM.bound(wide, want, BFLOAT16, PLAIN)
    early = round_to(total.astype(np.float64), BFLOAT16).astype(F) + c
    assert accept(round_to((total + c).astype(np.float64), BFLOAT16), want, bound, BFLOAT16).all()
    assert accept(round_to(early.astype(np.float64), BFLOAT16), want, bound, BFLOAT16).mean() < 0.1


@pytest.mark.spec("GEMM-A1")
def test_gradual_underflow_is_demanded_unless_flushing_is_declared() -> None:
    a, b = np.full((1, 1), F(2.0**-70)), np.full((1, 1), F(2.0**-70))
    wide = {"a": a.astype(np.float64), "b": b.astype(np.float64)}
    want = GEMM.reference(**wide)
    flushed = np.zeros((1, 1), F)
    assert not accept(flushed, want, GEMM.bound(wide, want, FLOAT32, PLAIN), FLOAT32)
    declared = Arithmetic(flush_subnormals=True)
    assert accept(flushed, want, GEMM.bound(wide, want, FLOAT32, declared), FLOAT32)


@pytest.mark.spec("GEMM-A1")
def test_nothing_is_demanded_where_a_partial_sum_may_overflow() -> None:
    a, b = np.array([[3e38, -3e38, 1.0]]), np.array([[2.0], [2.0], [1.0]])
    want = GEMM.reference(a, b)
    assert want[0, 0] == 1
    bound = GEMM.bound({"a": a, "b": b}, want, FLOAT32, PLAIN)
    assert accept(np.array([[np.nan]]), want, bound, FLOAT32)


@pytest.mark.spec("GEMM-X2")
def test_an_infinite_result_is_demanded() -> None:
    a, b = np.array([[np.inf, 1.0], [np.inf, 3e38]]), np.array([[1.0], [-2.0]])
    bound = GEMM.bound({"a": a, "b": b}, GEMM.reference(a, b), FLOAT32, PLAIN)
    want = np.full((2, 1), np.inf)
    assert accept(want, want, bound, FLOAT32).all()
    assert accept(np.full((2, 1), 3e38), want, bound, FLOAT32).ravel().tolist() == [False, True]


@pytest.mark.spec("GEN-D9")
@pytest.mark.spec("GEMM-A1")
@pytest.mark.parametrize("factor", [0.1, 1e-42, 3e-45, 2.0**-149, 1e-46, 1e30])
def test_a_factor_may_be_rounded_to_float32_wherever_it_lies(factor: float) -> None:
    random = np.random.default_rng(0)
    a, b, c = (random.normal(0, 1, (1, 64)).astype(F) for _ in range(3))
    a *= F(1e38) if factor < 1 else F(1e-30)
    with np.errstate(all="ignore"):
        got = F(factor) * (a * b) + F(factor) * c
    wide = {"a": a.T[:, :, None], "b": b.T[:, :, None], "c": c.T[:, :, None]}
    arguments = {name: array.astype(np.float64) for name, array in wide.items()}
    arguments |= {"alpha": factor, "beta": factor}
    want = GEMM.reference(**arguments)
    bound = GEMM.bound(arguments, want, FLOAT32, PLAIN)
    assert accept(got.T[:, :, None], want, bound, FLOAT32).all()
    share = abs(float(F(factor)) - factor) / factor
    assert (bound.value <= (share + 2.0**-21) * (1 + share) * GEMM.absolute(arguments) + 4 * 2.0**-149).all()


@pytest.mark.spec("GEN-D9")
def test_nothing_is_demanded_of_a_factor_that_float32_does_not_hold() -> None:
    large = {"a": np.array([[1e-38, 0.0]]).T, "b": np.ones((1, 1)), "alpha": 1e39}
    assert np.isposinf(GEMM.bound(large, GEMM.reference(**large), FLOAT32, PLAIN).value).all()
    small = {"a": np.array([[np.inf, 1.0]]).T, "b": np.ones((1, 1)), "alpha": 1e-50}
    found = GEMM.bound(small, GEMM.reference(**small), FLOAT32, PLAIN).value
    assert np.isposinf(found).ravel().tolist() == [True, False]


@pytest.mark.spec("GEMM-S3")
@pytest.mark.spec("GEMM-X1")
def test_what_is_not_read_is_not_in_the_bound() -> None:
    a, b, c = np.full((2, 3), np.nan), np.full((3, 2), np.nan), np.full((2, 2), np.nan)
    zero = GEMM.bound({"a": a, "b": b, "alpha": 0.0}, np.zeros((2, 2)), FLOAT32, PLAIN)
    assert (zero.value == 0).all()
    numbers = {"a": np.ones((2, 3)), "b": np.ones((3, 2)), "c": c}
    assert np.isfinite(GEMM.bound(numbers, np.full((2, 2), 3.0), FLOAT32, PLAIN).value).all()
    empty = {"a": np.ones((2, 0)), "b": np.ones((0, 2)), "c": np.ones((2, 2)), "beta": 1.0}
    assert (GEMM.bound(empty, np.ones((2, 2)), FLOAT32, PLAIN).value <= 2.0**-22).all()


@pytest.mark.spec("GEN-D7")
def test_gamma_has_no_pole() -> None:
    u = 2.0**-11
    values = [gamma(n, u) for n in range(0, 5000, 7)]
    assert all(later > earlier for earlier, later in pairwise_of(values))
    assert gamma(1023, u) <= 1 <= gamma(1025, u)
    assert gamma(0, u) == 0
