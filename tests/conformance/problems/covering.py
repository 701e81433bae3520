"""Covering arrays: few rows in which every pair, or triple, of values of different factors stands together.

Most faults need two or three things at once, each of which is common. Of fifteen factors with five values
each there are 3·10¹⁰ combinations and 2625 pairs, and fifty rows hold all of them. Rows are built greedily, a
value after the other, each the one that meets the most tuples not met before: D. M. Cohen et al., "The AETG
system", IEEE Trans. Software Eng. 23(7), 1997. What cannot stand together is said by rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, combinations, product
from math import factorial

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, str]
"""A value for every factor, or, of a part, for some."""

Rule = tuple[tuple[str, ...], Callable[..., bool]]
"""Names of factors, and whether their values can stand together."""


@dataclass(frozen=True, eq=False)
class Factors:
    """What a row is made of.

    Parameters
    ----------
    values
        The values of each factor, by their names.
    rules
        Which values can stand together.
    given
        Parts of rows that the array has besides: combinations of more factors than its strength.
    """

    values: Mapping[str, Sequence[str]]
    rules: Sequence[Rule] = ()
    given: Sequence[Row] = ()

    @cached_property
    def tables(self) -> dict[str, list[tuple[tuple[str, ...], NDArray[np.bool_]]]]:
        """The rules of every factor, worked out for all values."""
        tables: dict[str, list[tuple[tuple[str, ...], NDArray[np.bool_]]]] = {
            name: [] for name in self.values
        }
        for names, can in self.rules:
            values = [self.values[name] for name in names]
            answers = np.array([can(*chosen) for chosen in product(*values)], bool)
            for name in names:
                tables[name].append((names, answers.reshape([len(of) for of in values])))
        return tables

    def allowed(self, row: Mapping[str, int], name: str) -> NDArray[np.bool_]:
        """Return which values of a factor can stand beside the values of others that are chosen."""
        fits = np.ones(len(self.values[name]), bool)
        for names, table in self.tables[name]:
            places = [row.get(other) if other != name else slice(None) for other in names]
            if None not in places:
                fits &= table[tuple(places)]
        return fits


@dataclass(eq=False)
class Covering:
    """A covering array.

    Attributes
    ----------
    rows
        Its rows.
    possible
        Number of tuples that can stand together.
    """

    factors: Factors
    strength: int
    seed: int
    rows: list[dict[str, str]] = field(default_factory=list, init=False)
    possible: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._names = list(self.factors.values)
        ends = np.cumsum([0, *map(len, self.factors.values.values())]).tolist()
        self._first = dict(zip(self._names, ends, strict=False))
        self._owner = np.repeat(np.arange(len(self._names)), np.diff(ends))
        self._open = self._all_tuples()
        self._ruled = {
            name: {*chain(*(names for names, _ in self.factors.rules if name in names))} - {name}
            for name in self._names
        }
        self.possible = int(self._open.sum()) // factorial(self.strength)
        for part in self.factors.given:
            self._add({name: self.factors.values[name].index(value) for name, value in part.items()})
        while self._open.any():
            wanted = np.argwhere(self._open)
            chosen = wanted[self._random.integers(len(wanted))]
            names = [self._names[self._owner[place]] for place in chosen]
            if not self._add(
                {name: int(place) - self._first[name] for name, place in zip(names, chosen, strict=True)}
            ):
                self._close(chosen)
                self.possible -= 1

    @property
    def covered(self) -> int:
        """Number of tuples that stand in the rows, counted there."""
        return len({held for row in self.rows for held in combinations(row.items(), self.strength)})

    def _all_tuples(self) -> NDArray[np.bool_]:
        """Return for every tuple of values, counted through, whether it has yet to stand in a row."""
        apart = self._owner[:, None] != self._owner
        tuples = np.ones((len(self._owner),) * self.strength, bool)
        for i, j in combinations(range(self.strength), 2):
            tuples &= np.expand_dims(apart, [axis for axis in range(self.strength) if axis not in (i, j)])
        return tuples

    def _places(self, row: Mapping[str, int]) -> list[int]:
        return [self._first[name] + value for name, value in row.items()]

    def _add(self, part: Mapping[str, int]) -> bool:
        """Add a row that has a part; return whether there is one."""
        if not all(self.factors.allowed(part, name)[value] for name, value in part.items()):
            return False
        order = [name for name in self._random.permutation(self._names) if name not in part]
        if not all(self.factors.allowed(part, name).any() for name in order):
            return False
        row = self._complete(dict(part), sorted(order, key=lambda name: not self._ruled[name]))
        if row is None:
            return False
        self._close(self._places(row))
        self.rows.append({name: self.factors.values[name][row[name]] for name in self._names})
        return True

    def _complete(self, row: dict[str, int], order: Sequence[str]) -> dict[str, int] | None:
        """Give each factor in turn the value that meets the most tuples; go back where none fits."""
        if not order:
            return row
        name, *rest = order
        values = self._random.permutation(np.flatnonzero(self.factors.allowed(row, name)))
        fixed = [self._places(row)] * (self.strength - 1)
        met = self._open[np.ix_(values + self._first[name], *fixed)].sum(axis=tuple(range(1, self.strength)))
        for value in values[np.argsort(-met, kind="stable")]:
            longer = {**row, name: int(value)}
            if all(self.factors.allowed(longer, other).any() for other in rest if other in self._ruled[name]):
                whole = self._complete(longer, rest)
                if whole is not None:
                    return whole
        return None

    def _close(self, places: Sequence[int] | NDArray[np.int64]) -> None:
        self._open[np.ix_(*[places] * self.strength)] = False
