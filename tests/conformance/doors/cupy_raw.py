"""CuPy where there is no GPU, or no CuPy: what programs of raw kernels ask of it, on the simulated device.

``RawKernel`` and ``RawModule`` compile with NVRTC, as CuPy does, and run on the simulated device; arrays
are those of :mod:`gaugeblock.gpu`. There are the functions that make, pack and copy arrays, and nothing
that computes: such calls would want CuPy's own kernels. On a GPU CuPy is left alone.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np

from gaugeblock.gpu.runtime.compiler import compile_instances
from gaugeblock.gpu.runtime.device import DeviceArray, device, to_device
from gaugeblock.gpu.runtime.launcher import Kernel, entries, unknown


def open_door() -> bool:
    """Put the stand-in in CuPy's place, unless CuPy finds a GPU.

    Returns
    -------
    bool
        Whether it is.

    Raises
    ------
    ImportError
        There is no GPU where one was asked for.
    """
    cupy, wish = sys.modules["cupy"], os.environ.get("GAUGEBLOCK_DEVICE", "")
    if getattr(cupy, "stands_in", False):
        return True
    if wish != "simulator" and _finds_gpu(cupy):
        return False
    if wish == "cuda":
        raise ImportError("GAUGEBLOCK_DEVICE=cuda, but CuPy finds no GPU")
    sys.modules["cupy"] = stand_in()
    return True


def _finds_gpu(cupy: Any) -> bool:
    try:
        return bool(cupy.cuda.runtime.getDeviceCount())
    except Exception:
        return False


def described() -> dict[str, Any]:
    """Return what a backend behind this door is, in the words of its own declarations."""
    found = device()
    return {"device": found.name, "simulated": found.simulated, "versions": dict(found.versions)}


def tune(how: str) -> None:
    """Nothing to do: raw kernels are not tuned."""


class ndarray(DeviceArray):
    """An array on the simulated device, with those of CuPy's methods that move no elements, or only that."""

    @classmethod
    def of(cls, array: DeviceArray) -> ndarray:
        """Return the same memory."""
        return cls(
            array.shape, array.dtype, array.strides, array.pointer, owner=array, writable=array.writable
        )

    def ravel(self) -> ndarray:
        """Return it with one axis."""
        return self.reshape(-1)

    def reshape(self, *shape: Any) -> ndarray:
        """Return it, or a packed copy, in another shape."""
        packed = ascontiguousarray(self)
        sizes = np.empty(self.shape, np.bool_).reshape(*shape).shape
        return ndarray(sizes, self.dtype, None, packed.pointer, owner=packed)

    def copy(self) -> ndarray:
        """Return a packed copy."""
        return asarray(self.get())


def asarray(array: Any, dtype: Any = None) -> ndarray:
    """Return an array on the device, without a copy if it lies there already."""
    if isinstance(array, DeviceArray) and dtype in (None, array.dtype):
        return array if isinstance(array, ndarray) else ndarray.of(array)
    host = array.get() if isinstance(array, DeviceArray) else np.asarray(array)
    return ndarray.of(to_device(np.ascontiguousarray(host, dtype)))


def ascontiguousarray(array: Any, dtype: Any = None) -> ndarray:
    """Return an array that is packed, a copy if need be."""
    given = asarray(array, dtype)
    whole = DeviceArray(given.shape, given.dtype, pointer=given.pointer, owner=given)
    return given if whole.strides == given.strides else asarray(given.get())


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """Return an array that nobody wrote."""
    return ndarray(tuple(shape) if isinstance(shape, Sequence) else (shape,), dtype)


def zeros(shape: Any, dtype: Any = float) -> ndarray:
    """Return an array of zeros."""
    return asarray(np.zeros(shape, dtype))


class RawModule:
    """CUDA C++ text with kernels."""

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        name_expressions: Sequence[str] = (),
        **others: Any,
    ) -> None:
        if code is None:
            raise ValueError("without a GPU a RawModule is compiled from code, not loaded from a file")
        if backend != "nvrtc":
            raise ValueError(f"backend is {backend!r}, expected 'nvrtc'")
        self.code, self.options, self.names = code, tuple(options), tuple(name_expressions)
        self._found: tuple[bytes, dict[str, str]] | None = None

    def get_function(self, name: str) -> RawKernel:
        """Return a kernel by its name, or one of the name expressions."""
        return RawKernel(name=name, module=self)

    def kernel(self, name: str) -> Kernel:
        """Compile if need be, and return a kernel on the device."""
        if self._found is None:
            text, file = placed(self.code)
            self._found = compile_instances(text, file, self.names, options=self.options)
        binary, lowered = self._found
        entry = lowered.get(name, name)
        if entry not in entries(binary):
            raise unknown(name, (*lowered, *entries(binary)))
        return Kernel(binary, entry)


class RawKernel:
    """A kernel that is written in CUDA C++."""

    def __init__(
        self,
        code: str = "",
        name: str = "",
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        *,
        module: RawModule | None = None,
        **others: Any,
    ) -> None:
        self.name = name
        self._kernel = (module or RawModule(code=code, options=options, backend=backend)).kernel(name)

    def compile(self, log_stream: Any = None) -> None:
        """Do nothing: it was compiled when it was made, so that a file that does not compile is refused."""

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launch it."""
        self._kernel.launch(grid, block, *map(_passed, args), shared=shared_mem)


def _passed(argument: Any) -> Any:
    """Return an argument as CuPy passes it: Python's numbers have 8 bytes."""
    kinds: dict[type, Callable[[Any], Any]] = {
        bool: ctypes.c_bool,
        int: ctypes.c_int64,
        float: ctypes.c_double,
    }
    return kinds[type(argument)](argument) if type(argument) in kinds else argument


def placed(code: str) -> tuple[str, str]:
    """Return a text with the place where it stands in the Python file, if one of the callers has it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_file() and file.suffix == ".py":
            lines, found, _ = file.read_text(encoding="utf-8", errors="replace").partition(code)
            if found:
                return f'#line {lines.count(chr(10)) + 1} "{file.name}"\n{code}', file.name
        frame = frame.f_back
    return code, "kernel.cu"


FUNCTIONS: Final[dict[str, Any]] = {
    "ndarray": ndarray,
    "asarray": asarray,
    "array": lambda given, dtype=None: asarray(given, dtype).copy(),
    "ascontiguousarray": ascontiguousarray,
    "asnumpy": lambda array: array.get(),
    "empty": empty,
    "empty_like": lambda array, dtype=None: empty(array.shape, dtype or array.dtype),
    "zeros": zeros,
    "zeros_like": lambda array, dtype=None: zeros(array.shape, dtype or array.dtype),
    "RawKernel": RawKernel,
    "RawModule": RawModule,
    **{
        name: getattr(np, name)
        for name in ("float16", "float32", "float64", "int32", "int64", "uint32", "uint64")
    },
}


def stand_in(name: str = "cupy") -> ModuleType:
    """Return a module that programs take for CuPy."""
    module = ModuleType("cupy", __doc__)
    vars(module).update(FUNCTIONS, stands_in=True, __version__="0", __path__=[])
    stream = SimpleNamespace(ptr=0, synchronize=lambda: None)
    here = SimpleNamespace(synchronize=lambda: None, id=0, compute_capability="80")
    vars(module)["cuda"] = SimpleNamespace(
        Device=lambda id=0: here,
        Stream=SimpleNamespace(null=stream),
        get_current_stream=lambda: stream,
        runtime=SimpleNamespace(getDeviceCount=lambda: 1, deviceSynchronize=lambda: None),
        is_available=lambda: True,
    )
    vars(module)["__getattr__"] = _missing
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    return module


def _missing(name: str) -> Any:
    some = ", ".join(list(FUNCTIONS)[:6])
    raise AttributeError(
        f"cupy.{name}: without a GPU there are RawKernel, RawModule and what makes arrays ({some}, …)"
    )
