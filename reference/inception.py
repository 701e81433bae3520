r"""Inception: convolutions of several sizes see the same maps side by side, after small ones made them few.

Which size of kernel is best at some depth of a network? An inception module takes all of them: 1×1, 3×3 and
5×5, and a pooling layer beside them. What they find is joined, map after map, to one stack of maps, which the
next layer or the next module takes in. Large kernels on many maps are expensive, so that a convolution of 1×1
goes before them: it mixes the maps of each pixel to fewer ones, at the price of a small matrix product. As a
layer that looks at one pixel only, it has neither stride nor padding to think of, and a rectifier of its own.

A module is a `Branches` of networks. It is no layer in the narrow sense, since it is not uniform: it contains
layers that are. But it takes an array and hands one on, and finds its place in a `Network` like any layer.

Spec: page 14, Inception. Sources: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section
"Inception"; C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from gaugeblock import reference
from gaugeblock.reference._arguments import Array
from gaugeblock.reference.layer import Convolutional, Layer, MaxPooling, Passed
from gaugeblock.reference.network import Network
from gaugeblock.reference.unit import Activation, Operations

__all__ = ["GOOGLENET_3A", "GOOGLENET_3B", "Branches", "Sizes", "inception", "reducing"]


@dataclass(frozen=True)
class Branches(Layer):
    """Networks side by side: all are given the same, and what they hand on is joined along the maps.

    Their parameters have names like ``"1.0.weights"``: branch 1, layer 0.

    Attributes
    ----------
    branches : tuple of Network
        In the order in which their maps are joined.

    Raises
    ------
    TypeError, ValueError
        INC-C1: there is no branch, or something that is no network.

    Examples
    --------
    >>> double = Convolutional(np.array([[[2.0]]]), np.zeros(1), Activation("relu"))
    >>> module = Branches((Network((double,)), Network((MaxPooling(3, stride=1, padding=1),))))
    >>> module.forward(np.array([[[1.0, -1.0, 3.0]]])).y
    array([[[2., 0., 6.],
            [1., 3., 3.]]])
    """

    branches: tuple[Network, ...]

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("INC-C1: a module has at least one branch, got none")
        for index, branch in enumerate(self.branches):
            if not isinstance(branch, Network):
                raise TypeError(f"INC-C1: branch {index} must be a network, got {type(branch).__name__}")

    @property
    def parameters(self) -> dict[str, Array]:
        """Those of all layers of all branches."""
        return {
            f"{b}.{i}.{name}": array
            for b, branch in enumerate(self.branches)
            for i, layer in enumerate(branch.parameters)
            for name, array in layer.items()
        }

    def with_parameters(self, parameters: dict[str, Array]) -> Self:
        """Return the module with other parameters."""
        branches = []
        for b, branch in enumerate(self.branches):
            own = [
                {name: parameters[f"{b}.{i}.{name}"] for name in layer}
                for i, layer in enumerate(branch.parameters)
            ]
            branches.append(branch.with_parameters(tuple(own)))
        return replace(self, branches=tuple(branches))

    def forward(self, x: Array, *, on: Operations = reference) -> Passed:
        """Let each branch see the input, and join what they hand on.

        Raises
        ------
        ValueError
            INC-C2: the branches' maps differ in size.
        """
        inside = tuple(branch.features(x, on=on) for branch in self.branches)
        maps = [passed[-1].y for passed in inside]
        for index, found in enumerate(maps):
            if found.shape[2:] != maps[0].shape[2:]:
                raise ValueError(
                    f"INC-C2: branch {index} makes maps of {found.shape[2:]}, branch 0 of {maps[0].shape[2:]}"
                )
        return Passed(x, None, np.concatenate(maps, axis=1), inside)

    def backward(
        self, dy: Array, passed: Passed, *, on: Operations = reference
    ) -> tuple[Array, dict[str, Array]]:
        """Give each branch the gradient of its own maps, and add up what comes back to the input."""
        gradients: dict[str, Array] = {}
        total: Array | None = None
        start = 0
        for b, (branch, inside) in enumerate(zip(self.branches, passed.inside, strict=True)):
            stop = start + inside[-1].y.shape[1]
            dx, parameters = branch.backward(dy[:, start:stop], inside, on=on)
            total = dx if total is None else total + dx
            for i, layer in enumerate(parameters):
                gradients |= {f"{b}.{i}.{name}": array for name, array in layer.items()}
            start = stop
        assert total is not None  # there is a branch
        return total, gradients


class Sizes(NamedTuple):
    """How many maps there are at each place of a module.

    Attributes
    ----------
    maps_1 : int
        By the 1×1 convolution that stands alone.
    reduced_3, maps_3, reduced_5, maps_5 : int
        By the 3×3 and 5×5 convolutions, and by the 1×1 convolutions before them; 0: there is none before.
    pooled : int
        By the 1×1 convolution after the pooling; 0: there is none, and all maps are handed on.
    """

    maps_1: int
    reduced_3: int
    maps_3: int
    reduced_5: int
    maps_5: int
    pooled: int

    @property
    def naive(self) -> Sizes:
        """The same module without a reduction anywhere."""
        return self._replace(reduced_3=0, reduced_5=0, pooled=0)

    def output(self, channels: int) -> int:
        """Return how many maps the module hands on.

        Examples
        --------
        >>> GOOGLENET_3A.output(192), GOOGLENET_3A.naive.output(192)
        (256, 416)
        """
        return self.maps_1 + self.maps_3 + self.maps_5 + (self.pooled or channels)


GOOGLENET_3A = Sizes(64, 96, 128, 16, 32, 32)
"""The first module of GoogLeNet, on 192 maps of 28×28 (Szegedy et al., table 1)."""

GOOGLENET_3B = Sizes(128, 128, 192, 32, 96, 64)
"""The module that it feeds, on 256 maps of 28×28."""


def inception(channels: int, sizes: Sizes, generator: np.random.Generator) -> Branches:
    """Build an inception module for two spatial axes, its weights drawn, its biases 0.

    Four branches, in this order: 1×1; 1×1 and 3×3; 1×1 and 5×5; the maximum of 3×3 and 1×1. All keep the size
    of the maps, and all convolutions are rectified.

    Spec: INC-D1, INC-S1.

    Parameters
    ----------
    channels : int
        How many maps come in.
    sizes : Sizes
        How many maps there are inside.
    generator : numpy.random.Generator
        Where the weights are drawn from, branch by branch.

    Returns
    -------
    Branches

    Raises
    ------
    ValueError
        INC-C3: a number of maps is negative, or one that cannot be left out is 0.

    Examples
    --------
    192 maps of 28×28, with the reductions and without:

    >>> from gaugeblock.reference.counting import costs, total
    >>> for sizes in (GOOGLENET_3A, GOOGLENET_3A.naive):
    ...     module = Network((inception(192, sizes, np.random.default_rng(0)),))
    ...     found = total(costs(module, (192, 28, 28)))
    ...     print(found.shape, f"{found.parameters:,} parameters, {found.multiplications:,} multiplications")
    (256, 28, 28) 163,696 parameters, 128,049,152 multiplications
    (416, 28, 28) 387,296 parameters, 303,464,448 multiplications
    """
    if min(channels, sizes.maps_1, sizes.maps_3, sizes.maps_5) < 1 or min(sizes) < 0:
        raise ValueError(
            f"INC-C3: channels is {channels}, sizes is {sizes}; expected at least 1 for the maps that come "
            "in and those of the three convolutions, and at least 0 for the others"
        )
    relu = Activation("relu")

    def convolved(inputs: int, maps: int, kernel: int) -> Convolutional:
        return Convolutional.initial(inputs, maps, (kernel, kernel), relu, generator, padding="same")

    def reduced(inputs: int, to: int, then: int, kernel: int) -> Network:
        if to == 0:
            return Network((convolved(inputs, then, kernel),))
        return Network((convolved(inputs, to, 1), convolved(to, then, kernel)))

    pooling = MaxPooling(3, stride=1, padding=1)
    return Branches(
        (
            Network((convolved(channels, sizes.maps_1, 1),)),
            reduced(channels, sizes.reduced_3, sizes.maps_3, 3),
            reduced(channels, sizes.reduced_5, sizes.maps_5, 5),
            Network((pooling, convolved(channels, sizes.pooled, 1)) if sizes.pooled else (pooling,)),
        )
    )


def reducing(channels: int, maps: int, generator: np.random.Generator) -> Branches:
    """Build a module that makes maps smaller: a convolution and a pooling side by side, both with step 2.

    Pooling first would squeeze everything through a quarter of the numbers before a convolution has seen it;
    convolving first would compute four pixels to keep one. Side by side the convolution makes `maps` new
    maps, and the pooling hands on all that there were.

    Spec: INC-D3, INC-S4. Source: C. Szegedy et al., "Rethinking the inception architecture for computer
    vision", CVPR 2016, arXiv:1512.00567, section 5.

    Parameters
    ----------
    channels, maps : int
        How many maps come in, and how many the convolution makes.
    generator : numpy.random.Generator
        Where the weights are drawn from.

    Returns
    -------
    Branches

    Raises
    ------
    ValueError
        INC-C3: a number of maps is less than 1.

    Examples
    --------
    >>> module = reducing(2, 3, np.random.default_rng(0))
    >>> module.forward(np.zeros((1, 2, 28, 28))).y.shape
    (1, 5, 14, 14)
    """
    if min(channels, maps) < 1:
        raise ValueError(f"INC-C3: channels is {channels}, maps is {maps}, expected at least 1 of each")
    relu = Activation("relu")
    convolved = Convolutional.initial(channels, maps, (3, 3), relu, generator, stride=2, padding=1)
    return Branches((Network((convolved,)), Network((MaxPooling(3, stride=2, padding=1),))))
