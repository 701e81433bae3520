"""The stable formulas of the activation functions, written with running errors (clauses ACT-A1, A4 to A6).

Each function here takes the arguments of the operation of the same name and returns the exact result with a
bound on the error of a float32 kernel. Where several formulas are in honest use, each is written down and the
worst of them counts: the suite must not call a right kernel wrong. Formulas that lose the result's digits
(1 + tanh in the left tail of GELU, log(1 + exp), exp − 1, …) are missing on purpose.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gaugeblock.spec.arithmetic import Arithmetic
from gaugeblock.spec.running import LOG2_E, Running, select, worst

__all__ = ["FORMULAS", "Arguments", "Formula"]

Arguments = Mapping[str, Any]
Formula = Callable[[Arguments, Arithmetic], Running]

_SQRT_HALF = math.sqrt(0.5)
_TWO_SQRT_2_OVER_PI = 2 * math.sqrt(2 / math.pi)
_CUBIC = 0.044715  # of GELU's tanh form
_THRESHOLD = 20.0  # above it, softplus(x) is x and its derivative 1 in float32


def _x(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """Return the argument: an exact input, or a number that already carries an error."""
    x = arguments["x"]
    return x if isinstance(x, Running) else Running.exact(x, arithmetic)


def _dy(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    dy = arguments["dy"]
    return dy if isinstance(dy, Running) else Running.exact(dy, arithmetic)


def _sigmoid(z: Running) -> Running:
    """1/(1 + e⁻ᶻ), the same split by sign so that nothing overflows, or eᶻ/(1 + eᶻ) up to a threshold."""
    plain = 1.0 / (1.0 + (-z).exp())
    small = (-abs(z)).exp()
    split = select(z.value >= 0, 1.0 / (1.0 + small), small.over_one_plus())
    growing = select(z.value <= _THRESHOLD, z.exp().over_one_plus(), plain)
    return worst([plain, split, growing])


def _complement(s: Running, z: Running) -> Running:
    """1 − σ(z): subtracted from one, as a kernel that has σ(z) does, or σ(−z), which is finer."""
    return worst([_sigmoid(-z), 1.0 - s])


def sigmoid(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """σ(x)."""
    return _sigmoid(_x(arguments, arithmetic))


def sigmoid_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·σ(1 − σ), through the function's own value, or dy·e/(1 + e)² with e = exp(−|x|)."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    s = _sigmoid(x)
    small = (-abs(x)).exp()
    return worst([dy * (s * _complement(s, x)), dy * (small.over_one_plus() * (1.0 / (1.0 + small)))])


def log_sigmoid(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """min(x, 0) − log1p(exp(−|x|))."""
    x = _x(arguments, arithmetic)
    return _smaller(x) - (-abs(x)).exp().log1p()


def log_sigmoid_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·σ(−x); for x < 0 also 1 − e/(1 + e) with e = eˣ."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    s = _sigmoid(-x)
    return dy * worst([s, select(x.value < 0, 1.0 - (-abs(x)).exp().over_one_plus(), s)])


def softplus(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """max(x, 0) + log1p(exp(−|x|)), or log1p(exp(x)) up to a threshold."""
    x = _x(arguments, arithmetic)
    split = _larger(x) + (-abs(x)).exp().log1p()
    return worst([split, select(x.value <= _THRESHOLD, x.exp().log1p(), split)])


def softplus_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·σ(x)."""
    return _dy(arguments, arithmetic) * _sigmoid(_x(arguments, arithmetic))


def tanh(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """Return the library function."""
    return _x(arguments, arithmetic).tanh()


def tanh_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·(1 − t²), dy·(1 − t)(1 + t), or dy·4e/(1 + e)² with e = exp(−2|x|)."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    t = x.tanh()
    small = (-2.0 * abs(x)).exp()
    through_exp = 4.0 * (small.over_one_plus() * (1.0 / (1.0 + small)))
    return dy * worst([1.0 - t * t, (1.0 - t) * (1.0 + t), through_exp])


def elu(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """α·expm1(x) where x ≤ 0, else x."""
    x = _x(arguments, arithmetic)
    return select(x.value > 0, x, x.expm1() * float(arguments["alpha"]))


def elu_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·α·eˣ, or dy·(y + α) through the function's own value y, where x ≤ 0; else dy."""
    x, dy, alpha = _x(arguments, arithmetic), _dy(arguments, arithmetic), float(arguments["alpha"])
    slope = worst([x.exp() * alpha, x.expm1() * alpha + alpha])
    return select(x.value > 0, dy, dy * slope)


def _normal_distribution(x: Running) -> Running:
    """Φ(x): erfc(−x/√2)/2, normcdf, or (1 + erf(x/√2))/2 where that does not cancel."""
    z = x * _SQRT_HALF
    half_erfc = (-z).erfc() * 0.5
    half_erf = select(x.value >= -1, (1.0 + z.erf()) * 0.5, half_erfc)
    return worst([half_erfc, x.normcdf(), half_erf])


def _gelu_argument(x: Running) -> Running:
    """2·√(2/π)·(x + 0.044715·x³), in this order or as a polynomial in x²."""
    cube = x * x * x
    by_terms = (x + cube * _CUBIC) * _TWO_SQRT_2_OVER_PI
    by_square = x * (x * x * (_CUBIC * _TWO_SQRT_2_OVER_PI) + _TWO_SQRT_2_OVER_PI)
    return worst([by_terms, by_square])


def gelu(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """x·Φ(x); in the tanh form x·σ(2u), or x·(1 + tanh u)/2 where that does not cancel."""
    x = _x(arguments, arithmetic)
    if arguments["approximate"] == "none":
        return x * _normal_distribution(x)
    return x * _tanh_gate(x)


def _tanh_gate(x: Running) -> Running:
    """(1 + tanh u)/2 = σ(2u), the first form only where it does not cancel."""
    w = _gelu_argument(x)
    gate = _sigmoid(w)
    return worst([gate, select(x.value >= -1, (1.0 + (w * 0.5).tanh()) * 0.5, gate)])


def gelu_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·(Φ(x) + x·φ(x)); in the tanh form dy·(σ(w) + x·σ(w)(1 − σ(w))·w′) with w = 2u."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    if arguments["approximate"] == "none":
        density = (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
        return dy * (_normal_distribution(x) + x * density)
    w, gate = _gelu_argument(x), _tanh_gate(x)
    slope = x * x * (3 * _CUBIC * _TWO_SQRT_2_OVER_PI) + _TWO_SQRT_2_OVER_PI
    return dy * (gate + x * (gate * _complement(gate, w)) * slope)


def silu(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """x·σ(x)."""
    x = _x(arguments, arithmetic)
    return x * _sigmoid(x)


def silu_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy·σ(1 + x(1 − σ)), or dy·(σ + x·σ(1 − σ))."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    s = _sigmoid(x)
    rest = _complement(s, x)
    return dy * worst([s * (1.0 + x * rest), s + x * (s * rest)])


def leaky_relu(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """slope·x where x ≤ 0, else x."""
    x = _x(arguments, arithmetic)
    return select(x.value > 0, x, x.once(float(arguments["negative_slope"])))


def leaky_relu_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """slope·dy where x ≤ 0, else dy."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    return select(x.value > 0, dy, dy.once(float(arguments["negative_slope"])))


def hard_sigmoid(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """x/6 + 1/2, x·(1/6) + 1/2, or (x + 3)/6, clipped to 0 and 1."""
    x = _x(arguments, arithmetic)
    line = worst([x / 6.0 + 0.5, x * (1 / 6) + 0.5, (x + 3.0) / 6.0, (x + 3.0) * (1 / 6)])
    value = np.clip(line.value, 0, 1)
    above = np.clip(line.value + line.error, 0, 1) - value
    below = value - np.clip(line.value - line.error, 0, 1)
    return Running(value, np.nan_to_num(np.maximum(above, below)), arithmetic)


def hard_sigmoid_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """dy/6 where |x| < 3, zero elsewhere."""
    x, dy = _x(arguments, arithmetic), _dy(arguments, arithmetic)
    return select(np.abs(x.value) < 3, worst([dy / 6.0, dy * (1 / 6)]), _nothing(x))


def hard_tanh(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """min(max(x, low), high), with the limits rounded to float32."""
    x = _x(arguments, arithmetic)
    low, high = x.constant(float(arguments["min_val"])), x.constant(float(arguments["max_val"]))
    return select(x.value <= low.value, low, select(x.value >= high.value, high, x))


def _smaller(x: Running) -> Running:
    return select(x.value < 0, x, _nothing(x))


def _larger(x: Running) -> Running:
    return select(x.value > 0, x, _nothing(x))


def _nothing(like: Running) -> Running:
    return Running(np.zeros_like(like.value), np.zeros_like(like.value), like.arithmetic)


def _shifted(arguments: Arguments, arithmetic: Arithmetic) -> tuple[Running, Running, int]:
    """Return x − m, the row maxima m and the axis.

    Where x carries an error, the maximum that a kernel finds is off by at most the largest error of the row.
    """
    x, axis = _x(arguments, arithmetic), int(arguments["axis"])
    maxima = Running.exact(np.max(x.value, axis=axis, keepdims=True), arithmetic)
    if isinstance(arguments["x"], Running):
        reach = np.max(x.error, axis=axis, keepdims=True)
        maxima = Running(maxima.value, np.maximum(maxima.error, reach), arithmetic)
    return x - maxima, maxima, axis


def _exponentials(shifted: Running) -> Running:
    """exp(x − m), or exp2((x − m)·log₂e)."""
    return worst([shifted.exp(), (shifted * LOG2_E).exp2()])


def softmax(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """eᵢ/Σ, or eᵢ·(1/Σ), with e = exp(x − m) and m the maximum of the row."""
    shifted, _, axis = _shifted(arguments, arithmetic)
    e = _exponentials(shifted)
    total = e.sum(axis)
    return worst([e / total, e * (1.0 / total)])


def softmax_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """s·(dy − Σ s·dy), or s·dy − s·Σ s·dy."""
    s, dy, axis = softmax(arguments, arithmetic), _dy(arguments, arithmetic), int(arguments["axis"])
    dot = (s * dy).sum(axis)
    return worst([s * (dy - dot), s * dy - s * dot])


def log_softmax(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """(x − m) − log Σ. In x − (m + log Σ) the sum in brackets cancels in rows far from 0 (ACT-A5)."""
    shifted, _, axis = _shifted(arguments, arithmetic)
    return shifted - _exponentials(shifted).sum(axis).log()


def log_softmax_backward(arguments: Arguments, arithmetic: Arithmetic) -> Running:
    """(dy − s·Σ dy) with s = softmax(x), or s = exp(log_softmax(x))."""
    dy, axis = _dy(arguments, arithmetic), int(arguments["axis"])
    s = softmax(arguments, arithmetic)
    s = worst([s, log_softmax(arguments, arithmetic).exp()])
    return dy - s * dy.sum(axis)


FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        formula.__name__: formula
        for formula in (
            leaky_relu,
            leaky_relu_backward,
            elu,
            elu_backward,
            sigmoid,
            sigmoid_backward,
            log_sigmoid,
            log_sigmoid_backward,
            hard_sigmoid,
            hard_sigmoid_backward,
            tanh,
            tanh_backward,
            hard_tanh,
            softplus,
            softplus_backward,
            gelu,
            gelu_backward,
            silu,
            silu_backward,
            softmax,
            softmax_backward,
            log_softmax,
            log_softmax_backward,
        )
    }
)
