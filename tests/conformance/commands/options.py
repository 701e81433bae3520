"""What commands share: exit codes, and how options and names are read."""

from __future__ import annotations

import argparse
import difflib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from gaugeblock.conformance.problems import shapes
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.reports import badge, bench, files, junit, page
from gaugeblock.gpu.runtime.roofline import GPU, GPUS
from gaugeblock.spec.formats import FORMATS, SHORT
from gaugeblock.spec.operations import OPERATIONS

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""Where a command adds itself."""

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


class UsageError(Exception):
    """The command line asks for what there is not; the message says so in one line."""


def to_whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def to_positive(text: str) -> int:
    value = to_whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive, expected at least 1")
    return value


def to_seed(text: str) -> int:
    value = to_whole(text)
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2⁶⁴ − 1")
    return value


def to_seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= DAY:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0 and at most {DAY} seconds")
    return value


def to_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a share such as 0.05")
    return share


def one_of(name: str, among: Iterable[str], what: str) -> str:
    """Return a name that is known, in any case and with any hyphens, or say which ones resemble it."""
    names = {bare(known): known for known in among}
    if bare(name) in names:
        return names[bare(name)]
    close = [names[plain] for plain in difflib.get_close_matches(bare(name), names, 3)]
    some = ", ".join(list(names.values())[:5])
    hint = f"did you mean {', '.join(close)}?" if close else f"the spec has {some}, …"
    raise UsageError(f"there is no {what} {name!r}; {hint}")


def bare(name: str) -> str:
    return name.lower().replace("-", "_")


def gpu_of(wanted: str) -> GPU:
    gpu = next((gpu for name, gpu in GPUS.items() if bare(name) == bare(wanted)), None)
    if gpu is None:
        raise UsageError(f"--gpu: there is no {wanted!r}; known are {', '.join(GPUS)}")
    return gpu


def expect_writable(**asked: Path | None) -> None:
    """Refuse files that could not be written, by their options, before the work."""
    for option, file in asked.items():
        try:
            if file is not None:
                files.expect_writable(file)
        except OSError as error:
            raise UsageError(f"--{option}: {error}") from error
    picture = asked.get("picture")
    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise UsageError(f"--picture: got {picture}, expected a name that ends in .svg or .png")


def make_folder(folder: Path, option: str) -> None:
    """Make a folder, and refuse one that nothing can be written into, before the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{option}: {error}") from error


def add_call_options(parser: argparse.ArgumentParser, verb: str) -> None:
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


def asked_calls(options: argparse.Namespace) -> tuple[list[str], list[str], LayerCall | None]:
    """Return the operations and formats that are asked for, and the one call, if it is given."""
    operations = [one_of(name, OPERATIONS, "operation") for name in options.operation]
    dtypes = [DTYPES[one_of(name, DTYPES, "dtype")] for name in options.dtype]
    if not options.shape:
        return operations, dtypes, None
    if len(operations) != 1:
        raise UsageError("--shape is of the arrays of one operation: give --operation NAME, once")
    cells = dict(each.partition("=")[::2] for each in options.shape)
    return operations, dtypes, shapes.given("--shape", {"operation": operations[0], **cells}).call


def add_threshold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold",
        type=to_share,
        default=bench.NEED,
        metavar="SHARE",
        help="by how much a benchmark may get worse without a word (default: %(default)s)",
    )
