"""What of a ``.cu`` file is for the host alone: the compiler for kernels has no use for it, and no patience.

Files of kernels contain what allocates, launches, measures and prints. It is found by what only a host can
mean, and blanked, so that every other line keeps its number. Lines of the preprocessor stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["HEADERS", "without_host_code"]

HEADERS: Final = re.compile(
    r"""^\s*\#\s*include\s*[<"](
        [a-z_]+                                            # of C++, such as vector
        |(?:assert|ctype|errno|float|inttypes|limits|locale|math|memory|setjmp|signal|stdarg|stdbool|stddef|stdint
            |stdio|stdlib|string|strings|time|unistd|getopt|omp|sys/\w+|cublas\w*|cudnn\w*|curand|cusolver\w*
            |cusparse\w*|cuda_profiler_api|nccl|helper_\w+|device_launch_parameters)\.h
        |(?:torch|ATen|c10|pybind11|thrust|nvtx3|opencv2)/[\w./]+
    )[>"]""",
    re.VERBOSE | re.MULTILINE,
)
"""Includes of headers that kernels do not need, and the compiler does not have."""

_HOST: Final = re.compile(
    r"""<<\s*<|\b(?:cu(?:da|blas|dnn|rand)[A-Z]\w*|main\s*\(|FILE\b|fprintf|exit\s*\(|s?rand\s*\(|[mc]alloc\s*\()
    |\b(?:std|at|torch|c10|py|thrust|pybind11)::|\b(?:PYBIND11_MODULE|TORCH_LIBRARY\w*|using\s+namespace\s+std)\b""",
    re.VERBOSE,
)
_DEVICE: Final = re.compile(r"__(?:global|device|constant|shared|managed)__")
_TRANSPARENT: Final = re.compile(r'(?:\bnamespace\b[\w\s:]*|\bextern\s*"C"\s*)\Z')
_FUNCTION: Final = re.compile(r"(?<!\boperator)\b(\w+)\s*\([^={}]*\)[\w\s>-]*\{")
_SKIP: Final = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<words>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |^(?P<line>[ \t]*\#(?:\\\n|[^\n])*)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def without_host_code(text: str) -> str:
    """Return a source with functions and declarations for the host blanked.

    A function is for the host if only a host can mean what is in it, or if no code of the device calls it.

    >>> without_host_code("int main() { k<<<1, 1>>>(); } __global__ void k() {}").strip()
    '__global__ void k() {}'
    """
    code = _SKIP.sub(_placeholder, text)
    pieces = list(_pieces(code))
    called = " ".join(found["line"] for found in _SKIP.finditer(text) if found["line"])
    called += " ".join(code[start:end] for start, end, name in pieces if not name)
    kept, waiting = list(text), [piece for piece in pieces if piece[2]]
    while found := [piece for piece in waiting if re.search(rf"\b{piece[2]}\b", called)]:
        waiting = [piece for piece in waiting if piece not in found]
        called += " ".join(code[start:end] for start, end, _ in found)
    for start, end, name in pieces:
        host = _HOST.search(code, start, end) and not _DEVICE.search(code, start, end)
        if host or (start, end, name) in waiting:
            for at in range(start, end):
                if not code[at].isspace():  # comments and lines of the preprocessor are, here
                    kept[at] = " "
    return "".join(kept)


def _placeholder(found: re.Match[str]) -> str:
    """Return what holds the place of something that is no code."""
    if found[0] == '"C"':
        return found[0]
    return re.sub(r"[^\n]", "." if found["words"] else " ", found[0])


def _pieces(code: str) -> Iterator[tuple[int, int, str]]:
    """Yield where each declaration begins and ends, and the name of one that is a function of no device."""
    start = depth = 0
    for at, sign in enumerate(code):
        if sign == "{" and depth == 0 and _TRANSPARENT.search(code, start, at):
            start = at + 1
        elif sign == "{":
            depth += 1
        elif sign == "}" or (sign == ";" and depth == 0):
            depth = max(0, depth - 1)
            if depth == 0:
                function = None if _DEVICE.search(code, start, at) else _FUNCTION.search(code, start, at)
                plain = function is not None and not re.search(
                    r"\b(?:struct|class|union|enum)\b", function.string[start : function.start()]
                )
                yield start, at + 1, function[1] if function is not None and plain else ""
                start = at + 1
