"""What ``pycuda.compiler`` asks of ``nvcc``, answered by NVRTC: PTX for the simulated device."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gaugeblock.conformance.doors.cupy_raw import placed
from gaugeblock.conformance.doors.host_code import HEADERS, without_host_code
from gaugeblock.conformance.doors.pycuda_driver import NAMES, OF_PYCUDA
from gaugeblock.conformance.doors.signatures import PRELUDE, hint
from gaugeblock.gpu.runtime import compiler

__all__ = ["compile_plain", "install"]

_WHOLE: Final = (
    *("bool", "char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int"),
    *("long", "unsigned long", "long long", "unsigned long long"),
)
_UNARY: Final = (
    *("sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin"),
    *("acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "tgamma", "lgamma"),
    *("fabs", "floor", "ceil", "trunc", "round", "rint"),
)
_BINARY: Final = ("pow", "fmod", "atan2", "hypot", "fmax", "fmin", "fdim", "remainder", "copysign")
_STD: Final = (*_UNARY, *_BINARY, "abs", "isnan", "isinf", "isfinite", "fma", "ldexp", "size_t")

_CMATH: Final = "\n".join(
    (
        "template <bool B, class T> struct gaugeblock_if {};",
        "template <class T> struct gaugeblock_if<true, T> { typedef T type; };",
        "template <class T> struct gaugeblock_number { enum { kind = 0 }; };",
        "template <> struct gaugeblock_number<float> { enum { kind = 2 }; };",
        "template <> struct gaugeblock_number<double> { enum { kind = 3 }; };",
        *(f"template <> struct gaugeblock_number<{each}> {{ enum {{ kind = 1 }}; }};" for each in _WHOLE),
        "template <class T> struct gaugeblock_one "
        ": gaugeblock_if<gaugeblock_number<T>::kind == 1, double> {};",
        "template <class T, class U> struct gaugeblock_two : gaugeblock_if<gaugeblock_number<T>::kind && "
        "gaugeblock_number<U>::kind && (gaugeblock_number<T>::kind != gaugeblock_number<U>::kind || "
        "gaugeblock_number<T>::kind == 1), double> {};",
        *(
            f"template <class T> __device__ typename gaugeblock_one<T>::type {each}(T x) "
            f"{{ return {each}((double)x); }}"
            for each in _UNARY
        ),
        *(
            f"template <class T, class U> __device__ typename gaugeblock_two<T, U>::type {each}(T x, U y) "
            f"{{ return {each}((double)x, (double)y); }}"
            for each in _BINARY
        ),
        "namespace std {",
        *(f"using ::{each};" for each in _STD),
        "template <class T> __device__ const T& max(const T& a, const T& b) { return a < b ? b : a; }",
        "template <class T> __device__ const T& min(const T& a, const T& b) { return b < a ? b : a; }",
        "template <class T> __device__ void swap(T& a, T& b) { T c = a; a = b; b = c; }",
        "}",
        "#define M_E 2.7182818284590452354",
        "#define M_PI_2 1.57079632679489661923",
        "#define M_PI_4 0.78539816339744830962",
        "#define M_SQRT2 1.41421356237309504880",
        "#define M_LN2 0.69314718055994530942",
        "#define HUGE_VAL __longlong_as_double(0x7ff0000000000000ULL)",
        "#define DBL_MAX 1.7976931348623157e+308",
        "#define DBL_MIN 2.2250738585072014e-308",
        "#define DBL_EPSILON 2.2204460492503131e-16",
        "#define CHAR_BIT 8",
        "#define UINT_MAX 4294967295U",
        "#define LLONG_MAX 9223372036854775807LL",
        "#define RAND_MAX 2147483647",
        "typedef unsigned char uchar;",
    )
)
"""What the host's headers give kernels that ``nvcc`` compiles, and NVRTC does not: functions of whole numbers
and of numbers of two types, names in ``std``, limits."""

_IGNORED: Final = re.compile(
    r"-O\d?|-g|-G|--device-debug|--debug|-m(?:32|64)|--machine=\d+|-l\w+|--keep|-k|-v|--verbose|-res-usage|--resource-usage"
    r"|--?(?:lineinfo|generate-line-info|expt-[\w-]+)"
    r"|--?(?:ccbin|compiler-bindir|Xcompiler|compiler-options|Xptxas|ptxas-options|Xlinker|code|gpu-code|gencode"
    r"|generate-code|optimize|threads|cudart|diag-suppress|keep-dir|L|library-path)=.*|-L.+"
)
"""Options for the host's compiler, the assembler or the linker; line information there always is."""

_IGNORED_WITH_VALUE: Final = re.compile(
    r"-l|-k|-L|--?(?:ccbin|compiler-bindir|Xcompiler|compiler-options|Xptxas|ptxas-options|Xlinker|code|gpu-code"
    r"|gencode|generate-code|optimize|threads|cudart|keep-dir|library|library-path|machine|O)"
)
_ARCHITECTURE: Final = re.compile(r"--?(?:arch|gpu-architecture)(?:=(.*))?")
_INCLUDE: Final = re.compile(r"(?:-I|--include-path=|-isystem=)(.+)")
_INCLUDE_WITH_VALUE: Final = ("-I", "--include-path", "-isystem", "--system-include")
_FAST: Final = ("--use_fast_math", "-ftz=true", "-prec-div=false", "-prec-sqrt=false")

_HOST: Final = (
    *(
        "assert.h",
        "float.h",
        "limits.h",
        "math.h",
        "stdbool.h",
        "stddef.h",
        "stdint.h",
        "stdio.h",
        "stdlib.h",
    ),
    *(
        "string.h",
        "time.h",
        "cassert",
        "cfloat",
        "climits",
        "cmath",
        "cstddef",
        "cstdint",
        "cstdio",
        "cstdlib",
    ),
    *("cstring", "iostream", "algorithm", "surface_functions.h", "texture_fetch_functions.h"),
)
"""Headers that NVRTC has no need of, and not all wheels have."""


class Options:
    """Options of ``nvcc``, in words of NVRTC."""

    def __init__(self, given: Iterable[str]) -> None:
        self.arch = compiler.DEFAULT_ARCHITECTURE
        self.folders: list[Path] = []
        self.passed: list[str] = []
        words = iter(given)
        for word in words:
            self._take(word, words)

    def _take(self, word: str, rest: Iterator[str]) -> None:
        if found := _ARCHITECTURE.fullmatch(word):
            self._architecture(found[1] or next(rest, ""))
        elif word in _INCLUDE_WITH_VALUE:
            self.folders.append(Path(next(rest, "")))
        elif found := _INCLUDE.fullmatch(word):
            self.folders.append(Path(found[1]))
        elif word in ("-use_fast_math", "--use_fast_math"):
            self.passed += _FAST
        elif _IGNORED_WITH_VALUE.fullmatch(word):
            next(rest, None)
        elif not _IGNORED.fullmatch(word):
            self.passed.append(word)

    def _architecture(self, name: str) -> None:
        number = re.search(r"\d+", name)
        if number is None:
            return
        known = compiler.supported_architectures()
        self.arch = max(int(number[0]), known[0])
        if self.arch != int(number[0]):
            warnings.warn(f"NVRTC {_version()} knows no {name}: compiled for {self.arch}", stacklevel=2)


def compile_plain(
    source: str,
    options: Sequence[str],
    keep: bool = False,
    nvcc: str = "nvcc",
    cache_dir: Any = None,
    target: str = "cubin",
) -> bytes:
    """Compile as ``pycuda.compiler.compile_plain`` does: to PTX, whatever the target."""
    read = Options(options)
    text, name = _located(source)
    headers = dict(_headers(text, read.folders)) | {"gaugeblock_prelude.h": f"{PRELUDE}\n{_CMATH}\n"}
    others = "\n".join(headers.values())
    first: compiler.CompileError | None = None
    for each in (text, without_host_code(text, others)):
        try:
            ptx = compiler.compile_source(
                each,
                name,
                headers=headers,
                options=[
                    "-default-device",
                    "--pre-include=gaugeblock_prelude.h",
                    *read.passed,
                    *(f"-I{folder}" for folder in read.folders),
                ],
                arch=read.arch,
            )
            break
        except compiler.CompileError as error:
            first = first or error  # what is for the host may be the reason
    else:
        raise _in_one_line(str(first), name) from None
    lines = [f"{NAMES} {' '.join(names)}" for names in _parameters(text)] + [OF_PYCUDA] * _of_pycuda()
    ptx += "".join(f"\n{line}" for line in lines).encode() + b"\n"
    if keep:
        _keep(source, ptx)
    return ptx


def _of_pycuda() -> bool:
    """Whether a source is PyCUDA's own reduction or scan."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in ("pycuda.reduction", "pycuda.scan"):
            return True
        frame = frame.f_back
    return False


_WRAPPED: Final = re.compile(r'extern "C" \{\n(.*)\n\}\n', re.DOTALL)


def _located(source: str) -> tuple[str, str]:
    """Return a source with the lines and the name of the Python file that it stands in, if it does."""
    wrapped = _WRAPPED.fullmatch(source)
    text, name = placed(wrapped[1] if wrapped else source)
    if not text.startswith("#line"):
        text = f'#line 1 "{name}"\n{text}'
    return (f'extern "C" {{\n{text}\n}}\n' if wrapped else text), name


def _headers(text: str, folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield the headers that a source includes from these folders, and nothing in place of the host's.

    They are handed over as texts, so that what was compiled with another text of them is compiled anew.
    """
    yield from ((name, "") for name in _HOST)
    waiting, seen = [(text, tuple(folders))], set[str]()
    while waiting:
        body, places = waiting.pop()
        yield from ((name, "") for name in HEADERS.findall(body))
        for name in re.findall(r'(?m)^\s*#\s*include\s*["<]([^">]+)[">]', body):
            file = next((folder / name for folder in places if (folder / name).is_file()), None)
            if file is not None and name not in seen:
                seen.add(name)
                found = file.read_text(encoding="utf-8", errors="replace")
                waiting.append((found, (file.parent, *folders)))
                yield name, found


def _parameters(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the name of each kernel in a source, and the names of its parameters."""
    bare = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    bare = re.sub(r"__launch_bounds__\s*\([^)]*\)", "", bare)
    for kernel, declared in re.findall(r"__global__[^;{}()]*?(\w+)\s*\(([^()]*)\)", bare):
        names = [re.findall(r"\w+", re.sub(r"\[[^]]*\]|=.*", "", each)) for each in declared.split(",")]
        if all(names):
            yield kernel, *(each[-1] for each in names)


def _in_one_line(log: str, name: str) -> Exception:
    """Return a compiler's log as PyCUDA's error, in one line: the first error, and how many follow."""
    from pycuda.driver import CompileError

    errors = re.findall(r"(?m)^(.+)\((\d+)\): (?:catastrophic )?error: (.+)$", log)
    place, line, words = errors[0] if errors else (name, "", " ".join(log.split())[:400])
    where = ":".join(filter(None, (os.path.basename(place), line)))
    words += " (pip install nvidia-curand)" * ("curand" in words) + hint(words)
    words += " (CUDA 12 has no texture references)" * ("texture is not a template" in words)
    if "device-side kernel launch" in words:
        words = "a kernel launches another: the simulated device has no dynamic parallelism"
    more = f" (and {len(errors) - 1} more)" * (len(errors) > 1)
    found: Exception = CompileError(f"{where}: {words}{more}", None)
    return found


def _keep(source: str, ptx: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "kernel.cu").write_text(source, encoding="utf-8")
    (folder / "kernel.ptx").write_bytes(ptx)
    print(f"*** compiler output in {folder}")


def _version() -> str:
    return ".".join(map(str, compiler.nvrtc_version()))


def install(module: Any) -> None:
    """Put it in ``nvcc``'s place."""
    module.compile_plain = compile_plain
    module.preprocess_source = lambda source, options, nvcc: source
    module.get_nvcc_version = lambda nvcc="nvcc": (
        f"NVRTC, in place of nvcc, release {_version()}, V{_version()}.0\n"
    )
    # Of CUDA's libraries only that of dynamic parallelism can be asked for, which kernels may not need.
    module.DynamicModule.add_stdlib = lambda self, libname: self
    os.environ.setdefault("PYCUDA_DISABLE_CACHE", "1")  # there is ours
