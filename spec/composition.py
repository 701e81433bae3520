r"""The error bound of a whole network, forward and backward, composed from those of its operations.

A `Composition` is a module of operations, like the reference: a network computes ``on`` it. Its operations
work on an `Estimate`, an array of exact values that carries a bound on how far a float32 implementation may
be from them. The bound of a network is derived by the network's own code, so that it is the bound of what its
layers compute, whatever they are.

Every operation adds two parts (CNN-A1). The *carried* error is what the exact operation makes of the errors
of its arguments: for sums of products the operator on absolute values (CNN-A2), for maxima the largest error
of the window (CNN-A3). The *own* error is what the page of the operation allows for the largest arguments
that there may be. Where an error may change a decision, that is which element is the largest, or whether a
unit is active, the gradient's bound allows for both (CNN-A4).

Source: N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, sections 3.3 and
3.8; the operations' own bounds are those of pages 9, 11, 12 and 15.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference import machine_learning
from gaugeblock.reference.machine_learning import Examples
from gaugeblock.reference.network import Gradients, Network
from gaugeblock.reference.pooling import pool_windows
from gaugeblock.spec.accuracy import formula_bound
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.formulas import FORMULAS
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.record import Operation
from gaugeblock.spec.running import Running, gamma

__all__ = ["Composition", "Estimate", "cross_entropy", "exact", "gradients", "prediction"]

_FLOAT32 = FORMATS["float32"]
_PLAIN = Arithmetic()


class Estimate(Running):
    """Running numbers that layers can handle like an array: with a shape, sliced, and joined.

    Examples
    --------
    >>> estimate = exact(np.ones((2, 3), np.float32))
    >>> np.concatenate([estimate[:, :2], estimate], axis=1).shape
    (2, 5)
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the exact values, float64."""
        return self.value.dtype

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Estimate:
        return Estimate(self.value[index], self.error[index], self.arithmetic)

    def __add__(self, other: Any) -> Estimate:
        total = super().__add__(other)
        known = np.isfinite(self.error).all() and np.isfinite(self._operand(other).error).all()
        return _estimate(total.value, total.error if known else np.inf)

    def reshape(self, *shape: Any) -> Estimate:
        """Return the same numbers in another shape."""
        return Estimate(self.value.reshape(*shape), self.error.reshape(*shape), self.arithmetic)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Let NumPy ask for the shape and join arrays; its other functions are not answered."""
        if function is np.shape:
            return self.shape
        if function is np.concatenate:
            parts = args[0]
            values = np.concatenate([part.value for part in parts], *args[1:], **kwargs)
            errors = np.concatenate([part.error for part in parts], *args[1:], **kwargs)
            return Estimate(values, errors, self.arithmetic)
        return NotImplemented


def _estimate(value: Any, error: Any) -> Estimate:
    """Return an estimate; where one number is not bounded, none is, since what follows may depend on it."""
    values = np.asarray(value, np.float64)
    errors = np.broadcast_to(np.asarray(error, np.float64), values.shape)
    return Estimate(values, errors if np.isfinite(errors).all() else np.full(values.shape, np.inf), _PLAIN)


def exact(x: Any, name: str = "x") -> Estimate:
    """Return an array as it is given to a network: finite numbers of float32, without error.

    Raises
    ------
    ValueError
        CNN-C4: a number is not finite, or none of float32, so that it would be rounded on its way in.

    Examples
    --------
    >>> exact(np.array([0.5, 0.1]))
    Traceback (most recent call last):
        ...
    ValueError: CNN-C4: x[1] is 0.1, expected a finite number of float32
    """
    array = np.asarray(x, np.float64)
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(array) | (array.astype(np.float32) != array)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        where = ", ".join(map(str, place))
        raise ValueError(f"CNN-C4: {name}[{where}] is {array[place]}, expected a finite number of float32")
    return _estimate(array, 0.0)


@dataclass(frozen=True)
class Composition:
    """A module of operations on estimates.

    Attributes
    ----------
    arithmetic : mapping of str to Arithmetic
        What the implementation declares for an operation, where it is not plain.

    Examples
    --------
    The error of a sum of three products, and what another layer makes of it:

    >>> on = Composition()
    >>> x, w = np.array([[1.0, 2.0, 4.0]]), np.array([[8.0], [-4.0], [0.5]])
    >>> y = on.gemm(x, w)
    >>> y.value, (y.error * 2**24).round(3)
    (array([[2.]]), array([[54.]]))
    >>> (on.gemm(y, np.array([[3.0]])).error * 2**24).round(3)
    array([[168.]])
    """

    arithmetic: Mapping[str, Arithmetic] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Callable[..., Estimate]:
        if name not in _RULES:
            raise AttributeError(f"CNN-C5: there is no rule for {name!r}, only for {', '.join(_RULES)}")
        return partial(self._compose, name)

    def _compose(self, name: str, *arrays: Any, **parameters: Any) -> Estimate:
        record = OPERATIONS[name]
        given = dict(zip(record.arrays, arrays, strict=False)) | parameters
        operands = {
            key: value if isinstance(value, Estimate) else exact(value, key)
            for key, value in given.items()
            if key in record.arrays and value is not None
        }
        rest = {key: value for key, value in given.items() if key not in record.arrays}
        call = _Call(record, operands, rest, self.arithmetic.get(name, _PLAIN))
        if not all(np.isfinite(operand.error).all() for operand in operands.values()):
            return _estimate(call.value, np.inf)
        with np.errstate(all="ignore"):
            return _estimate(call.value, _RULES[name](call))


@dataclass(frozen=True)
class _Call:
    """One call of an operation with estimates; a rule returns a bound on the error of its result."""

    record: Operation
    arrays: Mapping[str, Estimate]
    parameters: Mapping[str, Any]
    arithmetic: Arithmetic
    value: Float64 = field(init=False)

    def __post_init__(self) -> None:
        values = {name: array.value for name, array in self.arrays.items()}
        object.__setattr__(self, "value", np.asarray(self.record.reference(**values, **self.parameters)))

    @property
    def sizes(self) -> dict[str, Float64]:
        """The largest magnitude that each element of each array may have."""
        return {name: np.abs(array.value) + array.error for name, array in self.arrays.items()}

    def absolute(self, arrays: Mapping[str, Float64]) -> Float64:
        """Return the operator on absolute values."""
        return self.record.absolute({**arrays, **self.parameters})


Rule = Callable[[_Call], Float64]


def _sum_of_products(call: _Call) -> Float64:
    """|x̂ŵ − xw| ≤ e|ŵ| + |x|f, where x̂ is within e of x and ŵ within f of w; addends as they are (CNN-A2)."""
    errors = {name: array.error for name, array in call.arrays.items()}
    first, *second = call.record.arrays[:2]
    carried = call.absolute({**errors, **{name: call.sizes[name] for name in second}})
    for name in second:
        nothing = {name: np.zeros(array.shape) for name, array in call.arrays.items()}
        carried = carried + call.absolute(
            {**nothing, first: np.abs(call.arrays[first].value), name: errors[name]}
        )
    own = call.record.bound({**call.sizes, **call.parameters}, call.value, _FLOAT32, call.arithmetic)
    return carried + own.value


def _smooth(call: _Call) -> Float64:
    """Return the running error of the function's formula, which the errors of its arguments go through."""
    arguments = call.record.complete(call.parameters)
    for name, array in call.arrays.items():
        read = Running.exact(array.value, call.arithmetic).error  # subnormal numbers may be read as zero
        arguments[name] = Running(array.value, array.error + read, call.arithmetic)
    formula = FORMULAS[call.record.name](arguments, call.arithmetic)
    backward = call.record.backward
    return formula_bound(formula, call.value, _FLOAT32, transcendental=True, gradient=backward).value


_KINKS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


def _clipped(call: _Call) -> Float64:
    """Return how far a function that never falls moves if its argument does; it is exact itself."""
    x, (low, high) = call.arrays["x"], _KINKS[call.record.name]
    below, above = (np.clip(x.value + side * x.error, low, high) for side in (-1, 1))
    return np.maximum(above - call.value, call.value - below)


def _clipped_backward(call: _Call) -> Float64:
    """Return the error of dy where the unit is active, and all of dy where that is not decided (CNN-A4)."""
    dy, x = call.arrays["dy"], call.arrays["x"]
    open_ = np.zeros(x.shape, bool)
    for kink in _KINKS[call.record.name.removesuffix("_backward")]:
        open_ |= (x.error > 0) & (np.abs(x.value - kink) <= x.error)
    active = call.record.reference(np.ones(x.shape), x.value) > 0
    return np.where(open_, np.abs(dy.value) + dy.error, np.where(active, dy.error, 0.0))


def _maximum(call: _Call) -> Float64:
    """Return the largest error of each window (CNN-A3); a window without data has none."""
    largest = reference.max_pool(call.arrays["x"].error, **call.parameters)
    return np.asarray(np.maximum(largest, 0.0))


def _maximum_backward(call: _Call) -> Float64:
    """Return the errors of dy where they arrive; all of dy at each that may be the largest (CNN-A4)."""
    dy, x = call.arrays["dy"], call.arrays["x"]
    windows = pool_windows(x.shape, **call.parameters)
    least = reference.max_pool(x.value - x.error, **call.parameters)  # what the maximum is at least
    candidates = np.zeros(dy.shape, int)
    moving = np.zeros(dy.shape, bool)
    for _, outputs, inputs in windows.taps():
        candidate = (x.value + x.error)[inputs] >= least[outputs]
        candidates[outputs] += candidate
        moving[outputs] |= candidate & (x.error[inputs] > 0)
    open_ = (candidates > 1) & moving  # equal numbers without an error are told apart by their places

    def routed(gradient: Float64) -> Float64:
        return np.asarray(reference.max_pool_backward(gradient, x.value, **call.parameters))

    size = np.abs(dy.value) + dy.error
    carried, total = routed(np.where(open_, 0.0, dy.error)), routed(np.where(open_, 0.0, size))
    count = routed(np.where(open_, 0.0, 1.0))
    for _, outputs, inputs in windows.taps():
        reached = open_[outputs] & ((x.value + x.error)[inputs] >= least[outputs])
        for sums, added in ((carried, size), (total, size), (count, np.ones(dy.shape))):
            sums[inputs] += np.where(reached, added[outputs], 0.0)
    own = gamma(np.maximum(count - 1, 0), call.arithmetic.sum_roundoff) * total  # POOL-A3
    if call.arithmetic.flush_subnormals:
        own = own + count * _FLOAT32.smallest_normal
    return np.asarray(carried + own)


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("gemm", "conv", "conv_backward_input", "conv_backward_weight"), _sum_of_products),
    **dict.fromkeys(("conv_backward_bias", "conv_transpose"), _sum_of_products),
    **dict.fromkeys(("avg_pool", "avg_pool_backward"), _sum_of_products),
    "max_pool": _maximum,
    "max_pool_backward": _maximum_backward,
    **dict.fromkeys(_KINKS, _clipped),
    **{f"{name}_backward": _clipped_backward for name in _KINKS},
    **{
        f"{name}{suffix}": _smooth
        for name in ("sigmoid", "tanh", "gelu", "silu", "softmax", "log_softmax")
        for suffix in ("", "_backward")
    },
}


def cross_entropy(predicted: Any, wanted: NDArray[Any]) -> tuple[Estimate, Estimate]:
    """Return the estimates of `gaugeblock.reference.machine_learning.cross_entropy`: a mean of N numbers.

    Examples
    --------
    >>> error, gradient = cross_entropy(exact(np.array([[-1.0, -0.5]] * 3)), np.array([0, 0, 1]))
    >>> round(float(error.value), 6), round(float(error.error) * 2**24, 3)
    (0.833333, 2.5)
    >>> bool(gradient.error.max() < 2**-26)
    True
    """
    value, gradient = machine_learning.cross_entropy(predicted.value, wanted)
    rows = np.arange(len(wanted))
    carried = predicted.error[rows, wanted]
    size = np.abs(predicted.value[rows, wanted]) + carried
    error = np.mean(carried) + gamma(len(wanted), _FLOAT32.unit_roundoff) * np.mean(size)
    return _estimate(value, error), _estimate(gradient, np.abs(gradient.astype(np.float32) - gradient))


def prediction(network: Network, x: Any, on: Composition = Composition()) -> Estimate:
    """Return what a network predicts, with the bound of its error.

    Parameters
    ----------
    network : Network
        Its parameters are numbers of float32.
    x : ndarray, shape (N, ...)
        The inputs, numbers of float32.
    on : Composition
        With the arithmetic of the implementation.
    """
    return cast(Estimate, network.forward(cast(Any, exact(x)), on=on))


def gradients(network: Network, examples: Examples, on: Composition = Composition()) -> Gradients:
    """Return the cross-entropy of a network on examples and all its gradients, each with its bound.

    Parameters
    ----------
    network : Network
        Its parameters are numbers of float32; it predicts logarithms of probabilities.
    examples : Examples
        The inputs are numbers of float32; a class is wanted for each.
    on : Composition
        With the arithmetic of the implementation.

    Returns
    -------
    Gradients
        Of estimates.

    Examples
    --------
    >>> from gaugeblock.reference.layer import FullyConnected
    >>> from gaugeblock.reference.unit import Activation
    >>> layer = FullyConnected(np.eye(2), np.zeros(2), Activation("log_softmax"))
    >>> found = gradients(Network((layer,)), Examples(np.array([[1.0, 3.0]]), np.array([1])))
    >>> weights = found.parameters[0]["weights"]
    >>> weights.value.round(3).tolist(), bool((weights.error < 1e-5).all())
    ([[0.119, -0.119], [0.358, -0.358]], True)
    """
    inputs = cast(Any, exact(examples.inputs))
    measure = cast(machine_learning.Measure, cross_entropy)
    return network.gradients(Examples(inputs, examples.wanted), measure, on=on)
