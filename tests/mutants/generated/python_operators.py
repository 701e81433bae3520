"""Operators that change Python source: every change is one edit of the text, at a node of its syntax tree."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from change import Change

Edit = tuple[ast.AST, str]
"""A node and the text that replaces it."""

COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NOT_COMMUTATIVE = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.MatMult)
OPPOSITES = {
    "max": "min",
    "maximum": "minimum",
    "argmax": "argmin",
    "zeros": "ones",
    "any": "all",
    "signbit": "isfinite",
    "ceil": "floor",
    "isinf": "isnan",
}
OPPOSITES |= {b: a for a, b in OPPOSITES.items()} | {"empty": "zeros", "expm1": "exp", "log1p": "log"}
NARROWER = {"float64": "float32", "float32": "float16", "D": "F", "int64": "int8"}


def _varied(node: Any, **fields: Any) -> str:
    """Return the text of a node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    text = ast.unparse(other)
    return f"({text})" if isinstance(node, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp) else text


def comparison(node: ast.AST) -> Iterator[Edit]:
    """Let a comparison include its limit, or not; or turn it."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            ops = [*node.ops[:i], COMPARISONS[type(op)](), *node.ops[i + 1 :]]
            yield node, _varied(node, ops=ops)


def constant(node: ast.AST) -> Iterator[Edit]:
    """Change a number by one, or by a part in a thousand; turn a flag."""
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield node, repr(not value)
        elif isinstance(value, int):
            yield node, repr(value + 1)
            yield node, f"({value - 1})"
        elif isinstance(value, float):
            yield node, repr(value * (1 + 2.0**-10) if value else 2.0**-10)


def arithmetic(node: ast.AST) -> Iterator[Edit]:
    """Use another operation."""
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield node, _varied(node, op=ARITHMETIC[type(node.op)]())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node, ast.unparse(node.operand)


def operands(node: ast.AST) -> Iterator[Edit]:
    """Swap operands, arguments, or the members of a tuple."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, NOT_COMMUTATIVE):
        yield node, _varied(node, left=node.right, right=node.left)
    if isinstance(node, ast.Call):
        for i, pair in enumerate(itertools.pairwise(node.args)):
            if all(isinstance(each, ast.Name | ast.Attribute | ast.Subscript) for each in pair):
                yield node, _varied(node, args=_swapped(node.args, i))
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        index = any(isinstance(each, ast.Slice) for each in node.elts)  # which has no brackets of its own
        for i in range(len(node.elts) - 1):
            members = ", ".join(ast.unparse(each) for each in _swapped(node.elts, i))
            yield node, members if index else f"({members})"


def _swapped(items: list[Any], i: int) -> list[Any]:
    return [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def condition(node: ast.AST) -> Iterator[Edit]:
    """Negate a condition, or join its parts otherwise."""
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield node.test, f"(not ({ast.unparse(node.test)}))"
    if isinstance(node, ast.BoolOp):
        yield node, _varied(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield node, f"({ast.unparse(node.operand)})"
    if isinstance(node, ast.comprehension):
        for test in node.ifs:
            yield test, "True"


def bound(node: ast.AST) -> Iterator[Edit]:
    """Move the end of a slice or of a range by one, or lose it."""
    if isinstance(node, ast.Slice):
        for end in (node.lower, node.upper):
            if end is not None:
                yield end, ""
                yield from ((end, f"({ast.unparse(end)}) {by}") for by in ("+ 1", "- 1"))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        last = node.args[min(1, len(node.args) - 1)]
        yield last, f"({ast.unparse(last)}) - 1"


def order(node: ast.AST) -> Iterator[Edit]:
    """Run through a loop in the other direction."""
    if isinstance(node, ast.For):
        if isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) == "reversed":
            yield node.iter, ast.unparse(node.iter.args[0])
        else:
            yield node.iter, f"reversed(list({ast.unparse(node.iter)}))"


def opposite(node: ast.AST) -> Iterator[Edit]:
    """Call a function's counterpart: minimum for maximum, all for any."""
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in OPPOSITES:
            yield function, _varied(function, attr=OPPOSITES[function.attr])
        elif isinstance(function, ast.Name) and function.id in ("max", "min", "any", "all"):
            yield function, OPPOSITES[function.id]


def narrowing(node: ast.AST) -> Iterator[Edit]:
    """Compute in a narrower type."""
    if isinstance(node, ast.Attribute) and node.attr in NARROWER:
        yield node, _varied(node, attr=NARROWER[node.attr])
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        if node.id == "D":
            yield node, "F"
        if node.id == "F":
            yield node, "np.float16"


def statement(node: ast.AST) -> Iterator[Edit]:
    """Leave out a statement, a guard's error included; or exchange two neighbours."""
    for block in (getattr(node, name, None) for name in ("body", "orelse")):
        if not block or not isinstance(block, list) or isinstance(node, ast.ClassDef | ast.Module):
            continue
        known: set[str] = set()
        for here, after in zip(block, [*block[1:], None], strict=True):
            if _can_go(here, known):
                yield here, "pass"
            known |= {each.id for each in ast.walk(here) if isinstance(each, ast.Name)}
            if isinstance(here, ast.Assign | ast.AugAssign) and isinstance(after, ast.Assign | ast.AugAssign):
                both = ast.Module([here, after], [])
                lines = "\n".join(ast.unparse(each) for each in (after, here))
                yield both, lines.replace("\n", "\n" + " " * here.col_offset)


def _can_go(node: ast.stmt, known: set[str]) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return all(not isinstance(t, ast.Name) or t.id in known for t in node.targets)
    return isinstance(node, ast.AugAssign | ast.Raise)


OPERATORS: Mapping[str, Callable[[ast.AST], Iterator[Edit]]] = {
    function.__name__: function
    for function in (
        comparison,
        constant,
        arithmetic,
        operands,
        condition,
        bound,
        order,
        opposite,
        narrowing,
        statement,
    )
}


def changes(file: str, text: str, wanted: Callable[[str], bool], only: tuple[str, ...] = ()) -> list[Change]:
    """Return every change of the definitions at the top of a file that are wanted.

    Parameters
    ----------
    file
        The path that the changes name.
    text
        The source.
    wanted
        Whether a definition is changed, by its name.
    only
        The operators to use; all if none is named.
    """
    starts = [0]
    for each in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(each))
    found = set()
    for scope, top in definitions(text):
        if not wanted(scope):
            continue
        for node in _computing(top):
            for operator, edits in OPERATORS.items():
                if only and operator not in only:
                    continue
                for where, after in edits(node):
                    found.add(_change(file, text, starts, operator, where, after, scope))
    return sorted(found)


def _change(
    file: str, text: str, starts: list[int], operator: str, where: Any, after: str, scope: str
) -> Change:
    first, last = (where.body[0], where.body[-1]) if isinstance(where, ast.Module) else (where, where)
    start = starts[first.lineno - 1] + first.col_offset
    end = starts[last.end_lineno - 1] + last.end_col_offset
    before = text.encode()[start:end].decode()
    return Change(file, start, end, operator, after, before, first.lineno, scope)


def definitions(text: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the definitions of a file by name: those at its top, and the methods of its classes."""
    for top in ast.parse(text).body:
        if isinstance(top, ast.ClassDef):
            for part in top.body:
                yield part.name if isinstance(part, ast.FunctionDef) else top.name, part
        elif isinstance(top, ast.FunctionDef):
            yield top.name, top
        elif isinstance(top, ast.Assign | ast.AnnAssign):
            target = top.targets[0] if isinstance(top, ast.Assign) else top.target
            if isinstance(target, ast.Name):
                yield target.id, top


def _computing(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that compute: no annotations, no decorators, no words of errors."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "exc", "args") and (
            name != "args" or isinstance(node, ast.arguments)
        ):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST) and not isinstance(each, ast.JoinedStr):
                yield from _computing(each)
