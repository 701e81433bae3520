"""A call of an operation that is noted instead of made: what it would launch, on memory that is not there."""

from __future__ import annotations

import threading
from typing import Any, Final, NamedTuple

__all__ = ["Launch", "Place", "Recorder", "Unrepeatable", "only_here", "thread"]


class Unrepeatable(Exception):
    """A call does more than to launch kernels."""


class Launch(NamedTuple):
    """A kernel with all that it is launched with, the arguments as they lie in memory."""

    kernel: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: bytes
    shared: int


_FAR: Final = 1 << 48  # no two pieces of memory meet
_MOVE: Final = 1 << 40
_MOST: Final = 1 << 13


class Place(NamedTuple):
    """Where an address of a recorded call lies: in which piece of its memory, and how far from the start."""

    piece: int
    offset: int


class Recorder:
    """What one call launches.

    Every piece of memory of the call, arrays first, has an address that nobody has. In a recorder that is
    `moved` each piece lies elsewhere, as far as no other: which addresses a launch is given shows in where
    its arguments differ between the two.

    Parameters
    ----------
    moved : bool
        Which of the two.

    Attributes
    ----------
    launches : list of Launch
        What was launched.
    starts : list of int
        The addresses of all pieces of memory.
    sizes : list of int
        The bytes of those that were allocated.
    """

    def __init__(self, moved: bool) -> None:
        self._step = _FAR + _MOVE * moved
        self.launches: list[Launch] = []
        self.starts: list[int] = []
        self.sizes: list[int] = []

    def address(self, alignment: int = 0) -> int:
        """Return the address of the next piece, `alignment` bytes after a boundary."""
        if len(self.starts) == _MOST:
            raise Unrepeatable(f"more than {_MOST} pieces of memory")
        self.starts.append((len(self.starts) + 1) * self._step + alignment)
        return self.starts[-1]

    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory."""
        self.sizes.append(nbytes)
        return self.address()

    def place(self, address: int, moved: int) -> Place:
        """Return where an address lies, of what it is here and in the other recorder."""
        piece, rest = divmod(moved - address, _MOVE)
        if rest or not 1 <= piece <= len(self.starts):
            raise Unrepeatable("an argument depends on addresses, and is none")
        return Place(piece - 1, address - self.starts[piece - 1])


class _Thread(threading.local):
    """What a thread is about: the call that it records, the stream that it launches on."""

    recorder: Recorder | None = None
    stream: int = 0


thread: Final = _Thread()


def only_here(what: str) -> None:
    """Say of something that it cannot be noted."""
    if thread.recorder is not None:
        raise Unrepeatable(what)
