"""What is shown about artificial neurons is true."""

import math

import pytest

from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations import neuron


@pytest.mark.spec("NEURON-S1")
def test_a_layer_computed_neuron_by_neuron_is_the_layer() -> None:
    assert neuron.equal_neurons() == 15 * 5


@pytest.mark.spec("NEURON-A1")
def test_a_perceptron_settles_where_a_line_separates_within_its_margin() -> None:
    separable, _ = neuron.lessons()
    assert separable.mistakes[-1] == 0
    assert 0 < sum(separable.mistakes) <= separable.allowed < math.inf


@pytest.mark.spec("NEURON-I1")
def test_a_perceptron_never_settles_where_no_line_separates() -> None:
    _, mixed = neuron.lessons()
    assert min(mixed.mistakes) > 0
    assert mixed.allowed == math.inf


@pytest.mark.spec("NEURON-I2")
def test_one_unit_tells_one_of_two_if_its_activation_falls_and_rises() -> None:
    assert neuron.told_by_one(Activation("leaky_relu", {"negative_slope": -1.0})) == 4
    assert [neuron.told_by_one(Activation(name)) for name in ("relu", "sigmoid", "tanh")] == [3, 3, 3]
