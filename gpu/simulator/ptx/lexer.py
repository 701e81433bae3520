"""PTX text to tokens."""

from __future__ import annotations

import re
from typing import NamedTuple, cast

from gaugeblock.gpu.simulator.ptx.syntax import PtxError

_TOKEN = re.compile(
    r"""
    (?: (?P<name>[A-Za-z_$%][\w$]*)
      | (?P<mark>[-{}()\[\],;:@!|+<>=])
      | (?P<loc>\.loc\b[^\n/]*)
      | (?P<dotted>\.[A-Za-z0-9_][\w:]*)
      | (?P<newline>(?://[^\n]*)?\n\s*)
      | (?P<float>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|\d+\.\d*(?:[eE][-+]?\d+)?)
      | (?P<integer>0[xX][0-9a-fA-F]+U?|0[bB][01]+U?|\d+U?)
      | (?P<string>"[^"\n]*")
      | (?P<comment>//[^\n]*|/\*.*?\*/|^[ \t\r]+)
    )[ \t\r]*
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A token.

    `kind` is ``name``, ``dotted``, ``integer``, ``float``, ``string``, ``mark``, ``loc`` or ``end``: ``loc``
    is a whole directive, since there is one for every other instruction.
    """

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
    for hit in _TOKEN.finditer(text):
        if hit.start() != position:
            break
        position = hit.end()
        kind = cast(str, hit.lastgroup)
        token = hit[kind]
        if kind in ("newline", "comment"):
            line += token.count("\n")
        else:
            found.append(Token(kind, token, line))
    if position < len(text):
        raise PtxError(f"PTX line {line}: unexpected character {text[position]!r}")
    found.append(Token("end", "", line))
    return found
