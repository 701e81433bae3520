"""Every clause of the page on units, tried on every operation of it. The claims are in ``checks/``."""

from collections.abc import Callable

from gaugeblock.conformance.engine import Case

CONCEPT = "unit"


def test_keeps(case: Case, conforms: Callable[[Case], None]) -> None:
    """The backend keeps the clause."""
    conforms(case)
