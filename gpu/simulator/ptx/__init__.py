"""PTX text to a frozen syntax tree: `lexer` → `parser` → `syntax`."""

from gaugeblock.gpu.simulator.ptx.parser import parse
from gaugeblock.gpu.simulator.ptx.syntax import PtxError

__all__ = ["PtxError", "parse"]
