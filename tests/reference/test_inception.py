"""Inception modules join what their branches find, as page 14 says."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference.counting import costs, table, total
from gaugeblock.reference.inception import GOOGLENET_3A, GOOGLENET_3B, Branches, Sizes, inception, reducing
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, MaxPooling
from gaugeblock.reference.machine_learning import Examples, cross_entropy, squared_error
from gaugeblock.reference.network import Learner, Network
from gaugeblock.reference.unit import Activation

Array = NDArray[Any]
seeds = st.integers(0, 2**32 - 1)
FEWER = settings(max_examples=settings.default.max_examples // 4)  # fractions are slow
SMALL = Sizes(2, 2, 3, 1, 2, 2)
LINEAR = Activation("leaky_relu", {"negative_slope": 1.0})


def fractions(generator: np.random.Generator, *shape: int) -> Array:
    """Return fractions that are rarely equal, so that few lie on a kink."""
    count = math.prod(shape)
    pairs = zip(generator.integers(-99, 100, count), generator.integers(50, 99, count), strict=True)
    numbers = np.empty(count, object)
    numbers[:] = [Fraction(int(n), int(d)) for n, d in pairs]
    return numbers.reshape(shape)


def module(seed: int, sizes: Sizes = SMALL, channels: int = 3) -> Branches:
    return inception(channels, sizes, np.random.default_rng(seed))


def exact(generator: np.random.Generator, sizes: Sizes = SMALL) -> Branches:
    """Return a module in fractions."""
    found = module(0, sizes)
    return found.with_parameters(
        {name: fractions(generator, *array.shape) for name, array in found.parameters.items()}
    )


def pieces(passed: Any) -> list[Any]:
    """Return on which linear piece a module is."""
    active = [
        (layer.z.astype(float) > 0).tolist()
        for branch in passed.inside
        for layer in branch
        if layer.z is not None
    ]
    largest = reference.max_pool_indices(passed.x, kernel=3, stride=1, padding=1).tolist()
    return [*active, largest]


# The module -----------------------------------------------------------------------------------------------


@pytest.mark.spec("INC-D1")
def test_a_module_has_four_branches_that_keep_the_size_of_the_maps() -> None:
    found = module(0)
    kinds = [[type(layer) for layer in branch.layers] for branch in found.branches]
    assert kinds == [[Convolutional], [Convolutional] * 2, [Convolutional] * 2, [MaxPooling, Convolutional]]
    kernels = {name: array.shape for name, array in found.parameters.items() if name.endswith("weights")}
    assert kernels == {
        "0.0.weights": (2, 3, 1, 1),
        "1.0.weights": (2, 3, 1, 1),
        "1.1.weights": (3, 2, 3, 3),
        "2.0.weights": (1, 3, 1, 1),
        "2.1.weights": (2, 1, 5, 5),
        "3.1.weights": (2, 3, 1, 1),
    }
    assert found.forward(np.zeros((2, 3, 7, 4))).y.shape == (2, 9, 7, 4)
    assert SMALL.output(3) == 9


@pytest.mark.spec("INC-D1")
def test_the_naive_module_reduces_nothing_and_hands_on_all_that_it_pools() -> None:
    found, x = module(0, SMALL.naive), np.random.default_rng(1).standard_normal((2, 3, 4, 5))
    assert [len(branch.layers) for branch in found.branches] == [1, 1, 1, 1]
    y = found.forward(x).y
    assert y.shape == (2, SMALL.naive.output(3), 4, 5) == (2, 10, 4, 5)
    assert np.array_equal(y[:, 7:], reference.max_pool(x, kernel=3, stride=1, padding=1))


@pytest.mark.spec("INC-D2")
def test_parameters_are_named_by_branch_and_layer_and_go_back_there() -> None:
    found = module(0)
    assert list(found.parameters)[:4] == ["0.0.weights", "0.0.bias", "1.0.weights", "1.0.bias"]
    assert found.parameters["1.1.bias"] is found.branches[1].layers[1].parameters["bias"]
    doubled = found.with_parameters({name: 2 * array for name, array in found.parameters.items()})
    for name, array in found.parameters.items():
        assert np.array_equal(doubled.parameters[name], 2 * array)
    assert isinstance(doubled.branches[3].layers[0], MaxPooling)
    assert Network((found,)).as_type(np.float32).parameters[0]["2.1.weights"].dtype == np.float32


@pytest.mark.spec("INC-C1")
def test_a_module_has_branches_and_nothing_else() -> None:
    with pytest.raises(ValueError, match=r"^INC-C1: a module has at least one branch, got none"):
        Branches(())
    with pytest.raises(TypeError, match=r"^INC-C1: branch 1 must be a network, got MaxPooling"):
        Branches((Network((MaxPooling(2),)), MaxPooling(2)))  # type: ignore[arg-type]


@pytest.mark.spec("INC-C2")
def test_branches_must_make_maps_of_one_size() -> None:
    uneven = Branches((Network((MaxPooling(1),)), Network((MaxPooling(2),))))
    with pytest.raises(ValueError, match=r"^INC-C2: branch 1 makes maps of \(2, 2\), branch 0 of \(4, 5\)"):
        uneven.forward(np.zeros((1, 1, 4, 5)))


@pytest.mark.spec("INC-C3")
@pytest.mark.parametrize(
    ("channels", "sizes"), [(0, SMALL), (3, SMALL._replace(maps_3=0)), (3, SMALL._replace(pooled=-1))]
)
def test_numbers_of_maps_must_make_sense(channels: int, sizes: Sizes) -> None:
    with pytest.raises(ValueError, match=r"^INC-C3: channels is \d, sizes is Sizes"):
        inception(channels, sizes, np.random.default_rng(0))


# Forward and backward -------------------------------------------------------------------------------------


@pytest.mark.spec("INC-S1")
@pytest.mark.spec("INC-A1")
def test_the_maps_of_the_branches_follow_each_other_bit_for_bit() -> None:
    found, x = module(1), np.random.default_rng(1).standard_normal((2, 3, 6, 5))
    passed = found.forward(x)
    alone = [branch.forward(x) for branch in found.branches]
    start = 0
    for maps in alone:
        stop = start + maps.shape[1]
        assert passed.y[:, start:stop].tobytes() == maps.tobytes()
        start = stop
    assert start == passed.y.shape[1]
    assert all(branch[0].x is x for branch in passed.inside)


@pytest.mark.spec("INC-S1")
def test_a_module_feeds_the_next_one() -> None:
    first, second = module(1), module(2, channels=SMALL.output(3))
    network = Network((first, second, AveragePooling(4)))
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 4))
    features = network.features(x)
    assert features[2].y.shape == (2, 9, 1, 1)
    assert features[1].x is features[0].y
    assert all(branch[0].x is features[0].y for branch in features[1].inside)


@pytest.mark.spec("INC-S2")
@pytest.mark.spec("INC-A1")
@FEWER
@given(seeds)
def test_gradients_equal_difference_quotients_exactly_between_kinks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    found, x = exact(generator), fractions(generator, 1, 3, 3, 4)
    wanted = fractions(generator, 1, 9, 3, 4)
    passed = found.forward(x)
    dx, gradients = found.backward(squared_error(passed.y, wanted)[1], passed)
    h = Fraction(1, 10**9)

    name = str(generator.choice(list(found.parameters)))
    place = tuple(int(generator.integers(size)) for size in found.parameters[name].shape)
    step = np.full(found.parameters[name].shape, Fraction(0))
    step[place] = h
    changed = [
        found.with_parameters({**found.parameters, name: found.parameters[name] + sign * step}).forward(x)
        for sign in (1, -1)
    ]
    cell = tuple(int(generator.integers(size)) for size in x.shape)
    nudge = np.full(x.shape, Fraction(0))
    nudge[cell] = h
    nudged = [found.forward(x + sign * nudge) for sign in (1, -1)]
    for ends, gradient in ((changed, gradients[name][place]), (nudged, dx[cell])):
        assume(str(pieces(ends[0])) == str(pieces(ends[1])))  # no kink within h
        up, down = (squared_error(end.y, wanted)[0] for end in ends)
        assert gradient == (up - down) / (2 * h)


@pytest.mark.spec("INC-S2")
@FEWER
@given(seeds)
def test_gradients_in_float64_agree_with_central_differences(seed: int) -> None:
    """The third derivative along a direction of length 1 is below 1000 here, the error of E below 2⁻⁴⁸."""
    generator = np.random.default_rng(seed)
    last = FullyConnected.initial(9, 3, Activation("log_softmax"), generator)
    network = Network((module(seed), AveragePooling(4), last))
    x, wanted = generator.standard_normal((2, 3, 4, 4)), generator.integers(3, size=2)
    slope = network.gradients(Examples(x, wanted), cross_entropy).x
    direction = generator.standard_normal(x.shape)
    direction /= np.sqrt((direction**2).sum())
    h = 2.0**-17
    ends = [network.features(x + sign * h * direction) for sign in (1, -1)]
    assume(str(pieces(ends[0][0])) == str(pieces(ends[1][0])))
    up, down = (cross_entropy(end[-1].y, wanted)[0] for end in ends)
    assert abs((up - down) / (2 * h) - (slope * direction).sum()) <= 1000 * h**2 / 6 + 2 * 2.0**-48 / h


@pytest.mark.spec("INC-S3")
def test_biases_inside_do_not_decay_and_weights_do() -> None:
    network = Network((module(1), AveragePooling(4)))
    shifted = network.with_parameters(
        tuple({n: a + 1 for n, a in layer.items()} for layer in network.parameters)
    )
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 4))
    examples = Examples(x, shifted.forward(x))  # nothing to improve but the size of the weights
    learner = Learner(shifted, squared_error, rate=0.5, decay=0.5).adjusted(examples)
    for name, array in shifted.parameters[0].items():
        share = 1.0 if name.endswith("bias") else 0.75
        assert np.array_equal(learner.network.parameters[0][name], share * array)


@pytest.mark.spec("INC-S3")
def test_a_network_with_a_module_learns() -> None:
    """A line of three cells is vertical, or horizontal."""
    generator = np.random.default_rng(5)
    x, wanted = np.zeros((32, 1, 6, 6)), generator.integers(2, size=32)
    for image, vertical in zip(x, wanted, strict=True):
        row, column = generator.integers(1, 5, 2)
        place = (slice(row - 1, row + 2), column) if vertical else (row, slice(column - 1, column + 2))
        image[(0, *place)] = 1.0
    sizes = Sizes(2, 2, 6, 2, 4, 2)
    last = FullyConnected.initial(sizes.output(1), 2, Activation("log_softmax"), generator)
    network = Network((inception(1, sizes, generator), MaxPooling(6), last))
    learner = Learner(network, cross_entropy, rate=0.1, momentum=0.9)
    before = learner.error(Examples(x, wanted))
    for _ in range(60):
        learner = learner.adjusted(Examples(x, wanted))
    assert learner.error(Examples(x, wanted)) <= before / 10


@pytest.mark.spec("INC-X1")
def test_without_examples_there_are_no_results_and_no_gradients() -> None:
    found = module(0)
    passed = found.forward(np.zeros((0, 3, 4, 4)))
    assert passed.y.shape == (0, 9, 4, 4)
    dx, gradients = found.backward(np.zeros((0, 9, 4, 4)), passed)
    assert dx.shape == (0, 3, 4, 4)
    for name, array in found.parameters.items():
        assert gradients[name].shape == array.shape
        assert not gradients[name].any()


# What holds between results -------------------------------------------------------------------------------


@pytest.mark.spec("INC-I1")
@FEWER
@given(seeds)
def test_a_convolution_of_one_pixel_is_a_matrix_product_over_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, w = fractions(generator, 2, 5, 3, 4), fractions(generator, 3, 5, 1, 1)
    pixels = np.moveaxis(x, 1, -1).reshape(-1, 5)
    rows = reference.gemm(pixels, w.reshape(3, 5), transpose_b=True)
    assert (np.moveaxis(rows.reshape(2, 3, 4, 3), -1, 1) == reference.conv(x, w)).all()


@pytest.mark.spec("INC-I2")
@FEWER
@given(seeds)
def test_reducing_is_factoring_the_kernels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    v, w = fractions(generator, 2, 5, 1, 1), fractions(generator, 3, 2, 3, 3)
    x = fractions(generator, 1, 5, 4, 4)
    nothing = fractions(generator, 3) * 0
    layers = [
        Convolutional(kernels, nothing[: len(kernels)], LINEAR, padding="same")
        for kernels in (v, w, np.einsum("krij,rc->kcij", w, v[:, :, 0, 0]))
    ]
    assert (Network((layers[0], layers[1])).forward(x) == layers[2].forward(x).y).all()
    across = layers[2].weights.astype(float).transpose(2, 3, 0, 1)  # for each cell of the kernel, K × C
    assert np.linalg.matrix_rank(across).max() <= 2


@pytest.mark.spec("INC-I3")
@FEWER
@given(seeds)
def test_branches_that_trade_places_move_their_maps(seed: int) -> None:
    generator = np.random.default_rng(seed)
    found, x = exact(generator), fractions(generator, 1, 3, 3, 4)
    turned = Branches(found.branches[::-1])
    passed, other = found.forward(x), turned.forward(x)
    places = [8 - 1, 8, 5, 6, 2, 3, 4, 0, 1]  # the maps of the last branch come first
    assert (other.y == passed.y[:, places]).all()
    dy = fractions(generator, 1, 9, 3, 4)
    dx, gradients = found.backward(dy, passed)
    back, turned_gradients = turned.backward(dy[:, places], other)
    assert (back == dx).all()
    assert (turned_gradients["2.1.weights"] == gradients["1.1.weights"]).all()


@pytest.mark.spec("INC-I4")
@given(seeds)
def test_moving_the_input_by_one_cell_moves_the_result_by_one_cell(seed: int) -> None:
    generator = np.random.default_rng(seed)
    found = module(seed)
    whole = {n: generator.integers(-2, 3, a.shape).astype(float) for n, a in found.parameters.items()}
    found = found.with_parameters(whole)  # sums of small whole numbers are exact in any order
    x = generator.integers(-3, 4, (1, 3, 9, 9)).astype(float)
    before, after = found.forward(x).y, found.forward(np.roll(x, 1, axis=3)).y
    assert np.array_equal(after[..., 2:-2, 3:-2], before[..., 2:-2, 2:-3])


@pytest.mark.spec("INC-I5")
def test_the_module_of_googlenet_saves_what_the_page_says() -> None:
    found, naive = (
        costs(Network((module(0, sizes, 192),)), (192, 28, 28))
        for sizes in (GOOGLENET_3A, GOOGLENET_3A.naive)
    )
    reduced, whole = total(found), total(naive)
    pixels = 28 * 28
    by_hand = 192 * (64 + 96 + 16 + 32) + 96 * 128 * 9 + 16 * 32 * 25
    assert reduced.multiplications == by_hand * pixels == 128_049_152
    assert whole.multiplications == 192 * (64 + 128 * 9 + 32 * 25) * pixels == 303_464_448
    assert reduced.parameters == by_hand + 64 + 96 + 128 + 16 + 32 + 32 == 163_696
    assert (whole.parameters, reduced.shape[0], whole.shape[0]) == (387_296, 256, 416)
    assert (reduced.patches, whole.patches) == (96 * 9 * pixels, 192 * 25 * pixels) == (677_376, 3_763_200)
    convolved, pooled = 64 + 96 + 128 + 16 + 32 + 32, 192
    assert reduced.forward == (2 * convolved + pooled) * pixels == 727_552
    assert whole.forward == (2 * (64 + 128 + 32) + 192) * pixels == 501_760
    assert "4 branches, joined" in table(found)


@pytest.mark.spec("INC-I5")
def test_the_module_that_is_fed_is_cheaper_too() -> None:
    together = []
    for first, second in ((GOOGLENET_3A, GOOGLENET_3B), (GOOGLENET_3A.naive, GOOGLENET_3B.naive)):
        row = Network((module(0, first, 192), module(0, second, first.output(192))))
        small = total(costs(row, (192, 4, 4)))  # multiplications grow with the pixels
        together.append(small.multiplications * (28 * 28 // 16))
        assert small.shape[0] == second.output(first.output(192))
    assert together == [432_316_416, 1_691_533_312]


# A module that makes maps smaller


@pytest.mark.spec("INC-D3")
@pytest.mark.spec("INC-S4")
@pytest.mark.parametrize(("height", "width"), [(28, 28), (7, 4), (1, 2)])
def test_a_reducing_module_joins_new_maps_and_pooled_ones_of_half_the_size(height: int, width: int) -> None:
    draw = np.random.default_rng(0)
    module, x = reducing(2, 3, draw), draw.normal(size=(2, 2, height, width))
    y = module.forward(x).y
    assert y.shape == (2, 5, -(-height // 2), -(-width // 2))
    assert y[:, :3].min() >= 0
    assert np.array_equal(y[:, 3:], reference.max_pool(x, kernel=3, stride=2, padding=1))


@pytest.mark.spec("INC-C3")
@pytest.mark.parametrize(("channels", "maps"), [(0, 1), (1, 0)])
def test_a_reducing_module_has_maps_to_reduce_and_makes_some(channels: int, maps: int) -> None:
    with pytest.raises(ValueError, match=r"^INC-C3: channels is"):
        reducing(channels, maps, np.random.default_rng(0))
