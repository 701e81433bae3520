"""GEMM on the device against the exact result, algorithm by algorithm."""

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu, reference
from gaugeblock.gpu.gemm import ALGORITHMS, choose
from gaugeblock.gpu.runtime.device import DTYPES, to_device
from gaugeblock.spec.accuracy import FORMATS, accept
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
generator = np.random.default_rng(15)
CASES = [
    *(("float32", algorithm) for algorithm in ("naive", "tile32", "tile64", "tile128", "auto")),
    *(("float16", algorithm) for algorithm in ("naive", "tile32", "tensor64", "tensor128")),
    *(("bfloat16", algorithm) for algorithm in ("naive", "tile128", "tensor64", "tensor128")),
]


def normal(dtype: str, *shape: int) -> Array:
    return generator.normal(size=shape).astype(DTYPES[dtype])


def integers(dtype: str, *shape: int) -> Array:
    return generator.integers(-8, 9, size=shape).astype(DTYPES[dtype])


def assert_within_the_bound(got: Array, dtype: str, algorithm: str, **arguments: Any) -> None:
    operation = OPERATIONS["gemm"]
    wide = {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) else value
        for name, value in arguments.items()
    }
    on_tensor_cores = algorithm == "auto" or algorithm.startswith("tensor")
    declared = gpu.arithmetic["gemm"].get(dtype, {}) if on_tensor_cores else {}
    want = reference.gemm(**wide)
    bound = operation.bound(wide, want, FORMATS[dtype], Arithmetic.declared(declared))
    assert accept(got, want, bound, FORMATS[dtype]).all()


@pytest.mark.spec("GEMM-A1")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (3, 5, 2), (33, 31, 17), (129, 130, 33)], ids=lambda sizes: "x".join(map(str, sizes))
)
def test_every_algorithm_is_within_the_bound(dtype: str, algorithm: str, sizes: tuple[int, int, int]) -> None:
    M, N, K = sizes
    a, b, c = normal(dtype, M, K), normal(dtype, K, N), normal(dtype, N)
    got = gpu.gemm(a, b, c, alpha=0.5, beta=-0.7, algorithm=algorithm)
    assert_within_the_bound(got, dtype, algorithm, a=a, b=b, c=c, alpha=0.5, beta=-0.7)


@pytest.mark.spec("GEMM-A2")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
def test_sums_of_small_integers_are_exact(dtype: str, algorithm: str) -> None:
    a, b = integers(dtype, 40, 70), np.sign(integers(dtype, 70, 65).astype(np.float32)).astype(DTYPES[dtype])
    want = np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert np.abs(want).max() < 256  # so that bfloat16 holds every result
    assert np.array_equal(gpu.gemm(a, b, algorithm=algorithm).astype(np.float64), want)


@pytest.mark.spec("GEN-S2")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
def test_transposed_operands_and_outputs_give_the_same_bits(dtype: str, algorithm: str) -> None:
    a, b = normal(dtype, 37, 40), normal(dtype, 40, 72)
    want = gpu.gemm(a, b, algorithm=algorithm).tobytes()
    columns_first = np.empty((72, 37), a.dtype).T
    for left, right in itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b))):
        assert gpu.gemm(left, right, algorithm=algorithm).tobytes() == want
    assert gpu.gemm(a.T.copy(), b, transpose_a=True, algorithm=algorithm).tobytes() == want
    assert gpu.gemm(a, b.T.copy(), transpose_b=True, algorithm=algorithm).tobytes() == want
    assert gpu.gemm(a, b, out=columns_first, algorithm=algorithm).tobytes() == want


@pytest.mark.spec("GEMM-S4")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
def test_a_batch_is_its_matrices_one_by_one(dtype: str, algorithm: str) -> None:
    a, b, c = normal(dtype, 3, 1, 5, 6), normal(dtype, 2, 6, 7), normal(dtype, 3, 1, 1, 7)
    got = gpu.gemm(a, b, c, beta=1.0, algorithm=algorithm)
    assert got.shape == (3, 2, 5, 7)
    for i, j in itertools.product(range(3), range(2)):
        one = gpu.gemm(a[i, 0], b[j], c[i, 0], beta=1.0, algorithm=algorithm)
        assert got[i, j].tobytes() == one.tobytes()


@pytest.mark.spec("GEMM-S3")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
def test_what_a_factor_of_zero_makes_unread_is_not_read(dtype: str, algorithm: str) -> None:
    nothing = np.full((3, 3), np.nan, DTYPES[dtype])
    one = np.eye(3, dtype=DTYPES[dtype])
    rest = {"algorithm": algorithm}
    assert np.array_equal(gpu.gemm(one, one, nothing, **rest), one)
    assert np.array_equal(gpu.gemm(nothing, nothing, one, alpha=0.0, beta=2.0, **rest), one + one)
    assert np.array_equal(gpu.gemm(nothing, nothing, nothing, alpha=0.0, **rest), np.zeros_like(one))
    unwritten = gpu.DeviceArray((3, 3), DTYPES[dtype])  # the simulated device faults if it is read
    assert np.array_equal(gpu.gemm(to_device(one), to_device(one), unwritten, **rest).get(), one)


@pytest.mark.spec("GEMM-X1")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
def test_an_empty_sum_is_zero(dtype: str, algorithm: str) -> None:
    a, b, c = normal(dtype, 3, 0), normal(dtype, 0, 4), integers(dtype, 3, 4)
    assert not gpu.gemm(a, b, algorithm=algorithm).any()
    assert np.array_equal(gpu.gemm(a, b, c, beta=0.5, algorithm=algorithm), c * DTYPES[dtype].type(0.5))
    assert gpu.gemm(normal(dtype, 0, 3), normal(dtype, 3, 4), algorithm=algorithm).shape == (0, 4)


@pytest.mark.spec("GEMM-X2")
@pytest.mark.parametrize(("dtype", "algorithm"), CASES)
def test_infinity_and_nan_reach_their_row_and_no_other(dtype: str, algorithm: str) -> None:
    a, b = np.ones((35, 19), DTYPES[dtype]), np.ones((19, 33), DTYPES[dtype])
    a[3, 18], a[7, 0] = np.inf, np.nan
    got = gpu.gemm(a, b, algorithm=algorithm).astype(np.float64)
    assert np.isposinf(got[3]).all()
    assert np.isnan(got[7]).all()
    assert np.array_equal(np.delete(got, (3, 7), 0), np.full((33, 33), 19.0))


@pytest.mark.spec("GEMM-A4")
@pytest.mark.parametrize(("dtype", "algorithm"), [case for case in CASES if case[1] != "naive"])
def test_a_long_sum_is_within_the_bound(dtype: str, algorithm: str) -> None:
    a, b = normal(dtype, 4, 2049), normal(dtype, 2049, 5)
    assert_within_the_bound(gpu.gemm(a, b, algorithm=algorithm), dtype, algorithm, a=a, b=b)


def test_all_tiled_algorithms_sum_in_the_order_of_the_naive_one() -> None:
    a, b = normal("float32", 70, 50), normal("float32", 50, 66)
    want = gpu.gemm(a, b, algorithm="naive").tobytes()
    assert all(gpu.gemm(a, b, algorithm=f"tile{side}").tobytes() == want for side in (32, 64, 128))


@pytest.mark.parametrize("M", [1, 64, 65, 500, 5000])
@pytest.mark.parametrize("N", [1, 64, 65, 500, 5000])
def test_the_choice_is_the_same_for_a_problem_and_its_transpose(M: int, N: int) -> None:
    h200 = {"multiprocessors": 132, "tensor_cores": True}
    for dtype in DTYPES:
        chosen = choose(dtype, M, N, 3, **h200)
        assert chosen == choose(dtype, N, M, 3, **h200)
        assert chosen in ALGORITHMS


def test_an_old_gpu_multiplies_16_bit_types_without_tensor_cores() -> None:
    assert choose("float16", 512, 512, 1, multiprocessors=1, tensor_cores=False) == "tile128"
