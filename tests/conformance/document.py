"""What the suite tells the document: which checks a clause has, and where a concept lives.

The page of the spec has a table of that too, that of the mutants one of the recorded kill matrix. After a new
concept or kernel,

    python -m gaugeblock.conformance.document .

in a checkout writes them again.
"""

from __future__ import annotations

import inspect
import json
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gaugeblock.conformance.checks import checks_of
from gaugeblock.spec.clauses import load, pages
from gaugeblock.spec.document import Claim
from gaugeblock.spec.document.chapters import concept_of
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.statements import STATEMENTS, Statement


@cache
def claims() -> Mapping[str, Sequence[Claim]]:
    """Return the checks of the suite by the clause that they try."""
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name, operation in OPERATIONS.items():
        for clause, check in checks_of(operation).items():
            found.setdefault(clause, {}).setdefault((check.role, check.claim), []).append(name)
    return {
        clause: [Claim(role, words, tuple(names)) for (role, words), names in by_check.items()]
        for clause, by_check in found.items()
    }


def places() -> Mapping[str, Sequence[str]]:
    """Return the files of the repository that hold a concept, by its name.

    One concept has one name on every floor, so that the modules that are there tell it; the tests do not come
    with the package, and are named by the same rule.
    """
    concepts = [concept_of(page) for page in pages()]
    return {concept: list(_places(concept)) for concept in concepts if concept != "conventions"}


def _places(concept: str) -> Iterator[str]:
    """Yield the files of a concept: reference, kernels, suite, tests, demonstration."""
    for folder in ("reference", "gpu"):
        if _exists(f"gaugeblock.{folder}.{concept}.operations"):
            yield f"{folder}/{concept}/operations.py"
        elif _exists(f"gaugeblock.{folder}.{concept}"):
            yield f"{folder}/{concept}.py"
    yield from _kernels(concept)
    modules = {
        inspect.getmodule(check.holds).__name__.rpartition(".")[2]  # type: ignore[union-attr]
        for operation in OPERATIONS.values()
        if operation.concept == concept
        for check in checks_of(operation).values()
    }
    shared = {"generic", "constraints", "real_data"}
    yield from (f"tests/conformance/checks/{module}.py" for module in sorted(modules - shared))
    yield f"tests/reference/test_{concept}.py"
    if _exists(f"gaugeblock.spec.demonstrations.{concept}"):
        yield f"spec/demonstrations/{concept}.py"


def _kernels(concept: str) -> Iterator[str]:
    """Yield the files of a concept's kernels."""
    folder = files("gaugeblock.gpu") / "kernels" / concept
    if folder.is_dir():
        names = sorted(entry.name for entry in folder.iterdir())
        yield from (f"gpu/kernels/{concept}/{name}" for name in names if name.endswith(".cu"))


def _exists(module: str) -> bool:
    """Return whether a module can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "reference": ("reference/",),
    "kernels": ("gpu/",),
    "checks": ("tests/conformance/",),
    "tests": ("tests/reference/",),
    "shown by": ("spec/demonstrations/",),
}
"""The columns of the table, with how the paths in them begin."""


def table() -> str:
    """Return the table of concepts and where they live, as Markdown with links from `spec/`."""
    head = ["", "formulas and bounds", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for page, markdown in pages().items():
        concept = concept_of(page)
        files = places().get(concept)
        if files is None:
            continue
        sections = set(re.findall(r"^## (.*)$", markdown, flags=re.MULTILINE))
        parts = [
            f"[{part}](text/{page}#{part})"
            for part in ("semantics", "accuracy")
            if part.capitalize() in sections
        ]
        cells = [", ".join(parts)]
        for beginnings in COLUMNS.values():
            # The naive kernels are there to compare with.
            here = [file for file in files if file.startswith(beginnings) and not file.endswith("naive.cu")]
            cells.append(
                ", ".join(f"[{Path(file).name}]({posixpath.relpath(file, 'spec')})" for file in here)
            )
        lines.append(f"| **{concept.replace('_', ' ')}** | {' | '.join(cells)} |")
    return "\n".join(lines)


_MARK = re.compile(r'pytest\.mark\.spec\("([A-Z]+-[A-Z][0-9]+)"\)')
_TEST = re.compile(r"((?:^@.*\n(?:^[ )\]].*\n)*)+)^def (test_\w+)", re.MULTILINE)


def marked(root: Path) -> Mapping[str, Sequence[str]]:
    """Return the tests of a repository by the clauses that their marks name, as paths from ``spec/``."""
    found: dict[str, list[str]] = {}
    for file in sorted((root / "tests").glob("*/test_*.py")):
        for marks, name in _TEST.findall(file.read_text("utf-8")):
            for clause in _MARK.findall(marks):
                found.setdefault(clause, []).append(f"../{file.relative_to(root).as_posix()}::{name}")
    return found


def statements_page(root: Path) -> str:
    """Return the page of the source's statements: the clauses, a test and the numbers of each."""
    tests, lines = marked(root), [_STATEMENTS]
    for concept in dict.fromkeys(statement.concept for statement in STATEMENTS):
        title = concept.replace("_", " ").capitalize()
        lines += [f"\n## {title}\n", "| It says | Clauses | Tests | Shown as |", "|---|---|---|---|"]
        for statement in STATEMENTS:
            if statement.concept == concept:
                lines.append(f"| {' | '.join(_statement(statement, tests))} |")
    return "\n".join(lines) + "\n"


_STATEMENTS = """# What the source states

The statements of the glossary that this began with, in our words and in its order: the clauses that make each
exact, a test of each clause, and the numbers that measure it, as `gaugeblock show` prints them for its
concept unless another is named. A statement of history or opinion says that it is one, and where to read on.
Made by `python -m gaugeblock.conformance.document .` from [statements.py](statements.py) and the tests; a
test sees that every row has a clause, a test and a number, or says why not."""


def chosen(clause: str, hint: str, tests: Mapping[str, Sequence[str]]) -> str | None:
    """Return the test of a clause that has the hint in its name, rather one of a demonstration; or none."""
    named = [test for test in tests.get(clause, ()) if hint.replace(" ", "_") in test.partition("::")[2]]
    return min(named, key=lambda test: "/demonstrations/" not in test, default=None)


def _tested(clause: str, hint: str, tests: Mapping[str, Sequence[str]]) -> str:
    """Return a link to a test of a clause, or to the suite's checks where that alone has one."""
    if test := chosen(clause, hint, tests):
        file, _, name = test.partition("::")
        return f"[{name.removeprefix('test_').replace('_', ' ')}]({file})"
    concept = concept_of(load()[clause].page)
    return f"[the suite's {claims()[clause][0].name}](../tests/conformance/test_{concept}.py)"


def _statement(statement: Statement, tests: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the cells of a statement."""
    known = load()
    yield statement.words.replace("|", "\\|")
    clauses = dict.fromkeys(statement.clauses)
    yield ", ".join(f"[{id}](text/{known[id].page}#{id.lower()})" for id in clauses) or "–"
    yield ", ".join(dict.fromkeys(_tested(id, hint, tests) for id, hint in statement.tried)) or "–"
    by_command: dict[str, list[str]] = {}
    for command, figure in statement.shown:
        by_command.setdefault(command, []).append(f"“{figure}”".replace("|", "\\|"))
    shown = [
        (f"`gaugeblock show {command}`: " if command != statement.concept else "") + "; ".join(figures)
        for command, figures in by_command.items()
    ]
    yield "; ".join([*shown, *([statement.remark] if statement.remark else [])])


SUITE = "this suite"
RECORDED = Path("tests", "mutants", "results", "matrix.json")
"""What each rule said of each broken kernel and each correct variant; part of the repository alone."""


def kill_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Return the kill matrix: a row for each family of operations, a column for each rule, ours first."""
    kernels = found["kernels"]
    rules = sorted(dict.fromkeys(name for each in kernels for name in each["says"]), key=SUITE.__ne__)
    families = dict.fromkeys(each["family"] for each in kernels)
    return [["", *rules]] + [
        [
            family,
            *(
                _kills([each for each in kernels if family in (each["family"], "all")], rule)
                for rule in rules
            ),
        ]
        for family in (*families, "all")
    ]


def _kills(kernels: Sequence[Mapping[str, Any]], rule: str) -> str:
    """Return how many mutants, and behind the bar how many correct variants, a rule calls wrong."""
    parts = []
    for kind in ("mutant", "variant"):
        said = [each["says"][rule] for each in kernels if each["kind"] == kind and rule in each["says"]]
        parts.append(f"{sum(where is not None for where in said)} of {len(said)}")
    return ", ".join(parts)


def kill_table(root: Path) -> str:
    """Return the recorded kill matrix of a repository as Markdown."""
    head, *rows = kill_rows(json.loads((root / RECORDED).read_text("utf-8")))
    lines = [f"| {' | '.join(['wrong, right', *head[1:]])} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _replace(page: Path, new: str) -> None:
    """Replace the table of a page that begins as a new one does, or put the new one at the end."""
    text = page.read_text("utf-8")
    head = re.escape(new.partition("|---")[0])
    table = re.compile(rf"(?m)^{head}(.*\n\|)*.*$")
    page.write_text(table.sub(lambda _: new, text) if table.search(text) else f"{text}\n{new}\n", "utf-8")


def main() -> int:
    """Write the tables into the pages of the checkout that the command line names."""
    if len(sys.argv) != 2 or not (root := Path(sys.argv[1])).is_dir():
        print("usage: python -m gaugeblock.conformance.document CHECKOUT", file=sys.stderr)
        return 2
    _replace(root / "spec" / "README.md", table())
    (root / "spec" / "statements.md").write_text(statements_page(root), "utf-8", newline="\n")
    if (root / RECORDED).exists():
        _replace(root / "tests" / "mutants" / "README.md", kill_table(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
