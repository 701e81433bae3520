"""What a backend declares about the calls it is for (clauses GEN-D11 and GEN-C6).

Few kernels are for everything an operation allows: they take one format, sizes that are multiples of 16,
packed arrays. A domain says so, per operation, in a mapping that is plain data::

    domain = {
        "gemm": {"rank": 2, "transpose_a": False, "transpose_b": True, "K": {"multiple_of": 16}, "N": "M"},
        "conv": {"x": (8, 64, 56, 56), "w": (64, 64, 3, 3), "padding": 1},
        "softmax": {"rank": 2, "axis": -1, "layout": "packed"},
    }

Inside its domain a backend has to answer, and is held to every clause; outside it has to refuse.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from gaugeblock.reference import convolution as convolutions
from gaugeblock.reference import pooling as poolings
from gaugeblock.reference.windows import Windows
from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.record import Arguments, Operation, Parameter, Shape, Shapes

__all__ = [
    "ADDENDS",
    "LAYOUTS",
    "PADDINGS",
    "SIZES",
    "VALUES",
    "WHOLE",
    "Domain",
    "Strides",
    "Whole",
    "addend_forms",
    "axes_of",
    "sizes_of",
    "windows_of",
]

# Sizes -----------------------------------------------------------------------------------------------------

SPATIAL: Final = (("D", "H", "W"), ("T", "R", "S"), ("Z", "P", "Q"))
"""Names of the lengths of the input, of the kernel and of the result along three spatial axes."""

SIZES: Final[Mapping[str, tuple[str, ...]]] = {
    "contraction": ("M", "N", "K", "batch"),
    "elementwise": ("size",),
    "rowwise": ("size", "length"),
    "selection": ("size", "length"),
    "convolution": ("N", "C", "K", *SPATIAL[0], *SPATIAL[1], *SPATIAL[2]),
    "pooling": ("N", "C", *SPATIAL[0], *SPATIAL[1], *SPATIAL[2]),
    "recurrence": ("T", "N", "D", "H"),
}


def axes_of(operation: Operation, name: str, ndim: int, arguments: Arguments) -> tuple[str | None, ...]:
    """Return the names of the sizes along the axes of an array, None where an axis has none of its own.

    >>> from gaugeblock.spec.operations import OPERATIONS
    >>> axes_of(OPERATIONS["conv"], "w", 4, {})
    ('K', 'C/groups', 'R', 'S')
    """
    if operation.kind == "contraction":
        batch = (None,) * (ndim - 2)
        flag = arguments.get(f"transpose_{name}", False)
        names = {"a": ("M", "K"), "b": ("K", "N"), "c": ("M", "N")}[name]
        return (*batch, *(names[::-1] if flag else names))
    if operation.kind == "recurrence":
        per_gate = (None,)
        return {
            "dy": (None, "T", "N", "H"),
            "x": ("T", "N", "D"),
            "h": ("N", "H"),
            "c": ("N", "H"),
            "w": (*per_gate, "H", "D"),
            "u": (*per_gate, "H", "H"),
            "bias": (*per_gate, "H"),
        }[name]
    if operation.kind not in ("convolution", "pooling"):
        return (None,) * ndim
    inputs, kernel, result = (names[3 - (ndim - 2) :] if ndim > 2 else () for names in SPATIAL)
    if name == "w":
        return ("K", "C/groups", *kernel)
    if name == "bias":
        return ("C" if operation.name == "conv_transpose" else "K",)
    of_result = name in ("dy", "residual") or (name == "x" and operation.name == "conv_transpose")
    if operation.kind == "pooling":
        return ("N", "C", *(result if of_result else inputs))
    return ("N", "K", *result) if of_result else ("N", "C", *inputs)


def windows_of(operation: Operation, shapes: Shapes, arguments: Arguments) -> Windows:
    """Return how the windows of a legal call of convolution or pooling slide over the larger array."""
    if operation.kind == "pooling":
        over = arguments.get("input_shape") or shapes["x"]
        names = [n for n in ("kernel", "stride", "padding", "dilation", "ceil_mode") if n in arguments]
        return poolings.pool_windows(tuple(over), **{name: arguments[name] for name in names})
    steps = {name: arguments[name] for name in ("stride", "padding", "dilation")}
    kernel = tuple(arguments.get("kernel_shape") or shapes["w"])
    over = arguments.get("input_shape") or shapes["x"]
    if operation.name == "conv_transpose":
        over = operation.shape(shapes, {name: arguments[name] for name in operation.parameters})
    return convolutions.conv_windows(tuple(over), kernel, **steps)


def sizes_of(operation: Operation, shapes: Shapes, parameters: Arguments) -> dict[str, int]:
    """Return the sizes of a legal call by their names in the spec.

    >>> from gaugeblock.spec.operations import OPERATIONS
    >>> sizes_of(OPERATIONS["gemm"], {"a": (5, 7), "b": (7, 3)}, {})
    {'M': 5, 'K': 7, 'N': 3, 'batch': 1, 'rank': 2}
    """
    arguments = operation.complete(parameters)
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if (operation.kind, name) != ("contraction", "c"):  # which broadcasts
            axes = axes_of(operation, name, len(shape), arguments)
            for axis, size in zip(axes, shape, strict=True):
                if axis is not None and "/" not in axis:
                    sizes.setdefault(axis, size)
    first = shapes[operation.arrays[0]] if operation.arrays[0] in shapes else next(iter(shapes.values()))
    match operation.kind:
        case "contraction":
            first = max(shapes["a"], shapes["b"], key=len)
            sizes["batch"] = math.prod(np.broadcast_shapes(shapes["a"][:-2], shapes["b"][:-2]))
        case "elementwise" | "rowwise" | "selection":
            first = shapes["x"]
            sizes["size"] = math.prod(first)
            if operation.kind != "elementwise" and first:
                sizes["length"] = first[arguments["axis"]]
        case "convolution" if operation.name != "conv_backward_bias":
            windows = windows_of(operation, shapes, arguments)
            sizes |= _spatial(windows)
            if "w" in shapes:
                sizes["C"] = shapes["w"][1] * arguments["groups"]
            elif arguments.get("kernel_shape"):
                sizes["K"] = arguments["kernel_shape"][0]
            if arguments.get("input_shape"):
                sizes["C"] = arguments["input_shape"][1]
        case "pooling":
            sizes |= _spatial(windows_of(operation, shapes, arguments))
        case _:
            pass
    sizes["rank"] = len(first)
    return sizes


def _spatial(windows: Windows) -> dict[str, int]:
    ndim = len(windows.size)
    lengths = (windows.size, windows.kernel, windows.output)
    return {
        name: size
        for names, values in zip(SPATIAL, lengths, strict=True)
        for name, size in zip(names[3 - ndim :], values, strict=True)
    }


# What may be declared --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strides:
    """How an array lies in memory: its shape, its strides and its first element, counted in elements."""

    shape: Shape
    strides: Shape
    offset: int = 0

    def packed(self, order: Iterable[int]) -> bool:
        """Whether the elements follow each other without a gap, the axes nested in this order."""
        expected = 1
        for axis in reversed(list(order)):
            if self.shape[axis] > 1 and self.strides[axis] != expected:
                return False
            expected *= self.shape[axis]
        return True

    @property
    def pitched(self) -> bool:
        """Whether rows are packed and lie one behind the other, at any distance."""
        extents = [(size, stride) for size, stride in zip(self.shape, self.strides, strict=True) if size > 1]
        if extents and self.shape[-1] > 1 and self.strides[-1] != 1:
            return False
        return all(stride > 0 for _, stride in extents) and all(
            outer >= size * inner for (_, outer), (size, inner) in pairwise(extents)
        )


Named = tuple[str, ...]

LAYOUTS: Final[Mapping[str, Callable[[Strides], bool]]] = {
    "any": lambda array: True,
    "packed": lambda array: array.packed(range(len(array.shape))),
    "columns": lambda array: (
        len(array.shape) < 2
        or array.packed((*range(len(array.shape) - 2), len(array.shape) - 1, len(array.shape) - 2))
    ),
    "channels_last": lambda array: len(array.shape) < 3 or array.packed((0, *range(2, len(array.shape)), 1)),
    "pitched": lambda array: array.pitched,
    "forward": lambda array: all(
        stride > 0 for size, stride in zip(array.shape, array.strides, strict=True) if size > 1
    ),
}
"""Ways an array may lie; an array without elements lies in all of them."""

VALUES: Final[Mapping[str, Callable[[Float64, str], Any]]] = {
    "finite": lambda x, dtype: np.isfinite(x),
    "no_nan": lambda x, dtype: ~np.isnan(x),
    "no_subnormals": lambda x, dtype: (x == 0) | ~(np.abs(x) < FORMATS[dtype].smallest_normal),
    "nonnegative": lambda x, dtype: ~(x < 0),
    "moderate": lambda x, dtype: ~(np.abs(x) > 1000),
}
"""Conditions on the elements of an array, which the suite can evaluate by itself."""

PADDINGS: Final[Mapping[str, Callable[[Windows], bool]]] = {
    "symmetric": lambda w: w.before == w.after,
    "uniform": lambda w: len({*w.before, *w.after}) <= 1,
    "at_most_half": lambda w: all(
        2 * max(b, a) <= k for b, a, k in zip(w.before, w.after, w.kernel, strict=True)
    ),
    "explicit": lambda w: True,  # a matter of how it is written: see Domain.accepts
}
"""Conditions on padding: alike on both sides, on all, at most half of the kernel, written as numbers."""

ADDENDS: Final = ("absent", "given", "matrix", "vector", "row", "column", "scalar")
"""Forms of an optional array; all but the first two are GEMM's addend's."""


def addend_forms(c: Shape | None, result: Shape) -> Named:
    """Return every form that an addend of GEMM has, of a result of this shape.

    >>> addend_forms((3,), (2, 3)), addend_forms((1, 3), (1, 3)), addend_forms(None, (1, 3))
    (('vector', 'row', 'given'), ('matrix', 'row', 'given'), ('absent',))
    """
    if c is None:
        return ("absent",)
    rows, columns = (1, 1, *c)[-2:]
    fits = {
        "matrix": (rows, columns) == result[-2:],
        "vector": len(c) == 1 and columns == result[-1],
        "row": (rows, columns) == (1, result[-1]),
        "column": (rows, columns) == (result[-2], 1),
        "scalar": rows == columns == 1,
        "given": True,
    }
    return tuple(form for form, fit in fits.items() if fit)


@dataclass(frozen=True)
class Whole:
    """Which whole numbers a size, or a parameter that is one, may be."""

    among: tuple[int, ...] | None = None
    multiple_of: int = 1
    at_least: int = 0
    at_most: int | None = None
    equal_to: str | None = None

    def allows(self, value: int, others: Mapping[str, int]) -> bool:
        """Whether a number is allowed beside the other sizes."""
        if self.among is not None:
            return value in self.among
        if self.equal_to is not None:
            return self.equal_to not in others or value == others[self.equal_to]
        return (
            value % self.multiple_of == 0
            and value >= self.at_least
            and (self.at_most is None or value <= self.at_most)
        )

    def nearest(self, value: int, others: Mapping[str, int]) -> int:
        """Return an allowed number near one, the larger where both sides are possible."""
        if self.among is not None:
            return min(self.among, key=lambda known: (abs(known - value), -known))
        if self.equal_to is not None:
            return others.get(self.equal_to, value)
        multiple, least = self.multiple_of, max(value, self.at_least)
        if self.at_most is not None:
            least = min(least, self.at_most // multiple * multiple)
        return -(-least // multiple) * multiple


@dataclass(frozen=True)
class Domain:
    """The calls of one operation that a backend is for; as it stands, all of them.

    Attributes
    ----------
    dtypes : tuple of str
        Formats.
    sizes : mapping of str to Whole
        Sizes by name, spatial parameters per axis, and ``rank``, the number of axes of the largest input.
    shapes : mapping of str to tuple of shapes
        Arrays of fixed shapes.
    parameters : mapping of str to tuple
        Values that other parameters may have.
    forms : mapping of str to tuple of str
        Forms of optional arrays (`ADDENDS`).
    paddings, values, layouts : tuple or mapping of names
        Conditions of `PADDINGS`, which all hold; of `VALUES`, by array, likewise; of `LAYOUTS`, by array, of
        which one holds.
    alignment : int
        Bytes of which the address of every array is a multiple; 0 demands nothing.
    broadcast, empty : bool
        Whether GEMM's batch axes may differ, and whether arrays and results may have no elements.
    """

    dtypes: tuple[str, ...] = tuple(FORMATS)
    sizes: Mapping[str, Whole] = field(default_factory=dict)
    shapes: Mapping[str, tuple[Shape, ...]] = field(default_factory=dict)
    parameters: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    forms: Mapping[str, Named] = field(default_factory=dict)
    paddings: Named = ()
    values: Mapping[str, Named] = field(default_factory=dict)
    layouts: Mapping[str, Named] = field(default_factory=dict)
    alignment: int = 0
    broadcast: bool = True
    empty: bool = True

    @property
    def whole(self) -> bool:
        """Whether nothing is excluded."""
        return self == WHOLE

    @classmethod
    def declared(cls, operation: Operation, declaration: Mapping[str, Any]) -> "Domain":
        """Read one declaration of a backend's ``domain`` and check it.

        Raises
        ------
        TypeError, ValueError
            If it is no mapping, has an unknown name or a value that the name cannot have; the message starts
            with ``GEN-C6``.

        Examples
        --------
        >>> from gaugeblock.spec.operations import OPERATIONS
        >>> Domain.declared(OPERATIONS["gemm"], {"K": {"multiple_of": 16}}).sizes["K"].multiple_of
        16
        >>> Domain.declared(OPERATIONS["gemm"], {"k": 16})
        Traceback (most recent call last):
            ...
        ValueError: GEN-C6: domain of gemm has 'k', did you mean 'K'?
        """
        return _Reader(operation).read(declaration)

    def fixes(self, name: str) -> bool:
        """Whether a parameter has one value in all of these calls."""
        allowed = self.sizes[name].among if name in self.sizes else self.parameters.get(name)
        return len(allowed or ()) == 1

    def accepts(
        self,
        operation: Operation,
        dtype: str,
        shapes: Shapes,
        parameters: Arguments,
        strides: Mapping[str, Strides],
        itemsize: int,
    ) -> bool:
        """Whether a legal call is inside, its elements aside."""
        arguments = operation.complete(parameters)
        return (
            dtype in self.dtypes
            and self._shapes_fit(operation, shapes, arguments)
            and self._parameters_fit(operation, shapes, arguments)
            and all(self.lies(name, array, itemsize) for name, array in strides.items())
        )

    def lies(self, name: str, array: Strides, itemsize: int) -> bool:
        """Whether an array lies in a declared way."""
        allowed = self.layouts.get(name)
        if 0 in array.shape:
            return True
        aligned = not self.alignment or array.offset * itemsize % self.alignment == 0
        return aligned and (allowed is None or any(LAYOUTS[layout](array) for layout in allowed))

    def has(self, name: str, elements: Float64, dtype: str) -> bool:
        """Whether all elements of an array are as declared."""
        return all(bool(np.all(VALUES[rule](elements, dtype))) for rule in self.values.get(name, ()))

    def _shapes_fit(self, operation: Operation, shapes: Shapes, arguments: Arguments) -> bool:
        sizes = sizes_of(operation, shapes, arguments) | {
            name: value for name, value in arguments.items() if type(value) is int
        }
        result = operation.shape(shapes, {name: arguments[name] for name in operation.parameters})
        if not self.empty and any(0 in shape for shape in (*shapes.values(), result)):
            return False
        if any(shapes.get(name, among[0]) not in among for name, among in self.shapes.items()):
            return False
        if any(not rule.allows(sizes[name], sizes) for name, rule in self.sizes.items() if name in sizes):
            return False
        for name, forms in self.forms.items():
            given = shapes.get(name)
            has = addend_forms(given, result) if operation.kind == "contraction" else _presence(given)
            if not set(has) & set(forms):
                return False
        if operation.kind == "contraction" and not self.broadcast:
            return shapes["a"][:-2] == shapes["b"][:-2] and (
                "c" not in shapes or len(shapes["c"]) < 3 or shapes["c"][:-2] == result[:-2]
            )
        return True

    def _parameters_fit(self, operation: Operation, shapes: Shapes, arguments: Arguments) -> bool:
        for name, allowed in self.parameters.items():
            if not any(same(arguments[name], value) for value in allowed):
                return False
        per_axis = [name for name in _STEPS if name in self.sizes and name in operation.parameters]
        if not (per_axis or self.paddings) or operation.kind not in ("convolution", "pooling"):
            return True
        windows = windows_of(operation, shapes, arguments)
        steps: dict[str, Sequence[int]] = {
            "kernel": windows.kernel,
            "stride": windows.stride,
            "dilation": windows.dilation,
            "padding": (*windows.before, *windows.after),
            "output_padding": np.atleast_1d(arguments.get("output_padding", 0)).tolist(),
        }
        for name in per_axis:
            for axis, value in enumerate(steps[name]):
                others = {other: values[axis % len(values)] for other, values in steps.items() if len(values)}
                if not self.sizes[name].allows(value, others):
                    return False
        if "explicit" in self.paddings and isinstance(arguments["padding"], str):
            return False
        return all(PADDINGS[rule](windows) for rule in self.paddings)


WHOLE: Final = Domain()

_STEPS: Final = ("kernel", "stride", "padding", "dilation", "output_padding")


def same(value: Any, allowed: Any) -> bool:
    """Whether a parameter is what a declaration names: as a number, not as a flag."""
    return (isinstance(value, bool) == isinstance(allowed, bool)) and bool(value == allowed)


# Reading a declaration -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reader:
    """Reads the declaration of an operation, and says what is wrong with it."""

    operation: Operation

    def read(self, declaration: Any) -> Domain:
        if not isinstance(declaration, Mapping):
            raise TypeError(f"GEN-C6: domain of {self.operation.name} is {declaration!r}, expected a mapping")
        found: dict[str, Any] = {"sizes": {}, "shapes": {}, "parameters": {}, "forms": {}}
        for key, value in declaration.items():
            if key not in self.names():
                raise ValueError(f"GEN-C6: domain of {self.operation.name} has {key!r}, {self._hint(key)}")
            self._take(found, key, value)
        return Domain(**found)

    def names(self) -> tuple[str, ...]:
        """Return the names that a domain of the operation may have."""
        general = ["dtypes", "rank", "layout", "alignment", "values", "empty"]
        if self.operation.kind == "contraction":
            general.append("broadcast")
        parameters = [n for n, parameter in self.operation.parameters.items() if parameter.kind != "shape"]
        return (*general, *SIZES[self.operation.kind], *parameters, *self.operation.arrays)

    def _hint(self, key: Any) -> str:
        names = self.names()
        close = [name for name in names if name.lower() == str(key).lower()]
        close = close or difflib.get_close_matches(str(key), names, 1)
        return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names)}"

    def _wrong(self, key: str, value: Any, expected: str) -> ValueError:
        return ValueError(f"GEN-C6: domain of {self.operation.name}: {key} is {value!r}, expected {expected}")

    def _take(self, found: dict[str, Any], key: str, value: Any) -> None:
        """Read one entry into the fields of a domain."""
        parameter = self.operation.parameters.get(key)
        # GEMM's and the LSTM's sizes and arrays have other cases: N is a size, c an array.
        if key == "dtypes":
            found["dtypes"] = self._names(key, value, self.operation.dtypes)
        elif key == "layout":
            found["layouts"] = self._by_array(key, value, LAYOUTS, (*self.operation.arrays, "out"))
        elif key == "values":
            found["values"] = self._by_array(key, value, VALUES, self.operation.arrays)
        elif key == "alignment":
            if type(value) is not int or value < 1 or value & (value - 1) or value > 512:
                raise self._wrong(key, value, "a power of two from 1 to 512, in bytes")
            found["alignment"] = value
        elif key in ("empty", "broadcast"):
            if not isinstance(value, bool):
                raise self._wrong(key, value, "True or False")
            found[key] = value
        elif parameter is not None and parameter.kind not in ("spatial", "padding", "count"):
            found["parameters"][key] = self._parameter(key, parameter, value)
        elif parameter is not None and parameter.kind == "padding" and _is_named(value):
            found["paddings"] = self._names(key, value, PADDINGS)
        elif key in self.operation.arrays:
            self._array(found, key, value)
        else:
            found["sizes"][key] = self._whole(key, value)

    def _names(self, key: str, value: Any, known: Iterable[str]) -> Named:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, Sequence) or not names or any(name not in known for name in names):
            raise self._wrong(key, value, f"one or some of {', '.join(map(repr, known))}")
        return tuple(names)

    def _by_array(
        self, key: str, value: Any, known: Iterable[str], arrays: tuple[str, ...]
    ) -> dict[str, Named]:
        if not isinstance(value, Mapping):
            return dict.fromkeys(arrays, self._names(key, value, known))
        for name in value:
            if name not in arrays:
                raise self._wrong(key, value, f"names of arrays among {', '.join(arrays)}")
        return {name: self._names(f"{key}[{name!r}]", names, known) for name, names in value.items()}

    def _array(self, found: dict[str, Any], key: str, value: Any) -> None:
        if _is_named(value):
            if key not in self.operation.optional:
                raise self._wrong(key, value, "a shape: it is never left out")
            known = ADDENDS if self.operation.kind == "contraction" else ADDENDS[:2]
            found["forms"][key] = self._names(key, value, known)
            return
        shapes = value if isinstance(value, Sequence) and value and _is_shape(value[0]) else (value,)
        if not all(_is_shape(shape) for shape in shapes):
            raise self._wrong(key, value, "a shape such as (8, 64, 56, 56), or several")
        found["shapes"][key] = tuple(tuple(shape) for shape in shapes)

    def _parameter(self, key: str, parameter: Parameter, value: Any) -> tuple[Any, ...]:
        values = tuple(value) if isinstance(value, tuple | list) else (value,)
        kinds: dict[str, tuple[type, ...]] = {"flag": (bool,), "choice": (str,), "axis": (int,)}
        allowed = kinds.get(parameter.kind, (int, float))
        for each in values:
            fits = isinstance(each, allowed) and (bool in allowed or not isinstance(each, bool))
            if not values or not (fits or (each is None and parameter.default is None)):
                raise self._wrong(key, value, f"{' or '.join(kind.__name__ for kind in allowed)}, or several")
        if not values:
            raise self._wrong(key, value, "at least one value")
        return values

    def _whole(self, key: str, value: Any) -> Whole:
        words = "a whole number, several, {'multiple_of': m, 'at_least': a, 'at_most': b} or another size"
        if isinstance(value, str):
            if value == key or value not in self.names():
                raise self._wrong(key, value, words)
            return Whole(equal_to=value)
        if isinstance(value, Mapping):
            if not value or any(
                name not in ("multiple_of", "at_least", "at_most") or type(n) is not int or n < 0
                for name, n in value.items()
            ):
                raise self._wrong(key, value, words)
            rule = Whole(**value)
            least = max(rule.at_least, 0)
            multiple = rule.multiple_of
            if multiple < 1 or (rule.at_most is not None and -(-least // multiple) * multiple > rule.at_most):
                raise self._wrong(key, value, "bounds with a multiple between them")
            return rule
        numbers = tuple(value) if isinstance(value, tuple | list | range) else (value,)
        if not numbers or len(numbers) > 4096 or any(type(n) is not int or n < 0 for n in numbers):
            raise self._wrong(key, value, words)
        return Whole(among=numbers)


def _presence(given: Shape | None) -> Named:
    return ("absent",) if given is None else ("given",)


def _is_named(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, Sequence) and bool(value) and all(isinstance(name, str) for name in value)
    )


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(type(size) is int and size >= 0 for size in value)
