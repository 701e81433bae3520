"""PyCUDA's own tests as a program: the arguments are those of pytest, whose configuration is none of ours."""

import os
import sys

import pytest

sys.exit(
    pytest.main(
        ["-c", os.devnull, "--rootdir", sys.argv[1], "-p", "no:cacheprovider", "-W", "ignore", *sys.argv[1:]]
    )
)
