"""The pages can be read by machine, say what kind each clause is, and their examples run."""

import doctest
import re

import pytest

from gaugeblock.spec import Clause, UnknownClause, clause, load
from gaugeblock.spec.clauses import KINDS, pages

PREFIXES = {
    "00-conventions.md": "GEN",
    "01-machine-learning.md": "ML",
    "02-feature-engineering.md": "FE",
    "03-feature-learning.md": "FL",
    "04-deep-learning.md": "DL",
    "05-logistic-regression.md": "LR",
    "06-network.md": "NET",
    "07-unit.md": "UNIT",
    "08-neuron.md": "NEURON",
    "09-activation.md": "ACT",
    "10-layer.md": "LAYER",
    "11-convolution.md": "CONV",
    "12-pooling.md": "POOL",
    "13-convolutional-network.md": "CNN",
    "14-inception.md": "INC",
    "15-gemm.md": "GEMM",
}
SECTIONS = {
    "C": "Constraints",
    "S": "Semantics",
    "X": "Special values",
    "A": "Accuracy",
    "I": "Invariants",
    "D": "Inputs and outputs",
}


def test_every_page_is_there_with_its_prefix() -> None:
    assert list(pages()) == list(PREFIXES)
    for found in load().values():
        assert found.id.startswith(PREFIXES[found.page] + "-")


@pytest.mark.parametrize("page", PREFIXES)
def test_the_sections_of_a_page_stand_in_order(page: str) -> None:
    sections = re.findall(r"^## (.*)$", pages()[page], flags=re.MULTILINE)
    expected = ["Purpose", "Inputs and outputs", "Constraints", "Semantics", "Special values", "Accuracy"]
    expected += ["Invariants"] if page != "00-conventions.md" else []
    differs = ["Differs from"] if "Differs from" in sections else []  # of operations that libraries have
    assert sections == [*expected, "Executed example", *differs, "Sources"]


@pytest.mark.parametrize("page", PREFIXES)
def test_clauses_are_numbered_without_gaps_within_their_kind(page: str) -> None:
    numbers: dict[str, list[int]] = {}
    for found in load().values():
        if found.page == page:
            letter, number = found.id.rsplit("-", 1)[1][0], int(found.id.rsplit("-", 1)[1][1:])
            numbers.setdefault(letter, []).append(number)
    for letter, sequence in numbers.items():
        assert sequence == list(range(1, len(sequence) + 1)), letter


def test_a_clause_has_the_kind_of_its_letter_and_stands_in_that_section() -> None:
    for found in load().values():
        letter = found.id.rsplit("-", 1)[1][0]
        assert found.kind == KINDS[letter]
        before = pages()[found.page].split(f"#### {found.id}\n")[0]
        section = re.findall(r"^## (.*)$", before, flags=re.MULTILINE)[-1]
        assert section == SECTIONS[letter], found.id


def test_a_clause_has_a_title_and_says_something() -> None:
    for found in load().values():
        assert found.text.startswith(f"**{found.title}"), found.id
        assert len(found.text) > len(found.title) + 8, found.id


def test_every_clause_that_a_page_or_module_cites_exists() -> None:
    for page, text in pages().items():
        for cited in re.findall(rf"\b(?:{'|'.join(PREFIXES.values())})-[DCSXAI][0-9]+\b", text):
            assert cited in load(), f"{page} cites {cited}"


def test_no_formula_ends_a_sentence_that_goes_on() -> None:
    for page, text in pages().items():
        for end, after in re.findall(r"([^$]{0,12}\.)\$\$\n\n(\S+)", text):
            assert not after[0].islower(), f"{page}: {end} {after}"


def test_formulas_use_only_what_the_renderer_knows() -> None:
    for page, text in pages().items():
        assert r"\;" not in text, page
        assert r"\Big" not in text, page
        prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
        for formula in re.findall(r"\$\$.+?\$\$|\$[^$]+\$", prose, flags=re.DOTALL):
            assert "|" not in formula, f"{page}: write \\lvert, not |, in {formula}"
            assert formula.count("{") == formula.count("}"), f"{page}: {formula}"


@pytest.mark.parametrize("page", PREFIXES)
def test_the_examples_of_a_page_run(page: str) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", pages()[page], flags=re.MULTILINE | re.DOTALL))
    example = doctest.DocTestParser().get_doctest(code, {}, page, page, 0)
    assert example.examples
    failures = doctest.DocTestRunner(verbose=False).run(example)
    assert failures.failed == 0


def test_a_clause_is_found_by_its_id() -> None:
    found = clause("GEMM-S3")
    assert isinstance(found, Clause)
    assert (found.title, found.kind, found.page) == ("Unread arguments", "semantics", "15-gemm.md")


def test_an_unknown_id_is_answered_with_close_ones() -> None:
    with pytest.raises(UnknownClause, match="no clause gemm-S1; did you mean GEMM-S1") as refusal:
        clause("gemm-S1")
    assert isinstance(refusal.value, KeyError)
    with pytest.raises(UnknownClause, match=r"^no clause NOTHING$"):
        clause("NOTHING")
