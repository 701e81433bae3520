r"""Machine learning: data, training on the data, predictions for data not seen before.

Training is a loop. *Predict* for some examples, *measure* how far the predictions are from what was wanted,
*adjust* the model so that they come nearer, and repeat with the next examples, until predictions for examples
that the model never adjusts to stop getting better. An adjustment for one example can turn a right prediction
for another one wrong; `Round` counts how often.

What learns is a `Model`, whatever it is inside: `fit` asks it to predict, to measure and to adjust.

Spec: page 1, Machine learning. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015,
section "Machine Learning".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from gaugeblock.reference._arguments import Array

__all__ = [
    "Examples",
    "Fit",
    "Measure",
    "Model",
    "Round",
    "accuracy",
    "cross_entropy",
    "fit",
    "squared_error",
]

Measure: TypeAlias = Callable[[Array, Array], tuple[Any, Array]]
"""How far predictions are from what was wanted: (predictions, wanted) to the error and its gradient."""


@dataclass(frozen=True)
class Examples:
    """Inputs, each with what should be predicted for it.

    Attributes
    ----------
    inputs : ndarray, shape (N, ...)
        One input per entry of the first axis.
    wanted : ndarray, shape (N,) or (N, ...)
        The class of each input, a whole number from 0 on, or the numbers to predict.

    Raises
    ------
    ValueError
        ML-C1: there are not as many wanted predictions as inputs.

    Examples
    --------
    >>> examples = Examples(np.array([[0.0], [1.0], [2.0]]), np.array([0, 0, 1]))
    >>> len(examples), examples[1:].wanted.tolist()
    (3, [0, 1])
    """

    inputs: Array
    wanted: Array

    def __post_init__(self) -> None:
        inputs, wanted = np.shape(self.inputs), np.shape(self.wanted)
        if inputs[:1] != wanted[:1] or not inputs:
            raise ValueError(f"ML-C1: wanted has shape {wanted}, inputs has shape {inputs}: one per input")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Any) -> Examples:
        return Examples(self.inputs[index], self.wanted[index])

    def shuffled(self, generator: np.random.Generator) -> Examples:
        """Return the same examples in an order drawn from the generator."""
        return self[generator.permutation(len(self))]

    def batches(self, size: int) -> Iterator[Examples]:
        """Yield `size` examples at a time, in order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def split(self, count: int) -> tuple[Examples, Examples]:
        """Return the first `count` examples, and the others."""
        return self[:count], self[count:]


class Model(Protocol):
    """What can learn: it predicts, it measures its own error, and it adjusts itself."""

    def predict(self, inputs: Array) -> Array:
        """Return a prediction per input, in the form of `Examples.wanted`."""
        ...

    def error(self, examples: Examples) -> float:
        """Return the mean distance of the predictions for these examples from what was wanted."""
        ...

    def adjusted(self, examples: Examples) -> Self:
        """Return a model whose error on these examples should be smaller; this one stays as it is."""
        ...


AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True)
class Round:
    """What one pass over the training examples changed.

    Attributes
    ----------
    error, held_out_error : float
        The model's error on the training and on the held-out examples, after the round.
    accuracy, held_out_accuracy : float
        The shares of right predictions.
    gained, lost : int
        Predictions for training examples that adjustments turned right, and those they turned wrong.
    """

    error: float
    held_out_error: float
    accuracy: float
    held_out_accuracy: float
    gained: int
    lost: int


@dataclass(frozen=True)
class Fit(Generic[AnyModel]):
    """A trained model and how it came about.

    Attributes
    ----------
    model : Model
        The model after the round with the least held-out error.
    history : tuple of Round
        All rounds that were made.
    best : int
        Which round the model is from, counted from 1; 0 is the model that was given.
    stopped : {"no better", "not a number", "rounds"}
        Why there was no further round: the held-out error did not fall any more, it was no number, or as many
        rounds were made as were allowed.
    """

    model: AnyModel
    history: tuple[Round, ...]
    best: int
    stopped: Literal["no better", "not a number", "rounds"]


def fit(
    model: AnyModel,
    training: Examples,
    held_out: Examples,
    *,
    batch: int = 32,
    patience: int = 5,
    rounds: int = 100,
    seed: int = 0,
    watch: Literal["rounds", "adjustments"] = "rounds",
    progress: Callable[[Round], None] | None = None,
) -> Fit[AnyModel]:
    """Predict, measure, adjust, repeat, until predictions stop improving.

    Every round goes through all training examples once, in a new order. The rule to stop: `patience` rounds
    in a row in which the error on the held-out examples was never less than the least one before.

    Spec: ML-S1 to ML-S5.

    Parameters
    ----------
    model : Model
        What is trained.
    training, held_out : Examples
        What the model adjusts to, and what it never adjusts to.
    batch : int
        Examples per adjustment.
    patience, rounds : int
        The rounds without improvement after which to stop, and the most there may be.
    seed : int
        Of the orders of the examples: the same seed gives the same run, bit for bit.
    watch : {"rounds", "adjustments"}
        Whether `Round.gained` and `Round.lost` compare predictions before and after each round, or before and
        after each adjustment and add up, which asks for all predictions each time.
    progress : callable, optional
        Is told every round.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        ML-C2: there are no training or no held-out examples. ML-C3: a count is less than 1.

    Examples
    --------
    >>> from gaugeblock.reference.layer import FullyConnected
    >>> from gaugeblock.reference.network import Learner, Network
    >>> from gaugeblock.reference.unit import Activation
    >>> layer = FullyConnected(np.zeros((1, 2)), np.zeros(2), Activation("log_softmax"))
    >>> examples = Examples(np.arange(8.0)[:, None], np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    >>> result = fit(Learner(Network((layer,)), cross_entropy, rate=0.1), examples, examples, batch=4)
    >>> result.model.predict(np.array([[2.5], [5.5]])).tolist()
    [0, 1]
    """
    _check(training, held_out, batch=batch, patience=patience, rounds=rounds)
    generator = np.random.default_rng(seed)
    best, best_round, least = model, 0, model.error(held_out)
    right = _right(model, training)
    history: list[Round] = []
    for number in range(1, rounds + 1):
        gained = lost = 0
        batches = list(training.shuffled(generator).batches(batch))
        for index, examples in enumerate(batches):
            model = model.adjusted(examples)
            if watch == "adjustments" or index == len(batches) - 1:
                before, right = right, _right(model, training)
                gained += int(np.sum(right & ~before))
                lost += int(np.sum(before & ~right))
        error = model.error(held_out)
        history.append(
            Round(model.error(training), error, float(right.mean()), accuracy(model, held_out), gained, lost)
        )
        if progress is not None:
            progress(history[-1])
        if not math.isfinite(error):
            return Fit(best, tuple(history), best_round, "not a number")
        if error < least:
            best, best_round, least = model, number, error
        elif number - best_round >= patience:
            return Fit(best, tuple(history), best_round, "no better")
    return Fit(best, tuple(history), best_round, "rounds")


def accuracy(model: Model, examples: Examples) -> float:
    """Return the share of right predictions, from 0 to 1.

    Examples
    --------
    >>> class Always:
    ...     def predict(self, inputs):
    ...         return np.ones(len(inputs), int)
    >>> accuracy(Always(), Examples(np.zeros((4, 1)), np.array([1, 0, 1, 1])))
    0.75
    """
    return float(_right(model, examples).mean())


def squared_error(predicted: Array, wanted: Array) -> tuple[Any, Array]:
    r"""Return half the mean squared distance of the predictions, and its gradient.

    .. math:: E = \frac{1}{2N} \sum_n \lVert y_n - t_n \rVert^2, \qquad
              \frac{\partial E}{\partial y_n} = \frac{y_n - t_n}{N}

    Exact on fractions. Spec: ML-D3.

    Parameters
    ----------
    predicted, wanted : ndarray, shape (N, ...)
        Floats or fractions.

    Returns
    -------
    error : number
    gradient : ndarray, of the shape of `predicted`

    Raises
    ------
    ValueError
        ML-C4: the shapes differ, or there are no examples.

    Examples
    --------
    >>> error, gradient = squared_error(np.array([[1.0], [5.0]]), np.array([[1.0], [3.0]]))
    >>> float(error), gradient.tolist()
    (1.0, [[0.0], [1.0]])
    """
    if predicted.shape != wanted.shape or not len(wanted):
        raise ValueError(f"ML-C4: predicted has shape {predicted.shape}, wanted has shape {wanted.shape}")
    count: Any = Fraction(len(wanted)) if predicted.dtype == object else predicted.dtype.type(len(wanted))
    difference = predicted - wanted
    return (difference * difference).sum() / (2 * count), difference / count


def cross_entropy(predicted: Array, wanted: Array) -> tuple[Any, Array]:
    r"""Return the mean of −log p(wanted class) from log-probabilities, and its gradient.

    .. math:: E = -\frac{1}{N} \sum_n \log p_{n, t_n}

    It takes logarithms, as `log_softmax` gives them, since p itself may be too small for a float.
    Spec: ML-D4.

    Parameters
    ----------
    predicted : ndarray, shape (N, K)
        log p of every class.
    wanted : ndarray of int, shape (N,)
        The right class of each example, from 0 to K − 1.

    Returns
    -------
    error : float
    gradient : ndarray, shape (N, K)
        −1/N at the right class, 0 elsewhere.

    Raises
    ------
    ValueError
        ML-C4: `predicted` is no matrix, or `wanted` holds no class for each of its rows.

    Examples
    --------
    >>> error, gradient = cross_entropy(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0]))
    >>> round(float(error / np.log(2)), 9), gradient.tolist()
    (1.5, [[-0.5, 0.0], [-0.5, 0.0]])
    """
    if predicted.ndim != 2 or not len(predicted) or not _are_classes(wanted, predicted.shape):
        raise ValueError(
            f"ML-C4: predicted has shape {predicted.shape}; wanted must be a class for each of its rows, got "
            f"{wanted.dtype} of shape {wanted.shape}"
        )
    rows = np.arange(len(wanted))
    gradient = np.zeros_like(predicted)
    gradient[rows, wanted] = -1 / len(wanted)
    return float(-predicted[rows, wanted].mean()), gradient


def _are_classes(wanted: Array, shape: tuple[int, ...]) -> bool:
    """Return whether there is a class from 0 to K − 1 for each of N rows."""
    if wanted.shape != shape[:1] or wanted.dtype.kind not in "iu":
        return False
    return bool(np.all((wanted >= 0) & (wanted < shape[1])))


def _right(model: Any, examples: Examples) -> npt.NDArray[np.bool_]:
    """Return for each example whether its prediction is what was wanted."""
    equal = np.asarray(model.predict(examples.inputs) == examples.wanted)
    return np.asarray(equal.reshape(len(examples), -1).all(axis=1))


def _check(training: Examples, held_out: Examples, **counts: int) -> None:
    if not len(training) or not len(held_out):
        raise ValueError(
            f"ML-C2: there are {len(training)} training and {len(held_out)} held-out examples, expected both"
        )
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"ML-C3: {name} is {count}, expected at least 1")
