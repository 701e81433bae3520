"""Checks of LSTM units: gates, sizes, the state, and what ties the steps of a sequence to each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from math import log2
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock import reference
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import (
    answers_inside_its_domain,
    combines_what_it_can_do,
    gives_the_result_of_its_definition,
    handles_empty_and_single,
    is_accurate,
    leaves_its_inputs_unchanged,
    reads_any_strides,
    reads_any_strides_alike,
    refuses_outside_of_its_domain,
    repeats_itself,
    reseeded,
    rows,
    treats_special_values_as_stated,
    unaffected,
    writes_its_output_and_nothing_else,
)
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.factors import Call
from gaugeblock.conformance.problems.problem import Array, Floats, Problem
from gaugeblock.conformance.trial import Outside, Trial
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation

INFINITY = float("inf")
NOT_A_NUMBER = float("nan")
BATCHED = ("dy", "x", "h", "c")
"""Arrays that have an axis of examples."""

# Problems --------------------------------------------------------------------------------------------------


def everyday_scale(name: str, shape: tuple[int, ...]) -> float:
    """Return a scale that keeps weighted data near 1, however many there are of them."""
    if name in ("w", "u"):
        return 2.0 ** -round(log2(max(shape[-1], 1)) / 2)
    return 0.5 if name == "h" else 1.0


def unit(
    operation: Operation,
    dtype: str,
    sizes: tuple[int, int, int, int],
    *,
    seed: int = 0,
    scales: Mapping[str, float] | None = None,
) -> Problem:
    """Return a call with sizes T, N, D and H on everyday data, the scales of some arrays being changed."""
    shapes = strategies.recurrence_shapes(operation, *sizes)
    arrays = {
        name: Array(
            shape, "normal", scale=(scales or {}).get(name, everyday_scale(name, shape)), seed=seed + i
        )
        for i, (name, shape) in enumerate(shapes.items())
    }
    return Problem(operation.name, dtype, arrays)


def everyday_row(operation: Operation, dtype: str, arithmetic: Arithmetic, call: Call, seed: int) -> Problem:
    """Return a call on everyday data."""
    arrays = {
        name: Array(shape, "normal", scale=everyday_scale(name, shape), seed=seed + i)
        for i, (name, shape) in enumerate(call[0].items())
    }
    return Problem(operation.name, dtype, arrays, call[1])


def sizes_of(problem: Problem) -> tuple[int, int, int, int]:
    """Return T, N, D and H of a call."""
    T, N, D = problem.shapes["x"]
    return T, N, D, problem.shapes["h"][1]


def _everyday_data(name: str, shape: tuple[int, ...]) -> SearchStrategy[Array]:
    return strategies.seeds.map(
        lambda seed: Array(shape, "normal", scale=everyday_scale(name, shape), seed=seed)
    )


def everyday(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw everyday problems: any sizes, weighted data near 1."""
    return strategies.problems(
        operation, dtype, data=_everyday_data, shapes=strategies.recurrences(operation)
    )


def small(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw everyday problems of few products."""
    return strategies.problems(
        operation, dtype, data=_everyday_data, shapes=strategies.recurrences(operation, 1 << 9)
    )


def all_forms(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield a step and a sequence with few examples, and with many."""
    for sizes in ((1, 2, 3, 4), (3, 2, 5, 4), (2, 18, 4, 8)):
        yield unit(operation, dtype, sizes)


@st.composite
def wide(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw gates half open, saturated or hardly moved, small and large cells, small and large gradients."""
    problem = draw(small(operation, dtype, arithmetic))
    scales = {
        name: draw(st.sampled_from(values))
        for name, values in {
            "x": (1.0, 2.0**-12, 8.0),
            "c": (1.0, 2.0**-12, 30.0, 1000.0),
            "bias": (1.0, 2.0**-12, 8.0, 30.0),
            "dy": (1.0, 2.0**-8, 100.0),
        }.items()
        if name in operation.arrays
    }
    return problem.with_arrays(
        **{name: replace(problem.arrays[name], scale=scale) for name, scale in scales.items()}
    )


def tiny_candidates(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield weighted data so small that only a tanh with all its digits will do, and huge ones."""
    small_scales = {"bias": 2.0**-10, "w": 2.0**-10, "u": 2.0**-10, "c": 2.0**-12}
    yield unit(operation, dtype, (2, 2, 3, 8), scales=small_scales)
    yield unit(operation, dtype, (1, 3, 2, 8), scales={"bias": 60.0, "c": 20.0})
    yield unit(operation, dtype, (1, 3, 2, 8), scales={"bias": 400.0})


# Special values --------------------------------------------------------------------------------------------


@st.composite
def special(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems with NaN, ±Inf, ±0, the smallest and the largest numbers planted anywhere."""
    problem = draw(small(operation, dtype, arithmetic))
    form = FORMATS[dtype]
    values = [NOT_A_NUMBER, INFINITY, -INFINITY, 0.0, -0.0, 100.0, -100.0]
    values += [form.smallest_subnormal, -form.smallest_normal, form.largest, -form.largest]
    arrays = {}
    for name, array in problem.arrays.items():
        place = st.tuples(st.integers(0, max(array.size - 1, 0)), st.sampled_from(values))
        arrays[name] = replace(array, planted=tuple(draw(st.lists(place, max_size=2))))
    return problem.with_arrays(**arrays)


def all_specials(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield NaN and ±Inf in each array, each in an example or a unit of its own, and infinite cells."""
    values = (NOT_A_NUMBER, INFINITY, -INFINITY)
    for name in operation.arrays:
        T, N, D, H = (2, 4, 2, 3) if name in BATCHED else (1, 2, 2, 4)
        problem = unit(operation, dtype, (T, N, D, H), seed=3)
        shape = problem.shapes[name]
        step = {"dy": H, "x": D, "h": H, "c": H, "w": D, "u": H, "bias": 1}[name]
        places = [n * step + n % step for n in range(3)]
        if name in ("w", "u", "bias"):  # each in another gate too
            places = [place + gate * (problem.arrays[name].size // 4) for gate, place in enumerate(places)]
        assert len(shape) >= 2
        planted = tuple(zip(places, values, strict=True))
        yield problem.with_arrays(**{name: replace(problem.arrays[name], planted=planted)})
    yield from _infinite_cells(operation, dtype)


GATES = (-INFINITY, -5.0, 0.0, 5.0, INFINITY)


def _infinite_cells(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield cells of 0, 1, ±Inf and NaN before gates shut, ajar and open: a unit for each pair of gates."""
    pairs = list(product(GATES, GATES))
    H = len(pairs)
    for moved in ((1, 3), (0, 2)):  # forget and output gate, input gate and candidate
        problem = unit(operation, dtype, (1, 5, 1, H), scales={"w": 0.0, "u": 0.0, "h": 0.0})
        bias = [0.5] * (4 * H)
        for j, pair in enumerate(pairs):
            for gate, value in zip(moved, pair, strict=True):
                bias[gate * H + j] = value
        cells = [c for c in (0.0, 1.0, INFINITY, -INFINITY, NOT_A_NUMBER) for _ in range(H)]
        yield problem.with_arrays(
            bias=replace(problem.arrays["bias"], planted=tuple(enumerate(bias))),
            c=replace(problem.arrays["c"], planted=tuple(enumerate(cells))),
        )


def empty(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems in which a size is 0, or all are 1."""
    drawn: list[tuple[strategies.Shapes, dict[str, Any]]] = [
        (strategies.recurrence_shapes(operation, *sizes), {})
        for sizes in ((2, 3, 0, 4), (0, 3, 2, 4), (2, 0, 3, 4), (2, 3, 4, 0), (1, 1, 1, 1), (0, 0, 0, 0))
    ]
    return strategies.problems(operation, dtype, data=_everyday_data, shapes=st.sampled_from(drawn))


# Memory ----------------------------------------------------------------------------------------------------


def strided(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems whose arrays have any strides."""
    return strategies.problems(
        operation,
        dtype,
        data=_everyday_data,
        shapes=strategies.recurrences(operation, 1 << 9),
        strided=True,
    )


@st.composite
def with_output(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems whose ``out`` has any strides."""
    problem = draw(small(operation, dtype, arithmetic))
    return replace(problem, out=draw(strategies.layouts(4, repeat=False)))


def relatives(problem: Problem) -> Iterator[Problem]:
    """Yield calls on other data, other recurrent weights alone, time and batch exchanged, a unit more."""
    T, N, D, H = sizes_of(problem)
    u = problem.arrays["u"]
    yield reseeded(problem)
    yield problem.with_arrays(u=replace(u, seed=u.seed + 1))
    yield unit(problem.record, problem.dtype, (N, T, D, H))
    yield unit(problem.record, problem.dtype, (T, N, D, H + 1))


# Gates, sizes, state ---------------------------------------------------------------------------------------


def gates_apart(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield units of which a single gate is moved: by its bias, by an input, by an output before."""
    # Nine units: none is moved, and each gate up and down.
    bias = [0.0] * 36
    for j in range(8):
        bias[j // 2 * 9 + j + 1] = 6.0 if j % 2 else -6.0
    none = {"w": 0.0, "u": 0.0}
    problem = unit(operation, dtype, (2, 2, 1, 9), scales=none)
    yield problem.with_arrays(bias=replace(problem.arrays["bias"], planted=tuple(enumerate(bias))))
    for name in ("w", "u"):  # four units, each with the weights of one gate
        problem = unit(operation, dtype, (2, 2, 3, 4), scales={**none, "bias": 0.25})
        array = replace(problem.arrays[name], scale=1.5)
        columns = array.shape[-1]
        zeros = tuple(
            ((gate * 4 + j) * columns + m, 0.0)
            for gate, j, m in product(range(4), range(4), range(columns))
            if gate != j
        )
        yield problem.with_arrays(**{name: replace(array, planted=zeros)})


@st.composite
def one_gate(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems with four different biases, one gate far from its middle."""
    problem = draw(small(operation, dtype, arithmetic))
    H = sizes_of(problem)[-1]
    gate, value = draw(st.integers(0, 3)), draw(st.sampled_from((-7.0, 7.0, 3.0)))
    planted = tuple((gate * H + j, value) for j in range(H))
    return problem.with_arrays(bias=replace(problem.arrays["bias"], planted=planted))


def keeps_its_gates_apart(trial: Trial, problem: Problem) -> None:
    """Each gate has its own weights, its own bias and its own place."""
    trial.expect_right(problem)


def all_sizes(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sizes that all differ, in several orders, and sizes around those of vectors, warps and tiles."""
    for sizes in ((5, 2, 3, 4), (2, 5, 4, 3), (3, 4, 2, 5)):
        yield unit(operation, dtype, sizes)
    for sizes in ((1, 1, 1, 129), (1, 17, 65, 33), (1, 33, 16, 32), (1, 3, 257, 2)):
        yield unit(operation, dtype, sizes, seed=5)
    for sizes in ((2, 1, 1, 65), (1, 1, 1, 128), (1, 1, 1, 257), (2, 65, 1, 1), (2, 2049, 1, 1)):
        yield unit(operation, dtype, sizes, seed=6)  # blocks and chunks of units, examples and weighted data


@st.composite
def odd_sizes(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw a single step with sizes beside powers of two."""
    N = draw(st.sampled_from((1, 7, 8, 9, 16, 17, 31, 64, 65)))
    D = draw(st.sampled_from((1, 7, 16, 31, 33)))
    H = draw(st.sampled_from((1, 7, 8, 12, 15, 31, 32, 63, 64, 65)))
    while N * H * (D + H) > 1 << 14:
        N, H = (N // 2, H) if N > 1 else (N, H // 2)
    return unit(operation, dtype, (1, N, D, H), seed=draw(strategies.seeds) // 8)


def handles_any_sizes(trial: Trial, problem: Problem) -> None:
    """Time is the first axis and the batch the second, whatever their lengths; no size is too odd."""
    trial.expect_right(problem)


@st.composite
def states(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems in which the state before weighs more than all inputs."""
    N, H = draw(st.sampled_from(((2, 3), (3, 2), (5, 8), (4, 4))))
    T, seed = draw(st.sampled_from((1, 2))), draw(strategies.seeds) // 8
    scales = {"x": 0.25, "h": 1.0, "c": 2.0, "u": 1.0, "bias": 0.5}
    return unit(operation, dtype, (T, N, 2, H), seed=seed, scales=scales)


def begins_in_the_state_it_is_given(trial: Trial, problem: Problem) -> None:
    """The first step reads h and c, of each example its own, and nothing that an earlier call has left."""
    trial.expect_right(problem)
    nothing = {name: replace(problem.arrays[name], scale=0.0) for name in ("h", "c")}
    trial.expect_right(problem.with_arrays(**nothing))
    trial.expect_right(problem.with_arrays(h=nothing["h"]))


# Sequences -------------------------------------------------------------------------------------------------


LONG = ((133, 2, 3, 4, 0.5), (34, 3, 5, 33, 2.0**-4), (12, 1, 4, 128, 2.0**-6))
"""T, N, D, H and the scale of the weights of the state, so small that errors die out."""


def long_sequences(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sequences of many steps: open gates count, closed ones keep the cell, or all move."""
    bias = (8.0, -8.0, 8.0, 8.0, 0.5, 0.5, 0.0, 0.0)
    for T in (24, 65):
        problem = unit(operation, dtype, (T, 1, 1, 2), scales={"u": 2.0**-4, "w": 2.0**-4})
        yield problem.with_arrays(bias=replace(problem.arrays["bias"], planted=tuple(enumerate(bias))))
    for *sizes, scale in LONG:
        yield unit(operation, dtype, (sizes[0], sizes[1], sizes[2], sizes[3]), scales={"u": scale})


@st.composite
def sequences(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw sequences of some tens of steps through few units, whose errors do not grow without end."""
    T, N = draw(st.sampled_from(((9, 1), (12, 2), (17, 1)))), draw(strategies.seeds) // 8
    scales = {"u": 0.25, "bias": draw(st.sampled_from((1.0, 0.5, 3.0)))}
    return unit(operation, dtype, (T[0], T[1], 2, 2), seed=N, scales=scales)


def runs_any_number_of_steps(trial: Trial, problem: Problem) -> None:
    """Every step of a long sequence is within its bound."""
    T, N, _, H = sizes_of(problem)
    if trial.declared.slow and (2000 if problem.dtype == "float32" else 1000) < T * N * H:
        return  # the simulated device takes many seconds for it
    trial.expect_right(problem)


# Saturated gates -------------------------------------------------------------------------------------------

SHUT = 120.0
"""Weighted data from which on a gate is 0 or 1 and a candidate ±1 in float32, whatever the formula."""


def saturated(operation: Operation, dtype: str, sizes: tuple[int, int, int, int], seed: int) -> Problem:
    """Return a call whose gates are open and shut at random: an odd number of ±120 adds up to no less.

    Every other unit has its forget gate open, and counts. Backward the output gates are shut, so that the
    gradients of cells alone are added up.
    """
    T, _, D, H = sizes
    assert D % 2 == 1
    wide = SHUT * (D + 1)
    limit = max(2 ** FORMATS[dtype].precision // (4 * max(T, 1)), 1) | 1
    planted = [(H + j, wide) for j in range(0, H, 2)]
    if "dy" in operation.arrays:
        planted += [(3 * H + j, -wide) for j in range(H)]
    shapes = strategies.recurrence_shapes(operation, *sizes)
    arrays = {name: Array(shape, "odd", seed=seed + i) for i, (name, shape) in enumerate(shapes.items())}
    arrays["x"] = replace(arrays["x"], scale=SHUT)
    arrays["u"] = replace(arrays["u"], values="zeros")
    arrays["bias"] = replace(arrays["bias"], values="zeros", planted=tuple(planted))
    for name in ("c", "dy"):
        if name in arrays:
            arrays[name] = replace(arrays[name], limit=limit)
    return Problem(operation.name, dtype, arrays)


def shift_register(operation: Operation, dtype: str, T: int, N: int, H: int, seed: int) -> Problem:
    """Return a call in which each cell takes the sign that the unit before it gave out a step before."""
    problem = saturated(operation, dtype, (T, N, 1, H), seed)
    gates = [(k * H + j, bias) for k, bias in ((0, 400.0), (1, -400.0), (3, 400.0)) for j in range(H)]
    handed = tuple((2 * H * H + j * H + j - 1, 200.0) for j in range(1, H))  # 200·tanh 1 is enough
    w, u, bias = (problem.arrays[name] for name in ("w", "u", "bias"))
    return problem.with_arrays(
        w=replace(w, values="zeros", planted=((2 * H, 1.0),)),
        u=replace(u, planted=handed),
        bias=replace(bias, planted=tuple(gates)),
    )


def exact_sequences(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield counters and shift registers, long and wide, through sizes beside those of vectors and tiles."""
    for i, sizes in enumerate(
        ((50, 1, 3, 5), (3, 2, 1, 133), (2, 1, 257, 9), (200, 2, 3, 9), (9, 3, 5, 257))
    ):
        yield saturated(operation, dtype, sizes, 8 * i)
    if "dy" not in operation.arrays:
        for T, N, H in ((50, 1, 5), (150, 2, 133)):
            yield shift_register(operation, dtype, T, N, H, T)


@st.composite
def drawn_exact_sequences(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw such sequences: many steps through few units, or few through many."""
    T, H = draw(st.sampled_from(((17, 9), (130, 3), (47, 5), (5, 65), (3, 129))))
    N, seed = draw(st.sampled_from((1, 2, 3))), draw(strategies.seeds) // 8
    if "dy" not in operation.arrays and draw(st.booleans()):
        return shift_register(operation, dtype, T, N, H, seed)
    return saturated(operation, dtype, (T, N, draw(st.sampled_from((1, 3, 5))), H), seed)


def counts_without_an_error(trial: Trial, problem: Problem) -> None:
    """Through gates that are all open or shut, cells of whole numbers and their gradients are exact."""
    T, N, D, H = sizes_of(problem)
    if trial.declared.slow and T * N * H * (D + H) > 1 << 13:
        return  # the simulated device takes seconds for it
    declared = trial.arithmetic(problem)
    if declared.approximations or declared.fast_exp:
        trial.expect_right(problem)  # an approximate gate is not quite shut
        return
    form, wide = FORMATS[problem.dtype], FORMATS["float32"]
    exact = accuracy.round_to(problem.want(), wide).astype(np.float64)
    nothing = np.abs(exact) < wide.smallest_normal
    cells = np.where(nothing, 0.0, exact)[-1]
    if np.any(np.abs(cells) > 2**form.precision) or np.any(cells != np.rint(cells)):
        raise Outside  # the form that the domain has counts further, or has gates half open
    own = 2 * accuracy.ulp(exact, wide)  # of tanh, which outputs alone have
    own[-1] = 0.0
    bound = accuracy.Bound({"tanh": np.where(nothing, 2 * wide.smallest_normal, own)})
    trial.compare(problem, trial.ask(problem).values, exact, accuracy.rounded(bound, exact, form))


def _at_steps(values: Mapping[str, Floats], steps: slice) -> dict[str, Floats]:
    """Return the arguments of a part of a sequence; the state is that of the whole."""
    parts = {"x": values["x"][steps]}
    if "dy" in values:
        parts["dy"] = values["dy"][:, steps]
    return {**values, **parts}


def _shaped(problem: Problem, values: Mapping[str, Floats]) -> Problem:
    """Return the call with arrays of other shapes, whose elements are given when it is asked."""
    return replace(problem, arrays={name: Array(value.shape) for name, value in values.items()}, out=None)


def _rounded(problem: Problem, values: Floats) -> Floats:
    """Round numbers to the format of the call: they shall be an argument."""
    return values.astype(FORMATS[problem.dtype].dtype).astype(np.float64)


def several_steps(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw sequences of two and three steps."""
    return st.builds(
        lambda T, N, D, H, seed: unit(operation, dtype, (T, N, D, H), seed=seed // 8),
        st.sampled_from((2, 3)),
        st.sampled_from((1, 2, 4)),
        st.sampled_from((1, 3)),
        st.sampled_from((2, 4, 5)),
        strategies.seeds,
    )


def may_be_cut(trial: Trial, problem: Problem) -> None:
    """A call on the first steps and one on the rest, given the state between, are one call on all."""
    arithmetic, form = trial.arithmetic(problem), FORMATS[problem.dtype]
    values, cut = dict(problem.arguments()), sizes_of(problem)[0] // 2
    if cut == 0:
        raise Outside  # there is but one step
    forward = {name: value for name, value in values.items() if name != "dy"}
    whole_state = reference.lstm_unit(**_at_steps(forward, slice(cut)))[:, -1]
    backward = "dy" in values
    got = trial.ask(problem).values
    parts = {"first": _at_steps(values, slice(cut)), "rest": _at_steps(values, slice(cut, None))}
    if backward:
        state = _rounded(problem, whole_state)
    else:
        first = trial.ask(_shaped(problem, parts["first"]), values=parts["first"]).values
        state = first[:, -1]
    parts["rest"] |= {"h": state[0], "c": state[1]}
    rest = trial.ask(_shaped(problem, parts["rest"]), values=parts["rest"]).values
    if backward:
        handed = parts["first"]["dy"].copy()
        handed[0, -1] += sum(rest[k, 0] @ values["u"][k] for k in range(4))
        handed[1, -1] += rest[4, 0]
        parts["first"]["dy"] = _rounded(problem, handed)
        first = trial.ask(_shaped(problem, parts["first"]), values=parts["first"]).values
    joined = np.concatenate([first, rest], axis=1)
    bounds, wants = [], []
    for part in parts.values():
        wants.append(problem.record.reference(**part))
        bounds.append(problem.record.bound(part, wants[-1], form, arithmetic).value)
    want = problem.want()
    # How far the parts' exact results are from the whole's is what rounding the arguments between them costs.
    apart = np.abs(np.concatenate(wants, axis=1) - want)
    bound = np.concatenate(bounds, axis=1) + problem.bound(want, arithmetic).value + apart
    trial.expect_related(problem, joined, got, bound, f"{cut} steps and the rest = all steps")


def _taken(values: Mapping[str, Floats], n: Any, j: Any) -> dict[str, Floats]:
    """Return the arguments with examples n and units j."""
    taken = {"x": values["x"][:, n], "w": values["w"][:, j], "u": values["u"][:, j][:, :, j]}
    taken |= {name: values[name][n][:, j] for name in ("h", "c")}
    taken["bias"] = values["bias"][:, j]
    if "dy" in values:
        taken["dy"] = values["dy"][:, :, n][..., j]
    return taken


def commutes_with_permutation(trial: Trial, problem: Problem) -> None:
    """Permuting the examples, or the units with their weights, permutes the result."""
    _, N, _, H = sizes_of(problem)
    random = np.random.default_rng(problem.arrays["x"].seed)
    bound = problem.bound(problem.want(), trial.arithmetic(problem)).value
    plain = trial.ask(problem).values
    for what, n, j in (
        ("examples", random.permutation(N), np.arange(H)),
        ("units", np.arange(N), random.permutation(H)),
    ):
        got = trial.ask(problem, values=_taken(problem.arguments(), n, j)).values
        relation = f"f(permuted {what}) = permuted f({what})"
        trial.expect_related(problem, got, plain[:, :, n][..., j], 2 * bound[:, :, n][..., j], relation)


def is_adjoint(trial: Trial, problem: Problem) -> None:
    """Along any direction of all arguments, the derivative of ⟨dy, y⟩ is ⟨gradients, direction⟩."""
    values = dict(problem.arguments())
    dy = values.pop("dy")
    random = np.random.default_rng(problem.arrays["x"].seed + 11)
    toward = {name: random.choice([-1.0, 1.0], value.shape) for name, value in values.items()}

    def along(step: float) -> float:
        moved, back = (
            reference.lstm_unit(**{name: value + way * step * toward[name] for name, value in values.items()})
            for way in (1, -1)
        )
        return float(np.sum(dy * (moved - back)) / (2 * step))

    # Two step lengths give the derivative up to their fourth power (Richardson), and an estimate of the rest.
    near, far = along(2.0**-12), along(2.0**-11)
    slope, doubt = (4 * near - far) / 3, abs(near - far) / 50 + 2.0**-36 * float(np.sum(np.abs(dy)))
    y = reference.lstm_unit(**values)
    before = np.concatenate([values["h"][np.newaxis], y[0]])[: len(y[0])]
    # What each weighted datum does along the direction while the state before is held, and the first state.
    moves = np.einsum("tnd,khd->ktnh", toward["x"], values["w"])
    moves += np.einsum("tnd,khd->ktnh", values["x"], toward["w"])
    moves += np.einsum("tnm,khm->ktnh", before, toward["u"]) + toward["bias"][:, np.newaxis, np.newaxis]
    moves[:, 0] += np.einsum("nm,khm->knh", toward["h"], values["u"])
    cells = np.zeros((1, *moves.shape[1:]))
    cells[0, 0] = toward["c"]
    weights = np.concatenate([moves, cells])
    got = trial.ask(problem).values
    bound = problem.bound(problem.want(), trial.arithmetic(problem)).value
    left, right = np.array([slope]), np.array([np.sum(weights * got)])
    slack = np.array([np.sum(np.abs(weights) * bound) + doubt])
    trial.expect_related(problem, left, right, slack, "derivative of ⟨dy, y⟩ = ⟨gradients, direction⟩")


RECURRENCE = by_role(
    Check("history", small, unaffected(relatives), 0.17),
    Check("semantics", everyday, gives_the_result_of_its_definition, 0.5, all_forms),
    Check("accuracy", wide, is_accurate, 0.6, tiny_candidates),
    Check("gates", one_gate, keeps_its_gates_apart, 0.3, gates_apart),
    Check("sizes", odd_sizes, handles_any_sizes, 0.4, all_sizes),
    Check("state", states, begins_in_the_state_it_is_given, 0.2),
    Check("special_values", special, treats_special_values_as_stated, 0.8, all_specials, level="robust"),
    Check("empty", empty, handles_empty_and_single, 0.5, level="robust"),
    Check("combinations", small, combines_what_it_can_do, 0.2, further=rows(everyday_row)),
    Check("layouts", strided, reads_any_strides, 0.4, level="robust", further=rows(everyday_row, False)),
    Check(
        "strides",
        strided,
        reads_any_strides_alike,
        0.2,
        level="reproducible",
        further=rows(everyday_row, False),
    ),
    Check("determinism", small, repeats_itself, 0.17, level="reproducible"),
    Check("answers", small, answers_inside_its_domain, 0.3, all_forms),
    Check("refuses", small, refuses_outside_of_its_domain, 0.3, all_forms, "strict", "anywhere"),
    Check(
        "output",
        with_output,
        writes_its_output_and_nothing_else,
        0.3,
        level="robust",
        further=rows(everyday_row, True),
    ),
    Check("inputs_unchanged", small, leaves_its_inputs_unchanged, 0.2, level="robust"),
    Check("long_sequence", sequences, runs_any_number_of_steps, 0.17, long_sequences),
    Check("exact", drawn_exact_sequences, counts_without_an_error, 0.3, exact_sequences),
    Check("split", several_steps, may_be_cut, 0.25),
    Check("permutation", several_steps, commutes_with_permutation, 0.25),
    Check("adjointness", several_steps, is_adjoint, 0.35),
)
