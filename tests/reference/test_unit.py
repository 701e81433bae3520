"""The LSTM unit of the reference is its definition, and its gradient that of its result."""

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.reference import lstm_unit, lstm_unit_backward, lstm_unit_gradients
from gaugeblock.reference.unit import lstm_unit_backward_shape, lstm_unit_shape

Array = NDArray[Any]
NAMES = ("x", "h", "c", "w", "u", "bias")


def arguments(T: int, N: int, D: int, H: int, *, scale: float = 1.0, seed: int = 1) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    shapes = {"x": (T, N, D), "h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
    return {name: scale * random.normal(size=shape) for name, shape in shapes.items()}


def gradient_of_result(T: int, N: int, H: int) -> Array:
    return np.random.default_rng(7).normal(size=(2, T, N, H))


def all_gradients(dy: Array, given: dict[str, Array]) -> dict[str, Array]:
    y, dz = lstm_unit(**given), lstm_unit_backward(dy, **given)
    rest = {name: value for name, value in given.items() if name != "bias"}
    return lstm_unit_gradients(dz, y, **rest)._asdict()


# The definition --------------------------------------------------------------------------------------------


def by_mpmath(given: dict[str, Array]) -> Array:
    """Return the definition of the page, number by number, with 200 bits."""
    with mpmath.workprec(200):
        exact = {name: np.vectorize(mpmath.mpf, otypes=[object])(value) for name, value in given.items()}
        x, h, c, w, u, bias = (exact[name] for name in NAMES)
        (T, N, D), H = x.shape, h.shape[1]
        result = np.empty((2, T, N, H), object)
        for t in range(T):
            previous = h.copy(), c.copy()
            h, c = np.empty_like(h), np.empty_like(c)
            for n in range(N):
                for j in range(H):
                    z = [
                        mpmath.fsum(
                            [w[k, j, d] * x[t, n, d] for d in range(D)]
                            + [u[k, j, m] * previous[0][n, m] for m in range(H)]
                            + [bias[k, j]]
                        )
                        for k in range(4)
                    ]
                    i, f, o = (1 / (1 + mpmath.exp(-z[k])) for k in (0, 1, 3))
                    c[n, j] = f * previous[1][n, j] + i * mpmath.tanh(z[2])
                    h[n, j] = o * mpmath.tanh(c[n, j])
            result[:, t] = h, c
        return result.astype(np.float64)


@pytest.mark.spec("UNIT-S1")
@pytest.mark.spec("UNIT-D2")
@pytest.mark.spec("UNIT-D3")
@pytest.mark.parametrize("sizes", [(1, 2, 3, 4), (4, 3, 2, 3), (3, 1, 5, 2), (2, 2, 0, 3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 8.0])
def test_the_result_is_that_of_the_definition(sizes: tuple[int, ...], scale: float) -> None:
    T, N, D, H = sizes
    given = arguments(T, N, D, H, scale=scale)
    want, got = by_mpmath(given), lstm_unit(**given)
    # Weighted data lose their last bits where they cancel, and that is passed on.
    assert (np.abs(got - want) <= 2e-14 * scale * (D + H) * (1 + np.abs(want))).all()


def test_a_step_with_few_terms_is_right_to_the_last_digits() -> None:
    """Without a sum there is nothing to cancel: what is left are a few roundings."""
    z = np.linspace(-30, 30, 101)
    bias = np.stack([z, z[::-1], z, z[::-1]])
    zero = {"x": np.zeros((1, 1, 0)), "h": np.zeros((1, 101)), "w": np.zeros((4, 101, 0))}
    given = {**zero, "c": np.full((1, 101), 0.3), "u": np.zeros((4, 101, 101)), "bias": bias}
    h, cell = lstm_unit(**given)[:, 0, 0]
    with mpmath.workprec(200):
        for j in range(101):
            i, f, o = (1 / (1 + mpmath.exp(-mpmath.mpf(bias[k, j]))) for k in (0, 1, 3))
            c = f * mpmath.mpf(0.3) + i * mpmath.tanh(bias[2, j])
            terms = f * mpmath.mpf(0.3) + abs(i * mpmath.tanh(bias[2, j]))
            assert abs(cell[j] - c) <= 6 * 2.0**-53 * terms
            assert abs(h[j] - o * mpmath.tanh(c)) <= 10 * 2.0**-53 * o * terms


def test_torch_agrees() -> None:
    torch = pytest.importorskip("torch")
    given = arguments(6, 3, 5, 4)
    lstm = torch.nn.LSTM(5, 4).double()
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    with torch.no_grad():  # its gates have the same order
        lstm.weight_ih_l0[:] = tensors["w"].reshape(16, 5)
        lstm.weight_hh_l0[:] = tensors["u"].reshape(16, 4)
        lstm.bias_ih_l0[:], lstm.bias_hh_l0[:] = tensors["bias"].reshape(16), 0
    leaves = {name: tensors[name].requires_grad_() for name in ("x", "h", "c")}
    outputs, (_, cell) = lstm(leaves["x"], (leaves["h"][None], leaves["c"][None]))
    y = lstm_unit(**given)
    assert np.abs(outputs.detach().numpy() - y[0]).max() <= 1e-13
    assert np.abs(cell.detach().numpy()[0] - y[1, -1]).max() <= 1e-13
    dy = gradient_of_result(6, 3, 4)
    dy[1, :-1] = 0  # it returns the last cell only
    ((outputs * torch.from_numpy(dy[0])).sum() + (cell[0] * torch.from_numpy(dy[1, -1])).sum()).backward()
    found = all_gradients(dy, given)
    for name, leaf in leaves.items():
        assert np.abs(leaf.grad.numpy() - found[name]).max() <= 1e-12
    for name, grad in (("w", lstm.weight_ih_l0.grad), ("u", lstm.weight_hh_l0.grad)):
        assert np.abs(grad.numpy().reshape(given[name].shape) - found[name]).max() <= 1e-12


# Gradients -------------------------------------------------------------------------------------------------


@pytest.mark.spec("UNIT-S2")
@pytest.mark.parametrize("sizes", [(1, 2, 3, 4), (5, 3, 2, 4), (3, 1, 0, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradients_are_those_of_differences(name: str, sizes: tuple[int, ...]) -> None:
    T, N, D, H = sizes
    given, dy, step = arguments(T, N, D, H), gradient_of_result(T, N, H), 1e-4
    found = all_gradients(dy, given)[name]
    assert found.shape == given[name].shape
    for index in np.ndindex(found.shape):
        sums = []
        for moved in (step, -step, 2 * step, -2 * step):
            array = given[name].copy()
            array[index] += moved
            sums.append(np.sum(dy * lstm_unit(**{**given, name: array})))
        near, far = (sums[0] - sums[1]) / (2 * step), (sums[2] - sums[3]) / (4 * step)
        slope = (4 * near - far) / 3  # Richardson: what is left is of fourth order
        assert abs(found[index] - slope) <= 1e-9 * (1 + np.abs(dy).sum())


@pytest.mark.spec("UNIT-S2")
def test_a_step_s_gradients_are_those_of_its_formula_in_mpmath() -> None:
    """Tails of saturated gates keep their relative accuracy."""
    z = np.linspace(-60, 60, 41)
    with mpmath.workprec(300):
        for value in z:
            bias = np.full((4, 1), value)
            given = arguments(1, 1, 0, 1) | {"h": np.zeros((1, 1)), "c": np.full((1, 1), 0.3), "bias": bias}
            got = lstm_unit_backward(np.array([[[[0.0]]], [[[1.0]]]]), **given)[:, 0, 0, 0]
            s, t = 1 / (1 + mpmath.exp(-mpmath.mpf(value))), mpmath.tanh(value)
            slope = s * (1 - s)
            want = [t * slope, mpmath.mpf(0.3) * slope, s * (1 - t * t), 0, s]
            for ours, exact in zip(got, want, strict=True):
                assert abs(ours - exact) <= 6 * 2.0**-53 * abs(exact)


@pytest.mark.spec("UNIT-I1")
def test_cutting_a_sequence_changes_nothing_forward_or_backward() -> None:
    given, dy, first = arguments(7, 3, 2, 4), gradient_of_result(7, 3, 4), 3
    head = {**given, "x": given["x"][:first]}
    y = lstm_unit(**head)
    tail = {**given, "x": given["x"][first:], "h": y[0, -1], "c": y[1, -1]}
    assert np.array_equal(np.concatenate([y, lstm_unit(**tail)], axis=1), lstm_unit(**given))
    of_tail = lstm_unit_backward(dy[:, first:], **tail)
    handed = dy[:, :first].copy()
    handed[0, -1] += sum(of_tail[k, 0] @ given["u"][k] for k in range(4))
    handed[1, -1] += of_tail[4, 0]
    of_head = lstm_unit_backward(handed, **head)
    whole = lstm_unit_backward(dy, **given)
    assert np.allclose(np.concatenate([of_head, of_tail], axis=1), whole, rtol=1e-13, atol=1e-15)


@pytest.mark.spec("UNIT-I2")
def test_permuting_examples_or_units_permutes_the_result() -> None:
    given, dy = arguments(3, 4, 2, 5), gradient_of_result(3, 4, 5)
    n, j = np.array([2, 0, 3, 1]), np.array([4, 1, 0, 3, 2])
    examples = {name: value[n] if name in "hc" else value for name, value in given.items()}
    examples["x"] = given["x"][:, n]
    units = {name: given[name][..., j] for name in ("h", "c", "bias")}
    units |= {"x": given["x"], "w": given["w"][:, j], "u": given["u"][:, j][:, :, j]}
    y, dz = lstm_unit(**given), lstm_unit_backward(dy, **given)
    close = {"rtol": 1e-12, "atol": 1e-15}
    assert np.allclose(lstm_unit(**examples), y[:, :, n], **close)
    assert np.allclose(lstm_unit_backward(dy[:, :, n], **examples), dz[:, :, n], **close)
    assert np.allclose(lstm_unit(**units), y[..., j], **close)
    assert np.allclose(lstm_unit_backward(dy[..., j], **units), dz[..., j], **close)


# What the concept is about ---------------------------------------------------------------------------------


@pytest.mark.spec("UNIT-D1")
def test_an_open_forget_gate_carries_a_value_over_hundreds_of_steps() -> None:
    given = arguments(400, 2, 3, 4, scale=0.0) | {"x": np.random.default_rng(1).normal(size=(400, 2, 3))}
    given["bias"] = np.array([[-60.0], [60.0], [0.0], [60.0]]) + np.zeros((4, 4))
    given["c"] = np.random.default_rng(2).normal(size=(2, 4))
    y = lstm_unit(**given)
    assert (np.abs(y[1, -1] - given["c"]) <= 1e-15).all()
    assert (np.abs(y[0, -1] - np.tanh(given["c"])) <= 1e-15).all()


@pytest.mark.spec("UNIT-S3")
@pytest.mark.parametrize("gate", range(4))
def test_a_bias_moves_its_own_gate_and_no_other(gate: int) -> None:
    given = {name: 0 * value for name, value in arguments(1, 1, 2, 1).items()}
    given["c"] = np.ones((1, 1))
    given["bias"][gate] = 40.0
    h, c = lstm_unit(**given)[:, 0, 0, 0]
    want = [0.5, 1.0, 0.5 + 0.5, 0.5][gate]  # c = f·1 + i·g, of which only this gate is not at its middle
    assert abs(c - want) <= 1e-15
    assert abs(h - (1.0 if gate == 3 else 0.5) * np.tanh(want)) <= 1e-15


@pytest.mark.spec("UNIT-S5")
def test_each_example_begins_in_its_own_state() -> None:
    given = arguments(2, 3, 2, 4)
    alone = [
        lstm_unit(**{**given, "x": given["x"][:, n : n + 1], "h": given["h"][n : n + 1], "c": c[None]})
        for n, c in enumerate(given["c"])
    ]
    assert np.allclose(np.concatenate(alone, axis=2), lstm_unit(**given), rtol=1e-13)


# Edges -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("UNIT-X1")
@pytest.mark.parametrize("sizes", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 0, 4), (2, 3, 4, 0), (0, 0, 0, 0)])
def test_any_size_may_be_zero(sizes: tuple[int, ...]) -> None:
    T, N, D, H = sizes
    given = arguments(T, N, D, H)
    y, dy = lstm_unit(**given), gradient_of_result(T, N, H)
    assert y.shape == (2, T, N, H)
    assert lstm_unit_backward(dy, **given).shape == (5, T, N, H)
    for name, value in all_gradients(dy, given).items():
        assert value.shape == given[name].shape


@pytest.mark.spec("UNIT-X2")
def test_infinities_and_nan_follow_ieee_arithmetic_through_the_gates() -> None:
    given = {name: 0 * value for name, value in arguments(1, 1, 1, 1).items()}

    def cell(**changes: float) -> Array:
        bias = np.array([[changes.get(gate, 0.0)] for gate in "ifgo"])
        state = {"c": np.full((1, 1), changes.get("c", 0.0)), "bias": bias}
        return lstm_unit(**{**given, **state})[:, 0, 0, 0]

    inf, nan = np.inf, np.nan
    assert np.array_equal(cell(c=inf, f=-inf), [nan, nan], equal_nan=True)
    assert cell(c=inf, o=2.0)[1] == inf
    assert cell(c=-inf, o=inf).tolist() == [-1.0, -inf]
    assert cell(c=3.0, f=-inf, i=inf, g=-inf)[1] == -1
    assert np.isnan(cell(g=nan)).all()
    assert np.array_equal(np.isnan(cell(o=nan)), [True, False])


@pytest.mark.spec("UNIT-X3")
def test_nan_in_a_gradient_reaches_the_earlier_steps_of_its_example_alone() -> None:
    given, dy = arguments(3, 2, 2, 3), gradient_of_result(3, 2, 3)
    dy[0, 1, 0, 2] = np.nan
    wrong = np.isnan(lstm_unit_backward(dy, **given))
    assert not wrong[:, 2].any()
    assert wrong[:, 1, 0, 2].all()
    assert not wrong[:, 1, 0, :2].any()
    assert wrong[:, 0, 0].all()
    assert not wrong[:, :, 1].any()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.zeros((2, 3))}, ValueError, "UNIT-C1: x must have 3 axes"),
        ({"bias": np.zeros((4, 4, 1))}, ValueError, "UNIT-C1: bias must have 2 axes"),
        ({"h": np.zeros((4, 3))}, ValueError, r"UNIT-C2: c has shape \(3, 4\), expected \(N, H\)|UNIT-C2: h"),
        ({"w": np.zeros((3, 4, 2))}, ValueError, r"UNIT-C2: w has shape \(3, 4, 2\), expected"),
        ({"u": np.zeros((4, 4, 3))}, ValueError, "UNIT-C2: u"),
        ({"bias": np.zeros((4, 1))}, ValueError, "UNIT-C2: bias"),
        ({"c": np.zeros((3, 4), np.float32)}, TypeError, "UNIT-C3: x has dtype float64, c has dtype float32"),
        ({"c": np.zeros((3, 4), int)}, TypeError, "UNIT-C3: c must be an array of floats"),
        ({"u": 1.0}, TypeError, "UNIT-C3: u must be an array of floats, got float"),
    ],
)
def test_a_bad_argument_is_refused_with_its_clause(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = arguments(2, 3, 2, 4) | changes
    with pytest.raises(error, match=f"^{message}" if "|" not in message else message):
        lstm_unit(**given)


@pytest.mark.spec("UNIT-C4")
def test_a_gradient_that_does_not_fit_is_refused() -> None:
    given = arguments(2, 3, 2, 4)
    with pytest.raises(ValueError, match=r"^UNIT-C4: dy has shape \(2, 3, 4\), the forward result has shape"):
        lstm_unit_backward(np.zeros((2, 3, 4)), **given)
    with pytest.raises(TypeError, match=r"^UNIT-C4: dy has dtype float32, x has dtype float64"):
        lstm_unit_backward(np.zeros((2, 2, 3, 4), np.float32), **given)


def test_fractions_are_refused() -> None:
    given = {name: np.full(value.shape, Fraction(1)) for name, value in arguments(1, 1, 1, 1).items()}
    with pytest.raises(TypeError, match=r"^UNIT-C3: the gates of fractions are no fractions"):
        lstm_unit(**given)


def test_shapes_alone_tell_the_shape_of_the_result() -> None:
    shapes = {name: value.shape for name, value in arguments(7, 2, 3, 5).items()}
    assert lstm_unit_shape(**shapes) == (2, 7, 2, 5)
    assert lstm_unit_backward_shape((2, 7, 2, 5), **shapes) == (5, 7, 2, 5)


def test_arguments_are_not_changed() -> None:
    given, dy = arguments(2, 3, 2, 4), gradient_of_result(2, 3, 4)
    copies = {name: value.copy() for name, value in {**given, "dy": dy}.items()}
    lstm_unit(**given)
    lstm_unit_backward(dy, **given)
    assert all(np.array_equal(copies[name], value) for name, value in {**given, "dy": dy}.items())
