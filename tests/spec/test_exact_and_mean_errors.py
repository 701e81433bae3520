"""Sums that no order rounds have no error, and errors of right kernels do not lean to one side."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.spec.accuracy import (
    FORMATS,
    Arithmetic,
    Running,
    accept,
    independent_statistics,
    mean_error,
    round_to,
)
from gaugeblock.spec.operations import OPERATIONS

Floats = NDArray[np.float64]
F = np.float32
FLOAT32 = FORMATS["float32"]
PLAIN = Arithmetic()
U = 2.0**-24
FACTOR = 1 - 2.0**-21


def sequential(terms: Floats) -> Floats:
    """Add along the first axis in float32, one term after the other."""
    return np.add.accumulate(terms.astype(F), axis=0)[-1].astype(np.float64)


@pytest.mark.spec("ACT-A9")
def test_a_sum_of_whole_numbers_that_float32_holds_has_no_error() -> None:
    numbers = np.random.default_rng(1).integers(-127, 128, (1 << 17, 2)).astype(np.float64)
    total = Running.exact(numbers, PLAIN).sum(0)
    np.testing.assert_array_equal(total.error, 0)
    np.testing.assert_array_equal(sequential(numbers), total.value[0])


@pytest.mark.spec("ACT-A9")
def test_one_more_bit_than_float32_holds_brings_the_error_back() -> None:
    numbers = np.array([[2.0**24], [1.0]])
    assert Running.exact(numbers, PLAIN).sum(0).error > 0


@pytest.mark.spec("ACT-A9")
@pytest.mark.parametrize("rest", [-np.inf, -300.0])
def test_one_of_many_equal_elements_is_known_but_for_a_rounding(rest: float) -> None:
    x = np.full(100_003, rest)
    x[::2] = 0
    count = np.sum(x == 0)
    for name in ("softmax", "log_softmax"):
        want = OPERATIONS[name].reference(x)
        bound = OPERATIONS[name].bound({"x": x}, want, FLOAT32, PLAIN).value[x == 0]
        missed = np.abs(1 / (count - 1) - 1 / count) if name == "softmax" else np.log(count / (count - 1))
        assert np.all(bound < missed / 4)


@pytest.mark.spec("ACT-A9")
def test_terms_that_are_zero_cost_no_rounding() -> None:
    numbers = np.zeros((1000, 1))
    numbers[::100, 0] = np.random.default_rng(2).standard_normal(10)
    total = Running.exact(numbers, PLAIN).sum(0)
    assert total.error <= 10 * U * np.sum(np.abs(numbers))


def products(k: int, results: int) -> tuple[Floats, Floats]:
    """Return exact sums of products of zero mean, and the products."""
    random = np.random.default_rng(k)
    a, b = (random.standard_normal((k, results)).astype(F).astype(np.float64) for _ in range(2))
    return np.sum(a * b, axis=0), a * b


@pytest.mark.spec("GEMM-A3")
@pytest.mark.spec("POOL-A7")
@pytest.mark.parametrize("k", [33, 200, 1000])
def test_every_order_of_summation_rounds_like_independent_roundings(k: int) -> None:
    want, terms = products(k, 2000)
    squares = np.sum(np.square(terms), axis=0)
    sums = [sequential(terms), sequential(terms[::-1])]
    sums.append(sequential(np.stack([sequential(part) for part in np.array_split(terms, 7)])))
    for got in sums:
        found = independent_statistics(got, want, squares, reduction=k, output=FLOAT32)
        assert found.accepted
        assert found.share < 0.75


@pytest.mark.spec("GEMM-A3")
@pytest.mark.spec("CONV-A3")
@pytest.mark.parametrize("k", [33, 1000, 4000])
def test_a_small_factor_shows_along_the_results(k: int) -> None:
    want, terms = products(k, 2000)
    squares = np.sum(np.square(terms), axis=0)
    got = (sequential(terms) * FACTOR).astype(F)
    assert not independent_statistics(got, want, squares, reduction=k, output=FLOAT32).accepted


@pytest.mark.spec("POOL-A7")
def test_a_rounded_constant_is_allowed_for_where_it_is_announced() -> None:
    want, terms = products(16, 100_000)
    squares = np.sum(np.square(terms), axis=0)
    settings = {"reduction": 16, "output": FLOAT32}
    got = (want * (1 + 1.5 * U)).astype(F)
    assert not independent_statistics(got, want, squares, **settings).accepted
    assert independent_statistics(got, want, squares, **settings, constants=2).accepted


def errors_of_silu(dtype: str) -> tuple[Floats, Floats, Floats]:
    """Return arguments, exact results and bounds."""
    x = np.random.default_rng(3).uniform(1, 8, 1 << 14)
    x = np.unique(round_to(x, FORMATS[dtype]).astype(np.float64))
    want = reference.silu(x)
    return x, want, OPERATIONS["silu"].bound({"x": x}, want, FORMATS[dtype], PLAIN).value


@pytest.mark.spec("ACT-A10")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_errors_of_a_right_function_cancel(dtype: str) -> None:
    x, want, bound = errors_of_silu(dtype)
    got = round_to((x.astype(F) / (1 + np.exp(-x).astype(F))).astype(np.float64), FORMATS[dtype])
    found = mean_error(got, want, bound, output=FORMATS[dtype])
    assert found.count >= 200
    assert found.accepted


@pytest.mark.spec("ACT-A10")
@pytest.mark.parametrize("side", [np.inf, 0.0])
def test_a_unit_to_one_side_does_not(side: float) -> None:
    _, want, bound = errors_of_silu("float32")
    got = np.nextafter(want.astype(F), F(side))
    assert np.all(np.abs(got - want) <= bound)  # each of them is right
    assert not mean_error(got, want, bound, output=FLOAT32).accepted


@pytest.mark.spec("ACT-A10")
def test_truncation_to_a_narrow_format_shows() -> None:
    _, want, bound = errors_of_silu("float16")
    nearest = round_to(want, FORMATS["float16"]).astype(np.float16)
    cut = np.where(nearest > want, np.nextafter(nearest, np.float16(0)), nearest)
    assert not mean_error(cut, want, bound, output=FORMATS["float16"]).accepted


@pytest.mark.spec("UNIT-A4")
def test_every_formula_of_a_saturated_gate_is_zero_or_one_in_float32() -> None:
    z = np.array([-300.0, -120.0, -104.0, 104.0, 120.0, 300.0], F)
    with np.errstate(over="ignore", under="ignore"):
        small, plain = np.exp(-np.abs(z)), 1 / (1 + np.exp(-z))
        split = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    for gate in (plain, split, (1 + np.tanh(z / 2)) / 2):
        np.testing.assert_allclose(gate, z > 0, rtol=0, atol=2.0**-126)
    np.testing.assert_array_equal(np.tanh(z), np.sign(z))


@pytest.mark.spec("UNIT-A4")
def test_a_counter_counts_without_an_error() -> None:
    steps = np.random.default_rng(4).choice([-120.0, 120.0], (200, 1, 1))
    shut = np.zeros((1, 1))
    open_gates = np.array([[400.0], [400.0], [0.0], [400.0]])
    w, u = np.zeros((4, 1, 1)), np.zeros((4, 1, 1))
    w[2] = 1
    y = reference.lstm_unit(steps, shut, shut, w, u, open_gates)
    np.testing.assert_array_equal(y[1, :, 0, 0], np.cumsum(np.sign(steps)))


@pytest.mark.spec("ACT-A5")
def test_a_term_that_vanishes_in_a_sum_is_still_an_error_of_its_logarithm() -> None:
    x = np.array([0.0, -60.0, -80.0])
    record = OPERATIONS["log_softmax"]
    want = record.reference(x)
    bound = record.bound({"x": x}, want, FORMATS["float32"], Arithmetic())
    assert want[0] < 0
    assert accept(np.array([0.0, -60.0, -80.0]), want, bound.value, FORMATS["float32"]).all()
