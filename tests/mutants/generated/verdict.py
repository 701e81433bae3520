"""What the suite says of a generated mutant."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import subjects
from change import Change

from gaugeblock.conformance import BackendError, Effort, judge
from gaugeblock.gpu.runtime.compiler import CompileError

KILLED, SURVIVED, EQUIVALENT, STILLBORN, UNFINISHED = (
    "killed",
    "survived",
    "equivalent",
    "stillborn",
    "unfinished",
)
"""What comes of a mutant; one that does not compile or load is stillborn, and counts for nothing."""


def judged(change: Change, limit: float, seed: int = 1, profile: str = "ci") -> dict[str, Any]:
    """Return what comes of one mutant."""
    start = time.monotonic()
    try:
        verdict = _verdict(change, start + limit, Effort(profile, seed, shrink=False))
    except (CompileError, BackendError, SyntaxError) as error:
        verdict = {"verdict": STILLBORN, "why": str(error).splitlines()[0][:200]}
    return {
        **{name: getattr(change, name) for name in ("file", "line", "operator", "scope", "before", "after")},
        "text": subjects.line_of(change),
        **verdict,
        "seconds": round(time.monotonic() - start, 1),
    }


def _verdict(change: Change, end: float, effort: Effort) -> dict[str, Any]:
    if not change.file.startswith(subjects.KERNELS) and subjects.same_syntax(change):
        return {"verdict": EQUIVALENT, "why": "the same syntax tree"}
    asked: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        backend = subjects.write(change, Path(folder))
        for operation, dtype in subjects.asked(change):
            if time.monotonic() > end:
                return {"verdict": UNFINISHED, "asked": asked}
            report = judge(
                backend,
                operations=(operation,),
                dtypes=(dtype,),
                effort=effort,
                time_limit=20,
                stop_at_first=True,
            )
            asked.append(f"{operation} {dtype}")
            for entry in report.entries.values():
                for clause, outcome in entry.failures.items():
                    message = (outcome.message or "").partition("\n")[0][:160]
                    return {"verdict": KILLED, "clause": clause, "by": asked[-1], "message": message}
    if not asked:
        return {"verdict": EQUIVALENT, "why": "the same PTX in every build"}
    return {"verdict": SURVIVED, "asked": asked}
