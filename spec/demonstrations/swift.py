"""Operations of the reference in plain floats, for demonstrations that take ten thousands of small steps.

They have the names, arguments and shapes of the reference's and are given in the place of it:
``layer.forward(x, on=swift)``. The reference's sigmoid and tanh are right to the last places and take long;
NumPy's are right to a few places less. Tests hold these here to the reference. Arguments are not checked.
Every other operation is the reference's own.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gaugeblock import reference

__all__ = [
    "gemm",
    "log_softmax",
    "log_softmax_backward",
    "lstm_unit",
    "lstm_unit_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "tanh",
    "tanh_backward",
]

Floats: TypeAlias = npt.NDArray[np.float64]

INPUT, FORGET, CANDIDATE, OUTPUT = range(4)


def __getattr__(name: str) -> Any:
    """Return the reference's operation."""
    return getattr(reference, name)


def gemm(
    a: Floats,
    b: Floats,
    c: Any = None,
    *,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Floats:
    """Return op(a) op(b) + beta · c."""
    product: Floats = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    return product + beta * c if beta else product


def relu(x: Floats) -> Floats:
    """Return max(0, x)."""
    return np.maximum(x, 0.0)


def relu_backward(dy: Floats, x: Floats) -> Floats:
    """Return dy where x > 0, else 0."""
    return np.asarray(np.where(x > 0, dy, 0.0))


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(−x))."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def sigmoid_backward(dy: Floats, x: Floats) -> Floats:
    """Return dy · σ′(x)."""
    return np.asarray(dy * 0.25 / np.cosh(0.5 * x) ** 2)


def tanh(x: Floats) -> Floats:
    """Return tanh(x)."""
    return np.asarray(np.tanh(x))


def tanh_backward(dy: Floats, x: Floats) -> Floats:
    """Return dy · (1 − tanh²(x))."""
    return np.asarray(dy * (1.0 - np.tanh(x) ** 2))


def log_softmax(x: Floats, *, axis: int = -1) -> Floats:
    """Return x − log Σ exp(x), row by row."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def log_softmax_backward(dy: Floats, x: Floats, *, axis: int = -1) -> Floats:
    """Return dy − softmax(x) · Σ dy, row by row."""
    return np.asarray(dy - np.exp(log_softmax(x, axis=axis)) * dy.sum(axis=axis, keepdims=True))


def lstm_unit(x: Floats, h: Floats, c: Floats, w: Floats, u: Floats, bias: Floats) -> Floats:
    """Return the outputs and cells of all steps, shape (2, T, N, H)."""
    _, states = _run(x, h, c, w, u, bias)
    return states[:, 1:]


def lstm_unit_backward(
    dy: Floats, x: Floats, h: Floats, c: Floats, w: Floats, u: Floats, bias: Floats
) -> Floats:
    """Return the gradients of the weighted data of the gates, and of the cells that enter each step."""
    gates, states = _run(x, h, c, w, u, bias)
    i, f, g, o = np.moveaxis(gates, 2, 0)
    tanh_c = np.tanh(states[1, 1:])
    of_cell = np.stack(
        [g * i * (1 - i), states[1, :-1] * f * (1 - f), i * (1 - g * g)], axis=2
    )  # (T, N, 3, H)
    of_output, into_cell = tanh_c * o * (1 - o), o * (1 - tanh_c * tanh_c)
    T, N, H = tanh_c.shape
    flat = u.reshape(4 * H, H)
    result = np.empty((5, T, N, H))
    dz = np.empty((N, 4, H))
    dh, dc = np.zeros((N, H)), np.zeros((N, H))
    for t in reversed(range(T)):
        dh = dh + dy[0, t]
        dc = dc + dy[1, t] + dh * into_cell[t]
        dz[:, :OUTPUT] = dc[:, None] * of_cell[t]
        dz[:, OUTPUT] = dh * of_output[t]
        result[:4, t] = dz.swapaxes(0, 1)
        dc = dc * f[t]
        result[4, t] = dc
        dh = dz.reshape(N, 4 * H) @ flat
    return result


def _run(x: Floats, h: Floats, c: Floats, w: Floats, u: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return the gates of all steps, shape (T, N, 4, H), and the states before and after them."""
    T, N, H = len(x), *h.shape
    # One tanh for all gates of a step: σ(z) = (1 + tanh(z/2)) / 2.
    half = np.where(np.arange(4) == CANDIDATE, 1.0, 0.5)[:, None]
    of_inputs = np.einsum("tnd,khd->tnkh", x, w) + bias
    of_outputs = u.reshape(4 * H, H).T
    gates, states = np.empty((T, N, 4, H)), np.empty((2, T + 1, N, H))
    states[0, 0], states[1, 0] = h, c
    for t in range(T):
        z = of_inputs[t] + (h @ of_outputs).reshape(N, 4, H)
        gate = gates[t] = np.tanh(z * half) * half + (1.0 - half)
        c = gate[:, FORGET] * c + gate[:, INPUT] * gate[:, CANDIDATE]
        h = gate[:, OUTPUT] * np.tanh(c)
        states[0, t + 1], states[1, t + 1] = h, c
    return gates, states
