"""Checks of sums of products: exactness on integers, statistics of rounding, and the algebra of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gaugeblock.conformance import strategies
from gaugeblock.conformance.checks.check import Check, by_role
from gaugeblock.conformance.checks.generic import empty, everyday, handles_empty_and_single, repeats_itself
from gaugeblock.conformance.problem import PACKED, Array, Layout, Problem
from gaugeblock.conformance.trial import Trial, Violation
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


def is_exact_on_integers(trial: Trial, problem: Problem) -> None:
    """On integers that no order of summation rounds, the result is exact, and rounded once."""
    answer = trial.ask(problem)
    form = FORMATS[problem.dtype]
    want = accuracy.round_to(problem.want(), form).astype(np.float64)
    trial.compare(problem, answer.values, want, accuracy.exact_bound(want))


def _product(
    dtype: str, arithmetic: Arithmetic, m: int, n: int, k: int, c: tuple[int, ...] | None = None
) -> Problem:
    """Return a product of integers that no order of summation rounds, perhaps with an addend."""
    shapes: strategies.Shapes = {"a": (m, k), "b": (k, n), **({"c": c} if c is not None else {})}
    arrays = _integer_arrays(shapes, max(k, 1), 1, True, dtype, arithmetic)
    return Problem("gemm", dtype, arrays, {"beta": 1.0} if c is not None else {})


def ragged_products(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield products that fill tiles and miss them by one, and results longer than a grid's narrow axes."""
    sizes = ((128, 128, 64), (129, 131, 67), (64, 63, 200), (1, 70001, 2), (70001, 1, 2))
    return (_product(dtype, arithmetic, *size) for size in sizes)


def addends(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield addends of every shape, onto square results too, where a wrong axis still fits."""
    for m, n, k in ((5, 5, 3), (4, 7, 3), (33, 33, 8)):
        for c in ((m, n), (n,), (m, 1), (1, n), ()):
            yield _product(dtype, arithmetic, m, n, k, c)


def empty_sums(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sums without terms, with and without an addend."""
    for c in (None, (3, 4), (4,), (3, 1)):
        yield _product(dtype, arithmetic, 3, 4, 0, c)


def longest_sums(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield sums past 2¹⁵ terms."""
    yield _product(dtype, arithmetic, 2, 3, 33001)


@st.composite
def zero_mean(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw zero-mean data with at least 1000 results."""
    k = draw(st.sampled_from((64, 200, 512, 33)))
    shapes: strategies.Shapes = {"a": (40, k), "b": (k, 40)}
    data = strategies.fixed_data("normal")
    arrays = {name: draw(data(name, shape)) for name, shape in shapes.items()}
    return Problem("gemm", dtype, arrays)


def rounds_without_bias(trial: Trial, problem: Problem) -> None:
    """On zero-mean data the errors are as small and as balanced as those of independent roundings."""
    answer = trial.ask(problem)
    want = problem.want()
    arguments = problem.arguments()
    k = problem.arrays["a"].shape[-1]
    scale = problem.record.absolute(arguments)
    found = accuracy.statistics(
        answer.values,
        want,
        scale,
        reduction=k,
        output=FORMATS[problem.dtype],
        arithmetic=trial.arithmetic(problem),
    )
    if not found.accepted:
        raise Violation(
            problem,
            f"errors in units of u·S over {found.count} results: mean square {found.mean_square:.4g}, "
            f"limit {found.mean_square_limit:.4g}; sum {found.bias:.4g}, limit {found.bias_limit:.4g}",
        )


@st.composite
def long_sums(draw: DrawFn, operation: Operation, dtype: str, arithmetic: Arithmetic) -> Problem:
    """Draw long sums: a thousand terms and more, beside powers of two."""
    k = draw(st.sampled_from((1000, 1023, 1025, 1537, 2049, 3001, 4097)))
    m, n = draw(st.sampled_from(((1, 1), (2, 3), (5, 2), (1, 9), (17, 1))))
    flags = {"transpose_a": draw(st.booleans()), "transpose_b": draw(st.booleans())}
    shapes: strategies.Shapes = {
        "a": (k, m) if flags["transpose_a"] else (m, k),
        "b": (n, k) if flags["transpose_b"] else (k, n),
    }
    problem = draw(integers(operation, dtype, arithmetic, st.just((shapes, flags)), factors=False))
    if draw(st.booleans()):
        return problem
    positive = draw(st.booleans())
    scale = 1 / 64 if dtype == "float16" else 1.0

    def rounded(array: Array) -> Array:
        return Array(array.shape, "uniform" if positive else "normal", scale=scale, seed=array.seed)

    return problem.with_arrays(**{name: rounded(array) for name, array in problem.arrays.items()})


def sums_all_terms(trial: Trial, problem: Problem) -> None:
    """A sum of many thousand terms has them all, each once."""
    if problem.arrays["a"].values in ("odd", "signs"):
        is_exact_on_integers(trial, problem)
    else:
        trial.expect_right(problem)


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
    product = trial.ask(problem)
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
    trial.expect_related(problem, product.values, other, np.zeros_like(other), "(AB)ᵀ = BᵀAᵀ")


def batched(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw integer products with batch axes."""
    return integers(operation, dtype, arithmetic, strategies.gemm_shapes(budget=1 << 15, batched=True))


def loops_over_its_batch(trial: Trial, problem: Problem) -> None:
    """Every matrix of a batch is the product of its own matrices, also where a batch axis broadcasts."""
    is_exact_on_integers(trial, problem)


def plain(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw integer products of two matrices without c."""
    shapes = strategies.gemm_shapes(budget=1 << 15, batched=False, with_c=False)
    return integers(operation, dtype, arithmetic, shapes, factors=False, along=max(strategies.LENGTHS))


def is_linear(trial: Trial, problem: Problem) -> None:
    """A(B + B′) = AB + AB′ and A(2B) = 2(AB), exactly on integers."""
    b = problem.arrays["b"]
    if b.values == "odd":
        b = replace(b, limit=max((b.limit // 4) | 1, 1))
    first = problem.with_arrays(b=b)
    second = problem.with_arrays(b=replace(b, seed=b.seed + 7))
    left, right = trial.ask(first).values, trial.ask(second).values
    total = first.arguments()["b"] + second.arguments()["b"]
    both = trial.ask(problem, values={"b": total}).values
    _sum_to(trial, problem, both, (left, right), "A(B + B′) = AB + AB′")


def _sum_to(trial: Trial, problem: Problem, whole: Any, parts: tuple[Any, ...], relation: str) -> None:
    """Hold a result to the sum of others, exactly but for the rounding of each to a narrow type."""
    narrow = problem.dtype != "float32"
    u = FORMATS[problem.dtype].unit_roundoff if narrow else 0.0
    slack = u * sum((np.abs(part) for part in parts), start=np.abs(whole))
    trial.expect_related(problem, whole, sum(parts), slack, relation)


def adds_over_blocks(trial: Trial, problem: Problem) -> None:
    """Cutting M, N or K into two blocks and putting the results together changes nothing."""
    whole = trial.ask(problem).values
    a, b = problem.arguments()["a"], problem.arguments()["b"]
    if problem.parameters["transpose_a"]:
        a = a.T
    if problem.parameters["transpose_b"]:
        b = b.T
    m, k, n = (max(size // 2, 1) for size in (*a.shape, b.shape[1]))

    def product(left: Any, right: Any) -> Any:
        if 0 in (*left.shape, *right.shape):
            return left @ right
        arrays = {"a": Array(left.shape), "b": Array(right.shape)}
        return trial.ask(Problem("gemm", problem.dtype, arrays), values={"a": left, "b": right}).values

    _sum_to(trial, problem, whole, (product(a[:, :k], b[:k]), product(a[:, k:], b[k:])), "AB = A₁B₁ + A₂B₂")
    rows = np.vstack([product(a[:m], b), product(a[m:], b)])
    _sum_to(trial, problem, whole, (rows,), "(A₁; A₂)B = (A₁B; A₂B)")
    columns = np.hstack([product(a, b[:, :n]), product(a, b[:, n:])])
    _sum_to(trial, problem, whole, (columns,), "A(B₁, B₂) = (AB₁, AB₂)")


def is_adjoint(trial: Trial, problem: Problem) -> None:
    """⟨AX, Y⟩ = ⟨X, AᵀY⟩ for any X and Y, with AᵀY asked by its flag."""
    forward = trial.ask(problem)
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
    bad = replace(problem.arrays["c"], planted=((0, NOT_A_NUMBER), (50, INFINITY)))
    yield problem.with_arrays(c=bad).with_parameters(alpha=1.0, beta=0.0)


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


def accumulates_in_place(trial: Trial, problem: Problem) -> None:
    """With c given as ``out`` too, the result replaces c, added to it once."""
    if not trial.subject.takes_out(problem.operation):
        problem = replace(problem, alias=None)
    is_exact_on_integers(trial, problem)


def aligned_first(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield products of whole tiles; the check's next call is one longer: a cached choice must not stick."""
    for flags in ((False, False), (True, False), (False, True)):
        problem = _product(dtype, arithmetic, 64, 64, 64)
        yield problem.with_parameters(transpose_a=flags[0], transpose_b=flags[1])


CONTRACTION = by_role(
    Check("determinism", everyday, repeats_itself, 0.5, aligned_first),
    Check("empty", empty, handles_empty_and_single, 0.7, empty_sums),
    Check("exact", integers, is_exact_on_integers, 2.0, ragged_products),
    Check("statistics", zero_mean, rounds_without_bias, 0.4),
    Check("long_sum", long_sums, sums_all_terms, 0.4, longest_sums),
    Check("scale", cancelling, scales_product_and_addend, 1.5, addends),
    Check("transpose", transposable, transposes),
    Check("batch", batched, loops_over_its_batch),
    Check("linearity", plain, is_linear, 0.5),
    Check("partition", plain, adds_over_blocks, 0.4),
    Check("adjointness", plain, is_adjoint, 0.5),
    Check("unread", with_unread_arguments, does_not_read_what_is_scaled_by_zero, 1.5, unread_in_batches),
    Check("aliasing", accumulating, accumulates_in_place, 0.7),
)
