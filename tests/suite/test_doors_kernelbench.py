"""A problem of KernelBench and a solution are a backend; what they ask for is read off the problem."""

from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance import Effort, judge

pytest.importorskip("torch")
KERNELS = Path(__file__).parent / "kernels"

WRONG = {
    "matmul": ("CachedMatmul", "CachedByAddressMatmul", "HalfMatmul", "MeanMatmul"),
    "relu": ("EmptyRelu", "IdentityRelu", "InPlaceRelu", "PartOfRelu"),
    "softmax": ("ConstantSoftmax", "UnshiftedSoftmax"),
    "conv": ("ZeroConv",),
}
RIGHT = {"relu": "Relu", "softmax": "Softmax"}
OPERATION = {"matmul": "gemm"}


def entry(problem: str, solution: str, *, stop: bool = False) -> dict[str, Any]:
    """Return the verdict on a solution."""
    operation = OPERATION.get(problem, problem)
    report = judge(
        f"{KERNELS / f'kernelbench_{problem}.py'}+{KERNELS / solution}",
        operations=(operation,),
        dtypes=("float32",),
        effort=Effort("quick", 1, shrink=False),
        stop_at_first=stop,
    )
    return dict(report.as_data()["operations"][operation]["float32"])


@pytest.mark.parametrize(
    ("problem", "solution"), [(problem, solution) for problem, all in WRONG.items() for solution in all]
)
def test_a_solution_that_passes_random_inputs_violates(problem: str, solution: str) -> None:
    found = entry(problem, f"kernelbench_wrong.py:{solution}", stop=True)
    assert found["levels"]["numeric"] == "violating"


@pytest.mark.parametrize(("problem", "solution"), RIGHT.items())
def test_a_right_solution_conforms_in_the_domain_of_its_problem(problem: str, solution: str) -> None:
    found = entry(problem, f"kernelbench_right.py:{solution}")
    assert found["levels"]["numeric"] == "conforming", found
