"""The suite holds our kernels to what they declare, with each algorithm taken wherever it can do the call."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock.conformance import Effort, judge
from gaugeblock.gpu.runtime.device import DTYPES, Device

sys.path.insert(0, str(Path(__file__).parent))
import declared

FILE = Path(__file__).parent / "declared.py"


@pytest.mark.one_of(3)
@pytest.mark.parametrize(
    ("backend", "operation", "dtype"),
    [
        ("FFT", "conv", "float32"),
        ("FFT", "conv_fused", "float32"),
        ("FFT", "conv_backward_input", "float32"),
        ("FFT", "conv_backward_weight", "float32"),
        ("WINOGRAD_2", "conv_backward_input", "float32"),
        ("WINOGRAD_4", "conv_fused", "float32"),
        ("WINOGRAD_4", "conv_transpose", "float32"),
        ("TILE_32", "conv", "bfloat16"),  # what GPUs without tensor cores take
        ("TILE_32", "conv_backward_weight", "float16"),
    ],
)
def test_a_declared_algorithm_conforms(backend: str, operation: str, dtype: str) -> None:
    assert dtype in getattr(declared, backend).dtypes
    effort = Effort("quick", 1, shrink=False)
    report = judge(f"{FILE}:{backend}", operations=(operation,), dtypes=(dtype,), effort=effort)
    (entry,) = report.entries.values()
    failures = [
        f"{clause}: {outcome.message}"
        for clause, outcome in entry.clauses.items()
        if outcome.verdict not in ("conforming", "outside")
    ]
    assert not failures, failures[0]


@pytest.mark.parametrize(
    ("backend", "source"),
    [
        ("FFT", "convolution/fft.cu"),
        ("WINOGRAD_2", "convolution/winograd.cu"),
        ("WINOGRAD_4", "convolution/winograd.cu"),
        ("TILE_32", "convolution/tiled.cu"),
    ],
)
def test_the_declared_algorithm_is_the_one_that_is_taken(
    backend: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def spied(self: Device, source: str, *rest: Any) -> Any:
        taken.append(source)
        return function(self, source, *rest)

    function = Device.function
    monkeypatch.setattr(Device, "function", spied)
    dtype = DTYPES[getattr(declared, backend).dtypes[0]]
    getattr(declared, backend).conv(np.ones((1, 2, 5, 5), dtype), np.ones((3, 2, 3, 3), dtype))
    assert source in taken
