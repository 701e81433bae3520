"""What an instruction becomes when it is decoded: small records that the scheduler runs.

A register file maps slot numbers to arrays with one element per lane, or a single element where all lanes
agree. Arrays in registers are never changed in place: a move is a second reference. The bits of a register
are an array of any dtype of the right width; whoever reads it takes the view it needs.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import ml_dtypes
import numpy as np

from gaugeblock.gpu.simulator.vm.memory import Array

if TYPE_CHECKING:
    from gaugeblock.gpu.simulator.vm.frame import Frame
    from gaugeblock.gpu.simulator.vm.operands import Lowered

Registers: TypeAlias = MutableMapping[int, Array]
Run: TypeAlias = "Callable[[Registers, Frame], None]"

U8, U16, U32, U64 = (np.dtype(t) for t in ("u1", "u2", "u4", "u8"))
S8, S16, S32, S64 = (np.dtype(t) for t in ("i1", "i2", "i4", "i8"))
F16, F32, F64 = (np.dtype(t) for t in ("f2", "f4", "f8"))
BF16 = np.dtype(ml_dtypes.bfloat16)
PREDICATE = np.dtype(np.bool_)

DTYPES: dict[str, np.dtype[Any]] = {
    "b8": U8, "u8": U8, "s8": S8,
    "b16": U16, "u16": U16, "s16": S16,
    "b32": U32, "u32": U32, "s32": S32,
    "b64": U64, "u64": U64, "s64": S64,
    "f16": F16, "bf16": BF16, "f32": F32, "f64": F64,
    "f16x2": U32, "bf16x2": U32, "pred": PREDICATE,
}  # fmt: skip
"""How each PTX type sees a register's bits."""


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
class Collective:
    """Runs once all lanes have arrived that the mask in slot `members` names (None: whoever is there)."""

    run: Run
    members: int | None
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    synchronises: bool = False


@dataclass(frozen=True, slots=True)
class Barrier:
    """``bar.sync id[, count]`` and ``bar.red``: slots of the barrier's number and of the number of threads.

    `reduction` is the operator (``popc``, ``and``, ``or``), the slot of the predicate and that of the result.
    """

    number: int
    count: int | None
    reduction: tuple[str, int, int] | None = None


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
