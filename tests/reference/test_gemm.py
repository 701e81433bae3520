"""GEMM of the reference: exact in fractions, and in float64 what the fractions say."""

import itertools
import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaugeblock.reference import gemm
from gaugeblock.reference.gemm import result_shape

SIZES = st.integers(0, 4)


@st.composite
def fractions(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Draw a matrix of small fractions."""
    values = st.fractions(-9, 9, max_denominator=12)
    count = math.prod(shape)
    array = np.empty(count, dtype=object)
    array[:] = draw(st.lists(values, min_size=count, max_size=count))
    return array.reshape(shape)


@st.composite
def integers(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Draw a matrix of integers so small that float64 adds their products exactly."""
    count = math.prod(shape)
    return np.array(draw(st.lists(st.integers(-999, 999), min_size=count, max_size=count)), float).reshape(
        shape
    )


def exactly(array: np.ndarray) -> np.ndarray:
    """Return the same numbers as fractions."""
    result = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        result[index] = Fraction(float(array[index]))
    return result


@given(st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.spec("GEMM-S1")
def test_float64_equals_fractions_wherever_every_step_is_exact(data: st.DataObject) -> None:
    M, K, N = data.draw(st.tuples(SIZES, SIZES, SIZES))
    a, b, c = data.draw(integers(M, K)), data.draw(integers(K, N)), data.draw(integers(M, N))
    alpha, beta = data.draw(st.sampled_from([(1.0, 0.0), (0.5, -2.0), (0.0, 1.0), (-1.0, 0.25), (0.0, 0.0)]))
    got = gemm(a, b, c, alpha=alpha, beta=beta)
    exact = gemm(exactly(a), exactly(b), exactly(c), alpha=alpha, beta=beta)
    assert got.shape == exact.shape == (M, N)
    assert all(isinstance(value, Fraction) for value in exact.flat)
    assert np.array_equal(exactly(got), exact)


@given(st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.spec("GEMM-S1")
def test_an_element_is_the_sum_of_products_that_the_formula_says(data: st.DataObject) -> None:
    M, K, N = data.draw(st.tuples(SIZES, SIZES, SIZES))
    a, b, c = data.draw(fractions(M, K)), data.draw(fractions(K, N)), data.draw(fractions(N))
    alpha, beta = Fraction(2, 3), Fraction(-5, 7)
    y = gemm(a, b, c, alpha=alpha, beta=beta)
    for m, n in np.ndindex(M, N):
        assert y[m, n] == alpha * sum(a[m, k] * b[k, n] for k in range(K)) + beta * c[n]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_product_of_three_matrices_does_not_depend_on_the_brackets(data: st.DataObject) -> None:
    M, K, L, N = data.draw(st.tuples(SIZES, SIZES, SIZES, SIZES))
    a, b, c = data.draw(fractions(M, K)), data.draw(fractions(K, L)), data.draw(fractions(L, N))
    assert np.array_equal(gemm(gemm(a, b), c), gemm(a, gemm(b, c)))


@given(st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.spec("GEMM-I1")
def test_the_transpose_of_a_product_is_the_product_of_the_transposes_in_reverse(data: st.DataObject) -> None:
    M, K, N = data.draw(st.tuples(SIZES, SIZES, SIZES))
    a, b = data.draw(fractions(M, K)), data.draw(fractions(K, N))
    assert np.array_equal(gemm(a, b).T, gemm(b.T, a.T))
    assert np.array_equal(gemm(a, b).T, gemm(b, a, transpose_a=True, transpose_b=True))


@given(st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.spec("GEMM-I2")
def test_a_product_is_linear_in_each_factor(data: st.DataObject) -> None:
    M, K, N = data.draw(st.tuples(SIZES, SIZES, SIZES))
    a, other, b = data.draw(fractions(M, K)), data.draw(fractions(M, K)), data.draw(fractions(K, N))
    assert np.array_equal(gemm(a + Fraction(3, 2) * other, b), gemm(a, b) + Fraction(3, 2) * gemm(other, b))


@given(st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.spec("GEMM-I3")
def test_a_product_cut_along_the_inner_size_is_collected_through_c(data: st.DataObject) -> None:
    M, K, N = data.draw(st.tuples(SIZES, SIZES, SIZES))
    a, b, cut = data.draw(fractions(M, K)), data.draw(fractions(K, N)), data.draw(st.integers(0, K))
    first = gemm(a[:, :cut], b[:cut])
    assert np.array_equal(gemm(a[:, cut:], b[cut:], first, beta=1.0), gemm(a, b))


@given(st.data())
@settings(max_examples=40, deadline=None)
@pytest.mark.spec("GEMM-I4")
def test_the_products_of_the_backward_pass_are_the_adjoints_of_the_forward_product(
    data: st.DataObject,
) -> None:
    M, K, N = data.draw(st.tuples(SIZES, SIZES, SIZES))
    a, b, y = data.draw(fractions(M, K)), data.draw(fractions(K, N)), data.draw(fractions(M, N))
    forward = (gemm(a, b) * y).sum()
    assert forward == (a * gemm(y, b, transpose_b=True)).sum() == (b * gemm(a, y, transpose_a=True)).sum()


@pytest.mark.parametrize(("transpose_a", "transpose_b"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.spec("GEMM-D1")
def test_a_flag_is_the_same_as_transposing_the_argument(transpose_a: bool, transpose_b: bool) -> None:
    draw = np.random.default_rng(1)
    a, b = draw.integers(-9, 9, (2, 3, 4)).astype(float), draw.integers(-9, 9, (4, 5)).astype(float)
    got = gemm(
        np.swapaxes(a, -1, -2) if transpose_a else a,
        b.T if transpose_b else b,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    assert np.array_equal(got, a @ b)


@pytest.mark.spec("GEMM-S4")
def test_every_matrix_of_a_batch_is_multiplied_as_if_alone() -> None:
    draw = np.random.default_rng(2)
    a = draw.integers(-9, 9, (3, 1, 2, 4)).astype(float)
    b = draw.integers(-9, 9, (5, 4, 3)).astype(float)
    c = draw.integers(-9, 9, (5, 1, 3)).astype(float)
    y = gemm(a, b, c, alpha=2.0, beta=3.0)
    assert y.shape == (3, 5, 2, 3)
    for i, j in np.ndindex(3, 5):
        assert np.array_equal(y[i, j], gemm(a[i, 0], b[j], c[j], alpha=2.0, beta=3.0))


def test_a_float64_product_is_within_gamma_of_the_correctly_rounded_sum() -> None:
    draw = np.random.default_rng(3)
    for K in (1, 2, 17, 400):
        a, b = draw.normal(size=(3, K)), draw.normal(size=(K, 2))
        u = 2.0**-53
        bound = (K + 1) * u / (1 - (K + 1) * u) * (np.abs(a) @ np.abs(b))
        exact = [[sum(map(Fraction.__mul__, map(Fraction, p), map(Fraction, q))) for q in b.T] for p in a]
        assert (np.abs(gemm(a, b) - np.array(exact, dtype=float)) <= bound).all()


@pytest.mark.spec("GEMM-S3")
def test_beta_zero_does_not_read_c_and_alpha_zero_does_not_read_a_and_b() -> None:
    ones, poison = np.ones((2, 2)), np.full((2, 2), np.nan)
    assert np.array_equal(gemm(ones, ones, poison), 2 * ones)
    assert np.array_equal(gemm(poison, ones * np.inf, ones, alpha=0.0, beta=3.0), 3 * ones)
    assert np.array_equal(gemm(poison, poison, poison, alpha=0.0, beta=0.0), 0 * ones)


@pytest.mark.spec("GEMM-X1")
def test_an_empty_sum_is_zero_and_an_empty_result_has_its_shape() -> None:
    bias = np.array([1.0, 2.0, 3.0])
    assert np.array_equal(gemm(np.ones((2, 0)), np.ones((0, 3))), np.zeros((2, 3)))
    assert np.array_equal(gemm(np.ones((2, 0)), np.ones((0, 3)), bias, beta=2.0), [2 * bias, 2 * bias])
    assert gemm(np.ones((0, 2)), np.ones((2, 3))).shape == (0, 3)
    assert gemm(np.ones((2, 2)), np.ones((2, 0)), np.ones((2, 1)), beta=1.0).shape == (2, 0)
    assert gemm(np.ones((0, 4, 2)), np.ones((2, 3))).shape == (0, 4, 3)


@pytest.mark.spec("GEMM-X2")
@pytest.mark.parametrize("size", [1, 2, 3, 8, 33, 64])
def test_nan_and_infinity_reach_their_row_and_no_other(size: int) -> None:
    for k in {0, size // 2, size - 1}:
        for value, partner, want in [
            (np.nan, 0.0, np.nan),
            (np.inf, 0.0, np.nan),
            (np.inf, 1.0, np.inf),
            (np.inf, -2.0, -np.inf),
        ]:
            a, b = np.ones((size, size)), np.full((size, size), partner)
            a[0, k] = value
            y = gemm(a, b)
            assert np.array_equal(y[0], np.full(size, want), equal_nan=True)
            assert np.array_equal(y[1:], np.full((size - 1, size), size * partner))
    assert math.isnan(gemm(np.array([[np.inf, np.inf]]), np.array([[1.0], [-1.0]]))[0, 0])


@pytest.mark.spec("GEMM-S2")
def test_the_factors_take_any_value() -> None:
    a, c = np.array([[3.0]]), np.array([[5.0]])
    for alpha, beta in itertools.product([0.0, 1.0, -1.0, 0.5, 0.1, 1e30], repeat=2):
        assert gemm(a, a, c, alpha=alpha, beta=beta)[0, 0] == alpha * 9.0 + beta * 5.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_narrow_floats_are_widened_before_the_first_product(dtype: Any) -> None:
    a = np.full((1, 5000), 2049.0).astype(dtype)
    y = gemm(a, a, transpose_b=True)
    assert y.dtype == np.float64
    assert y[0, 0] == 5000 * float(a[0, 0]) ** 2


def test_the_inputs_are_unchanged_and_the_result_is_a_new_array() -> None:
    a, b, c = np.eye(3), np.arange(9.0).reshape(3, 3), np.ones((3, 3))
    for arrays in ((a, b, c), (exactly(a), exactly(b), exactly(c))):
        before = [array.copy() for array in arrays]
        for alpha, beta in itertools.product([0.0, 1.0, 2.0], repeat=2):
            y = gemm(*arrays, alpha=alpha, beta=beta)
            assert not any(np.shares_memory(y, array) for array in arrays)
            assert all(np.array_equal(x, y) for x, y in zip(arrays, before, strict=True))


@pytest.mark.parametrize(
    ("shapes", "parameters", "message"),
    [
        (((3,), (3, 2)), {}, "GEMM-C1: a must have at least 2 axes, got shape (3,)"),
        (((2, 3), ()), {}, "GEMM-C1: b must have at least 2 axes, got shape ()"),
        (((2, 3), (4, 5)), {}, "GEMM-C2: a has 3 columns, b has 4 rows"),
        (((2, 3), (3, 5)), {"transpose_a": True}, "GEMM-C2: the transpose of a has 2 columns, b has 3 rows"),
        (((2, 3), (3, 5)), {"transpose_b": True}, "GEMM-C2: a has 3 columns, the transpose of b has 5 rows"),
        (
            ((7, 2, 3), (8, 3, 5)),
            {},
            "GEMM-C3: a has batch axes (7,), b has batch axes (8,), which do not broadcast",
        ),
        (((2, 3), (3, 5), (2,)), {}, "GEMM-C4: c has shape (2,), which does not broadcast to (2, 5)"),
        (((2, 3), (3, 1), (2, 5)), {}, "GEMM-C4: c has shape (2, 5), which does not broadcast to (2, 1)"),
        (
            ((2, 3), (3, 5), (1, 2, 5)),
            {},
            "GEMM-C4: c has shape (1, 2, 5), which does not broadcast to (2, 5)",
        ),
        (((2, 3), (3, 5)), {"beta": 0.5}, "GEMM-C4: beta is 0.5, but there is no c"),
    ],
)
def test_shapes_that_do_not_fit_raise_an_error_with_both_values(
    shapes: tuple[tuple[int, ...], ...], parameters: dict[str, Any], message: str
) -> None:
    for function, arguments in ((gemm, [np.ones(shape) for shape in shapes]), (result_shape, list(shapes))):
        with pytest.raises(ValueError, match="GEMM") as caught:
            function(*arguments, **parameters)
        assert str(caught.value) == message


@pytest.mark.spec("GEMM-C5")
@pytest.mark.parametrize(
    ("b", "message"),
    [
        ([[1.0]], "b must be an array of floats, got list"),
        (np.eye(1, dtype=int), "b must be an array of floats, got an array of int64"),
        (np.eye(1, dtype=complex), "b must be an array of floats, got an array of complex128"),
        (np.eye(1, dtype=np.float32), "a has dtype float64, b has dtype float32"),
        (np.array([[Fraction(1)]]), "a has dtype float64, b has dtype object"),
        (np.array([[1]], dtype=object), "b must hold fractions only, got int"),
    ],
)
def test_arrays_that_are_not_of_one_float_type_raise_an_error(b: Any, message: str) -> None:
    with pytest.raises(TypeError, match="GEMM-C5") as caught:
        gemm(np.eye(1), b)
    assert str(caught.value) == f"GEMM-C5: {message}"
    with pytest.raises(TypeError, match="GEMM-C5") as caught:
        gemm(np.eye(1), np.eye(1), b)
    assert str(caught.value) == f"GEMM-C5: {message}".replace("b ", "c ")


@pytest.mark.spec("GEN-D9")
@pytest.mark.parametrize("value", [None, "2", [1.0], 1j])
def test_a_scale_that_is_no_real_number_raises_an_error(value: Any) -> None:
    for name in ("alpha", "beta"):
        with pytest.raises(TypeError, match=f"^GEN-D9: {name} must be a real number, got"):
            gemm(np.eye(1), np.eye(1), np.eye(1), **{name: value})


@pytest.mark.spec("GEMM-C5")
@pytest.mark.parametrize("a", [None, np.ma.masked_array([[1.0]], [[True]])])
def test_nothing_and_arrays_with_rules_of_their_own_are_no_arrays(a: Any) -> None:
    with pytest.raises(TypeError, match=r"^GEMM-C5: a must be an array of floats, got"):
        gemm(a, np.eye(1))
