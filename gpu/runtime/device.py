"""Choose the device that answers, and hold arrays on it.

:func:`device` decides once per process: a GPU that passes a small test, through PyCUDA or where that is
missing through the driver alone, else the simulated device, with the reason in one line. The environment
variable ``GAUGEBLOCK_DEVICE`` (``cuda`` or ``simulator``) overrules the choice. Nothing is decided, and no
context is created, before the first operation asks.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import struct
import threading
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from gaugeblock.gpu.runtime import compiler, cuda_driver
from gaugeblock.gpu.runtime.form import Form, form_of, span
from gaugeblock.gpu.runtime.memory import Block, Pool
from gaugeblock.gpu.runtime.recording import Launch, only_here, thread

__all__ = [
    "DTYPES",
    "Device",
    "DeviceArray",
    "DeviceUnavailable",
    "as_device_array",
    "device",
    "to_device",
]

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(bfloat16),
}
"""The element types of the kernels."""

ELEMENTS: Final = {"float32": "float", "float16": "float16", "bfloat16": "bfloat16"}
"""Their names in ``kernels/shared/element.cuh``."""


class DeviceUnavailable(RuntimeError):
    """``GAUGEBLOCK_DEVICE`` asks for a device that this machine does not have."""


def _give_back(constants: dict[object, DeviceArray], memory: Pool) -> None:
    constants.clear()
    memory.trim()


class Plans(threading.local):
    """The calls that a thread has made before, by what they had in common."""

    def __init__(self) -> None:
        self.known: dict[tuple[object, ...], Any] = {}


class Prepared:
    """A kernel and its signature, in the notation of :mod:`struct`: to be launched, or noted."""

    def __init__(self, function: Any, module: Any, signature: str) -> None:
        self.function = function.prepare(signature)
        self.struct = struct.Struct(f"@{signature}")
        self._module = module

    def prepared_async_call(
        self, grid: tuple[int, ...], block: tuple[int, ...], stream: Any, *args: Any, shared_size: int = 0
    ) -> None:
        """Launch as ``pycuda.driver.Function`` does, without a stream on that of the call."""
        if thread.recorder is not None:
            packed = self.struct.pack(*args)
            thread.recorder.launches.append(Launch(self, grid, block, packed, shared_size))
            return
        self.function.prepared_async_call(
            grid, block, stream or thread.stream or None, *args, shared_size=shared_size
        )


@dataclass(eq=False)
class Device:
    """The device that the kernels run on.

    Attributes
    ----------
    driver : module
        ``pycuda.driver``; without PyCUDA :mod:`gaugeblock.gpu.runtime.cuda_driver`, or the simulator's, both
        with the same names.
    loader : module
        Which of the last two allocates memory, loads kernels and launches them.
    name : str
        What the device calls itself.
    simulated : bool
        Whether it is the simulator.
    compute_capability : tuple of int
        Such as ``(9, 0)``.
    multiprocessors : int
        How many thread blocks run side by side at least; 1 if simulated.
    reason : str
        One line: why this device and not the other.
    versions : dict of str to str
        Of the compiler and, on a GPU, of PyCUDA and the driver.
    most_blocks : int
        CUDA's limit on the first dimension of a grid; less if simulated, see `blocks`.
    plans : Plans
        The calls that it knows (:mod:`gaugeblock.gpu.runtime.plan`).
    constants : dict
        Arrays that operations keep there, such as tables.
    memory : Pool
        Where memory comes from; ``device().memory.trim()`` gives the driver what nobody uses.
    """

    driver: Any
    loader: Any
    name: str
    simulated: bool
    compute_capability: tuple[int, int]
    multiprocessors: int
    reason: str
    versions: dict[str, str] = field(default_factory=dict)
    most_blocks: int = (1 << 31) - 1
    plans: Plans = field(default_factory=lambda: Plans(), repr=False)
    constants: dict[object, DeviceArray] = field(default_factory=dict, repr=False)
    _functions: dict[tuple[object, ...], Prepared] = field(default_factory=dict, repr=False)
    _limits: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        # PyCUDA's memory can only be freed by the thread that asked for it.
        self.memory = Pool(self.loader.mem_alloc, keeps=not self.simulated)
        # Before the interpreter takes the driver apart.
        weakref.finalize(self, _give_back, self.constants, self.memory)

    def blocks(self, parts: int) -> int:
        """Return in how many blocks a kernel is launched whose blocks loop over so many parts of its work.

        On the simulated device blocks have two parts each where the number of parts is 2 or 3, modulo 4: else
        no loop over parts would be run beyond its first turn by less than 2³¹ parts. Turns cost time there,
        as blocks run in step; therefore not everywhere.
        """
        halved = self.simulated and parts % 4 > 1
        return min(-(-parts // 2) if halved else parts, self.most_blocks)

    def function(
        self, source: str, entry: str, signature: str, defines: tuple[tuple[str, object], ...] = ()
    ) -> Any:
        """Return a kernel that is compiled, loaded and prepared for calls.

        Parameters
        ----------
        source : str
            A file of ``gpu/kernels``.
        entry : str
            The kernel's name.
        signature : str
            Its parameters in the notation of :mod:`struct`, as ``pycuda.driver.Function.prepare`` takes them.
        defines : tuple of (str, object)
            Preprocessor macros.
        """
        key = (source, entry, defines)
        if key not in self._functions:
            module = self.load(self._binary(source, dict(defines)))
            # The module is kept beside the function: unloading it would take the code away.
            self._functions[key] = Prepared(module.get_function(entry), module, signature)
        return self._functions[key]

    def allocate(self, nbytes: int) -> Any:
        """Return memory, as an integer its address, which is given back with the object."""
        if thread.recorder is not None:
            return thread.recorder.allocate(nbytes)
        return Block(self.memory.shelf(nbytes))

    def load(self, binary: bytes | str) -> Any:
        """Return a module with ``get_function``, of PTX or of a cubin."""
        return self.loader.module_from_buffer(binary)

    def limits(self) -> Mapping[str, int]:
        """Return the limits of a launch, by the names of ``device_attribute``."""
        if not self._limits:
            chip = self.loader.Context.get_device()
            for attribute in self.loader.device_attribute:
                if attribute.name.startswith("MAX_"):
                    self._limits[attribute.name] = chip.get_attribute(attribute)
        return self._limits

    def target(self) -> tuple[compiler.Target, int]:
        """Return what to compile for, PTX or machine code, and the architecture."""
        if self.simulated:
            return "ptx", compiler.DEFAULT_ARCHITECTURE
        major, minor = self.compute_capability
        own, known = 10 * major + minor, compiler.supported_architectures()
        if own in known:
            return "cubin", own
        older = [architecture for architecture in known if architecture < own]
        if not older:
            raise compiler.CompileError(f"NVRTC {compiler.nvrtc_version()} knows no GPU as old as {own / 10}")
        return "ptx", older[-1]

    def _binary(self, source: str, defines: Mapping[str, object]) -> bytes:
        target, architecture = self.target()
        return compiler.compile(source, defines=defines, target=target, arch=architecture)


# Which device --------------------------------------------------------------------------------------------


@functools.cache
def device() -> Device:
    """Return the device that the kernels run on; the first call chooses it.

    Returns
    -------
    Device
        A GPU if there is a usable one, else the simulated device.

    Raises
    ------
    DeviceUnavailable
        ``GAUGEBLOCK_DEVICE=cuda`` and no GPU is usable, or the variable has another value.
    """
    wish = os.environ.get("GAUGEBLOCK_DEVICE", "")
    if wish not in ("", "cuda", "simulator"):
        raise DeviceUnavailable(f"GAUGEBLOCK_DEVICE is {wish!r}, expected 'cuda' or 'simulator'")
    if wish == "simulator":
        return _simulated("GAUGEBLOCK_DEVICE=simulator")
    try:
        return _cuda("GAUGEBLOCK_DEVICE=cuda" if wish else "there is a usable GPU")
    except Exception as error:
        # Whatever goes wrong with a driver we did not write is a reason to go on without it.
        reason = _why_not(error)
        if wish == "cuda":
            raise DeviceUnavailable(f"GAUGEBLOCK_DEVICE=cuda, but {reason}") from error
        return _simulated(reason)


def _why_not(error: Exception) -> str:
    if isinstance(error, cuda_driver.NoDriver):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"the GPU is not usable: {text}"


def _cuda(reason: str) -> Device:
    """Return a GPU through PyCUDA, or where that is not installed through the driver alone."""
    driver: Any = cuda_driver
    versions: dict[str, str] = {}
    cuda_driver.init()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            driver = importlib.import_module("pycuda.driver")
            # The primary context is the one that torch, CuPy and JAX use: arrays can be passed to and fro.
            importlib.import_module("pycuda.autoprimaryctx")
        versions["pycuda"] = importlib.import_module("pycuda").VERSION_TEXT
    except ModuleNotFoundError as error:
        if error.name != "pycuda":
            raise
    number = cuda_driver.ordinal()
    gpu = cuda_driver.Device(number)
    found = Device(
        driver=_InAnyThread(driver, number) if versions else driver,
        loader=cuda_driver,
        name=gpu.name(),
        simulated=False,
        compute_capability=gpu.compute_capability(),
        multiprocessors=gpu.get_attribute(cuda_driver.device_attribute.MULTIPROCESSOR_COUNT),
        reason=reason,
        versions=_compiler_version() | versions | {"driver": str(cuda_driver.get_driver_version())},
    )
    _probe(found)
    return found


class _InAnyThread:
    """PyCUDA's driver, its primary context made current in whichever thread asks for something.

    PyCUDA keeps a stack of contexts for each thread, which must be empty when the thread ends.
    """

    def __init__(self, driver: Any, number: int) -> None:
        self._driver, self._number = driver, number
        self._held = threading.local()
        self._held.context = None  # of this thread PyCUDA takes care

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._held, "context"):
            self._held.context = _Current(self._driver.Device(self._number).retain_primary_context())
        return getattr(self._driver, name)


class _Current:
    """A context that is current until its thread ends."""

    def __init__(self, context: Any) -> None:
        self._context = context
        context.push()

    def __del__(self) -> None:
        self._context.pop()


def _simulated(reason: str) -> Device:
    driver: Any = importlib.import_module("gaugeblock.gpu.simulator.driver")
    driver.init()
    simulated = driver.Device(0)
    return Device(
        driver=driver,
        loader=driver,
        name=simulated.name(),
        simulated=True,
        compute_capability=simulated.compute_capability(),
        multiprocessors=1,
        most_blocks=64,
        reason=reason,
        versions=_compiler_version(),
    )


def _compiler_version() -> dict[str, str]:
    return {"nvrtc": ".".join(map(str, compiler.nvrtc_version()))}


def _probe(candidate: Device) -> None:
    """Compile, load and run the smallest kernel; raise if any step fails or its result is wrong."""
    driver = candidate.driver
    result = np.zeros(32, np.int32)
    memory = driver.mem_alloc(result.nbytes)
    probe = candidate.function("shared/probe.cu", "probe", "P")
    probe.prepared_async_call((1, 1, 1), (32, 1, 1), None, int(memory))
    driver.memcpy_dtoh(result, memory)
    if not np.array_equal(result, 3 * np.arange(32) + 1):
        raise RuntimeError("a test kernel computed a wrong result")


# Arrays on the device ------------------------------------------------------------------------------------


class DeviceArray:
    """A strided array in the device's memory.

    It exposes ``__cuda_array_interface__`` (version 3; bfloat16 as ``<V2``), so that other libraries can use
    its memory, and a kernel of ours takes it as it is.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        float32, float16 or bfloat16.
    strides : tuple of int, optional
        In bytes, of any sign; C order if left out.
    pointer : int, optional
        Address of the first element; new memory if left out.
    owner : object, optional
        What keeps the memory alive.
    writable : bool
        Whether it may be an output.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock import gpu
    >>> x = gpu.to_device(np.array([[1.0, -2.0], [3.0, -4.0]], np.float32))
    >>> gpu.relu(x[:, 1:]).get()
    array([[0.],
           [0.]], dtype=float32)
    """

    __slots__ = ("__weakref__", "form", "owner", "pointer")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        strides: tuple[int, ...] | None = None,
        pointer: int | None = None,
        *,
        owner: Any = None,
        writable: bool = True,
    ) -> None:
        self.form = form_of(tuple(shape), dtype, None if strides is None else tuple(strides), writable)
        if pointer is None:
            owner = device().allocate(max(1, self.nbytes))
            pointer = int(owner)
        self.pointer = pointer
        self.owner = owner

    @classmethod
    def at(cls, form: Form, pointer: int, owner: object) -> DeviceArray:
        """Return an array that looks like others, at an address."""
        self = cls.__new__(cls)
        self.form, self.pointer, self.owner = form, pointer, owner
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.form.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its element type."""
        return self.form.dtype

    @property
    def strides(self) -> tuple[int, ...]:
        """Its strides in bytes."""
        return self.form.strides

    @property
    def writable(self) -> bool:
        """Whether it may be an output."""
        return self.form.writable

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, gaps not counted."""
        return self.size * int(self.dtype.itemsize)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, not self.writable),
            "strides": self.strides,
            "version": 3,
            "stream": 1,
        }

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, strides={self.strides})"

    def __getitem__(self, index: Any) -> DeviceArray:
        """Return a view: basic indices only (integers, slices, ``...``, ``None``)."""
        places = index if isinstance(index, tuple) else (index,)
        for place in places:
            basic = place is None or place is ... or isinstance(place, (int, np.integer, slice))
            if not basic or isinstance(place, bool):
                raise TypeError(f"index {place!r}: a DeviceArray takes integers, slices, ... and None")
        # With an ellipsis the answer is a view even where every axis is indexed.
        whole = any(place is ... for place in places)
        return self._view(phantom(self)[places if whole else (*places, ...)])

    def transpose(self, *axes: int) -> DeviceArray:
        """Return a view with its axes permuted (reversed if none are named)."""
        return self._view(phantom(self).transpose(*axes))

    @property
    def T(self) -> DeviceArray:
        """The view with its axes reversed."""
        return self.transpose()

    def _view(self, view: NDArray[Any]) -> DeviceArray:
        pointer = view.__array_interface__["data"][0]
        return DeviceArray(
            view.shape, self.dtype, view.strides, pointer, owner=self.owner, writable=self.writable
        )

    def get(self) -> NDArray[Any]:
        """Return a copy in host memory, in C order."""
        only_here("an array is copied to the host")
        low, high = span(self)
        host = np.empty(high - low, np.uint8)
        if host.size:
            device().driver.memcpy_dtoh(host, self.pointer + low)
        return view_of_span(host, self, -low).copy()


def as_device_array(value: Any) -> DeviceArray:
    """Return an array on the device as a `DeviceArray` that shares its memory.

    Parameters
    ----------
    value : object
        A `DeviceArray`, or anything with ``__cuda_array_interface__``.

    Returns
    -------
    DeviceArray
        A view; it keeps `value` alive.

    Raises
    ------
    TypeError
        The object has no such interface, a mask, or strides that are no whole number of elements.
    """
    if isinstance(value, DeviceArray):
        return value
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        raise TypeError(f"a {type(value).__name__} is no array on the device (no __cuda_array_interface__)")
    if interface.get("mask") is not None:
        raise TypeError("masked arrays on the device are not supported")
    missing = {"shape", "typestr", "data"} - set(interface)
    if missing:
        raise TypeError(
            f"__cuda_array_interface__ of a {type(value).__name__} lacks {', '.join(sorted(missing))}"
        )
    # The interface has no name for bfloat16: whoever has it says "two bytes".
    dtype = DTYPES["bfloat16"] if interface["typestr"] == "<V2" else np.dtype(interface["typestr"])
    shape, strides = tuple(interface["shape"]), interface.get("strides")
    if strides is not None and any(stride % dtype.itemsize for stride in strides):
        raise TypeError(f"strides {tuple(strides)} are no multiples of the element size {dtype.itemsize}")
    pointer, read_only = interface["data"]
    if pointer % dtype.alignment:
        raise TypeError(
            f"the first element lies at {pointer:#x}, expected a multiple of {dtype.alignment} for {dtype}"
        )
    refuse_elsewhere(pointer)
    return DeviceArray(shape, dtype, strides, pointer, owner=value, writable=not read_only)


def refuse_elsewhere(pointer: int) -> None:
    """Refuse memory of another GPU than the one that the kernels run on."""
    if device().simulated or cuda_driver.alone() or not pointer:
        return
    place = cuda_driver.ordinal_of(pointer)
    if place not in (None, cuda_driver.ordinal()):
        raise TypeError(
            f"an array lies on GPU {place}, the kernels run on GPU {cuda_driver.ordinal()} (CUDA_DEVICE)"
        )


def to_device(array: NDArray[Any]) -> DeviceArray:
    """Copy a NumPy array to the device, in C order.

    Parameters
    ----------
    array : ndarray
        Of any dtype; the operations take float32, float16 and bfloat16.

    Returns
    -------
    DeviceArray
        The copy.

    Raises
    ------
    TypeError
        It is no array.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"a {type(array).__name__} is no NumPy array")
    only_here("an array is copied to the device")
    packed = np.ascontiguousarray(array).reshape(array.shape)
    copy = DeviceArray(packed.shape, packed.dtype)
    if packed.nbytes:
        device().driver.memcpy_htod(copy.pointer, packed.reshape(-1).view(np.uint8))
    return copy


# Layouts -------------------------------------------------------------------------------------------------


def view_of_span(memory: NDArray[np.uint8], array: Any, offset: int) -> NDArray[Any]:
    """Return a view of `memory` laid out like `array`, its first element at `offset`."""
    return np.ndarray(array.shape, array.dtype, memory, offset if array.size else 0, array.strides)


class _Interface:
    """An object that NumPy turns into an array at a given address."""

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def phantom(array: Any) -> NDArray[Any]:
    """Return a NumPy array at the same address with the same layout, whose elements must never be touched.

    With it NumPy's own rules for views and for overlap answer questions about device memory.
    """
    size = array.dtype.itemsize
    interface = {
        "shape": array.shape,
        "strides": array.strides,
        "typestr": f"|V{size}",
        "data": (array.pointer, False),
        "version": 3,
    }
    return np.asarray(_Interface(interface))
