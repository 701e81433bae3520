"""What a campaign asks of an engine, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gaugeblock.conformance.campaign.cells import Cell
from gaugeblock.conformance.campaign.plan import Target


@dataclass(frozen=True)
class Done:
    """A cell that came back.

    Parameters
    ----------
    identity
        Of the cell.
    result
        What :func:`gaugeblock.conformance.campaign.trying.try_cell` returned, if it did.
    reason
        Why it did not.
    """

    identity: str
    result: dict[str, Any] | None = None
    reason: str = ""


class Engine(Protocol):
    """Runs cells somewhere, as many at a time as there is room for."""

    @property
    def room(self) -> int:
        """How many cells it should hold at a time, running or next to run."""

    def describe(self, target: Target, time_limit: float) -> dict[str, Any]:
        """Return what a backend says of itself where cells of it would run.

        Raises
        ------
        CampaignError
            If it cannot be loaded there, or there is no such place.
        """

    def submit(self, identity: str, cell: Cell, expected: Mapping[str, Any]) -> None:
        """Take a cell."""

    def wait(self, seconds: float) -> list[Done]:
        """Return the cells that came back within so many seconds, as soon as there is one."""

    def close(self) -> None:
        """End what runs."""
