"""Test vectors: calls with their exact results and bounds, for implementations in other languages.

``*.json`` here are the vectors, a file for each operation, and ``schema.json`` says what such a file holds;
README.md says how to use them. They are made from the reference by

    python -m gaugeblock.spec.vectors DIR
"""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from gaugeblock.spec.citation import VERSION
from gaugeblock.spec.clauses import load
from gaugeblock.spec.vectors import activation, convolution, gemm, pooling, unit
from gaugeblock.spec.vectors.case import Data

__all__ = ["UNTOLD", "generate", "published", "schema", "write"]

#: Clauses of semantics that no vector can tell, with the reason.
UNTOLD: Mapping[str, str] = {
    "GEN-S1": "every vector tests it",
    "GEN-S3": "about the memory of the result, which JSON has not",
    "GEN-S4": "about the memory of the inputs, which JSON has not",
    "GEN-S5": "about calls that are repeated",
    "GEN-S7": "about the memory of the inputs, which JSON has not",
    "GEN-S8": "about calls that follow others",
    "GEN-S9": "about what a backend declares",
    "GEN-S10": "about what a backend declares",
    "GEN-S11": "about calls of every kind: the vectors of the other clauses are some of them",
    "GEN-S12": "about sizes that no file should hold",
    "GEN-S6": "about the memory of the result, which JSON has not",
    "GEN-X2": "about a sign that is open: every vector allows both where a clause does not give it",
    "CONV-S9": "the reference's own: no backend is asked for it",
    "CONV-S10": "the reference's own: no backend is asked for it",
    "POOL-S8": "the reference's own: no backend is asked for it",
    "POOL-S9": "the reference's own: no backend is asked for it",
    "POOL-S10": "the reference's own: no backend is asked for it",
}


def _cases() -> Iterator[tuple[str, Data]]:
    for concept in (gemm, activation, unit, convolution, pooling):
        yield from concept.cases()


def generate() -> Mapping[str, str]:
    """Return the files of vectors by name, made from the reference.

    Raises
    ------
    ValueError
        If a vector is about a clause that does not exist.
    """
    by_operation: dict[str, list[Data]] = {}
    for operation, case in _cases():
        if case["clause"] not in load():
            raise ValueError(f"{operation}: there is no clause {case['clause']}")
        by_operation.setdefault(operation, []).append(case)
    return {f"{operation}.json": _text(operation, cases) for operation, cases in by_operation.items()}


def _text(operation: str, cases: list[Data]) -> str:
    """Return the text of a file: a line for each case."""
    head = {"format": 1, "spec": VERSION, "operation": operation}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    return f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n'


def write(folder: Path) -> list[Path]:
    """Write the vectors into a folder, which is made if it is not there, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in generate().items():
        (folder / name).write_text(content, "utf-8", newline="\n")
        written.append(folder / name)
    return written


def published() -> Mapping[str, str]:
    """Return the files of vectors that come with the package, by name."""
    folder = files("gaugeblock.spec.vectors")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {name: (folder / name).read_text("utf-8") for name in names if name != "schema.json"}


def schema() -> Data:
    """Return the JSON schema of a file of vectors."""
    found: Data = json.loads((files("gaugeblock.spec.vectors") / "schema.json").read_text("utf-8"))
    return found
