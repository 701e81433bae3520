"""A verdict says no more than what was tried."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.console import show
from gaugeblock.conformance.engine import ESSENTIAL, Case, Outcome, cases
from gaugeblock.conformance.reports.report import Entry, Report
from gaugeblock.spec.operations import OPERATIONS

POOLING = """
from gaugeblock import reference

def max_pool(x, **parameters):
    y = reference.max_pool(x, **parameters).astype(x.dtype)
    if {refused}:
        raise NotImplementedError
    return y
"""


def verdict(folder: Path, refused: str) -> Entry:
    """Judge a backend that pools rightly, but for the calls that it refuses."""
    file = folder / "my_kernels.py"
    file.write_text(POOLING.format(refused=refused))
    effort = Effort("quick", seed=1)
    report = judge(str(file), operations=["max_pool"], dtypes=["float32"], effort=effort)
    return report.entries["max_pool", "float32"]


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_operation_has_the_clauses_that_a_verdict_needs(name: str) -> None:
    assert set(ESSENTIAL) <= OPERATIONS[name].clauses.keys()


def test_who_answers_some_calls_conforms_in_them(tmp_path: Path) -> None:
    entry = verdict(tmp_path, "parameters.get('ceil_mode')")
    assert entry.verdict == "conforming"
    assert entry.clauses["POOL-S1"].examples > 0


def test_who_answers_nothing_but_empty_results_is_not_called_conforming(tmp_path: Path) -> None:
    entry = verdict(tmp_path, "y.size")
    assert {entry.clauses[clause].verdict for clause in ("POOL-S1", "POOL-A1")} == {"unsupported"}
    assert entry.clauses["POOL-X1"].verdict == "conforming"
    assert entry.verdict == "unsupported"


def test_who_refuses_every_call_is_not_called_conforming(tmp_path: Path) -> None:
    entry = verdict(tmp_path, "True")
    assert entry.clauses["POOL-C1"].verdict == "conforming"
    assert entry.verdict == "unsupported"


@pytest.mark.parametrize("role", ESSENTIAL)
def test_who_leaves_an_essential_clause_open_is_not_called_conforming(tmp_path: Path, role: str) -> None:
    entry = verdict(tmp_path, "False")
    assert entry.verdict == "conforming"
    del entry.clauses[OPERATIONS["max_pool"].clauses[role]]
    assert entry.verdict == "unsupported"


def test_a_violation_outweighs_what_is_unsupported(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("def relu(x):\n    if x.size:\n        raise NotImplementedError\n    return x[None]\n")
    report = judge(str(file), operations=["relu"], dtypes=["float32"], effort=Effort("quick", seed=1))
    assert report.entries["relu", "float32"].verdict == "violating"


RIGHT, OPEN = Outcome("conforming", 123456, 9999.0, 0.5), Outcome("unsupported", 0, 0.0, 0.0)
WRONG, LOST = (
    Outcome("violating", 3, 1.0, 0.5, "result[0] = 1", "replay()"),
    Outcome("violating", 0, 0.0, 0.0, "not tried: relu: no answer"),
)


def shown(outcomes: dict[Case, Outcome], width: int = 80, backend: str = "kernels.py") -> str:
    """Return what is printed of a run that found these outcomes."""
    report = Report(backend, "a [/device]", {}, 1)
    for case, outcome in outcomes.items():
        report.add(case, outcome)
    console = Console(file=io.StringIO(), width=width)
    show(console, report, 1.0)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def relu(**outcomes: Outcome) -> dict[Case, Outcome]:
    roles = OPERATIONS["relu"].clauses
    return {Case("relu", "float32", roles[role]): outcome for role, outcome in outcomes.items()}


@pytest.mark.parametrize(("width", "columns"), [(100, 6), (80, 5), (64, 4)])
def test_the_table_shows_every_name_whole_and_the_columns_that_there_is_room_for(
    width: int, columns: int
) -> None:
    found = dict.fromkeys(cases(OPERATIONS, ["bfloat16"]), RIGHT)
    found |= {case: OPEN for case in found if case.clause in ("GEN-S2", "GEN-S5", "GEN-S6")}
    lines = shown(found, width).splitlines()
    headings = ["operation", "dtype", "verdict", "examples", "error/bound", "seconds"]
    assert lines[1].replace(" / ", "/").split() == headings[:columns]
    rows = [line.split()[:4] for line in lines[3 : 3 + len(OPERATIONS)]]
    assert [row[:3] for row in rows] == [[name, "bfloat16", "conforming"] for name in OPERATIONS]
    assert rows[0][3] == "(−3)"
    assert "(−n): n clauses that the backend does not support" in lines


def test_a_table_without_room_loses_no_letter() -> None:
    letters = shown(dict.fromkeys(cases(["gemm"], ["bfloat16"]), RIGHT), 24)
    assert "…" not in letters
    assert "does not support" not in letters


def test_the_failure_shown_whole_is_that_of_the_semantics() -> None:
    words = shown(relu(determinism=WRONG, accuracy=WRONG, semantics=WRONG))
    assert "ACT-S1 violated by relu" in words
    assert "also violated: GEN-S5, ACT-A3" in words


def test_what_was_not_tried_after_a_crash_is_not_called_violated() -> None:
    words = shown(relu(determinism=WRONG, accuracy=WRONG, semantics=LOST, empty=LOST))
    assert "GEN-S5 violated by relu" in words
    assert "also violated: ACT-A3\n" in words
    assert "not tried after that: ACT-S1, ACT-X1\n" in words


@pytest.mark.parametrize("name", ["a[/b].py", "[red]x.py", "x[.py:relu\\"])
def test_brackets_in_the_name_of_a_backend_are_shown(name: str) -> None:
    assert f"{name} conforms on a [/device]" in shown(relu(semantics=RIGHT, accuracy=RIGHT), backend=name)
