"""ONNX: a model of one operator, run by ONNX Runtime, or by onnx's own evaluator where that is missing.

Its attributes, the shapes and the element type of its inputs are the domain. Weights that lie in the model
become inputs whose shapes are fixed: what is judged is the operator, for all weights.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.doors.torch_modules import ModuleError, fixed
from gaugeblock.spec.domain import axes_of
from gaugeblock.spec.operations import OPERATIONS

__all__ = ["OPERATORS", "OPSET", "Unlike", "load"]

Attributes = dict[str, Any]
Parameters = dict[str, Any]


class Unlike(Exception):
    """An operator does what the spec's operation does not; the message says in what."""


def _only(attributes: Attributes, name: str, *values: Any) -> None:
    """Take an attribute out that has to be one of some values."""
    value = attributes.pop(name, values[0])
    if not any(
        value == each or (isinstance(each, float) and math.isclose(value, each, rel_tol=1e-6))
        for each in values
    ):
        raise Unlike(f"{name} is {value}, expected {values[0]}")


def _steps(attributes: Attributes, **defaults: Any) -> Parameters:
    """Return the parameters of a sliding window, one number each."""
    auto = attributes.pop("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID"):
        raise Unlike(f"auto_pad is {auto}, which is more than one number of cells")
    found = {
        "stride": attributes.pop("strides", [1]),
        "padding": attributes.pop("pads", [0]),
        "dilation": attributes.pop("dilations", [1]),
    } | {name: attributes.pop(name, [value]) for name, value in defaults.items()}
    for name, values in found.items():
        if len(set(values)) > 1:
            raise Unlike(f"{name} is {', '.join(map(str, values))}, which no domain can say")
    return {name: values[0] for name, values in found.items()}


def _gemm(attributes: Attributes) -> Parameters:
    return {
        "alpha": attributes.pop("alpha", 1.0),
        "beta": attributes.pop("beta", 1.0),
        "transpose_a": bool(attributes.pop("transA", 0)),
        "transpose_b": bool(attributes.pop("transB", 0)),
    }


def _conv(attributes: Attributes) -> Parameters:
    attributes.pop("kernel_shape", None)  # the weights say it
    return _steps(attributes) | {"groups": attributes.pop("group", 1)}


def _conv_transpose(attributes: Attributes) -> Parameters:
    if "output_shape" in attributes:
        raise Unlike("output_shape is given, expected output_padding")
    attributes.pop("kernel_shape", None)
    return _steps(attributes, output_padding=0) | {"groups": attributes.pop("group", 1)}


def _pool(attributes: Attributes) -> Parameters:
    _only(attributes, "storage_order", 0)
    return _steps(attributes) | {
        "kernel": tuple(attributes.pop("kernel_shape")),
        "ceil_mode": bool(attributes.pop("ceil_mode", 0)),
    }


def _avg_pool(attributes: Attributes) -> Parameters:
    _only(attributes, "dilations", [1], [1, 1], [1, 1, 1])
    steps = _pool(attributes)
    del steps["dilation"]
    return steps | {"count_include_pad": bool(attributes.pop("count_include_pad", 0))}


def _renamed(**names: tuple[str, Any]) -> Callable[[Attributes], Parameters]:
    """Return how attributes are called here, with ONNX's defaults."""
    return lambda given: {ours: given.pop(theirs, default) for ours, (theirs, default) in names.items()}


def _hard_sigmoid(attributes: Attributes) -> Parameters:
    alpha = attributes.pop("alpha", 0.2)
    if not math.isclose(alpha, 1 / 6, rel_tol=1e-6):
        raise Unlike(f"alpha is {alpha:g}, expected 1/6")
    _only(attributes, "beta", 0.5)
    return {}


OPERATORS: Final[Mapping[str, tuple[str, tuple[str, ...], Callable[[Attributes], Parameters]]]] = {
    "Gemm": ("gemm", ("a", "b", "c"), _gemm),
    "MatMul": ("gemm", ("a", "b"), lambda given: {}),
    "Relu": ("relu", ("x",), lambda given: {}),
    "LeakyRelu": ("leaky_relu", ("x",), _renamed(negative_slope=("alpha", 0.01))),
    "Elu": ("elu", ("x",), _renamed(alpha=("alpha", 1.0))),
    "Sigmoid": ("sigmoid", ("x",), lambda given: {}),
    "HardSigmoid": ("hard_sigmoid", ("x",), _hard_sigmoid),
    "Tanh": ("tanh", ("x",), lambda given: {}),
    "Softplus": ("softplus", ("x",), lambda given: {}),
    "Gelu": ("gelu", ("x",), _renamed(approximate=("approximate", "none"))),
    "Softmax": ("softmax", ("x",), _renamed(axis=("axis", -1))),
    "LogSoftmax": ("log_softmax", ("x",), _renamed(axis=("axis", -1))),
    "Conv": ("conv", ("x", "w", "bias"), _conv),
    "ConvTranspose": ("conv_transpose", ("x", "w", "bias"), _conv_transpose),
    "MaxPool": ("max_pool", ("x",), _pool),
    "AveragePool": ("avg_pool", ("x",), _avg_pool),
    "Clip": ("hard_tanh", ("x", "min_val", "max_val"), lambda given: {}),
}
"""ONNX's operators: the spec's operation, its arrays in the order of the inputs, and its parameters."""

OPSET: Final = 13
"""The oldest in which operators mean what they mean here: before, softmax was along all axes from one on."""


def load(name: str) -> Any:
    """Return the backend that a model is.

    Raises
    ------
    BackendError
        It cannot be used; one line says why.
    """
    if not Path(name).is_file():
        raise BackendError(f"there is no file {name}")
    if importlib.util.find_spec("onnx") is None:
        raise BackendError("onnx is not installed: pip install onnxruntime onnx")
    onnx = importlib.import_module("onnx")
    try:
        model = onnx.load(name)
        onnx.checker.check_model(model)
    except Exception as error:
        raise BackendError(f"{name} is no model of ONNX: {error}") from error
    try:
        return _Model(onnx, model).backend()
    except (Unlike, ModuleError) as error:
        raise BackendError(f"{name}: {error}") from error


class _Model:
    """A model of one operator."""

    def __init__(self, onnx: Any, model: Any) -> None:
        self.onnx, self.model = onnx, model
        graph = model.graph
        for node in graph.node:
            if node.op_type == "Constant":
                (value,) = (each.t for each in node.attribute if each.name == "value")
                value.name = node.output[0]
                graph.initializer.append(value)
        nodes = [node for node in graph.node if node.op_type != "Constant"]
        if len(nodes) != 1:
            names = ", ".join(node.op_type for node in nodes[:4])
            raise Unlike(f"it has {len(nodes)} operators ({names}), this door is for one")
        (self.node,) = nodes
        if self.node.op_type not in OPERATORS or self.node.domain not in ("", "ai.onnx"):
            raise Unlike(f"its operator is {self.node.op_type}, which is none of the spec's operations")
        opset = max(
            (each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0
        )
        if opset < OPSET:
            raise Unlike(f"its operator set is {opset}, expected {OPSET} or newer")
        self.stored = {each.name: each for each in graph.initializer}
        self.given = {each.name: each for each in graph.input}

    def backend(self) -> Any:
        """Return it as an object with a function."""
        name, names, read = OPERATORS[self.node.op_type]
        helper = self.onnx.helper
        attributes = {each.name: helper.get_attribute_value(each) for each in self.node.attribute}
        attributes = {n: v.decode() if isinstance(v, bytes) else v for n, v in attributes.items()}
        parameters = read(attributes)
        if attributes:
            raise Unlike(f"its attribute {next(iter(attributes))} is none that the spec has")
        inputs = {ours: theirs for ours, theirs in zip(names, self.node.input, strict=False) if theirs}
        operation = OPERATIONS[name]
        for ours in [each for each in inputs if each not in operation.arrays]:
            parameters[ours] = self._number(ours, inputs.pop(ours))
        name = self._clipped(name, parameters)
        if name == "gemm" and "c" not in inputs:
            parameters["beta"] = 0.0
        for theirs in inputs.values():
            self._free(theirs)
        runtime, run, departures, versions = self._runtime(name)
        domain = self._domain(name, inputs, parameters)

        def function(*arrays: NDArray[Any], **given: Any) -> NDArray[Any]:
            named = dict(zip(OPERATIONS[name].arrays, arrays, strict=False))
            named |= {each: given[each] for each in OPERATIONS[name].arrays if each in given}
            feed = {
                inputs[each]: array for each, array in named.items() if array is not None and each in inputs
            }
            return np.asarray(run(feed))

        return SimpleNamespace(
            **{name: function},
            domain={name: domain},
            departures=departures,
            device=runtime,
            versions=versions,
        )

    def _number(self, name: str, stored: str) -> float:
        if stored not in self.stored:
            raise Unlike(f"{stored}, its {name}, is an input, expected a constant")
        return float(self.onnx.numpy_helper.to_array(self.stored[stored]))

    def _clipped(self, name: str, parameters: Parameters) -> str:
        """Return which operation a clip is."""
        if self.node.op_type != "Clip":
            return name
        if set(parameters) != {"min_val", "max_val"}:
            raise Unlike("its Clip has not both limits")
        if (parameters["min_val"], parameters["max_val"]) == (0.0, 6.0):
            parameters.clear()
            return "relu6"
        return name

    def _free(self, name: str) -> None:
        """Let a weight that lies in the model be given by the call: as an input too it is a default."""
        if name not in self.given:
            stored = self.stored[name]
            value = self.onnx.helper.make_tensor_value_info(name, stored.data_type, list(stored.dims))
            self.model.graph.input.append(value)
            self.given[name] = value

    def _domain(self, name: str, inputs: Mapping[str, str], parameters: Parameters) -> dict[str, Any]:
        operation = OPERATIONS[name]
        domain: dict[str, Any] = {"dtypes": (self._dtype(inputs),)}
        for each in operation.parameters:
            if operation.parameters[each].kind != "shape":
                domain |= fixed(operation, each, operation.complete(parameters)[each])
        shapes = {ours: self._shape(theirs) for ours, theirs in inputs.items()}
        for ours, shape in shapes.items():
            if None not in shape and (operation.kind, ours) != ("contraction", "c"):
                domain[ours] = shape
            elif (operation.kind, ours) != ("contraction", "c"):  # which broadcasts
                names = axes_of(operation, ours, len(shape), operation.complete(parameters))
                domain |= {
                    n: s for n, s in zip(names, shape, strict=True) if n and s is not None and "/" not in n
                }
        domain["rank"] = max(map(len, shapes.values()))
        domain |= {each: "absent" for each in operation.optional if each not in inputs}
        if "c" in shapes:
            domain["c"] = "vector" if len(shapes["c"]) == 1 else "given"
        elif "bias" in shapes:
            domain["bias"] = "given"
        return domain

    def _shape(self, name: str) -> tuple[Any, ...]:
        kind = self.given[name].type.tensor_type
        if not kind.HasField("shape"):
            raise Unlike(f"{name} has no shape: say at least how many axes there are")
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)

    def _dtype(self, inputs: Mapping[str, str]) -> str:
        types = self.onnx.TensorProto
        known = {types.FLOAT: "float32", types.FLOAT16: "float16", types.BFLOAT16: "bfloat16"}
        kind = self.given[next(iter(inputs.values()))].type.tensor_type.elem_type
        if kind not in known:
            raise Unlike(f"its elements are {types.DataType.Name(kind)}, expected FLOAT, FLOAT16 or BFLOAT16")
        return known[kind]

    def _runtime(self, name: str) -> tuple[str, Callable[[Any], Any], dict[str, Any], dict[str, str]]:
        """Return what runs the model, how, what that does otherwise on purpose, and versions."""
        versions = {"onnx": self.onnx.__version__}
        if importlib.util.find_spec("onnxruntime") is None:
            evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(self.model)
            return "onnx's evaluator", lambda feed: np.asarray(evaluator.run(None, feed)[0]), {}, versions
        adapter = importlib.import_module("gaugeblock.conformance.adapters.onnxruntime")
        session = adapter.session_of(self.model)
        departures = {name: adapter.departures[name]} if name in adapter.departures else {}
        return adapter.device, lambda feed: adapter.answer(session, None, feed), departures, adapter.versions
