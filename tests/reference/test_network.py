"""Networks compute forward and backward what page 6 says, and learn from it."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, MaxPooling
from gaugeblock.reference.machine_learning import Examples, cross_entropy, fit, squared_error
from gaugeblock.reference.network import Learner, Network, Regressor
from gaugeblock.reference.unit import Activation, Maxout

Array = NDArray[Any]
seeds = st.integers(0, 2**32 - 1)
FEWER = settings(max_examples=settings.default.max_examples // 4)  # fractions are slow
RELU, LOG_SOFTMAX = Activation("relu"), Activation("log_softmax")


def fractions(generator: np.random.Generator, *shape: int) -> Array:
    """Return fractions that are rarely equal, so that few lie on a kink."""
    count = int(np.prod(shape))
    pairs = zip(generator.integers(-99, 100, count), generator.integers(50, 99, count), strict=True)
    numbers = np.empty(count, object)
    numbers[:] = [Fraction(int(n), int(d)) for n, d in pairs]
    return numbers.reshape(shape)


def exact_network(generator: np.random.Generator) -> Network:
    """Return a small convolutional network in fractions, every layer piecewise linear."""
    return Network(
        (
            Convolutional(fractions(generator, 2, 1, 2, 2), fractions(generator, 2), RELU, padding=(1, 0)),
            MaxPooling(2, stride=1),
            FullyConnected(fractions(generator, 8, 4), fractions(generator, 4), Maxout(2)),
            FullyConnected(
                fractions(generator, 2, 2),
                fractions(generator, 2),
                Activation("hard_tanh", {"min_val": -900.0, "max_val": 900.0}),
            ),
        )
    )


def smooth_network(seed: int) -> Network:
    """Return a network in float64 without kinks."""
    generator = np.random.default_rng(seed)
    return Network(
        (
            Convolutional.initial(1, 3, (2, 2), Activation("tanh"), generator),
            AveragePooling(2, stride=1),
            FullyConnected.initial(12, 5, Activation("gelu"), generator),
            FullyConnected.initial(5, 3, LOG_SOFTMAX, generator),
        )
    )


def images(seed: int, count: int = 6) -> Examples:
    generator = np.random.default_rng(seed)
    return Examples(generator.standard_normal((count, 1, 4, 4)), generator.integers(3, size=count))


@pytest.mark.spec("NET-D1")
@pytest.mark.spec("NET-S1")
def test_each_layer_is_given_what_the_one_before_handed_on() -> None:
    network, x = smooth_network(1), images(1).inputs
    features = network.features(x)
    assert features[0].x is x
    for before, after in pairwise(features):
        assert after.x is before.y
    assert [passed.z is None for passed in features] == [False, True, False, False]
    composed = x
    for layer in network.layers:
        composed = layer.forward(composed).y
    assert network.forward(x).tobytes() == features[-1].y.tobytes() == composed.tobytes()


@pytest.mark.spec("LAYER-D3")
def test_layers_are_named_by_their_place() -> None:
    layers = smooth_network(1).layers
    assert Network(layers).roles == ("input", "hidden", "hidden", "output")
    assert Network(layers[:2]).roles == ("input", "output")
    assert Network(layers[:1]).roles == ("input and output",)


@pytest.mark.spec("NET-C1")
def test_a_network_has_layers_and_nothing_else() -> None:
    with pytest.raises(ValueError, match=r"^NET-C1: a network has at least one layer, got none"):
        Network(())
    with pytest.raises(TypeError, match=r"^NET-C1: layer 1 must be a layer, got Activation"):
        Network((MaxPooling(2), RELU))  # type: ignore[arg-type]


def moved(network: Network, index: int, name: str, place: tuple[int, ...], step: Any) -> Network:
    """Return the network with one number changed."""
    parameters = [dict(layer) for layer in network.parameters]
    array = parameters[index][name].copy()
    array[place] += step
    parameters[index][name] = array
    return network.with_parameters(tuple(parameters))


def pieces(network: Network, x: Array) -> list[Any]:
    """Return on which linear pieces the network is, for an input."""
    features = network.features(x)
    groups = features[2].z.reshape(len(x), 2, 2)  # type: ignore[union-attr]
    return [
        np.sign(features[0].z.astype(float)).tolist(),  # type: ignore[union-attr]
        reference.max_pool_indices(features[1].x, kernel=2, stride=1).tolist(),
        np.sign((groups[..., 0] - groups[..., 1]).astype(float)).tolist(),
        bool((np.abs(features[3].z) < 900).all()),  # type: ignore[operator]
    ]


@pytest.mark.spec("NET-D2")
@pytest.mark.spec("NET-S2")
@pytest.mark.spec("NET-A1")
@FEWER
@given(seeds)
def test_gradients_equal_difference_quotients_exactly_between_kinks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = exact_network(generator)
    examples = Examples(fractions(generator, 2, 1, 2, 4), fractions(generator, 2, 2))
    assume(pieces(network, examples.inputs)[3])
    found = network.gradients(examples, squared_error)
    h = Fraction(1, 10**9)
    for index in (0, 2, 3):
        for name in ("weights", "bias"):
            shape = network.parameters[index][name].shape
            place = tuple(int(generator.integers(size)) for size in shape)
            ends = [moved(network, index, name, place, sign * h) for sign in (1, -1)]
            if len({str(pieces(end, examples.inputs)) for end in (network, *ends)}) > 1:
                continue  # a kink lies within h
            up, down = (squared_error(end.forward(examples.inputs), examples.wanted)[0] for end in ends)
            assert found.parameters[index][name][place] == (up - down) / (2 * h)


@pytest.mark.spec("NET-A1")
@FEWER
@given(seeds)
def test_gradients_of_smooth_networks_agree_with_central_differences(seed: int) -> None:
    """The third derivative along a direction of length 1 is below 1000 here, the error of E below 2⁻⁴⁸."""
    network, examples = smooth_network(seed), images(seed)
    generator = np.random.default_rng(seed)
    found = network.gradients(examples, cross_entropy)
    direction = [
        {name: generator.standard_normal(array.shape) for name, array in layer.items()}
        for layer in network.parameters
    ]
    length = np.sqrt(sum((array**2).sum() for layer in direction for array in layer.values()))
    h = 2.0**-17
    errors = []
    for sign in (1, -1):
        parameters = tuple(
            {name: array + sign * h / length * step[name] for name, array in layer.items()}
            for layer, step in zip(network.parameters, direction, strict=True)
        )
        errors.append(
            cross_entropy(network.with_parameters(parameters).forward(examples.inputs), examples.wanted)[0]
        )
    slope = sum(
        (gradient[name] * step[name]).sum()
        for gradient, step in zip(found.parameters, direction, strict=True)
        for name in gradient
    )
    bound = 1000 * h**2 / 6 + 2 * 2.0**-48 / h
    assert abs((errors[0] - errors[1]) / (2 * h) - slope / length) <= bound


@pytest.mark.spec("NET-S2")
def test_finding_gradients_changes_nothing() -> None:
    network, examples = smooth_network(3), images(3)
    before = [array.tobytes() for layer in network.parameters for array in layer.values()]
    kept = examples.inputs.tobytes()
    network.gradients(examples, cross_entropy)
    assert before == [array.tobytes() for layer in network.parameters for array in layer.values()]
    assert examples.inputs.tobytes() == kept


@pytest.mark.spec("NET-D3")
@pytest.mark.spec("NET-S3")
def test_an_adjustment_is_a_step_with_momentum_and_decay() -> None:
    network, examples = smooth_network(4), images(4)
    first = Learner(network, cross_entropy, rate=0.5, momentum=0.75, decay=0.25).adjusted(examples)
    second = first.adjusted(examples)
    slopes = [net.gradients(examples, cross_entropy).parameters for net in (network, first.network)]
    for index, layer in enumerate(network.parameters):
        for name, w in layer.items():
            decay = 0.25 if name == "weights" else 0.0
            v = 0.75 * 0 - 0.5 * (slopes[0][index][name] + decay * w)
            at_first = w + v
            assert np.array_equal(first.network.parameters[index][name], at_first)
            v = 0.75 * v - 0.5 * (slopes[1][index][name] + decay * at_first)
            assert np.array_equal(second.network.parameters[index][name], at_first + v)


@pytest.mark.spec("NET-S3")
def test_a_learner_predicts_the_first_largest_and_its_error_is_the_measures() -> None:
    layer = FullyConnected(np.zeros((1, 3)), np.array([0.0, 2.0, 2.0]), LOG_SOFTMAX)
    learner = Learner(Network((layer,)), cross_entropy)
    examples = Examples(np.zeros((2, 1)), np.array([1, 0]))
    assert learner.predict(examples.inputs).tolist() == [1, 1]
    assert learner.error(examples) == cross_entropy(layer.forward(examples.inputs).y, examples.wanted)[0]


@pytest.mark.spec("NET-S4")
def test_a_network_computes_on_the_operations_that_it_is_told() -> None:
    class Halved:
        """Operations whose products are half of what they should be."""

        def __getattr__(self, name: str) -> Any:
            return getattr(reference, name)

        def gemm(self, *arrays: Array, **parameters: Any) -> Array:
            """Return half of the product."""
            return reference.gemm(*arrays, **parameters) / 2

    layer = FullyConnected(np.eye(2), np.zeros(2), RELU)
    x = np.array([[4.0, 8.0]])
    assert Network((layer, layer)).forward(x, on=Halved()).tolist() == [[1.0, 2.0]]
    assert Network((layer, layer)).forward(x).tolist() == x.tolist()


@pytest.mark.spec("NET-X1")
def test_nan_in_one_example_reaches_its_prediction_alone() -> None:
    network, x = smooth_network(5), images(5).inputs
    spoilt = x.copy()
    spoilt[2, 0, 1, 1] = np.nan
    y = network.forward(spoilt)
    assert np.isnan(y[2]).all()
    others = [0, 1, 3, 4, 5]
    assert y[others].tobytes() == network.forward(x)[others].tobytes()


@pytest.mark.spec("NET-X2")
def test_a_network_without_parameters_is_its_own_adjustment() -> None:
    network = Network((MaxPooling(2),))
    examples = Examples(np.ones((2, 1, 2, 2)), np.zeros((2, 1, 1, 1)))
    assert network.gradients(examples, squared_error).parameters == ({},)
    assert Learner(network, squared_error).adjusted(examples).network == network


@pytest.mark.spec("NET-I1")
@FEWER
@given(seeds, st.integers(1, 3))
def test_a_part_of_a_network_is_a_network(seed: int, cut: int) -> None:
    network, x = smooth_network(seed), images(seed).inputs
    first, second = Network(network.layers[:cut]), Network(network.layers[cut:])
    assert second.forward(first.forward(x)).tobytes() == network.forward(x).tobytes()


@pytest.mark.spec("NET-I2")
@FEWER
@given(seeds, st.integers(1, 4))
def test_the_gradient_of_two_batches_is_their_weighted_mean(seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    network = exact_network(generator)
    examples = Examples(fractions(generator, 5, 1, 2, 4), fractions(generator, 5, 2))
    parts = [network.gradients(part, squared_error).parameters for part in examples.split(n)]
    whole = network.gradients(examples, squared_error).parameters
    for index, layer in enumerate(whole):
        for name, gradient in layer.items():
            mixed = (n * parts[0][index][name] + (5 - n) * parts[1][index][name]) / 5
            assert (gradient == mixed).all()


@pytest.mark.spec("NET-I3")
@given(seeds)
def test_hidden_units_can_trade_places(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = exact_network(generator)
    *first, hidden, output = network.layers
    assert isinstance(hidden, FullyConnected)
    assert isinstance(output, FullyConnected)
    sums = [2, 3, 0, 1]  # the two units of two sums each
    swapped = hidden.with_parameters({"weights": hidden.weights[:, sums], "bias": hidden.bias[sums]})
    ends = output.with_parameters({"weights": output.weights[::-1], "bias": output.bias})
    x = fractions(generator, 2, 1, 2, 4)
    assert (Network((*first, swapped, ends)).forward(x) == network.forward(x)).all()


def test_the_size_is_the_number_of_parameters() -> None:
    assert smooth_network(0).size == 3 * 4 + 3 + 12 * 5 + 5 + 5 * 3 + 3


def test_a_network_with_a_hidden_layer_learns_what_no_single_layer_can() -> None:
    generator = np.random.default_rng(2)
    exclusive = Examples(np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0]))
    hidden = FullyConnected.initial(2, 8, Activation("tanh"), generator)
    output = FullyConnected.initial(8, 2, LOG_SOFTMAX, generator)
    options: dict[str, Any] = {"batch": 4, "rounds": 40, "patience": 40}
    learned = fit(
        Learner(Network((hidden, output)), cross_entropy, 0.5, 0.9), exclusive, exclusive, **options
    )
    assert learned.history[-1].accuracy == 1
    single = Network((FullyConnected.initial(2, 2, LOG_SOFTMAX, generator),))
    alone = fit(Learner(single, cross_entropy, 0.5, 0.9), exclusive, exclusive, **options)
    assert max(made.accuracy for made in alone.history) <= 0.75


@pytest.mark.spec("NET-S5")
def test_a_regressor_predicts_numbers_and_learns_as_a_learner_does() -> None:
    draw = np.random.default_rng(0)
    layers = (
        FullyConnected.initial(2, 5, Activation("tanh"), draw),
        FullyConnected.initial(5, 1, Activation("leaky_relu", {"negative_slope": 1.0}), draw),
    )
    X = draw.normal(size=(40, 2))
    examples = Examples(X, (X[:, :1] - X[:, 1:]) / 2)
    first = Regressor(Network(layers), squared_error, rate=0.2, momentum=0.5)
    found = fit(first, examples, examples, batch=10, rounds=30, patience=30).model
    assert isinstance(found, Regressor)
    assert np.array_equal(found.predict(X), found.network.forward(X))
    assert found.error(examples) <= 0.05 * first.error(examples)
