"""The font of the formulas: what the document uses of STIX Two Math.

The font comes in the wheel of ziamath, under the SIL Open Font License 1.1. Browsers set MathML well only in
a font that has the tables for mathematics, which few systems have.
"""

import base64
import html
import io
import re
from pathlib import Path

from gaugeblock.spec.document.extra import folder_of, imported

__all__ = ["data_url", "path"]

_MATH = re.compile(r"<math.*?</math>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")

#: Signs that a formula has without having the character: the root.
_IMPLIED = frozenset({0x221A})

#: The first mathematical italic letter of every alphabet, which browsers put in place of a single letter.
_ITALIC = ((ord("A"), 26, 0x1D434), (ord("a"), 26, 0x1D44E), (0x391, 25, 0x1D6E2), (0x3B1, 25, 0x1D6FC))

_SYMBOLS = {"h": 0x210E, "ϵ": 0x1D716, "ϑ": 0x1D717, "ϕ": 0x1D719, "ϱ": 0x1D71A, "ϖ": 0x1D71B, "∂": 0x1D715}


def path() -> Path:
    """Return the file of the font."""
    return folder_of("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"


def data_url(page: str) -> str:
    """Return the font as a URL that holds it, with the characters that the formulas of a page need."""
    used = {ord(letter) for found in _MATH.findall(page) for letter in html.unescape(_TAG.sub("", found))}
    data = base64.b64encode(_subset(used | _IMPLIED | _italics(used))).decode("ascii")
    return f"data:font/woff;base64,{data}"


def _italics(used: set[int]) -> set[int]:
    """Return the italic forms of letters."""
    found = {_SYMBOLS[chr(letter)] for letter in used if chr(letter) in _SYMBOLS}
    for first, count, italic in _ITALIC:
        found |= {italic + letter - first for letter in used if first <= letter < first + count}
    return found


def _subset(characters: set[int]) -> bytes:
    """Return the font with these characters, and their larger forms, only."""
    subset = imported("fontTools.subset")
    options = subset.Options(flavor="woff", layout_features=["*"], notdef_outline=True)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=characters)
    out = io.BytesIO()
    with subset.load_font(str(path()), options) as font:
        font.recalcTimestamp = False
        subsetter.subset(font)
        subset.save_font(font, out, options)
    return out.getvalue()
