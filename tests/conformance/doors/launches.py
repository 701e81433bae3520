"""Operations made of launches: what a launch comment says, done with the arrays of a call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaugeblock.conformance.doors import conditions, syntax, values
from gaugeblock.conformance.doors.signatures import INTEGERS, REALS, Compiled, Type
from gaugeblock.conformance.doors.syntax import Misread, Statement
from gaugeblock.conformance.doors.values import Buffer, Kind, Missing, Scope
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, as_device_array, device, view_of_span
from gaugeblock.gpu.runtime.form import span
from gaugeblock.gpu.runtime.launcher import Kernel, LaunchError, Parameter, Struct, check_limits
from gaugeblock.gpu.runtime.launching import steps
from gaugeblock.gpu.runtime.layout import overlaps_itself
from gaugeblock.gpu.runtime.packing import copy, is_packed, packed
from gaugeblock.reference.gemm import result_shape
from gaugeblock.spec.domain import Domain, Strides, axes_of, sizes_of
from gaugeblock.spec.record import Arguments, Operation, Shape

__all__ = ["Door", "Variant", "check_arguments", "check_sizes"]


@dataclass(frozen=True)
class Variant:
    """A statement in one format, its kernels compiled.

    Attributes
    ----------
    statement : Statement
        What was written.
    operation : Operation
        What it implements.
    dtype : str
        The format.
    domain : Domain
        Its calls.
    kernels : tuple of Compiled
        Those of its launches, in order.
    """

    statement: Statement
    operation: Operation
    dtype: str
    domain: Domain
    kernels: tuple[Compiled, ...] = field(compare=False)

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.statement.text.file}:{self.statement.text.line}"

    def why_not(self, arrays: Mapping[str, Any], dtype: str, arguments: Arguments) -> str:
        """Say why a call is not for this variant; the empty string where it is."""
        given = [name for name in arrays if name != "out"]
        written = [name.text for name in self.statement.arrays if name.text in self.operation.arrays]
        if dtype != self.dtype:
            return f"is for {self.dtype}"
        if given != written:
            return f"is for {self.operation.name}({', '.join(written)})"
        strides = {name: _lie(array) for name, array in arrays.items()}
        shapes = {name: arrays[name].shape for name in given}
        itemsize = DTYPES[dtype].itemsize
        parameters = {name: arguments[name] for name in self.operation.parameters}
        inside = self.domain.accepts(self.operation, dtype, shapes, parameters, strides, itemsize)
        return "" if inside else "has a domain without this call"

    # A call ----------------------------------------------------------------------------------------------

    def run(self, arrays: Mapping[str, Any], arguments: Arguments, shape: Shape, out: Any) -> DeviceArray:
        """Launch the kernels, and return the result."""
        result = self._output(arrays, shape, _result_dtype(self.operation, self.dtype), out)
        if result.size:
            ready = {name: self._ready(name, array, shape) for name, array in arrays.items()}
            parameters = {name: arguments[name] for name in self.operation.parameters}
            scope = Scope(self.operation, ready | {"out": result}, parameters)
            self._steps(scope)
        if out is None:
            return result
        if result is not out:
            _store(result, out)
        return as_device_array(out)

    def _output(self, arrays: Mapping[str, Any], shape: Shape, dtype: Any, out: Any) -> DeviceArray:
        """Return where the kernel writes: the caller's array where it can, else an array like it."""
        layouts = self.domain.layouts.get("out", ())
        if out is not None:
            apart = all(_apart(array, out) for array in arrays.values())
            if apart and (layouts or is_packed(out) or "out" in self._strided()):
                return as_device_array(out)
        order = list(range(len(shape)))
        if layouts and not {"packed", "any", "pitched", "forward"} & set(layouts):
            order = [*order[:-2], *order[:-3:-1]] if "columns" in layouts else [0, *order[2:], *order[1:2]]
        lying = DeviceArray(tuple(shape[axis] for axis in order), dtype)
        return lying.transpose(*np.argsort(order).tolist()) if order else lying

    def _strided(self) -> set[str]:
        return set(conditions.strides_in(self.statement.steps))

    def _ready(self, name: str, array: DeviceArray, shape: Shape) -> DeviceArray:
        """Return an array as the kernel reads it: in a layout that it asks for, or packed."""
        if name in self.domain.layouts or name in self._strided():
            return array
        if self.operation.kind == "contraction" and name == "c" and name not in self.domain.forms:
            rank = len(shape)
            lengths, steps = (1,) * rank + array.shape, (0,) * rank + array.strides
            steps = tuple(0 if length == 1 else step for length, step in zip(lengths, steps, strict=True))
            array = DeviceArray(shape, array.dtype, steps[-rank:], array.pointer, owner=array)
        return packed(array)

    def _steps(self, scope: Scope) -> None:
        kernels, held = iter(self.kernels), list[Any]()
        for step in self.statement.steps:
            match step:
                case syntax.Binding(name=name, value=value):
                    scope.bound[name] = self._held(values.value_of(value, scope), held)
                case syntax.Call(function="zero", arguments=(syntax.Name(text=name),)):
                    place = scope.value(name)
                    device().driver.memset_d8(place.pointer, 0, place.nbytes)
                case syntax.Call(arguments=(syntax.Name(text=name), syntax.Name(text=to))):
                    source, place = scope.value(name), scope.value(to)
                    if source.nbytes != place.nbytes:
                        raise Missing(f"{name} has {source.nbytes} bytes, {to} {place.nbytes}")
                    device().driver.memcpy_dtod(place.pointer, source.pointer, place.nbytes)
                case syntax.Launch():
                    self._launch(step, next(kernels), scope, held)

    def _held(self, value: Any, held: list[Any]) -> Any:
        """Return a value; of scratch memory, the memory, which lives as long as the call."""
        if not isinstance(value, Buffer):
            return value
        memory = DeviceArray((max(1, value.elements * value.itemsize),), np.uint8)
        if value.zero:
            device().driver.memset_d8(memory.pointer, 0, memory.nbytes)
        held.append(memory)
        return memory

    def _launch(self, launch: syntax.Launch, compiled: Compiled, scope: Scope, held: list[Any]) -> None:
        arguments = []
        for place, node in enumerate(launch.arguments):
            value = self._held(values.number_of(node, scope), held)
            type = None if compiled.types is None else compiled.types[place]
            arguments.append(_argument(value, type, compiled, place))
        grid, block = (_sizes(values.value_of(node, scope)) for node in (launch.grid, launch.block))
        shared = 0 if launch.shared is None else values.number_of(launch.shared, scope)
        compiled.kernel.launch(grid, block, *arguments, shared=shared)


class Door:
    """An operation as a backend has it.

    Parameters
    ----------
    operation : Operation
        Which one.
    variants : sequence of Variant
        What can do it; the first that a call is for does it.
    """

    def __init__(self, operation: Operation, variants: Sequence[Variant]) -> None:
        self.operation, self.variants = operation, tuple(variants)

    def __call__(self, *arrays: Any, out: Any = None, **parameters: Any) -> DeviceArray:
        """Do the operation.

        Raises
        ------
        NotImplementedError
            No launch comment is for the call.
        ValueError, TypeError
            The call is none of the operation.
        """
        operation = self.operation
        for name in parameters:
            if name not in operation.parameters:
                raise TypeError(f"{operation.name} has no parameter {name!r}")
        given = {
            name: as_device_array(array)
            for name, array in zip(operation.arrays, arrays, strict=False)
            if array is not None
        }
        arguments = operation.complete(parameters)
        dtype = _dtype(given)
        shapes = {name: array.shape for name, array in given.items()}
        try:
            _check_axes(operation, shapes, arguments)
            shape = operation.shape(shapes, {name: arguments[name] for name in operation.parameters})
        except ArithmeticError as error:  # of a number that no call has, such as no pieces
            raise ValueError(f"{operation.name}: {parameters}: {error}") from error
        if out is not None:
            out = as_device_array(out)
            _check_output(out, shape, _result_dtype(operation, dtype))
        arranged = given | ({} if out is None else {"out": out})
        reasons = [variant.why_not(arranged, dtype, arguments) for variant in self.variants]
        for variant, reason in zip(self.variants, reasons, strict=True):
            if not reason:
                try:
                    return variant.run(given, arguments, shape, out)
                except Missing as missing:
                    raise NotImplementedError(f"{variant.place}: {missing}") from None
                except Misread as misread:
                    raise LaunchError(variant.statement.text.complaint(misread)) from None
                except LaunchError as error:
                    raise LaunchError(f"{variant.place}: {error}") from None
        said = {f"{variant.place} {reason}" for variant, reason in zip(self.variants, reasons, strict=True)}
        raise NotImplementedError("; ".join(sorted(said)))


# Arguments -------------------------------------------------------------------------------------------------


def check_arguments(launch: syntax.Launch, compiled: Compiled, names: Mapping[str, Kind]) -> None:
    """Hold the arguments of a launch against what the kernel takes.

    Raises
    ------
    Misread
        One does not fit.
    """
    takes: Sequence[Type | Parameter] | None = compiled.types
    if takes is None and (takes := compiled.kernel.parameters) is None:
        return
    if len(takes) != len(launch.arguments):
        shown = ", ".join(map(_shown, takes))
        raise Misread(
            launch.at, f"{launch.kernel} takes {len(takes)} arguments ({shown}), got {len(launch.arguments)}"
        )
    for place, (node, each) in enumerate(zip(launch.arguments, takes, strict=True), 1):
        what, kind = f"argument {place} of {launch.kernel}", values.kind_of(node, names)
        address = kind in ("array", "buffer")
        if isinstance(each, Type):
            pointer, whole, real = each.pointer, each.name in INTEGERS, each.name in REALS
        else:
            real, whole = each.type in ("f32", "f64"), each.type[0] in "usb" and "[" not in each.type
            pointer = whole and each.size == 8 and address
        if not (pointer or whole or real):
            raise Misread(node.at, f"{what} is a {_shown(each)}, which no expression is")
        if pointer != address or (whole and not pointer and kind == "real") or kind in ("words", "grid"):
            raise Misread(node.at, f"{what} is {_shown(each)}, got {values.ARTICLES[kind]}")


def _shown(each: Type | Parameter) -> str:
    return str(each) if isinstance(each, Type) else each.type


def check_sizes(launch: syntax.Launch, names: Mapping[str, Kind], kernel: Kernel | None = None) -> None:
    """Refuse what are no sizes, and those beyond a kernel's limits, or every device's, in every call.

    Raises
    ------
    Misread
        With the size and its limit.
    """
    for what, node in (("grid", launch.grid), ("block", launch.block), ("shared", launch.shared)):
        if node is None:
            continue
        values.expect(node, names, "whole" if what == "shared" else "grid")
        if set(conditions.names_in(node)):
            continue
        nothing: Any = None  # no name is asked for
        size = values.value_of(node, nothing)
        given: dict[str, Any] = {"grid": (1,), "block": (1,), "shared": 0}
        given[what] = size if what == "shared" else _sizes(size)
        try:
            if kernel is None:
                check_limits(launch.kernel, **given)
            else:
                kernel.check(**given)
        except LaunchError as error:
            raise Misread(node.at, str(error)) from None


def _argument(value: Any, type: Type | None, compiled: Compiled, place: int) -> Any:
    """Return a value as the kernel takes it."""
    if value is None or isinstance(value, DeviceArray):
        return ctypes.c_uint64(0 if value is None else value.pointer)
    parameters = compiled.kernel.parameters
    name = parameters[place].type if parameters is not None else ""
    if type is not None and type.name in INTEGERS:
        low, high = INTEGERS[type.name]
        if not low <= value <= high:
            raise Missing(f"argument {place + 1} of {compiled.kernel.name} is {value}, no {type.name} is")
    size = parameters[place].size if parameters is not None else 8
    if type is not None and type.name in ("__half", "__nv_bfloat16"):
        return DTYPES["float16" if type.name == "__half" else "bfloat16"].type(value)
    if name in ("f32", "f64"):
        return ctypes.c_float(value) if size == 4 else ctypes.c_double(value)
    return Struct((int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "little"), size)


def _sizes(value: Any) -> tuple[int, ...]:
    """Return the sizes of a grid or a block."""
    return tuple(map(int, value)) if isinstance(value, Sequence) else (int(value),)


# Arrays ----------------------------------------------------------------------------------------------------


def _dtype(arrays: Mapping[str, DeviceArray]) -> str:
    """Return the one format of all arrays."""
    (first, array), *others = arrays.items()
    for name, other in others:
        if other.dtype != array.dtype:
            raise TypeError(f"GEN-C1: {first} has dtype {array.dtype}, {name} has dtype {other.dtype}")
    if array.dtype.name not in DTYPES:
        raise TypeError(f"GEN-C1: {first} has dtype {array.dtype}, expected one of {', '.join(DTYPES)}")
    return str(array.dtype.name)


def _result_dtype(operation: Operation, dtype: str) -> Any:
    return DTYPES[dtype] if operation.result_dtype == "same" else np.dtype(np.int64)


def _check_output(out: DeviceArray, shape: Shape, dtype: Any) -> None:
    """Refuse an array that the result does not fit in."""
    if (out.shape, out.dtype) != (shape, dtype):
        raise ValueError(f"GEN-C2: out is {out.dtype} of {out.shape}, the result is {dtype} of {shape}")
    if not out.writable:
        raise ValueError("GEN-C2: out is read-only")
    if overlaps_itself(out.shape, out.strides, out.dtype.itemsize):
        raise ValueError(f"GEN-C3: out shares memory with itself, its strides are {out.strides}")


def _check_axes(operation: Operation, shapes: Mapping[str, Shape], arguments: Arguments) -> None:
    """Refuse arrays that have different lengths along one axis, and parameters that no call has."""
    if operation.kind in ("elementwise", "rowwise"):
        if len(set(shapes.values())) > 1:
            raise ValueError(f"{operation.name}: the arrays have the shapes {dict(shapes)}, expected one")
        ones = {name: np.zeros((1,) * len(shape)) for name, shape in shapes.items()}
        operation.reference(**ones, **{name: arguments[name] for name in operation.parameters})
    if operation.kind == "contraction":
        legal: Any = result_shape
        legal(**shapes, **{name: arguments[name] for name in operation.parameters})
    for name, parameter in operation.parameters.items():
        rank = len(shapes[operation.arrays[0]])
        if parameter.kind == "axis" and not -rank <= arguments[name] < rank:
            raise ValueError(f"{operation.name}: {name} is {arguments[name]}, the arrays have {rank} axes")
    sizes = sizes_of(operation, shapes, {name: arguments[name] for name in operation.parameters})
    for name, shape in shapes.items():
        if (operation.kind, name) == ("contraction", "c"):
            continue
        axes = axes_of(operation, name, len(shape), arguments)
        if len(axes) != len(shape):
            raise ValueError(f"{operation.name}: {name} has {len(shape)} axes, expected {len(axes)}")
        for axis, length in zip(axes, shape, strict=True):
            if sizes.get(axis or "", length) != length:
                raise ValueError(
                    f"{operation.name}: {axis} is {length} in {name}, expected {sizes[axis or '']}"
                )


def _lie(array: DeviceArray) -> Strides:
    itemsize = int(array.dtype.itemsize)
    return Strides(array.shape, steps(array)[0], array.pointer // itemsize)


def _apart(one: DeviceArray, other: DeviceArray) -> bool:
    """Whether two arrays share no byte, as far as their ends tell."""
    (low, high), (start, stop) = span(one), span(other)
    return one.pointer + high <= other.pointer + start or other.pointer + stop <= one.pointer + low


def _store(result: DeviceArray, out: DeviceArray) -> None:
    """Copy a result to where the caller wants it."""
    if result.dtype.name in DTYPES:
        copy(result, out)
        return
    low, high = span(out)
    memory = np.empty(high - low, np.uint8)
    device().driver.memcpy_dtoh(memory, out.pointer + low)
    view_of_span(memory, out, -low)[...] = result.get()
    device().driver.memcpy_htod(out.pointer + low, memory)
