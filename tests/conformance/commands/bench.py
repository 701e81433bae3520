"""``gaugeblock bench``: how fast backends are, beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaugeblock.conformance.bench import runner as races
from gaugeblock.conformance.commands.options import (
    CONFORMING,
    VIOLATING,
    Commands,
    add_call_options,
    add_threshold,
    asked_calls,
    expect_writable,
    gpu_of,
    to_positive,
)
from gaugeblock.conformance.commands.results import compare_races
from gaugeblock.conformance.console import Output, bar
from gaugeblock.conformance.reports import bench
from gaugeblock.spec import demonstrations


def add(commands: Commands) -> None:
    """Add the command."""
    timed = commands.add_parser(
        "bench",
        help="time backends in turn, and hold what was timed to its bounds",
        description=f"{bench_backends.__doc__} The exit code is 1 if a result is wrong "
        "or something got worse.",
    )
    _bench_options(timed)
    timed.set_defaults(run=bench_backends)


def bench_backends(options: argparse.Namespace) -> int:
    """Time backends in turn on layers of known networks, and hold each result to its bound afterwards.

    Kernels on the simulated device are counted instead. Needs pytest-benchmark (extra ``benchmark``).
    """
    gpu = gpu_of(options.gpu)
    expect_writable(json=options.json, picture=options.picture)
    operations, dtypes, call = asked_calls(options)
    old = None if options.against is None else bench.read(options.against)
    console = Output()
    asked = races.races(options.backends, operations, dtypes or ["float32"], options.layers, call, gpu)
    with bar(console) as progress:
        task = progress.add_task("", total=len(asked))
        found = races.run(
            asked,
            options.rounds,
            options.json,
            lambda race: progress.update(task, advance=1, description=f"{str(race)[:40]:<40}"),
        )
    bench.show(console, found)
    if options.picture is not None:
        demonstrations.write(bench.picture(found), options.picture)
    wrong = any(side["verdict"] != "right" for race in found for side in race["sides"].values())
    worse = old is not None and compare_races(old, found, options.threshold) == VIOLATING
    return VIOLATING if wrong or worse else CONFORMING


def _bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench``."""
    parser.add_argument(
        "backends", nargs="+", metavar="BACKEND", help="as for conform; the first is compared with the others"
    )
    add_call_options(parser, "time")
    parser.add_argument(
        "--layers",
        type=to_positive,
        default=2,
        metavar="N",
        help="of networks, a call each (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=to_positive, default=20, metavar="N", help="turns of each (default: %(default)s)"
    )
    parser.add_argument(
        "--gpu", default="H100", metavar="NAME", help="for predictions of simulated kernels (default: H100)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write what pytest-benchmark writes")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw ratios and the roofline")
    parser.add_argument("--against", type=Path, metavar="OLD.json", help="say what changed since another run")
    add_threshold(parser)
