"""What came of races: as tables, as a picture, and beside an older file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaugeblock.conformance.reports import files
from gaugeblock.conformance.reports.profile import short
from gaugeblock.spec.demonstrations import Picture
from gaugeblock.spec.demonstrations.style import ACCENT, INK, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Change", "compare", "is_bench", "picture", "read", "show", "show_changes"]

Found = Sequence[Mapping[str, Any]]

NEED = 0.05
"""By how much a ratio may get worse without a word."""


# Tables --------------------------------------------------------------------------------------------------


def show(console: Console, found: Found) -> None:
    """Print a row for each race, and what was wrong."""
    names = list(dict.fromkeys(name for race in found for name in race["sides"]))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("call", overflow="fold")
    for name in names:
        table.add_column(Path(name).name, justify="right")
    for race in found:
        call = Text.assemble(
            (f"{race['operation']} {race['dtype']}", "bold"), (f"\n{race['problem']}", "dim")
        )
        table.add_row(call, *(_cell(race, name) for name in names))
    console.print(table)
    console.print(
        "×: times the first that was timed, between its quartiles; %: of the roofline. Of simulated kernels: "
        "instructions, bytes of global memory over the least, and what a model predicts, never measured.",
        style="dim",
    )
    for race in found:
        for name, side in race["sides"].items():
            if (verdict := side["verdict"]) != "right":
                words = f"{name}, {race['operation']} {race['dtype']} of {race['problem']}: {verdict}"
                console.print(words, style="bold red", markup=False, soft_wrap=True)


def _cell(race: Mapping[str, Any], name: str) -> Text:
    side = race["sides"].get(name)
    if side is None:
        return Text("–", style="dim")
    if side["verdict"] != "right":
        return Text(side["verdict"].partition(":")[0], style="bold red")
    if side.get("counted"):
        time = side["predicted_seconds"]
        words = f"{short(side['instructions'])} instructions, bytes ×{side['global_bytes_over_least']:.2f}"
        return Text(
            words + ("" if time is None else f"\n{short(time)}s on {side['predicted_on']}, predicted")
        )
    if "seconds" not in side:
        return Text("–", style="dim")
    share = side["share_of_roofline"]
    words = f"{short(side['seconds'])}s" + ("" if share is None else f", {share:.0%}")
    low, high = side["times_the_first_quartiles"]
    if (low, high) != (1.0, 1.0):
        words += f"\n×{_times(side['times_the_first'])} ({_times(low)} to {_times(high)})"
    return Text(words)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 99.5 else f"{ratio:.3g}"


# The picture ---------------------------------------------------------------------------------------------


def picture(found: Found) -> Picture:
    """Return ratios by call, and rates below the roofline, of what was timed."""
    caption = "Left: times, as multiples of the first backend's; lines span the quartiles. Right: rates."
    return Picture("bench", caption, lambda figure: _draw(figure, found))


COLOURS = (ACCENT, INK, QUIET)
MARKS = "osD^v"


def _draw(figure: Figure, found: Found) -> None:
    ratios, roofline = figure.subplots(1, 2, width_ratios=(1.2, 1.0))
    names = list(dict.fromkeys(name for race in found for name in race["sides"]))
    look = {
        name: {"color": colour, "marker": mark, "linestyle": "none"}
        for name, colour, mark in zip(names, cycle(COLOURS), cycle(MARKS), strict=False)
    }
    calls = [f"{race['operation']} {race['dtype']}" for race in found]
    for name in names:
        points = [
            (place, side) for place, race in enumerate(found) if (side := _timed(race, name)) is not None
        ]
        if not points:
            continue
        places = [place for place, _ in points]
        times = [side["times_the_first"] for _, side in points]
        ratios.plot(times, places, label=Path(name).name, **look[name])
        for place, side in points:
            ratios.plot(side["times_the_first_quartiles"], [place, place], "-", color=look[name]["color"])
        rates = [found[place]["flops"] / side["seconds"] for place, side in points]
        roofline.plot([found[p]["flops"] / found[p]["nbytes"] for p in places], rates, **look[name])
    ratios.axvline(1.0, color=QUIET, linewidth=0.6)
    ratios.set(xscale="log", xlabel="time, as a multiple of the first's", yticks=range(len(calls)))
    ratios.set_yticklabels(calls)
    ratios.invert_yaxis()
    figure.legend(loc="outside upper left", ncols=4)
    _roofs(roofline, found)
    roofline.set(
        xscale="log", yscale="log", xlabel="operations for a byte at least", ylabel="operations a second"
    )


def _timed(race: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    side = race["sides"].get(name, {})
    return side if "seconds" in side and side["verdict"] == "right" else None


def _roofs(axes: Axes, found: Found) -> None:
    """Draw where a share of the roofline would be one: it follows from each point's share and rate."""
    points = {
        (race["flops"] / race["nbytes"], race["flops"] / side["seconds"] / side["share_of_roofline"])
        for race in found
        for name in race["sides"]
        if (side := _timed(race, name)) is not None and side["share_of_roofline"]
    }
    axes.plot(*zip(*sorted(points), strict=True) if points else ((), ()), color=INK, linewidth=0.8)


# Two files -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What changed of a side of a race."""

    call: str
    name: str
    what: str
    old: float
    new: float
    worse: bool


def is_bench(file: Path) -> bool:
    """Whether this is a file of pytest-benchmark."""
    data = files.load(file)
    return isinstance(data, dict) and isinstance(data.get("benchmarks"), list)


def read(file: Path) -> Found:
    """Return the races of a file that ``gaugeblock bench --json`` wrote.

    Raises
    ------
    ReportError
        It is none.
    """
    data = files.load(file)
    races = data.get("benchmarks") if isinstance(data, dict) else None
    if not isinstance(races, list) or not all("sides" in each.get("extra_info", {}) for each in races):
        raise files.ReportError(f"{file} holds no races of gaugeblock bench")
    return [each["extra_info"] for each in races]


def compare(old: Found, new: Found, threshold: float = NEED) -> list[Change]:
    """Return what differs by more than a threshold between races that both files have.

    Seconds of different runs are not compared. A ratio to the first backend got worse where it grew by more
    than the threshold and the quartiles of the two runs do not overlap; what was counted, where it grew by
    more than the threshold; a verdict, where it was right.

    Raises
    ------
    ReportError
        They have no call in common.
    """
    before = {(race["operation"], race["dtype"], race["problem"]): race for race in old}
    if not any((race["operation"], race["dtype"], race["problem"]) in before for race in new):
        raise files.ReportError("no call is in both files")
    found: list[Change] = []
    for race in new:
        key = race["operation"], race["dtype"], race["problem"]
        for name, side in race["sides"].items():
            other = before.get(key, {}).get("sides", {}).get(name)
            if other is not None:
                found += _changes(" ".join(key), name, other, side, threshold)
    return found


COUNTED = ("instructions", "global_bytes", "bank_conflicts", "registers", "spilled_bytes", "launches")


def _changes(
    call: str, name: str, old: Mapping[str, Any], new: Mapping[str, Any], threshold: float
) -> Iterator[Change]:
    if old["verdict"] != new["verdict"]:
        before, after = (float(side["verdict"] == "right") for side in (old, new))
        yield Change(call, name, "right", before, after, worse=after < before)
    for what in COUNTED:
        was, now = old.get(what), new.get(what)
        if was is not None and now is not None and abs(now - was) > threshold * was:
            yield Change(call, name, what, was, now, worse=now > was)
    if "times_the_first" in old and "times_the_first" in new:
        was, now = old["times_the_first"], new["times_the_first"]
        (low, high), (new_low, new_high) = old["times_the_first_quartiles"], new["times_the_first_quartiles"]
        apart = new_low > high or new_high < low
        if apart and abs(now - was) > threshold * was:
            yield Change(call, name, "time, as a multiple of the first's", was, now, worse=now > was)


def show_changes(console: Console, changes: Sequence[Change]) -> None:
    """Print what changed, or that nothing did."""
    for each in changes:
        words = f"{each.call}: {each.name}: {each.what}: {each.old:.4g} → {each.new:.4g}"
        console.print(words, style="bold red" if each.worse else "green", markup=False, soft_wrap=True)
    worse = sum(each.worse for each in changes)
    console.print(f"{worse} worse, {len(changes) - worse} better")
