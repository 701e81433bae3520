"""Mutants re-enact their bugs, and only those; variants and correct siblings are right.

Here each mutant is put beside the kernel it was made from. That the conformance suite tells all of them apart
is the claim of ``test_verdicts.py``.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock.gpu.simulator.errors import Fault
from gaugeblock.reference import activation as reference_activation
from gaugeblock.reference.gemm import gemm as reference_gemm

sys.path.insert(0, str(Path(__file__).parent))
import elementwise
import gemm
import race
import softmax
from catalogue import Mutant, Variant, records
from workshop import DTYPES, Array, Backend

RECORDS = records(gemm, softmax, race, elementwise)  # the other families have test files of their own
MUTANTS = [record for record in RECORDS if isinstance(record, Mutant)]
VARIANTS = [record for record in RECORDS if not isinstance(record, Mutant)]
Arguments = dict[str, Any]
POISON = 123.0


def backend(record: Variant) -> Backend:
    """Return the backend of a record."""
    module = {"gemm": gemm, "softmax": softmax, "race": race, "elementwise": elementwise}[record.file.stem]
    found: Backend = getattr(module, record.name)
    return found


def normal(*shape: int) -> Array:
    """Return N(0, 1) values, the same at every call."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def matrices(m: int, n: int, k: int, **others: Any) -> Arguments:
    """Return a GEMM of everyday numbers."""
    return {"a": normal(m, k), "b": normal(k, n), **others}


def typical(operation: str) -> Arguments:
    """Return the one call that most checkers make: fresh N(0, 1) data, every size a multiple of 32."""
    if operation == "gemm":
        return matrices(64, 96, 128)
    x = normal(64, 128)
    return {"dy": x[::-1].copy(), "x": x} if operation.endswith("_backward") else {"x": x}


def late_maximum() -> Array:
    """Return rows whose maximum lies in a late warp and 100 above the rest."""
    x = np.zeros((2, 2048))
    x[:, -1] = 100
    return x


def half_rows(d: int) -> Mapping[str, Array]:
    """Return the two halves of rows of length 2·d."""
    rows = normal(4, 2 * d).astype(np.float16)
    return {"dy": rows[:, :d], "x": rows[:, d:]}


# The input that exposes each mutant, as the catalogue gives it. A value of None stands for two calls.
EXPOSING: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "G1": lambda: matrices(4, 5, 6, c=np.full((4, 5), np.nan)),
    "G3": lambda: matrices(4, 5, 6, c=normal(4, 5), alpha=2.0, beta=0.5),
    "G5": lambda: matrices(8, 8, 8, c=normal(8), beta=1.0),
    "G7": lambda: matrices(4, 5, 6, c=normal(4, 5), beta=1.0),
    "G9": lambda: matrices(4, 5, 0),
    "G11": lambda: matrices(4, 5, 0, c=normal(4, 1), beta=1.0),
    "G13": lambda: matrices(4, 5, 200),
    "G15": lambda: matrices(4, 5, 32767),
    "G17": lambda: {**matrices(4, 5, 6), "out": np.full((4, 10), POISON, np.float32)[:, 1:6]},
    "G19": lambda: {"a": normal(4, 6), "b": normal(7, 6), "transpose_b": True},
    "G21": lambda: matrices(1, gemm.GRID_Y * gemm.TILE_N + 1, 1),
    "G23": lambda: {"a": normal(3, 4, 6), "b": normal(6, 5), "c": normal(3, 4, 5), "alpha": 0.0, "beta": 0.5},
    "G25": lambda: {"a": np.ones((4, 4096), np.float16), "b": np.ones((4096, 5), np.float16)},
    "G27": lambda: {
        "a": np.full((2, 1), 257.0 / 256, np.float16),
        "b": np.full((1, 2), 257.0 / 256, np.float16),
        "c": np.full(2, -1.0, np.float16),
        "beta": 1.0,
    },
    "G29": lambda: {"a": np.full((2, 3), 2.0**-20, np.float16), "b": np.full((3, 2), 2.0**10, np.float16)},
    "G31": lambda: matrices(3, 5, 7),
    "G33": lambda: matrices(4, 5, 33),
    "U1": lambda: matrices(4, 5, 6),
    "S1": lambda: {"x": np.repeat([[-np.inf, 1.0]], 64, axis=1)},
    "S3": lambda: {"x": np.full((2, 5), -120.0)},
    "S5": lambda: {"x": late_maximum()},
    "S7": lambda: {"x": normal(2, 257)},
    "S11": lambda: {"x": np.zeros((1, 4096), np.float16)},
    "S13": lambda: {"dy": np.broadcast_to(np.float32(1), (4, 5)), "x": normal(4, 5)},
    "S15": lambda: {"x": normal(2, 40)},
    "S17": lambda: {"x": np.full((1, 4), 90.0)},
    "X1": lambda: {"x": np.array([np.nan])},
    "X3": lambda: {"dy": np.ones(1), "x": np.array([np.nan])},
    "X5": lambda: {"x": np.array([12.0]), "approximate": "tanh"},
    "X7": lambda: {"x": np.linspace(-12, -4, 9), "approximate": "tanh"},
    "X9": lambda: {"dy": np.ones(1), "x": np.array([-90.0])},
    "X11": lambda: {"x": np.array([30.0, -np.inf])},
    "X13": lambda: {"x": np.array([-1e-8])},
    "X15": lambda: {"x": np.arange(1.0, 10.0)},
    "X17": lambda: half_rows(3420),
}
# These break on everyday data too, by the catalogue's own account.
COARSE = {
    "G25": "at K = 128 a few per cent of the elements",
    "G31": "a cold cache is wrong at once",
    "S15": "single-tile rows suffice",
    "U1": "at K = 128 a few elements",
}


# S9 runs on the simulated device, where its bug is a fault and no wrong number.
ON_THE_HOST = [mutant for mutant in MUTANTS if mutant.file.stem != "race"]


def put(function: Callable[..., Array], arguments: Mapping[str, Any], dtype: str = "float32") -> Array:
    """Call an operation on poisoned memory; float64 arrays are cast to ``dtype``, others stay."""
    cast = {
        name: value.astype(DTYPES[dtype])
        if isinstance(value, np.ndarray) and value.dtype == np.float64
        else value
        for name, value in arguments.items()
    }
    if "out" not in cast:
        shape = cast["x"].shape if "x" in cast else product_shape(cast)
        cast["out"] = np.full(shape, POISON).astype(cast["x" if "x" in cast else "a"].dtype)
    out: Array = cast["out"]
    function(**cast)
    return out.astype(np.float64)


def product_shape(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of GEMM's result."""
    a, b = arguments["a"], arguments["b"]
    a = a.swapaxes(-1, -2) if arguments.get("transpose_a") else a
    b = b.swapaxes(-1, -2) if arguments.get("transpose_b") else b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (*batch, a.shape[-2], b.shape[-1])


def named(record: Variant) -> str:
    """Return a test id."""
    return record.name


def siblings(mutant: Mutant) -> list[tuple[str, Callable[..., Array], Callable[..., Array]]]:
    """Return (operation, broken function, correct function) for every operation of a mutant."""
    found = []
    for operation, kernel in backend(mutant).kernels.items():
        assert kernel.correct is not None
        found.append((operation, kernel.entry(operation), kernel.correct.entry(operation)))
    return found


def test_every_row_of_the_catalogue_has_its_mutant() -> None:
    rows = [f"G{i}" for i in range(1, 34, 2)] + [f"S{i}" for i in range(1, 18, 2)]
    rows += [f"X{i}" for i in range(1, 18, 2)]
    assert {mutant.name for mutant in MUTANTS} >= set(rows)


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_mutants_name_the_thread_that_reports_their_bug(mutant: Mutant) -> None:
    assert mutant.source
    assert all("/" in source and source.partition("#")[2].isdigit() for source in mutant.source)


@pytest.mark.parametrize("mutant", ON_THE_HOST, ids=named)
def test_mutants_differ_from_their_correct_sibling_on_the_exposing_input(mutant: Mutant) -> None:
    arguments = EXPOSING[mutant.name]()
    for operation, broken, correct in siblings(mutant):
        if mutant.name == "G33":
            put(broken, matrices(4, 5, 64))  # the aligned call that leaves its configuration behind
        call = (
            {"dy": normal(*arguments["x"].shape), **arguments}
            if operation.endswith("backward")
            else arguments
        )
        got = put(broken, call)
        if "out" in call:
            call = EXPOSING[mutant.name]()  # fresh memory
        want = put(correct, call)
        assert not np.allclose(got, want, rtol=1e-5, atol=0, equal_nan=True)


@pytest.mark.parametrize("mutant", [m for m in ON_THE_HOST if m.name not in COARSE], ids=named)
def test_mutants_pass_the_check_that_most_projects_make(mutant: Mutant) -> None:
    for operation, broken, correct in siblings(mutant):
        for dtype in mutant.dtypes:
            call = typical(operation)
            np.testing.assert_allclose(
                put(broken, call, dtype), put(correct, call, dtype), rtol=1e-2, atol=1e-2
            )


def oracle(operation: str) -> Callable[..., Array]:
    """Return the reference of an operation."""
    found: Callable[..., Array] = (
        reference_gemm if operation == "gemm" else getattr(reference_activation, operation)
    )
    return found


#: A few roundings of fp32, or one of the narrow type; and what declarations allow.
CLOSE = {"float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
DECLARED = {"TF32": 2e-2, "MULTIPLY_BFLOAT16": 1e-1, "MULTIPLY_FLOAT16": 2e-2, "HALF_ACCUMULATOR": 5e-2}


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.file.stem != "race"], ids=named)
def test_variants_agree_with_the_reference_on_everyday_numbers(variant: Variant) -> None:
    for operation in variant.operations:
        for dtype in variant.dtypes:
            call = typical(operation)
            arguments = {name: value.astype(DTYPES[dtype]) for name, value in call.items()}
            want = oracle(operation)(**{name: value.astype(np.float64) for name, value in arguments.items()})
            got = put(getattr(backend(variant), operation), arguments, dtype)
            tolerance = DECLARED.get(variant.name, CLOSE[dtype])
            scale = np.abs(want) + (np.sqrt(128.0) if operation == "gemm" else 0.1)
            assert np.all(np.abs(got - want) <= tolerance * scale)


SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 88.5, -88.5, 300.0, -300.0]
)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.file.stem == "elementwise"], ids=named)
def test_variants_of_the_activations_agree_with_the_reference_on_special_values(variant: Variant) -> None:
    for operation in variant.operations:
        arrays = [np.ones_like(SPECIAL), SPECIAL] if operation.endswith("_backward") else [SPECIAL]
        want = oracle(operation)(*arrays)
        function = getattr(backend(variant), operation)
        got = function(*(array.astype(np.float32) for array in arrays)).astype(np.float64)
        np.testing.assert_allclose(
            got, want, rtol=1e-4, atol=2e-7 if "BY_VALUE" in variant.name else 2.0**-126
        )


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.file.stem == "softmax"], ids=named)
def test_variants_of_softmax_agree_with_the_reference_on_special_rows(variant: Variant) -> None:
    rows = normal(7, 70)
    rows[1, 3], rows[2, 4], rows[3, ::2], rows[4], rows[5] = np.nan, np.inf, -np.inf, -np.inf, -500.0
    for operation in variant.operations:
        for x in (rows, rows[:, :1], rows[:, :0], rows[:0]):
            arrays = [np.ones_like(x), x] if operation.endswith("_backward") else [x]
            with np.errstate(all="ignore"):
                want = oracle(operation)(*arrays)
            function = getattr(backend(variant), operation)
            got = function(*(array.astype(np.float32) for array in arrays)).astype(np.float64)
            np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.file.stem == "gemm"], ids=named)
def test_variants_of_gemm_agree_with_the_reference_on_special_values(variant: Variant) -> None:
    a, b = np.ones((5, 37)), np.ones((37, 3))
    a[0, 3], a[1, 4], a[2, 5], b[5, 2], a[4, 36] = np.nan, np.inf, -np.inf, 0.0, np.inf
    c = np.full((5, 3), np.nan)
    function = getattr(backend(variant), "gemm")  # noqa: B009  the attribute is made at run time
    dtype = DTYPES[variant.dtypes[0]]
    for alpha, beta in ((1.0, 0.0), (0.0, 0.0), (-2.0, 1.0), (0.0, 1.0)):
        with np.errstate(all="ignore"):
            want = reference_gemm(a, b, c, alpha=alpha, beta=beta)
        got = function(*(array.astype(dtype) for array in (a, b, c)), alpha=alpha, beta=beta)
        np.testing.assert_array_equal(got.astype(np.float64), want)


@pytest.mark.parametrize("shape", [(3, 0, 4), (0, 3, 4), (3, 4, 0)])
def test_the_gemm_kernel_takes_empty_matrices(shape: tuple[int, int, int]) -> None:
    call = matrices(*shape, c=normal(shape[0], shape[1]), beta=2.0)
    np.testing.assert_allclose(put(gemm.GEMM.gemm, call), reference_gemm(**call), rtol=1e-6)


def test_the_kernels_write_strided_outputs_and_leave_the_gaps_alone() -> None:
    memory = np.full((6, 20), POISON, np.float32)
    out = memory[::-2, 1:-1:3]
    gemm.GEMM.gemm(normal(3, 4).astype(np.float32), normal(4, 6).astype(np.float32), out=out)
    softmax.BLOCK.entry("softmax")(normal(3, 6).astype(np.float32), out=out)
    elementwise.CORRECT["relu"].entry("relu")(np.ones((3, 6), np.float32), out=out)
    assert np.all(out == 1)
    out[...] = POISON
    assert np.all(memory == POISON)


@pytest.mark.parametrize(
    "call",
    [
        lambda: gemm.GEMM.gemm(np.ones((2, 3), np.float32), np.ones((4, 5), np.float32)),
        lambda: gemm.GEMM.gemm(np.ones(3, np.float32), np.ones((3, 5), np.float32)),
        lambda: gemm.GEMM.gemm(np.ones((2, 3), np.float32), np.ones((3, 5), np.float32), beta=1.0),
        lambda: softmax.BLOCK.entry("softmax")(np.ones((2, 3), np.float32), axis=2),
        lambda: softmax.TILES.entry("softmax_backward")(np.ones(3, np.float32), np.ones(4, np.float32)),
        lambda: elementwise.CORRECT["hard_tanh"].entry("hard_tanh")(
            np.ones(3, np.float32), min_val=1.0, max_val=1.0
        ),
    ],
)
def test_the_kernels_refuse_bad_shapes_and_parameters(call: Callable[[], Array]) -> None:
    with pytest.raises(ValueError, match=r"has|missing|axis|expected"):
        call()


def test_the_race_is_a_fault_on_the_simulated_device() -> None:
    x = normal(3, 300).astype(np.float32)
    want = reference_activation.softmax(x.astype(np.float64))
    np.testing.assert_allclose(race.CUDA.entry("softmax")(x), want, rtol=1e-5)
    with pytest.raises(Fault, match="race"):
        race.S9.kernels["softmax"].entry("softmax")(x)
