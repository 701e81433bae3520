r"""Multinomial logistic regression: which of several classes, and with which probability.

The scores of the classes are weighted inputs, and `softmax` turns scores into probabilities:

.. math:: p = \operatorname{softmax}(X W + b)

That is a network without a hidden layer: one `gemm`, one activation. Training lowers the mean of
−log p(right class), on all examples at once and from zero weights: the same data give the same model.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Logistic
Regression".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gaugeblock.reference._arguments import Array, widened
from gaugeblock.reference.activation import log_softmax, softmax
from gaugeblock.reference.gemm import gemm

__all__ = ["Model", "fit"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Model:
    """A trained classifier of D features into K classes.

    Attributes
    ----------
    weights : ndarray, shape (D, K)
        How much a feature speaks for a class.
    bias : ndarray, shape (K,)
        How much speaks for a class before any feature is seen.
    losses : tuple of float
        The mean of −log p(right class) over the training examples, before each step.
    """

    weights: Floats
    bias: Floats
    losses: tuple[float, ...] = ()

    def scores(self, X: Array) -> Floats:
        """Return X W + b, shape (N, K)."""
        return gemm(_examples(X), self.weights, self.bias, beta=1.0)

    def predict_probability(self, X: Array) -> Floats:
        """Return the probability of every class for every example, shape (N, K); a row sums to 1."""
        return softmax(self.scores(X))

    def predict(self, X: Array) -> Labels:
        """Return the most probable class of every example, shape (N,)."""
        classes: Labels = np.argmax(self.scores(X), axis=1)
        return classes


def fit(X: Array, labels: Labels, *, steps: int = 50, penalty: float = 0.0) -> Model:
    r"""Train a model on all examples at once, by Newton steps that cannot overshoot.

    With one-hot rows Y, the gradient of the loss in W is :math:`X^T (P - Y) / N`: predicted minus right,
    carried back to the inputs. Newton's step divides it by the curvature of the loss. It depends on W, but is
    never more than :math:`X^T X / 2N`; divided by that bound, no step raises the loss, and one inverse
    serves all steps.

    Parameters
    ----------
    X : ndarray, shape (N, D)
        The examples, floats.
    labels : ndarray of int, shape (N,)
        The class of each example, 0 to K − 1.
    steps : int
        How many times the weights are adjusted.
    penalty : float
        Adds ``penalty/2 · Σ W²`` to the loss: small weights are preferred. At least 0.

    Returns
    -------
    Model
        With the loss before each step in ``losses``.

    Raises
    ------
    ValueError, TypeError
        The examples are no matrix of floats, or the labels do not fit to them.

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
    Y = _one_hot(labels, len(X))
    if not penalty >= 0:
        raise ValueError(f"logistic regression: penalty must be at least 0, got {penalty}")
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


def _examples(X: Array) -> Floats:
    (X,) = widened("logistic regression", X=X)
    if X.ndim != 2 or X.dtype == object:
        raise ValueError(
            f"logistic regression: X must be a matrix of floats, got {X.dtype} of shape {X.shape}"
        )
    return X


def _one_hot(labels: Labels, examples: int) -> Floats:
    """Return a row per label: 1 in its column, 0 elsewhere."""
    labels = np.asarray(labels)
    if labels.shape != (examples,) or labels.dtype.kind not in "iu" or examples == 0 or labels.min() < 0:
        raise ValueError(
            f"logistic regression: labels must be {examples} integers from 0 on, one per row of X, "
            f"and at least one; got {labels.dtype} of shape {labels.shape}"
        )
    return np.eye(int(labels.max()) + 1)[labels]
