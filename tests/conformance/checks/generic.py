"""The checks that every operation gets by being recorded in the spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance.backend.subject import CallFailed, Lost, Unsupported
from gaugeblock.conformance.checks.check import Always, Check, Further, Holds, Reach, by_role
from gaugeblock.conformance.problems import factors, forms, strategies
from gaugeblock.conformance.problems.problem import PACKED, PERIOD, Array, Distribution, Problem
from gaugeblock.conformance.trial import Outside, Trial, Violation
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.operations import OPERATIONS, Operation
from gaugeblock.spec.record import REQUIRED

INFINITY = float("inf")
NOT_A_NUMBER = float("nan")
MINUS_NAN = float("-nan")
"""NaN with its sign bit set, as 0 · ∞ is on some processors: as an integer it is below all numbers."""


def everyday(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw everyday problems: normal data, any shape, any legal parameters."""
    return strategies.problems(
        operation,
        dtype,
        data=strategies.fixed_data("normal"),
        shapes=strategies.everyday_shapes(operation),
    )


def all_forms(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield every form of call, arrays of many axes, and every parameter."""
    yield from forms.forms(operation, dtype)
    yield from forms.deep_forms(operation, dtype)
    yield from forms.each_parameter(operation, dtype)


def gives_the_result_of_its_definition(trial: Trial, problem: Problem) -> None:
    """The result is that of the defining formula, within the bound."""
    trial.expect_right(problem)


def _wide_data(operation: Operation, dtype: str) -> Any:
    """Draw data of any magnitude, such that sums of products stay within the format."""
    contraction = operation.kind == "contraction"
    largest = 4.0 if dtype == "float16" else 40.0 if contraction else 120.0

    def data(name: str, shape: tuple[int, ...]) -> SearchStrategy[Array]:
        kinds = st.sampled_from(
            (
                ("normal", 1.0),
                ("uniform", 1.0),
                ("wide", largest),
                ("normal", 8.0),
                ("wide", 3.0),
                ("normal", 2.0**-10),
            )
        )
        return st.builds(
            lambda kind, seed: Array(shape, kind[0], scale=kind[1], seed=seed), kinds, strategies.seeds
        )

    return data


def wide(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems whose data has any magnitude."""
    return strategies.problems(
        operation, dtype, data=_wide_data(operation, dtype), shapes=strategies.everyday_shapes(operation)
    )


def is_accurate(trial: Trial, problem: Problem) -> None:
    """Every element lies within the derived bound, whatever the magnitude of the data."""
    trial.expect_right(problem)


@st.composite
def special(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems with NaN, ±Inf, −0, the smallest and the largest numbers planted anywhere."""
    form = FORMATS[dtype]
    shapes = (
        strategies.gemm_shapes(budget=1 << 13)
        if operation.kind == "contraction"
        else strategies.everyday_shapes(operation)
    )
    problem = draw(strategies.problems(operation, dtype, data=strategies.fixed_data("normal"), shapes=shapes))
    specials = [NOT_A_NUMBER, INFINITY, -INFINITY, -0.0, 0.0, form.smallest_subnormal, -form.smallest_normal]
    specials.insert(0, MINUS_NAN)
    if operation.kind != "contraction":
        specials += [form.largest, -form.largest, 3.0, -3.0, 6.0, 1.0, -1.0, 90.0, -90.0, -1e4]
    arrays = dict(problem.arrays)
    for name in operation.arrays:
        if name not in arrays or not arrays[name].size:
            continue
        allowed = specials if name != "dy" or operation.kind == "selection" else [-0.0, 0.0, 1.0, -2.0]
        place = st.tuples(st.integers(0, arrays[name].size - 1), st.sampled_from(allowed))
        planted = draw(st.lists(place, max_size=6))
        arrays[name] = replace(arrays[name], planted=tuple(planted))
    return replace(problem, arrays=arrays)


def all_specials(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield every special value: all at once where elements do not meet, else each in every position."""
    if operation.kind == "contraction":
        return
    if operation.kind != "elementwise":
        yield from _specials_in_every_position(operation, dtype)
        yield from _special_rows(operation, dtype)
        return
    form = FORMATS[dtype]
    values = [NOT_A_NUMBER, INFINITY, -INFINITY, -0.0, 0.0, form.smallest_subnormal, -form.smallest_subnormal]
    values += [form.largest, -form.largest, 1.0, -1.0, 3.0, -3.0, 6.0, 50.0, -50.0, 300.0, -300.0, MINUS_NAN]
    arrays = {name: Array((len(values),), "ones") for name in operation.arrays}
    yield Problem(operation.name, dtype, {**arrays, "x": replace(arrays["x"], planted=_listed(values))})
    if "dy" in operation.arrays:
        yield from _special_gradients(operation, dtype)


def _listed(values: Sequence[float]) -> tuple[tuple[int, float], ...]:
    """Return what to plant so that an array begins with these values."""
    return tuple(enumerate(values))


LIVELY = (-7.0, -3.0, -2.0, -0.5, -0.0, 0.0, 0.5, 2.0, 3.0, 6.0, 7.0, NOT_A_NUMBER)
"""Arguments whose derivative is a dead unit's zero, or so large that every formula has its sign."""


def _special_gradients(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield NaN and infinities as gradients of units dead and alive."""
    vanishing = operation.name in ("gelu_backward", "elu_backward", "tanh_backward")
    lively = [x for x in LIVELY if not (vanishing and abs(x) > 3)]
    for dy in (NOT_A_NUMBER, INFINITY, -INFINITY):
        arrays = {
            "dy": Array((len(lively),), "ones", planted=_listed([dy] * len(lively))),
            "x": Array((len(lively),), "zeros", planted=_listed(lively)),
        }
        yield Problem(operation.name, dtype, arrays)


def _specials_in_every_position(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield square arrays with a special value on the diagonal, so that every row has it elsewhere."""
    for size in (2, 3, 4, 8, 33):
        for value in (NOT_A_NUMBER, MINUS_NAN, INFINITY, -INFINITY):
            planted = tuple((i * (size + 1), value) for i in range(size))
            arrays = {"x": Array((size, size), "normal", seed=size, planted=planted)}
            if "dy" in operation.arrays:
                shape = (size, 1) if operation.kind == "selection" else (size, size)
                arrays = {"dy": Array(shape, "normal", seed=size + 1), **arrays}
            chosen = {"pieces": size} if operation.kind == "selection" else {}
            yield Problem(operation.name, dtype, arrays, chosen)


ROWS = (
    (-INFINITY, -INFINITY, -INFINITY, -INFINITY),
    (INFINITY, 1.0, -INFINITY, INFINITY),
    (NOT_A_NUMBER, INFINITY, NOT_A_NUMBER, 2.0),
    (-0.0, 0.0, -1.0, 0.0),
    (0.0, -0.0, -0.0, -2.0),
    (-INFINITY, 1.0, -INFINITY, -3.0),
    (-INFINITY, -INFINITY, NOT_A_NUMBER, NOT_A_NUMBER),
    (0.5, -0.5, 2.0, 1.0),
)
"""Rows, or groups, in which several special values meet."""


def _special_rows(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield rows in which special values meet, or at the ends of the range, with special gradients."""
    largest = FORMATS[dtype].largest
    rows = (*ROWS, (-largest,) * 4, (largest,) * 4, (largest, -largest, 0.0, 1.0), (-largest, -INFINITY) * 2)
    x = Array((len(rows), 4), "zeros", planted=_listed([value for row in rows for value in row]))
    chosen = {"pieces": 4} if operation.kind == "selection" else {}
    if "dy" not in operation.arrays:
        yield Problem(operation.name, dtype, {"x": x}, chosen)
        return
    columns = 1 if operation.kind == "selection" else 4
    for value in (1.5, NOT_A_NUMBER, INFINITY, -INFINITY):
        planted = tuple((i * columns + i % columns, value) for i in range(len(rows)))
        dy = Array((len(rows), columns), "ones", planted=planted)
        yield Problem(operation.name, dtype, {"dy": dy, "x": x}, chosen)


def treats_special_values_as_stated(trial: Trial, problem: Problem) -> None:
    """NaN, ±Inf, −0 and numbers at the ends of the range give what the clause states."""
    trial.expect_right(problem, signs=True)


@st.composite
def empty(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems in which a size is 0 or everything is 1."""
    if operation.kind == "contraction":
        m, n, k = draw(
            st.sampled_from(((0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (0, 0, 0), (5, 2, 0), (33, 65, 0)))
        )
        batch = draw(st.sampled_from(((), (2,), (0,), (3, 0))))
        shapes: strategies.Shapes = {"a": (*batch, m, k), "b": (*batch, k, n)}
        c = draw(st.sampled_from((None, (m, n), (n,), (m, 1), ())))
        if c is not None:
            shapes["c"] = c
        decided: dict[str, Any] = {"transpose_a": False, "transpose_b": False}
    elif operation.kind == "selection":
        shape = draw(st.sampled_from(((0,), (0, 4), (2,), (3, 2, 0, 2))))
        decided = {"pieces": 2, "axis": len(shape) - 1}
        shapes = {name: (*shape[:-1], shape[-1] // 2) if name == "dy" else shape for name in operation.arrays}
    else:
        shape = draw(st.sampled_from(((0,), (1,), (0, 3), (3, 0), (2, 0, 4), (1, 1), (3, 1), (65, 1))))
        shapes = dict.fromkeys(operation.arrays, shape)
        decided = (
            {"axis": draw(st.integers(-len(shape), len(shape) - 1))} if operation.kind == "rowwise" else {}
        )
    return draw(
        strategies.problems(
            operation, dtype, data=strategies.fixed_data("normal"), shapes=st.just((shapes, decided))
        )
    )


def handles_empty_and_single(trial: Trial, problem: Problem) -> None:
    """Results without elements, sums without terms and rows of one element are as the clause states."""
    trial.expect_right(problem)


def strided(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw problems whose arrays have any strides: permuted, negative, zero, with gaps, misaligned."""
    shapes = (
        strategies.gemm_shapes(budget=1 << 15)
        if operation.kind == "contraction"
        else strategies.everyday_shapes(operation)
    )
    return strategies.problems(
        operation, dtype, data=strategies.fixed_data("normal"), shapes=shapes, strided=True
    )


Filling = Callable[[Operation, str, Arithmetic, factors.Call, int], Problem]
"""Gives a call its data, from a seed."""


def everyday_data(
    operation: Operation, dtype: str, arithmetic: Arithmetic, call: factors.Call, seed: int
) -> Problem:
    """Return a call on normal data, which repeats itself in large arrays whose elements do not meet."""
    shapes, parameters = call
    problem = Problem(
        operation.name, dtype, {name: Array(shape) for name, shape in shapes.items()}, parameters
    )
    values: Distribution = (
        "periodic" if operation.kind == "elementwise" and problem.elements > PERIOD else "normal"
    )
    return problem.with_arrays(
        **{name: Array(shape, values, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())}
    )


def rows(fill: Filling = everyday_data, out: bool | None = None) -> Further:
    """Return the rows of the covering array: on packed arrays, or as they lie, with ``out`` or without."""

    def tried(operation: Operation, dtype: str, arithmetic: Arithmetic, reach: Reach) -> Iterator[Problem]:
        def filled(operation: Operation, call: factors.Call, seed: int) -> Problem:
            return fill(operation, dtype, arithmetic, call, seed)

        found = factors.problems(operation, reach.coverage, filled, laid_out=out is not None)
        return (problem for problem in found if out is None or out == (problem.out is not None))

    return tried


def combines_what_it_can_do(trial: Trial, problem: Problem) -> None:
    """What a call may have, it may have together: any sizes, forms and parameters, each with each."""
    trial.expect_right(problem)


BIG = 1 << 15
"""Elements of arrays that a slow device is spared."""


def is_spared(trial: Trial, problem: Problem) -> bool:
    """Whether the device is slow, and the call a large one that is not about its size."""
    return trial.declared.slow and max(problem.elements, prod(problem.result_shape)) > BIG


def reads_any_strides(trial: Trial, problem: Problem) -> None:
    """An array gives the same result wherever its elements lie in memory."""
    if not is_spared(trial, problem):
        trial.expect_as_plain(problem)


def reads_any_strides_alike(trial: Trial, problem: Problem) -> None:
    """An array gives the same result, bit for bit, wherever its elements lie in memory."""
    if is_spared(trial, problem):
        return
    trial.expect_same(problem, trial.recall(problem), trial.ask_plain(problem), "the call on packed arrays")


@st.composite
def with_output(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems whose ``out`` has any strides, between guard zones."""
    problem = draw(everyday(operation, dtype, arithmetic))
    return replace(problem, out=draw(strategies.layouts(len(problem.result_shape), repeat=False)))


def writes_its_output_and_nothing_else(trial: Trial, problem: Problem) -> None:
    """A poisoned ``out`` is written whole, whatever its strides, and no byte beside it."""
    if is_spared(trial, problem):
        return
    answer = trial.expect_as_plain(problem, watch=True)
    for intrusion in answer.intrusions:
        if intrusion.startswith("wrote outside"):
            raise Violation(problem, intrusion)


def tempting_inputs(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield inputs that a kernel might like to clean, to scale or to reuse."""
    planted = ((0, NOT_A_NUMBER), (1, INFINITY), (2, -INFINITY), (3, -0.0))
    for problem in forms.forms(operation, dtype):
        yield replace(problem, out=PACKED)
        yield problem.with_arrays(
            **{name: replace(array, planted=planted) for name, array in problem.arrays.items()}
        )
        if operation.name == "gemm":
            yield from (problem.with_parameters(alpha=a, beta=b) for a, b in ((1.0, 1.0), (-1.0, -1.0)))


def leaves_its_inputs_unchanged(trial: Trial, problem: Problem) -> None:
    """No bit of an input, nor of the memory around it, is changed."""
    answer = trial.ask(problem, watch=True)
    for intrusion in answer.intrusions:
        raise Violation(problem, intrusion)


def unaffected(relatives: Callable[[Problem], Iterable[Problem]]) -> Holds:
    """Return the claim that a call's result is right after any of these calls too."""

    def is_unaffected_by_earlier_calls(trial: Trial, problem: Problem) -> None:
        """A result is right whatever was called before: with other data, parameters, shapes or formats."""
        trial.expect_as_plain(problem)
        siblings = (
            other for other in sibling(problem, trial.subject.operations) if is_right_alone(trial, other)
        )
        for other in (*relatives(problem), problem, *siblings):
            if not trial.errs_alone:  # else another clause says what is wrong
                expect_as_if_first(trial, other)

    return is_unaffected_by_earlier_calls


def repeats_itself(trial: Trial, problem: Problem) -> None:
    """The same call gives the same bits again, also after a call on other data, and in a new process."""
    first = trial.ask(problem)
    trial.ask(reseeded(problem))
    trial.expect_same(problem, first, trial.ask(problem), "the same call a second time")
    trial.expect_same(problem, first, trial.ask_anew(problem), "the same call in a new process")


def reseeded(problem: Problem) -> Problem:
    """Return the call on other data of the same kind."""
    return problem.with_arrays(**{n: replace(a, seed=a.seed + 1) for n, a in problem.arrays.items()})


def relatives(problem: Problem) -> Iterator[Problem]:
    """Yield calls that differ from a call in one respect, which a cache may have forgotten."""
    other = _with_other_parameters(problem)
    yield other
    yield replace(problem, parameters=other.parameters)
    for name, array in problem.arrays.items():
        yield problem.with_arrays(**{name: replace(array, seed=array.seed + 1)})
        yield problem.with_arrays(**{name: _swapped(array, problem.dtype)})
    yield from _turned(problem)
    yield from (replace(problem, dtype=dtype) for dtype in problem.record.dtypes if dtype != problem.dtype)
    yield _one_larger(problem)


def sibling(problem: Problem, operations: Sequence[str]) -> Iterator[Problem]:
    """Yield the call of another operation on the very same arrays, if the backend has one that takes them."""
    record = problem.record
    if record.kind == "convolution":  # a transposed one reads the channels of its kernels the other way round
        return
    following = operations.index(record.name) + 1
    for name in (*operations[following:], *operations[: following - 1]):
        other = OPERATIONS[name]
        chosen = {key: value for key, value in problem.parameters.items() if key in other.parameters}
        needed = {key for key, parameter in other.parameters.items() if parameter.default is REQUIRED}
        if (other.kind, other.arrays) == (record.kind, record.arrays) and needed <= set(chosen):
            yield Problem(name, problem.dtype, problem.arrays, chosen)
            return


def is_right_alone(trial: Trial, problem: Problem) -> bool:
    """Whether another process answers a call rightly: an operation that does not is no witness of others."""
    twin = trial.subject.twin
    if twin.losses or not problem.inside(trial.domain(problem)):
        return False
    try:
        got = twin.call(problem).values
    except (Unsupported, CallFailed, Lost):
        return False
    want = problem.want()
    bound = problem.bound(want, trial.arithmetic(problem))
    return bool(np.all(accept(got, want, bound, FORMATS[problem.dtype])))


def expect_as_if_first(trial: Trial, problem: Problem) -> None:
    """Hold a call to its bound; where it errs, but not in a new process, earlier calls are to blame."""
    try:
        trial.expect_right(problem)
    except (Unsupported, Outside):
        return
    except Violation as violation:
        trial.subject.start()
        try:
            trial.expect_right(problem)
        except Violation:
            trial.errs_alone = True
        else:
            raise Violation(problem, f"after other calls, though not before them: {violation}") from None


def _swapped(array: Array, dtype: str) -> Array:
    """Return the array with two inner elements exchanged: ends, sum and largest element are the same.

    One of them is above zero, so that no function takes them for each other.
    """
    values = array.build(dtype).reshape(-1)
    inner = values[array.size // 2 : -1]
    if inner.size < 2:
        return array
    i, j = (array.size // 2 + int(where) for where in (np.argmax(inner), np.argmin(inner)))
    return replace(array, planted=(*array.planted, (i, float(values[j])), (j, float(values[i]))))


def _turned(problem: Problem) -> Iterator[Problem]:
    """Yield the call on the very same shapes along another axis, or with a flag turned."""
    shapes = problem.shapes
    if problem.operation == "gemm" and len({*shapes["a"][-2:], *shapes["b"][-2:]}) == 1:
        for flag in ("transpose_a", "transpose_b"):
            yield problem.with_parameters(**{flag: not problem.parameters.get(flag, False)})
    elif problem.record.kind == "rowwise":
        axes = range(-len(shapes["x"]), 0)
        now = axes[problem.parameters.get("axis", -1)]
        yield from (problem.with_parameters(axis=axis) for axis in axes if axis != now)
    elif problem.operation == "maxout":
        pieces = problem.parameters.get("pieces", 2)
        for axis, size in enumerate(shapes["x"]):
            yield from (
                problem.with_parameters(axis=axis, pieces=p) for p in {pieces, size} if p and size % p == 0
            )


def _with_other_parameters(problem: Problem) -> Problem:
    """Return the call with the same shapes, other data and other parameters."""
    other = {}
    for name, parameter in problem.record.parameters.items():
        now = problem.parameters.get(name, parameter.default)
        if name in ("axis", "pieces", "transpose_a", "transpose_b") or (
            name == "beta" and "c" not in problem.arrays
        ):
            other[name] = now
        else:
            other[name] = next((value for value in parameter.legal if value != now), now)
    problem = replace(problem, parameters=_consistent(other))
    return problem.with_arrays(**{n: replace(a, seed=a.seed + 1) for n, a in problem.arrays.items()})


def _consistent(parameters: dict[str, Any]) -> dict[str, Any]:
    """Keep limits in order when both changed."""
    if "min_val" in parameters and not parameters["min_val"] < parameters["max_val"]:
        parameters["max_val"] = parameters["min_val"] + 1.5
    return parameters


def _one_larger(problem: Problem) -> Problem:
    """Return the call with one more element along an axis: a size that the cached choice may not fit."""
    record = problem.record
    shapes = dict(problem.shapes)
    if record.kind == "contraction":
        swap_a, swap_b = (bool(problem.parameters.get(flag)) for flag in ("transpose_a", "transpose_b"))
        shapes["a"] = _grown(shapes["a"], -2 if swap_a else -1)
        shapes["b"] = _grown(shapes["b"], -1 if swap_b else -2)
    elif record.kind == "selection" or () in shapes.values():
        return problem
    else:
        axis = problem.parameters.get("axis", -1)
        shapes = {name: _grown(shape, axis) for name, shape in shapes.items()}
    return problem.with_arrays(
        **{n: replace(a, shape=shapes[n], layout=PACKED) for n, a in problem.arrays.items()}
    )


def _grown(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    sizes = list(shape)
    sizes[axis] += 1
    return tuple(sizes)


def answers_inside_its_domain(trial: Trial, problem: Problem) -> None:
    """A call inside of the declared domain is answered, not declined."""
    if trial.domain(problem).whole:
        raise Outside
    try:
        trial.ask(problem)
    except Unsupported as declined:
        reason = f"declined a call inside of its declared domain: {declined}".removesuffix(": ")
        raise Violation(problem, f"{problem.operation} {reason}") from None


def refuses_outside_of_its_domain(trial: Trial, problem: Problem) -> None:
    """A call outside of the declared domain is refused, or answered rightly."""
    if problem.inside(trial.domain(problem)):
        raise Outside
    try:
        trial.expect_refused(problem)
    except Violation:
        trial.expect_right(problem, anywhere=True)


GENERIC = by_role(
    Check("history", everyday, unaffected(relatives), 0.4),
    Check("semantics", everyday, gives_the_result_of_its_definition, 1.0, all_forms),
    Check("accuracy", wide, is_accurate),
    Check("special_values", special, treats_special_values_as_stated, 2.0, all_specials, "robust"),
    Check("empty", empty, handles_empty_and_single, 0.7, level="robust"),
    Check("combinations", everyday, combines_what_it_can_do, 0.2, further=rows()),
    Check("layouts", strided, reads_any_strides, 1.0, level="robust", further=rows(out=False)),
    Check(
        "output", with_output, writes_its_output_and_nothing_else, 0.7, level="robust", further=rows(out=True)
    ),
    Check("inputs_unchanged", everyday, leaves_its_inputs_unchanged, 0.3, tempting_inputs, "robust"),
    Check("strides", strided, reads_any_strides_alike, 0.5, level="reproducible", further=rows(out=False)),
    Check("determinism", everyday, repeats_itself, 0.3, level="reproducible"),
    Check("answers", everyday, answers_inside_its_domain, 0.5, all_forms),
    Check("refuses", everyday, refuses_outside_of_its_domain, 0.7, all_forms, "strict", "anywhere"),
)


def also(role: str, more: Always) -> Check:
    """Return a check that all operations have, with more problems to try in every run."""
    check = GENERIC[role]

    def always(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterable[Problem]:
        yield from check.always(operation, dtype, arithmetic)
        yield from more(operation, dtype, arithmetic)

    return replace(check, always=always)
