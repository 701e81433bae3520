"""What the assembler makes of the kernels that ``auto`` chooses: machine code, read without a GPU.

``python tests/gpu/sass.py`` finds the variants anew, compiles those of kernels that have changed for the
compute capabilities of `TARGETS`, and writes what it reads to ``sass.json``, with NVRTC's version.
"""

import dataclasses
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gaugeblock.conformance.problems import layers
from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.spec.operations import OPERATIONS

sys.path.insert(0, str(Path(__file__).parent))
from dispatches import devices_as, dispatches

RECORDED = Path(__file__).with_name("sass.json")

TARGETS = {80: 108, 90: 132}
"""Compute capability, and the multiprocessors of a device that has it: A100 and H200."""

Variant = tuple[str, str, tuple[tuple[str, object], ...]]
"""Source, kernel and macros."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a variant takes and does.

    Attributes
    ----------
    registers : int
        Of a thread.
    stack : int
        Bytes of local memory of a thread.
    local : int
        Instructions that read or write local memory.
    loop, ffma, hmma : int
        Instructions of the main loop, which is the innermost one with the most of the other two: fused
        multiplications and additions, and multiplications on tensor cores.
    per_vector : float
        Instructions for each 16 bytes written, from the first read of 16 bytes to the last such write.
    """

    registers: int
    stack: int
    local: int
    loop: int
    ffma: int
    hmma: int
    per_vector: float


# Reading machine code ------------------------------------------------------------------------------------


def figures(cubin: bytes) -> dict[str, Figures]:
    """Return what each kernel of a cubin takes and does."""
    registers, stacks = _resources(cubin)
    return {
        name: Figures(registers[name], stacks[name], *_counts(instructions))
        for name, instructions in _disassembled(cubin)
    }


def _counts(instructions: list[dict[str, str]]) -> tuple[int, int, int, int, float]:
    names = [each["opcode"] for each in instructions]
    kinds = [name.partition(".")[0] for name in names]
    loops = []
    for at, each in enumerate(instructions):
        target = re.search(r"0x([0-9a-f]+)$", each.get("operands", ""))
        if kinds[at] == "BRA" and target and (begin := int(target[1], 16) // 16) < at:
            loops.append((begin, at + 1))
    innermost = [
        (a, b) for a, b in loops if not any((a, b) != (c, d) and a <= c and d <= b for c, d in loops)
    ]
    mathematics = [Counter(kinds[a:b]) | Counter(loop=b - a) for a, b in innermost]
    main = max(
        mathematics, key=lambda count: (count["FFMA"] + count["HMMA"], -count["loop"]), default=Counter()
    )
    main = main if main["FFMA"] + main["HMMA"] >= 16 else Counter()
    reads = [at for at, name in enumerate(names) if name.startswith("LDG") and name.endswith("128")]
    writes = [at for at, name in enumerate(names) if name.startswith("STG") and name.endswith("128")]
    ordered = bool(reads) and bool(writes) and reads[0] < writes[-1]
    per_vector = round((writes[-1] + 1 - reads[0]) / len(writes), 1) if ordered else 0.0
    local = kinds.count("LDL") + kinds.count("STL")
    return local, main["loop"], main["FFMA"], main["HMMA"], per_vector


def _disassembled(cubin: bytes) -> Iterator[tuple[str, list[dict[str, str]]]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        command = [disassembler() or "nvdisasm", "--emit-json", str(file)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for function in json.loads(text)[1]:
        yield function["function-name"], function["sass-instructions"]


@cache
def disassembler() -> str | None:
    """Return where ``nvdisasm`` is: in a wheel, the newest first, or on the path."""
    wheels = [
        shutil.which("nvdisasm", path=str(folder / "bin"))
        for folder in compiler.wheel_folders("cu14", "cu13")
    ]
    return next(filter(None, [*wheels, shutil.which("nvdisasm")]), None)


REGISTERS, FRAME = 0x2F, 0x11
"""Attributes of ``.nv.info``: a symbol, and its registers or the bytes of its stack."""


def _resources(cubin: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Return registers and stack by kernel, from the sections of the ELF file."""
    (table,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names_at = struct.unpack_from("<3H", cubin, 58)
    headers = [struct.unpack_from("<2I4Q2I2Q", cubin, table + i * size) for i in range(count)]

    def text(section: int, at: int) -> str:
        begin = headers[section][4] + at
        return cubin[begin : cubin.index(b"\0", begin)].decode()

    found: dict[str, Any] = {text(names_at, header[0]): header for header in headers}
    symbols = found[".symtab"]
    held: dict[int, dict[str, int]] = {REGISTERS: {}, FRAME: {}}
    at, end = found[".nv.info"][4], found[".nv.info"][4] + found[".nv.info"][5]
    while at < end:
        form, attribute, length = struct.unpack_from("<2BH", cubin, at)
        if attribute in held:
            symbol, value = struct.unpack_from("<2I", cubin, at + 4)
            (name,) = struct.unpack_from("<I", cubin, symbols[4] + 24 * symbol)
            held[attribute][text(symbols[6], name)] = value
        at += 4 + (length if form == 4 else 0)  # other forms hold their value in place of a length
    return held[REGISTERS], held[FRAME]


# Which variants there are --------------------------------------------------------------------------------


def variants(target: int, operation: str) -> set[Variant]:
    """Return what ``auto`` launches on a GPU for the layers of an operation, in all formats."""
    gpu = dataclasses.replace(
        devices.device(),
        simulated=False,
        compute_capability=divmod(target, 10),
        multiprocessors=TARGETS[target],
        most_blocks=(1 << 31) - 1,
    )
    with devices_as(gpu):
        return {
            each[:3]  # type: ignore[misc]
            for size in (layers.TRUE, *layers.SIZES)
            for call in layers.calls_of(operation, size)
            for dtype in OPERATIONS[operation].dtypes
            for each in dispatches(call, dtype)
        }


def name_of(variant: Variant) -> str:
    """Return a variant as ``sass.json`` names it."""
    source, kernel, defines = variant
    return " ".join((source, kernel, *(f"{macro}={value}" for macro, value in sorted(defines))))


def digest(source: str) -> str:
    """Return a digest of a kernel's source and of the headers that it includes, comments left out."""
    headers = compiler._kernel_headers()
    text = compiler._kernel_text(source)
    used = sorted(compiler._included(text, headers))
    code = "".join(re.sub(r"//.*|\s+", "", part) for part in (text, *(headers[name] for name in used)))
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def measured(name: str, target: int) -> Figures:
    """Compile a variant and return its figures."""
    source, kernel, *defines = name.split(" ")
    macros = dict(define.split("=", 1) for define in defines)
    return figures(compiler.compile(source, defines=macros, target="cubin", arch=target))[kernel]


def recorded() -> dict[str, Any]:
    """Return what ``sass.json`` holds: version, digests of sources, figures by target and variant."""
    held: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return held


def version() -> str:
    """Return NVRTC's version as ``sass.json`` has it."""
    return ".".join(map(str, compiler.nvrtc_version()))


def main() -> None:
    """Find, compile what has changed, write."""
    old = recorded() if RECORDED.exists() else {"nvrtc": None, "sources": {}, "kernels": {}}
    same = {source for source, known in old["sources"].items() if digest(source) == known}
    same = same if old["nvrtc"] == version() else set()
    kernels: dict[str, dict[str, list[Any]]] = {}
    for target in TARGETS:
        wanted = {name_of(each) for operation in OPERATIONS for each in variants(target, operation)}
        for name in sorted(wanted):
            known = old["kernels"].get(name, {}).get(str(target)) if name.split(" ")[0] in same else None
            kernels.setdefault(name, {})[str(target)] = known or list(
                dataclasses.astuple(measured(name, target))
            )
    sources = {source: digest(source) for source in sorted({name.split(" ")[0] for name in kernels})}
    lines = [f"    {json.dumps(name)}: {json.dumps(kernels[name])}" for name in sorted(kernels)]
    RECORDED.write_text(
        f'{{\n  "nvrtc": "{version()}",\n'
        f'  "figures": {json.dumps([field.name for field in dataclasses.fields(Figures)])},\n'
        f'  "sources": {json.dumps(sources, indent=4)[:-1]}  }},\n'
        '  "kernels": {\n' + ",\n".join(lines) + "\n  }\n}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
