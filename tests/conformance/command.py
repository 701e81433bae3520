"""The ``gaugeblock`` command."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from gaugeblock.conformance import planning, profiling, runner, simulating
from gaugeblock.conformance.backend.loading import ADAPTERS, BackendError
from gaugeblock.conformance.bench import runner as races
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.console import Output, RunDisplay, bar, show, show_demonstration, steps
from gaugeblock.conformance.engine import PROFILES
from gaugeblock.conformance.problems import factors, shapes
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.shapes import ShapesError
from gaugeblock.conformance.recording.log import Log, RecordError
from gaugeblock.conformance.reports import badge, bench, difference, files, junit, page, profile, replaying
from gaugeblock.conformance.reports.data import LEVELS
from gaugeblock.conformance.reports.report import versions
from gaugeblock.gpu.runtime.roofline import GPU, GPUS
from gaugeblock.spec import citation, clauses, demonstrations
from gaugeblock.spec.formats import FORMATS, SHORT
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.plain import plain

CONFORMING, VIOLATING, USAGE, BROKEN = 0, 1, 2, 3
"""Exit codes."""

EXIT_CODES = """exit codes:
  0    the backend conforms at the level
  1    it does not: something violates, is partial, or nothing conforms
  2    a usage error: one line says what is wrong
  3    the suite itself failed: please report that
  130  interrupted (SIGINT), 143 terminated (SIGTERM): reports hold what was found by then
"""

FORMS: Mapping[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "report": (files.as_json, "FILE.json"),
    "junit": (junit.build, "FILE.xml"),
    "html": (page.build, "FILE.html"),
    "badge": (badge.build, "FILE.svg"),
}
"""Options that name a file for a report: how that is written."""

DAY = 86400
"""The longest time limit, in seconds."""

DTYPES = {**dict(zip(FORMATS, FORMATS, strict=True)), **SHORT}


REFUSALS = (
    simulating.ProgramError,
    profiling.ProfileError,
    races.BenchError,
    CampaignError,
    RecordError,
)


class UsageError(Exception):
    """The command line asks for what there is not; the message says so in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 conforming, 1 not, 2 a usage error, 3 an error of ours."""
    _prepare_streams()
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        return code
    except (UsageError, BackendError, ShapesError, files.ReportError, *REFUSALS) as error:
        print(f"gaugeblock: {error}", file=sys.stderr)
        return USAGE
    except runner.SuiteError as error:
        print(f"gaugeblock: the suite itself failed, please report this:\n{error}", file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print("gaugeblock: interrupted", file=sys.stderr)
        return 130
    except OSError as error:  # a full disk behind standard output, for one
        print(f"gaugeblock: {error}", file=sys.stderr)
        return USAGE
    finally:
        _finish_output()


def _prepare_streams() -> None:
    """Replace streams that are closed, and let no character be one that they cannot write."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  lives as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _finish_output() -> None:
    """Write what is left; where that fails, let it go, or Python would complain at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gaugeblock", description="Is this GPU kernel right?")
    parser.add_argument(
        "--version",
        action="version",
        version=f"gaugeblock {versions({})['gaugeblock']}, spec {citation.VERSION}",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

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
    conform.add_argument("--seed", type=_seed, help="draw the same problems as the run that named this seed")
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
        type=_positive,
        default=min(os.cpu_count() or 1, 4),
        metavar="N",
        help="processes (default: %(default)s)",
    )
    conform.add_argument(
        "--time-limit",
        type=_seconds,
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
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="after the run, try layers of networks at growing batches for so long",
    )
    conform.add_argument("--no-shrink", action="store_true", help="do not make failing problems smaller")
    conform.set_defaults(run=conform_backend)

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

    compare = commands.add_parser(
        "diff",
        help="say what changed between two reports",
        description=f"{compare_reports.__doc__} The exit code is 0 if nothing got worse, 1 if something did.",
    )
    compare.add_argument("old", type=Path, metavar="OLD.json")
    compare.add_argument("new", type=Path, metavar="NEW.json")
    _threshold_option(compare)
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

    simulate = commands.add_parser(
        "simulate",
        help="run a Python program on the simulated device",
        description=f"{simulate_program.__doc__} The exit code is the program's, 2 if there is none.",
    )
    simulate.add_argument(
        "--order",
        default="lockstep",
        choices=("lockstep", "warps", "lanes"),
        help="of threads: all together (fast), or warps or threads in a random order (default: %(default)s)",
    )
    simulate.add_argument("--seed", type=_seed, default=0, help="of the random order (default: %(default)s)")
    simulate.add_argument("program", metavar="PROGRAM.py")
    simulate.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="those of the program")
    simulate.set_defaults(run=simulate_program)

    timed = commands.add_parser(
        "bench",
        help="time backends in turn, and hold what was timed to its bounds",
        description=f"{bench_backends.__doc__} The exit code is 1 if a result is wrong "
        "or something got worse.",
    )
    _bench_options(timed)
    timed.set_defaults(run=bench_backends)

    counted = commands.add_parser(
        "profile",
        help="count what kernels do, and predict their time on a GPU",
        description=f"{profile_kernels.__doc__} {profile.MODEL} The exit code is a program's, 2 if there is "
        "nothing to profile.",
    )
    _profile_options(counted)
    counted.add_argument("target", metavar="PROGRAM.py | BACKEND", help="as for simulate, or for conform")
    counted.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="those of the program")
    counted.set_defaults(run=profile_kernels)

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

    devices = commands.add_parser(
        "devices", help="say what the kernels would run on", description=show_devices.__doc__
    )
    devices.set_defaults(run=show_devices)

    spec = commands.add_parser(
        "spec", help="print a clause of the spec, or build it as HTML and PDF", description=show_spec.__doc__
    )
    spec.add_argument(
        "clause",
        nargs="*",
        metavar="CLAUSE",
        help="an id such as GEMM-S1, its beginning or a concept; none lists all",
    )
    spec.add_argument("--build", type=Path, metavar="DIR", help="render the whole spec into this folder")
    spec.add_argument(
        "--vectors",
        type=Path,
        metavar="DIR",
        help="write the test vectors into this folder, with their schema",
    )
    spec.add_argument(
        "--trace",
        type=Path,
        action="extend",
        nargs="+",
        default=[],
        metavar="FILE.json",
        help="with --build: traces of our own tests (pytest --spec-trace) and reports of the suite "
        "(gaugeblock conform --report), or folders of them, for the chapter on traceability",
    )
    spec.set_defaults(run=show_spec)

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
    coverage.add_argument("--seed", type=_seed, default=0, help="that of a run (default: %(default)s)")
    coverage.set_defaults(run=show_coverage)

    concepts = commands.add_parser("show", help="demonstrate a concept", description=show_concepts.__doc__)
    concepts.add_argument(
        "concept", nargs="*", metavar="CONCEPT", help="such as convolution; none lists them all"
    )
    concepts.add_argument(
        "--output",
        type=Path,
        default=Path("gaugeblock-show"),
        metavar="DIR",
        help="folder for the pictures, made if it is not there (default: %(default)s)",
    )
    concepts.add_argument(
        "--format",
        default="svg",
        choices=demonstrations.FORMATS,
        help="of the pictures (default: %(default)s)",
    )
    concepts.add_argument(
        "--on",
        choices=("reference", "gpu"),
        default="reference",
        help="gpu: let the convolutional network learn on our kernels (default: %(default)s)",
    )
    concepts.set_defaults(run=show_concepts)
    return parser


def _bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench``."""
    parser.add_argument(
        "backends", nargs="+", metavar="BACKEND", help="as for conform; the first is compared with the others"
    )
    _call_options(parser, "time")
    parser.add_argument(
        "--layers",
        type=_count,
        default=2,
        metavar="N",
        help="of networks, a call each (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=_count, default=20, metavar="N", help="turns of each (default: %(default)s)"
    )
    parser.add_argument(
        "--gpu", default="H100", metavar="NAME", help="for predictions of simulated kernels (default: H100)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write what pytest-benchmark writes")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw ratios and the roofline")
    parser.add_argument("--against", type=Path, metavar="OLD.json", help="say what changed since another run")
    _threshold_option(parser)


def _threshold_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        type=_share,
        default=bench.NEED,
        metavar="SHARE",
        help="by how much a benchmark may get worse without a word (default: %(default)s)",
    )


def _call_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options that say which calls are made."""
    for name in ("operation", "dtype"):
        words = f"{verb} a backend for this {name} (repeatable)"
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=words)
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"{verb} the one operation with this array, x=8x64, or parameter, stride=2 (repeatable)",
    )


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
        type=_positive,
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
        "--time-budget", type=_seconds, default=float("inf"), metavar="SECONDS", help="end then"
    )
    parser.add_argument("--again", action="store_true", help="try cells again that were lost")
    for form in ("report", "junit", "html"):
        parser.add_argument(
            f"--{form}", type=Path, metavar=FORMS[form][1], help="write the report of all backends"
        )


def _profile_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``profile``, which stand before a program, and on either side of a backend."""
    parser.add_argument(
        "--gpu", default="H100", metavar="NAME", help=f"{', '.join(GPUS)} (default: %(default)s)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE.json", help="write all counters, of each launch too"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw the roofline")
    _call_options(parser, "call")


def _count(text: str) -> int:
    if (number := _whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected at least 1")
    return number


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a share such as 0.05")
    return share


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _seed(text: str) -> int:
    value = _whole(text)
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2⁶⁴ − 1")
    return value


def _positive(text: str) -> int:
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= DAY:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most {DAY} seconds")
    return value


def conform_backend(options: argparse.Namespace) -> int:
    """Hold a backend against the spec and print a verdict for every operation and dtype."""
    operations = [_known(name, OPERATIONS, "operation") for name in options.operation] or list(OPERATIONS)
    dtypes = [DTYPES[_known(name, DTYPES, "dtype")] for name in options.dtype] or [
        "float32",
        "float16",
        "bfloat16",
    ]
    for form, file in _asked_for(options):
        try:
            files.expect_writable(file)
        except OSError as error:
            raise UsageError(f"--{form}: {error}") from error
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


def run_campaign(options: argparse.Namespace) -> int:
    """Try what a plan says, cell by cell, and keep each result; what was ended goes on from there."""
    if options.address and options.engine != "ray":
        raise UsageError(
            f"--address: got {options.address} with --engine {options.engine}, expected --engine ray"
        )
    from gaugeblock.conformance.campaign import command

    return command.run(options, Output())


def record_problems(options: argparse.Namespace) -> int:
    """Run a program of PyTorch, or a model of ONNX, and write the problems that it meets, one a line."""
    try:
        files.expect_writable(options.output)
    except OSError as error:
        raise UsageError(f"--output: {error}") from error
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


def compare_reports(options: argparse.Namespace) -> int:
    """Say what changed from one JSON report to another, or from one file of benchmarks to another."""
    if bench.is_bench(options.old) and bench.is_bench(options.new):
        return _compare_races(bench.read(options.old), bench.read(options.new), options.threshold)
    found = difference.compare(files.read(options.old), files.read(options.new))
    difference.show(Output(), found)
    return VIOLATING if found.worse else CONFORMING


def replay_report(options: argparse.Namespace) -> int:
    """Put the failures of a JSON report to its backend again."""
    data = files.read(options.report)
    operations = [_known(name, OPERATIONS, "operation") for name in options.operation]
    dtypes = [DTYPES[_known(name, DTYPES, "dtype")] for name in options.dtype]
    chosen = replaying.failures(data, operations, dtypes, [clause.upper() for clause in options.clause])
    if options.operation + options.dtype + options.clause and not chosen:
        raise UsageError(f"{options.report} has no such failure")
    backend, folder = replaying.place(data, options.report, options.backend)
    failed = replaying.replay_all(chosen, backend, folder)
    print(f"{failed} of {len(chosen)} failures of {options.report} still fail")
    return VIOLATING if failed else CONFORMING


def _make_folder(folder: Path, option: str) -> None:
    """Make a folder, and refuse one that nothing can be written into, before the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{option}: {error}") from error


def show_devices(options: argparse.Namespace) -> int:
    """Say which device the kernels of ``gaugeblock.gpu`` would run on, and why."""
    from gaugeblock.gpu.runtime.compiler import CompilerUnavailable
    from gaugeblock.gpu.runtime.device import DeviceUnavailable, device

    try:
        found = device()
    except (DeviceUnavailable, CompilerUnavailable) as error:
        raise UsageError(str(error)) from error
    capability = ".".join(str(number) for number in found.compute_capability)
    lines = [f"kernels run on: {found.name}, compute capability {capability}"]
    if found.simulated:
        lines.append(f"no GPU is used: {found.reason}")
    lines += [f"{name} {version}" for name, version in found.versions.items()]
    Output().print("\n".join(lines), markup=False, soft_wrap=True)
    return CONFORMING


def show_coverage(options: argparse.Namespace) -> int:
    """Count the pairs, or triples, of values of different factors, and those that the problems of a run hold.

    Packed arrays are a clause of their own (GEN-S11); with their layouts they are put for GEN-S3 and GEN-S7.
    """
    names = [_known(name, OPERATIONS, "operation") for name in options.operation] or list(OPERATIONS)
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


def simulate_program(options: argparse.Namespace) -> int:
    """Run a program of PyCUDA, CuPy, Triton or numba as it is, its kernels on the simulated device."""
    return simulating.run(options.program, options.arguments, options.order, options.seed)


def bench_backends(options: argparse.Namespace) -> int:
    """Time backends in turn on layers of known networks, and hold each result to its bound afterwards.

    Kernels on the simulated device are counted instead. Needs pytest-benchmark (extra ``benchmark``).
    """
    gpu = _gpu(options.gpu)
    _expect_writable(options.json, options.picture)
    operations, dtypes, call = _called(options)
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
    worse = old is not None and _compare_races(old, found, options.threshold) == VIOLATING
    return VIOLATING if wrong or worse else CONFORMING


def _compare_races(old: bench.Found, new: bench.Found, threshold: float) -> int:
    changes = bench.compare(old, new, threshold)
    bench.show_changes(Output(), changes)
    return VIOLATING if any(change.worse for change in changes) else CONFORMING


def _gpu(wanted: str) -> GPU:
    gpu = next((gpu for name, gpu in GPUS.items() if _plain(name) == _plain(wanted)), None)
    if gpu is None:
        raise UsageError(f"--gpu: there is no {wanted!r}; known are {', '.join(GPUS)}")
    return gpu


def _expect_writable(json: Path | None, picture: Path | None) -> None:
    """Refuse files that could not be written, before the work."""
    for form, file in (("json", json), ("picture", picture)):
        try:
            if file is not None:
                files.expect_writable(file)
        except OSError as error:
            raise UsageError(f"--{form}: {error}") from error
    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise UsageError(f"--picture: got {picture}, expected a name that ends in .svg or .png")


def profile_kernels(options: argparse.Namespace) -> int:
    """Count what kernels do on the simulated device, by kernel and launch, and predict their time on a GPU.

    A Python file is a program unless --operation stands before it; all else is a backend.
    """
    program = options.target.endswith(".py") and not options.operation
    if not program and options.arguments:
        behind = argparse.ArgumentParser(prog=f"gaugeblock profile {options.target}")
        _profile_options(behind)
        options = behind.parse_args(options.arguments, options)
    gpu = _gpu(options.gpu)
    _expect_writable(options.json, options.picture)
    ended: int | SystemExit = CONFORMING
    if program:
        launches, ended = profiling.program_launches(options.target, options.arguments)
    else:
        launches = profiling.backend_launches(options.target, *_called(options))
    if launches:
        found = profile.profile(launches, gpu)
        profile.show(Output(), found)
        if options.json is not None:
            files.write(options.json, files.as_json(found.as_data()))
        if options.picture is not None:
            demonstrations.write(profile.picture(found), options.picture)
    if isinstance(ended, SystemExit):
        raise ended
    return ended


def _called(options: argparse.Namespace) -> tuple[list[str], list[str], LayerCall | None]:
    """Return the operations and formats that are asked for, and the one call, if it is given."""
    operations = [_known(name, OPERATIONS, "operation") for name in options.operation]
    dtypes = [DTYPES[_known(name, DTYPES, "dtype")] for name in options.dtype]
    if not options.shape:
        return operations, dtypes, None
    if len(operations) != 1:
        raise UsageError("--shape is of the arrays of one operation: give --operation NAME, once")
    cells = dict(each.partition("=")[::2] for each in options.shape)
    return operations, dtypes, shapes.given("--shape", {"operation": operations[0], **cells}).call


MUTANTS = Path("tests", "mutants", "matrix.py")
"""What is no part of the package: the mutants, and the rules that they are held against."""


def show_mutants(options: argparse.Namespace) -> int:
    """Print which rules, ours and others', call which broken kernel wrong, and which correct one."""
    if not MUTANTS.is_file():
        raise UsageError(f"the mutants come with the repository, not the package: there is no {MUTANTS} here")
    arguments = ["--record"] if options.record else []
    arguments += ["--json", str(options.json)] if options.json is not None else []
    return subprocess.run([sys.executable, str(MUTANTS), *arguments], check=False).returncode


def show_spec(options: argparse.Namespace) -> int:
    """Print clauses of the spec, list some or all, render it as HTML and PDF, or write its test vectors."""
    if options.vectors is not None:
        if options.clause or options.build:
            raise UsageError("--vectors writes all vectors and nothing else; give it alone")
        return write_vectors(options.vectors)
    if options.build is not None:
        if options.clause:
            raise UsageError("--build renders the whole spec; name no clause with it")
        return build_document(options.build, options.trace)
    if options.trace:
        raise UsageError("--trace is for the document: give --build DIR too")
    console = Output()
    known = clauses.load()
    # All names are read first, so that a wrong one is the only thing said.
    groups = [_clauses(name, known) for name in options.clause] or [list(known.values())]
    for group in groups:
        if len(group) == 1:
            _print_clause(console, group[0])
        else:
            console.print("\n".join(f"{clause.id:<10} {clause.title}" for clause in group), markup=False)
    return CONFORMING


def _print_clause(console: Output, clause: clauses.Clause) -> None:
    console.print(f"[bold]{clause.id}[/bold]  [dim]{clause.kind} · {clause.page}[/dim]")
    text = Text(plain(clause.text.strip()))
    text.stylize("bold", 0, len(plain(clause.title)) + 1)
    console.print(text, soft_wrap=True)
    console.print(citation.cite(clause.id), markup=False, style="dim")


def _clauses(name: str, known: Mapping[str, clauses.Clause]) -> list[clauses.Clause]:
    """Return the clause with this id, or those whose ids begin so, or those of the concept of this name."""
    id = name.upper()
    if id in known:
        return [known[id]]
    concept = name.lower().replace("_", "-")
    return [
        clause
        for clause in known.values()
        if clause.id.startswith(id) or clause.page.partition("-")[2] == f"{concept}.md"
    ] or [known[_known(name, known, "clause")]]


def write_vectors(folder: Path) -> int:
    """Write the test vectors with their schema and checksums, and say where."""
    from gaugeblock.spec.vectors import export

    _make_folder(folder, "--vectors")
    try:
        written = export(folder)
    except OSError as error:
        raise UsageError(f"--vectors: {error}") from error
    Output().print(f"{len(written)} files in {folder}", markup=False, soft_wrap=True)
    return CONFORMING


def build_document(folder: Path, traces: Sequence[Path]) -> int:
    """Write the spec as HTML and PDF, and say which clauses no test names.

    Without a trace only the checks of the suite are known, and nothing is said about untested clauses.
    """
    from gaugeblock.conformance.document import claims, places
    from gaugeblock.spec import document

    console, suite, new = Output(), claims(), not folder.exists()
    try:
        trace = document.read_traces(traces)
        _make_folder(folder, "--build")
        for path in document.build(folder, trace=trace, suite=suite, places=places()):
            console.print(str(path), markup=False, soft_wrap=True)
    except (document.MissingExtra, document.TraceError, OSError) as error:
        if new:
            with contextlib.suppress(OSError):  # there is something in it, or it was not made
                folder.rmdir()
        raise UsageError(str(error)) from error
    untested = trace.untested(suite) if trace.tests else []
    if untested:
        print(f"gaugeblock: no test names {', '.join(untested)}", file=sys.stderr)
        return VIOLATING
    return CONFORMING


def show_concepts(options: argparse.Namespace) -> int:
    """Measure what there is to show about concepts, print it and draw pictures; or list the concepts."""
    console = Output()
    if not options.concept:
        for name in demonstrations.CONCEPTS:
            console.print(f"{name:<22} {demonstrations.title(name)}", markup=False)
    # All names are read before the first concept, which may take a minute.
    names = [_known(concept, demonstrations.CONCEPTS, "concept") for concept in options.concept]
    if options.on == "gpu" and names != ["convolutional_network"]:
        raise UsageError("--on gpu is for convolutional_network, and for it alone")
    if names:
        _make_folder(options.output, "--output")
    for name in names:
        with steps(console, name) as progress:
            shown = _demonstrated(name, options.on, progress)
            paths = _write_pictures(shown.pictures, options.output, f"{name}-", options.format)
        show_demonstration(console, shown, paths)
    return CONFORMING


def _demonstrated(concept: str, on: str, progress: demonstrations.Progress) -> demonstrations.Demonstration:
    """Measure what there is to show about a concept, on the reference or on our kernels."""
    if on == "gpu":
        from gaugeblock.conformance import training

        return training.demonstrate(progress)
    return demonstrations.demonstrate(concept, progress)


def _write_pictures(
    pictures: Sequence[demonstrations.Picture], folder: Path, prefix: str, format: str
) -> list[Path]:
    """Draw pictures into a folder and return where they are."""
    paths = [folder / f"{prefix}{picture.name}.{format}" for picture in pictures]
    try:
        for picture, path in zip(pictures, paths, strict=True):
            demonstrations.write(picture, path)
    except OSError as error:
        raise UsageError(f"--output: {error}") from error
    return paths


def _known(name: str, among: Iterable[str], what: str) -> str:
    """Return a name that is known, in any case and with any hyphens, or say which ones resemble it."""
    names = {_plain(known): known for known in among}
    if _plain(name) in names:
        return names[_plain(name)]
    close = [names[plain] for plain in difflib.get_close_matches(_plain(name), names, 3)]
    some = ", ".join(list(names.values())[:5])
    hint = f"did you mean {', '.join(close)}?" if close else f"the spec has {some}, …"
    raise UsageError(f"there is no {what} {name!r}; {hint}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


if __name__ == "__main__":
    sys.exit(main())
