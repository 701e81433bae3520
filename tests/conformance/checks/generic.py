"""The checks that every operation gets by being recorded in the spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance import strategies
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.problem import PACKED, Array, Problem
from gaugeblock.conformance.trial import Trial, Violation
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation

INFINITY = float("inf")
NOT_A_NUMBER = float("nan")


def everyday(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw everyday problems: normal data, any shape, any legal parameters."""
    return strategies.problems(
        operation,
        dtype,
        data=strategies.fixed_data("normal"),
        shapes=strategies.everyday_shapes(operation),
    )


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
    if operation.kind != "contraction":
        specials += [form.largest, -form.largest, 3.0, -3.0, 6.0, 1.0, -1.0, 90.0, -90.0, -1e4]
    arrays = dict(problem.arrays)
    for name in operation.arrays:
        if name not in arrays or not arrays[name].size:
            continue
        allowed = specials if name != "dy" or operation.kind == "selection" else [*specials[3:5], 1.0, -2.0]
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
        return
    form = FORMATS[dtype]
    values = [NOT_A_NUMBER, INFINITY, -INFINITY, -0.0, 0.0, form.smallest_subnormal, -form.smallest_subnormal]
    values += [form.largest, -form.largest, 1.0, -1.0, 3.0, -3.0, 6.0, 50.0, -50.0, 300.0, -300.0]
    planted = tuple(enumerate(values))
    arrays = {name: Array((len(values),), "ones") for name in operation.arrays}
    yield Problem(operation.name, dtype, {**arrays, "x": replace(arrays["x"], planted=planted)})


def _specials_in_every_position(operation: Operation, dtype: str) -> Iterator[Problem]:
    """Yield square arrays with a special value on the diagonal, so that every row has it elsewhere."""
    for size in (2, 3, 4, 8, 33):
        for value in (NOT_A_NUMBER, INFINITY, -INFINITY):
            planted = tuple((i * (size + 1), value) for i in range(size))
            arrays = {"x": Array((size, size), "normal", seed=size, planted=planted)}
            if "dy" in operation.arrays:
                shape = (size, 1) if operation.kind == "selection" else (size, size)
                arrays = {"dy": Array(shape, "normal", seed=size + 1), **arrays}
            chosen = {"pieces": size} if operation.kind == "selection" else {}
            yield Problem(operation.name, dtype, arrays, chosen)


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


def reads_any_strides(trial: Trial, problem: Problem) -> None:
    """An array gives the same result wherever its elements lie in memory."""
    trial.expect_as_plain(problem)


@st.composite
def with_output(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems whose ``out`` has any strides, between guard zones."""
    problem = draw(everyday(operation, dtype, arithmetic))
    return replace(problem, out=draw(strategies.layouts(len(problem.result_shape), repeat=False)))


def writes_its_output_and_nothing_else(trial: Trial, problem: Problem) -> None:
    """A poisoned ``out`` is written whole, whatever its strides, and no byte beside it."""
    answer = trial.expect_as_plain(problem, watch=True)
    for intrusion in answer.intrusions:
        if intrusion.startswith("wrote outside"):
            raise Violation(problem, intrusion)


def leaves_its_inputs_unchanged(trial: Trial, problem: Problem) -> None:
    """No bit of an input, nor of the memory around it, is changed."""
    answer = trial.ask(problem, watch=True)
    for intrusion in answer.intrusions:
        raise Violation(problem, intrusion)


def repeats_itself(trial: Trial, problem: Problem) -> None:
    """The same call gives the same bits again, also after calls with other arguments."""
    first = trial.expect_as_plain(problem)
    trial.expect_as_plain(_with_other_parameters(problem))
    trial.expect_as_plain(_one_larger(problem))
    again = trial.ask(problem)
    trial.expect_same(problem, first, again, "the same call a second time")


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


GENERIC = by_role(
    Check("semantics", everyday, gives_the_result_of_its_definition),
    Check("accuracy", wide, is_accurate),
    Check("special_values", special, treats_special_values_as_stated, 2.0, all_specials),
    Check("empty", empty, handles_empty_and_single, 0.7),
    Check("strides", strided, reads_any_strides),
    Check("output", with_output, writes_its_output_and_nothing_else, 0.7),
    Check("inputs_unchanged", everyday, leaves_its_inputs_unchanged, 0.3),
    Check("determinism", everyday, repeats_itself, 0.5),
)
