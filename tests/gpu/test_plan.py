"""A call that differs from one before in addresses alone launches what it would launch without that one."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.gpu.runtime import cuda_driver
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, device, to_device
from gaugeblock.gpu.runtime.memory import Pool
from gaugeblock.gpu.runtime.plan import Plan
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
from dispatches import Noting, arguments, launched, problems

if not device().simulated:
    pytest.skip("launches are noted in place of the simulated device's", allow_module_level=True)


def plans(of: Any) -> list[Plan]:
    return [plan for plan in of.plans.known.values() if isinstance(plan, Plan)]


@pytest.mark.one_of(6)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_warm_call_launches_what_a_cold_call_launches(name: str) -> None:
    shared = Noting()  # where plans of other calls could be mistaken
    for problem in problems(name, every=2):
        for algorithm in ["auto"] if name == "conv_backward_bias" else ["auto", "naive"]:
            before, now = (arguments(problem, at << 45) | {"algorithm": algorithm} for at in (1, 2))
            cold = launched(Noting(), name, now)
            launched(shared, name, before)
            launched(shared, name, before)
            assert launched(shared, name, now) == cold != []
    assert plans(shared) == list(shared.plans.known.values()) != []


@pytest.mark.parametrize("algorithm", ["pointwise", "winograd_2", "fft", "tile32"])
def test_a_convolution_of_several_launches_is_known_too(algorithm: str) -> None:
    kernel = 1 if algorithm == "pointwise" else 3
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, w = (rng.normal(size=s).astype(np.float32) for s in ((1, 2, 6, 6), (3, 2, kernel, kernel)))
        known = len(plans(device()))
        result = gpu.conv(to_device(x), to_device(w), algorithm=algorithm)
        assert result.get().tobytes() == gpu.conv(x, w, algorithm=algorithm).tobytes()
    assert len(plans(device())) == known  # the second call made it, or one before this test


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "relu, in place": lambda x, out: gpu.relu(x, out=x),
    "softmax": lambda x, out: gpu.softmax(x, out=out),
    "gemm, a new result": lambda x, out: gpu.gemm(x, x, transpose_b=True),
    "gemm, c is out": lambda x, out: gpu.gemm(x, x, out, beta=0.5, out=out),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_warm_call_computes_what_a_cold_call_computes(name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(4):
        x, out = rng.normal(size=(2, 8, 8)).astype(np.float32)
        want = CALLS[name](x.copy(), out.copy())
        assert CALLS[name](to_device(x), to_device(out)).get().tobytes() == want.tobytes()


def test_every_call_has_a_result_of_its_own() -> None:
    x = to_device(np.arange(-2, 2, dtype=np.float32))
    first, second, third = (gpu.relu(x) for _ in range(3))
    assert len({array.pointer for array in (first, second, third)}) == 3
    assert third.get().tolist() == [0, 0, 0, 1]


def at(address: int, length: int = 64, dtype: str = "float32", step: int = 1) -> DeviceArray:
    """Return an array that has no memory."""
    size = DTYPES[dtype].itemsize
    return DeviceArray((length,), DTYPES[dtype], (step * size,), (1 << 40) + address)


def known(call: Callable[[], Any]) -> bool:
    """Return whether a call is known, after others were made."""
    noting = Noting()
    for other in (at(4096), at(8192)), (at(16384), at(4096)):
        for _ in range(2):
            launched(noting, "relu", {"x": other[0], "out": other[1]})
    assert len(plans(noting)) == 1
    before = dict(noting.plans.known)
    launched(noting, "relu", call())
    return before == noting.plans.known


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({}, True),
        ({"x": at(1 << 20)}, True),
        ({"x": at(4100)}, False),  # 4 bytes after a boundary
        ({"x": at(4096, step=2)}, False),
        ({"x": at(4096, dtype="float16"), "out": at(8192, dtype="float16")}, False),
        ({"x": at(4096, 32), "out": at(8192, 32)}, False),
        ({"out": at(4096)}, False),  # x itself
        ({"algorithm": "naive"}, False),
    ],
)
def test_what_a_launch_depends_on_makes_another_call(given: dict[str, Any], same: bool) -> None:
    assert known(lambda: {"x": at(4096), "out": at(8192)} | given) is same


def test_an_output_that_overlaps_is_refused_by_a_call_that_is_known() -> None:
    noting = Noting()
    for place in (4096, 1 << 20, 1 << 21):
        launched(noting, "relu", {"x": at(4096), "out": at(place + 4096)})
    with pytest.raises(ValueError, match="GEN-C3: out shares memory with x"):
        launched(noting, "relu", {"x": at(4096), "out": at(4096 + 128 - 128 % 4)})
    interleaved = {"x": at(4096, step=2), "out": at(4100, step=2)}
    for _ in range(3):
        assert launched(noting, "relu", interleaved) == launched(Noting(), "relu", interleaved)


@pytest.mark.parametrize("wrong", [True, np.int64(2), 2.0, "2", [2, 2]])
def test_a_parameter_that_equals_a_known_one_is_checked_nevertheless(wrong: Any) -> None:
    image = DeviceArray((1, 1, 8), np.float32, pointer=1 << 40)
    noting = Noting()

    def outcome(on: Noting, kernel: Any) -> Any:
        try:
            return launched(on, "max_pool", {"x": image, "kernel": kernel})
        except (ValueError, TypeError) as error:
            return str(error)

    for kernel in (1, 2, 1, 2, 1, 2):
        outcome(noting, kernel)
    assert outcome(noting, wrong) == outcome(Noting(), wrong)


def test_zeros_of_both_signs_are_two_parameters() -> None:
    noting = Noting()
    for slope in (0.0, -0.0) * 3:
        given = {"x": at(4096), "out": at(8192), "negative_slope": slope}
        assert launched(noting, "leaky_relu", given) == launched(Noting(), "leaky_relu", given)


def test_a_thread_knows_its_own_calls() -> None:
    noting, counts = Noting(), list[int]()
    for _ in range(3):
        launched(noting, "relu", {"x": at(4096), "out": at(8192)})
    thread = threading.Thread(target=lambda: counts.append(len(plans(noting))))
    thread.start()
    thread.join()
    assert (counts, len(plans(noting))) == ([0], 1)


# Memory --------------------------------------------------------------------------------------------------


def test_memory_that_was_given_back_is_given_out_again() -> None:
    asked: list[int] = []

    def allocate(nbytes: int) -> int:
        asked.append(nbytes)
        return 4096 * len(asked)

    shelf = Pool(allocate, keeps=True).shelf(1000)
    first, second = shelf.take(), shelf.take()
    shelf.put(first)
    assert shelf.take() == first != second
    assert asked == [1024, 1024]


def test_when_memory_is_exhausted_the_driver_is_given_what_nobody_uses() -> None:
    held: set[int] = set()

    class Memory:
        def __init__(self, nbytes: int) -> None:
            if held:
                raise cuda_driver.MemoryError("out of memory")
            held.add(id(self))

        def __int__(self) -> int:
            return id(self)

        def __del__(self) -> None:
            held.discard(id(self))

    pool = Pool(Memory, keeps=True)
    small = pool.shelf(512)
    small.put(small.take())
    big = pool.shelf(1 << 20).take()
    assert held == {big[0]}
    with pytest.raises(cuda_driver.MemoryError):
        pool.shelf(1 << 10).take()


def test_only_the_pool_asks_for_memory() -> None:
    sources = Path(gpu.__file__).parent
    asking = {
        path.relative_to(sources).as_posix()
        for path in sources.rglob("*.py")
        if "simulator" not in path.parts and "mem_alloc(" in path.read_text()
    }
    assert asking <= {"runtime/cuda_driver.py", "runtime/device.py"}
