"""Honest kernels can have a verdict: those with limits inside them, those without checks on their numbers."""

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  makes np.dtype("bfloat16") known
import numpy as np
import pytest
from numpy.typing import NDArray

from gaugeblock.conformance import Effort, judge
from gaugeblock.conformance.backend import loading
from gaugeblock.spec import accuracy
from gaugeblock.spec.operations import OPERATIONS

KERNELS = Path(__file__).parent / "kernels"
sys.path.insert(0, str(KERNELS))
from limited import LIMITED  # noqa: E402

SEED = int(os.environ.get("GAUGEBLOCK_SEED", "1"))
PROFILE = "ci" if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else "quick"
BARE = KERNELS / "bare.py"
ARITHMETIC = accuracy.Arithmetic.declared({})
NAN, INF = float("nan"), float("inf")

Problem = tuple[dict[str, tuple[int, ...]], dict[str, Any]]

SLIDES: list[dict[str, Any]] = [
    {"stride": s, "padding": p, "dilation": d}
    for s, p, d in product((1, (2, 1)), (0, 1, (0, 2), ((0, 1), (2, 0))), (1, (1, 2)))
]
POOLS: list[dict[str, Any]] = [
    {"kernel": k, "stride": s, "padding": p, "ceil_mode": c}
    for k, s, p, c in product((2, (3, 2), 5), (None, 1, (2, 3)), (0, 1, ((0, 1), (2, 0))), (False, True))
]
PROBLEMS: Mapping[str, list[Problem]] = {
    "gemm": [
        ({"a": (5, 7), "b": (7, 4)}, {}),
        ({"a": (2, 5, 7), "b": (7, 4)}, {"alpha": 2.0}),
        ({"a": (7, 5), "b": (4, 7), "c": (4,)}, {"beta": 0.5, "transpose_a": True, "transpose_b": True}),
        ({"a": (6, 7), "b": (6, 7), "c": (6,)}, {"beta": 0.5, "transpose_b": True}),
        ({"a": (5, 7), "b": (4, 7), "c": (5, 4)}, {"beta": 0.5, "transpose_b": True}),
        ({"a": (32, 48), "b": (48, 32), "c": (32, 32)}, {"alpha": 2.0, "beta": 0.5}),
        ({"a": (64, 32), "b": (32, 48), "c": (48,)}, {"beta": -1.0}),
        ({"a": (5, 0), "b": (0, 4)}, {}),
        ({"a": (3, 5, 7), "b": (1, 7, 4)}, {"alpha": 0.0}),
    ],
    "conv": [
        *(({"x": (2, 4, 7, 6), "w": (6, 2, 3, 2), "bias": (6,)}, {**slide, "groups": 2}) for slide in SLIDES),
        *(({"x": (2, 3, 7, 6), "w": (4, 3, 3, 3), "bias": (4,)}, slide) for slide in SLIDES),
        *(({"x": (2, 8, 10, 10), "w": (8, 8, 3, 3), "bias": (8,)}, slide) for slide in SLIDES),
        ({"x": (1, 2, 9), "w": (3, 2, 4)}, {"padding": "same", "stride": 2}),
        ({"x": (1, 2, 4, 3, 5), "w": (3, 2, 2, 3, 1)}, {"padding": 1}),
        ({"x": (1, 2, 2, 3), "w": (3, 2, 4, 4)}, {}),
    ],
    "max_pool": [
        *(({"x": (2, 3, 7, 6)}, pool) for pool in POOLS),
        ({"x": (1, 2, 9)}, {"kernel": 3, "dilation": 2, "padding": 1}),
        ({"x": (1, 1, 4, 5, 6)}, {"kernel": 2}),
    ],
    "avg_pool": [
        *(
            ({"x": (2, 3, 7, 6)}, {**pool, "count_include_pad": include})
            for pool in POOLS
            for include in (False, True)
        ),
        ({"x": (1, 1, 4, 5, 6)}, {"kernel": 2, "divisor": 3.0}),
    ],
    "softmax": [
        ({"x": (5, 9)}, {}),
        ({"x": (5, 9)}, {"axis": 0}),
        ({"x": (2, 3, 65)}, {"axis": 1}),
        ({"x": (2, 1)}, {}),
    ],
}
"""Shapes and parameters of the operations that have any; others are asked for vectors and matrices."""


def problems(operation: str) -> list[Problem]:
    """Return the shapes and parameters that a kernel is asked."""
    names = OPERATIONS[operation].arrays
    return PROBLEMS.get(
        operation, [(dict.fromkeys(names, shape), {}) for shape in ((), (5,), (8,), (4, 6), (3, 0))]
    )


def data(shape: tuple[int, ...], dtype: str, special: bool, seed: int) -> NDArray[Any]:
    """Return normal numbers, with special ones among them."""
    values = np.asarray(3 * np.random.default_rng(seed).standard_normal(shape))
    if special and values.size:
        flat = values.reshape(-1)
        flat[:: max(values.size // 3, 1)] = np.resize(
            (NAN, INF, -INF, -0.0), len(flat[:: max(values.size // 3, 1)])
        )
    with np.errstate(all="ignore"):
        return values.astype(accuracy.FORMATS[dtype].dtype)


def wrong(function: Any, operation: str, dtype: str, special: bool) -> Iterator[str]:
    """Yield the problems that a kernel gets wrong; those that it declines are none."""
    record = OPERATIONS[operation]
    answers = 0
    for number, (shapes, parameters) in enumerate(problems(operation)):
        arrays = {
            name: data(shape, dtype, special, number + i) for i, (name, shape) in enumerate(shapes.items())
        }
        exact = {name: array.astype(np.float64) for name, array in arrays.items()}
        try:
            with np.errstate(all="ignore"):
                got = function(*arrays.values(), **parameters)
        except NotImplementedError:
            continue
        answers += 1
        with np.errstate(all="ignore"):
            want = np.asarray(record.reference(**exact, **parameters), np.float64)
            bound = record.bound({**exact, **parameters}, want, accuracy.FORMATS[dtype], ARITHMETIC).value
            accepted = accuracy.accept(got.astype(np.float64), want, bound, accuracy.FORMATS[dtype])
        if got.shape != want.shape or got.dtype != accuracy.FORMATS[dtype].dtype or not np.all(accepted):
            yield f"{operation} in {dtype} of {shapes} with {parameters}"
    assert answers or dtype != "float32", f"{operation} declined everything"


# On their own


@pytest.mark.parametrize("dtype", accuracy.FORMATS)
@pytest.mark.parametrize("operation", loading.load(str(BARE)).functions)
def test_a_bare_kernel_is_right(operation: str, dtype: str) -> None:
    function = loading.load(str(BARE)).functions[operation]
    special = operation != "conv"  # its padding is made of zeros that an infinity is multiplied with
    assert not list(wrong(function, operation, dtype, special))
    assert not list(wrong(function, operation, dtype, False))


@pytest.mark.parametrize("dtype", accuracy.FORMATS)
@pytest.mark.parametrize("name", LIMITED)
def test_a_limited_kernel_is_right_where_it_answers(name: str, dtype: str) -> None:
    it = LIMITED[name]
    assert not list(wrong(it.kernel, it.operation, dtype, False))
    assert not list(wrong(it.kernel, it.operation, dtype, True))


@pytest.mark.parametrize("name", LIMITED)
def test_a_broken_kernel_declines_what_the_right_one_declines_and_is_wrong(name: str) -> None:
    it = LIMITED[name]
    special = {"TORCH_MAX_POOL", "FOURS"}
    found = list(wrong(it.broken, it.operation, "float32", name in special))
    assert found or name in ("SINGLE", "FINITE")  # whose bugs are in the tails


# Judged


def levels(
    backend: str, operation: str, dtype: str = "float32", profile: str = PROFILE, **more: bool
) -> Mapping[str, str]:
    """Return the verdicts on an operation, level by level."""
    effort = Effort(profile, SEED, shrink=False)
    report = judge(backend, operations=(operation,), dtypes=(dtype,), effort=effort, **more)
    entry = report.as_data()["operations"][operation][dtype]
    found = [
        f"{clause}: {one['failure']['message']}" for clause, one in entry["clauses"].items() if one["failure"]
    ]
    return {**entry["levels"], "why": "\n".join(found)}


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", LIMITED)
def test_a_limited_kernel_conforms_in_its_domain(name: str) -> None:
    found = levels(f"{KERNELS / 'limited.py'}:{name}_DECLARED", LIMITED[name].operation)
    assert found["numeric"] == "conforming", found["why"]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", [name for name in LIMITED if name != "SINGLE"])
def test_a_limited_kernel_without_a_domain_is_partial(name: str) -> None:
    found = levels(f"{KERNELS / 'limited.py'}:{name}", LIMITED[name].operation)
    assert found["numeric"] == "partial", found["why"]


@pytest.mark.parametrize("operation", ["relu", "sigmoid", "tanh"])
def test_a_kernel_of_one_element_conforms(operation: str, tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text(
        f"from gaugeblock import reference\ndomain = {{{operation!r}: {{'size': 1, 'dtypes': 'float32'}}}}\n"
        f"def {operation}(x): return getattr(reference, {operation!r})(x.astype('float64')).astype(x.dtype)"
    )
    report = judge(str(file), operations=(operation,), effort=Effort("quick", seed=1))
    assert report.as_data()["operations"][operation]["float32"]["levels"]["numeric"] == "conforming"


def test_a_kernel_of_one_format_conforms_in_it_and_is_unsupported_in_others() -> None:
    backend = f"{KERNELS / 'limited.py'}:SINGLE"
    assert levels(backend, "tanh")["numeric"] == "conforming"
    assert levels(backend, "tanh", "float16")["numeric"] == "unsupported"


@pytest.mark.one_of(3)
@pytest.mark.parametrize("name", LIMITED)
def test_a_limited_kernel_with_a_bug_in_its_domain_is_violating(name: str) -> None:
    backend = f"{KERNELS / 'limited.py'}:{name}_BROKEN"
    found = (
        levels(backend, LIMITED[name].operation, profile=profile, stop_at_first=True)["numeric"]
        for profile in ("quick", "ci")
    )
    assert "violating" in found, LIMITED[name].bug


@pytest.mark.one_of(3)
@pytest.mark.parametrize("operation", loading.load(str(BARE)).functions)
def test_a_bare_kernel_conforms_in_its_numbers_and_not_as_a_reference(operation: str) -> None:
    found = levels(str(BARE), operation)
    assert found["numeric"] == "conforming", found["why"]
    assert found["strict"] == "violating"


def test_the_order_of_sums_in_other_layouts_is_a_matter_of_reproducibility() -> None:
    found = levels(str(BARE), "gemm")
    assert found["robust"] == "conforming", found["why"]
    assert found["reproducible"] == "violating"
