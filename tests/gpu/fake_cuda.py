"""A CUDA driver that runs what it is given on the simulated device: ``libcuda`` as :mod:`ctypes` calls it.

Arguments are read as the driver reads them, from addresses and by the sizes of the kernel's parameters.
"""
# ruff: noqa: D102 the methods are documented in cuda.h

import ctypes
import sys
import threading
from typing import Any

import numpy as np
import pytest

# What has the function by name is imported before it is replaced, else it would keep the replacement.
import gaugeblock.conformance.doors.cuda_source  # noqa: F401
from gaugeblock.gpu.runtime import compiler, cuda_driver, launcher
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.gpu.simulator import driver as simulator

NOT_FOUND = 500


def put(reference: Any, value: int | None) -> int:
    """Store what a function returns through a pointer, and return its status."""
    reference._obj.value = value
    return 0


def bytes_at(address: Any, size: int, write: bool = False) -> Any:
    """Return host memory as an array."""
    return np.frombuffer((ctypes.c_char * size).from_address(address.value), np.uint8)


class FakeCuda:
    """The functions of ``libcuda`` that the façade calls.

    Parameters
    ----------
    capability : tuple of int
        One that no compiler knows is given PTX, which the simulated device runs; instead of any cubin it
        runs the PTX of the probe.
    """

    def __init__(self, capability: tuple[int, int] = (99, 0)) -> None:
        self.attributes = {75: capability[0], 76: capability[1], 16: 132}
        self.contexts = threading.local()
        self.memory: dict[int, Any] = {}
        self.modules: list[tuple[Any, str]] = []
        self.kernels: list[tuple[Any, str, str]] = []
        self.launches: list[tuple[str, tuple[int, ...], int]] = []
        self.loaded: list[bytes] = []
        self.events: list[int] = []  # the streams that they were recorded on
        self.waits: list[tuple[int, int]] = []  # a stream, and whom it waits for
        self.failure = 0  # of the kernel that was launched last
        self.ordinal_of_memory, self.count = 0, 1

    def cuGetErrorString(self, status: int, text: Any) -> int:
        words = {NOT_FOUND: b"named symbol not found", 700: b"an illegal memory access was encountered"}
        text._obj.value = words.get(status, b"some error")
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        return put(version, 13000)

    def cuDeviceGet(self, handle: Any, number: Any) -> int:
        return put(handle, number.value) if number.value == 0 else 101

    def cuDeviceGetCount(self, count: Any) -> int:
        return put(count, self.count)

    def cuDeviceGetName(self, text: Any, size: int, handle: Any) -> int:
        text.value = b"Fake GPU"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: Any, handle: Any) -> int:
        name = cuda_driver.device_attribute(attribute.value).name
        if attribute.value in self.attributes:
            return put(value, self.attributes[attribute.value])
        return put(value, simulator.Device(0).get_attribute(simulator.device_attribute[name]))

    def cuDevicePrimaryCtxRetain(self, context: Any, handle: Any) -> int:
        return put(context, 77)

    def cuCtxGetDevice(self, handle: Any) -> int:
        return 201

    def cuCtxGetCurrent(self, context: Any) -> int:
        return put(context, getattr(self.contexts, "current", None))

    def cuCtxSetCurrent(self, context: Any) -> int:
        self.contexts.current = context.value
        return 0

    def cuEventCreate(self, event: Any, flags: Any) -> int:
        self.events.append(0)
        return put(event, len(self.events))

    def cuEventRecord(self, event: Any, stream: Any) -> int:
        self.events[event.value - 1] = stream.value or 0
        return 0

    def cuStreamWaitEvent(self, stream: Any, event: Any, flags: Any) -> int:
        self.waits.append((stream.value or 0, self.events[event.value - 1]))
        return 0

    def cuEventDestroy_v2(self, event: Any) -> int:
        return 0

    def cuCtxSynchronize(self) -> int:
        if self.failure:
            return self.failure
        return 0 if getattr(self.contexts, "current", None) else 201

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:
        assert getattr(self.contexts, "current", None) == 77
        memory = simulator.mem_alloc(size.value)
        self.memory[int(memory)] = memory
        return put(address, int(memory))

    def cuMemFree_v2(self, address: Any) -> int:
        self.memory.pop(address.value).free()
        return 0

    def cuMemcpyHtoD_v2(self, target: Any, source: Any, size: Any) -> int:
        simulator.memcpy_htod(target.value, bytes_at(source, size.value))
        return 0

    def cuMemcpyDtoH_v2(self, target: Any, source: Any, size: Any) -> int:
        simulator.memcpy_dtoh(bytes_at(target, size.value), source.value)
        return 0

    def cuPointerGetAttribute(self, number: Any, attribute: Any, pointer: Any) -> int:
        return put(number, self.ordinal_of_memory)

    def cuModuleLoadData(self, handle: Any, binary: Any) -> int:
        self.loaded.append(binary.value)
        is_cubin = binary.value.startswith(b"\x7fELF")
        text = (compiler.compile("shared/probe.cu") if is_cubin else binary.value).decode()
        self.modules.append((simulator.module_from_buffer(text), text))
        return put(handle, len(self.modules))

    def cuModuleGetFunction(self, handle: Any, module: Any, name: Any) -> int:
        loaded, text = self.modules[module.value - 1]
        entry = name.value.decode()
        if entry not in launcher.entries(text):
            return NOT_FOUND
        self.kernels.append((loaded.get_function(entry), text, entry))
        return put(handle, len(self.kernels))

    def cuFuncGetAttribute(self, value: Any, attribute: Any, kernel: Any) -> int:
        name = simulator.function_attribute(attribute.value)
        return put(value, self.kernels[kernel.value - 1][0].get_attribute(name))

    def cuFuncSetAttribute(self, kernel: Any, attribute: Any, value: Any) -> int:
        name = simulator.function_attribute(attribute.value)
        self.kernels[kernel.value - 1][0].set_attribute(name, value.value)
        return 0

    def cuFuncGetParamInfo(self, kernel: Any, number: Any, offset: Any, size: Any) -> int:
        _, text, entry = self.kernels[kernel.value - 1]
        known = launcher.parameters(text, entry)
        return put(size, known[number.value].size) if number.value < len(known) else 1

    def cuLaunchKernelEx(self, reference: Any, kernel: Any, addresses: Any, extra: Any) -> int:
        config = reference._obj
        gx, gy, gz, bx, by, bz, shared = (getattr(config, name) for name, _ in config._fields_[:7])
        assert extra is None
        assert config.count == 0
        if not getattr(self.contexts, "current", None):
            return 201
        function, text, entry = self.kernels[kernel.value - 1]
        packed = b""
        for address, parameter in zip(addresses, launcher.parameters(text, entry), strict=False):
            packed += bytes(-len(packed) % parameter.alignment) + ctypes.string_at(address, parameter.size)
        self.launches.append((entry, (gx, gy, gz, bx, by, bz, shared), config.stream or 0))
        function.prepare(f"{len(packed)}s").prepared_call(
            (gx, gy, gz), (bx, by, bz), packed, shared_size=shared
        )
        return 0


class Hiding:
    """A finder that knows of one package that it is not there."""

    def find_spec(self, name: str, *_: object) -> None:
        """Say so."""
        if name.partition(".")[0] == "pycuda":
            raise ModuleNotFoundError("No module named 'pycuda'", name="pycuda")


def hide_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pycuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hiding(), *sys.meta_path])


def install(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    """Put a driver in the place of the machine's own, without PyCUDA."""
    hide_pycuda(monkeypatch)
    monkeypatch.setattr(cuda_driver, "library", lambda: fake)
    monkeypatch.delenv("GAUGEBLOCK_DEVICE", raising=False)
    for cached in (cuda_driver._primary, cuda_driver.ordinal, cuda_driver.alone):
        monkeypatch.setattr(cuda_driver, cached.__name__, cached.__wrapped__)


def choose() -> devices.Device:
    """Choose as the first call of a process does."""
    return devices.device.__wrapped__()


def through_driver(monkeypatch: pytest.MonkeyPatch) -> tuple[devices.Device, FakeCuda]:
    """Let this process reach its device as it reaches a GPU without PyCUDA."""
    fake = FakeCuda()
    install(monkeypatch, fake)
    chosen = choose()
    assert not chosen.simulated, chosen.reason
    for name, module in list(sys.modules.items()):
        if name.startswith("gaugeblock.") and callable(getattr(module, "device", None)):
            monkeypatch.setattr(module, "device", lambda: chosen)
    return chosen, fake
