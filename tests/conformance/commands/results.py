"""``gaugeblock diff`` and ``gaugeblock replay``: what became of an earlier run."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaugeblock.conformance.commands.options import (
    CONFORMING,
    DTYPES,
    VIOLATING,
    Commands,
    UsageError,
    add_threshold,
    one_of,
)
from gaugeblock.conformance.console import Output
from gaugeblock.conformance.reports import bench, difference, files, replaying
from gaugeblock.spec.operations import OPERATIONS


def add(commands: Commands) -> None:
    """Add the commands."""
    compare = commands.add_parser(
        "diff",
        help="say what changed between two reports",
        description=f"{compare_reports.__doc__} The exit code is 0 if nothing got worse, 1 if something did.",
    )
    compare.add_argument("old", type=Path, metavar="OLD.json")
    compare.add_argument("new", type=Path, metavar="NEW.json")
    add_threshold(compare)
    compare.set_defaults(run=compare_reports)

    again = commands.add_parser(
        "replay",
        help="put the failures of a report to the backend again",
        description=f"{replay_report.__doc__} The exit code is 0 if all hold now, 1 if one still fails. "
        "This runs the backend that the report names: replay no report that you do not trust.",
    )
    again.add_argument("report", type=Path, metavar="REPORT.json")
    for name in ("operation", "dtype", "clause"):
        again.add_argument(
            f"--{name}", action="append", default=[], metavar="NAME", help=f"only this {name} (repeatable)"
        )
    again.add_argument("--backend", metavar="FILE", help="this backend, not the one that the report names")
    again.set_defaults(run=replay_report)


def compare_reports(options: argparse.Namespace) -> int:
    """Say what changed from one JSON report to another, or from one file of benchmarks to another."""
    if bench.is_bench(options.old) and bench.is_bench(options.new):
        return compare_races(bench.read(options.old), bench.read(options.new), options.threshold)
    found = difference.compare(files.read(options.old), files.read(options.new))
    difference.show(Output(), found)
    return VIOLATING if found.worse else CONFORMING


def compare_races(old: bench.Found, new: bench.Found, threshold: float) -> int:
    changes = bench.compare(old, new, threshold)
    bench.show_changes(Output(), changes)
    return VIOLATING if any(change.worse for change in changes) else CONFORMING


def replay_report(options: argparse.Namespace) -> int:
    """Put the failures of a JSON report to its backend again."""
    data = files.read(options.report)
    operations = [one_of(name, OPERATIONS, "operation") for name in options.operation]
    dtypes = [DTYPES[one_of(name, DTYPES, "dtype")] for name in options.dtype]
    chosen = replaying.failures(data, operations, dtypes, [clause.upper() for clause in options.clause])
    if options.operation + options.dtype + options.clause and not chosen:
        raise UsageError(f"{options.report} has no such failure")
    backend, folder = replaying.place(data, options.report, options.backend)
    failed = replaying.replay_all(chosen, backend, folder)
    print(f"{failed} of {len(chosen)} failures of {options.report} still fail")
    return VIOLATING if failed else CONFORMING
