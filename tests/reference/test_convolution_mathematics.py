"""The mathematical convolution: SciPy's modes, the laws of the operation, what it means elsewhere."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference import convolve, cross_correlate

MODES = ["full", "same", "valid"]


def fractions(seed: int, *shape: int) -> np.ndarray:
    """Return an array of small fractions."""
    draw = np.random.default_rng([seed, *shape])
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        array[index] = Fraction(int(draw.integers(-9, 10)), int(draw.integers(1, 7)))
    return array


@st.composite
def shapes(draw: st.DrawFn, count: int) -> list[tuple[int, ...]]:
    """Draw shapes of the same number of axes."""
    axes = draw(st.integers(1, 3))
    longest = {1: 9, 2: 5, 3: 3}[axes]
    return [tuple(draw(st.integers(1, longest)) for _ in range(axes)) for _ in range(count)]


@given(shapes(2), st.sampled_from(MODES), st.integers(0, 99))
@pytest.mark.spec("CONV-S9")
@pytest.mark.spec("CONV-S10")
def test_scipy_gives_the_same_wherever_it_means_the_same(sizes: Any, mode: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, w = (draw.integers(-9, 10, size).astype(float) for size in sizes)
    fits = all(H >= R for H, R in zip(*sizes, strict=True))
    if mode == "valid" and not fits:  # SciPy would swap the arrays; here nothing is left
        want_size = tuple(max(H - R + 1, 0) for H, R in zip(*sizes, strict=True))
        assert convolve(x, w, mode=mode).shape == cross_correlate(x, w, mode=mode).shape == want_size
        return
    assert np.array_equal(convolve(x, w, mode=mode), scipy.signal.convolve(x, w, mode, method="direct"))
    assert np.array_equal(
        cross_correlate(x, w, mode=mode), scipy.signal.correlate(x, w, mode, method="direct")
    )


@given(shapes(2), st.sampled_from(MODES), st.integers(0, 99))
def test_each_operation_is_the_other_with_the_kernel_reversed(sizes: Any, mode: str, seed: int) -> None:
    x, w = (fractions(seed, *size) for size in sizes)
    assert np.array_equal(convolve(x, w, mode=mode), cross_correlate(x, np.flip(w), mode=mode))
    assert np.array_equal(cross_correlate(x, w, mode=mode), convolve(x, np.flip(w), mode=mode))


@given(shapes(3), st.integers(0, 99))
def test_convolution_is_commutative_associative_and_distributive(sizes: Any, seed: int) -> None:
    x, v, w = (fractions(seed, *size) for size in sizes)
    assert np.array_equal(convolve(x, w), convolve(w, x))
    assert np.array_equal(convolve(convolve(x, v), w), convolve(x, convolve(v, w)))
    other = fractions(seed + 1, *x.shape)
    assert np.array_equal(convolve(x + other, w), convolve(x, w) + convolve(other, w))


@given(shapes(2), st.integers(0, 99))
def test_the_spectrum_of_a_convolution_is_the_product_of_the_spectra(sizes: Any, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, w = (draw.normal(size=size) for size in sizes)
    y = convolve(x, w)
    axes = range(y.ndim)
    product = np.fft.fftn(x, y.shape, axes) * np.fft.fftn(w, y.shape, axes)
    bound = 100 * 2.0**-53 * np.abs(x).sum() * np.abs(w).sum()
    assert np.abs(np.fft.fftn(y) - product).max() <= bound


def test_coefficients_of_polynomials_are_convolved_when_the_polynomials_are_multiplied() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.0, 4.0, 5.0])
    assert np.array_equal(convolve(a, b), np.polymul(a, b))


@given(st.integers(1, 12), st.integers(0, 99))
def test_diffusion_keeps_the_mass_and_its_variance_grows_linearly(steps: int, seed: int) -> None:
    """Milk in coffee: every step spreads each drop by the same kernel. Exactly, in fractions."""
    weights = np.abs(fractions(seed, 5)) + Fraction(1)
    kernel = weights / weights.sum()

    def moments(density: np.ndarray) -> tuple[Fraction, Fraction, Fraction]:
        places = np.array([Fraction(i) for i in range(density.size)])
        mean = (places * density).sum()
        return density.sum(), mean, ((places - mean) ** 2 * density).sum()

    density = np.array([Fraction(1)])
    for _ in range(steps):
        density = convolve(density, kernel)
    _, mean, variance = moments(kernel)
    assert moments(density) == (1, steps * mean, steps * variance)


def test_correlation_is_largest_where_two_sequences_overlap_best() -> None:
    draw = np.random.default_rng(5)
    signal = draw.normal(size=500)
    pattern = signal[237:277].copy()
    assert int(np.argmax(cross_correlate(signal, pattern, mode="valid"))) == 237


@pytest.mark.parametrize(
    ("x", "w", "mode", "message"),
    [
        ((3,), (2,), "wrap", "CONV-C6: mode must be one of full, same, valid, got 'wrap'"),
        ((), (2,), "full", "CONV-C1: x must have 1 to 3 axes, got shape ()"),
        ((1, 1, 1, 1), (2,), "full", "CONV-C1: x must have 1 to 3 axes, got shape (1, 1, 1, 1)"),
        ((3,), (2, 1), "full", "CONV-C1: x has 1 axes, w has 2; as many are required"),
        ((3,), (0,), "full", "CONV-C1: a kernel must have at least 1 cell per axis, w has shape (0,)"),
    ],
)
def test_arguments_that_do_not_fit_raise_an_error(x: Any, w: Any, mode: str, message: str) -> None:
    for operation in (convolve, cross_correlate):
        with pytest.raises(ValueError, match="CONV") as caught:
            operation(np.ones(x), np.ones(w), mode=mode)
        assert str(caught.value) == message
