"""What a backend declares of itself, besides its functions: arithmetic, domain, departures, kind of device.

A declaration is plain data, so that it can travel to the suite, which reads it again there: what comes from
the backend's process is not trusted to be what it was checked to be.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gaugeblock.spec import departures
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.domain import WHOLE, Domain
from gaugeblock.spec.operations import OPERATIONS

NAMES = ("arithmetic", "domain", "departures", "simulated", "slow")
"""Attributes of a backend that declare something."""


@dataclass(frozen=True)
class Declarations:
    """The declarations of a backend, read and checked.

    Parameters
    ----------
    arithmetic
        By operation and dtype, how it computes (GEN-D8).
    domain
        By operation, which calls it is for (GEN-D11).
    departures
        By operation, the names of what it does otherwise (GEN-D10).
    simulated
        Whether its device is a simulated one.
    slow
        Whether large problems take it long, so that some are left out.
    given
        The declarations as plain data.
    """

    arithmetic: Mapping[str, Mapping[str, Arithmetic]] = field(default_factory=dict)
    domain: Mapping[str, Domain] = field(default_factory=dict)
    departures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    simulated: bool = False
    slow: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Declarations:
        """Read declarations by name; what is left out is not declared.

        Raises
        ------
        ValueError, TypeError
            If one is not well-formed; the message says which, and where its fields break a clause, which.
        """
        given = {name: value for name, value in given.items() if name in NAMES and value is not None}
        for name in ("simulated", "slow"):
            if not isinstance(given.get(name, False), bool):
                raise TypeError(f"{name} is {given[name]!r}, expected True or False")
        return cls(
            _by_operation(given, "arithmetic", _arithmetic),
            _by_operation(given, "domain", lambda name, value: Domain.declared(OPERATIONS[name], value)),
            departures.declared(given.get("departures", {})),
            bool(given.get("simulated", False)),
            bool(given.get("slow", given.get("simulated", False))),
            given,
        )

    def arithmetic_of(self, operation: str, dtype: str) -> Arithmetic:
        """Return how an operation computes in a dtype, plainly where nothing is declared."""
        return self.arithmetic.get(operation, {}).get(dtype, Arithmetic())

    def domain_of(self, operation: str) -> Domain:
        """Return the domain of an operation, all calls where none is declared."""
        return self.domain.get(operation, WHOLE)

    def departures_of(self, operation: str) -> tuple[str, ...]:
        """Return the names of an operation's departures."""
        return self.departures.get(operation, ())

    def of(self, operation: str, dtype: str) -> dict[str, Any]:
        """Return what is declared for an operation in a dtype, as it was given."""
        return {
            "domain": self.given.get("domain", {}).get(operation),
            "departures": list(self.departures_of(operation)),
            "arithmetic": dict(self.given.get("arithmetic", {}).get(operation, {}).get(dtype, {})),
        }


def _by_operation(given: Mapping[str, Any], name: str, read: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Read a declaration operation by operation."""
    declared = given.get(name, {})
    if not isinstance(declared, Mapping):
        raise TypeError(f"{name} must be a mapping of operations, got {declared!r}")
    for operation in declared:
        if operation not in OPERATIONS:
            close = difflib.get_close_matches(str(operation), OPERATIONS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"{name} declares {operation!r}, which is no operation of the spec{hint}")
    return {operation: read(operation, value) for operation, value in declared.items()}


def _arithmetic(operation: str, by_dtype: Any) -> dict[str, Arithmetic]:
    """Read the arithmetic of an operation, by dtype."""
    if not isinstance(by_dtype, Mapping):
        raise TypeError(f"arithmetic must be {{operation: {{dtype: {{…}}}}}}, got {operation}: {by_dtype!r}")
    for dtype in by_dtype:
        if dtype not in OPERATIONS[operation].dtypes:
            raise ValueError(f"arithmetic[{operation!r}] declares the unknown dtype {dtype!r}")
    found = {dtype: Arithmetic.declared(fields) for dtype, fields in by_dtype.items()}
    for arithmetic in found.values():
        if arithmetic.algorithm != "direct" and OPERATIONS[operation].kind != "convolution":
            raise ValueError(
                f"GEN-C4: arithmetic of {operation} has 'algorithm', which convolutions have alone"
            )
    return found
