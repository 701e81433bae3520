"""The reference keeps the conventions that the spec holds every backend to."""

from typing import Any

import numpy as np
import pytest

from gaugeblock.spec import OPERATIONS, Operation
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept, round_to
from gaugeblock.spec.operations import Parameter

records = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)

SHAPES = {"a": (3, 4), "b": (4, 2), "c": (3, 2), "x": (2, 6), "dy": (2, 6)}
RECURRENT = {"dy": (2, 3, 2, 5), "x": (3, 2, 4), "h": (2, 5), "c": (2, 5)}
RECURRENT |= {"w": (4, 5, 4), "u": (4, 5, 5), "bias": (4, 5)}
# Every position of a window holds data, and every element lies in a window.
OWN: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "conv": ({"x": (2, 4, 5), "w": (6, 2, 3), "bias": (6,)}, {"groups": 2}),
    "conv_backward_input": ({"dy": (2, 6, 3), "w": (6, 2, 3)}, {"groups": 2, "input_shape": (2, 4, 5)}),
    "conv_backward_weight": ({"dy": (2, 6, 3), "x": (2, 4, 5)}, {"groups": 2, "kernel_shape": (6, 2, 3)}),
    "conv_backward_bias": ({"dy": (2, 6, 3)}, {}),
    "conv_transpose": ({"x": (2, 4, 5), "w": (4, 2, 3), "bias": (2,)}, {}),
    "conv_fused": ({"x": (2, 4, 5), "w": (6, 4, 3), "bias": (6,), "residual": (2, 6, 3)}, {}),
    "max_pool": ({"x": (2, 3, 6)}, {"kernel": 2}),
    "max_pool_indices": ({"x": (2, 3, 6)}, {"kernel": 2}),
    "max_pool_backward": ({"dy": (2, 3, 3), "x": (2, 3, 6)}, {"kernel": 2}),
    "avg_pool": ({"x": (2, 3, 6)}, {"kernel": 2}),
    "avg_pool_backward": ({"dy": (2, 3, 3)}, {"kernel": 2, "input_shape": (2, 3, 6)}),
    "lstm_unit": (RECURRENT, {}),
    "lstm_unit_backward": (RECURRENT, {}),
    "maxout_backward": ({"x": (2, 6), "dy": (2, 3)}, {}),
}


def arguments(operation: Operation, fill: float | None = None) -> dict[str, Any]:
    """Draw small legal arguments, or fill their arrays with one number."""
    random = np.random.default_rng(2)
    shapes, parameters = OWN.get(operation.name, (SHAPES, {}))
    arrays = {name: random.normal(size=shapes[name]) for name in operation.arrays}
    if fill is not None:
        arrays = {name: np.full_like(array, fill) for name, array in arrays.items()}
    return arrays | parameters


def given_arrays(operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays among the arguments."""
    return {name: given[name] for name in operation.arrays}


@pytest.mark.spec("GEN-S4")
@records
def test_inputs_stay_as_they_are(operation: Operation) -> None:
    given = arguments(operation)
    before = {name: array.copy() for name, array in given_arrays(operation, given).items()}
    operation.reference(**given)
    assert all((given[name] == array).all() for name, array in before.items())


@pytest.mark.spec("GEN-S1")
@pytest.mark.spec("GEN-D6")
@records
def test_the_result_is_a_new_array_of_the_recorded_type_and_shape(operation: Operation) -> None:
    given = arguments(operation)
    arrays = given_arrays(operation, given)
    result = operation.reference(**given)
    assert result.dtype == (np.float64 if operation.result_dtype == "same" else operation.result_dtype)
    assert result.shape == operation.shape({name: array.shape for name, array in arrays.items()}, given)
    assert not any(np.shares_memory(result, array) for array in arrays.values())


@pytest.mark.spec("GEN-D6")
@records
def test_narrow_inputs_are_taken_at_their_word(operation: Operation) -> None:
    given = arguments(operation)
    for format in FORMATS.values():
        arrays = given_arrays(operation, given)
        narrow = given | {name: round_to(array, format) for name, array in arrays.items()}
        wide = given | {name: narrow[name].astype(np.float64) for name in arrays}
        assert (operation.reference(**narrow) == operation.reference(**wide)).all()


@pytest.mark.spec("GEN-S5")
@records
def test_the_same_call_gives_the_same_bits(operation: Operation) -> None:
    given = arguments(operation)
    assert operation.reference(**given).tobytes() == operation.reference(**given).tobytes()


@pytest.mark.spec("GEN-X1")
@records
def test_nan_everywhere_gives_nan_wherever_something_is_computed(operation: Operation) -> None:
    result = operation.reference(**arguments(operation, np.nan))
    if operation.name == "max_pool_indices":  # whole numbers: the place of the first NaN of each window
        assert (result == [0, 2, 4]).all()
        return
    routed = operation.name in ("maxout_backward", "max_pool_backward")  # to the first NaN of each pair
    assert np.isnan(result[..., ::2] if routed else result).all()
    assert not routed or (result[..., 1::2] == 0).all()


@pytest.mark.spec("GEN-C1")
@records
@pytest.mark.parametrize("wrong", ["integers", "list"])
def test_what_is_no_array_of_floats_is_an_error(operation: Operation, wrong: str) -> None:
    given = arguments(operation)
    for name in operation.arrays:
        array = given[name]
        bad = array.astype(np.int64) if wrong == "integers" else array.tolist()
        with pytest.raises((TypeError, ValueError), match=r"^(GEMM|ACT|CONV|POOL|UNIT)-C[0-9]: "):
            operation.reference(**given | {name: bad})


@pytest.mark.spec("GEN-D9")
@pytest.mark.parametrize("parameter", [0.3, 0.25])
def test_the_rounding_of_a_parameter_to_float32_is_in_the_bound(parameter: float) -> None:
    operation = OPERATIONS["leaky_relu"]
    x = np.float64([-1.0])
    given = {"x": x, "negative_slope": parameter}
    want = operation.reference(**given)
    bound = operation.bound(given, want, FORMATS["float32"], Arithmetic())
    error = abs(float(np.float32(parameter)) - parameter)
    assert error <= bound.value[0] <= error + 2.0**-25


@pytest.mark.spec("GEN-A2")
def test_a_bound_follows_the_data_the_format_and_the_declared_arithmetic() -> None:
    gemm = OPERATIONS["gemm"]

    def bound(scale: float, format: str, arithmetic: Arithmetic) -> float:
        given = {"a": np.full((1, 64), scale), "b": np.ones((64, 1))}
        return float(gemm.bound(given, gemm.reference(**given), FORMATS[format], arithmetic).value[0, 0])

    plain = Arithmetic()
    here = bound(1.1, "float32", plain)
    assert bound(2.2, "float32", plain) == pytest.approx(2 * here)
    assert bound(1.1, "bfloat16", plain) > here
    assert bound(1.1, "float32", Arithmetic(multiplier="tf32")) > here
    assert bound(1.1, "float32", Arithmetic(accumulator="float16")) > here


@pytest.mark.spec("GEN-X3")
@pytest.mark.parametrize("name", FORMATS)
def test_a_result_too_large_for_its_format_is_an_infinity_of_its_sign(name: str) -> None:
    format = FORMATS[name]
    product = OPERATIONS["gemm"].reference(np.array([[format.largest]]), np.array([[-4.0]]))
    assert float(round_to(product, format)[0, 0]) == -np.inf


def test_a_parameter_has_a_clause_where_it_has_illegal_values() -> None:
    found: list[Parameter] = [p for record in OPERATIONS.values() for p in record.parameters.values()]
    assert all(bool(parameter.clause) or not parameter.illegal for parameter in found)


@pytest.mark.spec("GEN-X2")
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_zero_of_either_sign_is_accepted(zero: float) -> None:
    assert accept([zero, zero], [0.0, -0.0], 0.0, FORMATS["float32"]).all()
