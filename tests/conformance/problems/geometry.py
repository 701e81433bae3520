"""Strategies for convolution and pooling: windows that slide over one, two or three axes.

A geometry is drawn once, forwards: an input, a kernel, how it moves, and so the output. Each
operation then takes from it the arrays and parameters that are its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance.problems.strategies import Shapes
from gaugeblock.spec.operations import Operation

EXTENTS = (5, 1, 2, 3, 4, 6, 7, 8, 9, 11, 13, 16, 17)
"""Lengths of a spatial axis."""

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9)
"""Channels of a group: around the widths of vectors."""

Padding = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Windows:
    """How windows slide, per spatial axis: kernel, stride, padding before and after, dilation."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    def output(self, extent: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of windows along each axis."""
        return tuple(self._count(size, axis) for axis, size in enumerate(extent))

    def _count(self, size: int, axis: int) -> int:
        before, after = self.padding[axis]
        stride = self.stride[axis]
        room = size + before + after - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        if not self.ceil_mode:
            return room // stride + 1 if room >= 0 else 0
        count = max(-(-room // stride) + 1, 0)
        return count - 1 if count and (count - 1) * stride >= size + before else count


@st.composite
def windows(draw: DrawFn, ndim: int, *, pooling: bool = False, largest: int = 5) -> Windows:
    """Draw windows: different along every axis, padding on either side its own."""
    axes = range(ndim)
    kernel = tuple(draw(st.sampled_from((3, 1, 2, 5)[: 3 + (largest > 3)])) for _ in axes)
    stride = tuple(draw(st.sampled_from((1, 2, 3))) for _ in axes)
    dilation = tuple(draw(st.sampled_from((1, 1, 2, 3))) for _ in axes)
    padding = tuple(draw(st.sampled_from(((0, 0), (1, 1), (0, 1), (2, 0), (2, 2), (1, 3)))) for _ in axes)
    return Windows(kernel, stride, padding, dilation, pooling and draw(st.booleans()))


@dataclass(frozen=True)
class Convolution:
    """A convolution: shapes of input, weights and output, and its parameters."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    windows: Windows
    groups: int

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that all operations of a convolution share."""
        return {
            "stride": self.windows.stride,
            "padding": self.windows.padding,
            "dilation": self.windows.dilation,
            "groups": self.groups,
        }

    def call(
        self, operation: str, *, bias: bool = False, residual: bool = False
    ) -> tuple[Shapes, dict[str, Any]]:
        """Return the shapes and parameters that an operation takes of it."""
        shared = self.parameters
        k = self.w[0]
        match operation:
            case "conv":
                return {"x": self.x, "w": self.w, **({"bias": (k,)} if bias else {})}, shared
            case "conv_fused":
                added = {"residual": self.y} if residual else {}
                return {"x": self.x, "w": self.w, "bias": (k,), **added}, shared
            case "conv_backward_input":
                return {"dy": self.y, "w": self.w}, {"input_shape": self.x, **shared}
            case "conv_backward_weight":
                return {"dy": self.y, "x": self.x}, {"kernel_shape": self.w, **shared}
            case "conv_backward_bias":
                return {"dy": self.y}, {}
            case "conv_transpose":
                c = self.x[1]
                rest = self._rest()
                return {"x": self.y, "w": self.w, **({"bias": (c,)} if bias else {})}, {
                    **shared,
                    "output_padding": rest,
                }
        raise LookupError(operation)

    def _rest(self) -> tuple[int, ...]:
        """Return what the output size of the transposed form leaves open: pixels that no window reached."""
        rest = []
        for axis, size in enumerate(self.x[2:]):
            w = self.windows
            before, after = w.padding[axis]
            reached = (self.y[2 + axis] - 1) * w.stride[axis] + w.dilation[axis] * (w.kernel[axis] - 1) + 1
            rest.append(max(size + before + after - reached, 0))
        return tuple(rest)

    @property
    def work(self) -> int:
        """Number of products."""
        return prod(self.y) * prod(self.w[1:])


@st.composite
def convolutions(
    draw: DrawFn,
    *,
    ndim: int | None = None,
    budget: int = 1 << 16,
    fixed: Windows | None = None,
    groups: int | None = None,
) -> Convolution:
    """Draw a convolution whose output has elements, with fewer channels where it would be too much work."""
    ndim = draw(st.sampled_from((2, 2, 1, 3))) if ndim is None else ndim
    slides = draw(windows(ndim)) if fixed is None else fixed
    extent = tuple(draw(st.sampled_from(EXTENTS)) for _ in range(ndim))
    # An axis shorter than the dilated kernel has no windows: lengthen it to hold one.
    extent = tuple(
        max(size, slides.dilation[i] * (slides.kernel[i] - 1) + 1 - sum(slides.padding[i]), 1)
        for i, size in enumerate(extent)
    )
    g = draw(st.sampled_from((1, 1, 2, 3))) if groups is None else groups
    c, k, n = (
        draw(st.sampled_from(CHANNELS)),
        draw(st.sampled_from(CHANNELS)),
        draw(st.sampled_from((1, 2, 3))),
    )
    positions = prod(slides.output(extent)) * prod(slides.kernel)
    while n * g * k * c * positions > budget and (n, c, k) != (1, 1, 1):
        n, c, k = max(n // 2, 1), max(c // 2, 1), max(k // 2, 1)
    x, w = (n, g * c, *extent), (g * k, c, *slides.kernel)
    return Convolution(x, w, (n, g * k, *slides.output(extent)), slides, g)


def conv_calls(operation: Operation, **settings: Any) -> SearchStrategy[tuple[Shapes, dict[str, Any]]]:
    """Draw a call of an operation of convolution."""
    drawn = convolutions(**settings)
    return st.builds(
        lambda geometry, bias, more: geometry.call(operation.name, bias=bias, residual=more),
        drawn,
        st.booleans(),
        st.booleans(),
    )


@st.composite
def pool_calls(draw: DrawFn, operation: Operation, ndim: int | None = None) -> tuple[Shapes, dict[str, Any]]:
    """Draw a call of a pooling operation, windows without data included."""
    ndim = draw(st.sampled_from((2, 2, 1, 3))) if ndim is None else ndim
    slides = draw(windows(ndim, pooling=True))
    average = operation.name.startswith("avg")
    if average:
        slides = Windows(slides.kernel, slides.stride, slides.padding, (1,) * ndim, slides.ceil_mode)
    extent = tuple(draw(st.sampled_from(EXTENTS[:9])) for _ in range(ndim))
    lead = (draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from(CHANNELS)))
    return pool_call(
        operation.name, (*lead, *extent), slides, draw(st.booleans()), draw(st.sampled_from((None, 1, 3)))
    )


def pool_call(
    operation: str,
    x: tuple[int, ...],
    slides: Windows,
    include_pad: bool = True,
    divisor: float | None = None,
) -> tuple[Shapes, dict[str, Any]]:
    """Return the shapes and parameters of a pooling operation."""
    chosen: dict[str, Any] = {
        "kernel": slides.kernel,
        "stride": slides.stride,
        "padding": slides.padding,
        "ceil_mode": slides.ceil_mode,
    }
    if operation.startswith("avg"):
        chosen |= {"count_include_pad": include_pad, "divisor": divisor}
    else:
        chosen |= {"dilation": slides.dilation}
    y = (*x[:2], *slides.output(x[2:]))
    if operation == "avg_pool_backward":
        return {"dy": y}, {"input_shape": x, **chosen}
    return ({"dy": y, "x": x} if operation.endswith("_backward") else {"x": x}), chosen


SPATIAL = ("kernel", "stride", "dilation", "output_padding")
"""Parameters of one whole number, or one per spatial axis."""


def respelled(parameters: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the same parameters otherwise: padding as numbers, one number for all axes, defaults left out."""
    per_axis = {name: _side(value) if name == "padding" else value for name, value in parameters.items()}
    single = {
        name: _single(value) if name in (*SPATIAL, "padding") else value for name, value in per_axis.items()
    }
    stride_of_kernel = "kernel" in single and single.get("stride") == single["kernel"]
    short = {name: value for name, value in single.items() if name not in defaults or value != defaults[name]}
    spellings = [per_axis, single, short]
    if stride_of_kernel:
        spellings += [{**per_axis, "stride": None}, {**short, "stride": None}]
        spellings += [
            {name: value for name, value in s.items() if name != "stride"} for s in (per_axis, short)
        ]
    seen = [dict(parameters)]
    for spelling in spellings:
        if spelling not in seen:
            seen.append(spelling)
            yield spelling


def _side(padding: Padding) -> Any:
    """Return a number per axis where both sides of every axis are padded alike."""
    return (
        tuple(before for before, _ in padding)
        if all(before == after for before, after in padding)
        else padding
    )


def _single(value: Any) -> Any:
    """Return one number where it is the same for every axis."""
    return value[0] if len(set(value)) == 1 and not isinstance(value[0], tuple) else value


def on_the_same_shapes(
    parameters: Mapping[str, Any], kernel: tuple[int, ...], positions: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """Yield others for the same shapes: sides of padding exchanged, longer steps made up for by padding."""
    padding, stride = parameters["padding"], parameters["stride"]
    swapped = tuple((after, before) for before, after in padding)
    if swapped == padding:
        swapped = tuple((before - 1, after + 1) if before else (0, 0) for before, after in padding)
    yield {**parameters, "padding": swapped}
    if "dilation" in parameters:
        wider = tuple((b, a + taps - 1) for (b, a), taps in zip(padding, kernel, strict=True))
        yield {**parameters, "padding": wider, "dilation": tuple(d + 1 for d in parameters["dilation"])}
    further = tuple((b, a + max(count - 1, 0)) for (b, a), count in zip(padding, positions, strict=True))
    yield {**parameters, "padding": further, "stride": tuple(s + 1 for s in stride)}
