"""Programs of PyCUDA run unchanged where there is no GPU, and backends that import it are judged."""

import copy
import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import USAGE
from gaugeblock.conformance.doors import pycuda as door
from gaugeblock.conformance.doors import pycuda_compiler, pycuda_driver
from gaugeblock.gpu.runtime import cuda_driver
from gaugeblock.gpu.simulator import driver

KERNELS = Path(__file__).parent / "kernels"


def needs_pycuda() -> None:
    """Skip a test where not even the Python layer of PyCUDA is there."""
    for package in ("pycuda", "pytools", "platformdirs", "mako"):
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed")


_COMMAND = """
import sys
from gaugeblock.conformance.simulating import run
sys.exit(run(sys.argv[1], sys.argv[3:], sys.argv[2]))
"""


def simulate(program: str, *arguments: str, order: str = "lockstep") -> subprocess.CompletedProcess[str]:
    """Run a program as the command does."""
    command = [sys.executable, "-c", _COMMAND, str(KERNELS / program), order, *arguments]
    environment = {**os.environ, "GAUGEBLOCK_DEVICE": ""}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


# Programs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["lockstep", "lanes"])
@pytest.mark.one_of(2)
def test_a_program_runs_as_it_is_with_its_arguments_and_its_exit_status(order: str) -> None:
    needs_pycuda()
    done = simulate("pycuda_program.py", "7", "--help", order=order)
    assert done.stdout.endswith("right: 7 --help\n"), done.stderr
    assert done.returncode == 7


def test_what_goes_wrong_is_said_in_a_line_and_a_fault_names_kernel_line_and_variable() -> None:
    needs_pycuda()
    done = simulate("pycuda_faults.py")
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    expected = {
        "kernel": "LogicError: cuModuleGetFunction failed: no kernel 'scales': did you mean scale?",
        "mangled": "there are _Z1kv (k is a C++ name",
        "number": "scale takes 4 arguments (out, x, factor, n), got 3",
        "size": "scale: argument 3 is a real number of 64 bits, factor is a real number of 32 bits",
        "kind": "scale: argument 3 is a whole number of 32 bits, factor is a real number of 32 bits",
        "block": "LaunchError: scale: invalid configuration: block.x is 2048, allowed are 1 to 1024",
        "grid": "grid.y is 70000, allowed are 1 to 65535",
        "fraction": "TypeError: scale: grid.x is 0.78125, expected a whole number",
        "shared": "50000 bytes of shared memory, allowed are 49152",
        "source": 'CompileError: kernel.cu:2: identifier "y" is undefined',
        "global": "no variable 'factors' in the module",
        "texture": "get_texref('image'): the simulated device has no textures",
        "array": "the simulated device has no textures",
        "fetch": "addresses of textures, surfaces and tensors are not supported",
        "nested": "the simulator has no dynamic parallelism",
        "cubin": "machine code of a GPU",
        "freed": "freed allocation of 4 bytes",
        "copy": "copy of 400 bytes",
        "file": "RuntimeError: cuModuleLoad failed",
    }
    assert said.keys() == expected.keys()
    for name, words in expected.items():
        assert words in said[name]
    trace = done.stderr.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert "simulating.py" not in done.stderr
    line = (KERNELS / "pycuda_faults.py").read_text().splitlines().index("    out[i] = factor * x[i];") + 1
    fault = (
        rf"Fault: pycuda_faults\.py:{line}: out of bounds in kernel scale by thread .* past the end of x \("
    )
    assert re.search(fault, trace[-1]), trace[-1]
    assert done.returncode == 1


def test_there_has_to_be_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "absent.py"]) == USAGE
    assert capsys.readouterr().err == "gaugeblock: absent.py: No such file or directory\n"


def test_a_pycuda_that_is_missing_or_old_is_named_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program.py"
    for owner, name in ((sys, "argv"), (sys, "path"), (pycuda_driver, "forgiving")):
        monkeypatch.setattr(owner, name, copy.copy(getattr(owner, name)))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    monkeypatch.setitem(sys.modules, "pycuda", None)
    old = SimpleNamespace(VERSION=(2019, 1), VERSION_TEXT="2019.1")
    for text, message in (
        ("import pycuda", "PyCUDA is not installed; of it the Python files are enough: pip download"),
        ("door.stand_in('pycuda._driver')", "PyCUDA 2019.1 is too old: 2025.1.2 or newer is needed"),
    ):
        program.write_text(f"from gaugeblock.conformance.doors import pycuda as door\n{text}\n")
        assert main(["simulate", str(program)]) == USAGE
        said = capsys.readouterr().err
        assert said.startswith(f"gaugeblock: {program}: {message}")
        assert said.count("\n") == 1
        monkeypatch.setitem(sys.modules, "pycuda", old)


# Backends -------------------------------------------------------------------------------------------------


def verdict(backend: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return what is said of the backend's relu."""
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    effort = Effort("quick", 1, shrink=False)
    report = judge(str(backend), operations=("relu",), dtypes=("float32",), effort=effort, stop_at_first=True)
    return dict(report.as_data()["operations"]["relu"]["float32"])


def test_a_kernel_of_pycuda_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_pycuda()
    found = verdict(KERNELS / "pycuda_relu.py", monkeypatch)
    assert found["levels"]["numeric"] == "conforming", found


def test_a_kernel_of_pycuda_that_reads_too_far_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_pycuda()
    text = (KERNELS / "pycuda_relu.py").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong_pycuda.py"
    wrong.write_text(text.replace("if (i < n)", "if (i <= n)"), encoding="utf-8")
    found = verdict(wrong, monkeypatch)
    messages = [each["failure"]["message"] for each in found["clauses"].values() if each["failure"]]
    assert re.search(r"wrong_pycuda\.py:\d+: out of bounds in kernel relu", messages[0]), messages


# The parts ------------------------------------------------------------------------------------------------


def test_a_gpu_is_left_alone_and_its_absence_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAUGEBLOCK_DEVICE", raising=False)
    monkeypatch.setattr(cuda_driver, "init", lambda: None)
    assert not door.simulates()
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    assert door.simulates()

    def none() -> None:
        raise cuda_driver.NoDriver("there is no CUDA driver")

    monkeypatch.setattr(cuda_driver, "init", none)
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "cuda")
    with pytest.raises(ImportError, match="GAUGEBLOCK_DEVICE=cuda, but there is no CUDA driver"):
        door.simulates()


def test_arguments_are_packed_as_c_does_with_complex_numbers_and_any_bytes() -> None:
    packed = pycuda_driver.pack("iFP3sD", 1, 2 + 3j, 4, np.bytes_(b"abc"), 5j)
    assert packed == struct.pack("@iffP3sdd", 1, 2, 3, 4, b"abc", 0, 5)
    assert [place[1:] for place in packed.places] == [(0, 4), (4, 12), (16, 24), (24, 27), (32, 48)]
    assert pycuda_driver.calcsize("bF2d") == struct.calcsize("@bffdd")
    with pytest.raises(struct.error, match="2 arguments, 1 were prepared"):
        pycuda_driver.pack("i", 1, 2)


def test_options_of_nvcc_are_read_and_old_architectures_become_the_oldest_there_is() -> None:
    given = [
        "-arch",
        "sm_80",
        "-O3",
        "-Xptxas",
        "-v",
        "-DN=4",
        "-I",
        "/a",
        "-I/b",
        "--use_fast_math",
        "-ccbin=gcc",
    ]
    read = pycuda_compiler.Options(given)
    assert (read.arch, read.folders) == (80, [Path("/a"), Path("/b")])
    assert read.passed == ["-DN=4", "--use_fast_math", "-ftz=true", "-prec-div=false", "-prec-sqrt=false"]
    with pytest.warns(UserWarning, match="knows no sm_20"):
        assert pycuda_compiler.Options(["-arch=sm_20"]).arch >= 50


def test_headers_of_a_folder_are_read_anew_when_they_change(tmp_path: Path) -> None:
    source = '#include <stdio.h>\n#include "value.h"\nextern "C" __global__ void k(int *x) { *x = VALUE; }'
    found = []
    for value in ("17", "18"):
        (tmp_path / "value.h").write_text(f"#define VALUE {value}\n")
        found.append(pycuda_compiler.compile_plain(source, [f"-I{tmp_path}"]))
    assert b"17" in found[0]
    assert b"18" in found[1]


def test_what_pycuda_needs_of_its_driver_is_there() -> None:
    shown = vars(pycuda_driver.driver_module())
    assert {"Context", "Device", "Event", "Stream", "Function", "Memcpy3D", "RuntimeError"} <= shown.keys()
    assert str(shown["device_attribute"].MAX_THREADS_PER_BLOCK) == "MAX_THREADS_PER_BLOCK"
    assert all(number == driver.device_attribute[name] for name, number in _shared(shown["device_attribute"]))
    assert not shown.keys() & {"lending", "device_memory"}


def _shared(enumeration: type) -> list[tuple[str, int]]:
    ours = driver.device_attribute.__members__
    return [(name, value) for name, value in enumeration.__members__.items() if name in ours]
