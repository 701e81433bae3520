"""What two or three things together lead into is found with any seed, by rows of a covering array alone."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gaugeblock.conformance import Effort
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.checks.check import Reach
from gaugeblock.conformance.engine import cases
from gaugeblock.conformance.trial import Trial, Violation
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
import combined
from catalogue import Mutant, records

MUTANTS = [record for record in records(combined) if isinstance(record, Mutant)]
ROLES = ("combinations", "layouts", "output")


def is_found(mutant: Mutant, seed: int) -> bool:
    """Whether a row of the covering arrays of a run shows the mutant's fault."""
    (operation,) = mutant.operations
    subject = Subject(mutant.backend)
    trial = Trial(subject)
    try:
        for case in cases([operation], mutant.dtypes[:1]):
            about = OPERATIONS[operation], case.dtype, trial.declared.arithmetic_of(operation, case.dtype)
            if case.check.role in ROLES:
                for problem in case.check.further(*about, Reach(coverage=Effort("ci", seed).coverage)):
                    with np.errstate(all="ignore"):
                        case.check.holds(trial, problem)
    except Violation:
        return True
    finally:
        subject.close()
    return False


@pytest.mark.spec("GEN-S11")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_path_that_some_combination_leads_into_is_found_with_any_seed(mutant: Mutant) -> None:
    assert all(is_found(mutant, seed) for seed in (1, 2, 3)), mutant.story
