r"""Feature learning: an algorithm finds the patterns that tell classes apart; then they are used to classify.

A network is two things in a row. All layers but the last turn an example into *features*; the last one is
multinomial logistic regression on these features. `features_of` and `classifier_of` take a network apart
that way, and lose nothing: together they are the network.

In layers of convolutions features form a hierarchy: the first layer looks at a few pixels, the next at what
the first has found there. `receptive_field` says which pixels a unit sees, and `exciting` finds the patches
of images that the units answer to most: pictures of what they have learned to see.

Features can also be learned without being told the classes. `common_patterns` finds what patches of images
look like most often, and `likeness` says how much a patch looks like each of them.

Spec: page 3, Feature learning. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015,
section "Feature Learning".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import logistic_regression
from gaugeblock.reference._arguments import Array, Shape, widened
from gaugeblock.reference.convolution import conv_windows
from gaugeblock.reference.layer import AveragePooling, Convolutional, FullyConnected, Layer, MaxPooling
from gaugeblock.reference.network import Network
from gaugeblock.reference.pooling import pool_windows
from gaugeblock.reference.unit import Activation
from gaugeblock.reference.windows import Windows

__all__ = [
    "Exciting",
    "Patterns",
    "ReceptiveField",
    "classifier_of",
    "common_patterns",
    "exciting",
    "features_of",
    "likeness",
    "receptive_field",
    "specificity",
]

Floats: TypeAlias = npt.NDArray[np.float64]

# ------------------------------------------------------------------------------------------------------------
# A network is features and a classifier.


def features_of(network: Network, x: Array) -> Array:
    """Return what the last layer of a network is given: the learned features, a row for each example.

    Spec: FL-D1.

    Parameters
    ----------
    network : Network
        At least two layers.
    x : ndarray, shape (N, ...)
        What it is given.

    Returns
    -------
    ndarray, shape (N, D)

    Raises
    ------
    ValueError
        FL-C1: the network has one layer, and so no features.

    Examples
    --------
    >>> edge = Convolutional(np.array([[[-1.0, 1.0]]]), np.zeros(1), Activation("relu"))
    >>> last = FullyConnected(np.array([[1.0, -1.0]] * 2), np.zeros(2), Activation("log_softmax"))
    >>> features_of(Network((edge, last)), np.array([[[0.0, 2.0, 2.0]], [[3.0, 0.0, 1.0]]]))
    array([[2., 0.],
           [0., 1.]])
    """
    if len(network.layers) < 2:
        raise ValueError("FL-C1: a network of one layer learns no features, expected at least two layers")
    handed_on = Network(network.layers[:-1]).forward(x)
    return handed_on.reshape(len(x), math.prod(handed_on.shape[1:]))


def classifier_of(network: Network) -> logistic_regression.Model:
    """Return the last layer of a network as what it is: multinomial logistic regression on its features.

    Spec: FL-S1.

    Raises
    ------
    TypeError
        FL-C2: the last layer is not fully connected, or its unit is not log-softmax.

    Examples
    --------
    >>> last = FullyConnected(np.array([[1.0, -1.0]] * 2), np.zeros(2), Activation("log_softmax"))
    >>> classifier_of(Network((last,))).predict(np.array([[0.0, 1.0], [-2.0, 0.0]])).tolist()
    [0, 1]
    """
    last = network.layers[-1]
    if not isinstance(last, FullyConnected) or last.unit != Activation("log_softmax"):
        raise TypeError(
            "FL-C2: the last layer must be fully connected with log_softmax units, got "
            f"{type(last).__name__} with {getattr(last, 'unit', None)}"
        )
    return logistic_regression.Model(last.weights, last.bias)


# ------------------------------------------------------------------------------------------------------------
# What units of convolutional layers see.


class ReceptiveField(NamedTuple):
    """Which pixels the units of a layer see; every field has one number per spatial axis.

    Attributes
    ----------
    size : tuple of int
        How many pixels a unit sees.
    step : tuple of int
        How far the field of one unit is from that of the next.
    start : tuple of int
        Where the field of the first unit begins; negative if it reaches over the border.
    units : tuple of int
        How many units there are.
    """

    size: Shape
    step: Shape
    start: Shape
    units: Shape


def receptive_field(layers: Sequence[Layer], input_shape: Shape) -> ReceptiveField:
    r"""Return which pixels the units of the last of some layers see.

    A layer whose windows extend over e of the values it is given, and move by s, widens the field and the
    step of the layers before it:

    .. math::

        \text{size} \leftarrow \text{size} + (e - 1) \cdot \text{step}, \quad
        \text{start} \leftarrow \text{start} - p \cdot \text{step}, \quad
        \text{step} \leftarrow s \cdot \text{step}

    with p cells of padding before. Without layers a unit is a pixel.

    Spec: FL-D2.

    Parameters
    ----------
    layers : sequence of Layer
        Convolutional and pooling ones, from the first.
    input_shape : tuple of int
        Of one image: channels and one to three spatial sizes.

    Raises
    ------
    TypeError
        FL-C3: a layer neither filters nor pools.

    Examples
    --------
    >>> from gaugeblock.reference.convolutional_network import convolutional_network
    >>> network = convolutional_network((1, 32, 32), 10, np.random.default_rng(0))
    >>> receptive_field(network.layers[:4], (1, 32, 32))
    ReceptiveField(size=(16, 16), step=(4, 4), start=(0, 0), units=(5, 5))
    """
    axes = len(input_shape) - 1
    size, step, start = (1,) * axes, (1,) * axes, (0,) * axes
    shape = (1, *input_shape)
    for index, layer in enumerate(layers):
        windows = _windows(index, layer, shape)
        size = tuple(n + (e - 1) * t for n, e, t in zip(size, windows.extent, step, strict=True))
        start = tuple(a - p * t for a, p, t in zip(start, windows.before, step, strict=True))
        step = tuple(s * t for s, t in zip(windows.stride, step, strict=True))
        maps = layer.bias.size // layer.unit.incoming if isinstance(layer, Convolutional) else shape[1]
        shape = (1, maps, *windows.output)
    return ReceptiveField(size, step, start, shape[2:])


def _windows(index: int, layer: Layer, shape: Shape) -> Windows:
    """Return where the units of a layer look."""
    if isinstance(layer, Convolutional):
        return conv_windows(
            shape, layer.weights.shape, stride=layer.stride, padding=layer.padding, dilation=layer.dilation
        )
    if isinstance(layer, MaxPooling | AveragePooling):
        names = ("kernel", "stride", "padding", "dilation", "ceil_mode")
        return pool_windows(shape, **{name: vars(layer)[name] for name in names if name in vars(layer)})
    raise TypeError(f"FL-C3: layer {index} must filter or pool, got {type(layer).__name__}")


class Exciting(NamedTuple):
    """The patches that units answer to most.

    Attributes
    ----------
    patches : ndarray, shape (K, count, C, ...)
        For each of K maps the patches with the largest answers, of the size of the receptive field; what lies
        beyond the border of an image is 0.
    answers : ndarray, shape (K, count)
        The answers, from the largest.
    images : ndarray of int, shape (K, count)
        Which images the patches are from.
    """

    patches: Floats
    answers: Floats
    images: npt.NDArray[np.int64]


def exciting(layers: Sequence[Layer], images: Array, count: int) -> Exciting:
    """Find the patches of images that the units of the last of some layers answer to most.

    Of each image only the largest answer of each map counts, and of equal ones the first.

    Spec: FL-D3.

    Parameters
    ----------
    layers : sequence of Layer
        Convolutional and pooling ones, from the first.
    images : ndarray, shape (N, C, ...)
        Where to look.
    count : int
        How many patches to find for each map.

    Returns
    -------
    Exciting

    Raises
    ------
    ValueError
        FL-C4: `count` is less than 1, or more than there are images. TypeError, FL-C3: as `receptive_field`.

    Examples
    --------
    An edge excites a detector of edges:

    >>> edge = Convolutional(np.array([[[-1.0, 1.0]]]), np.zeros(1), Activation("relu"))
    >>> exciting([edge], np.array([[[0.0, 2.0, 2.0]], [[3.0, 1.0, 8.0]]]), count=1)[:2]
    (array([[[[1., 8.]]]]), array([[7.]]))
    """
    if not 1 <= count <= len(images):
        raise ValueError(f"FL-C4: count is {count}, expected at least 1 and at most {len(images)} images")
    field = receptive_field(layers, images.shape[1:])
    answers = Network(tuple(layers)).forward(images)
    N, K = answers.shape[:2]
    flat = answers.reshape(N, K, math.prod(field.units))
    best = flat.max(axis=2)
    chosen = np.argsort(-best, axis=0, kind="stable")[:count].T  # (K, count)
    patches = np.zeros((K, count, images.shape[1], *field.size))
    for k, n in np.ndindex(K, count):
        image = int(chosen[k, n])
        unit = np.unravel_index(int(flat[image, k].argmax()), field.units)
        begin = [a + t * int(u) for a, t, u in zip(field.start, field.step, unit, strict=True)]
        _cut(images[image], begin, patches[k, n])
    return Exciting(patches, np.take_along_axis(best, chosen.T, axis=0).T, chosen)


def _cut(image: Array, begin: Sequence[int], patch: Floats) -> None:
    """Copy the part of an image that begins there into a patch; leave what lies beyond the border."""
    from_image, to_patch = [slice(None)], [slice(None)]
    for first, size, length in zip(begin, patch.shape[1:], image.shape[1:], strict=True):
        inside = slice(max(first, 0), max(min(first + size, length), 0))
        from_image.append(inside)
        to_patch.append(slice(inside.start - first, inside.stop - first))
    patch[tuple(to_patch)] = image[tuple(from_image)]


# ------------------------------------------------------------------------------------------------------------
# Patterns found without classes.


class Patterns(NamedTuple):
    """What patches look like most often.

    Attributes
    ----------
    patterns : ndarray, shape (K, D)
        The patterns.
    distances : tuple of float
        The sum of squared distances of all patches from their nearest pattern, before each round and after
        the last.
    """

    patterns: Floats
    distances: tuple[float, ...]


def common_patterns(patches: Array, count: int, *, rounds: int = 20, seed: int = 0) -> Patterns:
    """Find patterns such that every patch is near to one of them (k-means).

    It begins with patches drawn at random. In every round each patch goes to its nearest pattern, and each
    pattern becomes the mean of the patches that went to it.

    Spec: FL-D4, FL-S3.

    Parameters
    ----------
    patches : ndarray, shape (N, D)
        A patch in each row.
    count : int
        How many patterns to find, K.
    rounds : int
        How often the patterns move, unless they stand still before.
    seed : int
        Of the patches to begin with.

    Returns
    -------
    Patterns

    Raises
    ------
    ValueError, TypeError
        FL-C4: a count is less than 1, or there are fewer different patches than patterns. FL-C5: the patches
        are no matrix of floats.

    References
    ----------
    .. [1] S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28
       (1982).

    Examples
    --------
    >>> patches = np.array([[0.0, 0.0], [0.0, 1.0], [8.0, 8.0], [8.0, 9.0]])
    >>> found = common_patterns(patches, 2)
    >>> sorted(found.patterns.tolist()), found.distances[-1]
    ([[0.0, 0.5], [8.0, 8.5]], 1.0)
    """
    (patches,) = widened("FL-C5", patches=patches)
    if patches.ndim != 2 or patches.dtype == object:
        raise ValueError(f"FL-C5: patches must be a matrix of floats, got shape {patches.shape}")
    different = np.unique(patches, axis=0)
    if not 1 <= count <= len(different) or rounds < 1:
        raise ValueError(
            f"FL-C4: count is {count} and rounds is {rounds}, expected at least 1 of both, and no more "
            f"patterns than the {len(different)} different patches"
        )
    patterns = different[np.random.default_rng(seed).permutation(len(different))[:count]]
    distances = []
    for _ in range(rounds):
        squared = _squared_distances(patches, patterns)
        nearest = squared.argmin(axis=1)
        distances.append(float(squared.min(axis=1).sum()))
        moved = patterns.copy()
        for k in np.unique(nearest):  # a pattern to which no patch went stays where it is
            moved[k] = patches[nearest == k].mean(axis=0)
        if np.array_equal(moved, patterns):
            break
        patterns = moved
    distances.append(float(_squared_distances(patches, patterns).min(axis=1).sum()))
    return Patterns(patterns, tuple(distances))


def likeness(patches: Array, patterns: Array) -> Floats:
    r"""Return how much each patch looks like each pattern: 0 for those that are farther than the average.

    .. math:: y_k = \max(0, \mu - d_k), \qquad \mu = \frac{1}{K} \sum_k d_k

    with the distance d of a patch from each pattern: a rectified layer whose weights nobody trained.

    Spec: FL-D5.

    Parameters
    ----------
    patches : ndarray, shape (..., D)
        The patches.
    patterns : ndarray, shape (K, D)
        The patterns.

    Returns
    -------
    ndarray, shape (..., K)

    Raises
    ------
    ValueError, TypeError
        FL-C5: patches and patterns are no arrays of floats whose last axes agree.

    References
    ----------
    .. [1] A. Coates, H. Lee and A. Y. Ng, "An analysis of single-layer networks in unsupervised feature
       learning", AISTATS 2011.

    Examples
    --------
    >>> likeness(np.array([[0.0, 1.0]]), np.array([[0.0, 0.0], [0.0, 5.0]]))
    array([[1.5, 0. ]])
    """
    patches, patterns = widened("FL-C5", patches=patches, patterns=patterns)
    if patterns.ndim != 2 or patches.shape[-1:] != patterns.shape[1:] or patches.dtype == object:
        raise ValueError(
            f"FL-C5: patches has shape {patches.shape}, patterns has shape {patterns.shape}; expected floats "
            "and patterns as long as patches"
        )
    distance = np.sqrt(_squared_distances(patches, patterns))
    return np.asarray(np.maximum(0.0, distance.mean(axis=-1, keepdims=True) - distance))


def _squared_distances(patches: Floats, patterns: Floats) -> Floats:
    """Return the squared distance of each patch from each pattern, one pattern after the other."""
    squared = np.empty((*patches.shape[:-1], len(patterns)))
    for k, pattern in enumerate(patterns):
        difference = patches - pattern
        squared[..., k] = np.einsum("...d,...d->...", difference, difference)
    return squared


# ------------------------------------------------------------------------------------------------------------
# What units stand for.


def specificity(answers: Array, belongs: Array) -> Floats:
    r"""Return how well each unit's answer alone tells some examples from the others, from 0 to 1.

    .. math:: \lvert 2 A - 1 \rvert, \qquad A = P(y > y') + \tfrac{1}{2} P(y = y')

    for an example y that belongs and one y' that does not: 0 if the answer says nothing, 1 if all that belong
    lie on one side of all others. Only the order of the answers counts.

    Spec: FL-D6.

    Parameters
    ----------
    answers : ndarray, shape (N, K)
        Of K units for N examples.
    belongs : ndarray of bool, shape (N,)
        Which examples belong.

    Returns
    -------
    ndarray, shape (K,)

    Raises
    ------
    ValueError, TypeError
        FL-C6: the arrays do not fit, or all examples belong, or none.

    Examples
    --------
    >>> specificity(np.array([[1.0, 1.0], [2.0, 5.0], [3.0, 0.0]]), np.array([False, True, True]))
    array([1., 0.])
    """
    (answers,) = widened("FL-C6", answers=answers)
    if answers.ndim != 2 or belongs.shape != answers.shape[:1] or belongs.dtype != bool:
        raise ValueError(f"FL-C6: answers has shape {answers.shape}, belongs {belongs.dtype} {belongs.shape}")
    if belongs.all() or not belongs.any() or np.isnan(answers.astype(float)).any():
        raise ValueError("FL-C6: some examples must belong and some not, and no answer may be NaN")
    inside, outside = answers[belongs][:, None], answers[~belongs][None]
    above = np.mean((inside > outside) + 0.5 * (inside == outside), axis=(0, 1))
    return np.asarray(np.abs(2 * above - 1))
