"""The part of ``pycuda.driver`` that Gaugeblock calls, answered by the CUDA driver through :mod:`ctypes`.

PyCUDA has to be built against a CUDA toolkit; the driver comes with every GPU. Names and signatures are
PyCUDA's. All work is done in the primary context of a device, which is also that of PyTorch, CuPy, JAX and
``pycuda.autoprimaryctx``; a thread without a current context is given it. Another context that is current is
left alone.

Kernels are launched with ``kernelParams``, one address for each argument: the driver knows where in the
parameter buffer each belongs. A buffer that the caller lays out has parameters aligned to 64 and 128 bytes,
such as tensor maps, in the wrong place. ``cuLaunchKernelEx`` takes the rest as one structure, which costs a
third of the time that eleven numbers do.

A kernel that fails does so after its launch, and an innocent call later says so. With
``GAUGEBLOCK_LAUNCH_BLOCKING=1`` every launch is waited for, and the error names the kernel.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Sequence
from ctypes import byref, c_char, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.runtime.attributes import device_attribute, function_attribute

__all__ = [
    "BLOCKING",
    "Batch",
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "Function",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "Module",
    "NoDriver",
    "Stream",
    "blocking",
    "device_attribute",
    "function_attribute",
    "get_driver_version",
    "init",
    "mem_alloc",
    "mem_get_info",
    "memcpy_dtod",
    "memcpy_dtoh",
    "memcpy_htod",
    "memset_d8",
    "module_from_buffer",
    "ordinal_of",
]


class Error(Exception):
    """The driver refused a call, as ``pycuda.driver.Error``."""


class NoDriver(Error):
    """There is no CUDA driver on this machine."""


class LogicError(Error):
    """A call that cannot be right."""


class MemoryError(Error):
    """Device memory is exhausted."""


class LaunchError(Error):
    """A launch that was refused, or a kernel that failed; after the latter the context is lost."""


_LOST: Final = frozenset((700, 702, 710, 714, 715, 716, 717, 718, 719))
"""Codes of ``CUresult`` for a kernel that failed; from then on every call of the process fails with it."""

_KINDS: Final = {2: MemoryError, **dict.fromkeys((*_LOST, 701), LaunchError)}
"""Codes that are no `LogicError`."""

_NO_CONTEXT: Final = 201
_OF_ANOTHER_CONTEXT: Final = 400


# The library ---------------------------------------------------------------------------------------------


@functools.cache
def library() -> Any:
    """Return ``libcuda``, initialised; raise `NoDriver` where there is none."""
    try:
        found = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise NoDriver("there is no CUDA driver (libcuda.so.1)") from error
    status = found.cuInit(0)
    if status:
        raise Error(f"cuInit failed with code {status}")
    if not hasattr(found, "cuLaunchKernelEx"):
        raise Error("the CUDA driver is older than CUDA 11.8")
    return found


def _check(status: int, function: str) -> None:
    if status:
        text = c_char_p()
        library().cuGetErrorString(status, byref(text))
        words = (text.value or b"unknown error").decode()
        if status in _LOST:
            words += (
                "; a kernel failed, now or before, and this process can use the GPU no more: start it again"
                f"{'' if blocking() else f', with {BLOCKING}=1 to learn which kernel'}"
            )
        elif status == _OF_ANOTHER_CONTEXT and function.startswith("cuLaunch"):
            words += "; is the context that is current in this thread another than the kernel's?"
        raise _KINDS.get(status, LogicError)(f"{function} failed: {words}")


def _call(function: str, *arguments: Any) -> None:
    _check(getattr(library(), function)(*arguments), function)


def _here(function: str, *arguments: Any) -> None:
    """Call a function that needs a context, in the primary one where the thread has none."""
    _enter()
    _call(function, *arguments)


def _enter() -> None:
    current = c_void_p()
    _call("cuCtxGetCurrent", byref(current))
    if not current.value:
        _call("cuCtxSetCurrent", _primary())


BLOCKING: Final = "GAUGEBLOCK_LAUNCH_BLOCKING"
"""The environment variable with which every launch is waited for."""


def blocking() -> bool:
    """Return whether every launch is waited for."""
    return os.environ.get(BLOCKING, "0") not in ("", "0")


@functools.cache
def _primary() -> c_void_p:
    context = c_void_p()
    _call("cuDevicePrimaryCtxRetain", byref(context), Device(ordinal())._handle)
    return context


@functools.cache
def ordinal() -> int:
    """Return the number of the device that is used.

    It is that of the context that is current at the first call, such as PyCUDA's, else ``CUDA_DEVICE``,
    else 0.
    """
    current = c_int()
    if not library().cuCtxGetDevice(byref(current)):
        return current.value
    number = os.environ.get("CUDA_DEVICE", "0")
    if not number.isdecimal():
        raise LogicError(f"CUDA_DEVICE is {number!r}, expected the number of a device")
    return int(number)


@functools.cache
def alone() -> bool:
    """Return whether there is no other device."""
    return Device.count() == 1


def init(flags: int = 0) -> None:
    """Initialise the driver."""
    library()


def get_driver_version() -> int:
    """Return the CUDA version of the driver, such as 13000."""
    version = c_int()
    _call("cuDriverGetVersion", byref(version))
    return version.value


class Device:
    """A GPU by its number."""

    def __init__(self, number: int) -> None:
        self._handle = c_int()
        _call("cuDeviceGet", byref(self._handle), c_int(number))

    @staticmethod
    def count() -> int:
        """Return the number of devices."""
        number = c_int()
        _call("cuDeviceGetCount", byref(number))
        return number.value

    def name(self) -> str:
        """Return the device's name."""
        text = ctypes.create_string_buffer(256)
        _call("cuDeviceGetName", text, 256, self._handle)
        return text.value.decode(errors="replace")

    def compute_capability(self) -> tuple[int, int]:
        """Return the compute capability."""
        major, minor = device_attribute.COMPUTE_CAPABILITY_MAJOR, device_attribute.COMPUTE_CAPABILITY_MINOR
        return self.get_attribute(major), self.get_attribute(minor)

    def total_memory(self) -> int:
        """Return the bytes of device memory."""
        size = c_size_t()
        _call("cuDeviceTotalMem_v2", byref(size), self._handle)
        return size.value

    def get_attribute(self, attribute: device_attribute) -> int:
        """Return one attribute."""
        value = c_int()
        _call("cuDeviceGetAttribute", byref(value), c_int(attribute), self._handle)
        return value.value


class Context:
    """The context of the calling thread."""

    @staticmethod
    def synchronize() -> None:
        """Wait for all streams; an error of a kernel shows here."""
        _here("cuCtxSynchronize")

    @staticmethod
    def get_device() -> Device:
        """Return the device."""
        return Device(ordinal())


class Stream:
    """A stream, or with `handle` one of another library."""

    def __init__(self, flags: int = 0, handle: int | None = None) -> None:
        self._own = handle is None
        stream = c_void_p(handle)
        if self._own:
            _here("cuStreamCreate", byref(stream), c_uint(flags))
        self.handle = stream.value or 0

    def synchronize(self) -> None:
        """Wait for what was queued."""
        _here("cuStreamSynchronize", c_void_p(self.handle))

    def wait_for_event(self, event: Event) -> None:
        """Let what is queued from now on wait."""
        _here("cuStreamWaitEvent", c_void_p(self.handle), event._handle, c_uint(0))

    def __del__(self) -> None:
        if getattr(self, "_own", False):
            library().cuStreamDestroy_v2(c_void_p(self.handle))


class Event:
    """A moment on a stream."""

    UNTIMED: Final = 2

    def __init__(self, flags: int = 0) -> None:
        self._handle = c_void_p()
        _here("cuEventCreate", byref(self._handle), c_uint(flags))

    def record(self, stream: Any = None) -> Event:
        """Note when the stream gets here."""
        _here("cuEventRecord", self._handle, c_void_p(stream_handle(stream)))
        return self

    def synchronize(self) -> Event:
        """Wait for it."""
        _here("cuEventSynchronize", self._handle)
        return self

    def time_since(self, event: Event) -> float:
        """Return milliseconds since another event."""
        elapsed = c_float()
        _here("cuEventElapsedTime", byref(elapsed), event._handle, self._handle)
        return elapsed.value

    def __del__(self) -> None:
        if self._handle.value:
            library().cuEventDestroy_v2(self._handle)


def stream_handle(stream: Any) -> int:
    """Return the ``CUstream`` of a number, of PyCUDA's, PyTorch's, CuPy's or our stream; 0 for None."""
    for name in ("handle", "cuda_stream", "ptr"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    return 0 if stream is None else int(stream)


# Memory --------------------------------------------------------------------------------------------------


class DeviceAllocation:
    """Device memory; freed with the object, or by `free`."""

    def __init__(self, address: int, size: int) -> None:
        self._address, self.size, self._held = address, size, True
        self._free = library().cuMemFree_v2

    def __int__(self) -> int:
        return self._address

    def __index__(self) -> int:
        return self._address

    def free(self) -> None:
        """Give the memory back."""
        if not self._held:
            raise LogicError("cuMemFree failed: freed twice")
        self._held = False
        _enter()
        _check(self._free(c_uint64(self._address)), "cuMemFree")

    def __del__(self) -> None:
        if self._held:
            try:
                self.free()
            except Exception:  # the context is lost, and the memory with it, or the interpreter ends
                return


def mem_alloc(nbytes: int) -> DeviceAllocation:
    """Allocate `nbytes` bytes."""
    address = c_uint64()
    _here("cuMemAlloc_v2", byref(address), c_size_t(nbytes))
    return DeviceAllocation(address.value, nbytes)


def mem_get_info() -> tuple[int, int]:
    """Return free and total bytes."""
    free, total = c_size_t(), c_size_t()
    _here("cuMemGetInfo_v2", byref(free), byref(total))
    return free.value, total.value


def _host(buffer: Any, write: bool) -> NDArray[np.uint8]:
    """View a contiguous host buffer as bytes."""
    array = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)
    flat = array if array.flags.c_contiguous else array.T
    if not flat.flags.c_contiguous or (write and not flat.flags.writeable):
        raise LogicError(f"the host array is {'read-only' if flat.flags.c_contiguous else 'not contiguous'}")
    result: NDArray[np.uint8] = flat.reshape(-1).view(np.uint8)
    return result


def memcpy_htod(dest: Any, src: Any) -> None:
    """Copy from host to device."""
    source = _host(src, False)
    _here("cuMemcpyHtoD_v2", c_uint64(int(dest)), c_void_p(source.ctypes.data), c_size_t(source.size))


def memcpy_dtoh(dest: Any, src: Any) -> None:
    """Copy from device to host."""
    target = _host(dest, True)
    _here("cuMemcpyDtoH_v2", c_void_p(target.ctypes.data), c_uint64(int(src)), c_size_t(target.size))


def memcpy_dtod(dest: Any, src: Any, size: int) -> None:
    """Copy from device to device."""
    _here("cuMemcpyDtoD_v2", c_uint64(int(dest)), c_uint64(int(src)), c_size_t(size))


def memset_d8(dest: Any, data: int, count: int) -> None:
    """Fill with a byte."""
    _here("cuMemsetD8_v2", c_uint64(int(dest)), ctypes.c_ubyte(data), c_size_t(count))


_ORDINAL: Final = c_int(9)  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL


def ordinal_of(pointer: int) -> int | None:
    """Return the number of the device that memory lies on; None if the driver does not know it."""
    number = c_int()
    status = library().cuPointerGetAttribute(byref(number), _ORDINAL, c_uint64(pointer))
    return None if status else number.value


# Modules and functions -----------------------------------------------------------------------------------


class Module:
    """A loaded cubin or PTX text."""

    def __init__(self, binary: bytes) -> None:
        self._handle = c_void_p()
        _here("cuModuleLoadData", byref(self._handle), c_char_p(binary))

    def get_function(self, name: str) -> Function:
        """Return a kernel."""
        handle = c_void_p()
        _here("cuModuleGetFunction", byref(handle), self._handle, c_char_p(name.encode()))
        return Function(self, handle, name)

    def get_global(self, name: str) -> tuple[int, int]:
        """Return address and size of a variable."""
        address, size = c_uint64(), c_size_t()
        _here("cuModuleGetGlobal_v2", byref(address), byref(size), self._handle, c_char_p(name.encode()))
        return address.value, size.value


def module_from_buffer(buffer: bytes | str) -> Module:
    """Load a cubin or PTX text."""
    return Module(buffer.encode() if isinstance(buffer, str) else bytes(buffer))


_LETTERS: Final = {
    "b": ctypes.c_int8,
    "B": ctypes.c_uint8,
    "h": ctypes.c_int16,
    "H": ctypes.c_uint16,
    "i": c_int,
    "I": c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_int64,
    "Q": c_uint64,
    "f": c_float,
    "d": ctypes.c_double,
    "P": c_uint64,
}
"""Types of arguments by the letters of :mod:`struct`."""


class Function:
    """A kernel: `prepare` its signature and call it, or `launch` it with values of :mod:`ctypes`."""

    def __init__(self, module: Module, handle: c_void_p, name: str) -> None:
        self._module, self._handle, self.name = module, handle, name
        self._types: tuple[Any, ...] = ()

    def prepare(self, arg_types: str) -> Function:
        """Say what the arguments are, in the letters of :mod:`struct` ("P" a pointer)."""
        words = re.findall(r"(\d*)([a-zA-Z])", arg_types)
        self._types = tuple(
            each
            for count, letter in words
            for each in ([c_char * int(count)] if letter == "s" else [_LETTERS[letter]] * int(count or 1))
        )
        known = self.parameter_sizes()
        sizes = [ctypes.sizeof(each) for each in self._types]
        if known is not None and known != sizes:
            raise LogicError(f"{self.name}: signature {arg_types!r} has sizes {sizes}, the kernel's {known}")
        return self

    def parameter_sizes(self) -> list[int] | None:
        """Return the bytes of each parameter; None where the driver (before CUDA 12.4) does not tell."""
        if not hasattr(library(), "cuFuncGetParamInfo"):
            return None
        sizes: list[int] = []
        offset, size = c_size_t(), c_size_t()
        while not library().cuFuncGetParamInfo(
            self._handle, c_size_t(len(sizes)), byref(offset), byref(size)
        ):
            sizes.append(size.value)
        return sizes

    def prepared_call(
        self, grid: Sequence[int], block: Sequence[int], *args: Any, shared_size: int = 0
    ) -> None:
        """Launch with prepared arguments on the default stream."""
        self.prepared_async_call(grid, block, None, *args, shared_size=shared_size)

    def prepared_async_call(
        self, grid: Sequence[int], block: Sequence[int], stream: Any, *args: Any, shared_size: int = 0
    ) -> None:
        """Launch with prepared arguments on a stream."""
        if len(args) != len(self._types):
            raise LogicError(f"{self.name}: {len(args)} arguments, the signature has {len(self._types)}")
        values = [
            each.from_buffer_copy(value) if type(value) is bytes else each(_plain(value))
            for each, value in zip(self._types, args, strict=True)
        ]
        self.launch(grid, block, values, shared_size, stream)

    def launch(
        self, grid: Sequence[int], block: Sequence[int], values: Sequence[Any], shared: int, stream: Any
    ) -> None:
        """Launch with objects of :mod:`ctypes`, one for each parameter."""
        addresses = (c_void_p * len(values))(*map(ctypes.addressof, values))
        sizes = (*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])
        config = _Config(*sizes, shared, 0 if stream is None else stream_handle(stream))
        _enter()
        _check(library().cuLaunchKernelEx(byref(config), self._handle, addresses, None), "cuLaunchKernelEx")
        if blocking():
            status = library().cuCtxSynchronize()
            _check(status, f"{self.name}, launched with grid {sizes[:3]} and block {sizes[3:]},")

    def set_attribute(self, attribute: function_attribute, value: int) -> None:
        """Set an attribute, such as the limit of dynamic shared memory."""
        _here("cuFuncSetAttribute", self._handle, c_int(attribute), c_int(value))

    def get_attribute(self, attribute: function_attribute) -> int:
        """Return an attribute."""
        value = c_int()
        _here("cuFuncGetAttribute", byref(value), c_int(attribute), self._handle)
        return value.value


class _Config(ctypes.Structure):
    """``CUlaunchConfig``."""

    _fields_ = (
        *((name, c_uint) for name in ("gx", "gy", "gz", "bx", "by", "bz", "shared")),
        ("stream", c_void_p),
        ("attributes", c_void_p),
        ("count", c_uint),
    )


class Batch:
    """Launches whose arguments stay in one place, where they may be written over: for one thread.

    Parameters
    ----------
    arguments : ctypes array
        The arguments of all launches, laid out as ``struct`` does.
    """

    def __init__(self, arguments: Any) -> None:
        self._arguments = arguments
        self._stream = 0
        self._configs: list[_Config] = []
        self._launches: list[tuple[Any, Any, Any]] = []
        self._launch = library().cuLaunchKernelEx

    def add(
        self, function: Function, grid: Sequence[int], block: Sequence[int], shared: int, first: int
    ) -> None:
        """Add a launch, `first` being the first byte of its arguments."""
        base, offset = ctypes.addressof(self._arguments) + first, 0
        addresses = (c_void_p * len(function._types))()
        for place, each in enumerate(function._types):
            offset += -offset % ctypes.alignment(each)
            addresses[place] = base + offset
            offset += ctypes.sizeof(each)
        config = _Config(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3], shared, 0)
        self._configs.append(config)
        self._launches.append((byref(config), function._handle, addresses))

    def run(self, stream: int) -> None:
        """Launch all of them on a stream."""
        if stream != self._stream:
            self._stream = stream
            for config in self._configs:
                config.stream = stream
        launch = self._launch
        for config, handle, addresses in self._launches:
            status = launch(config, handle, addresses, None)
            if status == _NO_CONTEXT:  # a thread that has not been here
                _enter()
                status = launch(config, handle, addresses, None)
            if status:
                _check(status, "cuLaunchKernelEx")


def _plain(value: Any) -> Any:
    """Return a number; of memory, its address."""
    if type(value) in (int, float, bool):
        return value
    return value.item() if isinstance(value, np.generic) else int(getattr(value, "gpudata", value))
