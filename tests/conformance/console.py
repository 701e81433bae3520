"""What a run shows in the terminal: progress while it lasts, a table and the failures at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gaugeblock.conformance.engine import Case, Outcome
from gaugeblock.conformance.levels import LEVELS, up_to
from gaugeblock.conformance.reports.report import Entry, Report
from gaugeblock.spec.demonstrations import Demonstration
from gaugeblock.spec.demonstrations import Progress as Steps
from gaugeblock.spec.operations import OPERATIONS

STYLES = {"conforming": "green", "violating": "bold red", "partial": "yellow", "unsupported": "dim"}
SIGNS = {"conforming": "yes", "violating": "NO", "partial": "partly", "unsupported": "–"}
"""What a table says of a level."""


class Output(Console):
    """Standard output of now, as wide as a table without a terminal; silent once nobody reads it any more."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else 120
        super().__init__(file=sys.stdout, width=width, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Go on without a word: the report and the exit code are still wanted."""
        self.quiet = True


def bar(console: Console) -> Progress:
    """Return a bar that shows how much is done, where there is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class RunDisplay:
    """Progress of a run: a bar where there is a terminal, else a line for each finished operation and dtype.

    Parameters
    ----------
    console
        Where to write.
    total
        Number of cases, by operation and dtype.
    level
        The level that the verdict is about.
    """

    def __init__(self, console: Console, total: dict[tuple[str, str], int], level: str) -> None:
        self.console = console
        self.total = total
        self.level = level
        self.progress = bar(console)
        self.task = self.progress.add_task("", total=sum(total.values()))

    def __enter__(self) -> RunDisplay:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def advance(self, case: Case, outcome: Outcome, entry: Entry) -> None:
        """Show that a case is done."""
        name = f"{case.operation} {case.dtype}"
        self.progress.update(self.task, advance=1, description=f"{name:<28}")
        if not self.console.is_terminal and len(entry.clauses) == self.total[case.operation, case.dtype]:
            found = f"{entry.verdict(self.level)}, {entry.examples} examples, {entry.seconds:.1f} s"
            self.console.print(f"{name}: {found}")


def show(console: Console, report: Report) -> None:
    """Print the failures, the table and the verdict of a run."""
    for (operation, dtype), entry in report.entries.items():
        if entry.failures:
            _show_failures(console, operation, dtype, entry, report.level)
    if report.entries:
        console.print(_fitting_table(console, report))
    _show_domains(console, report)
    if report.lacking:
        console.print(f"the backend lacks {_some(report.lacking)}", style="dim", markup=False)
    verdicts = [entry.verdict(report.level) for entry in report.entries.values()]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts)
    words = {
        "conforming": "conforms",
        "violating": "does not conform",
        "partial": "conforms in part",
        "unsupported": "has nothing to judge",
    }
    verdict = f"{report.backend} {words[report.verdict]} at level {report.level}"
    examples = sum(entry.examples for entry in report.entries.values())
    rest = f" on {report.device}: {counts or 'no verdict'}; {examples} examples in {report.seconds:.0f} s"
    console.print(Text.assemble((verdict, "bold"), f"{rest}, seed {report.seed}"))
    if report.ladder is not None:
        console.print(report.ladder.in_words(), markup=False)
    console.print(_memory(report), style="dim", markup=False)


def _some(names: Sequence[str]) -> str:
    """Name a few, and count the others."""
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} operations more"


def _memory(report: Report) -> str:
    """Say what kept the backend apart, and how much memory was used."""
    parts = [f"{who} {size / 2**20:.0f} MiB" for who, size in report.memory.items() if size]
    peak = f"peak memory: {', '.join(parts)}" if parts else ""
    return "; ".join(part for part in (report.isolation, peak) if part)


def _show_domains(console: Console, report: Report) -> None:
    """Print what each verdict is limited to, and what a partial one would have to declare."""
    shown = set()
    for (operation, dtype), entry in report.entries.items():
        domain = entry.declared.get("domain")
        if domain is not None and operation not in shown:
            shown.add(operation)
            console.print(f"{operation} is judged in its domain: {domain}", markup=False, soft_wrap=True)
        in_format = domain is None or dtype in domain.get("dtypes", (dtype,))
        if entry.unreached and in_format:
            words = f"{operation} {dtype}: no call of {', '.join(entry.unreached)} was found in its domain"
            console.print(words, markup=False, soft_wrap=True)
        if entry.calls("declined") and domain is None:
            console.print(_declined(operation, dtype, entry), markup=False, soft_wrap=True)
        if left_out := sum(outcome.left_out for outcome in entry.cases.values()):
            words = (
                f"{operation} {dtype}: {left_out} larger layers of networks were not tried, for want of time"
            )
            console.print(words, markup=False, soft_wrap=True)


def _declined(operation: str, dtype: str, entry: Entry) -> str:
    """Say what was declined, and which declaration would fit."""
    declined, asked = entry.calls("declined"), entry.calls("asked")
    if not entry.calls("answered"):
        hint = "what it is for has to be declared: gaugeblock spec GEN-D11"
        return f"{operation} {dtype}: declined all {asked} calls; {hint}"
    words = f"{operation} {dtype}: declined {declined} of {asked} calls"
    unanswered = entry.with_verdict("unsupported")
    words += f", all of {', '.join(unanswered)}" if unanswered else ""
    hint = f"; this would say what it is for:\n    {entry.suggestion}" if entry.suggestion else ""
    return words + (hint or "; no domain tells them from those that it answered")


def _show_failures(console: Console, operation: str, dtype: str, entry: Entry, level: str) -> None:
    """Print one failure whole, of the first level and of the semantics if it is there, others by name."""
    semantics = OPERATIONS[operation].clauses["semantics"]
    levels = {case.clause: case.check.level for case in entry.cases}
    tried = [clause for clause in entry.failures if clause not in entry.untried]
    clause, *others = sorted(tried, key=lambda c: (LEVELS.index(levels[c]), c != semantics))
    if levels[clause] not in up_to(level):
        here = [each for each in tried if levels[each] == levels[clause]]
        words = f"{operation} in {dtype} violates {', '.join(here)}, of level {levels[clause]}"
        if beyond := [each for each in tried if each not in here]:
            words += f" ({', '.join(beyond)} of stricter ones)"
        console.print(f"{words}: {entry.failures[clause].message}".splitlines()[0], markup=False)
        return
    outcome = entry.failures[clause]
    console.rule(Text(f"{clause} violated by {operation} in {dtype}", style="bold red"), align="left")
    console.print(outcome.message, markup=False)
    if outcome.reproduce:
        console.print(Text("\nto see it again:\n", style="dim"))
        console.print(outcome.reproduce, markup=False, soft_wrap=True)
    for words, clauses in (("also violated", others), ("not tried after that", entry.untried)):
        if clauses:
            console.print(f"{words}: {', '.join(clauses)}\n")


def _fitting_table(console: Console, report: Report) -> Table:
    """Return the table with as many columns as there is room for; where there is none, cells are folded."""
    unbounded = console.options.update(max_width=1000)
    for columns in (9, 8, 7, 6):
        table = _table(report, columns)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    return table


def _table(report: Report, columns: int) -> Table:
    """Build the table: operation and dtype against levels, declined calls, examples, error and time."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("operation", "dtype", *LEVELS):
        table.add_column(heading, overflow="fold")
    for heading in ("examples", "error / bound", "seconds")[: columns - 6]:
        table.add_column(heading, justify="right", overflow="fold")
    last = ""
    for (operation, dtype), entry in report.entries.items():
        cells: list[str | Text] = [operation if operation != last else "", dtype]
        cells += [Text(SIGNS[verdict], style=STYLES[verdict]) for verdict in entry.levels.values()]
        cells += [str(entry.examples), f"{entry.worst_share_of_bound:.2f}", f"{entry.seconds:.1f}"]
        table.add_row(*cells[:columns])
        last = operation
    return table


@contextmanager
def steps(console: Console, name: str) -> Iterator[Steps]:
    """Show how far a demonstration is: a bar where there is a terminal, else nothing."""
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = display.add_task(name, total=1.0)
    with display:
        yield lambda share, text: display.update(task, completed=share, description=f"{name}: {text}")


def show_demonstration(console: Console, shown: Demonstration, paths: Sequence[Path]) -> None:
    """Print what was measured, and where the pictures are."""
    console.rule(Text(shown.title, style="bold"), align="left")
    for statement in shown.statements:
        line = Table.grid(padding=(0, 1))  # so that a long sentence goes on below itself
        line.add_row("•", Text(statement))
        console.print(line)
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for name, number in shown.numbers.items():
        table.add_row(f"{number:.6g}", Text(name, style="dim"))
    console.print()
    console.print(table)
    console.print()
    for picture, path in zip(shown.pictures, paths, strict=True):
        console.print(str(path), markup=False, soft_wrap=True)
        console.print(Text(f"  {picture.caption}", style="dim"))
