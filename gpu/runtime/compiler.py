"""Turn a ``.cu`` file into PTX or machine code with NVRTC, and remember the result.

NVRTC is NVIDIA's compiler as a library. It needs no GPU, no driver and no host compiler, so the same text
becomes PTX for the simulated device and a cubin for a real one. It is reached through :mod:`ctypes`: from the
wheel ``nvidia-cuda-nvrtc`` if that is installed, else from a CUDA toolkit.

Every binary carries line information, so that a fault on the simulated device and a sample in a profiler name
a line of the ``.cu`` file. No fast-math switch is ever passed: the accuracy clauses of the spec assume
IEEE division, IEEE square roots and gradual underflow.

Compiled binaries are kept in ``$XDG_CACHE_HOME/gaugeblock`` (``~/.cache/gaugeblock``) under the hash of
everything they depend on. A cache that is corrupt or cannot be written costs time, never a result.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.resources
import importlib.util
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Literal

__all__ = [
    "CompileError",
    "CompilerUnavailable",
    "compile",
    "compile_instances",
    "compile_source",
    "kernel_path",
    "nvrtc_version",
    "plain_name",
    "wheel_folders",
]

Target = Literal["ptx", "cubin"]

OPTIONS: Final = (
    "--std=c++17",
    "-lineinfo",
    "-ftz=false",
    "-prec-div=true",
    "-prec-sqrt=true",
    "-fmad=true",
)
"""What every compilation is told. The arithmetic switches are NVRTC's defaults, written out because the
error bounds depend on them."""

DEFAULT_ARCHITECTURE: Final = 80
"""Compute capability 8.0: the oldest with ``cp.async`` and bfloat16 tensor-core instructions."""


class CompilerUnavailable(RuntimeError):
    """There is no NVRTC on this machine."""


class CompileError(RuntimeError):
    """NVRTC refused the source; the message is its log."""


def compile(
    source_name: str,
    *,
    defines: Mapping[str, object] | None = None,
    options: Iterable[str] = (),
    target: Target = "ptx",
    arch: int = DEFAULT_ARCHITECTURE,
) -> bytes:
    """Compile one of the package's kernels.

    Parameters
    ----------
    source_name : str
        A file of ``gpu/kernels``, such as ``"gemm/tiled.cu"``.
    defines : mapping, optional
        Preprocessor macros: name to value.
    options : iterable of str, optional
        More options of NVRTC.
    target : {"ptx", "cubin"}
        The text for the simulated device (and for GPUs newer than this NVRTC), or machine code.
    arch : int
        Compute capability without the dot, such as 90.

    Returns
    -------
    bytes
        The PTX text or the cubin.

    Raises
    ------
    CompilerUnavailable
        No NVRTC is installed.
    CompileError
        The source does not compile; the message holds NVRTC's log.
    """
    return compile_source(
        _kernel_text(source_name),
        str(kernel_path(source_name)),
        headers=_kernel_headers(),
        defines=defines,
        options=options,
        target=target,
        arch=arch,
    )


def compile_source(
    text: str,
    name: str,
    *,
    headers: Mapping[str, str] | None = None,
    defines: Mapping[str, object] | None = None,
    options: Iterable[str] = (),
    target: Target = "ptx",
    arch: int = DEFAULT_ARCHITECTURE,
) -> bytes:
    """Compile any CUDA C++ text; see `compile_instances`, which this is without names."""
    return compile_instances(
        text, name, (), headers=headers, defines=defines, options=options, target=target, arch=arch
    )[0]


def compile_instances(
    text: str,
    name: str,
    instances: Sequence[str],
    *,
    headers: Mapping[str, str] | None = None,
    defines: Mapping[str, object] | None = None,
    options: Iterable[str] = (),
    target: Target = "ptx",
    arch: int = DEFAULT_ARCHITECTURE,
) -> tuple[bytes, dict[str, str]]:
    """Compile any CUDA C++ text, with instances of its templates.

    Parameters
    ----------
    text : str
        The source.
    name : str
        Its file name, which line information and error messages show.
    instances : sequence of str
        Kernels as the language names them, such as ``gemm<float, 16>``.
    headers : mapping, optional
        Name as written in ``#include "…"`` to text.
    defines, options, target, arch
        As in :func:`compile`.

    Returns
    -------
    binary : bytes
        The PTX text or the cubin.
    names : dict of str to str
        The name in it of each instance.
    """
    if target not in ("ptx", "cubin"):
        raise ValueError(f"target is {target!r}, expected 'ptx' or 'cubin'")
    macros = {} if defines is None else defines
    arguments = (
        *OPTIONS,
        f"--gpu-architecture={'compute' if target == 'ptx' else 'sm'}_{arch}",
        *(f"-D{macro}={value}" for macro, value in sorted(macros.items())),
        *options,
    )
    files = tuple(sorted((headers or {}).items()))
    key = _cache_key(text, name, files, (*arguments, *instances), target)
    entry = _load(key)
    if entry is None:
        entry = _nvrtc().compile(text, name, files, arguments, target, instances)
        _store(key, entry)
    names, _, binary = entry.partition(b"\n") if instances else (b"{}", b"", entry)
    return binary, json.loads(names)


def nvrtc_version() -> tuple[int, int]:
    """Return NVRTC's version as ``(major, minor)``; raise `CompilerUnavailable` if there is none."""
    return _nvrtc().version


def supported_architectures() -> tuple[int, ...]:
    """Return the compute capabilities that this NVRTC makes machine code for, ascending."""
    return _nvrtc().architectures()


def kernel_path(source_name: str) -> Path:
    """Return where a kernel's source lies on this machine (in a zip, where it would lie)."""
    return Path(str(_kernels() / source_name))


def plain_name(mangled: str) -> str:
    """Return a kernel's name as C++ has it, without types and the arguments of templates.

    >>> plain_name("_ZN4mine11relu_kernelIfEEvPKT_PS1_i"), plain_name("relu")
    ('mine::relu_kernel', 'relu')
    """
    rest, names = mangled.removeprefix("_Z").removeprefix("N"), []
    while mangled.startswith("_Z") and (length := re.match(r"\d+", rest)):
        end = length.end() + int(length[0])
        names.append(rest[length.end() : end])
        rest = rest[end:] if mangled.startswith("_ZN") else ""
    return "::".join(names) or mangled


# The package's sources -----------------------------------------------------------------------------------


def _kernels() -> Traversable:
    return importlib.resources.files("gaugeblock.gpu") / "kernels"


@functools.cache
def _kernel_text(source_name: str) -> str:
    return (_kernels() / source_name).read_text(encoding="utf-8")


@functools.cache
def _kernel_headers() -> dict[str, str]:
    return {
        f"{folder.name}/{file.name}": file.read_text(encoding="utf-8")
        for folder in _kernels().iterdir()
        for file in folder.iterdir()
        if file.name.endswith(".cuh")
    }


# The cache -----------------------------------------------------------------------------------------------
#
# An entry is the SHA-256 of the binary followed by the binary. The digest is checked at every read: a file
# that was cut short or damaged is a miss.

_memory: dict[str, bytes] = {}


def _cache_key(
    text: str, name: str, files: tuple[tuple[str, str], ...], arguments: tuple[str, ...], target: Target
) -> str:
    first = [argument.partition("=")[2] for argument in arguments if argument.startswith("--pre-include=")]
    included = _included("".join((*(f'#include "{header}"\n' for header in first), text)), dict(files))
    used = [(header, body) for header, body in files if header in included]
    parts = [text, name, used, arguments, target, _nvrtc().version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _included(text: str, files: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the headers that the text includes, directly or through another header."""
    found: set[str] = set()
    waiting = [text]
    while waiting:
        for header in re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', waiting.pop(), re.MULTILINE):
            if header in files and header not in found:
                found.add(header)
                waiting.append(files[header])
    return frozenset(found)


def cache_folder() -> Path:
    """Return the folder that compiled binaries are kept in."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path("~/.cache").expanduser()) / "gaugeblock" / "nvrtc"


def _load(key: str) -> bytes | None:
    if key in _memory:
        return _memory[key]
    try:
        entry = (cache_folder() / key).read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return None
    digest, binary = entry[:32], entry[32:]
    if hashlib.sha256(binary).digest() != digest:
        return None
    _memory[key] = binary
    return binary


def _store(key: str, binary: bytes) -> None:
    _memory[key] = binary
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(binary).digest() + binary)
            os.replace(temporary, folder / key)  # atomic: another process sees all of the entry or none
        except OSError:
            os.unlink(temporary)
    except (OSError, RuntimeError):
        return


# NVRTC ---------------------------------------------------------------------------------------------------


class _Nvrtc:
    """The functions of ``libnvrtc`` that we call."""

    def __init__(self, library: ctypes.CDLL, include: Path | None) -> None:
        self._library = library
        self._include = include
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "nvrtcVersion")
        self.version = (major.value, minor.value)

    def architectures(self) -> tuple[int, ...]:
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)), "nvrtcGetNumSupportedArchs")
        values = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(values), "nvrtcGetSupportedArchs")
        return tuple(sorted(values))

    def compile(
        self,
        text: str,
        name: str,
        files: tuple[tuple[str, str], ...],
        arguments: tuple[str, ...],
        target: Target,
        instances: Sequence[str],
    ) -> bytes:
        """Return the binary; behind a line with the names of the instances, if there are any."""
        # Of CUDA's C++ libraries the headers lie in a folder of their own.
        folders = () if self._include is None else (self._include, self._include / "cccl")
        arguments = (*arguments, *(f"-I{folder}" for folder in folders if folder.is_dir()))
        program = ctypes.c_void_p()
        self._check(
            self._library.nvrtcCreateProgram(
                ctypes.byref(program),
                text.encode(),
                name.encode(),
                len(files),
                _strings(body for _, body in files),
                _strings(header for header, _ in files),
            ),
            "nvrtcCreateProgram",
        )
        try:
            for instance in instances:
                self._check(self._library.nvrtcAddNameExpression(program, instance.encode()), instance)
            status = self._library.nvrtcCompileProgram(program, len(arguments), _strings(arguments))
            if status != 0:
                log = self._text(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
                raise CompileError(f"{name} does not compile ({self._error(status)}):\n{log}")
            names = {instance: self._lowered(program, instance) for instance in instances}
            head = json.dumps(names).encode() + b"\n" if instances else b""
            if target == "ptx":
                return head + self._text(program, "PTX").rstrip(b"\0")
            return head + self._text(program, "CUBIN")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _lowered(self, program: ctypes.c_void_p, instance: str) -> str:
        name = ctypes.c_char_p()
        self._check(
            self._library.nvrtcGetLoweredName(program, instance.encode(), ctypes.byref(name)), instance
        )
        return (name.value or b"").decode()

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(self._library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)), f"nvrtcGet{what}Size")
        buffer = ctypes.create_string_buffer(size.value)
        self._check(self._library[f"nvrtcGet{what}"](program, buffer), f"nvrtcGet{what}")
        return buffer.raw

    def _error(self, status: int) -> str:
        message: bytes = self._library.nvrtcGetErrorString(status)
        return message.decode()

    def _check(self, status: int, function: str) -> None:
        if status != 0:
            raise CompileError(f"{function} failed: {self._error(status)}")


def _strings(values: Iterable[str]) -> ctypes.Array[ctypes.c_char_p]:
    encoded = [value.encode() for value in values]
    return (ctypes.c_char_p * len(encoded))(*encoded)


@functools.cache
def _nvrtc() -> _Nvrtc:
    refused: list[str] = []
    for library, include in _installations():
        try:
            for builtins in sorted(library.parent.glob("libnvrtc-builtins.so*")):
                # NVRTC opens this by its bare name, which the loader finds only if it is loaded already.
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            return _Nvrtc(ctypes.CDLL(str(library)), include)
        except OSError as error:
            refused.append(str(error))
    message = "NVRTC, the compiler of the CUDA kernels, was not found: pip install nvidia-cuda-nvrtc"
    raise CompilerUnavailable(f"{message} ({'; '.join(refused)})" if refused else message)


def _installations() -> Iterator[tuple[Path, Path | None]]:
    """Yield ``libnvrtc`` and the folder of CUDA's headers: wheels first, the newest first, then toolkits."""
    wheels = wheel_folders("cu14", "cu13", "cuda_nvrtc")
    roots = [(folder, ("lib", "include")) for folder in wheels]
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    roots += [(Path(root), ("lib64", "include")) for root in toolkits if root]
    for root, (lib, include) in roots:
        headers = root / include
        for library in sorted((root / lib).glob("libnvrtc.so.[0-9]*"), reverse=True):
            yield library, headers if headers.is_dir() else None


def wheel_folders(*names: str) -> list[Path]:
    """Return which folders ``site-packages/nvidia/*`` of these names there are, in this order."""
    package = importlib.util.find_spec("nvidia")
    places = [] if package is None else list(package.submodule_search_locations or ())
    folders = [Path(place) / name for place in places for name in names]
    return [folder for folder in folders if folder.is_dir()]
