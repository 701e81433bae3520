"""From steps to the Python functions that the scheduler calls.

A `Pure` step becomes a closure that takes the views it needs and stores the result. Runs of independent
steps with the same function (the 64 FMAs of a register tile) become one call on stacked registers where a
frame is narrow: there the cost of calling NumPy, not of computing, is what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Effect, Pure, Step
from gaugeblock.gpu.simulator.numbers import floating, integer
from gaugeblock.gpu.simulator.numbers.lanes import every, some
from gaugeblock.gpu.simulator.numbers.types import Array
from gaugeblock.gpu.simulator.state.frame import Frame, Registers
from gaugeblock.gpu.simulator.state.geometry import Index

Operation: TypeAlias = Callable[[Registers, Frame], None]

_STACKABLE = frozenset({floating.fma, floating.add, floating.mul})
_BROADCASTING = frozenset({np.where, integer.mad_lo, integer.mul_wide, integer.mad_wide})
"""Functions other than NumPy's own that take numbers for some of their operands."""
_SHORTEST_RUN = 3
_LONGEST_RUN = 64
_WIDEST_STACK = 8192
"""Lanes up to which stacking pays. Measured: at 64 lanes an FMA takes 7 µs alone and 0.8 µs in a stack of 64,
at 4096 lanes 13 and 8 µs; at 16384 the stack loses."""
_STACK_ELEMENTS = 1 << 16
"""Elements of a stack, so that its operands stay in the cache."""


def compose(
    steps: list[Step], constants: Mapping[int, Array]
) -> tuple[list[Operation], dict[int, list[Step]]]:
    """Return the operations of a line, and by the id of each the steps that it executes.

    `constants` are the slots that always hold one number.
    """
    operations: list[Operation] = []
    executed: dict[int, list[Step]] = {}
    for run in _runs(steps):
        operation = _stacked(run) if len(run) > 1 else _single(run[0], constants)
        operations.append(operation)
        executed[id(operation)] = run
    return operations, executed


def _runs(steps: list[Step]) -> list[list[Step]]:
    """Group neighbours that apply one function, none of which needs another's result."""
    groups: list[list[Step]] = []
    current: list[Step] = []
    written: set[int] = set()

    def close() -> None:
        if len(current) >= _SHORTEST_RUN:
            groups.append(list(current))
        else:
            groups.extend([step] for step in current)
        current.clear()
        written.clear()

    for step in steps:
        action = step.action
        if not isinstance(action, Pure) or step.guard is not None or action.function not in _STACKABLE:
            close()
            groups.append([step])
            continue
        if current:
            first = current[0].action
            assert isinstance(first, Pure)
            same = first.function is action.function and first.dtypes == action.dtypes
            if (
                not same
                or written.intersection(action.sources)
                or action.destination in written
                or len(current) == _LONGEST_RUN
            ):
                close()
        current.append(step)
        written.add(action.destination)
    close()
    return groups


def _single(step: Step, constants: Mapping[int, Array]) -> Operation:
    action = step.action
    if isinstance(action, Pure):
        plain = _pure(_bound(action, constants))
        return plain if step.guard is None else _guarded_pure(action, step.guard)
    assert isinstance(action, Effect)
    return action.run if step.guard is None else _guarded_effect(action, step.guard)


def _bound(action: Pure, constants: Mapping[int, Array]) -> Pure:
    """Give a function its constants once and for all, as arrays without an axis: for NumPy half the cost."""
    function, bound = action.function, [slot in constants for slot in action.sources]
    plain = isinstance(function, np.ufunc) or function in _BROADCASTING
    if not plain or not any(bound) or all(bound):
        return action
    values = [
        constants[slot].view(dtype).reshape(()) if slot in constants else None
        for slot, dtype in zip(action.sources, action.dtypes, strict=True)
    ]
    whole = _filled(function, values)
    left = [number for number, value in enumerate(values) if value is None]
    sources = tuple(action.sources[number] for number in left)
    return Pure(whole, sources, tuple(action.dtypes[number] for number in left), action.destination)


def _filled(function: Callable[..., Array], values: list[Array | None]) -> Callable[..., Array]:
    """Fill in operands from the front, then what is left one by one: no call may cost more than it saves."""
    match values:
        case [None, b]:
            return lambda x: function(x, b)
        case [None, None, c]:
            return lambda x, y: function(x, y, c)
        case [None, b, None]:
            return lambda x, z: function(x, b, z)
        case [None, b, c]:
            return lambda x: function(x, b, c)
        case [a, None, c] if c is not None:
            return lambda y: function(a, y, c)
    return partial(function, *(value for value in values if value is not None))


def _pure(action: Pure) -> Operation:
    function, d = action.function, action.destination
    if len(action.sources) == 1:
        (a,), (ta,) = action.sources, action.dtypes

        def unary(registers: Registers, frame: Frame) -> None:
            x = registers[a]
            registers[d] = function(x if x.dtype is ta else x.view(ta))

        return unary
    if len(action.sources) == 2:
        (a, b), (ta, tb) = action.sources, action.dtypes

        def binary(registers: Registers, frame: Frame) -> None:
            x, y = registers[a], registers[b]
            registers[d] = function(x if x.dtype is ta else x.view(ta), y if y.dtype is tb else y.view(tb))

        return binary
    if len(action.sources) == 3:
        (a, b, c), (ta, tb, tc) = action.sources, action.dtypes

        def ternary(registers: Registers, frame: Frame) -> None:
            x, y, z = registers[a], registers[b], registers[c]
            registers[d] = function(
                x if x.dtype is ta else x.view(ta),
                y if y.dtype is tb else y.view(tb),
                z if z.dtype is tc else z.view(tc),
            )

        return ternary
    pairs = tuple(zip(action.sources, action.dtypes, strict=True))

    def nary(registers: Registers, frame: Frame) -> None:
        registers[d] = function(*(registers[s].view(t) for s, t in pairs))

    return nary


def _guarded_pure(action: Pure, guard: tuple[int, bool]) -> Operation:
    """Compute for all lanes, keep for those whose predicate holds: a pure function harms nobody."""
    slot, negated = guard
    pairs = tuple(zip(action.sources, action.dtypes, strict=True))
    function, d = action.function, action.destination

    def run(registers: Registers, frame: Frame) -> None:
        chosen = registers[slot]
        taken = ~chosen if negated else chosen
        if not some(taken):
            return
        new = function(*(registers[s].view(t) for s, t in pairs))
        if not every(taken):
            new = np.where(taken, new, registers[d].view(new.dtype))
        registers[d] = new

    return run


def _guarded_effect(action: Effect, guard: tuple[int, bool]) -> Operation:
    """Run for the lanes whose predicate holds, in a frame of their own: nothing else is looked at."""
    slot, negated = guard
    run_all, writes = action.run, action.writes

    def run(registers: Registers, frame: Frame) -> None:
        predicate = registers[slot]
        places: Index = (~predicate if negated else predicate).nonzero()[0]
        if len(places) == 0:
            return
        if len(places) == len(predicate):
            run_all(registers, frame)
            return
        part = frame.subset(places)
        run_all(part.registers, part)
        frame.merge(part, writes)

    return run


def _stacked(run: list[Step]) -> Operation:
    """Apply one function to the stacked registers of several steps."""
    actions = [step.action for step in run]
    first = actions[0]
    assert isinstance(first, Pure)
    function, dtypes = first.function, first.dtypes
    destinations = [action.destination for action in actions if isinstance(action, Pure)]
    sources = [[a.sources[i] for a in actions if isinstance(a, Pure)] for i in range(len(dtypes))]
    one_by_one = [_pure(action) for action in actions if isinstance(action, Pure)]

    def stacked(registers: Registers, frame: Frame) -> None:
        count = frame.count
        if count > _WIDEST_STACK:
            for operation in one_by_one:
                operation(registers, frame)
            return
        height = _STACK_ELEMENTS // count
        for first in range(0, len(destinations), height):
            part = slice(first, first + height)
            operands = []
            for slots, dtype in zip(sources, dtypes, strict=True):
                block = np.empty((len(slots[part]), count), dtype)
                for row, slot in enumerate(slots[part]):
                    value = registers[slot]
                    block[row] = value if value.dtype is dtype else value.view(dtype)
                operands.append(block)
            result = function(*operands)
            for row, slot in enumerate(destinations[part]):
                registers[slot] = result[row]

    return stacked
