"""What `gaugeblock.reference` offers: the operations, and nothing by accident."""

import ast
import inspect
import pathlib

import pytest

from gaugeblock import reference
from gaugeblock.reference import activation, convolution, pooling, unit

FOLDER = pathlib.Path(inspect.getfile(reference)).parent


def test_all_is_exactly_the_public_functions() -> None:
    functions = [
        name
        for name, value in vars(reference).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]
    of_units = {name for name in unit.__all__ if name.startswith("lstm")}  # the others are types
    everything = {*activation.__all__, *convolution.__all__, *pooling.__all__, *of_units, "gemm"}
    assert sorted(functions) == reference.__all__ == sorted(everything)


def test_every_activation_has_its_backward_function() -> None:
    forward = {name for name in activation.__all__ if not name.endswith("_backward")}
    assert {name + "_backward" for name in forward} == set(activation.__all__) - forward
    assert len(forward) == 15


@pytest.mark.parametrize("name", reference.__all__)
def test_every_public_function_teaches_with_an_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(reference, name))
    assert documentation is not None
    assert all(part in documentation for part in ("Parameters\n", "Returns\n", "Examples\n", ">>> "))


ALLOWED = {
    "numpy",
    "numpy.typing",
    "numpy.lib.stride_tricks",
    "__future__",
    "abc",
    "collections.abc",
    "dataclasses",
    "fractions",
    "itertools",
    "math",
    "numbers",
    "operator",
    "statistics",
    "typing",
}


def imported(tree: ast.AST) -> set[str]:
    """Return the modules that a file imports; names from `gaugeblock` itself are modules."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "gaugeblock":
            modules |= {f"gaugeblock.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    return modules


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_the_reference_imports_numpy_and_the_standard_library_alone(path: pathlib.Path) -> None:
    found = imported(ast.parse(path.read_text(encoding="utf-8")))
    assert {module for module in found - ALLOWED if not module.startswith("gaugeblock.reference")} == set()
