"""Checks of constraints: a call that breaks one is refused with an exception, not answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.problems.geometry import Convolution, Windows, pool_call
from gaugeblock.conformance.problems.problem import PACKED, Array, Layout, Problem
from gaugeblock.conformance.problems.strategies import Shapes, recurrence_shapes
from gaugeblock.conformance.trial import Outside, Trial, Violation
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import Operation

Misuse = tuple[Shapes, dict[str, Any], dict[str, str]]
"""Shapes, parameters and the dtypes that differ."""

ANOTHER = "another"
"""Stands for a dtype that the operation has too, but that is not the call's."""


def _of_shapes(*shapes: Shapes, **parameters: Any) -> Iterator[Misuse]:
    for each in shapes:
        yield each, parameters, {}


def _rank_too_low(operation: Operation) -> Iterable[Misuse]:
    return _of_shapes({"a": (4,), "b": (4, 3)}, {"a": (3, 4), "b": (4,)}, {"a": (), "b": (1, 1)})


def _inner_sizes_differ(operation: Operation) -> Iterable[Misuse]:
    yield from _of_shapes(
        {"a": (3, 4), "b": (5, 2)}, {"a": (3, 1), "b": (5, 2)}, {"a": (2, 8, 8), "b": (2, 7, 8)}
    )
    yield from _of_shapes({"a": (3, 4), "b": (4, 2)}, transpose_a=True)
    yield from _of_shapes({"a": (3, 4), "b": (4, 2)}, transpose_b=True)


def _batches_differ(operation: Operation) -> Iterable[Misuse]:
    return _of_shapes({"a": (2, 3, 4), "b": (3, 4, 5)}, {"a": (2, 1, 3, 4), "b": (3, 1, 4, 5)})


def _addend_does_not_fit(operation: Operation) -> Iterable[Misuse]:
    product: Shapes = {"a": (3, 5), "b": (5, 4)}
    wrong = ((4, 3), (5,), (2, 4), (2, 3, 4))
    for beta in (1.0, 0.0):  # what is not read has to fit all the same
        yield from _of_shapes(*({**product, "c": c} for c in wrong), beta=beta)
    yield from _of_shapes(product, beta=1.0)


def _dtypes_differ(operation: Operation) -> Iterable[Misuse]:
    shapes: Shapes = {"a": (3, 4), "b": (4, 5), "c": (3, 5)}
    for name in shapes:
        for kind in (ANOTHER, "float64"):
            yield shapes, {"beta": 1.0}, {name: kind}


def _not_floats(operation: Operation) -> Iterable[Misuse]:
    for dtype in ("int32", "bool"):
        yield dict.fromkeys(operation.arrays, (6,)), {}, dict.fromkeys(operation.arrays, dtype)


def _gradient_does_not_fit(operation: Operation) -> Iterable[Misuse]:
    yield from _of_shapes({"dy": (5,), "x": (6,)}, {"dy": (7, 6), "x": (6, 7)}, {"dy": (1,), "x": (6,)})
    fitting: Shapes = {"dy": (3,), "x": (6,)} if operation.kind == "selection" else {"dy": (6,), "x": (6,)}
    for kind in (ANOTHER, "float64"):
        yield fitting, {}, {"dy": kind}


def _parameter_outside_domain(operation: Operation) -> Iterable[Misuse]:
    return _bad_parameters(operation, "ACT-C3")


def _bad_parameters(operation: Operation, clause: str) -> Iterator[Misuse]:
    for violated, parameters in operation.bad_parameters():
        if violated == clause:
            yield _fitting(operation), dict(parameters), {}


def _no_such_axis(operation: Operation) -> Iterable[Misuse]:
    for axis in (2, -3, 7):
        yield _fitting(operation), {"axis": axis}, {}


def _pieces_do_not_divide(operation: Operation) -> Iterable[Misuse]:
    yield from _bad_parameters(operation, "ACT-C5")
    for pieces in (4, 7):
        yield _fitting(operation), {"pieces": pieces}, {}


def _fitting(operation: Operation) -> Shapes:
    if operation.kind == "selection":
        return {name: (2, 3) if name == "dy" else (2, 6) for name in operation.arrays}
    return dict.fromkeys(operation.arrays, (2, 6))


# Windows that slide


def _fitting_call(operation: Operation) -> tuple[Shapes, dict[str, Any]]:
    """Return a legal call, of which a misuse changes one thing."""
    slides = Windows((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    if operation.kind == "pooling":
        return pool_call(operation.name, (2, 4, 6, 6), slides)
    whole = Convolution((2, 4, 6, 6), (6, 2, 3, 3), (2, 6, 4, 4), slides, 2)
    return whole.call(
        operation.name, bias="bias" in operation.arrays, residual="residual" in operation.arrays
    )


def _with_shapes(operation: Operation, **changed: tuple[int, ...]) -> Misuse:
    shapes, parameters = _fitting_call(operation)
    return {**shapes, **{name: shape for name, shape in changed.items() if name in shapes}}, parameters, {}


def _with_parameters(operation: Operation, **changed: Any) -> Misuse:
    shapes, parameters = _fitting_call(operation)
    return shapes, {**parameters, **changed}, {}


def _axes_are_wrong(operation: Operation) -> Iterator[Misuse]:
    shapes, _ = _fitting_call(operation)
    for name, shape in shapes.items():
        if name == "bias":
            yield _with_shapes(operation, bias=(5,))
            yield _with_shapes(operation, bias=(1, shape[0]))
        elif name != "residual":
            yield _with_shapes(operation, **{name: shape[:2]})
            if len(shapes) > 1:
                yield _with_shapes(operation, **{name: (*shape, 1)})


def _channels_do_not_fit(operation: Operation) -> Iterator[Misuse]:
    if operation.name != "conv_transpose":
        # Four groups divide the input's channels, but not the six kernels.
        shapes, parameters = _fitting_call(operation)
        w = (6, 1, 3, 3)
        changed = {"kernel_shape": w} if "kernel_shape" in parameters else {}
        yield {n: w if n == "w" else s for n, s in shapes.items()}, {**parameters, "groups": 4, **changed}, {}
    yield from _bad_spatial(operation, "CONV-C2")
    yield _with_parameters(operation, groups=3)
    shapes, _ = _fitting_call(operation)
    if "w" in shapes and "x" in shapes:
        k, c, *kernel = shapes["w"]
        yield _with_shapes(
            operation,
            w=(k + 2, c + 1, *kernel) if operation.name == "conv_transpose" else (k, c + 1, *kernel),
        )


def _bad_spatial(operation: Operation, clause: str) -> Iterator[Misuse]:
    for violated, parameters in operation.bad_parameters():
        if violated == clause:
            yield _with_parameters(operation, **parameters)


def _spatial_parameters_are_wrong(clause: str) -> Callable[[Operation], Iterable[Misuse]]:
    def misuses(operation: Operation) -> Iterator[Misuse]:
        if "output_padding" in operation.parameters:
            yield _with_parameters(operation, stride=2, output_padding=2)
            yield _with_parameters(operation, stride=(3, 1), output_padding=(2, 1))
        yield from _bad_spatial(operation, clause)
        for name in ("kernel", "stride", "dilation"):
            parameter = operation.parameters.get(name)
            if parameter is not None and parameter.clause == clause:
                yield _with_parameters(operation, **{name: (1, 1, 1)})
        if operation.parameters["padding"].clause == clause:
            yield _with_parameters(operation, padding=((1, 1),) * 3)

    return misuses


def _result_does_not_fit(clause: str) -> Callable[[Operation], Iterable[Misuse]]:
    def misuses(operation: Operation) -> Iterator[Misuse]:
        yield from _bad_spatial(operation, clause)
        for name in ("dy", "residual"):
            shape = _fitting_call(operation)[0].get(name)
            if shape is not None:
                yield _with_shapes(operation, **{name: (*shape[:-1], shape[-1] + 1)})
                yield _with_shapes(operation, **{name: (*shape[:-1], 1)})
        shapes, parameters = _fitting_call(operation)
        if clause == "POOL-C4" and "x" in shapes:
            yield shapes, parameters, {"dy": ANOTHER}

    return misuses


def _formats_differ(operation: Operation) -> Iterator[Misuse]:
    shapes, parameters = _fitting_call(operation)
    if len(shapes) == 1:
        yield shapes, parameters, dict.fromkeys(shapes, "int32")
        return
    for name in reversed(shapes):
        yield shapes, parameters, {name: ANOTHER}
        yield shapes, parameters, {name: "float64"}


# Recurrences


def _recurrence(operation: Operation, **changed: tuple[int, ...]) -> Shapes:
    """Return the shapes of a legal call, some of them changed."""
    return {**recurrence_shapes(operation, 3, 2, 5, 4), **changed}


def _axes_of_a_unit_are_wrong(operation: Operation) -> Iterator[Misuse]:
    wrong = {"x": (6, 5), "h": (4,), "c": (1, 2, 4), "w": (16, 5), "u": (16, 4), "bias": (16,)}
    yield from _of_shapes(*(_recurrence(operation, **{name: shape}) for name, shape in wrong.items()))


def _sizes_of_a_unit_differ(operation: Operation) -> Iterator[Misuse]:
    wrong = {
        "x": ((3, 2, 4), (3, 3, 5), (2, 3, 5)),
        "h": ((4, 2), (1, 4), (2, 5)),
        "c": ((4, 2), (1, 4), (2, 1)),
        "w": ((4, 5, 4), (3, 4, 5), (4, 4, 1)),
        "u": ((4, 4, 5), (1, 4, 4), (8, 4, 4)),
        "bias": ((4, 1), (1, 4), (8, 4), (4, 5)),
    }
    for name, shapes in wrong.items():
        yield from _of_shapes(*(_recurrence(operation, **{name: shape}) for shape in shapes))


def _formats_of_a_unit_differ(operation: Operation) -> Iterator[Misuse]:
    for name in operation.arrays:
        if name != "dy":
            for kind in (ANOTHER, "float64"):
                yield _recurrence(operation), {}, {name: kind}
    yield _recurrence(operation), {}, dict.fromkeys(operation.arrays, "int32")


def _gradient_of_a_unit_does_not_fit(operation: Operation) -> Iterator[Misuse]:
    wrong = ((3, 2, 4), (2, 2, 3, 4), (5, 3, 2, 4), (2, 3, 2, 1), (1, 3, 2, 4))
    yield from _of_shapes(*(_recurrence(operation, dy=shape) for shape in wrong))
    yield _recurrence(operation), {}, {"dy": "float64"}


MISUSES: Mapping[str, Callable[[Operation], Iterable[Misuse]]] = {
    "GEMM-C1": _rank_too_low,
    "GEMM-C2": _inner_sizes_differ,
    "GEMM-C3": _batches_differ,
    "GEMM-C4": _addend_does_not_fit,
    "GEMM-C5": _dtypes_differ,
    "ACT-C1": _not_floats,
    "ACT-C2": _gradient_does_not_fit,
    "ACT-C3": _parameter_outside_domain,
    "ACT-C4": _no_such_axis,
    "ACT-C5": _pieces_do_not_divide,
    "CONV-C1": _axes_are_wrong,
    "CONV-C2": _channels_do_not_fit,
    "CONV-C3": _spatial_parameters_are_wrong("CONV-C3"),
    "CONV-C4": _result_does_not_fit("CONV-C4"),
    "CONV-C5": _formats_differ,
    "CONV-C6": lambda operation: _bad_spatial(operation, "CONV-C6"),
    "POOL-C1": _axes_are_wrong,
    "POOL-C2": _spatial_parameters_are_wrong("POOL-C2"),
    "POOL-C3": _spatial_parameters_are_wrong("POOL-C3"),
    "POOL-C4": _result_does_not_fit("POOL-C4"),
    "POOL-C5": lambda operation: _bad_spatial(operation, "POOL-C5"),
    "UNIT-C1": _axes_of_a_unit_are_wrong,
    "UNIT-C2": _sizes_of_a_unit_differ,
    "UNIT-C3": _formats_of_a_unit_differ,
    "UNIT-C4": _gradient_of_a_unit_does_not_fit,
}
"""For each constraint, calls that break it and nothing else."""


def another(dtype: str) -> str:
    """Return a supported dtype that is not this one."""
    return "float16" if dtype == "float32" else "float32"


def is_refused(trial: Trial, problem: Problem) -> None:
    """A call that breaks the constraint raises ``ValueError`` or ``TypeError``."""
    trial.expect_refused(problem)


def constraint(clause: str) -> Check:
    """Return the check of a constraint."""

    def calls(operation: Operation, dtype: str, arithmetic: Arithmetic) -> list[Problem]:
        return [
            Problem(
                operation.name,
                dtype,
                {name: Array(shape) for name, shape in shapes.items()},
                parameters,
                dtypes={name: another(dtype) if kind == ANOTHER else kind for name, kind in dtypes.items()},
            )
            for shapes, parameters, dtypes in MISUSES[clause](operation)
        ]

    def problems(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
        return st.sampled_from(calls(operation, dtype, arithmetic))

    return Check("constraints", problems, is_refused, 0.1, calls, "strict", "anywhere")


# Outputs


def _legal(operation: Operation) -> tuple[Shapes, dict[str, Any]]:
    """Return a legal call, the output of which is to be wrong."""
    if operation.kind in ("convolution", "pooling"):
        return _fitting_call(operation)
    if operation.kind == "recurrence":
        return _recurrence(operation), {}
    if operation.kind == "contraction":
        return {"a": (3, 4), "b": (4, 5), "c": (3, 5)}, {"beta": 1.0}
    return _fitting(operation), {}


def _with_output(operation: Operation, dtype: str) -> Problem:
    shapes, parameters = _legal(operation)
    return Problem(operation.name, dtype, {n: Array(s) for n, s in shapes.items()}, parameters, out=PACKED)


def outputs_that_do_not_fit(operation: Operation, dtype: str, arithmetic: Arithmetic) -> list[Problem]:
    """Return calls with an output of another shape, or of another type."""
    problem = _with_output(operation, dtype)
    shape = problem.result_shape
    misfits: list[dict[str, Any]] = [
        {"shape": other} for other in ((*shape[:-1], shape[-1] + 1), shape[:-1], (1, *shape), (*shape, 1))
    ]
    types = ("int32", dtype) if problem.record.result_dtype == "int64" else (another(dtype), "float64")
    return [replace(problem, misfit=misfit) for misfit in (*misfits, *({"dtype": each} for each in types))]


def outputs_that_overlap(operation: Operation, dtype: str, arithmetic: Arithmetic) -> list[Problem]:
    """Return calls whose output begins at the second element of an input, or lies over itself."""
    problem = _with_output(operation, dtype)
    axes = len(problem.result_shape)
    over_itself = [Layout(steps=tuple(int(axis != at) for axis in range(axes))) for at in (0, axes - 1)]
    return [
        *(replace(_roomy(problem, name), misfit={"over": name}) for name in problem.arrays),
        *(replace(problem, out=layout) for layout in over_itself),
    ]


def _roomy(problem: Problem, name: str) -> Problem:
    """Return the call with gaps in an array, so that the whole result has room in its memory."""
    array = problem.arrays[name]
    step = 2 + 2 * prod(problem.result_shape) // (array.size // array.shape[0])
    layout = Layout(steps=(step, *(1,) * (len(array.shape) - 1)))
    return problem.with_arrays(**{name: replace(array, layout=layout)})


def refuses_an_output_that_does_not_fit(trial: Trial, problem: Problem) -> None:
    """An output of another shape or type is refused."""
    if not trial.subject.takes_out(problem.operation):
        raise Outside
    trial.expect_refused(problem)


def refuses_an_output_that_overlaps(trial: Trial, problem: Problem) -> None:
    """With an output that lies over an input or over itself, a call is refused or answered rightly."""
    if not trial.subject.takes_out(problem.operation):
        raise Outside
    try:
        trial.expect_refused(problem)
    except Violation:
        trial.expect_right(problem, anywhere=True)


def _output(
    role: str,
    calls: Callable[[Operation, str, Arithmetic], list[Problem]],
    holds: Callable[[Trial, Problem], None],
) -> Check:
    def problems(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
        return st.sampled_from(calls(operation, dtype, arithmetic))

    return Check(role, problems, holds, 0.1, calls, "strict", "anywhere")


OUTPUTS = by_role(
    _output("out_fits", outputs_that_do_not_fit, refuses_an_output_that_does_not_fit),
    _output("out_overlaps", outputs_that_overlap, refuses_an_output_that_overlaps),
)
