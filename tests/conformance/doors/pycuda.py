"""PyCUDA where there is no GPU: its own Python layer, on the simulated device.

Only its extension modules are replaced, before they are loaded, and ``nvcc``. An installed PyCUDA serves, and
so does the folder ``pycuda`` of its source distribution, never built. On a GPU PyCUDA is left alone.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any, Final

from gaugeblock.gpu.runtime import cuda_driver

OLDEST: Final = (2025, 1, 2)
"""The oldest version whose Python layer this is for."""


def simulates() -> bool:
    """Return whether the simulated device is to answer.

    Raises
    ------
    ImportError
        There is no GPU where one was asked for.
    """
    wish = os.environ.get("GAUGEBLOCK_DEVICE", "")
    if wish == "simulator":
        return True
    try:
        cuda_driver.init()
    except cuda_driver.Error as error:
        if wish == "cuda":
            raise ImportError(f"GAUGEBLOCK_DEVICE=cuda, but {error}") from error
        return True
    return False


def stand_in(name: str) -> ModuleType:
    """Return what is imported in place of an extension module."""
    from gaugeblock.conformance.doors import pycuda_driver

    found: Any = sys.modules["pycuda"]
    if found.VERSION < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise ImportError(
            f"PyCUDA {found.VERSION_TEXT} is too old: {wanted} or newer is needed", name="pycuda"
        )
    return pycuda_driver.driver_module() if name == "pycuda._driver" else pycuda_driver.struct_module()


def open_door() -> bool:
    """Put NVRTC in the place of ``nvcc``, once PyCUDA asks for that.

    Returns
    -------
    bool
        Whether the simulated device answers.
    """
    if not simulates() or hasattr(sys.modules.get("pycuda._driver"), "__file__"):
        return False
    if "pycuda.compiler" in sys.modules:
        from gaugeblock.conformance.doors import pycuda_compiler

        pycuda_compiler.install(sys.modules["pycuda.compiler"])
    return True


def described() -> dict[str, Any]:
    """Return what a backend behind this door is, in the words of its own declarations."""
    from gaugeblock.gpu.runtime.device import device

    found, version = device(), getattr(sys.modules.get("pycuda"), "VERSION_TEXT", "")
    return {
        "device": found.name,
        "simulated": found.simulated,
        "versions": dict(found.versions) | ({"pycuda": version} if version else {}),
    }


def tune(how: str) -> None:
    """Nothing to do: kernels of PyCUDA are not tuned."""
