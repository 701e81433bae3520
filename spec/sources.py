"""Where the error of a state comes from, carried along a sequence of steps (clause UNIT-A1).

The size of an error, carried from step to step, is multiplied by the magnitudes of the derivatives, which may
be more than 1 where the derivatives themselves make it shrink. What is carried here is the error as a sum
over all that was ever rounded, each times the exact derivative of the state with respect to it.

Source: L. H. de Figueiredo, J. Stolfi, "Affine arithmetic: concepts and applications", Numerical Algorithms
37 (2004); W. Kühn, "Rigorously computed orbits of dynamical systems without the wrapping effect", Computing
61 (1998), for merging.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gaugeblock.spec.formats import Float64

__all__ = ["Sources", "finite"]

_PRODUCTS = 1 << 27  # multiplications that carrying sources through a step may take
_NEGLIGIBLE = 2.0**-8  # share of an error whose sources need not be told apart
_LEAST = 2.0**-1000


def finite(array: Any) -> Float64:
    """Return an array with 0 in place of what is not finite."""
    return np.asarray(np.where(np.isfinite(array), array, 0.0))


@dataclass(frozen=True)
class Sources:
    """What has been made of every error so far: the error of a state is within a sum of images of sources.

    A source is an unknown number from −1 to 1: an error as a share of its bound. If the error of a state is J
    times that of the state before, and r, with |r| ≤ ρ, then its images are J times those of before, and one
    more for each element, which is ρ there. It is at most the sum of the magnitudes of all images.

    Attributes
    ----------
    images : float64 array, shape (2, N, H, sources)
        Of each source in each element of the state's two parts. Where carrying one source for each element
        would take too long there are none, and `bound` is infinite.

    Examples
    --------
    Two numbers err by 1 each; their sum and their difference, exchanged, are off by 2 each. Then their sum is
    twice the first number, and no more off than that: the second one's error has gone.

    >>> state = Sources(np.array([[[[1.0, 0.0]]], [[[0.0, 1.0]]]]))
    >>> first, second = state.images
    >>> mixed = state.made(first + second, first - second)
    >>> mixed.bound.ravel(), mixed.made(mixed.images.sum(axis=0), second).bound.ravel()
    (array([2., 2.]), array([2., 1.]))
    """

    images: Float64

    @classmethod
    def none(cls, N: int, H: int) -> "Sources":
        """Return a state without error."""
        return cls(np.zeros((2, N, H, 0)))

    def made(self, first: Float64, second: Float64) -> "Sources":
        """Return the state whose parts have these images of the same sources."""
        return Sources(np.stack([first, second]))

    @property
    def most(self) -> int:
        """How many sources can be carried."""
        _, N, H, _ = self.images.shape
        return int(_PRODUCTS // max(4 * N * H * H, 1))

    @property
    def bound(self) -> Float64:
        """The largest error of each element, (2, N, H)."""
        return self.within(self.images)

    def within(self, images: Float64) -> Float64:
        """Return the largest error of what has these images of the sources."""
        sizes = np.sum(np.abs(images), axis=-1)
        return np.asarray(sizes if self.most >= 2 * self.images.shape[2] else np.full_like(sizes, np.inf))

    def anew(self, part: int, error: Float64, own: Float64) -> "Sources":
        """Add a source for each element of a part, to which its images and ``own`` belong.

        ``error`` bounds the whole error too. Where it is much the better bound, because second order
        prevails, and where it is infinite or 0, an element begins anew: all of its error is one source.
        """
        whole = self.bound[part] + own
        usable = np.isfinite(error) & (error > 0) & (whole <= 2 * error)
        images = self.images.copy()
        images[part] = np.where(usable[..., np.newaxis], images[part], 0.0)
        return Sources(images).joined(part, _diagonal(finite(np.where(usable, own, error))))

    def joined(self, part: int, more: Float64) -> "Sources":
        """Add sources, (N, H, sources), of which the other part has nothing."""
        if self.most < 2 * self.images.shape[2]:
            return self
        added = np.zeros((*self.images.shape[:-1], more.shape[-1]))
        added[part] = more
        return Sources(np.concatenate([self.images, added], axis=-1))

    def few(self) -> "Sources":
        """Merge old sources into one for each element: what weighs little, and what is too much."""
        _, _, H, count = self.images.shape
        if count <= 4 * H:
            return self
        weights = np.abs(self.images) / np.fmax(self.bound, _LEAST)[..., np.newaxis]
        old = int(np.searchsorted(np.cumsum(np.max(weights, axis=(0, 1, 2), initial=0.0)), _NEGLIGIBLE))
        if count > self.most:
            old = max(old, count - max(self.most // 2 - 2 * H, 0))
        if old < 4 * H:
            return self
        sizes = np.sum(np.abs(self.images[..., :old]), axis=-1)
        young = Sources(self.images[..., old:])
        return young.joined(0, _diagonal(sizes[0])).joined(1, _diagonal(sizes[1]))


def _diagonal(sizes: Float64) -> Float64:
    """Return a source for each element, (N, H, H)."""
    return np.asarray(sizes[..., np.newaxis] * np.eye(sizes.shape[-1]))
