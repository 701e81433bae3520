"""GEMM, general matrix multiplication: what a layer does to its inputs before its activation.

Spec: page 15, GEMM. A shape is checked by `result_shape` alone, so that an implementation on another device
can refuse the same arguments with the same words.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from gaugeblock.reference._arguments import Array, Shape, like, widened

__all__ = ["gemm", "result_shape"]


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Array:
    r"""Multiply two matrices, scale the product, and add a third: ``alpha · op(a) op(b) + beta · c``.

    .. math:: y_{mn} = \alpha \sum_{k=1}^{K} a_{mk} b_{kn} + \beta c_{mn}

    The sum over no products (K = 0) is 0. With ``beta = 0`` the values of `c` are not read, with ``alpha =
    0`` not those of `a` and `b`: a NaN in there does not reach the result.

    Spec: GEMM-S1 to GEMM-S4; special values GEMM-X1, GEMM-X2.

    Parameters
    ----------
    a : ndarray, shape (..., M, K), or (..., K, M) with `transpose_a`
        Floats (float16, bfloat16, float32 or float64) or fractions.
    b : ndarray, shape (..., K, N), or (..., N, K) with `transpose_b`
        Of the same dtype. The leading axes of `a` and `b`, the batch, broadcast.
    c : ndarray, broadcastable to (..., M, N), optional
        Of the same dtype. Required if `beta` is not 0.
    alpha, beta : float
        The scales. Next to fractions they may be fractions; a float is taken at its exact value.
    transpose_a, transpose_b : bool
        Whether op swaps the last two axes.

    Returns
    -------
    ndarray, shape (..., M, N)
        float64, within γ_K of |a| |b| (γ_n = n 2⁻⁵³ / (1 − n 2⁻⁵³)) plus one rounding for each scale and for
        the sum; next to fractions the exact fractions.

    Raises
    ------
    ValueError
        GEMM-C1 to GEMM-C4: the shapes do not fit (see `result_shape`).
    TypeError
        GEMM-C5: an argument is no array of floats or fractions, or the dtypes differ. GEN-D9: a scale is no
        real number.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Activation Function": the
       weighted data that an activation transforms is inputs × weights.
    .. [2] J. J. Dongarra et al., "A set of level 3 basic linear algebra subprograms", ACM TOMS 16 (1990).

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock.reference import gemm
    >>> inputs = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> weights = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    >>> bias = np.array([10.0, 20.0, 30.0])
    >>> gemm(inputs, weights, bias, beta=1.0)
    array([[11., 22., 33.],
           [13., 24., 37.]])

    The same lines compute in exact fractions:

    >>> from fractions import Fraction
    >>> thirds = np.array([[Fraction(1, 3), Fraction(2, 3)]])
    >>> gemm(thirds, thirds, transpose_b=True)
    array([[Fraction(5, 9)]], dtype=object)
    """
    a, b, *rest = widened("GEMM-C5", optional=["c"], a=a, b=b, c=c)
    c = rest[0] if rest else None
    shape = result_shape(
        a.shape,
        b.shape,
        None if c is None else c.shape,
        alpha=alpha,
        beta=beta,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    if transpose_a:
        a = np.swapaxes(a, -1, -2)
    if transpose_b:
        b = np.swapaxes(b, -1, -2)

    result = np.full(shape, like(a, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        if alpha != 0:
            result = like(a, alpha) * np.matmul(a, b)
        if beta != 0:
            result = result + like(a, beta) * c
    return result


def result_shape(
    a: Shape,
    b: Shape,
    c: Shape | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Shape:
    """Return the shape of ``gemm(a, b, c, ...)`` from the shapes of its arrays.

    Parameters
    ----------
    a, b, c : tuple of int
        The shapes; None if there is no `c`.
    alpha, beta : float
        The scales of the product and of `c`.
    transpose_a, transpose_b : bool
        Whether the last two axes of `a`, of `b` are swapped.

    Returns
    -------
    tuple of int
        (..., M, N).

    Raises
    ------
    ValueError
        GEMM-C1: `a` or `b` is no matrix. GEMM-C2: the inner sizes differ. GEMM-C3: the batch axes do not
        broadcast. GEMM-C4: `c` does not broadcast to the result, or is missing.
    TypeError
        GEN-D9: a scale is no real number.

    Examples
    --------
    >>> from gaugeblock.reference.gemm import result_shape
    >>> result_shape((8, 2, 3), (3, 5))
    (8, 2, 5)
    >>> result_shape((2, 3), (4, 5))
    Traceback (most recent call last):
        ...
    ValueError: GEMM-C2: a has 3 columns, b has 4 rows
    """
    _check_factor("alpha", alpha)
    _check_factor("beta", beta)
    for name, shape in (("a", a), ("b", b)):
        if len(shape) < 2:
            raise ValueError(f"GEMM-C1: {name} must have at least 2 axes, got shape {tuple(shape)}")
    rows, a_inner = (a[-1], a[-2]) if transpose_a else (a[-2], a[-1])
    b_inner, columns = (b[-1], b[-2]) if transpose_b else (b[-2], b[-1])
    if a_inner != b_inner:
        a_name = "the transpose of a" if transpose_a else "a"
        b_name = "the transpose of b" if transpose_b else "b"
        raise ValueError(f"GEMM-C2: {a_name} has {a_inner} columns, {b_name} has {b_inner} rows")
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        axes = f"a has batch axes {tuple(a[:-2])}, b has batch axes {tuple(b[:-2])}"
        raise ValueError(f"GEMM-C3: {axes}, which do not broadcast") from None
    result = (*batch, rows, columns)
    if c is not None:
        if not _broadcasts_to(c, result):
            raise ValueError(f"GEMM-C4: c has shape {tuple(c)}, which does not broadcast to {result}")
    elif beta != 0:
        raise ValueError(f"GEMM-C4: beta is {beta}, but there is no c")
    return result


def _check_factor(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Real):
        raise TypeError(f"GEN-D9: {name} must be a real number, got {value!r}")


def _broadcasts_to(shape: Shape, target: Shape) -> bool:
    """Return whether an array of this shape can be repeated to the target shape."""
    aligned = zip(reversed(shape), reversed(target), strict=False)
    return len(shape) <= len(target) and all(size in (1, wanted) for size, wanted in aligned)
