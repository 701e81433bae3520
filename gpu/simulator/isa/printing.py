"""``vprintf``, which ``printf`` in a kernel calls: lines appear on the standard output, thread by thread.

Its arguments are the addresses of the format and of a buffer in local memory, where each value lies at a
multiple of its size.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.isa.access import generic_space
from gaugeblock.gpu.simulator.isa.action import Effect
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.numbers.types import U64
from gaugeblock.gpu.simulator.ptx.operands import ParameterOperand
from gaugeblock.gpu.simulator.state.frame import Frame, Registers

_FIELD = re.compile(r"%([-+ #0]*\d*(?:\.\d+)?)(hh|h|ll|l|z|t|j)?([diouxXeEfFgGaAcsp%])")
_LONG = ("l", "ll", "z", "t", "j")


def vprintf(d: Decoder) -> None:
    """Decode a call of ``vprintf``; it returns how many values it printed."""
    result, *pointers = d.instruction.operands
    if not all(isinstance(each, ParameterOperand) for each in (result, *pointers)) or len(pointers) != 2:
        raise d.error("takes a format and its values")
    text, values = (d.parameter(each, "b64") for each in pointers)  # type: ignore[arg-type]
    count = d.parameter(result, "b32")  # type: ignore[arg-type]

    def run(registers: Registers, frame: Frame) -> None:
        printed = 0
        places = [frame.expand(registers[slot].view(U64)) for slot in (text, values)]
        for lane in range(frame.count):
            line, printed = _Reader(frame, lane).line(int(places[0][lane]), int(places[1][lane]))
            sys.stdout.write(line)
        registers[count] = np.array([printed], np.uint32)

    d.emit(Effect(run, (text, values), (count,)), guarded=True)


class _Reader:
    """Reads the memory of a lane."""

    def __init__(self, frame: Frame, lane: int) -> None:
        self.batch, self.lane = frame.batch, frame.lanes[lane : lane + 1]

    def bytes(self, address: int, size: int) -> bytes:
        """Return so many bytes, a power of two."""
        space, base = generic_space(address)
        place = np.array([address - base], np.uint64)
        if space == "global":
            memory: Any = self.batch.memory
            prepared = memory.prepare(place)
        else:
            memory = self.batch.shared if space == "shared" else self.batch.local
            prepared = memory.prepare(place, self.lane)
        memory.check_read(prepared, 0, size)
        return bytes(memory.bytes.gather(prepared.offset, size, 1)[0].tobytes())

    def string(self, address: int) -> str:
        """Return a string that ends with a zero."""
        found = bytearray()
        while (byte := self.bytes(address + len(found), 1)) != b"\0":
            found += byte
        return found.decode(errors="replace")

    def line(self, text: int, at: int) -> tuple[str, int]:
        """Return a format with the values that lie at an address, and how many there are."""
        count = 0

        def shown(field: re.Match[str]) -> str:
            nonlocal at, count
            flags, length, kind = field.groups()
            if kind == "%":
                return "%"
            letter = _letter(kind, length)
            size = struct.calcsize(letter)
            at = -(-at // size) * size
            (value,) = struct.unpack(letter, self.bytes(at, size))
            at, count = at + size, count + 1
            if kind in "cs":
                return f"%{flags}s" % (self.string(value) if kind == "s" else chr(value & 0xFF))
            return str(f"%{flags}{_PYTHON.get(kind, kind)}" % value)

        return _FIELD.sub(shown, self.string(text)), count


_PYTHON = {"i": "d", "u": "d", "p": "#x", "a": "g", "A": "G"}


def _letter(kind: str, length: str | None) -> str:
    """Return the type of a value, in the words of `struct`."""
    if kind in "eEfFgGaA":
        return "d"
    if kind in "sp" or length in _LONG:
        return "q" if kind in "di" else "Q"
    return "i" if kind in "dic" else "I"


TABLE: dict[str, Decode] = {"vprintf": vprintf}
