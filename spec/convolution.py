"""The records of convolution, its gradients, its transposed and its fused form.

All but the gradient of the bias multiply two arrays and add up the products. What differs between them is a
`_Product`; what they share, the bound of one call, is a `_Call`.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gaugeblock import reference
from gaugeblock.reference import convolution as shapes_of
from gaugeblock.reference.windows import Windows
from gaugeblock.spec.accuracy import (
    Bound,
    contraction_bound,
    formula_bound,
    meets_infinity,
    rounded,
    unbounded,
)
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, Format
from gaugeblock.spec.formulas import FORMULAS, Formula
from gaugeblock.spec.record import GENERAL, REQUIRED, Arguments, Operation, Parameter, Rules, Shape, Shapes
from gaugeblock.spec.running import Running, gamma
from gaugeblock.spec.transforms import Planes, Tiles, larger, winograd_roundings

__all__ = ["CONVOLUTION", "fused_bound"]

_FLOAT32 = FORMATS["float32"]
_STEPS = ("stride", "padding", "dilation")

Multiply = Callable[[Float64, Float64, Arguments], Float64]


@dataclass(frozen=True)
class _Product:
    """Which two arrays an operation multiplies, and what it adds up.

    Attributes
    ----------
    arrays : tuple of str
        The two arrays.
    multiply : callable
        The operation on two such arrays, without addends.
    meet : callable
        The same for planes of one element: a sum over the channels, or over the batch.
    windows : callable
        Where the kernel stands, from the shapes of the arrays and the parameters.
    addends : callable
        How many planes are added up, from the same.
    positions : callable
        How many products of two planes are in one sum, from the same.
    meeting : tuple of int
        The axis of each array along which planes meet.
    apart : tuple of str
        By which parameter the elements of each array lie apart where they meet.
    tiles : callable, optional
        Winograd's tiles of the two arrays, where there is such an algorithm.
    """

    arrays: tuple[str, str]
    multiply: Multiply
    meet: Multiply
    windows: Callable[[Shapes, Arguments], Windows]
    addends: Callable[[Shapes, Arguments], int]
    positions: Callable[[Shapes], int]
    meeting: tuple[int, int]
    apart: tuple[str, str]
    tiles: Callable[[Float64, Float64, Arguments, int], Tiles] | None = None

    def length(self, shapes: Shapes, arguments: Arguments) -> int:
        """Return the number of products in one sum (CONV-D5)."""
        return self.addends(shapes, arguments) * self.positions(shapes)

    def algorithms(self, shapes: Shapes, arguments: Arguments) -> Collection[str]:
        """Return what can do a call besides adding up products (CONV-A6, CONV-A7)."""
        windows = self.windows(shapes, arguments)
        small = set(windows.kernel) == {3} and {*windows.stride, *windows.dilation} == {1}
        winograd = ("winograd_2", "winograd_4", "winograd_6")
        return (*winograd, "fft") if small and self.tiles is not None else ("fft",)

    def absolute(self, arguments: Arguments) -> Float64:
        """Return S, the operator on absolute inputs, addends included (CONV-D5)."""
        call = _Call(self, {name: _magnitude(array) for name, array in arguments.items()})
        with np.errstate(all="ignore"):
            return np.asarray(self.multiply(call.left, call.right, arguments) + call.addend)

    def bound(self, arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        """Return the bound of the rounded sum (CONV-A1)."""
        return _Call(self, arguments).bound(want, output, output, arithmetic)

    def rules(self, shape: Callable[[Shapes, Arguments], Shape]) -> Rules:
        """Return the rules of an operation that is nothing but this and its addends."""
        return Rules(shape, self.bound, self.length, self.absolute, self.algorithms)


@dataclass(frozen=True)
class _Call:
    """One call, with complete arguments, whose NaN and infinities the bound leaves out.

    Where they take part the result is none of the finite numbers that a bound is about; what else is added
    there is finite, and must not overflow.
    """

    product: _Product
    arguments: Arguments

    @cached_property
    def left(self) -> Float64:
        return _finite_magnitude(self.arguments[self.product.arrays[0]])

    @cached_property
    def right(self) -> Float64:
        return _finite_magnitude(self.arguments[self.product.arrays[1]])

    @cached_property
    def shapes(self) -> Shapes:
        return {name: np.shape(self.arguments[name]) for name in self.product.arrays}

    @cached_property
    def addend(self) -> Float64:
        """|bias| + |residual|, as far as they are given."""
        total = np.zeros(())
        if (bias := self.arguments.get("bias")) is not None:
            total = total + _finite_magnitude(bias).reshape(-1, *(1,) * (self.left.ndim - 2))
        if (residual := self.arguments.get("residual")) is not None:
            total = total + _finite_magnitude(residual)
        return total

    @property
    def additions(self) -> int:
        """How many roundings the addends cost."""
        return sum(self.arguments.get(name) is not None for name in ("bias", "residual"))

    def bound(self, want: ArrayLike, output: Format, inputs: Format, arithmetic: Arithmetic) -> Bound:
        """Return the bound of the sum of products of one format in another: of any algorithm allowed."""
        direct = self._direct(want, output, inputs, arithmetic)
        if arithmetic.algorithm == "direct" or np.size(want) == 0:
            return direct
        if arithmetic.algorithm == "fft":
            return larger(direct, self._fourier(want, output, arithmetic), "Fourier")
        m = int(arithmetic.algorithm.removeprefix("winograd_"))
        return larger(direct, self._winograd(want, output, arithmetic, m), "Winograd")

    def _direct(self, want: ArrayLike, output: Format, inputs: Format, arithmetic: Arithmetic) -> Bound:
        multiply = self.product.multiply
        operands: ArrayLike = 0.0
        if arithmetic.operand_format is not None or arithmetic.flush_subnormals:
            operands = multiply(self.left, np.ones_like(self.right), self.arguments)
            operands = operands + multiply(np.ones_like(self.left), self.right, self.arguments)
        return contraction_bound(
            want,
            product=multiply(self.left, self.right, self.arguments),
            addend=self.addend,
            operands=operands,
            reduction=self.product.length(self.shapes, self.arguments),
            output=output,
            arithmetic=arithmetic,
            roundings=self.additions,
            inputs=inputs,
            lost=self._lost(inputs, arithmetic),
        )

    def _lost(self, inputs: Format, arithmetic: Arithmetic) -> ArrayLike:
        """Tell where an infinity meets an element of the other array that may count as zero (CONV-X2)."""
        left, right = (self.arguments[name] for name in self.product.arrays)

        def multiply(left: Float64, right: Float64) -> Float64:
            return self.product.multiply(left, right, self.arguments)

        return meets_infinity(left, right, multiply, inputs, arithmetic)

    def _winograd(self, want: ArrayLike, output: Format, arithmetic: Arithmetic, m: int) -> Bound:
        """Return the bound of the sum through transformed tiles (CONV-A6)."""
        assert self.product.tiles is not None
        tiles = self.product.tiles(*self._finite(), self.arguments, m)
        product, operands, carried = tiles.sizes(arithmetic.sum_format.unit_roundoff)
        bound = contraction_bound(
            want,
            product=product,
            addend=self.addend,
            operands=operands,
            reduction=self.product.addends(self.shapes, self.arguments),
            output=_FLOAT32,
            arithmetic=replace(arithmetic, flush_subnormals=True),
            roundings=self.additions + winograd_roundings(m, len(tiles.output)),
            inputs=_FLOAT32,  # what is multiplied is the result of a transform
        )
        bound = Bound({**bound.terms, "transforms": carried})
        marked = self.product.tiles(*self._marks(), self.arguments, m).touched()
        largest = arithmetic.sum_format.largest
        return unbounded(rounded(bound, want, output), marked | tiles.beyond(largest))

    def _fourier(self, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
        """Return the bound of the sum through transformed planes (CONV-A7)."""
        u, shape = arithmetic.sum_roundoff, np.shape(want)
        planes = self._planes(*self._finite())
        addends = self.product.addends(self.shapes, self.arguments)
        terms = {name: np.broadcast_to(term, shape) for name, term in planes.terms(u, addends).items()}
        if self.additions:
            size = planes.product_of_norms() + self.addend + sum(terms.values())
            terms["addends"] = np.broadcast_to(gamma(self.additions, u) * size, shape)
        largest = arithmetic.sum_format.largest
        overflows = (planes.spectrum() + self.addend > largest) | planes.beyond(largest)
        touched = overflows | self._planes(*self._marks()).touched()
        return unbounded(rounded(Bound(terms), want, output), np.broadcast_to(touched, shape))

    def _planes(self, left: Float64, right: Float64) -> Planes:
        def meet(left: Float64, right: Float64) -> Float64:
            return self.product.meet(left, right, self.arguments)

        windows = self.product.windows(self.shapes, self.arguments)
        steps = {"stride": windows.stride, "dilation": windows.dilation, "": (1,) * len(windows.size)}
        first, second = self.product.apart
        return Planes(left, right, meet, self.product.meeting, (steps[first], steps[second]), windows)

    def _finite(self) -> tuple[Float64, Float64]:
        """Return the two arrays with zeros in place of NaN and infinities."""
        left, right = (np.asarray(self.arguments[name], np.float64) for name in self.product.arrays)
        return np.where(np.isfinite(left), left, 0.0), np.where(np.isfinite(right), right, 0.0)

    def _marks(self) -> tuple[Float64, Float64]:
        """Return ones where the two arrays hold NaN or infinities, and zeros elsewhere."""
        left, right = (~np.isfinite(self.arguments[name]) for name in self.product.arrays)
        return left.astype(np.float64), right.astype(np.float64)


def _magnitude(array: Any) -> Any:
    """Return the absolute values of an array; parameters stay as they are."""
    return np.abs(array.astype(np.float64)) if isinstance(array, np.ndarray) else array


def _finite_magnitude(array: ArrayLike) -> Float64:
    return np.abs(np.where(np.isfinite(array), array, 0.0))


def _steps(arguments: Arguments, *more: str) -> dict[str, Any]:
    return {name: arguments[name] for name in (*_STEPS, *more)}


def _of_kernel(shapes: Shapes) -> int:
    return math.prod(shapes["w"][2:])


# Convolution


def _conv_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    x, w = shapes["x"], shapes["w"]
    return shapes_of.conv_shape(x, w, shapes.get("bias"), **_steps(arguments, "groups"))


def _conv_windows(shapes: Shapes, arguments: Arguments) -> Windows:
    return shapes_of.conv_windows(shapes["x"], shapes["w"], **_steps(arguments))


def _conv_tiles(x: Float64, w: Float64, arguments: Arguments, m: int) -> Tiles:
    windows = _conv_windows({"x": x.shape, "w": w.shape}, arguments)
    return Tiles.cut(x, w, before=windows.before, output=windows.output, groups=arguments["groups"], m=m)


_CONV = _Product(
    arrays=("x", "w"),
    multiply=lambda x, w, arguments: reference.conv(x, w, **_steps(arguments, "groups")),
    meet=lambda x, w, arguments: reference.conv(x, w, groups=arguments["groups"]),
    windows=_conv_windows,
    addends=lambda shapes, arguments: shapes["w"][1],
    positions=_of_kernel,
    meeting=(1, 1),
    apart=("", "dilation"),
    tiles=_conv_tiles,
)


# The gradient of its input


def _input_windows(shapes: Shapes, arguments: Arguments) -> Windows:
    return shapes_of.conv_windows(tuple(arguments["input_shape"]), shapes["w"], **_steps(arguments))


def _tiles_of_gradient(dy: Float64, w: Float64, windows: Windows, groups: int, m: int) -> Tiles:
    """Cut the tiles of the convolution that this gradient is: kernels reversed, their channels changed."""
    (K, per_group), kernel = w.shape[:2], w.shape[2:]
    swapped = np.swapaxes(w.reshape(groups, K // groups, per_group, *kernel), 1, 2)
    swapped = swapped.reshape(groups * per_group, K // groups, *kernel)
    reverse = np.flip(swapped, axis=tuple(range(2, w.ndim)))
    before = tuple(R - 1 - b for R, b in zip(kernel, windows.before, strict=True))
    return Tiles.cut(dy, reverse, before=before, output=windows.size, groups=groups, m=m)


def _input_tiles(dy: Float64, w: Float64, arguments: Arguments, m: int) -> Tiles:
    windows = _input_windows({"w": w.shape}, arguments)
    return _tiles_of_gradient(dy, w, windows, arguments["groups"], m)


def _meet_input(dy: Float64, w: Float64, arguments: Arguments) -> Float64:
    groups = arguments["groups"]
    shape = (dy.shape[0], w.shape[1] * groups, *(1,) * (dy.ndim - 2))
    return reference.conv_backward_input(dy, w, input_shape=shape, groups=groups)


_INPUT = _Product(
    arrays=("dy", "w"),
    multiply=lambda dy, w, arguments: reference.conv_backward_input(
        dy, w, input_shape=arguments["input_shape"], **_steps(arguments, "groups")
    ),
    meet=_meet_input,
    windows=_input_windows,
    addends=lambda shapes, arguments: shapes["w"][0] // int(arguments["groups"]),
    positions=_of_kernel,
    meeting=(1, 0),
    apart=("stride", "dilation"),
    tiles=_input_tiles,
)


# The gradient of its kernels


def _meet_weight(dy: Float64, x: Float64, arguments: Arguments) -> Float64:
    groups = arguments["groups"]
    shape = (dy.shape[1], x.shape[1] // groups, *(1,) * (dy.ndim - 2))
    return reference.conv_backward_weight(dy, x, kernel_shape=shape, groups=groups)


_WEIGHT = _Product(
    arrays=("dy", "x"),
    multiply=lambda dy, x, arguments: reference.conv_backward_weight(
        dy, x, kernel_shape=arguments["kernel_shape"], **_steps(arguments, "groups")
    ),
    meet=_meet_weight,
    windows=lambda shapes, arguments: shapes_of.conv_windows(
        shapes["x"], tuple(arguments["kernel_shape"]), **_steps(arguments)
    ),
    addends=lambda shapes, arguments: shapes["dy"][0],
    positions=lambda shapes: math.prod(shapes["dy"][2:]),
    meeting=(0, 0),
    apart=("stride", ""),
)


# Its transpose


def _transpose_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    x, w = shapes["x"], shapes["w"]
    steps = _steps(arguments, "groups", "output_padding")
    return shapes_of.conv_transpose_shape(x, w, shapes.get("bias"), **steps)


def _transpose_windows(shapes: Shapes, arguments: Arguments) -> Windows:
    result = _transpose_shape(shapes, arguments)
    return shapes_of.conv_windows(result, shapes["w"], **_steps(arguments))


def _transpose_tiles(x: Float64, w: Float64, arguments: Arguments, m: int) -> Tiles:
    windows = _transpose_windows({"x": x.shape, "w": w.shape}, arguments)
    return _tiles_of_gradient(x, w, windows, arguments["groups"], m)


_TRANSPOSE = _Product(
    arrays=("x", "w"),
    multiply=lambda x, w, arguments: reference.conv_transpose(
        x, w, **_steps(arguments, "groups", "output_padding")
    ),
    meet=_meet_input,
    windows=_transpose_windows,
    addends=lambda shapes, arguments: shapes["w"][0] // int(arguments["groups"]),
    positions=_of_kernel,
    meeting=(1, 0),
    apart=("stride", "dilation"),
    tiles=_transpose_tiles,
)


# The gradient of its bias


def _bias_bound(arguments: Arguments, want: ArrayLike, output: Format, arithmetic: Arithmetic) -> Bound:
    dy = _finite_magnitude(arguments["dy"])
    size, count = _sum_of_planes(dy), dy.size // max(dy.shape[1], 1)
    return contraction_bound(
        want,
        product=size,
        addend=0.0,
        operands=size + count,
        reduction=count,
        output=output,
        arithmetic=replace(arithmetic, multiplier=None, truncates=False, products=1),
    )


def _sum_of_planes(dy: Float64) -> Float64:
    return np.asarray(np.sum(dy, axis=(0, *range(2, dy.ndim))))


_BIAS = Rules(
    shape=lambda shapes, arguments: shapes_of.conv_backward_bias_shape(shapes["dy"]),
    bound=_bias_bound,
    reduction=lambda shapes, arguments: shapes["dy"][0] * math.prod(shapes["dy"][2:]),
    absolute=lambda arguments: _sum_of_planes(_magnitude(np.asarray(arguments["dy"]))),
)


# The fused form


def _fused_shape(shapes: Shapes, arguments: Arguments) -> Shape:
    given = (shapes.get(name) for name in ("x", "w", "bias", "residual"))
    x, w, bias, residual = given
    assert x is not None
    assert w is not None
    steps = _steps(arguments, "groups", "activation")
    return shapes_of.conv_fused_shape(x, w, bias, residual, **steps)


def fused_bound(
    arguments: Arguments,
    want: ArrayLike,
    output: Format,
    arithmetic: Arithmetic,
    formulas: Mapping[str, Formula] = FORMULAS,
) -> Bound:
    """Return the error of the sum in float32, passed on by the function's formula (CONV-A8)."""
    exact = np.asarray(reference.conv_fused(**{**_call(arguments), "activation": "none"}), dtype=np.float64)
    error = _Call(_CONV, arguments).bound(exact, _FLOAT32, output, arithmetic).value
    open_, lost = np.isinf(error), np.isnan(error)
    error = np.where(np.isfinite(exact), error, 0.0)
    activation = arguments["activation"]
    if formula := formulas.get(activation):
        result = formula({"x": Running(exact, error, arithmetic), "approximate": "none"}, arithmetic)
        bound = formula_bound(result, want, output, transcendental=True)
    else:
        bound = rounded(Bound({"sum": _passed_on(activation, exact, error)}), want, output)
    if lost.any():
        bound = Bound({**bound.terms, "∞ times 0": np.where(lost, np.nan, 0.0)})
    return unbounded(bound, open_)


def _passed_on(activation: str, exact: Float64, error: Float64) -> Float64:
    """Return how far "none", "relu" or "relu6" moves if its argument does: they never fall."""
    low, high = {"none": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}[activation]
    below, here, above = (np.clip(exact + side * error, low, high) for side in (-1, 0, 1))
    return np.where(np.isfinite(exact), np.maximum(above - here, here - below), 0.0)


def _call(arguments: Arguments) -> Mapping[str, Any]:
    """Return the arguments of the reference's function."""
    return {name: arguments[name] for name in ("x", "w", "bias", "residual", "activation", "groups", *_STEPS)}


_FUSED = Rules(_fused_shape, fused_bound, _CONV.length, _CONV.absolute, _CONV.algorithms)


# The records

_SPATIAL = {
    "stride": Parameter(1, "spatial", (1, 2, 3), (0, -1, 1.5), "CONV-C3"),
    "padding": Parameter(0, "padding", (0, 1, 2, "same"), (-1, 0.5, "valid"), "CONV-C3"),
    "dilation": Parameter(1, "spatial", (1, 2, 3), (0, -2, 1.5), "CONV-C3"),
    "groups": Parameter(1, "count", (1, 2, 3, 4), (0, -1, 1.5), "CONV-C2"),
}
_ACTIVATIONS = ("relu", "none", "relu6", "sigmoid", "tanh", "silu", "gelu")
_SHAPE = Parameter(REQUIRED, "shape", (), ((3,), (1, -1, 4), None), "CONV-C4")
_OUTPUT_PADDING = Parameter(0, "spatial", (0,), (-1, 0.5, 7), "CONV-C3")

_ANYWHERE = {role: clause for role, clause in GENERAL.items() if role != "strides"} | {
    "empty": "CONV-X1",
    "special_values": "CONV-X2",
}
_SUM = _ANYWHERE | {
    "shapes": "CONV-S7",
    "channels_last": "CONV-S8",
    "accuracy": "CONV-A1",
    "exact": "CONV-A2",
    "statistics": "CONV-A3",
    "long_sum": "CONV-A4",
}
_ADJOINT = _SUM | {
    "groups": "CONV-I2",
    "permutation": "CONV-I3",
    "linearity": "CONV-I6",
    "adjointness": "CONV-I7",
}
_FORWARD = _SUM | {
    "real_data": "CONV-A5",
    "translation": "CONV-I1",
    "groups": "CONV-I2",
    "permutation": "CONV-I3",
    "pointwise": "CONV-I4",
    "identity": "CONV-I5",
    "linearity": "CONV-I6",
}


def _record(name: str, semantics: str, clauses: Mapping[str, str], **details: Any) -> Operation:
    """Return a record of this page."""
    return Operation(
        name=name,
        concept="convolution",
        kind="convolution",
        reference=getattr(reference, name),
        clauses={**clauses, "semantics": semantics},
        **details,
    )


#: In the order of the page.
CONVOLUTION = (
    _record(
        "conv",
        "CONV-S1",
        _FORWARD,
        arrays=("x", "w", "bias"),
        optional=frozenset({"bias"}),
        parameters=_SPATIAL,
        rules=_CONV.rules(_conv_shape),
        constraints=("CONV-C1", "CONV-C2", "CONV-C3", "CONV-C5"),
    ),
    _record(
        "conv_backward_input",
        "CONV-S2",
        _ADJOINT,
        arrays=("dy", "w"),
        parameters={"input_shape": _SHAPE, **_SPATIAL},
        rules=_INPUT.rules(lambda shapes, arguments: tuple(arguments["input_shape"])),
        constraints=("CONV-C1", "CONV-C2", "CONV-C3", "CONV-C4", "CONV-C5"),
    ),
    _record(
        "conv_backward_weight",
        "CONV-S3",
        _ADJOINT,
        arrays=("dy", "x"),
        parameters={"kernel_shape": _SHAPE, **_SPATIAL},
        rules=_WEIGHT.rules(lambda shapes, arguments: tuple(arguments["kernel_shape"])),
        constraints=("CONV-C1", "CONV-C2", "CONV-C3", "CONV-C4", "CONV-C5"),
    ),
    _record(
        "conv_backward_bias",
        "CONV-S4",
        _SUM | {"adjointness": "CONV-I7"},
        arrays=("dy",),
        rules=_BIAS,
        constraints=("CONV-C1", "CONV-C5"),
    ),
    _record(
        "conv_transpose",
        "CONV-S5",
        _ADJOINT,
        arrays=("x", "w", "bias"),
        optional=frozenset({"bias"}),
        parameters={**_SPATIAL, "output_padding": _OUTPUT_PADDING},
        rules=_TRANSPOSE.rules(_transpose_shape),
        constraints=("CONV-C1", "CONV-C2", "CONV-C3", "CONV-C5"),
    ),
    _record(
        "conv_fused",
        "CONV-S6",
        {
            **_ANYWHERE,
            "shapes": "CONV-S7",
            "channels_last": "CONV-S8",
            "exact": "CONV-A2",
            "long_sum": "CONV-A4",
            "accuracy": "CONV-A8",
        },
        arrays=("x", "w", "bias", "residual"),
        optional=frozenset({"residual"}),
        parameters={
            "activation": Parameter("relu", "choice", _ACTIVATIONS, ("swish", "", None), "CONV-C6"),
            **_SPATIAL,
        },
        rules=_FUSED,
        constraints=("CONV-C1", "CONV-C2", "CONV-C3", "CONV-C4", "CONV-C5", "CONV-C6"),
    ),
)
