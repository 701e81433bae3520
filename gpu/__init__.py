"""GEMM and activations as CUDA kernels, on a GPU through PyCUDA or on a simulated device.

Importing this package touches no GPU; the first call chooses the device (:mod:`gaugeblock.gpu.device`).

Attributes
----------
arithmetic : dict
    What the kernels compute in, per operation and type, where it is not plain IEEE float32 accumulation.
"""

from typing import Any, Final

from gaugeblock.gpu.activation import *  # noqa: F403
from gaugeblock.gpu.activation import __all__ as _activations
from gaugeblock.gpu.compiler import CompileError, CompilerUnavailable
from gaugeblock.gpu.device import DeviceArray, DeviceUnavailable, to_device
from gaugeblock.gpu.gemm import gemm

arithmetic: Final[dict[str, dict[str, dict[str, Any]]]] = {}

__all__ = [
    "CompileError",
    "CompilerUnavailable",
    "DeviceArray",
    "DeviceUnavailable",
    "gemm",
    "to_device",
    *_activations,
]
