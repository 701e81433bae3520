"""The checks: a claim each, for every operation that has their role. One file for each kind of operation."""

from __future__ import annotations

from collections.abc import Mapping

from gaugeblock.conformance.checks.check import Check
from gaugeblock.conformance.checks.constraints import OUTPUTS, constraint
from gaugeblock.conformance.checks.contraction import CONTRACTION
from gaugeblock.conformance.checks.convolution import CONVOLUTION
from gaugeblock.conformance.checks.elementwise import ELEMENTWISE
from gaugeblock.conformance.checks.generic import GENERIC
from gaugeblock.conformance.checks.layers import LAYERS
from gaugeblock.conformance.checks.pooling import POOLING
from gaugeblock.conformance.checks.real_data import REAL_DATA
from gaugeblock.conformance.checks.recurrence import RECURRENCE
from gaugeblock.conformance.checks.rowwise import ROWWISE
from gaugeblock.conformance.checks.selection import SELECTION
from gaugeblock.spec.operations import Operation

BY_KIND: Mapping[str, Mapping[str, Check]] = {
    "contraction": CONTRACTION,
    "elementwise": ELEMENTWISE,
    "rowwise": ROWWISE,
    "selection": SELECTION,
    "convolution": CONVOLUTION,
    "pooling": POOLING,
    "recurrence": RECURRENCE,
}

FIRST = ("history", "combinations", "layouts", "strides")
"""Roles that come first: a cached choice shows while the operation is new to the process; most faults show in
combinations."""

LAST = ("output", "layers", "answers")
"""Roles that come last: large layers take long, and what was declined in all others is asked at the end."""


def checks_of(operation: Operation) -> Mapping[str, Check]:
    """Return the checks of an operation by the clause each one tries.

    Raises
    ------
    LookupError
        If the spec gives a clause a role that no check has.
    """
    known = {**GENERIC, **OUTPUTS, REAL_DATA.role: REAL_DATA, LAYERS.role: LAYERS, **BY_KIND[operation.kind]}
    missing = operation.clauses.keys() - known.keys()
    if missing:
        raise LookupError(f"{operation.name}: no check has the role {', '.join(sorted(missing))}")
    between = [role for role in operation.clauses if role not in (*FIRST, *LAST)]
    roles = [role for role in (*FIRST, *between, *LAST) if role in operation.clauses]
    found = {operation.clauses[role]: known[role] for role in roles if role != "answers"}
    found.update((clause, constraint(clause)) for clause in operation.constraints)
    return found | {operation.clauses["answers"]: known["answers"]}
