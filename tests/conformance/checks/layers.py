"""The check on layers of well-known networks: each at its own size, forward and backward.

Sums of products are put on integers, where every bit must agree; the large ones are judged by samples and by
projections (:mod:`gaugeblock.conformance.oracle`). Everything else is held to its bound, elements and rows
that are independent of each other once for all equal ones, or for some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from gaugeblock.conformance import oracle
from gaugeblock.conformance.backend.subject import Answer
from gaugeblock.conformance.checks.check import Check, Reach
from gaugeblock.conformance.checks.recurrence import everyday_scale
from gaugeblock.conformance.problems import layers
from gaugeblock.conformance.problems.layers import EXTENTS, SMALL, TRUE, LayerCall
from gaugeblock.conformance.problems.problem import Array, Floats, Layout, Problem
from gaugeblock.conformance.problems.shapes import Given
from gaugeblock.conformance.trial import Trial, Violation
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import OPERATIONS, Operation

ADDENDS = ("c", "bias", "residual")

WHOLE = 1 << 25
"""Work up to which the whole result is computed, not only samples and projections."""

ROWS = 1 << 16
"""Elements of the rows that are looked at, where there are more."""


# Data ------------------------------------------------------------------------------------------------------


def problem_of(call: LayerCall, dtype: str, arithmetic: Arithmetic, seed: int = 1) -> Problem:
    """Return a layer's call with data: integers that no order of summation rounds where it is a sum."""
    record, parameters = OPERATIONS[call.operation], dict(call.parameters)
    if "activation" in record.parameters:
        parameters.setdefault("activation", "relu")
    if "c" in call.shapes and "beta" in record.parameters:
        parameters.setdefault("beta", 1.0)
    data = _integers if record.kind in ("contraction", "convolution") else _everyday
    arrays = {
        name: replace(array, layout=Layout(call.orders.get(name)))
        for name, array in data(call, record, dtype, arithmetic, seed).items()
    }
    out = Layout(call.orders["out"]) if "out" in call.orders else None
    return Problem(call.operation, dtype, arrays, parameters, out=out)


def _limit(terms: int, dtype: str, arithmetic: Arithmetic) -> int:
    """Return the largest odd integer of which so many have an exact sum, and most likely a finite one."""
    exact = accuracy.exact_integer_limit(terms + 2, dtype, arithmetic)
    finite = int(FORMATS[dtype].largest / (6 * sqrt(terms + 2)))  # six standard deviations, and more
    limit = min(exact, finite)
    return max(limit - 1 + limit % 2, 1)


def _integers(
    call: LayerCall, record: Operation, dtype: str, arithmetic: Arithmetic, seed: int
) -> dict[str, Array]:
    terms = record.reduction(call.shapes, call.parameters) or 1
    limit = _limit(terms, dtype, arithmetic)
    factors = [name for name in call.shapes if name not in ADDENDS]
    return {
        name: Array(
            shape,
            "integers" if name in ADDENDS else "odd" if name == factors[0] else "signs",
            limit=limit,
            seed=seed + i,
        )
        for i, (name, shape) in enumerate(call.shapes.items())
    }


def _everyday(
    call: LayerCall, record: Operation, dtype: str, arithmetic: Arithmetic, seed: int
) -> dict[str, Array]:
    arrays = {}
    for i, (name, shape) in enumerate(call.shapes.items()):
        if record.kind == "elementwise":  # few different elements: each is computed once
            arrays[name] = Array(shape, "integers", limit=2 if name == "dy" else 12, seed=seed + i)
        elif record.kind == "recurrence":
            arrays[name] = Array(shape, "normal", scale=everyday_scale(name, shape), seed=seed + i)
        else:
            arrays[name] = Array(shape, "normal", seed=seed + i)
    return arrays


# Which -----------------------------------------------------------------------------------------------------


def of_their_size(
    operation: Operation, dtype: str, arithmetic: Arithmetic, reach: Reach
) -> Iterator[Problem]:
    """Yield the layers as large as the device can do them in time: see `sizes`."""
    for call in sizes(operation.name, dtype, reach):
        yield problem_of(call, dtype, arithmetic)


def sizes(operation: str, dtype: str, reach: Reach) -> Iterable[LayerCall]:
    """Return the layers at the sizes that a run tries in a format.

    A slow device gets those reduced ones that stand for all. Others get all layers: in float32, and with the
    deep profile in every format, as they are; else with all their channels and few positions, and LSTM units,
    all of whose work is in their channels, small.
    """
    if reach.slow or reach.profile == "quick":
        return layers.covering_calls(operation)
    if dtype == "float32" or reach.profile == "deep":
        return layers.calls_of(operation, TRUE)
    return layers.calls_of(operation, SMALL if OPERATIONS[operation].kind == "recurrence" else EXTENTS)


def listed(
    given: Iterable[Given], operation: Operation, dtype: str, arithmetic: Arithmetic
) -> Iterator[Problem]:
    """Yield the problems that a user lists as if they were layers; small sums on everyday data too."""
    for each in given:
        if each.call.operation != operation.name or dtype not in each.dtypes:
            continue
        problem = problem_of(each.call, dtype, arithmetic)
        yield problem
        if operation.kind in ("contraction", "convolution") and each.call.work <= WHOLE:
            yield problem.with_arrays(
                **{name: replace(array, values="normal") for name, array in problem.arrays.items()}
            )


def small(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw a small form of a layer."""
    known = layers.calls_of(operation.name, SMALL)
    few = [call for call in known if call.work <= 1 << 18] or known[:1]
    return st.builds(
        lambda call, seed: problem_of(call, dtype, arithmetic, seed), st.sampled_from(few), st.integers(0, 99)
    )


# Judging ---------------------------------------------------------------------------------------------------


def gives_the_layers_of_networks(trial: Trial, problem: Problem) -> None:
    """A layer of a well-known network gives the right result, forward and backward, at its own size."""
    match problem.record.kind:
        case "contraction" | "convolution" if is_exact(problem, trial.arithmetic(problem)):
            expect_exact(trial, problem)
        case "elementwise" if problem.elements > 1 << 12:
            _expect_elements(trial, problem)
        case "rowwise" if problem.elements > ROWS:
            _expect_rows(trial, problem)
        case _:
            trial.expect_right(problem)


def is_exact(problem: Problem, arithmetic: Arithmetic) -> bool:
    """Whether the data are integers whose sum no order rounds, and the declared algorithm adds them up."""
    record = problem.record
    applied = record.applied(problem.shapes, problem.parameters, arithmetic)
    known = {"odd", "signs", "integers"}
    if applied.algorithm != "direct" or not {a.values for a in problem.arrays.values()} <= known:
        return False
    factors = (problem.parameters.get(name, 1.0) for name in ("alpha", "beta"))
    if not {*factors} <= {0.0, 1.0} or problem.parameters.get("activation", "none") not in ("none", "relu"):
        return False
    terms = record.reduction(problem.shapes, problem.parameters) or 1
    largest = max(array.limit for array in problem.arrays.values())
    return largest <= accuracy.exact_integer_limit(terms + 2, problem.dtype, applied)


def expect_exact(trial: Trial, problem: Problem) -> None:
    """Hold a sum of integers to exactness: all of it, or samples and projections of a large one."""
    form = FORMATS[problem.dtype]
    answer = trial.ask(problem)
    call = LayerCall(problem.operation, problem.shapes, problem.parameters, {})
    if problem.operation == "conv_backward_bias" or call.work <= WHOLE:
        want = accuracy.round_to(problem.want(), form).astype(np.float64)
        trial.compare(problem, answer.values, want, accuracy.exact_bound(want))
        return
    terms = problem.record.reduction(problem.shapes, problem.parameters) or 1
    places = oracle.samples(problem.result_shape, terms, problem.elements)
    want = accuracy.round_to(oracle.exact_at(problem, places), form).astype(np.float64)
    trial.compare(problem, answer.values[places], want, accuracy.exact_bound(want), places)
    _expect_projection(problem, answer)


def _expect_projection(problem: Problem, answer: Answer) -> None:
    found = oracle.projections(problem, answer.values, problem.elements)
    if found is None:
        return
    got, want, slack = found
    with np.errstate(invalid="ignore"):
        wrong = np.isfinite(got) & ~(np.abs(got - want) <= slack)
    if np.any(np.isnan(answer.values)):  # infinities alone may be right
        wrong |= np.isnan(got)
    if np.any(wrong):
        where = np.unravel_index(int(np.argmax(wrong)), got.shape)
        raise Violation(
            problem,
            f"a sum with random signs over the channels of the result is {float(got[where])!r} at"
            f" {tuple(map(int, where))}, want {float(want[where])!r} (Freivalds' check;"
            f" {int(wrong.sum())} of {wrong.size} sums differ)",
            wrong=True,
        )


def _right(
    trial: Trial, problem: Problem, values: Mapping[str, Floats], **parameters: Any
) -> tuple[Floats, accuracy.Bound]:
    """Return the exact result for some of a call's elements, and its bound."""
    record, chosen = problem.record, {**problem.parameters, **parameters}
    want = np.asarray(record.reference(**values, **chosen), np.float64)
    return want, record.bound({**values, **chosen}, want, FORMATS[problem.dtype], trial.arithmetic(problem))


def _expect_elements(trial: Trial, problem: Problem) -> None:
    """Hold an element-wise function to its bound: equal arguments are computed once, and found everywhere."""
    answer, arguments = trial.ask(problem), problem.arguments()
    columns = np.stack([array.reshape(-1) for array in arguments.values()], axis=1)
    keys = columns @ 1024.0 ** np.arange(columns.shape[1])  # the elements are small integers
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    want, bound = _right(trial, problem, {n: a.reshape(-1)[first] for n, a in arguments.items()})
    everywhere = accuracy.Bound({n: np.broadcast_to(t, want.shape)[inverse] for n, t in bound.terms.items()})
    places = np.unravel_index(np.arange(inverse.size), answer.raw.shape)
    trial.compare(problem, answer.values.reshape(-1), want[inverse], everywhere, places)


def _expect_rows(trial: Trial, problem: Problem) -> None:
    """Hold some rows to their bound: the first, the last, and others."""
    answer, axis = trial.ask(problem), problem.parameters.get("axis", -1)

    def rows_of(array: NDArray[Any]) -> NDArray[Any]:
        moved = np.moveaxis(array, axis, -1)
        return moved.reshape(-1, moved.shape[-1])

    got = rows_of(answer.values)
    some = np.random.default_rng(got.size).integers(0, len(got), max(ROWS // got.shape[1], 2))
    chosen = np.unique([0, len(got) - 1, *some])
    rows = {name: rows_of(array)[chosen] for name, array in problem.arguments().items()}
    want, bound = _right(trial, problem, rows, axis=-1)
    indices = rows_of(np.arange(got.size).reshape(answer.raw.shape))[chosen]
    places = np.unravel_index(indices.reshape(-1), answer.raw.shape)
    trial.compare(problem, got[chosen], want, bound, places)


LAYERS = Check("layers", small, gives_the_layers_of_networks, 0.17, further=of_their_size)
