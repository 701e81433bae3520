"""``gaugeblock profile``: what is counted is exact, what is predicted follows, and the rest is said."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import USAGE
from gaugeblock.conformance.reports import profile
from gaugeblock.gpu.runtime import assembler
from gaugeblock.gpu.runtime.assembler import AssemblerUnavailable, Resources
from gaugeblock.gpu.runtime.roofline import GPUS, Prediction, Work, arithmetic, occupancy, predict

SAXPY = """
import sys
import cupy as cp
import numpy as np

kernel = cp.RawKernel('''extern "C" __global__ void saxpy(int n, float a, const float* x, float* y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}''', "saxpy")
x, y = (cp.asarray(np.ones(1000, np.float32)) for _ in "xy")
for _ in range(int(sys.argv[1])):
    kernel((4,), (256,), (np.int32(1000), np.float32(2), x, y))
sys.exit(int(sys.argv[2]))
"""
PRODUCT = """
// gaugeblock: gemm(a, b) = product<<<M, N>>>(a, b, out, N, K)
__global__ void product(const float* a, const float* b, float* out, int N, int K) {
    float sum = 0;
    for (int k = 0; k < K; k++)
        sum += a[blockIdx.x * K + k] * b[k * N + threadIdx.x];
    out[blockIdx.x * N + threadIdx.x] = sum;
}
"""
STRIDED = """
// gaugeblock: relu(x) = strided<<<1, 32>>>(x, out, size(x))
__global__ void strided(const float* x, float* out, int n) {
    __shared__ float s[1024];
    int t = threadIdx.x;
    for (int i = 0; i < 32; i++)
        s[i * 32 + t] = 1;
    __syncthreads();
    float one = s[t * 32];
    for (int i = 0; i < n / 32; i++)
        out[t * (n / 32) + i] = fmaxf(x[t * (n / 32) + i], 0) * one;
}
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing that a command does to this process stay."""
    for name in ("argv", "path", "meta_path"):
        monkeypatch.setattr(sys, name, copy.copy(getattr(sys, name)))
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")


@pytest.fixture
def profiled(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Profile a file with this text, with these arguments behind it, and return the data."""

    def run(text: str, *arguments: str) -> dict[str, Any]:
        (tmp_path / "kernels.cu").write_text(text)
        data = tmp_path / "p.json"
        assert main(["profile", str(tmp_path / "kernels.cu"), "--json", str(data), *arguments]) == 0
        found: dict[str, Any] = json.loads(data.read_text())
        return found

    return run


def simulated(
    program: Path, *arguments: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gaugeblock.conformance.command", "profile", *options, program.name]
    return subprocess.run(
        [*command, *arguments], cwd=program.parent, capture_output=True, text=True, check=False
    )


# What is counted -------------------------------------------------------------------------------------------


def test_a_program_s_launches_are_counted_and_its_exit_status_is_kept(tmp_path: Path) -> None:
    program = tmp_path / "saxpy.py"
    program.write_text(SAXPY)
    done = simulated(program, "2", "7", options=("--json", "p.json", "--gpu", "a100"))
    assert (done.returncode, done.stderr) == (7, "")
    data = json.loads((tmp_path / "p.json").read_text())
    (kernel,) = data["kernels"]
    assert (kernel["kernel"], kernel["launches"], kernel["threads"]) == ("saxpy", 2, 2048)
    assert (kernel["read"], kernel["written"]) == (2 * 8000, 2 * 4000)
    assert (kernel["least_read"], kernel["least_written"]) == (2 * 8000, 2 * 4000)
    assert kernel["operations"] == {"fp32": 2 * 2000}
    assert kernel["intensity"] == pytest.approx(2000 / 12000)
    assert data["gpu"]["name"] == "A100"
    assert [each["operations"] for each in data["launches"]] == [{"fp32": 2000}] * 2
    assert "saxpy <256>" in done.stdout


def test_a_small_product_reads_its_operands_again_and_again_and_at_least_once(
    profiled: Callable[..., dict[str, Any]],
) -> None:
    shapes = ("--operation", "gemm", "--shape", "a=16x16", "--shape", "b=16x16")
    (kernel,) = profiled(PRODUCT, *shapes)["kernels"]
    assert (kernel["call"], kernel["kernel"]) == ("gemm float32", "product")
    assert kernel["operations"] == {"fp32": 2 * 16**3}
    assert (kernel["least_read"], kernel["least_written"]) == (2 * 16 * 16 * 4, 16 * 16 * 4)
    assert kernel["read"] == 16 * 16 * (32 + 64)  # a row's warp reads for each k one element of a, 16 of b
    assert kernel["written"] == 16 * 16 * 4
    assert kernel["spellings"]["fma.rn.f32"] == 16**3
    assert (kernel["blocks"], kernel["barriers"], kernel["conflicts"]) == (16, 0, 0)


def test_strides_show_as_sectors_and_bank_conflicts(profiled: Callable[..., dict[str, Any]]) -> None:
    (kernel,) = profiled(STRIDED, "--operation", "relu", "--shape", "x=1024")["kernels"]
    assert (kernel["least_read"], kernel["least_written"]) == (4096, 4096)
    assert (kernel["read"], kernel["written"]) == (32 * 32 * 32, 32 * 32 * 32)
    assert (kernel["conflicts"], kernel["barriers"]) == (31, 1)


def test_tensor_cores_are_counted_by_what_they_multiply(tmp_path: Path) -> None:
    data = tmp_path / "p.json"
    command = ["profile", "gpu", "--operation", "gemm", "--dtype", "bf16", "--json", str(data)]
    assert main([*command, "--shape", "a=64x64", "--shape", "b=64x64"]) == 0
    kernels = json.loads(data.read_text())["kernels"]
    assert [each["operations"]["tensor bf16"] for each in kernels] == [2 * 64**3]


def test_arithmetic_is_that_of_the_spelling() -> None:
    assert arithmetic({"add.rn.f16x2": 1, "fma.rn.bf16x2": 1, "mul.f64": 3}) == {
        "fp16": 2,
        "bf16": 4,
        "fp64": 3,
    }
    assert arithmetic({"mad.lo.s32": 1, "ld.global.f32": 1, "cvt.rn.f32.s32": 1, "ret": 1}) == {}
    assert arithmetic(
        {
            "wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32": 32,
            "wmma.load.a.sync.aligned.row.m16n16k16.global.f16": 32,
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32": 64,
            "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32": 32,
        }
    ) == {"tensor fp16": 2 * 16**3, "tensor tf32": 2 * 2 * 16 * 8 * 8, "tensor int8": 2 * 16 * 8 * 32}


def test_a_function_without_shapes_is_called_as_a_small_layer_in_its_domain(
    profiled: Callable[..., dict[str, Any]],
) -> None:
    (kernel,) = profiled(PRODUCT.replace("N, K)\n", "N, K) where N <= 64\n", 1), "--gpu", "L4")["kernels"]
    assert 0 < kernel["operations"]["fp32"] <= 2 * 64**3


# What is predicted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "bound", "seconds"),
    [
        (Work(1, 0, 0, 100, {}), "latency", 2e-6 + 100 / (128 * 1.98e9)),
        (Work(1000, 335_000_000, 0, 1, {}), "memory", 2e-6 + 1e-4),
        (Work(66, 0, 66 * 198_000, 1, {}), "shared memory", 2e-6 + 1e-4),
        (Work(132, 0, 0, 132 * 128 * 198_000, {}), "instructions", 2e-6 + 1e-4),
        (Work(66, 0, 0, 1, {"tensor bf16": 49_470_000_000}), "tensor bf16", 2e-6 + 1e-4),
    ],
)
def test_the_longest_part_bounds_a_launch(work: Work, bound: str, seconds: float) -> None:
    assert predict(work, GPUS["H100"]) == Prediction(pytest.approx(seconds), bound)


@pytest.mark.parametrize(
    ("registers", "threads", "shared", "warps"),
    [
        (128, 256, 17_920, 16),
        (187, 256, 17_920, 8),
        (54, 1024, 300, 32),
        (24, 256, 0, 64),
        (88, 128, 25_600, 20),
    ],
)
def test_occupancy_is_what_registers_and_shared_memory_leave(
    registers: int, threads: int, shared: int, warps: int
) -> None:
    assert occupancy(Resources(registers, 0, 0), threads, shared, GPUS["H100"]) == warps / 64


def test_arithmetic_that_the_gpu_lacks_has_no_time_and_a_line_says_so(
    profiled: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(profile.roofline, "arithmetic", lambda spellings: {"tensor fp8": 1})
    data = profiled(PRODUCT, "--gpu", "A100")
    assert data["kernels"][0]["predicted"] is None
    assert "no time for product: the A100 has no tensor fp8" in capsys.readouterr().out


def test_the_model_is_stated_and_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "--help"])
    assert profile.MODEL in " ".join(capsys.readouterr().out.split())
    assert "never compared with hardware" in profile.MODEL


# Registers -------------------------------------------------------------------------------------------------

REPORT = """#!/bin/sh
if grep -q 'version 9.5' kernel.ptx; then
    echo "line 1; fatal : Unsupported .version 9.5; current version is '9.0'" >&2
    exit 255
fi
grep -q 'target sm_80' kernel.ptx || exit 1
cat >&2 <<END
ptxas info    : Compiling entry function '_Z1kv' for 'sm_80'
ptxas info    : Function properties for _Z1kv
    24 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers
ptxas info    : Compiling entry function 'other' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers
END
"""


def test_registers_are_what_the_assembler_says_of_older_ptx_for_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "ptxas"
    stub.write_text(REPORT)
    stub.chmod(0o755)
    monkeypatch.setattr(assembler, "_ptxas", lambda: str(stub))
    found = assembler.resources(".version 9.5\n.target sm_90\n// of a test", 80)
    assert found == {"_Z1kv": Resources(40, 24, 8), "other": Resources(8, 0, 0)}
    with pytest.raises(AssemblerUnavailable, match="ptxas does not take the PTX for sm_89: no word"):
        assembler.resources(".version 9.5\n.target sm_90\n// of a test", 89)


def test_without_an_assembler_a_line_says_so_and_nothing_is_made_up(
    profiled: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(assembler, "wheel_folders", lambda *names: [])
    monkeypatch.setenv("PATH", "")
    data = profiled(f"{PRODUCT}// not assembled before\n__global__ void other() {{}}\n")
    (kernel,) = data["kernels"]
    assert (kernel["resources"], kernel["occupancy"]) == (None, None)
    line = "no registers and no occupancy: there is no ptxas: pip install nvidia-cuda-nvcc"
    assert data["remarks"] == [line]
    assert line in capsys.readouterr().out.splitlines()


# Pictures, and bad input -----------------------------------------------------------------------------------


def test_the_roofline_is_a_picture_with_the_same_bytes_every_time(
    profiled: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    pictures = [tmp_path / f"{number}.svg" for number in range(2)]
    for picture in pictures:
        profiled(PRODUCT, "--picture", str(picture))
    assert ElementTree.parse(pictures[0]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent.py", "absent.py: No such file"),
        ("absent.cu", "there is no file absent.cu"),
        ("--gpu V100 gpu", "there is no 'V100'; known are H100, H200, A100, L4, RTX4090"),
        ("gpu --operation relus", "there is no operation 'relus'; did you mean relu"),
        ("gpu --shape x=3", "--shape is of the arrays of one operation"),
        ("gpu --operation relu --shape x=a", "--shape, shapes, x: got 'a', expected a list of whole numbers"),
        ("gpu --operation gemm --shape a=3x4 --shape b=5x6", "GEMM-C2: a has 4 columns, b has 5 rows"),
        ("numpy --operation relu", "numpy launched no kernel on the simulated device"),
        ("gpu --json /nowhere/p.json", "--json: there is no folder /nowhere"),
        ("gpu --picture p.pdf", "--picture: got p.pdf, expected a name that ends in .svg or .png"),
    ],
)
def test_bad_input_is_said_in_a_line(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", *arguments.split()]) == USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("gaugeblock: ")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_program_that_launches_nothing_has_nothing_to_profile(tmp_path: Path) -> None:
    program = tmp_path / "saxpy.py"
    program.write_text(SAXPY)
    done = simulated(program, "0", "0")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert re.fullmatch(r"gaugeblock: saxpy\.py launched no kernel; .*\n", done.stderr)


def test_a_kernel_that_faults_is_named_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kernels.cu").write_text(PRODUCT.replace("k < K", "k <= K"))
    command = ["profile", str(tmp_path / "kernels.cu"), "--shape", "a=16x16", "--shape", "b=16x16"]
    assert main([*command, "--operation", "gemm"]) == USAGE
    said = capsys.readouterr().err
    assert re.match(
        r"gaugeblock: gemm of .* in float32: Fault: kernels\.cu:6: out of bounds in kernel product", said
    )
    assert said.count("\n") == 1
