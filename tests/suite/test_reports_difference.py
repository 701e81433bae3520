"""``gaugeblock diff``: what changed between two reports, and whether something got worse."""

import copy
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance.command import main
from gaugeblock.conformance.reports import files
from gaugeblock.conformance.reports.difference import Change, compare


@pytest.fixture
def new(report: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(report)


def test_a_report_does_not_differ_from_itself(report: dict[str, Any], new: dict[str, Any]) -> None:
    found = compare(report, new)
    assert (found.notes, found.changes, found.worse) == ([], [], False)


def test_a_clause_that_is_violated_now_is_worse_and_one_that_is_mended_better(
    report: dict[str, Any], new: dict[str, Any]
) -> None:
    gelu, relu = new["operations"]["gelu"]["float32"], new["operations"]["relu"]["float32"]
    gelu["clauses"]["ACT-A1"]["verdict"] = gelu["levels"]["numeric"] = "violating"
    relu["clauses"]["ACT-X2"]["verdict"] = "conforming"
    assert compare(report, new).changes == [
        Change("relu", "float32", "ACT-X2", "violating", "conforming", "better"),
        Change("gelu", "float32", "level numeric", "conforming", "violating", "worse"),
        Change("gelu", "float32", "ACT-A1", "conforming", "violating", "worse"),
    ]
    assert compare(report, new).worse


@pytest.mark.parametrize(
    ("old", "now", "kind"),
    [
        ("conforming", "partial", "worse"),
        ("partial", "unsupported", "worse"),
        ("unsupported", "violating", "worse"),
        ("violating", "unsupported", "better"),
        ("outside", "conforming", "better"),
    ],
)
def test_verdicts_have_an_order(
    old: str, now: str, kind: str, report: dict[str, Any], new: dict[str, Any]
) -> None:
    for data, verdict in ((report, old), (new, now)):
        data["operations"]["relu"]["float16"]["clauses"]["ACT-S1"]["verdict"] = verdict
    assert [change.kind for change in compare(report, new).changes] == [kind]


def test_what_is_gone_is_worse_and_what_is_new_is_not(report: dict[str, Any], new: dict[str, Any]) -> None:
    del new["operations"]["tanh"]["float32"]
    assert compare(report, new).changes == [Change("tanh", "float32", "gone", "conforming", "—", "worse")]
    assert compare(new, report).changes == [Change("tanh", "float32", "new", "—", "conforming", "better")]


def test_a_clause_that_is_not_tried_any_more_is_worse(report: dict[str, Any], new: dict[str, Any]) -> None:
    del new["operations"]["tanh"]["float32"]["clauses"]["ACT-A1"]
    assert compare(report, new).worse
    assert not compare(new, report).worse


def test_a_domain_that_changed_is_told(report: dict[str, Any], new: dict[str, Any]) -> None:
    new["operations"]["relu"]["float32"]["domain"] = {"ranks": [2]}
    (change,) = compare(report, new).changes
    assert (change.what, change.old, change.new, change.kind) == ("domain", "None", "{'ranks': [2]}", "")


def test_an_error_that_grew_is_worse_where_the_problems_were_the_same(
    report: dict[str, Any], new: dict[str, Any]
) -> None:
    old = report["operations"]["relu"]["float32"]
    old["worst_share_of_bound"] = None
    new["operations"]["relu"]["float32"]["worst_share_of_bound"] = 0.09
    assert compare(report, new).changes == []
    new["operations"]["relu"]["float32"]["worst_share_of_bound"] = 0.11
    assert compare(report, new).worse
    new["seed"] += 1
    found = compare(report, new)
    assert (len(found.changes), found.worse) == (1, False)
    assert found.notes == ["seed differs: 20261130, now 20261131"]


def test_other_conditions_are_told_but_are_no_change(report: dict[str, Any], new: dict[str, Any]) -> None:
    new.update(profile="deep", device="another", complete=False)
    new["versions"]["numpy"] = "3.0"
    del new["versions"]["my_kernels"]
    found = compare(report, new)
    assert found.changes == []
    assert found.notes == [
        "device differs: NVIDIA H200 <0>, now another",
        "profile differs: ci, now deep",
        "versions differs: numpy 2.4.6, now 3.0; my_kernels 1 & only, now absent",
        "the new run was interrupted",
    ]


def test_the_command_prints_a_table_and_its_exit_code_tells_worse_from_not(
    report: dict[str, Any], new: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old_file, new_file = tmp_path / "old.json", tmp_path / "new.json"
    new["operations"]["relu"]["float32"]["clauses"]["ACT-X2"]["verdict"] = "conforming"
    new["device"] = "\x1b[31m[red]"
    files.write(old_file, files.as_json(report))
    files.write(new_file, files.as_json(new))
    assert main(["diff", str(old_file), str(new_file)]) == 0
    words = capsys.readouterr().out
    assert "relu float32 ACT-X2 violating conforming better" in " ".join(words.split())
    assert "0 worse, 1 better, 0 other changes; 312 s, now 312 s" in words
    assert "now \\x1b[31m[red]" in words
    assert main(["diff", str(new_file), str(old_file)]) == 1
    assert main(["diff", str(old_file), str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err == f"gaugeblock: {tmp_path / 'none.json'}: No such file or directory\n"
