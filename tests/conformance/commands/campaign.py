"""``gaugeblock campaign`` and ``gaugeblock record``: many runs as one, and the calls that a model makes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gaugeblock.conformance.commands.options import (
    CONFORMING,
    FORMS,
    Commands,
    UsageError,
    expect_writable,
    to_positive,
    to_seconds,
)
from gaugeblock.conformance.console import Output
from gaugeblock.conformance.recording.log import Log
from gaugeblock.conformance.reports.data import LEVELS


def add(commands: Commands) -> None:
    """Add the commands."""
    several = commands.add_parser(
        "campaign",
        help="hold backends against the spec on many machines, as a plan says",
        description=f"{run_campaign.__doc__} The exit code is 0 if all cells conform, else 1.",
    )
    _campaign_options(several)
    several.set_defaults(run=run_campaign)

    recorded = commands.add_parser(
        "record",
        help="write down the problems that a model's run meets, for --shapes and campaigns",
        description=f"{record_problems.__doc__} The exit code is the program's, 2 if no problem was met.",
    )
    recorded.add_argument(
        "--output", type=Path, default=Path("shapes.jsonl"), metavar="FILE", help="default: %(default)s"
    )
    recorded.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=SHAPE",
        help="of a model whose input is open, x=1x3x224x224 (repeatable)",
    )
    recorded.add_argument("target", metavar="PROGRAM.py | MODEL.onnx")
    recorded.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="those of the program")
    recorded.set_defaults(run=record_problems)


def run_campaign(options: argparse.Namespace) -> int:
    """Try what a plan says, cell by cell, and keep each result; what was ended goes on from there."""
    if options.address and options.engine != "ray":
        raise UsageError(
            f"--address: got {options.address} with --engine {options.engine}, expected --engine ray"
        )
    from gaugeblock.conformance.campaign import command

    return command.run(options, Output())


def _campaign_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``campaign``."""
    parser.add_argument("plan", type=Path, metavar="PLAN.toml", help="tests/conformance/campaign/README.md")
    parser.add_argument(
        "--store", metavar="FOLDER", help="of results, or an address (default: PLAN.campaign)"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="what runs the cells (default: %(default)s)",
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="of a cluster of Ray (default: start one here)"
    )
    parser.add_argument(
        "--workers",
        type=to_positive,
        default=min(os.cpu_count() or 1, 4),
        metavar="N",
        help="processes of the engine local (default: %(default)s)",
    )
    parser.add_argument(
        "--level", default=LEVELS[0], choices=LEVELS, help="what the verdict is about (default: %(default)s)"
    )
    parser.add_argument(
        "--stop-at-first", action="store_true", help="end at the first violation at the level"
    )
    parser.add_argument(
        "--time-budget", type=to_seconds, default=float("inf"), metavar="SECONDS", help="end then"
    )
    parser.add_argument("--again", action="store_true", help="try cells again that were lost")
    for form in ("report", "junit", "html"):
        parser.add_argument(
            f"--{form}", type=Path, metavar=FORMS[form][1], help="write the report of all backends"
        )


def record_problems(options: argparse.Namespace) -> int:
    """Run a program of PyTorch, or a model of ONNX, and write the problems that it meets, one a line."""
    expect_writable(output=options.output)
    if not Path(options.target).is_file():
        raise UsageError(f"there is no file {options.target}")
    log, status = _recorded(options)
    print(f"gaugeblock: {log.in_words()}", file=sys.stderr)
    log.write(options.output)
    return status


def _recorded(options: argparse.Namespace) -> tuple[Log, int]:
    """Return what a run met, and its exit status."""
    try:
        if options.target.endswith(".onnx"):
            from gaugeblock.conformance.recording.onnx_run import record_model

            return record_model(Path(options.target), dict(map(_input, options.input))), CONFORMING
        from gaugeblock.conformance.recording.torch_run import record_program
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{options.target}: {error.name} is not installed: pip install {error.name}"
        ) from error
    return record_program(options.target, options.arguments)


def _input(text: str) -> tuple[str, tuple[int, ...]]:
    """Read the shape of an input, x=1x3x224x224."""
    name, equals, shape = text.rpartition("=")
    if not equals or not all(size.isdecimal() for size in shape.split("x")):
        raise UsageError(f"--input: got {text!r}, expected a name and a shape, x=1x3x224x224")
    return name, tuple(map(int, shape.split("x")))
