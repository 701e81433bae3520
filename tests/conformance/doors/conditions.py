"""The conditions of a launch comment as a domain: what a backend declares of the calls that it is for.

A condition behind ``where`` becomes an entry of a domain (:mod:`gaugeblock.spec.domain`), or an error that
says why it cannot. Besides, a launch can only be for calls that it can tell apart: a parameter that a comment
never names has its default value, spatial sizes that it names say how many axes there are, and a product of
matrices that names no ``batch`` has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gaugeblock.conformance.doors import syntax
from gaugeblock.conformance.doors.syntax import Misread, Node, Statement
from gaugeblock.spec.domain import ADDENDS, LAYOUTS, PADDINGS, SIZES, SPATIAL, VALUES, Domain, axes_of
from gaugeblock.spec.record import REQUIRED, Operation

__all__ = ["DTYPES", "domain_of", "dtypes_of", "names_in", "strides_in"]

DTYPES: Final[Mapping[str, str]] = {
    **{name: name for name in ("float32", "float16", "bfloat16")},
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
}
"""Names of formats, as written and as declared."""

_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_FORMS: Final = ADDENDS[2:]


def names_in(*nodes: object) -> Iterator[str]:
    """Yield every name in parts of a statement."""
    for node in nodes:
        if isinstance(node, syntax.Name):
            yield node.text
        elif isinstance(node, tuple):
            yield from names_in(*node)
        elif hasattr(node, "__dataclass_fields__") and not isinstance(node, syntax.Text):
            yield from names_in(*vars(node).values())


def strides_in(*nodes: object) -> Iterator[str]:
    """Yield the arrays whose strides are named."""
    for node in nodes:
        if isinstance(node, syntax.Member) and node.name == "strides":
            yield from names_in(node.of)
        elif isinstance(node, tuple):
            yield from strides_in(*node)
        elif hasattr(node, "__dataclass_fields__") and not isinstance(node, syntax.Text):
            yield from strides_in(*vars(node).values())


def _axes_in(*nodes: object) -> Iterator[int]:
    """Yield the spatial axes of which a parameter is named, as in ``stride[1]``."""
    for node in nodes:
        match node:
            case syntax.Index(of=syntax.Name(), index=syntax.Number(value=int(value))):
                yield value
            case tuple():
                yield from _axes_in(*node)
            case _ if hasattr(node, "__dataclass_fields__") and not isinstance(node, syntax.Text):
                yield from _axes_in(*vars(node).values())


def dtypes_of(statement: Statement) -> tuple[str, ...] | None:
    """Return the formats that the conditions allow; None where they do not say."""
    for node in statement.conditions:
        if isinstance(node, syntax.Binary) and _is_dtype(node.left):
            values = node.right.items if isinstance(node.right, syntax.Tuple) else (node.right,)
            if node.sign not in ("==", "in") or not all(isinstance(value, syntax.Name) for value in values):
                raise Misread(node.at, "expected dtype == float16, or dtype in (float32, float16)")
            named = [value for value in values if isinstance(value, syntax.Name)]
            for value in named:
                if value.text not in DTYPES:
                    raise Misread(
                        value.at, f"unknown format {value.text!r}, expected one of {', '.join(DTYPES)}"
                    )
            return tuple(DTYPES[value.text] for value in named)
    return None


def _is_dtype(node: Node) -> bool:
    return (isinstance(node, syntax.Name) and node.text == "dtype") or (
        isinstance(node, syntax.Call) and node.function == "dtype"
    )


def domain_of(statement: Statement, operation: Operation) -> dict[str, Any]:
    """Return the domain of a statement, its formats and the presence of optional arrays aside.

    Raises
    ------
    Misread
        A condition is none that a domain can have; with the reason.
    """
    reader = _Reader(operation, tuple(name.text for name in statement.arrays))
    for node in statement.conditions:
        reader.condition(node)
    reader.infer(statement)
    try:
        Domain.declared(operation, reader.found)
    except (TypeError, ValueError) as error:
        at = statement.conditions[0].at if statement.conditions else statement.operation.at
        raise Misread(at, str(error)) from error
    return reader.found


@dataclass
class _Reader:
    """Reads conditions into a domain."""

    operation: Operation
    arrays: Sequence[str]
    found: dict[str, Any] = field(default_factory=dict)

    def condition(self, node: Node) -> None:
        match node:
            case syntax.Binary(left=left) if _is_dtype(left):
                return
            case syntax.Binary(sign="and", left=left, right=right):
                self.condition(left)
                self.condition(right)
            case syntax.Binary(sign="or"):
                self._layouts(node)
            case syntax.Binary(sign=sign, left=left, right=right):
                self._comparison(node, sign, left, right)
            case syntax.Call():
                self._call(node)
            case syntax.Name(text="nonempty"):
                self._put(node, "empty", False)
            case syntax.Unary(sign="not", operand=syntax.Name(text="broadcast")):
                self._put(node, "broadcast", False)
            case syntax.Name(text=text) if text in LAYOUTS:
                self._call(syntax.Call(node.at, text, ()))
            case syntax.Name(text=text):
                self._flag(node, text, True)
            case syntax.Unary(sign="not", operand=syntax.Name(text=text)):
                self._flag(node, text, False)
            case _:
                raise Misread(node.at, "this is no condition that a domain can have")

    def _put(self, node: Node, key: str, value: Any) -> None:
        """Enter a value; bounds of one size come together."""
        old = self.found.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not set(old) & set(value):
            value = old | value
        elif old is not None and old != value:
            raise Misread(node.at, f"a second condition on {key}: a domain has one, or bounds")
        self.found[key] = value

    def _flag(self, node: Node, name: str, value: bool) -> None:
        parameter = self.operation.parameters.get(name)
        if parameter is None or parameter.kind != "flag":
            flags = [n for n, each in self.operation.parameters.items() if each.kind == "flag"]
            raise Misread(node.at, f"unknown condition {name!r}, expected {self._known(flags)}")
        self._put(node, name, value)

    def _known(self, flags: Sequence[str]) -> str:
        return f"a comparison, one of {', '.join((*flags, 'nonempty', *LAYOUTS))}, or {', '.join(VALUES)} (x)"

    # Conditions by name ----------------------------------------------------------------------------------

    def _call(self, node: syntax.Call) -> None:
        name = node.function
        if name in LAYOUTS:
            for array in self._named(node, (*self.arrays, "out")):
                self._add(node, "layout", array, (name,))
        elif name in VALUES:
            for array in self._named(node, self.arrays):
                self._add(node, "values", array, (*self.found.get("values", {}).get(array, ()), name))
        elif name in PADDINGS:
            self.found["padding"] = (*self.found.get("padding", ()), name)
        elif name in _FORMS and self.operation.kind == "contraction":
            self._named(node, ("c",))
            self.found["c"] = (*self.found.get("c", ()), name)
        elif name == "aligned" and len(node.arguments) == 1:
            self._put(node, "alignment", self._constant(node.arguments[0]))
        else:
            raise Misread(node.at, f"unknown condition {name!r}, expected {self._known(())}")

    def _named(self, node: syntax.Call, known: Sequence[str]) -> Sequence[str]:
        """Return the arrays that a condition names, all where it names none."""
        for argument in node.arguments:
            if not isinstance(argument, syntax.Name) or argument.text not in known:
                raise Misread(argument.at, f"expected one of {', '.join(known)}")
        return tuple(names_in(node.arguments)) or known

    def _add(self, node: Node, key: str, array: str, names: tuple[str, ...]) -> None:
        entries = self.found.setdefault(key, {})
        if key == "layout" and entries.get(array, names) != names:
            raise Misread(
                node.at, f"{array} has two layouts: write {entries[array][0]}({array}) or {names[0]}({array})"
            )
        entries[array] = names

    def _layouts(self, node: syntax.Binary) -> None:
        """Read ``packed(x) or columns(x)``."""
        sides: list[syntax.Call] = []

        def take(each: Node) -> None:
            if isinstance(each, syntax.Binary) and each.sign == "or":
                take(each.left)
                take(each.right)
            elif isinstance(each, syntax.Call) and each.function in LAYOUTS:
                sides.append(each)
            else:
                raise Misread(each.at, "a domain can choose among layouts only: packed(x) or columns(x)")

        take(node)
        for array in self._named(sides[0], (*self.arrays, "out")):
            self._add(node, "layout", array, tuple(side.function for side in sides))
        if any(tuple(names_in(side.arguments)) != tuple(names_in(sides[0].arguments)) for side in sides):
            raise Misread(node.at, "a domain chooses the layout of each array by itself")

    # Comparisons -----------------------------------------------------------------------------------------

    def _comparison(self, node: syntax.Binary, sign: str, left: Node, right: Node) -> None:
        if isinstance(left, syntax.Number) and sign in _FLIPPED:
            sign, left, right = _FLIPPED[sign], right, left
        if sign == "!=":
            raise Misread(node.at, "a domain says what a value is, not what it is not")
        if isinstance(left, syntax.Binary) and left.sign == "%":
            if sign != "==" or self._constant(right) != 0:
                raise Misread(node.at, "expected a size % a number == 0")
            self._put(node, self._subject(left.left), {"multiple_of": self._constant(left.right)})
            return
        key = self._subject(left)
        if sign in ("==", "in"):
            self._put(node, key, self._wanted(key, right))
            return
        if sign not in _FLIPPED:
            raise Misread(node.at, "this is no condition that a domain can have")
        parameter = self.operation.parameters.get(key)
        if parameter is not None and parameter.kind not in ("spatial", "padding", "count"):
            raise Misread(node.at, f"a domain has no bounds of {key}: write {key} in (…)")
        bound = self._constant(right) + {"<": -1, ">": 1}.get(sign, 0)
        self._put(node, key, {"at_most" if sign in ("<", "<=") else "at_least": bound})

    def _subject(self, node: Node) -> str:
        """Return the name in a domain of what is compared."""
        sizes = (*SIZES[self.operation.kind], "rank")
        match node:
            case syntax.Name(text=text) if text in sizes or text in self.operation.parameters:
                return text
            case syntax.Call(function="size", arguments=(syntax.Name(),)) if "size" in sizes:
                return "size"
            case syntax.Call(function="rank", arguments=(syntax.Name(),)):
                return "rank"
            case syntax.Call(function="cols", arguments=(syntax.Name(text=text),)):
                return self._axis(node, text, -1)
            case syntax.Index(of=syntax.Member(name="shape", of=syntax.Name(text=text)), index=index):
                return self._axis(node, text, self._constant(index))
        known = ", ".join((*sizes, *self.operation.parameters))
        raise Misread(node.at, f"a domain has conditions on {known} alone")

    def _axis(self, node: Node, array: str, axis: int) -> str:
        """Return the name of the size along an axis."""
        if array not in self.arrays:
            raise Misread(node.at, f"expected one of {', '.join(self.arrays)}")
        if "length" in SIZES[self.operation.kind] and axis == -1:
            return "length"
        contraction = self.operation.kind == "contraction"
        rank = self.found.get("rank", 2 if contraction else 4)
        names = axes_of(self.operation, array, rank, self.found)
        name = names[axis] if -len(names) <= axis < len(names) else None
        if name is None or "/" in name:
            raise Misread(node.at, f"axis {axis} of {array} has no name in a domain")
        return name

    def _constant(self, node: Node) -> int:
        match node:
            case syntax.Number(value=int(value)):
                return value
            case syntax.Unary(sign="-", operand=syntax.Number(value=int(value))):
                return -value
        raise Misread(node.at, "expected a whole number")

    def _wanted(self, key: str, node: Node) -> Any:
        """Return what a name has to be equal to."""
        match node:
            case syntax.Tuple(items=items):
                return tuple(self._wanted(key, item) for item in items)
            case syntax.Name(text="none"):
                return None
            case syntax.Name(text="true" | "false"):
                return node.text == "true"
            case syntax.Name() | syntax.Call() | syntax.Index():
                return self._subject(node)
            case syntax.Number(value=value) | syntax.Words(value=value):
                return value
            case syntax.Unary(sign="-", operand=syntax.Number(value=value)):
                return -value
        raise Misread(node.at, "expected a number, a text, true, false, or several in brackets")

    # What a launch cannot tell apart -----------------------------------------------------------------------

    def infer(self, statement: Statement) -> None:
        """Enter what follows from what a statement does not name."""
        named = set(names_in(statement.steps, statement.conditions))
        for name, parameter in self.operation.parameters.items():
            of_padding = name == "padding" and ("padding_after" in named or "padding" in self.found)
            if name in named or of_padding or parameter.kind == "shape" or parameter.default is REQUIRED:
                continue
            if name == "beta" and "c" not in self.arrays:
                continue  # it is zero in every call without c
            same_as_kernel = name == "stride" and parameter.default is None
            self.found[name] = "kernel" if same_as_kernel else parameter.default
        if self.operation.kind == "contraction" and "rank" not in named | set(self.found):
            if "batch" in named:
                self.found.setdefault("broadcast", False)
            else:
                self.found["rank"] = 2
        if self.operation.kind in ("convolution", "pooling") and "rank" not in named | set(self.found):
            used = [2 - names.index(name) for names in SPATIAL for name in names if name in named]
            used += _axes_in(statement.steps)
            if used:
                self.found["rank"] = 3 + max(used)
