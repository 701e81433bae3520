r"""Pooling, or subsampling: a region of a feature map becomes one value.

The maximum, the average or the p-norm of a window that slides, of the whole map (global), or of as many
regions as are wanted (adaptive). Spec: page 12, Pooling.

**Arrays.** Inputs x (N, C, \*H), results (N, C, \*P), with 1, 2 or 3 spatial axes, treated by the same
lines; every map is pooled for itself.

**Windows.** Those of `gaugeblock.reference.windows`. Padding is a place, not a value: it never is a maximum
and adds nothing to a sum. A window may lie in the padding alone: without data its maximum is −Inf, its
average 0.

**Numbers.** Floats of up to 64 bits are widened to float64, and the result is float64; object arrays of
`fractions.Fraction` give exact fractions (only −Inf, the maximum without data, is none).

**Special values.** A NaN in a window is its maximum, the first one if there are several; among equal numbers
the first is chosen, row by row. Sums treat NaN and Inf by IEEE arithmetic.

**Bad arguments** raise `ValueError` or `TypeError`: POOL-C1 the rank of `x`, or what it holds; POOL-C2
kernel, stride, dilation or the size wanted; POOL-C3 padding; POOL-C4 `dy` or `input_shape` does not belong
to the pooling; POOL-C5 a divisor of 0, a norm below 1.

Source of the concept: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Pooling".
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.reference._arguments import Array, Shape, check_same_dtype, like, widened
from gaugeblock.reference.windows import Index, Windows, axis_pairs, axis_values

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_backward",
    "adaptive_max_pool",
    "adaptive_max_pool_backward",
    "avg_pool",
    "avg_pool_backward",
    "global_avg_pool",
    "global_avg_pool_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "lp_pool",
    "lp_pool_backward",
    "max_pool",
    "max_pool_backward",
    "max_pool_indices",
]

Steps: TypeAlias = int | tuple[int, ...]
Padding: TypeAlias = int | tuple[int, ...] | tuple[tuple[int, int], ...]

# ------------------------------------------------------------------------------------------------------------
# Rules for arguments. They need only shapes and parameters, so that an implementation elsewhere can refuse
# the same calls in the same words. For each operation NAME of a window there is NAME_shape, which takes the
# shapes of the operation's arrays and its parameters, and returns the shape of its result.


def pool_windows(
    x: Shape,
    *,
    kernel: Steps,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> Windows:
    """Return where the windows lie (POOL-C1 to POOL-C3); the stride is the kernel's size unless given.

    Examples
    --------
    >>> pool_windows((8, 3, 7, 5), kernel=2, ceil_mode=True).output
    (4, 3)
    >>> pool_windows((8, 3, 7, 5), kernel=(2, 0))
    Traceback (most recent call last):
        ...
    ValueError: POOL-C2: kernel must be at least 1, got (2, 0)
    """
    _check_rank("POOL-C1", "x", x)
    axes = len(x) - 2
    size = axis_values("POOL-C2", "kernel", kernel, axes, least=1)
    return Windows.slide(
        size=tuple(x[2:]),
        kernel=size,
        stride=size if stride is None else axis_values("POOL-C2", "stride", stride, axes, least=1),
        dilation=axis_values("POOL-C2", "dilation", dilation, axes, least=1),
        padding=axis_pairs("POOL-C3", "padding", padding, axes),
        ceil_mode=ceil_mode,
    )


def max_pool_shape(x: Shape, **parameters: Any) -> Shape:
    """Return the shape of ``max_pool(x, ...)`` and of its indices (POOL-C1 to POOL-C3).

    Examples
    --------
    >>> max_pool_shape((8, 3, 7, 5), kernel=3, stride=2, padding=1)
    (8, 3, 4, 3)
    """
    return (*x[:2], *pool_windows(x, **parameters).output)


def max_pool_backward_shape(dy: Shape, x: Shape, **parameters: Any) -> Shape:
    """Return the shape of `x`; refuse a `dy` that does not belong to it (POOL-C1 to POOL-C4).

    Examples
    --------
    >>> max_pool_backward_shape((8, 3, 7, 5), (8, 3, 7, 5), kernel=2)
    Traceback (most recent call last):
        ...
    ValueError: POOL-C4: dy has shape (8, 3, 7, 5), the forward result has shape (8, 3, 3, 2)
    """
    check_dy(dy, max_pool_shape(x, **parameters))
    return tuple(x)


def avg_pool_shape(
    x: Shape, *, count_include_pad: bool = True, divisor: float | None = None, **parameters: Any
) -> Shape:
    """Return the shape of ``avg_pool(x, ...)`` (POOL-C1 to POOL-C3, POOL-C5).

    Examples
    --------
    >>> avg_pool_shape((8, 3, 7, 5), kernel=2, divisor=0)
    Traceback (most recent call last):
        ...
    ValueError: POOL-C5: divisor must be a finite number other than 0, got 0
    """
    check_divisor(divisor)
    return (*x[:2], *pool_windows(x, **parameters).output)


def avg_pool_backward_shape(dy: Shape, *, input_shape: Shape, **parameters: Any) -> Shape:
    """Return `input_shape`; refuse a `dy` that does not belong to it (POOL-C2 to POOL-C5).

    Examples
    --------
    >>> avg_pool_backward_shape((8, 3, 3, 2), input_shape=(8, 3, 7, 5), kernel=2)
    (8, 3, 7, 5)
    """
    shape = stated_shape(input_shape)
    check_dy(dy, avg_pool_shape(shape, **parameters))
    return shape


def check_dy(dy: Shape, y: Shape) -> None:
    """Refuse a `dy` that has not the shape of the forward result (POOL-C4).

    Examples
    --------
    >>> check_dy((2, 3, 4), (2, 3, 4))
    """
    if tuple(dy) != tuple(y):
        raise ValueError(f"POOL-C4: dy has shape {tuple(dy)}, the forward result has shape {tuple(y)}")


def check_divisor(divisor: Any) -> None:
    """Refuse to divide by 0, or by what is no finite number (POOL-C5).

    Examples
    --------
    >>> check_divisor(None), check_divisor(-2.5)
    (None, None)
    """
    if divisor is not None and not (
        isinstance(divisor, numbers.Real) and math.isfinite(divisor) and divisor != 0
    ):
        raise ValueError(f"POOL-C5: divisor must be a finite number other than 0, got {divisor!r}")


def stated_shape(input_shape: Any) -> Shape:
    """Return a shape that is given as a parameter as a tuple of integers (POOL-C4).

    Examples
    --------
    >>> stated_shape([8, 3, 7])
    (8, 3, 7)
    """
    try:
        sizes = tuple(operator.index(size) for size in input_shape)
    except TypeError:
        raise TypeError(f"POOL-C4: input_shape must be a tuple of integers, got {input_shape!r}") from None
    _check_rank("POOL-C4", "input_shape", sizes)
    if min(sizes) < 0:
        raise ValueError(f"POOL-C4: input_shape must have sizes of at least 0, got {sizes}")
    return sizes


def adaptive_pool_shape(x: Shape, *, output_size: Steps) -> Shape:
    """Return the shape of an adaptive pooling (POOL-C1, POOL-C2).

    Examples
    --------
    >>> adaptive_pool_shape((8, 3, 7, 5), output_size=(3, 2))
    (8, 3, 3, 2)
    """
    _check_rank("POOL-C1", "x", x)
    return (*x[:2], *axis_values("POOL-C2", "output_size", output_size, len(x) - 2, least=1))


def _check_rank(clause: str, name: str, shape: Shape) -> None:
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"{clause}: {name} must have 3 to 5 axes, got shape {tuple(shape)}")


def _check_norm(p: Any) -> None:
    if not (isinstance(p, numbers.Real) and 1 <= float(p) < math.inf):
        raise ValueError(f"POOL-C5: p must be a finite number of at least 1, got {p!r}")


def _numbers(**array: Array) -> Array:
    return widened("POOL-C1", **array)[0]


def _numbers_with_dy(dy: Array, x: Array) -> tuple[Array, Array]:
    wide_dy, wide_x = _numbers(dy=dy), _numbers(x=x)
    check_same_dtype("POOL-C4", "dy", dy.dtype, "x", x.dtype)
    return wide_dy, wide_x


# ------------------------------------------------------------------------------------------------------------
# The maximum of a window.


def max_pool(
    x: Array,
    *,
    kernel: Steps,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""Maximum of each window: whether the feature is anywhere here.

    .. math:: y_p = \max_r x_{p s + r d - \text{before}}

    over the cells that hold data. A feature may move inside a window without any effect; the price is not to
    know where it was.

    Spec: POOL-S1; special values POOL-X1, POOL-X2.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.
    kernel : int or tuple of int
        The size of the window, R: for all axes, or for each.
    stride : int or tuple of int, optional
        Cells between two windows, s. The kernel's size unless given, so that windows neither overlap nor
        leave gaps.
    padding : int, tuple of int, or tuple of (before, after)
        Cells around the input, never chosen: for all axes, for each, or for both sides of each.
    dilation : int or tuple of int
        Cells between two cells of the window, d.
    ceil_mode : bool
        Whether a last window that reaches beyond the padding is taken too, provided it begins before the end
        of the input.

    Returns
    -------
    ndarray, shape (N, C, \*P)
        Exact: each is an element of its window; −Inf for a window without data.

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C3.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Pooling".

    Examples
    --------
    >>> x = np.array([[[1.0, 3.0, 2.0, 9.0, 5.0]]])
    >>> max_pool(x, kernel=2)
    array([[[3., 9.]]])
    >>> max_pool(x, kernel=3, stride=2, padding=1)
    array([[[3., 9., 9.]]])
    """
    x = _numbers(x=x)
    windows = pool_windows(
        x.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return _maxima(x, windows)[0]


def max_pool_indices(
    x: Array,
    *,
    kernel: Steps,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""Where the maximum of each window is: which element `max_pool` chose.

    Spec: POOL-S2; special values POOL-X1, POOL-X2, POOL-X4.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.
    kernel, stride, padding, dilation, ceil_mode
        As in `max_pool`.

    Returns
    -------
    ndarray of int64, shape (N, C, \*P)
        Index into the map (N and C not counted), whose cells are numbered row by row; −1 for a window without
        data. The first NaN of the window, or else its first maximum, row by row.

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C3.

    Examples
    --------
    >>> max_pool_indices(np.array([[[[1.0, 3.0], [3.0, 2.0], [9.0, 9.0]]]]), kernel=2, stride=1)
    array([[[[1],
             [4]]]])
    """
    x = _numbers(x=x)
    windows = pool_windows(
        x.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return _maxima(x, windows)[1]


def max_pool_backward(
    dy: Array,
    x: Array,
    *,
    kernel: Steps,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""Gradient of `max_pool`: each dy goes to the element that was chosen, and is added there.

    Spec: POOL-S3; special values POOL-X1, POOL-X2, POOL-X4.

    Parameters
    ----------
    dy : ndarray, shape (N, C, \*P)
        The gradient of the result, of the dtype of `x`. That of a window without data goes nowhere.
    x : ndarray, shape (N, C, \*H)
        What `max_pool` was given.
    kernel, stride, padding, dilation, ceil_mode
        As there.

    Returns
    -------
    ndarray, shape (N, C, \*H)
        0 for what no window chose.

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C4.

    Examples
    --------
    Both windows chose the 9:

    >>> max_pool_backward(np.array([[[1.0, 10.0]]]), np.array([[[1.0, 9.0, 2.0]]]), kernel=2, stride=1)
    array([[[ 0., 11.,  0.]]])
    """
    dy, x = _numbers_with_dy(dy, x)
    windows = pool_windows(
        x.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    check_dy(dy.shape, (*x.shape[:2], *windows.output))

    maps = math.prod(x.shape[:2])
    chosen = _maxima(x, windows)[1].reshape(maps, math.prod(windows.output))
    dx = np.full((maps, math.prod(windows.size)), like(x, 0))
    map_of, window = np.nonzero(chosen >= 0)
    with np.errstate(over="ignore", invalid="ignore"):
        np.add.at(dx, (map_of, chosen[map_of, window]), dy.reshape(chosen.shape)[map_of, window])
    return dx.reshape(x.shape)


def _maxima(x: Array, windows: Windows) -> tuple[Array, Array]:
    """Return the maximum of each window and its place, the first cell that is beaten by no other."""
    shape = (*x.shape[:2], *windows.output)
    best, place = np.full(shape, -np.inf, dtype=x.dtype), np.full(shape, -1, dtype=np.int64)
    numbering = np.arange(math.prod(windows.size)).reshape(windows.size)
    for _, outputs, inputs in windows.taps():
        seen, so_far = x[inputs], best[outputs]
        first, first_nan = place[outputs] < 0, (seen != seen) & (so_far == so_far)
        better = first | first_nan | (seen > so_far)
        best[outputs] = np.where(better, seen, so_far)
        place[outputs] = np.where(better, numbering[inputs], place[outputs])
    return best, place


# ------------------------------------------------------------------------------------------------------------
# The average of a window.


def avg_pool(
    x: Array,
    *,
    kernel: Steps,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: float | None = None,
) -> Array:
    r"""Average of each window: how much of the feature is here.

    .. math:: y_p = \frac{1}{D_p} \sum_r x_{p s + r d - \text{before}}

    over the cells that hold data. With a constant divisor it is a convolution with equal weights.

    Spec: POOL-S4; special values POOL-X1, POOL-X3.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.
    kernel, stride, padding, dilation, ceil_mode
        As in `max_pool`.
    count_include_pad : bool
        Whether D counts all cells of the window within the padded input, or only those that hold data. Cells
        beyond the padding, which `ceil_mode` brings in, never count.
    divisor : float, optional
        D for all windows. Next to fractions it may be one; a float is taken at its exact value.

    Returns
    -------
    ndarray, shape (N, C, \*P)
        Within γ_{n+1} of the average of absolute values, n the cells; 0 for a window without data.

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C3, POOL-C5.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Pooling".

    Examples
    --------
    >>> x = np.array([[[3.0, 6.0, 9.0, 12.0]]])
    >>> avg_pool(x, kernel=3, stride=2, padding=1)
    array([[[3., 9.]]])
    >>> avg_pool(x, kernel=3, stride=2, padding=1, count_include_pad=False)
    array([[[4.5, 9. ]]])
    """
    x = _numbers(x=x)
    check_divisor(divisor)
    windows = pool_windows(
        x.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    with np.errstate(over="ignore", invalid="ignore"):
        return _sums(x, windows) / _divisors(x, windows, count_include_pad, divisor)


def avg_pool_backward(
    dy: Array,
    *,
    input_shape: Shape,
    kernel: Steps,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: float | None = None,
) -> Array:
    r"""Gradient of `avg_pool`: every window hands dy / D back to each of its cells.

    Spec: POOL-S5; special values POOL-X1, POOL-X3.

    Parameters
    ----------
    dy : ndarray, shape (N, C, \*P)
        The gradient of the result.
    input_shape : tuple of int
        (N, C, \*H), the shape of what `avg_pool` was given.
    kernel, stride, padding, dilation, ceil_mode, count_include_pad, divisor
        As there.

    Returns
    -------
    ndarray, of shape `input_shape`

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C5.

    Examples
    --------
    >>> avg_pool_backward(np.array([[[2.0, 8.0]]]), input_shape=(1, 1, 3), kernel=2, stride=1)
    array([[[1., 5., 4.]]])
    """
    dy, shape = _numbers(dy=dy), stated_shape(input_shape)
    check_divisor(divisor)
    windows = pool_windows(
        shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    check_dy(dy.shape, (*shape[:2], *windows.output))
    with np.errstate(over="ignore", invalid="ignore"):
        dx = dy / _divisors(dy, windows, count_include_pad, divisor)
        for axis, H in enumerate(windows.size, start=2):
            share, dx = dx, np.full((*dx.shape[:axis], H, *dx.shape[axis + 1 :]), like(dx, 0))
            for outputs, inputs in windows.taps_along(axis - 2):
                dx[inputs] += share[outputs]
    return dx


def _sums(x: Array, windows: Windows) -> Array:
    """Return the sum of each window: a window is a box, so along one axis after the other."""
    for axis, P in enumerate(windows.output, start=2):
        total = np.full((*x.shape[:axis], P, *x.shape[axis + 1 :]), like(x, 0))
        for outputs, inputs in windows.taps_along(axis - 2):
            total[outputs] += x[inputs]
        x = total
    return x


def _divisors(x: Array, windows: Windows, count_include_pad: bool, divisor: float | None) -> Array:
    """Return what each window divides by; 1 where that would be 0, for a sum over nothing."""
    if divisor is not None:
        return np.full(windows.output, like(x, divisor))
    counts, which = np.unique(np.maximum(windows.cells(padded=count_include_pad), 1), return_inverse=True)
    numbers = np.array([like(x, int(count)) for count in counts], dtype=x.dtype)
    return numbers[which].reshape(windows.output)


# ------------------------------------------------------------------------------------------------------------
# The p-norm of a window.


def lp_pool(
    x: Array,
    *,
    kernel: Steps,
    p: float = 2,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""p-norm of each window: between the sum (p = 1) and the maximum (p → ∞) of absolute values.

    .. math:: y = \Big( \sum_r |x_r|^p \Big)^{1/p}

    over the cells that hold data. Values are divided by the largest of the window first, so that no power
    overflows where the norm does not.

    Spec: POOL-S8.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats, with 1, 2 or 3 spatial axes; with p = 1 also fractions.
    kernel, stride, padding, dilation, ceil_mode
        As in `max_pool`.
    p : float
        The norm, at least 1.

    Returns
    -------
    ndarray, shape (N, C, \*P)
        0 for a window without data.

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C3, POOL-C5.

    References
    ----------
    .. [1] P. Sermanet, S. Chintala and Y. LeCun, "Convolutional neural networks applied to house numbers
       digit classification", ICPR 2012, arXiv:1204.3968.

    Examples
    --------
    >>> lp_pool(np.array([[[3.0, -4.0, 0.0, 1e200]]]), kernel=2)
    array([[[5.e+000, 1.e+200]]])
    """
    x = _numbers(x=x)
    windows = pool_windows(
        x.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return _norms(x, windows, p)


def lp_pool_backward(
    dy: Array,
    x: Array,
    *,
    kernel: Steps,
    p: float = 2,
    stride: Steps | None = None,
    padding: Padding = 0,
    dilation: Steps = 1,
    ceil_mode: bool = False,
) -> Array:
    r"""Gradient of `lp_pool`: ``dx = dy · sign(x) · (|x| / y)^(p − 1)``, added over windows; 0 at x = 0.

    Parameters
    ----------
    dy : ndarray, shape (N, C, \*P)
        The gradient of the result, of the dtype of `x`.
    x : ndarray, shape (N, C, \*H)
        What `lp_pool` was given.
    kernel, p, stride, padding, dilation, ceil_mode
        As there.

    Returns
    -------
    ndarray, shape (N, C, \*H)

    Raises
    ------
    ValueError, TypeError
        POOL-C1 to POOL-C5.

    Examples
    --------
    >>> lp_pool_backward(np.array([[[10.0]]]), np.array([[[3.0, -4.0]]]), kernel=2)
    array([[[ 6., -8.]]])
    """
    dy, x = _numbers_with_dy(dy, x)
    windows = pool_windows(
        x.shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    check_dy(dy.shape, (*x.shape[:2], *windows.output))
    norms = _norms(x, windows, p)
    safe = np.where(norms == 0, like(x, 1), norms)
    sign = np.where(x > 0, like(x, 1), np.where(x < 0, like(x, -1), x))  # 0 and NaN stay what they are
    dx = np.full(x.shape, like(x, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        for _, outputs, inputs in windows.taps():
            steepness = like(x, 1) if p == 1 else (np.abs(x[inputs]) / safe[outputs]) ** (p - 1)
            dx[inputs] += dy[outputs] * sign[inputs] * steepness
    return dx


def _norms(x: Array, windows: Windows, p: float) -> Array:
    """Return the p-norm of each window."""
    _check_norm(p)
    if p == 1:
        return _sums(np.abs(x), windows)
    if x.dtype == object:
        raise TypeError(
            "POOL-C1: a root of a fraction is no fraction; x must be an array of floats, or p be 1"
        )
    largest = _maxima(np.abs(x), windows)[0]
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1.0)
    total = np.zeros(scale.shape)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for _, outputs, inputs in windows.taps():
            total[outputs] += (np.abs(x[inputs]) / scale[outputs]) ** p
        return scale * total ** (1 / p)


# ------------------------------------------------------------------------------------------------------------
# As many regions as are wanted, and one for all.


def adaptive_max_pool(x: Array, *, output_size: Steps) -> Array:
    r"""Maximum of each of P regions that share the map as evenly as whole cells allow.

    Region p has the cells from ``floor(p H / P)`` to ``ceil((p + 1) H / P) − 1``. Maps of any size become
    maps of one size, which a fully connected layer needs.

    Spec: POOL-S10; special values POOL-X2.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.
    output_size : int or tuple of int
        P: for all axes, or for each.

    Returns
    -------
    ndarray, shape (N, C, \*P)
        −Inf where the map has no cells.

    Raises
    ------
    ValueError, TypeError
        POOL-C1, POOL-C2.

    Examples
    --------
    The middle cell belongs to both regions:

    >>> adaptive_max_pool(np.array([[[1.0, 2.0, 9.0, 4.0, 5.0]]]), output_size=2)
    array([[[9., 9.]]])
    """
    x = _numbers(x=x)
    y = np.full(adaptive_pool_shape(x.shape, output_size=output_size), -np.inf, dtype=x.dtype)
    for output, cells in _regions(x.shape[2:], y.shape[2:]):
        if x[cells].size:
            y[output] = _flat(x[cells]).max(axis=2)
    return y


def adaptive_max_pool_backward(dy: Array, x: Array) -> Array:
    r"""Gradient of `adaptive_max_pool`: dy goes to the first maximum of its region, and is added there.

    Parameters
    ----------
    dy : ndarray, shape (N, C, \*P)
        The gradient of the result, of the dtype of `x`; its shape tells the size that was wanted.
    x : ndarray, shape (N, C, \*H)
        What `adaptive_max_pool` was given. A NaN counts as the maximum.

    Returns
    -------
    ndarray, shape (N, C, \*H)

    Raises
    ------
    ValueError, TypeError
        POOL-C1, POOL-C2, POOL-C4.

    Examples
    --------
    >>> adaptive_max_pool_backward(np.array([[[1.0, 10.0]]]), np.array([[[1.0, 9.0, 2.0]]]))
    array([[[ 0., 11.,  0.]]])
    """
    dy, x = _numbers_with_dy(dy, x)
    check_dy(dy.shape, adaptive_pool_shape(x.shape, output_size=dy.shape[2:]))
    dx = np.full(x.shape, like(x, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        for output, cells in _regions(x.shape[2:], dy.shape[2:]):
            if x[cells].size:
                region = _flat(x[cells])
                routed = np.full(region.shape, like(x, 0))
                chosen = np.expand_dims(
                    region.argmax(axis=2), 2
                )  # the first maximum; NaN is the largest of all
                np.put_along_axis(routed, chosen, np.expand_dims(dy[output], 2), axis=2)
                dx[cells] += routed.reshape(x[cells].shape)
    return dx


def adaptive_avg_pool(x: Array, *, output_size: Steps) -> Array:
    r"""Average of each of P regions that share the map as evenly as whole cells allow.

    The regions are those of `adaptive_max_pool`; each divides by its own number of cells.

    Spec: POOL-S10; special values POOL-X3.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.
    output_size : int or tuple of int
        P: for all axes, or for each.

    Returns
    -------
    ndarray, shape (N, C, \*P)
        0 where the map has no cells.

    Raises
    ------
    ValueError, TypeError
        POOL-C1, POOL-C2.

    Examples
    --------
    >>> adaptive_avg_pool(np.array([[[1.0, 2.0, 9.0, 4.0, 5.0]]]), output_size=2)
    array([[[4., 6.]]])
    """
    x = _numbers(x=x)
    y = np.full(adaptive_pool_shape(x.shape, output_size=output_size), like(x, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        for output, cells in _regions(x.shape[2:], y.shape[2:]):
            if x[cells].size:
                region = _flat(x[cells])
                y[output] = region.sum(axis=2) / like(x, region.shape[2])
    return y


def adaptive_avg_pool_backward(dy: Array, *, input_shape: Shape) -> Array:
    r"""Gradient of `adaptive_avg_pool`: every region hands dy, divided by its cells, back to each of them.

    Parameters
    ----------
    dy : ndarray, shape (N, C, \*P)
        The gradient of the result; its shape tells the size that was wanted.
    input_shape : tuple of int
        (N, C, \*H), the shape of what `adaptive_avg_pool` was given.

    Returns
    -------
    ndarray, of shape `input_shape`

    Raises
    ------
    ValueError, TypeError
        POOL-C1, POOL-C2, POOL-C4.

    Examples
    --------
    >>> adaptive_avg_pool_backward(np.array([[[3.0, 30.0]]]), input_shape=(1, 1, 5))
    array([[[ 1.,  1., 11., 10., 10.]]])
    """
    dy, shape = _numbers(dy=dy), stated_shape(input_shape)
    check_dy(dy.shape, adaptive_pool_shape(shape, output_size=dy.shape[2:]))
    dx = np.full(shape, like(dy, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        for output, cells in _regions(shape[2:], dy.shape[2:]):
            if dx[cells].size:
                count = math.prod(dx[cells].shape[2:])
                dx[cells] += (dy[output] / like(dy, count)).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    return dx


def global_max_pool(x: Array) -> Array:
    r"""Maximum of each whole map: `adaptive_max_pool` to one cell.

    Spec: POOL-S9; special values POOL-X2.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.

    Returns
    -------
    ndarray, shape (N, C, 1, …)

    Raises
    ------
    ValueError, TypeError
        POOL-C1.

    Examples
    --------
    >>> global_max_pool(np.array([[[1.0, 2.0, 9.0], [4.0, 5.0, 3.0]]])).tolist()
    [[[9.0], [5.0]]]
    """
    return adaptive_max_pool(x, output_size=1)


def global_max_pool_backward(dy: Array, x: Array) -> Array:
    r"""Gradient of `global_max_pool`: dy goes to the first maximum of its map.

    Parameters
    ----------
    dy : ndarray, shape (N, C, 1, …)
        The gradient of the result, of the dtype of `x`.
    x : ndarray, shape (N, C, \*H)
        What `global_max_pool` was given.

    Returns
    -------
    ndarray, shape (N, C, \*H)

    Raises
    ------
    ValueError, TypeError
        POOL-C1, POOL-C4.

    Examples
    --------
    >>> global_max_pool_backward(np.array([[[5.0]]]), np.array([[[1.0, 2.0, 2.0]]]))
    array([[[0., 5., 0.]]])
    """
    dy, x = _numbers_with_dy(dy, x)
    check_dy(dy.shape, adaptive_pool_shape(x.shape, output_size=1))
    return adaptive_max_pool_backward(dy, x)


def global_avg_pool(x: Array) -> Array:
    r"""Average of each whole map: `adaptive_avg_pool` to one cell.

    Spec: POOL-S9; special values POOL-X3.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Floats or fractions, with 1, 2 or 3 spatial axes.

    Returns
    -------
    ndarray, shape (N, C, 1, …)

    Raises
    ------
    ValueError, TypeError
        POOL-C1.

    References
    ----------
    .. [1] M. Lin, Q. Chen and S. Yan, "Network in network", 2013, arXiv:1312.4400.

    Examples
    --------
    >>> global_avg_pool(np.array([[[1.0, 2.0, 9.0], [4.0, 5.0, 3.0]]])).tolist()
    [[[4.0], [4.0]]]
    """
    return adaptive_avg_pool(x, output_size=1)


def global_avg_pool_backward(dy: Array, *, input_shape: Shape) -> Array:
    r"""Gradient of `global_avg_pool`: every cell of a map gets its share of dy.

    Parameters
    ----------
    dy : ndarray, shape (N, C, 1, …)
        The gradient of the result.
    input_shape : tuple of int
        (N, C, \*H), the shape of what `global_avg_pool` was given.

    Returns
    -------
    ndarray, of shape `input_shape`

    Raises
    ------
    ValueError, TypeError
        POOL-C1, POOL-C4.

    Examples
    --------
    >>> global_avg_pool_backward(np.array([[[6.0]]]), input_shape=(1, 1, 3))
    array([[[2., 2., 2.]]])
    """
    dy, shape = _numbers(dy=dy), stated_shape(input_shape)
    check_dy(dy.shape, adaptive_pool_shape(shape, output_size=1))
    return adaptive_avg_pool_backward(dy, input_shape=shape)


def _regions(size: Shape, output_size: Shape) -> Iterator[tuple[Index, Index]]:
    """Yield the index of every region's result, and that of its cells."""
    for output in np.ndindex(*output_size):
        cells = [
            slice(p * H // P, -(-(p + 1) * H // P)) for p, H, P in zip(output, size, output_size, strict=True)
        ]
        yield (..., *output), (..., *cells)


def _flat(region: Array) -> Array:
    """Return maps (N, C, *cells) as (N, C, cells)."""
    return region.reshape(*region.shape[:2], math.prod(region.shape[2:]))
