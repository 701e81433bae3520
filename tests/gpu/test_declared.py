"""The suite holds our kernels to what they declare, with each algorithm taken wherever it can do the call."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.conformance import Effort, judge

sys.path.insert(0, str(Path(__file__).parent))
import declared

FILE = Path(__file__).parent / "declared.py"


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
        ("TENSOR_64", "conv", "float16"),
        ("TENSOR_64", "conv_backward_weight", "bfloat16"),
        ("TENSOR_128", "conv_backward_input", "bfloat16"),
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
        if outcome.verdict != "conforming"
    ]
    assert not failures, failures[0]


def test_the_declared_algorithm_is_the_one_that_is_taken() -> None:
    x, w = np.ones((1, 1, 5, 5), np.float32) / 3, np.ones((1, 1, 3, 3), np.float32) / 3
    results = [getattr(declared, name).conv(x, w) for name in ("FFT", "WINOGRAD_2", "WINOGRAD_4")]
    assert len({result.tobytes() for result in (*results, gpu.conv(x, w))}) == 4
