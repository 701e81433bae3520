"""Functions, modules, kernels and models of other libraries get in as they are; what does not is refused."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock.conformance import Effort, doors, judge
from gaugeblock.conformance.backend import loading
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.command import main
from gaugeblock.conformance.commands.options import USAGE

KERNELS = Path(__file__).parent / "kernels"


@pytest.fixture(autouse=True)
def simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no GPU decide."""
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")


def needs(*packages: str) -> None:
    """Skip a test where a package is missing; it is not imported here, where its door would stay open."""
    for package in packages:
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed")


def entry(backend: str, operation: str, dtype: str = "float32", *, stop: bool = False) -> dict[str, Any]:
    """Return the verdict on a backend."""
    report = judge(
        backend,
        operations=(operation,),
        dtypes=(dtype,),
        effort=Effort("quick", 1, shrink=False),
        stop_at_first=stop,
    )
    return dict(report.as_data()["operations"][operation][dtype])


def failures(found: dict[str, Any]) -> list[str]:
    """Return what was said of the clauses that are violated."""
    return [each["failure"]["message"] for each in found["clauses"].values() if each["failure"]]


def test_the_examples_of_the_page_are_those_that_are_judged_and_five_lines_at_most() -> None:
    page = (Path(str(doors.__file__)).parent / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 5
    for file, example in examples:
        assert example in (KERNELS / file).read_text(encoding="utf-8"), file
        assert len([line for line in example.splitlines() if line]) <= 5, file


@pytest.mark.parametrize(
    ("package", "backend", "message"),
    [
        ("torch", "torch_modules.py:Relu", "does not import: No module named 'torch'"),
        ("torch", "kernelbench_relu.py+x.py", "does not import: No module named 'torch'"),
        ("jax", "jax_relu.py", "does not import: No module named 'jax'"),
        ("numba", "numba_relu.py", "does not import: No module named 'numba'"),
        ("onnx", "onnx_models.py", "does not import: No module named 'onnx'"),
    ],
)
def test_a_missing_package_is_named_in_a_line(
    package: str, backend: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(loading.BackendError, match=re.escape(message)) as caught:
        loading.load(str(KERNELS / backend))
    assert "\n" not in str(caught.value)


# PyTorch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "operation", "dtype"),
    [("Relu", "relu", "bfloat16"), ("Patches2d", "conv", "float32"), ("linear", "gemm", "float32")],
)
@pytest.mark.one_of(2)
def test_a_module_conforms_in_the_domain_that_its_constructor_says(
    module: str, operation: str, dtype: str
) -> None:
    needs("torch")
    found = entry(f"{KERNELS / 'torch_modules.py'}:{module}", operation, dtype)
    assert found["levels"]["numeric"] == "conforming", failures(found)


def test_a_module_that_ignores_a_parameter_of_its_constructor_violates() -> None:
    needs("torch")
    found = entry(f"{KERNELS / 'torch_modules.py'}:RowMajor", "softmax", stop=True)
    assert found["levels"]["numeric"] == "violating"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("Masked", "forward needs 'mask', which is no array of softmax (x)"),
        ("Deep", "its constructor needs 'depth', expected one of"),
        ("Nameless", "nothing says which operation Nameless is: give it an attribute"),
        ("Flying", "operation is 'fly', which is none of the spec's"),
        ("same", "padding is 'same', which is more than one number of cells"),
        ("absent", "has no attribute 'absent'"),
    ],
)
def test_a_module_that_cannot_be_called_is_refused_in_a_line(module: str, message: str) -> None:
    needs("torch")
    with pytest.raises(loading.BackendError, match=re.escape(message)) as caught:
        loading.load(f"{KERNELS / 'torch_modules.py'}:{module}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "addends"),
    [
        ("Linear", ({}, {"c": "c", "beta": 0.0}, {"c": "c", "beta": 1.0})),
        ("Biased", ({"c": "c", "beta": 1.0},)),
    ],
)
def test_a_linear_layer_adds_what_the_call_adds(module: str, addends: tuple[dict[str, Any], ...]) -> None:
    needs("torch")
    import torch

    backend = loading.load(f"{KERNELS / 'torch_modules.py'}:{module}")
    a, b, c = torch.ones(2, 3), torch.ones(4, 3), torch.full((4,), 5.0)
    for asked in addends:
        arrays = [a, b, c] if "c" in asked else [a, b]
        result = backend.functions["gemm"](*arrays, transpose_b=True, beta=asked.get("beta", 0.0))
        assert result.tolist() == [[3.0 + 5.0 * asked.get("beta", 0.0)] * 4] * 2
    limits = backend.declared.domain_of("gemm")
    assert ("absent" in limits.forms["c"]) == (module == "Linear")


def test_what_a_module_is_built_with_is_found_by_name() -> None:
    needs("torch")
    found = loading.load(f"{KERNELS / 'torch_modules.py'}:Patches2d").declared.given["domain"]["conv"]
    assert found == {
        "dilation": 1,
        "groups": 1,
        "padding": ["symmetric", "explicit"],
        "rank": 4,
        "bias": "absent",
    }
    linear = loading.load(f"{KERNELS / 'torch_modules.py'}:linear").declared.given["domain"]["gemm"]
    assert (linear["b"], linear["c"], linear["transpose_b"]) == ([20, 48], "vector", True)


# JAX, CuPy, numba -----------------------------------------------------------------------------------------


def test_a_function_of_jax_conforms() -> None:
    needs("jax")
    found = entry(str(KERNELS / "jax_relu.py"), "relu", "bfloat16")
    assert found["levels"]["numeric"] == "conforming", failures(found)


def test_what_is_no_array_of_jax_is_no_result(tmp_path: Path) -> None:
    needs("jax")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import numpy as np, jax\narrays = 'jax'\ndef relu(x): return np.maximum(x, 0)\n")
    assert "expected a jax.Array" in failures(entry(str(wrong), "relu", stop=True))[0]


def test_a_raw_kernel_of_cupy_conforms_without_cupy() -> None:
    found = entry(str(KERNELS / "cupy_relu.py"), "relu")
    assert found["levels"]["reproducible"] == "conforming", failures(found)


@pytest.mark.parametrize(
    ("library", "old", "new"),
    [("cupy", "if (i < n)", "if (i <= n)"), ("numba", "if i < x.size:", "if i <= x.size:")],
)
def test_a_kernel_that_reads_too_far_is_caught_on_its_line(
    library: str, old: str, new: str, tmp_path: Path
) -> None:
    needs(*[library] if library == "numba" else [])
    text = (KERNELS / f"{library}_relu.py").read_text(encoding="utf-8")
    wrong = tmp_path / f"wrong_{library}.py"
    wrong.write_text(text.replace(old, new), encoding="utf-8")
    said = failures(entry(str(wrong), "relu", stop=True))[0]
    line = text.splitlines().index(next(each for each in text.splitlines() if "= x[i]" in each)) + 1
    assert re.search(rf"wrong_{library}\.py:({line}|{line - 1}): out of bounds in kernel", said), said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"relu",\n)', '"rely",\n)', "LaunchError: no kernel 'rely': did you mean relu?"),
        ("int i =", "int i", 'cupy_wrong.py(9): error: expected a ";"'),
        (
            "cp.RawKernel(",
            "cp.ElementwiseKernel(",
            "cupy.ElementwiseKernel: without a GPU there are RawKernel",
        ),
    ],
)
def test_a_raw_kernel_that_is_none_is_refused_in_a_line(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "cupy_wrong.py"
    text = (KERNELS / "cupy_relu.py").read_text(encoding="utf-8")
    wrong.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(loading.BackendError, match=re.escape(message)) as caught:
        Subject(str(wrong), 60.0)
    assert "\n" not in str(caught.value)


def test_a_kernel_of_numba_conforms() -> None:
    needs("numba")
    found = entry(str(KERNELS / "numba_relu.py"), "relu")
    assert found["levels"]["reproducible"] == "conforming", failures(found)


def test_a_numba_that_cannot_compile_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("numba")
    from gaugeblock.conformance.doors import numba_cuda

    monkeypatch.setattr(numba_cuda.numba, "__version__", "0.55.1")
    with pytest.raises(ImportError, match=r"numba has to be 0\.60 or newer, this is 0\.55\.1"):
        numba_cuda.open_door()
    monkeypatch.undo()
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "cuda")
    with pytest.raises(ImportError, match=r"GAUGEBLOCK_DEVICE=cuda, but numba finds no GPU"):
        numba_cuda.open_door()
    monkeypatch.setenv("GAUGEBLOCK_DEVICE", "simulator")
    monkeypatch.setattr(numba_cuda.nvvm, "NVVM", lambda: 1 / 0)
    with pytest.raises(ImportError, match=r"libNVVM, which is not found: set CUDA_HOME"):
        numba_cuda.open_door()


# ONNX -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the models."""
    needs("onnx")
    import onnx

    folder = tmp_path_factory.mktemp("models")
    spec = importlib.util.spec_from_file_location("onnx_models", KERNELS / "onnx_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, model in module.models().items():
        onnx.save(model, folder / f"{name}.onnx")
    return folder


@pytest.mark.parametrize("name", ["softmax", "conv", "relu6", "gemm", "max_pool"])
@pytest.mark.one_of(2)
def test_a_model_of_one_operator_conforms_in_its_domain(models: Path, name: str) -> None:
    needs("onnxruntime")
    found = entry(str(models / f"{name}.onnx"), name)
    assert found["levels"]["numeric"] == "conforming", failures(found)


def test_attributes_and_weights_of_a_model_are_its_domain(models: Path) -> None:
    found = loading.load(str(models / "conv.onnx")).declared.given["domain"]["conv"]
    assert (found["w"], found["bias"], found["stride"], found["padding"]) == ([6, 4, 3, 3], "given", 2, 1)


def test_onnx_itself_runs_a_model_where_its_runtime_is_missing(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "runtime" in name else known(name))
    found = loading.load(str(models / "relu6.onnx"))
    x = np.array([[-1.0, 7.0]], np.float32)
    np.testing.assert_array_equal(found.functions["relu6"](x), [[0.0, 6.0]])
    assert found.device == "onnx's evaluator"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("abs", "its operator is Abs, which is none of the spec's operations"),
        ("old", "its operator set is 11, expected 13 or newer"),
        ("uneven", "padding is 0, 1, 0, 1, which no domain can say"),
        ("automatic", "auto_pad is SAME_UPPER, which is more than one number of cells"),
        ("double", "its elements are DOUBLE, expected FLOAT, FLOAT16 or BFLOAT16"),
        ("steep", "alpha is 0.2, expected 1/6"),
        ("absent", "there is no file"),
    ],
)
def test_a_model_that_is_none_of_ours_is_refused_in_a_line(models: Path, name: str, message: str) -> None:
    with pytest.raises(loading.BackendError, match=re.escape(message)) as caught:
        loading.load(str(models / f"{name}.onnx"))
    assert "\n" not in str(caught.value)


def test_a_refusal_ends_the_command_with_a_usage_error(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conform", str(models / "abs.onnx")]) == USAGE
    assert capsys.readouterr().err.count("\n") == 1
