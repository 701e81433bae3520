"""A race between two reductions, in CUDA, on the simulated device.

On a GPU the missing barrier mostly does no harm. The simulated device sees it: its race detector ends the
call with a fault, and under another order of the warps the numbers are wrong.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from softmax import DType, Rowwise
from workshop import Array, Backend

from gaugeblock.gpu.runtime.compiler import compile_source

SOURCE = Path(__file__).with_name("race.cu")
THREADS = 128


@functools.cache
def kernel(barrier: bool) -> Callable[..., None]:
    """Return the compiled kernel, with or without the barrier between its reductions."""
    from gaugeblock.gpu.simulator import driver  # slow to load, and only calls need it

    driver.init()
    binary = compile_source(
        SOURCE.read_text(encoding="utf-8"), str(SOURCE), defines={"BARRIER": int(barrier)}
    )
    module = driver.module_from_buffer(binary)
    function = module.get_function("softmax")
    function.prepare("PPi")
    return functools.partial(call, driver, module, function)


def call(driver: Any, module: Any, function: Any, x: Array, out: Array) -> None:
    """Copy rows to the device, run the kernel, copy the result back. The module must outlive its function."""
    source, target = driver.mem_alloc(x.nbytes), driver.mem_alloc(out.nbytes)
    try:
        driver.memcpy_htod(source, x)
        function.prepared_call((len(x), 1), (THREADS, 1, 1), source, target, x.shape[1])
        driver.memcpy_dtoh(out, target)
    finally:
        source.free()
        target.free()


@dataclass(frozen=True)
class CudaSoftmax(Rowwise):
    """Softmax by a CUDA kernel on the simulated device."""

    barrier: bool = True

    def softmax(self, x: Array, dtype: DType) -> Array:
        """Return softmax of rows in fp32."""
        out = np.empty_like(x, order="C")
        kernel(self.barrier)(np.ascontiguousarray(x), out)
        return out


CUDA = CudaSoftmax()

S9 = Backend(
    "no barrier between two reductions: the buffer takes the sum before every thread has read the maximum",
    ["ggml-org/llama.cpp#26385", "ROCm/composable_kernel#323"],
    softmax=CUDA.broken(barrier=False),
)
WITH_BARRIER = Backend("a CUDA kernel on the simulated device, barriers in place", softmax=CUDA)
