"""Where the error of a network's result comes from: the condition of a computation, found backward (CNN-A1).

Errors that are carried by their sizes are multiplied by the magnitudes of the weights of one layer after the
other, which no error is: it is multiplied by what the layers together make of it. A `Trace` says of an array
what was added to its error where it was made, and how the rest depends on the errors of earlier arrays. Going
back from one number to all of them finds the derivatives, and the bound is the sum of their magnitudes times
what was added.

Source: F. L. Bauer, "Computational graphs and rounding error", SIAM Journal on Numerical Analysis 11 (1974).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gaugeblock.spec.formats import Float64

__all__ = ["Trace"]

Back = Callable[[Float64], Float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """How the error of an array comes about.

    An implementation's array is off by no more than ``own``, plus the images of what its parents are off by
    under linear maps. Examples lie along the first axis of all arrays, and never mix.

    Attributes
    ----------
    own : float64 array
        What was added here.
    parents : tuple of (Trace, callable)
        Earlier arrays; for each the transpose of the linear map, from a gradient of this array to one of it.

    Examples
    --------
    Twice a number less twice the same number is not off, whatever the number is:

    >>> number = Trace(np.array([[1.0]]))
    >>> double = Trace(np.array([[0.0]]), ((number, lambda gradient: 2 * gradient),))
    >>> ends = (double, lambda gradient: gradient), (number, lambda gradient: -2 * gradient)
    >>> Trace(np.array([[0.25]]), ends).bound()
    array([[0.25]])
    """

    own: Float64
    parents: tuple[tuple[Trace, Back], ...] = ()

    def bound(self) -> Float64:
        """Return the largest error of each number of an array (N, K), in K passes through its past."""
        columns = np.zeros_like(self.own)
        order = self._order()
        for k in range(columns.shape[1]):
            gradient = np.zeros_like(self.own)
            gradient[:, k] = 1
            columns[:, k] = self._added(order, gradient)
        return columns

    def _order(self) -> list[Trace]:
        """Return this and all that it comes from, each before its parents."""
        seen: set[int] = set()
        order: list[Trace] = []

        def visit(trace: Trace) -> None:
            if id(trace) not in seen:
                seen.add(id(trace))
                for parent, _ in trace.parents:
                    visit(parent)
                order.append(trace)

        visit(self)
        return order[::-1]

    def _added(self, order: list[Trace], gradient: Float64) -> Float64:
        """Return for each example the sum of all that was added, times the magnitudes of its derivatives."""
        gradients = {id(self): gradient}
        total = np.zeros(len(self.own))
        for trace in order:
            here = gradients.pop(id(trace))
            total += np.sum(np.abs(here) * trace.own, axis=tuple(range(1, here.ndim)))
            for parent, back in trace.parents:
                image = back(here)
                gradients[id(parent)] = gradients[id(parent)] + image if id(parent) in gradients else image
        return total
