r"""Deep learning: layer upon layer of non-linear features, and what keeps such a stack from learning.

**One layer.** What are the best features that one layer can make of images? If they are to hand on as much
*information* as they can, then edges and blobs: `most_informative` adjusts a layer of sigmoid units until
their outputs carry the most information about patches of photographs. `edge_share` and `blob_share` measure
how well an edge or a blob describes what comes out.

**Many layers** transform these features again. The error signal has to go back through all of them, and each
multiplies it by the slopes of its activation: `error_signals` follows it. Those of the sigmoid are at most
1/4, and the signal vanishes; those of a rectifier are 0 or 1, and it lives on.

**Many steps** are the same in time: `memory` follows the signal back through a sequence. In plain recurrence
it fades within some ten steps, while the cell of an LSTM unit carries it over hundreds.

Spec: page 4, Deep learning. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section
"Deep Learning".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock import reference
from gaugeblock.reference._arguments import Array, widened
from gaugeblock.reference.layer import Recurrent
from gaugeblock.reference.machine_learning import Examples, Measure
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import Operations

__all__ = [
    "blob_share",
    "edge_share",
    "error_signals",
    "factor_per_layer",
    "information",
    "memory",
    "most_informative",
    "span",
    "whitening",
]

Floats: TypeAlias = npt.NDArray[np.float64]

# ------------------------------------------------------------------------------------------------------------
# The most informative features of one layer.


def whitening(patches: Array, count: int) -> Floats:
    r"""Return weights of features that are uncorrelated and of variance 1: the first principal components.

    With the eigenvectors E and eigenvalues λ of the patches' covariance, largest first, they are
    :math:`V = E / \sqrt{\lambda}`. They say how much of what there is, and nothing about shapes yet.

    Spec: DL-D1.

    Parameters
    ----------
    patches : ndarray, shape (N, D)
        A patch in each row; the mean of each column is 0.
    count : int
        How many features, K.

    Returns
    -------
    ndarray, shape (D, K)

    Raises
    ------
    ValueError, TypeError
        DL-C1: the patches are no matrix of finite floats with columns of mean 0. DL-C2: there are not so many
        directions in which patches differ.

    Examples
    --------
    >>> patches = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> abs(whitening(patches, 2)).round(3)
    array([[0.707, 0.   ],
           [0.   , 1.414]])
    """
    patches = _matrix("patches", patches)
    size = float(np.abs(patches).max(initial=0.0))
    if np.abs(patches.mean(axis=0)).max() > 1e-9 * size:
        raise ValueError("DL-C1: patches must have columns of mean 0; take the mean off first")
    variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    order = np.argsort(-variances)
    variances, directions = variances[order], directions[:, order]
    rank = int(np.sum(variances > 1e-12 * variances[0]))
    if not 1 <= count <= rank:
        raise ValueError(f"DL-C2: count is {count}, expected at least 1 and at most {rank} directions")
    return np.asarray(directions[:, :count] / np.sqrt(variances[:count]))


def information(weights: Array, x: Array) -> float:
    r"""Return how much more uncertain the outputs of a layer of sigmoid units are than its inputs, in nats.

    The outputs :math:`y = \sigma(x W)` are between 0 and 1, without noise. What they say about the input is
    largest where they are spread most evenly, and that is measured by their entropy,

    .. math::

        H(y) - H(x) = \log \lvert \det W \rvert + \mathrm{E} \sum_k \log \sigma'(u_k), \qquad u = x W.

    Spec: DL-D2.

    Parameters
    ----------
    weights : ndarray, shape (K, K)
        As many units as inputs.
    x : ndarray, shape (N, K)
        Inputs.

    Returns
    -------
    float
        −Inf where the weights are singular: then the outputs do not say all that there is in the inputs.

    Raises
    ------
    ValueError, TypeError
        DL-C1: no matrices of finite floats. DL-C3: the weights are not square, or do not fit to the inputs.

    Examples
    --------
    Weights that are too small or too large say less:

    >>> x = np.linspace(-2.0, 2.0, 101)[:, None]
    >>> [round(information(np.array([[w]]), x), 2) for w in (0.1, 1.5, 20.0)]
    [-3.69, -1.62, -17.24]
    """
    weights, x = _matrix("weights", weights), _matrix("x", x)
    if weights.shape[0] != weights.shape[1] or x.shape[1] != len(weights):
        raise ValueError(
            f"DL-C3: weights has shape {weights.shape}, x has shape {x.shape}; expected K × K, N × K"
        )
    u = np.abs(x @ weights)
    log_slopes = -u - 2.0 * np.log1p(np.exp(-u))
    return float(np.linalg.slogdet(weights)[1] + log_slopes.sum(axis=1).mean())


def most_informative(
    x: Array, *, rounds: int = 30, batch: int = 100, rate: float = 0.02, seed: int = 0
) -> Floats:
    r"""Adjust a layer of sigmoid units until its outputs carry as much information as they can.

    For some examples at a time, the weights go along the natural gradient of `information`,

    .. math:: W \leftarrow W + \eta \left( W - W u^T (2 \sigma(u) - 1) / n \right), \qquad u = x W,

    with a rate η that falls to 0 over the rounds. No class is told, and nothing is said about shapes. Where
    the inputs are mixtures of independent causes that are rarely at work, it finds the causes: independent
    component analysis.

    Spec: DL-S1.

    Parameters
    ----------
    x : ndarray, shape (N, K)
        Whitened inputs.
    rounds, batch : int
        How often all examples are gone through, and how many make an adjustment.
    rate : float
        The largest step η.
    seed : int
        Of the orders of the examples.

    Returns
    -------
    ndarray, shape (K, K)
        The weights.

    Raises
    ------
    ValueError, TypeError
        DL-C1: the inputs are no matrix of finite floats. DL-C2: a count is less than 1, or the rate is not
        between 0 and 1.

    References
    ----------
    .. [1] A. J. Bell and T. J. Sejnowski, "The 'independent components' of natural scenes are edge filters",
       Vision Research 37 (1997).
    .. [2] S. Amari, A. Cichocki and H. H. Yang, "A new learning algorithm for blind signal separation", NIPS
       1995: the natural gradient.

    Examples
    --------
    Two causes, mixed, are found again: every unit listens to one of them.

    >>> causes = np.random.default_rng(0).laplace(size=(2000, 2))
    >>> mixture = np.array([[0.8, 0.6], [-0.6, 0.8]])
    >>> weights = most_informative(causes @ mixture, rate=0.1)
    >>> (abs(mixture @ weights) > 0.1).tolist()
    [[True, False], [False, True]]
    """
    x = _matrix("x", x)
    if rounds < 1 or batch < 1 or not 0 < rate <= 1:
        raise ValueError(
            f"DL-C2: rounds is {rounds}, batch is {batch}, rate is {rate}; expected at least 1, at least 1, "
            "and a rate between 0 and 1"
        )
    generator = np.random.default_rng(seed)
    weights = np.eye(x.shape[1])
    for number in range(rounds):
        step = rate * (1.0 - number / rounds)
        shuffled = x[generator.permutation(len(x))]
        for start in range(0, len(x), batch):
            u = shuffled[start : start + batch] @ weights
            spread = u.T @ np.tanh(u / 2.0) / len(u)  # 2σ(u) − 1 = tanh(u/2)
            weights = weights + step * (weights - weights @ spread)
    return weights


# ------------------------------------------------------------------------------------------------------------
# Edges and blobs.

Drawing: TypeAlias = Callable[[Floats, tuple[int, int]], Floats]
"""From parameters, shape (F, P), and a size H × W, to two pictures for each, shape (F, 2, H · W)."""


def edge_share(features: Array, shape: tuple[int, int]) -> Floats:
    r"""Return how much of each feature an edge explains: a grating in a window, at its best place.

    .. math:: g(r) = e^{-a^2 / 2 s_1^2 - b^2 / 2 s_2^2} \cos(2 \pi f a + \varphi)

    where a and b are the coordinates of a pixel across and along the edge. Place, direction, the widths
    :math:`s_1` and :math:`s_2`, frequency f, phase and strength are fitted, from a grid of starting points by
    steps that are halved when they do not help (Gabor functions).

    Spec: DL-D3.

    Parameters
    ----------
    features : ndarray, shape (F, H · W)
        A feature in each row.
    shape : tuple of int
        Height H and width W of a patch.

    Returns
    -------
    ndarray, shape (F,)
        The share of the feature's variance between pixels, from 0 to 1; 0 for a feature that is the same
        everywhere.

    Raises
    ------
    ValueError, TypeError
        DL-C1: the features are no matrix of finite floats. DL-C4: they do not have H · W pixels.

    References
    ----------
    .. [1] J. G. Daugman, "Uncertainty relation for resolution in space, spatial frequency, and orientation
       optimized by two-dimensional visual cortical filters", Journal of the Optical Society of America A 2
       (1985).

    Examples
    --------
    A step from dark to light is an edge, and a chessboard is not:

    >>> step = np.repeat([[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]], 6, axis=0)
    >>> board = np.sign(np.sin(np.arange(6) + 1.0))[:, None] * np.array([1.0, 1, 1, -1, -1, -1])
    >>> [bool(share > 0.9) for share in edge_share(np.stack([step.ravel(), board.ravel()]), (6, 6))]
    [True, False]
    """
    H, W = shape
    rows, columns = (np.linspace(-0.5, 0.5, 5) * (size - 1) for size in shape)
    widths = np.log([1.0, 0.2 * max(shape), 0.35 * max(shape)])
    turns, frequencies = np.arange(8) * np.pi / 8, (0.06, 0.12, 0.2, 0.3, 0.42)
    starts = [(r, c, w, w, t, f) for r, c, w, t, f in product(rows, columns, widths, turns, frequencies)]
    least = (-H / 2, -W / 2, math.log(0.6), math.log(0.6), -np.inf, 0.0)
    most = (H / 2, W / 2, math.log(max(shape)), math.log(max(shape)), np.inf, 0.5)
    return _share(features, shape, _edges, starts, (1.0, 1.0, 0.4, 0.4, 0.2, 0.05), (least, most))


def blob_share(features: Array, shape: tuple[int, int]) -> Floats:
    r"""Return how much of each feature a blob explains: a spot with a surround, at its best place.

    .. math:: g(r) = \alpha \, e^{-\lVert r \rVert^2 / 2 s^2} + \beta \, e^{-\lVert r \rVert^2 / 2 (q s)^2}

    Place, width s, the ratio q of the widths, and the strengths α and β are fitted, as by `edge_share`.

    Spec: DL-D4.

    Parameters
    ----------
    features : ndarray, shape (F, H · W)
        A feature in each row.
    shape : tuple of int
        Height H and width W of a patch.

    Returns
    -------
    ndarray, shape (F,)

    Raises
    ------
    ValueError, TypeError
        As `edge_share`.

    Examples
    --------
    >>> r = np.hypot(*np.mgrid[-3:4, -3:4])
    >>> blob_share(np.exp(-(r**2) / 4).reshape(1, 49), (7, 7)).round(3)
    array([1.])
    """
    H, W = shape
    rows, columns = (np.linspace(-0.5, 0.5, 9) * (size - 1) for size in shape)
    widths, ratios = np.log([0.7, 1.0, 1.5, 2.2, 3.2]), np.log([1.4, 2.0, 4.0])
    starts = list(product(rows, columns, widths, ratios))
    least = (-H / 2, -W / 2, math.log(0.5), math.log(1.1))
    most = (H / 2, W / 2, math.log(max(shape)), math.log(16.0))
    return _share(features, shape, _blobs, starts, (1.0, 1.0, 0.4, 0.4), (least, most))


def _share(
    features: Array,
    shape: tuple[int, int],
    draw: Drawing,
    starts: Sequence[Sequence[float]],
    steps: Sequence[float],
    limits: tuple[Sequence[float], Sequence[float]],
) -> Floats:
    """Fit drawings to features: take the best of the starts, then move one parameter after the other."""
    features = _matrix("features", features)
    if features.shape[1] != math.prod(shape):
        raise ValueError(f"DL-C4: features has {features.shape[1]} pixels, expected {shape[0]} × {shape[1]}")
    centred = features - features.mean(axis=1, keepdims=True)
    grid = np.array(starts, np.float64)
    first, second = _orthonormal(draw(grid, shape))
    of_starts = (centred @ first.T) ** 2 + (centred @ second.T) ** 2  # (F, starts)
    chosen = of_starts.argmax(axis=1)
    parameters, best = grid[chosen], of_starts[np.arange(len(chosen)), chosen]
    step = np.tile(np.array(steps, np.float64), (len(features), 1))
    for _ in range(60):
        better_once = np.zeros(len(features), bool)
        for index in range(len(steps)):
            for sign in (1.0, -1.0):
                moved = parameters.copy()
                moved[:, index] += sign * step[:, index]
                moved = np.clip(moved, *limits)
                first, second = _orthonormal(draw(moved, shape))
                explained = np.sum(centred * first, axis=1) ** 2 + np.sum(centred * second, axis=1) ** 2
                better = explained > best
                parameters[better], best[better] = moved[better], explained[better]
                better_once |= better
        step[~better_once] /= 2.0
    variance = np.sum(centred**2, axis=1)
    flat = variance <= 1e-24 * np.sum(features**2, axis=1)
    return np.where(flat, 0.0, np.minimum(best / np.where(flat, 1.0, variance), 1.0))


def _orthonormal(pictures: Floats) -> tuple[Floats, Floats]:
    """Return an orthonormal pair that spans each pair of pictures, means taken off; 0 where there is none."""
    pictures = pictures - pictures.mean(axis=2, keepdims=True)
    a, b = pictures[:, 0], pictures[:, 1]
    first = _unit(a, 1e-12)
    second = _unit(b - np.sum(b * first, axis=1, keepdims=True) * first, 1e-6)
    return first, second


def _unit(rows: Floats, least: float) -> Floats:
    """Return rows of length 1, or 0 where a row is shorter than the least length."""
    length = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
    return np.asarray(np.where(length > least, rows / np.where(length > least, length, 1.0), 0.0))


def _offsets(parameters: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return how far each pixel is below and to the right of a drawing's centre, shape (F, H · W) each."""
    below, right = (np.arange(size) - (size - 1) / 2 for size in shape)
    r, c = (place.ravel() for place in np.meshgrid(below, right, indexing="ij"))
    return r - parameters[:, :1], c - parameters[:, 1:2]


def _edges(parameters: Floats, shape: tuple[int, int]) -> Floats:
    """Draw gratings of both phases; parameters are row, column, log widths, direction, frequency."""
    r, c = _offsets(parameters, shape)
    across_width, along_width, turn, frequency = (column[:, None] for column in parameters[:, 2:].T)
    a, b = c * np.cos(turn) + r * np.sin(turn), r * np.cos(turn) - c * np.sin(turn)
    window = np.exp(-((a / np.exp(across_width)) ** 2 + (b / np.exp(along_width)) ** 2) / 2.0)
    phase = 2.0 * np.pi * frequency * a
    return np.stack([window * np.cos(phase), window * np.sin(phase)], axis=1)


def _blobs(parameters: Floats, shape: tuple[int, int]) -> Floats:
    """Draw spots and their surrounds; parameters are row, column, log width, log ratio of widths."""
    r, c = _offsets(parameters, shape)
    width, ratio = parameters[:, 2:3], parameters[:, 3:]
    squared = r**2 + c**2
    return np.stack([np.exp(-squared / (2.0 * np.exp(2.0 * w))) for w in (width, width + ratio)], axis=1)


# ------------------------------------------------------------------------------------------------------------
# Many layers.


def error_signals(
    network: Network, examples: Examples, measure: Measure, *, on: Operations = reference
) -> Floats:
    r"""Return how large the error signal is at each layer: the length of the gradient of what it is given.

    Spec: DL-D5.

    Parameters
    ----------
    network : Network
        Through which the signal passes.
    examples : Examples
        On which the error is measured.
    measure : callable
        The error and its gradient.
    on : module
        Where the operations are taken from.

    Returns
    -------
    ndarray, shape (L + 1,)
        For each of L layers the length of the gradient in what it is given, and at last of that in what the
        last one hands on.

    Examples
    --------
    The slope of the sigmoid is at most 1/4:

    >>> from gaugeblock.reference.layer import FullyConnected
    >>> from gaugeblock.reference.machine_learning import squared_error
    >>> from gaugeblock.reference.unit import Activation
    >>> layer = FullyConnected(np.eye(1), np.zeros(1), Activation("sigmoid"))
    >>> zero = np.zeros((1, 1))
    >>> signals = error_signals(Network((layer,) * 4), Examples(zero, zero), squared_error)
    >>> bool((signals[:-1] <= signals[1:] / 4).all())
    True
    """
    features = network.features(examples.inputs, on=on)
    _, signal = measure(features[-1].y, examples.wanted)
    lengths = [signal]
    for layer, passed in zip(reversed(network.layers), reversed(features), strict=True):
        signal, _ = layer.backward(signal, passed, on=on)
        lengths.append(signal)
    return np.array([math.sqrt(float(np.sum(signal * signal))) for signal in reversed(lengths)])


def factor_per_layer(signals: Array) -> float:
    """Return by which factor a signal changes from one layer to the one before, on average (DL-D5).

    It is the slope of a line through the logarithms of the lengths.

    Raises
    ------
    ValueError
        DL-C5: there are fewer than two lengths, or one of them is not positive.

    Examples
    --------
    >>> round(factor_per_layer(np.array([1.0, 4.0, 16.0])), 9)
    0.25
    """
    if len(signals) < 2 or not np.all(np.asarray(signals) > 0):
        raise ValueError("DL-C5: signals must be at least two lengths, all positive")
    layers = np.arange(len(signals)) - (len(signals) - 1) / 2
    logarithms = np.log(np.asarray(signals, np.float64))
    return float(np.exp(-np.sum(layers * logarithms) / np.sum(layers**2)))


# ------------------------------------------------------------------------------------------------------------
# Many steps.


def memory(layer: Recurrent, x: Array, *, on: Operations = reference) -> Floats:
    r"""Return how much the last output of a recurrent layer depends on what it was given earlier.

    .. math:: m_k = \left\lVert \frac{\partial y_T}{\partial x_{T-k}} \right\rVert

    is the Frobenius norm of the gradients of all outputs at the last step in all inputs k steps before.

    Spec: DL-D6.

    Parameters
    ----------
    layer : Recurrent
        With any unit.
    x : ndarray, shape (T, D)
        One sequence.
    on : module
        Where the operations are taken from.

    Returns
    -------
    ndarray, shape (T,)
        For k = 0, 1, …, T − 1.

    Raises
    ------
    ValueError
        DL-C6: there is no step.

    Examples
    --------
    A linear unit that keeps half of what it had:

    >>> from gaugeblock.reference.unit import Activation
    >>> half, one = np.full((1, 1, 1), 0.5), np.ones((1, 1, 1))
    >>> layer = Recurrent(one, half, np.zeros((1, 1)), Activation("leaky_relu", {"negative_slope": 1.0}))
    >>> memory(layer, np.zeros((4, 1)))
    array([1.   , 0.5  , 0.25 , 0.125])
    """
    if x.ndim != 2 or not len(x):
        raise ValueError(f"DL-C6: x has shape {x.shape}, expected one sequence (T, D) of at least one step")
    K = layer.bias.shape[1]
    passed = layer.forward(
        np.repeat(x[None], K, axis=0), on=on
    )  # one copy for each output that is asked about
    dy = np.zeros_like(passed.y)
    dy[np.arange(K), -1, np.arange(K)] = 1
    gradients, _ = layer.backward(dy, passed, on=on)
    return np.asarray(np.sqrt(np.sum(gradients[:, ::-1] ** 2, axis=(0, 2))))


def span(lengths: Array, share: float = 0.01) -> int:
    """Return over how many steps a memory lasts: how long it stays above a share of what it is at first.

    Spec: DL-D7.

    Examples
    --------
    >>> span(np.array([2.0, 1.0, 0.5, 0.1, 0.05]), share=0.2)
    3
    >>> span(np.array([2.0, 1.0, 0.5]), share=0.2)
    3
    """
    below = np.flatnonzero(~(np.asarray(lengths) > share * lengths[0]))
    return int(below[0]) if len(below) else len(lengths)


def _matrix(name: str, array: Array) -> Floats:
    (array,) = widened("DL-C1", **{name: array})
    if array.ndim != 2 or array.dtype == object or not len(array) or not np.isfinite(array).all():
        raise ValueError(
            f"DL-C1: {name} must be a matrix of finite floats, got {array.dtype} of shape {array.shape}"
        )
    return array
