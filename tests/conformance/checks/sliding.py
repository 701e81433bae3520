"""What convolution and pooling share: the generic checks, on problems in which windows slide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance.checks.check import Check
from gaugeblock.conformance.checks.generic import (
    answers_inside_its_domain,
    combines_what_it_can_do,
    gives_the_result_of_its_definition,
    handles_empty_and_single,
    is_accurate,
    leaves_its_inputs_unchanged,
    reads_any_strides,
    refuses_outside_of_its_domain,
    repeats_itself,
    reseeded,
    rows,
    treats_special_values_as_stated,
    unaffected,
    writes_its_output_and_nothing_else,
)
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.geometry import (
    Convolution,
    Windows,
    conv_calls,
    on_the_same_shapes,
    pool_call,
    pool_calls,
    respelled,
)
from gaugeblock.conformance.problems.problem import Array, Layout, Problem
from gaugeblock.conformance.trial import Trial
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation

Call = tuple[strategies.Shapes, dict[str, Any]]


def channels_innermost(ndim: int) -> tuple[Layout, ...]:
    """Return layouts of some axes with the channels innermost."""
    order, ones = (0, *range(2, ndim), 1), (1,) * (ndim - 2)
    return (
        Layout(order),
        Layout(order, (1, *ones, 2)),  # the first half of the channels of an array twice as wide
        Layout(order, (1, 2, *ones)),  # every other channel
    )


CHANNELS_LAST = channels_innermost(4)
"""Layouts of four axes with the channels innermost."""


def in_channels_last(problem: Problem) -> Iterator[Problem]:
    """Yield a call with each array, the output or all of them with the channels innermost."""
    ndims = {name: len(array.shape) for name, array in problem.arrays.items()}
    ndim = max(ndims.values())
    whole = channels_innermost(ndim)[0]
    last = {
        name: replace(array, layout=whole) for name, array in problem.arrays.items() if ndims[name] == ndim
    }
    for name, array in last.items():
        yield problem.with_arrays(**{name: array})
    if len(problem.result_shape) == ndim:
        yield replace(problem, out=whole)
        yield replace(problem.with_arrays(**last), out=whole)


SPECIAL = (float("nan"), float("-nan"), float("inf"), float("-inf"), -0.0, 0.0)


def geometry(x: tuple[int, ...], w: tuple[int, ...], groups: int = 1, **slides: Any) -> Convolution:
    """Return a convolution of given shapes."""
    ndim = len(x) - 2
    windows = Windows(
        w[2:],
        slides.get("stride", (1,) * ndim),
        slides.get("padding", ((0, 0),) * ndim),
        slides.get("dilation", (1,) * ndim),
    )
    return Convolution(x, w, (x[0], w[0], *windows.output(x[2:])), windows, groups)


def calls(operation: Operation, **settings: Any) -> SearchStrategy[Call]:
    """Draw a call of an operation of convolution or pooling."""
    if operation.kind == "convolution":
        return conv_calls(operation, **settings)
    return pool_calls(operation)


def everyday(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw everyday problems: normal data, any windows."""
    return strategies.problems(
        operation, dtype, data=strategies.fixed_data("normal"), shapes=calls(operation, budget=1 << 15)
    )


def wide(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems whose data has any magnitude."""
    spread = 4.0 if dtype == "float16" else 30.0

    def data(name: str, shape: tuple[int, ...]) -> SearchStrategy[Array]:
        kinds = st.sampled_from((("normal", 1.0), ("uniform", 1.0), ("wide", spread), ("normal", 2.0**-10)))
        return st.builds(
            lambda kind, seed: Array(shape, kind[0], scale=kind[1], seed=seed), kinds, strategies.seeds
        )

    return strategies.problems(operation, dtype, data=data, shapes=calls(operation, budget=1 << 14))


@st.composite
def special(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems with NaN, ±Inf, ±0 and the smallest number planted anywhere."""
    problem = draw(
        strategies.problems(
            operation, dtype, data=strategies.fixed_data("normal"), shapes=calls(operation, budget=1 << 12)
        )
    )
    values = st.sampled_from((*SPECIAL, FORMATS[dtype].smallest_subnormal))
    arrays = {}
    for name, array in problem.arrays.items():
        places = st.tuples(st.integers(0, max(array.size - 1, 0)), values)
        arrays[name] = replace(array, planted=tuple(draw(st.lists(places, max_size=4))))
    return problem.with_arrays(**arrays)


def _normal(call: Call, operation: Operation, dtype: str) -> Problem:
    shapes, parameters = call
    arrays = {name: Array(shape, "normal", seed=i) for i, (name, shape) in enumerate(shapes.items())}
    return Problem(operation.name, dtype, arrays, parameters)


def _planted(call: Call, operation: Operation, dtype: str, name: str, planted: Any) -> Problem:
    problem = _normal(call, operation, dtype)
    return problem.with_arrays(**{name: replace(problem.arrays[name], planted=planted)})


def special_windows(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a special value at each tap of a window, windows of −Inf alone, weights over the edge."""
    if operation.kind == "convolution":
        call = geometry((1, 1, 4, 5), (1, 1, 3, 3), padding=((1, 1), (2, 0))).call(operation.name)
        for name in call[0]:
            for value in SPECIAL[:4]:
                yield from (_planted(call, operation, dtype, name, ((i, value),)) for i in (0, 2, 4))
        return
    slides = Windows((3, 3), (3, 3), ((0, 0), (0, 0)), (1, 1))
    for value in SPECIAL[:4]:
        # Nine windows side by side, the value at another tap in each.
        places = tuple((3 * (i // 3) * 9 + (i // 3) * 9 + 3 * (i % 3) + i % 3, value) for i in range(9))
        call = pool_call(operation.name, (1, 1, 9, 9), slides)
        if "x" in call[0]:
            yield _planted(call, operation, dtype, "x", places)
            yield _planted(call, operation, dtype, "x", tuple((i, value) for i in range(81)))
    whole = pool_call(operation.name, (1, 1, 12, 13), Windows((12, 13), (1, 1), ((0, 0), (0, 0)), (1, 1)))
    if "x" in whole[0]:
        # A window that is reduced in parts, with a value in one of them.
        for value in SPECIAL[:4]:
            yield from (_planted(whole, operation, dtype, "x", ((i, value),)) for i in (40, 155))


def spellings(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield calls whose spatial parameters are written as numbers, one per axis, or left out; and a NaN."""
    defaults = {name: parameter.default for name, parameter in operation.parameters.items()}
    for call in _to_be_respelled(operation):
        for parameters in respelled(call[1], defaults):
            yield _normal((call[0], parameters), operation, dtype)
    if operation.kind == "pooling" and "x" in operation.arrays:  # NaN is carried, whoever takes maxima
        call = pool_call(operation.name, (1, 2, 4, 6), Windows((2, 3), (2, 3), ((0, 0), (0, 0)), (1, 1)))
        yield _planted(call, operation, dtype, "x", ((8, float("nan")),))


def _to_be_respelled(operation: Operation) -> Iterator[Call]:
    """Yield calls whose parameters can be written in several ways."""
    if operation.kind == "convolution":
        unequal: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 1), (2, 2)), "dilation": (1, 2)}
        equal: dict[str, Any] = {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": (2, 2)}
        yield geometry((1, 2, 6, 7), (3, 2, 3, 2), **unequal).call(operation.name)
        yield geometry((1, 2, 8, 10), (2, 2, 3, 3), **equal).call(operation.name)
        yield geometry((1, 2, 4, 5), (2, 2, 2, 3)).call(operation.name)
        return
    ones = (1, 1)
    yield pool_call(operation.name, (1, 2, 5, 7), Windows((2, 3), (2, 3), ((1, 1), (0, 0)), ones))
    yield pool_call(operation.name, (1, 2, 6, 7), Windows((2, 2), (2, 2), ((1, 1), (1, 1)), ones))
    dilation = ones if operation.name.startswith("avg") else (2, 2)
    yield pool_call(operation.name, (1, 2, 7, 8), Windows((2, 2), ones, ((1, 1), (1, 1)), dilation, True))


def empty(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems without batch, channels, kernels or positions."""
    if operation.kind == "convolution":
        drawn: list[Call] = [
            geometry(x, w).call(operation.name, bias=True)
            for x, w in (
                ((0, 2, 5, 5), (3, 2, 3, 3)),
                ((2, 2, 2, 3), (3, 2, 3, 3)),
                ((2, 0, 5, 5), (3, 0, 3, 3)),
                ((2, 2, 5, 5), (0, 2, 3, 3)),
                ((1, 1, 1), (1, 1, 1)),
                ((0, 3, 4), (2, 3, 3)),
            )
        ]
        drawn = [call for call in drawn if operation.name != "conv_transpose" or 0 not in call[0]["x"][2:]]
    else:
        one = Windows((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
        padded = Windows((2, 2), (2, 1), ((1, 1), (1, 1)), (1, 1))
        shapes = ((0, 2, 4, 4), (2, 0, 4, 4), (1, 2, 1, 5), (1, 1, 2, 2))
        drawn = [pool_call(operation.name, shape, one) for shape in shapes]
        drawn += [pool_call(operation.name, shape, padded) for shape in ((1, 2, 0, 3), (1, 1, 1, 1))]
    return strategies.problems(
        operation, dtype, data=strategies.fixed_data("normal"), shapes=st.sampled_from(drawn)
    )


def strided(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems whose arrays have any strides."""
    return strategies.problems(
        operation,
        dtype,
        data=strategies.fixed_data("normal"),
        shapes=calls(operation, budget=1 << 13),
        strided=True,
    )


@st.composite
def with_output(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems whose ``out`` has any strides: rows with a pitch, channels last, reversed."""
    problem = draw(everyday(operation, dtype, arithmetic))
    ndim = len(problem.result_shape)
    pitched = Layout(steps=(*(1,) * (ndim - 2), 2, 1)) if ndim > 1 else Layout(steps=(2,))
    anything = strategies.layouts(ndim, repeat=False)
    return replace(problem, out=draw(st.one_of(st.just(pitched), anything)))


def crowded(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a call in which many numbers add up to each result: whoever adds in a chance order shows it."""
    if operation.kind == "convolution":
        if operation.name in ("conv_backward_weight", "conv_backward_bias"):
            yield _normal(geometry((1, 2, 66, 65), (2, 2, 1, 1)).call(operation.name), operation, dtype)
        yield _normal(geometry((4, 9, 11, 10), (8, 9, 3, 3)).call(operation.name), operation, dtype)
        return
    x = (1, 16, 10, 12)
    call = pool_call(operation.name, x, Windows((7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1)))
    peaks = tuple((channel * 120 + 4 * 12 + 5, 9.0) for channel in range(16))
    yield _planted(call, operation, dtype, "x" if "x" in call[0] else "dy", peaks)


def relatives(problem: Problem) -> Iterator[Problem]:
    """Yield calls on the very same shapes, of which a cache may have forgotten how the windows slide."""
    yield reseeded(problem)
    if "divisor" in problem.record.parameters:
        yield problem.with_parameters(count_include_pad=not problem.parameters.get("count_include_pad", True))
        yield problem.with_parameters(divisor=5.0)
    if "activation" in problem.record.parameters:
        relu = problem.parameters.get("activation", "relu") == "relu"
        yield problem.with_parameters(activation="none" if relu else "relu")
    if not isinstance(problem.parameters.get("padding"), tuple):
        return
    shapes, parameters = problem.shapes, problem.parameters
    windows = parameters.get("kernel") or parameters.get("kernel_shape") or shapes["w"]
    kernel = windows[-len(parameters["stride"]) :]
    forward = shapes["x"] if problem.operation == "conv_transpose" else problem.result_shape
    positions = shapes.get("dy", forward)[2:]
    for chosen in on_the_same_shapes(parameters, kernel, positions):
        other = replace(problem, parameters=chosen)
        if problem.record.shape(shapes, chosen) == problem.result_shape:
            yield other


def expect_adjoint(trial: Trial, problem: Problem, partner: Any, forward: Any, dy: Any) -> None:
    """Hold ⟨f(x), dy⟩ = ⟨x, gradient of dy⟩ for an exactly computed f(x)."""
    got = trial.ask(problem).values
    terms = partner * got
    left, right = np.atleast_1d(np.sum(forward * dy)), np.atleast_1d(np.sum(terms))
    bound = np.broadcast_to(problem.bound(problem.want(), trial.arithmetic(problem)).value, got.shape)
    rounding = 2.0**-45 * (np.sum(np.abs(terms)) + np.sum(np.abs(forward * dy)))
    slack = np.atleast_1d(np.sum(np.abs(partner) * bound) + rounding)
    trial.expect_related(problem, left, right, slack, "⟨f(x), dy⟩ = ⟨x, dx⟩")


SLIDING = (
    Check("history", everyday, unaffected(relatives), 0.4),
    Check("semantics", everyday, gives_the_result_of_its_definition, 1.0, spellings),
    Check("accuracy", wide, is_accurate),
    Check("special_values", special, treats_special_values_as_stated, 1.0, special_windows, "robust"),
    Check("empty", empty, handles_empty_and_single, 0.7, level="robust"),
    Check("combinations", everyday, combines_what_it_can_do, 0.2, further=rows()),
    Check("layouts", strided, reads_any_strides, 0.8, level="robust", further=rows(out=False)),
    Check(
        "output", with_output, writes_its_output_and_nothing_else, 0.6, level="robust", further=rows(out=True)
    ),
    Check("inputs_unchanged", everyday, leaves_its_inputs_unchanged, 0.3, level="robust"),
    Check("determinism", everyday, repeats_itself, 0.3, crowded, "reproducible"),
    Check("answers", everyday, answers_inside_its_domain, 0.5, spellings),
    Check("refuses", everyday, refuses_outside_of_its_domain, 0.7, spellings, "strict", "anywhere"),
)
