"""One informative layer, and signals through many: what page 4 says of the reference."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference.deep_learning import (
    blob_share,
    edge_share,
    error_signals,
    factor_per_layer,
    information,
    memory,
    most_informative,
    span,
    whitening,
)
from gaugeblock.reference.layer import FullyConnected, Recurrent
from gaugeblock.reference.machine_learning import Examples, squared_error
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import LSTM, Activation

seeds = st.integers(0, 2**32 - 1)
few = st.integers(0, 9)
"""Seeds of problems that take long."""
SHAPE = (9, 11)


def places() -> tuple[np.ndarray, np.ndarray]:
    r, c = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return r - 4.0, c - 5.0


@pytest.mark.spec("DL-D1")
@pytest.mark.spec("DL-A1")
@given(seeds, st.integers(1, 6))
def test_whitened_patches_are_uncorrelated_and_of_variance_one(seed: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    patches = draw.normal(size=(80, 6)) @ draw.normal(size=(6, 6))
    patches -= patches.mean(axis=0)
    variances = np.sort(np.linalg.eigvalsh(patches.T @ patches / 80))[::-1]
    inputs = patches @ whitening(patches, count)
    bound = 36 * 2.0**-50 * variances[0] / variances[count - 1]
    assert np.max(np.abs(inputs.T @ inputs / 80 - np.eye(count))) <= bound


@pytest.mark.spec("DL-D1")
def test_whitening_begins_with_the_direction_of_the_largest_variance() -> None:
    patches = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    first = whitening(patches, 1)[:, 0]
    assert np.allclose(abs(first), [math.sqrt(2) / 5, 0.0], rtol=1e-14, atol=1e-14)


@pytest.mark.spec("DL-D2")
@pytest.mark.parametrize("w", [0.5, 1.0, 3.0])
def test_information_is_the_gain_of_entropy_as_integrals_say(w: float) -> None:
    """For one input with the density of the logistic distribution, H(x) = 2, and W = 1 makes y uniform."""
    p = (np.arange(200000) + 0.5) / 200000
    x = np.log(p / (1 - p))
    y = np.sort(1 / (1 + np.exp(-w * x)))
    spacing = np.diff(y) * 200000
    of_outputs = float(np.mean(np.log(spacing)))
    assert information(np.array([[w]]), x[:, None]) == pytest.approx(of_outputs - 2, abs=2e-3)


@pytest.mark.spec("DL-I1")
@given(seeds, st.integers(1, 4))
def test_information_of_another_view_differs_by_its_determinant(seed: int, K: int) -> None:
    draw = np.random.default_rng(seed)
    x, weights = draw.normal(size=(30, K)), draw.normal(size=(K, K))
    view = draw.normal(size=(K, K)) + 3 * np.eye(K)
    left = information(weights, x @ view)
    right = information(view @ weights, x) - np.linalg.slogdet(view)[1]
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)
    order = draw.permutation(K)
    assert information(weights[:, order], x) == pytest.approx(information(weights, x), rel=1e-12)


@pytest.mark.spec("DL-X1")
def test_information_of_singular_weights_is_minus_infinity() -> None:
    assert information(np.zeros((2, 2)), np.ones((3, 2))) == -math.inf


@pytest.mark.spec("DL-S1")
def test_one_adjustment_is_the_natural_gradient_computed_by_differences() -> None:
    """From the unit matrix W = I, the natural gradient (∂I/∂W) WᵀW is the gradient itself."""
    x = np.random.default_rng(3).normal(size=(50, 3))
    step = most_informative(x, rounds=1, batch=50, rate=1e-3) - np.eye(3)
    for index in np.ndindex(3, 3):
        nudge = np.zeros((3, 3))
        nudge[index] = 1e-5
        slope = (information(np.eye(3) + nudge, x) - information(np.eye(3) - nudge, x)) / 2e-5
        assert step[index] == pytest.approx(1e-3 * slope, abs=1e-9)


@pytest.mark.spec("DL-S1")
@given(few)
def test_a_mixture_of_rare_causes_is_taken_apart(seed: int) -> None:
    """Every unit listens to one cause: the others have less than a fifth of its weight."""
    draw = np.random.default_rng(seed)
    causes = draw.laplace(size=(3000, 3))
    x = causes @ draw.normal(size=(3, 3))
    x -= x.mean(axis=0)
    white = whitening(x, 3)
    found = most_informative(x @ white, rounds=40, rate=0.1, seed=seed)
    heard = np.abs(np.linalg.lstsq(causes, x @ white @ found, rcond=None)[0])
    heard = np.sort(heard / heard.max(axis=0), axis=0)
    assert np.max(heard[:2]) <= 0.2


@pytest.mark.spec("DL-I4")
def test_the_same_seed_gives_the_same_features() -> None:
    x = np.random.default_rng(4).laplace(size=(300, 3))
    assert np.array_equal(most_informative(x, seed=2), most_informative(x.copy(), seed=2))
    assert not np.array_equal(most_informative(x, seed=2), most_informative(x, seed=3))


@pytest.mark.spec("DL-D3")
@pytest.mark.spec("DL-I2")
@given(few)
def test_an_edge_is_nearly_all_edge_and_stays_it_when_scaled_and_shifted(seed: int) -> None:
    draw = np.random.default_rng(seed)
    r, c = places()
    r, c = r - draw.uniform(-2, 2), c - draw.uniform(-2, 2)
    turn, f, phase = draw.uniform(0, np.pi), draw.uniform(0.08, 0.35), draw.uniform(0, 2 * np.pi)
    a, b = c * np.cos(turn) + r * np.sin(turn), r * np.cos(turn) - c * np.sin(turn)
    s, t = draw.uniform(1.2, 3, 2)
    edge = np.exp(-(a**2) / (2 * s**2) - b**2 / (2 * t**2)) * np.cos(2 * np.pi * f * a + phase)
    found = edge_share(np.stack([edge.ravel(), 7 - 3 * edge.ravel()]), SHAPE)
    assert 0.95 <= found.min() <= found.max() <= 1
    assert found[0] == pytest.approx(found[1], abs=1e-3)


@pytest.mark.spec("DL-D4")
@pytest.mark.spec("DL-I2")
@given(few)
def test_a_spot_with_a_surround_is_nearly_all_blob(seed: int) -> None:
    draw = np.random.default_rng(seed)
    r, c = places()
    squared = (r - draw.uniform(-2, 2)) ** 2 + (c - draw.uniform(-2, 2)) ** 2
    s, q, surround = draw.uniform(1, 2), draw.uniform(1.5, 3), draw.uniform(0, 0.5)
    blob = np.exp(-squared / (2 * s**2)) - surround * np.exp(-squared / (2 * (q * s) ** 2))
    found = blob_share(np.stack([blob.ravel(), 5 * blob.ravel() - 1]), SHAPE)
    assert 0.98 <= found.min() <= found.max() <= 1


@pytest.mark.spec("DL-D3")
def test_noise_is_neither_edge_nor_blob() -> None:
    noise = np.random.default_rng(5).normal(size=(20, 99))
    assert np.max(edge_share(noise, SHAPE)) <= 0.5
    assert np.max(blob_share(noise, SHAPE)) <= 0.5


@pytest.mark.spec("DL-X2")
@pytest.mark.parametrize("share", [edge_share, blob_share])
def test_a_feature_that_is_the_same_everywhere_has_no_share(share: Callable[..., np.ndarray]) -> None:
    assert share(np.array([[0.0] * 99, [0.3] * 99]), SHAPE).tolist() == [0, 0]


def chain(seed: int, activation: str, depth: int = 4) -> tuple[Network, Examples]:
    draw = np.random.default_rng(seed)
    layers = [FullyConnected(draw.normal(size=(5, 5)), draw.normal(size=5), Activation(activation))] * depth
    return Network(tuple(layers)), Examples(draw.normal(size=(3, 5)), draw.normal(size=(3, 5)))


@pytest.mark.spec("DL-D5")
@pytest.mark.spec("DL-A2")
@given(few)
def test_the_signal_at_a_layer_is_the_length_of_the_differences_there(seed: int) -> None:
    network, examples = chain(seed, "tanh")
    signals = error_signals(network, examples, squared_error)
    given_to = [passed.x for passed in network.features(examples.inputs)]
    for index in (0, 2):
        rest = Network(network.layers[index:])
        slopes = []
        for place in np.ndindex(3, 5):
            nudge = np.zeros((3, 5))
            nudge[place] = 1e-5
            errors = [
                squared_error(rest.forward(given_to[index] + s * nudge), examples.wanted)[0] for s in (1, -1)
            ]
            slopes.append((errors[0] - errors[1]) / 2e-5)
        assert signals[index] == pytest.approx(np.linalg.norm(slopes), rel=1e-5, abs=1e-9)
    last = squared_error(network.forward(examples.inputs), examples.wanted)[1]
    assert signals[-1] == pytest.approx(np.linalg.norm(last), rel=1e-14)


@pytest.mark.spec("DL-I3")
@pytest.mark.parametrize(("activation", "most"), [("sigmoid", 0.25), ("relu", 1.0)])
@given(seeds)
def test_a_layer_hands_back_at_most_its_steepest_slope_times_its_weights(
    activation: str, most: float, seed: int
) -> None:
    network, examples = chain(seed, activation)
    signals = error_signals(network, examples, squared_error)
    norm = np.linalg.norm(network.layers[0].parameters["weights"], 2)
    assert (signals[:-1] <= most * norm * signals[1:] * (1 + 1e-12)).all()


@pytest.mark.spec("DL-D5")
@given(st.floats(1e-3, 1e3), st.integers(2, 40))
def test_a_geometric_signal_has_its_own_factor(factor: float, count: int) -> None:
    signals = factor ** np.arange(count, 0.0, -1.0)
    assert factor_per_layer(signals) == pytest.approx(factor, rel=1e-10)


@pytest.mark.spec("DL-D6")
@pytest.mark.spec("DL-A2")
@pytest.mark.parametrize("unit", [Activation("tanh"), LSTM()], ids=["plain", "lstm"])
@given(few)
def test_memory_is_the_norm_of_the_differences(unit: Any, seed: int) -> None:
    draw = np.random.default_rng(seed)
    layer = Recurrent.initial(2, 3, unit, draw)
    x = draw.normal(size=(5, 2))
    got = memory(layer, x)
    assert got.shape == (5,)
    for lag in range(5):
        jacobian = []
        for d in range(2):
            nudge = np.zeros((5, 2))
            nudge[4 - lag, d] = 1e-5
            ahead, behind = (layer.forward((x + s * nudge)[None]).y[0, -1] for s in (1, -1))
            jacobian.append((ahead - behind) / 2e-5)
        assert got[lag] == pytest.approx(np.linalg.norm(jacobian), rel=1e-5, abs=1e-9)


@pytest.mark.spec("DL-D7")
@pytest.mark.parametrize(
    ("lengths", "share", "steps"),
    [
        ([1.0, 0.5, 0.25, 0.125], 0.25, 2),
        ([1.0, 0.5, 0.25, 0.125], 0.1, 4),
        ([4.0, 0.01, 4.0], 0.01, 1),
        ([2.0], 0.5, 1),
    ],
)
def test_a_span_ends_where_the_memory_first_is_no_more_than_the_share(
    lengths: list[float], share: float, steps: int
) -> None:
    assert span(np.array(lengths), share) == steps


@pytest.mark.spec("DL-X3")
def test_nothing_and_nan_are_no_more_than_any_share() -> None:
    assert span(np.array([1.0, 0.5, np.nan, 0.5])) == 2
    assert span(np.array([1.0, 0.0]), share=0.0) == 1
    assert span(np.array([0.0, 0.0])) == 0


@pytest.mark.spec("DL-C1")
@pytest.mark.parametrize(
    "call",
    [
        lambda a: whitening(a, 1),
        lambda a: most_informative(a),
        lambda a: information(np.eye(2), a),
        lambda a: information(a, np.eye(2)),
        lambda a: edge_share(a, (1, 2)),
        lambda a: blob_share(a, (1, 2)),
    ],
)
def test_what_is_no_matrix_of_finite_floats_is_refused(call: Callable[[Any], Any]) -> None:
    for bad in (np.zeros(2), np.zeros((0, 2)), np.array([[np.nan, 1.0]]), np.array([[np.inf, 1.0]])):
        with pytest.raises(ValueError, match=r"DL-C1: \w+ must be a matrix of finite floats"):
            call(bad)
    with pytest.raises(TypeError, match=r"DL-C1: \w+ must be an array of floats"):
        call(np.ones((2, 2), int))


@pytest.mark.spec("DL-C1")
def test_patches_with_a_mean_are_not_whitened() -> None:
    with pytest.raises(ValueError, match="DL-C1: patches must have columns of mean 0"):
        whitening(np.array([[1.0, 2.0], [1.0, -2.0]]), 1)


@pytest.mark.spec("DL-C2")
def test_impossible_counts_and_rates_are_refused() -> None:
    patches = np.array([[1.0, 2.0], [-1.0, -2.0]])
    for count in (0, 2):
        with pytest.raises(ValueError, match=f"DL-C2: count is {count}, expected at least 1 and at most 1"):
            whitening(patches, count)
    for options in ({"rounds": 0}, {"batch": 0}, {"rate": 0.0}, {"rate": 2.0}, {"rate": np.nan}):
        with pytest.raises(ValueError, match="DL-C2: rounds is"):
            most_informative(patches, **options)


@pytest.mark.spec("DL-C3")
@pytest.mark.parametrize("shape", [(2, 3), (3, 3)])
def test_weights_that_do_not_fit_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"DL-C3: weights has shape"):
        information(np.ones(shape), np.ones((4, 2)))


@pytest.mark.spec("DL-C4")
@pytest.mark.parametrize("share", [edge_share, blob_share])
def test_features_of_another_size_are_refused(share: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ValueError, match="DL-C4: features has 12 pixels, expected 3 × 3"):
        share(np.ones((2, 12)), (3, 3))


@pytest.mark.spec("DL-C5")
@pytest.mark.parametrize("signals", [[1.0], [1.0, 0.0], [1.0, np.nan], [-1.0, 1.0]])
def test_lengths_without_a_factor_are_refused(signals: list[float]) -> None:
    with pytest.raises(ValueError, match="DL-C5: signals must be at least two lengths, all positive"):
        factor_per_layer(np.array(signals))


@pytest.mark.spec("DL-C6")
@pytest.mark.parametrize("shape", [(0, 2), (3,), (1, 3, 2)])
def test_what_is_no_sequence_is_refused(shape: tuple[int, ...]) -> None:
    layer = Recurrent.initial(2, 3, LSTM(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="DL-C6: x has shape"):
        memory(layer, np.zeros(shape))
