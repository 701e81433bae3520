"""What the assembler says about the kernels: every variant in use fits its registers and spills nothing."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.gpu.activation import rowwise
from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.runtime.device import ELEMENTS

ROWS = [
    {"THREADS": threads, "ITEMS": items, "LONG": long, "VECTORS": 1}
    for (threads, items), long in [*((v, 0) for v in rowwise.ROW_VARIANTS), (rowwise.LONG_VARIANT, 1)]
]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("gemm/tiled.cu", {"ELEMENT": e, "TILE": tile, "COPY_A": a, "COPY_B": b})
        for e, tile, (a, b) in itertools.product(ELEMENTS.values(), (32, 64, 128), ((0, 1), (1, 0)))
    ),
    *(
        ("gemm/tiled.cu", {"ELEMENT": "float", "TILE": tile, "COPY_A": 2, "COPY_B": 2})
        for tile in (32, 64, 128)
    ),
    *(
        ("gemm/tensor_core.cu", {"ELEMENT": "bfloat16", "TILE": tile, "COPY_A": a, "COPY_B": b})
        for tile, (a, b) in itertools.product((64, 128), ((0, 1), (1, 0), (2, 2)))
    ),
    *(
        ("activation/elementwise.cu", {"ELEMENT": "bfloat16", "FUNCTION": function, "BACKWARD": backward})
        for function, backward in itertools.product(("relu", "gelu", "gelu_tanh", "tanh_"), (0, 1))
    ),
    *(
        ("activation/softmax.cu", {"ELEMENT": "float", "LOGARITHM": 0, "BACKWARD": backward, **rows})
        for backward, rows in itertools.product((0, 1), ROWS)
    ),
    *(("activation/maxout.cu", {"ELEMENT": "float16", "BACKWARD": backward}) for backward in (0, 1)),
    *(
        ("convolution/tiled.cu", {"ELEMENT": element, "TILE": tile, "SPATIAL": spatial, "PASS": product})
        for element, tile, spatial, product in (
            *(("float", tile, 2, product) for tile in (32, 64, 128) for product in (0, 1, 2)),
            *(("bfloat16", tile, 3, 1) for tile in (32, 64, 128)),
        )
    ),
    *(
        (
            "convolution/tensor_core.cu",
            {"ELEMENT": element, "TILE": tile, "SPATIAL": spatial, "PASS": product},
        )
        for element, tile, spatial, product in (
            *(("bfloat16", tile, 2, product) for tile in (32, 64, 128) for product in (0, 1, 2)),
            *(("float16", tile, 3, 1) for tile in (32, 64, 128)),
        )
    ),
    *(("convolution/fft.cu", {"ELEMENT": "float", "POINTS": points}) for points in (4, 128, 1024, 4096)),
    *(("convolution/fft_products.cu", {"ELEMENT": "float", "CONJUGATE": conjugate}) for conjugate in (0, 1)),
    *(("convolution/depthwise.cu", {"ELEMENT": element}) for element in ELEMENTS.values()),
    *(("convolution/winograd.cu", {"ELEMENT": "float", "SIDE": side}) for side in (2, 4)),
    ("convolution/sum.cu", {"ELEMENT": "float"}),
    *(
        ("pooling/pooling.cu", {"ELEMENT": e, "VECTORS": vectors})
        for e in ("float", "float16")
        for vectors in (0, 1)
    ),
    *(
        ("unit/lstm.cu", {"ELEMENT": element, "EXAMPLES": examples, "SAVE": save, "VECTORS": 1})
        for element, examples, save in (("float", 8, 1), ("bfloat16", 8, 0), ("float16", 1, 1))
    ),
    *(
        (source, {"ELEMENT": "float16", "RESULT": "float", "TILE": tile, "COPY_A": 0, "COPY_B": 0})
        for source, tile in itertools.product(("gemm/tiled.cu", "gemm/tensor_core.cu"), (64, 128))
    ),
]


def name_of(variant: tuple[str, dict[str, Any]]) -> str:
    source, defines = variant
    return "-".join([source, *map(str, defines.values())])


@pytest.mark.skipif(
    shutil.which("ptxas") is None, reason="needs ptxas of a CUDA toolkit, and found none on PATH"
)
@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_no_kernel_spills_registers(variant: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    source, defines = variant
    text = compiler.compile(source, defines=defines, arch=90)
    # The assembler at hand may be older than the compiler; the instructions are those of PTX 9.0.
    file = tmp_path / "kernel.ptx"
    file.write_bytes(re.sub(rb"\.version 9\.\d", b".version 9.0", text))
    command = ["ptxas", "-v", "-arch=sm_90", str(file), "-o", str(tmp_path / "kernel.cubin")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = [int(count) for count in re.findall(r"(\d+) bytes spill", report)]
    assert spills
    assert not any(spills)


@pytest.mark.parametrize("source", sorted({source for source, _ in VARIANTS}))
def test_a_kernel_file_says_what_it_computes_and_which_clauses_hold(source: str) -> None:
    opening = compiler.kernel_path(source).read_text(encoding="utf-8").split("#include")[0]
    assert all(line.startswith("//") for line in opening.strip().splitlines())
    assert re.search(r"(GEMM|ACT|CONV|POOL|UNIT)-S", opening)
    assert "thread" in opening


def test_every_barrier_says_what_it_protects() -> None:
    folder = compiler.kernel_path("gemm/tiled.cu").parents[1]
    for file in sorted(folder.glob("*/*.cu*")):
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if re.search(r"\b__sync(threads|warp)\(\);", line):
                assert "//" in line or "//" in lines[number - 1], f"{file.name}:{number + 1}"
