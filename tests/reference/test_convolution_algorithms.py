"""Four ways to one convolution: exactly equal in fractions, within their bounds in float64."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference import conv
from gaugeblock.reference.convolution import ALGORITHMS
from gaugeblock.reference.convolution_algorithms import winograd_matrices

U = 2.0**-53
WINOGRAD = {2: "winograd_2", 4: "winograd_4", 6: "winograd_6"}


def fractions(seed: int, *shape: int) -> np.ndarray:
    """Return an array of small fractions."""
    draw = np.random.default_rng([seed, *shape])
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        array[index] = Fraction(int(draw.integers(-9, 10)), int(draw.integers(1, 7)))
    return array


def exactly(array: np.ndarray) -> np.ndarray:
    """Return the same numbers as fractions."""
    result = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        result[index] = Fraction(float(array[index]))
    return result


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Draw the shapes of a convolution with kernels of 3 cells, and its padding and groups."""
    axes = draw(st.integers(1, 3))
    groups, channels, kernels = draw(st.integers(1, 2)), draw(st.integers(0, 2)), draw(st.integers(1, 2))
    size = draw(st.lists(st.integers(1, {1: 15, 2: 8, 3: 4}[axes]), min_size=axes, max_size=axes))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    x = (draw(st.integers(0, 2)), groups * channels, *size)
    return x, (groups * kernels, channels, *(3,) * axes), {"padding": padding, "groups": groups}


@given(problems(), st.integers(0, 99))
def test_the_exact_algorithms_agree_exactly_in_fractions(problem: Any, seed: int) -> None:
    x, w, parameters = fractions(seed, *problem[0]), fractions(seed, *problem[1]), problem[2]
    want = conv(x, w, algorithm="direct", **parameters)
    for algorithm in ("im2col", *WINOGRAD.values()):
        got = conv(x, w, algorithm=algorithm, **parameters)
        assert got.shape == want.shape
        assert np.array_equal(got, want)
        assert all(type(value) is Fraction for value in got.flat)


@given(problems(), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(0, 99))
def test_the_algorithms_for_any_step_agree_in_float64(problem: Any, steps: Any, seed: int) -> None:
    parameters = problem[2] | {"stride": steps[0], "dilation": steps[1]}
    draw = np.random.default_rng(seed)
    x, w = (draw.integers(-9, 10, shape).astype(float) for shape in problem[:2])
    want = conv(x, w, algorithm="direct", **parameters)
    assert np.array_equal(conv(x, w, algorithm="im2col", **parameters), want)
    got = conv(x, w, algorithm="fft", **parameters)
    assert got.shape == want.shape
    length = math.prod(6 + H for H in x.shape[2:])
    scale = math.sqrt((x**2).sum() * (w**2).sum())
    assert (np.abs(got - want) <= 20 * U * math.log2(length) * scale).all()


def test_the_convolution_theorem_holds_for_kernels_as_large_as_the_map() -> None:
    draw = np.random.default_rng(4)
    x, w = draw.normal(size=(2, 3, 31, 24)), draw.normal(size=(4, 3, 31, 23))
    want, got = (conv(x, w, padding="same", algorithm=name) for name in ("direct", "fft"))
    bound = 10 * U * math.log2(62 * 47) * np.linalg.norm(x) * np.linalg.norm(w)
    assert np.abs(got - want).max() <= bound


@pytest.mark.parametrize("m", WINOGRAD)
def test_winograd_is_within_its_bound(m: int) -> None:
    """The bound follows the transforms on absolute values: Barabasz et al., arXiv:1803.10986."""
    draw = np.random.default_rng(m)
    C, t = 8, m + 2
    x, w = draw.normal(size=(1, C, t, t)), draw.normal(size=(1, C, 3, 3))
    got = conv(x, w, algorithm=WINOGRAD[m])[0, 0]
    want = conv(exactly(x), exactly(w))[0, 0].astype(float)
    A, B, G = (np.abs(matrix.astype(float)) for matrix in winograd_matrices(m))
    transformed = [(G @ np.abs(w[0, c]) @ G.T) * (B.T @ np.abs(x[0, c]) @ B) for c in range(C)]
    roundings = 2 * (3 + 1) + 2 * (t + 1) + 1 + C + 2 * (t + 1)
    bound = roundings * U / (1 - roundings * U) * (A.T @ sum(transformed) @ A)
    assert (np.abs(got - want) <= bound).all()
    direct = conv(x, w)[0, 0]
    assert (
        np.abs(got - want).max() >= np.abs(direct - want).max()
    )  # fewer multiplications are paid for in digits


@pytest.mark.parametrize("m", range(1, 9))
@pytest.mark.parametrize("r", range(1, 6))
def test_the_matrices_compute_m_outputs_of_any_kernel_exactly(m: int, r: int) -> None:
    A, B, G = winograd_matrices(m, r)
    assert (A.shape, B.shape, G.shape) == ((m + r - 1, m), (m + r - 1, m + r - 1), (m + r - 1, r))
    x, w = fractions(1, m + r - 1), fractions(2, r)
    want = [sum(w[j] * x[i + j] for j in range(r)) for i in range(m)]
    assert (A.T @ ((G @ w) * (B.T @ x))).tolist() == want


def test_the_matrices_are_those_of_lavin_and_gray_up_to_signs_that_cancel() -> None:
    """Lavin & Gray, arXiv:1509.09308, sections 4.1 and 4.3."""
    published = {
        2: (
            [[1, 1, 1, 0], [0, 1, -1, -1]],
            [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
            [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]],
            2,
        ),
        4: (
            [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ],
            [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
            24,
        ),
    }
    for m, (A_T, B_T, G, denominator) in published.items():
        ours = winograd_matrices(m)
        assert np.array_equal(np.abs(ours.A.T), np.abs(np.array(A_T)))
        assert np.array_equal(np.abs(ours.B.T), np.abs(np.array(B_T)))
        assert np.array_equal(np.abs(ours.G * denominator), np.abs(np.array(G)))
        term = np.einsum("ti,tj,tk->tijk", ours.A, ours.B.T, ours.G * denominator)
        assert np.array_equal(term, np.einsum("it,tj,tk->tijk", np.array(A_T), np.array(B_T), np.array(G)))


@pytest.mark.parametrize("m", WINOGRAD)
def test_winograd_multiplies_as_often_as_a_tile_has_inputs(m: int) -> None:
    tile = winograd_matrices(m).G.shape[0] ** 2
    direct = (m * 3) ** 2
    assert (tile, direct) == {2: (16, 36), 4: (36, 144), 6: (64, 324)}[m]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"algorithm": "magic"},
            f"CONV-C6: algorithm must be one of {', '.join(ALGORITHMS)}, got 'magic'",
        ),
        (
            {"algorithm": "winograd_2", "stride": 2},
            "CONV-C6: winograd_2 needs kernel 3, stride 1, dilation 1, got (3, 3), (2, 2), (1, 1)",
        ),
        (
            {"algorithm": "winograd_4", "dilation": (1, 2)},
            "CONV-C6: winograd_4 needs kernel 3, stride 1, dilation 1, got (3, 3), (1, 1), (1, 2)",
        ),
    ],
)
def test_an_algorithm_that_does_not_apply_raises_an_error(parameters: Any, message: str) -> None:
    with pytest.raises(ValueError, match="CONV-C6") as caught:
        conv(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), **parameters)
    assert str(caught.value) == message


def test_the_spectrum_of_fractions_is_refused() -> None:
    with pytest.raises(TypeError, match="CONV-C5: the spectrum of fractions holds no fractions"):
        conv(fractions(1, 1, 1, 3), fractions(1, 1, 1, 3), algorithm="fft")
