"""Logistic regression of the reference: it learns, the same each time, as a network without hidden layer."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gaugeblock.reference import gemm, log_softmax, softmax
from gaugeblock.reference.logistic_regression import Model, fit


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return data.data[order] / 16, data.target[order]


@pytest.fixture(scope="module")
def model(digits: tuple[np.ndarray, np.ndarray]) -> Model:
    X, labels = digits
    return fit(X[:1200], labels[:1200], steps=30)


def test_it_reads_nineteen_of_twenty_handwritten_digits_that_it_has_not_seen(
    digits: tuple[np.ndarray, np.ndarray], model: Model
) -> None:
    X, labels = digits
    assert np.mean(model.predict(X[1200:]) == labels[1200:]) >= 0.95


def test_no_step_raises_the_loss(model: Model) -> None:
    assert len(model.losses) == 30
    assert model.losses[0] == pytest.approx(np.log(10))  # ten classes, all equally likely
    assert (np.diff(model.losses) <= 0).all()


def test_the_last_loss_is_small_because_the_right_class_has_become_probable(
    digits: tuple[np.ndarray, np.ndarray], model: Model
) -> None:
    X, labels = digits
    p = model.predict_probability(X[:1200])
    loss = -np.mean(np.log(p[np.arange(1200), labels[:1200]]))
    assert loss <= model.losses[-1] <= 0.15


def test_a_probability_is_the_softmax_of_one_product(
    digits: tuple[np.ndarray, np.ndarray], model: Model
) -> None:
    X, _ = digits
    p = model.predict_probability(X[:50])
    assert np.array_equal(p, softmax(gemm(X[:50], model.weights, model.bias, beta=1.0)))
    assert (abs(p.sum(axis=1) - 1) <= 20 * 2.0**-53).all()
    assert np.array_equal(model.predict(X[:50]), p.argmax(axis=1))


def test_the_same_data_give_the_same_model() -> None:
    draw = np.random.default_rng(1)
    X, labels = draw.normal(size=(40, 3)), draw.integers(0, 3, 40)
    first, second = fit(X, labels, steps=5), fit(X.copy(), labels.copy(), steps=5)
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(first.bias, second.bias)
    assert first.losses == second.losses


def test_at_the_optimum_the_gradient_of_the_penalised_loss_vanishes() -> None:
    draw = np.random.default_rng(2)
    X, labels = draw.normal(size=(60, 4)), draw.integers(0, 3, 60)
    penalty = 0.1
    model = fit(X, labels, steps=400, penalty=penalty)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        log_p = log_softmax(X @ weights + bias)
        return float(-log_p[np.arange(60), labels].mean() + penalty / 2 * (weights**2).sum())

    assert model.losses[-1] == pytest.approx(loss(model.weights, model.bias), rel=1e-12)
    for index in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[index] = 1e-4
        slope = (loss(model.weights + step, model.bias) - loss(model.weights - step, model.bias)) / 2e-4
        assert abs(slope) <= 1e-7


def test_a_heavier_penalty_makes_smaller_weights() -> None:
    draw = np.random.default_rng(3)
    X, labels = draw.normal(size=(40, 3)), draw.integers(0, 2, 40)
    norms = [np.linalg.norm(fit(X, labels, penalty=penalty).weights) for penalty in (0.0, 0.1, 1.0)]
    assert norms == sorted(norms, reverse=True)


def test_a_feature_that_never_varies_does_no_harm() -> None:
    X = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0], [5.0, 0.0]])
    assert fit(X, np.array([0, 0, 1, 1])).predict(X).tolist() == [0, 0, 1, 1]


@pytest.mark.spec("LR-S1")
def test_scores_are_weighted_inputs_and_probabilities_their_softmax() -> None:
    model = Model(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([0.0, -1.0]))
    X = np.array([[3.0, 2.0], [0.0, 0.5]])
    assert model.scores(X).tolist() == [[3.0, 3.0], [0.0, 0.0]]
    assert model.predict_probability(X).tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.spec("LR-S3")
def test_among_equal_scores_the_first_class_is_predicted() -> None:
    model = Model(np.array([[1.0, 1.0, 2.0]]), np.zeros(3))
    assert model.predict(np.array([[-1.0], [0.0], [1.0]])).tolist() == [0, 0, 2]


@pytest.mark.spec("LR-S4")
def test_the_loss_is_the_mean_of_minus_log_p_and_half_the_penalty_on_weights_alone() -> None:
    X, labels = np.array([[1.0], [3.0], [4.0]]), np.array([0, 1, 1])
    first = fit(X, labels, steps=1, penalty=0.25)
    second = fit(X, labels, steps=2, penalty=0.25)
    p = first.predict_probability(X)[np.arange(3), labels]
    assert second.losses[0] == pytest.approx(np.log(2), rel=1e-15)
    assert second.losses[1] == pytest.approx(-np.log(p).mean() + 0.125 * (first.weights**2).sum(), rel=1e-14)


@pytest.mark.spec("LR-S5")
def test_a_step_is_the_gradient_by_the_inverse_of_the_bound_on_the_curvature() -> None:
    X, labels, penalty = np.array([[1.0], [2.0], [4.0], [5.0]]), np.array([0, 1, 2, 1]), 0.5
    model = fit(X, labels, steps=1, penalty=penalty)
    inputs = np.hstack([X, np.ones((4, 1))])
    bound = inputs.T @ inputs / 8 + np.diag([penalty, 0.0])
    step = np.linalg.solve(bound, inputs.T @ (np.eye(3)[labels] - 1 / 3) / 4)
    assert np.vstack([model.weights, model.bias]) == pytest.approx(step, rel=1e-12)
    assert len(model.losses) == 1


@pytest.mark.spec("LR-S5")
def test_without_a_step_all_classes_are_as_probable() -> None:
    model = fit(np.array([[1.0], [2.0]]), np.array([0, 3]), steps=0)
    assert model.losses == ()
    assert model.predict_probability(np.ones((1, 1))).tolist() == [[0.25] * 4]


@pytest.mark.spec("LR-X1")
def test_on_separable_classes_the_loss_goes_on_falling() -> None:
    X, labels = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1])
    losses = fit(X, labels, steps=400).losses
    assert (np.diff(losses) < 0).all()
    assert losses[-1] <= 0.05


@pytest.mark.spec("LR-X2")
def test_one_class_alone_has_probability_1_and_a_missing_one_becomes_improbable() -> None:
    X = np.array([[0.0], [1.0], [2.0]])
    alone = fit(X, np.array([0, 0, 0]))
    assert alone.weights.tolist() == [[0.0]]
    assert alone.predict_probability(X).tolist() == [[1.0]] * 3
    assert (fit(X, np.array([0, 2, 2]), steps=200).predict_probability(X)[:, 1] <= 0.01).all()


@pytest.mark.spec("LR-X4")
def test_nan_and_infinities_stay_in_their_row() -> None:
    model = Model(np.array([[1.0, -1.0]]), np.zeros(2))
    p = model.predict_probability(np.array([[0.0], [np.nan], [-np.inf], [0.0]]))
    assert p[[0, 3]].tolist() == [[0.5, 0.5]] * 2
    assert np.isnan(p[[1, 2]]).all()  # in the third row, one score is +Inf (ACT-X5)


@pytest.mark.spec("LR-C1")
@pytest.mark.spec("LR-C2")
@pytest.mark.spec("LR-C3")
@pytest.mark.parametrize(
    ("X", "labels", "parameters", "message"),
    [
        ([[1.0]], np.array([0]), {}, "LR-C1: X must be an array of floats, got list"),
        (np.ones(3), np.zeros(3, int), {}, "LR-C1: X must be a matrix of floats, got float64 of shape"),
        (
            np.ones((3, 1)),
            np.zeros(2, int),
            {},
            "LR-C2: labels must be 3 integers from 0 on, one per row of X",
        ),
        (
            np.ones((2, 1)),
            np.array([0.0, 1.0]),
            {},
            "LR-C2: labels must be 2 integers from 0 on, one per row of X",
        ),
        (
            np.ones((2, 1)),
            np.array([0, -1]),
            {},
            "LR-C2: labels must be 2 integers from 0 on, one per row of X",
        ),
        (
            np.ones((0, 1)),
            np.zeros(0, int),
            {},
            "LR-C1: X must hold at least one example, all finite, got none",
        ),
        (
            np.ones((1, 1)),
            np.zeros(1, int),
            {"penalty": -1.0},
            "LR-C3: penalty must be at least 0 and finite, got -1",
        ),
        (
            np.ones((1, 1)),
            np.zeros(1, int),
            {"penalty": np.nan},
            "LR-C3: penalty must be at least 0 and finite",
        ),
        (np.ones((1, 1)), np.zeros(1, int), {"steps": -1}, "LR-C3: steps must be at least 0, got -1"),
        (np.ones((1, 1)), np.zeros(1, int), {"steps": 1.5}, "LR-C3: steps must be an integer, got 1.5"),
        (
            np.full((1, 1), np.inf),
            np.zeros(1, int),
            {},
            "LR-C1: X must hold at least one example, all finite",
        ),
    ],
)
def test_data_that_do_not_fit_together_are_refused(
    X: Any, labels: np.ndarray, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fit(X, labels, **parameters)
