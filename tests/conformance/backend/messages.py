"""What suite and child say to each other: JSON behind its length, and nothing that is evaluated.

A message is four bytes, its length in network order, and as many bytes of UTF-8: a JSON array whose first
item is a word. The suite's requests and the child's replies are listed in ``worker``. The suite trusts no
reply: ``Reader`` refuses one that is too long before it has arrived, ``read_reply`` one that is not exactly
of a known form, both with :class:`MessageError`; and words of the child's go nowhere before ``clean``.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from gaugeblock.conformance.backend.arrays import KINDS

REPLY_LIMIT = 64 << 10
"""Most bytes of a reply."""

DESCRIPTION_LIMIT = 1 << 20
"""Most bytes of the reply that describes a backend."""

WORDS_LIMIT = 500
"""Most characters of the child's words that leave this package in one piece."""

DTYPES = (
    *("bool", "float16", "float32", "float64", "bfloat16"),
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
)
"""What an array that travels may hold."""

AXES = 32
"""Most axes of an array that travels."""

HEADER = struct.Struct("!I")

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class MessageError(Exception):
    """What arrived is no message of the other side's."""


# Words of the child's ----------------------------------------------------------------------------------


def clean(words: object, limit: int = WORDS_LIMIT) -> str:
    r"""Return words such that printing them is safe: what is no character to look at escaped, the rest cut.

    >>> clean("red: \x1b[31m, surrogate: \ud800, right to left: \u202e")
    'red: \\x1b[31m, surrogate: \\ud800, right to left: \\u202e'
    >>> clean("many words", 6)
    'many …'
    """
    text = str(words)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    # Controls, bidi and zero-width marks, surrogates, unassigned characters, all blanks but the space.
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_data(data: Any) -> Any:
    """Return plain data with every string in it cleaned."""
    match data:
        case str():
            return clean(data)
        case list():
            return [clean_data(item) for item in data]
        case dict():
            return {clean(key): clean_data(value) for key, value in data.items()}
    return data


# Bytes -------------------------------------------------------------------------------------------------


def pack(message: object) -> bytes:
    """Return a message as bytes."""
    content = _ENCODER.encode(message).encode("ascii")
    return HEADER.pack(len(content)) + content


class Reader:
    """Puts a message together from the bytes that arrive.

    Parameters
    ----------
    limit
        Most bytes it may have.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = b""

    def feed(self, some: bytes) -> bytes | None:
        """Take some bytes; return the message's content once it is complete."""
        self.bytes = self.bytes + some if self.bytes else some
        if len(self.bytes) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self.bytes)
        if length > self.limit:
            raise MessageError(f"sent a message of {length} bytes, at most {self.limit} are read")
        beyond = len(self.bytes) - HEADER.size - length
        if beyond > 0:
            raise MessageError(f"sent {beyond} bytes more than a reply")
        return self.bytes[HEADER.size :] if beyond == 0 else None


def receive(connection: socket.socket) -> Any:
    """Return the next message of a side that is trusted, without haste; ``None`` at the end of the line."""
    header = _exactly(connection, HEADER.size)
    content = header and _exactly(connection, HEADER.unpack(header)[0])
    return json.loads(content) if content else None


def _exactly(connection: socket.socket, length: int) -> bytes:
    """Return so many bytes, or none at the end of the line."""
    parts = []
    while length:
        parts.append(connection.recv(length))
        if not parts[-1]:
            return b""
        length -= len(parts[-1])
    return b"".join(parts)


# Parameters of a call ----------------------------------------------------------------------------------


def as_plain(value: object) -> Any:
    """Return an argument as what JSON can carry; ``from_plain`` gives back the very same.

    Tuples become arrays; what JSON has no word for becomes an object with one.
    """
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case float():
            return {"bits": struct.pack("!d", value).hex()}
        case tuple():
            return [as_plain(item) for item in value]
        case list():
            return {"list": [as_plain(item) for item in value]}
    raise TypeError(f"an argument is a {type(value).__name__}, expected a number, a string, a tuple or None")


def from_plain(value: Any) -> Any:
    """Return the argument that ``as_plain`` made plain."""
    match value:
        case list():
            return tuple(from_plain(item) for item in value)
        case {"bits": bits}:
            return struct.unpack("!d", bytes.fromhex(bits))[0]
        case {"list": items}:
            return [from_plain(item) for item in items]
    return value


# Replies -----------------------------------------------------------------------------------------------

Form = Callable[[Any], bool]


def _integer(least: int, most: int) -> Form:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(words: Iterable[object]) -> Form:
    known = frozenset(words)
    return lambda value: type(value) is str and value in known


def _is(kind: type) -> Form:
    return lambda value: type(value) is kind


def _list_of(item: Form, most: int) -> Form:
    return lambda value: type(value) is list and len(value) <= most and all(map(item, value))


def _or_none(form: Form) -> Form:
    return lambda value: value is None or form(value)


def _by_name(item: Form) -> Form:
    return lambda value: type(value) is dict and all(map(item, value.values()))


_TEXT = _is(str)
_SIZES = _list_of(_integer(0, 1 << 40), AXES)
_STRIDES = _list_of(_integer(-(1 << 46), 1 << 46), AXES)
_ADDRESS = _integer(0, (1 << 64) - 1)

REPLIES: Mapping[str, tuple[Form, ...]] = {
    "ready": (_list_of(_TEXT, 16), _ADDRESS),
    "backend": (_is(dict),),
    "refused": (_TEXT,),
    "done": (),
    "result": (_one_of(DTYPES), _SIZES, _or_none(_ADDRESS), _STRIDES),
    "raised": (_one_of(("argument", "declined", "other")), _TEXT, _TEXT, _is(bool)),
    "wrong": (_TEXT,),
}
"""The items of every reply, behind its word."""

DESCRIPTION: Mapping[str, Form] = {
    "takes_out": _by_name(_is(bool)),
    "declared": _is(dict),
    "arrays": _one_of(tuple(KINDS)),
    "device": _TEXT,
    "versions": _by_name(_TEXT),
    "notes": _list_of(_TEXT, 100),
}
"""What every description has; other declarations are plain data, for whoever understands them to check."""


def read_reply(content: bytes) -> tuple[Any, ...]:
    """Return a reply of the child's as a tuple, its words as they came.

    Raises
    ------
    MessageError
        If it is not exactly of the form that ``REPLIES`` has for its word.
    """
    try:
        reply = _DECODER.decode(content.decode("utf-8"))
    except MessageError:
        raise
    except (ValueError, RecursionError) as error:
        raise MessageError(f"sent no message: {clean(str(error) or 'nested too deep', 100)}") from None
    if type(reply) is not list or not reply or type(reply[0]) is not str:
        raise MessageError("sent no message: expected an array with a word")
    word, *items = reply
    forms = REPLIES.get(word)
    if forms is None:
        raise MessageError(f"sent the unknown word {clean(word, 50)!r}")
    if len(items) != len(forms) or not all(form(item) for form, item in zip(forms, items, strict=True)):
        raise MessageError(f"sent a malformed {word!r}")
    if word == "result" and len(items[1]) != len(items[3]):
        raise MessageError("sent a malformed 'result': as many strides as axes are expected")
    return (word, *items)


def read_description(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a backend's description, cleaned, once it is seen to have all that is needed.

    Raises
    ------
    MessageError
        If something is missing, or of another form.
    """
    for name, form in DESCRIPTION.items():
        if name not in data or not form(data[name]):
            raise MessageError(f"sent a description with a malformed {name!r}")
    cleaned: dict[str, Any] = clean_data(data)
    return cleaned


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MessageError("sent a number that is not finite")
    return value


def _no_constant(name: str) -> NoReturn:
    raise MessageError(f"sent the number {name}")


def _with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MessageError("sent an object with a name twice")
    return found


_DECODER = json.JSONDecoder(
    parse_float=_finite,
    parse_constant=_no_constant,
    object_pairs_hook=_with_unique_names,
)
