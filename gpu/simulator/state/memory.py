"""Memories of the device: one global arena with red zones, and windows (shared per block, local per thread).

Every byte has a shadow byte: 0 nobody's (red zone, freed, never allocated), 1 allocated, 3 allocated and
written. One comparison of the shadow therefore answers bounds, lifetime and initialisation together, and
where a whole allocation is known to be written, comparing the lowest and highest address of an access is
enough.

Device addresses are those of the process: an array of all its memory serves every access. The arena lies at
``ARENA``, where the system allows that, and host memory that is lent to the device keeps its address.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.errors import LaneFault, LogicError
from gaugeblock.gpu.simulator.errors import MemoryError as DeviceMemoryError
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Extent

BASE = 0x1_0000
"""The address from which offsets are counted; nothing lies before it."""
ARENA = 0x7000_0000_0000
"""The address of the first byte of device memory, if it is free."""
_END = 0xFFFF_FFFF_0000
SHARED_WINDOW = 0x1_0000_0000
LOCAL_WINDOW = 0x2_0000_0000
WINDOW = 0x1_0000_0000
"""Generic addresses of shared and local memory: ``window + offset``."""

RED_ZONE = 256
_QUARANTINE = 128
_LARGE = 1 << 20
_FAR = 1 << 12
_LEAST = 1 << 26
_ALLOCATED, _WRITTEN = 1, 3
_WRITTEN_BYTE = bytes([_WRITTEN])
_FULL = {size: int.from_bytes(bytes([_WRITTEN]) * size, "little") for size in (1, 2, 4, 8)}
_HALF = {size: int.from_bytes(bytes([_ALLOCATED]) * size, "little") for size in (1, 2, 4, 8)}
_UNSIGNED: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.uint8),
    2: np.dtype(np.uint16),
    4: np.dtype(np.uint32),
    8: np.dtype(np.uint64),
}


@dataclass(eq=False, slots=True)
class Allocation:
    """A range of device memory that `GlobalMemory.allocate` returned, a variable, or host memory lent."""

    start: int
    size: int
    room: int
    label: str
    written: bool = False
    writable: bool = True


Snapshot: TypeAlias = tuple[Allocation, Array, "Array | None", bool]
"""An allocation, copies of its bytes and of their shadow, and whether it was written."""


@dataclass(eq=False, slots=True)
class Prepared:
    """Addresses of one register, analysed once and used by every access through that register.

    No offset is below `low` or above `high`, which often are the least and the greatest, and always where it
    is `exact`; `plain` are those of which that is said: of windows the owner's part is not in them.
    """

    source: Array
    offset: NDArray[np.intp]
    plain: NDArray[np.intp]
    low: int
    high: int
    low_bits: int
    exact: bool = False
    holder: Allocation | None = None

    def tighten(self) -> bool:
        """Find the least and the greatest; say whether they were not known."""
        if self.exact:
            return False
        self.low, self.high, self.exact = int(self.plain.min()), int(self.plain.max()), True
        return True

    def leaves(self, begin: int, end: int, offset: int, nbytes: int) -> bool:
        """Say whether an access leaves a range."""
        out = self.low + offset < begin or self.high + offset + nbytes > end
        return out and (not self.tighten() or self.leaves(begin, end, offset, nbytes))


def _prepared(source: Array, plain: NDArray[np.intp]) -> Prepared:
    """Analyse offsets by the bits in which they differ: that is one pass, and exact for aligned ranges."""
    first = plain.item(0)
    if len(plain) == 1:
        return Prepared(source, plain, plain, first, first, first & 15, True)
    differing = int(_or(plain ^ plain[0]))
    high = first | differing
    return Prepared(source, plain, plain, first & ~differing, high, high & 15)


_or = np.bitwise_or.reduce


class Bytes:
    """Bytes and their shadow, seen at every access width."""

    def __init__(self, data: Array, shadow: Array) -> None:
        self.data, self.shadow = data, shadow
        self._views: dict[tuple[bool, int, int], Array] = {}

    def view(self, shadow: bool, size: int, count: int) -> Array:
        """Elements of `size` bytes; with `count` > 1 a row per aligned vector of that many."""
        key = (shadow, size, count)
        found = self._views.get(key)
        if found is None:
            plain = (self.shadow if shadow else self.data).view(_UNSIGNED[size])
            found = plain if count == 1 else plain.reshape(-1, count)
            self._views[key] = found
        return found

    def gather(self, offset: NDArray[np.intp], size: int, count: int) -> list[Array]:
        """Read `count` consecutive elements per lane at byte offsets that were checked before."""
        rows = offset >> (size * count).bit_length() - 1
        if count == 1:
            return [self.view(False, size, 1).take(rows)]
        columns = np.ascontiguousarray(self.view(False, size, count).take(rows, 0).T)
        return list(columns)

    def scatter(self, offset: NDArray[np.intp], size: int, values: list[Array]) -> None:
        """Write one element per value and lane; where lanes collide the last one wins."""
        count = len(values)
        rows = offset >> (size * count).bit_length() - 1
        view = self.view(False, size, count)
        if count == 1:
            view[rows if len(rows) >= len(values[0]) else np.broadcast_to(rows, len(values[0]))] = values[0]
            return
        lanes = max(len(rows), *(len(v) for v in values))
        block = np.empty((lanes, count), _UNSIGNED[size])
        for column, value in enumerate(values):
            block[:, column] = value
        view[rows if len(rows) == lanes else np.broadcast_to(rows, lanes)] = block

    def written(self, offset: NDArray[np.intp], nbytes: int) -> NDArray[np.bool_]:
        """Say per lane whether all bytes are allocated and written."""
        size = min(nbytes, 8)
        states = self.view(True, size, nbytes // size).take(offset >> nbytes.bit_length() - 1, 0)
        good: NDArray[np.bool_] = states == _FULL[size]
        return good if nbytes <= 8 else np.logical_and.reduce(good, axis=1)

    def whole(self, offset: NDArray[np.intp], nbytes: int) -> bool:
        """Say whether all bytes of all lanes are allocated and written."""
        size = min(nbytes, 8)
        states = self.view(True, size, nbytes // size).take(offset >> nbytes.bit_length() - 1, 0).tobytes()
        return states == _WRITTEN_BYTE * len(states)

    def allocated(self, offset: NDArray[np.intp], nbytes: int) -> NDArray[np.bool_]:
        """Say per lane whether all bytes are allocated."""
        size = min(nbytes, 8)
        states = self.view(True, size, nbytes // size).take(offset >> nbytes.bit_length() - 1, 0)
        good: NDArray[np.bool_] = (states & _HALF[size]) == _HALF[size]
        return good if nbytes <= 8 else np.logical_and.reduce(good, axis=1)

    def mark_written(self, offset: NDArray[np.intp], nbytes: int) -> None:
        """Note that these bytes have been written."""
        size = min(nbytes, 8)
        self.view(True, size, nbytes // size)[offset >> nbytes.bit_length() - 1] = _FULL[size]


class Gap:
    """Memory that lanes read, and that nobody has written, in part or all of it."""

    def __init__(self, bytes_: Bytes, places: NDArray[np.intp], nbytes: int) -> None:
        self.bytes, self.places, self.nbytes = bytes_, places, nbytes
        self.columns = places[:, None] + np.arange(nbytes)
        self.before = bytes_.shadow[self.columns]

    def missing(self, count: int) -> list[NDArray[np.bool_]]:
        """Say of each of `count` elements of a lane whether it was not written."""
        elements = (self.before != _WRITTEN).reshape(len(self.places), count, -1).any(axis=2)
        return list(elements.T)

    def close(self) -> None:
        """Take it for written, so that it can be read."""
        self.bytes.mark_written(self.places, self.nbytes)

    def open(self) -> None:
        """Take it for what it was again."""
        self.bytes.shadow[self.columns] = self.before


_NOTHING = Bytes(np.zeros(0, np.uint8), np.zeros(0, np.uint8))


def first_false(good: NDArray[np.bool_]) -> int:
    """Index of the first lane that is not good."""
    return int(np.argmin(good))


def misaligned(prepared: Prepared, offset: int, nbytes: int, base: int, window: str) -> LaneFault:
    """Name the first lane whose address is not a multiple of the access width."""
    where = prepared.offset + offset
    good = (where & (nbytes - 1)) == 0
    lane = first_false(good)
    address = int(prepared.plain[lane]) + base + offset
    return LaneFault(
        "misaligned address",
        f"{nbytes}-byte access to {window} address {address:#x}, "
        f"{address % nbytes} bytes past a multiple of {nbytes}",
        lane if len(prepared.offset) > 1 else None,
        address,
        bad=~good,
    )


def misplaced(prepared: Prepared, offset: int, nbytes: int, holders: list[Allocation]) -> LaneFault | None:
    """Name the first lane that accesses none of the allocations that its address was computed from."""
    where = prepared.offset + offset
    good = np.zeros(len(where), np.bool_)
    for each in holders:
        good |= (where >= each.start) & (where + nbytes <= each.start + each.size)
    if good.all():
        return None
    lane = first_false(good)
    at, nearest = int(where[lane]), holders[0]
    far = at - nearest.start - nearest.size
    side = f"{far} bytes past the end of" if far >= 0 else f"{nearest.start - at} bytes before"
    return LaneFault(
        "out of bounds",
        f"{nbytes}-byte access at address {at + BASE:#x}, {side} {nearest.label}, from which the address was "
        f"computed, in other memory",
        lane if len(good) > 1 else None,
        at + BASE,
        check="variables",
    )


class GlobalMemory:
    """Device memory: an arena reserved once, pages committed as they are touched."""

    def __init__(self, capacity: int = 1 << 33) -> None:
        self.capacity, self._pages = _reserve(capacity)
        self.bytes = Bytes(_process_memory(), self._pages[1].bytes)
        self._first = self._pages[0].address - BASE
        self._top = self._first + RED_ZONE
        self._lent: list[Allocation] = []
        self._starts: list[int] = []
        self._live: dict[int, Allocation] = {}
        self._spare: dict[int, list[int]] = {}
        self._quarantine: deque[Allocation] = deque()
        self._freed: dict[int, Allocation] = {}
        self.used = 0

    # Allocation.

    def allocate(self, size: int, label: str = "") -> Allocation:
        """Reserve `size` bytes, aligned to 256, with a red zone behind (and, from its neighbour, before)."""
        room = _size_class(size + RED_ZONE)
        if not self._spare.get(room) and room > self._fresh():
            self._reclaim(room, size)
        spare = self._spare.get(room)
        if spare:
            start = spare.pop()
            del self._freed[start]
        else:
            start = self._top
            self._top += room
        allocation = Allocation(
            start, size, room, label or f"allocation of {size} bytes at {BASE + start:#x}"
        )
        self._enter(allocation)
        self._shadow(start, size)[:] = _ALLOCATED
        self.used += size
        return allocation

    def _reclaim(self, room: int, size: int) -> None:
        """Where no fresh memory is left, join all that was freed, and have a piece of `room` bytes of it."""
        joined: list[list[int]] = []
        for old in sorted(self._freed.values(), key=lambda old: old.start):
            if joined and sum(joined[-1]) == old.start:
                joined[-1][1] += old.room
            else:
                joined.append([old.start, old.room])
        self._quarantine.clear()
        self._spare.clear()
        if joined and sum(joined[-1]) == self._top:
            self._top = joined.pop()[0]
        best = min((piece for piece in joined if piece[1] >= room), key=lambda piece: piece[1], default=None)
        if room > self._fresh() and best is not None and best[1] > room:
            joined.append([best[0] + room, best[1] - room])
            best[1] = room
        self._freed = {start: Allocation(start, 0, length, "memory") for start, length in joined}
        for start, length in joined:
            self._spare.setdefault(length, []).append(start)
        if room > self._fresh() and best is None:
            raise DeviceMemoryError(f"out of memory: {size} bytes asked, {self.capacity - self.used} free")

    def _fresh(self) -> int:
        """Return the bytes that were never allocated."""
        return self._first + self.capacity - self._top

    def _enter(self, allocation: Allocation) -> None:
        start = allocation.start
        self._live[start] = allocation
        self._starts.insert(bisect_right(self._starts, start), start)

    def _leave(self, allocation: Allocation) -> None:
        del self._starts[bisect_right(self._starts, allocation.start) - 1]
        del self._live[allocation.start]

    def _shadow(self, start: int, size: int) -> Array:
        """Return the shadow of a range of the arena."""
        return self.bytes.shadow[start - self._first : start - self._first + size]

    @contextmanager
    def lending(self, ranges: Iterable[tuple[int, int, bool, str]]) -> Iterator[None]:
        """Let kernels use host memory for a while, at its own addresses and within its bounds.

        Parameters
        ----------
        ranges : iterable of (int, int, bool, str)
            Address, size in bytes, whether it may be written, and what to call it. What it holds counts as
            written. Ranges that overlap become one.
        """
        lent: list[Allocation] = []
        for address, size, writable, label in sorted(ranges):
            start, last = address - BASE, lent[-1] if lent else None
            if last is not None and start < last.start + last.size:
                last.size = max(last.size, start + size - last.start)
                last.writable |= writable
                last.label += f" and {label}" * (label not in last.label)
            elif size:
                lent.append(Allocation(start, size, 0, label, True, writable))
        self._lent = self._lent + lent
        for allocation in lent:
            self._enter(allocation)
        try:
            yield
        finally:
            self._lent = [each for each in self._lent if each not in lent]
            for allocation in lent:
                self._leave(allocation)

    def free(self, allocation: Allocation) -> None:
        """Give the range back; it is not reused for a while, so that late accesses are seen."""
        if self._live.get(allocation.start) is not allocation:
            raise LogicError("freed twice, or never allocated: " + allocation.label)
        self._leave(allocation)
        self._shadow(allocation.start, allocation.size)[:] = 0
        self.used -= allocation.size
        if allocation.size >= _LARGE:
            self._release_pages(allocation)
        self._freed[allocation.start] = allocation
        self._quarantine.append(allocation)
        if len(self._quarantine) > _QUARANTINE:
            old = self._quarantine.popleft()
            self._spare.setdefault(old.room, []).append(old.start)

    def _release_pages(self, allocation: Allocation) -> None:
        """Give the pages of a large range back to the system."""
        start = allocation.start - self._first
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (start + allocation.size - first) // mmap.PAGESIZE * mmap.PAGESIZE
        for pages in self._pages:
            pages.release(first, length)

    def containing(self, low: int, high: int) -> Allocation | None:
        """Return the live allocation that holds all bytes of [low, high), as offsets."""
        at = bisect_right(self._starts, low) - 1
        if at >= 0:
            allocation = self._live[self._starts[at]]
            if high <= allocation.start + allocation.size:
                return allocation
        return None

    def holding(self, prepared: Prepared, offset: int, nbytes: int) -> Allocation | None:
        """Return the live allocation that holds all that is accessed."""
        low, high = prepared.low + offset, prepared.high + offset + nbytes
        found = prepared.holder
        if found is not None and found.start <= low and high <= found.start + found.size:
            return found
        found = self.containing(low, high)
        if found is None and prepared.tighten():
            found = self.containing(prepared.low + offset, prepared.high + offset + nbytes)
        prepared.holder = found
        return found

    def live(self) -> tuple[Allocation, ...]:
        """Return all live allocations: garbage may free others while these are looked at."""
        return tuple(self._live.values())

    def snapshot(self) -> list[Snapshot]:
        """Return copies of all allocations and of their shadow, and whether they are written."""
        return [
            (
                each,
                self.bytes.data[each.start : each.start + each.size].copy(),
                self._shadow(each.start, each.size).copy() if each.room else None,
                each.written,
            )
            for each in self.live()
        ]

    def restore(self, snapshot: list[Snapshot]) -> None:
        """Make memory what it was, where it is still allocated."""
        for each, data, shadow, written in snapshot:
            if self._live.get(each.start) is not each:
                continue
            if each.writable:
                self.bytes.data[each.start : each.start + each.size] = data
            if shadow is not None:
                self._shadow(each.start, each.size)[:] = shadow
            each.written = written

    def host_range(self, address: int, nbytes: int, write: bool) -> Array:
        """Return the bytes of a host copy, after checking that one allocation holds them."""
        low = address - BASE
        allocation = self.containing(low, low + nbytes)
        if allocation is None:
            raise LogicError(f"copy of {nbytes} bytes at {address:#x}: {self.describe(low, nbytes)}")
        if write and allocation.room:
            self._shadow(low, nbytes)[:] = _WRITTEN
            if nbytes == allocation.size:
                allocation.written = True
        return self.bytes.data[low : low + nbytes]

    def describe(self, offset: int, nbytes: int) -> str:
        """Say where an offset lies relative to the nearest allocation."""
        for old in tuple(self._freed.values()):  # garbage may free others meanwhile
            if old.start <= offset < old.start + old.size:
                return f"{offset - old.start} bytes into freed {old.label}"
        best, text = None, "no memory is allocated"
        for live in self.live():
            end = live.start + live.size
            if live.start <= offset < end:
                return f"{nbytes} bytes from byte {offset - live.start} of {live.label}"
            distance = live.start - offset if offset < live.start else offset - end
            if best is None or distance < best:
                best = distance
                side = "before" if offset < live.start else "past the end of"
                text = f"{distance} bytes {side} {live.label}"
        if self._lent and best is not None and best >= _FAR:
            return "far from all memory that the kernel was given"
        return text

    # Access by kernels.

    def prepare(self, addresses: Array) -> Prepared:
        """Analyse a register of addresses."""
        return _prepared(addresses, addresses.view(np.int64) - BASE)

    def _bounds(self, prepared: Prepared, offset: int, nbytes: int) -> None:
        if (prepared.low_bits | offset) & (nbytes - 1) and ((prepared.offset + offset) & (nbytes - 1)).any():
            raise misaligned(prepared, offset, nbytes, BASE, "global")

    def _good(self, where: NDArray[np.intp], nbytes: int, *, write: bool) -> NDArray[np.bool_]:
        """Say per lane whether it may read or write all bytes: in the arena by their shadow."""
        asked = self.bytes.allocated if write else self.bytes.written
        inside = (where >= self._first) & (where <= self._first + self.capacity - nbytes)
        if inside.all():
            return asked(where - self._first, nbytes)
        good = np.zeros(len(where), np.bool_)
        good[inside] = asked(where[inside] - self._first, nbytes)
        for lent in self._lent:
            if lent.writable or not write:
                good |= (where >= lent.start) & (where <= lent.start + lent.size - nbytes)
        return good

    def _fault(
        self, prepared: Prepared, offset: int, nbytes: int, good: NDArray[np.bool_], verb: str
    ) -> LaneFault:
        lane = first_false(good)
        where = int(prepared.offset[lane]) + offset
        what = self.describe(where, nbytes)
        holder = self.containing(where, where + nbytes)
        if holder is not None:
            kind = "uninitialised read" if holder.writable else "write to read-only memory"
        else:
            kind = "use after free" if "freed" in what else "out of bounds"
        ours = self._first <= where < self._first + self.capacity or not self._lent
        place = f" at address {where + BASE:#x}" if ours else ""  # of the host's no two runs have the same
        detail = f"{nbytes}-byte {verb}{place}, {what}"
        fault = LaneFault(kind, detail, lane if len(good) > 1 else None, where + BASE, bad=~good)
        if kind == "uninitialised read":
            fault.check, every = "uninitialised", prepared.offset + offset
            if self._good(every, nbytes, write=True).all() and not self._lent:
                fault.gap = Gap(self.bytes, every - self._first, nbytes)
        return fault

    def check_read(self, prepared: Prepared, offset: int, nbytes: int) -> Allocation | None:
        """Raise unless every lane may read `nbytes` at its address plus `offset`.

        Returns
        -------
        Allocation or None
            The one that all lanes read, if it is one.
        """
        aligned = not (prepared.low_bits | offset) & (nbytes - 1)
        allocation = self.holding(prepared, offset, nbytes)
        if aligned and allocation is not None:
            if allocation.written:
                return allocation
            if self.bytes.whole(prepared.offset + (offset - self._first), nbytes):
                return allocation
        self._bounds(prepared, offset, nbytes)
        good = self._good(prepared.offset + offset, nbytes, write=False)
        if not good.all():
            raise self._fault(prepared, offset, nbytes, good, "read")
        return allocation

    def check_write(self, prepared: Prepared, offset: int, nbytes: int) -> Allocation | None:
        """Raise unless every lane may write; note what is being written. Return as `check_read` does."""
        allocation = self.holding(prepared, offset, nbytes)
        aligned = not (prepared.low_bits | offset) & (nbytes - 1)
        if not aligned or allocation is None or not allocation.writable:
            self._bounds(prepared, offset, nbytes)
            good = self._good(prepared.offset + offset, nbytes, write=True)
            if not good.all():
                raise self._fault(prepared, offset, nbytes, good, "write")
        if allocation is None or not allocation.written:
            where = prepared.offset + offset - self._first
            if allocation is None:  # some lanes may write memory that is lent, which has no shadow
                where = where[(where >= 0) & (where < self.capacity)]
            self.bytes.mark_written(where, nbytes)
        return allocation


class Window:
    """Shared memory of a batch's blocks, or local memory of its threads: one small range for each owner.

    `base` gives, per lane, where the lane's owner begins in the common array.
    """

    def __init__(self, name: str, size: int, owners: int, base: NDArray[np.intp] | None) -> None:
        self.name, self.size = name, size
        self.stride = (size + 15) // 16 * 16 + 16
        total = self.stride * owners if size else 0
        self.bytes = Bytes(np.zeros(total, np.uint8), np.ones(total, np.uint8)) if total else _NOTHING
        self.base = base
        self.all_written = self.copied_to = False
        self._barriers = 0

    def prepare(self, addresses: Array, lanes: NDArray[np.intp] | None) -> Prepared:
        """Analyse a register of offsets into the window, for these lanes of the batch."""
        signed = addresses.view(f"i{addresses.itemsize}")  # an offset may take it back to zero
        prepared = _prepared(addresses, signed.astype(np.intp))
        if self.base is not None:
            prepared.offset = prepared.plain + (self.base if lanes is None else self.base[lanes])
        return prepared

    def check_bounds(self, prepared: Prepared, offset: int, nbytes: int) -> None:
        """Raise unless every lane's access is aligned and inside the window."""
        if (prepared.low_bits | offset) & (nbytes - 1) and ((prepared.offset + offset) & (nbytes - 1)).any():
            raise misaligned(prepared, offset, nbytes, 0, self.name)
        if prepared.leaves(0, self.size, offset, nbytes):
            own = prepared.plain + offset
            good = (own >= 0) & (own + nbytes <= self.size)
            lane = first_false(good)
            where = int(own[lane])
            raise LaneFault(
                "out of bounds",
                f"{nbytes}-byte access at {self.name} address {where:#x}; "
                f"the {self.name} memory has {self.size} bytes",
                lane if len(own) > 1 else None,
                where,
                bad=~good,
            )

    def leaving(self, prepared: Prepared, offset: int, nbytes: int, variable: Extent) -> LaneFault | None:
        """Name the first lane that leaves, inside the window, the variable that its address comes from."""
        inside = not prepared.leaves(variable.start, variable.end, offset, nbytes)
        if inside or prepared.leaves(0, self.size, offset, nbytes):
            return None
        own = prepared.plain + offset
        lane = first_false((own >= variable.start) & (own + nbytes <= variable.end))
        where = int(own[lane])
        far = where - variable.end if where >= variable.start else variable.start - where
        side = "before" if where < variable.start else "past the end of"
        return LaneFault(
            "out of bounds",
            f"{nbytes}-byte access at {self.name} address {where:#x}, {far} bytes {side} {variable.name}, "
            f"from which the address was computed",
            lane if len(own) > 1 else None,
            where,
            check="variables",
        )

    def check_read(self, prepared: Prepared, offset: int, nbytes: int) -> None:
        """Raise unless every lane may read `nbytes` at its address plus `offset`."""
        self.check_bounds(prepared, offset, nbytes)
        if self.all_written or self.bytes.whole(prepared.offset + offset, nbytes):
            return
        good = self.bytes.written(prepared.offset + offset, nbytes)
        if not good.all():
            lane = first_false(good)
            where = int(prepared.plain[min(lane, len(prepared.plain) - 1)]) + offset
            detail = f"{nbytes}-byte read at {self.name} address {where:#x}, which no thread has written"
            detail += " or to which a copy was on its way" if self.copied_to else ""
            gap = Gap(self.bytes, prepared.offset + offset, nbytes)
            raise LaneFault(
                "uninitialised read",
                detail,
                lane if len(good) > 1 else None,
                where,
                check="uninitialised",
                bad=~good,
                gap=gap,
            )

    def check_write(self, prepared: Prepared, offset: int, nbytes: int) -> None:
        """Raise unless every lane may write; note what is being written."""
        self.check_bounds(prepared, offset, nbytes)
        if not self.all_written:
            self.bytes.mark_written(prepared.offset + offset, nbytes)

    def give(self, start: int) -> None:
        """Take the bytes of each owner from `start` on for written, with zeros."""
        self.bytes.shadow.reshape(-1, self.stride)[:, start : self.size] = _WRITTEN

    def settle(self) -> None:
        """At a barrier: if everything has been written, later reads need no check of that."""
        self._barriers += 1
        rare = self._barriers & (self._barriers - 1) == 0  # at powers of two: looking is not free
        if rare and not self.all_written and self.size:
            rows = self.bytes.shadow.reshape(-1, self.stride)[:, : self.size]
            self.all_written = bool((rows == _WRITTEN).all())


@functools.cache
def _process_memory() -> Array:
    """Return all memory of the process as bytes: what is not checked before it is touched may end it."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * (_END - BASE)).from_address(BASE))


class _Pages:
    """Pages that read as zero and cost nothing until they are touched; at address `hint` if it is free."""

    def __init__(self, size: int, hint: int = 0) -> None:
        if hasattr(mmap, "MAP_PRIVATE"):
            self.address = _checked(_libc().mmap(hint, size, mmap.PROT_READ | mmap.PROT_WRITE, _FLAGS, -1, 0))
            # Not when the process ends: until then there may be arrays that lie here.
            weakref.finalize(self, _libc().munmap, self.address, size).atexit = False
        else:
            self._map = mmap.mmap(-1, size)
            self.address = np.frombuffer(self._map, np.uint8).ctypes.data
        self.bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.address))

    def release(self, first: int, length: int) -> None:
        """Give pages back to the system."""
        if hasattr(mmap, "MADV_DONTNEED") and length > 0:
            _checked(_libc().madvise(self.address + first, length, mmap.MADV_DONTNEED))


_FLAGS = sum(getattr(mmap, f"MAP_{name}", 0) for name in ("PRIVATE", "ANONYMOUS")) | 0x4000  # no reserve


def _checked(result: int) -> int:
    if result in (-1, ctypes.c_size_t(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    library, size = ctypes.CDLL(None, use_errno=True), ctypes.c_size_t
    library.mmap.restype = size
    library.mmap.argtypes = (size, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    library.munmap.argtypes = (size, size)
    library.madvise.argtypes = (size, size, ctypes.c_int)
    return library


def _reserve(size: int) -> tuple[int, tuple[_Pages, _Pages]]:
    """Reserve address space for data and shadow; where the system does not allow that much, halve it."""
    while True:
        try:
            return size, (_Pages(size, ARENA), _Pages(size))
        except OSError:
            size //= 2
            if size < _LEAST:
                raise


def _size_class(size: int) -> int:
    """Round up so that freed ranges fit again: to multiples of 256, then of an eighth of the power of two."""
    step = max(256, 1 << max(size.bit_length() - 4, 0))
    return (size + step - 1) // step * step
