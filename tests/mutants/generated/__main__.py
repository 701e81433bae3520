"""Generate mutants and hold each to the suite: ``python tests/mutants/generated --range 0:200``.

Results are JSON lines, one a mutant, added to a file as they come; what the file has is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import subjects
from change import Change
from verdict import EQUIVALENT, KILLED, STILLBORN, SURVIVED, UNFINISHED, judged

from gaugeblock import gpu
from gaugeblock.conformance.checks import checks_of
from gaugeblock.gpu.runtime.device import device
from gaugeblock.spec.accuracy import FORMATS, Arithmetic

REASONS = Path(__file__).parents[1] / "results" / "generated-equivalent.jsonl"
"""Mutants that no datum can tell from the kernel that they were made of, with the reason, found by hand."""


def record_builds(file: Path) -> None:
    """Write down which builds of our kernels each operation and format needs, for what is always asked.

    Nothing is launched: a launcher is asked what it would run.
    """
    asked: dict[tuple[str, str], tuple[set[str], dict[tuple[str, str], None]]] = {}
    for operation, record in subjects.OPERATIONS.items():
        for dtype in record.dtypes:
            for source, entry, defines in _builds(operation, dtype):
                key = source, json.dumps(dict(sorted(defines)))
                entries, by = asked.setdefault(key, (set(), {}))
                entries.add(entry)
                by[operation, dtype] = None
    rows = [
        {
            "source": source,
            "defines": json.loads(defines),
            "entries": sorted(entries),
            "asked_by": [*map(list, by)],
        }
        for (source, defines), (entries, by) in sorted(asked.items())
    ]
    file.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")


def _builds(operation: str, dtype: str) -> Iterator[tuple[str, str, tuple[tuple[str, Any], ...]]]:
    """Yield the builds that the launcher of an operation asks for."""
    wanted: dict[Any, None] = {}

    def function(source: str, entry: str, signature: str, defines: Any = ()) -> Any:
        wanted[source, entry, tuple(defines)] = None
        return mock.MagicMock()

    record = subjects.OPERATIONS[operation]
    problems = {
        repr(problem): problem
        for check in checks_of(record).values()
        if check.role not in ("constraints", "history")
        for problem in check.always(record, dtype, Arithmetic())
        if problem.elements < 1 << 21
    }
    with mock.patch.object(device(), "function", function):
        for problem in problems.values():
            arrays = {n: a.build(dtype).astype(FORMATS[dtype].dtype) for n, a in problem.arrays.items()}
            getattr(gpu, operation)(**arrays, **problem.parameters)
    yield from wanted


def _name(result: dict[str, Any]) -> tuple[str, ...]:
    """Return what tells a result's mutant wherever its line is now."""
    return tuple(result[name] for name in subjects.NAMES)


def _known(file: Path | None, found: list[Change]) -> list[dict[str, Any]]:
    """Return the results of a file whose mutants are still there: their lines have not changed since."""
    if file is None or not file.exists():
        return []
    there = {subjects.name_of(change) for change in found}
    results = map(json.loads, file.read_text("utf-8").splitlines())
    return [each for each in results if _name(each) in there]


def with_reasons(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Call equivalent what was not killed and is listed, with the reason, as one that cannot be."""
    lines = REASONS.read_text("utf-8").splitlines()
    known = {_name(each): each["why"] for each in map(json.loads, lines)}
    sorted_out = []
    for each in results:
        why = known.get(_name(each))
        alive = each["verdict"] in (SURVIVED, UNFINISHED)
        sorted_out.append({**each, "verdict": EQUIVALENT, "why": why} if alive and why else each)
    return sorted_out


def score(results: list[dict[str, Any]]) -> str:
    """Return the score as tables: by file and by operator."""
    lines = []
    for key in ("file", "operator"):
        counts: dict[str, Counter[str]] = {}
        for each in results:
            counts.setdefault(each[key], Counter())[each["verdict"]] += 1
        lines.append(f"{key:<44} killed survived equivalent stillborn unfinished  score")
        for name, count in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
            numbers = [count[v] for v in (KILLED, SURVIVED, EQUIVALENT, STILLBORN, UNFINISHED)]
            decided = count[KILLED] + count[SURVIVED]
            share = f"{count[KILLED] / decided:6.1%}" if decided else "     –"
            columns = zip(numbers, (6, 8, 10, 9, 10), strict=True)
            lines.append(f"{name:<44} {' '.join(f'{n:>{w}}' for n, w in columns)} {share}")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Run a range of mutants, or print the score of what was run."""
    parser = argparse.ArgumentParser(prog="generated", description=__doc__)
    parser.add_argument("--range", metavar="FIRST:LAST", help="of the list that the seed orders")
    parser.add_argument("--files", default="", help="only files whose path contains this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS", help="for one mutant")
    parser.add_argument("--results", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--score", action="store_true", help="print the score of the results")
    parser.add_argument("--sample", type=int, metavar="N", help="print N of the results, killed in 5 seconds")
    parser.add_argument("--record-builds", action="store_true", help="write builds.json again")
    options = parser.parse_args()
    if options.record_builds:
        record_builds(subjects.BUILDS)
        return 0
    found = subjects.enumerated(options.seed)
    known = _known(options.results, found)
    if options.sample:
        quick = [each for each in known if each["verdict"] == KILLED and each["seconds"] <= 5]
        for each in quick[: options.sample]:
            print(json.dumps({name: each[name] for name in subjects.NAMES}, ensure_ascii=False))
        return 0
    if options.score:
        results = with_reasons(known)
        print(score(results))
        for each in results:
            if each["verdict"] in (SURVIVED, UNFINISHED):
                place = f"{each['file']}:{each['line']}"
                print(f"{each['verdict']}: {place}: {each['before']!r} → {each['after']!r}")
        return 0
    first, _, last = (options.range or f"0:{len(found)}").partition(":")
    print(f"{len(found)} mutants, seed {options.seed}", file=sys.stderr)
    done = Counter(map(_name, known))
    for change in found[int(first) : int(last)]:
        name = subjects.name_of(change)
        done[name] -= 1
        if done[name] >= 0 or options.files not in change.file:
            continue
        line = json.dumps(judged(change, options.limit), ensure_ascii=False)
        if options.results is None:
            print(line, flush=True)
        else:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
