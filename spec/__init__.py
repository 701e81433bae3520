"""What an implementation must do: numbered clauses, one record per operation, derived error bounds.

`clauses` reads the pages in ``text/``, `operations` lists what can be held against them, `accuracy` computes
how far a right result may lie from the exact one, and `document` renders the pages as HTML and PDF.
"""

from gaugeblock.spec.citation import VERSION, cite
from gaugeblock.spec.clauses import Clause, UnknownClause, clause, load
from gaugeblock.spec.operations import OPERATIONS, Operation

__all__ = ["OPERATIONS", "VERSION", "Clause", "Operation", "UnknownClause", "cite", "clause", "load"]
