"""A run of a model is written down as the problems that its operators were, in the format of --shapes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaugeblock.conformance.command import main
from gaugeblock.conformance.problems import shapes
from gaugeblock.conformance.recording.log import Log


def lines(file: Path) -> list[dict[str, object]]:
    assert len(shapes.read(file)) == len(file.read_text().splitlines())
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_problem_is_written_once_without_defaults_and_counted() -> None:
    log = Log()
    for _ in range(2):
        log.add(
            "conv", "float32", {"x": (1, 2, 5, 5), "w": (3, 2, 3, 3)}, {"stride": [2, 2], "padding": [0, 0]}
        )
    (line,) = log.lines
    assert json.loads(line)["parameters"] == {"stride": 2}
    assert log.lines[line] == 2


def test_what_is_no_legal_call_is_counted_and_not_written() -> None:
    log = Log()
    log.add("conv", "float32", {"x": (1, 2, 5, 5), "w": (3, 3, 3, 3)}, {})
    assert not log.lines
    assert "expected a legal call of conv" in log.in_words()


def test_a_model_of_onnx_is_recorded_with_the_shapes_that_it_meets(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("w", (4, 3, 3, 3)), ("bias", (4,)), ("b", (10, 16)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "bias"], ["c"], pads=[1, 1, 1, 1], strides=[2, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Clip", ["g", "low", "high"], ["six"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "b"], ["y"], transB=1),
        helper.make_node("Softmax", ["y"], ["s"]),
    ]
    weights += [
        onnx.numpy_helper.from_array(np.float32(value), name) for name, value in (("low", 0), ("high", 6))
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", kind, ["N", 3, 8, 4])],
        [
            helper.make_tensor_value_info("s", kind, ["N", 10]),
            helper.make_tensor_value_info("six", kind, ["N", 4, 1, 1]),
        ],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    output = tmp_path / "shape log.jsonl"
    assert main(["record", "--output", str(output), str(tmp_path / "m.onnx")]) == 2  # N is open
    arguments = ["record", "--output", str(output), "--input", "x=2x3x8x4", str(tmp_path / "m.onnx")]
    assert main(arguments) == 0
    found = {line["operation"]: line for line in lines(output)}
    assert list(found) == ["conv", "relu", "max_pool", "relu6", "gemm", "softmax"]
    assert found["conv"]["shapes"] == {"x": [2, 3, 8, 4], "w": [4, 3, 3, 3], "bias": [4]}
    assert found["conv"]["parameters"] == {"padding": 1, "stride": [2, 1]}
    assert found["max_pool"]["parameters"] == {"kernel": 2, "stride": 2, "padding": [[0, 1], [0, 1]]}
    assert found["gemm"]["parameters"] == {"transpose_b": True}


MODEL = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.ReLU6(), nn.ConvTranspose2d(4, 2, 2), nn.MaxPool2d(2),
    nn.Flatten(), nn.LazyLinear(5), nn.GELU(), nn.Softmax(1),
)
x = torch.randn(2, 3, 9, 9)
model(x).sum().backward()
with torch.inference_mode():
    model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
raise SystemExit(7)
"""


def test_a_program_of_pytorch_is_recorded_forward_and_backward(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "model.py").write_text(MODEL)
    command = [sys.executable, "-m", "gaugeblock.conformance.command", "record", "model.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    found = lines(tmp_path / "shapes.jsonl")
    names = [line["operation"] for line in found]
    assert {"conv", "relu6", "conv_transpose", "max_pool", "gemm", "gelu", "softmax"} <= set(names)
    assert {"conv_backward_weight", "relu6_backward", "max_pool_backward", "gelu_backward"} <= set(names)
    (plain, last) = [line for line in found if line["operation"] == "conv" and line["shapes"]["x"][1] == 3]  # type: ignore[index]
    assert plain["parameters"] == {"stride": 2}
    assert last["layouts"]["x"] == [0, 2, 3, 1]  # type: ignore[index]
