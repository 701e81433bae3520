"""Mutants of the pooling re-enact their bugs, and only those; variants and correct siblings are right.

As in ``test_mutants.py``, each mutant is put beside the kernel it was made from.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock.reference import pooling as reference

sys.path.insert(0, str(Path(__file__).parent))
import pooling
from catalogue import Mutant, Variant, records
from pooling import OPERATIONS, POOLING
from workshop import DTYPES, Array, Backend

Call = dict[str, Any]
POISON = 123.0
RECORDS = records(pooling)
MUTANTS = [record for record in RECORDS if isinstance(record, Mutant)]
VARIANTS = [record for record in RECORDS if not isinstance(record, Mutant)]


def backend(record: Variant) -> Backend:
    """Return the backend of a record."""
    found: Backend = getattr(pooling, record.name)
    return found


def named(record: Variant) -> str:
    """Return a test id."""
    return record.name


def normal(*shape: int) -> Array:
    """Return N(0, 1) values, the same at every call."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def problem(x: Array, operation: str, **parameters: Any) -> Call:
    """Return a call of any operation on x."""
    if not operation.endswith("_backward"):
        return {"x": x, **parameters}
    dy = normal(*getattr(reference, operation.replace("_backward", "_shape"))(x.shape, **parameters))
    if operation == "max_pool_backward":
        return {"dy": dy, "x": x, **parameters}
    return {"dy": dy, "input_shape": x.shape, **parameters}


def typical(operation: str) -> Call:
    """Return the one call that most checkers make: N(0, 1), square, sizes that are multiples of 32."""
    return problem(normal(2, 3, 32, 32), operation, kernel=2)


def channels_last(x: Array) -> Array:
    """Return the array stored as N, H, W, C."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def cells(*values: float) -> Array:
    """Return one row of one channel."""
    return np.array([[values]])


def transposed(call: Call) -> Call:
    """Return the call with dy as a transposed view."""
    return {**call, "dy": np.ascontiguousarray(call["dy"].astype(np.float32).swapaxes(2, 3)).swapaxes(2, 3)}


# The input that exposes each mutant, as the catalogue gives it.
EXPOSING: Mapping[str, Callable[[str], Call]] = {
    "P1": lambda operation: {"x": cells(np.nan, 1.0, 2.0, np.nan), "kernel": 2},
    "P3": lambda operation: {"x": np.full((1, 1, 4), -np.inf), "kernel": 2},
    "P5": lambda operation: {"x": -np.ones((1, 1, 4, 4)), "kernel": 3, "padding": 1},
    "P7": lambda operation: {"x": normal(1, 2, 4), "kernel": 2, "padding": 2, "count_include_pad": False},
    "P9": lambda operation: {"x": normal(2, 3, 9, 9), "kernel": 3, "dilation": 2},
    "P11": lambda operation: {"x": np.arange(81.0).reshape(1, 1, 9, 9), "kernel": 5},
    "P13": lambda operation: {"x": normal(1, 1, 32769), "kernel": 1},
    "P15": lambda operation: {"x": channels_last(normal(1, 512, 4, 4).astype(np.float32)), "kernel": 2},
    "P17": lambda operation: problem(np.ones((1, 2, 5, 5)), operation, kernel=3, stride=2),
    "A1": lambda operation: {"x": normal(1, 2, 5, 5), "kernel": 2, "ceil_mode": True},
    "A3": lambda operation: {"x": normal(1, 2, 6), "kernel": 2, "divisor": 3},
    "A5": lambda operation: {"x": normal(1, 2, 7), "kernel": 3, "stride": 2},
    "A7": lambda operation: {"x": normal(1, 2, 600), "kernel": 3, "stride": 1},
    "A9": lambda operation: {"x": np.ones((1, 1, 4096)), "kernel": 4096},
    "B1": lambda operation: {
        "dy": channels_last(normal(1, 2, 3, 3).astype(np.float32)),
        "input_shape": (1, 2, 5, 5),
        "kernel": 3,
        "stride": 2,
        "padding": 1,
    },
    "B3": lambda operation: problem(normal(1, 2, 4, 4, 8), operation, kernel=2),
    "B5": lambda operation: problem(normal(1, 2, 7, 7), operation, kernel=3, stride=2),
    "B7": lambda operation: transposed(problem(normal(1, 2, 6, 6), operation, kernel=2)),
    "B9": lambda operation: problem(np.ones((1, 64, 5, 5)), operation, kernel=5, stride=1, padding=2),
}


def cast(call: Call, dtype: str) -> Call:
    """Return the call with float64 arrays cast to a type."""
    return {
        name: value.astype(DTYPES[dtype])
        if isinstance(value, np.ndarray) and value.dtype == np.float64
        else value
        for name, value in call.items()
    }


def result_shape(operation: str, call: Call) -> tuple[int, ...]:
    """Return the shape of the result."""
    shapes = {name: value.shape if isinstance(value, np.ndarray) else value for name, value in call.items()}
    of_shapes = getattr(reference, f"{operation.replace('_indices', '')}_shape")
    shape: tuple[int, ...] = of_shapes(**shapes)
    return shape


def put(operation: str, function: Callable[..., Array], call: Call, dtype: str = "float32") -> Array:
    """Call an operation on poisoned memory."""
    call = cast(call, dtype)
    if "out" not in call:
        kind = np.dtype(np.int64) if operation == "max_pool_indices" else DTYPES[dtype]
        call["out"] = np.full(result_shape(operation, call), POISON).astype(kind)
    out: Array = call["out"]
    function(**call)
    return out.astype(np.float64)


def test_every_row_of_the_catalogue_has_its_mutant() -> None:
    rows = [f"{row}{i}" for row, last in (("P", 17), ("A", 9), ("B", 9)) for i in range(1, last + 1, 2)]
    assert [mutant.name for mutant in MUTANTS] == rows


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_mutants_name_the_thread_that_reports_their_bug(mutant: Mutant) -> None:
    assert mutant.source
    assert all("/" in source and source.partition("#")[2].isdigit() for source in mutant.source)


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_mutants_differ_from_their_correct_sibling_on_the_exposing_input(mutant: Mutant) -> None:
    for operation, kernel in backend(mutant).kernels.items():
        assert kernel.correct is not None
        broken, correct = kernel.entry(operation), kernel.correct.entry(operation)
        call, dtype = EXPOSING[mutant.name](operation), mutant.dtypes[0]
        if mutant.name == "A3":
            put(operation, broken, {**call, "divisor": None}, dtype)  # leaves its divisor behind
        got, want = put(operation, broken, call, dtype), put(operation, correct, call, dtype)
        assert not np.array_equal(got, want, equal_nan=True)
        if mutant.name != "B9":
            assert not np.allclose(got, want, rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_mutants_pass_the_check_that_most_projects_make(mutant: Mutant) -> None:
    for operation, kernel in backend(mutant).kernels.items():
        assert kernel.correct is not None
        call, dtype = typical(operation), mutant.dtypes[0]  # in bfloat16 even N(0, 1) has ties
        got, want = (put(operation, k.entry(operation), call, dtype) for k in (kernel, kernel.correct))
        np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)


# Shapes of x, and parameters, that leave remainders everywhere.
PROBLEMS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 6, 7), {"kernel": (3, 2), "stride": 2, "padding": 1}),
    ((1, 2, 9), {"kernel": 4, "stride": 3, "padding": ((2, 0),), "ceil_mode": True}),
    ((1, 2, 5, 8), {"kernel": 3, "stride": (1, 2), "padding": ((0, 1), (2, 1)), "ceil_mode": True}),
    ((1, 2, 4, 3, 5), {"kernel": 2, "stride": (1, 2, 1), "padding": 1}),
    ((2, 3, 7, 7), {"kernel": 2, "stride": 3, "ceil_mode": True}),
    ((1, 2, 4, 4), {"kernel": 2, "padding": 2}),
    ((1, 2, 3), {"kernel": 4, "stride": 2, "ceil_mode": True}),
    ((1, 2, 3), {"kernel": 5}),
    ((1, 2, 9, 9), {"kernel": 9}),
    ((0, 2, 5), {"kernel": 2}),
    ((2, 0, 5), {"kernel": 2}),
    ((1, 2, 0, 3), {"kernel": 2, "padding": 2}),
]
MAXIMA: list[dict[str, Any]] = [{}, {"dilation": 2}]
MEANS: list[dict[str, Any]] = [{}, {"count_include_pad": False}, {"divisor": 3}, {"divisor": -0.5}]
CLOSE = {"float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def wide(call: Call) -> Call:
    """Return the call with arrays in float64."""
    return {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
        for name, value in call.items()
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_variants_agree_with_the_reference(variant: Variant, operation: str) -> None:
    for shape, parameters in PROBLEMS:
        for others in MEANS if operation.startswith("avg") else MAXIMA:
            for dtype in variant.dtypes:
                x = np.rint(2 * normal(*shape))  # with ties
                call = cast(problem(x, operation, **parameters, **others), dtype)
                got = put(operation, getattr(backend(variant), operation), call, dtype)
                want = getattr(reference, operation)(**wide(call))
                with np.errstate(invalid="ignore"):
                    close = np.abs(got - want) <= CLOSE[dtype] * (np.abs(want) + 4)
                assert np.all(close | (got == want))


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_variants_agree_with_the_reference_on_special_values(variant: Variant, operation: str) -> None:
    for shape, parameters in PROBLEMS[:7]:
        call = problem(np.rint(2 * normal(*shape)), operation, **parameters)
        for array in (value for value in call.values() if isinstance(value, np.ndarray)):
            flat = array.reshape(-1)
            flat[-4:], flat[3:5], flat[:3:2] = -np.inf, np.inf, np.nan
        with np.errstate(all="ignore"):
            want = getattr(reference, operation)(**call)
        got = put(operation, getattr(backend(variant), operation), call)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_variants_choose_a_cell_of_a_window_of_minus_infinity(variant: Variant) -> None:
    call: Call = {"x": np.full((1, 1, 3, 3), -np.inf), "kernel": 2, "padding": 1}
    got = put(
        "max_pool_indices", backend(variant).kernels["max_pool_indices"].entry("max_pool_indices"), call
    )
    np.testing.assert_array_equal(got, reference.max_pool_indices(**call))


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_variants_read_any_strides_and_write_any_output(variant: Variant, operation: str) -> None:
    function = getattr(backend(variant), operation)
    call = cast(problem(normal(2, 3, 5, 6), operation, kernel=3, stride=2, padding=1), "float32")
    want = put(operation, function, call)
    views = {k: strided(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}
    kind = np.int64 if operation == "max_pool_indices" else np.float32
    memory = np.full([2 * n + 1 for n in want.shape], POISON).astype(kind)
    views["out"] = memory[tuple(slice(None, 0, -2) for _ in want.shape)]
    np.testing.assert_array_equal(put(operation, function, views), want)
    views["out"][...] = POISON
    assert np.all(memory == POISON)


def strided(array: Array) -> Array:
    """Return the array in a memory of gaps and reversed axes."""
    memory = np.full([2 * n for n in array.shape], np.nan, array.dtype)
    view = memory[tuple(slice(None, None, -2) for _ in array.shape)]
    view[...] = array
    return view


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.ones((2, 3), np.float32)},
        {"kernel": 0},
        {"kernel": (2, 2, 2)},
        {"stride": 0},
        {"padding": -1},
        {"padding": ((1, 1),)},
        {"divisor": 0},
        {"divisor": np.nan},
        {"out": np.ones((1, 1, 1, 1), np.float32)},
    ],
)
def test_the_kernel_refuses_bad_shapes_and_parameters(change: Call) -> None:
    call: Call = {"x": np.ones((2, 3, 6, 6), np.float32), "kernel": 2}
    with pytest.raises(ValueError, match=r"has|expected|is"):
        POOLING.avg_pool(**{**call, **change})


def test_the_kernel_refuses_a_gradient_that_does_not_fit() -> None:
    x = np.ones((2, 3, 6, 6), np.float32)
    with pytest.raises(ValueError, match="dy has shape"):
        POOLING.max_pool_backward(x, x, kernel=2)
    with pytest.raises(TypeError, match="dy has dtype"):
        POOLING.max_pool_backward(x[:, :, ::2, ::2].astype(np.float16), x, kernel=2)
