"""Launches go to the stream of their arrays, and streams wait for each other. What a failed kernel says."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.gpu.runtime import cuda_driver
from gaugeblock.gpu.runtime.device import DeviceArray, as_device_array, to_device

sys.path.insert(0, str(Path(__file__).parent))
from fake_cuda import FakeCuda, through_driver

X = np.arange(-4, 4, dtype=np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return through_driver(monkeypatch)[1]


class Foreign:
    """An array of another library, whose work is queued on a stream."""

    def __init__(self, stream: int | None) -> None:
        self.memory = to_device(X)
        self.__cuda_array_interface__ = {**self.memory.__cuda_array_interface__, "stream": stream}


def streams(fake: FakeCuda, **arrays: Any) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """Return the streams of the launches, and who waits for whom, of three calls with the same arrays."""
    found = []
    for _ in range(3):
        fake.launches.clear()
        fake.waits.clear()
        assert gpu.relu(**arrays) is arrays.get("out") or "out" not in arrays
        found.append(([stream for *_, stream in fake.launches], list(fake.waits)))
    return found


@pytest.mark.parametrize(
    ("first", "second", "on", "warm"),
    [
        (None, None, 0, []),
        (1, 1, 0, []),
        (7, 7, 7, []),
        (7, 1, 7, [(7, 0), (0, 7)]),
        (1, 7, 7, [(7, 0), (0, 7)]),
        (7, 8, 8, [(8, 7), (7, 8)]),
    ],
)
def test_a_call_is_launched_where_its_arrays_are_written(
    fake: FakeCuda, first: Any, second: Any, on: int, warm: list[Any]
) -> None:
    *careful, last = streams(fake, x=Foreign(first), out=Foreign(second))
    assert last == ([on], warm)
    for launches, waits in careful:
        assert launches == [on]
        assert set(warm) <= set(waits)


@pytest.mark.parametrize("ours", ["x", "out", "a new result"])
def test_memory_of_ours_is_that_of_the_default_stream(fake: FakeCuda, ours: str) -> None:
    arrays: dict[str, Any] = {"x": Foreign(7), "out": Foreign(7)}
    if ours == "a new result":
        del arrays["out"]
    else:
        arrays[ours] = to_device(X)
    assert streams(fake, **arrays) == [([7], [(7, 0), (0, 7)])] * 3


def test_a_tensor_of_pytorch_is_of_its_current_stream(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tensor:
        def __init__(self) -> None:
            self.memory, self.device = to_device(X), "cuda:0"
            interface = self.memory.__cuda_array_interface__
            del interface["stream"]
            self.__cuda_array_interface__ = interface | {"version": 2}

    torch, current = ModuleType("torch"), SimpleNamespace(cuda_stream=11)
    torch.Tensor = Tensor  # type: ignore[attr-defined]
    torch.cuda = SimpleNamespace(current_stream=lambda device: current)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert streams(fake, x=Tensor(), out=Tensor())[-1] == ([11], [])
    current.cuda_stream = 0
    assert streams(fake, x=Tensor(), out=Tensor())[-1] == ([0], [])


def test_a_call_on_a_stream_computes_what_it_should(fake: FakeCuda) -> None:
    for stream in (7, 0, 8):
        out = Foreign(stream)
        for _ in range(2):
            gpu.relu(Foreign(stream), out=out)
        assert out.memory.get().tolist() == np.maximum(X, 0).tolist()


# What is wrong ---------------------------------------------------------------------------------------------


def test_an_element_between_addresses_is_refused() -> None:
    x = to_device(X)
    interface = {**x.__cuda_array_interface__, "data": (x.pointer + 2, False)}
    with pytest.raises(TypeError, match=r"first element lies at 0x[0-9a-f]+, expected a multiple of 4"):
        as_device_array(SimpleNamespace(__cuda_array_interface__=interface))


@pytest.mark.parametrize("calls", [1, 3])
def test_with_the_switch_a_failing_kernel_is_named(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    x = to_device(X)
    monkeypatch.setenv(cuda_driver.BLOCKING, "1")
    for _ in range(calls):
        gpu.relu(x)
    fake.failure = 700
    words = r"activation_vectors, launched with grid \(1, 1, 1\) and block \(256, 1, 1\), failed: an illegal"
    with pytest.raises(cuda_driver.LaunchError, match=words):
        gpu.relu(x)


def test_after_a_kernel_failed_the_message_says_what_is_left_to_do(fake: FakeCuda) -> None:
    fake.failure = 700
    with pytest.raises(cuda_driver.LaunchError, match="can use the GPU no more: start it again, with GAUGE"):
        cuda_driver.Context.synchronize()


def test_a_kernel_in_another_context_is_refused_with_a_guess(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, out = to_device(X), DeviceArray(X.shape, X.dtype)
    for _ in range(3):
        gpu.relu(x, out=out)
    monkeypatch.setattr(fake, "cuLaunchKernelEx", lambda *_: 400)
    with pytest.raises(cuda_driver.LogicError, match="is the context that is current in this thread another"):
        gpu.relu(x)


def test_a_warm_call_in_a_thread_without_a_context_enters_one(fake: FakeCuda) -> None:
    x, out = to_device(X), DeviceArray(X.shape, X.dtype)
    for _ in range(3):
        gpu.relu(x, out=out)
    fake.contexts.current = None
    gpu.relu(x, out=out)
    assert fake.contexts.current == 77
