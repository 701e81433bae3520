"""Pages as plain text: formulas in Unicode, for terminals, which set no TeX."""

import re
import unicodedata
from collections.abc import Iterator, Mapping

__all__ = ["formula", "plain"]

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_ABOVE = {r"\hat": "\N{COMBINING CIRCUMFLEX ACCENT}", r"\bar": "\N{COMBINING MACRON}"}

#: Stands, while a row is read, where no space may follow.
_TIGHT = "\0"
_PIECE = re.compile(
    r"```\w*\n(?P<block>.*?)```|`(?P<code>[^`]*)`"
    r"|\$\$(?P<displayed>.+?)\$\$|\$(?P<formula>[^$]+)\$|(?P<prose>[^`$]+)",
    re.DOTALL,
)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")

_SIGNS: Mapping[str, str] = {
    **dict(zip((r"\alpha", r"\beta", r"\gamma", r"\delta", r"\varepsilon", r"\eta"), "αβγδεη", strict=True)),
    **dict(zip((r"\lambda", r"\mu", r"\nu", r"\pi", r"\rho", r"\sigma", r"\varphi"), "λμνπρσφ", strict=True)),
    **dict(zip((r"\Delta", r"\Sigma", r"\Phi", r"\ell", r"\infty", r"\partial"), "ΔΣΦℓ∞∂", strict=True)),
    **dict(zip((r"\nabla", r"\sum", r"\prod", r"\cdot", r"\odot", r"\pm"), "∇∑∏·⊙±", strict=True)),
    **dict(zip((r"\le", r"\ge", r"\ne", r"\notin", r"\leftarrow"), "≤≥≠∉←", strict=True)),
    **dict(zip((r"\ldots", r"\cdots", r"\lfloor", r"\rfloor", r"\lceil", r"\rceil"), "…⋯⌊⌋⌈⌉", strict=True)),
    **dict(zip((r"\lvert", r"\rvert", r"\lVert", r"\rVert", r"\langle", r"\rangle"), "||‖‖⟨⟩", strict=True)),
    **dict(zip((r"\{", r"\}", r"\_", "'", "-", r"\,"), "{}_′− ", strict=True)),
    **{rf"\{name}": name for name in ("cos", "det", "exp", "ln", "log", "max", "min", "tanh")},
    r"\bmod": "mod",
    r"\quad": "   ",
    r"\qquad": "   ",
    r"\left": "",
    r"\right": "",
    "~": " ",
}
#: Signs after which, and before which, there is no space but their own.
_SPACES = (r"\,", r"\quad", r"\qquad")
_PREFIXES = (r"\partial", r"\Delta", r"\nabla")
_OPENING = frozenset(
    (r"\lvert", r"\lVert", r"\langle", r"\lfloor", r"\lceil", r"\left", "(", *_PREFIXES, *_SPACES)
)
_CLOSING = frozenset((r"\rvert", r"\rVert", r"\rangle", r"\rfloor", r"\rceil", r"\right", *_SPACES))

#: What needs no brackets in a fraction or under a root: a number, a letter with its indices, a length.
_TOGETHER = re.compile(r"[\d.]+|∂?[^\W\d_][\u0302\u0304′₀-₉ₐ-ₜ⁰-⁹²³₊₋]*|[|‖⌊][^ ]*[|‖⌋]")

_RAISED = str.maketrans(
    "0123456789+−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW*",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ*",
)
_LOWERED = str.maketrans("0123456789+−=()aehijklmnoprstuvxβγρφ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩ")


def plain(markdown: str) -> str:
    r"""Return a text without its marks, with formulas in Unicode, displayed ones on lines of their own.

    Examples
    --------
    >>> print(plain(r"**A sum** is $\sum_k x_k^2$, and `$HOME` is code."))
    A sum is ∑ₖ xₖ², and $HOME is code.
    """

    def shown(found: re.Match[str]) -> str:
        piece: str = found[found.lastgroup or 0]
        match found.lastgroup:
            case "displayed":
                return f"    {formula(piece)}"
            case "formula":
                return formula(piece)
            case "prose":
                return _LINK.sub(r"\1", piece).replace("*", "")
        return piece

    return _PIECE.sub(shown, markdown)


def formula(tex: str) -> str:
    r"""Return a formula of the pages, which is TeX, in Unicode.

    Raises
    ------
    ValueError
        If it has a command that no page has had yet.

    Examples
    --------
    >>> formula(r"\hat y \le \frac{n u}{1 - n u} \cdot 2^{-24}")
    'ŷ ≤ (n u)/(1 − n u) · 2⁻²⁴'
    >>> formula(r"\sqrt{x_{t+1}} - \tfrac{1}{2} \lVert W \rVert_2")
    '√xₜ₊₁ − 1/2 ‖W‖₂'
    """
    tokens = [" " if token.isspace() else token for token in _TOKEN.findall(tex.strip())]
    return re.sub(r" +([.,;:)])", r"\1", _row(iter(tokens))).strip()


def _row(tokens: Iterator[str], end: str = "") -> str:
    """Return what stands up to a token, which is taken too."""
    row = ""
    for token in tokens:
        if token == end:
            break
        if token in _CLOSING:
            row = row.rstrip(" ")
        if token in "^_":
            row = row.rstrip(" ") + _script(_argument(tokens), raised=token == "^")
        elif token == r"\begin":
            _argument(tokens)
            row += _cases(_row(tokens, r"\end"))
            _argument(tokens)
        elif token != " " or (row and row[-1] not in (_TIGHT, " ")):
            row = row.rstrip(_TIGHT) + _one(token, tokens) + (_TIGHT if token in _OPENING else "")
    return row.replace(_TIGHT, "")


def _one(token: str, tokens: Iterator[str]) -> str:
    """Return a token with its arguments."""
    match token:
        case "{":
            return _row(tokens, "}")
        case r"\frac" | r"\tfrac":
            return f"{_whole(_argument(tokens))}/{_whole(_argument(tokens))}"
        case r"\sqrt":
            return f"√{_whole(_argument(tokens))}"
        case r"\hat" | r"\bar":
            return unicodedata.normalize("NFC", _argument(tokens) + _ABOVE[token])
        case r"\operatorname" | r"\text":
            return _argument(tokens).replace("−", "-")
    if token.startswith("\\") and token not in (*_SIGNS, r"\\"):
        raise ValueError(f"no sign is known for {token}")
    return _SIGNS.get(token, token)


def _argument(tokens: Iterator[str]) -> str:
    """Return the next thing, a group or a single token."""
    token = next(tokens)
    while token == " ":
        token = next(tokens)
    return _one(token, tokens)


def _whole(part: str) -> str:
    """Return a part in brackets, unless it holds together without."""
    return part if _TOGETHER.fullmatch(part) else f"({part})"


def _script(part: str, *, raised: bool) -> str:
    """Return an index or exponent, small where every letter of it is in Unicode."""
    table = _RAISED if raised else _LOWERED
    tight = re.sub(r" ?([+−=]) ?", r"\1", part)
    if all(ord(letter) in table for letter in tight):
        return tight.translate(table)
    return ("^" if raised else "_") + (part if len(part) == 1 else f"({part})")


def _cases(rows: str) -> str:
    """Return a distinction of cases, in a line."""
    cases = [re.sub(r" *& *", "  if ", row.strip()) for row in rows.split("\\\\")]
    return "{ " + "; ".join(case.replace("if otherwise", "otherwise").rstrip(",") for case in cases)
