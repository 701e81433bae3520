"""Any kernel can be launched with typed arguments; what does not fit is refused in one line."""

import ctypes
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu, reference
from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.backend import loading
from gaugeblock.gpu import Kernel, LaunchError, Struct, to_device
from gaugeblock.gpu.runtime import compiler, cuda_driver, launcher
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.gpu.runtime.compiler import compile_source

sys.path.insert(0, str(Path(__file__).parent))
import stub_cuda
from fake_cuda import choose, install, through_driver

SOURCE = """
struct __align__(64) Map { float scale[16]; };
struct Pair { short first; int second; };
extern "C" __global__ void mixed(char flag, Map map, double* out, short s, Pair pair, float f) {
    extern __shared__ float shared[];
    shared[threadIdx.x] = f;
    __syncthreads();
    out[threadIdx.x] = flag + map.scale[threadIdx.x] + s + pair.first + pair.second + shared[threadIdx.x];
}
"""
PTX = compile_source(SOURCE, "mixed.cu")
MAP = Struct(np.arange(16, dtype=np.float32).tobytes(), 64)
PAIR = np.array((3, 100000), np.dtype([("first", "i2"), ("second", "i4")], align=True))[()]


class Pair(ctypes.Structure):
    """The struct of the source."""

    _fields_ = (("first", ctypes.c_int16), ("second", ctypes.c_int32))


@pytest.fixture(params=["simulated", "driver"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The simulated device, and one that is reached as a GPU is."""
    if request.param == "simulated":
        return devices.device()
    return through_driver(monkeypatch)[0]


@pytest.mark.parametrize(
    "pair", [PAIR, Pair(3, 100000), Struct(PAIR.tobytes(), 4)], ids=["NumPy", "ctypes", "bytes"]
)
def test_arguments_of_any_type_and_alignment_arrive(device: Any, pair: Any) -> None:
    out = to_device(np.zeros(16))
    arguments = (ctypes.c_char(7), MAP, out, np.int16(-2), pair, np.float32(0.5))
    Kernel(PTX, "mixed").launch((1,), (16,), *arguments, shared=64)
    assert out.get().tolist() == [7 + n - 2 + 3 + 100000 + 0.5 for n in range(16)]


def test_dynamic_shared_memory_may_pass_48_kibibytes(device: Any) -> None:
    out = to_device(np.zeros(16))
    arguments = (ctypes.c_char(7), MAP, out, np.int16(-2), PAIR, np.float32(0.5))
    Kernel(PTX, "mixed").launch((1,), (16,), *arguments, shared=100_000)
    assert out.get()[0] == 100008.5


ARGUMENTS = (ctypes.c_char(7), MAP, ctypes.c_uint64(0), np.int16(0), PAIR, np.float32(0))


@pytest.mark.parametrize(
    ("grid", "block", "arguments", "shared", "words"),
    [
        (
            (1,),
            (16,),
            ARGUMENTS[:5],
            64,
            r"mixed takes 6 arguments \(u8, b8\[64\], u64, u16, b8\[8\], f32\), got 5",
        ),
        ((1,), (16,), (*ARGUMENTS, np.int32(1)), 64, "mixed takes 6 arguments .* got 7"),
        (
            (1,),
            (16,),
            (*ARGUMENTS[:5], np.float64(0)),
            64,
            "argument 6 has 8 bytes, the kernel's is f32 of 4",
        ),
        ((1,), (16,), (*ARGUMENTS[:5], 0.5), 64, "argument 6 is 0.5, expected a NumPy scalar"),
        ((1,), (32, 64), ARGUMENTS, 64, "2048 threads per block, allowed are 1024"),
        ((1,), (1, 1, 65), ARGUMENTS, 64, "block.z is 65, allowed are 1 to 64"),
        ((0,), (16,), ARGUMENTS, 64, "grid.x is 0, allowed are 1 to 2147483647"),
        ((1, 65536), (16,), ARGUMENTS, 64, "grid.y is 65536, allowed are 1 to 65535"),
        ((1, 1, 1, 1), (16,), ARGUMENTS, 64, "grid has 4 sizes, expected 1 to 3"),
        ((1,), (16,), ARGUMENTS, 300_000, "300000 bytes of dynamic shared memory, allowed are 0 to 232448"),
    ],
)
def test_a_launch_that_cannot_be_is_refused_with_what_was_expected(
    device: Any, grid: Any, block: Any, arguments: Any, shared: int, words: str
) -> None:
    with pytest.raises(LaunchError, match=words):
        Kernel(PTX, "mixed").launch(grid, block, *arguments, shared=shared)


def test_a_kernel_that_is_not_found_is_named_beside_the_one_that_is_close(device: Any) -> None:
    with pytest.raises(LaunchError, match="no kernel 'mixd': did you mean mixed"):
        Kernel(PTX, "mixd")
    with pytest.raises(LaunchError, match="no kernel 'relu': there are mixed"):
        Kernel(PTX, "relu")


def test_a_cubin_on_the_simulated_device_is_refused() -> None:
    with pytest.raises(LaunchError, match="a cubin is machine code of a GPU"):
        Kernel(b"\x7fELF...", "mixed")


def test_what_a_pointer_leads_to_is_not_taken_for_the_parameter() -> None:
    text = """.entry k(
        .param .u32 k_0, .param .u64 .ptr .global .align 1 k_1,
        .param .align 8 .b8 k_2[24], .param .f32 k_3)"""
    found = [(each.type, each.size, each.alignment) for each in launcher.parameters(text, "k")]
    assert found == [("u32", 4, 4), ("u64", 8, 8), ("b8[24]", 24, 8), ("f32", 4, 4)]


# Through the driver


def test_our_kernels_run_through_the_driver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, fake = through_driver(monkeypatch)
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(gpu.gemm(a, a.T), reference.gemm(a, a.T))
    assert np.array_equal(gpu.relu(a - 5), np.maximum(a - 5, 0))
    assert chosen.driver is cuda_driver
    assert len(fake.launches) == 3  # the probe, and these


def test_a_cu_file_runs_through_the_driver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[1] / "suite" / "kernels" / "doors.cu"
    a = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    through_driver(monkeypatch)
    backend = loading.load(str(path))
    assert (backend.device, backend.declared.simulated) == ("Fake GPU", False)
    assert np.array_equal(backend.functions["gemm"](to_device(a), to_device(a).T).get(), a @ a.T)
    assert np.allclose(backend.functions["softmax"](to_device(a)).get(), reference.softmax(a.astype(float)))


def test_conform_gpu_needs_no_more_than_a_driver(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(f"""
import sys
import pytest
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fake_cuda import FakeCuda, install
install(pytest.MonkeyPatch(), FakeCuda())
from gaugeblock.conformance.adapters.gpu import *
assert device == "Fake GPU"
""")
    effort = Effort("quick", 1, shrink=False)
    report = judge(str(tmp_path / "driver.py"), operations=("relu",), dtypes=("float16",), effort=effort)
    levels = report.as_data()["operations"]["relu"]["float16"]["levels"]
    assert set(levels.values()) == {"conforming"}


def test_any_thread_and_any_stream_can_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fake = through_driver(monkeypatch)
    out, errors = to_device(np.zeros(16)), list[Exception]()

    class Stream:
        cuda_stream = 4321

    def work() -> None:
        try:
            Kernel(PTX, "mixed").launch(
                (1,), (16,), *ARGUMENTS[:2], out, *ARGUMENTS[3:], shared=64, stream=Stream()
            )
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
    assert fake.launches[-1] == ("mixed", (1, 1, 1, 16, 1, 1, 64), 4321)


def test_a_signature_that_does_not_fit_the_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    through_driver(monkeypatch)
    function = cuda_driver.module_from_buffer(PTX).get_function("mixed")
    with pytest.raises(
        cuda_driver.LogicError, match=r"has sizes \[8, 4\], the kernel's \[1, 64, 8, 2, 8, 4\]"
    ):
        function.prepare("Pi")


def test_prepared_calls_take_numbers_of_numpy_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    through_driver(monkeypatch)
    source = 'extern "C" __global__ void fill(float* x, float a, short n) { x[threadIdx.x] = a + n; }'
    fill = cuda_driver.module_from_buffer(compile_source(source, "fill.cu")).get_function("fill")
    memory, host = cuda_driver.mem_alloc(16), np.zeros(4, np.float32)
    fill.prepare("Pfh").prepared_call((1,), (4,), memory, np.float32(0.5), np.int16(2))
    cuda_driver.memcpy_dtoh(host, memory)
    assert host.tolist() == [2.5] * 4


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_a_driver_in_c_is_called_with_what_it_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"libcuda.so.1": str(stub_cuda.build(tmp_path))}
    real = ctypes.CDLL
    monkeypatch.setattr(
        ctypes, "CDLL", lambda name, *rest, **more: real(names.get(name, name), *rest, **more)
    )
    install(monkeypatch, cuda_driver.library.__wrapped__())
    chosen = choose()
    assert (chosen.name, chosen.reason) == ("Stub", "there is a usable GPU")


def test_the_drivers_functions_and_numbers_are_those_of_its_header() -> None:
    folder = compiler._nvrtc()._include
    header = Path() if folder is None else folder / "cuda.h"
    if not header.is_file():
        pytest.skip("cuda.h is not installed")
    declared, source = header.read_text(), Path(cuda_driver.__file__).read_text()
    called = set(re.findall(r"\"(cu[A-Z]\w+)\"|\.(cu[A-Z]\w+)\b", source))
    for name in (one or other for one, other in called):
        assert re.search(rf"CUDAAPI {name.removesuffix('_v2')}(_v2)?\(", declared), name
        assert not name.endswith("_v2") or re.search(rf"#define {name[:-3]} +(\w+\()?{name}\b", declared), (
            name
        )
    numbers = {"DEVICE": cuda_driver.device_attribute, "FUNC": cuda_driver.function_attribute}
    for prefix, known in numbers.items():
        for each in known:
            assert re.search(rf"CU_{prefix}_ATTRIBUTE_{each.name} = {each.value},", declared), each
