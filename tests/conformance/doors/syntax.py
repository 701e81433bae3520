"""The language of launch comments: its text, its tokens, its tree.

::

    // gaugeblock: softmax(x) = row_max<<<rows(x), 256>>>(x, m, cols(x)); softmax_kernel<<<…>>>(…)
    //     where rank == 2, axis == -1, packed(x)

A statement goes on in the comment lines below it that are indented by two spaces and more. What its parts
mean is in ``README.md`` beside this file; here is only how they are written. Operators bind as in C.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

__all__ = [
    "Binary",
    "Binding",
    "Call",
    "Index",
    "Launch",
    "Member",
    "Misread",
    "Name",
    "Node",
    "Number",
    "Statement",
    "Text",
    "Tuple",
    "Unary",
    "Words",
    "parse",
    "statements",
]


class Misread(Exception):
    """Something is wrong with a statement, at one of its characters."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


# Text ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """The text of a statement, and where in its file each line of it lies."""

    file: str
    lines: tuple[tuple[int, int, str], ...]

    @property
    def whole(self) -> str:
        """The statement in one line."""
        return " ".join(words for _, _, words in self.lines)

    @property
    def line(self) -> int:
        """The line that it begins in."""
        return self.lines[0][0]

    def complaint(self, misread: Misread) -> str:
        """Return one line that says where what is wrong."""
        at, whole, start = misread.at, self.whole, 0
        place = self.lines[0]
        for place in self.lines:
            if at <= start + len(place[2]):
                break
            start += len(place[2]) + 1
        first, last = max(0, at - 40), at + 40
        cut = ("…" if first else "") + whole[first:at], whole[at:last] + ("…" if last < len(whole) else "")
        return f"{self.file}:{place[0]}:{place[1] + at - start}: {misread}: {cut[0]}^{cut[1]}"


_BEGINS: Final = re.compile(r"(?:^\s*[*#]?|//+|/\*+)\s*gaugeblock:[ \t]*")
_NEARLY: Final = re.compile(r"(?://+|/\*+)\s*gauge[ -]?block\b:?\s*\w+\s*\(.*<<<", re.IGNORECASE)
_GOES_ON: Final = re.compile(r"\s*(?://+|\*|#)(?: {2,}|\t)\s*")


def statements(file: str, source: str) -> Iterator[Text]:
    """Yield the statements among the comments of a file."""
    found: list[tuple[int, int, str]] = []
    for number, line in enumerate(source.splitlines(), 1):
        line, _, _ = line.partition("*/")
        begins, goes_on = _BEGINS.search(line), _GOES_ON.match(line)
        if found and (begins or not goes_on):
            yield Text(file, tuple(found))
            found = []
        head = begins or (goes_on if found else None)
        if head:
            found.append((number, head.end() + 1, line[head.end() :].rstrip()))
    if found:
        yield Text(file, tuple(found))


def nearly(source: str) -> int | None:
    """Return the first line that looks like a statement and is none."""
    lines = enumerate(source.splitlines(), 1)
    return next((number for number, line in lines if _NEARLY.search(line)), None)


# The tree --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """An expression; `at` is its first character."""

    at: int


@dataclass(frozen=True)
class Number(Node):
    """A whole number or a decimal one."""

    value: int | float


@dataclass(frozen=True)
class Words(Node):
    """A text in quotation marks."""

    value: str


@dataclass(frozen=True)
class Name(Node):
    """A name."""

    text: str


@dataclass(frozen=True)
class Unary(Node):
    """``-x``, ``not x``."""

    sign: str
    operand: Node


@dataclass(frozen=True)
class Binary(Node):
    """``x + y``, ``x == y``, ``x in (…)``."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Call(Node):
    """``size(x)``."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Member(Node):
    """``x.shape``."""

    of: Node
    name: str


@dataclass(frozen=True)
class Index(Node):
    """``x.shape[0]``."""

    of: Node
    index: Node


@dataclass(frozen=True)
class Tuple(Node):
    """``(1, 2)``."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Launch:
    """``kernel<float, 16><<<grid, block, shared>>>(…)``; `template` is the text between angle brackets."""

    at: int
    kernel: str
    template: str
    grid: Node
    block: Node
    shared: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Binding:
    """``partial = workspace(…)``."""

    at: int
    name: str
    value: Node


@dataclass(frozen=True)
class Statement:
    """A whole statement.

    Attributes
    ----------
    text : Text
        What was read.
    operation, arrays : Name, tuple of Name
        What it implements, of which arguments.
    steps : tuple
        What happens, in order: launches, names for values, and calls such as ``zero(out)``.
    conditions : tuple of Node
        What comes after ``where``.
    settings : tuple of Binding
        What comes after ``with``.
    """

    text: Text
    operation: Name
    arrays: tuple[Name, ...]
    steps: tuple[Launch | Binding | Call, ...]
    conditions: tuple[Node, ...]
    settings: tuple[Binding, ...]


# Reading ---------------------------------------------------------------------------------------------------

T = TypeVar("T")

_TOKEN: Final = re.compile(
    r"""(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?|\d+(?:[eE][-+]?\d+)?)
    |(?P<name>[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*)
    |(?P<words>"[^"]*"|'[^']*')
    |(?P<sign><<<?|>>>?|==|!=|<=|>=|&&|\|\||[-+*/%<>=!(),;.\[\]])""",
    re.VERBOSE,
)

_CAST: Final = re.compile(
    r"\(\s*(?:(?:unsigned|signed|long|short|int|size_t|u?int(?:32|64)_t)\s*)+\)(?=\s*[\w(])"
)

_POWERS: Final = {
    **dict.fromkeys(("or", "||"), 1),
    **dict.fromkeys(("and", "&&"), 2),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_ALIKE: Final = {"||": "or", "&&": "and", "!": "not"}
_UNARY: Final = 6
_WORDS: Final = frozenset({"where", "with", "and", "or", "not", "in"})


def parse(text: Text) -> Statement:
    """Read a statement.

    Raises
    ------
    Misread
        It is none; with the character that does not fit.
    """
    return _Parser(text).statement()


@dataclass(frozen=True)
class _Token:
    at: int
    kind: str
    text: str

    def __str__(self) -> str:
        return repr(self.text) if self.text else "the end of the statement"


class _Parser:
    """Reads a statement by what comes next, its expressions by the power with which operators bind."""

    def __init__(self, text: Text) -> None:
        self.text, self.source = text, text.whole
        self._move(0)

    def _move(self, at: int) -> None:
        while at < len(self.source) and self.source[at].isspace():
            at += 1
        found = _TOKEN.match(self.source, at)
        if found is not None and found.lastgroup is not None:
            self.next, self.end = _Token(at, found.lastgroup, found[0]), found.end()
        elif at == len(self.source):
            self.next, self.end = _Token(at, "end", ""), at
        else:
            raise Misread(at, f"unexpected character {self.source[at]!r}")

    def _take(self) -> _Token:
        token = self.next
        self._move(self.end)
        return token

    def _accept(self, text: str) -> bool:
        if self.next.text == text and self.next.kind != "words":
            self._take()
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise Misread(self.next.at, f"expected {text!r}, got {self.next}")

    def _name(self, what: str) -> Name:
        if self.next.kind != "name" or self.next.text in _WORDS:
            raise Misread(self.next.at, f"expected {what}, got {self.next}")
        token = self._take()
        return Name(token.at, token.text)

    def _listed(self, read: Callable[[], T], end: str) -> tuple[T, ...]:
        """Read items between commas up to a closing bracket."""
        found: list[T] = []
        while not self._accept(end):
            if found and not self._accept(","):
                raise Misread(self.next.at, f"expected ',' or {end!r}, got {self.next}")
            found.append(read())
        return tuple(found)

    def statement(self) -> Statement:
        operation = self._name("the name of an operation")
        self._expect("(")
        arrays = self._listed(lambda: self._name("the name of an argument"), ")")
        self._expect("=")
        steps = [self._step()]
        while self._accept(";"):
            if self.next.kind == "end" or self.next.text in ("where", "with"):
                break
            steps.append(self._step())
        conditions = self._series(lambda: self._expression(0)) if self._accept("where") else ()
        settings = self._series(self._binding) if self._accept("with") else ()
        if self.next.kind != "end":
            raise Misread(self.next.at, f"expected ';', 'where', 'with' or the end, got {self.next}")
        return Statement(self.text, operation, arrays, tuple(steps), tuple(conditions), tuple(settings))

    def _series(self, read: Callable[[], T]) -> Sequence[T]:
        found = [read()]
        while self._accept(","):
            found.append(read())
        return found

    def _binding(self) -> Binding:
        name = self._name("a name")
        self._expect("=")
        return Binding(name.at, name.text, self._expression(0))

    def _step(self) -> Launch | Binding | Call:
        name = self._name("a kernel")
        if self._accept("="):
            return Binding(name.at, name.text, self._expression(0))
        if self._accept("("):
            return Call(name.at, name.text, self._listed(lambda: self._expression(0), ")"))
        template = self._template() if self.next.text == "<" else ""
        self._expect("<<<")
        sizes = self._listed(lambda: self._expression(0), ">>>")
        if not 2 <= len(sizes) <= 4:  # a stream is taken, and the suite's own used
            raise Misread(
                name.at,
                f"{name.text} is launched with {len(sizes)} values, expected <<<grid, block[, shared]>>>",
            )
        self._expect("(")
        arguments = self._listed(lambda: self._expression(0), ")")
        shared = sizes[2] if len(sizes) > 2 else None
        return Launch(name.at, name.text, template, sizes[0], sizes[1], shared, arguments)

    def _template(self) -> str:
        """Return what stands between the angle brackets, as it is."""
        start, depth = self.next.at, 0
        for at in range(start, len(self.source)):
            depth += {"<": 1, ">": -1}.get(self.source[at], 0)
            if depth == 0:
                self._move(at + 1)
                return self.source[start + 1 : at].strip()
        raise Misread(start, "'<' of the template's arguments is not closed")

    def _expression(self, power: int) -> Node:
        left = self._operand()
        while _POWERS.get(self.next.text, -1) > power and self.next.kind != "words":
            sign = self._take()
            right = self._expression(_POWERS[sign.text])
            left = Binary(sign.at, _ALIKE.get(sign.text, sign.text), left, right)
        return left

    def _operand(self) -> Node:
        token = self.next
        if token.text in ("-", "!", "not") and token.kind != "words":
            self._take()
            power = _POWERS["and"] if token.text == "not" else _UNARY
            return Unary(token.at, _ALIKE.get(token.text, token.text), self._expression(power))
        if cast := _CAST.match(self.source, token.at):  # numbers are whole here
            self._move(cast.end())
            return self._expression(_UNARY)
        if token.text == "(":
            self._take()
            items = self._listed(lambda: self._expression(0), ")")
            return self._behind(items[0] if len(items) == 1 else Tuple(token.at, items))
        if token.kind == "number":
            self._take()
            whole = token.text.lower().startswith("0x") or token.text.isdigit()
            return Number(
                token.at,
                int(token.text, 0 if "x" in token.text.lower() else 10)
                if whole
                else float(token.text.rstrip("fF")),
            )
        if token.kind == "words":
            self._take()
            return Words(token.at, token.text[1:-1])
        name = self._name("a value")
        if self._accept("("):
            return self._behind(Call(name.at, name.text, self._listed(lambda: self._expression(0), ")")))
        return self._behind(name)

    def _behind(self, node: Node) -> Node:
        """Read what follows an operand: ``.shape``, ``[0]``."""
        while True:
            if self._accept("."):
                node = Member(node.at, node, self._name("shape or strides").text)
            elif self._accept("["):
                index = self._expression(0)
                self._expect("]")
                node = Index(node.at, node, index)
            else:
                return node
