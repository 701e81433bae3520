"""``python -m gaugeblock``: the command. No ``__init__.py`` is beside it: ``gaugeblock`` is a namespace."""

import sys

from gaugeblock.conformance.command import main

if __name__ == "__main__":
    sys.exit(main())
