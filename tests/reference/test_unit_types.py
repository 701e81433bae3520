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


@pytest.mark.spec("UNIT-S6")
def test_maxout_takes_the_largest_sum_or_the_largest_transformed_one() -> None:
    z = np.array([[Fraction(-3), Fraction(2), Fraction(1), Fraction(-1)]])
    size = Maxout(2, Activation("leaky_relu", {"negative_slope": -1.0}))  # |z|
    assert Maxout(2).forward(z).tolist() == [[2, 1]]
    assert size.forward(z).tolist() == [[3, 1]]
    dy = np.array([[Fraction(5), Fraction(7)]])
    assert Maxout(2).backward(dy, z).tolist() == [[0, 5, 7, 0]]
    assert size.backward(dy, z).tolist() == [[-5, 0, 7, 0]]  # of equal ones the first


@pytest.mark.spec("UNIT-S6")
def test_the_gradient_of_transformed_maxout_is_that_of_differences() -> None:
    unit, z = Maxout(3, Activation("silu")), np.random.default_rng(1).normal(size=(2, 6))
    dy = np.random.default_rng(2).normal(size=(2, 2))
    for place in np.ndindex(2, 6):
        step = np.zeros_like(z)
        step[place] = 1e-6
        want = np.sum(dy * (unit.forward(z + step) - unit.forward(z - step))) / 2e-6
        assert unit.backward(dy, z)[place] == pytest.approx(want, abs=1e-8)


@pytest.mark.spec("UNIT-I4")
@pytest.mark.parametrize(
    "name", ["relu", "relu6", "hard_tanh", "leaky_relu", "hard_sigmoid", "tanh", "softplus"]
)
def test_a_transform_that_rises_may_stand_inside_or_behind(name: str) -> None:
    z, f = np.random.default_rng(3).normal(size=(50, 8)) * 4, Activation(name)
    inside, behind = Maxout(4, f).forward(z), f.forward(Maxout(4).forward(z))
    linear = name not in ("tanh", "softplus")
    assert np.array_equal(inside, behind) if linear else np.allclose(inside, behind, rtol=1e-15, atol=0)


@pytest.mark.spec("UNIT-I4")
@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_a_transform_that_falls_somewhere_makes_another_unit(name: str) -> None:
    z = np.array([[-4.0, -0.5]])
    assert Maxout(2, Activation(name)).forward(z)[0, 0] > Activation(name).forward(Maxout(2).forward(z))[0, 0]


@pytest.mark.spec("UNIT-C7")
@pytest.mark.parametrize("transform", [Maxout(2), Threshold(), Activation("softmax"), "relu"])
def test_pieces_are_transformed_by_an_activation_of_single_numbers(transform: object) -> None:
    with pytest.raises(ValueError, match=r"^UNIT-C7: transform must be an activation of single numbers"):
        Maxout(2, transform)  # type: ignore[arg-type]


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
