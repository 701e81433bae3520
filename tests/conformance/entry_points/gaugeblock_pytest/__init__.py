"""What pytest loads in every run of an environment that has Gaugeblock (:mod:`gaugeblock.conformance.entry`).

It is a package beside ``gaugeblock`` because pytest rewrites the assertions of all packages that come with a
plugin. In a namespace it finds none, and takes the names inside for packages: it would rewrite any project's
``spec`` and ``gpu``, and warn of ``__main__`` in every ``python -m pytest``.
"""

from gaugeblock.conformance.entry import pytest_load_initial_conftests

__all__ = ["pytest_load_initial_conftests"]
