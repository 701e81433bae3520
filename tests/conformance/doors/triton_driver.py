"""A driver for Triton whose device is the simulated one.

Triton compiles to PTX anywhere; its driver interface (``triton.backends``) loads and launches what comes out.
Here PTX is the last stage, no ``ptxas`` is needed, and a launch runs on the simulated device. Tensors of the
host are used in place, each within the bounds of its storage.

Kernels are compiled for compute capability 8.0, all of whose instructions the simulated device has.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import math
import os
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import triton
from ml_dtypes import bfloat16
from numpy.lib.array_utils import byte_bounds
from triton.backends import Backend, backends
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler.errors import CompilationError, CompileTimeAssertionFailure
from triton.language.semantic import TritonSemantic
from triton.runtime import driver as triton_driver
from triton.runtime.autotuner import Autotuner, OutOfResources
from triton.runtime.jit import JITFunction, TensorWrapper, _triton_jit_function_registry

from gaugeblock.gpu.simulator import driver as simulator
from gaugeblock.gpu.simulator import settings

NAME: Final = simulator.NAME
CAPABILITY: Final = 80
PTX_VERSION: Final = 83
MOST_POINTERS: Final = 4096
"""Elements that an array of integers may have to be searched for addresses."""

Range = tuple[int, int, bool, str]


# Compiling -----------------------------------------------------------------------------------------------


class PtxBackend(CUDABackend):  # type: ignore[misc]
    """Triton's backend for NVIDIA, up to PTX."""

    def __init__(self, target: GPUTarget) -> None:
        super().__init__(target)
        self.binary_ext = "ptx"

    def parse_options(self, opts: dict[str, Any]) -> Any:
        """Read a launch's options; the version of PTX is asked of no ``ptxas``."""
        return super().parse_options({"ptx_version": PTX_VERSION, **opts})

    def add_stages(self, stages: dict[str, Any], options: Any, language: Any) -> None:
        """Compile, but make no machine code."""
        super().add_stages(stages, options, language)
        del stages["cubin"]

    def hash(self) -> str:
        """Name it in the keys of Triton's cache."""
        return f"gaugeblock-ptx-{self.target.arch}-{PTX_VERSION}-undefined"


def _load(
    original: Callable[..., Any], semantic: Any, ptr: Any, mask: Any, other: Any, *rest: Any, **more: Any
) -> Any:
    """Load; what a mask keeps out without ``other=`` is undefined by Triton's words: let it be very large.

    Its sign alternates from element to element, so that neither a maximum nor a minimum hides it.
    """
    if mask is not None and other is None and ptr.type.scalar.is_ptr():
        element = ptr.type.scalar.element_ty
        bits = element.primitive_bitwidth
        if element.is_floating() and bits >= 16:
            large, small = (semantic.scalar_constant(value, element) for value in (math.inf, -math.inf))
        elif element.is_int() and bits >= 8:
            most = (1 << bits - 2) // 3  # 0b010101…
            least = 1 if element.is_int_unsigned() else ~most
            large, small = (semantic.scalar_constant(value, element) for value in (most, least))
        else:
            return original(semantic, ptr, mask, other, *rest, **more)
        address = semantic.cast(ptr, triton.language.int64)
        odd = semantic.and_(address, semantic.scalar_constant(bits // 8, triton.language.int64))
        apart = semantic.not_equal(odd, semantic.scalar_constant(0, triton.language.int64))
        other = semantic.where(apart, large, small)
    return original(semantic, ptr, mask, other, *rest, **more)


# Launching -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostArray:
    """A NumPy array, as Triton wants what it gets a pointer to."""

    array: np.ndarray[Any, Any]

    @property
    def dtype(self) -> str:
        """Its element type in Triton's words."""
        return str(self.array.dtype.name)

    def data_ptr(self) -> int:
        """Return the address of its first element."""
        address: int = self.array.__array_interface__["data"][0]
        return address


_LETTERS: Final = {
    "i1": "b", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u1": "B", "u8": "B", "u16": "H", "u32": "I",
    "u64": "Q", "fp16": "e", "bf16": "H", "fp32": "f", "f32": "f", "fp64": "d",
}  # fmt: skip


class Launcher:
    """What Triton calls to launch a kernel, made once for each compiled one."""

    def __init__(self, src: Any, metadata: Any) -> None:
        self.names = tuple(src.signature)
        self.types = tuple(src.signature.values())
        self.threads = 32 * metadata.num_warps
        self.shared = metadata.shared
        self.scratch = (
            getattr(metadata, "global_scratch_size", 0),
            getattr(metadata, "profile_scratch_size", 0),
        )

    def __call__(
        self,
        x: int,
        y: int,
        z: int,
        stream: int,
        function: simulator.Function,
        metadata: Any,
        launch_metadata: Any,
        enter: Callable[..., Any] | None,
        leave: Callable[..., Any] | None,
        *args: Any,
    ) -> None:
        """Launch."""
        if x * y * z <= 0:
            return
        given = [part for each in zip(self.names, self.types, args, strict=True) for part in _flat(*each)]
        letters = "".join("P" if type_.startswith("*") else _LETTERS[type_] for _, type_, _ in given)
        values = [_value(type_, value) for _, type_, value in given]
        lent = [found for name, type_, value in given for found in _memory(name, type_, value)]
        count = len(function.parameter_sizes) - len(given)
        scratch = [np.zeros(size * x * y * z, np.uint8) for size in self.scratch[:count]]
        lent += (_extent(memory, "Triton's scratch memory") for memory in scratch)
        values += (HostArray(memory).data_ptr() for memory in scratch)
        function.prepare(letters + "P" * len(scratch))
        if enter is not None:
            enter(launch_metadata)
        # The lanes of a reduction have sums that differ in the last bit, where fused steps made them, and all
        # store theirs to one place. Where there are fewer elements than lanes, several have the same one.
        # Neither is a fault of the kernel's author.
        with simulator.lending(lent), settings(other_bits="note", copies="note"):
            function.prepared_call((x, y, z), (self.threads, 1, 1), *values, shared_size=self.shared)
        if leave is not None:
            leave(launch_metadata)


def _flat(name: str, type_: Any, value: Any) -> list[tuple[str, str, Any]]:
    """Return the arguments of the compiled kernel that one of the Python function becomes."""
    if type_ == "constexpr":
        return []
    if isinstance(type_, tuple):
        parts = zip(type_, value, strict=True)
        return [each for number, part in enumerate(parts) for each in _flat(f"{name}[{number}]", *part)]
    if type_.startswith("tensordesc"):
        from triton.backends.driver import decompose_descriptor, expand_signature

        types = expand_signature([type_], None, "")
        return list(zip([name] * len(types), types, decompose_descriptor(value), strict=True))
    return [(name, type_, value)]


def _value(type_: str, value: Any) -> int | float:
    """Return an argument as a number to pack."""
    if type_.startswith("*"):
        if value is None:
            return 0
        return int(value.data_ptr() if hasattr(value, "data_ptr") else value)
    if type_ == "bf16":
        return int(np.array(value, bfloat16).view(np.uint16))
    return float(value) if "f" in type_ else int(value)


# Memory --------------------------------------------------------------------------------------------------


def _memory(name: str, type_: str, value: Any) -> Iterable[Range]:
    """Yield the host memory that an argument lets the kernel reach."""
    if not type_.startswith("*"):
        yield from _pointed(np.array([value])) if type_ in ("i64", "u64") else ()
        return
    if isinstance(value, TensorWrapper):  # what `triton.reinterpret` makes
        value = value.base
    if isinstance(value, HostArray):
        yield _extent(value.array, f"the memory of {name}")
    elif hasattr(value, "untyped_storage"):
        if value.device.type != "cpu":
            raise TypeError(
                f"{name} is a tensor on {value.device}: the simulated device uses those of the CPU"
            )
        yield _storage(value, f"the storage of {name}")
        if str(value.dtype) in ("torch.int64", "torch.uint64") and value.numel() <= MOST_POINTERS:
            yield from _pointed(value.detach().numpy())


def _extent(array: np.ndarray[Any, Any], label: str) -> Range:
    low, high = byte_bounds(array)
    return low, high - low, array.flags.writeable, f"{label}, {high - low} bytes"


def _storage(tensor: Any, label: str) -> Range:
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes(), True, f"{label}, {storage.nbytes()} bytes"


def _pointed(values: np.ndarray[Any, Any]) -> Iterable[Range]:
    """Yield the storages of tensors whose addresses are among these numbers."""
    torch: Any = sys.modules.get("torch")
    addresses = np.unique(values[values.astype(np.float64) > 2**32])
    if torch is None or not addresses.size:
        return
    for tensor in gc.get_objects():
        if issubclass(type(tensor), torch.Tensor) and tensor.device.type == "cpu":
            found = _storage(tensor, "a tensor whose address the kernel was given")
            if np.any((addresses >= found[0]) & (addresses < found[0] + found[1])):
                yield found


# The driver ----------------------------------------------------------------------------------------------


class Utils:
    """The functions of a driver that Triton calls through ``driver.utils``."""

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> tuple[Any, ...]:
        """Load PTX; return module, function, registers, spills and the largest number of threads."""
        module = simulator.module_from_buffer(binary)
        function = module.get_function(name)
        function.set_attribute(simulator.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
        return module, function, 32, 0, function.max_threads_per_block

    def unload_module(self, module: Any) -> None:
        """Let go of a module."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        """Return the properties that kernels choose their grids by."""
        attributes, names = simulator.Device(0).get_attributes(), simulator.device_attribute
        return {
            "max_shared_mem": attributes[names.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN],
            "max_num_regs": attributes[names.MAX_REGISTERS_PER_BLOCK],
            "multiprocessor_count": attributes[names.MULTIPROCESSOR_COUNT],
            "warpSize": attributes[names.WARP_SIZE],
            "sm_clock_rate": attributes[names.CLOCK_RATE],
            "mem_clock_rate": attributes[names.CLOCK_RATE],
            "mem_bus_width": 4096,
        }


class SimulatedDriver(DriverBase):  # type: ignore[misc]
    """Triton's driver of the simulated device."""

    def __init__(self) -> None:
        self.utils = Utils()
        self.launcher_cls = Launcher

    @classmethod
    def is_active(cls) -> bool:
        """Whether it can be used: always."""
        return True

    def get_current_target(self) -> GPUTarget:
        """Return what to compile for."""
        return GPUTarget("cuda", CAPABILITY, 32)

    def get_current_device(self) -> int:
        """Return the only device."""
        return 0

    def set_current_device(self, device: int) -> None:
        """Choose the only device."""

    def get_current_stream(self, device: int) -> int:
        """Return the only stream."""
        return 0

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        """Return what the device is able to."""
        return divmod(CAPABILITY, 10)

    def get_active_torch_device(self) -> Any:
        """Return where tensors lie."""
        import torch

        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        """Return what ``torch.cuda`` is to a GPU."""
        import torch

        return torch.cpu

    def map_python_to_cpp_type(self, ty: str) -> str:
        """Return the name of a type in C++."""
        from triton.backends.nvidia.driver import ty_to_cpp

        return str(ty_to_cpp(ty))

    def get_benchmarker(self) -> Callable[..., Any]:
        """Return what times a call."""
        return benchmark

    def get_empty_cache_for_benchmark(self) -> Any:
        """Return memory to clear between two timings: there is no cache."""
        import torch

        return torch.empty(1, dtype=torch.int)

    def clear_cache(self, cache: Any) -> None:
        """Clear it."""


# Tuning --------------------------------------------------------------------------------------------------

_tuning = "first"
_draws = random.Random(0)


def tune(how: str) -> None:
    """Choose the configuration of an autotuned kernel: the ``first`` that fits, or one of ``all``.

    With ``all`` each launch draws one, so that every configuration is held to every clause, and a call that
    is repeated meets another: where that changes the result, GEN-S5 is violated.
    """
    global _tuning
    if how not in ("first", "all"):
        raise ValueError(f"tuning is {how!r}, expected 'first' or 'all'")
    _tuning = how


def benchmark(
    fn: Callable[[], Any], *args: Any, quantiles: Sequence[float] | None = None, **kwargs: Any
) -> Any:
    """Run a call once and say that it took no time: times on the simulated device mean nothing."""
    fn()
    return 0.0 if quantiles is None else [0.0] * len(quantiles)


def _pruned(original: Callable[..., Any], tuner: Any, kwargs: dict[str, Any]) -> list[Any]:
    """Return one configuration instead of those to be timed."""
    configs = original(tuner, kwargs)
    if _tuning == "all":
        configs = _draws.sample(configs, len(configs))
    return [next((config for config in configs if _fits(tuner, config, kwargs)), configs[0])]


def _fits(tuner: Any, config: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a kernel compiles in a configuration, and its shared memory is there."""
    options = {**kwargs, **config.all_kwargs(), "warmup": True}
    if config.pre_hook is not None:
        config.pre_hook({**tuner.nargs, **options})
    try:
        kernel = tuner.fn.run(*tuner.nargs.values(), **options)
    except (OutOfResources, CompileTimeAssertionFailure):
        return False
    return bool(kernel.metadata.shared <= Utils().get_device_properties(0)["max_shared_mem"])


def _run_tuned(original: Callable[..., Any], tuner: Any, *args: Any, **kwargs: Any) -> Any:
    if _tuning == "all":
        tuner.cache.clear()
    return original(tuner, *args, **kwargs)


# Installing it -------------------------------------------------------------------------------------------


def _run_on_arrays(original: Callable[..., Any], kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """Launch with NumPy arrays among the arguments."""
    wrapped = {name: _wrapped(value) for name, value in kwargs.items()}
    try:
        return original(kernel, *map(_wrapped, args), **wrapped)
    except KeyError as error:
        types = {str(getattr(value, "dtype", "")).rpartition(".")[2] for value in (*args, *kwargs.values())}
        if error.args[0] in types:
            raise TypeError(f"Triton has no elements of type {error.args[0]}") from None
        raise
    except CompilationError as error:
        error.message = _in_one_line(error)
        raise


def _in_one_line(error: CompilationError) -> str:
    """Return what does not compile, with the line of its file, which Triton counts from the function's."""
    while isinstance(error.__cause__, CompilationError):
        error = error.__cause__
    place = ""
    for function in _triton_jit_function_registry.values():
        if function.src == error.src and hasattr(error.node, "lineno"):
            line = function.def_file_line_number + error.node.lineno - 1
            place = f"{os.path.basename(function.file_name)}:{line}: "
    return place + " ".join((error.error_message or "does not compile").split())


def _wrapped(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_wrapped, value))
    return HostArray(value) if isinstance(value, np.ndarray) else value


def _patch(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Put a function around a method."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(owner, name, method)


def install() -> None:
    """Make the simulated device Triton's in this process."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # Triton's default, without its warning
    backends["nvidia"] = Backend(PtxBackend, SimulatedDriver)
    triton_driver.set_active(SimulatedDriver())
    if importlib.util.find_spec("torch") is not None:
        from gaugeblock.conformance.doors import tensors

        tensors.pretend(divmod(CAPABILITY, 10), Utils().get_device_properties(0))
    triton.testing.do_bench = benchmark
    triton.testing.Mark.run = lambda self, *args, **kwargs: None
    _patch(JITFunction, "run", _run_on_arrays)
    _patch(Autotuner, "prune_configs", _pruned)
    _patch(Autotuner, "run", _run_tuned)
    _patch(TritonSemantic, "load", _load)
