"""Every operation of the spec by name: the door to the records.

A record says all that a conformance suite must know (`gaugeblock.spec.record`); those of a concept stand in
the module of its name. A new operation gets every generic check by being listed here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gaugeblock.spec.activation import activations
from gaugeblock.spec.convolution import CONVOLUTION
from gaugeblock.spec.gemm import GEMM
from gaugeblock.spec.pooling import POOLING
from gaugeblock.spec.record import REQUIRED, Operation, Parameter, Symmetry
from gaugeblock.spec.unit import UNITS

__all__ = ["OPERATIONS", "REQUIRED", "Operation", "Parameter", "Symmetry"]

#: Every operation by name: GEMM, each activation followed by its gradient, convolution, pooling,
#: units.
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {operation.name: operation for operation in (GEMM, *activations(), *CONVOLUTION, *POOLING, *UNITS)}
)
