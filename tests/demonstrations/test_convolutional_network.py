"""The convolutional network reads digits that it has never seen; what is said about that is measured."""

import numpy as np
import pytest

from gaugeblock.reference.convolutional_network import evidence
from gaugeblock.reference.machine_learning import accuracy
from gaugeblock.reference.network import Network
from gaugeblock.spec import demonstrations
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.convolutional_network import (
    CLASSES,
    drawn,
    parts,
    rounded,
    trained,
    training,
    wrong,
)


def test_the_three_parts_share_no_digit_and_are_all_digits() -> None:
    found = parts()
    images = [part.inputs.reshape(len(part), -1) for part in (found.training, found.held_out, found.test)]
    assert [len(part) for part in images] == [1197, 300, 300]
    every = np.concatenate(images)
    assert np.array_equal(np.sort(every, axis=0), np.sort(data.digits().X, axis=0))
    assert len({image.tobytes() for image in every}) == len({image.tobytes() for image in data.digits().X})


@pytest.mark.spec("CNN-S3")
def test_it_reads_97_of_100_digits_that_no_decision_saw() -> None:
    assert accuracy(training().model, parts().test) >= 0.97
    assert wrong() == round((1 - accuracy(training().model, parts().test)) * 300)


def test_training_ends_by_its_rule_and_forgets_on_the_way() -> None:
    learned = training()
    assert learned.stopped == "no better"
    assert len(learned.history) == learned.best + 5 <= 30
    assert learned.history[0].held_out_error >= 3 * learned.history[learned.best - 1].held_out_error
    assert sum(made.lost for made in learned.history) > 0


def test_its_numbers_are_those_of_the_concept() -> None:
    shown = demonstrations.demonstrate("convolutional_network").numbers
    assert shown["parameters"] == trained().size == drawn().size == 1524
    assert (shown["multiplications for a digit"], shown["numbers held forward"]) == (22_800, 956)
    assert shown["accuracy of logistic regression on the published parts"] == 168 / 180
    assert shown["accuracy of logistic regression on pixels"] >= 0.94
    assert shown["wrong"] <= shown["wrong by logistic regression on pixels"]


def test_float32_changes_hardly_any_prediction() -> None:
    assert rounded().decided >= 295
    assert rounded().bound <= 0.02


def test_the_evidence_and_the_biases_make_the_score() -> None:
    x, label = parts().test.inputs[:1], np.array([3])
    features = trained().features(x)
    score = features[-1].z[0, 3]  # type: ignore[index]
    said = evidence(trained(), x, label).sum()
    last = np.eye(CLASSES)[label]
    weights = trained().layers[-1].parameters["weights"]
    back = Network(trained().layers[:-1]).backward(
        (last @ weights.T).reshape(features[-2].y.shape), features[:-1]
    )[1]
    biases = trained().layers[-1].parameters["bias"][3] + sum(
        (layer["bias"] * found["bias"]).sum()
        for layer, found in zip(trained().parameters, back, strict=False)
        if layer
    )
    assert abs(said + biases - score) <= 2.0**-40 * np.abs(evidence(trained(), x, label)).sum()
    assert abs(biases) > 0
