"""Convolution on the device against the exact result, algorithm by algorithm."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu, reference
from gaugeblock.gpu.convolution.operations import ALGORITHMS, algorithm_for, choose
from gaugeblock.gpu.convolution.problem import FORWARD, INPUT, WEIGHT, Geometry
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, to_device
from gaugeblock.reference.windows import Windows
from gaugeblock.spec.accuracy import FORMATS, accept, gamma, round_to
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
generator = np.random.default_rng(11)

# x, w, and the rest; each has what breaks a kernel that others leave whole: remainders, sides that differ.
PROBLEMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 3, 7, 6), (4, 3, 3, 2), {}),
    "everything": (
        (2, 4, 9, 7),
        (6, 2, 3, 3),
        {"stride": (2, 3), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2},
    ),
    "stride and dilation share a factor": (
        (1, 2, 15, 14),
        (3, 2, 3, 2),
        {"stride": (4, 2), "dilation": (6, 4)},
    ),
    "stride beyond the kernel": ((1, 8, 12, 11), (8, 8, 1, 1), {"stride": 3}),
    "stride beyond the input": ((1, 2, 3, 5), (2, 2, 2, 2), {"stride": 7, "padding": 1}),
    "one axis": ((2, 3, 20), (5, 3, 4), {"stride": 2, "padding": 3, "dilation": 3}),
    "three axes": (
        (1, 4, 5, 6, 4),
        (4, 2, 2, 3, 2),
        {"stride": (2, 1, 2), "padding": (1, 0, 1), "dilation": (1, 2, 1), "groups": 2},
    ),
    "more than a tile": ((1, 8, 9, 8), (40, 8, 3, 3), {"padding": "same"}),
    "kernel beyond the input": ((1, 1, 3, 4), (2, 1, 5, 4), {"padding": ((1, 2), 1)}),
    "no channels": ((2, 0, 4, 4), (3, 0, 2, 2), {}),
}
DEPTHWISE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "depthwise": ((2, 6, 9, 8), (6, 1, 3, 3), {"padding": 1, "groups": 6}),
    "depthwise, two filters a channel": (
        (2, 3, 9, 8),
        (6, 1, 3, 2),
        {"stride": 2, "padding": (2, 1), "dilation": (1, 2), "groups": 3},
    ),
}
POINTWISE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "pointwise": ((2, 6, 5, 8), (4, 3, 1, 1), {"groups": 2}),
    "pointwise, three axes": ((2, 3, 2, 3, 4), (5, 3, 1, 1, 1), {}),
}
SPECIAL = {"depthwise": DEPTHWISE, "pointwise": POINTWISE}
CASES = [
    *((dtype, "naive", name) for dtype in ("float32", "bfloat16") for name in {**PROBLEMS, **DEPTHWISE}),
    *((dtype, "tile32", name) for dtype in DTYPES for name in PROBLEMS),
    *(("float32", tile, "everything") for tile in ("tile64", "tile128")),
    *(("float16", tile, "plain") for tile in ("tile64", "tile128")),
    *((dtype, "tensor32", name) for dtype in ("float16", "bfloat16") for name in PROBLEMS),
    *(("float16", "tensor64", name) for name in ("everything", "plain", "more than a tile")),
    *(("bfloat16", "tensor128", name) for name in ("everything", "more than a tile", "three axes")),
    *((dtype, algorithm, name) for dtype in DTYPES for algorithm, group in SPECIAL.items() for name in group),
]


def integers(dtype: str, *shape: int) -> Array:
    return generator.integers(-2, 3, size=shape).astype(DTYPES[dtype])


def channels_last(x: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def sliced(x: Array) -> Array:
    """Return x as some channels of a channels-last array, its last axis backwards."""
    wide = np.full((x.shape[0], *x.shape[2:], x.shape[1] + 3), 3, x.dtype)
    view = np.moveaxis(wide[..., ::-1, 1 : x.shape[1] + 1], -1, 1)
    view[...] = x
    return view


def layouts(x: Array) -> Iterator[Array]:
    yield x
    yield channels_last(x)
    yield sliced(x)


def wide(x: Array) -> Array:
    return x.astype(np.float64)


def problem(name: str, dtype: str) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
    """Return x, w, bias and dy of small integers, whose sums are exact in any order."""
    x_shape, w_shape, rest = {**PROBLEMS, **DEPTHWISE, **POINTWISE}[name]
    x, w, bias = integers(dtype, *x_shape), integers(dtype, *w_shape), integers(dtype, w_shape[0])
    y_shape = reference.conv(np.zeros(x_shape), np.zeros(w_shape), **rest).shape
    return x, w, bias, integers(dtype, *y_shape), rest


def assert_equal(got: Array, want: Array, dtype: str) -> None:
    assert got.dtype == DTYPES[dtype]
    assert got.shape == want.shape
    assert np.array_equal(wide(got), round_to(want, FORMATS[dtype]))


# What it computes ----------------------------------------------------------------------------------------


@pytest.mark.spec("CONV-S1", "CONV-S7", "CONV-S8", "CONV-A2")
@pytest.mark.parametrize(("dtype", "algorithm", "name"), CASES)
def test_sums_of_small_integers_are_exact_in_any_layout(dtype: str, algorithm: str, name: str) -> None:
    x, w, bias, _, rest = problem(name, dtype)
    want = reference.conv(wide(x), wide(w), wide(bias), **rest)
    for one, other in zip(layouts(x), layouts(w), strict=True):
        assert_equal(gpu.conv(one, other, bias, algorithm=algorithm, **rest), want, dtype)


@pytest.mark.spec("CONV-S2", "CONV-S7", "CONV-S8", "CONV-A2")
@pytest.mark.parametrize(("dtype", "algorithm", "name"), CASES)
def test_the_gradient_of_the_input_is_exact_in_any_layout(dtype: str, algorithm: str, name: str) -> None:
    x, w, _, dy, rest = problem(name, dtype)
    want = reference.conv_backward_input(wide(dy), wide(w), input_shape=x.shape, **rest)
    for one, other in zip(layouts(dy), layouts(w), strict=True):
        got = gpu.conv_backward_input(one, other, input_shape=x.shape, algorithm=algorithm, **rest)
        assert_equal(got, want, dtype)


@pytest.mark.spec("CONV-S3", "CONV-S7", "CONV-S8", "CONV-A2")
@pytest.mark.parametrize(("dtype", "algorithm", "name"), [case for case in CASES if case[1] != "pointwise"])
def test_the_gradient_of_the_filters_is_exact_in_any_layout(dtype: str, algorithm: str, name: str) -> None:
    x, w, _, dy, rest = problem(name, dtype)
    want = reference.conv_backward_weight(wide(dy), wide(x), kernel_shape=w.shape, **rest)
    for one, other in zip(layouts(dy), layouts(x), strict=True):
        got = gpu.conv_backward_weight(one, other, kernel_shape=w.shape, algorithm=algorithm, **rest)
        assert_equal(got, want, dtype)


@pytest.mark.spec("CONV-S4", "CONV-S8", "CONV-A2")
@pytest.mark.parametrize(
    "shape", [(2, 3, 5, 7), (3, 40, 9), (1, 2, 3, 4, 5), (2, 3, 100, 90), (0, 3, 4), (2, 3, 0)]
)
def test_the_gradient_of_the_bias_is_exact_in_any_layout(shape: tuple[int, ...]) -> None:
    dy = integers("float32", *shape)
    want = reference.conv_backward_bias(wide(dy))
    for view in layouts(dy) if 0 not in shape else [dy]:
        assert_equal(gpu.conv_backward_bias(view), want, "float32")


@pytest.mark.spec("CONV-S5")
@pytest.mark.parametrize("algorithm", ["naive", "tile32"])
def test_the_transposed_convolution_adds_its_bias(algorithm: str) -> None:
    x, w, bias = integers("float32", 2, 4, 5, 3), integers("float32", 4, 3, 3, 2), integers("float32", 6)
    rest: dict[str, Any] = {
        "stride": (2, 3),
        "padding": ((0, 1), (1, 1)),
        "output_padding": (1, 0),
        "dilation": 2,
        "groups": 2,
    }
    want = reference.conv_transpose(wide(x), wide(w), wide(bias), **rest)
    assert_equal(gpu.conv_transpose(x, w, bias, algorithm=algorithm, **rest), want, "float32")


@pytest.mark.spec("CONV-S6")
@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "sigmoid", "tanh", "silu", "gelu"])
@pytest.mark.parametrize("name", ["plain", "depthwise"])
def test_bias_and_residual_come_before_the_activation(activation: str, name: str) -> None:
    x, w, bias, residual, rest = problem(name, "float32")
    for view in layouts(residual):
        got = gpu.conv_fused(x, w, bias, view, activation=activation, **rest)
        want = reference.conv_fused(*map(wide, (x, w, bias, residual)), activation=activation, **rest)
        assert np.allclose(got, want, rtol=1e-6, atol=1e-30)
    assert gpu.conv_fused(x, w, None, **rest).min() >= 0


# How it computes -----------------------------------------------------------------------------------------


@pytest.mark.spec("CONV-A1")
@pytest.mark.parametrize("algorithm", ["naive", "tile32", "tile64", "tile128"])
def test_every_algorithm_is_within_the_bound_of_its_sum(algorithm: str) -> None:
    x, w = (generator.normal(size=shape).astype(np.float32) for shape in ((2, 5, 8, 9), (7, 5, 3, 3)))
    got = gpu.conv(x, w, padding=1, algorithm=algorithm)
    want, absolute = (reference.conv(f(wide(x)), f(wide(w)), padding=1) for f in (np.array, np.abs))
    assert (np.abs(got - want) <= gamma(45, 2.0**-24) * absolute).all()


def test_all_tiles_sum_in_one_order() -> None:
    x, w = (generator.normal(size=shape).astype(np.float32) for shape in ((2, 5, 8, 9), (7, 5, 3, 3)))
    got = {gpu.conv(x, w, algorithm=f"tile{side}").tobytes() for side in (32, 64, 128)}
    assert len(got) == 1


@pytest.mark.spec("CONV-A1")
@pytest.mark.parametrize(("dtype", "algorithm"), [("float16", "tensor64"), ("bfloat16", "tensor128")])
def test_tensor_cores_are_within_the_bound_of_their_declaration(dtype: str, algorithm: str) -> None:
    x, w = (generator.normal(size=shape).astype(DTYPES[dtype]) for shape in ((2, 35, 9, 8), (70, 35, 3, 3)))
    dy = generator.normal(size=(2, 70, 9, 8)).astype(DTYPES[dtype])
    steps: dict[str, Any] = {"padding": 1}
    calls: dict[str, dict[str, Any]] = {
        "conv": {"x": x, "w": w, **steps},
        "conv_backward_input": {"dy": dy, "w": w, "input_shape": x.shape, **steps},
        "conv_backward_weight": {"dy": dy, "x": x, "kernel_shape": w.shape, **steps},
    }
    for operation, arguments in calls.items():
        exact = {
            name: wide(value) if name in ("x", "w", "dy") else value for name, value in arguments.items()
        }
        want = getattr(reference, operation)(**exact)
        got = getattr(gpu, operation)(**arguments, algorithm=algorithm)
        declared = Arithmetic.declared(gpu.arithmetic[operation][dtype])
        bound = OPERATIONS[operation].bound(exact, want, FORMATS[dtype], declared)
        assert accept(got, want, bound, FORMATS[dtype]).all()


@pytest.mark.spec("CONV-S6", "CONV-S8")
@pytest.mark.parametrize("algorithm", ["tensor64", "tensor128"])
def test_tensor_cores_write_and_add_in_any_layout(algorithm: str) -> None:
    x, w, bias, residual, rest = problem("more than a tile", "bfloat16")
    want = reference.conv_fused(*map(wide, (x, w, bias, residual)), activation="relu6", **rest)
    for beside, out in itertools.product(layouts(residual), layouts(np.zeros_like(residual))):
        got = gpu.conv_fused(x, w, bias, beside, activation="relu6", out=out, algorithm=algorithm, **rest)
        assert_equal(got, want, "bfloat16")


@pytest.mark.spec("GEN-S2", "CONV-S8")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["everything", "depthwise", "pointwise", "more than a tile"])
def test_no_layout_changes_a_bit(dtype: str, name: str) -> None:
    x_shape, w_shape, rest = {**PROBLEMS, **DEPTHWISE, **POINTWISE}[name]
    x, w = (generator.normal(size=shape).astype(DTYPES[dtype]) for shape in (x_shape, w_shape))
    dy = generator.normal(size=gpu.conv(x, w, **rest).shape).astype(DTYPES[dtype])
    assert len({gpu.conv(a, b, **rest).tobytes() for a in layouts(x) for b in layouts(w)}) == 1
    gradients = {
        gpu.conv_backward_weight(a, b, kernel_shape=w_shape, **rest).tobytes()
        for a in layouts(dy)
        for b in layouts(x)
    }
    assert len(gradients) == 1
    assert len({gpu.conv_backward_bias(a).tobytes() for a in layouts(dy)}) == 1


@pytest.mark.spec("CONV-S3", "GEN-S5")
@pytest.mark.parametrize(
    ("dtype", "algorithm", "groups"),
    [("float32", "tile32", 1), ("float32", "depthwise", 2), ("bfloat16", "tensor64", 1)],
)
def test_a_long_sum_is_cut_in_pieces_that_are_added_in_order(dtype: str, algorithm: str, groups: int) -> None:
    x, dy = integers(dtype, 1, 2, 40, 60), integers(dtype, 1, 2, 38, 58)
    rest: dict[str, Any] = {"kernel_shape": (2, 2 // groups, 3, 3), "groups": groups}
    got = gpu.conv_backward_weight(dy, x, algorithm=algorithm, **rest)
    assert_equal(got, reference.conv_backward_weight(wide(dy), wide(x), **rest), dtype)
    noise = generator.normal(size=x.shape).astype(DTYPES[dtype])
    assert len({gpu.conv_backward_weight(dy, noise, **rest).tobytes() for _ in range(2)}) == 1


@pytest.mark.parametrize("product", [FORWARD, INPUT, WEIGHT])
@pytest.mark.parametrize(
    ("x", "w", "groups", "stride", "chosen"),
    [
        ((8, 64, 56, 56), (64, 64, 3, 3), 1, 1, "tile64"),
        ((32, 256, 56, 56), (256, 256, 3, 3), 1, 1, "tile128"),
        ((1, 3, 9, 9), (4, 3, 3, 3), 1, 1, "tile32"),
        ((8, 64, 56, 56), (64, 1, 3, 3), 64, 1, "depthwise"),
        ((1, 1, 1 << 30), (1, 1, 3), 1, 1, "naive"),
    ],
)
def test_the_choice_follows_the_shape(
    product: int, x: tuple[int, ...], w: tuple[int, ...], groups: int, stride: int, chosen: str
) -> None:
    windows = Windows.slide(size=x[2:], kernel=w[2:], stride=(stride,) * len(x[2:]))
    geometry = Geometry(x[0], groups, w[0] // groups, w[1], windows)
    h200: dict[str, Any] = {"multiprocessors": 132, "tensor_cores": True}
    got = choose(product, geometry, dtype="float32", **h200)
    narrow = choose(product, geometry, dtype="bfloat16", **h200)
    assert got in ALGORITHMS
    assert narrow in ALGORITHMS
    if product == FORWARD:
        assert got == chosen
        assert narrow == chosen.replace("tile", "tensor")


@pytest.mark.parametrize("product", [FORWARD, INPUT])
def test_a_kernel_of_one_pixel_is_a_gemm(product: int) -> None:
    geometry = Geometry(1, 1, 4, 4, Windows.slide(size=(8, 8), kernel=(1, 1)))
    rest: dict[str, Any] = {"dtype": "float32", "multiprocessors": 1, "tensor_cores": True}
    assert choose(product, geometry, **rest) == "pointwise"
    assert choose(product, geometry, plain=False, **rest) == "tile32"


def test_a_gpu_without_tensor_cores_multiplies_16_bit_types_all_the_same() -> None:
    geometry = Geometry(1, 1, 64, 64, Windows.slide(size=(16, 16), kernel=(3, 3)))
    rest: dict[str, Any] = {"dtype": "float16", "multiprocessors": 1}
    assert choose(FORWARD, geometry, tensor_cores=True, **rest) == "tensor64"
    assert choose(FORWARD, geometry, tensor_cores=False, **rest) == "tile64"


def test_the_choice_can_be_asked_for() -> None:
    x, w = (1, 40, 12, 12), (48, 40, 3, 3)
    assert algorithm_for("conv", x, w, dtype="float32").startswith("tile")
    for operation in ("conv", "conv_backward_input", "conv_backward_weight"):
        asked = algorithm_for(operation, x, w, dtype="bfloat16")
        assert asked.startswith("tensor")
    arrays = [generator.normal(size=shape).astype(DTYPES["float16"]) for shape in (x, w)]
    asked = algorithm_for("conv", x, w, dtype="float16")
    taken = {name: gpu.conv(*arrays, algorithm=name).tobytes() for name in ("auto", asked, "naive")}
    assert taken["auto"] == taken[asked] != taken["naive"]
    assert algorithm_for("conv", x, (48, 40, 1, 1)) == "pointwise"
    assert algorithm_for("conv_fused", x, (48, 40, 1, 1)).startswith("tile")


def test_no_transform_is_chosen_unasked() -> None:
    for dtype, R in itertools.product(DTYPES, (3, 31)):
        for operation in gpu.convolution.PRODUCTS:
            assert algorithm_for(operation, (4, 8, 64, 64), (8, 8, R, R), dtype=dtype)[:4] in ("tile", "tens")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operation": "pool"}, "operation is 'pool'"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"groups": 3}, "CONV-C2"),
        ({"stride": 0}, "CONV-C3"),
    ],
)
def test_a_question_about_no_call_is_refused(change: dict[str, Any], message: str) -> None:
    question = {"operation": "conv", "input_shape": (1, 4, 9, 9), "kernel_shape": (2, 4, 3, 3), **change}
    with pytest.raises(ValueError, match=message):
        algorithm_for(**question)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("fast", "algorithm is 'fast'"),
        ("depthwise", "3 input channels"),
        ("pointwise", "a kernel of one pixel"),
        ("tensor64", "takes float16 and bfloat16, not float32"),
    ],
)
def test_an_algorithm_that_does_not_fit_is_refused(algorithm: str, message: str) -> None:
    x, w, *_ = problem("plain", "float32")
    with pytest.raises(ValueError, match=message):
        gpu.conv(x, w, algorithm=algorithm)


# Special values, outputs and arguments -------------------------------------------------------------------


@pytest.mark.spec("CONV-X2")
@pytest.mark.parametrize(
    ("dtype", "algorithm"),
    [
        *(("float32", algorithm) for algorithm in ("naive", "tile32", "depthwise")),
        *(("float16", algorithm) for algorithm in ("tensor64", "tensor128")),
    ],
)
def test_nothing_is_multiplied_with_the_padding(dtype: str, algorithm: str) -> None:
    x, w = np.ones((1, 1, 4, 4), DTYPES[dtype]), np.ones((2, 1, 3, 3), DTYPES[dtype])
    w[0, 0, 0, 0], w[1, 0, 1, 1] = np.inf, np.nan
    rest: dict[str, Any] = {"padding": 1, "algorithm": algorithm}
    want = reference.conv(wide(x), wide(w), padding=1)
    assert np.array_equal(gpu.conv(x, w, **rest), want, equal_nan=True)
    assert np.isinf(want).sum() == 9  # every output but those whose first tap lies in the padding
    dy = np.ones((1, 2, 4, 4), DTYPES[dtype])
    dy[0, 0, 0, 3] = -np.inf
    for got, wanted in (
        (
            gpu.conv_backward_input(dy, w, input_shape=x.shape, **rest),
            reference.conv_backward_input(wide(dy), wide(w), input_shape=x.shape, padding=1),
        ),
        (
            gpu.conv_backward_weight(dy, x, kernel_shape=w.shape, **rest),
            reference.conv_backward_weight(wide(dy), wide(x), kernel_shape=w.shape, padding=1),
        ),
    ):
        assert np.array_equal(got, wanted, equal_nan=True)


@pytest.mark.spec("CONV-S2", "CONV-X1")
@pytest.mark.parametrize("algorithm", ["naive", "tile32"])
def test_a_sum_without_terms_is_zero(algorithm: str) -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 1, 1), np.float32)
    dy = np.ones((1, 3, 2, 2), np.float32)
    dx = gpu.conv_backward_input(dy, w, input_shape=x.shape, stride=4, algorithm=algorithm)
    assert np.flatnonzero(dx[0, 0]).tolist() == [0, 4, 20, 24]
    none = np.ones((0, 2, 5, 5), np.float32)
    dw = gpu.conv_backward_weight(none[:, :1], none, kernel_shape=(1, 2, 1, 1), algorithm=algorithm)
    assert not dw.any()
    assert gpu.conv(none, w, algorithm=algorithm).shape == (0, 3, 5, 5)
    assert gpu.conv(x, np.ones((0, 2, 1, 1), np.float32), algorithm=algorithm).shape == (1, 0, 5, 5)
    assert gpu.conv(x, np.ones((1, 2, 7, 1), np.float32), algorithm=algorithm).shape == (1, 1, 0, 5)


@pytest.mark.spec("GEN-S3")
@pytest.mark.parametrize("name", ["plain", "everything", "depthwise", "pointwise"])
def test_an_output_is_written_where_it_lies_and_nowhere_else(name: str) -> None:
    x, w, bias, dy, rest = problem(name, "float16")
    calls: list[tuple[Array, Any]] = [
        (dy, lambda out: gpu.conv(x, w, bias, out=out, **rest)),
        (x, lambda out: gpu.conv_backward_input(dy, w, input_shape=x.shape, out=out, **rest)),
        (w, lambda out: gpu.conv_backward_weight(dy, x, kernel_shape=w.shape, out=out, **rest)),
    ]
    for array, run in calls:
        memory = np.full((array.size + 6) * 3, np.nan, np.float16)
        out = memory[2 : 2 + array.size * 3 : 3].reshape(array.shape, copy=False)
        assert run(out) is out
        assert np.isfinite(out).all()
        assert np.isnan(memory).sum() == memory.size - array.size


def test_device_arrays_stay_on_the_device() -> None:
    x, w, *_, rest = problem("everything", "float32")
    got = gpu.conv(to_device(x), to_device(w), **rest)
    assert isinstance(got, DeviceArray)
    assert got.get().tobytes() == gpu.conv(x, w, **rest).tobytes()


@pytest.mark.parametrize(
    ("clause", "error", "run"),
    [
        ("CONV-C1: ", ValueError, lambda x, w: gpu.conv(x[0, 0], w)),
        ("CONV-C1: bias", ValueError, lambda x, w: gpu.conv(x, w, x[0, 0, 0])),
        ("CONV-C2: x has 3 channels, w expects 2", ValueError, lambda x, w: gpu.conv(x, w[:, :2])),
        ("CONV-C3: stride", ValueError, lambda x, w: gpu.conv(x, w, stride=0)),
        ("CONV-C4: dy", ValueError, lambda x, w: gpu.conv_backward_input(x, w, input_shape=x.shape)),
        ("CONV-C4: dy", ValueError, lambda x, w: gpu.conv_backward_weight(x, x, kernel_shape=w.shape)),
        ("CONV-C4: residual", ValueError, lambda x, w: gpu.conv_fused(x, w, None, x)),
        ("CONV-C5", TypeError, lambda x, w: gpu.conv(x, w.astype(np.float16))),
        (
            "CONV-C5: x has dtype float32, bias has",
            TypeError,
            lambda x, w: gpu.conv(x, w, w[:, 0, 0, 0].astype(np.float16)),
        ),
        ("CONV-C5: w must be an array, got None", TypeError, lambda x, w: gpu.conv(x, None)),
        ("CONV-C6: activation", ValueError, lambda x, w: gpu.conv_fused(x, w, None, activation="elu")),
    ],
)
def test_a_bad_argument_is_refused_with_its_clause(clause: str, error: type[Exception], run: Any) -> None:
    x, w, *_ = problem("plain", "float32")
    with pytest.raises(error, match=f"^{clause}"):
        run(x, w)
