"""On the simulated device the blocks of every kernel that loops over its work do more than one part of it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu
from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.runtime.device import device

Array = NDArray[Any]


def ones(*shape: int, dtype: str = "float32") -> Array:
    return np.ones(shape, dtype)


def images(dtype: str) -> Array:
    """Convolve an image of eleven tiles."""
    return gpu.conv(ones(1, 3, 20, 20, dtype=dtype), ones(5, 3, 3, 3, dtype=dtype))


UNIT = {"x": (1, 12, 3), "h": (12, 4), "c": (12, 4), "w": (4, 4, 3), "u": (4, 4, 4), "bias": (4, 4)}

STEP = "+= gridDim.x", "+= 2 * gridDim.x"
THREADS = "(gridDim.x)", "(2 * gridDim.x)"
LOOPS: dict[str, tuple[tuple[str, str], Callable[[], Array]]] = {
    "gemm/tiled.cu": (STEP, lambda: gpu.gemm(ones(90, 3), ones(3, 260))),
    "gemm/tensor_core.cu": (
        STEP,
        lambda: gpu.gemm(ones(90, 3, dtype="float16"), ones(3, 260, dtype="float16")),
    ),
    "convolution/tiled.cu": (STEP, lambda: images("float32")),
    "convolution/tensor_core.cu": (STEP, lambda: images("float16")),
    "convolution/sum.cu": (
        THREADS,
        lambda: gpu.conv_backward_weight(
            ones(1, 40, 38, 38), ones(1, 10, 40, 40), kernel_shape=(40, 10, 3, 3)
        ),
    ),
    "activation/softmax.cu": (THREADS, lambda: gpu.softmax(ones(350, 5))),
    "unit/lstm.cu": (
        ("(gridDim.y)", "(2 * gridDim.y)"),
        lambda: gpu.lstm_unit(*(ones(*UNIT[name]) for name in UNIT)),
    ),
}


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, tuple[str, str]], None]]:
    """Change a kernel's source, and compile all anew."""
    functions = dict(device()._functions)
    read = compiler._kernel_text

    def changed(source: str, words: tuple[str, str]) -> None:
        assert words[0] in read(source)
        device()._functions.clear()
        text = read(source).replace(*words)
        monkeypatch.setattr(compiler, "_kernel_text", lambda name: text if name == source else read(name))

    yield changed
    device()._functions.clear()
    device()._functions.update(functions)


def is_wrong(call: Callable[[], Array], right: Array) -> bool:
    """Whether a call gives another result, or is stopped by the simulator."""
    try:
        return not np.array_equal(call(), right)
    except Exception as fault:
        return "wrote" in str(fault) or "read" in str(fault) or "race" in str(fault)


@pytest.mark.parametrize("source", LOOPS)
def test_a_loop_over_parts_that_leaves_some_out_shows(
    source: str, change: Callable[[str, tuple[str, str]], None]
) -> None:
    words, call = LOOPS[source]
    right = call()
    change(source, words)
    gpu.relu(np.full_like(right, np.nan))  # so that no right result is left in memory
    assert is_wrong(call, right)


def test_a_barrier_between_two_parts_that_is_missing_shows(
    change: Callable[[str, tuple[str, str]], None],
) -> None:
    right = images("float16")
    line = "__syncthreads();  // all results are out before the next tile's copies overwrite them"
    change("convolution/tensor_core.cu", (line, ""))
    assert is_wrong(lambda: images("float16"), right)


def test_a_gpu_gets_a_block_for_every_part() -> None:
    real = replace(device(), simulated=False, most_blocks=1000)
    assert [real.blocks(parts) for parts in (1, 2, 999, 5000)] == [1, 2, 999, 1000]
    assert [device().blocks(parts) for parts in (1, 2, 3, 4, 5, 4998)] == [1, 1, 2, 4, 5, 64]
