"""Ask ``ptxas``, NVIDIA's assembler, for the registers that kernels take.

It comes in the wheel ``nvidia-cuda-nvcc`` and with CUDA toolkits. Nothing else here needs it: the driver of a
GPU has an assembler of its own, and the simulated device runs PTX.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gaugeblock.gpu.runtime.compiler import wheel_folders

__all__ = ["AssemblerUnavailable", "Resources", "resources"]


class AssemblerUnavailable(RuntimeError):
    """There is no ``ptxas``, or it does not take this PTX; the message says so in a line."""


@dataclass(frozen=True)
class Resources:
    """What a thread of a kernel takes.

    Attributes
    ----------
    registers : int
        32-bit registers.
    stack, spills : int
        Bytes of local memory, and of them those that are stored there for want of registers.
    """

    registers: int
    stack: int
    spills: int


@cache
def resources(ptx: str, capability: int) -> dict[str, Resources]:
    """Assemble a module for a compute capability (90 for 9.0) and return what its kernels take.

    PTX for a later one, or of a later version than ``ptxas``, is assembled as if it were not, which it
    refuses where an instruction needs that.

    Raises
    ------
    AssemblerUnavailable
        There is no ``ptxas``, or it does not take this PTX.
    """
    ptxas = _ptxas()
    target = re.search(r"^\s*\.target\s+sm_(\d+)", ptx, re.MULTILINE)
    if target and int(target[1]) > capability:
        ptx = f"{ptx[: target.start(1)]}{capability}{ptx[target.end(1) :]}"
    report = _assembled(ptxas, ptx, capability)
    if report.returncode and (known := re.search(r"Unsupported \.version.*'([\d.]+)'", report.stderr)):
        older = re.sub(r"^(\s*\.version\s+)[\d.]+", rf"\g<1>{known[1]}", ptx, count=1, flags=re.MULTILINE)
        report = _assembled(ptxas, older, capability)
    if report.returncode:
        said = (report.stderr or report.stdout).strip().splitlines()[:1] or ["no word"]
        raise AssemblerUnavailable(f"ptxas does not take the PTX for sm_{capability}: {said[0]}")
    found = {}
    for name, text in re.findall(
        r"Compiling entry function '(\S+)'(.*?)(?=Compiling entry function|\Z)", report.stderr, re.DOTALL
    ):
        numbers = [
            re.search(form, text)
            for form in (r"Used (\d+) reg", r"(\d+) bytes stack", r"(\d+) bytes spill s")
        ]
        found[name] = Resources(*(0 if number is None else int(number[1]) for number in numbers))
    return found


def _assembled(ptxas: str, ptx: str, capability: int) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.ptx")
        file.write_text(ptx, encoding="utf-8")
        command = [ptxas, "-v", f"-arch=sm_{capability}", file.name, "-o", "kernel.cubin"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _ptxas() -> str:
    """Return where the assembler is: in a wheel, the newest first, or on the path."""
    for folder in wheel_folders("cu14", "cu13", "cuda_nvcc"):
        if (found := shutil.which("ptxas", path=str(folder / "bin"))) is not None:
            return found
    if (found := shutil.which("ptxas")) is not None:
        return found
    raise AssemblerUnavailable("there is no ptxas: pip install nvidia-cuda-nvcc")
