"""The reference against PyTorch on the CPU, in float64, forward and backward; skipped where it is missing.

Problems are drawn from fixed seeds, within what PyTorch supports: no empty results, padding of pools at most
half of the kernel and the same on both sides, no dilated averages, and over three axes none of windows longer
than the input. There the two agree to rounding, maxima and indices exactly.
"""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

from gaugeblock import reference
from gaugeblock.reference.windows import Windows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

SEEDS = range(60)
AXES = (1, 2, 3)
LONGEST = {1: 40, 2: 14, 3: 8}


def tensor(array: np.ndarray) -> Any:
    """Return the array as a tensor that keeps its gradient."""
    return torch.tensor(array, requires_grad=True)


def close(got: np.ndarray, want: Any) -> None:
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-11, atol=1e-11, strict=True)


def functional(name: str, axes: int) -> Any:
    return getattr(torch.nn.functional, f"{name}{axes}d")


def per_axis(draw: np.random.Generator, low: int, high: int, axes: int) -> tuple[int, ...]:
    return tuple(int(value) for value in draw.integers(low, high + 1, axes))


def convolution(draw: np.random.Generator, axes: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Draw the arrays and parameters of a convolution whose result is not empty."""
    groups, channels, kernels = (int(value) for value in draw.integers(1, 4, 3))
    kernel, stride = per_axis(draw, 1, 4, axes), per_axis(draw, 1, 3, axes)
    dilation, padding = per_axis(draw, 1, 2, axes), per_axis(draw, 0, 3, axes)
    size = tuple(
        int(draw.integers(max(d * (R - 1) + 1 - 2 * p, 1), LONGEST[axes] + 1))
        for R, d, p in zip(kernel, dilation, padding, strict=True)
    )
    x = draw.normal(size=(int(draw.integers(1, 3)), groups * channels, *size))
    w = draw.normal(size=(groups * kernels, channels, *kernel))
    bias = draw.normal(size=groups * kernels)
    return x, w, bias, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@pytest.mark.parametrize("axes", AXES)
def test_conv_and_its_gradients(axes: int) -> None:
    for seed in SEEDS:
        draw = np.random.default_rng([seed, axes])
        x, w, bias, same = convolution(draw, axes)
        tx, tw, tb = map(tensor, (x, w, bias))
        want = functional("conv", axes)(tx, tw, tb, **same)
        got = reference.conv(x, w, bias, **same)
        close(got, want)
        dy = draw.normal(size=got.shape)
        want.backward(torch.tensor(dy))
        close(reference.conv_backward_input(dy, w, input_shape=x.shape, **same), tx.grad)
        close(reference.conv_backward_weight(dy, x, kernel_shape=w.shape, **same), tw.grad)
        close(reference.conv_backward_bias(dy), tb.grad)


@pytest.mark.parametrize("axes", AXES)
def test_same_padding_at_stride_one(axes: int) -> None:
    for seed in SEEDS:
        x, w, bias, same = convolution(np.random.default_rng([seed, axes, 1]), axes)
        same |= {"padding": "same", "stride": 1}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch says that asymmetric padding copies the input
            want = functional("conv", axes)(*map(tensor, (x, w, bias)), **same)
        close(reference.conv(x, w, bias, **same), want)


@pytest.mark.parametrize("axes", AXES)
def test_conv_transpose(axes: int) -> None:
    for seed in SEEDS:
        draw = np.random.default_rng([seed, axes, 2])
        x, w, _, same = convolution(draw, axes)
        y = reference.conv(x, w, **same)
        extra = tuple(int(draw.integers(0, s)) for s in same["stride"])
        bias = draw.normal(size=x.shape[1])
        try:
            got = reference.conv_transpose(y, w, bias, output_padding=extra, **same)
        except ValueError:
            continue
        if 0 in got.shape:
            continue
        same_in_torch = same | {"output_padding": extra}
        close(got, functional("conv_transpose", axes)(*map(tensor, (y, w, bias)), **same_in_torch))


def pooling(draw: np.random.Generator, axes: int, *, dilated: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw the input, with ties, and the parameters of a pooling whose windows all have data."""
    kernel, stride = per_axis(draw, 1, 4, axes), per_axis(draw, 1, 4, axes)
    dilation = per_axis(draw, 1, 2, axes) if dilated else (1,) * axes
    padding = tuple(int(draw.integers(0, R // 2 + 1)) for R in kernel)
    size = tuple(
        int(
            draw.integers(max(d * (R - 1) + 1 - (0 if dilated or axes == 3 else 2 * p), 1), LONGEST[axes] + 1)
        )
        for R, d, p in zip(kernel, dilation, padding, strict=True)
    )
    x = draw.integers(-4, 5, (2, 3, *size)).astype(float)
    same = {"stride": stride, "padding": padding, "ceil_mode": bool(draw.integers(0, 2))}
    return x, {"kernel": kernel} | same | ({"dilation": dilation} if dilated else {})


def in_torch(same: dict[str, Any]) -> dict[str, Any]:
    return {"kernel_size": same["kernel"]} | {name: same[name] for name in same if name != "kernel"}


@pytest.mark.parametrize("axes", AXES)
def test_max_pool_its_indices_and_its_gradient(axes: int) -> None:
    for seed in SEEDS:
        draw = np.random.default_rng([seed, axes, 3])
        x, same = pooling(draw, axes, dilated=True)
        tx = tensor(x)
        values, indices = functional("max_pool", axes)(tx, return_indices=True, **in_torch(same))
        assert np.array_equal(reference.max_pool(x, **same), values.detach().numpy())
        assert np.array_equal(reference.max_pool_indices(x, **same), indices.numpy())
        dy = draw.normal(size=values.shape)
        values.backward(torch.tensor(dy))
        close(reference.max_pool_backward(dy, x, **same), tx.grad)


@pytest.mark.parametrize("axes", AXES)
def test_avg_pool_and_its_gradient(axes: int) -> None:
    for seed in SEEDS:
        draw = np.random.default_rng([seed, axes, 4])
        x, same = pooling(draw, axes, dilated=False)
        for count_include_pad, divisor in itertools.product([True, False], [None, 3] if axes > 1 else [None]):
            ours = same | {"count_include_pad": count_include_pad, "divisor": divisor}
            theirs = in_torch(same) | {"count_include_pad": count_include_pad}
            tx = tensor(x)
            want = functional("avg_pool", axes)(
                tx, **theirs | ({"divisor_override": divisor} if divisor else {})
            )
            got = reference.avg_pool(x, **ours)
            close(got, want)
            dy = draw.normal(size=got.shape)
            want.backward(torch.tensor(dy))
            close(reference.avg_pool_backward(dy, input_shape=x.shape, **ours), tx.grad)


@pytest.mark.parametrize("axes", AXES)
def test_adaptive_pools_and_their_gradients(axes: int) -> None:
    for seed in SEEDS:
        draw = np.random.default_rng([seed, axes, 5])
        x = draw.integers(-4, 5, (2, 3, *per_axis(draw, 1, LONGEST[axes], axes))).astype(float)
        size = per_axis(draw, 1, 5, axes)
        dy = draw.normal(size=(2, 3, *size))
        largest, mean = tensor(x), tensor(x)
        want = functional("adaptive_max_pool", axes)(largest, size)
        assert np.array_equal(reference.adaptive_max_pool(x, output_size=size), want.detach().numpy())
        want.backward(torch.tensor(dy))
        close(reference.adaptive_max_pool_backward(dy, x), largest.grad)
        want = functional("adaptive_avg_pool", axes)(mean, size)
        close(reference.adaptive_avg_pool(x, output_size=size), want)
        want.backward(torch.tensor(dy))
        close(reference.adaptive_avg_pool_backward(dy, input_shape=x.shape), mean.grad)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("p", [1, 2, 4])
def test_lp_pool_and_its_gradient(axes: int, p: int) -> None:
    for seed in SEEDS:
        draw = np.random.default_rng([seed, axes, 6])
        kernel, stride = per_axis(draw, 1, 4, axes), per_axis(draw, 1, 3, axes)
        size = tuple(int(draw.integers(R, LONGEST[axes] + 1)) for R in kernel)
        x = np.abs(draw.normal(size=(2, 3, *size))) + 0.1  # PyTorch takes powers of x, not of |x|
        tx = tensor(x)
        window = (kernel[0], stride[0]) if axes == 1 else (kernel, stride)  # for one axis it takes numbers
        want = functional("lp_pool", axes)(tx, float(p), *window)
        got = reference.lp_pool(x, p=p, kernel=kernel, stride=stride)
        close(got, want)
        dy = draw.normal(size=got.shape)
        want.backward(torch.tensor(dy))
        close(reference.lp_pool_backward(dy, x, p=p, kernel=kernel, stride=stride), tx.grad)


@pytest.mark.parametrize("axes", AXES)
def test_the_number_of_windows(axes: int) -> None:
    for seed in range(500):
        draw = np.random.default_rng([seed, axes, 7])
        x, same = pooling(draw, axes, dilated=True)
        windows = Windows.slide(
            size=x.shape[2:],
            kernel=same["kernel"],
            stride=same["stride"],
            dilation=same["dilation"],
            padding=tuple((p, p) for p in same["padding"]),
            ceil_mode=same["ceil_mode"],
        )
        want = functional("max_pool", axes)(torch.zeros(1, 1, *x.shape[2:]), **in_torch(same))
        assert windows.output == tuple(want.shape[2:])
