"""Triton's kernels run, and are judged, where there is no GPU."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance import Array, Effort, Problem
from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.engine import Examiner, cases
from gaugeblock.conformance.trial import Trial, Violation

if not all(importlib.util.find_spec(name) for name in ("triton", "torch")):
    pytest.skip("Triton is not installed", allow_module_level=True)

KERNELS = Path(__file__).parent / "kernels"
OPERATIONS = KERNELS / "triton_operations.py"
RIGHT = ("add", "add_arrays", "layer_norm", "dropout", "gather", "ends")
WRONG = ("without_mask", "freed_table", "meta", "complex_numbers", "no_compile")


@pytest.fixture(autouse=True)
def simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no GPU decide."""
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")


@pytest.fixture(scope="module")
def programs() -> Mapping[str, Any]:
    """Run programs in a process of their own: the door stays open once it is."""
    run = subprocess.run(
        [sys.executable, str(KERNELS / "triton_run.py"), *RIGHT, *WRONG],
        env={**os.environ, "GAUGEBLOCK_DEVICE": "simulator", "PYTHONPATH": _path(), "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))


def _path() -> str:
    return os.pathsep.join([str(KERNELS), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.parametrize("name", RIGHT)
def test_a_program_is_right(programs: Mapping[str, Any], name: str) -> None:
    assert programs[name] < 1e-5


def test_a_read_behind_a_tensor_names_the_line_of_the_kernel(programs: Mapping[str, Any]) -> None:
    lines = (KERNELS / "triton_programs.py").read_text(encoding="utf-8").splitlines()
    line = lines.index("    y = tl.load(y_ptr + at, mask=inside)") + 1
    assert f"triton_programs.py:{line}: out of bounds in kernel add_kernel" in programs["without_mask"]
    assert "past the end of the storage of x_ptr, 8000 bytes" in programs["without_mask"]
    assert "far from all memory that the kernel was given" in programs["freed_table"]


def test_what_does_not_compile_names_the_line_of_the_kernel(programs: Mapping[str, Any]) -> None:
    lines = (KERNELS / "triton_programs.py").read_text(encoding="utf-8").splitlines()
    line = lines.index("    at = tl.program_id(axis=0) * BLOCK + tl.arange(0, BLOCK)") + 1
    assert programs["no_compile"].endswith(f"triton_programs.py:{line}: arange's range must be a power of 2")


def test_what_the_door_cannot_carry_is_refused_in_one_line(programs: Mapping[str, Any]) -> None:
    assert (
        programs["meta"] == "TypeError: x_ptr is a tensor on meta: the simulated device uses those of the CPU"
    )
    assert programs["complex_numbers"] == "TypeError: Triton has no elements of type complex64"


# Judged


NUMBERS = ("semantics", "accuracy", "exact", "combinations")


def verdicts(
    backend: Path, operation: str, dtype: str, roles: Sequence[str], *, first: bool = False
) -> Mapping[str, str]:
    """Return the verdicts of the checks of some roles, with what failed; to the first failure if asked."""
    subject = Subject(str(backend), 60.0)
    examiner = Examiner(subject, Effort("quick", 1, shrink=False))
    found = {}
    try:
        for case in sorted(cases((operation,), (dtype,)), key=lambda case: case.check.role not in roles[:1]):
            if case.check.role in roles:
                outcome = examiner.examine(case)
                found[case.check.role] = f"{outcome.verdict} {outcome.message or ''}".strip()
                if first and outcome.verdict == "violating":
                    break
    finally:
        subject.close()
    return found


@pytest.mark.parametrize(("operation", "dtype"), [("softmax", "float32"), ("gemm", "float16")])
def test_a_right_kernel_conforms_in_its_domain(operation: str, dtype: str) -> None:
    roles = (*NUMBERS, "special_values", "strides", "inputs_unchanged")
    assert set(verdicts(OPERATIONS, operation, dtype, roles).values()) == {"conforming"}


BUGS = {
    "a mask too wide": ("softmax", "float32", {"at < columns, other": "at <= columns, other"}),
    "no other in rows": ("softmax", "float32", {', other=-float("inf")': ""}),
    "no other in a sum": ("gemm", "float32", {"mask=inside_a, other=0.0": "mask=inside_a"}),
    "a store without its mask": ("softmax", "float32", {"y, mask=at < columns": "y"}),
    "a narrow accumulator": (
        "gemm",
        "float16",
        {
            "dtype=tl.float32)\n    for": "dtype=tl.float16)\n    for",
            "out_dtype=tl.float32": "out_dtype=tl.float16",
        },
    ),
    "undeclared TF32": ("gemm", "float32", {'"ieee"': '"tf32"'}),
    "a loop that ends too early": (
        "gemm",
        "float32",
        {"range(0, K, BLOCK_K)": "range(0, K // BLOCK_K * BLOCK_K, BLOCK_K)"},
    ),
}


def written(folder: Path, changes: Mapping[str, str]) -> Path:
    """Write the kernels with some of their text changed."""
    text = OPERATIONS.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "kernels.py").write_text(text, encoding="utf-8")
    return folder / "kernels.py"


@pytest.mark.parametrize("bug", BUGS)
def test_a_kernel_with_a_bug_is_violating(bug: str, tmp_path: Path) -> None:
    operation, dtype, changes = BUGS[bug]
    found = verdicts(written(tmp_path, changes), operation, dtype, NUMBERS, first=True)
    assert any(verdict.startswith("violating") for verdict in found.values()), found


BACKWARDS = {"k = first + tl": "k = (first if BLOCK_K == 32 else (K - 1) // BLOCK_K * BLOCK_K - first) + tl"}


@pytest.mark.parametrize("tuning", ["first", "all"])
def test_configurations_that_sum_in_another_order_break_determinism_where_all_are_run(
    tuning: str, tmp_path: Path
) -> None:
    backend = written(tmp_path, {**BACKWARDS, 'arrays = "torch"': f'arrays = "torch"\ntuning = "{tuning}"'})
    problem = Problem("gemm", "float32", {"a": Array((20, 100), "normal"), "b": Array((100, 30), "normal")})
    subject = Subject(str(backend), 60.0)
    try:
        broken = [_breaks(subject, problem) for _ in range(8)]
    finally:
        subject.close()
    assert any(broken) == (tuning == "all")


def _breaks(subject: Subject, problem: Problem) -> bool:
    """Whether a call, which is right, has other bits when it is repeated."""
    trial = Trial(subject)
    trial.expect_right(problem)
    try:
        trial.expect_same(problem, trial.ask(problem), trial.ask(problem), "the same call again")
    except Violation:
        return True
    return False


def test_the_lines_in_the_readme_are_enough(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    lines = next(
        each for each in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "my_softmax" in each
    )
    assert len([line for line in lines.splitlines() if not line.startswith("#")]) <= 5
    text = OPERATIONS.read_text(encoding="utf-8")
    kernel = text[text.index("@triton.jit") : text.index("@triton.autotune")].replace(
        "def softmax(", "def my_softmax("
    )
    backend = tmp_path / "kernels.py"
    backend.write_text(f"import torch\nimport triton\nimport triton.language as tl\n\n\n{kernel}{lines}")
    assert verdicts(backend, "softmax", "float32", ("semantics",)) == {"semantics": "conforming"}


# Loading


def refusal(folder: Path, text: str) -> str:
    """Return why a backend is refused."""
    (folder / "kernels.py").write_text(text, encoding="utf-8")
    with pytest.raises(BackendError) as caught:
        Subject(str(folder / "kernels.py"), 60.0)
    return str(caught.value)


def test_a_backend_behind_the_door_says_what_it_runs_on() -> None:
    subject = Subject(str(OPERATIONS), 60.0)
    try:
        assert subject.description["device"] == "Gaugeblock simulated CUDA device"
        assert subject.description["versions"].keys() == {"triton", "torch"}
        assert subject.declared.simulated
        assert subject.declared.slow
    finally:
        subject.close()


def test_bad_input_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = "import triton\ndef relu(x): return x\n"
    assert "tuning is 'best', expected 'first' or 'all'" in refusal(tmp_path, good + "tuning = 'best'\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "cuda")
    assert refusal(tmp_path, good).endswith("GAUGEBLOCK_DEVICE=cuda, but Triton finds no GPU")
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    (tmp_path / "triton.py").write_text("__version__ = '2.1.0'\n", encoding="utf-8")
    assert refusal(tmp_path, good).endswith("without a GPU Triton has to be 3.9 or newer, this is 2.1.0")
