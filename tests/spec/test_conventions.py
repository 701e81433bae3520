"""The reference keeps the conventions that the spec holds every backend to."""

from typing import Any

import numpy as np
import pytest

from gaugeblock.spec import OPERATIONS, Operation
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, accept, round_to
from gaugeblock.spec.operations import Parameter

# Operations whose windows slide are held to the conventions in test_windows and test_sliding_invariants.
WHOLE = {
    name: operation for name, operation in OPERATIONS.items() if operation.concept in ("gemm", "activation")
}
records = pytest.mark.parametrize("operation", WHOLE.values(), ids=WHOLE)


def arguments(operation: Operation, fill: float | None = None) -> dict[str, Any]:
    """Draw small legal arrays, or fill them with one number."""
    random = np.random.default_rng(2)
    shapes = {"a": (3, 4), "b": (4, 2), "c": (3, 2), "x": (2, 6), "dy": (2, 6)}
    if operation.name == "maxout_backward":
        shapes["dy"] = (2, 3)
    arrays = {name: random.normal(size=shapes[name]) for name in operation.arrays}
    return arrays if fill is None else {name: np.full_like(array, fill) for name, array in arrays.items()}


@pytest.mark.spec("GEN-S4")
@records
def test_inputs_stay_as_they_are(operation: Operation) -> None:
    given = arguments(operation)
    before = {name: array.copy() for name, array in given.items()}
    operation.reference(**given)
    assert all((given[name] == before[name]).all() for name in given)


@pytest.mark.spec("GEN-S1")
@pytest.mark.spec("GEN-D6")
@records
def test_the_result_is_a_new_array_of_float64_of_the_recorded_shape(operation: Operation) -> None:
    given = arguments(operation)
    result = operation.reference(**given)
    assert result.dtype == np.float64
    assert result.shape == operation.shape({name: array.shape for name, array in given.items()}, {})
    assert not any(np.shares_memory(result, array) for array in given.values())


@pytest.mark.spec("GEN-D6")
@records
def test_narrow_inputs_are_taken_at_their_word(operation: Operation) -> None:
    for format in FORMATS.values():
        narrow = {name: round_to(array, format) for name, array in arguments(operation).items()}
        wide = {name: array.astype(np.float64) for name, array in narrow.items()}
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
    routed = operation.name == "maxout_backward"  # NaN goes to the first of each group, zero to the others
    assert np.isnan(result[:, ::2] if routed else result).all()


@pytest.mark.spec("GEN-C1")
@records
@pytest.mark.parametrize("wrong", ["integers", "list"])
def test_what_is_no_array_of_floats_is_an_error(operation: Operation, wrong: str) -> None:
    given = arguments(operation)
    first = operation.arrays[-1] if operation.concept == "activation" else "a"
    given[first] = given[first].astype(np.int64) if wrong == "integers" else given[first].tolist()
    with pytest.raises((TypeError, ValueError), match=r"^(GEMM|ACT)-C[0-9]: "):
        operation.reference(**given)


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
