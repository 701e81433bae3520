"""A campaign: cells that are not finished yet go to an engine, and what comes back goes to the store.

Only this process writes to the store. Whatever ends it, what is finished stays, and the next run of the same
plan on the same store goes on from there.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gaugeblock.conformance.campaign.cells import Cell, cut, digest, identity
from gaugeblock.conformance.campaign.engines.engine import Done, Engine
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.campaign.lease import Lease
from gaugeblock.conformance.campaign.plan import Plan
from gaugeblock.conformance.campaign.store import Row, Store
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.evidence import total
from gaugeblock.conformance.levels import LEVELS
from gaugeblock.conformance.reports.data import within
from gaugeblock.spec.operations import OPERATIONS

TRIES = 3
"""How often a cell whose worker was lost is tried before that is recorded."""

LOOK = 0.5
"""Seconds between looks at the time and at the lease."""


@dataclass
class State:
    """How far a campaign is.

    Attributes
    ----------
    total, finished
        Cells of the plan, and of them those that are finished.
    found
        Of them those that were finished before this run.
    examples, violations, lost
        Of this run.
    begun
        When it began, by the monotonic clock.
    ended
        Why it ended before the last cell, if it did.
    """

    total: int
    finished: int
    found: int = 0
    examples: int = 0
    violations: int = 0
    lost: int = 0
    begun: float = field(default_factory=time.monotonic)
    ended: str = ""

    @property
    def complete(self) -> bool:
        """Whether all cells are finished."""
        return self.finished == self.total


@dataclass(frozen=True)
class Limits:
    """When to end before the last cell.

    Parameters
    ----------
    seconds
        After so long.
    at_first
        At the first violation.
    again
        Whether cells that were lost are tried again.
    level
        The level up to which violations count.
    """

    seconds: float = float("inf")
    at_first: bool = False
    again: bool = False
    level: str = LEVELS[0]


def run(
    plan: Plan,
    store: Store,
    start: Callable[[], Engine],
    limits: Limits,
    progress: Callable[[State], None],
) -> State:
    """Run a campaign, or what is left of it.

    Parameters
    ----------
    plan, store
        What to try, and where results are kept.
    start
        Starts the engine; it is not called where nothing is left to do.
    limits
        When to end before the last cell.
    progress
        Called after every cell, and now and then.

    Raises
    ------
    CampaignError
        If the plan has no cells, or the store, the engine or a backend cannot be used.
    """
    cells = cut(plan)
    if not cells:
        raise CampaignError(
            "the plan has no cells: no section has an operation in a format that it exists in"
        )
    content = {**_without_cells(plan), "cells": digest(sorted(digest(cell.content()) for cell in cells))}
    with Lease(store).kept() as lease:
        described = store.open(content)
        if described:
            state, todo = _left(cells, described, store, limits.again)
            if not todo:
                return state
        engine = start()
        try:
            found = _described(plan, engine, described, store)
            if not described:
                store.describe(content, found)
                state, todo = _left(cells, found, store, limits.again)
            _work(state, todo, found, engine, store, lease, limits, progress)
        finally:
            engine.close()
    return state


def _without_cells(plan: Plan) -> dict[str, Any]:
    """Return what a plan says of all its cells, for a message that names what differs."""
    return {
        "backends": [str(target) for target in plan.targets],
        "time_limit": plan.time_limit,
        "cell_limit": plan.cell_limit,
        "shrink": plan.shrink,
    }


def _described(plan: Plan, engine: Engine, before: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """Have every backend described, and refuse one that is another than the store's."""
    found = {}
    for target in plan.targets:
        now = found[str(target)] = engine.describe(target, plan.time_limit)
        was = before.get(str(target), now)
        for part in ("versions", "files", "backend", "processor"):
            if was[part] != now[part]:
                names = [n for n in {**was[part], **now[part]} if was[part].get(n) != now[part].get(n)]
                words = (
                    f"{names[0]} was {_short(was[part].get(names[0]))}, is {_short(now[part].get(names[0]))}"
                )
                raise CampaignError(
                    f"{store.place} has results of another {target}: {part}, {words}; "
                    "results of different versions do not mix: use another --store"
                )
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _left(
    cells: list[Cell], described: Mapping[str, Any], store: Store, again: bool
) -> tuple[State, dict[str, Cell]]:
    """Return how far a campaign is, and the cells that are left, by their identities."""
    named = {
        identity(cell, described[str(cell.target)]): cell
        for cell in cells
        if cell.operation in described[str(cell.target)]["backend"]["takes_out"]
    }
    if not named:
        raise CampaignError("the plan has no cells: its backends have none of its operations")
    finished = store.finished() & named.keys()
    if again and finished:
        finished -= {
            row["cell"] for row in store.query("SELECT DISTINCT cell FROM cells WHERE verdict = 'lost'")
        }
    todo = {name: cell for name, cell in named.items() if name not in finished}
    return State(len(named), len(finished), len(finished)), todo


def _work(
    state: State,
    todo: Mapping[str, Cell],
    described: Mapping[str, Any],
    engine: Engine,
    store: Store,
    lease: Lease,
    limits: Limits,
    progress: Callable[[State], None],
) -> None:
    """Keep the engine busy until all cells are finished, or a limit is met."""
    queue, tries, running = deque(todo), Counter[str](), 0
    while queue or running:
        while queue and running < engine.room:
            name = queue.popleft()
            tries[name] += 1
            engine.submit(name, todo[name], described[str(todo[name].target)])
            running += 1
        for done in engine.wait(LOOK):
            running -= 1
            if done.result is None and tries[done.identity] < TRIES:
                queue.append(done.identity)
                continue
            cell = todo[done.identity]
            rows = list(_rows(done, cell, described[str(cell.target)], tries[done.identity]))
            if lease.lost:
                raise CampaignError(f"{store.place} was taken over: {lease.lost}")
            store.put(done.identity, rows)
            state.finished += 1
            state.examples += sum(row["examples"] for row in rows)
            state.violations += sum(
                row["verdict"] == "violating" and within(row["level"], limits.level) for row in rows
            )
            state.lost += any(row["verdict"] == "lost" for row in rows)
        progress(state)
        if state.violations and limits.at_first:
            state.ended = "at the first violation"
        elif time.monotonic() - state.begun > limits.seconds:
            state.ended = f"after its {limits.seconds:g} s"
        if state.ended:
            return


def _rows(done: Done, cell: Cell, described: Mapping[str, Any], tries: int) -> Iterator[Row]:
    """Yield a row for each clause or problem of a cell, and one for what of it was lost."""
    result = done.result or {"outcomes": [], "unfinished": done.reason, "measured": {}}
    measured = dict(result["measured"])
    about: Row = {
        "cell": done.identity,
        "kind": cell.kind,
        "target": str(cell.target),
        "device": described["backend"]["device"],
        "simulated": bool(described["backend"]["declared"].get("simulated")),
        "operation": cell.operation,
        "dtype": cell.dtype,
        "profile": cell.effort.profile if cell.kind == "conform" else None,
        "seed": cell.effort.seed if cell.kind == "conform" else None,
        "first_pattern": cell.first if cell.kind == "sweep" else None,
        "versions": json.dumps(described["versions"]),
        "cell_seconds": measured.get("seconds"),
        "tries": tries,
        "ladder": json.dumps(measured.get("ladder", {})),
        **{name: measured.get(name) for name in ("host", "gpus", "started", "platform", "isolation")},
        "examples": 0,
    }
    checks = checks_of(OPERATIONS[cell.operation])
    for clause, outcome in result["outcomes"]:
        kept = {name: value for name, value in outcome.items() if name not in ("seconds", "memory")}
        yield {
            **about,
            **{name: outcome[name] for name in ("verdict", "examples", "message", "problem", "reproduce")},
            "clause": clause,
            "role": checks[clause].role,
            "level": outcome["level"] or checks[clause].level,
            **{of: total(outcome["by_size"], of) for of in ("asked", "answered", "declined")},
            "worst_share_of_bound": outcome["worst_share_of_bound"],
            "outcome": json.dumps(kept),
            "seconds": outcome["seconds"],
            "memory": json.dumps(outcome["memory"]),
        }
    if result["unfinished"]:
        yield {**about, "verdict": "lost", "message": result["unfinished"]}
