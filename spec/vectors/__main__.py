"""Writes the test vectors: ``python -m gaugeblock.spec.vectors DIR``."""

import sys
from pathlib import Path

from gaugeblock.spec.vectors import write


def main() -> int:
    """Write the vectors into the folder that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python -m gaugeblock.spec.vectors DIR", file=sys.stderr)
        return 2
    for path in write(Path(sys.argv[1])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
