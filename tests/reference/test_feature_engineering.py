"""Features made by hand: what page 2 says of hues, counts, ink, tables and classes left."""

import math
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference.feature_engineering import (
    BLUISH,
    GREENISH,
    bluish,
    classes_left,
    column_sums,
    greenish,
    hue,
    row_sums,
    table,
    zone_sums,
)

seeds = st.integers(0, 2**32 - 1)
colours = st.tuples(*[st.integers(0, 255)] * 3)
ULP_OF_360 = 2.0**-44


def exact_hue(R: int, G: int, B: int) -> Fraction | None:
    """Return FE-D2 in fractions, and None for grey."""
    M, C = max(R, G, B), max(R, G, B) - min(R, G, B)
    if C == 0:
        return None
    if R == M:
        return 60 * (Fraction(G - B, C) % 6)
    if G == M:
        return 60 * (Fraction(B - R, C) + 2)
    return 60 * (Fraction(R - G, C) + 4)


def apart(a: float, b: float) -> float:
    """Return how far two hues are apart on the circle."""
    return min((a - b) % 360, (b - a) % 360)


def photographs(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.float64)


@pytest.mark.spec("FE-D2")
@pytest.mark.parametrize(
    ("colour", "degrees"),
    [
        ((1.0, 0.0, 0.0), 0.0),
        ((1.0, 1.0, 0.0), 60.0),
        ((0.0, 1.0, 0.0), 120.0),
        ((0.0, 1.0, 1.0), 180.0),
        ((0.0, 0.0, 1.0), 240.0),
        ((1.0, 0.0, 1.0), 300.0),
    ],
)
def test_the_six_pure_colours_stand_at_every_sixth_of_the_circle(
    colour: tuple[float, float, float], degrees: float
) -> None:
    assert hue(np.array(colour)) == degrees


@pytest.mark.spec("FE-A1")
@given(colours)
def test_a_hue_is_the_exact_one_up_to_its_last_places(colour: tuple[int, int, int]) -> None:
    want, got = exact_hue(*colour), float(hue(np.array(colour, np.float64)))
    if want is None:
        assert math.isnan(got)
    else:
        assert 0 <= got < 360
        assert apart(got, float(want)) <= 4 * ULP_OF_360


@pytest.mark.spec("FE-A2")
@given(st.lists(st.tuples(*[st.integers(0, 2**20)] * 3), min_size=1, max_size=6), st.integers(0, 2**19))
def test_counts_are_exact_on_whole_numbers_also_at_the_edge_of_green_and_blue(
    pixels: list[tuple[int, int, int]], half: int
) -> None:
    edge = [
        (0, 2 * half, half),
        (0, 2 * half, half + 1),
        (half, half, 0),
        (half + 1, half, 0),
    ]  # 150, 60 degrees
    pixels = [*pixels, *edge]
    image = np.array([[pixels]], np.float64)
    exact = [exact_hue(*pixel) for pixel in pixels]
    for count, (start, end) in ((greenish, GREENISH), (bluish, BLUISH)):
        assert count(image).tolist() == [sum(h is not None and start <= h < end for h in exact)]


@pytest.mark.spec("FE-D3")
def test_green_ends_where_blue_begins_and_both_leave_grey_and_red_out() -> None:
    circle = [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    outside = [[1.0, 0.0, 2.0], [1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.5, 0.5, 0.5]]
    for pixel, want in zip(circle, [(1, 0), (1, 0), (0, 1), (0, 1), (0, 1)], strict=True):
        image = np.array([[[pixel]]])
        assert (greenish(image).item(), bluish(image).item()) == want
    image = np.array([[outside]])
    assert (greenish(image).item(), bluish(image).item()) == (0, 0)


@pytest.mark.spec("FE-X1")
@pytest.mark.parametrize(
    "pixel",
    [
        [0.5, 0.5, 0.5],
        [0.0, 0.0, 0.0],
        [np.nan, 0.0, 1.0],
        [0.0, 0.0, np.nan],
        [np.inf, 0.0, 1.0],
        [-np.inf, 0.0, 1.0],
        [1.7e308, 0.0, -1.7e308],
    ],
)
def test_grey_and_what_is_not_finite_have_no_hue_and_are_not_counted(pixel: list[float]) -> None:
    image = np.array([[[pixel]]])
    assert np.isnan(hue(image)).all()
    assert (greenish(image).item(), bluish(image).item()) == (0, 0)


@pytest.mark.spec("FE-X2")
def test_an_image_without_pixels_has_counts_and_sums_of_zero() -> None:
    assert greenish(np.zeros((2, 0, 3, 3))).tolist() == [0, 0]
    assert bluish(np.zeros((0, 2, 2, 3))).tolist() == []
    assert row_sums(np.zeros((1, 2, 0))).tolist() == [[0, 0]]
    assert zone_sums(np.zeros((2, 0, 4)), 2).shape == (2, 0)


@pytest.mark.spec("FE-I1")
@given(colours, st.integers(-40, 40))
def test_light_changes_no_hue(colour: tuple[int, int, int], power: int) -> None:
    pixel = np.array(colour, np.float64)
    assert np.array_equal(hue(pixel), hue(pixel * 2.0**power), equal_nan=True)


@pytest.mark.spec("FE-I2")
@given(colours)
def test_exchanging_the_colours_in_a_circle_turns_the_wheel_by_a_third(colour: tuple[int, int, int]) -> None:
    R, G, B = colour
    before, after = (float(hue(np.array(c, np.float64))) for c in ((R, G, B), (B, R, G)))
    if math.isnan(before):
        assert math.isnan(after)
    else:
        assert apart(after, before + 120) <= 8 * ULP_OF_360  # two hues, each within 4


@pytest.mark.spec("FE-I3")
@given(seeds)
def test_counts_see_how_much_and_not_where(seed: int) -> None:
    images = photographs(seed, 3, 4, 5)
    moved = images.reshape(3, 20, 3)[:, np.random.default_rng(seed).permutation(20)].reshape(images.shape)
    assert np.array_equal(greenish(images), greenish(moved))
    assert np.array_equal(bluish(images), bluish(moved))


@pytest.mark.spec("FE-D4")
def test_ink_is_summed_by_rows_columns_and_zones_row_by_row() -> None:
    drawing = np.arange(24.0).reshape(1, 4, 6)
    assert row_sums(drawing).tolist() == [[15, 51, 87, 123]]
    assert column_sums(drawing).tolist() == [[36, 40, 44, 48, 52, 56]]
    assert zone_sums(drawing, 2).tolist() == [[14, 22, 30, 62, 70, 78]]


@pytest.mark.spec("FE-I4")
@given(seeds)
def test_rows_columns_and_zones_share_the_same_ink_exactly(seed: int) -> None:
    draw = np.random.default_rng(seed)
    ink = [
        Fraction(int(n), int(d))
        for n, d in zip(draw.integers(0, 99, 32), draw.integers(1, 9, 32), strict=True)
    ]
    drawings = np.array(ink, object).reshape(2, 4, 4)
    want = [sum(drawing.flat, Fraction(0)) for drawing in drawings]
    for sums in (row_sums(drawings), column_sums(drawings), zone_sums(drawings, 2)):
        assert [sum(row, Fraction(0)) for row in sums] == want


@pytest.mark.spec("FE-A3")
@given(seeds)
def test_sums_of_ink_are_within_the_error_of_their_additions(seed: int) -> None:
    drawings = np.random.default_rng(seed).normal(size=(2, 6, 6))
    exact = np.vectorize(Fraction, otypes=[object])(drawings)
    for feature, n in ((row_sums, 6), (column_sums, 6), (lambda d: zone_sums(d, 3), 9)):
        error = abs(np.vectorize(Fraction, otypes=[object])(feature(drawings)) - feature(exact))
        u = Fraction(1, 2**53)
        bound = (n - 1) * u / (1 - (n - 1) * u) * feature(abs(exact))
        assert (error <= bound).all()


@pytest.mark.spec("FE-S1")
@pytest.mark.spec("FE-D1")
@given(seeds)
def test_a_row_of_the_table_depends_on_its_own_example_alone(seed: int) -> None:
    drawings = np.random.default_rng(seed).random((6, 4, 4))
    features = [row_sums, lambda d: d[:, 0, 0], lambda d: zone_sums(d, 2)]
    whole = table(drawings, features)
    assert whole.shape == (6, 9)
    assert np.array_equal(whole[:, 4], drawings[:, 0, 0])
    order = np.random.default_rng(seed).permutation(6)[:4]
    assert np.array_equal(table(drawings[order], features), whole[order])


@pytest.mark.spec("FE-D5")
@pytest.mark.parametrize("kinds", [1, 2, 5, 8])
def test_an_answer_that_halves_the_classes_halves_what_is_left(kinds: int) -> None:
    classes = np.repeat(np.arange(2 * kinds), 3)
    assert classes_left(classes % 2, classes) == pytest.approx(kinds, rel=1e-14)
    assert classes_left(classes, classes) == 1.0
    assert classes_left(np.zeros_like(classes), classes) == pytest.approx(2 * kinds, rel=1e-14)


@pytest.mark.spec("FE-I5")
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30))
def test_what_is_left_lies_between_one_and_what_knowing_nothing_leaves(pairs: list[tuple[int, int]]) -> None:
    answers, classes = np.array(pairs).T
    left, nothing = classes_left(answers, classes), classes_left(np.zeros_like(answers), classes)
    rounding = 1e-13
    assert 1 <= left <= nothing * (1 + rounding) <= len(set(classes)) * (1 + rounding) ** 2
    names = np.array(["e", "b", "d", "a", "c"])
    assert classes_left(names[answers], 7 - 2 * classes) == pytest.approx(left, rel=rounding)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hue(np.zeros((3, 2))), r"FE-C1: pixels has shape \(3, 2\), expected \(\.\.\., 3\)"),
        (lambda: hue(np.array(1.0)), r"FE-C1: pixels has shape \(\)"),
        (
            lambda: greenish(np.zeros((2, 2, 3))),
            r"FE-C1: images has shape \(2, 2, 3\), expected \(N, H, W, 3\)",
        ),
        (lambda: row_sums(np.zeros((2, 2))), r"FE-C1: drawings has shape \(2, 2\), expected \(N, H, W\)"),
    ],
)
@pytest.mark.spec("FE-C1")
def test_other_shapes_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.spec("FE-C2")
def test_other_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="FE-C2: pixels must be an array of floats, got an array of uint8"):
        hue(np.zeros((2, 3), np.uint8))
    with pytest.raises(TypeError, match="FE-C2: pixels must be an array of floats, got fractions"):
        hue(np.array([Fraction(1)] * 3, object))
    with pytest.raises(TypeError, match="FE-C2: drawings must be an array of floats, got list"):
        column_sums([[[1.0]]])  # type: ignore[arg-type]


@pytest.mark.spec("FE-C3")
@pytest.mark.parametrize("size", [0, 3, 8])
def test_zones_that_do_not_tile_are_refused(size: int) -> None:
    with pytest.raises(
        ValueError, match=f"FE-C3: size is {size}, expected one that divides 4 rows and 4 col"
    ):
        zone_sums(np.zeros((1, 4, 4)), size)


@pytest.mark.spec("FE-C4")
def test_features_that_do_not_fit_the_examples_are_refused() -> None:
    examples = np.zeros((3, 2, 2))
    with pytest.raises(ValueError, match="FE-C4: features must hold at least one feature, got none"):
        table(examples, [])
    with pytest.raises(ValueError, match=r"FE-C4: feature 1 gives an array of shape \(2,\) for 3 examples"):
        table(examples, [row_sums, lambda d: d[:2, 0, 0]])
    with pytest.raises(ValueError, match=r"FE-C4: feature 0 gives an array of shape \(3, 2, 2\)"):
        table(examples, [lambda d: d])


@pytest.mark.spec("FE-C5")
def test_answers_that_do_not_fit_the_classes_are_refused() -> None:
    for answers, classes in ((3, 2), (0, 0)):
        with pytest.raises(ValueError, match=rf"FE-C5: answers has shape \({answers},\), classes has"):
            classes_left(np.zeros(answers, int), np.zeros(classes, int))


def test_the_three_colours_are_treated_alike() -> None:
    """Every order of three different values gives another hue, all in different sixths of the circle."""
    hues = hue(np.array(list(permutations([1.0, 2.0, 4.0]))))
    assert len({int(h // 60) for h in hues}) == 6
