"""The peers have the faults that the README of the adapters lists, all of them, and no others.

A peer of another version than that of the README may have other faults: it is not asked.
"""

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.engine import Case
from gaugeblock.conformance.trial import Trial, Violation
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
from faults import FAULTS, Fault, explained, failures, table

README = (Path(__file__).parents[1] / "conformance" / "adapters" / "README.md").read_text(encoding="utf-8")
PEERS = tuple(FAULTS)


def section(peer: str) -> str:
    """Return what the README says about a peer."""
    return next(part for part in README.split("\n### ") if part.startswith(f"{peer}\n"))


@pytest.fixture(scope="module")
def subjects() -> Iterator[dict[str, Subject]]:
    """Keep a process for each peer."""
    running: dict[str, Subject] = {}
    yield running
    for subject in running.values():
        subject.close()


def require(peer: str) -> None:
    """Skip the test unless the peer is installed in the README's version."""
    written = re.search(rf"\b{peer} (\d+\.\d+)", section(peer))
    assert written is not None
    try:
        found = importlib.metadata.version(peer)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{peer} is not installed")
    if not found.startswith(f"{written[1]}."):
        pytest.skip(f"{peer} is {found}, the README is about {written[1]}")


EVERY = [
    pytest.param(peer, fault, *place, id=f"{peer}-{fault.name}-{'-'.join(place)}")
    for peer, faults in FAULTS.items()
    for fault in faults
    for place in fault.places
]


@pytest.mark.parametrize(("peer", "fault", "operation", "dtype"), EVERY)
def test_a_small_problem_shows_every_fault(
    subjects: dict[str, Subject], peer: str, fault: Fault, operation: str, dtype: str
) -> None:
    require(peer)
    if not fault.shows_here:
        pytest.skip("it does not show every time, or not on this processor")
    subject = subjects.get(peer) or subjects.setdefault(peer, Subject(peer))
    problem, clause = fault.problem(operation, dtype), fault.broken(operation)
    with np.errstate(all="ignore"), pytest.raises(Violation):
        Case(operation, dtype, clause).check.holds(Trial(subject), problem)


def operations(concept: str, suffix: str = "") -> list[str]:
    """Return the names of the operations of a concept, or of some of them."""
    return [
        name for name, record in OPERATIONS.items() if record.concept == concept and name.endswith(suffix)
    ]


TRIED = tuple(FORMATS) if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else ("float32",)

SHORT_RUN = [
    *(
        pytest.param(peer, operations(concept), TRIED, id=f"{peer}-{concept}")
        for peer in PEERS
        for concept in ("gemm", "convolution", "pooling")
    ),
    # Sweeps over all numbers of a format take long.
    pytest.param("torch", operations("activation", "_backward"), ("bfloat16",), id="torch-activation"),
    pytest.param("onnxruntime", operations("activation"), ("float16",), id="onnxruntime-activation"),
]


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("peer", "names", "dtypes"), SHORT_RUN)
def test_a_short_run_finds_nothing_that_is_not_listed(
    peer: str, names: list[str], dtypes: tuple[str, ...]
) -> None:
    require(peer)
    report = judge(peer, operations=names, dtypes=dtypes, effort=Effort("quick", seed=1, shrink=False))
    news = [failure for failure in failures(report) if not explained(peer, failure)]
    assert not news, f"{news[0].clause}: {news[0].message}\n{news[0].problem}"


@pytest.mark.parametrize("peer", PEERS)
def test_the_readme_has_the_table_and_explains_each_name_in_it(peer: str) -> None:
    words = section(peer)
    start = words.index("| operation |")
    written = words[start:].split("\n\n")[0].splitlines()
    unsupported = {
        (cells[0], dtype)
        for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in written[2:])
        for dtype, cell in zip(("float32", "float16", "bfloat16"), cells[1:], strict=True)
        if cell == "unsupported"
    }
    assert written == table(peer, lambda *place: place in unsupported)
    explained = set(re.findall(r"^- \*\*(\w+)\*\*", words, re.MULTILINE))
    assert explained == {fault.name for fault in FAULTS[peer]}
