"""A picture as waves: they add up to its pixels, and a convolution changes amplitudes and phases alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference import convolve
from gaugeblock.reference.frequency import waves

shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.spec("CONV-S11")
@pytest.mark.spec("CONV-A9")
@given(shapes, seeds)
def test_the_waves_add_up_to_every_pixel(shape: tuple[int, int], seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=shape)
    found = waves(image)
    bound = 8 * image.size * 2.0**-53 * found.amplitude.sum()
    assert all(abs(found.at(*place) - image[place]) <= bound for place in np.ndindex(shape))


@pytest.mark.spec("CONV-D6")
@pytest.mark.spec("CONV-S11")
@given(shapes)
def test_no_two_waves_are_one_and_there_are_as_many_as_the_pixels_need(shape: tuple[int, int]) -> None:
    found, (H, W) = waves(np.ones(shape)), shape
    alone = (1 + (H % 2 == 0)) * (1 + (W % 2 == 0))
    assert len(found.amplitude) == (H * W + alone) // 2
    turns = {tuple(wave) for wave in np.round(found.frequency * [H, W]).astype(int) % [H, W]}
    backwards = {tuple((-np.array(wave)) % [H, W]) for wave in turns}
    assert len(turns) == len(found.amplitude)
    assert len(turns | backwards) == H * W
    assert np.abs(found.frequency).max() <= 0.5
    assert found.frequency[:, 1].min() >= 0


@pytest.mark.spec("CONV-S11")
def test_a_single_wave_is_found_with_its_amplitude_frequency_and_phase() -> None:
    row, column = np.indices((10, 20))
    found = waves(0.3 * np.cos(2 * np.pi * (0.1 * row + 0.25 * column) + np.pi / 3))
    k = int(np.argmax(found.amplitude))
    assert found.amplitude[k] == pytest.approx(0.3, rel=1e-14)
    assert found.frequency[k].tolist() == [0.1, 0.25]
    assert np.degrees(found.phase[k]) == pytest.approx(60, rel=1e-13)
    assert np.delete(found.amplitude, k).max() <= 1e-15


@pytest.mark.spec("CONV-I8")
@given(shapes, shapes, seeds)
def test_a_convolution_multiplies_amplitudes_and_adds_to_phases(
    shape: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    image, kernel = draw.normal(size=shape), draw.normal(size=size)
    around = np.zeros(shape)  # the convolution of the picture that repeats
    for (row, column), value in np.ndenumerate(convolve(image, kernel)):
        around[row % shape[0], column % shape[1]] += value
    found = waves(image).filtered(kernel)
    bound = 1e-13 * (1 + np.abs(kernel).sum()) * (1 + np.abs(image).sum())
    assert all(abs(found.at(*place) - around[place]) <= bound for place in np.ndindex(shape))


@pytest.mark.spec("CONV-C7")
@pytest.mark.parametrize(
    "image", [np.zeros(3), np.zeros((0, 2)), np.array([[np.nan]]), np.zeros((2, 2), int), [[1.0]]]
)
def test_what_is_no_picture_has_no_waves(image: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^CONV-C7: image must"):
        waves(image)


@pytest.mark.spec("CONV-C7")
@pytest.mark.parametrize("kernel", [np.zeros(3), np.zeros((2, 2), int)])
def test_what_is_no_kernel_filters_no_waves(kernel: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^CONV-C7: kernel must"):
        waves(np.ones((2, 2))).filtered(kernel)
