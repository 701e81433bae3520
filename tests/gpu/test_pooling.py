"""Pooling on the device against the exact result, in any layout."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu, reference
from gaugeblock.gpu.runtime.device import DTYPES, to_device
from gaugeblock.spec.accuracy import FORMATS, gamma, round_to

Array = NDArray[Any]
generator = np.random.default_rng(12)

# x and the windows: what breaks a kernel that others leave whole. Eight channels fit 16-byte accesses.
PROBLEMS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 3, 7, 9), {"kernel": 2}),
    "overlap, padding, overhang": (
        (1, 8, 9, 7),
        {"kernel": (3, 2), "stride": (2, 1), "padding": ((1, 2), (0, 1)), "ceil_mode": True},
    ),
    "dilation": ((2, 8, 6, 8), {"kernel": 3, "stride": 2, "padding": 1, "dilation": (1, 2)}),
    "windows without data": ((2, 3, 11), {"kernel": 4, "stride": 3, "padding": 5, "ceil_mode": True}),
    "three axes": ((1, 8, 5, 4, 6), {"kernel": 2, "stride": (1, 2, 2), "padding": 1}),
    "stride beyond the kernel": ((1, 3, 6, 6), {"kernel": 1, "stride": 4}),
    "kernel beyond the input": ((1, 2, 3, 4), {"kernel": (4, 4), "padding": ((1, 1), (0, 0))}),
    "no windows": ((1, 2, 3, 4), {"kernel": 5}),
}
COUNTS: list[dict[str, Any]] = [{}, {"count_include_pad": False}, {"divisor": -3}]
ALGORITHMS = ["auto", "naive"]


def numbers(dtype: str, *shape: int) -> Array:
    """Return integers, so that sums are exact, with many ties."""
    return generator.integers(-3, 4, size=shape).astype(DTYPES[dtype])


def channels_last(x: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def layouts(x: Array) -> Iterator[Array]:
    yield x
    yield channels_last(x)
    wide = np.full((x.shape[0], *x.shape[2:], x.shape[1] + 3), 3, x.dtype)
    slices = np.moveaxis(wide[..., ::-1, 1 : x.shape[1] + 1], -1, 1)
    slices[...] = x
    yield slices


def wide(x: Array) -> Array:
    return x.astype(np.float64)


def problem(name: str, dtype: str) -> tuple[Array, Array, dict[str, Any]]:
    """Return x, dy and the windows."""
    shape, rest = PROBLEMS[name]
    y_shape = reference.max_pool(np.zeros(shape), **rest).shape
    return numbers(dtype, *shape), numbers(dtype, *y_shape), rest


@pytest.mark.spec("POOL-S1", "POOL-S2", "POOL-S6", "POOL-S7", "POOL-A1")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_maximum_and_its_place_are_exact_in_any_layout(name: str, dtype: str, algorithm: str) -> None:
    x, _, rest = problem(name, dtype)
    if x.size:
        x.reshape(-1)[::13] = np.nan
    values, places = reference.max_pool(wide(x), **rest), reference.max_pool_indices(wide(x), **rest)
    for view in layouts(x):
        got = gpu.max_pool(view, algorithm=algorithm, **rest)
        assert got.dtype == DTYPES[dtype]
        assert np.array_equal(wide(got), values, equal_nan=True)
        indices = gpu.max_pool_indices(view, algorithm=algorithm, **rest)
        assert indices.dtype == np.int64
        assert np.array_equal(indices, places)


@pytest.mark.spec("POOL-S3", "POOL-S7", "POOL-X4")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_goes_to_the_place_of_the_maximum(name: str, dtype: str, algorithm: str) -> None:
    x, dy, rest = problem(name, dtype)
    want = reference.max_pool_backward(wide(dy), wide(x), **rest)
    for one, other in zip(layouts(dy), layouts(x), strict=True):
        assert np.array_equal(wide(gpu.max_pool_backward(one, other, algorithm=algorithm, **rest)), want)


@pytest.mark.spec("POOL-S4", "POOL-S7", "POOL-A2")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_mean_is_within_the_bound_in_any_layout(name: str, dtype: str, algorithm: str) -> None:
    x, _, rest = problem(name, dtype)
    for count in COUNTS:
        want = reference.avg_pool(wide(x), **rest, **count)
        results = {gpu.avg_pool(view, algorithm=algorithm, **rest, **count).tobytes() for view in layouts(x)}
        assert len(results) == 1
        got = np.frombuffer(results.pop(), DTYPES[dtype]).reshape(want.shape)
        # The sum is exact; what is left are the rounding of the quotient and that of the result.
        unit = FORMATS[dtype].unit_roundoff + 2.0**-24
        assert (np.abs(wide(got) - want) <= unit * np.abs(want)).all()


@pytest.mark.spec("POOL-S5", "POOL-S7", "POOL-A2")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_of_a_mean_is_within_the_bound_in_any_layout(
    name: str, dtype: str, algorithm: str
) -> None:
    x, dy, rest = problem(name, dtype)
    windows = int(np.prod(PROBLEMS[name][1]["kernel"])) ** (x.ndim - 2)
    for count in COUNTS:
        rest_of_call = {**rest, **count, "input_shape": x.shape}
        want = reference.avg_pool_backward(wide(dy), **rest_of_call)
        scale = np.abs(reference.avg_pool_backward(np.abs(wide(dy)), **rest_of_call))
        results = {
            gpu.avg_pool_backward(view, algorithm=algorithm, **rest_of_call).tobytes() for view in layouts(dy)
        }
        assert len(results) == 1
        got = np.frombuffer(results.pop(), DTYPES[dtype]).reshape(want.shape)
        bound = gamma(windows + 1, 2.0**-24) * scale + FORMATS[dtype].unit_roundoff * np.abs(want)
        assert (np.abs(wide(got) - want) <= bound).all()


@pytest.mark.spec("POOL-X2", "POOL-X3")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_windows_of_infinities_and_nan(algorithm: str) -> None:
    x = np.array([[[-np.inf, -np.inf, np.nan, 1, np.nan, -np.inf, 0.0, -0.0]]], np.float32)
    rest: dict[str, Any] = {"kernel": 2, "algorithm": algorithm}
    assert np.array_equal(gpu.max_pool(x, **rest)[0, 0], [-np.inf, np.nan, np.nan, 0], equal_nan=True)
    assert gpu.max_pool_indices(x, **rest)[0, 0].tolist() == [0, 2, 4, 6]
    dx = gpu.max_pool_backward(np.arange(1, 5, dtype=np.float32)[None, None], x, **rest)
    assert dx[0, 0].tolist() == [1, 0, 2, 0, 3, 0, 4, 0]
    assert np.array_equal(gpu.avg_pool(x, **rest)[0, 0], [-np.inf, np.nan, np.nan, 0], equal_nan=True)


@pytest.mark.spec("POOL-A5")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_mean_of_thousands_is_summed_in_float32(dtype: str) -> None:
    x = np.ones((1, 1, 70, 60), DTYPES[dtype])
    assert gpu.avg_pool(x, kernel=(70, 60)).item() == 1
    assert wide(gpu.avg_pool_backward(np.ones((1, 1, 1, 1), x.dtype), input_shape=x.shape, kernel=(70, 60)))[
        0, 0, 3, 3
    ] == round_to(np.array(1 / 4200), FORMATS[dtype])


def test_the_same_shape_with_another_divisor_is_another_problem() -> None:
    x = numbers("float32", 1, 2, 5, 5)
    first = gpu.avg_pool(x, kernel=2, padding=1)
    for count in COUNTS:
        want = reference.avg_pool(wide(x), kernel=2, padding=1, **count)
        assert np.allclose(gpu.avg_pool(x, kernel=2, padding=1, **count), want, rtol=1e-6)
    assert np.array_equal(gpu.avg_pool(x, kernel=2, padding=1), first)


@pytest.mark.spec("GEN-S3")
@pytest.mark.parametrize("name", ["plain", "overlap, padding, overhang", "stride beyond the kernel"])
def test_an_output_is_written_where_it_lies_and_nowhere_else(name: str) -> None:
    x, dy, rest = problem(name, "float16")
    calls: list[tuple[Array, Any]] = [
        (dy, lambda out: gpu.max_pool(x, out=out, **rest)),
        (dy, lambda out: gpu.avg_pool(x, out=out, **rest)),
        (x, lambda out: gpu.max_pool_backward(dy, x, out=out, **rest)),
        (x, lambda out: gpu.avg_pool_backward(dy, input_shape=x.shape, out=out, **rest)),
    ]
    for array, run in calls:
        memory = np.full((array.size + 6) * 3, np.nan, np.float16)
        out = memory[2 : 2 + array.size * 3 : 3].reshape(array.shape, copy=False)
        assert run(out) is out
        assert np.isfinite(out).all()
        assert np.isnan(memory).sum() == memory.size - array.size
    places = np.full(dy.shape, -7)
    assert gpu.max_pool_indices(x, out=places, **rest) is places
    assert (places >= -1).all()
    with pytest.raises(ValueError, match="GEN-C2: out has dtype float16, the result has dtype int64"):
        gpu.max_pool_indices(x, out=np.zeros(dy.shape, np.float16), **rest)


def test_device_arrays_stay_on_the_device() -> None:
    x, dy, rest = problem("plain", "float32")
    indices = gpu.max_pool_indices(to_device(x), **rest)
    assert np.array_equal(indices.get(), gpu.max_pool_indices(x, **rest))
    got = gpu.max_pool_backward(to_device(dy), to_device(x), **rest)
    assert got.get().tobytes() == gpu.max_pool_backward(dy, x, **rest).tobytes()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_empty_images_have_empty_results(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    rest: dict[str, Any] = {"kernel": 2, "padding": 1}
    y = gpu.max_pool(x, **rest)
    assert y.shape == reference.max_pool(wide(x), **rest).shape
    assert (y == -np.inf).all()
    assert not gpu.avg_pool(x, **rest).any()
    assert gpu.max_pool_backward(y, x, **rest).shape == shape
    assert gpu.avg_pool_backward(y, input_shape=shape, **rest).shape == shape


@pytest.mark.parametrize(
    ("clause", "error", "run"),
    [
        ("POOL-C1: x", ValueError, lambda x: gpu.max_pool(x[0, 0], kernel=2)),
        ("POOL-C1: x", TypeError, lambda x: gpu.avg_pool(wide(x), kernel=2)),
        ("POOL-C2: kernel", ValueError, lambda x: gpu.max_pool(x, kernel=0)),
        ("POOL-C2: stride", ValueError, lambda x: gpu.max_pool_indices(x, kernel=2, stride=(1, 2, 3))),
        ("POOL-C3: padding", ValueError, lambda x: gpu.avg_pool(x, kernel=2, padding=-1)),
        ("POOL-C4: dy has shape", ValueError, lambda x: gpu.max_pool_backward(x, x, kernel=2)),
        ("POOL-C4: dy", ValueError, lambda x: gpu.avg_pool_backward(x, input_shape=x.shape, kernel=2)),
        ("POOL-C4", TypeError, lambda x: gpu.max_pool_backward(x.astype(np.float16), x, kernel=1)),
        ("POOL-C5: divisor", ValueError, lambda x: gpu.avg_pool(x, kernel=2, divisor=0)),
        ("algorithm is 'tile32'", ValueError, lambda x: gpu.max_pool(x, kernel=2, algorithm="tile32")),
    ],
)
def test_a_bad_argument_is_refused_with_its_clause(clause: str, error: type[Exception], run: Any) -> None:
    with pytest.raises(error, match=f"^{clause}"):
        run(numbers("float32", 1, 2, 5, 4))


def test_a_dilation_that_moves_no_tap_takes_no_slower_kernel() -> None:
    x = np.random.default_rng(1).standard_normal((1, 1, 3, 2049)).astype(np.float32)
    y = gpu.max_pool(x, kernel=(2, 1), dilation=(1, 2**31 - 1))
    np.testing.assert_array_equal(y, reference.max_pool(x, kernel=(2, 1), dilation=(1, 1), stride=(2, 1)))
    dx = gpu.max_pool_backward(np.ones_like(y), x, kernel=(2, 1), dilation=(1, 2**31 - 1))
    assert dx.sum() == y.size
