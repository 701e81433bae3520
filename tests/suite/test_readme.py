"""The first page and those behind it tell the truth: commands are CI's, examples do as said, links lead."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaugeblock.conformance.document import kill_table, table

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT, *(ROOT / room for room in ("reference", "gpu", "spec", "tests")))
    for path in (path.glob("*.md") if path == ROOT else path.rglob("README.md"))
)


def read(page: str | Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(language: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.DOTALL)


def test_ci_runs_exactly_the_test_command() -> None:
    command = blocks("sh")[1].strip()
    assert command.endswith("tox")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("language", "name"), [("python", "my_kernels.py"), ("cuda", "my_kernels.cu")])
def test_the_example_of_a_kernel_fails_as_shown(language: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(next(block for block in blocks(language) if "relu" in block))
    arguments = ["conform", name, "--operation", "relu", "--dtype", "fp32", "--seed", "1"]
    command = [sys.executable, "-m", "gaugeblock.conformance.command", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    shown = next(block for block in blocks("console") if f"conform {name}" in block).splitlines()
    said = " ".join(done.stdout.split())
    missing = [line for line in shown[1:] if " ".join(line.split()) not in said]
    assert missing == []


def test_the_example_of_a_test_passes_and_fails_with_the_kernel(tmp_path: Path) -> None:
    kernels, example = (block for block in blocks("python") if "my_kernels" in block)
    (tmp_path / "test_my_kernels.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend"]
    for kernel, code in ((kernels, 0), (kernels.replace("x > 0", "x > 1"), 1)):
        (tmp_path / "my_kernels.py").write_text(kernel)
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # the second kernel is as long as the first
        )  # fmt: skip
        assert done.returncode == code, done.stdout
    assert "ACT-A3 violated by relu in float32" in done.stdout
    assert "checking.py" not in done.stdout


def test_the_example_of_a_call_runs() -> None:
    example = next(block for block in blocks("python", "gpu/README.md") if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(example, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^):]+)\)", re.sub(r"(?s)```.*?```|`[^`]*`", "", read(page))):
        path, _, section = target.partition("#")
        place = ROOT / page.parent / path if path else ROOT / page
        assert place.exists(), target
        headings = re.findall(r"^#+ (.*)$", read(place), flags=re.MULTILINE) if section else []
        assert not section or section in {
            re.sub("[^a-z0-9-]", "", each.lower().replace(" ", "-")) for each in headings
        }, target


def test_every_concept_is_found_in_the_table() -> None:
    assert table() in read("spec/README.md"), "run: python -m gaugeblock.conformance.document ."


def test_the_kill_matrix_is_that_of_the_record() -> None:
    assert kill_table(ROOT) in read("tests/mutants/README.md"), (
        "run: python -m gaugeblock.conformance.document ."
    )
