"""Backends may ask for PyTorch's tensors."""

import importlib.util
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.backend import arena, arrays
from gaugeblock.conformance.backend.arena import View

if not importlib.util.find_spec("torch"):
    pytest.skip("PyTorch is not installed", allow_module_level=True)

RELU = """
import torch

arrays = "torch"


def relu(x, *, out=None):
    if x.dtype not in (torch.float32, torch.bfloat16):
        raise TypeError(f"ACT-C1: x is {x.dtype}")
    if out is not None and (out.shape != x.shape or out.dtype != x.dtype):
        raise ValueError("GEN-C2: out does not fit")
    y = torch.relu(x)
    return y if out is None else out.copy_(y)
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_backend_of_tensors_is_judged_like_any(dtype: str, tmp_path: Path) -> None:
    backend = tmp_path / "backend.py"
    backend.write_text(RELU, encoding="utf-8")
    report = judge(
        str(backend), operations=("relu",), dtypes=(dtype,), effort=Effort("quick", 1, shrink=False)
    )
    entry = report.as_data()["operations"]["relu"][dtype]
    failures = [one["failure"]["message"] for one in entry["clauses"].values() if one["failure"]]
    assert entry["levels"]["reproducible"] == "conforming", failures


def test_what_is_no_tensor_is_no_result(tmp_path: Path) -> None:
    backend = tmp_path / "backend.py"
    backend.write_text(RELU.replace("torch.relu(x)", "torch.relu(x).float().numpy()"), encoding="utf-8")
    report = judge(str(backend), operations=("relu",), dtypes=("float32",), stop_at_first=True)
    (failure,) = (each for each in report.as_data()["operations"]["relu"]["float32"]["clauses"].values())
    assert "returned a numpy.ndarray, expected a torch.Tensor" in failure["failure"]["message"]


STRIDES = [
    ((3, 4), (16, 4)),
    ((3, 4), (4, 12)),
    ((3, 4), (40, 8)),
    ((3, 4), (-16, 4)),
    ((3,), (-8,)),
    ((4,), (4,)),
]


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # the second takes the way of a GPU
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("shape", "strides"), STRIDES)
def test_tensors_lie_as_arrays_do_and_are_written_back(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: type, device: str
) -> None:
    size = np.dtype(dtype).itemsize
    strides = tuple(stride * size // 4 for stride in strides)
    memory = bytearray(8192)
    start = arena.GUARD_BYTES
    view = View(np.dtype(dtype).name, shape, strides, start + 64 * size, start, start + 256 * size)
    host: NDArray[np.generic] = view.on(memory, np.dtype(dtype))
    host[...] = np.arange(host.size).reshape(shape).astype(dtype)
    kind = arrays.of_kind("torch")
    kind.device = device  # type: ignore[attr-defined]
    tensor = kind.enter(host, memory, view)
    assert tensor.shape == shape
    if min(strides) > 0:
        assert tensor.stride() == tuple(stride // size for stride in strides)
    assert np.array_equal(kind.fetch(tensor), host)
    tensor += 1
    kind.leave(tensor, memory, view)
    assert np.array_equal(host, (np.arange(host.size).reshape(shape) + 1).astype(dtype))
