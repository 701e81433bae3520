"""PTX text to a frozen syntax tree (`lexer` → `parser` → `syntax`), and to a flat kernel (`lowering`)."""

from gaugeblock.gpu.simulator.ptx.parser import parse
from gaugeblock.gpu.simulator.ptx.syntax import PtxError

__all__ = ["PtxError", "parse"]
