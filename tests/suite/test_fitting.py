"""Every problem has a form inside a declared domain, and stays what it was otherwise."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gaugeblock.conformance import Array, Problem
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.problems.fitting import fit
from gaugeblock.spec import accuracy
from gaugeblock.spec.accuracy import Arithmetic
from gaugeblock.spec.domain import Domain
from gaugeblock.spec.operations import OPERATIONS

DOMAINS: dict[str, list[dict[str, Any]]] = {
    "gemm": [
        {"transpose_a": False, "transpose_b": True},
        {"M": {"multiple_of": 16}, "N": {"multiple_of": 16}, "K": {"multiple_of": 16}},
        {"M": 64, "N": 32, "K": 48, "rank": 2},
        {"a": (64, 48), "b": (48, 32), "transpose_a": False, "transpose_b": False},
        {"K": "M", "M": (16, 32)},
        {"c": "row", "beta": 1.0},
        {"c": "absent", "alpha": 1.0, "beta": 0.0},
        {"rank": 3, "broadcast": False, "batch": 4},
        {"layout": {"a": "pitched", "b": "columns"}, "alignment": 16},
        {"values": "finite", "empty": False, "K": range(8, 65, 8)},
    ],
    "conv": [
        {"padding": "symmetric"},
        {"R": 3, "S": 3, "rank": 4},
        {"x": (2, 8, 10, 10), "w": (8, 8, 3, 3)},
        {"rank": 4, "stride": 1, "dilation": 1, "groups": 1, "padding": (0, 1)},
        {"groups": "C", "K": "C", "empty": False},
        {"layout": "channels_last", "C": {"multiple_of": 8}, "bias": "absent"},
        {"padding": ("symmetric", "at_most_half", "explicit"), "empty": False},
        {"H": "W", "R": "S", "rank": (3, 4)},
        {"H": 1, "W": 1, "rank": 4},
    ],
    "conv_backward_weight": [{"padding": "symmetric", "rank": 4}, {"x": (2, 8, 10, 10)}, {"groups": 1}],
    "conv_backward_bias": [{"rank": 4, "K": 8}],
    "conv_transpose": [{"groups": 1, "stride": 2}, {"w": (4, 3, 4, 4), "stride": 2, "padding": 1}],
    "relu": [{"size": {"multiple_of": 4}, "layout": "packed"}, {"rank": 1}, {"x": (1024,)}],
    "softmax": [{"rank": 2, "axis": -1}, {"x": (64, 128), "axis": (1, -1)}, {"length": {"at_most": 1024}}],
    "maxout": [{"length": 1}, {"x": (5, 6)}],
    "maxout_backward": [{"axis": -1, "pieces": 2}, {"length": {"multiple_of": 8}, "rank": 2}],
    "max_pool": [
        {"padding": ("symmetric", "at_most_half"), "rank": (3, 4, 5), "empty": False},
        {"kernel": 2, "stride": "kernel", "padding": 0},
        {"x": (2, 3, 8, 8), "ceil_mode": False},
        {"W": 2, "rank": 3},
    ],
    "avg_pool_backward": [{"padding": "symmetric", "divisor": None, "count_include_pad": False}],
    "lstm_unit": [{"H": {"multiple_of": 4}, "T": 1}, {"D": "H"}, {"x": (3, 2, 8)}],
}


def problems(operation: str) -> Iterator[Problem]:
    """Yield the fixed problems of every check, and some of those that are drawn."""
    record, drawn = OPERATIONS[operation], []
    for check in checks_of(record).values():
        if check.role != "constraints":
            yield from check.always(record, "float32", Arithmetic())

            @settings(
                max_examples=5,
                database=None,
                deadline=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
                derandomize=True,
            )
            @given(check.problems(record, "float32", Arithmetic()))
            def draw(problem: Problem) -> None:
                drawn.append(problem)

            draw()
    yield from drawn


@pytest.mark.one_of(2)
@pytest.mark.parametrize(
    ("operation", "declaration"),
    [(name, each) for name, domains in DOMAINS.items() for each in domains],
    ids=str,
)
def test_nearly_every_problem_has_a_form_inside_a_domain(operation: str, declaration: Any) -> None:
    domain, found, lost = Domain.declared(OPERATIONS[operation], declaration), 0, []
    for problem in problems(operation):
        moved = fit(problem, domain)
        if moved is None:
            lost.append(problem)
        else:
            assert moved.inside(domain)
            assert moved.record.shape(moved.shapes, moved.parameters) == moved.result_shape
            found += 1
    assert len(lost) <= found / 50, lost[0]


def test_a_problem_inside_stays_as_it_is() -> None:
    problem = Problem("relu", "float32", {"x": Array((8,), planted=((1, 2.0),))})
    assert fit(problem, Domain.declared(problem.record, {"rank": 1})) is problem


def test_sums_of_integers_are_exact_where_they_become_longer() -> None:
    limit = accuracy.exact_integer_limit(5, "float32", Arithmetic())
    arrays = {"a": Array((4, 3), "odd", limit=limit), "b": Array((3, 5), "signs", seed=1)}
    domain = Domain.declared(OPERATIONS["gemm"], {"K": 4096})
    moved = fit(Problem("gemm", "float32", arrays), domain)
    assert moved is not None
    assert moved.arrays["a"].limit * 4096 <= 2**24


def test_elements_that_a_domain_leaves_out_become_ones() -> None:
    problem = Problem("relu", "float32", {"x": Array((3,), "ones", planted=((1, float("nan")), (2, -2.0)))})
    moved = fit(problem, Domain.declared(problem.record, {"values": ("finite", "nonnegative")}))
    assert moved is not None
    assert moved.arguments()["x"].tolist() == [1.0, 1.0, 1.0]
    assert "only=('finite', 'nonnegative')" in repr(moved)
