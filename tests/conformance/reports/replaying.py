"""The failures of a report, put to a backend again."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, get_args

from gaugeblock.conformance.backend.loading import PAIR, BackendError
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.engine import replay
from gaugeblock.conformance.problems.problem import Array, Distribution, Layout, Problem
from gaugeblock.conformance.reports.data import entries, visible
from gaugeblock.conformance.reports.files import ReportError
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

ELEMENTS = 1 << 28
"""The most elements an array of a problem may have: no check draws more."""


@dataclass(frozen=True)
class Failure:
    """A failure of a report: a clause, and the problem that broke it, if it was one."""

    operation: str
    dtype: str
    clause: str
    problem: Problem | None


def failures(
    data: dict[str, Any], operations: Collection[str], dtypes: Collection[str], clauses: Collection[str]
) -> list[Failure]:
    """Return the failures of a report, or those of some operations, dtypes and clauses.

    Raises
    ------
    ReportError
        If the problem of one cannot be read.
    """
    chosen = []
    for operation, dtype, entry in entries(data):
        for id, clause in entry["clauses"].items():
            wanted = ((operation, operations), (dtype, dtypes), (id, clauses))
            if clause["failure"] is None or any(some and name not in some for name, some in wanted):
                continue
            text = clause["failure"].get("problem") or clause["failure"]["reproduce"]
            try:
                problem = None if text is None else read_problem(text)
                if problem is not None:
                    _expect_same(problem, operation, dtype, id)
            except ReportError as error:
                raise ReportError(visible(f"{operation}.{dtype}.{id}: {error}")) from None
            chosen.append(Failure(operation, dtype, id, problem))
    return chosen


def _expect_same(problem: Problem, operation: str, dtype: str, clause: str) -> None:
    if (problem.operation, problem.dtype) != (operation, dtype):
        raise ReportError(f"its problem is one of {problem.operation} in {problem.dtype}")
    if clause not in checks_of(OPERATIONS[operation]):
        raise ReportError(f"{operation} has no such clause in this version")


def place(data: dict[str, Any], report: Path, backend: str | None) -> tuple[str, Path]:
    """Return the backend to replay with and the folder to do it in.

    A backend that the report names was named in the folder of the run. Where it is not there, as on another
    machine, it may lie beside the report, or in the current folder.
    """
    if backend is not None:
        return backend, Path.cwd()
    name = str(data["backend"])
    beside, here = report.resolve().parent, Path.cwd()
    guesses = [Path(data["folder"])] if data.get("folder") else []
    folders = [folder for folder in (*guesses, beside, here) if folder.is_dir()]
    problem, plus, _ = name.partition(PAIR)
    path = f"{problem}.py" if plus else name.partition(":")[0]
    for folder in folders:
        if not path.endswith(".py") or (folder / path).is_file():
            return name, folder
    looked = ", ".join(dict.fromkeys(map(str, (*guesses, beside, here))))
    raise ReportError(visible(f"there is no {path} in {looked}: name it with --backend"))


def replay_all(chosen: Collection[Failure], backend: str, folder: Path) -> int:
    """Put failures to a backend again, print what comes of each, and return how many still fail.

    One that has no problem, for the process was lost before its turn, counts: nothing shows that it holds.
    """
    failed = 0
    with contextlib.chdir(folder):
        for failure in chosen:
            if failure.problem is None:
                name = f"{failure.clause} of {failure.operation} in {failure.dtype}"
                print(f"{name} was not tried in that run: there is nothing to replay, run conform again")
                failed += 1
            else:
                failed += not _replay(backend, failure, failure.problem)
    return failed


def _replay(backend: str, failure: Failure, problem: Problem) -> bool:
    """Put one problem to a backend; that of no run of ours may be one that cannot be put at all."""
    try:
        return replay(backend, failure.clause, problem)
    except BackendError:
        raise
    except Exception as error:
        name = f"{failure.operation}.{failure.dtype}.{failure.clause}"
        words = visible(f"{type(error).__name__}: {error}").partition("\n")[0][:200]
        raise ReportError(f"{name}: its problem cannot be put: {words}") from error


def read_problem(text: str) -> Problem:
    """Read a problem from its ``repr``, or from the script that has it; nothing is evaluated.

    Raises
    ------
    ReportError
        If that is no call of Problem, Array and Layout with literals.
    """
    try:
        calls = [node for node in ast.walk(ast.parse(text)) if _name(node) == "Problem"]
        if len(calls) != 1:
            raise ReportError(f"expected one Problem, got {len(calls)}")
        problem = _value(calls[0])
        _check(problem)
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise ReportError(f"its problem cannot be read: {str(error).partition(chr(10))[0]}") from None
    assert isinstance(problem, Problem)
    return problem


_MADE = {"Problem": Problem, "Array": Array, "Layout": Layout}


def _name(node: ast.AST) -> str | None:
    """Return the name of the function that a node calls."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _value(node: ast.AST) -> Any:
    """Return the value of a literal, of an infinity or NaN, or of a call of one of the three classes."""
    match node:
        case ast.Call() if _name(node) in _MADE:
            keywords = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
            return _MADE[str(_name(node))](*map(_value, node.args), **keywords)
        case ast.Call(args=[ast.Constant(value=str() as text)], keywords=[]) if _name(node) == "float":
            return float(text)
        case ast.Dict(keys=keys, values=values):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.Tuple(elts=items):
            return tuple(map(_value, items))
        case ast.List(elts=items):
            return list(map(_value, items))
    return ast.literal_eval(node)  # which refuses what is no literal


def _check(problem: Problem) -> None:
    """Hold the parts of a problem to their types: what builds arrays trusts them."""
    if problem.operation not in OPERATIONS:
        raise ValueError(f"there is no operation {problem.operation!r}")
    _expect(problem.dtype in FORMATS, "dtype", problem.dtype)
    for name, array in problem.arrays.items():
        _expect(isinstance(name, str) and isinstance(array, Array), "arrays", name)
        _expect(_whole(array.shape) and min(array.shape, default=0) >= 0, "shape", array.shape)
        _expect(prod(array.shape) <= ELEMENTS, "shape", array.shape)
        _expect(array.values in get_args(Distribution), "values", array.values)
        numbers = (array.scale, array.shift, array.limit, array.seed)
        _expect(
            all(isinstance(number, int | float) for number in numbers), "scale, shift, limit, seed", numbers
        )
        for index, value in array.planted:
            _expect(_whole((index,)) and isinstance(value, int | float), "planted", (index, value))
        _check_layout(array.layout, len(array.shape))
    _expect(problem.out is None or isinstance(problem.out, Layout), "out", problem.out)
    _expect(isinstance(problem.parameters, dict), "parameters", problem.parameters)
    _expect(problem.alias is None or problem.alias in problem.arrays, "alias", problem.alias)
    known = set(problem.arrays) >= set(problem.dtypes)
    _expect(
        known and all(isinstance(dtype, str) for dtype in problem.dtypes.values()), "dtypes", problem.dtypes
    )


def _check_layout(layout: Layout, rank: int) -> None:
    _expect(isinstance(layout, Layout) and _whole((layout.offset,)), "layout", layout)
    _expect(layout.order is None or sorted(layout.order) == list(range(rank)), "order", layout.order)
    _expect(layout.steps is None or _whole(layout.steps), "steps", layout.steps)
    _expect(abs(layout.offset) <= ELEMENTS, "offset", layout.offset)
    _expect(layout.steps is None or len(layout.steps) == rank, "steps", layout.steps)


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, tuple) and all(isinstance(number, int) for number in numbers)


def _expect(holds: bool, name: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{name} is {str(value)[:60]!r}")
