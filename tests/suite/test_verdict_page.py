"""The page on verdicts tells the truth: its kernel gets the verdicts it shows, its declarations are read."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from gaugeblock.conformance.levels import LEVELS
from gaugeblock.spec.domain import Domain
from gaugeblock.spec.operations import OPERATIONS

PAGE = (Path(__file__).parents[1] / "conformance" / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def conform(folder: Path) -> str:
    command = [sys.executable, "-m", "gaugeblock.conformance.command", "conform", "my_softmax.py"]
    done = subprocess.run(
        [*command, "--dtype", "fp32", "--seed", "1"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_a_kernel_with_limits_gets_its_verdict_as_shown(tmp_path: Path) -> None:
    kernel, domain = blocks("python")[:2]
    file = tmp_path / "my_softmax.py"
    for source, shown in zip((kernel, kernel + domain), blocks("console"), strict=True):
        file.write_text(source)
        words = conform(tmp_path)
        assert [line for line in shown.splitlines()[1:] if line not in words] == []


def test_every_limit_that_is_shown_is_a_declaration() -> None:
    table = PAGE[PAGE.index("## What a domain can say") :].partition("\n## ")[0]
    entries = [
        entry
        for cell in re.findall(r"^\| .* \| (.*) \|$", table, re.M)
        for entry in re.findall("`(.*?)`", cell)
    ]
    assert len(entries) > 15
    for entry in entries:
        declaration = ast.literal_eval(f"{{{entry}}}")
        readers = [name for name in ("gemm", "conv", "max_pool") if _reads(name, declaration)]
        assert readers, entry


def _reads(operation: str, declaration: dict[str, object]) -> bool:
    try:
        Domain.declared(OPERATIONS[operation], declaration)
    except ValueError:
        return False
    return True


def test_the_page_has_every_level_and_leads_somewhere() -> None:
    assert re.findall(r"^\| \*\*(\w+)\*\* \| ", PAGE, re.M)[4:] == list(LEVELS)
    for target in re.findall(r"\]\(([^):#]+)\)", PAGE):
        assert (Path(__file__).parents[1] / "conformance" / target).exists(), target
