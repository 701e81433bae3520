"""Build a driver that has every function of ``cuda.h``: those of ``stub_cuda.c``, the others refuse to work.

    python tests/gpu/stub_cuda.py FOLDER [siteconf.py]

puts ``libcuda.so.1`` there, and ``libcuda.so`` to link with, and writes how PyCUDA is built with it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("stub_cuda.c")
REFUSAL = "int {}(void) {{ return 801; }}"


def headers() -> Path:
    """Return the folder with CUDA's headers, from the wheels of NVIDIA."""
    import nvidia.cu13

    return Path(next(iter(nvidia.cu13.__path__))) / "include"


def build(folder: Path) -> Path:
    """Compile it."""
    names: set[str] = set()
    for header in ("cuda.h", "cudaProfiler.h"):
        path = headers() / header
        text = path.read_text() if path.exists() else ""
        names |= set(re.findall(r"CUDAAPI\s+(cu\w+)\s*\(", text))
        names |= set(re.findall(r"#define cu\w+ +(?:__CUDA_API_\w+\()?(cu\w+)", text))
    own = set(re.findall(r"^CUresult (cu\w+)\(", SOURCE.read_text(), re.MULTILINE))
    rest = folder / "refused.c"
    rest.write_text("\n".join(REFUSAL.format(name) for name in sorted(names - own)))
    library = folder / "libcuda.so.1"
    command = ["gcc", "-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", library, SOURCE, rest]
    subprocess.run(command, check=True)
    link = folder / "libcuda.so"
    link.unlink(missing_ok=True)
    os.symlink(library.name, link)
    return library


if __name__ == "__main__":
    library, *settings = build(Path(sys.argv[1])), *map(Path, sys.argv[2:])
    for path in settings:
        folders = f"CUDA_INC_DIR = [{str(headers())!r}]\nCUDADRV_LIB_DIR = [{str(library.parent)!r}]\n"
        path.write_text(f"{folders}CUDA_ENABLE_CURAND = False\nCXXFLAGS = ['-O0', '-g0']\n")
