"""Generated mutants: a fixed sample of those that were killed is killed again."""

import json
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "generated"))
import cuda_operators
import python_operators
import subjects
from change import Change
from verdict import EQUIVALENT, KILLED, judged

FILE = Path(__file__).parent / "results" / "generated-sample.jsonl"
SAMPLE = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]


@cache
def everything() -> list[Change]:
    return subjects.enumerated()


def found(wanted: dict[str, Any]) -> Change:
    """Return the change that the sample describes, wherever its line is now."""
    name = tuple(wanted[name] for name in subjects.NAMES)
    places = [change for change in everything() if subjects.name_of(change) == name]
    assert places, "the line has changed: draw this part of the sample again"
    return places[0]


def test_at_least_2000_mutants_are_generated_the_same_at_every_run() -> None:
    assert len(everything()) >= 2000
    assert subjects.enumerated() == everything()
    assert len(set(everything())) == len(everything())


def test_every_operator_changes_something() -> None:
    by_kind: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for change in everything():
        by_kind[change.file.endswith(".py")][change.operator] += 1
    assert set(python_operators.OPERATORS) <= set(by_kind[True])
    assert {*cuda_operators.SWAPS, "constant", "barrier", "guard", "operands", "statement"} == set(
        by_kind[False]
    )


def test_a_change_that_the_compiler_removes_is_equivalent_by_proof() -> None:
    text = "static constexpr int LOADS = 4;"
    file = "gpu/kernels/shared/functions.cuh"
    unused = [c for c in everything() if c.file == file and subjects.line_of(c) == text and c.after == "5"]
    # The first struct is relu's: no other function has it, and the gradient takes half of it, rounded down.
    assert {name for name, _ in subjects.changed_builds(min(unused))} == {"relu"}


@pytest.mark.one_of(3)
@pytest.mark.parametrize("wanted", SAMPLE, ids=[f"{each['file']}-{each['operator']}" for each in SAMPLE])
def test_the_suite_kills_a_generated_mutant(wanted: dict[str, Any]) -> None:
    assert judged(found(wanted), limit=120.0)["verdict"] in (KILLED, EQUIVALENT)
