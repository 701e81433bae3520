"""Which device answers and why, and the arrays that lie on it."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.gpu.runtime import cuda_driver
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, as_device_array, to_device
from gaugeblock.gpu.simulator import driver as simulator
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
from fake_cuda import FakeCuda, choose, install


class FakeGpu(FakeCuda):
    """A GPU with PyCUDA beside it, whose own functions are those of the simulated device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] = (8, 0)) -> None:
        super().__init__(capability)
        install(monkeypatch, self)
        names = ("mem_alloc", "memcpy_dtoh", "memcpy_htod")
        self.driver = SimpleNamespace(**{name: getattr(simulator, name) for name in names})
        package = ModuleType("pycuda")
        package.VERSION_TEXT = "2026.1"  # type: ignore[attr-defined]
        context = ModuleType("pycuda.autoprimaryctx")
        for name, module in (
            ("pycuda", package),
            ("pycuda.driver", self.driver),
            ("pycuda.autoprimaryctx", context),
        ):
            monkeypatch.setitem(sys.modules, name, module)


def test_importing_the_package_creates_no_context_and_chooses_nothing() -> None:
    program = """
import sys
from gaugeblock import gpu
from gaugeblock.gpu.runtime import device
assert device.device.cache_info().currsize == 0
assert not any("pycuda" in name or "simulator" in name for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ)


def hide_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def library() -> None:
        raise cuda_driver.NoDriver("there is no CUDA driver (libcuda.so.1)")

    monkeypatch.setattr(cuda_driver, "library", library)


def test_without_a_driver_the_simulated_device_answers_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUGEBLOCK_DEVICE", raising=False)
    hide_driver(monkeypatch)
    chosen = choose()
    assert chosen.simulated
    assert chosen.reason == "there is no CUDA driver (libcuda.so.1)"


def test_a_driver_without_pycuda_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda((8, 0))
    install(monkeypatch, fake)
    chosen = choose()
    assert (chosen.name, chosen.simulated, chosen.driver) == ("Fake GPU", False, cuda_driver)
    assert "pycuda" not in chosen.versions


def test_a_pycuda_that_lacks_a_part_of_itself_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeCuda())
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    assert choose().reason.startswith("the GPU is not usable: ModuleNotFoundError")


def test_another_thread_is_given_pycudas_context_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, calls = FakeGpu(monkeypatch), []
    chosen = choose()
    context = SimpleNamespace(push=lambda: calls.append("push"), pop=lambda: calls.append("pop"))
    fake.driver.Device = lambda number: SimpleNamespace(retain_primary_context=lambda: context)

    def work() -> None:
        chosen.driver.mem_alloc(4)
        chosen.driver.mem_alloc(4)
        calls.append("work")

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    chosen.driver.mem_alloc(4)
    assert calls == ["push", "work", "pop"] * 2


def test_an_array_on_another_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGpu(monkeypatch)
    chosen = choose()
    monkeypatch.setattr(devices, "device", lambda: chosen)
    interface = {"shape": (4,), "typestr": "<f4", "data": (4096, False), "version": 3}
    assert as_device_array(SimpleNamespace(__cuda_array_interface__=interface)).pointer == 4096
    fake.ordinal_of_memory, fake.count = 1, 2
    with pytest.raises(TypeError, match="lies on GPU 1, the kernels run on GPU 0"):
        as_device_array(SimpleNamespace(__cuda_array_interface__=interface))


def test_a_usable_gpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGpu(monkeypatch)
    chosen = choose()
    assert (chosen.name, chosen.simulated, chosen.multiprocessors) == ("Fake GPU", False, 132)
    assert chosen.versions["pycuda"] == "2026.1"
    assert fake.loaded[0].startswith(b"\x7fELF")


def test_a_gpu_newer_than_the_compiler_is_given_ptx(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGpu(monkeypatch, capability=(99, 0))
    assert choose().compute_capability == (99, 0)
    assert b".entry probe" in fake.loaded[0]


def test_a_gpu_older_than_the_compiler_is_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(monkeypatch, capability=(3, 5))
    chosen = choose()
    assert chosen.simulated
    assert "knows no GPU as old as 3.5" in chosen.reason


def test_a_gpu_that_fails_is_passed_over_with_the_reason_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGpu(monkeypatch)

    fake.cuModuleLoadData = lambda handle, binary: 209  # type: ignore[method-assign]
    chosen = choose()
    assert chosen.simulated
    assert chosen.reason == "the GPU is not usable: LogicError: cuModuleLoadData failed: some error"


def test_a_gpu_that_computes_wrongly_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGpu(monkeypatch)
    fake.driver.memcpy_dtoh = lambda host, memory: host.fill(7)
    assert "computed a wrong result" in choose().reason


def test_the_simulator_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGpu(monkeypatch)
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    assert choose().simulated
    assert choose().reason == "GAUGEBLOCK_DEVICE=simulator"


def test_a_gpu_that_is_asked_for_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "cuda")
    hide_driver(monkeypatch)
    with pytest.raises(
        devices.DeviceUnavailable, match="GAUGEBLOCK_DEVICE=cuda, but there is no CUDA driver"
    ):
        choose()


def test_an_unknown_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "tpu")
    with pytest.raises(
        devices.DeviceUnavailable, match="GAUGEBLOCK_DEVICE is 'tpu', expected 'cuda' or 'simulator'"
    ):
        choose()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_comes_back_from_the_device_as_it_went(dtype: str) -> None:
    x = np.arange(24).reshape(2, 3, 4).astype(DTYPES[dtype])
    assert np.array_equal(to_device(x).get(), x)
    assert to_device(x).dtype == x.dtype


@pytest.mark.parametrize(
    "index", [0, -1, (0, 1), (..., 2), (slice(None), slice(None, None, -2)), (None, 1), (1, 2, 3), ...]
)
def test_a_view_on_the_device_is_numpys_view(index: Any) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    view = to_device(x)[index]
    assert np.array_equal(view.get(), x[index])
    assert view.shape == x[index].shape


@pytest.mark.parametrize("index", [[0, 1], np.array([0]), True, 1.5])
def test_an_index_that_would_copy_is_refused(index: Any) -> None:
    with pytest.raises(TypeError, match="takes integers, slices"):
        to_device(np.zeros((2, 3), np.float32))[index]


def test_a_transposed_array_shares_the_memory() -> None:
    x = to_device(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert np.array_equal(x.T.get(), x.get().T)
    assert x.T.pointer == x.pointer


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_interface_describes_an_array_so_that_another_can_share_it(dtype: str) -> None:
    x = to_device(np.arange(12).reshape(3, 4).astype(DTYPES[dtype]))[:, ::-2]
    twin = as_device_array(SimpleNamespace(__cuda_array_interface__=x.__cuda_array_interface__))
    assert np.array_equal(twin.get(), x.get())
    assert twin.dtype == DTYPES[dtype]


def test_an_interface_without_strides_is_in_c_order() -> None:
    x = to_device(np.arange(6, dtype=np.float32).reshape(2, 3))
    interface = {**x.__cuda_array_interface__, "strides": None}
    assert as_device_array(SimpleNamespace(__cuda_array_interface__=interface)).strides == (12, 4)


def test_a_read_only_interface_is_not_writable() -> None:
    x = to_device(np.zeros(3, np.float32))
    interface = {**x.__cuda_array_interface__, "data": (x.pointer, True)}
    assert not as_device_array(SimpleNamespace(__cuda_array_interface__=interface)).writable


def test_what_is_no_array_on_the_device_is_refused() -> None:
    with pytest.raises(TypeError, match="a list is no array on the device"):
        as_device_array([1.0])


def test_an_array_shows_what_it_is() -> None:
    expected = "DeviceArray(shape=(2, 3), dtype=float32, strides=(12, 4))"
    assert repr(DeviceArray((2, 3), np.float32)) == expected


def test_the_public_names_are_the_operations_and_what_they_need() -> None:
    from gaugeblock import reference

    operations = {name for name in gpu.__all__ if name in reference.__all__}
    others = {"CompileError", "CompilerUnavailable", "DeviceArray", "DeviceUnavailable", "to_device"}
    others |= {"Kernel", "LaunchError", "Struct"}
    assert set(gpu.__all__) == operations | others
    assert operations == set(OPERATIONS)
