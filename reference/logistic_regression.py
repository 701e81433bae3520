r"""Logistic regression: which of two or several classes, and with which probability.

Of two classes, the second has the probability that the logistic `sigmoid` makes of the weighted inputs; of
several, the scores become probabilities by `softmax`:

.. math:: p = \sigma(X w + b) \qquad\qquad P = \operatorname{softmax}(X W + b)

That is a network without a hidden layer: one `gemm`, one activation. It is trained by making the right
classes of the examples as probable as it can. For two classes `fit_binary` finds those weights exactly, says
how sure each of them is, and refuses data for which there are none; `fit` trains on any number of classes.
A weight can be read: one unit more of its feature multiplies the odds of the class by :math:`e^w`.

Regression proper predicts a number, not a class: `fit_linear` finds the weights of the least squared error,
and `explained` says how much of what is to be predicted they account for.

Spec: page 5, Logistic regression. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015,
section "Logistic Regression".
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from gaugeblock.reference._arguments import Array, widened
from gaugeblock.reference.activation import log_sigmoid, log_softmax, sigmoid, softmax
from gaugeblock.reference.gemm import gemm

__all__ = ["BinaryModel", "LinearModel", "Model", "explained", "fit", "fit_binary", "fit_linear"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]

# ------------------------------------------------------------------------------------------------------------
# Numbers.


@dataclass(frozen=True)
class LinearModel:
    """A prediction of one number from D features.

    Attributes
    ----------
    weights : ndarray, shape (D,)
        How much one unit of a feature adds.
    bias : float
        The prediction where all features are 0.
    """

    weights: Floats
    bias: float

    def predict(self, X: Array) -> Floats:
        """Return X w + b, shape (N,)."""
        column: Floats = gemm(_matrix(X), self.weights[:, None], np.array([self.bias]), beta=1.0)
        return column[:, 0]


def fit_linear(X: Array, wanted: Array, *, penalty: float = 0.0) -> LinearModel:
    r"""Find the weights of the least squared error.

    .. math:: \min_{w, b} \frac{1}{2N} \sum_i (x_i w + b - t_i)^2 + \frac{\lambda}{2} \sum w^2

    With means taken off, the bias drops out, and the penalty is as good as D more examples. Spec: LR-S9.

    Parameters
    ----------
    X : ndarray, shape (N, D)
        The examples, floats.
    wanted : ndarray, shape (N,)
        The number to predict for each, floats.
    penalty : float
        λ: the larger, the smaller the weights.

    Returns
    -------
    LinearModel

    Raises
    ------
    ValueError, TypeError
        LR-C1: the examples are no matrix of finite floats. LR-C3: the penalty. LR-C5: the numbers do not fit.

    Examples
    --------
    >>> model = fit_linear(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> model.weights.round(12).tolist(), round(model.bias, 12)
    ([2.0], 1.0)
    """
    X = _examples(X)
    t = _numbers("wanted", wanted, len(X))
    _check_training(penalty, "steps", 0, least=0)
    N, D = X.shape
    of_inputs, of_wanted = X.mean(axis=0), t.mean()
    rows = np.vstack([X - of_inputs, np.sqrt(N * penalty) * np.eye(D)])
    weights = np.linalg.lstsq(rows, np.concatenate([t - of_wanted, np.zeros(D)]))[0]
    return LinearModel(weights, float(of_wanted - of_inputs @ weights))


def explained(predicted: Array, wanted: Array) -> float:
    r"""Return the share of the variance of numbers that predictions explain (LR-D2, LR-X5).

    .. math:: R^2 = 1 - \frac{\sum (y - t)^2}{\sum (t - \bar t)^2}

    Raises
    ------
    ValueError, TypeError
        LR-C5: they are no finite floats, one for each.

    Examples
    --------
    >>> wanted = np.array([1.0, 2.0, 3.0])
    >>> explained(np.array([2.0, 2.0, 2.0]), wanted), explained(wanted + 0.5, wanted)
    (0.0, 0.625)
    """
    y = _numbers("predicted", predicted, len(predicted))
    t = _numbers("wanted", wanted, len(predicted))
    left, all_of_it = float(np.sum((y - t) ** 2)), float(np.sum((t - t.mean()) ** 2))
    if all_of_it == 0:
        return 1.0 if left == 0 else -math.inf
    return 1 - left / all_of_it


# ------------------------------------------------------------------------------------------------------------
# Several classes.


@dataclass(frozen=True)
class Model:
    """A classifier of D features into K classes.

    Attributes
    ----------
    weights : ndarray, shape (D, K)
        How much a feature speaks for a class.
    bias : ndarray, shape (K,)
        How much speaks for a class before any feature is seen.
    losses : tuple of float
        The loss over the training examples, before each step of the training.
    """

    weights: Floats
    bias: Floats
    losses: tuple[float, ...] = ()

    def scores(self, X: Array) -> Floats:
        """Return X W + b, shape (N, K)."""
        return gemm(_matrix(X), self.weights, self.bias, beta=1.0)

    def predict_probability(self, X: Array) -> Floats:
        """Return the probability of every class for every example, shape (N, K); a row sums to 1 (LR-S1)."""
        return softmax(self.scores(X))

    def predict(self, X: Array) -> Labels:
        """Return the most probable class of every example, shape (N,); among equals the first (LR-S3)."""
        classes: Labels = np.argmax(self.scores(X), axis=1)
        return classes


def fit(X: Array, labels: Labels, *, steps: int = 50, penalty: float = 0.0) -> Model:
    r"""Train a classifier on all examples at once, by Newton steps that cannot overshoot.

    With one-hot rows Y, the gradient of the loss in W is :math:`X^T (P - Y) / N`: predicted minus right,
    carried back to the inputs. Newton's step divides it by the curvature of the loss. It depends on W, but is
    never more than :math:`X^T X / 2N`; divided by that bound, no step raises the loss, and one inverse
    serves all steps. The weights start at zero: the same data give the same model.

    Spec: LR-S4, LR-S5.

    Parameters
    ----------
    X : ndarray, shape (N, D)
        The examples, floats.
    labels : ndarray of int, shape (N,)
        The class of each example, 0 to K − 1.
    steps : int
        How many times the weights are adjusted.
    penalty : float
        Adds ``penalty/2 · Σ W²`` to the loss, the mean of −log p(right class): small weights are preferred.

    Returns
    -------
    Model
        With the loss before each step in ``losses``.

    Raises
    ------
    ValueError, TypeError
        LR-C1: the examples are no matrix of finite floats. LR-C2: the labels do not fit to them. LR-C3: the
        penalty or the number of steps.

    References
    ----------
    .. [1] D. Böhning, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical
       Mathematics 44 (1992).

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [4.0], [5.0]])
    >>> model = fit(X, np.array([0, 0, 1, 1]))
    >>> model.predict(np.array([[-1.0], [6.0]])).tolist()
    [0, 1]
    """
    X = _examples(X)
    Y = np.eye(int(_classes(labels, len(X)).max()) + 1)[labels]
    _check_training(penalty, "steps", steps, least=0)
    N, D = X.shape
    inputs = np.hstack([X, np.ones((N, 1))])  # the bias is the weight of an input that is always 1
    penalties = np.array([[penalty]] * D + [[0.0]])  # on the weights; the bias is free
    curvature = gemm(inputs, inputs, transpose_a=True, alpha=1 / (2 * N)) + np.diagflat(penalties)
    inverse = np.linalg.pinv(
        curvature, hermitian=True
    )  # pseudo: a feature that never varies has no curvature

    weights = np.zeros((D + 1, Y.shape[1]))
    losses = []
    for _ in range(steps):
        scores = gemm(inputs, weights)
        losses.append(float(np.sum(penalties * weights**2) / 2 - np.sum(Y * log_softmax(scores)) / N))
        error = softmax(scores) - Y
        gradient = gemm(inputs, error, penalties * weights, transpose_a=True, alpha=1 / N, beta=1.0)
        weights = weights - gemm(inverse, gradient)
    return Model(weights[:-1], weights[-1], tuple(losses))


# ------------------------------------------------------------------------------------------------------------
# Two classes.


@dataclass(frozen=True)
class BinaryModel:
    """A classifier of D features into the classes 0 and 1, with what is known about its weights.

    Attributes
    ----------
    weights : ndarray, shape (D,)
        How much one unit of a feature adds to the logarithm of the odds of class 1.
    bias : float
        The logarithm of the odds where all features are 0.
    weight_errors : ndarray, shape (D,)
        The standard error of each weight; infinite for one that the data leave open (LR-X3).
    bias_error : float
        That of the bias.
    log_likelihood : float
        The sum of log p(right class) over the training examples.
    steps : int
        How many Newton steps were made.
    converged : bool
        Whether the weights are the best ones, as far as float64 can tell.
    """

    weights: Floats
    bias: float
    weight_errors: Floats
    bias_error: float
    log_likelihood: float
    steps: int
    converged: bool

    def scores(self, X: Array) -> Floats:
        """Return X w + b, the logarithm of the odds of class 1, shape (N,)."""
        column: Floats = gemm(_matrix(X), self.weights[:, None], np.array([self.bias]), beta=1.0)
        return column[:, 0]

    def predict_probability(self, X: Array) -> Floats:
        """Return the probability of class 1 for every example, shape (N,) (LR-S2)."""
        return sigmoid(self.scores(X))

    def predict(self, X: Array) -> Labels:
        """Return the more probable class of every example, shape (N,); 0 where they are equal (LR-S3)."""
        return np.asarray(self.scores(X) > 0, np.int64)

    def intervals(self, confidence: float = 0.95) -> Floats:
        """Return Wald's confidence interval of each weight, shape (D, 2) (LR-S7).

        Raises
        ------
        ValueError
            LR-C3: the confidence is not between 0 and 1.

        Examples
        --------
        >>> X, labels = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), np.array([0, 0, 1, 0, 1, 1])
        >>> fit_binary(X, labels).intervals().round(2)  # log 2 − log(1/2), from a small sample
        array([[-2.01,  4.78]])
        """
        if not 0 < confidence < 1:
            raise ValueError(f"LR-C3: confidence must be between 0 and 1, got {confidence}")
        reach = NormalDist().inv_cdf((1 + confidence) / 2) * self.weight_errors
        return np.stack([self.weights - reach, self.weights + reach], axis=1)

    def as_multinomial(self) -> Model:
        """Return the same classifier with a score for each class: 0 for class 0 (LR-I5)."""
        return Model(
            np.stack([np.zeros_like(self.weights), self.weights], axis=1), np.array([0.0, self.bias])
        )


def fit_binary(X: Array, labels: Labels, *, penalty: float = 0.0, max_steps: int = 100) -> BinaryModel:
    r"""Find the weights that make the right ones of two classes most probable.

    The loss, the mean of −log p(right class), is convex, and smooth enough for Newton's method:

    .. math:: \nabla L = X^T (p - y) / N \qquad \nabla^2 L = X^T \operatorname{diag}(p (1 - p)) X / N

    (with a feature that is always 1 for the bias). A step solves least squares with weights p (1 − p), which
    gave the method its other name, iteratively reweighted least squares. Steps that would raise the loss are
    halved.

    Where some weighing of the features separates the classes, ever larger weights are ever better, and there
    are no best ones. This is recognised (LR-C4): either the weights of some step separate the classes, or its
    direction, which then points to infinity, does.

    Spec: LR-S6 to LR-S8.

    Parameters
    ----------
    X : ndarray, shape (N, D)
        The examples, floats.
    labels : ndarray of int, shape (N,)
        The class of each example, 0 or 1.
    penalty : float
        Adds ``penalty/2 · Σ w²`` to the loss: with any penalty, however small, there are best weights.
    max_steps : int
        How many steps to make at most; ten are usual.

    Returns
    -------
    BinaryModel

    Raises
    ------
    ValueError, TypeError
        LR-C1: the examples are no matrix of finite floats. LR-C2: the labels do not fit to them. LR-C3: the
        penalty or the number of steps. LR-C4: only one class occurs, or the classes can be separated and
        there is no penalty.

    References
    ----------
    .. [1] P. McCullagh and J. A. Nelder, "Generalized Linear Models", 2nd edition, 1989: the method.
    .. [2] A. Albert and J. A. Anderson, "On the existence of maximum likelihood estimates in logistic
       regression models", Biometrika 71 (1984): separation.
    .. [3] F. Bach, "Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4
       (2010), proposition 2: when Newton's method has arrived.

    Examples
    --------
    A treatment with a success in 2 of 3 cases against one with a success in 1 of 3:

    >>> X, labels = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]]), np.array([0, 0, 1, 0, 1, 1])
    >>> model = fit_binary(X, labels)
    >>> model.predict_probability(np.array([[0.0], [1.0]])).round(4)
    array([0.3333, 0.6667])
    >>> round(math.exp(model.weights[0]), 4)  # the odds grow from 1/2 to 2
    4.0
    """
    X = _examples(X)
    signs = _signs(labels, len(X))
    _check_training(penalty, "max_steps", max_steps, least=1)
    frame = _Frame.of(X, penalised=penalty > 0)
    ridge = len(X) * penalty * frame.squares()

    here = _Point.at(np.zeros(frame.inputs.shape[1]), frame.inputs, signs, ridge)
    steps, converged, moved = 0, False, True
    while moved and not converged and steps < max_steps:
        steps += 1
        step = here.newton_step()
        if penalty == 0:
            _refuse_separable(frame.inputs, signs, here, step)
        distance = here.distance(frame.inputs, step)
        here, moved = _next_point(here, step, distance, frame.inputs, signs, ridge)
        converged = distance <= 2.0**-26  # the step has squared it
    return _model(frame, here, X, signs, steps, converged)


@dataclass(frozen=True)
class _Frame:
    """The features in coordinates in which Newton's equations are well determined.

    Each feature is centred and scaled to a standard deviation of 1. Without a penalty, the coordinates are
    those of the singular vectors, and directions in which the examples do not differ at all are left out.

    Attributes
    ----------
    inputs : ndarray, shape (N, R + 1)
        The examples, with a last input that is always 1.
    basis : ndarray, shape (D, R)
        The weights are ``basis @ theta[:-1]``.
    centre : ndarray, shape (D,)
        What was subtracted: the bias is ``theta[-1] − centre · weights``.
    free : ndarray, shape (D, D − R)
        The directions that were left out, in weights.
    """

    inputs: Floats
    basis: Floats
    centre: Floats
    free: Floats

    @staticmethod
    def of(X: Floats, *, penalised: bool) -> _Frame:
        """Return the frame of some examples."""
        N, D = X.shape
        constant = X.max(axis=0) == X.min(axis=0)
        centre = np.where(constant, X[0], X.mean(axis=0))
        centred = X - centre
        scale = np.where(constant, 1.0, np.sqrt(np.mean(centred**2, axis=0)))
        standard = centred / scale
        if penalised:
            rows, rank = np.eye(D), D
        else:
            _, values, rows = np.linalg.svd(standard, full_matrices=N < D)
            negligible = max(N, D) * np.finfo(np.float64).eps * values.max(initial=0.0)
            rank = int(np.sum(values > negligible))
        basis = rows[:rank].T / scale[:, None]
        inputs = np.hstack([gemm(standard, rows[:rank], transpose_b=True), np.ones((N, 1))])
        return _Frame(inputs, basis, centre, rows[rank:].T / scale[:, None])

    def squares(self) -> Floats:
        """Return the matrix of the sum of the squared weights, as a form in theta."""
        form = np.zeros((self.inputs.shape[1],) * 2)
        form[:-1, :-1] = gemm(self.basis, self.basis, transpose_a=True)
        return form


@dataclass(frozen=True)
class _Point:
    """The loss and its derivatives, summed over the examples, for some weights.

    Attributes
    ----------
    theta : ndarray, shape (R + 1,)
        The weights in the frame, and the bias last.
    margins : ndarray, shape (N,)
        The scores, with the sign that makes them positive for the right class.
    log_likelihood, loss : float
        The sum of log p(right class), and what is lowered: minus that, plus the penalty.
    gradient, curvature : ndarray
        Of the loss.
    """

    theta: Floats
    margins: Floats
    log_likelihood: float
    loss: float
    gradient: Floats
    curvature: Floats

    @staticmethod
    def at(theta: Floats, inputs: Floats, signs: Floats, ridge: Floats) -> _Point:
        """Compute them; p − y is −sign · σ(−margin), which keeps its digits where p is near to y."""
        margins = signs * (inputs @ theta)
        right, wrong = sigmoid(margins), sigmoid(-margins)
        log_likelihood = float(np.sum(log_sigmoid(margins)))
        weighted = inputs * (right * wrong)[:, None]
        return _Point(
            theta,
            margins,
            log_likelihood,
            float(theta @ ridge @ theta) / 2 - log_likelihood,
            ridge @ theta - inputs.T @ (signs * wrong),
            gemm(inputs, weighted, transpose_a=True) + ridge,
        )

    def newton_step(self) -> Floats:
        """Return what to add to theta for the least value of the quadratic that resembles the loss here."""
        return np.asarray(np.linalg.lstsq(self.curvature, -self.gradient)[0])

    def distance(self, inputs: Floats, step: Floats) -> float:
        """Return how far the least loss is, in units in which the curvature is almost constant up to 1/2.

        The length of the step in the norm of the curvature (Newton's decrement) times the largest length of
        an example in the dual norm. Where it is at most 1/2, there is a least loss, and a Newton step squares
        it (Bach 2010, in coordinates in which the curvature is 1).
        """
        decrement = max(float(-self.gradient @ step), 0.0) ** 0.5
        duals = np.linalg.lstsq(self.curvature, inputs.T)[0]
        longest = max(float(np.max(np.sum(inputs.T * duals, axis=0))), 0.0) ** 0.5
        return float(decrement * longest)


def _next_point(
    here: _Point, step: Floats, distance: float, inputs: Floats, signs: Floats, ridge: Floats
) -> tuple[_Point, bool]:
    """Make a step, halved until it lowers the loss; say whether it did."""
    for _ in range(60):
        there = _Point.at(here.theta + step, inputs, signs, ridge)
        # Near the end the step is right, and rounding hides by how little the loss falls.
        if distance <= 0.25 or there.loss < here.loss:
            return there, True
        step = step / 2
    return here, False


def _refuse_separable(inputs: Floats, signs: Floats, here: _Point, step: Floats) -> None:
    """Raise an error if the weights here, or the direction of the step, separate the classes (LR-C4)."""
    rounding = 2.0**-52 * (inputs.shape[1] + 2) * (np.abs(inputs) @ np.abs(here.theta))
    if np.all(here.margins > rounding) or _separates(inputs, signs, step):
        raise ValueError(
            "LR-C4: X must not separate the two classes unless there is a penalty: some weighing of the "
            "features does, and no finite weights are the best; got penalty=0.0"
        )


def _separates(inputs: Floats, signs: Floats, step: Floats) -> bool:
    """Return whether a direction near the step moves no example to the wrong side, and some to the right one.

    On the way to infinity, a Newton step adds about 1 to the margins of the examples that can be separated,
    and nothing to the others. The part of the step that moves these is removed; what is left must hold.
    """
    gains = signs * (inputs @ step)
    if not (gains.max() > 0.5 and gains.min() > -0.01):
        return False
    stay = inputs[gains <= 0.5]
    direction = step - (np.linalg.lstsq(stay, stay @ step)[0] if len(stay) else 0.0)
    left = np.abs(stay @ direction) <= 2.0**-40 * np.maximum(1.0, np.abs(stay) @ np.abs(direction))
    return bool(np.all(left) and np.all((signs * (inputs @ direction))[gains > 0.5] > 0.25))


def _model(frame: _Frame, here: _Point, X: Floats, signs: Floats, steps: int, converged: bool) -> BinaryModel:
    """Return the weights in terms of the features as they were given, with their standard errors."""
    weights = frame.basis @ here.theta[:-1]
    # How the bias and the weights, in that order, follow from theta.
    rows = np.hstack([frame.basis, np.zeros((len(frame.basis), 1))])
    everything = np.vstack([np.append(-frame.centre @ frame.basis, 1.0), rows])
    covariance = everything @ np.linalg.pinv(here.curvature, hermitian=True) @ everything.T
    errors = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    open_ends = np.vstack([-frame.centre @ frame.free, frame.free])
    sizes = np.vstack([np.abs(frame.centre) @ np.abs(frame.free), np.abs(frame.free)])
    # A direction of no effect that a number takes part in leaves that number open.
    undetermined = np.any(np.abs(open_ends) > 2.0**-40 * sizes.max(axis=0, initial=0.0), axis=1)
    errors = np.where(undetermined, np.inf, errors)
    return BinaryModel(
        weights=weights,
        bias=float(here.theta[-1] - frame.centre @ weights),
        weight_errors=errors[1:],
        bias_error=float(errors[0]),
        log_likelihood=here.log_likelihood,
        steps=steps,
        converged=converged,
    )


# ------------------------------------------------------------------------------------------------------------
# Rules for arguments.


def _matrix(X: Array) -> Floats:
    (X,) = widened("LR-C1", X=X)
    if X.ndim != 2 or X.dtype == object:
        raise ValueError(f"LR-C1: X must be a matrix of floats, got {X.dtype} of shape {X.shape}")
    return X


def _examples(X: Array) -> Floats:
    """Return examples to train on, of which there is at least one, and all are finite."""
    X = _matrix(X)
    if not (len(X) and np.isfinite(X).all()):
        what = "NaN or infinities" if len(X) else "none"
        raise ValueError(f"LR-C1: X must hold at least one example, all finite, got {what}")
    return X


def _numbers(name: str, given: Array, examples: int) -> Floats:
    """Return one finite number for each example."""
    (numbers,) = widened("LR-C5", **{name: given})
    if numbers.shape != (examples,) or not examples or not np.isfinite(numbers.astype(float)).all():
        raise ValueError(
            f"LR-C5: {name} must be {examples} finite numbers, at least one, got shape {numbers.shape}"
        )
    return numbers.astype(np.float64)


def _classes(given: Any, examples: int) -> Labels:
    labels: Labels = np.asarray(given)
    if labels.shape != (examples,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        least = f", the least {labels.min()}" if labels.dtype.kind in "iu" and labels.size else ""
        raise ValueError(
            f"LR-C2: labels must be {examples} integers from 0 on, one per row of X; "
            f"got {labels.dtype} of shape {labels.shape}{least}"
        )
    return labels


def _signs(labels: Any, examples: int) -> Floats:
    """Return +1 for class 1 and −1 for class 0; refuse other classes, and one class alone."""
    labels = _classes(labels, examples)
    if labels.max() > 1:
        raise ValueError(f"LR-C2: labels must be 0 or 1, got {labels.max()}")
    if labels.min() == labels.max():
        raise ValueError(f"LR-C4: labels must hold both classes, got nothing but {labels[0]}")
    return np.where(labels == 1, 1.0, -1.0)


def _check_training(penalty: Any, name: str, steps: Any, *, least: int) -> None:
    if not 0 <= penalty < math.inf:
        raise ValueError(f"LR-C3: penalty must be at least 0 and finite, got {penalty}")
    try:
        count = operator.index(steps)
    except TypeError:
        raise TypeError(f"LR-C3: {name} must be an integer, got {steps!r}") from None
    if count < least:
        raise ValueError(f"LR-C3: {name} must be at least {least}, got {count}")
