"""Writes the models of one operator that the tests judge; every line is one that a user might export."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(operator, inputs, stored=None, opset=20, dtype=TensorProto.FLOAT, **attributes):
    """Return a model of an operator, whose inputs are named with their shapes."""
    stored = {
        name: numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in (stored or {}).items()
    }
    node = helper.make_node(operator, [*inputs, *stored], ["y"], **attributes)
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    result = helper.make_tensor_value_info("y", dtype, list("ijklm"[: len(next(iter(inputs.values())))]))
    graph = helper.make_graph([node], "operator", given, [result], list(stored.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def models():
    """Return the models by their names."""
    rows, maps = ["n", "m"], ["n", 4, None, None]
    weights = {"w": np.zeros((6, 4, 3, 3)), "b": np.zeros(6)}
    return {
        "softmax": model("Softmax", {"x": rows}, axis=0),
        "conv": model("Conv", {"x": maps}, weights, pads=[1] * 4, strides=[2, 2]),
        "relu6": model("Clip", {"x": rows}, {"low": 0.0, "high": 6.0}),
        "gemm": model("Gemm", {"a": ["n", 8]}, {"w": np.zeros((5, 8)), "b": np.zeros(5)}, transB=1),
        "max_pool": model("MaxPool", {"x": maps}, kernel_shape=[3, 3], strides=[2, 2]),
        "abs": model("Abs", {"x": rows}),
        "old": model("Softmax", {"x": rows}, opset=11),
        "uneven": model("Conv", {"x": maps}, weights, pads=[0, 1, 0, 1]),
        "automatic": model("Conv", {"x": maps}, weights, auto_pad="SAME_UPPER"),
        "double": model("Relu", {"x": rows}, dtype=TensorProto.DOUBLE),
        "steep": model("HardSigmoid", {"x": rows}),
    }


if __name__ == "__main__":
    for name, each in models().items():
        onnx.save(each, Path(sys.argv[1], f"{name}.onnx"))
