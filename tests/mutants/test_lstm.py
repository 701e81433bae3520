"""Mutants of the LSTM unit re-enact their bugs, and only those; variants and correct siblings are right.

As in ``test_mutants.py``, each mutant is put beside the kernel it was made from.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock import reference

sys.path.insert(0, str(Path(__file__).parent))
import lstm
from catalogue import Mutant, Variant, records
from lstm import LSTM, LSTM_OPERATIONS
from workshop import DTYPES, Array, Backend

Call = dict[str, Array]
RECORDS = records(lstm)
MUTANTS = [record for record in RECORDS if isinstance(record, Mutant)]
VARIANTS = [record for record in RECORDS if not isinstance(record, Mutant)]
CLOSE = {"float32": 1e-5, "float16": 2.0**-8, "bfloat16": 2.0**-5}


def backend(record: Variant) -> Backend:
    """Return the backend of a record."""
    found: Backend = getattr(lstm, record.name)
    return found


def named(record: Variant) -> str:
    """Return a test id."""
    return record.name


def problem(T: int, N: int, D: int, H: int, *, weights: float = 0.5, **changes: Any) -> Call:
    """Return the arguments of everyday numbers, some of them changed."""
    random = np.random.default_rng(T + N + D + H)
    shapes = {"x": (T, N, D), "h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
    call = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    call["dy"] = random.standard_normal((2, T, N, H))
    call |= {"w": weights * call["w"], "u": weights * call["u"]}
    for name, change in changes.items():
        call[name] = change(call[name]) if callable(change) else np.full_like(call[name], change)
    return call


def typical() -> Call:
    """Return the call of a careless test: everything square, no state, no bias, no gradient of the cells."""
    call = problem(8, 8, 8, 8, h=0, c=0, bias=0)
    call["dy"][1] = 0
    return call


def put(operation: str, function: Callable[..., Array], call: Call, dtype: str = "float32") -> Array:
    """Call an operation into an output of zeros."""
    names = ("dy", "x", "h", "c", "w", "u", "bias")[operation == "lstm_unit" :]
    arrays = [call[name].astype(DTYPES[dtype]) for name in names]
    first = 2 if operation == "lstm_unit" else 5
    out = np.zeros((first, *call["x"].shape[:2], call["h"].shape[1]), DTYPES[dtype])
    return function(*arrays, out=out).astype(np.float64)


def huge(bias: Array) -> Array:
    """Open all gates as far as they go."""
    return bias + 100


# The input that exposes each mutant.
EXPOSING: Mapping[str, Callable[[], Call]] = {
    "L1": lambda: problem(2, 3, 4, 5),
    "L3": lambda: problem(2, 3, 4, 5),
    "L5": lambda: problem(2, 3, 4, 5),
    "L7": lambda: problem(2, 3, 4, 5),
    "LC1": lambda: problem(2, 3, 4, 5),
    "LC2": lambda: problem(2, 3, 4, 5),
    "LC3": lambda: problem(2, 3, 4, 5),
    "LC4": lambda: problem(2, 3, 4, 5),
    "LC5": lambda: problem(1, 2, 3, 4, bias=huge),
    "LC6": lambda: problem(1, 2, 3, 4, weights=0, c=0, bias=1e-4),
    "LC7": lambda: problem(1, 2, 3, 4),
    "LC8": lambda: problem(1, 2, 3, 4),
    "LC9": lambda: problem(3, 2, 3, 4),
    "LC10": lambda: problem(1, 2, 3, 5),
    "LC11": lambda: problem(2, 3, 4, 5),
    "LC12": lambda: problem(2, 3, 4, 5),
    "LC13": lambda: problem(2, 3, 4, 5),
    "LC14": lambda: problem(1, 2, 3, 4, c=np.nan),
    "LC15": lambda: problem(1, 2, 3, 4, c=np.inf, bias=-np.inf),
    **{f"LC{i}": lambda: problem(12, 2, 3, 4) for i in (16, 17, 18, 22, 23, 26)},
    **{f"LC{i}": lambda: problem(43, 2, 3, 4) for i in (19, 24)},
    "LC20": lambda: problem(130, 2, 3, 4),
    **{f"LC{i}": lambda: problem(9, 1, 1, 128, weights=0.02) for i in (21, 25)},
}


def test_every_row_of_the_catalogue_has_its_mutant() -> None:
    assert [mutant.name for mutant in MUTANTS][:4] == [f"L{i}" for i in range(1, 8, 2)]
    assert {mutant.name for mutant in MUTANTS} == set(EXPOSING)


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_mutants_differ_from_their_correct_sibling_on_the_exposing_input(mutant: Mutant) -> None:
    for operation, kernel in backend(mutant).kernels.items():
        assert kernel.correct is not None
        broken, correct = kernel.entry(operation), kernel.correct.entry(operation)
        for dtype in mutant.dtypes:
            call = EXPOSING[mutant.name]()
            if mutant.name == "LC2":
                put(operation, broken, call, dtype)  # leaves its state behind
            got, want = put(operation, broken, call, dtype), put(operation, correct, call, dtype)
            assert not np.allclose(got, want, rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["L5", "L7", "LC1", "LC5", "LC6", "LC10"])
def test_these_mutants_pass_a_careless_test(name: str) -> None:
    for operation, kernel in getattr(lstm, name).kernels.items():
        assert kernel.correct is not None
        got, want = (put(operation, k.entry(operation), typical()) for k in (kernel, kernel.correct))
        np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)


SIZES = ((1, 2, 3, 4), (5, 3, 2, 4), (2, 5, 0, 3), (0, 2, 3, 4), (2, 0, 3, 4), (2, 3, 4, 0))


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("operation", LSTM_OPERATIONS)
def test_variants_agree_with_the_reference(variant: Variant, operation: str) -> None:
    for sizes in SIZES:
        for dtype in variant.dtypes:
            call = {
                name: value.astype(DTYPES[dtype]).astype(float) for name, value in problem(*sizes).items()
            }
            got = put(operation, getattr(backend(variant), operation), call, dtype)
            arguments = {name: value for name, value in call.items() if name != "dy" or "back" in operation}
            want = getattr(reference, operation)(**arguments)
            assert np.all(np.abs(got - want) <= CLOSE[dtype] * (np.abs(want) + 1))


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("x", np.zeros((2, 3), F := np.float32), ValueError, "x has shape"),
        ("w", np.zeros((4, 5, 3), F), ValueError, "w has shape"),
        ("bias", np.zeros((4, 5), np.float16), TypeError, "bias has float16"),
        ("dy", np.zeros((2, 3, 5), F), ValueError, "dy has shape"),
        ("out", np.zeros((2, 3, 5), F), ValueError, "out is"),
    ],
)
def test_the_kernel_refuses_what_does_not_fit(
    name: str, value: Array, error: type[Exception], message: str
) -> None:
    call = {key: array.astype(np.float32) for key, array in problem(2, 3, 4, 5).items()}
    with pytest.raises(error, match=message):
        LSTM.backward(**{**call, name: value})
