"""Checks on real data: a classifier of handwritten digits, the matrix product and the softmax of it."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gaugeblock.conformance.checks.check import Check
from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.conformance.trial import Trial
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.operations import Operation


def _of_images(operation: str, dtype: str, count: int) -> Problem:
    """Return the step of the classifier that an operation does, for some images."""
    if operation == "gemm":
        arrays = {
            "a": Array((count, 64), "digits"),
            "b": Array((64, 10), "digit weights"),
            "c": Array((10,), "digit bias"),
        }
        return Problem("gemm", dtype, arrays, {"beta": 1.0})
    return Problem(operation, dtype, {"x": Array((count, 10), "digit scores")})


def all_images(operation: Operation, dtype: str, arithmetic: Arithmetic) -> Iterator[Problem]:
    """Yield the problem of all images that the classifier has not seen."""
    yield _of_images(operation.name, dtype, 597)


def batches(operation: Operation, dtype: str, arithmetic: Arithmetic) -> SearchStrategy[Problem]:
    """Draw how many images are classified at once."""
    return st.sampled_from((1, 2, 10, 64, 100)).map(lambda count: _of_images(operation.name, dtype, count))


def classifies_real_digits(trial: Trial, problem: Problem) -> None:
    """On the digits and a classifier trained on others of them, every result is within its bound."""
    trial.expect_right(problem)


REAL_DATA = Check("real_data", batches, classifies_real_digits, 0.2, all_images, within="rigid")
