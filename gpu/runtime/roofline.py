"""A simple model of how long a launch takes on a named GPU, from what was counted of it.

A launch takes `LATENCY`, and the longest of: the different sectors of global memory that it touches, at the
bandwidth of DRAM; its passes through shared memory, one a clock and multiprocessor; its instructions of PTX,
four warps a clock and multiprocessor; its arithmetic of each kind, at the peak of that. All but the first
have as many multiprocessors as it has blocks. The model was never compared with hardware.

Source: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009; the rates are those of NVIDIA's data sheets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gaugeblock.gpu.runtime.assembler import Resources

__all__ = ["GPU", "GPUS", "Prediction", "Work", "arithmetic", "occupancy", "predict"]

LATENCY: Final = 2e-6
"""Seconds that a launch takes at least: assumed."""

WARP: Final = 32
_REGISTERS: Final = 1 << 16  # of a multiprocessor, of all GPUs below
_SYSTEM_SHARED: Final = 1024  # bytes of a block's shared memory that CUDA keeps for itself


@dataclass(frozen=True)
class GPU:
    """What a data sheet says of a GPU.

    Attributes
    ----------
    name : str
        Its name.
    capability : int
        Its compute capability, 90 for 9.0.
    multiprocessors : int
        How many it has.
    clock : float
        Hertz, at boost.
    bandwidth : float
        Bytes a second of DRAM.
    peaks : mapping of str to float
        Operations a second by the kinds of `arithmetic`, a fused product and sum being two; no sparsity.
    shared, warps, blocks : int
        Bytes of shared memory, warps and blocks that a multiprocessor has room for.
    """

    name: str
    capability: int
    multiprocessors: int
    clock: float
    bandwidth: float
    peaks: Mapping[str, float]
    shared: int
    warps: int
    blocks: int


def _peaks(plain: Mapping[str, float], tensor: Mapping[str, float]) -> dict[str, float]:
    """Return rates given in 10¹² a second."""
    return {kind: 1e12 * rate for kind, rate in plain.items()} | {
        f"tensor {kind}": 1e12 * rate for kind, rate in tensor.items()
    }


# NVIDIA H100 Tensor Core GPU Architecture, v1.04, 2023, tables 2 and 3: H100 SXM5.
_HOPPER: Final = _peaks(
    {"fp64": 33.5, "fp32": 66.9, "fp16": 133.8, "bf16": 133.8},
    {"fp64": 66.9, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "fp8": 1978.9, "int8": 1978.9},
)
GPUS: Final[Mapping[str, GPU]] = {
    gpu.name: gpu
    for gpu in (
        GPU("H100", 90, 132, 1.98e9, 3.35e12, _HOPPER, 228 << 10, 64, 32),
        # NVIDIA H200 Tensor Core GPU, data sheet, 2024: an H100 with other memory.
        GPU("H200", 90, 132, 1.98e9, 4.8e12, _HOPPER, 228 << 10, 64, 32),
        # NVIDIA A100 Tensor Core GPU Architecture, v1.0, 2020, tables 1 and 5; data sheet of the 80 GB SXM4.
        GPU(
            "A100", 80, 108, 1.41e9, 2.039e12,
            _peaks(
                {"fp64": 9.7, "fp32": 19.5, "fp16": 78.0, "bf16": 39.0},
                {"fp64": 19.5, "tf32": 156.0, "fp16": 312.0, "bf16": 312.0, "int8": 624.0},
            ), 164 << 10, 64, 32,
        ),
        # NVIDIA L4 Tensor Core GPU, data sheet, 2023: half of its rates with sparsity.
        GPU(
            "L4", 89, 58, 2.04e9, 3.0e11,
            _peaks(
                {"fp64": 0.473, "fp32": 30.3, "fp16": 30.3, "bf16": 30.3},
                {"tf32": 60.0, "fp16": 121.0, "bf16": 121.0, "fp8": 242.5, "int8": 242.5},
            ), 100 << 10, 48, 24,
        ),
        # NVIDIA Ada GPU Architecture, v2.1, 2023, appendix A: GeForce RTX 4090, sums in fp32.
        GPU(
            "RTX4090", 89, 128, 2.52e9, 1.008e12,
            _peaks(
                {"fp64": 1.29, "fp32": 82.6, "fp16": 82.6, "bf16": 82.6},
                {"tf32": 82.6, "fp16": 165.2, "bf16": 165.2, "fp8": 330.3, "int8": 660.6},
            ), 100 << 10, 48, 24,
        ),
    )
}  # fmt: skip
"""The GPUs that are known, by name."""


# Arithmetic ----------------------------------------------------------------------------------------------

_PLAIN: Final = {"f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16"}
_OPERATIONS: Final = {"fma": 2, "mad": 2, "add": 1, "sub": 1, "mul": 1}
_TENSOR: Final = {
    "f64": "fp64", "tf32": "tf32", "f16": "fp16", "bf16": "bf16", "e4m3": "fp8", "e5m2": "fp8", "s8": "int8",
    "u8": "int8",
}  # fmt: skip
_SUMS: Final = ("f32", "s32")


def arithmetic(instructions: Mapping[str, int]) -> dict[str, int]:
    """Count operations by kind: those of ``add``, ``sub``, ``mul`` and ``fma``, and of tensor cores.

    Parameters
    ----------
    instructions : mapping of str to int
        Executed instructions by spelling, counted per thread; with a false predicate too.

    Returns
    -------
    dict
        By kind: ``fp64``, ``fp32``, ``fp16``, ``bf16``; ``tensor fp16`` and others, by what is multiplied. A
        fused product and sum are two operations.

    Examples
    --------
    >>> arithmetic({"fma.rn.f32": 3, "add.f16x2": 1, "mad.lo.s32": 9})
    {'fp32': 6, 'fp16': 2}
    >>> arithmetic({"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32": 32})
    {'tensor bf16': 4096}
    """
    found: dict[str, int] = {}
    for spelling, threads in instructions.items():
        opcode, *modifiers = spelling.split(".")
        type_ = modifiers[-1] if modifiers else ""
        if opcode == "mma" or spelling.startswith("wmma.mma."):
            (shape,) = re.findall(r"\.m(\d+)n(\d+)k(\d+)\.", spelling)
            types = [each for each in modifiers if each in _TENSOR or each in _SUMS]
            factor = types[1] if len(types) == 4 else "f16"  # wmma of float16 names its sums only
            m, n, k = map(int, shape)
            kind, count = f"tensor {_TENSOR.get(factor, factor)}", 2 * m * n * k * threads // WARP
        elif opcode in _OPERATIONS and type_.removesuffix("x2") in _PLAIN:
            kind = _PLAIN[type_.removesuffix("x2")]
            count = _OPERATIONS[opcode] * threads * (2 if type_.endswith("x2") else 1)
        else:
            continue
        found[kind] = found.get(kind, 0) + count
    return found


# Time ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What a launch does.

    Attributes
    ----------
    blocks : int
        How many.
    nbytes : int
        Bytes of the different sectors of global memory that it reads, and of those that it writes.
    wavefronts : int
        Passes through shared memory.
    instructions : int
        Of all threads.
    operations : mapping of str to int
        Of each kind.
    """

    blocks: int
    nbytes: int
    wavefronts: int
    instructions: int
    operations: Mapping[str, int]


@dataclass(frozen=True)
class Prediction:
    """Seconds that a launch takes by the model, and the part that takes longest."""

    seconds: float
    bound: str


def predict(work: Work, gpu: GPU) -> Prediction | None:
    """Predict how long a launch takes; None where the GPU has no arithmetic of some kind in it.

    Examples
    --------
    >>> predict(Work(1 << 20, 3_350_000_000, 0, 1 << 28, {"fp32": 1 << 28}), GPUS["H100"])
    Prediction(seconds=0.001002, bound='memory')
    """
    if not work.operations.keys() <= gpu.peaks.keys():
        return None
    busy = min(work.blocks, gpu.multiprocessors)
    times = {
        "latency": LATENCY,
        "memory": work.nbytes / gpu.bandwidth,
        "shared memory": work.wavefronts / (busy * gpu.clock),
        "instructions": work.instructions / (4 * WARP * busy * gpu.clock),
        **{
            kind: count / gpu.peaks[kind] * gpu.multiprocessors / busy
            for kind, count in work.operations.items()
        },
    }
    bound = max(times, key=lambda part: times[part])
    return Prediction(LATENCY + max(time for part, time in times.items() if part != "latency"), bound)


# Occupancy -----------------------------------------------------------------------------------------------


def occupancy(resources: Resources, threads: int, shared: int, gpu: GPU) -> float:
    """Return which part of the warps that a multiprocessor has room for can be there, from 0 to 1.

    Parameters
    ----------
    resources : Resources
        Of the kernel.
    threads, shared : int
        Of a block: threads, and bytes of shared memory.
    gpu : GPU
        Where.

    Examples
    --------
    >>> occupancy(Resources(registers=128, stack=0, spills=0), 256, 17_920, GPUS["H100"])
    0.25
    """
    warps = -(-threads // WARP)
    of_warp = -(-max(resources.registers, 1) * WARP // 256) * 256  # registers are given out by 256
    by_registers = _REGISTERS // 4 // of_warp * 4 // warps  # a warp has those of its quarter
    by_shared = gpu.shared // (-(-(shared + _SYSTEM_SHARED) // 128) * 128)
    blocks = min(by_registers, by_shared, gpu.warps // warps, gpu.blocks)
    return blocks * warps / gpu.warps
