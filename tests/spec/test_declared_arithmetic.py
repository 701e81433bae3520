"""Whoever computes as declared is right: no declaration makes a bound smaller, and each is wide enough."""

from typing import Any

import numpy as np
import pytest

from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.operations import OPERATIONS

FLOAT32 = FORMATS["float32"]
TINY = 2.0**-149


def judged(name: str, declared: dict[str, Any], got: list[float], **arguments: Any) -> list[bool]:
    """Return which of several answers to a call with one result are accepted."""
    record = OPERATIONS[name]
    with np.errstate(all="ignore"):
        want = record.reference(**arguments)
    bound = record.bound(arguments, want, FLOAT32, Arithmetic.declared(declared))
    return [bool(accept(np.full(want.shape, value), want, bound, FLOAT32).all()) for value in got]


INFINITE, SMALL = np.array([[[np.inf]]]), np.array([[[TINY]]])
PRODUCTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gemm": ("a", "b", {}),
    "conv": ("x", "w", {}),
    "conv_fused": ("x", "w", {"bias": np.zeros(1)}),
    "conv_transpose": ("x", "w", {}),
    "conv_backward_input": ("dy", "w", {"input_shape": (1, 1, 1)}),
    "conv_backward_weight": ("dy", "x", {"kernel_shape": (1, 1, 1)}),
}


@pytest.mark.spec("GEMM-X2")
@pytest.mark.spec("CONV-X2")
@pytest.mark.spec("GEN-A1")
@pytest.mark.parametrize("declared", [{"multiplier": "tf32"}, {"flush_subnormals": True}])
@pytest.mark.parametrize("name", PRODUCTS)
def test_an_infinity_times_what_counts_as_zero_is_infinite_or_nan(
    name: str, declared: dict[str, Any]
) -> None:
    left, right, rest = PRODUCTS[name]
    answers = [np.inf, np.nan, 0.0, -np.inf, 1.0]
    for arrays in ({left: INFINITE, right: SMALL}, {left: SMALL, right: INFINITE}):
        assert judged(name, declared, answers, **arrays, **rest) == [True, True, False, False, False]
        assert judged(name, {}, answers, **arrays, **rest) == [True, False, False, False, False]
    normal = {left: INFINITE, right: np.ones((1, 1, 1))}
    assert judged(name, declared, answers, **normal, **rest) == [True, False, False, False, False]


@pytest.mark.spec("CONV-X2")
@pytest.mark.parametrize(("activation", "limit"), [("relu", 0.0), ("sigmoid", 0.0), ("tanh", -1.0)])
def test_a_fused_function_takes_the_limit_or_the_nan_of_such_a_product(activation: str, limit: float) -> None:
    call = {"x": -INFINITE, "w": SMALL, "bias": np.ones(1), "activation": activation}
    declared = {"multiplier": "bfloat16"}
    assert judged("conv_fused", declared, [limit, np.nan, 0.5], **call) == [True, True, False]
