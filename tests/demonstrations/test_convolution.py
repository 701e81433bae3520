"""The key numbers of the demonstration of convolution, and why they must be so."""

from fractions import Fraction

import numpy as np
import pytest

from gaugeblock.spec.demonstrations import contours, convolution, demonstrate
from gaugeblock.spec.demonstrations import convolution_interpretations as interpretations

U = 2.0**-53


@pytest.mark.spec("CONV-S1")
def test_an_edge_detector_ignores_even_surfaces_and_answers_to_edges() -> None:
    found = convolution.edge_detection()
    assert found.flat <= 9 * 16 * U  # a sum of nine products, whose sizes add up to at most 16
    assert found.response.shape == (158, 238)
    # The sky of this photograph is even but for the noise of its compression.
    assert found.palace >= 20 * found.sky


@pytest.mark.spec("CONV-S1")
def test_sixteen_patches_one_by_one_are_the_convolution_to_the_last_bit() -> None:
    found = convolution.sliding_patch()
    assert found.products.shape == (16, 3, 3)
    assert np.array_equal(found.sums.reshape(4, 4), found.result)  # whole numbers: nothing rounds
    assert np.array_equal(found.image, found.image.round())
    assert found.result[0, 0] == (found.image[:3, :3] * convolution.SLIDING_KERNEL).sum()


@pytest.mark.spec("CONV-S10")
def test_a_convolution_is_a_correlation_with_the_reversed_kernel_exactly() -> None:
    reversal = convolution.identities().reversal
    assert isinstance(reversal, Fraction)
    assert reversal == 0


@pytest.mark.spec("CONV-I8")
def test_the_spectrum_of_a_convolution_is_the_product_of_spectra() -> None:
    found = convolution.identities()
    assert found.theorem <= found.theorem_bound <= 1e-6
    assert found.theorem > 0  # two ways, not one


@pytest.mark.spec("CONV-S9")
def test_a_feature_is_found_under_noise_where_it_was_cut_out() -> None:
    found = convolution.feature_detection()
    rows, columns = convolution.FEATURE
    assert found.found == (rows.start, columns.start)
    # The noise alone takes the response from 1 to contrast / √(contrast² + noise²).
    contrast = found.kernel.std()
    expected = contrast / (contrast**2 + convolution.NOISE**2) ** 0.5
    assert abs(found.peak - expected) <= 3 / found.kernel.size**0.5 * (1 - expected**2) ** 0.5
    assert found.elsewhere <= found.peak - 0.15
    # No response exceeds 1 (Cauchy and Schwarz), but for rounding.
    assert np.abs(found.response).max() <= 1 + 1e-12


@pytest.mark.spec("CONV-S9")
def test_detecting_a_feature_is_a_convolution_with_the_reversed_kernel() -> None:
    found = convolution.feature_detection()
    n = found.kernel.size
    assert found.by_convolution <= 2 * n * U * np.abs(found.kernel).sum() * np.abs(found.photograph).max()


def test_algorithms_agree_exactly_in_fractions() -> None:
    exact = convolution.agreement().exact
    assert isinstance(exact, Fraction)
    assert exact == 0


def test_direct_sums_are_within_their_bound_in_float64() -> None:
    errors = convolution.agreement().errors
    assert list(errors) == list(convolution.ALGORITHMS)
    # Three channels and nine cells make sums of 27 products: γ₂₇ ≤ 27.1 U.
    assert 0 < errors["direct"] <= 27.1
    assert 0 < errors["im2col"] <= 27.1


def test_winograd_loses_more_digits_the_larger_its_tiles() -> None:
    errors = convolution.agreement().errors
    assert errors["winograd_2"] < errors["winograd_4"] < errors["winograd_6"]
    # The constants of the transforms grow with the tile, and with them the error: by less than two digits.
    assert errors["winograd_6"] <= 100 * errors["direct"]


@pytest.mark.spec("CONV-A7")
def test_the_fourier_transform_is_within_its_bound() -> None:
    found = convolution.agreement()
    assert 0 < found.fft_error <= found.fft_bound


# ------------------------------------------------------------------------------------------------------------
# Other interpretations.


@pytest.mark.spec("CONV-S13")
def test_milk_keeps_its_mass_and_spreads_linearly_exactly() -> None:
    found = interpretations.diffusion()
    assert set(found.masses) == {Fraction(1)}
    # A step's own variance is 1/4 · 1 + 1/4 · 1, and variances of independent steps add up.
    assert list(found.variances) == [Fraction(step, 2) for step in range(65)]


@pytest.mark.parametrize("step", range(4))
def test_the_cup_that_is_drawn_holds_that_milk(step: int) -> None:
    cup = interpretations.diffusion().cups[step]
    shown = interpretations.SHOWN[step]
    assert cup.shape == (41, 41)
    assert cup[20, 20] == cup.max()
    places = np.arange(-20, 21)
    # Beyond 20 cells there is next to nothing: 3.5 standard deviations after 64 steps.
    assert abs(cup.sum() - 1) <= 2e-3
    assert abs((cup.sum(axis=0) * places**2).sum() - shown / 2) <= 0.02 * max(shown / 2, 1)


@pytest.mark.spec("CONV-S13")
def test_a_blurred_particle_is_still_somewhere_and_variances_add_up() -> None:
    found = interpretations.particle()
    n = len(found.density)
    assert abs(found.probability - 1) <= 2 * n * U  # sums of positive terms: a rounding for each
    assert abs(found.variances[2] / (found.variances[0] + found.variances[1]) - 1) <= 1e-12
    # The third state of a box of width 1: 1/12 − 1/(2 · 9 π²).
    assert abs(found.variances[0] - (1 / 12 - 1 / (18 * np.pi**2))) <= 1e-4
    assert (found.seen >= 0).all()


@pytest.mark.spec("CONV-S9")
def test_two_pieces_of_one_line_are_most_similar_where_they_overlap() -> None:
    found = interpretations.similarity()
    assert found.found_lag == found.true_lag == 140
    assert abs(np.nanmax(found.overlap) - 1) <= 1e-10  # there they are the same pixels
    others = found.overlap[np.abs(found.lags - 140) > 10]
    assert np.nanmax(others) <= 0.9
    assert np.nanmin(found.overlap) >= -1 - 1e-10


@pytest.mark.spec("CONV-S10")
def test_a_moving_average_is_an_average_and_smooths() -> None:
    found = interpretations.moving_average()
    assert found.weights.sum() == 1.0  # binomials over a power of two
    assert found.difference <= 16 * U
    assert found.smooth.min() >= found.line.min()
    assert found.smooth.max() <= found.line.max()
    assert found.roughness <= 0.5


def test_the_demonstration_tells_the_same_numbers() -> None:
    numbers = demonstrate("convolution").numbers
    assert numbers["row where the feature is found"] == 88
    assert numbers["variance of the milk after 64 steps, in cells²"] == 32
    assert numbers["lag where they are most similar"] == numbers["lag of the overlapping sequences"]
    assert numbers["largest difference of direct, im2col and Winograd in fractions"] == 0


@pytest.mark.spec("CONV-S12")
def test_diffusion_moves_most_and_a_particle_is_found_most_at_contours() -> None:
    """0.25 and 0.35 when this was written, at a tenth of the pixels."""
    found = contours.contours()
    assert abs(found.where.mean() - contours.TENTH) <= 0.001
    assert found.exchanged >= 2 * contours.TENTH
    assert found.found >= 3 * contours.TENTH


@pytest.mark.spec("CONV-S11")
@pytest.mark.spec("CONV-I8")
def test_the_waves_of_a_photograph_add_up_to_its_pixels_and_few_make_most_of_it() -> None:
    found = contours.bridge()
    assert found.difference <= 1e-12
    assert found.few <= 0.1
    assert found.gain <= 0.5
