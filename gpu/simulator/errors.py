"""The errors of the simulated device: pycuda.driver's names, and `Fault`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaugeblock.gpu.runtime.compiler import plain_name
from gaugeblock.gpu.simulator.ptx.operands import Lowered


class Error(Exception):
    """Base of all errors, as ``pycuda.driver.Error``."""


class LogicError(Error):
    """A call that cannot be right: bad argument, unknown name, use of a freed handle."""


class MemoryError(Error):
    """Device memory is exhausted."""


class LaunchError(Error):
    """A launch that was refused, or a kernel that failed."""


UNSUPPORTED = "unsupported"


class _Placed(Error):
    """What happened in a kernel, and where."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        kernel: str = "",
        block: tuple[int, ...] | None = None,
        thread: tuple[int, ...] | None = None,
        source: str = "",
        instruction: str = "",
        address: int | None = None,
    ) -> None:
        self.kind, self.detail, self.kernel = kind, detail, kernel
        self.block, self.thread = block, thread
        self.source, self.instruction, self.address = source, instruction, address
        who = f" by thread {thread} of block {block}" if thread is not None else ""
        what = f" [{instruction}]" if instruction else ""
        super().__init__(f"{source or '?'}: {kind} in kernel {plain_name(kernel)}{who}: {detail}{what}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            _rebuild,
            (
                type(self),
                self.kind,
                self.detail,
                {k: v for k, v in self.__dict__.items() if k not in ("kind", "detail")},
            ),
        )


def _rebuild(type_: type[_Placed], kind: str, detail: str, rest: dict[str, Any]) -> _Placed:
    return type_(kind, detail, **rest)


class Fault(_Placed, LaunchError):
    """What a kernel did wrong, and where.

    Attributes
    ----------
    kind : str
        ``out of bounds``, ``use after free``, ``misaligned address``, ``uninitialised read``, ``race``,
        ``stale read``, ``divergent barrier``, ``invalid barrier``, ``divergent collective``, ``absent lane``,
        ``watchdog`` or ``trap``.
    kernel : str
        The kernel's name.
    block, thread : tuple of int or None
        Where in the grid.
    source : str
        ``file.cu:line`` (from ``-lineinfo``), or the PTX line without it.
    instruction : str
        The PTX instruction.
    address : int or None
        The address that was used.
    detail : str
        What happened, in words.
    others : tuple of Fault
        What else was found, if more than the first fault was asked for (`Settings.faults`).
    """

    others: tuple[Fault, ...] = ()


class Unsupported(_Placed, NotImplementedError):
    """A kernel reached an instruction, or a form of one, that the simulator does not know; no mistake of its.

    The attributes are those of `Fault`; `detail` names opcode, modifiers and PTX line.
    """


class Gap(Protocol):
    """Memory that was read and that nobody has written."""

    def missing(self, count: int) -> list[NDArray[np.bool_]]:
        """Say of each of `count` elements of a lane whether it was not written."""

    def close(self) -> None:
        """Take it for written, so that it can be read."""

    def open(self) -> None:
        """Take it for what it was again."""


class LaneFault(Exception):
    """A fault before it knows its kernel and source line; the scheduler and the launch complete it.

    Attributes
    ----------
    lane : int or None
        Who did it: the lane's place in its frame (if raised by an instruction).
    source : instruction or None
        Where, if not where the scheduler is.
    other : instruction or None
        A second instruction involved; ``{other}`` in `detail` becomes its source line.
    places : tuple of instruction
        Further ones; ``{0}``, ``{1}`` and so on in `detail` become their source lines.
    check : str
        The setting that says whether this is a fault, a note or nothing; always a fault without one.
    bad : array of bool or None
        All lanes of the frame that did it.
    gap : Gap or None
        The memory that was read and that nobody has written.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        lane: int | None = None,
        address: int | None = None,
        *,
        source: Lowered | None = None,
        other: Lowered | None = None,
        check: str = "",
        bad: NDArray[np.bool_] | None = None,
        gap: Gap | None = None,
        places: tuple[Lowered, ...] = (),
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.lane, self.address = kind, detail, lane, address
        self.source, self.other, self.check = source, other, check
        self.bad, self.gap, self.places = bad, gap, places
