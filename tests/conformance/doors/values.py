"""What the expressions of a launch comment are worth in one call, and of which kind they are in every call.

Whole numbers are divided as in C, towards zero. Sizes have the names that domains have
(:mod:`gaugeblock.spec.domain`), parameters those of the operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gaugeblock.conformance.doors import syntax
from gaugeblock.conformance.doors.syntax import Misread, Node
from gaugeblock.gpu.runtime.launching import steps
from gaugeblock.spec.domain import SIZES, sizes_of, windows_of
from gaugeblock.spec.record import Operation

__all__ = [
    "ARTICLES",
    "FUNCTIONS",
    "Buffer",
    "Kind",
    "Missing",
    "Scope",
    "expect",
    "kind_of",
    "kinds",
    "number_of",
    "value_of",
]

Kind = Literal["whole", "real", "flag", "words", "several", "array", "grid", "buffer"]

_PER_AXIS: Final = ("kernel", "stride", "dilation", "output_padding", "padding", "padding_after")
"""Parameters, and what follows from them, that have a value for each spatial axis."""

_KINDS: Final[Mapping[str, Kind]] = {"real": "real", "flag": "flag", "choice": "words"}


class Missing(Exception):
    """A call has no value for a name: the launch is not for it."""


@dataclass(frozen=True)
class Buffer:
    """Scratch memory that a step asks for: so many elements of so many bytes, zero or not."""

    elements: int
    itemsize: int
    zero: bool


# Functions -------------------------------------------------------------------------------------------------

_ITEMSIZES: Final = {
    "float32": 4,
    "float": 4,
    "float16": 2,
    "bfloat16": 2,
    "float64": 8,
    "double": 8,
    "int8": 1,
    "int32": 4,
    "int": 4,
    "int64": 8,
    "bytes": 1,
}
"""Names of element types of scratch memory."""


@dataclass(frozen=True)
class Function:
    """A function of expressions: the kinds that it takes, how many at least, what it makes of them."""

    takes: tuple[Kind, ...]
    returns: Kind
    value: Callable[..., Any]
    least: int = 1


def _ceil_div(number: int, by: int) -> int:
    return -(-number // by)


def _power(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


FUNCTIONS: Final[Mapping[str, Function]] = {
    "size": Function(("array",), "whole", lambda x: math.prod(x.shape)),
    "rank": Function(("array",), "whole", lambda x: len(x.shape)),
    "rows": Function(("array",), "whole", lambda x: math.prod(x.shape[:-1])),
    "cols": Function(("array",), "whole", lambda x: x.shape[-1] if x.shape else 1),
    "ceil_div": Function(("whole", "whole"), "whole", _ceil_div, 2),
    "power_of_two": Function(("whole",), "whole", _power),
    "min": Function(("whole", "whole"), "whole", min, 2),
    "max": Function(("whole", "whole"), "whole", max, 2),
    "dim3": Function(("whole", "whole", "whole"), "grid", lambda *sizes: sizes),
    "sizeof": Function(("words",), "whole", lambda t: _ITEMSIZES[t]),
    "workspace": Function(("whole", "words"), "buffer", lambda n, t: Buffer(n, _ITEMSIZES[t], False), 2),
    "zeros": Function(("whole", "words"), "buffer", lambda n, t: Buffer(n, _ITEMSIZES[t], True), 2),
}


# A call ----------------------------------------------------------------------------------------------------


@dataclass
class Scope:
    """The names of one call and what they stand for; without arrays, the names of every call.

    Attributes
    ----------
    operation : Operation
        What is called.
    arrays : mapping of str to object
        Arrays on the device, ``out`` among them.
    parameters : mapping of str to object
        All parameters.
    bound : dict of str to object
        What the steps so far have given names.
    """

    operation: Operation
    arrays: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: array.shape for name, array in self.arrays.items() if name != "out"}
        self._sizes = sizes_of(self.operation, shapes, self.parameters)
        self._windows = None
        if self.operation.kind in ("convolution", "pooling") and "stride" in self.parameters:
            self._windows = windows_of(self.operation, shapes, self.parameters)

    def value(self, name: str) -> Any:
        """Return what a name stands for."""
        for known in (self.bound, self.arrays, self._sizes):
            if name in known:
                return known[name]
        if name in _PER_AXIS and self._windows is not None:
            return self._per_axis(name)
        if self.parameters.get(name) is None:
            raise Missing(f"the call has no {name}")
        return self.parameters[name]

    def _per_axis(self, name: str) -> Sequence[int]:
        windows = self._windows
        assert windows is not None
        if name == "output_padding":
            given = self.parameters["output_padding"]
            return [given] * len(windows.size) if isinstance(given, int) else list(given)
        known = {"padding": windows.before, "padding_after": windows.after}
        return known[name] if name in known else tuple(getattr(windows, name))


def kinds(operation: Operation, arrays: Sequence[str]) -> dict[str, Kind]:
    """Return the names that the launches of an operation may use, and what they stand for."""
    found: dict[str, Kind] = dict.fromkeys((*SIZES[operation.kind], "rank", "itemsize"), "whole")
    for name, parameter in operation.parameters.items():
        several = parameter.kind in ("spatial", "padding", "shape")
        found[name] = "several" if several else _KINDS.get(parameter.kind, "whole")
    if "padding" in operation.parameters:
        found["padding_after"] = "several"
    return found | dict.fromkeys((*arrays, "out"), "array")


# Kinds -----------------------------------------------------------------------------------------------------


def kind_of(node: Node, names: Mapping[str, Kind]) -> Kind:
    """Return the kind of an expression.

    Raises
    ------
    Misread
        It has a name that nothing has, or puts together what does not go together.
    """
    match node:
        case syntax.Number(value=value):
            return "real" if isinstance(value, float) else "whole"
        case syntax.Words():
            return "words"
        case syntax.Name(text="true" | "false"):
            return "flag"
        case syntax.Name(text="null"):
            return "buffer"
        case syntax.Name(at=at, text=text):
            if text not in names:
                raise Misread(at, f"unknown name {text!r}, expected one of {', '.join(names)}")
            return names[text]
        case syntax.Unary(sign="not", operand=operand):
            expect(operand, names, "flag")
            return "flag"
        case syntax.Unary(operand=operand):
            return expect(operand, names, "real")
        case syntax.Binary(sign=sign, left=left, right=right) if sign in _WHOLE:
            both = {expect(left, names, "real"), expect(right, names, "real")}
            return "real" if "real" in both else "whole"
        case syntax.Member(of=of, name=name):
            expect(of, names, "array")
            if name not in ("shape", "strides"):
                raise Misread(node.at, f"an array has shape and strides, not {name!r}")
            return "several"
        case syntax.Index(of=of, index=index):
            expect(of, names, "several")
            expect(index, names, "whole")
            return "whole"
        case syntax.Tuple(items=items):
            for item in items:
                expect(item, names, "whole")
            if not 1 <= len(items) <= 3:
                raise Misread(node.at, f"expected one to three sizes, got {len(items)}")
            return "grid"
        case syntax.Call():
            return _kind_of_call(node, names)
    raise Misread(node.at, "a condition belongs behind where")


def _kind_of_call(node: syntax.Call, names: Mapping[str, Kind]) -> Kind:
    function = FUNCTIONS.get(node.function)
    if function is None:
        raise Misread(node.at, f"unknown function {node.function!r}, expected one of {', '.join(FUNCTIONS)}")
    if not function.least <= len(node.arguments) <= len(function.takes):
        raise Misread(
            node.at, f"{node.function} takes {len(function.takes)} arguments, got {len(node.arguments)}"
        )
    for argument, kind in zip(node.arguments, function.takes, strict=False):
        if kind == "words":
            if not isinstance(argument, syntax.Name) or argument.text not in _ITEMSIZES:
                raise Misread(argument.at, f"expected a type of elements, one of {', '.join(_ITEMSIZES)}")
        else:
            expect(argument, names, kind)
    return function.returns


def expect(node: Node, names: Mapping[str, Kind], wanted: Kind) -> Kind:
    """Return the kind of an expression that has to be of one, or can stand for it.

    A whole number can stand for a real one, and a parameter with a value for each axis for a whole number,
    in calls where these values agree.
    """
    kind = kind_of(node, names)
    stands = {"real": ("whole", "several"), "whole": ("several", "flag"), "grid": ("whole", "several")}
    if kind != wanted and kind not in stands.get(wanted, ()):
        raise Misread(node.at, f"expected {ARTICLES[wanted]}, got {ARTICLES[kind]}")
    if kind == "several" != wanted and isinstance(node, syntax.Member):
        raise Misread(node.at, f"expected {ARTICLES[wanted]}: which one? {node.name}[0] is the first")
    return "whole" if kind == "several" and wanted != "several" else kind


ARTICLES: Final[Mapping[str, str]] = {
    "whole": "a whole number",
    "real": "a number",
    "flag": "true or false",
    "words": "a text",
    "several": "numbers per axis",
    "array": "an array",
    "grid": "one to three sizes",
    "buffer": "a workspace",
}


# Values ----------------------------------------------------------------------------------------------------


def value_of(node: Node, scope: Scope) -> Any:
    """Return what an expression is worth in a call.

    Raises
    ------
    Missing
        The call has no value for a name.
    Misread
        A division by zero, or an axis that is not there.
    """
    match node:
        case syntax.Number(value=value) | syntax.Words(value=value):
            return value
        case syntax.Name(text="true" | "false"):
            return node.text == "true"
        case syntax.Name(text="null"):
            return None
        case syntax.Name(text="itemsize"):
            return scope.arrays["out"].dtype.itemsize
        case syntax.Name(text=text):
            return scope.value(text)
        case syntax.Unary(sign="not", operand=operand):
            return not value_of(operand, scope)
        case syntax.Unary(operand=operand):
            return -number_of(operand, scope)
        case syntax.Binary(sign=sign, left=left, right=right):
            try:
                return _WHOLE[sign](number_of(left, scope), number_of(right, scope))
            except ZeroDivisionError:
                raise Misread(node.at, "division by zero") from None
        case syntax.Member(of=of, name=name):
            array = value_of(of, scope)
            return array.shape if name == "shape" else steps(array)[0]
        case syntax.Index(of=of, index=index):
            values, place = value_of(of, scope), value_of(index, scope)
            if not -len(values) <= place < len(values):
                raise Missing(f"the call has no axis {place}")
            return values[place]
        case syntax.Tuple(items=items):
            return tuple(number_of(item, scope) for item in items)
        case syntax.Call(function=function, arguments=arguments):
            takes = FUNCTIONS[function].takes
            given = (
                node.text
                if kind == "words" and isinstance(node, syntax.Name)
                else value_of(node, scope)
                if kind == "array"
                else number_of(node, scope)
                for node, kind in zip(arguments, takes, strict=False)
            )
            return FUNCTIONS[function].value(*given)
    raise AssertionError(node)


def number_of(node: Node, scope: Scope) -> Any:
    """Return a number; of one per axis, the one that all of them are."""
    value = value_of(node, scope)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(set(value)) != 1:
            raise Missing(f"one number is wanted where the axes have {tuple(value)}")
        return value[0]
    return value


def _divided(left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)


def _rest(left: Any, right: Any) -> Any:
    return left - _divided(left, right) * right if isinstance(left, int) else math.fmod(left, right)


_WHOLE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    "%": _rest,
}
