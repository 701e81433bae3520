"""The part of ``pycuda.driver`` that Gaugeblock calls, answered by the simulated device.

Names and signatures are the same. Launches run to their end before they return, so streams and events only
keep order. Errors are those of PyCUDA; what a kernel does wrong raises `Fault`, a `LaunchError` that names
the kernel, the thread and the source line.

Examples
--------
>>> import numpy as np
>>> from gaugeblock.gpu.simulator import driver
>>> driver.init()
>>> driver.Device(0).name()
'Gaugeblock simulated CUDA device'
>>> memory = driver.mem_alloc(16)
>>> driver.memcpy_htod(memory, np.arange(4, dtype=np.float32))
>>> host = np.empty(4, np.float32)
>>> driver.memcpy_dtoh(host, memory)
>>> host.tolist()
[0.0, 1.0, 2.0, 3.0]
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.runtime.attributes import device_attribute, function_attribute
from gaugeblock.gpu.simulator.errors import Error, Fault, LaunchError, LogicError, MemoryError
from gaugeblock.gpu.simulator.machine.launch import (
    MAX_BLOCK,
    MAX_GRID,
    MAX_SHARED,
    MAX_STATIC_SHARED,
    MAX_THREADS,
    launch,
)
from gaugeblock.gpu.simulator.machine.module import LoadedModule
from gaugeblock.gpu.simulator.state.memory import BASE, Allocation, GlobalMemory

__all__ = [
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "Fault",
    "Function",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "Module",
    "Stream",
    "device_attribute",
    "device_bytes",
    "device_memory",
    "from_device",
    "func_cache",
    "function_attribute",
    "get_driver_version",
    "get_version",
    "init",
    "leaks",
    "lending",
    "mem_alloc",
    "mem_get_address_range",
    "mem_get_info",
    "memcpy_dtod",
    "memcpy_dtod_async",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "memset_d8",
    "memset_d8_async",
    "memset_d16",
    "memset_d16_async",
    "memset_d32",
    "memset_d32_async",
    "module_from_buffer",
    "to_device",
]

NAME: Final = "Gaugeblock simulated CUDA device"

_memory: GlobalMemory | None = None


def device_memory() -> GlobalMemory:
    """Return the memory of the device."""
    global _memory
    if _memory is None:
        _memory = GlobalMemory()
    return _memory


# The device ----------------------------------------------------------------------------------------------


def init(flags: int = 0) -> None:
    """Initialise the driver: nothing to do."""


def get_version() -> tuple[int, int, int]:
    """Return the CUDA version whose PTX is understood."""
    return (13, 0, 0)


def get_driver_version() -> int:
    """Return the same as a number."""
    return 13000


class func_cache(Enum):
    """Cache preferences: taken, and without effect."""

    PREFER_NONE = 0
    PREFER_SHARED = 1
    PREFER_L1 = 2
    PREFER_EQUAL = 3


_ATTRIBUTES: Final[Mapping[int, int]] = {
    device_attribute.MAX_THREADS_PER_BLOCK: MAX_THREADS,
    device_attribute.MAX_BLOCK_DIM_X: MAX_BLOCK[0],
    device_attribute.MAX_BLOCK_DIM_Y: MAX_BLOCK[1],
    device_attribute.MAX_BLOCK_DIM_Z: MAX_BLOCK[2],
    device_attribute.MAX_GRID_DIM_X: MAX_GRID[0],
    device_attribute.MAX_GRID_DIM_Y: MAX_GRID[1],
    device_attribute.MAX_GRID_DIM_Z: MAX_GRID[2],
    device_attribute.MAX_SHARED_MEMORY_PER_BLOCK: MAX_STATIC_SHARED,
    device_attribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: MAX_SHARED,
    device_attribute.TOTAL_CONSTANT_MEMORY: 65536,
    device_attribute.WARP_SIZE: 32,
    device_attribute.MAX_PITCH: (1 << 31) - 1,
    device_attribute.MAX_REGISTERS_PER_BLOCK: 65536,
    device_attribute.CLOCK_RATE: 1_000_000,
    device_attribute.GPU_OVERLAP: 1,
    device_attribute.CAN_MAP_HOST_MEMORY: 1,
    device_attribute.CONCURRENT_KERNELS: 1,
    device_attribute.MEMORY_CLOCK_RATE: 1_000_000,
    device_attribute.GLOBAL_MEMORY_BUS_WIDTH: 5120,
    device_attribute.L2_CACHE_SIZE: 50 << 20,
    device_attribute.MAX_THREADS_PER_MULTIPROCESSOR: 2048,
    device_attribute.ASYNC_ENGINE_COUNT: 1,
    device_attribute.UNIFIED_ADDRESSING: 1,
    device_attribute.COMPUTE_CAPABILITY_MAJOR: 9,
    device_attribute.COMPUTE_CAPABILITY_MINOR: 0,
    device_attribute.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: MAX_SHARED + 1024,
    device_attribute.MAX_REGISTERS_PER_MULTIPROCESSOR: 65536,
    device_attribute.MANAGED_MEMORY: 1,
    device_attribute.SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO: 2,
    device_attribute.MAX_BLOCKS_PER_MULTIPROCESSOR: 32,
    device_attribute.RESERVED_SHARED_MEMORY_PER_BLOCK: 1024,
}
_LAST_ATTRIBUTE: Final = 161  # of CUDA 13; those that are not above are of textures, or what it cannot do


class Device:
    """The simulated device; there is one.

    Attributes
    ----------
    multiprocessors : int
        How many it says that it has. Programs launch so many blocks, which run together.
    """

    multiprocessors: ClassVar[int] = 1

    def __init__(self, number: int) -> None:
        if number != 0:
            raise LogicError(f"cuDeviceGet failed: invalid device ordinal {number}, there is only device 0")

    @staticmethod
    def count() -> int:
        """Return the number of devices."""
        return 1

    def name(self) -> str:
        """Return the device's name."""
        return NAME

    def compute_capability(self) -> tuple[int, int]:
        """Return the compute capability: Hopper's."""
        return (9, 0)

    def total_memory(self) -> int:
        """Return the bytes of device memory."""
        return device_memory().capacity

    def get_attribute(self, attribute: int) -> int:
        """Return one attribute: 0 for what the device does not have, such as textures."""
        if not 1 <= attribute <= _LAST_ATTRIBUTE:
            raise LogicError(f"cuDeviceGetAttribute failed: there is no attribute {attribute}")
        if attribute == device_attribute.MULTIPROCESSOR_COUNT:
            return self.multiprocessors
        return _ATTRIBUTES.get(attribute, 0)

    def get_attributes(self) -> dict[device_attribute, int]:
        """Return the attributes."""
        return {attribute: self.get_attribute(attribute) for attribute in device_attribute}

    def pci_bus_id(self) -> str:
        """Return where the device would be."""
        return "0000:00:00.0"

    def can_access_peer(self, other: Device) -> bool:
        """Return False: there is no other device."""
        return False

    def make_context(self, flags: int = 0) -> Context:
        """Return a new context, current in this thread."""
        context = Context()
        context.push()
        return context

    def retain_primary_context(self) -> Context:
        """Return the context that all libraries share."""
        return _primary

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0


class _Stacks(threading.local):
    """The contexts of each thread; the last one is current."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []


_here = _Stacks()


class Context:
    """A context. All share the memory of the device, and nothing here needs one to be current."""

    @property
    def handle(self) -> int:
        """A number that no other context has."""
        return id(self)

    @staticmethod
    def synchronize() -> None:
        """Wait for all launches, which have ended already."""

    @staticmethod
    def get_device() -> Device:
        """Return the device."""
        return Device(0)

    @staticmethod
    def get_current() -> Context | None:
        """Return the context that is current in this thread."""
        return _here.contexts[-1] if _here.contexts else None

    def push(self) -> None:
        """Make it current in this thread."""
        _here.contexts.append(self)

    @staticmethod
    def pop() -> None:
        """Make the one before it current."""
        if not _here.contexts:
            raise LogicError("context::pop failed: no context is current in this thread")
        _here.contexts.pop()

    _limits: ClassVar[dict[int, int]] = {0: 1024, 1: 1 << 20, 2: 8 << 20}

    @staticmethod
    def get_limit(limit: int) -> int:
        """Return a limit, such as the bytes of a thread's stack; none of them binds."""
        return Context._limits.get(limit, 0)

    @staticmethod
    def set_limit(limit: int, value: int) -> None:
        """Take a limit."""
        Context._limits[limit] = value

    @staticmethod
    def set_cache_config(config: Any) -> None:
        """Take a cache preference."""

    @staticmethod
    def set_shared_config(config: Any) -> None:
        """Take a width of the banks of shared memory."""

    @staticmethod
    def enable_peer_access(peer: Any, flags: int = 0) -> None:
        """Refused: there is one device."""
        raise LogicError("cuCtxEnablePeerAccess failed: there is no other device")

    def get_api_version(self) -> int:
        """Return the version of the driver's interface."""
        return 3020

    def detach(self) -> None:
        """Let go; if it is current, the one before it becomes current."""
        if Context.get_current() is self:
            Context.pop()


_primary = Context()


class Stream:
    """A stream: launches end before they return, so order is kept."""

    handle = 0

    def __init__(self, flags: int = 0) -> None:
        del flags

    def synchronize(self) -> None:
        """Wait: everything has ended."""

    def is_done(self) -> bool:
        """Return True."""
        return True

    def wait_for_event(self, event: Event) -> None:
        """Wait: it has happened."""


class Event:
    """A moment; times are those of the simulation, and say nothing about a GPU."""

    def __init__(self, flags: int = 0) -> None:
        del flags
        self._seconds: float | None = None

    def record(self, stream: Stream | None = None) -> Event:
        """Note the time."""
        self._seconds = time.perf_counter()
        return self

    def synchronize(self) -> Event:
        """Wait: it has happened."""
        return self

    def query(self) -> bool:
        """Return True."""
        return True

    def time_since(self, event: Event) -> float:
        """Return milliseconds since another event."""
        if self._seconds is None or event._seconds is None:
            raise LogicError("cuEventElapsedTime failed: an event was not recorded")
        return (self._seconds - event._seconds) * 1000

    def time_till(self, event: Event) -> float:
        """Return milliseconds until another event."""
        return event.time_since(self)


# Memory --------------------------------------------------------------------------------------------------


class DeviceAllocation:
    """Device memory; freed with the object, or by `free`."""

    _allocation: Allocation | None = None

    def __init__(self, allocation: Allocation, memory: GlobalMemory) -> None:
        self._allocation = allocation
        self._memory = memory
        self._address = BASE + allocation.start
        self.size = allocation.size

    def __int__(self) -> int:
        return self._address

    def __index__(self) -> int:
        return self._address

    def as_buffer(self, size: int, offset: int = 0) -> memoryview:
        """Refused: device memory is not host memory."""
        raise LogicError("as_buffer: the memory of the simulated device is reached by memcpy_dtoh")

    def free(self) -> None:
        """Give the memory back; later use of its address is a fault."""
        if self._allocation is None:
            raise LogicError("cuMemFree failed: freed twice")
        allocation, self._allocation = self._allocation, None
        self._memory.free(allocation)

    def __del__(self) -> None:
        if self._allocation is not None:
            self.free()


def mem_alloc(nbytes: int) -> DeviceAllocation:
    """Allocate `nbytes` bytes, surrounded by red zones and not initialised."""
    if nbytes <= 0:
        raise LogicError(f"cuMemAlloc failed: invalid argument, {nbytes} bytes")
    memory = device_memory()
    return DeviceAllocation(memory.allocate(int(nbytes)), memory)


@contextmanager
def leaks() -> Iterator[list[str]]:
    """Find what is allocated inside the ``with`` block and not freed at its end; PyCUDA has nothing like it.

    Examples
    --------
    >>> with leaks() as left:
    ...     kept, freed = mem_alloc(16), mem_alloc(32)
    ...     freed.free()
    >>> left[0].startswith("allocation of 16 bytes"), len(left)
    (True, 1)
    """
    left: list[str] = []
    before = list(device_memory().live())
    yield left
    left += [each.label for each in device_memory().live() if not any(each is old for old in before)]


def mem_get_info() -> tuple[int, int]:
    """Return free and total bytes."""
    memory = device_memory()
    return memory.capacity - memory.used, memory.capacity


def lending(ranges: Iterable[tuple[int, int, bool, str]]) -> AbstractContextManager[None]:
    """Let kernels use host memory for a while; PyCUDA has nothing like it.

    Parameters
    ----------
    ranges : iterable of (int, int, bool, str)
        Address, size in bytes, whether it may be written, and what faults call it. Ranges that overlap
        become one; what they hold counts as written.
    """
    return device_memory().lending(ranges)


def device_bytes(address: int, nbytes: int, write: bool) -> NDArray[np.uint8]:
    """Return bytes of one allocation, which are then read, or all written; PyCUDA has nothing like it."""
    found: NDArray[np.uint8] = device_memory().host_range(address, nbytes, write)
    return found


def _host_bytes(buffer: Any, write: bool) -> NDArray[np.uint8]:
    """View a contiguous host buffer as bytes."""
    view = memoryview(buffer) if not isinstance(buffer, np.ndarray) else None
    if view is not None:
        if write and view.readonly:
            raise LogicError("the host buffer is read-only")
        return np.frombuffer(view.cast("B"), np.uint8)
    if not (buffer.flags.c_contiguous or buffer.flags.f_contiguous):
        raise LogicError("ndarray is not contiguous")
    if write and not buffer.flags.writeable:
        raise LogicError("the host array is read-only")
    flat = buffer if buffer.flags.c_contiguous else buffer.T
    result: NDArray[np.uint8] = flat.reshape(-1).view(np.uint8)
    return result


def memcpy_htod(dest: Any, src: Any) -> None:
    """Copy from host to device."""
    source = _host_bytes(src, False)
    if source.size:
        device_memory().host_range(int(dest), source.size, True)[:] = source


def memcpy_dtoh(dest: Any, src: Any) -> None:
    """Copy from device to host; bytes that nobody wrote come as they are."""
    target = _host_bytes(dest, True)
    if target.size:
        target[:] = device_memory().host_range(int(src), target.size, False)


def memcpy_dtod(dest: Any, src: Any, size: int) -> None:
    """Copy from device to device."""
    if size:
        memory = device_memory()
        source = memory.host_range(int(src), size, False).copy()
        memory.host_range(int(dest), size, True)[:] = source


def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    """Copy from host to device, at once."""
    memcpy_htod(dest, src)


def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    """Copy from device to host, at once."""
    memcpy_dtoh(dest, src)


def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    """Copy from device to device, at once."""
    memcpy_dtod(dest, src, size)


def _fill(dest: Any, data: int, count: int, dtype: type[np.unsignedinteger[Any]]) -> None:
    width = np.dtype(dtype).itemsize
    if count:
        if int(dest) % width:
            raise LogicError(f"cuMemsetD{8 * width} failed: address {int(dest):#x} is misaligned")
        device_memory().host_range(int(dest), count * width, True).view(dtype)[:] = data


def memset_d8(dest: Any, data: int, size: int) -> None:
    """Fill with a byte."""
    _fill(dest, data & 0xFF, size, np.uint8)


def memset_d16(dest: Any, data: int, size: int) -> None:
    """Fill with a 16-bit word."""
    _fill(dest, data & 0xFFFF, size, np.uint16)


def memset_d32(dest: Any, data: int, size: int) -> None:
    """Fill with a 32-bit word."""
    _fill(dest, data & 0xFFFFFFFF, size, np.uint32)


def memset_d8_async(dest: Any, data: int, size: int, stream: Stream | None = None) -> None:
    """Fill with a byte, at once."""
    memset_d8(dest, data, size)


def memset_d16_async(dest: Any, data: int, size: int, stream: Stream | None = None) -> None:
    """Fill with a 16-bit word, at once."""
    memset_d16(dest, data, size)


def memset_d32_async(dest: Any, data: int, size: int, stream: Stream | None = None) -> None:
    """Fill with a 32-bit word, at once."""
    memset_d32(dest, data, size)


def mem_get_address_range(pointer: Any) -> tuple[int, int]:
    """Return the begin and the size of the allocation that an address lies in."""
    offset = int(pointer) - BASE
    allocation = device_memory().containing(offset, offset + 1)
    if allocation is None:
        raise LogicError(f"cuMemGetAddressRange failed: {device_memory().describe(offset, 1)}")
    return BASE + allocation.start, allocation.size


def to_device(array: Any) -> DeviceAllocation:
    """Allocate memory for a host array and copy it."""
    source = _host_bytes(array, False)
    allocation = mem_alloc(source.size)
    memcpy_htod(allocation, array)
    return allocation


def from_device(pointer: Any, shape: Any, dtype: Any, order: str = "C") -> NDArray[Any]:
    """Copy device memory to a new host array."""
    result: NDArray[Any] = np.empty(shape, dtype, order)  # type: ignore[call-overload]
    memcpy_dtoh(result, pointer)
    return result


# Modules and functions -----------------------------------------------------------------------------------


class Module:
    """A loaded PTX module."""

    def __init__(self, text: str) -> None:
        self._loaded = LoadedModule(text, device_memory())

    def get_function(self, name: str) -> Function:
        """Return a kernel."""
        return Function(self._loaded, name)

    def get_global(self, name: str) -> tuple[int, int]:
        """Return address and size of a variable."""
        if name not in self._loaded.variables:
            raise LogicError(f"cuModuleGetGlobal failed: no variable {name!r} in the module")
        return self._loaded.addresses[name], self._loaded.variables[name].size


def module_from_buffer(
    buffer: bytes | str, options: Sequence[Any] = (), message_handler: Any = None
) -> Module:
    """Load PTX text. A cubin is refused: it is machine code for a real device."""
    if isinstance(buffer, str):
        return Module(buffer)
    raw = bytes(buffer)
    if raw[:4] == b"\x7fELF":
        raise LogicError(
            "cuModuleLoadDataEx failed: a cubin is no PTX; compile with target='ptx' for the simulated device"
        )
    return Module(raw.rstrip(b"\0").decode())


class Function:
    """A kernel: `prepare` its signature, then call it."""

    def __init__(self, module: LoadedModule, name: str) -> None:
        self._module = module
        self._program = module.program(name)
        self._format = struct.Struct("")
        self._arguments = 0
        self._dynamic_shared_limit = MAX_STATIC_SHARED
        self.name = name
        self.shared_size_bytes = self._program.shared
        self.local_size_bytes = self._program.local
        self.const_size_bytes = 0
        self.num_regs = 0
        self.max_threads_per_block = MAX_THREADS
        self.parameter_sizes = tuple(size for _, size in self._program.layout)

    def prepare(
        self, arg_types: str | Sequence[Any], shared: int | None = None, texrefs: Sequence[Any] = ()
    ) -> Function:
        """Say what the arguments are: `struct` letters ("P" a pointer), or NumPy types."""
        if not isinstance(arg_types, str):
            arg_types = "".join(t if isinstance(t, str) else np.dtype(t).char for t in arg_types)
        self._format = _packing(arg_types)
        if self._format.size != self._program.parameter_bytes:
            raise LogicError(
                f"{self.name}: signature {arg_types!r} has {self._format.size} bytes, "
                f"the kernel's parameters {self._program.parameter_bytes}"
            )
        if not any(letter.isdigit() for letter in arg_types):
            self._check(arg_types)
        return self

    def prepared_call(
        self, grid: Sequence[int], block: Sequence[int], *args: Any, shared_size: int = 0
    ) -> None:
        """Launch with prepared arguments."""
        values = [int(a) if isinstance(a, DeviceAllocation) else getattr(a, "gpudata", a) for a in args]
        try:
            packed = self._format.pack(*values)
        except struct.error as error:
            raise LogicError(f"{self.name}: arguments do not match the prepared signature: {error}") from None
        self.launch(grid, block, packed, shared_size)

    def prepared_async_call(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        stream: Stream | None,
        *args: Any,
        shared_size: int = 0,
    ) -> None:
        """Launch with prepared arguments on a stream."""
        self.prepared_call(grid, block, *args, shared_size=shared_size)

    def prepared_timed_call(
        self, grid: Sequence[int], block: Sequence[int], *args: Any, shared_size: int = 0
    ) -> Any:
        """Launch, and return a function that gives the seconds it took."""
        begin = time.perf_counter()
        self.prepared_call(grid, block, *args, shared_size=shared_size)
        seconds = time.perf_counter() - begin
        return lambda: seconds

    def __call__(
        self,
        *args: Any,
        block: Sequence[int],
        grid: Sequence[int] = (1, 1, 1),
        shared: int = 0,
        stream: Stream | None = None,
        cooperative: bool = False,
        **ignored: Any,
    ) -> None:
        """Launch with NumPy scalars and device pointers; several may make one parameter, a struct.

        The blocks of a `cooperative` launch are all resident, and may wait for each other.
        """
        letters, values = "", []
        for arg in args:
            if isinstance(arg, np.generic):
                letters += arg.dtype.char
                values.append(arg.item())
            else:
                letters += "P"
                values.append(int(getattr(arg, "gpudata", arg)))
        self._check(letters)
        self.launch(grid, block, _packing(letters).pack(*values), shared, cooperative)

    def _check(self, letters: str) -> None:
        ends = [_packing(letters[: number + 1]).size for number in range(len(letters))]
        self.check([(end - struct.calcsize(letter), end) for letter, end in zip(letters, ends, strict=True)])

    def check(self, places: Sequence[tuple[int, int]]) -> None:
        """Refuse arguments that lie across the kernel's parameters, or leave one of them out.

        Parameters
        ----------
        places : sequence of (int, int)
            Where each argument begins and ends in the packed parameters.
        """
        layout = self._program.layout
        parts = [[p for p in places if at <= p[0] and p[1] <= at + size] for at, size in layout]
        whole = all(
            part and part[0][0] == at and (len(part) > 1 or part[0][1] == at + size)
            for part, (at, size) in zip(parts, layout, strict=True)
        )
        if not whole or sum(map(len, parts)) < len(places):
            given, wanted = [end - begin for begin, end in places], [size for _, size in layout]
            raise LogicError(f"{self.name}: arguments of {given} bytes, the kernel's parameters: {wanted}")

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        parameters: bytes,
        shared: int = 0,
        cooperative: bool = False,
    ) -> None:
        """Launch with parameters as they lie in memory."""
        gx, gy, gz = (*grid, 1, 1)[:3]
        bx, by, bz = (*block, 1, 1)[:3]
        launch(
            self._program,
            self._module.tree.files,
            self._module.memory,
            (int(gx), int(gy), int(gz)),
            (int(bx), int(by), int(bz)),
            parameters,
            int(shared),
            self._dynamic_shared_limit,
            cooperative,
        )

    def set_attribute(self, attribute: int, value: int) -> None:
        """Raise the limit of dynamic shared memory; other attributes are taken without effect."""
        if attribute == function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES:
            if not 0 <= value <= MAX_SHARED - self._program.shared:
                raise LogicError(
                    f"cuFuncSetAttribute failed: {value} bytes of dynamic shared memory "
                    f"and {self._program.shared} static exceed {MAX_SHARED}"
                )
            self._dynamic_shared_limit = value

    def get_attribute(self, attribute: int) -> int:
        """Return an attribute."""
        known: dict[int, int] = {
            function_attribute.SHARED_SIZE_BYTES: self._program.shared,
            function_attribute.LOCAL_SIZE_BYTES: self._program.local,
            function_attribute.MAX_THREADS_PER_BLOCK: MAX_THREADS,
            function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES: self._dynamic_shared_limit,
        }
        return known.get(attribute, 0)

    def set_cache_config(self, config: func_cache) -> None:
        """Take a cache preference."""


def _packing(letters: str) -> struct.Struct:
    """Lay arguments out as the driver does: each at a multiple of its size."""
    return struct.Struct("@" + letters)
