r"""The error bound of a whole network, forward and backward, composed from those of its operations.

A `Composition` is a module of operations, like the reference: a network computes ``on`` it. Its operations
work on an `Estimate`, an array of exact values that carries a bound on how far a float32 implementation may
be from them. The bound of a network is derived by the network's own code, so that it is the bound of what its
layers compute, whatever they are.

Every operation adds two parts (CNN-A1). The *carried* error is what the exact operation makes of the errors
of its arguments: for sums of products the operator on absolute values (CNN-A2), for maxima the largest error
of the window (CNN-A3). The *own* error is what the page of the operation allows for the largest arguments
that there may be. Where an error may change a decision, that is which element is the largest, or whether a
unit is active, the gradient's bound allows for both (CNN-A4). Where few numbers come out, their errors are
traced back to where they began, and weighed by the derivatives (`gaugeblock.spec.tracing`).

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
from gaugeblock.spec.tracing import Trace

__all__ = ["Composition", "Estimate", "cross_entropy", "exact", "gradients", "prediction"]

_FLOAT32 = FORMATS["float32"]
_PLAIN = Arithmetic()
_FEW = 64  # results of an example that are worth a pass each through all that made them


@dataclass(frozen=True)
class Estimate(Running):
    """Running numbers that layers can handle like an array: with a shape, sliced, and joined.

    Attributes
    ----------
    trace : Trace, optional
        Where the error comes from; without it all of it is the array's own.

    Examples
    --------
    >>> estimate = exact(np.ones((2, 3), np.float32))
    >>> np.concatenate([estimate[:, :2], estimate], axis=1).shape
    (2, 5)
    """

    trace: Trace | None = None

    @property
    def source(self) -> Trace:
        """Where the error comes from."""
        return self.trace or Trace(self.error)

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
        value, error = self.value.reshape(*shape), self.error.reshape(*shape)
        link = (self.source, lambda gradient: gradient.reshape(self.shape))
        trace = Trace(np.zeros_like(error), (link,)) if value.shape[:1] == self.shape[:1] else Trace(error)
        return Estimate(value, error, self.arithmetic, trace)

    def traced(self) -> Estimate:
        """Return the same numbers with the smaller bounds that their trace gives, if they are few."""
        if self.ndim != 2 or self.shape[1] > _FEW or not self.source.parents or np.isinf(self.error).any():
            return self
        return Estimate(self.value, np.minimum(self.error, self.source.bound()), self.arithmetic, self.trace)

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
            return Estimate(values, errors, self.arithmetic, _joined(parts, errors, *args[1:], **kwargs))
        return NotImplemented


def _joined(parts: Any, errors: Float64, axis: int = 0) -> Trace:
    """Return the trace of arrays that are joined along an axis, of which each gives back its part."""
    if axis == 0:
        return Trace(errors)
    ends = np.cumsum([part.shape[axis] for part in parts])[:-1]
    links = [
        (part.source, lambda gradient, i=i: np.split(gradient, ends, axis)[i]) for i, part in enumerate(parts)
    ]
    return Trace(np.zeros_like(errors), tuple(links))


def _estimate(value: Any, error: Any, trace: Trace | None = None) -> Estimate:
    """Return an estimate; where one number is not bounded, none is, since what follows may depend on it."""
    values = np.asarray(value, np.float64)
    errors = np.broadcast_to(np.asarray(error, np.float64), values.shape)
    if not np.isfinite(errors).all():
        return Estimate(values, np.full(values.shape, np.inf), _PLAIN)
    return Estimate(values, errors, _PLAIN, trace or Trace(errors))


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
            found = _RULES[name](call)
        return _estimate(call.value, *(found if isinstance(found, tuple) else (found,)))


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


Rule = Callable[[_Call], Float64 | tuple[Float64, Trace]]
"""From a call to a bound of its error, and perhaps where that comes from."""


def _linked(call: _Call, own: Float64, back: Callable[[Float64], Float64]) -> Trace:
    """Return the trace of a result that is linear in its first array but for ``own``."""
    source = call.arrays[call.record.arrays[0]].source
    return Trace(np.broadcast_to(own, call.value.shape), ((source, back),))


def _sum_of_products(call: _Call) -> Float64 | tuple[Float64, Trace]:
    """|x̂ŵ − xw| ≤ e|ŵ| + |x|f, where x̂ is within e of x and ŵ within f of w; addends as they are (CNN-A2)."""
    errors = {name: array.error for name, array in call.arrays.items()}
    first, *second = call.record.arrays[:2]
    carried = call.absolute({**errors, **{name: call.sizes[name] for name in second}})
    for name in second:
        nothing = {name: np.zeros(array.shape) for name, array in call.arrays.items()}
        carried = carried + call.absolute(
            {**nothing, first: np.abs(call.arrays[first].value), name: errors[name]}
        )
    own = call.record.bound({**call.sizes, **call.parameters}, call.value, _FLOAT32, call.arithmetic).value
    back = _transposed(call)
    given = all(not errors[name].any() for name in errors if name != first)
    return (carried + own, _linked(call, own, back)) if back and given else carried + own


def _transposed(call: _Call) -> Callable[[Float64], Float64] | None:
    """Return the transpose of a layer's sum of products in its inputs; None where examples may mix."""
    x, arguments = call.arrays[call.record.arrays[0]], call.record.complete(call.parameters)
    steps = {name: value for name, value in arguments.items() if name in call.record.parameters}
    match call.record.name:
        case "gemm" if x.ndim == 2 and not arguments["transpose_a"]:
            b = call.arrays["b"].value * arguments["alpha"]
            return lambda gradient: gradient @ (b if arguments["transpose_b"] else b.T)
        case "conv":
            w = call.arrays["w"].value
            return lambda gradient: reference.conv_backward_input(gradient, w, input_shape=x.shape, **steps)
        case "avg_pool":
            return lambda gradient: reference.avg_pool_backward(gradient, input_shape=x.shape, **steps)
        case _:
            return None


def _smooth(call: _Call) -> Float64:
    """Return the running error of the function's formula, which the errors of its arguments go through."""
    arguments = call.record.complete(call.parameters)
    for name, array in ((name, array.traced()) for name, array in call.arrays.items()):
        read = Running.exact(array.value, call.arithmetic).error  # subnormal numbers may be read as zero
        arguments[name] = Running(array.value, array.error + read, call.arithmetic)
    formula = FORMULAS[call.record.name](arguments, call.arithmetic)
    backward = call.record.backward
    return formula_bound(formula, call.value, _FLOAT32, transcendental=True, gradient=backward).value


_KINKS = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


def _clipped(call: _Call) -> tuple[Float64, Trace]:
    """Return how far a function that never falls moves if its argument does; it is exact itself.

    Where it is open whether a unit is active, the slope may be wrong by 1.
    """
    x, (low, high) = call.arrays["x"], _KINKS[call.record.name]
    below, above = (np.clip(x.value + side * x.error, low, high) for side in (-1, 1))
    active = (x.value > low) & (x.value < high)
    own = np.where(_open(x, call.record.name), x.error, 0.0)
    error = np.maximum(above - call.value, call.value - below)
    return error, _linked(call, own, lambda gradient: gradient * active)


def _open(x: Estimate, name: str) -> NDArray[np.bool_]:
    """Tell where it is not decided on which side of a kink a number is."""
    near = [np.abs(x.value - kink) <= x.error for kink in _KINKS[name]]
    return (x.error > 0) & np.logical_or(*near)


def _clipped_backward(call: _Call) -> Float64:
    """Return the error of dy where the unit is active, and all of dy where that is not decided (CNN-A4)."""
    dy, x = call.arrays["dy"], call.arrays["x"]
    open_ = _open(x, call.record.name.removesuffix("_backward"))
    active = call.record.reference(np.ones(x.shape), x.value) > 0
    return np.where(open_, np.abs(dy.value) + dy.error, np.where(active, dy.error, 0.0))


def _maximum(call: _Call) -> tuple[Float64, Trace]:
    """Return the largest error of each window (CNN-A3); a window without data has none.

    Where it is open which element is the largest, neither the one that should be is off by more, nor the one
    that is.
    """
    x = call.arrays["x"]
    largest = np.maximum(reference.max_pool(x.error, **call.parameters), 0.0)
    own = np.where(_undecided(x, call.value.shape, call.parameters)[1], 2 * largest, 0.0)
    return np.asarray(largest), _linked(
        call, own, lambda gradient: reference.max_pool_backward(gradient, x.value, **call.parameters)
    )


def _undecided(
    x: Estimate, shape: tuple[int, ...], parameters: Mapping[str, Any]
) -> tuple[Float64, NDArray[np.bool_]]:
    """Return what each maximum is at least, and where it is open which element it is."""
    least = reference.max_pool(x.value - x.error, **parameters)
    candidates, moving = np.zeros(shape, int), np.zeros(shape, bool)
    for _, outputs, inputs in pool_windows(x.shape, **parameters).taps():
        candidate = (x.value + x.error)[inputs] >= least[outputs]
        candidates[outputs] += candidate
        moving[outputs] |= candidate & (x.error[inputs] > 0)
    return least, (candidates > 1) & moving  # equal numbers without an error are told apart by their places


def _maximum_backward(call: _Call) -> Float64:
    """Return the errors of dy where they arrive; all of dy at each that may be the largest (CNN-A4)."""
    dy, x = call.arrays["dy"], call.arrays["x"]
    windows = pool_windows(x.shape, **call.parameters)
    least, open_ = _undecided(x, dy.shape, call.parameters)

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
    return cast(Estimate, network.forward(cast(Any, exact(x)), on=on)).traced()


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
