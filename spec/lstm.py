"""Running error analysis of the LSTM unit (clauses UNIT-A1 and UNIT-A2).

Every intermediate is an exact value with a bound on the error of a kernel's counterpart, as in
`gaugeblock.spec.running`. Two things are different here. Weighted data are sums of products of any order,
declared arithmetic included, and they meet a state that has an error of its own, which goes from step to
step. And a value can become *unknown*: where a sum may overflow, or an infinity may meet a factor that
underflows, a right kernel may have anything. Its error is infinite, and so is the error of all that depends
on it.

An infinite or a NaN value whose error is 0 is demanded as it is.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.spec.accuracy import contraction_bound
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, Format, ulp
from gaugeblock.spec.record import Arguments
from gaugeblock.spec.running import FUNCTION_LIMITS, Running, gamma

__all__ = ["Known", "backward_errors", "forward_errors"]

_FLOAT32 = FORMATS["float32"]
_U = _FLOAT32.unit_roundoff
_TINY = _FLOAT32.smallest_normal

INPUT, FORGET, CANDIDATE, OUTPUT = range(4)


@dataclass(frozen=True)
class Known:
    """What is known of an intermediate result: its exact value, and how far a kernel's may be from it.

    Attributes
    ----------
    value : float64 array
        The exact value, as well as float64 gives it.
    error : float64 array
        A bound on the error. Infinite where nothing is known; 0 at a value that is infinite or NaN and known.
    """

    value: Float64
    error: Float64

    def __getitem__(self, index: Any) -> "Known":
        return Known(self.value[index], self.error[index])

    @property
    def reach(self) -> Float64:
        """The largest magnitude that a kernel may have, where the value is finite."""
        return np.asarray(self.finite + self.error)

    @property
    def finite(self) -> Float64:
        """The magnitude of the value, 0 in place of infinities and NaN."""
        return np.asarray(np.where(np.isfinite(self.value), np.abs(self.value), 0.0))

    @property
    def zero(self) -> NDArray[np.bool_]:
        """Where a kernel has exactly zero."""
        return np.asarray((self.value == 0) & (self.error == 0))


def _made(value: Float64, error: Float64, demanded: Any = True) -> Known:
    """Return a result; one that is infinite or NaN is either demanded, or unknown."""
    special = np.where(demanded & ~np.isposinf(error), 0.0, np.inf)
    error = np.where(np.isnan(error), np.inf, error)
    return Known(np.asarray(value), np.asarray(np.where(np.isfinite(value), error, special)))


def _exact(array: Any, arithmetic: Arithmetic) -> Known:
    """Return an input, which the arithmetic may read as zero if it is subnormal."""
    running = Running.exact(array, arithmetic)
    return Known(running.value, running.error)


def _step(arithmetic: Arithmetic) -> float:
    """Return what one underflow costs."""
    return _TINY if arithmetic.flush_subnormals else _FLOAT32.smallest_subnormal


def _product(arithmetic: Arithmetic, *factors: Known) -> Known:
    """Multiply in any order.

    A partial product that underflows is off by one smallest number times the factors still to come, one that
    may overflow makes the result unknown. With an infinity among the factors, the others must be known to be
    zero, or so far from it that no partial product of them can vanish.
    """
    value, size, carried = np.ones(()), np.ones(()), np.zeros(())
    highest, lowest, growth = np.ones(()), np.ones(()), np.ones(())
    zero, special, nan = np.zeros((), bool), np.zeros((), bool), np.zeros((), bool)
    known = np.ones((), bool)
    for factor in factors:
        value = value * factor.value
        carried = carried * factor.reach + size * factor.error
        size = size * factor.finite
        highest = highest * np.maximum(1.0, factor.reach)
        growth = growth * (1 + factor.reach)
        finite = np.isfinite(factor.value)
        lowest = lowest * np.where(finite, np.clip(factor.finite - factor.error, 0.0, 1.0), 1.0)
        zero, special = zero | factor.zero, special | ~finite
        nan, known = nan | np.isnan(factor.value), known & np.isfinite(factor.error)
    rounding = gamma(len(factors) - 1, _U) * (size + carried) + _step(arithmetic) * growth
    error = np.where(zero & known, 0.0, carried + rounding)
    error = np.where(highest > _FLOAT32.largest, np.inf, error)
    demanded = known & (nan | zero | (lowest > 2 * _TINY))
    return _made(value, np.where(special, np.where(demanded, 0.0, np.inf), error))


def _sum(arithmetic: Arithmetic, *terms: Known) -> Known:
    """Add up in any order; terms that are exactly zero round nothing."""
    reach = sum((term.reach for term in terms), start=np.zeros(()))
    carried = sum((term.error for term in terms), start=np.zeros(()))
    count = sum((~term.zero for term in terms), start=np.zeros((), int))
    error = carried + gamma(np.maximum(count - 1, 0).astype(np.float64), _U) * reach
    if arithmetic.flush_subnormals:
        error = error + np.where(count > 0, count * _TINY, 0.0)
    fits = reach <= _FLOAT32.largest
    value = sum((term.value for term in terms), start=np.zeros(()))
    return _made(value, np.where(fits, error, np.inf), fits)


def _weighted(
    arithmetic: Arithmetic, output: Format, pairs: list[tuple[Float64, Known]], addend: Known, value: Float64
) -> Known:
    """Return sums of products plus an addend: each pair is a matrix (…, H, K) and what it meets, (…, N, K).

    The terms are those of GEMM-A1, with two more roundings, for the sums of the parts, and the error of what
    the matrices meet, carried through their magnitudes.
    """
    product, operands, carried = np.zeros(value.shape), np.zeros(value.shape), np.zeros(value.shape)
    reduction = 0
    for matrix, vector in pairs:
        weights = np.where(np.isfinite(matrix), np.abs(matrix), 0.0)
        known = np.where(np.isfinite(vector.error), vector.reach, 0.0)
        product = product + known @ np.swapaxes(weights, -1, -2)
        operands = operands + np.sum(weights, -1)[..., np.newaxis, :] + np.sum(known, -1)[..., np.newaxis]
        # Where a state is unknown, so is every sum that it is part of, whatever its weight.
        unknown = np.any(np.isposinf(vector.error), axis=-1)[..., np.newaxis]
        finite_error = np.where(np.isposinf(vector.error), 0.0, vector.error)
        # So is it where an infinite weight meets what may have vanished, or have another sign.
        unsure = np.isfinite(vector.value) & ~vector.zero & (vector.finite <= vector.error)
        meets = np.where(unsure, 1.0, 0.0) @ np.swapaxes(np.where(np.isinf(matrix), 1.0, 0.0), -1, -2)
        unknown = unknown | (meets > 0)
        carried = carried + np.where(unknown, np.inf, finite_error @ np.swapaxes(weights, -1, -2))
        reduction += matrix.shape[-1]
    bound = contraction_bound(
        value,
        product=product,
        addend=addend.reach,
        operands=operands,
        reduction=reduction,
        output=_FLOAT32,
        inputs=output,
        arithmetic=arithmetic,
        beta=1.0,
        roundings=2,
    )
    return _made(value, bound.value + carried + addend.error)


def _handed_on(known: Known, output: Format) -> Known:
    """Return a state as the next step finds it: as it was computed, or rounded to the narrow format.

    Where rounding may overflow, one kernel hands on an infinity and another does not.
    """
    if output == _FLOAT32:
        return known
    half_unit = np.nan_to_num(ulp(known.reach, output) / 2, nan=np.inf)
    overflows = np.isfinite(known.value) & (known.reach >= output.overflow_threshold)
    return _made(known.value, np.where(overflows, np.inf, known.error + half_unit))


# Gates -----------------------------------------------------------------------------------------------------


def _logistic(z: Float64) -> Float64:
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, e) / (1.0 + e))


def _nearest(z: Known) -> Float64:
    """Return the magnitude nearest to zero that a kernel may have: slopes are largest there."""
    return np.asarray(np.maximum(np.abs(z.value) - z.error, 0.0))


def _share(z: Known, arithmetic: Arithmetic) -> Float64:
    """Return the relative error of an exponential in roundings: two for each unit in the last place."""
    limit = np.full(z.value.shape, float(FUNCTION_LIMITS["exp"]))
    if arithmetic.fast_exp:
        limit = 2 + np.floor(1.173 * np.where(np.isfinite(z.error), z.reach, 0.0))
    return 2 * limit


def _sigmoid(z: Known, arithmetic: Arithmetic) -> tuple[Known, Known]:
    """Return σ(z) and σ′(z).

    The error of z moves σ by at most the largest slope that it can meet, and never out of 0 to 1. The formula
    itself errs by its exponential and three roundings, and by the smallest normal number where e⁻ᶻ may
    overflow. σ′ is that of σ(1 − σ), which inherits the error of σ, absolutely, or of e/(1 + e)².
    """
    value, near = _logistic(z.value), _nearest(z)
    slope = _logistic(near) * _logistic(-near)
    moved = np.minimum(slope * z.error, np.maximum(value, 1 - value))
    lost = np.where(value - moved < 2 * _TINY, _TINY, 0.0)
    own = np.asarray(gamma(_share(z, arithmetic) + 3, _U)) * (value + moved) + lost
    exact = np.isinf(z.value)
    gate = np.where(exact, 0.0, np.minimum(moved + own, 1.0 + 4 * _U))
    derivative = _logistic(z.value) * _logistic(-z.value)
    through = gamma(_share(z, arithmetic) + 7, _U) * np.asarray(slope)
    bend = np.where(exact, 0.0, np.minimum(slope * z.error, 0.25) + own + through + lost)
    unknown = np.isposinf(z.error)
    return (
        _made(value, np.where(unknown, np.inf, gate)),
        _made(derivative, np.where(unknown, np.inf, bend)),
    )


def _tanh(z: Known, arithmetic: Arithmetic) -> tuple[Known, Known]:
    """Return tanh z, the library function, and 1 − tanh² z, from it or from e = exp(−2|z|)."""
    unknown = np.isposinf(z.error)
    running = Running(z.value, np.where(unknown, 0.0, z.error), arithmetic).tanh()
    exact = np.isinf(z.value) | z.zero
    error = np.where(exact, 0.0, np.minimum(running.error, 2.0 + 4 * _U))
    slope = 1 / np.square(np.cosh(_nearest(z)))
    own = 2 * FUNCTION_LIMITS["tanh"] * 2 * _U * np.square(np.tanh(np.abs(z.value) + z.error))
    through = gamma(2 * _share(z, arithmetic) + 6, _U) * slope
    bend = np.where(exact, 0.0, np.minimum(2 * slope * z.error, 1.0) + own + through + 2 * _U + _TINY)
    derivative = np.where(np.isinf(z.value), 0.0, 1 / np.square(np.cosh(z.value)))
    derivative = np.where(np.isnan(z.value), np.nan, derivative)
    return (
        _made(running.value, np.where(unknown, np.inf, error)),
        _made(derivative, np.where(unknown, np.inf, bend)),
    )


# Steps -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """One step: gates and their slopes, the cell before and after, the output."""

    gates: tuple[Known, ...]
    slopes: tuple[Known, ...]
    before: Known
    cell: Known
    output: Known


def _steps(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> list[_Step]:
    exact = partial(_exact, arithmetic=arithmetic)
    x, w, u = (np.asarray(arguments[name], dtype=np.float64) for name in ("x", "w", "u"))
    h, c = exact(arguments["h"]), exact(arguments["c"])
    bias = exact(np.asarray(arguments["bias"], dtype=np.float64)[:, np.newaxis])
    steps = []
    for inputs in x:
        value = inputs @ np.swapaxes(w, 1, 2) + h.value @ np.swapaxes(u, 1, 2) + bias.value
        z = _weighted(arithmetic, output, [(w, exact(inputs)), (u, h)], bias, value)
        found = [_sigmoid(z[k], arithmetic) for k in range(4)]
        found[CANDIDATE] = _tanh(z[CANDIDATE], arithmetic)
        gates, slopes = zip(*found, strict=True)
        i, f, g, o = gates
        cell = _sum(arithmetic, _product(arithmetic, f, c), _product(arithmetic, i, g))
        out = _product(arithmetic, o, _tanh(cell, arithmetic)[0])
        steps.append(_Step(gates, slopes, c, cell, out))
        h, c = _handed_on(out, output), _handed_on(cell, output)
    return steps


def forward_errors(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Float64:
    """Return the bounds of the errors of all outputs and cells, before they are rounded: (2, T, N, H)."""
    steps = _steps(arguments, output, arithmetic)
    T, N, _ = np.shape(arguments["x"])
    errors = np.zeros((2, T, N, np.shape(arguments["h"])[1]))
    for t, step in enumerate(steps):
        errors[:, t] = step.output.error, step.cell.error
    return errors


def backward_errors(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Float64:
    """Return the bounds of the errors of the gradients, before they are rounded: (5, T, N, H)."""
    steps = _steps(arguments, output, arithmetic)
    dy = np.asarray(arguments["dy"], dtype=np.float64)
    back = np.swapaxes(np.asarray(arguments["u"], dtype=np.float64), 1, 2)  # what dz meets: (4, H, H)
    multiply, add = partial(_product, arithmetic), partial(_sum, arithmetic)
    errors = np.zeros((5, *dy.shape[1:]))
    nothing = Known(np.zeros(dy.shape[2:]), np.zeros(dy.shape[2:]))
    dh, dc_after = _exact(dy[0, -1], arithmetic) if len(steps) else nothing, nothing
    for t in reversed(range(len(steps))):
        step = steps[t]
        (i, f, g, o), slopes = step.gates, step.slopes
        cell, bend = _tanh(_handed_on(step.cell, output), arithmetic)
        dc = add(_exact(dy[1, t], arithmetic), dc_after, multiply(dh, o, bend))
        gradients = (
            multiply(dc, g, slopes[INPUT]),
            multiply(dc, step.before, slopes[FORGET]),
            multiply(dc, i, slopes[CANDIDATE]),
            multiply(dh, cell, slopes[OUTPUT]),
            multiply(dc, f),
        )
        errors[:, t] = [gradient.error for gradient in gradients]
        dc_after = _handed_on(gradients[4], output)
        if t:
            dz = [_handed_on(gradient, output) for gradient in gradients[:4]]
            value = dy[0, t - 1] + sum(known.value @ back[k].T for k, known in enumerate(dz))
            pairs = list(zip(back, dz, strict=True))
            dh = _weighted(arithmetic, output, pairs, _exact(dy[0, t - 1], arithmetic), value)
    return errors
