"""The loop of machine learning does what page 1 says, whatever the model is inside."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaugeblock.reference import log_softmax, log_softmax_backward, softmax
from gaugeblock.reference.machine_learning import Examples, accuracy, cross_entropy, fit, squared_error
from gaugeblock.reference.neuron import Perceptron

Array = NDArray[Any]
UNIT_ROUNDOFF = 2.0**-53


@dataclass
class Scripted:
    """A model whose errors and predictions are written down beforehand; it notes what it is shown."""

    errors: tuple[float, ...]
    predictions: tuple[tuple[int, ...], ...] = ()
    step: int = 0
    shown: list[list[float]] = field(default_factory=list)

    def predict(self, inputs: Array) -> Array:
        """Return the next predictions of the script."""
        rows = self.predictions or ((0,) * len(inputs),)
        return np.array(rows[min(self.step, len(rows) - 1)])[: len(inputs)]

    def error(self, examples: Examples) -> float:
        """Return the next error of the script."""
        return self.errors[min(self.step, len(self.errors) - 1)]

    def adjusted(self, examples: Examples) -> "Scripted":
        """Go on in the script."""
        self.shown.append(examples.inputs.ravel().tolist())
        return Scripted(self.errors, self.predictions, self.step + 1, self.shown)


def numbered(count: int) -> Examples:
    return Examples(np.arange(float(count))[:, None], np.zeros(count, int))


def clouds(seed: int, count: int = 60) -> Examples:
    """Return two overlapping clouds of points."""
    generator = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    return Examples(generator.standard_normal((count, 2)) + 1.5 * classes[:, None], classes)


@pytest.mark.spec("ML-D1")
def test_a_prediction_is_right_if_all_its_numbers_are() -> None:
    examples = Examples(np.zeros((3, 1)), np.array([[1, 2], [1, 2], [1, 2]]))

    class Pairs:
        def predict(self, inputs: Array) -> Array:
            return np.array([[1, 2], [1, 3], [2, 2]])

    assert accuracy(Pairs(), examples) == 1 / 3  # type: ignore[arg-type]


@pytest.mark.spec("ML-D2")
def test_adjusting_leaves_the_first_model_as_it_was() -> None:
    model = Perceptron(np.zeros(2))
    better = model.adjusted(clouds(1))
    assert better.mistakes > 0
    assert (model.weights.tolist(), model.bias, model.mistakes) == ([0.0, 0.0], 0.0, 0)


@pytest.mark.spec("ML-D3")
@pytest.mark.spec("ML-A1")
def test_the_squared_error_is_exact_on_fractions() -> None:
    y = np.array([[Fraction(1, 3), Fraction(2)], [Fraction(0), Fraction(1, 7)]])
    t = np.array([[Fraction(1), Fraction(2)], [Fraction(1, 2), Fraction(1, 7)]])
    error, gradient = squared_error(y, t)
    assert error == (Fraction(4, 9) + Fraction(1, 4)) / 4
    assert gradient.tolist() == [[Fraction(-1, 3), 0], [Fraction(-1, 4), 0]]


@pytest.mark.spec("ML-D4")
@pytest.mark.spec("ML-A1")
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12))
def test_the_cross_entropy_is_the_mean_of_minus_log_p(seed: int, count: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    logs = log_softmax(generator.standard_normal((count, classes)) * 10)
    wanted = generator.integers(classes, size=count)
    error, gradient = cross_entropy(logs, wanted)
    exact = -sum((Fraction(float(logs[n, t])) for n, t in enumerate(wanted)), Fraction(0)) / count
    assert abs(Fraction(error) - exact) <= exact * Fraction((count + 3) * UNIT_ROUNDOFF * 1.01)
    assert np.count_nonzero(gradient) == count
    assert np.all(gradient[np.arange(count), wanted] == -1 / count)


@pytest.mark.spec("ML-I3")
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 12))
def test_what_speaks_for_a_class_speaks_against_the_others(seed: int, count: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.standard_normal((count, classes)) * 5
    wanted = generator.integers(classes, size=count)
    _, gradient = cross_entropy(log_softmax(scores), wanted)
    through = log_softmax_backward(gradient, scores)
    assert np.all(np.abs(through.sum(axis=1)) <= 2 * (classes + 4) * UNIT_ROUNDOFF / count)
    predicted_minus_wanted = (softmax(scores) - np.eye(classes)[wanted]) / count
    assert np.all(np.abs(through - predicted_minus_wanted) <= 8 * UNIT_ROUNDOFF / count)


@pytest.mark.spec("ML-C1")
def test_there_must_be_as_many_wanted_predictions_as_inputs() -> None:
    with pytest.raises(ValueError, match=r"^ML-C1: wanted has shape \(3,\), inputs has shape \(2, 1\)"):
        Examples(np.zeros((2, 1)), np.zeros(3, int))


@pytest.mark.spec("ML-C2")
def test_there_must_be_training_and_held_out_examples() -> None:
    with pytest.raises(ValueError, match=r"^ML-C2: there are 0 training and 2 held-out examples"):
        fit(Perceptron(np.zeros(1)), numbered(2)[:0], numbered(2))


@pytest.mark.spec("ML-C3")
@pytest.mark.parametrize("name", ["batch", "patience", "rounds"])
def test_counts_must_be_positive(name: str) -> None:
    counts: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=rf"^ML-C3: {name} is 0, expected at least 1"):
        fit(Perceptron(np.zeros(1)), numbered(2), numbered(2), **counts)


@pytest.mark.spec("ML-C4")
def test_measures_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"^ML-C4: predicted has shape \(2, 1\), wanted has shape \(2, 2\)"):
        squared_error(np.zeros((2, 1)), np.zeros((2, 2)))
    for wanted in (np.array([0, 3]), np.array([0, -1]), np.array([0.0, 1.0]), np.array([0])):
        with pytest.raises(ValueError, match=r"^ML-C4: predicted has shape \(2, 3\); wanted"):
            cross_entropy(np.zeros((2, 3)), wanted)


@pytest.mark.spec("ML-S1")
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_round_shows_every_training_example_once(count: int, batch: int, seed: int) -> None:
    model = Scripted((1.0,))
    fit(model, numbered(count), numbered(1), batch=batch, rounds=1, seed=seed)
    assert sorted(number for shown in model.shown for number in shown) == list(range(count))
    assert [len(shown) for shown in model.shown[:-1]] == [batch] * (len(model.shown) - 1)


@pytest.mark.spec("ML-X2")
def test_a_batch_larger_than_the_set_is_one_adjustment() -> None:
    model = Scripted((1.0,))
    fit(model, numbered(5), numbered(1), batch=100, rounds=1)
    assert len(model.shown) == 1


@pytest.mark.spec("ML-S2")
def test_no_held_out_example_is_adjusted_to() -> None:
    model = Scripted((1.0,))
    fit(model, numbered(4), Examples(np.full((3, 1), 99.0), np.zeros(3, int)), rounds=3)
    assert {number for shown in model.shown for number in shown} == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.spec("ML-S3")
@pytest.mark.spec("ML-S4")
@pytest.mark.parametrize(
    ("errors", "best", "made", "stopped"),
    [
        ((5.0, 4, 3, 2, 1, 0.5), 5, 5, "rounds"),
        ((5.0, 4, 4, 4, 4, 4), 1, 3, "no better"),
        ((5.0, 6, 6, 6, 6, 6), 0, 2, "no better"),
        ((5.0, 6, 4, 5, 3, 3), 4, 5, "rounds"),
        ((5.0, 4, float("nan"), 1, 1, 1), 1, 2, "not a number"),
        ((5.0, float("inf"), 1, 1, 1, 1), 0, 1, "not a number"),
    ],
)
def test_training_stops_when_the_held_out_error_falls_no_more(
    errors: tuple[float, ...], best: int, made: int, stopped: str
) -> None:
    result = fit(Scripted(errors), numbered(2), numbered(2), batch=2, patience=2, rounds=5)
    assert (result.best, len(result.history), result.stopped) == (best, made, stopped)
    assert result.model.step == best


@pytest.mark.spec("ML-X1")
def test_an_error_that_is_no_number_ends_training_with_the_best_model_before() -> None:
    result = fit(Scripted((3.0, 2.0, float("nan"))), numbered(2), numbered(2), batch=2)
    assert (result.best, result.stopped, result.model.step) == (1, "not a number", 1)


@pytest.mark.spec("ML-D5")
@pytest.mark.spec("ML-S5")
def test_flips_are_counted_between_rounds_or_between_adjustments() -> None:
    predictions = ((1, 1), (0, 1), (1, 0), (0, 0), (1, 0))  # class 0 is right
    model = Scripted((1.0,), predictions)
    each = fit(model, numbered(2), numbered(2), batch=1, rounds=2, watch="adjustments").history
    assert [(made.gained, made.lost) for made in each] == [(2, 1), (1, 1)]
    between = fit(model, numbered(2), numbered(2), batch=1, rounds=2).history
    assert [(made.gained, made.lost) for made in between] == [(1, 0), (0, 0)]


@pytest.mark.spec("ML-I2")
@given(st.integers(0, 2**32 - 1), st.sampled_from(["rounds", "adjustments"]))
def test_gained_less_lost_is_the_change_of_right_predictions(seed: int, watch: Any) -> None:
    training, model = clouds(seed), Perceptron(np.zeros(2))
    before = accuracy(model, training)
    for made in fit(model, training, clouds(seed + 1), batch=7, rounds=4, seed=seed, watch=watch).history:
        assert made.gained - made.lost == round((made.accuracy - before) * len(training))
        before = made.accuracy


@pytest.mark.spec("ML-I1")
def test_the_same_seed_gives_the_same_run() -> None:
    runs = [fit(Perceptron(np.zeros(2)), clouds(3), clouds(4), batch=5, seed=7) for _ in range(2)]
    assert runs[0].history == runs[1].history
    assert runs[0].model.weights.tobytes() == runs[1].model.weights.tobytes()
    other = fit(Perceptron(np.zeros(2)), clouds(3), clouds(4), batch=5, seed=8)
    assert other.history != runs[0].history


def test_progress_is_told_every_round() -> None:
    told: list[object] = []
    result = fit(Perceptron(np.zeros(2)), clouds(3), clouds(4), rounds=3, progress=told.append)
    assert tuple(told) == result.history
