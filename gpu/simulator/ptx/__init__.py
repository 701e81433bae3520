"""PTX text to a frozen syntax tree: `lexer` → `parser` → `syntax`."""

from .parser import parse
from .syntax import PtxError

__all__ = ["PtxError", "parse"]
