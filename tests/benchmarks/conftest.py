"""Let the benchmarks import their helpers, and say how many rounds they take."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """Return ``--benchmark-min-rounds``."""
    return int(request.config.getoption("benchmark_min_rounds"))
