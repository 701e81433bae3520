"""Checks of constraints: a call that breaks one is refused with an exception, not answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gaugeblock.conformance.checks.check import Check
from gaugeblock.conformance.problem import Array, Problem
from gaugeblock.conformance.strategies import Shapes
from gaugeblock.conformance.trial import Trial, Violation
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import Operation

Misuse = tuple[Shapes, dict[str, Any], dict[str, str]]
"""Shapes, parameters and the dtypes that differ."""


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
    yield from _of_shapes(*({**product, "c": c} for c in wrong), beta=1.0)
    yield from _of_shapes(product, beta=1.0)


def _dtypes_differ(operation: Operation) -> Iterable[Misuse]:
    shapes: Shapes = {"a": (3, 4), "b": (4, 5), "c": (3, 5)}
    for name in shapes:
        yield shapes, {"beta": 1.0}, {name: "float64"}


def _not_floats(operation: Operation) -> Iterable[Misuse]:
    for dtype in ("int32", "bool"):
        yield dict.fromkeys(operation.arrays, (6,)), {}, dict.fromkeys(operation.arrays, dtype)


def _gradient_does_not_fit(operation: Operation) -> Iterable[Misuse]:
    yield from _of_shapes({"dy": (5,), "x": (6,)}, {"dy": (7, 6), "x": (6, 7)}, {"dy": (1,), "x": (6,)})
    fitting: Shapes = {"dy": (3,), "x": (6,)} if operation.kind == "selection" else {"dy": (6,), "x": (6,)}
    yield fitting, {}, {"dy": "float64"}


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
}
"""For each constraint, calls that break it and nothing else."""


def is_refused(trial: Trial, problem: Problem) -> None:
    """A call that breaks the constraint raises an exception."""
    if trial.subject.refusal(problem) is None:
        raise Violation(problem, f"{problem.operation} answered a call that it must refuse")


def constraint(clause: str) -> Check:
    """Return the check of a constraint."""

    def problems(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
        calls = [
            Problem(
                operation.name,
                dtype,
                {name: Array(shape) for name, shape in shapes.items()},
                parameters,
                dtypes=dtypes,
            )
            for shapes, parameters, dtypes in MISUSES[clause](operation)
        ]
        return st.sampled_from(calls)

    return Check("constraints", problems, is_refused, 1.0)
