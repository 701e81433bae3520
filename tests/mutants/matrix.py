"""The kill matrix: which rule tells which kernel from a right one.

``gaugeblock mutants`` prints it, in a checkout. Rows are families of operations, columns are this suite and
the rules of others (``rules.py``). A cell holds how many mutants are called wrong, of how many; behind the
bar, how many correct variants are. The suite's own column takes an hour: it is read from
``results/suite.json``, which ``gaugeblock mutants --record`` writes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from catalogue import MUTANTS, VARIANTS, Mutant, Variant  # noqa: E402
from rules import RULES, Rule  # noqa: E402

from gaugeblock.conformance.document import SUITE, kill_rows  # noqa: E402
from gaugeblock.spec.operations import OPERATIONS  # noqa: E402

RESULTS = HERE / "results"
SEED = 1
FAMILIES: Mapping[str, str] = {
    "contraction": "GEMM",
    "elementwise": "activations",
    "rowwise": "softmax",
    "selection": "maxout",
    "convolution": "convolution",
    "pooling": "pooling",
    "recurrence": "LSTM",
}


def family(record: Variant) -> str:
    """Return the family of a kernel: that of its first operation."""
    return FAMILIES[OPERATIONS[record.operations[0]].kind]


def flagged(rule: Rule, record: Variant) -> str | None:
    """Return where a rule calls a kernel wrong, or ``None``. It is loaded anew, without a history."""
    for dtype in record.dtypes:
        for name in list(sys.modules):
            if getattr(sys.modules[name], "__file__", None) == str(record.file):
                del sys.modules[name]
        backend = getattr(importlib.import_module(record.file.stem), record.name)
        for operation in record.operations:
            why = rule.rejects(backend, operation, dtype, SEED)
            if why is not None:
                return f"{operation} {dtype}"
    return None


def judged_by_suite(record: Variant) -> str | None:
    """Return the clause by which the suite calls a kernel violating, or ``None``."""
    from gaugeblock.conformance import Effort, judge

    effort = Effort("ci" if isinstance(record, Mutant) else "quick", SEED, shrink=False)
    for dtype in record.dtypes:
        report = judge(
            record.backend, operations=record.operations, dtypes=(dtype,), effort=effort, stop_at_first=True
        )
        for (operation, _), entry in report.entries.items():
            for clause in entry.failures:
                return f"{operation} {dtype}: {clause}"
    return None


def run(columns: Mapping[str, Callable[[Variant], str | None]], file: Path) -> dict[str, Any]:
    """Ask every column about every kernel, where the file does not know the answer, and keep it there."""
    known = {}
    if file.exists():
        known = {each["name"]: each for each in json.loads(file.read_text("utf-8"))["kernels"]}
    about = {"numpy": np.__version__, "python": platform.python_version(), "seed": SEED}
    for record in (*MUTANTS, *VARIANTS):
        name = f"{record.file.stem}.{record.name}"
        kind = "mutant" if isinstance(record, Mutant) else "variant"
        entry = known.setdefault(name, {"name": name, "kind": kind, "family": family(record), "says": {}})
        missing = [name for name in columns if name not in entry["says"]]
        for name in missing:
            start = time.monotonic()
            entry["says"][name] = columns[name](record)
            entry.setdefault("seconds", {})[name] = round(time.monotonic() - start, 1)
        if missing:
            write(file, {"about": about, "kernels": list(known.values())})
    return {"about": about, "kernels": list(known.values())}


def matrix(file: Path) -> dict[str, Any]:
    """Return the answers of all rules, with those of the suite in front where they are recorded."""
    found = run({rule.name: lambda record, rule=rule: flagged(rule, record) for rule in RULES}, file)
    recorded = RESULTS / "suite.json"
    if recorded.exists():
        suite = {each["name"]: each["says"] for each in json.loads(recorded.read_text("utf-8"))["kernels"]}
        for each in found["kernels"]:
            each["says"] = {**suite.get(each["name"], {}), **each["says"]}
    write(file, found)
    return found


def show(found: Mapping[str, Any]) -> str:
    """Return the matrix as text: a line for each kernel, then one for each family."""
    head, *families = kill_rows(found)
    kernels = [
        [each["name"], *("wrong" if each["says"].get(name) else "·" for name in head[1:])]
        for each in found["kernels"]
    ]
    rows = [head, *kernels, [""] * len(head), ["wrong, right", *head[1:]], *families]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def times(found: Mapping[str, Any]) -> str:
    """Return how long the suite took until it called a mutant wrong: the median, and 95 of 100."""
    mutants = [each for each in found["kernels"] if each["kind"] == "mutant" and each["says"].get(SUITE)]
    median, most = np.percentile([each["seconds"][SUITE] for each in mutants], (50, 95))
    return f"{len(mutants)} mutants called wrong: half within {median:.1f} s, 95 % within {most:.1f} s"


def main() -> int:
    """Print the matrix, or ask the suite for its column."""
    parser = argparse.ArgumentParser(prog="gaugeblock mutants", description=__doc__)
    parser.add_argument(
        "--json", type=Path, metavar="FILE.json", help="keep the answers, and go on from there"
    )
    parser.add_argument("--record", action="store_true", help="ask this suite, and keep its answers")
    options = parser.parse_args()
    if options.record:
        RESULTS.mkdir(exist_ok=True)
        print(times(run({SUITE: judged_by_suite}, RESULTS / "suite.json")))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(show(matrix(options.json or Path(folder, "matrix.json"))))
    return 0


def write(file: Path, found: Mapping[str, Any]) -> None:
    """Write results, a kernel a line."""
    kernels = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in found["kernels"])
    file.write_text(f'{{"about": {json.dumps(found["about"])},\n "kernels": [\n  {kernels}\n]}}\n', "utf-8")


if __name__ == "__main__":
    sys.exit(main())
