"""What an instruction becomes when it is decoded: small records that the machine runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.ptx.operands import Lowered
from gaugeblock.gpu.simulator.state.frame import Frame, Registers

Run: TypeAlias = Callable[[Registers, Frame], None]


@dataclass(frozen=True, slots=True)
class Pure:
    """A function of registers, lane by lane: no memory, no fault, so it may run for lanes without need."""

    function: Callable[..., Array]
    sources: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]
    destination: int


@dataclass(frozen=True, slots=True)
class Effect:
    """Anything that touches more than its destination: memory, faults, state of the frame."""

    run: Run
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ParameterLoad(Effect):
    """A load from the kernel's parameters: elements of `size` bytes, `offset` behind an address in a slot."""

    address: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Collective:
    """Runs once all lanes have arrived that the mask in slot `members` names (None: whoever is there).

    Lanes meet at instructions of one spelling and with one mask, at the same one if it is ``.aligned``.
    """

    run: Run
    members: int | None
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    synchronises: bool = False


@dataclass(frozen=True, slots=True)
class Barrier:
    """``bar.sync id[, count]``, ``bar.red``, ``bar.arrive``: slots of its number and of its count.

    `reduction` is the operator (``popc``, ``and``, ``or``), the slot of the predicate and that of the result;
    who `arrives` does not wait; if `aligned`, all lanes of a warp execute the same instruction.
    """

    number: int
    count: int | None
    reduction: tuple[str, int, int] | None = None
    arrives: bool = False
    aligned: bool = True


@dataclass(frozen=True, slots=True)
class Branch:
    """Jump to labels: one, or a table chosen by the slot `index`."""

    labels: tuple[str, ...]
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """The thread ends."""


Action: TypeAlias = Pure | Effect | Collective | Barrier | Branch | Exit


@dataclass(frozen=True, slots=True)
class Step:
    """An action, its guard (a slot and whether it is negated), and the instruction that it came from."""

    action: Action
    guard: tuple[int, bool] | None
    source: Lowered
