"""Activations on the device against the exact result, fast and naive kernels alike."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu
from gaugeblock.gpu.runtime.device import DTYPES, to_device
from gaugeblock.spec.accuracy import FORMATS, accept
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.operations import OPERATIONS, Operation

Array = NDArray[Any]
generator = np.random.default_rng(9)
ACTIVATIONS = {name: operation for name, operation in OPERATIONS.items() if name != "gemm"}
ELEMENTWISE = [name for name, operation in ACTIVATIONS.items() if operation.kind == "elementwise"]
ROWWISE = [name for name, operation in ACTIVATIONS.items() if operation.kind == "rowwise"]

POSITIVE = (0.0, 1e-45, 1e-30, 1e-10, 0.5, 0.7518, 1, 1.278, 3, 5, 6, 9, 13, 20, 88, 104, 200, 1e30, np.inf)
SPECIAL = np.array([np.nan, *POSITIVE, *(-x for x in POSITIVE)])


def cast(x: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        return x.astype(DTYPES[dtype])


def arguments_for(operation: Operation, x: Array, **parameters: Any) -> dict[str, Array]:
    if not operation.backward:
        return {"x": x}
    forward = OPERATIONS[operation.name.removesuffix("_backward")]
    dy = cast(generator.normal(0, 2, forward.shape({"x": x.shape}, parameters)), x.dtype.name)
    return {"dy": dy, "x": x}


def assert_right(
    operation: Operation, dtype: str, got: Array, arrays: dict[str, Array], **parameters: Any
) -> None:
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    with np.errstate(all="ignore"):
        want = np.asarray(operation.reference(**wide, **parameters))
    bound = operation.bound({**wide, **parameters}, want, FORMATS[dtype], Arithmetic())
    right = accept(got, want, bound, FORMATS[dtype])
    assert right.all(), f"{np.sum(~right)} wrong, the first: {got[~right][0]}, want {want[~right][0]}"


@pytest.mark.spec("ACT-A1")
@pytest.mark.parametrize("algorithm", ["auto", "naive"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_function_is_within_its_bound(name: str, dtype: str, algorithm: str) -> None:
    operation = ACTIVATIONS[name]
    wide = generator.normal(size=400) * 10 ** generator.uniform(-10, 2, 400)
    x = cast(np.concatenate([SPECIAL, generator.normal(0, 4, 400), wide]), dtype)
    choices = [{"approximate": "none"}, {"approximate": "tanh"}] if name.startswith("gelu") else [{}]
    for parameters in choices:
        arrays = arguments_for(operation, x)
        got = getattr(gpu, name)(**arrays, **parameters, algorithm=algorithm)
        assert_right(operation, dtype, got, arrays, **parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "gelu_backward"])
def test_every_length_and_start_gives_the_bits_of_one_element_alone(name: str, dtype: str) -> None:
    function = getattr(gpu, name)
    x = cast(generator.normal(size=80), dtype)
    arrays = [x] * len(ACTIVATIONS[name].arrays)
    want = np.concatenate([function(*(array[i : i + 1] for array in arrays)) for i in range(80)])
    for start in range(9):
        for length in (1, 2, 7, 8, 9, 15, 16, 17, 31, 64):
            part = slice(start, start + length)
            assert function(*(array[part] for array in arrays)).tobytes() == want[part].tobytes()


def test_arrays_that_are_not_equally_aligned_are_handled() -> None:
    memory = generator.normal(size=200).astype(np.float32)
    x, dy, out = memory[1:65], memory[67:131], memory[132:196]
    want = gpu.silu_backward(dy.copy(), x.copy())
    assert gpu.silu_backward(dy, x, out=out).tobytes() == want.tobytes()


@pytest.mark.one_of(2)
@pytest.mark.spec("ACT-A5")
@pytest.mark.parametrize("algorithm", ["auto", "naive"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("n", [1, 33, 1000])
def test_rows_of_any_length_are_within_the_bound(name: str, dtype: str, algorithm: str, n: int) -> None:
    operation = ACTIVATIONS[name]
    for axis, shape in ((-1, (5, n)), (0, (n, 3))):
        arrays = arguments_for(operation, cast(generator.normal(0, 3, shape), dtype))
        got = getattr(gpu, name)(**arrays, axis=axis, algorithm=algorithm)
        assert_right(operation, dtype, got, arrays, axis=axis)


@pytest.mark.spec("ACT-A7")
@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("n", [256, 4096, 8192, 16384, 16385, 65_537])
def test_long_rows_are_within_the_bound(name: str, n: int) -> None:
    operation = ACTIVATIONS[name]
    arrays = arguments_for(operation, cast(generator.normal(0, 3, (2, n)), "float32"))
    assert_right(operation, "float32", getattr(gpu, name)(**arrays), arrays)


@pytest.mark.spec("GEN-S2")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("n", [32, 1024, 20_000])
def test_rows_read_by_vectors_and_by_elements_give_the_same_bits(name: str, dtype: str, n: int) -> None:
    arrays = arguments_for(ACTIVATIONS[name], cast(generator.normal(0, 3, (2, n)), dtype))
    want = getattr(gpu, name)(**arrays).tobytes()
    columns = {key: np.asfortranarray(array) for key, array in arrays.items()}
    assert getattr(gpu, name)(**columns).tobytes() == want


@pytest.mark.spec("ACT-X5")
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(("algorithm", "n"), [("auto", 3), ("auto", 300), ("auto", 17_000), ("naive", 30)])
def test_rows_with_nan_and_infinities_are_what_the_spec_says(name: str, algorithm: str, n: int) -> None:
    x = np.zeros((6, n), np.float32)
    x[0, n // 2] = np.nan
    x[1, n - 1] = np.inf
    x[2, 0] = -np.inf
    x[3] = -np.inf
    x[4, : n // 2] = -np.inf
    x[5] = np.nan
    got = getattr(gpu, name)(x, algorithm=algorithm)
    with np.errstate(all="ignore"):
        probability = np.exp(got) if name == "log_softmax" else got
    for row in (0, 1, 3, 5):
        assert np.isnan(got[row]).all()
    for row in (2, 4):
        present = np.isfinite(x[row])
        assert np.allclose(probability[row], present / present.sum(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_maxout_selects_and_routes_exactly(dtype: str, pieces: int, axis: int) -> None:
    shape = [2, 3, 2]
    shape[axis] = 4 * pieces
    x = generator.integers(-2, 3, shape).astype(DTYPES[dtype])
    x[generator.random(shape) < 0.1] = np.nan
    for name in ("maxout", "maxout_backward"):
        operation = ACTIVATIONS[name]
        arrays = arguments_for(operation, x, pieces=pieces, axis=axis)
        for algorithm in ("auto", "naive"):
            got = getattr(gpu, name)(**arrays, pieces=pieces, axis=axis, algorithm=algorithm)
            assert_right(operation, dtype, got, arrays, pieces=pieces, axis=axis)


@pytest.mark.spec("GEN-D9")
def test_a_parameter_beyond_float32_is_an_infinity() -> None:
    x = np.array([-1.0, 1.0], np.float32)
    assert np.array_equal(gpu.leaky_relu(x, negative_slope=1e300), [-np.inf, 1])
    assert np.array_equal(gpu.hard_tanh(x, min_val=-np.inf, max_val=np.float64(0.5)), [-1, 0.5])


def test_arrays_on_the_device_are_computed_in_place() -> None:
    x = to_device(np.array([[-1, 2], [3, -4]], np.float32))
    assert gpu.relu(x.T, out=x.T).get().tolist() == [[0, 3], [2, 0]]
    assert x.get().tolist() == [[0, 2], [3, 0]]
