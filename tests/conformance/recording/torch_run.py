"""A run of PyTorch: each operator that is dispatched, forward and backward, as the problem that it is."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gaugeblock.conformance.recording.log import Log

__all__ = ["Recorder", "record_program"]

Arguments = Mapping[str, Any]
Problem = tuple[str, dict[str, Any], dict[str, Any]]
Problems = Iterator[Problem]

DTYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


# What operators are ----------------------------------------------------------------------------------------


def _unary(name: str, **renamed: str) -> Callable[[Arguments], Problems]:
    """Return how a function of one tensor, and of parameters by other names, is read."""
    return lambda a: iter([(name, {"x": a["self"]}, {ours: a[theirs] for ours, theirs in renamed.items()})])


def _gradient(name: str, of: str = "self", **renamed: str) -> Callable[[Arguments], Problems]:
    """Return how its gradient is read: what is remembered, input or result, is of x's shape."""

    def read(a: Arguments) -> Problems:
        yield (
            name,
            {"dy": a["grad_output"], "x": a[of]},
            {ours: a[theirs] for ours, theirs in renamed.items()},
        )

    return read


def _only(read: Callable[[Arguments], Problems], **expected: Any) -> Callable[[Arguments], Problems]:
    """Return how calls with certain arguments are read; others are none of the spec's."""
    return lambda a: read(a) if all(a[name] == value for name, value in expected.items()) else iter(())


def _hardtanh(gradient: bool) -> Callable[[Arguments], Problems]:
    def read(a: Arguments) -> Problems:
        limits = {"min_val": float(a["min_val"]), "max_val": float(a["max_val"])}
        six = limits == {"min_val": 0.0, "max_val": 6.0}
        name = ("relu6" if six else "hard_tanh") + ("_backward" if gradient else "")
        arrays = {"dy": a["grad_output"], "x": a["self"]} if gradient else {"x": a["self"]}
        yield name, arrays, {} if six else limits

    return read


def _operand(name: str, matrix: Any, parameters: dict[str, Any]) -> Any:
    """Return a factor as it lies: what is the transpose of a packed matrix is given so."""
    if not matrix.is_contiguous() and matrix.mT.is_contiguous():
        parameters[f"transpose_{name}"] = True
        return matrix.mT
    return matrix


def _product(left: str, right: str, addend: str = "") -> Callable[[Arguments], Problems]:
    def read(a: Arguments) -> Problems:
        parameters: dict[str, Any] = {}
        arrays = {"a": _operand("a", a[left], parameters), "b": _operand("b", a[right], parameters)}
        if addend:
            arrays["c"] = a[addend]
            parameters |= {"alpha": float(a["alpha"]), "beta": float(a["beta"])}
        yield "gemm", arrays, parameters

    return read


def _slides(a: Arguments) -> dict[str, Any]:
    return {name: list(a[name]) for name in ("stride", "padding", "dilation")} | {"groups": a["groups"]}


def _convolution(a: Arguments) -> Problems:
    arrays = {"x": a["input"], "w": a["weight"], "bias": a["bias"]}
    if a["transposed"]:
        yield "conv_transpose", arrays, _slides(a) | {"output_padding": list(a["output_padding"])}
    else:
        yield "conv", arrays, _slides(a)


def _convolution_backward(a: Arguments) -> Problems:
    dy, x, w = a["grad_output"], a["input"], a["weight"]
    kernel = {"kernel_shape": list(w.shape)}
    wanted: tuple[Problem, Problem]
    if a["transposed"]:  # whose gradients are those of the plain one, with x and dy in each other's place
        wanted = ("conv", {"x": dy, "w": w}, {}), ("conv_backward_weight", {"dy": x, "x": dy}, kernel)
    else:
        shape = {"input_shape": list(x.shape)}
        wanted = (
            ("conv_backward_input", {"dy": dy, "w": w}, shape),
            ("conv_backward_weight", {"dy": dy, "x": x}, kernel),
        )
    for (name, arrays, more), asked in zip(wanted, a["output_mask"], strict=False):
        if asked:
            yield name, arrays, _slides(a) | more
    if a["output_mask"][2]:
        yield "conv_backward_bias", {"dy": dy}, {}


def _windows(a: Arguments, *names: str) -> dict[str, Any]:
    found = {
        "kernel": list(a["kernel_size"]),
        "padding": list(a["padding"]),
        "ceil_mode": bool(a["ceil_mode"]),
    }
    found |= {"stride": list(a["stride"])} if a["stride"] else {}
    return found | {name: list(a[name]) if name == "dilation" else a[name] for name in names}


def _max_pool(a: Arguments) -> Problems:
    yield "max_pool", {"x": a["self"]}, _windows(a, "dilation")


def _max_pool_backward(a: Arguments) -> Problems:
    yield "max_pool_backward", {"dy": a["grad_output"], "x": a["self"]}, _windows(a, "dilation")


def _average(a: Arguments) -> dict[str, Any]:
    divisor = {"divisor": a["divisor_override"]} if a["divisor_override"] else {}
    return _windows(a, "count_include_pad") | divisor


def _avg_pool(a: Arguments) -> Problems:
    yield "avg_pool", {"x": a["self"]}, _average(a)


def _avg_pool_backward(a: Arguments) -> Problems:
    yield "avg_pool_backward", {"dy": a["grad_output"]}, _average(a) | {"input_shape": list(a["self"].shape)}


OPERATORS: Mapping[str, Callable[[Arguments], Problems]] = {
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "addmm": _product("mat1", "mat2", "self"),
    "baddbmm": _product("batch1", "batch2", "self"),
    "relu": _unary("relu"),
    "threshold_backward": _only(_gradient("relu_backward"), threshold=0),
    "hardtanh": _hardtanh(False),
    "hardtanh_backward": _hardtanh(True),
    "leaky_relu": _unary("leaky_relu", negative_slope="negative_slope"),
    "leaky_relu_backward": _gradient("leaky_relu_backward", negative_slope="negative_slope"),
    "elu": _only(_unary("elu", alpha="alpha"), scale=1, input_scale=1),
    "elu_backward": _only(_gradient("elu_backward", "self_or_result", alpha="alpha"), scale=1, input_scale=1),
    "sigmoid": _unary("sigmoid"),
    "sigmoid_backward": _gradient("sigmoid_backward", "output"),
    "log_sigmoid_forward": _unary("log_sigmoid"),
    "log_sigmoid_backward": _gradient("log_sigmoid_backward"),
    "hardsigmoid": _unary("hard_sigmoid"),
    "hardsigmoid_backward": _gradient("hard_sigmoid_backward"),
    "tanh": _unary("tanh"),
    "tanh_backward": _gradient("tanh_backward", "output"),
    "softplus": _only(_unary("softplus"), beta=1),
    "softplus_backward": _only(_gradient("softplus_backward"), beta=1),
    "gelu": _unary("gelu", approximate="approximate"),
    "gelu_backward": _gradient("gelu_backward", approximate="approximate"),
    "silu": _unary("silu"),
    "silu_backward": _gradient("silu_backward"),
    "_softmax": _unary("softmax", axis="dim"),
    "_softmax_backward_data": _gradient("softmax_backward", "output", axis="dim"),
    "_log_softmax": _unary("log_softmax", axis="dim"),
    "_log_softmax_backward_data": _gradient("log_softmax_backward", "output", axis="dim"),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "max_pool3d_with_indices": _max_pool,
    "max_pool3d_with_indices_backward": _max_pool_backward,
    "avg_pool2d": _avg_pool,
    "avg_pool2d_backward": _avg_pool_backward,
    "avg_pool3d": _avg_pool,
    "avg_pool3d_backward": _avg_pool_backward,
}
"""Operators of PyTorch, without the underscore of those that work in place."""

MOVES = {
    *("view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "as_strided", "squeeze"),
    *("unsqueeze", "slice", "select", "split", "split_with_sizes", "cat", "stack", "resize", "set"),
    *("detach", "alias", "clone", "copy", "_to_copy", "lift_fresh", "is_same_size", "empty", "empty_like"),
    *("empty_strided", "new_empty", "new_empty_strided", "zeros", "zeros_like", "ones", "ones_like", "full"),
    *("full_like", "fill", "zero", "arange", "rand", "randn", "randint", "uniform", "normal", "bernoulli"),
}
"""Operators that compute nothing."""


class Recorder(TorchDispatchMode):  # type: ignore[misc]  # PyTorch may be missing, and have no types then
    """Takes down what PyTorch is asked to compute in its context.

    Attributes
    ----------
    log
        What was met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take an operator down, and let it be computed."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        plain = name.rstrip("_") if not name.endswith("__") else name
        if plain not in OPERATORS and func._can_decompose():
            with self:
                return func.decompose(*args, **kwargs)
        if plain in OPERATORS:
            self._add(plain, _named(func, args, kwargs))
        elif plain not in MOVES:
            self.log.others[plain] += 1
        return func(*args, **kwargs)

    def _add(self, name: str, arguments: Arguments) -> None:
        found = list(OPERATORS[name](arguments))
        if not found:
            self.log.others[name] += 1
        for operation, tensors, parameters in found:
            given = {each: tensor for each, tensor in tensors.items() if tensor is not None}
            dtype = next(iter(given.values())).dtype
            if dtype not in DTYPES:
                self.log.others[f"{name} in {str(dtype).removeprefix('torch.')}"] += 1
                continue
            shapes = {each: tuple(map(int, tensor.shape)) for each, tensor in given.items()}
            orders = {each: order for each, tensor in given.items() if (order := _order(tensor)) is not None}
            self.log.add(operation, DTYPES[dtype], shapes, parameters, orders)


def _named(func: Any, args: Sequence[Any], kwargs: Arguments) -> dict[str, Any]:
    """Return the arguments of a call by their names, with the defaults of those left out."""
    declared = func._schema.arguments
    found = {each.name: each.default_value for each in declared if each.has_default_value()}
    return found | {each.name: value for each, value in zip(declared, args, strict=False)} | dict(kwargs)


def _order(tensor: Any) -> tuple[int, ...] | None:
    """Return the order of a tensor's axes in memory, where it is packed and not in the plain order."""
    if tensor.is_contiguous():
        return None
    order = sorted(range(tensor.ndim), key=lambda axis: (-tensor.stride(axis), axis))
    return tuple(order) if tensor.permute(order).is_contiguous() else None


def record_program(program: str, arguments: Sequence[str]) -> tuple[Log, int]:
    """Run a Python program as Python itself would, and take down what it asks PyTorch to compute.

    Returns
    -------
    Log, int
        What was met, and the program's exit status.
    """
    recorder, status = Recorder(), 0
    before = sys.argv, list(sys.path)
    sys.argv = [program, *arguments]
    sys.path[0:0] = [str(Path(program).resolve().parent)]
    try:
        with recorder:
            runpy.run_path(program, run_name="__main__")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    finally:
        sys.argv, sys.path[:] = before
    return recorder.log, status
