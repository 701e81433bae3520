"""What is shown about units is true."""

import numpy as np
import pytest

from gaugeblock.spec.demonstrations import unit


def test_a_maxout_unit_of_k_tangents_is_within_a_square_of_their_spacing() -> None:
    """Tangents 2/k apart meet halfway, 1/k from where they touch: x² is (1/k)² above them there."""
    for bend in unit.bends():
        assert abs(bend.error - 1 / bend.pieces**2) <= 4 * 2.0**-52


@pytest.mark.spec("UNIT-I4")
def test_a_transform_inside_maxout_matters_where_it_falls_alone() -> None:
    assert unit.transformed(unit.RISING) <= 1e-14
    assert unit.transformed(unit.FALLING) >= 0.1


@pytest.mark.spec("UNIT-S1")
def test_a_cell_keeps_a_number_for_hundreds_of_steps() -> None:
    """The gates are σ(±40) = 1 − 4·10⁻¹⁸, which is 1, or 4·10⁻¹⁸, over which 280 numbers below ½ enter."""
    found = unit.memory()
    assert abs(found.held - found.stored) <= 280 * 4.3e-18 + 2.0**-53
    assert abs(found.shown - found.stored) <= 1e-15
    quiet = np.delete(found.h, (unit.ASKED,))
    assert np.abs(quiet).max() <= 1e-17


def test_a_gradient_reaches_the_start_where_the_forget_gate_is_open_alone() -> None:
    found = unit.memory()
    assert found.gradient == 1.0
    assert found.half_open == 2.0 ** -(unit.ASKED - unit.STORED)


@pytest.mark.spec("UNIT-D1")
def test_pooling_and_convolution_are_no_units() -> None:
    assert [name for name, is_unit in unit.kinds().items() if not is_unit] == [
        "Convolutional",
        "MaxPooling",
        "AveragePooling",
    ]
