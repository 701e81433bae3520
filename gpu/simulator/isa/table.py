"""All instructions: an opcode's entry decodes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gaugeblock.gpu.simulator.isa import (
    access,
    arithmetic,
    async_copy,
    atomics,
    bits,
    comparison,
    control,
    matrix,
    mbarrier,
    moves,
    multiply,
    printing,
    warp,
    wmma,
)
from gaugeblock.gpu.simulator.isa.decoder import Decode

TABLE: Final[Mapping[str, Decode]] = {
    **arithmetic.TABLE,
    **comparison.TABLE,
    **bits.TABLE,
    **moves.TABLE,
    **access.TABLE,
    **atomics.TABLE,
    **async_copy.TABLE,
    **control.TABLE,
    **mbarrier.TABLE,
    **warp.TABLE,
    **multiply.TABLE,
    **matrix.TABLE,
    **wmma.TABLE,
    **printing.TABLE,
}
