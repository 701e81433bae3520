"""``gaugeblock conform``: hold a backend against the spec."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gaugeblock.conformance import planning, runner
from gaugeblock.conformance.backend.loading import ADAPTERS
from gaugeblock.conformance.commands.options import (
    CONFORMING,
    DTYPES,
    EXIT_CODES,
    FORMS,
    VIOLATING,
    Commands,
    UsageError,
    expect_writable,
    one_of,
    to_positive,
    to_seconds,
    to_seed,
)
from gaugeblock.conformance.console import Output, RunDisplay, show
from gaugeblock.conformance.engine import PROFILES
from gaugeblock.conformance.reports import files
from gaugeblock.conformance.reports.data import LEVELS
from gaugeblock.spec.operations import OPERATIONS


def add(commands: Commands) -> None:
    """Add the command."""
    conform = commands.add_parser(
        "conform",
        help="hold a backend against the spec",
        description=conform_backend.__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    conform.add_argument(
        "backend", help=f"a Python, .cu or .onnx file, PTX, an importable module, or {', '.join(ADAPTERS)}"
    )
    conform.add_argument(
        "solution", nargs="?", help="of the problem of KernelBench that stands before it, a Python file"
    )
    conform.add_argument(
        "--operation", action="append", default=[], metavar="NAME", help="only this operation (repeatable)"
    )
    conform.add_argument(
        "--dtype",
        action="append",
        default=[],
        metavar="NAME",
        help="only float32, float16 or bfloat16 (repeatable)",
    )
    conform.add_argument(
        "--profile",
        default="ci",
        choices=list(PROFILES),
        help="how many examples to try (default: %(default)s)",
    )
    conform.add_argument(
        "--seed", type=to_seed, help="draw the same problems as the run that named this seed"
    )
    conform.add_argument(
        "--level",
        default=LEVELS[0],
        choices=LEVELS,
        help="what the exit code asks for; all levels are tried (default: %(default)s)",
    )
    for form, (_, example) in FORMS.items():
        what = {"report": "JSON report", "junit": "report as JUnit XML", "html": "report as a page"}
        words = f"write the {what.get(form, form)}"
        conform.add_argument(f"--{form}", type=Path, metavar=example, help=words)
    conform.add_argument(
        "--jobs",
        type=to_positive,
        default=min(os.cpu_count() or 1, 4),
        metavar="N",
        help="processes (default: %(default)s)",
    )
    conform.add_argument(
        "--time-limit",
        type=to_seconds,
        default=60.0,
        metavar="SECONDS",
        help="longest a call may take (default: %(default)g)",
    )
    conform.add_argument(
        "--shapes",
        type=Path,
        metavar="FILE",
        help="try these problems too: JSON lines or CSV, one a line (tests/conformance/README.md)",
    )
    conform.add_argument(
        "--budget",
        type=to_seconds,
        default=0.0,
        metavar="SECONDS",
        help="after the run, try layers of networks at growing batches for so long",
    )
    conform.add_argument("--no-shrink", action="store_true", help="do not make failing problems smaller")
    conform.set_defaults(run=conform_backend)


def conform_backend(options: argparse.Namespace) -> int:
    """Hold a backend against the spec and print a verdict for every operation and dtype."""
    operations = [one_of(name, OPERATIONS, "operation") for name in options.operation] or list(OPERATIONS)
    dtypes = [DTYPES[one_of(name, DTYPES, "dtype")] for name in options.dtype] or [
        "float32",
        "float16",
        "bfloat16",
    ]
    expect_writable(**dict(_asked_for(options)))
    console = Output()
    plan = planning.plan(
        _backend(options.backend, options.solution),
        operations=operations,
        dtypes=dtypes,
        profile=options.profile,
        seed=options.seed,
        shrink=not options.no_shrink,
        time_limit=options.time_limit,
        level=options.level,
        shapes=options.shapes,
        budget=options.budget,
    )
    for line in plan.notes:
        console.print(line, markup=False)
    console.print(f"seed {plan.effort.seed}")
    start = time.monotonic()
    try:
        with RunDisplay(console, plan.sizes(), plan.level) as display:
            report = runner.run(plan, jobs=options.jobs, progress=display.advance)
    except runner.Interrupted as interrupted:
        interrupted.report.seconds = time.monotonic() - start
        _write_reports(options, interrupted.report.as_data())
        tried = sum(len(entry.clauses) for entry in interrupted.report.entries.values())
        words = (
            f"ended by {signal.Signals(interrupted.signal).name} after {tried} of {len(plan.cases)} checks"
        )
        print(f"gaugeblock: {words}", file=sys.stderr)
        return 128 + interrupted.signal
    report.seconds = time.monotonic() - start
    show(console, report)
    _write_reports(options, report.as_data())
    return CONFORMING if report.conforming else VIOLATING


def _backend(backend: str, solution: str | None) -> str:
    """Return the one name of a backend; two are a problem and a solution."""
    if solution is None:
        return backend
    if not (backend.endswith(".py") and solution.partition(":")[0].endswith(".py")):
        raise UsageError(
            f"{backend} {solution}: two are a problem of KernelBench and a solution, Python files both"
        )
    return f"{backend}+{solution}"


def _asked_for(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """Return the forms of the report that the user wants, and where."""
    return [(form, file) for form in FORMS if (file := getattr(options, form)) is not None]


def _write_reports(options: argparse.Namespace, data: dict[str, Any]) -> None:
    """Write every form of the report that the user wants, whatever becomes of the others."""
    failures = []
    for form, file in _asked_for(options):
        try:
            files.write(file, FORMS[form][0](data))
        except OSError as error:
            failures.append(f"--{form}: {error}")
    if failures:
        raise UsageError("; ".join(failures))
