"""Every door through the real PyCUDA, over a driver that notes what it is asked (``stub_cuda.py``)."""

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pycuda", reason="needs PyCUDA: tox -e pycuda-stub")
sys.path.insert(0, str(Path(__file__).parent))
import stub_cuda
from dispatches import Noting, arguments, launched, problems

from gaugeblock import gpu
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, device
from gaugeblock.gpu.runtime.memory import Pool
from gaugeblock.gpu.runtime.plan import Plan
from gaugeblock.spec.operations import OPERATIONS

Launches = list[tuple[Any, ...]]
NOTE = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint
)


class Stub:
    """The driver, and what it has noted: name, grid, block, stream, thread and arguments of launches."""

    def __init__(self, folder: Path) -> None:
        # What asks for libcuda.so.1 from now on, PyCUDA too, is given the one that is there.
        self.library = ctypes.CDLL(str(stub_cuda.build(folder)), ctypes.RTLD_GLOBAL)
        self.launches: Launches = []
        self._note = NOTE(self._launched)
        ctypes.c_void_p.in_dll(self.library, "stub_launched").value = ctypes.cast(
            self._note, ctypes.c_void_p
        ).value

    def _launched(self, name: bytes, sizes: Any, stream: int | None, packed: int, size: int) -> None:
        grid, block = tuple(sizes[:3]), tuple(sizes[3:6])
        here = threading.get_ident()
        self.launches.append(
            (name.decode(), grid, block, sizes[6], stream or 0, here, ctypes.string_at(packed, size))
        )

    def count(self, name: str) -> int:
        """Return how often memory was allocated, or somebody waited for the device."""
        return ctypes.c_ulonglong.in_dll(self.library, f"stub_{name}").value


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    assert os.environ["GAUGEBLOCK_DEVICE"] == "cuda"
    found = Stub(tmp_path_factory.mktemp("stub"))
    assert device().versions["pycuda"]
    assert (device().name, device().simulated) == ("Stub", False)
    return found


CALLS = [(name, dtype) for name, operation in OPERATIONS.items() for dtype in operation.dtypes]


@pytest.mark.parametrize(("name", "dtype"), CALLS, ids=[" ".join(call) for call in CALLS])
def test_what_a_door_launches_arrives(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, name: str, dtype: str
) -> None:
    # That the sizes of arguments are those of the cubin's parameters is checked when a kernel is prepared.
    noting = Noting()
    monkeypatch.setattr(device(), "memory", noting.memory)
    calls = (problem for problem in problems(name, every=1) if problem.dtype == dtype)
    for problem in islice(calls, 1):
        given = arguments(problem, 1 << 44)
        want = [
            (key[1], grid, block, shared, 0, threading.get_ident(), packed)
            for key, _, grid, block, packed, shared in launched(noting, name, given)
        ]
        assert want
        for _ in range(3):  # the third time as it is known
            stub.launches.clear()
            noting.restart()
            getattr(gpu, name)(**given)
            assert stub.launches == want


def test_a_call_that_is_known_neither_allocates_nor_waits(stub: Stub) -> None:
    image, filters, step = (2, 4, 8, 8), (4, 4, 3, 3), (3, 32, 8)

    def array(*shape: int) -> DeviceArray:
        return DeviceArray(shape, np.float32)

    x, y, dw, pooled = array(*image), array(*image), array(*filters), array(2, 4, 4, 4)
    state, weights, steps = array(32, 8), array(4, 8, 8), array(2, *step)
    of_unit = (array(*step), state, state, weights, weights, array(4, 8))

    def calls() -> None:
        gpu.max_pool_backward(pooled, x, kernel=2, out=y)
        gpu.conv_backward_weight(y, x, kernel_shape=filters, padding=1, out=dw)
        gpu.lstm_unit(*of_unit, out=steps)
        gpu.relu(x)  # a new result

    for _ in range(3):
        calls()
    before = stub.count("allocated"), stub.count("synchronized"), stub.count("launches")
    for _ in range(5):
        calls()
    assert (stub.count("allocated"), stub.count("synchronized")) == before[:2]
    assert stub.count("launches") > before[2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_pycuda_go_in_and_come_out(stub: Stub, dtype: str) -> None:
    from pycuda.gpuarray import GPUArray

    x, out = (GPUArray((6, 8), DTYPES[dtype]) for _ in range(2))
    for _ in range(3):
        stub.launches.clear()
        assert gpu.relu(x, out=out) is out
        result = gpu.relu(x)
        assert type(result) is GPUArray
        first, second = (struct.unpack_from("3Q", launch[-1]) for launch in stub.launches)
        assert first == (int(x.gpudata), int(x.gpudata), int(out.gpudata))
        assert second[::2] == (int(x.gpudata), int(result.gpudata))
        assert (result.shape, result.dtype) == (x.shape, x.dtype)


def test_a_strided_array_of_pycuda_is_used_where_it_lies(stub: Stub) -> None:
    from pycuda.gpuarray import GPUArray

    x = GPUArray((8, 6), np.float32)
    same = DeviceArray((6, 8), np.float32, (4, 24), int(x.gpudata))
    for _ in range(3):
        stub.launches.clear()
        out = DeviceArray((6, 8), np.float32)
        gpu.softmax(x.T, out=out)
        gpu.softmax(same, out=out)
        assert stub.launches[0] == stub.launches[1]


def test_every_thread_launches_in_the_context(stub: Stub) -> None:
    x, out = DeviceArray((64,), np.float32), DeviceArray((64,), np.float32)
    host = np.zeros(64, np.float32)
    failures = list[BaseException]()

    def work() -> None:
        try:
            for _ in range(4):
                gpu.relu(x, out=out)  # the driver refuses a launch without a context
                gpu.relu(host)
        except BaseException as error:
            failures.append(error)

    stub.launches.clear()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(stub.launches) == 3 * 8
    assert len({launch[5] for launch in stub.launches}) == 3


def test_a_stream_of_pycuda_that_an_array_names_is_launched_on(stub: Stub) -> None:
    import pycuda.driver

    stream = pycuda.driver.Stream()
    x = DeviceArray((64,), np.float32)

    class Foreign:
        __cuda_array_interface__ = x.__cuda_array_interface__ | {"stream": stream.handle}

    for _ in range(3):
        stub.launches.clear()
        gpu.relu(Foreign(), out=Foreign())
        assert [launch[4] for launch in stub.launches] == [stream.handle]


def test_plans_are_made(stub: Stub) -> None:
    assert any(isinstance(plan, Plan) for plan in device().plans.known.values())
    assert isinstance(device().memory, Pool)
