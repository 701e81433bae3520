"""How fast pooling and its gradients are: see README.md for what the numbers mean."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import pytest
from contenders import Contender, contenders, counts, host_side
from measuring import expect_right, race
from peers import reference_peer

from gaugeblock import reference
from gaugeblock.conformance.bench.roofs import device_copy
from gaugeblock.conformance.bench.turns import Array, Side, Work

SIZES = {"reference": (4, 32, 28), "simulator": (1, 8, 12), "gpu": (64, 64, 112)}
"""Images at once, their channels and the length of their sides; the adapter ``numpy`` has no pooling."""

WINDOWS: Mapping[str, Mapping[str, int]] = {
    "side by side": {"kernel": 2, "stride": 2},
    "overlapping": {"kernel": 3, "stride": 2, "padding": 1},
}

OPERATIONS = ("max_pool", "avg_pool", "max_pool_backward", "avg_pool_backward")

PEERS = ("onnx.reference", "PyTorch")


def _peers(contender: Contender, operation: str) -> tuple[str, ...]:
    """Return the names of whom to race; ONNX has no gradients."""
    if contender.name == "reference":
        return PEERS[1:] if operation.endswith("_backward") else PEERS
    return ("the reference" if contender.simulated else "device copy",)


CASES = [
    pytest.param(
        operation,
        windows,
        contender,
        peer,
        id="-".join((operation, windows, contender.name, contender.dtype, peer)),
    )
    for operation in OPERATIONS
    for windows in WINDOWS
    for contender in contenders()
    if contender.name in SIZES
    for peer in _peers(contender, operation)
]


@pytest.mark.benchmark(group="pooling")
@pytest.mark.parametrize(("operation", "windows", "contender", "peer"), CASES)
def test_a_pooling_is_right_after_it_was_timed(
    benchmark: Any, rounds: int, operation: str, windows: str, contender: Contender, peer: str
) -> None:
    arrays, parameters = _call(operation, windows, contender)
    own = contender.side(operation, tuple(arrays.values()), **parameters)
    work = _work(operation, windows, contender)
    other = _peer(peer, contender, operation, arrays, parameters, work)
    race(benchmark, own, other, work, contender.roof(), rounds)
    if contender.simulated:
        benchmark.extra_info |= counts(own, work)
    want = other.result() if contender.name == "reference" else None
    whole = tuple(arrays) if "input_shape" in parameters else ()  # the batch's size is part of that
    expect_right(operation, arrays, own.result(), contender.declared(operation), want, whole, **parameters)


def _shapes(windows: str, contender: Contender) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of x and y."""
    (N, C, H), chosen = SIZES[contender.name], WINDOWS[windows]
    P = (H + 2 * chosen.get("padding", 0) - chosen["kernel"]) // chosen["stride"] + 1
    return (N, C, H, H), (N, C, P, P)


def _call(operation: str, windows: str, contender: Contender) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the parameters."""
    x, y = _shapes(windows, contender)
    parameters: dict[str, Any] = dict(WINDOWS[windows])
    arrays = {"dy": contender.random(*y, seed=1)} if operation.endswith("_backward") else {}
    if operation == "avg_pool_backward":
        return arrays, parameters | {"input_shape": x}
    return arrays | {"x": contender.random(*x, seed=2)}, parameters


def _work(operation: str, windows: str, contender: Contender) -> Work:
    """Return one operation per cell of a window, and each array once."""
    x, y = map(math.prod, _shapes(windows, contender))
    size = {"float64": 8, "float32": 4}.get(contender.dtype, 2)
    moved = 2 * x + y if operation == "max_pool_backward" else x + y
    return Work(float(y * WINDOWS[windows]["kernel"] ** 2), float(size * moved))


def _peer(
    peer: str,
    contender: Contender,
    operation: str,
    arrays: Mapping[str, Array],
    parameters: Mapping[str, Any],
    work: Work,
) -> Side:
    if peer in PEERS:
        return reference_peer(peer, operation, arrays, parameters)
    if contender.simulated:
        function = functools.partial(getattr(reference, operation), **parameters)
        return host_side("the reference in float64", function, tuple(arrays.values()))
    return device_copy(int(work.nbytes))
