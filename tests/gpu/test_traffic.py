"""What the kernels move, counted on the simulated device: the least a kernel can, by the widest accesses."""

from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.gpu.gemm import multiply
from gaugeblock.gpu.runtime import device as devices
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, to_device

if not devices.device().simulated:
    pytest.skip("counts and faults are the simulated device's", allow_module_level=True)

from gaugeblock.gpu.simulator import Counters, Fault, counting, settings

generator = np.random.default_rng(3)


def normal(dtype: str, *shape: int) -> DeviceArray:
    return to_device(generator.normal(size=shape).astype(DTYPES[dtype]))


def vectors(counters: Counters, kind: str) -> int:
    """Bytes that 16-byte instructions of a kind moved, after asserting that no other instruction did."""
    used = {name: count for name, count in counters.instructions.items() if name.startswith(kind)}
    assert all(".v4." in name for name in used), used
    return 16 * sum(used.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "tanh_backward", "gelu_backward"])
def test_an_activation_reads_and_writes_every_sector_once(name: str, dtype: str) -> None:
    x = normal(dtype, 1 << 14)
    arrays = [x] * (2 if name.endswith("backward") else 1)
    with counting() as counters:
        getattr(gpu, name)(*arrays)
    assert counters.loads["global"].moved == len(arrays) * x.nbytes
    assert counters.stores["global"].moved == x.nbytes
    assert vectors(counters, "st.global") == x.nbytes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [32, 256, 1024, 4096, 8192, 16384])
def test_softmax_reads_and_writes_every_row_once(dtype: str, n: int) -> None:
    x = normal(dtype, 4, n)
    with counting() as counters:
        gpu.softmax(x)
    assert vectors(counters, "ld.global") == vectors(counters, "st.global") == x.nbytes
    assert counters.stores["global"].moved == x.nbytes


def test_softmax_of_a_row_that_does_not_fit_reads_it_twice() -> None:
    x = normal("float32", 2, 1 << 15)
    with counting() as counters:
        gpu.softmax(x)
    assert vectors(counters, "ld.global") == 2 * x.nbytes
    assert vectors(counters, "st.global") == x.nbytes


@pytest.mark.parametrize(
    ("dtype", "algorithm", "side"), [("float32", "tile128", 128), ("bfloat16", "tensor128", 128)]
)
@pytest.mark.parametrize("transpose", [False, True])
def test_gemm_reads_a_tile_s_operands_once(dtype: str, algorithm: str, side: int, transpose: bool) -> None:
    n = 256
    a, b = normal(dtype, n, n), normal(dtype, n, n)
    with counting() as counters:
        gpu.gemm(a, b, transpose_a=transpose, algorithm=algorithm)
    least = 2 * a.nbytes * n // side
    assert least <= counters.loads["global"].moved <= 1.05 * least
    assert counters.stores["global"].moved == a.nbytes
    assert "local" not in counters.loads
    assert counters.loads["shared"].conflicts == 0


def channels_last(dtype: str, *shape: int) -> DeviceArray:
    return normal(dtype, shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2)


def test_a_convolution_on_tensor_cores_copies_channels_by_16_bytes() -> None:
    x, w = channels_last("bfloat16", 1, 64, 16, 16), channels_last("bfloat16", 64, 64, 3, 3)
    with counting() as counters:
        y = gpu.conv(x, w, padding=1, algorithm="tensor64")
    used = counters.instructions
    assert not [name for name in used if name.startswith("ld.global")]
    tiles, steps = 16 * 16 // 64, 64 * 9 // 32
    assert used["cp.async.cg.shared.global"] == tiles * steps * 2 * 64 * 32 // 8
    assert counters.loads["global"].moved <= counters.loads["global"].asked
    assert counters.stores["global"].moved == y.nbytes
    assert counters.loads["shared"].conflicts == 0


def test_transforms_spread_their_points_over_the_banks() -> None:
    x, w = normal("float32", 2, 2, 100, 100), normal("float32", 2, 2, 21, 21)
    with counting() as counters:
        gpu.conv(x, w, algorithm="fft")
    loads, stores = counters.loads["shared"], counters.stores["shared"]
    assert stores.conflicts == 0
    assert loads.conflicts <= 0.05 * loads.wavefronts  # where a row's spectrum meets its mirror image


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gates_of_a_step_read_and_write_everything_once_by_vectors(dtype: str) -> None:
    T, N, H = 1, 20, 128
    arrays = [normal(dtype, *shape) for shape in ((T, N, 1), (N, H), (N, H), (4, H, 1), (4, H, H), (4, H))]
    with counting() as whole:
        gpu.lstm_unit(*arrays, algorithm="gemm")
    with counting() as sums:
        z = DeviceArray((N, 4 * H), DTYPES["float32"])
        multiply(arrays[0][0], DeviceArray((4 * H, 1), arrays[3].dtype, pointer=arrays[3].pointer).T, z)
        multiply(
            arrays[1], DeviceArray((4 * H, H), arrays[4].dtype, pointer=arrays[4].pointer).T, z, add=True
        )
    itemsize, units = arrays[0].dtype.itemsize, N * H
    read = whole.loads["global"].moved - sums.loads["global"].moved
    written = whole.stores["global"].moved - sums.stores["global"].moved
    biases = 4 * units * itemsize  # each example's threads read them again, from the cache
    assert read == 4 * 4 * units + units * itemsize + biases
    assert written == 2 * units * itemsize + (4 * units if itemsize == 2 else 0)


@pytest.mark.parametrize("order", ["warps", "lanes"])
@pytest.mark.parametrize(("dtype", "algorithm"), [("float32", "fft"), ("bfloat16", "tensor32")])
def test_no_order_of_the_threads_changes_a_convolution(dtype: str, algorithm: str, order: Any) -> None:
    x, w = normal(dtype, 1, 3, 9, 20), normal(dtype, 4, 3, 3, 5)
    want = gpu.conv(x, w, algorithm=algorithm).get()
    with settings(order=order, seed=2):
        got = gpu.conv(x, w, algorithm=algorithm).get()
    assert got.tobytes() == want.tobytes()


def test_a_read_beyond_an_array_is_a_fault_that_names_the_line_of_the_kernel() -> None:
    x = normal("float32", 64)
    longer = DeviceArray((200,), x.dtype, pointer=x.pointer, owner=x)
    with pytest.raises(Fault, match=r"elementwise\.cu:\d+|element\.cuh:\d+"):
        gpu.relu(longer)


def test_an_input_that_was_never_written_is_a_fault() -> None:
    unwritten: Any = DeviceArray((64,), np.dtype(np.float32))
    with pytest.raises(Fault, match=r"(activation\.cu|element\.cuh):"):
        gpu.relu(unwritten)
