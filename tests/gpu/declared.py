"""Backends that take one algorithm for every convolution that it can do, and declare what it computes in.

They are backends of the conformance suite as a stranger would write them: ``gaugeblock conform
tests/gpu/declared.py:FFT`` holds one against the spec.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gaugeblock import gpu
from gaugeblock.gpu.runtime.device import device

ALL = ("conv", "conv_fused", "conv_transpose", "conv_backward_input", "conv_backward_weight")
NARROW = ("float16", "bfloat16")


def overruled(operation: str, algorithm: str) -> Callable[..., Any]:
    """Return an operation that takes an algorithm wherever it can do the call."""
    function: Callable[..., Any] = getattr(gpu, operation)

    @functools.wraps(function)
    def by_algorithm(*arrays: Any, **rest: Any) -> Any:
        try:
            return function(*arrays, algorithm=algorithm, **rest)
        except ValueError as error:
            if not str(error).startswith("algorithm is"):
                raise
        return function(*arrays, **rest)

    return by_algorithm


class Declared:
    """A backend: operations by one algorithm, and its declaration."""

    arrays = "cuda"
    simulated = device().simulated

    def __init__(
        self, algorithm: str, declaration: Mapping[str, Any], operations: Sequence[str], dtypes: Sequence[str]
    ) -> None:
        self.dtypes = tuple(dtypes)
        self.operations = tuple(operations)
        self.arithmetic = {name: dict.fromkeys(dtypes, declaration) for name in operations}
        for name in operations:
            setattr(self, name, overruled(name, algorithm))


def transforming(algorithm: str, *operations: str) -> Declared:
    """Return a backend that transforms: in float32, and declared by the algorithm's name."""
    return Declared(algorithm, {"algorithm": algorithm}, operations, ["float32"])


FFT = transforming("fft", *ALL)
WINOGRAD_2 = transforming("winograd_2", *ALL[:4])
WINOGRAD_4 = transforming("winograd_4", *ALL[:4])
TILE_32 = Declared("tile32", {}, ALL, NARROW)
