"""The conformance suite: hold any GPU kernel, ours or a stranger's, against the spec.

>>> from gaugeblock.conformance import Array, Problem
>>> Problem("relu", "float32", {"x": Array((2,), "zeros", planted=((0, -1.0), (1, 2.0)))}).want()
array([0., 2.])

The command ``gaugeblock conform BACKEND`` runs it; :func:`replay` repeats one failing call. In a test of
one's own, :func:`check` holds one result to the spec, and :func:`bound` gives the numbers.

Names are imported when they are asked for: every backend gets a process of its own, which needs neither
Hypothesis nor pytest and should start fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaugeblock.conformance.backend.loading import BackendError
    from gaugeblock.conformance.checking import Checked, Limits, Mismatch, bound, check
    from gaugeblock.conformance.engine import Effort, replay
    from gaugeblock.conformance.planning import plan
    from gaugeblock.conformance.problems.problem import Array, Layout, Problem
    from gaugeblock.conformance.reports.report import Report
    from gaugeblock.conformance.runner import judge, run

__all__ = [
    "Array",
    "BackendError",
    "Checked",
    "Effort",
    "Layout",
    "Limits",
    "Mismatch",
    "Problem",
    "Report",
    "bound",
    "check",
    "judge",
    "plan",
    "replay",
    "run",
]

_MODULES = {
    "backend.loading": ("BackendError",),
    "checking": ("Checked", "Limits", "Mismatch", "bound", "check"),
    "engine": ("Effort", "replay"),
    "problems.problem": ("Array", "Layout", "Problem"),
    "reports.report": ("Report",),
    "planning": ("plan",),
    "runner": ("judge", "run"),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
