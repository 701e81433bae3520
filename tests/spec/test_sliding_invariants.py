"""What the pages on convolution and pooling demand of every implementation holds of the exact reference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from gaugeblock import reference
from gaugeblock.reference import (
    avg_pool,
    avg_pool_backward,
    conv,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_fused,
    conv_transpose,
    gemm,
    max_pool,
    max_pool_backward,
    max_pool_indices,
)
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.convolution import CONVOLUTION
from gaugeblock.spec.pooling import POOLING

Array = NDArray[Any]
RECORDS = {record.name: record for record in (*CONVOLUTION, *POOLING)}


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def same(left: Any, right: Any) -> bool:
    return np.allclose(left, right, rtol=1e-12, atol=1e-12)


X, W = normal(2, 4, 9, 11), normal(6, 4, 3, 2)
STEPS: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)}


@pytest.mark.spec("CONV-I1")
def test_moving_the_input_moves_the_result() -> None:
    inner = np.zeros((2, 4, 20, 20))
    inner[:, :, 6:10, 6:10] = normal(2, 4, 4, 4)
    moved = np.roll(inner, (4, 3), axis=(2, 3))
    steps: dict[str, Any] = {"stride": (2, 1), "padding": 1}
    assert same(conv(moved, W, **steps), np.roll(conv(inner, W, **steps), (2, 3), axis=(2, 3)))


@pytest.mark.spec("CONV-I2")
def test_groups_are_block_diagonal_kernels() -> None:
    w, whole = normal(6, 2, 3, 2), np.zeros((6, 4, 3, 2))
    whole[:3, :2], whole[3:, 2:] = w[:3], w[3:]
    y = conv(X, w, groups=2, **STEPS)
    assert same(y, conv(X, whole, **STEPS))
    halves = [conv(X[:, 2 * g : 2 * g + 2], w[3 * g : 3 * g + 3], **STEPS) for g in (0, 1)]
    assert same(y, np.concatenate(halves, axis=1))
    dx = conv_backward_input(y, w, input_shape=X.shape, groups=2, **STEPS)
    assert same(dx, conv_backward_input(y, whole, input_shape=X.shape, **STEPS))


@pytest.mark.spec("CONV-I3")
def test_batch_and_channels_may_be_permuted() -> None:
    y = conv(X, W, **STEPS)
    assert same(conv(X[::-1], W[::-1], **STEPS), y[::-1, ::-1])
    assert same(conv(X[:, [2, 0, 3, 1]], W[:, [2, 0, 3, 1]], **STEPS), y)


@pytest.mark.spec("CONV-I4")
def test_a_pointwise_convolution_is_a_matrix_product() -> None:
    w = normal(6, 4, 1, 1)
    product = gemm(w[:, :, 0, 0], X.reshape(2, 4, 99)).reshape(2, 6, 9, 11)
    assert same(conv(X, w), product)
    assert same(conv(X, w, stride=(2, 3)), product[:, :, ::2, ::3])


@pytest.mark.spec("CONV-I5")
def test_a_kernel_of_a_single_one_moves_a_channel() -> None:
    w = np.zeros((1, 4, 3, 2))
    w[0, 2, 1, 1] = 1
    assert np.array_equal(conv(X, w)[:, 0], X[:, 2, 1:8, 1:11])


@pytest.mark.spec("CONV-I6")
def test_convolution_is_linear_in_both_arrays() -> None:
    other, kernels = normal(2, 4, 9, 11)[::-1], normal(6, 4, 3, 2)[::-1]
    assert same(conv(X + other, W, **STEPS), conv(X, W, **STEPS) + conv(other, W, **STEPS))
    assert same(conv(X, W + kernels, **STEPS), conv(X, W, **STEPS) + conv(X, kernels, **STEPS))
    assert np.array_equal(conv(8 * X, W / 2, **STEPS), 4 * conv(X, W, **STEPS))


@pytest.mark.spec("CONV-I7")
def test_the_gradients_and_the_transposed_form_are_adjoint() -> None:
    y = conv(X, W, **STEPS)
    dy = normal(*y.shape)
    dx = conv_backward_input(dy, W, input_shape=X.shape, **STEPS)
    dw = conv_backward_weight(dy, X, kernel_shape=W.shape, **STEPS)
    assert same(np.sum(y * dy), np.sum(X * dx))
    assert same(np.sum(y * dy), np.sum(W * dw))
    bias = normal(6)
    assert same(np.sum((conv(X, W, bias, **STEPS) - y) * dy), np.sum(bias * conv_backward_bias(dy)))
    back = conv_transpose(dy, W, **STEPS)
    assert same(np.sum(back * X[:, :, : back.shape[2], : back.shape[3]]), np.sum(dy * y))


@pytest.mark.spec("POOL-I1")
def test_pooling_treats_every_plane_for_itself() -> None:
    for pool in (max_pool, avg_pool, max_pool_indices):
        assert np.array_equal(pool(X[::-1, [2, 0, 3, 1]], kernel=2), pool(X, kernel=2)[::-1, [2, 0, 3, 1]])


@pytest.mark.spec("POOL-S6")
@pytest.mark.spec("POOL-S7")
def test_pooling_has_no_favourite_shape_or_layout() -> None:
    last = np.ascontiguousarray(np.moveaxis(X, 1, -1))
    place: dict[str, Any] = {
        "kernel": (3, 2),
        "stride": (1, 3),
        "padding": ((2, 0), (1, 3)),
        "ceil_mode": True,
    }
    for pool in (max_pool, avg_pool):
        assert np.array_equal(pool(np.moveaxis(last, -1, 1), **place), pool(X, **place))
        assert np.array_equal(
            pool(np.moveaxis(last[..., :3], -1, 1), **place), pool(X[:, :3].copy(), **place)
        )
        for axis in range(9):  # each column for itself, with the other axis out of the way
            rows = pool(X[:, :, axis : axis + 1], kernel=(1, 2), stride=(1, 3))
            assert np.array_equal(rows[:, :, 0], pool(X[:, :, axis], kernel=2, stride=3))


@pytest.mark.spec("CONV-A5")
@pytest.mark.spec("POOL-A6")
def test_images_through_an_edge_detector_and_pooling_keep_the_bounds_in_float32() -> None:
    images = load_digits().images[:8, None].astype(np.float32)
    edges = np.array([[[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]], np.float32)[None]
    wide = {"x": images.astype(np.float64), "w": edges.astype(np.float64)}
    want = conv(**wide, padding=1)
    padded, y = np.pad(images, [(0, 0)] * 2 + [(1, 1)] * 2), np.zeros_like(images)
    for r, s in np.ndindex(3, 3):
        y += padded[:, :, r : r + 8, s : s + 8] * edges[0, 0, r, s]
    form = FORMATS["float32"]
    assert accept(
        y, want, RECORDS["conv"].bound({**wide, "padding": 1}, want, form, Arithmetic()), form
    ).all()
    halves = y.reshape(8, 1, 4, 2, 4, 2)
    average = (halves.sum(axis=3).sum(axis=4) / np.float32(4)).astype(np.float32)
    arguments = {"x": y.astype(np.float64), "kernel": 2}
    want = avg_pool(**arguments)
    assert accept(average, want, RECORDS["avg_pool"].bound(arguments, want, form, Arithmetic()), form).all()
    assert np.array_equal(halves.max(axis=(3, 5)), max_pool(**arguments))


WRONG: list[tuple[str, Callable[[], Array]]] = [
    ("CONV-C1", lambda: conv(X[0, 0], W)),
    ("CONV-C1", lambda: conv(X, W[..., 0])),
    ("CONV-C1", lambda: conv(X, W, np.ones((6, 1)))),
    ("CONV-C1", lambda: conv(X, W[:, :, :0])),
    ("CONV-C2", lambda: conv(X, W[:, :3])),
    ("CONV-C2", lambda: conv(X, W, groups=2)),
    ("CONV-C2", lambda: conv(X, normal(5, 2, 3, 2), groups=2)),
    ("CONV-C2", lambda: conv_transpose(X, normal(3, 4, 3, 2))),
    ("CONV-C3", lambda: conv(X, W, stride=(1, 0))),
    ("CONV-C3", lambda: conv(X, W, dilation=(1, 1, 1))),
    ("CONV-C3", lambda: conv(X, W, padding="valid")),
    ("CONV-C3", lambda: conv_transpose(X, normal(4, 4, 3, 2), stride=2, output_padding=2)),
    ("CONV-C3", lambda: conv_transpose(normal(1, 4, 1, 1), normal(4, 4, 1, 1), padding=1)),
    ("CONV-C4", lambda: conv_backward_input(X, W[:4], input_shape=X.shape)),
    ("CONV-C4", lambda: conv_backward_weight(X, X, kernel_shape=(4, 4, 3, 3))),
    ("CONV-C4", lambda: conv_fused(X, W, np.ones(6), np.ones((2, 6, 1, 1)))),
    ("CONV-C6", lambda: conv_fused(X, W, np.ones(6), activation="swish")),
    ("CONV-C6", lambda: reference.convolve(X[0, 0], W[0, 0], mode="wrap")),
    ("POOL-C1", lambda: max_pool(X[0, 0], kernel=2)),
    ("POOL-C1", lambda: avg_pool(X.astype(int), kernel=2)),
    ("POOL-C2", lambda: max_pool(X, kernel=(2, 0))),
    ("POOL-C2", lambda: max_pool(X, kernel=2, stride=(1, 1, 1))),
    ("POOL-C3", lambda: avg_pool(X, kernel=2, padding=-1)),
    ("POOL-C3", lambda: max_pool(X, kernel=2, padding="same")),
    ("POOL-C4", lambda: max_pool_backward(X, X, kernel=2)),
    ("POOL-C4", lambda: avg_pool_backward(X, input_shape=X.shape, kernel=2)),
    ("POOL-C5", lambda: avg_pool(X, kernel=2, divisor=0)),
    ("POOL-C5", lambda: avg_pool(X, kernel=2, divisor=float("nan"))),
]


@pytest.mark.spec("CONV-C1")
@pytest.mark.spec("CONV-C2")
@pytest.mark.spec("CONV-C3")
@pytest.mark.spec("CONV-C4")
@pytest.mark.spec("CONV-C6")
@pytest.mark.spec("POOL-C1")
@pytest.mark.spec("POOL-C2")
@pytest.mark.spec("POOL-C3")
@pytest.mark.spec("POOL-C4")
@pytest.mark.spec("POOL-C5")
@pytest.mark.parametrize(("clause", "call"), WRONG, ids=[clause for clause, _ in WRONG])
def test_a_violated_constraint_is_named(clause: str, call: Callable[[], Array]) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{clause}: "):
        call()
