"""Fragments: which lane of a warp holds which element of a matrix, in which register and where in it.

With g = lane // 4 and t = lane % 4, a register of an operand holds consecutive elements of row g (of A) or of
column g (of B), those of the sum two of row g: see the fragment figures of PTX ISA 9.1, section 9.7.15.
Wider matrices are several of these, one after the other. So it is for ``mma``; of ``wmma`` the manual says
nothing, and it is how GPUs since compute capability 8.0 do it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from gaugeblock.gpu.simulator.errors import LaneFault
from gaugeblock.gpu.simulator.numbers.types import U8, U16, U32, U64, Array
from gaugeblock.gpu.simulator.state.frame import Frame
from gaugeblock.gpu.simulator.state.geometry import WARP, Index

_LANE = np.arange(WARP)
_G, _T = _LANE // 4, _LANE % 4
_WORDS = {8: U8, 16: U16, 32: U32, 64: U64}


def by_whole_warps(frame: Frame, value: Array) -> Array:
    """Lay a register out as warps × 32; these instructions need every lane of a warp."""
    if frame.count % WARP:
        raise LaneFault("divergent collective", "needs all 32 lanes of every warp", 0)
    return frame.expand(value).reshape(-1, WARP)


@dataclass(frozen=True, eq=False)
class Fragment:
    """Where the elements of a matrix are.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the matrix.
    bits : int
        Of an element.
    row, column : array
        Place in the matrix of each element: registers × 32 lanes × elements of a register.
    """

    shape: tuple[int, int]
    bits: int
    row: Index
    column: Index

    @property
    def registers(self) -> int:
        """Registers of a lane."""
        return len(self.row)

    @property
    def per_register(self) -> int:
        """Elements of a register."""
        return int(self.row.shape[-1])

    @property
    def word(self) -> np.dtype[Any]:
        """Dtype of a register."""
        return U64 if self.bits == 64 else U32

    @property
    def type(self) -> str:
        """Type of a register."""
        return "b64" if self.bits == 64 else "b32"

    @cached_property
    def _order(self) -> Index:
        """For each element of the matrix, row by row, its place among the registers'."""
        places = (self.row * self.shape[1] + self.column).reshape(-1)
        order: Index = np.unique(places, return_index=True)[1]
        return order

    def assemble(self, words: Array) -> Array:
        """Return the matrix of each warp, as unsigned elements, from registers × warps × 32 words."""
        elements = self._unpacked(words).transpose(1, 0, 2, 3)
        flat = elements.reshape(len(elements), -1).take(self._order, axis=1)
        return flat.reshape(-1, *self.shape)

    def split(self, matrix: Array) -> Array:
        """Undo `assemble`, for elements of 16 bits and more."""
        elements = matrix.view(_WORDS[self.bits])[:, self.row, self.column].swapaxes(0, 1)
        words: Array = np.ascontiguousarray(elements).view(self.word)[..., 0]
        return words

    def _unpacked(self, words: Array) -> Array:
        """Return the elements in words, of four bits or one as bytes."""
        if self.bits in _WORDS:
            return np.ascontiguousarray(words)[..., None].view(_WORDS[self.bits])
        shifts = np.arange(0, 32, self.bits, dtype=np.uint32)
        parts: Array = (words[..., None] >> shifts) & np.uint32((1 << self.bits) - 1)
        return parts.astype(U8)

    @property
    def transposed(self) -> Fragment:
        """The same registers, for the matrix transposed."""
        return Fragment(self.shape[::-1], self.bits, self.column, self.row)

    def repeated(self, registers: int) -> Fragment:
        """Return a layout of so many registers that hold the same elements again and again."""
        times = registers // self.registers
        row, column = (np.tile(each, (times, 1, 1)) for each in (self.row, self.column))
        return replace(self, row=row, column=column)


@cache
def left(m: int, k: int, bits: int) -> Fragment:
    """Return the layout of A, m×k."""
    per = max(32, bits) // bits
    height = min(m, 16) // 8
    block, part, half, lane, element = np.ogrid[
        : m // (8 * height), : k // (4 * per), :height, :WARP, :per
    ]  # register: half varies fastest
    row = np.broadcast_arrays(16 * block + 8 * half + _G[lane], part + element)[0]
    column = np.broadcast_arrays(per * (_T[lane] + 4 * part) + element, block + half)[0]
    return Fragment((m, k), bits, row.reshape(-1, WARP, per), column.reshape(-1, WARP, per))


@cache
def right(k: int, n: int, bits: int) -> Fragment:
    """Return the layout of B, k×n: that of 8 rows, transposed, for each 8 columns."""
    one = left(8, k, bits)
    blocks = range(0, n, 8)
    return Fragment(
        (k, n),
        bits,
        np.concatenate([one.column] * len(blocks)),
        np.concatenate([one.row + at for at in blocks]),
    )


@cache
def sums(m: int, n: int, bits: int) -> Fragment:
    """Return the layout of C and D, m×n."""
    height = min(m, 16) // 8
    block, half, pair, lane, one = np.ogrid[: m * n // (64 * height), :height, :2, :WARP, :1]
    wide = n > 8  # the blocks lie side by side, else one below the other
    row = (0 if wide else 16) * block + 8 * half + _G[lane] + 0 * pair + one
    column = (8 if wide else 0) * block + 2 * _T[lane] + pair + 0 * half + one
    if bits == 16:  # the pair shares a register
        row, column = (each.swapaxes(2, 4) for each in (row, column))
    per = 2 if bits == 16 else 1
    return Fragment((m, n), bits, row.reshape(-1, WARP, per), column.reshape(-1, WARP, per))


@cache
def tile(operand: str, shape: tuple[int, int, int], bits: int, registers: int | None = None) -> Fragment:
    """Return the layout of operand ``a``, ``b``, ``c`` or ``d`` of a product of some shape (m, n, k).

    Those of 8×32 products are the transposed of 32×8.
    """
    m, n, k = shape
    if (m, n) == (8, 32):
        other = {"a": "b", "b": "a"}.get(operand, operand)
        found = tile(other, (n, m, k), bits).transposed
    elif operand == "a":
        found = left(m, k, bits)
    elif operand == "b":
        found = right(k, n, bits)
    else:
        found = sums(m, n, bits)
    return found if registers is None else found.repeated(registers)
