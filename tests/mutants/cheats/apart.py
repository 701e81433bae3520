"""Judge a cheat in a process of its own, so that what it does to its judge ends no test.

Run as ``python apart.py FILE BACKEND OPERATION DTYPE LEVEL``; the seed is in ``GAUGEBLOCK_SEED``. Writes the
verdict into FILE, with the message of the first failure.
"""

import json
import os
import sys
from pathlib import Path

from verdicts import found


def main() -> None:
    """Judge, and write what came of it."""
    file, backend, operation, dtype, level = sys.argv[1:]
    verdict, message = found(backend, operation, dtype, level, int(os.environ.get("GAUGEBLOCK_SEED", "1")))
    Path(file).write_text(json.dumps([verdict, message]), encoding="utf-8")


if __name__ == "__main__":
    main()
