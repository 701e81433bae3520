"""The suite is whole: every clause has a test, every test a clause."""

import re
from pathlib import Path

import pytest

from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.checks.constraints import MISUSES
from gaugeblock.conformance.document import claims, places
from gaugeblock.spec import clauses
from gaugeblock.spec.operations import OPERATIONS

TESTS = Path(__file__).parents[1]


def cited() -> set[str]:
    """Return the clauses that our own tests are marked with."""
    sources = (file.read_text() for file in TESTS.glob("*/test_*.py"))
    return {name for source in sources for name in re.findall(r"mark\.spec\(\"([A-Z]+-[A-Z]\d+)\"\)", source)}


def tried() -> set[str]:
    """Return the clauses that the suite tries on a backend."""
    return {clause for operation in OPERATIONS.values() for clause in checks_of(operation)}


def test_every_clause_has_a_test() -> None:
    assert set(clauses.load()) - tried() - cited() == set()


def test_every_test_cites_a_clause_that_exists() -> None:
    assert (tried() | cited()) - set(clauses.load()) == set()


def test_the_document_is_told_every_check_of_every_operation() -> None:
    told = {
        (clause, claim.name, operation)
        for clause, found in claims().items()
        for claim in found
        for operation in claim.operations
    }
    assert told == {
        (clause, check.role, name)
        for name, operation in OPERATIONS.items()
        for clause, check in checks_of(operation).items()
    }


def test_where_the_document_says_a_concept_lives_there_is_a_file() -> None:
    for concept, found in places().items():
        assert f"reference/{concept}.py" in found, concept
        for file in found:
            assert (TESTS.parent / file).is_file(), file
        assert len(found) == len(set(found))
    assert "gpu/kernels/activation/softmax.cu" in places()["activation"]
    assert "tests/conformance/checks/contraction.py" in places()["gemm"]


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_role_of_an_operation_has_a_check(name: str) -> None:
    operation = OPERATIONS[name]
    assert set(checks_of(operation)) == {*operation.clauses.values(), *operation.constraints}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_constraint_has_calls_that_break_it(name: str) -> None:
    for clause in OPERATIONS[name].constraints:
        assert list(MISUSES[clause](OPERATIONS[name]))
