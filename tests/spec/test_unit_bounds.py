"""The bounds of the LSTM unit hold every right kernel and no wrong one.

The kernels are NumPy simulations in float32: products and sums in several orders, library functions two units
in the last place off, formulas of every kind, and a state that is kept in float32 or rounded to the format.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.spec import sources
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, Format, accept, round_to, ulp
from gaugeblock.spec.lstm import backward_errors, forward_errors
from gaugeblock.spec.operations import OPERATIONS

Array = NDArray[Any]
F = np.float32
FLOAT32, FLOAT16, BFLOAT16 = (FORMATS[name] for name in ("float32", "float16", "bfloat16"))
PLAIN = Arithmetic()

# Sums over the last axis -----------------------------------------------------------------------------------


def forwards(terms: Array) -> Array:
    """Add one term after the other."""
    total = np.zeros(terms.shape[:-1], F)
    for k in range(terms.shape[-1]):
        total = total + terms[..., k]
    return total


def backwards(terms: Array) -> Array:
    """Begin with the last term."""
    return forwards(terms[..., ::-1])


def as_a_tree(terms: Array) -> Array:
    """Halve the sum until one term is left."""
    if terms.shape[-1] <= 1:
        return forwards(terms)
    half = terms.shape[-1] // 2
    return as_a_tree(terms[..., :half]) + as_a_tree(terms[..., half:])


def largest_first(terms: Array) -> Array:
    """Add positive terms, then negative ones: partial sums are as large as they get."""
    return forwards(np.maximum(terms, 0)) + forwards(np.minimum(terms, 0))


def in_format(format: Format) -> Callable[[Array], Array]:
    """Add one term after the other in a narrow format: a fault."""

    def add(terms: Array) -> Array:
        total = np.zeros(terms.shape[:-1], F)
        for k in range(terms.shape[-1]):
            total = round_to(total + terms[..., k], format).astype(F)
        return total

    return add


# Functions -------------------------------------------------------------------------------------------------


def off_by(units: float, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a library function that errs by some units in the last place, where it is not exact."""

    def device_function(x: Array) -> Array:
        exact = function(x.astype(np.float64))
        wrong = exact + np.where(x == 0, 0, units) * ulp(exact, FLOAT32)
        return round_to(np.clip(wrong, -1, None) if units < 0 else np.minimum(wrong, 3e38), FLOAT32)

    return device_function


Function = Callable[[Array], Array]
EXP, TANH = off_by(1.5, np.exp), off_by(1.5, np.tanh)


def plain_sigmoid(exp: Function, z: Array) -> Array:
    with np.errstate(over="ignore"):
        result: Array = 1 / (1 + exp(-z))
    return result


def split_sigmoid(exp: Function, z: Array) -> Array:
    e = exp(-np.abs(z))
    return np.where(z >= 0, F(1), e) / (1 + e)


def growing_sigmoid(exp: Function, z: Array) -> Array:
    e = exp(np.minimum(z, F(20)))
    return np.where(z <= 20, e / (1 + e), plain_sigmoid(exp, z))


def through_value(gate: Array) -> Array:
    return gate * (1 - gate)


# Kernels ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """An LSTM kernel; each step is a field."""

    format: Format = FLOAT32
    add: Callable[[Array], Array] = forwards
    apart: bool = False  # sum W x and U h apart, and join them
    exp: Function = EXP
    tanh: Function = TANH
    sigmoid: Callable[[Function, Array], Array] = plain_sigmoid
    keep: bool = True  # the state in float32
    order: tuple[int, ...] = (0, 1, 2, 3)
    biases: tuple[int, ...] = (0, 1, 2, 3)
    initial: Callable[[Array], Array] = lambda c: c
    gates: Callable[[Array], Array] = lambda gates: gates
    weighted: Callable[[Array], Array] = lambda z: z
    saved: Callable[[Array, Array], Array] = lambda gates, z: gates
    handed_back: float = 1.0  # share of the cell's gradient that goes to the step before
    slopes_from_e: bool = False

    def hand_on(self, state: Array) -> Array:
        """Return a state as the next step finds it."""
        return state if self.keep else round_to(state, self.format).astype(F)

    def weigh(self, w: Array, x: Array, u: Array, h: Array, bias: Array) -> Array:
        """Return the weighted data of a step, (4, N, H)."""
        inputs, states = x[None, :, None] * w[:, None], h[None, :, None] * u[:, None]
        addend = np.broadcast_to(bias[list(self.biases), None, :, None], (*inputs.shape[:3], 1))
        if self.apart:
            return self.add(inputs) + (self.add(states) + addend[..., 0])
        return self.add(np.concatenate([inputs, states, addend], axis=-1))

    def run(self, x: Array, h: Array, c: Array, w: Array, u: Array, bias: Array) -> list[tuple[Array, ...]]:
        """Return for each step z, the gates, the cell before and after, its tanh as a gradient sees it, h."""
        steps = []
        c = self.initial(c)
        for inputs in x:
            z = self.weighted(self.weigh(w, inputs, u, h, bias))[list(self.order)]
            gates = np.stack([self.sigmoid(self.exp, z[k]) for k in range(4)])
            gates[2] = self.tanh(z[2])
            gates = self.gates(gates)
            i, f, g, o = gates
            before, c = c, f * c + i * g
            t = self.tanh(c)
            h, t = o * t, self.tanh(self.hand_on(c))
            steps.append((z, gates, before, c, t, h))
            h, c = self.hand_on(h), self.hand_on(c)
        return steps

    def forward(self, **given: Array) -> Array:
        """Return outputs and cells."""
        steps = self.run(**given)
        result = np.stack([[step[5] for step in steps], [step[3] for step in steps]])
        return round_to(result, self.format).astype(np.float64)

    def slopes(self, z: Array, gates: Array) -> Array:
        """Return the derivatives of the gates."""
        if not self.slopes_from_e:
            result = through_value(gates)
            result[2] = 1 - gates[2] * gates[2]
            return result
        e = self.exp(-np.abs(z))
        result = e / ((1 + e) * (1 + e))
        e = self.exp(-2 * np.abs(z[2]))
        result[2] = 4 * e / ((1 + e) * (1 + e))
        return result

    def backward(self, dy: Array, **given: Array) -> Array:
        """Return the gradients of the weighted data and of the cells."""
        steps, u = self.run(**given), given["u"]
        result = np.zeros((5, *dy.shape[1:]), F)
        after = np.zeros_like(given["h"]), np.zeros_like(given["c"])
        for t in reversed(range(len(steps))):
            z, gates, before, _, tanh_c, _ = steps[t]
            dh = dy[0, t] + after[0]
            gates = self.saved(gates, z)
            i, f, g, o = gates
            slopes = self.slopes(z, gates)
            dc = dh * (o * (1 - tanh_c * tanh_c)) + (after[1] * F(self.handed_back) + dy[1, t])
            result[0, t] = dc * (g * slopes[0])
            result[1, t] = (dc * before) * slopes[1]
            result[2, t] = dc * i * slopes[2]
            result[3, t] = dh * (tanh_c * slopes[3])
            result[4, t] = dc * f
            dz = self.hand_on(result[:4, t])
            terms = dz[:, :, None, :] * np.swapaxes(u, 1, 2)[:, None]  # k, n, j, m
            after = self.add(np.concatenate(list(terms), axis=-1)), self.hand_on(result[4, t])
        return round_to(result, self.format).astype(np.float64)


def arguments(
    format: Format, T: int, N: int, D: int, H: int, *, scale: float = 1.0, cells: float = 1.0, seed: int = 3
) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    shapes = {"x": (T, N, D), "h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
    scales = {"x": 1.0, "h": 0.5, "c": cells, "bias": scale}
    scales |= {"w": scale / max(D, 1) ** 0.5, "u": scale / max(H, 1) ** 0.5}
    given = {name: scales[name] * random.normal(size=shape) for name, shape in shapes.items()}
    return {name: round_to(value, format).astype(F) for name, value in given.items()}


def share(kernel: Kernel, given: dict[str, Array], dy: Array | None = None) -> float:
    """Return the largest error as a share of its bound, infinite where a result is not accepted."""
    exact = {name: value.astype(np.float64) for name, value in given.items()}
    if dy is None:
        operation, got = OPERATIONS["lstm_unit"], kernel.forward(**given)
    else:
        operation, got = OPERATIONS["lstm_unit_backward"], kernel.backward(dy, **given)
        exact["dy"] = dy.astype(np.float64)
    want = operation.reference(**exact)
    bound = operation.bound(exact, want, kernel.format, PLAIN)
    if not accept(got, want, bound, kernel.format).all():
        return np.inf
    return float(np.max(np.abs(got - want) / np.maximum(bound.value, 1e-300)))


def gradient(format: Format, given: dict[str, Array]) -> Array:
    (T, N, _), H = given["x"].shape, given["h"].shape[1]
    return round_to(np.random.default_rng(4).normal(size=(2, T, N, H)), format).astype(F)


def right_kernels(format: Format) -> Iterator[Kernel]:
    """Yield kernels in which every allowed choice is made once, in hostile combinations."""
    sums = (forwards, backwards, as_a_tree, largest_first)
    formulas = (plain_sigmoid, split_sigmoid, growing_sigmoid)
    for n, (add, keep) in enumerate(product(sums, (False, True))):
        units = 1.5 if n % 2 else -1.5
        yield Kernel(
            format,
            add=add,
            apart=n in (1, 2, 5, 6),
            keep=keep,
            sigmoid=formulas[n % 3],
            exp=off_by(units, np.exp),
            tanh=off_by(-units if n % 4 < 2 else units, np.tanh),
            slopes_from_e=n % 5 < 2,
        )


PROBLEMS = (
    {"T": 1, "N": 5, "D": 4, "H": 6},
    {"T": 1, "N": 4, "D": 33, "H": 40, "scale": 4.0},
    {"T": 4, "N": 3, "D": 5, "H": 7},
    {"T": 4, "N": 3, "D": 5, "H": 7, "scale": 0.01},
    {"T": 7, "N": 2, "D": 3, "H": 9, "scale": 3.0, "cells": 40.0},
    {"T": 30, "N": 2, "D": 2, "H": 3, "scale": 0.5},
    {"T": 2, "N": 40, "D": 1, "H": 1, "scale": 12.0},
)


@pytest.mark.spec("UNIT-A1")
@pytest.mark.spec("UNIT-A2")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_every_order_formula_and_state_is_within_the_bound(problem: dict[str, Any], name: str) -> None:
    format = FORMATS[name]
    given = arguments(format, **problem)
    dy = gradient(format, given)
    for kernel in right_kernels(format):
        assert share(kernel, given) <= 1
        assert share(kernel, given, dy) <= 1


@pytest.mark.spec("UNIT-A1")
def test_the_bound_is_no_more_than_some_times_what_hostile_kernels_make_of_it() -> None:
    """Where nothing hides, that is after one step, the worst kernel comes close to its bound."""
    given = arguments(FLOAT32, T=1, N=60, D=1, H=30)
    shares = [share(kernel, given) for kernel in right_kernels(FLOAT32)]
    assert 0.2 <= max(shares) <= 1
    given = arguments(BFLOAT16, T=1, N=60, D=1, H=30)
    assert 0.95 <= max(share(kernel, given) for kernel in right_kernels(BFLOAT16)) <= 1


@pytest.mark.spec("UNIT-A1")
def test_rounding_the_state_costs_what_the_bound_says_and_keeping_it_less() -> None:
    given = arguments(BFLOAT16, T=6, N=20, D=3, H=4, seed=9)
    kept, rounded = (share(Kernel(BFLOAT16, keep=keep), given) for keep in (True, False))
    assert kept <= 1
    assert rounded <= 1
    exact = {name: value.astype(np.float64) for name, value in given.items()}
    want = reference.lstm_unit(**exact)
    narrow = OPERATIONS["lstm_unit"].bound(exact, want, BFLOAT16, PLAIN).value
    final_rounding = ulp(want, BFLOAT16) / 2
    assert (
        narrow[:, 0] <= 1.001 * final_rounding[:, 0] + 1e-5
    ).all()  # before the first step none is rounded
    assert (narrow[1, -1] > 1.2 * final_rounding[1, -1]).any()


# Long sequences --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adversary:
    """An implementation in float64 that errs wherever it may: each error is a sign times its bound.

    The signs are those of the derivatives of one element of the result, so that nothing cancels there, or
    the opposite, or random.
    """

    given: dict[str, Array]
    target: tuple[int, ...]
    way: float  # 1 or −1; 0 for random signs

    def signs(self) -> tuple[Array, Array, Array]:
        """Return the signs of the errors of weighted data, (4, T, N, H), and of the states before."""
        T, N, _ = self.given["x"].shape
        dy = np.zeros((2, T, N, self.given["h"].shape[1]))
        dy[self.target] = 1
        dz = reference.lstm_unit_backward(dy, **self.given)
        found = dz[:4], np.einsum("ktnh,khj->tnj", dz[:4], self.given["u"]), dz[4]
        random = np.random.default_rng(8)
        z, h, c = (
            np.where(part >= 0, 1, -1) * self.way if self.way else random.choice([-1, 1], part.shape)
            for part in found
        )
        return z, h, c

    def run(self, format: Format, roundoff: float) -> Array:
        """Return what it makes of outputs and cells, before they are rounded."""
        given, (of_z, of_h, of_c) = self.given, self.signs()
        h, c = given["h"], given["c"]
        result = np.zeros((2, *of_h.shape))
        for t, x in enumerate(given["x"]):
            size = np.abs(x) @ np.abs(given["w"]).swapaxes(1, 2) + np.abs(h) @ np.abs(given["u"]).swapaxes(
                1, 2
            )
            z = x @ given["w"].swapaxes(1, 2) + h @ given["u"].swapaxes(1, 2) + given["bias"][:, None]
            K = x.shape[-1] + h.shape[-1]
            z = z + of_z[:, t] * K * roundoff * (size + np.abs(given["bias"])[:, None])
            i, f, o = reference.sigmoid(z[[0, 1, 3]])
            c = f * c + i * np.tanh(z[2])
            h = o * np.tanh(c)
            result[:, t] = h, c
            if t + 1 < len(result[0]) and format != FLOAT32:
                h = h + of_h[t + 1] * ulp(np.abs(h), format) / 2
                c = c + of_c[t + 1] * ulp(np.abs(c), format) / 2
        return result


@pytest.mark.spec("UNIT-A3")
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("accumulator", ["float32", "float16"])
@pytest.mark.parametrize("name", FORMATS)
def test_whatever_each_step_errs_a_sequence_stays_within_its_bound(
    name: str, accumulator: Any, scale: float
) -> None:
    """Errors of float16 sums are so large that the remainder of second order counts."""
    format, arithmetic = FORMATS[name], Arithmetic(accumulator=accumulator)
    given = arguments(format, T=20, N=2, D=3, H=5, scale=scale)
    given = {name: value.astype(np.float64) for name, value in given.items()}
    bound, want = forward_errors(given, format, arithmetic), reference.lstm_unit(**given)
    for place in ((0, 19, 0, 0), (1, 19, 0, 3), (0, 9, 1, 2), (1, 3, 1, 1)):
        shares = []
        for way in (1.0, -1.0, 0.0):
            got = Adversary(given, place, way).run(format, arithmetic.sum_roundoff)
            assert (np.abs(got - want) <= bound).all()
            shares.append(np.abs(got - want)[place] / bound[place])
        assert scale > 1 or max(shares) >= 0.1  # and little is lost to it


@pytest.mark.spec("UNIT-A3")
@pytest.mark.parametrize(("T", "H", "most", "most_back"), [(16, 128, 0.005, 1.0), (65, 33, 0.0005, 0.005)])
def test_the_bound_of_a_long_sequence_is_that_of_its_condition(
    T: int, H: int, most: float, most_back: float
) -> None:
    """Carried by size alone these bounds were 242 and 10¹⁰, and those of the gradients infinite."""
    given = {name: value.astype(np.float64) for name, value in arguments(FLOAT32, T, 1, H, H).items()}
    assert forward_errors(given, FLOAT32, PLAIN).max() <= most
    dy = gradient(FLOAT32, given).astype(np.float64)
    assert backward_errors(given | {"dy": dy}, FLOAT32, PLAIN).max() <= most_back


@pytest.mark.spec("UNIT-A3")
def test_merging_sources_costs_little_and_having_no_room_for_them_falls_back_to_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {name: value.astype(np.float64) for name, value in arguments(FLOAT32, 30, 2, 3, 8).items()}
    given["dy"] = gradient(FLOAT32, given).astype(np.float64)

    def bounds(share: float, products: int) -> Array:
        monkeypatch.setattr(sources, "_NEGLIGIBLE", share)
        monkeypatch.setattr(sources, "_PRODUCTS", products)
        forward, backward = (find(given, FLOAT32, PLAIN) for find in (forward_errors, backward_errors))
        return np.concatenate([forward, backward])

    best, merged, short, sizes = bounds(0, 1 << 40), bounds(2**-8, 1 << 40), bounds(0, 1 << 15), bounds(0, 1)
    assert (merged <= 1.02 * best).all()
    assert (best <= 1.001 * merged).all()
    assert np.median(short / best) < 20
    assert (short <= 1.01 * sizes).all()
    assert (sizes[:, -1] / best[:, -1]).max() > 5


# What is wrong ---------------------------------------------------------------------------------------------


def broken(format: Format) -> dict[str, Kernel]:
    """Return kernels with one fault each, as real ones had."""
    kernel = Kernel(format, exp=off_by(0, np.exp), tanh=off_by(0, np.tanh))
    to_bfloat16 = partial(round_to, format=BFLOAT16)
    faults: dict[str, dict[str, Any]] = {
        "bias of another gate": {"biases": (0, 3, 3, 3)},
        "input and forget gate exchanged": {"order": (1, 0, 2, 3)},
        "gates in another library's order": {"order": (0, 1, 3, 2)},
        "cell begins at zero": {"initial": np.zeros_like},
        "every example begins in the cell of the first": {"initial": lambda c: np.repeat(c[:1], len(c), 0)},
        "gates rounded to bfloat16": {"gates": lambda gates: to_bfloat16(gates).astype(F)},
        "weighted data rounded to bfloat16": {"weighted": lambda z: to_bfloat16(z).astype(F)},
        "sum in bfloat16": {"add": in_format(BFLOAT16)},
        "a forget gate that is always a little more open": {"weighted": one_more},
    }
    return {name: replace(kernel, **fault) for name, fault in faults.items()}


def one_more(z: Array) -> Array:
    """Add one to the weighted data of the forget gate: a bias that some libraries add by themselves."""
    return z + np.array([0, 1, 0, 0], F)[:, None, None]


@pytest.mark.spec("UNIT-A1")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("fault", broken(FLOAT32))
def test_a_wrong_kernel_is_outside_of_the_bound(fault: str, name: str) -> None:
    format = FORMATS[name]
    kernel = broken(format)[fault]
    single, several = (arguments(format, T=T, N=9, D=16, H=8) for T in (1, 3))
    assert share(kernel, single) == np.inf
    assert share(kernel, several) == np.inf
    if name != "float32" and "bfloat16" in fault:
        return  # in a gradient of several factors this is no more than its own rounding allows
    assert share(kernel, several, gradient(format, several)) == np.inf


@pytest.mark.spec("UNIT-A2")
@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_gradient_is_outside_of_the_bound(name: str) -> None:
    format = FORMATS[name]
    given = arguments(format, T=4, N=5, D=3, H=6)
    dy = gradient(format, given)
    assert share(Kernel(format), given, dy) <= 1
    assert share(Kernel(format, saved=lambda gates, z: z), given, dy) == np.inf
    assert share(Kernel(format, handed_back=0.0), given, dy) == np.inf


@pytest.mark.spec("UNIT-A1")
def test_small_candidates_keep_their_digits() -> None:
    """2σ(2z) − 1 has an absolute error, tanh a relative one."""
    given = arguments(FLOAT32, T=1, N=9, D=2, H=5, scale=1e-4, cells=0.0)

    def through_sigmoid(x: Array) -> Array:
        return 2 * plain_sigmoid(off_by(0, np.exp), 2 * x) - 1

    assert share(Kernel(), given) <= 1
    assert share(Kernel(tanh=through_sigmoid), given) == np.inf


# Where nothing is demanded, and where something is ---------------------------------------------------------


def bound_of(given: dict[str, Array], format: Format = FLOAT32, **declared: Any) -> tuple[Array, Array]:
    exact = {name: value.astype(np.float64) for name, value in given.items()}
    name = "lstm_unit_backward" if "dy" in given else "lstm_unit"
    with np.errstate(all="ignore"):
        want = OPERATIONS[name].reference(**exact)
    return want, OPERATIONS[name].bound(exact, want, format, Arithmetic(**declared)).value


def silent(T: int = 2, N: int = 2, D: int = 1, H: int = 1) -> dict[str, Array]:
    return {name: 0 * value for name, value in arguments(FLOAT32, T, N, D, H).items()}


@pytest.mark.spec("UNIT-X1")
@pytest.mark.parametrize("empty", ["T", "N", "D", "H"])
def test_what_is_empty_has_a_bound(empty: str) -> None:
    sizes = {"T": 3, "N": 2, "D": 3, "H": 4, empty: 0}
    given = {name: value.astype(np.float64) for name, value in silent(**sizes).items()}
    given["dy"] = np.zeros((2, sizes["T"], sizes["N"], sizes["H"]))
    for format in (FLOAT32, BFLOAT16):
        assert forward_errors(given, format, PLAIN).shape == (2, sizes["T"], sizes["N"], sizes["H"])
        assert backward_errors(given, format, PLAIN).shape == (5, sizes["T"], sizes["N"], sizes["H"])


@pytest.mark.spec("UNIT-X2")
def test_an_infinity_is_demanded_where_no_gate_can_hide_it() -> None:
    given = silent()
    given["c"] = np.array([[np.inf], [1.0]], F)
    want, bound = bound_of(given)
    assert want[1, :, 0, 0].tolist() == [np.inf, np.inf]
    assert (bound[1, :, 0] == 0).all()
    assert (bound[:, :, 1] < 1e-6).all()
    for closed, demanded in ((-np.inf, True), (-80.0, True), (-100.0, False), (-1000.0, False)):
        given["bias"] = np.array([[0], [closed], [0], [0]], F)
        want, bound = bound_of(given)
        assert np.isnan(want[1, 0, 0, 0]) == (closed in (-np.inf, -1000.0))
        assert (bound[1, 0, 0, 0] == 0) == demanded
        assert (bound[1, 0, 0, 0] == np.inf) != demanded


@pytest.mark.spec("UNIT-X2")
def test_an_infinite_weight_is_demanded_unless_what_it_meets_may_have_vanished() -> None:
    given = silent(T=2, N=1)
    given["u"][0], given["h"][:] = np.inf, 1
    for c, demanded in ((1.0, True), (2.0**-30, False)):  # float16 cannot hold half a half of the latter
        given["c"][:] = c
        _, bound = bound_of(given, FLOAT16)
        assert (bound[1, 1] == np.inf).all() != demanded
    want, bound = bound_of(silent(T=2, N=1) | {"u": given["u"]}, FLOAT16)
    assert np.isnan(want).all()  # 0 · ∞, at the first step already
    assert (bound == 0).all()


@pytest.mark.spec("UNIT-A1")
def test_what_may_overflow_makes_the_rest_of_its_example_unknown() -> None:
    given = silent(T=3)
    given["x"][1, 0], given["w"][:] = 3e38, 2.0
    _, bound = bound_of(given)
    assert np.isfinite(bound[:, 0]).all()
    assert (bound[:, 1:, 0] == np.inf).all()
    assert np.isfinite(bound[:, :, 1]).all()


@pytest.mark.spec("UNIT-A1")
def test_a_cell_that_a_narrow_format_cannot_hold_is_unknown_only_from_the_next_step_on() -> None:
    given = silent(T=2, N=1)
    given["c"], given["bias"] = np.array([[65504.0]], F), np.array([[0], [40], [0], [0]], F)
    _, bound = bound_of(given, FLOAT16)
    assert np.isfinite(bound[1, 0]).all()
    given["bias"] = np.array([[40], [40], [40], [0]], F)
    given["c"] = np.array([[65519.0]], F)
    _, bound = bound_of(given, FLOAT16)
    assert np.isfinite(bound[1, 0]).all()
    assert (bound[1, 1] == np.inf).all()


@pytest.mark.spec("UNIT-X3")
def test_an_infinite_gradient_meets_the_slope_of_a_saturated_gate_as_ieee_says() -> None:
    given = silent(T=1, N=1) | {"dy": np.zeros((2, 1, 1, 1), F)}
    given["dy"][1] = np.inf
    given["c"][:] = 1
    for z, demanded in ((-np.inf, True), (0.5, True), (-100.0, False)):
        given["bias"] = np.array([[0], [z], [0], [0]], F)
        want, bound = bound_of(given)
        assert (bound[1] == 0).all() == demanded
        assert np.isnan(want[1]).all() == (z == -np.inf)


@pytest.mark.spec("UNIT-X2")
def test_nan_is_demanded_everywhere_it_reaches() -> None:
    given = arguments(FLOAT32, T=3, N=2, D=2, H=3)
    given["c"][0, 1] = np.nan
    want, bound = bound_of(given)
    assert np.isnan(want[:, 1:, 0]).all()
    assert (bound[np.isnan(want)] == 0).all()
    assert np.isfinite(bound).all()


@pytest.mark.parametrize(
    "declared",
    [
        {"accumulator": "tensor_core", "fraction_bits": 24, "block": 8},
        {"accumulator": "float16"},
        {"multiplier": "tf32"},
        {"fast_exp": True},
        {"flush_subnormals": True},
    ],
    ids=str,
)
def test_a_declaration_widens_the_bound_and_never_narrows_it(declared: dict[str, Any]) -> None:
    given = arguments(FLOAT32, T=3, N=4, D=5, H=6)
    given["c"][0, 0], given["bias"][0] = 1e-39, -90  # subnormal numbers
    for extra in ({}, {"dy": gradient(FLOAT32, given)}):
        (_, plain), (_, wide) = bound_of(given | extra), bound_of(given | extra, **declared)
        assert (wide >= plain).all()
        assert (wide > plain).any()
        assert np.isfinite(wide).all()
