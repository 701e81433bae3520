"""A run of an ONNX model: each of its operators as the problem that it was, by the shapes that it met."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from gaugeblock.conformance.doors.onnx_model import OPERATORS, OPSET, Unlike
from gaugeblock.conformance.recording.log import Log, RecordError
from gaugeblock.spec.formats import FORMATS

__all__ = ["record_model"]

Attributes = dict[str, Any]


def record_model(file: Path, inputs: Mapping[str, tuple[int, ...]]) -> Log:
    """Run a model once on random numbers, and take down what its operators were asked.

    Parameters
    ----------
    file
        The model.
    inputs
        Shapes of inputs that the model leaves open.

    Raises
    ------
    RecordError
        If it is no model, or cannot be run so.
    """
    try:
        model = onnx.load(str(file))
        onnx.checker.check_model(model)
    except Exception as error:
        raise RecordError(f"{file} is no model of ONNX: {error}") from error
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OPSET:
        raise RecordError(f"{file}: its operator set is {opset}, expected {OPSET} or newer")
    log, met = Log(), _run(file, model, inputs)
    for node in model.graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            if node.op_type != "Constant":
                log.others[node.op_type] += 1
            continue
        try:
            _add(log, node, met)
        except Unlike as error:
            log.others[f"{node.op_type}: {error}"] += 1
    return log


def _run(file: Path, model: Any, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Return every array of a run."""
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    feed = {each.name: _filled(file, each, inputs) for each in model.graph.input if each.name not in stored}
    if unknown := [name for name in inputs if name not in feed]:
        raise RecordError(f"{file} has no input {unknown[0]}, expected one of {', '.join(feed)}")
    names = [name for node in model.graph.node for name in node.output if name]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = dict(zip(names, session.run(names, feed), strict=True))
    except Exception as error:
        raise RecordError(f"{file} does not run: {error}") from error
    return {name: array for name, array in {**stored, **feed, **found}.items() if hasattr(array, "shape")}


def _filled(file: Path, given: Any, inputs: Mapping[str, tuple[int, ...]]) -> NDArray[Any]:
    """Return random numbers for an input, zeros for one of whole numbers."""
    kind = given.type.tensor_type
    declared = tuple(each.dim_value if each.HasField("dim_value") else None for each in kind.shape.dim)
    shape: Any = inputs.get(given.name, declared)
    if None in shape:
        words = "x".join("?" if size is None else str(size) for size in declared)
        raise RecordError(
            f"{file} leaves open what its input {given.name} is, {words}: give --input {given.name}=…"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    if np.issubdtype(dtype, np.floating):
        return np.asarray(np.random.default_rng(0).standard_normal(shape), dtype)
    return np.zeros(shape, dtype)


def _add(log: Log, node: Any, met: Mapping[str, NDArray[Any]]) -> None:
    """Take down an operator."""
    name, names, read = OPERATORS[node.op_type]
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    attributes = {
        key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()
    }
    arrays = {
        ours: met[theirs] for ours, theirs in zip(names, node.input, strict=False) if theirs and theirs in met
    }
    windows = _windows(attributes, node.op_type)
    parameters = read(attributes) | windows
    for each in ("min_val", "max_val"):
        if each in arrays:
            parameters[each] = float(arrays.pop(each))
    if node.op_type == "Clip":
        if not {"min_val", "max_val"} <= parameters.keys():
            raise Unlike("it has not both limits")
        if (parameters["min_val"], parameters["max_val"]) == (0.0, 6.0):
            name, parameters = "relu6", {}
    dtype = arrays[next(iter(arrays))].dtype.name
    if dtype not in FORMATS:
        raise Unlike(f"its elements are {dtype}")
    if name == "gemm" and "c" not in arrays:
        parameters.pop("beta", None)
    log.add(name, dtype, {each: array.shape for each, array in arrays.items()}, parameters)


def _windows(attributes: Attributes, kind: str) -> dict[str, Any]:
    """Take the attributes of sliding windows out, which may have another number for each axis."""
    if "Conv" not in kind and "Pool" not in kind:
        return {}
    auto = attributes.pop("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID"):
        raise Unlike(f"auto_pad is {auto}")
    pads = attributes.pop("pads", [])
    half = len(pads) // 2
    found: dict[str, Any] = {"padding": [list(pair) for pair in zip(pads[:half], pads[half:], strict=True)]}
    for theirs, ours in (
        ("strides", "stride"),
        ("dilations", "dilation"),
        ("output_padding", "output_padding"),
    ):
        if theirs in attributes:
            found[ours] = list(attributes.pop(theirs))
    if "Pool" in kind:  # whose stride is 1 if it is left out
        found.setdefault("stride", 1)
    if kind == "AveragePool" and set(found.pop("dilation", [1])) != {1}:
        raise Unlike("dilations are not 1")
    return {name: value for name, value in found.items() if value != []}
