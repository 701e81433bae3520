"""Shapes that a user lists: both formats, each error in one line, and the ladder of batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.shapes import Given, ShapesError, read

GEMM = {"operation": "gemm", "shapes": {"a": [8, 64], "b": [32, 64]}, "parameters": {"transpose_b": True}}
CONV = {"operation": "conv", "shapes": {"x": [1, 3, 8, 8], "w": [4, 3, 3, 3]}}


def listed(file: Path, *lines: object) -> Path:
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return file


def test_json_lines_and_csv_say_the_same(tmp_path: Path) -> None:
    lines = (
        {**GEMM, "layouts": {"a": [1, 0], "out": [1, 0]}},
        {**CONV, "dtype": "float16", "parameters": {"padding": [[1, 0], [0, 1]], "stride": 2}},
    )
    rows = (
        "operation,dtype,a,b,x,w,transpose_b,stride,padding,layout a,layout out",
        "gemm,,8x64,32x64,,,true,,,1x0,1x0",
        'conv,float16,,,1x3x8x8,4x3x3x3,,2,"[[1, 0], [0, 1]]",,',
    )
    expected = (
        Given(
            LayerCall(
                "gemm",
                {"a": (8, 64), "b": (32, 64)},
                {"transpose_b": True},
                {"a": (1, 0), "out": (1, 0)},
            ),
            ("float32", "float16", "bfloat16"),
        ),
        Given(
            LayerCall(
                "conv",
                {"x": (1, 3, 8, 8), "w": (4, 3, 3, 3)},
                {"padding": ((1, 0), (0, 1)), "stride": 2},
                {},
            ),
            ("float16",),
        ),
    )
    assert read(listed(tmp_path / "s.jsonl", *lines)) == expected
    assert read(listed(tmp_path / "s.csv", *rows)) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"operation": ', "line 2: is no JSON: Expecting value at column 15"),
        ([1], "line 2: got [1], expected an object with operation, dtype, shapes, parameters, layouts"),
        ({**CONV, "shape": {}}, "line 2, field: got 'shape', expected one of operation, dtype, shapes"),
        (
            {**CONV, "operation": "con"},
            "line 2, operation: got 'con', expected an operation of the spec; did",
        ),
        ({**CONV, "dtype": "fp8"}, "line 2, dtype: got 'fp8', expected one of float32, float16, bfloat16"),
        ({**CONV, "shapes": {"x": [1, 3, 8]}}, "line 2, shapes: got ['x'], expected w too"),
        ({**CONV, "shapes": {"y": [1]}}, "line 2, shapes: got 'y', expected arrays of conv: x, w, bias"),
        ({**CONV, "shapes": 3}, "line 2, shapes: got 3, expected an object"),
        (
            {"operation": "relu", "shapes": {"x": [2, -3]}},
            "line 2, shapes, x: got [2, -3], expected a list of whole numbers",
        ),
        ({"operation": "relu", "shapes": {"x": [1 << 14, 1 << 14]}}, "expected at most 67108864 elements"),
        (
            {"operation": "gemm", "shapes": {"a": [1 << 14, 1], "b": [1, 1 << 14]}},
            "expected a result of at most 67108864 elements",
        ),
        ({**CONV, "parameters": {"strides": 2}}, "line 2, parameters: got 'strides', expected parameters of"),
        ({**CONV, "parameters": {"stride": 0}}, "expected a legal call of conv: CONV-C3: "),
        ({**CONV, "shapes": {"x": [1, 3, 8, 8], "w": [4, 2, 3, 3]}}, "conv: CONV-C2: x has 3 channels"),
        (
            {**GEMM, "parameters": {}},
            "expected a legal call of gemm: GEMM-C2: a has 64 columns, b has 32 rows",
        ),
        ({"operation": "relu_backward", "shapes": {"x": [2], "dy": [3]}}, "relu_backward: ACT-C2: "),
        ({"operation": "softmax", "shapes": {"x": [2]}, "parameters": {"axis": 3}}, "softmax: ACT-C4: "),
        ({"operation": "maxout", "shapes": {"x": [5]}, "parameters": {"pieces": 2}}, "of maxout: ACT-C"),
        (
            {"operation": "conv_backward_input", "shapes": {"dy": [1, 2, 3], "w": [2, 2, 3]}},
            "line 2, parameters: got [], expected input_shape too",
        ),
        (
            {**GEMM, "layouts": {"a": [0, 2]}},
            "line 2, layouts, a: got [0, 2], expected an order of the axes 0",
        ),
        ({**GEMM, "layouts": {"d": [0]}}, "line 2, layouts: got 'd', expected one of a, b, out"),
    ],
)
def test_a_wrong_line_is_refused_in_a_line_with_its_number(
    tmp_path: Path, line: object, message: str
) -> None:
    file = listed(tmp_path / "s.jsonl", {"operation": "relu", "shapes": {"x": [2]}}, line)
    with pytest.raises(ShapesError) as error:
        read(file)
    assert str(error.value).startswith(f"{file}, line 2")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a,b", "1x2,2x3"), "line 1: the header has ['a', 'b'], expected a column operation"),
        (("operation,x", "relu"), "line 2: has 1 cells, expected 2 as the header"),
        (("operation,x", "relu,2*3"), "line 2, shapes, x: got '2*3', expected a list of whole numbers"),
        (("operation,x,y", "relu,2,3"), "line 2, parameters: got 'y', expected parameters of relu: none"),
        (("operation,x,layout x", "relu,2x3,0"), "line 2, layouts, x: got [0], expected an order of"),
    ],
)
def test_a_wrong_row_is_refused_in_a_line_with_its_number(
    tmp_path: Path, rows: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ShapesError) as error:
        read(listed(tmp_path / "s.csv", *rows))
    assert message in str(error.value)


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapesError, match="No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(ShapesError, match="has no problem"):
        read(listed(tmp_path / "s.csv", "operation,x"))


BACKEND = """
import numpy as np

def relu(x):
    if x.dtype.name not in ("float32", "float16", "bfloat16"):
        raise TypeError(x.dtype)
    return np.maximum(x, np.zeros((), x.dtype)) * (2 if x.shape == {shape} else 1)
"""


def conform(folder: Path, shape: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "k.py").write_text(BACKEND.format(shape=shape))
    command = [
        sys.executable,
        "-m",
        "gaugeblock.conformance.command",
        "conform",
        "k.py",
        "--operation",
        "relu",
    ]
    command += ["--dtype", "fp32", "--profile", "quick", "--seed", "1", "--no-shrink", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_listed_shape_is_put_to_the_backend(tmp_path: Path) -> None:
    listed(tmp_path / "s.csv", "operation,x", "relu,3x1234")
    assert conform(tmp_path, "(3, 1234)", "--jobs", "1").returncode == 0
    done = conform(tmp_path, "(3, 1234)", "--jobs", "2", "--shapes", "s.csv")
    assert done.returncode == 1
    assert "GEN-S12 violated by relu in float32" in done.stdout
    done = conform(tmp_path, "()", "--shapes", "none.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.csv" in done.stderr


def test_a_budget_buys_a_ladder_of_batches(tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    more = ("--jobs", "1", "--budget", "600", "--report", str(report))
    done = conform(tmp_path, "(8, 4096)", *more)
    assert done.returncode == 1
    assert "GEN-S12 violated by relu in float32" in done.stdout
    ladder = json.loads(report.read_text())["ladder"]
    assert ladder["complete"] is True
    assert ladder["batch"] == 128
    done = conform(tmp_path, "(8, 4096)", "--jobs", "1", "--budget", "0.001")
    assert done.returncode == 0
    assert "ladder of layers: none" in done.stdout
