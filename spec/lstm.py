"""Error analysis of the LSTM unit (clauses UNIT-A1 to UNIT-A3).

Every intermediate is an exact value with a bound on the error of a kernel's counterpart, as in
`gaugeblock.spec.running`. Three things are different here. Weighted data are sums of products of any order,
declared arithmetic included. A value can become *unknown*: where a sum may overflow, or an infinity may meet
a factor that underflows, a right kernel may have anything. Its error is infinite, and so is the error of all
that depends on it. And the state of a step has an error of its own, which goes from step to step.

If only its size went on, it would be multiplied at each step by the magnitudes of the derivatives, and grow
without end where the derivatives themselves make it shrink. So what goes on is where it comes
from (`gaugeblock.spec.sources`). For that every intermediate result has two bounds, on its error, and on the
part of it that is no linear image of the errors of the state before: roundings, and what is of second order.

An infinite or a NaN value whose error is 0 is demanded as it is.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaugeblock.spec.accuracy import contraction_bound, meets_infinity
from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.formats import FORMATS, Float64, Format, ulp
from gaugeblock.spec.record import Arguments
from gaugeblock.spec.running import FUNCTION_LIMITS, Running, gamma
from gaugeblock.spec.sources import Sources, finite

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
    own : float64 array
        A bound on the error less its linear part: the errors of the state that enters the step, each times
        the derivative of the exact value.
    """

    value: Float64
    error: Float64
    own: Float64

    def __getitem__(self, index: Any) -> "Known":
        return Known(self.value[index], self.error[index], self.own[index])

    def within(self, bound: Float64) -> "Known":
        """Return it as a part of the state, none of whose error is its own, with a second bound on it."""
        error = np.where(np.isfinite(self.error), np.fmin(self.error, bound), self.error)
        return Known(self.value, error, np.zeros_like(self.error))

    @property
    def all_own(self) -> "Known":
        """The same where there is no state to which its error could be linked."""
        return Known(self.value, self.error, self.error)

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


def _made(value: Float64, error: Float64, own: Float64, demanded: Any = True) -> Known:
    """Return a result; one that is infinite or NaN is either demanded, or unknown."""
    special = np.where(demanded & ~np.isposinf(error), 0.0, np.inf)
    error = np.where(np.isnan(error), np.inf, error)
    error = np.where(np.isfinite(value), error, special)
    return Known(np.asarray(value), error, np.where(np.isfinite(error) & (error > 0), own, error))


def _exact(array: Any, arithmetic: Arithmetic) -> Known:
    """Return an input, which the arithmetic may read as zero if it is subnormal."""
    running = Running.exact(array, arithmetic)
    return Known(running.value, running.error, running.error)


def _step(arithmetic: Arithmetic) -> float:
    """Return what one underflow costs."""
    return _TINY if arithmetic.flush_subnormals else _FLOAT32.smallest_subnormal


def _product(arithmetic: Arithmetic, *factors: Known) -> Known:
    """Multiply in any order.

    A partial product that underflows is off by one smallest number times the factors still to come, one that
    may overflow makes the result unknown. With an infinity among the factors, the others must be known to be
    zero, or so far from it that no partial product of them can vanish. The product of two errors is no linear
    image of either.
    """
    value, size, carried, own = np.ones(()), np.ones(()), np.zeros(()), np.zeros(())
    highest, lowest, growth = np.ones(()), np.ones(()), np.ones(())
    zero, special, nan = np.zeros((), bool), np.zeros((), bool), np.zeros((), bool)
    known = np.ones((), bool)
    for factor in factors:
        value = value * factor.value
        own = own * factor.finite + size * factor.own + carried * factor.error
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
    return _made(value, np.where(special, np.where(demanded, 0.0, np.inf), error), own + rounding)


def _sum(arithmetic: Arithmetic, *terms: Known) -> Known:
    """Add up in any order; terms that are exactly zero round nothing."""
    reach = sum((term.reach for term in terms), start=np.zeros(()))
    carried = sum((term.error for term in terms), start=np.zeros(()))
    own = sum((term.own for term in terms), start=np.zeros(()))
    count = sum((~term.zero for term in terms), start=np.zeros((), int))
    rounding = gamma(np.maximum(count - 1, 0).astype(np.float64), _U) * reach
    if arithmetic.flush_subnormals:
        rounding = rounding + np.where(count > 0, count * _TINY, 0.0)
    fits = reach <= _FLOAT32.largest
    value = sum((term.value for term in terms), start=np.zeros(()))
    return _made(value, np.where(fits, carried + rounding, np.inf), own + rounding, fits)


def _lost(vector: Float64, matrix: Float64, output: Format, arithmetic: Arithmetic) -> Any:
    """Tell in which sums an infinity meets an operand that the declared arithmetic may take for zero."""

    def multiply(vector: Float64, matrix: Float64) -> Float64:
        return np.asarray(vector @ np.swapaxes(matrix, -1, -2))

    return meets_infinity(vector, matrix, multiply, output, arithmetic)


def _weighted(
    arithmetic: Arithmetic,
    output: Format,
    pairs: list[tuple[Float64, Known]],
    addend: Known,
    value: Float64,
    linear: Float64,
) -> Known:
    """Return sums of products plus an addend: each pair is a matrix (…, H, K) and what it meets, (…, N, K).

    The terms are those of GEMM-A1, with two more roundings, for the sums of the parts, and the error of what
    the matrices meet, carried through their magnitudes. ``linear`` is a second bound on that part of it which
    comes from the state.
    """
    product, operands, carried = np.zeros(value.shape), np.zeros(value.shape), np.zeros(value.shape)
    own = np.zeros(value.shape)
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
        unknown = unknown | (meets > 0) | _lost(vector.value, matrix, output, arithmetic)
        carried = carried + np.where(unknown, np.inf, finite_error @ np.swapaxes(weights, -1, -2))
        finite_own = np.where(np.isposinf(vector.own), 0.0, vector.own)
        own = own + np.where(unknown, np.inf, finite_own @ np.swapaxes(weights, -1, -2))
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
    own = own + bound.value + addend.own
    return _made(value, np.fmin(bound.value + carried + addend.error, own + linear), own)


def _handed_on(known: Known, output: Format) -> Known:
    """Return a state as the next step finds it: as it was computed, or rounded to the narrow format.

    Where rounding may overflow, one kernel hands on an infinity and another does not.
    """
    if output == _FLOAT32:
        return known
    half_unit = np.nan_to_num(ulp(known.reach, output) / 2, nan=np.inf)
    overflows = np.isfinite(known.value) & (known.reach >= output.overflow_threshold)
    return _made(known.value, np.where(overflows, np.inf, known.error + half_unit), known.own + half_unit)


# Gates -----------------------------------------------------------------------------------------------------

_STEEPEST_SIGMOID, _STEEPEST_TANH = 1 / (6 * 3**0.5), 4 / (3 * 3**0.5)


def _logistic(z: Float64) -> Float64:
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, e) / (1.0 + e))


def _nearest(z: Known) -> Float64:
    """Return the magnitude nearest to zero that a kernel may have: slopes are largest there."""
    return np.asarray(np.maximum(np.abs(z.value) - z.error, 0.0))


def _share(z: Known, arithmetic: Arithmetic) -> Float64:
    """Return the relative error of an exponential in roundings: two for each unit in the last place.

    By exp2 its argument is a rounded product with a rounded constant. A quotient of ``div.full`` costs four
    roundings more; no formula here has more than two.
    """
    reach = np.where(np.isfinite(z.error), z.reach, 0.0)
    limit = 2.5 + np.floor(1.173 * reach) if arithmetic.fast_exp else np.full(reach.shape, 2.5)
    more = 2 * reach * ("exp2" in arithmetic.approximations) + 8 * ("division" in arithmetic.approximations)
    return np.asarray(2 * limit + more)


def _sigmoid(z: Known, arithmetic: Arithmetic) -> tuple[Known, Known]:
    """Return σ(z) and σ′(z).

    The error of z moves σ by at most the largest slope that it can meet, and never out of 0 to 1. The formula
    itself errs by its exponential and three roundings, and by the smallest normal number where e⁻ᶻ may
    overflow. σ′ is that of σ(1 − σ), which inherits the error of σ, absolutely, or of e/(1 + e)².
    |σ″| = σ′|1 − 2σ| is no larger than the slope, nor than 1/(6√3) anywhere.
    """
    value, near = _logistic(z.value), _nearest(z)
    slope = _logistic(near) * _logistic(-near)
    moved = np.minimum(slope * z.error, np.maximum(value, 1 - value))
    lost = np.where(value - moved < 2 * _TINY, _TINY, 0.0)
    own = np.asarray(gamma(_share(z, arithmetic) + 3, _U)) * (value + moved) + lost
    exact = np.isinf(z.value) & ("division" not in arithmetic.approximations)  # 1/1 may be off, too
    gate = np.where(exact, 0.0, np.minimum(moved + own, 1.0 + 4 * _U))
    derivative = _logistic(z.value) * _logistic(-z.value)
    second = np.minimum(slope, _STEEPEST_SIGMOID)
    through = gamma(_share(z, arithmetic) + 7, _U) * np.asarray(slope)
    bend = np.where(exact, 0.0, np.minimum(second * z.error, 0.25) + own + through + lost)
    unknown = np.isposinf(z.error)
    return (
        _made(value, np.where(unknown, np.inf, gate), derivative * z.own + second * z.error**2 / 2 + own),
        _made(derivative, np.where(unknown, np.inf, bend), bend),
    )


def _tanh(z: Known, arithmetic: Arithmetic) -> tuple[Known, Known]:
    """Return tanh z, the library function, and 1 − tanh² z, from it or from e = exp(−2|z|).

    |tanh″| = 2|tanh| tanh′ is at most twice the slope, and 4/(3√3) anywhere.
    """
    unknown = np.isposinf(z.error)
    known_error = np.where(unknown, 0.0, z.error)
    running = Running(z.value, known_error, arithmetic).tanh()
    exact = np.isinf(z.value) | z.zero
    error = np.where(exact, 0.0, np.minimum(running.error, 2.0 + 4 * _U))
    slope = 1 / np.square(np.cosh(_nearest(z)))
    second = np.minimum(2 * slope, _STEEPEST_TANH)
    of_function = np.maximum(running.error - known_error * slope, 0.0)
    share = 2.0**-11 if "tanh" in arithmetic.approximations else FUNCTION_LIMITS["tanh"] * 2 * _U
    own = 2 * share * np.square(np.tanh(np.abs(z.value) + z.error))
    through = gamma(2 * _share(z, arithmetic) + 6, _U) * slope
    bend = np.where(exact, 0.0, np.minimum(second * z.error, 1.0) + own + through + 2 * _U + _TINY)
    derivative = np.where(np.isinf(z.value), 0.0, 1 / np.square(np.cosh(z.value)))
    derivative = np.where(np.isnan(z.value), np.nan, derivative)
    remains = derivative * z.own + second * known_error**2 / 2 + of_function
    return (
        _made(running.value, np.where(unknown, np.inf, error), remains),
        _made(derivative, np.where(unknown, np.inf, bend), bend),
    )


# Steps -----------------------------------------------------------------------------------------------------


def _factor(*known: Known) -> Float64:
    """Return a product of exact values, by which images are multiplied."""
    return finite(reduce(np.multiply, [factor.value for factor in known]))[..., np.newaxis]


@dataclass(frozen=True)
class _Step:
    """One step: gates and their slopes, the cell before and after, the output, and the state it hands on."""

    gates: tuple[Known, ...]
    slopes: tuple[Known, ...]
    before: Known
    cell: Known
    output: Known
    handed_on: tuple[Known, Known]
    sources: Sources


@dataclass(frozen=True)
class _Unit:
    """The arguments of a call, and how it is computed."""

    arguments: Arguments
    format: Format
    arithmetic: Arithmetic

    def given(self, name: str) -> Float64:
        return np.asarray(self.arguments[name], dtype=np.float64)

    def exact(self, array: Float64) -> Known:
        return _exact(array, self.arithmetic)

    def weighted(
        self, pairs: list[tuple[Float64, Known]], addend: Known, value: Float64, linear: Float64
    ) -> Known:
        return _weighted(self.arithmetic, self.format, pairs, addend, value, linear)

    def multiply(self, *factors: Known) -> Known:
        return _product(self.arithmetic, *factors)

    def tanh(self, z: Known) -> tuple[Known, Known]:
        return _tanh(z, self.arithmetic)

    def steps(self) -> list[_Step]:
        """Return all steps from the state that is given."""
        h, c = self.exact(self.given("h")), self.exact(self.given("c"))
        sources = Sources.none(*h.value.shape).anew(0, h.error, h.own).anew(1, c.error, c.own)
        state, steps = (h.within(h.error), c.within(c.error)), []
        for inputs in self.given("x"):
            step = self._step(inputs, *state, sources)
            state, sources = step.handed_on, step.sources
            steps.append(step)
        return steps

    def _step(self, inputs: Float64, h: Known, c: Known, sources: Sources) -> _Step:
        w, u, bias = self.given("w"), self.given("u"), self.exact(self.given("bias")[:, np.newaxis])
        moved = finite(u)[:, np.newaxis] @ sources.images[0]  # the images in the weighted data
        value = inputs @ np.swapaxes(w, 1, 2) + h.value @ np.swapaxes(u, 1, 2) + bias.value
        z = self.weighted([(w, self.exact(inputs)), (u, h)], bias, value, sources.within(moved))
        found = [_sigmoid(z[k], self.arithmetic) for k in range(4)]
        found[CANDIDATE] = self.tanh(z[CANDIDATE])
        gates, slopes = zip(*found, strict=True)
        i, f, g, o = gates
        cell = _sum(self.arithmetic, self.multiply(f, c), self.multiply(i, g))
        images = _factor(f) * sources.images[1]
        for k, factor in ((INPUT, g), (FORGET, c), (CANDIDATE, i)):
            images = images + _factor(factor, slopes[k]) * moved[k]
        sources = sources.made(moved[OUTPUT], images)
        cell, sources = cell.within(sources.bound[1] + cell.own), sources.anew(1, cell.error, cell.own)
        squashed, bend = self.tanh(cell)
        out = self.multiply(o, squashed)
        moved, images = sources.images
        images = _factor(o, bend) * images + _factor(squashed, slopes[OUTPUT]) * moved
        sources, own = sources.made(images, sources.images[1]), out.own
        out = out.within(sources.bound[0] + own)
        handed_on = _handed_on(out, self.format), _handed_on(cell, self.format)
        sources = sources.anew(0, handed_on[0].error, own + handed_on[0].own)
        if self.format != _FLOAT32:
            sources = sources.anew(1, handed_on[1].error, handed_on[1].own)
        state = handed_on[0].within(handed_on[0].error), handed_on[1].within(handed_on[1].error)
        return _Step(gates, slopes, c, cell, out, state, sources.few())


def forward_errors(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Float64:
    """Return the bounds of the errors of all outputs and cells, before they are rounded: (2, T, N, H)."""
    steps = _Unit(arguments, output, arithmetic).steps()
    T, N, _ = np.shape(arguments["x"])
    errors = np.zeros((2, T, N, np.shape(arguments["h"])[1]))
    for t, step in enumerate(steps):
        errors[:, t] = step.output.error, step.cell.error
    return errors


# And back --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gradient:
    """The state that goes back: the gradients of the output and of the cell of a step."""

    output: Known
    cell: Known
    sources: Sources


def backward_errors(arguments: Arguments, output: Format, arithmetic: Arithmetic) -> Float64:
    """Return the bounds of the errors of the gradients, before they are rounded: (5, T, N, H).

    What the forward pass has made is one source of error in each place where it is read.
    """
    unit = _Unit(arguments, output, arithmetic)
    dy, steps = unit.given("dy"), unit.steps()
    errors = np.zeros((5, *dy.shape[1:]))
    nothing = unit.exact(np.zeros(dy.shape[2:]))
    state = _Gradient(nothing, nothing, Sources.none(*dy.shape[2:]))
    for t in reversed(range(len(steps))):
        if t == len(steps) - 1:
            first = unit.exact(dy[0, t])
            state = _Gradient(
                first.within(first.error), nothing, state.sources.anew(0, first.error, first.own)
            )
        read = replace(steps[t], gates=tuple(gate.all_own for gate in steps[t].gates))
        state, gradients, factors = _retreat(unit, read, dy[1, t], state)
        errors[:, t] = [gradient.error for gradient in gradients]
        if t:
            state = _before(unit, state, gradients, factors, dy[0, t - 1])
    return errors


Factors = list[tuple[Known, ...]]


def _retreat(
    unit: _Unit, step: _Step, dy: Float64, state: _Gradient
) -> tuple[_Gradient, list[Known], Factors]:
    """Return the state with the gradient of the cell completed, what is made of it, and by which factors."""
    (i, f, g, o), slopes, dh = step.gates, step.slopes, state.output
    cell, bend = (known.all_own for known in unit.tanh(_handed_on(step.cell, unit.format)))
    before = step.before.all_own
    dc = _sum(unit.arithmetic, unit.exact(dy), state.cell, unit.multiply(dh, o, bend))
    of_output, of_cell = state.sources.images
    sources = state.sources.made(of_output, of_cell + _factor(o, bend) * of_output)
    dc, sources = dc.within(sources.bound[1] + dc.own), sources.anew(1, dc.error, dc.own)
    factors = [
        (g, slopes[INPUT]),
        (before, slopes[FORGET]),
        (i, slopes[CANDIDATE]),
        (cell, slopes[OUTPUT]),
        (f,),
    ]
    gradients = [unit.multiply(dh if k == OUTPUT else dc, *factors[k]) for k in range(5)]
    return _Gradient(dh, dc, sources), gradients, factors


def _before(
    unit: _Unit, state: _Gradient, gradients: list[Known], factors: Factors, dy: Float64
) -> _Gradient:
    """Return what goes to the step before: each rounding of a gradient is a source of its own there."""
    u = np.swapaxes(unit.given("u"), 1, 2)  # what dz meets: (4, H, H)
    *dz, dc = (_handed_on(gradient, unit.format) for gradient in gradients)
    rows = [finite(u[k]) * np.swapaxes(_factor(*factors[k]), 1, 2) for k in range(4)]  # (N, H, H)
    of_output, of_cell = state.sources.images
    of_before = rows[OUTPUT] @ of_output + sum(rows[:OUTPUT], np.zeros(())) @ of_cell
    sources = state.sources.made(of_before, _factor(*factors[-1]) * of_cell)
    for k in range(4):
        sources = sources.joined(0, finite(u[k]) * finite(dz[k].own)[:, np.newaxis])
    value = dy + sum(known.value @ u[k].T for k, known in enumerate(dz))
    pairs = [(u[k], known.within(known.error)) for k, known in enumerate(dz)]
    dh = unit.weighted(pairs, unit.exact(dy), value, sources.bound[0])
    sources = sources.anew(0, dh.error, dh.own).anew(1, dc.error, dc.own)
    return _Gradient(dh.within(dh.error), dc.within(dc.error), sources.few())
