"""How fast activations are computed: see README.md for what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from contenders import Contender, contenders, counts, host_side
from measuring import expect_right, race

from gaugeblock.conformance.bench.roofs import device_copy
from gaugeblock.conformance.bench.turns import Array, Side, Work

SHAPES = {
    "reference": ((64, 1024),),
    "numpy": ((64, 1024), (1024, 4096)),
    "simulator": ((16, 1000), (16, 1024)),
    "gpu": ((8192, 1024), (1024, 32768)),
}
"""The simulator's shapes: rows that are no multiple of a vector access, and rows that are."""


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _softmax_backward(dy: Array, x: Array) -> Array:
    s = _softmax(x)
    return np.asarray(s * (dy - (s * dy).sum(-1, keepdims=True)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))))


PLAIN: Mapping[str, tuple[Callable[..., Array], int, Mapping[str, Any]]] = {
    "relu": (lambda x: np.maximum(x, 0), 1, {}),
    "relu_backward": (lambda dy, x: dy * (x > 0), 1, {}),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 4, {}),
    "tanh": (np.tanh, 1, {}),
    "gelu": (_gelu, 9, {"approximate": "tanh"}),
    "softmax": (_softmax, 5, {}),
    "softmax_backward": (_softmax_backward, 9, {}),
}
"""The lines that one writes in NumPy, how many operations they make per element, and our parameters."""

CASES = [
    pytest.param(operation, contender, shape, id=f"{operation}-{contender.name}-{contender.dtype}-{shape[0]}")
    for operation in PLAIN
    for contender in contenders()
    for shape in SHAPES[contender.name][: None if contender.dtype in ("float32", "float64") else 1]
]


@pytest.mark.benchmark(group="activation")
@pytest.mark.parametrize(("operation", "contender", "shape"), CASES)
def test_an_activation_is_right_after_it_was_timed(
    benchmark: Any, rounds: int, operation: str, contender: Contender, shape: tuple[int, int]
) -> None:
    plain, operations, parameters = PLAIN[operation]
    names = ("dy", "x") if operation.endswith("_backward") else ("x",)
    arrays = {name: contender.random(*shape, seed=seed) for seed, name in enumerate(names)}
    own = contender.side(operation, tuple(arrays.values()), **parameters)
    x = arrays["x"]
    work = Work(float(operations * x.size), float((len(names) + 1) * x.nbytes))
    peer = _peer(contender, plain, tuple(arrays.values()), work)
    race(benchmark, own, peer, work, contender.roof(), rounds)
    if contender.simulated:
        benchmark.extra_info |= counts(own, work)
    want = peer.result() if contender.name == "reference" else None
    expect_right(operation, arrays, own.result(), contender.declared(operation), want, **parameters)


def _peer(contender: Contender, plain: Callable[..., Array], arrays: tuple[Array, ...], work: Work) -> Side:
    """Plain NumPy in float32 (in float64 for the reference); on a GPU a copy of as many bytes."""
    if contender.on_device and not contender.simulated:
        return device_copy(int(work.nbytes))
    wide = np.float64 if contender.dtype == "float64" else np.float32
    return host_side(f"plain NumPy in {np.dtype(wide).name}", plain, [array.astype(wide) for array in arrays])
