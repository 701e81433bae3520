"""What is shown about feature engineering is true."""

import math

import numpy as np
import pytest

from gaugeblock.reference.feature_engineering import table
from gaugeblock.spec.demonstrations import feature_engineering as shown


@pytest.mark.spec("FE-S2")
def test_counts_of_coloured_pixels_tell_water_animals_from_land_animals() -> None:
    """480 held-out pictures: a classifier that is right for nine in ten gets 0.93 once in 70 draws."""
    told = shown.land_and_water()
    assert told.accuracy >= 0.93
    assert told.training_accuracy >= 0.9


@pytest.mark.spec("FE-S3")
def test_among_land_animals_the_same_counts_do_no_better_than_guessing() -> None:
    """Guessing 240 times is right for 0.5 ± 3 · 0.032 of them."""
    by_counts, _ = shown.land_only()
    assert abs(by_counts.accuracy - 0.5) <= 3 * math.sqrt(0.25 / (2 * shown.EACH))


@pytest.mark.spec("FE-S3")
def test_among_land_animals_features_of_the_outline_do_well() -> None:
    _, by_outlines = shown.land_only()
    assert by_outlines.accuracy >= 0.9


@pytest.mark.spec("FE-S3")
def test_leaves_with_blue_shadows_are_taken_for_water() -> None:
    assert shown.taken_for_water() >= 0.9


@pytest.mark.spec("FE-S4")
def test_the_answer_leaves_about_half_of_the_animals_to_consider() -> None:
    left = shown.considered()
    assert left.before == pytest.approx(4, rel=1e-12)
    assert left.perfect == pytest.approx(2, rel=1e-12)
    assert left.perfect <= left.after <= 2.5


def test_patches_for_training_and_to_be_predicted_share_no_pixel_and_no_place_shows_two_kinds() -> None:
    taken = {name: np.zeros((427, 640), int) for name in ("china", "flower")}
    for places in shown.PLACES.values():
        for place in places:
            for part in shown.PARTS:
                for start, end in place.stripes(part):
                    taken[place.photograph][slice(*place.rows), start:end] += 1
    assert all(seen.max() == 1 for seen in taken.values())


def test_patches_are_cut_out_where_their_place_says() -> None:
    place = shown.Place("china", (242, 284), (356, 510))
    first = place.patches("held-out")[0]
    pixels = shown.data.photograph("china")[242 : 242 + shown.SIZE, 388 : 388 + shown.SIZE]
    assert np.abs(first - 255 * pixels).max() <= 1e-9


def test_all_animals_hide_as_much_of_their_surroundings() -> None:
    assert len({int(shown.silhouette(animal).sum()) for animal in shown.ANIMALS}) == 1


@pytest.mark.parametrize("animal", shown.ANIMALS)
def test_an_animal_hides_its_own_shape_and_nothing_else(animal: str) -> None:
    """Its pixels are grey, so they are in neither count."""
    images = shown.pictures(animal, "held-out")
    ink = int(shown.silhouette(animal).sum())
    assert (table(images, shown.COUNTS).sum(axis=1) <= shown.SIZE**2 - ink).all()
