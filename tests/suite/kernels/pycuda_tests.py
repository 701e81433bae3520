"""PyCUDA's own tests as a program: the arguments are those of pytest."""

import sys

import pytest

sys.exit(pytest.main(["--rootdir", sys.argv[1], "-p", "no:cacheprovider", "-W", "ignore", *sys.argv[1:]]))
