"""Binary logistic regression: the best weights, found exactly, or the reason why there are none."""

from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from gaugeblock.reference import log_softmax
from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.logistic_regression import BinaryModel, Model, fit, fit_binary
from gaugeblock.reference.machine_learning import Examples, cross_entropy
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import Activation

U = 2.0**-53
MEASURES = ("mean texture", "mean area", "mean smoothness", "mean concavity")


@dataclass(frozen=True)
class Data:
    """Examples and their classes."""

    X: np.ndarray
    labels: np.ndarray


@st.composite
def overlapping(draw: st.DrawFn) -> Data:
    """Draw data that nothing separates: every distinct example occurs in both classes.

    No weights can put both copies on their right sides, so all scores would have to be zero.
    """
    N, D = draw(st.integers(2, 8)), draw(st.integers(1, 3))
    values = st.integers(-80, 80).map(lambda n: n / 8)
    rows = draw(st.lists(st.lists(values, min_size=D, max_size=D), min_size=N, max_size=N))
    counts = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=N, max_size=N))
    X = [row for row, (zeros, ones) in zip(rows, counts, strict=True) for _ in range(zeros + ones)]
    labels = [label for zeros, ones in counts for label in [0] * zeros + [1] * ones]
    return Data(np.array(X), np.array(labels))


@pytest.fixture(scope="module")
def tumours() -> Data:
    data = load_breast_cancer()
    columns = [list(data.feature_names).index(name) for name in MEASURES]
    return Data(data.data[:, columns], data.target)


def exact_errors(model: BinaryModel, data: Data) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Return p − y of every example with 40 digits, and |p − y| and p (1 − p) as floats."""
    with mpmath.workdps(40):
        errors = []
        for row, label in zip(data.X.tolist(), data.labels.tolist(), strict=True):
            score = mpmath.mpf(model.bias) + sum(
                mpmath.mpf(x) * w for x, w in zip(row, model.weights.tolist(), strict=True)
            )
            errors.append(1 / (1 + mpmath.exp(-score)) - label)
        sizes = np.array([abs(float(error)) for error in errors])
        return errors, sizes, sizes * (1 - sizes)


def gradient_and_bound(model: BinaryModel, data: Data, penalty: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return N ∂L in the weights and the bias, exactly, and the bound of LR-A1."""
    N, D = data.X.shape
    errors, sizes, slopes = exact_errors(model, data)
    inputs = np.hstack([data.X, np.ones((N, 1))])
    pulls = N * penalty * np.append(model.weights, 0.0)
    with mpmath.workdps(40):
        gradient = [
            float(sum(mpmath.mpf(x) * e for x, e in zip(column.tolist(), errors, strict=True)) + pull)
            for column, pull in zip(inputs.T, pulls.tolist(), strict=True)
        ]
    S = np.abs(inputs) @ np.abs(np.append(model.weights, model.bias))
    bound = U * (np.abs(inputs).T @ ((N + 8) * sizes + (D + 8) * slopes * S) + 4 * np.abs(pulls))
    return np.array(gradient), bound


def satisfies(model: BinaryModel, data: Data, penalty: float = 0.0, times: int = 1) -> bool:
    gradient, bound = gradient_and_bound(model, data, penalty)
    return bool((np.abs(gradient) <= times * bound).all())


def with_weights(model: BinaryModel, weights: np.ndarray, bias: float) -> BinaryModel:
    return BinaryModel(weights, bias, model.weight_errors, model.bias_error, 0.0, 0, True)


# ------------------------------------------------------------------------------------------------------------
# The best weights.


@pytest.mark.spec("LR-A1")
@pytest.mark.spec("LR-S6")
@given(overlapping(), st.sampled_from([0.0, 2.0**-20, 0.125]))
def test_at_the_solution_the_gradient_is_zero_as_far_as_float64_can_tell(data: Data, penalty: float) -> None:
    model = fit_binary(data.X, data.labels, penalty=penalty)
    assert model.converged
    assert satisfies(model, data, penalty)


@pytest.mark.spec("LR-A1")
@pytest.mark.parametrize("overlap", [1e-2, 1e-6, 1e-10])
def test_even_where_a_hair_keeps_the_classes_from_being_separable(overlap: float) -> None:
    x = np.append(np.linspace(-1, 1, 40), [overlap, -overlap])
    data = Data(x[:, None], np.append(x[:40] > 0, [False, True]).astype(int))
    model = fit_binary(data.X, data.labels)
    assert model.converged
    assert satisfies(model, data)


@pytest.mark.spec("LR-A1")
@pytest.mark.parametrize("scales", [(1e-6, 1e6), (1e3, 1e-3)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_features_of_very_different_sizes_are_weighed_as_well(
    scales: tuple[float, float], offset: float
) -> None:
    draw = np.random.default_rng(4)
    data = Data(draw.normal(size=(30, 2)) * scales + offset, draw.integers(0, 2, 30))
    model = fit_binary(data.X, data.labels)
    assert model.converged
    assert satisfies(model, data)


@pytest.mark.spec("LR-S6")
def test_two_groups_have_the_odds_that_were_counted() -> None:
    X = np.repeat([[0.0], [1.0]], [7, 9], axis=0)
    labels = np.array([1] * 2 + [0] * 5 + [1] * 6 + [0] * 3)
    model = fit_binary(X, labels)
    assert model.bias == pytest.approx(np.log(2 / 5), rel=1e-14)
    assert model.weights[0] == pytest.approx(np.log(6 / 3) - np.log(2 / 5), rel=1e-14)
    # The variance of the logarithm of odds is the sum of the reciprocal counts (Woolf 1955).
    assert model.bias_error == pytest.approx((1 / 2 + 1 / 5) ** 0.5, rel=1e-13)
    assert model.weight_errors[0] == pytest.approx((1 / 2 + 1 / 5 + 1 / 6 + 1 / 3) ** 0.5, rel=1e-13)


@pytest.mark.spec("LR-S6")
def test_without_features_the_probability_is_the_share_of_class_1() -> None:
    model = fit_binary(np.empty((8, 0)), np.array([1, 1, 1, 0, 0, 0, 0, 0]))
    assert model.predict_probability(np.empty((1, 0)))[0] == pytest.approx(3 / 8, rel=1e-15)


@pytest.mark.spec("LR-S6")
def test_too_few_steps_do_not_converge_and_say_so(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels, max_steps=3)
    assert (model.steps, model.converged) == (3, False)
    assert not satisfies(model, tumours)


@pytest.mark.spec("LR-S2")
def test_the_probability_is_the_sigmoid_and_its_odds_are_multiplied_by_e_to_the_weight() -> None:
    model = with_weights(fit_binary(np.ones((2, 1)), np.array([0, 1])), np.array([np.log(3)]), 0.0)
    p = model.predict_probability(np.array([[0.0], [1.0], [2.0]]))
    assert p / (1 - p) == pytest.approx([1, 3, 9], rel=1e-14)


@pytest.mark.spec("LR-S3")
def test_class_1_is_predicted_where_its_score_is_positive() -> None:
    model = with_weights(fit_binary(np.ones((2, 1)), np.array([0, 1])), np.array([1.0]), -2.0)
    assert model.predict(np.array([[1.0], [2.0], [np.nextafter(2.0, 3.0)]])).tolist() == [0, 0, 1]


@pytest.mark.spec("LR-S7")
@given(overlapping(), st.sampled_from([0.0, 0.125]))
def test_standard_errors_are_those_of_the_inverse_information(data: Data, penalty: float) -> None:
    N, D = data.X.shape
    inputs = np.hstack([data.X, np.ones((N, 1))])
    model = fit_binary(data.X, data.labels, penalty=penalty)
    p = model.predict_probability(data.X)
    information = inputs.T @ (inputs * (p * (1 - p))[:, None]) + N * penalty * np.diag([1.0] * D + [0.0])
    if np.linalg.cond(information) <= 1e8:
        wanted = np.sqrt(np.diagonal(np.linalg.inv(information)))
        assert np.append(model.weight_errors, model.bias_error) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.spec("LR-S7")
def test_an_interval_reaches_as_many_standard_errors_as_the_normal_distribution_says(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels)
    for confidence in (0.5, 0.95, 0.999):
        low, high = model.intervals(confidence).T
        share = NormalDist().cdf((high[0] - model.weights[0]) / model.weight_errors[0])
        assert share == pytest.approx((1 + confidence) / 2, rel=1e-12)
        assert (low + high) / 2 == pytest.approx(model.weights, rel=1e-12)


@pytest.mark.spec("LR-S7")
def test_95_percent_intervals_cover_the_truth_about_95_times_of_100() -> None:
    draw = np.random.default_rng(7)
    truth, covered = 0.7, 0
    for _ in range(150):
        X = draw.normal(size=(150, 1))
        labels = (draw.random(150) < 1 / (1 + np.exp(-truth * X[:, 0] + 0.3))).astype(int)
        low, high = fit_binary(X, labels).intervals()[0]
        covered += low <= truth <= high
    # 150 trials have a standard deviation of 2.7; Wald's intervals are right up to terms of 1/N.
    assert 142.5 - 11 <= covered < 150


@pytest.mark.spec("LR-S8")
@given(overlapping())
def test_the_log_likelihood_is_that_of_the_right_classes(data: Data) -> None:
    model = fit_binary(data.X, data.labels, penalty=0.125)
    p = model.predict_probability(data.X)
    wanted = np.log(np.where(data.labels == 1, p, 1 - p)).sum()
    assert model.log_likelihood <= 0
    assert model.log_likelihood == pytest.approx(wanted, rel=1e-12)


# ------------------------------------------------------------------------------------------------------------
# Real data, and others' implementations.


@pytest.mark.spec("LR-A2")
def test_the_weights_of_four_measures_of_tumours_are_those_that_40_digits_give(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels)
    assert satisfies(model, tumours)
    with mpmath.workdps(40):
        theta = mpmath.matrix([*model.weights.tolist(), model.bias])
        rows = [mpmath.matrix([*row, 1.0]) for row in tumours.X.tolist()]
        for _ in range(3):  # Newton's method, as in a textbook; the start is right to 15 digits
            gradient, curvature = mpmath.zeros(5, 1), mpmath.zeros(5, 5)
            for x, y in zip(rows, tumours.labels.tolist(), strict=True):
                p = 1 / (1 + mpmath.exp(-(x.T * theta)[0]))
                gradient += (p - y) * x
                curvature += p * (1 - p) * (x * x.T)
            theta -= mpmath.lu_solve(curvature, gradient)
        assert mpmath.norm(gradient) <= mpmath.mpf(10) ** -25
        inverse = np.array(mpmath.inverse(curvature).tolist(), float)
        off = np.array(
            [float(t - g) for t, g in zip(theta, [*model.weights.tolist(), model.bias], strict=True)]
        )
    # The distance is the inverse curvature times the gradient that LR-A1 allows.
    _, bound = gradient_and_bound(model, tumours)
    assert (np.abs(off) <= np.abs(inverse) @ bound).all()


@pytest.mark.spec("LR-A2")
def test_scikit_learn_finds_the_same_weights(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels)
    peer = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    peer.fit(tumours.X, tumours.labels)
    assert model.weights == pytest.approx(peer.coef_[0], rel=1e-8)
    assert model.bias == pytest.approx(peer.intercept_[0], rel=1e-8)


def test_a_penalty_is_that_of_scikit_learn_divided_by_the_number_of_examples(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels, penalty=1 / len(tumours.X))
    peer = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    peer.fit(tumours.X, tumours.labels)
    assert model.weights == pytest.approx(peer.coef_[0], rel=1e-8)


# ------------------------------------------------------------------------------------------------------------
# Data without best weights, or with many.


def separable(data: Data) -> bool:
    """Ask a linear program: the largest sum of margins in a box is 0 unless something separates."""
    inputs = np.hstack([data.X, np.ones((len(data.X), 1))])
    margins = (2 * data.labels - 1)[:, None] * inputs
    limits = [(-1, 1)] * inputs.shape[1]
    found = linprog(-margins.sum(axis=0), A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=limits)
    return bool(-found.fun > 1e-7)


@pytest.mark.spec("LR-D1")
@pytest.mark.spec("LR-C4")
def test_data_are_refused_exactly_where_a_linear_program_separates_them() -> None:
    draw, verdicts = np.random.default_rng(8), []
    for _ in range(150):
        N, D = draw.integers(4, 14), draw.integers(1, 4)
        X = draw.integers(-2, 3, (N, D)) if draw.integers(2) else draw.normal(size=(N, D))
        labels = draw.integers(0, 2, N)
        labels[:2] = 0, 1
        data = Data(X.astype(float), labels)
        verdicts.append(separable(data))
        if verdicts[-1]:
            with pytest.raises(ValueError, match=r"LR-C4: X must not separate the two classes"):
                fit_binary(data.X, data.labels)
        else:
            assert fit_binary(data.X, data.labels).converged
    assert 30 <= sum(verdicts) <= 120  # both happen often


@pytest.mark.spec("LR-D1")
@pytest.mark.spec("LR-C4")
def test_a_point_of_both_classes_at_the_mean_of_all_does_not_hide_the_separation() -> None:
    with pytest.raises(ValueError, match=r"^LR-C4: X must not separate the two classes unless"):
        fit_binary(np.array([[1.0], [0.0], [1.0], [1.0], [2.0], [1.0]]), np.array([0, 1, 0, 1, 0, 0]))


@pytest.mark.spec("LR-D1")
@pytest.mark.spec("LR-C4")
@pytest.mark.parametrize("far", [6.0, 1e6])
def test_classes_that_touch_in_one_point_are_separable_however_far_the_others_are(far: float) -> None:
    X = np.array([[1.0], [2.0], [3.0], [3.0], [4.0], [far]])
    with pytest.raises(ValueError, match=r"^LR-C4: X must not separate the two classes unless"):
        fit_binary(X, np.array([0, 0, 0, 1, 1, 1]))


@pytest.mark.spec("LR-X1")
def test_a_penalty_makes_the_weights_of_separable_classes_finite_and_a_larger_one_small() -> None:
    data = Data(np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1]))
    weights = []
    for penalty in (1e-12, 1e-6, 1.0):
        model = fit_binary(data.X, data.labels, penalty=penalty)
        assert model.converged
        assert satisfies(model, data, penalty)
        weights.append(model.weights[0])
    assert weights == sorted(weights, reverse=True)
    assert 0 < weights[-1] < 1 < weights[0] < 100


@pytest.mark.spec("LR-X2")
@pytest.mark.spec("LR-C4")
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_one_class_alone_is_refused_with_and_without_a_penalty(label: int, penalty: float) -> None:
    with pytest.raises(ValueError, match=f"LR-C4: labels must hold both classes, got nothing but {label}"):
        fit_binary(np.ones((3, 1)), np.full(3, label), penalty=penalty)


@pytest.mark.spec("LR-X3")
@given(overlapping(), st.sampled_from([0.0, 0.1, -3.0]))
def test_a_constant_feature_has_weight_0_and_leaves_the_others_as_they_are(data: Data, value: float) -> None:
    alone = fit_binary(data.X, data.labels)
    model = fit_binary(np.hstack([data.X, np.full((len(data.X), 1), value)]), data.labels)
    assert model.weights[-1] == 0.0
    assert satisfies(with_weights(model, model.weights[:-1], model.bias), data, times=2)
    assert model.weight_errors[-1] == np.inf
    assert (model.bias_error == np.inf) == (value != 0 or alone.bias_error == np.inf)
    for error, before in zip(model.weight_errors[:-1], alone.weight_errors, strict=True):
        assert error == before or error == pytest.approx(before, rel=1e-6)


@pytest.mark.spec("LR-X3")
def test_a_feature_that_occurs_twice_has_half_the_weight_each_time() -> None:
    draw = np.random.default_rng(9)
    X, labels = draw.normal(size=(30, 2)), draw.integers(0, 2, 30)
    once, twice = fit_binary(X, labels), fit_binary(X[:, [0, 1, 1]], labels)
    assert twice.weights == pytest.approx(once.weights[[0, 1, 1]] * [1, 0.5, 0.5], rel=1e-12)
    assert twice.weight_errors[0] == pytest.approx(once.weight_errors[0], rel=1e-12)
    assert twice.bias_error == pytest.approx(once.bias_error, rel=1e-12)
    assert twice.weight_errors[1:].tolist() == [np.inf, np.inf]


@pytest.mark.spec("LR-X3")
def test_more_features_than_examples_leave_no_best_weights_but_with_a_penalty() -> None:
    draw = np.random.default_rng(10)
    X, labels = draw.normal(size=(5, 9)), np.array([0, 1, 0, 1, 1])
    with pytest.raises(ValueError, match="LR-C4"):
        fit_binary(X, labels)
    model = fit_binary(X, labels, penalty=0.1)
    assert model.converged
    assert satisfies(model, Data(X, labels), 0.1)


@pytest.mark.spec("LR-X4")
def test_nan_and_infinities_stay_in_their_example() -> None:
    model = with_weights(fit_binary(np.ones((2, 1)), np.array([0, 1])), np.array([2.0]), 1.0)
    p = model.predict_probability(np.array([[-0.5], [np.nan], [np.inf], [-np.inf], [-0.5]]))
    assert p[[0, 2, 3, 4]].tolist() == [0.5, 1.0, 0.0, 0.5]
    assert np.isnan(p[1])


# ------------------------------------------------------------------------------------------------------------
# Invariants.


@pytest.mark.spec("LR-I1")
@given(overlapping(), st.sampled_from([2.0**-30, 0.5, 8.0]))
def test_a_feature_twice_as_large_has_half_the_weight_bit_for_bit(data: Data, factor: float) -> None:
    model = fit_binary(data.X, data.labels)
    scale = np.ones(data.X.shape[1])
    scale[0] = factor
    other = fit_binary(data.X * scale, data.labels)
    assert np.array_equal(other.weights, model.weights / scale)
    assert np.array_equal(other.weight_errors, model.weight_errors / scale)
    assert other.bias == model.bias
    assert np.array_equal(other.predict_probability(data.X * scale), model.predict_probability(data.X))


@pytest.mark.spec("LR-I1")
@given(overlapping(), st.sampled_from([3.0, -1.0, -0.1]))
def test_any_other_factor_divides_the_weight(data: Data, factor: float) -> None:
    scale = np.ones(data.X.shape[1])
    scale[0] = factor
    other = fit_binary(data.X * scale, data.labels)
    assert satisfies(with_weights(other, other.weights * scale, other.bias), data, times=2)


@pytest.mark.spec("LR-I2")
@given(overlapping(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(data: Data, random: Any) -> None:
    order = list(range(len(data.X)))
    random.shuffle(order)
    assert satisfies(fit_binary(data.X[order], data.labels[order]), data, times=2)


@pytest.mark.spec("LR-I3")
@given(overlapping())
def test_exchanging_the_labels_changes_the_signs_of_the_weights_bit_for_bit(data: Data) -> None:
    model, other = fit_binary(data.X, data.labels), fit_binary(data.X, 1 - data.labels)
    assert np.array_equal(other.weights, -model.weights)
    assert other.bias == -model.bias
    assert np.array_equal(other.weight_errors, model.weight_errors)
    assert other.log_likelihood == model.log_likelihood


@pytest.mark.spec("LR-I4")
def test_a_network_without_a_hidden_layer_computes_the_same_probabilities(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels)
    network = Network(
        (FullyConnected(model.weights[:, None], np.array([model.bias]), Activation("sigmoid")),)
    )
    assert np.array_equal(network.forward(tumours.X)[:, 0], model.predict_probability(tumours.X))
    both = model.as_multinomial()
    network = Network((FullyConnected(both.weights, both.bias, Activation("softmax")),))
    assert np.array_equal(network.forward(tumours.X), both.predict_probability(tumours.X))


@pytest.mark.spec("LR-I4")
def test_the_error_signal_of_that_network_is_zero_at_the_best_weights(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels)
    both = model.as_multinomial()
    network = Network((FullyConnected(both.weights, both.bias, Activation("log_softmax")),))
    found = network.gradients(Examples(tumours.X, tumours.labels), cross_entropy).parameters[0]
    N = len(tumours.X)
    _, bound = gradient_and_bound(model, tumours)
    # Its own sums round once more as much, for each of the two columns.
    assert (np.abs(N * found["weights"]) <= 3 * bound[:-1, None]).all()
    assert (np.abs(N * found["bias"]) <= 3 * bound[-1]).all()


ON_THE_BOUNDARY = Data(
    np.array([[0, 0], [0, 0], [0, 1], [0, 1], [0, 1], [3, 1], [3, 1]]) / 8, np.array([0, 1, 0, 1, 1, 0, 1])
)
"""The best weights make the score of the last two exactly 0; their products, in two orders, are not."""


@pytest.mark.spec("LR-I5")
@given(overlapping())
@example(ON_THE_BOUNDARY)
def test_as_two_classes_of_several_it_has_the_same_probabilities(data: Data) -> None:
    model = fit_binary(data.X, data.labels)
    p, several = model.predict_probability(data.X), model.as_multinomial().predict_probability(data.X)
    rounding = 8 * np.spacing(p)
    assert (np.abs(several[:, 1] - p) <= rounding).all()
    agree = model.as_multinomial().predict(data.X) == model.predict(data.X)
    assert agree[np.abs(p - 0.5) > rounding].all()


@pytest.mark.spec("LR-I5")
@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_the_classifier_of_several_classes_approaches_the_best_weights_of_two(penalty: float) -> None:
    draw = np.random.default_rng(11)
    X, labels = draw.normal(size=(60, 3)), draw.integers(0, 2, 60)
    model = fit_binary(X, labels, penalty=penalty)
    several = fit(X, labels, steps=300, penalty=2 * penalty)
    assert several.weights[:, 1] - several.weights[:, 0] == pytest.approx(model.weights, rel=1e-9)
    assert several.predict_probability(X)[:, 1] == pytest.approx(model.predict_probability(X), rel=1e-9)


@pytest.mark.spec("LR-I6")
@given(overlapping(), st.sampled_from([1.0, -100.0]))
def test_shifting_a_feature_moves_the_bias_alone(data: Data, shift: float) -> None:
    other = fit_binary(data.X + shift, data.labels)  # multiples of 1/8: exact
    moved = with_weights(other, other.weights, other.bias + shift * other.weights.sum())
    N, D = data.X.shape
    # The bias is a sum of D products, rounded: a score's error of that size, in addition to LR-A1.
    extra = U * (D + 2) * (abs(other.bias) + abs(shift) * np.abs(other.weights).sum())
    gradient, bound = gradient_and_bound(moved, data)
    inputs = np.hstack([np.abs(data.X), np.ones((N, 1))])
    _, there = gradient_and_bound(other, Data(data.X + shift, data.labels))
    allowed = bound + there + abs(shift) * there[-1] + extra * inputs.sum(axis=0)
    assert (np.abs(gradient) <= allowed).all()


@pytest.mark.spec("LR-I7")
@given(overlapping())
def test_probabilities_sum_to_the_number_of_examples_of_class_1(data: Data) -> None:
    model = fit_binary(data.X, data.labels)
    p = model.predict_probability(data.X)
    _, bound = gradient_and_bound(model, data)
    rounding = 4 * len(p) * U * np.append(np.abs(data.X).T @ p, p.sum())
    sums = np.append(data.X.T @ (p - data.labels), p.sum() - data.labels.sum())
    assert (np.abs(sums) <= bound + rounding + 8 * U * len(p) * (1 + np.abs(data.X).max())).all()


# ------------------------------------------------------------------------------------------------------------
# Arguments.


@pytest.mark.spec("LR-C1")
@pytest.mark.spec("LR-C2")
@pytest.mark.spec("LR-C3")
@pytest.mark.parametrize(
    ("X", "labels", "parameters", "message"),
    [
        ([[1.0]], np.array([0]), {}, "LR-C1: X must be an array of floats, got list"),
        (
            np.ones((2, 1), int),
            np.array([0, 1]),
            {},
            "LR-C1: X must be an array of floats, got an array of int",
        ),
        (np.array([[Fraction(1)]]), np.array([0]), {}, "LR-C1: X must be a matrix of floats, got object of"),
        (np.ones(2), np.array([0, 1]), {}, "LR-C1: X must be a matrix of floats, got float64 of shape"),
        (
            np.empty((0, 1)),
            np.array([], int),
            {},
            "LR-C1: X must hold at least one example, all finite, got none",
        ),
        (
            np.full((2, 1), np.nan),
            np.array([0, 1]),
            {},
            "LR-C1: X must hold .* all finite, got NaN or infinities",
        ),
        (np.ones((2, 1)), np.array([0, 1, 1]), {}, "LR-C2: labels must be 2 integers from 0 on, one per row"),
        (
            np.ones((2, 1)),
            np.array([False, True]),
            {},
            "LR-C2: labels must be 2 integers .*; got bool of shape",
        ),
        (np.ones((2, 1)), np.array([0, -1]), {}, "LR-C2: labels must be .*, the least -1"),
        (np.ones((2, 1)), np.array([0, 2]), {}, "LR-C2: labels must be 0 or 1, got 2"),
        (
            np.ones((2, 1)),
            np.array([0, 1]),
            {"penalty": -1.0},
            "LR-C3: penalty must be at least 0 and finite",
        ),
        (
            np.ones((2, 1)),
            np.array([0, 1]),
            {"penalty": np.inf},
            "LR-C3: penalty must be at least 0 and finite",
        ),
        (np.ones((2, 1)), np.array([0, 1]), {"max_steps": 0}, "LR-C3: max_steps must be at least 1, got 0"),
        (
            np.ones((2, 1)),
            np.array([0, 1]),
            {"max_steps": 1.0},
            "LR-C3: max_steps must be an integer, got 1.0",
        ),
    ],
)
def test_data_that_do_not_fit_together_are_refused(
    X: Any, labels: np.ndarray, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fit_binary(X, labels, **parameters)


@pytest.mark.spec("LR-C3")
@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, np.nan])
def test_a_confidence_lies_between_0_and_1(confidence: float) -> None:
    model = fit_binary(np.ones((2, 1)), np.array([0, 1]))
    with pytest.raises(ValueError, match="LR-C3: confidence must be between 0 and 1, got"):
        model.intervals(confidence)


@pytest.mark.spec("LR-C1")
def test_a_model_predicts_for_a_matrix_alone() -> None:
    for model in (fit_binary(np.ones((2, 1)), np.array([0, 1])), Model(np.ones((1, 2)), np.zeros(2))):
        with pytest.raises(ValueError, match="LR-C1: X must be a matrix of floats, got float64 of shape"):
            model.predict(np.ones(1))


def test_arguments_are_left_as_they_are(tumours: Data) -> None:
    X, labels = tumours.X.copy(), tumours.labels.copy()
    fit_binary(X, labels)
    assert np.array_equal(X, tumours.X)
    assert np.array_equal(labels, tumours.labels)


def test_log_softmax_and_log_sigmoid_agree_on_the_likelihood(tumours: Data) -> None:
    model = fit_binary(tumours.X, tumours.labels)
    log_p = log_softmax(model.as_multinomial().scores(tumours.X))
    assert log_p[np.arange(len(log_p)), tumours.labels].sum() == pytest.approx(
        model.log_likelihood, rel=1e-12
    )
