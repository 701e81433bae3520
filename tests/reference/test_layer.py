"""Layers are uniform containers that compute their operations, as page 10 says."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaugeblock import reference
from gaugeblock.reference.layer import (
    AveragePooling,
    Convolutional,
    FullyConnected,
    Layer,
    MaxPooling,
    Passed,
    Recurrent,
    Weighted,
    drawn,
    uniform,
)
from gaugeblock.reference.unit import LSTM, Activation, Feedforward, Maxout, Threshold

Array = NDArray[Any]
seeds = st.integers(0, 2**32 - 1)
FEWER = settings(max_examples=settings.default.max_examples // 4)  # fractions are slow
RELU = Activation("relu")
UNITS = (
    RELU,
    Activation("leaky_relu", {"negative_slope": 0.25}),
    Activation("hard_tanh"),
    Maxout(2),
    Maxout(3),
)
SMOOTH = (Activation("tanh"), Activation("gelu", {"approximate": "tanh"}), Activation("log_softmax"))


def fractions(generator: np.random.Generator, *shape: int) -> Array:
    """Return fractions with numerators up to 9 and denominators up to 8."""
    count = int(np.prod(shape))
    pairs = zip(generator.integers(-9, 10, count), generator.integers(1, 9, count), strict=True)
    numbers = np.empty(count, object)
    numbers[:] = [Fraction(int(n), int(d)) for n, d in pairs]
    return numbers.reshape(shape)


def dense(generator: np.random.Generator, unit: Feedforward, D: int = 4, K: int = 3) -> FullyConnected:
    sums = K * unit.incoming
    return FullyConnected(fractions(generator, D, sums), fractions(generator, sums), unit)


def convolutional(generator: np.random.Generator, unit: Feedforward, **steps: Any) -> Convolutional:
    sums = 2 * unit.incoming
    return Convolutional(fractions(generator, sums, 2, 2, 3), fractions(generator, sums), unit, **steps)


class Recording:
    """The reference's operations, noting which were called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.called.append(name)
        return getattr(reference, name)


@pytest.mark.spec("LAYER-D1")
def test_a_layer_is_a_value_with_named_parameters() -> None:
    layer = dense(np.random.default_rng(0), RELU)
    assert list(layer.parameters) == ["weights", "bias"]
    other = layer.with_parameters({"weights": layer.weights * 2, "bias": layer.bias})
    assert type(other) is FullyConnected
    assert (other.weights == 2 * layer.weights).all()
    assert other.unit is layer.unit
    with pytest.raises(AttributeError):
        layer.weights = other.weights  # type: ignore[misc]


@pytest.mark.spec("LAYER-D2")
def test_layers_with_units_have_parameters_and_layers_that_pool_have_none() -> None:
    for kind in (FullyConnected, Convolutional):
        assert issubclass(kind, Weighted)
    for pooling in (MaxPooling(2), AveragePooling(2)):
        assert isinstance(pooling, Layer)
        assert not isinstance(pooling, Weighted | Feedforward)
        assert pooling.parameters == {}
        assert pooling.with_parameters({}) is pooling


@pytest.mark.spec("LAYER-C1")
def test_a_layer_of_different_units_is_refused() -> None:
    assert uniform([Maxout(2), Maxout(2)]) == Maxout(2)
    with pytest.raises(
        ValueError, match=r"^LAYER-C1: a layer is uniform, but unit 0 is relu and unit 2 is tanh"
    ):
        uniform([RELU, RELU, Activation("tanh")])
    with pytest.raises(ValueError, match=r"^LAYER-C1: .* unit 1 is Maxout"):
        uniform([Maxout(2), Maxout(3)])
    with pytest.raises(ValueError, match=r"^LAYER-C1: .* got no unit"):
        uniform([])


@pytest.mark.spec("LAYER-C2")
@pytest.mark.parametrize("no_unit", [MaxPooling(2), reference.conv, LSTM(), "relu", None])
def test_what_is_no_unit_without_memory_is_refused_in_the_place_of_one(no_unit: Any) -> None:
    with pytest.raises(TypeError, match=r"^LAYER-C2: unit must be a unit without memory, got "):
        FullyConnected(np.zeros((2, 3)), np.zeros(3), no_unit)
    with pytest.raises(TypeError, match=r"^LAYER-C2: unit must be a unit without memory, got "):
        Convolutional(np.zeros((3, 2, 1)), np.zeros(3), no_unit)


@pytest.mark.spec("LAYER-C3")
def test_parameters_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^LAYER-C3: weights has shape \(2, 3\), bias has shape \(2,\)"):
        FullyConnected(np.zeros((2, 3)), np.zeros(2), RELU)
    with pytest.raises(ValueError, match=r"^LAYER-C3: .* 2 sums for each unit"):
        FullyConnected(np.zeros((2, 3)), np.zeros(3), Maxout(2))
    with pytest.raises(ValueError, match=r"^LAYER-C3: weights has shape \(3,\)"):
        FullyConnected(np.zeros(3), np.zeros(3), RELU)


@pytest.mark.spec("LAYER-S1")
@given(seeds, st.sampled_from(UNITS))
def test_a_fully_connected_layer_is_a_product_and_an_activation(seed: int, unit: Feedforward) -> None:
    generator = np.random.default_rng(seed)
    layer, x = dense(generator, unit, D=6), fractions(generator, 2, 3, 2)
    z = x.reshape(2, 6) @ layer.weights + layer.bias
    passed = layer.forward(x)
    assert passed.x is x
    assert (passed.z == z).all()
    assert (passed.y == unit.forward(z)).all()


@pytest.mark.spec("LAYER-S2")
@FEWER
@given(seeds, st.sampled_from(UNITS))
def test_a_convolutional_layer_is_a_convolution_and_an_activation_along_maps(
    seed: int, unit: Feedforward
) -> None:
    generator = np.random.default_rng(seed)
    layer = convolutional(generator, unit, stride=(1, 2), padding=1)
    x = fractions(generator, 2, 2, 3, 4)
    z = reference.conv(x, layer.weights, layer.bias, stride=(1, 2), padding=1)
    for place in np.ndindex(z.shape[0], *z.shape[2:]):
        at = (place[0], slice(None), *place[1:])
        assert (layer.forward(x).y[at] == unit.forward(z[at])).all()


@pytest.mark.spec("LAYER-S3")
def test_a_pooling_layer_pools_each_map() -> None:
    x = fractions(np.random.default_rng(3), 2, 3, 5, 4)
    assert (MaxPooling((2, 3), stride=1).forward(x).y == reference.max_pool(x, kernel=(2, 3), stride=1)).all()
    assert (AveragePooling(2).forward(x).y == reference.avg_pool(x, kernel=2)).all()


@pytest.mark.spec("LAYER-S4")
@given(seeds, st.sampled_from(UNITS))
def test_the_gradient_of_a_bias_is_the_sum_of_the_gradients_of_its_weighted_data(
    seed: int, unit: Feedforward
) -> None:
    generator = np.random.default_rng(seed)
    for layer, x in (
        (dense(generator, unit), fractions(generator, 3, 4)),
        (convolutional(generator, unit), fractions(generator, 2, 2, 3, 4)),
    ):
        passed = layer.forward(x)
        dy = fractions(generator, *passed.y.shape)
        dz = unit.backward(dy, passed.z, axis=1)
        _, gradients = layer.backward(dy, passed)
        assert (gradients["bias"] == dz.sum(axis=(0, *range(2, dz.ndim)))).all()
        assert set(gradients) == set(layer.parameters)
        assert gradients["weights"].shape == layer.weights.shape


def each_layer(generator: np.random.Generator) -> list[tuple[Layer, Array]]:
    """Return a layer of each kind with an input."""
    maps = fractions(generator, 2, 2, 3, 4)
    return [
        (dense(generator, Maxout(2)), fractions(generator, 3, 4)),
        (convolutional(generator, RELU, padding="same"), maps),
        (MaxPooling(2, stride=1, padding=1), maps),
        (AveragePooling(2, ceil_mode=True), maps),
    ]


@pytest.mark.spec("LAYER-S4")
@FEWER
@given(seeds)
def test_going_back_is_the_adjoint_of_going_forth_between_kinks(seed: int) -> None:
    """⟨dy, f(x + e) − f(x)⟩ = ⟨dx, e⟩, exactly, for a step e so small that no kink is crossed."""
    generator = np.random.default_rng(seed)
    for layer, x in each_layer(generator):
        passed = layer.forward(x)
        dy = fractions(generator, *passed.y.shape)
        dx, _ = layer.backward(dy, passed)
        step = fractions(generator, *x.shape)
        while (_pieces(layer, x + step) != _pieces(layer, x)).any():
            step = step / 7
            if np.abs(step).max() < Fraction(1, 7**9):
                return  # x itself lies on a kink
        assert (dy * (layer.forward(x + step).y - passed.y)).sum() == (dx * step).sum()


def _pieces(layer: Layer, x: Array) -> Array:
    """Return which linear piece each value comes from, with kinks as pieces of their own."""
    passed = layer.forward(x)
    if isinstance(layer, MaxPooling):
        return reference.max_pool_indices(x, **vars(layer))
    if passed.z is None:
        return np.zeros(1)
    if isinstance(layer.unit, Maxout):  # type: ignore[attr-defined]
        first = passed.z[..., 0::2] - passed.z[..., 1::2]
        return np.sign(first.astype(float))
    return np.sign(passed.z.astype(float))


@pytest.mark.spec("LAYER-S5")
@FEWER
@given(seeds)
def test_neither_direction_changes_anything(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for layer, x in each_layer(generator):
        before = [x.copy(), *(array.copy() for array in layer.parameters.values())]
        passed = layer.forward(x)
        dy = fractions(generator, *passed.y.shape)
        kept = dy.copy()
        layer.backward(dy, passed)
        after = [x, *layer.parameters.values()]
        assert all((old == new).all() for old, new in zip(before, after, strict=True))
        assert (dy == kept).all()


@pytest.mark.spec("LAYER-X1")
def test_without_examples_parameters_have_a_gradient_of_zero() -> None:
    layer = FullyConnected(np.ones((4, 3)), np.ones(3), RELU)
    maps = Convolutional(np.ones((3, 2, 2, 2)), np.ones(3), RELU)
    for each, x in ((layer, np.zeros((0, 4))), (maps, np.zeros((0, 2, 5, 5)))):
        passed = each.forward(x)
        assert passed.y.shape[:2] == (0, 3)
        dx, gradients = each.backward(passed.y, passed)
        assert dx.shape == x.shape
        assert all(not array.any() for array in gradients.values())


@pytest.mark.spec("LAYER-A1")
def test_a_layer_computes_its_operations_and_nothing_else() -> None:
    generator = np.random.default_rng(1)
    expected = {
        FullyConnected: ["gemm", "maxout", "maxout_backward", "gemm", "gemm", "gemm"],
        Convolutional: [
            "conv",
            "relu",
            "relu_backward",
            "conv_backward_input",
            "conv_backward_weight",
            "conv_backward_bias",
        ],
        MaxPooling: ["max_pool", "max_pool_backward"],
        AveragePooling: ["avg_pool", "avg_pool_backward"],
    }
    for layer, x in each_layer(generator):
        operations = Recording()
        passed = layer.forward(x, on=operations)
        layer.backward(passed.y, passed, on=operations)
        assert operations.called == expected[type(layer)]


@pytest.mark.spec("LAYER-I1")
@FEWER
@given(seeds, st.sampled_from(UNITS))
def test_a_convolutional_layer_is_a_fully_connected_one_that_shares_weights(
    seed: int, unit: Feedforward
) -> None:
    generator = np.random.default_rng(seed)
    layer = convolutional(generator, unit, padding=(1, 0), stride=(2, 1))
    silent = layer.with_parameters({"weights": layer.weights, "bias": layer.bias * 0})
    x = fractions(generator, 2, 2, 3, 4)
    basis = np.array([[Fraction(int(i == j)) for j in range(24)] for i in range(24)], object)
    matrix = silent.forward(basis.reshape(24, 2, 3, 4)).z
    assert matrix is not None
    places = matrix.shape[2:]
    # The units of a place are neighbours in a fully connected layer.
    weights = np.moveaxis(matrix, 1, -1).reshape(24, -1)
    full = FullyConnected(weights, np.tile(layer.bias, int(np.prod(places))), unit)
    want = np.moveaxis(layer.forward(x).y, 1, -1).reshape(2, -1)
    assert (full.forward(x).y == want).all()


@pytest.mark.spec("LAYER-I2")
@FEWER
@given(seeds)
def test_examples_do_not_see_each_other(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for layer, x in each_layer(generator):
        y = layer.forward(x).y
        assert (layer.forward(x[::-1]).y == y[::-1]).all()
        assert (layer.forward(x[:1]).y == y[:1]).all()


@pytest.mark.spec("LAYER-I3")
def test_maps_can_be_permuted_before_pooling_or_after() -> None:
    x = fractions(np.random.default_rng(2), 2, 5, 4, 4)
    for layer in (MaxPooling(2), AveragePooling(3, stride=1)):
        assert (layer.forward(x[:, ::-1]).y == layer.forward(x).y[:, ::-1]).all()


@FEWER
@given(seeds, st.sampled_from(SMOOTH))
def test_gradients_of_smooth_units_agree_with_central_differences(seed: int, unit: Activation) -> None:
    """With h = 2⁻¹⁷, differences of numbers near 1 are right to about 10⁻⁹."""
    generator = np.random.default_rng(seed)
    h = 2.0**-17
    dense_layer = FullyConnected.initial(4, 3, unit, generator)
    maps = Convolutional.initial(2, 3, (2, 2), unit, generator)
    for layer, x in (
        (dense_layer, generator.standard_normal((2, 4))),
        (maps, generator.standard_normal((1, 2, 3, 3))),
    ):
        passed: Passed = layer.forward(x)
        dy = generator.standard_normal(passed.y.shape)
        dx, gradients = layer.backward(dy, passed)
        step = generator.standard_normal(x.shape)
        quotient = (layer.forward(x + h * step).y - layer.forward(x - h * step).y) / (2 * h)
        assert abs((dy * quotient).sum() - (dx * step).sum()) <= 1e-7
        step = generator.standard_normal(layer.weights.shape)
        moved = [
            layer.with_parameters({"weights": layer.weights + s * h * step, "bias": layer.bias}).forward(x).y
            for s in (1, -1)
        ]
        quotient = (moved[0] - moved[1]) / (2 * h)
        assert abs((dy * quotient).sum() - (gradients["weights"] * step).sum()) <= 1e-7


def test_drawn_weights_keep_the_size_of_a_signal_through_thirty_layers() -> None:
    """The second moment stays within a factor of 4: each layer multiplies it by 1 ± √(10/400)."""
    generator = np.random.default_rng(0)
    for unit in (RELU, Activation("hard_tanh")):
        x = generator.standard_normal((50, 400))
        for _ in range(30):
            weights = drawn((400, 400), 400, unit, generator)
            x = x @ weights if unit != RELU else np.maximum(x @ weights, 0)
        assert 1 / 4 <= (x**2).mean() * (2 if unit == RELU else 1) <= 4


def test_a_threshold_hands_on_the_kind_of_number_that_it_was_given() -> None:
    third = np.array([Fraction(1, 3), Fraction(-1, 3), Fraction(0)])
    assert [type(value) for value in Threshold().forward(third)] == [Fraction] * 3
    assert Threshold().forward(third).tolist() == [1, 0, 0]
    assert np.isnan(Threshold().forward(np.array([np.nan])))[0]


def recurrent(generator: np.random.Generator, unit: Activation) -> Recurrent:
    return Recurrent(
        fractions(generator, 1, 3, 2), fractions(generator, 1, 3, 3), fractions(generator, 1, 3), unit
    )


@pytest.mark.spec("LAYER-S6")
@FEWER
@given(seeds, st.sampled_from(UNITS[:3]))
def test_a_recurrent_layer_sees_its_input_and_what_it_handed_on_before(seed: int, unit: Activation) -> None:
    generator = np.random.default_rng(seed)
    layer, x = recurrent(generator, unit), fractions(generator, 2, 4, 2)
    y = np.array([[Fraction(0)] * 3] * 2, object)
    for t, handed_on in enumerate(np.swapaxes(layer.forward(x).y, 0, 1)):
        y = unit.forward(x[:, t] @ layer.weights[0].T + y @ layer.recurrent[0].T + layer.bias[0])
        assert (handed_on == y).all()


@pytest.mark.spec("LAYER-S6")
@FEWER
@given(seeds)
def test_the_error_signal_goes_back_through_time(seed: int) -> None:
    """Unrolled, ReLU is linear between kinks: a step of a parameter changes the sum by a polynomial in it."""
    generator = np.random.default_rng(seed)
    layer, x = recurrent(generator, RELU), fractions(generator, 2, 3, 2)
    passed = layer.forward(x)
    dy = fractions(generator, *passed.y.shape)
    dx, gradients = layer.backward(dy, passed)
    h = Fraction(1, 10**8)
    for name, array in (("x", x), *layer.parameters.items()):
        place = tuple(int(generator.integers(size)) for size in array.shape)
        sums, pieces = [], []
        for sign in (1, -1):
            changed = array.copy()
            changed[place] += sign * h
            moved = layer if name == "x" else layer.with_parameters({**layer.parameters, name: changed})
            after = moved.forward(changed if name == "x" else x)
            assert after.z is not None
            pieces.append(np.sign(after.z.astype(float)).tolist())
            sums.append((dy * after.y).sum())
        if pieces[0] != pieces[1]:
            continue
        quotient = (sums[0] - sums[1]) / (2 * h)
        slope = (dx if name == "x" else gradients[name])[place]
        # Three steps: of degree 3 in a recurrent weight, and the quotient keeps h² times its third part.
        assert quotient == slope or (name == "recurrent" and abs(quotient - slope) <= h * abs(slope) + h)


@pytest.mark.spec("LAYER-S6")
def test_a_recurrent_layer_of_lstm_units_is_the_operation_from_a_state_of_zeros() -> None:
    generator = np.random.default_rng(2)
    layer = Recurrent.initial(2, 3, LSTM(), generator)
    x, nothing = generator.standard_normal((4, 5, 2)), np.zeros((4, 3))
    passed = layer.forward(x)
    steps = np.swapaxes(x, 0, 1)
    states = reference.lstm_unit(steps, nothing, nothing, *layer.parameters.values())
    assert np.array_equal(np.swapaxes(passed.y, 0, 1), states[0])
    dy = generator.standard_normal(passed.y.shape)
    dx, gradients = layer.backward(dy, passed)
    both = np.stack([np.swapaxes(dy, 0, 1), np.zeros((5, 4, 3))])
    dz = reference.lstm_unit_backward(both, steps, nothing, nothing, *layer.parameters.values())
    want = reference.lstm_unit_gradients(dz, states, steps, nothing, nothing, layer.weights, layer.recurrent)
    bound = 64 * 2.0**-52  # sums of at most 20 products near 1, in another order
    assert np.abs(np.swapaxes(dx, 0, 1) - want.x).max() <= bound
    for name, expected in (("weights", want.w), ("recurrent", want.u), ("bias", want.bias)):
        assert np.abs(gradients[name] - expected).max() <= bound


@pytest.mark.spec("LAYER-C2")
@pytest.mark.spec("LAYER-C3")
def test_a_recurrent_layer_refuses_units_and_shapes_that_do_not_fit() -> None:
    square, bias = np.zeros((1, 3, 3)), np.zeros((1, 3))
    with pytest.raises(TypeError, match=r"^LAYER-C2: unit must take in one sum, or be LSTM, got Maxout"):
        Recurrent(square, square, bias, Maxout(2))
    with pytest.raises(ValueError, match=r"^LAYER-C3: weights has shape \(1, 3, 3\), expected \(4, 3, 3\)"):
        Recurrent(square, square, bias, LSTM())
    with pytest.raises(ValueError, match=r"^LAYER-C3: recurrent has shape \(1, 2, 2\), expected \(1, 3, 3\)"):
        Recurrent(square, np.zeros((1, 2, 2)), bias, RELU)


@pytest.mark.spec("LAYER-X1")
@pytest.mark.parametrize("unit", [RELU, LSTM()])
@pytest.mark.parametrize("shape", [(0, 4, 2), (3, 0, 2)])
def test_a_recurrent_layer_without_examples_or_steps_has_gradients_of_zero(
    unit: Any, shape: tuple[int, ...]
) -> None:
    layer = Recurrent.initial(2, 3, unit, np.random.default_rng(1))
    passed = layer.forward(np.zeros(shape))
    assert passed.y.shape == (*shape[:2], 3)
    dx, gradients = layer.backward(passed.y, passed)
    assert dx.shape == shape
    assert all(not array.any() for array in gradients.values())


@pytest.mark.spec("LAYER-I2")
def test_sequences_do_not_see_each_other() -> None:
    layer, x = recurrent(np.random.default_rng(4), RELU), fractions(np.random.default_rng(5), 3, 4, 2)
    assert (layer.forward(x[::-1]).y == layer.forward(x).y[::-1]).all()
