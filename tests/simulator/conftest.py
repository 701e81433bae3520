"""Helpers of the simulator's tests: launch CUDA C++ or PTX on NumPy arrays."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.simulator import driver

Launch = Callable[..., None]
Array = np.ndarray[Any, Any]

HEADER = ".version 8.0\n.target sm_90\n.address_size 64\n"


def _run(
    module: driver.Module,
    entry: str,
    grid: Sequence[int],
    block: Sequence[int],
    args: Sequence[Any],
    shared: int,
) -> None:
    function = module.get_function(entry)
    if shared > 48 * 1024:
        function.set_attribute(driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
    memory = [driver.to_device(arg) if isinstance(arg, np.ndarray) else None for arg in args]
    values = [arg if copy is None else copy for arg, copy in zip(args, memory, strict=True)]
    function(*values, grid=tuple(grid), block=tuple(block), shared=shared)
    for arg, copy in zip(args, memory, strict=True):
        if copy is not None:
            driver.memcpy_dtoh(arg, copy)


@pytest.fixture(scope="session")
def compiled() -> Callable[..., bytes]:
    """Compile CUDA C++ to PTX; skip the test where a header is missing, which the extra ``cccl`` installs."""

    def compile_(text: str, arch: int = 90) -> bytes:
        try:
            return compiler.compile_source(textwrap.dedent(text), "test.cu", arch=arch)
        except compiler.CompileError as error:
            if "could not open source file" in str(error):
                pytest.skip(str(error))
            raise

    return compile_


@pytest.fixture
def cuda(compiled: Callable[..., bytes]) -> Launch:
    """Compile CUDA C++, launch its kernel ``k``, bring arrays back: ``cuda(text, grid, block, *args)``."""

    def launch(text: str, grid: Any, block: Any, *args: Any, shared: int = 0, arch: int = 90) -> None:
        ptx = compiled(text, arch)
        grid, block = (tuple(np.atleast_1d(size)) for size in (grid, block))
        _run(driver.module_from_buffer(ptx), "k", grid, block, args, shared)

    return launch


@pytest.fixture
def ptx() -> Launch:
    """Launch the kernel ``k`` of a PTX text (without header): ``ptx(text, grid, block, *args)``."""

    def launch(text: str, grid: Any, block: Any, *args: Any, shared: int = 0) -> None:
        grid, block = (tuple(np.atleast_1d(size)) for size in (grid, block))
        _run(driver.module_from_buffer(HEADER + text), "k", grid, block, args, shared)

    return launch


_REGISTER = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}


@pytest.fixture
def evaluate(ptx: Launch) -> Callable[..., np.ndarray[Any, Any]]:
    """Execute one instruction, one lane per element: ``evaluate("add.s32", result dtype, a, b)``."""

    def run(instruction: str, result: Any, *operands: Any, suffix: str = "") -> np.ndarray[Any, Any]:
        arrays = [np.ascontiguousarray(operand) for operand in operands]
        out = np.zeros(arrays[0].shape, result)
        registers, loads, names = [], [], []
        for number, array in enumerate([out, *arrays]):
            size = array.dtype.itemsize
            pred = array.dtype == np.bool_
            registers.append(
                f".reg .{_REGISTER[size]} %v{number};" + (f" .reg .pred %p{number};" if pred else "")
            )
            if number:
                loads.append(f"ld.param.u64 %d, [k_{number}]; mad.wide.u32 %d, %i, {size}, %d;")
                loads.append(f"ld.global.{'u8' if size == 1 else _REGISTER[size]} %v{number}, [%d];")
                if pred:
                    loads.append(f"setp.ne.b16 %p{number}, %v{number}, 0;")
            names.append(f"%p{number}" if pred else f"%v{number}")
        size = out.dtype.itemsize
        keep = "selp.b16 %v0, 1, 0, %p0;" if out.dtype == np.bool_ else ""
        store = f"st.global.{'u8' if size == 1 else _REGISTER[size]} [%d], %v0;"
        parameters = ", ".join(f".param .u64 k_{n}" for n in range(len(arrays) + 1))
        ptx(
            f"""
            .visible .entry k({parameters}) {{
            .reg .b64 %d; .reg .b32 %i, %t, %n;
            {" ".join(registers)}
            mov.u32 %t, %tid.x; mov.u32 %n, %ntid.x; mov.u32 %i, %ctaid.x; mad.lo.u32 %i, %i, %n, %t;
            {" ".join(loads)}
            {instruction} {", ".join(names)}{suffix};
            {keep}
            ld.param.u64 %d, [k_0]; mad.wide.u32 %d, %i, {size}, %d;
            {store}
            ret; }}
            """,
            len(arrays[0]),
            1,
            out,
            *arrays,
        )
        return out

    return run
