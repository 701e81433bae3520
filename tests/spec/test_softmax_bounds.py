"""The bounds of softmax, log-softmax and their gradients hold every order of summation and no narrow sum."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept, round_to, ulp
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
F = np.float32
FLOAT32 = FORMATS["float32"]


def exp(x: Array) -> Array:
    """Return the exponential in float32, two units in the last place too large wherever that is not at 0."""
    exact = np.exp(x.astype(np.float64))
    return round_to(exact + np.where(x == 0, 0, 1.5) * ulp(exact, FLOAT32), FLOAT32)


def exp2(x: Array) -> Array:
    """Exp by way of exp2, with the product's rounding."""
    scaled = (x * F(math.log2(math.e))).astype(np.float64)
    exact = np.exp2(scaled)
    return round_to(exact + np.where(x == 0, 0, 1.5) * ulp(exact, FLOAT32), FLOAT32)


def forwards(terms: Array) -> Array:
    """Add one term after the other."""
    total = np.zeros_like(terms[..., :1])
    for k in range(terms.shape[-1]):
        total = total + terms[..., k : k + 1]
    return total


def pairwise(terms: Array) -> Array:
    """Add as a tree does."""
    while terms.shape[-1] > 1:
        if terms.shape[-1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[..., :1])], axis=-1)
        terms = terms[..., ::2] + terms[..., 1::2]
    return terms


def narrow(terms: Array) -> Array:
    """Round the sum to bfloat16 at every step: a fault."""
    total = np.zeros_like(terms[..., :1])
    for k in range(terms.shape[-1]):
        total = round_to(total + terms[..., k : k + 1], FORMATS["bfloat16"]).astype(np.float32)
    return total


Exp = Callable[[Array], Array]
Sum = Callable[[Array], Array]


def softmax(exp: Exp, sum: Sum, x: Array) -> Array:
    e = exp(x - x.max(axis=-1, keepdims=True))
    return e * (1 / sum(e))


def softmax_backward(exp: Exp, sum: Sum, dy: Array, x: Array) -> Array:
    s = softmax(exp, sum, x)
    return s * (dy - sum(s * dy))


def log_softmax(exp: Exp, sum: Sum, x: Array) -> Array:
    m = x.max(axis=-1, keepdims=True)
    return (x - m) - np.log(sum(exp(x - m)))


def log_softmax_backward(exp: Exp, sum: Sum, dy: Array, x: Array) -> Array:
    return dy - exp(log_softmax(exp, sum, x)) * sum(dy)


KERNELS: dict[str, Callable[..., Array]] = {
    "softmax": softmax,
    "softmax_backward": softmax_backward,
    "log_softmax": log_softmax,
    "log_softmax_backward": log_softmax_backward,
}


def rows(length: int, scale: float, dtype: str) -> dict[str, Array]:
    random = np.random.default_rng(length)
    x = random.normal(0, scale, (8, length))
    x[0] = 0  # constant rows grow the denominator most
    x[1] += 100
    dy = random.normal(0, 1, x.shape)
    return {
        name: round_to(array, FORMATS[dtype]).astype(np.float32) for name, array in {"dy": dy, "x": x}.items()
    }


def accepted(name: str, dtype: str, arrays: dict[str, Array], exp: Exp, sum: Sum) -> NDArray[np.bool_]:
    operation = OPERATIONS[name]
    used = {argument: arrays[argument] for argument in operation.arrays}
    wide = {argument: array.astype(np.float64) for argument, array in used.items()}
    want = operation.reference(**wide)
    bound = operation.bound(wide, want, FORMATS[dtype], Arithmetic())
    got = round_to(KERNELS[name](exp, sum, *used.values()).astype(np.float64), FORMATS[dtype])
    return accept(got, want, bound, FORMATS[dtype])


@pytest.mark.spec("ACT-A5")
@pytest.mark.spec("ACT-A6")
@pytest.mark.spec("ACT-A7")
@pytest.mark.parametrize("exp", [exp, exp2])
@pytest.mark.parametrize("sum", [forwards, pairwise])
@pytest.mark.parametrize(("length", "scale"), [(1, 1.0), (2, 5.0), (33, 30.0), (257, 1.0), (1025, 0.1)])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", KERNELS)
def test_any_order_of_summation_stays_within_the_bound(
    name: str, dtype: str, length: int, scale: float, sum: Sum, exp: Exp
) -> None:
    assert accepted(name, dtype, rows(length, scale, dtype), exp, sum).all()


@pytest.mark.spec("ACT-A7")
@pytest.mark.parametrize("name", KERNELS)
def test_a_denominator_in_bfloat16_exceeds_the_bound(name: str) -> None:
    assert not accepted(name, "bfloat16", rows(600, 0.1, "bfloat16"), exp, narrow).all()


@pytest.mark.spec("ACT-A5")
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_bound_grows_with_the_distance_from_the_maximum_only(name: str) -> None:
    x = np.array([[0.0, -1.0, -2.0]])
    bounds = [
        OPERATIONS[name]
        .bound({"x": x + shift}, OPERATIONS[name].reference(x + shift), FLOAT32, Arithmetic())
        .value
        for shift in (0.0, 64.0)
    ]
    assert (bounds[0] == bounds[1]).all()


@pytest.mark.spec("ACT-A5")
def test_a_row_far_from_zero_shows_whether_the_maximum_was_added_to_the_logarithm() -> None:
    x = F([[-1e7, -1e7 + 1]])
    wide, record = x.astype(np.float64), OPERATIONS["log_softmax"]
    want = record.reference(wide)
    bound = record.bound({"x": wide}, want, FLOAT32, Arithmetic())
    assert not accept(F([[-1, 0]]), want, bound, FLOAT32).any()  # x − (m + log Σ)
    assert accept(log_softmax(exp, forwards, x), want, bound, FLOAT32).all()


@pytest.mark.spec("ACT-X4")
@pytest.mark.parametrize("name", KERNELS)
def test_a_row_of_one_element_is_exact(name: str) -> None:
    arrays = rows(1, 3.0, "float32")
    operation = OPERATIONS[name]
    wide = {argument: arrays[argument].astype(np.float64) for argument in operation.arrays}
    want = operation.reference(**wide)
    assert (want == (1 if name == "softmax" else 0)).all()
    bound = operation.bound(wide, want, FLOAT32, Arithmetic())
    assert (bound.value <= (2.0**-126 if name != "softmax" else 0)).all()


@pytest.mark.spec("ACT-X5")
def test_absent_elements_take_no_part_in_the_bound() -> None:
    x = np.array([[1.0, -np.inf, 2.0], [-np.inf, -np.inf, -np.inf], [np.nan, 1.0, 2.0]])
    operation = OPERATIONS["softmax"]
    with np.errstate(all="ignore"):
        want = operation.reference(x)
    bound = operation.bound({"x": x}, want, FLOAT32, Arithmetic())
    assert np.isfinite(bound.value).all()
    assert accept(want.astype(np.float32), want, bound, FLOAT32).all()
