"""Writes the test vectors: ``python -m gaugeblock.spec.vectors [--freeze] DIR``."""

import sys
from pathlib import Path

from gaugeblock.spec.vectors import Frozen, freeze, write


def main() -> int:
    """Write the vectors into the folder that the command line names, or freeze those that it has."""
    *options, folder = sys.argv[1:] or [""]
    if not folder or folder.startswith("-") or options not in ([], ["--freeze"]):
        print("usage: python -m gaugeblock.spec.vectors [--freeze] DIR", file=sys.stderr)
        return 2
    try:
        print("\n".join([freeze(Path(folder))] if options else map(str, write(Path(folder)))))
    except (Frozen, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
