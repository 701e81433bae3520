r"""Convolutional network: layers that filter, layers that pool, and a classifier at the end.

The filters are learned. The first convolutional layer filters the image for what is useful for the task, the
next one filters what the first one found, so that features become more abstract from layer to layer; the
pooling layers in between keep whether a feature was there and give up where exactly, which makes the network
tolerant of small movements and its feature maps small. The last layer sees all features of the last maps and
is nothing else than multinomial logistic regression on them.

`convolutional_network` builds the network of the source's Figure 5: four maps by kernels of 5×5, the maximum
of 2×2, ten maps by kernels of 5×5, the maximum of 2×2, and the classifier. What it costs,
`gaugeblock.reference.counting` counts; `gaugeblock.reference.machine_learning.fit` trains it.

Images as small as 8×8 would be used up by two kernels of 5×5 that stay inside. There are two ways out: to
enlarge the image to 32×32, or to let kernels reach over the border (padding "same"). The first one asks for
eight times as many multiplications and adds nothing to what was seen; for scikit-learn's digits we take the
second one.

Spec: page 13, Convolutional network. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015,
section "Convolutional Neural Network".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gaugeblock.reference._arguments import Array, Shape, widened
from gaugeblock.reference.convolution import conv_shape
from gaugeblock.reference.layer import Convolutional, FullyConnected, Layer, MaxPooling, Weighted
from gaugeblock.reference.network import Network
from gaugeblock.reference.pooling import max_pool_shape
from gaugeblock.reference.unit import Activation, Feedforward

__all__ = ["colourfulness", "convolutional_network", "evidence", "kernels"]


def convolutional_network(
    input_shape: Shape,
    classes: int,
    generator: np.random.Generator,
    *,
    maps: tuple[int, ...] = (4, 10),
    kernel: int = 5,
    pool: int = 2,
    padding: Any = 0,
    unit: Feedforward = Activation("relu"),  # noqa: B008 - a value, never changed
) -> Network:
    """Build a convolutional network, its weights drawn, its biases 0.

    Spec: CNN-D1, CNN-S1.

    Parameters
    ----------
    input_shape : tuple of int
        Of one example: channels, and one to three spatial sizes.
    classes : int
        How many there are to tell apart.
    generator : numpy.random.Generator
        Where the weights are drawn from, layer by layer.
    maps : tuple of int
        How many feature maps each convolutional layer makes.
    kernel, pool : int
        The sides of the kernels and of the regions of which the maximum is kept.
    padding : int or "same"
        Of the convolutional layers, as for `conv`.
    unit : Feedforward
        What the units of the convolutional layers are.

    Returns
    -------
    Network
        It predicts the logarithms of the classes' probabilities.

    Raises
    ------
    ValueError
        CNN-C1: the input has no maps, or nothing is left of them. CNN-C2: there are fewer than two classes.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
       recognition", Proceedings of the IEEE 86 (1998).

    Examples
    --------
    An image of 32×32 pixels, as in the source's figure. The maps get smaller and more:

    >>> from gaugeblock.reference.counting import costs, table
    >>> network = convolutional_network((1, 32, 32), 10, np.random.default_rng(0))
    >>> print(table(costs(network, (1, 32, 32))))
    layer                               hands on  parameters  multiplications  forward  backward  patches
    4 relu maps by 5×5                  4×28×28          104           78,400    6,272     4,264   19,600
    maximum of 2×2                      4×14×14            0                0      784     3,136        0
    10 relu maps by 5×5                 10×10×10       1,010          100,000    2,000     2,794   10,000
    maximum of 2×2                      10×5×5             0                0      250     1,000        0
    10 log_softmax units on 250 values  10             2,510            2,500       20     2,770        0
    all                                 10             3,624          180,900    9,326    13,964   19,600
    """
    if classes < 2:
        raise ValueError(f"CNN-C2: classes is {classes}, expected at least 2")
    layers: list[Layer] = []
    shape = _checked(input_shape)
    for count in maps:
        axes = len(shape) - 2
        convolutional = Convolutional.initial(
            shape[1], count, (kernel,) * axes, unit, generator, padding=padding
        )
        pooling = MaxPooling(pool)
        weighted = conv_shape(shape, convolutional.weights.shape, padding=padding)
        shape = max_pool_shape((1, count, *weighted[2:]), kernel=pool)
        layers += [convolutional, pooling]
        if 0 in shape:
            raise ValueError(
                f"CNN-C1: input_shape is {input_shape}, of which layer {len(layers)} leaves {shape[1:]}"
            )
    features = int(np.prod(shape))
    layers.append(FullyConnected.initial(features, classes, Activation("log_softmax"), generator))
    return Network(tuple(layers))


def kernels(network: Network) -> Array:
    """Return what the first layer filters for: its kernels, one for each map.

    Examples
    --------
    >>> kernels(convolutional_network((3, 16, 16), 2, np.random.default_rng(0))).shape
    (4, 3, 5, 5)
    """
    first = network.layers[0]
    if not isinstance(first, Convolutional):
        raise TypeError(f"CNN-C3: the first layer must be convolutional, got {type(first).__name__}")
    return first.weights


def colourfulness(filters: Array) -> Array:
    r"""Return which share of each filter looks at differences between channels, from 0 to 1 (CNN-D4).

    .. math:: \frac{\sum_{c,r} (w_{cr} - \bar w_r)^2}{\sum_{c,r} w_{cr}^2}

    A filter that weighs all channels alike sees an image in grey; one whose channels cancel sees colour only.

    Parameters
    ----------
    filters : ndarray, shape (K, C, ...)
        Kernels of a convolution, as `kernels` returns them.

    Returns
    -------
    ndarray, shape (K,)
        0 for a filter that is 0.

    Raises
    ------
    ValueError, TypeError
        CNN-C6: they are no array of floats with channels.

    Examples
    --------
    >>> colourfulness(np.array([[1.0, 1.0, 1.0], [2.0, -1.0, -1.0], [3.0, 0.0, 0.0]])).round(3)
    array([0.   , 1.   , 0.667])
    """
    (filters,) = widened("CNN-C6", filters=filters)
    if filters.ndim < 2 or not filters.shape[1]:
        raise ValueError(f"CNN-C6: filters must have kernels and channels, got shape {filters.shape}")
    largest = np.max(np.abs(filters), axis=tuple(range(1, filters.ndim)), keepdims=True, initial=0)
    scaled = filters / np.where(largest == 0, 1, largest)  # squares of small numbers would be 0
    differences = scaled - scaled.mean(axis=1, keepdims=True)
    of_colour, of_all = (np.sum(part.reshape(len(part), -1) ** 2, axis=1) for part in (differences, scaled))
    return np.asarray(of_colour / np.where(of_all == 0, 1, of_all))


def evidence(network: Network, x: Array, labels: Array) -> Array:
    r"""Return what each pixel says for a class: its value, times how the class's score grows with it.

    .. math:: e_i = x_i \frac{\partial s_k}{\partial x_i}

    The score :math:`s_k` is the weighted data of the last layer's unit k. A network of rectified units and
    maxima is piecewise linear, and without biases a brighter image has a larger score, :math:`s(a x) =
    a s(x)`; then the evidence of all pixels adds up to the score, exactly (CNN-I3). The rest is what the
    biases say.

    Parameters
    ----------
    network : Network
        With units in its last layer.
    x : ndarray, shape (N, ...)
        The images.
    labels : ndarray of int, shape (N,)
        A class for each.

    Returns
    -------
    ndarray, of the shape of `x`

    References
    ----------
    .. [1] K. Simonyan, A. Vedaldi and A. Zisserman, "Deep inside convolutional networks: visualising image
       classification models and saliency maps", 2013, arXiv:1312.6034.
    .. [2] A. Shrikumar et al., "Not just a black box: learning important features through propagating
       activation differences", 2016, arXiv:1605.01713, which multiplies by the input.

    Examples
    --------
    >>> layer = FullyConnected(np.array([[1.0, 2.0], [0.0, -1.0]]), np.zeros(2), Activation("log_softmax"))
    >>> evidence(Network((layer,)), np.array([[3.0, 4.0]]), np.array([1]))
    array([[ 6., -4.]])
    """
    *hidden, last = network.layers
    if not isinstance(last, Weighted):
        raise TypeError(f"CNN-C3: the last layer must hold units, got {type(last).__name__}")
    linear = Activation("leaky_relu", {"negative_slope": 1.0})  # hands on what it is given
    scores = Network((*hidden, replace(last, unit=linear)))
    features = scores.features(x)
    chosen = features[-1].y * 0
    chosen[np.arange(len(x)), labels] += 1
    return np.asarray(x * scores.backward(chosen, features)[0])


def _checked(input_shape: Shape) -> Shape:
    """Return the shape of a batch of one."""
    if not 2 <= len(input_shape) <= 4 or min(input_shape) < 1:
        raise ValueError(
            f"CNN-C1: input_shape is {input_shape}, expected channels and one to three sizes, none below 1"
        )
    return (1, *input_shape)
