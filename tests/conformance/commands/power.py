"""``gaugeblock coverage`` and ``gaugeblock mutants``: what the suite asks, and what it catches."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from gaugeblock.conformance.commands.options import (
    CONFORMING,
    VIOLATING,
    Commands,
    UsageError,
    one_of,
    to_seed,
)
from gaugeblock.conformance.console import Output
from gaugeblock.conformance.problems import factors
from gaugeblock.spec.operations import OPERATIONS


def add(commands: Commands) -> None:
    """Add the commands."""
    coverage = commands.add_parser(
        "coverage",
        help="say which combinations of sizes, layouts, forms and parameters a run tries",
        description=show_coverage.__doc__,
    )
    coverage.add_argument(
        "--operation", action="append", default=[], metavar="NAME", help="only this operation (repeatable)"
    )
    coverage.add_argument(
        "--strength",
        type=int,
        default=2,
        choices=(2, 3),
        help="2 for pairs, which the profile ci tries, 3 for the triples of deep (default: %(default)s)",
    )
    coverage.add_argument("--seed", type=to_seed, default=0, help="that of a run (default: %(default)s)")
    coverage.set_defaults(run=show_coverage)

    mutants = commands.add_parser(
        "mutants",
        help="print which rules tell broken kernels from right ones (in a checkout)",
        description=show_mutants.__doc__,
    )
    mutants.add_argument(
        "--json", type=Path, metavar="FILE.json", help="keep the answers, and go on from those that it has"
    )
    mutants.add_argument("--record", action="store_true", help="ask this suite, and keep its answers")
    mutants.set_defaults(run=show_mutants)


def show_coverage(options: argparse.Namespace) -> int:
    """Count the pairs, or triples, of values of different factors, and those that the problems of a run hold.

    Packed arrays are a clause of their own (GEN-S11); with their layouts they are put for GEN-S3 and GEN-S7.
    """
    names = [one_of(name, OPERATIONS, "operation") for name in options.operation] or list(OPERATIONS)
    what, console, missing = {2: "pairs", 3: "triples"}[options.strength], Output(), 0
    console.print(f"{'operation':<22} {'arrays':<9} {'factors':>7} {what:>8} {'tried':>8} {'problems':>8}")
    for name in names:
        for laid_out in (False, True):
            found = factors.covering(name, laid_out, options.strength, options.seed)
            missing += found.possible - found.covered
            sizes = (
                f"{len(found.factors.values):>7} {found.possible:>8} {found.covered:>8} {len(found.rows):>8}"
            )
            console.print(f"{name:<22} {'laid out' if laid_out else 'packed':<9} {sizes}")
    return VIOLATING if missing else CONFORMING


MUTANTS = Path("tests", "mutants", "matrix.py")
"""What is no part of the package: the mutants, and the rules that they are held against."""


def show_mutants(options: argparse.Namespace) -> int:
    """Print which rules, ours and others', call which broken kernel wrong, and which correct one."""
    if not MUTANTS.is_file():
        raise UsageError(f"the mutants come with the repository, not the package: there is no {MUTANTS} here")
    arguments = ["--record"] if options.record else []
    arguments += ["--json", str(options.json)] if options.json is not None else []
    return subprocess.run([sys.executable, str(MUTANTS), *arguments], check=False).returncode
