r"""Convolution: a feature map and a kernel mix to a transformed feature map.

Mathematics reverses the kernel before it slides (`convolve`); the layers of neural networks do not
(`cross_correlate`, `conv`). With learned kernels the difference is a matter of naming. Spec: page 11,
Convolution.

**Arrays.** Inputs x (N, C, \*H), weights w (K, C/groups, \*R), outputs y (N, K, \*P): N images, C and K
channels, and 1, 2 or 3 spatial axes, which the same lines treat.

**Numbers.** Floats of up to 64 bits are widened to float64, and the result is float64; object arrays of
`fractions.Fraction` give exact fractions. A sum over nothing (no channels, no images, no window) is 0.

**Special values.** NaN and Inf go through the products and sums by IEEE arithmetic. There are no products
with the padding: an infinite weight over it adds nothing.

**Bad arguments** raise `ValueError` or `TypeError`: CONV-C1 the ranks, or the sizes of `w` or `bias`; CONV-C2
channels do not fit the groups; CONV-C3 stride, padding or dilation; CONV-C4 gradients, residuals and stated
shapes that do not belong to the convolution; CONV-C5 no floats or fractions, or dtypes that differ; CONV-C6
an algorithm, an activation or a mode that does not exist, or does not apply.

Source of the concept: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gaugeblock.reference import activation as activations
from gaugeblock.reference import convolution_algorithms as algorithms
from gaugeblock.reference._arguments import Array, Shape, like, widened
from gaugeblock.reference.windows import Windows, axis_pairs, axis_values, same_padding

__all__ = [
    "conv",
    "conv_backward_bias",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_fused",
    "conv_transpose",
    "convolve",
    "cross_correlate",
]

Steps: TypeAlias = int | tuple[int, ...]
Padding: TypeAlias = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]

ALGORITHMS = ("direct", "im2col", "fft", "winograd_2", "winograd_4", "winograd_6")
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": activations.relu,
    "relu6": activations.relu6,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "silu": activations.silu,
    "gelu": activations.gelu,
}

# ------------------------------------------------------------------------------------------------------------
# Rules for arguments. They need only shapes and parameters, so that an implementation elsewhere can refuse
# the same calls in the same words. For each operation NAME there is NAME_shape, which takes the shapes of the
# operation's arrays and its parameters, and returns the shape of its result.


def conv_windows(
    x: Shape, w: Shape, *, stride: Steps = 1, padding: Padding = 0, dilation: Steps = 1
) -> Windows:
    """Return where the outputs of ``conv(x, w, ...)`` look (CONV-C1, CONV-C3).

    Examples
    --------
    >>> windows = conv_windows((8, 3, 7, 5), (4, 3, 3, 3), stride=2, padding="same")
    >>> windows.before, windows.after, windows.output
    ((1, 1), (1, 1), (4, 3))
    >>> conv_windows((8, 3, 7, 5), (4, 3, 3, 3), stride=(2, 1, 1))
    Traceback (most recent call last):
        ...
    ValueError: CONV-C3: stride has 3 values, there are 2 spatial axes
    """
    _check_ranks(x, w)
    size, kernel, axes = tuple(x[2:]), tuple(w[2:]), len(x) - 2
    strides = axis_values("CONV-C3", "stride", stride, axes, least=1)
    dilations = axis_values("CONV-C3", "dilation", dilation, axes, least=1)
    if isinstance(padding, str):
        if padding != "same":
            raise ValueError(f'CONV-C3: padding must be numbers or "same", got {padding!r}')
        pairs = same_padding(size, kernel, strides, dilations)
    else:
        pairs = axis_pairs("CONV-C3", "padding", padding, axes)
    return Windows.slide(size=size, kernel=kernel, stride=strides, dilation=dilations, padding=pairs)


def conv_shape(
    x: Shape,
    w: Shape,
    bias: Shape | None = None,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Shape:
    """Return the shape of ``conv(x, w, bias, ...)``; refuse what does not fit (CONV-C1 to CONV-C3).

    Examples
    --------
    >>> conv_shape((8, 3, 7, 5), (4, 3, 3, 3), padding=1)
    (8, 4, 7, 5)
    >>> conv_shape((8, 3, 7, 5), (4, 4, 3, 3))
    Traceback (most recent call last):
        ...
    ValueError: CONV-C2: x has 3 channels, w expects 4
    """
    windows = conv_windows(x, w, stride=stride, padding=padding, dilation=dilation)
    _check_groups("x", x[1], w[1], "w", w[0], groups)
    _check_bias(bias, w[0])
    return (x[0], w[0], *windows.output)


def conv_backward_input_shape(
    dy: Shape,
    w: Shape,
    *,
    input_shape: Shape,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Shape:
    """Return `input_shape`; refuse a `dy` that is not of the shape of that convolution's result (CONV-C4).

    Examples
    --------
    >>> conv_backward_input_shape((8, 4, 5, 3), (4, 3, 3, 3), input_shape=(8, 3, 7, 6))
    Traceback (most recent call last):
        ...
    ValueError: CONV-C4: dy has shape (8, 4, 5, 3), the result of conv has shape (8, 4, 5, 4)
    """
    shape = _stated_shape("input_shape", input_shape)
    y = conv_shape(shape, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if tuple(dy) != y:
        raise ValueError(f"CONV-C4: dy has shape {tuple(dy)}, the result of conv has shape {y}")
    return shape


def conv_backward_weight_shape(
    dy: Shape,
    x: Shape,
    *,
    kernel_shape: Shape,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Shape:
    """Return `kernel_shape`; refuse a `dy` that is not of the shape of that convolution's result (CONV-C4).

    Examples
    --------
    >>> conv_backward_weight_shape((8, 4, 5, 3), (8, 3, 7, 5), kernel_shape=(4, 3, 3, 3))
    (4, 3, 3, 3)
    """
    shape = _stated_shape("kernel_shape", kernel_shape)
    y = conv_shape(x, shape, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if tuple(dy) != y:
        raise ValueError(f"CONV-C4: dy has shape {tuple(dy)}, the result of conv has shape {y}")
    return shape


def conv_backward_bias_shape(dy: Shape) -> Shape:
    """Return (K,); refuse a `dy` that no convolution makes (CONV-C1).

    Examples
    --------
    >>> conv_backward_bias_shape((8, 4, 5, 3))
    (4,)
    """
    _check_rank("dy", dy)
    return (dy[1],)


def conv_transpose_shape(
    x: Shape,
    w: Shape,
    bias: Shape | None = None,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    output_padding: Steps = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Shape:
    """Return the shape of ``conv_transpose(x, w, bias, ...)``; refuse what does not fit (CONV-C1 to CONV-C3).

    Examples
    --------
    >>> conv_transpose_shape((8, 4, 3, 3), (4, 3, 3, 3), stride=2, padding=1, output_padding=(0, 1))
    (8, 3, 5, 6)
    """
    _check_ranks(x, w)
    axes = len(x) - 2
    strides = axis_values("CONV-C3", "stride", stride, axes, least=1)
    dilations = axis_values("CONV-C3", "dilation", dilation, axes, least=1)
    extra = axis_values("CONV-C3", "output_padding", output_padding, axes, least=0)
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
        raise ValueError(
            f"CONV-C3: output_padding is {extra}, stride is {strides}; output_padding < stride is required"
        )
    if isinstance(padding, str) and padding == "same":
        if any(extra):
            raise ValueError(f'CONV-C3: padding is "same", which leaves no output_padding, got {extra}')
        size = tuple(H * s for H, s in zip(x[2:], strides, strict=True))
    else:
        whole = conv_windows(x, w, padding=padding)
        size = tuple(
            (H - 1) * s - before - after + d * (R - 1) + e + 1
            for H, s, before, after, d, R, e in zip(
                x[2:], strides, whole.before, whole.after, dilations, w[2:], extra, strict=True
            )
        )
        if min(size) < 0 < min(x[2:]):
            raise ValueError(f"CONV-C3: padding is {padding}, which leaves a result of size {size}")
    groups = _count_of_groups(groups)
    if x[1] != w[0] or w[0] % groups:
        raise ValueError(f"CONV-C2: x has {x[1]} channels, w expects {w[0]}, in {groups} groups")
    channels = w[1] * groups
    _check_bias(bias, channels)
    return (x[0], channels, *(max(H, 0) for H in size))


def conv_fused_shape(
    x: Shape,
    w: Shape,
    bias: Shape | None,
    residual: Shape | None = None,
    *,
    activation: str = "relu",
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Shape:
    """Return the shape of ``conv_fused(x, w, bias, ...)``; refuse what does not fit (all but CONV-C5).

    Examples
    --------
    >>> conv_fused_shape((8, 3, 7, 5), (4, 3, 3, 3), (4,), (8, 4, 7, 5))
    Traceback (most recent call last):
        ...
    ValueError: CONV-C4: residual has shape (8, 4, 7, 5), the result of conv has shape (8, 4, 5, 3)
    """
    y = conv_shape(x, w, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if residual is not None and tuple(residual) != y:
        raise ValueError(f"CONV-C4: residual has shape {tuple(residual)}, the result of conv has shape {y}")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(f"CONV-C6: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return y


def check_algorithm(algorithm: str, windows: Windows) -> None:
    """Refuse an algorithm that does not exist, or not for these windows (CONV-C6).

    Examples
    --------
    >>> check_algorithm("winograd_4", conv_windows((8, 3, 7), (4, 3, 5)))
    Traceback (most recent call last):
        ...
    ValueError: CONV-C6: winograd_4 needs kernel 3, stride 1, dilation 1, got (5,), (1,), (1,)
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"CONV-C6: algorithm must be one of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    steps = {*windows.stride, *windows.dilation}
    if algorithm.startswith("winograd") and (set(windows.kernel) != {3} or steps != {1}):
        raise ValueError(
            f"CONV-C6: {algorithm} needs kernel 3, stride 1, dilation 1, got {windows.kernel}, "
            f"{windows.stride}, {windows.dilation}"
        )


def _check_rank(name: str, shape: Shape) -> None:
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"CONV-C1: {name} must have 3 to 5 axes, got shape {tuple(shape)}")


def _check_ranks(x: Shape, w: Shape) -> None:
    _check_rank("x", x)
    _check_kernel(x, w, spatial=w[2:])


def _check_kernel(x: Shape, w: Shape, spatial: Shape) -> None:
    if len(w) != len(x):
        raise ValueError(f"CONV-C1: x has {len(x)} axes, w has {len(w)}; as many are required")
    if 0 in spatial:
        raise ValueError(f"CONV-C1: a kernel must have at least 1 cell per axis, w has shape {tuple(w)}")


def _check_bias(bias: Shape | None, channels: int) -> None:
    if bias is not None and tuple(bias) != (channels,):
        raise ValueError(f"CONV-C1: bias must have shape ({channels},), got {tuple(bias)}")


def _count_of_groups(groups: Any) -> int:
    try:
        count = operator.index(groups)
    except TypeError:
        raise TypeError(f"CONV-C2: groups must be an integer, got {groups!r}") from None
    if count < 1:
        raise ValueError(f"CONV-C2: groups must be at least 1, got {count}")
    return count


def _check_groups(x_name: str, C: int, per_group: int, w_name: str, K: int, groups: Any) -> None:
    count = _count_of_groups(groups)
    expected = per_group * count
    if expected != C:
        each = "" if count == 1 else f" ({per_group} in each of {count} groups)"
        raise ValueError(f"CONV-C2: {x_name} has {C} channels, {w_name} expects {expected}{each}")
    if K % count:
        raise ValueError(f"CONV-C2: {w_name} has {K} kernels, groups is {count}, which does not divide them")


def _stated_shape(name: str, shape: Any) -> Shape:
    """Return a shape that is given as a parameter as a tuple of integers, none below 0."""
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"CONV-C4: {name} must be a tuple of integers, got {shape!r}") from None
    if not 3 <= len(sizes) <= 5 or min(sizes) < 0:
        raise ValueError(f"CONV-C4: {name} must be 3 to 5 sizes of at least 0, got {sizes}")
    return sizes


# ------------------------------------------------------------------------------------------------------------
# The mathematical operations.


def cross_correlate(x: Array, w: Array, *, mode: str = "full") -> Array:
    r"""Cross-correlate: slide a kernel over an array, as it is.

    .. math:: y_p = \sum_r w_r\, x_{p + r - o}

    The offset o and the size of y are the mode's: in mode "full" every p counts where the kernel overlaps the
    array at all, in "valid" where it lies within, and "same" is the middle of "full", of the size of `x`.

    Spec: CONV-S9.

    Parameters
    ----------
    x : ndarray, 1 to 3 axes
        Floats or fractions.
    w : ndarray of as many axes
        The kernel, of the same dtype; no axis may be empty.
    mode : "full", "same" or "valid"
        Which outputs.

    Returns
    -------
    ndarray
        Per axis of size H + R − 1, H or H − R + 1 (at least 0).

    Raises
    ------
    ValueError, TypeError
        CONV-C1, CONV-C5, CONV-C6.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".

    Examples
    --------
    Where does a pattern occur? Where its correlation with the data is largest.

    >>> data, pattern = np.array([0.0, 0.0, 1.0, -1.0, 2.0, 0.0]), np.array([1.0, -1.0, 2.0])
    >>> cross_correlate(data, pattern, mode="valid")
    array([ 2., -3.,  6., -3.])
    """
    x, w = widened("CONV-C5", x=x, w=w)
    if not 1 <= x.ndim <= 3:
        raise ValueError(f"CONV-C1: x must have 1 to 3 axes, got shape {x.shape}")
    _check_kernel(x.shape, w.shape, spatial=w.shape)
    reach = [R - 1 for R in w.shape]
    paddings: dict[str, Padding] = {
        "full": tuple((r, r) for r in reach),
        "same": tuple((r - r // 2, r // 2) for r in reach),
        "valid": 0,
    }
    if mode not in paddings:
        raise ValueError(f"CONV-C6: mode must be one of {', '.join(paddings)}, got {mode!r}")
    result: Array = conv(x[None, None], w[None, None], padding=paddings[mode])[0, 0]
    return result


def convolve(x: Array, w: Array, *, mode: str = "full") -> Array:
    r"""Convolve: slide the reversed kernel over an array.

    .. math:: (x * w)_p = \sum_r w_r\, x_{p - r}

    Reversal makes the operation commutative (mode "full") and associative, and turns it into a product of
    polynomials, of spectra, of probabilities of a sum. It is `cross_correlate` with ``w[::-1]``.

    Spec: CONV-S10.

    Parameters
    ----------
    x : ndarray, 1 to 3 axes
        Floats or fractions.
    w : ndarray of as many axes
        The kernel, of the same dtype; no axis may be empty.
    mode : "full", "same" or "valid"
        As in `cross_correlate`.

    Returns
    -------
    ndarray
        Per axis of size H + R − 1, H or H − R + 1 (at least 0).

    Raises
    ------
    ValueError, TypeError
        CONV-C1, CONV-C5, CONV-C6.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".

    Examples
    --------
    The distribution of the sum of two dice, exactly:

    >>> from fractions import Fraction
    >>> die = np.array([Fraction(1, 6)] * 6)
    >>> [str(p) for p in convolve(die, die)]
    ['1/36', '1/18', '1/12', '1/9', '5/36', '1/6', '5/36', '1/9', '1/12', '1/18', '1/36']

    A weighted moving average:

    >>> convolve(np.array([0.0, 0.0, 4.0, 0.0, 0.0]), np.array([0.25, 0.5, 0.25]), mode="same")
    array([0., 1., 2., 1., 0.])
    """
    return cross_correlate(x, np.flip(w) if isinstance(w, np.ndarray) else w, mode=mode)


# ------------------------------------------------------------------------------------------------------------
# The layer's operation, and its gradients. With the groups on an axis of their own, x is (N, G, C/G, *H), w
# is (G, K/G, C/G, *R) and y is (N, G, K/G, *P).


def conv(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
    algorithm: str = "im2col",
) -> Array:
    r"""Convolve feature maps with kernels, as the layers of neural networks do: without reversing them.

    .. math:: y_{nkp} = \sum_c \sum_r w_{kcr}\, x_{n,\, c,\, p s + r d - \text{before}} + b_k

    p, r, s, d and before stand for one number per spatial axis. The inner sum takes only the cells of x that
    exist. With groups, kernel k sees the channels of its own group alone.

    Spec: CONV-S1; special values CONV-X1, CONV-X2.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Feature maps of floats (float16, bfloat16, float32 or float64) or fractions.
    w : ndarray, shape (K, C/groups, \*R)
        K kernels, of the same dtype.
    bias : ndarray, shape (K,), optional
        What is added to each output map, of the same dtype.
    stride : int or tuple of int
        Cells between two windows, s: for all axes, or for each.
    padding : int, tuple of int, tuple of (before, after), or "same"
        Cells around the input: for all axes, for each, or for both sides of each. "same" pads so that the
        output has ceil(H / s) cells, the smaller half before.
    dilation : int or tuple of int
        Cells between two cells of the kernel, d.
    groups : int
        Into how many groups, which do not see each other, the channels fall.
    algorithm : "im2col", "direct", "fft", "winograd_2", "winograd_4" or "winograd_6"
        Which way to the same result; see `gaugeblock.reference.convolution_algorithms`. "fft" takes no
        fractions, Winograd's only kernels of 3 cells at stride and dilation 1. Weights that are not finite go
        the direct way instead of "im2col", which would multiply them with the padding's zeros.

    Returns
    -------
    ndarray, shape (N, K, \*P)
        With ``P = floor((H + before + after − d (R − 1) − 1) / s) + 1``, or 0 where the kernel is larger than
        the padded input. float64, within γ_{n+1} of the same sum of absolute values, n = C/groups · ΠR, by
        "direct" and "im2col"; next to fractions the exact fractions.

    Raises
    ------
    ValueError, TypeError
        CONV-C1 to CONV-C3, CONV-C5, CONV-C6.

    References
    ----------
    .. [1] T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Convolution".
    .. [2] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
       arXiv:1603.07285.

    Examples
    --------
    A detector of vertical edges:

    >>> image = np.array([[0.0, 0.0, 9.0, 9.0]] * 3)
    >>> edges = np.array([[-1.0, 0.0, 1.0]] * 3)
    >>> conv(image[None, None], edges[None, None])
    array([[[[27., 27.]]]])

    Every other window of three channels, each with a kernel of its own, in exact fractions:

    >>> from fractions import Fraction
    >>> x = np.full((1, 3, 5), Fraction(1, 3))
    >>> w = np.full((3, 1, 2), Fraction(1, 2))
    >>> conv(x, w, stride=2, groups=3)[0, 0]
    array([Fraction(1, 3), Fraction(1, 3)], dtype=object)
    """
    x, w, *rest = widened("CONV-C5", optional=["bias"], x=x, w=w, bias=bias)
    bias = rest[0] if rest else None
    steps: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = conv_shape(x.shape, w.shape, None if bias is None else bias.shape, **steps, groups=groups)
    windows = conv_windows(x.shape, w.shape, **steps)
    check_algorithm(algorithm, windows)

    with np.errstate(over="ignore", invalid="ignore"):
        y = _convolved(_maps(x, groups), _kernels(w, groups), windows, algorithm).reshape(shape)
        return y if bias is None else y + _per_channel(bias, y.ndim)


def conv_backward_input(
    dy: Array,
    w: Array,
    *,
    input_shape: Shape,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Array:
    r"""Gradient of `conv` with respect to its input: every output hands back what it took.

    .. math:: dx_{nch} = \sum_{p,\, r:\ p s + r d - \text{before} = h}\ \sum_k w_{kcr}\, dy_{nkp}

    It is the adjoint of ``x ↦ conv(x, w)``: :math:`\langle conv(x, w), dy \rangle = \langle x, dx \rangle`.
    An input that no window looks at has the gradient 0.

    Spec: CONV-S2; special values CONV-X1, CONV-X2.

    Parameters
    ----------
    dy : ndarray, shape (N, K, \*P)
        The gradient of the result.
    w : ndarray, shape (K, C/groups, \*R)
        The kernels, of the same dtype.
    input_shape : tuple of int
        (N, C, \*H): with a stride, several inputs have outputs of one size.
    stride, padding, dilation, groups
        As in `conv`.

    Returns
    -------
    ndarray, of shape `input_shape`

    Raises
    ------
    ValueError, TypeError
        CONV-C1 to CONV-C5.

    Examples
    --------
    >>> dy, w = np.array([[[1.0, 10.0]]]), np.array([[[2.0, 3.0]]])
    >>> conv_backward_input(dy, w, input_shape=(1, 1, 5), stride=2)
    array([[[ 2.,  3., 20., 30.,  0.]]])
    """
    dy, w = widened("CONV-C5", dy=dy, w=w)
    steps: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = conv_backward_input_shape(dy.shape, w.shape, input_shape=input_shape, **steps, groups=groups)
    return _handed_back(dy, w, shape, conv_windows(shape, w.shape, **steps), groups)


def conv_backward_weight(
    dy: Array,
    x: Array,
    *,
    kernel_shape: Shape,
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Array:
    r"""Gradient of `conv` with respect to its weights: each weight collects from all windows it served in.

    .. math:: dw_{kcr} = \sum_n \sum_p dy_{nkp}\, x_{n,\, c,\, p s + r d - \text{before}}

    It is the adjoint of ``w ↦ conv(x, w)``. Over no images, or no windows, it is 0.

    Spec: CONV-S3; special values CONV-X1, CONV-X2.

    Parameters
    ----------
    dy : ndarray, shape (N, K, \*P)
        The gradient of the result.
    x : ndarray, shape (N, C, \*H)
        The input, of the same dtype.
    kernel_shape : tuple of int
        (K, C/groups, \*R).
    stride, padding, dilation, groups
        As in `conv`.

    Returns
    -------
    ndarray, of shape `kernel_shape`

    Raises
    ------
    ValueError, TypeError
        CONV-C1 to CONV-C5.

    Examples
    --------
    >>> x = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    >>> conv_backward_weight(np.array([[[1.0, 10.0]]]), x, kernel_shape=(1, 1, 2), stride=2)
    array([[[41., 82.]]])
    """
    dy, x = widened("CONV-C5", dy=dy, x=x)
    steps: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = conv_backward_weight_shape(dy.shape, x.shape, kernel_shape=kernel_shape, **steps, groups=groups)
    gradients, maps, windows = _maps(dy, groups), _maps(x, groups), conv_windows(x.shape, shape, **steps)
    with np.errstate(over="ignore", invalid="ignore"):
        if dy.dtype == object or np.isfinite(dy).all():
            return algorithms.im2col_weight(gradients, maps, windows).reshape(shape)
        dw = _kernels(np.full(shape, like(x, 0)), groups)
        for tap, outputs, inputs in windows.taps():
            left, right = _channels_by_rest(gradients[outputs]), _channels_by_rest(maps[inputs])
            dw[tap] += np.matmul(left, np.swapaxes(right, 1, 2))
    return dw.reshape(shape)


def conv_backward_bias(dy: Array) -> Array:
    r"""Gradient of `conv` with respect to its bias: the sum over all that a channel put out.

    .. math:: db_k = \sum_n \sum_p dy_{nkp}

    Spec: CONV-S4; special values CONV-X1, CONV-X2.

    Parameters
    ----------
    dy : ndarray, shape (N, K, \*P)
        The gradient of the result.

    Returns
    -------
    ndarray, shape (K,)

    Raises
    ------
    ValueError, TypeError
        CONV-C1, CONV-C5.

    Examples
    --------
    >>> conv_backward_bias(np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    array([3., 7.])
    """
    (dy,) = widened("CONV-C5", dy=dy)
    shape = conv_backward_bias_shape(dy.shape)
    axes = (0, *range(2, dy.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.full(shape, like(dy, 0)) + dy.sum(axis=axes))


def conv_transpose(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: Steps = 1,
    padding: Padding = 0,
    output_padding: Steps = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Array:
    r"""Transposed convolution: what `conv_backward_input` does to gradients, done to feature maps.

    A convolution with stride s makes maps s times smaller; its transpose makes them s times larger, every
    input cell painting the kernel, scaled by its value, into the output. It does not invert the convolution.

    Spec: CONV-S5; special values CONV-X1, CONV-X2.

    Parameters
    ----------
    x : ndarray, shape (N, C, \*H)
        Feature maps, with 1, 2 or 3 spatial axes.
    w : ndarray, shape (C, K/groups, \*R)
        The kernels of the convolution that maps K channels to C, of the same dtype.
    bias : ndarray, shape (K,), optional
        What is added to each output map, of the same dtype.
    stride, padding, dilation, groups
        Of that convolution, as in `conv`: padding is cut off here.
    output_padding : int or tuple of int
        By how many cells the output is longer at its end, below the stride: inputs whose sizes differ by less
        than the stride are convolved to one size.

    Returns
    -------
    ndarray, shape (N, K, \*P)
        With ``P = (H − 1) s − before − after + d (R − 1) + output_padding + 1``, or ``P = H s`` with padding
        "same".

    Raises
    ------
    ValueError, TypeError
        CONV-C1 to CONV-C3, CONV-C5.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
       arXiv:1603.07285, section 4.

    Examples
    --------
    >>> conv_transpose(np.array([[[1.0, 10.0]]]), np.array([[[1.0, 2.0, 3.0]]]), stride=2)
    array([[[ 1.,  2., 13., 20., 30.]]])
    """
    x, w, *rest = widened("CONV-C5", optional=["bias"], x=x, w=w, bias=bias)
    bias = rest[0] if rest else None
    steps: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    shape = conv_transpose_shape(
        x.shape,
        w.shape,
        None if bias is None else bias.shape,
        **steps,
        output_padding=output_padding,
        groups=groups,
    )
    y = _handed_back(x, w, shape, conv_windows(shape, w.shape, **steps), groups)
    with np.errstate(over="ignore", invalid="ignore"):
        return y if bias is None else y + _per_channel(bias, y.ndim)


def conv_fused(
    x: Array,
    w: Array,
    bias: Array | None,
    residual: Array | None = None,
    *,
    activation: str = "relu",
    stride: Steps = 1,
    padding: Padding = 0,
    dilation: Steps = 1,
    groups: int = 1,
) -> Array:
    r"""Convolution with what usually follows it: ``activation(conv(x, w, bias) + residual)``.

    Spec: CONV-S6; special values CONV-X1, CONV-X2.

    Parameters
    ----------
    x, w : ndarray
        As in `conv`.
    bias : ndarray, shape (K,), or None
        As in `conv`.
    residual : ndarray, of the shape of the result, optional
        What a connection around the layer adds, of the same dtype. It is added before the activation.
    activation : "none", "relu", "relu6", "sigmoid", "tanh", "silu" or "gelu"
        Which function of `gaugeblock.reference.activation` follows; next to fractions one of the first three.
    stride, padding, dilation, groups
        As in `conv`.

    Returns
    -------
    ndarray, shape (N, K, \*P)

    Raises
    ------
    ValueError, TypeError
        CONV-C1 to CONV-C6.

    References
    ----------
    .. [1] K. He et al., "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385.

    Examples
    --------
    >>> x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[-1.0]]])
    >>> conv_fused(x, w, np.array([1.0]), np.array([[[0.0, 0.0, 5.0]]]))
    array([[[0., 0., 3.]]])
    """
    steps: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w, *rest = widened("CONV-C5", optional=["bias", "residual"], x=x, w=w, bias=bias, residual=residual)
    bias = None if bias is None else rest.pop(0)
    residual = None if residual is None else rest.pop(0)
    shapes = [None if array is None else array.shape for array in (bias, residual)]
    conv_fused_shape(x.shape, w.shape, *shapes, activation=activation, **steps)
    y = conv(x, w, bias, **steps)
    if residual is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            y = y + residual
    return ACTIVATIONS[activation](y)


def _convolved(x: Array, w: Array, windows: Windows, algorithm: str) -> Array:
    """Convolve by one of the four ways."""
    if algorithm == "fft":
        if x.dtype == object:
            raise TypeError(
                "CONV-C5: the spectrum of fractions holds no fractions; x must be an array of floats"
            )
        return algorithms.fft(x, w, windows)
    if algorithm.startswith("winograd_"):
        return algorithms.winograd(x, w, windows, m=int(algorithm.removeprefix("winograd_")))
    one_cell = all(R == 1 for R in windows.kernel)  # whose columns would be a copy of the input
    if algorithm == "im2col" and not one_cell and (w.dtype == object or np.isfinite(w).all()):
        return algorithms.im2col(x, w, windows)
    return algorithms.direct(x, w, windows)


def _handed_back(dy: Array, w: Array, shape: Shape, windows: Windows, groups: int) -> Array:
    """Return what outputs hand back to an input of this shape."""
    with np.errstate(over="ignore", invalid="ignore"):
        return algorithms.im2col_input(_maps(dy, groups), _kernels(w, groups), windows).reshape(shape)


def _maps(x: Array, groups: int) -> Array:
    """Return maps (N, C, *H) as (N, G, C/G, *H)."""
    return x.reshape(x.shape[0], int(groups), x.shape[1] // groups, *x.shape[2:])


def _kernels(w: Array, groups: int) -> Array:
    """Return kernels (K, C/G, *R) as (G, K/G, C/G, *R)."""
    return w.reshape(int(groups), w.shape[0] // groups, *w.shape[1:])


def _channels_by_rest(maps: Array) -> Array:
    """Return maps (N, G, C, *P) as matrices (G, C, N·P)."""
    moved = np.moveaxis(maps, 0, 2)
    return moved.reshape(*moved.shape[:2], int(np.prod(moved.shape[2:])))


def _per_channel(bias: Array, ndim: int) -> Array:
    """Return a bias so that it broadcasts along axis 1."""
    return bias.reshape(1, -1, *(1,) * (ndim - 2))
