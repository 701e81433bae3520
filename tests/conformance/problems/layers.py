"""The layers of well-known networks as calls: forward and backward, at their own size or a reduced one.

A reduced layer keeps what kernels choose by: kernel, stride, padding, dilation, groups or their being as many
as the channels, whether a size is odd, a multiple of 4 or of 8, and on request how it compares with a tile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from gaugeblock.conformance.problems.geometry import Convolution, Windows, pool_call
from gaugeblock.conformance.problems.strategies import recurrence_shapes
from gaugeblock.spec.layers import LAYERS, Layer
from gaugeblock.spec.operations import OPERATIONS

COVERING = Path(__file__).with_name("covering.json")
"""For each operation, the reduced layers that reach every kernel which the layers reach (see its writer)."""


class Size(NamedTuple):
    """How large a reduced layer may be; None leaves it.

    Its channels, the positions of its windows, or rows, and the input channels of a convolution, where these
    are not to be as many.
    """

    channels: int | None = None
    positions: int | None = None
    inputs: int | None = None


TRUE = Size()
EXTENTS = Size(None, 16)
"""Few positions, all channels."""

SMALL = Size(32, 16)
SIZES = (
    SMALL,
    *(Size(k, positions, c) for k, c in ((64, 8), (8, 64), (96, 8), (8, 96)) for positions in (81, 144, 343)),
    Size(96, 81),
    *(Size(8, positions) for positions in (2000, None)),
)
"""For slow devices: below a tile, around one, beyond one, and long sums of few channels."""


@dataclass(frozen=True)
class LayerCall:
    """A call of an operation that a layer makes, forward or backward."""

    operation: str
    shapes: Mapping[str, tuple[int, ...]]
    parameters: Mapping[str, Any]
    orders: Mapping[str, tuple[int, ...]]

    @property
    def work(self) -> int:
        """Number of products, and of elements."""
        shapes, record = self.shapes, OPERATIONS[self.operation]
        result = record.shape(shapes, self.parameters)
        products = 0
        if record.kind == "contraction":
            products = prod(result) * (record.reduction(shapes, self.parameters) or 0)
        elif record.kind == "recurrence":
            products = prod(shapes["x"][:2]) * (prod(shapes["w"]) + prod(shapes["u"]))
        elif w := shapes.get("w", self.parameters.get("kernel_shape")):
            windows = result if self.operation in ("conv", "conv_fused") else next(iter(shapes.values()))
            products = prod(windows) * prod(w[1:])
        return products + sum(map(prod, shapes.values())) + prod(result)


@cache
def calls_of(operation: str, size: Size = TRUE, batch: int = 1) -> tuple[LayerCall, ...]:
    """Return the different calls of an operation that all layers make, those of little work first."""
    found = {}
    for layer in LAYERS:
        for call in calls(enlarged(reduced(layer, size), batch), {operation}):
            found[repr(call)] = call
    return tuple(sorted(found.values(), key=lambda call: call.work))


@cache
def covering_calls(operation: str) -> tuple[LayerCall, ...]:
    """Return the calls of an operation that stand for all layers on a slow device, by their work.

    They were chosen such that they take every path through our own kernels that any layer takes.
    """
    by_name = {str(layer): layer for layer in LAYERS}
    chosen = json.loads(COVERING.read_text(encoding="utf-8")).get(operation, ())
    found = [
        call for name, *size in chosen for call in calls(reduced(by_name[name], Size(*size)), {operation})
    ]
    return tuple(sorted(found, key=lambda call: call.work))


# A layer, forward and backward ------------------------------------------------------------------------------


def calls(layer: Layer, operations: set[str] | None = None) -> Iterator[LayerCall]:
    """Yield a layer's calls, forward and backward, or those of some operations."""
    for operation, shapes, parameters, orders in _calls(layer):
        if operations is None or operation in operations:
            yield LayerCall(operation, shapes, parameters, orders)


CONVOLUTIONS = ("conv", "conv_fused", "conv_backward_input", "conv_backward_weight", "conv_backward_bias")

Parts = tuple[str, Mapping[str, tuple[int, ...]], Mapping[str, Any], Mapping[str, tuple[int, ...]]]


def _calls(layer: Layer) -> Iterator[Parts]:
    match layer.operation:
        case "conv":
            of = geometry(layer)
            for name in CONVOLUTIONS:
                yield name, *of.call(name, residual=True), {}
        case "conv_transpose":
            of = geometry(layer)
            for name in ("conv_transpose", "conv", "conv_backward_weight"):
                yield name, *of.call(name), {}
            yield "conv_backward_bias", {"dy": of.x}, {}, {}
        case "max_pool" | "avg_pool":
            yield from _poolings(layer)
        case "gemm":
            yield from _products(layer)
        case "lstm_unit":
            (T, N, D), H = layer.shapes["x"], layer.shapes["h"][1]
            for name in ("lstm_unit", "lstm_unit_backward"):
                yield name, recurrence_shapes(OPERATIONS[name], T, N, D, H), {}, {}
        case _:
            yield from _functions(layer)


def geometry(layer: Layer) -> Convolution:
    """Return the convolution that a layer is, or is the transpose of."""
    p = layer.parameters
    slides = Windows(layer.shapes["w"][2:], p["stride"], p["padding"], p["dilation"])
    x, w = layer.shapes["x"], layer.shapes["w"]
    if layer.operation == "conv":
        return Convolution(x, w, (x[0], w[0], *slides.output(x[2:])), slides, p["groups"])
    result = OPERATIONS["conv_transpose"].shape(layer.shapes, p)
    return Convolution(result, w, x, slides, p["groups"])


def _poolings(layer: Layer) -> Iterator[Parts]:
    p = layer.parameters
    kernel = p["kernel"]
    slides = Windows(kernel, p["stride"], p["padding"], (1,) * len(kernel), p.get("ceil_mode", False))
    more = ("max_pool_indices",) if layer.operation == "max_pool" else ()
    for name in (layer.operation, *more, f"{layer.operation}_backward"):
        yield name, *pool_call(name, layer.shapes["x"], slides, p.get("count_include_pad", True)), {}


def _products(layer: Layer) -> Iterator[Parts]:
    """Yield A·B, or A·Bᵀ, and the two products that are its gradients."""
    a, b, turned = layer.shapes["a"], layer.shapes["b"], layer.parameters.get("transpose_b", False)
    orders = layer.orders
    dy = OPERATIONS["gemm"].shape(layer.shapes, layer.parameters)
    yield "gemm", layer.shapes, layer.parameters, orders

    def of(first: str, second: str, out: str) -> dict[str, tuple[int, ...]]:
        """Return the orders of a product of two of the arrays, which is the gradient of a third."""
        named = {"a": first, "b": second, "out": out}
        return {name: orders[what] for name, what in named.items() if what in orders}

    yield "gemm", {"a": dy, "b": b}, {} if turned else {"transpose_b": True}, of("out", "b", "a")
    if turned:
        yield "gemm", {"a": dy, "b": a}, {"transpose_a": True}, of("out", "a", "b")
    else:
        yield "gemm", {"a": a, "b": dy}, {"transpose_a": True}, of("a", "out", "b")


def _functions(layer: Layer) -> Iterator[Parts]:
    forward = ("softmax", "log_softmax") if layer.operation == "softmax" else (layer.operation,)
    for name in (each for f in forward for each in (f, f"{f}_backward")):
        shapes = dict.fromkeys(OPERATIONS[name].arrays, layer.shapes["x"])
        if name == "maxout_backward":
            shapes["dy"] = OPERATIONS["maxout"].shape(layer.shapes, layer.parameters)
        yield name, shapes, layer.parameters, {}


# Larger and smaller -----------------------------------------------------------------------------------------


def enlarged(layer: Layer, batch: int) -> Layer:
    """Return a layer with so many examples in place of one."""
    if batch == 1:
        return layer
    shapes = dict(layer.shapes)
    if layer.operation == "lstm_unit":
        (T, N, D), (_, H) = shapes["x"], shapes["h"]
        shapes |= {"x": (T, N * batch, D), "h": (N * batch, H), "c": (N * batch, H)}
    else:  # weights have no batch
        for name, shape in shapes.items():
            if name in ("x", "a") or (name == "b" and len(shape) > 2):
                shapes[name] = (shape[0] * batch, *shape[1:])
    return replace(layer, shapes=shapes)


def reduced(layer: Layer, size: Size) -> Layer:
    """Return a layer with fewer channels, positions, rows or steps."""
    if size == TRUE:
        return layer
    match layer.operation:
        case "conv" | "conv_transpose":
            return _smaller_convolution(layer, size)
        case "max_pool" | "avg_pool":
            return _smaller_pooling(layer, size)
        case "gemm":
            return _smaller_product(layer, size)
        case "lstm_unit":
            return _smaller_unit(layer, size)
        case "softmax":
            axis = layer.parameters.get("axis", -1) % len(layer.shapes["x"])
            most = size.positions or 16
        case _:
            axis = layer.parameters.get("axis", -1) % len(layer.shapes["x"])
            most = 4096 // layer.shapes["x"][axis] + 1
    return _fewer_rows(layer, axis, most)


def narrower(channels: int, most: int | None) -> int:
    """Return the most channels that are no more than ``most``, with the same remainder by 32, or by 8.

    >>> [narrower(size, 32) for size in (3, 64, 96, 255, 728, 40)]
    [3, 32, 32, 31, 32, 32]
    """
    if most is None or channels <= most:
        return channels
    unit = 32 if channels % 32 == 0 else 8
    return most - (most - channels) % unit if most >= unit else channels % 8 or 8


def _axis(size: int, reach: int, stride: int, windows: int, wanted: int) -> int:
    """Return a shorter axis with as many windows as wanted, an even number fewer if it can be."""
    fewer = windows - max(wanted, 2 + windows % 2)
    fewer -= fewer % 2
    least = max(reach // 2 + 1, 1)
    while fewer > 0 and size - fewer * stride < least:
        fewer -= 2
    return size - max(fewer, 0) * stride


def _per_axis(positions: int | None, windows: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many windows an axis may have, if all together may have so many."""
    if positions is None:
        return windows
    return (max(round(positions ** (1 / len(windows))), 2),) * len(windows)


def _shorter(extent: tuple[int, ...], slides: Windows, positions: int | None) -> tuple[int, ...]:
    windows = slides.output(extent)
    wanted = _per_axis(positions, windows)
    return tuple(
        _axis(
            size,
            slides.dilation[i] * (slides.kernel[i] - 1) * (slides.dilation[i] > 1),
            slides.stride[i],
            windows[i],
            wanted[i],
        )
        for i, size in enumerate(extent)
    )


def _smaller_convolution(layer: Layer, size: Size) -> Layer:
    of = geometry(layer)
    groups, (k, c) = of.groups, of.w[:2]
    most = size.channels
    if c == 1 and groups > 1:  # depthwise: a group for every channel
        multiplier = k // groups
        groups = narrower(groups, most)
        k = groups * multiplier
    elif groups > 1 and most is not None:
        c, k = narrower(c, max(most // groups, 1)), groups * narrower(k // groups, max(most // groups, 1))
    else:
        c, k = narrower(c, size.inputs or most), narrower(k, most)
    extent = _shorter(of.x[2:], of.windows, size.positions)
    x, w = (1, groups * c, *extent), (k, c, *of.w[2:])
    if layer.operation == "conv":
        shapes = {"x": x, "w": w}
    else:
        shapes = {"x": (1, k, *of.windows.output(extent)), "w": w}
    return replace(layer, shapes=shapes, parameters={**layer.parameters, "groups": groups})


def _smaller_pooling(layer: Layer, size: Size) -> Layer:
    p = layer.parameters
    n, c, *extent = layer.shapes["x"]
    slides = Windows(p["kernel"], p["stride"], p["padding"], (1,) * len(extent), p.get("ceil_mode", False))
    shorter = _shorter(tuple(extent), slides, size.positions)
    return replace(layer, shapes={"x": (n, narrower(c, size.channels), *shorter)})


def _smaller_product(layer: Layer, size: Size) -> Layer:
    """Return fewer rows, columns, terms and heads."""
    shapes, turned = layer.shapes, layer.parameters.get("transpose_b", False)
    most = size.channels or 128
    *batch, m, k = shapes["a"]
    n = shapes["b"][-2 if turned else -1]
    m, n, k = (narrower(length, most) for length in (m, n, k))
    heads = tuple(min(length, 2) for length in batch)
    b = (n, k) if turned else (k, n)
    return replace(layer, shapes={"a": (*heads, m, k), "b": (*(heads if len(shapes["b"]) > 2 else ()), *b)})


def _smaller_unit(layer: Layer, size: Size) -> Layer:
    (T, N, D), (_, H) = layer.shapes["x"], layer.shapes["h"]
    most = size.channels
    T, D, H = min(T, 2), narrower(D, most), narrower(H, most)
    shapes = {"x": (T, N, D), "h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
    return replace(layer, shapes=shapes)


def _fewer_rows(layer: Layer, axis: int, most: int) -> Layer:
    """Return the longest other axes cut until there are few rows."""
    shape = list(layer.shapes["x"])
    others = [i for i in range(len(shape)) if i != axis]
    while others and prod(shape[i] for i in others) > most:
        longest = max(others, key=lambda i: shape[i])
        half = shape[longest] // 2
        shape[longest] = half + (half - shape[longest]) % 2 if half > 1 else 1
    return replace(layer, shapes={"x": tuple(shape)})
