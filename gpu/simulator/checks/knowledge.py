"""Who knows of whose accesses: the happens-before order among the threads of a launch.

Time is counted in events: barriers, ``__syncwarp``, fences and strong accesses. A thread knows of another's
access that was before

- the last barrier of their block, or the last ``__syncwarp`` that named both;
- a fence of the other's, after which something was written by a strong access (an atomic, a volatile or
  relaxed store, a release) that the thread has seen by one of its own; and all that the other knew by then.

What is seen at an address is a message: how far it vouches for the threads of each block, and for each
thread. A fence by all threads before a barrier counts for the one that raises the flag after it, as it does
on hardware.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.ptx.pointers import DEVICE
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

Times = NDArray[np.uint32]

_MOST_MESSAGES = 64
"""Addresses of one instruction that get messages of their own; beyond, they share one."""


@dataclass(frozen=True, slots=True)
class _Message:
    """What is vouched for: of blocks, of threads, of threads to their own block; and what was seen."""

    blocks: Times
    threads: Times
    local: Times
    seen: Times

    def joined(self, other: _Message) -> _Message:
        if self is other:
            return self
        return _Message(*(np.maximum(getattr(self, n), getattr(other, n)) for n in _Message.__slots__))


class Knowledge:
    """What the threads of a launch know, as events happen.

    Attributes
    ----------
    now : int
        The number of the last event. Accesses after it carry it as their time.
    """

    def __init__(self, threads: int, blocks: int, warp_synchronous: bool) -> None:
        self.threads, self.total, self.blocks = threads, threads * blocks, blocks
        self.warp_synchronous = warp_synchronous
        self.now = 1
        self.barrier = np.zeros(blocks, np.uint32)
        self.met = np.zeros(self.total, np.uint32)
        self.pairs: dict[int, Times] = {}  # of warps with partial masks: when two lanes last met
        self.spoken = False
        self.kept: list[_Message] = []
        self.messages: dict[int, _Message] = {}

    # What happens.

    def barriers(self, blocks: Index | slice) -> None:
        """Let all threads of these blocks know of each other."""
        self.now += 1
        self.barrier[blocks] = self.now
        if self.spoken:
            self._share(np.arange(self.blocks)[blocks])

    def meet(self, threads: Index, masks: NDArray[np.uint32]) -> None:
        """Let the lanes that these masks name know of each other; `threads` are all of them."""
        self.now += 1
        within = threads % self.threads
        warp = threads // self.threads * -(-self.threads // WARP) + within // WARP
        full = _full(within // WARP, self.threads)
        whole = masks & full == full
        self.met[threads[whole]] = self.now
        if self.spoken and self.known.any():
            self._agree(threads, warp, masks)
        if whole.all() and not self.pairs:
            return
        for number in np.unique(warp[~whole]):
            self.pairs.setdefault(int(number), np.zeros((WARP, WARP), np.uint32))
        for number, pair in self.pairs.items():
            mine = warp == number
            for mask in np.unique(masks[mine]):
                lanes = within[mine & (masks == mask)] % WARP
                pair[lanes] = pair[lanes].max(axis=0)
                pair[np.ix_(lanes, lanes)] = self.now

    def fence(self, threads: Index, scope: int) -> None:
        """Let what these threads did, and knew, be seen before what they write next."""
        self._speak()
        self.now += 1
        self.local_fence[threads] = self.now
        if scope == DEVICE:
            self.fenced[threads] = self.now
            self.fence_barrier[threads] = self.barrier[threads // self.threads]
            self.fence_met[threads] = self.met[threads]

    def write(self, threads: Index, places: Index) -> None:
        """Leave messages of these threads at these places."""
        self._speak()
        self.now += 1
        unique, at = np.unique(places, return_inverse=True)
        if len(unique) > _MOST_MESSAGES:
            old = {id(m): m for p in unique.tolist() if (m := self.messages.get(p)) is not None}
            message = self._message(threads, list(old.values()))
            self.messages.update(dict.fromkeys(unique.tolist(), message))
            return
        for number, place in enumerate(unique.tolist()):
            before = self.messages.get(place)
            self.messages[place] = self._message(threads[at == number], [before] if before else [])

    def read(self, threads: Index, places: Index) -> None:
        """Let these threads take the messages at these places."""
        if not self.messages:
            return
        unique, at = np.unique(places, return_inverse=True)
        joined: dict[tuple[int, int], int] = {}
        for number, place in enumerate(unique.tolist()):
            message = self.messages.get(place)
            if message is None:
                continue
            mine = threads[at == number]
            known = self.known[mine]
            for each in np.unique(known).tolist():
                key = each, id(message)
                if key not in joined:
                    joined[key] = self._keep(each, message)
                self.known[mine[known == each]] = joined[key]

    def forget(self, first: int, last: int) -> None:
        """Forget what threads knew that have ended; their messages stay."""
        if self.spoken:
            self.known[first:last] = 0
            self.kept = self.kept[:1]
            self.places.clear()

    def _speak(self) -> None:
        """Make room for what only threads need that use fences and flags."""
        if self.spoken:
            return
        self.spoken = True
        zeros = [np.zeros(self.total, np.uint32) for _ in range(5)]
        self.local_fence, self.fenced, self.fence_barrier, self.fence_met, self.published = zeros
        self.known = np.zeros(self.total, np.int32)
        nothing = np.zeros(0, np.uint32)
        self.kept.append(_Message(nothing, nothing, nothing, nothing))
        self.places: dict[int, int] = {}

    def _keep(self, known: int, message: _Message) -> int:
        """Return the number of a message joined to what is known."""
        if known:
            old = self.kept[known]
            if old is message:
                return known
            message = old.joined(message)
            if all(np.array_equal(getattr(message, n), getattr(old, n)) for n in _Message.__slots__):
                return known
        elif id(message) in self.places:
            return self.places[id(message)]
        self.kept.append(message)
        self.places[id(message)] = len(self.kept) - 1
        return len(self.kept) - 1

    def _share(self, blocks: Index) -> None:
        """At a barrier, let threads know what others of their block know, and vouch for fences before it."""
        if not self.known.any() and not self.local_fence.any():
            return
        for block in blocks.tolist():
            own = slice(block * self.threads, (block + 1) * self.threads)
            self.published[own] = self.fenced[own]
            self._join(own)

    def _agree(self, threads: Index, warp: Index, masks: NDArray[np.uint32]) -> None:
        """At a ``__syncwarp``, let the lanes that a mask names know what each of them knows."""
        meeting = warp.astype(np.uint64) << np.uint64(32) | masks
        for each in np.unique(meeting[self.known[threads] > 0]):
            mine = threads[meeting == each]
            self._join(mine)

    def _join(self, threads: Index | slice) -> None:
        """Give all these threads what any of them knows."""
        different = np.unique(self.known[threads]).tolist()
        if len(different) > 1:
            number = different[-1]
            for each in different[:-1]:
                number = self._keep(number, self.kept[each]) if each else number
            self.known[threads] = number

    def _message(self, threads: Index, before: list[_Message]) -> _Message:
        """Return what these threads may vouch for, and the messages before."""
        size = self.blocks, self.total, self.total, self.total
        message = _Message(*(np.zeros(each, np.uint32) for each in size))
        vouching = threads[self.fenced[threads] > 0]
        local = threads[self.local_fence[threads] > 0]
        known = np.unique(self.known[local]).tolist()
        for each in (*before, *(self.kept[number] for number in known if number)):
            for name in _Message.__slots__:
                have = getattr(message, name)
                np.maximum(have, getattr(each, name), out=have)
        _raise(message.blocks, vouching // self.threads, self.fence_barrier[vouching])
        for block in np.unique(vouching // self.threads).tolist():
            own = slice(block * self.threads, (block + 1) * self.threads)
            np.maximum(message.threads[own], self.published[own], out=message.threads[own])
        for lane in range(WARP) if self.fence_met[vouching].any() else ():
            mate = vouching // self.threads * self.threads
            mate = mate + np.minimum(vouching % self.threads // WARP * WARP + lane, self.threads - 1)
            _raise(message.threads, mate, self.fence_met[vouching])
        _raise(message.threads, vouching, self.fenced[vouching])
        _raise(message.local, local, self.local_fence[local])
        _raise(message.seen, threads, np.full(len(threads), self.now, np.uint32))
        return message

    # What is known.

    def knows(self, mine: Index, other: Index, time: Times, many: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Say of each thread in `mine` whether it knows what `other` did at `time`.

        It is to know that of all threads of `other`'s warp where `many` is 1, of its block where it is 2.
        """
        block, others, one = mine // self.threads, other // self.threads, many == 0
        same = block == others
        known: NDArray[np.bool_] = ((mine == other) & one) | (same & (time < self.barrier[block]))
        warp = mine % self.threads // WARP
        mates = same & (many < 2) & (other % self.threads // WARP == warp)
        known |= mates & (self.warp_synchronous | (time < np.minimum(self.met[mine], self.met[other])))
        if self.pairs and (mates & ~known & one).any():
            for at in np.flatnonzero(mates & ~known & one):
                number = int(block[at]) * -(-self.threads // WARP) + int(warp[at])
                pair = self.pairs.get(number)
                if pair is not None:
                    known[at] = (
                        time[at] < pair[mine[at] % self.threads % WARP, other[at] % self.threads % WARP]
                    )
        if not self.spoken:
            return known
        numbers = self.known[mine]
        for number in np.unique(numbers).tolist():
            if number:
                rows = np.flatnonzero((numbers == number) & ~known)
                message, of, when = self.kept[number], other[rows], time[rows]
                told = (when < message.threads[of]) | (same[rows] & (when < message.local[of]))
                known[rows] = (when < message.blocks[others[rows]]) | (told & one[rows])
        return known

    def saw_later(self, mine: int, other: int, time: int) -> bool:
        """Whether a thread has seen what another wrote after that time, with no fence between."""
        return self.spoken and bool(self.known[mine]) and self.kept[self.known[mine]].seen[other] > time


def names_all(lanes: Index, masks: NDArray[np.uint32], threads: int) -> bool:
    """Whether masks name all lanes of their warps; blocks have so many `threads`."""
    full = _full(lanes % threads // WARP, threads)
    return bool((masks & full == full).all())


def _full(warp: Index, threads: int) -> NDArray[np.uint32]:
    """Return the masks of all lanes that these warps have."""
    have = np.minimum(threads - warp * WARP, WARP).astype(np.uint64)
    return ((np.uint64(1) << have) - np.uint64(1)).astype(np.uint32)


def _raise(times: Times, at: Index, to: Times) -> None:
    np.maximum.at(times, at, to)
