"""Checks of convolution and its gradients: exact integers, breaking shapes, equivariance, algebra."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock import reference
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import everyday_data, rows
from gaugeblock.conformance.checks.sliding import (
    CHANNELS_LAST,
    SLIDING,
    Call,
    expect_adjoint,
    geometry,
    in_channels_last,
)
from gaugeblock.conformance.checks.statistics import rounds_without_bias
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.geometry import Windows, conv_calls, convolutions
from gaugeblock.conformance.problems.problem import PACKED, Array, Distribution, Problem
from gaugeblock.conformance.problems.sparse import ADDENDS, SLOW, is_sparse, sparse
from gaugeblock.conformance.trial import Outside, Trial
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation


def _integer_arrays(
    operation: Operation,
    dtype: str,
    arithmetic: Arithmetic,
    call: tuple[strategies.Shapes, dict[str, Any]],
    seed: int,
    odd_first: bool = True,
) -> Problem:
    """Return a call on integers that no order of summation rounds."""
    shapes, parameters = call
    terms = operation.reduction(shapes, parameters) or 1
    limit = max(accuracy.exact_integer_limit(terms + 2, dtype, arithmetic), 1)
    factors = [name for name in shapes if name not in ADDENDS]
    kinds = ("odd", "signs") if odd_first else ("signs", "odd")
    arrays = {}
    for i, (name, shape) in enumerate(shapes.items()):
        values = "integers" if name in ADDENDS else kinds[factors.index(name) % 2]
        arrays[name] = Array(shape, values, limit=limit, seed=seed + i)  # type: ignore[arg-type]
    if operation.name == "conv_fused":
        parameters = {**parameters, "activation": "none"}
    return Problem(operation.name, dtype, arrays, parameters)


@st.composite
def integers(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw convolutions of integers that no order of summation rounds."""
    call = draw(conv_calls(operation, budget=1 << 15))
    problem = _integer_arrays(operation, dtype, arithmetic, call, draw(strategies.seeds), draw(st.booleans()))
    return replace(problem, out=draw(st.sampled_from((None, PACKED))))


def exact_data(operation: Operation, dtype: str, arithmetic: Arithmetic, call: Call, seed: int) -> Problem:
    """Return a call on integers that no order rounds, or before a smooth function on normal data."""
    activation = call[1].get("activation", "none")
    if activation not in KEEP_INTEGERS:
        return everyday_data(operation, dtype, arithmetic, call, seed)
    problem = _integer_arrays(operation, dtype, arithmetic, call, seed, seed % 2 == 0)
    return replace(problem, parameters=call[1])


def is_exact_when_combined(trial: Trial, problem: Problem) -> None:
    """Any windows, channels, groups and addends go together, and integers stay exact."""
    if problem.parameters.get("activation", "none") in KEEP_INTEGERS:
        is_exact_on_integers(trial, problem)
    else:
        trial.expect_right(problem)


KEEP_INTEGERS = ("none", "relu", "relu6")
"""Activations after which integers are integers."""


def is_exact_on_integers(trial: Trial, problem: Problem) -> None:
    """On integers that no order of summation rounds, the result is exact, and rounded once."""
    if problem.parameters.get("activation", "none") not in KEEP_INTEGERS:
        raise Outside  # the domain has no function that keeps integers
    answer = trial.ask(problem)
    want = problem.want()
    if not trial.sums_exactly(problem):
        # Transforms round even integers, and so do long narrow sums: their bound is all that can be asked.
        bound = problem.bound(want, trial.arithmetic(problem))
    else:
        want = accuracy.round_to(want, FORMATS[problem.dtype]).astype(np.float64)
        bound = accuracy.exact_bound(want)
    trial.compare(problem, answer.values, want, bound)


BREAKING = (
    geometry((1, 3, 5, 13), (2, 3, 3, 1), padding=((2, 2), (0, 0))),  # kernel of one column
    geometry((3, 5, 18, 18), (7, 5, 1, 1)),  # 324 pixels: no multiple of a vector
    geometry((1, 5, 14, 14), (9, 5, 3, 3), padding=((1, 1), (1, 1))),  # Winograd's tiles end inside
    geometry((1, 2, 17, 16), (2, 2, 6, 5), stride=(5, 5)),  # a stride beyond 4
    geometry((1, 3, 9, 9), (2, 3, 7, 7), stride=(2, 2), padding=((3, 2), (2, 3))),  # ResNet's first kernel
    geometry((1, 2, 9, 8), (2, 2, 7, 7), stride=(2, 2), padding=((3, 3), (3, 3))),  # its padding
    geometry(
        (1, 4, 13, 9), (4, 2, 3, 2), groups=2, dilation=(6, 2), padding=((6, 5), (0, 3))
    ),  # wide dilation, groups, sides differ
    geometry((1, 65, 3, 3), (65, 1, 2, 2), groups=65),  # depthwise, channels around a block
    geometry((1, 34, 2, 3), (17, 2, 1, 2), groups=17),  # many groups
    geometry((17, 2, 3, 4), (3, 2, 2, 3)),  # images around a block
)
"""Shapes that broke real libraries."""


def is_exact_at_any_size(trial: Trial, problem: Problem) -> None:
    """On integers the result is exact for the shapes, too, that broke real libraries."""
    if trial.declared.slow and prod(problem.result_shape[:2]) > 60_000:
        return  # the simulated device takes half a minute for so many planes and has nothing new to show
    is_exact_on_integers(trial, problem)


def _same_padding(call: tuple[strategies.Shapes, dict[str, Any]]) -> tuple[strategies.Shapes, dict[str, Any]]:
    """Return the call with its padding asked for by name."""
    return call[0], {**call[1], "padding": "same"}


SAME = (
    geometry((1, 2, 8, 6), (3, 2, 3, 4), stride=(2, 2), padding=((0, 1), (1, 1))),  # even sizes, strides
    geometry((1, 2, 7, 9), (2, 2, 2, 5), stride=(1, 3), padding=((0, 1), (1, 1))),
    geometry((1, 2, 7, 8), (2, 2, 3, 2), stride=(1, 2), dilation=(2, 3), padding=((2, 2), (1, 1))),  # dilated
    geometry((1, 2, 8, 7), (2, 2, 1, 2), stride=(4, 3), padding=((0, 0), (0, 1))),  # stride > kernel
)
"""Geometries whose padding is that of ``"same"``."""

BIG = (
    geometry((2, 4, 41, 43), (2, 4, 3, 3)),  # more than 2¹⁶ positions times taps
    geometry((1, 1, 257, 256), (1, 1, 1, 1)),  # more than 2¹⁶ positions
    geometry((1024, 65, 1), (65, 1, 1), groups=65),  # more than 2¹⁶ planes
)
"""Sizes at which narrow offsets wrap and grids end."""


def breaking_shapes(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield the shapes that broke real libraries, on exact integers."""
    for slides in (*BREAKING, *BIG):
        yield _integer_arrays(operation, dtype, arithmetic, slides.call(operation.name, bias=True), 1)
    if operation.name == "conv_backward_bias":
        yield _integer_arrays(operation, dtype, arithmetic, ({"dy": (1, 2, 363, 363)}, {}), 1)
    if "padding" in operation.parameters:
        for slides in SAME:
            call = _same_padding(slides.call(operation.name))
            if operation.name == "conv_transpose":
                call = call[0], {**call[1], "output_padding": 0}
            yield _integer_arrays(operation, dtype, arithmetic, call, 1)


def channel_slices(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield every array, and the output, in each layout with the channels innermost."""
    whole = geometry((2, 3, 5, 6), (4, 3, 3, 2), padding=((1, 1), (0, 1)))
    lines = geometry((2, 3, 7), (4, 3, 3), padding=((1, 0),))
    solids = geometry((2, 3, 3, 4, 2), (4, 3, 2, 3, 1), padding=((0, 1), (1, 1), (0, 0)))
    for slides in (whole, lines, solids):
        call = slides.call(operation.name, residual=True)
        yield from in_channels_last(_integer_arrays(operation, dtype, arithmetic, call, 1))
    problem = _integer_arrays(operation, dtype, arithmetic, whole.call(operation.name), 1)
    for name, array in problem.arrays.items():
        if len(array.shape) == 4:
            for layout in CHANNELS_LAST[1:]:
                yield problem.with_arrays(**{name: replace(array, layout=layout)})


LONG = (
    geometry((1, 4200, 1, 2), (2, 4200, 1, 1)),  # channels
    geometry((1, 70_001, 1, 1), (2, 70_001, 1, 1)),
    geometry((1, 3, 2, 1), (4200, 3, 1, 1)),  # kernels
    geometry((1, 2, 1, 1), (70_001, 2, 1, 1)),
    geometry((1, 1, 66, 67), (2, 1, 64, 65)),  # taps
    geometry((1, 1, 103, 102), (2, 1, 100, 101)),
    geometry((1, 2, 67, 68), (2, 2, 3, 3)),  # positions, of a map and of a batch
    geometry((2, 1, 331, 305), (2, 1, 2, 1), padding=((1, 1), (0, 2))),
    geometry((70_001, 2, 1, 1), (3, 2, 1, 1)),
)
"""Convolutions with long sums in one or the other of their directions."""


def sparse_reductions(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield long sums that no order rounds, over channels, kernels, taps, positions and examples."""
    for i, slides in enumerate(LONG):
        shapes, parameters = slides.call(operation.name)
        terms = operation.reduction(shapes, parameters) or 1
        if terms < 4000:
            continue  # the long sum is in another direction
        if operation.name == "conv_fused":
            parameters = {**parameters, "activation": ("none", "relu")[i % 2]}
        problem = Problem(operation.name, dtype, {n: Array(s) for n, s in shapes.items()}, parameters)
        factors = [name for name in shapes if name not in ADDENDS]
        if terms < 5000:  # every thirteenth leaves enough bits
            yield sparse(problem, arithmetic, factors[i % len(factors)], 13, i)
            continue
        for name, every in product(factors, (13, terms + 1)):
            yield sparse(problem, arithmetic, name, every, i)


def sums_all_terms(trial: Trial, problem: Problem) -> None:
    """A sum over many channels, taps or positions has all its terms, each once, with all its bits."""
    terms = problem.record.reduction(problem.shapes, problem.parameters) or 1
    much = SLOW // 16 if _transforms(trial, problem) else SLOW
    if trial.declared.slow and max(problem.elements, terms * prod(problem.result_shape) // 16) > much:
        return  # the simulated device takes seconds for it
    is_exact_on_integers(trial, trial.widened(problem) if is_sparse(problem) else problem)


@st.composite
def channels_last(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw arrays with the channels innermost, whole or a slice of more channels."""
    call = draw(conv_calls(operation, ndim=2, budget=1 << 14))
    problem = _integer_arrays(operation, dtype, arithmetic, call, draw(strategies.seeds))
    arrays = {}
    for name, array in problem.arrays.items():
        if len(array.shape) == 4 and draw(st.booleans()):
            array = replace(array, layout=draw(st.sampled_from(CHANNELS_LAST)))
        arrays[name] = array
    return problem.with_arrays(**arrays)


def reads_channels_last(trial: Trial, problem: Problem) -> None:
    """Where the channels lie in memory changes nothing."""
    is_exact_on_integers(trial, problem)


def _plain(
    operation: Operation, dtype: str, arithmetic: Arithmetic, **settings: Any
) -> SearchStrategy[Problem]:
    """Draw a convolution of integers, without bias."""
    return st.builds(
        lambda slides, seed: _integer_arrays(operation, dtype, arithmetic, slides.call(operation.name), seed),
        convolutions(budget=1 << 14, **settings),
        strategies.seeds,
    )


def ungrouped(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw convolutions without groups."""
    return _plain(operation, dtype, arithmetic, groups=1)


def any_convolution(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw convolutions with any parameters."""
    return _plain(operation, dtype, arithmetic)


def translates_with_its_input(trial: Trial, problem: Problem) -> None:
    """Moving the input by a stride moves the output by one, where the window stays inside."""
    stride = problem.parameters["stride"]
    padding = tuple((0, 0) for _ in stride)
    inside = problem.with_parameters(padding=padding)
    x = inside.arguments()["x"]
    moved = np.zeros_like(x)
    moved[:, :, stride[0] :] = x[:, :, : x.shape[2] - stride[0]] if x.shape[2] > stride[0] else 0
    if 0 in inside.result_shape or inside.result_shape[2] < 2:
        return
    here = trial.ask(inside).values
    there = trial.ask(inside, values={"x": moved}).values
    _same(trial, inside, there[:, :, 1:], here[:, :, :-1], "y(x moved by a stride) = y moved by one")


def _transforms(trial: Trial, problem: Problem) -> bool:
    """Whether the declared algorithm transforms the arrays of this call, and so rounds even integers."""
    applied = problem.record.applied(problem.shapes, problem.parameters, trial.arithmetic(problem))
    return applied.algorithm != "direct"


def _same(trial: Trial, problem: Problem, left: Any, right: Any, relation: str) -> None:
    """Hold two results of exact sums to equality, or within their bounds where the algorithm transforms."""
    slack = np.zeros_like(right)
    if not trial.sums_exactly(problem):
        want = problem.want()
        slack = slack + 2 * float(np.max(problem.bound(want, trial.arithmetic(problem)).value, initial=0.0))
    trial.expect_related(problem, left, right, slack, relation)


SPLIT = {
    "conv": ("x", "w"),
    "conv_transpose": ("x", "w"),
    "conv_backward_input": ("dy", "w"),
    "conv_backward_weight": ("dy", "x"),
}
"""The two arrays of an operation: the first has its groups along axis 1, weights have them along axis 0."""


def _expect_no_addends(problem: Problem) -> None:
    """Leave a claim about products alone where the domain has none without an addend."""
    if any(name in problem.arrays for name in ADDENDS):
        raise Outside


def groups_are_blocks(trial: Trial, problem: Problem) -> None:
    """A convolution in groups is the convolutions of the groups side by side, and so are its gradients."""
    _expect_no_addends(problem)
    g = problem.parameters["groups"]
    arguments = problem.arguments()
    pieces = {
        name: np.split(arguments[name], g, axis=0 if name == "w" else 1) for name in SPLIT[problem.operation]
    }
    results = []
    for i in range(g):
        values = {name: blocks[i] for name, blocks in pieces.items()}
        one = replace(problem, arrays={name: Array(value.shape) for name, value in values.items()}, out=None)
        chosen: dict[str, Any] = {"groups": 1}
        if "input_shape" in problem.parameters:
            n, c, *extent = problem.parameters["input_shape"]
            chosen["input_shape"] = (n, c // g, *extent)
        if "kernel_shape" in problem.parameters:
            k, *rest = problem.parameters["kernel_shape"]
            chosen["kernel_shape"] = (k // g, *rest)
        results.append(trial.ask(one.with_parameters(**chosen), values=values).values)
    joined = np.concatenate(results, axis=0 if problem.operation == "conv_backward_weight" else 1)
    _same(trial, problem, trial.ask(problem).values, joined, "groups = convolutions side by side")


def permutes_with_its_channels(trial: Trial, problem: Problem) -> None:
    """Permuting the batch and the kernels permutes the result, or only the order of its sums."""
    _expect_no_addends(problem)
    if problem.record.complete(problem.parameters)["groups"] != 1:
        raise Outside
    arguments = problem.arguments()
    random = np.random.default_rng(1)
    first, second = SPLIT[problem.operation]
    n = random.permutation(arguments[first].shape[0])
    kernels = arguments["w"].shape[0] if "w" in arguments else arguments["dy"].shape[1]
    k = random.permutation(kernels)
    forward = problem.operation == "conv"
    permuted = {first: arguments[first][n] if forward else arguments[first][n][:, k]}
    permuted[second] = arguments[second][k] if second == "w" else arguments[second][n]
    got = trial.ask(problem, values=permuted).values
    plain = trial.ask(problem).values
    if problem.operation == "conv_backward_weight":
        plain = plain[k]
    else:
        plain = plain[n][:, k] if forward else plain[n]
    _same(trial, problem, got, plain, "permuted batch and kernels")


def pointwise(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw 1×1 convolutions."""
    one = Windows((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
    return _plain(operation, dtype, arithmetic, ndim=2, fixed=one, groups=1)


def is_a_matrix_product(trial: Trial, problem: Problem) -> None:
    """A 1×1 convolution is the product of the weights and the matrix of pixels."""
    arguments = problem.arguments()
    x, w = arguments["x"], arguments["w"][:, :, 0, 0]
    want = np.einsum("kc,nchw->nkhw", w, x)
    want = accuracy.round_to(want, FORMATS[problem.dtype]).astype(np.float64)
    _same(trial, problem, trial.ask(problem).values, want, "1×1 convolution = product of matrices")


@st.composite
def identities(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw kernels with a single 1 in the middle, a channel each."""
    ndim = draw(st.sampled_from((2, 1, 3)))
    size = draw(st.sampled_from((3, 1, 5)))
    c = draw(st.sampled_from((1, 3, 8)))
    extent = tuple(draw(st.sampled_from((5, 4, 7, 16))) for _ in range(ndim))
    middle = size**ndim // 2
    planted = tuple((i * size**ndim + middle, 1.0) for i in range(c))
    # What is declared may round anything but small integers.
    values: Distribution = "normal" if arithmetic == Arithmetic() else "integers"
    arrays = {
        "x": Array((2, c, *extent), values, limit=99, seed=draw(strategies.seeds)),
        "w": Array((c, 1, *(size,) * ndim), "zeros", planted=planted),
    }
    return Problem("conv", dtype, arrays, {"padding": size // 2, "groups": c})


def keeps_its_input(trial: Trial, problem: Problem) -> None:
    """The kernel with a single 1 in its middle gives the input back."""
    _same(trial, problem, trial.ask(problem).values, problem.arguments()["x"], "identity kernel")


def is_linear(trial: Trial, problem: Problem) -> None:
    """The result for a sum of inputs is the sum of their results."""
    _expect_no_addends(problem)
    name = next(iter(problem.arrays))
    first = problem.with_arrays(
        **{name: replace(problem.arrays[name], limit=max(problem.arrays[name].limit // 4 | 1, 1))}
    )
    second = first.with_arrays(**{name: replace(first.arrays[name], seed=first.arrays[name].seed + 9)})
    left, right = trial.ask(first).values, trial.ask(second).values
    total = first.arguments()[name] + second.arguments()[name]
    both = trial.ask(first, values={name: total}).values
    u = FORMATS[problem.dtype].unit_roundoff if problem.dtype != "float32" else 0.0
    slack = u * (np.abs(left) + np.abs(right) + np.abs(both))
    if _transforms(trial, problem):
        want = first.want()
        slack = slack + 4 * problem.bound(want, trial.arithmetic(problem)).value
    trial.expect_related(problem, both, left + right, slack, "f(x + x′) = f(x) + f(x′)")


def is_the_adjoint(trial: Trial, problem: Problem) -> None:
    """⟨conv(x, w), dy⟩ = ⟨x, gradient for x⟩ = ⟨w, gradient for w⟩, the forward side computed exactly."""
    _expect_no_addends(problem)
    arguments = problem.arguments()
    random = np.random.default_rng(5)
    partner = random.integers(-2, 3, problem.result_shape).astype(np.float64)
    dy = arguments["x" if problem.operation == "conv_transpose" else "dy"]
    if problem.operation == "conv_backward_bias":
        forward = np.broadcast_to(partner.reshape(1, -1, *(1,) * (dy.ndim - 2)), dy.shape)
    else:
        x, w = (partner, arguments["w"]) if "w" in arguments else (arguments["x"], partner)
        shared = {key: problem.parameters[key] for key in ("stride", "padding", "dilation", "groups")}
        forward = reference.conv(x, w, **shared)
    expect_adjoint(trial, problem, partner, forward, dy)


@st.composite
def zero_mean(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw zero-mean data with a thousand results or more."""
    slides = geometry((2, 16, 12, 12), (16, 16, 3, 3), padding=((1, 1), (1, 1)))
    shapes, parameters = slides.call(operation.name)
    if operation.name == "conv_backward_bias":
        shapes = {"dy": (2, 1100, 5, 5)}
    arrays = {name: Array(shape, "normal", seed=draw(strategies.seeds)) for name, shape in shapes.items()}
    return Problem(operation.name, dtype, arrays, parameters)


def one_sign(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield data of one sign for an accumulator that claims to round: there truncation adds up."""
    if arithmetic.accumulator == "float32" and arithmetic.multiplier is None:
        shapes, parameters = geometry((2, 16, 12, 12), (16, 16, 3, 3)).call(operation.name)
        if operation.name == "conv_backward_bias":
            shapes = {"dy": (2, 1100, 5, 5)}
        arrays = {name: Array(shape, "uniform", seed=i) for i, (name, shape) in enumerate(shapes.items())}
        yield Problem(operation.name, dtype, arrays, parameters)


@st.composite
def photographs(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw the edge detector on a part of a photograph, or a layer of learned kernels on digits."""
    if draw(st.booleans()):
        return _layer(operation.name, dtype, draw(st.booleans()), draw(st.sampled_from((1, 5, 3))))
    return _edges(operation.name, dtype, draw(st.sampled_from((40, 3, 17))), draw(st.sampled_from((1, 2))))


def _edges(name: str, dtype: str, rows: int, stride: int) -> Problem:
    """Return Laplace's edge detector on rows of a photograph."""
    planted = tuple(enumerate((-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0)))
    arrays = {"x": Array((1, 1, rows, 64), "photograph"), "w": Array((1, 1, 3, 3), "zeros", planted=planted)}
    return Problem(name, dtype, arrays, {"stride": stride, "padding": 1})


def _layer(name: str, dtype: str, deep: bool, count: int) -> Problem:
    """Return a convolution of the small network, of images of digits or of the maps of its first layer."""
    if deep:
        arrays = {
            "x": Array((count, 8, 4, 4), "pooled digit maps"),
            "w": Array((16, 8, 3, 3), "deep kernels"),
            "bias": Array((16,), "deep kernel bias"),
        }
    else:
        arrays = {
            "x": Array((count, 1, 8, 8), "digits"),
            "w": Array((8, 1, 3, 3), "digit kernels"),
            "bias": Array((8,), "digit kernel bias"),
        }
    return Problem(name, dtype, arrays, {"padding": 1})


def real_images(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield the edge detector on the whole part of the photograph, and both layers on some digits."""
    yield _edges(operation.name, dtype, 64, 1)
    yield _layer(operation.name, dtype, False, 10)
    yield _layer(operation.name, dtype, True, 10)


def convolves_real_images(trial: Trial, problem: Problem) -> None:
    """On a photograph under the edge detector and digits under learned kernels results are within bounds."""
    trial.expect_right(problem)


CONVOLUTION = by_role(
    *SLIDING,
    Check("real_data", photographs, convolves_real_images, 0.2, real_images, within="rigid"),
    Check("exact", integers, is_exact_on_integers, 1.5),
    Check("combinations", integers, is_exact_when_combined, 0.2, further=rows(exact_data)),
    Check("shapes", integers, is_exact_at_any_size, 0.5, breaking_shapes),
    Check("long_sum", integers, sums_all_terms, 0.2, sparse_reductions),
    Check("statistics", zero_mean, rounds_without_bias, 0.2, one_sign),
    Check("channels_last", channels_last, reads_channels_last, 0.7, channel_slices, "robust"),
    Check("translation", ungrouped, translates_with_its_input, 0.5),
    Check("groups", any_convolution, groups_are_blocks, 0.5),
    Check("permutation", ungrouped, permutes_with_its_channels, 0.5),
    Check("pointwise", pointwise, is_a_matrix_product, 0.5, within="rigid"),
    Check("identity", identities, keeps_its_input, 0.4, within="rigid"),
    Check("linearity", any_convolution, is_linear, 0.4),
    Check("adjointness", any_convolution, is_the_adjoint, 0.5),
)
