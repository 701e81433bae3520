"""How kernels are run: what is checked, in which order, and how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from gaugeblock.gpu.simulator.machine.counters import Counters

Order = Literal["lockstep", "warps", "lanes"]
Level = Literal["off", "note", "fault"]
"""What is done about a finding: nothing, a line among the `notes`, or a `Fault`."""

CHECKS = (
    "races", "global_races", "same_bits", "other_bits", "stale_reads", "uninitialised", "variables",
    "absent_lanes", "order_dependence",
)  # fmt: skip
"""The settings that are levels."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the simulated device.

    Attributes
    ----------
    order : {"lockstep", "warps", "lanes"}
        ``lockstep`` runs all threads of many blocks together (fast); ``warps`` runs one warp at a time, in
        random order, until it must wait; ``lanes`` does so thread by thread. A result that depends on the
        order is a race.
    seed : int
        Of the random orders.
    races, global_races : {"off", "note", "fault"}
        What is done about races in shared and in global memory. Of the levels True and False are ``fault``
        and ``off``.
    same_bits, other_bits : {"off", "note", "fault"}
        About threads that store the same bits to one address and nothing orders them, and about those that
        store different bits with one instruction, of which one stays.
    stale_reads : {"off", "note", "fault"}
        About ``ld.global.nc`` of what the kernel writes.
    uninitialised : {"off", "note", "fault"}
        About reads of memory that nobody has written.
    variables : {"off", "note", "fault"}
        About accesses outside of the variable or allocation that their address was computed from.
    absent_lanes : {"off", "note", "fault"}
        About shuffles that read lanes which are not there or not named.
    faults : int
        How many faults to go on for; the first is raised in the end, with the others.
    warp_synchronous : bool
        Whether the threads of a warp run in step, as they did before Volta: what they do to shared memory
        without ``__syncwarp`` is then no race.
    shared_written : bool
        Whether shared memory counts as written from the start. What a kernel reads there before is then zero.
    orders : tuple of order
        Orders in which to run every launch, one after the other from the same memory, if there are any.
    order_dependence : {"off", "note", "fault"}
        What is done about what is left in memory that depends on the order.
    budget : int
        Instructions after which the watchdog looks at a batch of thread blocks: it stops threads that turn in
        a circle and find everything as it was, all others after 64 times as many.
    lanes : int
        Threads that run together at most; where blocks may wait for each other, more do.
    tensor_core : {"truncating", "exact"}
        How ``mma`` adds.
    counters : Counters or None
        Where to count what kernels do.
    """

    order: Order = "lockstep"
    seed: int = 0
    races: Level = "fault"
    global_races: Level = "fault"
    same_bits: Level = "note"
    other_bits: Level = "fault"
    stale_reads: Level = "fault"
    uninitialised: Level = "fault"
    variables: Level = "fault"
    absent_lanes: Level = "fault"
    faults: int = 1
    warp_synchronous: bool = False
    shared_written: bool = False
    orders: tuple[Order, ...] = ()
    order_dependence: Level = "fault"
    budget: int = 4_000_000
    lanes: int = 1 << 14
    tensor_core: Literal["truncating", "exact"] = "truncating"
    counters: Counters | None = None


_current = Settings()

_notes: dict[str, None] = {}
_MOST_NOTES = 1000


def note(text: str) -> None:
    """Keep a note for the user."""
    if len(_notes) < _MOST_NOTES:
        _notes[text] = None


def notes() -> tuple[str, ...]:
    """Return, and forget, what was noted since the last call: what may be wrong and is no fault."""
    found = tuple(_notes)
    _notes.clear()
    return found


def current() -> Settings:
    """Return the settings in force."""
    return _current


@contextmanager
def settings(**changes: Any) -> Iterator[Settings]:
    """Change settings for a while.

    Examples
    --------
    >>> with settings(order="warps", seed=1) as changed:
    ...     changed.order
    'warps'
    """
    global _current
    before = _current
    for check in CHECKS:
        if check in changes:
            changes[check] = {True: "fault", False: "off"}.get(changes[check], changes[check])
            if changes[check] not in ("off", "note", "fault"):
                raise ValueError(
                    f"settings: {check} is {changes[check]!r}, expected 'off', 'note' or 'fault'"
                )
    _current = replace(before, **changes)
    try:
        yield _current
    finally:
        _current = before


@contextmanager
def counting() -> Iterator[Counters]:
    """Count what kernels do inside the ``with`` block."""
    counters = Counters()
    with settings(counters=counters):
        yield counters
