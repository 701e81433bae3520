"""A verdict says no more than what was tried, at the level that it is about."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gaugeblock.conformance import Effort, Report, judge
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.console import show
from gaugeblock.conformance.engine import ESSENTIAL, Case, Outcome, cases
from gaugeblock.conformance.levels import LEVELS
from gaugeblock.conformance.reports.report import Entry
from gaugeblock.spec.operations import OPERATIONS

POOLING = """
from gaugeblock import reference

def max_pool(x, **parameters):
    y = reference.max_pool(x, **parameters).astype(x.dtype)
    if {refused}:
        raise NotImplementedError
    return y
"""


def judged(folder: Path, source: str, operation: str) -> Entry:
    """Judge a backend file in float32."""
    file = folder / "my_kernels.py"
    file.write_text(source)
    report = judge(str(file), operations=[operation], dtypes=["float32"], effort=Effort("quick", seed=1))
    return report.entries[operation, "float32"]


def pooled(folder: Path, refused: str, domain: str = "") -> Entry:
    """Judge a backend that pools rightly, but for the calls that it declines."""
    return judged(folder, POOLING.format(refused=refused) + f"\n{domain}\n", "max_pool")


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_operation_has_the_clauses_that_a_verdict_needs(name: str) -> None:
    assert set(ESSENTIAL) <= OPERATIONS[name].clauses.keys()
    numeric = {check.role for check in checks_of(OPERATIONS[name]).values() if check.level == "numeric"}
    assert set(ESSENTIAL) <= numeric


@pytest.mark.spec("GEN-D12")
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_level_of_an_operation_has_a_clause(name: str) -> None:
    assert {check.level for check in checks_of(OPERATIONS[name]).values()} == set(LEVELS)


@pytest.mark.spec("GEN-D13")
def test_who_declines_some_calls_without_a_word_conforms_in_part(tmp_path: Path) -> None:
    entry = pooled(tmp_path, "parameters.get('ceil_mode')")
    assert entry.levels == dict.fromkeys(LEVELS, "partial")
    assert entry.calls("declined") > 0
    assert entry.calls("asked") == entry.calls("answered") + entry.calls("declined")
    assert entry.suggestion == "domain = {'max_pool': {'ceil_mode': False}}"


@pytest.mark.spec("GEN-D13")
def test_who_declares_what_is_declined_conforms_in_that_domain(tmp_path: Path) -> None:
    entry = pooled(tmp_path, "parameters.get('ceil_mode')", "domain = {'max_pool': {'ceil_mode': False}}")
    assert entry.levels == dict.fromkeys(LEVELS, "conforming")
    assert entry.declared["domain"] == {"ceil_mode": False}
    assert entry.calls("declined") == 0


@pytest.mark.spec("GEN-S9")
def test_who_declines_inside_a_declared_domain_violates(tmp_path: Path) -> None:
    domain = "domain = {'max_pool': {'dilation': 1}}"
    entry = pooled(tmp_path, "parameters.get('ceil_mode')", domain)
    assert entry.verdict("numeric") == "violating"
    assert list(entry.failures) == ["GEN-S9"]
    assert "declined a call inside of its declared domain" in (entry.failures["GEN-S9"].message or "")


@pytest.mark.spec("GEN-S10")
def test_who_answers_wrongly_outside_of_a_declared_domain_violates_at_level_strict(tmp_path: Path) -> None:
    source = "domain = {'relu': {'rank': 1}}\ndef relu(x):\n    return x.clip(0) + (x.ndim > 1)\n"
    entry = judged(tmp_path, source.replace("+ (x", "+ x.dtype.type(x"), "relu")
    assert entry.levels == {**dict.fromkeys(LEVELS, "conforming"), "strict": "violating"}
    assert "GEN-S10" in entry.failures


def test_who_answers_nothing_but_empty_results_is_not_called_conforming(tmp_path: Path) -> None:
    entry = pooled(tmp_path, "y.size")
    assert {entry.clauses[clause].verdict for clause in ("POOL-S1", "POOL-A1")} == {"unsupported"}
    assert entry.clauses["POOL-X1"].verdict == "conforming"
    assert entry.verdict("strict") == "unsupported"


def test_a_domain_of_nothing_but_empty_results_is_no_evidence(tmp_path: Path) -> None:
    entry = pooled(tmp_path, "False", "domain = {'max_pool': {'N': 0}}")
    assert entry.verdict("strict") == "unsupported"


def test_who_refuses_every_call_is_not_called_conforming(tmp_path: Path) -> None:
    entry = pooled(tmp_path, "True")
    assert entry.clauses["POOL-C1"].verdict == "conforming"
    assert entry.verdict("strict") == "unsupported"


@pytest.mark.parametrize("role", ESSENTIAL)
def test_who_leaves_an_essential_clause_open_is_not_called_conforming(tmp_path: Path, role: str) -> None:
    entry = pooled(tmp_path, "False")
    assert entry.verdict("strict") == "conforming"
    del entry.cases[Case("max_pool", "float32", OPERATIONS["max_pool"].clauses[role])]
    assert entry.verdict("strict") == "partial"


def test_a_violation_outweighs_what_is_declined(tmp_path: Path) -> None:
    source = "def relu(x):\n    if x.size:\n        raise NotImplementedError\n    return x[None]\n"
    assert judged(tmp_path, source, "relu").verdict("robust") == "violating"


@pytest.mark.spec("GEN-D12")
def test_a_violation_counts_from_its_level_on() -> None:
    found = dict.fromkeys(cases(["relu"], ["float32"]), RIGHT)
    for case in found:
        entry = Entry({**found, case: WRONG})
        first = LEVELS.index(case.check.level)
        expected = {level: "violating" if i >= first else "conforming" for i, level in enumerate(LEVELS)}
        assert entry.levels == expected


RIGHT, OPEN = Outcome("conforming", 123456, 9999.0, 0.5), Outcome("unsupported")
WRONG, LOST = (
    Outcome("violating", 3, 1.0, 0.5, "result[0] = 1", "replay()"),
    Outcome("violating", message="not tried: relu: no answer"),
)


def shown(
    outcomes: dict[Case, Outcome], width: int = 80, backend: str = "kernels.py", level: str = "strict"
) -> str:
    """Return what is printed of a run that found these outcomes."""
    report = Report(backend, "a [/device]", {}, 1, level=level)
    for case, outcome in outcomes.items():
        report.add(case, outcome)
    console = Console(file=io.StringIO(), width=width)
    show(console, report)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def relu(**outcomes: Outcome) -> dict[Case, Outcome]:
    roles = OPERATIONS["relu"].clauses
    return {Case("relu", "float32", roles[role]): outcome for role, outcome in outcomes.items()}


@pytest.mark.parametrize(("width", "columns"), [(120, 9), (97, 8), (86, 7), (76, 6)])
def test_the_table_shows_every_name_whole_and_the_columns_that_there_is_room_for(
    width: int, columns: int
) -> None:
    found = dict.fromkeys(cases(OPERATIONS, ["bfloat16"]), RIGHT)
    found |= {case: OPEN for case in found if case.clause in ("GEN-S2", "GEN-S5", "GEN-S6")}
    lines = shown(found, width).splitlines()
    headings = ["operation", "dtype", *LEVELS, "examples", "error/bound", "seconds"]
    assert lines[1].replace(" / ", "/").split() == headings[:columns]
    rows = [line.split()[:6] for line in lines[3 : 3 + len(OPERATIONS)]]
    assert [row[:2] for row in rows] == [[name, "bfloat16"] for name in OPERATIONS]
    assert rows[0][2:] == ["yes", "yes", "partly", "partly"]


def test_a_table_without_room_loses_no_letter() -> None:
    letters = shown(dict.fromkeys(cases(["gemm"], ["bfloat16"]), RIGHT), 24)
    assert "…" not in letters


def test_the_failure_shown_whole_is_that_of_the_semantics() -> None:
    words = shown(relu(history=WRONG, accuracy=WRONG, semantics=WRONG))
    assert "ACT-S1 violated by relu" in words
    assert "also violated: GEN-S8, ACT-A3" in words


def test_a_failure_beyond_the_level_asked_for_is_a_line() -> None:
    words = shown(relu(determinism=WRONG, accuracy=RIGHT, semantics=RIGHT), level="numeric")
    assert "relu in float32 violates GEN-S5, of level reproducible: result[0] = 1\n" in words
    assert "kernels.py conforms at level numeric" in words


def test_what_was_not_tried_after_a_crash_is_not_called_violated() -> None:
    words = shown(relu(history=WRONG, accuracy=WRONG, semantics=LOST, empty=LOST))
    assert "GEN-S8 violated by relu" in words
    assert "also violated: ACT-A3\n" in words
    assert "not tried after that: ACT-S1, ACT-X1\n" in words


@pytest.mark.parametrize("name", ["a[/b].py", "[red]x.py", "x[.py:relu\\"])
def test_brackets_in_the_name_of_a_backend_are_shown(name: str) -> None:
    assert f"{name} conforms at level strict on a [/device]" in shown(
        relu(semantics=RIGHT, accuracy=RIGHT), backend=name
    )


def test_a_domain_stands_beside_its_verdict_and_a_suggestion_beside_a_partial_one() -> None:
    declined = {"tiny": {"asked": 9, "answered": 5, "declined": 4}}
    part = Outcome("partial", 5, by_size=declined, suggestion="domain = {'relu': {'rank': 1}}")
    words = shown(relu(semantics=RIGHT, accuracy=RIGHT, answers=part))
    assert "relu float32: declined 4 of 9 calls; this would say what it is for:" in words
    assert "    domain = {'relu': {'rank': 1}}" in words
    assert "conforms in part" in words
