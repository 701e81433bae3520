"""The test vectors of the LSTM unit."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaugeblock.spec.formats import FORMATS
from gaugeblock.spec.vectors.case import Data, Strided, call, misuse, pattern

__all__ = ["cases"]

_INF, _NAN = np.inf, np.nan
_call, _misuse = partial(call, "lstm_unit"), partial(misuse, "lstm_unit")
_backward, _bad_backward = partial(call, "lstm_unit_backward"), partial(misuse, "lstm_unit_backward")

Arrays = dict[str, ArrayLike | Strided]


def cases() -> Iterator[tuple[str, Data]]:
    """Yield the vectors, each with its operation."""
    for case in (*_semantics(), *_special(), *_strided(), *_misuses()):
        yield "lstm_unit", case
    for case in (*_gradients(), *_special_gradients(), *_bad_gradients()):
        yield "lstm_unit_backward", case


def _unit(
    T: int = 4, N: int = 2, D: int = 1, H: int = 3, scale: float = 0.125, **others: ArrayLike
) -> Arrays:
    """Return the arguments of a call, no two sizes and no two gates alike."""
    arrays: Arrays = {
        "x": pattern(T, N, D, scale=scale),
        "h": pattern(N, H, start=1, scale=0.0625),
        "c": pattern(N, H, start=2, scale=scale),
        "w": pattern(4, H, D, start=3, scale=scale),
        "u": pattern(4, H, H, start=4, scale=scale),
        "bias": pattern(4, H, start=5, scale=scale),
    }
    return arrays | others


def _gates(i: float, f: float, g: float, o: float) -> NDArray[np.float64]:
    """Return the biases of one unit."""
    return np.array([[i], [f], [g], [o]])


def _single(cell: float = 0.75, *, bias: NDArray[np.float64], T: int = 2) -> Arrays:
    """Return a call of one unit whose gates are set by their biases alone."""
    nothing = np.zeros((4, 1, 1))
    state = {"h": np.full((1, 1), 0.5), "c": np.full((1, 1), cell)}
    return {"x": np.ones((T, 1, 1)), **state, "w": nothing, "u": nothing, "bias": bias}


def _dy(T: int = 4, N: int = 2, H: int = 3) -> NDArray[np.float64]:
    return pattern(2, T, N, H, start=6)


def _semantics() -> Iterator[Data]:
    for dtype in FORMATS:
        yield _call("UNIT-S1", "four steps of two examples", _unit(), dtype=dtype)
    yield _call("UNIT-S1", "one step", _unit(T=1))
    for place, gate in enumerate(("input gate", "forget gate", "candidate", "output gate")):
        values = [0.5, -0.25, 0.75, 1.0]
        values[place] = 3.0
        yield _call("UNIT-S3", f"a bias of the {gate}", _single(bias=_gates(*values)))
    yield _call("UNIT-S4", "as many steps as examples, inputs and units", _unit(3, 3, 3, 3))
    for T, N, D, H in ((5, 1, 1, 1), (1, 4, 2, 1), (2, 1, 7, 3), (1, 1, 1, 6)):
        yield _call("UNIT-S4", f"sizes T={T}, N={N}, D={D}, H={H}", _unit(T, N, D, H))
    yield _call("UNIT-S5", "without a state before", _unit(h=np.zeros((2, 3)), c=np.zeros((2, 3))))
    yield _call("UNIT-S5", "cells that are kept", _single(bias=_gates(-64, 64, 0, 64), T=4))


def _special() -> Iterator[Data]:
    for name, T, N, D, H in (
        ("no steps", 0, 2, 3, 4),
        ("no examples", 2, 0, 3, 4),
        ("no inputs", 2, 3, 0, 4),
        ("no units", 2, 3, 4, 0),
    ):
        yield _call("UNIT-X1", name, _unit(T, N, D, H))
    spoilt = pattern(4, 2, 1, scale=0.125)
    spoilt[1, 0, 0] = _NAN
    yield _call("UNIT-X2", "NaN in one input of one example", _unit(x=spoilt))
    for name, cell, bias in (
        ("an infinite cell and an open forget gate", _INF, _gates(0, 64, 0, 0)),
        ("an infinite cell and a closed forget gate", _INF, _gates(0, -_INF, 0, 0)),
        ("gates at their limits", 0.75, _gates(_INF, -_INF, _INF, _INF)),
        ("a candidate at its lower limit", 0.75, _gates(_INF, _INF, -_INF, 0)),
    ):
        yield _call("UNIT-X2", name, _single(cell, bias=bias))


def _strided() -> Iterator[Data]:
    memory = pattern(48, start=7, scale=0.125)
    for name, array in (
        ("examples before steps", Strided(memory[:24], (3, 2, 4), (4, 12, 1))),
        ("steps backwards", Strided(memory[:24], (3, 2, 4), (-8, 4, 1), 16)),
        ("every second input", Strided(memory, (3, 2, 4), (16, 8, 2))),
        ("one input for all steps", Strided(memory[:8], (3, 2, 4), (0, 4, 1))),
    ):
        yield _call("GEN-S2", f"a layout: {name}", _unit(T=3, D=4) | {"x": array})


def _misuses() -> Iterator[Data]:
    for name, array in (
        ("x", pattern(3, 2)),
        ("h", pattern(3)),
        ("w", pattern(12, 1)),
        ("bias", pattern(12)),
    ):
        yield _misuse("UNIT-C1", f"{name} has another number of axes", _unit() | {name: array})
    for name, shape in (
        ("h", (1, 3)),
        ("c", (2, 4)),
        ("w", (4, 1, 3)),
        ("u", (3, 3, 3)),
        ("bias", (4, 1)),
    ):
        yield _misuse("UNIT-C2", f"{name} has another shape", _unit() | {name: pattern(*shape)})
    yield _misuse("UNIT-C3", "another format of the weights", _unit(), dtypes={"w": "float16"})


def _gradients() -> Iterator[Data]:
    for dtype in FORMATS:
        yield _backward("UNIT-S2", "four steps of two examples", {"dy": _dy(), **_unit()}, dtype=dtype)
    yield _backward("UNIT-S2", "one step", {"dy": _dy(T=1), **_unit(T=1)})
    for part, name in enumerate(("outputs", "cells")):
        dy = np.zeros((2, 4, 2, 3))
        dy[part, -1] = pattern(2, 3)
        yield _backward("UNIT-S2", f"a gradient of the last {name} alone", {"dy": dy, **_unit()})
    for T, N, D, H in ((5, 1, 1, 1), (1, 4, 2, 1), (2, 1, 7, 3)):
        arrays = {"dy": _dy(T, N, H), **_unit(T, N, D, H)}
        yield _backward("UNIT-S4", f"sizes T={T}, N={N}, D={D}, H={H}", arrays)
    kept = _single(bias=_gates(-64, 64, 0, 64), T=4)
    yield _backward("UNIT-S2", "a gradient that is kept", {"dy": np.eye(8)[7].reshape(2, 4, 1, 1), **kept})


def _special_gradients() -> Iterator[Data]:
    for name, T, N, D, H in (
        ("no steps", 0, 2, 3, 4),
        ("no examples", 2, 0, 3, 4),
        ("no inputs", 2, 3, 0, 4),
        ("no units", 2, 3, 4, 0),
    ):
        yield _backward("UNIT-X1", name, {"dy": _dy(T, N, H), **_unit(T, N, D, H)})
    dy = _dy()
    dy[0, 1, 0, 2] = _NAN
    yield _backward("UNIT-X3", "NaN in one gradient of one example", {"dy": dy, **_unit()})


def _bad_gradients() -> Iterator[Data]:
    for name, shape in (("of other steps", (2, 3, 2, 3)), ("of the outputs alone", (4, 2, 3))):
        yield _bad_backward("UNIT-C4", f"a gradient {name}", {"dy": pattern(*shape), **_unit()})
    for clause, array in (("UNIT-C1", pattern(3)), ("UNIT-C2", pattern(1, 3))):
        yield _bad_backward(clause, "another state", {"dy": _dy(), **_unit(c=array)})
    yield _bad_backward(
        "UNIT-C3", "another format of the bias", {"dy": _dy(), **_unit()}, dtypes={"bias": "float16"}
    )
    yield _bad_backward(
        "UNIT-C4", "another format of the gradient", {"dy": _dy(), **_unit()}, dtypes={"dy": "float16"}
    )
