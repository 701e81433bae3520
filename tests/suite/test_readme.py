"""The README tells the truth: its commands are those that CI runs, its examples do what it says."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaugeblock.conformance.document import kill_table, table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_ci_runs_exactly_the_test_command() -> None:
    command = blocks("sh")[1].strip()
    assert command.endswith("tox")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("language", "name"), [("python", "my_kernels.py"), ("cuda", "my_kernels.cu")])
def test_the_example_of_a_kernel_fails_as_shown(language: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(blocks(language)[0])
    arguments = ["conform", name, "--operation", "relu", "--dtype", "fp32", "--seed", "1"]
    command = [sys.executable, "-m", "gaugeblock.conformance.command", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    shown = next(block for block in blocks("console") if f"conform {name}" in block).splitlines()
    said = " ".join(done.stdout.split())
    missing = [line for line in shown[1:] if " ".join(line.split()) not in said]
    assert missing == []


def test_the_example_of_a_test_passes_and_fails_with_the_kernel(tmp_path: Path) -> None:
    kernels, example = (block for block in blocks("python") if block.startswith("# "))
    (tmp_path / "test_my_kernels.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend"]
    for kernel, code in ((kernels, 0), (kernels.replace("x > 0", "x > 1"), 1)):
        (tmp_path / "my_kernels.py").write_text(kernel)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout
    assert "ACT-A3 violated by relu in float32" in done.stdout
    assert "checking.py" not in done.stdout


def test_the_example_of_a_call_runs() -> None:
    example = next(block for block in blocks("python") if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(example, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^):]+)\)", README):
        path, _, section = target.partition("#")
        assert not path or (ROOT / path).exists(), target
        text = README if not path else (ROOT / path).read_text(encoding="utf-8") if section else ""
        headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
        assert not section or section in {heading.lower().replace(" ", "-") for heading in headings}, target


def test_every_concept_is_found_in_the_table() -> None:
    message = "run: python -m gaugeblock.conformance.document README.md"
    assert f"\n\n{table()}\n\n" in README[README.index("## Where is …?") :], message


def test_a_kill_matrix_in_the_readme_is_that_of_the_record() -> None:
    message = "run: python -m gaugeblock.conformance.document README.md"
    shown = re.search(r"(?m)^\| wrong, right (.*\n\|)*.*$", README)
    assert shown is None or shown[0] == kill_table(ROOT), message
