"""Kernels of a CUDA source: compiled, with the types of their parameters in C++.

PTX keeps the size of a parameter, not what a pointer leads to. So the compiler is asked: behind the user's
text stand, for every kernel that is launched, a few lines that put the number of each parameter's type into a
variable, which is read off the PTX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gaugeblock.conformance.doors.host_code import HEADERS, without_host_code
from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.runtime.device import device
from gaugeblock.gpu.runtime.launcher import Kernel

__all__ = ["ELEMENTS", "Compiled", "NotCompiled", "Type", "compile_file", "headers_of", "kernels_in"]

ELEMENTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("float", "float2", "float3", "float4"), "float32"),
    **dict.fromkeys(("__half", "__half2"), "float16"),
    **dict.fromkeys(("__nv_bfloat16", "__nv_bfloat162"), "bfloat16"),
    **dict.fromkeys(("double", "double2"), "float64"),
    **dict.fromkeys(("long long", "unsigned long long", "long", "unsigned long"), "int64"),
}
"""What an array is made of, by the type that a kernel points to."""

_TYPES: Final = (
    *("bool", "char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int"),
    *("uint4", "int4", *ELEMENTS),
)
"""Types of parameters by their number; one more is any other."""

INTEGERS: Final[Mapping[str, tuple[int, int]]] = {
    "bool": (0, 1),
    **dict.fromkeys(("char", "signed char"), (-(1 << 7), (1 << 7) - 1)),
    "unsigned char": (0, (1 << 8) - 1),
    "short": (-(1 << 15), (1 << 15) - 1),
    "unsigned short": (0, (1 << 16) - 1),
    "int": (-(1 << 31), (1 << 31) - 1),
    "unsigned int": (0, (1 << 32) - 1),
    **dict.fromkeys(("long", "long long"), (-(1 << 63), (1 << 63) - 1)),
    **dict.fromkeys(("unsigned long", "unsigned long long"), (0, (1 << 64) - 1)),
}
"""The range of the whole numbers."""

REALS: Final = ("float", "double", "__half", "__nv_bfloat16")

_POINTER: Final = 1000

_QUESTION: Final = """
#line 1 "gaugeblock"
struct __half; struct __half2; struct __nv_bfloat16; struct __nv_bfloat162;
namespace gaugeblock_signature {
template <class T> struct Bare { typedef T type; };
template <class T> struct Bare<const T> { typedef T type; };
template <class T> struct Bare<volatile T> { typedef T type; };
template <class T> struct Bare<const volatile T> { typedef T type; };
template <class T> struct Number { enum { value = OTHERS }; };
NUMBERS
template <class T> struct Type { enum { value = Number<typename Bare<T>::type>::value }; };
template <class T> struct Type<T*> { enum { value = POINTER + Number<typename Bare<T>::type>::value }; };
template <class... A> struct List { unsigned types[sizeof...(A) + 1]; };
template <class... A> constexpr __device__ List<A...> list(void (*)(A...)) {
    return {{Type<A>::value..., END}};
}
}
"""

_END: Final = 9999

PRELUDE: Final = """
#ifndef GAUGEBLOCK_PRELUDE
#define GAUGEBLOCK_PRELUDE
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.192092896e-07f
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define M_PI 3.14159265358979323846
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef signed long long int64_t;
typedef unsigned long long uint64_t;
#ifndef NULL
#define NULL nullptr
#endif
#endif
"""
"""What sources use and the compiler for kernels does not know by itself."""


class NotCompiled(Exception):
    """A source does not compile; one line, with the user's file and line.

    Attributes
    ----------
    question : int or None
        The number of the kernel that is not there, if that is the reason.
    """

    def __init__(self, message: str, question: int | None = None) -> None:
        super().__init__(message)
        self.question = question


@dataclass(frozen=True)
class Type:
    """The type of a parameter: `name` in C++, behind a pointer or not; an empty name is an unknown type."""

    name: str
    pointer: bool

    def __str__(self) -> str:
        return (self.name or "struct") + "*" * self.pointer


@dataclass(frozen=True)
class Compiled:
    """A kernel, and what it takes; `types` is None where only sizes are known, as in PTX."""

    kernel: Kernel
    types: tuple[Type, ...] | None


def kernels_in(source: str) -> tuple[str, ...]:
    """Return the names of what looks like a kernel in a source."""
    bare = re.sub(
        r"__launch_bounds__\s*\([^)]*\)", "", re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)
    )
    return tuple(dict.fromkeys(re.findall(r"__global__[^;{}()]*?(\w+)\s*\(", bare)))


def headers_of(path: Path, text: str) -> dict[str, str]:
    """Return the headers that a source includes from its own folder, and in place of the host's nothing."""
    found: dict[str, str] = {}
    waiting = [(path.parent, text)]
    while waiting:
        folder, body = waiting.pop()
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', body, re.MULTILINE):
            file = next((root / name for root in (folder, path.parent) if (root / name).is_file()), None)
            if file is not None and name not in found:
                found[name] = file.read_text(encoding="utf-8", errors="replace")
                waiting.append((file.parent, found[name]))
    unneeded = (each for body in (text, *found.values()) for each in HEADERS.findall(body))
    formats = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n"  # which those of libraries include
    return {name: formats if name.startswith(("cublas", "cudnn")) else "" for name in unneeded} | found


def compile_file(path: Path, text: str, instances: Sequence[str]) -> dict[str, Compiled]:
    """Compile a source for the device that is there.

    Parameters
    ----------
    path, text : Path, str
        The file and what is in it.
    instances : sequence of str
        Kernels as the language names them, such as ``gemm<float, 16>``.

    Raises
    ------
    NotCompiled
        The compiler refuses it.
    CompilerUnavailable
        There is no compiler.
    """
    headers = headers_of(path, text)
    everything = {"": text, **headers}

    def kernels_of(name: str) -> str:
        others = (each for other, each in everything.items() if other != name)
        return without_host_code(everything[name], "\n".join((*others, *instances)))

    target, architecture = device().target()
    first: NotCompiled | None = None
    for sources in ({name: kernels_of(name) for name in everything}, everything):
        whole = sources[""] + _questions(instances)
        files = {name: sources[name] for name in headers} | {"gaugeblock_prelude.h": PRELUDE}
        try:
            ptx, names = _compiled(path, whole, instances, files, "ptx", architecture)
            binary = ptx
            if target != "ptx":
                binary, _ = _compiled(path, whole, instances, files, target, architecture)
        except NotCompiled as error:
            first = first or error  # with all that is for the host, there are more
            continue
        return {
            instance: Compiled(Kernel(binary, names[instance], ptx=ptx), _answer(ptx, number))
            for number, instance in enumerate(instances)
        }
    assert first is not None
    raise first


def _compiled(
    path: Path,
    text: str,
    instances: Sequence[str],
    headers: Mapping[str, str],
    target: compiler.Target,
    architecture: int,
) -> tuple[bytes, dict[str, str]]:
    """Compile a source; what the compiler says against it becomes one line."""
    try:
        return compiler.compile_instances(
            text,
            str(path),
            instances,
            headers=headers,
            options=["-default-device", "--pre-include=gaugeblock_prelude.h"],
            target=target,
            arch=architecture,
        )
    except compiler.CompileError as error:
        raise _in_one_line(str(error), path) from error


def _questions(instances: Iterable[str]) -> str:
    """Return the lines that ask for the types of the parameters."""
    numbers = (
        f"template <> struct Number<{name}> {{ enum {{ value = {n} }}; }};" for n, name in enumerate(_TYPES)
    )
    head = _QUESTION.replace("NUMBERS", " ".join(numbers)).replace("OTHERS", str(len(_TYPES)))
    head = head.replace("POINTER", str(_POINTER)).replace("END", str(_END))
    asked = (
        f'#line {number} "gaugeblock kernel"\n'
        f'extern "C" {{ __device__ auto gaugeblock_signature_{number} = '
        f"gaugeblock_signature::list(&{instance}); }}\n"
        for number, instance in enumerate(instances, 1)
    )
    return "\n" + head.lstrip("\n") + "".join(asked)


def _answer(ptx: bytes, number: int) -> tuple[Type, ...]:
    """Read the types of a kernel's parameters."""
    found = re.search(rf"gaugeblock_signature_{number + 1}(?:\[\d+\])? = \{{([^}}]*)\}}", ptx.decode())
    raw = bytes(int(word) for word in found[1].split(",")) if found else b""
    numbers = memoryview(raw + bytes(-len(raw) % 4)).cast("I").tolist()
    types = (*_TYPES, "")
    return tuple(Type(types[each % _POINTER], each >= _POINTER) for each in numbers[: numbers.index(_END)])


def _in_one_line(log: str, path: Path) -> NotCompiled:
    """Return a compiler's log as one line: the first error, and how many follow."""
    errors = re.findall(r"(?m)^(.+)\((\d+)\): (?:catastrophic )?error: (.+)$", log)
    if not errors:
        return NotCompiled(f"{path.name}: {' '.join(log.split())[:400]}")
    place, line, words = errors[0]
    if place == "gaugeblock kernel":
        return NotCompiled(words, int(line) - 1)
    more = f" (and {len(errors) - 1} more)" * (len(errors) > 1)
    within = "" if place == str(path) else f"{path.name}: in "
    return NotCompiled(f"{within}{Path(place).name}:{line}: {words}{hint(words)}{more}")


def hint(words: str) -> str:
    """Say what helps against an error that has one cause."""
    if re.search(r'open source file "(nv/|cuda/|cub/|thrust/|crt/|cooperative)', words):
        return " (pip install 'gaugeblock[cccl]')"
    if re.search(r'identifier "cuda[A-Z]', words) or "<<<" in words or "host function" in words:
        return " (put what runs on the host between #ifndef __CUDACC_RTC__ and #endif)"
    return ""
