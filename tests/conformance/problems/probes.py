"""Calls of common sizes, for a backend that has declined everything else and does not say what it is for.

Few kernels are for one size and none beside it; those that are are for a size of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from gaugeblock.conformance.problems.fitting import fit
from gaugeblock.conformance.problems.geometry import Convolution, Windows, pool_call
from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.conformance.problems.strategies import Shapes, recurrence_shapes
from gaugeblock.spec.domain import Domain, Whole, sizes_of
from gaugeblock.spec.operations import Operation

SIZES = (64, 32, 16, 128, 256, 48, 8, 96, 512, 24)
CHANNELS = (8, 16, 4, 3, 1, 2, 32, 64)
EXTENTS = (8, 16, 10, 32, 12, 14, 28, 5, 6, 7, 9, 20, 24, 56)
LENGTHS = (64, 128, 256, 512, 1024, 32, 16, 8, 4, 100, 1000, 768, 2048, 4096)


def probes(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield everyday calls of common sizes, the commonest first."""
    for shapes, parameters in _calls(operation):
        arrays = {name: Array(shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
        yield Problem(operation.name, dtype, arrays, parameters)


def variations(problem: Problem) -> Iterator[Problem]:
    """Yield calls that differ from one in a single size, flag or parameter: they show what limits it has."""
    record = problem.record
    sizes = sizes_of(record, problem.shapes, problem.parameters)
    free = {name: size for name, size in sizes.items() if name not in ("size", "batch", "Z", "P", "Q")}
    for name, size in free.items():
        for other in (size + 1, size + 8, size + 16, 2 * size, 3 * size, size // 2):
            rules = {kept: Whole(among=(other if kept == name else value,)) for kept, value in free.items()}
            moved = fit(problem, Domain(sizes=rules))
            if moved is not None:
                yield moved
    for name, parameter in record.parameters.items():
        fits = name not in ("transpose_a", "transpose_b") and (name != "beta" or "c" in problem.arrays)
        if parameter.kind in ("flag", "real", "choice") and fits:
            yield from (problem.with_parameters(**{name: value}) for value in parameter.legal)


def _commonest(*palettes: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield combinations of values, those first that come first in their palettes."""
    places = product(*(range(len(palette)) for palette in palettes))
    for place in sorted(places, key=sum):
        yield tuple(palette[i] for palette, i in zip(palettes, place, strict=True))


def _calls(operation: Operation) -> Iterator[tuple[Shapes, dict[str, Any]]]:
    match operation.kind:
        case "contraction":
            for m, n, k, swap_b, swap_a in _commonest(SIZES, SIZES, SIZES, (False, True), (False, True)):
                a, b = ((k, m) if swap_a else (m, k)), ((n, k) if swap_b else (k, n))
                flags = {"transpose_a": swap_a, "transpose_b": swap_b}
                yield {"a": a, "b": b}, flags
        case "convolution" if operation.name != "conv_backward_bias":
            palettes = (EXTENTS, (3, 1, 5), (1, 2, 4, 8), CHANNELS, CHANNELS, (1, 0), (False, True))
            for size, kernel, n, c, k, same, bias in _commonest(*palettes):
                side = same * (kernel // 2)
                slides = Windows((kernel,) * 2, (1, 1), ((side, side),) * 2, (1, 1))
                extent = (size, size)
                y = (n, k, *slides.output(extent))
                whole = Convolution((n, c, *extent), (k, c, kernel, kernel), y, slides, 1)
                yield whole.call(operation.name, bias=bias)
        case "pooling":
            for size, n, c, kernel, stride in _commonest(EXTENTS, (1, 2, 4, 8), CHANNELS, (2, 3), (2, 1)):
                slides = Windows((kernel,) * 2, (stride,) * 2, ((0, 0),) * 2, (1, 1))
                yield pool_call(operation.name, (n, c, size, size), slides)
        case "recurrence":
            for H, D, N, T in product((4, 8, 16, 32), (4, 8, 16, 32), (1, 2, 4, 8), (1, 2, 4, 8)):
                yield recurrence_shapes(operation, T, N, D, H), {}
        case _:
            pairs = sorted(product(LENGTHS, repeat=2), key=lambda pair: pair[0] * pair[1])
            for shape in (*((length,) for length in LENGTHS), *pairs, *((8, *pair) for pair in pairs[:60])):
                if operation.kind == "selection":
                    result = (*shape[:-1], shape[-1] // 2)
                    yield {name: result if name == "dy" else shape for name in operation.arrays}, {}
                else:
                    yield dict.fromkeys(operation.arrays, shape), {}
