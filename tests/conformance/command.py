"""The ``gaugeblock`` command."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from gaugeblock.conformance import profiling, runner, simulating
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.bench.runner import BenchError
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.commands import (
    bench,
    campaign,
    concepts,
    conform,
    launches,
    power,
    results,
    spec,
)
from gaugeblock.conformance.commands.options import BROKEN, USAGE, UsageError
from gaugeblock.conformance.problems.shapes import ShapesError
from gaugeblock.conformance.recording.log import RecordError
from gaugeblock.conformance.reports import files
from gaugeblock.conformance.reports.report import versions
from gaugeblock.spec import citation

REFUSALS = (
    UsageError,
    BackendError,
    ShapesError,
    files.ReportError,
    simulating.ProgramError,
    profiling.ProfileError,
    BenchError,
    CampaignError,
    RecordError,
)
"""What was asked for cannot be done; the message says why in one line."""

COMMANDS = (conform, campaign, results, bench, launches, spec, concepts, power)
"""In the order of the help page."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 conforming, 1 not, 2 a usage error, 3 an error of ours."""
    _prepare_streams()
    try:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        return code
    except REFUSALS as error:
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
    for module in COMMANDS:
        module.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
