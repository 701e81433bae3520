"""The bounds hold convolutions in float32, by any order of summation or as declared, and no broken ones.

The kernels are NumPy simulations whose every operation rounds to float32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.reference.convolution import conv_windows
from gaugeblock.reference.convolution_algorithms import winograd_matrices
from gaugeblock.spec.accuracy import (
    FORMATS,
    Arithmetic,
    Bound,
    accept,
    exact_integer_limit,
    round_to,
    statistics,
)
from gaugeblock.spec.convolution import _CONV, _INPUT, _WEIGHT, CONVOLUTION, _Call, _Product

Array = NDArray[Any]
Order = Callable[[Array], Array]
F = np.float32
FLOAT32, FLOAT16, BFLOAT16 = (FORMATS[name] for name in ("float32", "float16", "bfloat16"))
PLAIN = Arithmetic()
RECORDS = {record.name: record for record in CONVOLUTION}
CONV = RECORDS["conv"]


# Sums of products in float32, along the last axis


def forwards(products: Array) -> Array:
    """Add one product after the other."""
    total = np.zeros(products.shape[:-1], F)
    for k in range(products.shape[-1]):
        total = total + products[..., k]
    return total


def backwards(products: Array) -> Array:
    """Start with the last product."""
    return forwards(products[..., ::-1])


def pairwise(products: Array) -> Array:
    """Halve the sum until one product is left."""
    n = products.shape[-1]
    if n < 2:
        return forwards(products)
    return pairwise(products[..., : n // 2]) + pairwise(products[..., n // 2 :])


def split(products: Array) -> Array:
    """Add the sums of four parts."""
    parts = [forwards(products[..., k::4]) for k in range(4)]
    return (parts[0] + parts[1]) + (parts[2] + parts[3])


ORDERS: list[Order] = [forwards, backwards, pairwise, split]


def taps(x: Array, kernel: tuple[int, ...], **steps: Any) -> Array:
    """Return what every tap reads, zero in the padding: (N, C, *P, *kernel)."""
    windows = conv_windows(x.shape, (1, 1, *kernel), **steps)
    read = np.zeros((*x.shape[:2], *windows.output, *kernel), x.dtype)
    for tap, outputs, inputs in windows.taps():
        read[(*outputs, *tap[1:])] = x[inputs]
    return read


def direct(x: Array, w: Array, order: Order, groups: int = 1, **steps: Any) -> Array:
    """Multiply every tap in float32, then add the products up in some order."""
    read = taps(x, w.shape[2:], **steps)
    (N, C), P = read.shape[:2], read.shape[2 : x.ndim]
    K, block = w.shape[0], C // groups
    result = np.zeros((N, K, *P), F)
    for k in range(K):
        g = k // (K // groups)
        terms = np.moveaxis(read[:, g * block : (g + 1) * block], 1, x.ndim - 1)
        result[:, k] = order((terms * w[k]).reshape(N, *P, -1))
    return result


def gradient_of_input(dy: Array, w: Array, shape: tuple[int, ...], backward: bool, **steps: Any) -> Array:
    """Add up every product at its place, tap by tap, in one order of the taps and channels or the other."""
    dx = np.zeros(shape, F)
    found = list(conv_windows(shape, w.shape, **steps).taps())
    for tap, outputs, inputs in found[::-1] if backward else found:
        for k in range(w.shape[0])[:: -1 if backward else 1]:
            column = w[k][tap].reshape(-1, *(1,) * (dy.ndim - 2))
            dx[inputs] = dx[inputs] + dy[outputs][:, k : k + 1] * column
    return dx


def gradient_of_weight(dy: Array, x: Array, shape: tuple[int, ...], order: Order, **steps: Any) -> Array:
    """Add up the products of all positions in some order."""
    read = taps(x, shape[2:], **steps)  # (N, C, *P, *kernel)
    axes = dy.ndim - 2
    positions = np.moveaxis(read, 1, 0).reshape(x.shape[1], -1, *shape[2:])
    result = np.zeros(shape, F)
    for k in range(shape[0]):
        weights = dy[:, k].reshape(-1, *(1,) * axes)
        result[k] = order(np.moveaxis(positions * weights, 1, -1))
    return result


# The declared algorithms in float32


def winograd(x: Array, w: Array, m: int, padding: int, precision: Any = None) -> Array:
    """Convolve two axes by F(m, 3), every transform in float32, the transformed tiles perhaps in less."""
    A, B, G = (matrix.astype(float).astype(F) for matrix in winograd_matrices(m))
    t, (H, W) = m + 2, x.shape[2:]
    P, Q = H + 2 * padding - 2, W + 2 * padding - 2
    rows, columns = -(-P // m), -(-Q // m)
    padded = np.zeros((*x.shape[:2], rows * m + 2, columns * m + 2), F)
    padded[:, :, padding : padding + H, padding : padding + W] = x
    kernels = narrowed(G @ w @ G.T, precision)
    result = np.zeros((x.shape[0], w.shape[0], rows * m, columns * m), F)
    for i in range(rows):
        for j in range(columns):
            tile = narrowed(B.T @ padded[:, :, i * m : i * m + t, j * m : j * m + t] @ B, precision)
            total = np.zeros((x.shape[0], w.shape[0], t, t), F)
            for c in range(x.shape[1]):
                total = total + tile[:, None, c] * kernels[None, :, c]
            result[:, :, i * m : (i + 1) * m, j * m : (j + 1) * m] = A.T @ total @ A
    return result[:, :, :P, :Q]


def narrowed(array: Array, format: Any) -> Array:
    """Round to a narrow format, if there is one."""
    return array if format is None else round_to(array.astype(np.float64), format).astype(F)


def fourier(x: Array, w: Array, padding: int) -> Array:
    """Convolve two axes through transforms in single precision."""
    P, Q = (H + 2 * padding - R + 1 for H, R in zip(x.shape[2:], w.shape[2:], strict=True))
    size = [1 << (H + 2 * padding - 1).bit_length() for H in x.shape[2:]]
    padded = np.pad(x, [(0, 0)] * 2 + [(padding, padding)] * 2)
    inputs, kernels = (np.fft.rfft2(array, s=size) for array in (padded, w))
    assert inputs.dtype == np.complex64
    total = np.zeros((x.shape[0], w.shape[0], *inputs.shape[2:]), np.complex64)
    for c in range(x.shape[1]):
        total = total + inputs[:, None, c] * np.conj(kernels[None, :, c])
    result = np.fft.irfft2(total, s=size)
    assert result.dtype == F
    return result[:, :, :P, :Q]


# Problems


def data(kind: str, *shapes: tuple[int, ...]) -> list[Array]:
    """Draw arrays: zero mean, one sign, or of any magnitude from pixel to pixel."""
    random = np.random.default_rng(len(shapes) + sum(shapes[0]))
    if kind == "normal":
        return [random.normal(size=shape).astype(F) for shape in shapes]
    if kind == "positive":
        return [random.uniform(size=shape).astype(F) for shape in shapes]
    return [(random.normal(size=s) * 2.0 ** random.uniform(-12, 12, size=s)).astype(F) for s in shapes]


def judged(
    name: str,
    got: Array,
    arrays: dict[str, Array],
    declared: Arithmetic = PLAIN,
    format: Any = FLOAT32,
    **more: Any,
) -> NDArray[np.bool_]:
    """Which elements of a result keep the bound."""
    wide = {array: values.astype(np.float64) for array, values in arrays.items()}
    want = RECORDS[name].reference(**wide, **more)
    return accept(got, want, RECORDS[name].bound({**wide, **more}, want, format, declared), format)


STEPS: list[dict[str, Any]] = [
    {},
    {"padding": ((1, 2), (0, 1))},
    {"stride": (2, 1), "padding": "same"},
    {"dilation": (1, 2), "padding": 2, "stride": (3, 2)},
]
KINDS = ["normal", "positive", "wide"]


@pytest.mark.spec("CONV-A1")
@pytest.mark.spec("CONV-A4")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_summation_keeps_the_worst_case(
    order: Order, steps: dict[str, Any], kind: str
) -> None:
    x, w = data(kind, (2, 6, 9, 11), (4, 3, 3, 2))
    assert judged("conv", direct(x, w, order, 2, **steps), {"x": x, "w": w}, groups=2, **steps).all()


@pytest.mark.spec("CONV-A1")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", STEPS, ids=str)
@pytest.mark.parametrize("backward", [False, True])
def test_both_gradients_keep_the_worst_case(backward: bool, steps: dict[str, Any], kind: str) -> None:
    x_shape, w_shape = (2, 3, 9, 11), (4, 3, 3, 2)
    dy_shape = CONV.shape({"x": x_shape, "w": w_shape}, steps)
    dy, x, w = data(kind, dy_shape, x_shape, w_shape)
    dx = gradient_of_input(dy, w, x_shape, backward, **steps)
    assert judged("conv_backward_input", dx, {"dy": dy, "w": w}, input_shape=x_shape, **steps).all()
    order = backwards if backward else pairwise
    dw = gradient_of_weight(dy, x, w_shape, order, **steps)
    assert judged("conv_backward_weight", dw, {"dy": dy, "x": x}, kernel_shape=w_shape, **steps).all()
    db = order(np.moveaxis(dy, 1, 0).reshape(dy.shape[1], -1))
    assert judged("conv_backward_bias", db, {"dy": dy}).all()


@pytest.mark.spec("CONV-S5")
@pytest.mark.spec("CONV-A1")
@pytest.mark.parametrize("backward", [False, True])
def test_the_transposed_form_keeps_the_worst_case(backward: bool) -> None:
    x, w, bias = data("normal", (2, 4, 5, 6), (4, 3, 3, 2), (3,))
    steps = {"stride": (2, 3), "padding": (1, 0)}
    more = {**steps, "output_padding": (1, 2)}
    shape = RECORDS["conv_transpose"].shape({"x": x.shape, "w": w.shape}, more)
    got = gradient_of_input(x, w, shape, backward, **steps) + bias[:, None, None]
    assert judged("conv_transpose", got, {"x": x, "w": w, "bias": bias}, **more).all()


def truncated(array: Array) -> Array:
    """Clear the last thirteen bits, as TF32 does."""
    return (array.view(np.uint32) & np.uint32(0xFFFFE000)).view(F)


@pytest.mark.spec("CONV-A1")
def test_broken_convolutions_exceed_the_worst_case() -> None:
    x, w = data("normal", (2, 6, 9, 11), (4, 6, 3, 2))
    arrays = {"x": x, "w": w}
    assert not judged("conv", direct(truncated(x), truncated(w), forwards), arrays).all()
    assert judged(
        "conv", direct(truncated(x), truncated(w), forwards), arrays, Arithmetic(multiplier="tf32")
    ).all()
    for wrong in (w[:, :, ::-1], w[:, ::-1], w[::-1], w * (np.arange(2) < 1)):
        assert not judged("conv", direct(x, np.ascontiguousarray(wrong, F), forwards), arrays).all()
    skipped = direct(x, w, lambda products: forwards(products[..., :-1]))
    assert not judged("conv", skipped, arrays).any()


@pytest.mark.spec("CONV-S1")
@pytest.mark.spec("CONV-A1")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_the_bias_is_added_before_the_one_rounding(format: Any) -> None:
    x, w = (narrowed(array, format) for array in data("normal", (2, 6, 9, 11), (4, 6, 3, 2)))
    total = direct(x, w, forwards)
    bias = narrowed(-total[0, :, 0, 0], format)
    arrays = {"x": x, "w": w, "bias": bias}
    late = round_to((total + bias[:, None, None]).astype(np.float64), format)
    early = narrowed(narrowed(total, format) + bias[:, None, None], format)
    assert judged("conv", late, arrays, format=format).all()
    assert judged("conv", early, arrays, format=format).all() == (format == FLOAT32)


@pytest.mark.spec("CONV-A2")
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_summation_is_exact_on_integers(order: Order) -> None:
    random = np.random.default_rng(3)
    limit = exact_integer_limit(
        int(CONV.reduction({"x": (2, 6, 9, 11), "w": (4, 6, 3, 2)}, {}) or 0), "float32", PLAIN
    )
    x = (2 * random.integers(-(limit // 2) - 1, limit // 2 + 1, (2, 6, 9, 11)) + 1).astype(F)
    w = random.integers(-1, 2, (4, 6, 3, 2)).astype(F)
    want = CONV.reference(x.astype(np.float64), w.astype(np.float64))
    assert (direct(x, w, order) == want).all()
    assert not (direct(truncated(x), w, order) == want).all()


@pytest.mark.spec("CONV-A3")
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_summation_keeps_the_statistics(order: Order) -> None:
    x, w = data("normal", (3, 8, 12, 11), (5, 8, 3, 3))
    wide = {"x": x.astype(np.float64), "w": w.astype(np.float64)}
    want, size = CONV.reference(**wide), CONV.absolute(wide)
    settings: dict[str, Any] = {"reduction": 72, "output": FLOAT32, "arithmetic": PLAIN}
    assert statistics(direct(x, w, order), want, size, **settings).accepted
    assert not statistics(direct(truncated(x), w, order), want, size, **settings).accepted


@pytest.mark.spec("CONV-A6")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 5, 8, 8), (1, 1, 5, 9), (1, 3, 13, 3)])
@pytest.mark.parametrize("m", [2, 4])
def test_winograd_keeps_the_bound_of_its_declaration(m: int, shape: tuple[int, ...], kind: str) -> None:
    x, w = data(kind, shape, (4, shape[1], 3, 3))
    declared = Arithmetic(algorithm=f"winograd_{m}")  # type: ignore[arg-type]
    for padding in (0, 1, 2):
        got = winograd(x, w, m, padding)
        assert judged("conv", got, {"x": x, "w": w}, declared, padding=padding).all()
        assert judged(
            "conv", direct(x, w, forwards, padding=padding), {"x": x, "w": w}, declared, padding=padding
        ).all()


@pytest.mark.spec("CONV-A6")
@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_winograd_may_compute_the_gradient_of_the_input(padding: int, m: int) -> None:
    dy, w = data("wide", (2, 4, 7, 9), (4, 3, 3, 3))
    shape = (2, 3, 7 - 2 * padding + 2, 9 - 2 * padding + 2)
    reverse = np.ascontiguousarray(np.swapaxes(w, 0, 1)[:, :, ::-1, ::-1])
    inner = dy[:, :, 1:-1, 1:-1] if padding == 3 else dy  # padding past the kernel cuts the gradient off
    got = winograd(inner, reverse, m, max(2 - padding, 0))
    declared = Arithmetic(algorithm=f"winograd_{m}")  # type: ignore[arg-type]
    arrays = {"dy": dy, "w": w}
    assert judged("conv_backward_input", got, arrays, declared, input_shape=shape, padding=padding).all()


@pytest.mark.spec("CONV-A6")
@pytest.mark.parametrize("m", [2, 4])
def test_undeclared_or_broken_winograd_exceeds_the_bound(m: int) -> None:
    x, w = data("wide", (2, 5, 12, 12), (4, 5, 3, 3))
    declared = Arithmetic(algorithm=f"winograd_{m}")  # type: ignore[arg-type]
    got = winograd(x, w, m, 1)
    assert not judged("conv", got, {"x": x, "w": w}, padding=1).all()
    x, w = data("normal", (2, 5, 12, 12), (4, 5, 3, 3))
    for narrow in (BFLOAT16, FLOAT16):
        assert not judged("conv", winograd(x, w, m, 1, narrow), {"x": x, "w": w}, declared, padding=1).all()
    stale = winograd(x, w, m, 1)
    stale[..., -1] = stale[..., -2]
    assert not judged("conv", stale, {"x": x, "w": w}, declared, padding=1).all()


@pytest.mark.spec("CONV-A6")
def test_the_larger_tile_does_not_keep_the_bound_of_the_smaller() -> None:
    x, w = data("wide", (2, 5, 24, 24), (4, 5, 3, 3))
    declared = Arithmetic(algorithm="winograd_2")
    assert not judged("conv", winograd(x, w, 4, 1), {"x": x, "w": w}, declared, padding=1).all()


@pytest.mark.spec("CONV-A6")
@pytest.mark.parametrize("m", [2, 4])
def test_a_declared_multiplier_rounds_what_the_transforms_make_of_narrow_inputs(m: int) -> None:
    x, w = (narrowed(array, FLOAT16) for array in data("normal", (2, 5, 12, 12), (4, 5, 3, 3)))
    got = round_to(winograd(x, w, m, 1, FLOAT16), FLOAT16)
    for multiplier, right in (("float16", True), (None, False)):
        declared = Arithmetic(algorithm=f"winograd_{m}", multiplier=multiplier)  # type: ignore[arg-type]
        assert judged("conv", got, {"x": x, "w": w}, declared, FLOAT16, padding=1).all() == right


@pytest.mark.spec("CONV-A6")
@pytest.mark.parametrize("m", [2, 4])
def test_the_bound_of_winograd_is_that_of_the_data_and_not_of_its_magnitudes(m: int) -> None:
    """A constant input has no differences, which are what most tiles are made of."""
    declared = Arithmetic(algorithm=f"winograd_{m}")  # type: ignore[arg-type]
    level, w = np.ones((1, 1, 12, 12)), np.random.default_rng(2).normal(size=(1, 1, 3, 3))
    mixed = np.random.default_rng(3).choice([-1.0, 1.0], level.shape)
    bounds = [
        CONV.bound({"x": x, "w": w}, CONV.reference(x, w), FLOAT32, declared).value for x in (level, mixed)
    ]
    assert np.median(bounds[0]) < 0.6 * np.median(bounds[1])


@pytest.mark.spec("CONV-A6")
def test_nothing_is_demanded_where_a_transform_may_overflow() -> None:
    x, w = np.ones((1, 1, 9, 9)), np.full((1, 1, 3, 3), 1e-30)
    x[0, 0, 0, :3] = 3e38
    for m in (2, 4):
        declared = Arithmetic(algorithm=f"winograd_{m}")  # type: ignore[arg-type]
        bound = CONV.bound({"x": x, "w": w}, CONV.reference(x, w), FLOAT32, declared).value
        assert np.isinf(bound[0, 0, :m, :m]).all()
        assert np.isfinite(bound[0, 0, m:]).all()


@pytest.mark.spec("CONV-A7")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", [(3, 3), (7, 11), (1, 1)])
def test_fourier_keeps_the_bound_of_its_declaration(kernel: tuple[int, int], kind: str) -> None:
    x, w = data(kind, (2, 5, 20, 24), (3, 5, *kernel))
    declared = Arithmetic(algorithm="fft")
    assert judged("conv", fourier(x, w, 1), {"x": x, "w": w}, declared, padding=1).all()


@pytest.mark.spec("CONV-A7")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", [0, 1])
def test_fourier_may_compute_both_gradients_on_circles_of_any_length(room: int, kind: str) -> None:
    """On the shorter ones places that are not looked at fall together."""
    dy, w, x = data(kind, (2, 4, 16, 18), (4, 5, 5, 7), (2, 5, 20, 24))
    declared, shape = Arithmetic(algorithm="fft"), {"input_shape": x.shape, "kernel_shape": w.shape}
    size = [(32 << room) for _ in range(2)]
    of_dy, of_w, of_x = (np.fft.rfft2(array, s=size) for array in (dy, w, x))
    dx = np.fft.irfft2(np.einsum("nk...,kc...->nc...", of_dy, of_w), s=size)[..., :20, :24]
    dw = np.fft.irfft2(np.einsum("nk...,nc...->kc...", of_dy.conj(), of_x), s=size)[..., :5, :7]
    assert dx.dtype == dw.dtype == F
    steps = {"padding": 0}
    input_shape, kernel_shape = ({name: shape[name]} for name in shape)
    assert judged("conv_backward_input", dx, {"dy": dy, "w": w}, declared, **steps, **input_shape).all()
    assert judged("conv_backward_weight", dw, {"dy": dy, "x": x}, declared, **steps, **kernel_shape).all()


MEETINGS: dict[str, tuple[_Product, str, str]] = {
    "conv": (_CONV, "ngcxy,gkcxy->ngk", "x w"),
    "conv_backward_input": (_INPUT, "ngkxy,gkcxy->ngc", "dy w"),
    "conv_backward_weight": (_WEIGHT, "ngkxy,ngcxy->gkc", "dy x"),
}


@pytest.mark.spec("CONV-A7")
@pytest.mark.parametrize("name", MEETINGS)
def test_the_norm_of_products_is_that_of_what_their_spectra_make(name: str) -> None:
    product, subscripts, names = MEETINGS[name]
    shapes = {"dy": (2, 6, 4, 3), "x": (2, 4, 9, 8), "w": (6, 2, 2, 3)}
    apart = {"dy": (2, 2), "x": (1, 1), "w": (1, 2)}
    spectra = {}
    arrays = dict(zip(shapes, data("normal", *shapes.values()), strict=True))
    for key, array in arrays.items():
        wide = np.zeros((*array.shape[:2], 16, 16))
        by, across = apart[key]
        wide[:, :, : by * array.shape[2] : by, : across * array.shape[3] : across] = array
        groups = (2, 3, 2, 16, 16) if key == "w" else (2, 2, -1, 16, 16)
        spectra[key] = np.square(np.abs(np.fft.fft2(wide))).reshape(groups)
    squares = np.einsum(subscripts, *(spectra[key] for key in names.split()))
    more = {"stride": 2, "dilation": (1, 2), "groups": 2, "padding": 0}
    more |= {"input_shape": shapes["x"], "kernel_shape": shapes["w"]} if name != "conv" else {}
    call = _Call(product, RECORDS[name].complete(more) | {key: arrays[key] for key in names.split()})
    addends = product.addends(call.shapes, call.arguments)
    total = call._planes(*call._finite())._of_products(addends)
    want = np.sqrt(4 * addends * squares / 256)
    assert np.allclose(total.reshape(want.shape), want)


@pytest.mark.spec("CONV-A7")
def test_undeclared_or_broken_fourier_exceeds_the_bound() -> None:
    x, w = data("normal", (2, 1, 20, 24), (3, 1, 7, 7))
    x[..., :12] *= F(2.0**-20)
    declared = Arithmetic(algorithm="fft")
    assert not judged("conv", fourier(x, w, 1), {"x": x, "w": w}, padding=1).all()
    x, w = data("normal", (2, 5, 20, 24), (3, 5, 7, 7))
    for wrong in (fourier(narrowed(x, BFLOAT16), w, 1), fourier(x, w[..., ::-1], 1)):
        assert not judged("conv", wrong, {"x": x, "w": w}, declared, padding=1).all()


@pytest.mark.spec("CONV-A6")
@pytest.mark.spec("CONV-A7")
def test_an_algorithm_counts_only_where_it_can_do_the_call() -> None:
    shapes = {"x": (1, 2, 9, 9), "w": (2, 2, 3, 3), "dy": (1, 2, 7, 7)}
    gradient = {"input_shape": (1, 2, 9, 9), "kernel_shape": (2, 2, 3, 3)}
    for algorithm in ("winograd_2", "winograd_4", "fft"):
        declared = Arithmetic(algorithm=algorithm)  # type: ignore[arg-type]
        assert CONV.applied(shapes, {}, declared) == declared
        assert RECORDS["conv_backward_input"].applied(shapes, gradient, declared) == declared
        assert CONV.applied(shapes, {"stride": 2}, declared).algorithm == (
            "fft" if algorithm == "fft" else "direct"
        )
        assert RECORDS["conv_backward_bias"].applied(shapes, {}, declared) == PLAIN
        assert exact_integer_limit(9, "float32", declared) == 0
    weight = RECORDS["conv_backward_weight"]
    assert weight.applied(shapes, gradient, Arithmetic(algorithm="winograd_2")) == PLAIN
    with pytest.raises(ValueError, match=r"^GEN-C4: algorithm is 'winograd_8'"):
        Arithmetic.declared({"algorithm": "winograd_8"})


@pytest.mark.spec("CONV-X2")
def test_infinities_are_demanded_and_free_only_where_a_transform_spreads_them() -> None:
    x, w = np.ones((1, 1, 9, 9)), np.ones((2, 1, 3, 3))
    x[0, 0, 0, 0] = np.inf
    want = CONV.reference(x, w)
    free = {
        algorithm: np.isinf(
            CONV.bound({"x": x, "w": w}, want, FLOAT32, Arithmetic(algorithm=algorithm)).value  # type: ignore[arg-type]
        ).sum()
        for algorithm in ("direct", "winograd_2", "winograd_4", "fft")
    }
    assert free == {"direct": 0, "winograd_2": 2 * 4, "winograd_4": 2 * 16, "fft": 2 * 49}


@pytest.mark.spec("CONV-X2")
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid"])
def test_what_a_transform_spreads_is_free_after_a_function_too(activation: str) -> None:
    arrays = {"x": np.ones((1, 1, 9, 9)), "w": np.ones((1, 1, 3, 3)), "bias": np.zeros(1)}
    arrays["x"][0, 0, 0, 0] = np.inf
    record, call = RECORDS["conv_fused"], {**arrays, "activation": activation}
    want = record.reference(**call)
    for algorithm, free in (("direct", 0), ("winograd_2", 4), ("fft", 49)):
        bound = record.bound(call, want, FLOAT32, Arithmetic(algorithm=algorithm))  # type: ignore[arg-type]
        assert np.isinf(bound.value).sum() == free


@pytest.mark.spec("CONV-A7")
def test_nothing_is_demanded_where_a_spectrum_may_overflow() -> None:
    x, w = np.full((2, 1, 8), 1e38), np.full((1, 1, 3), 1e-30)
    x[1] = 1.0
    bound = CONV.bound({"x": x, "w": w}, CONV.reference(x, w), FLOAT32, Arithmetic(algorithm="fft"))
    assert np.isinf(bound.value[0]).all()
    assert np.isfinite(bound.value[1]).all()


@pytest.mark.spec("CONV-A1")
def test_nothing_is_demanded_where_a_partial_sum_may_overflow() -> None:
    x, w = np.full((1, 1, 2), 3e38), np.array([[[2.0, -2.0]]])
    bound = CONV.bound({"x": x, "w": w}, CONV.reference(x, w), FLOAT32, PLAIN)
    assert np.isinf(bound.value).all()


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda z: z,
    "relu": lambda z: np.maximum(z, F(0)),
    "relu6": lambda z: np.clip(z, F(0), F(6)),
    "sigmoid": lambda z: F(1) / (F(1) + np.exp(-z)),
    "tanh": np.tanh,
    "silu": lambda z: z / (F(1) + np.exp(-z)),
}


@pytest.mark.spec("CONV-S6")
@pytest.mark.spec("CONV-A8")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_a_function_of_the_sum_is_rounded_once(activation: str, format: Any) -> None:
    shapes = ((2, 6, 9, 11), (4, 6, 3, 2), (4,), (2, 4, 7, 10))
    x, w, bias, residual = (narrowed(array, format) for array in data("normal", *shapes))
    arrays = {"x": x, "w": w, "bias": bias, "residual": residual}
    function = FUNCTIONS[activation]
    before = direct(x, w, forwards) + bias[:, None, None]
    for total in (before + residual, direct(x, w, pairwise) + (residual + bias[:, None, None])):
        got = round_to(function(total).astype(np.float64), format)
        assert judged("conv_fused", got, arrays, format=format, activation=activation).all()
    early = narrowed(function(narrowed(before, format) + residual), format)
    late = narrowed(function(before) + residual, format)
    faults = [late] if activation != "none" else []
    for wrong in faults if format == FLOAT32 else [*faults, early]:
        assert not judged("conv_fused", wrong, arrays, format=format, activation=activation).all()


@pytest.mark.spec("CONV-A8")
def test_the_fused_bound_follows_the_slope_of_its_function() -> None:
    w, bias = np.ones((1, 1, 1)), np.zeros(1)
    for activation, x, slope in (("sigmoid", -60.0, 1e-25), ("tanh", 30.0, 2.0**-21), ("relu", -5.0, 0.0)):
        arrays = {"x": np.full((1, 1, 1), x), "w": w, "bias": bias, "activation": activation}
        want = RECORDS["conv_fused"].reference(**arrays)
        bound: Bound = RECORDS["conv_fused"].bound(arrays, want, FLOAT32, PLAIN)
        assert bound.value.item() <= slope


@pytest.mark.spec("CONV-D5")
def test_the_length_of_a_sum_and_the_operator_on_absolute_inputs_are_those_of_the_page() -> None:
    shapes = {"x": (5, 6, 9, 11), "w": (4, 3, 3, 2), "dy": (5, 4, 7, 10)}
    gradient = {"groups": 2, "input_shape": shapes["x"], "kernel_shape": shapes["w"]}
    lengths = {
        name: RECORDS[name].reduction(shapes, gradient) for name in RECORDS if name != "conv_transpose"
    }
    assert lengths == {
        "conv": 18,
        "conv_fused": 18,
        "conv_backward_input": 12,
        "conv_backward_weight": 350,
        "conv_backward_bias": 350,
    }
    assert RECORDS["conv_transpose"].reduction({"x": (5, 4, 7, 10), "w": (4, 3, 3, 2)}, gradient) == 12
    x, w = -np.ones((1, 2, 3)), np.ones((1, 2, 2))
    assert CONV.absolute({"x": x, "w": w, "bias": np.array([-3.0])}).tolist() == [[[7.0, 7.0]]]
