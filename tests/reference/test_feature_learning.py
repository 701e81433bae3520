"""Learned features: what page 3 says of networks taken apart, of what units see, and of common patterns."""

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference import log_softmax
from gaugeblock.reference.feature_learning import (
    classifier_of,
    common_patterns,
    exciting,
    features_of,
    likeness,
    receptive_field,
    specificity,
)
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, Layer, MaxPooling
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import Activation, Maxout

seeds = st.integers(0, 2**32 - 1)
RELU, LOG_SOFTMAX, SIGMOID = Activation("relu"), Activation("log_softmax"), Activation("sigmoid")


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[Layer], tuple[int, ...], np.random.Generator]:
    """Layers that filter and pool, and the shape of an image of which they leave something."""
    generator = np.random.default_rng(draw(seeds))
    axes = draw(st.integers(1, 2))
    channels, layers = draw(st.integers(1, 2)), []
    shape = (channels, *(draw(st.integers(9, 14)) for _ in range(axes)))
    for _ in range(draw(st.integers(1, 3))):
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding: Any = draw(st.integers(0, kernel // 2))
        kind = draw(st.sampled_from(["convolution", "maximum", "average"]))
        layer: Layer
        if kind == "convolution":
            padding = draw(st.sampled_from([padding, "same"]))
            dilation, unit = draw(st.integers(1, 2)), draw(st.sampled_from([RELU, SIGMOID, Maxout(2)]))
            layer = Convolutional.initial(
                channels,
                2,
                (kernel,) * axes,
                unit,
                generator,
                stride=stride,
                padding=padding,
                dilation=dilation,
            )
            channels = 2
        elif kind == "maximum":
            layer = MaxPooling(kernel, stride, padding)
        else:
            layer = AveragePooling(kernel, stride, padding)
        if (
            receptive_field([*layers, layer], shape).units
            and 0 not in receptive_field([*layers, layer], shape).units
        ):
            layers.append(layer)
        else:
            break
    if not layers:
        layers = [MaxPooling(1)]
    return layers, shape, generator


def network(seed: int, inputs: int = 6, hidden: int = 4, classes: int = 3) -> Network:
    generator = np.random.default_rng(seed)
    first = FullyConnected.initial(inputs, hidden, RELU, generator)
    return Network((first, FullyConnected.initial(hidden, classes, LOG_SOFTMAX, generator)))


@pytest.mark.spec("FL-D1")
def test_features_are_what_the_last_layer_is_given_as_rows() -> None:
    generator = np.random.default_rng(1)
    convolution = Convolutional.initial(2, 3, (2, 2), RELU, generator)
    last = FullyConnected.initial(3 * 3 * 2, 5, LOG_SOFTMAX, generator)
    x = generator.normal(size=(4, 2, 4, 3))
    found = features_of(Network((convolution, last)), x)
    assert np.array_equal(found, convolution.forward(x).y.reshape(4, 18))


@pytest.mark.spec("FL-S1")
@pytest.mark.spec("FL-A1")
@given(seeds)
def test_a_network_is_its_features_followed_by_its_classifier_bit_for_bit(seed: int) -> None:
    whole, x = network(seed), np.random.default_rng(seed).normal(size=(7, 6))
    features, classifier = features_of(whole, x), classifier_of(whole)
    assert np.array_equal(classifier.scores(features), whole.features(x)[-1].z)
    assert np.array_equal(log_softmax(classifier.scores(features)), whole.forward(x))
    assert np.array_equal(classifier.predict(features), whole.forward(x).argmax(axis=1))


@pytest.mark.spec("FL-D2")
@pytest.mark.parametrize(
    ("layers", "size", "step", "start", "units"),
    [
        ([], 1, 1, 0, 20),
        ([Convolutional(np.zeros((1, 1, 5)), np.zeros(1), RELU)], 5, 1, 0, 16),
        ([Convolutional(np.zeros((1, 1, 3)), np.zeros(1), RELU, padding=1)] * 3, 7, 1, -3, 20),
        ([Convolutional(np.zeros((1, 1, 3)), np.zeros(1), RELU, dilation=4)], 9, 1, 0, 12),
        ([MaxPooling(2), MaxPooling(2)], 4, 4, 0, 5),
        (
            [AveragePooling(3, 2, 1), Convolutional(np.zeros((1, 1, 3)), np.zeros(1), RELU, padding="same")],
            7,
            2,
            -3,
            10,
        ),
    ],
)
def test_receptive_fields_are_those_computed_by_hand(
    layers: list[Layer], size: int, step: int, start: int, units: int
) -> None:
    assert receptive_field(layers, (1, 20)) == ((size,), (step,), (start,), (units,))


@pytest.mark.spec("FL-I1")
@given(stacks())
def test_pixels_outside_its_receptive_field_change_no_unit(
    problem: tuple[list[Layer], tuple[int, ...], np.random.Generator],
) -> None:
    layers, shape, generator = problem
    field, stack = receptive_field(layers, shape), Network(tuple(layers))
    x, other = generator.normal(size=(2, *shape))
    before = stack.forward(x[None])
    assert before.shape[2:] == field.units
    unit = tuple(int(generator.integers(n)) for n in field.units)
    box = tuple(
        slice(max(a + t * u, 0), max(a + t * u + n, 0))
        for a, t, u, n in zip(field.start, field.step, unit, field.size, strict=True)
    )
    changed = other.copy()
    changed[:, *box] = x[:, *box]
    assert np.allclose(stack.forward(changed[None])[0, :, *unit], before[0, :, *unit], rtol=1e-12, atol=1e-12)


@pytest.mark.spec("FL-D2")
def test_a_receptive_field_is_no_larger_than_what_is_seen() -> None:
    """Positive weights: a brighter pixel anywhere in the field makes the unit larger."""
    ones = np.ones((1, 1, 3, 2))
    layers: list[Layer] = [
        Convolutional(ones, np.zeros(1), RELU, stride=2, padding=((1, 1), (0, 1))),
        AveragePooling(2, 1),
        Convolutional(ones, np.zeros(1), RELU, dilation=1),
    ]
    field = receptive_field(layers, (1, 16, 16))
    stack = Network(tuple(layers))
    seen = np.zeros((16, 16), bool)
    dark = stack.forward(np.zeros((1, 1, 16, 16)))[0, 0, 1, 1]
    for i, j in np.ndindex(16, 16):
        x = np.zeros((1, 1, 16, 16))
        x[0, 0, i, j] = 1.0
        seen[i, j] = stack.forward(x)[0, 0, 1, 1] > dark
    want = np.zeros((16, 16), bool)
    (a, b), (s, t), (h, w) = field.start, field.step, field.size
    want[a + s : a + s + h, b + t : b + t + w] = True
    assert np.array_equal(seen, want)


@pytest.mark.spec("FL-D3")
@given(stacks())
def test_the_patch_that_excites_a_unit_excites_it_as_much_alone(
    problem: tuple[list[Layer], tuple[int, ...], np.random.Generator],
) -> None:
    """On an image that is 0 but for the patch, put back where it was, some unit answers as it did."""
    layers, shape, generator = problem
    images = generator.normal(size=(5, *shape))
    stack, field = Network(tuple(layers)), receptive_field(layers, shape)
    found = exciting(layers, images, 3)
    answers = stack.forward(images)
    largest = answers.reshape(*answers.shape[:2], -1).max(axis=2)
    for k in range(answers.shape[1]):
        order = np.argsort(-largest[:, k], kind="stable")[:3]
        assert found.images[k].tolist() == order.tolist()
        assert np.array_equal(found.answers[k], largest[order, k])
        image = order[0]
        unit = np.unravel_index(answers[image, k].argmax(), field.units)
        framed = np.pad(images[image], [(0, 0), *[(20, 20)] * len(field.units)])
        box = tuple(
            slice(20 + a + t * int(u), 20 + a + t * int(u) + n)
            for a, t, u, n in zip(field.start, field.step, unit, field.size, strict=True)
        )
        assert np.array_equal(found.patches[k, 0], framed[:, *box])


@pytest.mark.spec("FL-X1")
def test_what_lies_beyond_the_border_is_zero() -> None:
    layer = Convolutional(np.ones((1, 1, 3)), np.zeros(1), RELU, padding=1)
    found = exciting([layer], np.array([[[5.0, 4.0, 0.0, 0.0]]]), 1)
    assert found.patches.tolist() == [[[[0.0, 5.0, 4.0]]]]
    wide = Convolutional(np.ones((1, 1, 2)), np.zeros(1), RELU, padding=3)
    assert exciting([wide], np.array([[[-1.0]]]), 1).patches.tolist() == [[[[0.0, 0.0]]]]


@pytest.mark.spec("FL-D4")
@pytest.mark.spec("FL-S3")
@given(seeds, st.integers(1, 5))
def test_no_round_makes_the_distances_larger(seed: int, count: int) -> None:
    patches = np.random.default_rng(seed).normal(size=(40, 3))
    found = common_patterns(patches, count, seed=seed)
    assert found.patterns.shape == (count, 3)
    rounding = 1e-13
    assert all(b <= a * (1 + rounding) for a, b in zip(found.distances, found.distances[1:], strict=False))
    nearest = ((patches[:, None] - found.patterns) ** 2).sum(axis=2).min(axis=1)
    assert found.distances[-1] == pytest.approx(nearest.sum(), rel=rounding)


@pytest.mark.spec("FL-I2")
@given(seeds, st.integers(1, 4))
def test_where_patterns_stand_still_each_is_the_mean_of_its_patches(seed: int, count: int) -> None:
    patches = np.random.default_rng(seed).integers(-8, 9, (24, 2)).astype(np.float64)
    found = common_patterns(patches, count, rounds=200, seed=seed)
    nearest = ((patches[:, None] - found.patterns) ** 2).sum(axis=2).argmin(axis=1)
    for k in np.unique(nearest):
        assert np.allclose(found.patterns[k], patches[nearest == k].mean(axis=0), rtol=0, atol=1e-12)


@pytest.mark.spec("FL-X2")
def test_a_pattern_to_which_no_patch_is_nearest_stays() -> None:
    """After one round the other two are nearer to every patch than the second pattern."""
    rows = [[3.0, 6.0], [-5.0, -4.0], [6.0, -2.0], [3.0, 4.0], [-6.0, -4.0], [5.0, 3.0]]
    patches = np.array(rows)
    once, twice = (common_patterns(patches, 3, rounds=rounds).patterns for rounds in (1, 2))
    nearest = ((patches[:, None] - once) ** 2).sum(axis=2).argmin(axis=1)
    assert set(nearest) == {0, 2}
    assert np.array_equal(once[1], twice[1])
    assert not np.array_equal(once, twice)


@pytest.mark.spec("FL-I3")
def test_the_same_seed_finds_the_same_patterns() -> None:
    patches = np.random.default_rng(5).normal(size=(60, 4))
    first, second = common_patterns(patches, 6, seed=3), common_patterns(patches.copy(), 6, seed=3)
    assert np.array_equal(first.patterns, second.patterns)
    assert first.distances == second.distances
    assert not np.array_equal(first.patterns, common_patterns(patches, 6, seed=4).patterns)


@pytest.mark.spec("FL-D5")
@pytest.mark.spec("FL-A2")
@given(seeds, st.integers(1, 6), st.integers(1, 5))
def test_likeness_is_the_exact_one_within_its_bound(seed: int, D: int, K: int) -> None:
    draw = np.random.default_rng(seed)
    patch, patterns = draw.normal(size=D), draw.normal(size=(K, D)) * 10.0 ** draw.integers(-3, 3)
    got = likeness(patch, patterns)
    with mpmath.workdps(40):
        squares = [
            sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(patch.tolist(), row, strict=True))
            for row in patterns.tolist()
        ]
        distances = [mpmath.sqrt(mpmath.mpf(s.numerator) / s.denominator) for s in squares]
        mean = mpmath.fsum(distances) / K
        n = (D + K + 6) * mpmath.mpf(2) ** -53
        for k, d in enumerate(distances):
            assert abs(mpmath.mpf(float(got[k])) - max(0, mean - d)) <= n / (1 - n) * (mean + d)


@pytest.mark.spec("FL-C1")
def test_a_single_layer_has_no_features() -> None:
    with pytest.raises(ValueError, match="FL-C1: a network of one layer learns no features"):
        features_of(Network((FullyConnected(np.eye(2), np.zeros(2), LOG_SOFTMAX),)), np.zeros((1, 2)))


@pytest.mark.spec("FL-C2")
@pytest.mark.parametrize("layer", [FullyConnected(np.eye(2), np.zeros(2), RELU), MaxPooling(2)])
def test_another_last_layer_is_no_classifier(layer: Layer) -> None:
    with pytest.raises(TypeError, match="FL-C2: the last layer must be fully connected with log_softmax"):
        classifier_of(Network((layer,)))


@pytest.mark.spec("FL-C3")
def test_a_fully_connected_layer_sees_no_patches() -> None:
    layers = [MaxPooling(2), FullyConnected(np.eye(2), np.zeros(2), RELU)]
    with pytest.raises(TypeError, match="FL-C3: layer 1 must filter or pool, got FullyConnected"):
        receptive_field(layers, (1, 4))


@pytest.mark.spec("FL-C4")
def test_impossible_counts_are_refused() -> None:
    patches = np.array([[1.0], [1.0], [2.0]])
    for count, rounds in ((0, 1), (3, 1), (1, 0)):
        with pytest.raises(
            ValueError, match=f"FL-C4: count is {count} and rounds is {rounds}, expected at least"
        ):
            common_patterns(patches, count, rounds=rounds)
    for count in (0, 3):
        with pytest.raises(
            ValueError, match=f"FL-C4: count is {count}, expected at least 1 and at most 2 images"
        ):
            exciting([MaxPooling(1)], np.zeros((2, 1, 3)), count)


@pytest.mark.spec("FL-C5")
def test_other_patches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"FL-C5: patches must be a matrix of floats, got shape \(3,\)"):
        common_patterns(np.zeros(3), 1)
    with pytest.raises(TypeError, match="FL-C5: patches must be an array of floats, got an array of int64"):
        common_patterns(np.zeros((3, 1), np.int64), 1)
    with pytest.raises(ValueError, match=r"FL-C5: patches has shape \(2, 3\), patterns has shape \(4, 2\)"):
        likeness(np.zeros((2, 3)), np.zeros((4, 2)))
    with pytest.raises(TypeError, match="FL-C5: patches has dtype float64, patterns has dtype float32"):
        likeness(np.zeros((2, 3)), np.zeros((4, 3), np.float32))


# What units stand for


@pytest.mark.spec("FL-D6")
def test_specificity_is_that_of_all_pairs_and_equal_answers_count_by_half() -> None:
    answers = np.array([[0.0, 1.0, 5.0], [1.0, 1.0, 5.0], [2.0, 1.0, 5.0], [3.0, 9.0, 5.0]])
    belongs = np.array([False, True, False, True])
    # Pairs of one that belongs and one that does not: 1 > 0, 1 < 2, 3 > 0, 3 > 2; 1 = 1 twice, 9 > 1 twice.
    assert specificity(answers, belongs).tolist() == [0.5, 0.5, 0.0]
    assert specificity(answers, ~belongs).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.spec("FL-I4")
@given(st.integers(0, 2**32 - 1))
def test_specificity_is_of_the_order_alone(seed: int) -> None:
    draw = np.random.default_rng(seed)
    answers, belongs = draw.integers(-3, 4, (12, 4)).astype(float), np.arange(12) < draw.integers(1, 12)
    want = specificity(answers, belongs)
    assert np.all((want >= 0) & (want <= 1))
    for changed in (specificity(np.exp(answers), belongs), specificity(-answers, belongs)):
        assert np.allclose(changed, want, rtol=0, atol=1e-15)
    assert np.allclose(specificity(answers, ~belongs), want, rtol=0, atol=1e-15)


@pytest.mark.spec("FL-C6")
@pytest.mark.parametrize(
    ("answers", "belongs"),
    [
        (np.zeros(2), np.array([True, False])),
        (np.zeros((2, 1)), np.array([True])),
        (np.zeros((2, 1)), np.array([1, 0])),
        (np.zeros((2, 1)), np.array([True, True])),
        (np.full((2, 1), np.nan), np.array([True, False])),
        (np.zeros((2, 1), int), np.array([True, False])),
    ],
)
def test_answers_without_two_groups_are_refused(answers: np.ndarray, belongs: np.ndarray) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^FL-C6: "):
        specificity(answers, belongs)
