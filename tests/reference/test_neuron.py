"""A neuron is a unit, and a perceptron is what page 8 says."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.machine_learning import Examples
from gaugeblock.reference.neuron import Neuron, Perceptron, neuron
from gaugeblock.reference.unit import Activation, Maxout, Threshold, Unit

small = st.integers(-8, 8)
EXCLUSIVE = Examples(np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0]))


def fractions(generator: np.random.Generator, *shape: int) -> np.ndarray:
    numbers = [
        Fraction(int(n), int(d))
        for n, d in zip(
            generator.integers(-9, 9, np.prod(shape)), generator.integers(1, 9, np.prod(shape)), strict=True
        )
    ]
    return np.array(numbers, object).reshape(shape)


@pytest.mark.spec("NEURON-D1")
def test_an_artificial_neuron_is_a_unit() -> None:
    assert Neuron is Unit
    assert isinstance(Activation("relu"), Neuron)


@pytest.mark.spec("NEURON-S1")
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.sampled_from(["relu", "hard_tanh"])
)
def test_a_layer_is_its_neurons_one_by_one(seed: int, D: int, K: int, name: str) -> None:
    generator = np.random.default_rng(seed)
    weights, bias, x = fractions(generator, D, K), fractions(generator, K), fractions(generator, 3, D)
    layer = FullyConnected(weights, bias, Activation(name))
    one_by_one = [[neuron(row, weights[:, k], bias[k], layer.unit) for k in range(K)] for row in x]
    assert layer.forward(x).y.tolist() == one_by_one


@pytest.mark.spec("NEURON-S2")
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_a_neurons_error_signal_is_the_sum_over_its_outgoing_connections(seed: int, outgoing: int) -> None:
    generator = np.random.default_rng(seed)
    weights, x = fractions(generator, 1, outgoing), fractions(generator, 1, 1)
    layer = FullyConnected(weights, fractions(generator, outgoing), Activation("hard_tanh"))
    passed = layer.forward(x)
    dy = fractions(generator, 1, outgoing)
    dx, _ = layer.backward(dy, passed)
    alone = [
        FullyConnected(weights[:, [k]], layer.bias[[k]], layer.unit) for k in range(outgoing)
    ]  # each connection leads to a layer of one unit
    parts = [one.backward(dy[:, [k]], one.forward(x))[0][0, 0] for k, one in enumerate(alone)]
    assert dx[0, 0] == sum(parts)


@pytest.mark.spec("NEURON-C1")
def test_a_neuron_has_one_weight_for_each_connection_and_takes_in_one_sum() -> None:
    with pytest.raises(ValueError, match=r"^NEURON-C1: weights has length 1, incoming has length 2"):
        neuron([1.0, 2.0], [1.0], 0.0, Activation("relu"))
    with pytest.raises(ValueError, match=r"^NEURON-C1: unit takes in 2 sums, expected 1"):
        neuron([1.0], [1.0], 0.0, Maxout(2))


@pytest.mark.spec("NEURON-C2")
def test_a_perceptron_refuses_what_are_no_numbers() -> None:
    with pytest.raises(
        TypeError, match=r"^NEURON-C2: inputs must be an array of floats, got an array of int64"
    ):
        Perceptron(np.zeros(1)).predict(np.array([[1]]))
    with pytest.raises(TypeError, match=r"^NEURON-C2: inputs has dtype object, weights has dtype float64"):
        Perceptron(np.zeros(1)).predict(np.array([[Fraction(1)]]))


@pytest.mark.spec("NEURON-D2")
@pytest.mark.spec("NEURON-X1")
def test_a_perceptron_predicts_one_beyond_the_line_and_zero_on_it() -> None:
    perceptron = Perceptron(np.array([1.0, -1.0]), -1.0)
    inputs = np.array([[3.0, 1.0], [2.0, 1.0], [1.0, 1.0], [np.nan, 0.0]])
    assert perceptron.predict(inputs).tolist() == [1, 0, 0, 0]


@pytest.mark.spec("NEURON-S3")
def test_a_perceptron_changes_by_mistakes_only_and_counts_them() -> None:
    start = Perceptron(np.array([Fraction(0), Fraction(0)]), Fraction(0))
    x = np.array([[Fraction(1), Fraction(2)], [Fraction(3), Fraction(1)], [Fraction(1), Fraction(1)]])
    learned = start.adjusted(Examples(x, np.array([1, 1, 0])))
    # The first is taken for 0 and added; the second is right; the third is taken for 1 and taken away.
    assert (learned.weights.tolist(), learned.bias, learned.mistakes) == ([0, 1], 0, 2)


@pytest.mark.spec("NEURON-X2")
@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=5), st.floats())
def test_no_error_signal_passes_through_a_threshold(z: list[float], dy: float) -> None:
    gradient = Threshold().backward(np.full(len(z), dy), np.array(z))
    assert gradient.tolist() == [0.0] * len(z)


@pytest.mark.spec("NEURON-A1")
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 40))
def test_a_perceptron_makes_no_more_mistakes_than_the_margin_allows(seed: int, D: int, count: int) -> None:
    """Novikoff's bound, for integers and in fractions, so that no rounding helps or hurts."""
    generator = np.random.default_rng(seed)
    normal = np.append(generator.integers(-5, 6, D), generator.integers(1, 6))  # the bias is not 0
    points = np.hstack([generator.integers(-9, 10, (count, D)), np.ones((count, 1), int)])
    sides = points @ normal
    points, sides = points[sides != 0], sides[sides != 0]
    if not len(points):
        return
    classes = (sides > 0).astype(int)
    margin = Fraction(int(np.abs(sides).min()) ** 2, int(normal @ normal))
    allowed = int((points**2).sum(axis=1).max()) / margin
    exact = np.array([[Fraction(int(v)) for v in row] for row in points[:, :-1]], object)
    perceptron = Perceptron(np.array([Fraction(0)] * D), Fraction(0))
    for _ in range(3):
        order = generator.permutation(len(points))
        perceptron = perceptron.adjusted(Examples(exact[order], classes[order]))
    assert perceptron.mistakes <= allowed


@pytest.mark.spec("NEURON-A1")
def test_a_perceptron_settles_on_classes_that_a_line_separates() -> None:
    generator = np.random.default_rng(5)
    points = generator.standard_normal((200, 3))
    classes = (points @ [1.0, -2.0, 0.5] > 0.25).astype(int)
    perceptron = Perceptron(np.zeros(3))
    while perceptron.error(Examples(points, classes)) > 0:
        perceptron = perceptron.adjusted(Examples(points, classes))
    settled = perceptron.adjusted(Examples(points, classes))
    assert settled.mistakes == perceptron.mistakes


@pytest.mark.spec("NEURON-I1")
@given(small, small, small, st.integers(0, 50))
def test_no_perceptron_tells_one_of_two_but_not_both(w: int, v: int, b: int, rounds: int) -> None:
    perceptron = Perceptron(np.array([w, v], np.float64), float(b))
    for _ in range(rounds):
        perceptron = perceptron.adjusted(EXCLUSIVE)
    assert perceptron.error(EXCLUSIVE) >= 0.25


@pytest.mark.spec("NEURON-I2")
def test_one_neuron_is_zero_on_one_of_two_and_one_elsewhere() -> None:
    size = Activation("leaky_relu", {"negative_slope": -1.0})
    inputs = [[Fraction(a), Fraction(b)] for a in (0, 1) for b in (0, 1)]
    assert [neuron(np.array(pair, object), [1, 1], Fraction(-1), size) for pair in inputs] == [1, 0, 0, 1]
