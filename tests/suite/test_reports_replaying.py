"""``gaugeblock replay``: the failures of a report, put to the backend again."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.conformance import Array, Layout, Problem
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.command import main
from gaugeblock.conformance.engine import reproduce
from gaugeblock.conformance.reports import files
from gaugeblock.conformance.reports.files import ReportError
from gaugeblock.conformance.reports.replaying import read_problem
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import OPERATIONS

BAD = "import numpy as np\n\ndef relu(x):\n    return np.where(x > 0, x, np.zeros((), x.dtype))\n"
GOOD = "import numpy as np\n\ndef relu(x):\n    return np.maximum(x, np.zeros((), x.dtype))\n"


@pytest.fixture
def folder(report: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with a backend, and a report on it with one failure in relu and one without a problem."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "my_kernels.py").write_text(BAD)
    report["folder"] = str(tmp_path / "run")
    report["operations"] = {"relu": {"float32": report["operations"]["relu"]["float32"]}}
    files.write(tmp_path / "r.json", files.as_json(report))
    return tmp_path


def test_what_still_fails_is_exit_code_1_from_any_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/")
    assert main(["replay", str(folder / "r.json")]) == 1
    assert os.getcwd() == "/"
    words = capsys.readouterr().out
    assert "ACT-X2 violated by relu in float32" in words
    assert f"1 of 1 failures of {folder / 'r.json'} still fail" in words


def test_what_is_mended_is_exit_code_0(folder: Path) -> None:
    (folder / "run" / "my_kernels.py").write_text(GOOD)
    assert main(["replay", str(folder / "r.json"), "--operation", "relu", "--dtype", "fp32"]) == 0


def test_another_backend_may_be_named(folder: Path) -> None:
    other = folder / "other.py"
    other.write_text(GOOD)
    assert main(["replay", str(folder / "r.json"), "--backend", str(other), "--clause", "act-x2"]) == 0


def test_a_backend_beside_the_report_is_found(
    folder: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/")
    (folder / "run" / "my_kernels.py").rename(folder / "my_kernels.py")
    assert main(["replay", str(folder / "r.json")]) == 1
    (folder / "my_kernels.py").unlink()
    capsys.readouterr()
    assert main(["replay", str(folder / "r.json")]) == 2
    looked = f"there is no my_kernels.py in {folder / 'run'}, {folder}, /: name it with --backend"
    assert capsys.readouterr().err == f"gaugeblock: {looked}\n"


def test_what_was_not_tried_is_not_called_mended(
    folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    clause = report["operations"]["relu"]["float32"]["clauses"]["ACT-X2"]
    clause["failure"] = {"message": "not tried: relu: no answer", "reproduce": None}
    files.write(folder / "r.json", files.as_json(report))
    assert main(["replay", str(folder / "r.json")]) == 1
    assert "ACT-X2 of relu in float32 was not tried in that run" in capsys.readouterr().out


def test_a_problem_of_its_own_is_preferred_to_the_script(folder: Path, report: dict[str, Any]) -> None:
    failure = report["operations"]["relu"]["float32"]["clauses"]["ACT-X2"]["failure"]
    failure["problem"] = repr(Problem("relu", "float32", {"x": Array((3,), "ones")}))
    files.write(folder / "r.json", files.as_json(report))
    assert main(["replay", str(folder / "r.json")]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--operation", "rleu"], "there is no operation 'rleu'; did you mean relu"),
        (["--operation", "gemm"], "has no such failure"),
        (["--clause", "ACT-S1"], "has no such failure"),
        (["--backend", "no.py"], "there is no file no.py"),
    ],
)
def test_a_wrong_choice_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(folder / "r.json"), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("Problem('gemm', 'float32', {})", "relu.float32.ACT-X2: its problem is one of gemm in float32"),
        ("Problem('relu', 'float32', {})", "its problem cannot be put: "),
        ("__import__('os').system('touch hacked')", "expected one Problem, got 0"),
    ],
)
def test_a_report_with_a_problem_of_no_run_is_refused_in_one_line(
    problem: str, words: str, folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report["operations"]["relu"]["float32"]["clauses"]["ACT-X2"]["failure"]["problem"] = problem
    files.write(folder / "r.json", files.as_json(report))
    assert main(["replay", str(folder / "r.json")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@given(data=st.data())
def test_every_problem_that_is_drawn_is_read_from_its_words(data: st.DataObject) -> None:
    operation = OPERATIONS[data.draw(st.sampled_from(sorted(OPERATIONS)))]
    check = data.draw(st.sampled_from(sorted(checks_of(operation).items())))[1]
    problem = data.draw(check.problems(operation, data.draw(st.sampled_from(operation.dtypes)), Arithmetic()))
    for text in (repr(problem), reproduce("a 'b'.py", "GEN-S1", problem)):
        assert repr(read_problem(text)) == repr(problem)


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_problem_that_is_always_tried_is_read_from_its_words(name: str) -> None:
    for check in checks_of(OPERATIONS[name]).values():
        for problem in check.always(OPERATIONS[name], "float16", Arithmetic()):
            assert repr(read_problem(repr(problem))) == repr(problem)


def test_layouts_infinities_and_nan_are_read() -> None:
    layout = Layout(order=(1, 0), steps=(-1, 2), offset=3)
    planted = ((0, float("nan")), (1, -float("nan")), (2, float("-inf")), (3, -0.0))
    arrays = {"x": Array((2, 2), "wide", scale=3.5, planted=planted, layout=layout)}
    problem = Problem("relu", "float32", arrays, out=layout, alias="x", dtypes={"x": "int32"})
    assert repr(read_problem(repr(problem))) == repr(problem)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "Problem(", "Problem()", "Problem('relu', 'float32')", "x.Problem('relu', 'float32', {})"),
        "Problem('relu', 'float32', {}); Problem('relu', 'float32', {})",
        "Problem('relu', 'float32', open('x'))",
        "Problem('relu', 'float32', {'x': Array((1,), 'zeros', seed=__import__('os').getpid())})",
        "Problem('relu', 'float32', {'x': Array((10**9, 10**9))})",
        "Problem('relu', 'float32', {'x': Array((1000000000, 1000000000))})",
        "Problem('relu', 'float32', {'x': Array((-1,))})",
        "Problem('relu', 'float32', {'x': Array((2,), layout=Layout(steps=(1, 1)))})",
        "Problem('relu', 'float32', {'x': Array((2,), layout=Layout(order=(3,)))})",
        "Problem('relu', 'float32', {'x': Array((2,), 'anything')})",
        "Problem('relu', 'float32', {'x': Array((2,), planted=((0,),))})",
        "Problem('relu', 'float32', {'x': [x for x in (1,)]})",
        "Problem('relu', 'float32', **{'arrays': {}})",
        "Problem('relu', 'float32', *({},))",
        "Problem('relu', 'float64', {})",
        "Problem('nothing', 'float32', {})",
        "Problem('relu', 'float32', {}, operation='gemm')",
        "Problem('relu', 'float32', {'x': float('one')})",
        "Problem('relu', 'float32', " + "(" * 100_000,
        "Problem('relu', 'float32', " + "-" * 100_000 + "1)",
        "Problem('relu', '\0', {})",
    ],
)
def test_what_is_no_problem_is_refused_and_not_evaluated(text: str) -> None:
    with pytest.raises(ReportError) as refused:
        read_problem(text)
    assert "\n" not in str(refused.value)


@given(text=st.text() | st.binary().map(repr))
def test_no_text_breaks_the_reader(text: str) -> None:
    for tried in (text, f"Problem('relu', 'float32', {text})"):
        with contextlib.suppress(ReportError):
            read_problem(tried)
