"""The convolutional network is built, counted and read as page 13 says."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference.convolutional_network import colourfulness, convolutional_network, evidence, kernels
from gaugeblock.reference.counting import costs, table, total
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, MaxPooling, Recurrent
from gaugeblock.reference.machine_learning import Examples, cross_entropy, squared_error
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import LSTM, Activation, Maxout

Array = NDArray[Any]
seeds = st.integers(0, 2**32 - 1)
FEWER = settings(max_examples=settings.default.max_examples // 4)  # fractions are slow
LINEAR = Activation("leaky_relu", {"negative_slope": 1.0})
SHAPE = (2, 11, 10)


def fractions(generator: np.random.Generator, *shape: int) -> Array:
    """Return fractions that are rarely equal, so that few lie on a kink."""
    count = math.prod(shape)
    pairs = zip(generator.integers(-99, 100, count), generator.integers(50, 99, count), strict=True)
    numbers = np.empty(count, object)
    numbers[:] = [Fraction(int(n), int(d)) for n, d in pairs]
    return numbers.reshape(shape)


def built(seed: int, **options: Any) -> Network:
    """Return a small network in float64."""
    return convolutional_network(
        SHAPE, 3, np.random.default_rng(seed), **{"kernel": 3, "maps": (2, 3), **options}
    )


def exact(generator: np.random.Generator, *, biased: bool = True) -> Network:
    """Return the same network in fractions, with scores instead of logarithms of probabilities."""
    network = built(0)
    last = replace(network.layers[-1], unit=LINEAR)  # type: ignore[type-var]
    drawn = Network((*network.layers[:-1], last))
    return drawn.with_parameters(
        tuple(
            {
                name: fractions(generator, *array.shape) * (1 if biased or name == "weights" else 0)
                for name, array in layer.items()
            }
            for layer in drawn.parameters
        )
    )


def pieces(network: Network, x: Array) -> list[Any]:
    """Return on which linear piece the network is: which units are active, which cells are the largest."""
    features = network.features(x)
    return [
        (features[i].z.astype(float) > 0).tolist()  # type: ignore[union-attr]
        if isinstance(network.layers[i], Convolutional)
        else reference.max_pool_indices(features[i].x, kernel=2).tolist()
        for i in range(4)
    ]


def moved(network: Network, index: int, name: str, place: tuple[int, ...], step: Any) -> Network:
    """Return the network with one number changed."""
    parameters = [dict(layer) for layer in network.parameters]
    array = parameters[index][name].copy()
    array[place] += step
    parameters[index][name] = array
    return network.with_parameters(tuple(parameters))


# What it is -----------------------------------------------------------------------------------------------


@pytest.mark.spec("CNN-D1")
def test_the_default_is_the_network_of_figure_5() -> None:
    network = convolutional_network((1, 32, 32), 10, np.random.default_rng(0))
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [Convolutional, MaxPooling, Convolutional, MaxPooling, FullyConnected]
    shapes = [parameters["weights"].shape for parameters in network.parameters if parameters]
    assert shapes == [(4, 1, 5, 5), (10, 4, 5, 5), (250, 10)]
    handed_on = [passed.y.shape[1:] for passed in network.features(np.zeros((1, 1, 32, 32)))]
    assert handed_on == [(4, 28, 28), (4, 14, 14), (10, 10, 10), (10, 5, 5), (10,)]
    predicted = network.forward(np.random.default_rng(1).random((3, 1, 32, 32)))
    assert np.abs(np.exp(predicted).sum(axis=1) - 1).max() <= 2**-50


@pytest.mark.spec("CNN-D1")
def test_padding_keeps_the_maps_of_small_images() -> None:
    network = convolutional_network((1, 8, 8), 10, np.random.default_rng(0), padding="same")
    handed_on = [passed.y.shape[1:] for passed in network.features(np.zeros((1, 1, 8, 8)))]
    assert handed_on == [(4, 8, 8), (4, 4, 4), (10, 4, 4), (10, 2, 2), (10,)]
    assert network.size == 1524


@pytest.mark.spec("CNN-S1")
def test_the_same_generator_gives_the_same_network() -> None:
    first, second, other = (
        [array.tobytes() for layer in built(seed).parameters for array in layer.values()]
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other
    assert not any(built(1).parameters[index]["bias"].any() for index in (0, 2, 4))


@pytest.mark.spec("CNN-S2")
@pytest.mark.parametrize("shape", [(2, 22), (1, 12, 11), (3, 10, 11, 12)])
def test_it_works_on_one_to_three_axes_and_on_other_operations(shape: tuple[int, ...]) -> None:
    called = []

    class Recording:
        """The reference's operations, noting which were called."""

        def __getattr__(self, name: str) -> Any:
            called.append(name)
            return getattr(reference, name)

    network = convolutional_network(shape, 2, np.random.default_rng(0), kernel=3, maps=(2, 3))
    examples = Examples(np.random.default_rng(1).random((2, *shape)), np.array([0, 1]))
    network.gradients(examples, cross_entropy, on=Recording())
    forward = ["conv", "relu", "max_pool"] * 2 + ["gemm", "log_softmax"]
    assert called[:8] == forward
    assert called.count("conv_backward_weight") == called.count("max_pool_backward") == 2


@pytest.mark.spec("CNN-C1")
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4,), r"CNN-C1: input_shape is \(4,\), expected channels and one to three sizes, none below 1"),
        ((0, 8, 8), r"CNN-C1: input_shape is \(0, 8, 8\), expected"),
        ((1, 8, 8), r"CNN-C1: input_shape is \(1, 8, 8\), of which layer 4 leaves \(10, 0, 0\)"),
        ((1, 2, 2, 2, 2), r"CNN-C1: input_shape is"),
    ],
)
def test_an_input_must_have_maps_and_some_must_be_left(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convolutional_network(shape, 10, np.random.default_rng(0))


@pytest.mark.spec("CNN-C2")
def test_there_must_be_two_classes_to_tell_apart() -> None:
    with pytest.raises(ValueError, match=r"^CNN-C2: classes is 1, expected at least 2"):
        convolutional_network((1, 32, 32), 1, np.random.default_rng(0))


@pytest.mark.spec("CNN-C3")
def test_kernels_and_evidence_need_layers_that_have_them() -> None:
    pooling = Network((MaxPooling(2),))
    with pytest.raises(TypeError, match=r"^CNN-C3: the first layer must be convolutional, got MaxPooling"):
        kernels(pooling)
    with pytest.raises(TypeError, match=r"^CNN-C3: the last layer must hold units, got MaxPooling"):
        evidence(pooling, np.zeros((1, 1, 4)), np.array([0]))
    network = built(0)
    assert kernels(network) is network.parameters[0]["weights"]


@pytest.mark.spec("CNN-C3")
def test_layers_with_a_memory_are_not_counted() -> None:
    recurrent = Recurrent.initial(3, 2, LSTM(), np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"^CNN-C3: layers with units and no memory, .* got Recurrent"):
        costs(Network((recurrent,)), (4, 3))


# What it costs --------------------------------------------------------------------------------------------


class Counted(Fraction):
    """A weight that counts how often it is multiplied."""

    count = 0

    def __mul__(self, other: Any) -> Any:
        Counted.count += 1
        return Fraction(self) * other

    __rmul__ = __mul__


@pytest.mark.spec("CNN-D2")
def test_multiplications_are_those_that_are_made() -> None:
    network = built(0, padding="same")
    weights = [
        {
            name: np.array([Counted(1) if name == "weights" else Fraction(1)] * array.size, object).reshape(
                array.shape
            )
            for name, array in layer.items()
        }
        for layer in network.parameters
    ]
    last = replace(network.layers[-1], unit=LINEAR)  # type: ignore[type-var]
    counted = Network((*network.layers[:-1], last)).with_parameters(tuple(weights))
    found = costs(network, SHAPE)
    x = fractions(np.random.default_rng(0), 1, *SHAPE)
    for layer, cost in zip(counted.layers, found, strict=True):
        Counted.count = 0
        x = layer.forward(x).y
        assert Counted.count == cost.multiplications


@pytest.mark.spec("CNN-D2")
def test_numbers_held_are_those_of_the_arrays_that_are_made() -> None:
    network = built(0)
    features = network.features(np.ones((1, *SHAPE)))
    parameters = network.gradients(Examples(np.ones((1, *SHAPE)), np.array([1])), cross_entropy).parameters
    for cost, passed, gradients in zip(costs(network, SHAPE), features, parameters, strict=True):
        weighted = 0 if passed.z is None else passed.z.size
        own = sum(array.size for array in gradients.values())
        assert cost.shape == passed.y.shape[1:]
        assert cost.forward == weighted + passed.y.size
        assert cost.backward == weighted + passed.x.size + own
        assert cost.parameters == own


@pytest.mark.spec("CNN-D2")
def test_patches_are_the_columns_of_the_matrix_product_in_every_group() -> None:
    grouped = Convolutional(np.zeros((4, 2, 3, 2)), np.zeros(4), Activation("relu"), stride=2, groups=3)
    pointwise = Convolutional(np.zeros((3, 6, 1, 1)), np.zeros(3), Maxout(3))
    average = AveragePooling((2, 1))
    grouped = replace(grouped, weights=np.zeros((6, 2, 3, 2)), bias=np.zeros(6))
    found = costs(Network((grouped, average, pointwise)), (6, 9, 8))
    assert [cost.shape for cost in found] == [(6, 4, 4), (6, 2, 4), (1, 2, 4)]
    assert [cost.patches for cost in found] == [6 * 3 * 2 * 16, 0, 0]
    assert [cost.layer for cost in found] == ["6 relu maps by 3×2", "average of 2×1", "1 maxout maps by 1×1"]


@pytest.mark.spec("CNN-D2")
def test_costs_add_up_but_of_the_patches_the_largest_counts() -> None:
    found = costs(built(0), SHAPE)
    together = total(found)
    assert together.parameters == built(0).size
    assert together.multiplications == sum(cost.multiplications for cost in found)
    assert together.patches == max(cost.patches for cost in found) < sum(cost.patches for cost in found)
    assert table(found).splitlines()[-1].split()[-1] == f"{together.patches:,}"


# Its gradients --------------------------------------------------------------------------------------------


@pytest.mark.spec("CNN-S2")
@FEWER
@given(seeds)
def test_gradients_equal_difference_quotients_exactly_between_kinks(seed: int) -> None:
    """Along one number the error is a parabola, whose central differences have no error."""
    generator = np.random.default_rng(seed)
    network = exact(generator)
    examples = Examples(fractions(generator, 1, *SHAPE), fractions(generator, 1, 3))
    found = network.gradients(examples, squared_error)
    h = Fraction(1, 10**9)
    index, name = int(generator.choice([0, 2, 4])), str(generator.choice(["weights", "bias"]))
    place = tuple(int(generator.integers(size)) for size in network.parameters[index][name].shape)
    ends = [moved(network, index, name, place, sign * h) for sign in (1, -1)]
    assume(len({str(pieces(end, examples.inputs)) for end in ends}) == 1)  # no kink within h
    up, down = (squared_error(end.forward(examples.inputs), examples.wanted)[0] for end in ends)
    assert found.parameters[index][name][place] == (up - down) / (2 * h)


@pytest.mark.spec("CNN-S2")
@FEWER
@given(seeds)
def test_gradients_in_float64_agree_with_central_differences(seed: int) -> None:
    """The third derivative along a direction of length 1 is below 1000 here, the error of E below 2⁻⁴⁸."""
    network, generator = built(seed, unit=Activation("tanh")), np.random.default_rng(seed)
    x = generator.standard_normal((4, *SHAPE))
    wanted = generator.integers(3, size=4)
    found = network.gradients(Examples(x, wanted), cross_entropy).x
    direction = generator.standard_normal(x.shape)
    direction /= np.sqrt((direction**2).sum())
    h = 2.0**-17
    ends = [network.features(x + sign * h * direction) for sign in (1, -1)]
    chosen = [reference.max_pool_indices(end[i].x, kernel=2).tolist() for end in ends for i in (1, 3)]
    assume(chosen[:2] == chosen[2:])  # the same cells are the largest
    up, down = (cross_entropy(end[-1].y, wanted)[0] for end in ends)
    assert abs((up - down) / (2 * h) - (found * direction).sum()) <= 1000 * h**2 / 6 + 2 * 2.0**-48 / h


@pytest.mark.spec("CNN-X1")
def test_dead_maps_pass_nothing_back() -> None:
    network = built(0)
    parameters = [dict(layer) for layer in network.parameters]
    parameters[2]["bias"] = np.full(3, -1e6)
    dead = network.with_parameters(tuple(parameters))
    features = dead.features(np.ones((2, *SHAPE)))
    assert not features[2].y.any()
    dx, gradients = dead.backward(np.ones((2, 3)), features)
    pooled = dead.layers[3].backward(np.ones(features[3].y.shape), features[3])[0]
    assert pooled[..., ::2, ::2].sum() == pooled.sum() == features[3].y.size  # the first cell of each region
    assert not dx.any()
    assert not any(array.any() for layer in gradients[:4] for array in layer.values())


# What holds between results -------------------------------------------------------------------------------


def whole_numbers(network: Network, generator: np.random.Generator) -> Network:
    """Return the network with small whole numbers, whose sums are exact in any order."""
    drawn = (
        {name: generator.integers(-2, 3, array.shape).astype(float) for name, array in layer.items()}
        for layer in network.parameters
    )
    return network.with_parameters(tuple(drawn))


@pytest.mark.spec("CNN-I1")
@given(seeds)
def test_moving_the_input_by_all_steps_moves_the_last_maps_by_one_cell(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = convolutional_network((1, 24, 20), 2, generator, kernel=3, maps=(2, 3))
    network = whole_numbers(network, generator)
    x = generator.integers(-3, 4, (1, 1, 24, 20)).astype(float)
    last, after = (network.features(each)[3].y for each in (x, np.roll(x, 4, axis=2)))
    assert last.shape[2] > 2
    assert np.array_equal(after[:, :, 1:], last[:, :, :-1])


@pytest.mark.spec("CNN-I2")
@given(seeds)
def test_moving_within_regions_changes_no_prediction(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = convolutional_network((2, 8, 8), 3, generator, kernel=1)
    x = generator.standard_normal((1, 2, 8, 8))
    regions = x.reshape(1, 2, 4, 2, 4, 2)
    turned = regions[:, :, :, ::-1, :, ::-1].reshape(x.shape)
    assert not np.array_equal(turned, x)
    assert network.forward(turned).tobytes() == network.forward(x).tobytes()


@pytest.mark.spec("CNN-D3")
@pytest.mark.spec("CNN-I3")
@FEWER
@given(seeds)
def test_the_evidence_of_all_pixels_is_the_score_and_biases_say_the_rest(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, labels = fractions(generator, 2, *SHAPE), np.array([2, 0])
    plain = exact(generator, biased=False)
    scores = plain.forward(x)
    said = evidence(plain, x, labels).reshape(2, -1).sum(axis=1)
    assert said.tolist() == [scores[0, 2], scores[1, 0]]
    assert (plain.forward(x * Fraction(7, 3)) == scores * Fraction(7, 3)).all()

    biased = exact(generator)
    features = biased.features(x[:1])
    chosen = np.array([[Fraction(0), Fraction(0), Fraction(1)]], object)
    dx, gradients = biased.backward(chosen, features)
    assert (evidence(biased, x[:1], labels[:1]) == x[:1] * dx).all()
    biases = sum(
        (layer["bias"] * found["bias"]).sum()
        for layer, found in zip(biased.parameters, gradients, strict=True)
        if layer
    )
    assert (x[:1] * dx).sum() + biases == features[-1].y[0, 2]


@pytest.mark.spec("CNN-I4")
@FEWER
@given(seeds)
def test_maps_can_trade_places(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network, x = exact(generator), fractions(generator, 1, *SHAPE)
    parameters = [dict(layer) for layer in network.parameters]
    parameters[0] = {name: array[::-1] for name, array in parameters[0].items()}
    parameters[2]["weights"] = parameters[2]["weights"][:, ::-1]
    assert (network.with_parameters(tuple(parameters)).forward(x) == network.forward(x)).all()


# Colourfulness

filters_drawn = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(size=(4, 3, 5, 5))
)


@pytest.mark.spec("CNN-D4")
def test_a_filter_of_equal_channels_is_grey_and_one_whose_channels_cancel_is_all_colour() -> None:
    taps = np.array([[1.0, -2.0], [0.5, 3.0]])
    grey, coloured = np.stack([taps, taps, taps]), np.stack([taps, -taps, 0 * taps])
    assert colourfulness(np.stack([grey, coloured])).tolist() == [0.0, 1.0]
    many = np.random.default_rng(0).normal(size=(2000, 3, 1))
    assert colourfulness(many).mean() == pytest.approx(2 / 3, abs=0.03)


@pytest.mark.spec("CNN-I5")
@given(filters_drawn, st.sampled_from([-3.0, 2.0**-400, 7.0]), st.permutations(range(3)))
def test_colourfulness_is_of_the_filter_not_of_its_size_or_order(
    filters: np.ndarray, factor: float, order: list[int]
) -> None:
    want = colourfulness(filters)
    assert np.all((want >= 0) & (want <= 1))
    assert np.allclose(colourfulness(factor * filters[:, order, ::-1]), want, rtol=0, atol=1e-13)


@pytest.mark.spec("CNN-X2")
def test_a_filter_that_is_nothing_has_no_colour_and_a_small_one_has_its_own() -> None:
    nothing, small = np.zeros((3, 2)), np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]) * 2.0**-1000
    assert colourfulness(np.stack([nothing, small])) == pytest.approx([0.0, 2 / 3])


@pytest.mark.spec("CNN-C6")
@pytest.mark.parametrize("filters", [np.zeros(3), np.zeros((2, 0, 5)), np.zeros((2, 3), int)])
def test_what_has_no_kernels_and_channels_has_no_colourfulness(filters: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^CNN-C6: filters must"):
        colourfulness(filters)
