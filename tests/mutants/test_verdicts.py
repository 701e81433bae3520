"""The suite tells every broken kernel from every right one.

Each mutant is run in every dtype in which its bug shows, up to its first violation; each variant in full.
"""

import sys
from pathlib import Path

import pytest
from gaugeblock.conformance import runner

sys.path.insert(0, str(Path(__file__).parent))
from catalogue import MUTANTS, VARIANTS, Mutant, Variant


def each(records: tuple[Variant, ...]) -> list[object]:
    """Return one test parameter per record and dtype."""
    return [
        pytest.param(record, dtype, id=f"{record.name}-{dtype}")
        for record in records
        for dtype in record.dtypes
    ]


@pytest.mark.parametrize(("mutant", "dtype"), each(MUTANTS))
def test_the_suite_calls_every_mutant_violating(mutant: Mutant, dtype: str) -> None:
    plan = runner.plan(mutant.backend, operations=mutant.operations, dtypes=(dtype,), shrink=False)
    assert not runner.judge(plan, stop_at_first=True).conforming, mutant.story


@pytest.mark.parametrize(("variant", "dtype"), each(VARIANTS))
def test_the_suite_calls_no_correct_variant_violating(variant: Variant, dtype: str) -> None:
    plan = runner.plan(
        variant.backend, operations=variant.operations, dtypes=(dtype,), profile="quick", shrink=False
    )
    report = runner.judge(plan)
    failures = [
        f"{clause}: {outcome.message}"
        for entry in report.entries.values()
        for clause, outcome in entry.clauses.items()
        if outcome.verdict == "violating"
    ]
    assert not failures, f"{variant.story}: {failures[0]}"
