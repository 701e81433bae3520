"""Numbers instead of classes: a linear model and a network predict them for what they have not seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.logistic_regression import explained, fit_linear
from gaugeblock.reference.machine_learning import Examples, fit, squared_error
from gaugeblock.reference.network import Network, Regressor
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations import data, swift

__all__ = ["DIABETES", "DIGITS", "FOLDS", "TASKS", "Predictions", "predictions"]

Floats = npt.NDArray[np.float64]

DIABETES, DIGITS = "progression of diabetes", "value of a digit"
TASKS = (DIABETES, DIGITS)
FOLDS = 5
"""Parts of the data, each predicted by models that have seen the others."""
LINEAR = Activation("leaky_relu", {"negative_slope": 1.0})
"""The activation of the last layer: what it is given, as a number may be anything."""


@dataclass(frozen=True)
class Predictions:
    """What was predicted for examples that the models had not seen.

    Attributes
    ----------
    wanted, linear, network : ndarray, shape (N,)
        The right numbers, and what the linear model and the network said.
    """

    wanted: Floats
    linear: Floats
    network: Floats

    @property
    def explained(self) -> tuple[float, float]:
        """The shares of the variance that the linear model and the network explain."""
        return explained(self.linear, self.wanted), explained(self.network, self.wanted)


@cache
def predictions(task: str) -> Predictions:
    """Predict each part of the data, in an order drawn once, from the others."""
    X, wanted = data.diabetes() if task == DIABETES else (data.digits().X, data.digits().labels.astype(float))
    order = np.random.default_rng(0).permutation(len(X))
    X, wanted = X[order], wanted[order]
    linear, network = np.empty(len(X)), np.empty(len(X))
    for fold in range(FOLDS):
        new = np.arange(len(X)) % FOLDS == fold
        linear[new] = fit_linear(X[~new], wanted[~new], penalty=1e-3).predict(X[new])
        network[new] = _by_network(X[~new], wanted[~new], X[new])
    return Predictions(wanted, linear, network)


def _by_network(X: Floats, wanted: Floats, new: Floats) -> Floats:
    """Return what a network with one hidden layer predicts; a fifth is held out to say when to stop."""
    middle, spread = wanted.mean(), wanted.std()
    known = Examples(X, ((wanted - middle) / spread)[:, None])
    held_out, training = known.split(len(X) // 5)
    draw = np.random.default_rng(0)
    layers = (
        FullyConnected.initial(X.shape[1], 32, Activation("relu"), draw),
        FullyConnected.initial(32, 1, LINEAR, draw),
    )
    learner = Regressor(Network(layers), squared_error, rate=0.01, momentum=0.9, decay=1e-3, on=swift)
    found = fit(learner, training, held_out, batch=32, rounds=60, patience=10).model
    return np.asarray(found.predict(new)[:, 0] * spread + middle)
