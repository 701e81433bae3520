"""The reference's peers in convolution and pooling: onnx.reference and PyTorch, in float64."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from contenders import host_side

from gaugeblock.conformance.bench.turns import Array, Side

Arguments = Mapping[str, Any]


def reference_peer(name: str, operation: str, arrays: Mapping[str, Array], parameters: Arguments) -> Side:
    """Prepare an operation over two spatial axes in another library, or skip the test where there is none."""
    module = {"onnx.reference": "onnx", "PyTorch": "torch"}[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    make = {"onnx.reference": _onnx_reference, "PyTorch": _pytorch}[name]
    return make(operation, arrays, parameters)


def _onnx_reference(operation: str, arrays: Mapping[str, Array], parameters: Arguments) -> Side:
    from onnx.reference.ops.op_average_pool import AveragePool_19
    from onnx.reference.ops.op_conv import Conv
    from onnx.reference.ops.op_max_pool import MaxPool

    steps: dict[str, Any] = {
        "pads": [parameters.get("padding", 0)] * 4,
        "strides": [parameters.get("stride", 1)] * 2,
    }
    if operation == "conv":
        steps["group"] = parameters.get("groups", 1)
        return host_side("onnx.reference", lambda x, w: Conv.eval(x, w, **steps), tuple(arrays.values()))
    operator = {"max_pool": MaxPool, "avg_pool": AveragePool_19}[operation]
    steps["kernel_shape"] = [parameters["kernel"]] * 2
    if operation == "avg_pool":
        steps["count_include_pad"] = 1
    return host_side("onnx.reference", lambda x: operator.eval(x, **steps), tuple(arrays.values()))


def _pytorch(operation: str, arrays: Mapping[str, Array], parameters: Arguments) -> Side:
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    call = (_torch_convolution if operation.startswith("conv") else _torch_pooling)(
        operation, tensors, parameters
    )
    name = f"PyTorch {torch.__version__} in float64, {torch.get_num_threads()} threads"
    return host_side(name, lambda: call().detach().numpy(), ())


def _torch_convolution(operation: str, given: Arguments, parameters: Arguments) -> Callable[[], Any]:
    import torch

    steps = (parameters.get("stride", 1), parameters.get("padding", 0), 1, parameters.get("groups", 1))
    match operation:
        case "conv_backward_input":
            shape = parameters["input_shape"]
            return lambda: torch.nn.grad.conv2d_input(shape, given["w"], given["dy"], *steps)
        case "conv_backward_weight":
            shape = parameters["kernel_shape"]
            return lambda: torch.nn.grad.conv2d_weight(given["x"], shape, given["dy"], *steps)
    return lambda: torch.nn.functional.conv2d(given["x"], given["w"], None, *steps)


def _torch_pooling(operation: str, given: Arguments, parameters: Arguments) -> Callable[[], Any]:
    import torch

    pool = getattr(torch.nn.functional, f"{operation.removesuffix('_backward')}2d")
    steps = (parameters["kernel"], parameters.get("stride"), parameters.get("padding", 0))
    if not operation.endswith("_backward"):
        return lambda: pool(given["x"], *steps)
    x = given["x"] if "x" in given else torch.zeros(parameters["input_shape"], dtype=torch.float64)
    y = pool(x.requires_grad_(), *steps)
    return lambda: torch.autograd.grad(y, x, given["dy"], retain_graph=True)[0]
