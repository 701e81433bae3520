"""The types of units keep apart what is a unit and what is none (page 7)."""

from fractions import Fraction

import numpy as np
import pytest

from gaugeblock import reference
from gaugeblock.reference.layer import AveragePooling, Convolutional, MaxPooling
from gaugeblock.reference.unit import LSTM, Activation, Feedforward, Maxout, Threshold, Unit

FORWARD = [
    name for name in reference.activation.__all__ if not name.endswith("_backward") and name != "maxout"
]


@pytest.mark.spec("UNIT-D1")
def test_pooling_and_convolution_are_no_units() -> None:
    for kind in (Activation, Maxout, Threshold, LSTM):
        assert issubclass(kind, Unit)
    for kind in (Convolutional, MaxPooling, AveragePooling):
        assert not issubclass(kind, Unit)
    assert not isinstance(reference.max_pool, Unit)


@pytest.mark.spec("UNIT-D4")
def test_units_say_how_many_sums_they_take_in_and_whether_they_remember() -> None:
    assert [unit.incoming for unit in (Activation("relu"), Maxout(3), Threshold(), LSTM())] == [1, 3, 1, 4]
    assert all(isinstance(unit, Feedforward) for unit in (Activation("relu"), Maxout(3), Threshold()))
    assert not isinstance(LSTM(), Feedforward)


@pytest.mark.spec("UNIT-D4")
@pytest.mark.parametrize("name", FORWARD)
def test_an_activation_is_its_function_along_the_axis_of_the_units(name: str) -> None:
    generator = np.random.default_rng(1)
    z, dy = generator.standard_normal((2, 3, 4)), generator.standard_normal((2, 3, 4))
    along = {"axis": 1} if name.endswith("softmax") else {}
    unit = Activation(name)
    assert np.array_equal(unit.forward(z, axis=1), getattr(reference, name)(z, **along))
    assert np.array_equal(
        unit.backward(dy, z, axis=1), getattr(reference, f"{name}_backward")(dy, z, **along)
    )


@pytest.mark.spec("UNIT-D4")
def test_a_maxout_unit_takes_neighbouring_sums() -> None:
    z = np.array([[[1.0], [5.0], [-2.0], [-3.0]]])
    assert Maxout(2).forward(z, axis=1).tolist() == [[[5.0], [-2.0]]]
    assert Maxout(2).backward(np.array([[[1.0], [2.0]]]), z, axis=1).ravel().tolist() == [0, 1, 2, 0]


@pytest.mark.spec("UNIT-C5")
@pytest.mark.parametrize("name", ["max_pool", "conv", "maxout", "relu_backward", ""])
def test_what_is_no_activation_function_is_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^UNIT-C5: '{name}' is no activation function, expected one of elu"
    ):
        Activation(name)


@pytest.mark.spec("UNIT-C6")
def test_a_threshold_refuses_what_are_no_numbers() -> None:
    with pytest.raises(TypeError, match=r"^UNIT-C6: z must be an array of floats, got an array of int64"):
        Threshold().forward(np.array([1]))
    with pytest.raises(TypeError, match=r"^UNIT-C6: dy has dtype float64, z has dtype object"):
        Threshold().backward(np.array([1.0]), np.array([Fraction(1)]))
