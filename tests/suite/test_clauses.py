"""Every clause that binds a backend is asked of one, by a check that fails for one that breaks it alone."""

import sys
from pathlib import Path

import pytest

from gaugeblock.conformance.document import claims
from gaugeblock.spec import clauses
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
from played import alone

CLAIMS = claims()
NOT_ASKED = {
    # What the suite itself reads, with what says so.
    "GEN-C4": "of a declaration: a backend whose declaration breaks it is not loaded (test_subject.py)",
    "GEN-C5": "the same",
    "GEN-C6": "the same",
    # What the checks of all other clauses rest on: a result that breaks it breaks the clause that was asked.
    "GEN-S1": "of every answer, by what puts the call",
    "GEN-X1": "with the special values of every operation",
    "GEN-X2": "the same",
    "GEN-X3": "the same",
    "GEN-A1": "how every number is accepted",
    "GEN-A2": "how bounds are made",
    "GEN-A3": "a part of every bound",
    "GEN-C1": "by the constraint of each concept on its arrays, such as ACT-C1",
    # Bounds that a declaration selects.
    "CONV-A6": "within CONV-A1, of backends that declare winograd",
    "CONV-A7": "within CONV-A1, of backends that declare fft",
    # What devices are not asked for.
    "CONV-S9": "the reference alone",
    "CONV-S10": "the reference alone",
    "POOL-S8": "the reference alone",
    "POOL-S9": "the reference alone",
    "POOL-S10": "the reference alone",
    "POOL-S11": "the reference alone",
    "POOL-S12": "the reference alone",
    "ACT-S31": "the reference alone",
    "ACT-S32": "the reference alone",
    "UNIT-C5": "the reference alone",
    "UNIT-C6": "the reference alone",
    "UNIT-C7": "the reference alone",
    "UNIT-S6": "the reference alone",
    "UNIT-I4": "the reference alone",
    "CONV-C7": "the reference alone",
    "CONV-S11": "the reference alone",
    "CONV-S12": "the reference alone",
    "CONV-S13": "the reference alone",
    "CONV-A9": "the reference alone",
    "CONV-I8": "the reference alone",
}
"""Requirements on the pages of operations that no check is named after, and where they are asked."""

DEPENDENT: dict[str, str] = {}
"""Clauses that no backend can break alone, with the reason."""


def test_every_requirement_on_operations_is_asked_or_says_where_it_is() -> None:
    pages = {clauses.clause(clause).page for clause in CLAIMS}
    required = {name for name, c in clauses.load().items() if c.page in pages and c.kind != "definition"}
    assert required - set(CLAIMS) == set(NOT_ASKED)


@pytest.mark.one_of(4)
@pytest.mark.parametrize("clause", CLAIMS)
def test_a_backend_that_breaks_a_clause_alone_is_found_to(clause: str) -> None:
    operations = dict.fromkeys(name for claim in CLAIMS[clause] for name in claim.operations)
    cheap = sorted(operations, key=lambda name: (OPERATIONS[name].kind != "elementwise", name))
    found = any(alone(name, clause).verdict == "violating" for name in cheap)
    assert found != (clause in DEPENDENT)
