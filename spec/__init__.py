"""What an implementation must do: numbered clauses, one record per operation, derived error bounds.

`clauses` reads the pages in ``text/``, `operations` lists what can be held against them, and `accuracy`
computes how far a right result may lie from the exact one.
"""

from gaugeblock.spec.clauses import Clause, UnknownClause, clause, load
from gaugeblock.spec.operations import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Clause", "Operation", "UnknownClause", "clause", "load"]
