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
from gaugeblock.conformance.reports.report import Entry, Report
from gaugeblock.spec.demonstrations import Demonstration
from gaugeblock.spec.demonstrations import Progress as Steps
from gaugeblock.spec.operations import OPERATIONS

STYLES = {"conforming": "green", "violating": "bold red", "unsupported": "yellow"}


class Output(Console):
    """Standard output of now, as wide as a table without a terminal; silent once nobody reads it any more."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else 120
        super().__init__(file=sys.stdout, width=width, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Go on without a word: the report and the exit code are still wanted."""
        self.quiet = True


class RunDisplay:
    """Progress of a run: a bar where there is a terminal, else a line for each finished operation and dtype.

    Parameters
    ----------
    console
        Where to write.
    total
        Number of cases, by operation and dtype.
    """

    def __init__(self, console: Console, total: dict[tuple[str, str], int]) -> None:
        self.console = console
        self.total = total
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
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
            self.console.print(f"{name}: {entry.verdict}, {entry.examples} examples, {entry.seconds:.1f} s")


def show(console: Console, report: Report, seconds: float) -> None:
    """Print the failures, the table and the verdict of a run."""
    for (operation, dtype), entry in report.entries.items():
        if entry.failures:
            _show_failures(console, operation, dtype, entry)
    console.print(_fitting_table(console, report))
    if any(_left_open(entry) for entry in report.entries.values()):
        console.print("(−n): n clauses that the backend does not support")
    verdicts = [entry.verdict for entry in report.entries.values()]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in STYLES if verdict in verdicts)
    verdict = "conforms" if report.conforming else "does not conform"
    examples = sum(entry.examples for entry in report.entries.values())
    rest = f" on {report.device}: {counts}; {examples} examples in {seconds:.0f} s, seed {report.seed}"
    console.print(Text.assemble((f"{report.backend} {verdict}", "bold"), rest))


def _show_failures(console: Console, operation: str, dtype: str, entry: Entry) -> None:
    """Print one failure whole, that of the operation's semantics if it is among them, the others by name."""
    semantics = OPERATIONS[operation].clauses["semantics"]
    tried = [clause for clause in entry.failures if clause not in entry.untried]
    clause, *others = sorted(tried, key=lambda clause: clause != semantics)
    outcome = entry.failures[clause]
    console.rule(Text(f"{clause} violated by {operation} in {dtype}", style="bold red"), align="left")
    console.print(outcome.message, markup=False)
    if outcome.reproduce:
        console.print(Text("\nto see it again:\n", style="dim"))
        console.print(outcome.reproduce, markup=False, soft_wrap=True)
    for words, clauses in (("also violated", others), ("not tried after that", entry.untried)):
        if clauses:
            console.print(f"{words}: {', '.join(clauses)}\n")


def _left_open(entry: Entry) -> int:
    """Count the unsupported clauses of an entry that has another verdict."""
    return 0 if entry.verdict == "unsupported" else len(entry.unsupported)


def _fitting_table(console: Console, report: Report) -> Table:
    """Return the table with as many columns as there is room for; where there is none, cells are folded."""
    unbounded = console.options.update(max_width=1000)
    for columns in (6, 5, 4):
        table = _table(report, columns)
        if console.measure(table, options=unbounded).maximum <= console.width:
            break
    return table


def _table(report: Report, columns: int) -> Table:
    """Build the table: operation and dtype against verdict, examples, error and time."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("operation", "dtype", "verdict"):
        table.add_column(heading, overflow="fold")
    for heading in ("examples", "error / bound", "seconds")[: columns - 3]:
        table.add_column(heading, justify="right", overflow="fold")
    last = ""
    for (operation, dtype), entry in report.entries.items():
        verdict = Text(entry.verdict, style=STYLES[entry.verdict])
        if _left_open(entry):
            verdict.append(f" (−{_left_open(entry)})", style="yellow")
        cells = (
            operation if operation != last else "",
            dtype,
            verdict,
            str(entry.examples),
            f"{entry.worst_share_of_bound:.2f}",
            f"{entry.seconds:.1f}",
        )
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
