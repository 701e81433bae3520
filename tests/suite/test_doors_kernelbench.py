"""A problem of KernelBench and a solution are a backend; what they ask for is read off the problem."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from gaugeblock.conformance import Effort, doors, judge
from gaugeblock.conformance.backend import loading
from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import USAGE
from gaugeblock.conformance.reports import replaying
from gaugeblock.spec.domain import Domain
from gaugeblock.spec.operations import OPERATIONS

KERNELS = Path(__file__).parent / "kernels"
DOORS = Path(str(doors.__file__)).parent
TABLE = json.loads((DOORS / "kernelbench.json").read_text(encoding="utf-8"))

WRONG = {
    "matmul": ("CachedMatmul", "CachedByAddressMatmul", "HalfMatmul", "MeanMatmul"),
    "relu": ("EmptyRelu", "IdentityRelu", "InPlaceRelu", "PartOfRelu"),
    "softmax": ("ConstantSoftmax", "UnshiftedSoftmax"),
    "conv": ("ZeroConv",),
}
OPERATION = {"matmul": "gemm"}


def pair(problem: str, solution: str) -> str:
    """Return the name of a problem and a solution as a backend."""
    return f"{KERNELS / f'kernelbench_{problem}.py'}+{KERNELS / solution}"


def entry(problem: str, solution: str, *, stop: bool = False) -> dict[str, Any]:
    """Return the verdict on a solution."""
    operation = OPERATION.get(problem, problem)
    report = judge(
        pair(problem, solution),
        operations=(operation,),
        dtypes=("float32",),
        effort=Effort("quick", 1, shrink=False),
        stop_at_first=stop,
    )
    return dict(report.as_data()["operations"][operation]["float32"])


@pytest.mark.parametrize(
    ("problem", "solution"), [(problem, solution) for problem, all in WRONG.items() for solution in all]
)
@pytest.mark.one_of(4)
def test_a_solution_that_passes_random_inputs_violates(problem: str, solution: str) -> None:
    pytest.importorskip("torch")
    found = entry(problem, f"kernelbench_wrong.py:{solution}", stop=True)
    assert found["levels"]["numeric"] == "violating"


@pytest.mark.parametrize("problem", WRONG)
@pytest.mark.one_of(2)
def test_a_right_solution_conforms_in_the_domain_of_its_problem(problem: str) -> None:
    pytest.importorskip("torch")
    found = entry(problem, f"kernelbench_right.py:{problem.capitalize()}")
    assert found["levels"]["numeric"] == "conforming", found


def test_the_domain_of_a_solution_is_that_of_its_problem() -> None:
    pytest.importorskip("torch")
    found = loading.load(pair("conv", "kernelbench_right.py:Conv"))
    domain = found.declared.given["domain"]["conv"]
    assert domain["x"] == [8, 4, 16, 24], "the longest axes are halved"
    assert (domain["w"], domain["stride"], domain["groups"]) == ([6, 4, 3, 5], [1, 2], 1)
    assert "the problem's shapes are x 8x4x32x48; judged at x 8x4x16x24" in found.notes[0]


MODEL = """
import torch

class Model(torch.nn.Module):
    def forward(self, x{more}):
        return {result}

def get_inputs():
    return [torch.rand(4, 4){given}]

def get_init_inputs():
    return []
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"result": "torch.cumsum(x, 1)"}, "its Model calls cumsum: none of the spec's operations"),
        ({"result": "x / (1 + x.abs())"}, "its Model calls abs, add, div: none of the spec's operations"),
        ({"result": "torch.triu(x @ x)"}, "matmul, triu: none of the spec's operations"),
        ({"result": "x * s", "more": ", s", "given": ", 2.0"}, "its Model is called with more than tensors"),
        ({"result": "(x, x)"}, "its Model returns more than one tensor"),
        ({"result": "x @ x @ x"}, "its Model calls matmul 2 times: none of the spec's operations"),
        ({"result": "torch.softmax(x.half(), 1)"}, "its Model calls half, softmax: none of the spec's"),
    ],
)
def test_a_problem_that_is_none_of_ours_is_refused_in_a_line(
    change: dict[str, str], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    problem = tmp_path / "problem.py"
    problem.write_text(MODEL.format(**({"more": "", "given": ""} | change)), encoding="utf-8")
    with pytest.raises(loading.BackendError, match=re.escape(message)) as caught:
        loading.load(f"{problem}+{KERNELS / 'kernelbench_right.py'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("result", "operation", "parameters"),
    [
        ("x * torch.sigmoid(x)", "silu", {}),
        ("torch.nn.functional.hardtanh(x, -2.0, 2.0)", "hard_tanh", {"min_val": -2.0, "max_val": 2.0}),
        ("x.clamp(min=0)", "relu", {}),
        ("torch.relu(x.to('cuda'))", "relu", {}),
        ("x.log_softmax(dim=0)", "log_softmax", {"axis": 0}),
        (
            "0.5 * x * (1 + torch.tanh((2 / 3.141592653589793) ** 0.5 * (x + 0.044715 * x**3)))",
            "gelu",
            {"approximate": "tanh"},
        ),
    ],
)
def test_an_activation_is_known_by_its_call_or_its_values(
    result: str, operation: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    problem, solution = tmp_path / "problem.py", tmp_path / "solution.py"
    text = MODEL.format(more="", given="", result=result)
    problem.write_text(text, encoding="utf-8")
    solution.write_text(text.replace("Model(", "ModelNew("), encoding="utf-8")
    found = loading.load(f"{problem}+{solution}")
    assert list(found.functions) == [operation]
    domain = found.declared.given["domain"][operation]
    assert {name: domain[name] for name in parameters} == parameters


def test_what_is_no_pair_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "numpy", "kernelbench_right.py"]) == USAGE
    assert "two are a problem of KernelBench and a solution" in capsys.readouterr().err


def test_a_report_on_a_solution_is_replayed_where_the_problem_lies(tmp_path: Path) -> None:
    (tmp_path / "problem.py").touch()
    data = {"backend": "problem.py+solution.py:Best", "folder": str(tmp_path)}
    assert replaying.place(data, tmp_path / "r.json", None) == ("problem.py+solution.py:Best", tmp_path)


def test_a_solution_that_is_none_is_refused_in_a_line() -> None:
    pytest.importorskip("torch")
    with pytest.raises(loading.BackendError, match=r"it has no module ModelNew: no solution of KernelBench"):
        loading.load(pair("relu", "kernelbench_right.py"))
    with pytest.raises(loading.BackendError, match=r"it has no Model: no problem of KernelBench"):
        loading.load(f"{KERNELS / 'kernelbench_right.py'}+{KERNELS / 'kernelbench_right.py'}")


# The table ------------------------------------------------------------------------------------------------


def test_the_table_names_operations_and_legal_calls_of_the_spec() -> None:
    assert sorted(map(int, TABLE)) == list(range(1, 101))
    for each in filter(None, TABLE.values()):
        operation = OPERATIONS[each["operation"]]
        shapes = {name: tuple(shape) for name, shape in each["shapes"].items()}
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in each["parameters"].items()}
        assert operation.shape(shapes, values)
        Domain.declared(operation, shapes)


def test_the_page_counts_the_table() -> None:
    ours = [each["operation"] for each in TABLE.values() if each]
    page = (DOORS / "README.md").read_text(encoding="utf-8")
    assert f"{len(ours)} of the 100 problems of level 1" in page
    for operation in dict.fromkeys(ours):
        numbers = ", ".join(n for n, each in TABLE.items() if each and each["operation"] == operation)
        assert f"| `{operation}` | {numbers} |" in page


@pytest.mark.skipif("KERNELBENCH" not in os.environ, reason="KERNELBENCH names no checkout of KernelBench")
def test_the_table_is_what_the_door_reads_off_the_problems() -> None:
    pytest.importorskip("torch")
    from gaugeblock.conformance.doors import kernelbench

    found = kernelbench.table(Path(os.environ["KERNELBENCH"], "KernelBench", "level1"))
    assert kernelbench.as_text(found) == (DOORS / "kernelbench.json").read_text(encoding="utf-8")
