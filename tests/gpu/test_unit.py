"""LSTM units on the device against the exact result: all algorithms, any layout."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu, reference
from gaugeblock.gpu.runtime.device import DTYPES, to_device
from gaugeblock.gpu.unit import FEW, choose
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
generator = np.random.default_rng(14)
NAMES = ("x", "h", "c", "w", "u", "bias")
ALGORITHMS = ["step", "gemm", "naive"]

# T, N, D, H: one step and several, rows of whole vectors and others, groups of examples full and not.
SIZES = [(1, 1, 3, 1), (3, 2, 5, 9), (2, 11, 4, 8), (1, 5, 1, 40), (2, 3, 0, 16)]


def problem(dtype: str, T: int, N: int, D: int, H: int) -> dict[str, Array]:
    shapes = {"x": (T, N, D), "h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
    scales = {"w": max(D, 1) ** -0.5, "u": H**-0.5}
    arrays = {
        name: scales.get(name, 1.0) * generator.normal(size=shape)
        for name, shape in (*shapes.items(), ("dy", (2, T, N, H)))
    }
    return {name: array.astype(DTYPES[dtype]) for name, array in arrays.items()}


def call(operation: str, given: dict[str, Array], **rest: Any) -> Any:
    names = NAMES if operation == "lstm_unit" else ("dy", *NAMES)
    return getattr(gpu, operation)(*(given[name] for name in names), **rest)


def assert_right(operation: str, given: dict[str, Array], got: Array, dtype: str) -> None:
    names = NAMES if operation == "lstm_unit" else ("dy", *NAMES)
    exact = {name: given[name].astype(np.float64) for name in names}
    with np.errstate(all="ignore"):
        want = OPERATIONS[operation].reference(**exact)
    arithmetic = Arithmetic.declared(gpu.arithmetic[operation].get(dtype, {}))
    bound = OPERATIONS[operation].bound(exact, want, FORMATS[dtype], arithmetic)
    assert got.dtype == DTYPES[dtype]
    assert accept(got, want, bound, FORMATS[dtype]).all()


@pytest.mark.spec("UNIT-A1")
@pytest.mark.spec("UNIT-A2")
@pytest.mark.parametrize("operation", ["lstm_unit", "lstm_unit_backward"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_algorithm_is_within_the_bound(dtype: str, algorithm: str, operation: str) -> None:
    for sizes in SIZES:
        given = problem(dtype, *sizes)
        assert_right(operation, given, call(operation, given, algorithm=algorithm), dtype)


@pytest.mark.spec("UNIT-X2")
@pytest.mark.spec("UNIT-X3")
@pytest.mark.parametrize("operation", ["lstm_unit", "lstm_unit_backward"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_special_values_go_through_the_gates(algorithm: str, operation: str) -> None:
    for name, place in (("c", 1), ("x", 0), ("bias", 3), ("u", 5), ("dy", 2)):
        for value in (np.nan, np.inf, -np.inf):
            given = problem("float32", 2, 3, 2, 4)
            given[name].reshape(-1)[place] = value
            assert_right(operation, given, call(operation, given, algorithm=algorithm), "float32")


def placed(array: Array) -> list[Array]:
    """Return the array in several layouts."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
    gaps = wide[..., 1::2]
    gaps[...] = array
    backwards = array[::-1].copy()[::-1]
    inside_out = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 0, -1)), -1, 0)
    shifted = np.zeros(array.size + 1, array.dtype)[1:].reshape(array.shape, copy=False)
    shifted[...] = array
    return [gaps, backwards, inside_out, shifted]


@pytest.mark.spec("GEN-S2")
@pytest.mark.parametrize("operation", ["lstm_unit", "lstm_unit_backward"])
@pytest.mark.parametrize("algorithm", ["step", "gemm"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_layout_changes_no_bit(dtype: str, algorithm: str, operation: str) -> None:
    given = problem(dtype, 2, 3, 4, 8)
    want = call(operation, given, algorithm=algorithm)
    for views in zip(*(placed(array) for array in given.values()), strict=True):
        moved = dict(zip(given, views, strict=True))
        assert call(operation, moved, algorithm=algorithm).tobytes() == want.tobytes()


@pytest.mark.spec("GEN-S3")
@pytest.mark.parametrize("operation", ["lstm_unit", "lstm_unit_backward"])
def test_an_output_is_written_where_it_lies_and_nowhere_else(operation: str) -> None:
    given = problem("float32", 2, 3, 4, 5)
    want = call(operation, given)
    memory = np.full((*want.shape[:-1], 3 * want.shape[-1]), np.nan, np.float32)
    out = memory[::-1, ..., 1::3]
    assert call(operation, given, out=out) is out
    assert np.array_equal(out, want)
    assert np.isnan(memory).sum() == memory.size - want.size


@pytest.mark.spec("GEN-S5")
def test_the_same_call_gives_the_same_bits_on_host_and_device() -> None:
    given = problem("float16", 3, 4, 5, 6)
    first = call("lstm_unit_backward", given)
    call("lstm_unit", problem("float16", 3, 4, 5, 6))
    on_device = {name: to_device(array) for name, array in given.items()}
    assert call("lstm_unit_backward", on_device).get().tobytes() == first.tobytes()


@pytest.mark.spec("UNIT-I1")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_float32_a_sequence_may_be_cut_without_changing_a_bit(algorithm: str) -> None:
    given = problem("float32", 4, 2, 3, 5)
    whole = call("lstm_unit", given, algorithm=algorithm)
    first = call("lstm_unit", {**given, "x": given["x"][:3]}, algorithm=algorithm)
    rest = {**given, "x": given["x"][3:], "h": first[0, -1], "c": first[1, -1]}
    assert np.array_equal(call("lstm_unit", rest, algorithm=algorithm)[:, 0], whole[:, 3])


def test_a_narrow_cell_is_handed_on_in_float32() -> None:
    """A counter does not stall where the format has no next whole number."""
    T = 300
    state, weights = np.zeros((1, 1), DTYPES["bfloat16"]), np.zeros((4, 1, 1), DTYPES["bfloat16"])
    bias = np.full((4, 1), 40, DTYPES["bfloat16"])
    x = np.zeros((T, 1, 1), DTYPES["bfloat16"])
    assert float(gpu.lstm_unit(x, state, state, weights, weights, bias)[1, -1, 0, 0]) == T


def test_the_gradients_of_all_arguments_are_products_with_the_result() -> None:
    given = problem("float32", 3, 2, 4, 5)
    y, dz = call("lstm_unit", given), call("lstm_unit_backward", given)
    exact = {name: array.astype(np.float64) for name, array in given.items()}
    dy, rest = exact.pop("dy"), {name: exact[name] for name in NAMES[:-1]}
    want = reference.lstm_unit_gradients(
        reference.lstm_unit_backward(dy, **exact), reference.lstm_unit(**exact), **rest
    )
    rows = np.ascontiguousarray(np.moveaxis(dz[:4], 0, 2)).reshape(6, 20)  # (T N, 4 H)
    before = np.concatenate([given["h"][None], y[0, :-1]]).reshape(6, 5)
    dx = gpu.gemm(rows, given["w"].reshape(20, 4)).reshape(3, 2, 4)
    dw = gpu.gemm(rows, given["x"].reshape(6, 4), transpose_a=True).reshape(4, 5, 4)
    du = gpu.gemm(rows, before, transpose_a=True).reshape(4, 5, 5)
    for got, exactly in ((dx, want.x), (dw, want.w), (du, want.u), (dz[4, 0], want.c)):
        assert np.allclose(got, exactly, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 4, 0), (0, 0, 0, 0)])
def test_what_is_empty_stays_so(sizes: tuple[int, ...]) -> None:
    given = problem("float32", 1, 1, 1, 1) | {
        name: np.zeros(shape, np.float32)
        for name, shape in (
            *(("x", sizes[:3]), ("h", (sizes[1], sizes[3])), ("c", (sizes[1], sizes[3]))),
            *(("w", (4, sizes[3], sizes[2])), ("u", (4, sizes[3], sizes[3])), ("bias", (4, sizes[3]))),
            ("dy", (2, sizes[0], sizes[1], sizes[3])),
        )
    }
    assert call("lstm_unit", given).shape == (2, sizes[0], sizes[1], sizes[3])
    assert call("lstm_unit_backward", given).shape == (5, sizes[0], sizes[1], sizes[3])


def test_few_examples_are_left_to_the_kernel_that_reads_the_weights_once() -> None:
    assert choose(1) == choose(FEW) == "step"
    assert choose(FEW + 1) == "gemm"


@pytest.mark.parametrize(
    ("clause", "error", "changes"),
    [
        ("UNIT-C1: x must have 3 axes", ValueError, {"x": np.zeros((6, 4), np.float32)}),
        ("UNIT-C2: w has shape", ValueError, {"w": np.zeros((4, 4, 5), np.float32)}),
        ("UNIT-C3: .*u has dtype float16", TypeError, {"u": np.zeros((4, 5, 5), np.float16)}),
        ("UNIT-C3: bias must be", TypeError, {"bias": [0.0]}),
        ("UNIT-C4: dy has shape", ValueError, {"dy": np.zeros((3, 2, 5), np.float32)}),
        ("UNIT-C4: .*dy has dtype float16", TypeError, {"dy": np.zeros((2, 3, 2, 5), np.float16)}),
    ],
)
def test_a_bad_argument_is_refused_with_its_clause(
    clause: str, error: type[Exception], changes: dict[str, Any]
) -> None:
    given = problem("float32", 3, 2, 4, 5) | changes
    with pytest.raises(error, match=f"^{clause}"):
        call("lstm_unit_backward", given)


@pytest.mark.spec("GEN-C3")
def test_an_output_in_the_memory_of_an_input_is_refused() -> None:
    given = problem("float32", 1, 2, 3, 4)
    memory = np.zeros((2, 1, 2, 4), np.float32)
    with pytest.raises(ValueError, match="GEN-C3: out shares memory with h"):
        call("lstm_unit", {**given, "h": memory[0, 0]}, out=memory)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(
        ValueError, match="algorithm is 'tile32', expected one of 'auto', 'gemm', 'step', 'naive'"
    ):
        call("lstm_unit", problem("float32", 1, 1, 1, 1), algorithm="tile32")
