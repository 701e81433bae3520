"""The ``.approx`` instructions: correctly rounded by default, wrong within their limits when asked."""

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from gaugeblock.gpu.simulator.numbers import approximate

Array = npt.NDArray[Any]
Function = Callable[..., Array]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
RNG = np.random.default_rng(0)

WIDE = np.ldexp(RNG.uniform(1, 2, 4000), RNG.integers(-126, 127, 4000)).astype(np.float32)
SIGNED = (RNG.uniform(-20, 20, 4000)).astype(np.float32)


def ulp(y: Array) -> Array:
    """Return the distance of float32 numbers around y."""
    exponent = np.maximum(np.frexp(y)[1] - 1, -126)
    spacing: Array = np.ldexp(1.0, exponent - 23)
    return spacing


#: instruction, exact function, operands, documented limit as a function of operand and exact result
FLOAT32: dict[str, tuple[Function, Function, Array, Function]] = {
    "ex2": (approximate.ex2, np.exp2, SIGNED * 6, lambda x, y: 2.5 * ulp(y)),
    "lg2": (
        approximate.lg2,
        np.log2,
        np.concatenate([WIDE, RNG.uniform(0.5, 2, 2000).astype(np.float32)]),
        lambda x, y: 2.0**-22 * np.where((x > 0.5) & (x < 2), 1, np.abs(y)),
    ),
    "rcp": (approximate.rcp, lambda x: 1 / x, WIDE, lambda x, y: ulp(y)),
    "sqrt": (approximate.sqrt, np.sqrt, WIDE, lambda x, y: 2.0**-23 * np.abs(y)),
    "rsqrt": (approximate.rsqrt, lambda x: 1 / np.sqrt(x), WIDE, lambda x, y: 2.0**-22.9 * np.abs(y)),
    "sin": (
        approximate.sin,
        np.sin,
        np.concatenate([SIGNED, 15 * SIGNED]),
        lambda x, y: np.where(np.abs(x) <= 2 * np.pi, 2.0**-20.5, 2.0**-14.7),
    ),
    "cos": (
        approximate.cos,
        np.cos,
        np.concatenate([SIGNED, 15 * SIGNED]),
        lambda x, y: np.where(np.abs(x) <= 2 * np.pi, 2.0**-20.5, 2.0**-14.7),
    ),
    "tanh": (approximate.tanh, np.tanh, SIGNED, lambda x, y: 2.0**-11 * np.abs(y)),
}
HALF: dict[str, tuple[Function, Function, np.dtype[Any], Function]] = {
    "ex2.f16": (approximate.ex2, np.exp2, np.dtype(np.float16), lambda x, y: 2.0**-9.9 * y),
    "ex2.bf16": (approximate.ex2, np.exp2, BFLOAT16, lambda x, y: 2.0**-7 * y),
    "tanh.f16": (
        approximate.tanh,
        np.tanh,
        np.dtype(np.float16),
        lambda x, y: np.full(y.shape, 2.0**-10.987),
    ),
    "tanh.bf16": (approximate.tanh, np.tanh, BFLOAT16, lambda x, y: np.full(y.shape, 2.0**-8)),
}


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", list(FLOAT32))
def test_results_are_rounded_to_nearest_by_default(name: str) -> None:
    function, exact, x, _ = FLOAT32[name]
    wide = x.astype(np.float64)
    assert np.array_equal(function(x), exact(wide).astype(np.float32))


@pytest.mark.parametrize("name", list(FLOAT32))
def test_perturbed_results_err_within_the_documented_limit_and_use_most_of_it(name: str) -> None:
    function, exact, x, limit = FLOAT32[name]
    wide = x.astype(np.float64)
    y = exact(wide)
    with approximate.perturbed():
        share = np.abs(function(x) - y) / limit(wide, y)
    assert share.max() <= 1
    assert share.max() > 0.8


@pytest.mark.parametrize("name", list(HALF))
def test_half_precision_results_obey_their_limits_for_every_operand(name: str) -> None:
    function, exact, dtype, limit = HALF[name]
    x = np.arange(65536, dtype=np.uint16).view(dtype)
    wide = x.astype(np.float64)
    y = exact(wide)
    largest, smallest = (3.38e38, 2.0**-126) if dtype == BFLOAT16 else (65504.0, 2.0**-14)
    normal = (np.abs(y) <= largest) & ((np.abs(y) >= smallest) | name.startswith("tanh"))
    with approximate.perturbed():
        rough = function(x).astype(np.float64)
    for result in (function(x).astype(np.float64), rough):
        assert (np.abs(result - y)[normal] <= limit(wide, y)[normal]).all()
        assert np.array_equal(np.isnan(result), np.isnan(wide))
    assert np.count_nonzero(rough != function(x).astype(np.float64)) > 1000


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_special_operands_give_the_results_of_the_tables(share: float) -> None:
    x = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan], np.float32)
    nan = np.nan
    tables: dict[Function, list[float]] = {
        approximate.ex2: [0.0, 1.0, 1.0, np.inf, nan],
        approximate.lg2: [nan, -np.inf, -np.inf, np.inf, nan],
        approximate.rcp: [-0.0, -np.inf, np.inf, 0.0, nan],
        approximate.sqrt: [nan, -0.0, 0.0, np.inf, nan],
        approximate.rsqrt: [nan, -np.inf, np.inf, 0.0, nan],
        approximate.sin: [nan, -0.0, 0.0, nan, nan],
        approximate.cos: [nan, 1.0, 1.0, nan, nan],
        approximate.tanh: [-1.0, -0.0, 0.0, 1.0, nan],
    }
    with approximate.perturbed(share):
        for function, want in tables.items():
            got = function(x)
            assert np.array_equal(got, np.array(want, np.float32), equal_nan=True)
            zeros = got == 0
            assert np.array_equal(np.signbit(got[zeros]), np.signbit(np.array(want)[zeros]))
            assert (got.view(np.uint32)[np.isnan(got)] == 0x7FFFFFFF).all()
        for negative in (approximate.lg2, approximate.sqrt, approximate.rsqrt):
            assert np.isnan(negative(np.array([-1.0], np.float32))).all()


def test_ftz_flushes_operands_and_results() -> None:
    tiny = np.array([1e-40, -1e-40], np.float32)
    assert approximate.rcp(tiny, ftz=True).tolist() == [np.inf, -np.inf]
    assert approximate.lg2(tiny, ftz=True).tolist() == [-np.inf, -np.inf]
    assert approximate.ex2(np.array([-130.0], np.float32)).item() == 2.0**-130
    assert approximate.ex2(np.array([-130.0], np.float32), ftz=True).item() == 0.0


def test_division_errs_by_two_units_at_most_and_underflows_for_huge_divisors() -> None:
    a, b = WIDE, np.ldexp(RNG.uniform(1, 2, 4000), RNG.integers(-126, 126, 4000)).astype(np.float32)
    y = a.astype(np.float64) / b
    fine = (np.abs(y) < 2.0**127) & (np.abs(y) > 2.0**-148)
    for divide in (approximate.div, approximate.div_full):
        assert np.array_equal(divide(a, b), a / b)
        with approximate.perturbed():
            share = np.abs(divide(a, b) - y)[fine] / ulp(y)[fine]
        assert share.max() <= 2
        assert share.max() > 1.5
    x, huge = np.array([1.0, -3e38, np.inf, np.nan], np.float32), np.array([1.5 * 2.0**126], np.float32)
    assert approximate.div(x, huge).tolist()[:2] == [0.0, -0.0]
    assert np.signbit(approximate.div(x, huge)[:2]).tolist() == [False, True]
    assert np.isnan(approximate.div(x, huge)[2:]).all()
    assert np.array_equal(approximate.div_full(x, huge), x / huge, equal_nan=True)


def test_perturbation_is_reproducible_depends_on_the_seed_and_ends() -> None:
    plain = approximate.ex2(SIGNED)
    with approximate.perturbed(seed=1):
        first, again = approximate.ex2(SIGNED), approximate.ex2(SIGNED[::-1].copy())[::-1]
        with approximate.perturbed(seed=2):
            other = approximate.ex2(SIGNED)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, plain)
    assert np.array_equal(approximate.ex2(SIGNED), plain)
    with pytest.raises(ValueError, match="share is 2"), approximate.perturbed(2):
        pass
