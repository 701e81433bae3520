"""Libraries do what the pages say they do: every row that shows itself, where its library is installed."""

import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gaugeblock.spec import clauses

LIBRARIES = {
    "F": "torch",
    "torch": "torch",
    "tensor": "torch",
    "jax": "jax",
    "jnp": "jax",
    "tf": "tensorflow",
}
ROW = re.compile(
    r"^\| (?P<library>[^|]+) \| (?P<clauses>[A-Z0-9, -]+) \| (?P<there>[^|]+) \|(?P<shown> [^|]+)? \|$"
)
SHOWN = re.compile(r"^`(?P<call>.+)` (?:is `(?P<value>.+)`|raises `(?P<error>\w+)`)$")


def rows() -> Iterator[tuple[str, "re.Match[str]"]]:
    """Yield the rows of all tables, with their page."""
    for page, markdown in clauses.pages().items():
        section = markdown.partition("\n## Differs from\n")[2].partition("\n## ")[0]
        for line in section.splitlines():
            if line.startswith("| ") and not line.startswith("| Library"):
                found = ROW.match(line)
                assert found, f"{page}: no row: {line}"
                yield page, found


ROWS = list(rows())
SHOWING = [
    pytest.param(shown, id=f"{page[:2]}-{shown['call'][:40]}")
    for page, row in ROWS
    if row["shown"]
    for shown in [SHOWN.match(row["shown"].strip())]
    if shown
]


def onnx_operator(name: str) -> Callable[..., Any]:
    """Return an operator of ONNX as its reference computes it."""
    helper = importlib.import_module("onnx").helper
    reference = importlib.import_module("onnx.reference")

    def run(*arrays: Any, **attributes: Any) -> Any:
        inputs = {f"x{i}": np.asarray(array, np.float32) for i, array in enumerate(arrays)}
        values = [helper.make_tensor_value_info(key, 1, value.shape) for key, value in inputs.items()]
        node = helper.make_node(name, list(inputs), ["y"], **attributes)
        graph = helper.make_graph([node], "one", values, [helper.make_tensor_value_info("y", 1, None)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
        return reference.ReferenceEvaluator(model).run(None, inputs)[0]

    return run


class Names(dict[str, Any]):
    """The names that a row may use: those of its library, and of ONNX the operators."""

    def __missing__(self, name: str) -> Any:
        if name in LIBRARIES:
            library = pytest.importorskip(LIBRARIES[name])
            match name:
                case "F":
                    return importlib.import_module("torch.nn.functional")
                case "jnp":
                    return importlib.import_module("jax.numpy")
                case "tensor":
                    return library.tensor
            return library
        if name[0].isupper():
            pytest.importorskip("onnx")
            return onnx_operator(name)
        raise KeyError(name)


def evaluate(expression: str) -> Any:
    """Return what a row's expression gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, about its own
        return eval(expression, Names(np=np, nan=np.nan, inf=np.inf))


def numbers(value: Any) -> Any:
    """Return arrays of any library as NumPy's."""
    return tuple(map(numbers, value)) if isinstance(value, tuple) else np.asarray(value)


def test_every_page_of_an_operation_has_such_a_table_and_names_clauses_that_exist() -> None:
    assert {page for page, _ in ROWS} == {
        *("07-unit.md", "09-activation.md", "11-convolution.md", "12-pooling.md", "15-gemm.md")
    }
    for _, row in ROWS:
        for id in row["clauses"].split(", "):
            assert clauses.clause(id)
        assert not row["shown"] or SHOWN.match(row["shown"].strip()), row["shown"]


@pytest.mark.parametrize("shown", SHOWING)
def test_a_library_does_what_the_page_says(shown: "re.Match[str]") -> None:
    if shown["error"]:
        with pytest.raises((RuntimeError, TypeError, ValueError)) as caught:
            evaluate(shown["call"])
        assert type(caught.value).__name__ == shown["error"]
        return
    got, want = evaluate(shown["call"]), evaluate(shown["value"])
    if isinstance(want, str) or want is True or not isinstance(want, (tuple, list, float, int)):
        assert got == want
    elif isinstance(want, tuple) and all(isinstance(size, int) for size in want):
        assert tuple(got) == want
    else:
        for one, other in zip(
            *(map(numbers, x if isinstance(want, tuple) else (x,)) for x in (got, want)), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-4)
