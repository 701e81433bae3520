"""Problems that a user lists in a file: JSON lines, or CSV with a header (``--shapes``).

A line of JSON is an object; ``dtype`` (all formats if it is left out), ``parameters`` and ``layouts`` may be
missing. A layout is the order of an array's axes in memory, the outermost first; ``out`` has one too::

    {"operation": "gemm", "shapes": {"a": [8, 64], "b": [32, 64]}, "parameters": {"transpose_b": true}}

In CSV every array, parameter and layout is a column by its name; shapes and orders are written with ``x``
between the numbers, parameters as in JSON, and an empty cell is not given::

    operation,dtype,x,w,stride,padding,layout x
    conv,float16,1x3x224x224,64x3x7x7,2,3,0x2x3x1
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.reference.gemm import result_shape
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS, REQUIRED, Operation

MOST = 1 << 26
"""Elements of the largest array that is put: what the suite and the backend share is limited."""

FIELDS = ("operation", "dtype", "shapes", "parameters", "layouts")


class ShapesError(Exception):
    """A file of shapes is not as described; one line says where, what was found and what was expected."""


@dataclass(frozen=True)
class Given:
    """A listed problem: a call, and the formats it is for."""

    call: LayerCall
    dtypes: tuple[str, ...]


def read(path: Path) -> tuple[Given, ...]:
    """Read a file of shapes.

    Raises
    ------
    ShapesError
        If it cannot be read, or a line is not as described.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ShapesError(f"{path}: {error}") from error
    lines = _json_lines(text) if text.lstrip().startswith(("{", "[")) else _csv_lines(text)
    found = []
    try:
        for line, given in lines:
            found.append(_Line(f"{path}, line {line}", given).read())
    except _LineError as error:
        raise ShapesError(f"{path}, line {error.line}: {error}") from None
    if not found:
        raise ShapesError(f"{path}: has no problem, expected one a line")
    return tuple(found)


def given(where: str, cells: Mapping[str, str]) -> Given:
    """Read one problem off cells by the names of their columns.

    Raises
    ------
    ShapesError
        If it is not as described; it begins with `where`.
    """
    return _Line(where, _sorted_out(cells)).read()


def check(where: str, text: str) -> None:
    """Refuse a line of JSON that is not as described: the error begins with `where`."""
    _Line(where, json.loads(text)).read()


def line(call: LayerCall, dtype: str) -> str:
    """Return a call in one format as the line of JSON that it is read from.

    >>> line(LayerCall("relu", {"x": (2, 3)}, {}, {}), "float32")
    '{"operation": "relu", "dtype": "float32", "shapes": {"x": [2, 3]}}'
    """
    given: dict[str, Any] = {"operation": call.operation, "dtype": dtype, "shapes": dict(call.shapes)}
    given |= {"parameters": dict(call.parameters)} if call.parameters else {}
    return json.dumps(given | ({"layouts": dict(call.orders)} if call.orders else {}))


class _LineError(Exception):
    """A line cannot be taken apart."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except json.JSONDecodeError as error:
            raise _LineError(number, f"is no JSON: {error.msg} at column {error.colno}") from None
        if not isinstance(given, dict):
            raise _LineError(number, f"got {_short(given)}, expected an object with {', '.join(FIELDS)}")
        yield number, given


def _csv_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.reader(StringIO(text))
    header = [name.strip() for name in next(rows, [])]
    if "operation" not in header:
        raise _LineError(1, f"the header has {_short(header)}, expected a column operation")
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise _LineError(rows.line_num, f"has {len(row)} cells, expected {len(header)} as the header")
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
        yield rows.line_num, _sorted_out(cells)


def _sorted_out(cells: Mapping[str, str]) -> dict[str, Any]:
    """Return the cells of a row as the object that a line of JSON is."""
    given: dict[str, Any] = {"shapes": {}, "parameters": {}, "layouts": {}}
    record = OPERATIONS.get(cells.get("operation", ""))
    for name, cell in cells.items():
        if name in ("operation", "dtype"):
            given[name] = cell
        elif name.startswith("layout "):
            given["layouts"][name.removeprefix("layout ").strip()] = _numbers(cell)
        elif record is not None and name in record.arrays:
            given["shapes"][name] = _numbers(cell)
        else:
            given["parameters"][name] = _value(cell)
    return given


def _numbers(cell: str) -> Any:
    """Return the numbers of ``1x3x224``, of ``()`` none, or the text where it is something else."""
    if cell in ("()", "[]"):
        return []
    parts = cell.split("x")
    return [int(part) for part in parts] if all(part.strip().isdecimal() for part in parts) else cell


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(cell, cell)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


class _Line:
    """One line, on its way to a problem."""

    def __init__(self, where: str, given: Mapping[str, Any]) -> None:
        self.where = where
        self.given = given

    def _refuse(self, field: str, got: Any, expected: str) -> ShapesError:
        return ShapesError(f"{self.where}, {field}: got {_short(got)}, expected {expected}")

    def read(self) -> Given:
        for field in self.given:
            if field not in FIELDS:
                raise self._refuse("field", field, f"one of {', '.join(FIELDS)}")
        name = self.given.get("operation")
        if not isinstance(name, str) or name not in OPERATIONS:
            close = difflib.get_close_matches(str(name), OPERATIONS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise self._refuse("operation", name, f"an operation of the spec{hint}")
        record = OPERATIONS[name]
        shapes, parameters = self._shapes(record), self._parameters(record)
        call = LayerCall(name, shapes, parameters, {})
        result = self._legal(record, call)
        return Given(LayerCall(name, shapes, parameters, self._orders(shapes, result)), self._dtypes(record))

    def _mapping(self, field: str) -> Mapping[str, Any]:
        given = self.given.get(field, {})
        if not isinstance(given, dict):
            raise self._refuse(field, given, "an object")
        return given

    def _dtypes(self, record: Operation) -> tuple[str, ...]:
        dtype = self.given.get("dtype")
        if dtype is None:
            return record.dtypes
        if dtype not in FORMATS:
            raise self._refuse("dtype", dtype, f"one of {', '.join(FORMATS)}")
        return (dtype,)

    def _shapes(self, record: Operation) -> dict[str, tuple[int, ...]]:
        given = self._mapping("shapes")
        for name in given:
            if name not in record.arrays:
                raise self._refuse("shapes", name, f"arrays of {record.name}: {', '.join(record.arrays)}")
        for name in record.arrays:
            if name not in given and name not in record.optional:
                raise self._refuse("shapes", list(given), f"{name} too")
        for name, shape in given.items():
            if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
                raise self._refuse(f"shapes, {name}", shape, "a list of whole numbers")
            if prod(shape) > MOST:
                raise self._refuse(f"shapes, {name}", shape, f"at most {MOST} elements")
        return {name: tuple(given[name]) for name in record.arrays if name in given}

    def _parameters(self, record: Operation) -> dict[str, Any]:
        given = self._mapping("parameters")
        for name in given:
            if name not in record.parameters:
                known = ", ".join(record.parameters) or "none"
                raise self._refuse("parameters", name, f"parameters of {record.name}: {known}")
        for name, parameter in record.parameters.items():
            if parameter.default is REQUIRED and name not in given:
                raise self._refuse("parameters", list(given), f"{name} too")
        return {name: _tupled(value) for name, value in given.items()}

    def _orders(self, shapes: Mapping[str, tuple[int, ...]], result: tuple[int, ...]) -> dict[str, Any]:
        given, axes = self._mapping("layouts"), {**shapes, "out": result}
        for name, order in given.items():
            if name not in axes:
                raise self._refuse("layouts", name, f"one of {', '.join(axes)}")
            if not isinstance(order, list) or sorted(map(str, order)) != sorted(
                map(str, range(len(axes[name])))
            ):
                raise self._refuse(
                    f"layouts, {name}", order, f"an order of the axes 0 to {len(axes[name]) - 1}"
                )
        return {name: tuple(order) for name, order in given.items()}

    def _legal(self, record: Operation, call: LayerCall) -> tuple[int, ...]:
        """Return the shape of the result, once the call breaks no constraint of the operation."""
        try:
            result = record.shape(call.shapes, call.parameters)
            if record.kind == "contraction":
                complete = record.complete(call.parameters)
                flags = {name: complete[name] for name in record.parameters}
                result = result_shape(call.shapes["a"], call.shapes["b"], call.shapes.get("c"), **flags)
            elif record.kind in ("elementwise", "rowwise", "selection"):
                zeros = {name: np.zeros(_few(record, shape)) for name, shape in call.shapes.items()}
                record.reference(**zeros, **call.parameters)
        except (ValueError, TypeError, IndexError) as error:
            got = {**call.shapes, **call.parameters}
            raise ShapesError(
                f"{self.where}, shapes: got {_short(got)}, expected a legal call of {record.name}: {error}"
            ) from None
        if prod(result) > MOST:
            raise self._refuse("shapes", call.shapes, f"a result of at most {MOST} elements")
        return tuple(result)


def _few(record: Operation, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape that is as legal, and small unless lengths have to divide."""
    return shape if record.kind == "selection" else tuple(min(length, 64) for length in shape)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
