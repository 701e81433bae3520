"""What was published stays: ids of clauses, and the facts of a citation."""

import re
from pathlib import Path

from gaugeblock.spec import VERSION, cite, load
from gaugeblock.spec.citation import DATE, bibtex
from gaugeblock.spec.published import extended, published

CITATION = (Path(__file__).parents[2] / "CITATION.cff").read_text("utf-8")


def test_no_published_id_disappears() -> None:
    gone = {id for ids in published().values() for id in ids} - set(load())
    assert gone == set(), "a withdrawn clause keeps its heading and names its successor"


def test_every_id_is_published_in_one_version() -> None:
    listed = [id for ids in published().values() for id in ids]
    assert len(listed) == len(set(listed))
    new = set(load()) - set(listed)
    assert new == set(), "run: python -m gaugeblock.spec.published spec/text/published.json"
    assert list(published())[-1] == VERSION


def test_new_ids_are_added_to_the_present_version_and_old_ones_stay() -> None:
    known = {"0.0": ["GEMM-S1", "OLD-S1"], VERSION: ["GEMM-S2"]}
    versions = extended(known)
    assert versions["0.0"] == ["GEMM-S1", "OLD-S1"]
    assert versions[VERSION][0] == "GEMM-S2"
    assert set(versions[VERSION]) == set(load()) - {"GEMM-S1"}


def test_the_facts_are_those_of_the_citation_file() -> None:
    def fact(name: str) -> str:
        return re.findall(rf'^{name}: "?(.*?)"?$', CITATION, flags=re.MULTILINE)[0]

    assert fact("version").startswith(f"{VERSION}.")
    assert fact("date-released") == DATE
    assert fact("title") in bibtex()
    assert cite("GEMM-A1") in fact("message")


def test_an_entry_for_bibtex_is_balanced_and_names_the_version() -> None:
    entry = bibtex()
    assert entry.count("{") == entry.count("}")
    assert f"version {VERSION}" in entry
    assert entry.startswith("@techreport{")
    assert entry.endswith("}")
