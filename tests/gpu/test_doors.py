"""What goes into an operation and comes out: kinds of arrays, layouts, outputs, and what is refused."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import gpu
from gaugeblock.gpu.runtime.device import DTYPES, DeviceArray, as_device_array, to_device

Array = NDArray[Any]
generator = np.random.default_rng(9)


def normal(*shape: int, dtype: str = "float32") -> Array:
    return generator.normal(size=shape).astype(DTYPES[dtype])


class Foreign:
    """An array of another library: nothing but the interface, and a stream of its own."""

    def __init__(self, array: Array, **changes: Any) -> None:
        self.memory = to_device(array)
        self.__cuda_array_interface__ = {**self.memory.__cuda_array_interface__, "stream": 7, **changes}


# Each takes an array in some layout and returns the call's result for it.
CALLS: dict[str, Callable[..., Any]] = {
    "gemm": lambda x, **rest: gpu.gemm(x, x, transpose_b=True, **rest),
    "silu": gpu.silu,
    "silu_backward": lambda x, **rest: gpu.silu_backward(x, x, **rest),
    "softmax": lambda x, **rest: gpu.softmax(x, axis=0, **rest),
    "log_softmax_backward": lambda x, **rest: gpu.log_softmax_backward(x, x, **rest),
    "maxout": gpu.maxout,
}


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return CALLS[request.param]


# Kinds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_in_numpy_out_of_the_same_type(call: Callable[..., Any], dtype: str) -> None:
    result = call(normal(6, 6, dtype=dtype))
    assert type(result) is np.ndarray
    assert result.dtype == DTYPES[dtype]


def test_device_in_device_out_with_the_same_bits(call: Callable[..., Any]) -> None:
    x = normal(6, 6)
    result = call(to_device(x))
    assert isinstance(result, DeviceArray)
    assert result.get().tobytes() == call(x).tobytes()


def test_any_object_with_the_interface_is_taken(call: Callable[..., Any]) -> None:
    x = normal(6, 6)
    assert call(Foreign(x)).get().tobytes() == call(x).tobytes()


def test_a_gpuarray_in_a_gpuarray_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class GPUArray:
        def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
            self.memory = DeviceArray(shape, dtype)
            self.shape, self.dtype, self.strides = self.memory.shape, self.memory.dtype, self.memory.strides
            self.gpudata = self.memory.pointer
            self.__cuda_array_interface__ = self.memory.__cuda_array_interface__

    monkeypatch.setitem(__import__("sys").modules, "pycuda.gpuarray", SimpleNamespace(GPUArray=GPUArray))
    x = GPUArray((3,), np.float32)
    gpu.relu(to_device(np.array([-1, 0, 2], np.float32)), out=x.memory)
    result = gpu.relu(x)
    assert isinstance(result, GPUArray)
    assert np.array_equal(as_device_array(result).get(), [0, 0, 2])


def test_host_and_device_do_not_mix() -> None:
    x = normal(3)
    with pytest.raises(TypeError, match="GEN-C1: dy is on the device, x is in host memory"):
        gpu.relu_backward(to_device(x), x)
    with pytest.raises(TypeError, match="GEN-C2: x is NumPy, out is on the device"):
        gpu.relu(x, out=to_device(x))


@pytest.mark.spec("GEN-C1")
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0, 2.0], "ACT-C1: x must be a NumPy array, or an array on the device .*, got list"),
        (1.0, "got float"),
        (None, "ACT-C1: x must be an array, got None"),
        (np.float32(1), "got float32"),
        (np.zeros(2), "ACT-C1: x has dtype float64, expected one of float32, float16, bfloat16"),
        (np.zeros(2, np.int32), "dtype int32"),
        (np.zeros(2, ">f4"), "dtype >f4"),
        (np.zeros(2, object), "dtype object"),
    ],
)
def test_what_is_no_supported_array_is_refused(x: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        gpu.tanh(x)


# Arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clause", "error", "run"),
    [
        ("GEMM-C1: b must", ValueError, lambda x: gpu.gemm(x, x[0])),
        ("GEMM-C2: a has 3 columns, b has 2 rows", ValueError, lambda x: gpu.gemm(x, x)),
        ("GEMM-C3", ValueError, lambda x: gpu.gemm(normal(2, 2, 3), normal(3, 3, 2))),
        ("GEMM-C4", ValueError, lambda x: gpu.gemm(x, x.T, normal(3, 3), beta=1.0)),
        ("GEMM-C4: beta is 1.0", ValueError, lambda x: gpu.gemm(x, x.T, beta=1.0)),
        ("GEMM-C5", TypeError, lambda x: gpu.gemm(x, x.T.astype(np.float16))),
        ("GEMM-C5: a must be an array, got None", TypeError, lambda x: gpu.gemm(None, x)),
        ("GEMM-C5: a must be a NumPy array", TypeError, lambda x: gpu.gemm(np.ma.asarray(x), x.T)),
        ("GEN-D9: alpha must be a real number", TypeError, lambda x: gpu.gemm(x, x.T, alpha=None)),
        ("ACT-C2: dy has shape", ValueError, lambda x: gpu.silu_backward(x[:1], x)),
        (
            "ACT-C2: dy has dtype float32, x has dtype float16",
            TypeError,
            lambda x: gpu.silu_backward(x, x.astype(np.float16)),
        ),
        ("ACT-C3: min_val is 2", ValueError, lambda x: gpu.hard_tanh(x, min_val=2, max_val=1)),
        ("ACT-C3: negative_slope", ValueError, lambda x: gpu.leaky_relu(x, negative_slope=np.nan)),
        ("ACT-C3: approximate", ValueError, lambda x: gpu.gelu(x, approximate="erf")),
        ("ACT-C4: axis is 2", ValueError, lambda x: gpu.softmax(x, axis=2)),
        ("ACT-C4", ValueError, lambda x: gpu.softmax(np.zeros((), np.float32))),
        ("ACT-C5: pieces is 2", ValueError, lambda x: gpu.maxout(x)),
        ("ACT-C2", ValueError, lambda x: gpu.maxout_backward(x, x, pieces=3)),
        ("algorithm is 'fast'", ValueError, lambda x: gpu.gemm(x, x.T, algorithm="fast")),
        ("algorithm is 'tile32'", ValueError, lambda x: gpu.relu(x, algorithm="tile32")),
        (
            "takes float16 and bfloat16, not float32",
            ValueError,
            lambda x: gpu.gemm(x, x.T, algorithm="tensor64"),
        ),
    ],
)
def test_a_bad_argument_is_refused_with_its_clause(
    clause: str, error: type[Exception], run: Callable[[Array], Any]
) -> None:
    with pytest.raises(error, match=f"^({clause})" if clause[0].isupper() else clause):
        run(normal(2, 3))


# Layouts -------------------------------------------------------------------------------------------------


def spread(x: Array, step: int) -> Array:
    wide = np.full((x.shape[0] * step, x.shape[1] * step), 3, x.dtype)
    wide[::step, ::step] = x
    return wide[::step, ::step]


def shifted(x: Array) -> Array:
    memory = np.zeros(x.size + 1, x.dtype)
    memory[1:] = x.reshape(-1)
    return memory[1:].reshape(x.shape)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "columns first": np.asfortranarray,
    "with gaps": lambda x: spread(x, 2),
    "with gaps too wide to copy": lambda x: spread(x, 60),
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "one element past a boundary": shifted,
}


@pytest.mark.spec("GEN-S2")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_layout_of_an_input_does_not_change_a_bit(
    call: Callable[..., Any], layout: str, dtype: str
) -> None:
    x = normal(24, 24, dtype=dtype)
    view = LAYOUTS[layout](x)
    assert np.array_equal(view, x)
    assert call(view).tobytes() == call(x).tobytes()


@pytest.mark.spec("GEN-S2")
def test_a_broadcast_input_is_read_where_it_lies() -> None:
    row = normal(1, 24)
    for call in CALLS.values():
        assert call(np.broadcast_to(row, (24, 24))).tobytes() == call(np.repeat(row, 24, 0)).tobytes()


@pytest.mark.spec("GEN-S2")
def test_an_array_that_starts_between_elements_is_copied_first() -> None:
    x = normal(10)
    memory = np.frombuffer(b"\0" + x.tobytes(), np.uint8)
    odd = np.ndarray((10,), np.float32, memory, 1)
    assert gpu.silu(odd).tobytes() == gpu.silu(x).tobytes()


@pytest.mark.parametrize("name", ["silu", "softmax", "maxout"])
def test_more_axes_than_a_kernel_has_room_for_are_taken_in_pieces(name: str) -> None:
    shape = (2,) * 11
    x = normal(*(2 * length for length in (2, 2)), 2**9).reshape(4, 4, *(2,) * 9)[::2, ::2]
    assert x.shape == shape
    every_other = np.asfortranarray(np.repeat(x, 2, axis=-1))[..., ::2]
    assert getattr(gpu, name)(every_other).tobytes() == getattr(gpu, name)(np.ascontiguousarray(x)).tobytes()


def test_more_batch_axes_than_a_kernel_has_room_for_are_taken_in_pieces() -> None:
    a = normal(*(4,) * 6, 3, 2)[::2, ::3, ::2, ::3, ::2, ::3]
    b = normal(*(1, 2) * 3, 2, 3)
    expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert np.allclose(gpu.gemm(a, b), expected, atol=1e-5)


# Outputs -------------------------------------------------------------------------------------------------


@pytest.mark.spec("GEN-S3")
@pytest.mark.parametrize("place", ["host", "device"])
def test_out_is_filled_returned_and_nothing_around_it_changes(call: Callable[..., Any], place: str) -> None:
    x = normal(8, 8)
    want = call(x)
    rows, columns = want.shape
    memory = np.full((2 * rows + 1, 3 * columns + 1), np.nan, np.float32)
    within = (slice(1, None, 2), slice(None, 0, -3))
    if place == "host":
        out = memory[within]
        assert call(x, out=out) is out
    else:
        on_device = to_device(memory)
        out = on_device[within]
        assert call(to_device(x), out=out) is out
        memory = on_device.get()
    assert memory[within].tobytes() == want.tobytes()
    memory[within] = np.nan
    assert np.isnan(memory).all()


@pytest.mark.spec("GEN-S6")
@pytest.mark.parametrize("kind", [np.array, to_device], ids=["host", "device"])
@pytest.mark.parametrize("view", [slice(None), slice(None, None, -2)], ids=["packed", "strided"])
def test_out_may_be_an_input_of_the_same_shape(kind: Callable[[Array], Any], view: slice) -> None:
    x, dy, c = normal(12, 12), normal(12, 12), normal(12, 12)[:, view]

    def host(array: Any) -> Array:
        return array if isinstance(array, np.ndarray) else array.get()

    def inputs() -> tuple[Any, Any]:
        return kind(dy)[:, view], kind(x)[:, view]

    for name in ("relu", "softmax"):
        want = host(getattr(gpu, name)(inputs()[1]))
        argument = inputs()[1]
        assert getattr(gpu, name)(argument, out=argument) is argument
        assert host(argument).tobytes() == want.tobytes()
        for which in (0, 1):
            want = host(getattr(gpu, f"{name}_backward")(*inputs()))
            pair = inputs()
            getattr(gpu, f"{name}_backward")(*pair, out=pair[which])
            assert host(pair[which]).tobytes() == want.tobytes()
    want = host(gpu.gemm(kind(x), kind(x)[:, view], kind(c), beta=0.5))
    addend = kind(c)
    gpu.gemm(kind(x), kind(x)[:, view], addend, beta=0.5, out=addend)
    assert host(addend).tobytes() == want.tobytes()


@pytest.mark.spec("GEN-C2")
@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((2, 4), np.float32), r"GEN-C2: out has shape \(2, 4\), the result has shape \(2, 3\)"),
        (np.zeros((2, 3), np.float16), "GEN-C2: out has dtype float16, the result has dtype float32"),
        (np.broadcast_to(np.float32(0), (2, 3)), "GEN-C2: out is read-only"),
        ([[0.0] * 3] * 2, "GEN-C2: out must be a NumPy array"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(out: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        gpu.relu(normal(2, 3), out=out)


def test_a_read_only_out_on_the_device_is_refused() -> None:
    x = to_device(normal(3))
    out = Foreign(normal(3))
    out.__cuda_array_interface__ |= {"data": (out.memory.pointer, True)}
    with pytest.raises(ValueError, match="GEN-C2: out is read-only"):
        gpu.relu(x, out=out)


@pytest.mark.spec("GEN-C3")
def test_an_out_that_overlaps_an_input_or_itself_is_refused() -> None:
    memory = normal(12)
    for kind in (np.array, to_device):
        whole = kind(memory)
        with pytest.raises(ValueError, match="GEN-C3: out shares memory with x, and is not x itself"):
            gpu.relu(whole[:6], out=whole[1:7])
        with pytest.raises(ValueError, match="GEN-C3: out shares memory with x"):
            gpu.relu(whole[:6], out=whole[5::-1])
        assert np.array_equal(whole[::2].shape, gpu.relu(whole[::2], out=whole[1::2]).shape)
    matrix = normal(4, 4)
    with pytest.raises(ValueError, match="GEN-C3: out shares memory with a"):
        gpu.gemm(matrix, matrix, out=matrix)
    repeated = np.ndarray((6,), np.float32, memory, strides=(0,))
    with pytest.raises(ValueError, match="GEN-C3: out shares memory with itself"):
        gpu.relu(normal(6), out=repeated)


@pytest.mark.spec("GEN-S4")
def test_inputs_stay_as_they_are(call: Callable[..., Any]) -> None:
    x = normal(6, 6)
    before = x.copy()
    call(x)
    x.flags.writeable = False
    call(x)
    assert np.array_equal(x, before)


@pytest.mark.spec("ACT-X1")
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    assert gpu.silu(x).shape == shape
    assert gpu.softmax(x, axis=0).shape == shape
    assert gpu.silu(to_device(x)).get().shape == shape
    out = np.zeros(shape, np.float32)
    assert gpu.silu(x, out=out) is out


def test_a_number_without_axes_is_an_array() -> None:
    x = np.array(2.0, np.float32)
    assert gpu.relu(x).shape == ()
    assert gpu.relu(to_device(x)).get() == 2
