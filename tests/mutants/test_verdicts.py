"""The suite tells every broken kernel from every right one.

Each mutant is run up to its first violation, each variant in full: in the deep profile all of them in every
dtype in which the bug shows, else a third of the mutants and a quarter of the variants, in one dtype.
"""

import os
import sys
import zlib
from pathlib import Path

import pytest

from gaugeblock.conformance import Effort, judge

sys.path.insert(0, str(Path(__file__).parent))
from catalogue import MUTANTS, VARIANTS, Mutant, Variant
from workshop import DTYPES

SEED = int(os.environ.get("GAUGEBLOCK_SEED", "1"))
"""Seed of the runs, fixed so that a result can be repeated; every other must give the same verdicts."""


DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


def tried(record: Variant) -> tuple[str, ...]:
    """Return the dtypes in which a record is run: all of its own, or one that its name decides."""
    return record.dtypes if DEEP else (record.dtypes[zlib.crc32(record.name.encode()) % len(record.dtypes)],)


def each(records: tuple[Variant, ...]) -> list[object]:
    """Return one test parameter per record and dtype, dtype by dtype: the suite remembers what is right."""
    return [
        pytest.param(record, dtype, id=f"{record.name}-{dtype}")
        for dtype in DTYPES
        for record in records
        if dtype in tried(record)
    ]


@pytest.mark.one_of(9)
@pytest.mark.parametrize(("mutant", "dtype"), each(MUTANTS))
def test_the_suite_calls_every_mutant_violating(mutant: Mutant, dtype: str) -> None:
    effort = Effort("ci", SEED, shrink=False)
    report = judge(
        mutant.backend, operations=mutant.operations, dtypes=(dtype,), effort=effort, stop_at_first=True
    )
    assert any(entry.failures for entry in report.entries.values()), mutant.story


@pytest.mark.one_of(12)
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
