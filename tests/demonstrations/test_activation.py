"""The key numbers of the demonstration of activation functions, and why they must be so."""

from fractions import Fraction

import numpy as np
import pytest

from gaugeblock.reference import gemm
from gaugeblock.spec.demonstrations import activation, demonstrate
from gaugeblock.spec.demonstrations.activation import POINTS, Curve, curves, four_points, thousand_layers

STEP = 1 / 128


@pytest.mark.parametrize("curve", curves(), ids=lambda curve: curve.label)
def test_the_area_under_a_derivative_is_the_rise_of_the_function(curve: Curve) -> None:
    # The trapezoidal rule is off by at most half a step times the total variation of the integrand.
    assert curve.gap <= STEP / 2 * np.abs(np.diff(curve.slope)).sum() + 1e-13
    if np.abs(np.diff(curve.slope)).max() <= 2 * STEP:  # no kink: by h²/12 · ∫|f‴|, which is at most 2 here
        assert curve.gap <= STEP**2 / 12 * 2


@pytest.mark.spec("ACT-S1")
def test_relu_sets_all_negative_values_to_zero_and_leaves_the_others() -> None:
    assert demonstrate("activation").numbers["largest difference of ReLU and max(0, x)"] == 0
    curve = curves()[0]
    assert (curve.y[curve.x <= 0] == 0).all()
    assert (curve.y[curve.x > 0] == curve.x[curve.x > 0]).all()


def test_every_activation_of_the_reference_is_there() -> None:
    assert demonstrate("activation").numbers["activation functions"] == 16  # 15, of which GELU has two forms


def test_slopes_have_their_known_maxima() -> None:
    numbers = demonstrate("activation").numbers
    assert numbers["steepest slope of the sigmoid"] == 0.25
    assert numbers["steepest slope of tanh"] == 1.0
    # The tanh form is an approximation: known to be off by less than 5e-4 everywhere, but not by nothing.
    assert 1e-4 <= numbers["largest difference of the two forms of GELU"] <= 5e-4


@pytest.mark.spec("ACT-S31")
def test_the_pairs_are_close_and_far_from_each_other_and_parallel() -> None:
    A1, A2, B1, B2 = POINTS
    assert (A1 - A2 == B1 - B2).all()
    far = min(abs(a - b).max() for a in (A1, A2) for b in (B1, B2))
    assert far >= 8 * abs(A1 - A2).max()


@pytest.mark.spec("ACT-S31")
def test_no_linear_map_changes_one_distance_without_the_other_exactly() -> None:
    found = four_points()
    assert found.linear_maps == 1000
    assert isinstance(found.linear_difference, Fraction)
    assert found.linear_difference == 0
    # The maps did something: the common distance was stretched and squeezed.
    assert found.least_distance <= 0.1
    assert found.largest_distance >= 2


@pytest.mark.spec("ACT-S31")
def test_one_rectified_layer_parts_one_pair_and_joins_the_other() -> None:
    A1, A2, B1, B2 = four_points().torn
    assert (B1 == B2).all()
    assert abs(A1 - A2).max() == 5 == 10 * abs(POINTS[0] - POINTS[1]).max()


@pytest.mark.spec("ACT-S31")
def test_another_one_joins_a_point_of_each_pair_and_leaves_the_fourth_away() -> None:
    A1, A2, B1, B2 = four_points().matched
    assert (A1 == B1).all()
    assert (A1 == A2).all()
    assert abs(B2 - A1).max() == Fraction(9, 2)


@pytest.mark.spec("NET-I4")
def test_a_thousand_linear_layers_are_one_exactly() -> None:
    found = thousand_layers()
    assert (found.layers, found.examples) == (1000, 10)
    assert isinstance(found.difference, Fraction)
    assert found.difference == 0
    assert found.digits >= 50  # nothing that a float could have held


@pytest.mark.spec("ACT-S32")
def test_each_rectified_layer_doubles_the_pieces_of_a_line_and_a_linear_one_adds_none() -> None:
    assert activation.folds(rectified=True) == tuple(2**depth for depth in range(1, 11))
    assert set(activation.folds(rectified=False)) == {1}


def test_none_of_the_layers_is_trivial_and_all_have_determinant_1() -> None:
    layers = activation._shears(1000)
    assert len(layers) == 1000
    for W in layers[:50]:
        assert (gemm(W, W) != W).any()
        assert round(float(np.linalg.det(W.astype(float))), 12) == 1.0


@pytest.mark.spec("NET-I4")
def test_with_a_rectifier_after_each_they_are_not_linear() -> None:
    # f(x) and f(−x) are at least 0, so their sum is at least f(x), where a linear f has 0.
    assert thousand_layers().oddness >= 1
