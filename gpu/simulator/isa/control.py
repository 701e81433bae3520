"""Control flow: branches, exits, barriers, traps."""

from __future__ import annotations

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.isa.action import Barrier, Branch, Collective, Effect, Exit
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.ptx.operands import Target
from gaugeblock.gpu.simulator.ptx.syntax import Integer
from gaugeblock.gpu.simulator.state.frame import Frame, Registers


def branch(d: Decoder) -> None:
    """``bra``."""
    d.modifiers.flag("uni")
    d.modifiers.done()
    (target,) = d.instruction.operands
    if not isinstance(target, Target):
        raise d.error("needs a label")
    d.emit(Branch((target.label,)), guarded=True)


def branch_table(d: Decoder) -> None:
    """``brx.idx``: jump to an entry of a table."""
    d.modifiers.one_of("idx")
    d.modifiers.flag("uni")
    d.modifiers.done()
    index = d.source(d.instruction.operands[0], "u32")
    d.emit(Branch(d.instruction.labels, index), guarded=True)


def leave(d: Decoder) -> None:
    """``ret`` of a kernel, and ``exit``."""
    d.modifiers.flag("uni")
    d.modifiers.done()
    d.emit(Exit(), guarded=True)


def trap(d: Decoder) -> None:
    """``trap``, ``brkpt``, and a failed ``assert``: the kernel asks to be stopped."""
    reasons = {
        "assert": "an assertion of the kernel failed",
        "pointer": "a call through a pointer to no function of this signature",
    }
    what = reasons.get(d.modifiers.one_of(*reasons, default=""), "the kernel executed a trap")
    d.modifiers.done()

    def run(registers: Registers, frame: Frame) -> None:
        raise LaneFault("trap", what, 0)

    d.emit(Effect(run, (), ()), guarded=True)


def barrier(d: Decoder) -> None:
    """``bar.sync``, ``bar.red``, ``bar.arrive``, the same as ``barrier``, and ``bar.warp.sync``."""
    m = d.modifiers
    if m.flag("warp"):
        m.one_of("sync")
        m.done()
        members = d.source(d.instruction.operands[0], "b32")
        d.emit(Collective(_nothing, members, (members,), (), synchronises=True), guarded=True)
        return
    m.flag("cta")
    aligned = m.flag("aligned") or d.instruction.opcode == "bar"
    operands = list(d.instruction.operands)
    reduction = None
    kind = m.one_of("sync", "red", "arrive")
    if kind == "red":
        operator = m.one_of("popc", "and", "or")
        type_ = m.type("u32" if operator == "popc" else "pred")
        *operands, predicate = operands
        reduction = (operator, d.source(predicate, "pred"), d.destination(operands.pop(0), type_))
    m.done()
    slots = [d.source(arg, "u32") for arg in operands] or [d.source(Integer(0), "u32")]
    if kind == "arrive" and len(slots) < 2:
        raise d.error("needs the number of threads")
    count = slots[1] if len(slots) > 1 else None
    d.emit(Barrier(slots[0], count, reduction, kind == "arrive", aligned), guarded=True)


def _nothing(registers: Registers, frame: Frame) -> None:
    """Meeting was all."""


TABLE: dict[str, Decode] = {
    "bra": branch,
    "brx": branch_table,
    **dict.fromkeys(("ret", "exit"), leave),
    **dict.fromkeys(("trap", "brkpt"), trap),
    **dict.fromkeys(("bar", "barrier"), barrier),
}
