"""Layers that nobody told what a face is find edges, parts and faces."""

import numpy as np
import pytest

from gaugeblock.spec.demonstrations import data, demonstrate, faces

needs_faces = pytest.mark.skipif(not data.has_faces(), reason="the extra 'faces' is not installed")


@needs_faces
@pytest.mark.spec("FL-S6")
def test_from_layer_to_layer_more_units_are_specific_for_faces() -> None:
    """None, 0.19 and 0.27 when this was written, of five seeds."""
    numbers, _ = faces.measure()
    shares = [numbers[f"units specific for faces, {name}"] for name in faces.LAYERS]
    assert shares == sorted(shares)
    assert shares[0] <= 0.05
    assert shares[2] >= 0.2
    assert numbers["share of first patterns that are edges or blobs"] >= 0.8


@needs_faces
@pytest.mark.spec("FL-S7")
def test_recurrent_units_answer_to_images_that_are_less_alike_than_those_of_either_control() -> None:
    """0.29 and 0.26, against 0.37 without labels and 0.46 fully connected, when this was written."""
    numbers, _ = faces.measure()
    without_labels = numbers["likeness of images that excite a unit, whole images"]
    assert without_labels >= numbers["likeness of images at random"] + 0.15
    at_once = faces.trained(faces.AT_ONCE)
    assert at_once.accuracy >= 0.93
    for kind in (faces.PLAIN, faces.GATED):
        found = faces.trained(kind)
        assert found.alike <= at_once.alike - 0.1
        assert found.alike <= without_labels - 0.05
        assert found.accuracy >= 0.8


@needs_faces
@pytest.mark.spec("FL-S7")
def test_rectified_units_and_larger_steps_make_images_less_alike_without_recurrence() -> None:
    """0.27 and 0.26 when this was written."""
    at_once = faces.trained(faces.AT_ONCE)
    for kind in (faces.RECTIFIED, faces.HASTY):
        assert faces.trained(kind).alike <= at_once.alike - 0.1
    assert faces.trained(faces.HASTY).accuracy < at_once.accuracy


@needs_faces
def test_the_layers_see_half_of_the_images_and_the_measures_the_other() -> None:
    known, new = faces.parts()
    assert np.array_equal(np.sort(np.concatenate([known, new])), np.arange(200))
    images, is_face = data.faces()
    assert images.shape == (200, 25, 25)
    assert is_face.sum() == 100
    shapes = [answers.shape[1:] for answers in faces.hierarchy().answers]
    assert shapes == [(16, 21, 21), (24, 7, 7), (12, 1, 1)]


def test_without_the_wheel_that_has_faces_the_rest_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_faces_file", lambda: None)
    shown = demonstrate("feature_learning")
    assert "pip install scikit-image" in shown.statements[-1]
    assert not any("faces" in name for name in shown.numbers)
    data.faces.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="the faces come with scikit-image"):
        data.faces()
