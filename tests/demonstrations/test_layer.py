"""What is shown about layers is true."""

import pytest

from gaugeblock.spec.demonstrations import layer


@pytest.mark.spec("LAYER-I1")
def test_a_convolution_is_a_fully_connected_layer_with_shared_weights() -> None:
    """Nine products of numbers up to 1 and ½ in either order of summation: 18 roundings of at most 2⁻⁵²."""
    shared = layer.sharing()
    assert (shared.weights, shared.connections, shared.matrix.size) == (9, 36 * 9, 64 * 36)
    assert shared.difference <= 18 * 2.0**-52


@pytest.mark.spec("LAYER-D3")
def test_pooling_learns_nothing_and_the_fully_connected_layers_most() -> None:
    stack = layer.stack()
    assert stack.roles == ("input", "hidden", "hidden", "output")
    assert stack.parameters == (8 * 9 + 8, 0, 72 * 32 + 32, 32 * 10 + 10)
    assert stack.values == (8 * 36, 8 * 9, 32, 10)


@pytest.mark.spec("LAYER-C1")
@pytest.mark.spec("LAYER-C2")
def test_mixed_units_and_pooling_in_the_place_of_a_unit_are_refused() -> None:
    mixed, pooling = layer.refusals()
    assert mixed.startswith("LAYER-C1: ")
    assert pooling.startswith("LAYER-C2: ")
