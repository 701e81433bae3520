"""Lets ``pytest --pyargs gaugeblock.conformance`` find the suite's plugin.

pytest loads this module in every run of an environment that has Gaugeblock, through ``gaugeblock_pytest``. So
it imports nothing of ours, and declares nothing, until the suite is named on the command line.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

SUITE = "gaugeblock.conformance"


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: Sequence[str]
) -> Generator[None, None, None]:
    """Load the plugin where the suite is asked for, after all others: so it sees which options are free."""
    yield
    if any(
        argument == SUITE or argument.startswith((f"{SUITE}.test_", "--gaugeblock-")) for argument in args
    ):
        from gaugeblock.conformance import plugin

        # Registered as it is: ``import_plugin`` would warn of a module that was imported before.
        if not early_config.pluginmanager.has_plugin(plugin.__name__):
            early_config.pluginmanager.register(plugin, plugin.__name__)
