"""``gaugeblock campaign`` from its options to its exit code."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from gaugeblock.conformance.campaign import plan as plans
from gaugeblock.conformance.campaign.engines.engine import Engine
from gaugeblock.conformance.campaign.errors import CampaignError, needing
from gaugeblock.conformance.console import bar
from gaugeblock.conformance.reports import files
from gaugeblock.conformance.stopping import stoppable

EVERY = 30.0
"""Seconds between lines of progress where there is no terminal."""


def run(options: argparse.Namespace, console: Console) -> int:
    """Run a campaign, print its verdict, and return 0 if nothing violates and nothing was lost or left."""
    with needing("campaign"):
        from gaugeblock.conformance.campaign import forms, report, running
        from gaugeblock.conformance.campaign.store import Store

    forms_of: Mapping[str, Callable[[dict[str, Any]], str]] = {
        "report": files.as_json, "junit": forms.as_junit, "html": forms.as_page,
    }  # fmt: skip
    asked = [(form, file) for form in forms_of if (file := getattr(options, form)) is not None]
    for form, file in asked:
        try:
            files.expect_writable(file)
        except OSError as error:
            raise CampaignError(f"--{form}: {error}") from error
    plan = plans.read(options.plan)
    store = Store(options.store or f"{options.plan.stem}.campaign")
    limits = running.Limits(options.time_budget, options.stop_at_first, options.again, options.level)
    begun, interrupted = time.monotonic(), 0
    with stoppable() as stop, _Display(console) as display:
        try:
            state = running.run(plan, store, lambda: _engine(options, plan), limits, display.show)
        except KeyboardInterrupt:
            if display.state is None:
                raise
            state, interrupted = display.state, stop.signal or 2
    found = report.read(
        plan, store, options.level, complete=state.complete, seconds=time.monotonic() - begun,
        command=shlex.join(["gaugeblock", *sys.argv[1:]]),
    )  # fmt: skip
    data = found.as_data()
    for form, file in asked:
        files.write(file, forms_of[form](data))
    _print(console, found, state, str(store.place))
    if interrupted:
        return 128 + interrupted
    return 0 if found.verdict == "conforming" and found.complete else 1


def _engine(options: argparse.Namespace, plan: plans.Plan) -> Engine:
    if options.engine == "ray":
        with needing("ray"):
            from gaugeblock.conformance.campaign.engines.ray import Cluster

        return Cluster(options.address, plan.runtime_env)
    from gaugeblock.conformance.campaign.engines.local import Local

    return Local(options.workers)


class _Display:
    """Progress of a campaign: a bar where there is a terminal, else a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.state: Any = None
        self.told = 0.0
        self.progress = bar(console)
        self.task = self.progress.add_task("cells", total=None)

    def __enter__(self) -> _Display:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def show(self, state: Any) -> None:
        """Show how far it is."""
        self.state, now = state, time.monotonic()
        rate = state.examples / max(now - state.begun, 1e-9)
        words = f"{rate:.0f} examples/s, {state.violations} violations"
        words += f", {state.lost} lost" if state.lost else ""
        self.progress.update(self.task, total=state.total, completed=state.finished, description=words)
        if not self.console.is_terminal and now - self.told > EVERY:
            self.told = now
            self.console.print(f"{state.finished} of {state.total} cells, {words}")


def _print(console: Console, found: Any, state: Any, place: str) -> None:
    """Print violations, a table with a column for each backend and device, and the verdict."""
    from gaugeblock.conformance.campaign.report import at_level

    for each in at_level(found.violations, found.level):
        where = f"{', '.join(each.dtypes)} on {', '.join(each.devices)}, {len(each.cells)} cells"
        console.rule(f"{each.clause} violated by {each.operation}", style="bold red", align="left")
        console.print(f"{each.target}: {where}\n{each.message}", markup=False)
        if each.reproduce:
            console.print(f"\nto see it again:\n\n{each.reproduce}", markup=False, soft_wrap=True)
    beyond = len(found.violations) - len(at_level(found.violations, found.level))
    if beyond:
        console.print(f"{beyond} violations beyond level {found.level} are in the reports")
    console.print(_table(found))
    for each in found.lost:
        words = (
            f"{each['kind']} of {each['operation']} {each['dtype']}, {each['tries']} tries: {each['message']}"
        )
        console.print(f"lost: {each['target']}: {words}", markup=False, soft_wrap=True)
    left = state.total - state.finished
    ended = f"ended {state.ended}, " if state.ended else ""
    rest = f"{ended}{left} left; " if left else ""
    console.print(
        f"{found.verdict} at level {found.level}: {state.finished} of {state.total} cells"
        f" ({state.found} from before), {rest}{len(found.lost)} lost; results in {place}",
        markup=False, style="bold", soft_wrap=True,
    )  # fmt: skip


def _table(found: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("operation", "dtype"):
        table.add_column(heading)
    for name, report in found.reports.items():
        table.add_column(f"{name} on {report.device}", overflow="fold")
    keys = dict.fromkeys(key for report in found.reports.values() for key in report.entries)
    for key in keys:
        entries = (report.entries.get(key) for report in found.reports.values())
        table.add_row(*key, *("" if entry is None else entry.verdict(found.level) for entry in entries))
    return table


__all__ = ["run"]
