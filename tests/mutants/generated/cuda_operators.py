"""Operators that change CUDA C++ source, token by token; comments, strings and directives stay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from change import Change

HIDDEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.DOTALL | re.MULTILINE
)
"""What is no code, or code of the preprocessor."""

SWAPS: Mapping[str, Mapping[str, str]] = {
    # A template's angle has no space on both sides, a comparison has: the kernels are formatted so.
    "comparison": {
        " < ": " <= ",
        " <= ": " < ",
        " > ": " >= ",
        " >= ": " > ",
        " == ": " != ",
        " != ": " == ",
    },
    "arithmetic": {
        " + ": " - ",
        " - ": " + ",
        " * ": " / ",
        " / ": " * ",
        " % ": " / ",
        " << ": " >> ",
        " >> ": " << ",
        " & ": " | ",
        " | ": " & ",
    },
    "accumulation": {" += ": " = ", " -= ": " += ", " *= ": " = "},
    "condition": {" && ": " || ", " || ": " && "},
    "opposite": {
        "fmaxf(": "fminf(",
        "fminf(": "fmaxf(",
        "max(": "min(",
        "min(": "max(",
        "expm1f(": "expf(",
        "log1pf(": "logf(",
        "__fmaf_rn(": "__fmaf_rz(",
        "INFINITY": "3.0e38f",
    },
    "narrowing": {"long long": "int"},
    "index": {
        "threadIdx.x": "blockIdx.x",
        "blockIdx.x": "threadIdx.x",
        "gridDim.x": "blockDim.x",
        ".row": ".column",
        ".column": ".row",
        "outer": "k",
        "[i]": "[0]",
        "[j]": "[0]",
        "[axis]": "[0]",
    },
}
WHOLE = re.compile(r"(?<![\w.])\d+(?![\w.])")
FRACTION = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[+-]?\d+)?)f\b")
BARRIER = re.compile(
    r"__sync(?:threads|warp)\([^;]*\);|__threadfence(?:_block)?\(\);|[\w:]*(?:wait|commit)\w*(?:<\w+>)?\([^;]*\);"
)
GUARD = re.compile(r"if \((?P<test>(?:[^()]|\([^()]*\)|\((?:[^()]|\([^()]*\))*\))*)\)")
CHOICE = re.compile(r"(?<=\? )(?P<yes>[^?:;,{}]+) : (?P<no>[^?:;,(){}]+)(?=[;,)])")
STATEMENT = re.compile(
    r"^ +(?!return|if|for|else|const|case|break|switch|auto|using|static|do|while)"
    r"[\w.\[\]>*()-][^;{}\n]*[^=<>!]=[^=][^;{}\n]*;$",
    re.MULTILINE,
)
DECLARES = re.compile(r"^ *(?:\w+(?:<[^;=]*>)? )+[*&]?\w+(?:\[[^=]*\])* =")


def changes(file: str, text: str) -> list[Change]:
    """Return every change of a CUDA source file, in its order."""
    code = HIDDEN.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found = set()
    for operator, start, end, after in _edits(code):
        at, to = (len(text[:place].encode()) for place in (start, end))
        line = text.count("\n", 0, start + (text[start] == "\n")) + 1
        found.add(Change(file, at, to, operator, after, text[start:end], line))
    return sorted(found)


def _edits(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield operator, place and new text of every change."""
    for operator, swaps in SWAPS.items():
        for before, after in swaps.items():
            edge = r"(?<![\w.])" if before[0].isalpha() else ""
            end = r"\b" if before[-1].isalnum() else ""
            for match in re.finditer(edge + re.escape(before) + end, code):
                yield operator, match.start(), match.end(), after
    for match in WHOLE.finditer(code):
        value = int(match[0])
        yield "constant", match.start(), match.end(), str(value + 1)
        if value:
            yield "constant", match.start(), match.end(), str(value - 1)
    for match in FRACTION.finditer(code):
        value = float(match[1])
        yield "constant", match.start(), match.end(), f"{value * (1 + 2.0**-10) if value else 2.0**-10!r}f"
    for match in BARRIER.finditer(code):
        yield "barrier", match.start(), match.end(), ";"
    for match in GUARD.finditer(code):
        yield "condition", match.start("test"), match.end("test"), f"!({match['test']})"
        yield "guard", match.start("test"), match.end("test"), "true"
        yield "guard", match.start("test"), match.end("test"), "false"
    for match in CHOICE.finditer(code):
        yield "operands", match.start(), match.end(), f"{match['no'].strip()} : {match['yes'].strip()}"
    for match in STATEMENT.finditer(code):
        if not DECLARES.match(match[0]):
            start = match.end() - len(match[0].lstrip())
            yield "statement", start, match.end(), ";"
