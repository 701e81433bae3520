"""``pycuda._driver`` and ``pycuda._pvt_struct``, under PyCUDA's own Python layer, on the simulated device.

Most of it is :mod:`gaugeblock.gpu.simulator.driver`. Here are a context that must be current, launches of
what PyCUDA packed, held against the kernel's parameters, pools, and the linker.
"""

from __future__ import annotations

import ctypes
import functools
import re
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.doors import pycuda_curand, pycuda_names
from gaugeblock.gpu.runtime.compiler import plain_name
from gaugeblock.gpu.runtime.launcher import Parameter, entries, parameters, unknown
from gaugeblock.gpu.simulator import driver, host_memory, pitched
from gaugeblock.gpu.simulator.errors import Error, Fault, LaunchError, LogicError
from gaugeblock.gpu.simulator.machine.module import LoadedModule
from gaugeblock.gpu.simulator.machine.settings import note, settings
from gaugeblock.gpu.simulator.state.memory import BASE

__all__ = ["driver_module", "struct_module"]

_lock = threading.RLock()
"""The simulated device does one thing at a time."""


def _in_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a call where no context is current, as CUDA does."""

    @functools.wraps(function)
    def checked(*arguments: Any, **named: Any) -> Any:
        _expect_context(function.__name__)
        with _lock:
            return function(*arguments, **named)

    return checked


forgiving = False
"""Whether a call without a context is noted, not refused: for programs that are simulated, not judged."""


def _expect_context(what: str) -> None:
    if driver.Context.get_current() is not None:
        return
    if not forgiving or threading.current_thread() is not threading.main_thread():
        raise LogicError(
            f"{what} failed: invalid device context - no currently active context? (import pycuda.autoinit "
            f"makes one for the main thread)"
        )
    note(f"{what} without a context, which fails on a GPU: import pycuda.autoinit makes one")
    driver.Device(0).retain_primary_context().push()


# Packed arguments ----------------------------------------------------------------------------------------


class Packed(bytes):
    """Arguments as PyCUDA packs them, with the format and the place of each."""

    places: tuple[tuple[str, int, int], ...]


_PIECE: Final = re.compile(r"\s*(\d*)([a-zA-Z?])")
_COMPLEX: Final[Mapping[str, str]] = {"F": "f", "D": "d"}


def _pieces(form: str) -> Iterator[str]:
    """Return the formats of single values; those of complex ones are F and D."""
    for count, letter in _PIECE.findall(form):
        yield from [count + letter] if letter == "s" else [letter] * int(count or 1)


def pack(form: str, *values: Any) -> Packed:
    """Pack values as C does, each at a multiple of its size; F and D are complex, s takes any bytes."""
    pieces = list(_pieces(form))
    if len(pieces) != len(values):
        raise struct.error(f"{len(values)} arguments, {len(pieces)} were prepared")
    packed, places = b"", []
    for piece, value in zip(pieces, values, strict=True):
        letter, size = (
            _COMPLEX.get(piece, piece),
            struct.calcsize(piece.replace("F", "ff").replace("D", "dd")),
        )
        packed += bytes(-len(packed) % (1 if letter[-1] == "s" else struct.calcsize(letter)))
        places.append((piece, len(packed), len(packed) + size))
        if piece in _COMPLEX:
            packed += struct.pack(2 * letter, complex(value).real, complex(value).imag)
        else:
            packed += struct.pack(letter, _bytes(value) if letter[-1] == "s" else value)
    result = Packed(packed)
    result.places = tuple(places)
    return result


def _bytes(value: Any) -> bytes:
    return value.tobytes() if isinstance(value, np.ndarray | np.generic) else bytes(memoryview(value))


def calcsize(form: str) -> int:
    """Return the size of what is packed."""
    pieces = list(_pieces(form))
    return len(pack(form, *(b"" if piece[-1] == "s" else 0 for piece in pieces if piece[-1] != "c")))


# Modules and functions -----------------------------------------------------------------------------------


class Function(driver.Function):
    """A kernel; PyCUDA adds the ways to call it."""

    def __init__(self, module: Module, name: str) -> None:
        super().__init__(module.loaded, name)
        self.name = plain_name(name)
        self._types: tuple[Parameter, ...] = parameters(module.text, name)
        self._names = module.names.get(self.name, ())
        # PyCUDA's reductions are of the time when the threads of a warp ran in step, and its scans copy what
        # nobody wrote, to where nobody looks. Who calls them could not mend that.
        old = OF_PYCUDA in module.text
        self._settings = {"warp_synchronous": True, "shared_written": True} if old else {}
        if len(self._names) != len(self._types):
            self._names = ("",) * len(self._types)

    def _set_block_shape(self, x: int, y: int, z: int) -> None:
        """Do nothing: launches say it again."""

    def param_set_texref(self, texture: Any) -> None:
        """Refused: there are no textures."""
        raise pitched.no_textures(f"{self.name}: texrefs")

    def _launch_kernel(
        self, grid: Sequence[int], block: Sequence[int], packed: bytes, shared: int | None, stream: Any
    ) -> None:
        _expect_context("cuLaunchKernel")
        grid, block = self._sizes("grid", grid), self._sizes("block", block)
        self._fit(packed)
        with _lock, self._named(packed):
            try:
                with settings(**self._settings):
                    self.launch(grid, block, bytes(packed), int(shared or 0))
            except Fault:
                raise
            except LaunchError as error:
                words = str(error)
                raise LaunchError(words if self.name in words else f"{self.name}: {words}") from None

    def _sizes(self, what: str, sizes: Sequence[int]) -> tuple[int, ...]:
        if len(sizes) > 3:
            raise LogicError(f"{self.name}: {what} has {len(sizes)} sizes, expected 1 to 3")
        for axis, size in zip("xyz", sizes, strict=False):
            if not hasattr(size, "__index__"):
                raise TypeError(f"{self.name}: {what}.{axis} is {size!r}, expected a whole number")
        return tuple(map(int, sizes))

    def _fit(self, packed: bytes) -> None:
        """Hold arguments against the kernel's parameters: their number, sizes, places, and kinds."""
        places = getattr(packed, "places", None)
        if places is None:
            if len(packed) != self._program.parameter_bytes:
                wanted = self._program.parameter_bytes
                raise LogicError(
                    f"{self.name}: arguments of {len(packed)} bytes, its parameters have {wanted}"
                )
            return
        layout = self._program.layout
        if len(places) != len(layout):
            whole = ", ".join(name or kind.type for name, kind in zip(self._names, self._types, strict=True))
            try:  # several arguments may make one parameter, a struct
                self.check([(begin, end) for _, begin, end in places])
            except LogicError:
                raise LogicError(
                    f"{self.name} takes {len(layout)} arguments ({whole}), got {len(places)}"
                ) from None
            return
        for number, ((form, begin, end), (at, size)) in enumerate(zip(places, layout, strict=True)):
            words = f"{self.name}: argument {number + 1}"
            if end - begin != size or _is_real(form) not in (None, *self._kinds(number)):
                said = _said(form, end - begin)
                raise LogicError(f"{words} is {said}, {self._said(number)}")
            if begin != at:
                raise LogicError(
                    f"{words} is packed at byte {begin}, the kernel expects it at byte {at}: PyCUDA knows no "
                    f"alignment of structs, put it before the smaller arguments"
                )

    def _kinds(self, number: int) -> tuple[bool | None, ...]:
        """Return whether a parameter may be a real number, or a whole one."""
        kind = self._types[number].type
        return (kind.startswith("f"),) if kind[0] in "fus" and "[" not in kind else (True, False)

    def _said(self, number: int) -> str:
        kind = self._types[number]
        words = "a struct" if "[" in kind.type else _WORDS.get(kind.type[0], "bits")
        return f"{self._names[number] or 'the parameter'} is {words} of {8 * kind.size} bits"

    @contextmanager
    def _named(self, packed: bytes) -> Iterator[None]:
        """Let faults call memory by the names of the parameters that point to it."""
        renamed: list[tuple[Any, str]] = []
        for name, kind, (at, size) in zip(self._names, self._types, self._program.layout, strict=True):
            if name and size == 8 and kind.type == "u64":
                offset = int.from_bytes(packed[at : at + 8], "little") - BASE
                found = driver.device_memory().containing(offset, offset + 1)
                if found is not None and all(found is not other for other, _ in renamed):
                    renamed.append((found, found.label))
                    found.label = f"{name} ({found.label})"
        try:
            yield
        finally:
            for found, label in renamed:
                found.label = label


_WORDS: Final = {"f": "a real number", "u": "a whole number or a pointer", "s": "a whole number"}


def _is_real(form: str) -> bool | None:
    """Whether a format is of real or of whole numbers; None is neither."""
    return True if form in ("e", "f", "d") else None if form[-1] in "sFD" else False


_REAL: Final = {True: "a real number", False: "a whole number", None: "a struct"}


def _said(form: str, size: int) -> str:
    real = _is_real(form)
    words = "a pointer" if form == "P" else _REAL[real]
    return f"{words} of {8 * size} bits"


class Module:
    """A loaded PTX module."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.loaded = LoadedModule(text, driver.device_memory())
        self.names: dict[str, tuple[str, ...]] = {}
        for line in re.findall(rf"(?m)^{re.escape(NAMES)} (.*)$", text):
            kernel, *names = line.split()
            self.names[kernel] = tuple(names)

    @_in_context
    def get_function(self, name: str) -> Function:
        """Return a kernel."""
        known = entries(self.text)
        if name not in known:
            mangled = next((each for each in known if plain_name(each) == name), None)
            hint = "" if mangled is None else f' ({name} is a C++ name: declare it extern "C")'
            raise LogicError(f"cuModuleGetFunction failed: {unknown(name, known)}{hint}")
        return Function(self, name)

    def get_global(self, name: str) -> tuple[int, int]:
        """Return address and size of a variable."""
        if name not in self.loaded.addresses:
            raise LogicError(f"cuModuleGetGlobal failed: no variable {name!r} in the module")
        return self.loaded.addresses[name], self.loaded.variables[name].size

    def get_texref(self, name: str) -> Any:
        """Refused: there are no textures."""
        raise pitched.no_textures(f"get_texref({name!r})")

    def get_surfref(self, name: str) -> Any:
        """Refused: there are no surfaces."""
        raise pitched.no_textures(f"get_surfref({name!r})")


NAMES: Final = "// gaugeblock: parameters of"
"""A line of PTX that names the parameters of a kernel as the source does."""

OF_PYCUDA: Final = "// gaugeblock: a reduction or scan of PyCUDA"
"""A line of PTX that says so of its kernels."""


@_in_context
def module_from_buffer(buffer: Any, options: Sequence[Any] = (), message_handler: Any = None) -> Module:
    """Load PTX."""
    raw = buffer.encode() if isinstance(buffer, str) else bytes(buffer)
    if raw[:4] == b"\x7fELF" or b".version" not in raw:
        raise LogicError(
            "cuModuleLoadDataEx failed: this is machine code of a GPU, the simulated device runs PTX"
        )
    if message_handler is not None:
        message_handler(True, "", "")
    return Module(raw.rstrip(b"\0").decode())


def module_from_file(filename: str) -> Module:
    """Load a file of PTX."""
    try:
        data = Path(filename).read_bytes()
    except OSError as error:
        raise RuntimeError(f"cuModuleLoad failed: {error}") from None
    loaded: Module = module_from_buffer(data)
    return loaded


class Linker:
    """Puts texts of PTX together."""

    def __init__(self, message_handler: Any = None, options: Any = None, log_verbose: bool = False) -> None:
        self._handler, self._texts = message_handler, list[str]()

    def add_data(self, data: Any, input_type: int, name: str = "unknown") -> None:
        """Add a text."""
        if input_type != 1:
            raise LogicError(f"cuLinkAddData failed: {name} is no PTX, which the simulated device runs")
        raw = data.encode() if isinstance(data, str) else bytes(data)
        self._texts.append(raw.rstrip(b"\0").decode())

    def add_file(self, filename: str, input_type: int) -> None:
        """Add a file of PTX; of libraries none is needed but for dynamic parallelism, which there is not."""
        if input_type != 4:
            self.add_data(Path(filename).read_bytes(), input_type, filename)

    def link_module(self) -> Module:
        """Load all of it as one module."""
        return module_from_buffer(linked(self._texts), (), self._handler)  # type: ignore[no-any-return]


def _renumbered(by: int, found: re.Match[str]) -> str:
    return f"{found[1]}{int(found[2]) + by}"


_DECLARED: Final = re.compile(
    r"(?ms)^\.extern\s+\.(?:func|global|const)\b[^;{]*?\b(\w+)\s*(?:\[\d*\])?\s*(?:\([^;{]*?\))?\s*;"
)


def linked(texts: Sequence[str]) -> str:
    """Return PTX texts as one: declarations of what another defines go, numbers of files are kept apart."""
    result, files = "", 0
    for text in texts:
        text = re.sub(r"(?m)^\.(?:version|target|address_size)\b.*$", "", text) if result else text
        numbers = [int(number) for number in re.findall(r"(?m)^\s*\.file\s+(\d+)", text)]
        kept = functools.partial(_renumbered, files)
        text = re.sub(r"((?:\.file|\.loc|inlined_at)\s+)(\d+)", kept, text)
        files += max(numbers, default=0)
        result += "\n" + text
    defined = set(
        re.findall(r"\.(?:visible|weak)\s+\.(?:func|global|const|entry)\b[^;{=]*?\b(\w+)\s*[\[({=]", result)
    )
    return _DECLARED.sub(lambda found: "" if found[1] in defined else found[0], result).lstrip("\n")


# Memory --------------------------------------------------------------------------------------------------


class PointerHolderBase:
    """Whoever has a pointer: subclasses say which."""

    def get_pointer(self) -> int:
        """Return it."""
        raise NotImplementedError(f"{type(self).__name__}.get_pointer")

    def __int__(self) -> int:
        return int(self.get_pointer())

    __index__ = __int__

    def as_buffer(self, size: int, offset: int = 0) -> memoryview:
        """Return host memory that it points to."""
        return memoryview((ctypes.c_char * size).from_address(int(self) + offset))


class PooledDeviceAllocation(driver.DeviceAllocation):
    """Device memory of a pool, which counts it."""

    def __init__(self, pool: _Pool, size: int) -> None:
        memory = driver.device_memory()
        super().__init__(memory.allocate(max(1, size), f"allocation of {size} bytes from a pool"), memory)
        self._pool, self._asked = pool, size

    def __len__(self) -> int:
        return self._asked

    def free(self) -> None:
        """Give it back to the pool."""
        super().free()
        self._pool.returned(self._asked)


class PooledHostAllocation(host_memory.PagelockedHostAllocation):
    """Page-locked memory of a pool, which counts it."""

    def __init__(self, pool: _Pool, size: int) -> None:
        super().__init__(size)
        self._pool, self._asked = pool, size

    def __len__(self) -> int:
        return self._asked

    def free(self) -> None:
        """Give it back to the pool."""
        super().free()
        self._pool.returned(self._asked)

    def __del__(self) -> None:
        if self.held:
            self.free()


def bitlog2(number: int) -> int:
    """Return the place of the highest bit."""
    return max(int(number).bit_length() - 1, 0)


_LEADING: Final = 4  # bits that tell the sizes of bins apart, beside the highest one


class _Pool:
    """Counts as PyCUDA's pools do; the memory has the size that was asked for, and is given back at once.

    So an access past its end, or after its return, is seen, where a pool would hide it.
    """

    def __init__(self, allocator: Any = None) -> None:
        self._held: dict[int, int] = {}
        self._holds = True
        self.active_blocks = self.active_bytes = self._active_managed = 0

    @property
    def held_blocks(self) -> int:
        """Return how many blocks are kept for later."""
        return sum(self._held.values())

    @property
    def managed_bytes(self) -> int:
        """Return the bytes of all blocks, kept and in use."""
        return self._active_managed + sum(self.alloc_size(each) * n for each, n in self._held.items())

    def bin_number(self, size: int) -> int:
        """Return the number of the bin for a size."""
        power = bitlog2(size)
        shifted = size >> power - _LEADING if power >= _LEADING else size << _LEADING - power
        return power << _LEADING | shifted & (1 << _LEADING) - 1

    def alloc_size(self, bin: int) -> int:
        """Return the largest size in a bin."""
        power, leading = bin >> _LEADING, 1 << _LEADING | bin & (1 << _LEADING) - 1
        if power < _LEADING:
            return leading >> _LEADING - power
        return (leading + 1 << power - _LEADING) - 1

    def taken(self, size: int) -> None:
        """Count a block in use."""
        number = self.bin_number(size)
        if self._held.get(number):
            self._held[number] -= 1
        self.active_blocks += 1
        self.active_bytes += size
        self._active_managed += self.alloc_size(number)

    def returned(self, size: int) -> None:
        """Count a block that is no longer in use."""
        number = self.bin_number(size)
        self.active_blocks -= 1
        self.active_bytes -= size
        self._active_managed -= self.alloc_size(number)
        if self._holds:
            self._held[number] = self._held.get(number, 0) + 1

    def free_held(self) -> None:
        """Keep nothing of what was returned."""
        self._held.clear()

    def stop_holding(self) -> None:
        """Keep nothing from now on."""
        self._holds = False
        self.free_held()


class DeviceMemoryPool(_Pool):
    """A pool of device memory."""

    def allocate(self, size: int) -> PooledDeviceAllocation:
        """Return memory."""
        _expect_context("DeviceMemoryPool.allocate")
        with _lock:
            allocation = PooledDeviceAllocation(self, int(size))
            self.taken(int(size))
        return allocation


class PageLockedAllocator:
    """What a pool of page-locked memory may be made with."""

    def __init__(self, flags: int = 0) -> None:
        self.flags = flags


class PageLockedMemoryPool(_Pool):
    """A pool of page-locked memory."""

    def allocate(self, shape: Any, dtype: Any, order: str = "C") -> NDArray[Any]:
        """Return an array."""
        _expect_context("PageLockedMemoryPool.allocate")
        with _lock:
            nbytes = host_memory.nbytes(shape, dtype)
            owner = PooledHostAllocation(self, nbytes)
            self.taken(nbytes)
        return owner.array(shape, dtype, order)


def memcpy_peer(dest: Any, src: Any, size: int, *contexts: Any, **others: Any) -> None:
    """Copy between contexts: all are of one device."""
    driver.memcpy_dtod(dest, src, size)


# What is refused, and the modules ------------------------------------------------------------------------


def _refused(name: str) -> type:
    def refuse(self: Any, *arguments: Any, **named: Any) -> None:
        raise pitched.no_textures(f"pycuda.driver.{name}")

    return type(name, (), {"__init__": refuse, "__doc__": "Refused: there are no textures."})


def _no_ipc(*arguments: Any, **named: Any) -> None:
    raise LogicError("the simulated device shares nothing with other processes: there are no IPC handles")


class RuntimeErrorOfPyCUDA(Error):
    """What PyCUDA calls ``RuntimeError``: no device, no such file, no code for this device."""


RuntimeErrorOfPyCUDA.__name__ = RuntimeErrorOfPyCUDA.__qualname__ = "RuntimeError"

_WITHOUT_CONTEXT: Final = ("init", "get_version", "get_driver_version", "Device", "Context")


def driver_module() -> ModuleType:
    """Return what is imported as ``pycuda._driver``."""
    driver.Device.multiprocessors = (
        64  # or random numbers, for one, are made by a few hundred threads in turn
    )
    module = ModuleType("pycuda._driver", __doc__)
    shown = vars(module)
    for source in (driver, pitched, host_memory):
        for name in source.__all__:
            found = getattr(source, name)
            is_call = callable(found) and not isinstance(found, type)
            shown[name] = _in_context(found) if is_call and name not in _WITHOUT_CONTEXT else found
    for name in ("lending", "device_bytes", "device_memory", "nbytes"):  # ours
        del shown[name]
    shown.update(pycuda_names.constants())
    shown.update(
        {each.__name__: each for each in _OWN},
        RuntimeError=RuntimeErrorOfPyCUDA,
        HostAllocation=host_memory.PagelockedHostAllocation,
        memcpy_peer_async=_in_context(memcpy_peer),
        mem_get_ipc_handle=_no_ipc,
        IPCMemoryHandle=_no_ipc,
        have_gl_ext=lambda: False,
        **{name: getattr(pycuda_curand, name) for name in pycuda_curand.__all__},
        **{name: lambda *given: None for name in ("initialize_profiler", "start_profiler", "stop_profiler")},
        **{name: _refused(name) for name in _TEXTURES},
    )
    return module


_OWN: Final = (
    *(Function, Module, Linker, module_from_buffer, module_from_file, bitlog2),
    *(PointerHolderBase, PooledDeviceAllocation, PooledHostAllocation, PageLockedAllocator),
    *(DeviceMemoryPool, PageLockedMemoryPool, _in_context(memcpy_peer)),
)
_TEXTURES: Final = (
    *("Array", "ArrayDescriptor", "ArrayDescriptor3D", "TextureReference", "SurfaceReference"),
    *("memcpy_atoa", "memcpy_atod", "memcpy_atoh", "memcpy_dtoa", "memcpy_htoa"),
)


def struct_module() -> ModuleType:
    """Return what is imported as ``pycuda._pvt_struct``."""
    module = ModuleType("pycuda._pvt_struct", pack.__doc__)
    vars(module).update(pack=pack, calcsize=calcsize, unpack=struct.unpack, error=struct.error)
    return module
