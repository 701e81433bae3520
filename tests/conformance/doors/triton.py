"""Triton where there is no GPU: whether its kernels run on the simulated device (`triton_driver`)."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any, Final

import triton

OLDEST: Final = (3, 9)
"""The oldest Triton that this was tried with."""


def open_door() -> bool:
    """Make the simulated device Triton's, unless there is a GPU, or ``GAUGEBLOCK_DEVICE`` asks for one.

    Returns
    -------
    bool
        Whether it is.

    Raises
    ------
    ImportError
        This Triton is older than the door knows, or there is no GPU where one was asked for.
    """
    wish = os.environ.get("GAUGEBLOCK_DEVICE", "")
    if wish != "simulator" and _finds_gpu():
        return False
    if wish == "cuda":
        raise ImportError("GAUGEBLOCK_DEVICE=cuda, but Triton finds no GPU")
    version = tuple(map(int, re.findall(r"\d+", triton.__version__)[:2]))
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ImportError(f"without a GPU Triton has to be {wanted} or newer, this is {triton.__version__}")
    _driver().install()
    return True


def _finds_gpu() -> bool:
    """Whether Triton has a driver whose device is there."""
    try:
        backends = importlib.import_module("triton.backends").backends
    except (ImportError, AttributeError):  # of a Triton before 3.0
        return "torch" in sys.modules and bool(sys.modules["torch"].cuda.is_available())
    return any(backend.driver.is_active() for backend in backends.values())


def _driver() -> Any:
    return importlib.import_module("gaugeblock.conformance.doors.triton_driver")


def described() -> dict[str, Any]:
    """Return what a backend behind this door is, in the words of its own declarations."""
    versions = {name: sys.modules[name].__version__ for name in ("triton", "torch") if name in sys.modules}
    return {"device": _driver().NAME, "simulated": True, "versions": versions}


def tune(how: str) -> None:
    """Choose the configurations of autotuned kernels: the ``first`` that fits, or ``all`` by lot."""
    _driver().tune(how)
