"""Convolution through transforms on the device: within the bounds of what its user must declare."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu, reference
from gaugeblock.gpu.convolution.fourier import LONGEST, lengths
from gaugeblock.gpu.convolution.problem import Geometry
from gaugeblock.reference.windows import Windows
from gaugeblock.spec.accuracy import FORMATS, accept
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
Case = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]
generator = np.random.default_rng(24)

# x, w, and the rest; what breaks a transform: sums that go around, rows without a partner, axes of length 1.
FOURIER: dict[str, Case] = {
    "large kernel": ((2, 3, 20, 17), (4, 3, 7, 11), {"padding": 2}),
    "everything": (
        (2, 4, 9, 7),
        (6, 2, 3, 3),
        {"stride": (2, 3), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2},
    ),
    "one axis": ((2, 3, 20), (5, 3, 4), {"stride": 2, "padding": 3, "dilation": 3}),
    "three axes": (
        (1, 4, 5, 6, 4),
        (4, 2, 2, 3, 2),
        {"stride": (2, 1, 2), "padding": (1, 0, 1), "dilation": (1, 2, 1), "groups": 2},
    ),
    "last axis of one": ((2, 3, 9, 1), (2, 3, 3, 1), {}),
    "a pixel": ((2, 3, 1, 1), (2, 3, 1, 1), {}),
    "kernel beyond the input": ((1, 1, 3, 4), (2, 1, 5, 4), {"padding": ((1, 2), 1)}),
    "stride beyond the input": ((1, 2, 3, 5), (2, 2, 2, 2), {"stride": 7, "padding": 1}),
    "padding before alone": ((1, 1, 6), (1, 1, 3), {"padding": ((9, 0),)}),
    "depthwise": ((2, 5, 8, 9), (5, 1, 5, 5), {"padding": "same", "groups": 5}),
}
WINOGRAD: dict[str, Case] = {
    "tiles that end beyond the result": ((2, 3, 7, 10), (4, 3, 3, 3), {"padding": ((1, 0), (2, 1))}),
    "results smaller than a tile": ((1, 4, 3, 4), (6, 2, 3, 3), {"groups": 2}),
    "more padding than kernel": ((1, 2, 5, 6), (3, 2, 3, 3), {"padding": ((4, 3), (0, 5))}),
}
CASES = [
    *(("fft", operation, name) for operation in gpu.convolution.PRODUCTS for name in FOURIER),
    *(
        (algorithm, operation, name)
        for algorithm in ("winograd_2", "winograd_4")
        for operation in gpu.convolution.PRODUCTS
        if operation != "conv_backward_weight"
        for name in WINOGRAD
    ),
]


def normal(*shape: int) -> Array:
    return generator.normal(size=shape).astype(np.float32)


def call(operation: str, case: Case) -> dict[str, Any]:
    """Return the arguments of an operation for a convolution's shapes."""
    x, w, rest = case
    y = reference.conv(np.zeros(x), np.zeros(w), **rest).shape
    if operation == "conv":
        return {"x": normal(*x), "w": normal(*w), "bias": normal(w[0]), **rest}
    if operation == "conv_fused":
        arrays = {"x": normal(*x), "w": normal(*w), "bias": normal(w[0]), "residual": normal(*y)}
        return {**arrays, "activation": "relu6", **rest}
    if operation == "conv_backward_input":
        return {"dy": normal(*y), "w": normal(*w), "input_shape": x, **rest}
    if operation == "conv_backward_weight":
        return {"dy": normal(*y), "x": normal(*x), "kernel_shape": w, **rest}
    shape = reference.conv_transpose(np.zeros(y), np.zeros(w), **rest).shape
    return {"x": normal(*y), "w": normal(*w), "bias": normal(shape[1]), **rest}


def wide(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }


def assert_within_the_bound(operation: str, got: Array, arguments: dict[str, Any], algorithm: str) -> None:
    want = getattr(reference, operation)(**wide(arguments))
    declared = Arithmetic.declared({"algorithm": algorithm})
    bound = OPERATIONS[operation].bound(arguments, want, FORMATS["float32"], declared)
    assert got.shape == want.shape
    assert np.isfinite(bound.value).all()
    assert accept(got, want, bound, FORMATS["float32"]).all()


def layouts(x: Array) -> Iterator[Array]:
    """Yield the array, channels last, and with every axis backwards."""
    yield x
    yield np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    yield np.flip(np.ascontiguousarray(np.flip(x)))


@pytest.mark.spec("CONV-A6")
@pytest.mark.spec("CONV-A7")
@pytest.mark.parametrize(("algorithm", "operation", "name"), CASES)
def test_a_transform_keeps_the_bound_of_its_declaration(algorithm: str, operation: str, name: str) -> None:
    arguments = call(operation, (FOURIER if algorithm == "fft" else WINOGRAD)[name])
    got = getattr(gpu, operation)(**arguments, algorithm=algorithm)
    assert_within_the_bound(operation, got, arguments, algorithm)


@pytest.mark.spec("CONV-A7")
@pytest.mark.parametrize("points", [1 << exponent for exponent in range(2, 13)])
def test_transforms_of_every_length_keep_the_bound(points: int) -> None:
    size = points - points // 4
    arguments = call("conv", ((1, 1, size), (1, 1, points // 4 + 1), {"padding": points // 8}))
    windows = Windows.slide(size=(size,), kernel=(points // 4 + 1,), padding=((points // 8,) * 2,))
    assert lengths(Geometry(1, 1, 1, 1, windows)) == (points,)
    assert_within_the_bound("conv", gpu.conv(**arguments, algorithm="fft"), arguments, "fft")
    column = {name: value[:, :, :, None] for name, value in arguments.items() if name in ("x", "w")}
    beside = np.concatenate([column["x"]] * 2, axis=3)  # two columns: a transform along the slower axis
    upright = {**arguments, **column, "x": beside, "padding": (points // 8, 0)}
    assert_within_the_bound("conv", gpu.conv(**upright, algorithm="fft"), upright, "fft")


@pytest.mark.spec("GEN-S2")
@pytest.mark.parametrize(
    ("algorithm", "case"),
    [
        ("fft", FOURIER["everything"]),
        ("winograd_2", WINOGRAD["results smaller than a tile"]),
        ("winograd_4", WINOGRAD["tiles that end beyond the result"]),
    ],
)
def test_no_layout_changes_a_bit_of_a_transform(algorithm: str, case: Case) -> None:
    operations = ["conv_fused", "conv_backward_input", "conv_backward_weight"]
    for operation in operations[: 3 if algorithm == "fft" else 2]:
        arguments = call(operation, case)
        names = [
            name for name, value in arguments.items() if isinstance(value, np.ndarray) and value.ndim > 1
        ]
        results = set()
        for views in zip(*(layouts(arguments[name]) for name in names), strict=True):
            given = {**arguments, **dict(zip(names, views, strict=True))}
            results.add(getattr(gpu, operation)(**given, algorithm=algorithm).tobytes())
        assert len(results) == 1


@pytest.mark.spec("CONV-X2")
def test_what_is_not_finite_stays_in_the_planes_that_read_it() -> None:
    arguments = call("conv", FOURIER["large kernel"])
    clean = gpu.conv(**arguments, algorithm="fft")
    arguments["x"][1, 2, 3, 4] = np.inf
    got = gpu.conv(**arguments, algorithm="fft")
    assert got[0].tobytes() == clean[0].tobytes()
    assert not np.isfinite(got[1]).any()


@pytest.mark.spec("CONV-X1")
def test_without_a_product_the_bias_is_left() -> None:
    bias = normal(3)
    for x, w in (((2, 0, 5, 5), (3, 0, 3, 3)), ((2, 2, 0, 5), (3, 2, 3, 3))):
        got = gpu.conv(normal(*x), normal(*w), bias, padding=2, algorithm="fft")
        assert got.size
        assert np.array_equal(got, np.broadcast_to(bias[:, None, None], got.shape))
    none = normal(0, 2, 5, 5)
    dw = gpu.conv_backward_weight(none[:, :, 2:, 2:], none, kernel_shape=(2, 2, 3, 3), algorithm="fft")
    assert not dw.any()
    dx = gpu.conv_backward_input(
        normal(1, 3, 0, 3), normal(3, 2, 9, 3), input_shape=(1, 2, 4, 5), algorithm="fft"
    )
    assert dx.shape == (1, 2, 4, 5)
    assert not dx.any()


def test_a_transform_that_does_not_fit_is_refused() -> None:
    x, w, dy = normal(1, 2, 5, 5), normal(2, 2, 3, 3), normal(1, 2, 3, 3)
    for algorithm in ("fft", "winograd_2", "winograd_4"):
        half = x.astype(np.float16), w.astype(np.float16)
        with pytest.raises(ValueError, match=f"algorithm is '{algorithm}', which takes float32"):
            gpu.conv(*half, algorithm=algorithm)
    with pytest.raises(ValueError, match="no gradient of w"):
        gpu.conv_backward_weight(dy, x, kernel_shape=w.shape, algorithm="winograd_4")
    with pytest.raises(ValueError, match="a kernel of 3 by 3"):
        gpu.conv_transpose(dy, w, stride=2, algorithm="winograd_2")
    long = np.zeros((1, 1, LONGEST + 1), np.float32)
    with pytest.raises(ValueError, match=f"a transform has 8192 points, expected at most {LONGEST}"):
        gpu.conv(long, long[..., :9], algorithm="fft")
