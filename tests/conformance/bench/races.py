"""What pytest runs: one test for each race (:mod:`gaugeblock.conformance.bench.runner` says which)."""

from typing import Any

from gaugeblock.conformance.bench.race import Race


def test_race(benchmark: Any, race: Race, rounds: int) -> None:
    """Time a problem."""
    race.run(benchmark, rounds)
