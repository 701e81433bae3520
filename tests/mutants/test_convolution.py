"""Mutants of the convolution re-enact their bugs, and only those; variants and correct siblings are right.

As in ``test_mutants.py``, each mutant is put beside the kernel it was made from.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock.reference import convolution as reference

sys.path.insert(0, str(Path(__file__).parent))
import convolution
from catalogue import Mutant, Variant, records
from convolution import CONVOLUTION, OPERATIONS
from workshop import DTYPES, Array, Backend

Call = dict[str, Any]
POISON = 123.0
RECORDS = records(convolution)
MUTANTS = [record for record in RECORDS if isinstance(record, Mutant)]
VARIANTS = [record for record in RECORDS if not isinstance(record, Mutant)]


def backend(record: Variant) -> Backend:
    """Return the backend of a record."""
    found: Backend = getattr(convolution, record.name)
    return found


def named(record: Variant) -> str:
    """Return a test id."""
    return record.name


def normal(*shape: int) -> Array:
    """Return N(0, 1) values, the same at every call."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def problem(x: tuple[int, ...], w: tuple[int, ...], operation: str = "conv", **parameters: Any) -> Call:
    """Return a call of any operation, given the shapes of x and w."""
    y = reference.conv_shape(x, w, **parameters)
    match operation:
        case "conv":
            return {"x": normal(*x), "w": normal(*w), "bias": normal(w[0]), **parameters}
        case "conv_fused":
            return {
                "x": normal(*x),
                "w": normal(*w),
                "bias": normal(w[0]),
                "residual": normal(*y),
                **parameters,
            }
        case "conv_backward_input":
            return {"dy": normal(*y), "w": normal(*w), "input_shape": x, **parameters}
        case "conv_backward_weight":
            return {"dy": normal(*y), "x": normal(*x), "kernel_shape": w, **parameters}
        case _:
            return {"dy": normal(*y)}


def typical(operation: str) -> Call:
    """Return the one call that most checkers make: N(0, 1), square, sizes that are multiples of 32."""
    return problem((2, 32, 32, 32), (32, 32, 3, 3), operation, padding=1)


def padded_rows(*shape: int) -> Array:
    """Return a poisoned output whose rows have a gap behind them."""
    memory = np.full((*shape[:-1], shape[-1] + 3), POISON, np.float32)
    return memory[..., : shape[-1]]


def slice_of_channels(N: int, C: int, H: int, W: int) -> Array:
    """Return the first C channels of a channels-last tensor of twice as many."""
    return np.moveaxis(normal(N, H, W, 2 * C).astype(np.float32), -1, 1)[:, :C]


def for_x(x: tuple[int, ...], w: tuple[int, ...], **parameters: Any) -> Call:
    """Return a call of the input's gradient."""
    return problem(x, w, "conv_backward_input", **parameters)


def for_w(x: tuple[int, ...], w: tuple[int, ...], **parameters: Any) -> Call:
    """Return a call of the weights' gradient."""
    return problem(x, w, "conv_backward_weight", **parameters)


# The input that exposes each mutant, as the catalogue gives it.
EXPOSING: Mapping[str, Callable[[], Call]] = {
    "C1": lambda: problem((2, 3, 5, 7), (4, 3, 3, 2), padding=1),
    "C3": lambda: problem((2, 3, 8, 8), (4, 3, 3, 3), stride=2, padding="same"),
    "C5": lambda: problem((1, 2, 5, 5), (3, 2, 6, 6), padding=1),
    "C7": lambda: {"x": slice_of_channels(2, 4, 5, 6), "w": normal(3, 4, 3, 3)},
    "C9": lambda: {"x": normal(2, 4, 5, 6), "w": normal(6, 4, 3, 3).astype(np.float32)[1::2]},
    "C11": lambda: {**problem((2, 3, 5, 7), (4, 3, 3, 3)), "out": padded_rows(2, 4, 3, 5)},
    "C13": lambda: problem((1, 8, 34, 34), (2, 8, 3, 3)),
    "C15": lambda: problem((1, 1, 257, 256), (1, 1, 1, 1)),
    "C17": lambda: problem((2, 4, 5, 5), (16, 2, 3, 3), groups=2),
    "C19": lambda: problem((2, 3, 5, 5), (4, 3, 3, 3), "conv_fused"),
    "C21": lambda: problem((1, 3, 8, 8), (4, 3, 3, 3)),
    "C23": lambda: {
        "x": np.geomspace(1e-8, 1e8, 96).reshape(1, 1, 96),
        "w": np.abs(normal(1, 1, 5)),
    },
    "C25": lambda: problem((1, 3, 14, 14), (4, 3, 14, 14), padding=1),
    "C27": lambda: problem((1, 2, 5, 5), (3, 2, 3, 3)),
    "C29": lambda: problem((1, 232, 3, 3), (88, 232, 1, 1)),
    "D1": lambda: for_x((1, 2, 6, 6), (3, 2, 1, 1), stride=2),
    "D3": lambda: for_x((1, 4, 7, 7), (6, 2, 3, 3), stride=2, groups=2),
    "D5": lambda: for_x((1, 2, 9, 9), (3, 2, 3, 3), stride=2, dilation=1),
    "D7": lambda: for_w((0, 2, 5, 5), (3, 2, 3, 3)),
    "D9": lambda: for_w((1, 2, 5, 7), (3, 2, 3, 3)),
    "D11": lambda: for_x((1, 4, 18, 18), (3, 4, 1, 1)),
}
COARSE = {
    "C13": "16 bits stand for 32",
    "C19": "a typical check that passes a residual sees it",
    "C27": "a typical filter is not symmetric",
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
    shape: tuple[int, ...] = getattr(reference, f"{operation}_shape")(**shapes)
    return shape


def put(operation: str, function: Callable[..., Array], call: Call, dtype: str = "float32") -> Array:
    """Call an operation on poisoned memory."""
    call = cast(call, dtype)
    if "out" not in call:
        call["out"] = np.full(result_shape(operation, call), POISON).astype(DTYPES[dtype])
    out: Array = call["out"]
    function(**call)
    return out.astype(np.float64)


def test_every_row_of_the_catalogue_has_its_mutant() -> None:
    rows = [f"C{i}" for i in range(1, 30, 2)] + [f"D{i}" for i in range(1, 12, 2)]
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
        if mutant.name == "C25":
            put(operation, broken, problem((1, 4, 9, 9), (4, 4, 3, 3)))  # leaves its scratch behind
        got = put(operation, broken, EXPOSING[mutant.name]())
        want = put(operation, correct, EXPOSING[mutant.name]())
        assert not np.allclose(got, want, rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name not in COARSE], ids=named)
def test_mutants_pass_the_check_that_most_projects_make(mutant: Mutant) -> None:
    for operation, kernel in backend(mutant).kernels.items():
        assert kernel.correct is not None
        call = typical(operation)
        got, want = (put(operation, k.entry(operation), call) for k in (kernel, kernel.correct))
        np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)


# Shapes of x and w, and parameters, that leave remainders everywhere.
PROBLEMS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 6, 7), (4, 3, 3, 3), {"padding": 1}),
    ((1, 2, 9), (3, 2, 4), {"stride": 2, "padding": ((2, 0),)}),
    ((1, 4, 5, 8), (6, 2, 2, 3), {"groups": 2, "stride": (2, 3), "padding": ((0, 1), (2, 1))}),
    ((2, 3, 7, 6), (6, 1, 3, 2), {"groups": 3, "dilation": (2, 1), "padding": "same"}),
    ((1, 2, 4, 3, 5), (3, 2, 2, 2, 3), {"stride": (1, 2, 1), "padding": 1}),
    ((1, 3, 8, 8), (2, 3, 1, 1), {"stride": 3}),
    ((1, 2, 3, 4), (2, 2, 5, 4), {"padding": (1, 0)}),
    ((1, 2, 3, 4), (2, 2, 6, 1), {}),
    ((0, 2, 5, 5), (3, 2, 3, 3), {}),
    ((2, 0, 5, 5), (3, 0, 3, 3), {"padding": 1}),
    ((2, 3, 5, 5), (0, 3, 3, 3), {}),
    ((1, 2, 0, 5), (3, 2, 2, 3), {"padding": 1}),
]
CLOSE = {"float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
DECLARED = {"TF32": 1e-2, "HALF_ACCUMULATOR": 2e-2, "WINOGRAD_4": 1e-5, "WINOGRAD_6": 1e-4, "FFT": 1e-5}


def wide(call: Call) -> Call:
    """Return the call with arrays in float64."""
    return {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
        for name, value in call.items()
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_variants_agree_with_the_reference(variant: Variant) -> None:
    for operation in variant.operations:
        for x, w, parameters in PROBLEMS:
            for dtype in variant.dtypes:
                call = cast(problem(x, w, operation, **parameters), dtype)
                got = put(operation, getattr(backend(variant), operation), call, dtype)
                want = getattr(reference, operation)(**wide(call))
                scale = np.abs(want) + 8
                assert np.all(np.abs(got - want) <= DECLARED.get(variant.name, CLOSE[dtype]) * scale)


# Transforms spread what is not finite over a tile or a plane, as they may where they are declared.
TRANSFORMS = ("WINOGRAD_2", "WINOGRAD_4", "WINOGRAD_6", "FFT")


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.name not in TRANSFORMS], ids=named)
def test_variants_leave_padding_out_of_products_with_nan_and_infinity(variant: Variant) -> None:
    for operation in variant.operations:
        for x, w, parameters in PROBLEMS[:5]:
            call = problem(x, w, operation, **parameters)
            call = {k: np.rint(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}
            arrays = [v for v in call.values() if isinstance(v, np.ndarray)]
            for array, value in zip(arrays, (np.inf, -np.inf, np.nan, np.inf), strict=False):
                array.flat[array.size // 3] = value
            with np.errstate(all="ignore"):
                want = getattr(reference, operation)(**call)
            got = put(operation, getattr(backend(variant), operation), call, variant.dtypes[0])
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("activation", convolution.ACTIVATIONS)
def test_the_fused_kernel_knows_every_activation(activation: str) -> None:
    call = {**problem((2, 3, 5, 4), (4, 3, 3, 3), "conv_fused"), "activation": activation}
    call = wide(cast(call, "float32"))
    got = put("conv_fused", CONVOLUTION.conv_fused, call)
    np.testing.assert_allclose(got, reference.conv_fused(**call), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"stride": 2, "output_padding": 1},
        {"padding": (1, 0), "dilation": 2},
        {"groups": 2},
        {"padding": "same", "stride": 2},
    ],
)
def test_the_transposed_convolution_agrees_with_the_reference(parameters: Call) -> None:
    call: Call = {
        "x": normal(2, 4, 3, 5),
        "w": normal(4, 3, 3, 2),
        "bias": normal(3 * parameters.get("groups", 1)),
    }
    call = {**wide(cast(call, "float32")), **parameters}
    got = put("conv_transpose", CONVOLUTION.conv_transpose, call)
    np.testing.assert_allclose(got, reference.conv_transpose(**call), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_variants_read_any_strides_and_write_any_output(variant: Variant) -> None:
    for operation in variant.operations:
        call = cast(problem((2, 4, 5, 6), (6, 2, 3, 2), operation, groups=2), "float32")
        function = getattr(backend(variant), operation)
        want = put(operation, function, call)
        views = {k: strided(v) if isinstance(v, np.ndarray) else v for k, v in call.items()}
        memory = np.full([2 * n + 1 for n in want.shape], POISON, np.float32)
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
        {"x": np.ones((2, 3, 5), np.float32)},
        {"x": np.ones((2, 5, 5, 5), np.float32)},
        {"bias": np.ones(5, np.float32)},
        {"stride": 0},
        {"stride": (1, 1, 1)},
        {"padding": -1},
        {"padding": "valid"},
        {"dilation": 0},
        {"groups": 2},
        {"out": np.ones((1, 1, 1, 1), np.float32)},
    ],
)
def test_the_kernel_refuses_bad_shapes_and_parameters(change: Call) -> None:
    call = cast(problem((2, 3, 5, 5), (4, 3, 3, 3)), "float32")
    with pytest.raises(ValueError, match=r"has|expected|is"):
        CONVOLUTION.conv(**{**call, **change})


def test_every_operation_has_a_kernel() -> None:
    assert all(callable(CONVOLUTION.entry(operation)) for operation in OPERATIONS)
