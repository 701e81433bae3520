"""Test vectors: calls with their exact results and bounds, for implementations in other languages.

``*.json`` here are the vectors, a file for each operation, and ``schema.json`` says what such a file holds;
README.md says how to use them, and ``SHA256SUMS`` has their checksums. They are made from the reference by

    python -m gaugeblock.spec.vectors DIR

With a release, ``--freeze`` notes the checksum of ``SHA256SUMS`` in ``frozen``: from then on these are the
vectors of that version, and others need another version.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from gaugeblock.spec.citation import VERSION
from gaugeblock.spec.clauses import load
from gaugeblock.spec.vectors import activation, convolution, gemm, pooling, unit
from gaugeblock.spec.vectors.case import Data
from gaugeblock.spec.vectors.why import WHY

__all__ = ["SUMS", "UNTOLD", "Frozen", "export", "freeze", "generate", "published", "schema", "write"]

#: The file of checksums, as ``sha256sum --check`` reads it.
SUMS = "SHA256SUMS"

#: A line for each version that was released: the version, and the checksum of its `SUMS`.
_FROZEN = "frozen"


class Frozen(ValueError):
    """Other vectors were given to a version that has its own; the message is one line."""


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
    "CONV-S11": "the reference's own: no backend is asked for it",
    "CONV-S12": "about the demonstration",
    "CONV-S13": "about the demonstration",
    "POOL-S11": "about the demonstration",
    "POOL-S12": "about the demonstration",
    "ACT-S31": "about the demonstration",
    "ACT-S32": "about the demonstration",
    "UNIT-S6": "the reference's own: no backend is asked for it",
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
    told = dict.fromkeys(case["clause"] for case in cases)
    why = {clause: WHY[clause] for clause in told}
    head = {"format": 2, "spec": VERSION, "operation": operation, "why": why}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "cases": [\n{lines}\n]}}\n'


def write(folder: Path) -> list[Path]:
    """Make the vectors and write them and their checksums into a folder; return the files.

    The folder is made if it is not there.

    Raises
    ------
    Frozen
        If the version of the spec has vectors already, and they are others.
    """
    made = dict(generate())
    made[SUMS] = _sums(made | {"schema.json": _read("schema.json")})
    _expect_open(_frozen(folder), made[SUMS])
    return _write(folder, made)


def export(folder: Path) -> list[Path]:
    """Write the vectors that come with the package, with schema and checksums, and return the files."""
    names = ("schema.json", "README.md", SUMS)
    return _write(folder, published() | {name: _read(name) for name in names})


def freeze(folder: Path) -> str:
    """Note that the vectors in a folder are those of the present version, and return the line that says it.

    Raises
    ------
    Frozen
        If the version has vectors already, and they are others.
    """
    known, sums = _frozen(folder), (folder / SUMS).read_text("utf-8")
    _expect_open(known, sums)
    known[VERSION] = _sha256(sums)
    lines = [f"{version} {checksum}\n" for version, checksum in known.items()]
    (folder / _FROZEN).write_text("".join(lines), "utf-8", newline="\n")
    return lines[-1].strip()


def _expect_open(known: Mapping[str, str], sums: str) -> None:
    """Raise `Frozen` if the version has other vectors than those of these checksums."""
    if known.get(VERSION, _sha256(sums)) != _sha256(sums):
        raise Frozen(f"the vectors of spec {VERSION} are released: others need another version")


def _frozen(folder: Path) -> dict[str, str]:
    file = folder / _FROZEN
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return dict(line.split() for line in lines)


def _sums(contents: Mapping[str, str]) -> str:
    return "".join(f"{_sha256(content)}  {name}\n" for name, content in sorted(contents.items()))


def _sha256(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def _write(folder: Path, contents: Mapping[str, str]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content, "utf-8", newline="\n")
    return [folder / name for name in contents]


def _read(name: str) -> str:
    return (files("gaugeblock.spec.vectors") / name).read_text("utf-8")


def published() -> dict[str, str]:
    """Return the files of vectors that come with the package, by name."""
    folder = files("gaugeblock.spec.vectors")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {name: _read(name) for name in names if name != "schema.json"}


def schema() -> Data:
    """Return the JSON schema of a file of vectors."""
    found: Data = json.loads(_read("schema.json"))
    return found
