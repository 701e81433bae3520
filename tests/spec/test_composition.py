"""Composed bounds hold for whatever operations do within their own bounds, and are no wider than that."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference import machine_learning
from gaugeblock.reference.inception import Sizes, inception
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, Layer, MaxPooling
from gaugeblock.reference.machine_learning import Examples
from gaugeblock.reference.network import Gradients, Network
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.composition import (
    Composition,
    Estimate,
    cross_entropy,
    exact,
    gradients,
    prediction,
)
from gaugeblock.spec.formats import FORMATS
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
FLOAT32 = FORMATS["float32"]
seeds = st.integers(0, 2**32 - 1)
UNITS = ("relu", "relu6", "sigmoid", "tanh", "gelu", "silu")
LOG_SOFTMAX = Activation("log_softmax")


class Adversary:
    """An implementation that errs in every operation by all that its page allows, this way or that way."""

    def __init__(self, sign: Callable[[tuple[int, ...]], Any]) -> None:
        self.sign = sign

    def __getattr__(self, name: str) -> Callable[..., Array]:
        record = OPERATIONS[name]

        def operation(*arrays: Array, **parameters: Any) -> Array:
            arguments = dict(zip(record.arrays, arrays, strict=False)) | parameters
            want = record.reference(*arrays, **parameters)
            bound = record.bound(arguments, want, FLOAT32, Arithmetic()).value
            erring: Array = want + bound * self.sign(want.shape)
            return erring

        return operation


def signs(seed: int) -> Callable[[tuple[int, ...]], Any]:
    generator = np.random.default_rng(seed)
    return lambda shape: generator.choice([-1.0, 1.0], shape)


def rounded(network: Network) -> Network:
    """Return the network with parameters that are numbers of float32, held in float64."""
    return network.as_type(np.float32).as_type(np.float64)


def floats(generator: np.random.Generator, *shape: int) -> Array:
    """Return numbers of float32, held in float64."""
    return generator.standard_normal(shape).astype(np.float32).astype(np.float64)


def within(got: Any, estimate: Any) -> bool:
    """Whether numbers are within the bound, up to the rounding of float64 in which both are computed."""
    slack = 2.0**-40 * (estimate.error + np.abs(estimate.value))
    return bool(np.all(np.abs(np.asarray(got, np.float64) - estimate.value) <= estimate.error + slack))


def pairs(got: Gradients, bounds: Gradients) -> list[tuple[Any, Any]]:
    """Return every number that was found with its estimate."""
    found = [(got.error, bounds.error), (got.x, bounds.x)]
    for layer, other in zip(got.parameters, bounds.parameters, strict=True):
        found += [(layer[name], other[name]) for name in layer]
    return found


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, Array, Array, int]:
    """Draw a network with every kind of layer, its inputs and the classes that are wanted."""
    seed = draw(seeds)
    generator = np.random.default_rng(seed)
    unit = Activation(draw(st.sampled_from(UNITS)))
    steps: dict[str, Any] = {
        "padding": draw(st.sampled_from([0, 1, "same"])),
        "stride": draw(st.integers(1, 2)),
    }
    layers: list[Layer] = [Convolutional.initial(2, 3, (3, 2), unit, generator, **steps)]
    if draw(st.booleans()):
        layers.append(inception(3, Sizes(1, 1, 2, 1, 1, draw(st.integers(0, 1))), generator))
    if draw(st.booleans()):
        layers.append(MaxPooling(2, stride=draw(st.integers(1, 2)), padding=draw(st.integers(0, 1))))
    if draw(st.booleans()):
        layers.append(AveragePooling(2, stride=1, count_include_pad=draw(st.booleans()), padding=1))
    x = floats(generator, 2, 2, 6, 5)
    features = Network(tuple(layers)).forward(x)
    layers.append(
        FullyConnected.initial(features[0].size, 4, Activation(draw(st.sampled_from(UNITS))), generator)
    )
    layers.append(FullyConnected.initial(4, 3, LOG_SOFTMAX, generator))
    return rounded(Network(tuple(layers))), x, generator.integers(3, size=2), seed


@pytest.mark.spec("CNN-A1")
@pytest.mark.spec("CNN-A5")
@given(networks(), st.sampled_from(["all up", "all down", "either way"]))
def test_whatever_each_operation_errs_the_network_stays_within_its_bound(
    problem: tuple[Network, Array, Array, int], way: str
) -> None:
    network, x, wanted, seed = problem
    sign = {"all up": lambda shape: 1.0, "all down": lambda shape: -1.0, "either way": signs(seed)}[way]
    bounds = gradients(network, Examples(x, wanted))
    got = network.gradients(Examples(x, wanted), machine_learning.cross_entropy, on=Adversary(sign))
    assert within(network.forward(x, on=Adversary(sign)), prediction(network, x))
    for found, estimate in pairs(got, bounds):
        assert within(found, estimate)


def deep(generator: np.random.Generator, layers: int, width: int) -> Network:
    """Return a network of rectified layers, whose predictions are sums of products."""
    hidden = [FullyConnected.initial(width, width, Activation("relu"), generator) for _ in range(layers)]
    last = FullyConnected(floats(generator, width, 5), np.zeros(5), Activation("relu6"))
    return rounded(Network((*hidden, last)))


@pytest.mark.spec("CNN-A1")
def test_errors_that_come_from_far_are_weighed_by_what_all_layers_make_of_them() -> None:
    generator = np.random.default_rng(6)
    x = floats(generator, 3, 24)
    ratios = []
    for layers in (1, 4, 8):
        network = deep(generator, layers, 24)
        z = network.features(exact(x), on=Composition())[-1].z  # type: ignore[arg-type]
        traced, sizes = cast(Estimate, z).traced().error, cast(Estimate, z).error
        assert (traced <= sizes).all()
        ratios.append(np.median(sizes / traced))
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] > 20


@pytest.mark.spec("CNN-A1")
@given(seeds, st.integers(1, 6))
def test_the_traced_bound_holds_whatever_each_operation_errs(seed: int, layers: int) -> None:
    generator = np.random.default_rng(seed)
    network, x = deep(generator, layers, 6), floats(generator, 2, 6)
    want = prediction(network, x)
    for way in (signs(seed), signs(seed + 1), lambda shape: 1.0, lambda shape: -1.0):
        assert within(network.forward(x, on=Adversary(way)), want)


@pytest.mark.spec("CNN-A1")
@given(networks())
def test_estimates_hold_the_exact_values(problem: tuple[Network, Array, Array, int]) -> None:
    network, x, wanted, _ = problem
    want = network.gradients(Examples(x, wanted), machine_learning.cross_entropy)
    for found, estimate in pairs(want, gradients(network, Examples(x, wanted))):
        assert np.array_equal(found, estimate.value)
        assert np.all(estimate.error >= 0)


@pytest.mark.spec("CNN-A2")
@settings(max_examples=20)
@given(seeds)
def test_where_all_errors_point_one_way_the_bound_is_reached(seed: int) -> None:
    """Positive numbers, whose sums err upwards, end almost at the bound: it is no wider than it must be."""
    generator = np.random.default_rng(seed)

    def positive(*shape: int) -> Array:
        return np.abs(floats(generator, *shape))

    network = Network(
        (
            Convolutional(positive(3, 2, 2, 2), positive(3), Activation("relu")),
            AveragePooling(2, stride=1),
            Convolutional(positive(2, 3, 2, 2), positive(2), Activation("relu"), padding=1),
            MaxPooling(2),
        )
    )
    x = positive(2, 2, 6, 5)
    estimate = prediction(network, x)
    got = network.forward(x, on=Adversary(lambda shape: 1.0))
    assert within(got, estimate)
    assert ((got - estimate.value) / estimate.error).min() >= 0.999


@pytest.mark.spec("CNN-A2")
@given(seeds, st.sampled_from(["gemm", "conv", "conv_backward_input", "conv_backward_weight"]))
def test_both_factors_of_a_product_may_err(seed: int, name: str) -> None:
    generator = np.random.default_rng(seed)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
        "gemm": ((3, 4), (4, 2), {}),
        "conv": ((2, 3, 6), (2, 3, 2), {"stride": 2}),
        "conv_backward_input": ((2, 2, 5), (2, 3, 2), {"input_shape": (2, 3, 6)}),
        "conv_backward_weight": ((2, 2, 5), (2, 3, 6), {"kernel_shape": (2, 3, 2)}),
    }
    first, second, parameters = shapes[name]
    operands = [
        Estimate(floats(generator, *s), np.abs(floats(generator, *s)), Arithmetic()) for s in (first, second)
    ]
    estimate = getattr(Composition(), name)(*operands, **parameters)
    for _ in range(4):
        moved = [a.value + a.error * generator.choice([-1, 1], a.shape) for a in operands]
        assert within(getattr(Adversary(signs(seed)), name)(*moved, **parameters), estimate)


@pytest.mark.spec("CNN-A3")
def test_a_maximum_errs_like_the_worst_of_its_window_and_a_dead_unit_not_at_all() -> None:
    x = Estimate(np.array([[[1.0, -2.0, -3.0, 0.5]]]), np.array([[[0.125, 0.5, 1.0, 1.0]]]), Arithmetic())
    on = Composition()
    assert on.max_pool(x, kernel=2).error.tolist() == [[[0.5, 1.0]]]
    assert on.max_pool(x, kernel=2, padding=2).error.tolist() == [[[0.0, 0.5, 1.0, 0.0]]]
    assert on.relu(x).error.tolist() == [[[0.125, 0.0, 0.0, 1.0]]]
    six = Estimate(np.array([5.5, 7.0, -0.25]), np.array([1.0, 0.5, 0.5]), Arithmetic())
    assert on.relu6(six).error.tolist() == [1.0, 0.0, 0.25]
    assert on.relu6(six).value.tolist() == [5.5, 6.0, 0.0]


@pytest.mark.spec("CNN-A4")
def test_where_it_is_open_whether_a_unit_is_active_its_gradient_may_be_all_or_nothing() -> None:
    x = Estimate(np.array([2.0, -2.0, 0.5, -0.5, 0.0]), np.array([1.0, 1.0, 0.5, 1.0, 0.0]), Arithmetic())
    dy = Estimate(np.array([3.0, 3.0, -3.0, 3.0, 3.0]), np.full(5, 0.25), Arithmetic())
    on = Composition()
    assert on.relu_backward(dy, x).error.tolist() == [0.25, 0.0, 3.25, 3.25, 0.0]
    high = Estimate(np.array([7.0, 6.5, 5.0]), np.array([0.5, 0.5, 0.5]), Arithmetic())
    assert on.relu6_backward(dy[:3], high).error.tolist() == [0.0, 3.25, 0.25]


@pytest.mark.spec("CNN-A4")
def test_where_it_is_open_which_element_is_the_largest_each_may_receive_the_gradient() -> None:
    x = Estimate(
        np.array([[[5.0, 4.5, 1.0, 3.0, 1.0, 0.0]]]), np.array([[[0.5, 0.5, 0.5, 0.25, 0, 0]]]), Arithmetic()
    )
    dy = Estimate(np.array([[[2.0, 10.0, 7.0]]]), np.array([[[0.125, 0.25, 0.5]]]), Arithmetic())
    got = Composition().max_pool_backward(dy, x, kernel=2)
    assert got.value.tolist() == [[[2.0, 0.0, 0.0, 10.0, 7.0, 0.0]]]
    assert got.error.tolist() == [[[2.125, 2.125, 0.0, 0.25, 0.5, 0.0]]]


@pytest.mark.spec("CNN-A4")
def test_equal_elements_without_errors_are_decided_by_their_places() -> None:
    zero = Estimate(np.zeros((1, 1, 4)), np.zeros((1, 1, 4)), Arithmetic())
    dy = Estimate(np.ones((1, 1, 3)), np.full((1, 1, 3), 0.5), Arithmetic())
    got = Composition().max_pool_backward(dy, zero, kernel=2, stride=1)
    assert got.error.tolist() == [[[0.5, 0.5, 0.5, 0.0]]]


@pytest.mark.spec("CNN-A4")
@given(seeds)
def test_flipped_decisions_are_within_the_bound(seed: int) -> None:
    """The largest cells of each region are equal, and some weighted data are 0: any error decides them."""
    generator = np.random.default_rng(seed)
    equal = np.repeat(floats(generator, 1, 1, 3), 2, axis=2)
    w = floats(generator, 2, 1, 1)
    bias = np.array([0.0, float((-w[1, 0] * equal[0, 0, 0]).astype(np.float32)[0])])
    network = Network(
        (
            Convolutional(w, bias, Activation("relu")),
            MaxPooling(2),
            FullyConnected(floats(generator, 6, 2), floats(generator, 2), LOG_SOFTMAX),
        )
    )
    network, examples = rounded(network), Examples(equal, np.array([1]))
    bounds = gradients(network, examples)
    for way in (signs(seed), signs(seed + 1)):
        got = network.gradients(examples, machine_learning.cross_entropy, on=Adversary(way))
        for found, estimate in pairs(got, bounds):
            assert within(found, estimate)


@pytest.mark.spec("CNN-A4")
def test_a_decision_that_flips_would_leave_a_bound_that_took_it_for_granted() -> None:
    """With one unit at its kink, an error of the last bit takes its whole gradient away."""
    network = Network((FullyConnected(np.array([[3.0, 1.0]]), np.array([-3.0, 0.0]), Activation("relu")),))
    x, dy = np.array([[1.0 + 2.0**-23]]), np.array([[1.0, 1.0]])
    features = network.features(exact(x), on=Composition())  # type: ignore[arg-type]
    bounds = network.backward(exact(dy), features, on=Composition())[1]  # type: ignore[arg-type]
    down = Adversary(lambda shape: -1.0)
    got = network.backward(dy, network.features(x, on=down), on=down)[1]
    assert got[0]["weights"][0, 0] <= 2.0**-20
    assert bounds[0]["weights"].value[0, 0] >= 1
    assert within(got[0]["weights"], bounds[0]["weights"])
    assert bounds[0]["weights"].error[0, 1] <= 2.0**-20


@pytest.mark.spec("CNN-A6")
@given(seeds, st.integers(1, 40))
def test_the_error_of_examples_is_a_mean_of_what_may_be_off(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    value, e = -np.abs(floats(generator, count, 3)), 2.0**-20 * np.abs(floats(generator, count, 3))
    wanted = generator.integers(3, size=count)
    error, gradient = cross_entropy(Estimate(value, e, Arithmetic()), wanted)
    single = (value + e * generator.choice([-1, 1], e.shape)).astype(np.float32)
    slack = np.abs(single - value).max() - e.max()  # the rounding of the numbers themselves
    got, slope = machine_learning.cross_entropy(single, wanted)
    assert abs(got - error.value) <= error.error + max(slack, 0)
    assert within(slope, gradient)
    assert slope.dtype == np.float32


@pytest.mark.spec("INC-A2")
@given(seeds)
def test_gradients_of_branches_are_added_in_float32(seed: int) -> None:
    generator = np.random.default_rng(seed)
    parts = [floats(generator, 5) for _ in range(4)]
    total = exact(parts[0])
    single = parts[0].astype(np.float32)
    for part in parts[1:]:
        total, single = total + exact(part), single + part.astype(np.float32)
    assert within(single, total)
    assert total.error.max() <= 3 * 2.0**-24 * np.abs(parts).sum(axis=0).max()


@pytest.mark.spec("CNN-A1")
def test_what_may_overflow_is_not_bounded_and_neither_is_what_follows() -> None:
    large = np.full((2, 2), 2.0**100)
    network = Network((FullyConnected(large, np.zeros(2), Activation("relu")),) * 2)
    assert np.isinf(prediction(network, np.ones((1, 2))).error).all()
    network = Network((*network.layers, FullyConnected(np.eye(2) * 0, np.zeros(2), LOG_SOFTMAX)))
    found = gradients(network, Examples(np.ones((1, 2)), np.array([0])))
    assert all(np.isinf(layer["bias"].error).all() for layer in found.parameters)  # type: ignore[union-attr]


@pytest.mark.spec("CNN-A1")
def test_a_declaration_widens_the_bound_of_its_operation() -> None:
    generator = np.random.default_rng(3)
    network = rounded(Network((FullyConnected.initial(8, 3, Activation("relu"), generator),)))
    x = floats(generator, 2, 8)
    plain = prediction(network, x)
    declared = prediction(network, x, Composition({"gemm": Arithmetic(multiplier="tf32")}))
    assert (declared.error >= 50 * plain.error).all()
    assert np.array_equal(declared.value, plain.value)


@pytest.mark.spec("CNN-C5")
def test_an_operation_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(AttributeError, match=r"^CNN-C5: there is no rule for 'elu', only for gemm, conv, "):
        _ = Composition().elu


def test_numpy_asks_estimates_for_nothing_but_their_shape_and_to_be_joined() -> None:
    x = exact(np.ones((2, 3)))
    assert np.shape(x) == (2, 3)  # type: ignore[arg-type]
    assert np.concatenate([x, x], axis=1).shape == (2, 6)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="no implementation found"):
        np.sum(x)  # type: ignore[call-overload]


@pytest.mark.spec("CNN-C4")
@pytest.mark.parametrize("bad", [0.1, np.nan, np.inf, 1e300, 1e-50])
def test_inputs_and_parameters_must_be_numbers_of_float32(bad: float) -> None:
    layer = FullyConnected(np.array([[1.0], [bad]]), np.zeros(1), Activation("relu"))
    with pytest.raises(ValueError, match=r"^CNN-C4: b\[1, 0\] is .*, expected a finite number of float32"):
        prediction(Network((layer,)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"^CNN-C4: x\[1\] is .*, expected a finite number of float32"):
        exact(np.array([1.0, bad]))


@pytest.mark.spec("CNN-A5")
@given(seeds, st.sampled_from(["sigmoid", "tanh", "gelu", "silu", "softmax", "log_softmax"]), st.booleans())
def test_functions_of_erring_arguments_stay_within_their_bound(seed: int, name: str, backward: bool) -> None:
    generator = np.random.default_rng(seed)
    x = Estimate(
        4 * floats(generator, 3, 5), 2.0 ** generator.uniform(-24, -8) * np.ones((3, 5)), Arithmetic()
    )
    dy = Estimate(floats(generator, 3, 5), 2.0**-20 * np.abs(floats(generator, 3, 5)), Arithmetic())
    operands = [dy, x] if backward else [x]
    name = f"{name}_backward" if backward else name
    estimate = getattr(Composition(), name)(*operands)
    for way in (signs(seed), lambda shape: 1.0, lambda shape: -1.0):
        moved = [a.value + a.error * way(a.shape) for a in operands]
        assert within(getattr(Adversary(way), name)(*moved), estimate)
    assert np.array_equal(estimate.value, getattr(reference, name)(*(a.value for a in operands)))
