"""Checks of sums of products: exactness on integers, statistics of rounding, and the algebra of matrices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance.backend.subject import Answer
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import also, is_accurate, rows, wide
from gaugeblock.conformance.checks.statistics import rounds_without_bias
from gaugeblock.conformance.problems import factors, forms, strategies
from gaugeblock.conformance.problems.problem import PACKED, Array, Floats, Layout, Problem
from gaugeblock.conformance.problems.sparse import SLOW, is_sparse, sparse
from gaugeblock.conformance.trial import Outside, Trial
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import Operation

INFINITY = float("inf")
NOT_A_NUMBER = float("nan")

EXACT_FACTORS = (1.0, -1.0, 0.5, 2.0)
"""Values of alpha and beta that keep integers exact."""


def _integer_arrays(
    shapes: strategies.Shapes, k: int, seed: int, odd_first: bool, dtype: str, arithmetic: Arithmetic
) -> dict[str, Array]:
    """Return wide odd integers for one operand, −1, 0, 1 for the other: any order of summation is exact."""
    # Two terms more than K: an addend may be part of the sum, and twice its size.
    limit = max(accuracy.exact_integer_limit(k + 2, dtype, arithmetic), 1)
    wide, narrow = ("a", "b") if odd_first else ("b", "a")
    arrays = {
        wide: Array(shapes[wide], "odd", limit=limit, seed=seed),
        narrow: Array(shapes[narrow], "signs", seed=seed + 1),
    }
    if "c" in shapes:
        arrays["c"] = Array(shapes["c"], "integers", limit=max(limit // 2, 1), seed=seed + 2)
    return {name: arrays[name] for name in ("a", "b", "c") if name in arrays}


def _length(shapes: strategies.Shapes, flags: dict[str, Any]) -> int:
    return shapes["a"][-2 if flags["transpose_a"] else -1]


@st.composite
def integers(
    draw: DrawFn,
    operation: Operation,
    dtype: str,
    arithmetic: Arithmetic,
    shapes: SearchStrategy[tuple[strategies.Shapes, dict[str, bool]]] | None = None,
    factors: bool = True,
    along: int = 0,
) -> Problem:
    """Draw products of integers so small that no order of summation rounds, ``along`` as many terms too."""
    drawn, flags = draw(strategies.gemm_shapes() if shapes is None else shapes)
    k = max(_length(drawn, flags), along)
    arrays = _integer_arrays(drawn, max(k, 1), draw(strategies.seeds), draw(st.booleans()), dtype, arithmetic)
    chosen: dict[str, Any] = {"alpha": 1.0, "beta": 1.0 if "c" in drawn else 0.0, **flags}
    if factors:
        chosen["alpha"] = draw(st.sampled_from(EXACT_FACTORS))
        if "c" in drawn:
            chosen["beta"] = draw(st.sampled_from((1.0, 0.0, -1.0, 0.5, 2.0)))
    return Problem("gemm", dtype, arrays, chosen, out=draw(st.sampled_from((None, PACKED))))


def exact_data(
    operation: Operation, dtype: str, arithmetic: Arithmetic, call: factors.Call, seed: int
) -> Problem:
    """Return a product of integers that no order of summation rounds."""
    shapes, chosen = call
    arrays = _integer_arrays(shapes, _length(shapes, chosen), seed, seed % 2 == 0, dtype, arithmetic)
    return Problem(operation.name, dtype, arrays, chosen)


def is_exact_on_integers(trial: Trial, problem: Problem) -> None:
    """On integers that no order of summation rounds, the result is exact, and rounded once."""
    if not {problem.parameters.get(name, 1.0) for name in ("alpha", "beta")} <= {0.0, *EXACT_FACTORS}:
        raise Outside  # the factors of the domain round
    if not trial.sums_exactly(problem):
        trial.expect_right(problem)
        return
    answer = trial.ask(problem)
    form = FORMATS[problem.dtype]
    want = accuracy.round_to(problem.want(), form).astype(np.float64)
    trial.compare(problem, answer.values, want, accuracy.exact_bound(want))


def is_exact_when_combined(trial: Trial, problem: Problem) -> None:
    """Any sizes, transposes, batches, addends and factors go together, and integers stay exact."""
    is_exact_on_integers(trial, problem)


def _product(
    dtype: str,
    arithmetic: Arithmetic,
    m: int,
    n: int,
    k: int,
    c: tuple[int, ...] | None = None,
    *,
    batches: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    flags: tuple[bool, bool] = (False, False),
) -> Problem:
    """Return a product of integers that no order of summation rounds, perhaps with an addend."""
    shapes: strategies.Shapes = {
        "a": (*batches[0], k, m) if flags[0] else (*batches[0], m, k),
        "b": (*batches[1], n, k) if flags[1] else (*batches[1], k, n),
        **({"c": c} if c is not None else {}),
    }
    arrays = _integer_arrays(shapes, max(k, 1), 1, True, dtype, arithmetic)
    chosen: dict[str, Any] = {"beta": 1.0} if c is not None else {}
    chosen |= {"transpose_a": True} if flags[0] else {}
    chosen |= {"transpose_b": True} if flags[1] else {}
    return Problem("gemm", dtype, arrays, chosen)


FLAGS = ((False, False), (False, True), (True, False), (True, True))


def ragged_products(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield products that fill tiles and miss them by one, long in K too, and results longer than a grid."""
    for size in ((128, 128, 64), (129, 131, 67), (64, 63, 200), (1, 70001, 2), (70001, 1, 2), (401, 399, 8)):
        yield _product(dtype, arithmetic, *size)
    yield _product(dtype, arithmetic, 70001, 1, 2, flags=(True, False))
    yield _product(dtype, arithmetic, 257, 256, 256)
    yield _product(dtype, arithmetic, 128, 128, 520)
    for size in ((7, 7, 7), (33, 33, 33), (9, 1, 20), (1, 9, 20), (5, 6, 1), (16, 19, 40)):
        yield from (_product(dtype, arithmetic, *size, flags=flags) for flags in FLAGS)
    if accuracy.exact_integer_limit(32, dtype, arithmetic) == 2047 and dtype == "float16":
        # 32 · 2047 + 1 = 65505 is beyond the largest number, and rounds to it.
        largest = Array((1, 33), "zeros", shift=2047.0, planted=((32, 1.0),))
        yield Problem("gemm", dtype, {"a": largest, "b": Array((33, 1), "ones")})


def many_matrices(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield more matrices than a grid is deep."""
    yield _product(dtype, arithmetic, 1, 1, 1, (65540, 1, 1), batches=((65540,), (65540,)))


def extreme_factors(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield factors so small or large that a narrow format does not hold them, and some beside 1 and 0."""
    for alpha, beta, scale in (
        (2.0**-30, 1e-7, 64.0),
        (1e-7, 0.0, 64.0),
        (1e5, 1e5, 2.0**-9),
        (-3000.0, 7.0, 2.0**-5),
        (1.001, 0.999, 1.0),
        (1 + 2.0**-18, 1 - 2.0**-18, 1.0),
    ):
        arrays = {
            name: Array(shape, "normal", scale=scale, seed=seed)
            for seed, (name, shape) in enumerate((("a", (9, 5)), ("b", (5, 11)), ("c", (9, 11))))
        }
        yield Problem("gemm", dtype, arrays, {"alpha": alpha, "beta": beta})
    if dtype != "float16":  # whose largest number times this is nothing
        yield Problem("gemm", dtype, {**arrays, "c": Array((9, 11), scale=2.0**30)}, {"beta": 1e-9})


def empty_sums(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sums without terms, with and without an addend."""
    for c in (None, (3, 4), (4,), (3, 1)):
        yield _product(dtype, arithmetic, 3, 4, 0, c)
    for batch in ((), (2,)):
        problem = _product(dtype, arithmetic, 3, 4, 0, (*batch, 3, 4), batches=(batch, batch))
        yield problem.with_parameters(alpha=0.5, beta=-0.5)


LONG: tuple[tuple[int, tuple[int, ...]], ...] = (
    (2053, (7,)),
    (8194, (7, 8195)),
    (33_001, (13, 33_002)),
    (65_569, (13, 65_570)),
    (131_101, (13, 131_102)),
    (1_048_583, (1_048_584,)),
)
"""Lengths of sums, and of how many terms one is not 0: in so many sums each term is, or in each sum one."""


def sparse_sums(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sums of any length that no order rounds: with a single ±1, or with one at every place in turn."""
    for i, (k, periods) in enumerate(LONG):
        for name, flags in zip(("a", "b"), (FLAGS[i % 4], FLAGS[3 - i % 4]), strict=True):
            for every in periods:
                rows = 1 if k > 1 << 20 else min(every, 13) + 1  # one more, so that columns differ too
                m, n = (rows, 1) if name == "a" else (1, rows)
                yield sparse(_product(dtype, arithmetic, m, n, k, flags=flags), arithmetic, name, every, i)
    for name in ("a", "b"):  # whole tiles
        yield sparse(_product(dtype, arithmetic, 64, 48, 16_384), arithmetic, name, 127, seed=1)
    for flags in FLAGS[1:3]:  # a sum that is cut into parts, which must not each have the addend
        problem = _product(dtype, arithmetic, 3, 5, 1537, (3, 5), flags=flags).with_parameters(alpha=0.5)
        yield sparse(problem, arithmetic, "a", 8)


def special_products(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield NaN and Inf beside zeros, at both ends of a sum: no padding may reach them, no zero hide them."""
    for (m, n, k), bad in product(((3, 4, 5), (5, 6, 17), (4, 3, 40)), (NOT_A_NUMBER, INFINITY)):
        problem = _product(dtype, arithmetic, m, n, k, (m, n))
        ends = {"a": (k - 1, (m - 2) * k), "b": ((k - 1) * n + 1, 0), "c": (1, n)}
        for name, places in ends.items():
            array = replace(problem.arrays[name], planted=tuple((place, bad) for place in places))
            yield problem.with_arrays(**{name: array})
            if name == "a":  # the wide operand has no zeros of its own
                zeros = replace(problem.arrays["b"], values="zeros")
                yield problem.with_arrays(a=array, b=zeros)
            elif name == "b":
                yield problem.with_arrays(a=replace(problem.arrays["a"], values="zeros"), b=array)
    yield from too_large(dtype)


def too_large(dtype: str) -> Iterator[Problem]:
    """Yield results that round to infinity, and sums that overflow a narrow format, not the accumulator."""
    ones = {"a": Array((3, 2), "ones"), "b": Array((2, 4), "ones")}
    if dtype == "float16":
        for alpha in (1.0, -1.0, 2.0**-6):
            arrays = {name: Array(array.shape, "zeros", shift=300.0) for name, array in ones.items()}
            yield Problem("gemm", dtype, arrays, {"alpha": alpha})
        arrays = {
            name: Array(shape, "zeros", shift=20.0) for name, shape in (("a", (2, 512)), ("b", (512, 3)))
        }
        yield Problem(
            "gemm", dtype, {**arrays, "c": Array((3,), "zeros", shift=-6e4)}, {"alpha": 0.5, "beta": 1.0}
        )
    if dtype == "bfloat16":
        planted = ((0, 255 * 2.0**120), (1, 0.75 * 2.0**120), (2, -255 * 2.0**120), (3, -0.75 * 2.0**120))
        yield Problem("gemm", dtype, {"a": replace(ones["a"], planted=planted), "b": ones["b"]})


def tiny_and_short(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sums of a few terms, where every lost digit shows, and subnormal operands, sums and addends."""
    smallest = FORMATS[dtype].smallest_normal
    for k, scales in product((1, 2, 3, 9), ((1.0, 1.0), (smallest / 8, 1.0), (1.0, smallest / 8))):
        arrays = {
            "a": Array((13, k), "normal", scale=scales[0], seed=k),
            "b": Array((k, 17), "normal", scale=scales[1], seed=k + 1),
        }
        yield Problem("gemm", dtype, arrays)
        yield Problem(
            "gemm",
            dtype,
            {**arrays, "c": Array((13, 17), "normal", scale=min(scales), seed=2)},
            {"beta": 1.0},
        )
    lone = {"a": Array((3, 2)), "b": Array((2, 4)), "c": Array((3, 4), "normal", scale=smallest / 8, seed=2)}
    yield Problem("gemm", dtype, lone, {"alpha": 0.0, "beta": 0.5})
    half = 2.0 ** (np.log2(smallest) // 2)
    yield Problem("gemm", dtype, {"a": Array((9, 4), scale=half), "b": Array((4, 9), scale=half / 8, seed=1)})


@st.composite
def zero_mean(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw zero-mean data with at least 1000 results."""
    k = draw(st.sampled_from((64, 200, 512, 33)))
    shapes: strategies.Shapes = {"a": (40, k), "b": (k, 40)}
    data = strategies.fixed_data("normal")
    arrays = {name: draw(data(name, shape)) for name, shape in shapes.items()}
    return Problem("gemm", dtype, arrays)


def one_sign_and_long(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield data of one sign for an accumulator that claims to round, as truncation adds up; long sums."""
    if arithmetic.accumulator == "float32" and arithmetic.multiplier is None:
        for k in (200, 512):
            arrays = {"a": Array((40, k), "uniform", seed=k), "b": Array((k, 40), "uniform", seed=k + 1)}
            yield Problem("gemm", dtype, arrays)
    for m, k in ((40, 4000), (80, 16_000)):
        yield Problem("gemm", dtype, {"a": Array((m, k), seed=1), "b": Array((k, m), seed=2)})


@st.composite
def long_sums(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw long sums: a thousand terms and more, on data that no order rounds or on any."""
    k = draw(st.one_of(st.sampled_from((1000, 1023, 1025, 1537, 2049, 3001)), st.integers(1000, 200_000)))
    m, n = draw(st.sampled_from(((1, 1), (2, 3), (5, 2), (1, 9), (17, 1))))
    flags = (draw(st.booleans()), draw(st.booleans()))
    problem = _product(dtype, arithmetic, m, n, k, flags=flags)
    seed = draw(strategies.seeds)
    if k > 5000 or draw(st.booleans()):
        return sparse(
            problem, arithmetic, draw(st.sampled_from("ab")), draw(st.sampled_from((31, k + 1))), seed
        )
    positive = draw(st.booleans())
    scale = 1 / 64 if dtype == "float16" else 1.0
    arrays = {
        name: Array(array.shape, "uniform" if positive else "normal", scale=scale, seed=seed + i)
        for i, (name, array) in enumerate(problem.arrays.items())
    }
    return problem.with_arrays(**arrays)


def sums_all_terms(trial: Trial, problem: Problem) -> None:
    """A sum of any number of terms has them all, each once, with all its bits."""
    if trial.declared.slow and problem.elements > (4 if problem.dtype == "float32" else 1) * SLOW:
        return  # the simulated device takes seconds for it
    if not is_sparse(problem):
        trial.expect_right(problem)
        return
    is_exact_on_integers(trial, trial.widened(problem))


def scaled(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw any alpha and beta, with c of any shape that broadcasts."""
    return strategies.problems(
        operation,
        dtype,
        data=strategies.fixed_data("normal"),
        shapes=strategies.gemm_shapes(budget=1 << 14, with_c=True),
    )


def scales_product_and_addend(trial: Trial, problem: Problem) -> None:
    """The result is α·(product) + β·c for any α and β, c broadcast along any axis."""
    trial.expect_right(problem)


@st.composite
def cancelling(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw any alpha and beta; sometimes c cancels the product, so that a rounding in between shows."""
    problem = draw(scaled(operation, dtype, arithmetic))
    if not draw(st.booleans()):
        return problem
    # K = 1 and a column of ones: the product is b, c its negative in another binade's grid.
    n = draw(strategies.sizes)
    seed = draw(strategies.seeds)
    top = float(2 ** (FORMATS[dtype].precision - 2))
    arrays = {
        "a": Array((1, 2), "ones", planted=((1, 1.0),)),
        "b": Array((2, n), "integers", limit=int(top) - 1, seed=seed, planted=((0, top - 1), (n, top - 2))),
        "c": Array((n,), "integers", limit=int(top) - 1, seed=seed + 1, planted=((0, 3 - 2 * top),)),
    }
    return Problem("gemm", dtype, arrays, {"alpha": 1.0, "beta": 1.0})


def transposable(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw integer products with all four combinations of the flags."""
    return integers(operation, dtype, arithmetic, strategies.gemm_shapes(with_c=False))


def _transposed(array: Array) -> Array:
    """Return the array with its last two axes exchanged, element by element the same."""
    *batch, rows, columns = array.shape
    ndim = len(array.shape)
    order = (*range(ndim - 2), ndim - 1, ndim - 2)
    return replace(array, shape=(*batch, columns, rows), layout=Layout(order=order))


def transposes(trial: Trial, problem: Problem) -> None:
    """A flag is the same as a transposed argument, and (AB)ᵀ = BᵀAᵀ."""
    straight = _product_alone(trial, problem)
    is_exact_on_integers(trial, problem)
    flags = {
        "transpose_a": not problem.parameters["transpose_b"],
        "transpose_b": not problem.parameters["transpose_a"],
    }
    swapped = replace(
        problem,
        arrays={"a": problem.arrays["b"], "b": problem.arrays["a"]},
        parameters={**problem.parameters, **flags},
    )
    other = trial.ask(swapped).values.swapaxes(-1, -2)
    trial.expect_related(problem, straight.values, other, np.zeros_like(other), "(AB)ᵀ = BᵀAᵀ")


def batched(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw integer products with batch axes."""
    return integers(operation, dtype, arithmetic, strategies.gemm_shapes(budget=1 << 15, batched=True))


def loops_over_its_batch(trial: Trial, problem: Problem) -> None:
    """Every matrix of a batch is the product of its own matrices, also where a batch axis broadcasts."""
    if trial.declared.slow and problem.dtype != "float32" and prod(problem.result_shape[:-2]) > 1000:
        return  # a simulated device takes a minute for so many blocks; in float32 it is quicker
    is_exact_on_integers(trial, problem)


def plain(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw integer products of two matrices without c."""
    shapes = strategies.gemm_shapes(budget=1 << 15, batched=False, with_c=False)
    return integers(operation, dtype, arithmetic, shapes, factors=False, along=max(strategies.LENGTHS))


def _product_alone(trial: Trial, problem: Problem, values: Mapping[str, Floats] | None = None) -> Answer:
    """Ask for the product of two matrices, unless the domain has products with factors and addends only."""
    plain = {len(shape) for shape in problem.shapes.values()} == {2}
    if not plain or "c" in problem.arrays or problem.parameters.get("alpha", 1.0) != 1.0:
        raise Outside
    return trial.ask(problem, values=values)


def is_linear(trial: Trial, problem: Problem) -> None:
    """A(B + B′) = AB + AB′ and A(2B) = 2(AB), exactly on integers."""
    b = problem.arrays["b"]
    if b.values == "odd":
        b = replace(b, limit=max((b.limit // 4) | 1, 1))
    first = problem.with_arrays(b=b)
    second = problem.with_arrays(b=replace(b, seed=b.seed + 7))
    left, right = trial.ask(first).values, trial.ask(second).values
    total = first.arguments()["b"] + second.arguments()["b"]
    both = _product_alone(trial, problem, values={"b": total}).values
    _sum_to(trial, problem, both, (left, right), "A(B + B′) = AB + AB′")


def _sum_to(trial: Trial, problem: Problem, whole: Any, parts: tuple[Any, ...], relation: str) -> None:
    """Hold a result to the sum of others, exactly but for the rounding of each to a narrow type."""
    narrow = problem.dtype != "float32"
    u = FORMATS[problem.dtype].unit_roundoff if narrow else 0.0
    slack = u * sum((np.abs(part) for part in parts), start=np.abs(whole))
    trial.expect_related(problem, whole, sum(parts), slack, relation)


def adds_over_blocks(trial: Trial, problem: Problem) -> None:
    """Cutting M, N or K into two blocks and putting the results together changes nothing."""
    whole = _product_alone(trial, problem).values
    a, b = problem.arguments()["a"], problem.arguments()["b"]
    if problem.parameters["transpose_a"]:
        a = a.T
    if problem.parameters["transpose_b"]:
        b = b.T
    m, k, n = (max(size // 2, 1) for size in (*a.shape, b.shape[1]))

    def multiplied(left: Any, right: Any) -> Any:
        if 0 in (*left.shape, *right.shape):
            return left @ right
        arrays = {"a": Array(left.shape), "b": Array(right.shape)}
        return trial.ask(Problem("gemm", problem.dtype, arrays), values={"a": left, "b": right}).values

    _sum_to(
        trial, problem, whole, (multiplied(a[:, :k], b[:k]), multiplied(a[:, k:], b[k:])), "AB = A₁B₁ + A₂B₂"
    )
    rows = np.vstack([multiplied(a[:m], b), multiplied(a[m:], b)])
    _sum_to(trial, problem, whole, (rows,), "(A₁; A₂)B = (A₁B; A₂B)")
    columns = np.hstack([multiplied(a, b[:, :n]), multiplied(a, b[:, n:])])
    _sum_to(trial, problem, whole, (columns,), "A(B₁, B₂) = (AB₁, AB₂)")


def is_adjoint(trial: Trial, problem: Problem) -> None:
    """⟨AX, Y⟩ = ⟨X, AᵀY⟩ for any X and Y, with AᵀY asked by its flag."""
    forward = _product_alone(trial, problem)
    shape = problem.result_shape
    y = Array(shape, "signs", seed=problem.arrays["a"].seed + 3)
    back = Problem(
        "gemm",
        problem.dtype,
        {"a": problem.arrays["a"], "b": y},
        {"transpose_a": not problem.parameters["transpose_a"]},
    )
    returned = trial.ask(back)
    x = problem.arguments()["b"]
    if problem.parameters["transpose_b"]:
        x = x.T
    left_terms, right_terms = forward.values * y.build(problem.dtype), x * returned.values
    left, right = np.atleast_1d(left_terms.sum()), np.atleast_1d(right_terms.sum())
    rounding = accuracy.FORMATS[problem.dtype].unit_roundoff if problem.dtype != "float32" else 0.0
    slack = np.atleast_1d(rounding * (np.abs(left_terms).sum() + np.abs(right_terms).sum()))
    trial.expect_related(problem, left, right, slack, "⟨AX, Y⟩ = ⟨X, AᵀY⟩")


@st.composite
def with_unread_arguments(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw alpha = 0 or beta = 0 with NaN and Inf in what must then not be read."""
    shapes = strategies.gemm_shapes(budget=1 << 13, with_c=True)
    problem = draw(integers(operation, dtype, arithmetic, shapes))
    bad = draw(st.sampled_from((NOT_A_NUMBER, INFINITY, -INFINITY)))
    alpha, beta = draw(st.sampled_from(((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (-1.0, -0.0), (0.0, 0.5))))
    unread = (["c"] if beta == 0 else []) + (["a", "b"] if alpha == 0 else [])
    arrays = {
        name: replace(array, planted=((draw(st.integers(0, array.size - 1)), bad),))
        if name in unread
        else array
        for name, array in problem.arrays.items()
    }
    return problem.with_arrays(**arrays).with_parameters(alpha=alpha, beta=beta)


def unread_in_batches(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield batches with alpha = 0, and an addend of NaN with beta = 0."""
    shapes: strategies.Shapes = {"a": (3, 5, 4), "b": (3, 4, 6), "c": (3, 5, 6)}
    problem = Problem("gemm", dtype, _integer_arrays(shapes, 4, 1, True, dtype, arithmetic))
    yield problem.with_parameters(alpha=0.0, beta=0.5)
    for name in ("a", "b"):
        for value in (NOT_A_NUMBER, INFINITY):
            spoilt = replace(problem.arrays[name], planted=((0, value), (30, value)))
            yield problem.with_arrays(**{name: spoilt}).with_parameters(alpha=0.0, beta=0.5)
            yield problem.with_arrays(**{name: spoilt}).with_parameters(alpha=-0.0, beta=0.0)
    bad = replace(problem.arrays["c"], planted=((0, NOT_A_NUMBER), (50, INFINITY)))
    for beta in (0.0, -0.0):
        yield problem.with_arrays(c=bad).with_parameters(alpha=1.0, beta=beta)


def does_not_read_what_is_scaled_by_zero(trial: Trial, problem: Problem) -> None:
    """With β = 0 nothing of c, with α = 0 nothing of a and b reaches the result, NaN and Inf included."""
    is_exact_on_integers(trial, problem)


@st.composite
def accumulating(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw problems in which c is also the output."""
    drawn, flags = draw(strategies.gemm_shapes(budget=1 << 14, with_c=False))
    batch = np.broadcast_shapes(drawn["a"][:-2], drawn["b"][:-2])
    m = drawn["a"][-1 if flags["transpose_a"] else -2]
    n = drawn["b"][-2 if flags["transpose_b"] else -1]
    drawn["c"] = (*batch, m, n)
    problem = draw(integers(operation, dtype, arithmetic, st.just((drawn, flags))))
    return replace(problem, alias="c", out=None)


def strided_addends(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield addends that are also the output, in each layout."""
    for batch in ((), (2,)):
        problem = _product(dtype, arithmetic, 5, 6, 7, (*batch, 5, 6), batches=(batch, batch))
        for layout in (PACKED, *forms.layouts(len(batch) + 2)):
            c = replace(problem.arrays["c"], layout=layout)
            yield replace(problem.with_arrays(c=c), alias="c")
    yield replace(_product(dtype, arithmetic, 130, 129, 8, (130, 129)), alias="c")


def accumulates_in_place(trial: Trial, problem: Problem) -> None:
    """With c given as ``out`` too, the result replaces c, added to it once."""
    if not trial.subject.takes_out(problem.operation):
        problem = replace(problem, alias=None)
    is_exact_on_integers(trial, problem)


def whole_tiles(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield products of whole tiles, which the check makes one longer: a cached choice must not stick."""
    for flags in ((False, False), (True, False), (False, True)):
        problem = _product(dtype, arithmetic, 64, 64, 64)
        yield problem.with_parameters(transpose_a=flags[0], transpose_b=flags[1])


def cut_sums(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sums that a kernel may cut among blocks, with rounding, so that the order of adding shows."""
    for k in (1100, 4200):
        arrays = {"a": Array((7, k), seed=1), "b": Array((k, 9), seed=2), "c": Array((7, 9), seed=3)}
        yield Problem("gemm", dtype, arrays, {"beta": 1.0})


CONTRACTION = by_role(
    also("history", whole_tiles),
    also("determinism", cut_sums),
    also("empty", empty_sums),
    also("special_values", special_products),
    Check("accuracy", wide, is_accurate, 1.0, tiny_and_short),
    Check("exact", integers, is_exact_on_integers, 2.0, ragged_products),
    Check("combinations", integers, is_exact_when_combined, 0.2, further=rows(exact_data)),
    Check("statistics", zero_mean, rounds_without_bias, 0.4, one_sign_and_long),
    Check("long_sum", long_sums, sums_all_terms, 0.4, sparse_sums),
    Check("scale", cancelling, scales_product_and_addend, 1.5, extreme_factors),
    Check("transpose", transposable, transposes),
    Check("batch", batched, loops_over_its_batch, 1.0, many_matrices),
    Check("linearity", plain, is_linear, 0.5),
    Check("partition", plain, adds_over_blocks, 0.4),
    Check("adjointness", plain, is_adjoint, 0.5),
    Check(
        "unread",
        with_unread_arguments,
        does_not_read_what_is_scaled_by_zero,
        1.5,
        unread_in_batches,
        "robust",
    ),
    Check("aliasing", accumulating, accumulates_in_place, 0.7, strided_addends, "strict"),
)
