"""Every statement of the source is a clause, is tested and is shown."""

import re
from pathlib import Path

from gaugeblock.conformance.document import claims, marked, statements_page
from gaugeblock.spec import load
from gaugeblock.spec.demonstrations import CONCEPTS
from gaugeblock.spec.statements import STATEMENTS

ROOT = Path(__file__).parents[2]
TESTS = marked(ROOT)


def test_the_page_is_what_the_statements_and_the_tests_make() -> None:
    assert (ROOT / "spec" / "statements.md").read_text("utf-8") == statements_page(ROOT)


def test_every_concept_has_statements_in_the_order_of_the_glossary_and_none_twice() -> None:
    assert list(dict.fromkeys(statement.concept for statement in STATEMENTS)) == list(CONCEPTS)
    assert len({statement.words for statement in STATEMENTS}) == len(STATEMENTS) >= 70


def test_every_statement_has_a_clause_and_a_number_or_says_why_it_has_none() -> None:
    for statement in STATEMENTS:
        assert statement.clauses, statement.words
        assert statement.figures or statement.remark, statement.words


def test_every_clause_of_a_statement_exists_and_has_a_test() -> None:
    for statement in STATEMENTS:
        for clause in statement.clauses:
            assert clause in load(), statement.words
            assert TESTS.get(clause) or claims().get(clause), clause


def test_every_clause_that_a_demonstration_is_held_to_is_one_of_a_statement() -> None:
    stated = {clause for statement in STATEMENTS for clause in statement.clauses}
    shown = {id for id, tests in TESTS.items() if any("/demonstrations/" in test for test in tests)}
    assert shown - stated == set()


def test_all_marks_of_the_tests_are_found() -> None:
    found = re.compile(r'^@pytest.mark.spec\("([^"]+)"\)$', re.MULTILINE)
    files = (ROOT / "tests").glob("*/test_*.py")
    marks = [mark for file in files for mark in found.findall(file.read_text("utf-8"))]
    assert sum(map(len, TESTS.values())) == len(marks)
