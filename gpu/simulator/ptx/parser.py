"""PTX tokens to a syntax tree, by recursive descent: one method per construct."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

from gaugeblock.gpu.simulator.ptx.lexer import Token, tokens
from gaugeblock.gpu.simulator.ptx.syntax import (
    SIZES,
    Address,
    BranchTargets,
    Float,
    Function,
    Group,
    Guard,
    Instruction,
    Integer,
    Label,
    Location,
    Module,
    Name,
    Operand,
    Pair,
    Prototype,
    PtxError,
    Registers,
    Scope,
    Statement,
    Variable,
    Vector,
)

_SPACES = {".global", ".const", ".shared", ".local", ".param"}
_LINKAGE = {".visible", ".extern", ".weak", ".common"}
_COMPONENTS = {".x", ".y", ".z", ".w"}
_OPAQUE = ("texref", "samplerref", "surfref")


Place: TypeAlias = tuple[int, int, int]
"""File, line and column."""
_DEEPEST_INLINING = 100
_LOC = re.compile(
    r"""\.loc \s+ (\d+) \s+ (\d+) \s+ (\d+)
    (?: \s*,\s* function_name \s+ [\w$]+ (?:\s*\+\s*\d+)? )?
    (?: \s*,\s* inlined_at \s+ (\d+) \s+ (\d+) \s+ (\d+) )? \s*""",
    re.VERBOSE,
)


def parse(text: str) -> Module:
    """Read a PTX module.

    Raises
    ------
    PtxError
        Where the text is not PTX; the message gives the PTX line.
    """
    return _Parser(tokens(_ASSEMBLY.sub(_one_line, text))).module()


_ASSEMBLY = re.compile(r"// begin inline asm\n.*?// end inline asm", re.DOTALL)


def _one_line(assembly: re.Match[str]) -> str:
    """Leave inline assembly its first line of the source: LLVM counts lines on inside of it."""
    first, loc, rest = assembly.group().partition(".loc")
    return first + loc + re.sub(r"^\s*\.loc\b.*$", "", rest, flags=re.MULTILINE)


@lru_cache(maxsize=4096)
def _places(loc: str) -> tuple[Place, Place | None] | None:
    """Read a directive that says which line of the source comes next."""
    hit = _LOC.fullmatch(loc)
    if hit is None:
        return None
    file, line, column = map(int, hit.groups()[:3])
    caller = None if hit[4] is None else (int(hit[4]), int(hit[5]), int(hit[6]))
    return (file, line, column), caller


def literal(token: Token) -> Integer | Float:
    """Read a number: ``12``, ``0x1FU``, ``0f3F800000`` (the bits of a float), ``1.5`` (a double)."""
    text = token.text
    if token.kind == "integer":
        return Integer(
            int(text.rstrip("U"), 0) if not text.startswith("0") or len(text) < 2 else _prefixed(text)
        )
    if text[1:2] in "fF":
        return Float(int(text[2:], 16), 32)
    if text[1:2] in "dD":
        return Float(int(text[2:], 16), 64)
    return Float(int.from_bytes(struct.pack("<d", float(text)), "little"), 64)


def _prefixed(text: str) -> int:
    digits = text.rstrip("U")
    if digits[1:2] in "xXbB":
        return int(digits, 0)
    return int(digits, 8)


class _Parser:
    def __init__(self, stream: list[Token]) -> None:
        self._tokens = stream
        self._at = 0
        self._location: tuple[int, int, tuple[tuple[int, int], ...]] = (0, 0, ())
        self._callers: dict[Place, Place] = {}

    # Tokens.

    def _peek(self) -> str:
        return self._tokens[self._at].text

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _accept(self, text: str) -> bool:
        if self._tokens[self._at].text == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.text != text:
            raise PtxError(f"PTX line {token.line}: expected {text!r}, found {token.text or 'the end'!r}")

    def _error(self, what: str) -> PtxError:
        return PtxError(f"PTX line {self._tokens[self._at].line}: {what}")

    def _name(self) -> str:
        token = self._next()
        if token.kind != "name":
            raise PtxError(f"PTX line {token.line}: expected a name, found {token.text!r}")
        return token.text

    def _integer(self) -> int:
        negative = self._accept("-")
        token = self._next()
        if token.kind != "integer":
            raise PtxError(f"PTX line {token.line}: expected an integer, found {token.text!r}")
        value = literal(token)
        assert isinstance(value, Integer)
        return -value.value if negative else value.value

    # The module.

    def module(self) -> Module:
        version = target = ""
        files: dict[int, str] = {}
        variables: list[Variable] = []
        functions: dict[str, Function] = {}
        while self._tokens[self._at].kind != "end":
            word = self._peek()
            if word == ".version":
                version = self._rest_of_line()
            elif word == ".target":
                target = self._rest_of_line()
            elif word == ".address_size":
                if self._rest_of_line() != "64":
                    raise self._error("only 64-bit addresses are supported")
            elif word == ".file":
                number, path = self._file()
                files[number] = path
            elif word == ".section":
                self._skip_section()
            else:
                external = False
                while self._peek() in _LINKAGE:
                    external |= self._next().text == ".extern"
                if self._peek() in (".entry", ".func"):
                    function = self._function()
                    if function.body is not None or function.name not in functions:
                        functions[function.name] = function
                elif self._accept(".alias"):
                    name = self._name()
                    self._expect(",")
                    if self._peek() not in functions:
                        raise self._error(f".alias of {self._peek()}, which is no function")
                    functions[name] = replace(functions[self._name()], name=name)
                    self._expect(";")
                elif self._peek() in _SPACES:
                    variables.extend(self._variables(external))
                else:
                    raise self._error(f"unexpected {self._peek()!r} outside a function")
        return Module(version, target, files, tuple(variables), functions)

    def _rest_of_line(self) -> str:
        line = self._next().line
        words = []
        while self._tokens[self._at].line == line and self._tokens[self._at].kind != "end":
            words.append(self._next().text)
        return "".join(words)

    def _file(self) -> tuple[int, str]:
        self._next()
        number = self._integer()
        path = self._next().text.strip('"')
        while self._accept(","):  # timestamp and size
            self._integer()
        return number, path

    def _skip_section(self) -> None:
        while self._next().text != "{":
            pass
        while self._next().text != "}":
            pass

    # Variables.

    def _variables(self, external: bool = False) -> list[Variable]:
        space = self._next().text[1:]
        alignment, kind, vector, pointer = 0, "", 1, False
        while self._tokens[self._at].kind == "dotted":
            word = self._next().text[1:]
            if word == "align":
                given = self._integer()
                alignment = alignment if pointer else given  # behind .ptr it is that of what is pointed to
            elif word in ("v2", "v4"):
                vector = int(word[1])
            elif word in ("ptr", "global", "shared", "const", "local", "noalias"):
                pointer |= word == "ptr"
            elif word in SIZES:
                kind = word
            elif word in _OPAQUE:
                kind = "b64"
            elif word == "attribute":
                self._skip_parentheses()
            else:
                raise self._error(f".{word} in a .{space} declaration is not supported")
        if not kind:
            raise self._error(f"a .{space} declaration without a type")
        declared = []
        while True:
            name = self._name()
            element = SIZES[kind] * vector
            size: int | None = element
            while self._accept("["):
                if self._accept("]"):
                    size = None
                else:
                    count = self._integer()
                    size = None if size is None else size * count
                    self._expect("]")
            initial = self._initialiser() if self._accept("=") else ()
            declared.append(
                Variable(space, name, kind, size, max(alignment, element), initial, external)
                if not alignment
                else Variable(space, name, kind, size, alignment, initial, external)
            )
            if self._peek() != "," or space == "param":
                break
            self._next()
        if space != "param" or self._peek() == ";":
            self._expect(";")
        return declared

    def _initialiser(self) -> tuple[Operand, ...]:
        if not self._accept("{"):
            return (self._initial_value(),)
        values: list[Operand] = []
        while not self._accept("}"):
            if self._peek() == "{":
                values.extend(self._initialiser())
            else:
                values.append(self._initial_value())
            self._accept(",")
        return tuple(values)

    def _initial_value(self) -> Operand:
        """Read a number, or an address: ``name+4``, ``generic(name)+4``."""
        if not self._accept("generic"):
            return self._operand()
        self._expect("(")
        name = self._name()
        self._expect(")")
        return Name(name, self._offset())

    def _skip_parentheses(self) -> None:
        self._expect("(")
        while not self._accept(")"):
            if self._peek() == "(":
                self._skip_parentheses()
            elif self._next().kind == "end":
                raise self._error("unexpected end of text")

    # Functions.

    def _function(self) -> Function:
        line = self._tokens[self._at].line
        entry = self._next().text == ".entry"
        results = self._parameters() if not entry and self._peek() == "(" else ()
        name = self._name()
        parameters = self._parameters() if self._peek() == "(" else ()
        directives = self._directives()
        body: tuple[Statement, ...] | None = None
        if not self._accept(";"):
            self._expect("{")
            self._location = (0, 0, ())
            self._callers = self._inlined()
            body = self._body()
        return Function(name, entry, results, parameters, body, directives, line)

    def _parameters(self) -> tuple[Variable, ...]:
        self._expect("(")
        found: list[Variable] = []
        while not self._accept(")"):
            if self._peek() != ".param":
                raise self._error("function parameters must be .param")
            found.extend(self._variables())
            self._accept(",")
        return tuple(found)

    def _directives(self) -> Mapping[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        while self._tokens[self._at].kind == "dotted":
            word = self._next().text
            if word == ".pragma":
                self._next()
                self._expect(";")
                continue
            values = []
            while self._tokens[self._at].kind == "integer":
                values.append(self._integer())
                self._accept(",")
            found[word[1:]] = tuple(values)
        return found

    def _body(self) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        while not self._accept("}"):
            statements.extend(self._statement())
        return tuple(statements)

    def _statement(self) -> list[Statement]:
        token = self._tokens[self._at]
        if token.text == "{":
            self._next()
            return [Scope(self._body())]
        if token.kind == "loc":
            self._loc()
            return []
        if token.kind == "dotted":
            return self._directive()
        if token.kind == "name" and self._tokens[self._at + 1].text == ":":
            self._at += 2
            return [Label(token.text)]
        if token.kind == "name" or token.text == "@":
            return [self._instruction()]
        if token.text == ";":
            self._next()
            return []
        raise self._error(f"unexpected {token.text or 'end of text'!r} in a function")

    def _directive(self) -> list[Statement]:
        word = self._peek()
        if word == ".reg":
            return [self._registers()]
        if word in _SPACES:
            return list(self._variables())
        if word == ".callprototype":
            return [self._prototype()]
        if word in (".pragma", ".calltargets"):
            while (token := self._next()).text != ";":
                if token.kind == "end":
                    raise PtxError(f"PTX line {token.line}: unexpected end of text")
            return []
        if word == ".branchtargets":
            self._next()
            labels = [self._name()]
            while self._accept(","):
                labels.append(self._name())
            self._expect(";")
            return [BranchTargets(tuple(labels))]
        raise self._error(f"directive {word} is not supported")

    def _prototype(self) -> Prototype:
        self._next()
        results = self._parameters() if self._peek() == "(" else ()
        self._name()
        parameters = self._parameters() if self._peek() == "(" else ()
        self._directives()
        self._expect(";")
        return Prototype(results, parameters)

    def _loc(self) -> None:
        place, caller = self._places(self._next())
        if caller is not None:
            self._callers[place] = caller
        file, line, _ = place
        callers: list[tuple[int, int]] = []
        while place in self._callers and len(callers) < _DEEPEST_INLINING:
            place = self._callers[place]
            callers.append(place[:2])
        if line:  # line 0 is code that the compiler made up: keep the last real line
            self._location = (file, line, tuple(callers))

    def _places(self, loc: Token) -> tuple[Place, Place | None]:
        """Return the place that a directive names, and where the code was inlined."""
        found = _places(loc.text)
        if found is None:
            raise PtxError(f"PTX line {loc.line}: expected a file, a line and a column, found {loc.text!r}")
        return found

    def _inlined(self) -> dict[Place, Place]:
        """Return where code was inlined in the function that begins here: its caller may be named later."""
        found: dict[Place, Place] = {}
        for token in islice(self._tokens, self._at, None):
            if token.kind == "loc":
                place, caller = self._places(token)
                if caller is not None:
                    found[place] = caller
            elif token.text in (".entry", ".func"):
                break
        return found

    def _registers(self) -> Registers:
        self._next()
        kind = self._next().text[1:]
        if kind not in SIZES:
            raise self._error(f"register type .{kind} is not supported")
        names: list[str] = []
        while True:
            name = self._name()
            if self._accept("<"):
                names.extend(f"{name}{i}" for i in range(self._integer()))
                self._expect(">")
            else:
                names.append(name)
            if not self._accept(","):
                break
        self._expect(";")
        return Registers(kind, tuple(names))

    # Instructions.

    def _instruction(self) -> Instruction:
        guard = None
        if self._accept("@"):
            negated = self._accept("!")
            guard = Guard(self._name(), negated)
        line = self._tokens[self._at].line
        opcode = self._name()
        modifiers = []
        while self._tokens[self._at].kind == "dotted":
            modifiers.append(self._next().text[1:])
        operands: list[Operand] = []
        while not self._accept(";"):
            operands.append(self._operand())
            if self._peek() != ";":
                self._expect(",")
        file, source_line, callers = self._location
        place = Location(file, source_line, line, callers)
        return Instruction(opcode, tuple(modifiers), tuple(operands), guard, place)

    def _operand(self) -> Operand:
        first = self._simple_operand()
        if self._accept("|"):
            return Pair(first, self._simple_operand())
        return first

    def _simple_operand(self) -> Operand:
        token = self._next()
        if token.kind in ("integer", "float"):
            return literal(token)
        if token.text == "-":
            value = literal(self._next())
            if isinstance(value, Integer):
                return Integer(-value.value)
            return Float(value.bits ^ (1 << (value.width - 1)), value.width)
        if token.text == "!":
            return Name(self._name(), negated=True)
        if token.text == "{":
            return Vector(self._list("}"))
        if token.text == "(":
            return Group(self._list(")"))
        if token.text == "[":
            return self._address()
        if token.kind != "name":
            raise PtxError(f"PTX line {token.line}: unexpected {token.text or 'end of text'!r} as an operand")
        text = token.text
        if text.startswith("%") and self._peek() in _COMPONENTS:
            text += self._next().text
        return Name(text, self._offset())

    def _list(self, close: str) -> tuple[Operand, ...]:
        elements: list[Operand] = []
        while not self._accept(close):
            elements.append(self._operand())
            if self._peek() != close:
                self._expect(",")
        return tuple(elements)

    def _address(self) -> Address:
        base = None
        offset = 0
        if self._tokens[self._at].kind == "name":
            base = self._name()
            offset = self._offset()
        else:
            offset = self._integer()
        if self._accept(","):
            return Address(base, offset, self._list("]"))
        self._expect("]")
        return Address(base, offset)

    def _offset(self) -> int:
        """``+4``, ``-4`` and nvcc's ``+-4``, possibly several."""
        total = 0
        while self._peek() in ("+", "-"):
            sign = -1 if self._next().text == "-" else 1
            total += sign * self._integer()
        return total
