"""GEMM, convolution, pooling, activations and LSTM units as CUDA kernels, on a GPU or on a simulated device.

A GPU is reached through PyCUDA or the driver alone; without one the kernels run on the simulator.
Importing this package touches no GPU; the first call chooses the device
(:mod:`gaugeblock.gpu.runtime.device`).

Attributes
----------
arithmetic : dict
    What the kernels compute in, per operation and type, where it is not plain IEEE float32 accumulation.
"""

from typing import Any, Final

from gaugeblock.gpu.activation.operations import *  # noqa: F403
from gaugeblock.gpu.activation.operations import __all__ as _activations
from gaugeblock.gpu.convolution.operations import (
    conv,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_fused,
    conv_transpose,
)
from gaugeblock.gpu.gemm import gemm
from gaugeblock.gpu.pooling import (
    avg_pool,
    avg_pool_backward,
    max_pool,
    max_pool_backward,
    max_pool_indices,
)
from gaugeblock.gpu.runtime.compiler import CompileError, CompilerUnavailable
from gaugeblock.gpu.runtime.device import DeviceArray, DeviceUnavailable, to_device
from gaugeblock.gpu.runtime.launcher import Kernel, LaunchError, Struct
from gaugeblock.gpu.unit import lstm_unit, lstm_unit_backward

_TENSOR_CORE: Final = {"accumulator": "tensor_core", "fraction_bits": 24, "block": 8}
# The coarsest of the devices: 24 bits are kept from Turing to Ada, 25 on Hopper and Blackwell; Ampere adds 8
# products at a time, later devices 16.

_ON_TENSOR_CORES: Final = (
    "gemm",
    *("conv", "conv_backward_input", "conv_backward_weight", "conv_transpose", "conv_fused"),
    *("lstm_unit", "lstm_unit_backward"),
)
# The weighted data of LSTM units are sums of two products of matrices.

arithmetic: Final[dict[str, dict[str, dict[str, Any]]]] = {
    name: {"float16": dict(_TENSOR_CORE), "bfloat16": dict(_TENSOR_CORE)} for name in _ON_TENSOR_CORES
}

__all__ = [
    "CompileError",
    "CompilerUnavailable",
    "DeviceArray",
    "DeviceUnavailable",
    "Kernel",
    "LaunchError",
    "Struct",
    "avg_pool",
    "avg_pool_backward",
    "conv",
    "conv_backward_bias",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_fused",
    "conv_transpose",
    "gemm",
    "lstm_unit",
    "lstm_unit_backward",
    "max_pool",
    "max_pool_backward",
    "max_pool_indices",
    "to_device",
    *_activations,
]
