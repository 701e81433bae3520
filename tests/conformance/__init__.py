"""The conformance suite: hold any GPU kernel, ours or a stranger's, against the spec.

>>> from gaugeblock.conformance import Array, Problem
>>> Problem("relu", "float32", {"x": Array((2,), "zeros", planted=((0, -1.0), (1, 2.0)))}).want()
array([0., 2.])

The command ``gaugeblock conform BACKEND`` runs it; :func:`replay` repeats one failing call.
"""

from gaugeblock.conformance.backends import BackendError
from gaugeblock.conformance.engine import Effort, replay
from gaugeblock.conformance.problem import Array, Layout, Problem
from gaugeblock.conformance.report import Report
from gaugeblock.conformance.runner import judge, plan, run

__all__ = ["Array", "BackendError", "Effort", "Layout", "Problem", "Report", "judge", "plan", "replay", "run"]
