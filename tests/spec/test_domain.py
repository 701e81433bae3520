"""A domain says which calls a backend is for, in names that are checked."""

from typing import Any

import numpy as np
import pytest

from gaugeblock.conformance import Array, Layout, Problem
from gaugeblock.spec.domain import LAYOUTS, VALUES, Domain, Strides, addend_forms, sizes_of
from gaugeblock.spec.operations import OPERATIONS

WORDS = [
    ("gemm", 3, "domain of gemm is 3, expected a mapping"),
    ("gemm", {"k": 16}, "has 'k', did you mean 'K'?"),
    ("gemm", {"dtype": "float32"}, "has 'dtype', did you mean 'dtypes'?"),
    ("relu", {"K": 16}, "has 'K', expected one of dtypes, rank, layout"),
    ("gemm", {"dtypes": "fp32"}, "dtypes is 'fp32', expected one or some of 'float32'"),
    ("gemm", {"K": -1}, "K is -1, expected a whole number, several, {'multiple_of': m"),
    ("gemm", {"K": True}, "K is True"),
    ("gemm", {"K": 1.5}, "K is 1.5"),
    ("gemm", {"K": ()}, "K is ()"),
    ("gemm", {"K": {}}, "K is {}"),
    ("gemm", {"K": {"multiple_of": 0}}, "expected bounds with a multiple between them"),
    ("gemm", {"K": {"multiple_of": 16, "at_least": 17, "at_most": 31}}, "with a multiple between them"),
    ("gemm", {"K": {"times": 16}}, "K is {'times': 16}"),
    ("gemm", {"K": "K"}, "K is 'K'"),
    ("gemm", {"K": "Q"}, "K is 'Q'"),
    ("gemm", {"a": "absent"}, "a is 'absent', expected a shape: it is never left out"),
    ("gemm", {"a": (3, -1)}, "a is (3, -1), expected a shape such as"),
    ("gemm", {"c": "diagonal"}, "c is 'diagonal', expected one or some of 'absent', 'given', 'matrix'"),
    ("conv", {"bias": "row"}, "bias is 'row', expected one or some of 'absent', 'given'"),
    ("gemm", {"alpha": "one"}, "alpha is 'one', expected int or float, or several"),
    ("gemm", {"alpha": True}, "alpha is True"),
    ("gemm", {"transpose_a": 1}, "transpose_a is 1, expected bool, or several"),
    ("conv", {"padding": "valid"}, "padding is 'valid', expected one or some of 'symmetric'"),
    ("softmax", {"axis": "last"}, "axis is 'last', expected int, or several"),
    ("relu", {"layout": "dense"}, "layout is 'dense', expected one or some of 'any', 'packed'"),
    ("relu", {"layout": {"y": "packed"}}, "expected names of arrays among x, out"),
    ("relu", {"values": "small"}, "values is 'small', expected one or some of 'finite'"),
    ("relu", {"values": lambda x: x > 0}, "expected one or some of 'finite'"),
    ("relu", {"alignment": 12}, "alignment is 12, expected a power of two from 1 to 512, in bytes"),
    ("relu", {"empty": 0}, "empty is 0, expected True or False"),
]


@pytest.mark.spec("GEN-C6")
@pytest.mark.parametrize(("operation", "declaration", "words"), WORDS)
def test_a_malformed_domain_is_refused_in_one_line(operation: str, declaration: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^GEN-C6: [^\n]*$") as refused:
        Domain.declared(OPERATIONS[operation], declaration)
    assert words in str(refused.value)


def gemm(m: int = 32, n: int = 32, k: int = 32, **more: Any) -> Problem:
    """Return a product."""
    arrays = {"a": Array((m, k)), "b": Array((k, n))}
    arrays |= {"c": Array(more.pop("c"))} if "c" in more else {}
    return Problem("gemm", "float32", arrays, more)


def conv(x: tuple[int, ...] = (1, 4, 8, 8), w: tuple[int, ...] = (6, 4, 3, 3), **more: Any) -> Problem:
    """Return a convolution."""
    return Problem("conv", "float32", {"x": Array(x), "w": Array(w)}, more)


def laid(**layout: Any) -> Problem:
    """Return a ReLU of an array that lies somehow."""
    return Problem("relu", "float32", {"x": Array((4, 8), layout=Layout(**layout))})


INSIDE = [
    ({}, gemm(5, 7, 3)),
    ({"dtypes": "float32"}, gemm()),
    ({"M": 32, "N": (16, 32), "K": range(16, 65, 16)}, gemm()),
    ({"K": {"multiple_of": 16}}, gemm(k=48)),
    ({"K": {"at_least": 8, "at_most": 48}}, gemm(k=48)),
    ({"N": "M"}, gemm()),
    ({"a": (32, 32)}, gemm()),
    ({"c": "absent"}, gemm()),
    ({"c": ("absent", "row")}, gemm(c=(32,), beta=1.0)),
    ({"c": "given"}, gemm(c=(32, 1), beta=1.0)),
    ({"transpose_a": False, "beta": (0.0, 1.0)}, gemm()),
    ({"rank": 2, "broadcast": False}, gemm()),
    ({"R": 3, "S": 3, "padding": "symmetric"}, conv(padding=((1, 1), (0, 0)))),
    ({"padding": ("symmetric", "at_most_half")}, conv(padding=1)),
    ({"padding": 0, "stride": (1, 2)}, conv(stride=(1, 2))),
    ({"P": {"multiple_of": 2}, "groups": 1}, conv()),
    ({"layout": "packed", "alignment": 16}, laid()),
    ({"layout": "columns"}, laid(order=(1, 0))),
    ({"layout": "pitched"}, laid(steps=(2, 1))),
    ({"layout": "forward"}, laid(steps=(2, 3))),
    ({"alignment": 16}, laid(offset=4)),
]
OUTSIDE = [
    ({"dtypes": "float16"}, gemm()),
    ({"M": 16}, gemm()),
    ({"K": {"multiple_of": 16}}, gemm(k=40)),
    ({"K": {"at_most": 47}}, gemm(k=48)),
    ({"N": "M"}, gemm(n=16)),
    ({"b": (32, 31)}, gemm()),
    ({"c": "absent"}, gemm(c=(32,))),
    ({"c": "row"}, gemm(c=(32, 32))),
    ({"c": "given"}, gemm()),
    ({"transpose_b": True}, gemm()),
    ({"alpha": 1.0}, gemm(alpha=2.0)),
    ({"rank": 3}, gemm()),
    ({"empty": False}, gemm(k=0)),
    ({"R": 3}, conv(w=(6, 4, 5, 3))),
    ({"padding": "symmetric"}, conv(padding=((1, 0), (0, 0)))),
    ({"padding": "symmetric"}, conv(stride=2, padding="same")),
    ({"padding": "explicit"}, conv(padding="same")),
    ({"padding": "at_most_half"}, conv(padding=2)),
    ({"padding": "uniform"}, conv(padding=(1, 0))),
    ({"stride": 1}, conv(stride=(1, 2))),
    ({"stride": 1}, conv(stride=2)),
    ({"Q": 5}, conv()),
    ({"groups": "C"}, conv()),
    ({"layout": "packed"}, laid(order=(1, 0))),
    ({"layout": "packed"}, laid(steps=(2, 1))),
    ({"layout": "pitched"}, laid(steps=(-1, 1))),
    (
        {"layout": {"out": "packed"}},
        Problem("relu", "float32", {"x": Array((4, 8))}, out=Layout(order=(1, 0))),
    ),
    ({"alignment": 16}, laid(offset=1)),
    ({"values": "finite"}, Problem("relu", "float32", {"x": Array((4,), planted=((1, np.inf),))})),
    ({"values": {"x": "nonnegative"}}, Problem("relu", "float32", {"x": Array((4,), "ones", shift=-2.0)})),
]


@pytest.mark.spec("GEN-D11")
@pytest.mark.parametrize(("declaration", "problem"), INSIDE)
def test_a_call_of_which_every_entry_holds_is_inside(declaration: Any, problem: Problem) -> None:
    assert problem.inside(Domain.declared(problem.record, declaration))


@pytest.mark.spec("GEN-D11")
@pytest.mark.parametrize(("declaration", "problem"), OUTSIDE)
def test_a_call_of_which_an_entry_does_not_hold_is_outside(declaration: Any, problem: Problem) -> None:
    assert not problem.inside(Domain.declared(problem.record, declaration))


def test_the_sizes_of_every_operation_have_the_names_of_its_page() -> None:
    shapes = {"x": (2, 4, 9, 7), "w": (6, 2, 3, 1)}
    assert sizes_of(OPERATIONS["conv"], shapes, {"groups": 2, "stride": 2}) == {
        "N": 2,
        "C": 4,
        "H": 9,
        "W": 7,
        "K": 6,
        "R": 3,
        "S": 1,
        "P": 4,
        "Q": 4,
        "rank": 4,
    }
    backward = {"dy": (2, 6, 7, 7), "w": (6, 4, 3, 1)}
    given = sizes_of(OPERATIONS["conv_backward_input"], backward, {"input_shape": (2, 4, 9, 7)})
    assert (given["C"], given["H"], given["P"]) == (4, 9, 7)
    flipped = sizes_of(
        OPERATIONS["gemm"], {"a": (3, 5, 2), "b": (7, 5)}, {"transpose_a": True, "transpose_b": True}
    )
    assert flipped == {"K": 5, "M": 2, "N": 7, "batch": 3, "rank": 3}
    units = {"x": (5, 2, 3), "h": (2, 4), "c": (2, 4), "w": (4, 4, 3), "u": (4, 4, 4), "bias": (4, 4)}
    assert sizes_of(OPERATIONS["lstm_unit"], units, {}) == {"T": 5, "N": 2, "D": 3, "H": 4, "rank": 3}


def test_a_single_number_is_an_addend_of_every_form_that_it_fits() -> None:
    assert addend_forms((), (1, 1)) == ("matrix", "row", "column", "scalar", "given")
    assert addend_forms((1, 4), (3, 4)) == ("row", "given")


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_an_array_of_one_element_lies_in_every_way(layout: str) -> None:
    assert LAYOUTS[layout](Strides((1, 1, 1, 1), (7, -3, 0, 2)))


@pytest.mark.parametrize("rule", list(VALUES))
def test_an_ordinary_number_keeps_every_condition_on_values(rule: str) -> None:
    assert np.all(VALUES[rule](np.array([0.0, 1.0]), "float32"))
