"""``gaugeblock spec``: clauses, the document, vectors."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from gaugeblock.conformance.commands.options import (
    CONFORMING,
    VIOLATING,
    Commands,
    UsageError,
    make_folder,
    one_of,
)
from gaugeblock.conformance.console import Output
from gaugeblock.spec import citation, clauses
from gaugeblock.spec.plain import plain


def add(commands: Commands) -> None:
    """Add the command."""
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
    ] or [known[one_of(name, known, "clause")]]


def write_vectors(folder: Path) -> int:
    """Write the test vectors with their schema and checksums, and say where."""
    from gaugeblock.spec.vectors import export

    make_folder(folder, "--vectors")
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
        make_folder(folder, "--build")
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
