"""Every statement of the source is a clause, is tested and is shown."""

import re
from pathlib import Path

from gaugeblock.conformance.document import chosen, claims, marked, statements_page
from gaugeblock.spec import load
from gaugeblock.spec.demonstrations import CONCEPTS
from gaugeblock.spec.statements import STATEMENTS

ROOT = Path(__file__).parents[2]
TESTS = marked(ROOT)


def test_the_page_is_what_the_statements_and_the_tests_make() -> None:
    assert (ROOT / "spec" / "statements.md").read_text("utf-8") == statements_page(ROOT)


def test_every_concept_has_statements_in_the_order_of_the_glossary_and_none_twice() -> None:
    assert list(dict.fromkeys(statement.concept for statement in STATEMENTS)) == list(CONCEPTS)
    assert len({statement.words for statement in STATEMENTS}) == len(STATEMENTS) >= 110


def test_every_statement_has_a_clause_and_a_number_or_says_why_it_has_none() -> None:
    for statement in STATEMENTS:
        if not (statement.clauses and statement.shown):
            assert statement.remark.startswith(("history", "opinion", "cited, not shown")), statement.words


def test_nine_in_ten_statements_are_shown_that_are_neither_history_nor_opinion() -> None:
    told = [each for each in STATEMENTS if not each.remark.startswith(("history", "opinion"))]
    assert sum(bool(each.clauses and each.shown) for each in told) >= 0.9 * len(told)


def test_every_clause_of_a_statement_exists_and_has_a_test_of_the_name_that_is_told() -> None:
    for statement in STATEMENTS:
        for clause, hint in statement.tried:
            assert clause in load(), statement.words
            assert chosen(clause, hint, TESTS) or (not hint and claims().get(clause)), (clause, hint)


def test_every_number_is_printed_by_a_demonstration() -> None:
    """That it is among its numbers, the tests of the demonstrations say."""
    commands = {command for statement in STATEMENTS for command, _ in statement.shown}
    assert commands <= {*CONCEPTS, "convolutional_network --on gpu"}


def test_every_clause_that_a_demonstration_is_held_to_is_one_of_a_statement() -> None:
    stated = {clause for statement in STATEMENTS for clause in statement.clauses}
    shown = {id for id, tests in TESTS.items() if any("/demonstrations/" in test for test in tests)}
    assert shown - stated == set()


def test_all_marks_of_the_tests_are_found() -> None:
    found = re.compile(r'^@pytest.mark.spec\("([^"]+)"\)$', re.MULTILINE)
    files = (ROOT / "tests").glob("*/test_*.py")
    marks = [mark for file in files for mark in found.findall(file.read_text("utf-8"))]
    assert sum(map(len, TESTS.values())) == len(marks)
