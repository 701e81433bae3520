"""Judge a cheat in a process of its own, so that what it does to its judge ends no test.

Run as ``python apart.py FILE BACKEND OPERATION DTYPE LEVEL --seed N``. Writes the verdict into FILE, with the
messages of what failed.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from verdicts import found


def main() -> None:
    """Judge, and write what came of it."""
    file, backend, operation, dtype, level, _, seed = sys.argv[1:]
    verdict, message = found(backend, operation, dtype, level, int(seed))
    Path(file).write_text(json.dumps([verdict, message]), encoding="utf-8")


if __name__ == "__main__":
    main()
