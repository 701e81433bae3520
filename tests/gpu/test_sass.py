"""The machine code of every variant that ``auto`` chooses is as recorded, and keeps what kernels promise."""

import sys
from pathlib import Path

import pytest

from gaugeblock.gpu.runtime.device import device
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
import sass
from sass import TARGETS, Figures

RECORD = sass.recorded()
RECORDED = {
    (name, int(target)): Figures(*values)
    for name, targets in RECORD["kernels"].items()
    for target, values in targets.items()
}

AROUND_DIVISIONS = "depthwise_input", "pooling_"
"""Kernels that, on sm_80, keep one to four numbers in local memory while they divide those of 64 bits."""


def share(name: str, figures: Figures) -> tuple[float, float]:
    """Return the share of a product's main loop that multiplies, and the least that it should be."""
    scalars = sum(copy in name for copy in ("COPY_A=2", "COPY_B=2"))
    if "gemm_tiled" in name:
        return figures.ffma / figures.loop, (0.85, 0.83, 0.80)[scalars] if "TILE=128" in name else 0.60
    return figures.hmma / figures.loop, (0.37, 0.20, 0.17)[scalars] if "TILE=128" in name else 0.07


@pytest.mark.parametrize("source", RECORD["sources"])
def test_the_record_is_of_the_kernels_as_they_are(source: str) -> None:
    assert RECORD["sources"][source] == sass.digest(source), (
        "run python tests/gpu/sass.py, and see what changed"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_no_variant_keeps_numbers_in_local_memory(target: int) -> None:
    kept = {
        name: each for (name, of), each in RECORDED.items() if of == target and (each.stack or each.local)
    }
    assert all(any(f" {kernel}" in name for kernel in AROUND_DIVISIONS) for name in kept), kept
    assert all(each.stack <= 16 for each in kept.values())


@pytest.mark.parametrize("target", TARGETS)
def test_the_main_loop_of_a_product_multiplies(target: int) -> None:
    shares = {
        name: share(name, each)
        for (name, of), each in RECORDED.items()
        if of == target and name.startswith("gemm/")
    }
    assert not {name: found for name, found in shares.items() if found[0] < found[1]}


@pytest.mark.skipif(sass.disassembler() is None, reason="needs nvidia-cuda-nvdisasm")
@pytest.mark.one_of(200)
@pytest.mark.parametrize(("name", "target"), RECORDED, ids=str)
def test_a_variant_s_machine_code_is_as_recorded(name: str, target: int) -> None:
    then, now = RECORDED[name, target], sass.measured(name, target)
    if sass.version() == RECORD["nvrtc"]:
        assert now == then, "run python tests/gpu/sass.py, and see what changed"
    else:
        assert now.local <= then.local


@pytest.mark.skipif(not device().simulated, reason="variants of other GPUs are found on the simulated device")
@pytest.mark.one_of(48)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_variant_that_a_gpu_is_given_is_recorded(operation: str) -> None:
    for target in TARGETS:
        chosen = {(sass.name_of(variant), target) for variant in sass.variants(target, operation)}
        assert chosen <= set(RECORDED)
