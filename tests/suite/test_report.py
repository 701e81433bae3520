"""A verdict says no more than what was tried."""

from pathlib import Path

import pytest

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.engine import ESSENTIAL
from gaugeblock.conformance.report import Entry
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
