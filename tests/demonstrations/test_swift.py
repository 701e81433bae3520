"""The swift operations compute what the reference computes, to a few places less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock import reference
from gaugeblock.reference.layer import Recurrent
from gaugeblock.reference.unit import LSTM, Activation
from gaugeblock.spec.demonstrations import swift

FEW = 1e-13
"""Some hundred units in the last place of 1: sums of ten and steps of ten, of numbers of this size."""


def close(got: np.ndarray, want: np.ndarray) -> bool:
    return bool(np.all(abs(got - want) <= FEW * (1 + abs(want))))


def test_every_swift_operation_is_one_of_the_reference() -> None:
    assert set(swift.__all__) <= set(reference.__all__)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "log_softmax"])
@given(st.integers(0, 2**32 - 1))
def test_activations_and_their_gradients_are_those_of_the_reference(name: str, seed: int) -> None:
    dy, x = np.random.default_rng(seed).normal(size=(2, 3, 4)) * 4
    assert close(getattr(swift, name)(x), getattr(reference, name)(x))
    backward = f"{name}_backward"
    assert close(getattr(swift, backward)(dy, x), getattr(reference, backward)(dy, x))


@pytest.mark.parametrize("transpose", [(False, False), (True, False), (False, True)])
def test_gemm_is_that_of_the_reference(transpose: tuple[bool, bool]) -> None:
    draw = np.random.default_rng(1)
    a, b, c = draw.normal(size=(3, 4)), draw.normal(size=(4, 5)), draw.normal(size=5)
    a, b = (array.T if turned else array for array, turned in zip((a, b), transpose, strict=True))
    options = dict(zip(("transpose_a", "transpose_b"), transpose, strict=True))
    assert close(swift.gemm(a, b, **options), reference.gemm(a, b, **options))
    assert close(swift.gemm(a, b, c, beta=1.0, **options), reference.gemm(a, b, c, beta=1.0, **options))


@pytest.mark.parametrize("unit", [LSTM(), Activation("tanh")], ids=["lstm", "tanh"])
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3), st.integers(1, 4))
def test_recurrent_layers_go_forward_and_back_as_on_the_reference(
    unit: LSTM | Activation, seed: int, T: int, N: int, K: int
) -> None:
    draw = np.random.default_rng(seed)
    layer = Recurrent.initial(2, K, unit, draw)
    x, dy = draw.normal(size=(N, T, 2)), draw.normal(size=(N, T, K))
    want, got = layer.forward(x), layer.forward(x, on=swift)
    assert close(got.y, want.y)
    (dx, gradients), (dx_got, gradients_got) = layer.backward(dy, want), layer.backward(dy, got, on=swift)
    assert close(dx_got, dx)
    assert all(close(gradients_got[name], gradient) for name, gradient in gradients.items())


def test_states_handed_over_and_gradients_of_cells_are_those_of_the_reference() -> None:
    draw = np.random.default_rng(2)
    x, h, c = (draw.normal(size=shape) for shape in ((6, 2, 3), (2, 4), (2, 4)))
    w, u, bias = (draw.normal(size=shape) for shape in ((4, 4, 3), (4, 4, 4), (4, 4)))
    dy = draw.normal(size=(2, 6, 2, 4))
    assert close(swift.lstm_unit(x, h, c, w, u, bias), reference.lstm_unit(x, h, c, w, u, bias))
    want = reference.lstm_unit_backward(dy, x, h, c, w, u, bias)
    assert close(swift.lstm_unit_backward(dy, x, h, c, w, u, bias), want)
