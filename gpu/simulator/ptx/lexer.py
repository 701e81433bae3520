"""PTX text to tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from gaugeblock.gpu.simulator.ptx.syntax import PtxError

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r]+|//[^\n]*)
    | (?P<newline>\n)
    | (?P<comment>/\*.*?\*/)
    | (?P<float>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|\d+\.\d*(?:[eE][-+]?\d+)?)
    | (?P<integer>0[xX][0-9a-fA-F]+U?|0[bB][01]+U?|\d+U?)
    | (?P<name>[A-Za-z_$%][\w$]*)
    | (?P<dotted>\.[A-Za-z0-9_][\w:]*)
    | (?P<string>"[^"\n]*")
    | (?P<mark>[-{}()\[\],;:@!|+<>=])
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A token; `kind` is ``name``, ``dotted``, ``integer``, ``float``, ``string``, ``mark`` or ``end``."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """Split PTX into tokens; the last is of kind ``end``.

    Raises
    ------
    PtxError
        At a character that begins no token, with its line.
    """
    found: list[Token] = []
    line = 1
    position = 0
    match = _TOKEN.match
    while position < len(text):
        hit = match(text, position)
        if hit is None:
            raise PtxError(f"PTX line {line}: unexpected character {text[position]!r}")
        position = hit.end()
        kind = hit.lastgroup
        if kind == "newline":
            line += 1
        elif kind == "comment":
            line += hit.group().count("\n")
        elif kind != "blank" and kind is not None:
            found.append(Token(kind, hit.group(), line))
    found.append(Token("end", "", line))
    return found
