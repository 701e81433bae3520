"""Whoever computes as declared is right: no declaration makes a bound smaller, and each is wide enough."""

from typing import Any

import numpy as np
import pytest

from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept, round_to
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


@pytest.mark.spec("UNIT-X2")
def test_a_unit_whose_infinite_weight_meets_what_counts_as_zero_may_have_anything() -> None:
    one = np.ones((1, 1))
    call = {"x": SMALL, "h": 0 * one, "c": one, "w": np.full((4, 1, 1), np.inf), "u": np.zeros((4, 1, 1))}
    call["bias"] = np.zeros((4, 1))
    assert judged("lstm_unit", {"multiplier": "tf32"}, [np.nan], **call) == [True]
    assert judged("lstm_unit", {}, [np.nan], **call) == [False]


@pytest.mark.spec("CONV-X2")
@pytest.mark.parametrize(("activation", "limit"), [("relu", 0.0), ("sigmoid", 0.0), ("tanh", -1.0)])
def test_a_fused_function_takes_the_limit_or_the_nan_of_such_a_product(activation: str, limit: float) -> None:
    call = {"x": -INFINITE, "w": SMALL, "bias": np.ones(1), "activation": activation}
    declared = {"multiplier": "bfloat16"}
    assert judged("conv_fused", declared, [limit, np.nan, 0.5], **call) == [True, True, False]


# No declaration makes a bound smaller -----------------------------------------------------------------------

DECLARATIONS: list[dict[str, Any]] = [
    {"multiplier": "tf32"},
    {"multiplier": "float16"},
    {"multiplier": "bfloat16", "truncates": True},
    {"multiplier": "tf32", "products": 3},
    {"multiplier": "bfloat16", "products": 4},
    {"multiplier": "bfloat16", "products": 6},
    {"multiplier": "bfloat16", "products": 9},
    {"accumulator": "float16"},
    {"accumulator": "tensor_core", "fraction_bits": 23, "block": 4},
    {"splits": 8},
    {"order": "free"},
    {"flush_subnormals": True},
    {"fast_exp": True},
    *({"approximations": (name,)} for name in ("division", "exp2", "log", "tanh")),
    {"algorithm": "winograd_2"},
    {"algorithm": "winograd_4"},
    {"algorithm": "winograd_6"},
    {"algorithm": "fft"},
]
SPECIAL = [np.inf, -np.inf, np.nan, 0.0, TINY, -TINY, 2.0**-127, 3e38, -3e38, -3.085, 6.0, 3.0, -120.0, 1e-20]
WINDOWS: dict[str, Any] = {"padding": 1}
CALLS: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "gemm": ({"a": (4, 5), "b": (5, 4), "c": (4,)}, {"alpha": 1e-42, "beta": 0.3}),
    "conv": ({"x": (2, 3, 5, 5), "w": (2, 3, 3, 3), "bias": (2,)}, WINDOWS),
    "conv_fused": ({"x": (2, 3, 5, 5), "w": (2, 3, 3, 3), "bias": (2,)}, {"activation": "gelu", **WINDOWS}),
    "conv_transpose": ({"x": (2, 3, 4, 4), "w": (3, 2, 3, 3)}, WINDOWS),
    "conv_backward_input": (
        {"dy": (2, 3, 5, 5), "w": (3, 2, 3, 3)},
        {"input_shape": (2, 2, 5, 5), **WINDOWS},
    ),
    "conv_backward_weight": (
        {"dy": (2, 3, 5, 5), "x": (2, 2, 5, 5)},
        {"kernel_shape": (3, 2, 3, 3), **WINDOWS},
    ),
    "conv_backward_bias": ({"dy": (2, 3, 5, 5)}, {}),
    "avg_pool": ({"x": (2, 3, 5, 5)}, {"kernel": 2}),
    "avg_pool_backward": ({"dy": (2, 3, 4, 4)}, {"input_shape": (2, 3, 5, 5), "kernel": 2, "stride": 1}),
    "max_pool": ({"x": (2, 3, 5, 5)}, {"kernel": 2}),
    "max_pool_indices": ({"x": (2, 3, 5, 5)}, {"kernel": 2}),
    "max_pool_backward": ({"dy": (2, 3, 4, 4), "x": (2, 3, 5, 5)}, {"kernel": 2, "stride": 1}),
    "maxout": ({"x": (6, 8)}, {}),
    "maxout_backward": ({"dy": (6, 4), "x": (6, 8)}, {}),
}


def planted(name: str, dtype: str, seed: int) -> dict[str, Any]:
    """Return the arguments of a call with special values anywhere."""
    record, random = OPERATIONS[name], np.random.default_rng(seed)
    shapes, parameters = CALLS.get(name, (dict.fromkeys(record.arrays, (24, 5)), {}))
    arrays = {}
    for array, shape in shapes.items():
        values = random.normal(0, 3, shape)
        where = random.random(shape) < 0.15
        values[where] = random.choice(SPECIAL, where.sum())
        arrays[array] = round_to(values, FORMATS[dtype]).astype(np.float64)
    return arrays | parameters


@pytest.mark.spec("GEN-D8")
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", [name for name, record in OPERATIONS.items() if record.concept != "unit"])
def test_no_declaration_makes_a_bound_smaller(name: str, dtype: str) -> None:
    record = OPERATIONS[name]
    for seed in range(3):
        arguments = planted(name, dtype, seed)
        with np.errstate(all="ignore"):
            want = record.reference(**arguments)
        plain = record.bound(arguments, want, FORMATS[dtype], Arithmetic()).value
        for declaration in DECLARATIONS:
            found = record.bound(arguments, want, FORMATS[dtype], Arithmetic.declared(declaration)).value
            assert not np.any(found < plain), declaration
            assert not np.any(np.isnan(plain))


@pytest.mark.spec("ACT-A5")
@pytest.mark.spec("ACT-X5")
def test_a_masked_row_has_the_bound_of_a_fast_exponential_as_if_the_mask_were_not_there() -> None:
    record, fast = OPERATIONS["log_softmax"], Arithmetic(fast_exp=True)
    x, masked = np.array([[0.0, -3.085]]), np.array([[0.0, -3.085, -np.inf]])
    whole = record.bound({"x": x}, record.reference(x), FLOAT32, fast).value
    found = record.bound({"x": masked}, record.reference(masked), FLOAT32, fast).value
    assert (whole <= found[:, :2]).all()
    assert (found[:, :2] <= 2 * whole).all()


@pytest.mark.spec("GEN-A3")
@pytest.mark.parametrize(
    ("name", "other", "arguments"),
    [
        ("relu", 0.0, {"x": [TINY]}),
        ("relu_backward", 0.0, {"dy": [1.0], "x": [TINY]}),
        ("relu6_backward", 0.0, {"dy": [1.0], "x": [TINY]}),
        ("leaky_relu_backward", 0.01, {"dy": [1.0], "x": [TINY]}),
        ("elu_backward", 0.5, {"dy": [1.0], "x": [TINY], "alpha": 0.5}),
        ("hard_tanh_backward", 0.0, {"dy": [1.0], "x": [TINY], "min_val": 0.0}),
        ("hard_tanh", 0.0, {"x": [-TINY]}),
        ("maxout", 0.0, {"x": [TINY, -1.0]}),
        ("max_pool", 0.0, {"x": [[[TINY, -1.0]]], "kernel": 2}),
        ("max_pool_indices", 0, {"x": [[[0.0, TINY]]], "kernel": 2}),
    ],
)
def test_where_subnormals_are_flushed_a_result_may_be_that_of_zero(
    name: str, other: float, arguments: dict[str, Any]
) -> None:
    call = {key: np.array(value) if isinstance(value, list) else value for key, value in arguments.items()}
    assert judged(name, {"flush_subnormals": True}, [other, 3.0], **call) == [True, False]
    assert judged(name, {}, [other], **call) == [False]


@pytest.mark.spec("GEN-A3")
@pytest.mark.parametrize("name", ["maxout_backward", "max_pool_backward"])
def test_where_subnormals_are_flushed_the_first_of_them_may_be_the_largest(name: str) -> None:
    x, dy = np.array([[[0.0, TINY]]]), np.ones((1, 1, 1))
    call = {"dy": dy, "x": x} | ({"kernel": 2} if name == "max_pool_backward" else {})
    record = OPERATIONS[name]
    want = record.reference(**call)
    for declared, expected in ((True, [True, True]), (False, [False, False])):
        bound = record.bound(call, want, FLOAT32, Arithmetic(flush_subnormals=declared))
        assert accept([[[1.0, 0.0]]], want, bound, FLOAT32).ravel().tolist() == expected
        assert accept(want, want, bound, FLOAT32).all()
