"""Levels of conformance (GEN-D12): what a clause is needed for, and so which verdict it belongs to."""

from __future__ import annotations

from typing import Final, Literal

Level = Literal["numeric", "robust", "reproducible", "strict"]

LEVELS: Final[tuple[Level, ...]] = ("numeric", "robust", "reproducible", "strict")
"""From what every user needs to what a reference implementation needs; each holds those before it too."""


def up_to(level: str) -> frozenset[str]:
    """Return the levels that a verdict at ``level`` includes.

    >>> sorted(up_to("robust"))
    ['numeric', 'robust']
    """
    return frozenset(LEVELS[: LEVELS.index(level) + 1])
