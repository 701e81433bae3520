"""What the cheats share: a backend that is right but for the one thing it cheats with, with its story.

The kernels underneath are those of the NumPy adapter: right, strict with their arguments, and able to fill
``out``. That a backend computes by another's code, the oracle's included, is no cheat here: the suite says
whether results are right, not who thought of them.

Two patterns are missing, since nobody who watches from outside can tell them from honest ones: a kernel that
is right only where it finds the suite's worker around it, and one for which that worker copies its results.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.adapters import numpy as right

Array = NDArray[Any]
Function = Callable[..., Any]

# The published lists, and where most of the patterns were first seen.
PYGPUBENCH = "gpu-mode/pygpubench#7"
FORGED = "gpu-mode/pygpubench#23"
DESCRIPTORS = "gpu-mode/pygpubench#15"
KERNELBENCH = "ScalingIntelligence/KernelBench#82"
REFERENCE_KERNELS = "gpu-mode/reference-kernels#162"
IDENTITY = "gpu-mode/reference-kernels#102"
CONTENT = "gpu-mode/reference-kernels#167"
SKIPPED = "gpu-mode/reference-kernels#104"
FLASHINFER = "flashinfer-ai/flashinfer-bench-starter-kit#21"
SCORED_SHAPES = "AMD-AGI/AgentKernelArena#82"
ARENA = "AMD-AGI/AgentKernelArena#113"
COARSE = "AMD-AGI/GEAK-eval#13"
ZERO_WEIGHTS = "AI-Hypercomputer/accelerator-agents#50"
DRIFT = "karpathy/llm.c#852"
PRECISION = "anthony-chaudhary/dos-kernel#107"
HIJACKED = "SWE-bench/SWE-bench#601"
PICKLED = "amscanne/huptime#24"
DETACHED = "AMD-AGI/AgentKernelArena#78"
EARLIER = "ScalingIntelligence/KernelBench#38"


class Cheat:
    """A backend that wants a verdict it has not earned.

    Parameters
    ----------
    story : str
        How it cheats, in one sentence.
    source : sequence of str
        Where the pattern was seen, ``owner/repository#number``.
    expected : str
        What it must come out as: ``violating``; ``partial`` where it declines what it gets wrong; ``refused``
        where it cannot be loaded.
    level : str
        The lowest level at which that must show.
    unseen : str, optional
        Why no profile can show it yet.
    at_load : callable, optional
        What it does in its process before it is asked anything.
    declares : mapping, optional
        Its declarations.
    **functions : callable
        Its operations.
    """

    def __init__(
        self,
        story: str,
        source: Sequence[str],
        *,
        expected: str = "violating",
        level: str = "numeric",
        dtype: str = "float32",
        unseen: str | None = None,
        at_load: Callable[[], object] | None = None,
        declares: Mapping[str, Any] | None = None,
        **functions: Function,
    ) -> None:
        self.story = story
        self.source = tuple(source)
        self.expected = expected
        self.level = level
        self.dtype = dtype
        self.unseen = unseen
        self.at_load = at_load
        self.operations = tuple(functions)
        for name, value in {**(declares or {}), **functions}.items():
            setattr(self, name, value)

    def device(self) -> str:
        """Return what it runs on: the first of its code that runs, and only in its own process."""
        if self.at_load is not None:
            self.at_load()
        return "CPU"


def answered(result: Array, like: Array, out: Array | None) -> Array:
    """Return a result in the type of ``like``, in ``out`` where that is given."""
    if out is None:
        return np.asarray(result).astype(like.dtype)
    if (out.shape, out.dtype) != (result.shape, like.dtype):
        raise ValueError(f"out is {out.dtype} of shape {out.shape}, expected {like.dtype} of {result.shape}")
    out[...] = result
    return out


def absolute(x: Array, *, out: Array | None = None) -> Array:
    """Return |x| for relu(x), and refuse what relu refuses: the fault that most cheats here cover up."""
    right.relu(x)
    return answered(np.abs(x), x, out)


JUDGE = os.getppid()


def parent() -> int | None:
    """Return the process that judges, where it can be seen from here: never one that took its place."""
    return JUDGE if JUDGE == os.getppid() > 1 else None


def judge_of_its_own() -> int | None:
    """Return the process that judges, where a signal to its group cannot reach anybody else."""
    found = parent()
    return found if found is not None and os.getpgid(found) == found else None


def read(name: str) -> bytes | None:
    """Return what the system tells about the judging process, or None where it does not."""
    found = parent()
    try:
        return None if found is None else Path(f"/proc/{found}/{name}").read_bytes()
    except OSError:
        return None
