"""What is shown about deep learning is true."""

import numpy as np
import pytest

from gaugeblock.reference.deep_learning import error_signals, factor_per_layer, memory
from gaugeblock.reference.machine_learning import cross_entropy
from gaugeblock.reference.unit import LSTM
from gaugeblock.spec.demonstrations import deep_learning as shown
from gaugeblock.spec.demonstrations import recall


@pytest.mark.spec("DL-S2")
def test_the_most_informative_features_of_photographs_are_edges_and_blobs() -> None:
    """0.92 of 60 when this was written; 0.8 leaves room for what other sums in BLAS make of the training."""
    informative, principal, random = (shown.one_layer(kind) for kind in shown.KINDS)
    assert informative.described >= 0.8
    assert principal.described <= 0.5
    assert random.described == 0
    assert informative.features.shape == (shown.FEATURES, shown.SIDE**2)


@pytest.mark.spec("DL-S2")
def test_they_say_more_than_principal_components_and_these_more_than_random_features() -> None:
    informative, principal, random = (shown.one_layer(kind).information for kind in shown.KINDS)
    assert informative >= principal + 1
    assert principal >= random


@pytest.mark.spec("DL-S3")
def test_a_second_layer_leaves_at_most_half_the_errors() -> None:
    """39 and 6 of 300 when this was written."""
    found = shown.more()
    assert 2 * (1 - found.two) <= 1 - found.one
    assert found.two >= 0.95


@pytest.mark.spec("DL-S4")
def test_the_error_signal_vanishes_in_sigmoids_and_not_in_rectifiers() -> None:
    assert shown.signals("sigmoid")[-1] <= 1e-10
    assert 0.1 <= shown.signals("relu")[-1] <= 10
    assert factor_per_layer(shown.signals("sigmoid")[::-1]) <= 0.5
    assert 0.9 <= factor_per_layer(shown.signals("relu")[::-1]) <= 1.1


@pytest.mark.spec("DL-S4")
def test_sixteen_layers_of_sigmoids_learn_nothing_and_as_many_rectifiers_do() -> None:
    """One class in ten: guessing is right for 0.1 of 300, 0.16 at the most in a thousand tries."""
    assert shown.trained_accuracy(1, "sigmoid") >= 0.8
    assert shown.trained_accuracy(16, "sigmoid") <= 0.16
    assert shown.trained_accuracy(16, "relu") >= 0.8


@pytest.mark.spec("DL-S7")
def test_shallow_learners_beat_deep_sigmoids_and_rectifiers_them_where_depth_is_needed() -> None:
    """76, 25, 89 and 7 % of scattered digits when this was written."""
    shallow = [shown.shallow_accuracy(learner, still=True) for learner in (shown.MACHINE, shown.LOGISTIC)]
    assert min(shallow) >= 0.95  # sixteen layers of sigmoids guess: the test above
    best = max(shown.shallow_accuracy(learner, still=False) for learner in (shown.MACHINE, shown.LOGISTIC))
    assert 1 - shown.scattered_accuracy("relu") <= 0.75 * (1 - best)
    assert shown.scattered_accuracy("sigmoid") <= 0.16


@pytest.mark.spec("DL-S8")
def test_convolutions_read_scattered_digits_that_more_weights_without_sharing_do_not() -> None:
    """87 and 55 % when this was written."""
    parameters, unshared = shown.unshared_accuracy()
    assert parameters >= 9 * shown.scattered_network("relu").size
    assert 3 * (1 - shown.scattered_accuracy("relu")) <= 1 - unshared


@pytest.mark.spec("DL-S5")
def test_plain_recurrence_forgets_after_ten_steps_and_open_gates_after_hundreds() -> None:
    assert 5 <= shown.memory_span(shown.PLAIN) <= 20
    assert shown.memory_span(shown.GATED) > 200
    assert 5 <= shown.memory_span(shown.HALF_OPEN) <= 20


@pytest.mark.spec("DL-S6")
def test_both_recall_over_ten_steps_and_only_gates_over_two_hundred() -> None:
    """Guessing is right for 0.5 of 256, 0.6 at the most in a thousand tries; the best of three here."""
    assert min(shown.recalled(10, kind) for kind in (shown.PLAIN, shown.GATED)) >= 0.95
    assert shown.recalled(200, shown.GATED) >= 0.95
    assert shown.recalled(200, shown.PLAIN) <= 0.75


def test_swift_signals_and_memories_are_those_of_the_reference() -> None:
    draw = np.random.default_rng(0)
    layer = recall.initial(LSTM(), draw)
    x = draw.standard_normal((30, 2))
    assert np.allclose(memory(layer, x), memory(layer, x, on=shown.swift), rtol=1e-10, atol=0)
    examples = shown.parts().training[:5]
    for name in shown.ACTIVATIONS:
        network = shown.deep_network(6, name)
        want = error_signals(network, examples, cross_entropy)
        got = error_signals(network, examples, cross_entropy, on=shown.swift)
        assert np.allclose(got, want, rtol=1e-10, atol=0)


def test_a_sign_is_shown_at_the_first_step_alone_and_either_one_half_of_the_time() -> None:
    found = recall.sequences(7, 10, np.random.default_rng(3))
    assert found.inputs.shape == (10, 7, 2)
    assert np.array_equal(found.inputs[:, 0, 0], 2 * found.wanted - 1)
    assert not found.inputs[:, 1:, 0].any()
    assert found.wanted.sum() == 5


def test_an_adjustment_goes_along_the_gradient_that_differences_give() -> None:
    """The first step of Adam is the rate, with the sign of the gradient, but for the 1e-12 in it."""
    model = recall.Recaller.of(LSTM(), seed=1)
    examples = recall.sequences(4, 6, np.random.default_rng(4))
    moved = model.adjusted(examples)
    for place in ((0, 0, 0), (1, 3, 1), (3, 7, 0)):
        errors = []
        for sign in (1, -1):
            weights = model.layer.weights.copy()
            weights[place] += sign * 1e-6
            layer = model.layer.with_parameters({"weights": weights})
            errors.append(recall.replace(model, layer=layer).error(examples))
        step = moved.layer.weights[place] - model.layer.weights[place]
        assert step == pytest.approx(-model.rate * np.sign(errors[0] - errors[1]), rel=1e-4)


def test_patches_are_real_vary_and_have_no_mean() -> None:
    patches = shown.image_patches()
    assert patches.shape == (shown.PATCHES, shown.SIDE**2)
    assert np.abs(patches.mean(axis=0)).max() <= 1e-12
    assert patches.std() >= 0.02
