"""Regression of numbers: least squares, exactly where it can be said, and how much they explain."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference.logistic_regression import explained, fit_linear

UNIT = 2.0**-53


def problem(seed: int, N: int, D: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(N, D)) * 10.0 ** draw.integers(-2, 3, D)
    return X, draw.normal(size=N)


@pytest.mark.spec("LR-S9")
@pytest.mark.spec("LR-A3")
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6), st.sampled_from([0.0, 0.1, 3.0]))
def test_what_is_left_is_orthogonal_to_every_feature(seed: int, N: int, D: int, penalty: float) -> None:
    X, wanted = problem(seed, N, D)
    model = fit_linear(X, wanted, penalty=penalty)
    left = model.predict(X) - wanted
    centred, size = X - X.mean(axis=0), np.linalg.norm
    scale = size(centred) * size(model.weights) + size(wanted - wanted.mean())
    bound = 8 * N * D * UNIT * size(centred) * scale
    assert np.all(np.abs(centred.T @ left + N * penalty * model.weights) <= bound + 1e-300)
    assert abs(left.sum()) <= 8 * N * D * UNIT * (N**0.5 * scale + size(X) * size(model.weights))


@pytest.mark.spec("LR-S9")
def test_the_weights_are_those_that_fractions_give() -> None:
    """By the normal equations of a feature and a bias, solved by hand."""
    x, t = [1, 2, 4, 7], [3, 1, 4, 2]
    products, squares = sum(a * b for a, b in zip(x, t, strict=True)), sum(a * a for a in x)
    slope = Fraction(4 * products - sum(x) * sum(t), 4 * squares - sum(x) ** 2)
    model = fit_linear(np.array(x, float)[:, None], np.array(t, float))
    assert model.weights[0] == pytest.approx(float(slope), rel=1e-14)
    assert model.bias == pytest.approx(float((sum(t) - slope * sum(x)) / 4), rel=1e-14)


@pytest.mark.spec("LR-S9")
def test_of_several_best_weights_the_smallest_are_found_and_a_penalty_makes_them_smaller() -> None:
    x = np.array([[0.0], [1.0], [2.0]])
    twice = fit_linear(np.hstack([x, x]), 2 * x[:, 0] + 1)
    assert twice.weights == pytest.approx([1.0, 1.0])
    sizes = [abs(fit_linear(x, 2 * x[:, 0], penalty=penalty).weights[0]) for penalty in (0.0, 0.1, 10.0)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.spec("LR-D2")
def test_the_mean_explains_nothing_the_right_answer_all_and_worse_than_the_mean_less_than_nothing() -> None:
    wanted = np.array([1.0, 2.0, 6.0])
    assert explained(np.full(3, 3.0), wanted) == 0
    assert explained(wanted, wanted) == 1
    assert explained(-wanted, wanted) < 0
    assert explained(wanted + 1, wanted) == pytest.approx(1 - 3 / 14)


@pytest.mark.spec("LR-X5")
def test_where_nothing_varies_all_is_explained_or_nothing_ever() -> None:
    assert explained(np.array([2.0, 2.0]), np.array([2.0, 2.0])) == 1
    assert explained(np.array([2.0, 2.5]), np.array([2.0, 2.0])) == -np.inf


@pytest.mark.spec("LR-C5")
@pytest.mark.parametrize(
    "wanted", [np.zeros(3), np.array([0.0, np.nan]), np.zeros((2, 1)), np.zeros(2, int), [0, 1]]
)
def test_numbers_that_do_not_fit_are_refused(wanted: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^LR-C5: wanted must"):
        fit_linear(np.zeros((2, 1)), wanted)
    with pytest.raises((ValueError, TypeError), match=r"^LR-C5: wanted must"):
        explained(np.zeros(2), wanted)


def test_examples_and_penalty_are_checked_as_those_of_classes() -> None:
    with pytest.raises(ValueError, match=r"^LR-C1: "):
        fit_linear(np.zeros((0, 1)), np.zeros(0))
    with pytest.raises(ValueError, match=r"^LR-C3: penalty"):
        fit_linear(np.zeros((1, 1)), np.zeros(1), penalty=-1.0)
