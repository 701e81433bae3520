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


@pytest.mark.parametrize(
    ("X", "labels", "parameters", "message"),
    [
        ([[1.0]], np.array([0]), {}, "X must be an array of floats, got list"),
        (np.ones(3), np.zeros(3, int), {}, "X must be a matrix of floats, got float64 of shape"),
        (np.ones((3, 1)), np.zeros(2, int), {}, "labels must be 3 integers from 0 on, one per row of X"),
        (np.ones((2, 1)), np.array([0.0, 1.0]), {}, "labels must be 2 integers from 0 on, one per row of X"),
        (np.ones((2, 1)), np.array([0, -1]), {}, "labels must be 2 integers from 0 on, one per row of X"),
        (np.ones((0, 1)), np.zeros(0, int), {}, "labels must be 0 integers"),
        (np.ones((1, 1)), np.zeros(1, int), {"penalty": -1.0}, "penalty must be at least 0, got -1"),
    ],
)
def test_data_that_do_not_fit_together_are_refused(
    X: Any, labels: np.ndarray, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=f"logistic regression: {message}"):
        fit(X, labels, **parameters)
