"""What is declared is also tested: kernels that conform as declared violate where they say nothing."""

import sys
from pathlib import Path

import pytest

from gaugeblock.conformance import Effort, judge
from gaugeblock.spec.arithmetic import Arithmetic

sys.path.insert(0, str(Path(__file__).parent))
import arithmetics
from workshop import Backend

HERE = str(Path(__file__).parent)
BACKENDS = {name: value for name, value in vars(arithmetics).items() if isinstance(value, Backend)}

#: The operation and the format in which a kernel shows that it is not plain. Nine products of bf16 are as
#: good as one of fp32.
VISIBLE = {
    "TF32_IN_3": ("gemm", "float32"),
    "BFLOAT16_IN_4": ("gemm", "float32"),
    "BFLOAT16_IN_6": ("gemm", "float32"),
    "CUT": ("conv", "float32"),
    "NARROW_MULTIPLIER": ("conv_backward_weight", "float16"),
    "SPLITS": ("gemm", "bfloat16"),
    "ATOMIC": ("gemm", "float32"),
    "FLUSHED_PRODUCTS": ("gemm", "float32"),
    "FLUSHED": ("relu_backward", "float32"),
    "FAST_EXP": ("sigmoid", "float32"),
    "EXP2": ("sigmoid", "float32"),
    "DIVISION": ("avg_pool", "float32"),
    "LOG": ("softplus", "float32"),
    "TANH": ("tanh", "float32"),
    "UNIT": ("lstm_unit", "float32"),
}


@pytest.mark.spec("GEN-D8")
@pytest.mark.parametrize("name", VISIBLE)
def test_a_kernel_that_computes_so_and_does_not_say_so_is_violating(name: str, tmp_path: Path) -> None:
    operation, dtype = VISIBLE[name]
    file = tmp_path / "silent.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {HERE!r})\n"
        f"from arithmetics import {name}\n{name}.arithmetic = {{}}\n"
    )
    report = judge(
        f"{file}:{name}",
        operations=(operation,),
        dtypes=(dtype,),
        effort=Effort("ci", 1, shrink=False),
        stop_at_first=True,
    )
    assert any(entry.failures for entry in report.entries.values())


@pytest.mark.spec("GEN-D8")
def test_every_new_field_has_a_kernel_for_each_of_its_values() -> None:
    profiles = [
        Arithmetic.declared(profile)
        for backend in BACKENDS.values()
        for by_dtype in backend.arithmetic.values()
        for profile in by_dtype.values()
    ]
    assert {profile.products for profile in profiles} == {1, 3, 4, 6, 9}
    assert {name for profile in profiles for name in profile.approximations} == {
        "division",
        "exp2",
        "log",
        "tanh",
    }
    for field in ("truncates", "flush_subnormals", "fast_exp"):
        assert any(getattr(profile, field) for profile in profiles)
    assert any(profile.splits > 1 for profile in profiles)
    assert any(profile.order == "free" for profile in profiles)
