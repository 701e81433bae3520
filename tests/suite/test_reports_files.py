"""Reports as files: written whole or not at all, read only if they are what they say."""

import copy
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gaugeblock.conformance.reports import files

SCHEMA = json.loads(Path(files.__file__).with_name("report.schema.json").read_text("utf-8"))
MISSING = object()
RELU = ("operations", "relu", "float32")


def change(data: Any, keys: tuple[str | int, ...], value: Any) -> None:
    """Put a value where the keys lead."""
    for key in keys[:-1]:
        data = data[key]
    data[keys[-1]] = value
    if value is MISSING:
        del data[keys[-1]]


def test_the_schema_is_one_and_the_sample_keeps_it(report: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(report, SCHEMA)


def test_what_is_written_is_read_again(report: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    files.write(file, files.as_json(report))
    assert files.read(file) == report
    assert list(tmp_path.iterdir()) == [file]


def places(data: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the keys that lead to every value."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, inner in pairs:
        yield (*before, key)
        yield from places(inner, (*before, key))


VALUES = (
    None,
    True,
    False,
    -1,
    0,
    2,
    0.5,
    -0.5,
    "",
    "violating",
    "strict",
    [],
    [1],
    ["x"],
    {},
    {"a": 1},
)


def test_a_report_is_refused_exactly_where_the_schema_refuses_it(report: dict[str, Any]) -> None:
    entry = report["operations"]["gemm"]["bfloat16"]
    entry["clauses"] = {clause: entry["clauses"][clause] for clause in ("GEMM-A1", "GEMM-A2")}
    report["operations"] = {"gemm": {"bfloat16": entry}}
    judge = jsonschema.Draft202012Validator(SCHEMA)
    refused = 0
    for place in places(report):
        for value in (MISSING, *VALUES):
            changed = copy.deepcopy(report)
            change(changed, place, value)
            complaints = list(files._complaints(changed, SCHEMA, ""))
            assert bool(complaints) != judge.is_valid(changed), (place, value)
            assert all(complaint.isprintable() for complaint in complaints)
            refused += bool(complaints)
    assert refused > 500


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: "", "is empty"),
        (lambda text: text[: len(text) // 2], "is cut off"),
        (lambda text: '{"format": 2, "oper', "is cut off"),
        (lambda text: "verdict: fine", "is not JSON: Expecting value in line 1"),
        (lambda text: text.replace("312.4", "NaN"), "is not JSON: NaN is no number of JSON"),
        (lambda text: "[" * 100_000, "is not JSON: maximum recursion depth"),
        (lambda text: "[]", "is no report of gaugeblock conform"),
        (lambda text: '{"format": 1}', "is no report of gaugeblock conform"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "has format 1, expected 2"),
        (lambda text: text.replace('"format": 2', '"format": "\\u001b"'), "has format '\\x1b', expected 2"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    spoil: Callable[[str], str], words: str, report: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(spoil(files.as_json(report)).encode("utf-8", "backslashreplace"))
    with pytest.raises(files.ReportError) as refused:
        files.read(file)
    assert words in str(refused.value)
    assert str(file) in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("seed",), "1", "seed is '1', expected integer"),
        (("seed",), True, "seed is True, expected integer"),
        (("seconds",), -1, "seconds is -1, expected at least 0"),
        (("operations",), [], "operations is [], expected object"),
        (
            (*RELU, "verdict"),
            "fine",
            "relu.float32.verdict is 'fine', expected one of conforming, ",
        ),
        ((*RELU, "levels"), {}, "operations.relu.float32.levels has no 'numeric'"),
        ((*RELU, "departures"), [1], "operations.relu.float32.departures[0] is 1, expected string"),
        ((*RELU, "clauses", "\x1b[31m"), 1, "clauses.\\x1b[31m is 1, expected object"),
    ],
)
def test_a_key_that_is_wrong_is_named(
    keys: tuple[str, ...], value: object, words: str, report: dict[str, Any], tmp_path: Path
) -> None:
    change(report, keys, value)
    file = tmp_path / "r.json"
    file.write_text(json.dumps(report))
    with pytest.raises(files.ReportError) as refused:
        files.read(file)
    assert words in str(refused.value)


def test_a_file_that_is_not_there_or_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name, words in (("no.json", "No such file"), (".", "Is a directory"), ("bytes", "is not JSON")):
        with pytest.raises(files.ReportError, match=words) as refused:
            files.read(tmp_path / name)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_whole_and_no_other(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = tmp_path / "r.json"
    file.write_text("old")
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left on device"):
        files.write(file, "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("r.json", "old")]


def test_a_device_is_written_to_and_not_replaced() -> None:
    files.expect_writable(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left on device"):
        files.write(Path("/dev/full"), "new")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_link_stays_a_link_and_permissions_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    files.write(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), stat.S_IMODE(real.stat().st_mode)) == ("new", 0o640)


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    files.write(tmp_path / "r.json", "")
    (tmp_path / "other").touch()
    assert (tmp_path / "r.json").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_name_as_long_as_a_name_may_be_is_written(tmp_path: Path) -> None:
    file = tmp_path / ("r" * 255)
    files.write(file, "new")
    assert file.read_text() == "new"


@pytest.mark.parametrize("name", ["no/such/folder/r.json", ".", "/proc/r.json", "r" * 300])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011  which one, the system says
        files.expect_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_looking_whether_a_file_can_be_written_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    files.expect_writable(file)
    assert list(tmp_path.iterdir()) == []
    file.write_text("old")
    files.expect_writable(file)
    assert file.read_text() == "old"
