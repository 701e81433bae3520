"""One call for a test of one's own: what it finds, what it says, and which arrays it takes."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import conformance, reference
from gaugeblock.conformance import Mismatch, bound, check, checking, pieces
from gaugeblock.conformance.pieces import Call
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, round_to
from gaugeblock.spec.operations import OPERATIONS

Floats = NDArray[Any]

RNG = np.random.default_rng(0)
TF32 = {"multiplier": "tf32"}


def normal(*shape: int, dtype: Any = np.float32) -> Floats:
    return np.asarray(RNG.standard_normal(shape)).astype(dtype)


def right(name: str, dtype: Any, *arrays: Floats, **parameters: Any) -> Floats:
    """Return a right result."""
    want = np.asarray(getattr(reference, name)(*arrays, **parameters))
    return want if want.dtype == np.int64 else round_to(want, FORMATS[np.dtype(dtype).name])


def tf32(array: Floats) -> Floats:
    return ((array.view(np.uint32) + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def cut(array: Floats) -> Floats:
    return (array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def summed(a: Floats, b: Floats, start: Floats | float = 0.0) -> Floats:
    """Multiply matrices in float32, adding up in order."""
    total = np.full((a.shape[0], b.shape[1]), start, np.float32)
    for k in range(a.shape[1]):
        total = total + a[:, k : k + 1] * b[k : k + 1]
    return total


CALLS: Mapping[str, tuple[tuple[tuple[int, ...], ...], dict[str, Any]]] = {
    "gemm": (((2, 3, 4, 5), (3, 5, 6), (6,)), {"alpha": 2.0, "beta": 0.5}),
    "relu_backward": (((4, 5), (4, 5)), {}),
    "gelu": (((30,),), {"approximate": "tanh"}),
    "softmax": (((3, 4, 5),), {"axis": 1}),
    "maxout": (((3, 4, 5),), {"axis": 1}),
    "conv": (((2, 4, 7, 6), (4, 2, 3, 3), (4,)), {"groups": 2, "stride": 2, "padding": 1}),
    "conv_fused": (((2, 2, 7), (4, 2, 3), (4,), (2, 4, 5)), {"activation": "silu"}),
    "conv_backward_input": (((2, 4, 5, 4), (4, 2, 3, 3)), {"input_shape": (2, 2, 7, 6)}),
    "conv_backward_weight": (((2, 4, 5, 4), (2, 2, 7, 6)), {"kernel_shape": (4, 2, 3, 3)}),
    "conv_backward_bias": (((2, 4, 5),), {}),
    "max_pool_indices": (((2, 3, 6, 6),), {"kernel": 2}),
    "avg_pool_backward": (((2, 3, 3, 3),), {"input_shape": (2, 3, 6, 6), "kernel": 2}),
}
"""Shapes and parameters of calls of every kind."""


def example(name: str, dtype: Any = np.float32) -> tuple[Floats, list[Floats], dict[str, Any]]:
    shapes, parameters = CALLS[name]
    arrays = [normal(*shape, dtype=dtype) for shape in shapes]
    return right(name, dtype, *arrays, **parameters), arrays, parameters


# What is found ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", CALLS)
def test_a_right_result_is_found_right_and_a_wrong_one_at_its_place(name: str, dtype: Any) -> None:
    result, arrays, parameters = example(name, dtype)
    assert check(name, result, *arrays, **parameters).compared == result.size
    place = tuple(int(RNG.integers(size)) for size in result.shape)
    result[place] += 40
    with pytest.raises(Mismatch) as found:
        check(name, result, *arrays, **parameters)
    assert found.value.element == place
    assert found.value.got == float(result[place])
    assert f"result[{', '.join(map(str, place))}]" in str(found.value)


@pytest.mark.parametrize("name", CALLS)
def test_a_result_in_pieces_is_judged_as_a_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result, arrays, parameters = example(name)
    record = OPERATIONS[name]
    call = Call(record, "float32", dict(zip(record.arrays, arrays, strict=False)), parameters, Arithmetic())
    monkeypatch.setattr(pieces, "ELEMENTS", 3)
    seen = np.zeros(result.shape, int)
    want = call.want()
    for piece in pieces.pieces(call):
        seen[piece.where] += 1
        np.testing.assert_allclose(piece.call.want(), want[piece.where], rtol=1e-12, atol=1e-12)
    assert np.all(seen == 1)
    assert check(name, result, *arrays, **parameters).compared == result.size


@pytest.mark.parametrize("flags", [{}, {"transpose_a": True}, {"transpose_b": True}])
def test_one_wrong_element_of_a_large_product_is_found(flags: dict[str, bool]) -> None:
    a, b = normal(600, 300), normal(300, 900)
    result = a @ b
    arrays = [array.T if flags.get(f"transpose_{n}") else array for n, array in (("a", a), ("b", b))]
    assert check("gemm", result, *arrays, **flags).compared == result.size
    place = (int(RNG.integers(600)), int(RNG.integers(900)))
    limit = bound("gemm", a[place[0] : place[0] + 1], b[:, place[1] : place[1] + 1])
    result[place] = limit.want[0, 0] + 1.01 * limit.bound[0, 0]
    with pytest.raises(Mismatch, match="1 of 540000") as found:
        check("gemm", result, *arrays, **flags)
    assert found.value.element == place
    assert found.value.bound == pytest.approx(limit.bound[0, 0])
    assert sum(found.value.terms.values()) == pytest.approx(found.value.bound)


@pytest.mark.parametrize("narrow", [(tf32, tf32), (cut, cut), (tf32, np.asarray)])
@pytest.mark.parametrize("draw", [normal, lambda *shape: RNG.random(shape).astype(np.float32)])
def test_narrow_operands_show_in_sums_whose_bound_hides_them(
    narrow: tuple[Callable[[Floats], Floats], ...], draw: Callable[..., Floats]
) -> None:
    a, b = draw(64, 2048), draw(2048, 64)
    result = narrow[0](a) @ narrow[1](b)
    with pytest.raises(Mismatch, match="operands in tf32, which is not declared"):
        check("gemm", result, a, b)
    assert not check("gemm", result, a, b, arithmetic=TF32).samples


def test_narrow_operands_show_in_convolutions() -> None:
    x, w, bias = normal(1, 256, 8, 8), normal(16, 256, 3, 3), normal(16)
    plain = {"activation": "none"}
    with pytest.raises(Mismatch, match="operands in tf32"):
        check("conv", right("conv", "float32", tf32(x), tf32(w), bias), x, w, bias)
    assert check("conv", right("conv", "float32", x, w, bias), x, w, bias).samples == 16 * 36
    assert check("conv_fused", right("conv", "float32", x, w, bias), x, w, bias, **plain).samples


ROW, ONES = np.broadcast_to(1 + RNG.random((32, 1)), (32, 2048)), np.ones((2048, 32))
LIKE_NARROW: Mapping[str, tuple[Floats, Floats, float]] = {
    "equal numbers in a row": (ROW, ONES, 0.0),
    "equal numbers in a row, a large addend": (ROW, ONES, 8192.0),
    "numbers beside one": (1 + 1e-4 * RNG.random((32, 2048)), ONES, 8192.0),
    "numbers of one binade, a large addend": (1 + RNG.random((32, 2048)), ONES, 8192.0),
    "few numbers": (RNG.choice([0.1, 0.2, 0.7], (32, 2048)), 0.3 * ONES, 0.0),
    "an addend beside which all is lost": (RNG.random((32, 2048)), ONES, 2.0**24),
}
"""Data on which an honest sum in order loses what narrower operands lose."""


@pytest.mark.parametrize("name", LIKE_NARROW)
def test_honest_sums_are_not_taken_for_those_of_narrow_operands(name: str) -> None:
    left, right_, start = LIKE_NARROW[name]
    a, b, c = left.astype(np.float32), right_.astype(np.float32), np.float32([start])
    check("gemm", summed(a, b, start), a, b, c, beta=1.0)
    check("gemm", a @ b + c, a, b, c, beta=1.0)


def test_sums_of_small_integers_must_be_exact() -> None:
    a, b = RNG.integers(-9, 9, (2, 40, 40)).astype(np.float32)
    result = a @ b
    assert check("gemm", result, a, b).exact
    result[3, 4] += 1 / 1024
    with pytest.raises(Mismatch, match="GEMM-A2"):
        check("gemm", result, a, b)
    assert not check("gemm", a @ (9000 * b), a, 9000 * b).exact
    assert not check("gemm", a @ b * 3, a, b, alpha=3.0).exact


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_must_be_wanted(value: float) -> None:
    x = np.float32([1, value])
    check("tanh", right("tanh", "float32", x), x)
    check("relu", right("relu", "float32", x), x)
    with pytest.raises(Mismatch, match="ACT-X2") as found:
        check("relu", np.float32([value, max(value, 0)]), x)
    assert found.value.element == (0,)
    a, b = np.float32([[value, -value]]), np.float32([[1], [0.1]])
    check("gemm", right("gemm", "float32", a, b), a, b)
    assert bound("gemm", a, b).bound.shape == (1, 1)


def test_the_sign_of_zero_counts_where_the_function_keeps_it() -> None:
    zero = np.float32([0.0])
    check("tanh", -zero, -zero)
    check("relu", zero, -zero)
    with pytest.raises(Mismatch, match="want -0"):
        check("tanh", zero, -zero)


def test_a_function_of_a_16_bit_format_is_looked_up_by_its_numbers() -> None:
    x = np.repeat(normal(70, dtype=np.float16), 1000).reshape(700, 100)
    result = right("gelu", "float16", x)
    assert check("gelu", result, x).compared == x.size
    result[77, 7] *= np.float16(1.01)
    with pytest.raises(Mismatch) as found:
        check("gelu", result, x)
    assert found.value.element == (77, 7)


def test_of_a_very_large_product_parts_are_looked_at_and_it_is_said_how_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = normal(64, 32), normal(32, 16)
    monkeypatch.setattr(pieces, "ELEMENTS", 16)
    monkeypatch.setattr(checking, "LIMIT", 8 * 16 * 32)
    done = check("gemm", a @ b, a, b)
    assert done.compared == 8 * 16
    assert "128 of 1024 elements" in str(done)
    for place in ((0, 0), (-1, -1)):
        wrong = a @ b
        wrong[place] += 1
        with pytest.raises(Mismatch, match="1 of 128 elements"):
            check("gemm", wrong, a, b)


# What is declared ------------------------------------------------------------------------------------------


def test_declared_arithmetic_and_departures_select_the_bound() -> None:
    x = np.float32([-1.0, np.nan])
    for names in (("ignore_nan",), "ignore_nan"):
        check("relu", np.float32([0, 0]), x, departures=names)
    a = b = normal(64, 64, dtype=np.float16)
    narrow = np.zeros((64, 64), np.float16)
    for k in range(64):
        narrow = narrow + a[:, k : k + 1] * b[k : k + 1]
    check("gemm", narrow, a, b, arithmetic=Arithmetic(accumulator="float16"))
    with pytest.raises(Mismatch):
        check("gemm", narrow, a, b)


def test_arrays_that_may_be_left_out_are_given_by_place_or_by_name() -> None:
    result, (x, w, bias), parameters = example("conv")
    check("conv", result, x, w, bias=bias, **parameters)
    check("conv", right("conv", "float32", x, w, **parameters), x, w, None, **parameters)
    with pytest.raises(Mismatch):
        check("conv", result, x, w, **parameters)


# The numbers -----------------------------------------------------------------------------------------------


def test_bound_returns_the_exact_result_its_bound_and_the_terms() -> None:
    x = normal(3, 4)
    limit = bound("softmax", x, axis=-1, dtype="float16")
    np.testing.assert_array_equal(limit.want, reference.softmax(x))
    np.testing.assert_allclose(sum(limit.terms.values()), limit.bound)
    assert np.all(np.abs(right("softmax", "float16", x) - limit.want) <= limit)
    assert np.all(limit.bound > bound("softmax", x).bound)
    for name in (np.float16, "fp16"):
        assert np.all(bound("softmax", x, dtype=name).bound == limit.bound)


# What it says ----------------------------------------------------------------------------------------------

X, Y = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32)
MISUSE: Mapping[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "operation": (("convolution", X, X), {}, "'convolution', expected"),
    "function": ((np.matmul, X, X, X), {}, "expected the name of one"),
    "too few": (("gemm", X, X), {}, "gemm(a, b, c, alpha, .* needs b"),
    "too many": (("relu", X, X, X), {}, "relu(x) has 1 arrays, got 2"),
    "twice": (("relu", X, X), {"x": X}, "got x by place and by name"),
    "parameter": (("gemm", X, X, Y), {"gamma": 1}, "has no 'gamma'"),
    "required": (("max_pool", X, X), {}, "needs kernel"),
    "value": (("gemm", X, X, Y), {"alpha": "1"}, "GEN-D9: alpha must be a real number, got '1'"),
    "inner": (("gemm", X, X, X), {}, "GEMM-C2: a has 3 columns, b has 2 rows"),
    "vector": (("gemm", X, X[0], Y), {}, "GEMM-C1"),
    "gradient": (("relu_backward", X, Y, X), {}, "ACT-C2: dy has shape .3, 3., the forward .* .2, 3."),
    "shape": (("relu", Y, X), {}, "result has shape .3, 3., relu gives .2, 3."),
    "list": (("relu", X, [1.0]), {}, "x is a list, expected an array"),
    "nothing": (("relu", None, X), {}, "result is None, expected an array"),
    "double": (("relu", X, X.astype(float)), {}, "x is float64, result is float32, expected one format"),
    "all double": (("relu", X.astype(float), X.astype(float)), {}, "GEN-C1: result is float64, expected one"),
    "flags": (("relu", X > 0, X > 0), {}, "GEN-C1: result is bool"),
    "mixed": (("gemm", X, X, Y.astype(np.float16)), {}, "b is float16, result is float32"),
    "indices": (("max_pool_indices", np.ones((1, 1, 1)), np.ones((1, 1, 2), "f")), {"kernel": 2}, "int64"),
    "field": (("relu", X, X), {"arithmetic": {"multiplyer": "tf32"}}, "GEN-C4: arithmetic has 'multiplyer'"),
    "text": (("relu", X, X), {"arithmetic": "tf32"}, "GEN-C4: arithmetic is 'tf32', expected a mapping"),
    "false": (("relu", X, X), {"arithmetic": 0}, "GEN-C4: arithmetic is 0, expected a mapping"),
    "algorithm": (("gemm", X, X, Y), {"arithmetic": {"algorithm": "fft"}}, "which convolutions have alone"),
    "departure": (("relu", X, X), {"departures": ("kink",)}, "GEN-C5"),
    "departures": (("relu", X, X), {"departures": "kink"}, "GEN-C5"),
    "mask": (("relu", X, np.ma.masked_array(X)), {}, "expected an array without a mask"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_refused_in_one_line_that_says_what_was_found(name: str) -> None:
    arguments, named, message = MISUSE[name]
    with pytest.raises(
        (ValueError, TypeError), match=message.replace("(", r"\(").replace(")", r"\)")
    ) as found:
        check(*arguments, **named)
    assert "\n" not in str(found.value)


def test_pytest_shows_the_line_of_the_test_and_none_of_ours() -> None:
    for result in (X - 1, X[0]):
        with pytest.raises((Mismatch, ValueError)) as found:
            check("relu", result, X)
        shown = [entry for entry in found.traceback if not entry.ishidden(found)]
        assert [entry.name for entry in shown] == [shown[0].name]


# Whose arrays ----------------------------------------------------------------------------------------------


class Tensor:
    """What PyTorch's tensors are like: on a device, in a graph, of formats that NumPy does not have."""

    def __init__(self, array: Floats, place: str = "cuda, graph") -> None:
        self.array, self.place = array, place
        self.dtype = f"torch.{array.dtype.name}"

    def detach(self) -> "Tensor":
        """Leave the graph."""
        return Tensor(self.array, self.place.replace("graph", ""))

    def cpu(self) -> "Tensor":
        """Leave the device."""
        return Tensor(self.array, self.place.replace("cuda, ", ""))

    def float(self) -> "Tensor":
        """Widen to a format that NumPy has."""
        return Tensor(self.array.astype(np.float32), self.place)

    def numpy(self) -> Floats:
        """Hand over, at last."""
        if self.place or self.dtype == "torch.bfloat16":
            raise TypeError("no")
        return self.array


class OnDevice:
    """What CuPy's arrays are like: they refuse to be converted unasked."""

    __cuda_array_interface__: Mapping[str, Any] = {}

    def __init__(self, array: Floats) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def get(self) -> Floats:
        """Copy from the device."""
        return self.array


class Capsule:
    """An array that has nothing but DLPack."""

    def __init__(self, array: Floats) -> None:
        self.array = array

    def __dlpack__(self, **how: Any) -> Any:
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Lazy:
    """An array that computes its elements when it is asked, if it can."""

    def __init__(self, array: Floats | None) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        if self.array is None:
            raise RuntimeError("not on this device\nand more")
        return self.array


@pytest.mark.parametrize("kind", [Tensor, OnDevice, Capsule, Lazy])
def test_arrays_of_any_library_are_taken(kind: Callable[[Floats], Any]) -> None:
    x = normal(3, 4)
    check("relu", kind(np.maximum(x, 0)), kind(x))
    with pytest.raises(Mismatch):
        check("relu", kind(x), kind(x))
    if kind is not Capsule:
        narrow = x.astype(ml_dtypes.bfloat16)
        assert check("relu", kind(np.maximum(narrow, 0)), kind(narrow)).dtype == "bfloat16"


def test_an_array_that_cannot_be_read_is_refused_with_its_librarys_reason() -> None:
    with pytest.raises(
        TypeError, match=r"^x is a Lazy, which cannot be read: RuntimeError: not on this device$"
    ):
        check("relu", X, Lazy(None))


def test_it_does_not_matter_how_an_array_lies_in_memory() -> None:
    x = normal(6, 8)
    y = np.maximum(x, 0)
    for view in (
        lambda a: a.T,
        lambda a: a[::-2, ::3],
        lambda a: a.astype(">f4"),
        lambda a: a[0, 0],
        lambda a: a[:0],
    ):
        assert check("relu", view(y), view(x)).elements == view(x).size


def test_neither_import_nor_call_needs_what_the_suite_needs() -> None:
    script = """
import sys
import numpy as np
from gaugeblock import conformance
x = np.eye(3, dtype=np.float32)
conformance.check("gemm", x, x, x)
conformance.check("gelu", conformance.bound("gelu", x).want.astype(np.float32), x)
heavy = ("hypothesis", "pytest", "matplotlib", "gaugeblock.gpu", "sklearn", "rich", "PIL")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", done.stdout


def test_the_names_are_those_of_the_package() -> None:
    assert conformance.check is checking.check
    assert math.isnan(Mismatch("without an element").bound)
