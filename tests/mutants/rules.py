"""How others decide that a kernel is right: each rule with its own data and shapes.

They are written from descriptions; no code was taken over. Where a project fixes sizes that take too long
here, they are smaller. Sources: KernelBench (``src/eval.py``), ``torch.testing`` (``assert_close``, OpInfo's
sizes), ONNX (``onnx/backend/test``), CUTLASS (``test/unit/gemm/device``), oneDNN (``tests/benchdnn/doc``),
TOSA 1.0 (dot-product test), WebNN (``webnn/resources/utils.js`` of the web platform tests), gpucheck
(``assertions/tolerances.py``, ``fuzzing/shapes.py``), gpuemu (``concepts/validation.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from workshop import DTYPES, Array

from gaugeblock.conformance.problems.geometry import Convolution, Windows, pool_call
from gaugeblock.conformance.problems.strategies import recurrence_shapes
from gaugeblock.spec.accuracy import FORMATS, round_to, ulp
from gaugeblock.spec.operations import OPERATIONS, Operation

Data = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Sizes:
    """The sizes that a rule tries, by kind of operation."""

    products: tuple[tuple[int, int, int], ...] = ((5, 7, 6),)
    maps: tuple[tuple[int, ...], ...] = ((5, 6),)
    rows: tuple[tuple[int, int], ...] = ((5, 6),)
    images: tuple[tuple[int, int, int, int, int, int], ...] = ((2, 4, 4, 7, 3, 1),)
    """Batch, channels, kernels, side of the image, side of the kernel, padding; stride 1."""

    sequences: tuple[tuple[int, int, int, int], ...] = ((3, 2, 4, 5),)
    full: bool = False
    """Whether the other arguments are tried: addends, factors, flags, strides, dilations, groups, axes."""


Asked = tuple[dict[str, tuple[int, ...]], dict[str, Any]]


def calls(operation: Operation, sizes: Sizes) -> Iterator[Asked]:
    """Yield shapes and parameters of the calls of an operation at given sizes."""
    if operation.kind == "contraction":
        for m, n, k in sizes.products:
            yield from _products(m, n, k, sizes.full)
    elif operation.kind == "recurrence":
        for sequence in sizes.sequences:
            yield dict(recurrence_shapes(operation, *sequence)), {}
    elif operation.kind in ("convolution", "pooling"):
        for image in sizes.images:
            yield _slid(operation, *image)
            if sizes.full:
                yield _slid(operation, *image, stride=2)
                yield _slid(operation, *image, dilation=2 if image[3] > 2 * image[4] else 1)
                yield _slid(operation, *image, depthwise=True)
    else:
        for shape in sizes.rows if operation.kind == "rowwise" else sizes.maps:
            pairs = (*shape[:-1], 2 * (shape or (1,))[-1]) if operation.kind == "selection" else shape
            half = (*pairs[:-1], pairs[-1] // 2) if operation.kind == "selection" else shape
            shapes = {name: half if name == "dy" else pairs for name in operation.arrays}
            yield shapes, {}
            if sizes.full and operation.kind == "rowwise":
                yield shapes, {"axis": 0}
            if sizes.full and operation.kind == "elementwise":
                yield from ((shapes, {name: p.legal[-1]}) for name, p in operation.parameters.items())


def _products(m: int, n: int, k: int, full: bool) -> Iterator[Asked]:
    """Yield a product, and with addends, factors and flags."""
    plain = {"a": (m, k), "b": (k, n)}
    yield plain, {}
    if full:
        for c in ((m, n), (n,), (m, 1)):
            yield {**plain, "c": c}, {"alpha": 0.5, "beta": 0.25}
        yield {**plain, "c": (m, n)}, {"beta": 1.0}
        yield {"a": (k, m), "b": (n, k)}, {"transpose_a": True, "transpose_b": True}


def _slid(
    operation: Operation,
    n: int,
    c: int,
    k: int,
    side: int,
    kernel: int,
    padding: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
) -> Asked:
    """Return a convolution or a pooling of images."""
    slides = Windows((kernel, kernel), (stride, stride), ((padding, padding),) * 2, (dilation, dilation))
    if operation.kind == "pooling":
        if "dilation" not in operation.parameters:
            slides = replace(slides, dilation=(1, 1))
        shapes, parameters = pool_call(operation.name, (n, c, side, side), slides)
        return dict(shapes), parameters
    k, groups = (c, c) if depthwise else (k, 1)
    positions = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    y = (n, k, positions, positions)
    whole = Convolution((n, c, side, side), (k, c // groups, kernel, kernel), y, slides, groups)
    shapes, parameters = whole.call(operation.name, bias="bias" in operation.arrays)
    return dict(shapes), parameters


@dataclass(frozen=True)
class Call:
    """A call with its data, as a rule sees it: the arguments, the exact result and the backend's."""

    operation: Operation
    dtype: str
    arguments: Mapping[str, Array]
    parameters: Mapping[str, Any]
    want: Array
    got: Array

    @property
    def reduction(self) -> int:
        """The terms of a sum, or the length of a row; 1 if there is none."""
        shapes = {name: np.shape(array) for name, array in self.arguments.items()}
        return self.operation.reduction(shapes, self.parameters) or 1


@dataclass(frozen=True)
class Rule:
    """A way to decide that a kernel is right.

    Parameters
    ----------
    name
        Whose it is.
    sizes
        What it tries.
    data
        How it fills arrays; several are tried one after the other.
    accepts
        Whether it takes a result for right.
    trials
        How often, with fresh data.
    kinds
        The kinds of operations that it is for; all if none is named.
    gradients
        Whether it is for them too.
    """

    name: str
    sizes: Sizes
    data: tuple[Data, ...]
    accepts: Callable[[Call], bool]
    trials: int = 1
    kinds: tuple[str, ...] = ()
    gradients: bool = True

    def rejects(self, backend: Any, name: str, dtype: str, seed: int = 1) -> str | None:
        """Return why a backend is called wrong, or ``None``."""
        operation = OPERATIONS[name]
        if (self.kinds and operation.kind not in self.kinds) or (operation.backward and not self.gradients):
            return None
        rng = np.random.default_rng(seed)
        for shapes, parameters in calls(operation, self.sizes):
            for fill in self.data * self.trials:
                exact = {
                    each: round_to(fill(rng, shape), FORMATS[dtype]).astype(np.float64)
                    for each, shape in shapes.items()
                }
                given = {each: array.astype(DTYPES[dtype]) for each, array in exact.items()}
                with np.errstate(all="ignore"):
                    want = np.asarray(operation.reference(**exact, **parameters))
                    if operation.result_dtype == "same":
                        want = round_to(want, FORMATS[dtype]).astype(np.float64)
                try:
                    got = np.asarray(getattr(backend, name)(*given.values(), **parameters))
                except NotImplementedError:
                    continue
                except Exception as error:
                    return f"{type(error).__name__}: {error}"
                if got.shape != want.shape:
                    return f"shape {got.shape}, expected {want.shape}"
                found = Call(operation, dtype, exact, parameters, want, got.astype(np.float64))
                with np.errstate(all="ignore"):
                    if not self.accepts(found):
                        return f"{shapes}"
        return None


# Data ----------------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """N(0, 1)."""
    return rng.standard_normal(shape)


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Uniform from 0 to 1."""
    return rng.random(shape)


def within(limit: float) -> Data:
    """Uniform from −limit to limit."""
    return lambda rng, shape: rng.uniform(-limit, limit, shape)


def integers(low: int, high: int, density: float = 1.0) -> Data:
    """Whole numbers, a part of them zero."""
    return lambda rng, shape: (
        rng.integers(low, high, shape, endpoint=True) * (rng.random(shape) < density)
    ).astype(np.float64)


def first_is_large(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """One large term in front of small ones: what is small must not be lost."""
    data = rng.uniform(-1, 1, shape) / 64
    data[..., :1] *= 64
    return data


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Magnitudes over some powers of two."""
    return rng.choice([-1.0, 1.0], shape) * np.exp2(rng.uniform(-4, 4, shape))


# Acceptance ----------------------------------------------------------------------------------------------


def allclose(**limits: tuple[float, float]) -> Callable[[Call], bool]:
    """Accept |got − want| ≤ atol + rtol·|want|, the pair (rtol, atol) by format."""

    def accepts(call: Call) -> bool:
        rtol, atol = limits[call.dtype]
        return bool(np.allclose(call.got, call.want, rtol=rtol, atol=atol))

    return accepts


def everywhere(rtol: float, atol: float) -> Callable[[Call], bool]:
    """Accept by one pair in all formats."""
    return allclose(**dict.fromkeys(DTYPES, (rtol, atol)))


def cutlass(call: Call) -> bool:
    """Accept a relative error of 0.05, of |got| + |want|, and what is below the floor of 1/256."""
    difference, size = np.abs(call.got - call.want), np.abs(call.got) + np.abs(call.want)
    near = (difference < 0.05 * size) | ((size < 2.0**-8) & (difference < 0.05 * 2.0**-8))
    return bool(np.all((call.got == call.want) | near))


def benchdnn(call: Call) -> bool:
    """Accept equality of sums, 4e-5 of elementwise functions in float32, ten units of rows and averages."""
    epsilon = 2.0 * FORMATS[call.dtype].unit_roundoff
    kind = call.operation.kind
    limit = {"elementwise": max(4e-5, epsilon), "rowwise": 10 * epsilon, "pooling": 10 * epsilon}
    limit |= {"recurrence": 10 * epsilon}
    relative = np.abs(call.got - call.want) / np.maximum(
        np.abs(call.want), 1e-5 if kind != "contraction" else 1
    )
    return bool(np.all((call.got == call.want) | (relative <= limit.get(kind, 0.0))))


ULPS = {
    "sigmoid": 34,
    "log_sigmoid": 34,
    "elu": 18,
    "softplus": 18,
    "gelu": 18,
    "silu": 34,
    "hard_sigmoid": 2,
}
ULPS |= {"leaky_relu": 1, "relu": 0, "relu6": 0, "hard_tanh": 0, "maxout": 0, "max_pool": 0}


def webnn(call: Call) -> bool:
    """Accept as many units in the last place as there are operations; of tanh 1/1024."""
    name = call.operation.name
    if name.startswith("tanh"):
        return bool(np.all(np.abs(call.got - call.want) <= 1 / 1024))
    counted = {"contraction": 2, "convolution": 2, "pooling": 1, "rowwise": 3, "recurrence": 8}
    n = call.reduction
    if call.operation.kind in counted:
        units = ULPS.get(name, counted[call.operation.kind] * n + 3)
    else:
        units = ULPS.get(name.removesuffix("_backward"), 18)
    distance = np.abs(call.got - call.want) / ulp(call.want, FORMATS[call.dtype])
    return bool(np.all((call.got == call.want) | (distance <= units)))


def tosa(call: Call) -> bool:
    """Accept errors of dot products, scaled by the product of magnitudes, by their size, squares and sum."""
    p = {"float32": 24, "float16": 11, "bfloat16": 8}[call.dtype]
    bias = int("bias" in call.arguments)
    ksb = ceil(call.reduction / 2 ** ((24 - p) / 2)) + bias
    size = call.operation.absolute({**call.arguments, **call.parameters})
    with np.errstate(all="ignore"):
        e = np.where(size > 0, (call.got - call.want) * 2.0**p / size, 0.0)
    fine = bool(np.all((call.got == call.want) | (np.abs(e) <= 2 * ksb)))
    return (
        fine
        and bool(np.sum(e * e) <= 1.6 * ksb * e.size)
        and bool(abs(np.sum(e)) <= 4 * np.sqrt(ksb * e.size))
    )


def gpucheck(call: Call) -> bool:
    """Accept by a tolerance of the format, wider with the root of the length of a sum over 128."""
    base = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}[call.dtype]
    length = call.reduction if call.operation.kind in ("contraction", "convolution") else 128
    atol = base * np.sqrt(length / 128)
    return bool(np.allclose(call.got, call.want, rtol=base, atol=atol, equal_nan=True))


def gpuemu(call: Call) -> bool:
    """Accept an absolute difference of the format, times a factor of the operation; no NaN, no infinity."""
    base = 1e-5 if call.dtype == "float32" else 1e-3
    factor = {"contraction": 1.5, "rowwise": 1.5, "convolution": 2.0}.get(call.operation.kind, 1.0)
    return bool(np.all(np.isfinite(call.got)) and np.all(np.abs(call.got - call.want) <= factor * base))


LARGE = Sizes(
    products=((64, 64, 1024),),
    maps=((32, 512),),
    rows=((32, 1024),),
    images=((2, 16, 16, 14, 3, 1),),
    sequences=((8, 4, 16, 32),),
)
"""One fixed shape each, of round sizes."""

SAMPLES = Sizes(
    products=((5, 5, 10), (10, 5, 5), (1, 5, 10), (5, 5, 1), (5, 5, 0)),
    maps=((), (5,), (5, 10), (5, 5, 5)),
    rows=((5, 5), (5, 20), (1, 5)),
    images=((2, 4, 4, 6, 3, 1), (1, 4, 8, 5, 2, 0), (2, 3, 2, 7, 1, 0)),
    full=True,
)
CASES = Sizes(
    products=((2, 4, 3), (3, 4, 5), (2, 4, 10)),
    maps=((3,), (3, 4, 5)),
    rows=((1, 3), (2, 4), (3, 20)),
    images=((1, 1, 1, 5, 3, 1), (1, 1, 1, 5, 3, 0), (1, 3, 3, 32, 2, 0)),
    sequences=((1, 3, 2, 3), (1, 1, 3, 4)),
    full=True,
)
ALIGNED = Sizes(
    products=((8, 8, 8), (136, 72, 136), (128, 128, 40)),
    images=((1, 8, 8, 9, 3, 1), (2, 8, 16, 8, 1, 0)),
    full=True,
)
FUZZED = Sizes(
    products=(
        (16, 16, 1),
        (1, 1, 1),
        (1, 16, 16),
        (31, 31, 31),
        (33, 33, 33),
        (127, 127, 127),
        (129, 129, 129),
    ),
    maps=((0, 16), (1, 1), (31, 31), (33, 33), (127, 127), (129, 129), (257, 257)),
    rows=((1, 1), (16, 1), (31, 31), (33, 33), (127, 127), (257, 257), (7, 512)),
    images=((1, 1, 1, 7, 3, 1), (2, 7, 13, 13, 3, 1), (1, 31, 33, 9, 3, 0)),
    sequences=((1, 1, 1, 1), (7, 3, 7, 13), (3, 2, 33, 31)),
)
DOTS = Sizes(products=((32, 32, 64), (16, 64, 256)), images=((1, 8, 16, 8, 3, 1),))
SUMS = ("contraction", "convolution")

RULES: tuple[Rule, ...] = (
    Rule(
        "KernelBench",
        LARGE,
        (unit,),
        allclose(float32=(1e-4, 1e-4), float16=(1e-2, 1e-2), bfloat16=(1e-2, 1e-2)),
        trials=2,
    ),
    Rule(
        "torch.testing",
        SAMPLES,
        (within(9.0),),
        allclose(float32=(1.3e-6, 1e-5), float16=(1e-3, 1e-5), bfloat16=(1.6e-2, 1e-5)),
    ),
    Rule("ONNX node tests", CASES, (normal,), everywhere(1e-3, 1e-7), gradients=False),
    Rule("CUTLASS", ALIGNED, (integers(-2, 2), within(1.0)), cutlass, kinds=SUMS),
    Rule("oneDNN benchdnn", replace(FUZZED, full=True), (integers(-4, 4, 0.5),), benchdnn),
    Rule(
        "TOSA dot product",
        DOTS,
        (within(1.0), unit, normal, first_is_large, wide),
        tosa,
        kinds=SUMS,
        gradients=False,
    ),
    Rule("WebNN", CASES, (within(1.0), within(10.0)), webnn, gradients=False),
    Rule("gpucheck", FUZZED, (normal,), gpucheck),
    Rule("gpuemu", replace(SAMPLES, full=False), (within(10.0),), gpuemu),
)
"""All rules, in the order of the table."""
