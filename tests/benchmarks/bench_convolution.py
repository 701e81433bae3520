"""How fast convolutions and their gradients are: see README.md for what the numbers mean."""

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
from gaugeblock.conformance.bench.turns import Array, Side, Work

Call = tuple[dict[str, Array], dict[str, Any]]

LAYERS: Mapping[str, Mapping[str, Any]] = {
    "square": {"C": 32, "K": 64, "R": 3, "padding": 1},
    "pointwise": {"C": 64, "K": 64, "R": 1},
    "depthwise": {"C": 32, "K": 32, "R": 3, "padding": 1, "groups": 32},
    "strided": {"C": 4, "K": 32, "R": 7, "padding": 3, "stride": 2},
}
"""Layers as they are used: a square kernel, a mixture of channels, one kernel a channel, a first layer."""

SIZES = {"reference": (4, 28), "simulator": (1, 8), "gpu": (32, 56)}
"""Images at once, and the length of their sides; the adapter ``numpy`` has no convolution."""

OPERATIONS = ("conv", "conv_backward_input", "conv_backward_weight")

PEERS = ("onnx.reference", "PyTorch")


def _peers(contender: Contender, operation: str) -> tuple[str, ...]:
    """Return the names of whom to race; ONNX has no gradients."""
    if contender.name == "reference":
        return PEERS if operation == "conv" else PEERS[1:]
    return ("the reference" if contender.simulated else "our naive kernel",)


CASES = [
    pytest.param(
        operation,
        layer,
        contender,
        peer,
        id="-".join((operation, layer, contender.name, contender.dtype, peer)),
    )
    for operation in OPERATIONS
    for layer in LAYERS
    for contender in contenders()
    if contender.name in SIZES
    for peer in _peers(contender, operation)
]


@pytest.mark.benchmark(group="convolution")
@pytest.mark.parametrize(("operation", "layer", "contender", "peer"), CASES)
def test_a_convolution_is_right_after_it_was_timed(
    benchmark: Any, rounds: int, operation: str, layer: str, contender: Contender, peer: str
) -> None:
    (arrays, parameters), work = _call(operation, layer, contender), _work(layer, contender)
    own = contender.side(operation, tuple(arrays.values()), **parameters)
    other = _peer(peer, contender, operation, arrays, parameters)
    race(benchmark, own, other, work, contender.roof(), rounds)
    if contender.simulated:
        benchmark.extra_info |= counts(own, work)
    want = other.result() if contender.name == "reference" else None
    whole = tuple(arrays) if operation == "conv_backward_weight" else ("w",)
    declared = contender.declared(operation)
    expect_right(operation, arrays, own.result(), declared, want, whole, **parameters)


def _shapes(layer: str, contender: Contender) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of x, w and y."""
    (N, H), chosen = SIZES[contender.name], LAYERS[layer]
    R, K = chosen["R"], chosen["K"]
    P = (H + 2 * chosen.get("padding", 0) - R) // chosen.get("stride", 1) + 1
    return (N, chosen["C"], H, H), (K, chosen["C"] // chosen.get("groups", 1), R, R), (N, K, P, P)


def _call(operation: str, layer: str, contender: Contender) -> Call:
    """Return the arrays and the parameters of a layer's operation."""
    parameters = {
        name: LAYERS[layer][name] for name in ("padding", "stride", "groups") if name in LAYERS[layer]
    }
    x, w, y = _shapes(layer, contender)
    draw = functools.partial(_drawn, contender)
    match operation:
        case "conv_backward_input":
            return {"dy": draw(y, 1), "w": draw(w, 2)}, parameters | {"input_shape": x}
        case "conv_backward_weight":
            return {"dy": draw(y, 1), "x": draw(x, 2)}, parameters | {"kernel_shape": w}
    return {"x": draw(x, 1), "w": draw(w, 2)}, parameters


def _drawn(contender: Contender, shape: tuple[int, ...], seed: int) -> Array:
    return contender.random(*shape, seed=seed)


def _work(layer: str, contender: Contender) -> Work:
    """Return the products and sums of the direct way, the same forward and backward, and the three arrays."""
    x, w, y = _shapes(layer, contender)
    size = {"float64": 8, "float32": 4}.get(contender.dtype, 2)
    return Work(2.0 * math.prod(y) * math.prod(w[1:]), float(size * sum(map(math.prod, (x, w, y)))))


def _peer(
    peer: str,
    contender: Contender,
    operation: str,
    arrays: Mapping[str, Array],
    parameters: Mapping[str, Any],
) -> Side:
    given = tuple(arrays.values())
    if peer in PEERS:
        return reference_peer(peer, operation, arrays, parameters)
    if contender.simulated:
        function = functools.partial(getattr(reference, operation), **parameters)
        return host_side("the reference in float64", function, given)
    return contender.side(operation, given, algorithm="naive", **parameters)
