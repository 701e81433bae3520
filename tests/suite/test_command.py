"""The command: exit codes, messages, table and report."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import DTYPES, one_of
from gaugeblock.conformance.reports import files
from gaugeblock.spec import demonstrations, document
from gaugeblock.spec.operations import OPERATIONS

GOOD = """
import numpy as np

def relu(x):
    if x.dtype.name not in ("float32", "float16", "bfloat16"):
        raise TypeError(x.dtype)
    return np.maximum(x, np.zeros((), x.dtype))
"""
BAD = "import numpy as np\n\ndef relu(x):\n    return np.where(x > 0, x, np.zeros((), x.dtype))\n"
RELU = ("conform", "--operation", "relu", "--dtype", "fp32")
QUICK = ("--profile", "quick", "--jobs", "1", "--seed", "1")


@pytest.fixture
def backend(tmp_path: Path) -> Path:
    return tmp_path / "my_kernels.py"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gaugeblock.conformance.command", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_right_kernel_conforms_and_the_exit_code_is_0(backend: Path) -> None:
    backend.write_text(GOOD)
    done = run("conform", backend.name, "--operation", "relu", *QUICK, cwd=backend.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert "conforms" in done.stdout


def test_mutants_are_shown_in_a_checkout_alone(tmp_path: Path) -> None:
    done = run("mutants", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "come with the repository" in done.stderr


def test_a_wrong_kernel_violates_and_the_exit_code_is_1(backend: Path) -> None:
    backend.write_text(BAD)
    report = backend.parent / "r.json"
    done = run(
        "conform", backend.name, "--report", str(report), "--dtype", "fp16", *QUICK, cwd=backend.parent
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "want nan" in done.stdout
    entry = json.loads(report.read_text())["operations"]["relu"]["float16"]
    assert entry["verdict"] == "violating"


def test_the_script_that_a_failure_prints_shows_it_again(backend: Path) -> None:
    backend.write_text(BAD)
    report = backend.parent / "r.json"
    run("conform", backend.name, "--report", str(report), "--dtype", "fp32", *QUICK, cwd=backend.parent)
    clauses = json.loads(report.read_text())["operations"]["relu"]["float32"]["clauses"]
    failure = next(clause["failure"] for clause in clauses.values() if clause["failure"])
    script = backend.parent / "again.py"
    script.write_text(failure["reproduce"])
    done = subprocess.run(
        [sys.executable, str(script)], cwd=backend.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "violated by relu in float32" in done.stdout
    assert failure["message"].splitlines()[0] in done.stdout


def test_the_report_has_the_public_format(backend: Path) -> None:
    backend.write_text(GOOD)
    report = backend.parent / "r.json"
    run("conform", backend.name, "--report", str(report), *QUICK, cwd=backend.parent)
    found = files.read(report)  # which holds it to the schema
    assert (found["format"], found["backend"], found["seed"]) == (2, "my_kernels.py", 1)
    assert found["complete"] is True
    assert found["verdict"] == "conforming"
    assert min(found["memory"].values()) > 1 << 20
    entry = found["operations"]["relu"]["float32"]
    assert entry["asked"] == entry["answered"] > 0
    assert "gemm" in found["lacking"]
    assert "gemm" not in found["operations"]


def test_two_processes_find_what_one_finds(backend: Path) -> None:
    backend.write_text(BAD)
    verdicts = []
    for jobs in ("1", "2"):
        report = backend.parent / f"{jobs}.json"
        arguments = (
            "--operation",
            "relu",
            "--profile",
            "quick",
            "--seed",
            "4",
            "--jobs",
            jobs,
            "--no-shrink",
        )
        run("conform", backend.name, "--report", str(report), *arguments, cwd=backend.parent)
        by_dtype = json.loads(report.read_text())["operations"]["relu"]
        verdicts.append(
            {dtype: [c["verdict"] for c in e["clauses"].values()] for dtype, e in by_dtype.items()}
        )
    assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conform", "nothing.py"], "there is no file nothing.py"),
        (["conform", "numpy", "--operation", "gem"], "there is no operation 'gem'; did you mean gemm"),
        (
            ["conform", "numpy", "--dtype", "fp8"],
            "there is no dtype 'fp8'; the spec has float32, float16, bfloat16, fp32, fp16, …",
        ),
        (["conform", "numpy", "--report", "no/such/folder/r.json"], "--report: there is no folder"),
        (
            ["conform", "numpy", "--operation", "zzz"],
            "no operation 'zzz'; the spec has gemm, relu, ",
        ),
        (["spec", "zzz"], "there is no clause 'zzz'; the spec has GEN-D1, "),
        (["spec", "GEMM-S99"], "there is no clause 'GEMM-S99'; did you mean GEMM-S"),
        (["show", "activatoin"], "there is no concept 'activatoin'; did you mean activation?"),
        (["conform", "numpy", "--report", "."], "--report: [Errno 21] Is a directory"),
        (["conform", "numpy", "--report", ""], "--report: [Errno 21] Is a directory"),
        (["conform", "numpy", "--report", "/proc/r.json"], "--report: [Errno 2] No such file"),
        (["show", "activation", "--output", "/dev/null"], "--output: "),
        (["spec", "--build", "/dev/null"], "--build: "),
        (["spec", "--build", "/proc/x"], "--build: "),
        (["spec", "GEMM-S1", "--build", "x"], "--build renders the whole spec; name no clause with it"),
        (["spec", "--trace", "x.json"], "--trace is for the document: give --build DIR too"),
        (["spec", "--build", "x", "--trace", "no.json"], "no.json is neither a trace nor a report of a run"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    words = capsys.readouterr().err
    assert message in words
    assert words.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conform"], "required: backend"),
        (["conform", "numpy", "--profile", "huge"], "invalid choice: 'huge'"),
        (["conform", "numpy", "--seed", "-1"], "is not between 0 and"),
        (["conform", "numpy", "--seed", "abc"], "'abc' is not a whole number"),
        (["conform", "numpy", "--jobs", "0"], "is not positive"),
        (["conform", "numpy", "--jobs", "x"], "'x' is not a whole number"),
        (["conform", "numpy", "--time-limit", "0"], "0 is not more than 0 and at most 86400 seconds"),
        (["conform", "numpy", "--time-limit", "-1"], "-1 is not more than 0"),
        (["conform", "numpy", "--time-limit", "nan"], "nan is not more than 0"),
        (["conform", "numpy", "--time-limit", "inf"], "inf is not more than 0"),
        (["conform", "numpy", "--time-limit", "soon"], "'soon' is not a number"),
        (["conform", "numpy", "--fast"], "unrecognized arguments: --fast"),
        (["conforn"], "invalid choice: 'conforn'"),
        (["show", "activation", "--format", "gif"], "invalid choice: 'gif'"),
    ],
)
def test_a_wrong_option_is_named_and_the_exit_code_is_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_refused_run_leaves_no_report_behind(tmp_path: Path) -> None:
    assert main(["conform", "no_such_file.py", "--report", str(tmp_path / "r.json")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_after_the_run_is_one_line(
    backend: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    backend.write_text(GOOD)
    monkeypatch.setattr(files, "write", full)
    assert main([*RELU, str(backend), "--report", str(backend.parent / "r.json"), *QUICK]) == 2
    assert capsys.readouterr().err == "gaugeblock: --report: [Errno 28] No space left on device\n"


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in which ``$G`` is the command."""
    line = f'G="{sys.executable} -m gaugeblock.conformance.command"; {line}'
    return subprocess.run(["bash", "-c", line], cwd=cwd, capture_output=True, text=True, check=False)


def test_a_run_whose_words_nobody_reads_goes_on_to_its_report(backend: Path) -> None:
    backend.write_text(BAD)
    line = f"$G {' '.join(RELU)} {backend.name} {' '.join(QUICK)} --report r.json | head -1"
    done = shell(f"{line}; exit ${{PIPESTATUS[0]}}", backend.parent)
    assert (done.returncode, done.stdout, done.stderr) == (1, "seed 1\n", "")
    assert json.loads((backend.parent / "r.json").read_text())["seed"] == 1


@pytest.mark.parametrize("command", ["spec", "devices", "show", "spec --help"])
def test_what_nobody_reads_is_no_failure(command: str, tmp_path: Path) -> None:
    done = shell(f"$G {command} | true; echo ${{PIPESTATUS[0]}}; $G {command} >&-; echo $?", tmp_path)
    assert (done.stdout, done.stderr) == ("0\n0\n", "")


@pytest.mark.parametrize("command", ["spec", "devices", "show"])
def test_a_full_disk_is_one_line_and_exit_code_2(command: str, tmp_path: Path) -> None:
    done = shell(f"$G {command} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (2, "gaugeblock: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_file_named_like_a_module_of_ours_is_in_nobodys_way(jobs: str, backend: Path) -> None:
    for name in ("numpy", "pytest", "random"):
        (backend.parent / f"{name}.py").write_text("raise SystemExit('not me')")
    backend.write_text(GOOD)
    line = f"{Path(sys.executable).parent}/gaugeblock {' '.join(RELU)} my_kernels --profile quick --jobs"
    done = shell(f"unset PYTHONSAFEPATH; {line} {jobs}", backend.parent)
    assert (done.returncode, done.stderr) == (0, "")


def test_characters_that_the_terminal_cannot_show_are_escaped(tmp_path: Path) -> None:
    done = shell("PYTHONIOENCODING=ascii $G spec GEMM-A1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xb7" in done.stdout.splitlines()[0]


def test_a_clause_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec", "gemm-s1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("GEMM-S1")
    assert lines[-1] == "Gaugeblock spec 0.2, GEMM-S1"


@pytest.mark.parametrize(
    ("name", "first"),
    [("CONV", "CONV-D1"), ("gemm-s", "GEMM-S1"), ("convolution", "CONV-D1"), ("Feature_Learning", "FL-D1")],
)
def test_the_beginning_of_an_id_or_a_concept_lists_its_clauses(
    name: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spec", name]) == 0
    ids = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert ids[0] == first
    assert {id.split("-")[0] for id in ids} == {first.split("-")[0]}


@pytest.mark.parametrize(
    ("name", "among", "known"),
    [
        ("Leaky-ReLU", OPERATIONS, "leaky_relu"),
        ("FP32", DTYPES, "fp32"),
        ("convolutional-network", demonstrations.CONCEPTS, "convolutional_network"),
    ],
)
def test_names_are_known_in_any_case_and_with_hyphens(name: str, among: Iterable[str], known: str) -> None:
    assert one_of(name, among, "name") == known


def test_building_without_the_extra_names_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    assert main(["spec", "--build", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert "pip install '.[document]' in a checkout, or pypandoc_binary, typst" in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_building_with_a_trace_fails_where_a_clause_has_no_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(document, "build", lambda folder, **rest: [folder / "page.html"])
    versions = {"gaugeblock": "0.1.0", "python": "3.11"}
    trace = {"format": 1, "date": None, "versions": versions, "clauses": {"GEN-D1": {"t::a": {}}}}
    (tmp_path / "trace.json").write_text(json.dumps(trace))
    assert main(["spec", "--build", str(tmp_path), "--trace", str(tmp_path / "trace.json")]) == 1
    output = capsys.readouterr()
    assert output.out == f"{tmp_path / 'page.html'}\n"
    assert output.err.startswith("gaugeblock: no test names GEN-D2, ")
    assert main(["spec", "--build", str(tmp_path)]) == 0


def test_without_an_id_all_clauses_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spec"]) == 0
    assert {"GEN-D1", "GEMM-S1", "ACT-A1"} <= set(capsys.readouterr().out.split())


def test_without_a_concept_all_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(demonstrations.CONCEPTS)
    assert "activation             Activation function" in [line.rstrip() for line in lines]


@pytest.mark.parametrize("format", ["svg", "png"])
def test_a_concept_is_shown_in_words_numbers_and_pictures(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert main(["show", "activation", "--output", str(folder), "--format", format]) == 0
    words = capsys.readouterr().out
    shown = demonstrations.demonstrate("activation")
    assert shown.title in words
    for statement in shown.statements:
        assert " ".join(statement.split()) in re.sub(r"\s+", " ", words)
    for name in shown.numbers:
        assert name in words
    assert {str(path) for path in folder.iterdir()} <= set(words.splitlines())
    names = {f"activation-{picture.name}.{format}" for picture in shown.pictures}
    assert {path.name for path in folder.iterdir()} == names


def test_devices_says_what_the_kernels_run_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert "simulated" in capsys.readouterr().out


def test_an_operation_that_crashes_violates_and_the_others_are_still_judged(backend: Path) -> None:
    backend.write_text(GOOD + "\nimport os\n\ndef tanh(x):\n    os.abort()\n")
    report = backend.parent / "r.json"
    done = run(
        "conform", backend.name, "--report", str(report), "--dtype", "fp32", *QUICK, cwd=backend.parent
    )
    assert done.returncode == 1
    operations = json.loads(report.read_text())["operations"]
    assert operations["relu"]["float32"]["verdict"] == "conforming"
    assert operations["tanh"]["float32"]["verdict"] == "violating"
    assert "SIGABRT" in done.stdout
