"""Cheats on the way to the suite: forged, broken and hostile messages; objects that act where they are read.

They know no format: they look for the descriptors that lead to the suite, and write what used to work there.
"""

import json
import os
import pickle
import stat
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from cheating import DESCRIPTORS, FORGED, HIJACKED, PICKLED, PYGPUBENCH, Array, Cheat, absolute, right

ESCAPES = "\x1b[2J\x1b]0;conforming\x07\r\n[bold green]conforming[/]<script>alert(1)</script>\u202e\x00"
MEGABYTE = 1 << 20


def channels() -> Iterator[int]:
    """Yield the descriptors beyond the first three that lead to another process."""
    for name in os.listdir("/proc/self/fd"):
        try:
            mode = os.fstat(int(name)).st_mode
        except OSError:
            continue
        if int(name) > 2 and (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)):
            yield int(name)


def send(data: bytes) -> None:
    """Write to whoever listens, and do not wait for a reader."""
    for channel in channels():
        try:
            os.set_blocking(channel, False)
            os.write(channel, data)
            os.set_blocking(channel, True)
        except OSError:
            continue


def framed(data: bytes) -> bytes:
    """Return a message behind its length, as pipes of Python have it."""
    return struct.pack("!i", len(data)) + data


NEUTRAL = (
    "from gaugeblock.conformance import trial\n"
    "for name in ('compare', 'compare_zero_signs', 'expect_same', 'expect_related'):\n"
    "    setattr(trial.Trial, name, lambda *_, **__: None)\n"
)


class Payload:
    """An object that does something where it is unpickled: there, nothing is compared any more."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (NEUTRAL,)


class Text(str):
    """A string that brings a payload along."""

    def __str__(self) -> str:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (NEUTRAL,)


class Described(Cheat):
    """A cheat whose device is a string that brings a payload along."""

    def device(self) -> str:
        """Return the payload."""
        return Text("CPU")


def pickled_reply(x: Array) -> Array:
    """Send an object that acts where it is read, then answer."""
    send(framed(pickle.dumps(Payload())))
    return absolute(x)


REPLIES = (
    framed(pickle.dumps(("done", None, None))),
    framed(json.dumps(["done", None, None]).encode()),
    framed(json.dumps({"word": "done"}).encode()),
)


def early(x: Array) -> Array:
    """Say that all is done before anything is."""
    for reply in REPLIES:
        send(reply)
    return absolute(x)


def twice(x: Array) -> Array:
    """Have the answer followed by another, which will be taken for that to the next question."""

    def again() -> None:
        time.sleep(0.01)
        early(x)

    threading.Thread(target=again, daemon=True).start()
    return absolute(x)


def half(x: Array) -> Array:
    """Announce a message and send half of it."""
    send(framed(bytes(100))[:54])
    time.sleep(60)
    return absolute(x)


def flood(x: Array) -> Array:
    """Send without end."""
    stop = time.monotonic() + 20
    while time.monotonic() < stop:
        send(bytes(1 << 16))
    return absolute(x)


def closing(x: Array) -> Array:
    """Close the way to the suite and live on."""
    for channel in list(channels()):
        os.close(channel)
    time.sleep(60)
    return absolute(x)


def chatter(x: Array) -> Array:
    """Write more to both outputs than anybody wants to read, with escape codes in it."""
    block = (ESCAPES * 4096)[: 1 << 16].encode("utf-8", "replace")
    for _ in range(32 * MEGABYTE // len(block)):
        os.write(1, block)
    os.write(2, b"Traceback (most recent call last):\n" + ESCAPES.encode() + b"\n")
    os._exit(0)


def raising(kind: type[BaseException], *words: Any) -> Any:
    """Return relu that raises for every input."""

    def relu(x: Array) -> Array:
        raise kind(*words)

    return relu


class Mute(RuntimeError):
    """An exception that cannot be put into words."""

    def __str__(self) -> str:
        raise SystemExit(0)


class NoString(RuntimeError):
    """An exception whose words are no string."""

    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


NAMELESS = type("x" * MEGABYTE + ESCAPES.replace("\0", ""), (RuntimeError,), {})


class Endless(np.ndarray):
    """An array that says it is much larger than it is."""

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Return a shape that fits in no memory."""
        return (1 << 60,)

    @property
    def nbytes(self) -> int:
        """Return a size that is no size."""
        return -1


def hostile(x: Array) -> Array:
    """Return an array of objects that act where they are read."""
    right.relu(x)
    result = np.empty(x.shape, object)
    result.fill(Payload())
    return result


PICKLED_DEVICE = Described(
    "its description carries an object that switches the suite's comparison off", [PICKLED], relu=absolute
)
PICKLED_REPLY = Cheat(
    "a reply that is an object, which acts where it is read", [PICKLED, FORGED], relu=pickled_reply
)
EARLY = Cheat("replies before the work is done", [FORGED, HIJACKED], relu=early)
TWICE = Cheat("replies twice, once for the next question", [FORGED], relu=twice)
HALF = Cheat("sends half a message and falls silent", [DESCRIPTORS], relu=half)
FLOOD = Cheat("sends without end", [DESCRIPTORS], relu=flood)
CLOSED = Cheat("closes its side and lives on", [DESCRIPTORS], relu=closing)
CHATTER = Cheat("fills the log, and its last words are escape codes", [HIJACKED], relu=chatter)
LARGE_WORDS = Cheat(
    "raises 50 MB of words", [PYGPUBENCH], relu=lambda x: raising(RuntimeError, "x" * (50 * MEGABYTE))(x)
)
SURROGATE = Cheat("raises half a character", [PYGPUBENCH], relu=raising(RuntimeError, "\ud800"))
ESCAPE_CODES = Cheat("raises escape codes and markup", [HIJACKED], relu=raising(RuntimeError, ESCAPES))
LARGE_NAME = Cheat(
    "raises an exception with a name of 1 MB and escape codes", [HIJACKED], relu=raising(NAMELESS)
)
MUTE = Cheat("raises what ends the process when it is put into words", [PYGPUBENCH], relu=raising(Mute))
NO_STRING = Cheat("raises what has no words", [PYGPUBENCH], relu=raising(NoString))
INTERRUPTS = Cheat("raises KeyboardInterrupt", [PYGPUBENCH], relu=raising(KeyboardInterrupt))
ENDLESS = Cheat(
    "returns an array that says it is larger than memory",
    [PYGPUBENCH],
    relu=lambda x: (right.relu(x), x.copy().view(Endless))[1],
)
REPEATED = Cheat(
    "returns an array that repeats one element 2⁴⁰ times",
    [PYGPUBENCH],
    relu=lambda x: (right.relu(x), np.broadcast_to(x.dtype.type(0), (1 << 40,)))[1],
)
OBJECTS = Cheat("returns an array of objects that act where they are read", [PICKLED], relu=hostile)
HOSTILE_DEVICE = Cheat(
    "a description of escape codes, half characters and a megabyte",
    [HIJACKED],
    declares={
        "versions": {ESCAPES: "\ud800", "large": "x" * MEGABYTE},
        "notes": [ESCAPES, "\ud800", "x" * MEGABYTE],
    },
    relu=absolute,
)
SPOKEN = Cheat(
    "prints that it conforms",
    [HIJACKED],
    at_load=lambda: print("1 passed\nrelu float32 conforming", file=sys.stderr, flush=True),
    relu=absolute,
)
