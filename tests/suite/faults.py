"""What is known to be wrong in the peers: one place for it, explained in the README of the adapters.

A fault is a way in which a peer departs from the spec. It says for which operations and dtypes, shows itself
in a small problem, and recognises the failures it causes: a failure that no fault explains is news.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gaugeblock.conformance import Array, Layout, Problem, Report
from gaugeblock.spec.operations import OPERATIONS

NAN, INF = float("nan"), float("inf")
SHORT = {"32": "float32", "16": "float16", "b16": "bfloat16"}
SLIDING = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
TENTHS = Array((1, 1, 2999), "zeros", shift=0.1)
TWO_AXES = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}


@dataclass(frozen=True)
class Failure:
    """One clause that a report calls violated."""

    clause: str
    message: str
    problem: Problem

    @property
    def want(self) -> float:
        """What the worst element should have been; NaN too where no element is to blame."""
        found = re.search(r"want (\S+?)(,|$)", self.message)
        return float(found[1]) if found else NAN

    @property
    def got(self) -> float:
        """What it is."""
        found = re.search(r"^result\S*(?: \d+\])* = (\S+?),", self.message)
        return float(found[1]) if found else NAN

    @property
    def of_values(self) -> bool:
        """Whether numbers are wrong, and not a shape, a refusal or a write."""
        return re.search("want|fails at|errors in units", self.message) is not None

    def argument(self, name: str, default: Any = None) -> Any:
        """Return a parameter of the call."""
        return self.problem.parameters.get(name, default)

    def holds(self, test: Callable[[Any], Any]) -> bool:
        """Tell whether an element of some array passes a test."""
        return any(bool(np.any(test(array))) for array in self.problem.arguments().values())

    @property
    def empty(self) -> bool:
        """Whether some array has no elements."""
        return any(0 in array.shape for array in self.problem.arrays.values())


@dataclass(frozen=True)
class Fault:
    """A way in which a peer departs from the spec.

    Parameters
    ----------
    name
        What the README calls it.
    where
        Operations and the dtypes in which they have it, as in ``"32 16 b16"``.
    clause
        What the small problem breaks.
    problem
        Returns the small problem for an operation and a dtype.
    explains
        Tells whether a failure of these operations comes from it.
    cpu
        A feature that the processor must have, or with a minus must lack, to show it.
    steady
        Whether it shows every time, and not only on some processors or when memory happens to hold something.
    """

    name: str
    where: Mapping[str, str]
    clause: str | Callable[[str], str]
    problem: Callable[[str, str], Problem]
    explains: Callable[[Failure], bool]
    cpu: str = ""
    steady: bool = True

    @property
    def places(self) -> list[tuple[str, str]]:
        """The operations and dtypes that have it."""
        return [(name, SHORT[short]) for name, given in self.where.items() for short in given.split()]

    def broken(self, operation: str) -> str:
        """Return the clause that the small problem breaks."""
        return self.clause if isinstance(self.clause, str) else self.clause(operation)

    @property
    def shows_here(self) -> bool:
        """Whether it shows every time on this processor."""
        if not self.cpu or not self.steady:
            return self.steady
        features = _features()
        return self.cpu[1:] not in features if self.cpu.startswith("-") else self.cpu in features


def _features() -> set[str]:
    if os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2":
        return {"avx2"}  # PyTorch is told to make use of no others
    file = Path("/proc/cpuinfo")
    return set(file.read_text().split()) if file.exists() and platform.machine() == "x86_64" else set()


def failures(report: Report) -> list[Failure]:
    """Return what a report calls violated, with the problems that show it."""
    names = {"Array": Array, "Layout": Layout, "Problem": Problem}
    found = []
    for entry in report.entries.values():
        for clause, outcome in entry.failures.items():
            if outcome.problem is None:
                continue  # not tried, after a crash that was
            problem = eval(outcome.problem, names)  # what a report prints is meant to be run
            found.append(Failure(clause, outcome.message or "", problem))
    return found


def explained(peer: str, failure: Failure) -> bool:
    """Tell whether a known fault explains a failure."""
    place = (failure.problem.operation, failure.problem.dtype)
    return any(place in fault.places and fault.explains(failure) for fault in FAULTS[peer])


def table(peer: str, unsupported: Callable[[str, str], bool]) -> list[str]:
    """Return the README's table of a peer: the faults of every operation and dtype."""
    lines = ["| operation | float32 | float16 | bfloat16 |", "|---|---|---|---|"]
    for operation in OPERATIONS:
        cells = []
        for dtype in SHORT.values():
            names = [fault.name for fault in FAULTS[peer] if (operation, dtype) in fault.places]
            missing = "unsupported" if unsupported(operation, dtype) else "conforms"
            cells.append(", ".join(names) or missing)
        lines.append(f"| {operation} | {' | '.join(cells)} |")
    return lines


# Small problems --------------------------------------------------------------------------------------------


def _given(*values: float, shape: tuple[int, ...] | None = None) -> Array:
    return Array(shape or (len(values),), "zeros", planted=tuple(enumerate(values)))


def _with_a_wide_bias(operation: str, dtype: str) -> Problem:
    """Return a call whose bias alone is in float32."""
    shapes = {"x": (1, 1, 2, 2), "w": (1, 1, 1, 1), "bias": (1,)}
    arrays = {name: Array(shape) for name, shape in shapes.items()}
    return Problem(
        operation, dtype, arrays, {**TWO_AXES, "output_padding": (0, 0)}, dtypes={"bias": "float32"}
    )


def _by_columns(operation: str, dtype: str) -> Problem:
    """Return a product of matrices that lie by columns."""
    shapes = {"a": (5, 6), "b": (6, 7), "c": (5, 7)}
    arrays = {n: Array(shape, seed=i, layout=Layout((1, 0))) for i, (n, shape) in enumerate(shapes.items())}
    return Problem(operation, dtype, arrays, {"alpha": 2.0, "beta": 0.5})


def _at(*x: float, **parameters: Any) -> Callable[[str, str], Problem]:
    """Return elementwise problems at some x, where the gradient of the result is 1."""

    def problem(operation: str, dtype: str) -> Problem:
        arrays = {"dy": Array((len(x),), "ones")} if operation.endswith("_backward") else {}
        return Problem(operation, dtype, {**arrays, "x": _given(*x)}, parameters)

    return problem


def _on_a_grid(operation: str, dtype: str) -> Problem:
    """Return an elementwise problem at many x from −8 to 8."""
    arrays = {"dy": Array((999,), "ones")} if operation.endswith("_backward") else {}
    return Problem(operation, dtype, {**arrays, "x": Array((999,), "grid", scale=8.0)})


def _of(arrays: Mapping[str, Array], **parameters: Any) -> Callable[[str, str], Problem]:
    """Return one problem for all."""
    return lambda operation, dtype: Problem(operation, dtype, arrays, parameters)


def _accuracy(operation: str) -> str:
    return OPERATIONS[operation].clauses["accuracy"]


def _special(operation: str) -> str:
    return OPERATIONS[operation].clauses["special_values"]


def _product_with_nan(operation: str, dtype: str) -> Problem:
    shape = (1, 1, 1) if dtype == "float32" else (1, 1)
    return Problem(
        operation, dtype, {"a": _given(NAN, shape=shape), "b": Array(shape, "ones")}, {"alpha": 0.0}
    )


def _two_axes_with_nan(operation: str, dtype: str) -> Problem:
    return Problem(
        operation, dtype, {"a": _given(NAN, shape=(1, 1)), "b": Array((1, 1), "ones")}, {"alpha": 0.0}
    )


def _row(operation: str, dtype: str) -> Problem:
    """Return rows along the axis in which the fault shows."""
    inner = operation == "softmax"
    x = Array((64, 5) if inner else (5, 64), seed=1)
    arrays = {"dy": Array(x.shape, seed=2), "x": x} if operation.endswith("_backward") else {"x": x}
    return Problem(operation, dtype, arrays, {"axis": 0 if inner else 1})


def _over_the_edge(operation: str, dtype: str) -> Problem:
    """Return a convolution with an infinity over the edge of the input, and all else 1."""
    steps = {**SLIDING, "padding": ((1, 1),)}
    infinite, ones = _given(INF, 1, 1, shape=(1, 1, 3)), Array((1, 1, 3), "ones")
    match operation:
        case "conv_backward_weight":
            return Problem(
                operation, dtype, {"dy": infinite, "x": ones}, {**steps, "kernel_shape": (1, 1, 3)}
            )
        case "conv_fused":
            arrays = {"x": ones, "w": infinite, "bias": Array((1,), "zeros")}
            return Problem(operation, dtype, arrays, {**steps, "activation": "none"})
    return Problem(operation, dtype, {"x": ones, "w": infinite}, steps)


def _long_sum(operation: str, dtype: str) -> Problem:
    """Return sums of a thousand tenths."""
    if operation == "conv_backward_weight":
        arrays = {"dy": replace(TENTHS, shape=(999, 1, 1)), "x": Array((999, 1, 1), "ones")}
        return Problem(operation, dtype, arrays, {**SLIDING, "kernel_shape": (1, 1, 1)})
    return _handed_back(TENTHS, Array((1, 1, 1000), "ones"), 3998)(operation, dtype)


def _handed_back(first: Array, kernel: Array, length: int) -> Callable[[str, str], Problem]:
    """Return a transposed convolution of one axis, or the same as a gradient."""

    def problem(operation: str, dtype: str) -> Problem:
        if operation == "conv_transpose":
            return Problem(operation, dtype, {"x": first, "w": kernel}, {**SLIDING, "output_padding": 0})
        return Problem(
            operation, dtype, {"dy": first, "w": kernel}, {**SLIDING, "input_shape": (1, 1, length)}
        )

    return problem


def _over_the_edge_of_a_tile(operation: str, dtype: str) -> Problem:
    """Return a convolution, forward or back, whose tile of products is larger than the array."""
    if operation == "conv":
        w = Array((1, 3, 3, 3), "ones", planted=((0, NAN),))
        steps = {**TWO_AXES, "padding": ((1, 1), (1, 1))}
        return Problem(operation, dtype, {"x": Array((1, 3, 1, 1), "ones"), "w": w}, steps)
    if operation == "conv_backward_weight":
        return _over_the_edge(operation, dtype)
    return _handed_back(Array((1, 1, 3), "ones"), _given(NAN, 1, 1, shape=(1, 1, 3)), 5)(operation, dtype)


def _without_channels(operation: str, dtype: str) -> Problem:
    none, x, y = Array((1, 0, 1)), Array((1, 0, 3)), Array((1, 1, 3))
    bias = {"bias": Array((1,), "ones")}
    match operation:
        case "conv_backward_input":
            return Problem(operation, dtype, {"dy": y, "w": none}, {**SLIDING, "input_shape": (1, 0, 3)})
        case "conv_backward_weight":
            return Problem(operation, dtype, {"dy": y, "x": x}, {**SLIDING, "kernel_shape": (1, 0, 1)})
    return Problem(
        operation, dtype, {"x": x, "w": none, **(bias if operation == "conv_fused" else {})}, SLIDING
    )


def _pooled(x: Array, **parameters: Any) -> Callable[[str, str], Problem]:
    """Return a pooling of one axis; where there is a gradient of the result it is 0.1."""

    def problem(operation: str, dtype: str) -> Problem:
        chosen = {"kernel": 2, **parameters}
        y = Problem("max_pool_indices", dtype, {"x": x}, chosen).result_shape
        tenth = Array(y, "zeros", shift=0.1)
        match operation:
            case "avg_pool_backward":
                return Problem(operation, dtype, {"dy": tenth}, {**chosen, "input_shape": x.shape})
            case "max_pool_backward":
                return Problem(operation, dtype, {"dy": tenth, "x": x}, chosen)
        return Problem(operation, dtype, {"x": x}, chosen)

    return problem


# Failures that faults explain ------------------------------------------------------------------------------


def _always(failure: Failure) -> bool:
    return failure.of_values


def _nan_for_a_number(failure: Failure) -> bool:
    large = 1e4 if failure.problem.dtype == "float16" else 1e12  # whose cube is no number of the format
    return np.isnan(failure.got) and failure.holds(lambda x: np.abs(x) >= large)


def _at_the_edge(failure: Failure) -> bool:
    return failure.clause == "CONV-X2" and failure.holds(lambda x: ~np.isfinite(x))


def _longer_than_the_input(failure: Failure) -> bool:
    return "of shape" in failure.message and 0 in failure.problem.result_shape


def _everywhere(*operations: str) -> dict[str, str]:
    return dict.fromkeys(operations, "32 16 b16")


def _narrow(*operations: str) -> dict[str, str]:
    return dict.fromkeys(operations, "16 b16")


def _wide(*operations: str) -> dict[str, str]:
    return dict.fromkeys(operations, "32 16")


FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "torch": (
        Fault(
            "alpha",
            _everywhere("gemm"),
            "GEMM-S3",
            _product_with_nan,
            lambda failure: failure.argument("alpha") == 0,
        ),
        Fault(
            "beta",
            _narrow("gemm"),
            "GEMM-X1",
            lambda operation, dtype: Problem(
                operation,
                dtype,
                {
                    "a": Array((1, 0)),
                    "b": Array((0, 1)),
                    "c": _given(3.0 if dtype == "float16" else 0.140625, shape=(1, 1)),
                },
                {"beta": 0.1},
            ),
            lambda failure: failure.argument("beta") not in (0, 1) and failure.empty,
        ),
        Fault(
            "gaps",
            {"gemm": "b16"},
            "GEN-S2",
            _of({"a": Array((42, 3), layout=Layout(steps=(2, 1))), "b": Array((3, 33))}),
            lambda failure: np.isnan(failure.got) and failure.problem.arrays["a"].layout != Layout(),
            cpu="amx_bf16",
        ),
        Fault(
            "order",
            {"gemm": "32 16"},
            "GEN-S2",
            _by_columns,
            lambda failure: failure.message.startswith("the call on packed arrays"),
            steady=False,
        ),
        Fault(
            "formats",
            {"conv_transpose": "16 b16"},
            "CONV-C5",
            _with_a_wide_bias,
            lambda failure: failure.clause == "CONV-C5" and failure.problem.dtypes == {"bias": "float32"},
        ),
        Fault(
            "dead",
            _everywhere(
                "relu_backward",
                "relu6_backward",
                "leaky_relu_backward",
                "elu_backward",
                "hard_sigmoid_backward",
                "hard_tanh_backward",
            ),
            "ACT-X3",
            _at(NAN),
            lambda failure: "want nan" in failure.message,
        ),
        Fault(
            "overflow",
            {"softplus_backward": "32 b16"},
            "ACT-A1",
            _of({"dy": Array((1,), "zeros", shift=4.2e35), "x": _given(19.0)}),
            lambda failure: np.isinf(failure.got),
        ),
        Fault(
            "infinity",
            _everywhere("gelu", "gelu_backward", "silu", "silu_backward"),
            _special,
            _at(-INF),
            _nan_for_a_number,
        ),
        Fault(
            "tail",
            _everywhere("gelu", "gelu_backward"),
            _accuracy,
            _on_a_grid,
            _always,
        ),
        Fault(
            "through",
            _narrow(
                "sigmoid_backward",
                "log_sigmoid_backward",
                "tanh_backward",
                "softmax_backward",
                "log_softmax_backward",
            ),
            _accuracy,
            lambda operation, dtype: (
                _row(operation, dtype)
                if "softmax" in operation
                else _at(1.2109375, 2.744140625)(operation, dtype)
            ),
            _always,
        ),
        Fault("twice", _narrow("softmax", "log_softmax"), _accuracy, _row, _always),
        Fault(
            "edge",
            {**_everywhere("conv_fused"), **dict.fromkeys(("conv", "conv_backward_weight"), "32")},
            "CONV-X2",
            _over_the_edge,
            _at_the_edge,
        ),
        Fault(
            "edge",
            dict.fromkeys(("conv", "conv_backward_weight"), "16"),
            "CONV-X2",
            _over_the_edge,
            _at_the_edge,
            cpu="-avx512_fp16",
        ),
        Fault(
            "edge",
            dict.fromkeys(("conv", "conv_backward_weight", "conv_backward_input", "conv_transpose"), "b16"),
            "CONV-X2",
            _over_the_edge_of_a_tile,
            _at_the_edge,
            cpu="amx_bf16",
        ),
        Fault(
            "infinity",
            _everywhere("conv_fused"),
            "CONV-X2",
            _of(
                {
                    "x": Array((1, 1, 1), "ones"),
                    "w": _given(-INF, shape=(1, 1, 1)),
                    "bias": Array((1,), "zeros"),
                },
                activation="silu",
            ),
            lambda failure: np.isnan(failure.got) and failure.argument("activation") in ("silu", "gelu"),
        ),
        Fault(
            "channels",
            _everywhere("conv", "conv_fused", "conv_backward_input", "conv_backward_weight"),
            "CONV-X1",
            _without_channels,
            lambda failure: failure.empty or 0 in failure.argument("kernel_shape", ()),
        ),
        Fault(
            "channels",
            _everywhere("conv_transpose"),
            "CONV-X1",
            _of({"x": Array((1, 1, 1)), "w": Array((1, 0, 1))}, **SLIDING, output_padding=0),
            lambda failure: failure.empty,
        ),
        Fault(
            "sums",
            dict.fromkeys(("conv_backward_input", "conv_backward_weight", "conv_transpose"), "16"),
            "CONV-A1",
            _long_sum,
            _always,
            cpu="-avx512_fp16",
        ),
        Fault(
            "sums",
            dict.fromkeys(("conv_backward_input", "conv_backward_weight", "conv_transpose"), "b16"),
            "CONV-A1",
            _long_sum,
            _always,
            cpu="-avx512bw",
        ),
        Fault(
            "sums",
            _narrow("max_pool_backward", "avg_pool_backward"),
            _accuracy,
            _pooled(Array((1, 1, 3998), "zeros", planted=((1500, 1.0),)), kernel=1000, stride=1),
            _always,
        ),
        Fault(
            "stride",
            {"conv": "b16"},
            "CONV-S1",
            _of(
                {"x": Array((1, 3, 6, 3), "integers", limit=3), "w": Array((1, 3, 2, 3), "ones")},
                **{**TWO_AXES, "stride": (1, 2)},
            ),
            lambda failure: failure.of_values and failure.argument("stride", (1,))[-1] > 1,
            cpu="amx_bf16",
        ),
        Fault(
            "taps",
            {"conv_backward_weight": "b16"},
            "CONV-S3",
            _of(
                {"dy": Array((1, 1, 2), "ones"), "x": Array((1, 1, 1), "ones")},
                **{**SLIDING, "stride": (2,), "padding": ((2, 2),), "kernel_shape": (1, 1, 3)},
            ),
            lambda failure: failure.of_values and max(failure.argument("stride", (1,))) > 1,
            steady=False,
        ),
        Fault(
            "crash",
            {"conv": "16"},
            "CONV-S1",
            _of(
                {"x": Array((1, 2, 1, 5, 1), "ones"), "w": Array((1, 2, 1, 3, 1), "ones")},
                stride=(1, 1, 2),
                padding=((0, 0), (0, 0), (1, 1)),
                dilation=(1, 2, 3),
                groups=1,
            ),
            lambda failure: "was ended by" in failure.message,
            steady=False,
        ),
        Fault(
            "crash",
            {"conv_transpose": "b16"},
            "CONV-S5",
            _of(
                {"x": Array((1, 4, 1, 1), "ones"), "w": Array((4, 1, 2, 5), "ones")},
                **{**TWO_AXES, "padding": ((1, 1), (0, 0)), "dilation": (3, 3), "output_padding": 0},
            ),
            lambda failure: "was ended by" in failure.message,
            steady=False,
        ),
        Fault(
            "last",
            _everywhere("max_pool_indices", "max_pool_backward"),
            "POOL-X2",
            _pooled(_given(NAN, NAN, shape=(1, 1, 2))),
            lambda failure: failure.holds(np.isnan),
        ),
        Fault(
            "nowhere",
            _everywhere("max_pool_indices"),
            "POOL-S2",
            _pooled(Array((1, 2, 1), "ones"), padding=1, dilation=2),
            lambda failure: failure.want == -1,
        ),
    ),
    "onnxruntime": (
        Fault(
            "alpha",
            _wide("gemm"),
            "GEMM-S3",
            _two_axes_with_nan,
            lambda failure: failure.argument("alpha") == 0,
        ),
        Fault("sigmoid", _wide("sigmoid", "silu"), _accuracy, _at(-12.0, -18.0), _always),
        Fault(
            "sigmoid",
            _wide("conv_fused"),
            "CONV-A8",
            _of(
                {
                    "x": Array((1, 1, 1), "ones"),
                    "w": _given(-16.5, shape=(1, 1, 1)),
                    "bias": Array((1,), "zeros"),
                },
                activation="sigmoid",
            ),
            lambda failure: failure.argument("activation") in ("sigmoid", "silu"),
        ),
        Fault("tanh", {"tanh": "32"}, _accuracy, _at(-8.47554), _always),
        Fault(
            "tanh",
            {"conv_fused": "32"},
            "CONV-A8",
            _of(
                {
                    "x": Array((1, 1, 1), "ones"),
                    "w": _given(-8.47554, shape=(1, 1, 1)),
                    "bias": Array((1,), "zeros"),
                },
                activation="tanh",
            ),
            lambda failure: failure.argument("activation") == "tanh",
        ),
        Fault("elu", _wide("elu"), _accuracy, _at(-1e-8, -0.00042319), _always),
        Fault("tail", _wide("gelu"), _accuracy, _on_a_grid, _always),
        Fault("infinity", _wide("silu", "gelu"), _special, _at(-INF), _nan_for_a_number),
        Fault(
            "infinity",
            _wide("conv_fused"),
            "CONV-X2",
            _of(
                {
                    "x": Array((1, 1, 1), "ones"),
                    "w": _given(-INF, shape=(1, 1, 1)),
                    "bias": Array((1,), "zeros"),
                },
                activation="silu",
            ),
            lambda failure: np.isnan(failure.got) and failure.argument("activation") in ("silu", "gelu"),
        ),
        Fault(
            "nan",
            _wide("maxout"),
            "ACT-X7",
            _of({"x": _given(1, NAN)}),
            lambda failure: "want nan" in failure.message,
        ),
        Fault(
            "nan",
            _wide("max_pool", "max_pool_indices"),
            "POOL-X2",
            _pooled(_given(1, NAN, 2, 3, shape=(1, 1, 4)), kernel=4),
            lambda failure: failure.holds(np.isnan),
        ),
        Fault("edge", _wide("conv", "conv_fused"), "CONV-X2", _over_the_edge, _at_the_edge),
        Fault(
            "lowest",
            {"max_pool": "32"},
            "POOL-X2",
            _pooled(_given(-INF, -INF, shape=(1, 1, 2))),
            lambda failure: failure.want == -INF,
        ),
        Fault(
            "nowhere",
            _wide("max_pool_indices"),
            "POOL-S2",
            _pooled(Array((1, 2, 2, 2), "ones"), kernel=(2, 2), padding=1, dilation=3),
            lambda failure: failure.want == -1,
        ),
        Fault(
            "length",
            _wide("max_pool", "max_pool_indices", "avg_pool"),
            "POOL-X1",
            _pooled(Array((1, 2, 1, 5)), kernel=(2, 2)),
            _longer_than_the_input,
        ),
    ),
}
