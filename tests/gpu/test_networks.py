"""Whole networks on the device, forward and backward, within the bounds composed from their operations."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu
from gaugeblock.reference.convolutional_network import convolutional_network
from gaugeblock.reference.inception import Sizes, inception
from gaugeblock.reference.layer import AveragePooling, FullyConnected
from gaugeblock.reference.machine_learning import Examples, cross_entropy
from gaugeblock.reference.network import Gradients, Network
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.composition import Composition, Estimate, gradients, prediction

Array = NDArray[Any]
NAMES = ("convolutional network", "inception")
OUTPUT = Activation("log_softmax")


@cache
def network(name: str) -> Network:
    """Return a network with parameters in float32."""
    generator = np.random.default_rng(13)
    if name == "convolutional network":
        return convolutional_network((1, 8, 8), 10, generator, padding="same").as_type(np.float32)
    first = inception(6, Sizes(2, 3, 4, 2, 3, 2), generator)  # 11 maps, which feed the next module
    second = inception(11, Sizes(2, 3, 3, 2, 2, 2), generator)
    last = FullyConnected.initial(9, 3, OUTPUT, generator)
    return Network((first, second, AveragePooling(5), last)).as_type(np.float32)


@cache
def examples(name: str) -> Examples:
    """Return two handwritten digits, or two stacks of maps."""
    if name == "convolutional network":
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return Examples((images[:2] / 16).reshape(2, 1, 8, 8).astype(np.float32), labels[:2])
    generator = np.random.default_rng(14)
    return Examples(generator.standard_normal((2, 6, 5, 5)).astype(np.float32), np.array([0, 2]))


@cache
def bounds(name: str) -> Gradients:
    return gradients(network(name), examples(name))


def shares(got: Gradients, estimates: Gradients) -> Iterator[float]:
    """Yield for every array of gradients the largest error as a share of its bound."""
    yield share(got.x, estimates.x)
    for layer, other in zip(got.parameters, estimates.parameters, strict=True):
        for name, array in layer.items():
            yield share(array, other[name])


def share(got: Array, estimate: Any) -> float:
    assert got.dtype == np.float32
    assert got.shape == estimate.shape
    off = np.abs(got.astype(np.float64) - estimate.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.where(off == 0, 0.0, off / estimate.error)))


@pytest.mark.spec("CNN-S2")
@pytest.mark.spec("CNN-A1")
@pytest.mark.parametrize("name", NAMES)
def test_predictions_on_the_device_are_within_the_composed_bound(name: str) -> None:
    assert (
        share(
            network(name).forward(examples(name).inputs, on=gpu),
            prediction(network(name), examples(name).inputs),
        )
        <= 1
    )


@pytest.mark.spec("CNN-S2")
@pytest.mark.spec("CNN-A1")
@pytest.mark.spec("NET-S4")
@pytest.mark.parametrize("name", NAMES)
def test_all_gradients_on_the_device_are_within_their_composed_bounds(name: str) -> None:
    got = network(name).gradients(examples(name), cross_entropy, on=gpu)
    assert max(shares(got, bounds(name))) <= 1
    assert abs(got.error - bounds(name).error.value) <= bounds(name).error.error


@pytest.mark.parametrize("name", NAMES)
def test_no_decision_is_open_here_so_that_the_bounds_are_narrow(name: str) -> None:
    """Were it open whether a unit is active, a bound would be as large as a gradient."""
    estimate: Any = bounds(name)
    for layer in estimate.parameters:
        for found in layer.values():
            assert np.max(found.error) <= 0.01 * max(np.max(np.abs(found.value)), 0.1)


class Broken:
    """The device's operations, but for convolution."""

    def __getattr__(self, name: str) -> Any:
        return getattr(gpu, name)


class Truncating(Broken):
    """Convolves in TF32: the operands lose their last 13 bits."""

    def conv(self, x: Array, w: Array, bias: Array, **steps: Any) -> Array:
        """Return the convolution of what is left of the operands."""
        left, right = (_truncated(array) for array in (x, w))
        return np.asarray(gpu.conv(left, right, bias, **steps))


class Forgetful(Broken):
    """Convolves without the last cell of each kernel that has more than one."""

    def conv(self, x: Array, w: Array, bias: Array, **steps: Any) -> Array:
        """Return the convolution with the other cells."""
        rest = w.copy()
        if w.shape[-1] > 1:
            rest[..., -1, -1] = 0
        return np.asarray(gpu.conv(x, rest, bias, **steps))


class Misrouting(Broken):
    """Hands the gradient of a maximum to the last of the largest cells, not to the first."""

    def max_pool_backward(self, dy: Array, x: Array, **parameters: Any) -> Array:
        """Return the gradient as it is for maps that are read backwards."""
        turned = gpu.max_pool_backward(dy[..., ::-1, ::-1].copy(), x[..., ::-1, ::-1].copy(), **parameters)
        return np.asarray(turned)[..., ::-1, ::-1].copy()


def _truncated(array: Array) -> Array:
    bits = np.ascontiguousarray(array).view(np.uint32) & np.uint32(0xFFFFE000)
    return bits.view(np.float32)


@pytest.mark.spec("CNN-A1")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("broken", [Truncating, Forgetful])
def test_a_broken_convolution_leaves_the_bound_of_the_prediction(name: str, broken: type[Broken]) -> None:
    found = network(name).forward(examples(name).inputs, on=broken())
    assert share(found, prediction(network(name), examples(name).inputs)) > 1


@pytest.mark.spec("CNN-A1")
def test_a_broken_convolution_leaves_the_bounds_of_gradients() -> None:
    name = "convolutional network"
    got = network(name).gradients(examples(name), cross_entropy, on=Truncating())
    assert max(shares(got, bounds(name))) > 1


@pytest.mark.spec("CNN-A4")
def test_a_gradient_that_goes_to_another_of_equal_cells_leaves_its_bound() -> None:
    """White paper makes equal cells without an error, of which the first has to be chosen."""
    x = examples("convolutional network").inputs
    dy = np.ones((2, 1, 4, 4), np.float32)
    want: Estimate = Composition().max_pool_backward(dy, x, kernel=2)
    assert share(np.asarray(gpu.max_pool_backward(dy, x, kernel=2)), want) <= 1
    assert share(Misrouting().max_pool_backward(dy, x, kernel=2), want) > 1


@pytest.mark.spec("CNN-A1")
def test_a_declared_truncation_is_within_the_bound_of_its_declaration() -> None:
    name = "convolutional network"
    declared = Composition({"conv": Arithmetic(multiplier="tf32")})
    found = network(name).forward(examples(name).inputs, on=Truncating())
    assert share(found, prediction(network(name), examples(name).inputs, declared)) <= 1
