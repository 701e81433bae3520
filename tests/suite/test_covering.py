"""Covering arrays hold every tuple that can stand together, and rows stand for the calls that they name."""

from itertools import combinations, product

import pytest

from gaugeblock.conformance import Array, Effort, Problem
from gaugeblock.conformance.command import main
from gaugeblock.conformance.engine import shared_out
from gaugeblock.conformance.problems import factors
from gaugeblock.conformance.problems.covering import Covering, Factors
from gaugeblock.spec.operations import OPERATIONS, Operation

VALUES = {
    "size": ("1", "odd", "long"),
    "lies": ("packed", "gaps"),
    "flag": ("no", "yes"),
    "form": ("a", "b", "c"),
}
RULES = [(("size", "lies"), lambda size, lies: size != "1" or lies == "packed")]
ONE_OF_EACH_KIND = (
    "gemm",
    "relu_backward",
    "softmax",
    "maxout",
    "conv_fused",
    "conv_transpose",
    "max_pool",
    "lstm_unit",
)


def held(array: Covering, *pairs: tuple[str, str]) -> bool:
    """Whether values stand together in a row."""
    return any(all(row[name] == value for name, value in pairs) for row in array.rows)


@pytest.mark.parametrize("strength", [1, 2, 3])
def test_every_tuple_that_the_rules_allow_stands_in_a_row(strength: int) -> None:
    array = Covering(Factors(VALUES, RULES), strength, 3)
    for names in combinations(VALUES, strength):
        for chosen in product(*(VALUES[name] for name in names)):
            given = dict(zip(names, chosen, strict=True))
            allowed = given.get("size") != "1" or given.get("lies", "packed") == "packed"
            assert held(array, *given.items()) == allowed


def test_tuples_are_counted_where_they_stand() -> None:
    array = Covering(Factors(VALUES, RULES), 2, 3)
    assert array.covered == array.possible == 36
    array.rows.clear()
    assert array.covered == 0


def test_what_no_row_can_complete_is_not_possible() -> None:
    rules = [(("a", "b"), lambda a, b: a == b), (("b", "c"), lambda b, c: b == c)]
    array = Covering(Factors(dict.fromkeys("abc", ("0", "1")), rules), 2, 1)
    assert array.possible == 6
    assert sorted(row["a"] + row["b"] + row["c"] for row in array.rows) == ["000", "111"]


def test_parts_of_rows_that_are_given_stand_in_a_row() -> None:
    part = {"size": "long", "lies": "gaps", "flag": "yes", "form": "c"}
    assert part in Covering(Factors(VALUES, RULES, [part]), 2, 1).rows


def test_the_same_seed_gives_the_same_rows_and_another_others() -> None:
    rows = [Covering(Factors(VALUES), 2, seed).rows for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def everyday(operation: Operation, call: factors.Call, seed: int) -> Problem:
    """Return a call on everyday data."""
    shapes, parameters = call
    return Problem(operation.name, "float32", {n: Array(s) for n, s in shapes.items()}, parameters)


@pytest.mark.spec("GEN-S11")
@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
@pytest.mark.parametrize("laid_out", [False, True])
def test_every_pair_of_a_kind_is_tried_on_a_legal_call_with_a_result(name: str, laid_out: bool) -> None:
    array = factors.covering(name, laid_out, 2, 5)
    assert array.covered == array.possible
    coverage = Effort("ci", 5).coverage
    problems = list(factors.problems(OPERATIONS[name], coverage, everyday, laid_out=laid_out))
    assert len(problems) >= len(array.rows)
    assert all(problem.elements and 0 not in problem.result_shape for problem in problems)
    assert laid_out or not any(problem.out or problem != problem.plain() for problem in problems)


def test_profiles_differ_in_how_much_of_the_combinations_they_try() -> None:
    strengths = [
        (effort.strength, effort.every > 1)
        for effort in (Effort(p).coverage for p in ("quick", "ci", "deep"))
    ]
    assert strengths == [(2, True), (2, False), (3, False)]


def test_the_formats_of_a_slow_device_share_what_is_large() -> None:
    dtypes = ("float32", "float16", "bfloat16")

    def tried(dtype: str, beyond: int) -> list[int]:
        asked = [Problem("relu", dtype, {"x": Array((length,))}) for length in range(1, 40)]
        return [problem.elements for problem in shared_out(asked, dtypes, beyond)]

    assert sorted(n for dtype in dtypes for n in tried(dtype, 0)) == list(range(1, 40))
    assert all(tried(dtype, 0) and tried(dtype, 30)[:30] == list(range(1, 31)) for dtype in dtypes)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("packed", (60, 20, 5, 1)),
        ("columns", (60, 20, 1, 4)),
        ("outer swapped", (20, 40, 5, 1)),
        ("middle swapped", (60, 5, 15, 1)),
        ("first innermost", (1, 40, 10, 2)),
        ("second innermost", (60, 1, 15, 3)),
        ("channel slice", (120, 2, 30, 6)),
    ],
)
def test_a_layout_is_what_its_name_says(name: str, strides: tuple[int, ...]) -> None:
    assert factors.layout(name, 4, lambda values: values[0]).strides((2, 3, 4, 5)).strides == strides


def test_other_layouts_leave_gaps_or_run_backwards_or_repeat_or_begin_anywhere() -> None:
    names = ("gaps", "backwards", "zero", "offset")
    laid = [factors.layout(name, 2, lambda values: values[0]) for name in names]
    assert [layout.steps for layout in laid] == [(1, 2), (-1, 1), (0, 1), None]
    assert laid[-1].offset % 4


@pytest.mark.spec("GEN-S11")
def test_the_command_counts_pairs_and_says_that_all_are_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "--operation", "relu"]) == 0
    title, packed, laid_out = capsys.readouterr().out.splitlines()
    assert "pairs" in title
    for line in (packed, laid_out):
        possible, tried, rows = map(int, line.split()[-3:])
        assert possible == tried > rows > 0
