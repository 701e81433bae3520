"""Launch any kernel on the device that is there: PTX or a cubin, its name, a grid, a block, typed arguments.

On a GPU the driver is asked directly (:mod:`gaugeblock.gpu.runtime.cuda_driver`), in the context that PyCUDA
and PyTorch use, from any thread and on anybody's stream; otherwise the simulated device runs the PTX.
Arguments are held against the parameters that the kernel has before anything is launched.

Examples
--------
>>> import numpy as np
>>> from gaugeblock import gpu
>>> from gaugeblock.gpu.runtime.compiler import compile_source
>>> ptx = compile_source('extern "C" __global__ void fill(float* x, float a) { x[threadIdx.x] = a; }', "f.cu")
>>> x = gpu.to_device(np.zeros(4, np.float32))
>>> fill = gpu.Kernel(ptx, "fill")
>>> fill.launch((1,), (4,), x, np.float32(2.5))
>>> x.get().tolist()
[2.5, 2.5, 2.5, 2.5]
>>> fill.launch((1,), (4,), x)
Traceback (most recent call last):
    ...
gaugeblock.gpu.runtime.launcher.LaunchError: fill takes 2 arguments (u64, f32), got 1
"""

from __future__ import annotations

import ctypes
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gaugeblock.gpu.runtime.compiler import plain_name
from gaugeblock.gpu.runtime.device import Device, device

__all__ = ["Kernel", "LaunchError", "Parameter", "Struct", "entries", "parameters"]

_SIZES: Final[Mapping[str, int]] = {"8": 1, "16": 2, "32": 4, "64": 8, "128": 16}
_STATIC_SHARED: Final = 48 * 1024


class LaunchError(RuntimeError):
    """A launch that cannot be: an unknown kernel, arguments that do not fit, a size beyond a limit."""


@dataclass(frozen=True)
class Struct:
    """An argument that is passed by value, as bytes; `alignment` is that of its type."""

    data: bytes
    alignment: int = 1


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel: its type in PTX, such as ``u64`` (a pointer, too) or ``b8[24]`` (a struct)."""

    type: str
    size: int
    alignment: int


def entries(ptx: bytes | str) -> tuple[str, ...]:
    """Return the names of the kernels in a PTX text."""
    return tuple(re.findall(r"(?m)^[^/\n]*\.entry\s+([\w$]+)", _text(ptx)))


def parameters(ptx: bytes | str, entry: str) -> tuple[Parameter, ...]:
    """Return the parameters of a kernel in a PTX text.

    Raises
    ------
    LaunchError
        There is no such kernel.
    """
    found = re.search(rf"\.entry\s+{re.escape(entry)}\s*(?:\(([^)]*)\))?", _text(ptx))
    if found is None:
        raise unknown(entry, entries(ptx))
    listed = []
    for declaration in filter(str.strip, (found[1] or "").split(",")):
        # What follows .ptr describes what a pointer leads to, not the parameter.
        own = re.sub(r"\.ptr(\s*\.\w+(\s+\d+)?)*", "", declaration)
        alignment, count = re.search(r"\.align\s+(\d+)", own), re.search(r"\[(\d+)\]", own)
        kind = re.search(r"\.((?:[busf]|bf)(8|16|32|64|128))\b", own)
        if kind is None:
            raise LaunchError(f"{entry}: parameter {declaration.strip()!r} is of an unknown type")
        size = _SIZES[kind[2]]
        name = kind[1] + (f"[{count[1]}]" if count else "")
        listed.append(
            Parameter(name, size * int(count[1]) if count else size, int(alignment[1]) if alignment else size)
        )
    return tuple(listed)


def _bounds(ptx: bytes | str, entry: str) -> int | None:
    """Return how many threads of a block a kernel says that it is for."""
    head = re.search(rf"\.entry\s+{re.escape(entry)}\b[^{{]*", _text(ptx))
    found = head and re.search(r"\.(?:maxntid|reqntid)\s+([\d,\s]+)", head[0])
    return math.prod(map(int, found[1].replace(" ", "").strip(",\n").split(","))) if found else None


def unknown(entry: str, known: Iterable[str]) -> LaunchError:
    """Return the error for a kernel that is not found."""
    known = tuple(known)
    close = difflib.get_close_matches(entry, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
    return LaunchError(f"no kernel {entry!r}: {hint}")


class Kernel:
    """A kernel on the device that is there.

    Parameters
    ----------
    binary : bytes or str
        PTX, or on a GPU a cubin.
    entry : str
        The kernel's name in it, mangled if it is not ``extern "C"``.
    ptx : bytes or str, optional
        The PTX of a cubin, which tells its parameters; without it the driver is asked.

    Attributes
    ----------
    name : str
        Its name in C++.
    parameters : tuple of Parameter or None
        What the kernel takes; None where nobody knows.

    Raises
    ------
    LaunchError
        There is no such kernel, or it is a cubin and the device a simulated one.
    """

    def __init__(self, binary: bytes | str, entry: str, *, ptx: bytes | str | None = None) -> None:
        self.name, self._device = plain_name(entry), device()
        is_cubin = isinstance(binary, bytes) and binary[:4] == b"\x7fELF"
        if is_cubin and self._device.simulated:
            raise LaunchError(f"{entry}: a cubin is machine code of a GPU, the simulated device runs PTX")
        text = binary if ptx is None and not is_cubin else ptx
        self.parameters = None if text is None else parameters(text, entry)
        try:
            self._function = self._device.load(binary).get_function(entry)
        except Exception as error:
            raise LaunchError(" ".join(str(error).split()).replace(entry, self.name)) from error
        attributes = self._device.loader.function_attribute
        self._static = self._function.get_attribute(attributes.SHARED_SIZE_BYTES)
        bounds = None if text is None else _bounds(text, entry)
        self._threads = bounds or self._function.get_attribute(attributes.MAX_THREADS_PER_BLOCK)
        if self.parameters is None and (sizes := self._function.parameter_sizes()) is not None:
            self.parameters = tuple(Parameter(f"b8[{size}]", size, 1) for size in sizes)

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        *arguments: Any,
        shared: int = 0,
        stream: Any = None,
    ) -> None:
        """Run the kernel.

        Parameters
        ----------
        grid, block : sequence of int
            One to three sizes.
        *arguments : object
            A value of :mod:`ctypes` or a NumPy scalar, of the parameter's size; an array on the device or an
            allocation, whose address is passed; `Struct`.
        shared : int
            Bytes of dynamic shared memory; its limit is raised if need be.
        stream : int or object, optional
            A ``CUstream``, or PyCUDA's, PyTorch's or CuPy's object for one.

        Raises
        ------
        LaunchError
            An argument does not fit, or a size is beyond the device's limits.
        """
        values = [_value(self.name, place, argument) for place, argument in enumerate(arguments, 1)]
        self._check(values)
        grid, block = _three(self.name, "grid", grid), _three(self.name, "block", block)
        self.check(grid, block, shared)
        if shared > _STATIC_SHARED:
            limit = self._device.loader.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._function.set_attribute(limit, shared)
        if not self._device.simulated:
            self._function.launch(grid, block, [value for value, _ in values], shared, stream)
            return
        packed = b""
        for (value, alignment), parameter in zip(values, self.parameters or (), strict=True):
            alignment = max(parameter.alignment, alignment)
            packed += bytes(-len(packed) % alignment) + bytes(value)
        self._function.launch(grid, block, packed, shared)

    def check(self, grid: Sequence[int], block: Sequence[int], shared: int = 0) -> None:
        """Refuse a launch beyond the limits of the kernel or of the device.

        Raises
        ------
        LaunchError
            With the size and its limit.
        """
        check_limits(self.name, grid, block, shared, self._device)
        if math.prod(block) > self._threads:
            raise LaunchError(f"{self.name}: {math.prod(block)} threads per block, it is for {self._threads}")
        if self._static > _STATIC_SHARED:
            raise LaunchError(
                f"{self.name}: {self._static} bytes of static shared memory, allowed are {_STATIC_SHARED}"
            )
        most = self._device.limits()["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] - self._static
        if shared > most:
            raise LaunchError(
                f"{self.name}: {shared} bytes of dynamic shared memory, allowed are 0 to {most}"
            )

    def _check(self, values: Sequence[tuple[Any, int]]) -> None:
        """Hold arguments against the parameters."""
        if self.parameters is None:
            return
        if len(values) != len(self.parameters):
            types = ", ".join(parameter.type for parameter in self.parameters)
            raise LaunchError(
                f"{self.name} takes {len(self.parameters)} arguments ({types}), got {len(values)}"
            )
        for place, ((value, _), parameter) in enumerate(zip(values, self.parameters, strict=True), 1):
            if ctypes.sizeof(value) != parameter.size:
                raise LaunchError(
                    f"{self.name}: argument {place} has {ctypes.sizeof(value)} bytes, "
                    f"the kernel's is {parameter.type} of {parameter.size}"
                )


def check_limits(
    name: str, grid: Sequence[int], block: Sequence[int], shared: int, on: Device | None = None
) -> None:
    """Refuse a launch beyond what a device can do; without one, beyond what any CUDA device can.

    Raises
    ------
    LaunchError
        With the size and its limit.
    """
    limits = dict(_LIMITS) if on is None else on.limits()
    for what, sizes in (("block", block), ("grid", grid)):
        for (axis, limit), size in zip(_AXES[what], sizes, strict=False):
            if not 1 <= size <= limits[limit]:
                raise LaunchError(f"{name}: {what}.{axis} is {size}, allowed are 1 to {limits[limit]}")
    threads = math.prod(block)
    if threads > limits["MAX_THREADS_PER_BLOCK"]:
        raise LaunchError(
            f"{name}: {threads} threads per block, allowed are {limits['MAX_THREADS_PER_BLOCK']}"
        )
    most = limits["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"]
    if not 0 <= shared <= most:
        raise LaunchError(f"{name}: {shared} bytes of dynamic shared memory, allowed are 0 to {most}")


_LIMITS: Final[Mapping[str, int]] = {
    "MAX_THREADS_PER_BLOCK": 1024,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 227 * 1024,
    "MAX_BLOCK_DIM_X": 1024,
    "MAX_BLOCK_DIM_Y": 1024,
    "MAX_BLOCK_DIM_Z": 64,
    "MAX_GRID_DIM_X": (1 << 31) - 1,
    "MAX_GRID_DIM_Y": 65535,
    "MAX_GRID_DIM_Z": 65535,
}
"""The largest of any device so far, by the names of ``device_attribute``."""
_AXES: Final = {
    what: tuple((axis, f"MAX_{what}_DIM_{axis}".upper()) for axis in "xyz") for what in ("block", "grid")
}


def _three(name: str, what: str, sizes: Sequence[int]) -> tuple[int, int, int]:
    if not 1 <= len(sizes) <= 3:
        raise LaunchError(f"{name}: {what} has {len(sizes)} sizes, expected 1 to 3")
    x, y, z = (*map(int, sizes), 1, 1)[:3]
    return x, y, z


def _value(name: str, place: int, argument: Any) -> tuple[Any, int]:
    """Return an argument as an object of :mod:`ctypes`, and the alignment of its type."""
    if isinstance(argument, np.generic):
        return (ctypes.c_char * argument.nbytes).from_buffer_copy(
            argument.tobytes()
        ), argument.dtype.alignment
    if isinstance(argument, Struct):
        return (ctypes.c_char * len(argument.data)).from_buffer_copy(argument.data), argument.alignment
    if isinstance(argument, ctypes._SimpleCData | ctypes.Structure | ctypes.Array | ctypes.Union):
        return argument, ctypes.alignment(argument)
    interface = getattr(argument, "__cuda_array_interface__", None)
    if interface is not None:
        return ctypes.c_uint64(interface["data"][0]), 8
    if hasattr(argument, "__index__") and not isinstance(argument, int):  # an allocation
        return ctypes.c_uint64(int(argument)), 8
    raise LaunchError(
        f"{name}: argument {place} is {argument!r}, expected a NumPy scalar, a value of ctypes, "
        f"an array on the device or a Struct"
    )


def _text(ptx: bytes | str) -> str:
    return ptx if isinstance(ptx, str) else ptx.rstrip(b"\0").decode()
