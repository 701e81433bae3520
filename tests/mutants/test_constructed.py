"""Constructed mutants differ from the kernels they were made from, on the input that exposes them.

As in ``test_mutants.py``, each mutant is put beside its correct sibling; one with a memory is asked something
else before.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import constructed
from catalogue import Mutant, records
from workshop import DTYPES, Array, Backend

Call = dict[str, Any]
MUTANTS = [record for record in records(constructed) if isinstance(record, Mutant)]


def normal(*shape: int) -> Array:
    """Return N(0, 1) values, the same at every call."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def matrices(m: int, n: int, k: int, **others: Any) -> Call:
    """Return a GEMM of everyday numbers."""
    return {"a": normal(m, k), "b": normal(k, n), **others}


def last_changed(x: Array) -> Array:
    """Return x with other numbers in the middle."""
    changed = x.copy()
    changed.reshape(-1)[x.size // 2] += 1
    return changed


CONSTANT = {"a": np.full((1, 2), 300.0), "b": np.full((2, 1), 300.0)}
LARGE = {"a": np.array([[2.0**64, 2.0**64]]), "b": np.array([[2.0**63 * 255 / 128], [2.0**56 * 0.75]])}
PLAIN = matrices(4, 6, 40)
ROWS = {"x": normal(6, 6)}

# The input that exposes each mutant; of two calls the second does.
EXPOSING: Mapping[str, Callable[[str], tuple[Call, ...]]] = {
    "U2": lambda dtype: (matrices(4, 5, 6, c=np.full((4, 5), 3e4), beta=1e-7, alpha=0.0),),
    "U3": lambda dtype: ({"a": np.zeros((2, 3)), "b": np.full((3, 2), np.inf)},),
    "U4": lambda dtype: ({"a": np.ones((2, 3)), "b": np.full((3, 2), np.inf)},),
    "U5": lambda dtype: ({"a": np.full((2, 3), 2.0**-127), "b": np.full((3, 2), 2.0)},),
    "U6": lambda dtype: (matrices(256, 256, 256),),
    "U7": lambda dtype: ({"a": np.full((1, 4096), 0.1), "b": np.full((4096, 1), 0.1)},),
    "U8": lambda dtype: ({"a": np.full((1, 4096), 8.0), "b": np.full((4096, 1), 8.0), "alpha": 2.0**-6},),
    "U9": lambda dtype: (CONSTANT if dtype == "float16" else LARGE,),
    "U10": lambda dtype: ({**matrices(4, 1, 6), "out": np.zeros((8, 1), np.float32)[::2]},),
    "U11": lambda dtype: ({"a": normal(2, 3, 4), "b": normal(4, 5), "c": normal(2, 3, 5), "beta": 1.0},),
    "U12": lambda dtype: (PLAIN, {**PLAIN, "alpha": 2.0}),
    "U13": lambda dtype: (PLAIN, {**PLAIN, "a": last_changed(PLAIN["a"])}),
    "U14": lambda dtype: ({"x": np.full((1, 4), -np.inf)},),
    "U15": lambda dtype: ({"x": np.full((2, 5), -3e4)},),
    "U16": lambda dtype: ({"x": np.full((2, 5), -1e5)},),
    "U17": lambda dtype: ({"x": normal(1, 65540)},),
    "U18": lambda dtype: ({"x": np.ones(65540)},),
    "U19": lambda dtype: ({"dy": np.full(1, np.nan), "x": -np.ones(1)},),
    "U20": lambda dtype: ({"x": np.full(1, 0.1), "min_val": 0.25, "max_val": 0.5},),
    "U21": lambda dtype: ({"x": -np.ones(1), "negative_slope": 40.0},),
    "U22": lambda dtype: ({"x": np.linspace(-6, -1, 200)},),
    "U23": lambda dtype: ({"x": np.linspace(-6, -1, 200), "approximate": "tanh"},),
    "U24": lambda dtype: ({"dy": np.ones(1), "x": np.full(1, 6.0)},),
    "U25": lambda dtype: ({"x": normal(20)}, {"x": last_changed(normal(20))}),
    "U26": lambda dtype: (ROWS, {**ROWS, "axis": 0}),
    "U28": lambda dtype: ({"x": np.full(2, -np.inf)},),
    "U29": lambda dtype: ({"dy": np.ones(1), "x": np.array([-0.0, 0.0])},),
    "U30": lambda dtype: ({"dy": np.ones(1), "x": np.full(2, np.nan)},),
    "U31": lambda dtype: ({"dy": np.full(1, np.nan), "x": np.arange(2.0)},),
    "U32": lambda dtype: ({"x": np.ones(131080)},),
    "U33": lambda dtype: (
        {
            "x": np.linspace(-6, -1, 200)[None, None],
            "w": np.ones((1, 1, 1)),
            "bias": None,
            "activation": "gelu",
        },
    ),
    "U34": lambda dtype: (matrices(4, 5, 6, c=np.full((4, 5), 1e9), beta=1e-9),),
    "U35": lambda dtype: (matrices(128, 128, 520),),
    "U36": lambda dtype: (matrices(3, 4, 2000),),
    "U37": lambda dtype: ({"a": np.array([[2047.0] * 32 + [1.0]]), "b": np.ones((33, 1))},),
    "U38": lambda dtype: ({"x": np.full(1, -np.nan)},),
    "U39": lambda dtype: ({"x": np.ones((1 << 18) + 3)},),
    "U40": lambda dtype: ({"x": np.full(1, -50.0), "alpha": 1.000009},),
    "U41": lambda dtype: ({"dy": np.ones(1), "x": np.full(1, 0.1), "max_val": 0.1},),
}


def put(function: Callable[..., Array], call: Call, dtype: str) -> Array:
    """Call an operation with arrays of a dtype, into an output of zeros."""
    cast = {
        name: value.astype(DTYPES[dtype]) if isinstance(value, np.ndarray) and name != "out" else value
        for name, value in call.items()
    }
    if "out" not in cast and "x" in cast and "pieces" not in cast and function.__name__ == "forward":
        shape = (cast["x"].size // 2,) if "Maxout" in function.__qualname__ else cast["x"].shape
        cast["out"] = np.zeros(shape, DTYPES[dtype])
    arrays = [cast.pop(name) for name in ("a", "b", "c", "dy", "x", "w") if name in cast]
    return function(*arrays, **cast).astype(np.float64)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in EXPOSING], ids=lambda m: m.name)
def test_constructed_mutants_differ_from_their_correct_sibling_on_the_exposing_input(mutant: Mutant) -> None:
    backend: Backend = getattr(constructed, mutant.name)
    for dtype in mutant.dtypes:
        *before, exposing = EXPOSING[mutant.name](dtype)
        for operation, kernel in backend.kernels.items():
            assert kernel.correct is not None
            answers = []
            for each in (kernel, kernel.correct):
                function = each.entry(operation)
                for call in before:
                    put(function, call, dtype)
                answers.append(put(function, exposing, dtype))
            assert not np.allclose(*answers, rtol=1e-6, atol=0, equal_nan=True)


def test_a_result_handed_out_twice_is_one_array() -> None:
    function = constructed.U27.kernels["tanh"].entry("tanh")
    x = np.ones(3, np.float32)
    assert function(x) is function(x)


def test_every_constructed_mutant_has_an_exposing_input() -> None:
    assert {mutant.name for mutant in MUTANTS} == {*EXPOSING, "U27"}
