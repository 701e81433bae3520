"""The records of the operations agree with the pages and with the reference."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

from gaugeblock import reference
from gaugeblock.spec import OPERATIONS, Operation, clause, load
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.convolution import CONVOLUTION
from gaugeblock.spec.formulas import FORMULAS
from gaugeblock.spec.pooling import POOLING
from gaugeblock.spec.record import GENERAL, REQUIRED

EVERYWHERE = {"semantics", "accuracy", "special_values", "empty", *(set(GENERAL) - {"strides"})}
ROLES = {
    "contraction": {
        *("exact", "statistics", "batch", "transpose", "linearity", "partition", "adjointness"),
        *("unread", "scale", "long_sum", "real_data", "aliasing"),
    },
    "elementwise": {"sweep", "statistics", "monotonicity", "symmetry", "aliasing", "tail"},
    "rowwise": {
        *("shift", "row_sum", "permutation", "long_row", "exact", "statistics", "real_data", "aliasing"),
    },
    "selection": {"selection", "ties"},
    "convolution": {
        *(
            "exact",
            "statistics",
            "long_sum",
            "real_data",
            "translation",
            "groups",
            "permutation",
            "pointwise",
        ),
        *("identity", "adjointness", "linearity", "channels_last", "shapes"),
    },
    "pooling": {
        *("exact", "long_sum", "real_data", "shapes", "channels_last", "permutation", "window", "routing"),
        *("ties", "translation", "adjointness", "statistics"),
    },
    "recurrence": {
        "gates",
        "sizes",
        "state",
        "long_sequence",
        "exact",
        "split",
        "permutation",
        "adjointness",
    },
}
# Bounds that a declaration selects, and what only the reference offers: no check is named after them.
NOT_ASKED = {"CONV-A6", "CONV-A7", "CONV-S9", "CONV-S10", "POOL-S8", "POOL-S9", "POOL-S10"}
NOT_ASKED |= {"UNIT-C5", "UNIT-C6", "UNIT-C7", "UNIT-S6", "UNIT-I4"}
NOT_ASKED |= {"CONV-C7", "CONV-S11", "CONV-S12", "CONV-S13", "CONV-A9", "CONV-I8"}
NOT_ASKED |= {"POOL-S11", "POOL-S12", "ACT-S31", "ACT-S32"}
# What the reference can do beyond what devices are asked for.
REFERENCE_ALONE = {"conv": ["algorithm"], "avg_pool": ["dilation"], "avg_pool_backward": ["dilation"]}

RECORDS = {record.name: record for record in (*OPERATIONS.values(), *CONVOLUTION, *POOLING)}
records = pytest.mark.parametrize("operation", RECORDS.values(), ids=RECORDS)


def arguments(operation: Operation, **parameters: Any) -> dict[str, Any]:
    """Draw small legal arguments."""
    random = np.random.default_rng(5)
    if operation.kind == "contraction":
        return {"a": random.normal(size=(2, 3, 4)), "b": random.normal(size=(4, 5))} | parameters
    if operation.kind in ("convolution", "pooling"):
        return sliding(operation, **parameters)
    if operation.kind == "recurrence":
        return recurrent(operation)
    x = random.normal(size=(60, 60))  # 60 is a multiple of every number of pieces that is tried
    if not operation.backward:
        return {"x": x} | parameters
    forward = OPERATIONS[operation.name.removesuffix("_backward")]
    return {"dy": random.normal(size=forward.shape({"x": x.shape}, parameters)), "x": x} | parameters


def sliding(operation: Operation, **parameters: Any) -> dict[str, Any]:
    """Draw small legal arguments of a convolution or a pooling; 12 channels fit every number of groups."""
    random = np.random.default_rng(6)
    x = random.normal(size=(2, 12, 9, 11))
    w = random.normal(size=(12, 12 // parameters.get("groups", 1), 3, 3))
    if operation.kind == "pooling":
        parameters = {"kernel": 2} | parameters
    given: dict[str, Any] = {"x": x, "w": w}
    name = operation.name.removesuffix("_input").removesuffix("_weight").removesuffix("_bias")
    if operation.backward:
        forward = RECORDS[name.removesuffix("_backward").replace("max_pool", "max_pool_indices")]
        shapes = {"x": x.shape, "w": w.shape}
        given["dy"] = random.normal(size=forward.shape(shapes, parameters))
    if operation.name == "conv_fused":
        given["bias"] = np.ones(12)
    stated = {"input_shape": x.shape, "kernel_shape": w.shape}
    given = {array: given[array] for array in operation.arrays if array in given}
    return given | {name: stated[name] for name in stated if name in operation.parameters} | parameters


def recurrent(operation: Operation, T: int = 3) -> dict[str, Any]:
    """Draw small legal arguments of an LSTM unit, of two examples, four inputs and five units."""
    random = np.random.default_rng(7)
    shapes = {"dy": (2, T, 2, 5), "x": (T, 2, 4), "h": (2, 5), "c": (2, 5)}
    shapes |= {"w": (4, 5, 4), "u": (4, 5, 5), "bias": (4, 5)}
    return {name: random.normal(size=shapes[name]) for name in operation.arrays}


def test_each_function_is_followed_by_its_gradient_and_gemm_comes_first() -> None:
    names = list(OPERATIONS)
    assert names[0] == "gemm"
    activations = [name for name, record in OPERATIONS.items() if record.concept == "activation"]
    assert activations[1::2] == [f"{name}_backward" for name in activations[::2]]
    assert set(names) <= set(reference.__all__)  # which also has what no device is asked for


@records
def test_a_record_has_the_signature_of_the_reference(operation: Operation) -> None:
    signature = inspect.signature(operation.reference)
    assert tuple(signature.parameters)[: len(operation.arrays)] == operation.arrays
    keywords = {name: p.default for name, p in signature.parameters.items() if p.kind == p.KEYWORD_ONLY}
    for name in REFERENCE_ALONE.get(operation.name, ()):
        del keywords[name]
    assert keywords == {name: p.default for name, p in operation.parameters.items()}
    optional = {name for name in operation.arrays if signature.parameters[name].default is None}
    assert optional == operation.optional


@records
def test_every_check_of_an_operation_has_a_clause_of_its_own(operation: Operation) -> None:
    used = [*operation.clauses.values(), *operation.constraints]
    assert len(set(used)) == len(used)
    for id in used:
        clause(id)
    assert set(operation.clauses) >= EVERYWHERE
    # The order of a convolution's sums may depend on how its arrays lie: GEN-S2 says so.
    assert ("strides" in operation.clauses) == (operation.kind not in ("convolution", "pooling"))
    assert set(operation.clauses) - EVERYWHERE - {"strides"} <= ROLES[operation.kind]
    assert all(re.fullmatch(r"[A-Z]+-C[0-9]+", id) for id in operation.constraints)
    assert ("monotonicity" in operation.clauses) == (operation.monotone is not None)
    assert ("symmetry" in operation.clauses) == (operation.symmetry is not None)


def test_every_requirement_of_a_concept_with_operations_is_checked_on_one_of_them() -> None:
    used = {id for record in RECORDS.values() for id in [*record.clauses.values(), *record.constraints]}
    used = {id for id in used if not id.startswith("GEN-")}
    prefixes = {id.partition("-")[0] for id in used}  # the other concepts are the reference's alone
    demanded = {id for id in load() if id.partition("-")[0] in prefixes and "-D" not in id}
    assert demanded - NOT_ASKED == used


@records
def test_the_semantics_clause_is_titled_with_the_operation(operation: Operation) -> None:
    title = clause(operation.clauses["semantics"]).title
    assert title == ("Result" if operation.name == "gemm" else operation.name)


@records
def test_the_shape_rule_is_that_of_the_reference(operation: Operation) -> None:
    given = arguments(operation)
    shapes = {name: given[name].shape for name in operation.arrays if name in given}
    stated = {name: given[name] for name in operation.parameters if name in given}
    assert operation.shape(shapes, stated) == operation.reference(**given).shape


@pytest.mark.spec("GEMM-D1")
@pytest.mark.spec("ACT-D3")
def test_the_shape_and_the_reduction_follow_the_parameters() -> None:
    gemm, maxout, softmax = (OPERATIONS[name] for name in ("gemm", "maxout", "softmax"))
    shapes = {"a": (7, 4, 3), "b": (5, 4)}
    flags = {"transpose_a": True, "transpose_b": True}
    assert gemm.shape(shapes, flags) == (7, 3, 5)
    assert gemm.reduction(shapes, flags) == 4
    assert maxout.shape({"x": (6, 2)}, {"pieces": 3, "axis": 0}) == (2, 2)
    assert maxout.reduction({"x": (6, 2)}, {}) is None
    assert softmax.reduction({"x": (6, 2)}, {"axis": 0}) == 6


@records
def test_legal_parameters_are_accepted_and_illegal_ones_refused_with_their_clause(
    operation: Operation,
) -> None:
    for name, parameter in operation.parameters.items():
        assert parameter.default in parameter.legal or parameter.default is REQUIRED
        for value in parameter.legal:
            given = arguments(operation, **{name: value} if not name.startswith("transpose") else {})
            if given.get("beta"):
                given["c"] = np.ones(5)
            operation.reference(**given)
    for id, parameters in operation.bad_parameters():
        assert id in operation.constraints
        legal = arguments(operation)
        with pytest.raises((TypeError, ValueError), match=f"^{id}: "):
            operation.reference(**legal | dict(parameters))


@records
def test_a_bound_has_the_shape_of_the_result_and_names_its_terms(operation: Operation) -> None:
    given = arguments(operation)
    want = operation.reference(**given)
    for format in FORMATS.values():
        bound = operation.bound(given, want, format, Arithmetic())
        assert bound.value.shape == want.shape
        assert (bound.value == sum(bound.terms.values())).all()
        assert (bound.value >= 0).all()
    computed = operation.kind in ("contraction", "convolution", "recurrence") or "pool" in operation.name
    exact = operation.name in ("max_pool", "max_pool_indices") or not (computed or operation.name in FORMULAS)
    assert exact == (bound.terms.keys() == {"exact"})


@records
def test_an_empty_result_has_an_empty_bound(operation: Operation) -> None:
    if operation.kind == "contraction":
        given = {"a": np.ones((0, 3)), "b": np.ones((3, 2))}
    elif operation.kind in ("convolution", "pooling"):
        given = {name: v[:0] if name in ("x", "dy") else v for name, v in sliding(operation).items()}
        given |= {"input_shape": (0, 12, 9, 11)} if "input_shape" in given else {}
    elif operation.kind == "recurrence":
        given = recurrent(operation, T=0)
    else:
        given = {name: np.ones((3, 0)) for name in operation.arrays}
    want = operation.reference(**given)
    assert operation.bound(given, want, FORMATS["float32"], Arithmetic()).value.shape == want.shape


@pytest.mark.spec("ACT-I2")
@pytest.mark.spec("ACT-I3")
@records
def test_the_sign_of_zero_and_the_symmetry_hold_in_the_reference(operation: Operation) -> None:
    if operation.kind != "elementwise":
        return
    x = np.concatenate([np.linspace(0.01, 9, 400), [1e-12, 40.0]])
    rest = {"dy": np.ones_like(x)} if operation.backward else {}
    if operation.signed_zero:
        assert np.signbit(operation.reference(np.array([-0.0, 0.0]))).tolist() == [True, False]
    if operation.symmetry is not None:
        right, left = (operation.reference(**rest, x=sign * x) for sign in (1, -1))
        combined = right + left if operation.symmetry.combine == "sum" else right - left
        target = {"x": x, "one": 1.0, "zero": 0.0}[operation.symmetry.equals]
        assert (np.abs(combined - target) <= 1e-15 * (np.abs(right) + np.abs(left))).all()
    if operation.monotone:
        assert (np.diff(operation.reference(np.sort(np.concatenate([x, -x])))) >= 0).all()


@pytest.mark.spec("GEMM-D2")
def test_only_a_contraction_has_an_operator_on_absolute_inputs() -> None:
    gemm = OPERATIONS["gemm"]
    given = arguments(gemm, alpha=-2.0, beta=-0.5, c=np.full(5, -3.0))
    want = 2 * np.abs(given["a"]) @ np.abs(given["b"]) + 1.5
    assert np.allclose(gemm.absolute(given), want, rtol=1e-14, atol=0)
    with pytest.raises(ValueError, match="relu is no contraction"):
        OPERATIONS["relu"].absolute({"x": np.ones(2)})
