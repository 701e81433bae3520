"""What changed from one report to another, and whether something got worse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaugeblock.conformance.reports.data import LEVELS, entries, visible

BEST_FIRST = ("conforming", "partial", "outside", "unsupported", "violating")
"""A verdict that moves to the right got worse."""

SHARE = 0.1
"""By how much of its bound an error may grow without a word."""

CONDITIONS = (
    "backend",
    "device",
    "simulated",
    "seed",
    "profile",
    "level",
    "isolation",
    "versions",
    "environment",
)
"""What a run depended on: where these differ, so may the reports."""

STYLES = {"worse": "bold red", "better": "green"}


@dataclass(frozen=True)
class Change:
    """One change: where, what, from what to what, and whether that is worse, better or neither."""

    operation: str
    dtype: str
    what: str
    old: str
    new: str
    kind: str = ""


@dataclass
class Difference:
    """All changes, and what else the runs differed in."""

    notes: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def worse(self) -> bool:
        """Whether something got worse."""
        return any(change.kind == "worse" for change in self.changes)


def compare(old: dict[str, Any], new: dict[str, Any]) -> Difference:
    """Compare two reports.

    A larger error within its bound is worse where both runs drew the same problems, else it is only told.

    Parameters
    ----------
    old, new
        The reports (JSON format 2).
    """
    found = Difference(seconds=(old["seconds"], new["seconds"]))
    for name in CONDITIONS:
        if old[name] != new[name]:
            found.notes.append(f"{name} differs: {_differing(old[name], new[name])}")
    found.notes += [
        f"the {age} run was interrupted" for age, run in (("old", old), ("new", new)) if not run["complete"]
    ]
    same_problems = all(old[name] == new[name] for name in ("seed", "profile"))
    before = {(operation, dtype): entry for operation, dtype, entry in entries(old)}
    after = {(operation, dtype): entry for operation, dtype, entry in entries(new)}
    for key in dict.fromkeys([*before, *after]):
        if key not in after:
            found.changes.append(Change(*key, "gone", before[key]["verdict"], "—", "worse"))
        elif key not in before:
            kind = "worse" if after[key]["verdict"] == "violating" else "better"
            found.changes.append(Change(*key, "new", "—", after[key]["verdict"], kind))
        else:
            found.changes += _compare_entries(*key, before[key], after[key], same_problems)
    return found


def _differing(old: Any, new: Any) -> str:
    """Write two values, of dictionaries only what differs."""
    if not isinstance(old, dict):
        return f"{old}, now {new}"
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {old.get(name, 'absent')}, now {new.get(name, 'absent')}" for name in names)


def _compare_entries(
    operation: str, dtype: str, old: dict[str, Any], new: dict[str, Any], same_problems: bool
) -> list[Change]:
    """Compare what two runs found about an operation in a dtype."""
    changes = []

    def note(what: str, before: Any, after: Any, kind: str = "") -> None:
        changes.append(Change(operation, dtype, what, str(before), str(after), kind))

    for level in LEVELS:
        if old["levels"][level] != new["levels"][level]:
            before, after = old["levels"][level], new["levels"][level]
            note(f"level {level}", before, after, _rank(before, after))
    for id in dict.fromkeys([*old["clauses"], *new["clauses"]]):
        before, after = (entry["clauses"].get(id, {}).get("verdict", "not tried") for entry in (old, new))
        if before != after:
            note(id, before, after, _rank(before, after))
    for name in ("domain", "departures", "arithmetic"):
        if old[name] != new[name]:
            note(name, old[name], new[name])
    shares = old["worst_share_of_bound"] or 0.0, new["worst_share_of_bound"] or 0.0
    if shares[1] - shares[0] > SHARE:
        before, after = (f"{share:.2f}" for share in shares)
        note("error / bound", before, after, "worse" if same_problems else "")
    return changes


def _rank(old: str, new: str) -> str:
    """Say whether the second of two verdicts is worse or better."""
    if "not tried" in (old, new):
        return "worse" if new == "violating" or old == "conforming" else ""
    return "worse" if BEST_FIRST.index(new) > BEST_FIRST.index(old) else "better"


def show(console: Console, found: Difference) -> None:
    """Print what changed."""
    for note in found.notes:
        console.print(Text(visible(note)))
    if found.changes:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for heading in ("operation", "dtype", "what", "old", "new", ""):
            table.add_column(heading, overflow="fold")
        for change in found.changes:
            cells = (change.operation, change.dtype, change.what, change.old, change.new, change.kind)
            style = STYLES.get(change.kind, "")
            table.add_row(
                *(Text(visible(cell), style=style if cell == change.kind else "") for cell in cells)
            )
        console.print(table)
    counts = [sum(change.kind == kind for change in found.changes) for kind in STYLES]
    others = len(found.changes) - sum(counts)
    words = (
        f"{counts[0]} worse, {counts[1]} better, {others} other changes"
        if found.changes
        else "nothing changed"
    )
    console.print(f"{words}; {found.seconds[0]:.0f} s, now {found.seconds[1]:.0f} s")
