"""The suite tells every broken kernel from every right one.

Each mutant is run in every dtype in which its bug shows, up to its first violation; each variant in full.
"""

import os
import sys
from pathlib import Path

import pytest

from gaugeblock.conformance import Effort, judge

sys.path.insert(0, str(Path(__file__).parent))
from catalogue import MUTANTS, VARIANTS, Mutant, Variant
from workshop import DTYPES

SEED = int(os.environ.get("GAUGEBLOCK_SEED", "1"))
"""Seed of the runs, fixed so that a result can be repeated; every other must give the same verdicts."""


def each(records: tuple[Variant, ...]) -> list[object]:
    """Return one test parameter per record and dtype, dtype by dtype: the suite remembers what is right."""
    return [
        pytest.param(record, dtype, id=f"{record.name}-{dtype}")
        for dtype in DTYPES
        for record in records
        if dtype in record.dtypes
    ]


@pytest.mark.parametrize(("mutant", "dtype"), each(MUTANTS))
def test_the_suite_calls_every_mutant_violating(mutant: Mutant, dtype: str) -> None:
    effort = Effort("ci", SEED, shrink=False)
    report = judge(
        mutant.backend, operations=mutant.operations, dtypes=(dtype,), effort=effort, stop_at_first=True
    )
    assert any(entry.failures for entry in report.entries.values()), mutant.story


@pytest.mark.parametrize(("variant", "dtype"), each(VARIANTS))
def test_the_suite_calls_no_correct_variant_violating(variant: Variant, dtype: str) -> None:
    effort = Effort("quick", SEED, shrink=False)
    report = judge(variant.backend, operations=variant.operations, dtypes=(dtype,), effort=effort)
    failures = [
        f"{clause}: {outcome.message}"
        for entry in report.entries.values()
        for clause, outcome in entry.clauses.items()
        if outcome.verdict == "violating"
    ]
    assert not failures, f"{variant.story}: {failures[0]}"
