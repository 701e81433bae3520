"""Every departure describes what it names: a kernel that departs is right by its record, wrong by the plain.

For each departure and each of its operations there is a named input and what a departing kernel gives there.
The kernels of the formulas are evaluated in NumPy's float32, their narrow intermediate results rounded.
"""

import math
import re
from collections.abc import Callable, Mapping
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.spec import OPERATIONS, Operation, clause
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept, round_to
from gaugeblock.spec.departures import DEPARTURES, declared, departed, departing

Array = NDArray[Any]
F = np.float32
NAN, INF = math.nan, math.inf
PLAIN = Arithmetic()
PAIRS = [(name, operation) for name, departure in DEPARTURES.items() for operation in departure.changes]
pairs = pytest.mark.parametrize(("name", "operation"), PAIRS, ids=["-".join(pair) for pair in PAIRS])


def of(*values: float, shape: tuple[int, ...] = (-1,)) -> Array:
    """Return an array."""
    return np.array(values, dtype=np.float64).reshape(shape)


def line(*values: float) -> Array:
    """Return one plane of one axis."""
    return of(*values, shape=(1, 1, -1))


# Kernels that depart, in float32 ----------------------------------------------------------------------------

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _alternating(x: Array) -> Array:
    return np.where(np.arange(x.size) % 2, -1.0, 1.0)


def _gate(x: Array, approximate: str) -> Array:
    """Return erf or tanh, off by 4·10⁻⁷ in turns up and down until they are ±1."""
    if approximate == "none":
        z, end = x * F(math.sqrt(0.5)), 6
    else:
        z, end = F(math.sqrt(2 / math.pi)) * (x + F(0.044715) * x * x * x), 10
    exact = (_erf if approximate == "none" else np.tanh)(z.astype(np.float64))
    return np.where(np.abs(z) < end, exact + 4e-7 * _alternating(x), np.sign(exact)).astype(F)


def gelu(x: Array, approximate: str = "none") -> Array:
    """Return x·(1 + erf)/2, or the same with tanh."""
    x = x.astype(F)
    return x * (F(0.5) * (F(1) + _gate(x, approximate)))


def gelu_backward(dy: Array, x: Array, approximate: str = "none") -> Array:
    """Return its gradient, as PyTorch writes it."""
    x, dy = x.astype(F), dy.astype(F)
    t = _gate(x, approximate)
    if approximate == "none":
        density = np.exp(F(-0.5) * x * x) * F(1 / math.sqrt(2 * math.pi))
        return dy * (F(0.5) * (F(1) + t) + x * density)
    inner = F(math.sqrt(2 / math.pi)) * (F(1) + F(3 * 0.044715) * x * x)
    return dy * (F(0.5) * (F(1) + t) + F(0.5) * x * (F(1) - t * t) * inner)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return α·(eˣ − 1)."""
    return np.where(x > 0, x.astype(F), F(alpha) * (np.exp(x.astype(F)) - F(1)))


def elu_backward(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    """Return dy·(y + α)."""
    return dy.astype(F) * np.where(x > 0, F(1), elu(np.minimum(x, 0), alpha) + F(alpha))


def silu_backward(dy: Array, x: Array) -> Array:
    """Return dy·σ(1 + x(1 − σ))."""
    s = F(1) / (F(1) + np.exp(-x.astype(F)))
    return dy.astype(F) * (s * (F(1) + x.astype(F) * (F(1) - s)))


def log_softmax(x: Array) -> Array:
    """Return x − (m + log Σ)."""
    x = x.astype(F)
    m = x.max(-1, keepdims=True)
    return x - (m + np.log(np.exp(x - m).sum(-1, keepdims=True)))


def clamped_sigmoid(x: Array) -> Array:
    """Return ½ + r, with an error of 1.6·10⁻⁷ in r, in turns up and down."""
    r = (1 / (1 + np.exp(-x)) - 0.5 + 1.6e-7 * _alternating(x)).astype(F)
    return np.where(np.abs(x) >= 18, (x > 0).astype(F), F(0.5) + r)


def clamped_silu(x: Array) -> Array:
    """Return x times that."""
    return x.astype(F) * clamped_sigmoid(x)


def clamped_tanh(x: Array) -> Array:
    """Return x·r, with a relative error of 4·10⁻⁷ in r."""
    y = (np.tanh(x) * (1 + 4e-7 * _alternating(x))).astype(F)
    return np.where(np.abs(x) >= 9, np.sign(x).astype(F), y)


def _narrow(form: str, x: Array) -> Array:
    return round_to(x.astype(np.float64), FORMATS[form]).astype(F)


def narrow_softmax(form: str, x: Array) -> Array:
    """Return softmax with rounded exponentials."""
    e = _narrow(form, np.exp((x - x.max(-1, keepdims=True)).astype(F)))
    return e / e.sum(-1, keepdims=True)


def narrow_log_softmax(form: str, x: Array) -> Array:
    """Return log-softmax with a rounded sum and logarithm."""
    shifted = (x - x.max(-1, keepdims=True)).astype(F)
    return shifted - _narrow(form, np.log(_narrow(form, np.exp(shifted).sum(-1, keepdims=True))))


def through_softmax(form: str, dy: Array, x: Array) -> Array:
    """Return the gradient by the rounded forward result."""
    s, dy = _narrow(form, narrow_softmax(form, x)), dy.astype(F)
    return s * (dy - (s * dy).sum(-1, keepdims=True))


def through_log_softmax(form: str, dy: Array, x: Array) -> Array:
    """Return the gradient by the rounded forward result."""
    y, dy = _narrow(form, narrow_log_softmax(form, x)), dy.astype(F)
    return dy - np.exp(y) * dy.sum(-1, keepdims=True)


def through_sigmoid(form: str, dy: Array, x: Array) -> Array:
    """Return the gradient with each step rounded."""
    s = _narrow(form, 1 / (1 + np.exp(-x.astype(F))))
    return _narrow(form, dy.astype(F) * _narrow(form, 1 - s)) * s


def through_tanh(form: str, dy: Array, x: Array) -> Array:
    """Return the gradient with each step rounded."""
    t = _narrow(form, np.tanh(x.astype(F)))
    return dy.astype(F) * _narrow(form, 1 - _narrow(form, t * t))


def through_log_sigmoid(form: str, dy: Array, x: Array) -> Array:
    """Return the gradient with a rounded exponential."""
    e = _narrow(form, np.exp(-np.abs(x.astype(F))))
    return dy.astype(F) * np.where(x < 0, 1 - e / (1 + e), e / (1 + e))


# What is where: a named input for each operation of each departure, and what a departing kernel gives -------


def _rows(seed: int) -> Array:
    return round_to(np.random.default_rng(seed).normal(size=(64, 5)), FORMATS["bfloat16"]).astype(np.float64)


ROWS, GRADIENT = {"x": _rows(1)}, {"dy": _rows(2), "x": _rows(1)}
KERNEL = {"kernel": 2, "stride": 1}
MIXED = {"x": line(NAN, 2, NAN, NAN), **KERNEL}


def fused(activation: str, w: Array, **more: Any) -> dict[str, Any]:
    """Return a convolution of ones with w."""
    return {"x": np.ones(w.shape), "w": w, "bias": np.zeros(1), "activation": activation, **more}


def at(*x: float) -> dict[str, Any]:
    """Return a gradient at some places, where that of the result is 8."""
    return {"dy": np.full(len(x), 8.0), "x": of(*x)}


CASES: Mapping[tuple[str, str], tuple[Mapping[str, Any], Any]] = {
    ("one_plus_erf", "gelu"): ({"x": of(-6.0)}, [-0.0]),
    ("one_plus_erf", "gelu_backward"): ({"dy": of(1.0), "x": of(-6.0)}, [-3.6e-8]),
    ("one_plus_erf", "conv_fused"): (fused("gelu", line(-6.0)), [[[-0.0]]]),
    ("exp_minus_one", "elu"): ({"x": of(-1e-8)}, [0.0]),
    ("exp_minus_one", "elu_backward"): ({"dy": of(1.0), "x": of(-0.5)}, [0.60653067]),
    ("product_form", "gelu"): ({"x": of(-INF, INF)}, [NAN, INF]),
    ("product_form", "gelu_backward"): (at(-INF, INF), [NAN, NAN]),
    ("product_form", "silu"): ({"x": of(-INF, INF)}, [NAN, INF]),
    ("product_form", "silu_backward"): (at(-INF, INF), [NAN, NAN]),
    ("product_form", "softplus_backward"): ({"dy": of(4.2e35), "x": of(19.0)}, [INF]),
    ("product_form", "conv_fused"): (fused("silu", line(-INF)), [[[NAN]]]),
    ("log_of_sum", "log_softmax"): ({"x": of(-1e7, -1e7 + 1)}, [-1.0, 0.0]),
    ("log_of_sum", "log_softmax_backward"): ({"dy": of(1, 2), "x": of(-1e7, -1e7 + 1)}, [-0.103638, -1.0]),
    ("clamped_sigmoid", "sigmoid"): ({"x": of(-18.0, 16.454)}, [0.0, 0.99999976]),
    ("clamped_sigmoid", "silu"): ({"x": of(-18.0)}, [-0.0]),
    ("clamped_sigmoid", "conv_fused"): (fused("sigmoid", line(-18.0)), [[[0.0]]]),
    ("clamped_tanh", "tanh"): ({"x": of(-8.47554)}, [-1.0000002]),
    ("clamped_tanh", "conv_fused"): (fused("tanh", line(-8.47554)), [[[-1.0000002]]]),
    ("narrow_intermediate", "softmax"): (ROWS, narrow_softmax),
    ("narrow_intermediate", "softmax_backward"): (GRADIENT, through_softmax),
    ("narrow_intermediate", "log_softmax"): (ROWS, narrow_log_softmax),
    ("narrow_intermediate", "log_softmax_backward"): (GRADIENT, through_log_softmax),
    ("narrow_intermediate", "sigmoid_backward"): ({"dy": of(1.0), "x": of(6.25)}, [0.0]),
    ("narrow_intermediate", "tanh_backward"): ({"dy": of(1.0), "x": of(4.5)}, [0.0]),
    ("narrow_intermediate", "log_sigmoid_backward"): ({"dy": of(1.0), "x": of(1.2109375)}, [0.23047]),
    ("zero_padding", "max_pool"): ({"x": line(-1, -2), "padding": 1, **KERNEL}, [[[0, -1, 0]]]),
    ("zero_padding", "max_pool_indices"): ({"x": line(-1, 2), "padding": 1, **KERNEL}, [[[-1, 1, 1]]]),
    ("zero_padding", "max_pool_backward"): (
        {"dy": line(1, 2, 4), "x": line(0, 2), "padding": 1, **KERNEL},
        [[[0, 6]]],
    ),
    ("ignore_nan", "relu"): ({"x": of(NAN, 2)}, [0, 2]),
    ("ignore_nan", "relu6"): ({"x": of(NAN, 7)}, [0, 6]),
    ("ignore_nan", "hard_sigmoid"): ({"x": of(NAN, 3)}, [0, 1]),
    ("ignore_nan", "hard_tanh"): ({"x": of(NAN, 3), "min_val": -0.3}, [-0.3, 1]),
    ("ignore_nan", "maxout"): ({"x": of(NAN, 2, NAN, NAN)}, [2, -INF]),
    ("ignore_nan", "maxout_backward"): (
        {"dy": of(5, 7, 9), "x": of(NAN, -INF, 2, 2, NAN, NAN)},
        [0, 5, 7, 0, 0, 0],
    ),
    ("ignore_nan", "max_pool"): (MIXED, [[[2, 2, -INF]]]),
    ("ignore_nan", "max_pool_indices"): (MIXED, [[[1, 1, -1]]]),
    ("ignore_nan", "max_pool_backward"): ({"dy": line(1, 2, 4), **MIXED}, [[[0, 3, 0, 0]]]),
    ("ignore_nan", "conv_fused"): (fused("relu6", line(NAN)), [[[0]]]),
    ("last_nan", "max_pool_indices"): ({"x": line(NAN, 3, NAN, 4), "kernel": 4}, [[[2]]]),
    ("last_nan", "max_pool_backward"): (
        {"dy": line(1), "x": line(NAN, 3, NAN, 4), "kernel": 4},
        [[[0, 0, 1, 0]]],
    ),
    ("last_maximum", "max_pool_indices"): ({"x": line(3, 1, 3), "kernel": 3}, [[[2]]]),
    ("last_maximum", "max_pool_backward"): ({"dy": line(1, 2), "x": line(3, 3, 3), **KERNEL}, [[[0, 1, 2]]]),
    ("last_maximum", "maxout_backward"): ({"dy": of(1, 2), "x": of(3, 3, NAN, NAN)}, [0, 1, 2, 0]),
    ("alpha_zero_multiplies", "gemm"): (
        {
            "a": of(NAN, 1, shape=(2, 1)),
            "b": of(2, shape=(1, 1)),
            "c": of(3, shape=(1,)),
            "alpha": 0,
            "beta": 1,
        },
        [[NAN], [3]],
    ),
    ("nan_gradient_passes", "relu_backward"): (at(NAN, -1), [8, 0]),
    ("nan_gradient_passes", "relu6_backward"): (at(NAN, 7), [8, 0]),
    ("nan_gradient_passes", "leaky_relu_backward"): (at(NAN, 1), [0.08, 8]),
    ("nan_gradient_passes", "elu_backward"): (at(NAN, 1), [8, 8]),
    ("nan_gradient_passes", "hard_tanh_backward"): (at(NAN, 2), [8, 0]),
    ("nan_gradient_stops", "relu_backward"): (at(NAN, 1), [0, 8]),
    ("nan_gradient_stops", "relu6_backward"): (at(NAN, 1), [0, 8]),
    ("nan_gradient_stops", "hard_sigmoid_backward"): (at(NAN, 1), [0, 8 / 6]),
    ("nan_gradient_stops", "hard_tanh_backward"): (at(NAN, 0), [0, 8]),
    ("kink_passes", "relu_backward"): (at(-1, -0.0, 0.0, INF), [0, 8, 8, 8]),
    ("kink_passes", "relu6_backward"): (at(0, 6, 7), [8, 8, 0]),
    ("kink_passes", "hard_sigmoid_backward"): (at(-3, 3, 4), [8 / 6, 8 / 6, 0]),
    ("kink_passes", "hard_tanh_backward"): ({**at(-2, 1, 3), "min_val": -2}, [8, 8, 0]),
    ("padding_multiplies", "conv"): (
        {"x": line(1, 1, 1), "w": line(INF, 1, 1), "padding": ((1, 0),)},
        [[[NAN, INF]]],
    ),
    ("padding_multiplies", "conv_fused"): (fused("none", line(1, 1, INF), padding=((0, 1),)), [[[INF, NAN]]]),
    ("padding_multiplies", "conv_backward_weight"): (
        {"dy": line(INF, 1, 1), "x": line(1, 1, 1), "kernel_shape": (1, 1, 3), "padding": 1},
        [[[NAN, INF, INF]]],
    ),
    ("masked_row_zero", "softmax"): ({"x": of(-INF, -INF)}, [0, 0]),
    ("masked_row_zero", "softmax_backward"): ({"dy": of(1, 2), "x": of(-INF, -INF)}, [0, 0]),
}
# The plain bound permits this as well: y + alpha of ACT-A1 is as wide.
ALSO_PLAIN = {("exp_minus_one", "elu_backward")}
# Here a choice demands nothing.
OPEN = {("product_form", "softplus_backward")}


def form_of(name: str) -> str:
    """Return the format in which a departure shows."""
    return "bfloat16" if name == "narrow_intermediate" else "float32"


def value_of(name: str, operation: str) -> Array:
    """Return what a departing kernel gives."""
    given, value = CASES[name, operation]
    found = value(form_of(name), **given) if callable(value) else value
    return round_to(np.asarray(found, dtype=np.float64), FORMATS[form_of(name)])


def accepted(record: Operation, given: Mapping[str, Any], got: Array, form: str) -> Array:
    """Tell which elements are right by a record."""
    want = np.asarray(record.reference(**given), dtype=np.float64)
    return accept(got, want, record.bound(given, want, FORMATS[form], PLAIN), FORMATS[form])


def test_each_operation_of_each_departure_has_a_case() -> None:
    assert set(CASES) == set(PAIRS)


@pytest.mark.spec("GEN-D10")
@pairs
def test_a_kernel_that_departs_is_right_if_it_says_so(name: str, operation: str) -> None:
    record = departing(operation, (name,))
    assert record.departures == (name,)
    assert accepted(record, CASES[name, operation][0], value_of(name, operation), form_of(name)).all()


@pytest.mark.spec("GEN-D10")
@pairs
def test_a_kernel_that_departs_and_does_not_say_so_is_wrong(name: str, operation: str) -> None:
    given = CASES[name, operation][0]
    right = accepted(OPERATIONS[operation], given, value_of(name, operation), form_of(name))
    assert right.all() == ((name, operation) in ALSO_PLAIN)


@pytest.mark.spec("GEN-D10")
@pairs
def test_a_kernel_that_declares_a_choice_and_does_not_make_it_is_wrong(name: str, operation: str) -> None:
    given, form = CASES[name, operation][0], form_of(name)
    plain = np.asarray(OPERATIONS[operation].reference(**given), dtype=np.float64)
    right = accepted(departing(operation, (name,)), given, round_to(plain, FORMATS[form]), form)
    assert right.all() == (DEPARTURES[name].kind == "formula" or (name, operation) in OPEN)


def everyday(operation: str) -> dict[str, Any]:
    """Return arguments of any size for the operations of elements and rows, of the others nothing."""
    if OPERATIONS[operation].kind not in ("elementwise", "rowwise"):
        return {}
    random = np.random.default_rng(3)
    x = (random.normal(size=(5, 40)) * 10.0 ** random.integers(-8, 3, (5, 40))).astype(F).astype(np.float64)
    x[0, 0] = -INF
    return {"x": x} | ({"dy": random.normal(size=x.shape)} if OPERATIONS[operation].backward else {})


@pytest.mark.spec("GEN-D10")
@pairs
@pytest.mark.parametrize("form", FORMATS)
def test_no_departure_makes_a_bound_smaller(name: str, operation: str, form: str) -> None:
    plain, record = OPERATIONS[operation], departing(operation, (name,))
    for given in (CASES[name, operation][0], {**CASES[name, operation][0], **everyday(operation)}):
        want, other = (np.asarray(each.reference(**given), dtype=np.float64) for each in (plain, record))
        for arithmetic in (PLAIN, Arithmetic(flush_subnormals=True, fast_exp=True)):
            least = plain.bound(given, want, FORMATS[form], arithmetic).value
            bound = record.bound(given, other, FORMATS[form], arithmetic).value
            assert np.broadcast_to((bound >= least) | (want != other), want.shape).all()


# Formulas ---------------------------------------------------------------------------------------------------

Kernel = Callable[..., Array]
KERNELS: list[tuple[str, str, Kernel, dict[str, Any]]] = [
    ("one_plus_erf", "gelu", gelu, {"approximate": "none"}),
    ("one_plus_erf", "gelu", gelu, {"approximate": "tanh"}),
    ("one_plus_erf", "gelu_backward", gelu_backward, {"approximate": "none"}),
    ("one_plus_erf", "gelu_backward", gelu_backward, {"approximate": "tanh"}),
    ("exp_minus_one", "elu", elu, {"alpha": 1.0}),
    ("exp_minus_one", "elu", elu, {"alpha": 1.7}),
    ("exp_minus_one", "elu_backward", elu_backward, {"alpha": 1.7}),
    ("product_form", "silu_backward", silu_backward, {}),
    ("clamped_sigmoid", "sigmoid", clamped_sigmoid, {}),
    ("clamped_sigmoid", "silu", clamped_silu, {}),
    ("clamped_tanh", "tanh", clamped_tanh, {}),
]


def everywhere(name: str, operation: str) -> Array:
    """Return ten thousand points of the middle, both ends of every binade, the edges and what is special."""
    binades = 2.0 ** np.arange(-149, 128)
    edges = of(0, 1, 9, 18, 20, 88, 104, FORMATS["float32"].largest, FORMATS["float32"].smallest_normal)
    x = np.concatenate([np.linspace(-12, 12, 10_001), binades, -1.3 * binades, edges, -edges, of(NAN)])
    if operation == "gelu_backward":
        return x[~(np.abs(x) > 1e12)].astype(F)  # beyond, a cube overflows, which another departure names
    return np.concatenate([x, of(-INF, INF) if name == "product_form" else of()]).astype(F)


@pytest.mark.spec("GEN-D10")
@pytest.mark.parametrize(("name", "operation", "kernel", "parameters"), KERNELS)
def test_the_bound_of_a_formula_holds_its_kernel_and_little_more(
    name: str, operation: str, kernel: Kernel, parameters: dict[str, Any]
) -> None:
    x = everywhere(name, operation).astype(np.float64)
    given = {"x": x} | ({"dy": np.where(x > 1, 0.25, 1.0)} if operation.endswith("_backward") else {})
    record = departing(operation, (name,))
    with np.errstate(all="ignore"):
        got = kernel(**given, **parameters)
    assert accepted(record, given | parameters, got, "float32").all()
    want = np.asarray(record.reference(**given, **parameters), dtype=np.float64)
    bound = record.bound(given | parameters, want, FORMATS["float32"], PLAIN).value
    middle = (np.abs(x) > 1e-3) & (np.abs(x) < 12) & (bound > 1e-12)
    error = np.abs(got.astype(np.float64) - want)[middle]
    assert (error / bound[middle]).max() > 0.2
    assert not accept((want + 4 * bound)[middle], want[middle], bound[middle], FORMATS["float32"]).any()


@pytest.mark.spec("GEN-D10")
@pytest.mark.parametrize("form", ["float16", "bfloat16"])
@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize(
    ("operation", "kernel"),
    [
        ("softmax", narrow_softmax),
        ("softmax_backward", through_softmax),
        ("log_softmax", narrow_log_softmax),
        ("log_softmax_backward", through_log_softmax),
        ("sigmoid_backward", through_sigmoid),
        ("tanh_backward", through_tanh),
        ("log_sigmoid_backward", through_log_sigmoid),
    ],
)
def test_narrow_intermediate_results_are_within_their_bound_and_beyond_the_plain_one(
    operation: str, kernel: Kernel, form: str, scale: float
) -> None:
    random = np.random.default_rng(4)
    x, dy = (
        round_to(random.normal(size=(300, 40)) * s, FORMATS[form]).astype(np.float64) for s in (scale, 1.0)
    )
    given = {"x": x} | ({"dy": dy} if operation.endswith("_backward") else {})
    got = round_to(kernel(form, **given).astype(np.float64), FORMATS[form])
    record = departing(operation, ("narrow_intermediate",))
    assert accepted(record, given, got, form).all()
    assert not accepted(OPERATIONS[operation], given, got, form).all()


def test_the_logarithm_of_a_sum_is_within_its_bound() -> None:
    x = (np.random.default_rng(5).normal(size=(500, 20)) * 10 - 1e5).astype(F).astype(np.float64)
    record = departing("log_softmax", ("log_of_sum",))
    assert accepted(record, {"x": x}, log_softmax(x), "float32").all()


def test_a_product_may_overflow_where_its_factors_do_and_nowhere_else() -> None:
    record = departing("gelu_backward", ("product_form",))
    given = {"dy": np.ones(4), "x": of(-1e20, 1e20, -1e12, 1e12), "approximate": "tanh"}
    assert accepted(record, given, of(NAN, NAN, NAN, NAN), "float32").tolist() == [True, True, False, False]
    record = departing("gelu", ("product_form",))
    assert accepted(record, {"x": of(1.8e38, 1.6e38)}, of(INF, INF), "float32").tolist() == [True, False]


# Choices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted({operation for _, operation in PAIRS}))
def test_departures_of_one_operation_go_together_in_any_order(operation: str) -> None:
    record = OPERATIONS[operation]
    names = [name for name, departure in DEPARTURES.items() if operation in departure.changes]
    for pair in combinations(names, 2):
        if pair[0] in DEPARTURES[pair[1]].against:
            continue
        one, other = (departed(departed(record, order[:1]), order[1:]) for order in permutations(pair))
        for name in pair:
            given = CASES[name, operation][0]
            want = np.asarray(one.reference(**given), dtype=np.float64)
            np.testing.assert_array_equal(want, other.reference(**given))
            bounds = [each.bound(given, want, FORMATS["float16"], PLAIN).value for each in (one, other)]
            np.testing.assert_array_equal(*bounds)


def test_what_is_empty_stays_empty() -> None:
    for operation in ("max_pool", "max_pool_indices", "max_pool_backward"):
        given = {"x": np.zeros((0, 2, 4)), "kernel": 2}
        given |= {"dy": np.zeros((0, 2, 2))} if operation == "max_pool_backward" else {}
        plain, record = OPERATIONS[operation], departing(operation, ("zero_padding", "ignore_nan"))
        want = record.reference(**given)
        assert want.shape == plain.reference(**given).shape
        assert record.bound(given, want, FORMATS["float32"], PLAIN).value.size == 0
    nothing = {"x": np.zeros((3, 0))}
    for operation, name in (("softmax", "masked_row_zero"), ("log_softmax", "narrow_intermediate")):
        record = departing(operation, (name,))
        assert accepted(record, nothing, record.reference(**nothing), "float16").shape == (3, 0)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("where", [{"padding": ((2, 1), (0, 2))}, {"padding": 1, "dilation": 2}])
def test_zeros_in_the_padding_beat_what_is_negative_and_come_first_among_equals(
    where: dict[str, Any], ceil_mode: bool
) -> None:
    x = np.random.default_rng(6).integers(-3, 2, (2, 3, 7, 8)).astype(np.float64)
    parameters = {"kernel": (3, 2), "stride": (2, 3), "ceil_mode": ceil_mode, **where}
    values, indices = (
        departing(name, ("zero_padding",)).reference(x, **parameters)
        for name in ("max_pool", "max_pool_indices")
    )
    plain = OPERATIONS["max_pool"].reference(x, **parameters)
    assert ((values == plain) | ((values == 0) & (plain < 0) & (indices == -1))).all()
    chosen = np.take_along_axis(x.reshape(2, 3, -1), np.maximum(indices, 0).reshape(2, 3, -1), -1)
    assert (np.where(indices < 0, 0, chosen.reshape(indices.shape)) == values).all()


def test_a_choice_among_nan_changes_nothing_where_there_is_none() -> None:
    x = np.random.default_rng(7).integers(-3, 3, (2, 3, 7, 8)).astype(np.float64)
    for operation, names in (("max_pool", ["ignore_nan"]), ("max_pool_indices", ["last_nan", "ignore_nan"])):
        plain = OPERATIONS[operation].reference(x, kernel=3, padding=2)
        for name in names:
            record = departing(operation, (name,))
            np.testing.assert_array_equal(record.reference(x, kernel=3, padding=2), plain)


# Declarations -----------------------------------------------------------------------------------------------


@pytest.mark.spec("GEN-C5")
def test_a_declaration_is_read_into_the_order_of_the_table() -> None:
    given = {"gelu": ["product_form", "one_plus_erf"], "relu": ()}
    assert declared(given) == {"gelu": ("one_plus_erf", "product_form"), "relu": ()}


WRONG: list[tuple[Any, type[Exception], str]] = [
    (["gelu"], TypeError, "departures is ['gelu'], expected a mapping from operations to names"),
    ({"gleu": ()}, ValueError, "departures has 'gleu', expected 'gelu'"),
    ({"attention": ()}, ValueError, "departures has 'attention', expected"),
    ({3: ()}, ValueError, "departures has 3, expected the name of an operation, such as 'gemm'"),
    ({"gelu": "one_plus_erf"}, TypeError, "departures of gelu is 'one_plus_erf', expected a tuple of names"),
    ({"gelu": None}, TypeError, "departures of gelu is None, expected a tuple of names"),
    ({"gelu": [1]}, TypeError, "departures of gelu is [1], expected a tuple of names"),
    (
        {"gelu": ["one_plus_erv"]},
        ValueError,
        "departures of gelu has 'one_plus_erv', expected 'one_plus_erf'",
    ),
    ({"gelu": ["x"]}, ValueError, "departures of gelu has 'x', expected one of one_plus_erf, exp_minus_one"),
    ({"gelu": ["exp_minus_one"]}, ValueError, "'exp_minus_one', which applies to elu, elu_backward only"),
    (
        {"max_pool_indices": ["last_nan", "ignore_nan"]},
        ValueError,
        "departures of max_pool_indices has 'last_nan' and 'ignore_nan', which contradict each other",
    ),
]


@pytest.mark.spec("GEN-C5")
@pytest.mark.parametrize(("declaration", "error", "message"), WRONG)
def test_a_malformed_declaration_is_an_error_of_one_line(
    declaration: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^GEN-C5: .*{re.escape(message)}") as found:
        declared(declaration)
    assert "\n" not in str(found.value)


@pytest.mark.spec("GEN-C5")
def test_a_record_departs_only_as_its_operation_can() -> None:
    with pytest.raises(ValueError, match=r"^GEN-C5: .* 'zero_padding', which applies to max_pool, "):
        departing("relu", ("zero_padding",))
    passing = departing("relu_backward", ("nan_gradient_passes",))
    with pytest.raises(ValueError, match=r"^GEN-C5: .* contradict each other"):
        departed(passing, ("nan_gradient_stops",))


def test_departing_is_remembered_and_leaves_the_plain_record_alone() -> None:
    record = OPERATIONS["relu"]
    assert departing("relu", ()) is record
    assert departing("relu", ("ignore_nan",)) is departing("relu", ("ignore_nan",))
    assert departed(record, ("ignore_nan", "ignore_nan")).departures == ("ignore_nan",)
    assert np.isnan(record.reference(of(NAN))).all()
    assert record.departures == ()


@pytest.mark.spec("GEN-D10")
def test_the_page_lists_every_departure_with_its_operations() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", clause("GEN-D10").text, re.M)
    listed = {name: (kind, re.findall(r"`(\w+)`", operations)) for name, kind, operations in rows}
    assert listed == {name: (each.kind, list(each.changes)) for name, each in DEPARTURES.items()}
    assert list(listed) == list(DEPARTURES)
