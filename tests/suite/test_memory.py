"""What the suite remembers is what it would compute again."""

import numpy as np

from gaugeblock.conformance import Array, Layout, Problem
from gaugeblock.conformance.problems.memory import Memory
from gaugeblock.spec.accuracy import Arithmetic


def of(*planted: float, layout: Layout | None = None, **parameters: float) -> Problem:
    array = Array((len(planted),), "zeros", planted=tuple(enumerate(planted)), layout=layout or Layout())
    return Problem("leaky_relu", "float32", {"x": array}, parameters)


def test_zeros_of_either_sign_are_not_taken_for_each_other() -> None:
    positive, negative = of(0.0), of(-0.0)
    assert positive == negative  # which is why the key is a text
    assert not np.signbit(positive.want())[0]
    assert np.signbit(negative.want())[0]


def test_a_problem_with_other_numbers_parameters_or_arithmetic_is_another() -> None:
    first = of(-3.0)
    assert first.want().tolist() != of(-4.0).want().tolist()
    assert first.want().tolist() != of(-3.0, negative_slope=0.5).want().tolist()
    plain, flushing = (
        of(-(2.0**-126)).bound(of(-(2.0**-126)).want(), arithmetic).value[0]
        for arithmetic in (Arithmetic(), Arithmetic(flush_subnormals=True))
    )
    assert plain < flushing


def test_where_an_array_lies_makes_no_other_problem_unless_it_repeats_an_element() -> None:
    packed, backwards, repeated = (
        of(1.0, 2.0, layout=layout) for layout in (None, Layout(steps=(-1,)), Layout(steps=(0,)))
    )
    assert packed.want() is backwards.want()
    assert repeated.want().tolist() == [1.0, 1.0]


def test_what_is_remembered_cannot_be_written_to() -> None:
    assert not of(5.0).want().flags.writeable


def test_a_bound_around_other_numbers_is_computed_for_them() -> None:
    problem = of(1e30, negative_slope=0.1)
    around = problem.want() * 2.0
    fresh = problem._bound(problem.arguments(), around, Arithmetic())
    assert problem.bound(around, Arithmetic()).value.tolist() == fresh.value.tolist()


def test_the_longest_unused_is_forgotten_first() -> None:
    memory: Memory[str] = Memory(2, len)
    for key in "aba":
        memory.recall(key, lambda: "x")
    memory.recall("c", lambda: "x")
    assert list(memory.results) == ["a", "c"]
    assert memory.taken == 2
