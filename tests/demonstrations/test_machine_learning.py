"""What is shown about machine learning is true."""

import pytest

from gaugeblock.spec.demonstrations import machine_learning


@pytest.mark.spec("ML-S2")
def test_training_makes_a_classifier_that_tells_nine_of_ten_new_digits() -> None:
    """Ten classes: a tenth is chance. With 579 new digits an accuracy is known to ±2 %."""
    found = machine_learning.learning()
    assert found.before <= 0.13
    assert found.after >= 0.9


@pytest.mark.spec("ML-S5")
def test_adjustments_lose_predictions_that_were_right() -> None:
    history = machine_learning.learning().fit.history
    assert sum(made.lost for made in history) >= 100
    assert sum(made.lost > 0 for made in history) >= len(history) / 2


@pytest.mark.spec("ML-I2")
def test_gained_less_lost_is_what_was_won_in_all() -> None:
    history = machine_learning.learning().fit.history
    won = sum(made.gained - made.lost for made in history)
    assert abs(won / machine_learning.TRAINING - (history[-1].accuracy - 0.1)) <= 0.05


@pytest.mark.spec("ML-S3")
@pytest.mark.spec("ML-S4")
def test_training_stopped_because_predictions_got_no_better() -> None:
    found = machine_learning.learning().fit
    assert found.stopped == "no better"
    errors = [made.held_out_error for made in found.history]
    assert errors.index(min(errors)) + 1 == found.best == len(errors) - 4


def test_the_same_seed_gives_the_same_run() -> None:
    assert machine_learning.repeated()
