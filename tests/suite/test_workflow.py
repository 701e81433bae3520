"""What is offered to CI is true: workflows are whole, and their commands and the page's do what they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).parents[1] / "conformance" / "ci"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
GITHUB = yaml.safe_load((FOLDER / "github.yml").read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((FOLDER / "gitlab.yml").read_text(encoding="utf-8"))["gaugeblock"]
KERNEL = """
import numpy as np

def relu(x):
    if x.dtype.name not in ("float32", "float16", "bfloat16"):
        raise TypeError(x.dtype)
    return np.maximum(x, np.zeros((), x.dtype))
"""
REPORTS = {"report": "gaugeblock.json", "junit": "gaugeblock.xml", "html": "gaugeblock.html"}

COMMANDS = {
    "gaugeblock": "-m gaugeblock.conformance.command",
    "python": "",
    "pytest": "-m pytest -p gaugeblock.conformance.entry",
}
"""What stands in for the installed commands: the same, of the package under test."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with kernels."""
    (tmp_path / "my_kernels.py").write_text(KERNEL)
    (tmp_path / "bin").mkdir()
    for name, arguments in COMMANDS.items():
        command = tmp_path / "bin" / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P {arguments} "$@"\n')
        command.chmod(0o755)
    return tmp_path


HELP = subprocess.check_output(
    [sys.executable, "-P", "-m", "gaugeblock.conformance.command", "conform", "--help"], text=True
)
MISSING = [option for option in ("level", "junit", "html") if f"--{option}" not in HELP]
"""Options that the command does not have yet. Delete this, and what uses it, once it has them."""


def without_missing_options(script: str) -> str:
    for option in MISSING:
        script = re.sub(rf" --{option} \S+", "", script)
    return script


WRITTEN = {REPORTS[option] for option in REPORTS if option not in MISSING}


def run(script: str, checkout: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step as the CI's shell does."""
    environment = {**os.environ, **variables, "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-e", "-c", without_missing_options(script)]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = GITHUB["jobs"][job]["steps"]
    return found


def scripts(job: str) -> list[str]:
    """Return the commands of a job but for the installation, which must be the first of them."""
    install, *rest = [step["run"] for step in steps(job) if "run" in step]
    assert 'pip install "$GAUGEBLOCK"' in install
    return rest


@pytest.mark.parametrize("job", ["conform", "gpu"])
def test_a_job_is_bounded_pinned_and_keeps_the_reports(job: str) -> None:
    assert 0 < GITHUB["jobs"][job]["timeout-minutes"] <= 60
    actions = [step["uses"] for step in steps(job) if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
    checkout, *_, upload = steps(job)
    assert checkout["with"] == {"persist-credentials": False}
    assert upload["uses"].startswith("actions/upload-artifact@")
    assert upload["if"] == "${{ !cancelled() }}"
    assert upload["with"]["path"] == "reports/"
    # What stands in ${{ }} is pasted into a script before a shell reads it.
    assert not any("${{" in step.get("run", "") for step in steps(job))


def test_the_workflow_may_read_only_and_gives_way_to_a_newer_run() -> None:
    assert GITHUB["permissions"] == {"contents": "read"}
    assert GITHUB["concurrency"]["cancel-in-progress"] is True
    assert set(GITHUB[True]) == {"push", "pull_request", "workflow_dispatch"}  # YAML 1.1 reads "on" as true
    assert "github.event_name != 'pull_request'" in GITHUB["jobs"]["gpu"]["if"]


def test_the_workflow_caches_where_compiled_kernels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from gaugeblock.gpu.runtime.compiler import cache_folder

    def settings(action: str) -> dict[str, str]:
        found = [step for step in steps("conform") if f"actions/{action}@" in step.get("uses", "")]
        return dict(found[0]["with"])

    cache = settings("cache")
    assert settings("setup-python")["cache"] == "pip"
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder().is_relative_to(Path(cache["path"]).expanduser())
    assert "env.GAUGEBLOCK" in cache["key"]
    assert "hashFiles('**/*.py', '**/*.cu', '**/*.cuh')" in cache["key"]
    monkeypatch.setenv("XDG_CACHE_HOME", GITLAB["variables"]["XDG_CACHE_HOME"])
    assert str(cache_folder()).startswith("$CI_PROJECT_DIR/.cache/")


def test_the_version_it_names_is_this_one() -> None:
    version = (FOLDER.parents[2] / "pyproject.toml").read_text().partition('version = "')[2].partition('"')[0]
    assert GITHUB["env"]["GAUGEBLOCK"] == GITLAB["variables"]["GAUGEBLOCK"] == f"gaugeblock=={version}"


def test_the_steps_of_the_workflow_write_the_reports(checkout: Path) -> None:
    for script in scripts("conform"):
        done = run(script, checkout, GITHUB["env"])
        assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in (checkout / "reports").iterdir()} == WRITTEN
    report = json.loads((checkout / "reports" / "gaugeblock.json").read_text())
    assert report["operations"]["relu"]["float32"]["verdict"] == "conforming"


def test_the_other_jobs_say_the_same_command() -> None:
    def plain(script: str) -> list[str]:
        return (
            script.replace("\\\n", "")
            .replace('"$RUNNER_TEMP/gaugeblock/bin/gaugeblock"', "gaugeblock")
            .split()
        )

    (words,) = map(plain, scripts("conform"))
    assert [words] == [plain(script) for script in scripts("gpu")]
    install, *rest = GITLAB["script"]
    assert install == 'python -m pip install "$GAUGEBLOCK"'
    assert plain(" ".join(rest)) == words
    assert {name: GITLAB["variables"][name] for name in GITHUB["env"]} == GITHUB["env"]
    assert GITLAB["artifacts"]["when"] == "always"


def test_the_commands_of_the_page_do_what_it_says(checkout: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        done = run(block, checkout, {})
        assert done.returncode == 0, done.stdout + done.stderr
    assert {"pytest.xml"} | WRITTEN <= {file.name for file in checkout.iterdir()}


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (FOLDER / target).exists(), target


def test_every_option_of_the_page_is_one_of_pytest(checkout: Path) -> None:
    words = run("pytest --pyargs gaugeblock.conformance --help", checkout, {}).stdout
    table = README[README.index("| Option | Means |") :]
    for option in re.findall(r"`(--[a-z-]+)", table.partition("\n\n")[0]):
        assert f"--gaugeblock-{option[2:]}" in words
        assert f"{option}" in words
