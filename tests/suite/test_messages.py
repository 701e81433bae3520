"""Whatever arrives from the child is a reply of a known form, or one kind of error."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaugeblock.conformance.backend import messages
from gaugeblock.conformance.backend.messages import HEADER, REPLY_LIMIT, MessageError, Reader

RESULT = ("result", "float32", (2, 3), 1 << 46, (12, 4))
REPLIES = (
    ("ready", ["landlock"], 1 << 46),
    ("backend", {"takes_out": {"relu": True}}),
    ("refused", "no licence"),
    ("done",),
    RESULT,
    ("result", "bfloat16", (), None, ()),
    ("raised", "argument", "ValueError", "x is int32", False),
    ("wrong", "returned None"),
)


def read(content: bytes) -> tuple[Any, ...] | None:
    """Read what arrives in two pieces."""
    reader = Reader(REPLY_LIMIT)
    half = len(content) // 2
    whole = reader.feed(content[:half])
    if whole is None:
        whole = reader.feed(content[half:])
    return None if whole is None else messages.read_reply(whole)


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply[0])
def test_a_reply_arrives_as_it_was_sent(reply: tuple[Any, ...]) -> None:
    assert json.dumps(read(messages.pack(reply))) == json.dumps(reply)


def framed(content: bytes) -> bytes:
    return HEADER.pack(len(content)) + content


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (HEADER.pack(REPLY_LIMIT + 1), "sent a message of 65537 bytes, at most 65536 are read"),
        (b"\xff\xff\xff\xff", "sent a message of 4294967295 bytes"),
        (messages.pack(("done",)) + b"x", "sent 1 bytes more than a reply"),
        (framed(b""), "sent no message"),
        (framed(b"\xff\xfe"), "'utf-8' codec can't decode"),
        (framed(b"\x80\x04\x95."), "sent no message"),
        (framed(b"[" * 60_000), "sent no message"),
        (framed(b'{"a":' * 10_000), "sent no message"),
        (framed(b"[]"), "expected an array with a word"),
        (framed(b'{"done":1}'), "expected an array with a word"),
        (framed(b'["odd"]'), "sent the unknown word 'odd'"),
        (framed(b'["\\ud800\\u001b"]'), r"sent the unknown word '\\\\ud800\\\\x1b'"),
        (framed(b'["done",1]'), "sent a malformed 'done'"),
        (framed(b'["wrong",NaN]'), "sent the number NaN"),
        (framed(b'["wrong",-Infinity]'), "sent the number -Infinity"),
        (framed(b'["wrong",1e999]'), "sent a number that is not finite"),
        (framed(b'["wrong",' + b"9" * 5000 + b"]"), "sent no message: Exceeds the limit"),
        (framed(b'["backend",{"a":1,"a":2}]'), "sent an object with a name twice"),
        (framed(b'["raised","sorry","E","",false]'), "malformed 'raised'"),
        (framed(b'["raised","other","E","",0]'), "malformed 'raised'"),
        (framed(b'["result","object",[2],1,[4]]'), "malformed 'result'"),
        (framed(b'["result","float32",[true],1,[4]]'), "malformed 'result'"),
        (framed(b'["result","float32",[2.0],1,[4]]'), "malformed 'result'"),
        (framed(b'["result","float32",[-2],1,[4]]'), "malformed 'result'"),
        (framed(b'["result","float32",[2],-1,[4]]'), "malformed 'result'"),
        (framed(b'["result","float32",[2],18446744073709551616,[4]]'), "malformed 'result'"),
        (framed(b'["result","float32",[2],1,[]]'), "as many strides as axes"),
        (framed(messages.pack(("result", "float32", [1] * 33, 1, [4] * 33))[4:]), "malformed 'result'"),
        (framed(messages.pack(("result", "float32", [1 << 41], 1, [4]))[4:]), "malformed 'result'"),
    ],
)
def test_a_malformed_reply_is_refused_in_one_line(content: bytes, complaint: str) -> None:
    with pytest.raises(MessageError, match=complaint) as refused:
        read(content)
    assert messages.clean(refused.value) == str(refused.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from([*messages.REPLIES, "", "pickle"])


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Return a reply with some bytes replaced, left out or put in."""
    content = bytearray(messages.pack(draw(st.sampled_from(REPLIES))))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        content[start : start + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content)


MALFORMED = (
    st.binary(max_size=40)
    | st.binary(max_size=40).map(framed)
    | mutilated()
    | st.tuples(WORDS, PLAIN, PLAIN).map(lambda parts: framed(json.dumps(parts).encode()))
    | st.lists(PLAIN, max_size=6).map(lambda parts: framed(json.dumps(["result", *parts]).encode()))
    | st.text('[]{}",:0123456789eE+-.ntf\\u \x00', max_size=40).map(lambda text: framed(text.encode()))
)


@settings(max_examples=1000)
@given(st.lists(MALFORMED, min_size=10, max_size=10))
@example([b""])
def test_whatever_arrives_is_a_known_reply_or_a_message_error(malformed: list[bytes]) -> None:
    for content in malformed:
        try:
            reply = read(content)
        except MessageError:
            continue
        assert reply is None or len(reply) == len(messages.REPLIES[reply[0]]) + 1


DESCRIPTION: dict[str, Any] = {
    "takes_out": {"relu": False},
    "declared": {},
    "arrays": "numpy",
    "device": "\x1b[31mred",
    "versions": {"\u202e": "1"},
    "notes": [],
}


def test_a_description_is_cleaned() -> None:
    found = messages.read_description({**DESCRIPTION, "domain": {"relu": ["\x07"]}})
    assert found["device"] == "\\x1b[31mred"
    assert found["versions"] == {"\\u202e": "1"}
    assert found["domain"] == {"relu": ["\\x07"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"takes_out": {"relu": 1}},
        {"declared": 3},
        {"arrays": "tpu"},
        {"device": None},
        {"versions": {"numpy": 2}},
        {"notes": "one"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_malformed_description_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=f"malformed '{next(iter(wrong))}'"):
        messages.read_description({**DESCRIPTION, **wrong})


ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.lists(inner, max_size=3),
    max_leaves=8,
)


def exactly(value: Any) -> Any:
    """Return something equal only for the same types and bits."""
    if isinstance(value, tuple | list):
        return type(value), [exactly(item) for item in value]
    return type(value), struct.pack("!d", value) if isinstance(value, float) else value


@given(ARGUMENTS)
@example(-0.0)
@example(-math.nan)
@example(((1, 2.0), ((math.inf, True),), ()))
def test_an_argument_arrives_exactly(value: Any) -> None:
    arrived = messages.from_plain(json.loads(messages.pack(messages.as_plain(value))[4:]))
    assert exactly(arrived) == exactly(value)


def test_an_argument_of_another_kind_is_no_message() -> None:
    with pytest.raises(TypeError, match="an argument is a object, expected a number"):
        messages.as_plain(object())


@given(st.text(st.characters(), max_size=700))
@example("\x1b]0;title\x07\x9b\u202e\ud800\r\n\u2028")
def test_clean_words_are_printable_short_and_clean_again(words: str) -> None:
    clean = messages.clean(words)
    assert clean.isprintable()
    assert len(clean) <= messages.WORDS_LIMIT
    assert messages.clean(clean) == clean
    clean.encode("utf-8")


def test_clean_words_that_were_clean_are_the_same() -> None:
    assert messages.clean("max |x| = 3 ≤ 6, größer als π") == "max |x| = 3 ≤ 6, größer als π"
