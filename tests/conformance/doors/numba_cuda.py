"""numba.cuda where there is no GPU: its kernels, compiled to PTX by numba itself, on the simulated device.

``@cuda.jit`` and ``kernel[grid, block](…)`` stay numba's. What would ask the driver is replaced: launches
go to the launcher of :mod:`gaugeblock.gpu`, and ``cuda.to_device``, ``cuda.device_array`` and the like make
arrays there. numba compiles with libNVVM, which comes with CUDA toolkits and is looked for in ``CUDA_HOME``
and ``/usr/local``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numba
import numpy as np
from numba import cuda, types
from numba.core import config
from numba.cuda import api, compiler, dispatcher
from numba.cuda.cudadrv import nvvm
from numba.np import numpy_support

from gaugeblock.gpu.runtime.device import DeviceArray, device, to_device
from gaugeblock.gpu.runtime.launcher import Kernel

OLDEST: Final = (0, 60)
"""The oldest numba whose own target for CUDA this knows."""

CAPABILITY: Final = (8, 0)
"""What kernels are compiled for."""


def open_door() -> bool:
    """Make the simulated device numba's, unless there is a GPU, or ``GAUGEBLOCK_DEVICE`` asks for one.

    Returns
    -------
    bool
        Whether it is.

    Raises
    ------
    ImportError
        This numba is older than the door knows, there is no libNVVM, or no GPU where one was asked for.
    """
    wish = os.environ.get("GAUGEBLOCK_DEVICE", "")
    if config.ENABLE_CUDASIM or (wish != "simulator" and cuda.is_available()):
        return False
    if wish == "cuda":
        raise ImportError("GAUGEBLOCK_DEVICE=cuda, but numba finds no GPU")
    if tuple(map(int, re.findall(r"\d+", numba.__version__)[:2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ImportError(f"without a GPU numba has to be {wanted} or newer, this is {numba.__version__}")
    _find_nvvm()
    config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a simulated device knows no such thing
    here = SimpleNamespace(
        compute_capability=CAPABILITY, name=b"simulated device", id=0, WARP_SIZE=32, MULTIPROCESSOR_COUNT=1
    )
    for module in (api, compiler, dispatcher, cuda):
        module.get_current_device = lambda: here
    dispatcher.CUDADispatcher.call = launch
    dispatcher.CUDADispatcher.compile = _declare
    disable = dispatcher.CUDADispatcher.disable_compile
    dispatcher.CUDADispatcher.disable_compile = lambda self, val=True: self.overloads and disable(self, val)
    dispatcher.ForAll.__call__ = _for_all
    for name, function in FUNCTIONS.items():
        setattr(cuda, name, function)
    return True


def described() -> dict[str, Any]:
    """Return what a backend behind this door is, in the words of its own declarations."""
    return {
        "device": device().name,
        "simulated": True,
        "versions": {"numba": numba.__version__},
    }


def tune(how: str) -> None:
    """Nothing to do: numba tunes no kernels."""


def _find_nvvm() -> None:
    """Let numba find libNVVM in a toolkit, wherever that is."""
    places = [
        *map(Path, filter(None, map(os.environ.get, ("CUDA_HOME", "CUDA_PATH")))),
        *Path("/usr/local").glob("cuda*"),
    ]
    places += [Path(entry, "nvidia", "cu13") for entry in sys.path]
    for place in places:
        if any(place.glob("**/libdevice*.bc")) and any(place.glob("**/libnvvm.so*")):
            os.environ["CUDA_HOME"] = str(place)
            break
    try:
        nvvm.NVVM()
    except Exception as error:
        raise ImportError(
            "numba compiles kernels with libNVVM, which is not found: set CUDA_HOME to a CUDA toolkit"
        ) from error


# Launches ------------------------------------------------------------------------------------------------


def launch(self: Any, args: Sequence[Any], griddim: Any, blockdim: Any, stream: Any, sharedmem: int) -> None:
    """Compile a kernel for its arguments if need be, and run it on the simulated device."""
    declared = [kinds for kinds in vars(self).get("declared", ()) if len(kinds) == len(args)]
    kinds = declared[0] if declared else tuple(map(kind_of, args))
    values: list[Any] = []
    written: list[tuple[Any, DeviceArray]] = []
    for kind, argument in zip(kinds, args, strict=True):
        values += _passed(kind, argument, written)
    kernels = vars(self).setdefault("compiled", {})
    if kinds not in kernels:
        kernels[kinds] = _compiled(self, kinds)
    kernels[kinds].launch(griddim, blockdim, *values, shared=sharedmem)
    for host, copy in written:
        host[...] = copy.get()


def _compiled(self: Any, kinds: tuple[Any, ...]) -> Kernel:
    options = {name: bool(self.targetoptions.get(name)) for name in ("fastmath",)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ptx, _ = compiler.compile_ptx(self.py_func, kinds, lineinfo=True, cc=CAPABILITY, **options)
    entry = re.search(r"\.visible\s+\.entry\s+(\S+?)\(", ptx)
    assert entry is not None
    return Kernel(ptx, entry[1])


def _declare(self: Any, kinds: tuple[Any, ...]) -> None:
    """Keep the types that a decorator names; they are compiled when they are launched."""
    vars(self).setdefault("declared", []).append(tuple(kinds))


def _for_all(self: Any, *args: Any) -> None:
    """Launch a thread for each task."""
    if self.ntasks:
        threads = self.thread_per_block or 128
        self.dispatcher[-(-self.ntasks // threads), threads, self.stream, self.sharedmem](*args)


def kind_of(argument: Any) -> Any:
    """Return numba's type of an argument."""
    if isinstance(argument, np.ndarray | DeviceArray):
        dtype = argument.dtype
        try:
            element = numpy_support.from_dtype(dtype)
        except numba.core.errors.NumbaError as error:
            raise NotImplementedError(f"numba has no elements of type {dtype}") from error
        layout = "C" if _packed(argument) else "F" if _packed(argument, reverse=True) else "A"
        return types.Array(element, len(argument.shape), layout)
    return numba.typeof(argument)


def _packed(array: Any, *, reverse: bool = False) -> bool:
    expected = array.dtype.itemsize
    axes = list(zip(array.shape, array.strides, strict=True))
    for size, stride in axes if reverse else reversed(axes):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _passed(kind: Any, argument: Any, written: list[tuple[Any, DeviceArray]]) -> Iterator[Any]:
    """Yield what a kernel is given for an argument: of an array seven values and more."""
    if isinstance(kind, types.Array):
        if isinstance(argument, np.ndarray):  # as numba does: copied there, and back
            copy = to_device(argument)
            if argument.flags.writeable:
                written.append((argument, copy))
            argument = copy
        elif not hasattr(argument, "__cuda_array_interface__"):
            raise TypeError(f"a kernel is given {type(argument).__qualname__}, expected an array")
        size = ctypes.c_ssize_t
        pointer = argument.__cuda_array_interface__["data"][0]
        yield from (
            ctypes.c_void_p(0),
            ctypes.c_void_p(0),
            size(argument.size),
            size(argument.dtype.itemsize),
        )
        yield ctypes.c_void_p(pointer)
        yield from map(size, (*argument.shape, *argument.strides))
    elif isinstance(kind, types.BaseTuple):
        for each, value in zip(kind, argument, strict=True):
            yield from _passed(each, value, written)
    elif isinstance(kind, types.Boolean):
        yield ctypes.c_uint8(bool(argument))
    elif isinstance(kind, types.Integer | types.Float):
        yield np.dtype(str(kind)).type(argument)
    elif isinstance(kind, types.NoneType):
        pass
    else:
        raise NotImplementedError(f"the simulated device takes no argument of numba's type {kind}")


# What there is in numba.cuda beside kernels --------------------------------------------------------------


class Array(DeviceArray):
    """An array on the simulated device, with the names that numba's have."""

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> Any:
        """Return a copy on the host."""
        if ary is None:
            return self.get()
        ary[...] = self.get()
        return ary


class Stream:
    """A stream: launches on the simulated device are done when they return."""

    def synchronize(self) -> None:
        """Wait for nothing."""

    def auto_synchronize(self) -> contextlib.AbstractContextManager[None]:
        """Wait for nothing at the end of a block."""
        return contextlib.nullcontext()


def _as_array(array: DeviceArray) -> Array:
    return Array(array.shape, array.dtype, array.strides, array.pointer, owner=array)


def _to_device(obj: Any, stream: Any = 0, copy: bool = True, to: Any = None) -> Any:
    if to is None:
        return obj if isinstance(obj, DeviceArray) else _as_array(to_device(np.asarray(obj)))
    device().driver.memcpy_htod(to.pointer, np.ascontiguousarray(obj))
    return to


def _device_array(
    shape: Any, dtype: Any = np.float64, strides: Any = None, order: str = "C", stream: Any = 0
) -> Array:
    return Array(shape if isinstance(shape, tuple) else (shape,), dtype)


def _device_array_like(ary: Any, stream: Any = 0) -> Array:
    return Array(tuple(ary.shape), ary.dtype)


def _as_cuda_array(obj: Any, sync: bool = True) -> Array:
    if not isinstance(obj, DeviceArray):
        raise TypeError("*obj* doesn't implement the cuda array interface.")
    return _as_array(obj)


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "is_available": lambda: True,
    "synchronize": lambda: None,
    "to_device": _to_device,
    "device_array": _device_array,
    "device_array_like": _device_array_like,
    "as_cuda_array": _as_cuda_array,
    "stream": Stream,
    "default_stream": Stream,
    "select_device": lambda device_id=0: None,
    "defer_cleanup": contextlib.nullcontext,
    "pinned": lambda *arrays: contextlib.nullcontext(),
}
"""What programs call in ``numba.cuda``, on the simulated device."""
