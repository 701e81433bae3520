"""What is shown about feature learning is true."""

import numpy as np
import pytest

from gaugeblock.spec.demonstrations import feature_learning as shown


@pytest.mark.spec("FL-S4")
def test_learned_features_leave_at_most_half_the_errors_of_features_made_by_hand() -> None:
    """5 and 25 of 300 when this was written: by chance alone 15 to 15 would not part like that."""
    by_hand, learned = shown.classified("made by hand"), shown.classified("learned with the classes")
    assert 2 * learned.wrong <= by_hand.wrong
    assert learned.wrong <= 9  # an accuracy of 0.97


@pytest.mark.spec("FL-S4")
def test_features_learned_without_classes_lie_between() -> None:
    found = {kind: shown.classified(kind) for kind in shown.KINDS}
    assert found["learned with the classes"].wrong <= found["learned without classes"].wrong
    assert found["learned without classes"].wrong <= found["made by hand"].wrong
    assert found["learned with the classes"].wrong < found["the pixels"].wrong
    assert found["learned with the classes"].features == found["learned without classes"].features


@pytest.mark.spec("FL-S1")
@pytest.mark.spec("FL-S2")
def test_the_last_layer_is_logistic_regression_and_trained_anew_is_no_worse() -> None:
    last = shown.last_layer()
    assert last.same
    assert last.anew_error <= last.error
    assert last.anew_accuracy >= last.accuracy
    assert last.anew_wrong <= 9


@pytest.mark.spec("FL-S5")
def test_patches_that_excite_a_unit_of_the_second_layer_are_alike() -> None:
    assert shown.sharpness() <= 0.5


def test_units_of_the_second_layer_see_more_than_those_of_the_first() -> None:
    assert shown.seen(1).patches.shape[2:] == (1, 5, 5)
    assert shown.seen(2).patches.shape[2:] == (1, 14, 14)


def test_common_patterns_are_found_without_a_class_and_are_shades_of_ink() -> None:
    found = shown.patterns().patterns
    assert found.shape == (shown.PATTERNS, shown.SIDE**2)
    assert np.min(found) >= 0
    assert np.max(found) <= 1
