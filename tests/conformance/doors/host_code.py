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
_SKIP: Final = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<words>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |^(?P<line>[ \t]*\#(?:\\\n|[^\n])*)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def without_host_code(text: str, elsewhere: str = "") -> str:
    """Return a source with functions and declarations for the host blanked.

    A function is for the host if only a host can mean what is in it, or if no code of the device calls it.

    Parameters
    ----------
    text : str
        The source.
    elsewhere : str
        Code that may call its functions: other files, names of kernels.

    Examples
    --------
    >>> without_host_code("int main() { k<<<1, 1>>>(); } __global__ void k() {}").strip()
    '__global__ void k() {}'
    """
    code = _SKIP.sub(_placeholder, text)
    pieces = list(_pieces(code))
    waiting = [piece for piece in pieces if piece[2]]
    called = {found["line"] for found in _SKIP.finditer(text) if found["line"]} | {elsewhere}
    called |= {code[start:end] for start, end, names in pieces if not names}
    words = set(re.findall(r"\w+", " ".join(called)))
    while found := [piece for piece in waiting if piece[2] & words]:
        waiting = [piece for piece in waiting if not piece[2] & words]
        words.update(*(re.findall(r"\w+", code[start:end]) for start, end, _ in found))
    kept = list(text)
    for start, end, names in pieces:
        host = _HOST.search(code, start, end) and not _DEVICE.search(code, start, end)
        if host or (start, end, names) in waiting:
            for at in range(start, end):
                if not code[at].isspace():  # comments and lines of the preprocessor are, here
                    kept[at] = " "
    return "".join(kept)


def _placeholder(found: re.Match[str]) -> str:
    """Return what holds the place of something that is no code."""
    if found[0] == '"C"':
        return found[0]
    return re.sub(r"[^\n]", "." if found["words"] else " ", found[0])


def _pieces(code: str) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Yield where each declaration begins and ends, and what a function of no device may be called."""
    start = body = depth = 0
    for at, sign in enumerate(code):
        if sign == "{" and depth == 0 and _TRANSPARENT.search(code, start, at):
            start = at + 1
        elif sign == "{":
            body, depth = body if depth else at, depth + 1
        elif sign == "}" or (sign == ";" and depth == 0):
            depth = max(0, depth - 1)
            if depth == 0:
                plain = sign == "}" and not _DEVICE.search(code, start, at)
                yield start, at + 1, _names(code[start:body]) if plain else frozenset()
                start = at + 1


def _names(head: str) -> frozenset[str]:
    """Return what may be the name of a function: whatever stands before a bracket."""
    if re.search(
        r"=|\b(?:struct|class|union|enum|operator|namespace)\b", re.sub(r"template\s*<[^{]*?>", "", head)
    ):
        return frozenset()
    return frozenset(re.findall(r"(\w+)\s*\(", head))
