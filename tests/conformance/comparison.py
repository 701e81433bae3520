"""A result beside the exact one: which elements are within their bounds, and what is said of the worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaugeblock.spec import accuracy

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Elements held to their bounds.

    Parameters
    ----------
    got, want, bound
        The result, the exact one, and how far they may lie apart.
    accepted
        Which elements are right.
    share
        Their errors as a share of their bounds; infinite where no number may stand there.
    """

    got: Floats
    want: Floats
    bound: accuracy.Bound
    accepted: NDArray[np.bool_]
    share: Floats

    @classmethod
    def of(cls, got: Floats, want: Floats, bound: accuracy.Bound, form: accuracy.Format) -> Comparison:
        """Hold every element of ``got`` to its bound around ``want``."""
        accepted = accuracy.accept(got, want, bound, form)
        with np.errstate(all="ignore"):
            error = np.abs(got - want)
            share = np.where(error == 0, 0.0, error / bound.value)
        share = np.where(np.isfinite(got) & np.isfinite(want), share, np.where(accepted, 0.0, np.inf))
        return cls(got, want, bound, accepted, share)

    @property
    def wrong(self) -> int:
        """Number of elements outside their bounds."""
        return int((~self.accepted).sum())

    @property
    def worst(self) -> int:
        """Flat index of the element that is farthest out, of the wrong ones if there are any."""
        return int(np.argmax(np.where(self.accepted & (self.wrong > 0), -1.0, self.share)))

    @property
    def largest(self) -> float:
        """Share of the bound of that element."""
        return float(self.share.flat[self.worst])

    @property
    def finite(self) -> bool:
        """Whether it is a number, and should be."""
        return bool(np.isfinite([self.got.flat[self.worst], self.want.flat[self.worst]]).all())

    def terms(self, element: int) -> dict[str, float]:
        """Return the terms of the bound at an element, zeros left out."""
        where = np.unravel_index(element, self.got.shape)
        found = ((n, float(np.broadcast_to(t, self.got.shape)[where])) for n, t in self.bound.terms.items())
        return {name: value for name, value in found if value}

    def limit(self, element: int) -> float:
        """Return the bound at an element."""
        return float(np.broadcast_to(self.bound.value, self.got.shape).reshape(-1)[element])

    def describe(self, named: Sequence[np.intp | int] | None = None) -> str:
        """Put the worst element, its bound and the bound's terms into words; ``named`` is its index there."""
        worst = self.worst
        where = np.unravel_index(worst, self.got.shape)
        got, want, share = (float(array[where]) for array in (self.got, self.want, self.share))
        lines = [f"{place(where if named is None else named)} = {got!r}, want {want!r}"]
        lines[0] += f", bound {self.limit(worst):.3g}"
        if np.isfinite(share):
            lines[0] += f" ({share:.3g} times the bound)"
        if terms := self.terms(worst):
            lines.append("bound = " + " + ".join(f"{value:.3g} ({name})" for name, value in terms.items()))
        return "\n".join(lines)


def place(where: Sequence[np.intp | int]) -> str:
    """Write an element of a result as code, without an index where it has no axes."""
    return f"result[{', '.join(str(int(i)) for i in where)}]" if where else "result"
