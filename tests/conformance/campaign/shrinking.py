"""A listed problem that fails, made smaller: one of its sizes at a time, wherever that size stands.

What is of equal size in a call mostly is the same axis: a 64 that becomes 1 in all shapes leaves a legal
call, or one that is refused as a file of shapes would be, and is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

from gaugeblock.conformance.problems import shapes
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.shapes import ShapesError
from gaugeblock.spec.operations import OPERATIONS


def shrunk(call: LayerCall, dtype: str, fails: Callable[[LayerCall], bool]) -> LayerCall:
    """Return a call that fails, of which no smaller one that was tried does.

    Parameters
    ----------
    call, dtype
        A call that fails.
    fails
        Whether another does; False ends the search when there is no more time.

    Examples
    --------
    >>> call = LayerCall("gemm", {"a": (64, 32), "b": (32, 7)}, {}, {})
    >>> shrunk(call, "float32", lambda call: call.shapes["b"][0] >= 3).shapes
    {'a': (1, 3), 'b': (3, 1)}
    """
    while (smaller := next((each for each in _smaller(call, dtype) if fails(each)), None)) is not None:
        call = smaller
    return call


def _smaller(call: LayerCall, dtype: str) -> Iterator[LayerCall]:
    """Yield legal calls with one size less, the largest sizes and the largest steps first."""
    sizes = sorted({size for shape in call.shapes.values() for size in shape}, reverse=True)
    for size in sizes:
        for less in dict.fromkeys((1, size // 4, size // 2, size - 1)):
            if 0 < less < size:
                found = _with(call, size, less)
                try:
                    shapes.check(call.operation, shapes.line(found, dtype))
                except ShapesError:
                    continue
                if _elements(found) < _elements(call):
                    yield found


def _with(call: LayerCall, size: int, less: int) -> LayerCall:
    def fewer(shape: Any) -> tuple[int, ...]:
        return tuple(less if each == size else each for each in shape)

    kinds = OPERATIONS[call.operation].parameters
    parameters = {
        name: fewer(value) if kinds[name].kind == "shape" else value
        for name, value in call.parameters.items()
    }
    arrays = {name: fewer(shape) for name, shape in call.shapes.items()}
    return replace(call, shapes=arrays, parameters=parameters)


def _elements(call: LayerCall) -> int:
    return sum(map(prod, call.shapes.values()))
