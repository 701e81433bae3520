"""The ids of clauses that a version of the spec has published: a reader may cite them, so none disappears.

``text/published.json`` has them by version. A new clause is added to the present version by

    python -m gaugeblock.spec.published spec/text/published.json
"""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from gaugeblock.spec.citation import VERSION
from gaugeblock.spec.clauses import load

__all__ = ["extended", "published"]


def published() -> Mapping[str, Sequence[str]]:
    """Return the ids that were new in each version, by version.

    Examples
    --------
    >>> "GEMM-S1" in published()["0.1"]
    True
    """
    found: dict[str, list[str]] = json.loads(
        (files("gaugeblock.spec") / "text" / "published.json").read_text("utf-8")
    )
    return found


def extended(known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return published ids and, in the present version, those of the clauses that are on no list yet."""
    before = {id for ids in known.values() for id in ids}
    new = [id for id in load() if id not in before]
    versions = {version: list(ids) for version, ids in known.items()}
    return versions | {VERSION: [*versions.get(VERSION, ()), *new]}


def main() -> int:
    """Add new clauses to the file that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python -m gaugeblock.spec.published spec/text/published.json", file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(extended(known), indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
