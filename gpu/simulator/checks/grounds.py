"""The ground of a launch: the allocations that a kernel writes and reads, as one range of granules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.simulator.ptx.pointers import LOADED, Manner, Origin, Traffic
from gaugeblock.gpu.simulator.state.geometry import Index
from gaugeblock.gpu.simulator.state.memory import BASE, Allocation, GlobalMemory

_APART = 16
"""Allocations begin at the same place modulo this, so that aligned groups of bytes stay aligned."""


class Grounds:
    """Allocations one behind the other, and how many of their bytes are a granule."""

    def __init__(self, allocations: Iterable[Allocation], granule: int) -> None:
        self.allocations = sorted(allocations, key=lambda each: each.start)
        self.shift = granule.bit_length() - 1
        self.starts = [each.start for each in self.allocations]
        self.distances: list[int] = []
        at = 0
        for each in self.allocations:
            base = at + each.start % _APART
            self.distances.append(each.start - base)
            at = -(-(base + each.size) // _APART) * _APART
        self.size = at

    def holds(self, places: Index) -> NDArray[np.bool_]:
        """Say of each place whether it lies here."""
        ends = np.array([each.start + each.size for each in self.allocations])
        at = np.searchsorted(self.starts, places, "right") - 1
        inside: NDArray[np.bool_] = (at >= 0) & (places < ends[at])
        return inside

    def rows(self, places: Index, nbytes: int) -> NDArray[np.intp]:
        """Return the granules of each access, a row for each."""
        if len(self.starts) == 1:
            flat = places - self.distances[0]
        else:
            flat = places - np.array(self.distances)[np.searchsorted(self.starts, places, "right") - 1]
        flat >>= self.shift
        width = max(nbytes >> self.shift, 1)
        return flat[:, None] if width == 1 else flat[:, None] + np.arange(width)

    def place(self, granule: int) -> tuple[int, str]:
        """Return the address of a granule, and what it is called."""
        flat = granule << self.shift
        for each, distance in zip(self.allocations, self.distances, strict=True):
            at = flat + distance - each.start
            if 0 <= at < each.size:
                return flat + distance + BASE, f"byte {at} of {each.label}"
        raise IndexError(granule)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which instructions to watch in a launch.

    Attributes
    ----------
    instructions : dict
        Their manners by their ids.
    vague : set of int
        Those that may also access what is not watched.
    stored : tuple of int or None
        Which of the resolved allocations the kernel writes; None for all that there are.
    holders : dict
        By the ids of instructions the allocations that their addresses come from, where that is known.
    """

    instructions: dict[int, Manner]
    vague: frozenset[int]
    stored: tuple[int, ...] | None
    holders: dict[int, tuple[int, ...]]


def planned(
    memory: GlobalMemory, traffic: Traffic, parameters: bytes, synchronises: bool
) -> tuple[Plan, list[Allocation]]:
    """Say which instructions have to do with memory that the kernel writes; return what is pointed into."""
    allocations: list[Allocation] = []
    numbers: dict[Origin, int] = {}
    for kind, value in traffic.origins:
        if kind == "loaded":
            continue
        address = value if kind == "variable" else int.from_bytes(parameters[value : value + 8], "little")
        found = memory.containing(address - BASE, address - BASE + 1)
        if found is not None:
            if found not in allocations:
                allocations.append(found)
            numbers[kind, value] = allocations.index(found)
    key = tuple(numbers.items()), synchronises
    plan = traffic.plans.get(key)
    if plan is None:
        plan = traffic.plans[key] = _plan(traffic, numbers, synchronises)
    return plan, allocations


def _plan(traffic: Traffic, numbers: dict[Origin, int], synchronises: bool) -> Plan:
    """Plan a launch whose parameters and variables point into allocations of these numbers."""
    found = [
        ({numbers[each] for each in group.origins if each in numbers}, group) for group in traffic.groups
    ]
    everywhere = any(group.write and not places for places, group in found)
    stored = {number for places, group in found if group.write for number in places}
    if not synchronises:  # atomics among themselves do not race
        plain = [places for places, group in found if group.plain]
        stored = {number for number in stored if any(not places or number in places for places in plain)}
    instructions: dict[int, Manner] = {}
    vague: set[int] = set()
    for places, group in found if everywhere or stored else ():
        if everywhere or not places or places & stored:
            instructions.update((number, traffic.manners[number]) for number in group.members)
            if not everywhere and not (places and places <= stored):
                vague.update(group.members)
    holders = {
        number: tuple(places)
        for places, group in found
        for number in (group.members if places and LOADED not in group.origins else ())
    }
    return Plan(instructions, frozenset(vague), None if everywhere else tuple(sorted(stored)), holders)
